//! Every octet of an answer that is made or changed here, and nothing about when.
//!
//! All functions put a whole message in place of whatever `out` held. The question is echoed as the client wrote it; RA
//! is set; AA on what this server knows best alone ([`local`]); AD only on what was resolved and is authentic, never
//! on what a rule made; an OPT record is sent when, and only when, the client sent one (RFC 6891, section 6.1.1).

pub mod local;

use std::net::IpAddr;
use std::time::Duration;

use crate::client::cookie;
use crate::policy::data::LocalData;
use crate::resolve::Aged;
use crate::resolve::answer::Answer;
use crate::wire::{self, Query, Reject, Response, Section, Speaks, WireName, rcode, rtype};

/// The UDP payload size that clients are told, and the most that is sent to one.
pub const PAYLOAD_SIZE: u16 = 1232;
/// What a client without EDNS takes over UDP (RFC 1035, section 4.2.1).
const PLAIN_SIZE: usize = 512;

/// An extended DNS error (RFC 8914): code and text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ede<'a> {
    /// Its code in IANA's registry.
    pub code: u16,
    /// Words for people who debug; may be empty.
    pub text: &'a str,
}

impl Ede<'_> {
    /// 15, Blocked: an operator's policy.
    pub const BLOCKED: u16 = 15;
    /// 18, Prohibited: not for this client.
    pub const PROHIBITED: u16 = 18;
    /// 21, Not Supported.
    pub const NOT_SUPPORTED: u16 = 21;
    /// 3, Stale Answer.
    pub const STALE: u16 = 3;
    /// 0, Other.
    pub const OTHER: u16 = 0;
    /// 30, Invalid Query Type (RFC 9824).
    pub const INVALID_QTYPE: u16 = 30;
}

/// What a rule's answer stands on: the query, and the aliases that lead from its qname to the name whose rule
/// it is.
#[derive(Clone, Copy)]
pub struct Stem<'a> {
    query: &'a Query<'a>,
    aliases: Option<Aliases<'a>>,
}

/// The first aliases of an answer.
#[derive(Clone, Copy)]
struct Aliases<'a> {
    answer: &'a Answer,
    count: u8,
}

impl<'a> Stem<'a> {
    /// The rule is the qname's.
    pub fn at_qname(query: &'a Query<'a>) -> Self {
        Self { query, aliases: None }
    }

    /// The rule is that of the name at this stage of the answer's chain, 0 being the qname.
    pub fn along(query: &'a Query<'a>, answer: &'a Answer, stage: u8) -> Self {
        Self { query, aliases: (stage > 0).then_some(Aliases { answer, count: stage }) }
    }

    /// The query.
    pub fn query(&self) -> &'a Query<'a> {
        self.query
    }

    /// The name whose rule it is.
    pub fn name(&self) -> Option<WireName> {
        let mut name = WireName::new(self.query.qname());
        self.for_each(|target, _| name = Some(*target));
        name
    }

    fn for_each(&self, mut visit: impl FnMut(&WireName, u32)) {
        let Some(Aliases { answer, count }) = self.aliases else { return };
        let mut left = count;
        answer.for_each_alias(|target, ttl| {
            if left > 0 {
                left -= 1;
                visit(target, ttl);
            }
        });
    }

    /// Header, question and aliases, none of them for longer than `ttl`.
    fn begin(&self, rcode: u16, ttl: u32, out: &mut Vec<u8>) -> Owner {
        begin(self.query, rcode, out);
        let mut owner = Owner { at: wire::HEADER as u16, aliases: 0 };
        self.for_each(|target, of_alias| {
            record(owner, rtype::CNAME, of_alias.min(ttl), target.as_wire(), out);
            // At most 16 names behind the question: far below 2¹⁴.
            owner = Owner { at: (out.len() - target.as_wire().len()) as u16, aliases: owner.aliases + 1 };
        });
        set_count(out, Section::Answer, owner.aliases);
        owner
    }
}

/// A name in the message that further records are of.
#[derive(Clone, Copy)]
struct Owner {
    at: u16,
    /// How many records led to it.
    aliases: u16,
}

/// Answers a packet that is no well-formed query, or has an unknown opcode: its header and, where it
/// could be read, its question. Returns the rcode.
pub fn reject(packet: &[u8], reject: Reject, out: &mut Vec<u8>) -> u16 {
    out.clear();
    let (rcode, question_end) = match reject {
        Reject::Opcode(_) => (rcode::NOTIMP, None),
        Reject::Malformed(question_end) => (rcode::FORMERR, question_end),
        Reject::Silent => return rcode::FORMERR,
    };
    let Some(header) = packet.get(..wire::HEADER) else { return rcode };
    let question = question_end.and_then(|end| packet.get(wire::HEADER..end));
    out.extend(&header[..2]);
    // The opcode and RD are echoed.
    out.push(wire::QR | header[2] & 0x79);
    out.push(rcode as u8 & 0x0f);
    out.extend([0, u8::from(question.is_some()), 0, 0, 0, 0, 0, 0]);
    out.extend(question.unwrap_or_default());
    if reject == Reject::Opcode(Speaks::Edns) {
        opt(rcode, 0, out);
    }
    rcode
}

/// An answer without records.
pub fn error(query: &Query<'_>, rcode: u16, ede: Option<Ede<'_>>, out: &mut Vec<u8>) {
    begin(query, rcode, out);
    edns(query, rcode, ede, out);
}

/// An empty answer with TC set: ask again over TCP.
pub fn truncated(query: &Query<'_>, rcode: u16, out: &mut Vec<u8>) {
    error(query, rcode, None, out);
    out[2] |= wire::TC;
}

/// Addresses. Those of the other family than the qtype are left out; where none is left, the answer is
/// NODATA.
pub fn addresses(stem: Stem<'_>, addresses: &[IpAddr], ttl: u32, ede: Ede<'_>, out: &mut Vec<u8>) {
    let query = stem.query;
    let owner = stem.begin(rcode::NOERROR, ttl, out);
    let mut count = 0;
    for address in addresses {
        match (address, query.qtype()) {
            (IpAddr::V4(address), rtype::A) => record(owner, rtype::A, ttl, &address.octets(), out),
            (IpAddr::V6(address), rtype::AAAA) => record(owner, rtype::AAAA, ttl, &address.octets(), out),
            _ => continue,
        }
        count += 1;
    }
    if count == 0 {
        authority(owner, Apex::Name, ttl, out);
    }
    set_count(out, Section::Answer, owner.aliases + count);
    edns(query, rcode::NOERROR, Some(ede), out);
}

/// A rule's own records of the qtype; where there are none, NODATA for `ttl`. Returns the rcode: SERVFAIL when
/// no message holds them all.
pub fn local_data(stem: Stem<'_>, data: &LocalData, ttl: u32, ede: Ede<'_>, out: &mut Vec<u8>) -> u16 {
    let query = stem.query;
    let owner = stem.begin(rcode::NOERROR, ttl, out);
    let rtype = Some(query.qtype()).filter(|qtype| *qtype != rtype::ANY);
    let mut count = 0;
    for found in data.records(rtype) {
        record(owner, found.rtype, found.ttl, &found.rdata, out);
        count += 1;
    }
    if count == 0 {
        authority(owner, Apex::Name, ttl, out);
    }
    set_count(out, Section::Answer, owner.aliases + count);
    edns(query, rcode::NOERROR, Some(ede), out);
    within_bounds(query, rcode::NOERROR, out)
}

/// NODATA with an SOA record, so that resolvers in between may cache it (RFC 2308).
pub fn nodata(stem: Stem<'_>, ttl: u32, ede: Ede<'_>, out: &mut Vec<u8>) {
    let owner = stem.begin(rcode::NOERROR, ttl, out);
    authority(owner, Apex::Name, ttl, out);
    edns(stem.query, rcode::NOERROR, Some(ede), out);
}

/// NXDOMAIN with an SOA record.
pub fn nxdomain(stem: Stem<'_>, ttl: u32, ede: Ede<'_>, out: &mut Vec<u8>) {
    let owner = stem.begin(rcode::NXDOMAIN, ttl, out);
    authority(owner, Apex::Parent, ttl, out);
    edns(stem.query, rcode::NXDOMAIN, Some(ede), out);
}

/// Records of the qname with data of our own, all of one type.
pub fn records<'a>(
    query: &Query<'_>,
    rtype: u16,
    ttl: u32,
    all: impl Iterator<Item = &'a [u8]>,
    out: &mut Vec<u8>,
) {
    let owner = Stem::at_qname(query).begin(rcode::NOERROR, ttl, out);
    let mut count = 0;
    for rdata in all {
        record(owner, rtype, ttl, rdata, out);
        count += 1;
    }
    set_count(out, Section::Answer, count);
    edns(query, rcode::NOERROR, None, out);
}

/// An alias, and behind it what was resolved for the target (`None`: the alias alone). Returns
/// the rcode: SERVFAIL when no message holds it all.
pub fn alias(
    stem: Stem<'_>,
    target: &[u8],
    ttl: u32,
    ede: Ede<'_>,
    resolved: Option<(&Answer, Aged)>,
    out: &mut Vec<u8>,
) -> u16 {
    let query = stem.query;
    let code = resolved.map_or(rcode::NOERROR, |(answer, _)| answer.rcode()) & 0x0f;
    let owner = stem.begin(code, ttl, out);
    record(owner, rtype::CNAME, ttl, target, out);
    let mut counts = [owner.aliases + 1, 0];
    let message = resolved.map(|(answer, aged)| {
        let mut message = answer.message().to_vec();
        age(answer, aged, &mut message);
        message
    });
    // An answer's message always parses.
    if let Some(response) = message.as_deref().and_then(|message| Response::parse(message).ok()) {
        for found in response.records().flatten() {
            let count = match found.section {
                Section::Answer => &mut counts[0],
                Section::Authority => &mut counts[1],
                Section::Additional => continue,
            };
            *count += expand(response.packet(), &found, out);
        }
    }
    set_count(out, Section::Answer, counts[0]);
    set_count(out, Section::Authority, counts[1]);
    edns(query, code, Some(ede), out);
    within_bounds(query, code, out)
}

/// YXDOMAIN, where an alias would lead to a name that is too long to be one.
pub fn too_long(stem: Stem<'_>, ttl: u32, ede: Ede<'_>, out: &mut Vec<u8>) {
    stem.begin(rcode::YXDOMAIN, ttl, out);
    edns(stem.query, rcode::YXDOMAIN, Some(ede), out);
}

/// What was resolved, made to fit this client: its id, RD, CD and letter case, our RA, not AA, AD where the
/// answer is authentic and the client wants to know (RFC 6840, section 5.8), TTLs as they are now, our OPT record with the extended errors of the answer. Returns the rcode:
/// SERVFAIL when no message holds it all.
pub fn relay(query: &Query<'_>, resolved: &Answer, aged: Aged, out: &mut Vec<u8>) -> u16 {
    let message = resolved.message();
    out.clear();
    out.extend(message);
    out[..2].copy_from_slice(&query.id().to_be_bytes());
    out[2] = flags(query);
    let ad = if is_told_authentic(query, resolved, aged) { wire::AD } else { 0 };
    out[3] = wire::RA | ad | cd(query) | message[3] & 0x0f;
    // The name may have been asked first in another letter case.
    if let Some(question) = out.get_mut(wire::HEADER..wire::HEADER + query.question().len()) {
        question.copy_from_slice(query.question());
    }
    age(resolved, aged, out);
    if let Some(opt) = edns_start(query, resolved.rcode(), out) {
        extend_opt(resolved.errors(), opt, out);
        if aged == Aged::Stale {
            option(wire::option::EDE, &[&Ede::STALE.to_be_bytes()], opt, out);
        }
    }
    within_bounds(query, resolved.rcode(), out)
}

/// What is past its time may have signatures that are past theirs.
fn is_told_authentic(query: &Query<'_>, resolved: &Answer, aged: Aged) -> bool {
    resolved.is_authentic() && aged != Aged::Stale && query.is_authentic_data_wanted()
}

/// Writes the TTLs as they are now into a copy of the answer's message.
fn age(resolved: &Answer, aged: Aged, out: &mut [u8]) {
    for at in resolved.ttls() {
        let Some(octets) = out.get_mut(at..at + 4).and_then(|octets| octets.first_chunk_mut::<4>()) else {
            return;
        };
        *octets = aged.ttl(u32::from_be_bytes(*octets)).to_be_bytes();
    }
}

/// Puts SERVFAIL in place of an answer that is longer than any message: our OPT record, or names written
/// out, can make one of what just fitted.
fn within_bounds(query: &Query<'_>, rcode: u16, out: &mut Vec<u8>) -> u16 {
    if out.len() <= wire::MAX_MESSAGE {
        return rcode;
    }
    let too_long = Ede { code: Ede::OTHER, text: "the answer is longer than a message" };
    error(query, rcode::SERVFAIL, Some(too_long), out);
    rcode::SERVFAIL
}

/// Adds a COOKIE option to an answer's OPT record, which is the last of its records and there because the
/// client sent one. An answer that is as long as a message may be goes without.
pub fn append_cookie(out: &mut Vec<u8>, cookie: &[u8; cookie::LEN]) {
    if let Some(opt) = last_opt(out, 4 + cookie.len()) {
        option(wire::option::COOKIE, &[cookie], opt, out);
    }
}

/// Adds an option that says for how long a connection may be idle (RFC 7828, section 3.3.2) to an answer's OPT
/// record, as [`append_cookie`] does.
pub fn append_keepalive(out: &mut Vec<u8>, idle: Duration) {
    // In units of 100 ms.
    let timeout = u16::try_from(idle.as_millis() / 100).unwrap_or(u16::MAX);
    if let Some(opt) = last_opt(out, 4 + 2) {
        option(wire::option::KEEPALIVE, &[&timeout.to_be_bytes()], opt, out);
    }
}

/// Pads an answer to a multiple of 468 octets (RFC 8467, section 4.1), as far as a message may be long. It is the
/// last thing that is done to one.
pub fn pad(out: &mut Vec<u8>) {
    const BLOCK: usize = 468;
    const ZEROES: &[u8] = &[0; BLOCK];
    let Some(opt) = last_opt(out, 4) else { return };
    let len = (out.len() + 4).next_multiple_of(BLOCK).min(wire::MAX_MESSAGE);
    let padding = &ZEROES[..len - out.len() - 4];
    option(wire::option::PADDING, &[padding], opt, out);
}

/// The OPT record at the end of an answer that may become so many octets longer.
fn last_opt(out: &[u8], more: usize) -> Option<OptAt> {
    let opt = Response::parse(out).ok()?.opt_range()?;
    (opt.end == out.len() && out.len() + more <= wire::MAX_MESSAGE)
        .then_some(OptAt { len: opt.start + OPT_LEN_AT })
}

/// The most octets that this client takes over UDP.
pub fn udp_limit(query: &Query<'_>) -> usize {
    let told = query.edns().map_or(PLAIN_SIZE, |edns| usize::from(edns.payload_size.min(PAYLOAD_SIZE)));
    told.max(PLAIN_SIZE)
}

fn flags(query: &Query<'_>) -> u8 {
    wire::QR | if query.is_recursion_desired() { wire::RD } else { 0 }
}

fn cd(query: &Query<'_>) -> u8 {
    if query.is_checking_disabled() { wire::CD } else { 0 }
}

/// Header and question.
fn begin(query: &Query<'_>, rcode: u16, out: &mut Vec<u8>) {
    out.clear();
    out.extend(query.id().to_be_bytes());
    out.extend([flags(query), wire::RA | cd(query) | (rcode as u8 & 0x0f)]);
    out.extend([0, 1, 0, 0, 0, 0, 0, 0]);
    out.extend(query.question());
}

fn set_count(out: &mut [u8], section: Section, count: u16) {
    let at = match section {
        Section::Answer => 6,
        Section::Authority => 8,
        Section::Additional => 10,
    };
    out[at..at + 2].copy_from_slice(&count.to_be_bytes());
}

/// Appends a record with its names written out, or nothing where they do not parse; returns how many.
fn expand(packet: &[u8], record: &wire::Record, out: &mut Vec<u8>) -> u16 {
    let kept = out.len();
    match wire::expand_record(packet, record, out) {
        Some(()) => 1,
        None => {
            out.truncate(kept);
            0
        }
    }
}

/// A record of a name that stands in the message.
fn record(owner: Owner, rtype: u16, ttl: u32, rdata: &[u8], out: &mut Vec<u8>) {
    pointer(owner.at, out);
    record_tail(rtype, ttl, rdata, out);
}

fn pointer(at: u16, out: &mut Vec<u8>) {
    out.extend((0xc000 | at).to_be_bytes());
}

fn record_tail(rtype: u16, ttl: u32, rdata: &[u8], out: &mut Vec<u8>) {
    out.extend(rtype.to_be_bytes());
    out.extend(wire::CLASS_IN.to_be_bytes());
    out.extend(ttl.to_be_bytes());
    out.extend((rdata.len() as u16).to_be_bytes());
    out.extend(rdata);
}

/// Where the zone of a negative answer is said to begin.
#[derive(Clone, Copy)]
enum Apex {
    /// At the name: it exists.
    Name,
    /// Above it: it does not exist.
    Parent,
}

/// The SOA record of a negative answer: its TTL and MINIMUM say how long it may be kept.
fn authority(owner: Owner, apex: Apex, ttl: u32, out: &mut Vec<u8>) {
    let first = out.get(usize::from(owner.at)).map_or(0, |&len| u16::from(len));
    match apex {
        Apex::Parent if first > 0 => pointer(owner.at + 1 + first, out),
        _ => pointer(owner.at, out),
    }
    // MNAME, RNAME, then SERIAL, REFRESH, RETRY and EXPIRE, which nobody transfers by, and MINIMUM.
    const NAMES: &[u8] = b"\x07sachdns\x07invalid\x00\x06nobody\x07invalid\x00";
    let mut rdata = [0; NAMES.len() + 20];
    let (names, numbers) = rdata.split_at_mut(NAMES.len());
    names.copy_from_slice(NAMES);
    for (octets, number) in numbers.chunks_exact_mut(4).zip([1, 3600, 600, 86_400, ttl]) {
        octets.copy_from_slice(&number.to_be_bytes());
    }
    record_tail(rtype::SOA, ttl, &rdata, out);
    set_count(out, Section::Authority, 1);
}

fn edns(query: &Query<'_>, rcode: u16, ede: Option<Ede<'_>>, out: &mut Vec<u8>) {
    let Some(opt) = edns_start(query, rcode, out) else { return };
    if let Some(ede) = ede {
        option(wire::option::EDE, &[&ede.code.to_be_bytes(), ede.text.as_bytes()], opt, out);
    }
}

/// Octets of an OPT record in front of its length: root, type, size, rcode and flags.
const OPT_LEN_AT: usize = 9;

/// An OPT record's place in `out`.
#[derive(Clone, Copy)]
struct OptAt {
    len: usize,
}

/// Appends an OPT record without options; `None` when the client sent none.
fn edns_start(query: &Query<'_>, rcode: u16, out: &mut Vec<u8>) -> Option<OptAt> {
    let asked = query.edns()?;
    Some(opt(rcode, if asked.dnssec_ok { wire::DO } else { 0 }, out))
}

/// Appends an OPT record without options.
fn opt(rcode: u16, flags: u32, out: &mut Vec<u8>) -> OptAt {
    out.push(0);
    out.extend(rtype::OPT.to_be_bytes());
    out.extend(PAYLOAD_SIZE.to_be_bytes());
    out.extend((u32::from(rcode >> 4) << 24 | flags).to_be_bytes());
    out.extend([0, 0]);
    let count = u16::from_be_bytes([out[10], out[11]]) + 1;
    set_count(out, Section::Additional, count);
    OptAt { len: out.len() - 2 }
}

/// Appends options as they are.
fn extend_opt(options: &[u8], opt: OptAt, out: &mut Vec<u8>) {
    out.extend(options);
    set_opt_len(opt, out);
}

fn option(code: u16, parts: &[&[u8]], opt: OptAt, out: &mut Vec<u8>) {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    out.extend(code.to_be_bytes());
    out.extend((len as u16).to_be_bytes());
    for part in parts {
        out.extend(*part);
    }
    set_opt_len(opt, out);
}

fn set_opt_len(opt: OptAt, out: &mut [u8]) {
    let total = (out.len() - opt.len - 2) as u16;
    out[opt.len..opt.len + 2].copy_from_slice(&total.to_be_bytes());
}

#[cfg(test)]
mod tests;
