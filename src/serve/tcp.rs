//! TCP: connections with pipelined queries, answered as each is ready (RFC 7766).
//!
//! Connections are capped in all and a client, idle and slow ones are closed, and one connection has
//! a bounded number of queries on their way.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::pipeline::{Arrival, Pipeline, Step};
use crate::client::admission::Admission;
use crate::evidence::record::Transport;

/// Queries of one connection that may be on their way at once; the next one is read after that.
const PIPELINED: usize = 32;
const BACKLOG: u32 = 1024;
/// After a failed accept (no descriptors left, for one) the next try waits this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Binds a listener. IPv6 wildcards do not take IPv4 connections.
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

/// Serves connections until `stop` says so; then ends them as soon as their answers are sent.
///
/// `admission` caps the connections of all listeners together. A connection without a whole query
/// for `idle` is closed; so is one that does not read its answer for as long.
pub async fn run(
    listener: TcpListener,
    pipeline: Arc<Pipeline>,
    idle: Duration,
    admission: Admission,
    stop: watch::Receiver<bool>,
) {
    let mut stopped = stop.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.wait_for(|stop| *stop) => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "accepting a TCP connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let client = peer.ip().to_canonical();
        let Some(ticket) = admission.admit(client) else { continue };
        let (pipeline, stop) = (Arc::clone(&pipeline), stop.clone());
        tokio::spawn(async move {
            if let Err(error) = connection(stream, client, pipeline, idle, stop).await {
                tracing::debug!(%client, %error, "a TCP connection ended");
            }
            drop(ticket);
        });
    }
}

async fn connection(
    stream: TcpStream,
    client: IpAddr,
    pipeline: Arc<Pipeline>,
    idle: Duration,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, writer) = stream.into_split();
    let writer = Arc::new(tokio::sync::Mutex::new(writer));
    let on_their_way = Arc::new(Semaphore::new(PIPELINED));
    loop {
        let packet = tokio::select! {
            packet = timeout(idle, read_message(&mut reader)) => match packet {
                Ok(Ok(Some(packet))) => packet,
                Ok(Err(error)) => return Err(error),
                // Closed by the client, or idle.
                Ok(Ok(None)) | Err(_) => break,
            },
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let arrival = Arrival::now(client, Transport::Tcp);
        let state = pipeline.state();
        let mut out = Vec::with_capacity(512);
        let step =
            pipeline.with_journal(|journal| pipeline.front(&state, &packet, arrival, journal, &mut out));
        match step {
            Step::Silent => {}
            Step::Answered => write_message(&writer, &out, idle).await?,
            Step::Wait(job) => {
                // The semaphore is never closed.
                let Ok(permit) = Arc::clone(&on_their_way).acquire_owned().await else { break };
                let (pipeline, writer) = (Arc::clone(&pipeline), Arc::clone(&writer));
                tokio::spawn(async move {
                    let mut out = Vec::with_capacity(512);
                    pipeline.finish(*job, &mut out).await;
                    if let Err(error) = write_message(&writer, &out, idle).await {
                        tracing::debug!(%client, %error, "an answer could not be sent");
                    }
                    drop(permit);
                });
            }
        }
    }
    // What is on its way is still answered; each has the resolver's deadline.
    let _ = on_their_way.acquire_many(PIPELINED as u32).await;
    Ok(())
}

/// One message; `None` when the client closed the connection between two.
async fn read_message(reader: &mut (impl tokio::io::AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let len = match reader.read_u16().await {
        Ok(len) => len,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut packet = vec![0; usize::from(len)];
    reader.read_exact(&mut packet).await?;
    Ok(Some(packet))
}

async fn write_message(
    writer: &tokio::sync::Mutex<OwnedWriteHalf>,
    message: &[u8],
    idle: Duration,
) -> io::Result<()> {
    let Ok(len) = u16::try_from(message.len()) else {
        return Err(io::Error::other("an answer longer than a TCP message"));
    };
    let mut framed = Vec::with_capacity(2 + message.len());
    framed.extend(len.to_be_bytes());
    framed.extend(message);
    let write = async { writer.lock().await.write_all(&framed).await };
    timeout(idle, write).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
