//! DNS over QUIC as a client: one connection, a stream a question (RFC 9250).
//!
//! No 0-RTT: what is sent early can be replayed by anyone (section 4.5), and saves one round trip a connection.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint, TransportConfig, VarInt};

use super::tls::Identity;
use super::{LineError, STALL};
use crate::resolve::exchange::{Ask, Edns};
use crate::wire::{self, MAX_MESSAGE};

/// DOQ_NO_ERROR (RFC 9250, section 4.3).
const NO_ERROR: VarInt = VarInt::from_u32(0);

/// One connection, on a socket of its own.
#[derive(Debug)]
pub(super) struct Connection {
    connection: quinn::Connection,
    /// Ends with the connection.
    _endpoint: Endpoint,
}

impl Connection {
    pub(super) async fn open(address: SocketAddr, identity: &Identity) -> io::Result<Self> {
        let any: IpAddr = match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let endpoint = Endpoint::client((any, 0).into())?;
        let tls = QuicClientConfig::try_from(Arc::clone(identity.config())).map_err(io::Error::other)?;
        let mut config = ClientConfig::new(Arc::new(tls));
        let mut transport = TransportConfig::default();
        // A path that is gone shows by pings that nobody answers; we close what is idle ourselves.
        transport.max_idle_timeout(Some(VarInt::from_u32(STALL.as_millis() as u32 * 3 / 2).into()));
        transport.keep_alive_interval(Some(STALL / 2));
        // A server has nothing to begin.
        transport.max_concurrent_bidi_streams(VarInt::from_u32(0));
        transport.max_concurrent_uni_streams(VarInt::from_u32(0));
        transport.stream_receive_window(VarInt::from_u32(MAX_MESSAGE as u32 + 2));
        config.transport_config(Arc::new(transport));
        let connection = endpoint
            .connect_with(config, address, &identity.name())
            .map_err(io::Error::other)?
            .await
            .map_err(io::Error::other)?;
        Ok(Self { connection, _endpoint: endpoint })
    }

    pub(super) async fn ask(&self, ask: &Ask, edns: Edns) -> Result<Vec<u8>, LineError> {
        let (mut sending, mut receiving) = self.connection.open_bi().await.map_err(|_| LineError::Ended)?;
        let query = ask.query(0, edns);
        // A question and an OPT record are far below 65536 octets.
        let frame = [&(query.len() as u16).to_be_bytes()[..], &query].concat();
        sending.write_all(&frame).await.map_err(|_| LineError::Ended)?;
        // Section 4.2: the question's end must be told.
        sending.finish().map_err(|_| LineError::Ended)?;
        let mut message = receiving.read_to_end(MAX_MESSAGE + 2).await.map_err(|error| match error {
            quinn::ReadToEndError::Read(quinn::ReadError::ConnectionLost(_)) => LineError::Ended,
            _ => LineError::NoAnswer("the stream ended before the answer, or after its end"),
        })?;
        if wire::u16_at(&message, 0).map(usize::from) != message.len().checked_sub(2) {
            return Err(LineError::NoAnswer("a stream that is not one message"));
        }
        message.drain(..2);
        Ok(message)
    }

    pub(super) fn is_over(&self) -> bool {
        self.connection.close_reason().is_some()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.connection.close(NO_ERROR, b"");
    }
}
