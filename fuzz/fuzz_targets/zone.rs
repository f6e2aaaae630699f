//! Any master file, any question: a zone that is read answers in messages that parse, and is transferred whole.
//!
//! Input: a master file's text, then, behind a zero octet, a question's name in wire format, its type and DO.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use sachdns::name::{self, Name};
use sachdns::resolve::zone::{Entry, Question, Source, Transfer as Terms, Zone, Zones};
use sachdns::serve::transfer::Transfer;
use sachdns::wire::{self, HEADER, Query, Response};

fuzz_target!(|octets: &[u8]| {
    // The scanner's panics are caught where it is called, but the fuzzer ends at each.
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let fatal = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !panic.location().is_some_and(|place| place.file().contains("/domain-")) {
                fatal(panic);
            }
        }));
    });
    let (text, asked) = octets.iter().position(|&octet| octet == 0).map_or((octets, &[][..]), |at| {
        let (text, asked) = octets.split_at(at);
        (text, &asked[1..])
    });
    let apex = Name::from_host("x.vn").unwrap();
    let zone = match Zone::parse(&apex, text) {
        Ok(zone) => Arc::new(zone),
        Err(faults) => {
            assert!(!faults.is_empty());
            faults.iter().for_each(|fault| assert!(!fault.problem.to_string().is_empty()));
            return;
        }
    };
    let source = Source {
        name: apex.clone(),
        file: "x.zone".into(),
        transfer: Terms::default(),
        notify: Vec::new(),
    };
    let entry = Arc::new(Entry { zone: Arc::clone(&zone), source, stamp: None, faults: None });
    let zones = Zones::new([Arc::clone(&entry)]);

    if let Some((qname, rest)) = name::wire_len(asked).and_then(|len| asked.split_at_checked(len)) {
        let number = |at: usize| rest.get(at).copied().unwrap_or(0);
        ask(&zones, qname, u16::from_be_bytes([number(0), number(1)]), number(2) & 1 != 0);
    }
    let mut count = 0;
    for record in zone.records() {
        assert!(name::is_within(record.owner, apex.as_wire()));
        ask(&zones, record.owner, record.rtype, count % 2 == 0);
        count += 1;
        // A long zone is many times the same.
        if count == 64 {
            break;
        }
    }

    let query = message(apex.as_wire(), wire::rtype::AXFR);
    let query = Query::parse(&query).expect("a query");
    let mut transfer = Transfer::new(&query, entry, None);
    let mut moved = 0;
    while let Some(message) = transfer.next(0) {
        let response = Response::parse(&message).expect("a message of a transfer");
        moved += response.records().flatten().count();
    }
    // The SOA record, which is none of them, stands at both ends.
    assert_eq!(moved, zone.records().count() + 2);
});

fn ask(zones: &Zones, qname: &[u8], qtype: u16, dnssec_ok: bool) {
    let mut out = message(qname, qtype);
    let Some(reply) = zones.answer(Question { qname, qtype, dnssec_ok }, &mut out) else {
        assert!(!zones.answers(qname));
        return;
    };
    out[2] |= wire::QR;
    for (number, count) in reply.counts.iter().enumerate() {
        out[6 + 2 * number..8 + 2 * number].copy_from_slice(&count.to_be_bytes());
    }
    assert!(Response::parse(&out).is_ok(), "{out:02x?}");
}

fn message(qname: &[u8], qtype: u16) -> Vec<u8> {
    let mut message = vec![0; HEADER];
    message[5] = 1;
    message.extend(qname);
    message.extend(qtype.to_be_bytes());
    message.extend(wire::CLASS_IN.to_be_bytes());
    message
}
