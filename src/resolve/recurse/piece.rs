//! Pieces: what one zone says about one name, and how pieces become one answer.
//!
//! A piece is a message of its own, names written out, as the zone's server would have sent it had it
//! been asked just that; so it can be validated by itself. Where pieces come from, and whether they are
//! believed, is not known here.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::judge::Verdict;
use crate::name::{self, Name};
use crate::wire::{self, CLASS_IN, Record, Response, Section, rcode, rtype};

/// What a zone says about a name and type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// There is data of the type.
    Data,
    /// The name is an alias of another one.
    Alias(Name),
    /// The name exists, data of the type does not; or an empty name.
    Nodata,
    /// The name does not exist.
    Nxdomain,
    /// A DNAME record makes a name of it that is too long (RFC 6672, section 2.2).
    TooLong,
}

/// What one zone says about one name and type.
#[derive(Debug)]
pub struct Piece {
    /// The name.
    pub qname: Name,
    /// The type; CNAME for an alias, whatever was asked.
    pub qtype: u16,
    /// What there is.
    pub outcome: Outcome,
    /// Header, question, answer and authority section, no name compressed.
    pub message: Box<[u8]>,
    /// For how many seconds it may be kept.
    life: AtomicU32,
    /// When it came.
    pub born: Instant,
    /// Who said so.
    pub from: IpAddr,
    verdict: Mutex<Option<Verdict>>,
}

/// A record of a piece in the making: all its octets, no name compressed.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) rtype: u16,
    pub(super) ttl: u32,
    pub(super) octets: Vec<u8>,
}

impl Piece {
    /// Puts a piece together.
    pub(super) fn new(
        (qname, qtype): (Name, u16),
        outcome: Outcome,
        (answer, authority): (&[&Draft], &[&Draft]),
        life: u32,
        (born, from): (Instant, IpAddr),
    ) -> Option<Self> {
        let code = match outcome {
            Outcome::Data | Outcome::Alias(_) | Outcome::Nodata => rcode::NOERROR,
            Outcome::Nxdomain => rcode::NXDOMAIN,
            Outcome::TooLong => rcode::YXDOMAIN,
        };
        let mut message = vec![0, 0, wire::QR | wire::AA, code as u8, 0, 1];
        message.extend(u16::try_from(answer.len()).ok()?.to_be_bytes());
        message.extend(u16::try_from(authority.len()).ok()?.to_be_bytes());
        message.extend([0, 0]);
        message.extend(qname.as_wire());
        message.extend(qtype.to_be_bytes());
        message.extend(CLASS_IN.to_be_bytes());
        for draft in answer.iter().chain(authority) {
            message.extend(&draft.octets);
        }
        let is_whole = message.len() <= wire::MAX_MESSAGE;
        let message = message.into_boxed_slice();
        is_whole.then_some(Self {
            qname,
            qtype,
            outcome,
            message,
            life: AtomicU32::new(life),
            born,
            from,
            verdict: Mutex::default(),
        })
    }

    /// For how many seconds it may be kept.
    pub fn life(&self) -> u32 {
        self.life.load(Ordering::Relaxed)
    }

    /// Whether it may still be used.
    pub fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.born).as_secs() < u64::from(self.life())
    }

    /// What validation found, if it was validated.
    pub fn verdict(&self) -> Option<Verdict> {
        self.verdict.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes down what validation found. Signatures may end before the records' TTL does.
    pub fn set_verdict(&self, verdict: Verdict) {
        if let Verdict::Secure { ttl } = verdict {
            self.life.fetch_min(ttl, Ordering::Relaxed);
        }
        *self.verdict.lock().unwrap_or_else(PoisonError::into_inner) = Some(verdict);
    }

    /// The addresses in its answer.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let Ok(response) = Response::parse(&self.message) else { return Vec::new() };
        let address = |record: Record| match record.rtype {
            rtype::A | rtype::AAAA if record.section == Section::Answer => {
                address(record.rtype, &self.message[record.rdata])
            }
            _ => None,
        };
        response.records().flatten().filter_map(address).collect()
    }

    /// About how many octets of memory it takes.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + self.message.len() + self.qname.as_wire().len()
    }
}

/// The address in an A or AAAA record's data.
pub(in crate::resolve) fn address(kind: u16, rdata: &[u8]) -> Option<IpAddr> {
    match kind {
        rtype::A => Some(IpAddr::from(<[u8; 4]>::try_from(rdata).ok()?)),
        rtype::AAAA => Some(IpAddr::from(<[u8; 16]>::try_from(rdata).ok()?)),
        _ => None,
    }
}

/// Whether clients that did not ask for DNSSEC records do without these (RFC 4035, section 3.2.1).
fn is_proof(kind: u16) -> bool {
    matches!(kind, rtype::RRSIG | rtype::NSEC | rtype::NSEC3)
}

/// One answer to `question` out of pieces that lead from its name to where aliases end: a message with RA,
/// as a resolver sends it, and TTLs as they are at `now`. `None` when no message holds it.
pub fn compose(
    question: &[u8],
    pieces: &[impl AsRef<Piece>],
    is_dnssec_ok: bool,
    now: Instant,
) -> Option<Vec<u8>> {
    let last = pieces.last()?.as_ref();
    let mut writer = Writer::new(question);
    let qtype = wire::u16_at(question, question.len().checked_sub(4)?)?;
    let is_wanted = |kind: u16| is_dnssec_ok || !is_proof(kind) || kind == qtype;
    for (section, count_at) in [(Section::Answer, 6), (Section::Authority, 8)] {
        let mut count = 0u16;
        for piece in pieces {
            let piece = piece.as_ref();
            let age = now.saturating_duration_since(piece.born).as_secs();
            let age = u32::try_from(age).unwrap_or(u32::MAX);
            let response = Response::parse(&piece.message).ok()?;
            for record in response.records().flatten().filter(|record| record.section == section) {
                // Only the last piece says that something is not there; those before prove their wildcards.
                let is_told =
                    section == Section::Answer || is_proof(record.rtype) || std::ptr::eq(piece, last);
                if is_told && is_wanted(record.rtype) {
                    // A denial's SOA record says how long it holds (RFC 2308, section 5).
                    let ttl = record.ttl.min(piece.life()).saturating_sub(age);
                    writer.push(&piece.message, &record, ttl)?;
                    count = count.checked_add(1)?;
                }
            }
        }
        writer.message[count_at..count_at + 2].copy_from_slice(&count.to_be_bytes());
    }
    let mut message = writer.message;
    message[3] = wire::RA
        | match last.outcome {
            Outcome::Nxdomain => rcode::NXDOMAIN as u8,
            Outcome::TooLong => rcode::YXDOMAIN as u8,
            Outcome::Data | Outcome::Alias(_) | Outcome::Nodata => rcode::NOERROR as u8,
        };
    (message.len() <= wire::MAX_MESSAGE).then_some(message)
}

/// Writes a message, compressing names (RFC 1035, section 4.1.4).
struct Writer {
    message: Vec<u8>,
    /// Where each name that stands in the message begins, folded.
    names: HashMap<Box<[u8]>, u16>,
}

impl Writer {
    fn new(question: &[u8]) -> Self {
        let mut message = vec![0, 0, wire::QR, wire::RA, 0, 1, 0, 0, 0, 0, 0, 0];
        message.extend(question);
        let mut writer = Self { message, names: HashMap::new() };
        let qname = &question[..question.len() - 4];
        writer.remember(qname, wire::HEADER);
        writer
    }

    /// Takes down where a name and its ancestors begin.
    fn remember(&mut self, wire_name: &[u8], start: usize) {
        let mut at = 0;
        while let Some(&len) = wire_name.get(at).filter(|&&len| len > 0) {
            // A pointer has 14 bits.
            let Some(place) = u16::try_from(start + at).ok().filter(|&place| place < 0x4000) else { return };
            let mut folded: Box<[u8]> = wire_name[at..].into();
            name::fold(&mut folded);
            self.names.entry(folded).or_insert(place);
            at += 1 + usize::from(len);
        }
    }

    /// Appends the name at the start of `octets`, which is not compressed; returns its length there.
    fn push_name(&mut self, octets: &[u8]) -> Option<usize> {
        let len = name::wire_len(octets)?;
        let wire_name = &octets[..len];
        let mut folded: Box<[u8]> = wire_name.into();
        name::fold(&mut folded);
        let start = self.message.len();
        let mut at = 0;
        loop {
            let label = usize::from(*folded.get(at)?);
            if label == 0 {
                self.message.extend(&wire_name[..len]);
                break;
            }
            if let Some(&place) = self.names.get(&folded[at..]) {
                self.message.extend(&wire_name[..at]);
                self.message.extend((0xc000 | place).to_be_bytes());
                break;
            }
            at += 1 + label;
        }
        self.remember(wire_name, start);
        Some(len)
    }

    fn push(&mut self, packet: &[u8], record: &Record, ttl: u32) -> Option<()> {
        let owner = packet.get(record.start..)?;
        self.push_name(owner)?;
        self.message.extend(record.rtype.to_be_bytes());
        self.message.extend(record.class.to_be_bytes());
        self.message.extend(ttl.to_be_bytes());
        let len_at = self.message.len();
        self.message.extend([0, 0]);
        let rdata = packet.get(record.rdata.clone())?;
        // Names may be compressed in the types of RFC 1035 only (RFC 3597, section 4).
        let (fixed, names) = match record.rtype {
            rtype::NS | rtype::CNAME | 12 => (0, 1),
            rtype::SOA => (0, 2),
            15 => (2, 1),
            _ => (0, 0),
        };
        let mut at = fixed;
        self.message.extend(rdata.get(..at)?);
        for _ in 0..names {
            at += self.push_name(rdata.get(at..)?)?;
        }
        self.message.extend(rdata.get(at..)?);
        let len = u16::try_from(self.message.len() - len_at - 2).ok()?;
        self.message[len_at..len_at + 2].copy_from_slice(&len.to_be_bytes());
        Some(())
    }
}
