//! The gate: whether a version of a feed may be put in force, and which of its names are left out.
//!
//! Judges while the compiler reads, in one pass; knows neither files of versions nor how they are compiled. It
//! sees names and how many indicators there are; what an address may do is decided where it is met.
//!
//! | a version that | is |
//! |---|---|
//! | lists nothing, after one that did; or is no list | refused |
//! | lost more than `max_shrink`, or grew past `max_growth`, of what the accepted one lists, in all or of names or addresses | refused |
//! | takes a name of this server's own: a local zone, an upstream, a canary | refused |
//! | takes protected or popular names or public suffixes, up to `max_set_aside` of them | taken without these |
//! | takes more of them | refused |
//!
//! What already is in force, or was approved by somebody, is not refused; names are left out of it all the same.

mod names;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::store::{Counts, Digest};
use super::{Diagnostic, Fault, Indicator, Value};
use crate::name::{Name, NameError};
use crate::policy::action::Action;
use crate::policy::trigger::Scope;

pub use names::{Conflict, Own, OwnName, is_public_suffix};

use names::{Kind, Names};

/// The list of protected names that comes with this program, and may be edited there.
pub const PROTECTED: &str = "zones/protected.txt";
/// … and that of popular ones.
pub const POPULAR: &str = "zones/popular.txt";
/// Reasons of a kind that are told whole; all are counted.
const EXAMPLES: usize = 5;

/// What the configuration says of the gate.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Which share of its indicators a version may lose.
    pub max_shrink: f64,
    /// To how many times as many it may grow.
    pub max_growth: f64,
    /// Both hold from so many indicators on: short lists are kept by hand, and change by leaps.
    pub bounds_from: u64,
    /// How many names of a version may be left out.
    pub max_set_aside: u64,
    /// Files of names that no feed may take, nor any name below them.
    pub protected: Vec<PathBuf>,
    /// Files of names that no feed may take, though it may take names below them.
    pub popular: Vec<PathBuf>,
    /// This server's own names.
    pub own: Vec<OwnName>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_shrink: 0.5,
            max_growth: 4.0,
            bounds_from: 100,
            max_set_aside: 100,
            protected: vec![PROTECTED.into()],
            popular: vec![POPULAR.into()],
            own: Vec::new(),
        }
    }
}

/// Why a list of names cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// It cannot be read.
    #[error(
        "{path}: {source}; [gate] protected and popular name files of names, one a line; relative paths start from the working directory"
    )]
    Open {
        /// The list.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line of it is no name.
    #[error("{path}:{line}: {text:?} is not a name: {source}; write one name a line, comments behind a #")]
    Line {
        /// The list.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// How it starts.
        text: String,
        /// What is wrong with it.
        source: NameError,
    },
}

/// The gate's rules, ready for use.
#[derive(Debug)]
pub struct Gate {
    options: Options,
    names: Names,
    digest: Digest,
}

impl Gate {
    /// Reads the lists of names.
    ///
    /// # Errors
    /// [`GateError`].
    pub fn load(options: &Options) -> Result<Self, GateError> {
        // Before the lists are read: what is written meanwhile must not pass for what was read.
        let digest = digest(options)?;
        let mut names = Names::default();
        for own in &options.own {
            names.add(own.name.clone(), Kind::of(own.what));
        }
        for (paths, kind) in [(&options.protected, Kind::Protected), (&options.popular, Kind::Popular)] {
            for path in paths {
                names.read(path, kind)?;
            }
        }
        Ok(Self { options: options.clone(), names, digest })
    }

    /// What judgements depend on.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The names that are protected with all below them.
    pub fn protected(&self) -> impl Iterator<Item = &Name> {
        self.names.protected()
    }

    /// The names that are popular, or this server's own, for themselves.
    pub fn popular(&self) -> impl Iterator<Item = &Name> {
        self.names.popular()
    }

    /// What stands against listing `name`, if anything does.
    pub fn conflict(&self, name: &Name, scope: Scope) -> Option<Conflict> {
        self.names.conflict(name, scope)
    }

    /// Why `name` would be left out, if it would be: to be read behind the name.
    pub fn objection(&self, name: &Name, scope: Scope) -> Option<String> {
        let conflict = self.names.conflict(name, scope)?;
        Some(self.names.explain(name, scope, conflict))
    }

    /// Begins to judge a version.
    pub fn trial(&self, standing: Standing) -> Trial<'_> {
        Trial {
            gate: self,
            standing,
            counts: Counts::default(),
            own: Examples::default(),
            set_aside: Examples::default(),
            first_fault: None,
        }
    }
}

/// Digests all that judgements depend on: the settings, and the octets of the lists.
///
/// # Errors
/// [`GateError`], when a list cannot be read.
pub fn digest(options: &Options) -> Result<Digest, GateError> {
    let Options { max_shrink, max_growth, bounds_from, max_set_aside, protected, popular, own } = options;
    let mut hasher = Sha256::new();
    hasher.update(max_shrink.to_le_bytes());
    hasher.update(max_growth.to_le_bytes());
    hasher.update(bounds_from.to_le_bytes());
    hasher.update(max_set_aside.to_le_bytes());
    let mut own: Vec<_> = own.iter().map(|own| (own.name.as_wire(), own.what as u8)).collect();
    own.sort_unstable();
    for (wire, what) in own {
        hasher.update(wire);
        hasher.update([what]);
    }
    for path in protected.iter().chain(popular) {
        hasher.update(Sha256::digest(&names::list(path)?));
    }
    hasher.update((protected.len() as u64).to_le_bytes());
    Ok(Digest(hasher.finalize().into()))
}

/// Whether a list is one that comes with this program, and is used as it came.
pub fn is_as_it_came(path: &Path) -> bool {
    (path == Path::new(PROTECTED) || path == Path::new(POPULAR)) && !path.exists()
}

/// How strictly a version is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// As the one that may follow on an accepted one, which lists so much; `None`: on none.
    Candidate(Option<Counts>),
    /// It is in force, or somebody approved it: only names are left out.
    Accepted,
    /// Its feed is taken as it comes.
    Ungated,
}

/// A version while it is judged.
#[derive(Debug)]
pub struct Trial<'g> {
    gate: &'g Gate,
    standing: Standing,
    counts: Counts,
    own: Examples,
    set_aside: Examples,
    /// The first line that gave nothing, and what was wrong with it.
    first_fault: Option<(Fault, String)>,
}

/// A number of things, and the first of them in words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Examples {
    /// How many there are.
    pub count: u64,
    /// The first of them.
    pub first: Vec<String>,
}

impl Examples {
    fn add(&mut self, example: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < EXAMPLES {
            self.first.push(example());
        }
    }
}

impl fmt::Display for Examples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.first.join("; "))?;
        match self.count - self.first.len() as u64 {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl Trial<'_> {
    /// Whether its feed is taken as it comes.
    pub fn is_open(&self) -> bool {
        self.standing == Standing::Ungated
    }

    /// Counts an indicator; tells whether it may become a rule with this action.
    pub fn admits(&mut self, indicator: &Indicator, action: &Action) -> bool {
        match (&indicator.value, indicator.trigger) {
            (Value::Name(..), _) => self.counts.names += 1,
            (Value::Ip(_) | Value::Net(_), Some(_)) => self.counts.networks += 1,
            (Value::Ip(_) | Value::Net(_), None) => self.counts.addresses += 1,
            (Value::Url(_), _) => self.counts.urls += 1,
        }
        let Value::Name(name, scope) = &indicator.value else { return true };
        // An exception takes nothing from anybody.
        if self.standing == Standing::Ungated || *action == Action::Passthru {
            return true;
        }
        let Some(conflict) = self.gate.names.conflict(name, *scope) else { return true };
        let kept = match conflict {
            Conflict::Own => &mut self.own,
            Conflict::Protected | Conflict::Popular | Conflict::Suffix => &mut self.set_aside,
        };
        kept.add(|| {
            format!("line {}: {name} {}", indicator.line, self.gate.names.explain(name, *scope, conflict))
        });
        false
    }

    /// Counts a line that gave nothing.
    pub fn note(&mut self, diagnostic: &Diagnostic) {
        self.counts.faults += 1;
        if self.first_fault.is_none() {
            self.first_fault = Some((diagnostic.fault.clone(), diagnostic.to_string()));
        }
    }

    /// How much the version lists.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The names that are left out.
    pub fn set_aside(&self) -> Examples {
        let mut all = self.set_aside.clone();
        all.count += self.own.count;
        all.first.splice(0..0, self.own.first.iter().cloned());
        all.first.truncate(EXAMPLES);
        all
    }

    /// Why the version must not be put in force; nothing stands against it where there is no reason.
    pub fn verdict(&self) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let Standing::Candidate(base) = self.standing else { return reasons };
        let Options { bounds_from, max_set_aside, .. } = self.gate.options;
        let now = self.counts.indicators();
        let before = base.map_or(0, |base| base.indicators());
        match &self.first_fault {
            Some((
                fault @ (Fault::Binary
                | Fault::Utf16
                | Fault::Markup
                | Fault::NotJson
                | Fault::NotWorkbook
                | Fault::OldWorkbook),
                _,
            )) if now == 0 => {
                reasons.push(Reason::NoList(fault.clone()));
            }
            Some((_, example)) if now == 0 => reasons.push(Reason::Nothing(example.clone())),
            _ if now == 0 && before > 0 => reasons.push(Reason::Empty { before }),
            _ if before < bounds_from => {}
            _ => reasons.extend(self.bounds_broken(base.unwrap_or_default())),
        }
        if self.own.count > 0 {
            reasons.push(Reason::Own { names: self.own.clone() });
        }
        if self.set_aside.count > max_set_aside {
            reasons.push(Reason::Protected { names: self.set_aside.clone(), max_set_aside });
        }
        reasons
    }
}

impl Trial<'_> {
    /// Which bounds the version breaks: as a whole or, where it does not, by what it lists of one kind. A list whose
    /// names have gone may have as many addresses instead.
    fn bounds_broken(&self, base: Counts) -> Vec<Reason> {
        let Options { max_shrink, max_growth, bounds_from, .. } = self.gate.options;
        let check = |what: &'static str, count: &dyn Fn(&Counts) -> u64| {
            let (before, now) = (count(&base), count(&self.counts));
            if before < bounds_from {
                None
            } else if (now as f64) < before as f64 * (1.0 - max_shrink) {
                Some(Reason::Shrunk { what, before, now, max_shrink })
            } else if now as f64 > before as f64 * max_growth {
                Some(Reason::Grown { what, before, now, max_growth })
            } else {
                None
            }
        };
        if let Some(reason) = check("indicators", &Counts::indicators) {
            return vec![reason];
        }
        let kinds = [
            check("names", &|counts| counts.names),
            check("addresses", &|counts| counts.networks + counts.addresses),
        ];
        kinds.into_iter().flatten().collect()
    }
}

/// Why a version is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Reason {
    /// Something else came in its place.
    #[error("{0}")]
    NoList(Fault),
    /// Not a line of it could be read.
    #[error("nothing in it could be read (line {0}); is the feed's format right?")]
    Nothing(String),
    /// Nothing is left of the list.
    #[error("it lists nothing, after {before} indicators")]
    Empty {
        /// How many the accepted version has.
        before: u64,
    },
    /// Much of the list is gone.
    #[error("{now} {what} after {before}: it lost more than gate.max_shrink = {max_shrink} allows")]
    Shrunk {
        /// Of what.
        what: &'static str,
        /// How many the accepted version has.
        before: u64,
        /// How many this one has.
        now: u64,
        /// The bound.
        max_shrink: f64,
    },
    /// The list is many times as long.
    #[error("{now} {what} after {before}: it grew past gate.max_growth = {max_growth}")]
    Grown {
        /// Of what.
        what: &'static str,
        /// How many the accepted version has.
        before: u64,
        /// How many this one has.
        now: u64,
        /// The bound.
        max_growth: f64,
    },
    /// It would take names of this server's own.
    #[error("{} of its names would take this server's own: {names}", .names.count)]
    Own {
        /// Which.
        names: Examples,
    },
    /// It would take many protected or popular names.
    #[error("{} of its names are protected, more than gate.max_set_aside = {max_set_aside}: {names}", .names.count)]
    Protected {
        /// Which.
        names: Examples,
        /// The bound.
        max_set_aside: u64,
    },
    /// It cannot be read to its end.
    #[error("{0}")]
    Damaged(String),
}
