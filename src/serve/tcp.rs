//! TCP: connections with pipelined queries, answered as each is ready (RFC 7766).
//!
//! What is said here on a stream is said on DNS over TLS too. A connection that is idle or slow is closed, and
//! has a bounded number of queries on their way. One task of a connection reads and one writes: a frame is
//! sent whole, or the connection ends.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::timeout;

use super::pipeline::{Arrival, Pipeline, Step};
use super::stream::{self, Door, Guest};
use crate::clock;
use crate::evidence::record::Transport;

/// Queries of one connection that may be on their way at once; the next one is read after that.
const PIPELINED: usize = 32;

/// Serves connections until `stop` says so; then ends them as soon as their answers are sent.
pub async fn run(listeners: Vec<TcpListener>, door: Door, stop: watch::Receiver<bool>) {
    let pipeline = Arc::clone(&door.pipeline);
    let serve = move |stream: tokio::net::TcpStream, guest: Guest, stop| {
        let pipeline = Arc::clone(&pipeline);
        async move {
            let (reader, writer) = stream.into_split();
            converse(reader, writer, Transport::Tcp, &guest, &pipeline, stop).await
        }
    };
    stream::accept("DNS over TCP", listeners, door, stop, serve).await;
}

/// An answer on its way to the writer, with the place among this connection's queries that it frees once it
/// is sent.
struct Outgoing {
    message: Vec<u8>,
    _slot: Option<OwnedSemaphorePermit>,
}

/// Answers the queries of one connection until it ends.
pub(super) async fn converse(
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin + Send + 'static,
    transport: Transport,
    guest: &Guest,
    pipeline: &Arc<Pipeline>,
    stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let (outgoing, answers) = mpsc::channel(PIPELINED);
    let mut writing = tokio::spawn(write(writer, answers, guest.idle));
    let reading = read(reader, transport, guest, pipeline, stop, outgoing);
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
    transport: Transport,
    guest: &Guest,
    pipeline: &Arc<Pipeline>,
    mut stop: watch::Receiver<bool>,
    outgoing: mpsc::Sender<Outgoing>,
) -> io::Result<()> {
    let slots = Arc::new(Semaphore::new(PIPELINED));
    loop {
        let packet = tokio::select! {
            packet = timeout(guest.idle, read_message(&mut reader)) => match packet {
                Ok(Ok(Some(packet))) => packet,
                Ok(Err(error)) => return Err(error),
                // Closed by the client, or idle.
                Ok(Ok(None)) | Err(_) => return Ok(()),
            },
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        };
        let arrival = Arrival::now(guest.client, transport);
        let state = pipeline.state();
        let mut message = Vec::with_capacity(512);
        let (transfer, step) =
            pipeline.with_journal(|journal| match pipeline.transfer(&state, &packet, arrival, journal) {
                Some(transfer) => (Some(transfer), Step::Silent),
                None => (None, pipeline.front_one(&state, &packet, arrival, journal, &mut message)),
            });
        if let Some(mut transfer) = transfer {
            // The semaphore is never closed.
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return Ok(()) };
            let outgoing = outgoing.clone();
            tokio::spawn(async move {
                // Each message is made when the client has taken those before.
                while let Some(message) = transfer.next(clock::now() / 1_000_000) {
                    if outgoing.send(Outgoing { message, _slot: None }).await.is_err() {
                        break;
                    }
                }
                drop(slot);
            });
            continue;
        }
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

/// Writes frames until nobody has one to send any more, and then the stream's end.
async fn write(
    mut writer: impl AsyncWrite + Unpin,
    mut answers: mpsc::Receiver<Outgoing>,
    idle: Duration,
) -> io::Result<()> {
    let is_late = || Err(io::ErrorKind::TimedOut.into());
    while let Some(answer) = answers.recv().await {
        // The pipeline makes nothing longer, and nothing where no answer is to be sent.
        let Ok(len @ 1..) = u16::try_from(answer.message.len()) else { continue };
        let mut frame = Vec::with_capacity(2 + answer.message.len());
        frame.extend(len.to_be_bytes());
        frame.extend(&answer.message);
        let sent = async {
            writer.write_all(&frame).await?;
            // A TLS stream keeps what its socket did not take at once.
            writer.flush().await
        };
        timeout(idle, sent).await.unwrap_or_else(|_| is_late())?;
    }
    timeout(idle, writer.shutdown()).await.unwrap_or_else(|_| is_late())
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
