//! A client that speaks TLS, and verifies whom it speaks to.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::authority::Authority;
use super::{PATIENCE, wire};

/// What a client that trusts `authority` alone is set to; it offers `protocols`.
pub(crate) fn config(authority: &Authority, protocols: &[&str]) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(authority.roots())
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    config
}

/// A connection on which messages have their length in front.
pub(crate) struct Tls(StreamOwned<ClientConnection, TcpStream>);

impl Tls {
    /// Connects to dns.example.test, and shakes hands with the first message.
    pub(crate) fn to(server: SocketAddr, authority: &Authority) -> Self {
        Self::over(TcpStream::connect(server).unwrap(), authority, &["dot"])
    }

    /// As [`Self::to`], on a stream that is open already.
    pub(crate) fn over(stream: TcpStream, authority: &Authority, protocols: &[&str]) -> Self {
        Self::named(stream, authority, protocols, "dns.example.test")
    }

    /// A browser's connection to a host of this name.
    pub(crate) fn to_host(server: SocketAddr, authority: &Authority, name: &'static str) -> Self {
        Self::named(TcpStream::connect(server).unwrap(), authority, &["http/1.1"], name)
    }

    fn named(stream: TcpStream, authority: &Authority, protocols: &[&str], name: &'static str) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let name = ServerName::try_from(name).unwrap();
        let client = ClientConnection::new(Arc::new(config(authority, protocols)), name).unwrap();
        Self(StreamOwned::new(client, stream))
    }

    pub(crate) fn send(&mut self, message: &[u8]) {
        self.send_raw(&wire::framed(message)).unwrap();
    }

    /// Sends octets as they are, without a length.
    pub(crate) fn send_raw(&mut self, octets: &[u8]) -> io::Result<()> {
        self.0.write_all(octets)?;
        self.0.flush()
    }

    pub(crate) fn receive(&mut self) -> io::Result<Vec<u8>> {
        wire::read_framed(&mut self.0)
    }

    /// Reads until the server closes the connection.
    pub(crate) fn receive_all(&mut self) -> Vec<u8> {
        let mut octets = Vec::new();
        // A server that drops the connection sends no close_notify.
        let _ = self.0.read_to_end(&mut octets);
        octets
    }

    pub(crate) fn ask(&mut self, message: &[u8]) -> Vec<u8> {
        self.send(message);
        self.receive().unwrap()
    }

    /// What was negotiated.
    pub(crate) fn protocol(&self) -> Option<String> {
        self.0.conn.alpn_protocol().map(|it| String::from_utf8_lossy(it).into_owned())
    }

    /// The certificate that the server showed.
    pub(crate) fn certificate(&self) -> Vec<u8> {
        self.0.conn.peer_certificates().unwrap()[0].to_vec()
    }
}
