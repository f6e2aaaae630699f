//! Outlets: the query log sent on to other programs, as it is written.
//!
//! An outlet is a thread of low priority that follows the segments behind the workers (`follow`) and
//! hands what it finds (`batch`) to a file or a receiver (`link`). Nothing here is on a query's way: a receiver that is slow, down or stalls holds up
//! its own outlet alone. What it has not taken waits on the disk, within a bound; beyond that it is counted as missed.
//!
//! Each record goes out at least once. After a connection broke, or a kill, the last seconds are sent again, as
//! no receiver of these protocols says what it has kept.

mod batch;
pub(crate) mod follow;
mod link;
mod place;
mod tls;
mod work;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use follow::Since;
pub use tls::{Identity, IdentityError, Own};

use crate::evidence::export::{Format, Origin};
use crate::evidence::ledger::Ledger;

/// How long a stop waits for what is still to be sent.
const FLUSH: Duration = Duration::from_secs(2);
/// … and for a thread that a file system holds up.
const GRACE: Duration = Duration::from_secs(1);
/// Where outlets keep their places and what is not sent yet, in the log's folder: on its file system, so that a segment
/// can have two names.
const FOLDER: &str = "outlets";

/// One outlet's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// What reports and its folder call it.
    pub name: String,
    /// Where to.
    pub to: To,
    /// In which form.
    pub format: Format,
    /// Which records.
    pub scope: Scope,
    /// Whether a syslog header goes before each record.
    pub is_syslog: bool,
    /// How many octets of segments wait for the receiver; older ones are missed.
    pub backlog: u64,
}

/// Who takes what is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// A file, at its end.
    File(PathBuf),
    /// A Unix socket, of streams or datagrams.
    Unix(PathBuf),
    /// TCP.
    Tcp(SocketAddr),
    /// UDP.
    Udp(SocketAddr),
    /// TLS, and who must be there.
    Tls(SocketAddr, Identity),
}

impl std::fmt::Display for To {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Udp(address) => write!(f, "udp://{address}"),
            Self::Tls(address, identity) => write!(f, "tls://{address}#{}", identity.name()),
        }
    }
}

/// Which records go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Hits only.
    Hits,
    /// All.
    All,
}

/// What an outlet has done since the start.
#[derive(Debug, Default)]
pub struct Figures {
    sent: AtomicU64,
    missed: AtomicU64,
    is_connected: AtomicBool,
}

impl Figures {
    /// Records that were handed over; those that were sent again count again.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Records that will not be sent: they did not fit the backlog, or a datagram.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Whether there is somebody to send to.
    pub fn is_connected(&self) -> bool {
        self.is_connected.load(Ordering::Relaxed)
    }
}

/// Tells a thread to end, and by when.
#[derive(Debug, Default)]
struct Stop(OnceLock<Instant>);

impl Stop {
    /// By when to end; `None`: not yet.
    fn deadline(&self) -> Option<Instant> {
        self.0.get().copied()
    }

    fn by(&self, deadline: Instant) {
        // The first word counts.
        let _ = self.0.set(deadline);
    }
}

/// One that runs.
#[derive(Debug)]
struct Running {
    options: Options,
    stop: Arc<Stop>,
    figures: Arc<Figures>,
    thread: JoinHandle<()>,
}

/// All outlets of a server.
#[derive(Debug)]
pub struct Outlets {
    ledger: Arc<Ledger>,
    /// Tells this process from those before it.
    run: i64,
    running: Mutex<Vec<Running>>,
    /// Whether the first ones were started.
    has_begun: AtomicBool,
}

impl Outlets {
    /// Of the log that `ledger` keeps in the process that was started `now`, microseconds since 1970; nothing is sent yet.
    pub fn new(ledger: &Arc<Ledger>, now: i64) -> Self {
        let has_begun = AtomicBool::new(false);
        Self { ledger: Arc::clone(ledger), run: now, running: Mutex::default(), has_begun }
    }

    /// Runs these, and no others. One whose settings are as before goes on; one that is new begins with what is recorded from now
    /// on, and with the first record of this process where this is the first call; what one that is gone had not sent is given up.
    ///
    /// # Errors
    /// The system has no threads left.
    pub fn replace(&self, wanted: &[Options], origin: &Origin) -> io::Result<()> {
        let mut running = self.running();
        let is_first = !self.has_begun.swap(true, Ordering::AcqRel);
        let since = if is_first { Since::Start } else { Since::Now };
        let (mut kept, gone): (Vec<_>, Vec<_>) =
            running.drain(..).partition(|one| wanted.contains(&one.options) && !one.thread.is_finished());
        end(gone);
        self.remove_all_but(wanted);
        for options in wanted {
            if kept.iter().all(|one| one.options != *options) {
                match self.start(options, origin, since) {
                    Ok(one) => kept.push(one),
                    Err(error) => {
                        *running = kept;
                        return Err(error);
                    }
                }
            }
        }
        *running = kept;
        Ok(())
    }

    /// What each has done since it was started, by its name.
    pub fn figures(&self) -> Vec<(String, Arc<Figures>)> {
        self.running().iter().map(|one| (one.options.name.clone(), Arc::clone(&one.figures))).collect()
    }

    /// Sends what is still to be sent, as far as that takes no longer than a moment, and ends all.
    pub fn stop(&self) {
        end(self.running().drain(..).collect());
    }

    fn running(&self) -> MutexGuard<'_, Vec<Running>> {
        // Whatever panicked, the list is whole.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, options: &Options, origin: &Origin, since: Since) -> io::Result<Running> {
        let (stop, figures) = (Arc::<Stop>::default(), Arc::<Figures>::default());
        let own = self.ledger.folder().join(FOLDER).join(&options.name);
        let mut work = work::Work::new(
            options.clone(),
            origin.clone(),
            Arc::clone(&self.ledger),
            own,
            (self.run, since),
            Arc::clone(&stop),
            Arc::clone(&figures),
        );
        let thread = std::thread::Builder::new()
            .name(format!("outlet-{}", options.name))
            .spawn(move || work.work())?;
        Ok(Running { options: options.clone(), stop, figures, thread })
    }

    /// Gives up what outlets that are no longer there had not sent: it would hold its room for good.
    fn remove_all_but(&self, wanted: &[Options]) {
        let Ok(entries) = fs::read_dir(self.ledger.folder().join(FOLDER)) else { return };
        for entry in entries.flatten() {
            if wanted.iter().all(|options| entry.file_name() != *options.name) {
                place::remove(&entry.path());
            }
        }
    }
}

/// Tells all to end before it waits for the first.
fn end(gone: Vec<Running>) {
    let deadline = Instant::now() + FLUSH;
    for one in &gone {
        one.stop.by(deadline);
        one.thread.thread().unpark();
    }
    for one in gone {
        while !one.thread.is_finished() && Instant::now() < deadline + GRACE {
            std::thread::sleep(Duration::from_millis(2));
        }
        let (sent, missed) = (one.figures.sent(), one.figures.missed());
        if one.thread.is_finished() {
            // A panic was reported already.
            let _ = one.thread.join();
            tracing::info!(outlet = one.options.name, sent, missed, "the outlet has ended");
        } else {
            tracing::warn!(
                outlet = one.options.name, to = %one.options.to, sent, missed,
                "the outlet does not end; it is left behind with its last seconds, which are sent again at the next start"
            );
        }
    }
}
