//! DNS over TLS (RFC 7858): the handshake, and then what TCP says.
//!
//! One set of credentials serves all encrypted transports; each has its settings here, and they differ in what
//! is negotiated (ALPN). TLS 1.2 and 1.3, without early data: a query that somebody can play again is none.

use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::stream::{self, Door, Guest};
use super::tcp;
use crate::credentials::Credentials;
use crate::evidence::record::Transport;

/// What DNS over TLS negotiates (RFC 7858 has no ALPN of its own; IANA registered it with RFC 9103).
const DOT: &[&[u8]] = &[b"dot"];

/// The settings of a transport that negotiates one of `protocols`.
///
/// # Errors
/// The system has no random numbers.
pub(super) fn settings(
    credentials: &Arc<Credentials>,
    protocols: &[&[u8]],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(credentials) as _);
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    // A stub that comes back is spared the signature, and we keep nothing for it.
    config.ticketer = ring::Ticketer::new()?;
    Ok(config)
}

/// The settings of one that runs over TCP.
pub(super) fn acceptor(
    credentials: &Arc<Credentials>,
    protocols: &[&[u8]],
) -> Result<TlsAcceptor, rustls::Error> {
    settings(credentials, protocols, rustls::ALL_VERSIONS).map(|config| Arc::new(config).into())
}

/// Serves DNS over TLS until `stop` says so.
///
/// # Errors
/// The system has no random numbers.
pub fn run(
    listeners: Vec<TcpListener>,
    credentials: &Arc<Credentials>,
    door: Door,
    stop: watch::Receiver<bool>,
) -> Result<impl Future<Output = ()> + Send + use<>, rustls::Error> {
    let acceptor = acceptor(credentials, DOT)?;
    let served = door.clone();
    let serve = move |stream: TcpStream, guest: Guest, stop| {
        let (acceptor, door) = (acceptor.clone(), served.clone());
        async move {
            let stream = shake_hands(&acceptor, stream, &door).await?;
            let (reader, writer) = tokio::io::split(stream);
            tcp::converse(reader, writer, Transport::Tls, &guest, &door.pipeline, stop).await
        }
    };
    Ok(stream::accept("DNS over TLS", listeners, door, stop, serve))
}

/// Agrees on keys with a client, in bounded time.
pub(super) async fn shake_hands(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    door: &Door,
) -> io::Result<TlsStream<TcpStream>> {
    let late = |_| Err(io::Error::new(io::ErrorKind::TimedOut, "no TLS handshake in time"));
    timeout(door.handshake_time(), acceptor.accept(stream)).await.unwrap_or_else(late)
}
