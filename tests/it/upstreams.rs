//! Upstreams over TLS, HTTPS and QUIC: who they must show to be, connections that are kept, and what becomes of those
//! that break.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use rustix::process::Signal;

use crate::harness::authority::Authority;
use crate::harness::dig::Dig;
use crate::harness::house::{CONFIG, House, Setup};
use crate::harness::namespace::inside;
use crate::harness::scripted::{Scripted, Seen};
use crate::harness::secure::{Certified, Deed, Secure};
use crate::harness::server::Server;
use crate::harness::unbound::{self, Unbound};
use crate::harness::wire::{self, Query};
use crate::harness::{PATIENCE, nsd};

/// The name in certificates here.
const NAME: &str = "dns.example";
/// Longer than the deadline of a query, shorter than two.
const SOON: Duration = Duration::from_secs(7);

/// The server with one upstream, as TOML, and the authority's certificate in `ca.pem`.
fn serve(certified: &Certified, upstream: &str) -> Server {
    let nobody = ([127, 0, 0, 1], 9).into();
    Setup::new(nobody).upstreams(&[upstream]).file("ca.pem", &certified.ca).serve()
}

fn url(scheme: &str, upstream: &Secure) -> String {
    format!("{{ url = \"{scheme}://{}#{NAME}\", ca = \"ca.pem\" }}", upstream.address)
}

fn answer(query: &Seen) -> Deed {
    Deed::Answer(query.answer_a([192, 0, 2, 7]))
}

#[track_caller]
fn assert_answered(server: &Server, qname: &str) {
    let reply = server.dig().ask(qname, "A");
    assert_eq!(reply.rdata("A"), ["192.0.2.7"], "{}", reply.raw);
}

/// SERVFAIL with this extended error, in time.
#[track_caller]
fn assert_failed(server: &Server, qname: &str, ede: u16) {
    let start = Instant::now();
    let reply = server.dig().ask(qname, "A");
    assert_eq!((&*reply.status, reply.ede_code()), ("SERVFAIL", Some(ede)), "{}", reply.raw);
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

#[test]
fn unbound_over_tls_and_https() {
    let certified = Certified::new(&[NAME, "127.0.0.1"]);
    let unbound = Unbound::start(&certified);
    let (tls, https) = (unbound.tls, unbound.https);
    for upstream in [
        format!("{{ url = \"tls://{tls}#{NAME}\", ca = \"ca.pem\" }}"),
        // The address itself is in the certificate.
        format!("{{ url = \"tls://{tls}\", ca = \"ca.pem\", pins = [\"{}\"] }}", certified.pin),
        format!("{{ url = \"tls://{NAME}:{}\", addresses = [\"127.0.0.1\"], ca = \"ca.pem\" }}", tls.port()),
        format!("{{ url = \"https://{NAME}:{}/dns-query#127.0.0.1\", ca = \"ca.pem\" }}", https.port()),
        format!("{{ url = \"https://{https}\", name = \"{NAME}\", ca = \"ca.pem\" }}"),
    ] {
        let server = serve(&certified, &upstream);
        // Many at once on one connection, each with its own answer.
        let clients: Vec<_> = (0..unbound::NAMES)
            .map(|n| {
                let udp = wire::Udp::to(server.dns);
                udp.send(&Query::new(&format!("N{n}.unbound.test"), wire::A).edns(1232, 0, false).bytes());
                udp
            })
            .collect();
        for (n, udp) in clients.iter().enumerate() {
            let message = udp.receive().unwrap();
            assert_eq!(message[message.len() - 11 - 1], n as u8, "{upstream}: {message:02x?}");
        }
        let denied = server.dig().ask("nothing.unbound.test", "A");
        assert_eq!(denied.status, "NXDOMAIN", "{upstream}: {}", denied.raw);
    }
}

/// No other server in Debian speaks DoQ: one of our own is asked over it by a second one.
#[test]
fn another_sachdns_over_quic() {
    inside(|| {
        let authority = Authority::new();
        let house =
            Setup::new(nsd::address()).feed("authority", "evil.example\n").encrypted(&authority).lay();
        let config = house.read(CONFIG);
        house.write(
            CONFIG,
            &config.replace("quic_listen = [\"127.0.0.1:0\"]", "quic_listen = [\"127.0.0.1:853\"]"),
        );
        let first = house.serve();
        let ca = authority.root_file(first.house());
        let upstream =
            format!("{{ url = \"quic://{}#dns.example.test\", ca = \"{ca}\" }}", first.quic.unwrap());
        let nobody = ([127, 0, 0, 1], 9).into();
        let second = Setup::new(nobody).upstreams(&[&upstream]).serve();
        let dig = || dig_of(&second);

        // Many at once on one connection, each with its own answer.
        let clients: Vec<_> = (0..40)
            .map(|n| {
                let udp = wire::Udp::to(second.dns);
                udp.send(&Query::new(&format!("n{n}.example.test"), wire::A).edns(1232, 0, false).bytes());
                udp
            })
            .collect();
        for (n, udp) in clients.iter().enumerate() {
            let message = wire::decode(&udp.receive().unwrap());
            assert_eq!(wire::rcode(&message), ResponseCode::NXDomain, "{message:?}");
            assert_eq!(message.queries[0].name().to_string(), format!("n{n}.example.test."));
        }
        // Whole, whatever its size, with DNSSEC records and with the other's extended errors.
        let reply = dig().ask("huge.example.test", "TXT");
        assert_eq!(
            reply.rdata("TXT").len(),
            dig_of(&first).ask("huge.example.test", "TXT").rdata("TXT").len()
        );
        assert_eq!(reply.size, dig_of(&first).ask("huge.example.test", "TXT").size);
        assert!(!dig().with("+dnssec").ask("signed.test", "SOA").rdata("RRSIG").is_empty());
        let reply = dig().ask("www.evil.example", "A");
        assert_eq!((reply.rdata("A"), reply.ede_code()), (vec!["10.10.10.10"], Some(15)), "{}", reply.raw);
        // Once the first has ended and is there again, another connection is opened.
        let stopped = first.stop(Signal::TERM);
        assert!(stopped.status.success(), "{}", stopped.stderr);
        assert_eq!(dig().ask("medium.example.test", "TXT").status, "SERVFAIL");
        let first = stopped.house.serve();
        // The next try is put off for a moment after one that failed.
        let start = Instant::now();
        while dig().ask("www.example.test", "A").rdata("A") != ["192.0.2.80"] {
            assert!(start.elapsed() < PATIENCE, "no other connection");
        }
        for record in first.log(&[]).iter().filter(|record| record.text("transport") != "tcp") {
            record.assert(&[("transport", "doq"), ("client", "127.0.0.1")]);
        }
    });
}

fn dig_of(server: &Server) -> Dig {
    server.dig().with("+tcp").with("+bufsize=4096")
}

#[test]
fn one_connection_carries_all_queries_and_their_length_tells_nothing() {
    fn check(scheme: &str, start: impl FnOnce(&Certified) -> Secure) {
        let certified = Certified::new(&[NAME]);
        let upstream = start(&certified);
        let server = serve(&certified, &url(scheme, &upstream));
        for n in 0..20 {
            assert_answered(&server, &format!("{}{n}.test", "abc".repeat(n)));
        }
        assert_eq!(upstream.connections(), 1, "{scheme}");
        let seen = upstream.seen();
        assert_eq!(seen.len(), 20, "{scheme}");
        for query in seen {
            assert_eq!(query.bytes.len() % 128, 0, "{scheme}");
            // RFC 8484, section 4.1; RFC 9250, section 4.2.1.
            assert!(scheme == "tls" || query.bytes[..2] == [0, 0], "{scheme}");
        }
    }
    check("tls", |certified| Secure::tls(certified, answer));
    check("https", |certified| Secure::https(certified, answer));
    check("quic", |certified| Secure::quic(certified, answer));
}

#[test]
fn who_is_not_who_it_must_be_is_asked_nothing() {
    let right = Certified::new(&[NAME]);
    let other_name = Certified::new(&["other.example"]);
    let other_authority = Certified::new(&[NAME]);
    let check = |presented: &Certified, trusted: &Certified, more: &str, is_answered: bool| {
        for (scheme, upstream) in [
            ("tls", Secure::tls(presented, answer)),
            ("https", Secure::https(presented, answer)),
            ("quic", Secure::quic(presented, answer)),
        ] {
            let url = url(scheme, &upstream).replace(" }", &format!("{more} }}"));
            let server = serve(trusted, &url);
            if is_answered {
                assert_answered(&server, "www.test");
            } else {
                assert_failed(&server, "www.test", 22);
            }
            assert_eq!(upstream.seen().len(), usize::from(is_answered), "{url}");
        }
    };
    check(&right, &right, "", true);
    check(&other_name, &other_name, "", false);
    check(&right, &other_authority, "", false);
    // One of the pins is enough; without any of them the certificate alone is not.
    let pins = |pins: &[&Certified]| {
        let pins: Vec<String> = pins.iter().map(|pinned| format!("\"{}\"", pinned.pin)).collect();
        format!(", pins = [{}]", pins.join(", "))
    };
    check(&right, &right, &pins(&[&other_name, &right]), true);
    check(&right, &right, &pins(&[&other_name]), false);
    check(&right, &other_authority, &pins(&[&right]), false);
}

#[test]
fn a_query_on_a_connection_that_dies_is_asked_again() {
    // Every third query ends its connection unanswered.
    fn script() -> impl Fn(&Seen) -> Deed + Send + Sync + 'static {
        let count = AtomicUsize::new(0);
        move |query| match count.fetch_add(1, Ordering::SeqCst) % 3 {
            2 => Deed::Close,
            _ => answer(query),
        }
    }
    let certified = Certified::new(&[NAME]);
    for (scheme, upstream) in [
        ("tls", Secure::tls(&certified, script())),
        ("https", Secure::https(&certified, script())),
        ("quic", Secure::quic(&certified, script())),
    ] {
        let server = serve(&certified, &url(scheme, &upstream));
        for n in 0..6 {
            assert_answered(&server, &format!("n{n}.{scheme}.test"));
        }
        assert!(upstream.connections() > 1, "{scheme}");
    }
}

#[test]
fn what_is_no_answer_is_a_clean_failure() {
    let certified = Certified::new(&[NAME]);
    let check = |scheme: &str, upstream: &Secure, ede: u16| {
        let server = serve(&certified, &url(scheme, upstream));
        assert_failed(&server, "www.test", ede);
    };
    let another = |query: &Seen| {
        let mut bytes = query.answer_a([192, 0, 2, 7]);
        bytes[13] = b'x';
        Deed::Answer(bytes)
    };
    check("tls", &Secure::tls(&certified, another), 23);
    check("https", &Secure::https(&certified, another), 23);
    check("quic", &Secure::quic(&certified, another), 23);
    check("https", &Secure::https(&certified, |_| Deed::Status(500)), 23);
    check("https", &Secure::https(&certified, |_| Deed::Answer(vec![0; 70_000])), 23);
    check("https", &Secure::https(&certified, |_| Deed::Answer(Vec::new())), 23);
    check("quic", &Secure::quic(&certified, |_| Deed::Answer(vec![0xff; 40])), 23);
    // Slow octets, and none.
    check("tls", &Secure::tls(&certified, |_| Deed::Drip), 22);
    check("tls", &Secure::tls(&certified, |_| Deed::Nothing), 22);
    check("https", &Secure::https(&certified, |_| Deed::Nothing), 22);
    check("quic", &Secure::quic(&certified, |_| Deed::Nothing), 22);
}

#[test]
fn the_next_one_is_asked_where_no_connection_comes() {
    let certified = Certified::new(&[NAME]);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // It accepts, and never says a word.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let plain = Scripted::answering(|query| query.answer_a([192, 0, 2, 7]));
    for broken in [closed, mute.local_addr().unwrap()] {
        for scheme in ["tls", "https", "quic"] {
            let broken = format!("{{ url = \"{scheme}://{broken}#{NAME}\", ca = \"ca.pem\" }}");
            let setup = Setup::new(plain.address).upstreams(&[&broken, &format!("\"{}\"", plain.address)]);
            let server = setup.file("ca.pem", &certified.ca).serve();
            let start = Instant::now();
            assert_answered(&server, &format!("{scheme}.test"));
            assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
        }
    }
}

#[test]
fn answers_come_in_any_order() {
    let certified = Certified::new(&[NAME]);
    // The first one waits, on the same connection, until the second one is answered.
    let upstream = Secure::https(&certified, |query| match &*query.qname() {
        "slow.test." => Deed::Nothing,
        _ => answer(query),
    });
    let server = serve(&certified, &url("https", &upstream));
    let udp = wire::Udp::to(server.dns);
    udp.send(&Query::new("slow.test", wire::A).bytes());
    while upstream.seen().is_empty() {
        thread::yield_now();
    }
    assert_answered(&server, "fast.test");
    assert_eq!(upstream.connections(), 1);
    assert_eq!(wire::rcode(&wire::decode(&udp.receive().unwrap())).low(), 2);
}

#[test]
fn only_a_trusted_upstreams_word_that_it_validated_is_handed_on() {
    let upstream = Scripted::answering(|query| {
        let rcode = if query.qname() == "nothing.test." { 3 } else { 0 };
        query.answer(wire::RA | wire::AD, rcode, &[query.a([192, 0, 2, 7])], None)
    });
    let check = |is_trusted: bool| {
        let plain = format!("{{ url = \"{}\", trusted = {is_trusted} }}", upstream.address);
        let server = Setup::new(upstream.address).upstreams(&[&plain]).serve();
        let ask = |qname: &str, options: [&str; 2], expected: bool| {
            let dig = options.iter().fold(server.dig(), |dig, option| dig.with(option));
            let reply = dig.ask(qname, "A");
            assert_eq!(reply.has_flag("ad"), expected && is_trusted, "{options:?}: {}", reply.raw);
        };
        // Fresh, from the resolver's cache, and from the workers' own tables, by turns.
        for _ in 0..4 {
            ask("www.test", ["+adflag", "+nodnssec"], true);
            ask("www.test", ["+noadflag", "+nodnssec"], false);
            ask("www.test", ["+noadflag", "+noedns"], false);
            ask("www.test", ["+adflag", "+noedns"], true);
            ask("www.test", ["+noadflag", "+dnssec"], true);
            ask("nothing.test", ["+noadflag", "+dnssec"], true);
        }
    };
    check(true);
    check(false);
    assert!(upstream.seen().iter().all(|query| query.flags() & wire::AD != 0), "each is asked for it");
}

#[test]
fn faults_say_the_mend() {
    let check = |upstream: &str, mend: &str| {
        let config = format!("[resolver]\nupstreams = [{upstream}]\n");
        let house = House::with_config(&config);
        house.write("empty.pem", "no certificate\n");
        let finished = house.run("check", &[]);
        assert_ne!(finished.code(), 0, "{upstream}");
        let told = finished.stderr;
        assert!(told.contains("sachdns.toml:2: resolver.upstreams: "), "{told}");
        assert!(told.contains(mend), "{told}");
    };
    check("\"tls://dns.example\"", "addresses = [\"192.0.2.53\"]");
    check("\"dns.example\"", "not an address and a port");
    check("\"http://192.0.2.53\"", "http:// is no protocol");
    check("{ addresses = [\"192.0.2.53\"] }", "url = ");
    check("{ url = \"192.0.2.53\", adresses = [] }", "url, addresses, name, ca, pins and trusted");
    check("{ url = \"192.0.2.53\", name = \"dns.example\" }", "plain DNS has no certificate");
    check("{ url = \"tls://192.0.2.53\", ca = \"none.pem\" }", "none.pem: No such file");
    check("{ url = \"tls://192.0.2.53\", ca = \"empty.pem\" }", "there is no certificate in it");
    check("{ url = \"tls://192.0.2.53\", pins = [\"sha256/AAAA\"] }", "44 characters");
    check("{ url = \"tls://192.0.2.53\", addresses = [\"dns.example\"] }", "an address such as");
}
