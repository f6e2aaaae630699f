//! Connections to upstreams: TCP, TLS, HTTPS and QUIC, each opened when it is needed and kept for what comes next.
//!
//! Here is when a connection is opened, shared, given up and closed; what a question looks like on one is the
//! protocols' files' matter, whom to ask [`super::forward`]'s. A line has one connection at a time, on which a bounded
//! number of questions are on their way. One that dies takes none with it: each is asked once more, on a new one.

mod framed;
mod https;
mod quic;
pub mod tls;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;

use super::exchange::{Ask, Edns};
use super::upstream::{Protocol, Upstream};

/// Questions on their way on one connection; more wait for their turn, within their deadline.
const IN_FLIGHT: usize = 256;
/// How long a connection may take to be opened, handshake included.
const OPENING: Duration = Duration::from_secs(3);
/// After so long without a question a connection is closed (RFC 7766, section 6.2.3: by the client, for the
/// server's sake).
const IDLE: Duration = Duration::from_secs(15);
/// How long no new connection is tried after one could not be opened: doubled with each further failure up to
/// the second value.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A connection on which questions wait for so long and nothing is answered is dead, whatever the system thinks.
/// Half of what a query has, so that another one still helps.
const STALL: Duration = Duration::from_secs(2);

/// Why a line gave no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum LineError {
    /// No connection can be opened, or could be a moment ago.
    #[error("no connection: {0}")]
    Closed(Arc<io::Error>),
    /// Two connections ended with the question on its way.
    #[error("the connection ended")]
    Ended,
    /// What came was no answer: another HTTP status, too long.
    #[error("{0}")]
    NoAnswer(&'static str),
}

/// The way to one upstream over connections.
#[derive(Debug)]
pub(super) struct Line {
    upstream: Upstream,
    slot: Mutex<Slot>,
    begun: Instant,
}

#[derive(Debug)]
enum Slot {
    /// There is none. After failures, none is tried before this time, and this is why.
    Closed {
        failures: u32,
        pause: Option<(Instant, Arc<io::Error>)>,
    },
    /// One is being opened; who waits for it hears what came of it.
    Opening(watch::Receiver<Option<Opened>>),
    Open(Arc<Open>),
}

type Opened = Result<Arc<Open>, Arc<io::Error>>;

/// A connection, and who uses it.
#[derive(Debug)]
struct Open {
    connection: Connection,
    places: Semaphore,
    /// When it was last used, in milliseconds after [`Line::begun`].
    used_at: AtomicU64,
}

#[derive(Debug)]
enum Connection {
    Framed(framed::Connection),
    Https(https::Connection),
    Quic(quic::Connection),
}

impl Line {
    /// The way to `upstream`, no connection opened yet.
    pub(super) fn new(upstream: Upstream) -> Arc<Self> {
        let slot = Mutex::new(Slot::Closed { failures: 0, pause: None });
        Arc::new(Self { upstream, slot, begun: Instant::now() })
    }

    /// Asks, on the connection that there is or on a new one; on another one where it ends meanwhile. Waits for as
    /// long as the caller lets it. What comes has id 0, whatever it had on its way (RFC 8484, section 4.1; RFC 9250,
    /// section 4.2.1), and is not looked at.
    pub(super) async fn ask(self: &Arc<Self>, ask: &Ask, edns: Edns) -> Result<Vec<u8>, LineError> {
        let mut is_second = false;
        loop {
            let open = self.open().await?;
            open.used_at.store(self.now(), Ordering::Relaxed);
            let answer = {
                // The semaphore is never closed.
                let _place = open.places.acquire().await.map_err(|_| LineError::Ended)?;
                match &open.connection {
                    Connection::Framed(connection) => connection.ask(ask, edns).await,
                    Connection::Https(connection) => connection.ask(ask, edns).await,
                    Connection::Quic(connection) => connection.ask(ask, edns).await,
                }
            };
            open.used_at.store(self.now(), Ordering::Relaxed);
            match answer {
                Err(LineError::Ended) if !is_second => {
                    self.forget(&open);
                    is_second = true;
                }
                answer => return answer,
            }
        }
    }

    /// Whose way it is.
    pub(super) fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// The connection that there is, or a new one.
    async fn open(self: &Arc<Self>) -> Result<Arc<Open>, LineError> {
        let mut opening = {
            let mut slot = self.slot();
            match &*slot {
                Slot::Open(open) if !open.is_over() => return Ok(Arc::clone(open)),
                Slot::Opening(opening) => opening.clone(),
                Slot::Closed { pause: Some((until, why)), .. } if *until > Instant::now() => {
                    return Err(LineError::Closed(Arc::clone(why)));
                }
                Slot::Closed { .. } | Slot::Open(_) => {
                    let failures = if let Slot::Closed { failures, .. } = &*slot { *failures } else { 0 };
                    let (opened, opening) = watch::channel(None);
                    *slot = Slot::Opening(opening.clone());
                    // In its own task: whoever asked first may give up, and others wait for it too.
                    let line = Arc::clone(self);
                    tokio::spawn(async move { opened.send_replace(Some(line.dial(failures).await)) });
                    opening
                }
            }
        };
        match opening.wait_for(Option::is_some).await.ok().and_then(|opened| opened.clone()) {
            Some(opened) => opened.map_err(LineError::Closed),
            None => {
                // Its task has panicked: the next one tries anew.
                *self.slot() = Slot::Closed { failures: 0, pause: None };
                Err(LineError::Ended)
            }
        }
    }

    /// Opens a connection and puts it, or why there is none, in the slot.
    async fn dial(self: &Arc<Self>, failures: u32) -> Opened {
        let opened = match timeout(OPENING, connect(&self.upstream)).await {
            Ok(opened) => opened,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "it took too long to open")),
        };
        match opened {
            Ok(connection) => {
                let open = Arc::new(Open {
                    connection,
                    places: Semaphore::new(IN_FLIGHT),
                    used_at: AtomicU64::new(self.now()),
                });
                *self.slot() = Slot::Open(Arc::clone(&open));
                tokio::spawn(keep(Arc::downgrade(self), Arc::downgrade(&open)));
                Ok(open)
            }
            Err(error) => {
                if failures == 0 && !self.upstream.is_plain() {
                    tracing::warn!(upstream = %self.upstream, %error, "no connection to an upstream");
                }
                let error = Arc::new(error);
                let pause = SHORTEST_PAUSE.saturating_mul(1 << failures.min(10)).min(LONGEST_PAUSE);
                *self.slot() = Slot::Closed {
                    failures: failures.saturating_add(1),
                    pause: Some((Instant::now() + pause, Arc::clone(&error))),
                };
                Err(error)
            }
        }
    }

    /// Takes a connection out of the slot, so that the next question opens another.
    fn forget(&self, open: &Arc<Open>) {
        let mut slot = self.slot();
        if matches!(&*slot, Slot::Open(other) if Arc::ptr_eq(other, open)) {
            *slot = Slot::Closed { failures: 0, pause: None };
        }
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        // Whatever panicked, a slot is whole.
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since the line began.
    fn now(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }
}

impl Open {
    fn is_over(&self) -> bool {
        match &self.connection {
            Connection::Framed(connection) => connection.is_over(),
            Connection::Https(connection) => connection.is_over(),
            Connection::Quic(connection) => connection.is_over(),
        }
    }
}

/// Closes a connection once nobody has used it for a while.
async fn keep(line: Weak<Line>, open: Weak<Open>) {
    loop {
        sleep(IDLE / 4).await;
        let (Some(line), Some(open)) = (line.upgrade(), open.upgrade()) else { return };
        let idle = Duration::from_millis(line.now().saturating_sub(open.used_at.load(Ordering::Relaxed)));
        let is_unused = idle >= IDLE && open.places.available_permits() == IN_FLIGHT;
        if is_unused || open.is_over() {
            // The last one who holds it closes it.
            line.forget(&open);
            return;
        }
    }
}

async fn connect(upstream: &Upstream) -> io::Result<Connection> {
    if let Protocol::Quic(identity) = &upstream.protocol {
        return quic::Connection::open(upstream.address, identity).await.map(Connection::Quic);
    }
    let stream = TcpStream::connect(upstream.address).await?;
    stream.set_nodelay(true)?;
    match &upstream.protocol {
        Protocol::Plain | Protocol::Quic(_) => Ok(Connection::Framed(framed::Connection::open(stream))),
        Protocol::Tls(identity) => {
            let stream = encrypt(identity, stream).await?;
            Ok(Connection::Framed(framed::Connection::open(stream)))
        }
        Protocol::Https(identity, path) => {
            let stream = encrypt(identity, stream).await?;
            let port = upstream.address.port();
            https::Connection::open(stream, &identity.name(), port, path).await.map(Connection::Https)
        }
    }
}

async fn encrypt(
    identity: &tls::Identity,
    stream: TcpStream,
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let connector = TlsConnector::from(Arc::clone(identity.config()));
    connector.connect(identity.server_name().clone(), stream).await
}
