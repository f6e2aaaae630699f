//! The thread that follows files of leases and machines.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::clock;
use crate::identity::follow::{Event, Follower, Options};
use crate::identity::{Book, BookError};

/// Beside busy workers, files wait.
const NICE: i32 = 10;
/// How often is looked whether a file has changed.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often what is old goes.
const EXPIRE_EVERY: Duration = Duration::from_secs(3600);
/// Faults of a file that are told one by one.
const TOLD: usize = 5;

/// Follows files until it is dropped.
pub(super) struct Registry {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    options: Options,
    is_over: bool,
}

impl Registry {
    /// Starts following.
    pub(super) fn start(book: Arc<Book>, options: Options) -> io::Result<Self> {
        let state = Mutex::new(State { options, is_over: false });
        let shared = Arc::new(Shared { state, changed: Condvar::new() });
        let of_thread = Arc::clone(&shared);
        let thread = super::thread("identity", move || of_thread.run(&book))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Follows what a reload says.
    pub(super) fn renew(&self, options: Options) {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).options = options;
        self.shared.changed.notify_all();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).is_over = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // It reports its panics itself.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self, book: &Book) {
        // Of this thread only, as Linux has it.
        let _ = rustix::process::setpriority_process(None, NICE);
        let mut follower = Follower::default();
        let mut expired: Option<Instant> = None;
        loop {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.is_over {
                return;
            }
            let options = state.options.clone();
            drop(state);
            for event in follower.look(book, &options) {
                tell(event);
            }
            if expired.is_none_or(|last| last.elapsed() >= EXPIRE_EVERY) {
                expired = Some(Instant::now());
                if let Err(error) = expire(book, &options) {
                    tracing::error!("old addresses of machines stay for now: {error}");
                }
            }
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.is_over {
                return;
            }
            let _ = self.changed.wait_timeout(state, LOOK_EVERY);
        }
    }
}

fn expire(book: &Book, options: &Options) -> Result<(), BookError> {
    let keep = i64::try_from(options.keep.as_micros()).unwrap_or(i64::MAX);
    let gone = book.expire(clock::now().saturating_sub(keep))?;
    if gone > 0 {
        tracing::info!(gone, "addresses that machines had long ago are forgotten");
    }
    Ok(())
}

fn tell(event: Event) {
    match event {
        Event::Taken(path, import) => {
            let path = path.display();
            let (taken, faults) = (import.taken, &import.batch.faults);
            if taken.added + taken.changed + taken.machines > 0 {
                tracing::info!(
                    machines = taken.machines,
                    added = taken.added,
                    changed = taken.changed,
                    "{path}: read ({})",
                    import.format
                );
            }
            for (line, fault) in faults.iter().take(TOLD) {
                tracing::warn!("{path}:{line}: {fault}");
            }
            let more = faults.len().saturating_sub(TOLD) as u64 + import.batch.more_faults;
            if more > 0 {
                tracing::warn!("{path}: {more} more; `sachdns identity import` lists them");
            }
        }
        Event::Failed(error) => tracing::error!("{error}"),
    }
}
