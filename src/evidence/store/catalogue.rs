//! The catalogue: an SQLite database of which files count, of hits, gaps and roll-ups.
//!
//! One transaction makes a file count, together with its hits and counts and the segments that it stands for: before it
//! nothing has happened, after it the segments are done with. The archiver alone writes; everybody may read. It
//! can be made again from the files beside it, but for finds and gaps.

mod summaries;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Statement, Transaction, params, params_from_iter};

pub(in crate::evidence) use summaries::SummaryEntry;

use super::counting::By;
use super::loaded::Loaded;
use super::names;
use super::parquet::{FileName, Source};
use super::rows::{Group, MINUTE, Rows};
use super::{Filter, Kind};
use crate::database::{self, DatabaseError, Durability, Layout};
use crate::evidence::record::Record;
use crate::evidence::segment::{Id, Span};

/// A commit is on the disk before the segments go.
const LAYOUT: Layout = Layout {
    steps: &[SCHEMA, GONE, NUMBERS],
    durability: Durability::Commits,
    cache_kib: 16_384,
    log_size: 16 << 20,
    shrinks: true,
};
/// Hits that are loaded at once.
const CHUNK: usize = 4096;
/// Microseconds of an hour.
const HOUR: i64 = 60 * MINUTE;

const SCHEMA: &str = "
CREATE TABLE files (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, earliest INTEGER NOT NULL, latest INTEGER NOT NULL,
    rows INTEGER NOT NULL, octets INTEGER NOT NULL, truncated INTEGER NOT NULL DEFAULT 0,
    retired INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE segments (
    number INTEGER NOT NULL, writer INTEGER NOT NULL, earliest INTEGER NOT NULL, latest INTEGER NOT NULL,
    count INTEGER NOT NULL, file INTEGER NOT NULL, PRIMARY KEY (number, writer)) STRICT, WITHOUT ROWID;
CREATE INDEX segments_file ON segments (file);
CREATE TABLE hits (
    id INTEGER PRIMARY KEY, time INTEGER NOT NULL, client TEXT NOT NULL, agency TEXT, feed TEXT, family TEXT,
    name BLOB NOT NULL, late INTEGER NOT NULL, file INTEGER, segment INTEGER, record BLOB NOT NULL) STRICT;
CREATE INDEX hits_time ON hits (time);
CREATE INDEX hits_client ON hits (client, time);
CREATE INDEX hits_agency ON hits (agency, time);
CREATE UNIQUE INDEX hits_late ON hits (time, client, name) WHERE late = 1;
CREATE INDEX hits_segment ON hits (segment) WHERE segment IS NOT NULL;
CREATE TABLE gaps (
    id INTEGER PRIMARY KEY, earliest INTEGER NOT NULL, latest INTEGER NOT NULL, count INTEGER NOT NULL,
    why TEXT NOT NULL, place TEXT) STRICT;
CREATE TABLE counts (
    span INTEGER NOT NULL, start INTEGER NOT NULL, agency TEXT NOT NULL, action TEXT NOT NULL, family TEXT NOT NULL,
    hit INTEGER NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY (span, start, agency, action, family, hit)) STRICT, WITHOUT ROWID;
";

/// Finds the hits of later lists whose rows were gone before.
const GONE: &str = "CREATE INDEX hits_gone ON hits (time) WHERE file = 0;";

/// A hit's number is never given again, as others note how far they have got with hits.
const NUMBERS: &str = "
CREATE TABLE newest (hit INTEGER NOT NULL) STRICT;
INSERT INTO newest SELECT ifnull(max(id), 0) FROM hits;
CREATE TRIGGER newest_gone AFTER DELETE ON hits WHEN OLD.id > (SELECT hit FROM newest)
BEGIN UPDATE newest SET hit = OLD.id; END;
";

/// The length of a roll-up's spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Unit {
    Minute = 1,
    Hour = 2,
    /// By the machine's time zone.
    Day = 3,
}

/// A time in which records were not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// When the first of them came, microseconds since 1970.
    pub earliest: i64,
    /// … and the last.
    pub latest: i64,
    /// How many; of damage, octets.
    pub count: u64,
    /// Why.
    pub why: Why,
    /// The file that is damaged.
    pub place: Option<String>,
}

/// Why records are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    /// The disk refused them.
    Refused,
    /// The disk was nearly full, and they were no hits.
    NoRoom,
    /// A segment was damaged, or its tail torn by a power cut.
    Damaged,
    /// Segments were retired before they were archived, since all together were too large.
    TooLarge,
    /// A file was retired before ClickHouse had it, since all together were too large; hits aside.
    Unshipped,
}

impl Why {
    const ALL: [Self; 5] = [Self::Refused, Self::NoRoom, Self::Damaged, Self::TooLarge, Self::Unshipped];

    /// Its word in exports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::NoRoom => "no-room",
            Self::Damaged => "damaged",
            Self::TooLarge => "too-large",
            Self::Unshipped => "unshipped",
        }
    }
}

/// A file that counts, or did.
#[derive(Debug, Clone)]
pub(in crate::evidence) struct Entry {
    pub(in crate::evidence) id: i64,
    pub(in crate::evidence) name: FileName,
    pub(in crate::evidence) octets: u64,
    pub(in crate::evidence) is_truncated: bool,
    /// The summary that it is part of, also where that is gone.
    pub(in crate::evidence) summary: Option<i64>,
}

/// What a file is made of, to be made to count.
pub(in crate::evidence) struct NewFile<'a> {
    pub(in crate::evidence) name: &'a FileName,
    pub(in crate::evidence) octets: u64,
    pub(in crate::evidence) sources: &'a [Source],
    pub(in crate::evidence) rows: &'a Rows,
    pub(in crate::evidence) gaps: &'a [Gap],
}

/// An open catalogue.
#[derive(Debug)]
pub(in crate::evidence) struct Catalogue {
    connection: Connection,
}

impl Catalogue {
    pub(in crate::evidence) fn path(folder: &Path) -> PathBuf {
        folder.join("store.db")
    }

    /// The files that it is in.
    pub(in crate::evidence) fn files_in(folder: &Path) -> [PathBuf; 2] {
        [Self::path(folder), folder.join("store.db-wal")]
    }

    /// Opens the catalogue in `folder` for the one who writes; makes it where it is missing.
    pub(in crate::evidence) fn open(folder: &Path) -> Result<Self, DatabaseError> {
        let connection = database::open(&Self::path(folder), &LAYOUT)?;
        connection.execute_batch(summaries::SCHEMA)?;
        Ok(Self { connection })
    }

    /// Puts a damaged catalogue aside.
    pub(in crate::evidence) fn put_aside(folder: &Path) -> std::io::Result<PathBuf> {
        database::put_aside(&Self::path(folder))
    }

    /// Opens the catalogue in `folder` for reading, as it is now until it is dropped; `None` where there is none.
    pub(in crate::evidence) fn read(folder: &Path) -> Result<Option<Self>, DatabaseError> {
        let Some(connection) = database::read(&Self::path(folder), &LAYOUT)? else { return Ok(None) };
        connection.execute_batch("BEGIN")?;
        // The first read fixes what all others see.
        connection.query_row("SELECT count(*) FROM files WHERE id < 0", [], |_| Ok(()))?;
        Ok(Some(Self { connection }))
    }

    /// The files that count.
    pub(in crate::evidence) fn files(&self) -> Result<Vec<Entry>, DatabaseError> {
        self.entries("retired = 0")
    }

    fn entries(&self, condition: &str) -> Result<Vec<Entry>, DatabaseError> {
        let of =
            if self.has_summaries()? { "(SELECT summary FROM summarised WHERE file = id)" } else { "NULL" };
        let mut statement = self.connection.prepare(&format!(
            "SELECT id, name, octets, truncated, {of} FROM files WHERE {condition} ORDER BY latest, id"
        ))?;
        let mut rows = statement.query([])?;
        let mut files = Vec::new();
        while let Some(row) = rows.next()? {
            let Some(name) = FileName::parse(&row.get::<_, String>(1)?) else { continue };
            files.push(Entry {
                id: row.get(0)?,
                name,
                octets: row.get::<_, i64>(2)?.unsigned_abs(),
                is_truncated: row.get(3)?,
                summary: row.get(4)?,
            });
        }
        Ok(files)
    }

    /// The name of every file that is known, and whether it is retired.
    pub(in crate::evidence) fn names(&self) -> Result<HashMap<String, bool>, DatabaseError> {
        let mut statement = self.connection.prepare("SELECT name, retired FROM files")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The segments that files stand for, and what they held.
    pub(in crate::evidence) fn segments(&self) -> Result<HashMap<Id, Span>, DatabaseError> {
        let mut statement =
            self.connection.prepare("SELECT number, writer, earliest, latest, count FROM segments")?;
        let rows = statement.query_map([], |row| {
            let id = Id { number: row.get::<_, i64>(0)?.unsigned_abs(), writer: row.get(1)? };
            let count = row.get::<_, i64>(4)?.unsigned_abs();
            Ok((id, Span { earliest: row.get(2)?, latest: row.get(3)?, count }))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Makes a file count: all of it or nothing.
    pub(in crate::evidence) fn add(&mut self, file: &NewFile<'_>) -> Result<(), DatabaseError> {
        let transaction = self.connection.transaction()?;
        let name = file.name.to_string();
        let FileName { earliest, latest, .. } = file.name;
        transaction.execute(
            "INSERT INTO files (name, earliest, latest, rows, octets) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![name, earliest, latest, signed(file.rows.len() as u64), signed(file.octets)],
        )?;
        let id = transaction.last_insert_rowid();
        {
            let mut add =
                transaction.prepare("INSERT OR REPLACE INTO segments VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
            let mut settle =
                transaction.prepare("UPDATE hits SET file = ?1, segment = NULL WHERE segment = ?2")?;
            for Source { id: segment, span } in file.sources {
                let number = signed(segment.number);
                add.execute(params![
                    number,
                    segment.writer,
                    span.earliest,
                    span.latest,
                    signed(span.count),
                    id
                ])?;
                settle.execute(params![id, number])?;
            }
            let mut insert = transaction.prepare(INSERT_HIT)?;
            for (time, octets) in file.rows.hit_records() {
                if let Some(record) = Record::decode(octets, *time) {
                    insert_hit(&mut insert, &record, octets, Origin::File(id), false)?;
                }
            }
            add_counts(&transaction, file.rows.groups())?;
            for gap in file.gaps {
                insert_gap(&transaction, gap)?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Enters hits that were found later. Those that are known already are passed over; returns how many are new.
    pub(in crate::evidence) fn add_late<'a>(
        &mut self,
        finds: impl Iterator<Item = (&'a Record<'a>, Origin)>,
    ) -> Result<usize, DatabaseError> {
        let transaction = self.connection.transaction()?;
        let (mut added, mut octets, mut groups) = (0, Vec::new(), HashMap::new());
        let mut insert = transaction.prepare(INSERT_HIT)?;
        for (record, origin) in finds {
            octets.clear();
            record.encode(record.time, &mut octets);
            if insert_hit(&mut insert, record, &octets, origin, true)? == 1 {
                *groups.entry(Group::late(record)).or_default() += 1;
                added += 1;
            }
        }
        drop(insert);
        add_counts(&transaction, groups)?;
        transaction.commit()?;
        Ok(added)
    }

    /// Adds gaps; one that goes on where the last of its kind ended makes that longer.
    pub(in crate::evidence) fn add_gaps(&mut self, gaps: &[Gap]) -> Result<(), DatabaseError> {
        let transaction = self.connection.transaction()?;
        for gap in gaps {
            let last: Option<(i64, i64)> = transaction
                .query_row(
                    "SELECT id, latest FROM gaps WHERE why = ?1 AND place IS NULL ORDER BY id DESC LIMIT 1",
                    [gap.why.as_str()],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .optional()?;
            match last {
                Some((id, latest))
                    if gap.place.is_none() && (0..MINUTE).contains(&(gap.earliest - latest)) =>
                {
                    transaction.execute(
                        "UPDATE gaps SET latest = ?2, count = count + ?3 WHERE id = ?1",
                        params![id, gap.latest, signed(gap.count)],
                    )?;
                }
                _ => insert_gap(&transaction, gap)?,
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// The gaps that touch a time, the newest first.
    pub(in crate::evidence) fn gaps(
        &self,
        since: Option<i64>,
        until: Option<i64>,
    ) -> Result<Vec<Gap>, DatabaseError> {
        let mut statement = self.connection.prepare(
            "SELECT earliest, latest, count, why, place FROM gaps WHERE latest >= ?1 AND earliest < ?2
             ORDER BY latest DESC, id DESC",
        )?;
        let range = params![since.unwrap_or(i64::MIN), until.unwrap_or(i64::MAX)];
        let rows = statement.query_map(range, |row| {
            let why: String = row.get(3)?;
            Ok(Gap {
                earliest: row.get(0)?,
                latest: row.get(1)?,
                count: row.get::<_, i64>(2)?.unsigned_abs(),
                why: Why::ALL.into_iter().find(|it| it.as_str() == why).unwrap_or(Why::Damaged),
                place: row.get(4)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// A part of the hits that `filter` takes, the newest; and before which time there may be more.
    ///
    pub(super) fn hits(
        &self,
        filter: &Filter,
        scope: HitScope,
        most: Option<usize>,
    ) -> Result<(Loaded, Option<i64>), DatabaseError> {
        let mut loaded = Loaded::default();
        let chunk = most.map_or(CHUNK, |most| most.clamp(64, CHUNK));
        let (found, values) = selection(filter, scope);
        let select = format!("{found} ORDER BY time DESC LIMIT {chunk}");
        let mut statement = self.connection.prepare(&select)?;
        let mut rows = statement.query(params_from_iter(&values))?;
        let (mut count, mut oldest) = (0, None);
        let mut part: Vec<(i64, Vec<u8>)> = Vec::new();
        while let Some(row) = rows.next()? {
            let time: i64 = row.get(0)?;
            part.push((time, row.get(1)?));
            (count, oldest) = (count + 1, Some(time));
        }
        drop(rows);
        let mut more = None;
        if count == chunk
            && let Some(oldest) = oldest
        {
            // Those of the oldest time all together, so that the next part begins before it.
            part.retain(|(time, _)| *time > oldest);
            let at = Filter { since: Some(oldest), until: oldest.checked_add(1), ..filter.clone() };
            let (select, values) = selection(&at, scope);
            let mut statement = self.connection.prepare(&select)?;
            let mut rows = statement.query(params_from_iter(&values))?;
            while let Some(row) = rows.next()? {
                part.push((row.get(0)?, row.get(1)?));
            }
            more = Some(oldest);
        }
        for (time, octets) in &part {
            if Record::decode(octets, *time).is_some_and(|record| filter.takes(&record)) {
                loaded.add_octets(*time, octets);
            }
        }
        Ok((loaded, more))
    }

    /// Adds up whole spans of time as far as `filter` takes them: `visit` gets what is counted by, the span's beginning and the count;
    /// several times for one value.
    pub(super) fn sums(
        &self,
        unit: Unit,
        (since, until): (i64, i64),
        filter: &Filter,
        by: By,
        visit: &mut dyn FnMut(&str, i64, u64),
    ) -> Result<(), DatabaseError> {
        let column = match by {
            By::Agency => "agency",
            By::Action => "action",
            By::Family => "family",
            _ => "''",
        };
        // They lie in the order of time: SQLite adds up those of one.
        let is_of_time = column == "''";
        let count = if is_of_time { "sum(count)" } else { "count" };
        // Of hits there is an index.
        let kind = match filter.kind {
            Kind::All => "hit < 2",
            Kind::Hits => "hit > 0",
        };
        let mut select = format!(
            "SELECT {column}, start, {count} FROM counts WHERE span = ?1 AND start >= ?2 AND start < ?3 AND {kind}"
        );
        let mut values: Vec<Value> = vec![(unit as i64).into(), since.into(), until.into()];
        let action = filter.outcome.map(|outcome| outcome.as_str().to_owned());
        for (column, value) in
            [("agency", filter.agency.clone()), ("family", filter.family.clone()), ("action", action)]
        {
            if let Some(value) = value {
                values.push(value.into());
                select.push_str(&format!(" AND {column} = ?{}", values.len()));
            }
        }
        if is_of_time {
            select.push_str(" GROUP BY start");
        }
        let mut statement = self.connection.prepare(&select)?;
        let mut rows = statement.query(params_from_iter(&values))?;
        while let Some(row) = rows.next()? {
            let text = row.get_ref(0)?.as_str().unwrap_or_default();
            visit(text, row.get(1)?, row.get::<_, i64>(2)?.unsigned_abs());
        }
        Ok(())
    }

    /// When the first span begins that is counted.
    pub(super) fn first_count(&self, unit: Unit) -> Result<Option<i64>, DatabaseError> {
        let select = "SELECT min(start) FROM counts WHERE span = ?1";
        Ok(self.connection.query_row(select, [unit as i64], |row| row.get(0))?)
    }

    /// Says that a file is gone: of its rows only hits are left.
    pub(in crate::evidence) fn retire(&mut self, id: i64) -> Result<(), DatabaseError> {
        let transaction = self.connection.transaction()?;
        transaction.execute("UPDATE files SET retired = 1 WHERE id = ?1", [id])?;
        transaction.execute("DELETE FROM segments WHERE file = ?1", [id])?;
        transaction.commit()?;
        Ok(())
    }

    /// As [`Self::retire`], of a file that somebody else should have had first: its rows but for hits are a gap.
    pub(in crate::evidence) fn lose(&mut self, id: i64) -> Result<(), DatabaseError> {
        let transaction = self.connection.transaction()?;
        transaction.execute(
            "INSERT INTO gaps (earliest, latest, count, why)
             SELECT earliest, latest, rows - (SELECT count(*) FROM hits WHERE file = ?1 AND late = 0), ?2
             FROM files WHERE id = ?1 AND retired = 0",
            params![id, Why::Unshipped.as_str()],
        )?;
        transaction.execute("UPDATE files SET retired = 1 WHERE id = ?1", [id])?;
        transaction.execute("DELETE FROM segments WHERE file = ?1", [id])?;
        transaction.commit()?;
        Ok(())
    }

    /// Files that are gone, of which hits are left.
    pub(in crate::evidence) fn retired(&self) -> Result<Vec<Entry>, DatabaseError> {
        self.entries("retired = 1")
    }

    /// The hits that a file has, but for finds: time and octets.
    pub(in crate::evidence) fn hits_of(&self, id: i64) -> Result<Vec<(i64, Vec<u8>)>, DatabaseError> {
        let mut statement = self
            .connection
            .prepare("SELECT time, record FROM hits WHERE file = ?1 AND late = 0 ORDER BY id")?;
        let rows = statement.query_map([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The id of the last hit that was entered; 0 where there is none.
    pub(in crate::evidence) fn last_hit(&self) -> Result<i64, DatabaseError> {
        let select = "SELECT max(hit, ifnull((SELECT max(id) FROM hits), 0)) FROM newest";
        Ok(self.connection.query_row(select, [], |row| row.get(0))?)
    }

    /// Hits that were found later, behind an id and up to another one, in their order: id, time and octets.
    pub(in crate::evidence) fn finds(
        &self,
        after: i64,
        last: i64,
        most: usize,
    ) -> Result<Vec<(i64, i64, Vec<u8>)>, DatabaseError> {
        let mut statement = self.connection.prepare(
            "SELECT id, time, record FROM hits WHERE id > ?1 AND id <= ?2 AND late = 1 ORDER BY id LIMIT ?3",
        )?;
        let rows = statement.query_map(params![after, last, signed(most as u64)], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Hits that were found later, of queries since a time, the newest of an agency or of all: time and octets.
    pub(super) fn late(
        &self,
        agency: Option<&str>,
        since: i64,
        most: usize,
    ) -> Result<Vec<(i64, Vec<u8>)>, DatabaseError> {
        let mut statement = self.connection.prepare(
            "SELECT time, record FROM hits WHERE late = 1 AND time >= ?1 AND (?2 IS NULL OR agency = ?2) ORDER BY time DESC LIMIT ?3",
        )?;
        let rows = statement
            .query_map(params![since, agency, signed(most as u64)], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Says that the clients in a file are no longer whole.
    pub(in crate::evidence) fn mark_truncated(&self, id: i64, octets: u64) -> Result<(), DatabaseError> {
        self.connection.execute(
            "UPDATE files SET truncated = 1, octets = ?2 WHERE id = ?1",
            params![id, signed(octets)],
        )?;
        Ok(())
    }

    /// Removes what is older: hits, counts by the minute and by the hour, gaps. Returns how many hits went.
    pub(in crate::evidence) fn expire(
        &mut self,
        hits: i64,
        minutes: i64,
        others: i64,
    ) -> Result<usize, DatabaseError> {
        let transaction = self.connection.transaction()?;
        let gone = transaction.execute("DELETE FROM hits WHERE time < ?1", [hits])?;
        let minute = params![Unit::Minute as i64, minutes];
        transaction.execute("DELETE FROM counts WHERE span = ?1 AND start < ?2", minute)?;
        transaction.execute(
            "DELETE FROM counts WHERE span = ?1 AND start < ?2",
            params![Unit::Hour as i64, others],
        )?;
        transaction.execute("DELETE FROM gaps WHERE latest < ?1", [hits])?;
        // What nothing refers to any more.
        transaction.execute(
            "DELETE FROM files WHERE retired = 1 AND NOT EXISTS (SELECT 1 FROM hits WHERE hits.time <= files.latest)",
            [],
        )?;
        transaction.execute("DELETE FROM summarised WHERE file NOT IN (SELECT id FROM files)", [])?;
        transaction.commit()?;
        Ok(gone)
    }

    /// Removes the oldest hits until the catalogue takes at most so many octets. Returns how many went.
    pub(in crate::evidence) fn shrink(&mut self, most: u64) -> Result<usize, DatabaseError> {
        let mut gone = 0;
        let number = |connection: &Connection, pragma: &str| {
            connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0))
        };
        loop {
            let page = number(&self.connection, "page_size")?;
            let pages = number(&self.connection, "page_count")? - number(&self.connection, "freelist_count")?;
            if (pages * page).unsigned_abs() <= most {
                break;
            }
            let removed = self.connection.execute(
                "DELETE FROM hits WHERE id IN (SELECT id FROM hits ORDER BY time LIMIT 10000)",
                [],
            )?;
            gone += removed;
            if removed == 0 {
                break;
            }
        }
        if number(&self.connection, "freelist_count")? > 4096 {
            self.connection.execute_batch("PRAGMA incremental_vacuum(100000)")?;
        }
        Ok(gone)
    }
}

/// Which hits are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HitScope {
    All,
    /// Those whose rows are gone: the others are found there.
    WithoutRow,
    /// … and that no summary knows.
    WithoutRowOrSummary,
}

impl HitScope {
    pub(super) fn of(kind: Kind) -> Self {
        match kind {
            Kind::All => Self::WithoutRow,
            Kind::Hits => Self::All,
        }
    }
}

/// Where the row of a hit lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::evidence) enum Origin {
    /// In this file.
    File(i64),
    /// In the segment of this number, which is not archived yet.
    Segment(u64),
    /// Nowhere any more: a summary knew it.
    Gone,
}

/// SQLite has numbers with a sign; ours are far below.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// In place of the key of a name that could not be read.
const UNREADABLE: &[u8] = &[0];

const INSERT_HIT: &str = "
INSERT OR IGNORE INTO hits (id, time, client, agency, feed, family, name, late, file, segment, record)
VALUES ((SELECT max(hit, ifnull((SELECT max(id) FROM hits), 0)) + 1 FROM newest), ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";

fn insert_hit(
    statement: &mut Statement<'_>,
    record: &Record<'_>,
    octets: &[u8],
    origin: Origin,
    is_late: bool,
) -> Result<usize, DatabaseError> {
    let (file, segment) = match origin {
        Origin::File(id) => (Some(id), None),
        Origin::Segment(number) => (None, Some(signed(number))),
        // No file has this id.
        Origin::Gone => (Some(0), None),
    };
    Ok(statement.execute(params![
        record.time,
        record.client.to_string(),
        record.agency.as_deref(),
        record.feed.as_deref(),
        record.family.as_deref(),
        key_of(record).as_deref().unwrap_or(UNREADABLE),
        is_late,
        file,
        segment,
        octets
    ])?)
}

/// What a hit is known by, beside its time and client: where a summary knew only the address, this.
fn key_of(record: &Record<'_>) -> Option<Box<[u8]>> {
    let address = || record.matched.as_deref()?.parse().ok().map(names::key_of_address);
    names::key_of_name(&record.qname).or_else(address)
}

fn insert_gap(transaction: &Transaction<'_>, gap: &Gap) -> Result<(), DatabaseError> {
    transaction.execute(
        "INSERT INTO gaps (earliest, latest, count, why, place) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![gap.earliest, gap.latest, signed(gap.count), gap.why.as_str(), gap.place],
    )?;
    Ok(())
}

fn add_counts(transaction: &Transaction<'_>, groups: HashMap<Group, u64>) -> Result<(), DatabaseError> {
    let mut add = transaction.prepare(
        "INSERT INTO counts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT DO UPDATE SET count = count + excluded.count",
    )?;
    let mut sums: HashMap<(Unit, Group), u64> = HashMap::new();
    for (group, count) in groups {
        let hour = group.minute.div_euclid(HOUR) * HOUR;
        let day = super::counting::day_of(group.minute);
        for (unit, start) in [(Unit::Hour, hour), (Unit::Day, day)] {
            *sums.entry((unit, Group { minute: start, ..group.clone() })).or_default() += count;
        }
        insert_count(&mut add, Unit::Minute, &group, count)?;
    }
    for ((unit, group), count) in sums {
        insert_count(&mut add, unit, &group, count)?;
    }
    Ok(())
}

fn insert_count(
    statement: &mut Statement<'_>,
    unit: Unit,
    group: &Group,
    count: u64,
) -> Result<(), DatabaseError> {
    let Group { minute: start, agency, action, family, hit } = group;
    statement.execute(params![unit as i64, start, agency, action, family, *hit as i64, signed(count)])?;
    Ok(())
}

/// The octets of a network of one address, as a record has them.
fn whole(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => [&address.octets()[..], &[32]].concat(),
        IpAddr::V6(address) => [&address.octets()[..], &[128]].concat(),
    }
}

/// What finds the hits that a filter takes, as far as SQLite can tell, and its values; an order and a limit may follow.
fn selection(filter: &Filter, scope: HitScope) -> (String, Vec<Value>) {
    let mut parts = vec!["1".to_owned()];
    let mut values: Vec<Value> = Vec::new();
    if let Some(client) = filter.client.map(|client| client.to_canonical()) {
        // Of whom a forwarder told is in the record alone: its address and all of its bits.
        values.extend([client.to_string().into(), whole(client).into()]);
        parts.push("(client = ?1 OR instr(record, ?2) > 0)".to_owned());
    }
    let mut add = |part: &str, value: Value| {
        values.push(value);
        parts.push(format!("{part} ?{}", values.len()));
    };
    if let Some(since) = filter.since {
        add("time >=", since.into());
    }
    if let Some(until) = filter.until {
        add("time <", until.into());
    }
    for (part, value) in
        [("agency =", &filter.agency), ("feed =", &filter.feed), ("family =", &filter.family)]
    {
        if let Some(value) = value {
            add(part, value.clone().into());
        }
    }
    let of_all = parts.join(" AND ");
    let select = |more: &str| format!("SELECT time, record FROM hits WHERE {of_all}{more}");
    // Files are retired about in the order of their times: of what is later than all of them no hit need be looked at.
    let retired = "file IN (SELECT id FROM files WHERE retired = 1)
        AND time <= (SELECT max(latest) FROM files WHERE retired = 1)";
    let select = match scope {
        HitScope::All => select(""),
        HitScope::WithoutRow => {
            format!("{} UNION ALL {}", select(" AND file = 0"), select(&format!(" AND {retired}")))
        }
        HitScope::WithoutRowOrSummary => {
            let summarised = "SELECT file FROM summarised WHERE summary IN (SELECT id FROM summaries)";
            select(&format!(" AND {retired} AND file NOT IN ({summarised})"))
        }
    };
    (select, values)
}
