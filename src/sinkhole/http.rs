//! The sinkhole's HTTP/1.1 listener: whatever is asked for, the answer is the landing page.
//!
//! hyper reads and writes the messages; sockets, caps and time-outs are ours. What a host means and
//! whose machine asks is [`Site`]'s to say; no sentence and no markup here.
//!
//! **The status is 200**, whatever the method, host and path, for three reasons. The page must reach
//! a person: agencies' proxies and old browsers put pages of their own in place of an error's. A bot
//! that is told of an error turns to its next server, which no feed may list yet; one that is content
//! stays where it is seen. And nothing takes the page for the thing it wanted: a sub-resource is
//! refused by its type (`nosniff`), a preflight for want of CORS headers, and no cache keeps it.
//! The exception is `CONNECT`, where 200 would not mean a page but an open tunnel: 403.
//!
//! **Everything is bounded**: connections in all and by client, the size of a request's head, the time
//! it may take, and the life of a connection, which ends with its first answer. Bodies are thrown away.
//! A connection past a cap is closed at once, so that no client waits on another one's account. IPv6
//! clients are counted by address: one that owns a /64 is held by the total only.

use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::page::{self, Agency, Listing, Notice, SECURITY_POLICY};
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

/// Answers every request on `listeners` with the landing page, until `shutdown` completes.
///
/// Open connections then get a second to finish. Dropping the future closes everything at once.
/// `options.listen` is not looked at: the listeners are open.
pub async fn serve(
    listeners: Vec<TcpListener>,
    site: Arc<impl Site>,
    options: Options,
    shutdown: impl Future<Output = ()>,
) {
    let admission = Admission::new(options.connections, options.per_client);
    let options = Arc::new(options);
    listener::attend("landing page", listeners, &admission, shutdown, |stream, client, ticket| {
        connection(stream, client, ticket, Arc::clone(&site), Arc::clone(&options))
    })
    .await;
}

async fn connection(
    mut stream: TcpStream,
    client: IpAddr,
    _ticket: Ticket,
    site: Arc<impl Site>,
    options: Arc<Options>,
) {
    let exchange = async {
        let service = service_fn(|request: Request<Incoming>| {
            let answer = answer(&request, client, site.as_ref(), &options.time_zone);
            async { Ok::<_, Infallible>(answer) }
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

fn answer(
    request: &Request<Incoming>,
    client: IpAddr,
    site: &impl Site,
    time_zone: &TimeZone,
) -> Response<Full<Bytes>> {
    let host = asked_host(request);
    let host = host.as_deref();
    // `?` quotes and escapes what the client sent.
    tracing::debug!(%client, ?host, method = ?request.method().as_str(), path = ?request.uri().path(), "visit");
    let finding = site.look_up(host, client);
    let notice = Notice {
        host,
        listing: finding.listing.as_ref(),
        client,
        agency: finding.agency.as_ref(),
        time: Timestamp::now(),
        time_zone,
    };
    let mut response = Response::new(Full::new(Bytes::from(page::render(&notice))));
    if request.method() == Method::CONNECT {
        *response.status_mut() = StatusCode::FORBIDDEN;
    }
    response.headers_mut().extend(HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
}

const HEADERS: [(HeaderName, &str); 7] = [
    (header::CONTENT_TYPE, "text/html; charset=utf-8"),
    (header::CONTENT_LANGUAGE, "vi, en"),
    // The name may be taken off the list, and then the real site must not hide behind this page.
    (header::CACHE_CONTROL, "no-store"),
    (header::CONTENT_SECURITY_POLICY, SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("x-robots-tag"), "noindex"),
];

/// The host that a request names, without its port: an absolute target goes before the `Host`
/// field (RFC 9112, section 3.2.2). `None` where neither names one.
fn asked_host(request: &Request<Incoming>) -> Option<String> {
    let host = match request.uri().host() {
        Some(host) => host.to_owned(),
        None => {
            let field = request.headers().get(header::HOST)?;
            without_port(&String::from_utf8_lossy(field.as_bytes())).to_owned()
        }
    };
    (!host.is_empty()).then_some(host)
}

/// Takes the port off, and leaves an IPv6 address whole: only one in brackets has a port.
fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port))
            if port.bytes().all(|b| b.is_ascii_digit()) && (!host.contains(':') || host.ends_with(']')) =>
        {
            host
        }
        _ => authority,
    }
}

#[cfg(test)]
mod tests;
