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

mod anonymise;
mod hunting;
mod mend;
mod orders;
mod retire;
mod seal;
mod summarise;
pub(in crate::evidence) mod veil;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hunting::{Attempts, Search};
pub use orders::{Hunter, Order, OrderError};
use summarise::Summarising;
use veil::Veil;

use super::ledger::Ledger;
use super::segment::{Id, Span};
use super::store::embedded::store_folder;
use super::store::{Catalogue, FileError, FileName, StoreError, SummaryError};
use crate::clock;
use crate::database::DatabaseError;

/// How often is looked for closed segments, unless the keeper tells of one.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How often what is too old is looked for.
const EXPIRE_EVERY: Duration = Duration::from_secs(600);
/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(10);
/// The least time between two reports of one trouble.
const REPORT: Duration = Duration::from_secs(600);
/// Beside busy workers, archiving waits.
const NICE: i32 = 10;

/// How the store is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How long a closed segment waits for others.
    pub after: Duration,
    /// How long records are kept.
    pub keep_queries: Duration,
    /// How long it is kept, by the day, who asked for what.
    pub keep_summaries: Duration,
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
            keep_summaries: 90 * DAY,
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
    /// Where searches are ordered.
    orders: PathBuf,
    thread: Option<JoinHandle<()>>,
}

impl Archiver {
    /// Starts archiving the log of these journals.
    ///
    /// # Errors
    /// The system has no threads left, or the log's folder cannot be read.
    pub fn start(ledger: &Arc<Ledger>, options: &Options) -> io::Result<Self> {
        let is_stopping = Arc::new(AtomicBool::new(false));
        let orders = orders::orders_folder(ledger.folder());
        // Before anybody can order anything.
        orders::tidy(&orders)?;
        let mut work = Work::new(ledger, options, &is_stopping);
        let thread = std::thread::Builder::new().name("archive".to_owned()).spawn(move || {
            // Of this thread only, as Linux has it.
            let _ = rustix::process::setpriority_process(None, NICE);
            work.run();
        })?;
        Ok(Self { is_stopping, orders, thread: Some(thread) })
    }

    /// Who asks for searches.
    pub fn hunter(&self) -> Hunter {
        Hunter { folder: self.orders.clone(), thread: self.thread.as_ref().map(|it| it.thread().clone()) }
    }
}

/// Does in the calling thread all that is due, as of a time: what a server does by and by. Whoever makes a log of the past
/// brings it into its files so; no server may archive it meanwhile.
///
/// # Errors
/// What could not be done; all that was done stays.
pub fn settle(ledger: &Arc<Ledger>, options: &Options, clock: i64) -> Result<(), SettleError> {
    let mut work = Work::new(ledger, options, &Arc::default());
    while work.round(Instant::now(), clock)? {}
    Ok(())
}

/// Why a log was not brought into its files.
#[derive(Debug, thiserror::Error)]
#[error("the query log cannot be archived: {0}")]
pub struct SettleError(String);

impl From<ArchiveError> for SettleError {
    fn from(error: ArchiveError) -> Self {
        Self(error.to_string())
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
    Summary { path: PathBuf, source: SummaryError },
    #[error("{path}: {source}")]
    Catalogue { path: PathBuf, source: DatabaseError },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[cfg(test)]
    #[error("stopped here by a test")]
    Stopped,
}

impl ArchiveError {
    /// Whether it may be otherwise the next time: the disk is full, or somebody holds the catalogue.
    fn is_passing(&self) -> bool {
        match self {
            Self::System { source, .. } => {
                !matches!(source.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
            }
            _ => true,
        }
    }
}

/// What the thread has to do, a round at a time.
struct Work {
    ledger: Arc<Ledger>,
    options: Options,
    is_stopping: Arc<AtomicBool>,
    /// Where the segments are.
    log: PathBuf,
    /// Where the files are.
    folder: PathBuf,
    /// `None` until what an earlier process left was tidied.
    catalogue: Option<Catalogue>,
    /// What sealed segments hold, as far as it was asked for.
    spans: HashMap<Id, Span>,
    summarising: Option<Summarising>,
    search: Option<Search>,
    attempts: Attempts,
    expired: Option<Instant>,
    told: Option<Instant>,
    veil: Veil,
    /// How many steps are done before a test stops the work.
    #[cfg(test)]
    steps: Option<usize>,
}

impl Work {
    fn new(ledger: &Arc<Ledger>, options: &Options, is_stopping: &Arc<AtomicBool>) -> Self {
        let log = ledger.options().folder.clone();
        Self {
            ledger: Arc::clone(ledger),
            options: options.clone(),
            is_stopping: Arc::clone(is_stopping),
            folder: store_folder(&log),
            log,
            catalogue: None,
            spans: HashMap::new(),
            summarising: None,
            search: None,
            attempts: Attempts::default(),
            expired: None,
            told: None,
            veil: Veil::new(options.anonymise),
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
                Ok(Ok(true)) => Duration::ZERO,
                Ok(Ok(false)) => LOOK_EVERY.min(self.options.after),
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

    /// The time before which something is too old.
    fn before(&self, clock: i64, kept: Duration) -> i64 {
        clock.saturating_sub(i64::try_from(kept.as_micros()).unwrap_or(i64::MAX))
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
            tracing::error!(%error, "archiving the query log failed; it is tried again, and its segments stay until then");
        }
    }

    /// Does what is due; whether there is more to do at once.
    fn round(&mut self, now: Instant, clock: i64) -> Result<bool, ArchiveError> {
        self.open()?;
        self.enter_gaps()?;
        while let Some(batch) = self.due(clock)? {
            self.archive(&batch)?;
            if self.is_stopping() {
                return Ok(false);
            }
        }
        let is_due = |last: Option<Instant>| {
            last.is_none_or(|last| now.saturating_duration_since(last) >= EXPIRE_EVERY)
        };
        if is_due(self.expired) {
            self.expire(clock)?;
            self.anonymise(clock)?;
            self.begin_summary(clock)?;
            self.expired = Some(now);
        }
        let is_more = self.summarise(clock)?;
        let hunted = self.go_hunting();
        if hunted.as_ref().is_err_and(ArchiveError::is_passing) {
            self.attempts = Attempts::default();
        }
        Ok(hunted? || is_more)
    }

    fn step(&mut self) -> Result<(), ArchiveError> {
        #[cfg(test)]
        if let Some(left) = &mut self.steps {
            *left = left.checked_sub(1).ok_or(ArchiveError::Stopped)?;
        }
        Ok(())
    }

    fn database(&self) -> impl Fn(DatabaseError) -> ArchiveError + use<> {
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
}

fn system(path: &Path) -> impl Fn(io::Error) -> ArchiveError + use<> {
    let path = path.to_owned();
    move |source| ArchiveError::System { path: path.clone(), source }
}

/// Where a file is written before it is put in its place.
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

#[cfg(test)]
mod tests;
