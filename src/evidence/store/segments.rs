//! The segments as a store: read as they lie, while they are still being written.
//!
//! A merge over all segments by the records' own times. A segment is loaded when no record
//! outside it is sure to be newer than its latest, and dropped with its last record, so that memory holds
//! the wanted records of those segments only that overlap at one moment: usually one or two of each
//! writer. The octets of one whole file come on top. Where the clock was set back, or a writer was
//! quiet for long, more segments overlap.
//!
//! What a segment covers is told by its trailer; one without (open, or its process was killed) is
//! read once for that, and again when its turn comes.

use std::collections::BinaryHeap;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::{Filter, Scan, Store, StoreError};
use crate::evidence::record::Record;
use crate::evidence::segment::{self, End, Id, Records, Segment, Survey};

/// The segments in a folder.
#[derive(Debug, Clone)]
pub struct Segments {
    folder: PathBuf,
}

impl Segments {
    /// Reads the segments in `folder`.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }
}

impl Store for Segments {
    fn newest_first(
        &self,
        filter: &Filter,
        visit: &mut dyn FnMut(&Record<'_>) -> ControlFlow<()>,
    ) -> Result<Scan, StoreError> {
        let mut scan = Scan::default();
        let mut ahead = self.ahead(filter, &mut scan)?;
        let mut loaded: BinaryHeap<Loaded> = BinaryHeap::new();
        let mut file = Vec::new();
        loop {
            let newest = loaded.peek().and_then(Loaded::newest);
            if let Some((segment, survey)) =
                ahead.pop_if(|(_, survey)| newest.is_none_or(|newest| survey.span.latest >= newest))
            {
                if unless_retired(&segment, segment.read(survey.len, &mut file))?.is_some() {
                    loaded.extend(Loaded::new(&segment, &file, filter, &mut scan));
                }
                continue;
            }
            let Some(mut stream) = loaded.pop() else { return Ok(scan) };
            let flow = stream.pop().map_or(ControlFlow::Continue(()), |it| visit(&it));
            if flow.is_break() {
                return Ok(scan);
            }
            if stream.newest().is_some() {
                loaded.push(stream);
            }
        }
    }
}

impl Segments {
    /// The segments that may hold wanted records, the one with the latest record at the end.
    fn ahead(&self, filter: &Filter, scan: &mut Scan) -> Result<Vec<(Segment, Survey)>, StoreError> {
        let listed = segment::list(&self.folder)
            .map_err(|source| StoreError::Read { path: self.folder.clone(), source })?;
        let mut ahead = Vec::new();
        for segment in listed {
            let Some(survey) = unless_retired(&segment, segment.survey())? else { continue };
            if let End::Torn(octets) = survey.end {
                scan.damaged.push((segment.path.clone(), octets));
            }
            let span = survey.span;
            let is_wanted = span.count > 0
                && filter.since.is_none_or(|since| span.latest >= since)
                && filter.until.is_none_or(|until| span.earliest < until);
            if is_wanted {
                ahead.push((segment, survey));
            }
        }
        ahead.sort_by_key(|(segment, survey)| (survey.span.latest, segment.id));
        Ok(ahead)
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

/// The wanted records of one segment; never without one in the heap, which orders them by their newest.
struct Loaded {
    id: Id,
    octets: Vec<u8>,
    /// Time, start and end of each, the newest at the end. A segment is far shorter than 4 GiB.
    wanted: Vec<(i64, u32, u32)>,
}

impl Loaded {
    fn new(segment: &Segment, file: &[u8], filter: &Filter, scan: &mut Scan) -> Option<Self> {
        let mut loaded = Self { id: segment.id, octets: Vec::new(), wanted: Vec::new() };
        let mut records = Records::new(file);
        while let Some((octets, record)) = records.next_with_octets() {
            if filter.takes(&record) {
                let start = loaded.octets.len() as u32;
                loaded.octets.extend(octets);
                loaded.wanted.push((record.time, start, loaded.octets.len() as u32));
            }
        }
        // Damage inside a closed segment; what is torn without a trailer was told already.
        let damaged = records.damaged_len();
        if damaged > 0 && scan.damaged.iter().all(|(path, _)| *path != segment.path) {
            scan.damaged.push((segment.path.clone(), damaged));
        }
        // Stable: records of one microsecond come out in the reverse of the order they were written.
        loaded.wanted.sort_by_key(|(time, ..)| *time);
        (!loaded.wanted.is_empty()).then_some(loaded)
    }

    fn newest(&self) -> Option<i64> {
        self.wanted.last().map(|(time, ..)| *time)
    }

    fn pop(&mut self) -> Option<Record<'_>> {
        let (time, start, end) = self.wanted.pop()?;
        // The time is known; that of its block is not any more.
        let record = Record::decode(self.octets.get(start as usize..end as usize)?, 0)?;
        Some(Record { time, ..record })
    }
}

impl PartialEq for Loaded {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Loaded {}

impl PartialOrd for Loaded {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Loaded {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.newest(), self.id).cmp(&(other.newest(), other.id))
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
    use crate::evidence::store::Kind;
    use crate::name::Name;

    fn times(folder: &Path, filter: &Filter) -> Vec<i64> {
        let mut times = Vec::new();
        Segments::new(folder)
            .newest_first(filter, &mut |record| {
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
        let scan = Segments::new(folder.path())
            .newest_first(&Filter::default(), &mut |_| {
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
            Segments::new(folder.path()).newest_first(filter, visit).unwrap().damaged.len()
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
