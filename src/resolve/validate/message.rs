//! One message: its aliases, its data, and its proofs that something is not there.
//!
//! Walks from the qname as a resolver would; each RRset is checked against the zone that its name belongs to.
//! RFC 4035, section 5; RFC 6672 for DNAME; RFC 2308 for what a negative answer is about.

use super::denial::Denied;
use super::reason::{Reason, SetName};
use super::rrset::{Rrset, Sections};
use super::zone::{Standing, Zone, find};
use super::{Extent, Fetch, Inquiry};
use crate::name::Name;
use crate::wire::{CLASS_IN, Response, rcode, rtype, u16_at};

/// Aliases of one message that are followed; resolvers follow fewer.
const MAX_ALIASES: usize = 16;

/// What a message, or a part of it, is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Signed rightly.
    Secure {
        /// How many seconds it may be kept.
        ttl: u32,
    },
    /// Nothing wrong can be found, since nothing can be checked.
    Insecure(Reason),
}

impl Outcome {
    /// Both together: as good as the worse.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Secure { ttl: one }, Self::Secure { ttl: other }) => Self::Secure { ttl: one.min(other) },
            (Self::Secure { .. }, worse) | (worse, _) => worse,
        }
    }
}

/// What a response to a question is about.
struct Asked {
    name: Name,
    kind: u16,
    rcode: u16,
}

impl<F: Fetch> Inquiry<'_, F> {
    /// Judges a response.
    ///
    /// # Errors
    /// Why it is bogus.
    pub(super) async fn judge(&mut self, message: &[u8], extent: Extent) -> Result<Outcome, Reason> {
        let response = Response::parse(message).map_err(|_| Reason::Malformed)?;
        let question = response.question();
        let (wire, rest) = question.split_at(question.len() - 4);
        let name = Name::from_wire(wire).ok_or(Reason::Malformed)?;
        let asked = Asked { name, kind: u16_at(rest, 0).unwrap_or(0), rcode: response.rcode() };
        if u16_at(rest, 2) != Some(CLASS_IN) {
            return Ok(Outcome::Insecure(Reason::NoAnchor(asked.name)));
        }
        if !matches!(asked.rcode, rcode::NOERROR | rcode::NXDOMAIN | rcode::YXDOMAIN) {
            return Ok(Outcome::Insecure(Reason::Rcode(asked.rcode)));
        }
        let sections = Sections::read(&response)?;
        self.walk(asked, &sections, extent).await
    }

    async fn walk(&mut self, asked: Asked, sections: &Sections, extent: Extent) -> Result<Outcome, Reason> {
        let answer = &sections.answer;
        let mut outcome = Outcome::Secure { ttl: u32::MAX };
        let mut is_checked = vec![false; answer.len()];
        let mut name = asked.name.clone();
        let mut aliases = 0;
        let mut is_answered = false;
        let mut is_too_long = false;
        while !is_answered {
            let alias = alias_of(answer, &name);
            // What a DNAME record makes is not signed, and looked at as an alias even where it is asked for.
            let is_made = alias.as_ref().is_some_and(|alias| alias.made.is_some());
            let is_here = |set: &Rrset| set.owner == name;
            is_answered = find(answer, &name, asked.kind).is_some()
                || matches!(asked.kind, rtype::ANY | rtype::RRSIG) && answer.iter().any(is_here);
            if is_answered && !is_made {
                break;
            }
            let Some(alias) = alias else { break };
            aliases += 1;
            if aliases > MAX_ALIASES {
                return Err(Reason::Aliases);
            }
            is_checked[alias.set] = true;
            outcome = outcome.and(self.check(&answer[alias.set], sections).await?);
            if let Some(made) = alias.made {
                is_checked[made] = true;
            }
            match alias.target? {
                Some(target) => name = target,
                None => {
                    is_too_long = true;
                    break;
                }
            }
        }
        // What answers the question, and what came along.
        for (set, is_checked) in answer.iter().zip(is_checked) {
            if is_checked {
                continue;
            }
            if set.records.is_empty() {
                // Signatures are not signed; they matter only to who asks for them.
                if asked.kind == rtype::RRSIG && set.owner == name {
                    outcome = outcome.and(Outcome::Insecure(Reason::Signatures(name.clone())));
                }
                continue;
            }
            outcome = outcome.and(self.check(set, sections).await?);
        }
        let has_soa = sections.authority.iter().any(|set| set.rtype == rtype::SOA);
        let is_negative = match asked.rcode {
            rcode::YXDOMAIN if is_too_long => false,
            rcode::NOERROR if extent == Extent::Part && aliases > 0 => !is_answered && has_soa,
            rcode::NOERROR => !is_answered,
            // An error with data is a lie, and one that no proof covers.
            _ => true,
        };
        if is_negative {
            outcome = outcome.and(self.negative(&name, asked.kind, asked.rcode, &sections.authority).await?);
        }
        Ok(outcome)
    }

    /// Checks an RRset of the answer section.
    async fn check(&mut self, set: &Rrset, sections: &Sections) -> Result<Outcome, Reason> {
        // The parent knows whether there is a DS record, so to it the name belongs (RFC 4035, section 2.4).
        let of = if set.rtype == rtype::DS { set.owner.parent() } else { None };
        let of = of.as_ref().unwrap_or(&set.owner);
        let zone = match self.standing(of, set.signer()).await? {
            Standing::Secure(zone) => zone,
            Standing::Insecure(reason) => return Ok(Outcome::Insecure(reason)),
        };
        let now = self.serial();
        let proven = set.verify(&zone.name, &zone.keys, now, &mut self.work)?;
        let secure = Outcome::Secure { ttl: proven.ttl };
        let Some(encloser) = proven.encloser else { return Ok(secure) };
        // RFC 4035, section 5.3.4: nothing nearer than the wildcard may exist.
        let (index, ttl) = self.proofs(&sections.authority, &zone);
        let denied = self.denials[index].1.wildcard(set.name(), &encloser, &mut self.work)?;
        Ok(secure.and(outcome_of(denied, ttl)))
    }

    /// Checks that nothing is there.
    async fn negative(
        &mut self,
        name: &Name,
        kind: u16,
        code: u16,
        authority: &[Rrset],
    ) -> Result<Outcome, Reason> {
        let of = if kind == rtype::DS { name.parent() } else { None };
        let of = of.as_ref().unwrap_or(name);
        let mut about = authority.iter().filter(|set| {
            let is_kind = matches!(set.rtype, rtype::SOA | rtype::NSEC | rtype::NSEC3);
            is_kind && !set.records.is_empty()
        });
        // Which zone says so; the name must belong to it.
        let signers = about.clone().filter_map(Rrset::signer).filter(|signer| of.is_within(signer));
        let signer = signers.max_by_key(|signer| signer.label_count());
        let zone = match self.standing(of, signer).await? {
            Standing::Secure(zone) => zone,
            Standing::Insecure(reason) => return Ok(Outcome::Insecure(reason)),
        };
        let now = self.serial();
        let mut ttl = u32::MAX;
        let has_signature = signer.is_some();
        if let Some(soa) = about.find(|set| set.rtype == rtype::SOA) {
            ttl = soa.verify(&zone.name, &zone.keys, now, &mut self.work)?.ttl;
        } else if !has_signature && !authority.iter().any(is_proof) {
            return Err(Reason::NoDenial(SetName { owner: name.clone(), rtype: kind }));
        }
        let (index, proofs_ttl) = self.proofs(authority, &zone);
        let denials = &self.denials[index].1;
        let denied = if code == rcode::NXDOMAIN {
            denials.nxdomain(name, &mut self.work)?
        } else {
            denials.nodata(name, kind, &mut self.work)?
        };
        Ok(outcome_of(denied, ttl.min(proofs_ttl)))
    }

    /// Where the zone's proofs are, and how many seconds they may be kept.
    fn proofs(&mut self, authority: &[Rrset], zone: &Zone) -> (usize, u32) {
        let known = self.denials.iter().position(|(name, _)| *name == zone.name);
        let index = known.unwrap_or_else(|| {
            let denials = self.denials_of(authority, zone);
            self.denials.push((zone.name.clone(), denials));
            self.denials.len() - 1
        });
        (index, self.denials[index].1.ttl)
    }
}

fn is_proof(set: &Rrset) -> bool {
    matches!(set.rtype, rtype::NSEC | rtype::NSEC3)
}

fn outcome_of(denied: Denied, ttl: u32) -> Outcome {
    match denied {
        Denied::Secure => Outcome::Secure { ttl },
        Denied::Insecure(reason) => Outcome::Insecure(reason),
    }
}

/// An alias, and where it leads.
struct Alias {
    /// The RRset that says so: a CNAME or a DNAME.
    set: usize,
    /// The unsigned CNAME that the DNAME made.
    made: Option<usize>,
    /// Where it leads; `None` where that would be too long.
    target: Result<Option<Name>, Reason>,
}

/// What leads from `name` elsewhere.
fn alias_of(answer: &[Rrset], name: &Name) -> Option<Alias> {
    let at =
        |found: &dyn Fn(&Rrset) -> bool| answer.iter().position(|set| !set.records.is_empty() && found(set));
    let cname = at(&|set| set.rtype == rtype::CNAME && set.owner == *name);
    let dname = at(&|set| set.rtype == rtype::DNAME && set.owner != *name && name.is_within(&set.owner));
    let is_signed = cname.is_some_and(|cname| !answer[cname].signatures.is_empty());
    match (cname, dname) {
        (made, Some(set)) if !is_signed => {
            let alias = Reason::Alias(name.clone());
            let target = answer[set].target().ok_or(alias.clone()).and_then(|target| {
                let below = name.relative_to(&answer[set].owner);
                let substituted = below.and_then(|below| below.under(&target));
                match made.map(|made| answer[made].target()) {
                    Some(said) if said != substituted => Err(alias),
                    _ => Ok(substituted),
                }
            });
            Some(Alias { set, made, target })
        }
        (Some(set), _) => {
            let target = answer[set].target().ok_or_else(|| Reason::Alias(name.clone()));
            Some(Alias { set, made: None, target: target.map(Some) })
        }
        (None, _) => None,
    }
}
