//! Contacts that may still become more: what is alike within a minute is one row, which is counted up behind the first.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::hits;
use crate::cases::{Class, Evidence, Sighting, Subject};

/// How long a row may be counted up, and a little.
const LASTS: Duration = Duration::from_secs(75);
/// Most that are followed; of a flood, the rest is not counted up.
const MOST: usize = 10_000;

/// What was taken in within the last minute, by the contact's number.
#[derive(Debug, Default)]
pub(super) struct Growing(BTreeMap<u64, Row>);

#[derive(Debug)]
struct Row {
    since: Instant,
    /// As it was taken in.
    sighting: Sighting,
    /// The hit of an agency's own DNS server that led to it.
    behind: Option<hits::Key>,
}

/// A row that has become more.
#[derive(Debug)]
pub(super) struct Grown {
    id: u64,
    count: u32,
    /// As it was taken in, with how many more.
    pub(super) sighting: Sighting,
    pub(super) behind: Option<hits::Key>,
}

impl Growing {
    /// Follows what was taken in, as it was then.
    pub(super) fn begin(&mut self, sightings: Vec<(Sighting, Option<hits::Key>)>) {
        let since = Instant::now();
        for (sighting, behind) in sightings {
            if let Evidence::Contact(id) = sighting.evidence
                && self.0.len() < MOST
            {
                self.0.insert(id, Row { since, sighting, behind });
            }
        }
    }

    /// The first of them, and the last.
    pub(super) fn span(&self) -> Option<(u64, u64)> {
        Some((*self.0.first_key_value()?.0, *self.0.last_key_value()?.0))
    }

    /// What has become more, by the counts of now.
    pub(super) fn grown(&self, counts: &[(u64, u32)]) -> Vec<Grown> {
        let grown = counts.iter().filter_map(|&(id, count)| {
            let row = self.0.get(&id)?;
            let more = count.checked_sub(row.sighting.count).filter(|more| *more > 0)?;
            let sighting = Sighting { count: more, ..row.sighting.clone() };
            Some(Grown { id, count, sighting, behind: row.behind.clone() })
        });
        grown.collect()
    }

    /// … which has been told.
    pub(super) fn told(&mut self, grown: &[Grown]) {
        for Grown { id, count, .. } in grown {
            if let Some(row) = self.0.get_mut(id) {
                row.sighting.count = *count;
            }
        }
    }

    /// They are of a scan now.
    pub(super) fn recast(&mut self, client: IpAddr) {
        for Row { sighting, .. } in self.0.values_mut().filter(|row| row.sighting.client == client) {
            (sighting.class, sighting.family) = (Class::Scan, String::new());
        }
    }

    /// They are of another machine now.
    pub(super) fn identify(&mut self, from: Subject, into: Subject) {
        for Row { sighting, .. } in self.0.values_mut().filter(|row| row.sighting.machine == from) {
            sighting.machine = into;
        }
    }

    /// Lets those go that do not grow any more.
    pub(super) fn end(&mut self) {
        self.0.retain(|_, row| row.since.elapsed() < LASTS);
    }
}
