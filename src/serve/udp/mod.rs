//! UDP: one thread a socket and core, batches in, batches out.
//!
//! Binds the sockets and keeps the workers going; what a worker does is in `worker`, when it looks
//! for queries in `pace`.

mod pace;
mod worker;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::epoll;
use socket2::{Domain, Protocol, Socket, Type};

use self::worker::Worker;
use super::pipeline::Pipeline;
use super::ready::Ready;
use crate::datagram;
use crate::evidence::journal::Journal;

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
    if address.ip().is_unspecified() {
        // What is bound to one address answers from no other, and needs not be told.
        datagram::enable_packet_info(&socket, address.is_ipv4())?;
    }
    Ok(socket)
}

/// What a worker has for itself.
pub struct Tools {
    socket: UdpSocket,
    journal: Journal,
    ready: Option<Ready>,
    epoll: OwnedFd,
}

impl Tools {
    /// Queries come in and answers leave by `socket`, records go to `journal`, and `ready` is the worker's own
    /// table of answers.
    ///
    /// # Errors
    /// What the system said.
    pub fn new(socket: UdpSocket, journal: Journal, ready: Option<Ready>) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, socket.as_fd(), epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
        Ok(Self { socket, journal, ready, epoll })
    }
}

/// Serves one socket until `stop` is set, and then what still waits for an upstream. Blocks: give it a thread
/// of its own.
pub fn run(tools: Tools, pipeline: &Arc<Pipeline>, runtime: &tokio::runtime::Handle, stop: &AtomicBool) {
    let mut reported: Option<Instant> = None;
    let mut report = |trouble: String| {
        if reported.is_none_or(|at| at.elapsed() > REPORT) {
            reported = Some(Instant::now());
            tracing::error!(error = trouble, "serving UDP");
        }
    };
    let mut worker = Worker::new(tools, Arc::clone(pipeline), runtime.clone());
    loop {
        let is_stopping = stop.load(Ordering::Acquire);
        if is_stopping && worker.is_idle() {
            return;
        }
        // A panic is a bug; it must cost a batch, not the socket.
        let turn = std::panic::AssertUnwindSafe(|| worker.turn(is_stopping));
        match std::panic::catch_unwind(turn) {
            Ok(Ok(0)) => {}
            Ok(Ok(unsent)) => {
                report(format!(
                    "{unsent} answers could not be sent: the network is too slow or refuses them"
                ));
            }
            Ok(Err(error)) => report(error.to_string()),
            Err(_) => report("a panic while answering; please report it".to_owned()),
        }
    }
}
