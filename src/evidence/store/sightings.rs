//! Who asked for what, added up: a client, a name or an address, from when to when and how often.

use std::collections::HashMap;
use std::net::IpAddr;

use super::names::{Needles, What};
use super::{Filter, StoreError};
use crate::evidence::record::Record;
use crate::name;

/// Most that are added up: some hundred megabytes.
pub(super) const MOST: usize = 1 << 20;

/// Who asked for a name, or was answered an address, in some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Who asked.
    pub client: IpAddr,
    /// The id of its agency.
    pub agency: Option<String>,
    /// What for; or what it was answered.
    pub what: What,
    /// When first, microseconds since 1970. Where it comes from a summary, the minute's beginning …
    pub first: i64,
    /// … and when last, the minute's end.
    pub last: i64,
    /// How often.
    pub count: u64,
    /// Whether any of it was a hit.
    pub was_hit: bool,
}

impl Sighting {
    /// Whether it is of a client and a time that are asked for.
    pub(super) fn is_taken_by(&self, filter: &Filter) -> bool {
        let is_below =
            |ancestor: &name::Name| matches!(&self.what, What::Name(name) if name.is_within(ancestor));
        filter.client.is_none_or(|client| self.client == client.to_canonical())
            && filter.agency.as_deref().is_none_or(|agency| self.agency.as_deref() == Some(agency))
            && filter.may_take(self.first, self.last)
            && filter.name.as_ref().is_none_or(is_below)
    }
}

type Key = (IpAddr, Option<Box<str>>, What);

/// What was added up so far.
#[derive(Debug, Default)]
pub(super) struct Sum {
    /// Of this client alone. It is who asked: of whom forwarders told, summaries do not know.
    client: Option<IpAddr>,
    sightings: HashMap<Key, Seen>,
    is_full: bool,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    first: i64,
    last: i64,
    count: u64,
    was_hit: bool,
}

impl Sum {
    /// Nothing yet, of what a filter takes.
    pub(super) fn of(filter: &Filter) -> Self {
        Self { client: filter.client.map(|client| client.to_canonical()), ..Self::default() }
    }

    pub(super) fn add(&mut self, sighting: &Sighting) {
        let Sighting { client, agency, what, first, last, count, was_hit } = sighting;
        let key = (*client, agency.as_deref().map(Into::into), what.clone());
        self.join(key, Seen { first: *first, last: *last, count: *count, was_hit: *was_hit });
    }

    /// Adds what of a record is looked for.
    pub(super) fn add_record(&mut self, record: &Record<'_>, needles: &Needles) {
        let (first, last) = (record.time, record.time);
        let mut found = needles.all_in(record);
        found.sort_unstable();
        found.dedup();
        for what in found {
            let key = (record.client, record.agency.as_deref().map(Into::into), what);
            self.join(key, Seen { first, last, count: 1, was_hit: record.is_hit });
        }
    }

    fn join(&mut self, key: Key, seen: Seen) {
        if self.client.is_some_and(|client| client != key.0) {
            return;
        }
        if let Some(known) = self.sightings.get_mut(&key) {
            known.first = known.first.min(seen.first);
            known.last = known.last.max(seen.last);
            known.count = known.count.saturating_add(seen.count);
            known.was_hit |= seen.was_hit;
        } else if self.sightings.len() < MOST {
            self.sightings.insert(key, seen);
        } else {
            self.is_full = true;
        }
    }

    /// All of it, the last seen first.
    pub(super) fn finish(self) -> Result<Vec<Sighting>, StoreError> {
        if self.is_full {
            return Err(StoreError::Many { most: MOST });
        }
        let sighting = |((client, agency, what), seen): (Key, Seen)| {
            let Seen { first, last, count, was_hit } = seen;
            Sighting { client, agency: agency.map(Into::into), what, first, last, count, was_hit }
        };
        let mut all: Vec<Sighting> = self.sightings.into_iter().map(sighting).collect();
        all.sort_unstable_by(|a, b| {
            let key = |it: &Sighting| (it.client, it.first);
            b.last.cmp(&a.last).then_with(|| key(a).cmp(&key(b))).then_with(|| a.what.cmp(&b.what))
        });
        Ok(all)
    }
}
