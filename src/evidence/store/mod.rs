//! Stores: who answers questions about the records.
//!
//! The questions are the same for every back end; [`embedded`] is the one that needs no other server.

mod asked;
mod catalogue;
pub mod clickhouse;
mod counting;
pub mod embedded;
pub mod finds;
pub mod follow;
mod loaded;
pub mod names;
mod parallel;
mod parquet;
pub mod recent;
mod rollup;
mod rows;
mod segments;
mod sightings;
mod spans;
mod summary;
mod view;
pub mod whereabouts;
mod words;

use std::io;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use super::record::{Outcome, Record};
use crate::name::{self, Name};
use names::Needles;
use whereabouts::Whereabouts;

pub use asked::Asked;
pub(in crate::evidence) use catalogue::{Catalogue, Entry, NewFile, Origin, SummaryEntry};
pub use catalogue::{Gap, Why};
pub(in crate::evidence) use counting::day_of;
pub use counting::{By, Count};
pub(in crate::evidence) use parquet::{
    FileError, FileName, Source, Stored, sync_folder, write, write_octets,
};
pub(in crate::evidence) use rows::Rows;
pub use sightings::Sighting;
pub(in crate::evidence) use summary::{Facts, Slices, Summary, SummaryError, merge, rewrite};
pub(in crate::evidence) use view::Found;

/// Which records are asked for; everything that is set must fit.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Records of queries of this address: those that it asked, and those of a forwarder that told it whole.
    pub client: Option<IpAddr>,
    /// Records of clients of the agency with this id.
    pub agency: Option<String>,
    /// Records whose qname is this name or lies below it.
    pub name: Option<Name>,
    /// Records with this qtype.
    pub qtype: Option<u16>,
    /// Records with this rcode.
    pub rcode: Option<u16>,
    /// Records of queries with which this was done.
    pub outcome: Option<Outcome>,
    /// Records that met a rule of this feed.
    pub feed: Option<String>,
    /// Records that met a rule of this malware family.
    pub family: Option<String>,
    /// Records from this time on, microseconds since 1970.
    pub since: Option<i64>,
    /// Records before this time, microseconds since 1970.
    pub until: Option<i64>,
    /// Which kind of record.
    pub kind: Kind,
    /// Records whose qname or one of whose answers is any of these.
    pub sought: Option<Arc<Needles>>,
    /// Records of this machine.
    pub machine: Option<Arc<Whereabouts>>,
}

/// Which kind of record is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    /// All.
    #[default]
    All,
    /// Hits only.
    Hits,
}

impl Filter {
    /// Whether `record` is asked for.
    pub fn takes(&self, record: &Record<'_>) -> bool {
        let is = |wanted: &Option<String>, text: &Option<std::borrow::Cow<'_, str>>| {
            wanted.as_deref().is_none_or(|wanted| text.as_deref() == Some(wanted))
        };
        (self.kind == Kind::All || record.is_hit)
            && self.since.is_none_or(|since| record.time >= since)
            && self.until.is_none_or(|until| record.time < until)
            && self.client.is_none_or(|client| is_of(record, client.to_canonical()))
            && is(&self.agency, &record.agency)
            && is(&self.feed, &record.feed)
            && is(&self.family, &record.family)
            && self.qtype.is_none_or(|qtype| record.qtype == qtype && !record.qname.is_empty())
            && self.rcode.is_none_or(|rcode| record.rcode == Some(rcode))
            && self.outcome.is_none_or(|outcome| record.outcome == outcome)
            && self.name.as_ref().is_none_or(|name| name::is_within(&record.qname, name.as_wire()))
            && self.sought.as_ref().is_none_or(|needles| needles.find_in(record).is_some())
            && self.machine.as_ref().is_none_or(|machine| machine.has(record))
    }

    /// Whether records of these times may be asked for.
    fn may_take(&self, earliest: i64, latest: i64) -> bool {
        self.since.is_none_or(|since| latest >= since) && self.until.is_none_or(|until| earliest < until)
    }
}

/// Whether this address asked, or is the one that a forwarder told whole of who asked it.
fn is_of(record: &Record<'_>, client: IpAddr) -> bool {
    record.client == client || record.source() == client
}

/// Which part of an answer is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Page {
    /// At most so many records.
    pub limit: Option<u64>,
    /// Only what comes behind this.
    pub after: Option<Place>,
}

/// A place in an answer: records of one microsecond always come in the same order, wherever they lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The time of the last record that was seen.
    pub time: i64,
    /// How many of that time were seen.
    pub seen: u64,
}

impl Place {
    /// The place behind a record of this time, which came at `place`.
    pub fn behind(place: Option<Self>, time: i64) -> Self {
        let seen = place.filter(|place| place.time == time).map_or(0, |place| place.seen);
        Self { time, seen: seen + 1 }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.time, self.seen)
    }
}

/// Why a text is no place in an answer.
#[derive(Debug, thiserror::Error)]
#[error("not a place as `sachdns log --limit` tells it, such as 1795478400000000.1")]
pub struct PlaceError;

impl std::str::FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let (time, seen) = text.split_once('.').ok_or(PlaceError)?;
        let place = time.parse().ok().zip(seen.parse().ok());
        place.map(|(time, seen)| Self { time, seen }).ok_or(PlaceError)
    }
}

/// What a scan met besides records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan {
    /// Segments with octets of no whole record, and how many.
    pub damaged: Vec<(PathBuf, usize)>,
    /// Files that could not be read, and why.
    pub unreadable: Vec<(PathBuf, String)>,
    /// Whether it was stopped before its end.
    pub is_stopped: bool,
    /// Where it was stopped: all that is later was looked at, and nothing earlier was.
    pub reached: Option<i64>,
    /// Parts of hours or days, from and until, whose records are gone and cannot be counted: of whole ones counts are left.
    pub uncounted: Vec<(i64, i64)>,
    /// What was looked for and found in summaries only, since the records are gone: clients, by what they asked and by the
    /// day. [`Store::sightings`] has them.
    pub gone: u64,
}

/// Why a store cannot answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or folder cannot be read.
    #[error("{path}: reading the query log: {source}; run as the user that sachdns runs as")]
    Read {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The catalogue of the store cannot be read.
    #[error(
        "{path}: reading the query log's catalogue: {why}; a start of the server mends it from the files beside it"
    )]
    Catalogue {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// ClickHouse does not answer.
    #[error("{0}; --local asks for what is on this machine alone")]
    ClickHouse(#[from] clickhouse::SchemaError),
    /// There are too many different values to count.
    #[error("more than {most} different values: narrow the question, for instance by --since")]
    Many {
        /// How many are counted.
        most: usize,
    },
}

/// Told how far a scan is; may end it.
pub trait Watch {
    /// So much of so much is done: what the two count is the question's own, and may change on the way.
    fn progress(&mut self, done: u64, total: u64) -> ControlFlow<()>;
}

/// For scans that nobody watches.
#[derive(Debug, Clone, Copy)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn progress(&mut self, _: u64, _: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// Answers questions about the records.
pub trait Store {
    /// Calls `visit` with every record that `filter` takes, newest first, until it breaks.
    ///
    /// # Errors
    /// [`StoreError`], when the records cannot be read.
    fn newest_first(
        &self,
        filter: &Filter,
        page: Page,
        watch: &mut dyn Watch,
        visit: &mut dyn FnMut(&Record<'_>) -> ControlFlow<()>,
    ) -> Result<Scan, StoreError>;

    /// Counts the records that `filter` takes by one of their values, the most frequent first (times in their own order).
    ///
    /// # Errors
    /// [`StoreError`], when the records cannot be read.
    fn count(&self, filter: &Filter, by: By, watch: &mut dyn Watch)
    -> Result<(Vec<Count>, Scan), StoreError>;

    /// Who asked for the names, or was answered the addresses, that `filter` looks for (`name`, `sought`): also where the
    /// records are gone, and without reading them where a summary knows. The last seen first.
    ///
    /// # Errors
    /// [`StoreError`], when the records cannot be read, or there are too many sightings to add up.
    fn sightings(&self, filter: &Filter, watch: &mut dyn Watch) -> Result<(Vec<Sighting>, Scan), StoreError> {
        let mut sum = sightings::Sum::of(filter);
        let Some(needles) = view::needles_of(filter) else { return Ok((Vec::new(), Scan::default())) };
        let scan = self.newest_first(filter, Page::default(), watch, &mut |record| {
            sum.add_record(record, &needles);
            ControlFlow::Continue(())
        })?;
        Ok((sum.finish()?, scan))
    }

    /// Calls `visit` with who asked from `since` on and before `until`, in no order, and at least once for each; where rows are
    /// gone, with who summaries know.
    ///
    /// # Errors
    /// [`StoreError`], when the records cannot be read.
    fn asked(
        &self,
        (since, until): (i64, i64),
        agency: Option<&str>,
        watch: &mut dyn Watch,
        visit: &mut dyn FnMut(&Asked<'_>),
    ) -> Result<Scan, StoreError> {
        let agency = agency.map(str::to_owned);
        let filter = Filter { since: Some(since), until: Some(until), agency, ..Filter::default() };
        self.newest_first(&filter, Page::default(), watch, &mut |record| {
            visit(&Asked::of(record));
            ControlFlow::Continue(())
        })
    }

    /// Calls `visit` with hits that were found after the query, since its name or answer was not listed by then: those of queries since
    /// a time, of an agency or all, the newest `most`. Which server finds them keeps them.
    ///
    /// # Errors
    /// [`StoreError`], when they cannot be read.
    fn finds(
        &self,
        agency: Option<&str>,
        since: i64,
        most: usize,
        visit: &mut dyn FnMut(&Record<'_>),
    ) -> Result<(), StoreError>;

    /// The times in which records could not be kept, the newest first.
    ///
    /// # Errors
    /// [`StoreError`], when they cannot be read.
    fn gaps(&self, since: Option<i64>, until: Option<i64>) -> Result<Vec<Gap>, StoreError>;
}
