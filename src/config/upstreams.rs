//! Upstreams and routes in the configuration: each a line of text or a table, and who they must show to be.
//!
//! Reads the files of certificates that they name, so that a missing one is told at once.

use std::cell::OnceCell;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use super::faults::Problem;
use super::reader::{Reader, Table, Value, boolean, fields, list, parsed, some, text};
use super::{Server, Transports};
use crate::name::Name;
use crate::resolve::forward::{self, Recursion};
use crate::resolve::health::Strategy;
use crate::resolve::routes::Route;
use crate::resolve::stream::tls::{Identity, IdentityError, Pin, Roots, RootsError};
use crate::resolve::upstream::{Location, LocationError, Trust, Upstream};

const EXPECTED: &str = "an address such as \"192.0.2.53:53\", or \"tls://192.0.2.53#dns.example\", \
                        \"https://dns.example/dns-query#192.0.2.53\" or \"quic://192.0.2.53#dns.example\"";
/// The most that is read of a file of certificates: many times what systems trust.
const LONGEST_FILE: u64 = 8 << 20;
const KEYS: &str = "url, addresses, name, ca, pins and trusted";

/// What upstreams are read with.
pub(super) struct Reading<'l> {
    /// Where this server listens: no upstream of its own.
    server: &'l Server,
    /// Read where somebody needs them.
    system: OnceCell<Result<Roots, RootsError>>,
}

/// Why something is no upstream.
enum Wrong {
    Location(LocationError),
    Identity(IdentityError),
    /// The machine trusts nobody.
    NoRoots(RootsError),
}

impl From<LocationError> for Wrong {
    fn from(error: LocationError) -> Self {
        Self::Location(error)
    }
}

impl<'l> Reading<'l> {
    pub(super) fn new(server: &'l Server) -> Self {
        Self { server, system: OnceCell::new() }
    }

    /// A list of at least one; those that say nothing themselves are trusted like this.
    pub(super) fn upstreams(&self, value: Value<'_>, trust: Trust) -> Result<Vec<Upstream>, Problem> {
        let read = some("at least one resolver, such as [\"192.0.2.53:53\"]", |value| self.one(value, trust));
        // One that has more than one address is more than one.
        Ok(read(value)?.into_iter().flatten().collect())
    }

    /// All of `[[route]]`; what they do not say themselves is as in `common`.
    pub(super) fn routes<'a>(
        &self,
        reader: &mut Reader<'a>,
        top: &mut Table<'a>,
        common: &forward::Options,
    ) -> Vec<Route> {
        let mut routes: Vec<Route> = Vec::new();
        for mut table in reader.tables(top, "route") {
            let line = table.line();
            let domain = reader.required(&mut table, "domain", "domain = \"agency.example.vn\"", domain);
            let trusted = reader.take(&mut table, "trusted", false, boolean);
            let trust = trust(trusted);
            let upstreams =
                reader.required(&mut table, "upstreams", "upstreams = [\"192.0.2.53:53\"]", |value| {
                    self.upstreams(value, trust)
                });
            let strategy = reader.take(&mut table, "strategy", Strategy::default(), strategy);
            let recursion = reader.take(&mut table, "recursion", true, boolean);
            let recursion = if recursion { Recursion::Desired } else { Recursion::None };
            reader.finish(table, &[]);
            let (Some(domain), Some(upstreams)) = (domain, upstreams) else { continue };
            if routes.iter().any(|route| route.domain == domain) {
                reader.fault(line, "route.domain", Problem::Twice(domain.to_string()));
                continue;
            }
            let own = Some(domain.clone());
            let upstreams =
                forward::Options { upstreams, strategy, recursion, domain: own, ..common.clone() };
            routes.push(Route { domain, upstreams });
        }
        routes
    }

    fn one(&self, value: Value<'_>, trust: Trust) -> Result<Vec<Upstream>, Problem> {
        let Some(fields) = fields(value) else {
            let text = text(value)?;
            let location = located(text)?;
            return self.finish(text, &location, None, Vec::new(), trust);
        };
        let (mut url, mut roots, mut pins, mut trust) = (None, None, Vec::new(), trust);
        let (mut addresses, mut name) = (Vec::new(), None);
        for (key, value) in fields {
            match key {
                "url" => url = Some(text(value)?),
                "addresses" => {
                    addresses =
                        list(parsed("an address such as \"192.0.2.53\"", str::parse::<IpAddr>))(value)?;
                }
                "name" => name = Some(text(value)?),
                "ca" => roots = Some(read_roots(text(value)?)?),
                "pins" => {
                    let expected = "\"sha256/\" and the Base64 of a key's digest, as `openssl x509 -pubkey -noout \
                                    | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64` \
                                    prints";
                    pins = list(parsed(expected, str::parse::<Pin>))(value)?;
                }
                "trusted" => trust = self::trust(boolean(value)?),
                other => {
                    let (got, why) = (other.to_owned(), "an upstream has no such key".to_owned());
                    return Err(Problem::Value { got, why, expected: KEYS });
                }
            }
        }
        let Some(url) = url else {
            let (got, why) = ("{ … }".to_owned(), "it does not say how the upstream is asked".to_owned());
            return Err(Problem::Value {
                got,
                why,
                expected: "url = \"tls://dns.example\" in it, for example",
            });
        };
        let mut location = located(url)?;
        addresses.into_iter().for_each(|address| location.add_address(address));
        if let Some(name) = name {
            location.add_name(name).map_err(|error| wrong(name, error))?;
        }
        self.finish(url, &location, roots, pins, trust)
    }

    fn finish(
        &self,
        text: &str,
        location: &Location,
        roots: Option<Roots>,
        pins: Vec<Pin>,
        trust: Trust,
    ) -> Result<Vec<Upstream>, Problem> {
        let identify = |name| {
            let roots = match roots {
                Some(roots) => roots,
                None => self.system.get_or_init(Roots::of_system).clone().map_err(Wrong::NoRoots)?,
            };
            Identity::new(name, roots, pins, location.scheme().alpn()).map_err(Wrong::Identity)
        };
        let upstreams = location.upstreams(trust, identify).map_err(|error| match error {
            Wrong::Location(error) => wrong(text, error),
            Wrong::Identity(error) => wrong(text, error),
            Wrong::NoRoots(error) => Problem::Value {
                got: text.to_owned(),
                why: format!("this machine trusts no certificates: {error}"),
                expected: "{ url = …, ca = \"ca.pem\" }, or install the package ca-certificates",
            },
        })?;
        match upstreams.iter().find(|upstream| self.is_own(upstream)) {
            None => Ok(upstreams),
            Some(own) => Err(Problem::Value {
                got: own.to_string(),
                why: "this server listens at this address: every query would be asked of this server again"
                    .to_owned(),
                expected: "the address of another resolver, such as \"192.0.2.53:53\"",
            }),
        }
    }

    /// Whether an upstream is this server itself: a query would go round until nothing is left.
    fn is_own(&self, upstream: &Upstream) -> bool {
        let address = upstream.address;
        let Transports { tls, https, quic, .. } = &self.server.transports;
        let is_it = |own: &SocketAddr| {
            own.port() == address.port()
                && own.port() != 0
                && (own.ip() == address.ip() || own.ip().is_unspecified() && address.ip().is_loopback())
        };
        match upstream.is_plain() {
            true => self.server.listen.iter().any(is_it),
            false => [tls, https, quic].into_iter().flatten().any(is_it),
        }
    }
}

pub(super) fn strategy(value: Value<'_>) -> Result<Strategy, Problem> {
    parsed("\"ordered\", \"fastest\" or \"spread\"", |text| match text {
        "ordered" => Ok(Strategy::Ordered),
        "fastest" => Ok(Strategy::Fastest),
        "spread" => Ok(Strategy::Spread),
        _ => Err("none of the three"),
    })(value)
}

fn trust(is_trusted: bool) -> Trust {
    if is_trusted { Trust::Authenticity } else { Trust::None }
}

/// A domain, reverse zones as RFC 2317 writes them too.
fn domain(value: Value<'_>) -> Result<Name, Problem> {
    let expected = "a domain such as \"agency.example.vn\" or \"10.in-addr.arpa\"";
    parsed(expected, |text| {
        let name = Name::from_host(text).or_else(|_| Name::from_presentation(text));
        match name {
            Ok(name) if name.is_root() => Err("all names are resolver.upstreams' matter".to_owned()),
            other => other.map_err(|error| error.to_string()),
        }
    })(value)
}

fn located(text: &str) -> Result<Location, Problem> {
    text.parse().map_err(|error: LocationError| wrong(text, error))
}

fn wrong(text: &str, why: impl std::error::Error) -> Problem {
    Problem::Value { got: text.to_owned(), why: why.to_string(), expected: EXPECTED }
}

fn read_roots(path: &str) -> Result<Roots, Problem> {
    let path = Path::new(path);
    let pem = read_certificates(path)?;
    Roots::from_pem(&pem).map_err(|error| Problem::File { path: path.to_owned(), why: error.to_string() })
}

/// A file of certificates in PEM form.
pub(super) fn read_certificates(path: &Path) -> Result<Vec<u8>, Problem> {
    let read = || {
        // Opening a named pipe would wait for its other end.
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::other("not a file"));
        }
        let mut pem = Vec::new();
        File::open(path)?.take(LONGEST_FILE).read_to_end(&mut pem)?;
        Ok(pem)
    };
    read().map_err(|error| Problem::File { path: path.to_owned(), why: error.to_string() })
}
