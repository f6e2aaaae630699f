//! What a client may send, and what the RFCs say is answered.

use hickory_proto::op::ResponseCode;

use crate::harness::house::Setup;
use crate::harness::nsd;
use crate::harness::scripted::Scripted;
use crate::harness::server::Server;
use crate::harness::wire::{self, Query, Tcp};

const NS: u16 = 2;
const TSIG: u16 = 250;

fn serve(lines: &str) -> Server {
    Setup::new(nsd::address()).server(lines).feed("authority", "evil.example\n").serve()
}

/// The rcode and extended error of the answer to a query.
#[track_caller]
fn check(server: &Server, query: &Query, expected: ResponseCode, ede: Option<u16>) {
    let answer = server.ask(query);
    let message = wire::decode(&answer);
    assert_eq!(answer[..2], query.id.to_be_bytes());
    assert_eq!((wire::rcode(&message), wire::ede_code(&message)), (expected, ede), "{message}");
    assert_eq!(message.edns.is_some(), query.opt.is_some(), "{message}");
}

#[test]
fn types_that_no_resolver_has() {
    let server = serve("");
    let ask = |qtype: u16| Query::new("www.example.test", qtype).edns(1232, 0, false);
    // Reserved, OPT, TKEY, TSIG, IXFR, AXFR, MAILB, MAILA, and what is set aside for such (RFC 6895, section 3.1).
    for qtype in [0, wire::OPT, 129, 200, 248, 249, TSIG, 251, 252, 253, 254] {
        check(&server, &ask(qtype), ResponseCode::Refused, Some(21));
    }
    // RFC 9824, section 3.5.
    check(&server, &ask(128), ResponseCode::FormErr, Some(30));
    // Unknown types are types as any other (RFC 3597).
    check(&server, &ask(65_280), ResponseCode::NoError, None);
}

#[test]
fn edns_that_is_not_known_is_ignored() {
    let server = serve("");
    let base = Query::new("www.example.test", wire::A);
    // An unknown option, padding, keepalive over UDP, a client subnet; and every flag there is.
    let opts = [
        wire::opt(1232, 0, &[(65_001, b"abc")]),
        wire::opt(1232, 0, &[(12, &[0; 100]), (11, &[]), (8, &[0, 1, 24, 0, 10, 1, 2])]),
        wire::opt(1232, 0x7fff, &[]),
        wire::opt(0, 0, &[]),
    ];
    for opt in opts {
        let query = Query { opt: Some(opt), ..base.clone() };
        let message = wire::decode(&server.ask(&query));
        assert_eq!(wire::rcode(&message), ResponseCode::NoError, "{message}");
        assert_eq!(message.answers.len(), 1, "{message}");
        let edns = message.edns.expect("an OPT record comes back");
        assert_eq!((edns.version(), edns.max_payload(), edns.options().as_ref().len()), (0, 1232, 0));
    }
}

#[test]
fn answers_keep_to_the_size_that_the_client_takes() {
    let server = serve("");
    let check = |name: &str, size: Option<u16>, is_cut: bool| {
        let query = Query::new(name, wire::TXT);
        let query = size.map_or(query.clone(), |size| query.edns(size, 0, false));
        let answer = server.ask(&query);
        // RFC 6891, section 6.2.3: less than 512 is 512.
        let limit = size.map_or(512, |size| usize::from(size.clamp(512, 1232)));
        assert!(answer.len() <= limit, "{name} {size:?}: {}", answer.len());
        assert_eq!(answer[2] & 2 != 0, is_cut, "{name} {size:?}");
    };
    check("medium.example.test", None, true);
    check("medium.example.test", Some(0), true);
    check("medium.example.test", Some(511), true);
    check("medium.example.test", Some(1232), false);
    check("large.example.test", Some(65_535), true);
}

#[test]
fn stray_bits_are_ignored() {
    let server = serve("");
    // AA, TC, RA, the reserved bit, and an rcode.
    for bits in [0x0400, 0x0200, 0x0080, 0x0040, 0x000f] {
        let query = Query::new("www.example.test", wire::A).flags(wire::RD | bits);
        let answer = server.ask(&query);
        let message = wire::decode(&answer);
        assert_eq!(message.answers.len(), 1, "{bits:04x}: {message}");
        assert_eq!(u16::from_be_bytes([answer[2], answer[3]]), wire::QR | wire::RD | wire::RA, "{bits:04x}");
    }
    // Without RD the upstream is asked so.
    let answer = server.ask(&Query::new("www.example.test", wire::A).flags(0));
    assert_eq!(wire::decode(&answer).answers.len(), 1);
    assert_eq!(answer[2] & 1, 0);
}

#[test]
fn any_is_not_asked_of_anybody() {
    let upstream = Scripted::answering(|query| query.answer_a([192, 0, 2, 7]));
    let server = Setup::new(upstream.address).feed("authority", "evil.example\n").serve();
    // RFC 8482, section 4.2.
    for _ in 0..4 {
        let reply = server.dig().with("+notcp").ask("www.example.test", "ANY");
        assert_eq!(
            (reply.status.as_str(), reply.rdata("HINFO")),
            ("NOERROR", vec!["\"RFC8482\" \"\""]),
            "{}",
            reply.raw
        );
    }
    assert!(upstream.seen().is_empty());
    // Where nobody can forge the asker it is a question as any other; a listed name stays listed.
    assert_eq!(server.dig().with("+tcp").ask("www.example.test", "ANY").rdata("A"), ["192.0.2.7"]);
    server.dig().with("+notcp").ask("evil.example", "ANY").assert_nodata();
}

#[test]
fn the_server_tells_of_itself_what_it_is_told_to() {
    let asks =
        [("version.bind", "one"), ("VERSION.server", "one"), ("id.server", "two"), ("hostname.bind", "two")];
    let silent = serve("");
    let told = serve("version = \"one\"\nid = \"two\"\n");
    for (name, text) in asks {
        let ask = |server: &Server| server.dig().with("-c").with("CH").with("+nsid").ask(name, "TXT");
        let reply = ask(&silent);
        assert_eq!((reply.status.as_str(), reply.ede_code()), ("REFUSED", Some(21)), "{}", reply.raw);
        let reply = ask(&told);
        assert_eq!(reply.rdata("TXT"), [format!("\"{text}\"")], "{}", reply.raw);
        assert_eq!(reply.answer[0].ttl, 0);
        let reply = told.dig().with("-c").with("CH").ask("authors.bind", "TXT");
        assert_eq!(reply.status, "REFUSED", "{}", reply.raw);
    }
    // NSID (RFC 5001): only where it is asked for, on every kind of answer.
    for name in ["evil.example", "www.example.test", "www.example.test", "localhost"] {
        let nsid = |reply: crate::harness::dig::Reply| {
            reply.opt.unwrap().iter().find_map(|line| line.strip_prefix("NSID: ").map(str::to_owned))
        };
        assert_eq!(nsid(told.dig().with("+nsid").ask(name, "A")).as_deref(), Some("74 77 6f (\"two\")"));
        assert_eq!(nsid(told.dig().ask(name, "A")), None);
        assert_eq!(nsid(silent.dig().with("+nsid").ask(name, "A")), None);
    }
}

#[test]
fn a_signature_by_an_unknown_key_is_not_ignored() {
    let server = serve("");
    // RFC 8945, section 5.2.1: NOTAUTH, and in the TSIG record BADKEY.
    let key = "hmac-sha256:nobody:c2FjaC1kbnMgZXhhbXBsZSBrZXk=";
    let reply = server.dig().with("-y").with(key).ask("www.example.test", "A");
    assert_eq!(reply.status, "NOTAUTH", "{}", reply.raw);
    assert!(reply.raw.contains("BADKEY"), "{}", reply.raw);
    // One that is none, two, and one that is not the last.
    let query = Query::new("www.example.test", wire::A);
    let question = &query.bytes()[12..];
    let tsig = |rdata: &[u8]| wire::record(&wire::name("nobody"), TSIG, 255, 0, rdata);
    let whole = [&wire::name("hmac-sha256")[..], &[0; 6], &[1, 44], &[0, 0], &[0; 6]].concat();
    let opt = wire::opt(1232, 0, &[]);
    for additional in [vec![tsig(b"abc")], vec![tsig(&whole), tsig(&whole)], vec![tsig(&whole), opt]] {
        let count = u16::try_from(additional.len()).unwrap();
        let header = wire::header(7, wire::RD, [1, 0, 0, count]);
        let packet = [&header, question, &additional.concat()].concat();
        let message = wire::decode(&wire::udp(server.dns, &packet).unwrap());
        assert_eq!(wire::rcode(&message), ResponseCode::FormErr, "{message}");
    }
}

#[test]
fn transfers_of_what_is_not_ours_are_refused() {
    let server = serve("");
    for qtype in [251, 252] {
        for name in ["example.test", "evil.example", ""] {
            let query = Query::new(name, qtype).edns(1232, 0, false);
            check(&server, &query, ResponseCode::Refused, Some(21));
            let mut tcp = Tcp::to(server.dns);
            tcp.send(&query.bytes());
            let message = wire::decode(&tcp.receive().unwrap());
            assert_eq!(wire::rcode(&message), ResponseCode::Refused, "{message}");
        }
    }
}

#[test]
fn the_root_and_single_labels_are_names() {
    let upstream = Scripted::answering(|query| query.answer_a([192, 0, 2, 7]));
    let server = Setup::new(upstream.address).serve();
    for name in ["", "intranet", "a"] {
        let message = wire::decode(&server.ask(&Query::new(name, NS)));
        assert_eq!(wire::rcode(&message), ResponseCode::NoError, "{message}");
    }
    assert_eq!(upstream.seen().len(), 3);
}
