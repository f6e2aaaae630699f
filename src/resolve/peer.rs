//! A server that tests ask, which answers over UDP and TCP as a test says.
//!
//! For tests of what counts as an answer. What is asked and how is theirs.

use tokio::net::{TcpListener, UdpSocket};

use crate::wire;

/// What a server sends back for a query.
pub(super) type Behaviour = fn(&[u8]) -> Vec<Vec<u8>>;

/// The query as an answer that repeats it, changed in some way.
pub(super) fn echo(query: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut answer = query.to_vec();
    answer[2] |= wire::QR;
    change(&mut answer);
    answer
}

/// A server's sockets: one port over UDP, where it behaves so from now on, and over TCP.
pub(super) async fn start(over_udp: Behaviour) -> TcpListener {
    let (tcp, udp) = loop {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // Somebody may have the same port for UDP.
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
            break (tcp, udp);
        }
    };
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        loop {
            let (len, from) = udp.recv_from(&mut buffer).await.unwrap();
            for answer in over_udp(&buffer[..len]) {
                udp.send_to(&answer, from).await.unwrap();
            }
        }
    });
    tcp
}
