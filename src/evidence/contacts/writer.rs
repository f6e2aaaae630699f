//! The thread that writes contacts, and keeps what is written within its bounds.
//!
//! Contacts that come within a twentieth of a second are one transaction. While the disk refuses, what came is kept in
//! memory as far as [`Rows`] has room, and written once it can be.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::alike::Rows;
use super::database::Database;
use super::{Contact, Missed, Options, Why};
use crate::clock;
use crate::database::DatabaseError;

/// How long others are waited for behind the first.
const GATHER: Duration = Duration::from_millis(50);
/// Contacts of one transaction at the most.
const BATCH: usize = 4096;
/// How often a gap is looked for while nothing comes, and how long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How often what is too old or too much is looked for.
const EXPIRE_EVERY: Duration = Duration::from_secs(300);
/// The least time between two reports of one trouble.
const REPORT: Duration = Duration::from_secs(600);
/// Beside busy workers, this waits.
const NICE: i32 = 10;

#[derive(Debug)]
pub(super) struct Writer {
    database: Database,
    options: Options,
    missed: Arc<Missed>,
    rows: Rows,
    is_failing: bool,
    told: Option<Instant>,
    expired: Option<Instant>,
}

impl Writer {
    pub(super) fn new(database: Database, options: Options, missed: Arc<Missed>) -> Self {
        let rows = Rows::default();
        Self { database, options, missed, rows, is_failing: false, told: None, expired: None }
    }

    /// Writes until nobody can hand anything in any more.
    pub(super) fn run(&mut self, contacts: &Receiver<Contact>) {
        // Of this thread only, as Linux has it.
        let _ = rustix::process::setpriority_process(None, NICE);
        loop {
            // A panic is a bug; it must not end the writing.
            match catch_unwind(AssertUnwindSafe(|| self.round(contacts))) {
                Ok(true) => return,
                Ok(false) => {}
                Err(_) => std::thread::sleep(RETRY),
            }
        }
    }

    /// Takes in what comes, and writes it; true when it was the last.
    fn round(&mut self, contacts: &Receiver<Contact>) -> bool {
        let is_over = match contacts.recv_timeout(RETRY) {
            Ok(first) => {
                self.take_in(first);
                self.gather(contacts)
            }
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => true,
        };
        let now = Instant::now();
        if let Err(error) = self.write() {
            self.is_failing = true;
            self.tell(now, &error);
            if !is_over {
                std::thread::sleep(RETRY);
            }
            return is_over;
        }
        if std::mem::take(&mut self.is_failing) {
            tracing::warn!("the sinkhole's contacts can be written again");
            self.told = None;
        }
        let is_due = self.expired.is_none_or(|last| now.saturating_duration_since(last) >= EXPIRE_EVERY);
        if is_due && !is_over {
            self.expire(now, clock::now());
        }
        is_over
    }

    /// Takes in what comes soon; true when there will be no more.
    fn gather(&mut self, contacts: &Receiver<Contact>) -> bool {
        let until = Instant::now() + GATHER;
        for _ in 1..BATCH {
            match contacts.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(contact) => self.take_in(contact),
                Err(RecvTimeoutError::Timeout) => return false,
                Err(RecvTimeoutError::Disconnected) => return true,
            }
        }
        false
    }

    fn take_in(&mut self, contact: Contact) {
        let (time, count) = (contact.time, contact.count);
        if !self.rows.add(contact) {
            self.missed.add(time, count, if self.is_failing { Why::Disk } else { Why::Flood });
        }
    }

    fn write(&mut self) -> Result<(), DatabaseError> {
        let gap = self.missed.take();
        if !self.rows.is_changed() && gap.is_none() {
            return Ok(());
        }
        match self.database.write(self.rows.changed(), gap.as_ref()) {
            Ok(ids) => {
                self.rows.written(ids);
                Ok(())
            }
            Err(error) => {
                if let Some(gap) = gap {
                    self.missed.give_back(gap);
                }
                Err(error)
            }
        }
    }

    fn expire(&mut self, now: Instant, clock: i64) {
        let keep = i64::try_from(self.options.keep.as_micros()).unwrap_or(i64::MAX);
        match self.database.expire(clock.saturating_sub(keep), self.options.size) {
            // The next part comes after what waits is written.
            Ok(true) => {}
            Ok(false) => self.expired = Some(now),
            Err(error) => {
                self.expired = Some(now);
                self.tell(now, &error);
            }
        }
    }

    fn tell(&mut self, now: Instant, error: &DatabaseError) {
        if self.told.is_none_or(|told| now.saturating_duration_since(told) >= REPORT) {
            self.told = Some(now);
            tracing::error!(%error, "the sinkhole's contacts cannot be written; it is tried again each second, check the disk");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::super::tests::contact;
    use super::super::{ContactFilter, Reader};
    use super::*;

    #[test]
    fn what_a_full_disk_refuses_is_written_once_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let missed = Arc::<Missed>::default();
        let database = Database::open(folder.path()).unwrap();
        let mut writer = Writer::new(database, Options::default(), Arc::clone(&missed));
        let from = |n: u32| Contact {
            client: IpAddr::from((0x0a00_0000 + n).to_be_bytes()),
            path: Some("x".repeat(500)),
            ..contact("evil.example")
        };
        writer.take_in(from(0));
        writer.write().unwrap();
        writer.database.leave(1);
        for n in 0..200 {
            writer.take_in(from(n));
        }
        missed.add(7, 3, Why::Disk);
        assert!(writer.write().is_err());
        assert!(writer.write().is_err());
        writer.take_in(from(0));
        writer.database.leave(10_000);
        writer.write().unwrap();
        let reader = Reader::open(folder.path()).unwrap();
        let rows = reader.find(&ContactFilter::default()).unwrap();
        assert_eq!((rows.len(), rows.iter().map(|row| row.count).sum::<u32>()), (200, 202));
        let gaps = reader.gaps(None, None).unwrap();
        assert_eq!(gaps.iter().map(|gap| (gap.count, gap.why)).collect::<Vec<_>>(), [(3, Why::Disk)]);
        // And nothing is written twice.
        writer.write().unwrap();
        assert_eq!(reader.find(&ContactFilter::default()).unwrap(), rows);
    }
}
