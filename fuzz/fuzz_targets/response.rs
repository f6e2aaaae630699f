//! Any octets from an upstream: what parses can be kept, relayed, aliased and rewritten.
//!
//! Whatever its records hold, the client's message parses, has the client's id and question, fits a
//! message, and has an OPT record exactly when the client had one.
//!
//! ```text
//! 1  odd: a record is added that fills the message up to its largest size
//! n  the upstream's message
//! ```

#![no_main]

use libfuzzer_sys::fuzz_target;
use sachdns::resolve::Aged;
use sachdns::resolve::answer::Answer;
use sachdns::policy::data::LocalData;
use sachdns::resolve::answer::MAX_ALIASES;
use sachdns::serve::answer::{self, Ede, Stem};
use sachdns::wire::{self, Query, Response};

const OPT: &[u8] = b"\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x00";
/// Of a name that a rule leads elsewhere.
const QUESTION: &[u8] = b"\x04eViL\x07example\x00\x00\x01\x00\x01";
const EDE: Ede<'static> = Ede { code: Ede::BLOCKED, text: "authority" };

fuzz_target!(|data: &[u8]| {
    let Some((fill, message)) = data.split_first() else { return };
    let mut message = message.to_vec();
    if fill & 1 == 1 {
        fill_up(&mut message);
    }
    let Ok(response) = Response::parse(&message) else { return };
    for record in response.records() {
        check_record(&message, &record.expect("the message parsed"));
    }
    let kept = Answer::new(&response);
    for at in kept.ttls() {
        assert!(at + 4 <= kept.message().len());
    }
    let mut stages = 0;
    kept.for_each_alias(|target, _| {
        assert_eq!(wire::WireName::new(target.as_wire()).map(|name| name.as_wire().len()), Some(target.as_wire().len()));
        stages += 1;
    });
    assert!(stages <= MAX_ALIASES && (stages == 0 || kept.has_alias()));
    assert!(kept.all_addresses().count() >= kept.addresses().len());
    for server in kept.name_servers() {
        assert_eq!(server.as_wire().last(), Some(&0));
    }
    let question = response.question();
    for packet in [query(question, None), query(question, Some(OPT))] {
        let query = Query::parse(&packet).expect("the question of a response can be asked");
        for aged in [Aged::By(7), Aged::Stale] {
            check(&query, |out| answer::relay(&query, &kept, aged, out));
        }
        // A rule that was met at each name of the chain, and one past its end.
        let data: LocalData = "60 A 192.0.2.1; 60 AAAA 2001:db8::1".parse().expect("local data");
        for stage in 0..=stages as u8 + 1 {
            let stem = Stem::along(&query, &kept, stage);
            assert!(stem.name().is_some());
            check(&query, |out| answer::nxdomain(stem, 30, EDE, out));
            check(&query, |out| answer::nodata(stem, 30, EDE, out));
            check(&query, |out| answer::local_data(stem, &data, 30, EDE, out));
            check(&query, |out| answer::too_long(stem, 30, EDE, out));
            check(&query, |out| answer::alias(stem, b"\x01w\x00", 30, EDE, Some((&kept, Aged::Stale)), out));
        }
    }
    // Behind an alias the upstream was asked for its target, not for the client's qname.
    let target = &question[..question.len() - 4];
    for packet in [query(QUESTION, None), query(QUESTION, Some(OPT))] {
        let query = Query::parse(&packet).expect("a query by hand");
        check(&query, |out| answer::alias(Stem::at_qname(&query), target, 30, EDE, Some((&kept, Aged::By(7))), out));
    }
});

fn query(question: &[u8], opt: Option<&[u8]>) -> Vec<u8> {
    let header = [0x12, 0x34, wire::RD, wire::CD, 0, 1, 0, 0, 0, 0, 0, u8::from(opt.is_some())];
    [&header, question, opt.unwrap_or_default()].concat()
}

fn check<T>(query: &Query<'_>, make: impl FnOnce(&mut Vec<u8>) -> T) {
    let mut out = Vec::new();
    make(&mut out);
    assert!(out.len() <= wire::MAX_MESSAGE, "{} octets", out.len());
    let read = Response::parse(&out).expect("an answer is a whole message");
    assert_eq!((read.id(), read.question()), (query.id(), query.question()));
    assert_eq!(read.opt_range().is_some(), query.edns().is_some());
    assert_eq!((out[2] & wire::AA, out[3] & wire::AD), (0, 0));
}

/// An expanded record stands in any message.
fn check_record(packet: &[u8], record: &wire::Record) {
    let mut message = b"\x00\x00\x80\x00\x00\x01\x00\x00\x00\x00\x00\x01\x00\x00\x01\x00\x01".to_vec();
    if wire::expand_record(packet, record, &mut message).is_none() {
        return;
    }
    let read = Response::parse(&message).expect("an expanded record is whole");
    let found = read.records().next().expect("it is the only one").expect("the message parsed");
    assert_eq!((found.rtype, found.class, found.ttl), (record.rtype, record.class, record.ttl));
}

/// Adds a NULL record of the root that takes all the room there is.
fn fill_up(message: &mut Vec<u8>) {
    let Some(count) = wire::u16_at(message, 10) else { return };
    let Some(room) = (wire::MAX_MESSAGE - 11).checked_sub(message.len()) else { return };
    message[10..12].copy_from_slice(&count.wrapping_add(1).to_be_bytes());
    message.extend(b"\x00\x00\x0a\x00\x01\x00\x00\x00\x00");
    message.extend((room as u16).to_be_bytes());
    message.resize(wire::MAX_MESSAGE, 0);
}
