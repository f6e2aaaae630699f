//! A day's files become a summary: who asked for what, for searches over months.
//!
//! ```text
//!     files of a day that is over ─► parts (….new), a file a round ─► NAME.summary.new ─► NAME.summary ─► in the catalogue
//!                                    removed at a start                                   entered at a start, where the
//!                                                                                         catalogue does not know it
//! ```
//!
//! Where `log.max_size` is so small that a day's files would not stay for a day, what there is becomes one earlier.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::BuildHasher as _;
use std::path::{Path, PathBuf};

use super::{ArchiveError, Work, beside, remove, system};
use crate::evidence::store::{
    Catalogue, Entry, Facts, FileName, Slices, Stored, Summary, SummaryError, day_of, merge, sync_folder,
};

/// Most files that one summary stands for: parts of all of them are merged at once.
const MOST_FILES: usize = 64;
/// Most clients that one may know, each with its agency: so many addresses are forged.
const MOST_CLIENTS: usize = 1 << 20;

/// A summary on its way.
pub(super) struct Summarising {
    /// Files that it does not know yet, the latest first.
    left: Vec<Entry>,
    facts: Facts,
    /// Whether no file of it has whole clients.
    is_truncated: bool,
    parts: Vec<PathBuf>,
    clients: HashSet<u64>,
    hasher: RandomState,
}

impl Work {
    /// Does the next part of a summary that is due; whether there is more to do.
    pub(super) fn summarise(&mut self, clock: i64) -> Result<bool, ArchiveError> {
        let Some(mut work) = self.summarising.take() else { return Ok(false) };
        match self.go_on(&mut work) {
            Ok(true) => self.summarising = Some(work),
            Ok(false) => self.begin_summary(clock)?,
            #[cfg(test)]
            Err(ArchiveError::Stopped) => return Err(ArchiveError::Stopped),
            // Nothing is lost by this, and it must not hold up what is: the files are searched instead.
            Err(error) => {
                tracing::error!(%error, "a day of the query log cannot be summarised; it is tried again in ten minutes");
                for part in &work.parts {
                    remove(part)?;
                }
            }
        }
        Ok(self.summarising.is_some())
    }

    /// Looks whether a summary is due.
    pub(super) fn begin_summary(&mut self, clock: i64) -> Result<(), ArchiveError> {
        // Its parts need room, too.
        if self.summarising.is_some() || self.ledger.is_scarce() {
            return Ok(());
        }
        let (failed, most) = (self.database(), self.ledger.options().max_size / 8);
        let oldest = self.before(clock, self.options.keep_summaries);
        let mut files = self.catalogue()?.files().map_err(failed)?;
        files.retain(|file| file.summary.is_none() && file.name.latest >= oldest);
        let Some(first) = files.first().map(|file| day_of(file.name.latest)) else { return Ok(()) };
        if first < day_of(clock) {
            files.retain(|file| day_of(file.name.latest) == first);
        } else if files.iter().map(|file| file.octets).sum::<u64>() < most {
            return Ok(());
        }
        files.truncate(MOST_FILES);
        let earliest = files.iter().map(|file| file.name.earliest).min().unwrap_or_default();
        files.reverse();
        self.summarising = Some(Summarising {
            left: files,
            facts: Facts { files: Vec::new(), earliest, latest: i64::MIN, rows: 0 },
            is_truncated: true,
            parts: Vec::new(),
            clients: HashSet::new(),
            hasher: RandomState::new(),
        });
        Ok(())
    }

    /// Takes up a file, or writes the summary when there is none left; whether there is more to do.
    fn go_on(&mut self, work: &mut Summarising) -> Result<bool, ArchiveError> {
        let Some(file) = work.left.pop().filter(|_| work.clients.len() <= MOST_CLIENTS) else {
            self.end_summary(work)?;
            return Ok(false);
        };
        let path = self.folder.join(file.name.to_string());
        let failed = |source| ArchiveError::Summary { path: path.clone(), source };
        match Stored::open(&path).map_err(SummaryError::File).and_then(|stored| work.take_up(&stored, &path))
        {
            Ok(rows) => {
                work.facts.rows = work.facts.rows.saturating_add(rows);
                work.facts.latest = work.facts.latest.max(file.name.latest);
                work.is_truncated &= file.is_truncated;
                work.facts.files.push(file.name);
            }
            // It was retired.
            Err(error) if error.is_absent() => {}
            Err(SummaryError::File(error)) if error.is_of_content() => {
                tracing::error!(path = %path.display(), %error, "a file of the query log cannot be read: no summary knows it");
                let failed = self.database();
                self.catalogue()?.leave_unsummarised(file.id).map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
        }
        Ok(true)
    }

    fn end_summary(&mut self, work: &mut Summarising) -> Result<(), ArchiveError> {
        let Some(number) = work.facts.files.iter().map(|file| file.number).max() else { return Ok(()) };
        work.facts.files.sort_unstable();
        let Facts { earliest, latest, .. } = work.facts;
        let name = FileName { number, earliest, latest };
        let path = self.folder.join(name.summary_name());
        let new = beside(&path);
        let written = merge(&work.parts, &work.facts, &new);
        for part in work.parts.drain(..) {
            remove(&part)?;
        }
        let octets = written.map_err(|source| {
            let _ = fs::remove_file(&new);
            ArchiveError::Summary { path: new.clone(), source }
        })?;
        self.step()?;
        fs::rename(&new, &path).map_err(system(&path))?;
        sync_folder(&self.folder).map_err(system(&self.folder))?;
        self.step()?;
        let failed = self.database();
        self.catalogue()?.add_summary(&name, octets, work.is_truncated, &work.facts.files).map_err(failed)
    }
}

impl Summarising {
    /// Makes parts of a file, and returns how many rows it has.
    fn take_up(&mut self, stored: &Stored, path: &Path) -> Result<u64, SummaryError> {
        let (parts, clients, hasher) = (&mut self.parts, &mut self.clients, &self.hasher);
        let mut place = || {
            let mut place = path.as_os_str().to_owned();
            place.push(format!(".{}.new", parts.len()));
            parts.push(place.into());
            parts.last().cloned().unwrap_or_default()
        };
        Slices::make(stored, &self.facts, &mut place, &mut |client| {
            clients.insert(hasher.hash_one(client));
        })?;
        Ok(stored.rows())
    }
}

/// Deals with a summary that the catalogue does not know.
pub(super) fn adopt_summary(
    catalogue: &mut Catalogue,
    folder: &Path,
    name: &FileName,
) -> Result<(), ArchiveError> {
    let path = folder.join(name.summary_name());
    match Summary::open(&path) {
        Ok(summary) => {
            let octets = fs::metadata(&path).map_err(system(&path))?.len();
            // Should its clients be unknown already, they are made so again.
            catalogue
                .add_summary(name, octets, false, &summary.facts().files)
                .map_err(|source| ArchiveError::Catalogue { path, source })
        }
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "a summary of the query log cannot be read: it is left out");
            Ok(())
        }
    }
}
