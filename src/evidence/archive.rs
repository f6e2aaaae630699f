//! The archiver: the thread that turns closed segments into the store's files, and keeps these.
//!
//! Segments wait until there are a million records of them, or the oldest has waited for `log.archive_after`; until
//! then they are read as they lie. Each step can be the last: what it left is told by what is on the disk.
//!
//! ```text
//!     segments ─► NAME.parquet.new ─► NAME.parquet ─► in the catalogue ─► the segments go
//!                 removed at a start  while its segments are there and    removed at a start
//!                                     the catalogue does not know it:
//!                                     removed at a start
//! ```
//!
//! A file that the catalogue does not know, and whose segments are gone, is entered again: the catalogue was lost.
//! Old files go by age here, by size in the [keeper](super::keeper), together with segments.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::ControlFlow;
use std::os::unix::fs::DirBuilderExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use siphasher::sip::SipHasher24;

use super::ledger::Ledger;
use super::record::{Record, Trigger};
use super::segment::{self, Id, Records, Segment, Span};
use super::store::embedded::{Embedded, store_folder};
use super::store::names::Needles;
use super::store::{
    Catalogue, CatalogueError, Entry, FileError, FileName, Filter, Gap, NewFile, Origin, Rows, Source,
    StoreError, Stored, Why, sync_folder, write, write_octets,
};
use crate::clock;

/// Rows of a file, unless a single segment has more.
const ROWS: u64 = 1 << 20;
/// How often is looked for closed segments, unless the keeper tells of one.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How often what is too old is looked for.
const EXPIRE_EVERY: Duration = Duration::from_secs(600);
/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(10);
/// The least time between two reports of one trouble.
const REPORT: Duration = Duration::from_secs(600);
/// How long counts by the minute are kept, and counts by the hour: then those of days are left.
const MINUTES_KEPT: Duration = Duration::from_secs(2 * 86_400);
const HOURS_KEPT: Duration = Duration::from_secs(400 * 86_400);
/// Hunts that wait.
const MOST_HUNTS: usize = 16;
/// Most finds of one hunt: an address that half the province was answered is no indicator.
const MOST_FINDS: usize = 100_000;
/// Finds that are entered at once.
const FINDS: usize = 1000;
/// Beside busy workers, archiving waits.
const NICE: i32 = 10;

/// How the store is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How long a closed segment waits for others.
    pub after: Duration,
    /// How long records are kept.
    pub keep_queries: Duration,
    /// How long hits are.
    pub keep_hits: Duration,
    /// Octets of hits and all that is counted; the oldest hits go first.
    pub hits_size: u64,
    /// What becomes of clients that met no rule.
    pub anonymise: Anonymise,
    /// After how long.
    pub anonymise_after: Duration,
}

impl Default for Options {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(86_400);
        Self {
            after: Duration::from_secs(3600),
            keep_queries: 90 * DAY,
            keep_hits: 1095 * DAY,
            hits_size: 4 << 30,
            anonymise: Anonymise::Never,
            anonymise_after: 30 * DAY,
        }
    }
}

/// What becomes of the clients of old records that are no hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anonymise {
    /// Nothing.
    Never,
    /// Their network is left: an IPv4 /24 or IPv6 /48.
    Truncate,
    /// An address of 100::/64 (RFC 6666) stands for each, by a key that is in no file and new at each start.
    Hash,
}

/// The running thread. When it is stopped or dropped, it finishes the step that it is at.
#[derive(Debug)]
pub struct Archiver {
    is_stopping: Arc<AtomicBool>,
    hunts: Hunts,
    thread: Option<JoinHandle<()>>,
}

/// Searches that wait for the archiver.
#[derive(Debug, Clone, Default)]
struct Hunts(Arc<Mutex<VecDeque<Hunt>>>);

#[derive(Debug)]
struct Hunt {
    needles: Arc<Needles>,
    since: i64,
}

impl Hunts {
    fn with<T>(&self, act: impl FnOnce(&mut VecDeque<Hunt>) -> T) -> T {
        // Whatever panicked, the queue is whole.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Archiver {
    /// Starts archiving the log of these journals.
    ///
    /// # Errors
    /// The system has no threads left.
    pub fn start(ledger: &Arc<Ledger>, options: &Options) -> io::Result<Self> {
        let (is_stopping, hunts) = (Arc::new(AtomicBool::new(false)), Hunts::default());
        let mut work = Work::new(ledger, options, &hunts, &is_stopping);
        let thread = std::thread::Builder::new().name("archive".to_owned()).spawn(move || {
            // Of this thread only, as Linux has it.
            let _ = rustix::process::setpriority_process(None, NICE);
            work.run();
        })?;
        Ok(Self { is_stopping, hunts, thread: Some(thread) })
    }

    /// Who asks for searches.
    pub fn hunter(&self) -> Hunter {
        Hunter { hunts: self.hunts.clone(), thread: self.thread.as_ref().map(|it| it.thread().clone()) }
    }
}

/// Asks the archiver to search for new indicators.
#[derive(Debug, Clone)]
pub struct Hunter {
    hunts: Hunts,
    thread: Option<Thread>,
}

impl Hunter {
    /// Searches what is kept since then for new indicators, by and by, and enters what it finds as hits before they
    /// were listed. Returns at once.
    pub fn hunt(&self, needles: Needles, since: i64) {
        if needles.is_empty() {
            return;
        }
        let indicators = needles.len();
        let is_taken = self.hunts.with(|waiting| {
            let has_room = waiting.len() < MOST_HUNTS;
            if has_room {
                waiting.push_back(Hunt { needles: Arc::new(needles), since });
            }
            has_room
        });
        if !is_taken {
            tracing::warn!(
                indicators,
                "the log is not searched for new indicators, since earlier searches still wait; `sachdns hunt` does it"
            );
        }
        if let Some(thread) = &self.thread {
            thread.unpark();
        }
    }
}

impl Drop for Archiver {
    fn drop(&mut self) {
        self.is_stopping.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic was reported already.
            let _ = thread.join();
        }
    }
}

/// Why a step was not done.
#[derive(Debug, thiserror::Error)]
enum ArchiveError {
    #[error("{path}: {source}")]
    System { path: PathBuf, source: io::Error },
    #[error("{path}: {source}")]
    File { path: PathBuf, source: FileError },
    #[error("{path}: {source}")]
    Catalogue { path: PathBuf, source: CatalogueError },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[cfg(test)]
    #[error("stopped here by a test")]
    Stopped,
}

/// What the thread has to do, a round at a time.
struct Work {
    ledger: Arc<Ledger>,
    options: Options,
    hunts: Hunts,
    is_stopping: Arc<AtomicBool>,
    /// Where the segments are.
    log: PathBuf,
    /// Where the files are.
    folder: PathBuf,
    /// `None` until what an earlier process left was tidied.
    catalogue: Option<Catalogue>,
    /// What sealed segments hold, as far as it was asked for.
    spans: HashMap<Id, Span>,
    expired: Option<Instant>,
    told: Option<Instant>,
    key: (u64, u64),
    /// How many steps are done before a test stops the work.
    #[cfg(test)]
    steps: Option<usize>,
}

impl Work {
    fn new(ledger: &Arc<Ledger>, options: &Options, hunts: &Hunts, is_stopping: &Arc<AtomicBool>) -> Self {
        let log = ledger.options().folder.clone();
        Self {
            ledger: Arc::clone(ledger),
            options: options.clone(),
            hunts: hunts.clone(),
            is_stopping: Arc::clone(is_stopping),
            folder: store_folder(&log),
            log,
            catalogue: None,
            spans: HashMap::new(),
            expired: None,
            told: None,
            key: rand::random(),
            #[cfg(test)]
            steps: None,
        }
    }

    fn run(&mut self) {
        self.ledger.name_archiver(std::thread::current());
        while !self.is_stopping() {
            // A panic is a bug; it must not end the archiving.
            let done = catch_unwind(AssertUnwindSafe(|| self.round(Instant::now(), clock::now())));
            let wait = match done {
                Ok(Ok(())) => LOOK_EVERY.min(self.options.after),
                Ok(Err(error)) => {
                    self.tell(&error);
                    RETRY
                }
                Err(_) => RETRY,
            };
            // A wake-up between the two is not lost: then parking returns at once.
            std::thread::park_timeout(wait);
        }
        // What was lost at last is told, too.
        let _ = self.enter_gaps();
    }

    fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    /// A trouble costs nothing yet: segments stay as they are, and are read as they lie.
    fn tell(&mut self, error: &ArchiveError) {
        if let ArchiveError::Catalogue { source, .. } = error
            && source.is_damage()
        {
            self.catalogue = None;
            match Catalogue::put_aside(&self.folder) {
                Ok(aside) => {
                    let path = aside.display();
                    tracing::error!(%path, %error, "the query log's catalogue is damaged; it is put aside and made again");
                }
                Err(error) => {
                    tracing::error!(%error, "the query log's damaged catalogue cannot be put aside");
                }
            }
            return;
        }
        let now = Instant::now();
        if self.told.is_none_or(|told| now.saturating_duration_since(told) >= REPORT) {
            self.told = Some(now);
            tracing::error!(%error, "the query log cannot be archived; it is tried again, and its segments stay until then");
        }
    }

    /// Does what is due.
    fn round(&mut self, now: Instant, clock: i64) -> Result<(), ArchiveError> {
        self.open()?;
        self.enter_gaps()?;
        while let Some(batch) = self.due(clock)? {
            self.archive(&batch)?;
            if self.is_stopping() {
                return Ok(());
            }
        }
        let is_due = |last: Option<Instant>| {
            last.is_none_or(|last| now.saturating_duration_since(last) >= EXPIRE_EVERY)
        };
        if is_due(self.expired) {
            self.expire(clock)?;
            self.anonymise(clock)?;
            self.expired = Some(now);
        }
        while let Some(hunt) = self.hunts.with(VecDeque::pop_front) {
            self.hunt(&hunt)?;
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), ArchiveError> {
        #[cfg(test)]
        if let Some(left) = &mut self.steps {
            *left = left.checked_sub(1).ok_or(ArchiveError::Stopped)?;
        }
        Ok(())
    }

    /// Opens the catalogue, and tidies what an earlier process left.
    fn open(&mut self) -> Result<(), ArchiveError> {
        if self.catalogue.is_some() && self.folder.exists() {
            return Ok(());
        }
        self.catalogue = None;
        let failed = system(&self.folder);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(failed)?;
        let mut catalogue = Catalogue::open(&self.folder).map_err(self.database())?;
        let known = catalogue.names().map_err(self.database())?;
        let archived = catalogue.segments().map_err(self.database())?;
        let segments = segment::list(&self.log).map_err(system(&self.log))?;
        let present: HashSet<Id> = segments.iter().map(|segment| segment.id).collect();
        for entry in fs::read_dir(&self.folder).map_err(system(&self.folder))? {
            let path = entry.map_err(system(&self.folder))?.path();
            let Some(text) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let is_of_file = |text: &str| text.ends_with(".parquet") || text.ends_with(".names");
            if text.strip_suffix(".new").is_some_and(is_of_file) {
                remove(&path)?;
            } else if let Some(name) = FileName::parse(text) {
                match known.get(text) {
                    Some(false) => {}
                    Some(true) => remove_file(&self.folder, &name)?,
                    None => adopt(&mut catalogue, &self.folder, &name, &present)?,
                }
            } else if text.ends_with(".names") && !path.with_extension("parquet").exists() {
                remove(&path)?;
            }
        }
        for segment in &segments {
            let is_archived = archived
                .get(&segment.id)
                .is_some_and(|span| segment.survey().is_ok_and(|survey| survey.span == *span));
            if is_archived {
                let mut octets = Vec::new();
                read_segment(segment, &mut octets)?;
                let mut records = Records::new(&octets);
                records.by_ref().for_each(drop);
                leave(segment, records.damaged_len() > 0)?;
            }
        }
        self.catalogue = Some(catalogue);
        Ok(())
    }

    fn database(&self) -> impl Fn(CatalogueError) -> ArchiveError + use<> {
        let path = self.folder.clone();
        move |source| ArchiveError::Catalogue { path: path.clone(), source }
    }

    fn catalogue(&mut self) -> Result<&mut Catalogue, ArchiveError> {
        if self.catalogue.is_none() {
            self.open()?;
        }
        let path = &self.folder;
        self.catalogue.as_mut().ok_or_else(|| ArchiveError::System {
            path: path.clone(),
            source: io::ErrorKind::NotFound.into(),
        })
    }

    fn enter_gaps(&mut self) -> Result<(), ArchiveError> {
        let gaps = self.ledger.take_gaps();
        if gaps.is_empty() {
            return Ok(());
        }
        let failed = self.database();
        let entered = self.catalogue().and_then(|catalogue| catalogue.add_gaps(&gaps).map_err(failed));
        if entered.is_err() {
            gaps.into_iter().for_each(|gap| self.ledger.note_gap(gap));
        }
        entered
    }

    /// The closed segments that become the next file; `None` while they may wait for more.
    fn due(&mut self, clock: i64) -> Result<Option<Vec<Segment>>, ArchiveError> {
        // In this order: see `Ledger::in_use`.
        let listed = segment::list(&self.log).map_err(system(&self.log))?;
        let in_use = self.ledger.in_use();
        let mut spans = std::mem::take(&mut self.spans);
        let (mut batch, mut rows, mut oldest) = (Vec::new(), 0, i64::MAX);
        for segment in listed.into_iter().filter(|segment| !in_use.contains(&segment.id)) {
            let span = match spans.remove(&segment.id) {
                Some(span) => Some(span),
                None => match segment.sealed_span() {
                    // Of an earlier process, and its tail is torn.
                    Ok(None) if segment.id.number < self.ledger.first() => {
                        segment.survey().ok().map(|survey| survey.span)
                    }
                    found => found.ok().flatten(),
                },
            };
            // The keeper has not closed it yet, or it was retired.
            let Some(span) = span else { continue };
            self.spans.insert(segment.id, span);
            if rows < ROWS {
                rows += span.count;
                oldest = oldest.min(segment.modified);
                batch.push(segment);
            }
        }
        let after = i64::try_from(self.options.after.as_micros()).unwrap_or(i64::MAX);
        // A clock that was set back is not waited for.
        let is_old = clock.saturating_sub(oldest) >= after || oldest > clock;
        Ok((!batch.is_empty() && (rows >= ROWS || is_old)).then_some(batch))
    }

    /// Makes a file of these segments.
    fn archive(&mut self, batch: &[Segment]) -> Result<(), ArchiveError> {
        let (mut rows, mut sources, mut gaps) = (Rows::default(), Vec::new(), Vec::new());
        let (mut octets, mut damaged) = (Vec::new(), HashSet::new());
        for segment in batch {
            if !read_segment(segment, &mut octets)? {
                continue;
            }
            let (mut records, mut span) = (Records::new(&octets), Span::EMPTY);
            for record in records.by_ref() {
                span.add(record.time);
                rows.add(&record);
            }
            sources.push(Source { id: segment.id, span });
            if records.damaged_len() > 0 {
                damaged.insert(segment.id);
                let latest = if span.count > 0 { span.latest } else { segment.modified };
                gaps.push(Gap {
                    earliest: latest,
                    latest,
                    count: records.damaged_len() as u64,
                    why: Why::Damaged,
                    place: Some(segment.id.file_name()),
                });
            }
        }
        if rows.len() == 0 {
            let failed = self.database();
            self.catalogue()?.add_gaps(&gaps).map_err(failed)?;
        } else {
            let number = sources.iter().map(|source| source.id.number).max().unwrap_or_default();
            self.store(number, &rows, &sources, &gaps)?;
        }
        for segment in batch {
            self.step()?;
            leave(segment, damaged.contains(&segment.id))?;
            self.spans.remove(&segment.id);
        }
        sync_folder(&self.log).map_err(system(&self.log))
    }

    fn store(
        &mut self,
        number: u64,
        rows: &Rows,
        sources: &[Source],
        gaps: &[Gap],
    ) -> Result<(), ArchiveError> {
        let Span { earliest, latest, .. } = rows.span();
        let name = FileName { number, earliest, latest };
        let path = self.folder.join(name.to_string());
        self.step()?;
        self.write(&name, rows, sources)?;
        sync_folder(&self.folder).map_err(system(&self.folder))?;
        self.step()?;
        let octets = fs::metadata(&path).map_err(system(&path))?.len();
        let failed = self.database();
        let file = NewFile { name: &name, octets, sources, rows, gaps };
        self.catalogue()?.add(&file).map_err(failed)?;
        Ok(())
    }

    /// Writes a file beside its place and puts it there, its names first.
    fn write(&mut self, name: &FileName, rows: &Rows, sources: &[Source]) -> Result<(), ArchiveError> {
        let path = self.folder.join(name.to_string());
        let names = name.names_path(&self.folder);
        let (new_path, new_names) = (beside(&path), beside(&names));
        let written = write(rows, sources, &new_path)
            .map_err(|source| ArchiveError::File { path: new_path.clone(), source })
            .and_then(|()| write_octets(&new_names, &rows.names()).map_err(system(&new_names)));
        if written.is_err() {
            // The disk may be full: nothing of it is left lying about.
            let _ = (fs::remove_file(&new_path), fs::remove_file(&new_names));
        }
        written?;
        self.step()?;
        fs::rename(&new_names, &names).map_err(system(&names))?;
        self.step()?;
        fs::rename(&new_path, &path).map_err(system(&path))
    }

    /// Lets go what is too old, and says of files that went that they did.
    fn expire(&mut self, clock: i64) -> Result<(), ArchiveError> {
        let before =
            |kept: Duration| clock.saturating_sub(i64::try_from(kept.as_micros()).unwrap_or(i64::MAX));
        let (failed, folder) = (self.database(), self.folder.clone());
        let oldest = before(self.options.keep_queries);
        let (keep_hits, most) = (before(self.options.keep_hits), self.options.hits_size);
        let catalogue = self.catalogue()?;
        let mut files = 0;
        for file in catalogue.files().map_err(&failed)? {
            let is_there = folder.join(file.name.to_string()).exists();
            if is_there && file.name.latest >= oldest {
                continue;
            }
            // What is retired is removed at a start, should this be the last that happens.
            catalogue.retire(file.id).map_err(&failed)?;
            remove_file(&folder, &file.name)?;
            files += usize::from(is_there);
        }
        let hits = catalogue
            .expire(keep_hits, before(MINUTES_KEPT), before(HOURS_KEPT))
            .and_then(|old| Ok(old + catalogue.shrink(most)?))
            .map_err(&failed)?;
        if files > 0 || hits > 0 {
            tracing::info!(
                files,
                hits,
                "retired old records: log.keep_queries, log.keep_hits or log.hits_max_size"
            );
        }
        remove_damaged(&self.log, oldest)
    }

    /// Makes the clients of old records unknown.
    fn anonymise(&mut self, clock: i64) -> Result<(), ArchiveError> {
        if self.options.anonymise == Anonymise::Never {
            return Ok(());
        }
        let after = i64::try_from(self.options.anonymise_after.as_micros()).unwrap_or(i64::MAX);
        let (failed, before) = (self.database(), clock.saturating_sub(after));
        let files = self.catalogue()?.files().map_err(&failed)?;
        for file in files.iter().filter(|file| !file.is_truncated && file.name.latest < before) {
            if self.is_stopping() {
                break;
            }
            self.anonymise_file(file)?;
        }
        Ok(())
    }

    fn anonymise_file(&mut self, file: &Entry) -> Result<(), ArchiveError> {
        let path = self.folder.join(file.name.to_string());
        let failed = |source| ArchiveError::File { path: path.clone(), source };
        let stored = Stored::open(&path).map_err(failed)?;
        let mut rows = Rows::default();
        let read = stored.read(&Filter::default(), None, &mut |record| {
            let client = match record.is_hit {
                true => record.client,
                false => self.anonymous(record.client),
            };
            rows.add(&Record { client, ..record.clone() });
        });
        read.map_err(failed)?;
        self.write(&file.name, &rows, &stored.sources())?;
        let octets = fs::metadata(&path).map_err(system(&path))?.len();
        let failed = self.database();
        self.catalogue()?.mark_truncated(file.id, octets).map_err(failed)
    }

    fn anonymous(&self, client: IpAddr) -> IpAddr {
        match (self.options.anonymise, client) {
            (Anonymise::Never, client) => client,
            (Anonymise::Truncate, IpAddr::V4(client)) => Ipv4Addr::from_bits(client.to_bits() & !0xff).into(),
            (Anonymise::Truncate, IpAddr::V6(client)) => {
                Ipv6Addr::from_bits(client.to_bits() >> 80 << 80).into()
            }
            // It stands for one already.
            (Anonymise::Hash, IpAddr::V6(client)) if client.to_bits() >> 64 == DISCARD >> 64 => client.into(),
            (Anonymise::Hash, client) => {
                let hash = match client {
                    IpAddr::V4(client) => {
                        SipHasher24::new_with_keys(self.key.0, self.key.1).hash(&client.octets())
                    }
                    IpAddr::V6(client) => {
                        SipHasher24::new_with_keys(self.key.0, self.key.1).hash(&client.octets())
                    }
                };
                Ipv6Addr::from_bits(DISCARD | u128::from(hash)).into()
            }
        }
    }

    /// Searches everything that is kept, and enters what it finds.
    fn hunt(&mut self, hunt: &Hunt) -> Result<(), ArchiveError> {
        let filter =
            Filter { sought: Some(Arc::clone(&hunt.needles)), since: Some(hunt.since), ..Filter::default() };
        let view = Embedded::new(&self.log).view()?;
        let failed = self.database();
        let is_stopping = Arc::clone(&self.is_stopping);
        let catalogue = self.catalogue()?;
        let (mut finds, mut found, mut result) = (Vec::new(), 0, Ok(0));
        let scan = view.each(&filter, &mut |record, origin| {
            if record.is_hit {
                return ControlFlow::Continue(());
            }
            let Some((label, address)) = hunt.needles.find_in(record) else {
                return ControlFlow::Continue(());
            };
            let find = Record {
                is_hit: true,
                feed: label.feed.as_deref().map(|text| text.to_owned().into()),
                family: label.family.as_deref().map(|text| text.to_owned().into()),
                severity: label.severity,
                trigger: Some(address.map_or(Trigger::Qname, |_| Trigger::Ip)),
                matched: address.map(|address| address.to_string().into()),
                ..record.clone()
            };
            finds.push((into_owned(find), origin));
            found += 1;
            if finds.len() == FINDS {
                result = enter(catalogue, &finds, &result);
                finds.clear();
            }
            if found >= MOST_FINDS || result.is_err() || is_stopping.load(Ordering::Acquire) {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        let new = enter(catalogue, &finds, &result).map_err(failed)?;
        for (path, why) in &scan.unreadable {
            tracing::warn!(path = %path.display(), why, "a file of the query log cannot be read");
        }
        if scan.is_stopped {
            let indicators = hunt.needles.len();
            tracing::warn!(
                indicators,
                new,
                "the search for new indicators was ended early; `sachdns hunt` does all of it"
            );
        } else if new > 0 {
            tracing::warn!(new, "queries of the past met new indicators: see `sachdns log --hits`");
        }
        Ok(())
    }
}

/// The prefix of addresses that stand for no machine (RFC 6666).
const DISCARD: u128 = 0x0100 << 112;

fn enter(
    catalogue: &mut Catalogue,
    finds: &[(Record<'static>, Origin)],
    so_far: &Result<usize, CatalogueError>,
) -> Result<usize, CatalogueError> {
    let entered = catalogue.add_late(finds.iter().map(|(record, origin)| (record, *origin)))?;
    Ok(entered + so_far.as_ref().copied().unwrap_or_default())
}

fn into_owned(record: Record<'_>) -> Record<'static> {
    fn text(text: Option<std::borrow::Cow<'_, str>>) -> Option<std::borrow::Cow<'static, str>> {
        text.map(|text| text.into_owned().into())
    }
    Record {
        agency: text(record.agency),
        qname: record.qname.into_owned().into(),
        feed: text(record.feed),
        family: text(record.family),
        matched: text(record.matched),
        answers: record.answers.into_owned().into(),
        ..record
    }
}

fn system(path: &Path) -> impl Fn(io::Error) -> ArchiveError + use<> {
    let path = path.to_owned();
    move |source| ArchiveError::System { path: path.clone(), source }
}

fn beside(path: &Path) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(".new");
    path.into()
}

fn remove(path: &Path) -> Result<(), ArchiveError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(system(path)(error)),
        _ => Ok(()),
    }
}

/// Removes a file, and the set of its names after it.
fn remove_file(folder: &Path, name: &FileName) -> Result<(), ArchiveError> {
    remove(&folder.join(name.to_string()))?;
    remove(&name.names_path(folder))
}

/// Whether there was something to read.
fn read_segment(segment: &Segment, octets: &mut Vec<u8>) -> Result<bool, ArchiveError> {
    match fs::File::open(&segment.path).and_then(|file| segment::read(&file, u64::MAX, octets)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(system(&segment.path)(error)),
    }
}

/// Removes a segment that is archived; one with damage is put aside, for it is evidence, too.
fn leave(segment: &Segment, is_damaged: bool) -> Result<(), ArchiveError> {
    if !is_damaged {
        return remove(&segment.path);
    }
    match fs::rename(&segment.path, segment.path.with_extension("seg.damaged")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(system(&segment.path)(error)),
        _ => Ok(()),
    }
}

/// Removes damaged segments that are older, and all but a few.
fn remove_damaged(log: &Path, oldest: i64) -> Result<(), ArchiveError> {
    const MOST: usize = 16;
    let mut damaged = Vec::new();
    for entry in fs::read_dir(log).map_err(system(log))?.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "damaged")
            && let Ok(modified) = entry.metadata().and_then(|facts| facts.modified())
        {
            let since = modified.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            damaged.push((i64::try_from(since.as_micros()).unwrap_or(i64::MAX), path));
        }
    }
    damaged.sort();
    let excess = damaged.len().saturating_sub(MOST);
    for (at, (modified, path)) in damaged.iter().enumerate() {
        if at < excess || *modified < oldest {
            remove(path)?;
        }
    }
    Ok(())
}

/// Deals with a file that the catalogue does not know.
fn adopt(
    catalogue: &mut Catalogue,
    folder: &Path,
    name: &FileName,
    present: &HashSet<Id>,
) -> Result<(), ArchiveError> {
    let path = folder.join(name.to_string());
    let stored = match Stored::open(&path) {
        Ok(stored) => stored,
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "a file of the query log cannot be read: it is left out");
            return Ok(());
        }
    };
    let sources = stored.sources();
    if sources.iter().any(|source| present.contains(&source.id)) {
        // It was about to be entered; its segments are archived anew.
        return remove_file(folder, name);
    }
    let mut rows = Rows::default();
    if let Err(error) = stored.read(&Filter::default(), None, &mut |record| rows.add(record)) {
        tracing::error!(path = %path.display(), %error, "a file of the query log cannot be read: it is left out");
        return Ok(());
    }
    let octets = fs::metadata(&path).map_err(system(&path))?.len();
    tracing::warn!(path = %path.display(), "a file of the query log is entered in its catalogue again");
    catalogue
        .add(&NewFile { name, octets, sources: &sources, rows: &rows, gaps: &[] })
        .map_err(|source| ArchiveError::Catalogue { path, source })
}

#[cfg(test)]
mod tests;
