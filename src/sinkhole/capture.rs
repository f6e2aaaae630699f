//! The first octets of a connection: read in bounded time and room, and told apart; the rest can then be read as if
//! nothing had been.
//!
//! What it is that somebody sent is told as soon as it can be: a ClientHello, the head of an HTTP request, or something
//! else. A program that speaks a protocol of its own sends a little and waits for an answer that will not come, so
//! of what is neither of the two little is waited for.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout_at};

use super::hello::{self, Hello, HelloError};
use crate::evidence::contacts::MOST_FIRST;

/// How long more is waited for behind octets that are neither TLS nor HTTP.
const QUIET: Duration = Duration::from_secs(1);
/// Octets in which a head must be whole.
const MOST: usize = hello::MOST;
/// Octets that are read at once.
const PART: usize = 2048;
/// Header fields that are looked at; a request with more keeps its path.
const MOST_FIELDS: usize = 64;

/// How a connection began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Beginning {
    /// All that was read.
    pub(super) octets: Vec<u8>,
    /// What that is.
    pub(super) spoken: Spoken,
}

/// What a client speaks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Spoken {
    /// It ended, or let the time pass, before that could be told.
    #[default]
    Nothing,
    /// TLS.
    Tls(Hello),
    /// HTTP/1.
    Http(Head),
    /// Something else.
    Other,
}

/// The head of a request, as it was sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// The host, with its port if it has one.
    pub(super) host: Option<String>,
    /// The path and query.
    pub(super) path: Option<String>,
    /// What the client calls itself.
    pub(super) agent: Option<String>,
}

/// Reads the beginning of a connection.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin), patience: Duration) -> Beginning {
    let mut until = Instant::now() + patience;
    let mut octets = Vec::new();
    loop {
        let len = octets.len();
        octets.resize(len + PART, 0);
        let read = timeout_at(until, stream.read(&mut octets[len..])).await;
        let count = read.map_or(0, |read| read.unwrap_or(0));
        octets.truncate(len + count);
        match judge(&octets, count == 0) {
            Judgement::Told(spoken) => return Beginning { octets, spoken },
            Judgement::MayBeLonger => {}
            Judgement::Odd => until = until.min(Instant::now() + QUIET),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Judgement {
    Told(Spoken),
    /// The beginning of something known.
    MayBeLonger,
    /// Something else, of which there may be more.
    Odd,
}

fn judge(octets: &[u8], is_over: bool) -> Judgement {
    let is_over = is_over || octets.len() >= MOST;
    if octets.is_empty() {
        return if is_over { Judgement::Told(Spoken::Nothing) } else { Judgement::MayBeLonger };
    }
    match hello::parse(octets) {
        Ok(hello) => return Judgement::Told(Spoken::Tls(hello)),
        Err(HelloError::Cut) if !is_over => return Judgement::MayBeLonger,
        Err(_) => {}
    }
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let is_request = match request.parse(octets) {
        Ok(httparse::Status::Complete(_)) => true,
        Ok(httparse::Status::Partial) if !is_over => return Judgement::MayBeLonger,
        Ok(httparse::Status::Partial) => request.version.is_some(),
        Err(error) => error == httparse::Error::TooManyHeaders,
    };
    if is_request {
        return Judgement::Told(Spoken::Http(head(&request)));
    }
    if is_over || octets.len() >= MOST_FIRST {
        return Judgement::Told(Spoken::Other);
    }
    Judgement::Odd
}

fn head(request: &httparse::Request<'_, '_>) -> Head {
    let field = |name: &str| {
        let field = request.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name))?;
        Some(String::from_utf8_lossy(field.value).into_owned())
    };
    // An absolute target goes before the Host field (RFC 9112, section 3.2.2).
    let target = request.path.unwrap_or_default();
    let absolute =
        target.split_once("://").map(|(_, rest)| rest.split_at(rest.find('/').unwrap_or(rest.len())));
    let (host, path) = match absolute {
        Some((host, path)) if !target.starts_with('/') => (Some(host.to_owned()), path),
        _ => (None, target),
    };
    Head {
        host: host.or_else(|| field("host")).filter(|host| !host.is_empty()),
        path: (!path.is_empty()).then(|| path.to_owned()),
        agent: field("user-agent"),
    }
}

/// A stream of which something was read already, which is read again.
#[derive(Debug)]
pub struct Rewound<S> {
    octets: Vec<u8>,
    at: usize,
    stream: S,
}

impl<S> Rewound<S> {
    pub(super) fn new(octets: Vec<u8>, stream: S) -> Self {
        Self { octets, at: 0, stream }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let rest = &self.octets[self.at..];
        if rest.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let part = &rest[..rest.len().min(buffer.remaining())];
        buffer.put_slice(part);
        self.at += part.len();
        if self.at == self.octets.len() {
            self.octets = Vec::new();
            self.at = 0;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    fn http(host: &str, path: &str, agent: Option<&str>) -> Spoken {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Spoken::Http(Head { host: text(host), path: text(path), agent: agent.map(str::to_owned) })
    }

    #[test]
    fn what_is_spoken_is_told_as_soon_as_it_can_be() {
        #[track_caller]
        fn check(octets: &[u8], is_over: bool, expected: &Judgement) {
            assert_eq!(judge(octets, is_over), *expected, "{:?}", String::from_utf8_lossy(octets));
        }
        use Judgement::{MayBeLonger, Odd, Told};
        check(b"", false, &MayBeLonger);
        check(b"", true, &Told(Spoken::Nothing));
        check(b"\x16\x03\x01\x02\x00\x01", false, &MayBeLonger);
        check(b"\x16\x03\x01\x02\x00\x01", true, &Told(Spoken::Other));
        check(b"GET /gate.php?id=7 HT", false, &MayBeLonger);
        check(b"GET /gate.php?id=7 HT", true, &Told(Spoken::Other));
        check(b"GET /a HTTP/1.1\r\nHo", true, &Told(http("", "/a", None)));
        let request = b"POST /gate.php?id=7 HTTP/1.1\r\nhost: Evil.example:80\r\nUSER-AGENT: Mozilla/4.0 (x)\r\n\r\nloot";
        check(request, false, &Told(http("Evil.example:80", "/gate.php?id=7", Some("Mozilla/4.0 (x)"))));
        check(
            b"GET http://evil.example/x HTTP/1.1\r\nHost: other\r\n\r\n",
            false,
            &Told(http("evil.example", "/x", None)),
        );
        check(b"GET / HTTP/1.0\r\n\r\n", false, &Told(http("", "/", None)));
        check(b"NICK bot\r\nUSER bot\r\n", false, &Odd);
        check(b"NICK bot\r\nUSER bot\r\n", true, &Told(Spoken::Other));
        check(&[0; 12], false, &Odd);
        check(&[0; 128], false, &Told(Spoken::Other));
        check(&[b'A'; MOST], false, &Told(Spoken::Other));
        let many = format!("GET /m HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(100));
        check(many.as_bytes(), false, &Told(http("", "/m", None)));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_waited_for_for_long() {
        let patience = Duration::from_secs(5);
        let check = async |octets: &'static [u8], longest: u64, expected: Spoken| {
            let (mut client, mut server) = tokio::io::duplex(1024);
            let begun = Instant::now();
            client.write_all(octets).await.unwrap();
            let beginning = read(&mut server, patience).await;
            assert_eq!(beginning, Beginning { octets: octets.to_vec(), spoken: expected });
            assert!(begun.elapsed() <= Duration::from_millis(longest), "{:?}", begun.elapsed());
        };
        check(b"", 5001, Spoken::Nothing).await;
        check(b"\0\x01\x02", 1001, Spoken::Other).await;
        check(b"\x16\x03\x01", 5001, Spoken::Other).await;
        check(b"GET / HTTP/1.0\r\n\r\n", 0, http("", "/", None)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn drops_of_octets_end_with_the_time() {
        let (mut client, mut server) = tokio::io::duplex(1024);
        let slow = tokio::spawn(async move {
            for octet in b"GET /slow HTTP/1.1\r\nHost: evil.example\r\n" {
                client.write_all(&[*octet]).await.unwrap();
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let begun = Instant::now();
        let beginning = read(&mut server, Duration::from_secs(5)).await;
        assert!(begun.elapsed() <= Duration::from_millis(5001), "{:?}", begun.elapsed());
        assert!(beginning.octets.starts_with(b"GET /"), "{beginning:?}");
        slow.abort();
    }

    #[tokio::test]
    async fn what_was_read_is_read_again() {
        let (mut client, server) = tokio::io::duplex(1024);
        client.write_all(b" world").await.unwrap();
        client.shutdown().await.unwrap();
        let mut rewound = Rewound::new(b"hello".to_vec(), server);
        let mut text = [0; 3];
        rewound.read_exact(&mut text).await.unwrap();
        assert_eq!(&text, b"hel");
        let mut rest = Vec::new();
        rewound.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"lo world");
    }
}
