//! The names that no feed may take, and how to find what a listed name would take of them.
//!
//! Names only: what follows from a conflict is the gate's.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::{fs, io};

use psl::Psl as _;

use super::GateError;
use crate::name::{Name, labels};
use crate::policy::trigger::Scope;

/// How much of a line that is no name is shown.
const SHOWN: usize = 80;
/// Lists that come with this program, used where the file is not there.
const OURS: [(&str, &str); 2] = [
    (super::PROTECTED, include_str!("../../../zones/protected.txt")),
    (super::POPULAR, include_str!("../../../zones/popular.txt")),
];
/// What stands before a site's name.
const WWW: &[u8] = b"www";
/// The most labels that a public suffix has.
const SUFFIX_LABELS: usize = 8;

/// A name of this server's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnName {
    /// The name.
    pub name: Name,
    /// What it is here.
    pub what: Own,
}

/// What a name of this server's own is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Own {
    /// A local zone: itself and all below it.
    Zone,
    /// A domain of `[[route]]`: itself and all below it, though it does not condemn a version.
    Route,
    /// The name of an upstream's certificate.
    Upstream,
    /// The name on this server's certificate, of the landing page, or of the console.
    Server,
    /// Of what this server cannot do without: the sign-in, the mail relay, a webhook, ClickHouse, a proxy, an outlet. They may be
    /// others' and serve attackers too, so that a version is not condemned for one of them.
    Service,
    /// Where a feed is fetched from.
    Feed,
    /// A name that is NXDOMAIN whatever the feeds say.
    Canary,
}

impl Own {
    const ALL: [Self; 7] =
        [Self::Zone, Self::Route, Self::Upstream, Self::Server, Self::Service, Self::Feed, Self::Canary];

    /// Its word between processes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Zone => "zone",
            Self::Route => "route",
            Self::Upstream => "upstream",
            Self::Server => "server",
            Self::Service => "service",
            Self::Feed => "feed",
            Self::Canary => "canary",
        }
    }

    /// The one with this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|own| own.as_str() == word)
    }

    /// What it is, in words behind "is".
    fn words(self) -> &'static str {
        match self {
            Self::Zone => "in a local zone",
            Self::Route => "in the domain of a [[route]]",
            Self::Upstream => "the name of an upstream",
            Self::Server => "this server's own name",
            Self::Service => "the name of a service that this server needs",
            Self::Feed => "where a feed comes from",
            Self::Canary => "a canary",
        }
    }
}

/// Why a name is not to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// One of this server's own.
    Own,
    /// A protected one.
    Protected,
    /// A popular one.
    Popular,
    /// A public suffix: many owners' names are below it.
    Suffix,
}

/// Where a name in question comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Own(Own),
    Protected,
    Popular,
}

impl Kind {
    pub(super) fn of(what: Own) -> Self {
        Self::Own(what)
    }

    /// Which bit of [`Marks`] it sets.
    fn bit(self) -> u8 {
        match self {
            Self::Own(Own::Zone) => ZONE,
            Self::Own(Own::Route) | Self::Protected => PROTECTED,
            Self::Own(Own::Service) | Self::Popular => POPULAR,
            Self::Own(_) => OWN,
        }
    }
}

const ZONE: u8 = 1;
const OWN: u8 = 2;
const PROTECTED: u8 = 4;
const POPULAR: u8 = 8;
/// Kinds that names below belong to.
const DEEP: u8 = ZONE | PROTECTED;

/// What is known of a name, as bits of kinds.
#[derive(Debug, Clone, Copy, Default)]
struct Marks {
    /// What it is itself.
    here: u8,
    /// What is somewhere below it.
    below: u8,
}

/// Names that no feed may take.
#[derive(Debug, Default)]
pub(super) struct Names {
    all: Vec<(Name, Kind)>,
    /// By wire format: a name's ancestors are the ends of it.
    marks: HashMap<Box<[u8]>, Marks>,
}

impl Names {
    pub(super) fn add(&mut self, name: Name, kind: Kind) {
        let mut ancestor = name.parent();
        self.marks.entry(name.as_wire().into()).or_default().here |= kind.bit();
        while let Some(name) = ancestor.filter(|name| !name.is_root()) {
            self.marks.entry(name.as_wire().into()).or_default().below |= kind.bit();
            ancestor = name.parent();
        }
        self.all.push((name, kind));
    }

    /// Adds the names of a file: one a line, also behind a rank and a comma; comments behind `#`.
    pub(super) fn read(&mut self, path: &Path, kind: Kind) -> Result<(), GateError> {
        let octets = list(path)?;
        let text = String::from_utf8_lossy(&octets);
        for (number, line) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
            let entry = line.split('#').next().unwrap_or_default().trim();
            if entry.is_empty() {
                continue;
            }
            let entry = match entry.split_once(',') {
                Some((rank, name)) if rank.bytes().all(|byte| byte.is_ascii_digit()) => name.trim(),
                _ => entry,
            };
            let name = Name::from_host(entry).map_err(|source| {
                let text = entry.chars().take(SHOWN).collect();
                GateError::Line { path: path.to_owned(), line: number, text, source }
            })?;
            self.add(name, kind);
        }
        Ok(())
    }

    /// Those that stand for all below them too.
    pub(super) fn protected(&self) -> impl Iterator<Item = &Name> {
        self.all.iter().filter(|(_, kind)| kind.bit() & DEEP != 0).map(|(name, _)| name)
    }

    /// Those that stand for themselves.
    pub(super) fn popular(&self) -> impl Iterator<Item = &Name> {
        self.all.iter().filter(|(_, kind)| kind.bit() & DEEP == 0).map(|(name, _)| name)
    }

    pub(super) fn conflict(&self, name: &Name, scope: Scope) -> Option<Conflict> {
        let mut found = 0;
        for (depth, end) in ends(name.as_wire()).enumerate() {
            let Some(marks) = self.marks.get(end) else { continue };
            found |= marks.here & DEEP;
            if depth == 0 {
                found |= if scope == Scope::Below { 0 } else { marks.here };
                found |= if scope == Scope::Exact { 0 } else { marks.below };
            }
        }
        if scope != Scope::Below && labels(name.as_wire()).next() == Some(WWW) {
            // What browsers are given in place of the name itself.
            let site = name.parent().and_then(|site| self.marks.get(site.as_wire()).copied());
            found |= site.unwrap_or_default().here & POPULAR;
        }
        if found & (ZONE | OWN) != 0 {
            Some(Conflict::Own)
        } else if found & PROTECTED != 0 {
            Some(Conflict::Protected)
        } else if found & POPULAR != 0 {
            Some(Conflict::Popular)
        } else if is_public_suffix(name) {
            Some(Conflict::Suffix)
        } else {
            None
        }
    }

    /// Says why `name` conflicts, behind it.
    pub(super) fn explain(&self, name: &Name, scope: Scope, conflict: Conflict) -> String {
        let is_meant = |kind: Kind| match conflict {
            Conflict::Own => kind.bit() & (ZONE | OWN) != 0,
            Conflict::Protected => kind.bit() == PROTECTED,
            Conflict::Popular => kind.bit() == POPULAR,
            Conflict::Suffix => false,
        };
        let words = |kind: Kind| match kind {
            Kind::Own(own) => own.words(),
            Kind::Protected => "protected",
            Kind::Popular => "popular",
        };
        let candidates = || self.all.iter().filter(|(_, kind)| is_meant(*kind));
        let above = candidates().find(|(other, kind)| {
            if other == name {
                scope != Scope::Below || kind.bit() & DEEP != 0
            } else {
                kind.bit() & DEEP != 0 && name.is_within(other)
            }
        });
        if let Some((other, kind)) = above {
            return if other == name {
                format!("is {}", words(*kind))
            } else {
                format!("is {}, as all of {other}", words(*kind))
            };
        }
        if conflict == Conflict::Popular
            && let Some((site, _)) = candidates().find(|(site, _)| name.parent().as_ref() == Some(site))
        {
            return format!("is popular, as {site} is");
        }
        match candidates().find(|(other, _)| other.is_within(name)) {
            Some((other, kind)) => format!("takes {other}, which is {}", words(*kind)),
            None => "is a public suffix, below which are many owners' names".to_owned(),
        }
    }
}

/// The octets of a list; those that it came with where it is one of ours and not there.
pub(super) fn list(path: &Path) -> Result<Cow<'static, [u8]>, GateError> {
    list_or_ours(path, fs::read(path))
}

pub(super) fn list_or_ours(path: &Path, read: io::Result<Vec<u8>>) -> Result<Cow<'static, [u8]>, GateError> {
    match read {
        Ok(octets) => Ok(octets.into()),
        Err(source) => {
            let ours = OURS.iter().find(|(of, _)| Path::new(of) == path);
            match ours.filter(|_| source.kind() == io::ErrorKind::NotFound) {
                Some((_, text)) => Ok(text.as_bytes().into()),
                None => Err(GateError::Open { path: path.to_owned(), source }),
            }
        }
    }
}

/// A wire-format name and its ancestors, the root left out.
fn ends(wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(wire);
    std::iter::from_fn(move || {
        let end = rest.filter(|end| end.first().is_some_and(|&len| len > 0))?;
        rest = end.get(1 + usize::from(end[0])..);
        Some(end)
    })
}

/// Whether names of different owners are registered right below `name` (publicsuffix.org, both sections).
pub fn is_public_suffix(name: &Name) -> bool {
    let mut list = [&[][..]; SUFFIX_LABELS];
    let (mut count, mut len) = (0, 0);
    for label in labels(name.as_wire()) {
        let Some(place) = list.get_mut(count) else { return false };
        *place = label;
        count += 1;
        len += label.len() + 1;
    }
    let (found, first) = (psl::List.find(list[..count].iter().rev().copied()), list[0].len());
    // The dots between the labels count.
    match found.typ {
        Some(psl::Type::Icann) => found.len + 1 == len,
        Some(psl::Type::Private) if found.len + 1 == len => {
            // `*.localto.net` makes a suffix of each customer's own name: attackers are among them, and what is below
            // is theirs.
            list[0] = UNHEARD_OF;
            let other = psl::List.find(list[..count].iter().rev().copied());
            other.len + first != found.len + UNHEARD_OF.len()
        }
        Some(psl::Type::Private) | None => false,
    }
}

/// A label that no list has.
const UNHEARD_OF: &[u8] = b"0--0";
