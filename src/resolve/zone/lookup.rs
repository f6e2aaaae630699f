//! What local zones say to a question (RFC 1034, section 4.3.2; wildcards: RFC 4592; DNAME: RFC 6672).
//!
//! Appends the records of an answer to a message that ends with its question, and allocates nothing else.
//! Names are compressed to the qname's place where they end it. In signed zones the signatures and the
//! NSEC records that the file has are handed out (RFC 4035, section 3.1); NSEC3 proofs are not.

use std::net::IpAddr;

use super::{Node, Rrset, Zone, Zones, prefixes};
use crate::name::{self, Key, MAX_WIRE, Name, SEPARATOR};
use crate::wire::{CLASS_IN, HEADER, Section, rcode, rtype};

/// Most aliases that are followed; more are a loop, or as bad.
const MOST_ALIASES: usize = 12;
/// Most addresses that are taken down.
const MOST_ADDRESSES: usize = 16;
/// Octets of the longest key, and of the label that makes a wildcard of it.
const LONGEST_KEY: usize = 2 * MAX_WIRE + 2;

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// In wire format, in the client's letter case, as it stands behind the header of the message.
    pub qname: &'a [u8],
    /// Its type.
    pub qtype: u16,
    /// Whether signatures and proofs are wanted.
    pub dnssec_ok: bool,
}

/// What the zones said. The records stand in the message.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The rcode.
    pub rcode: u16,
    /// How many records were appended: answer, authority, additional.
    pub counts: [u16; 3],
    /// What must be done about it.
    pub then: Then,
    addresses: [Option<IpAddr>; MOST_ADDRESSES],
    target: Option<Held>,
}

/// What must be done with a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Nothing: it is the answer, with authority.
    Send,
    /// The qname is below a cut: it is a referral, without authority. Who wants recursion is owed more.
    Refer,
    /// The alias that ends the answer section leads to a name in no local zone, which must be resolved; the
    /// rest of its chain is there.
    Chase,
    /// The aliases never end.
    Fail,
}

impl Reply {
    /// The first addresses in the answer section.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().map_while(|address| *address)
    }

    /// The name that must be resolved, with [`Then::Chase`].
    pub fn target(&self) -> Option<Name> {
        self.target.and_then(|target| Name::from_wire(target.as_wire()))
    }
}

/// A name on the stack.
#[derive(Debug, Clone, Copy)]
struct Held {
    octets: [u8; MAX_WIRE],
    len: usize,
}

impl Held {
    fn new(parts: [&[u8]; 2]) -> Option<Self> {
        let mut held = Self { octets: [0; MAX_WIRE], len: 0 };
        for part in parts {
            held.octets.get_mut(held.len..held.len + part.len())?.copy_from_slice(part);
            held.len += part.len();
        }
        Some(held)
    }

    fn as_wire(&self) -> &[u8] {
        &self.octets[..self.len]
    }
}

/// An answer while it grows.
struct Writer<'a, 'z> {
    question: Question<'a>,
    out: &'a mut Vec<u8>,
    counts: [u16; 3],
    addresses: [Option<IpAddr>; MOST_ADDRESSES],
    /// Proofs of expanded wildcards, one of a name in the chain; they go behind the whole answer section.
    proofs: [Option<&'z Node>; MOST_ALIASES + 1],
}

impl<'z> Writer<'_, 'z> {
    fn put(&mut self, section: Section, owner: &[u8], rtype: u16, ttl: u32, rdata: &[u8]) {
        put_name(self.out, owner, self.question.qname);
        self.out.extend(rtype.to_be_bytes());
        self.out.extend(CLASS_IN.to_be_bytes());
        self.out.extend(ttl.to_be_bytes());
        // The scanner reads no record's data that is longer.
        self.out.extend((rdata.len() as u16).to_be_bytes());
        self.out.extend(rdata);
        let count = &mut self.counts[section as usize];
        // So many make more octets than a message has, which is found out by whoever sends it.
        *count = count.saturating_add(1);
        if section == Section::Answer
            && let Some(free) = self.addresses.iter_mut().find(|address| address.is_none())
        {
            *free = match rtype {
                rtype::A => <[u8; 4]>::try_from(rdata).ok().map(IpAddr::from),
                rtype::AAAA => <[u8; 16]>::try_from(rdata).ok().map(IpAddr::from),
                _ => None,
            };
        }
    }

    /// An RRset as records of `owner`, signed where that is wanted.
    fn put_set(&mut self, section: Section, owner: &[u8], set: &Rrset) {
        self.put_set_for(section, owner, set, set.ttl);
    }

    fn put_set_for(&mut self, section: Section, owner: &[u8], set: &Rrset, ttl: u32) {
        for rdata in &set.records {
            self.put(section, owner, set.rtype, ttl, rdata);
        }
        if self.question.dnssec_ok {
            for rdata in &set.signatures {
                self.put(section, owner, rtype::RRSIG, ttl, rdata);
            }
        }
    }

    /// The NSEC record of a node, in the authority section.
    fn prove(&mut self, node: &Node) {
        if let Some(set) = node.set(rtype::NSEC) {
            self.put_set(Section::Authority, &node.owner, set);
        }
    }

    /// Puts a proof by for the authority section.
    fn prove_later(&mut self, node: &'z Node) {
        if let Some(free) = self.proofs.iter_mut().find(|proof| proof.is_none()) {
            *free = Some(node);
        }
    }

    fn end(mut self, rcode: u16, then: Then, target: Option<Held>) -> Reply {
        if then == Then::Send {
            let proofs = self.proofs;
            proofs.into_iter().flatten().for_each(|node| self.prove(node));
        }
        Reply { rcode, counts: self.counts, then, addresses: self.addresses, target }
    }
}

/// Appends a name, as a pointer into the qname where it ends that.
fn put_name(out: &mut Vec<u8>, owner: &[u8], qname: &[u8]) {
    if owner.len() > 1 && name::is_within(qname, owner) {
        // At most 12 + 255: fourteen bits are enough.
        let at = (HEADER + qname.len() - owner.len()) as u16;
        out.extend((0xc000 | at).to_be_bytes());
    } else {
        out.extend(owner);
    }
}

/// What a zone has at a name.
enum Match<'z> {
    /// Records.
    Node(&'z Node),
    /// No records, and names below it (RFC 4592, section 2.2.2).
    Empty,
    /// No such name, and a wildcard that stands for it.
    Wildcard(&'z Node),
    /// No such name, and a wildcard without records, for there are names below it.
    EmptyWildcard,
    /// No such name. Holds the length of the key of the closest ancestor that there is.
    Nothing(usize),
    /// It is below this cut, or at it.
    Cut(&'z Node),
    /// It is below this DNAME record.
    Dname(&'z Node, &'z Rrset),
}

/// How the walk goes on.
#[expect(clippy::large_enum_variant, reason = "it lives on the stack: a box would be an allocation a query")]
enum Next {
    End(Then, u16),
    Alias(Held),
}

impl Zones {
    /// Answers a question that a local zone knows of, behind the message in `out`, which ends with the
    /// question; `None` where none does.
    pub fn answer(&self, question: Question<'_>, out: &mut Vec<u8>) -> Option<Reply> {
        let key = Key::from_wire(question.qname)?;
        let mut entry = self.of(key.as_bytes())?;
        let at_cut = key.as_bytes().len().checked_sub(1).map(|end| &key.as_bytes()[..end]);
        // A zone's DS records are its parent's (RFC 4035, section 3.1.4.1), where that knows of the cut.
        if question.qtype == rtype::DS
            && entry.zone.apex().as_wire().len() == question.qname.len()
            && let Some(parent) = at_cut.map(|below| prefixes(below).next_back().unwrap_or(0))
            && let Some(above) = self.of(&key.as_bytes()[..parent])
            && matches!(above.zone.find(key.as_bytes(), rtype::DS), Match::Node(_))
        {
            entry = above;
        }
        let addresses = [None; MOST_ADDRESSES];
        let proofs = [None; MOST_ALIASES + 1];
        let mut writer = Writer { question, out, counts: [0; 3], addresses, proofs };
        let mut name = Held::new([question.qname, &[]])?;
        let mut key = key;
        for _ in 0..=MOST_ALIASES {
            match entry.zone.step(name.as_wire(), key.as_bytes(), &mut writer) {
                Next::End(then, rcode) => return Some(writer.end(rcode, then, Some(name))),
                Next::Alias(target) => {
                    name = target;
                    key = Key::from_wire(name.as_wire())?;
                    match self.of(key.as_bytes()) {
                        Some(next) => entry = next,
                        None => return Some(writer.end(rcode::NOERROR, Then::Chase, Some(name))),
                    }
                }
            }
        }
        Some(writer.end(rcode::SERVFAIL, Then::Fail, None))
    }
}

impl Zone {
    /// Answers for one name of a chain.
    fn step<'z>(&'z self, qname: &[u8], key: &[u8], writer: &mut Writer<'_, 'z>) -> Next {
        let Question { qtype, .. } = writer.question;
        match self.find(key, qtype) {
            Match::Node(node) => self.give(qname, key, node, None, writer),
            Match::Wildcard(node) => self.give(qname, key, node, Some(key), writer),
            Match::Empty => self.deny(rcode::NOERROR, key, None, None, writer),
            Match::EmptyWildcard => self.deny(rcode::NOERROR, key, None, Some(key), writer),
            Match::Nothing(encloser) => self.deny(rcode::NXDOMAIN, key, None, Some(&key[..encloser]), writer),
            // What an alias leads to is resolved by way of the cut.
            Match::Cut(_) if writer.counts[0] > 0 => Next::End(Then::Chase, rcode::NOERROR),
            Match::Cut(node) => {
                self.refer(node, writer);
                Next::End(Then::Refer, rcode::NOERROR)
            }
            Match::Dname(node, set) => {
                writer.put_set(Section::Answer, &node.owner, set);
                let target = set.records.first().map_or(&[][..], |target| target);
                let Some(below) = qname.len().checked_sub(node.owner.len()).map(|len| &qname[..len]) else {
                    return Next::End(Then::Fail, rcode::SERVFAIL);
                };
                let Some(target) = Held::new([below, target]) else {
                    return Next::End(Then::Send, rcode::YXDOMAIN);
                };
                writer.put(Section::Answer, qname, rtype::CNAME, set.ttl, target.as_wire());
                // The alias itself is what these ask for.
                if matches!(qtype, rtype::CNAME | rtype::ANY) {
                    return Next::End(Then::Send, rcode::NOERROR);
                }
                Next::Alias(target)
            }
        }
    }

    /// Walks down from the apex to a name.
    fn find(&self, key: &[u8], qtype: u16) -> Match<'_> {
        let apex = self.nodes.first().map_or(0, |apex| apex.key.len());
        let mut encloser = apex;
        let mut last = None;
        for len in prefixes(key).filter(|&len| len >= apex) {
            let at = self.nodes.partition_point(|node| *node.key < key[..len]);
            // All keys that begin with it follow at once.
            let Some(first) = self.nodes.get(at).filter(|node| node.key.starts_with(&key[..len])) else {
                return self.wildcard(key, encloser);
            };
            let node = (first.key.len() == len).then_some(first);
            if let Some(node) = node {
                let is_it = len == key.len();
                // DS records and the name's own proof are above the cut (RFC 4035, section 2.4).
                if len > apex && node.set(rtype::NS).is_some() && !(is_it && qtype == rtype::DS) {
                    return Match::Cut(node);
                }
                if let Some(set) = node.set(rtype::DNAME).filter(|_| !is_it) {
                    return Match::Dname(node, set);
                }
            }
            (encloser, last) = (len, node);
        }
        last.map_or(Match::Empty, Match::Node)
    }

    /// Where no node is: what the wildcard below the closest encloser says (RFC 4592, section 3.3.1).
    fn wildcard(&self, key: &[u8], encloser: usize) -> Match<'_> {
        let mut octets = [0; LONGEST_KEY];
        let wildcard = wildcard_of(&key[..encloser], &mut octets);
        let at = self.nodes.partition_point(|node| *node.key < *wildcard);
        match self.nodes.get(at).filter(|node| node.key.starts_with(wildcard)) {
            Some(node) if node.key.len() == wildcard.len() => Match::Wildcard(node),
            Some(_) => Match::EmptyWildcard,
            None => Match::Nothing(encloser),
        }
    }

    /// Answers from a node. `expanded` is the key of the name that a wildcard's node stands for.
    fn give<'z>(
        &'z self,
        qname: &[u8],
        key: &[u8],
        node: &Node,
        expanded: Option<&[u8]>,
        writer: &mut Writer<'_, 'z>,
    ) -> Next {
        let Question { qtype, .. } = writer.question;
        if let Some(set) = node.set(rtype::CNAME)
            && !matches!(qtype, rtype::CNAME | rtype::ANY | rtype::RRSIG | rtype::NSEC)
        {
            writer.put_set(Section::Answer, qname, set);
            let target = set.records.first().and_then(|target| Held::new([target, &[]]));
            self.prove_expansion(expanded, writer);
            return target.map_or(Next::End(Then::Fail, rcode::SERVFAIL), Next::Alias);
        }
        let before = writer.counts[0];
        match qtype {
            rtype::ANY => {
                for set in &node.sets {
                    writer.put_set(Section::Answer, qname, set);
                }
            }
            rtype::RRSIG => {
                for set in &node.sets {
                    for rdata in &set.signatures {
                        writer.put(Section::Answer, qname, rtype::RRSIG, set.ttl, rdata);
                    }
                }
            }
            _ => {
                if let Some(set) = node.set(qtype) {
                    writer.put_set(Section::Answer, qname, set);
                }
            }
        }
        if writer.counts[0] == before {
            return self.deny(rcode::NOERROR, key, Some(node), expanded, writer);
        }
        self.prove_expansion(expanded, writer);
        Next::End(Then::Send, rcode::NOERROR)
    }

    /// The SOA record of a negative answer, and its proof where the zone has one (RFC 4035, section 3.1.3):
    /// `at` is the node without data, `beyond` what a wildcard could stand at or stood for.
    fn deny(
        &self,
        rcode: u16,
        key: &[u8],
        at: Option<&Node>,
        beyond: Option<&[u8]>,
        writer: &mut Writer<'_, '_>,
    ) -> Next {
        if let Some(soa) = self.soa() {
            // RFC 2308, section 5.
            let ttl = soa.ttl.min(self.negative_ttl);
            writer.put_set_for(Section::Authority, self.apex.as_wire(), soa, ttl);
        }
        if writer.question.dnssec_ok {
            let mut proofs: [Option<&Node>; 2] = [None; 2];
            let mut octets = [0; LONGEST_KEY];
            proofs[0] = match at {
                Some(node) => Some(node),
                None => self.covering(key),
            };
            proofs[1] = match (at, beyond) {
                // NODATA of a wildcard: that there is nothing closer.
                (Some(_), Some(_)) => self.covering(key),
                // NXDOMAIN: that no wildcard stands for it.
                (None, Some(encloser)) if rcode == rcode::NXDOMAIN => {
                    self.covering(wildcard_of(encloser, &mut octets))
                }
                _ => None,
            };
            if proofs[1].is_some_and(|other| proofs[0].is_some_and(|one| std::ptr::eq(one, other))) {
                proofs[1] = None;
            }
            for node in proofs.into_iter().flatten() {
                writer.prove(node);
            }
        }
        Next::End(Then::Send, rcode)
    }

    /// That no name is closer than the wildcard that was expanded (RFC 4035, section 3.1.3.3).
    fn prove_expansion<'z>(&'z self, expanded: Option<&[u8]>, writer: &mut Writer<'_, 'z>) {
        if let Some(node) = expanded.filter(|_| writer.question.dnssec_ok).and_then(|key| self.covering(key))
        {
            writer.prove_later(node);
        }
    }

    /// The last node up to a key that has an NSEC record.
    fn covering(&self, key: &[u8]) -> Option<&Node> {
        // In a zone that has none, nobody looks through all of it.
        self.nodes.first()?.set(rtype::NSEC)?;
        let end = self.nodes.partition_point(|node| *node.key <= *key);
        self.nodes[..end].iter().rev().find(|node| node.set(rtype::NSEC).is_some())
    }

    /// A referral: name servers, what is known of the zone's keys, and addresses in this zone or below it.
    fn refer(&self, cut: &Node, writer: &mut Writer<'_, '_>) {
        let Some(servers) = cut.set(rtype::NS) else { return };
        writer.put_set(Section::Authority, &cut.owner, servers);
        if writer.question.dnssec_ok {
            match cut.set(rtype::DS) {
                Some(set) => writer.put_set(Section::Authority, &cut.owner, set),
                None => writer.prove(cut),
            }
        }
        for server in &servers.records {
            let Some(key) = Key::from_wire(server) else { continue };
            let found = self.nodes.binary_search_by(|node| (*node.key).cmp(key.as_bytes()));
            let Some(node) = found.ok().and_then(|at| self.nodes.get(at)) else { continue };
            for set in [rtype::A, rtype::AAAA].into_iter().filter_map(|rtype| node.set(rtype)) {
                for rdata in &set.records {
                    writer.put(Section::Additional, server, set.rtype, set.ttl, rdata);
                }
            }
        }
    }
}

/// The key of the wildcard right below a name.
fn wildcard_of<'a>(encloser: &[u8], octets: &'a mut [u8; LONGEST_KEY]) -> &'a [u8] {
    let len = encloser.len();
    octets[..len].copy_from_slice(encloser);
    octets[len..len + 2].copy_from_slice(&[b'*', SEPARATOR]);
    &octets[..len + 2]
}
