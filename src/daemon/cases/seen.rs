//! Who was seen asking for anything: a day on which a machine asks and does not hit is a quiet one.

use std::collections::HashSet;

use super::intake::Trouble;
use super::who::Asker;
use crate::cases::Desk;
use crate::evidence::record::Record;
use crate::identity::Book;

/// That somebody asks is told once in this time, in microseconds.
const SLOT: i64 = 600_000_000;
/// Most who are remembered to have asked.
const MOST: usize = 65_536;

/// Who was seen asking, and whether that was told.
#[derive(Default)]
pub(super) struct Seen {
    slot: i64,
    noted: HashSet<Asker>,
    /// With the agency and the time.
    untold: Vec<(Asker, Option<Box<str>>, i64)>,
}

impl Seen {
    pub(super) fn add(&mut self, record: &Record<'_>) {
        let slot = record.time.div_euclid(SLOT);
        // A clock that is set back begins anew too.
        if slot != self.slot {
            self.slot = slot;
            self.noted.clear();
        }
        let asker = Asker::of(record);
        // What is not told for long is kept short.
        if self.noted.len() < MOST && self.untold.len() < MOST && self.noted.insert(asker) {
            self.untold.push((asker, record.agency.as_deref().map(Box::from), record.time));
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.untold.len() >= MOST || self.noted.len() >= MOST
    }

    /// Tells the desk.
    pub(super) fn tell(&mut self, desk: &Desk, book: &Book, now: i64) -> Result<(), Trouble> {
        if self.untold.is_empty() {
            return Ok(());
        }
        let mut seen = Vec::with_capacity(self.untold.len());
        for (asker, agency, time) in &self.untold {
            // Of whom the book does not know there is no case.
            if let Some(person) = asker.known(book, *time, agency.as_deref())? {
                seen.push((person.subject, *time));
            }
        }
        desk.asked(&seen, now)?;
        self.untold.clear();
        if self.noted.len() >= MOST {
            self.noted.clear();
        }
        Ok(())
    }
}
