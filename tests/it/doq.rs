//! DNS over QUIC (RFC 9250): one query a stream, and a client that breaks the protocol is told so.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, ReadError, ReadToEndError};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::harness::authority::Authority;
use crate::harness::house::Setup;
use crate::harness::server::Server;
use crate::harness::wire::{self, Query};
use crate::harness::{PATIENCE, nsd, run, tls};

fn serve(authority: &Authority, limits: &str) -> Server {
    Setup::new(nsd::address())
        .feed("authority", "evil.example\n")
        .feed_as("silence", "drop", "drop.example\n")
        .encrypted(authority)
        .more(&format!("[limits]\n{limits}"))
        .serve()
}

/// A client with a runtime of its own.
struct Client {
    runtime: Runtime,
    endpoint: Endpoint,
}

impl Client {
    fn new(authority: &Authority, protocol: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut endpoint = {
            let _entered = runtime.enter();
            Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap()
        };
        let config = QuicClientConfig::try_from(tls::config(authority, &[protocol])).unwrap();
        endpoint.set_default_client_config(ClientConfig::new(Arc::new(config)));
        Self { runtime, endpoint }
    }

    fn connect(&self, server: &Server) -> Result<Connection, ConnectionError> {
        let _entered = self.runtime.enter();
        let connecting = self.endpoint.connect(server.quic.unwrap(), "dns.example.test").unwrap();
        self.block(connecting)
    }

    fn block<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(async { timeout(PATIENCE, future).await.expect("in time") })
    }

    /// Sends octets on a stream of their own, and reads what comes back.
    fn exchange(&self, connection: &Connection, octets: &[u8]) -> Result<Vec<u8>, ReadToEndError> {
        self.block(async {
            let lost = |error| ReadToEndError::Read(ReadError::ConnectionLost(error));
            let (mut send, mut receive) = connection.open_bi().await.map_err(lost)?;
            // Whether it came through, the answer tells.
            let _ = send.write_all(octets).await;
            let _ = send.finish();
            receive.read_to_end(1 << 17).await
        })
    }

    /// The code with which the server closes the connection.
    fn close_code(&self, connection: &Connection) -> Option<u64> {
        match self.block(connection.closed()) {
            ConnectionError::ApplicationClosed(close) => Some(close.error_code.into_inner()),
            _ => None,
        }
    }
}

fn query(qname: &str, qtype: u16) -> Query {
    Query::new(qname, qtype).id(0)
}

#[test]
fn queries_of_one_connection_are_answered_each_on_its_stream() {
    let authority = Authority::new();
    let server = serve(&authority, "");
    let client = Client::new(&authority, "doq");
    let connection = client.connect(&server).unwrap();
    for (qname, qtype, count) in
        [("www.example.test", wire::A, 1), ("huge.example.test", wire::TXT, 1), ("evil.example", wire::A, 1)]
    {
        let answer = client.exchange(&connection, &wire::framed(&query(qname, qtype).bytes())).unwrap();
        assert_eq!(usize::from(u16::from_be_bytes([answer[0], answer[1]])), answer.len() - 2);
        let message = wire::decode(&answer[2..]);
        assert_eq!(message.metadata.id, 0);
        assert!(!message.metadata.truncation && message.answers.len() >= count, "{message}");
        server.record_of(qname).assert(&[("transport", "doq"), ("client", "127.0.0.1")]);
    }
    let padded = query("evil.example", wire::A).options(&[(12, &[0; 9])]);
    let answer = client.exchange(&connection, &wire::framed(&padded.bytes())).unwrap();
    assert_eq!((answer.len() - 2) % 468, 0);
    // A stream that a rule leaves without an answer ends, and the others go on.
    let dropped = client.exchange(&connection, &wire::framed(&query("drop.example", wire::A).bytes()));
    assert!(matches!(dropped, Err(ReadToEndError::Read(ReadError::Reset(code))) if code.into_inner() == 5));
    client.exchange(&connection, &wire::framed(&query("evil.example", wire::A).bytes())).unwrap();
}

#[test]
fn kdig_is_answered() {
    let authority = Authority::new();
    let server = serve(&authority, "");
    let address = server.quic.unwrap();
    // Not verifying: with an authority of ours, kdig 3.2.6 ends by a signal.
    let mut kdig = Command::new("kdig");
    kdig.arg(format!("@{}", address.ip())).arg("-p").arg(address.port().to_string());
    let text = run(kdig.args(["+quic", "+retry=0", "+time=10", "evil.example", "A"])).well().stdout;
    assert!(text.contains("10.10.10.10"), "{text}");
}

#[test]
fn who_breaks_the_protocol_loses_the_connection() {
    let authority = Authority::new();
    let server = serve(&authority, "");
    let framed = wire::framed(&query("evil.example", wire::A).bytes());
    let breaches = [
        ("another id", wire::framed(&query("evil.example", wire::A).id(7).bytes())),
        ("two queries", [&framed[..], &framed].concat()),
        ("a query that is cut", framed[..framed.len() - 1].to_vec()),
        ("nothing", Vec::new()),
        ("a response", wire::framed(&query("evil.example", wire::A).flags(wire::QR).bytes())),
        ("edns-tcp-keepalive", wire::framed(&query("evil.example", wire::A).options(&[(11, b"")]).bytes())),
        ("too much", vec![0xff; 70_000]),
    ];
    let client = Client::new(&authority, "doq");
    for (breach, octets) in breaches {
        let connection = client.connect(&server).unwrap();
        assert!(client.exchange(&connection, &octets).is_err(), "{breach}");
        assert_eq!(client.close_code(&connection), Some(2), "{breach}");
    }
    // What is no DNS query in other ways is answered as everywhere.
    let connection = client.connect(&server).unwrap();
    let mut malformed = query("evil.example", wire::A).bytes();
    malformed[5] = 2;
    let answer = client.exchange(&connection, &wire::framed(&malformed)).unwrap();
    assert_eq!(answer[2 + 3] & 0x0f, 1);
}

#[test]
fn connections_are_capped_and_idle_ones_closed() {
    let authority = Authority::new();
    let server = serve(&authority, "tcp_per_client = 2\ntcp_idle = \"4s\"\n");
    let client = Client::new(&authority, "doq");
    let framed = wire::framed(&query("evil.example", wire::A).bytes());
    // A client is through its handshake before the server is: whose query is answered has a place.
    let served = || {
        let connection = client.connect(&server).unwrap();
        assert!(client.exchange(&connection, &framed).is_ok());
        connection
    };
    let (first, _second) = (served(), served());
    let third = client.connect(&server).unwrap();
    assert_eq!(client.close_code(&third), Some(4), "one too many of a client");
    // A stream that is begun and not finished is given up too.
    let given_up = client.block(async {
        let (mut send, mut receive) = first.open_bi().await.unwrap();
        send.write_all(&[0]).await.unwrap();
        receive.read_to_end(10).await
    });
    assert!(matches!(given_up, Err(ReadToEndError::Read(_))), "{given_up:?}");
    let begun = Instant::now();
    client.block(first.closed());
    assert!(begun.elapsed() < PATIENCE);
    // Their places are free again, which the server may learn a moment later than the client.
    let is_served = || {
        let connection = client.connect(&server).unwrap();
        client.exchange(&connection, &framed).is_ok()
    };
    assert!(std::iter::repeat_with(is_served).take(1000).any(|is_served| is_served));

    let other = Client::new(&authority, "h3");
    assert!(other.connect(&server).is_err(), "another protocol");
}
