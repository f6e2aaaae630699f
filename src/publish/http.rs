//! The lists over HTTP/1.1, for firewalls and other devices that poll: `GET /v1/addresses.txt` and so on.
//!
//! ```text
//! /v1/KIND.EXTENSION      KIND: addresses, names, all; EXTENSION: txt (plain), edl, nft, rsc, rules, zone
//!     ?feed=NAME          only what this feed lists; may be repeated
//!     ?agency=ID          what applies to this agency; without it, only what applies to everybody
//!     ?limit=COUNT        no more entries than that
//! ```
//!
//! A list is never held whole: a thread makes it while the device takes it. What it was made of is in its ETag, so that a
//! device which has it already is told so (304) and nothing is made. Devices come from the networks of [`Terms::allow`], and
//! with a token where there is one: as a bearer's, or as the password of whatever user, which is all that some know. Connections,
//! requests a second, lists at once and a connection's life are bounded; nothing here is on the way of a query.

use std::convert::Infallible;
use std::future::Future;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use base64::engine::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::{Either, Full};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use sha2::{Digest as _, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::content::Content;
use super::list::{self, Format, Kind};
use super::rpz::Sinkholed;
use super::select::Feeds;
use crate::client::admission::{Admission, Ticket};
use crate::client::rate::{Rate, RateLimit};
use crate::listener;

/// Who may have lists, and what is in them. A reload replaces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Networks of devices.
    pub allow: Vec<IpNet>,
    /// What they must show, if anything.
    pub token: Option<Token>,
    /// Networks that no list may have.
    pub never: Vec<IpNet>,
    /// What a zone has for sinkholed names.
    pub sinkholed: Sinkholed,
    /// The TTL of a zone's records, in seconds.
    pub ttl: u32,
}

/// A secret, kept as its digest.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

impl Token {
    /// A token that is this text.
    pub fn new(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// Whether an `Authorization` field shows it. Digests are compared: how long that takes tells nothing of use.
    fn is_shown(&self, field: Option<&HeaderValue>) -> bool {
        let shown = || -> Option<Vec<u8>> {
            let (scheme, rest) = field?.to_str().ok()?.split_once(' ')?;
            if scheme.eq_ignore_ascii_case("bearer") {
                return Some(rest.trim().into());
            }
            let pair = STANDARD.decode(rest.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
            let colon = pair.iter().position(|octet| *octet == b':')?;
            Some(pair[colon + 1..].into())
        };
        shown().is_some_and(|shown| Self(Sha256::digest(shown).into()) == *self)
    }
}

/// Without the secret.
impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Knows what is in force. The daemon implements it.
pub trait Source: Send + Sync + 'static {
    /// What is in force for the agency of this id or, without one, for everybody; `None` where there is no such agency.
    fn content(&self, agency: Option<&str>) -> Option<Content>;
    /// The terms in force.
    fn terms(&self) -> Arc<Terms>;
}

/// Most connections at once, in all and of one device.
const CONNECTIONS: usize = 128;
const CONNECTIONS_EACH: usize = 8;
/// Most lists that are made at once, in all and for one device: each takes a thread.
const LISTS: usize = 8;
const LISTS_EACH: usize = 2;
/// Requests a second, of one device and in all. A device polls every few minutes, and with as many lists as it likes.
const RATE_EACH: u32 = 30;
const RATE: u32 = 300;
/// The time in which the head of a request must have come.
const HEAD: Duration = Duration::from_secs(10);
/// The longest life of a connection: time for ten million names over a slow line.
const LIFE: Duration = Duration::from_secs(15 * 60);
/// Octets that are sent at once, and how often that may wait for the device.
const CHUNK: usize = 64 << 10;
const CHUNKS: usize = 4;
/// Seconds after which a device that was told to come later may come.
const RETRY: HeaderValue = HeaderValue::from_static("30");

/// Hands out lists on `listeners`, until `shutdown` completes.
pub async fn serve(
    listeners: Vec<TcpListener>,
    source: Arc<impl Source>,
    shutdown: impl Future<Output = ()>,
) {
    let admission = Admission::new(CONNECTIONS, CONNECTIONS_EACH);
    let desk = Arc::new(Desk {
        lists: Admission::new(LISTS, LISTS_EACH),
        each: RateLimit::new(RATE_EACH, Instant::now()),
        all: RateLimit::new(RATE, Instant::now()),
    });
    listener::attend("lists over HTTP", listeners, &admission, shutdown, |stream, client, ticket| {
        connection(stream, client, ticket, Arc::clone(&source), Arc::clone(&desk))
    })
    .await;
}

/// What bounds requests.
struct Desk {
    lists: Admission,
    each: RateLimit,
    all: RateLimit,
}

impl Desk {
    /// Whether a request is one too many. Who asks too often alone takes nothing from the others' share.
    fn is_exceeded(&self, client: IpAddr) -> bool {
        let now = Instant::now();
        self.each.count(client.to_canonical(), now) == Rate::Exceeded
            || self.all.count((), now) == Rate::Exceeded
    }
}

async fn connection(
    stream: TcpStream,
    client: IpAddr,
    _ticket: Ticket,
    source: Arc<impl Source>,
    desk: Arc<Desk>,
) {
    let service = service_fn(|request: Request<Incoming>| {
        let answer = answer(&request, client, &*source, &desk);
        async { Ok::<_, Infallible>(answer) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(LIFE, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%client, %error, "a connection for lists ended"),
        Err(_) => tracing::debug!(%client, "a connection for lists outlived its time"),
    }
}

type Answer = Response<Either<Full<Bytes>, Chunks>>;

fn answer(request: &Request<Incoming>, client: IpAddr, source: &impl Source, desk: &Desk) -> Answer {
    // Before all else: guesses of tokens are requests too.
    if desk.is_exceeded(client) {
        let mut answer = text(StatusCode::TOO_MANY_REQUESTS, "too many requests; come again\n");
        answer.headers_mut().insert(header::RETRY_AFTER, RETRY);
        return answer;
    }
    let terms = source.terms();
    if !terms.allow.iter().any(|network| network.contains(&client)) {
        return text(StatusCode::FORBIDDEN, "this address is not in export.allow\n");
    }
    if terms.token.as_ref().is_some_and(|token| !token.is_shown(request.headers().get(header::AUTHORIZATION)))
    {
        let mut answer = text(StatusCode::UNAUTHORIZED, "the token is missing or another\n");
        let challenge = HeaderValue::from_static("Basic realm=\"SachDNS\"");
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        return answer;
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n");
        answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    let wanted = match Wanted::of(request.uri().path(), request.uri().query().unwrap_or_default()) {
        Ok(wanted) => wanted,
        Err(why) => return text(StatusCode::NOT_FOUND, why),
    };
    let Some(content) = source.content(wanted.agency.as_deref()) else {
        return text(StatusCode::NOT_FOUND, "no such agency\n");
    };
    if wanted.feeds.iter().any(|name| !content.knows(name)) {
        return text(StatusCode::NOT_FOUND, "no such feed\n");
    }
    let is_packed = takes_gzip(request.headers());
    let tag = wanted.tag(&content, &terms, is_packed);
    let mut answer = if is_held(request.headers(), &tag) {
        let mut answer = Response::new(Either::Left(Full::default()));
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        answer
    } else if request.method() == Method::HEAD {
        Response::new(Either::Left(Full::default()))
    } else {
        let Some(ticket) = desk.lists.admit(client) else {
            let mut answer = text(StatusCode::SERVICE_UNAVAILABLE, "too many lists at once; come again\n");
            answer.headers_mut().insert(header::RETRY_AFTER, RETRY);
            return answer;
        };
        Response::new(Either::Right(make(content, terms, wanted.clone(), is_packed, ticket)))
    };
    let fields = answer.headers_mut();
    fields.extend(tag.parse::<HeaderValue>().map(|tag| (header::ETAG, tag)));
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    fields.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if is_packed && answer.status() == StatusCode::OK {
        answer.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    answer
}

fn text(status: StatusCode, text: &'static str) -> Answer {
    let mut answer = Response::new(Either::Left(Full::new(Bytes::from_static(text.as_bytes()))));
    *answer.status_mut() = status;
    let fields = answer.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// The list that a request is for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    format: Format,
    kind: Kind,
    feeds: Vec<String>,
    agency: Option<String>,
    limit: u64,
}

impl Wanted {
    /// Reads a path and what is behind its question mark. Names of feeds need no escapes but that of UTF-8.
    fn of(path: &str, query: &str) -> Result<Self, &'static str> {
        const PATHS: &str =
            "lists are at /v1/KIND.EXTENSION: addresses, names or all; txt, edl, nft, rsc, rules or zone\n";
        let file = path.strip_prefix("/v1/").ok_or(PATHS)?;
        let (kind, extension) = file.split_once('.').ok_or(PATHS)?;
        let kind: Kind = kind.parse().map_err(|_| PATHS)?;
        let format = Format::ALL.into_iter().find(|format| format.extension() == extension).ok_or(PATHS)?;
        if !format.takes(kind) {
            return Err("this format cannot hold that: nft and rsc have addresses, edl one of both kinds\n");
        }
        let mut wanted = Self { format, kind, feeds: Vec::new(), agency: None, limit: u64::MAX };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("feed", name)) => wanted.feeds.push(unescaped(name).ok_or("no such feed\n")?),
                Some(("agency", id)) => wanted.agency = Some(unescaped(id).ok_or("no such agency\n")?),
                Some(("limit", count)) => {
                    wanted.limit =
                        count.parse().ok().filter(|count| *count > 0).ok_or("limit is a number\n")?;
                }
                _ => {
                    return Err(
                        "behind the question mark there may be feed=NAME, agency=ID and limit=COUNT\n",
                    );
                }
            }
        }
        Ok(wanted)
    }

    /// What tells this list from others: all that it is made of.
    fn tag(&self, content: &Content, terms: &Terms, is_packed: bool) -> String {
        let Terms { never, sinkholed, ttl, .. } = terms;
        let mut hasher = Sha256::new();
        hasher.update(env!("CARGO_PKG_VERSION"));
        hasher.update(content.image().facts.digest);
        hasher.update(content.digest());
        hasher.update(format!("{self:?} {never:?} {sinkholed:?} {ttl} {is_packed}"));
        let digits: String = hasher.finalize()[..16].iter().map(|octet| format!("{octet:02x}")).collect();
        format!("\"{digits}\"")
    }
}

/// Percent-decoded (RFC 3986, section 2.1), as UTF-8.
fn unescaped(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
                (digit()? << 4 | digit()?) as u8
            }
            octet => octet,
        });
    }
    String::from_utf8(octets).ok()
}

/// Whether the device has this list already (RFC 9110, section 13.1.2).
fn is_held(fields: &HeaderMap, tag: &str) -> bool {
    let lines = fields.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = lines.flat_map(|line| line.split(',')).map(str::trim);
    tags.any(|held| held == "*" || held.strip_prefix("W/").unwrap_or(held) == tag)
}

fn takes_gzip(fields: &HeaderMap) -> bool {
    let lines = fields.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|coding| {
        let (coding, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let is_refused =
            matches!(weight.trim().strip_prefix("q="), Some("0" | "0." | "0.0" | "0.00" | "0.000"));
        coding.trim().eq_ignore_ascii_case("gzip") && !is_refused
    })
}

/// Has a thread make the list. It ends when the device goes away.
fn make(content: Content, terms: Arc<Terms>, wanted: Wanted, is_packed: bool, ticket: Ticket) -> Chunks {
    let (sender, receiver) = mpsc::channel(CHUNKS);
    tokio::task::spawn_blocking(move || {
        let request = list::Request {
            format: wanted.format,
            kind: wanted.kind,
            feeds: match (&*wanted.feeds, wanted.format) {
                ([], Format::Rpz) => Feeds::All,
                ([], _) => Feeds::Threats,
                (named, _) => Feeds::Named(named),
            },
            never: &terms.never,
            sinkholed: &terms.sinkholed,
            ttl: terms.ttl,
            limit: wanted.limit,
        };
        let mut out = Chunker { sender, chunk: Vec::with_capacity(CHUNK) };
        let made = if is_packed {
            let mut packer = GzEncoder::new(&mut out, Compression::fast());
            list::write(&content, &request, &mut packer, |_, _| {}).and_then(|_| packer.finish().map(drop))
        } else {
            list::write(&content, &request, &mut out, |_, _| {}).map(drop)
        };
        if let Err(error) = made.and_then(|()| out.flush()) {
            tracing::debug!(%error, "a list was not taken to its end");
        }
        drop(ticket);
    });
    Chunks(receiver)
}

/// Sends what is written to it chunk by chunk, waiting for the device.
struct Chunker {
    sender: mpsc::Sender<Bytes>,
    chunk: Vec<u8>,
}

impl Write for Chunker {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.chunk.extend_from_slice(octets);
        if self.chunk.len() >= CHUNK {
            self.flush()?;
        }
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK));
        self.sender.blocking_send(chunk.into()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// A body as it is made.
struct Chunks(mpsc::Receiver<Bytes>);

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}

/// Where the listener is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Addresses; none: there is no listener.
    pub listen: Vec<SocketAddr>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_say_what_is_wanted() {
        fn check(path: &str, query: &str, expected: Option<(Format, Kind, &[&str], u64)>) {
            let got = Wanted::of(path, query).ok();
            let got = got.as_ref().map(|it| (it.format, it.kind, it.feeds.clone(), it.limit));
            let expected = expected.map(|(format, kind, feeds, limit)| {
                (format, kind, feeds.iter().map(ToString::to_string).collect(), limit)
            });
            assert_eq!(got, expected, "{path} {query}");
        }
        check("/v1/addresses.txt", "", Some((Format::Plain, Kind::Addresses, &[], u64::MAX)));
        check("/v1/all.zone", "feed=a&limit=7&feed=%C3%A2", Some((Format::Rpz, Kind::All, &["a", "â"], 7)));
        check("/v1/names.edl", "", Some((Format::Edl, Kind::Names, &[], u64::MAX)));
        for (path, query) in [
            ("/", ""),
            ("/v1/", ""),
            ("/v2/all.txt", ""),
            ("/v1/all.exe", ""),
            ("/v1/all.edl", ""),
            ("/v1/names.nft", ""),
            ("/v1/all.txt", "limit=0"),
            ("/v1/all.txt", "limit=x"),
            ("/v1/all.txt", "feed=%F"),
            ("/v1/all.txt", "feed=%FF"),
            ("/v1/all.txt", "x=1"),
        ] {
            check(path, query, None);
        }
    }

    #[test]
    fn a_token_is_shown_in_either_way() {
        fn check(field: Option<&str>, expected: bool) {
            let field = field.map(|field| HeaderValue::from_str(field).unwrap());
            assert_eq!(Token::new("s3cret").is_shown(field.as_ref()), expected, "{field:?}");
        }
        check(Some("Bearer s3cret"), true);
        check(Some("bearer  s3cret"), true);
        check(Some(&format!("Basic {}", STANDARD.encode("anybody:s3cret"))), true);
        check(Some(&format!("Basic {}", STANDARD.encode("s3cret"))), false);
        check(Some(&format!("Basic {}", STANDARD.encode("s3cret:"))), false);
        check(Some("Bearer other"), false);
        check(Some("s3cret"), false);
        check(None, false);
        assert!(!format!("{:?}", Token::new("s3cret")).contains("s3cret"));
    }

    #[test]
    fn conditions_and_codings_are_read_as_they_come() {
        let fields = |name: header::HeaderName, value: &str| {
            HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
        };
        for (value, expected) in
            [("\"a\"", true), ("W/\"a\"", true), ("\"b\", \"a\"", true), ("*", true), ("\"b\"", false)]
        {
            assert_eq!(is_held(&fields(header::IF_NONE_MATCH, value), "\"a\""), expected, "{value}");
        }
        for (value, expected) in
            [("gzip", true), ("deflate, GZIP;q=0.5", true), ("gzip;q=0", false), ("identity", false)]
        {
            assert_eq!(takes_gzip(&fields(header::ACCEPT_ENCODING, value)), expected, "{value}");
        }
    }
}
