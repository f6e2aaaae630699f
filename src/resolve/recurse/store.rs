//! What recursion remembers between questions: delegations and pieces, both bounded in octets.
//!
//! Answers to clients are kept by [`super::super::cache`]; here is what they are made of. Asks nobody, decides nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::digest::Delegation;
use super::piece::{Outcome, Piece};
use crate::name::Name;
use crate::wire::rtype;

/// What an entry costs besides its own octets.
const OVERHEAD: u64 = 192;
/// About what one entry takes, to size the tables.
const TYPICAL: u64 = 512;
/// The part of all room that delegations have: one over this.
const DELEGATIONS_SHARE: u64 = 4;
/// The type under which a name's non-existence is kept: no record has it (RFC 6895, section 3.1).
const ANY_TYPE: u16 = 0;

/// Delegations and pieces.
pub(super) struct Store {
    delegations: Cache<Name, Arc<Known>, ByOctets>,
    pieces: Cache<Box<[u8]>, Arc<Piece>, ByOctets>,
}

/// A delegation and when it ends.
struct Known {
    delegation: Arc<Delegation>,
    until: Instant,
}

#[derive(Debug, Clone)]
struct ByOctets;

impl Weighter<Name, Arc<Known>> for ByOctets {
    fn weight(&self, key: &Name, known: &Arc<Known>) -> u64 {
        let servers = &known.delegation.servers;
        let server = |server: &super::digest::NameServer| {
            size_of_val(server) + server.name.as_wire().len() + size_of_val(&*server.addresses)
        };
        OVERHEAD + (2 * key.as_wire().len() + servers.iter().map(server).sum::<usize>()) as u64
    }
}

impl Weighter<Box<[u8]>, Arc<Piece>> for ByOctets {
    fn weight(&self, key: &Box<[u8]>, piece: &Arc<Piece>) -> u64 {
        OVERHEAD + (key.len() + piece.weight()) as u64
    }
}

impl Store {
    /// Holds at most this many octets.
    pub(super) fn new(max_size: u64) -> Self {
        let for_delegations = max_size / DELEGATIONS_SHARE;
        let for_pieces = max_size - for_delegations;
        let typical = |size: u64| usize::try_from(size / TYPICAL).unwrap_or(usize::MAX);
        Self {
            delegations: Cache::with_weighter(typical(for_delegations), for_delegations, ByOctets),
            pieces: Cache::with_weighter(typical(for_pieces), for_pieces, ByOctets),
        }
    }

    /// The servers of the nearest known zone at or above a name; none when not even the root's are known.
    pub(super) fn closest(&self, name: &Name, now: Instant) -> Option<Arc<Delegation>> {
        let mut zone = Some(name.clone());
        while let Some(name) = zone {
            match self.delegations.get(&name) {
                Some(known) if known.until > now => return Some(Arc::clone(&known.delegation)),
                Some(_) => {
                    self.delegations.remove(&name);
                }
                None => {}
            }
            zone = name.parent();
        }
        None
    }

    /// Keeps a delegation for as long as its TTL says.
    ///
    /// One that is known is not made to last longer by its own parent's servers being asked again before it
    /// ends: what a parent took away is gone at the latest when its TTL is over (ghost domains).
    pub(super) fn insert_delegation(&self, delegation: Arc<Delegation>, now: Instant) {
        let until = now + Duration::from_secs(u64::from(delegation.life));
        if delegation.life > 0 {
            self.delegations.insert(delegation.zone.clone(), Arc::new(Known { delegation, until }));
        }
    }

    /// Forgets a delegation: none of its servers was of any use.
    pub(super) fn remove_delegation(&self, zone: &Name) {
        self.delegations.remove(zone);
    }

    /// What is known about a name and type: data, an alias, or that there is nothing.
    pub(super) fn piece(&self, qname: &Name, qtype: u16, now: Instant) -> Option<Arc<Piece>> {
        let find = |qtype| self.pieces.get(&*key(qname, qtype)).filter(|piece| piece.is_fresh(now));
        // A DS record stands in the parent, where no alias is.
        let is_alias = |piece: &Arc<Piece>| matches!(piece.outcome, Outcome::Alias(_) | Outcome::TooLong);
        find(qtype)
            .or_else(|| find(rtype::CNAME).filter(|piece| qtype != rtype::DS && is_alias(piece)))
            .or_else(|| find(ANY_TYPE))
    }

    /// What may prove that a zone has no DS records, as a referral to it had it.
    pub(super) fn no_ds(&self, zone: &Name, now: Instant) -> Option<Arc<Piece>> {
        self.pieces.get(&*key_of_no_ds(zone)).filter(|piece| piece.is_fresh(now))
    }

    /// Keeps what may prove that a zone has no DS records.
    pub(super) fn insert_no_ds(&self, piece: &Arc<Piece>) {
        if piece.life() > 0 {
            self.pieces.insert(key_of_no_ds(&piece.qname), Arc::clone(piece));
        }
    }

    /// Keeps a piece for as long as it may be kept.
    pub(super) fn insert_piece(&self, piece: &Arc<Piece>) {
        if piece.life() > 0 {
            let qtype = if piece.outcome == Outcome::Nxdomain { ANY_TYPE } else { piece.qtype };
            self.pieces.insert(key(&piece.qname, qtype), Arc::clone(piece));
        }
    }

    #[cfg(test)]
    pub(super) fn forget_pieces(&self) {
        self.pieces.clear();
    }

    #[cfg(test)]
    pub(super) fn weight(&self) -> u64 {
        self.delegations.weight() + self.pieces.weight()
    }
}

fn key(qname: &Name, qtype: u16) -> Box<[u8]> {
    [qname.as_wire(), &qtype.to_be_bytes()].concat().into()
}

/// Longer than any [`key`] of the name: whatever type a client asks for, it is not given this.
fn key_of_no_ds(zone: &Name) -> Box<[u8]> {
    [zone.as_wire(), &rtype::DS.to_be_bytes(), &[0]].concat().into()
}
