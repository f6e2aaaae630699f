//! The segments as they lie, while they are still being written.
//!
//! What a segment covers is told by its trailer; one without (open, or its process was killed) is
//! read once for that, and again when its turn comes. Each is held open from when it is listed: the archiver
//! may take it into a file meanwhile, which this answer will not read.

use std::fs::File;
use std::io;
use std::path::Path;

use super::loaded::Loaded;
use super::recent::Recent;
use super::{Filter, Scan, StoreError};
use crate::evidence::segment::{self, End, Records, Segment, Survey};

/// Most segments that are held open; where there are more, nobody takes them away.
const MOST_OPEN: usize = 512;

/// A segment that may hold wanted records.
#[derive(Debug)]
pub(super) struct Raw {
    pub(super) segment: Segment,
    pub(super) survey: Survey,
    pub(super) file: Option<File>,
}

/// All segments in `folder` with a record; of those without a trailer, `recent` reads only what came since it was asked last.
pub(super) fn list(folder: &Path, recent: Option<&Recent>) -> Result<Vec<Raw>, StoreError> {
    let listed =
        segment::list(folder).map_err(|source| StoreError::Read { path: folder.to_owned(), source })?;
    let mut found = Vec::new();
    for segment in listed {
        let Some(file) = unless_retired(&segment, File::open(&segment.path))? else { continue };
        let survey = recent.map_or_else(|| segment::survey(&file), |recent| recent.survey(segment.id, &file));
        let Some(survey) = unless_retired(&segment, survey)? else { continue };
        let file = Some(file).filter(|_| found.len() < MOST_OPEN);
        found.push(Raw { segment, survey, file });
    }
    Ok(found)
}

impl Raw {
    /// Whether it may hold what `filter` takes; tells a torn tail.
    pub(super) fn is_wanted(&self, filter: &Filter, scan: &mut Scan) -> bool {
        if let End::Torn(octets) = self.survey.end {
            scan.damaged.push((self.segment.path.clone(), octets));
        }
        let span = self.survey.span;
        span.count > 0 && filter.may_take(span.earliest, span.latest)
    }

    /// Calls `visit` with its records in the order they were written.
    pub(super) fn read(
        &self,
        scan: &mut Scan,
        visit: &mut dyn FnMut(&crate::evidence::record::Record<'_>),
    ) -> Result<(), StoreError> {
        let mut octets = Vec::new();
        let read = match &self.file {
            Some(file) => segment::read(file, self.survey.len, &mut octets),
            None => File::open(&self.segment.path)
                .and_then(|file| segment::read(&file, self.survey.len, &mut octets)),
        };
        if unless_retired(&self.segment, read)?.is_none() {
            return Ok(());
        }
        let mut records = Records::new(&octets);
        for record in records.by_ref() {
            visit(&record);
        }
        // Damage inside a closed segment; what is torn without a trailer was told already.
        let damaged = records.damaged_len();
        if damaged > 0 && scan.damaged.iter().all(|(path, _)| *path != self.segment.path) {
            scan.damaged.push((self.segment.path.clone(), damaged));
        }
        Ok(())
    }

    pub(super) fn load(
        &self,
        filter: &Filter,
        most: Option<usize>,
        scan: &mut Scan,
    ) -> Result<Option<Loaded>, StoreError> {
        let mut loaded = Loaded::default();
        self.read(scan, &mut |record| {
            if filter.takes(record) {
                loaded.add(record);
                if let Some(most) = most {
                    loaded.keep_newest(most);
                }
            }
        })?;
        Ok(loaded.sorted())
    }
}

/// A segment may be retired between listing and reading.
fn unless_retired<T>(segment: &Segment, result: io::Result<T>) -> Result<Option<T>, StoreError> {
    match result {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StoreError::Read { path: segment.path.clone(), source }),
    }
}
