//! Who was seen asking, for the figures of endpoint protection: counted from the log day by day, and settled once an hour or when
//! somebody imports something.
//!
//! A thread at a low priority; what it has counted it does not count again, but for the day that is not over.

use std::io;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Reloader;
use crate::cases::{CaseFilter, Desk, DeskError, State, Subject};
use crate::client::Agencies;
use crate::clock;
use crate::config::Config;
use crate::coverage::{Coverage, DAY, Ledger, LedgerError, Seen, Settling};
use crate::evidence::store::{By, Filter, StoreError, Watch};
use crate::identity::{Book, BookError, Hints, Who};
use crate::report::{self, Coverages};

/// Beside busy workers, figures wait.
const NICE: i32 = 10;
/// How often is counted, and how long after a start.
const EVERY: Duration = Duration::from_secs(3600);
const FIRST: Duration = Duration::from_secs(60);
/// Days that are counted where nothing was counted yet.
const DAYS: i64 = 30;
/// Open cases whose machines count as seen, also where their queries came by an agency's own DNS server.
const CASES: u64 = 50_000;
/// Days begin at midnight in Vietnam.
const OFFSET: i64 = 7 * 3_600_000_000;

/// Why who asked is not known up to now.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// The log.
    #[error(transparent)]
    Log(#[from] StoreError),
    /// The ledger of protection.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Machines.
    #[error(transparent)]
    Book(#[from] BookError),
    /// Cases.
    #[error(transparent)]
    Desk(#[from] DeskError),
    /// Somebody had it stopped.
    #[error("stopped before the end: who asked is not known up to now")]
    Stopped,
}

/// Counts who asked up to now, and settles who is protected.
///
/// # Errors
/// [`SurveyError`]; what was counted stays.
pub fn survey(
    config: &Config,
    ledger: &Ledger,
    book: &Book,
    now: i64,
    watch: &mut dyn Watch,
) -> Result<(), SurveyError> {
    let log = super::report::store(config, false);
    let agencies = agencies(config);
    // What a clock counted that was ahead of today is counted again.
    let counted = ledger.counted_until()?.filter(|until| *until <= now);
    let from = counted.unwrap_or(now - DAYS * DAY).max(now - DAYS * DAY);
    let mut start = (from + OFFSET).div_euclid(DAY) * DAY - OFFSET;
    while start < now {
        let end = (start + DAY).min(now);
        let filter = Filter { since: Some(start), until: Some(end), ..Filter::default() };
        let (counts, scan) = log.count(&filter, By::Client, watch)?;
        if scan.is_stopped {
            return Err(SurveyError::Stopped);
        }
        let mut seen = Vec::with_capacity(counts.len());
        for client in counts.iter().filter_map(|count| count.value.parse::<IpAddr>().ok()) {
            if watch.progress(0, 0).is_break() {
                return Err(SurveyError::Stopped);
            }
            let agency = agencies.of(client).map(|agency| agency.id.to_string());
            let hints = Hints { agency: agency.as_deref(), ..Hints::default() };
            let subject = match book.who(client, end - 1, &hints)? {
                Who::Machine(machine) => Subject::Machine(machine.id),
                Who::Conflict(_) | Who::Unknown => Subject::Address(client),
            };
            seen.push(Seen { subject, agency, client, time: end - 1 });
        }
        ledger.saw(&seen, Some(end))?;
        start += DAY;
    }
    ledger.saw(&of_cases(config)?, None)?;
    settle(config, ledger, book, now)?;
    Ok(())
}

/// The machines of open cases.
fn of_cases(config: &Config) -> Result<Vec<Seen>, DeskError> {
    let folder = config.data_dir.join("cases");
    let Some(desk) = Desk::open_existing(&folder, config.cases.options.clone())? else {
        return Ok(Vec::new());
    };
    let states = vec![State::New, State::Notified, State::Cleaned, State::Watched];
    let cases = desk.list(&CaseFilter { states, limit: Some(CASES), ..CaseFilter::default() })?;
    let seen = cases.into_iter().map(|case| Seen {
        subject: case.subject,
        agency: case.agency,
        client: case.client,
        time: case.course.last_hit,
    });
    Ok(seen.collect())
}

/// Settles who is protected, by what is known already of who asked.
///
/// # Errors
/// [`LedgerError`].
pub fn settle(config: &Config, ledger: &Ledger, book: &Book, now: i64) -> Result<(), LedgerError> {
    let agencies = agencies(config);
    let names: Vec<(String, String)> =
        config.agencies.iter().map(|agency| (agency.id.to_string(), agency.name.to_string())).collect();
    let agency_of = |address: IpAddr| agencies.of(address).map(|agency| agency.id.to_string());
    ledger.settle(&Settling { book, agencies: &names, agency_of: &agency_of }, now)
}

/// Protection for reports; `None` where nothing of it was imported.
pub(super) fn coverages(data_dir: &Path, span: (i64, i64)) -> Option<Coverages> {
    let of = |it: Coverage| report::Coverage { machines: it.machines, protected: it.protected };
    let read = || {
        let Some(ledger) = Ledger::open_existing(data_dir)? else { return Ok(None) };
        if !ledger.has_exports()? {
            return Ok(None);
        }
        let all = ledger.by_agency(span, None)?;
        let agencies = all.into_iter().filter_map(|(agency, it)| Some((agency?, of(it)))).collect();
        Ok::<_, LedgerError>(Some(Coverages { province: of(ledger.province(span)?), agencies }))
    };
    read().unwrap_or_else(|error| {
        tracing::warn!("the report has no figures of endpoint protection: {error}");
        None
    })
}

fn agencies(config: &Config) -> Agencies {
    Agencies::new(config.agencies.clone()).expect("the configuration refuses a network of two agencies")
}

/// The thread that counts.
pub(super) struct Surveyor {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    is_over: AtomicBool,
    turn: Mutex<()>,
    changed: Condvar,
}

impl Surveyor {
    /// Begins to count.
    pub(super) fn start(reloader: Reloader, book: Arc<Book>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            is_over: AtomicBool::new(false),
            turn: Mutex::new(()),
            changed: Condvar::new(),
        });
        let of_thread = Arc::clone(&shared);
        let thread = super::thread("coverage", move || of_thread.run(&reloader, &book))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Ends it.
    pub(super) fn stop(&self) {
        let turn = self.shared.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.is_over.store(true, Ordering::Release);
        self.shared.changed.notify_all();
        drop(turn);
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // It reports its panics itself.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self, reloader: &Reloader, book: &Book) {
        // Of this thread only, as Linux has it.
        let _ = rustix::process::setpriority_process(None, NICE);
        let mut wait = FIRST;
        loop {
            let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            if self.is_over.load(Ordering::Acquire) {
                return;
            }
            let waited = self.changed.wait_timeout(turn, wait);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
            if self.is_over.load(Ordering::Acquire) {
                return;
            }
            wait = EVERY;
            let config = Arc::clone(&reloader.current.lock().unwrap_or_else(PoisonError::into_inner));
            let data_dir: &Path = &reloader.started.data_dir;
            let counted = Ledger::open(data_dir)
                .map_err(SurveyError::from)
                .and_then(|ledger| survey(&config, &ledger, book, clock::now(), &mut Until(&self.is_over)));
            match counted {
                Ok(()) | Err(SurveyError::Stopped) => {}
                Err(error) => tracing::warn!("who asked was not counted for endpoint protection: {error}"),
            }
        }
    }
}

/// Ends a scan when the server stops.
struct Until<'a>(&'a AtomicBool);

impl Watch for Until<'_> {
    fn progress(&mut self, _: u64, _: u64) -> ControlFlow<()> {
        if self.0.load(Ordering::Acquire) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
