//! Explaining a name: asks the policy as the query path does, and takes down what it says.
//!
//! For the command, which opens the image on disk, and for the console, which has the one in force.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::client::Agencies;
use crate::client::prefix::PrefixMap;
use crate::config::Config;
use crate::evidence::record::Transport;
use crate::explain::{Account, Answer, Answerer, Client, Fate, Place, Question, Story, Thing, Waits};
use crate::name::{Key, Name};
use crate::policy::action::Action;
use crate::policy::decide::{Ruling, must_wait};
use crate::policy::explain::{Verdict, explain};
use crate::policy::guard::{Guard, Guarded};
use crate::policy::index::Index;
use crate::policy::layers::{Asker, Layer, Layers, Own};
use crate::policy::rule::Timing;
use crate::policy::trigger::Trigger;
use crate::rules::{Book, Entry};
use crate::serve::answer::Stem;
use crate::serve::apply::{Access, Applied, apply, refusal};
use crate::serve::rulebook::audience;
use crate::update::{self, Listed};
use crate::wire::{self, Query, Response, Section, rtype};

/// What is explained from.
pub struct Sources<'a, D> {
    /// The configuration.
    pub config: &'a Config,
    /// The rules of feeds.
    pub index: &'a Index<D>,
    /// Names that no address or name server alone takes.
    pub guard: &'a Guard,
    /// Analysts' rules as decisions ask them …
    pub own: Option<&'a Own>,
    /// … and as they were given.
    pub book: &'a Book,
}

/// Whether the lines of feeds are looked for, which reads these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Places {
    /// They are.
    Find,
    /// They are not.
    Leave,
}

/// All that there is to tell of a question.
pub fn tell<D: AsRef<[u8]>>(
    sources: &Sources<'_, D>,
    question: &Question,
    places: Places,
    now: i64,
) -> Story {
    let Sources { config, index, guard, own, book } = *sources;
    let (client, access) = client(config, question.client);
    let audience = audience(index.provenance(), own, &config.reaches, client.agency_id());
    let layers = Layers { feeds: index, own: own.map(|own| &own.index), guard };
    let asker = Asker { client: question.client, audience: &audience };
    let mut servers: Vec<&Name> = question.ns.iter().collect();
    servers.sort_by_cached_key(|name| Key::from(*name).as_bytes().to_vec());
    let explanation = explain(layers, asker, |reckoning| {
        let mut last = 0;
        for (name, stage) in std::iter::once(&question.name).chain(&question.cname).zip(0..=u8::MAX) {
            reckoning.name(stage, &Key::from(name));
            last = stage;
        }
        for address in &question.answer_ip {
            reckoning.address(last, *address);
        }
        for (name, number) in servers.iter().zip(0..=u16::MAX) {
            reckoning.server(0, number, &Key::from(*name));
        }
        for address in &question.ns_ip {
            reckoning.server_address(0, 0, *address);
        }
    });
    let names = std::iter::once(&question.name).chain(&question.cname);
    let guarded: Vec<_> =
        names.filter_map(|name| Some((name.clone(), guard.find(&Key::from(name))?))).collect();
    let teller = Teller { question, config, client: &client, guarded: &guarded, servers: &servers };
    let accounts = explanation.steps.iter().map(|step| {
        let ruling = &step.ruling;
        let thing = teller.thing(ruling);
        let given = own.filter(|_| ruling.layer == Layer::Own).and_then(|own| {
            let agency = own.agencies.get(usize::from(ruling.rule.feed))?.as_ref();
            book.find(&thing.subject(), agency, now).cloned()
        });
        let fate = teller.fate(ruling, &explanation.verdict(step), given.as_ref());
        let is_looked_for = places == Places::Find && ruling.layer == Layer::Feeds;
        let place = if is_looked_for { origin(config, ruling, &thing) } else { None };
        Account {
            thing,
            layer: ruling.layer,
            feed: Arc::clone(&ruling.feed.name),
            family: ruling.family.map(str::to_owned),
            severity: ruling.rule.severity,
            action: ruling.rule.action.to_string(),
            fate,
            place,
            given,
        }
    });
    let accounts = accounts.collect();
    let ruling = explanation.decision.ruling;
    let waits =
        ruling.filter(|ruling| must_wait(index, &audience, ruling)).map(|ruling| match ruling.feed.timing {
            Timing::AfterResolving => Waits::Feed,
            Timing::AtOnce => Waits::Earlier,
        });
    let answer = answer(config, question, access, ruling);
    let unknown = unknown(question, layers);
    Story { client, guarded, accounts, unknown, waits, answer }
}

fn client(config: &Config, address: Option<IpAddr>) -> (Client, Access) {
    let allow = PrefixMap::new(config.server.allow.iter().map(|net| (*net, ()))).unwrap_or_default();
    // Without a client the question is what those are told who may ask.
    let access = address.map_or(Access::Allowed, |client| Access::of(client, &allow));
    let agencies = Agencies::new(config.agencies.clone()).unwrap_or_default();
    let agency = address.and_then(|client| agencies.of(client));
    let agency = agency.map(|agency| (Arc::clone(&agency.id), Arc::clone(&agency.name)));
    (Client { address, is_answered: access == Access::Allowed, agency }, access)
}

/// What rules look at and nobody told.
fn unknown<D: AsRef<[u8]>>(question: &Question, layers: Layers<'_, D>) -> Vec<Trigger> {
    let Question { client, answer_ip, ns, ns_ip, .. } = question;
    let has = |trigger| layers.feeds.has(trigger) || layers.own.is_some_and(|own| own.has(trigger));
    [
        (Trigger::ClientIp, client.is_some()),
        (Trigger::Ip, !answer_ip.is_empty()),
        (Trigger::Nsdname, !ns.is_empty()),
        (Trigger::Nsip, !ns_ip.is_empty()),
    ]
    .into_iter()
    .filter(|(trigger, is_told)| has(*trigger) && !is_told)
    .map(|(trigger, _)| trigger)
    .collect()
}

/// Takes down what became of rules.
struct Teller<'a> {
    question: &'a Question,
    config: &'a Config,
    client: &'a Client,
    guarded: &'a [(Name, Guarded)],
    /// Name servers in the order of their numbers.
    servers: &'a [&'a Name],
}

impl Teller<'_> {
    fn thing(&self, ruling: &Ruling<'_>) -> Thing {
        let trigger = ruling.rule.trigger;
        let network = ruling.address.and_then(|address| IpNet::new(address, ruling.depth).ok());
        if let Some(network) = network {
            return Thing::Network(network.trunc(), trigger);
        }
        let name = match trigger {
            Trigger::Nsdname => {
                self.servers.get(usize::from(ruling.server)).copied().unwrap_or(&self.question.name)
            }
            _ => self.question.stage(ruling.stage),
        };
        Thing::Name(ancestor(name, usize::from(ruling.depth)), ruling.rule.scope, trigger)
    }

    fn fate(&self, ruling: &Ruling<'_>, verdict: &Verdict<'_>, given: Option<&Entry>) -> Fate {
        let feed = &ruling.feed.name;
        match verdict {
            Verdict::Decides => Fate::Decides,
            Verdict::InShadow if ruling.rule.action == Action::Passthru => Fate::ShadowException,
            Verdict::InShadow if ruling.layer == Layer::Own => Fate::ShadowOwn,
            Verdict::InShadow => Fate::ShadowFeed(Arc::clone(feed)),
            Verdict::Guarded => match self.guarded.first() {
                Some((name, why)) => Fate::Guarded(name.clone(), *why),
                None => Fate::Guarded(self.question.name.clone(), Guarded::Protected),
            },
            Verdict::OutOfScope => Fate::OutOfScope(ruling.rule.scope),
            Verdict::OtherAudience => match (ruling.layer, given) {
                (Layer::Own, Some(Entry { rule, .. })) => Fate::OnlyAgency(rule.agency.clone()),
                _ => self.audience_of(feed),
            },
            Verdict::Behind(winner, reason) => Fate::Behind {
                first: self.thing(winner),
                layer: winner.layer,
                feed: Arc::clone(&winner.feed.name),
                reason: *reason,
                triggers: [winner.rule.trigger, ruling.rule.trigger],
            },
        }
    }

    /// To whom a feed applies, which does not apply to the client.
    fn audience_of(&self, feed: &Arc<str>) -> Fate {
        let Some(reach) = self.config.reaches.iter().find(|reach| reach.feed == *feed) else {
            return Fate::OtherClient;
        };
        match self.client.agency_id() {
            Some(id) if reach.except.iter().any(|except| **except == *id) => {
                Fate::NotFor(Arc::clone(feed), id.to_owned())
            }
            _ => Fate::OnlyFor(Arc::clone(feed), reach.only.clone()),
        }
    }
}

/// Where the feed has it; nothing for what comes from the configuration.
fn origin(config: &Config, ruling: &Ruling<'_>, listed: &Thing) -> Option<Place> {
    let source = config.feeds.iter().find(|source| source.name == ruling.feed.name)?;
    let listed = match listed {
        Thing::Name(name, ..) => Listed::Name(name),
        Thing::Network(network, _) => Listed::Network(*network),
    };
    let origin = source.origin.to_string();
    Some(match update::line_of(&config.versions, source, listed, ruling.rule) {
        Ok(Some(line)) => Place::Line(origin, line),
        Ok(None) => Place::Gone(origin),
        Err(_) => Place::Unreadable(origin),
    })
}

/// What the query path would answer over UDP, read back from its octets.
fn answer(config: &Config, question: &Question, access: Access, ruling: Option<Ruling<'_>>) -> Answer {
    let told = |source, text: String| Answer { source, text };
    let mut packet = b"\x00\x00\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00".to_vec();
    packet.extend(question.name.as_wire());
    packet.extend(question.qtype.to_be_bytes());
    packet.extend(wire::CLASS_IN.to_be_bytes());
    let mut text = String::new();
    let Ok(query) = Query::parse(&packet) else {
        return told(Answerer::Refusal, "FORMERR: no such query can be asked".to_owned());
    };
    if let Some((rcode, _)) = refusal(&query, access) {
        let why = match access {
            Access::Prohibited => "the client is in no network of server.allow",
            Access::Allowed => "no resolver has data of this type",
        };
        return told(Answerer::Refusal, format!("{}: {why}", wire::rcode_text(rcode)));
    }
    let mut octets = Vec::new();
    let applied = match &ruling {
        Some(ruling) => {
            let name = question.stage(ruling.stage).as_wire();
            if ruling.stage > 0 {
                text = format!("the aliases, then for {}: ", question.stage(ruling.stage));
                packet.truncate(wire::HEADER);
                packet.extend(name);
                packet.extend(question.qtype.to_be_bytes());
                packet.extend(wire::CLASS_IN.to_be_bytes());
            }
            let Ok(query) = Query::parse(&packet) else {
                return told(Answerer::Refusal, "none".to_owned());
            };
            apply(&config.sinkhole, ruling, Stem::at_qname(&query), Transport::Udp, &mut octets)
        }
        None => Applied::Resolve(crate::evidence::record::Outcome::Forward),
    };
    match applied {
        Applied::Resolve(_) => {
            let (source, by) = resolved_by(config, &question.name);
            return told(source, text + &by);
        }
        Applied::Alias(target) => {
            text += &format!("CNAME {target}, and what the upstreams say for it");
            return told(Answerer::Alias(target), text);
        }
        Applied::Answer(..) => {}
    }
    let Ok(response) = Response::parse(&octets) else {
        return told(Answerer::Silence, text + "none: the query is dropped");
    };
    if response.is_truncated() {
        text += "empty, truncated: the client asks again over TCP and is answered there";
        return told(Answerer::Tcp, text);
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
    told(Answerer::Rule, text + if is_empty { ", no data" } else { "" })
}

/// Who answers a name that no rule answers.
fn resolved_by(config: &Config, name: &Name) -> (Answerer, String) {
    let zones = config.zones.iter().map(|zone| &zone.name).filter(|zone| name.is_within(zone));
    if let Some(zone) = zones.max_by_key(|zone| zone.label_count()) {
        return (Answerer::Zone(zone.clone()), format!("whatever the local zone {zone} says"));
    }
    match config.special_names().find(name.as_wire()) {
        Some(_) => {
            (Answerer::Special, "made here: it is a special-use name, which is asked of nobody".to_owned())
        }
        None => (Answerer::Upstreams, "whatever the upstreams say".to_owned()),
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
