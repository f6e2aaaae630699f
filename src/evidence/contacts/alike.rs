//! Contacts that are alike within a minute, folded into one row each; no database here.
//!
//! A looping bot is a row a minute. What a bot changes each time (a path, first octets) makes rows of their own only up
//! to a bound for each client; from there on they differ by name and port alone, then by port alone, and are counted
//! where even those are too many. All of it together is bounded as well, datagrams, whose source anybody may
//! forge, by a part of that.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::{Contact, MINUTE, Via};

/// Rows of one client within a minute that may differ in anything …
const WHOLE: u32 = 64;
/// … in name and port …
const NAMED: u32 = 256;
/// … in port.
const MOST: u32 = 320;
/// Rows of all clients together: some ten megabytes.
const MOST_ROWS: usize = 16_384;
/// Those of datagrams among them.
const MOST_DATAGRAMS: usize = 2048;
/// The least time between two looks for rows whose minute is over, microseconds.
const SWEEP_AFTER: i64 = 1_000_000;

/// What alike contacts have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Likeness {
    pub(super) client: IpAddr,
    pub(super) local: SocketAddr,
    pub(super) via: Via,
    pub(super) name: Option<String>,
    pub(super) path: Option<String>,
    pub(super) agent: Option<String>,
    pub(super) ja4: Option<String>,
    pub(super) first: Vec<u8>,
}

/// A row of the database, as far as it is still growing.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) likeness: Arc<Likeness>,
    /// Its number in the database; `None`: it is not there yet.
    pub(super) id: Option<i64>,
    pub(super) time: i64,
    pub(super) source_port: u16,
    pub(super) count: u32,
    is_changed: bool,
}

impl Row {
    /// That of a contact that nothing is folded into.
    pub(super) fn of(contact: Contact) -> Self {
        let Contact { time, client, source_port, local, via, name, path, agent, ja4, first, count, .. } =
            contact;
        let likeness = Arc::new(Likeness { client, local, via, name, path, agent, ja4, first });
        Self { likeness, id: None, time, source_port, count, is_changed: true }
    }
}

/// The rows of the last minute.
#[derive(Debug, Default)]
pub(super) struct Rows {
    rows: Vec<Row>,
    /// The newest row of each kind.
    newest: HashMap<Arc<Likeness>, usize>,
    of_client: HashMap<IpAddr, u32>,
    datagrams: usize,
    changed: Vec<usize>,
    swept: i64,
}

impl Rows {
    /// Folds a contact in; false when there is no room for it.
    pub(super) fn add(&mut self, contact: Contact) -> bool {
        let time = contact.time;
        let age = time.saturating_sub(self.swept);
        let is_full = self.rows.len() >= MOST_ROWS || self.datagrams >= MOST_DATAGRAMS;
        if !(0..MINUTE).contains(&age) || (is_full && age >= SWEEP_AFTER) {
            self.sweep(time);
        }
        let (source_port, count) = (contact.source_port, contact.count);
        let mut likeness = Likeness {
            client: contact.client,
            local: contact.local,
            via: contact.via,
            name: contact.name,
            path: contact.path,
            agent: contact.agent,
            ja4: contact.ja4,
            first: contact.first,
        };
        if self.grow(&likeness, time, count) {
            return true;
        }
        let of_client = self.of_client.get(&likeness.client).copied().unwrap_or(0);
        if of_client >= WHOLE {
            (likeness.path, likeness.agent, likeness.ja4) = (None, None, None);
            likeness.first = Vec::new();
            if of_client >= NAMED {
                likeness.name = None;
            }
            if self.grow(&likeness, time, count) {
                return true;
            }
        }
        let is_datagram = likeness.via == Via::Udp;
        if of_client >= MOST
            || self.rows.len() >= MOST_ROWS
            || (is_datagram && self.datagrams >= MOST_DATAGRAMS)
        {
            return false;
        }
        self.datagrams += usize::from(is_datagram);
        *self.of_client.entry(likeness.client).or_default() += 1;
        let at = self.rows.len();
        let likeness = Arc::new(likeness);
        self.newest.insert(Arc::clone(&likeness), at);
        self.changed.push(at);
        self.rows.push(Row { likeness, id: None, time, source_port, count, is_changed: true });
        true
    }

    /// Counts a contact in the row of its kind, if there is one whose minute is not over.
    fn grow(&mut self, likeness: &Likeness, time: i64, count: u32) -> bool {
        let Some(&at) = self.newest.get(likeness) else { return false };
        let row = &mut self.rows[at];
        if !(0..MINUTE).contains(&time.saturating_sub(row.time)) {
            return false;
        }
        row.count = row.count.saturating_add(count);
        if !std::mem::replace(&mut row.is_changed, true) {
            self.changed.push(at);
        }
        true
    }

    /// The rows that are not on the disk as they are now.
    pub(super) fn changed(&self) -> impl Iterator<Item = &Row> {
        self.changed.iter().map(|&at| &self.rows[at])
    }

    pub(super) fn is_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// All that [`Self::changed`] said is on the disk; `ids` are those of the rows that had none, in their order.
    pub(super) fn written(&mut self, ids: impl IntoIterator<Item = i64>) {
        let mut ids = ids.into_iter();
        for at in self.changed.drain(..) {
            let row = &mut self.rows[at];
            row.is_changed = false;
            if row.id.is_none() {
                row.id = ids.next();
            }
        }
    }

    /// Forgets the rows whose minute is over, unless they are still to be written.
    fn sweep(&mut self, time: i64) {
        self.swept = time;
        self.rows.retain(|row| row.is_changed || (0..MINUTE).contains(&time.saturating_sub(row.time)));
        self.newest.clear();
        self.of_client.clear();
        self.changed.clear();
        self.datagrams = 0;
        for (at, row) in self.rows.iter().enumerate() {
            // Of two of a kind the later one is the newer.
            match self.newest.entry(Arc::clone(&row.likeness)) {
                Entry::Occupied(mut newest) => {
                    newest.insert(at);
                }
                Entry::Vacant(place) => {
                    place.insert(at);
                }
            }
            *self.of_client.entry(row.likeness.client).or_default() += 1;
            self.datagrams += usize::from(row.likeness.via == Via::Udp);
            if row.is_changed {
                self.changed.push(at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::contact;
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn counts(rows: &Rows) -> Vec<u32> {
        rows.rows.iter().map(|row| row.count).collect()
    }

    #[test]
    fn alike_within_a_minute_is_one_row() {
        let mut rows = Rows::default();
        for (second, port) in [(0, 1), (1, 2), (59, 3), (60, 4), (61, 5)] {
            assert!(rows.add(Contact { time: second * SECOND, source_port: port, ..contact("a.example") }));
        }
        assert!(rows.add(Contact { time: 61 * SECOND, ..contact("b.example") }));
        assert_eq!(counts(&rows), [3, 2, 1]);
        assert_eq!(rows.rows.iter().map(|row| row.source_port).collect::<Vec<_>>(), [1, 4, 4444]);
        assert_eq!(rows.changed().count(), 3);
        rows.written([7, 8, 9]);
        assert_eq!(rows.changed().count(), 0);
        assert!(rows.add(Contact { time: 62 * SECOND, ..contact("b.example") }));
        assert_eq!(rows.changed().map(|row| (row.id, row.count)).collect::<Vec<_>>(), [(Some(9), 2)]);
    }

    #[test]
    fn a_clock_that_is_set_back_begins_new_rows() {
        let mut rows = Rows::default();
        rows.add(Contact { time: 100 * SECOND, ..contact("a.example") });
        rows.add(Contact { time: 10 * SECOND, ..contact("a.example") });
        rows.add(Contact { time: 11 * SECOND, ..contact("a.example") });
        assert_eq!(counts(&rows), [1, 2]);
    }

    #[test]
    fn one_client_makes_few_rows_and_loses_no_count() {
        let mut rows = Rows::default();
        for n in 0..5000 {
            let path = Some(format!("/{n}"));
            assert!(rows.add(Contact { path, ..contact(&format!("n{}.example", n % 1000)) }), "{n}");
        }
        assert!(rows.rows.len() <= MOST as usize, "{}", rows.rows.len());
        assert_eq!(counts(&rows).iter().sum::<u32>(), 5000);
        // Another client is not the poorer for it.
        let other = Contact { client: [10, 9, 9, 9].into(), ..contact("x.example") };
        assert!(rows.add(other));
        assert_eq!(rows.rows.last().unwrap().likeness.name.as_deref(), Some("x.example"));
    }

    #[test]
    fn datagrams_from_everywhere_leave_room_for_others() {
        let mut rows = Rows::default();
        let forged =
            |n: u32| Contact { client: IpAddr::from(n.to_be_bytes()), via: Via::Udp, ..contact("a.example") };
        let kept = (0..10_000).filter(|&n| rows.add(forged(n))).count();
        assert_eq!(kept, MOST_DATAGRAMS);
        assert!(rows.add(contact("a.example")));
        // … and after a minute there is room again.
        rows.written(0..);
        assert!(rows.add(Contact { time: MINUTE, ..forged(77_777) }));
        assert_eq!(rows.rows.len(), 1);
    }

    #[test]
    fn what_is_not_written_is_not_forgotten() {
        let mut rows = Rows::default();
        rows.add(contact("a.example"));
        for minute in 1..5 {
            rows.add(Contact { time: minute * MINUTE, ..contact("a.example") });
        }
        assert_eq!(rows.changed().count(), 5);
    }
}
