//! The ledger: an SQLite database of exports and their rows, of who was seen asking, and of what that makes together.
//!
//! ```text
//! exports   one row each, by a name that its versions have in common
//! installs  rows of exports, and the machine or address that each turned out to be
//! asked     who was seen asking, from when to when, and whether it is protected
//! marks     until when it is known who asked, and when all of it was settled
//! ```
//!
//! A new version of an export replaces the one before, in one transaction. Everything can be imported or counted again.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use super::read::{Batch, Fault};
use super::{Coverage, Install, STANDINGS, Seen, Standing, State};
use crate::cases::Subject;
use crate::database::{self, DatabaseError, Durability, Layout};
use crate::tabular::table::Place;

/// All of it can be made anew from files and the log.
const LAYOUT: Layout = Layout {
    steps: &[SCHEMA],
    durability: Durability::Whole,
    cache_kib: 8192,
    log_size: 16 << 20,
    shrinks: false,
};

const SCHEMA: &str = "
CREATE TABLE exports (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, product TEXT, agency TEXT, as_of INTEGER NOT NULL,
    taken INTEGER NOT NULL, by TEXT NOT NULL, rows INTEGER NOT NULL, faults INTEGER NOT NULL) STRICT;
CREATE TABLE installs (
    id INTEGER PRIMARY KEY, export INTEGER NOT NULL, place TEXT NOT NULL, host TEXT, macs TEXT NOT NULL, addresses TEXT NOT NULL,
    unit TEXT, product TEXT, version TEXT, seen INTEGER, state INTEGER NOT NULL, subject TEXT, agency TEXT) STRICT;
CREATE INDEX installs_export ON installs (export);
CREATE INDEX installs_subject ON installs (subject);
CREATE TABLE asked (
    id INTEGER PRIMARY KEY, subject TEXT NOT NULL UNIQUE, agency TEXT, client TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    host TEXT, owner TEXT, standing INTEGER NOT NULL, install INTEGER) STRICT;
CREATE INDEX asked_agency ON asked (agency, standing);
CREATE INDEX asked_last ON asked (last);
CREATE TABLE marks (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
";

/// Most exports.
const MAX_EXPORTS: i64 = 5000;
/// Most who are known to have asked: addresses can be forged.
const MAX_ASKED: i64 = 1_000_000;
/// Octets of an export's name.
pub(super) const LONGEST_NAME: usize = 200;

/// Why the ledger cannot be used, or does not take something.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The database refuses.
    #[error("{path}: {source}")]
    Database {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: DatabaseError,
    },
    /// The book of machines refuses.
    #[error(transparent)]
    Book(#[from] crate::identity::BookError),
    /// No row could be read.
    #[error("no computer could be read of it ({0}); what was known before stays")]
    Nothing(Fault),
    /// There is nothing in it.
    #[error("there is no row in it; what was known before stays")]
    Empty,
    /// It is older than what is known.
    #[error("{name}: an export of a later time was taken already; `--as-of` says of when this one is")]
    Older {
        /// The export.
        name: String,
    },
    /// The name is none.
    #[error("an export's name has one to {LONGEST_NAME} octets without control characters")]
    Name,
    /// There are too many.
    #[error(
        "there are {MAX_EXPORTS} exports already; `sachdns coverage forget` takes out those that nobody needs"
    )]
    Full,
}

type Result<T> = std::result::Result<T, LedgerError>;

/// A file that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// By what its versions are known.
    pub name: String,
    /// The product, where all of it is about one.
    pub product: Option<String>,
    /// The agency whose computers are in it, where somebody said so.
    pub agency: Option<String>,
    /// Of when it is.
    pub as_of: i64,
    /// When it was taken.
    pub taken: i64,
    /// … by whom.
    pub by: String,
    /// Its computers.
    pub rows: u64,
    /// Those of them that are known machines or addresses.
    pub matched: u64,
    /// What could not be read of it.
    pub faults: u64,
}

/// What taking an export did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// Computers in it.
    pub rows: u64,
    /// Computers in the version before; 0 where there was none.
    pub before: u64,
}

/// Which machines are asked for; everything that is set must fit.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Of this agency.
    pub agency: Option<String>,
    /// With one of these standings; none: all.
    pub standings: Vec<Standing>,
    /// Seen asking since.
    pub since: Option<i64>,
    /// Behind this row.
    pub after: Option<i64>,
    /// At most so many.
    pub limit: Option<u64>,
}

/// A machine that was seen, and what is known of its protection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its place in lists.
    pub id: i64,
    /// Who it is.
    pub subject: Subject,
    /// Its agency.
    pub agency: Option<String>,
    /// The address by which it asked last.
    pub client: IpAddr,
    /// When it was first seen, and last.
    pub first: i64,
    /// … and last.
    pub last: i64,
    /// What people call it.
    pub host: Option<String>,
    /// Who works at it.
    pub owner: Option<String>,
    /// Whether it is protected.
    pub standing: Standing,
    /// By what.
    pub product: Option<String>,
    /// … in which version.
    pub version: Option<String>,
    /// When the product was heard of last.
    pub heard: Option<i64>,
    /// The export that says so.
    pub export: Option<String>,
    /// … and where in it.
    pub place: Option<String>,
}

/// What is known of protection. Any number of processes may have it open.
#[derive(Debug)]
pub struct Ledger {
    connection: Mutex<Connection>,
    path: PathBuf,
}

/// An export as [`Ledger::take`] wants it.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// By what its versions are known.
    pub name: &'a str,
    /// The agency whose computers are in it, where it does not say so itself.
    pub agency: Option<&'a str>,
    /// Of when it is.
    pub as_of: i64,
    /// Who brings it.
    pub by: &'a str,
}

impl Ledger {
    /// Opens the ledger of this data folder; `None` where there is none.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub fn open_existing(data_dir: &Path) -> Result<Option<Self>> {
        if path(data_dir).exists() { Self::open(data_dir).map(Some) } else { Ok(None) }
    }

    /// Opens the ledger of this data folder; makes it where there is none.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub fn open(data_dir: &Path) -> Result<Self> {
        let path = path(data_dir);
        match database::open(&path, &LAYOUT) {
            Ok(connection) => Ok(Self { connection: Mutex::new(connection), path }),
            Err(source) => Err(LedgerError::Database { path, source }),
        }
    }

    pub(super) fn with<T>(
        &self,
        act: impl FnOnce(&mut Connection) -> std::result::Result<T, rusqlite::Error>,
    ) -> Result<T> {
        // Transactions are rolled back where one who held the lock panicked.
        let mut connection: MutexGuard<'_, _> =
            self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut connection)
            .map_err(|source| LedgerError::Database { path: self.path.clone(), source: source.into() })
    }

    /// Takes an export in the place of its version before. [`Self::settle`] makes it count.
    ///
    /// # Errors
    /// [`LedgerError`]; then nothing has changed.
    pub fn take(&self, offer: &Offer<'_>, batch: &Batch, now: i64) -> Result<Taken> {
        if offer.name.is_empty() || offer.name.len() > LONGEST_NAME || offer.name.contains(char::is_control) {
            return Err(LedgerError::Name);
        }
        if batch.installs.is_empty() {
            let first = batch.faults.first();
            return Err(first.map_or(LedgerError::Empty, |(_, fault)| LedgerError::Nothing(fault.clone())));
        }
        self.with(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let before: Option<(i64, i64, u64)> = transaction
                .query_row("SELECT id, as_of, rows FROM exports WHERE name = ?1", [offer.name], |row| {
                    Ok((row.get(0)?, row.get(1)?, number(row, 2)?))
                })
                .optional()?;
            if before.is_some_and(|(_, as_of, _)| as_of > offer.as_of) {
                return Ok(Err(LedgerError::Older { name: offer.name.to_owned() }));
            }
            let count: i64 = transaction.query_row("SELECT count(*) FROM exports", [], |row| row.get(0))?;
            if before.is_none() && count >= MAX_EXPORTS {
                return Ok(Err(LedgerError::Full));
            }
            if let Some((id, ..)) = before {
                transaction.execute("DELETE FROM installs WHERE export = ?1", [id])?;
                transaction.execute("DELETE FROM exports WHERE id = ?1", [id])?;
            }
            let faults = batch.faults.len() as u64 + batch.more_faults;
            transaction.execute(
                "INSERT INTO exports (name, product, agency, as_of, taken, by, rows, faults) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                params![
                    offer.name, batch.product, offer.agency, offer.as_of, now, offer.by, signed(batch.installs.len() as u64), signed(faults)
                ],
            )?;
            let export = transaction.last_insert_rowid();
            let mut insert = transaction.prepare(
                "INSERT INTO installs (export, place, host, macs, addresses, unit, product, version, seen, state)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?;
            for it in &batch.installs {
                insert.execute(params![
                    export, it.place.to_string(), it.host, joined(&it.macs), joined(&it.addresses), it.unit, it.product,
                    it.version, it.seen, it.state as i64
                ])?;
            }
            drop(insert);
            transaction.commit()?;
            Ok(Ok(Taken { rows: batch.installs.len() as u64, before: before.map_or(0, |(_, _, rows)| rows) }))
        })?
    }

    /// Takes out an export with all its rows; `false` where there is none of this name.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub fn forget(&self, name: &str) -> Result<bool> {
        self.with(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute(
                "DELETE FROM installs WHERE export IN (SELECT id FROM exports WHERE name = ?1)",
                [name],
            )?;
            let gone = transaction.execute("DELETE FROM exports WHERE name = ?1", [name])?;
            transaction.commit()?;
            Ok(gone > 0)
        })
    }

    /// Every export, the last taken first.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub fn exports(&self) -> Result<Vec<Export>> {
        self.with(|connection| {
            let mut select = connection.prepare(
                "SELECT name, product, agency, as_of, taken, by, rows, faults,
                    (SELECT count(*) FROM installs WHERE export = exports.id AND subject IS NOT NULL)
                 FROM exports ORDER BY taken DESC, id DESC",
            )?;
            let rows = select.query_map([], |row| {
                Ok(Export {
                    name: row.get(0)?,
                    product: row.get(1)?,
                    agency: row.get(2)?,
                    as_of: row.get(3)?,
                    taken: row.get(4)?,
                    by: row.get(5)?,
                    rows: number(row, 6)?,
                    faults: number(row, 7)?,
                    matched: number(row, 8)?,
                })
            })?;
            rows.collect()
        })
    }

    /// These were seen asking; until `mark` it is known who was.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub fn saw(&self, seen: &[Seen], mark: Option<i64>) -> Result<()> {
        self.with(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut room = MAX_ASKED - transaction.query_row("SELECT count(*) FROM asked", [], |row| row.get::<_, i64>(0))?;
            let mut update = transaction.prepare(
                "UPDATE asked SET first = min(first, ?2), last = max(last, ?2),
                    client = CASE WHEN ?2 >= last THEN ?3 ELSE client END, agency = CASE WHEN ?2 >= last THEN coalesce(?4, agency) ELSE agency END
                 WHERE subject = ?1",
            )?;
            let mut insert = transaction.prepare(
                "INSERT INTO asked (subject, first, last, client, agency, standing) VALUES (?1, ?2, ?2, ?3, ?4, ?5)",
            )?;
            for it in seen {
                let (subject, client) = (it.subject.to_string(), it.client.to_string());
                let is_known = update.execute(params![subject, it.time, client, it.agency])? > 0;
                if !is_known && room > 0 {
                    room -= 1;
                    insert.execute(params![subject, it.time, client, it.agency, Standing::Unknown as i64])?;
                }
            }
            drop((update, insert));
            if let Some(mark) = mark {
                set_mark(&transaction, COUNTED, mark)?;
            }
            transaction.commit()
        })
    }

    /// Until when it is known who asked.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub fn counted_until(&self) -> Result<Option<i64>> {
        self.with(|connection| mark(connection, COUNTED))
    }

    /// When standings were settled last.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub fn settled(&self) -> Result<Option<i64>> {
        self.with(|connection| mark(connection, SETTLED))
    }

    /// Whether anybody ever imported anything: without, nobody is said to be unprotected for want of an export.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub fn has_exports(&self) -> Result<bool> {
        self.with(|connection| {
            connection.query_row("SELECT EXISTS (SELECT 1 FROM exports)", [], |row| row.get(0))
        })
    }

    /// How many machines that asked from `since` on and before `until` are protected now, by agency (`None`: of no known one), in the
    /// order of their ids. One that asked before and after counts too.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub fn by_agency(
        &self,
        (since, until): (i64, i64),
        agency: Option<&str>,
    ) -> Result<Vec<(Option<String>, Coverage)>> {
        self.with(|connection| {
            let mut select = connection.prepare(
                "SELECT agency, standing, count(*) FROM asked WHERE last >= ?1 AND first < ?2 AND (?3 IS NULL OR agency = ?3)
                 GROUP BY agency, standing ORDER BY agency",
            )?;
            let rows = select.query_map(params![since, until, agency], |row| {
                Ok((row.get::<_, Option<String>>(0)?, row.get::<_, i64>(1)?, number(row, 2)?))
            })?;
            let mut all: Vec<(Option<String>, Coverage)> = Vec::new();
            for row in rows {
                let (agency, standing, count) = row?;
                if all.last().is_none_or(|(last, _)| *last != agency) {
                    all.push((agency, Coverage::default()));
                }
                if let Some((_, coverage)) = all.last_mut() {
                    coverage.add(Standing::of_number(standing), count);
                }
            }
            Ok(all)
        })
    }

    /// … of all together: each machine counts once.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub fn province(&self, span: (i64, i64)) -> Result<Coverage> {
        let mut all = Coverage::default();
        for (_, it) in self.by_agency(span, None)? {
            all.machines += it.machines;
            all.protected += it.protected;
            all.unprotected += it.unprotected;
            all.unknown += it.unknown;
        }
        Ok(all)
    }

    /// Machines that were seen, in the order of their places.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub fn list(&self, query: &Query) -> Result<Vec<Row>> {
        let wanted = |standing: Standing| query.standings.is_empty() || query.standings.contains(&standing);
        // A list cannot be a parameter; these numbers are our own.
        let standings: Vec<String> = STANDINGS
            .iter()
            .filter(|(_, standing)| wanted(*standing))
            .map(|(_, standing)| (*standing as i64).to_string())
            .collect();
        let select = format!(
            "{SELECT} WHERE asked.id > ?1 AND (?2 IS NULL OR asked.agency = ?2) AND asked.last >= ?3 AND asked.standing IN ({})
             ORDER BY asked.id LIMIT ?4",
            standings.join(", ")
        );
        self.with(|connection| {
            let limit = query.limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
            let mut select = connection.prepare(&select)?;
            let (after, since) = (query.after.unwrap_or(i64::MIN), query.since.unwrap_or(i64::MIN));
            let rows = select.query_map(params![after, query.agency, since, limit], row)?;
            rows.filter_map(std::result::Result::transpose).collect()
        })
    }

    /// What is known of these; `None` for who was not seen yet.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub fn standings(&self, subjects: impl IntoIterator<Item = Subject>) -> Result<Vec<Option<Row>>> {
        self.with(|connection| {
            let mut select = connection.prepare(&format!("{SELECT} WHERE asked.subject = ?1"))?;
            let find =
                |subject: Subject| Ok(select.query_row([subject.to_string()], row).optional()?.flatten());
            subjects.into_iter().map(find).collect()
        })
    }
}

/// Where the ledger of a data folder is.
fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("coverage").join("coverage.db")
}

/// Until when it is known who asked.
const COUNTED: &str = "counted";
/// When standings were settled.
pub(super) const SETTLED: &str = "settled";

pub(super) fn set_mark(
    connection: &Connection,
    key: &str,
    value: i64,
) -> std::result::Result<(), rusqlite::Error> {
    let set = "INSERT INTO marks (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    connection.execute(set, params![key, value]).map(drop)
}

fn mark(connection: &Connection, key: &str) -> std::result::Result<Option<i64>, rusqlite::Error> {
    connection.query_row("SELECT value FROM marks WHERE key = ?1", [key], |row| row.get(0)).optional()
}

const SELECT: &str = "
    SELECT asked.id, asked.subject, asked.agency, asked.client, asked.first, asked.last, asked.host, asked.owner, asked.standing,
        installs.product, installs.version, installs.seen, exports.name, installs.place
    FROM asked LEFT JOIN installs ON installs.id = asked.install LEFT JOIN exports ON exports.id = installs.export";

/// SQLite has numbers with a sign; ours are far below.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn number(row: &rusqlite::Row<'_>, column: usize) -> std::result::Result<u64, rusqlite::Error> {
    Ok(row.get::<_, i64>(column)?.unsigned_abs())
}

/// `None` where somebody else wrote it.
fn row(row: &rusqlite::Row<'_>) -> std::result::Result<Option<Row>, rusqlite::Error> {
    let (subject, client): (String, String) = (row.get(1)?, row.get(3)?);
    let (Ok(subject), Ok(client)) = (subject.parse(), client.parse()) else { return Ok(None) };
    Ok(Some(Row {
        id: row.get(0)?,
        subject,
        agency: row.get(2)?,
        client,
        first: row.get(4)?,
        last: row.get(5)?,
        host: row.get(6)?,
        owner: row.get(7)?,
        standing: Standing::of_number(row.get(8)?),
        product: row.get(9)?,
        version: row.get(10)?,
        heard: row.get(11)?,
        export: row.get(12)?,
        place: row.get(13)?,
    }))
}

fn joined<T: ToString>(values: &[T]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// An installation as the ledger has it, with its number, and of when its export is and whose.
pub(super) struct Kept {
    pub(super) id: i64,
    pub(super) install: Install,
    pub(super) as_of: i64,
    pub(super) export_agency: Option<String>,
}

/// Every installation.
pub(super) fn kept(connection: &Connection) -> std::result::Result<Vec<Kept>, rusqlite::Error> {
    let mut select = connection.prepare(
        "SELECT installs.id, host, macs, addresses, unit, installs.product, version, seen, state, as_of, exports.agency
         FROM installs JOIN exports ON exports.id = installs.export",
    )?;
    let rows = select.query_map([], |row| {
        let (macs, addresses): (String, String) = (row.get(2)?, row.get(3)?);
        let state = match row.get::<_, i64>(8)? {
            1 => State::On,
            2 => State::Off,
            _ => State::Unsaid,
        };
        Ok(Kept {
            id: row.get(0)?,
            install: Install {
                place: Place { sheet: None, line: 0 },
                host: row.get(1)?,
                macs: macs.split(' ').filter_map(|mac| mac.parse().ok()).collect(),
                addresses: addresses.split(' ').filter_map(|address| address.parse().ok()).collect(),
                unit: row.get(4)?,
                product: row.get(5)?,
                version: row.get(6)?,
                seen: row.get(7)?,
                state,
            },
            as_of: row.get(9)?,
            export_agency: row.get(10)?,
        })
    })?;
    rows.collect()
}
