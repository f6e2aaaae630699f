//! Plain ports: who comes there is recorded with the first octets, and never answered.
//!
//! Mail, IRC and the ports that malware families use: what a bot says first often names it. TLS and HTTP are told on any
//! port, with the name that they ask for. A connection is closed as soon as its beginning is known. One past a cap is
//! recorded without reading, and closed at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

use super::capture::{self, Beginning};
use super::visits::{Visitor, Visits};
use crate::client::admission::Admission;
use crate::listener;

/// The settings of plain ports and of the TLS listener, each with its one default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// TCP ports, each with its address.
    pub tcp: Vec<SocketAddr>,
    /// UDP ports.
    pub udp: Vec<SocketAddr>,
    /// Where TLS is listened for, to show the landing page.
    pub https: Vec<SocketAddr>,
    /// Most connections open at once, TLS and plain together.
    pub connections: usize,
    /// Most of them from one client address.
    pub per_client: usize,
    /// The time in which the beginning of a connection must have come.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tcp: Vec::new(),
            udp: Vec::new(),
            https: Vec::new(),
            connections: 512,
            per_client: 16,
            patience: Duration::from_secs(5),
        }
    }
}

/// The pause after an error of a socket.
const PAUSE: Duration = Duration::from_millis(100);
/// Octets of a datagram that are read; the system throws the rest away.
const DATAGRAM: usize = 2048;

/// Records who comes to these TCP ports, until `shutdown` completes.
pub async fn serve_tcp(
    listeners: Vec<TcpListener>,
    admission: Admission,
    patience: Duration,
    visits: Visits,
    shutdown: impl Future<Output = ()>,
) {
    let turned_away = |stream: &TcpStream, peer| turn_away(stream, peer, &visits);
    listener::attend_all(
        "sinkhole",
        listeners,
        &admission,
        shutdown,
        turned_away,
        |mut stream, peer, ticket| {
            let visits = visits.clone();
            async move {
                let _ticket = ticket;
                let Some(visitor) = Visitor::of(&stream, peer) else { return };
                visits.note(visitor, &capture::read(&mut stream, patience).await);
            }
        },
    )
    .await;
}

/// Takes down one that comes past a cap.
pub(super) fn turn_away(stream: &TcpStream, peer: SocketAddr, visits: &Visits) {
    if let Some(visitor) = Visitor::of(stream, peer) {
        visits.note(visitor, &Beginning::default());
    }
}

/// Records who sends something to these UDP ports, until `shutdown` completes.
pub async fn serve_udp(sockets: Vec<UdpSocket>, visits: Visits, shutdown: impl Future<Output = ()>) {
    let mut tasks = JoinSet::new();
    let visits = Arc::new(visits);
    for socket in sockets {
        tasks.spawn(receive(socket, Arc::clone(&visits)));
    }
    shutdown.await;
    tasks.shutdown().await;
}

async fn receive(socket: UdpSocket, visits: Arc<Visits>) {
    let Ok(local) = socket.local_addr() else { return };
    let mut buffer = vec![0; DATAGRAM];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((len, from)) => visits.note_datagram(from, local, &buffer[..len]),
            Err(error) => {
                tracing::debug!(%local, %error, "a port of the sinkhole");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
