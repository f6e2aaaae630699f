//! BIND 9 and Knot DNS as the primary of a zone that tests change by dynamic update, so that it has differences to give.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::{Lines, PATIENCE, spawn};

/// A running BIND or Knot; ends when dropped.
pub(crate) struct Primary {
    address: SocketAddr,
    zone: String,
    child: Child,
    lines: Lines,
    _folder: TempDir,
}

impl Primary {
    /// Starts BIND at `address` with this zone; `key` (name and secret, HMAC-SHA256) is what transfers need and
    /// notices to `secondary` are signed with.
    #[track_caller]
    pub(crate) fn bind(
        address: SocketAddr,
        zone: &str,
        records: &str,
        [name, secret]: [&str; 2],
        secondary: SocketAddr,
    ) -> Self {
        let folder = folder();
        let (port, to_ip, to_port) = (address.port(), secondary.ip(), secondary.port());
        let text = format!(
            "key \"{name}\" {{ algorithm hmac-sha256; secret \"{secret}\"; }};\n\
             options {{\n  directory \".\";\n  listen-on port {port} {{ 127.0.0.1; }};\n  listen-on-v6 {{ none; }};\n  \
             pid-file none;\n  session-keyfile none;\n  managed-keys-directory \".\";\n  recursion no;\n  \
             dnssec-validation no;\n  notify-delay 0;\n}};\ncontrols {{ }};\n\
             zone \"{zone}\" {{ type primary; file \"zone\"; check-names ignore; allow-update {{ 127.0.0.1; }};\n  \
             allow-transfer {{ key \"{name}\"; }}; notify explicit;\n  \
             also-notify {{ {to_ip} port {to_port} key \"{name}\"; }}; }};\n"
        );
        fs::write(folder.path().join("named.conf"), text).unwrap();
        let mut command = Command::new("named");
        command.args(["-4", "-g", "-n", "1", "-c", "named.conf"]);
        Self::run(&mut command, |line| line.ends_with(" running"), address, zone, records, folder)
    }

    /// Starts Knot, as [`Self::bind`].
    #[track_caller]
    pub(crate) fn knot(
        address: SocketAddr,
        zone: &str,
        records: &str,
        [name, secret]: [&str; 2],
        secondary: SocketAddr,
    ) -> Self {
        let folder = folder();
        let (ip, port, to_ip, to_port) = (address.ip(), address.port(), secondary.ip(), secondary.port());
        let place = folder.path().display();
        let text = format!(
            r#"server:
    rundir: "{place}"
    listen: {ip}@{port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stderr
    any: info
database:
    storage: "{place}"
    journal-db-max-size: 16M
    kasp-db-max-size: 16M
    timer-db-max-size: 16M
key:
  - id: {name}.
    algorithm: hmac-sha256
    secret: {secret}
remote:
  - id: secondary
    address: {to_ip}@{to_port}
    key: {name}.
acl:
  - id: transfer
    key: {name}.
    action: transfer
  - id: update
    address: 127.0.0.1
    action: update
zone:
  - domain: {zone}
    storage: "{place}"
    file: zone
    semantic-checks: off
    journal-content: changes
    notify: secondary
    acl: [ transfer, update ]
"#
        );
        fs::write(folder.path().join("knot.conf"), text).unwrap();
        let mut command = Command::new("knotd");
        command.args(["-c", "knot.conf"]);
        Self::run(&mut command, |line| line.contains("server started"), address, zone, records, folder)
    }

    /// Starts it in its folder, and waits until it says that it runs.
    #[track_caller]
    fn run(
        command: &mut Command,
        says_so: fn(&str) -> bool,
        address: SocketAddr,
        zone: &str,
        records: &str,
        folder: TempDir,
    ) -> Self {
        let head = "$TTL 300\n@ SOA ns.example. admin.example. 1 86400 3600 864000 60\n@ NS ns.example.\n";
        fs::write(folder.path().join("zone"), format!("{head}{records}")).unwrap();
        command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = spawn(command);
        let lines = Lines::follow(child.stderr.take().unwrap());
        let is_running = lines.wait(PATIENCE, says_so);
        let primary = Self { address, zone: zone.to_owned(), child, lines, _folder: folder };
        assert!(is_running.is_some(), "{command:?} does not start:\n{}", primary.lines.text());
        primary
    }

    /// Changes the zone: lines such as `update add NAME 300 CNAME .`, names absolute.
    #[track_caller]
    pub(crate) fn update(&self, changes: &str) {
        let mut child = spawn(Command::new("nsupdate").stdin(Stdio::piped()).stdout(Stdio::piped()));
        let Self { address, zone, .. } = self;
        let text = format!("server {} {}\nzone {zone}\n{changes}\nsend\n", address.ip(), address.port());
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let done = child.wait_with_output().unwrap();
        assert!(done.status.success(), "{done:?}\n{}", self.lines.text());
    }

    /// What it writes.
    pub(crate) fn lines(&self) -> &Lines {
        &self.lines
    }
}

impl Drop for Primary {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("sachdns-primary-").tempdir().unwrap()
}
