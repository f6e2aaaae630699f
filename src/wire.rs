//! DNS messages as octets: what a query asks, and a walk over a response's records.
//!
//! Reads and never judges: what to answer is `serve`'s, whom to believe is `resolve`'s. Reading a query
//! allocates nothing; no octets may make anything here panic. RFC 1035, section 4, and
//! RFC 6891 for the OPT record.

mod mnemonic;
mod notify;
mod part;
mod told;

use std::cmp::Ordering;
use std::ops::Range;

pub use self::mnemonic::{rcode_number, rcode_text, type_number, type_text};
pub use self::part::Part;
pub use self::told::Told;
use crate::name::{self, MAX_LABEL, MAX_WIRE};

/// Octets of a message's header.
pub const HEADER: usize = 12;
/// The largest message: a TCP length prefix holds no more.
pub const MAX_MESSAGE: usize = 65_535;

/// Response bit, third octet.
pub const QR: u8 = 0x80;
/// Authoritative answer bit, third octet.
pub const AA: u8 = 0x04;
/// Truncation bit, third octet.
pub const TC: u8 = 0x02;
/// Recursion desired bit, third octet.
pub const RD: u8 = 0x01;
/// Recursion available bit, fourth octet.
pub const RA: u8 = 0x80;
/// Authentic data bit, fourth octet.
pub const AD: u8 = 0x20;
/// Checking disabled bit, fourth octet.
pub const CD: u8 = 0x10;
/// The DO bit in an OPT record's TTL field.
pub const DO: u32 = 0x8000;

/// Class IN.
pub const CLASS_IN: u16 = 1;
/// Class CH, in which servers tell of themselves.
pub const CLASS_CH: u16 = 3;
/// Class ANY, which TSIG records have.
pub const CLASS_ANY: u16 = 255;

/// Record types that the code names.
pub mod rtype {
    /// IPv4 address.
    pub const A: u16 = 1;
    /// Name server.
    pub const NS: u16 = 2;
    /// Alias.
    pub const CNAME: u16 = 5;
    /// Start of authority.
    pub const SOA: u16 = 6;
    /// Name of an address.
    pub const PTR: u16 = 12;
    /// What a host is; here the answer to ANY (RFC 8482).
    pub const HINFO: u16 = 13;
    /// Text.
    pub const TXT: u16 = 16;
    /// Key of former days, which may stand beside an alias.
    pub const KEY: u16 = 25;
    /// IPv6 address.
    pub const AAAA: u16 = 28;
    /// Rules that make names of strings (RFC 3403).
    pub const NAPTR: u16 = 35;
    /// Alias of all names below (RFC 6672).
    pub const DNAME: u16 = 39;
    /// EDNS.
    pub const OPT: u16 = 41;
    /// Digest of a child zone's key.
    pub const DS: u16 = 43;
    /// Signature.
    pub const RRSIG: u16 = 46;
    /// Next name, and the types of this one.
    pub const NSEC: u16 = 47;
    /// A zone's key.
    pub const DNSKEY: u16 = 48;
    /// Next hashed name, and the types of this one.
    pub const NSEC3: u16 = 50;
    /// How a zone's NSEC3 records are made.
    pub const NSEC3PARAM: u16 = 51;
    /// Where a service is (RFC 9460).
    pub const SVCB: u16 = 64;
    /// Says in a proof that a name does not exist (RFC 9824); never asked for.
    pub const NXNAME: u16 = 128;
    /// Signature of a transaction.
    pub const TSIG: u16 = 250;
    /// What has changed in a zone.
    pub const IXFR: u16 = 251;
    /// A whole zone.
    pub const AXFR: u16 = 252;
    /// Every type there is; in questions only.
    pub const ANY: u16 = 255;

    /// Whether no resolver has data of this type: EDNS, keys and signatures of transactions, zone
    /// transfers, the obsolete mail types, the reserved 0, and all that is set aside for their like
    /// (RFC 6895, section 3.1). ANY is none.
    pub fn is_meta(rtype: u16) -> bool {
        matches!(rtype, 0 | OPT | 128..=254)
    }
}

/// Response codes that the code names (RFC 6895, section 2.3).
pub mod rcode {
    /// No error.
    pub const NOERROR: u16 = 0;
    /// The query could not be read.
    pub const FORMERR: u16 = 1;
    /// The server failed.
    pub const SERVFAIL: u16 = 2;
    /// The name does not exist.
    pub const NXDOMAIN: u16 = 3;
    /// The opcode is not implemented.
    pub const NOTIMP: u16 = 4;
    /// Refused by policy.
    pub const REFUSED: u16 = 5;
    /// The name that a DNAME record makes is too long (RFC 6672, section 2.2).
    pub const YXDOMAIN: u16 = 6;
    /// Not authorised: the signature of the transaction does not hold (RFC 8945).
    pub const NOTAUTH: u16 = 9;
    /// The EDNS version is not supported.
    pub const BADVERS: u16 = 16;
    /// The server cookie is missing or not valid (RFC 7873, section 8).
    pub const BADCOOKIE: u16 = 23;
}

/// EDNS option codes that the code names.
pub mod option {
    /// Extended DNS error (RFC 8914).
    pub const EDE: u16 = 15;
    /// Which server this is (RFC 5001).
    pub const NSID: u16 = 3;
    /// DNS cookie (RFC 7873).
    pub const COOKIE: u16 = 10;
    /// How long a connection may be idle (RFC 7828).
    pub const KEEPALIVE: u16 = 11;
    /// Octets that hide a message's length (RFC 7830).
    pub const PADDING: u16 = 12;
}

/// A well-formed query with one question.
#[derive(Debug, Clone)]
pub struct Query<'a> {
    packet: &'a [u8],
    question_end: usize,
    edns: Option<Edns>,
    tsig: Option<Record>,
}

/// What a client's OPT record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edns {
    /// The largest UDP answer the client takes, as it says.
    pub payload_size: u16,
    /// EDNS version; only 0 exists.
    pub version: u8,
    /// Whether DNSSEC records are wanted.
    pub dnssec_ok: bool,
    /// Where the options lie in the packet.
    pub options: Range<usize>,
}

/// Why a packet is not a query to be answered as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reject {
    /// No header, or a response: answering would feed loops.
    Silent,
    /// Not a message: FORMERR. Holds where the question ends, when it could be read.
    Malformed(Option<usize>),
    /// An opcode other than QUERY: NOTIMP. Tells whether an OPT record says that EDNS is spoken.
    Opcode(Speaks),
}

/// What a client understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// DNS as of RFC 1035.
    Plain,
    /// EDNS.
    Edns,
}

impl<'a> Query<'a> {
    /// Reads a packet as a query.
    ///
    /// # Errors
    /// [`Reject`] says what, if anything, such a packet deserves.
    pub fn parse(packet: &'a [u8]) -> Result<Self, Reject> {
        if packet.len() < HEADER || packet[2] & QR != 0 {
            return Err(Reject::Silent);
        }
        if packet[2] & 0x78 != 0 {
            let speaks = match Self::read(packet) {
                Ok(Self { edns: Some(_), .. }) => Speaks::Edns,
                _ => Speaks::Plain,
            };
            return Err(Reject::Opcode(speaks));
        }
        Self::read(packet)
    }

    /// Reads what follows the flags.
    fn read(packet: &'a [u8]) -> Result<Self, Reject> {
        // QDCOUNT before anything else: a parser must not trust the counts.
        if u16_at(packet, 4) != Some(1) {
            return Err(Reject::Malformed(None));
        }
        let name_len = name::wire_len(&packet[HEADER..]).ok_or(Reject::Malformed(None))?;
        let question_end = HEADER + name_len + 4;
        if question_end > packet.len() {
            return Err(Reject::Malformed(None));
        }
        let malformed = Reject::Malformed(Some(question_end));
        let mut edns = None;
        let mut tsig = None;
        let mut records = Records::after_question(packet, question_end);
        for record in &mut records {
            let record = record.map_err(|_| malformed)?;
            // RFC 8945, section 5.1: one at most, and nothing behind it.
            if tsig.is_some() || record.rtype == rtype::TSIG && record.section != Section::Additional {
                return Err(malformed);
            }
            if record.rtype == rtype::TSIG {
                tsig = Some(record);
                continue;
            }
            if record.rtype != rtype::OPT || record.section != Section::Additional {
                continue;
            }
            // RFC 6891, section 6.1.1: more than one OPT, or one that is not at the root: FORMERR.
            if edns.is_some() || packet[record.start] != 0 || !are_options(&packet[record.rdata.clone()]) {
                return Err(malformed);
            }
            edns = Some(Edns {
                payload_size: record.class,
                version: (record.ttl >> 16) as u8,
                dnssec_ok: record.ttl & DO != 0,
                options: record.rdata,
            });
        }
        if records.at != packet.len() {
            return Err(malformed);
        }
        Ok(Self { packet, question_end, edns, tsig })
    }

    /// The whole packet.
    pub fn packet(&self) -> &'a [u8] {
        self.packet
    }

    /// The message id.
    pub fn id(&self) -> u16 {
        u16::from_be_bytes([self.packet[0], self.packet[1]])
    }

    /// Whether recursion is desired.
    pub fn is_recursion_desired(&self) -> bool {
        self.packet[2] & RD != 0
    }

    /// Whether the client validates by itself.
    pub fn is_checking_disabled(&self) -> bool {
        self.packet[3] & CD != 0
    }

    /// Whether the client wants to be told that an answer is authentic: it set AD, or DO (RFC 6840,
    /// sections 5.7 and 5.8).
    pub fn is_authentic_data_wanted(&self) -> bool {
        self.packet[3] & AD != 0 || self.edns.as_ref().is_some_and(|edns| edns.dnssec_ok)
    }

    /// The question section's octets: name, type and class, in the client's case.
    pub fn question(&self) -> &'a [u8] {
        &self.packet[HEADER..self.question_end]
    }

    /// The qname in wire format, in the client's case.
    pub fn qname(&self) -> &'a [u8] {
        &self.packet[HEADER..self.question_end - 4]
    }

    /// The qtype.
    pub fn qtype(&self) -> u16 {
        u16::from_be_bytes([self.packet[self.question_end - 4], self.packet[self.question_end - 3]])
    }

    /// The qclass.
    pub fn qclass(&self) -> u16 {
        u16::from_be_bytes([self.packet[self.question_end - 2], self.packet[self.question_end - 1]])
    }

    /// The client's EDNS, if it sent an OPT record.
    pub fn edns(&self) -> Option<&Edns> {
        self.edns.as_ref()
    }

    /// Whether the client sent this EDNS option.
    pub fn has_option(&self, code: u16) -> bool {
        let Some(edns) = &self.edns else { return false };
        options(&self.packet[edns.options.clone()]).any(|(found, _)| found == code)
    }

    /// The record that signs the query, if there is one: its last.
    pub fn tsig(&self) -> Option<&Record> {
        self.tsig.as_ref()
    }

    /// The records behind the question, section by section.
    pub fn records(&self) -> Records<'a> {
        Records::after_question(self.packet, self.question_end)
    }

    /// The data of the first COOKIE option; others do not count (RFC 7873, section 5.2).
    pub fn cookie(&self) -> Option<&'a [u8]> {
        let mut options = options(&self.packet[self.edns.as_ref()?.options.clone()]);
        options.find_map(|(code, data)| (code == option::COOKIE).then_some(data))
    }
}

/// A response whose sections all parse.
#[derive(Debug, Clone, Copy)]
pub struct Response<'a> {
    packet: &'a [u8],
    question_end: usize,
    opt: Option<Opt>,
}

/// Where a response's OPT record lies.
#[derive(Debug, Clone, Copy)]
struct Opt {
    start: usize,
    end: usize,
    options: usize,
    extended_rcode: u8,
}

/// The message does not parse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl<'a> Response<'a> {
    /// Reads a packet as a response with exactly one question, every record's bounds checked.
    ///
    /// # Errors
    /// [`Malformed`], also for trailing octets and more than one OPT record.
    pub fn parse(packet: &'a [u8]) -> Result<Self, Malformed> {
        if packet.len() < HEADER || packet[2] & QR == 0 || u16_at(packet, 4) != Some(1) {
            return Err(Malformed);
        }
        let question_end = HEADER + name::wire_len(&packet[HEADER..]).ok_or(Malformed)? + 4;
        if question_end > packet.len() {
            return Err(Malformed);
        }
        let mut opt = None;
        let mut records = Records::after_question(packet, question_end);
        for record in &mut records {
            let record = record?;
            if record.rtype == rtype::OPT {
                if opt.is_some() || record.section != Section::Additional || packet[record.start] != 0 {
                    return Err(Malformed);
                }
                if !are_options(&packet[record.rdata.clone()]) {
                    return Err(Malformed);
                }
                opt = Some(Opt {
                    start: record.start,
                    end: record.rdata.end,
                    options: record.rdata.start,
                    extended_rcode: (record.ttl >> 24) as u8,
                });
            }
        }
        if records.at != packet.len() {
            return Err(Malformed);
        }
        Ok(Self { packet, question_end, opt })
    }

    /// The whole packet.
    pub fn packet(&self) -> &'a [u8] {
        self.packet
    }

    /// The message id.
    pub fn id(&self) -> u16 {
        u16::from_be_bytes([self.packet[0], self.packet[1]])
    }

    /// The question section's octets.
    pub fn question(&self) -> &'a [u8] {
        &self.packet[HEADER..self.question_end]
    }

    /// The response code with its extended bits (RFC 6891, section 6.1.3).
    pub fn rcode(&self) -> u16 {
        u16::from(self.packet[3] & 0x0f) | self.opt.map_or(0, |opt| u16::from(opt.extended_rcode) << 4)
    }

    /// Whether whoever sent it says that the name is in a zone of its own (AA).
    pub fn is_authoritative(&self) -> bool {
        self.packet[2] & AA != 0
    }

    /// Whether whoever sent it resolves for its clients (RA).
    pub fn is_recursion_available(&self) -> bool {
        self.packet[3] & RA != 0
    }

    /// Whether whoever sent it says that it has validated the answer (AD).
    pub fn is_authentic_data(&self) -> bool {
        self.packet[3] & AD != 0
    }

    /// Whether the answer was cut for its transport.
    pub fn is_truncated(&self) -> bool {
        self.packet[2] & TC != 0
    }

    /// The records after the question, section by section.
    pub fn records(&self) -> Records<'a> {
        Records::after_question(self.packet, self.question_end)
    }

    /// The options of the OPT record, as (code, value); none without one.
    pub fn options(&self) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        options(self.opt.map_or(&[], |opt| &self.packet[opt.options..opt.end]))
    }

    /// Where the OPT record lies in the packet.
    pub fn opt_range(&self) -> Option<Range<usize>> {
        self.opt.map(|opt| opt.start..opt.end)
    }
}

/// A message's sections after the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Section {
    /// Answer.
    Answer,
    /// Authority.
    Authority,
    /// Additional.
    Additional,
}

/// A resource record's place in its packet.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its section.
    pub section: Section,
    /// Where its owner name starts.
    pub start: usize,
    /// Its type.
    pub rtype: u16,
    /// Its class; for OPT the payload size.
    pub class: u16,
    /// Its TTL in seconds; for OPT rcode, version and flags.
    pub ttl: u32,
    /// Where its data lies; it ends the record.
    pub rdata: Range<usize>,
}

/// Walks the records of a packet; ends after the first that does not parse.
pub struct Records<'a> {
    packet: &'a [u8],
    at: usize,
    left: [u16; 3],
}

impl<'a> Records<'a> {
    fn after_question(packet: &'a [u8], question_end: usize) -> Self {
        let count = |at| u16_at(packet, at).unwrap_or(0);
        Self { packet, at: question_end, left: [count(6), count(8), count(10)] }
    }

    fn read(&mut self, section: Section) -> Option<Record> {
        let start = self.at;
        let fixed = owner_end(self.packet, start)?;
        let record = Record {
            section,
            start,
            rtype: u16_at(self.packet, fixed)?,
            class: u16_at(self.packet, fixed + 2)?,
            ttl: u32::from(u16_at(self.packet, fixed + 4)?) << 16
                | u32::from(u16_at(self.packet, fixed + 6)?),
            rdata: {
                let rdata = fixed + 10;
                rdata..rdata + usize::from(u16_at(self.packet, fixed + 8)?)
            },
        };
        if record.rdata.end > self.packet.len() {
            return None;
        }
        self.at = record.rdata.end;
        Some(record)
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let number = self.left.iter().position(|&left| left > 0)?;
        self.left[number] -= 1;
        let section = [Section::Answer, Section::Authority, Section::Additional][number];
        let record = self.read(section).ok_or(Malformed);
        if record.is_err() {
            self.left = [0; 3];
        }
        Some(record)
    }
}

/// The options in an OPT record's data, as (code, value); ends at the first that is cut.
pub fn options(rdata: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = rdata;
    std::iter::from_fn(move || {
        let (code, len) = (u16_at(rest, 0)?, usize::from(u16_at(rest, 2)?));
        let value = rest.get(4..4 + len)?;
        rest = &rest[4 + len..];
        Some((code, value))
    })
}

fn are_options(rdata: &[u8]) -> bool {
    options(rdata).map(|(_, value)| 4 + value.len()).sum::<usize>() == rdata.len()
}

/// Reads two octets in network order.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

/// Compares serial numbers of zones (RFC 1982, section 3.2); `None` where neither is greater.
pub fn compare_serials(one: u32, other: u32) -> Option<Ordering> {
    match one.wrapping_sub(other) {
        0 => Some(Ordering::Equal),
        0x8000_0000 => None,
        1..0x8000_0000 => Some(Ordering::Greater),
        _ => Some(Ordering::Less),
    }
}

/// Where the owner name at `at` ends. What it points to is followed: a pointer leads back to a name that
/// stands in the message (RFC 1035, section 4.1.4).
fn owner_end(packet: &[u8], at: usize) -> Option<usize> {
    // Nearly all owners are the root, or a pointer to the qname, which was read already.
    match packet.get(at..at + 2) {
        Some([0, _]) => return Some(at + 1),
        Some([0xc0, 12]) => return Some(at + 2),
        _ => {}
    }
    let end = skip_name(packet, at)?;
    let (mut part, mut next) = (at, at);
    let mut len = 0;
    loop {
        match usize::from(*packet.get(next)?) {
            0 => return Some(end),
            label @ 1..=MAX_LABEL => {
                len += 1 + label;
                next += 1 + label;
            }
            high @ 0xc0.. => {
                // Always further back than the part it stands in: no loop can be built.
                let target = (high & 0x3f) << 8 | usize::from(*packet.get(next + 1)?);
                if target < HEADER || target >= part {
                    return None;
                }
                (part, next) = (target, target);
            }
            _ => return None,
        }
        if len >= MAX_WIRE {
            return None;
        }
    }
}

/// Where the possibly compressed name at `at` ends, its pointer not followed.
pub fn skip_name(packet: &[u8], mut at: usize) -> Option<usize> {
    let start = at;
    loop {
        let len = usize::from(*packet.get(at)?);
        match len {
            0 => return Some(at + 1),
            1..=MAX_LABEL => at += 1 + len,
            0xc0.. => return (at + 1 < packet.len()).then_some(at + 2),
            _ => return None,
        }
        if at - start > MAX_WIRE {
            return None;
        }
    }
}

/// A name that was read from a message, uncompressed and in the letter case it had there.
#[derive(Clone, Copy)]
pub struct WireName {
    octets: [u8; MAX_WIRE],
    len: usize,
}

impl WireName {
    /// Copies an uncompressed name; `None` where that is too long for one.
    pub fn new(wire: &[u8]) -> Option<Self> {
        let mut name = Self { octets: [0; MAX_WIRE], len: wire.len() };
        name.octets.get_mut(..wire.len())?.copy_from_slice(wire);
        Some(name)
    }

    /// Reads the possibly compressed name at `at`. Allocates nothing.
    pub fn read(packet: &[u8], at: usize) -> Option<Self> {
        let mut name = Self { octets: [0; MAX_WIRE], len: 0 };
        for piece in Pieces::new(packet, at) {
            let piece = piece?;
            let end = name.len + piece.len();
            name.octets.get_mut(name.len..end)?.copy_from_slice(piece);
            name.len = end;
        }
        Some(name)
    }

    /// The name in wire format.
    pub fn as_wire(&self) -> &[u8] {
        &self.octets[..self.len]
    }
}

/// Where the labels of the possibly compressed name at `at` stand, each with its length octet.
pub fn label_places(packet: &[u8], at: usize) -> impl Iterator<Item = Range<usize>> {
    let mut pieces = Pieces::new(packet, at);
    std::iter::from_fn(move || pieces.next()?.map(|piece| pieces.found..pieces.found + piece.len()))
}

/// Whether the possibly compressed name at `at` is `name`; case does not count.
pub fn is_name_at(packet: &[u8], at: usize, name: &[u8]) -> bool {
    let mut rest = name;
    for piece in Pieces::new(packet, at) {
        let same = piece.and_then(|piece| {
            let (start, rest) = rest.split_at_checked(piece.len())?;
            start.eq_ignore_ascii_case(piece).then_some(rest)
        });
        match same {
            Some(after) => rest = after,
            None => return false,
        }
    }
    rest.is_empty()
}

/// The labels of a possibly compressed name, each with its length octet, the root's too; `None` where it does
/// not parse, and then no more.
struct Pieces<'a> {
    packet: &'a [u8],
    /// `None` once it has ended.
    at: Option<usize>,
    /// Every pointer must lead further back than the part it stands in: no loop can be built.
    part: usize,
    /// Where the last one stands.
    found: usize,
}

impl<'a> Pieces<'a> {
    fn new(packet: &'a [u8], at: usize) -> Self {
        Self { packet, at: Some(at), part: at, found: at }
    }

    fn piece(&mut self, mut at: usize) -> Option<&'a [u8]> {
        loop {
            let len = usize::from(*self.packet.get(at)?);
            match len {
                0..=MAX_LABEL => {
                    let piece = self.packet.get(at..=at + len)?;
                    self.at = (len > 0).then_some(at + 1 + len);
                    self.found = at;
                    return Some(piece);
                }
                0xc0.. => {
                    let target = usize::from(u16_at(self.packet, at)? & 0x3fff);
                    if target >= self.part || target < HEADER {
                        return None;
                    }
                    (at, self.part) = (target, target);
                }
                _ => return None,
            }
        }
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at.take()?;
        Some(self.piece(at))
    }
}

/// Appends the possibly compressed name at `at` to `out`, uncompressed; returns where it ends.
///
/// `None` for a loop, a forward pointer, a cut or a name over 255 octets; `out` is then as before.
pub fn expand_name(packet: &[u8], at: usize, out: &mut Vec<u8>) -> Option<usize> {
    let start = out.len();
    let end = expand(packet, at, out, start);
    if end.is_none() {
        out.truncate(start);
    }
    end
}

fn expand(packet: &[u8], mut at: usize, out: &mut Vec<u8>, start: usize) -> Option<usize> {
    let mut end = None;
    // Every pointer must lead further back than the part it stands in: no loop can be built.
    let mut part = at;
    loop {
        let len = usize::from(*packet.get(at)?);
        match len {
            0..=MAX_LABEL => {
                out.extend_from_slice(packet.get(at..=at + len)?);
                if out.len() - start > MAX_WIRE {
                    return None;
                }
                at += 1 + len;
                if len == 0 {
                    return Some(end.unwrap_or(at));
                }
            }
            0xc0.. => {
                let target = usize::from(u16_at(packet, at)? & 0x3fff);
                if target >= part || target < HEADER {
                    return None;
                }
                end.get_or_insert(at + 2);
                at = target;
                part = target;
            }
            _ => return None,
        }
    }
}

/// Where the names stand in the data of the types that may hold compressed ones: how many octets are in
/// front of them, and how many names there are.
pub fn names_in(kind: u16) -> (usize, usize) {
    match kind {
        // NS, MD, MF, CNAME, MB, MG, MR, PTR, DNAME
        2..=5 | 7..=9 | 12 | 39 => (0, 1),
        // SOA, MINFO, RP
        6 | 14 | 17 => (0, 2),
        // MX, AFSDB, RT, KX
        15 | 18 | 21 | 36 => (2, 1),
        // PX
        26 => (2, 2),
        // SRV
        33 => (6, 1),
        _ => (0, 0),
    }
}

/// Appends a record to `out` with all its names uncompressed, so that it can stand in any message.
///
/// Only the types of RFC 1035 (and a few that old servers compress) may hold compressed names
/// (RFC 3597, section 4); the data of all others is copied. `None` when a name does not parse.
pub fn expand_record(packet: &[u8], record: &Record, out: &mut Vec<u8>) -> Option<()> {
    let fixed = expand_name(packet, record.start, out)?;
    out.extend_from_slice(packet.get(fixed..fixed + 8)?);
    let len_at = out.len();
    out.extend_from_slice(&[0, 0]);
    let Range { start, end } = record.rdata.clone();
    let (fixed_octets, names) = names_in(record.rtype);
    let mut at = start + fixed_octets;
    out.extend_from_slice(packet.get(start..at.min(end))?);
    for _ in 0..names {
        at = expand_name(packet, at, out)?;
    }
    out.extend_from_slice(packet.get(at..end)?);
    let len = u16::try_from(out.len() - len_at - 2).ok()?;
    out[len_at..len_at + 2].copy_from_slice(&len.to_be_bytes());
    Some(())
}

#[cfg(test)]
mod tests;
