//! The database of contacts: an SQLite file with a write-ahead log.
//!
//! One thread writes, anybody reads. Rows are written without waiting for the disk (synchronous NORMAL): kill -9 loses
//! nothing that was written, a power cut the last seconds at the most, and never the whole. Ids only rise, so that whoever
//! follows them misses nothing: a file that takes the place of a damaged one goes on above all ids of that.

use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row as SqlRow, params, params_from_iter};

use super::alike::Row;
use super::{ClientCount, Contact, ContactFilter, ContactsError, Gap, MINUTE, Via, Why};
use crate::clock;
use crate::database::{self, DatabaseError, Durability, Layout};

const LAYOUT: Layout = Layout {
    steps: &[SCHEMA],
    durability: Durability::Whole,
    cache_kib: 4096,
    log_size: 4 << 20,
    shrinks: true,
};
/// More rows than a power cut takes back.
const LOST: i64 = 1 << 20;
/// Rows that go at once when there is too much.
const PART: usize = 4096;

const SCHEMA: &str = "
CREATE TABLE contacts (
    id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, client TEXT NOT NULL, source_port INTEGER NOT NULL,
    local TEXT NOT NULL, port INTEGER NOT NULL, via INTEGER NOT NULL, name TEXT, path TEXT, agent TEXT, ja4 TEXT,
    first BLOB NOT NULL, count INTEGER NOT NULL) STRICT;
CREATE INDEX contacts_time ON contacts (time);
CREATE INDEX contacts_client ON contacts (client, time);
CREATE INDEX contacts_name ON contacts (name, time) WHERE name IS NOT NULL;
CREATE TABLE gaps (
    id INTEGER PRIMARY KEY, earliest INTEGER NOT NULL, latest INTEGER NOT NULL, count INTEGER NOT NULL,
    why TEXT NOT NULL) STRICT;
";
const COLUMNS: &str = "id, time, client, source_port, local, via, name, path, agent, ja4, first, count, port";

/// An open database.
#[derive(Debug)]
pub(super) struct Database {
    connection: Connection,
}

impl Database {
    pub(super) fn path(folder: &Path) -> PathBuf {
        folder.join("contacts.db")
    }

    /// Opens it for the one who writes; makes what is missing, and puts a damaged one aside.
    pub(super) fn open(folder: &Path) -> Result<Self, ContactsError> {
        let path = Self::path(folder);
        let opened = match database::open(&path, &LAYOUT) {
            Err(error) if error.is_damage() => Self::begin_anew(&path, &error),
            opened => opened,
        };
        let opened = opened.and_then(|connection| {
            // Ids that somebody has seen must not be given again. A power cut may have taken back rows, and where the file was damaged,
            // removed or put back from a copy it says nothing of those: no more than a thousand a second since 1970 were given.
            connection.execute(
                "INSERT INTO sqlite_sequence SELECT 'contacts', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'contacts')",
                [],
            )?;
            connection.execute(
                "UPDATE sqlite_sequence SET seq = max(seq + ?1, ?2) WHERE name = 'contacts'",
                [LOST, clock::now() / 1000],
            )?;
            Ok(connection)
        });
        let failed = |error: DatabaseError| ContactsError::Open { path, why: error.to_string() };
        opened.map(|connection| Self { connection }).map_err(failed)
    }

    /// Puts a damaged database aside.
    fn begin_anew(path: &Path, error: &DatabaseError) -> Result<Connection, DatabaseError> {
        let aside = database::put_aside(path)?;
        let (shown, aside) = (path.display(), aside.display());
        tracing::error!(path = %shown, %aside, %error, "the sinkhole's contacts are damaged; they are put aside, and new ones begun");
        database::open(path, &LAYOUT)
    }

    /// Opens it for reading; `None` where there is none.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, DatabaseError> {
        Ok(database::read(&Self::path(folder), &LAYOUT)?.map(|connection| Self { connection }))
    }

    /// Writes rows as they are now, and a gap: all or nothing. Returns the ids of those that had none, in their order.
    pub(super) fn write<'a>(
        &mut self,
        rows: impl Iterator<Item = &'a Row>,
        gap: Option<&Gap>,
    ) -> Result<Vec<i64>, DatabaseError> {
        let mut ids = Vec::new();
        let transaction = self.connection.transaction()?;
        {
            let mut insert = transaction.prepare(
                "INSERT INTO contacts (time, client, source_port, local, port, via, name, path, agent, ja4, first, count)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            )?;
            let mut update = transaction.prepare("UPDATE contacts SET count = ?2 WHERE id = ?1")?;
            for row in rows {
                if let Some(id) = row.id {
                    update.execute(params![id, row.count])?;
                    continue;
                }
                let likeness = &row.likeness;
                ids.push(insert.insert(params![
                    row.time,
                    likeness.client.to_string(),
                    row.source_port,
                    likeness.local.ip().to_string(),
                    likeness.local.port(),
                    likeness.via as i64,
                    likeness.name,
                    likeness.path,
                    likeness.agent,
                    likeness.ja4,
                    likeness.first,
                    row.count,
                ])?);
            }
        }
        if let Some(gap) = gap {
            // One that goes on where the last ended makes that longer.
            let last: Option<(i64, i64)> = transaction
                .query_row(
                    "SELECT id, latest FROM gaps WHERE why = ?1 ORDER BY id DESC LIMIT 1",
                    [gap.why.as_str()],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .optional()?;
            match last {
                Some((id, latest)) if (0..MINUTE).contains(&gap.earliest.saturating_sub(latest)) => {
                    transaction.execute(
                        "UPDATE gaps SET latest = ?2, count = count + ?3 WHERE id = ?1",
                        params![id, gap.latest, signed(gap.count)],
                    )?;
                }
                _ => {
                    transaction.execute(
                        "INSERT INTO gaps (earliest, latest, count, why) VALUES (?1, ?2, ?3, ?4)",
                        params![gap.earliest, gap.latest, signed(gap.count), gap.why.as_str()],
                    )?;
                }
            }
        }
        transaction.commit()?;
        Ok(ids)
    }

    /// Lets it have this many pages more, as a full disk does.
    #[cfg(test)]
    pub(super) fn leave(&self, more: i64) {
        let pages: i64 = self.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        self.connection.pragma_update_and_check(None, "max_page_count", pages + more, |_| Ok(())).unwrap();
    }

    /// Drops what came before a time, and the oldest of what is more than so many octets, a part at once; true when
    /// there may be more to drop.
    pub(super) fn expire(&mut self, before: i64, size: u64) -> Result<bool, DatabaseError> {
        let transaction = self.connection.transaction()?;
        let mut dropped = transaction.execute(
            "DELETE FROM contacts WHERE id IN (SELECT id FROM contacts WHERE time < ?1 LIMIT ?2)",
            params![before, PART as i64],
        )?;
        transaction.execute("DELETE FROM gaps WHERE latest < ?1", [before])?;
        let pragma = |name| transaction.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let pages = pragma("page_count")?.saturating_sub(pragma("freelist_count")?);
        if pages.saturating_mul(pragma("page_size")?).unsigned_abs() > size {
            dropped += transaction.execute(
                "DELETE FROM contacts WHERE id IN (SELECT id FROM contacts ORDER BY id LIMIT ?1)",
                [PART as i64],
            )?;
        }
        transaction.commit()?;
        if dropped > 0 {
            let mut vacuum = self.connection.prepare("PRAGMA incremental_vacuum")?;
            let mut rows = vacuum.query([])?;
            while rows.next()?.is_some() {}
        }
        Ok(dropped >= PART)
    }

    pub(super) fn after(&self, id: u64, limit: usize) -> Result<Vec<Contact>, DatabaseError> {
        let select = format!("SELECT {COLUMNS} FROM contacts WHERE id > ?1 ORDER BY id LIMIT ?2");
        let mut statement = self.connection.prepare(&select)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = statement.query_map(params![signed(id), limit], read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    pub(super) fn counts(&self, first: u64, last: u64) -> Result<Vec<(u64, u32)>, DatabaseError> {
        let select = "SELECT id, count FROM contacts WHERE id BETWEEN ?1 AND ?2 ORDER BY id";
        let mut statement = self.connection.prepare(select)?;
        let rows = statement.query_map([signed(first), signed(last)], |row| {
            Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    pub(super) fn last_id(&self) -> Result<u64, DatabaseError> {
        let last: Option<i64> =
            self.connection.query_row("SELECT max(id) FROM contacts", [], |row| row.get(0))?;
        Ok(last.unwrap_or(0).unsigned_abs())
    }

    pub(super) fn find(
        &self,
        filter: &ContactFilter,
        visit: &mut dyn FnMut(Contact) -> ControlFlow<()>,
    ) -> Result<(), DatabaseError> {
        let (condition, values) = condition(filter);
        let select = format!("SELECT {COLUMNS} FROM contacts WHERE {condition} ORDER BY time DESC, id DESC");
        let mut statement = self.connection.prepare(&select)?;
        let mut rows = statement.query(params_from_iter(values))?;
        let mut left = filter.limit.unwrap_or(u64::MAX);
        while left > 0
            && let Some(row) = rows.next()?
        {
            let contact = read(row)?;
            if filter.takes(&contact) {
                left -= 1;
                if visit(contact).is_break() {
                    break;
                }
            }
        }
        Ok(())
    }

    pub(super) fn by_client(&self, since: i64) -> Result<Vec<ClientCount>, DatabaseError> {
        let mut statement = self.connection.prepare(
            "SELECT client, sum(count) FROM contacts WHERE time >= ?1 GROUP BY client ORDER BY client",
        )?;
        let mut rows = statement.query([since])?;
        let mut counts = Vec::new();
        while let Some(row) = rows.next()? {
            let client = row.get_ref(0)?.as_str().ok().and_then(|text| text.parse().ok());
            let Some(client) = client else { continue };
            counts.push(ClientCount { client, count: row.get::<_, i64>(1)?.unsigned_abs() });
        }
        Ok(counts)
    }

    pub(super) fn gaps(&self, since: Option<i64>, until: Option<i64>) -> Result<Vec<Gap>, DatabaseError> {
        let mut statement = self.connection.prepare(
            "SELECT earliest, latest, count, why FROM gaps WHERE latest >= ?1 AND earliest < ?2 ORDER BY latest DESC",
        )?;
        let span = params![since.unwrap_or(i64::MIN), until.unwrap_or(i64::MAX)];
        let rows = statement.query_map(span, |row| {
            let why = if row.get_ref(3)?.as_str().is_ok_and(|why| why == Why::Disk.as_str()) {
                Why::Disk
            } else {
                Why::Flood
            };
            let count = row.get::<_, i64>(2)?.unsigned_abs();
            Ok(Gap { earliest: row.get(0)?, latest: row.get(1)?, count, why })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// What SQLite's indices can tell of a filter; the rest [`ContactFilter::takes`] does.
fn condition(filter: &ContactFilter) -> (String, Vec<Value>) {
    let (mut parts, mut values) = (vec!["1".to_owned()], Vec::new());
    let mut add = |part: &str, value: Value| {
        values.push(value);
        parts.push(format!("{part} ?{}", values.len()));
    };
    if let Some(client) = filter.client {
        add("client =", client.to_canonical().to_string().into());
    }
    if let Some(port) = filter.port {
        add("port =", i64::from(port).into());
    }
    if let Some(via) = filter.via {
        add("via =", (via as i64).into());
    }
    if let Some(since) = filter.since {
        add("time >=", since.into());
    }
    if let Some(until) = filter.until {
        add("time <", until.into());
    }
    if let Some((time, _)) = filter.after {
        add("time <=", time.into());
    }
    if filter.name.is_some() {
        parts.push("name IS NOT NULL".to_owned());
    }
    (parts.join(" AND "), values)
}

fn read(row: &SqlRow<'_>) -> rusqlite::Result<Contact> {
    // We wrote them; what somebody else put there is shown as no address.
    let address = |at: usize| -> rusqlite::Result<IpAddr> {
        let address = row.get_ref(at)?.as_str().ok().and_then(|text| text.parse().ok());
        Ok(address.unwrap_or(IpAddr::from([0, 0, 0, 0])))
    };
    Ok(Contact {
        id: row.get::<_, i64>(0)?.unsigned_abs(),
        time: row.get(1)?,
        client: address(2)?,
        source_port: row.get(3)?,
        local: SocketAddr::new(address(4)?, row.get(12)?),
        via: Via::from_number(row.get(5)?),
        name: row.get(6)?,
        path: row.get(7)?,
        agent: row.get(8)?,
        ja4: row.get(9)?,
        first: row.get(10)?,
        count: row.get(11)?,
    })
}

/// SQLite's numbers have a sign; ours are far from where that matters.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
