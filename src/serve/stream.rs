//! The door of all stream transports: who is let in, for how long, and as whom.
//!
//! TCP, DoT, DoH and DoQ share one count of connections, in all and a client; those of strangers are counted
//! apart. What is spoken behind the door is the transports' business.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::apply::Access;
use super::pipeline::{Arrival, Pipeline, Step};
use super::proxy;
use crate::client::admission::{Admission, Ticket};
use crate::listener::Acceptor;

/// Connections at once of clients that are not answered, in all and of each.
const STRANGERS: usize = 32;
const STRANGERS_EACH: usize = 2;
/// … and how long one may stay without a query.
const STRANGERS_IDLE: Duration = Duration::from_secs(2);
/// Until then a connection must have said who asks, and agreed on keys.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// What all stream transports share. Its clones share the counts.
#[derive(Clone)]
pub struct Door {
    pub(super) pipeline: Arc<Pipeline>,
    idle: Duration,
    admission: Admission,
    strangers: Admission,
}

/// A connection that was let in.
pub(super) struct Guest {
    pub(super) client: IpAddr,
    /// How long it may stay without a query, and not read its answers.
    pub(super) idle: Duration,
    _ticket: Ticket,
}

/// A connection at the door.
enum Knock {
    Guest(Guest),
    /// It is a balancer's, and has yet to say whose.
    Balancer(Ticket),
}

impl Door {
    /// `admission` caps the connections of all transports together; one that asks nothing for `idle` is
    /// closed.
    pub fn new(pipeline: Arc<Pipeline>, idle: Duration, admission: Admission) -> Self {
        Self { pipeline, idle, admission, strangers: Admission::new(STRANGERS, STRANGERS_EACH) }
    }

    fn knock(&self, peer: IpAddr) -> Option<Knock> {
        if self.is_balancer(peer) {
            return self.admit_unnamed().map(Knock::Balancer);
        }
        self.admit(peer, None).map(Knock::Guest)
    }

    /// Whether connections from `peer` must start with a PROXY header.
    pub(super) fn is_balancer(&self, peer: IpAddr) -> bool {
        self.pipeline.state().proxies.as_ref().is_some_and(|proxies| proxies.has(peer))
    }

    /// Keeps a place for a client that has yet to show who it is.
    pub(super) fn admit_unnamed(&self) -> Option<Ticket> {
        self.admission.admit_unnamed()
    }

    /// Lets a client in, unless that would be one connection too many.
    pub(super) fn admit(&self, client: IpAddr, unnamed: Option<Ticket>) -> Option<Guest> {
        // Strangers are told that they are refused, and must not fill the places of those who may ask.
        let (ticket, idle) = match (self.pipeline.state().access(client), unnamed) {
            (Access::Allowed, Some(unnamed)) => (self.admission.name(unnamed, client), self.idle),
            (Access::Allowed, None) => (self.admission.admit(client), self.idle),
            (Access::Prohibited, _) => (self.strangers.admit(client), self.idle.min(STRANGERS_IDLE)),
        };
        ticket.map(|ticket| Guest { client, idle, _ticket: ticket })
    }

    /// How long a connection of a client that is answered may stay without a query.
    pub(super) fn idle_time(&self) -> Duration {
        self.idle
    }

    /// How long a connection has to become useful.
    pub(super) fn handshake_time(&self) -> Duration {
        self.idle.min(HANDSHAKE)
    }

    /// Lets a balancer's connection in for the client that it names.
    async fn named(&self, stream: &mut TcpStream, peer: IpAddr, unnamed: Ticket) -> io::Result<Guest> {
        let header = timeout(self.handshake_time(), proxy::read(stream))
            .await
            .unwrap_or_else(|elapsed| Err(io::Error::new(io::ErrorKind::TimedOut, elapsed)));
        let header = header.inspect_err(|error| {
            // A balancer that tries whether the port is open sends nothing.
            if let (Some(proxies), io::ErrorKind::Other) = (&self.pipeline.state().proxies, error.kind()) {
                proxies.report(peer, error);
            }
        })?;
        let client = header.source.map_or(peer, |source| source.ip());
        self.admit(client, Some(unnamed)).ok_or_else(|| io::Error::other("too many connections"))
    }
}

/// Lets connections in until `stop` says so, and has `serve` speak with them; then waits until each has ended.
/// `purpose` names the listeners in diagnostics.
pub(super) async fn accept<F>(
    purpose: &'static str,
    listeners: Vec<TcpListener>,
    door: Door,
    mut stop: watch::Receiver<bool>,
    serve: impl Fn(TcpStream, Guest, watch::Receiver<bool>) -> F + Clone + Send + Sync + 'static,
) where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let mut acceptor = Acceptor::new(purpose, listeners);
    let mut connections = JoinSet::new();
    loop {
        let stopped = stop.clone();
        let (mut stream, peer): (TcpStream, SocketAddr) = tokio::select! {
            accepted = acceptor.accept() => accepted,
            // Only reaps: a connection reports by itself.
            Some(_) = connections.join_next() => continue,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let peer = peer.ip().to_canonical();
        let Some(knock) = door.knock(peer) else { continue };
        let (door, serve) = (door.clone(), serve.clone());
        connections.spawn(async move {
            let served = async {
                stream.set_nodelay(true)?;
                let guest = match knock {
                    Knock::Guest(guest) => guest,
                    Knock::Balancer(unnamed) => door.named(&mut stream, peer, unnamed).await?,
                };
                serve(stream, guest, stopped).await
            };
            if let Err(error) = served.await {
                tracing::debug!(%peer, %error, "{purpose}: a connection ended");
            }
        });
    }
    drop(acceptor);
    // Each reads no more, and ends when its last answer is sent.
    while connections.join_next().await.is_some() {}
}

/// Answers one query of a transport that carries each by itself; `None` where none is to be sent.
///
/// Whoever waits for it may go away: the query is finished and recorded all the same.
pub(super) async fn answer(pipeline: &Arc<Pipeline>, packet: &[u8], arrival: Arrival) -> Option<Vec<u8>> {
    let state = pipeline.state();
    let mut message = Vec::with_capacity(512);
    let step =
        pipeline.with_journal(|journal| pipeline.front_one(&state, packet, arrival, journal, &mut message));
    match step {
        Step::Silent => None,
        Step::Answered => Some(message),
        Step::Wait(job) => {
            drop(state);
            let pipeline = Arc::clone(pipeline);
            let finished = tokio::spawn(async move {
                // It waits for no upstream any more: a client that reads slowly holds up only itself.
                drop(pipeline.finish(*job, &mut message).await);
                message
            });
            finished.await.ok().filter(|message| !message.is_empty())
        }
    }
}
