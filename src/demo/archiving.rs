//! The archiver at work beside the days that are being made, at most two of them behind.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::DemoError;
use crate::evidence::archive::{self, SettleError};
use crate::evidence::ledger::Ledger;

/// A thread that brings each day into the store once it is over.
#[derive(Debug)]
pub(super) struct Archiving {
    days: Option<SyncSender<i64>>,
    thread: Option<JoinHandle<Result<(), SettleError>>>,
}

impl Archiving {
    /// Starts it.
    ///
    /// # Errors
    /// The system has no threads left.
    pub(super) fn start(ledger: &Arc<Ledger>, options: &archive::Options) -> std::io::Result<Self> {
        let (days, over) = sync_channel::<i64>(1);
        let (ledger, options) = (Arc::clone(ledger), options.clone());
        let work = move || over.iter().try_for_each(|clock| archive::settle(&ledger, &options, clock));
        let thread = std::thread::Builder::new().name("archive".to_owned()).spawn(work)?;
        Ok(Self { days: Some(days), thread: Some(thread) })
    }

    /// A day is over, and all of its segments are closed.
    pub(super) fn end_day(&mut self, clock: i64) -> Result<(), DemoError> {
        match self.days.as_ref().is_some_and(|days| days.send(clock).is_ok()) {
            true => Ok(()),
            // It has ended before its time: why?
            false => self.finish(),
        }
    }

    /// Waits until all is in the store.
    pub(super) fn finish(&mut self) -> Result<(), DemoError> {
        self.days = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(done)) => Ok(done?),
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(()),
        }
    }
}
