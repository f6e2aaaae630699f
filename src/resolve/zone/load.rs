//! A zone from its master file: what belongs together is put together, what cannot be is a fault.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::fault::{Problem, ZoneFault, ZoneFaults};
use super::master::{self, MasterRecord};
use super::{Node, Rrset, Zone};
use crate::name::{Key, Name, is_within};
use crate::wire::{CLASS_IN, rtype, type_text};

/// The largest file that is read.
const LARGEST: u64 = 256 << 20;
/// So many faults of a file are told.
const MOST_FAULTS: usize = 20;
/// More records of one name and type fit no message anyway.
const MOST_RECORDS: usize = 4096;
/// Octets of an RRset and its signatures that fit a message with everything around them.
const MOST_OCTETS: usize = 60_000;

impl Zone {
    /// Reads the zone at `apex` from a master file.
    ///
    /// # Errors
    /// [`ZoneFaults`]: what is wrong with it, all that could be found at once.
    pub fn load(apex: &Name, path: &Path) -> Result<Self, ZoneFaults> {
        let faults = |faults| ZoneFaults { path: path.to_owned(), faults };
        let text = read(path).map_err(|problem| faults(vec![ZoneFault::whole_file(problem)]))?;
        Self::parse(apex, &text).map_err(faults)
    }

    /// Reads the zone at `apex` from a master file's text.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn parse(apex: &Name, text: &[u8]) -> Result<Self, Vec<ZoneFault>> {
        let mut loading = Loading { apex, nodes: BTreeMap::new(), faults: Vec::new(), soa_line: None };
        if let Err(fault) = master::read(text, apex, |record| loading.add(record)) {
            loading.fault(fault.line, fault.problem);
        }
        loading.finish()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Problem> {
    let unreadable = |error: std::io::Error| Problem::Unreadable(error.to_string());
    // To open a named pipe would wait for its other end.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(Problem::Unreadable("not a file".to_owned()));
    }
    let mut text = Vec::new();
    File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut text)).map_err(unreadable)?;
    if text.len() as u64 > LARGEST {
        return Err(Problem::TooLarge { limit: LARGEST });
    }
    Ok(text)
}

/// What changes with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    size: u64,
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// That of a file now; `None` where there is none.
    pub fn of(path: &Path) -> Option<Self> {
        let data = std::fs::metadata(path).ok()?;
        Some(Self {
            size: data.size(),
            inode: data.ino(),
            modified: (data.mtime(), data.mtime_nsec()),
            changed: (data.ctime(), data.ctime_nsec()),
        })
    }
}

/// A zone while its records come.
struct Loading<'a> {
    apex: &'a Name,
    nodes: BTreeMap<Box<[u8]>, Owner>,
    faults: Vec<ZoneFault>,
    soa_line: Option<usize>,
}

/// All records of one name.
struct Owner {
    wire: Box<[u8]>,
    sets: BTreeMap<u16, Rrset>,
    line: usize,
}

impl Loading<'_> {
    fn fault(&mut self, line: usize, problem: Problem) {
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(ZoneFault { line, problem });
        }
    }

    fn add(&mut self, record: MasterRecord) {
        let MasterRecord { owner, class, rtype, ttl, rdata, line } = record;
        let (Some(name), Some(key)) = (Name::from_wire(&owner), Key::from_wire(&owner)) else { return };
        if class != CLASS_IN {
            return self.fault(line, Problem::Class(class));
        }
        if (128..256).contains(&rtype) || rtype::is_meta(rtype) {
            return self.fault(line, Problem::Type(type_text(rtype).into_owned()));
        }
        if !is_within(name.as_wire(), self.apex.as_wire()) {
            let (owner, zone) = (name.to_string(), self.apex.to_string());
            return self.fault(line, Problem::Outside { owner, zone });
        }
        if rtype == rtype::SOA {
            if name != *self.apex {
                return self.fault(line, Problem::NoSoa(self.apex.to_string()));
            }
            if self.soa_line.replace(line).is_some() {
                return self.fault(line, Problem::SecondSoa);
            }
        }
        let owner = self.nodes.entry(key.as_bytes().into()).or_insert_with(|| Owner {
            wire: owner.into(),
            sets: BTreeMap::new(),
            line,
        });
        // An RRSIG stands with what it signs.
        let of = match (rtype, rdata.first_chunk::<2>()) {
            (rtype::RRSIG, Some(covered)) => u16::from_be_bytes(*covered),
            _ => rtype,
        };
        let set = owner.sets.entry(of).or_insert_with(|| Rrset::new(of, ttl));
        let records = if rtype == rtype::RRSIG { &mut set.signatures } else { &mut set.records };
        if records.len() >= MOST_RECORDS {
            let name = name.to_string();
            return self.fault(line, Problem::TooMany(name, type_text(rtype).into_owned()));
        }
        // RFC 2181, section 5: no record is there twice, and all of an RRset have one TTL.
        if !records.iter().any(|known| **known == *rdata) {
            records.push(rdata.into());
        }
        set.ttl = set.ttl.min(ttl);
    }

    fn finish(mut self) -> Result<Zone, Vec<ZoneFault>> {
        let nodes = std::mem::take(&mut self.nodes);
        for owner in nodes.values() {
            self.judge(owner);
        }
        let apex = nodes.get(Key::from(self.apex).as_bytes());
        let has = |rtype| apex.is_some_and(|apex| apex.sets.contains_key(&rtype));
        let (has_soa, has_ns) = (has(rtype::SOA), has(rtype::NS));
        // A file that could not be read to its end says nothing of what is missing.
        if self.faults.is_empty() {
            if !has_soa {
                self.fault(0, Problem::NoSoa(self.apex.to_string()));
            } else if !has_ns {
                self.fault(self.soa_line.unwrap_or(0), Problem::NoNs(self.apex.to_string()));
            }
        }
        if !self.faults.is_empty() {
            self.faults.sort_by_key(|fault| fault.line);
            return Err(self.faults);
        }
        let node = |(key, owner): (Box<[u8]>, Owner)| Node {
            key,
            owner: owner.wire,
            sets: owner.sets.into_values().collect(),
        };
        Zone::new(self.apex.clone(), nodes.into_iter().map(node).collect())
            .ok_or_else(|| vec![ZoneFault::whole_file(Problem::NoSoa(self.apex.to_string()))])
    }

    /// What records of one name must not be together.
    fn judge(&mut self, owner: &Owner) {
        let name = || crate::name::Presentation(&owner.wire).to_string();
        let records = |rtype: u16| owner.sets.get(&rtype).map_or(0, |set| set.records.len());
        // RFC 2181, section 10.1; RFC 4034, section 3 and 4, for the types beside an alias in signed zones.
        let is_beside = |rtype: &u16| !matches!(*rtype, rtype::CNAME | rtype::NSEC | rtype::KEY);
        if records(rtype::CNAME) > 0
            && owner.sets.iter().any(|(rtype, set)| is_beside(rtype) && !set.records.is_empty())
        {
            self.fault(owner.line, Problem::CnameAndOthers(name()));
        }
        for (rtype, word) in [(rtype::CNAME, "CNAME"), (rtype::DNAME, "DNAME")] {
            if records(rtype) > 1 {
                self.fault(owner.line, Problem::Twice(name(), word));
            }
        }
        for (rtype, set) in &owner.sets {
            let all = set.records.iter().chain(&set.signatures);
            let octets: usize = all.map(|rdata| rdata.len() + owner.wire.len() + 10).sum();
            if octets > MOST_OCTETS {
                self.fault(owner.line, Problem::TooMany(name(), type_text(*rtype).into_owned()));
            }
        }
    }
}
