//! Local zones: what they hold, and what they say to a question.
//!
//! ```text
//! master file ─► master ─► load ─► Zone ─► lookup ─► the records of an answer
//! ```
//!
//! A zone never changes; a new version is a new zone. Looking up allocates nothing. Who may ask, transfers and
//! headers are `serve`'s; nothing here knows a policy.

mod fault;
mod load;
mod lookup;
mod master;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;

pub use fault::{Problem, ZoneFault, ZoneFaults};
pub use load::Stamp;
pub use lookup::{Question, Reply, Then};

use super::recurse::{digest::is_usable, piece::address};
use crate::name::{Key, Name, SEPARATOR};
use crate::wire::rtype;

/// One zone, as its file had it.
#[derive(Debug)]
pub struct Zone {
    apex: Name,
    /// Sorted by key, which is DNSSEC's canonical order (RFC 4034, section 6.1).
    nodes: Box<[Node]>,
    serial: u32,
    /// How long a negative answer may be kept (RFC 2308, section 4).
    negative_ttl: u32,
}

/// A name that has records.
#[derive(Debug)]
struct Node {
    /// See [`Key`].
    key: Box<[u8]>,
    /// In the file's letter case.
    owner: Box<[u8]>,
    /// By type.
    sets: Box<[Rrset]>,
}

/// The records of one name and type, and their signatures.
#[derive(Debug)]
struct Rrset {
    rtype: u16,
    ttl: u32,
    records: Vec<Box<[u8]>>,
    signatures: Vec<Box<[u8]>>,
}

impl Rrset {
    fn new(rtype: u16, ttl: u32) -> Self {
        Self { rtype, ttl, records: Vec::new(), signatures: Vec::new() }
    }
}

impl Node {
    /// The RRset of a type; one that is nothing but signatures is none.
    fn set(&self, rtype: u16) -> Option<&Rrset> {
        self.sets.iter().find(|set| set.rtype == rtype && !set.records.is_empty())
    }
}

impl Zone {
    /// `None` without an SOA record.
    fn new(apex: Name, nodes: Box<[Node]>) -> Option<Self> {
        let mut zone = Self { apex, nodes, serial: 0, negative_ttl: 0 };
        let soa = zone.soa()?;
        let numbers: &[u8; 20] = soa.records.first()?.last_chunk()?;
        let number =
            |at: usize| u32::from_be_bytes([numbers[at], numbers[at + 1], numbers[at + 2], numbers[at + 3]]);
        (zone.serial, zone.negative_ttl) = (number(0), soa.ttl.min(number(16)));
        Some(zone)
    }

    /// Where it begins.
    pub fn apex(&self) -> &Name {
        &self.apex
    }

    /// The serial number of its SOA record.
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// Whether it denies by NSEC3, of which no proofs are handed out.
    pub fn has_nsec3(&self) -> bool {
        self.nodes.first().is_some_and(|apex| apex.set(rtype::NSEC3PARAM).is_some())
    }

    /// Whether both hold the same records.
    pub fn is_same(&self, other: &Self) -> bool {
        self.soa_record() == other.soa_record() && self.records().eq(other.records())
    }

    /// Every record but the SOA record: owner, type, TTL and data.
    pub fn records(&self) -> impl Iterator<Item = ZoneRecord<'_>> {
        (0..self.nodes.len()).filter_map(|number| self.records_of(number)).flatten()
    }

    /// The records of one name but for the SOA record, by the name's number; `None` behind the last.
    pub fn records_of(&self, number: usize) -> Option<impl Iterator<Item = ZoneRecord<'_>>> {
        let node = self.nodes.get(number)?;
        Some(node.sets.iter().flat_map(move |set| {
            let one = move |rtype, rdata| ZoneRecord { owner: &node.owner, rtype, ttl: set.ttl, rdata };
            let records = set.records.iter().filter(move |_| set.rtype != rtype::SOA);
            let records = records.map(move |rdata| one(set.rtype, rdata));
            records.chain(set.signatures.iter().map(move |rdata| one(rtype::RRSIG, rdata)))
        }))
    }

    /// The SOA record.
    pub fn soa_record(&self) -> Option<ZoneRecord<'_>> {
        let (apex, set) = (self.nodes.first()?, self.soa()?);
        let rdata = set.records.first()?;
        Some(ZoneRecord { owner: &apex.owner, rtype: rtype::SOA, ttl: set.ttl, rdata })
    }

    /// The nodes where another zone begins.
    fn cuts(&self) -> impl Iterator<Item = (&Node, &Rrset)> {
        let mut last: Option<&Node> = None;
        self.nodes.iter().skip(1).filter_map(move |node| {
            // What is below a cut is at most its servers' addresses.
            let servers =
                node.set(rtype::NS).filter(|_| last.is_none_or(|last| !node.key.starts_with(&last.key)))?;
            last = Some(node);
            Some((node, servers))
        })
    }

    /// The addresses of a name here, be they the zone's or those of a server below a cut.
    fn addresses(&self, key: &Key) -> impl Iterator<Item = IpAddr> {
        let found = self.nodes.binary_search_by(|node| (*node.key).cmp(key.as_bytes()));
        let sets = found.ok().and_then(|at| self.nodes.get(at)).map(|node| &*node.sets).unwrap_or_default();
        let of_set = |set: &Rrset| {
            let rtype = set.rtype;
            set.records.iter().filter_map(move |rdata| address(rtype, rdata)).collect::<Vec<_>>()
        };
        sets.iter().flat_map(of_set).filter(|&address| is_usable(address))
    }

    fn soa(&self) -> Option<&Rrset> {
        // No key sorts before the apex's, which is the beginning of them all.
        self.nodes.first()?.set(rtype::SOA)
    }
}

/// One record of a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZoneRecord<'a> {
    /// In wire format.
    pub owner: &'a [u8],
    /// Its type.
    pub rtype: u16,
    /// Seconds.
    pub ttl: u32,
    /// Its data, names written out.
    pub rdata: &'a [u8],
}

/// Where a zone comes from, and who may have all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The zone's apex.
    pub name: Name,
    /// Its master file.
    pub file: PathBuf,
    /// Who may transfer it.
    pub transfer: Transfer,
    /// Secondaries that are told of a new serial (RFC 1996).
    pub notify: Vec<SocketAddr>,
}

/// Who may transfer a zone. By default nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transfer {
    /// Networks; empty: any, if there is a key.
    pub networks: Vec<IpNet>,
    /// The name of the TSIG key that requests must be signed with; `None`: an address is enough.
    pub key: Option<Name>,
}

/// Where a zone begins that others serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Its apex.
    pub name: Name,
    /// Its servers, as far as local zones know their addresses.
    pub servers: Vec<IpAddr>,
}

/// A zone and where it came from.
#[derive(Debug)]
pub struct Entry {
    /// What is answered.
    pub zone: Arc<Zone>,
    /// Where it came from.
    pub source: Source,
    /// The file when it was read last.
    pub stamp: Option<Stamp>,
    /// Why the zone is that of an older file, if it is.
    pub faults: Option<ZoneFaults>,
}

/// All local zones.
#[derive(Debug, Default)]
pub struct Zones {
    /// Sorted by key.
    entries: Box<[Keyed]>,
}

/// An entry and its apex's key.
#[derive(Debug)]
struct Keyed {
    key: Box<[u8]>,
    entry: Arc<Entry>,
}

impl Zones {
    /// Puts zones together. Of two with one name the first counts; the configuration has none such.
    pub fn new(entries: impl IntoIterator<Item = Arc<Entry>>) -> Self {
        let keyed = |entry: Arc<Entry>| {
            let key = Key::from(entry.zone.apex()).as_bytes().into();
            Keyed { key, entry }
        };
        let mut entries: Vec<Keyed> = entries.into_iter().map(keyed).collect();
        entries.sort_by(|one, other| one.key.cmp(&other.key));
        entries.dedup_by(|one, other| one.key == other.key);
        Self { entries: entries.into() }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.iter().map(|keyed| &keyed.entry)
    }

    /// The zone with exactly this apex, in wire format and any case.
    pub fn at(&self, apex: &[u8]) -> Option<&Arc<Entry>> {
        self.exact(Key::from_wire(apex)?.as_bytes())
    }

    /// Whether a name, in wire format, is in any of them.
    pub fn answers(&self, qname: &[u8]) -> bool {
        !self.is_empty() && Key::from_wire(qname).is_some_and(|key| self.of(key.as_bytes()).is_some())
    }

    /// The cuts of all zones whose servers have an address here, but for those that are local zones themselves.
    pub fn cuts(&self) -> Vec<Cut> {
        let mut cuts = Vec::new();
        for entry in self.iter() {
            for (node, servers) in entry.zone.cuts() {
                let Some(name) = Name::from_wire(&node.owner).filter(|_| self.exact(&node.key).is_none())
                else {
                    continue;
                };
                let mut addresses = Vec::new();
                for key in servers.records.iter().filter_map(|server| Key::from_wire(server)) {
                    let elsewhere = self.of(key.as_bytes()).filter(|other| !Arc::ptr_eq(other, entry));
                    let all = entry.zone.addresses(&key);
                    for address in all.chain(elsewhere.iter().flat_map(|other| other.zone.addresses(&key))) {
                        if !addresses.contains(&address) {
                            addresses.push(address);
                        }
                    }
                }
                if !addresses.is_empty() {
                    cuts.push(Cut { name, servers: addresses });
                }
            }
        }
        cuts
    }

    /// The zone that a name is in: the one with the longest apex.
    fn of(&self, key: &[u8]) -> Option<&Arc<Entry>> {
        if self.is_empty() {
            return None;
        }
        prefixes(key).rev().find_map(|len| self.exact(&key[..len]))
    }

    fn exact(&self, key: &[u8]) -> Option<&Arc<Entry>> {
        let at = self.entries.binary_search_by(|keyed| (*keyed.key).cmp(key)).ok()?;
        Some(&self.entries[at].entry)
    }
}

/// The lengths of the keys of a name's ancestors and its own, from the root's, which is 0.
fn prefixes(key: &[u8]) -> impl DoubleEndedIterator<Item = usize> {
    let ends = key.iter().enumerate().filter(|(_, octet)| **octet == SEPARATOR);
    std::iter::once(0).chain(ends.map(|(at, _)| at + 1))
}

#[cfg(test)]
mod tests;
