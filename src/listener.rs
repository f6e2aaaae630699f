//! TCP listeners: bound as servers need it, and patient with what accept(2) may say.
//!
//! How many are let in and what is served is the caller's business.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::client::admission::{Admission, Ticket};

const BACKLOG: u32 = 1024;
/// The pause after an accept error; doubled with each further one in a row.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// … up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Binds a listener. An IPv6 wildcard takes no IPv4 connections, so that both can be listened on.
///
/// # Errors
/// What the system said.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Connections of an earlier process in TIME-WAIT must not keep the port.
    socket.set_reuseaddr(true)?;
    if address.is_ipv6() {
        socket2::SockRef::from(&socket).set_only_v6(true)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts from several listeners in turn.
pub struct Acceptor {
    purpose: &'static str,
    listeners: Vec<TcpListener>,
    pause: Option<Duration>,
    resume_at: Instant,
}

impl Acceptor {
    /// Accepts from `listeners`; `purpose` names them in diagnostics.
    pub fn new(purpose: &'static str, listeners: Vec<TcpListener>) -> Self {
        Self { purpose, listeners, pause: None, resume_at: Instant::now() }
    }

    /// Waits for the next connection. After an error of the whole process (no descriptors or memory
    /// left) it says so once and tries on, ever less often. May be dropped at any time.
    pub async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            sleep_until(self.resume_at).await;
            match self.poll_all().await {
                Ok(accepted) => {
                    self.pause = None;
                    return accepted;
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    if self.pause.is_none() {
                        tracing::warn!(%error, "{}: connections cannot be accepted; trying on", self.purpose);
                    }
                    let pause = next_pause(self.pause);
                    self.pause = Some(pause);
                    self.resume_at = Instant::now() + pause;
                }
            }
        }
    }

    async fn poll_all(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        // Whoever was first goes last the next time: no listener starves the others.
        if !self.listeners.is_empty() {
            self.listeners.rotate_left(1);
        }
        poll_fn(|context| {
            for listener in &self.listeners {
                if let Poll::Ready(accepted) = listener.poll_accept(context) {
                    return Poll::Ready(accepted);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// How long connections may finish by themselves after the end was told.
const GRACE: Duration = Duration::from_secs(1);

/// Has `serve` serve every connection that `admission` lets in, until `shutdown` completes; those that are open then
/// have a second to finish. Dropping the future closes everything at once. `purpose` names the listeners in diagnostics.
pub async fn attend<F>(
    purpose: &'static str,
    listeners: Vec<TcpListener>,
    admission: &Admission,
    shutdown: impl Future<Output = ()>,
    serve: impl Fn(TcpStream, IpAddr, Ticket) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let serve = |stream, peer: SocketAddr, ticket| serve(stream, peer.ip().to_canonical(), ticket);
    attend_all(purpose, listeners, admission, shutdown, |_, _| {}, serve).await;
}

/// As [`attend`], and tells `turned_away` of each connection that was not let in before that is closed. The other end is as accept(2)
/// told it: one that has gone since is known all the same.
pub async fn attend_all<F>(
    purpose: &'static str,
    listeners: Vec<TcpListener>,
    admission: &Admission,
    shutdown: impl Future<Output = ()>,
    turned_away: impl Fn(&TcpStream, SocketAddr),
    serve: impl Fn(TcpStream, SocketAddr, Ticket) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    let mut acceptor = Acceptor::new(purpose, listeners);
    let mut shutdown = pin!(shutdown);
    loop {
        let (stream, peer) = tokio::select! {
            () = &mut shutdown => break,
            // Only reaps: a connection has nothing to report.
            Some(_) = connections.join_next() => continue,
            accepted = acceptor.accept() => accepted,
        };
        let client = peer.ip().to_canonical();
        match admission.admit(client) {
            Some(ticket) => {
                connections.spawn(serve(stream, peer, ticket));
            }
            None => {
                tracing::debug!(%client, "{purpose}: too many connections");
                turned_away(&stream, peer);
            }
        }
    }
    drop(acceptor);
    let finished = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(GRACE, finished).await;
    connections.shutdown().await;
}

/// Whether an accept error concerns a connection that died in the queue, not the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

fn next_pause(pause: Option<Duration>) -> Duration {
    pause.map_or(FIRST_PAUSE, |pause| (pause * 2).min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_waited_out_ever_longer_up_to_a_bound() {
        let mut pause = None;
        let pauses: Vec<Duration> = std::iter::repeat_with(|| {
            pause = Some(next_pause(pause));
            pause.unwrap()
        })
        .take(8)
        .collect();
        assert_eq!(pauses[0], FIRST_PAUSE);
        assert_eq!(pauses[1], 2 * FIRST_PAUSE);
        assert_eq!(pauses[7], LONGEST_PAUSE);
    }

    #[tokio::test]
    async fn every_listener_is_served() {
        let listeners =
            vec![bind("127.0.0.1:0".parse().unwrap()).unwrap(), bind("[::1]:0".parse().unwrap()).unwrap()];
        let addresses: Vec<SocketAddr> = listeners.iter().map(|one| one.local_addr().unwrap()).collect();
        let mut acceptor = Acceptor::new("test", listeners);
        for address in addresses {
            let client = TcpStream::connect(address).await.unwrap();
            let (_, peer) = acceptor.accept().await;
            assert_eq!(peer, client.local_addr().unwrap());
        }
    }
}
