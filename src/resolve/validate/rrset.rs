//! RRsets in canonical form, their signatures, and whether one of these is right.
//!
//! Knows no network: keys come in, a verdict on one RRset goes out. RFC 4034, sections 3 and 6; RFC 4035,
//! section 5.3. Nothing that stands in a message may panic here.

use std::collections::HashMap;

use super::Work;
use super::key::{Dnskey, is_known_algorithm};
use super::reason::{Reason, SetName};
use crate::name::{self, Name};
use crate::wire::{self, Record, Response, Section, expand_name, names_in, rtype, u16_at};

/// Signatures of one RRset that are looked at; no zone has as many keys in use.
const MAX_SIGNATURES: usize = 16;
/// Signatures of one RRset that may be wrong before it is given up: two keys may share a tag, and one
/// algorithm's signatures may be broken, but who sends more wants to keep us busy (CVE-2023-50387).
const MAX_WRONG: u32 = 4;

/// Records of one name and type, and what signs them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rrset {
    pub(super) owner: Name,
    pub(super) rtype: u16,
    /// The lowest of its records.
    pub(super) ttl: u32,
    /// Data in canonical form, in canonical order, each once. Empty where only signatures came.
    pub(super) records: Vec<Vec<u8>>,
    pub(super) signatures: Vec<Rrsig>,
}

/// An RRSIG record's data (RFC 4034, section 3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rrsig {
    /// All in front of the signer's name, as it is signed.
    fixed: [u8; 18],
    pub(super) signer: Name,
    signature: Box<[u8]>,
}

impl Rrsig {
    /// Reads a record's data.
    fn read(rdata: &[u8]) -> Option<Self> {
        let (fixed, rest) = rdata.split_first_chunk::<18>()?;
        let (signer, signature) = rest.split_at_checked(name::wire_len(rest)?)?;
        Some(Self { fixed: *fixed, signer: Name::from_wire(signer)?, signature: signature.into() })
    }

    fn covered(&self) -> u16 {
        u16::from_be_bytes([self.fixed[0], self.fixed[1]])
    }

    fn algorithm(&self) -> u8 {
        self.fixed[2]
    }

    fn labels(&self) -> usize {
        usize::from(self.fixed[3])
    }

    fn u32_at(&self, at: usize) -> u32 {
        self.fixed[at..at + 4].iter().fold(0, |sum, &octet| sum << 8 | u32::from(octet))
    }

    fn original_ttl(&self) -> u32 {
        self.u32_at(4)
    }

    fn expiration(&self) -> u32 {
        self.u32_at(8)
    }

    fn inception(&self) -> u32 {
        self.u32_at(12)
    }

    fn tag(&self) -> u16 {
        u16::from_be_bytes([self.fixed[16], self.fixed[17]])
    }
}

/// What a right signature says of its RRset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proven {
    /// The closest encloser, where the RRset comes from the wildcard below it.
    pub(super) encloser: Option<Name>,
    /// How many seconds it may be kept (RFC 4035, section 5.3.3).
    pub(super) ttl: u32,
}

/// Seconds from `b` to `a` in serial arithmetic (RFC 4034, section 3.1.5).
fn seconds_since(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b).cast_signed()
}

impl Rrset {
    pub(super) fn name(&self) -> SetName {
        SetName { owner: self.owner.clone(), rtype: self.rtype }
    }

    /// The zone that says that it signed it; the nearest to the owner, where several do.
    pub(super) fn signer(&self) -> Option<&Name> {
        let signers = self.signatures.iter().map(|signature| &signature.signer);
        signers.filter(|signer| self.may_sign(signer)).max_by_key(|signer| signer.label_count())
    }

    /// Whether a zone's signature can count (RFC 4035, section 5.3.1): the owner belongs to it, and a DS RRset
    /// to the parent.
    fn may_sign(&self, signer: &Name) -> bool {
        self.owner.is_within(signer) && (self.rtype != rtype::DS || self.owner != *signer || signer.is_root())
    }

    /// Looks for a right signature by one of `keys`, which are `zone`'s.
    ///
    /// # Errors
    /// What is wrong with the signature that came closest.
    pub(super) fn verify(
        &self,
        zone: &Name,
        keys: &[Dnskey],
        now: u32,
        work: &mut Work,
    ) -> Result<Proven, Reason> {
        let mut nearest: Option<(u8, Reason)> = None;
        let mut note = |rank: u8, reason: Reason| {
            if nearest.as_ref().is_none_or(|(best, _)| rank > *best) {
                nearest = Some((rank, reason));
            }
        };
        let mut wrong = 0;
        for signature in self.signatures.iter().take(MAX_SIGNATURES) {
            if signature.signer != *zone || !self.may_sign(&signature.signer) {
                note(1, Reason::Signer { set: self.name(), signer: signature.signer.clone() });
                continue;
            }
            let own_labels = self.owner.label_count() - usize::from(self.owner.is_wildcard());
            if signature.labels() > own_labels || signature.labels() < zone.label_count() {
                note(2, Reason::Misfit(self.name()));
                continue;
            }
            let (left, age) =
                (seconds_since(signature.expiration(), now), seconds_since(now, signature.inception()));
            if seconds_since(signature.expiration(), signature.inception()) < 0 {
                note(3, Reason::Backwards(self.name()));
                continue;
            }
            if left < 0 {
                note(5, Reason::Expired { set: self.name(), ago: left.unsigned_abs() });
                continue;
            }
            if age < 0 {
                note(5, Reason::NotYetValid { set: self.name(), wait: age.unsigned_abs() });
                continue;
            }
            let (tag, algorithm) = (signature.tag(), signature.algorithm());
            let candidates = || keys.iter().filter(|key| key.tag() == tag && key.algorithm() == algorithm);
            if !is_known_algorithm(algorithm) || candidates().next().is_none() {
                note(4, Reason::UnknownKey { set: self.name(), zone: zone.clone(), tag });
                continue;
            }
            let mut data = None;
            for key in candidates() {
                if !key.is_zone_key() {
                    note(4, Reason::NoZoneKey(zone.clone()));
                    continue;
                }
                work.check()?;
                let data = data.get_or_insert_with(|| self.signed_data(signature));
                if key.verify(data, &signature.signature) {
                    let encloser =
                        (signature.labels() < own_labels).then(|| self.owner.suffix(signature.labels()));
                    let ttl = self.ttl.min(signature.original_ttl()).min(left.unsigned_abs());
                    return Ok(Proven { encloser, ttl });
                }
                note(6, Reason::BadSignature { set: self.name(), tag });
                wrong += 1;
                if wrong == MAX_WRONG {
                    return Err(Reason::BadSignature { set: self.name(), tag });
                }
            }
        }
        Err(nearest.map_or_else(|| Reason::Unsigned(self.name()), |(_, reason)| reason))
    }

    /// The octets that are signed (RFC 4034, section 3.1.8.1).
    fn signed_data(&self, signature: &Rrsig) -> Vec<u8> {
        let mut data = [&signature.fixed, signature.signer.as_wire()].concat();
        let labels = signature.labels();
        let mut owner = Vec::with_capacity(name::MAX_WIRE);
        if labels < self.owner.label_count() {
            // It was made by the wildcard, or is the wildcard (RFC 4035, section 5.3.2).
            owner.extend(b"\x01*");
        }
        owner.extend(self.owner.suffix(labels).as_wire());
        for record in &self.records {
            data.extend(&owner);
            data.extend(self.rtype.to_be_bytes());
            data.extend(wire::CLASS_IN.to_be_bytes());
            data.extend(signature.original_ttl().to_be_bytes());
            data.extend((record.len() as u16).to_be_bytes());
            data.extend(record);
        }
        data
    }

    /// The name that the only record's data is: of CNAME and DNAME.
    pub(super) fn target(&self) -> Option<Name> {
        match &*self.records {
            [one] => Name::from_wire(one),
            _ => None,
        }
    }
}

/// The RRsets of a response's answer and authority sections.
#[derive(Debug, Default)]
pub(super) struct Sections {
    pub(super) answer: Vec<Rrset>,
    pub(super) authority: Vec<Rrset>,
}

impl Sections {
    /// Puts the records together. Those of other classes do not count.
    ///
    /// # Errors
    /// [`Reason::Malformed`] where a name does not parse.
    pub(super) fn read(response: &Response<'_>) -> Result<Self, Reason> {
        let mut sections = Self::default();
        let mut places: HashMap<(Section, Name, u16), usize> = HashMap::new();
        for record in response.records() {
            let record = record.map_err(|_| Reason::Malformed)?;
            if record.class != wire::CLASS_IN || record.section == Section::Additional {
                continue;
            }
            let sets = match record.section {
                Section::Answer => &mut sections.answer,
                _ => &mut sections.authority,
            };
            let (owner, data) = canonical(response.packet(), &record).ok_or(Reason::Malformed)?;
            let signature = match record.rtype {
                rtype::RRSIG => Some(Rrsig::read(&data).ok_or(Reason::Malformed)?),
                _ => None,
            };
            let covered = signature.as_ref().map_or(record.rtype, Rrsig::covered);
            let place = places.entry((record.section, owner.clone(), covered)).or_insert_with(|| {
                sets.push(Rrset {
                    owner,
                    rtype: covered,
                    ttl: u32::MAX,
                    records: Vec::new(),
                    signatures: Vec::new(),
                });
                sets.len() - 1
            });
            let set = &mut sets[*place];
            match signature {
                Some(signature) => set.signatures.push(signature),
                None => {
                    set.ttl = set.ttl.min(record.ttl);
                    set.records.push(data);
                }
            }
        }
        for set in sections.answer.iter_mut().chain(&mut sections.authority) {
            // RFC 4034, section 6.3: as octets, left-justified; duplicates are no part of a set.
            set.records.sort_unstable();
            set.records.dedup();
        }
        Ok(sections)
    }
}

/// A record's owner, and its data as it is signed: names expanded, and folded where RFC 4034, section 6.2,
/// says so (not those of NSEC: RFC 6840, section 5.1).
fn canonical(packet: &[u8], record: &Record) -> Option<(Name, Vec<u8>)> {
    let mut owner = Vec::with_capacity(32);
    expand_name(packet, record.start, &mut owner)?;
    let rdata = packet.get(record.rdata.clone())?;
    let (before, names) = names_in(record.rtype);
    if record.rtype == rtype::NAPTR {
        return Some((Name::from_wire(&owner)?, canonical_naptr(rdata)?));
    }
    if names == 0 {
        return Some((Name::from_wire(&owner)?, rdata.to_vec()));
    }
    let mut data = rdata.get(..before)?.to_vec();
    let mut at = record.rdata.start + before;
    for _ in 0..names {
        let from = data.len();
        at = expand_name(packet, at, &mut data)?;
        name::fold(&mut data[from..]);
    }
    data.extend(packet.get(at..record.rdata.end)?);
    Some((Name::from_wire(&owner)?, data))
}

/// NAPTR: two numbers, three strings, and a name that is folded but never compressed (RFC 3403, section 4.1).
fn canonical_naptr(rdata: &[u8]) -> Option<Vec<u8>> {
    let mut at = 4;
    for _ in 0..3 {
        at += 1 + usize::from(*rdata.get(at)?);
    }
    let mut data = rdata.to_vec();
    name::fold(data.get_mut(at..)?);
    Some(data)
}

/// The types that an NSEC or NSEC3 record lists (RFC 4034, section 4.1.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Types(Box<[u8]>);

impl Types {
    /// Reads type bit maps; `None` unless the windows are whole.
    pub(super) fn read(maps: &[u8]) -> Option<Self> {
        let mut rest = maps;
        while let Some((_, tail)) = rest.split_first() {
            let len = usize::from(*tail.first()?);
            if !(1..=32).contains(&len) {
                return None;
            }
            rest = tail.get(1 + len..)?;
        }
        Some(Self(maps.into()))
    }

    /// Whether this type is among them.
    pub(super) fn has(&self, kind: u16) -> bool {
        let [window, bit] = kind.to_be_bytes();
        let mut rest = &*self.0;
        while let [number, len, tail @ ..] = rest {
            let Some((map, tail)) = tail.split_at_checked(usize::from(*len)) else { return false };
            if *number == window {
                return map.get(usize::from(bit / 8)).is_some_and(|octet| octet & 0x80 >> (bit % 8) != 0);
            }
            rest = tail;
        }
        false
    }
}

/// The names and numbers of an NSEC3 record's data (RFC 5155, section 3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Nsec3Data<'a> {
    pub(super) algorithm: u8,
    pub(super) flags: u8,
    pub(super) iterations: u16,
    pub(super) salt: &'a [u8],
    pub(super) next: &'a [u8],
    pub(super) types: Types,
}

impl<'a> Nsec3Data<'a> {
    /// Reads a record's data.
    pub(super) fn read(rdata: &'a [u8]) -> Option<Self> {
        let (algorithm, flags) = (*rdata.first()?, *rdata.get(1)?);
        let iterations = u16_at(rdata, 2)?;
        let (salt, rest) = counted(rdata.get(4..)?)?;
        let (next, maps) = counted(rest)?;
        Some(Self { algorithm, flags, iterations, salt, next, types: Types::read(maps)? })
    }
}

/// A string behind its length, and the rest.
fn counted(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = octets.split_first()?;
    rest.split_at_checked(usize::from(*len))
}
