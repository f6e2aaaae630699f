//! Which machine was behind an address at a time; each question is asked of the book once.
//!
//! Between the times at which claims to an address begin or end, the same machine is behind it: so the book is asked once for each
//! such stretch, not for each query.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::evidence::store::Asked;
use crate::identity::{Book, BookError, Hints, MachineId, Who};
use crate::mac::Mac;

/// What counts as one machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Person {
    /// A machine that a source knows.
    Machine(MachineId),
    /// A hardware address that a forwarder told and no source knows.
    Mac(Mac),
    /// An address of which nobody says whose it is, or several do.
    Address(IpAddr),
}

/// Someone, and from when until when (exclusive) the same address is the same one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) person: Person,
    pub(super) from: i64,
    pub(super) to: i64,
}

/// Answers from the book.
pub(super) struct People<'a> {
    book: Option<&'a Book>,
    agencies: HashMap<Box<str>, u32>,
    /// The times at which something changes, of each address.
    changes: HashMap<IpAddr, Arc<[i64]>>,
    known: HashMap<(IpAddr, Option<Mac>, u32, usize), Person>,
}

/// Questions that are remembered; then all is forgotten, and asked anew.
const MOST_KNOWN: usize = 1 << 20;

impl<'a> People<'a> {
    pub(super) fn new(book: Option<&'a Book>) -> Self {
        Self { book, agencies: HashMap::new(), changes: HashMap::new(), known: HashMap::new() }
    }

    /// Who asked. What is only known from a summary is asked for in the middle of its time.
    pub(super) fn asked(&mut self, asked: &Asked<'_>) -> Result<Found, BookError> {
        let at = asked.first + (asked.last - asked.first) / 2;
        self.find(asked.source(), asked.mac, asked.agency, at)
    }

    /// Who was behind an address. A hardware address of the machine's own that was told decides.
    pub(super) fn find(
        &mut self,
        address: IpAddr,
        mac: Option<Mac>,
        agency: Option<&str>,
        at: i64,
    ) -> Result<Found, BookError> {
        let mac = mac.filter(|mac| !mac.is_random());
        let unknown = mac.map_or(Person::Address(address), Person::Mac);
        let Some(book) = self.book else {
            return Ok(Found { person: unknown, from: i64::MIN, to: i64::MAX });
        };
        if self.known.len() >= MOST_KNOWN || self.changes.len() >= MOST_KNOWN {
            self.known.clear();
            self.changes.clear();
        }
        let changes = match self.changes.get(&address) {
            Some(changes) => Arc::clone(changes),
            None => {
                let holders = book.holders(address)?;
                let mut times: Vec<i64> =
                    holders.iter().flat_map(|held| [Some(held.from), held.to]).flatten().collect();
                times.sort_unstable();
                times.dedup();
                let times: Arc<[i64]> = times.into();
                self.changes.insert(address, Arc::clone(&times));
                times
            }
        };
        let part = changes.partition_point(|time| *time <= at);
        let from = part.checked_sub(1).map_or(i64::MIN, |before| changes[before]);
        let to = changes.get(part).copied().unwrap_or(i64::MAX);
        let agency_number = match agency {
            None => 0,
            Some(id) => match self.agencies.get(id) {
                Some(number) => *number,
                None => {
                    // Agencies are far fewer than numbers.
                    let number = self.agencies.len() as u32 + 1;
                    self.agencies.insert(id.into(), number);
                    number
                }
            },
        };
        let key = (address, mac, agency_number, part);
        let person = match self.known.get(&key) {
            Some(person) => *person,
            None => {
                let person = match book.who(address, at, &Hints { mac, host: None, agency })? {
                    Who::Machine(machine) => Person::Machine(machine.id),
                    Who::Conflict(_) | Who::Unknown => unknown,
                };
                self.known.insert(key, person);
                person
            }
        };
        Ok(Found { person, from, to })
    }
}
