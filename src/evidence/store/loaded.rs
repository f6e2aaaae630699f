//! The wanted records of one source in memory, sorted, and the merge over all sources.
//!
//! A source is loaded when no record outside it is sure to be newer than its latest, and dropped with its
//! last record, so that memory holds the wanted records of those sources only that overlap at one moment. Where the
//! clock was set back, or a writer was quiet for long, more of them overlap. Records of one microsecond come in the
//! order of their octets, so that it makes no difference where they lie.

use std::collections::BinaryHeap;
use std::ops::ControlFlow;

use super::{Page, Place, Scan, StoreError, Watch};
use crate::evidence::record::Record;

/// Records in memory; never without one in a heap, which orders them by their newest.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    octets: Vec<u8>,
    /// Time, start and length of each, the newest at the end.
    wanted: Vec<(i64, usize, u16)>,
}

impl Loaded {
    pub(super) fn add(&mut self, record: &Record<'_>) {
        let start = self.octets.len();
        record.encode(record.time, &mut self.octets);
        // `record::MAX_LEN` is far below 65536.
        self.wanted.push((record.time, start, (self.octets.len() - start) as u16));
    }

    /// Adds a record's octets, in a block of its own time.
    pub(super) fn add_octets(&mut self, time: i64, octets: &[u8]) {
        let start = self.octets.len();
        self.octets.extend(octets);
        self.wanted.push((time, start, octets.len().min(usize::from(u16::MAX)) as u16));
    }

    /// Drops all but the newest when there are far more than that, and those of the same time.
    pub(super) fn keep_newest(&mut self, most: usize) {
        if self.wanted.len() < 2 * most.max(1024) {
            return;
        }
        self.sort();
        let Some(&(threshold, ..)) = self.wanted.get(self.wanted.len() - most.max(1)) else { return };
        self.wanted.retain(|(time, ..)| *time >= threshold);
        let mut octets = Vec::new();
        for (_, start, len) in &mut self.wanted {
            let at = octets.len();
            octets.extend_from_slice(&self.octets[*start..*start + usize::from(*len)]);
            *start = at;
        }
        self.octets = octets;
    }

    fn sort(&mut self) {
        let octets = &self.octets;
        self.wanted.sort_unstable_by(|a, b| {
            let of = |(_, start, len): &(i64, usize, u16)| &octets[*start..*start + usize::from(*len)];
            a.0.cmp(&b.0).then_with(|| of(a).cmp(of(b)))
        });
    }

    /// Itself in order, unless there is nothing in it.
    pub(super) fn sorted(mut self) -> Option<Self> {
        self.sort();
        (!self.wanted.is_empty()).then_some(self)
    }

    /// Calls `visit` with every record.
    pub(super) fn each(&self, visit: &mut dyn FnMut(&Record<'_>)) {
        for (time, start, len) in &self.wanted {
            if let Some(record) = Record::decode(&self.octets[*start..*start + usize::from(*len)], *time) {
                visit(&record);
            }
        }
    }

    /// The time of its newest.
    pub(super) fn latest(&self) -> i64 {
        self.newest().map_or(i64::MIN, |(time, _)| time)
    }

    fn newest(&self) -> Option<(i64, &[u8])> {
        let (time, start, len) = *self.wanted.last()?;
        Some((time, &self.octets[start..start + usize::from(len)]))
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
        self.newest().cmp(&other.newest())
    }
}

/// Something that holds records and is loaded when its turn comes.
pub(super) trait Origin: Sized {
    /// No record in it is later.
    fn latest(&self) -> i64;
    /// Octets, to tell how far the scan is.
    fn len(&self) -> u64;
    /// Loads its wanted records, and gives back what must be loaded later; with `most`, at least so many of the newest.
    fn load(self, most: Option<usize>, scan: &mut Scan)
    -> Result<(Option<Loaded>, Option<Self>), StoreError>;
}

/// Calls `visit` with the wanted records of all origins, newest first.
pub(super) fn merge<O: Origin>(
    mut ahead: Vec<O>,
    page: Page,
    scan: &mut Scan,
    watch: &mut dyn Watch,
    visit: &mut dyn FnMut(&Record<'_>) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    ahead.sort_by_key(Origin::latest);
    let total = ahead.iter().fold(0u64, |sum, origin| sum.saturating_add(origin.len()));
    let (mut done, mut left) = (0u64, page.limit.unwrap_or(u64::MAX));
    let mut skipped = 0;
    let most = |left: u64, skipped: u64| {
        let seen = page.after.map_or(0, |place| place.seen.saturating_sub(skipped));
        page.limit.map(|_| usize::try_from(left.saturating_add(seen)).unwrap_or(usize::MAX))
    };
    let mut loaded: BinaryHeap<Loaded> = BinaryHeap::new();
    while left > 0 {
        let newest = loaded.peek().and_then(Loaded::newest).map(|(time, _)| time);
        if let Some(origin) = ahead.pop_if(|origin| newest.is_none_or(|newest| origin.latest() >= newest)) {
            if watch.progress(done, total).is_break() {
                scan.is_stopped = true;
                scan.reached = Some(origin.latest());
                return Ok(());
            }
            done = done.saturating_add(origin.len());
            let (part, rest) = origin.load(most(left, skipped), scan)?;
            loaded.extend(part);
            if let Some(rest) = rest {
                let at = ahead.partition_point(|origin| origin.latest() <= rest.latest());
                ahead.insert(at, rest);
            }
            continue;
        }
        let Some(mut stream) = loaded.peek_mut() else { break };
        let Some((time, octets)) = stream.newest() else { break };
        let is_seen = |place: Place| place.time < time || place.time == time && skipped < place.seen;
        if page.after.is_some_and(is_seen) {
            skipped += u64::from(page.after.is_some_and(|place| place.time == time));
        } else if let Some(record) = Record::decode(octets, time) {
            left -= 1;
            if visit(&record).is_break() {
                return Ok(());
            }
        }
        stream.wanted.pop();
        if stream.wanted.is_empty() {
            std::collections::binary_heap::PeekMut::pop(stream);
        }
    }
    // The end is told, so that a bar is full.
    let _ = watch.progress(total, total);
    Ok(())
}
