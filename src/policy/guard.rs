//! The guard: names that no bare address may take.
//!
//! One address serves many names. A list that has the address of a shared host would take away every site
//! there, the province's own among them: where a rule is known by an address alone, these names are only
//! alerted. Where the lists of names come from is not known here.

use fst::raw::{Builder, Fst, Output};

use super::index::{Place, step};
use crate::name::{Key, Name, SEPARATOR};

/// Names that are guarded.
#[derive(Default)]
pub struct Guard {
    /// Keys of names; the value tells why.
    names: Option<Fst<Vec<u8>>>,
}

/// Why a name is guarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Guarded {
    /// It is a protected name, or below one.
    Protected,
    /// It is a popular name, or `www.` in front of one. What is below it otherwise is not: popular hosts
    /// let anybody have a name there.
    Popular,
}

/// What stands before a popular name and is guarded with it.
const WWW: &[u8] = b"www\0";

impl Guard {
    /// No name is guarded.
    pub const NONE: Self = Guard { names: None };

    /// A guard of these names; one that is in both is protected.
    pub fn new(protected: impl IntoIterator<Item = Name>, popular: impl IntoIterator<Item = Name>) -> Self {
        let octets = |name: Name| Key::from(&name).as_bytes().to_vec();
        let protected = protected.into_iter().map(|name| (octets(name), Guarded::Protected));
        let popular = popular.into_iter().map(|name| (octets(name), Guarded::Popular));
        let mut names: Vec<(Vec<u8>, Guarded)> = protected.chain(popular).collect();
        // Stable: of equal names the protected one stays first, and the others go.
        names.sort_by(|one, other| one.0.cmp(&other.0));
        names.dedup_by(|one, other| one.0 == other.0);
        if names.is_empty() {
            return Self::NONE;
        }
        let mut builder = Builder::memory();
        for (key, why) in names {
            // In memory, sorted and each once: there is nothing that it could refuse.
            let _ = builder.insert(key, why as u64);
        }
        Self { names: builder.into_inner().ok().and_then(|octets| Fst::new(octets).ok()) }
    }

    /// How many names it has.
    pub fn len(&self) -> usize {
        self.names.as_ref().map_or(0, Fst::len)
    }

    /// Whether no name is guarded.
    pub fn is_empty(&self) -> bool {
        self.names.is_none()
    }

    /// Why this name is guarded, if it is; protected before popular.
    pub fn find(&self, key: &Key) -> Option<Guarded> {
        let names = self.names.as_ref()?;
        let mut place = Place { addr: names.root().addr(), output: Output::zero() };
        let mut found = None;
        let mut rest = key.as_bytes();
        while let Some((&octet, behind)) = rest.split_first() {
            let Some(next) = step(names, place, octet) else { return found };
            (place, rest) = (next, behind);
            let node = names.node(place.addr);
            if octet != SEPARATOR || !node.is_final() {
                continue;
            }
            let value = place.output.cat(node.final_output()).value();
            if value == Guarded::Protected as u64 {
                return Some(Guarded::Protected);
            }
            if rest.is_empty() || rest == WWW {
                found = Some(Guarded::Popular);
            }
        }
        found
    }
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Guard of {} names", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protected_names_hold_what_is_below_and_popular_ones_themselves() {
        let names = |texts: &[&str]| -> Vec<Name> {
            texts.iter().map(|text| Name::from_host(text).unwrap()).collect()
        };
        let guard = Guard::new(
            names(&["gov.vn", "both.example", "deep.popular.example"]),
            names(&["popular.example", "both.example", "a.gov.vn", "popular.example"]),
        );
        assert_eq!(guard.len(), 5);
        let check = |name: &str, expected: Option<Guarded>| {
            assert_eq!(guard.find(&Key::from(&Name::from_host(name).unwrap())), expected, "{name}");
        };
        check("gov.vn", Some(Guarded::Protected));
        check("www.tinh.gov.vn", Some(Guarded::Protected));
        check("a.gov.vn", Some(Guarded::Protected));
        check("notgov.vn", None);
        check("vn", None);
        check("popular.example", Some(Guarded::Popular));
        check("www.popular.example", Some(Guarded::Popular));
        check("evil.popular.example", None);
        check("www.evil.popular.example", None);
        check("deep.popular.example", Some(Guarded::Protected));
        check("x.deep.popular.example", Some(Guarded::Protected));
        check("both.example", Some(Guarded::Protected));
        check("x.both.example", Some(Guarded::Protected));
        let root = Key::from(&Name::from_presentation(".").unwrap());
        assert_eq!(guard.find(&root), None);
        assert_eq!(Guard::NONE.find(&root), None);
    }
}
