//! What goes: files and hits by age, hits by size, segments with damage.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::{ArchiveError, Work, remove, remove_file, system};

/// How long counts by the minute are kept, and counts by the hour: then those of days are left.
const MINUTES_KEPT: Duration = Duration::from_secs(2 * 86_400);
const HOURS_KEPT: Duration = Duration::from_secs(400 * 86_400);

impl Work {
    /// Lets go what is too old, and says of files that went that they did.
    pub(super) fn expire(&mut self, clock: i64) -> Result<(), ArchiveError> {
        let before = |kept: Duration| self.before(clock, kept);
        let (failed, folder) = (self.database(), self.folder.clone());
        let oldest = before(self.options.keep_queries);
        let (keep_hits, most) = (before(self.options.keep_hits), self.options.hits_size);
        let ledger = std::sync::Arc::clone(&self.ledger);
        let (minutes, hours) = (before(MINUTES_KEPT), before(HOURS_KEPT));
        let keep_summaries = before(self.options.keep_summaries);
        let catalogue = self.catalogue()?;
        let mut files = 0;
        for file in catalogue.files().map_err(&failed)? {
            let is_there = folder.join(file.name.to_string()).exists();
            let is_owed = ledger.owed().is_owed(file.name.number);
            if is_there && (file.name.latest >= oldest || is_owed) {
                continue;
            }
            // What is retired is removed at a start, should this be the last that happens.
            if is_owed {
                catalogue.lose(file.id).map_err(&failed)?;
            } else {
                catalogue.retire(file.id).map_err(&failed)?;
            }
            remove_file(&folder, &file.name)?;
            files += usize::from(is_there);
        }
        for summary in catalogue.summaries().map_err(&failed)? {
            let path = folder.join(summary.name.summary_name());
            if !path.exists() || summary.name.latest < keep_summaries {
                // One that is known to nobody would be entered at a start.
                remove(&path)?;
                catalogue.remove_summary(summary.id).map_err(&failed)?;
            }
        }
        let hits = catalogue
            .expire(keep_hits, minutes, hours)
            .and_then(|old| Ok(old + catalogue.shrink(most)?))
            .map_err(&failed)?;
        if files > 0 || hits > 0 {
            tracing::info!(
                files,
                hits,
                "retired old records: log.keep_queries, log.keep_hits or log.hits_max_size"
            );
        }
        remove_damaged(&self.log, oldest)
    }
}

/// Removes damaged segments that are older, and all but a few.
fn remove_damaged(log: &Path, oldest: i64) -> Result<(), ArchiveError> {
    const MOST: usize = 16;
    let mut damaged = Vec::new();
    for entry in fs::read_dir(log).map_err(system(log))?.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "damaged")
            && let Ok(modified) = entry.metadata().and_then(|facts| facts.modified())
        {
            let since = modified.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            damaged.push((i64::try_from(since.as_micros()).unwrap_or(i64::MAX), path));
        }
    }
    damaged.sort();
    let excess = damaged.len().saturating_sub(MOST);
    for (at, (modified, path)) in damaged.iter().enumerate() {
        if at < excess || *modified < oldest {
            remove(path)?;
        }
    }
    Ok(())
}
