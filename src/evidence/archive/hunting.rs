//! Searches for new indicators in what is kept, and what they find.
//!
//! Part by part, a part a round, so that segments do not wait for a long search. It begins anew after a stop: what
//! was found before is known.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::orders::{self, Parts};
use super::{ArchiveError, Work, remove, system};
use crate::database::DatabaseError;
use crate::evidence::record::{Outcome, Record, Transport, Trigger};
use crate::evidence::store::embedded::Embedded;
use crate::evidence::store::names::{Label, Needles, What};
use crate::evidence::store::{Catalogue, Filter, Found, Origin, Sighting};
use crate::wire::CLASS_IN;

/// Most that is sought at once, some ten megabytes: a server's memory does not move with its lists.
const PART: usize = 200_000;
/// Most finds of one search: an address that half the province was answered is no indicator.
const MOST_FINDS: usize = 100_000;
/// Finds that are entered at once.
const FINDS: usize = 1000;
/// How often a search is begun in one process: what fails three times fails for a reason of its own.
const MOST_ATTEMPTS: u32 = 3;

/// A search that was begun.
#[derive(Debug)]
pub(super) struct Search {
    parts: Parts,
    sought: usize,
    /// Finds, and those of them that are new.
    found: usize,
    new: usize,
    is_cut_short: bool,
}

/// How often the first search in the queue was begun.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    path: PathBuf,
    count: u32,
}

impl Work {
    /// Does the next part of the searches that wait; whether there is more.
    pub(super) fn go_hunting(&mut self) -> Result<bool, ArchiveError> {
        let folder = orders::orders_folder(&self.log);
        let mut search = match self.search.take() {
            Some(search) => search,
            None => match orders::list(&folder).map_err(system(&folder))?.into_iter().next() {
                Some(path) => match self.begin_search(&path)? {
                    Some(search) => search,
                    None => return Ok(true),
                },
                None => return Ok(false),
            },
        };
        let path = search.parts.path.clone();
        let needles = search.parts.next(PART).map_err(system(&path))?;
        if let Some(needles) = needles {
            search.sought += needles.len();
            let needles = Arc::new(needles);
            self.hunt(&needles, &mut search)?;
            if !search.is_cut_short {
                self.search = Some(search);
                return Ok(true);
            }
        }
        if self.is_stopping() {
            // It is begun anew at the next start.
            return Ok(false);
        }
        remove(&path)?;
        // The next order has the same number where none waits.
        self.attempts = Attempts::default();
        let Search { sought, new, .. } = search;
        if search.is_cut_short {
            tracing::warn!(
                indicators = sought,
                new,
                "the search for new indicators was ended early, it finds too much; `sachdns hunt` does all of it"
            );
        } else if new > 0 {
            tracing::warn!(new, "queries of the past met new indicators: see `sachdns log --hits`");
        }
        Ok(true)
    }

    /// `None` where it was given up.
    fn begin_search(&mut self, path: &Path) -> Result<Option<Search>, ArchiveError> {
        if self.attempts.path != path {
            self.attempts = Attempts { path: path.to_owned(), count: 0 };
        }
        self.attempts.count += 1;
        let is_hopeless = self.attempts.count > MOST_ATTEMPTS;
        match Parts::open(path) {
            Ok(parts) if !is_hopeless => {
                return Ok(Some(Search { parts, sought: 0, found: 0, new: 0, is_cut_short: false }));
            }
            Err(error) if !is_hopeless => return Err(system(path)(error)),
            _ => {}
        }
        // The last one is kept, for whoever looks into it.
        let aside = path.with_file_name("failed");
        fs::rename(path, &aside).map_err(system(path))?;
        self.attempts = Attempts::default();
        tracing::error!(path = %aside.display(), "a search for new indicators has failed three times and is given up; `sachdns hunt` does it");
        Ok(None)
    }

    /// Searches everything that is kept for a part of what is sought, and enters what it finds.
    pub(super) fn hunt(&mut self, needles: &Arc<Needles>, search: &mut Search) -> Result<(), ArchiveError> {
        let since = Some(search.parts.since);
        let filter = Filter { sought: Some(Arc::clone(needles)), since, ..Filter::default() };
        let view = Embedded::new(&self.log).view()?;
        let failed = self.database();
        let is_stopping = Arc::clone(&self.is_stopping);
        let mut finds = Finds { catalogue: self.catalogue()?, waiting: Vec::new(), new: 0, result: Ok(()) };
        let mut found = search.found;
        let scan = view.each(&filter, &mut |met| {
            if let Some(find) = find(needles, &met) {
                finds.add(find);
                found += 1;
            }
            if found >= MOST_FINDS || finds.result.is_err() || is_stopping.load(Ordering::Acquire) {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        search.new += finds.finish().map_err(failed)?;
        search.found = found;
        search.is_cut_short = scan.is_stopped;
        for (path, why) in &scan.unreadable {
            tracing::warn!(path = %path.display(), why, "a file of the query log cannot be read");
        }
        Ok(())
    }
}

/// Finds on their way into the catalogue.
struct Finds<'c> {
    catalogue: &'c mut Catalogue,
    waiting: Vec<(Record<'static>, Origin)>,
    new: usize,
    result: Result<(), DatabaseError>,
}

impl Finds<'_> {
    fn add(&mut self, find: (Record<'static>, Origin)) {
        self.waiting.push(find);
        if self.waiting.len() >= FINDS {
            self.enter();
        }
    }

    fn enter(&mut self) {
        let finds = std::mem::take(&mut self.waiting);
        match self.catalogue.add_late(finds.iter().map(|(record, origin)| (record, *origin))) {
            Ok(new) => self.new += new,
            Err(error) => self.result = Err(error),
        }
    }

    fn finish(mut self) -> Result<usize, DatabaseError> {
        if self.result.is_ok() {
            self.enter();
        }
        self.result.map(|()| self.new)
    }
}

/// The hit that something met becomes; `None` where it was one.
fn find(needles: &Needles, met: &Found<'_>) -> Option<(Record<'static>, Origin)> {
    match met {
        Found::Row(record, origin) if !record.is_hit => {
            let (label, address) = needles.find_in(record)?;
            let trigger = address.map_or(Trigger::Qname, |_| Trigger::Ip);
            let matched = address.map(|address| address.to_string().into());
            let find = Record { matched, ..(*record).clone() }.into_owned();
            Some((labelled(find, label, trigger), *origin))
        }
        Found::Seen(sighting, origin) if !sighting.was_hit => {
            let label = needles.label_of(&sighting.what)?;
            let (record, trigger) = of_sighting(sighting);
            Some((labelled(record, label, trigger), *origin))
        }
        _ => None,
    }
}

fn labelled(record: Record<'static>, label: &Label, trigger: Trigger) -> Record<'static> {
    Record {
        is_hit: true,
        feed: label.feed.as_deref().map(|text| text.to_owned().into()),
        family: label.family.as_deref().map(|text| text.to_owned().into()),
        severity: label.severity,
        trigger: Some(trigger),
        ..record
    }
}

/// What is left of the first of many queries: nobody knows its type, nor what was answered otherwise.
fn of_sighting(sighting: &Sighting) -> (Record<'static>, Trigger) {
    let (qname, address) = match &sighting.what {
        What::Name(name) => (name.as_wire().to_vec(), None),
        What::Address(address) => (Vec::new(), Some(*address)),
    };
    let record = Record {
        time: sighting.first,
        client: sighting.client,
        transport: Transport::Udp,
        agency: sighting.agency.clone().map(Into::into),
        mac: None,
        subnet: None,
        qname: qname.into(),
        qtype: 0,
        qclass: CLASS_IN,
        rcode: None,
        outcome: Outcome::Forward,
        is_hit: false,
        is_cached: false,
        feed: None,
        family: None,
        severity: None,
        trigger: None,
        matched: address.map(|address| address.to_string().into()),
        answers: address.into_iter().collect::<Vec<_>>().into(),
        latency: 0,
    };
    (record, address.map_or(Trigger::Qname, |_| Trigger::Ip))
}
