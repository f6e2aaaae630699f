//! Ships what the archiver sealed: each file once, the oldest first, and finds after them.
//!
//! A file's rows of one day are one batch: one INSERT, one block, one part, so all of it is there or nothing. Before a batch is
//! sent, ClickHouse is asked whether it has it, and so whatever was lost on the way, an acknowledgement, this process or
//! what it remembered (`state`), makes nothing twice. What is still on its way from an earlier try is met by the
//! batch's token, or by the drop of the table that it was meant for (`Way`). While ClickHouse is away, files stay as they
//! are for as long as the log's bounds let them; of one that had to go, only hits are sent, and the others are a gap.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use sha2::{Digest as _, Sha256};

use super::Options;
use super::client::{Ask, Client, ClientError};
use super::rows::{Common, block, day_of};
use super::schema::{Dialect, Missing, SchemaError, Target, Way, done, lines};
use super::sql::{Text as Literal, hex};
use super::state::State;
use crate::clock;
use crate::database::DatabaseError;
use crate::evidence::archive::Anonymise;
use crate::evidence::archive::veil::Veil;
use crate::evidence::ledger::Ledger;
use crate::evidence::owed::Owed;
use crate::evidence::record::Record;
use crate::evidence::store::embedded::store_folder;
use crate::evidence::store::{Catalogue, Entry, FileError, FileName, Filter, Rows, Stored};

/// How often is looked for new files.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long after a failure it is tried again: at first, and at most.
const RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// How often a trouble that lasts is told.
const REPORT: Duration = Duration::from_secs(600);
/// Finds that are sent at once.
const FINDS: usize = 10_000;
/// So many hits without a find among them are not looked through again.
const FAR: i64 = 10_000;
/// Beside busy workers, shipping waits.
const NICE: i32 = 10;
/// Seconds of a day.
const DAY: u32 = 86_400;

/// The running thread. When it is stopped or dropped, what is on its way is broken off, to be found out about next time.
#[derive(Debug)]
pub struct Shipper {
    is_stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Shipper {
    /// Starts shipping the log that `ledger` keeps, as the server that is called `node`. From now on no file goes by its age
    /// before it is shipped: start it before whoever lets files go.
    ///
    /// # Errors
    /// The system has nothing left for it.
    pub fn start(
        ledger: &Arc<Ledger>,
        options: &Options,
        node: &str,
        anonymise: Anonymise,
    ) -> io::Result<Self> {
        let is_stopping = Arc::new(AtomicBool::new(false));
        let owed = ledger.owed();
        // Until it is known what is there, all is owed.
        owed.begin(std::collections::HashSet::new());
        let mut work = Work::new(ledger.folder(), options, node, anonymise, &is_stopping)?;
        work.ledger = Some(Arc::clone(ledger));
        if let Err(error) = work.open() {
            work.tell(&error, 0);
        }
        let thread = std::thread::Builder::new().name("clickhouse".to_owned()).spawn(move || {
            // Of this thread only, as Linux has it.
            let _ = rustix::process::setpriority_process(None, NICE);
            work.run();
        })?;
        Ok(Self { is_stopping, thread: Some(thread) })
    }
}

impl Drop for Shipper {
    fn drop(&mut self) {
        self.is_stopping.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic was reported already.
            let _ = thread.join();
        }
    }
}

/// Why a file is not shipped yet.
#[derive(Debug, thiserror::Error)]
pub enum ShipError {
    /// ClickHouse's side.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A file's.
    #[error("{path}: {why}")]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Somebody else ships.
    #[error("{path}: the running server ships already, and goes on by itself; {waiting} files wait")]
    Taken {
        /// The lock.
        path: PathBuf,
        /// How many files are not there yet.
        waiting: usize,
    },
}

impl From<ClientError> for ShipError {
    fn from(error: ClientError) -> Self {
        Self::Schema(error.into())
    }
}

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shipped {
    /// Files whose records are all there now, and were not known to be before.
    pub files: u64,
    /// Records that were sent.
    pub records: u64,
    /// Records that were there already.
    pub known: u64,
}

/// Ships all that is sealed and not there yet, and returns; for a log that no server keeps at the moment.
///
/// # Errors
/// [`ShipError`]; what was shipped until then is.
pub fn ship(
    log: &std::path::Path,
    options: &Options,
    node: &str,
    anonymise: Anonymise,
    is_over: &Arc<AtomicBool>,
) -> Result<Shipped, ShipError> {
    let folder = store_folder(log);
    let failed = |error: io::Error| ShipError::File { path: folder.clone(), why: error.to_string() };
    let mut work = Work::new(log, options, node, anonymise, is_over).map_err(failed)?;
    work.round()?;
    Ok(work.shipped)
}

struct Work {
    options: Options,
    node: String,
    /// What tells this server's tables of passage from others'.
    mark: String,
    folder: PathBuf,
    ledger: Option<Arc<Ledger>>,
    veil: Veil,
    client: Client,
    state: Option<(State, std::fs::File)>,
    /// What the server is like; `None` until it was asked, and after each trouble.
    target: Option<Target>,
    is_stopping: Arc<AtomicBool>,
    shipped: Shipped,
    /// How long it is not tried again.
    wait: Duration,
    told: Option<Instant>,
    /// Files that cannot be read, which others do not wait for.
    unreadable: HashMap<u64, Instant>,
    /// What the catalogue's files were like when all of it was shipped.
    seen: Option<Seen>,
}

/// When a database's files were written last, and how long they are.
type Seen = [Option<(std::time::SystemTime, u64)>; 2];

impl Work {
    fn new(
        log: &std::path::Path,
        options: &Options,
        node: &str,
        anonymise: Anonymise,
        is_stopping: &Arc<AtomicBool>,
    ) -> io::Result<Self> {
        Ok(Self {
            options: options.clone(),
            node: node.to_owned(),
            mark: hex(&Sha256::digest(node.as_bytes())[..6]),
            folder: store_folder(log),
            ledger: None,
            veil: Veil::new(anonymise),
            client: Client::new(options)?,
            state: None,
            target: None,
            is_stopping: Arc::clone(is_stopping),
            shipped: Shipped::default(),
            wait: RETRY,
            told: None,
            unreadable: HashMap::new(),
            seen: None,
        })
    }

    fn owed(&self) -> Option<&Owed> {
        self.ledger.as_deref().map(Ledger::owed)
    }

    fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    fn run(&mut self) {
        while !self.is_stopping() {
            // A panic is a bug; it must not end the shipping.
            let wait = match catch_unwind(AssertUnwindSafe(|| self.round())) {
                Ok(Ok(())) => {
                    self.wait = RETRY;
                    if self.told.take().is_some() {
                        tracing::info!(url = %self.options.url, "ClickHouse has all that is sealed again");
                    }
                    LOOK_EVERY
                }
                Ok(Err(ShipError::Schema(SchemaError::Client(ClientError::Stopped)))) => continue,
                Ok(Err(error)) => {
                    let waiting = self.waiting().map_or(0, |waiting| waiting.len());
                    self.tell(&error, waiting);
                    self.target = None;
                    let wait = self.wait;
                    self.wait = (2 * wait).min(LONGEST_RETRY);
                    wait
                }
                Err(_) => LONGEST_RETRY,
            };
            // A wake-up between the two is not lost: then parking returns at once.
            std::thread::park_timeout(wait);
        }
    }

    /// A trouble costs nothing yet: files stay as they are.
    fn tell(&mut self, error: &ShipError, waiting: usize) {
        let now = Instant::now();
        if self.told.is_none_or(|told| now.saturating_duration_since(told) >= REPORT) {
            self.told = Some(now);
            tracing::warn!(
                waiting, %error,
                "ClickHouse does not get the query log at the moment; it is tried again until it does, and what is sealed waits here"
            );
        }
    }

    /// Opens what was remembered.
    fn open(&mut self) -> Result<&State, ShipError> {
        if self.state.is_none() {
            let path = self.folder.join("shipped.lock");
            let failed = |path: &std::path::Path, why: String| ShipError::File { path: path.to_owned(), why };
            let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
            made.map_err(|error| failed(&self.folder, error.to_string()))?;
            let lock = std::fs::File::create(&path).map_err(|error| failed(&path, error.to_string()))?;
            match lock.try_lock() {
                Ok(()) => {}
                Err(std::fs::TryLockError::WouldBlock) => {
                    let waiting = self.count_waiting().unwrap_or_default();
                    return Err(ShipError::Taken { path, waiting });
                }
                Err(std::fs::TryLockError::Error(error)) => return Err(failed(&path, error.to_string())),
            }
            let state = State::open(&self.folder, &target_of(&self.options)).map_err(self.forgetful())?;
            let standing = state.standing().map_err(self.forgetful())?;
            if let Some(owed) = self.owed() {
                owed.begin(standing.files);
            }
            self.state = Some((state, lock));
        }
        match &self.state {
            Some((state, _)) => Ok(state),
            None => Err(ShipError::File { path: self.folder.clone(), why: "it is not open".to_owned() }),
        }
    }

    /// How many files somebody else still has to ship.
    fn count_waiting(&self) -> Option<usize> {
        let there = State::read(&self.folder, &target_of(&self.options)).ok()?.files;
        let files = Catalogue::read(&self.folder).ok()??.files().ok()?;
        Some(files.iter().filter(|file| !there.contains(&file.name.number)).count())
    }

    fn forgetful<E: std::fmt::Display>(&self) -> impl Fn(E) -> ShipError + use<E> {
        let path = self.folder.join("shipped.db");
        move |error| ShipError::File { path: path.clone(), why: error.to_string() }
    }

    fn damaged(&self) -> impl Fn(DatabaseError) -> ShipError + use<> {
        let path = self.folder.clone();
        move |error| ShipError::File { path: path.clone(), why: error.to_string() }
    }

    /// The files that are still to be shipped, the oldest first, those too of which only hits are left.
    fn waiting(&mut self) -> Result<Vec<(Entry, bool)>, ShipError> {
        let standing = self.open()?.standing().map_err(self.forgetful())?;
        let failed = self.damaged();
        let Some(catalogue) = Catalogue::read(&self.folder).map_err(&failed)? else { return Ok(Vec::new()) };
        let files = catalogue.files().map_err(&failed)?;
        let retired = catalogue.retired().map_err(&failed)?;
        let mut all: Vec<(Entry, bool)> = files.into_iter().map(|file| (file, false)).collect();
        all.extend(retired.into_iter().map(|file| (file, true)));
        let known: std::collections::HashSet<u64> = all.iter().map(|(file, _)| file.name.number).collect();
        self.open()?.keep(|number| known.contains(&number)).map_err(self.forgetful())?;
        if let Some(owed) = self.owed() {
            owed.keep(|number| known.contains(&number));
        }
        all.retain(|(file, _)| !standing.files.contains(&file.name.number));
        all.sort_by_key(|(file, _)| (file.name.latest, file.name.number));
        Ok(all)
    }

    /// Ships what is there to ship.
    fn round(&mut self) -> Result<(), ShipError> {
        // Before it is read: what is entered meanwhile is seen the next time.
        let seen = Catalogue::files_in(&self.folder).map(|path| {
            let facts = std::fs::metadata(path).ok()?;
            Some((facts.modified().ok()?, facts.len()))
        });
        if self.seen == Some(seen) && self.target.is_some() && self.unreadable.is_empty() {
            return Ok(());
        }
        let waiting = self.waiting()?;
        if self.target.is_none() {
            self.target = self.find_target()?;
        }
        for (file, is_retired) in waiting {
            if self.is_stopping() {
                return Err(ClientError::Stopped.into());
            }
            let is_resting = |failed: &Instant| failed.elapsed() < REPORT;
            if self.unreadable.get(&file.name.number).is_some_and(is_resting) {
                continue;
            }
            if is_retired {
                self.ship_hits(&file)?;
            } else {
                self.ship(&file)?;
            }
        }
        while self.ship_finds()? {}
        self.seen = Some(seen);
        Ok(())
    }

    fn find_target(&self) -> Result<Option<Target>, ShipError> {
        let target = Target::find(&self.client, &self.options, Missing::Make, &mut || self.is_stopping())?;
        if let Some(target) = target.as_ref().filter(|target| target.way == Way::Stage) {
            self.clear_stages(target.dialect)?;
        }
        Ok(target)
    }

    /// Ships a file.
    fn ship(&mut self, file: &Entry) -> Result<(), ShipError> {
        let path = self.folder.join(file.name.to_string());
        let mut days: BTreeMap<u32, Rows> = BTreeMap::new();
        let read = Stored::open(&path).and_then(|stored| {
            stored.read(&Filter::default(), None, &mut |record| {
                days.entry(day_of(record.time)).or_default().add(&self.veil.over_record(record));
            })
        });
        match read {
            Ok(()) => {}
            // It is just being retired.
            Err(error) if error.is_absent() => return Ok(()),
            Err(error) => {
                self.unreadable.insert(file.name.number, Instant::now());
                let error = match error {
                    FileError::System(source) => source.to_string(),
                    other => other.to_string(),
                };
                tracing::error!(path = %path.display(), error, "a file of the query log cannot be read: ClickHouse does not get it");
                return Ok(());
            }
        }
        self.send_days(&stem(&file.name), days, false)?;
        self.settle(file)
    }

    /// Ships what is left of a file that had to go.
    fn ship_hits(&mut self, file: &Entry) -> Result<(), ShipError> {
        let failed = self.damaged();
        let hits = match Catalogue::read(&self.folder).map_err(&failed)? {
            Some(catalogue) => catalogue.hits_of(file.id).map_err(&failed)?,
            None => Vec::new(),
        };
        self.send_days(&stem(&file.name), by_day(&hits), false)?;
        self.settle(file)
    }

    fn settle(&mut self, file: &Entry) -> Result<(), ShipError> {
        let number = file.name.number;
        self.open()?.add(number, &file.name.to_string()).map_err(self.forgetful())?;
        if let Some(owed) = self.owed() {
            owed.settle(number);
        }
        self.shipped.files += 1;
        Ok(())
    }

    /// Ships hits that were found later; returns whether there may be more.
    fn ship_finds(&mut self) -> Result<bool, ShipError> {
        let failed = self.damaged();
        let Some(catalogue) = Catalogue::read(&self.folder).map_err(&failed)? else { return Ok(false) };
        let forgetful = self.forgetful();
        let state = self.open()?;
        let mut last = state.standing().map_err(&forgetful)?.finds;
        let newest = catalogue.last_hit().map_err(&failed)?;
        if last > newest {
            // It was made anew, and counts from the beginning.
            last = 0;
        }
        let ahead = state.finds_ahead().map_err(&forgetful)?;
        let finds = catalogue.finds(last, ahead.unwrap_or(i64::MAX), FINDS).map_err(&failed)?;
        let (Some(first), Some(end)) = (finds.first(), finds.last().map(|(id, ..)| *id)) else {
            // Those ahead expired meanwhile; what is far behind need not be looked through again.
            let passed = ahead.or_else(|| Some(newest).filter(|newest| newest - last >= FAR));
            if let Some(passed) = passed {
                state.end_finds(passed).map_err(&forgetful)?;
            }
            return Ok(ahead.is_some());
        };
        let end = ahead.unwrap_or(end);
        state.begin_finds(end).map_err(&forgetful)?;
        let stem = format!("finds-{end:016}_{}", first.1);
        let hits: Vec<(i64, Vec<u8>)> = finds.into_iter().map(|(_, time, octets)| (time, octets)).collect();
        self.send_days(&stem, by_day(&hits), true)?;
        self.open()?.end_finds(end).map_err(&forgetful)?;
        Ok(true)
    }

    fn send_days(&mut self, stem: &str, days: BTreeMap<u32, Rows>, is_late: bool) -> Result<(), ShipError> {
        for (day, rows) in days {
            if rows.len() > 0 {
                self.send(&rows, &format!("{stem}/{day}"), day, is_late)?;
            }
        }
        Ok(())
    }

    /// Sees to it that a batch is there, once.
    fn send(&mut self, rows: &Rows, batch: &str, day: u32, is_late: bool) -> Result<(), ShipError> {
        let Some(target) = self.target.clone() else { return Err(self.client.nonsense().into()) };
        let len = rows.len() as u64;
        let there = self.count(batch, day)?;
        // Part of a batch is there where the rest is past its time; no server takes a part of one.
        let is_expired = i64::from(day + 1) * i64::from(DAY) * 1_000_000
            < clock::now().saturating_sub(micros(self.options.keep_queries));
        if there >= len || there > 0 && (target.way == Way::Stage || is_expired) {
            self.shipped.known += there;
            return Ok(());
        }
        let common = Common { node: &self.node, batch, is_late };
        let octets = block(rows, &target.columns, target.dialect, common);
        let octets = Bytes::from(
            octets.map_err(|error| ShipError::File { path: self.folder.clone(), why: error.to_string() })?,
        );
        match target.way {
            Way::Token => self.insert(&target, "records", batch, octets)?,
            Way::Stage => self.pass(&target, batch, day, len, octets)?,
        }
        self.shipped.records += len;
        Ok(())
    }

    /// How many rows of a batch are there.
    fn count(&self, batch: &str, day: u32) -> Result<u64, ShipError> {
        let first = day * DAY;
        let sql = format!(
            "SELECT count() FROM {} WHERE hour >= toDateTime({first}, 'UTC') AND hour <= toDateTime({}, 'UTC') \
             AND node = {} AND batch = {}",
            self.options.table(),
            first + (DAY - 3600),
            Literal(self.node.as_bytes()),
            Literal(batch.as_bytes())
        );
        self.number(&sql)
    }

    fn number(&self, sql: &str) -> Result<u64, ShipError> {
        let lines = lines(&self.client, sql, &mut || self.is_stopping())?;
        lines.first().and_then(|line| line.parse().ok()).ok_or_else(|| self.client.nonsense().into())
    }

    fn insert(&self, target: &Target, table: &str, batch: &str, rows: Bytes) -> Result<(), ShipError> {
        let columns: Vec<&str> = target.columns.iter().map(|column| column.name()).collect();
        let sql =
            format!("INSERT INTO {}.{table} ({}) FORMAT Native", self.options.database, columns.join(", "));
        let ask = Ask { sql: &sql, settings: target.settings_of(batch), rows: Some(rows) };
        Ok(self.client.ask(&ask, self.options.timeout, &mut || self.is_stopping(), &mut |_| Ok(()))?)
    }

    /// Brings a batch to a table of its own, and from there into its place in one step.
    fn pass(&self, target: &Target, batch: &str, day: u32, len: u64, rows: Bytes) -> Result<(), ShipError> {
        let mut is_over = || self.is_stopping();
        // Never the same again: what is late for one finds no other.
        let stage = format!("stage_{}_{}", self.mark, hex(&rand::random::<[u8; 8]>()));
        let (table, database) = (self.options.table(), &self.options.database);
        let create = format!(
            "CREATE TABLE {database}.{stage} AS {table} ENGINE = MergeTree PARTITION BY toYYYYMMDD(hour) ORDER BY (hour, client, time)"
        );
        done(&self.client, &create, &mut is_over)?;
        let passed = self.insert(target, &stage, batch, rows).and_then(|()| {
            if self.number(&format!("SELECT count() FROM {database}.{stage}"))? != len {
                return Err(self.client.nonsense().into());
            }
            let attach =
                format!("ALTER TABLE {table} ATTACH PARTITION {} FROM {database}.{stage}", partition(day));
            Ok(done(&self.client, &attach, &mut is_over)?)
        });
        // Where this fails, the next try begins with it.
        self.drop_stage(&stage, target.dialect)?;
        passed
    }

    /// Returns when nobody works with it any more.
    fn drop_stage(&self, stage: &str, dialect: Dialect) -> Result<(), ShipError> {
        let database = &self.options.database;
        let wait = if dialect == Dialect::Old { "" } else { " SYNC" };
        let sql = format!("DROP TABLE IF EXISTS {database}.{stage}{wait}");
        Ok(done(&self.client, &sql, &mut || self.is_stopping())?)
    }

    /// Drops what earlier tries left: from then on nothing of them can arrive any more.
    fn clear_stages(&self, dialect: Dialect) -> Result<(), ShipError> {
        let mut is_over = || self.is_stopping();
        let prefix = format!("stage_{}_", self.mark);
        let sql = format!(
            "SELECT name FROM system.tables WHERE database = {} AND substring(name, 1, {}) = {}",
            Literal(self.options.database.to_string().as_bytes()),
            prefix.len(),
            Literal(prefix.as_bytes())
        );
        for stage in lines(&self.client, &sql, &mut is_over)? {
            // Nothing but what we would name so ourselves.
            let rest = stage.strip_prefix(&prefix).unwrap_or_default();
            if rest.len() == 16 && rest.bytes().all(|it| it.is_ascii_hexdigit()) {
                self.drop_stage(&stage, dialect)?;
            }
        }
        Ok(())
    }
}

/// Whom a memory is about.
pub(super) fn target_of(options: &Options) -> String {
    format!("{} {}", options.url, options.database)
}

/// What a file is called in ClickHouse: numbers in the order of their texts.
pub(super) fn stem(name: &FileName) -> String {
    format!("{:016}_{}_{}", name.number, name.earliest, name.latest)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// A day as partitions are called: 20261126.
fn partition(day: u32) -> String {
    let time = Timestamp::from_second(i64::from(day) * i64::from(DAY)).unwrap_or_default();
    time.to_zoned_datetime(TimeZone::UTC).strftime("%Y%m%d").to_string()
}

fn by_day(hits: &[(i64, Vec<u8>)]) -> BTreeMap<u32, Rows> {
    let mut days: BTreeMap<u32, Rows> = BTreeMap::new();
    for (time, octets) in hits {
        if let Some(record) = Record::decode(octets, *time) {
            days.entry(day_of(*time)).or_default().add(&record);
        }
    }
    days
}
