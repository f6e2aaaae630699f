//! Unbound as a resolver that takes a response policy zone from the server under test, as BIND does in `super::named`.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::dig::Dig;
use super::{Lines, PATIENCE, spawn, wait_until};

/// A running Unbound; ends when dropped.
pub(crate) struct UnboundSubscriber {
    address: SocketAddr,
    child: Child,
    _folder: TempDir,
}

impl UnboundSubscriber {
    /// Takes `zone` from `primary` by itself, heeds its NOTIFY, and asks `upstream` all else.
    #[track_caller]
    pub(crate) fn start(address: SocketAddr, primary: SocketAddr, upstream: SocketAddr, zone: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("sachdns-unbound-").tempdir().unwrap();
        let at = |address: SocketAddr| format!("{}@{}", address.ip(), address.port());
        let text = format!(
            r#"server:
  verbosity: 1
  use-syslog: no
  username: ""
  chroot: ""
  directory: "{place}"
  pidfile: ""
  interface: {}
  module-config: "respip iterator"
  do-not-query-localhost: no
  num-threads: 1
  local-zone: "test." nodefault
remote-control:
  control-enable: no
forward-zone:
  name: "."
  forward-addr: {}
rpz:
  name: "{zone}"
  primary: {}
  allow-notify: 127.0.0.1
  zonefile: "{place}/copy.zone"
  rpz-log: yes
"#,
            at(address),
            at(upstream),
            at(primary),
            place = folder.path().display(),
        );
        let config = folder.path().join("unbound.conf");
        fs::write(&config, text).unwrap();
        let mut child = spawn(
            Command::new("unbound")
                .args(["-d", "-p", "-c"])
                .arg(config)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped()),
        );
        let lines = Lines::follow(child.stderr.take().unwrap());
        let is_running = lines.wait(PATIENCE, |line| line.contains("start of service"));
        let unbound = Self { address, child, _folder: folder };
        assert!(is_running.is_some(), "Unbound does not start:\n{}", lines.text());
        unbound
    }

    /// A `dig` to it.
    pub(crate) fn dig(&self) -> Dig {
        Dig::at(self.address)
    }

    /// Waits until it says so of this name.
    #[track_caller]
    pub(crate) fn wait_for(&self, qname: &str, is_so: impl Fn(&super::dig::Reply) -> bool) {
        wait_until(qname, || is_so(&self.dig().ask(qname, "A")));
    }
}

impl Drop for UnboundSubscriber {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
