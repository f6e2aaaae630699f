//! The index: all listed names as one automaton, walked once from the root for any qname.

use fst::raw::{Fst, Output};

use super::rule::{Provenance, Rule};
use crate::name::{Key, SEPARATOR};

/// All rules of one policy image, ready to be asked.
///
/// `D` holds the automaton's bytes: the mapped file in the daemon, a `Vec<u8>` in tests.
pub struct Index<D> {
    names: Fst<D>,
    rule_sets: Vec<Vec<Rule>>,
    provenance: Provenance,
}

/// Why the parts of an image do not fit together.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The automaton's own header or footer is wrong.
    #[error("the automaton of names cannot be read: {0}")]
    Automaton(#[from] fst::Error),
    /// A rule names a feed or a family that is not there.
    #[error("rule set {rule_set} points outside the tables of feeds and families")]
    Provenance {
        /// Which rule set.
        rule_set: usize,
    },
}

/// A listed name that is the qname or one of its ancestors.
#[derive(Debug, Clone, Copy)]
pub struct Listed<'p> {
    /// How many labels the listed name has.
    pub labels: usize,
    /// Whether it is the whole qname.
    pub is_qname: bool,
    /// Its rules, in order of precedence.
    pub rules: &'p [Rule],
}

impl<D: AsRef<[u8]>> Index<D> {
    /// Joins an automaton, whose values are numbers of rule sets, with its tables.
    ///
    /// The automaton's bytes must have been verified (`crate::image` checks their digest): a corrupt
    /// one gives wrong answers or panics.
    ///
    /// # Errors
    /// [`IndexError`], when the parts do not fit.
    pub fn new(names: D, rule_sets: Vec<Vec<Rule>>, provenance: Provenance) -> Result<Self, IndexError> {
        for (number, rules) in rule_sets.iter().enumerate() {
            let is_sound = |rule: &Rule| {
                usize::from(rule.feed) < provenance.feeds.len()
                    && rule.family.is_none_or(|family| (family as usize) < provenance.families.len())
            };
            if !rules.iter().all(is_sound) {
                return Err(IndexError::Provenance { rule_set: number });
            }
        }
        Ok(Self { names: Fst::new(names)?, rule_sets, provenance })
    }

    /// The words behind the rules' numbers.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// How many names are listed.
    pub fn name_count(&self) -> usize {
        self.names.len()
    }

    /// How many different rule sets the names share.
    pub fn rule_set_count(&self) -> usize {
        self.rule_sets.len()
    }

    /// Octets of the automaton.
    pub fn automaton_len(&self) -> usize {
        self.names.size()
    }

    /// Calls `visit` for every listed name on the way from the root to `key`, shortest first.
    pub fn walk<'p>(&'p self, key: &Key, mut visit: impl FnMut(Listed<'p>)) {
        let bytes = key.as_bytes();
        let mut node = self.names.root();
        let mut output = Output::zero();
        let mut labels = 0;
        for (at, &byte) in bytes.iter().enumerate() {
            let Some(found) = node.find_input(byte) else { return };
            let transition = node.transition(found);
            output = output.cat(transition.out);
            node = self.names.node(transition.addr);
            if byte != SEPARATOR {
                continue;
            }
            labels += 1;
            if node.is_final() {
                let number = output.cat(node.final_output()).value();
                let rules = usize::try_from(number).ok().and_then(|number| self.rule_sets.get(number));
                if let Some(rules) = rules {
                    visit(Listed { labels, is_qname: at + 1 == bytes.len(), rules });
                }
            }
        }
    }

    /// Every listed name's key with its rules, in the order of keys.
    pub fn for_each(&self, mut visit: impl FnMut(&[u8], &[Rule])) {
        use fst::Streamer as _;
        let mut stream = self.names.stream();
        while let Some((key, number)) = stream.next() {
            let rules = usize::try_from(number.value()).ok().and_then(|number| self.rule_sets.get(number));
            visit(key, rules.map_or(&[], Vec::as_slice));
        }
    }
}
