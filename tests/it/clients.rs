//! Programs that people ask names with: drill, and over encrypted transports a browser over HTTPS, stubby and
//! systemd-resolved over TLS. Of those each has the server's certificate verified, by an authority of the test's own.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::authority::Authority;
use crate::harness::dig::Dig;
use crate::harness::house::Setup;
use crate::harness::namespace::inside;
use crate::harness::scripted::Scripted;
use crate::harness::server::Server;
use crate::harness::{PATIENCE, run, spawn, wire};

/// A server at the ports that clients expect, and the file of the authority that they are to trust.
fn serve() -> (Server, Scripted, String) {
    let authority = Authority::new();
    // The server's own name is the only one that anybody has.
    let upstream = Scripted::answering(|query| match &*query.qname() {
        "dns.example.test." if query.qtype() == wire::A => query.answer_a([127, 0, 0, 1]),
        "dns.example.test." => query.answer(wire::RA, 0, &[], None),
        _ => query.answer(wire::RA, 3, &[], None),
    });
    let server = Setup::new(upstream.address)
        .listen("127.0.0.1:53")
        .encrypted(&authority)
        .sinkhole("ipv4 = \"127.0.0.2\"\nipv6 = \"::1\"\nttl = 30\nhttp_listen = [\"127.0.0.2:80\"]\n")
        .feed("authority", "evil.example.test\n")
        .serve();
    let roots = authority.root_file(server.house());
    (server, upstream, roots)
}

#[test]
fn drill_is_answered() {
    inside(|| {
        let (server, _upstream, _) = serve();
        let check = |way: &[&str], qname: &str, expected: &str| {
            let reply = run(Command::new("drill").args(way).args(["@127.0.0.1", qname])).well();
            assert!(reply.stdout.contains(expected), "{way:?} {qname}: {reply:#?}");
        };
        for (way, transport) in [(&["-u"], "udp"), (&["-t"], "tcp")] {
            check(way, "www.evil.example.test", "30\tIN\tA\t127.0.0.2");
            check(way, "dns.example.test", "IN\tA\t127.0.0.1");
            check(way, "nothing.example.test", "rcode: NXDOMAIN");
            assert_eq!(server.log(&[]).iter().filter(|it| it.text("transport") == transport).count(), 3);
        }
    });
}

/// Chromium with a policy that has it ask nobody but us, over HTTPS, as an agency's administrator would set it.
#[test]
fn chromium_finds_the_landing_page_over_https() {
    inside(|| {
        let (server, _upstream, roots) = serve();
        let home = server.house().path().join("home");
        let store = home.join(".pki/nssdb");
        fs::create_dir_all(&store).unwrap();
        let store = format!("sql:{}", store.display());
        run(Command::new("certutil").args(["-d", &store, "-N", "--empty-password"])).well();
        run(Command::new("certutil").args(["-d", &store, "-A", "-t", "C,,", "-n", "test", "-i", &roots]))
            .well();
        let template = format!("https://dns.example.test:{}/dns-query", server.https.unwrap().port());
        let policy = format!(r#"{{"DnsOverHttpsMode": "secure", "DnsOverHttpsTemplates": "{template}"}}"#);
        server.house().write("policy.json", &policy);
        server.house().write("resolv.conf", "nameserver 127.0.0.1\n");

        let mut chromium = Command::new("unshare");
        chromium.args(["--mount", "sh", "-c", CHROMIUM, "sh"]).arg(server.house().path());
        chromium.env("HOME", &home).env("TMPDIR", &home).env_remove("DBUS_SESSION_BUS_ADDRESS");
        let finished = run(chromium.arg("http://www.evil.example.test/update")).well();
        let page = &finished.stdout;
        assert!(page.contains("lang=\"vi\"") && page.contains("www.evil.example.test"), "{finished:#?}");
        let hits = server.log(&["--name", "www.evil.example.test"]);
        assert!(hits.iter().any(|hit| hit.text("qtype") == "A"), "{hits:#?}");
        for hit in &hits {
            hit.assert(&[("transport", "doh"), ("action", "sinkhole"), ("client", "127.0.0.1")]);
        }
        // Where we are is all that it asks in the clear.
        for record in server.log(&[]) {
            let is_clear = record.text("transport") != "doh";
            assert!(!is_clear || record.text("qname").ends_with("dns.example.test"), "{record:#?}");
        }
    });
}

/// The browser, with files in front of the machine's own that nobody else sees.
const CHROMIUM: &str = r#"
mkdir -p /etc/chromium &&
mount -t tmpfs none /etc/chromium &&
mkdir -p /etc/chromium/policies/managed &&
cp "$1/policy.json" /etc/chromium/policies/managed/ &&
mount --bind "$1/resolv.conf" "$(readlink -f /etc/resolv.conf)" &&
exec chromium --headless --no-sandbox --disable-gpu --user-data-dir="$1/home/profile" --dump-dom "$2"
"#;

#[test]
fn stubby_asks_over_tls() {
    inside(|| {
        let (server, _upstream, roots) = serve();
        let text = format!(
            "resolution_type: GETDNS_RESOLUTION_STUB\ndns_transport_list:\n  - GETDNS_TRANSPORT_TLS\n\
             tls_authentication: GETDNS_AUTHENTICATION_REQUIRED\ntls_query_padding_blocksize: 128\n\
             tls_ca_file: \"{roots}\"\nidle_timeout: 10000\nlisten_addresses:\n  - 127.0.0.8@53\n\
             upstream_recursive_servers:\n  - address_data: 127.0.0.1\n    tls_port: {}\n    \
             tls_auth_name: \"dns.example.test\"\n",
            server.tls.unwrap().port()
        );
        server.house().write("stubby.yml", &text);
        let mut stubby = Command::new("stubby");
        stubby.arg("-C").arg(server.house().path().join("stubby.yml"));
        let _stubby = Local::start(stubby.env("HOME", server.house().path()));
        check(&server, SocketAddr::from(([127, 0, 0, 8], 53)));
    });
}

#[test]
fn systemd_resolved_asks_over_tls() {
    inside(|| {
        let (server, _upstream, roots) = serve();
        let text = format!(
            "[Resolve]\nDNS=127.0.0.1:{}#dns.example.test\nDNSOverTLS=yes\nDNSSEC=no\nDomains=~.\n\
             LLMNR=no\nMulticastDNS=no\n",
            server.tls.unwrap().port()
        );
        server.house().write("resolved.conf", &text);
        let mut resolved = Command::new("unshare");
        resolved.args(["--mount", "sh", "-c", RESOLVED, "sh"]).arg(server.house().path());
        let unpacked = concat!(env!("CARGO_TARGET_TMPDIR"), "/systemd-resolved");
        let _resolved = Local::start(resolved.arg(unpacked).env("SSL_CERT_FILE", roots));
        check(&server, SocketAddr::from(([127, 0, 0, 53], 53)));
    });
}

/// `tests/install-deps.sh` unpacks the package and does not install it, which would give the machine's resolv.conf to
/// the service. It drops its rights to those of a user who need not be there, asks only while the machine has an
/// interface that may lead somewhere, and does without D-Bus.
const RESOLVED: &str = r#"
program=lib/systemd/systemd-resolved
[ -x "$2/$program" ] || {
    echo 'systemd-resolved is not there: run `make test-deps`' >&2
    exit 1
}
mount -t tmpfs none /run &&
mkdir /run/systemd &&
mount -t tmpfs none /etc/systemd &&
cp "$1/resolved.conf" /etc/systemd/ &&
{ grep -v '^systemd-resolve:' /etc/passwd; echo 'systemd-resolve:x:0:0::/:/bin/false'; } >"$1/passwd" &&
mount --bind "$1/passwd" /etc/passwd || exit
LD_LIBRARY_PATH=$(echo "$2"/usr/lib/*/systemd) SYSTEMD_LOG_TARGET=console exec "$2/$program"
"#;

/// A resolver of the machine's own; ends when dropped.
struct Local(Child);

impl Local {
    fn start(command: &mut Command) -> Self {
        Self(spawn(command.stdin(Stdio::null()).stdout(Stdio::null())))
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What programs on such a machine get, and what is told of it.
#[track_caller]
fn check(server: &Server, local: SocketAddr) {
    // Neither says when it listens.
    let start = Instant::now();
    while TcpStream::connect(local).is_err() {
        assert!(start.elapsed() < PATIENCE, "nobody listens at {local}");
        thread::sleep(Duration::from_millis(10));
    }
    let reply = Dig::at(local).ask("www.evil.example.test", "A");
    assert_eq!(reply.rdata("A"), ["127.0.0.2"], "{}", reply.raw);
    assert_eq!(Dig::at(local).ask("nothing.example.test", "A").status, "NXDOMAIN");
    server.record_of("www.evil.example.test").assert(&[("transport", "dot"), ("action", "sinkhole")]);
    server.record_of("nothing.example.test").assert(&[("transport", "dot"), ("rcode", "NXDOMAIN")]);
}
