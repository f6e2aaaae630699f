//! What is in ClickHouse already: an SQLite database beside the store's files.
//!
//! It spares asking; it is not what makes a batch be there once. Without it, or with an old copy of it, ClickHouse is asked for each
//! batch again, and what it has is not sent.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::database::{self, DatabaseError, Durability, Layout};

const FILE: &str = "shipped.db";
const SCHEMA: &str = "
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE shipped (number INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT;
";
/// A power cut may cost the last lines: then ClickHouse is asked.
const LAYOUT: Layout = Layout {
    steps: &[SCHEMA],
    durability: Durability::Whole,
    cache_kib: 2048,
    log_size: 4 << 20,
    shrinks: false,
};
/// Which finds are there: the id of the last one in the catalogue.
const FINDS: &str = "finds";
/// Up to which one the batch goes that is on its way.
const FINDS_AHEAD: &str = "finds ahead";
/// Whom all this is about.
const TARGET: &str = "target";

/// The open database.
#[derive(Debug)]
pub(super) struct State {
    connection: Connection,
}

/// What it says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// The numbers of files that are there.
    pub(super) files: HashSet<u64>,
    /// The last find that is there.
    pub(super) finds: i64,
}

fn path(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

/// A number of a file, which is far below.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl State {
    /// Opens the one in the store's folder; what it says of another ClickHouse is forgotten.
    pub(super) fn open(folder: &Path, target: &str) -> Result<Self, DatabaseError> {
        let path = path(folder);
        let connection = match database::open(&path, &LAYOUT) {
            Err(error) if error.is_damage() => {
                let aside = database::put_aside(&path)?;
                tracing::warn!(path = %path.display(), aside = %aside.display(), "it is damaged and made anew: ClickHouse is asked what it has");
                database::open(&path, &LAYOUT)?
            }
            opened => opened?,
        };
        let state = Self { connection };
        if state.fact(TARGET)?.as_deref() != Some(target) {
            state.connection.execute_batch("DELETE FROM shipped; DELETE FROM facts")?;
            state.set(TARGET, target)?;
        }
        Ok(state)
    }

    /// What the one in the folder says of this ClickHouse; nothing where there is none.
    pub(super) fn read(folder: &Path, target: &str) -> Result<Standing, DatabaseError> {
        let Some(connection) = database::read(&path(folder), &LAYOUT)? else {
            return Ok(Standing::default());
        };
        let state = Self { connection };
        if state.fact(TARGET)?.as_deref() != Some(target) {
            return Ok(Standing::default());
        }
        Ok(state.standing()?)
    }

    pub(super) fn standing(&self) -> rusqlite::Result<Standing> {
        let mut statement = self.connection.prepare("SELECT number FROM shipped")?;
        let numbers = statement.query_map([], |row| row.get::<_, i64>(0).map(i64::unsigned_abs))?;
        Ok(Standing { files: numbers.collect::<Result<_, _>>()?, finds: self.number(FINDS)?.unwrap_or(0) })
    }

    fn fact(&self, name: &str) -> rusqlite::Result<Option<String>> {
        let mut statement = self.connection.prepare("SELECT value FROM facts WHERE name = ?1")?;
        statement.query_row([name], |row| row.get(0)).optional()
    }

    fn number(&self, name: &str) -> rusqlite::Result<Option<i64>> {
        Ok(self.fact(name)?.and_then(|value| value.parse().ok()))
    }

    fn set(&self, name: &str, value: &str) -> rusqlite::Result<()> {
        self.connection.execute("INSERT OR REPLACE INTO facts VALUES (?1, ?2)", [name, value])?;
        Ok(())
    }

    /// A file is there.
    pub(super) fn add(&self, number: u64, name: &str) -> rusqlite::Result<()> {
        self.connection
            .execute("INSERT OR REPLACE INTO shipped VALUES (?1, ?2)", params![signed(number), name])?;
        Ok(())
    }

    /// Forgets files that the store has no more.
    pub(super) fn keep(&self, is_there: impl Fn(u64) -> bool) -> rusqlite::Result<()> {
        for number in self.standing()?.files.into_iter().filter(|number| !is_there(*number)) {
            self.connection.execute("DELETE FROM shipped WHERE number = ?1", [signed(number)])?;
        }
        Ok(())
    }

    /// The find up to which the batch on its way goes.
    pub(super) fn finds_ahead(&self) -> rusqlite::Result<Option<i64>> {
        self.number(FINDS_AHEAD)
    }

    /// A batch of finds is on its way: should it have to be sent again, it is the same.
    pub(super) fn begin_finds(&self, last: i64) -> rusqlite::Result<()> {
        self.set(FINDS_AHEAD, &last.to_string())
    }

    /// All finds up to this one are there.
    pub(super) fn end_finds(&self, last: i64) -> rusqlite::Result<()> {
        self.set(FINDS, &last.to_string())?;
        self.connection.execute("DELETE FROM facts WHERE name = ?1", [FINDS_AHEAD])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_there_is_remembered_of_one_clickhouse() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(State::read(folder.path(), "a").unwrap(), Standing::default());
        let state = State::open(folder.path(), "a").unwrap();
        for number in [3, 7, 9] {
            state.add(number, "name").unwrap();
        }
        state.begin_finds(12).unwrap();
        drop(state);
        let state = State::open(folder.path(), "a").unwrap();
        assert_eq!(state.finds_ahead().unwrap(), Some(12));
        state.end_finds(12).unwrap();
        assert_eq!(state.finds_ahead().unwrap(), None);
        state.keep(|number| number != 7).unwrap();
        let expected = Standing { files: HashSet::from([3, 9]), finds: 12 };
        assert_eq!(State::read(folder.path(), "a").unwrap(), expected);
        assert_eq!(State::read(folder.path(), "b").unwrap(), Standing::default());
        assert_eq!(State::open(folder.path(), "b").unwrap().standing().unwrap(), Standing::default());
    }

    #[test]
    fn a_damaged_one_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(path(folder.path()), "no database, but as long as one would be ".repeat(200)).unwrap();
        let state = State::open(folder.path(), "a").unwrap();
        assert_eq!(state.standing().unwrap(), Standing::default());
    }
}
