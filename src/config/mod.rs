//! The configuration: immutable, validated, and with the place of every setting.
//!
//! `file` mirrors the TOML file; here is what the daemon and the commands get. Subsystems own
//! their options and never import this module.

mod audiences;
mod cases;
mod clickhouse;
mod console;
mod console_oidc;
mod export;
mod faults;
mod fetch;
mod file;
mod gate;
mod identity;
mod identity_files;
mod landing;
mod log;
mod notices;
mod outlets;
mod publish;
mod reader;
mod report;
mod roster;
mod sinkhole;
mod transports;
mod upstreams;
mod zones;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

pub use cases::{Cases, Office};
pub use export::Export;
pub use faults::{Fault, Faults, Problem};
pub use landing::Landing;
pub use publish::Publication;
pub use report::Reports;
pub use sinkhole::Watch;
pub use transports::Transports;

use roster::RosterIn;

use crate::client::Agency;
use crate::client::cookie::Secret;
use crate::client::limits::Rates;
use crate::credentials::{self, Concern, CredentialsError, Loaded};
use crate::evidence::store::clickhouse as clickhouse_store;
use crate::evidence::{archive, journal};
use crate::feed::gate as feed_gate;
use crate::feed::source::{Origin, Source};
use crate::feed::store::Store;
use crate::fetch::Remote;
use crate::fetch::bundle::PublicKey;
use crate::identity::follow;
use crate::name::Name;
use crate::outlet;
use crate::resolve::validate::anchor::{AnchorFault, Anchors};
use crate::resolve::{cache, recurse, routes, validate, zone};
use crate::roster::Known;
use crate::serve::apply::Sinkhole;
use crate::serve::identity::Identity;
use crate::serve::pipeline::{LogScope, Waiting};
use crate::serve::rulebook::Reach;
use crate::serve::special::Special;
use crate::sinkhole::http;
use crate::tsig::Key;

/// Everything that can be set.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file that it was read from.
    pub path: PathBuf,
    /// Everything that the server writes is below this folder.
    pub data_dir: PathBuf,
    /// How much the server says about itself.
    pub diagnostics: tracing::Level,
    /// Serving stubs.
    pub server: Server,
    /// Who is asked for what the cache does not have, and no route takes; how recursion goes about it.
    pub recursion: Recursion,
    /// Forwarding. How names are recursed for is not known before [`Config::sources`].
    pub forward: routes::Options,
    /// Names that are answered here and asked of nobody.
    pub special: SpecialNames,
    /// Local zones.
    pub zones: Vec<zone::Source>,
    /// With what transfers are signed.
    pub tsig_keys: Vec<Key>,
    /// Keeping answers.
    pub cache: cache::Options,
    /// Names that are NXDOMAIN whatever the feeds say.
    pub canaries: Vec<Name>,
    /// Where sinkholed names lead.
    pub sinkhole: Sinkhole,
    /// The landing page's listener.
    pub http: http::Options,
    /// … and the files that it is made of.
    pub landing: Landing,
    /// What the sinkhole does beside it.
    pub watch: Watch,
    /// Feeds in order; the earlier one wins.
    pub feeds: Vec<Source>,
    /// The policy as lists for others.
    pub export: Export,
    /// Feeds that are fetched.
    pub remotes: Vec<Remote>,
    /// Who may make bundles of feeds.
    pub bundle_keys: Vec<PublicKey>,
    /// What no feed may do.
    pub gate: feed_gate::Options,
    /// Where the versions of feeds are kept.
    pub versions: Store,
    /// Where staff sign in.
    pub console: crate::console::Options,
    /// The policy as zones for other resolvers.
    pub publish: Vec<Publication>,
    /// Agencies: those of this file, then those of `data_dir/agencies.json`.
    pub agencies: Vec<Agency>,
    /// How many of them are of this file.
    pub own_agencies: usize,
    /// Following machines until they are clean.
    pub cases: Cases,
    /// Figures for those above.
    pub reports: Reports,
    /// Feeds that do not apply to everybody.
    pub reaches: Vec<Reach>,
    /// Which queries are recorded.
    pub log_scope: LogScope,
    /// How records are kept.
    pub log: journal::Options,
    /// … and what becomes of old ones.
    pub archive: archive::Options,
    /// … and ClickHouse, which gets them too.
    pub clickhouse: Option<clickhouse_store::Options>,
    /// Whom they are sent on to.
    pub outlets: Vec<outlet::Options>,
    /// Files that say which machine had which address.
    pub identity: follow::Options,
    /// Bounds.
    pub limits: Limits,
    /// Settings that a later release will know: they do nothing yet, which people should be told.
    pub unused: Vec<Fault>,
    lines: BTreeMap<String, usize>,
}

/// `resolver.mode`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Other resolvers.
    Forward,
    /// The name servers in charge, from the root down.
    Recurse,
}

/// What `[resolver]` says of recursion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recursion {
    /// Whether there is any.
    pub way: Way,
    /// The file with the root's servers.
    pub root_hints: PathBuf,
    /// Validating answers.
    pub dnssec: Dnssec,
}

/// `[server]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Where UDP and TCP are served.
    pub listen: Vec<SocketAddr>,
    /// UDP workers an address, at least one.
    pub workers: usize,
    /// Networks whose clients are answered.
    pub allow: Vec<ipnet::IpNet>,
    /// Forwarders that are believed about their clients.
    pub trusted_forwarders: Vec<ipnet::IpNet>,
    /// Whether clients get cookies.
    pub cookies: bool,
    /// What cookies are signed with: the first signs, all are taken. None: one of the server's own.
    pub cookie_secrets: Vec<Secret>,
    /// Encrypted transports, and balancers.
    pub transports: Transports,
    /// What the server tells of itself.
    pub identity: Identity,
}

/// What `[resolver]` says of DNSSEC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dnssec {
    /// Whether answers are validated.
    pub is_on: bool,
    /// Files of trust anchors; none: the root's built-in ones.
    pub trust_anchors: Vec<PathBuf>,
    /// Names at and below which nothing is validated.
    pub negative_trust_anchors: Vec<Name>,
}

/// Which names are special.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecialNames {
    /// Whether any is.
    pub are_on: bool,
    /// Names that are resolved all the same, with all below them.
    pub except: Vec<Name>,
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Queries that wait for upstreams at once.
    pub waiting: Waiting,
    /// How many a second.
    pub rates: Rates,
    /// Clients that may ask any number.
    pub exempt: Vec<ipnet::IpNet>,
    /// Connections at once of all stream transports together.
    pub tcp_connections: usize,
    /// … of one client.
    pub tcp_per_client: usize,
    /// After which an idle one is closed.
    pub tcp_idle: Duration,
}

impl Config {
    /// Reads and checks the file at `path`. Relative paths in it start from the working directory.
    ///
    /// # Errors
    /// [`Faults`]: everything that is wrong, at once.
    pub fn load(path: &Path) -> Result<Self, Faults> {
        Self::load_beside(path, RosterIn::DataDir)
    }

    /// Reads and checks it again, for a server that has this data folder whatever the file says now.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn reload(path: &Path, data_dir: &Path) -> Result<Self, Faults> {
        Self::load_beside(path, RosterIn::Folder(data_dir))
    }

    fn load_beside(path: &Path, place: RosterIn<'_>) -> Result<Self, Faults> {
        let text = std::fs::read_to_string(path).map_err(|source| {
            Faults(vec![Fault::whole_file(
                path,
                Problem::Unreadable(if source.kind() == std::io::ErrorKind::InvalidData {
                    "it is not UTF-8 text".to_owned()
                } else {
                    source.to_string()
                }),
            )])
        })?;
        file::read(path, &text, place)
    }

    /// Checks the text of a configuration alone; `path` is what faults name.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, Faults> {
        file::read(path, text, RosterIn::Nowhere)
    }

    /// `FILE:LINE: SETTING`, for errors that show only later, such as a port in use.
    pub fn place(&self, setting: &str) -> String {
        match self.lines.get(setting) {
            Some(line) => format!("{}:{line}: {setting}", self.path.display()),
            None => format!("{}: {setting} (not set there: its default)", self.path.display()),
        }
    }

    /// Whether every feed's file can be opened now, but for those feeds whose file is not needed, and
    /// every list of the gate.
    ///
    /// # Errors
    /// [`Faults`]: all that cannot, with their lines. Commands that need no feed do not ask.
    pub fn check_feeds(&self, is_needed: impl Fn(&Source) -> bool) -> Result<(), Faults> {
        let fault = |path: &Path, setting: &str, at: &str| {
            let why = match readable_kind(path) {
                Ok(kind) if kind.is_file() => return None,
                Ok(_) => "not a file".to_owned(),
                Err(error) => error.to_string(),
            };
            Some(Fault {
                path: self.path.clone(),
                line: self.lines.get(at).copied(),
                setting: setting.to_owned(),
                problem: Problem::File { path: path.to_owned(), why },
            })
        };
        let mut faults = Vec::new();
        for source in self.feeds.iter().filter(|source| is_needed(source)) {
            let Origin::File(path) = &source.origin else { continue };
            faults.extend(fault(path, "feed.source", &format!("feed.source {}", source.name)));
        }
        for (setting, paths) in
            [("gate.protected", &self.gate.protected), ("gate.popular", &self.gate.popular)]
        {
            let edited = paths.iter().filter(|path| !feed_gate::is_as_it_came(path));
            faults.extend(edited.filter_map(|path| fault(path, setting, setting)));
        }
        if faults.is_empty() { Ok(()) } else { Err(Faults(faults)) }
    }

    /// How answers are validated; `None` when they are not. Reads the files of trust anchors.
    ///
    /// # Errors
    /// [`Faults`]: all that is wrong with those files, with their lines.
    pub fn validation(&self) -> Result<Option<validate::Options>, Faults> {
        if !self.recursion.dnssec.is_on {
            return Ok(None);
        }
        let anchors = Anchors::load(&self.recursion.dnssec.trust_anchors).map_err(|faults| {
            let fault = |fault: AnchorFault| Fault {
                path: fault.path,
                line: fault.line,
                setting: "resolver.trust_anchors".to_owned(),
                problem: Problem::Anchor(fault.problem),
            };
            Faults(faults.into_iter().map(fault).collect())
        })?;
        Ok(Some(validate::Options {
            anchors,
            negative: self.recursion.dnssec.negative_trust_anchors.clone(),
        }))
    }

    /// Who is asked for which names. Reads the root hints and the trust anchors, where they are needed.
    ///
    /// # Errors
    /// [`Faults`]: what is wrong with those files.
    pub fn sources(&self) -> Result<routes::Options, Faults> {
        if self.recursion.way == Way::Forward {
            return Ok(self.forward.clone());
        }
        let fault = |why: String| {
            Faults(vec![Fault {
                path: self.path.clone(),
                line: self.lines.get("resolver.root_hints").copied(),
                setting: "resolver.root_hints".to_owned(),
                problem: Problem::File { path: self.recursion.root_hints.clone(), why },
            }])
        };
        let text = read_small(&self.recursion.root_hints).map_err(|error| fault(error.to_string()))?;
        let hints = recurse::hints::parse(&text).map_err(|error| fault(error.to_string()))?;
        let recursion = recurse::Options {
            hints: Arc::new(hints),
            deadline: self.forward.upstreams.deadline,
            max_size: self.cache.max_size / RECURSION_SHARE,
            validation: self.validation()?,
        };
        Ok(routes::Options { recursion: Some(recursion), ..self.forward.clone() })
    }

    /// Whether the certificate and its key are of use; tells what clients may mind about them.
    ///
    /// # Errors
    /// [`Faults`]: the file that is not, with its line.
    pub fn check_credentials(&self) -> Result<Vec<Concern>, Faults> {
        let mut concerns = Vec::new();
        for options in self.server.transports.credentials.iter().chain(&self.console.credentials) {
            let loaded = Loaded::read(options).map_err(|error| self.credentials_fault(error))?;
            concerns.extend(loaded.concerns(options, Timestamp::now()));
        }
        Ok(concerns)
    }

    /// The fault of a file of credentials that is of no use.
    pub fn credentials_fault(&self, error: CredentialsError) -> Faults {
        let is = |options: &Option<credentials::Options>, part: fn(&credentials::Options) -> &PathBuf| {
            options.as_ref().is_some_and(|options| *part(options) == error.path)
        };
        let (server, console) = (&self.server.transports.credentials, &self.console.credentials);
        let setting = if is(server, |it| &it.key) {
            "server.tls_key"
        } else if is(server, |it| &it.certificate) {
            "server.tls_certificate"
        } else if is(console, |it| &it.key) {
            "console.key"
        } else {
            "console.certificate"
        };
        Faults(vec![Fault {
            path: self.path.clone(),
            line: self.lines.get(setting).copied(),
            setting: setting.to_owned(),
            problem: Problem::File { path: error.path, why: error.why.to_string() },
        }])
    }

    /// The special names. What a local zone or a route takes is none.
    pub fn special_names(&self) -> Special {
        if !self.special.are_on {
            return Special::none();
        }
        let zones = self.zones.iter().map(|zone| &zone.name);
        let routes = self.forward.routes.iter().map(|route| &route.domain);
        Special::new(self.special.except.iter().chain(zones).chain(routes).cloned())
    }

    /// The agencies of this file itself, with their places in it.
    pub fn configured_agencies(&self) -> Vec<Known> {
        let own = self.agencies.iter().take(self.own_agencies);
        let known = own.map(|agency| Known {
            id: agency.id.to_string(),
            networks: agency.networks.clone(),
            place: self.place(&format!("agency {}", agency.id)),
        });
        known.collect()
    }

    /// What this server is called among others: `server.id`, or else the machine's name.
    pub fn node(&self) -> String {
        match &*self.server.identity.id {
            "" => rustix::system::uname().nodename().to_string_lossy().into_owned(),
            id => id.to_owned(),
        }
    }

    /// Where the policy image is.
    pub fn image_path(&self) -> PathBuf {
        self.data_dir.join("policy.img")
    }
}

/// Which part of `cache.max_size` recursion has for what answers are made of.
const RECURSION_SHARE: u64 = 4;
/// The root hints take some thousand octets; a file that is much longer is another one.
const MOST_OCTETS: u64 = 1 << 20;

/// Reads a file that may not be long, and nothing else than a file.
fn read_small(path: &Path) -> std::io::Result<String> {
    if !readable_kind(path)?.is_file() {
        return Err(std::io::Error::other("not a file"));
    }
    let mut text = String::new();
    std::fs::File::open(path)?.take(MOST_OCTETS).read_to_string(&mut text)?;
    Ok(text)
}

/// What is at `path`; an error when it is a file that cannot be opened. Opens nothing else: opening a
/// named pipe would wait for its other end.
fn readable_kind(path: &Path) -> std::io::Result<std::fs::FileType> {
    let kind = std::fs::metadata(path)?.file_type();
    if kind.is_file() {
        std::fs::File::open(path)?;
    }
    Ok(kind)
}

#[cfg(test)]
mod tests;
