//! Unbound as an upstream that speaks DNS over TLS and over HTTPS; it has a zone of its own, `unbound.test`.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::nsd::free_address;
use super::secure::Certified;
use super::{Lines, PATIENCE, spawn};

/// A running Unbound; ends when dropped.
pub(crate) struct Unbound {
    pub(crate) tls: SocketAddr,
    pub(crate) https: SocketAddr,
    child: Child,
    _folder: TempDir,
}

/// Names from `n0` on that have an address.
pub(crate) const NAMES: u8 = 50;

impl Unbound {
    #[track_caller]
    pub(crate) fn start(certified: &Certified) -> Self {
        // Between the choice of a port and Unbound's bind, somebody else may take it.
        for _ in 0..10 {
            if let Some(unbound) = Self::try_start(certified) {
                return unbound;
            }
        }
        panic!("no free ports for Unbound in ten attempts")
    }

    fn try_start(certified: &Certified) -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("sachdns-unbound-").tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("certificate.pem"), &certified.pem).unwrap();
        fs::write(path("key.pem"), &certified.key_pem).unwrap();
        let (tls, https) = (free_address(), free_address());
        fs::write(path("unbound.conf"), configuration(&folder, tls, https)).unwrap();
        let mut child = spawn(
            Command::new("unbound")
                .args(["-d", "-p", "-c"])
                .arg(path("unbound.conf"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped()),
        );
        let lines = Lines::follow(child.stderr.take().unwrap());
        let told = lines.wait(PATIENCE, |line| line.contains("start of service"));
        let unbound = Self { tls, https, child, _folder: folder };
        if told.is_some() {
            return Some(unbound);
        }
        assert!(lines.text().contains("in use"), "Unbound does not start:\n{}", lines.text());
        None
    }
}

impl Drop for Unbound {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(folder: &TempDir, tls: SocketAddr, https: SocketAddr) -> String {
    let at = folder.path().display();
    let names: String =
        (0..NAMES).map(|n| format!("  local-data: \"n{n}.unbound.test. 300 IN A 192.0.2.{n}\"\n")).collect();
    format!(
        r#"server:
  verbosity: 1
  use-syslog: no
  username: ""
  chroot: ""
  directory: "{at}"
  pidfile: ""
  interface: {}@{}
  interface: {}@{}
  tls-port: {}
  https-port: {}
  tls-service-key: "{at}/key.pem"
  tls-service-pem: "{at}/certificate.pem"
  module-config: "iterator"
  num-threads: 1
  local-zone: "unbound.test." static
  local-data: "unbound.test. 300 IN SOA ns.unbound.test. nobody.unbound.test. 1 3600 600 86400 60"
{names}remote-control:
  control-enable: no
"#,
        tls.ip(),
        tls.port(),
        https.ip(),
        https.port(),
        tls.port(),
        https.port()
    )
}
