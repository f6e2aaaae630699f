//! The hits of the last hour as the log has them, for contacts that come behind a start: which of them led to whom is
//! otherwise known only of what was read since.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::Means;
use crate::evidence::contacts::join::{Hit, Rules};
use crate::evidence::store::embedded::Embedded;
use crate::evidence::store::{Filter, Kind, Page, Store as _, StoreError, Watch};

/// How long is looked for them; what is older is then not known.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most that are looked at, the newest of them.
const MOST: u64 = 50_000;

/// Until it takes too long, or the process ends.
struct Until<'a>(Instant, &'a Means);

impl Watch for Until<'_> {
    fn progress(&mut self, _: u64, _: u64) -> ControlFlow<()> {
        if self.1.is_stopping() || Instant::now() > self.0 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

/// Hits that contacts can follow, by an address of theirs or not, the oldest first.
///
/// # Errors
/// The log cannot be read.
pub(super) fn recall(means: &Means, now: i64) -> Result<Vec<(Hit, bool)>, StoreError> {
    let since = now.saturating_sub(Rules::default().by_name);
    let filter = Filter { since: Some(since), kind: Kind::Hits, ..Filter::default() };
    let page = Page { limit: Some(MOST), after: None };
    let mut hits = Vec::new();
    let log = Embedded::new(means.ledger.folder());
    log.newest_first(&filter, page, &mut Until(Instant::now() + PATIENCE, means), &mut |record| {
        hits.extend(Hit::of(record).map(|hit| (hit, super::hits::is_by_address(record))));
        ControlFlow::Continue(())
    })?;
    hits.reverse();
    Ok(hits)
}
