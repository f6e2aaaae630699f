//! Analysts' own rules: blocks and exceptions that somebody answers for, with a reason and most often an end.
//!
//! What they are, how a later one replaces an earlier one, which are in force at a time, and the small index
//! that decisions ask before all feeds. The file is [`history`]'s; who may give rules is not known here.

pub mod history;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;
use sha2::{Digest as _, Sha256};

use crate::name::{Name, NameError};
use crate::policy::action::Action;
use crate::policy::compile::{CompileError, Compiler, Listing};
use crate::policy::index::IndexError;
use crate::policy::layers::Own;
use crate::policy::rule::{Feed, FeedIndex, FeedKind, Mode, Severity};
use crate::policy::trigger::{Scope, Trigger};

/// What logs call analysts' rules where they have the name of a feed.
pub const FEED: &str = "analysts";
/// Most rules in force at once. A longer list is a feed.
pub const MOST: usize = 100_000;

/// A rule, as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What it is on.
    pub subject: Subject,
    /// What it does. PASSTHRU: it is an exception.
    pub action: Action,
    /// Whether it does it, or only shows in the log.
    pub effect: Effect,
    /// The id of the agency to which alone it applies.
    pub agency: Option<Arc<str>>,
    /// When it ends by itself, in microseconds since 1970.
    pub expires: Option<i64>,
    /// The malware family.
    pub family: Option<Arc<str>>,
    /// How bad it is.
    pub severity: Option<Severity>,
}

/// Whether a rule acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It acts; but one on an address gives way to guarded names.
    Usual,
    /// It acts whatever the name.
    Forced,
    /// It only shows in the log.
    Shadow,
}

/// What a rule is on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A name, and how much around it.
    Name(Name, Scope),
    /// Addresses in answers.
    Network(IpNet),
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name, Scope::Exact) => write!(f, "{name} alone"),
            Self::Name(name, Scope::Below) => write!(f, "*.{name}"),
            Self::Name(name, Scope::Subtree) => name.fmt(f),
            Self::Network(net) if net.prefix_len() == net.max_prefix_len() => net.addr().fmt(f),
            Self::Network(net) => net.fmt(f),
        }
    }
}

/// Why a text is no subject.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    /// A network whose address says more than its length.
    #[error("{0} has host bits; write {address} or {net}", address = .0.addr(), net = .0.trunc())]
    HostBits(IpNet),
    /// Anything else.
    #[error("neither a name ({0}) nor an address or a network; of a URL give the host")]
    Neither(NameError),
}

impl FromStr for Subject {
    type Err = SubjectError;

    /// Reads a name, `*.` in front for what is below it alone; an address; a network.
    fn from_str(text: &str) -> Result<Self, SubjectError> {
        let text = text.trim();
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Network(address.to_canonical().into()));
        }
        if let Ok(net) = text.parse::<IpNet>() {
            return if net.trunc() == net {
                Ok(Self::Network(net))
            } else {
                Err(SubjectError::HostBits(net))
            };
        }
        let (name, scope) = match text.strip_prefix("*.") {
            Some(name) => (name, Scope::Below),
            None => (text, Scope::Subtree),
        };
        Name::from_host(name).map(|name| Self::Name(name, scope)).map_err(SubjectError::Neither)
    }
}

/// Something that was done: when, by whom and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deed {
    /// Its number; it grows from deed to deed.
    pub id: u64,
    /// Microseconds since 1970.
    pub time: i64,
    /// Who did it.
    pub by: Arc<str>,
    /// Why.
    pub reason: Arc<str>,
}

/// A line of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When, by whom and why.
    pub deed: Deed,
    /// What.
    pub change: Change,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A rule was given.
    Add(Rule),
    /// The rule that this deed gave was taken back.
    Remove(u64),
}

/// A rule, who gave it, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When, by whom and why it was given; its id is the rule's.
    pub deed: Deed,
    /// The rule.
    pub rule: Rule,
    /// What ended it before its time.
    pub end: Option<End>,
}

/// What ended a rule before its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// A later one on the same, for the same agency.
    Replaced(Deed),
    /// Somebody took it back.
    Removed(Deed),
}

/// What a rule is at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is in force.
    Active,
    /// Its time is over.
    Expired,
    /// A later one took its place.
    Replaced,
    /// Somebody took it back.
    Removed,
}

impl Standing {
    /// Its word in tables and exports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Replaced => "replaced",
            Self::Removed => "removed",
        }
    }
}

impl Entry {
    /// What it is at this time, in microseconds since 1970.
    pub fn standing(&self, now: i64) -> Standing {
        let expired_at = |time: i64| self.rule.expires.is_some_and(|end| end <= time);
        match &self.end {
            // What was over already cannot end again.
            Some(End::Replaced(deed) | End::Removed(deed)) if expired_at(deed.time) => Standing::Expired,
            Some(End::Replaced(_)) => Standing::Replaced,
            Some(End::Removed(_)) => Standing::Removed,
            None if expired_at(now) => Standing::Expired,
            None => Standing::Active,
        }
    }

    /// When it ended, if it has.
    fn ended_at(&self, now: i64) -> Option<i64> {
        let end = match &self.end {
            Some(End::Replaced(deed) | End::Removed(deed)) => Some(deed.time),
            None => None,
        };
        let expiry = self.rule.expires.filter(|end| *end <= now);
        end.into_iter().chain(expiry).min()
    }
}

/// Why the rules cannot be put in force.
#[derive(Debug, thiserror::Error)]
pub enum OwnError {
    /// They cannot be sorted.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// They cannot be indexed.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// All rules that were given, in the order in which they were.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Book {
    entries: Vec<Entry>,
    /// Where the last one on a subject is, for an agency or everybody.
    latest: HashMap<(Subject, Option<Arc<str>>), usize>,
    last_id: u64,
}

impl Book {
    /// All of them.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The number of the deed that comes next.
    pub fn next_id(&self) -> u64 {
        self.last_id + 1
    }

    /// Takes what was done. Taking back what is not there changes nothing.
    pub fn apply(&mut self, event: Event) {
        let Event { deed, change } = event;
        self.last_id = self.last_id.max(deed.id);
        match change {
            Change::Remove(id) => {
                if let Some(entry) = self.entries.iter_mut().find(|entry| entry.deed.id == id) {
                    entry.end.get_or_insert(End::Removed(deed));
                }
            }
            Change::Add(rule) => {
                let place = (rule.subject.clone(), rule.agency.clone());
                if let Some(before) = self.latest.insert(place, self.entries.len()) {
                    self.entries[before].end.get_or_insert_with(|| End::Replaced(deed.clone()));
                }
                self.entries.push(Entry { deed, rule, end: None });
            }
        }
    }

    /// The rules in force at this time.
    pub fn active(&self, now: i64) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.standing(now) == Standing::Active)
    }

    /// The rule in force on this, for this agency or for everybody.
    pub fn find(&self, subject: &Subject, agency: Option<&Arc<str>>, now: i64) -> Option<&Entry> {
        let at = self.latest.get(&(subject.clone(), agency.cloned()))?;
        self.entries.get(*at).filter(|entry| entry.standing(now) == Standing::Active)
    }

    /// Whether a rule in force lets this name or address pass, as it is written; one for what is below a name alone does not.
    pub fn lets_pass(&self, text: &str, now: i64) -> bool {
        let rules = self.active(now).filter(|entry| entry.rule.action == Action::Passthru);
        rules.map(|entry| &entry.rule).any(|rule| match &rule.subject {
            Subject::Name(name, Scope::Subtree | Scope::Exact) => name.to_string() == text,
            Subject::Network(net) => text.parse().is_ok_and(|address: IpAddr| net.contains(&address)),
            Subject::Name(..) => false,
        })
    }

    /// When the next of the rules in force ends by itself.
    pub fn next_expiry(&self, now: i64) -> Option<i64> {
        self.active(now).filter_map(|entry| entry.rule.expires).min()
    }

    /// The index of the rules in force at this time; `None` where there are none. Those of an agency come
    /// before those for everybody.
    ///
    /// # Errors
    /// [`OwnError`]; there are far fewer rules than would be too many.
    pub fn own(&self, now: i64) -> Result<Option<Own>, OwnError> {
        let active: Vec<&Entry> = self.active(now).take(MOST).collect();
        if active.is_empty() {
            return Ok(None);
        }
        let named: BTreeSet<&Arc<str>> =
            active.iter().filter_map(|entry| entry.rule.agency.as_ref()).collect();
        let agencies: Vec<Option<Arc<str>>> = named.into_iter().cloned().map(Some).chain([None]).collect();
        let feed = |_| Feed::new(FEED.into(), FeedKind::Threat);
        let mut compiler = Compiler::new(agencies.iter().map(feed).collect());
        let mut digest = Sha256::new();
        for Entry { rule, .. } in active {
            digest.update(format!("{rule:?}\n"));
            let group = agencies.iter().position(|agency| *agency == rule.agency);
            // Each agency of a rule is there, and agencies are far fewer than 65535.
            let feed = group.unwrap_or_default() as FeedIndex;
            let (action, family, severity) = (rule.action.clone(), rule.family.as_ref(), rule.severity);
            let mode = rule.mode();
            let listing = |scope| Listing { feed, scope, action, mode, family, severity };
            match &rule.subject {
                Subject::Name(name, scope) => compiler.add(name, listing(*scope))?,
                Subject::Network(net) => {
                    compiler.add_network(Trigger::Address, *net, listing(Scope::Exact))?;
                }
            }
        }
        let changes = self.entries.iter().flat_map(|entry| [Some(entry.deed.time), entry.ended_at(now)]);
        let changed_at = changes.flatten().max().unwrap_or(now);
        let digest = digest.finalize().into();
        Ok(Some(Own { index: compiler.finish()?.into_index()?, agencies, digest, changed_at }))
    }
}

impl Rule {
    fn mode(&self) -> Mode {
        match (self.effect, &self.subject) {
            (Effect::Shadow, _) => Mode::Shadow,
            (Effect::Usual, Subject::Network(_)) if self.action != Action::Passthru => Mode::Guarded,
            _ => Mode::Enforced,
        }
    }
}

#[cfg(test)]
mod tests;
