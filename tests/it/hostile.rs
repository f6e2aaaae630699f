//! Whatever an upstream sends, it ends in a right answer or in a clean failure, soon, and kept for a moment.

use std::time::{Duration, Instant};

use crate::harness::dig::Reply;
use crate::harness::house::Setup;
use crate::harness::scripted::{Scripted, Seen, Step};
use crate::harness::wire;

/// Less than two deadlines of a query.
const SOON: Duration = Duration::from_secs(7);

/// The only upstream does this; the reply to a client, twice.
#[track_caller]
fn ask(script: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static) -> Reply {
    let upstream = Scripted::answering(script);
    let server = Setup::new(upstream.address).serve();
    let start = Instant::now();
    let reply = server.dig().ask("www.test", "A");
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    let asked = upstream.seen().len();
    // At once, so from the cache: failures are kept for two seconds.
    let again = server.dig().ask("www.test", "A");
    assert_eq!((&again.status, again.rdata("A")), (&reply.status, reply.rdata("A")), "{}", again.raw);
    if start.elapsed() < Duration::from_secs(1) {
        assert_eq!(upstream.seen().len(), asked, "{}", again.raw);
    }
    reply
}

#[track_caller]
fn check_failed(script: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static, ede: u16) {
    let reply = ask(script);
    assert_eq!((&*reply.status, reply.ede_code()), ("SERVFAIL", Some(ede)), "{}", reply.raw);
    assert!(reply.answer.is_empty(), "{}", reply.raw);
}

/// A record of this owner, in wire format.
fn record(owner: &[u8], rtype: u16, data: &[u8]) -> Vec<u8> {
    wire::record(owner, rtype, wire::IN, 300, data)
}

const CNAME: u16 = 5;

#[test]
fn records_of_other_names_are_left_out() {
    let reply = ask(|query| {
        let bank = record(b"\x04bank\x04test\x00", wire::A, &[203, 0, 113, 66]);
        let alias = record(&[0xc0, 12], CNAME, b"\x03cdn\x04test\x00");
        let target = record(b"\x03CDN\x04test\x00", wire::A, &[192, 0, 2, 7]);
        query.answer(wire::RA, 0, &[bank, alias, target], None)
    });
    assert_eq!(reply.status, "NOERROR", "{}", reply.raw);
    assert_eq!(reply.rdata("CNAME"), ["cdn.test."], "{}", reply.raw);
    assert_eq!(reply.rdata("A"), ["192.0.2.7"], "{}", reply.raw);
}

#[test]
fn aliases_without_end_are_no_answer() {
    check_failed(|query| query.answer(wire::RA, 0, &[record(&[0xc0, 12], CNAME, &[0xc0, 12])], None), 23);
    check_failed(
        |query| {
            let there = record(&[0xc0, 12], CNAME, b"\x01b\x04test\x00");
            let back = record(b"\x01b\x04test\x00", CNAME, &[0xc0, 12]);
            query.answer(wire::RA, 0, &[there, back], None)
        },
        23,
    );
    let name = |n: u8| [&b"\x01"[..], &[b'a' + n], b"\x04test\x00"].concat();
    check_failed(
        move |query| {
            let mut chain = vec![record(&[0xc0, 12], CNAME, &name(0))];
            chain.extend((0..20).map(|n| record(&name(n), CNAME, &name(n + 1))));
            query.answer(wire::RA, 0, &chain, None)
        },
        23,
    );
}

#[test]
fn a_long_chain_that_ends_is_an_answer() {
    let name = |n: u8| [&b"\x01"[..], &[b'a' + n], b"\x04test\x00"].concat();
    let reply = ask(move |query| {
        let mut chain = vec![record(&[0xc0, 12], CNAME, &name(0))];
        chain.extend((0..10).map(|n| record(&name(n), CNAME, &name(n + 1))));
        chain.push(record(&name(10), wire::A, &[192, 0, 2, 7]));
        query.answer(wire::RA, 0, &chain, None)
    });
    assert_eq!((reply.rdata("A"), reply.answer.len()), (vec!["192.0.2.7"], 12), "{}", reply.raw);
}

#[test]
fn a_referral_is_no_answer() {
    check_failed(
        |query| {
            let mut bytes = query.answer(0, 0, &[record(b"\x04test\x00", 2, b"\x02ns\x04test\x00")], None);
            // It stands in the authority section.
            bytes.swap(7, 9);
            bytes
        },
        23,
    );
}

#[test]
fn what_does_not_parse_is_no_answer() {
    // Over UDP, and over TCP too, where the question goes then.
    check_failed(|query| [query.answer_a([192, 0, 2, 7]), vec![0]].concat(), 23);
    check_failed(|query| query.answer(wire::RA, 0, &[vec![0xc0, 0xc0]], None), 23);
    check_failed(
        |query| {
            let mut bytes = query.answer_a([192, 0, 2, 7]);
            bytes[5] = 2;
            bytes
        },
        23,
    );
    // Records without end: the header tells of more than a message can hold.
    check_failed(
        |query| {
            let mut bytes = query.answer_a([192, 0, 2, 7]);
            bytes[6..12].fill(0xff);
            bytes
        },
        23,
    );
}

#[test]
fn letters_are_written_at_random_where_that_is_wanted() {
    let upstream = Scripted::start(|query| match (query.qname().starts_with("folding"), query.is_tcp) {
        // An upstream that changes the letter case.
        (true, false) => {
            let mut bytes = query.answer_a([192, 0, 2, 6]);
            bytes[13..20].iter_mut().for_each(|letter| *letter ^= 0x20);
            vec![Step::Send(bytes)]
        }
        _ => vec![Step::Send(query.answer_a([192, 0, 2, 7]))],
    });
    let server = Setup::new(upstream.address).resolver("case_randomisation = true\n").serve();
    for qname in ["aLongNameOfManyLetters.test", "another-long-name-of-many-letters.test"] {
        let reply = server.dig().ask(qname, "A");
        assert_eq!(reply.rdata("A"), ["192.0.2.7"], "{}", reply.raw);
        let question = reply.question.as_ref().map(|question| question[0].as_str());
        assert_eq!(question, Some(&*format!("{qname}.")), "{}", reply.raw);
        assert_eq!(reply.answer[0].name, format!("{qname}."), "{}", reply.raw);
        let seen = upstream.seen();
        let asked = seen.iter().find(|query| query.qname() == format!("{qname}.").to_ascii_lowercase());
        let label = &asked.unwrap().bytes[13..13 + qname.len() - 5];
        assert!(label.iter().any(u8::is_ascii_uppercase) && label.iter().any(u8::is_ascii_lowercase));
        assert_ne!(label, &qname.as_bytes()[..label.len()]);
    }
    let reply = server.dig().ask("folding.test", "A");
    assert_eq!(
        reply.rdata("A"),
        ["192.0.2.7"],
        "what came in other case is asked for over TCP: {}",
        reply.raw
    );
}
