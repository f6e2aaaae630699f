//! Old records whose clients become unknown, but for hits.

use std::fs;

use super::{Anonymise, ArchiveError, Work, beside, remove, system};
use crate::evidence::store::{
    Entry, Filter, Rows, Stored, Summary, SummaryEntry, SummaryError, rewrite, sync_folder,
};

impl Work {
    /// Makes the clients of old records unknown.
    pub(super) fn anonymise(&mut self, clock: i64) -> Result<(), ArchiveError> {
        if self.options.anonymise == Anonymise::Never {
            return Ok(());
        }
        let after = i64::try_from(self.options.anonymise_after.as_micros()).unwrap_or(i64::MAX);
        let (failed, before) = (self.database(), clock.saturating_sub(after));
        let files = self.catalogue()?.files().map_err(&failed)?;
        for summary in self.catalogue()?.summaries().map_err(&failed)? {
            if self.is_stopping() {
                break;
            }
            if !summary.is_truncated && summary.name.latest < before {
                self.anonymise_summary(&summary)?;
            }
        }
        for file in files.iter().filter(|file| !file.is_truncated && file.name.latest < before) {
            if self.is_stopping() {
                break;
            }
            self.anonymise_file(file)?;
        }
        Ok(())
    }

    fn anonymise_file(&mut self, file: &Entry) -> Result<(), ArchiveError> {
        let path = self.folder.join(file.name.to_string());
        let failed = |source| ArchiveError::File { path: path.clone(), source };
        let stored = Stored::open(&path).map_err(failed)?;
        let mut rows = Rows::default();
        let read = stored.read(&Filter::default(), None, &mut |record| {
            rows.add(&self.veil.over_record(record));
        });
        read.map_err(failed)?;
        self.write(&file.name, &rows, &stored.sources())?;
        let octets = fs::metadata(&path).map_err(system(&path))?.len();
        let failed = self.database();
        self.catalogue()?.mark_truncated(file.id, octets).map_err(failed)
    }

    fn anonymise_summary(&mut self, entry: &SummaryEntry) -> Result<(), ArchiveError> {
        let path = self.folder.join(entry.name.summary_name());
        let new = beside(&path);
        let rewritten = Summary::open(&path)
            .and_then(|summary| rewrite(&summary, |client| self.veil.over(client), &new))
            .map_err(|source| ArchiveError::Summary { path: path.clone(), source });
        let octets = match rewritten {
            Err(ArchiveError::Summary { path, source: source @ SummaryError::Damaged }) => {
                // It must not keep what it should not know; the files are searched instead.
                tracing::error!(path = %path.display(), error = %source, "a summary of the query log is removed: its clients cannot be made unknown");
                return remove(&path);
            }
            written => written?,
        };
        fs::rename(&new, &path).map_err(system(&path))?;
        sync_folder(&self.folder).map_err(system(&self.folder))?;
        let failed = self.database();
        self.catalogue()?.mark_summary_truncated(entry.id, octets).map_err(failed)
    }
}
