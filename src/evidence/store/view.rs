//! What there is at one moment, and which of it a question needs.
//!
//! A name or an address that a summary does not know is in none of its files, and one that a file's set does not know is not
//! in that file. Where a file is gone, its summary says what was in it.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::catalogue::{self, Catalogue, Entry, SummaryEntry};
use super::embedded::Source;
use super::names::{Gathering, Label, Needles, Reach, Set};
use super::parquet::{FileError, Stored};
use super::rows::MINUTE;
use super::segments::Raw;
use super::sightings::Sighting;
use super::summary::{Asker, Find, Summary, SummaryError};
use super::{Filter, Kind, Scan, StoreError};
use crate::evidence::record::Record;
use crate::name;

/// The rows of one summary that are found one by one; of more, it is what the summary says that is found.
const MANY: u64 = 10_000;

/// What there is at one moment.
pub(in crate::evidence) struct View {
    pub(super) folder: PathBuf,
    pub(super) raws: Vec<Raw>,
    pub(super) files: Vec<Entry>,
    pub(super) summaries: Vec<SummaryEntry>,
    pub(super) catalogue: Option<Arc<Catalogue>>,
}

/// What a search meets.
pub(in crate::evidence) enum Found<'a> {
    /// A record, and where it is.
    Row(&'a Record<'a>, catalogue::Origin),
    /// What is left of records, or stands for many; and where these are, or were.
    Seen(&'a Sighting, catalogue::Origin),
}

impl View {
    /// Keeps only what may hold what `filter` takes; of summaries, those that know what it looks for.
    pub(super) fn narrow(&mut self, filter: &Filter, scan: &mut Scan) {
        self.raws.retain(|raw| raw.is_wanted(filter, scan));
        self.files.retain(|file| filter.may_take(file.name.earliest, file.name.latest));
        self.summaries.retain(|it| filter.may_take(it.name.earliest, it.name.latest));
        let Some(needles) = needles_of(filter) else {
            self.summaries.clear();
            return;
        };
        let met = in_parallel(
            &self.summaries,
            || None,
            |entry| {
                let path = self.folder.join(entry.name.summary_name());
                Some(Summary::open(&path).and_then(|summary| summary.is_met_by(&needles)))
            },
        );
        let (mut unmet, mut known) = (HashSet::new(), HashSet::new());
        for (entry, met) in self.summaries.iter().zip(met) {
            match met {
                Some(Ok(true)) => {
                    known.insert(entry.id);
                }
                Some(Ok(false)) => {
                    unmet.insert(entry.id);
                }
                Some(Err(error)) if !error.is_absent() => {
                    let path = self.folder.join(entry.name.summary_name());
                    scan.unreadable.push((path, error.to_string()));
                }
                // Its files are searched.
                _ => {}
            }
        }
        self.summaries.retain(|entry| known.contains(&entry.id));
        self.files.retain(|file| file.summary.is_none_or(|summary| !unmet.contains(&summary)));
        let wanted = in_parallel(
            &self.files,
            || true,
            |file| {
                let names = Set::load(&file.name.names_path(&self.folder)).ok().flatten();
                names.is_none_or(|names| names.is_met_by(&needles))
            },
        );
        let mut wanted = wanted.into_iter();
        self.files.retain(|_| wanted.next().unwrap_or(true));
    }

    /// Keeps only these of its files, and no hits beside them.
    pub(super) fn keep_files(&mut self, keep: impl Fn(&Entry) -> bool) {
        self.files.retain(|file| keep(file));
        self.catalogue = None;
        self.summaries.clear();
    }

    /// Its files.
    pub(super) fn files(&self) -> &[Entry] {
        &self.files
    }

    /// The numbers of the segments that no file stands for.
    pub(super) fn segment_numbers(&self) -> impl Iterator<Item = u64> {
        self.raws.iter().map(|raw| raw.segment.id.number)
    }

    /// Where its records come from, as far as `filter` may take them.
    pub(super) fn sources(self, filter: &Filter) -> Vec<Source<'_>> {
        let Self { folder, raws, files, catalogue, .. } = self;
        let mut ahead: Vec<Source<'_>> = raws.into_iter().map(|raw| Source::Raw(filter, raw)).collect();
        ahead.extend(files.into_iter().map(|file| {
            Source::File(filter, file.name.latest, folder.join(file.name.to_string()), file.octets)
        }));
        let until = filter.until.unwrap_or(i64::MAX);
        ahead.extend(catalogue.map(|it| Source::Hits(filter.clone(), until, it, folder.clone())));
        ahead
    }

    /// Calls `visit` with each wanted record that is in a segment or a file, and with what summaries know of those that are
    /// gone, or too many; in no order.
    pub(in crate::evidence) fn each(
        mut self,
        filter: &Filter,
        visit: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>,
    ) -> Result<Scan, StoreError> {
        let mut scan = Scan::default();
        self.narrow(filter, &mut scan);
        let mut flow = ControlFlow::Continue(());
        for raw in &self.raws {
            raw.read(&mut scan, &mut |record| {
                if flow.is_continue() && filter.takes(record) {
                    flow = visit(Found::Row(record, catalogue::Origin::Segment(raw.segment.id.number)));
                }
            })?;
        }
        for entry in std::mem::take(&mut self.summaries).iter().rev() {
            if flow.is_break() {
                break;
            }
            let path = self.folder.join(entry.name.summary_name());
            let read = self.sum_up(entry, filter, &mut |found| {
                flow = visit(found);
                flow
            });
            note(&mut scan, &path, read.as_ref().err().filter(|error| !error.is_absent()));
        }
        for file in self.files.iter().rev() {
            if flow.is_break() {
                break;
            }
            let path = self.folder.join(file.name.to_string());
            let read = Stored::open(&path).and_then(|stored| {
                stored.read(filter, None, &mut |record| {
                    if flow.is_continue() {
                        flow = visit(Found::Row(record, catalogue::Origin::File(file.id)));
                    }
                })
            });
            note_file(&mut scan, &path, &read);
        }
        scan.is_stopped = flow.is_break();
        Ok(scan)
    }

    /// What a summary says in place of rows that are gone, or many; of the latter, the files are not searched any more.
    fn sum_up(
        &mut self,
        entry: &SummaryEntry,
        filter: &Filter,
        visit: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>,
    ) -> Result<(), SummaryError> {
        let Some(needles) = needles_of(filter) else { return Ok(()) };
        let summary = Summary::open(&self.folder.join(entry.name.summary_name()))?;
        let mut rows = 0;
        summary.find(&needles, &mut |find| {
            rows += find.askers.iter().map(|asker| u64::from(asker.count)).sum::<u64>();
            if rows > MANY { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        let origin =
            |file: &Entry| (file.summary == Some(entry.id)).then_some(catalogue::Origin::File(file.id));
        if rows > MANY
            && let Some(origin) = self.files.iter().rev().find_map(origin)
        {
            self.files.retain(|file| file.summary != Some(entry.id));
            return sightings(&summary, &needles, filter, i64::MAX, &mut |it| visit(Found::Seen(it, origin)));
        }
        match gone_until(&self.folder, &summary) {
            Some(until) => sightings(&summary, &needles, filter, until, &mut |it| {
                visit(Found::Seen(it, catalogue::Origin::Gone))
            }),
            None => Ok(()),
        }
    }
}

/// Until when rows of a summary's files are gone.
pub(super) fn gone_until(folder: &Path, summary: &Summary) -> Option<i64> {
    let gone = summary.facts().files.iter().filter(|file| !folder.join(file.to_string()).exists());
    gone.map(|file| file.latest).max()
}

/// Calls `visit` with what a summary knows of what is looked for, as far as it began before a time.
pub(super) fn sightings(
    summary: &Summary,
    needles: &Needles,
    filter: &Filter,
    until: i64,
    visit: &mut dyn FnMut(&Sighting) -> ControlFlow<()>,
) -> Result<(), SummaryError> {
    let clients = summary.clients()?;
    let mut fault = None;
    summary.find(needles, &mut |find: Find<'_>| {
        let Some(what) = find.what() else { return ControlFlow::Continue(()) };
        for asker in find.askers {
            let Asker { first, last, count, was_hit, .. } = *asker;
            let Some(client) = clients.get(asker.client as usize) else {
                fault = Some(SummaryError::Damaged);
                return ControlFlow::Break(());
            };
            let sighting = Sighting {
                client: client.address,
                agency: client.agency.as_deref().map(ToOwned::to_owned),
                what: what.clone(),
                first: i64::from(first) * MINUTE,
                // To the end of its minute.
                last: i64::from(last) * MINUTE + MINUTE - 1,
                count: count.into(),
                was_hit,
            };
            if sighting.first <= until && sighting.is_taken_by(filter) {
                visit(&sighting)?;
            }
        }
        ControlFlow::Continue(())
    })?;
    fault.map_or(Ok(()), Err)
}

/// What names and addresses a filter looks for.
pub(super) fn needles_of(filter: &Filter) -> Option<Arc<Needles>> {
    if let Some(needles) = &filter.sought {
        return Some(Arc::clone(needles));
    }
    let name = filter.name.as_ref().filter(|name| !name.is_root())?;
    let mut gathering = Gathering::default();
    gathering.add_name(name::Key::from(name).as_bytes(), Reach::Subtree, &Label::default());
    Some(Arc::new(gathering.finish()))
}

/// What `judge` says of each, by as many threads as there are cores; `unsaid` of one that it panics at.
fn in_parallel<T: Sync, R: Send>(
    all: &[T],
    unsaid: impl Fn() -> R,
    judge: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut verdicts = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(one) = all.get(at) else { return verdicts };
            verdicts.push((at, judge(one)));
        }
    };
    let mut verdicts: Vec<R> = all.iter().map(|_| unsaid()).collect();
    std::thread::scope(|scope| {
        let helpers: Vec<_> = (1..cores.min(all.len())).map(|_| scope.spawn(work)).collect();
        let done = work();
        let all = helpers.into_iter().filter_map(|helper| helper.join().ok()).flatten().chain(done);
        for (at, verdict) in all {
            verdicts[at] = verdict;
        }
    });
    verdicts
}

/// Notes that a file cannot be read, unless it was retired meanwhile.
pub(super) fn note_file(scan: &mut Scan, path: &Path, read: &Result<(), FileError>) {
    note(scan, path, read.as_ref().err().filter(|error| !error.is_absent()));
}

pub(super) fn note(scan: &mut Scan, path: &Path, error: Option<&impl std::fmt::Display>) {
    if let Some(error) = error {
        scan.unreadable.push((path.to_owned(), error.to_string()));
    }
}

/// Whether a summary can tell what a filter asks for: it knows nothing else of a record.
pub(super) fn is_summed(filter: &Filter) -> bool {
    let Filter { qtype, rcode, outcome, feed, family, kind, .. } = filter;
    qtype.is_none()
        && rcode.is_none()
        && outcome.is_none()
        && feed.is_none()
        && family.is_none()
        && *kind == Kind::All
}
