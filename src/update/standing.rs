//! How feeds stand: what of them is in force, what waits or was refused, and what somebody should look after.
//!
//! Reads the store and looks at files; changes nothing.

use std::fs;

use super::Plan;
use crate::clock::local_time;
use crate::feed::source::Source;
use crate::feed::store::{Accepted, Changes, Refused, State, StoreError};

/// How one feed stands.
#[derive(Debug, Clone)]
pub struct FeedStanding<'a> {
    /// Which feed.
    pub source: &'a Source,
    /// What the store says of it.
    pub state: State,
    /// Why its file cannot be read.
    pub missing: Option<String>,
    /// What somebody should look after, in words: that too.
    pub troubles: Vec<String>,
}

/// How all feeds stand.
///
/// # Errors
/// [`StoreError`], when the store cannot be read.
pub fn of(plan: Plan<'_>) -> Result<Vec<FeedStanding<'_>>, StoreError> {
    plan.feeds
        .iter()
        .map(|source| {
            let state = plan.versions.feed(&source.name).state()?;
            let mut troubles: Vec<String> = pending(&source.name, &state).into_iter().collect();
            let missing = missing(source);
            troubles.extend(missing.clone());
            Ok(FeedStanding { source, state, missing, troubles })
        })
        .collect()
}

fn missing(source: &Source) -> Option<String> {
    let path = source.origin.file()?;
    let why = match fs::metadata(path) {
        Ok(facts) if facts.is_file() => return None,
        Ok(_) => "not a file".to_owned(),
        Err(error) => error.to_string(),
    };
    Some(format!("{}: {why}", path.display()))
}

/// What is to be said where the origin's latest version was refused and nobody has decided about it.
pub(super) fn pending(feed: &str, state: &State) -> Option<String> {
    let latest = state.latest.as_ref()?;
    let refused = state.pending().filter(|refused| refused.version.digest == latest.digest)?;
    Some(refusal(feed, refused, state.accepted.as_ref()))
}

/// What is to be said of a version that was refused.
pub(super) fn refusal(feed: &str, refused: &Refused, accepted: Option<&Accepted>) -> String {
    let stays = match accepted {
        Some(accepted) => format!("the one of {} stays in force", local_time(accepted.version.arrived_at)),
        None => "there is none to put in force instead".to_owned(),
    };
    let changes =
        refused.changes.map_or(String::new(), |Changes { added, removed }| format!(" (+{added} −{removed})"));
    format!(
        "version {}{changes} was refused: {}; {stays}; `sachdns policy diff --feed {feed}` shows what would change, then \
         `sachdns feed approve {feed} --by YOU` or `sachdns feed reject {feed} --by YOU`",
        refused.version.digest.short(),
        refused.reasons.join("; ")
    )
}
