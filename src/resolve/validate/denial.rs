//! Proofs that names and types do not exist: NSEC (RFC 4035, section 5.4) and NSEC3 (RFC 5155, section 8).
//!
//! Takes RRsets whose signatures were found right, all of one zone; finds out what they prove together.
//! Knows no keys and no network.

use ring::digest;

use super::Work;
use super::reason::{Reason, SetName};
use super::rrset::{Nsec3Data, Rrset, Types};
use crate::name::{Key, Name};
use crate::wire::rtype;

/// More iterations than these are not computed: the zone counts as insecure (RFC 9276, section 3.2, leaves the limit
/// to the validator; each iteration costs, CVE-2023-50868).
const MAX_ITERATIONS: u16 = 50;
/// The only hash that there is, SHA-1, and its octets (RFC 5155, section 11).
const SHA1: u8 = 1;
const HASH: usize = 20;
/// The Opt-Out flag, the only one that there is (RFC 5155, section 3.1.2.1).
const OPT_OUT: u8 = 1;

/// What one zone's NSEC and NSEC3 records of a message prove.
#[derive(Debug)]
pub(super) struct Denials {
    zone: Name,
    nsec: Vec<Nsec>,
    nsec3: Vec<Nsec3>,
    /// Iterations past the bound, of a record that is signed.
    too_many: Option<u16>,
    /// What is wrong with the first record that is not used.
    fault: Option<Reason>,
    /// How many seconds the proofs may be kept.
    pub(super) ttl: u32,
}

#[derive(Debug)]
struct Nsec {
    owner: Name,
    next: Name,
    types: Types,
}

#[derive(Debug)]
struct Nsec3 {
    hash: [u8; HASH],
    next: [u8; HASH],
    opt_out: bool,
    iterations: u16,
    salt: Box<[u8]>,
    types: Types,
}

/// How far a proof goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Denied {
    /// It is proven.
    Secure,
    /// It is proven that nothing can be said.
    Insecure(Reason),
}

/// What is proven of a name that has no DS record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Delegation {
    /// A zone of its own begins there, or may, and is not signed.
    Insecure(Reason),
    /// No zone begins there.
    None,
    /// The name does not exist, and none below it.
    Absent,
}

/// A name that exists, and the proof that nothing between it and the name asked for does.
struct Encloser {
    name: Name,
    /// Whether names that the proof covers may be delegated all the same.
    opt_out: bool,
}

impl Denials {
    pub(super) fn new(zone: Name) -> Self {
        Self { zone, nsec: Vec::new(), nsec3: Vec::new(), too_many: None, fault: None, ttl: u32::MAX }
    }

    /// Takes an NSEC or NSEC3 RRset of the zone that is rightly signed and no wildcard's offspring.
    pub(super) fn add(&mut self, set: &Rrset, ttl: u32) {
        let taken = match (set.rtype, &*set.records) {
            (rtype::NSEC, [data]) => self.add_nsec(&set.owner, data),
            (rtype::NSEC3, [data]) => self.add_nsec3(&set.owner, data),
            // More than one at a name is no chain (RFC 4034, section 4; RFC 5155, section 8.2).
            _ => None,
        };
        match taken {
            Some(()) => self.ttl = self.ttl.min(ttl),
            None => self.refuse(Reason::DenialGap(set.name())),
        }
    }

    /// Remembers why a record is not used.
    pub(super) fn refuse(&mut self, reason: Reason) {
        self.fault.get_or_insert(reason);
    }

    fn add_nsec(&mut self, owner: &Name, data: &[u8]) -> Option<()> {
        let (next, maps) = data.split_at_checked(crate::name::wire_len(data)?)?;
        let nsec = Nsec { owner: owner.clone(), next: Name::from_wire(next)?, types: Types::read(maps)? };
        if nsec.next.is_within(&self.zone) {
            self.nsec.push(nsec);
        }
        Some(())
    }

    fn add_nsec3(&mut self, owner: &Name, data: &[u8]) -> Option<()> {
        let data = Nsec3Data::read(data)?;
        // RFC 5155, sections 8.1 and 8.2: what one does not know is ignored.
        if data.algorithm != SHA1 || data.flags & !OPT_OUT != 0 || owner.parent()? != self.zone {
            return None;
        }
        if data.iterations > MAX_ITERATIONS {
            self.too_many.get_or_insert(data.iterations);
            return Some(());
        }
        if self.nsec3.first().is_some_and(|one| (one.iterations, &*one.salt) != (data.iterations, data.salt))
        {
            return None;
        }
        let label = crate::name::labels(owner.as_wire()).next()?;
        self.nsec3.push(Nsec3 {
            hash: base32hex(label)?,
            next: data.next.try_into().ok()?,
            opt_out: data.flags & OPT_OUT != 0,
            iterations: data.iterations,
            salt: data.salt.into(),
            types: data.types,
        });
        Some(())
    }

    /// That `name` does not exist, nor a wildcard that would make it.
    pub(super) fn nxdomain(&self, name: &Name, work: &mut Work) -> Result<Denied, Reason> {
        let set = SetName { owner: name.clone(), rtype: rtype::ANY };
        self.prove(set, work, Denied::Insecure, |this, work| {
            if !this.nsec.is_empty() {
                let encloser = this.nsec_denies(name)?;
                let wildcard = encloser.wildcard()?;
                return this.nsec_denies(&wildcard).map(|_| Denied::Secure);
            }
            let encloser = this.closest_encloser(name, work).ok()??;
            let wildcard = this.hash(&encloser.name.wildcard()?, work).ok()?;
            this.covering(&wildcard)?;
            Some(encloser.denied(name))
        })
    }

    /// That `name` exists, or a wildcard that makes it, and has neither this type nor an alias.
    pub(super) fn nodata(&self, name: &Name, kind: u16, work: &mut Work) -> Result<Denied, Reason> {
        let set = SetName { owner: name.clone(), rtype: kind };
        self.prove(set, work, Denied::Insecure, |this, work| {
            if !this.nsec.is_empty() {
                return this.nsec_nodata(name, kind).then_some(Denied::Secure);
            }
            let hash = this.hash(name, work).ok()?;
            if let Some(nsec3) = this.matching(&hash) {
                return lacks(&nsec3.types, name, kind).then_some(Denied::Secure);
            }
            let encloser = this.closest_encloser(name, work).ok()??;
            let wildcard = this.hash(&encloser.name.wildcard()?, work).ok()?;
            match this.matching(&wildcard) {
                Some(nsec3) => lacks(&nsec3.types, &encloser.name, kind).then(|| encloser.denied(name)),
                // RFC 5155, section 8.6, for DS; an empty non-terminal above insecure delegations for the others.
                None => encloser.opt_out.then(|| encloser.denied(name)),
            }
        })
    }

    /// That nothing stands nearer to `name` than the wildcard below `encloser` which made its RRset.
    pub(super) fn wildcard(&self, set: SetName, encloser: &Name, work: &mut Work) -> Result<Denied, Reason> {
        let name = set.owner.clone();
        self.prove(set, work, Denied::Insecure, |this, work| {
            if !this.nsec.is_empty() {
                return (this.nsec_denies(&name)? == *encloser).then_some(Denied::Secure);
            }
            // RFC 5155, section 8.8.
            let next_closer = this.hash(&name.suffix(encloser.label_count() + 1), work).ok()?;
            let opt_out = this.covering(&next_closer)?.opt_out;
            Some(Encloser { name: encloser.clone(), opt_out }.denied(&name))
        })
    }

    /// What is proven of `name`, for which the zone has no DS record (RFC 4035, section 5.2).
    pub(super) fn delegation(&self, name: &Name, work: &mut Work) -> Result<Delegation, Reason> {
        let set = SetName { owner: name.clone(), rtype: rtype::DS };
        self.prove(set, work, Delegation::Insecure, |this, work| {
            if !this.nsec.is_empty() {
                if let Some(nsec) = this.nsec.iter().find(|nsec| nsec.owner == *name) {
                    return delegation_of(&nsec.types, name);
                }
                if this.nsec_is_between(name) {
                    return Some(Delegation::None);
                }
                return this.nsec_denies(name).map(|_| Delegation::Absent);
            }
            let hash = this.hash(name, work).ok()?;
            if let Some(nsec3) = this.matching(&hash) {
                return delegation_of(&nsec3.types, name);
            }
            let encloser = this.closest_encloser(name, work).ok()??;
            Some(if encloser.opt_out {
                Delegation::Insecure(Reason::OptOut(name.clone()))
            } else {
                Delegation::Absent
            })
        })
    }

    /// Tries a proof; where it has gaps, says what is missing.
    fn prove<T>(
        &self,
        set: SetName,
        work: &mut Work,
        insecure: fn(Reason) -> T,
        proof: impl FnOnce(&Self, &mut Work) -> Option<T>,
    ) -> Result<T, Reason> {
        if let Some(proven) = set.owner.is_within(&self.zone).then(|| proof(self, work)).flatten() {
            return Ok(proven);
        }
        if work.is_spent() {
            return Err(Reason::Work);
        }
        if let Some(iterations) = self.too_many {
            // The signature was checked: nobody else wrote that number (RFC 9276, section 3.2).
            return Ok(insecure(Reason::Iterations { zone: self.zone.clone(), iterations }));
        }
        Err(match &self.fault {
            Some(fault) => fault.clone(),
            None if self.nsec.is_empty() && self.nsec3.is_empty() => Reason::NoDenial(set),
            None => Reason::DenialGap(set),
        })
    }

    /// Whether an NSEC record says that `name` does not exist; then its closest encloser.
    fn nsec_denies(&self, name: &Name) -> Option<Name> {
        let nsec = self.nsec.iter().find(|nsec| nsec.covers(name, &self.zone))?;
        // What is below a zone cut or a DNAME record, this zone cannot say (RFC 6840, section 4.1).
        let is_elsewhere = name.is_within(&nsec.owner) && leads_elsewhere(&nsec.types);
        if is_elsewhere || nsec.next.is_within(name) {
            return None;
        }
        let shared = name.shared_labels(&nsec.owner).max(name.shared_labels(&nsec.next));
        Some(name.suffix(shared))
    }

    /// Whether `name` has no records, only names below it (RFC 8499: an empty non-terminal).
    fn nsec_is_between(&self, name: &Name) -> bool {
        self.nsec.iter().any(|nsec| nsec.covers(name, &self.zone) && nsec.next.is_within(name))
    }

    fn nsec_nodata(&self, name: &Name, kind: u16) -> bool {
        let has_none_of_it = |name: &Name| match self.nsec.iter().find(|nsec| nsec.owner == *name) {
            Some(nsec) => Some(lacks(&nsec.types, name, kind)),
            None => self.nsec_is_between(name).then_some(true),
        };
        has_none_of_it(name).unwrap_or_else(|| {
            let wildcard = self.nsec_denies(name).and_then(|encloser| encloser.wildcard());
            wildcard.and_then(|wildcard| has_none_of_it(&wildcard)).unwrap_or(false)
        })
    }

    fn matching(&self, hash: &[u8; HASH]) -> Option<&Nsec3> {
        self.nsec3.iter().find(|nsec3| nsec3.hash == *hash)
    }

    fn covering(&self, hash: &[u8; HASH]) -> Option<&Nsec3> {
        self.nsec3.iter().find(|nsec3| nsec3.covers(hash))
    }

    /// RFC 5155, section 8.3.
    fn closest_encloser(&self, name: &Name, work: &mut Work) -> Result<Option<Encloser>, Reason> {
        let mut next_closer = None;
        for labels in (self.zone.label_count()..=name.label_count()).rev() {
            let candidate = name.suffix(labels);
            let hash = self.hash(&candidate, work)?;
            if let Some(nsec3) = self.matching(&hash) {
                let covering = next_closer.and_then(|hash| self.covering(&hash));
                return Ok(covering
                    .filter(|_| !leads_elsewhere(&nsec3.types))
                    .map(|covering| Encloser { name: candidate, opt_out: covering.opt_out }));
            }
            next_closer = Some(hash);
        }
        Ok(None)
    }

    /// RFC 5155, section 5. All records have the same salt and iterations.
    fn hash(&self, name: &Name, work: &mut Work) -> Result<[u8; HASH], Reason> {
        work.hash()?;
        let mut hash = [0; HASH];
        let Some(Nsec3 { iterations, salt, .. }) = self.nsec3.first() else { return Ok(hash) };
        for round in 0..=*iterations {
            let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
            context.update(if round == 0 { name.as_wire() } else { &hash });
            context.update(salt);
            hash.copy_from_slice(context.finish().as_ref());
        }
        Ok(hash)
    }
}

impl Nsec {
    /// Whether `name` would stand between the two names, in canonical order (RFC 4034, section 6.1).
    fn covers(&self, name: &Name, zone: &Name) -> bool {
        let [owner, next, name] = [&self.owner, &self.next, name].map(Key::from);
        let [owner, next, name] = [&owner, &next, &name].map(Key::as_bytes);
        // The last one leads back to the apex.
        owner < name && (name < next || next <= owner && self.next == *zone)
    }
}

impl Nsec3 {
    fn covers(&self, hash: &[u8; HASH]) -> bool {
        if self.hash < self.next {
            self.hash < *hash && *hash < self.next
        } else {
            self.hash < *hash || *hash < self.next
        }
    }
}

impl Encloser {
    fn denied(&self, name: &Name) -> Denied {
        // RFC 5155, section 9.2: no AD bit.
        if self.opt_out { Denied::Insecure(Reason::OptOut(name.clone())) } else { Denied::Secure }
    }
}

/// Whether the names below are another zone's, or another name's.
fn leads_elsewhere(types: &Types) -> bool {
    types.has(rtype::DNAME) || types.has(rtype::NS) && !types.has(rtype::SOA)
}

/// Whether the list of `owner`'s types proves that there is none of this one.
fn lacks(types: &Types, owner: &Name, kind: u16) -> bool {
    if types.has(kind) || types.has(rtype::CNAME) {
        return false;
    }
    // At a zone cut the parent knows of DS, and the child of all others (RFC 4035, section 5.4).
    if kind == rtype::DS {
        owner.is_root() || !types.has(rtype::SOA)
    } else {
        !types.has(rtype::NS) || types.has(rtype::SOA)
    }
}

/// What the parent's list of types says of `name`.
fn delegation_of(types: &Types, name: &Name) -> Option<Delegation> {
    if types.has(rtype::DS) || types.has(rtype::SOA) {
        return None;
    }
    Some(if types.has(rtype::NS) {
        Delegation::Insecure(Reason::Delegation(name.clone()))
    } else {
        Delegation::None
    })
}

/// Base 32 with extended hex alphabet (RFC 4648, section 7), of a hash of 20 octets.
fn base32hex(label: &[u8]) -> Option<[u8; HASH]> {
    let mut hash = [0; HASH];
    if label.len() != HASH / 5 * 8 {
        return None;
    }
    for (characters, octets) in label.chunks(8).zip(hash.chunks_mut(5)) {
        let mut bits = 0u64;
        for character in characters {
            bits = bits << 5 | u64::from(char::from(*character).to_digit(32)?);
        }
        octets.copy_from_slice(&bits.to_be_bytes()[3..]);
    }
    Some(hash)
}
