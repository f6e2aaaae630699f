//! An answer as it is kept: whole enough to be given to any client that asks the same.
//!
//! Holds octets and facts about them; how long it is kept is [`super::cache`]'s, what a client gets
//! to see of it `serve`'s.

use std::net::IpAddr;
use std::ops::Range;

use super::Aged;
use super::chain::Chain;
use crate::name;
use crate::wire::{self, Response, Section, WireName, option, rcode, rtype};

/// Most addresses that are taken down for the record.
pub const MAX_ADDRESSES: usize = 16;
/// The most aliases that are followed in one answer: resolvers end a longer chain themselves.
pub const MAX_ALIASES: usize = 16;
/// The longest that any answer counts as fresh, in seconds: a TTL may be up to 68 years.
const LONGEST: u32 = 86_400;
/// The longest TTL that clients are told, in seconds: a week (RFC 8767, section 4).
const LONGEST_TOLD: u32 = 604_800;
/// The longest that a negative one does (RFC 2308, section 5, has one to three hours).
const LONGEST_NEGATIVE: u32 = 3600;
/// How long a failure does (RFC 9520, section 3.2: at least one second, and seconds are counted whole): long
/// enough to take the edge off a storm of retries, short enough that nobody waits for a mended upstream.
const FAILURE: u32 = 2;

/// One answer, without OPT record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    message: Box<[u8]>,
    question_len: u16,
    /// Where the TTLs are, to be counted down.
    ttls: Box<[u16]>,
    /// Extended DNS errors as they stand in an OPT record's data.
    errors: Box<[u8]>,
    rcode: u16,
    addresses: Box<[IpAddr]>,
    life: u32,
    is_authentic: bool,
    has_alias: bool,
    is_signed: bool,
}

impl Answer {
    /// Keeps an upstream's message.
    ///
    /// Records behind its OPT record, which no common server sends, are written out anew: their
    /// compressed names would point to the wrong places. So is all of a message with records in its answer section
    /// that belong to another question, which are left out, and of one whose names point into TTLs, which change.
    pub fn new(response: &Response<'_>) -> Self {
        Self::in_chain(response, &Chain::of(response))
    }

    /// As [`Self::new`], where the chain of its names is known.
    pub(super) fn in_chain(response: &Response<'_>, chain: &Chain) -> Self {
        let packet = response.packet();
        if chain.has_strays() || leads_through_ttls(response) {
            return Self::of(without_strays(response, chain), errors(response), response.rcode());
        }
        let opt = response.opt_range().unwrap_or(packet.len()..packet.len());
        let mut message = packet[..opt.start].to_vec();
        let mut kept = 0u16;
        for record in response.records().flatten().filter(|record| record.section == Section::Additional) {
            if record.start < opt.start {
                kept += 1;
            } else if record.start >= opt.end {
                let len = message.len();
                match wire::expand_record(packet, &record, &mut message) {
                    // Written out, they may not fit a message any more.
                    Some(()) if message.len() <= wire::MAX_MESSAGE => kept += 1,
                    _ => message.truncate(len),
                }
            }
        }
        message[10..12].copy_from_slice(&kept.to_be_bytes());
        Self::of(message, errors(response), response.rcode())
    }

    /// A SERVFAIL that was made here, for this question section.
    pub fn failure(question: &[u8], errors: &[u8]) -> Self {
        let mut message = vec![0, 0, wire::QR, rcode::SERVFAIL as u8, 0, 1, 0, 0, 0, 0, 0, 0];
        message.extend(question);
        Self::of(message, errors.to_vec(), rcode::SERVFAIL)
    }

    /// Makes a failure a refusal, which is kept for no time.
    pub fn set_refused(&mut self) {
        (self.rcode, self.life) = (rcode::REFUSED, 0);
        self.message[3] = self.message[3] & 0xf0 | rcode::REFUSED as u8;
    }

    /// This answer's records and, behind them, what was found for the name that its aliases lead to. `None` where no
    /// message holds that.
    pub(super) fn followed_by(&self, further: &Self, aged: Aged) -> Option<Self> {
        let question = self.message.get(wire::HEADER..self.records_at())?;
        if further.rcode == rcode::SERVFAIL {
            return Some(Self::failure(question, &further.errors));
        }
        let mut message = self.message.get(..self.records_at())?.to_vec();
        message[3] = message[3] & 0xf0 | (further.rcode & 0x0f) as u8;
        let mut counts = [0u16; 3];
        for (answer, last) in [(self, Section::Answer), (further, Section::Authority)] {
            let response = Response::parse(&answer.message).ok()?;
            let records = response.records().flatten();
            for record in records.take_while(|record| record.section as u8 <= last as u8) {
                let start = message.len();
                if std::ptr::eq(answer, self) {
                    write_out(&answer.message, &record, &mut message)?;
                } else {
                    wire::expand_record(&answer.message, &record, &mut message)?;
                    // Behind the owner, which is written out, type and class.
                    let at = start + name::wire_len(&message[start..])? + 4;
                    let octets = message.get_mut(at..at + 4)?.first_chunk_mut::<4>()?;
                    *octets = aged.ttl(u32::from_be_bytes(*octets)).to_be_bytes();
                }
                counts[record.section as usize] += 1;
            }
        }
        set_counts(counts, &mut message);
        if message.len() > wire::MAX_MESSAGE {
            return None;
        }
        let is_authentic = self.is_authentic && further.is_authentic && aged != Aged::Stale;
        let mut answer = Self::of(message, further.errors.to_vec(), further.rcode);
        if is_authentic {
            answer.set_authentic();
        }
        Some(answer)
    }

    fn of(message: Vec<u8>, errors: Vec<u8>, rcode: u16) -> Self {
        let mut answer = Self {
            question_len: 0,
            ttls: Box::default(),
            errors: errors.into(),
            rcode,
            addresses: Box::default(),
            life: 0,
            is_authentic: false,
            has_alias: false,
            is_signed: false,
            message: message.into(),
        };
        // Both kinds were put together from what parses.
        let Ok(response) = Response::parse(&answer.message) else { return answer };
        answer.question_len = response.question().len() as u16;
        let mut ttls = Vec::new();
        let mut addresses = Vec::new();
        let mut shortest = LONGEST;
        let mut negative = None;
        let qtype = response
            .question()
            .last_chunk::<4>()
            .map_or(0, |octets| u16::from_be_bytes([octets[0], octets[1]]));
        let mut has_data = false;
        // RFC 8767, section 4: a TTL beyond all reason is told as the longest that is kept.
        let mut too_long = Vec::new();
        for record in response.records().flatten() {
            // A record's TTL is six octets before its data; no message is longer than an u16 says.
            ttls.push((record.rdata.start - 6) as u16);
            if record.ttl > LONGEST_TOLD {
                too_long.push(record.rdata.start - 6);
            }
            shortest = shortest.min(record.ttl);
            let rdata = &response.packet()[record.rdata.clone()];
            answer.is_signed |= record.rtype == rtype::RRSIG && record.section != Section::Additional;
            answer.has_alias |= record.rtype == rtype::CNAME && record.section == Section::Answer;
            match (record.section, record.rtype) {
                (Section::Answer, kind) => {
                    has_data |= kind == qtype || qtype == rtype::ANY;
                    if addresses.len() < MAX_ADDRESSES {
                        addresses.extend(address(kind, rdata));
                    }
                }
                (Section::Authority, rtype::SOA) => {
                    negative = minimum(rdata).map(|minimum| minimum.min(record.ttl));
                }
                _ => {}
            }
        }
        answer.life = match rcode {
            _ if response.is_truncated() => 0,
            rcode::NOERROR if has_data => shortest,
            // NODATA also at the end of aliases. RFC 2308, section 5: without an SOA record a negative answer is not kept.
            rcode::NOERROR | rcode::NXDOMAIN => {
                negative.map_or(0, |ttl| ttl.min(shortest).min(LONGEST_NEGATIVE))
            }
            rcode::SERVFAIL => FAILURE,
            _ => 0,
        };
        for at in too_long {
            answer.message[at..at + 4].copy_from_slice(&LONGEST_TOLD.to_be_bytes());
        }
        answer.ttls = ttls.into();
        answer.addresses = addresses.into();
        answer
    }

    /// Says that all of it was validated, here or by somebody who is trusted to do so.
    ///
    /// Only data and its denial are: a failure stays what it is (RFC 4035, section 3.2.3).
    pub fn set_authentic(&mut self) {
        self.is_authentic = matches!(self.rcode, rcode::NOERROR | rcode::NXDOMAIN);
    }

    /// Gives it these extended DNS errors, as they stand in an OPT record's data.
    pub fn set_errors(&mut self, errors: &[u8]) {
        self.errors = errors.into();
    }

    /// Whether all of it was validated. Nothing is, unless somebody says so.
    pub fn is_authentic(&self) -> bool {
        self.is_authentic
    }

    /// The message: an id and flags of no meaning to a client, the question as it was first asked, and
    /// all records but OPT.
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// Where the records begin.
    pub fn records_at(&self) -> usize {
        wire::HEADER + usize::from(self.question_len)
    }

    /// The offsets of all TTLs in the message.
    pub fn ttls(&self) -> impl Iterator<Item = usize> {
        self.ttls.iter().map(|&at| usize::from(at))
    }

    /// The extended DNS errors, as they stand in an OPT record's data.
    pub fn errors(&self) -> &[u8] {
        &self.errors
    }

    /// The response code, with its extended bits.
    pub fn rcode(&self) -> u16 {
        self.rcode
    }

    /// The first addresses in the answer section.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// Every address in the answer section.
    pub fn all_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.records(Section::Answer)
            .filter_map(|record| address(record.rtype, &self.message[record.rdata.clone()]))
    }

    /// The data of the answer section's NS records of the question's own name.
    pub fn name_servers(&self) -> impl Iterator<Item = WireName> {
        self.records(Section::Answer)
            .filter(|record| record.rtype == rtype::NS)
            .filter(|record| wire::is_name_at(&self.message, record.start, self.qname()))
            .filter_map(|record| WireName::read(&self.message, record.rdata.start))
    }

    /// Whether there is an alias in the answer section.
    pub fn has_alias(&self) -> bool {
        self.has_alias
    }

    /// Whether there are signatures in it.
    pub fn is_signed(&self) -> bool {
        self.is_signed
    }

    /// Calls `visit` with each name that aliases lead to from the qname, in that order, and the alias's TTL; at
    /// most [`MAX_ALIASES`] of them. Allocates nothing.
    pub fn for_each_alias(&self, mut visit: impl FnMut(&WireName, u32)) {
        if !self.has_alias {
            return;
        }
        let Some(mut name) = WireName::new(self.qname()) else { return };
        let mut left = MAX_ALIASES;
        loop {
            // Nearly always in one go: records stand in the order in which they are followed.
            let mut has_moved = false;
            for record in self.records(Section::Answer).filter(|record| record.rtype == rtype::CNAME) {
                if !wire::is_name_at(&self.message, record.start, name.as_wire()) {
                    continue;
                }
                let Some(target) = WireName::read(&self.message, record.rdata.start) else { return };
                visit(&target, record.ttl);
                (name, has_moved, left) = (target, true, left - 1);
                if left == 0 {
                    return;
                }
            }
            if !has_moved {
                return;
            }
        }
    }

    fn qname(&self) -> &[u8] {
        self.message.get(wire::HEADER..self.records_at().saturating_sub(4)).unwrap_or_default()
    }

    fn records(&self, section: Section) -> impl Iterator<Item = wire::Record> {
        // It was put together from what parses.
        let records = Response::parse(&self.message).ok().map(|response| response.records());
        records.into_iter().flatten().flatten().take_while(move |record| record.section == section)
    }

    /// For how many seconds it is fresh; 0: it must not be kept.
    pub fn life(&self) -> u32 {
        self.life
    }

    /// About how many octets of memory it takes.
    pub fn weight(&self) -> usize {
        let addresses = size_of_val(&*self.addresses);
        size_of::<Self>() + self.message.len() + size_of_val(&*self.ttls) + self.errors.len() + addresses
    }
}

/// The message without OPT record and strays, all names written out.
fn without_strays(response: &Response<'_>, chain: &Chain) -> Vec<u8> {
    let packet = response.packet();
    let mut message = packet[..wire::HEADER].to_vec();
    message.extend(response.question());
    let mut counts = [0u16; 3];
    for record in response.records().flatten() {
        if record.rtype == rtype::OPT || chain.is_stray(record.start) {
            continue;
        }
        let len = message.len();
        match write_out(packet, &record, &mut message) {
            // Written out, they may not fit a message any more.
            Some(()) if message.len() <= wire::MAX_MESSAGE => counts[record.section as usize] += 1,
            _ => message.truncate(len),
        }
    }
    set_counts(counts, &mut message);
    message
}

/// Appends a record with all names written out but an owner that points to the qname, which each client gets in
/// its own letter case.
fn write_out(packet: &[u8], record: &wire::Record, out: &mut Vec<u8>) -> Option<()> {
    let start = out.len();
    wire::expand_record(packet, record, out)?;
    let qname = [0xc0, wire::HEADER as u8];
    if packet.get(record.start..record.start + 2) == Some(&qname) {
        let owner = name::wire_len(&out[start..])?;
        out.splice(start..start + owner, qname);
    }
    Some(())
}

fn set_counts(counts: [u16; 3], message: &mut [u8]) {
    for (octets, count) in message[6..wire::HEADER].chunks_exact_mut(2).zip(counts) {
        octets.copy_from_slice(&count.to_be_bytes());
    }
}

fn errors(response: &Response<'_>) -> Vec<u8> {
    let mut errors = Vec::new();
    for (code, value) in response.options().filter(|(code, _)| *code == option::EDE) {
        push_option(&mut errors, code, value);
    }
    errors
}

/// Appends an EDNS option.
pub fn push_option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    out.extend(code.to_be_bytes());
    out.extend((value.len() as u16).to_be_bytes());
    out.extend(value);
}

fn address(kind: u16, rdata: &[u8]) -> Option<IpAddr> {
    match kind {
        rtype::A => Some(IpAddr::from(<[u8; 4]>::try_from(rdata).ok()?)),
        rtype::AAAA => Some(IpAddr::from(<[u8; 16]>::try_from(rdata).ok()?)),
        _ => None,
    }
}

/// The last field of an SOA record's data.
fn minimum(rdata: &[u8]) -> Option<u32> {
    rdata.last_chunk::<4>().map(|octets| u32::from_be_bytes(*octets))
}

/// Whether a name of a record goes on in the octets of a TTL: it would become another one with time.
fn leads_through_ttls(response: &Response<'_>) -> bool {
    let packet = response.packet();
    // Nearly all answers: there is no name but the question's.
    let is_plain = |record: &wire::Record| {
        matches!(packet.get(record.start..record.start + 2), Some([0, _] | [0xc0, 12]))
            && wire::names_in(record.rtype).1 == 0
    };
    if response.records().flatten().all(|record| is_plain(&record)) {
        return false;
    }
    let ttls: Vec<usize> = response.records().flatten().map(|record| record.rdata.start - 6).collect();
    let is_within = |label: Range<usize>| {
        let first = ttls.partition_point(|ttl| ttl + 4 <= label.start);
        ttls.get(first).is_some_and(|ttl| *ttl < label.end)
    };
    let leads = |at| wire::label_places(packet, at).any(is_within);
    response.records().flatten().any(|record| {
        let (front, names) = wire::names_in(record.rtype);
        let mut within = (0..names).scan(record.rdata.start + front, |at, _| {
            let here = *at;
            *at = wire::skip_name(packet, here)?;
            Some(here)
        });
        leads(record.start) || within.any(leads)
    })
}

#[cfg(test)]
mod tests {
    use super::super::STALE_TTL;
    use super::*;

    /// An answer to `example A` with these records (section 0 to 2, type, TTL, data) and rcode.
    fn message(code: u8, records: &[(usize, u16, u32, &[u8])]) -> Vec<u8> {
        let mut packet = vec![0, 7, wire::QR, code, 0, 1, 0, 0, 0, 0, 0, 0];
        packet.extend(b"\x07example\x00\x00\x01\x00\x01");
        for (section, kind, ttl, data) in records {
            packet[7 + 2 * section] += 1;
            packet.extend([if *kind == rtype::OPT { &[0][..] } else { &[0xc0, 12][..] }].concat());
            packet.extend(kind.to_be_bytes());
            packet.extend([0, 1]);
            packet.extend(ttl.to_be_bytes());
            packet.extend((data.len() as u16).to_be_bytes());
            packet.extend(*data);
        }
        packet
    }

    fn keep(packet: &[u8]) -> Answer {
        Answer::new(&Response::parse(packet).unwrap())
    }

    const SOA: &[u8] =
        b"\x00\x00\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03\x00\x00\x00\x04\x00\x00\x00\x3c";

    #[test]
    fn it_lives_as_long_as_its_shortest_record() {
        fn check(code: u8, records: &[(usize, u16, u32, &[u8])], expected: u32) {
            assert_eq!(keep(&message(code, records)).life(), expected, "{code} {records:?}");
        }
        let a: &[u8] = &[192, 0, 2, 1];
        check(0, &[(0, 1, 300, a), (0, 1, 200, a)], 200);
        check(0, &[(0, 1, 300, a), (2, 1, 100, a)], 100);
        check(0, &[(0, 1, 0, a)], 0);
        check(0, &[(0, 1, u32::MAX, a)], LONGEST);
        check(0, &[(1, 6, 3600, SOA)], 60);
        check(3, &[(1, 6, 30, SOA)], 30);
        // An alias to a name without data.
        check(0, &[(0, 5, 300, &[0xc0, 12]), (1, 6, 3600, SOA)], 60);
        check(0, &[(0, 5, 300, &[0xc0, 12])], 0);
        check(0, &[(0, 5, 300, &[0xc0, 12]), (0, 1, 200, a)], 200);
        check(3, &[], 0);
        check(0, &[], 0);
        check(2, &[], FAILURE);
        check(5, &[], 0);
        let mut truncated = message(0, &[(0, 1, 300, a)]);
        truncated[2] |= wire::TC;
        assert_eq!(keep(&truncated).life(), 0);
    }

    #[test]
    fn a_name_that_goes_on_in_a_ttl_is_written_out() {
        // An additional record whose owner is 18 octets, then a pointer to the class of the record before, and so into its TTL.
        let message = b"\x12\x34\x81\x7d\0\x01\0\0\0\0\0\x02\x04eViL\x07example\0\0\x01\0\x01\
            \0\x3b\x29\x04\xd0\0\x21\0\0\0\0\
            \x12\0\x0f\0\x02\0\x03\0\x0a\0\x08cookies\0\xc0\x21\0\x0c\x01\0\x01\0\0\x3c\0\x04\xc0\0\x02\x01";
        let mut kept = keep(message);
        for at in kept.ttls().collect::<Vec<_>>() {
            kept.message[at..at + 4].copy_from_slice(&0x0020_fff9u32.to_be_bytes());
        }
        assert!(Response::parse(&kept.message).is_ok(), "{:?}", kept.message);
    }

    #[test]
    fn a_ttl_beyond_all_reason_is_told_as_a_week() {
        let a: &[u8] = &[192, 0, 2, 1];
        let answer = keep(&message(0, &[(0, 1, u32::MAX, a), (2, 1, LONGEST_TOLD + 1, a), (2, 1, 300, a)]));
        let kept = Response::parse(answer.message()).unwrap();
        let ttls: Vec<u32> = kept.records().map(|record| record.unwrap().ttl).collect();
        assert_eq!(ttls, [LONGEST_TOLD, LONGEST_TOLD, 300]);
    }

    #[test]
    fn opt_is_taken_out_wherever_it_stands() {
        let a: &[u8] = &[192, 0, 2, 1];
        let opt = (2, rtype::OPT, 0, &b"\x00\x0f\x00\x02\x00\x03\x00\x0a\x00\x08cookies!"[..]);
        for records in [[(0, 1, 300, a), (2, 1, 300, a), opt], [(0, 1, 300, a), opt, (2, 1, 300, a)]] {
            let answer = keep(&message(0, &records));
            let kept = Response::parse(answer.message()).unwrap();
            let sections: Vec<Section> = kept.records().map(|record| record.unwrap().section).collect();
            assert_eq!(sections, [Section::Answer, Section::Additional]);
            assert!(kept.opt_range().is_none());
            assert_eq!(answer.errors(), b"\x00\x0f\x00\x02\x00\x03");
            assert_eq!(answer.addresses(), [IpAddr::from([192, 0, 2, 1])]);
            for at in answer.ttls() {
                assert_eq!(answer.message()[at..at + 4], 300u32.to_be_bytes());
            }
        }
    }

    #[test]
    fn records_of_other_names_are_left_out() {
        let a: &[u8] = &[192, 0, 2, 1];
        let mut packet =
            message(0, &[(0, 1, 300, a), (0, 1, 300, a), (1, 6, 300, SOA), (2, rtype::OPT, 0, &[])]);
        // The second record's owner becomes the root.
        let at = wire::HEADER + 13 + 16;
        packet.splice(at..at + 2, [0]);
        let answer = keep(&packet);
        let kept = Response::parse(answer.message()).unwrap();
        let sections: Vec<Section> = kept.records().map(|record| record.unwrap().section).collect();
        assert_eq!(sections, [Section::Answer, Section::Authority]);
        assert_eq!((answer.addresses().len(), answer.ttls().count()), (1, 2));
    }

    #[test]
    fn what_an_alias_leads_to_comes_behind_it() {
        let a: &[u8] = &[192, 0, 2, 1];
        let alias = || keep(&message(0, &[(0, 5, 300, b"\x01x\x00")]));
        let check = |code: u8, aged: Aged, ttls: &[u32], life: u32| {
            let mut further = message(code, &[(0, 1, 100, a), (1, 6, 200, SOA), (2, 1, 5, a)]);
            further[13] = b'X';
            let answer = alias().followed_by(&keep(&further), aged).unwrap();
            let kept = Response::parse(answer.message()).unwrap();
            let got: Vec<_> = kept.records().map(|record| record.unwrap().ttl).collect();
            assert_eq!((&*got, answer.life(), answer.rcode()), (ttls, life, u16::from(code)));
            assert_eq!(kept.question(), b"\x07example\x00\x00\x01\x00\x01");
        };
        check(0, Aged::By(0), &[300, 100, 200], 100);
        check(0, Aged::By(40), &[300, 60, 160], 60);
        check(0, Aged::Stale, &[300, STALE_TTL, STALE_TTL], STALE_TTL);
        check(3, Aged::By(0), &[300, 100, 200], 60);
        check(2, Aged::By(0), &[], FAILURE);
        let authentic = |mut answer: Answer| {
            answer.set_authentic();
            answer
        };
        let further = || keep(&message(0, &[(0, 1, 100, a)]));
        let both = authentic(alias()).followed_by(&authentic(further()), Aged::By(0)).unwrap();
        assert!(both.is_authentic());
        assert!(!authentic(alias()).followed_by(&further(), Aged::By(0)).unwrap().is_authentic());
        assert!(!alias().followed_by(&authentic(further()), Aged::By(0)).unwrap().is_authentic());
    }

    #[test]
    fn only_data_and_its_denial_are_authentic() {
        fn check(code: u8, expected: bool) {
            let mut packet = message(code, &[(1, 6, 3600, SOA)]);
            packet[3] |= wire::AD;
            let mut answer = keep(&packet);
            assert!(!answer.is_authentic(), "the bit alone says nothing");
            answer.set_authentic();
            assert_eq!(answer.is_authentic(), expected, "{code}");
        }
        check(0, true);
        check(3, true);
        check(2, false);
        check(5, false);
    }

    #[test]
    fn a_failure_is_an_answer_too() {
        let answer = Answer::failure(b"\x07example\x00\x00\x01\x00\x01", b"\x00\x0f\x00\x02\x00\x16");
        assert_eq!((answer.rcode(), answer.life()), (rcode::SERVFAIL, FAILURE));
        assert_eq!(answer.records_at(), answer.message().len());
        assert!(Response::parse(answer.message()).is_ok());
    }

    /// An answer to `q.` with these aliases, each to and from a name of one letter.
    fn with_aliases(aliases: &[(u8, u8)]) -> Answer {
        let mut octets =
            b"\x00\x00\x81\x80\x00\x01\x00\x00\x00\x00\x00\x00\x01q\x00\x00\x01\x00\x01".to_vec();
        octets[7] = aliases.len() as u8;
        for (from, to) in aliases {
            octets.extend([1, *from, 0, 0, 5, 0, 1, 0, 0, 0, 60, 0, 3, 1, *to, 0]);
        }
        Answer::new(&Response::parse(&octets).unwrap())
    }

    #[test]
    fn aliases_are_followed_in_any_order_and_not_for_ever() {
        fn check(aliases: &[(u8, u8)], expected: &str) {
            let mut followed = String::new();
            with_aliases(aliases).for_each_alias(|target, ttl| {
                assert_eq!(ttl, 60);
                followed.push(char::from(target.as_wire()[1]));
            });
            assert_eq!(followed, expected, "{aliases:?}");
        }
        check(&[], "");
        check(&[(b'q', b'a'), (b'a', b'b')], "ab");
        check(&[(b'c', b'd'), (b'b', b'c'), (b'Q', b'b')], "bcd");
        check(&[(b'x', b'y'), (b'q', b'a')], "a");
        check(&[(b'q', b'q')], &"q".repeat(MAX_ALIASES));
        check(&[(b'q', b'a'), (b'a', b'q')], &"aq".repeat(MAX_ALIASES / 2));
    }
}
