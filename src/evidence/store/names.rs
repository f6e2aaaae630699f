//! Which names and addresses a file knows, sorted, so that most files need not be read; and what is
//! looked for in them.
//!
//! A key of a name is [`name::Key`]'s; that of an address is 00, its length and its octets (no name's key begins
//! with 00). A set on disk:
//!
//! ```text
//!          n  the keys, an fst
//!          4  CRC-32 of it, little-endian
//!          8  magic "SACHNAM\x01"
//! ```
//!
//! What fits no checksum is as good as absent: the file that it belongs to is read.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use fst::{IntoStreamer as _, Streamer as _};
use ipnet::IpNet;

use crate::evidence::record::{Record, Severity};
use crate::name::{self, Name};

const MAGIC: &[u8; 8] = b"SACHNAM\x01";
/// In front of an address.
const ADDRESS: u8 = 0;

/// The key of a name in wire format; `None` where it is none.
pub(super) fn key_of_name(wire: &[u8]) -> Option<Box<[u8]>> {
    name::Key::from_wire(wire).map(|key| key.as_bytes().into())
}

/// The key of an address's octets.
pub(super) fn key_of_octets(octets: &[u8]) -> Box<[u8]> {
    let mut key = Vec::with_capacity(2 + octets.len());
    // 4 or 16.
    key.extend([ADDRESS, octets.len() as u8]);
    key.extend(octets);
    key.into()
}

pub(super) fn key_of_address(address: IpAddr) -> Box<[u8]> {
    match address {
        IpAddr::V4(address) => key_of_octets(&address.octets()),
        IpAddr::V6(address) => key_of_octets(&address.octets()),
    }
}

/// The address that a key is of; `None` for one of a name.
pub(super) fn address_of_key(key: &[u8]) -> Option<IpAddr> {
    match key.split_first_chunk::<2>()? {
        (&[ADDRESS, 4], octets) => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        (&[ADDRESS, 16], octets) => <[u8; 16]>::try_from(octets).ok().map(IpAddr::from),
        _ => None,
    }
}

/// What is asked for or answered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// A qname.
    Name(Name),
    /// An address in an answer.
    Address(IpAddr),
}

impl What {
    /// What a key is of; `None` where it is none.
    pub(super) fn of_key(key: &[u8]) -> Option<Self> {
        address_of_key(key).map(Self::Address).or_else(|| name::from_key(key).map(Self::Name))
    }
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// Keys, sorted, each once.
#[derive(Debug)]
pub(super) struct Set(fst::Set<Vec<u8>>);

impl Set {
    pub(super) fn from_keys(mut keys: Vec<Box<[u8]>>) -> Self {
        keys.sort_unstable();
        keys.dedup();
        Self(fst::Set::from_iter(keys).expect("keys are sorted, and memory takes them"))
    }

    /// The octets of the file.
    pub(super) fn to_octets(&self) -> Vec<u8> {
        let mut octets = self.0.as_fst().as_bytes().to_vec();
        let crc = crc32fast::hash(&octets).to_le_bytes();
        octets.extend(crc);
        octets.extend(MAGIC);
        octets
    }

    /// `None` where the octets are no whole set.
    pub(super) fn from_octets(mut octets: Vec<u8>) -> Option<Self> {
        let keys = octets.strip_suffix(MAGIC)?;
        let (keys, crc) = keys.split_last_chunk::<4>()?;
        if crc32fast::hash(keys).to_le_bytes() != *crc {
            return None;
        }
        let len = keys.len();
        octets.truncate(len);
        fst::Set::new(octets).ok().map(Self)
    }

    /// `None` where there is no whole set.
    ///
    /// # Errors
    /// What the system said, but for a file that is not there.
    pub(super) fn load(path: &Path) -> io::Result<Option<Self>> {
        match fs::read(path) {
            Ok(octets) => Ok(Self::from_octets(octets)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All of it that is looked for; `None` where that is more than so many.
    pub(super) fn met(&self, needles: &Needles, most: usize) -> Option<Vec<Box<[u8]>>> {
        let mut met = Vec::new();
        let mut add = |key: &[u8]| {
            met.push(key.into());
            (met.len() <= most).then_some(())
        };
        // One seek costs about as much as passing twenty keys.
        if needles.tops.len().saturating_mul(20) < self.0.len() {
            for &top in &needles.tops {
                let lowest = needles.lowest(top);
                let mut keys = self.0.range().ge(lowest).into_stream();
                while let Some(key) = keys.next() {
                    if needles.covers(top, key) {
                        add(key)?;
                    } else if key != lowest {
                        // What is below it comes next only behind itself.
                        break;
                    }
                }
            }
            return Some(met);
        }
        let (mut keys, mut meeting) = (self.0.stream(), Meeting::new(needles));
        while let Some(key) = keys.next() {
            if meeting.meets(key) {
                add(key)?;
            }
        }
        Some(met)
    }
}

/// Meets keys that come in their order with what is looked for.
pub(super) struct Meeting<'n> {
    needles: &'n Needles,
    tops: &'n [u32],
}

impl<'n> Meeting<'n> {
    pub(super) fn new(needles: &'n Needles) -> Self {
        Self { needles, tops: &needles.tops }
    }

    /// Whether a key is looked for, which is not before any that was asked for.
    pub(super) fn meets(&mut self, key: &[u8]) -> bool {
        while let Some((&top, rest)) = self.tops.split_first() {
            let own = self.needles.lowest(top);
            if own > key {
                break;
            }
            if self.needles.covers(top, key) {
                return true;
            }
            // What is below it comes next.
            if own == key {
                break;
            }
            self.tops = rest;
        }
        false
    }

    /// Whether any key from this one on and before the next may be looked for; none is before what was asked for.
    pub(super) fn may_meet(&mut self, first: &[u8], next: Option<&[u8]>) -> bool {
        while let Some((&top, rest)) = self.tops.split_first() {
            let own = self.needles.lowest(top);
            if own >= first {
                return next.is_none_or(|next| own < next);
            }
            // What it covers is in one piece from itself on.
            if self.needles.covers(top, first) {
                return true;
            }
            self.tops = rest;
        }
        false
    }
}

/// How much a needle covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// The name and all below it.
    Subtree,
    /// The name.
    Exact,
    /// All below the name.
    Below,
}

/// What is looked for: any number of names and networks, and what each stands for.
#[derive(Debug, Clone, Default)]
pub struct Needles {
    keys: Vec<u8>,
    /// By key; of the same key the widest first. They nest or are apart, as names and networks do.
    entries: Vec<Entry>,
    /// Those that are in no other.
    tops: Vec<u32>,
    labels: Vec<Label>,
}

/// Where an indicator came from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Label {
    /// The feed.
    pub feed: Option<Arc<str>>,
    /// The malware family.
    pub family: Option<Arc<str>>,
    /// How bad it is.
    pub severity: Option<Severity>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    start: usize,
    len: u16,
    span: Covers,
    label: u32,
    /// The next wider one; itself: there is none.
    outer: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Covers {
    /// So many bits of the address.
    Net(u8),
    Name(Reach),
}

/// A needle that is in no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Top {
    /// A name, and how much of what is below it.
    Name(Name, Reach),
    /// A network, or an address as one of all its bits.
    Net(IpNet),
}

/// Collects [`Needles`].
#[derive(Debug, Default)]
pub struct Gathering {
    needles: Needles,
    known: std::collections::HashMap<Label, u32>,
}

impl Gathering {
    fn add(&mut self, key: &[u8], span: Covers, label: &Label) {
        let label = match self.known.get(label) {
            Some(number) => *number,
            None => {
                let number = self.needles.labels.len() as u32;
                self.needles.labels.push(label.clone());
                self.known.insert(label.clone(), number);
                number
            }
        };
        let start = self.needles.keys.len();
        self.needles.keys.extend(key);
        // A name's key is at most 510 octets.
        self.needles.entries.push(Entry { start, len: key.len() as u16, span, label, outer: 0 });
    }

    /// Adds a name by its [`name::Key`]. Of the root, whatever the reach, only the root itself is looked for:
    /// all names are no hunt.
    pub fn add_name(&mut self, key: &[u8], reach: Reach, label: &Label) {
        let reach = if key.is_empty() { Reach::Exact } else { reach };
        self.add(key, Covers::Name(reach), label);
    }

    /// Adds what has this key, and nothing else.
    pub(super) fn add_key(&mut self, key: &[u8], label: &Label) {
        match address_of_key(key) {
            Some(address) => self.add_net(address.into(), label),
            None => self.add_name(key, Reach::Exact, label),
        }
    }

    /// Adds a network, or an address as one of all its bits.
    pub fn add_net(&mut self, net: IpNet, label: &Label) {
        self.add(&key_of_address(net.network()), Covers::Net(net.prefix_len()), label);
    }

    /// All that was added.
    pub fn finish(self) -> Needles {
        let mut needles = self.needles;
        let keys = &needles.keys;
        let key = |entry: &Entry| &keys[entry.start..entry.start + usize::from(entry.len)];
        needles.entries.sort_by(|a, b| (key(a), a.span).cmp(&(key(b), b.span)));
        needles.entries.dedup_by(|b, a| key(a) == key(b) && a.span == b.span);
        let mut open: Vec<u32> = Vec::new();
        for at in 0..needles.entries.len() {
            let entry = needles.entries[at];
            let keys = &needles.keys;
            let lowest = &keys[entry.start..entry.start + usize::from(entry.len)];
            while let Some(&outer) = open.last() {
                // What covers the lowest key of a narrower one covers all of it.
                if needles.covers(outer, lowest) {
                    break;
                }
                open.pop();
            }
            needles.entries[at].outer = open.last().copied().unwrap_or(at as u32);
            // A name alone covers nothing else, not even what is below it.
            let is_alone = |it: &u32| needles.entries[*it as usize].span == Covers::Name(Reach::Exact);
            if open.iter().all(is_alone) {
                needles.tops.push(at as u32);
            }
            open.push(at as u32);
        }
        needles
    }
}

impl Needles {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is looked for.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn key(&self, entry: &Entry) -> &[u8] {
        &self.keys[entry.start..entry.start + usize::from(entry.len)]
    }

    /// The lowest key that a needle may cover.
    fn lowest(&self, number: u32) -> &[u8] {
        self.key(&self.entries[number as usize])
    }

    fn covers(&self, number: u32, key: &[u8]) -> bool {
        let entry = &self.entries[number as usize];
        let own = self.key(entry);
        match entry.span {
            Covers::Name(Reach::Exact) => key == own,
            Covers::Name(reach) => key.starts_with(own) && (reach == Reach::Subtree || key.len() > own.len()),
            Covers::Net(bits) => {
                let (whole, rest) = (2 + usize::from(bits / 8), bits % 8);
                key.len() == own.len()
                    && key[..whole] == own[..whole]
                    && (rest == 0 || (key[whole] ^ own[whole]) >> (8 - rest) == 0)
            }
        }
    }

    /// The narrowest needle that covers a key.
    fn find(&self, key: &[u8]) -> Option<u32> {
        let mut at = self.entries.partition_point(|entry| self.key(entry) <= key).checked_sub(1)? as u32;
        loop {
            if self.covers(at, key) {
                return Some(at);
            }
            let outer = self.entries[at as usize].outer;
            if outer == at {
                return None;
            }
            at = outer;
        }
    }

    /// Whether a name in wire format is looked for.
    pub(super) fn takes_name(&self, wire: &[u8]) -> bool {
        name::Key::from_wire(wire).is_some_and(|key| self.find(key.as_bytes()).is_some())
    }

    /// Whether an address is looked for.
    pub(super) fn takes_address(&self, address: IpAddr) -> bool {
        self.find(&key_of_address(address)).is_some()
    }

    /// Whether any address is looked for.
    pub(super) fn has_addresses(&self) -> bool {
        // They come first, behind the root.
        self.entries.iter().take(2).any(|entry| matches!(entry.span, Covers::Net(_)))
    }

    /// Calls `visit` with each that is in no other: all that is looked for is in one of these.
    pub(super) fn each_top(&self, visit: &mut dyn FnMut(Top)) {
        for &top in &self.tops {
            let entry = &self.entries[top as usize];
            let key = self.key(entry);
            match entry.span {
                Covers::Name(reach) => {
                    if let Some(name) = name::from_key(key) {
                        visit(Top::Name(name, reach));
                    }
                }
                Covers::Net(bits) => {
                    if let Some(net) = address_of_key(key).map(|address| IpNet::new_assert(address, bits)) {
                        visit(Top::Net(net));
                    }
                }
            }
        }
    }

    /// All that is looked for in a record.
    pub(super) fn all_in(&self, record: &Record<'_>) -> Vec<What> {
        let mut found = Vec::new();
        if self.takes_name(&record.qname) {
            found.extend(Name::from_wire(&record.qname).map(What::Name));
        }
        let taken = record.answers.iter().copied().filter(|address| self.takes_address(*address));
        found.extend(taken.map(What::Address));
        found
    }

    /// The label of what is looked for.
    pub fn label_of(&self, what: &What) -> Option<&Label> {
        let number = match what {
            What::Name(name) => self.find(name::Key::from(name).as_bytes()),
            What::Address(address) => self.find(&key_of_address(*address)),
        };
        number.map(|number| self.label(number))
    }

    fn label(&self, number: u32) -> &Label {
        &self.labels[self.entries[number as usize].label as usize]
    }

    /// What of a record is looked for: the label of the needle, and the address where it is not the qname.
    pub fn find_in(&self, record: &Record<'_>) -> Option<(&Label, Option<IpAddr>)> {
        if let Some(key) = name::Key::from_wire(&record.qname)
            && let Some(number) = self.find(key.as_bytes())
        {
            return Some((self.label(number), None));
        }
        let found = |address: &IpAddr| Some((self.find(&key_of_address(*address))?, *address));
        record.answers.iter().find_map(found).map(|(number, address)| (self.label(number), Some(address)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Box<[u8]> {
        match text.parse::<IpAddr>() {
            Ok(address) => key_of_address(address),
            Err(_) if text == "." => key_of_name(&[0]).unwrap(),
            Err(_) => key_of_name(Name::from_host(text).unwrap().as_wire()).unwrap(),
        }
    }

    fn needles(texts: &[&str]) -> Needles {
        let mut gathering = Gathering::default();
        for text in texts {
            let label = Label { feed: Some((*text).into()), ..Label::default() };
            match (text.parse::<IpNet>(), text.split_once(' ')) {
                (Ok(net), _) => gathering.add_net(net, &label),
                (_, Some(("=", name))) => gathering.add_name(&key(name), Reach::Exact, &label),
                (_, Some((_, name))) => gathering.add_name(&key(name), Reach::Below, &label),
                (_, None) => gathering.add_name(&key(text), Reach::Subtree, &label),
            }
        }
        gathering.finish()
    }

    #[test]
    fn the_narrowest_needle_is_found() {
        let needles = needles(&[
            "evil.example",
            "= www.evil.example",
            "* c2.evil.example",
            "* bad.test",
            "= bad.test",
            "10.0.0.0/8",
            "10.1.0.0/15",
            "192.0.2.66/32",
            "2001:db8::/32",
        ]);
        fn check(needles: &Needles, text: &str, expected: Option<&str>) {
            let found = needles.find(&key(text));
            let label = |number: u32| &needles.labels[needles.entries[number as usize].label as usize];
            assert_eq!(found.and_then(|it| label(it).feed.as_deref()), expected, "{text}");
        }
        for (text, expected) in [
            ("evil.example", Some("evil.example")),
            ("a.evil.example", Some("evil.example")),
            ("notevil.example", None),
            ("example", None),
            ("www.evil.example", Some("= www.evil.example")),
            ("a.www.evil.example", Some("evil.example")),
            ("c2.evil.example", Some("evil.example")),
            ("x.c2.evil.example", Some("* c2.evil.example")),
            ("bad.test", Some("= bad.test")),
            ("a.b.bad.test", Some("* bad.test")),
            ("10.9.9.9", Some("10.0.0.0/8")),
            ("10.1.9.9", Some("10.1.0.0/15")),
            ("10.2.9.9", Some("10.0.0.0/8")),
            ("11.0.0.1", None),
            ("192.0.2.66", Some("192.0.2.66/32")),
            ("192.0.2.67", None),
            ("2001:db8:9::1", Some("2001:db8::/32")),
            ("2001:db9::1", None),
        ] {
            check(&needles, text, expected);
        }
    }

    #[test]
    fn a_set_is_met_by_exactly_what_covers_a_key_of_it() {
        let met = |set: &Set, needles: &Needles| set.met(needles, usize::MAX).unwrap();
        let known = ["a.evil.example", "bad.test", "good.test", "192.0.2.66", "2001:db8::1", "."];
        let set = Set::from_keys(known.iter().map(|text| key(text)).collect());
        let large: Vec<String> = (0..2000).map(|n| format!("n{n}.filler.test")).collect();
        let keys = known.iter().copied().chain(large.iter().map(String::as_str)).map(key).collect();
        let large = Set::from_keys(keys);
        let rest = ["no.such.name", "zz.other", "198.51.100.0/24", "= evil.example", "* good.test"];
        for set in [&set, &large] {
            let set = &Set::from_octets(set.to_octets()).unwrap();
            assert!(met(set, &needles(&rest)).is_empty());
            for (text, expected) in [
                ("evil.example", "a.evil.example"),
                ("= bad.test", "bad.test"),
                ("192.0.2.0/24", "192.0.2.66"),
                ("2001:db8::1/128", "2001:db8::1"),
                ("* evil.example", "a.evil.example"),
            ] {
                for needles in [needles(&[text]), needles(&[&rest[..], &[text]].concat())] {
                    assert_eq!(met(set, &needles), [key(expected)], "{text}");
                    assert_eq!(set.met(&needles, 0), None);
                    assert_eq!(set.met(&needles, 1).unwrap().len(), 1);
                }
            }
        }
        let set = Set::from_keys(["evil.example", "a.evil.example"].map(key).into());
        assert_eq!(met(&set, &needles(&["* evil.example"])), [key("a.evil.example")]);
        assert_eq!(met(&set, &needles(&["evil.example"])).len(), 2);
        assert!(met(&set, &needles(&["* a.evil.example"])).is_empty());
    }

    #[test]
    fn a_damaged_set_is_none() {
        let octets = Set::from_keys(vec![key("evil.example"), key("192.0.2.1")]).to_octets();
        for at in 0..octets.len() {
            let mut damaged = octets.clone();
            damaged[at] ^= 1;
            assert!(Set::from_octets(damaged).is_none(), "octet {at}");
            assert!(Set::from_octets(octets[..at].to_vec()).is_none(), "cut to {at}");
        }
    }
}
