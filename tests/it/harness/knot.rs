//! Knot DNS as the primary of a zone that tests change by dynamic update, so that it has differences to give.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::{Lines, PATIENCE, spawn};

/// A running Knot; ends when dropped.
pub(crate) struct Knot {
    address: SocketAddr,
    zone: String,
    child: Child,
    lines: Lines,
    _folder: TempDir,
}

impl Knot {
    /// Starts it at `address` with this zone; `key` (name and secret, HMAC-SHA256) is what transfers need and
    /// notices to `secondary` are signed with.
    #[track_caller]
    pub(crate) fn start(
        address: SocketAddr,
        zone: &str,
        records: &str,
        key: [&str; 2],
        secondary: SocketAddr,
    ) -> Self {
        let folder = tempfile::Builder::new().prefix("sachdns-knot-").tempdir().unwrap();
        let [name, secret] = key;
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
        let head = "$TTL 300\n@ SOA ns.example. admin.example. 1 86400 3600 864000 60\n@ NS ns.example.\n";
        fs::write(folder.path().join("zone"), format!("{head}{records}")).unwrap();
        let mut child = spawn(
            Command::new("knotd")
                .args(["-c", "knot.conf"])
                .current_dir(folder.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped()),
        );
        let lines = Lines::follow(child.stderr.take().unwrap());
        let is_running = lines.wait(PATIENCE, |line| line.contains("server started"));
        let knot = Self { address, zone: zone.to_owned(), child, lines, _folder: folder };
        assert!(is_running.is_some(), "knotd does not start:\n{}", knot.lines.text());
        knot
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

impl Drop for Knot {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
