//! Contacts that may still become more: what is alike within a minute is one row, which is counted up behind the first.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use crate::cases::{Evidence, Sighting};

/// How long a row may be counted up, and a little.
const LASTS: Duration = Duration::from_secs(75);
/// Most that are followed; of a flood, the rest is not counted up.
const MOST: usize = 10_000;

/// What was taken in within the last minute, by the contact's number.
#[derive(Debug, Default)]
pub(super) struct Growing(BTreeMap<u64, (Instant, Sighting)>);

impl Growing {
    /// Follows what was taken in, as it was then.
    pub(super) fn begin(&mut self, sightings: Vec<Sighting>) {
        let now = Instant::now();
        for sighting in sightings {
            if let Evidence::Contact(id) = sighting.evidence
                && self.0.len() < MOST
            {
                self.0.insert(id, (now, sighting));
            }
        }
    }

    /// The first of them.
    pub(super) fn first(&self) -> Option<u64> {
        self.0.keys().next().copied()
    }

    /// What has become more since, each with how many that is.
    pub(super) fn grown(&self, counts: &[(u64, u32)]) -> Vec<Sighting> {
        let grown = counts.iter().filter_map(|(id, count)| {
            let (_, known) = self.0.get(id)?;
            let more = count.checked_sub(known.count).filter(|more| *more > 0)?;
            Some(Sighting { count: more, ..known.clone() })
        });
        grown.collect()
    }

    /// … which has been told.
    pub(super) fn count(&mut self, grown: &[Sighting]) {
        let more: HashMap<u64, u32> = grown
            .iter()
            .filter_map(|it| match it.evidence {
                Evidence::Contact(id) => Some((id, it.count)),
                _ => None,
            })
            .collect();
        for (id, (_, known)) in &mut self.0 {
            known.count = known.count.saturating_add(more.get(id).copied().unwrap_or(0));
        }
    }

    /// Lets those go that do not grow any more.
    pub(super) fn end(&mut self) {
        self.0.retain(|_, (since, _)| since.elapsed() < LASTS);
    }
}
