//! Compiling: indicators of all feeds in, sorted unique keys with numbers of rule sets out.
//!
//! Where two lines of one feed disagree about one name is settled here; between feeds nothing is,
//! that is `decide`'s work. Sorting is `runs`'s; the image is written by `crate::image`.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::Arc;

use ipnet::IpNet;

use super::action::Action;
use super::data::LocalData;
use super::index::{Index, IndexError};
use super::rule::{Feed, FeedIndex, Mode, Provenance, Rule, Severity};
use super::runs::Runs;
use super::trigger::{NetworkKey, Scope, Trigger, names_of};
use crate::name::{Key, Name};

/// Octets of names that are sorted in memory when there is a scratch file: about a million names.
const BUDGET: usize = 48 << 20;
/// Rules of one name beyond which further pieces of local data are left out: no message holds so many.
const MOST_PIECES: usize = 1000;

/// Collects rules; then [`Compiler::finish`].
pub struct Compiler {
    provenance: Provenance,
    families: HashMap<Arc<str>, u32>,
    rules: Vec<Rule>,
    numbers: HashMap<Rule, u32>,
    runs: Runs,
}

/// How a feed lists a name.
#[derive(Debug, Clone)]
pub struct Listing<'a> {
    /// Which feed.
    pub feed: FeedIndex,
    /// How much around the name is meant.
    pub scope: Scope,
    /// What should happen.
    pub action: Action,
    /// Whether it does.
    pub mode: Mode,
    /// The malware family.
    pub family: Option<&'a Arc<str>>,
    /// How bad it is.
    pub severity: Option<Severity>,
}

/// Why no more names can be taken.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// Without a scratch file, all names together have to fit.
    #[error("the feeds list more names than can be sorted in memory (4 GiB of them); leave out a feed")]
    TooMany,
    /// The scratch file cannot be written or read.
    #[error(
        "sorting the names in a file: {0}; the folder needs room for them, as many octets as the feeds have"
    )]
    Scratch(#[from] io::Error),
}

/// Sorted names with their rule sets: what an image is written from.
pub struct Compiled {
    /// The words behind the rules' numbers.
    pub provenance: Provenance,
    rules: Vec<Rule>,
    runs: Runs,
}

impl Compiler {
    /// Starts with feeds in configured order.
    ///
    /// Memory: a name's key (about its own length) and 20 octets, all names of all feeds at once.
    pub fn new(feeds: Vec<Feed>) -> Self {
        Self::with_runs(feeds, Runs::in_memory())
    }

    /// Starts with feeds in configured order, and an empty file of its own where names wait that
    /// memory need not hold: however many there are, it takes some tens of megabytes.
    pub fn with_scratch(feeds: Vec<Feed>, scratch: File) -> Self {
        Self::with_runs(feeds, Runs::spilling(scratch, BUDGET))
    }

    fn with_runs(feeds: Vec<Feed>, runs: Runs) -> Self {
        Self {
            provenance: Provenance { feeds, families: Vec::new() },
            families: HashMap::new(),
            rules: Vec::new(),
            numbers: HashMap::new(),
            runs,
        }
    }

    /// Adds a rule. The order of calls decides between lines of one feed: the first one of a name
    /// and scope stays, except that an exception (PASSTHRU) replaces a block.
    ///
    /// # Errors
    /// [`CompileError`].
    pub fn add(&mut self, name: &Name, listing: Listing<'_>) -> Result<(), CompileError> {
        self.push(Trigger::Qname, Key::from(name).as_bytes(), listing)
    }

    /// As [`Self::add`], for a name server's name.
    ///
    /// # Errors
    /// [`CompileError`].
    pub fn add_server(&mut self, name: &Name, listing: Listing<'_>) -> Result<(), CompileError> {
        let key = [names_of(Trigger::Nsdname), Key::from(name).as_bytes()].concat();
        self.push(Trigger::Nsdname, &key, listing)
    }

    /// As [`Self::add`], for a network of clients, answers or name servers, as `trigger` says; host bits do
    /// not count, nor does the listing's scope.
    ///
    /// # Errors
    /// [`CompileError`].
    pub fn add_network(
        &mut self,
        trigger: Trigger,
        net: IpNet,
        listing: Listing<'_>,
    ) -> Result<(), CompileError> {
        let listing = Listing { scope: Scope::Exact, ..listing };
        self.push(trigger, NetworkKey::new(trigger, net).as_bytes(), listing)
    }

    fn push(&mut self, trigger: Trigger, key: &[u8], listing: Listing<'_>) -> Result<(), CompileError> {
        let Listing { feed, scope, action, mode, family, severity } = listing;
        let family = family.map(|family| self.family(family));
        let rule = Rule { feed, trigger, scope, action, mode, family, severity };
        let number = match self.numbers.get(&rule) {
            Some(&number) => number,
            None => {
                let number = self.rules.len() as u32;
                self.rules.push(rule.clone());
                self.numbers.insert(rule, number);
                number
            }
        };
        self.runs.push(key, number).map_err(|_| CompileError::TooMany)?;
        if self.runs.is_time_to_spill() {
            self.runs.spill()?;
        }
        Ok(())
    }

    fn family(&mut self, family: &Arc<str>) -> u32 {
        if let Some(&number) = self.families.get(family) {
            return number;
        }
        let number = self.provenance.families.len() as u32;
        self.provenance.families.push(Arc::clone(family));
        self.families.insert(Arc::clone(family), number);
        number
    }

    /// Sorts the names.
    ///
    /// # Errors
    /// [`CompileError`].
    pub fn finish(self) -> Result<Compiled, CompileError> {
        let Self { provenance, rules, runs, .. } = self;
        Ok(Compiled { provenance, rules, runs: runs.finish()? })
    }
}

/// The rules of one name, in order of feeds: at most one a feed, trigger and scope, but each piece of local data.
fn settle(same: &[u32], rules: &[Rule]) -> Vec<u32> {
    let mut kept: Vec<u32> = Vec::with_capacity(same.len());
    for &number in same {
        let rule = &rules[number as usize];
        let is_rival = |other: &u32| {
            let other = &rules[*other as usize];
            (other.feed, other.trigger, other.scope) == (rule.feed, rule.trigger, rule.scope)
        };
        match kept.iter().copied().find(is_rival) {
            None => kept.push(number),
            Some(other) => match (&rules[other as usize].action, &rule.action) {
                (Action::Passthru, _) => {}
                (_, Action::Passthru) => {
                    kept.retain(|other| !is_rival(other));
                    kept.push(number);
                }
                (Action::LocalData(_), Action::LocalData(_))
                    if kept.len() < MOST_PIECES && !kept.contains(&number) =>
                {
                    kept.push(number);
                }
                _ => {}
            },
        }
    }
    // Exceptions first, so that of two scopes of one feed that both cover a name the exception wins.
    kept.sort_by_key(|&rule| {
        let rule = &rules[rule as usize];
        (rule.feed, rule.action != Action::Passthru)
    });
    kept
}

/// The rules that a settled set of numbers stands for: the pieces of a name's local data become one.
fn joined(set: &[u32], rules: &[Rule]) -> Vec<Rule> {
    let mut joined: Vec<Rule> = Vec::with_capacity(set.len());
    for &number in set {
        let rule = &rules[number as usize];
        let place = (rule.feed, rule.trigger, rule.scope);
        let rival = joined.iter_mut().find(|other| (other.feed, other.trigger, other.scope) == place);
        match (rival, &rule.action) {
            (Some(Rule { action: Action::LocalData(data), .. }), Action::LocalData(more)) => {
                *data = Arc::new(LocalData::union(data, more));
            }
            _ => joined.push(rule.clone()),
        }
    }
    joined
}

impl Compiled {
    /// Calls `visit` with every name's key and the number of its rule set, in the order of keys, each
    /// key once; returns the rule sets that the numbers stand for.
    ///
    /// # Errors
    /// What `visit` says, and when the scratch file cannot be read.
    pub fn visit<E: From<io::Error>>(
        &self,
        mut visit: impl FnMut(&[u8], u64) -> Result<(), E>,
    ) -> Result<Vec<Vec<Rule>>, E> {
        let mut rule_sets = Vec::new();
        let mut numbers: HashMap<Vec<u32>, u32> = HashMap::new();
        self.runs.merge(|key, same| {
            let set = settle(same, &self.rules);
            let number = match numbers.get(&set) {
                Some(&number) => number,
                None => {
                    let number = rule_sets.len() as u32;
                    rule_sets.push(joined(&set, &self.rules));
                    numbers.insert(set, number);
                    number
                }
            };
            visit(key, u64::from(number))
        })?;
        Ok(rule_sets)
    }

    /// Builds the index in memory: for tests and for `explain` without an image.
    ///
    /// # Errors
    /// [`IndexError`], as [`Index::new`].
    pub fn into_index(self) -> Result<Index<Vec<u8>>, IndexError> {
        let mut builder = fst::raw::Builder::memory();
        let rule_sets = self.visit(|key, number| builder.insert(key, number))?;
        Index::new(builder.into_inner()?, rule_sets, self.provenance)
    }
}
