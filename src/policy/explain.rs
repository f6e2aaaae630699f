//! Explaining: the steps of a decision, taken down while `decide` itself runs.

use super::decide::{Decision, Fit, Observer, Reckoning, Ruling};
use super::layers::{Asker, Layers};

/// A decision with every rule that was considered for it.
pub struct Explanation<'p> {
    /// All rules of what was told: of a name and its ancestors, from the shortest listed name to the longest;
    /// of the networks that hold an address, likewise; analysts' own first.
    pub steps: Vec<Step<'p>>,
    /// What came of them.
    pub decision: Decision<'p>,
}

/// A rule that was considered.
#[derive(Debug, Clone, Copy)]
pub struct Step<'p> {
    /// The rule and where it comes from.
    pub ruling: Ruling<'p>,
    /// Whether it is met, and if not, why.
    pub fit: Fit,
}

/// Runs a reckoning, which `tell` tells all that is known, and keeps what it looked at.
pub fn explain<'p, D: AsRef<[u8]>>(
    layers: Layers<'p, D>,
    asker: Asker<'_>,
    tell: impl FnOnce(&mut Reckoning<'p, '_, D, Notes<'p>>),
) -> Explanation<'p> {
    let mut notes = Notes(Vec::new());
    let mut reckoning = Reckoning::new(layers, asker, &mut notes);
    tell(&mut reckoning);
    let decision = reckoning.decision();
    Explanation { steps: notes.0, decision }
}

/// What a reckoning looked at, in that order.
pub struct Notes<'p>(Vec<Step<'p>>);

impl<'p> Observer<'p> for Notes<'p> {
    fn considers(&mut self, ruling: Ruling<'p>, fit: Fit) {
        self.0.push(Step { ruling, fit });
    }
}
