//! An upstream that fails is passed over, one that lies is not believed.

use std::time::{Duration, Instant};

use crate::harness::house::Setup;
use crate::harness::scripted::{Scripted, Seen, Step};
use crate::harness::server::Server;
use crate::harness::{PATIENCE, nsd, wire};

/// More than one upstream's time-out, less than the patience of a stub (RFC 1035, section 7.2; the
/// usual stub asks again after five seconds).
const SOON: Duration = Duration::from_secs(5);

/// A good answer comes in time, though one upstream of the two behaves like this.
#[track_caller]
fn check(bad: &Scripted) {
    for order in [[bad.address, nsd::address()], [nsd::address(), bad.address]] {
        let server = Setup::new(order[0]).upstream(order[1]).serve();
        for qname in ["www.example.test", "mail.example.test", "ns.example.test"] {
            let start = Instant::now();
            let reply = server.dig().ask(qname, "A");
            assert_eq!(reply.status, "NOERROR", "{}", reply.raw);
            assert_eq!(reply.rdata("A").len(), 1, "{}", reply.raw);
            assert!(reply.rdata("A")[0].starts_with("192.0.2."), "{}", reply.raw);
            assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
        }
    }
}

#[test]
fn silence() {
    check(&Scripted::silent());
}

#[test]
fn servfail() {
    check(&Scripted::failing(2));
    check(&Scripted::answering(|query| query.answer(wire::RA, 2, &[], Some(&wire::ede(22, "no way")))));
}

#[test]
fn refused() {
    check(&Scripted::failing(5));
}

#[test]
fn notimp_and_formerr() {
    check(&Scripted::failing(4));
    check(&Scripted::failing(1));
}

#[test]
fn a_closed_port() {
    let address = nsd::free_address();
    let server = Setup::new(address).upstream(nsd::address()).serve();
    let start = Instant::now();
    assert_eq!(server.dig().ask("www.example.test", "A").rdata("A"), ["192.0.2.80"]);
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

#[test]
fn garbage() {
    check(&Scripted::answering(|query| query.bytes[..2].to_vec()));
    check(&Scripted::answering(|_| vec![0xff; 40]));
    check(&Scripted::answering(|query| {
        // The question's name points at itself.
        let mut bytes = wire::header(0, wire::QR | wire::RA, [1, 1, 0, 0]);
        bytes[..2].copy_from_slice(&query.bytes[..2]);
        bytes.extend([0xc0, 12, 0, 1, 0, 1]);
        bytes
    }));
}

#[test]
fn truncated_and_no_tcp() {
    check(&Scripted::start(|query| match query.is_tcp {
        false => vec![Step::Send(query.answer(wire::RA | wire::TC, 0, &[], None))],
        true => vec![Step::Close],
    }));
}

/// What begins over TCP and never ends: half a length, half an answer.
#[test]
fn truncated_and_unfinished_over_tcp() {
    for len in [1, 20] {
        let unfinished = move |query: &Seen| match query.is_tcp {
            false => vec![Step::Send(query.answer(wire::RA | wire::TC, 0, &[], None))],
            true => {
                let frame = wire::framed(&query.answer_a([192, 0, 2, 7]));
                vec![Step::Write(frame[..len].to_vec())]
            }
        };
        check(&Scripted::start(unfinished));
        let upstream = Scripted::start(unfinished);
        let server = Setup::new(upstream.address).serve();
        let start = Instant::now();
        let reply = server.dig().ask("www.test", "A");
        assert_eq!(reply.status, "SERVFAIL", "{}", reply.raw);
        assert!(reply.ede_code().is_some_and(|code| [22, 23].contains(&code)), "{}", reply.raw);
        assert!(start.elapsed() < Duration::from_secs(7), "{:?}", start.elapsed());
    }
}

#[test]
fn truncated_then_tcp() {
    let upstream = Scripted::answering(|query| match query.is_tcp {
        false => query.answer(wire::RA | wire::TC, 0, &[], None),
        true => query.answer_a([192, 0, 2, 7]),
    });
    let server = Setup::new(upstream.address).serve();
    for transport in ["+notcp", "+tcp"] {
        let reply = server.dig().with(transport).ask("www.test", "A");
        assert_eq!(reply.rdata("A"), ["192.0.2.7"], "{}", reply.raw);
        assert!(!reply.has_flag("tc"), "{}", reply.raw);
    }
    assert!(upstream.seen().iter().any(|query| query.is_tcp));
}

/// An answer that nobody asked for comes first, the right one behind it: only that one is taken.
#[track_caller]
fn check_forged(forge: impl Fn(&Seen) -> Step + Send + Sync + 'static) {
    let upstream =
        Scripted::start(move |query| vec![forge(query), Step::Send(query.answer_a([192, 0, 2, 7]))]);
    let server: Server = Setup::new(upstream.address).serve();
    for qname in ["one.test", "two.test", "three.test"] {
        let start = Instant::now();
        let reply = server.dig().ask(qname, "A");
        assert_eq!(reply.rdata("A"), ["192.0.2.7"], "{}", reply.raw);
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    }
}

/// What a forger wants to be believed.
fn forged(query: &Seen) -> Vec<u8> {
    query.answer_a([203, 0, 113, 66])
}

#[test]
fn a_wrong_id_is_ignored() {
    check_forged(|query| {
        let mut bytes = forged(query);
        bytes[1] ^= 1;
        Step::Send(bytes)
    });
}

#[test]
fn a_wrong_question_is_ignored() {
    check_forged(|query| {
        let mut bytes = forged(query);
        // The first letter of the first label becomes the next one.
        bytes[13] += 1;
        Step::Send(bytes)
    });
    check_forged(|query| {
        let mut bytes = forged(query);
        let qtype = bytes.len() - 16 - 3;
        assert_eq!(bytes[qtype], 1, "the low octet of QTYPE A, 16 octets of answer behind QCLASS");
        bytes[qtype] = 28;
        Step::Send(bytes)
    });
}

#[test]
fn a_query_is_no_answer() {
    check_forged(|query| {
        let mut bytes = forged(query);
        bytes[2] &= 0x7f;
        Step::Send(bytes)
    });
}

#[test]
fn a_wrong_port_is_ignored() {
    check_forged(|query| Step::SendFromElsewhere(forged(query)));
}

#[test]
fn all_dead_is_servfail_with_the_reason() {
    let (first, second) = (Scripted::silent(), Scripted::silent());
    let server = Setup::new(first.address).upstream(second.address).serve();
    let start = Instant::now();
    let reply = server.dig().ask("www.test", "A");
    let took = start.elapsed();
    assert_eq!(reply.status, "SERVFAIL", "{}", reply.raw);
    // No Reachable Authority or Network Error (RFC 8914, sections 4.23 and 4.24).
    assert!(reply.ede_code().is_some_and(|code| [22, 23].contains(&code)), "{}", reply.raw);
    assert!(took < Duration::from_secs(7), "{took:?}");
    assert!(!first.seen().is_empty() && !second.seen().is_empty(), "each was asked");
    server.record_of("www.test").assert(&[("action", "forward"), ("rcode", "SERVFAIL"), ("feed", "")]);
}

#[test]
fn all_failing_is_servfail_at_once() {
    let (first, second) = (Scripted::failing(2), Scripted::failing(5));
    let server = Setup::new(first.address).upstream(second.address).serve();
    let start = Instant::now();
    let reply = server.dig().ask("www.test", "A");
    assert!(["SERVFAIL", "REFUSED"].contains(&&*reply.status), "{}", reply.raw);
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

#[test]
fn a_listed_name_is_answered_though_all_are_dead() {
    let dead = Scripted::silent();
    let server = Setup::new(dead.address).feed("authority", "evil.example\n").serve();
    assert_eq!(server.dig().ask("evil.example", "A").rdata("A"), ["10.10.10.10"]);
    assert!(dead.seen().iter().all(|query| query.qname() != "evil.example."), "policy is asked first");
}

#[test]
fn an_answer_that_comes_late_is_still_an_answer() {
    let upstream = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    upstream.set_read_timeout(Some(PATIENCE)).unwrap();
    let server = Setup::new(upstream.local_addr().unwrap()).serve();
    let udp = wire::Udp::to(server.dns);
    udp.send(&wire::Query::new("late.example.test", wire::A).bytes());
    let receive = || {
        let mut buffer = [0; 512];
        let (len, from) = upstream.recv_from(&mut buffer).unwrap();
        (buffer[..len].to_vec(), from)
    };
    let (mut answer, from) = receive();
    // The patience with the first try is over when the second one comes, from another port.
    let (_, second) = receive();
    assert_ne!(from, second);
    answer[2] |= 0x80;
    upstream.send_to(&answer, from).unwrap();
    let answer = wire::decode(&udp.receive().unwrap());
    assert_eq!(u16::from(answer.metadata.response_code), 0, "{answer}");
    server.record_of("late.example.test").assert(&[("rcode", "NOERROR")]);
}
