//! Explaining: the steps of a decision, taken down while `decide` itself runs.

use super::decide::{Decision, Fit, Observer, Reason, Reckoning, Ruling};
use super::layers::{Asker, Layers};
use super::rule::Mode;

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

/// What became of a rule that was considered.
#[derive(Debug, Clone, Copy)]
pub enum Verdict<'p> {
    /// It decides.
    Decides,
    /// It would decide, were its feed not in shadow; or it is an exception in shadow, which changes nothing.
    InShadow,
    /// It would decide, but a name of the chain is guarded.
    Guarded,
    /// Its scope leaves out what was told.
    OutOfScope,
    /// It does not apply to this client.
    OtherAudience,
    /// This one came before it, for this reason.
    Behind(Ruling<'p>, Reason),
}

impl<'p> Explanation<'p> {
    /// What became of a rule.
    pub fn verdict(&self, step: &Step<'p>) -> Verdict<'p> {
        match step.fit {
            Fit::OutOfScope => return Verdict::OutOfScope,
            Fit::OtherAudience => return Verdict::OtherAudience,
            Fit::Met => {}
        }
        let Decision { ruling, shadow } = self.decision;
        let is = |chosen: Option<Ruling<'p>>| chosen.is_some_and(|chosen| chosen.is_same(&step.ruling));
        let held_back =
            if step.ruling.rule.mode == Mode::Guarded { Verdict::Guarded } else { Verdict::InShadow };
        if is(ruling) {
            return Verdict::Decides;
        }
        if is(shadow) {
            return held_back;
        }
        let winner = match step.ruling.rule.mode {
            Mode::Enforced => ruling,
            Mode::Shadow | Mode::Guarded => shadow.or(ruling),
        };
        match winner {
            Some(winner) if !step.ruling.comes_before(&winner) => {
                Verdict::Behind(winner, winner.reason_before(&step.ruling))
            }
            _ => held_back,
        }
    }
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
