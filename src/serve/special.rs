//! Special-use names: what a resolver answers by itself and asks nobody, so that it leaks to nobody.
//!
//! A table and the look-up in it; the answers' octets are [`super::answer`]'s. In it are `localhost`, `invalid`
//! (RFC 6761), `local` (RFC 6762), `onion` (RFC 7686), `alt` (RFC 9476), `home.arpa` (RFC 8375), `resolver.arpa`
//! (RFC 9462), `service.arpa` (RFC 9665) and the reverse zones of addresses that mean nothing outside of a site
//! (RFC 6303, RFC 7793), for which the AS112 servers (RFC 7534) would otherwise be asked.
//!
//! Not in it: `example` and its like, which resolve as any other name (RFC 6761, section 6.5), and `test`:
//! caching servers should answer it by themselves (section 6.2), but it is there for tests, also of resolvers
//! and their zones, and the root, or the upstream, says NXDOMAIN of it anyway.

use crate::name::{self, Key, Name, SEPARATOR};

/// How the names at and below a special one are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// There is no such name, and none below it.
    Absent,
    /// A zone with nothing in it but its apex.
    Empty,
    /// Every name is there, without data.
    Bare,
    /// Every name has this machine's own addresses.
    Localhost,
    /// The names of 127.0.0.0/8.
    Loopback4,
    /// The name of ::1.
    Loopback6,
}

/// Names with their kinds, beside the ranges in [`table`].
const NAMES: &[(&str, Kind)] = &[
    ("localhost", Kind::Localhost),
    ("invalid", Kind::Absent),
    ("local", Kind::Absent),
    ("onion", Kind::Absent),
    ("alt", Kind::Absent),
    ("home.arpa", Kind::Empty),
    ("service.arpa", Kind::Empty),
    ("resolver.arpa", Kind::Bare),
    ("127.in-addr.arpa", Kind::Loopback4),
    ("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa", Kind::Loopback6),
    // RFC 6303, section 4.2 to 4.6.
    ("0.in-addr.arpa", Kind::Empty),
    ("10.in-addr.arpa", Kind::Empty),
    ("168.192.in-addr.arpa", Kind::Empty),
    ("254.169.in-addr.arpa", Kind::Empty),
    ("2.0.192.in-addr.arpa", Kind::Empty),
    ("100.51.198.in-addr.arpa", Kind::Empty),
    ("113.0.203.in-addr.arpa", Kind::Empty),
    ("255.255.255.255.in-addr.arpa", Kind::Empty),
    ("0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa", Kind::Empty),
    ("d.f.ip6.arpa", Kind::Empty),
    ("8.e.f.ip6.arpa", Kind::Empty),
    ("9.e.f.ip6.arpa", Kind::Empty),
    ("a.e.f.ip6.arpa", Kind::Empty),
    ("b.e.f.ip6.arpa", Kind::Empty),
    ("8.b.d.0.1.0.0.2.ip6.arpa", Kind::Empty),
];

/// The last labels of all that are in the table: most names are told from it by them.
const LAST_LABELS: [&[u8]; 6] = [b"arpa", b"localhost", b"local", b"invalid", b"onion", b"alt"];

/// Which names are special, under one configuration.
#[derive(Debug, Default)]
pub struct Special {
    /// By key; no name is below another.
    table: Box<[(Box<[u8]>, Entry)]>,
    /// Keys of the names that are resolved, with all below them.
    except: Box<[Box<[u8]>]>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    kind: Kind,
    wire_len: usize,
}

/// A special name that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// How it is answered.
    pub kind: Kind,
    /// Octets of the qname in front of the name in the table; 0: the qname is that name.
    pub below: usize,
    /// Whether names below the qname are resolved, so that the qname is there.
    pub has_exceptions: bool,
}

impl Special {
    /// The whole table, but for these names and all below them.
    pub fn new(except: impl IntoIterator<Item = Name>) -> Self {
        let mut except: Vec<Box<[u8]>> =
            except.into_iter().map(|name| Key::from(&name).as_bytes().into()).collect();
        except.sort();
        Self { table: table(), except: except.into() }
    }

    /// No name is special.
    pub fn none() -> Self {
        Self::default()
    }

    /// What is special about a qname in wire format. Allocates nothing.
    pub fn find(&self, qname: &[u8]) -> Option<Found> {
        let last = name::labels(qname).last()?;
        if !LAST_LABELS.iter().any(|label| label.eq_ignore_ascii_case(last)) {
            return None;
        }
        let key = Key::from_wire(qname)?;
        let key = key.as_bytes();
        let ancestors =
            || key.iter().enumerate().filter(|(_, octet)| **octet == SEPARATOR).map(|(at, _)| &key[..=at]);
        let in_table = |name: &[u8]| self.table.binary_search_by(|(special, _)| (**special).cmp(name)).ok();
        let Entry { kind, wire_len } = self.table[ancestors().find_map(in_table)?].1;
        // The root's key is in nobody's list: it would leave no table.
        if ancestors().any(|name| self.except.binary_search_by(|except| (**except).cmp(name)).is_ok()) {
            return None;
        }
        let at = self.except.partition_point(|except| **except < *key);
        let has_exceptions = self.except.get(at).is_some_and(|except| except.starts_with(key));
        Some(Found { kind, below: qname.len().checked_sub(wire_len)?, has_exceptions })
    }
}

fn table() -> Box<[(Box<[u8]>, Entry)]> {
    // RFC 6303, section 4.1, and the addresses that carriers share (RFC 7793).
    let ranges = (16..32).map(|octet| format!("{octet}.172.in-addr.arpa"));
    let shared = (64..128).map(|octet| format!("{octet}.100.in-addr.arpa"));
    let ranges = ranges.chain(shared).map(|name| (name, Kind::Empty));
    let names = NAMES.iter().map(|(name, kind)| ((*name).to_owned(), *kind));
    let entry = |(text, kind): (String, Kind)| {
        let name = Name::from_host(&text).ok()?;
        let wire_len = name.as_wire().len();
        Some((Key::from(&name).as_bytes().into(), Entry { kind, wire_len }))
    };
    let mut table: Vec<(Box<[u8]>, Entry)> = names.chain(ranges).filter_map(entry).collect();
    table.sort_by(|(one, _), (other, _)| one.cmp(other));
    table.into()
}

/// Whether the labels in front of `127.in-addr.arpa` make an address, or the beginning of one.
pub fn is_address_part(below: &[u8]) -> bool {
    let mut count = 0;
    let is_octet = |label: &[u8]| {
        let text = str::from_utf8(label).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        text.and_then(|text| text.parse::<u8>().ok()).is_some() && (label.len() == 1 || label[0] != b'0')
    };
    name::labels(below).all(|label| {
        count += 1;
        count <= 3 && is_octet(label)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(name: &str) -> Vec<u8> {
        Name::from_presentation(name).unwrap().as_wire().to_vec()
    }

    #[test]
    fn the_table_is_whole_and_no_name_is_below_another() {
        let special = Special::new([]);
        assert_eq!(special.table.len(), NAMES.len() + 16 + 64);
        for pair in special.table.windows(2) {
            assert!(!pair[1].0.starts_with(&pair[0].0), "{pair:?}");
        }
        for (name, kind) in NAMES {
            let last = name.rsplit('.').next().unwrap();
            assert!(LAST_LABELS.contains(&last.as_bytes()), "{name}");
            assert_eq!(special.find(&wire(name)).unwrap().kind, *kind, "{name}");
        }
    }

    #[test]
    fn names_at_and_below_are_found() {
        let special = Special::new([]);
        let check = |name: &str, expected: Option<(Kind, usize)>| {
            let found = special.find(&wire(name)).map(|found| (found.kind, found.below));
            assert_eq!(found, expected, "{name}");
        };
        check("LocalHost", Some((Kind::Localhost, 0)));
        check("www.localhost", Some((Kind::Localhost, 4)));
        check("a.b.ONION", Some((Kind::Absent, 4)));
        check("1.2.3.10.in-addr.arpa", Some((Kind::Empty, 6)));
        check("31.172.in-addr.arpa", Some((Kind::Empty, 0)));
        for name in ["example.com", "test", "a.test", "example", "arpa", "in-addr.arpa", "172.in-addr.arpa"] {
            check(name, None);
        }
        for name in
            ["15.172.in-addr.arpa", "32.172.in-addr.arpa", "8.8.8.8.in-addr.arpa", "notlocal", "xlocalhost"]
        {
            check(name, None);
        }
        assert!(special.find(&[0]).is_none());
        assert!(Special::none().find(&wire("localhost")).is_none());
    }

    #[test]
    fn exceptions_and_all_below_them_are_resolved() {
        let names = ["1.10.in-addr.arpa", "local", "arpa.onion"];
        let special = Special::new(names.map(|name| Name::from_host(name).unwrap()));
        let check = |name: &str, expected: Option<bool>| {
            let found = special.find(&wire(name)).map(|found| found.has_exceptions);
            assert_eq!(found, expected, "{name}");
        };
        check("1.10.in-addr.arpa", None);
        check("5.1.10.in-addr.arpa", None);
        check("11.10.in-addr.arpa", Some(false));
        check("10.in-addr.arpa", Some(true));
        check("printer.local", None);
        check("onion", Some(true));
        check("localhost", Some(false));
    }

    #[test]
    fn addresses_are_three_octets_at_most() {
        fn check(below: &str, expected: bool) {
            let name = wire(below);
            assert_eq!(is_address_part(&name[..name.len() - 1]), expected, "{below}");
        }
        check("1.0.0", true);
        check("255", true);
        check("1.1.0.0", false);
        check("256", false);
        check("01", false);
        check("+1", false);
        check("a", false);
    }
}
