//! From a trust anchor down to the keys of a zone, label by label, or to the proof that it has none.
//!
//! What was found at a name is kept as long as its records and signatures allow; who asks for the same at the same
//! time waits for the first. RFC 4035, section 5.2; judging a message is [`super::message`]'s.

use std::ops::Range;
use std::sync::Arc;

use quick_cache::Weighter;

use super::denial::{Delegation, Denials};
use super::key::{Dnskey, Ds, is_known_algorithm, is_known_digest};
use super::reason::{FetchError, Reason};
use super::rrset::{Proven, Rrset, Sections};
use super::{Attempt, ENTRY, Fetch, Inquiry, anchor::Anchor};
use crate::name::{self, Name};
use crate::wire::{CLASS_IN, Response, rcode, rtype};

/// The longest that anything is kept, in seconds.
const LONGEST: u64 = 86_400;
/// How long a name is held to be bogus (RFC 4035, section 4.7; RFC 9520, section 3.2 has 1 s to 5 min).
const BOGUS: u64 = 5;
/// Keys of one zone that may count; the rest is not looked at.
const MAX_KEYS: usize = 32;

/// A zone, as seen from a trust anchor.
#[derive(Debug, Clone)]
pub(super) enum Standing {
    /// It is signed, by one of these keys.
    Secure(Zone),
    /// It is proven not to be, or is not to be validated.
    Insecure(Reason),
}

/// A signed zone.
#[derive(Debug, Clone)]
pub(super) struct Zone {
    pub(super) name: Name,
    pub(super) keys: Arc<[Dnskey]>,
}

/// What is known of a name.
#[derive(Debug, Clone)]
pub(super) struct Node {
    cut: Cut,
    /// When it was found, and until when it is good, in seconds since 1970. A clock that is set back ends it too.
    good: Range<u64>,
}

#[derive(Debug, Clone)]
enum Cut {
    /// A signed zone begins here.
    Zone(Arc<[Dnskey]>),
    /// No zone begins here.
    None,
    /// Nothing is here or below.
    Absent,
    /// From here on nothing can be validated.
    Insecure(Reason),
    /// It cannot be told, for something is wrong.
    Bogus(Reason),
}

/// Weighs by the octets of names and keys.
#[derive(Debug, Clone)]
pub(super) struct NodeWeight;

impl Weighter<Name, Node> for NodeWeight {
    fn weight(&self, name: &Name, node: &Node) -> u64 {
        let keys = match &node.cut {
            Cut::Zone(keys) => keys.iter().map(|key| 64 + key.rdata().len()).sum(),
            _ => 0,
        };
        ENTRY + 2 * name.as_wire().len() as u64 + keys as u64
    }
}

impl<F: Fetch> Inquiry<'_, F> {
    /// How the zone that `name` belongs to stands. `signer` is the one that its records name: the way ends there,
    /// where that is on it.
    ///
    /// # Errors
    /// What is wrong on the way: then all below is bogus.
    pub(super) async fn standing(&mut self, name: &Name, signer: Option<&Name>) -> Result<Standing, Reason> {
        let validator = self.validator;
        let negative = validator
            .options
            .negative
            .iter()
            .filter(|negative| name.is_within(negative))
            .max_by_key(|n| n.label_count());
        let Some((apex, anchor)) = validator.options.anchors.nearest(name) else {
            return Ok(Standing::Insecure(match negative {
                Some(negative) => Reason::NegativeAnchor(negative.clone()),
                None => Reason::NoAnchor(name.clone()),
            }));
        };
        if let Some(negative) = negative
            && negative.label_count() >= apex.label_count()
        {
            return Ok(Standing::Insecure(Reason::NegativeAnchor(negative.clone())));
        }
        let end = signer.filter(|signer| name.is_within(signer) && signer.is_within(apex)).unwrap_or(name);
        let mut zone = match self.cut(apex, Way::Anchor(anchor)).await? {
            Cut::Zone(keys) => Zone { name: apex.clone(), keys },
            Cut::Insecure(reason) => return Ok(Standing::Insecure(reason)),
            Cut::Bogus(reason) => return Err(reason),
            Cut::None | Cut::Absent => return Err(Reason::NoKey(apex.clone())),
        };
        for labels in apex.label_count() + 1..=end.label_count() {
            let child = end.suffix(labels);
            match self.cut(&child, Way::Delegation(&zone)).await? {
                Cut::Zone(keys) => zone = Zone { name: child, keys },
                Cut::None => {}
                Cut::Absent => break,
                Cut::Insecure(reason) => return Ok(Standing::Insecure(reason)),
                Cut::Bogus(reason) => return Err(reason),
            }
        }
        Ok(Standing::Secure(zone))
    }

    /// What is known of `name`, or is found out now.
    async fn cut(&mut self, name: &Name, way: Way<'_>) -> Result<Cut, Reason> {
        let validator = self.validator;
        loop {
            match validator.nodes.get_value_or_guard_async(name).await {
                Ok(node) if node.good.contains(&self.now) => return Ok(node.cut),
                Ok(node) => {
                    validator.nodes.remove_if(name, |other| other.good == node.good);
                }
                Err(guard) => {
                    let node = self.look(name, way).await?;
                    // It may have been removed meanwhile: then it is not kept.
                    let _ = guard.insert(node.clone());
                    return Ok(node.cut);
                }
            }
        }
    }

    /// Finds out; once more of other servers where what came is bogus.
    async fn look(&mut self, name: &Name, way: Way<'_>) -> Result<Node, Reason> {
        let mut wrong = None;
        for attempt in [Attempt::First, Attempt::Again] {
            let found = match way {
                Way::Anchor(anchor) => self.keys(name, anchor, attempt).await,
                Way::Delegation(parent) => self.delegation(name, parent, attempt).await,
            };
            match found {
                Ok((cut, ttl)) => {
                    let good = self.now..self.now.saturating_add(u64::from(ttl).clamp(1, LONGEST));
                    return Ok(Node { cut, good });
                }
                Err(reason) if reason.is_passing() => return Err(wrong.unwrap_or(reason)),
                Err(reason) => wrong = Some(reason),
            }
        }
        let reason = wrong.unwrap_or(Reason::Malformed);
        Ok(Node { cut: Cut::Bogus(reason), good: self.now..self.now.saturating_add(BOGUS) })
    }

    /// What the parent says of `name`.
    async fn delegation(
        &mut self,
        name: &Name,
        parent: &Zone,
        attempt: Attempt,
    ) -> Result<(Cut, u32), Reason> {
        let unreachable = |why| Reason::DelegationUnreachable { zone: name.clone(), why };
        let sections = self.ask(name, rtype::DS, attempt).await?.map_err(unreachable)?;
        let now = self.serial();
        if let Some(set) = find(&sections.answer, name, rtype::DS) {
            let proven = set.verify(&parent.name, &parent.keys, now, &mut self.work)?;
            if proven.encloser.is_some() {
                // No wildcard delegates (RFC 4592, section 4.2).
                return Err(Reason::Misfit(set.name()));
            }
            let ds: Vec<Ds> = set.records.iter().filter_map(|rdata| Ds::read(rdata)).collect();
            let ds = match usable(name, ds) {
                Ok(ds) => ds,
                Err(reason) => return Ok((Cut::Insecure(reason), proven.ttl)),
            };
            let anchor = Anchor { ds, keys: Vec::new() };
            let (cut, ttl) = self.keys(name, &anchor, attempt).await?;
            return Ok((cut, ttl.min(proven.ttl)));
        }
        // An alias stands alone at its name, so no zone begins there (RFC 2181, section 10.1; RFC 6672, section 2.4).
        let mut aliases = sections.answer.iter().filter(|set| match set.rtype {
            rtype::CNAME => set.owner == *name && !set.signatures.is_empty(),
            rtype::DNAME => name.is_within(&set.owner) && set.owner != *name,
            _ => false,
        });
        if let Some(alias) = aliases.next() {
            let proven = alias.verify(&parent.name, &parent.keys, now, &mut self.work)?;
            let cut = if alias.rtype == rtype::DNAME { Cut::Absent } else { Cut::None };
            return Ok((cut, proven.ttl));
        }
        let denials = self.denials_of(&sections.authority, parent);
        let cut = match denials.delegation(name, &mut self.work)? {
            Delegation::Insecure(reason) => Cut::Insecure(reason),
            Delegation::None => Cut::None,
            Delegation::Absent => Cut::Absent,
        };
        Ok((cut, denials.ttl))
    }

    /// The keys of the zone at `name`, of which `anchor` knows one.
    async fn keys(&mut self, name: &Name, anchor: &Anchor, attempt: Attempt) -> Result<(Cut, u32), Reason> {
        let unreachable = |why| Reason::KeysUnreachable { zone: name.clone(), why };
        let sections = self.ask(name, rtype::DNSKEY, attempt).await?.map_err(unreachable)?;
        let Some(set) = find(&sections.answer, name, rtype::DNSKEY) else {
            return Err(Reason::NoKey(name.clone()));
        };
        let keys: Vec<Dnskey> =
            set.records.iter().filter_map(|rdata| Dnskey::read(rdata)).take(MAX_KEYS).collect();
        let mut known = Vec::new();
        for key in &keys {
            let mut is_known = anchor.keys.contains(key);
            for ds in anchor.ds.iter().filter(|ds| ds.may_be(key)) {
                if !is_known {
                    self.work.check()?;
                    is_known = ds.is_of(name, key);
                }
            }
            if is_known {
                known.push(key.clone());
            }
        }
        if known.is_empty() {
            return Err(Reason::NoKey(name.clone()));
        }
        if !known.iter().any(Dnskey::is_zone_key) {
            return Err(Reason::NoZoneKey(name.clone()));
        }
        if let Some(key) = known.first().filter(|_| !known.iter().any(Dnskey::is_usable)) {
            let reason = Reason::Algorithm { zone: name.clone(), algorithm: key.algorithm() };
            return Ok((Cut::Insecure(reason), set.ttl));
        }
        let Proven { ttl, .. } = set.verify(name, &known, self.serial(), &mut self.work)?;
        Ok((Cut::Zone(keys.into()), ttl))
    }

    /// The answer to a question of ours, its records put together.
    async fn ask(
        &mut self,
        name: &Name,
        kind: u16,
        attempt: Attempt,
    ) -> Result<Result<Sections, FetchError>, Reason> {
        self.work.fetch()?;
        let fetched = self.fetcher.fetch(name, kind, attempt).await;
        Ok(fetched.and_then(|message| read(&message, name, kind)))
    }

    /// The proofs of an authority section that `zone` signed.
    pub(super) fn denials_of(&mut self, authority: &[Rrset], zone: &Zone) -> Denials {
        let mut denials = Denials::new(zone.name.clone());
        let now = self.serial();
        for set in authority {
            let is_proof = matches!(set.rtype, rtype::NSEC | rtype::NSEC3) && !set.records.is_empty();
            if !is_proof || !set.owner.is_within(&zone.name) {
                continue;
            }
            match set.verify(&zone.name, &zone.keys, now, &mut self.work) {
                // A wildcard's offspring says nothing of the name that it is given.
                Ok(Proven { encloser: Some(_), .. }) => denials.refuse(Reason::Misfit(set.name())),
                Ok(Proven { ttl, .. }) => denials.add(set, ttl),
                Err(reason) => denials.refuse(reason),
            }
        }
        denials
    }
}

/// How one comes to a name.
#[derive(Clone, Copy)]
enum Way<'a> {
    /// A trust anchor stands there.
    Anchor(&'a Anchor),
    /// From the zone above.
    Delegation(&'a Zone),
}

/// The DS records that can be used.
///
/// # Errors
/// Where there are none, the zone is insecure (RFC 4035, section 5.2; RFC 6840, section 5.2).
fn usable(zone: &Name, ds: Vec<Ds>) -> Result<Vec<Ds>, Reason> {
    let (known, other): (Vec<Ds>, Vec<Ds>) = ds.into_iter().partition(|ds| is_known_algorithm(ds.algorithm));
    if known.is_empty() {
        let algorithm = other.first().map_or(0, |ds| ds.algorithm);
        return Err(Reason::Algorithm { zone: zone.clone(), algorithm });
    }
    let (mut usable, other): (Vec<Ds>, Vec<Ds>) =
        known.into_iter().partition(|ds| is_known_digest(ds.digest_type));
    if usable.is_empty() {
        let digest = other.first().map_or(0, |ds| ds.digest_type);
        return Err(Reason::Digest { zone: zone.clone(), digest });
    }
    // Beside a stronger digest, SHA-1 does not count (RFC 4509, section 3).
    if usable.iter().any(|ds| ds.digest_type != 1) {
        usable.retain(|ds| ds.digest_type != 1);
    }
    Ok(usable)
}

/// The RRset of this name and type, if there is one with records.
pub(super) fn find<'a>(sets: &'a [Rrset], owner: &Name, kind: u16) -> Option<&'a Rrset> {
    sets.iter().find(|set| set.rtype == kind && set.owner == *owner && !set.records.is_empty())
}

/// Reads an answer to this question.
fn read(message: &[u8], name: &Name, kind: u16) -> Result<Sections, FetchError> {
    let response = Response::parse(message).map_err(|_| FetchError::Malformed)?;
    let is_question = |kind: u16| {
        let question = [name.as_wire(), &kind.to_be_bytes(), &CLASS_IN.to_be_bytes()].concat();
        name::is_same_question(response.question(), &question)
    };
    // Where there is an alias, it may be told as such.
    if !is_question(kind) && !is_question(rtype::CNAME) {
        return Err(FetchError::Malformed);
    }
    match response.rcode() {
        rcode::NOERROR | rcode::NXDOMAIN => Sections::read(&response).map_err(|_| FetchError::Malformed),
        other => Err(FetchError::Rcode(other)),
    }
}
