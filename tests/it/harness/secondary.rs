//! A secondary that takes its zones from the server under test: NSD, which asks by itself and heeds NOTIFY.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::dig::Dig;
use super::nsd::free_address;
use super::{Lines, PATIENCE, spawn};

/// A running NSD; killed when dropped.
pub(crate) struct Secondary {
    pub(crate) address: SocketAddr,
    child: Child,
    lines: Lines,
    _folder: TempDir,
}

impl Secondary {
    /// Takes `zone` from `primary`, at the address that was chosen for it; `key`: name, algorithm and secret.
    #[track_caller]
    pub(crate) fn start(address: SocketAddr, primary: SocketAddr, zone: &str, key: [&str; 3]) -> Self {
        let folder = tempfile::Builder::new().prefix("sachdns-secondary-").tempdir().unwrap();
        let [name, algorithm, secret] = key;
        let place = folder.path().display();
        let text = format!(
            r#"server:
  ip-address: {ip}@{port}
  username: ""
  chroot: ""
  database: ""
  zonesdir: "{place}"
  zonelistfile: "{place}/zone.list"
  pidfile: "{place}/nsd.pid"
  xfrdfile: "{place}/xfrd.state"
  xfrdir: "{place}"
  server-count: 1
  verbosity: 2
remote-control:
  control-enable: no
key:
  name: "{name}"
  algorithm: {algorithm}
  secret: "{secret}"
zone:
  name: "{zone}"
  zonefile: "{zone}.zone"
  request-xfr: {primary_ip}@{primary_port} {name}
  allow-notify: 127.0.0.1 {name}
  provide-xfr: 127.0.0.1 NOKEY
"#,
            ip = address.ip(),
            port = address.port(),
            primary_ip = primary.ip(),
            primary_port = primary.port(),
        );
        let config = folder.path().join("nsd.conf");
        fs::write(&config, text).unwrap();
        let mut child = spawn(
            Command::new("nsd")
                .args(["-d", "-c"])
                .arg(&config)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped()),
        );
        let lines = Lines::follow(child.stderr.take().unwrap());
        let started = lines.wait(PATIENCE, |line| line.contains("nsd started"));
        let secondary = Self { address, child, lines, _folder: folder };
        assert!(started.is_some(), "NSD does not start:\n{}", secondary.lines.text());
        secondary
    }

    /// An address for one to come.
    pub(crate) fn address() -> SocketAddr {
        free_address()
    }

    /// What it writes.
    pub(crate) fn lines(&self) -> &Lines {
        &self.lines
    }

    /// Waits until it has this serial number of a zone.
    #[track_caller]
    pub(crate) fn wait_for(&self, zone: &str, serial: &str) {
        let until = Instant::now() + PATIENCE;
        loop {
            let reply = Dig::at(self.address).ask(zone, "SOA");
            if reply.rdata("SOA").iter().any(|soa| soa.split(' ').nth(2) == Some(serial)) {
                return;
            }
            assert!(Instant::now() < until, "never {serial}:\n{}\n{}", reply.raw, self.lines.text());
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Secondary {
    fn drop(&mut self) {
        // NSD's children end with it when it is told to, not when it is killed.
        let _ = rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.child),
            rustix::process::Signal::TERM,
        );
        let _ = self.child.wait();
    }
}
