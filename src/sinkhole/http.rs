//! The sinkhole's HTTP/1.1 listener: sockets, caps and time-outs.
//!
//! hyper reads and writes the messages; what is answered is [`Reception`]'s business. What a host means and
//! whose machine asks is [`Site`]'s to say; no sentence and no markup here.
//!
//! **Everything is bounded**: connections in all and by client, the size of a request's head, the time
//! it may take, and the life of a connection, which ends with its first answer. Bodies are thrown away, but for the
//! page's own form.
//! A connection past a cap is closed at once, so that no client waits on another one's account. IPv6
//! clients are counted by address: one that owns a /64 is held by the total only.

use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::capture::{self, Rewound, Spoken};
use super::page::{self, Agency, Listing};
use super::ports;
use super::reception::Reception;
use super::visits::{Visitor, Visits};
use crate::client::admission::{Admission, Ticket};
use crate::listener;

/// Knows what the landing page tells. The daemon implements it over the policy and the agencies.
pub trait Site: Send + Sync + 'static {
    /// Says why `host` is listed and whose machine `client` is.
    ///
    /// Called once for each request, on the listener's task: it must not block. `host` is what the
    /// client sent, without port: any text at all, `None` where there was none.
    fn look_up(&self, host: Option<&str>, client: IpAddr) -> Finding;
}

/// What a [`Site`] knows of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Finding {
    /// Why the host is listed; `None` when it is not.
    pub listing: Option<Listing>,
    /// Whose machine it is, if known.
    pub agency: Option<Agency>,
}

/// The listener's settings, each with its one default.
#[derive(Debug, Clone)]
pub struct Options {
    /// The addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// Most connections open at once, over all addresses.
    pub connections: usize,
    /// Most connections open at once from one client address.
    pub per_client: usize,
    /// The time in which the whole head of a request must have come.
    pub head_timeout: Duration,
    /// The longest life of a connection.
    pub life: Duration,
    /// Most bytes of a request's head; values below 8 KiB count as 8 KiB.
    pub head_bytes: usize,
    /// The zone in which the page tells the time.
    pub time_zone: TimeZone,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 8080))],
            connections: 512,
            per_client: 16,
            head_timeout: Duration::from_secs(5),
            life: Duration::from_secs(30),
            head_bytes: 16 * 1024,
            time_zone: page::vietnam(),
        }
    }
}

/// The least that hyper takes for its read buffer.
const MIN_HEAD_BYTES: usize = 8 * 1024;
/// Most bytes of an unread request that are thrown away before the connection is closed hard …
const MAX_DISCARDED: u64 = 256 * 1024;
/// … and the longest time that is spent on it.
const LINGER: Duration = Duration::from_secs(2);

/// Has `reception` answer every request on `listeners`, and takes down who comes, until `shutdown` completes.
///
/// Open connections then get a second to finish. Dropping the future closes everything at once.
/// `options.listen` is not looked at: the listeners are open.
pub async fn serve(
    listeners: Vec<TcpListener>,
    reception: Arc<Reception>,
    options: Options,
    visits: Visits,
    shutdown: impl Future<Output = ()>,
) {
    let admission = Admission::new(options.connections, options.per_client);
    let options = Arc::new(options);
    let turned_away = |stream: &TcpStream, peer| ports::turn_away(stream, peer, &visits);
    listener::attend_all(
        "landing page",
        listeners,
        &admission,
        shutdown,
        turned_away,
        |stream, peer, ticket| {
            connection(stream, peer, ticket, Arc::clone(&reception), Arc::clone(&options), visits.clone())
        },
    )
    .await;
}

async fn connection(
    mut stream: TcpStream,
    peer: SocketAddr,
    _ticket: Ticket,
    reception: Arc<Reception>,
    options: Arc<Options>,
    visits: Visits,
) {
    let Some(visitor) = Visitor::of(&stream, peer) else { return };
    let beginning = capture::read(&mut stream, options.head_timeout.min(options.life)).await;
    visits.note(visitor, &beginning);
    if beginning.spoken != Spoken::Nothing {
        converse(Rewound::new(beginning.octets, stream), visitor.client, reception, options).await;
    }
}

/// Answers the request on a stream, encrypted or not; its end is the stream's.
pub async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    client: IpAddr,
    reception: Arc<Reception>,
    options: Arc<Options>,
) {
    let exchange = async {
        let service = service_fn(|request: Request<Incoming>| async {
            Ok::<_, Infallible>(reception.receive(request, client, Timestamp::now()).await)
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(options.head_timeout)
            .max_buf_size(options.head_bytes.max(MIN_HEAD_BYTES))
            .keep_alive(false)
            // A bot may well send its request and its FIN together.
            .half_close(true)
            .serve_connection(TokioIo::new(&mut stream), service)
            .await;
        if let Err(error) = served {
            tracing::debug!(%client, %error, "no request for the landing page");
            if error.is_timeout() {
                return;
            }
        }
        // Closing with unread bytes in the socket resets the connection, which can take the answer
        // back before it is read (RFC 9112, section 9.6): send our FIN, then read on to theirs. hyper
        // sends it too, but not after a request for an upgrade or a tunnel.
        let _ = stream.shutdown().await;
        let mut rest = stream.take(MAX_DISCARDED);
        let _ = tokio::time::timeout(LINGER, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
    };
    if tokio::time::timeout(options.life, exchange).await.is_err() {
        tracing::debug!(%client, "a connection to the landing page outlived its time");
    }
}

#[cfg(test)]
mod tests;
