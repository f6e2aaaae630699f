//! The journal: takes records in batches and puts each batch into a segment with one write.
//!
//! One journal has one owner, so nothing is locked here. When the disk refuses, records are counted
//! as lost and the caller answers all the same: DNS comes first. Syncing, closing and removing
//! segments is the [keeper](super::keeper)'s work, which also makes the next one ahead; only
//! where that is late does a journal make its segment itself.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::ledger::{Ledger, Place, RETRY, is_within};
use super::record::{self, Head, Record, Transport};
use super::segment::{Block, Writer};

/// How the log is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The folder of the segments.
    pub folder: PathBuf,
    /// A power cut loses at most this much.
    pub sync: Duration,
    /// Octets of all segments together, at least [`Self::LEAST_SIZE`]; the oldest go first.
    pub max_size: u64,
}

impl Options {
    /// The least `max_size`: room for the open segments of many workers and some history.
    pub const LEAST_SIZE: u64 = 64 << 20;
}

/// Takes the records of one worker.
#[derive(Debug)]
pub struct Journal {
    ledger: Arc<Ledger>,
    place: Arc<Place>,
    segment: Option<Writer>,
    batch: Block,
    /// Records of this batch that were not taken, for the last room is for hits.
    dropped: u64,
    /// When writing failed, microseconds since 1970; `None` once it went well again.
    failed: Option<i64>,
}

impl Journal {
    /// Opens the journal of writer `number`; its first segment is begun with its first record.
    pub fn open(number: u16, ledger: &Arc<Ledger>) -> Self {
        Self {
            ledger: Arc::clone(ledger),
            place: ledger.join(number),
            segment: None,
            batch: Block::default(),
            dropped: 0,
            failed: None,
        }
    }

    /// Counts a query that was answered, whether or not its record is added.
    #[inline]
    pub fn count(&self, record: &Record<'_>) {
        self.place.tally.count(record);
    }

    /// … whose record's tail was encoded before.
    #[inline]
    pub fn count_tail(&self, transport: Transport, tail: &[u8]) {
        self.place.tally.count_tail(transport, tail);
    }

    /// Adds a record to the batch.
    pub fn add(&mut self, record: &Record<'_>) {
        if self.takes(record.is_hit) {
            self.make_room(record.time);
            self.batch.add(record);
        }
    }

    /// Adds a record whose tail was encoded before.
    pub fn add_with_tail(&mut self, head: &Head<'_>, tail: &[u8]) {
        if self.takes(record::is_hit(tail)) {
            self.make_room(head.time);
            self.batch.add_with_tail(head, tail);
        }
    }

    /// Writes a batch that has become very large, before its time.
    fn make_room(&mut self, now: i64) {
        if self.batch.is_full() {
            self.commit(now);
        }
    }

    fn takes(&mut self, is_hit: bool) -> bool {
        let is_taken = is_hit || !self.ledger.space().is_scarce();
        self.dropped += u64::from(!is_taken);
        is_taken
    }

    /// Writes the batch. After this, and not before, its answers may leave.
    ///
    /// `now` is in microseconds since 1970. Never fails: what cannot be written is counted and
    /// reported once, and for a second afterwards nothing is tried. On a full disk hits come first: see
    /// `evidence::space`.
    pub fn commit(&mut self, now: i64) {
        if self.dropped > 0 {
            self.ledger.drop_records(std::mem::take(&mut self.dropped), now);
        }
        let mut count = self.batch.span().count;
        if count == 0 {
            return;
        }
        if self.failed.is_some_and(|failed| is_within(now, failed, RETRY)) {
            self.ledger.lose(count, now);
        } else {
            let mut written = self.write();
            if written.as_ref().is_err_and(is_full) {
                // The last room is for hits.
                self.ledger.space().run_out();
                self.batch.retain_hits();
                let hits = self.batch.span().count;
                if count > hits {
                    self.ledger.drop_records(count - hits, now);
                }
                count = hits;
                if count == 0 {
                    // Nothing was tried, so nothing went well.
                    return self.batch.clear();
                }
                written = self.write();
            }
            match written {
                Ok(()) => {
                    self.failed = None;
                    self.ledger.wrote(&self.place, count, now);
                }
                Err(error) => {
                    self.failed = Some(now);
                    self.ledger.refused(count, now, &error);
                }
            }
        }
        self.batch.clear();
    }

    fn write(&mut self) -> io::Result<()> {
        if self.place.take_displaced() {
            self.close();
        }
        let is_fit = |segment: &Writer| {
            segment.is_empty() || segment.len_with(&self.batch) <= self.ledger.segment_len()
        };
        if !self.segment.as_ref().is_none_or(is_fit) {
            self.close();
        }
        let segment = match &mut self.segment {
            Some(segment) => segment,
            none => none.insert(self.ledger.begin(&self.place)?),
        };
        let written = segment.append(&mut self.batch);
        if let Err(error) = &written {
            // A full disk refuses every file alike; any other fault may lie in this one.
            if segment.is_torn() || !is_full(error) && !segment.is_empty() {
                self.close();
            }
        }
        written
    }

    fn close(&mut self) {
        if let Some(segment) = self.segment.take() {
            self.ledger.close(&self.place, segment);
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.close();
        self.ledger.leave(&self.place);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::record::tests::sample;
    use super::super::segment;
    use super::*;
    use crate::evidence::store::embedded::Embedded;
    use crate::evidence::store::{Filter, Page, Store as _, Unwatched};

    const SECOND: i64 = 1_000_000;

    pub(crate) fn options(folder: &Path) -> Options {
        Options { folder: folder.to_owned(), sync: Duration::ZERO, max_size: Options::LEAST_SIZE }
    }

    pub(crate) fn write(journal: &mut Journal, time: i64) {
        journal.add(&sample(time));
        journal.commit(time);
    }

    pub(crate) fn times(folder: &Path) -> Vec<i64> {
        let mut times = Vec::new();
        Embedded::new(folder)
            .newest_first(&Filter::default(), Page::default(), &mut Unwatched, &mut |record| {
                times.push(record.time);
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
        times
    }

    #[test]
    fn a_refusing_disk_loses_records_and_counts_them() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("log");
        let ledger = Ledger::open(&options(&place)).unwrap();
        let mut journal = Journal::open(0, &ledger);
        fs::remove_dir(&place).unwrap();
        journal.add(&sample(1));
        journal.add(&sample(2));
        journal.commit(2);
        assert_eq!((ledger.written(), ledger.lost()), (0, 2));

        fs::create_dir(&place).unwrap();
        // Nothing is tried for a second.
        write(&mut journal, 3);
        assert_eq!((ledger.written(), ledger.lost()), (0, 3));
        assert_eq!(fs::read_dir(&place).unwrap().count(), 0);
        write(&mut journal, 2 + SECOND);
        assert_eq!((ledger.written(), ledger.lost()), (1, 3));
        assert_eq!(times(&place), [2 + SECOND]);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_prolong_the_wait() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("log");
        let ledger = Ledger::open(&options(&place)).unwrap();
        let mut journal = Journal::open(0, &ledger);
        fs::remove_dir(&place).unwrap();
        write(&mut journal, 1000 * SECOND);
        fs::create_dir(&place).unwrap();
        write(&mut journal, 10 * SECOND);
        assert_eq!((ledger.written(), ledger.lost()), (1, 1));
    }

    #[test]
    fn a_batch_that_cannot_be_cut_off_ends_its_segment() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&options(folder.path())).unwrap();
        let mut journal = Journal::open(0, &ledger);
        // Writes fail, and so does set_len.
        journal.segment = Some(segment::tests::over("/dev/full", folder.path()));
        journal.add(&sample(1));
        journal.add(&Record { is_hit: false, ..sample(1) });
        journal.commit(1);
        // A new segment takes the hit; the other record made room for it.
        assert_eq!((ledger.written(), ledger.lost(), ledger.dropped()), (1, 0, 1));
        write(&mut journal, 2 + SECOND);
        assert_eq!((ledger.written(), ledger.lost()), (2, 0));
        assert_eq!(times(folder.path()), [2 + SECOND, 1]);
        assert!(folder.path().join("device").exists(), "it may hold part of a batch: it is kept");
    }

    #[test]
    fn what_could_not_be_synced_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&options(folder.path())).unwrap();
        let mut journal = Journal::open(0, &ledger);
        write(&mut journal, 1);
        ledger.sync().unwrap();
        // Takes octets, and cannot be synced.
        let null = segment::tests::over("/dev/null", folder.path());
        ledger.register(&journal.place, &null);
        journal.segment = Some(null);
        write(&mut journal, 2);
        for _ in 0..2 {
            let (path, _) = ledger.sync().unwrap_err();
            assert_eq!(path, folder.path().join("device"));
        }
    }

    #[test]
    fn a_very_large_batch_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&options(folder.path())).unwrap();
        let mut journal = Journal::open(0, &ledger);
        let count = 20_000;
        for time in 0..count {
            journal.add(&sample(time));
        }
        journal.commit(count);
        assert_eq!((ledger.written(), ledger.lost()), (count as u64, 0));
        assert_eq!(times(folder.path()).len() as i64, count);
    }

    #[test]
    fn numbers_go_on_behind_those_on_disk_and_are_shared() {
        let folder = tempfile::tempdir().unwrap();
        let numbers = || -> Vec<(u64, u16)> {
            let listed = segment::list(folder.path()).unwrap();
            listed.iter().map(|segment| (segment.id.number, segment.id.writer)).collect()
        };
        for _ in 0..2 {
            let ledger = Ledger::open(&options(folder.path())).unwrap();
            let mut journals = [0, 1].map(|number| Journal::open(number, &ledger));
            // The clock is set back between the processes, and within them.
            for (journal, time) in journals.iter_mut().zip([9, 5]) {
                write(journal, time);
            }
        }
        assert_eq!(numbers(), [(1, 0), (2, 1), (3, 0), (4, 1)]);
        // A number that is taken meanwhile is passed over.
        let ledger = Ledger::open(&options(folder.path())).unwrap();
        fs::write(folder.path().join("0000000005-000.seg"), "").unwrap();
        write(&mut Journal::open(0, &ledger), 1);
        assert_eq!(numbers().last(), Some(&(6, 0)));
    }
}
