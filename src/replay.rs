//! Replays: which queries of the log another policy would have decided otherwise, and whose they were.
//!
//! Compares two rulebooks on what the records hold: who asked for which name, and which addresses it had. What a
//! record does not hold (the names of a chain of aliases, name servers) is not judged. Nothing is asked of anybody.
//!
//! Memory is bounded: names and clients past a number are counted and not kept.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::ops::ControlFlow;

use crate::client::Agencies;
use crate::evidence::record::{Outcome, Record};
use crate::evidence::store::{Filter, Page, Scan, Store, StoreError, Unwatched};
use crate::name::Key;
use crate::policy::action::Action;
use crate::policy::decide::{Reckoning, Ruling, Unobserved};
use crate::serve::rulebook::Rulebook;

/// Names that are kept, in each direction; more are counted.
const MOST_NAMES: usize = 20_000;
/// Clients that are kept of each name.
const MOST_CLIENTS: usize = 500;
/// … and of all names together.
const MOST_PAIRS: usize = 500_000;
/// Clients of an agency, or of all, that are told apart.
const MOST_TOLD_APART: usize = 200_000;
/// Between two looks at whether somebody has seen enough.
const STRIDE: u64 = 1024;

/// Which way a query would have gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Turn {
    /// It would be blocked, and is not now.
    Blocked,
    /// It would not be blocked, and is now.
    Released,
}

impl Turn {
    /// Its word in exports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Released => "released",
        }
    }
}

/// A name whose queries would have gone another way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Affected {
    /// The qname in wire format, folded.
    pub qname: Box<[u8]>,
    /// The feed of the rule that makes the difference.
    pub feed: String,
    /// Its malware family.
    pub family: Option<String>,
    /// How many queries.
    pub queries: u64,
    /// Who asked, by address; the first of them.
    pub clients: BTreeSet<IpAddr>,
    /// Whether more clients asked than are kept.
    pub has_more_clients: bool,
    /// Queries of each agency, by its id; empty: of none.
    pub agencies: BTreeMap<String, u64>,
    /// When it was asked for last, microseconds since 1970.
    pub last: i64,
}

/// How many, of one agency or of all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Queries that would have gone this way.
    pub queries: u64,
    /// Whose they were, as far as that many are told apart.
    pub clients: BTreeSet<IpAddr>,
}

/// All that would have gone one way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Side {
    /// The names, those with the most queries first.
    pub names: Vec<Affected>,
    /// Queries for further names that are not among them.
    pub other_queries: u64,
    /// In all.
    pub total: Tally,
    /// By agency, by its id; empty: of none.
    pub agencies: BTreeMap<String, Tally>,
}

/// What came of a replay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replay {
    /// Queries that were looked at.
    pub queries: u64,
    /// The first and the last of them, microseconds since 1970.
    pub span: Option<(i64, i64)>,
    /// Whether all that was asked for was looked at.
    pub is_complete: bool,
    /// What would be blocked.
    pub blocked: Side,
    /// What would not be any more.
    pub released: Side,
    /// What the log could not tell.
    pub scan: Scan,
}

/// Replays the queries that `filter` takes, newest first; `go_on` is asked from time to time, with how many were looked
/// at so far, whether anybody still wants to know.
///
/// # Errors
/// [`StoreError`], when the log cannot be read.
pub fn replay(
    store: &dyn Store,
    filter: &Filter,
    agencies: &Agencies,
    [today, then]: [&Rulebook; 2],
    go_on: &mut dyn FnMut(u64) -> bool,
) -> Result<Replay, StoreError> {
    let mut replay = Replay { is_complete: true, ..Replay::default() };
    let mut collectors = [Collector::default(), Collector::default()];
    replay.scan = store.newest_first(filter, Page::default(), &mut Unwatched, &mut |record| {
        if replay.queries.is_multiple_of(STRIDE) && !go_on(replay.queries) {
            replay.is_complete = false;
            return ControlFlow::Break(());
        }
        let Some(key) = key(record) else { return ControlFlow::Continue(()) };
        replay.queries += 1;
        let (first, last) = replay.span.unwrap_or((record.time, record.time));
        replay.span = Some((first.min(record.time), last.max(record.time)));
        let [now, otherwise] = [today, then].map(|book| blocking(book, agencies, record, &key));
        match (now, otherwise) {
            (None, Some(ruling)) => collectors[0].take(record, &ruling),
            (Some(ruling), None) => collectors[1].take(record, &ruling),
            _ => {}
        }
        ControlFlow::Continue(())
    })?;
    [replay.blocked, replay.released] = collectors.map(Collector::finish);
    Ok(replay)
}

/// The name of a query that was decided at all.
fn key(record: &Record<'_>) -> Option<Key> {
    match record.outcome {
        Outcome::Refused | Outcome::Malformed | Outcome::Limited => None,
        _ => Key::from_wire(&record.qname),
    }
}

/// The rule that blocks this query, if one does.
fn blocking<'p>(
    book: &'p Rulebook,
    agencies: &Agencies,
    record: &Record<'_>,
    key: &Key,
) -> Option<Ruling<'p>> {
    let mut unobserved = Unobserved;
    let mut reckoning = Reckoning::new(book.layers(), book.asker(agencies, record.client), &mut unobserved);
    reckoning.name(0, key);
    // What a rule answered says nothing about the name.
    if matches!(record.outcome, Outcome::Forward | Outcome::Passthru | Outcome::Shadow) {
        record.answers.iter().for_each(|address| reckoning.address(0, *address));
    }
    let ruling = reckoning.decision().ruling?;
    (!matches!(ruling.rule.action, Action::Passthru | Action::TcpOnly)).then_some(ruling)
}

/// Collects what would have gone one way.
#[derive(Default)]
struct Collector {
    names: HashMap<Box<[u8]>, Affected>,
    pairs: usize,
    side: Side,
}

impl Collector {
    fn take(&mut self, record: &Record<'_>, ruling: &Ruling<'_>) {
        let agency = record.agency.as_deref().unwrap_or_default();
        for tally in [&mut self.side.total, self.side.agencies.entry(agency.to_owned()).or_default()] {
            tally.queries += 1;
            if tally.clients.len() < MOST_TOLD_APART {
                tally.clients.insert(record.client);
            }
        }
        if self.names.len() >= MOST_NAMES && !self.names.contains_key(&*record.qname) {
            self.side.other_queries += 1;
            return;
        }
        let affected = self.names.entry(record.qname.as_ref().into()).or_insert_with(|| Affected {
            qname: record.qname.as_ref().into(),
            feed: ruling.feed.name.to_string(),
            family: ruling.family.map(str::to_owned),
            queries: 0,
            clients: BTreeSet::new(),
            has_more_clients: false,
            agencies: BTreeMap::new(),
            last: record.time,
        });
        affected.queries += 1;
        affected.last = affected.last.max(record.time);
        *affected.agencies.entry(agency.to_owned()).or_default() += 1;
        let is_room = affected.clients.len() < MOST_CLIENTS && self.pairs < MOST_PAIRS;
        if is_room {
            self.pairs += usize::from(affected.clients.insert(record.client));
        } else {
            affected.has_more_clients |= !affected.clients.contains(&record.client);
        }
    }

    fn finish(self) -> Side {
        let mut names: Vec<Affected> = self.names.into_values().collect();
        names.sort_by(|a, b| b.queries.cmp(&a.queries).then_with(|| a.qname.cmp(&b.qname)));
        Side { names, ..self.side }
    }
}
