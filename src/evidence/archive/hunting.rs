//! Searches for new indicators in what is kept, and what they find.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;

use super::{ArchiveError, Work};
use crate::evidence::record::{Record, Trigger};
use crate::evidence::store::embedded::Embedded;
use crate::evidence::store::names::Needles;
use crate::evidence::store::{Catalogue, CatalogueError, Filter, Origin};

/// Hunts that wait.
const MOST_HUNTS: usize = 16;
/// Most finds of one hunt: an address that half the province was answered is no indicator.
const MOST_FINDS: usize = 100_000;
/// Finds that are entered at once.
const FINDS: usize = 1000;

/// Searches that wait for the archiver.
#[derive(Debug, Clone, Default)]
pub(super) struct Hunts(Arc<Mutex<VecDeque<Hunt>>>);

#[derive(Debug)]
pub(super) struct Hunt {
    pub(super) needles: Arc<Needles>,
    pub(super) since: i64,
}

impl Hunts {
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut VecDeque<Hunt>) -> T) -> T {
        // Whatever panicked, the queue is whole.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Asks the archiver to search for new indicators.
#[derive(Debug, Clone)]
pub struct Hunter {
    pub(super) hunts: Hunts,
    pub(super) thread: Option<Thread>,
}

impl Hunter {
    /// Searches what is kept since then for new indicators, by and by, and enters what it finds as hits before they
    /// were listed. Returns at once.
    pub fn hunt(&self, needles: Needles, since: i64) {
        if needles.is_empty() {
            return;
        }
        let indicators = needles.len();
        let is_taken = self.hunts.with(|waiting| {
            let has_room = waiting.len() < MOST_HUNTS;
            if has_room {
                waiting.push_back(Hunt { needles: Arc::new(needles), since });
            }
            has_room
        });
        if !is_taken {
            tracing::warn!(
                indicators,
                "the log is not searched for new indicators, since earlier searches still wait; `sachdns hunt` does it"
            );
        }
        if let Some(thread) = &self.thread {
            thread.unpark();
        }
    }
}

impl Work {
    /// Searches everything that is kept, and enters what it finds.
    pub(super) fn hunt(&mut self, hunt: &Hunt) -> Result<(), ArchiveError> {
        let filter =
            Filter { sought: Some(Arc::clone(&hunt.needles)), since: Some(hunt.since), ..Filter::default() };
        let view = Embedded::new(&self.log).view()?;
        let failed = self.database();
        let is_stopping = Arc::clone(&self.is_stopping);
        let catalogue = self.catalogue()?;
        let (mut finds, mut found, mut result) = (Vec::new(), 0, Ok(0));
        let scan = view.each(&filter, &mut |record, origin| {
            if record.is_hit {
                return ControlFlow::Continue(());
            }
            let Some((label, address)) = hunt.needles.find_in(record) else {
                return ControlFlow::Continue(());
            };
            let find = Record {
                is_hit: true,
                feed: label.feed.as_deref().map(|text| text.to_owned().into()),
                family: label.family.as_deref().map(|text| text.to_owned().into()),
                severity: label.severity,
                trigger: Some(address.map_or(Trigger::Qname, |_| Trigger::Ip)),
                matched: address.map(|address| address.to_string().into()),
                ..record.clone()
            };
            finds.push((find.into_owned(), origin));
            found += 1;
            if finds.len() == FINDS {
                result = enter(catalogue, &finds, &result);
                finds.clear();
            }
            if found >= MOST_FINDS || result.is_err() || is_stopping.load(Ordering::Acquire) {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        let new = enter(catalogue, &finds, &result).map_err(failed)?;
        for (path, why) in &scan.unreadable {
            tracing::warn!(path = %path.display(), why, "a file of the query log cannot be read");
        }
        if scan.is_stopped {
            let indicators = hunt.needles.len();
            tracing::warn!(
                indicators,
                new,
                "the search for new indicators was ended early; `sachdns hunt` does all of it"
            );
        } else if new > 0 {
            tracing::warn!(new, "queries of the past met new indicators: see `sachdns log --hits`");
        }
        Ok(())
    }
}

fn enter(
    catalogue: &mut Catalogue,
    finds: &[(Record<'static>, Origin)],
    so_far: &Result<usize, CatalogueError>,
) -> Result<usize, CatalogueError> {
    let entered = catalogue.add_late(finds.iter().map(|(record, origin)| (record, *origin)))?;
    Ok(entered + so_far.as_ref().copied().unwrap_or_default())
}
