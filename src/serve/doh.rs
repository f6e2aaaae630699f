//! DNS over HTTPS (RFC 8484): GET and POST, over HTTP/1.1 and HTTP/2.
//!
//! hyper reads and writes the messages; sockets, caps and time-outs are ours. What DNS has to say is status 200,
//! whatever its rcode; a request that is no query gets an error of HTTP and a line of plain text that says what
//! is wrong. HTTP/3 is not spoken: DNS over QUIC does what it would.
//!
//! **Everything is bounded**: the size of a head and of a body, the time that either may take, requests of one
//! connection at once, bodies of one connection that are being read, what is held for them, and the time that a
//! connection may stay without a request.

use std::fmt;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::server::TlsStream;

use super::pipeline::{Arrival, Pipeline};
use super::stream::{self, Door, Guest};
use super::tls;
use crate::credentials::Credentials;
use crate::evidence::record::Transport;
use crate::wire::{self, Query, Reject, Section, rtype};

const H2: &[u8] = b"h2";
/// What is negotiated, the better one first; without it HTTP/1.1 is spoken.
const PROTOCOLS: &[&[u8]] = &[H2, b"http/1.1"];
/// The media type of a DNS message (RFC 8484, section 6).
const MEDIA_TYPE: &str = "application/dns-message";
/// Requests of one HTTP/2 connection at once; RFC 9113, section 6.5.2, wants no fewer.
const STREAMS: u32 = 100;
/// Bodies of one connection that are read at once. A client that sends them slowly waits for itself.
const BODIES: usize = 4;
/// Octets of a body after which the rest of one that is too long is not waited for.
const DISCARDED: usize = 4 * wire::MAX_MESSAGE;
/// Octets that a client may send ahead, of one body and of all together.
const WINDOW: u32 = 1 << 16;
const WINDOWS: u32 = BODIES as u32 * WINDOW;
/// Octets of a head: the longest query in a GET's target takes 87 thousand, but no sane one a tenth.
const HEAD: usize = 16 * 1024;
/// Octets of answers that wait for one stream of a client to read.
const UNSENT: usize = 1 << 17;

/// Serves DNS over HTTPS at `path` until `stop` says so.
///
/// # Errors
/// The system has no random numbers.
pub fn run(
    listeners: Vec<TcpListener>,
    credentials: &Arc<Credentials>,
    path: String,
    door: Door,
    stop: watch::Receiver<bool>,
) -> Result<impl Future<Output = ()> + Send + use<>, rustls::Error> {
    let acceptor = tls::acceptor(credentials, PROTOCOLS)?;
    let path: Arc<str> = path.into();
    let served = door.clone();
    let serve = move |stream: TcpStream, guest: Guest, stop| {
        let (acceptor, path, door) = (acceptor.clone(), Arc::clone(&path), served.clone());
        async move {
            let stream = tls::shake_hands(&acceptor, stream, &door).await?;
            let visit = Visit {
                path,
                pipeline: Arc::clone(&door.pipeline),
                activity: Activity::default(),
                bodies: Semaphore::new(BODIES),
                guest,
            };
            connection(stream, Arc::new(visit), stop).await.map_err(io::Error::other)
        }
    };
    Ok(stream::accept("DNS over HTTPS", listeners, door, stop, serve))
}

/// One connection.
struct Visit {
    path: Arc<str>,
    pipeline: Arc<Pipeline>,
    activity: Activity,
    bodies: Semaphore,
    guest: Guest,
}

/// Speaks HTTP until the client ends it, asks nothing for too long, or `stop` says so.
async fn connection(
    stream: TlsStream<TcpStream>,
    visit: Arc<Visit>,
    stop: watch::Receiver<bool>,
) -> hyper::Result<()> {
    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(H2);
    let stream = TokioIo::new(stream);
    let service = service_fn(|request| {
        let visit = Arc::clone(&visit);
        async move { visit.respond(request).await }
    });
    if is_h2 {
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOWS)
            .max_header_list_size(HEAD as u32)
            .max_send_buf_size(UNSENT)
            .serve_connection(stream, service);
        let connection = pin!(connection);
        until_idle(connection, http2::Connection::graceful_shutdown, &visit, stop).await
    } else {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(visit.guest.idle)
            .max_buf_size(HEAD)
            .serve_connection(stream, service);
        let connection = pin!(connection);
        until_idle(connection, http1::Connection::graceful_shutdown, &visit, stop).await
    }
}

/// Drives a connection, asks it to end once it is idle or `stop` says so, and drops it when it does not.
async fn until_idle<C: Future<Output = hyper::Result<()>>>(
    mut connection: Pin<&mut C>,
    end: impl Fn(Pin<&mut C>),
    visit: &Visit,
    mut stop: watch::Receiver<bool>,
) -> hyper::Result<()> {
    let idle = visit.guest.idle;
    tokio::select! {
        ended = &mut connection => return ended,
        () = visit.activity.rest(idle) => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
    end(connection.as_mut());
    // Requests on their way are answered: the last of them begins this time anew.
    tokio::select! {
        ended = connection => ended,
        () = visit.activity.rest(idle) => Ok(()),
    }
}

/// How many requests a connection has on their way, and since when none.
#[derive(Default)]
struct Activity(Mutex<(usize, Option<Instant>)>);

impl Activity {
    fn state(&self) -> std::sync::MutexGuard<'_, (usize, Option<Instant>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request until the returned value is dropped.
    fn begin(&self) -> impl Drop + '_ {
        struct Busy<'a>(&'a Activity);
        impl Drop for Busy<'_> {
            fn drop(&mut self) {
                let mut state = self.0.state();
                *state = (state.0 - 1, Some(Instant::now()));
            }
        }
        self.state().0 += 1;
        Busy(self)
    }

    /// Waits until there has been no request for `idle`, counted from now at the earliest.
    async fn rest(&self, idle: Duration) {
        let begun = Instant::now();
        loop {
            let now = Instant::now();
            let until = self.resting_since(begun, now) + idle;
            if until <= now {
                return;
            }
            sleep_until(until).await;
        }
    }

    /// From when on the time without a request counts, as things are now.
    fn resting_since(&self, begun: Instant, now: Instant) -> Instant {
        match *self.state() {
            (0, last) => last.unwrap_or(begun).max(begun),
            _ => now,
        }
    }
}

/// The rule that was met wants no answer: the connection or the stream ends without one.
#[derive(Debug, thiserror::Error)]
#[error("no answer is to be sent")]
struct Dropped;

/// Why a request is no query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Another path.
    Path,
    /// Another method.
    Method,
    /// A body of another type.
    MediaType,
    /// A body that is no message for its length.
    Length,
    /// A body that does not come.
    Slow,
    /// A body that breaks off.
    Body,
    /// No `dns` in the target.
    NoQuery,
    /// Something else than base64url in it.
    Encoding,
    /// Octets that are no query.
    Message,
}

impl Refusal {
    fn status(self) -> StatusCode {
        match self {
            Self::Path => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Length => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Body | Self::NoQuery | Self::Encoding | Self::Message => StatusCode::BAD_REQUEST,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Path => "nothing is here; DNS over HTTPS is at another path",
            Self::Method => "a query comes by GET or POST",
            Self::MediaType => "the body of a POST must be application/dns-message",
            Self::Length => "no DNS message is longer than 65535 octets",
            Self::Slow => "the body did not come in time",
            Self::Body => "the body broke off",
            Self::NoQuery => "the query is missing: GET this path with ?dns= and the message in base64url",
            Self::Encoding => "the value of dns= is not base64url without padding (RFC 4648, section 5)",
            Self::Message => "this is not a DNS query",
        })
    }
}

impl Visit {
    async fn respond(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Dropped> {
        let _busy = self.activity.begin();
        let packet = match self.query(request).await {
            Ok(packet) => packet,
            Err(refusal) => return Ok(refuse(refusal)),
        };
        let arrival = Arrival::now(self.guest.client, Transport::Https);
        let answer = stream::answer(&self.pipeline, &packet, arrival).await.ok_or(Dropped)?;
        let fresh = lifetime(&answer);
        let mut response = Response::new(Full::new(Bytes::from(answer)));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Ok(value) = HeaderValue::try_from(format!("max-age={fresh}")) {
            headers.insert(header::CACHE_CONTROL, value);
        }
        Ok(response)
    }

    /// The message that a request carries.
    async fn query(&self, request: Request<Incoming>) -> Result<Vec<u8>, Refusal> {
        let (head, body) = request.into_parts();
        // Also that of a request which is refused: a client that is still sending may not listen yet, and
        // some take the end of a stream that they did not end for an error.
        let body = self.read(body).await;
        let packet = match self.read_head(&head)? {
            Some(packet) => packet,
            None => body?,
        };
        // What would be silence elsewhere.
        match Query::parse(&packet) {
            Err(Reject::Silent) => Err(Refusal::Message),
            _ => Ok(packet),
        }
    }

    /// The message in a request's head; `None` where it is the body.
    fn read_head(&self, head: &Parts) -> Result<Option<Vec<u8>>, Refusal> {
        if head.uri.path() != &*self.path {
            return Err(Refusal::Path);
        }
        match head.method {
            Method::GET => read_get(head.uri.query()).map(Some),
            Method::POST if is_message(&head.headers) => Ok(None),
            Method::POST => Err(Refusal::MediaType),
            _ => Err(Refusal::Method),
        }
    }

    async fn read(&self, body: Incoming) -> Result<Vec<u8>, Refusal> {
        if body.is_end_stream() {
            return Ok(Vec::new());
        }
        let read = async {
            // The semaphore is never closed.
            let _turn = self.bodies.acquire().await;
            read_body(body).await
        };
        timeout(self.guest.idle, read).await.unwrap_or(Err(Refusal::Slow))
    }
}

/// A whole body. One that is somewhat too long is read to its end.
async fn read_body(mut body: Incoming) -> Result<Vec<u8>, Refusal> {
    let (mut packet, mut len) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        // Trailers say nothing here.
        let Ok(data) = frame.map_err(|_| Refusal::Body)?.into_data() else { continue };
        len += data.len();
        if len <= wire::MAX_MESSAGE {
            packet.extend(data);
        } else if len > DISCARDED {
            break;
        }
    }
    if len > wire::MAX_MESSAGE { Err(Refusal::Length) } else { Ok(packet) }
}

/// Whether a body is said to be a DNS message; parameters, which the type has none of, do not count.
fn is_message(headers: &HeaderMap) -> bool {
    let told = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    told.split(';').next().is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case(MEDIA_TYPE))
}

fn refuse(refusal: Refusal) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(format!("{refusal}\n"))));
    *response.status_mut() = refusal.status();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if refusal == Refusal::Method {
        headers.insert(header::ALLOW, HeaderValue::from_static("GET, POST"));
    }
    response
}

/// The message in the query of a GET's target: the value of its first `dns` (RFC 8484, section 4.1.1).
///
/// # Errors
/// [`Refusal`]
pub fn read_get(query: Option<&str>) -> Result<Vec<u8>, Refusal> {
    let mut parameters = query.unwrap_or_default().split('&');
    let text = parameters.find_map(|parameter| parameter.strip_prefix("dns=")).ok_or(Refusal::NoQuery)?;
    let message = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| Refusal::Encoding)?;
    if message.len() > wire::MAX_MESSAGE { Err(Refusal::Length) } else { Ok(message) }
}

/// For how many seconds an answer may be kept: its smallest TTL, or that of a negative answer (RFC 8484,
/// section 5.1; RFC 2308, section 5).
fn lifetime(answer: &[u8]) -> u32 {
    let Ok(response) = wire::Response::parse(answer) else { return 0 };
    let records = || response.records().flatten();
    let answers = records().filter(|record| record.section == Section::Answer);
    let soa = || {
        let of_zone =
            |record: &wire::Record| record.section == Section::Authority && record.rtype == rtype::SOA;
        let record = records().find(of_zone)?;
        let minimum = answer.get(record.rdata)?.last_chunk::<4>()?;
        Some(record.ttl.min(u32::from_be_bytes(*minimum)))
    };
    answers.map(|record| record.ttl).min().or_else(soa).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_of_a_get_is_read() {
        fn check(query: Option<&str>, expected: Result<&[u8], Refusal>) {
            assert_eq!(read_get(query).as_deref(), expected.as_ref().copied(), "{query:?}");
        }
        check(None, Err(Refusal::NoQuery));
        check(Some(""), Err(Refusal::NoQuery));
        check(Some("name=www.example"), Err(Refusal::NoQuery));
        check(Some("dns="), Ok(b""));
        check(Some("dns=AAEBAAABAAA"), Ok(&[0, 1, 1, 0, 0, 1, 0, 0]));
        check(Some("ct&dns=-_8&dns=AA"), Ok(&[0xfb, 0xff]));
        check(Some("dns=AA=="), Err(Refusal::Encoding));
        check(Some("dns=A+/A"), Err(Refusal::Encoding));
        check(Some("dns=AAAAA"), Err(Refusal::Encoding));
        check(Some("dns=AB"), Err(Refusal::Encoding));
        check(Some("dns=%41%41"), Err(Refusal::Encoding));
        check(Some(&format!("dns={}", "AAAA".repeat(21_846))), Err(Refusal::Length));
    }

    #[test]
    fn an_answer_is_kept_as_long_as_its_shortest_record() {
        const HEAD: &[u8] = b"\0\0\x81\x80\0\x01";
        const NAME: &[u8] = b"\x01a\0\0\x01\0\x01";
        let record = |rtype: u8, ttl: u8, rdata: &[u8]| {
            [b"\xc0\x0c\0", &[rtype][..], b"\0\x01\0\0\0", &[ttl], &[0, rdata.len() as u8], rdata].concat()
        };
        let soa = record(6, 90, b"\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x3c");
        let check = |counts: [u8; 2], records: &[Vec<u8>], expected: u32| {
            let counts = [0, counts[0], 0, counts[1], 0, 0];
            let message = [HEAD, &counts, NAME, &records.concat()].concat();
            assert_eq!(lifetime(&message), expected, "{records:02x?}");
        };
        check([2, 0], &[record(1, 30, &[0; 4]), record(1, 20, &[0; 4])], 20);
        check([1, 1], &[record(1, 30, &[0; 4]), record(2, 5, b"\0")], 30);
        check([0, 1], &[soa], 60);
        check([0, 0], &[], 0);
        assert_eq!(lifetime(b"no message"), 0);
    }

    #[tokio::test]
    async fn a_connection_rests_only_between_requests() {
        let activity = Activity::default();
        let begun = Instant::now();
        let later = begun + Duration::from_secs(25);
        assert_eq!(activity.resting_since(begun, later), begun);
        let (first, second) = (activity.begin(), activity.begin());
        assert_eq!(activity.resting_since(begun, later), later);
        drop(first);
        assert_eq!(activity.resting_since(begun, later), later);
        drop(second);
        let since = activity.resting_since(begun, later);
        assert!(since >= begun && since <= Instant::now());
        assert_eq!(activity.resting_since(later, later), later, "not before it is asked for");
        activity.rest(Duration::ZERO).await;
    }
}
