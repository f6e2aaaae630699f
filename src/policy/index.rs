//! The index: all listed names as one automaton, walked once from the root for any qname.

use fst::raw::{CompiledAddr, Fst, Output};

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

/// One of several walks.
struct Lane<'k> {
    /// What is left of its key; `None` when it has ended.
    rest: Option<&'k [u8]>,
    addr: CompiledAddr,
    output: Output,
    labels: usize,
    /// Whether the octet before was the end of a label.
    is_label_end: bool,
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
                if let Some(rules) = self.rules(number) {
                    visit(Listed { labels, is_qname: at + 1 == bytes.len(), rules });
                }
            }
        }
    }

    /// As [`Self::walk`], for several keys side by side; `visit` is told whose turn it is. The automaton is
    /// far larger than a processor's caches: so the waits for its memory overlap.
    pub fn walk_many<'p, const N: usize>(
        &'p self,
        keys: &[Option<Key>; N],
        mut visit: impl FnMut(usize, Listed<'p>),
    ) {
        let octets = self.names.as_bytes();
        let root = self.names.root().addr();
        let mut lanes = keys.each_ref().map(|key| Lane {
            rest: key.as_ref().map(Key::as_bytes),
            addr: root,
            output: Output::zero(),
            labels: 0,
            is_label_end: false,
        });
        loop {
            let mut is_done = true;
            for lane in lanes.iter().filter(|lane| lane.rest.is_some()) {
                is_done = false;
                // The loads do not wait for each other, as the steps below would.
                std::hint::black_box(octets.get(lane.addr));
            }
            if is_done {
                return;
            }
            for (number, lane) in lanes.iter_mut().enumerate() {
                let Some(rest) = lane.rest.take() else { continue };
                let node = self.names.node(lane.addr);
                if lane.is_label_end && node.is_final() {
                    let output = lane.output.cat(node.final_output()).value();
                    if let Some(rules) = self.rules(output) {
                        visit(number, Listed { labels: lane.labels, is_qname: rest.is_empty(), rules });
                    }
                }
                let Some((&byte, rest)) = rest.split_first() else { continue };
                let Some(found) = node.find_input(byte) else { continue };
                let transition = node.transition(found);
                lane.output = lane.output.cat(transition.out);
                lane.addr = transition.addr;
                lane.is_label_end = byte == SEPARATOR;
                lane.labels += usize::from(lane.is_label_end);
                lane.rest = Some(rest);
            }
        }
    }

    fn rules(&self, number: u64) -> Option<&[Rule]> {
        usize::try_from(number).ok().and_then(|number| self.rule_sets.get(number)).map(Vec::as_slice)
    }

    /// Every listed name's key with its rules, in the order of keys.
    pub fn for_each(&self, mut visit: impl FnMut(&[u8], &[Rule])) {
        use fst::Streamer as _;
        let mut stream = self.names.stream();
        while let Some((key, number)) = stream.next() {
            visit(key, self.rules(number.value()).unwrap_or_default());
        }
    }
}
