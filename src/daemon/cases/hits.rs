//! Hits as the desk is told of them: those that are alike together, and those of agencies' own DNS servers until it is known who asked.

use std::collections::HashMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Facts;
use super::who::{Asker, Person};
use crate::cases::{Evidence, Sighting};
use crate::evidence::contacts::join;
use crate::evidence::record::{Record, Trigger};
use crate::name::Name;

/// Hits of forwarders that wait for a contact.
const MOST_WAITING: usize = 10_000;

/// Who asked an agency's DNS server for what: the server's address and the name.
pub(super) type Key = (IpAddr, String);

/// A hit, or several alike within a minute.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Hit {
    pub(super) first: i64,
    time: i64,
    pub(super) asker: Asker,
    pub(super) agency: Option<String>,
    feed: Option<String>,
    family: Option<String>,
    is_address: bool,
    name: String,
    /// What was answered: addresses of the sinkhole.
    #[serde(default)]
    addresses: Vec<IpAddr>,
    count: u32,
}

impl Hit {
    pub(super) fn key(&self) -> Key {
        (self.asker.client, self.name.clone())
    }

    /// What the desk keeps while it waits.
    pub(super) fn kept(&self) -> (String, Option<String>) {
        let text = serde_json::to_string(self).expect("it has keys that are texts");
        (self.kept_as(), Some(text))
    }

    /// What the desk keeps it by.
    pub(super) fn kept_as(&self) -> String {
        format!("waiting {} {}", self.asker.client, self.name)
    }

    pub(super) fn sighting(&self, person: Person, evidence: Evidence, facts: &Facts) -> Sighting {
        let agency = person.agency.or_else(|| self.agency.clone());
        Sighting {
            time: self.time,
            client: self.asker.address,
            machine: person.subject,
            host: person.host,
            officer: agency.as_deref().and_then(|id| facts.officers.get(id)).cloned(),
            agency,
            class: facts.classes.of(self.family.as_deref(), self.feed.as_deref(), self.is_address),
            family: self.family.clone().unwrap_or_default(),
            name: self.name.clone(),
            evidence,
            count: self.count,
        }
    }
}

/// Whether an address met the rule, not a name.
pub(super) fn is_by_address(record: &Record<'_>) -> bool {
    matches!(record.trigger, Some(Trigger::Ip | Trigger::Nsip))
}

/// The hits of one chunk, those that are alike together.
#[derive(Default)]
pub(super) struct Hits(HashMap<(Asker, String, i64, Option<String>), Hit>);

impl Hits {
    pub(super) fn into_values(self) -> impl Iterator<Item = Hit> {
        self.0.into_values()
    }

    pub(super) fn add(&mut self, record: &Record<'_>) {
        let family = record.family.as_deref().map(str::to_owned);
        let minute = record.time.div_euclid(60_000_000);
        let asker = Asker::of(record);
        let name = match (Name::from_wire(&record.qname), &record.matched) {
            (Some(name), _) => name.to_string(),
            // Of a find by an address in a summary, nobody knows the name any more.
            (None, Some(matched)) => matched.to_string(),
            (None, None) => ".".to_owned(),
        };
        let key = (asker, name.clone(), minute, family.clone());
        let hit = self.0.entry(key).or_insert_with(|| Hit {
            first: record.time,
            time: record.time,
            asker,
            agency: record.agency.as_deref().map(str::to_owned),
            feed: record.feed.as_deref().map(str::to_owned),
            family,
            is_address: is_by_address(record),
            name,
            addresses: record.answers.to_vec(),
            count: 0,
        });
        hit.first = hit.first.min(record.time);
        hit.time = hit.time.max(record.time);
        hit.count = hit.count.saturating_add(1);
    }
}

/// Hits of agencies' own DNS servers, until a contact says who asked them. The desk keeps them too, so that they wait on behind a kill.
#[derive(Default)]
pub(super) struct Waiting {
    hits: HashMap<Key, Hit>,
    /// When somebody came for what was asked, whether that waited or not.
    came: HashMap<Key, i64>,
}

impl Waiting {
    /// Those that were kept. What this release does not understand is left out.
    pub(super) fn load(kept: &[String]) -> Self {
        let hits = kept.iter().filter_map(|text| serde_json::from_str::<Hit>(text).ok());
        let mut waiting = Self::default();
        waiting.put(hits.collect());
        waiting
    }

    /// What is to be kept when these wait as well: whole entries, in place of those that are known by now.
    pub(super) fn with(&self, hits: Vec<Hit>) -> Vec<Hit> {
        let mut entries: HashMap<Key, Hit> = HashMap::new();
        for hit in hits {
            let key = hit.key();
            if let Some(entry) = entries.get_mut(&key) {
                entry.count = entry.count.saturating_add(hit.count);
            } else if let Some(known) = self.hits.get(&key) {
                let count = known.count.saturating_add(hit.count);
                entries.insert(key, Hit { count, ..known.clone() });
            } else if self.hits.len() + entries.len() < MOST_WAITING {
                entries.insert(key, hit);
            }
            // More is a flood; its contacts make cases all the same.
        }
        entries.into_values().collect()
    }

    /// … which are kept now.
    pub(super) fn put(&mut self, entries: Vec<Hit>) {
        self.hits.extend(entries.into_iter().map(|hit| (hit.key(), hit)));
    }

    /// The hit of a client for a name that waits.
    pub(super) fn get(&self, key: &Key) -> Option<&Hit> {
        self.hits.get(key)
    }

    /// Somebody came, so it is known who asked; or nobody will.
    pub(super) fn remove(&mut self, keys: impl Iterator<Item = Key>) {
        for key in keys {
            self.hits.remove(&key);
        }
    }

    /// Somebody came at that time.
    pub(super) fn note(&mut self, key: Key, time: i64) {
        if self.came.len() < MOST_WAITING || self.came.contains_key(&key) {
            let last = self.came.entry(key).or_insert(time);
            *last = time.max(*last);
        }
    }

    /// Those that have waited so long, each with whether somebody came who was there already, as one who reads a page again.
    pub(super) fn over(&mut self, now: i64, wait: i64) -> Vec<(Hit, bool)> {
        self.came.retain(|_, time| (now - *time).abs() < 3 * wait);
        // Where the clock was ahead, the time of a hit says nothing.
        let over = self.hits.values().filter(|hit| (now - hit.time).abs() >= wait);
        over.map(|hit| (hit.clone(), self.came.get(&hit.key()).is_some_and(|came| *came > hit.time - wait)))
            .collect()
    }

    /// All of them, as contacts are joined to them.
    pub(super) fn joinable(&self) -> impl Iterator<Item = join::Hit> {
        self.hits.values().map(|hit| join::Hit {
            time: hit.time,
            client: hit.asker.client,
            agency: hit.agency.as_deref().map(Into::into),
            name: hit.name.as_str().into(),
            addresses: hit.addresses.as_slice().into(),
            family: hit.family.as_deref().map(Into::into),
            feed: hit.feed.as_deref().map(Into::into),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::record::tests::sample;

    const SECOND: i64 = 1_000_000;
    const WAIT: i64 = 60 * SECOND;

    /// A hit of an agency's DNS server at this second.
    fn hit(second: i64) -> Hit {
        let mut hits = Hits::default();
        hits.add(&Record { is_hit: true, ..sample(second * SECOND) });
        hits.into_values().next().unwrap()
    }

    /// Whether somebody came, of each that has waited long enough.
    fn over(waiting: &mut Waiting, second: i64) -> Vec<bool> {
        waiting.over(second * SECOND, WAIT).into_iter().map(|(_, has_come)| has_come).collect()
    }

    #[test]
    fn what_waits_is_kept_and_ends() {
        let mut waiting = Waiting::default();
        let entries = waiting.with(vec![hit(100), hit(101)]);
        assert_eq!((entries.len(), entries[0].count), (1, 2));
        waiting.put(entries);
        let more = waiting.with(vec![hit(130)]);
        assert_eq!((more[0].count, more[0].time), (3, 100 * SECOND), "it waits no longer for that");
        let kept: Vec<String> = more.iter().filter_map(|hit| hit.kept().1).collect();
        waiting = Waiting::load(&[&kept[..], &["of another release".to_owned()]].concat());
        let joinable: Vec<join::Hit> = waiting.joinable().collect();
        let like = join::Hit::of(&Record { is_hit: true, ..sample(100 * SECOND) }).unwrap();
        assert_eq!(joinable, [like]);
        assert_eq!(over(&mut waiting, 159), [] as [bool; 0]);
        assert_eq!(over(&mut waiting, 160), [false]);
        // The clock was ahead when it was asked.
        assert_eq!(over(&mut waiting, 0), [false]);
    }

    #[test]
    fn who_comes_again_within_the_minute_has_come() {
        let mut waiting = Waiting::default();
        waiting.note(hit(100).key(), 101 * SECOND);
        let entries = waiting.with(vec![hit(135)]);
        waiting.put(entries);
        assert_eq!(over(&mut waiting, 195), [true]);
        let mut waiting = Waiting::default();
        waiting.note(hit(100).key(), 101 * SECOND);
        let entries = waiting.with(vec![hit(170)]);
        waiting.put(entries);
        assert_eq!(over(&mut waiting, 230), [false]);
        waiting.note(hit(100).key(), 171 * SECOND);
        assert_eq!(over(&mut waiting, 230), [true]);
    }
}
