//! BIND 9 beside the server under test: a second opinion on response policy zones.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

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
