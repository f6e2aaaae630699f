//! The segments as a store: read as they lie, while they are still being written.
//!
//! Holds at most one segment of each writer in memory. Two records of one writer whose times differ
//! by less than an answer's latency may stand in either order across the edge of two segments.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::{Filter, Scan, Store, StoreError};
use crate::evidence::record::Record;
use crate::evidence::segment::{self, Records, Segment};

/// A record carries the time its query came and is written when its answer is ready: a segment may
/// hold records from before its own creation, by no more than this (microseconds).
const MOST_LATENCY: i64 = 60_000_000;

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
        let listed = segment::list(&self.folder)
            .map_err(|source| StoreError::Read { path: self.folder.clone(), source })?;
        let mut scan = Scan::default();
        // Each writer's segments, the newest at the end.
        let mut writers: BTreeMap<u16, Vec<Segment>> = BTreeMap::new();
        for segment in listed {
            writers.entry(segment.id.writer).or_default().push(segment);
        }
        let mut streams: Vec<Stream> = writers.into_values().map(Stream::new).collect();
        loop {
            for stream in &mut streams {
                stream.fill(filter, &mut scan)?;
            }
            let newest = streams
                .iter_mut()
                .filter_map(|stream| Some((stream.newest()?, stream)))
                .max_by_key(|(time, _)| *time);
            let Some((_, stream)) = newest else { return Ok(scan) };
            let octets = stream.pop();
            if let Some(record) = octets.and_then(Record::decode)
                && visit(&record).is_break()
            {
                return Ok(scan);
            }
        }
    }
}

/// One writer's records, newest first.
struct Stream {
    /// Segments not read yet, the newest at the end.
    ahead: Vec<Segment>,
    /// When the segment after the one that is read next was begun; nothing in it is much younger.
    ended: i64,
    /// The octets of the wanted records of the segment that is being read.
    octets: Vec<u8>,
    /// Time and place of each, the newest at the end.
    wanted: Vec<(i64, std::ops::Range<usize>)>,
}

impl Stream {
    fn new(ahead: Vec<Segment>) -> Self {
        Self { ahead, ended: i64::MAX, octets: Vec::new(), wanted: Vec::new() }
    }

    fn newest(&self) -> Option<i64> {
        self.wanted.last().map(|(time, _)| *time)
    }

    fn pop(&mut self) -> Option<&[u8]> {
        let (_, place) = self.wanted.pop()?;
        self.octets.get(place)
    }

    /// Reads on until there is a wanted record or no segment is left.
    fn fill(&mut self, filter: &Filter, scan: &mut Scan) -> Result<(), StoreError> {
        while self.wanted.is_empty() {
            let Some(segment) = self.ahead.pop() else { return Ok(()) };
            let ended = std::mem::replace(&mut self.ended, segment.id.created);
            if filter.since.is_some_and(|since| ended < since) {
                // This one and all older ones end before the time that is asked for.
                self.ahead.clear();
                return Ok(());
            }
            if filter.until.is_some_and(|until| segment.id.created.saturating_sub(MOST_LATENCY) >= until) {
                continue;
            }
            self.read(&segment, filter, scan)?;
        }
        Ok(())
    }

    fn read(&mut self, segment: &Segment, filter: &Filter, scan: &mut Scan) -> Result<(), StoreError> {
        let octets = match fs::read(&segment.path) {
            Ok(octets) => octets,
            // Retired between listing and reading.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(StoreError::Read { path: segment.path.clone(), source }),
        };
        self.octets.clear();
        let mut records = Records::new(&octets);
        for record in records.by_ref() {
            if filter.takes(&record) {
                let start = self.octets.len();
                record.encode(&mut self.octets);
                self.wanted.push((record.time, start..self.octets.len()));
            }
        }
        if records.torn_len() > 0 {
            scan.torn.push((segment.path.clone(), records.torn_len()));
        }
        // Stable: records of one microsecond come out in the reverse of the order they were written.
        self.wanted.sort_by_key(|(time, _)| *time);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;

    use super::*;
    use crate::evidence::journal::{Journal, Ledger};
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
            let ledger = Arc::new(Ledger::default());
            let mut journals = [0, 1].map(|number| Journal::open(folder.path(), number, &ledger).unwrap());
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
        fs::write(&newest.path, &octets[..octets.len() - 3]).unwrap();
        let mut count = 0;
        let scan = Segments::new(folder.path())
            .newest_first(&Filter::default(), &mut |_| {
                count += 1;
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(count, 99);
        assert_eq!(scan.torn.len(), 1);
        assert_eq!(scan.torn[0].0, newest.path);
    }
}
