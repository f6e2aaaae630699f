//! An upstream as it is configured: where it is, how it is spoken to, and how it shows who it is.
//!
//! Reads and prints `192.0.2.53:53`, `tls://…`, `https://…` and `quic://…`. Opens no file, and looks no name up:
//! a name without an address is a fault, since at a start nobody is there yet to ask for it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use rustls::pki_types::ServerName;

use super::stream::tls::Identity;

/// One upstream at one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Where it is.
    pub address: SocketAddr,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// Whether its word that an answer is authentic is believed.
    pub trust: Trust,
}

/// How an upstream is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protocol {
    /// UDP, and TCP where that is not enough.
    Plain,
    /// DNS over TLS (RFC 7858).
    Tls(Identity),
    /// DNS over HTTPS (RFC 8484), at this path.
    Https(Identity, Box<str>),
    /// DNS over QUIC (RFC 9250).
    Quic(Identity),
}

/// Whether an upstream's AD bit is believed (RFC 6840, section 5.8: over a secure channel, from one that is trusted).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trust {
    /// It is not.
    #[default]
    None,
    /// It is.
    Authenticity,
}

impl From<SocketAddr> for Upstream {
    fn from(address: SocketAddr) -> Self {
        Self { address, protocol: Protocol::Plain, trust: Trust::None }
    }
}

impl Upstream {
    /// Whether it is asked over UDP.
    pub fn is_plain(&self) -> bool {
        self.protocol == Protocol::Plain
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address;
        match &self.protocol {
            Protocol::Plain => write!(f, "{address}"),
            Protocol::Tls(identity) => write!(f, "tls://{address}#{}", identity.name()),
            Protocol::Https(identity, path) => write!(f, "https://{}{path}#{address}", identity.name()),
            Protocol::Quic(identity) => write!(f, "quic://{address}#{}", identity.name()),
        }
    }
}

/// The protocol that a URL names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// None: plain DNS.
    Plain,
    /// `tls`.
    Tls,
    /// `https`.
    Https,
    /// `quic`.
    Quic,
}

impl Scheme {
    /// The port where none is said (RFC 7858, section 3.1; RFC 9250, section 4.1.1).
    fn port(self) -> u16 {
        match self {
            Self::Plain => 53,
            Self::Tls | Self::Quic => 853,
            Self::Https => 443,
        }
    }

    /// What both sides call the protocol in their TLS handshake. DNS over TLS has a port of its own, and servers
    /// from before its name was registered.
    pub fn alpn(self) -> &'static [&'static [u8]] {
        match self {
            Self::Plain | Self::Tls => &[],
            Self::Https => &[b"h2"],
            Self::Quic => &[b"doq"],
        }
    }
}

/// Where an upstream is, as one line says it: `SCHEME://HOST:PORT/PATH#OTHER`, or `ADDRESS:PORT` for plain DNS.
///
/// Of host and other one is an address, the other the name in the certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    scheme: Scheme,
    name: Option<ServerName<'static>>,
    addresses: Vec<IpAddr>,
    port: u16,
    path: Box<str>,
}

/// What is wrong with a [`Location`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// No such protocol.
    #[error("{0}:// is no protocol that upstreams are asked over")]
    Scheme(String),
    /// Neither an address nor a name.
    #[error("{0:?} is neither an address nor a host name")]
    Host(String),
    /// A name where plain DNS needs an address.
    #[error("not an address and a port")]
    NotAnAddress,
    /// A name, and nothing that says where it is.
    #[error(
        "names are not looked up, for nobody is there to ask yet: say where it is, as in {0}#192.0.2.53 or \
         {{ url = \"{0}\", addresses = [\"192.0.2.53\"] }}"
    )]
    NoAddress(String),
    /// Two names for one certificate.
    #[error("it has two names, and a certificate is checked against one")]
    TwoNames,
    /// No port.
    #[error("{0:?} is no port")]
    Port(String),
    /// Octets that a URL's path does not have.
    #[error("its path has characters that must be written as %XX")]
    Path,
    /// A path where there is none.
    #[error("only https:// has a path")]
    NoPath,
    /// A name where no certificate is checked.
    #[error("plain DNS has no certificate to check a name against")]
    NameOfPlain,
}

/// The longest path of a URL that is sent.
const LONGEST_PATH: usize = 1024;

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        let Some((scheme, rest)) = text.split_once("://") else {
            let port = Scheme::Plain.port();
            let address = match text.parse::<IpAddr>() {
                Ok(address) => SocketAddr::new(address, port),
                Err(_) => text.parse().map_err(|_| LocationError::NotAnAddress)?,
            };
            let (addresses, port) = (vec![address.ip()], address.port());
            return Ok(Self { scheme: Scheme::Plain, name: None, addresses, port, path: "".into() });
        };
        let scheme = match scheme {
            "tls" => Scheme::Tls,
            "https" => Scheme::Https,
            "quic" => Scheme::Quic,
            other => return Err(LocationError::Scheme(other.to_owned())),
        };
        let (rest, other) = rest.split_once('#').map_or((rest, None), |(rest, other)| (rest, Some(other)));
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let path = match (scheme, path) {
            // RFC 8484 names no default; this path is everybody's.
            (Scheme::Https, "") => "/dns-query",
            (Scheme::Https, path) => path,
            (_, "" | "/") => "",
            _ => return Err(LocationError::NoPath),
        };
        if path.len() > LONGEST_PATH || !path.bytes().all(|octet| octet.is_ascii_graphic()) {
            return Err(LocationError::Path);
        }
        let (host, port) = split_port(authority, scheme.port())?;
        let mut location = Self { scheme, name: None, addresses: Vec::new(), port, path: path.into() };
        location.add_host(host)?;
        for other in other.into_iter().flat_map(|other| other.split(',')) {
            location.add_host(other)?;
        }
        Ok(location)
    }
}

/// Host and port; an IPv6 address stands in brackets.
fn split_port(authority: &str, default: u16) -> Result<(&str, u16), LocationError> {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => {
            (host, Some(rest.strip_prefix(':').ok_or_else(|| LocationError::Host(authority.to_owned()))?))
        }
        None => authority.rsplit_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    match port {
        None => Ok((host, default)),
        Some(port) => match port.parse() {
            Ok(number) if number > 0 => Ok((host, number)),
            _ => Err(LocationError::Port(port.to_owned())),
        },
    }
}

impl Location {
    /// The protocol.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Adds where the upstream is.
    pub fn add_address(&mut self, address: IpAddr) {
        if !self.addresses.contains(&address) {
            self.addresses.push(address);
        }
    }

    /// Adds the name that its certificate must have.
    ///
    /// # Errors
    /// It has another already, or none is checked.
    pub fn add_name(&mut self, name: &str) -> Result<(), LocationError> {
        if self.scheme == Scheme::Plain {
            return Err(LocationError::NameOfPlain);
        }
        // An absolute name's last dot is no part of a certificate's (RFC 9525, section 2).
        let bare = name.strip_suffix('.').unwrap_or(name);
        let name = ServerName::try_from(bare.to_owned()).map_err(|_| LocationError::Host(name.to_owned()))?;
        match &self.name {
            Some(other) if *other != name => Err(LocationError::TwoNames),
            _ => {
                self.name = Some(name);
                Ok(())
            }
        }
    }

    fn add_host(&mut self, host: &str) -> Result<(), LocationError> {
        match host.trim_matches(['[', ']']).parse() {
            Ok(address) => self.add_address(address),
            Err(_) => self.add_name(host)?,
        }
        Ok(())
    }

    /// The name that the certificate must have; where no other is said, the address itself.
    fn certified(&self) -> Option<ServerName<'static>> {
        self.name.clone().or_else(|| self.addresses.first().map(|&address| ServerName::from(address)))
    }

    /// One upstream for each address; `identify` makes a name its identity.
    ///
    /// # Errors
    /// There is no address, or what `identify` says.
    pub fn upstreams<E: From<LocationError>>(
        &self,
        trust: Trust,
        identify: impl FnOnce(ServerName<'static>) -> Result<Identity, E>,
    ) -> Result<Vec<Upstream>, E> {
        let Some(name) = self.certified() else {
            return Err(LocationError::NoAddress(self.to_string()).into());
        };
        if self.addresses.is_empty() {
            return Err(LocationError::NoAddress(self.to_string()).into());
        }
        let protocol = match self.scheme {
            Scheme::Plain => Protocol::Plain,
            Scheme::Tls => Protocol::Tls(identify(name)?),
            Scheme::Https => Protocol::Https(identify(name)?, self.path.clone()),
            Scheme::Quic => Protocol::Quic(identify(name)?),
        };
        let upstream = |&address: &IpAddr| {
            let address = SocketAddr::new(address, self.port);
            Upstream { address, protocol: protocol.clone(), trust }
        };
        Ok(self.addresses.iter().map(upstream).collect())
    }
}

/// Without its addresses, but where it has no name.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Plain => "",
            Scheme::Tls => "tls://",
            Scheme::Https => "https://",
            Scheme::Quic => "quic://",
        };
        let host = self.certified().map(|name| name.to_str().into_owned()).unwrap_or_default();
        write!(f, "{scheme}{host}")?;
        if self.port != self.scheme.port() {
            write!(f, ":{}", self.port)?;
        }
        if *self.path != *"/dns-query" {
            write!(f, "{}", self.path)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Upstream>, LocationError> {
        text.parse::<Location>()?.upstreams(Trust::None, |name| Ok(Identity::untrusting(name)))
    }

    #[test]
    fn what_is_written_is_read() {
        fn check(text: &str, expected: &[&str]) {
            let got: Vec<String> = read(text).unwrap().iter().map(ToString::to_string).collect();
            assert_eq!(got, expected, "{text}");
        }
        check("192.0.2.53", &["192.0.2.53:53"]);
        check("192.0.2.53:5353", &["192.0.2.53:5353"]);
        check("2001:db8::1", &["[2001:db8::1]:53"]);
        check("[2001:db8::1]:5353", &["[2001:db8::1]:5353"]);
        check("tls://192.0.2.53", &["tls://192.0.2.53:853#192.0.2.53"]);
        check("tls://192.0.2.53:8853#dns.example.", &["tls://192.0.2.53:8853#dns.example"]);
        check("tls://[2001:db8::1]:853#dns.example", &["tls://[2001:db8::1]:853#dns.example"]);
        check(
            "tls://dns.example#192.0.2.53,2001:db8::1",
            &["tls://192.0.2.53:853#dns.example", "tls://[2001:db8::1]:853#dns.example"],
        );
        check("https://dns.example/q#192.0.2.53", &["https://dns.example/q#192.0.2.53:443"]);
        check("https://dns.example:8443#192.0.2.53", &["https://dns.example/dns-query#192.0.2.53:8443"]);
        check("https://192.0.2.53/dns-query", &["https://192.0.2.53/dns-query#192.0.2.53:443"]);
        check("quic://192.0.2.53:853#dns.example", &["quic://192.0.2.53:853#dns.example"]);
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        fn check(text: &str, expected: &str) {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        check("dns.example", "not an address and a port");
        check("192.0.2.53:", "not an address and a port");
        check("udp://192.0.2.53", "udp:// is no protocol");
        check("tls://dns.example", "tls://dns.example#192.0.2.53");
        check("https://dns.example:8443/q", "https://dns.example:8443/q#192.0.2.53");
        check("tls://", "neither an address nor a host name");
        check("tls://192.0.2.53#a b", "neither an address nor a host name");
        check("tls://dns.example#other.example", "two names");
        check("tls://192.0.2.53:0", "no port");
        check("tls://192.0.2.53:66000", "no port");
        check("tls://192.0.2.53/path", "only https");
        check("https://192.0.2.53/a b", "%XX");
    }
}
