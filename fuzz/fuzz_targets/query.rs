//! Any octets from a client: each packet gets nothing or one answer that is a whole message.
//!
//! An answer parses, keeps id and question, fits a message, and has an OPT record exactly when the
//! query had one. What is no query is rejected with its id and opcode. A qname that was read is a
//! name in every form it takes later: a key of the index, and text in a log.

#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use sachdns::client::cookie::{self, Cookies, Secret};
use sachdns::client::limits::Proof;
use sachdns::name::{Key, Name, Presentation, from_key};
use sachdns::serve::answer::{self, Ede, Stem};
use sachdns::wire::{self, Query, Reject, Response, Speaks, rcode};

const ADDRESSES: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(10, 10, 10, 10)), IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x10))];
const TARGET: &[u8] = b"\x06walled\x07example\x00";
const EDE: Ede<'static> = Ede { code: Ede::BLOCKED, text: "authority" };

fuzz_target!(|packet: &[u8]| {
    match Query::parse(packet) {
        Ok(query) => {
            check_qname(query.qname());
            let limit = answer::udp_limit(&query);
            assert!((512..=usize::from(answer::PAYLOAD_SIZE)).contains(&limit));
            check_answers(&query);
            check_cookie(&query);
            check_told(&query);
        }
        Err(Reject::Silent) => {}
        Err(reject @ Reject::Opcode(speaks)) => {
            let out = check_reject(packet, reject, rcode::NOTIMP);
            assert_eq!(out.len() > wire::HEADER, speaks == Speaks::Edns);
        }
        Err(reject @ Reject::Malformed(question_end)) => {
            let out = check_reject(packet, reject, rcode::FORMERR);
            match question_end {
                Some(end) => {
                    let read = Response::parse(&out).expect("a reject with a question is a whole message");
                    assert_eq!(read.question(), &packet[wire::HEADER..end]);
                }
                None => assert_eq!(out[4..], [0; 8]),
            }
        }
    }
});

/// What a forwarder tells is a machine's MAC and a network, or nothing.
fn check_told(query: &Query<'_>) {
    let told = query.told();
    assert!(told.mac.is_none_or(|mac| mac.is_usable()));
    assert!(told.subnet.is_none_or(|net| net.prefix_len() > 0 && net.network() == net.addr()));
}

/// Every answer that is made without an upstream.
fn check_answers(query: &Query<'_>) {
    check_answer(query, rcode::NOERROR, |out| answer::addresses(Stem::at_qname(query), &ADDRESSES, 30, EDE, out));
    check_answer(query, rcode::NOERROR, |out| answer::addresses(Stem::at_qname(query), &[], 30, EDE, out));
    check_answer(query, rcode::NOERROR, |out| answer::nodata(Stem::at_qname(query), 30, EDE, out));
    check_answer(query, rcode::NXDOMAIN, |out| answer::nxdomain(Stem::at_qname(query), 30, EDE, out));
    check_answer(query, rcode::REFUSED, |out| answer::error(query, rcode::REFUSED, Some(EDE), out));
    check_answer(query, rcode::BADVERS, |out| answer::error(query, rcode::BADVERS, None, out));
    check_answer(query, rcode::NOERROR, |out| answer::truncated(query, rcode::NOERROR, out));
    check_answer(query, rcode::NOERROR, |out| answer::alias(Stem::at_qname(query), TARGET, 30, EDE, None, out));
}

fn check_answer<T>(query: &Query<'_>, rcode: u16, make: impl FnOnce(&mut Vec<u8>) -> T) {
    let mut answer = Vec::new();
    make(&mut answer);
    assert!(answer.len() <= wire::MAX_MESSAGE);
    let read = Response::parse(&answer).expect("an answer is a whole message");
    assert_eq!((read.id(), read.question()), (query.id(), query.question()));
    assert_eq!(read.opt_range().is_some(), query.edns().is_some());
    // Without EDNS there is no place for the bits above the fourth.
    let mask = if query.edns().is_some() { 0xfff } else { 0x0f };
    assert_eq!(read.rcode(), rcode & mask);
    for record in read.records() {
        let record = record.expect("the answer parsed");
        assert!(wire::expand_record(&answer, &record, &mut Vec::new()).is_some());
    }
    let records = (read.records().count(), read.rcode());
    answer::append_cookie(&mut answer, &[7; cookie::LEN]);
    let read = Response::parse(&answer).expect("an answer with a cookie is a whole message");
    assert_eq!((read.records().count(), read.rcode()), records);
    let last = read.options().last();
    assert_eq!(
        last.is_some_and(|last| last == (wire::option::COOKIE, &[7; cookie::LEN])),
        query.edns().is_some()
    );
    answer::append_keepalive(&mut answer, Duration::from_secs(10));
    answer::pad(&mut answer);
    let read = Response::parse(&answer).expect("a padded answer is a whole message");
    assert_eq!((read.records().count(), read.rcode()), records);
    assert!(query.edns().is_none() || answer.len() % 468 == 0);
}

/// A cookie that was read is answered with one that proves the address.
fn check_cookie(query: &Query<'_>) {
    let cookies = Cookies::new(Secret::new([1; 16]), vec![Secret::new([2; 16])]);
    let Some(Ok(cookie)) = query.cookie().map(|option| cookies.read(option, ADDRESSES[0], 1000)) else {
        return;
    };
    let again = cookies.read(&cookie.answer, ADDRESSES[0], 1001).expect("our own option is well-formed");
    assert_eq!((again.proof, again.answer), (Proof::Proven, cookie.answer));
}

fn check_reject(packet: &[u8], reject: Reject, expected: u16) -> Vec<u8> {
    let mut out = Vec::new();
    assert_eq!(answer::reject(packet, reject, &mut out), expected);
    assert_eq!(out[..2], packet[..2]);
    assert_eq!(out[2], packet[2] & 0x79 | wire::QR, "opcode and RD");
    assert_eq!(u16::from(out[3]), expected);
    out
}

fn check_qname(qname: &[u8]) {
    let name = Name::from_wire(qname).expect("a qname is a name");
    let key = Key::from_wire(qname).expect("a qname has a key");
    assert_eq!(from_key(key.as_bytes()).as_ref(), Some(&name));
    assert_eq!(Name::from_presentation(&Presentation(qname).to_string()).as_ref(), Ok(&name));
}
