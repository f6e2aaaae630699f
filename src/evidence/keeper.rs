//! The keeper: the thread that does the disk work which must not hold up a query.
//!
//! Syncs what was written, makes each journal's next segment ahead, seals those that were closed,
//! keeps all of them, and what was archived of them, together within `log.max_size` (of which summaries may take a quarter), looks how much
//! room the disk has, and seals what killed processes left.
//!
//! A leftover that ends with a whole record gets its trailer, one without any record is removed, and
//! one whose tail is torn stays as it is: the tail is evidence too, and nothing is ever written
//! behind or over it. Such a file has no trailer for good, so each search reads it whole; there is at
//! most one of each writer and power cut, until it is retired.
//!
//! Retiring goes by the latest record, not by number: a quiet writer's segment may have a low number
//! and new records. Open segments count as full, whatever they hold, so that what the writers add
//! until the next look has its room already.

use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::ledger::{Ledger, finish};
use super::segment::{self, End, Id, Segment, Span, Writer};
use super::store::embedded::store_folder;
use super::store::{FileName, Gap, Why};

/// How often the log's size is looked at when no segment was closed.
const RETIRE_EVERY: Duration = Duration::from_secs(60);
/// How often the room on the disk is.
const SPACE_EVERY: Duration = Duration::from_secs(1);
/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// The least time between two reports of one trouble.
const REPORT: Duration = Duration::from_secs(60);
/// The least wait between two rounds, however short `log.sync` is.
const PAUSE: Duration = Duration::from_millis(1);
/// Most closed segments that are kept open because sealing them failed.
const MOST_CLOSING: usize = 64;

/// The running thread. When it is stopped or dropped, it finishes what it was left first.
#[derive(Debug)]
pub struct Keeper {
    is_stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts keeping the log of these journals.
    ///
    /// # Errors
    /// The system has no threads left.
    pub fn start(ledger: &Arc<Ledger>) -> io::Result<Self> {
        let is_stopping = Arc::new(AtomicBool::new(false));
        let (stopping, mut work) = (Arc::clone(&is_stopping), Work::new(ledger));
        let thread = std::thread::Builder::new().name("log".to_owned()).spawn(move || work.run(&stopping))?;
        Ok(Self { is_stopping, thread: Some(thread) })
    }

    /// Syncs everything, seals what was closed, and ends. Journals that are closed later seal their
    /// segments themselves.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.is_stopping.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic was reported already.
            let _ = thread.join();
        }
    }
}

/// What the thread has to do, a round at a time.
struct Work {
    ledger: Arc<Ledger>,
    /// Segments of earlier processes that were not looked at yet; `None` until they are listed.
    leftovers: Option<Vec<Segment>>,
    closing: Vec<Writer>,
    /// The latest record of each closed segment, as far as it was asked for.
    latest: HashMap<Id, i64>,
    synced: Option<Instant>,
    measured: Option<Instant>,
    looked: Option<Instant>,
    failed: Option<Instant>,
    told: HashMap<&'static str, Instant>,
}

impl Work {
    fn new(ledger: &Arc<Ledger>) -> Self {
        Self {
            ledger: Arc::clone(ledger),
            leftovers: None,
            closing: Vec::new(),
            latest: HashMap::new(),
            synced: None,
            measured: None,
            looked: None,
            failed: None,
            told: HashMap::new(),
        }
    }

    fn run(&mut self, is_stopping: &AtomicBool) {
        self.ledger.open_desk(std::thread::current());
        while !is_stopping.load(Ordering::Acquire) {
            // A panic is a bug; it must not end the keeping.
            let wait = catch_unwind(AssertUnwindSafe(|| self.round(Instant::now())));
            // A wake-up between the two is not lost: then parking returns at once.
            std::thread::park_timeout(wait.unwrap_or(RETRY));
        }
        loop {
            let _ = catch_unwind(AssertUnwindSafe(|| self.finish(Instant::now())));
            if self.ledger.close_desk() {
                return;
            }
        }
    }

    /// Does what is due; returns how long nothing will be, unless somebody wakes us.
    fn round(&mut self, now: Instant) -> Duration {
        let is_retry = self.failed.is_none_or(|failed| now.saturating_duration_since(failed) >= RETRY);
        if is_retry {
            self.failed = None;
            // First, since a worker may be waiting for one.
            self.make_spares(now);
        }
        self.sync_if_due(now);
        self.measure_if_due(now);
        let mut is_look_due = left(self.looked, now, RETIRE_EVERY).is_none_or(|left| left.is_zero());
        let closed = self.ledger.take_closed();
        is_look_due |= !closed.is_empty();
        self.closing.extend(closed);
        if is_retry || is_look_due {
            self.seal(now);
        }
        let is_one_left = self.seal_leftover(now);
        if is_look_due {
            self.looked = Some(now);
            self.retire(now);
            self.ledger.wake_archiver();
        }
        if is_one_left {
            return Duration::ZERO;
        }
        let sync = self.ledger.options().sync;
        [(self.synced, sync), (self.measured, SPACE_EVERY), (self.looked, RETIRE_EVERY), (self.failed, RETRY)]
            .into_iter()
            .filter_map(|(last, every)| left(last, Instant::now(), every))
            .min()
            .unwrap_or(RETIRE_EVERY)
            .max(PAUSE)
    }

    /// The last round.
    fn finish(&mut self, now: Instant) {
        self.closing.extend(self.ledger.take_spares());
        self.closing.extend(self.ledger.take_closed());
        self.seal(now);
        self.synced = None;
        self.sync_if_due(now);
    }

    fn make_spares(&mut self, now: Instant) {
        for place in self.ledger.places() {
            if let Err(error) = self.ledger.make_spare(&place) {
                // Nothing is lost by this yet.
                let folder = self.ledger.options().folder.clone();
                self.fault(now, &folder, &error, "the query log's next segment cannot be made");
                return;
            }
        }
    }

    fn sync_if_due(&mut self, now: Instant) {
        if left(self.synced, now, self.ledger.options().sync).is_some_and(|left| !left.is_zero()) {
            return;
        }
        self.synced = Some(now);
        if let Err((path, error)) = self.ledger.sync() {
            self.fault(now, &path, &error, "syncing the query log failed; check the disk");
        }
        let moved = "the query log was moved or removed under the server; records of about the last log.sync went \
                     with it, and it goes on in new files";
        match self.ledger.recover_displaced() {
            Ok(None) => {}
            Ok(Some(path)) => self.fault(now, &path, &io::ErrorKind::NotFound.into(), moved),
            Err(error) => {
                let folder = self.ledger.options().folder.clone();
                self.fault(now, &folder, &error, "the query log's folder is gone and cannot be made again");
            }
        }
    }

    fn measure_if_due(&mut self, now: Instant) {
        if left(self.measured, now, SPACE_EVERY).is_some_and(|left| !left.is_zero()) {
            return;
        }
        self.measured = Some(now);
        if let Err(error) = self.ledger.space().look() {
            let folder = self.ledger.options().folder.clone();
            self.fault(now, &folder, &error, "no room can be held back for hits on the query log's disk");
        }
    }

    fn seal(&mut self, now: Instant) {
        for segment in std::mem::take(&mut self.closing) {
            let Err(error) = finish(&segment) else { continue };
            self.fault(
                now,
                segment.path(),
                &error,
                "closing a segment of the query log failed; check the disk",
            );
            // What is not kept lacks its trailer until the next start.
            if self.closing.len() < MOST_CLOSING {
                self.closing.push(segment);
            }
        }
    }

    /// Seals one segment of an earlier process; returns whether there may be more.
    fn seal_leftover(&mut self, now: Instant) -> bool {
        let (folder, first) = (&self.ledger.options().folder, self.ledger.first());
        let leftovers = self.leftovers.get_or_insert_with(|| {
            let mut listed = segment::list(folder).unwrap_or_default();
            listed.retain(|segment| segment.id.number < first);
            listed
        });
        let Some(segment) = leftovers.pop() else { return false };
        if let Err(error) = tidy(&segment)
            && error.kind() != io::ErrorKind::NotFound
        {
            self.fault(now, &segment.path, &error, "a segment that a killed process left cannot be closed");
        }
        true
    }

    /// Removes the oldest of closed segments and files until all together fit `log.max_size`.
    fn retire(&mut self, now: Instant) {
        let (folder, max_size) = (self.ledger.options().folder.clone(), self.ledger.options().max_size);
        // In this order: see `Ledger::in_use`.
        let listed = segment::list(&folder);
        let in_use = self.ledger.in_use();
        let (mut segments, files) = match listed.and_then(|segments| Ok((segments, archived(&folder)?))) {
            Ok(found) => found,
            Err(error) => return self.fault(now, &folder, &error, "reading the query log's folder failed"),
        };
        segments.retain(|segment| !in_use.contains(&segment.id));
        let (summaries, files): (Vec<Old>, Vec<Old>) = files.into_iter().partition(|it| it.is_summary);
        let summaries = self.shrink(summaries, max_size / 4, now);
        let max_size = max_size.saturating_sub(summaries);
        let lens = segments.iter().map(|segment| segment.len).chain(files.iter().map(|file| file.len));
        let mut total = lens.fold(self.ledger.reserve(), u64::saturating_add);
        if total <= max_size {
            return;
        }
        let known = std::mem::take(&mut self.latest);
        self.latest = segments
            .iter()
            .map(|it| (it.id, known.get(&it.id).copied().unwrap_or_else(|| latest(it))))
            .collect();
        let mut oldest: Vec<Old> = files;
        oldest.extend(segments.into_iter().map(|it| {
            let latest = self.latest.get(&it.id).copied().unwrap_or(it.modified);
            let (number, len, paths) = (it.id.number, it.len, vec![it.path.clone()]);
            Old { latest, number, len, paths, segment: Some(it), is_summary: false }
        }));
        // What somebody else has goes before what nobody has.
        let owed = self.ledger.owed();
        let is_owed = |old: &Old| match old.segment {
            Some(_) => owed.is_on(),
            None => owed.is_owed(old.number),
        };
        oldest.sort_by_cached_key(|old| (is_owed(old), old.latest, old.number));
        let mut count = 0;
        for old in &oldest {
            if total <= max_size {
                break;
            }
            let lost = old.segment.as_ref().and_then(|it| it.sealed_span().ok().flatten());
            if !self.remove(old, now) {
                // The next ones are newer: better too much than a gap.
                break;
            }
            if let Some(Span { earliest, latest, count }) = lost {
                // Even its hits are gone: nobody archived it.
                self.ledger.note_gap(Gap { earliest, latest, count, why: Why::TooLarge, place: None });
            }
            total -= old.len;
            count += 1;
        }
        if count > 0 {
            tracing::info!(parts = count, "retired the oldest records: log.max_size is reached");
        }
    }

    /// Removes the oldest summaries until the others take no more than `most`; returns what these take.
    fn shrink(&mut self, mut summaries: Vec<Old>, most: u64, now: Instant) -> u64 {
        summaries.sort_by_key(|old| (old.latest, old.number));
        let mut total = summaries.iter().map(|old| old.len).fold(0, u64::saturating_add);
        for old in &summaries {
            if total <= most || !self.remove(old, now) {
                break;
            }
            total -= old.len;
            tracing::info!("retired the oldest summary: summaries have reached a quarter of log.max_size");
        }
        total
    }

    /// Removes a part of the log; whether it is gone.
    fn remove(&mut self, old: &Old, now: Instant) -> bool {
        let removed = old.paths.iter().try_for_each(|path| match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err((path, error)),
            _ => Ok(()),
        });
        if let Err((path, error)) = &removed {
            let what = "an old part of the query log cannot be removed: it outgrows log.max_size";
            self.fault(now, path, error, what);
        }
        removed.is_ok()
    }

    /// Reports a trouble, unless it was reported a short while ago; it is tried again soon.
    fn fault(&mut self, now: Instant, path: &Path, error: &io::Error, what: &'static str) {
        self.failed = Some(now);
        if self.told.get(what).is_none_or(|told| now.saturating_duration_since(*told) >= REPORT) {
            self.told.insert(what, now);
            tracing::error!(path = %path.display(), %error, "{what}");
        }
    }
}

/// How much is left of `every` since `last`; `None` when it has not begun.
fn left(last: Option<Instant>, now: Instant, every: Duration) -> Option<Duration> {
    last.map(|last| every.saturating_sub(now.saturating_duration_since(last)))
}

fn tidy(segment: &Segment) -> io::Result<()> {
    let survey = segment.survey()?;
    match survey.end {
        End::Whole if survey.span.count == 0 => std::fs::remove_file(&segment.path),
        End::Whole => segment.seal(&survey),
        End::Sealed | End::Torn(_) => Ok(()),
    }
}

/// A part of the log that may go.
struct Old {
    latest: i64,
    number: u64,
    len: u64,
    paths: Vec<PathBuf>,
    /// Itself, where it is not archived.
    segment: Option<Segment>,
    is_summary: bool,
}

/// The files that segments became part of, and the summaries of these.
fn archived(folder: &Path) -> io::Result<Vec<Old>> {
    let folder = store_folder(folder);
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let Some(text) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let (name, is_summary) = match (FileName::parse(text), FileName::parse_summary(text)) {
            (Some(name), _) => (name, false),
            (_, Some(name)) => (name, true),
            (None, None) => continue,
        };
        let names = Some(name.names_path(&folder)).filter(|_| !is_summary);
        let paths: Vec<PathBuf> = std::iter::once(path).chain(names).collect();
        let lens = paths.iter().map(|path| std::fs::metadata(path).map_or(0, |facts| facts.len()));
        files.push(Old {
            latest: name.latest,
            number: name.number,
            len: lens.fold(0, u64::saturating_add),
            paths,
            segment: None,
            is_summary,
        });
    }
    Ok(files)
}

/// When the latest record came; of a segment without trailer, when it was written last.
fn latest(segment: &Segment) -> i64 {
    let sealed = segment.sealed_span().ok().flatten();
    sealed.map_or(segment.modified, |span| span.latest)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::journal::tests::{options, times, write};
    use super::super::journal::{Journal, Options};
    use super::*;

    fn len(folder: &Path) -> u64 {
        segment::list(folder).unwrap().iter().map(|segment| segment.len).sum()
    }

    fn numbers(folder: &Path) -> Vec<u64> {
        segment::list(folder).unwrap().iter().map(|segment| segment.id.number).collect()
    }

    #[test]
    fn the_log_keeps_within_its_size_and_the_newest_records() {
        let folder = tempfile::tempdir().unwrap();
        let max_size = 2 << 20;
        let ledger = Ledger::open(&Options { max_size, ..options(folder.path()) }).unwrap();
        let mut journals = [0, 1].map(|number| Journal::open(number, &ledger));
        let mut work = Work::new(&ledger);
        ledger.open_desk(std::thread::current());
        let count = 100_000;
        for time in 0..count {
            write(&mut journals[(time % 2) as usize], time);
            if time % 64 == 0 {
                work.round(Instant::now());
                assert!(len(folder.path()) <= max_size, "{} octets", len(folder.path()));
            }
        }
        let kept = times(folder.path());
        assert!(kept.len() > 5000, "{} records", kept.len());
        for writer in 0..2 {
            let own: Vec<i64> = kept.iter().copied().filter(|time| time % 2 == writer).collect();
            let newest = (0..count).rev().filter(|time| time % 2 == writer);
            assert!(own.iter().copied().eq(newest.take(own.len())), "the newest, without a gap");
        }
    }

    #[test]
    fn summaries_take_a_quarter_and_the_newest_stay() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&Options { max_size: 1 << 20, ..options(folder.path()) }).unwrap();
        let store = store_folder(folder.path());
        fs::create_dir(&store).unwrap();
        let name = |number: u64| FileName { number, earliest: 0, latest: 100 - number as i64 }.summary_name();
        for number in 0..8 {
            fs::write(store.join(name(number)), vec![0; 50_000]).unwrap();
        }
        Work::new(&ledger).retire(Instant::now());
        let left: Vec<u64> = (0..8).filter(|number| store.join(name(*number)).exists()).collect();
        assert_eq!(left, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_log_that_was_moved_away_goes_on_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let (place, elsewhere) = (folder.path().join("log"), folder.path().join("old"));
        let ledger = Ledger::open(&options(&place)).unwrap();
        let mut journal = Journal::open(0, &ledger);
        let mut work = Work::new(&ledger);
        ledger.open_desk(std::thread::current());
        work.round(Instant::now());
        write(&mut journal, 1);
        fs::rename(&place, &elsewhere).unwrap();
        work.round(Instant::now());
        write(&mut journal, 2);
        assert_eq!(times(&place), [2]);
        assert_eq!(times(&elsewhere), [1]);

        fs::remove_dir_all(&place).unwrap();
        work.synced = None;
        work.round(Instant::now());
        write(&mut journal, 3);
        assert_eq!(times(&place), [3]);
    }

    #[test]
    fn the_oldest_records_go_first_whatever_their_number() {
        let folder = tempfile::tempdir().unwrap();
        let earlier = Ledger::open(&options(folder.path())).unwrap();
        for time in [30, 10, 20] {
            write(&mut Journal::open(0, &earlier), time);
        }
        let each = len(folder.path()) / 3;
        for (left, expected) in [(3, &[30, 20, 10, 5][..]), (2, &[30, 20, 5]), (1, &[30, 5]), (0, &[5])] {
            // A sixteenth is held back for hits.
            let max_size = ((64 << 10) + segment::EMPTY_LEN + left * each) * 16 / 15 + 1;
            let ledger = Ledger::open(&Options { max_size, ..options(folder.path()) }).unwrap();
            let mut open = Journal::open(0, &ledger);
            write(&mut open, 5);
            Work::new(&ledger).retire(Instant::now());
            assert_eq!(times(folder.path()), expected);
            let number = numbers(folder.path()).pop().unwrap();
            drop(open);
            fs::remove_file(folder.path().join(Id { number, writer: 0 }.file_name())).unwrap();
        }
    }

    #[test]
    fn what_somebody_else_has_goes_before_what_nobody_has() {
        let folder = tempfile::tempdir().unwrap();
        let store = store_folder(folder.path());
        fs::create_dir_all(&store).unwrap();
        for number in 1..=3 {
            let name = FileName { number, earliest: 0, latest: number as i64 };
            fs::write(store.join(name.to_string()), [0; 1000]).unwrap();
        }
        let left = |room: u64| {
            let ledger =
                Ledger::open(&Options { max_size: room * 16 / 15 + 1, ..options(folder.path()) }).unwrap();
            // The last one is there too; the others are still to be had.
            ledger.owed().begin(std::collections::HashSet::from([3]));
            Work::new(&ledger).retire(Instant::now());
            archived(folder.path()).unwrap().iter().map(|file| file.number).sum::<u64>()
        };
        assert_eq!(left(3000), 6);
        assert_eq!(left(2000), 3, "the newest, which is in another place");
        assert_eq!(left(1000), 2, "then the oldest");
    }

    #[test]
    fn the_next_segment_is_made_ahead_and_closed_ones_are_sealed() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&Options { max_size: 1 << 20, ..options(folder.path()) }).unwrap();
        let mut journal = Journal::open(0, &ledger);
        let mut work = Work::new(&ledger);
        ledger.open_desk(std::thread::current());
        work.round(Instant::now());
        assert_eq!(numbers(folder.path()), [1]);
        let sealed = || {
            let listed = segment::list(folder.path()).unwrap();
            listed.iter().map(|segment| segment.sealed_span().unwrap().is_some()).collect::<Vec<_>>()
        };
        write(&mut journal, 1);
        assert_eq!(numbers(folder.path()), [1], "the writer made none itself");
        work.round(Instant::now());
        assert_eq!(numbers(folder.path()), [1, 2]);
        let mut time = 1;
        while len(folder.path()) < ledger.segment_len() + (8 << 10) {
            time += 1;
            write(&mut journal, time);
        }
        assert_eq!(numbers(folder.path()), [1, 2]);
        assert_eq!(sealed(), [false, false], "the writer leaves that to the keeper");
        work.round(Instant::now());
        assert_eq!(numbers(folder.path()), [1, 2, 3]);
        assert_eq!(sealed(), [true, false, false]);
        drop(journal);
        work.finish(Instant::now());
        assert_eq!(sealed(), [true, true], "a spare that nobody needs is removed");
        assert_eq!(times(folder.path()).len() as i64, time);
    }

    #[test]
    fn what_killed_processes_left_is_sealed_and_never_cut() {
        let folder = tempfile::tempdir().unwrap();
        let sealed = |n: usize| segment::list(folder.path()).unwrap()[n].sealed_span().unwrap();
        for _ in 0..2 {
            let mut journal = Journal::open(0, &Ledger::open(&options(folder.path())).unwrap());
            write(&mut journal, 1);
            write(&mut journal, 2);
        }
        let paths: Vec<_> = segment::list(folder.path()).unwrap().into_iter().map(|it| it.path).collect();
        let octets = fs::read(&paths[0]).unwrap();
        let (whole, torn) = (&octets[..octets.len() - 36], &octets[..octets.len() - 37]);
        fs::write(&paths[0], whole).unwrap();
        fs::write(&paths[1], torn).unwrap();
        fs::write(folder.path().join("0000000003-000.seg"), &octets[..8]).unwrap();
        fs::write(folder.path().join("0000000004-000.seg"), "").unwrap();
        assert_eq!(sealed(0), None);

        let mut work = Work::new(&Ledger::open(&options(folder.path())).unwrap());
        while work.round(Instant::now()).is_zero() {}
        assert_eq!(numbers(folder.path()), [1, 2]);
        assert_eq!(sealed(0).map(|span| (span.earliest, span.latest, span.count)), Some((1, 2, 2)));
        assert_eq!(fs::read(&paths[0]).unwrap(), octets);
        assert_eq!(fs::read(&paths[1]).unwrap(), torn);
        assert_eq!(times(folder.path()), [2, 1, 1]);
    }

    #[test]
    fn any_interval_is_waited_and_a_stop_waits_for_none() {
        for sync in [Duration::from_nanos(1), Duration::from_secs(1 << 40), Duration::MAX] {
            let folder = tempfile::tempdir().unwrap();
            let ledger = Ledger::open(&Options { sync, ..options(folder.path()) }).unwrap();
            let mut journal = Journal::open(0, &ledger);
            let keeper = Keeper::start(&ledger).unwrap();
            write(&mut journal, 1);
            drop(journal);
            let begun = Instant::now();
            keeper.stop();
            assert!(begun.elapsed() < Duration::from_secs(20));
            let left = segment::list(folder.path()).unwrap();
            assert_eq!(left.len(), 1, "{left:?}");
            assert_eq!(left[0].sealed_span().unwrap().map(|span| span.count), Some(1));
        }
    }
}
