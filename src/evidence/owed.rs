//! What of the store's files somebody else still has to get, so that they stay for it as long as the log's bounds let them.
//!
//! Files are told by their numbers. Where nobody is owed anything, nothing is.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// The files that are not owed; `None` while nobody waits for files.
#[derive(Debug, Default)]
pub(in crate::evidence) struct Owed(Mutex<Option<HashSet<u64>>>);

impl Owed {
    fn with<T>(&self, act: impl FnOnce(&mut Option<HashSet<u64>>) -> T) -> T {
        // Whatever panicked, the set is whole.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on every file is owed but these.
    pub(in crate::evidence) fn begin(&self, settled: HashSet<u64>) {
        self.with(|all| *all = Some(settled));
    }

    /// This one is not owed any more.
    pub(in crate::evidence) fn settle(&self, number: u64) {
        self.with(|all| all.as_mut().map(|settled| settled.insert(number)));
    }

    /// Forgets those that are gone.
    pub(in crate::evidence) fn keep(&self, is_there: impl Fn(u64) -> bool) {
        self.with(|all| all.as_mut().map(|settled| settled.retain(|number| is_there(*number))));
    }

    /// Whether somebody waits for this one.
    pub(in crate::evidence) fn is_owed(&self, number: u64) -> bool {
        self.with(|all| all.as_ref().is_some_and(|settled| !settled.contains(&number)))
    }

    /// Whether somebody waits for files at all.
    pub(in crate::evidence) fn is_on(&self) -> bool {
        self.with(|all| all.is_some())
    }
}
