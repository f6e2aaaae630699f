//! DNS cookies (RFC 7873, RFC 9018): who sends one gets one back with every answer, and proves its
//! address with it.

use crate::harness::dig::{Dig, Reply};
use crate::harness::house::Setup;
use crate::harness::nsd;
use crate::harness::scripted::{Scripted, Step};
use crate::harness::server::Server;
use crate::harness::wire;

const SECRET: &str = "e5e973e5a6b2a43f48e7dc849e37bfcf";
const OTHER: &str = "445536bcd2513298075a5d379663c962";

/// The reply's option in hexadecimal digits; fails the test unless dig found its own cookie in it.
#[track_caller]
fn cookie(reply: &Reply) -> String {
    let Some((cookie, verdict)) = reply.cookie().and_then(|cookie| cookie.split_once(' ')) else {
        panic!("no cookie: {}", reply.raw)
    };
    assert_eq!(verdict, "(good)", "{}", reply.raw);
    assert_eq!(cookie.len(), 48, "{}", reply.raw);
    cookie.to_owned()
}

/// Asks with this cookie, and takes BADCOOKIE as it is.
fn ask_with(server: &Server, client: &str, cookie: &str) -> Reply {
    Dig::at(server.dns)
        .from(client)
        .with(&format!("+cookie={cookie}"))
        .with("+nobadcookie")
        .ask("www.example.test", "A")
}

#[test]
fn every_answer_carries_the_clients_cookie() {
    let server = Setup::new(nsd::address())
        .allow(r#"["127.0.0.1/32"]"#)
        .feed("authority", "evil.example\n")
        .feed_as("gone", "nxdomain", "gone.example\n")
        .feed_as("tcp", "tcp-only", "tcp.example\n")
        .feed_as("garden", "cname:www.example.test.", "alias.example\n")
        .serve();
    for transport in ["+notcp", "+tcp"] {
        for (client, qname, qtype, status) in [
            ("127.0.0.1", "evil.example", "A", "NOERROR"),
            ("127.0.0.1", "evil.example", "HTTPS", "NOERROR"),
            ("127.0.0.1", "gone.example", "A", "NXDOMAIN"),
            ("127.0.0.1", "tcp.example", "A", ""),
            ("127.0.0.1", "alias.example", "A", "NOERROR"),
            ("127.0.0.1", "alias.example", "CNAME", "NOERROR"),
            ("127.0.0.1", "www.example.test", "A", "NOERROR"),
            ("127.0.0.1", "www.example.test", "A", "NOERROR"),
            ("127.0.0.1", "large.example.test", "TXT", "NOERROR"),
            ("127.0.0.2", "www.example.test", "A", "REFUSED"),
        ] {
            let dig = server.dig().from(client).with(transport);
            let reply = dig.clone().with("+cookie").ask(qname, qtype);
            cookie(&reply);
            assert!(status.is_empty() || reply.status == status, "{}", reply.raw);
            for without in ["+nocookie", "+noedns"] {
                let reply = dig.clone().with(without).ask(qname, qtype);
                assert!(reply.cookie().is_none(), "{}", reply.raw);
            }
        }
    }
    let badvers = server.dig().with("+cookie").with("+edns=1").with("+noednsneg").ask("evil.example", "A");
    assert_eq!(badvers.status, "BADVERS");
    cookie(&badvers);
}

#[test]
fn a_cookie_that_is_still_good_comes_back_as_it_is() {
    let server = Setup::new(nsd::address()).serve();
    let first = cookie(&ask_with(&server, "127.0.0.1", "0123456789abcdef"));
    assert!(first.starts_with("0123456789abcdef01000000"), "{first}");
    assert_eq!(cookie(&ask_with(&server, "127.0.0.1", &first)), first);
    // It says nothing about another client, nor does what another server made.
    for (client, sent) in
        [("127.0.0.2", &*first), ("127.0.0.1", "0123456789abcdef0100000000000000ffffffffffffffff")]
    {
        let reply = ask_with(&server, client, sent);
        assert_eq!(reply.rdata("A"), ["192.0.2.80"], "it is answered all the same: {}", reply.raw);
        let fresh = cookie(&reply);
        assert_ne!(fresh, sent);
        assert_eq!(cookie(&ask_with(&server, client, &fresh)), fresh);
    }
    server.reload().well();
    assert_eq!(cookie(&ask_with(&server, "127.0.0.1", &first)), first, "a reload changes no cookie");
}

#[test]
fn servers_that_share_secrets_take_each_others_cookies() {
    let node = |secrets: &str| {
        let limits = "[limits]\nclient_qps = 1\n";
        Setup::new(nsd::address()).server(&format!("cookie_secrets = [{secrets}]\n")).more(limits).serve()
    };
    let (one, other) = (node(&format!("\"{SECRET}\"")), node(&format!("\"{OTHER}\", \"{SECRET}\"")));
    let made = cookie(&ask_with(&one, "127.0.0.1", "0123456789abcdef"));
    // Unknown clients are asked for a cookie after the first query of a second; that many come within one
    // is not for a test to demand.
    let statuses = |server: &Server, cookie: &str| -> Vec<String> {
        (0..5).map(|_| ask_with(server, "127.0.0.1", cookie).status).collect()
    };
    assert!(statuses(&other, "0123456789abcdef").contains(&"BADCOOKIE".to_owned()));
    let known = statuses(&other, &made);
    assert!(!known.contains(&"BADCOOKIE".to_owned()), "{known:?}");
    let renewed = cookie(&ask_with(&other, "127.0.0.1", &made));
    assert_ne!(renewed, made, "signed anew with the first secret");
    for server in [&one, &other] {
        assert!(!server.stderr().text().contains(&SECRET[..8]), "{}", server.stderr().text());
    }
}

#[test]
fn a_client_over_its_rate_is_asked_for_a_cookie_and_then_served() {
    let server = Setup::new(nsd::address()).more("[limits]\nclient_qps = 1\n").serve();
    let mut statuses = (0..10).map(|_| ask_with(&server, "127.0.0.1", "0123456789abcdef"));
    let limited = statuses.find(|reply| reply.status == "BADCOOKIE").unwrap();
    assert!(limited.answer.is_empty() && !limited.has_flag("tc"), "{}", limited.raw);
    let proven = ask_with(&server, "127.0.0.1", &cookie(&limited));
    assert_eq!(proven.rdata("A"), ["192.0.2.80"], "{}", proven.raw);
    let records = server.log(&["--client", "127.0.0.1"]);
    let limited = records.iter().find(|record| record.text("action") == "limited").unwrap();
    limited.assert(&[("rcode", "BADCOOKIE")]);

    // dig does the same by itself.
    let dig = || server.dig().from("127.0.0.3").with("+cookie=0123456789abcdef").ask("www.example.test", "A");
    let replies: Vec<Reply> = (0..2).map(|_| dig()).collect();
    assert!(replies.iter().all(|reply| reply.status == "NOERROR"), "{replies:#?}");
}

#[test]
fn a_malformed_cookie_is_a_malformed_query() {
    let server = Setup::new(nsd::address()).feed("authority", "evil.example\n").serve();
    for (data, status) in [
        ("", "FORMERR"),
        ("01020304050607", "FORMERR"),
        ("010203040506070809", "FORMERR"),
        ("0102030405060708090a0b0c0d0e0f", "FORMERR"),
        ("0102030405060708090a0b0c0d0e0f10", "NOERROR"),
    ] {
        let option = format!("+ednsopt=10:{data}");
        let reply = server.dig().with("+nocookie").with(&option).ask("evil.example", "A");
        assert_eq!(reply.status, status, "{data}: {}", reply.raw);
    }
    let malformed = server.log(&["--name", "evil.example"]);
    assert_eq!(malformed.iter().filter(|record| record.text("action") == "malformed").count(), 4);
}

#[test]
fn cookies_can_be_switched_off() {
    let server = Setup::new(nsd::address()).server("cookies = false\n").serve();
    let reply = server.dig().with("+cookie").ask("www.example.test", "A");
    assert_eq!((reply.cookie(), reply.rdata("A")), (None, vec!["192.0.2.80"]), "{}", reply.raw);
    let malformed = server.dig().with("+nocookie").with("+ednsopt=10:00").ask("www.example.test", "A");
    assert_eq!(malformed.status, "NOERROR", "an option that nobody reads: {}", malformed.raw);
}

#[test]
fn cookies_go_one_hop() {
    // The upstream's own cookie, in every answer.
    let upstream = Scripted::start(|query| {
        let opt = wire::opt(1232, 0, &[(10, b"upstreamupstreamupstream")]);
        vec![Step::Send(query.answer(wire::RA, 0, &[query.a([192, 0, 2, 7])], Some(&opt)))]
    });
    let server = Setup::new(upstream.address).serve();
    let reply = ask_with(&server, "127.0.0.1", "0123456789abcdef");
    assert!(cookie(&reply).starts_with("0123456789abcdef"));
    let asked = &upstream.wait_seen(1)[0].bytes;
    let client = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
    assert!(!asked.windows(client.len()).any(|octets| octets == client), "{asked:02x?}");
    let options = wire::decode(asked).edns.map_or(0, |edns| edns.options().options.len());
    assert_eq!(options, 0, "nothing but our own OPT record");
}

#[test]
fn a_cookie_counts_for_the_size_of_an_answer() {
    // A TXT record that leaves 20 octets of 512: too few for a COOKIE option's 28.
    let upstream = Scripted::answering(|query| {
        let room = 512 - 20 - (12 + 16 + 4) - 12 - 11;
        let strings = [&[(room - 201 - 1) as u8][..], &vec![b'x'; room - 202], &[200], &[b'y'; 200]].concat();
        query.answer(wire::RA, 0, &[wire::record(&[0xc0, 12], wire::TXT, wire::IN, 300, &strings)], None)
    });
    let server = Setup::new(upstream.address).serve();
    let ask = |option: &str| server.dig().with("+bufsize=512").with(option).ask("full.example.x", "TXT");
    for _ in 0..2 {
        let whole = ask("+nocookie");
        assert_eq!((whole.size, whole.has_flag("tc")), (492, false), "{}", whole.raw);
        let cut = ask("+cookie");
        assert!(cut.answer.is_empty() && cut.has_flag("tc"), "{}", cut.raw);
        cookie(&cut);
    }
    let whole = server.dig().with("+tcp").with("+cookie").ask("full.example.x", "TXT");
    assert_eq!(whole.size, 520, "{}", whole.raw);
}
