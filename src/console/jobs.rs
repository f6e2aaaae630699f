//! What takes too long for a page: worked out by threads of low priority, few at once, while pages say how far they are.
//!
//! Results are kept until newer ones push them out; nothing of it outlives the process.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::works::{Differences, Replayed, Trouble};

/// Jobs that run at once.
const AT_ONCE: usize = 2;
/// Jobs that are remembered, those that run among them.
const MOST: usize = 12;
/// As the console's own threads have it.
const NICE: i32 = 10;

/// What came of a job.
#[derive(Debug)]
pub enum Outcome {
    /// A replay.
    Replay(Replayed),
    /// A comparison.
    Differences(Differences),
}

/// Something that is worked out.
#[derive(Debug)]
pub struct Job {
    /// What, so that the same is not worked out twice.
    key: String,
    /// When it was begun.
    pub begun: i64,
    done: AtomicU64,
    total: AtomicU64,
    stop: AtomicBool,
    outcome: Mutex<Option<Arc<Result<Outcome, Trouble>>>>,
    over: Condvar,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Jobs(Mutex<VecDeque<Arc<Job>>>);

impl Job {
    /// Says how far it is; returns whether anybody still wants to know.
    pub fn is_at(&self, done: u64) -> bool {
        self.done.store(done, Ordering::Relaxed);
        !self.stop.load(Ordering::Relaxed)
    }

    /// How much there is to do.
    pub fn has(&self, total: u64) {
        self.total.store(total, Ordering::Relaxed);
    }

    /// How much is done, of how much; 0: nobody knows.
    pub fn progress(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
    }

    /// Ends it early: what there is by then is its outcome.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// What came of it, if that is known.
    pub fn outcome(&self) -> Option<Arc<Result<Outcome, Trouble>>> {
        self.kept().clone()
    }

    /// … or becomes known within this time.
    pub fn wait(&self, patience: Duration) -> Option<Arc<Result<Outcome, Trouble>>> {
        let waited = self.over.wait_timeout_while(self.kept(), patience, |outcome| outcome.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    fn kept(&self) -> MutexGuard<'_, Option<Arc<Result<Outcome, Trouble>>>> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish(&self, outcome: Result<Outcome, Trouble>) {
        self.kept().get_or_insert_with(|| Arc::new(outcome));
        self.over.notify_all();
    }
}

impl Jobs {
    /// The job with this key.
    pub fn find(&self, key: &str) -> Option<Arc<Job>> {
        self.all().iter().find(|job| job.key == key).cloned()
    }

    /// Forgets the outcome of a job that is over.
    pub fn forget(&self, key: &str) {
        self.all().retain(|job| job.key != key || job.outcome().is_none());
    }

    /// The job with this key; begins it where there is none.
    ///
    /// # Errors
    /// [`Trouble::Busy`], and [`Trouble::Failed`] where the system has no thread.
    pub fn start(
        &self,
        key: &str,
        now: i64,
        work: impl FnOnce(&Job) -> Result<Outcome, Trouble> + Send + 'static,
    ) -> Result<Arc<Job>, Trouble> {
        let mut all = self.all();
        if let Some(job) = all.iter().find(|job| job.key == key) {
            return Ok(Arc::clone(job));
        }
        if all.iter().filter(|job| job.outcome().is_none()).count() >= AT_ONCE {
            return Err(Trouble::Busy);
        }
        let job = Arc::new(Job {
            key: key.to_owned(),
            begun: now,
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            outcome: Mutex::new(None),
            over: Condvar::new(),
        });
        let worker = Worker(Arc::clone(&job));
        let thread = std::thread::Builder::new().name("console-job".to_owned()).spawn(move || {
            // Of this thread only, as Linux has it.
            let _ = rustix::process::setpriority_process(None, NICE);
            worker.0.finish(work(&worker.0));
        });
        thread.map_err(|error| Trouble::Failed(format!("the system starts no thread: {error}")))?;
        while all.len() >= MOST {
            let Some(oldest) = all.iter().position(|job| job.outcome().is_some()) else { break };
            all.remove(oldest);
        }
        all.push_back(Arc::clone(&job));
        Ok(job)
    }

    fn all(&self) -> MutexGuard<'_, VecDeque<Arc<Job>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sees to it that a job whose thread panics is over.
struct Worker(Arc<Job>);

impl Drop for Worker {
    fn drop(&mut self) {
        self.0
            .finish(Err(Trouble::Failed("it failed unexpectedly; the server's own log says why".to_owned())));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn few_run_at_once_and_each_ends() {
        let jobs = Jobs::default();
        let (go, wait) = channel::<()>();
        let first = jobs
            .start("a", 0, move |job| {
                job.has(10);
                job.is_at(3);
                let _ = wait.recv();
                Ok(Outcome::Replay(Replayed { queries: 7, ..Replayed::default() }))
            })
            .unwrap();
        let again = jobs.start("a", 1, |_| unreachable!("it runs already")).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        let (keep, kept) = channel::<()>();
        let second = jobs.start("b", 0, move |_| {
            let _ = kept.recv();
            panic!("a job that fails")
        });
        let second = second.unwrap();
        assert_eq!(jobs.start("c", 0, |_| Err(Trouble::NoFeed)).unwrap_err(), Trouble::Busy);
        assert!(first.outcome().is_none());
        drop((go, keep));
        let patience = Duration::from_secs(20);
        let outcome = first.wait(patience).unwrap();
        assert!(matches!(&*outcome, Ok(Outcome::Replay(replayed)) if replayed.queries == 7));
        assert_eq!(first.progress(), (3, 10));
        assert!(matches!(&*second.wait(patience).unwrap(), Err(Trouble::Failed(_))));
        jobs.forget("a");
        assert!(jobs.find("a").is_none() && jobs.find("b").is_some());
        for number in 0..2 * MOST {
            let job = jobs.start(&number.to_string(), 0, |_| Err(Trouble::NoFeed)).unwrap();
            job.wait(patience).unwrap();
        }
        assert!(jobs.all().len() <= MOST);
    }
}
