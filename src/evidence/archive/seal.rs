//! From segments to files: which segments are due, and each step until they may go.

use std::collections::HashSet;
use std::fs;
use std::io;

use super::{ArchiveError, Work, beside, remove, system};
use crate::evidence::segment::{self, Records, Segment, Span};
use crate::evidence::store::{FileName, Gap, NewFile, Rows, Source, Why, sync_folder, write, write_octets};

/// Rows of a file, unless a single segment has more.
const ROWS: u64 = 1 << 20;

impl Work {
    /// The closed segments that become the next file; `None` while they may wait for more.
    pub(super) fn due(&mut self, clock: i64) -> Result<Option<Vec<Segment>>, ArchiveError> {
        // In this order: see `Ledger::in_use`.
        let listed = segment::list(&self.log).map_err(system(&self.log))?;
        let in_use = self.ledger.in_use();
        let mut spans = std::mem::take(&mut self.spans);
        let (mut batch, mut rows, mut oldest) = (Vec::new(), 0, i64::MAX);
        for segment in listed.into_iter().filter(|segment| !in_use.contains(&segment.id)) {
            let span = match spans.remove(&segment.id) {
                Some(span) => Some(span),
                None => match segment.sealed_span() {
                    // Of an earlier process, and its tail is torn.
                    Ok(None) if segment.id.number < self.ledger.first() => {
                        segment.survey().ok().map(|survey| survey.span)
                    }
                    found => found.ok().flatten(),
                },
            };
            // The keeper has not closed it yet, or it was retired.
            let Some(span) = span else { continue };
            self.spans.insert(segment.id, span);
            if rows < ROWS {
                rows += span.count;
                oldest = oldest.min(segment.modified);
                batch.push(segment);
            }
        }
        let after = i64::try_from(self.options.after.as_micros()).unwrap_or(i64::MAX);
        // A clock that was set back is not waited for.
        let is_old = clock.saturating_sub(oldest) >= after || oldest > clock;
        Ok((!batch.is_empty() && (rows >= ROWS || is_old)).then_some(batch))
    }

    /// Makes a file of these segments.
    pub(super) fn archive(&mut self, batch: &[Segment]) -> Result<(), ArchiveError> {
        let (mut rows, mut sources, mut gaps) = (Rows::default(), Vec::new(), Vec::new());
        let (mut octets, mut damaged) = (Vec::new(), HashSet::new());
        for segment in batch {
            if !read_segment(segment, &mut octets)? {
                continue;
            }
            let (mut records, mut span) = (Records::new(&octets), Span::EMPTY);
            for record in records.by_ref() {
                span.add(record.time);
                rows.add(&record);
            }
            sources.push(Source { id: segment.id, span });
            if records.damaged_len() > 0 {
                damaged.insert(segment.id);
                let latest = if span.count > 0 { span.latest } else { segment.modified };
                gaps.push(Gap {
                    earliest: latest,
                    latest,
                    count: records.damaged_len() as u64,
                    why: Why::Damaged,
                    place: Some(segment.id.file_name()),
                });
            }
        }
        if rows.len() == 0 {
            let failed = self.database();
            self.catalogue()?.add_gaps(&gaps).map_err(failed)?;
        } else {
            let number = sources.iter().map(|source| source.id.number).max().unwrap_or_default();
            self.store(number, &rows, &sources, &gaps)?;
        }
        for segment in batch {
            self.step()?;
            leave(segment, damaged.contains(&segment.id))?;
            self.spans.remove(&segment.id);
        }
        sync_folder(&self.log).map_err(system(&self.log))
    }

    fn store(
        &mut self,
        number: u64,
        rows: &Rows,
        sources: &[Source],
        gaps: &[Gap],
    ) -> Result<(), ArchiveError> {
        let Span { earliest, latest, .. } = rows.span();
        let name = FileName { number, earliest, latest };
        let path = self.folder.join(name.to_string());
        self.step()?;
        self.write(&name, rows, sources)?;
        sync_folder(&self.folder).map_err(system(&self.folder))?;
        self.step()?;
        let octets = fs::metadata(&path).map_err(system(&path))?.len();
        let failed = self.database();
        let file = NewFile { name: &name, octets, sources, rows, gaps };
        self.catalogue()?.add(&file).map_err(failed)?;
        Ok(())
    }

    /// Writes a file beside its place and puts it there, its names first.
    pub(super) fn write(
        &mut self,
        name: &FileName,
        rows: &Rows,
        sources: &[Source],
    ) -> Result<(), ArchiveError> {
        let path = self.folder.join(name.to_string());
        let names = name.names_path(&self.folder);
        let (new_path, new_names) = (beside(&path), beside(&names));
        let written = write(rows, sources, &new_path)
            .map_err(|source| ArchiveError::File { path: new_path.clone(), source })
            .and_then(|()| write_octets(&new_names, &rows.names()).map_err(system(&new_names)));
        if written.is_err() {
            // The disk may be full: nothing of it is left lying about.
            let _ = (fs::remove_file(&new_path), fs::remove_file(&new_names));
        }
        written?;
        self.step()?;
        fs::rename(&new_names, &names).map_err(system(&names))?;
        self.step()?;
        fs::rename(&new_path, &path).map_err(system(&path))
    }
}

/// Whether there was something to read.
pub(super) fn read_segment(segment: &Segment, octets: &mut Vec<u8>) -> Result<bool, ArchiveError> {
    match fs::File::open(&segment.path).and_then(|file| segment::read(&file, u64::MAX, octets)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(system(&segment.path)(error)),
    }
}

/// Removes a segment that is archived; one with damage is put aside, for it is evidence, too.
pub(super) fn leave(segment: &Segment, is_damaged: bool) -> Result<(), ArchiveError> {
    if !is_damaged {
        return remove(&segment.path);
    }
    match fs::rename(&segment.path, segment.path.with_extension("seg.damaged")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(system(&segment.path)(error)),
        _ => Ok(()),
    }
}
