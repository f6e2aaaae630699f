//! Any octets from a name server that recursion asks: what is taken from them, and what is made of it.
//!
//! Whatever they hold, nothing is said about names outside of the server's zone, a referral leads down towards the
//! name, every piece is a message that parses, and so is the answer that is put together of them.
//!
//! ```text
//! 1  the type that is asked for: A, NS, CNAME, DNAME, DS, ANY, TXT, RRSIG
//! n  the response; its question is what is asked, and the server's zone the question's parent
//! ```

#![no_main]

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use sachdns::name::Name;
use sachdns::resolve::recurse::digest::{Asked, Digest, MOST_ALIASES, digest, servers_in_answer};
use sachdns::resolve::recurse::piece::{Outcome, Piece, compose};
use sachdns::wire::{Response, rtype};

const TYPES: [u16; 8] =
    [rtype::A, rtype::NS, rtype::CNAME, rtype::DNAME, rtype::DS, rtype::ANY, 16, rtype::RRSIG];
const FROM: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fuzz_target!(|data: &[u8]| {
    let Some((kind, message)) = data.split_first() else { return };
    let Ok(response) = Response::parse(message) else { return };
    let question = response.question();
    let qname = Name::from_wire(&question[..question.len() - 4]).expect("the question parsed");
    let zone = qname.parent().unwrap_or_else(|| qname.clone());
    let (qtype, now) = (TYPES[usize::from(*kind) % TYPES.len()], Instant::now());
    let asked = Asked { zone: &zone, qname: &qname, qtype, now, from: FROM };
    match digest(&response, asked) {
        Digest::Answer(pieces) => {
            assert!(!pieces.is_empty() && pieces.len() <= MOST_ALIASES);
            assert_eq!(pieces[0].qname, qname);
            pieces.iter().for_each(|piece| check_piece(piece, &zone));
            let links =
                pieces.windows(2).all(|pair| pair[0].outcome == Outcome::Alias(pair[1].qname.clone()));
            assert!(links, "a chain is one");
            let pieces: Vec<std::sync::Arc<Piece>> = pieces.into_iter().map(Into::into).collect();
            for is_dnssec_ok in [false, true] {
                let Some(answer) = compose(question, &pieces, is_dnssec_ok, now) else { continue };
                let read = Response::parse(&answer).expect("an answer is a whole message");
                assert_eq!(read.question(), question);
            }
        }
        Digest::Referral(referral) => {
            let child = &referral.delegation.zone;
            assert!(child.is_within(&zone) && *child != zone && qname.is_within(child));
            assert!(!referral.delegation.servers.is_empty());
            if let Some(ds) = &referral.ds {
                check_piece(ds, &zone);
            }
        }
        Digest::Useless(_) => {}
    }
    if let Some(servers) = servers_in_answer(&response, &zone) {
        assert_eq!(servers.zone, zone);
    }
});

fn check_piece(piece: &Piece, zone: &Name) {
    let read = Response::parse(&piece.message).expect("a piece is a whole message");
    for record in read.records() {
        let record = record.expect("the message parsed");
        let len = sachdns::name::wire_len(&piece.message[record.start..]).expect("no name is compressed");
        let owner = Name::from_wire(&piece.message[record.start..record.start + len]).expect("a name");
        assert!(owner.is_within(zone), "{owner} is none of {zone}'s");
    }
    assert!(piece.addresses().len() <= read.records().count());
}
