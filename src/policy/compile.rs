//! Compiling: indicators of all feeds in, sorted unique keys with numbers of rule sets out.
//!
//! Where two lines of one feed disagree about one name is settled here; between feeds nothing is,
//! that is `decide`'s work. Writes no file: `crate::image` does.

use std::collections::HashMap;
use std::sync::Arc;

use super::action::Action;
use super::index::{Index, IndexError};
use super::rule::{Feed, FeedIndex, Mode, Provenance, Rule};
use super::trigger::Scope;
use crate::name::{Key, Name};

/// Collects rules; then [`Compiler::finish`].
///
/// Memory: a name's key (about its own length) and 12 octets, all names of all feeds at once.
pub struct Compiler {
    provenance: Provenance,
    families: HashMap<Arc<str>, u32>,
    rules: Vec<Rule>,
    numbers: HashMap<Rule, u32>,
    keys: Vec<u8>,
    entries: Vec<Entry>,
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
}

/// More names than one image holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the feeds list more names than one policy image holds (4 GiB of them); leave out a feed")]
pub struct TooMany;

/// One added rule: its key's place in the arena, which is also the order of adding.
#[derive(Clone, Copy)]
struct Entry {
    start: u32,
    len: u16,
    rule: u32,
}

/// Sorted names with their rule sets: what an image is written from.
pub struct Compiled {
    /// The words behind the rules' numbers.
    pub provenance: Provenance,
    /// All different rule sets.
    pub rule_sets: Vec<Vec<Rule>>,
    keys: Vec<u8>,
    names: Vec<Entry>,
}

impl Compiler {
    /// Starts with feeds in configured order.
    pub fn new(feeds: Vec<Feed>) -> Self {
        Self {
            provenance: Provenance { feeds, families: Vec::new() },
            families: HashMap::new(),
            rules: Vec::new(),
            numbers: HashMap::new(),
            keys: Vec::new(),
            entries: Vec::new(),
        }
    }

    /// Adds a rule. The order of calls decides between lines of one feed: the first one of a name
    /// and scope stays, except that an exception (PASSTHRU) replaces a block.
    ///
    /// # Errors
    /// [`TooMany`], when all names together need more than 4 GiB.
    pub fn add(&mut self, name: &Name, listing: Listing<'_>) -> Result<(), TooMany> {
        let Listing { feed, scope, action, mode, family } = listing;
        let family = family.map(|family| self.family(family));
        let rule = Rule { feed, scope, action, mode, family };
        let number = match self.numbers.get(&rule) {
            Some(&number) => number,
            None => {
                let number = self.rules.len() as u32;
                self.rules.push(rule.clone());
                self.numbers.insert(rule, number);
                number
            }
        };
        let key = Key::from(name);
        let start = u32::try_from(self.keys.len()).map_err(|_| TooMany)?;
        self.keys.extend_from_slice(key.as_bytes());
        self.entries.push(Entry { start, len: key.as_bytes().len() as u16, rule: number });
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

    /// Sorts the names and joins the rules of each into a rule set.
    pub fn finish(self) -> Compiled {
        let Self { provenance, rules, keys, mut entries, .. } = self;
        let key = |entry: &Entry| &keys[entry.start as usize..][..usize::from(entry.len)];
        // The start grows with each call of `add`: equal keys stay in the order they came.
        entries.sort_unstable_by(|a, b| {
            key(a).cmp(key(b)).then(a.start.cmp(&b.start)).then(a.rule.cmp(&b.rule))
        });

        let mut rule_sets = Vec::new();
        let mut numbers: HashMap<Vec<u32>, u32> = HashMap::new();
        let mut names: Vec<Entry> = Vec::new();
        for same in entries.chunk_by(|a, b| key(a) == key(b)) {
            let set = settle(same, &rules);
            let number = match numbers.get(&set) {
                Some(&number) => number,
                None => {
                    let number = rule_sets.len() as u32;
                    rule_sets.push(set.iter().map(|&rule| rules[rule as usize].clone()).collect());
                    numbers.insert(set, number);
                    number
                }
            };
            names.push(Entry { rule: number, ..same[0] });
        }
        Compiled { provenance, rule_sets, keys, names }
    }
}

/// The rules of one name, at most one a feed and scope, in order of feeds.
fn settle(same: &[Entry], rules: &[Rule]) -> Vec<u32> {
    let mut kept: Vec<u32> = Vec::with_capacity(same.len());
    for entry in same {
        let rule = &rules[entry.rule as usize];
        let rival = kept.iter_mut().find(|other| {
            let other = &rules[**other as usize];
            other.feed == rule.feed && other.scope == rule.scope
        });
        match rival {
            None => kept.push(entry.rule),
            Some(other) => {
                if rule.action == Action::Passthru && rules[*other as usize].action != Action::Passthru {
                    *other = entry.rule;
                }
            }
        }
    }
    // Exceptions first, so that of two scopes of one feed that both cover a name the exception wins.
    kept.sort_by_key(|&rule| {
        let rule = &rules[rule as usize];
        (rule.feed, rule.action != Action::Passthru)
    });
    kept
}

impl Compiled {
    /// How many names there are.
    pub fn name_count(&self) -> usize {
        self.names.len()
    }

    /// Every name's key and the number of its rule set, in the order of keys, each key once.
    pub fn entries(&self) -> impl Iterator<Item = (&[u8], u64)> {
        self.names.iter().map(|entry| {
            (&self.keys[entry.start as usize..][..usize::from(entry.len)], u64::from(entry.rule))
        })
    }

    /// Builds the index in memory: for tests and for `explain` without an image.
    ///
    /// # Errors
    /// [`IndexError`], as [`Index::new`].
    pub fn into_index(self) -> Result<Index<Vec<u8>>, IndexError> {
        let mut builder = fst::raw::Builder::memory();
        for (key, number) in self.entries() {
            builder.insert(key, number)?;
        }
        Index::new(builder.into_inner()?, self.rule_sets, self.provenance)
    }
}
