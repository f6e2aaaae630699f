//! UDP: one thread a socket and core, batches in, batches out.
//!
//! A worker answers what needs no waiting itself and writes the batch's records with one call before
//! it sends. What must wait goes to the asynchronous side and is sent from there, by this socket.

mod batch;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use batch::{Batch, Path};
use socket2::{Domain, Protocol, Socket, Type};

use super::pipeline::{Arrival, Pipeline, Step};
use crate::clock;
use crate::evidence::journal::Journal;
use crate::evidence::record::Transport;

/// How long a worker waits before it looks whether it should stop.
const PULSE: Duration = Duration::from_millis(200);
/// Room for bursts while a worker or the network is busy, in octets; the kernel may grant less.
const BUFFER: usize = 4 << 20;
/// The least time between two reports of one trouble.
const REPORT: Duration = Duration::from_secs(60);

/// Binds one of several sockets that share `address`.
///
/// # Errors
/// What the system said.
pub fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // 0.0.0.0 and [::] are two settings, not one.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_port(true)?;
    // Best effort: the system's own limits (net.core.rmem_max, wmem_max) may be lower.
    let _ = socket.set_recv_buffer_size(BUFFER);
    let _ = socket.set_send_buffer_size(BUFFER);
    socket.set_read_timeout(Some(PULSE))?;
    socket.bind(&address.into())?;
    let socket = UdpSocket::from(socket);
    batch::enable_packet_info(&socket, address.is_ipv4())?;
    Ok(socket)
}

/// Serves one socket until `stop` is set. Blocks: give it a thread of its own.
pub fn run(
    socket: Arc<UdpSocket>,
    pipeline: &Arc<Pipeline>,
    mut journal: Journal,
    runtime: &tokio::runtime::Handle,
    stop: &AtomicBool,
) {
    let mut worker = Worker { socket, batch: Batch::new(), replies: vec![Vec::new(); batch::BATCH] };
    let mut reported: Option<Instant> = None;
    while !stop.load(Ordering::Acquire) {
        // A panic is a bug; it must cost a batch, not the socket.
        let turn = std::panic::AssertUnwindSafe(|| worker.turn(pipeline, &mut journal, runtime));
        let trouble = match std::panic::catch_unwind(turn) {
            Ok(Ok(0)) => continue,
            Ok(Ok(unsent)) => {
                format!("{unsent} answers could not be sent: the network is too slow or refuses them")
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "a panic while answering; please report it".to_owned(),
        };
        if reported.is_none_or(|at| at.elapsed() > REPORT) {
            reported = Some(Instant::now());
            tracing::error!(error = trouble, "serving UDP");
        }
    }
}

struct Worker {
    socket: Arc<UdpSocket>,
    batch: Batch,
    replies: Vec<Vec<u8>>,
}

impl Worker {
    /// Serves one batch; returns how many of its answers could not be sent.
    fn turn(
        &mut self,
        pipeline: &Arc<Pipeline>,
        journal: &mut Journal,
        runtime: &tokio::runtime::Handle,
    ) -> io::Result<usize> {
        let count = match self.batch.receive(&self.socket) {
            Ok(count) => count,
            Err(error) => {
                return match error.kind() {
                    // Nothing came, or a client refused an earlier answer (ICMP, told on this socket).
                    io::ErrorKind::WouldBlock
                    | io::ErrorKind::TimedOut
                    | io::ErrorKind::Interrupted
                    | io::ErrorKind::ConnectionRefused => Ok(0),
                    _ => {
                        std::thread::sleep(PULSE);
                        Err(error)
                    }
                };
            }
        };
        let state = pipeline.state();
        let (time, instant) = (clock::now(), Instant::now());
        let mut paths: [Option<Path>; batch::BATCH] = [None; batch::BATCH];
        for (n, (reply, answered)) in self.replies.iter_mut().zip(&mut paths).take(count).enumerate() {
            let Some((packet, path)) = self.batch.packet(n) else { continue };
            reply.clear();
            let client = path.peer.ip().to_canonical();
            let arrival = Arrival { client, transport: Transport::Udp, time, instant };
            match pipeline.front(&state, packet, arrival, journal, reply) {
                Step::Silent => {}
                Step::Answered => *answered = Some(path),
                Step::Wait(job) => {
                    let (pipeline, socket) = (Arc::clone(pipeline), Arc::clone(&self.socket));
                    runtime.spawn(async move {
                        let mut out = Vec::with_capacity(512);
                        let permit = pipeline.finish(*job, &mut out).await;
                        if !out.is_empty() && batch::send(&socket, [(path, &*out)]) > 0 {
                            tracing::debug!(client = %path.peer, "an answer could not be sent");
                        }
                        drop(permit);
                    });
                }
            }
        }
        journal.commit(time);
        let answers = paths.iter().zip(&self.replies);
        Ok(batch::send(&self.socket, answers.filter_map(|(path, reply)| Some(((*path)?, &**reply)))))
    }
}
