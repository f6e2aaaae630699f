//! Reports: what they are made from, and the thread that makes last month's when its time has come.
//!
//! A file that is there is done: it is never made again and never touched, since somebody may have worked on it. So restarts make
//! nothing twice, and a server that was down makes it late. A thread of low priority, for which DNS waits nowhere.

use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::identity_folder;
use crate::cases::Desk;
use crate::clock;
use crate::config::Config;
use crate::evidence::archive::Anonymise;
use crate::evidence::store::clickhouse::ClickHouse;
use crate::evidence::store::embedded::Embedded;
use crate::evidence::store::{Store, Watch};
use crate::identity::Book;
use crate::report::{self, Figures, Format, Period, ReportError, Scope, Sources};

/// Behind the workers, and behind most else.
const NICE: i32 = 10;
/// How often is looked whether a report is due.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How many looks are passed over after a failure.
const REST: u32 = 20;
/// Microseconds of a minute.
const MINUTE: i64 = 60_000_000;

/// Where the reports of months are.
pub fn folder(config: &Config) -> PathBuf {
    config.reports.folder.clone().unwrap_or_else(|| config.data_dir.join("reports"))
}

/// Who answers questions about queries: ClickHouse, where it is set and not told otherwise.
pub fn store(config: &Config, is_local: bool) -> Box<dyn Store> {
    let log = &config.log.folder;
    match config.clickhouse.as_ref().filter(|_| !is_local) {
        Some(options) => Box::new(ClickHouse::new(options, &config.node(), config.archive.anonymise, log)),
        None => Box::new(Embedded::new(log)),
    }
}

/// Gathers the figures of a period from what this configuration says where to find; needs no running server.
///
/// # Errors
/// [`ReportError`].
pub fn gather(
    config: &Config,
    store: &dyn Store,
    period: Period,
    scope: &Scope,
    watch: &mut dyn Watch,
) -> Result<Figures, ReportError> {
    let now = clock::now();
    let desk = Desk::open_existing(&super::cases::folder(&config.data_dir), config.cases.options.clone())?;
    let machines = identity_folder(&config.data_dir);
    // Opening it would make it.
    let book = if machines.is_dir() { Some(Book::open(&machines)?) } else { None };
    let after = i64::try_from(config.archive.anonymise_after.as_micros()).unwrap_or(i64::MAX);
    let coverages = super::coverage::coverages(&config.data_dir, (period.since(), period.until()));
    let sources = Sources {
        store,
        desk: desk.as_ref(),
        book: book.as_ref(),
        agencies: &config.agencies,
        classes: &config.cases.classes,
        coverage: coverages.as_ref(),
        anonymised_before: (config.archive.anonymise != Anonymise::Never).then(|| now.saturating_sub(after)),
        now,
    };
    report::gather(&sources, period, scope, watch)
}

/// Puts a file in its place whole, or not at all.
///
/// # Errors
/// What the system says.
pub fn write_whole(path: &Path, octets: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let mut file = std::fs::File::create(&beside)?;
    file.write_all(octets)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    // So that it is still there after a power cut.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(folder)?.sync_all()
}

/// The thread, until it is dropped.
pub(super) struct Reporter {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reporter {
    /// Begins to make reports, by the configuration in force.
    ///
    /// # Errors
    /// The system has no threads left.
    pub(super) fn start(current: Arc<Mutex<Arc<Config>>>) -> io::Result<Self> {
        let stop = Arc::<AtomicBool>::default();
        let work = Work { current, stop: Arc::clone(&stop), settled: None };
        let thread = super::thread("reports", move || work.run())?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It reports its panics itself.
            let _ = thread.join();
        }
    }
}

/// Why a month's report is not there.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Report(#[from] ReportError),
    #[error("{path}: {source}; check the disk and who owns the folder, or set report.folder")]
    Write { path: PathBuf, source: io::Error },
}

struct Work {
    current: Arc<Mutex<Arc<Config>>>,
    stop: Arc<AtomicBool>,
    /// The files that are there, or of which there is nothing to tell.
    settled: Option<(PathBuf, String, Vec<Format>)>,
}

impl Work {
    fn run(mut self) {
        // Of this thread alone. Where it is not granted, it competes as any other.
        let _ = rustix::process::setpriority_process(None, NICE);
        let mut rest = 0;
        while !self.stop.load(Ordering::Acquire) {
            if rest > 0 {
                rest -= 1;
            } else {
                // A panic is a bug; it must not end reports.
                match catch_unwind(AssertUnwindSafe(|| self.look(clock::now()))) {
                    Ok(Ok(()) | Err(Trouble::Report(ReportError::Stopped))) => {}
                    Ok(Err(trouble)) => {
                        rest = REST;
                        tracing::error!("last month's report is not made: {trouble}; it is tried again");
                    }
                    Err(_) => rest = REST,
                }
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
    }

    /// Makes what is due and not there.
    fn look(&mut self, now: i64) -> Result<(), Trouble> {
        let config = Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner));
        let reports = &config.reports;
        let period = Period::month_before(now).map_err(ReportError::from)?;
        let is_due = now >= period.until().saturating_add(i64::from(reports.at) * MINUTE);
        let (folder, Some(month)) = (folder(&config), period.month_name()) else { return Ok(()) };
        let wanted = (folder.clone(), month.clone(), reports.formats.clone());
        if !reports.is_monthly || !is_due || self.settled.as_ref() == Some(&wanted) {
            return Ok(());
        }
        let path = |format: Format| folder.join(format!("{month}.{}", format.as_str()));
        let missing: Vec<Format> =
            reports.formats.iter().copied().filter(|format| !path(*format).exists()).collect();
        if !missing.is_empty() {
            let store = store(&config, false);
            let figures = gather(&config, &*store, period, &Scope::All, &mut Stoppable(&self.stop))?;
            // Of a month in which this server was not there yet there is nothing to tell.
            if !figures.province.counts.is_empty() || !figures.cases.is_empty() {
                let failed = |path: &Path| {
                    let path = path.to_owned();
                    move |source| Trouble::Write { path, source }
                };
                std::fs::create_dir_all(&folder).map_err(failed(&folder))?;
                for format in missing {
                    let octets = report::render(&figures, format, &reports.options)?;
                    write_whole(&path(format), &octets).map_err(failed(&path(format)))?;
                    tracing::info!("made last month's report {}", path(format).display());
                }
            }
        }
        self.settled = Some(wanted);
        Ok(())
    }
}

/// Ends a scan when the server stops.
struct Stoppable<'a>(&'a AtomicBool);

impl Watch for Stoppable<'_> {
    fn progress(&mut self, _: u64, _: u64) -> ControlFlow<()> {
        if self.0.load(Ordering::Acquire) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
