//! `sachdns explain`

use std::io::{self, Write};
use std::net::IpAddr;

use clap::Args;
use ipnet::IpNet;

use super::{CliError, ConfigArg};
use crate::client::Agencies;
use crate::client::prefix::PrefixMap;
use crate::config::Config;
use crate::evidence::record::{Outcome, Transport};
use crate::image::{self, ImageError};
use crate::name::{Key, Name, NameError};
use crate::policy::decide::{Fit, Ruling, must_wait};
use crate::policy::explain::{Explanation, explain};
use crate::policy::index::Index;
use crate::policy::layers::{Asker, Layers};
use crate::policy::rule::Timing;
use crate::policy::trigger::{Scope, Trigger};
use crate::serve::answer::Stem;
use crate::serve::apply::{Access, Applied, apply, refusal};
use crate::update::{self, Listed};
use crate::wire::{self, Query, Response, Section, rtype};
use crate::{clock, daemon};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArg,
    /// The name, in any case, with letters of any language, or with \DDD escapes.
    #[arg(value_parser = name)]
    name: Name,
    /// The record type.
    #[arg(long = "type", value_name = "TYPE", default_value = "A", value_parser = qtype)]
    qtype: u16,
    /// Also tell whether this client is answered, whose it is, and which rules are its own.
    #[arg(long, value_name = "IP")]
    client: Option<IpAddr>,
    /// A name that the answer's aliases lead to, in their order; may be repeated.
    #[arg(long, value_name = "NAME", value_parser = name)]
    cname: Vec<Name>,
    /// An address in the answer; may be repeated.
    #[arg(long, value_name = "IP")]
    answer_ip: Vec<IpAddr>,
    /// A name server of the name's zones; may be repeated.
    #[arg(long, value_name = "NAME", value_parser = name)]
    ns: Vec<Name>,
    /// An address of such a name server; may be repeated.
    #[arg(long, value_name = "IP")]
    ns_ip: Vec<IpAddr>,
}

impl Arguments {
    /// The name at a stage of the chain.
    fn stage(&self, stage: u8) -> &Name {
        match usize::from(stage).checked_sub(1) {
            None => &self.name,
            Some(at) => self.cname.get(at).unwrap_or(&self.name),
        }
    }
}

pub(super) fn name(text: &str) -> Result<Name, NameError> {
    // Underscores, escapes and other octets are fine in a query's name.
    if text.is_ascii() { Name::from_presentation(text) } else { Name::from_host(text) }
}

fn qtype(text: &str) -> Result<u16, &'static str> {
    wire::type_number(text).ok_or("no such record type; write A, HTTPS, TYPE65 …")
}

pub(super) fn run(arguments: &Arguments) -> Result<(), CliError> {
    let config = arguments.config.load()?;
    let mut out = io::stdout().lock();
    writeln!(out, "question  {} {}", arguments.name, wire::type_text(arguments.qtype))?;
    if let Some(client) = arguments.client {
        write_client(&mut out, &config, client)?;
    }
    let plan = daemon::plan(&config);
    let path = config.image_path();
    match image::open(&path) {
        Ok(image) => {
            let built = clock::local_time(image.facts.built_at);
            let state = if update::is_current(plan, &image.facts.fingerprint) {
                ""
            } else {
                "; the feeds may have changed since: `sachdns reload`"
            };
            writeln!(out, "policy    {} names, built {built}{state}", image.facts.name_count)?;
            write_rules(&mut out, &config, arguments, &image.index)
        }
        Err(ImageError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            writeln!(out, "policy    none was built yet; this is what the feeds say now")?;
            let (compiled, _) = update::compile(plan, clock::now())?;
            let index = compiled.into_index().map_err(|source| ImageError::Index { path, source })?;
            write_rules(&mut out, &config, arguments, &index)
        }
        Err(error) => Err(error.into()),
    }
}

fn access(config: &Config, client: IpAddr) -> Access {
    let allow = PrefixMap::new(config.server.allow.iter().map(|net| (*net, ())));
    Access::of(client, &allow.unwrap_or_default())
}

fn write_client(out: &mut impl Write, config: &Config, client: IpAddr) -> io::Result<()> {
    let allowed = match access(config, client) {
        Access::Allowed => "answered",
        Access::Prohibited => "REFUSED: in no network of server.allow",
    };
    let agencies = Agencies::new(config.agencies.clone()).unwrap_or_default();
    match agencies.of(client) {
        Some(agency) => {
            writeln!(out, "client    {client}: {allowed}; agency {} ({})", agency.id, agency.name)
        }
        None => writeln!(out, "client    {client}: {allowed}; of no agency"),
    }
}

fn write_rules<D: AsRef<[u8]>>(
    out: &mut impl Write,
    config: &Config,
    arguments: &Arguments,
    index: &Index<D>,
) -> Result<(), CliError> {
    let mut servers: Vec<&Name> = arguments.ns.iter().collect();
    servers.sort_by_cached_key(|name| Key::from(*name).as_bytes().to_vec());
    let asker = Asker { client: arguments.client, ..Asker::ANYBODY };
    let Explanation { steps, decision } = explain(Layers::of_feeds(index), asker, |reckoning| {
        let mut last = 0;
        for (name, stage) in std::iter::once(&arguments.name).chain(&arguments.cname).zip(0..=u8::MAX) {
            reckoning.name(stage, &Key::from(name));
            last = stage;
        }
        for address in &arguments.answer_ip {
            reckoning.address(last, *address);
        }
        for (name, number) in servers.iter().zip(0..=u16::MAX) {
            reckoning.server(0, number, &Key::from(*name));
        }
        for address in &arguments.ns_ip {
            reckoning.server_address(0, 0, *address);
        }
    });
    let is = |ruling: &Ruling<'_>, chosen: Option<Ruling<'_>>| {
        chosen.is_some_and(|chosen| {
            std::ptr::eq(chosen.rule, ruling.rule)
                && (chosen.stage, chosen.depth, chosen.address)
                    == (ruling.stage, ruling.depth, ruling.address)
        })
    };
    for step in &steps {
        let ruling = &step.ruling;
        let listed = Thing::of(ruling, arguments, &servers);
        let verdict = if is(ruling, decision.ruling) {
            "decides"
        } else if is(ruling, decision.shadow) {
            "shadow: would decide"
        } else if step.fit == Fit::Met {
            "outranked"
        } else {
            "does not cover this name"
        };
        write!(out, "rule      {listed} of feed {}", ruling.feed.name)?;
        if let Some(family) = ruling.family {
            write!(out, ", family {}", family.escape_debug())?;
        }
        write!(out, ", {}: {verdict}", ruling.rule.action)?;
        writeln!(out, "{}", origin(config, ruling, &listed))?;
    }
    if steps.is_empty() {
        writeln!(out, "rule      none: no feed lists this name or one above it")?;
    }
    write_unknown(out, arguments, index)?;
    if let Some(ruling) = decision.ruling.filter(|ruling| must_wait(index, asker.audience, ruling)) {
        let why = match ruling.feed.timing {
            Timing::AfterResolving => "qname_wait_recurse of its feed",
            Timing::AtOnce => "an earlier feed has rules on answers",
        };
        writeln!(out, "timing    after the name is resolved: {why}")?;
    }
    write_answer(out, config, arguments, decision.ruling)?;
    Ok(())
}

/// What rules look at and nobody told.
fn write_unknown<D: AsRef<[u8]>>(
    out: &mut impl Write,
    arguments: &Arguments,
    index: &Index<D>,
) -> io::Result<()> {
    let Arguments { client, answer_ip, ns, ns_ip, .. } = arguments;
    for (trigger, is_told, what, option) in [
        (Trigger::ClientIp, client.is_some(), "the client", "--client IP"),
        (Trigger::Ip, !answer_ip.is_empty(), "the answer's addresses", "--answer-ip IP"),
        (Trigger::Nsdname, !ns.is_empty(), "name servers' names", "--ns NAME"),
        (Trigger::Nsip, !ns_ip.is_empty(), "name servers' addresses", "--ns-ip IP"),
    ] {
        if index.has(trigger) && !is_told {
            writeln!(out, "unknown   {what}, which some rules look at: give {option}")?;
        }
    }
    Ok(())
}

/// What a rule lists.
enum Thing {
    Name(Name, Scope, Trigger),
    Network(IpNet, Trigger),
}

impl Thing {
    fn of(ruling: &Ruling<'_>, arguments: &Arguments, servers: &[&Name]) -> Self {
        let trigger = ruling.rule.trigger;
        let network = ruling.address.and_then(|address| IpNet::new(address, ruling.depth).ok());
        if let Some(network) = network {
            return Self::Network(network.trunc(), trigger);
        }
        let name = match trigger {
            Trigger::Nsdname => servers.get(usize::from(ruling.server)).copied().unwrap_or(&arguments.name),
            _ => arguments.stage(ruling.stage),
        };
        Self::Name(ancestor(name, usize::from(ruling.depth)), ruling.rule.scope, trigger)
    }
}

impl std::fmt::Display for Thing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name, scope, Trigger::Qname) => write!(f, "{name} ({scope})"),
            Self::Name(name, scope, trigger) => write!(f, "{name} ({trigger}, {scope})"),
            Self::Network(network, trigger) => write!(f, "{network} ({trigger})"),
        }
    }
}

/// ` [FILE:LINE]` of the feed's line; nothing for what comes from the configuration.
fn origin(config: &Config, ruling: &Ruling<'_>, listed: &Thing) -> String {
    let Some(source) = config.feeds.iter().find(|source| source.name == ruling.feed.name) else {
        return String::new();
    };
    let listed = match listed {
        Thing::Name(name, ..) => Listed::Name(name),
        Thing::Network(network, _) => Listed::Network(*network),
    };
    match update::line_of(&config.versions, source, listed, ruling.rule) {
        Ok(Some(line)) => format!(" [{}:{line}]", source.origin),
        Ok(None) => format!(" [no longer in {}]", source.origin),
        Err(_) => format!(" [{} cannot be read now]", source.origin),
    }
}

/// What the query path would answer over UDP, read back from its octets.
fn write_answer(
    out: &mut impl Write,
    config: &Config,
    arguments: &Arguments,
    ruling: Option<Ruling<'_>>,
) -> io::Result<()> {
    let mut packet = b"\x00\x00\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00".to_vec();
    packet.extend(arguments.name.as_wire());
    packet.extend(arguments.qtype.to_be_bytes());
    packet.extend(wire::CLASS_IN.to_be_bytes());
    write!(out, "answer    ")?;
    let Ok(query) = Query::parse(&packet) else {
        return writeln!(out, "FORMERR: no such query can be asked");
    };
    // Without a client the question is what those are told who may ask.
    let access = arguments.client.map_or(Access::Allowed, |client| access(config, client));
    if let Some((rcode, _)) = refusal(&query, access) {
        let why = match access {
            Access::Prohibited => "the client is in no network of server.allow",
            Access::Allowed => "no resolver has data of this type",
        };
        return writeln!(out, "{}: {why}", wire::rcode_text(rcode));
    }
    let mut octets = Vec::new();
    let applied = match &ruling {
        Some(ruling) => {
            let name = arguments.stage(ruling.stage).as_wire();
            if ruling.stage > 0 {
                write!(out, "the aliases, then for {}: ", arguments.stage(ruling.stage))?;
                packet.truncate(wire::HEADER);
                packet.extend(name);
                packet.extend(arguments.qtype.to_be_bytes());
                packet.extend(wire::CLASS_IN.to_be_bytes());
            }
            let Ok(query) = Query::parse(&packet) else { return writeln!(out, "none") };
            apply(&config.sinkhole, ruling, Stem::at_qname(&query), Transport::Udp, &mut octets)
        }
        None => Applied::Resolve(Outcome::Forward),
    };
    match applied {
        Applied::Resolve(_) => return writeln!(out, "{}", resolved_by(config, &arguments.name)),
        Applied::Alias(target) => return writeln!(out, "CNAME {target}, and what the upstreams say for it"),
        Applied::Answer(..) => {}
    }
    let Ok(response) = Response::parse(&octets) else { return writeln!(out, "none: the query is dropped") };
    if response.is_truncated() {
        return writeln!(out, "empty, truncated: the client asks again over TCP and is answered there");
    }
    write!(out, "{}", wire::rcode_text(response.rcode()))?;
    let mut is_empty = true;
    for record in response.records().flatten() {
        let rdata = &response.packet()[record.rdata.clone()];
        let address = match record.rtype {
            rtype::A => <[u8; 4]>::try_from(rdata).ok().map(IpAddr::from),
            rtype::AAAA => <[u8; 16]>::try_from(rdata).ok().map(IpAddr::from),
            _ => None,
        };
        if let Some(address) = address {
            write!(out, ", {} {address}, TTL {}", wire::type_text(record.rtype), record.ttl)?;
            is_empty = false;
        } else if let (rtype::CNAME, Some(target)) = (record.rtype, Name::from_wire(rdata)) {
            write!(out, ", CNAME {target}, TTL {}", record.ttl)?;
            is_empty = false;
        } else if record.section == Section::Answer {
            let rtype = wire::type_text(record.rtype);
            write!(out, ", {rtype} of {} octets, TTL {}", rdata.len(), record.ttl)?;
            is_empty = false;
        }
    }
    writeln!(out, "{}", if is_empty { ", no data" } else { "" })
}

/// Who answers a name that no rule answers.
fn resolved_by(config: &Config, name: &Name) -> String {
    let zones = config.zones.iter().map(|zone| &zone.name).filter(|zone| name.is_within(zone));
    if let Some(zone) = zones.max_by_key(|zone| zone.label_count()) {
        return format!("whatever the local zone {zone} says");
    }
    match config.special_names().find(name.as_wire()) {
        Some(_) => "made here: it is a special-use name, which is asked of nobody".to_owned(),
        None => "whatever the upstreams say".to_owned(),
    }
}

/// The ancestor of `name` (or itself) with this many labels.
fn ancestor(name: &Name, labels: usize) -> Name {
    let mut ancestor = name.clone();
    while ancestor.label_count() > labels {
        match ancestor.parent() {
            Some(parent) => ancestor = parent,
            None => break,
        }
    }
    ancestor
}
