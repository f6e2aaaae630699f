//! DNS over QUIC (RFC 9250): one query a stream.
//!
//! quinn speaks QUIC; who is let in, what a stream may hold and how long all may take is said here. Early data
//! is not taken (section 4.5 allows little of it), and a client stays at the address that it shook hands from: its records
//! name that one.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{
    Connection, ConnectionError, Endpoint, EndpointConfig, Incoming, ReadToEndError, RecvStream, SendStream,
    TokioRuntime, TransportConfig, VarInt, WriteError,
};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::pipeline::{Arrival, Pipeline};
use super::stream::{self, Door};
use super::tls;
use crate::client::admission::Ticket;
use crate::credentials::Credentials;
use crate::evidence::record::Transport;
use crate::wire::{self, Query, Reject, option};

/// What is negotiated (RFC 9250, section 8.1).
const DOQ: &[&[u8]] = &[b"doq"];
/// Streams of a connection at once.
const STREAMS: u32 = 100;
/// Octets that a client may send ahead on one stream, a whole message, and on all.
const WINDOW: u32 = 2 + wire::MAX_MESSAGE as u32;
const WINDOWS: u32 = 4 * WINDOW;
/// Octets of answers that wait for a client to take them.
const UNSENT: u64 = 1 << 18;
/// Connections that shake hands at once before their addresses must be proven first.
const UNPROVEN: usize = 32;
/// Connections that wait to be looked at, and octets that are kept for them.
const INCOMING: usize = 256;
const INCOMING_SIZE: u64 = 1 << 14;
const INCOMING_SIZES: u64 = 1 << 20;

/// Error codes (RFC 9250, section 8.4).
const NO_ERROR: VarInt = VarInt::from_u32(0);
const PROTOCOL_ERROR: VarInt = VarInt::from_u32(2);
const EXCESSIVE_LOAD: VarInt = VarInt::from_u32(4);
const UNSPECIFIED_ERROR: VarInt = VarInt::from_u32(5);

/// Binds a socket for QUIC.
///
/// # Errors
/// What the system said.
pub fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // 0.0.0.0 and [::] are two settings, not one.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Why there is no DNS over QUIC.
#[derive(Debug, thiserror::Error)]
pub enum QuicError {
    /// The TLS settings do not do.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// … nor their cipher suites.
    #[error(transparent)]
    Suites(#[from] quinn::crypto::rustls::NoInitialCipherSuite),
    /// The socket cannot be used.
    #[error(transparent)]
    Socket(#[from] io::Error),
}

/// Serves DNS over QUIC until `stop` says so. Call it inside a runtime.
///
/// # Errors
/// [`QuicError`]
pub fn run(
    sockets: Vec<UdpSocket>,
    credentials: &Arc<Credentials>,
    door: &Door,
    stop: &watch::Receiver<bool>,
) -> Result<impl Future<Output = ()> + Send + use<>, QuicError> {
    let tls = tls::settings(credentials, DOQ, &[&rustls::version::TLS13])?;
    let mut server = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    server
        .transport_config(Arc::new(transport(door)))
        .migration(false)
        .max_incoming(INCOMING)
        .incoming_buffer_size(INCOMING_SIZE)
        .incoming_buffer_size_total(INCOMING_SIZES);
    let mut serving = JoinSet::new();
    for socket in sockets {
        let endpoint =
            Endpoint::new(EndpointConfig::default(), Some(server.clone()), socket, Arc::new(TokioRuntime))?;
        serving.spawn(accept(endpoint, door.clone(), stop.clone()));
    }
    Ok(async move { while serving.join_next().await.is_some() {} })
}

fn transport(door: &Door) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(STREAMS.into())
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(WINDOW.into())
        .receive_window(WINDOWS.into())
        .send_window(UNSENT)
        .datagram_receive_buffer_size(None)
        // A time that is too long for QUIC is none at all; settings end at a day.
        .max_idle_timeout(door.idle_time().try_into().ok());
    transport
}

async fn accept(endpoint: Endpoint, door: Door, mut stop: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    let shaking = Arc::new(());
    loop {
        let incoming = tokio::select! {
            incoming = endpoint.accept() => incoming,
            // Only reaps: a connection reports by itself.
            Some(_) = connections.join_next() => continue,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let Some(incoming) = incoming else { break };
        let peer = incoming.remote_address().ip().to_canonical();
        // A flood from forged addresses must not be answered much.
        if Arc::strong_count(&shaking) > UNPROVEN && incoming.may_retry() {
            let _ = incoming.retry();
            continue;
        }
        // No balancer puts a PROXY header before QUIC: who asks behind it is not known.
        let place = if door.is_balancer(peer) { None } else { door.admit_unnamed() };
        let Some(place) = place else {
            incoming.refuse();
            continue;
        };
        let (door, stopped, shaking) = (door.clone(), stop.clone(), Arc::clone(&shaking));
        connections.spawn(async move {
            if let Err(error) = serve(incoming, place, &door, stopped, shaking).await {
                tracing::debug!(%peer, %error, "DNS over QUIC: a connection ended");
            }
        });
    }
    // Who comes now is refused; who is there gets the answers that are on their way.
    endpoint.set_server_config(None);
    while connections.join_next().await.is_some() {}
    endpoint.close(NO_ERROR, b"");
    endpoint.wait_idle().await;
}

async fn serve(
    incoming: Incoming,
    place: Ticket,
    door: &Door,
    mut stop: watch::Receiver<bool>,
    shaking: Arc<()>,
) -> Result<(), ConnectionError> {
    let shaken = timeout(door.handshake_time(), incoming.accept()?).await;
    drop(shaking);
    let connection = shaken.unwrap_or(Err(ConnectionError::TimedOut))?;
    // Only now the address is the client's own: a forged one must not take its owner's places.
    let client = connection.remote_address().ip().to_canonical();
    let Some(guest) = door.admit(client, Some(place)) else {
        connection.close(EXCESSIVE_LOAD, b"too many connections");
        return Ok(());
    };
    let mut queries = JoinSet::new();
    let mut last = Instant::now();
    loop {
        let (send, receive) = tokio::select! {
            opened = connection.accept_bi() => opened?,
            Some(_) = queries.join_next() => {
                last = Instant::now();
                continue;
            }
            // A client that only keeps the connection alive asks nothing either.
            () = sleep_until(last + guest.idle), if queries.is_empty() => break,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let stream = Stream { connection: connection.clone(), send, receive };
        queries.spawn(stream.serve(guest.client, Arc::clone(&door.pipeline), guest.idle));
    }
    while queries.join_next().await.is_some() {}
    connection.close(NO_ERROR, b"");
    Ok(())
}

/// A stream, which carries one query and its answer.
struct Stream {
    connection: Connection,
    send: SendStream,
    receive: RecvStream,
}

impl Stream {
    async fn serve(mut self, client: IpAddr, pipeline: Arc<Pipeline>, patience: Duration) {
        let framed = match timeout(patience, self.receive.read_to_end(WINDOW as usize)).await {
            Ok(Ok(framed)) => framed,
            Ok(Err(ReadToEndError::TooLong)) => return self.refuse(Breach::Length),
            // The client took it back, or is gone.
            Ok(Err(ReadToEndError::Read(_))) => return,
            Err(_) => return self.reset(EXCESSIVE_LOAD),
        };
        let packet = match read(&framed) {
            Ok(packet) => packet,
            Err(breach) => return self.refuse(breach),
        };
        let arrival = Arrival::now(client, Transport::Quic);
        let Some(answer) = stream::answer(&pipeline, packet, arrival).await else {
            return self.reset(UNSPECIFIED_ERROR);
        };
        // The pipeline makes nothing longer.
        let Ok(len) = u16::try_from(answer.len()) else { return self.reset(UNSPECIFIED_ERROR) };
        let sent = async {
            self.send.write_all(&[&len.to_be_bytes(), &*answer].concat()).await?;
            let _ = self.send.finish();
            // The connection must not be closed before the client has it.
            let _ = self.send.stopped().await;
            Ok::<_, WriteError>(())
        };
        if timeout(patience, sent).await.is_err() {
            self.reset(EXCESSIVE_LOAD);
        }
    }

    /// Ends a connection whose client breaks the protocol (RFC 9250, section 4.3.3).
    fn refuse(&self, breach: Breach) {
        self.connection.close(PROTOCOL_ERROR, breach.to_string().as_bytes());
    }

    /// Gives the stream up, which may be over already.
    fn reset(&mut self, code: VarInt) {
        let _ = self.receive.stop(code);
        let _ = self.send.reset(code);
    }
}

/// How a client breaks the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Breach {
    #[error("a stream must carry one message, with its length in front")]
    Length,
    #[error("a message id must be 0")]
    Id,
    #[error("edns-tcp-keepalive has no place in QUIC")]
    Keepalive,
    #[error("not a query")]
    Response,
}

/// The one message of a stream (RFC 9250, sections 4.2 and 4.2.1).
fn read(framed: &[u8]) -> Result<&[u8], Breach> {
    let (len, packet) = framed.split_first_chunk().ok_or(Breach::Length)?;
    if usize::from(u16::from_be_bytes(*len)) != packet.len() {
        return Err(Breach::Length);
    }
    let query = Query::parse(packet);
    if matches!(query, Err(Reject::Silent)) {
        return Err(Breach::Response);
    }
    if !packet.starts_with(&[0, 0]) {
        return Err(Breach::Id);
    }
    match query {
        Ok(query) if query.has_option(option::KEEPALIVE) => Err(Breach::Keepalive),
        // What does not parse is answered, as elsewhere.
        _ => Ok(packet),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_carries_one_query_of_id_0() {
        fn check(framed: &[u8], expected: Result<usize, Breach>) {
            assert_eq!(read(framed).map(<[u8]>::len), expected, "{framed:02x?}");
        }
        const QUERY: &[u8] = b"\0\0\x01\0\0\x01\0\0\0\0\0\x01\x01a\0\0\x01\0\x01";
        let framed = |message: &[u8]| [&(message.len() as u16).to_be_bytes(), message].concat();
        let with_option = |options: &[u8]| {
            let opt = [b"\0\0\x29\x04\xd0\0\0\0\0\0", &[options.len() as u8][..], options].concat();
            framed(&[QUERY, &opt].concat())
        };
        check(&with_option(b""), Ok(QUERY.len() + 11));
        check(&with_option(b"\0\x0c\0\0"), Ok(QUERY.len() + 15));
        check(&with_option(b"\0\x0b\0\0"), Err(Breach::Keepalive));
        // The OPT record is missing: FORMERR is the pipeline's to say.
        check(&framed(QUERY), Ok(QUERY.len()));
        check(b"", Err(Breach::Length));
        check(b"\0", Err(Breach::Length));
        check(&framed(QUERY)[..10], Err(Breach::Length));
        check(&[&with_option(b"")[..], &with_option(b"")].concat(), Err(Breach::Length));
        check(&framed(b""), Err(Breach::Response));
        let mut other = QUERY.to_vec();
        other[1] = 7;
        check(&framed(&other), Err(Breach::Id));
        other[2] |= wire::QR;
        check(&framed(&other), Err(Breach::Response));
    }
}
