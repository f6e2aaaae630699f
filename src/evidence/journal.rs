//! The journal: takes records in batches and puts each batch into a segment with one write.
//!
//! One journal has one owner, so nothing is locked here. When the disk refuses, records are counted
//! as lost and the caller answers all the same: DNS comes first.

use std::fs::File;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::record::Record;
use super::segment::{self, Id, Writer};

/// How the log is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The folder of the segments.
    pub folder: PathBuf,
    /// A power cut loses at most this much.
    pub sync: Duration,
    /// Octets of all segments together; the oldest go first.
    pub max_bytes: u64,
}

/// Octets after which a segment is closed and the next one begun.
const SEGMENT_LEN: u64 = 64 << 20;

/// What all journals of a process share: the segments to sync, and what was lost.
#[derive(Debug, Default)]
pub struct Ledger {
    places: Mutex<Vec<Arc<Place>>>,
    written: AtomicU64,
    lost: AtomicU64,
}

/// One journal's open segment, as the syncing thread sees it.
#[derive(Debug, Default)]
struct Place {
    file: Mutex<Option<(File, PathBuf)>>,
    is_dirty: AtomicBool,
}

impl Ledger {
    /// Records written by all journals.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Records that could not be written.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Brings what was written since the last call to the disk. Blocks for as long as the disk does.
    pub fn sync(&self) {
        for place in self.places().iter() {
            if !place.is_dirty.swap(false, Ordering::AcqRel) {
                continue;
            }
            let file = lock(&place.file)
                .as_ref()
                .and_then(|(file, path)| Some((file.try_clone().ok()?, path.clone())));
            if let Some((file, path)) = file
                && let Err(error) = file.sync_data()
            {
                tracing::error!(path = %path.display(), %error, "syncing the query log failed; check the disk");
            }
        }
    }

    /// Removes the oldest closed segments until all together fit `options.max_bytes`.
    pub fn retire(&self, options: &Options) {
        let segments = match segment::list(&options.folder) {
            Ok(segments) => segments,
            Err(error) => {
                tracing::error!(path = %options.folder.display(), %error, "reading the query log's folder failed");
                return;
            }
        };
        let open: Vec<PathBuf> = self
            .places()
            .iter()
            .filter_map(|place| lock(&place.file).as_ref().map(|(_, path)| path.clone()))
            .collect();
        let mut total: u64 = segments.iter().map(|segment| segment.len).sum();
        for segment in segments.iter().filter(|segment| !open.contains(&segment.path)) {
            if total <= options.max_bytes {
                break;
            }
            match std::fs::remove_file(&segment.path) {
                Ok(()) => {
                    total -= segment.len;
                    tracing::info!(path = %segment.path.display(), "retired the oldest records: log.max_bytes is reached");
                }
                Err(error) => {
                    tracing::error!(path = %segment.path.display(), %error, "an old segment cannot be removed");
                }
            }
        }
    }

    fn places(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Place>>> {
        lock(&self.places)
    }
}

/// A poisoned lock only means that another thread panicked; what it guards here is always whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the records of one worker.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    number: u16,
    ledger: Arc<Ledger>,
    place: Arc<Place>,
    segment: Option<Writer>,
    batch: Vec<u8>,
    pending: u64,
    is_failing: bool,
}

impl Journal {
    /// Opens the journal of writer `number`; its first segment is begun with its first record.
    ///
    /// # Errors
    /// What the system said when the folder was made.
    pub fn open(folder: &Path, number: u16, ledger: &Arc<Ledger>) -> std::io::Result<Self> {
        // Who asked for what is nobody's business but the staff's.
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let place = Arc::new(Place::default());
        ledger.places().push(Arc::clone(&place));
        Ok(Self {
            folder: folder.to_owned(),
            number,
            ledger: Arc::clone(ledger),
            place,
            segment: None,
            batch: Vec::new(),
            pending: 0,
            is_failing: false,
        })
    }

    /// Adds a record to the batch.
    pub fn add(&mut self, record: &Record<'_>) {
        segment::frame(record, &mut self.batch);
        self.pending += 1;
    }

    /// Writes the batch. After this, and not before, its answers may leave.
    ///
    /// `now` names the next segment, in microseconds since 1970. Never fails: what cannot be written
    /// is counted and reported once.
    pub fn commit(&mut self, now: i64) {
        if self.batch.is_empty() {
            return;
        }
        match self.write(now) {
            Ok(()) => {
                self.ledger.written.fetch_add(self.pending, Ordering::Relaxed);
                self.place.is_dirty.store(true, Ordering::Release);
                if self.is_failing {
                    self.is_failing = false;
                    tracing::warn!(lost = self.ledger.lost(), "the query log is being written again");
                }
            }
            Err(error) => {
                self.ledger.lost.fetch_add(self.pending, Ordering::Relaxed);
                if !self.is_failing {
                    self.is_failing = true;
                    tracing::error!(
                        folder = %self.folder.display(), %error,
                        "records are being LOST: the query log cannot be written; free disk space or mend the disk"
                    );
                }
            }
        }
        self.batch.clear();
        self.pending = 0;
    }

    fn write(&mut self, now: i64) -> std::io::Result<()> {
        if self.segment.as_ref().is_some_and(|segment| segment.len() >= SEGMENT_LEN) {
            self.close();
        }
        let segment = match &mut self.segment {
            Some(segment) => segment,
            none => {
                let writer = Writer::create(&self.folder, Id { created: now, writer: self.number })?;
                *lock(&self.place.file) = Some((writer.file().try_clone()?, writer.path().to_owned()));
                none.insert(writer)
            }
        };
        segment.append(&self.batch)
    }

    /// Syncs and closes the open segment.
    fn close(&mut self) {
        let Some(segment) = self.segment.take() else { return };
        *lock(&self.place.file) = None;
        if let Err(error) = segment.file().sync_data() {
            tracing::error!(path = %segment.path().display(), %error, "syncing the query log failed; check the disk");
        }
        if segment.is_empty() {
            let _ = std::fs::remove_file(segment.path());
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::sample;
    use super::*;
    use crate::evidence::store::{Filter, Store as _, segments::Segments};

    #[test]
    fn a_refusing_disk_loses_records_and_counts_them() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("log");
        let ledger = Arc::new(Ledger::default());
        let mut journal = Journal::open(&place, 0, &ledger).unwrap();
        std::fs::remove_dir(&place).unwrap();
        journal.add(&sample(1));
        journal.add(&sample(2));
        journal.commit(2);
        assert_eq!((ledger.written(), ledger.lost()), (0, 2));

        std::fs::create_dir(&place).unwrap();
        journal.add(&sample(3));
        journal.commit(3);
        assert_eq!((ledger.written(), ledger.lost()), (1, 2));
        let mut times = Vec::new();
        Segments::new(&place)
            .newest_first(&Filter::default(), &mut |record| {
                times.push(record.time);
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(times, [3]);
    }

    #[test]
    fn the_oldest_segments_are_retired_and_open_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Arc::new(Ledger::default());
        for time in [10, 20] {
            let mut journal = Journal::open(folder.path(), 0, &Arc::new(Ledger::default())).unwrap();
            journal.add(&sample(time));
            journal.commit(time);
        }
        let mut journal = Journal::open(folder.path(), 0, &ledger).unwrap();
        journal.add(&sample(5));
        journal.commit(5);
        let created = || {
            segment::list(folder.path()).unwrap().iter().map(|segment| segment.id.created).collect::<Vec<_>>()
        };
        assert_eq!(created(), [5, 10, 20]);
        let len = segment::list(folder.path()).unwrap()[0].len;
        let options = Options { folder: folder.path().to_owned(), sync: Duration::ZERO, max_bytes: 2 * len };
        ledger.retire(&options);
        assert_eq!(created(), [5, 20]);
        ledger.retire(&Options { max_bytes: 0, ..options });
        assert_eq!(created(), [5], "the open segment stays");
    }
}
