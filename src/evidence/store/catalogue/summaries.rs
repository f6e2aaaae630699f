//! Which summaries count, and which files are part of them.

use rusqlite::params;

use super::{Catalogue, signed};
use crate::database::DatabaseError;
use crate::evidence::store::parquet::FileName;

/// Later than the rest: older releases do not miss it.
pub(super) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS summaries (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, octets INTEGER NOT NULL, truncated INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE IF NOT EXISTS summarised (file INTEGER PRIMARY KEY, summary INTEGER NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS counts_hits ON counts (span, start) WHERE hit > 0;
";

/// A summary that counts.
#[derive(Debug, Clone)]
pub(in crate::evidence) struct SummaryEntry {
    pub(in crate::evidence) id: i64,
    pub(in crate::evidence) name: FileName,
    pub(in crate::evidence) octets: u64,
    pub(in crate::evidence) is_truncated: bool,
}

impl Catalogue {
    /// Whether a release has written here that knows summaries.
    pub(super) fn has_summaries(&self) -> Result<bool, DatabaseError> {
        let select = "SELECT count(*) = 2 FROM sqlite_schema WHERE name IN ('summaries', 'summarised')";
        Ok(self.connection.query_row(select, [], |row| row.get(0))?)
    }

    /// The summaries that count.
    pub(in crate::evidence) fn summaries(&self) -> Result<Vec<SummaryEntry>, DatabaseError> {
        let mut summaries = Vec::new();
        if !self.has_summaries()? {
            return Ok(summaries);
        }
        let mut statement =
            self.connection.prepare("SELECT id, name, octets, truncated FROM summaries ORDER BY id")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let Some(name) = FileName::parse_summary(&row.get::<_, String>(1)?) else { continue };
            summaries.push(SummaryEntry {
                id: row.get(0)?,
                name,
                octets: row.get::<_, i64>(2)?.unsigned_abs(),
                is_truncated: row.get(3)?,
            });
        }
        Ok(summaries)
    }

    /// Makes a summary count, and the files of these names part of it.
    pub(in crate::evidence) fn add_summary(
        &mut self,
        name: &FileName,
        octets: u64,
        is_truncated: bool,
        files: &[FileName],
    ) -> Result<(), DatabaseError> {
        let transaction = self.connection.transaction()?;
        transaction.execute(
            "INSERT INTO summaries (name, octets, truncated) VALUES (?1, ?2, ?3)",
            params![name.summary_name(), signed(octets), is_truncated],
        )?;
        let id = transaction.last_insert_rowid();
        {
            let mut add = transaction
                .prepare("INSERT OR REPLACE INTO summarised SELECT id, ?1 FROM files WHERE name = ?2")?;
            for file in files {
                add.execute(params![id, file.to_string()])?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Says that no summary will know a file.
    pub(in crate::evidence) fn leave_unsummarised(&self, file: i64) -> Result<(), DatabaseError> {
        self.connection.execute("INSERT OR REPLACE INTO summarised VALUES (?1, 0)", [file])?;
        Ok(())
    }

    /// Says that a summary is gone. Its files do not become part of another.
    pub(in crate::evidence) fn remove_summary(&self, id: i64) -> Result<(), DatabaseError> {
        self.connection.execute("DELETE FROM summaries WHERE id = ?1", [id])?;
        Ok(())
    }

    /// Says that the clients in a summary are no longer whole.
    pub(in crate::evidence) fn mark_summary_truncated(
        &self,
        id: i64,
        octets: u64,
    ) -> Result<(), DatabaseError> {
        self.connection.execute(
            "UPDATE summaries SET truncated = 1, octets = ?2 WHERE id = ?1",
            params![id, signed(octets)],
        )?;
        Ok(())
    }
}
