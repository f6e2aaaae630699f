//! Asks ClickHouse by HTTP, one request a connection: rows up, answers down as they come, every wait bounded.
//!
//! An answer is only begun when the server has all of it (`wait_end_of_query`), so an error is never half an answer. Passwords
//! are read when they are needed and go into a header of their own, never into a URL. Whoever asks may be called off at any moment.

use std::error::Error as _;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::Options;

/// How long one address may take to accept, and to shake hands.
const ACCEPTING: Duration = Duration::from_secs(10);
/// Octets of a body that are given to the connection at once.
const PIECE: usize = 64 << 10;
/// Octets of an error's text that are read.
const MOST_WORDS: usize = 16 << 10;
/// … and that people are shown.
const SHOWN: usize = 600;
/// How often is looked whether anything moves, and whether somebody wants an end.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A query above this needs a setting of its own; a server's default is 256 KiB.
const LONG_QUERY: usize = 200 << 10;
const AGENT: &str = concat!("sachdns/", env!("CARGO_PKG_VERSION"));
const MAX_PASSWORD: u64 = 16 << 10;

/// Why ClickHouse did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no connection.
    #[error("{peer}: no connection: {source}; check log.clickhouse.url, and that ClickHouse runs")]
    Connect {
        /// To whom.
        peer: String,
        /// What the system said.
        source: io::Error,
    },
    /// … or none over TLS.
    #[error("{peer}: no TLS connection: {source}; log.clickhouse.ca names the authorities that count")]
    Tls {
        /// To whom.
        peer: String,
        /// What is wrong.
        source: io::Error,
    },
    /// A file that is needed for it.
    #[error("{path}: {source}; log.clickhouse.{setting} must be {must}")]
    File {
        /// Which.
        path: PathBuf,
        /// Who names it.
        setting: &'static str,
        /// What it should be.
        must: &'static str,
        /// What is wrong with it.
        source: io::Error,
    },
    /// Nothing moves.
    #[error("{peer}: it has been silent for {} s", .after.as_secs())]
    Silent {
        /// Who.
        peer: String,
        /// For how long.
        after: Duration,
    },
    /// The connection ended too early.
    #[error("{peer}: the connection broke: {why}")]
    Broken {
        /// To whom.
        peer: String,
        /// What happened.
        why: String,
    },
    /// An error of the server's own.
    #[error("{peer}: {text}{}", mend(*.code))]
    Refused {
        /// Who.
        peer: String,
        /// ClickHouse's number for it; 0 where it gave none.
        code: u32,
        /// What it said.
        text: String,
    },
    /// An answer that we did not ask for.
    #[error("{peer}: its answer is not what was asked for; is there another program, or another table?")]
    Answer {
        /// Who.
        peer: String,
    },
    /// It was called off.
    #[error("it was called off")]
    Stopped,
}

/// What to do about an error of ClickHouse's.
fn mend(code: u32) -> &'static str {
    match code {
        192 | 193 | 194 | 516 => ": check log.clickhouse.user and password_file",
        497 => {
            "; its user may not do that: GRANT it, or have an administrator run what `sachdns log schema` prints"
        }
        241 => "; ClickHouse has too little memory for this: ask for less time, or raise max_memory_usage",
        243 => "; ClickHouse's disk is full",
        252 => "; it has too much to merge, which passes",
        _ => "",
    }
}

/// One request.
#[derive(Debug, Clone, Default)]
pub(super) struct Ask<'a> {
    /// What is asked.
    pub(super) sql: &'a str,
    /// What goes into the URL beside it.
    pub(super) settings: Vec<(&'a str, String)>,
    /// Rows, packed by gzip.
    pub(super) rows: Option<Bytes>,
}

impl<'a> Ask<'a> {
    pub(super) fn new(sql: &'a str) -> Self {
        Self { sql, ..Self::default() }
    }
}

/// Asks one server, or whoever stands behind its name.
#[derive(Debug)]
pub(super) struct Client {
    options: Options,
    peer: String,
    runtime: tokio::runtime::Runtime,
}

impl Client {
    /// Connects to nobody yet.
    ///
    /// # Errors
    /// The system has nothing left for it.
    pub(super) fn new(options: &Options) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let host = options.url.host_str().unwrap_or_default();
        let peer =
            format!("ClickHouse at {host}:{}", options.url.port_or_known_default().unwrap_or_default());
        Ok(Self { options: options.clone(), peer, runtime })
    }

    /// How long it may be silent.
    pub(super) fn patience(&self) -> Duration {
        self.options.timeout
    }

    /// An answer that makes no sense.
    pub(super) fn nonsense(&self) -> ClientError {
        ClientError::Answer { peer: self.peer.clone() }
    }

    /// Asks, and gives the answer to `take` as it comes. Ends early when `is_over` says so, or nothing moves for `patience`.
    ///
    /// # Errors
    /// [`ClientError`]. Whether rows arrived is not known then, unless the error is [`ClientError::Connect`].
    pub(super) fn ask(
        &self,
        ask: &Ask<'_>,
        patience: Duration,
        is_over: &mut dyn FnMut() -> bool,
        take: &mut dyn FnMut(&[u8]) -> Result<(), ClientError>,
    ) -> Result<(), ClientError> {
        self.runtime.block_on(async {
            let moved = Moved::default();
            let work = self.exchange(ask, &moved, take);
            let mut work = std::pin::pin!(work);
            loop {
                tokio::select! {
                    done = &mut work => return done,
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                }
                if is_over() {
                    return Err(ClientError::Stopped);
                }
                if moved.since() >= patience {
                    return Err(ClientError::Silent { peer: self.peer.clone(), after: patience });
                }
            }
        })
    }

    async fn exchange(
        &self,
        ask: &Ask<'_>,
        moved: &Moved,
        take: &mut dyn FnMut(&[u8]) -> Result<(), ClientError>,
    ) -> Result<(), ClientError> {
        let request = self.request(ask, moved)?;
        let stream = self.connect().await?;
        let broken = |error: &hyper::Error| {
            let why =
                error.source().map_or_else(|| error.to_string(), |source| format!("{error} ({source})"));
            ClientError::Broken { peer: self.peer.clone(), why }
        };
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
        let driver = Driver(tokio::spawn(async move {
            // What goes wrong is told to whoever waits for the answer.
            let _ = connection.await;
        }));
        moved.now();
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        moved.now();
        let is_well = response.status().is_success();
        let mut words = Vec::new();
        let code = code_of(&response);
        let status = response.status();
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| broken(&error))?;
            moved.now();
            let Ok(octets) = frame.into_data() else { continue };
            if is_well && code.is_none() {
                take(&octets)?;
            } else if words.len() < MOST_WORDS {
                words.extend(octets);
            } else {
                break;
            }
        }
        drop(driver);
        if is_well && code.is_none() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&words);
        let code = code.or_else(|| code_in(&text)).unwrap_or_default();
        let text = match text.trim() {
            "" => format!("HTTP status {status}"),
            // It goes to terminals and logs.
            text => text.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect(),
        };
        Err(ClientError::Refused { peer: self.peer.clone(), code, text })
    }

    fn request(&self, ask: &Ask<'_>, moved: &Moved) -> Result<Request<Pieces>, ClientError> {
        let options = &self.options;
        let mut url = options.url.clone();
        {
            let mut pairs = url.query_pairs_mut();
            pairs.append_pair("wait_end_of_query", "1");
            if ask.rows.is_some() {
                pairs.append_pair("query", ask.sql);
            }
            if ask.sql.len() > LONG_QUERY {
                pairs.append_pair("max_query_size", &(ask.sql.len() + 1024).to_string());
                pairs.append_pair("max_ast_elements", "100000000");
                pairs.append_pair("max_expanded_ast_elements", "100000000");
            }
            for (name, value) in &ask.settings {
                pairs.append_pair(name, value);
            }
        }
        let header = |text: &str, setting: &'static str, path: Option<&Path>| {
            let mut value = HeaderValue::from_str(text).map_err(|_| ClientError::File {
                path: path.unwrap_or(Path::new("")).to_owned(),
                setting,
                must: "printable text",
                source: io::Error::other("it has characters that no header field can have"),
            })?;
            value.set_sensitive(true);
            Ok(value)
        };
        let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
        let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
        let mut request = Request::post(target)
            .header(HOST, host)
            .header(USER_AGENT, AGENT)
            .header("X-ClickHouse-User", header(&options.user, "user", None)?);
        if let Some(path) = &options.password_file {
            let password = read_password(path)?;
            request = request.header("X-ClickHouse-Key", header(&password, "password_file", Some(path))?);
        }
        request = match ask.rows {
            Some(_) => {
                request.header(CONTENT_ENCODING, "gzip").header(CONTENT_TYPE, "application/octet-stream")
            }
            None => request.header(CONTENT_TYPE, "text/plain; charset=UTF-8"),
        };
        let octets = ask.rows.clone().unwrap_or_else(|| Bytes::copy_from_slice(ask.sql.as_bytes()));
        request.body(Pieces { rest: octets, moved: moved.clone() }).map_err(|_| self.nonsense())
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, ClientError> {
        let url = &self.options.url;
        let failed = |source| ClientError::Connect { peer: self.peer.clone(), source };
        let late = || failed(io::ErrorKind::TimedOut.into());
        let host = url.host_str().unwrap_or_default();
        // An IPv6 address stands in brackets in a URL only.
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let port = url.port_or_known_default().unwrap_or_default();
        let addresses = timeout(ACCEPTING, tokio::net::lookup_host((bare, port)))
            .await
            .map_err(|_| late())?
            .map_err(failed)?;
        let mut result = Err(late());
        for address in addresses {
            result = match timeout(ACCEPTING, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => Ok(stream),
                Ok(Err(error)) => Err(failed(error)),
                Err(_) => Err(late()),
            };
            if result.is_ok() {
                break;
            }
        }
        let stream = result?;
        // Requests end with their last octet: nothing is gained by waiting for more.
        let _ = stream.set_nodelay(true);
        if url.scheme() != "https" {
            return Ok(Box::new(stream));
        }
        let failed = |source| ClientError::Tls { peer: self.peer.clone(), source };
        let name = ServerName::try_from(bare.to_owned()).map_err(|error| failed(io::Error::other(error)))?;
        let connector = TlsConnector::from(Arc::new(tls(self.options.ca.as_deref())?));
        let stream = timeout(ACCEPTING, connector.connect(name, stream))
            .await
            .map_err(|_| failed(io::ErrorKind::TimedOut.into()))?
            .map_err(failed)?;
        Ok(Box::new(stream))
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// The task that moves the connection's octets; it goes with the request.
struct Driver(tokio::task::JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// When octets moved last, in either direction.
#[derive(Debug, Clone)]
struct Moved {
    begun: Instant,
    at: Arc<AtomicU64>,
}

impl Default for Moved {
    fn default() -> Self {
        Self { begun: Instant::now(), at: Arc::default() }
    }
}

impl Moved {
    fn now(&self) {
        let elapsed = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.at.store(elapsed, Ordering::Relaxed);
    }

    fn since(&self) -> Duration {
        self.begun.elapsed().saturating_sub(Duration::from_millis(self.at.load(Ordering::Relaxed)))
    }
}

/// A body that tells when the connection takes more of it.
struct Pieces {
    rest: Bytes,
    moved: Moved,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        self.moved.now();
        let len = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(len)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

/// ClickHouse's number for an error that it tells in a header.
fn code_of(response: &Response<Incoming>) -> Option<u32> {
    response.headers().get("X-ClickHouse-Exception-Code")?.to_str().ok()?.parse().ok()
}

/// … or in its text, as older ones do: `Code: 60, e.displayText() = …`.
fn code_in(text: &str) -> Option<u32> {
    let rest = text.split_once("Code: ")?.1;
    rest[..rest.find(|c: char| !c.is_ascii_digit())?].parse().ok()
}

fn read_password(path: &Path) -> Result<String, ClientError> {
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(MAX_PASSWORD).read_to_string(&mut text));
    let must = "a file with the password in its first line";
    read.map_err(|source| ClientError::File {
        path: path.to_owned(),
        setting: "password_file",
        must,
        source,
    })?;
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// The authorities of `ca`, or those that this machine trusts.
fn tls(ca: Option<&Path>) -> Result<ClientConfig, ClientError> {
    let path = ca.unwrap_or(Path::new("")).to_owned();
    let failed = |source: io::Error| ClientError::File {
        path: path.clone(),
        setting: "ca",
        must: "a file of certificates in PEM form",
        source,
    };
    let mut roots = RootCertStore::empty();
    match ca {
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Some(path) => {
            let pem = std::fs::read(path).map_err(failed)?;
            let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
            let certificates = certificates.map_err(|error| failed(io::Error::other(error)))?;
            if roots.add_parsable_certificates(certificates).0 == 0 {
                return Err(failed(io::Error::other("there is no certificate in it")));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| failed(io::Error::other(error)))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
