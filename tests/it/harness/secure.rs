//! Upstreams over TLS, HTTPS and QUIC that do what they are told, with certificates made for the test.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use quinn::crypto::rustls::QuicServerConfig;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PublicKeyData as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use super::scripted::Seen;

/// A certificate, its key, and the authority that it is from.
pub(crate) struct Certified {
    /// The authority's certificate.
    pub(crate) ca: String,
    /// The certificate and its key, as files hold them.
    pub(crate) pem: String,
    pub(crate) key_pem: String,
    /// `sha256/…` of its key.
    pub(crate) pin: String,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Certified {
    /// One for these names and addresses.
    pub(crate) fn new(names: &[&str]) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
        Self {
            ca: authority.pem(),
            pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            pin: format!("sha256/{}", base64(&Sha256::digest(key.subject_public_key_info()))),
            chain: vec![certificate.der().clone()],
            key: key.into(),
        }
    }

    fn config(&self, alpn: &[&[u8]]) -> rustls::ServerConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        config
    }
}

fn base64(octets: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in octets.chunks(3) {
        let bits =
            group.iter().chain([0, 0].iter()).take(3).fold(0, |bits, &octet| bits << 8 | u32::from(octet));
        for digit in 0..4 {
            let is_there = digit <= group.len();
            text.push(if is_there { DIGITS[(bits >> (18 - 6 * digit)) as usize & 63].into() } else { '=' });
        }
    }
    text
}

/// What becomes of one query.
pub(crate) enum Deed {
    Answer(Vec<u8>),
    /// The connection goes on, and nothing comes.
    Nothing,
    /// The connection ends.
    Close,
    /// An octet now and then, never a whole message (over TLS only).
    Drip,
    /// Another HTTP status (over HTTPS only).
    Status(u16),
}

type Script = dyn Fn(&Seen) -> Deed + Send + Sync;

/// A running upstream; stops when dropped.
pub(crate) struct Secure {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

struct Shared {
    script: Box<Script>,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
}

impl Shared {
    fn take(&self, bytes: Vec<u8>) -> Deed {
        let seen = Seen { bytes, is_tcp: true };
        let deed = (self.script)(&seen);
        self.seen.lock().unwrap().push(seen);
        deed
    }
}

impl Secure {
    pub(crate) fn tls(certified: &Certified, script: impl Fn(&Seen) -> Deed + Send + Sync + 'static) -> Self {
        Self::over_tcp(certified.config(&[]), script, tls)
    }

    pub(crate) fn https(
        certified: &Certified,
        script: impl Fn(&Seen) -> Deed + Send + Sync + 'static,
    ) -> Self {
        Self::over_tcp(certified.config(&[b"h2"]), script, https)
    }

    pub(crate) fn quic(
        certified: &Certified,
        script: impl Fn(&Seen) -> Deed + Send + Sync + 'static,
    ) -> Self {
        let tls = QuicServerConfig::try_from(certified.config(&[b"doq"])).unwrap();
        let config = quinn::ServerConfig::with_crypto(Arc::new(tls));
        let (runtime, shared) = begin(script);
        let entered = runtime.enter();
        let endpoint = quinn::Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        drop(entered);
        let address = endpoint.local_addr().unwrap();
        let serving = shared.clone();
        runtime.spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                let shared = serving.clone();
                tokio::spawn(async move {
                    let Ok(connection) = incoming.await else { return };
                    shared.connections.fetch_add(1, Ordering::SeqCst);
                    while let Ok((sending, receiving)) = connection.accept_bi().await {
                        tokio::spawn(quic(shared.clone(), connection.clone(), sending, receiving));
                    }
                });
            }
        });
        Self { address, shared, runtime: Some(runtime) }
    }

    fn over_tcp<F: Future<Output = ()> + Send + 'static>(
        config: rustls::ServerConfig,
        script: impl Fn(&Seen) -> Deed + Send + Sync + 'static,
        serve: fn(Arc<Shared>, tokio_rustls::server::TlsStream<TcpStream>) -> F,
    ) -> Self {
        let (runtime, shared) = begin(script);
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let serving = shared.clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, shared) = (acceptor.clone(), serving.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    shared.connections.fetch_add(1, Ordering::SeqCst);
                    serve(shared, stream).await;
                });
            }
        });
        Self { address, shared, runtime: Some(runtime) }
    }

    /// The queries so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// The connections so far whose handshake was completed.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn begin(script: impl Fn(&Seen) -> Deed + Send + Sync + 'static) -> (Runtime, Arc<Shared>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let shared =
        Shared { script: Box::new(script), seen: Mutex::default(), connections: AtomicUsize::default() };
    (runtime, Arc::new(shared))
}

async fn tls(shared: Arc<Shared>, mut stream: tokio_rustls::server::TlsStream<TcpStream>) {
    while let Ok(len) = stream.read_u16().await {
        let mut query = vec![0; usize::from(len)];
        if stream.read_exact(&mut query).await.is_err() {
            return;
        }
        match shared.take(query) {
            Deed::Answer(answer) => {
                let frame = super::wire::framed(&answer);
                if stream.write_all(&frame).await.is_err() || stream.flush().await.is_err() {
                    return;
                }
            }
            Deed::Nothing => {}
            Deed::Drip => loop {
                if stream.write_all(&[1]).await.is_err() || stream.flush().await.is_err() {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            },
            Deed::Close | Deed::Status(_) => return,
        }
    }
}

async fn https(shared: Arc<Shared>, stream: tokio_rustls::server::TlsStream<TcpStream>) {
    let close = Arc::new(tokio::sync::Notify::new());
    let closing = close.clone();
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (shared, close) = (shared.clone(), close.clone());
        async move {
            assert_eq!(request.method(), hyper::Method::POST);
            assert_eq!(request.headers()["content-type"], "application/dns-message");
            let query = request.into_body().collect().await?.to_bytes();
            let (status, body) = match shared.take(query.to_vec()) {
                Deed::Answer(answer) => (200, answer),
                Deed::Status(status) => (status, Vec::new()),
                Deed::Close => {
                    close.notify_one();
                    std::future::pending().await
                }
                Deed::Nothing | Deed::Drip => std::future::pending().await,
            };
            let response = Response::builder()
                .status(status)
                .header("content-type", "application/dns-message")
                .body(Full::new(Bytes::from(body)));
            Ok::<_, hyper::Error>(response.unwrap())
        }
    });
    let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        _ = serving => {}
        () = closing.notified() => {}
    }
}

async fn quic(
    shared: Arc<Shared>,
    connection: quinn::Connection,
    mut sending: quinn::SendStream,
    mut receiving: quinn::RecvStream,
) {
    let Ok(frame) = receiving.read_to_end(65_537).await else { return };
    assert_eq!(usize::from(u16::from_be_bytes([frame[0], frame[1]])), frame.len() - 2);
    match shared.take(frame[2..].to_vec()) {
        Deed::Answer(answer) => {
            let _ = sending.write_all(&super::wire::framed(&answer)).await;
            let _ = sending.finish();
            // Dropped before the last octet is taken, it would be reset.
            let _ = sending.stopped().await;
        }
        Deed::Close => connection.close(quinn::VarInt::from_u32(0), b""),
        Deed::Nothing | Deed::Drip | Deed::Status(_) => std::future::pending().await,
    }
}
