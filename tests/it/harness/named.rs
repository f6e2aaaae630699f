//! BIND 9 beside the server under test: a second opinion on response policy zones.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::dig::Dig;
use super::{Lines, PATIENCE, nsd, spawn};

/// A response policy zone for BIND: its name, what its `response-policy` entry says behind it, its records.
pub(crate) struct Policy<'a> {
    pub(crate) name: &'a str,
    pub(crate) options: &'a str,
    pub(crate) records: &'a str,
}

/// A running BIND; ends when dropped.
pub(crate) struct Named {
    pub(crate) address: SocketAddr,
    child: Child,
    _folder: TempDir,
}

impl Named {
    /// Starts it with these policies in this order; `options` is what follows their list. It has `zones` itself
    /// (a name and a text each): of what it forwards it looks at no name servers. The rest it asks `upstream`.
    #[track_caller]
    pub(crate) fn start(
        upstream: SocketAddr,
        zones: &[(String, String)],
        policies: &[Policy<'_>],
        options: &str,
    ) -> Self {
        // Between the choice of a port and BIND's bind, somebody else may take it.
        for _ in 0..10 {
            let folder = tempfile::Builder::new().prefix("sachdns-named-").tempdir().unwrap();
            let address = nsd::free_address();
            fs::write(
                folder.path().join("named.conf"),
                configuration(address, upstream, zones, policies, options),
            )
            .unwrap();
            for (name, text) in zones {
                fs::write(folder.path().join(format!("{name}.own")), text).unwrap();
            }
            for Policy { name, records, .. } in policies {
                let head = "$TTL 60\n@ SOA localhost. root.localhost. 1 3600 600 86400 60\n@ NS localhost.\n";
                fs::write(folder.path().join(format!("{name}.zone")), format!("{head}{records}")).unwrap();
            }
            let mut child = spawn(
                Command::new("named")
                    .args(["-4", "-g", "-n", "1", "-c", "named.conf"])
                    .current_dir(folder.path())
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(Stdio::piped()),
            );
            let lines = Lines::follow(child.stderr.take().unwrap());
            let named = Self { address, child, _folder: folder };
            // It says that it runs even where it could not bind.
            let is_telling = |line: &str| {
                line.ends_with(" running")
                    || line.contains("exiting (due to")
                    || line.contains("address in use")
            };
            match lines.wait(PATIENCE, is_telling) {
                Some(line) if line.ends_with(" running") => return named,
                Some(line) if line.contains("address in use") => {}
                _ => panic!("named does not start:\n{}", lines.text()),
            }
        }
        panic!("no free port for named in ten attempts")
    }
}

/// A BIND that takes a response policy zone from the server under test; ends when dropped.
pub(crate) struct Subscriber {
    address: SocketAddr,
    child: Child,
    lines: Lines,
    _folder: TempDir,
}

impl Subscriber {
    /// An address for one to come.
    pub(crate) fn address() -> SocketAddr {
        nsd::free_address()
    }

    /// Takes `zone` from `primary`, at the address that was chosen for it; `key`: name, algorithm and secret.
    #[track_caller]
    pub(crate) fn start(
        address: SocketAddr,
        primary: SocketAddr,
        upstream: SocketAddr,
        zone: &str,
        key: [&str; 3],
    ) -> Self {
        let folder = tempfile::Builder::new().prefix("sachdns-named-").tempdir().unwrap();
        let [name, algorithm, secret] = key;
        let text = format!(
            "options {{\n  directory \".\";\n  listen-on port {port} {{ 127.0.0.1; }};\n  listen-on-v6 {{ none; }};\n  \
             pid-file none;\n  session-keyfile none;\n  managed-keys-directory \".\";\n  recursion yes;\n  \
             allow-query {{ any; }};\n  allow-recursion {{ any; }};\n  allow-transfer {{ any; }};\n  dnssec-validation no;\n  \
             qname-minimization off;\n  empty-zones-enable no;\n  forward only;\n  \
             forwarders {{ {upstream_ip} port {upstream_port}; }};\n  \
             response-policy {{ zone \"{zone}\"; }} qname-wait-recurse no min-update-interval 0;\n}};\ncontrols {{ }};\n\
             key \"{name}\" {{ algorithm {algorithm}; secret \"{secret}\"; }};\n\
             zone \"{zone}\" {{ type secondary; file \"{zone}.copy\"; masterfile-format text; \
             primaries {{ {ip} port {primary_port} key \"{name}\"; }}; allow-notify {{ key \"{name}\"; }}; }};\n",
            port = address.port(),
            upstream_ip = upstream.ip(),
            upstream_port = upstream.port(),
            ip = primary.ip(),
            primary_port = primary.port(),
        );
        fs::write(folder.path().join("named.conf"), text).unwrap();
        let mut child = spawn(
            Command::new("named")
                .args(["-4", "-g", "-n", "1", "-c", "named.conf"])
                .current_dir(folder.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped()),
        );
        let lines = Lines::follow(child.stderr.take().unwrap());
        let subscriber = Self { address, child, lines, _folder: folder };
        subscriber.wait_for("", " running");
        subscriber
    }

    /// A `dig` to it.
    pub(crate) fn dig(&self) -> Dig {
        Dig::at(self.address)
    }

    /// Waits until it says something with both parts in it.
    #[track_caller]
    pub(crate) fn wait_for(&self, part: &str, other: &str) {
        let said = self.lines.wait(PATIENCE, |line| line.contains(part) && line.contains(other));
        assert!(said.is_some(), "named never says {part:?} and {other:?}:\n{}", self.lines.text());
    }

    /// Waits until something is so.
    #[track_caller]
    pub(crate) fn wait_until(&self, is_so: impl Fn() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < until, "it never is so:\n{}", self.lines.text());
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(
    address: SocketAddr,
    upstream: SocketAddr,
    own: &[(String, String)],
    policies: &[Policy<'_>],
    options: &str,
) -> String {
    let (port, upstream_port) = (address.port(), upstream.port());
    let mut zones = String::new();
    for (name, _) in own {
        writeln!(zones, "zone \"{name}\" {{ type primary; file \"{name}.own\"; }};").unwrap();
    }
    let mut list = String::new();
    for Policy { name, options, .. } in policies {
        write!(list, "zone \"{name}\" {options}; ").unwrap();
        writeln!(zones, "zone \"{name}\" {{ type primary; file \"{name}.zone\"; check-names ignore; }};")
            .unwrap();
    }
    format!(
        "options {{\n  directory \".\";\n  listen-on port {port} {{ 127.0.0.1; }};\n  listen-on-v6 {{ none; }};\n  \
         pid-file none;\n  session-keyfile none;\n  managed-keys-directory \".\";\n  recursion yes;\n  \
         allow-query {{ any; }};\n  allow-recursion {{ any; }};\n  dnssec-validation no;\n  qname-minimization off;\n  \
         empty-zones-enable no;\n  forward only;\n  forwarders {{ {ip} port {upstream_port}; }};\n  \
         response-policy {{ {list} }} {options};\n}};\ncontrols {{ }};\n{zones}",
        ip = upstream.ip(),
    )
}
