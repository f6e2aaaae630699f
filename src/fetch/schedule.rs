//! When each feed is fetched: at its time, after its failures, when its primary says so; a few at once.
//!
//! A thread of its own with a runtime of its own: neither a server that drips nor a disk that is slow is felt where
//! queries are answered. What comes is told to whoever builds policies, once for all that came meanwhile.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::memory::Memory;
use super::run::{FetchError, News, Report, run};
use super::transfer::Kind;
use super::{Publisher, Remote};
use crate::clock;
use crate::feed::store::{Staged, Store};
use crate::name::Name;

/// Feeds that are fetched at once.
const AT_ONCE: usize = 2;
/// A primary that says again and again that its zone has changed is asked no more often than this.
const BETWEEN_NOTICES: Duration = Duration::from_secs(2);
/// How long a stop waits for the thread's end.
const GRACE: Duration = Duration::from_millis(500);
/// The schedule is looked at at least this often.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// What the schedule is told, the last word of each kind. Copies are the same orders.
#[derive(Debug, Clone, Default)]
pub struct Orders(Arc<Desk>);

#[derive(Debug, Default)]
struct Desk {
    told: Mutex<Told>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Told {
    remotes: Option<Vec<Remote>>,
    notices: BTreeSet<Name>,
    is_stopping: bool,
}

impl Orders {
    /// From now on fetch these feeds.
    pub fn fetch(&self, remotes: Vec<Remote>) {
        self.give(|told| told.remotes = Some(remotes));
    }

    /// Somebody who may said that this zone has changed. Bounded by the zones that there are.
    pub fn notice(&self, zone: &Name) {
        self.give(|told| {
            told.notices.insert(zone.clone());
        });
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        // Whatever panicked, the words are whole.
        self.0.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give(&self, order: impl FnOnce(&mut Told)) {
        order(&mut self.told());
        self.0.wake.notify_one();
    }
}

/// Fetches feeds until it is dropped.
#[derive(Debug)]
pub struct Schedule {
    orders: Orders,
    /// Closed when the thread has ended.
    ended: Receiver<()>,
}

impl Schedule {
    /// Begins to do what `orders` say, into the store; calls `news` when there is something to build a policy from.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(orders: Orders, store: Store, news: impl Fn() + Send + 'static) -> io::Result<Self> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(8).build()?;
        let given = orders.clone();
        let (sender, ended) = mpsc::channel();
        std::thread::Builder::new().name("fetch".to_owned()).spawn(move || {
            runtime.block_on(work(&given, &store, &news));
            runtime.shutdown_background();
            drop(sender);
        })?;
        Ok(Self { orders, ended })
    }
}

impl Drop for Schedule {
    /// Ends what is under way. A disk that is slow is not waited for: what is not in the store yet is lost with the
    /// process and fetched again by the next.
    fn drop(&mut self) {
        self.orders.give(|told| told.is_stopping = true);
        let _ = self.ended.recv_timeout(GRACE);
    }
}

/// A feed between two fetches.
struct Waiting {
    remote: Arc<Remote>,
    due: Instant,
    /// The fetch that is under way.
    running: Option<AbortHandle>,
    /// Asked for while it was being fetched, or so soon after that it waits.
    is_noticed: bool,
    started: Option<Instant>,
}

async fn work(orders: &Orders, store: &Store, news: &(impl Fn() + Send)) {
    let mut feeds: HashMap<Arc<str>, Waiting> = HashMap::new();
    let mut running: JoinSet<Report> = JoinSet::new();
    let mut names: HashMap<Id, Arc<str>> = HashMap::new();
    loop {
        let Told { remotes, notices, is_stopping } = std::mem::take(&mut *orders.told());
        if is_stopping {
            // Dropping the set ends what is under way.
            return;
        }
        if let Some(remotes) = remotes {
            replace(&mut feeds, remotes, store);
        }
        notice(&mut feeds, &notices);
        let now = Instant::now();
        while running.len() < AT_ONCE
            && let Some(feed) =
                feeds.values_mut().filter(|it| it.running.is_none() && it.due <= now).min_by_key(|it| it.due)
        {
            (feed.is_noticed, feed.started) = (false, Some(now));
            let (remote, store) = (Arc::clone(&feed.remote), store.clone());
            let name = Arc::clone(&remote.name);
            let task = running.spawn(async move { run(&remote, &store).await });
            names.insert(task.id(), name);
            feed.running = Some(task);
        }
        let waiting = feeds.values().filter(|it| it.running.is_none()).map(|it| it.due).min();
        let until = waiting.filter(|_| running.len() < AT_ONCE).unwrap_or(now + LONGEST_SLEEP);
        tokio::select! {
            () = orders.0.wake.notified() => {}
            () = sleep_until(until) => {}
            Some(done) = running.join_next_with_id() => {
                let (id, report) = match done {
                    Ok((id, report)) => (id, Some(report)),
                    // Reported by itself; the feed is tried again.
                    Err(error) => (error.id(), None),
                };
                if let Some(name) = names.remove(&id) {
                    if report.as_ref().is_some_and(is_news) {
                        news();
                    }
                    end(&mut feeds, &name, id, report);
                }
            }
        }
    }
}

/// Takes over the new configuration; what is being fetched is fetched to its end, unless it is another publisher's by now.
fn replace(feeds: &mut HashMap<Arc<str>, Waiting>, remotes: Vec<Remote>, store: &Store) {
    let mut old = std::mem::take(feeds);
    for remote in remotes {
        let memory = store.feed(&remote.name).state().unwrap_or_default();
        let due = Memory::of(&memory, &remote.publisher).due(&remote, clock::now());
        let mut before = old.remove(&remote.name);
        let is_same =
            before.as_ref().is_some_and(|it| it.remote.publisher.identity() == remote.publisher.identity());
        let running = before.as_mut().and_then(|it| it.running.take());
        if let Some(other) = running.as_ref().filter(|_| !is_same) {
            other.abort();
        }
        let mut waiting = Waiting {
            due: Instant::now() + due,
            running: running.filter(|_| is_same),
            is_noticed: before.as_ref().is_some_and(|it| it.is_noticed),
            started: before.and_then(|it| it.started),
            remote: Arc::new(remote),
        };
        if waiting.is_noticed {
            waiting.due = waiting.due.min(waiting.soonest());
        }
        feeds.insert(Arc::clone(&waiting.remote.name), waiting);
    }
}

fn notice(feeds: &mut HashMap<Arc<str>, Waiting>, notices: &BTreeSet<Name>) {
    for feed in feeds.values_mut() {
        if let Publisher::Zone(primary) = &feed.remote.publisher
            && notices.contains(&primary.zone)
        {
            feed.is_noticed = true;
            feed.due = feed.due.min(feed.soonest());
        }
    }
}

impl Waiting {
    /// When a notice is followed.
    fn soonest(&self) -> Instant {
        let now = Instant::now();
        self.started.map_or(now, |started| now.max(started + BETWEEN_NOTICES))
    }
}

fn is_news(report: &Report) -> bool {
    matches!(&report.result, Ok(fetched) if matches!(fetched.news, News::Version(Staged::Candidate(_), _)))
}

/// Says what came of a fetch, and when the next is due.
fn end(feeds: &mut HashMap<Arc<str>, Waiting>, name: &Arc<str>, id: Id, report: Option<Report>) {
    // It may be configured no more, or with another publisher.
    let is_its_own = |feed: &&mut Waiting| feed.running.as_ref().is_some_and(|running| running.id() == id);
    let Some(feed) = feeds.get_mut(name).filter(is_its_own) else { return };
    feed.running = None;
    let due = report.as_ref().map_or(LONGEST_SLEEP, |report| report.due);
    feed.due = Instant::now() + due;
    // What was said while the fetch was under way may not be in what came.
    if feed.is_noticed {
        feed.due = feed.due.min(feed.soonest());
    }
    let (feed, next) = (&**name, format!("{} s", due.as_secs()));
    let Some(Report { result, failures, is_expired, .. }) = report else { return };
    match result {
        Ok(fetched) => {
            if let Some((count, why)) = fetched.missing {
                tracing::warn!(feed, missing = count, %why, next, "not all of the feed could be fetched");
            }
            match fetched.news {
                News::None => tracing::debug!(feed, next, "the feed has not changed"),
                News::Version(staged, by) => {
                    let by = match by {
                        Some(Kind::Differences) => "IXFR",
                        Some(Kind::Whole) => "AXFR",
                        None => "HTTP",
                    };
                    let (digest, what) = match staged {
                        Staged::Candidate(digest) => (digest, "fetched a new version of the feed"),
                        Staged::Unchanged(digest) => (digest, "fetched the version that is in force"),
                        Staged::Known(digest) => (digest, "fetched a version that was refused before"),
                    };
                    tracing::info!(feed, version = digest.short(), by, next, "{what}");
                }
            }
        }
        Err(FetchError::Busy) => tracing::debug!(feed, next, "another process fetches the feed"),
        Err(why) => {
            tracing::warn!(feed, %why, failures, next, "the feed could not be fetched; its last version stays in force");
            if is_expired {
                tracing::error!(
                    feed,
                    "the zone's primary has not been reached for longer than its SOA record allows (expire); \
                     the last version stays in force all the same: an old list protects better than none"
                );
            }
        }
    }
}
