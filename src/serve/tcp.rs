//! TCP: connections with pipelined queries, answered as each is ready (RFC 7766).
//!
//! Connections are capped in all and a client (those of strangers apart), idle and slow ones are closed, and one connection has a bounded number of queries on their way. One task
//! of a connection reads and one writes: a frame is sent whole, or the connection ends.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::apply::Access;
use super::pipeline::{Arrival, Pipeline, Step};
use crate::client::admission::Admission;
use crate::evidence::record::Transport;
use crate::listener::Acceptor;

/// Queries of one connection that may be on their way at once; the next one is read after that.
const PIPELINED: usize = 32;
/// Connections at once of clients that are not answered, in all and of each.
const STRANGERS: usize = 32;
const STRANGERS_EACH: usize = 2;
/// … and how long one may stay without a query.
const STRANGERS_IDLE: Duration = Duration::from_secs(2);

/// Serves connections until `stop` says so; then ends them as soon as their answers are sent.
///
/// `admission` caps the connections of all listeners together. A connection without a whole query
/// for `idle` is closed; so is one that does not read its answer for as long.
pub async fn run(
    listeners: Vec<TcpListener>,
    pipeline: Arc<Pipeline>,
    idle: Duration,
    admission: Admission,
    mut stop: watch::Receiver<bool>,
) {
    let mut acceptor = Acceptor::new("DNS over TCP", listeners);
    let strangers = Admission::new(STRANGERS, STRANGERS_EACH);
    let mut connections = JoinSet::new();
    loop {
        let stopped = stop.clone();
        let (stream, peer) = tokio::select! {
            accepted = acceptor.accept() => accepted,
            // Only reaps: a connection reports by itself.
            Some(_) = connections.join_next() => continue,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let client = peer.ip().to_canonical();
        // Strangers are told that they are refused, and must not fill the places of those who may ask.
        let (admission, idle) = match pipeline.state().access(client) {
            Access::Allowed => (&admission, idle),
            Access::Prohibited => (&strangers, idle.min(STRANGERS_IDLE)),
        };
        let Some(ticket) = admission.admit(client) else { continue };
        let pipeline = Arc::clone(&pipeline);
        connections.spawn(async move {
            if let Err(error) = connection(stream, client, pipeline, idle, stopped).await {
                tracing::debug!(%client, %error, "a TCP connection ended");
            }
            drop(ticket);
        });
    }
    drop(acceptor);
    // Each reads no more, and ends when its last answer is sent.
    while connections.join_next().await.is_some() {}
}

/// An answer on its way to the writer, with the place among this connection's queries that it frees once it
/// is sent.
struct Outgoing {
    message: Vec<u8>,
    _slot: Option<OwnedSemaphorePermit>,
}

async fn connection(
    stream: TcpStream,
    client: IpAddr,
    pipeline: Arc<Pipeline>,
    idle: Duration,
    stop: watch::Receiver<bool>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (reader, writer) = stream.into_split();
    let (outgoing, answers) = mpsc::channel(PIPELINED);
    let mut writing = tokio::spawn(write(writer, answers, idle));
    let reading = read(reader, client, &pipeline, idle, stop, outgoing);
    tokio::select! {
        // The writer ends first only when the client does not take its answers.
        written = &mut writing => written.unwrap_or(Ok(())),
        read = reading => {
            // What is on its way is still answered: each query has the resolver's deadline.
            let written = writing.await.unwrap_or(Ok(()));
            read.and(written)
        }
    }
}

async fn read(
    mut reader: impl AsyncRead + Unpin,
    client: IpAddr,
    pipeline: &Arc<Pipeline>,
    idle: Duration,
    mut stop: watch::Receiver<bool>,
    outgoing: mpsc::Sender<Outgoing>,
) -> io::Result<()> {
    let slots = Arc::new(Semaphore::new(PIPELINED));
    loop {
        let packet = tokio::select! {
            packet = timeout(idle, read_message(&mut reader)) => match packet {
                Ok(Ok(Some(packet))) => packet,
                Ok(Err(error)) => return Err(error),
                // Closed by the client, or idle.
                Ok(Ok(None)) | Err(_) => return Ok(()),
            },
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        };
        let arrival = Arrival::now(client, Transport::Tcp);
        let state = pipeline.state();
        let mut message = Vec::with_capacity(512);
        let step = pipeline
            .with_journal(|journal| pipeline.front_one(&state, &packet, arrival, journal, &mut message));
        match step {
            Step::Silent => {}
            Step::Answered => {
                let answer = Outgoing { message, _slot: None };
                if outgoing.send(answer).await.is_err() {
                    return Ok(());
                }
            }
            Step::Wait(job) => {
                // The semaphore is never closed.
                let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return Ok(()) };
                let (pipeline, outgoing) = (Arc::clone(pipeline), outgoing.clone());
                tokio::spawn(async move {
                    // It waits for no upstream any more: a client that reads slowly holds up only itself.
                    drop(pipeline.finish(*job, &mut message).await);
                    // A connection that is gone takes no answer; its record is written all the same.
                    let _ = outgoing.send(Outgoing { message, _slot: Some(slot) }).await;
                });
            }
        }
    }
}

/// Writes frames until nobody has one to send any more.
async fn write(
    mut writer: OwnedWriteHalf,
    mut answers: mpsc::Receiver<Outgoing>,
    idle: Duration,
) -> io::Result<()> {
    while let Some(answer) = answers.recv().await {
        // The pipeline makes nothing longer.
        let Ok(len) = u16::try_from(answer.message.len()) else { continue };
        let mut frame = Vec::with_capacity(2 + answer.message.len());
        frame.extend(len.to_be_bytes());
        frame.extend(&answer.message);
        timeout(idle, writer.write_all(&frame)).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()))?;
    }
    Ok(())
}

/// One message; `None` when the client closed the connection between two.
async fn read_message(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let len = match reader.read_u16().await {
        Ok(len) => len,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut packet = vec![0; usize::from(len)];
    reader.read_exact(&mut packet).await?;
    Ok(Some(packet))
}
