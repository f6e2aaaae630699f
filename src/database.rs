//! SQLite databases: made so that only their owner may read them, opened with a write-ahead log, and of a version that this release knows.
//!
//! What they hold is their owners' to say, and so is how an error is told: nothing here knows a table.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

/// How long those who write and those who read wait for each other.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a database is made and kept.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// What leads from each version to the next, the first from an empty file: a database's version is how many of these it went
    /// through. Once released, a step never changes; what changes is one more.
    pub steps: &'static [&'static str],
    /// What a power cut may cost.
    pub durability: Durability,
    /// Most memory for pages of the file, in KiB.
    pub cache_kib: u32,
    /// What is kept of the write-ahead log's room when it was long, in octets.
    pub log_size: u32,
    /// Whether the file gives back room little by little (`PRAGMA incremental_vacuum`); only a new one can be told so.
    pub shrinks: bool,
}

/// What a power cut may cost; kill -9 costs nothing that was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Nothing that was committed: each commit waits for the disk.
    Commits,
    /// The last commits, never the whole.
    Whole,
}

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// What SQLite said.
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
    /// What the system said.
    #[error(transparent)]
    System(#[from] io::Error),
    /// Somebody went back to an older release.
    #[error("it is of a newer release (version {found}, this one knows {known}); run that release")]
    Newer {
        /// The database's version.
        found: i64,
        /// The last one that is known here.
        known: i64,
    },
}

impl DatabaseError {
    /// Whether the file is no database, or a damaged one.
    pub fn is_damage(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        matches!(self, Self::Database(rusqlite::Error::SqliteFailure(error, _))
            if matches!(error.code, DatabaseCorrupt | NotADatabase))
    }
}

/// Opens a database for one who writes. Makes it, and its folder, where they are missing; any number of processes may.
///
/// # Errors
/// [`DatabaseError`].
pub fn open(path: &Path, layout: &Layout) -> Result<Connection, DatabaseError> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    // Made before SQLite does, so that nobody else may read it.
    fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let mut connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(PATIENCE)?;
    let is_current = is_current(&connection, layout)?;
    if layout.shrinks && !is_current {
        // Only a database without any page takes it.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    let synchronous = match layout.durability {
        Durability::Commits => "FULL",
        Durability::Whole => "NORMAL",
    };
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "cache_size", -i64::from(layout.cache_kib))?;
    connection.pragma_update(None, "journal_size_limit", layout.log_size)?;
    if !is_current {
        // Two may find it old: the second waits, and finds it new.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let found = version(&transaction)?;
        for step in layout.steps.iter().skip(usize::try_from(found).unwrap_or(usize::MAX)) {
            transaction.execute_batch(step)?;
        }
        transaction.pragma_update(None, "user_version", found.max(known(layout)))?;
        transaction.commit()?;
    }
    Ok(connection)
}

/// Opens a database for one who only reads; `None` where there is none, or none that a writer of this release opened.
///
/// # Errors
/// [`DatabaseError`].
pub fn read(path: &Path, layout: &Layout) -> Result<Option<Connection>, DatabaseError> {
    if fs::metadata(path).map_or(true, |facts| facts.len() == 0) {
        return Ok(None);
    }
    // Readers of a write-ahead log share memory with the writer, so the file is opened for both.
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(is_current(&connection, layout)?.then_some(connection))
}

/// Puts a damaged database aside; returns where it is.
///
/// # Errors
/// A file cannot be renamed, or what belongs to it not be removed.
pub fn put_aside(path: &Path) -> io::Result<PathBuf> {
    let beside = |extension: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(extension);
        PathBuf::from(name)
    };
    for extension in ["-wal", "-shm"] {
        if let Err(error) = fs::remove_file(beside(extension))
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
    }
    let aside = beside(".damaged");
    fs::rename(path, &aside)?;
    Ok(aside)
}

fn version(connection: &Connection) -> Result<i64, rusqlite::Error> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn known(layout: &Layout) -> i64 {
    i64::try_from(layout.steps.len()).unwrap_or(i64::MAX)
}

/// Whether it went through all steps; an error where it went through more.
fn is_current(connection: &Connection, layout: &Layout) -> Result<bool, DatabaseError> {
    let (found, known) = (version(connection)?, known(layout));
    if found > known { Err(DatabaseError::Newer { found, known }) } else { Ok(found == known) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::thread;

    use super::*;

    const OLD: Layout = Layout {
        steps: &["CREATE TABLE one (it INTEGER) STRICT; INSERT INTO one VALUES (1)"],
        durability: Durability::Commits,
        cache_kib: 1024,
        log_size: 1 << 20,
        shrinks: true,
    };
    const NEW: Layout = Layout {
        steps: &[
            "CREATE TABLE one (it INTEGER) STRICT; INSERT INTO one VALUES (1)",
            "ALTER TABLE one ADD COLUMN more TEXT",
        ],
        ..OLD
    };

    #[test]
    fn versions_follow_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("within/it.db");
        assert!(read(&path, &OLD).unwrap().is_none());
        drop(open(&path, &OLD).unwrap());
        assert!(read(&path, &OLD).unwrap().is_some());
        // What nobody who writes brought up to date cannot be asked for what is not in it.
        assert!(read(&path, &NEW).unwrap().is_none());
        let connection = open(&path, &NEW).unwrap();
        let count: i64 = connection
            .query_row("SELECT count(*) FROM one WHERE more IS NULL", [], |row| row.get(0))
            .unwrap();
        assert_eq!((count, version(&connection).unwrap()), (1, 2));
        for error in [open(&path, &OLD).unwrap_err(), read(&path, &OLD).unwrap_err()] {
            assert!(matches!(error, DatabaseError::Newer { found: 2, known: 1 }), "{error}");
        }
        let reader = read(&path, &NEW).unwrap().unwrap();
        reader.execute("DELETE FROM one", []).unwrap_err();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let within = path.parent().unwrap();
        assert_eq!(fs::metadata(within).unwrap().permissions().mode() & 0o777, 0o700);
        let vacuum: i64 = connection.pragma_query_value(None, "auto_vacuum", |row| row.get(0)).unwrap();
        assert_eq!(vacuum, 2);
    }

    #[test]
    fn many_may_make_it_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it.db");
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| open(&path, &NEW).unwrap());
            }
        });
        let count: i64 =
            open(&path, &NEW).unwrap().query_row("SELECT count(*) FROM one", [], |row| row.get(0)).unwrap();
        assert_eq!(count, 1);
    }

    #[test]
    fn what_is_damaged_is_told_and_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it.db");
        fs::write(&path, "no database at all, and long enough to be looked at as one").unwrap();
        assert!(open(&path, &NEW).unwrap_err().is_damage());
        assert_eq!(put_aside(&path).unwrap(), folder.path().join("it.db.damaged"));
        open(&path, &NEW).unwrap();
    }
}
