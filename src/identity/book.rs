//! The book: an SQLite database of machines, of what they are known by, and of claims to addresses.
//!
//! ```text
//! machines   one row each; ids are never given twice
//! marks      what a machine is known by: MAC, client id or DUID, host name within an agency, …
//! sources    files that were read, and as of when
//! claims     source, address, machine, [start, until): of leases of one source and address the one that began last counts
//! merged     machines that turned out to be another one, which their old ids still lead to
//! ```
//!
//! Asking only; `take` enters what sources say, `matching` says whose claim it is.

use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{Hints, Interval, Machine, MachineId, Who};
use crate::database::{self, DatabaseError, Durability, Layout};
use crate::mac::Mac;

/// Sources can be read again, but cases name machines by their numbers: one that a power cut took back would be given to another machine.
const LAYOUT: Layout = Layout {
    steps: &[SCHEMA, LAST],
    durability: Durability::Commits,
    cache_kib: 8192,
    log_size: 16 << 20,
    shrinks: false,
};

const SCHEMA: &str = "
CREATE TABLE machines (
    id INTEGER PRIMARY KEY AUTOINCREMENT, agency TEXT, host TEXT, owner TEXT, unit TEXT, model TEXT, protection TEXT,
    notes TEXT, first INTEGER NOT NULL, last INTEGER NOT NULL, told INTEGER NOT NULL DEFAULT -9223372036854775808) STRICT;
CREATE TABLE marks (
    kind INTEGER NOT NULL, scope TEXT NOT NULL, value BLOB NOT NULL, machine INTEGER NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY (kind, scope, value, machine)) STRICT, WITHOUT ROWID;
CREATE INDEX marks_machine ON marks (machine);
CREATE TABLE sources (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, inventory INTEGER NOT NULL, agency TEXT, as_of INTEGER NOT NULL) STRICT;
CREATE TABLE claims (
    id INTEGER PRIMARY KEY, source INTEGER NOT NULL, inventory INTEGER NOT NULL, address BLOB NOT NULL,
    start INTEGER NOT NULL, seen INTEGER NOT NULL, until INTEGER NOT NULL, machine INTEGER NOT NULL,
    mac BLOB, client BLOB, host TEXT) STRICT;
CREATE INDEX claims_address ON claims (address, source, start);
CREATE INDEX claims_machine ON claims (machine, start);
CREATE INDEX claims_until ON claims (until);
CREATE INDEX claims_source ON claims (source, until);
CREATE TABLE merged (
    gone INTEGER PRIMARY KEY, kept INTEGER NOT NULL, at INTEGER NOT NULL, who TEXT NOT NULL, reason TEXT) STRICT;
";

/// Lists begin with the machines that were seen last, of all agencies or of one.
const LAST: &str = "
CREATE INDEX machines_last ON machines (last);
CREATE INDEX machines_agency ON machines (agency, last);
";

/// What machines are known by. The numbers are those in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MarkKind {
    /// A MAC of the machine's own.
    Mac = 0,
    /// A randomised MAC, within an agency.
    RandomMac = 1,
    /// A DHCP client id within an agency, or a DUID anywhere.
    Client = 2,
    /// A host name within an agency.
    Host = 3,
    /// An address that an inventory gives to a machine without anything else.
    Address = 4,
}

/// Why the book cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// The disk or the database refuses, or it is a newer release's.
    #[error("{path}: {source}")]
    Database {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: DatabaseError,
    },
    /// No machine has this number.
    #[error("there is no machine {0}; `sachdns identity list` shows all")]
    NoMachine(MachineId),
    /// A machine cannot be merged with itself.
    #[error("both are the machine {0} already")]
    SameMachine(MachineId),
}

/// Machines, and which addresses they had when. Any number of processes may have it open.
#[derive(Debug)]
pub struct Book {
    connection: Mutex<Connection>,
    path: PathBuf,
}

impl Book {
    /// Opens the book in this folder; makes both where they are missing.
    ///
    /// # Errors
    /// [`BookError::Database`].
    pub fn open(folder: &Path) -> Result<Self, BookError> {
        let path = folder.join("book.db");
        let opened = database::open(&path, &LAYOUT);
        let connection = opened.map_err(|source| BookError::Database { path: path.clone(), source })?;
        Ok(Self { connection: Mutex::new(connection), path })
    }

    /// Runs `act` on the database, and says of which file an error is.
    pub(super) fn with<T>(
        &self,
        act: impl FnOnce(&mut Connection) -> Result<T, rusqlite::Error>,
    ) -> Result<T, BookError> {
        // Transactions are rolled back where one who held the lock panicked.
        let mut connection: MutexGuard<'_, _> =
            self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut connection)
            .map_err(|source| BookError::Database { path: self.path.clone(), source: source.into() })
    }

    /// Who was behind an address at a time.
    ///
    /// A MAC of the machine's own that is told decides. Otherwise leases count, then inventories: an inventory's addresses
    /// are undated, a lease says when. Of several machines a hint may tell which; if none does, all are returned.
    ///
    /// # Errors
    /// [`BookError::Database`].
    pub fn who(&self, address: IpAddr, at: i64, hints: &Hints<'_>) -> Result<Who, BookError> {
        self.with(|connection| {
            if let Some(mac) = hints.mac.filter(|mac| !mac.is_random()) {
                let known = marked(connection, MarkKind::Mac, "", &mac.0)?;
                if let Some(id) = known.first() {
                    return Ok(machine(connection, *id)?.map_or(Who::Unknown, Who::Machine));
                }
            }
            for tier in [Tier::Lease, Tier::Inventory] {
                let mut found = Vec::new();
                for id in holders(connection, address, at, tier)? {
                    found.extend(machine(connection, id)?);
                }
                // It says which MAC it has: a machine with others it is not.
                if let Some(mac) = hints.mac.filter(|mac| !mac.is_random()) {
                    found.retain(|it| it.macs.iter().all(|own| own.is_random() || *own == mac));
                }
                if found.len() > 1 {
                    narrow(&mut found, |it| hints.mac.is_some_and(|mac| it.macs.contains(&mac)));
                    narrow(&mut found, |it| {
                        hints.host.is_some_and(|host| {
                            it.host.as_deref().is_some_and(|own| host_key(own) == host_key(host))
                        })
                    });
                    narrow(&mut found, |it| hints.agency.is_some() && it.agency.as_deref() == hints.agency);
                }
                match (found.pop(), found.is_empty()) {
                    (None, _) => {}
                    (Some(only), true) => return Ok(Who::Machine(only)),
                    (Some(last), false) => {
                        found.push(last);
                        found.sort_by_key(|it| it.id);
                        return Ok(Who::Conflict(found));
                    }
                }
            }
            Ok(Who::Unknown)
        })
    }

    /// The machine that has this MAC of its own.
    ///
    /// # Errors
    /// [`BookError::Database`].
    pub fn by_mac(&self, mac: Mac) -> Result<Option<Machine>, BookError> {
        self.with(|connection| {
            let known = marked(connection, MarkKind::Mac, "", &mac.0)?;
            known.first().map(|id| machine(connection, *id)).transpose().map(Option::flatten)
        })
    }

    /// What is known of a machine, by its own id or one that was merged into it.
    ///
    /// # Errors
    /// [`BookError::Database`].
    pub fn machine(&self, id: MachineId) -> Result<Option<Machine>, BookError> {
        self.with(|connection| {
            let id = current(connection, id)?;
            machine(connection, id)
        })
    }

    /// Which addresses a machine had, the latest first.
    ///
    /// # Errors
    /// [`BookError::Database`].
    pub fn addresses(&self, id: MachineId) -> Result<Vec<Interval>, BookError> {
        self.with(|connection| {
            let id = current(connection, id)?;
            intervals(connection, "claims.machine = ?1", signed(id.0))
        })
    }

    /// Who had an address when, the latest first.
    ///
    /// # Errors
    /// [`BookError::Database`].
    pub fn holders(&self, address: IpAddr) -> Result<Vec<Interval>, BookError> {
        self.with(|connection| intervals(connection, "claims.address = ?1", key(address).to_vec()))
    }

    /// Two machines turn out to be one: `gone` becomes `kept`, with all that it was known by.
    ///
    /// # Errors
    /// [`BookError`]: there is no such machine, or both are one already.
    pub fn merge(
        &self,
        kept: MachineId,
        gone: MachineId,
        at: i64,
        by: &str,
        reason: Option<&str>,
    ) -> Result<(), BookError> {
        self.with(|connection| {
            let transaction =
                connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            let (from, into) = (current(&transaction, gone)?, current(&transaction, kept)?);
            let (Some(old), Some(new)) = (machine(&transaction, from)?, machine(&transaction, into)?) else {
                let missing = if machine(&transaction, from)?.is_none() { gone } else { kept };
                return Ok(Err(BookError::NoMachine(missing)));
            };
            if from == into {
                return Ok(Err(BookError::SameMachine(into)));
            }
            let (from, into) = (signed(from.0), signed(into.0));
            transaction.execute("UPDATE OR IGNORE marks SET machine = ?2 WHERE machine = ?1", [from, into])?;
            transaction.execute("DELETE FROM marks WHERE machine = ?1", [from])?;
            transaction.execute("UPDATE claims SET machine = ?2 WHERE machine = ?1", [from, into])?;
            transaction.execute("UPDATE merged SET kept = ?2 WHERE kept = ?1", [from, into])?;
            transaction.execute(
                "INSERT INTO merged (gone, kept, at, who, reason) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![from, into, at, by, reason],
            )?;
            let (first, last) = (old.first.min(new.first), old.last.max(new.last));
            transaction.execute(
                "UPDATE machines SET host = coalesce(host, ?2), owner = coalesce(owner, ?3), agency = coalesce(agency, ?4),
                 unit = coalesce(unit, ?5), model = coalesce(model, ?6), protection = coalesce(protection, ?7),
                 notes = coalesce(notes, ?8), first = ?9, last = ?10 WHERE id = ?1",
                params![
                    into, old.host, old.owner, old.agency, old.unit, old.model, old.protection, old.notes, first, last
                ],
            )?;
            transaction.execute("DELETE FROM machines WHERE id = ?1", [from])?;
            transaction.commit()?;
            Ok(Ok(()))
        })?
    }
}

/// Which kind of sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tier {
    /// They say when.
    Lease = 0,
    /// They say what is so in general.
    Inventory = 1,
}

/// Leaves those that a hint speaks for, if there are any.
fn narrow(found: &mut Vec<Machine>, is_meant: impl Fn(&Machine) -> bool) {
    if found.len() > 1 && found.iter().any(&is_meant) {
        found.retain(is_meant);
    }
}

/// The machines that have an address at a time, by the sources of one kind.
pub(super) fn holders(
    connection: &Connection,
    address: IpAddr,
    at: i64,
    tier: Tier,
) -> Result<Vec<MachineId>, rusqlite::Error> {
    // Of a DHCP server's leases of one address the one that began last counts, even if it has ended; an inventory may
    // give an address to two.
    let select = match tier {
        Tier::Lease => {
            "SELECT DISTINCT machine FROM claims AS it WHERE address = ?1 AND inventory = 0 AND start <= ?2 AND until > ?2
             AND machine <> 0 AND NOT EXISTS (SELECT 1 FROM claims AS next WHERE next.address = it.address AND next.source = it.source
                 AND next.start <= ?2 AND (next.start, next.id) > (it.start, it.id))
             ORDER BY machine"
        }
        Tier::Inventory => {
            "SELECT DISTINCT machine FROM claims WHERE address = ?1 AND inventory = 1 AND start <= ?2 AND until > ?2
             ORDER BY machine"
        }
    };
    let mut statement = connection.prepare(select)?;
    let rows = statement.query_map(params![key(address), at], |row| id_at(row, 0))?;
    rows.collect()
}

/// The machine that a merged one has become, or itself.
pub(super) fn current(connection: &Connection, id: MachineId) -> Result<MachineId, rusqlite::Error> {
    let kept = connection
        .query_row("SELECT kept FROM merged WHERE gone = ?1", [signed(id.0)], |row| id_at(row, 0))
        .optional()?;
    Ok(kept.unwrap_or(id))
}

/// The machines that are known by a mark.
pub(super) fn marked(
    connection: &Connection,
    kind: MarkKind,
    scope: &str,
    value: &[u8],
) -> Result<Vec<MachineId>, rusqlite::Error> {
    let mut statement = connection.prepare(
        "SELECT machine FROM marks WHERE kind = ?1 AND scope = ?2 AND value = ?3 ORDER BY machine",
    )?;
    let rows = statement.query_map(params![kind as i64, scope, value], |row| id_at(row, 0))?;
    rows.collect()
}

/// One machine with its MACs.
pub(super) fn machine(connection: &Connection, id: MachineId) -> Result<Option<Machine>, rusqlite::Error> {
    let read = |row: &Row<'_>| {
        Ok(Machine {
            id,
            agency: row.get(0)?,
            host: row.get(1)?,
            owner: row.get(2)?,
            unit: row.get(3)?,
            model: row.get(4)?,
            protection: row.get(5)?,
            notes: row.get(6)?,
            first: row.get(7)?,
            last: row.get(8)?,
            mac: None,
            macs: Vec::new(),
        })
    };
    let mut statement = connection.prepare(
        "SELECT agency, host, owner, unit, model, protection, notes, first, last FROM machines WHERE id = ?1",
    )?;
    let found = statement.query_row([signed(id.0)], read).optional()?;
    let Some(mut found) = found else { return Ok(None) };
    let mut statement = connection.prepare(
        "SELECT value FROM marks WHERE machine = ?1 AND kind <= 1 ORDER BY kind, last DESC, value",
    )?;
    let values = statement.query_map([signed(id.0)], |row| row.get::<_, Vec<u8>>(0))?;
    for value in values {
        found.macs.extend(Mac::from_octets(&value?));
    }
    // One randomised MAC may be known in two agencies.
    let mut seen = std::collections::HashSet::new();
    found.macs.retain(|mac| seen.insert(*mac));
    found.mac = found.macs.first().copied();
    Ok(Some(found))
}

/// The claims that `condition` takes, each cut where the next lease of its source begins; the latest first.
pub(super) fn intervals(
    connection: &Connection,
    condition: &str,
    value: impl rusqlite::ToSql,
) -> Result<Vec<Interval>, rusqlite::Error> {
    let select = format!(
        "SELECT claims.address, claims.machine, claims.start, claims.until, sources.name, claims.mac, claims.host,
            CASE WHEN claims.inventory = 0 THEN (SELECT min(next.start) FROM claims AS next
                WHERE next.address = claims.address AND next.source = claims.source
                AND (next.start, next.id) > (claims.start, claims.id)) END, claims.inventory
         FROM claims JOIN sources ON sources.id = claims.source WHERE claims.machine <> 0 AND {condition}
         ORDER BY claims.start DESC, claims.id DESC"
    );
    let mut statement = connection.prepare(&select)?;
    let rows = statement.query_map([value], |row| {
        let (until, next): (i64, Option<i64>) = (row.get(3)?, row.get(7)?);
        let until = next.map_or(until, |next| next.min(until));
        Ok(Interval {
            address: address_at(row, 0)?,
            machine: id_at(row, 1)?,
            from: row.get(2)?,
            to: (until != i64::MAX).then_some(until),
            source: row.get(4)?,
            mac: row.get::<_, Option<Vec<u8>>>(5)?.and_then(|octets| Mac::from_octets(&octets)),
            host: row.get(6)?,
            is_inventory: row.get(8)?,
        })
    })?;
    let intervals: Vec<Interval> = rows.collect::<Result<_, _>>()?;
    // What was replaced in the same moment never held.
    Ok(intervals.into_iter().filter(|it| it.to.is_none_or(|to| to > it.from)).collect())
}

/// How addresses are kept: sixteen octets, IPv4 as mapped ones.
pub(super) fn key(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

pub(super) fn address_at(row: &Row<'_>, column: usize) -> Result<IpAddr, rusqlite::Error> {
    let octets: [u8; 16] = row.get(column)?;
    Ok(IpAddr::V6(Ipv6Addr::from(octets)).to_canonical())
}

pub(super) fn id_at(row: &Row<'_>, column: usize) -> Result<MachineId, rusqlite::Error> {
    Ok(MachineId(row.get::<_, i64>(column)?.unsigned_abs()))
}

/// SQLite has numbers with a sign; ours are far below.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What of a host name tells machines apart: its first label in lower case. `PC-01` and `pc-01.so-tttt.local.` are one.
pub(super) fn host_key(host: &str) -> Vec<u8> {
    let first = host.trim().split('.').next().unwrap_or_default();
    let mut key = first.as_bytes().to_vec();
    crate::name::fold(&mut key);
    key
}
