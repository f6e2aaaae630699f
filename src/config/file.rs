//! The configuration file, table by table: every setting, its default and what it may be.
//!
//! A default that belongs to a subsystem's options is taken from there; all others stand here, once.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use toml::de::DeTable;

use super::audiences::Wish;
use super::faults::{Faults, Problem};
use super::reader::{
    Reader, Table, Value, address, boolean, count, duration, fields, integer, list, parsed, size, some, text,
};
use super::roster::RosterIn;
use super::upstreams::{Reading, strategy};
use super::{
    Config, Dnssec, Landing, Limits, Office, Recursion, Server, SpecialNames, Watch, Way, audiences,
    transports,
};
use crate::client::cookie::{Secret, SecretError};
use crate::client::limits::Rates;
use crate::client::{Agencies, Agency};
use crate::feed::address::{Addresses, Treatment};
use crate::feed::source::{FeedAction, Gating, Severity, Signed, Source, Timing};
use crate::feed::store::Store;
use crate::feed::{self, Column, Columns, Format, Urls};
use crate::fetch::Remote;
use crate::name::Name;
use crate::resolve::forward::{self, LetterCase};
use crate::resolve::upstream::Trust;
use crate::resolve::{cache, routes};
use crate::serve::apply::Sinkhole;
use crate::serve::identity::Identity;
use crate::serve::pipeline::Waiting;
use crate::sinkhole::{http, ports};
use crate::tsig::Key;

/// Private networks and loopback: nobody else is answered unless the operator says so.
pub(super) const ALLOW: &[&str] =
    &["127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];

/// Names by which browsers and systems ask whether they may go around this resolver.
const CANARIES: &[&str] = &["use-application-dns.net", "mask.icloud.com", "mask-h2.icloud.com"];

const ADDRESSES: &str = "at least one address and port, such as [\"127.0.0.1:5353\"]";

pub(super) fn read(path: &Path, text: &str, roster: RosterIn<'_>) -> Result<Config, Faults> {
    let mut reader = Reader::new(path, text);
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // What a broken line meant is unknown, so the settings around it are not judged.
        for error in errors {
            let line = error.span().map_or(1, |span| reader.line(span.start));
            reader.fault(line, "", Problem::Syntax(error.message().to_owned()));
        }
        return Err(Faults(reader.faults));
    }
    let config = settings(&mut reader, path, document.get_ref(), roster);
    reader.faults.sort_by_key(|fault| fault.line);
    if reader.faults.is_empty() {
        return Ok(Config { lines: reader.lines, unused: reader.unused, ..config });
    }
    Err(Faults(reader.faults))
}

/// Every setting that there is, as `table.key`.
#[cfg(test)]
pub(super) fn all_settings() -> Vec<String> {
    // The arrays' settings are asked for only where there is an element.
    let text = "[[feed]]\n[[agency]]\n[[group]]\n[[route]]\n[[zone]]\n[[tsig_key]]\n[[publish]]\n[[outlet]]\n[[webhook]]\n[[identity]]\n[[console.oidc.group]]\n";
    let mut reader = Reader::new(Path::new(""), text);
    let (document, _) = DeTable::parse_recoverable(text);
    settings(&mut reader, Path::new(""), document.get_ref(), RosterIn::Nowhere);
    reader.known
}

fn settings<'a>(
    reader: &mut Reader<'a>,
    path: &Path,
    document: &'a DeTable<'a>,
    roster: RosterIn<'_>,
) -> Config {
    let mut top = reader.table("", 1, document);
    let data_dir = reader.take(&mut top, "data_dir", PathBuf::from("data"), file_path);
    let diagnostics = reader.take(
        &mut top,
        "diagnostics",
        tracing::Level::INFO,
        parsed("\"error\", \"warn\", \"info\", \"debug\" or \"trace\"", str::parse),
    );
    let server = server(reader, &mut top);
    let reading = Reading::new(&server);
    let (recursion, upstreams, special) = resolver(reader, &mut top, &reading);
    let routes = reading.routes(reader, &mut top, &upstreams);
    let forward = routes::Options { upstreams, recursion: None, routes };
    let tsig_keys = super::zones::keys(reader, &mut top);
    let zones = super::zones::zones(reader, &mut top, &tsig_keys);
    let cache = cache(reader, &mut top);
    let (canaries, shortest) = policy(reader, &mut top);
    let limits_table = reader.sub_table(&mut top, "limits");
    let (limits, http_limits, ports) = limits(reader, limits_table);
    let (sinkhole, http, landing, mut watch) = sinkhole(reader, &mut top, http_limits, ports);
    let fetching = super::fetch::read(reader, &mut top);
    let Feeds { mut feeds, wishes, remotes } = feeds(reader, &mut top, &sinkhole, &tsig_keys, &fetching);
    let own: Vec<IpAddr> = sinkhole
        .addresses
        .iter()
        .chain(feeds.iter().filter_map(|feed| feed.sinkhole.as_deref()).flatten())
        .copied()
        .collect();
    for feed in &mut feeds {
        let clients = server.allow.clone();
        feed.addresses = Addresses { own: own.clone(), shortest, clients, ..feed.addresses.clone() };
    }
    let export = super::export::read(reader, &mut top);
    let console = super::console::read(reader, &mut top, &fetching);
    let gate = super::gate::read(reader, &mut top);
    let names: Vec<&str> = feeds.iter().map(|feed| &*feed.name).collect();
    let (mut agencies, mut offices) = agencies(reader, &mut top);
    let own_agencies = agencies.len();
    super::roster::add(reader, &data_dir, roster, &mut agencies, &mut offices);
    let cases = super::cases::read(reader, &mut top, &http.time_zone, &agencies, offices);
    let reports = super::report::read(reader, &mut top);
    let publish = super::publish::read(reader, &mut top, &tsig_keys, &sinkhole, &names, &agencies);
    let reaches = audiences::reaches(reader, &mut top, &agencies, wishes);
    let log = super::log::read(reader, &mut top, &data_dir);
    watch.contacts.keep = log.archive.keep_hits;
    let outlets = super::outlets::outlets(reader, &mut top);
    let identity = super::identity::read(reader, &mut top, &agencies);
    reader.finish(top, &[]);
    let mut config = Config {
        path: path.to_owned(),
        versions: Store::new(&data_dir.join("feeds")),
        data_dir,
        diagnostics,
        server,
        recursion,
        forward,
        special,
        zones,
        tsig_keys,
        cache,
        canaries,
        sinkhole,
        http,
        landing,
        watch,
        feeds,
        remotes,
        bundle_keys: fetching.bundle_keys,
        export,
        console,
        gate,
        publish,
        agencies,
        own_agencies,
        cases,
        reports,
        reaches,
        log_scope: log.scope,
        log: log.journal,
        archive: log.archive,
        clickhouse: log.clickhouse,
        outlets,
        identity,
        limits,
        unused: Vec::new(),
        lines: std::collections::BTreeMap::new(),
    };
    config.gate.own = super::gate::own_names(&config);
    config
}

fn server<'a>(reader: &mut Reader<'a>, top: &mut Table<'a>) -> Server {
    let mut table = reader.sub_table(top, "server");
    let listen =
        reader.take(&mut table, "listen", vec![([127, 0, 0, 1], 5353).into()], some(ADDRESSES, address));
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let workers = reader.take(&mut table, "workers", 0, integer("a number of threads up to 256", 0..=256));
    let allow = reader.take(&mut table, "allow", networks_of(ALLOW), list(network));
    let trusted_forwarders = reader.take(&mut table, "trusted_forwarders", Vec::new(), list(network));
    let cookies = reader.take(&mut table, "cookies", true, boolean);
    let cookie_secrets = reader.take(&mut table, "cookie_secrets", Vec::new(), list(secret));
    let transports = transports::read(reader, &mut table);
    let identity = Identity {
        version: reader.take(&mut table, "version", Box::default(), short_text),
        id: reader.take(&mut table, "id", Box::default(), short_text),
    };
    reader.finish(table, &[]);
    let workers = if workers == 0 { cores } else { workers as usize };
    Server { listen, workers, allow, trusted_forwarders, cookies, cookie_secrets, transports, identity }
}

fn resolver<'a>(
    reader: &mut Reader<'a>,
    top: &mut Table<'a>,
    reading: &Reading<'_>,
) -> (Recursion, forward::Options, SpecialNames) {
    let mut table = reader.sub_table(top, "resolver");
    let default = forward::Options::default();
    let way = reader.take(
        &mut table,
        "mode",
        Way::Forward,
        parsed("\"forward\" or \"recurse\"", |text| match text {
            "forward" => Ok(Way::Forward),
            "recurse" => Ok(Way::Recurse),
            _ => Err("neither of the two"),
        }),
    );
    let root_hints = reader.take(&mut table, "root_hints", PathBuf::from("zones/root.hints"), file_path);
    let upstreams = reader
        .take(&mut table, "upstreams", default.upstreams, |value| reading.upstreams(value, Trust::default()));
    let strategy = reader.take(&mut table, "strategy", default.strategy, strategy);
    let is_random = default.letter_case == LetterCase::Random;
    let is_random = reader.take(&mut table, "case_randomisation", is_random, boolean);
    let letter_case = if is_random { LetterCase::Random } else { LetterCase::AsAsked };
    let line = table.line_of("patience");
    let patience = reader.take(&mut table, "patience", default.patience, duration);
    let deadline = reader.take(&mut table, "deadline", default.deadline, duration);
    if patience >= deadline {
        reader.fault(
            line,
            "resolver.patience",
            Problem::Value {
                got: format!("{patience:?}"),
                why: format!("it is not below resolver.deadline, {deadline:?}"),
                expected: "a time below the deadline, such as \"800ms\"",
            },
        );
    }
    let dnssec = dnssec(reader, &mut table);
    let special = SpecialNames {
        are_on: reader.take(&mut table, "special_names", true, boolean),
        except: reader.take(
            &mut table,
            "special_except",
            Vec::new(),
            list(parsed("a name such as \"10.in-addr.arpa\"", Name::from_host)),
        ),
    };
    reader.finish(table, &[]);
    let upstreams = forward::Options { upstreams, strategy, letter_case, patience, deadline, ..default };
    (Recursion { way, root_hints, dnssec }, upstreams, special)
}

fn dnssec<'a>(reader: &mut Reader<'a>, table: &mut Table<'a>) -> Dnssec {
    let is_on = reader.take(table, "dnssec", true, boolean);
    let trust_anchors = reader.take(table, "trust_anchors", Vec::new(), list(file_path));
    let negative_trust_anchors = reader.take(
        table,
        "negative_trust_anchors",
        Vec::new(),
        list(parsed("a name such as \"broken.example.vn\"", |text| match text {
            "." => Name::from_presentation(text),
            _ => Name::from_host(text),
        })),
    );
    Dnssec { is_on, trust_anchors, negative_trust_anchors }
}

fn cache<'a>(reader: &mut Reader<'a>, top: &mut Table<'a>) -> cache::Options {
    let mut table = reader.sub_table(top, "cache");
    let default = cache::Options::default();
    let max_size = reader.take(&mut table, "max_size", default.max_size, size);
    let stale = reader.take(&mut table, "stale", default.stale, duration);
    reader.finish(table, &[]);
    cache::Options { max_size, stale }
}

fn policy<'a>(reader: &mut Reader<'a>, top: &mut Table<'a>) -> (Vec<Name>, (u8, u8)) {
    let mut table = reader.sub_table(top, "policy");
    let default = CANARIES.iter().filter_map(|name| Name::from_host(name).ok()).collect();
    let canaries = reader.take(
        &mut table,
        "canaries",
        default,
        list(parsed("a name such as \"use-application-dns.net\"", Name::from_host)),
    );
    let Addresses { shortest: (ipv4, ipv6), .. } = Addresses::default();
    let mut bits = |key, default: u8, most| {
        let read = integer("bits of a network, such as 8", 1..=most);
        // Below 129.
        reader.take(&mut table, key, u64::from(default), read) as u8
    };
    let shortest = (bits("shortest_ipv4", ipv4, 32), bits("shortest_ipv6", ipv6, 128));
    reader.finish(table, &[]);
    (canaries, shortest)
}

fn sinkhole<'a>(
    reader: &mut Reader<'a>,
    top: &mut Table<'a>,
    limits: http::Options,
    ports: ports::Options,
) -> (Sinkhole, http::Options, Landing, Watch) {
    let mut table = reader.sub_table(top, "sinkhole");
    let ipv4 = reader.take(
        &mut table,
        "ipv4",
        Some(Ipv4Addr::new(10, 10, 10, 10)),
        parsed("an IPv4 address such as \"10.10.10.10\", or \"\" for none", empty_or::<Ipv4Addr>),
    );
    let ipv6 = reader.take(
        &mut table,
        "ipv6",
        Some(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x10)),
        parsed("an IPv6 address such as \"fd00::10\", or \"\" for none", empty_or::<Ipv6Addr>),
    );
    let ttl = reader.take(&mut table, "ttl", 30, integer("seconds from 0 to 86400", 0..=86_400));
    let listen = reader.take(&mut table, "http_listen", limits.listen, list(address));
    let landing = super::landing::read(reader, &mut table);
    let watch = super::sinkhole::read(reader, &mut table, ports);
    reader.finish(table, &[]);
    let addresses = [ipv4.map(IpAddr::from), ipv6.map(IpAddr::from)].into_iter().flatten().collect();
    (Sinkhole { addresses, ttl: ttl as u32 }, http::Options { listen, ..limits }, landing, watch)
}

/// Feeds, and to whom they apply.
/// What `[[feed]]` says.
struct Feeds {
    feeds: Vec<Source>,
    wishes: Vec<Wish>,
    remotes: Vec<Remote>,
}

fn feeds<'a>(
    reader: &mut Reader<'a>,
    top: &mut Table<'a>,
    sinkhole: &Sinkhole,
    keys: &[Key],
    fetching: &super::fetch::Common,
) -> Feeds {
    let (mut feeds, mut wishes, mut remotes) = (Vec::<Source>::new(), Vec::new(), Vec::new());
    for mut table in reader.tables(top, "feed") {
        let line = table.line();
        let name = reader.required(&mut table, "name", "name = \"authority\"", folder_name);
        let line_of_source = table.line_of("source");
        let origin = super::fetch::wish(reader, &mut table);
        let format = reader.take(
            &mut table,
            "format",
            Format::Auto,
            parsed("\"auto\" or one of the formats of config/sachdns.toml", str::parse),
        );
        let columns = reader.take(&mut table, "columns", Columns::default(), columns);
        let urls =
            reader.take(&mut table, "urls", Urls::default(), parsed("\"ignore\" or \"host\"", str::parse));
        let family = reader.take(&mut table, "family", None, family);
        let severity = reader.take(
            &mut table,
            "severity",
            None,
            parsed("\"low\", \"medium\", \"high\" or \"critical\", or \"\" for none", empty_or::<Severity>),
        );
        let action = reader.take(
            &mut table,
            "action",
            FeedAction::default(),
            parsed("an action such as \"sinkhole\"", str::parse),
        );
        let wait = reader.take(&mut table, "qname_wait_recurse", false, boolean);
        let break_dnssec = reader.take(&mut table, "break_dnssec", true, boolean);
        let treatment = reader.take(
            &mut table,
            "addresses",
            Treatment::default(),
            parsed("\"guarded\", \"enforced\" or \"ignore\"", str::parse),
        );
        let own_sinkhole = feed_sinkhole(reader, &mut table, sinkhole);
        let mut wish = audiences::wish(reader, &mut table);
        let gate = reader.take(&mut table, "gate", true, boolean);
        reader.finish(table, &[]);
        let known = name.as_deref().unwrap_or_default();
        let origin = origin.fulfil(reader, known, keys, fetching);
        let (Some(name), Some((origin, remote))) = (name, origin) else { continue };
        if RESERVED.contains(&&*name) {
            let why = "logs call something of the server's own so".to_owned();
            let expected = "another name";
            reader.fault(line, "feed.name", Problem::Value { got: name, why, expected });
            continue;
        }
        if feeds.iter().any(|feed| *feed.name == *name) {
            reader.fault(line, "feed.name", Problem::Twice(name));
            continue;
        }
        wish.feed = name.as_str().into();
        wishes.push(wish);
        remotes.extend(remote);
        reader.lines.insert(format!("feed.source {name}"), line_of_source);
        let timing = if wait { Timing::AfterResolving } else { Timing::AtOnce };
        let signed = if break_dnssec { Signed::Rewritten } else { Signed::LeftAlone };
        let gate = if gate { Gating::Gated } else { Gating::AsItComes };
        feeds.push(Source {
            name: name.into(),
            origin,
            format,
            columns,
            urls,
            family,
            severity,
            action,
            timing,
            signed,
            addresses: Addresses { treatment, ..Addresses::default() },
            sinkhole: own_sinkhole,
            gate,
        });
    }
    Feeds { feeds, wishes, remotes }
}

/// Names of what decides beside feeds.
const RESERVED: [&str; 2] = ["canary", ANALYSTS];
/// What stands for analysts' rules where feeds are named.
pub(super) const ANALYSTS: &str = "analysts";

/// Where a feed's sinkholed names lead, if not to where all others do.
fn feed_sinkhole<'a>(
    reader: &mut Reader<'a>,
    table: &mut Table<'a>,
    common: &Sinkhole,
) -> Option<Box<[IpAddr]>> {
    const EXPECTED: &str = "an address of the family, \"\" for none, or \"common\" for that of [sinkhole]";
    let ipv4 = reader.take(table, "sinkhole_ipv4", None, parsed(EXPECTED, own_or_common::<Ipv4Addr>));
    let ipv6 = reader.take(table, "sinkhole_ipv6", None, parsed(EXPECTED, own_or_common::<Ipv6Addr>));
    if ipv4.is_none() && ipv6.is_none() {
        return None;
    }
    let of = |is_wanted: fn(&&IpAddr) -> bool| common.addresses.iter().find(is_wanted).copied();
    let ipv4 = ipv4.map_or_else(|| of(|address| address.is_ipv4()), |own| own.map(IpAddr::from));
    let ipv6 = ipv6.map_or_else(|| of(|address| address.is_ipv6()), |own| own.map(IpAddr::from));
    Some(ipv4.into_iter().chain(ipv6).collect())
}

/// `None` for the common one.
fn own_or_common<T: std::str::FromStr<Err: std::fmt::Display>>(
    text: &str,
) -> Result<Option<Option<T>>, String> {
    if text == "common" { Ok(None) } else { empty_or(text).map(Some) }
}

/// A malware family's name, as a feed may have it.
fn family(value: Value<'_>) -> Result<Option<Arc<str>>, Problem> {
    const EXPECTED: &str = "a malware family's name in one line of at most 200 octets, or \"\" for none";
    parsed(EXPECTED, |text| match text.trim() {
        "" => Ok(None),
        text if feed::is_family(text) => Ok(Some(text.into())),
        _ => Err("it is longer, or holds control characters"),
    })(value)
}

/// Which columns of a table hold what, each by its heading or its number.
fn columns(value: Value<'_>) -> Result<Columns, Problem> {
    const EXPECTED: &str = "a table such as { value = \"Tên miền\", family = 3 }";
    let wrong = |got: &str, why: &dyn std::fmt::Display| Problem::Value {
        got: got.to_owned(),
        why: why.to_string(),
        expected: EXPECTED,
    };
    let named = fields(value).ok_or_else(|| wrong("…", &"no table"))?;
    let named = named.map(|(role, column)| {
        let role = role.parse().map_err(|error| wrong(role, &error))?;
        let column = match integer(EXPECTED, 1..=u64::from(Column::LAST))(column) {
            Ok(number) => Column::Number(number as u16),
            Err(Problem::Type { .. }) => parsed(EXPECTED, str::parse)(column)?,
            Err(problem) => return Err(problem),
        };
        Ok((role, column))
    });
    let named = named.collect::<Result<Vec<_>, _>>()?;
    Columns::try_from(named).map_err(|error| wrong("…", &error))
}

fn agencies<'a>(reader: &mut Reader<'a>, top: &mut Table<'a>) -> (Vec<Agency>, Vec<Office>) {
    let mut agencies: Vec<Agency> = Vec::new();
    let mut offices = Vec::new();
    let mut claims: HashMap<IpNet, String> = HashMap::new();
    for mut table in reader.tables(top, "agency") {
        let line = table.line();
        let id = reader.required(&mut table, "id", "id = \"so-tttt\"", identifier);
        let name = reader.required(&mut table, "name", "name = \"Sở Thông tin và Truyền thông\"", some_text);
        let networks = reader.required(
            &mut table,
            "networks",
            "networks = [\"10.1.0.0/16\"]",
            some("at least one network, such as [\"10.1.0.0/16\"]", network),
        );
        let contact = reader.optional(&mut table, "contact", some_text);
        let office = super::cases::office(reader, &mut table);
        reader.finish(table, &[]);
        let (Some(id), Some(name), Some(networks)) = (id, name, networks) else { continue };
        if agencies.iter().any(|agency| *agency.id == *id) {
            reader.fault(line, "agency.id", Problem::Twice(id));
            continue;
        }
        for network in &networks {
            let twice = match claims.insert(*network, id.clone()) {
                None => continue,
                Some(other) if other == id => format!("{network} of {id}"),
                Some(other) => format!("{network} of {other} and {id}"),
            };
            reader.fault(line, "agency.networks", Problem::Twice(twice));
        }
        reader.lines.insert(format!("agency {id}"), line);
        let contact = contact.map(Into::into);
        let id: Arc<str> = id.into();
        offices.push(Office { agency: Arc::clone(&id), ..office });
        agencies.push(Agency { id, name: name.into(), contact, networks });
    }
    debug_assert!(!reader.faults.is_empty() || Agencies::new(agencies.clone()).is_ok());
    (agencies, offices)
}

fn limits<'a>(reader: &mut Reader<'a>, mut table: Table<'a>) -> (Limits, http::Options, ports::Options) {
    let limits = Limits {
        waiting: Waiting {
            pending: reader.take(
                &mut table,
                "pending",
                10_000,
                count("a number of queries from 1 to 1000000"),
            ),
            per_client: reader.take(
                &mut table,
                "pending_per_client",
                1000,
                count("a number of queries from 1 to 1000000"),
            ),
        },
        rates: Rates {
            client: reader.take(&mut table, "client_qps", 0, rate),
            prefix: reader.take(&mut table, "prefix_qps", 0, rate),
            responses: reader.take(&mut table, "responses_per_second", 0, rate),
        },
        exempt: reader.take(&mut table, "exempt", Vec::new(), list(network)),
        tcp_connections: reader.take(
            &mut table,
            "tcp_connections",
            1024,
            count("a number of connections, at least 1"),
        ),
        tcp_per_client: reader.take(
            &mut table,
            "tcp_per_client",
            64,
            count("a number of connections, at least 1"),
        ),
        tcp_idle: reader.take(&mut table, "tcp_idle", Duration::from_secs(10), duration),
    };
    let default = http::Options::default();
    let http = http::Options {
        connections: reader.take(
            &mut table,
            "http_connections",
            default.connections,
            count("a number of connections, at least 1"),
        ),
        per_client: reader.take(
            &mut table,
            "http_per_client",
            default.per_client,
            count("a number of connections, at least 1"),
        ),
        ..default
    };
    let ports = super::sinkhole::limits(reader, &mut table);
    reader.finish(table, &[]);
    (limits, http, ports)
}

/// How many a second; 0: any number.
fn rate(value: Value<'_>) -> Result<u32, Problem> {
    integer("a number a second up to 1000000, or 0 for any number", 0..=1_000_000)(value)
        .map(|number| number as u32)
}

/// A secret, which no fault quotes.
fn secret(value: Value<'_>) -> Result<Secret, Problem> {
    text(value)?.parse().map_err(|why: SecretError| Problem::Value {
        got: "…".to_owned(),
        why: why.to_string(),
        expected: "128 random bits as 32 hexadecimal digits, such as `openssl rand -hex 16` prints",
    })
}

/// A text that fits one string of a TXT record; empty for none.
fn short_text(value: Value<'_>) -> Result<Box<str>, Problem> {
    parsed("at most 255 octets of text, or \"\" for none", |text| {
        if text.len() > 255 { Err("it is longer") } else { Ok(text.into()) }
    })(value)
}

pub(super) fn file_path(value: Value<'_>) -> Result<PathBuf, Problem> {
    some_text(value).map(PathBuf::from)
}

pub(super) fn some_text(value: Value<'_>) -> Result<String, Problem> {
    let text = text(value)?;
    if text.trim().is_empty() {
        let (got, why) = (text.to_owned(), "there is nothing in it".to_owned());
        return Err(Problem::Value { got, why, expected: "some text" });
    }
    Ok(text.to_owned())
}

/// A word that logs, file names and commands can carry.
/// A text, `""` for none.
pub(super) fn empty_or_text(value: Value<'_>) -> Result<Option<String>, Problem> {
    text(value).map(|text| Some(text.trim().to_owned()).filter(|text| !text.is_empty()))
}

pub(super) fn identifier(value: Value<'_>) -> Result<String, Problem> {
    let text = some_text(value)?;
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.chars().all(is_plain) && text.len() <= 64 {
        return Ok(text);
    }
    Err(Problem::Value {
        got: text,
        why: "it has other characters, or more than 64".to_owned(),
        expected: "a word of letters, digits, `-`, `_` and `.`",
    })
}

/// A word that is a folder's name too.
fn folder_name(value: Value<'_>) -> Result<String, Problem> {
    let text = identifier(value)?;
    if text.starts_with('.') {
        return Err(Problem::Value {
            got: text,
            why: "it begins with a dot".to_owned(),
            expected: "a word that does not, such as \"authority\"",
        });
    }
    Ok(text)
}

pub(super) fn network(value: Value<'_>) -> Result<IpNet, Problem> {
    parsed("a network such as \"10.1.0.0/16\" or \"fd00::/8\"", |text: &str| {
        let net: IpNet = match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address),
            Err(_) => text.parse().map_err(|_| "not a network".to_owned())?,
        };
        if net.trunc() != net {
            return Err(format!("it has host bits; the network is {}", net.trunc()));
        }
        Ok(canonical(net))
    })(value)
}

/// An IPv4-mapped network as the IPv4 network it is: clients are known by their canonical addresses.
fn canonical(net: IpNet) -> IpNet {
    match (net.addr().to_canonical(), net.prefix_len().checked_sub(96)) {
        (IpAddr::V4(address), Some(len)) if net.addr().is_ipv6() => {
            Ipv4Net::new(address, len).map_or(net, IpNet::from)
        }
        _ => net,
    }
}

fn empty_or<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<Option<T>, String> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|error: T::Err| error.to_string()) }
}

pub(super) fn empty_or_name(text: &str) -> Result<Option<Name>, String> {
    if text.is_empty() {
        Ok(None)
    } else {
        Name::from_host(text).map(Some).map_err(|error| error.to_string())
    }
}

pub(super) fn networks_of(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}
