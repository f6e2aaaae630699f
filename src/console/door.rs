//! What stands between a socket and a request: TLS, and a reverse proxy that says who is behind it.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::credentials::Credentials;

/// How long a handshake, or the first octet before it, may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The first octet of a TLS record with a ClientHello (RFC 8446, section 5.1).
const HELLO: u8 = 0x16;
/// Hops of X-Forwarded-For that are looked at: a chain of proxies is short.
const HOPS: usize = 16;

/// TLS with whatever certificate is in force.
pub(super) fn acceptor(credentials: &Arc<Credentials>) -> Result<TlsAcceptor, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::<Credentials>::clone(credentials));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Shakes hands. A browser that was told `http://` is told `https://`, and nothing comes back.
pub(super) async fn encrypt(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
) -> io::Result<Option<TlsStream<TcpStream>>> {
    let mut first = [0];
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    let read = timeout(HANDSHAKE, stream.peek(&mut first)).await.map_err(late)??;
    if read == 0 {
        return Ok(None);
    }
    if first[0] != HELLO {
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HANDSHAKE)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service_fn(elsewhere));
        let _ = timeout(HANDSHAKE, served).await;
        return Ok(None);
    }
    timeout(HANDSHAKE, acceptor.accept(stream)).await.map_err(late)?.map(Some)
}

async fn elsewhere(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let target = host(request.headers()).map(|host| format!("https://{host}{path}"));
    let target = target.filter(|_| path.starts_with('/'));
    let mut answer = Response::new(Full::new(Bytes::from_static(b"this port speaks https\n")));
    match target.and_then(|target| HeaderValue::from_str(&target).ok()) {
        Some(target) => {
            *answer.status_mut() = StatusCode::PERMANENT_REDIRECT;
            answer.headers_mut().insert(header::LOCATION, target);
        }
        None => *answer.status_mut() = StatusCode::BAD_REQUEST,
    }
    Ok(answer)
}

/// The host and port that a request names, if that is one.
pub(super) fn host(headers: &HeaderMap) -> Option<&str> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || b".-:[]_".contains(&octet);
    Some(host).filter(|host| !host.is_empty() && host.len() < 256 && host.bytes().all(is_plain))
}

/// Who asks, and whether that was over TLS, as far as the proxies that are trusted say so.
pub(super) fn behind(
    proxies: &[IpNet],
    peer: IpAddr,
    is_encrypted: bool,
    headers: &HeaderMap,
) -> (IpAddr, bool) {
    let is_proxy = |address: IpAddr| proxies.iter().any(|network| network.contains(&address));
    if !is_proxy(peer) {
        return (peer, is_encrypted);
    }
    let values: Vec<&str> =
        headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok()).collect();
    let mut client = peer;
    // Each proxy adds behind those before who spoke to it: whatever stands before the last one that is not ours is hearsay.
    for hop in values.iter().rev().flat_map(|value| value.rsplit(',')).take(HOPS) {
        let Ok(address) = hop.trim().trim_matches(['[', ']']).parse::<IpAddr>() else { break };
        client = address.to_canonical();
        if !is_proxy(client) {
            break;
        }
    }
    let scheme = headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok());
    (client, scheme.map_or(is_encrypted, |scheme| scheme == "https"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_proxies_that_are_trusted_say_who_asks() {
        let proxies: Vec<IpNet> = ["10.9.0.0/24", "fd00::/64"].map(|net| net.parse().unwrap()).to_vec();
        let check = |peer: &str, fields: &[(&'static str, &'static str)], expected: (&str, bool)| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, HeaderValue::from_static(value));
            }
            let (client, is_encrypted) = behind(&proxies, peer.parse().unwrap(), false, &headers);
            assert_eq!((&*client.to_string(), is_encrypted), expected, "{peer} {fields:?}");
        };
        let of = "x-forwarded-for";
        let proto = "x-forwarded-proto";
        check("10.1.0.1", &[(of, "10.7.7.7"), (proto, "https")], ("10.1.0.1", false));
        check("10.9.0.1", &[], ("10.9.0.1", false));
        check("10.9.0.1", &[(of, "10.7.7.7"), (proto, "https")], ("10.7.7.7", true));
        check("10.9.0.1", &[(of, "10.7.7.7"), (proto, "http")], ("10.7.7.7", false));
        // What the client itself wrote counts for nothing.
        check("10.9.0.1", &[(of, "1.2.3.4, 10.7.7.7")], ("10.7.7.7", false));
        check("10.9.0.1", &[(of, "1.2.3.4"), (of, "10.7.7.7, 10.9.0.2")], ("10.7.7.7", false));
        check("10.9.0.1", &[(of, "1.2.3.4, nonsense")], ("10.9.0.1", false));
        check("fd00::1", &[(of, "::ffff:10.7.7.7")], ("10.7.7.7", false));
    }

    #[test]
    fn a_host_is_one() {
        let check = |text: &str, is_one: bool| {
            let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_str(text).unwrap())]);
            assert_eq!(host(&headers).is_some(), is_one, "{text}");
        };
        check("console.example.vn:8053", true);
        check("[::1]:8053", true);
        for text in ["", "a/b", "a@b", "a\"b", "a b", "a?b", "a#b"] {
            check(text, false);
        }
    }
}
