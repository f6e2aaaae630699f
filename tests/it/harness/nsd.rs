//! The upstream that the tests trust: NSD, authoritative for the zones beside this harness.
//!
//! One serves a whole test run. A shell holds its leash, a pipe from the test process: whatever way
//! that process ends, the pipe closes, and the shell stops NSD by its id and clears up.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use super::{Lines, PATIENCE, run, spawn, wire};

/// The running NSD's address, on which it serves UDP and TCP.
pub(crate) fn address() -> SocketAddr {
    static NSD: OnceLock<Nsd> = OnceLock::new();
    NSD.get_or_init(|| Nsd::start(&["example.test", "signed.test"], "ns.example.test", write_zones)).address
}

/// Starts an NSD of a test's own, for zones given as their names and texts. It ends when dropped.
pub(crate) fn serving(zones: &[(String, String)]) -> Nsd {
    let names: Vec<&str> = zones.iter().map(|(name, _)| name.as_str()).collect();
    Nsd::start(&names, names[0], |folder| {
        for (name, text) in zones {
            fs::write(folder.join(format!("{name}.zone")), text).unwrap();
        }
    })
}

/// What `large` and `huge` hold: more than a UDP answer of 1232 octets, and more than one of 4096.
pub(crate) const LARGE_STRINGS: usize = 10;
pub(crate) const HUGE_STRINGS: usize = 40;
/// What `medium` holds: more than 512 octets and less than 1232.
pub(crate) const MEDIUM_STRINGS: usize = 4;

/// The strings of a generated TXT RRset, each with its number so that a lost one shows.
pub(crate) fn txt_strings(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{number:03}-{}", "x".repeat(196))).collect()
}

/// A running NSD.
pub(crate) struct Nsd {
    pub(crate) address: SocketAddr,
    /// Held for its standard input, the leash.
    _leash: Child,
}

const LEASH: &str = r#"
nsd -d -c "$1/nsd.conf" </dev/null &
nsd=$!
trap '' INT TERM HUP
read -r _
kill "$nsd"
wait "$nsd"
rm -rf "$1"
"#;

impl Nsd {
    fn start(zones: &[&str], probe: &str, write_zones: impl Fn(&Path)) -> Self {
        // The shell removes the folder: a `static` is never dropped.
        let folder = tempfile::Builder::new().prefix("sachdns-nsd-").tempdir().unwrap().keep();
        write_zones(&folder);
        // Between the choice of a port and NSD's bind, somebody else may take it.
        for _ in 0..10 {
            let address = free_address();
            fs::write(folder.join("nsd.conf"), configuration(&folder, address, zones)).unwrap();
            let mut leash = spawn(
                Command::new("sh")
                    .args(["-c", LEASH, "sh"])
                    .arg(&folder)
                    .stdin(Stdio::piped())
                    .stdout(Stdio::null())
                    .stderr(Stdio::piped()),
            );
            let lines = Lines::follow(leash.stderr.take().unwrap());
            let is_telling = |line: &str| {
                ["nsd started", "could not be started", "not found"].iter().any(|word| line.contains(word))
            };
            match lines.wait(PATIENCE, is_telling) {
                Some(line) if line.contains("nsd started") => {
                    let probe = wire::Query::new(probe, wire::A).bytes();
                    wire::udp(address, &probe).expect("an NSD that has started answers");
                    return Self { address, _leash: leash };
                }
                Some(line) if line.contains("Address already in use") => {}
                Some(line) if line.contains("not found") => {
                    panic!("{line}; it is in Debian's package nsd: run `make test-deps`")
                }
                _ if lines.text().contains("Address already in use") => {}
                _ => panic!("NSD does not start:\n{}", lines.text()),
            }
            // Its shell removes the folder.
            drop(leash.stdin.take());
            leash.wait().unwrap();
            fs::create_dir_all(&folder).unwrap();
            write_zones(&folder);
        }
        panic!("no free port for NSD in ten attempts")
    }
}

/// A loopback address whose port is free for UDP and TCP at this moment.
pub(crate) fn free_address() -> SocketAddr {
    loop {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = tcp.local_addr().unwrap();
        if UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
}

fn configuration(folder: &Path, address: SocketAddr, zones: &[&str]) -> String {
    let folder = folder.display();
    let mut text = format!(
        r#"server:
  ip-address: {ip}@{port}
  username: ""
  chroot: ""
  database: ""
  zonesdir: "{folder}"
  zonelistfile: "{folder}/zone.list"
  pidfile: "{folder}/nsd.pid"
  xfrdfile: "{folder}/xfrd.state"
  xfrdir: "{folder}"
  server-count: 1
  verbosity: 1
  # Answers as long as the client allows: that we keep to 1232 octets is ours to show.
  ipv4-edns-size: 4096
  # A whole test run comes from one address.
  rrl-ratelimit: 0
  rrl-whitelist-ratelimit: 0
remote-control:
  control-enable: no
"#,
        ip = address.ip(),
        port = address.port(),
    );
    for zone in zones {
        write!(text, "zone:\n  name: \"{zone}\"\n  zonefile: \"{zone}.zone\"\n").unwrap();
    }
    text
}

fn write_zones(folder: &Path) {
    let mut zone = include_str!("../zones/example.test.zone").to_owned();
    for (name, count) in [("medium", MEDIUM_STRINGS), ("large", LARGE_STRINGS), ("huge", HUGE_STRINGS)] {
        for string in txt_strings(count) {
            writeln!(zone, "{name} IN TXT \"{string}\"").unwrap();
        }
    }
    fs::write(folder.join("example.test.zone"), zone).unwrap();

    fs::write(folder.join("unsigned"), include_str!("../zones/signed.test.zone")).unwrap();
    let tool = |program: &str, args: &[&str]| {
        run(Command::new(program).args(args).current_dir(folder)).well().stdout.trim().to_owned()
    };
    let key = tool("ldns-keygen", &["-a", "ECDSAP256SHA256", "-k", "signed.test"]);
    tool("ldns-signzone", &["-o", "signed.test", "-f", "signed.test.zone", "unsigned", &key]);
}

#[cfg(test)]
mod tests {
    use crate::harness::dig::Dig;

    #[test]
    fn it_answers_as_the_tests_expect() {
        let nsd = super::address();
        let reply = Dig::at(nsd).ask("alias.example.test", "A");
        assert_eq!(reply.status, "NOERROR");
        assert_eq!(reply.rdata("A"), ["192.0.2.80"]);
        assert_eq!(reply.rdata("CNAME").len(), 3);
        assert_eq!(Dig::at(nsd).ask("odd.example.test", "TYPE65534").answer.len(), 1);
        assert_eq!(Dig::at(nsd).ask("www.example.test", "HTTPS").answer.len(), 1);
        assert_eq!(Dig::at(nsd).ask("a.b.wild.example.test", "A").rdata("A"), ["192.0.2.99"]);
        assert_eq!(Dig::at(nsd).ask("nothing.example.test", "A").status, "NXDOMAIN");
        assert_eq!(Dig::at(nsd).ask("www.elsewhere.test", "A").status, "REFUSED");
    }

    #[test]
    fn it_signs() {
        let reply = Dig::at(super::address()).with("+dnssec").ask("www.signed.test", "A");
        assert_eq!(reply.rdata("RRSIG").len(), 1, "{}", reply.raw);
        assert!(Dig::at(super::address()).ask("www.signed.test", "A").rdata("RRSIG").is_empty());
    }

    #[test]
    fn its_large_answers_need_tcp() {
        let huge = |dig: Dig| dig.ask("huge.example.test", "TXT");
        let cut = huge(Dig::at(super::address()).with("+bufsize=4096"));
        assert!(cut.has_flag("tc"), "{}", cut.raw);
        let whole = huge(Dig::at(super::address()).with("+tcp"));
        assert_eq!(whole.answer.len(), super::HUGE_STRINGS);
        assert!(whole.size > 4096);
    }
}
