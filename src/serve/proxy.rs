//! PROXY protocol, version 2: the header in which a trusted balancer says who asks (HAProxy's
//! proxy-protocol.txt, section 2.2).
//!
//! Reads headers; whose must be there is the operator's word ([`Proxies`]). Version 1 is not spoken, checksums
//! and other TLVs are passed over. Nothing is allocated.
//!
//! ```text
//! size  field                                        (numbers are big-endian)
//!   12  signature: 0D 0A 0D 0A 00 0D 0A 51 55 49 54 0A
//!    1  version 2 in the upper half; command: 0 = LOCAL, 1 = PROXY
//!    1  family in the upper half: 0 = unspecified, 1 = IPv4, 2 = IPv6, 3 = UNIX; protocol in the lower
//!    2  octets that follow
//!       source and destination address (4 or 16 octets each), source and destination port (2 each)
//!       TLVs
//! ```

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::client::prefix::PrefixMap;
use crate::wire::u16_at;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Octets before the addresses.
const FIXED: usize = 16;
/// The longest header that is taken from a stream; one with certificates in its TLVs stays below.
const LONGEST: usize = 4096;
/// The least time between two reports of balancers that are not understood.
const REPORT: Duration = Duration::from_secs(60);

/// A header that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Who asks; `None` where the balancer speaks for itself (a health check), or does not know.
    pub source: Option<SocketAddr>,
    /// Octets of the whole header.
    pub len: usize,
}

/// Why octets do not start with a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// Something else is there.
    #[error("no PROXY v2 header; let the balancer send one, or take it out of server.proxy_from")]
    Missing,
    /// It is cut.
    #[error("the PROXY v2 header is cut off")]
    Cut,
    /// It says what no version says.
    #[error("the PROXY v2 header has an unknown version, command or family")]
    Unknown,
    /// Its addresses do not fit its length.
    #[error("the PROXY v2 header is too short for its addresses")]
    Short,
    /// It is longer than any that makes sense.
    #[error("the PROXY v2 header is longer than {LONGEST} octets")]
    Long,
}

/// Reads the header at the start of `octets`.
///
/// # Errors
/// [`ProxyError`]
pub fn parse(octets: &[u8]) -> Result<Header, ProxyError> {
    let len = header_len(octets)?;
    let header = octets.get(..len).ok_or(ProxyError::Cut)?;
    let addresses = &header[FIXED..];
    let source = match (header[12], header[13] >> 4) {
        // LOCAL: whatever is there is not to be looked at. UNSPEC and UNIX: there is no address to be had.
        (0x20, _) | (0x21, 0 | 3) => None,
        (0x21, 1) => {
            let octets: [u8; 4] = *addresses.first_chunk().ok_or(ProxyError::Short)?;
            let port = addresses.get(..12).and_then(|all| u16_at(all, 8)).ok_or(ProxyError::Short)?;
            Some(SocketAddr::new(Ipv4Addr::from(octets).into(), port))
        }
        (0x21, 2) => {
            let octets: [u8; 16] = *addresses.first_chunk().ok_or(ProxyError::Short)?;
            let port = addresses.get(..36).and_then(|all| u16_at(all, 32)).ok_or(ProxyError::Short)?;
            Some(SocketAddr::new(IpAddr::from(Ipv6Addr::from(octets)).to_canonical(), port))
        }
        _ => return Err(ProxyError::Unknown),
    };
    Ok(Header { source, len })
}

/// How long the header is whose first octets these are.
fn header_len(octets: &[u8]) -> Result<usize, ProxyError> {
    let start = &octets[..octets.len().min(SIGNATURE.len())];
    if !SIGNATURE.starts_with(start) || octets.is_empty() {
        return Err(ProxyError::Missing);
    }
    let len = u16_at(octets, 14).ok_or(ProxyError::Cut)?;
    Ok(FIXED + usize::from(len))
}

/// Reads the header off a stream, and not one octet more.
///
/// # Errors
/// What the stream said, or a [`ProxyError`] within.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Header> {
    let mut header = [0; LONGEST];
    stream.read_exact(&mut header[..FIXED]).await?;
    let len = header_len(&header[..FIXED]).map_err(io::Error::other)?;
    let rest = header.get_mut(FIXED..len).ok_or_else(|| io::Error::other(ProxyError::Long))?;
    stream.read_exact(rest).await?;
    parse(&header[..len]).map_err(io::Error::other)
}

/// The balancers that are trusted to say who asks.
#[derive(Debug)]
pub struct Proxies {
    networks: PrefixMap<()>,
    reported: Mutex<Option<Instant>>,
}

impl Proxies {
    /// Those in these networks; all that comes from them must start with a header.
    pub fn new(networks: PrefixMap<()>) -> Self {
        Self { networks, reported: Mutex::default() }
    }

    /// Whether what comes from `peer` must start with a header.
    pub fn has(&self, peer: IpAddr) -> bool {
        self.networks.find(peer).is_some()
    }

    /// The query in a datagram and who asked it; `None` where a balancer's header is missing or wrong,
    /// which is reported, but not often.
    pub fn open<'a>(&self, datagram: &'a [u8], peer: SocketAddr) -> Option<(&'a [u8], IpAddr)> {
        let sender = peer.ip().to_canonical();
        if !self.has(sender) {
            return Some((datagram, sender));
        }
        match parse(datagram) {
            Ok(header) => {
                let client = header.source.map_or(sender, |source| source.ip());
                Some((datagram.get(header.len..)?, client))
            }
            Err(error) => {
                self.report(sender, &error);
                None
            }
        }
    }

    /// Tells of a balancer that is not understood, at most once a minute.
    pub fn report(&self, peer: IpAddr, error: &dyn std::fmt::Display) {
        // Who is reporting already need not be waited for.
        let Ok(mut reported) = self.reported.try_lock() else { return };
        if reported.is_none_or(|at| at.elapsed() > REPORT) {
            *reported = Some(Instant::now());
            tracing::warn!(%peer, %error, "what a balancer sent is not answered");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = (rest.len() as u16).to_be_bytes();
        [SIGNATURE, &[command, family][..], &len, rest].concat()
    }

    const V4: &[u8] = b"\x0a\x01\x02\x03\x7f\x00\x00\x01\x30\x39\x00\x35";

    #[track_caller]
    fn check(octets: &[u8], expected: Result<Option<&str>, ProxyError>) {
        let source = parse(octets).map(|header| header.source.map(|source| source.to_string()));
        assert_eq!(source, expected.map(|source| source.map(str::to_owned)), "{octets:02x?}");
    }

    #[test]
    fn the_client_is_read() {
        check(&header(0x21, 0x12, V4), Ok(Some("10.1.2.3:12345")));
        check(&header(0x21, 0x11, &[V4, b"\x04\x00\x01x"].concat()), Ok(Some("10.1.2.3:12345")));
        let v6 = [&[0x20, 1, 0xd, 0xb8], &[0; 11][..], &[7], &[0; 16], b"\x30\x39\x00\x35"].concat();
        check(&header(0x21, 0x21, &v6), Ok(Some("[2001:db8::7]:12345")));
        let mapped = [&[0; 10][..], &[0xff, 0xff, 10, 1, 2, 3], &[0; 16], b"\x30\x39\x00\x35"].concat();
        check(&header(0x21, 0x21, &mapped), Ok(Some("10.1.2.3:12345")));
    }

    #[test]
    fn the_balancer_may_speak_for_itself() {
        check(&header(0x20, 0x00, b""), Ok(None));
        check(&header(0x20, 0x11, V4), Ok(None));
        check(&header(0x21, 0x00, b""), Ok(None));
        check(&header(0x21, 0x31, &[0; 216]), Ok(None));
    }

    #[test]
    fn what_is_no_header_is_told() {
        check(b"", Err(ProxyError::Missing));
        check(b"\x12\x34\x01\x00", Err(ProxyError::Missing));
        check(b"PROXY TCP4 10.1.2.3 127.0.0.1 12345 53\r\n", Err(ProxyError::Missing));
        check(&header(0x11, 0x11, V4), Err(ProxyError::Unknown));
        check(&header(0x22, 0x11, V4), Err(ProxyError::Unknown));
        check(&header(0x21, 0x41, V4), Err(ProxyError::Unknown));
        check(&header(0x21, 0x21, V4), Err(ProxyError::Short));
        check(&header(0x21, 0x11, &V4[..11]), Err(ProxyError::Short));
        let whole = header(0x21, 0x11, V4);
        for len in 1..whole.len() {
            check(&whole[..len], Err(ProxyError::Cut));
        }
    }

    #[tokio::test]
    async fn a_stream_is_read_up_to_the_headers_end() {
        let mut octets = &*[header(0x21, 0x11, V4), b"query".to_vec()].concat();
        let found = read(&mut octets).await.unwrap();
        assert_eq!(found.source.unwrap().to_string(), "10.1.2.3:12345");
        assert_eq!(octets, b"query");
        let long = header(0x21, 0x11, &[0; LONGEST]);
        assert!(read(&mut &*long).await.unwrap_err().to_string().contains("longer than 4096"));
        assert!(read(&mut &b"\0\x1d no header, but a query"[..]).await.is_err());
    }

    #[test]
    fn only_balancers_may_and_must_send_one() {
        let proxies = Proxies::new(PrefixMap::new([("10.9.0.0/16".parse().unwrap(), ())]).unwrap());
        let query = b"a query".to_vec();
        let proxied = [header(0x21, 0x12, V4), query.clone()].concat();
        let check = |datagram: &[u8], peer: &str, expected: Option<(&[u8], &str)>| {
            let got = proxies.open(datagram, peer.parse().unwrap());
            let got = got.map(|(query, client)| (query, client.to_string()));
            assert_eq!(got, expected.map(|(query, client)| (query, client.to_owned())), "{peer}");
        };
        check(&proxied, "10.9.0.1:53", Some((&query, "10.1.2.3")));
        check(&query, "10.9.0.1:53", None);
        check(&query, "10.8.0.1:53", Some((&query, "10.8.0.1")));
        check(&proxied, "10.8.0.1:53", Some((&proxied, "10.8.0.1")));
        check(&proxied, "[::ffff:10.9.0.1]:53", Some((&query, "10.1.2.3")));
        let local = [header(0x20, 0, b""), query.clone()].concat();
        check(&local, "10.9.0.1:53", Some((&query, "10.9.0.1")));
    }
}
