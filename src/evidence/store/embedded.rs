//! The store that needs no other server: the segments as they lie, files, and the catalogue.
//!
//! Whoever asks needs no running server. The segments are listed, and held open, before the catalogue is
//! read: one that the archiver takes in between is in both, and left out of the first. A file that goes in between was
//! retired. Hits come from the catalogue where only they are asked for; otherwise they are rows of files, and of the
//! catalogue where their file is retired.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::catalogue::{Catalogue, HitScope, Unit};
use super::counting::{self, By, Count, Tally};
use super::loaded::{Loaded, Origin, merge};
use super::parallel::{Ahead, with_ahead};
use super::parquet::Stored;
use super::recent::Recent;
use super::rollup;
use super::rows::MINUTE;
use super::segments::{self, Raw};
use super::sightings::{Sighting, Sum};
use super::spans::{HOUR, Kept, Spans};
use super::summary::Summary;
use super::view::{Halves, Known, View, gone_until, is_summed, needles_of, note, note_file, sightings};
use super::words::Words;
use super::{Asked, Filter, Gap, Kind, Page, Scan, Store, StoreError, Watch, asked};
use crate::database::DatabaseError;
use crate::evidence::record::Record;
use crate::evidence::segment::{Id, Span};

/// The log in a folder.
#[derive(Debug, Clone)]
pub struct Embedded {
    folder: PathBuf,
    recent: Option<Arc<Recent>>,
}

impl Embedded {
    /// Reads the log in `folder`.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), recent: None }
    }

    /// The same, counting only what came since somebody counted with this.
    pub fn counting(self, recent: Arc<Recent>) -> Self {
        Self { recent: Some(recent), ..self }
    }

    pub(super) fn failed(&self) -> impl Fn(DatabaseError) -> StoreError + use<> {
        let path = store_folder(&self.folder);
        move |error| StoreError::Catalogue { path: path.clone(), why: error.to_string() }
    }

    pub(in crate::evidence) fn view(&self) -> Result<View, StoreError> {
        let mut raws = segments::list(&self.folder, self.recent.as_deref())?;
        let folder = store_folder(&self.folder);
        let catalogue = Catalogue::read(&folder).map_err(self.failed())?;
        let (mut files, mut summaries) = (Vec::new(), Vec::new());
        let mut archived = HashMap::<Id, Span>::new();
        if let Some(catalogue) = &catalogue {
            summaries = catalogue.summaries().map_err(self.failed())?;
            archived = catalogue.segments().map_err(self.failed())?;
            files = catalogue.files().map_err(self.failed())?;
        }
        raws.retain(|raw| archived.get(&raw.segment.id) != Some(&raw.survey.span));
        let (catalogue, known) = (catalogue.map(Arc::new), Known::default());
        Ok(View { folder, raws, files, summaries, catalogue, known })
    }
}

impl Embedded {
    /// How a question is parted between roll-ups and rows.
    fn spans(&self, catalogue: &Catalogue, filter: &Filter, by: By) -> Result<Spans, StoreError> {
        let first = |unit: Unit| catalogue.first_count(unit).map_err(self.failed());
        let (since, until) = (filter.since.unwrap_or(i64::MIN), filter.until.unwrap_or(i64::MAX));
        if by == By::Minute {
            return Ok(Spans::of_minutes(since, until));
        }
        let day = if by == By::Hour { None } else { first(Unit::Day)? };
        let kept = Kept { minute: first(Unit::Minute)?, hour: first(Unit::Hour)?, day };
        Ok(Spans::of(since, until, kept))
    }

    /// Those parts that rows would have to tell, and are gone.
    fn uncounted(
        &self,
        view: &View,
        catalogue: &Catalogue,
        filter: &Filter,
        spans: &Spans,
    ) -> Result<Vec<(i64, i64)>, StoreError> {
        let mut gone = Vec::new();
        for &(unit, from, to) in &spans.rest {
            // Hits are kept one by one.
            let is_there = filter.kind == Kind::Hits
                || view.files.iter().any(|file| file.name.latest >= from && file.name.earliest < to);
            let start = match unit {
                Unit::Day => counting::day_of(from),
                Unit::Hour | Unit::Minute => from.div_euclid(HOUR) * HOUR,
            };
            let (mut count, of_kind) = (0, Filter { kind: filter.kind, ..Filter::default() });
            catalogue
                .sums(unit, (start, start + 1), &of_kind, By::Nothing, &mut |_, _, more| {
                    count += more;
                })
                .map_err(self.failed())?;
            if !is_there && count > 0 {
                gone.push((from, to));
            }
        }
        Ok(gone)
    }

    /// How many clients a question is about whose rows are gone, by what they asked and by the day.
    fn gone(&self, view: &View, filter: &Filter, scan: &mut Scan) -> u64 {
        let Some(needles) = needles_of(filter).filter(|_| is_summed(filter)) else { return 0 };
        let mut count = 0;
        for entry in &view.summaries {
            let path = view.folder.join(entry.name.summary_name());
            let read = Summary::open(&path).and_then(|summary| match gone_until(&view.folder, &summary) {
                Some(until) => sightings(&summary, view.met_in(entry, &needles), filter, until, &mut |_| {
                    count += 1;
                    ControlFlow::Continue(())
                }),
                None => Ok(()),
            });
            note(scan, &path, read.as_ref().err().filter(|error| !error.is_absent()));
        }
        count
    }
}

/// Where files and catalogue of the log in `folder` are.
pub(in crate::evidence) fn store_folder(folder: &Path) -> PathBuf {
    folder.join("store")
}

/// Where records come from.
pub(super) enum Source<'a> {
    Raw(&'a Filter, Raw),
    File(FileSource<'a>),
    /// Before this time.
    Hits(Filter, i64, Arc<Catalogue>, PathBuf),
}

/// Its files, the latest first, as they are merged.
fn in_turn<'s, 'f>(sources: &'s mut [Source<'f>]) -> impl Iterator<Item = &'s mut FileSource<'f>> {
    let mut files: Vec<_> = sources
        .iter_mut()
        .filter_map(|source| match source {
            Source::File(file) => Some(file),
            Source::Raw(..) | Source::Hits(..) => None,
        })
        .collect();
    files.sort_by_key(|file| std::cmp::Reverse(file.latest));
    files.into_iter()
}

/// A file, and what is known of it.
#[derive(Clone)]
pub(super) struct FileSource<'a> {
    pub(super) filter: &'a Filter,
    pub(super) latest: i64,
    pub(super) path: PathBuf,
    pub(super) octets: u64,
    /// All that is looked for in it.
    pub(super) words: Option<Arc<Words>>,
    /// Who may have read it already, and which one it is there.
    pub(super) turn: Option<(&'a Ahead<Part>, usize)>,
}

/// What was read of a source, and what could not be.
type Part = (Option<Loaded>, Scan);

impl FileSource<'_> {
    fn read(&self, most: Option<usize>) -> Part {
        let (mut loaded, mut scan) = (Loaded::default(), Scan::default());
        let read = Stored::open(&self.path).and_then(|stored| {
            let stored = stored.knowing(self.words.clone());
            stored.read(self.filter, most, &mut |record| loaded.add(record))
        });
        note_file(&mut scan, &self.path, &read);
        (loaded.sorted(), scan)
    }
}

impl Origin for Source<'_> {
    fn latest(&self) -> i64 {
        match self {
            Self::Raw(_, raw) => raw.survey.span.latest,
            Self::File(file) => file.latest,
            Self::Hits(_, until, ..) => until.saturating_sub(1),
        }
    }

    fn len(&self) -> u64 {
        match self {
            Self::Raw(_, raw) => raw.survey.len,
            Self::File(file) => file.octets,
            Self::Hits(..) => 0,
        }
    }

    fn load(
        self,
        most: Option<usize>,
        scan: &mut Scan,
    ) -> Result<(Option<Loaded>, Option<Self>), StoreError> {
        match self {
            Self::Raw(filter, raw) => Ok((raw.load(filter, most, scan)?, None)),
            Self::File(file) => {
                let made = file.turn.and_then(|(ahead, at)| ahead.take(at));
                let (loaded, noted) = made.unwrap_or_else(|| file.read(most));
                scan.unreadable.extend(noted.unreadable);
                Ok((loaded, None))
            }
            Self::Hits(filter, _, catalogue, path) => {
                let (loaded, more) = catalogue
                    .hits(&filter, HitScope::of(filter.kind), most)
                    .map_err(|error| StoreError::Catalogue { path: path.clone(), why: error.to_string() })?;
                let rest = more
                    .map(|until| Self::Hits(Filter { until: Some(until), ..filter }, until, catalogue, path));
                Ok((loaded.sorted(), rest))
            }
        }
    }
}

impl Store for Embedded {
    fn newest_first(
        &self,
        filter: &Filter,
        page: Page,
        watch: &mut dyn Watch,
        visit: &mut dyn FnMut(&Record<'_>) -> ControlFlow<()>,
    ) -> Result<Scan, StoreError> {
        let mut filter = filter.clone();
        if let Some(place) = page.after {
            let until = place.time.saturating_add(1);
            filter.until = Some(filter.until.map_or(until, |asked| asked.min(until)));
        }
        let mut scan = Scan::default();
        let mut view = self.view()?;
        if filter.kind == Kind::Hits {
            view.files.clear();
        }
        let mut halves = Halves::of(&filter, watch);
        if view.narrow(&filter, &mut scan, &mut halves).is_break() {
            return Ok(Scan { is_stopped: true, ..scan });
        }
        let watch = &mut halves.second();
        scan.gone = self.gone(&view, &filter, &mut scan);
        let mut sources = view.sources(&filter);
        // Of what is looked for by name little is found, so that some of it may be read ahead.
        let is_sparse = needles_of(&filter).is_some();
        let jobs: Vec<FileSource<'_>> =
            in_turn(&mut sources).filter(|_| is_sparse).map(|file| file.clone()).collect();
        let most = page.limit.map(|limit| limit.saturating_add(page.after.map_or(0, |place| place.seen)));
        let most = most.map(|most| usize::try_from(most).unwrap_or(usize::MAX));
        with_ahead(
            jobs.len(),
            |at| jobs[at].read(most),
            |ahead| {
                let mut sources: Vec<Source<'_>> = sources;
                for (at, file) in in_turn(&mut sources).enumerate() {
                    file.turn = Some((ahead, at));
                }
                merge(sources, page, &mut scan, watch, visit)
            },
        )?;
        Ok(scan)
    }

    fn count(
        &self,
        filter: &Filter,
        by: By,
        watch: &mut dyn Watch,
    ) -> Result<(Vec<Count>, Scan), StoreError> {
        let (mut scan, mut tally) = (Scan::default(), Tally::new(by));
        let mut view = self.view()?;
        let whole = Some(MINUTE).filter(|_| counting::is_rolled_up(filter, by));
        let is_whole = |time: Option<i64>| time.is_none_or(|time| whole.is_some_and(|span| time % span == 0));
        let recent = self.recent.as_ref().filter(|_| whole.is_some());
        let recent = recent.filter(|_| is_whole(filter.since) && is_whole(filter.until));
        if let Some(recent) = recent {
            recent.keep(&view.raws);
        }
        let mut halves = Halves::of(filter, watch);
        if view.narrow(filter, &mut scan, &mut halves).is_break() {
            scan.is_stopped = true;
            return Ok((tally.finish()?, scan));
        }
        let watch = &mut halves.second();
        let total: u64 = view.raws.iter().map(|raw| raw.survey.len).sum::<u64>()
            + view.files.iter().map(|file| file.octets).sum::<u64>();
        let mut done = 0;
        for raw in &view.raws {
            if watch.progress(done, total).is_break() {
                scan.is_stopped = true;
                return Ok((tally.finish()?, scan));
            }
            done += raw.survey.len;
            // One that cannot be read so is read as ever, which says why.
            let counted =
                recent.map(|recent| recent.each(raw, filter, &mut |it, count| tally.add_together(it, count)));
            if let Some(Ok(true)) = counted {
                continue;
            }
            raw.read(&mut scan, &mut |record| {
                if filter.takes(record) {
                    tally.add(record);
                }
            })?;
        }
        let mut parts = vec![filter.clone()];
        if let Some(catalogue) = view.catalogue.as_ref().filter(|_| whole.is_some()) {
            let spans = self.spans(catalogue, filter, by)?;
            scan.uncounted = self.uncounted(&view, catalogue, filter, &spans)?;
            for span in spans.sums {
                rollup::add(catalogue, span, filter, by, &mut tally).map_err(self.failed())?;
            }
            // What they do not know is read.
            let part = |(_, from, to)| Filter { since: Some(from), until: Some(to), ..filter.clone() };
            parts = spans.rest.into_iter().map(part).collect();
        }
        for part in &parts {
            if let Some(catalogue) = &view.catalogue {
                let mut until = part.until.unwrap_or(i64::MAX);
                loop {
                    let filter = Filter { until: Some(until), ..part.clone() };
                    let (loaded, more) =
                        catalogue.hits(&filter, HitScope::of(filter.kind), None).map_err(self.failed())?;
                    loaded.each(&mut |record| tally.add(record));
                    let Some(more) = more else { break };
                    until = more;
                }
            }
            if part.kind == Kind::Hits {
                continue;
            }
            for file in view.files.iter().filter(|file| part.may_take(file.name.earliest, file.name.latest)) {
                if watch.progress(done, total).is_break() {
                    scan.is_stopped = true;
                    return Ok((tally.finish()?, scan));
                }
                let path = view.folder.join(file.name.to_string());
                let read = view.open(file).and_then(|stored| match by.text() {
                    Some(text) => {
                        stored.count_text(part, text, &mut |value, count| tally.add_text(value, count))
                    }
                    None if by.is_time() => stored.count_times(part, &mut |time| tally.add_time(time, 1)),
                    None => stored.count_times(part, &mut |_| tally.add_text("", 1)),
                });
                note_file(&mut scan, &path, &read);
                done += file.octets;
            }
        }
        let _ = watch.progress(total, total);
        Ok((tally.finish()?, scan))
    }

    fn sightings(&self, filter: &Filter, watch: &mut dyn Watch) -> Result<(Vec<Sighting>, Scan), StoreError> {
        let (mut scan, mut sum) = (Scan::default(), Sum::of(filter));
        let Some(needles) = needles_of(filter) else { return Ok((Vec::new(), scan)) };
        let mut view = self.view()?;
        let mut halves = Halves::of(filter, watch);
        if view.narrow(filter, &mut scan, &mut halves).is_break() {
            scan.is_stopped = true;
            return Ok((sum.finish()?, scan));
        }
        let watch = &mut halves.second();
        for raw in &view.raws {
            raw.read(&mut scan, &mut |record| {
                if filter.takes(record) {
                    sum.add_record(record, &needles);
                }
            })?;
        }
        let summaries: Vec<_> = view.summaries.iter().filter(|_| is_summed(filter)).collect();
        let lens =
            summaries.iter().map(|entry| entry.octets).chain(view.files.iter().map(|file| file.octets));
        let total = lens.fold(0, u64::saturating_add);
        let (mut done, mut summed) = (0, HashSet::new());
        for entry in summaries {
            if watch.progress(done, total).is_break() {
                scan.is_stopped = true;
                return Ok((sum.finish()?, scan));
            }
            done += entry.octets;
            let path = view.folder.join(entry.name.summary_name());
            let read = Summary::open(&path).and_then(|summary| {
                let is_whole = filter.since.is_none_or(|since| since <= entry.name.earliest)
                    && filter.until.is_none_or(|until| until > entry.name.latest);
                // Rows tell exactly what was within the time that is asked for.
                if !is_whole && gone_until(&view.folder, &summary).is_none() {
                    return Ok(());
                }
                summed.insert(entry.id);
                sightings(&summary, view.met_in(entry, &needles), filter, i64::MAX, &mut |sighting| {
                    sum.add(sighting);
                    ControlFlow::Continue(())
                })
            });
            note(&mut scan, &path, read.as_ref().err().filter(|error| !error.is_absent()));
        }
        view.files.retain(|file| file.summary.is_none_or(|it| !summed.contains(&it)));
        let catalogue = view.catalogue.clone();
        view.raws.clear();
        let mut sources = view.sources(filter);
        let jobs: Vec<FileSource<'_>> = in_turn(&mut sources).map(|file| file.clone()).collect();
        let is_stopped = with_ahead(
            jobs.len(),
            |at| jobs[at].read(None),
            |ahead| {
                for (at, file) in jobs.iter().enumerate() {
                    if watch.progress(done, total).is_break() {
                        return true;
                    }
                    done += file.octets;
                    let (loaded, noted) = ahead.take(at).unwrap_or_else(|| file.read(None));
                    scan.unreadable.extend(noted.unreadable);
                    if let Some(loaded) = loaded {
                        loaded.each(&mut |record| sum.add_record(record, &needles));
                    }
                }
                false
            },
        );
        if is_stopped {
            scan.is_stopped = true;
            return Ok((sum.finish()?, scan));
        }
        if let Some(catalogue) = &catalogue {
            let mut until = filter.until.unwrap_or(i64::MAX);
            loop {
                let part = Filter { until: Some(until), ..filter.clone() };
                let scope = HitScope::WithoutRowOrSummary;
                let (loaded, more) = catalogue.hits(&part, scope, None).map_err(self.failed())?;
                loaded.each(&mut |record| sum.add_record(record, &needles));
                let Some(more) = more else { break };
                until = more;
            }
        }
        let _ = watch.progress(total, total);
        Ok((sum.finish()?, scan))
    }

    fn asked(
        &self,
        span: (i64, i64),
        agency: Option<&str>,
        watch: &mut dyn Watch,
        visit: &mut dyn FnMut(&Asked<'_>),
    ) -> Result<Scan, StoreError> {
        asked::all(self, span, agency, watch, visit)
    }

    fn finds(
        &self,
        agency: Option<&str>,
        since: i64,
        most: usize,
        visit: &mut dyn FnMut(&Record<'_>),
    ) -> Result<(), StoreError> {
        let catalogue = Catalogue::read(&store_folder(&self.folder)).map_err(self.failed())?;
        let found = catalogue.map(|it| it.late(agency, since, most)).transpose().map_err(self.failed())?;
        for (time, octets) in found.unwrap_or_default() {
            if let Some(record) = Record::decode(&octets, time) {
                visit(&record);
            }
        }
        Ok(())
    }

    fn gaps(&self, since: Option<i64>, until: Option<i64>) -> Result<Vec<Gap>, StoreError> {
        let catalogue = Catalogue::read(&store_folder(&self.folder)).map_err(self.failed())?;
        catalogue.map_or(Ok(Vec::new()), |it| it.gaps(since, until).map_err(self.failed()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::IpAddr;

    use super::*;
    use crate::evidence::journal::Journal;
    use crate::evidence::journal::tests::{options, write};
    use crate::evidence::ledger::Ledger;
    use crate::evidence::record::tests::sample;
    use crate::evidence::segment;
    use crate::evidence::store::Unwatched;
    use crate::name::Name;

    fn times(folder: &Path, filter: &Filter) -> Vec<i64> {
        let mut times = Vec::new();
        Embedded::new(folder)
            .newest_first(filter, Page::default(), &mut Unwatched, &mut |record| {
                times.push(record.time);
                ControlFlow::Continue(())
            })
            .unwrap();
        times
    }

    /// Two writers, two processes' worth of segments each; every seventh record is a hit.
    fn filled() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for run in 0..2 {
            let ledger = Ledger::open(&options(folder.path())).unwrap();
            let mut journals = [0, 1].map(|number| Journal::open(number, &ledger));
            for n in 0..50 {
                let time = run * 1_000_000_000 + n * 1_000_000;
                let journal = &mut journals[(n % 2) as usize];
                journal.add(&Record {
                    is_hit: n % 7 == 0,
                    client: IpAddr::from([10, 1, 0, (n % 5) as u8]),
                    agency: (n % 3 == 0).then(|| "so-y-te".into()),
                    qname: if n % 2 == 0 {
                        b"\x03www\x04evil\x07example\x00".as_slice().into()
                    } else {
                        b"\x07notevil\x07example\x00".as_slice().into()
                    },
                    ..sample(time)
                });
                journal.commit(time);
            }
        }
        folder
    }

    #[test]
    fn records_come_newest_first_through_every_filter() {
        let folder = filled();
        let all = times(folder.path(), &Filter::default());
        assert_eq!(all.len(), 100);
        assert!(all.is_sorted_by(|a, b| a > b));

        let check = |filter: Filter, expected: &dyn Fn(i64) -> bool| {
            let wanted: Vec<i64> = all.iter().copied().filter(|time| expected(*time)).collect();
            assert!(!wanted.is_empty());
            assert_eq!(times(folder.path(), &filter), wanted, "{filter:?}");
        };
        let n = |time: i64| time % 1_000_000_000 / 1_000_000;
        let base = Filter::default;
        check(Filter { kind: Kind::Hits, ..base() }, &|time| n(time) % 7 == 0);
        check(Filter { client: Some("10.1.0.3".parse().unwrap()), ..base() }, &|time| n(time) % 5 == 3);
        check(Filter { client: Some("::ffff:10.1.0.3".parse().unwrap()), ..base() }, &|time| {
            n(time) % 5 == 3
        });
        check(Filter { agency: Some("so-y-te".into()), ..base() }, &|time| n(time) % 3 == 0);
        check(Filter { name: Some(Name::from_host("evil.example").unwrap()), ..base() }, &|time| {
            n(time) % 2 == 0
        });
        check(Filter { since: Some(1_000_000_000), ..base() }, &|time| time >= 1_000_000_000);
        check(Filter { until: Some(1_000_000_000), ..base() }, &|time| time < 1_000_000_000);
        check(Filter { since: Some(20_000_000), until: Some(1_020_000_000), ..base() }, &|time| {
            (20_000_000..1_020_000_000).contains(&time)
        });
        let nothing = Filter { agency: Some("nobody".into()), ..base() };
        assert!(times(folder.path(), &nothing).is_empty());
    }

    #[test]
    fn a_torn_tail_is_told() {
        let folder = filled();
        let newest = segment::list(folder.path()).unwrap().pop().unwrap();
        let octets = fs::read(&newest.path).unwrap();
        fs::write(&newest.path, &octets[..octets.len() - 40]).unwrap();
        let mut count = 0;
        let scan = Embedded::new(folder.path())
            .newest_first(&Filter::default(), Page::default(), &mut Unwatched, &mut |_| {
                count += 1;
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(count, 99);
        assert_eq!(scan.damaged.len(), 1);
        assert_eq!(scan.damaged[0].0, newest.path);
    }

    #[test]
    fn a_clock_that_is_set_back_hides_and_misplaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        // One segment a line: by one writer, one after the other.
        let segments: [&[i64]; 6] =
            [&[900, 910, 920], &[100, 110], &[905, 906, 300], &[], &[10, 2000, 11], &[15, 500, 915]];
        for times in segments {
            let mut journal = Journal::open(0, &Ledger::open(&options(folder.path())).unwrap());
            times.iter().for_each(|time| write(&mut journal, *time));
        }
        let mut expected = segments.concat();
        expected.sort_by(|a, b| b.cmp(a));
        for is_sealed in [true, false] {
            if !is_sealed {
                // As after kill -9.
                for segment in segment::list(folder.path()).unwrap() {
                    let octets = fs::read(&segment.path).unwrap();
                    fs::write(&segment.path, &octets[..octets.len() - 36]).unwrap();
                }
            }
            assert_eq!(times(folder.path(), &Filter::default()), expected);
            for since in (0..2010).step_by(5) {
                for until in [since + 5, since + 100, 2010] {
                    let filter = Filter { since: Some(since), until: Some(until), ..Filter::default() };
                    let wanted: Vec<i64> =
                        expected.iter().copied().filter(|time| (since..until).contains(time)).collect();
                    assert_eq!(times(folder.path(), &filter), wanted, "{since} to {until}");
                }
            }
        }
    }

    #[test]
    fn only_what_is_needed_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        for start in [0, 100, 200] {
            let mut journal = Journal::open(0, &Ledger::open(&options(folder.path())).unwrap());
            (start..start + 10).for_each(|time| write(&mut journal, time));
        }
        // Damage shows in the segments that were loaded.
        for segment in segment::list(folder.path()).unwrap() {
            let mut octets = fs::read(&segment.path).unwrap();
            octets[20] ^= 1;
            fs::write(&segment.path, &octets).unwrap();
        }
        let loaded = |filter: &Filter| {
            let visit = &mut |_: &Record<'_>| ControlFlow::Continue(());
            let store = Embedded::new(folder.path());
            store.newest_first(filter, Page::default(), &mut Unwatched, visit).unwrap().damaged.len()
        };
        let base = Filter::default;
        assert_eq!(loaded(&base()), 3);
        assert_eq!(loaded(&Filter { since: Some(105), ..base() }), 2);
        assert_eq!(loaded(&Filter { since: Some(110), ..base() }), 1);
        assert_eq!(loaded(&Filter { until: Some(200), ..base() }), 2);
        assert_eq!(loaded(&Filter { since: Some(110), until: Some(200), ..base() }), 0);
    }

    #[test]
    fn foreign_files_are_passed_over() {
        let folder = filled();
        fs::write(folder.path().join("1795478400000000-00.seg"), "of an older layout").unwrap();
        fs::write(folder.path().join("0000000009-000.seg"), "").unwrap();
        fs::write(folder.path().join("0000000010-000.seg"), "not what its name says").unwrap();
        fs::create_dir(folder.path().join("0000000011-000.seg")).unwrap();
        assert_eq!(times(folder.path(), &Filter::default()).len(), 100);
    }
}
