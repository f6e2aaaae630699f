//! What there is at one moment, and which of it a question needs.
//!
//! A name or an address that a summary does not know is in none of its files, and one that a file's set does not know is not
//! in that file; what either does know is all that is looked for in what it stands for. Where a file is gone, its summary says what was
//! in it.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::catalogue::{self, Catalogue, Entry, SummaryEntry};
use super::embedded::{FileSource, Source};
use super::names::{Gathering, Label, Needles, Reach, Set};
use super::parallel::in_parallel;
use super::parquet::{FileError, Stored};
use super::rows::MINUTE;
use super::segments::Raw;
use super::sightings::Sighting;
use super::summary::{Asker, Find, Met, Summary, SummaryError};
use super::words::Words;
use super::{Filter, Kind, Scan, StoreError, Unwatched, Watch};
use crate::evidence::record::Record;
use crate::name;

/// The rows of one summary that are found one by one; of more, it is what the summary says that is found.
const MANY: u64 = 10_000;
/// Most names and addresses of one file whose texts are held, and of all files: a few ten megabytes. In others, texts are read as names.
const MOST_OF_FILE: usize = 1 << 12;
const MOST_WORDS: usize = 1 << 18;

/// What there is at one moment.
pub(in crate::evidence) struct View {
    pub(super) folder: PathBuf,
    pub(super) raws: Vec<Raw>,
    pub(super) files: Vec<Entry>,
    pub(super) summaries: Vec<SummaryEntry>,
    pub(super) catalogue: Option<Arc<Catalogue>>,
    pub(super) known: Known,
}

/// What was found out on the way about what is looked for.
#[derive(Default)]
pub(in crate::evidence) struct Known {
    /// By the summary that it is of.
    met: HashMap<i64, Met>,
    /// By the file that they are of.
    words: HashMap<i64, Arc<Words>>,
}

/// What a search meets.
pub(in crate::evidence) enum Found<'a> {
    /// A record, and where it is.
    Row(&'a Record<'a>, catalogue::Origin),
    /// What is left of records, or stands for many; and where these are, or were.
    Seen(&'a Sighting, catalogue::Origin),
}

impl View {
    /// Keeps only what may hold what `filter` takes; of summaries, those that know what it looks for. `watch` hears how many of them and
    /// of files it has looked at; where that ends it, so does the question.
    pub(super) fn narrow(
        &mut self,
        filter: &Filter,
        scan: &mut Scan,
        watch: &mut dyn Watch,
    ) -> ControlFlow<()> {
        self.raws.retain(|raw| raw.is_wanted(filter, scan));
        self.files.retain(|file| filter.may_take(file.name.earliest, file.name.latest));
        self.summaries.retain(|it| filter.may_take(it.name.earliest, it.name.latest));
        let Some(needles) = needles_of(filter) else {
            self.summaries.clear();
            return ControlFlow::Continue(());
        };
        let count = |len: usize| u64::try_from(len).unwrap_or(u64::MAX);
        let total = count(self.summaries.len() + self.files.len());
        let met = in_parallel(
            &self.summaries,
            || None,
            |entry| {
                let path = self.folder.join(entry.name.summary_name());
                Some(Summary::open(&path).and_then(|summary| summary.met(&needles)))
            },
            &mut |begun| watch.progress(count(begun), total),
        );
        let Some(met) = met else { return ControlFlow::Break(()) };
        let (mut unmet, mut known) = (HashSet::new(), HashMap::new());
        for (entry, met) in self.summaries.iter().zip(met) {
            match met {
                Some(Ok(Some(met))) => {
                    known.insert(entry.id, met);
                }
                Some(Ok(None)) => {
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
        self.summaries.retain(|entry| known.contains_key(&entry.id));
        self.files.retain(|file| {
            let Some(summary) = file.summary else { return true };
            let is_within = |met: &Met| met.may_be_in(&file.name);
            !unmet.contains(&summary) && known.get(&summary).is_none_or(is_within)
        });
        let left = AtomicUsize::new(MOST_WORDS);
        let passed = total - count(self.files.len());
        let wanted = in_parallel(
            &self.files,
            || Some(None),
            |file| {
                let Some(names) = Set::load(&file.name.names_path(&self.folder)).ok().flatten() else {
                    return Some(None);
                };
                let met = file.summary.and_then(|summary| known.get(&summary));
                let Some(keys) = names.met(met.and_then(Met::needles).unwrap_or(&needles), MOST_OF_FILE)
                else {
                    return Some(None);
                };
                let room = |left: usize| left.checked_sub(keys.len());
                let is_held = || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_ok();
                (!keys.is_empty()).then(|| is_held().then(|| Arc::new(Words::from_keys(&keys))))
            },
            &mut |begun| watch.progress(passed + count(begun), total),
        );
        let Some(wanted) = wanted else { return ControlFlow::Break(()) };
        let mut words = HashMap::new();
        let mut wanted = wanted.into_iter();
        self.files.retain(|file| {
            let wanted = wanted.next().unwrap_or(Some(None));
            if let Some(Some(of_file)) = &wanted {
                words.insert(file.id, Arc::clone(of_file));
            }
            wanted.is_some()
        });
        self.known = Known { met: known, words };
        ControlFlow::Continue(())
    }

    /// What of what is looked for a summary has: all of it where that is too much to know.
    pub(super) fn met_in<'n>(&'n self, summary: &SummaryEntry, needles: &'n Needles) -> &'n Needles {
        let known = self.known.met.get(&summary.id).and_then(Met::needles);
        known.map_or(needles, |known| known)
    }

    /// One of its files, to be read.
    pub(super) fn open(&self, file: &Entry) -> Result<Stored, FileError> {
        let words = self.known.words.get(&file.id).cloned();
        Ok(Stored::open(&self.folder.join(file.name.to_string()))?.knowing(words))
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
        let Self { folder, raws, files, catalogue, mut known, .. } = self;
        let mut ahead: Vec<Source<'_>> = raws.into_iter().map(|raw| Source::Raw(filter, raw)).collect();
        ahead.extend(files.into_iter().map(|file| {
            let path = folder.join(file.name.to_string());
            let (latest, words) = (file.name.latest, known.words.remove(&file.id));
            Source::File(FileSource { filter, latest, path, octets: file.octets, words, turn: None })
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
        let _ = self.narrow(filter, &mut scan, &mut Unwatched);
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
            let read = self.open(file).and_then(|stored| {
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
        let (needles, mut rows) = (self.met_in(entry, &needles).clone(), 0);
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

/// One bar for a question that looks for something: over its first half it finds out where to look, over its second it looks there.
pub(super) struct Halves<'a> {
    watch: &'a mut dyn Watch,
    are_two: bool,
    is_second: bool,
}

impl<'a> Halves<'a> {
    /// The whole, where `filter` looks for nothing that summaries know.
    pub(super) fn of(filter: &Filter, watch: &'a mut dyn Watch) -> Self {
        Self { watch, are_two: needles_of(filter).is_some(), is_second: false }
    }

    pub(super) fn second(self) -> Self {
        Self { is_second: true, ..self }
    }
}

impl Watch for Halves<'_> {
    fn progress(&mut self, done: u64, total: u64) -> ControlFlow<()> {
        match (self.are_two, self.is_second) {
            (false, _) => self.watch.progress(done, total),
            (true, false) => self.watch.progress(done, total.saturating_mul(2)),
            (true, true) => self.watch.progress(total.saturating_add(done), total.saturating_mul(2)),
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
