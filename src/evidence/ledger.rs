//! The ledger: what all journals of a process share.
//!
//! Gives out segment numbers, knows which segments are in use, counts what was written and lost, and
//! is where journals and the [keeper](super::keeper) meet. No lock here is held during disk work.

use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;

use super::journal::Options;
use super::owed::Owed;
use super::segment::{self, Id, Writer};
use super::space::Space;
use super::store::embedded::store_folder;
use super::store::{FileName, Gap, Why};
use super::tally::{self, Answers, Tally};

/// The longest segment, in octets: so that those which are not archived yet are soon read.
const LONGEST: u64 = 16 << 20;
/// The shortest, whatever `log.max_size` and the number of journals.
const SHORTEST: u64 = 64 << 10;
/// How long after a failure it is not tried again, in microseconds.
pub(super) const RETRY: i64 = 1_000_000;
/// Most gaps that wait to be entered; more of one cause become one.
const MOST_GAPS: usize = 64;
/// Most segments that wait for the keeper: each holds an open file.
const MOST_CLOSED: usize = 64;

/// What all journals of a process share.
#[derive(Debug)]
pub struct Ledger {
    options: Options,
    /// Segments of earlier processes have lower numbers.
    first: u64,
    next: AtomicU64,
    places: Mutex<Vec<Arc<Place>>>,
    segment_len: AtomicU64,
    desk: Mutex<Desk>,
    /// Whether the folder has entries that are not synced.
    is_folder_dirty: AtomicBool,
    space: Space,
    outage: Mutex<Option<Outage>>,
    /// Times in which records were not kept, until the archiver enters them.
    gaps: Mutex<Vec<Gap>>,
    archiver: Mutex<Option<Thread>>,
    owed: Owed,
    is_out: AtomicBool,
    written: AtomicU64,
    lost: AtomicU64,
}

/// One journal, as the others see it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) writer: u16,
    /// What its journal counts.
    pub(super) tally: Tally,
    slots: Mutex<Slots>,
    is_dirty: AtomicBool,
    /// Whether its open file is no longer where it was made: what goes into it would be lost.
    is_displaced: AtomicBool,
}

#[derive(Debug, Default)]
struct Slots {
    /// Registered before its file is there, so that nobody retires it.
    open: Option<Open>,
    /// The segment that comes next, made ahead by the keeper.
    spare: Option<Writer>,
    is_closed: bool,
}

/// A journal's segment, and its file and path once it has one.
type Open = (Id, Option<(Arc<File>, PathBuf)>);

fn opened(segment: &Writer) -> Open {
    (segment.id(), Some((Arc::clone(segment.file()), segment.path().to_owned())))
}

/// Where journals leave closed segments.
#[derive(Debug, Default)]
struct Desk {
    /// Whom to wake; `None` while there is no keeper, and journals close their segments themselves.
    keeper: Option<Thread>,
    closed: Vec<Writer>,
}

/// A time in which records could not be written.
#[derive(Debug)]
struct Outage {
    /// When writing failed last, microseconds since 1970.
    failed: i64,
    lost_before: u64,
}

impl Ledger {
    /// Makes the folder where it is missing, and goes on behind the numbers that are there.
    ///
    /// # Errors
    /// What the system said when the folder was made or read.
    pub fn open(options: &Options) -> io::Result<Arc<Self>> {
        // Who asked for what is nobody's business but the staff's.
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&options.folder)?;
        let segments = segment::list(&options.folder)?.last().map_or(0, |last| last.id.number);
        // Nor may a number come again that a file stands for.
        let first = segments.max(archived(&options.folder)?) + 1;
        Ok(Arc::new(Self {
            options: options.clone(),
            first,
            next: AtomicU64::new(first),
            places: Mutex::default(),
            segment_len: AtomicU64::new(LONGEST),
            desk: Mutex::default(),
            is_folder_dirty: AtomicBool::new(false),
            space: Space::new(&options.folder, options.max_size),
            outage: Mutex::default(),
            gaps: Mutex::default(),
            archiver: Mutex::default(),
            owed: Owed::default(),
            is_out: AtomicBool::new(false),
            written: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        }))
    }

    /// How queries were answered since the start, by journals that are open.
    pub fn answers(&self) -> Answers {
        let places = self.places();
        tally::sum(places.iter().map(|place| &place.tally))
    }

    /// How many of the store's files somebody else has not got yet; `None` where nobody waits for them.
    pub fn owing(&self) -> Option<usize> {
        if !self.owed.is_on() {
            return None;
        }
        let entries = std::fs::read_dir(store_folder(&self.options.folder)).ok()?;
        let names = entries.flatten().filter_map(|entry| FileName::parse(entry.file_name().to_str()?));
        Some(names.filter(|name| self.owed.is_owed(name.number)).count())
    }

    /// Whether records cannot be written.
    pub fn is_out(&self) -> bool {
        self.is_out.load(Ordering::Relaxed)
    }

    /// Records written by all journals.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Records that could not be written.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Records of other queries than hits that were dropped, since the disk was nearly full.
    pub fn dropped(&self) -> u64 {
        self.space.dropped()
    }

    pub(super) fn space(&self) -> &Space {
        &self.space
    }

    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    /// Whether the disk is so full that only hits are recorded.
    pub fn is_scarce(&self) -> bool {
        self.space.is_scarce()
    }

    /// The folder of the segments.
    pub fn folder(&self) -> &Path {
        &self.options.folder
    }

    /// The number of this process's first segment.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Octets of a full segment: all open ones together take a quarter of `log.max_size`, unless
    /// there are so many journals that each would get less than the shortest segment.
    pub(super) fn segment_len(&self) -> u64 {
        self.segment_len.load(Ordering::Relaxed)
    }

    /// What the open segments, the spares and the room that is held back may take.
    pub(super) fn reserve(&self) -> u64 {
        let each = self.segment_len() + segment::EMPTY_LEN;
        each.saturating_mul(lock(&self.places).len() as u64).saturating_add(self.space.size())
    }

    /// Adds a journal.
    pub(super) fn join(&self, writer: u16) -> Arc<Place> {
        let place = Arc::new(Place {
            writer,
            tally: Tally::default(),
            slots: Mutex::default(),
            is_dirty: AtomicBool::new(false),
            is_displaced: AtomicBool::new(false),
        });
        let mut places = lock(&self.places);
        places.push(Arc::clone(&place));
        let share = self.options.max_size / (4 * places.len() as u64);
        self.segment_len.store(share.clamp(SHORTEST, LONGEST), Ordering::Relaxed);
        drop(places);
        self.wake();
        place
    }

    /// Takes a journal away, its spare with it.
    pub(super) fn leave(&self, place: &Arc<Place>) {
        lock(&self.places).retain(|other| !Arc::ptr_eq(other, place));
        let mut slots = lock(&place.slots);
        slots.is_closed = true;
        let spare = slots.spare.take();
        drop(slots);
        if let Some(spare) = spare {
            self.hand_over(spare);
        }
    }

    pub(super) fn places(&self) -> Vec<Arc<Place>> {
        lock(&self.places).clone()
    }

    /// The segments that must not be retired. Whoever lists the folder does so before this call:
    /// then each file that was listed is registered here, or is closed.
    pub(super) fn in_use(&self) -> Vec<Id> {
        let ids = |place: &Arc<Place>| {
            let slots = lock(&place.slots);
            [slots.open.as_ref().map(|(id, _)| *id), slots.spare.as_ref().map(Writer::id)]
        };
        self.places().iter().flat_map(ids).flatten().collect()
    }

    /// The next segment of a journal: its spare; where there is none, one is made now.
    pub(super) fn begin(&self, place: &Place) -> io::Result<Writer> {
        let mut slots = lock(&place.slots);
        if let Some(spare) = slots.spare.take() {
            slots.open = Some(opened(&spare));
            drop(slots);
            self.wake();
            return Ok(spare);
        }
        drop(slots);
        let made = self.create(place.writer, |id| lock(&place.slots).open = Some((id, None)));
        lock(&place.slots).open = made.as_ref().ok().map(opened);
        made
    }

    /// Makes a segment of a test's own the journal's open one.
    #[cfg(test)]
    pub(super) fn register(&self, place: &Place, segment: &Writer) {
        lock(&place.slots).open = Some(opened(segment));
    }

    /// Makes the spare of a journal that has none.
    pub(super) fn make_spare(&self, place: &Place) -> io::Result<()> {
        let lacks_one = |slots: &Slots| slots.spare.is_none() && !slots.is_closed;
        if !lacks_one(&lock(&place.slots)) {
            return Ok(());
        }
        // Not registered while it is made: it is the keeper that makes it, and that retires others.
        let spare = self.create(place.writer, |_| ())?;
        let mut slots = lock(&place.slots);
        if lacks_one(&slots) {
            slots.spare = Some(spare);
        } else {
            drop(slots);
            let _ = std::fs::remove_file(spare.path());
        }
        Ok(())
    }

    /// Takes the spares of all journals away.
    pub(super) fn take_spares(&self) -> Vec<Writer> {
        self.places().iter().filter_map(|place| lock(&place.slots).spare.take()).collect()
    }

    fn create(&self, writer: u16, register: impl Fn(Id)) -> io::Result<Writer> {
        loop {
            let id = Id { number: self.next.fetch_add(1, Ordering::Relaxed), writer };
            register(id);
            match Writer::create(&self.options.folder, id) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
                Ok(writer) => {
                    self.is_folder_dirty.store(true, Ordering::Release);
                    return Ok(writer);
                }
            }
        }
    }

    /// Closes a journal's segment: leaves it to the keeper, if there is one.
    pub(super) fn close(&self, place: &Place, segment: Writer) {
        self.hand_over(segment);
        lock(&place.slots).open = None;
    }

    fn hand_over(&self, segment: Writer) {
        let mut desk = lock(&self.desk);
        if let Some(keeper) = &desk.keeper {
            if desk.closed.len() < MOST_CLOSED {
                keeper.unpark();
                desk.closed.push(segment);
            } else {
                // All of it is written; it lacks its trailer until the next start.
                tracing::warn!(path = %segment.path().display(), "the disk is too slow to close a segment of the query log");
            }
            return;
        }
        drop(desk);
        if let Err(error) = finish(&segment) {
            tracing::error!(path = %segment.path().display(), %error, "closing a segment of the query log failed; check the disk");
        }
    }

    /// Names the thread that takes closed segments.
    pub(super) fn open_desk(&self, keeper: Thread) {
        lock(&self.desk).keeper = Some(keeper);
    }

    /// What journals left for the keeper.
    pub(super) fn take_closed(&self) -> Vec<Writer> {
        std::mem::take(&mut lock(&self.desk).closed)
    }

    /// Lets the keeper go, unless something was left for it meanwhile.
    pub(super) fn close_desk(&self) -> bool {
        let mut desk = lock(&self.desk);
        let is_cleared = desk.closed.is_empty();
        if is_cleared {
            desk.keeper = None;
        }
        is_cleared
    }

    fn wake(&self) {
        if let Some(keeper) = &lock(&self.desk).keeper {
            keeper.unpark();
        }
    }

    /// Counts records that were written; `now` in microseconds since 1970.
    pub(super) fn wrote(&self, place: &Place, count: u64, now: i64) {
        self.written.fetch_add(count, Ordering::Relaxed);
        place.is_dirty.store(true, Ordering::Release);
        if self.is_out.load(Ordering::Relaxed) {
            let mut outage = lock(&self.outage);
            // Every journal that still fails has failed again by then.
            let is_over = |outage: &mut Outage| !is_within(now, outage.failed, 2 * RETRY);
            if let Some(outage) = outage.take_if(is_over) {
                self.is_out.store(false, Ordering::Relaxed);
                let lost = self.lost() - outage.lost_before;
                tracing::warn!(lost, "the query log is being written again");
            }
        }
    }

    /// Counts records that were lost without trying.
    pub(super) fn lose(&self, count: u64, now: i64) {
        self.lost.fetch_add(count, Ordering::Relaxed);
        self.note_gap(Gap { earliest: now, latest: now, count, why: Why::Refused, place: None });
    }

    /// Counts records that are dropped, since the last room is for hits.
    pub(super) fn drop_records(&self, count: u64, now: i64) {
        self.space.drop_records(count);
        self.note_gap(Gap { earliest: now, latest: now, count, why: Why::NoRoom, place: None });
    }

    /// Notes that records are not there, for the archiver to enter.
    pub fn note_gap(&self, gap: Gap) {
        let mut gaps = lock(&self.gaps);
        // While nobody enters them, those of one cause become one.
        let same = gaps.iter().rposition(|known| known.why == gap.why && known.place == gap.place);
        let is_joined = |known: &Gap| is_within(gap.earliest, known.latest, 60 * RETRY);
        match same.filter(|&at| gaps.len() >= MOST_GAPS || is_joined(&gaps[at])) {
            Some(at) => {
                let known = &mut gaps[at];
                known.earliest = known.earliest.min(gap.earliest);
                known.latest = known.latest.max(gap.latest);
                known.count += gap.count;
            }
            None if gaps.len() < MOST_GAPS => gaps.push(gap),
            None => {}
        }
    }

    /// The gaps that were noted since the last call.
    pub(super) fn take_gaps(&self) -> Vec<Gap> {
        std::mem::take(&mut lock(&self.gaps))
    }

    /// Which of the store's files somebody else still has to get.
    pub(super) fn owed(&self) -> &Owed {
        &self.owed
    }

    /// Names the thread that archives closed segments.
    pub(super) fn name_archiver(&self, archiver: Thread) {
        *lock(&self.archiver) = Some(archiver);
    }

    /// Tells the archiver that segments were closed.
    pub(super) fn wake_archiver(&self) {
        if let Some(archiver) = &*lock(&self.archiver) {
            archiver.unpark();
        }
    }

    /// Counts records that were lost to `error`, and tells the first time.
    pub(super) fn refused(&self, count: u64, now: i64, error: &io::Error) {
        let mut outage = lock(&self.outage);
        let lost_before = self.lost.fetch_add(count, Ordering::Relaxed);
        self.note_gap(Gap { earliest: now, latest: now, count, why: Why::Refused, place: None });
        let is_news = outage.is_none();
        outage.get_or_insert(Outage { failed: now, lost_before }).failed = now;
        self.is_out.store(true, Ordering::Relaxed);
        drop(outage);
        if is_news {
            tracing::error!(
                folder = %self.options.folder.display(), %error,
                "records are being LOST: the query log cannot be written; free disk space or mend the disk"
            );
        }
    }

    /// Brings what was written since the last call to the disk. Blocks for as long as the disk does.
    ///
    /// # Errors
    /// The first file or folder that failed, and what the system said; all others were synced, and
    /// what failed is tried again by the next call.
    pub fn sync(&self) -> Result<(), (PathBuf, io::Error)> {
        let mut result = Ok(());
        if self.is_folder_dirty.swap(false, Ordering::AcqRel)
            && let Err(error) = File::open(&self.options.folder).and_then(|folder| folder.sync_all())
        {
            self.is_folder_dirty.store(true, Ordering::Release);
            result = Err((self.options.folder.clone(), error));
        }
        for place in self.places() {
            if !place.is_dirty.swap(false, Ordering::AcqRel) {
                continue;
            }
            // Where it was closed meanwhile, it is synced when it is sealed.
            let open = lock(&place.slots).open.as_ref().and_then(|(_, file)| file.clone());
            if let Some((file, path)) = open
                && let Err(error) = file.sync_data()
            {
                place.is_dirty.store(true, Ordering::Release);
                result = result.and(Err((path, error)));
            }
        }
        result
    }
}

impl Place {
    /// Whether the journal must begin another segment; true once for each time.
    pub(super) fn take_displaced(&self) -> bool {
        self.is_displaced.load(Ordering::Relaxed) && self.is_displaced.swap(false, Ordering::AcqRel)
    }
}

impl Ledger {
    /// Looks whether the open files are still where they were made: somebody may have moved or removed
    /// the folder. Makes the folder again, and the journals begin other segments in it. Returns one
    /// file that was missing.
    pub(super) fn recover_displaced(&self) -> io::Result<Option<PathBuf>> {
        let mut missing = None;
        for place in self.places() {
            let mut slots = lock(&place.slots);
            let spare = slots.spare.take_if(|spare| !is_in_place(spare.file(), spare.path()));
            let open = slots.open.as_ref().and_then(|(_, file)| file.clone());
            drop(slots);
            if let Some(spare) = spare {
                missing = Some(spare.path().to_owned());
            }
            if let Some((file, path)) = open
                && !is_in_place(&file, &path)
            {
                place.is_displaced.store(true, Ordering::Release);
                missing = Some(path);
            }
        }
        if missing.is_some() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.options.folder)?;
        }
        Ok(missing)
    }
}

/// The greatest number of a segment that became part of a file.
fn archived(folder: &Path) -> io::Result<u64> {
    let entries = match std::fs::read_dir(store_folder(folder)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut greatest = 0;
    for entry in entries {
        let name = entry?.file_name();
        greatest = greatest.max(name.to_str().and_then(FileName::parse).map_or(0, |name| name.number));
    }
    Ok(greatest)
}

fn is_in_place(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
        (_, Err(error)) => error.kind() != io::ErrorKind::NotFound,
        (Err(_), _) => true,
    }
}

/// Ends a closed segment; one in which there is nothing is removed.
pub(super) fn finish(segment: &Writer) -> io::Result<()> {
    if !segment.is_empty() || segment.is_torn() {
        return segment.seal();
    }
    match std::fs::remove_file(segment.path()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether `now` lies within `span` after `moment`; a clock that was set back is not waited for.
pub(super) fn is_within(now: i64, moment: i64, span: i64) -> bool {
    (moment..moment.saturating_add(span)).contains(&now)
}

/// A poisoned lock only means that another thread panicked; what it guards here is always whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
