//! What an earlier process left: told by what is on the disk, finished or taken back.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use super::seal::{leave, read_segment};
use super::summarise::adopt_summary;
use super::{ArchiveError, Work, remove, remove_file, system};
use crate::evidence::segment::{self, Id, Records};
use crate::evidence::store::{Catalogue, FileName, Filter, NewFile, Rows, Stored};

impl Work {
    /// Opens the catalogue, and tidies what an earlier process left.
    pub(super) fn open(&mut self) -> Result<(), ArchiveError> {
        if self.catalogue.is_some() && self.folder.exists() {
            return Ok(());
        }
        self.catalogue = None;
        let failed = system(&self.folder);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(failed)?;
        let mut catalogue = Catalogue::open(&self.folder).map_err(self.database())?;
        let known = catalogue.names().map_err(self.database())?;
        let archived = catalogue.segments().map_err(self.database())?;
        let segments = segment::list(&self.log).map_err(system(&self.log))?;
        let present: HashSet<Id> = segments.iter().map(|segment| segment.id).collect();
        let mut summaries = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(system(&self.folder))? {
            let path = entry.map_err(system(&self.folder))?.path();
            let Some(text) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if text.ends_with(".new") {
                remove(&path)?;
            } else if let Some(name) = FileName::parse_summary(text) {
                summaries.push(name);
            } else if let Some(name) = FileName::parse(text) {
                match known.get(text) {
                    Some(false) => {}
                    Some(true) => remove_file(&self.folder, &name)?,
                    None => adopt(&mut catalogue, &self.folder, &name, &present)?,
                }
            } else if text.ends_with(".names") && !path.with_extension("parquet").exists() {
                remove(&path)?;
            }
        }
        // Now that all their files are known.
        let counted = catalogue.summaries().map_err(self.database())?;
        for name in summaries.iter().filter(|name| counted.iter().all(|it| it.name != **name)) {
            adopt_summary(&mut catalogue, &self.folder, name)?;
        }
        for segment in &segments {
            let is_archived = archived
                .get(&segment.id)
                .is_some_and(|span| segment.survey().is_ok_and(|survey| survey.span == *span));
            if is_archived {
                let mut octets = Vec::new();
                read_segment(segment, &mut octets)?;
                let mut records = Records::new(&octets);
                records.by_ref().for_each(drop);
                leave(segment, records.damaged_len() > 0)?;
            }
        }
        self.catalogue = Some(catalogue);
        Ok(())
    }
}

/// Deals with a file that the catalogue does not know.
fn adopt(
    catalogue: &mut Catalogue,
    folder: &Path,
    name: &FileName,
    present: &HashSet<Id>,
) -> Result<(), ArchiveError> {
    let path = folder.join(name.to_string());
    let stored = match Stored::open(&path) {
        Ok(stored) => stored,
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "a file of the query log cannot be read: it is left out");
            return Ok(());
        }
    };
    let sources = stored.sources();
    if sources.iter().any(|source| present.contains(&source.id)) {
        // It was about to be entered; its segments are archived anew.
        return remove_file(folder, name);
    }
    let mut rows = Rows::default();
    if let Err(error) = stored.read(&Filter::default(), None, &mut |record| rows.add(record)) {
        tracing::error!(path = %path.display(), %error, "a file of the query log cannot be read: it is left out");
        return Ok(());
    }
    let octets = fs::metadata(&path).map_err(system(&path))?.len();
    tracing::warn!(path = %path.display(), "a file of the query log is entered in its catalogue again");
    catalogue
        .add(&NewFile { name, octets, sources: &sources, rows: &rows, gaps: &[] })
        .map_err(|source| ArchiveError::Catalogue { path, source })
}
