//! Explaining: the steps of a decision, taken down while `decide` itself runs.

use super::decide::{self, Decision, Observer, Ruling};
use super::index::Index;
use crate::name::Key;

/// A decision with every rule that was considered for it.
pub struct Explanation<'p> {
    /// All rules of the qname and its ancestors, from the shortest listed name to the longest.
    pub steps: Vec<Step<'p>>,
    /// What came of them.
    pub decision: Decision<'p>,
}

/// A rule that was considered.
#[derive(Debug, Clone, Copy)]
pub struct Step<'p> {
    /// The rule and where it comes from.
    pub ruling: Ruling<'p>,
    /// Whether the rule's scope includes the qname.
    pub covers: bool,
}

/// Runs [`decide::decide`] and keeps what it looked at.
pub fn explain<'p, D: AsRef<[u8]>>(index: &'p Index<D>, key: &Key) -> Explanation<'p> {
    let mut notes = Notes(Vec::new());
    let decision = decide::decide(index, key, &mut notes);
    Explanation { steps: notes.0, decision }
}

struct Notes<'p>(Vec<Step<'p>>);

impl<'p> Observer<'p> for Notes<'p> {
    fn considers(&mut self, ruling: Ruling<'p>, covers: bool) {
        self.0.push(Step { ruling, covers });
    }
}
