//! A connection for one request after the other: straight or through a proxy, in the clear or over TLS.
//!
//! Names are looked up by the system. A proxy gets plain requests whole (RFC 9112, section 3.2.2), since many
//! refuse to tunnel to another port than 443, and tunnels for TLS (CONNECT).

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::Url;

use super::{HttpError, Shown};

/// How long one address may take to accept.
const ACCEPTING: Duration = Duration::from_secs(10);
/// … and to shake hands over TLS, or a proxy to open its tunnel.
const HANDSHAKE: Duration = Duration::from_secs(15);
/// Header fields of an answer, and octets of them.
const HEADERS: usize = 100;
const HEAD: usize = 64 << 10;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// An open connection.
pub(super) struct Line {
    pub(super) sender: SendRequest<Full<Bytes>>,
    _driver: Driver,
}

/// The task that moves the connection's octets; it goes with the connection.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A proxy, and what it wants to know of us.
pub(super) struct Via<'a> {
    pub(super) url: &'a Url,
    pub(super) authorization: Option<&'a HeaderValue>,
}

/// Whether requests of this URL go to the proxy itself, which fetches for us.
pub(super) fn is_asked_for_us(url: &Url, via: Option<&Via<'_>>) -> bool {
    via.is_some() && url.scheme() == "http"
}

/// Opens a connection for requests of this URL.
pub(super) async fn open(url: &Url, via: Option<&Via<'_>>, ca: Option<&Path>) -> Result<Line, HttpError> {
    let stream = match via {
        Some(via) if url.scheme() == "https" => {
            let stream = dial(via.url).await?;
            within(HANDSHAKE, via.url, "the proxy to open a tunnel", tunnel(stream, url, via)).await?
        }
        Some(via) => dial(via.url).await?,
        None => dial(url).await?,
    };
    let stream = match url.scheme() {
        "https" => within(HANDSHAKE, url, "the TLS handshake", encrypt(stream, url, ca)).await?,
        _ => stream,
    };
    let (sender, driver) = shake_hands(stream).await?;
    Ok(Line { sender, _driver: driver })
}

async fn within<T>(
    limit: Duration,
    url: &Url,
    what: &'static str,
    doing: impl Future<Output = Result<T, HttpError>>,
) -> Result<T, HttpError> {
    let late = |_| HttpError::Late { what, peer: peer(url), after: limit };
    timeout(limit, doing).await.map_err(late)?
}

async fn shake_hands(stream: Box<dyn Stream>) -> Result<(SendRequest<Full<Bytes>>, Driver), HttpError> {
    let (sender, connection) = http1::Builder::new()
        .max_headers(HEADERS)
        .max_buf_size(HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| HttpError::of(&error))?;
    let driver = tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection to a feed's server ended");
        }
    });
    Ok((sender, Driver(driver)))
}

/// `HOST:PORT`, as messages and CONNECT name it.
pub(super) fn peer(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    format!("{host}:{}", url.port_or_known_default().unwrap_or_default())
}

async fn dial(url: &Url) -> Result<Box<dyn Stream>, HttpError> {
    let name = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or_default();
    // An IPv6 address stands in brackets in a URL only.
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let failed = |source| HttpError::Lookup { name: name.to_owned(), source };
    let addresses = timeout(ACCEPTING, tokio::net::lookup_host((bare, port)))
        .await
        .map_err(|_| failed(io::ErrorKind::TimedOut.into()))?
        .map_err(failed)?;
    let mut last = None;
    for address in addresses {
        let opened = timeout(ACCEPTING, TcpStream::connect(address)).await;
        match opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => {
                // Requests are one write each: nothing is gained by it, and nothing lost without.
                let _ = stream.set_nodelay(true);
                return Ok(Box::new(stream));
            }
            Err(source) => last = Some(HttpError::Connect { peer: format!("{name} ({address})"), source }),
        }
    }
    Err(last.unwrap_or_else(|| failed(io::ErrorKind::NotFound.into())))
}

/// Has the proxy open a tunnel (RFC 9110, section 9.3.6).
async fn tunnel(stream: Box<dyn Stream>, url: &Url, via: &Via<'_>) -> Result<Box<dyn Stream>, HttpError> {
    let (mut sender, driver) = shake_hands(stream).await?;
    let target = peer(url);
    let mut request = Request::builder().method(Method::CONNECT).uri(&target).header(HOST, &target);
    if let Some(authorization) = via.authorization {
        request = request.header(PROXY_AUTHORIZATION, authorization);
    }
    let request = request.body(Full::default()).map_err(|_| HttpError::Url(Shown(url).to_string()))?;
    let response = sender.send_request(request).await.map_err(|error| HttpError::of(&error))?;
    if !response.status().is_success() {
        return Err(HttpError::Proxy { proxy: peer(via.url), status: response.status().as_u16() });
    }
    let upgraded = hyper::upgrade::on(response).await.map_err(|error| HttpError::of(&error))?;
    // The task ended when it gave the stream away.
    drop(driver);
    Ok(Box::new(TokioIo::new(upgraded)))
}

async fn encrypt(
    stream: Box<dyn Stream>,
    url: &Url,
    ca: Option<&Path>,
) -> Result<Box<dyn Stream>, HttpError> {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(bare).map_err(|_| HttpError::Url(Shown(url).to_string()))?;
    let connector = TlsConnector::from(Arc::new(client_config(ca)?));
    let stream = connector.connect(name, stream).await.map_err(|error| tls_error(host, &error))?;
    Ok(Box::new(stream))
}

/// The authorities of `ca`, or those that this machine trusts.
fn client_config(ca: Option<&Path>) -> Result<ClientConfig, HttpError> {
    let mut roots = RootCertStore::empty();
    match ca {
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Some(path) => {
            let failed = |why: String| HttpError::Ca { path: path.to_owned(), why };
            let pem = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
            let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
            let certificates = certificates.map_err(|error| failed(error.to_string()))?;
            if roots.add_parsable_certificates(certificates).0 == 0 {
                return Err(failed("there is no certificate in it".to_owned()));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| HttpError::Tls { host: String::new(), why: error.to_string() })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

/// What is wrong with a server's certificate, and what to do about it.
fn tls_error(host: &str, error: &io::Error) -> HttpError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let host = host.to_owned();
    let Some(rustls::Error::InvalidCertificate(why)) = inner else {
        return HttpError::Tls { host, why: error.to_string() };
    };
    let mend = match why {
        CertificateError::UnknownIssuer => {
            "no authority that is trusted here has signed it: set ca to its authority's certificate"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired: tell its owner, and look at this machine's clock"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet: look at this machine's clock"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another name: write the source with a name that it is for"
        }
        CertificateError::Revoked => "it has been revoked: tell its owner",
        _ => "tell its owner",
    };
    HttpError::Certificate { host, why: why.to_string(), mend }
}
