//! Answers that this server gives from what it has itself: local zones, special names, its own name and version.
//!
//! As its parent it makes octets and decides nothing. AA is set: nobody knows better.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Ede, OPT_LEN_AT, OptAt};
use super::{begin, edns, edns_start, expand, extend_opt, option, record_tail, set_count, within_bounds};
use crate::name::{is_within, labels};
use crate::resolve::Aged;
use crate::resolve::answer::Answer;
use crate::resolve::zone::{Question, Reply, Zone, ZoneRecord, Zones};
use crate::serve::special::{Found, Kind, is_address_part};
use crate::wire::{self, CLASS_CH, HEADER, Query, Response, Section, rcode, rtype};

/// Seconds that special names' answers may be kept (RFC 6303, section 3).
const SPECIAL_TTL: u32 = 10_800;
/// … and what is said to ANY (RFC 8482, section 4.3: long enough that it is not asked often).
const ANY_TTL: u32 = 3600;

/// What a local zone says, in place of what `out` held; `None` where none knows of the qname.
/// [`finish_zone`] makes a message of it.
pub fn zone(query: &Query<'_>, zones: &Zones, out: &mut Vec<u8>) -> Option<Reply> {
    begin(query, rcode::NOERROR, out);
    let dnssec_ok = query.edns().is_some_and(|edns| edns.dnssec_ok);
    zones.answer(Question { qname: query.qname(), qtype: query.qtype(), dnssec_ok }, out)
}

/// Makes what a local zone said a message. Returns the rcode: SERVFAIL when no message holds it all.
pub fn finish_zone(query: &Query<'_>, reply: &Reply, is_authoritative: bool, out: &mut Vec<u8>) -> u16 {
    out[2] |= if is_authoritative { wire::AA } else { 0 };
    out[3] |= reply.rcode as u8 & 0x0f;
    let [answer, authority, additional] = reply.counts;
    set_count(out, Section::Answer, answer);
    set_count(out, Section::Authority, authority);
    set_count(out, Section::Additional, additional);
    edns(query, reply.rcode, None, out);
    within_bounds(query, reply.rcode, out)
}

/// The beginning of an answer: aliases that local zones have, as they stand behind the question.
#[derive(Debug, Clone)]
pub struct Chain {
    records: Box<[u8]>,
    count: u16,
}

impl Chain {
    /// Takes the records of the answer section from what [`zone`] made.
    pub fn new(query: &Query<'_>, reply: &Reply, out: &[u8]) -> Self {
        let records = out.get(HEADER + query.question().len()..).unwrap_or_default();
        // The proofs of an expanded wildcard would stand behind them; without those the chain is as good.
        Self { records: records.into(), count: reply.counts[0] }
    }
}

/// Aliases of local zones, and behind them what was resolved for the last one's target. Returns the rcode.
pub fn chain(query: &Query<'_>, chain: &Chain, resolved: &Answer, aged: Aged, out: &mut Vec<u8>) -> u16 {
    let code = resolved.rcode();
    begin(query, code, out);
    out[2] |= wire::AA;
    out.extend(&*chain.records);
    let mut counts = [chain.count, 0];
    let mut message = resolved.message().to_vec();
    super::age(resolved, aged, &mut message);
    // An answer's message always parses.
    if let Ok(response) = Response::parse(&message) {
        for found in response.records().flatten() {
            let count = match found.section {
                Section::Answer => &mut counts[0],
                Section::Authority => &mut counts[1],
                Section::Additional => continue,
            };
            *count = count.saturating_add(expand(response.packet(), &found, out));
        }
    }
    set_count(out, Section::Answer, counts[0]);
    set_count(out, Section::Authority, counts[1]);
    if let Some(opt) = edns_start(query, code, out) {
        extend_opt(resolved.errors(), opt, out);
        if aged == Aged::Stale {
            option(wire::option::EDE, &[&Ede::STALE.to_be_bytes()], opt, out);
        }
    }
    within_bounds(query, code, out)
}

/// What is said of a special name. Returns the rcode.
pub fn special(query: &Query<'_>, found: Found, out: &mut Vec<u8>) -> u16 {
    let is_apex = found.below == 0;
    let qtype = query.qtype();
    let asks = |rtype: u16| qtype == rtype || qtype == rtype::ANY;
    begin(query, rcode::NOERROR, out);
    out[2] |= wire::AA;
    let mut count = 0;
    let mut put = |rtype: u16, rdata: &[u8], out: &mut Vec<u8>| {
        record(rtype, SPECIAL_TTL, rdata, out);
        count += 1;
    };
    if is_apex && found.kind != Kind::Absent {
        if asks(rtype::SOA) {
            put(rtype::SOA, &soa(0), out);
        }
        if asks(rtype::NS) {
            put(rtype::NS, &apex(0), out);
        }
    }
    let mut exists = is_apex || found.has_exceptions;
    match found.kind {
        Kind::Absent => exists = found.has_exceptions,
        Kind::Empty => {}
        Kind::Bare => exists = true,
        Kind::Localhost => {
            exists = true;
            if asks(rtype::A) {
                put(rtype::A, &Ipv4Addr::LOCALHOST.octets(), out);
            }
            if asks(rtype::AAAA) {
                put(rtype::AAAA, &Ipv6Addr::LOCALHOST.octets(), out);
            }
        }
        Kind::Loopback4 | Kind::Loopback6 => {
            let below = query.qname().get(..found.below).unwrap_or_default();
            let labels = labels(below).count();
            let is_whole = match found.kind {
                Kind::Loopback4 => labels == 3,
                _ => is_apex,
            };
            exists |= found.kind == Kind::Loopback4 && is_address_part(below);
            if exists && is_whole && asks(rtype::PTR) {
                put(rtype::PTR, b"\x09localhost\x00", out);
            }
        }
    }
    let code = if exists { rcode::NOERROR } else { rcode::NXDOMAIN };
    out[3] |= code as u8;
    set_count(out, Section::Answer, count);
    if count == 0 {
        out.extend(apex(found.below));
        record_tail(rtype::SOA, SPECIAL_TTL, &soa(found.below), out);
        set_count(out, Section::Authority, 1);
    }
    edns(query, code, None, out);
    code
}

/// A record of the qname, which stands right behind the header.
fn record(rtype: u16, ttl: u32, rdata: &[u8], out: &mut Vec<u8>) {
    out.extend([0xc0, HEADER as u8]);
    record_tail(rtype, ttl, rdata, out);
}

/// A pointer to the special name, which ends the qname.
fn apex(below: usize) -> [u8; 2] {
    // At most 12 + 255: fourteen bits are enough.
    (0xc000 | (HEADER + below) as u16).to_be_bytes()
}

/// The SOA record's data of an empty zone (RFC 6303, section 3): its own name server, so that no update
/// goes anywhere.
fn soa(below: usize) -> [u8; 2 + 16 + 20] {
    const RNAME: &[u8; 16] = b"\x06nobody\x07invalid\x00";
    let mut rdata = [0; 38];
    rdata[..2].copy_from_slice(&apex(below));
    rdata[2..18].copy_from_slice(RNAME);
    for (octets, number) in rdata[18..].chunks_exact_mut(4).zip([1, 3600, 1200, 604_800, SPECIAL_TTL]) {
        octets.copy_from_slice(&number.to_be_bytes());
    }
    rdata
}

/// What is said to ANY where asking for everything there is would only help who floods somebody
/// (RFC 8482, section 4.2).
pub fn any(query: &Query<'_>, out: &mut Vec<u8>) {
    begin(query, rcode::NOERROR, out);
    record(rtype::HINFO, ANY_TTL, b"\x07RFC8482\x00", out);
    set_count(out, Section::Answer, 1);
    edns(query, rcode::NOERROR, None, out);
}

/// One text in class CH, of at most 255 octets, which nobody should keep (RFC 4892, section 2).
pub fn chaos(query: &Query<'_>, text: &str, out: &mut Vec<u8>) {
    begin(query, rcode::NOERROR, out);
    out[2] |= wire::AA;
    let text = &text.as_bytes()[..text.len().min(255)];
    out.extend([0xc0, HEADER as u8]);
    out.extend(rtype::TXT.to_be_bytes());
    out.extend(CLASS_CH.to_be_bytes());
    out.extend([0; 4]);
    out.extend((text.len() as u16 + 1).to_be_bytes());
    out.push(text.len() as u8);
    out.extend(text);
    set_count(out, Section::Answer, 1);
    edns(query, rcode::NOERROR, None, out);
}

/// A zone's SOA record alone.
pub fn soa_of(query: &Query<'_>, zone: &Zone, out: &mut Vec<u8>) {
    let mut soa = zone.soa_record();
    transfer(query, |_| soa.take(), out);
}

/// One message of a zone transfer: the records that `next` gives, which is told how long the message is.
pub fn transfer<'z>(
    query: &Query<'_>,
    mut next: impl FnMut(usize) -> Option<ZoneRecord<'z>>,
    out: &mut Vec<u8>,
) {
    let apex = query.qname();
    message(query, out, |out| {
        let mut count = 0u16;
        while let Some(record) = next(out.len()) {
            // Labels, and a pointer to the apex, which is the qname.
            let below = if is_within(record.owner, apex) { record.owner.len() - apex.len() } else { 0 };
            relative(&record.owner[..below], record.rtype, record.ttl, record.rdata, out);
            count += 1;
        }
        count
    });
}

/// A message whose answer section `fill` appends; it gives the number of records.
pub fn message(query: &Query<'_>, out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>) -> u16) {
    begin(query, rcode::NOERROR, out);
    out[2] |= wire::AA;
    let count = fill(out);
    set_count(out, Section::Answer, count);
    edns(query, rcode::NOERROR, None, out);
}

/// Appends a record whose owner is as seen from the qname, without the root label.
pub fn relative(owner: &[u8], rtype: u16, ttl: u32, rdata: &[u8], out: &mut Vec<u8>) {
    out.extend(owner);
    out.extend([0xc0, HEADER as u8]);
    record_tail(rtype, ttl, rdata, out);
}

/// NODATA at a zone's apex, with its SOA record.
pub fn nothing(query: &Query<'_>, ttl: u32, soa: &[u8], out: &mut Vec<u8>) {
    begin(query, rcode::NOERROR, out);
    out[2] |= wire::AA;
    relative(&[], rtype::SOA, ttl, soa, out);
    set_count(out, Section::Authority, 1);
    edns(query, rcode::NOERROR, None, out);
}

/// Adds an NSID option (RFC 5001) to an answer's OPT record, where that is its last.
pub fn append_nsid(out: &mut Vec<u8>, id: &str) {
    let Some(opt) = Response::parse(out).ok().and_then(|answer| answer.opt_range()) else { return };
    if opt.end == out.len() && out.len() + 4 + id.len() <= wire::MAX_MESSAGE {
        option(wire::option::NSID, &[id.as_bytes()], OptAt { len: opt.start + OPT_LEN_AT }, out);
    }
}
