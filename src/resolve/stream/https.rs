//! DNS over HTTPS as a client: one HTTP/2 connection, a POST a question (RFC 8484).
//!
//! HTTP's caching, redirects and cookies are not for us: what is no answer with status 200 is none.

use std::io;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{LineError, STALL};
use crate::resolve::exchange::{Ask, Edns};
use crate::wire::MAX_MESSAGE;

/// The media type of a DNS message (RFC 8484, section 6).
const MESSAGE: &str = "application/dns-message";
/// Octets of header fields that an answer may have.
const HEADERS: u32 = 16 << 10;

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    requests: http2::SendRequest<Full<Bytes>>,
    uri: Uri,
}

impl Connection {
    pub(super) async fn open(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        host: &str,
        port: u16,
        path: &str,
    ) -> io::Result<Self> {
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let authority = if port == 443 { host } else { format!("{host}:{port}") };
        let uri = Uri::builder()
            .scheme("https")
            .authority(authority)
            .path_and_query(path)
            .build()
            .map_err(io::Error::other)?;
        let (requests, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_header_list_size(HEADERS)
            // An answer has at most 64 KiB: whoever sends without end is stopped by the window.
            .initial_stream_window_size(MAX_MESSAGE as u32 + 1)
            // Tells a connection that is dead and does not know it.
            .keep_alive_interval(STALL / 2)
            .keep_alive_timeout(Duration::from_secs(1))
            .keep_alive_while_idle(false)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to an upstream ended");
            }
        });
        Ok(Self { requests, uri })
    }

    pub(super) async fn ask(&self, ask: &Ask, edns: Edns) -> Result<Vec<u8>, LineError> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.uri.clone())
            .header(CONTENT_TYPE, MESSAGE)
            .header(ACCEPT, MESSAGE)
            .body(Full::new(Bytes::from(ask.query(0, edns))))
            .map_err(|_| LineError::NoAnswer("the question makes no request"))?;
        let response = self.requests.clone().send_request(request).await.map_err(|_| LineError::Ended)?;
        if response.status() != StatusCode::OK {
            tracing::debug!(uri = %self.uri, status = %response.status(), "an upstream refuses over HTTPS");
            return Err(LineError::NoAnswer("another HTTP status than 200"));
        }
        let is_message = |value: &[u8]| {
            let kind = value.split(|&octet| octet == b';').next().unwrap_or_default();
            kind.trim_ascii().eq_ignore_ascii_case(MESSAGE.as_bytes())
        };
        if !response.headers().get(CONTENT_TYPE).is_some_and(|value| is_message(value.as_bytes())) {
            return Err(LineError::NoAnswer("no DNS message"));
        }
        let body = Limited::new(response.into_body(), MAX_MESSAGE).collect().await;
        let body = body.map_err(|_| LineError::NoAnswer("cut, or longer than a message"))?;
        Ok(body.to_bytes().into())
    }

    pub(super) fn is_over(&self) -> bool {
        self.requests.is_closed()
    }
}
