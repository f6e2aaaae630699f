//! DNS over TLS (RFC 7858), and what it shares with the other encrypted transports: certificates, padding,
//! and what clients are told of them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::thread;

use crate::harness::authority::{Authority, CERTIFICATE, KEY};
use crate::harness::house::{House, Setup};
use crate::harness::scripted::{Door, Scripted};
use crate::harness::server::Server;
use crate::harness::tls::Tls;
use crate::harness::wire::{self, Query, Tcp};
use crate::harness::{PATIENCE, nsd, run};

const PADDING: u16 = 12;
const KEEPALIVE: u16 = 11;
const SVCB: u16 = 64;

fn serve(authority: &Authority) -> Server {
    Setup::new(nsd::address()).feed("authority", "evil.example\n").encrypted(authority).serve()
}

/// Asks with Knot's `kdig`, which verifies the certificate.
#[track_caller]
fn kdig(server: SocketAddr, authority: &Authority, house: &House, options: &[&str], qname: &str) -> String {
    let mut kdig = Command::new("kdig");
    kdig.arg(format!("@{}", server.ip())).arg("-p").arg(server.port().to_string()).args(options);
    kdig.arg(format!("+tls-ca={}", authority.root_file(house))).arg("+tls-hostname=dns.example.test");
    run(kdig.args(["+retry=0", "+time=10", qname, "TXT"])).well().stdout
}

#[test]
fn kdig_is_answered_whatever_the_size_and_each_query_recorded() {
    let authority = Authority::new();
    let server = serve(&authority);
    let (tls, https) = (server.tls.unwrap(), server.https.unwrap());
    let cases =
        [(tls, &["+tls"][..], "dot"), (https, &["+https"], "doh"), (https, &["+https", "+https-get"], "doh")];
    for (number, (address, options, transport)) in cases.into_iter().enumerate() {
        let text = kdig(address, &authority, server.house(), options, "huge.example.test");
        assert!(text.contains("status: NOERROR"), "{text}");
        assert!(!text.contains(" tc "), "a stream holds all: {text}");
        let strings = nsd::txt_strings(nsd::HUGE_STRINGS);
        assert!(strings.iter().all(|string| text.contains(string)), "{options:?}: {text}");
        let records = server.log(&["--name", "huge.example.test"]);
        assert_eq!(records.len(), number + 1);
        records[0].assert(&[("transport", transport), ("client", "127.0.0.1"), ("action", "forward")]);
    }
}

#[test]
fn queries_are_pipelined_as_over_tcp() {
    let door = Door::default();
    let at_door = door.clone();
    let upstream = Scripted::answering(move |query| {
        if query.qname().starts_with("slow") {
            at_door.wait();
        }
        query.answer_a([192, 0, 2, 7])
    });
    let authority = Authority::new();
    let server =
        Setup::new(upstream.address).feed("authority", "evil.example\n").encrypted(&authority).serve();
    let mut tls = Tls::to(server.tls.unwrap(), &authority);
    for (qname, id) in [("slow.test", 1), ("fast.test", 2), ("evil.example", 3)] {
        tls.send(&Query::new(qname, wire::A).id(id).bytes());
    }
    assert_eq!(tls.protocol().as_deref(), Some("dot"));
    let mut receive = || wire::decode(&tls.receive().unwrap()).metadata.id;
    let mut first = [receive(), receive()];
    first.sort_unstable();
    assert_eq!(first, [2, 3]);
    door.open();
    assert_eq!(receive(), 1);
}

#[test]
fn who_asks_for_padding_gets_it_where_it_hides_something() {
    let authority = Authority::new();
    let server = serve(&authority);
    let mut tls = Tls::to(server.tls.unwrap(), &authority);
    let mut tcp = Tcp::to(server.dns);
    let query = |qname: &str| Query::new(qname, wire::TXT);
    for qname in
        ["www.example.test", "medium.example.test", "huge.example.test", "evil.example", "nx.example.test"]
    {
        let padded = query(qname).options(&[(PADDING, &[0; 20])]).bytes();
        let answer = tls.ask(&padded);
        assert_eq!(answer.len() % 468, 0, "{qname}: {} octets", answer.len());
        assert!(wire::decode(&answer).edns.is_some());
        // Nobody else asked for it, and on a plain transport it hides nothing.
        let bare = tls.ask(&query(qname).edns(1232, 0, false).bytes());
        assert!(wire::option(&wire::decode(&bare), PADDING).is_none(), "{qname}");
        assert!(wire::decode(&tls.ask(&query(qname).bytes())).edns.is_none(), "{qname}");
        tcp.send(&padded);
        let plain = tcp.receive().unwrap();
        assert_eq!(plain.len(), bare.len(), "{qname}");
    }
}

#[test]
fn who_asks_how_long_a_connection_lives_is_told() {
    let authority = Authority::new();
    let server = Setup::new(nsd::address())
        .feed("authority", "evil.example\n")
        .encrypted(&authority)
        .more("[limits]\ntcp_idle = \"7s\"\n")
        .serve();
    let query = Query::new("evil.example", wire::A).options(&[(KEEPALIVE, b"")]).bytes();
    let keepalive = |answer: &[u8]| wire::option(&wire::decode(answer), KEEPALIVE);
    let mut tcp = Tcp::to(server.dns);
    tcp.send(&query);
    // In units of 100 ms.
    assert_eq!(keepalive(&tcp.receive().unwrap()), Some(vec![0, 70]));
    assert_eq!(keepalive(&Tls::to(server.tls.unwrap(), &authority).ask(&query)), Some(vec![0, 70]));
    assert_eq!(keepalive(&wire::udp(server.dns, &query).unwrap()), None, "UDP has no connection");
    let bare = Query::new("evil.example", wire::A).edns(1232, 0, false).bytes();
    tcp.send(&bare);
    assert_eq!(keepalive(&tcp.receive().unwrap()), None);
}

#[test]
fn what_never_becomes_a_connection_is_closed() {
    let authority = Authority::new();
    let server = Setup::new(nsd::address())
        .feed("authority", "evil.example\n")
        .encrypted(&authority)
        .more("[limits]\ntcp_idle = \"500ms\"\n")
        .serve();
    let hello = [&[0x16, 3, 1, 2, 0][..], &[1; 100]].concat();
    let plain = wire::framed(&Query::new("evil.example", wire::A).bytes());
    // Nothing, half a greeting, DNS without TLS, HTTP without TLS.
    let octets: [&[u8]; 4] = [b"", &hello, &plain, b"GET /dns-query HTTP/1.1\r\n\r\n"];
    for address in [server.tls.unwrap(), server.https.unwrap()] {
        for octets in octets {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(octets).unwrap();
            let mut answer = Vec::new();
            match stream.read_to_end(&mut answer) {
                // An alert at most.
                Ok(_) => assert!(answer.len() < 20, "{answer:02x?}"),
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
            }
        }
    }
    // A connection that was made, and then is silent, or stops within a query.
    for octets in [&plain[..0], &plain[..1], &plain[..20]] {
        let mut tls = Tls::to(server.tls.unwrap(), &authority);
        let _ = tls.ask(&Query::new("evil.example", wire::A).bytes());
        tls.send_raw(octets).unwrap();
        assert_eq!(tls.receive_all(), b"");
    }
}

#[test]
fn the_connections_of_all_transports_are_counted_together() {
    let authority = Authority::new();
    let server = Setup::new(nsd::address())
        .feed("authority", "evil.example\n")
        .encrypted(&authority)
        .more("[limits]\ntcp_per_client = 2\n")
        .serve();
    let query = Query::new("evil.example", wire::A).bytes();
    let mut tcp = Tcp::to(server.dns);
    tcp.send(&query);
    tcp.receive().unwrap();
    let mut tls = Tls::to(server.tls.unwrap(), &authority);
    tls.ask(&query);
    let mut third = Tls::over(TcpStream::connect(server.https.unwrap()).unwrap(), &authority, &["h2"]);
    assert!(third.send_raw(b"").and_then(|()| third.send_raw(&query)).is_err(), "one too many of a client");
    drop((tcp, tls));
}

#[test]
fn a_new_certificate_is_taken_and_a_bad_one_is_not() {
    let authority = Authority::new();
    let server = serve(&authority);
    let query = Query::new("evil.example", wire::A).bytes();
    let shown = || {
        let mut tls = Tls::to(server.tls.unwrap(), &authority);
        tls.ask(&query);
        tls.certificate()
    };
    let mut open = Tls::to(server.tls.unwrap(), &authority);
    open.ask(&query);
    let first = shown();

    // The new certificate is there, its key is not yet.
    let (certificate, key) = authority.issue("dns.example.test");
    server.house().write(CERTIFICATE, &certificate);
    let told = server.reload().well().stdout;
    assert!(told.contains("the certificate stays as it was") && told.contains("server.tls_key"), "{told}");
    assert_eq!(shown(), first);

    server.house().write(KEY, &key);
    let told = server.reload().well().stdout;
    assert!(!told.contains("certificate"), "{told}");
    assert_ne!(shown(), first);
    assert_eq!(wire::decode(&open.ask(&query)).answers.len(), 1, "what is open stays open");
}

#[test]
fn what_is_on_its_way_is_answered_at_a_stop() {
    let door = Door::default();
    let at_door = door.clone();
    let upstream = Scripted::answering(move |query| {
        at_door.wait();
        query.answer_a([192, 0, 2, 7])
    });
    let authority = Authority::new();
    let server = Setup::new(upstream.address).encrypted(&authority).serve();
    let mut tls = Tls::to(server.tls.unwrap(), &authority);
    tls.send(&Query::new("slow.test", wire::A).bytes());
    upstream.wait_seen(1);
    let answer = thread::spawn(move || (tls.receive(), tls.receive_all()));
    let lines = server.stderr().clone();
    let opening = thread::spawn(move || {
        let stopping = lines.wait(PATIENCE, |line| line.contains("stopping"));
        door.open();
        stopping.unwrap();
    });
    let stopped = server.stop(rustix::process::Signal::TERM);
    opening.join().unwrap();
    assert!(stopped.status.success(), "{}", stopped.stderr);
    let (answer, rest) = answer.join().unwrap();
    assert_eq!(wire::decode(&answer.unwrap()).answers.len(), 1);
    assert_eq!(rest, b"");
}

#[test]
fn clients_that_ask_are_told_of_the_encrypted_transports() {
    let authority = Authority::new();
    let server = Setup::new(nsd::address())
        .feed("authority", "evil.example\n")
        .encrypted(&authority)
        .server("tls_name = \"dns.example.test\"\n")
        .serve();
    let answer = wire::decode(&server.ask(&Query::new("_dns.resolver.arpa", SVCB)));
    let told: Vec<String> = answer.answers.iter().map(|record| record.data.to_string()).collect();
    let parameters = [
        format!("alpn=dot, port={}", server.tls.unwrap().port()),
        format!("alpn=h2, port={}", server.https.unwrap().port()),
        format!("alpn=doq, port={}", server.quic.unwrap().port()),
    ];
    assert_eq!(told.len(), parameters.len(), "{told:?}");
    for (told, expected) in told.iter().zip(parameters) {
        let plain = told.replace([' ', ','], "");
        assert!(plain.starts_with("1dns.example.test."), "{told}");
        assert!(plain.contains(&expected.replace([' ', ','], "")), "{told} should say {expected}");
    }
    server.record_of("_dns.resolver.arpa").assert(&[("action", "local"), ("rcode", "NOERROR")]);
}

#[test]
fn credentials_that_are_of_no_use_are_faults() {
    #[track_caller]
    fn check(change: impl FnOnce(&House), place: &str, words: &str) {
        let authority = Authority::new();
        let house = Setup::new(nsd::address()).encrypted(&authority).lay();
        change(&house);
        let finished = house.run("check", &[]);
        assert_eq!(finished.code(), 1, "{finished:#?}");
        let told = finished.stderr.lines().find(|line| line.contains(place));
        assert!(told.is_some_and(|line| line.contains(words)), "no {place:?} with {words:?}: {finished:#?}");
        let finished = run(&mut house.command(&["serve", "--config", "sachdns.toml"]));
        assert_eq!(finished.code(), 1, "{finished:#?}");
        assert!(finished.stderr.contains(words) && !finished.stderr.contains("ready"), "{finished:#?}");
    }
    let remove =
        |file: &'static str| move |house: &House| std::fs::remove_file(house.path().join(file)).unwrap();
    check(remove(CERTIFICATE), "sachdns.toml:9: server.tls_certificate: certificate.pem", "No such file");
    check(remove(KEY), "sachdns.toml:10: server.tls_key: key.pem", "No such file");
    check(|house| house.write(KEY, "no key"), "server.tls_key", "-----BEGIN PRIVATE KEY-----");
    check(|house| house.write(CERTIFICATE, "x"), "server.tls_certificate", "-----BEGIN CERTIFICATE-----");
    let (_, other) = Authority::new().issue("dns.example.test");
    check(|house| house.write(KEY, &other), "server.tls_key", "not the key of the certificate");

    let bare = Setup::new(nsd::address()).server("tls_listen = [\"127.0.0.1:0\"]\n").lay();
    let finished = bare.run("check", &[]);
    assert_eq!(finished.code(), 1);
    for setting in ["server.tls_certificate: is missing", "server.tls_key: is missing"] {
        assert!(finished.stderr.contains(setting), "{finished:#?}");
    }
}
