//! `sachdns explain`

mod print;

use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use ipnet::IpNet;

use super::{CliError, ConfigArg};
use crate::client::Agencies;
use crate::client::prefix::PrefixMap;
use crate::config::Config;
use crate::daemon::{DaemonError, RulesError};
use crate::evidence::record::{Outcome, Transport};
use crate::image::{self, ImageError};
use crate::name::{Key, Name, NameError};
use crate::policy::action::Action;
use crate::policy::decide::{Reason, Ruling, must_wait};
use crate::policy::explain::{Verdict, explain};
use crate::policy::guard::Guarded;
use crate::policy::index::Index;
use crate::policy::layers::{Asker, Layer, Layers};
use crate::policy::rule::{Severity, Timing};
use crate::policy::trigger::{Scope, Trigger};
use crate::rules::history::History;
use crate::rules::{Entry, Subject};
use crate::serve::answer::Stem;
use crate::serve::apply::{Access, Applied, apply, refusal};
use crate::serve::rulebook::audience;
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
    /// How to print.
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people.
    Text,
    /// One JSON object a line: the question, each rule, the answer.
    Jsonl,
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
    let plan = daemon::plan(&config);
    let path = config.image_path();
    match image::open(&path) {
        Ok(image) => {
            let image::Facts { built_at, name_count, fingerprint, .. } = image.facts;
            let basis =
                Basis::Image { built_at, name_count, is_current: update::is_current(plan, &fingerprint) };
            tell(&mut out, &config, arguments, &image.index, &basis)
        }
        Err(ImageError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            let (compiled, _) = update::compile(plan, clock::now())?;
            let index = compiled.into_index().map_err(|source| ImageError::Index { path, source })?;
            tell(&mut out, &config, arguments, &index, &Basis::Feeds)
        }
        Err(error) => Err(error.into()),
    }
}

/// What is explained from.
enum Basis {
    /// The image on disk.
    Image { built_at: i64, name_count: u64, is_current: bool },
    /// The feeds as they are now: there is no image yet.
    Feeds,
}

/// The client of a query, as far as it matters.
struct Client {
    address: Option<IpAddr>,
    access: Access,
    agency: Option<(Arc<str>, Arc<str>)>,
}

impl Client {
    fn of(config: &Config, address: Option<IpAddr>) -> Self {
        let allow = PrefixMap::new(config.server.allow.iter().map(|net| (*net, ()))).unwrap_or_default();
        // Without a client the question is what those are told who may ask.
        let access = address.map_or(Access::Allowed, |client| Access::of(client, &allow));
        let agencies = Agencies::new(config.agencies.clone()).unwrap_or_default();
        let agency = address.and_then(|client| agencies.of(client));
        let agency = agency.map(|agency| (Arc::clone(&agency.id), Arc::clone(&agency.name)));
        Self { address, access, agency }
    }

    fn agency_id(&self) -> Option<&str> {
        self.agency.as_ref().map(|(id, _)| &**id)
    }
}

/// A rule that was considered, as people and programs are told of it.
struct Account {
    /// What it lists.
    thing: Thing,
    layer: Layer,
    feed: Arc<str>,
    family: Option<String>,
    severity: Option<Severity>,
    action: String,
    verdict: &'static str,
    /// The verdict and why, for people.
    because: String,
    /// Where the feed has it: the file, and the line.
    place: Option<String>,
    /// An analyst's: when and by whom it was given, and why.
    given: Option<Entry>,
}

/// All that there is to tell.
struct Story<'a> {
    arguments: &'a Arguments,
    config: &'a Config,
    basis: &'a Basis,
    client: Client,
    /// Names of the chain that no address alone takes, and why.
    guarded: Vec<(Name, Guarded)>,
    accounts: Vec<Account>,
    /// What rules look at and nobody told: words, and the option that tells it.
    unknown: Vec<(&'static str, &'static str)>,
    /// Why the rule waits until the name is resolved.
    timing: Option<&'static str>,
    answer: String,
}

fn tell<D: AsRef<[u8]>>(
    out: &mut impl Write,
    config: &Config,
    arguments: &Arguments,
    index: &Index<D>,
    basis: &Basis,
) -> Result<(), CliError> {
    let now = clock::now();
    let reading =
        History::new(&config.data_dir).read().map_err(RulesError::from).map_err(DaemonError::from)?;
    let own = reading.book.own(now).map_err(RulesError::from).map_err(DaemonError::from)?;
    let guard = daemon::guard(config)?;
    let client = Client::of(config, arguments.client);
    let audience = audience(index.provenance(), own.as_ref(), &config.reaches, client.agency_id());
    let layers = Layers { feeds: index, own: own.as_ref().map(|own| &own.index), guard: &guard };
    let asker = Asker { client: arguments.client, audience: &audience };
    let mut servers: Vec<&Name> = arguments.ns.iter().collect();
    servers.sort_by_cached_key(|name| Key::from(*name).as_bytes().to_vec());
    let explanation = explain(layers, asker, |reckoning| {
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
    let names = std::iter::once(&arguments.name).chain(&arguments.cname);
    let guarded = names.filter_map(|name| Some((name.clone(), guard.find(&Key::from(name))?))).collect();
    let mut story = Story {
        arguments,
        config,
        basis,
        client,
        guarded,
        accounts: Vec::new(),
        unknown: unknown(arguments, layers),
        timing: None,
        answer: String::new(),
    };
    for step in &explanation.steps {
        let thing = Thing::of(&step.ruling, arguments, &servers);
        let given = own.as_ref().filter(|_| step.ruling.layer == Layer::Own).and_then(|own| {
            let agency = own.agencies.get(usize::from(step.ruling.rule.feed))?.as_ref();
            reading.book.find(&thing.subject(), agency, now).cloned()
        });
        let verdict = explanation.verdict(step);
        let because = story.because(&step.ruling, &verdict, given.as_ref(), &servers);
        let place = if step.ruling.layer == Layer::Own { None } else { origin(config, &step.ruling, &thing) };
        story.accounts.push(Account {
            thing,
            layer: step.ruling.layer,
            feed: Arc::clone(&step.ruling.feed.name),
            family: step.ruling.family.map(str::to_owned),
            severity: step.ruling.rule.severity,
            action: step.ruling.rule.action.to_string(),
            verdict: word(&verdict),
            because,
            place,
            given,
        });
    }
    let ruling = explanation.decision.ruling;
    story.timing =
        ruling.filter(|ruling| must_wait(index, &audience, ruling)).map(|ruling| match ruling.feed.timing {
            Timing::AfterResolving => "qname_wait_recurse of its feed",
            Timing::AtOnce => "an earlier feed has rules on answers",
        });
    story.answer = answer(config, arguments, story.client.access, ruling);
    match arguments.format {
        Form::Text => story.write(out)?,
        Form::Jsonl => story.write_lines(out)?,
    }
    Ok(())
}

fn word(verdict: &Verdict<'_>) -> &'static str {
    match verdict {
        Verdict::Decides => "decides",
        Verdict::InShadow => "shadow",
        Verdict::Guarded => "guarded",
        Verdict::OutOfScope => "out-of-scope",
        Verdict::OtherAudience => "other-audience",
        Verdict::Behind(..) => "outranked",
    }
}

/// What rules look at and nobody told.
fn unknown<D: AsRef<[u8]>>(
    arguments: &Arguments,
    layers: Layers<'_, D>,
) -> Vec<(&'static str, &'static str)> {
    let Arguments { client, answer_ip, ns, ns_ip, .. } = arguments;
    let has = |trigger| layers.feeds.has(trigger) || layers.own.is_some_and(|own| own.has(trigger));
    [
        (Trigger::ClientIp, client.is_some(), "the client", "--client IP"),
        (Trigger::Ip, !answer_ip.is_empty(), "the answer's addresses", "--answer-ip IP"),
        (Trigger::Nsdname, !ns.is_empty(), "name servers' names", "--ns NAME"),
        (Trigger::Nsip, !ns_ip.is_empty(), "name servers' addresses", "--ns-ip IP"),
    ]
    .into_iter()
    .filter(|(trigger, is_told, ..)| has(*trigger) && !is_told)
    .map(|(_, _, what, option)| (what, option))
    .collect()
}

impl Story<'_> {
    /// What became of a rule and why, in words.
    fn because(
        &self,
        ruling: &Ruling<'_>,
        verdict: &Verdict<'_>,
        given: Option<&Entry>,
        servers: &[&Name],
    ) -> String {
        let feed = &ruling.feed.name;
        match verdict {
            Verdict::Decides => "decides".to_owned(),
            Verdict::InShadow if ruling.rule.action == Action::Passthru => {
                "is in shadow, where an exception changes nothing".to_owned()
            }
            Verdict::InShadow if ruling.layer == Layer::Own => {
                "would decide, but was given as shadow: it only shows in the log".to_owned()
            }
            Verdict::InShadow => {
                format!("would decide, but feed {feed} is in shadow: it only shows in the log")
            }
            Verdict::Guarded => {
                let (name, why) = match self.guarded.first() {
                    Some((name, why)) => (name, guarded_word(*why)),
                    None => (&self.arguments.name, guarded_word(Guarded::Protected)),
                };
                format!(
                    "would decide, but {name} is {why}: no address alone takes such a name, it only shows in the log"
                )
            }
            Verdict::OutOfScope => match ruling.rule.scope {
                Scope::Exact => "does not cover this name: it is for the listed one alone".to_owned(),
                Scope::Below | Scope::Subtree => {
                    "does not cover this name: it is for what is below it".to_owned()
                }
            },
            Verdict::OtherAudience => match (ruling.layer, given) {
                (Layer::Own, Some(Entry { rule, .. })) => {
                    format!("does not apply: it is for agency {} only", rule.agency.as_deref().unwrap_or("?"))
                }
                _ => self.audience_of(feed),
            },
            Verdict::Behind(winner, reason) => {
                let first = Thing::of(winner, self.arguments, servers);
                let reason = match reason {
                    Reason::Stage => "it is met earlier in the chain of aliases".to_owned(),
                    Reason::Own => "analysts' rules come before those of feeds".to_owned(),
                    Reason::Feed => "its feed comes first in the configuration".to_owned(),
                    Reason::Trigger => format!(
                        "of one feed, {} comes before {}",
                        trigger_word(winner.rule.trigger),
                        trigger_word(ruling.rule.trigger)
                    ),
                    Reason::Length => "what it lists is longer".to_owned(),
                    Reason::Address => "its address is the lower one".to_owned(),
                    Reason::Name => "it acts by the name, which an address alone gives way to".to_owned(),
                    Reason::Exception => "it is an exception for the same name".to_owned(),
                    Reason::First => "it stands first".to_owned(),
                };
                format!("comes behind {first} of {}: {reason}", source_of(winner.layer, &winner.feed.name))
            }
        }
    }

    /// To whom a feed applies, which does not apply to the client.
    fn audience_of(&self, feed: &str) -> String {
        let Some(reach) = self.config.reaches.iter().find(|reach| *reach.feed == *feed) else {
            return "does not apply to this client".to_owned();
        };
        match self.client.agency_id() {
            Some(id) if reach.except.iter().any(|except| **except == *id) => {
                format!("does not apply: feed {feed} is not for agency {id}")
            }
            _ => format!("does not apply: feed {feed} is only for {}", reach.only.join(", ")),
        }
    }
}

fn guarded_word(why: Guarded) -> &'static str {
    match why {
        Guarded::Protected => "protected",
        Guarded::Popular => "popular",
    }
}

fn trigger_word(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::ClientIp => "the client",
        Trigger::Qname => "the name",
        Trigger::Ip => "the answer's address",
        Trigger::Nsdname => "a name server's name",
        Trigger::Nsip => "a name server's address",
        Trigger::Address => "an address alone",
    }
}

/// Whose rule it is.
fn source_of(layer: Layer, feed: &str) -> String {
    match layer {
        Layer::Own => "analysts".to_owned(),
        Layer::Feeds => format!("feed {feed}"),
    }
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

impl Thing {
    fn subject(&self) -> Subject {
        match self {
            Self::Name(name, scope, _) => Subject::Name(name.clone(), *scope),
            Self::Network(net, _) => Subject::Network(*net),
        }
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

/// `FILE:LINE` of the feed's line; nothing for what comes from the configuration.
fn origin(config: &Config, ruling: &Ruling<'_>, listed: &Thing) -> Option<String> {
    let source = config.feeds.iter().find(|source| source.name == ruling.feed.name)?;
    let listed = match listed {
        Thing::Name(name, ..) => Listed::Name(name),
        Thing::Network(network, _) => Listed::Network(*network),
    };
    Some(match update::line_of(&config.versions, source, listed, ruling.rule) {
        Ok(Some(line)) => format!("{}:{line}", source.origin),
        Ok(None) => format!("no longer in {}", source.origin),
        Err(_) => format!("{} cannot be read now", source.origin),
    })
}

/// What the query path would answer over UDP, read back from its octets.
fn answer(config: &Config, arguments: &Arguments, access: Access, ruling: Option<Ruling<'_>>) -> String {
    let mut packet = b"\x00\x00\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00".to_vec();
    packet.extend(arguments.name.as_wire());
    packet.extend(arguments.qtype.to_be_bytes());
    packet.extend(wire::CLASS_IN.to_be_bytes());
    let mut text = String::new();
    let Ok(query) = Query::parse(&packet) else {
        return "FORMERR: no such query can be asked".to_owned();
    };
    if let Some((rcode, _)) = refusal(&query, access) {
        let why = match access {
            Access::Prohibited => "the client is in no network of server.allow",
            Access::Allowed => "no resolver has data of this type",
        };
        return format!("{}: {why}", wire::rcode_text(rcode));
    }
    let mut octets = Vec::new();
    let applied = match &ruling {
        Some(ruling) => {
            let name = arguments.stage(ruling.stage).as_wire();
            if ruling.stage > 0 {
                text = format!("the aliases, then for {}: ", arguments.stage(ruling.stage));
                packet.truncate(wire::HEADER);
                packet.extend(name);
                packet.extend(arguments.qtype.to_be_bytes());
                packet.extend(wire::CLASS_IN.to_be_bytes());
            }
            let Ok(query) = Query::parse(&packet) else { return "none".to_owned() };
            apply(&config.sinkhole, ruling, Stem::at_qname(&query), Transport::Udp, &mut octets)
        }
        None => Applied::Resolve(Outcome::Forward),
    };
    match applied {
        Applied::Resolve(_) => return text + &resolved_by(config, &arguments.name),
        Applied::Alias(target) => return format!("{text}CNAME {target}, and what the upstreams say for it"),
        Applied::Answer(..) => {}
    }
    let Ok(response) = Response::parse(&octets) else { return text + "none: the query is dropped" };
    if response.is_truncated() {
        return text + "empty, truncated: the client asks again over TCP and is answered there";
    }
    text += &wire::rcode_text(response.rcode());
    let mut is_empty = true;
    for record in response.records().flatten() {
        let rdata = &response.packet()[record.rdata.clone()];
        let address = match record.rtype {
            rtype::A => <[u8; 4]>::try_from(rdata).ok().map(IpAddr::from),
            rtype::AAAA => <[u8; 16]>::try_from(rdata).ok().map(IpAddr::from),
            _ => None,
        };
        if let Some(address) = address {
            text += &format!(", {} {address}, TTL {}", wire::type_text(record.rtype), record.ttl);
            is_empty = false;
        } else if let (rtype::CNAME, Some(target)) = (record.rtype, Name::from_wire(rdata)) {
            text += &format!(", CNAME {target}, TTL {}", record.ttl);
            is_empty = false;
        } else if record.section == Section::Answer {
            let rtype = wire::type_text(record.rtype);
            text += &format!(", {rtype} of {} octets, TTL {}", rdata.len(), record.ttl);
            is_empty = false;
        }
    }
    text + if is_empty { ", no data" } else { "" }
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
