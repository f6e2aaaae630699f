//! The way from the nearest known zone down to the one that answers, a label at a time.
//!
//! Query name minimisation (RFC 9156): a zone is asked only for as much of the name as it must know. Names are
//! shown whole only to the zone that should have them, and to one that denies or refuses what is above them: some
//! servers say that an empty name does not exist.

use std::sync::Arc;

use tokio::time::Instant;

use super::Engine;
use super::ask::ask;
use super::digest::Digest;
use super::judge::Boxed;
use super::piece::{Outcome, Piece};
use super::task::{Task, Trouble};
use crate::name::Name;
use crate::wire::rtype;

/// Most steps that a name is cut into, and how many of them are a single label (RFC 9156, section 2.3:
/// MAX_MINIMISE_COUNT and MINIMISE_ONE_LAB).
const MOST_STEPS: usize = 10;
const SINGLE_STEPS: usize = 4;
/// What is asked about names above the qname: like what clients ask (RFC 9156, section 2.1).
const PROBE: u16 = rtype::A;

impl Engine {
    /// What there is for a name and type: the piece about it, and where that is an alias within one zone, the
    /// pieces that it leads to as far as that zone says them.
    pub(super) fn walk(
        self: Arc<Self>,
        qname: Name,
        qtype: u16,
        task: Task,
    ) -> Boxed<'static, Result<Vec<Arc<Piece>>, Trouble>> {
        Box::pin(async move {
            let now = Instant::now().into_std();
            if task.distrusted.is_none()
                && let Some(piece) = self.store.piece(&qname, qtype, now)
            {
                return Ok(vec![piece]);
            }
            // DS records stand in the parent (RFC 4035, section 3.1.4.1).
            let above = match qtype {
                rtype::DS => qname.parent().unwrap_or_else(|| qname.clone()),
                _ => qname.clone(),
            };
            let mut zone = self.closest(&above, now);
            let mut is_remembered = true;
            let mut known = zone.zone.label_count();
            let mut step = 0;
            let mut is_whole = false;
            loop {
                let count = if is_whole { usize::MAX } else { next_labels(qname.label_count(), known, step) };
                step += 1;
                let probe = qname.suffix(count);
                let is_probe = probe != qname;
                let asked = if is_probe { (&probe, PROBE) } else { (&qname, qtype) };
                let digest = match ask(&self, &task, &zone, asked).await {
                    Ok(said) => said.digest,
                    // Some servers refuse what they do not expect.
                    Err(Trouble::Refused(_)) if is_probe => {
                        is_whole = true;
                        continue;
                    }
                    Err(Trouble::Refused(_) | Trouble::NoAddress(_))
                        if is_remembered && !zone.zone.is_root() =>
                    {
                        // It may have moved: its parent knows.
                        self.store.remove_delegation(&zone.zone);
                        let parent = zone.zone.parent().unwrap_or_else(|| zone.zone.clone());
                        zone = self.closest(&parent, Instant::now().into_std());
                        (is_remembered, known, step, is_whole) = (false, zone.zone.label_count(), 0, false);
                        continue;
                    }
                    Err(trouble) => return Err(trouble),
                };
                match digest {
                    Digest::Referral(referral) => {
                        match referral.ds.map(|ds| Arc::new(*ds)) {
                            Some(ds) if ds.outcome == Outcome::Data => self.store.insert_piece(&ds),
                            Some(no_ds) if self.judge.is_some() => self.store.insert_no_ds(&no_ds),
                            _ => {}
                        }
                        zone = Arc::new(referral.delegation);
                        self.store.insert_delegation(Arc::clone(&zone), Instant::now().into_std());
                        known = zone.zone.label_count();
                        is_remembered = false;
                    }
                    Digest::Answer(pieces) => {
                        let pieces: Vec<_> = pieces.into_iter().map(Arc::new).collect();
                        pieces.iter().for_each(|piece| self.store.insert_piece(piece));
                        if !is_probe {
                            return Ok(pieces);
                        }
                        // No zone begins there. An alias of a name above says nothing about this one.
                        known = probe.label_count();
                        is_whole |= pieces.first().is_some_and(|piece| piece.outcome == Outcome::Nxdomain);
                    }
                    // [`ask`] gives none.
                    Digest::Useless(_) => return Err(Trouble::Refused(zone.zone.clone())),
                }
            }
        })
    }
}

/// How many labels of a name are asked for next, where `known` of its `all` are (RFC 9156, section 2.3).
fn next_labels(all: usize, known: usize, step: usize) -> usize {
    let left = all.saturating_sub(known);
    let steps_left = MOST_STEPS.saturating_sub(step).max(1);
    if step < SINGLE_STEPS { known + 1 } else { known + left.div_ceil(steps_left).max(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_take_few_steps() {
        fn check(all: usize, expected: &[usize]) {
            let mut known = 0;
            let mut steps = Vec::new();
            while known < all {
                known = next_labels(all, known, steps.len()).min(all);
                steps.push(known);
            }
            assert_eq!(steps, expected, "{all} labels");
        }
        check(1, &[1]);
        check(3, &[1, 2, 3]);
        check(5, &[1, 2, 3, 4, 5]);
        check(12, &[1, 2, 3, 4, 6, 8, 9, 10, 11, 12]);
        check(34, &[1, 2, 3, 4, 9, 14, 19, 24, 29, 34]);
    }
}
