//! The one place that decides which rule a query meets.
//!
//! Precedence (draft-vixie-dnsop-dns-rpz-00, section 5), first to last:
//!
//! 1. the earlier name of a chain of aliases; the client belongs to the first, addresses in the answer to the
//!    last, name servers to the name whose zones they serve (5.1);
//! 2. the earlier feed in configured order (5.2);
//! 3. client-IP, QNAME, IP, NSDNAME, NSIP (5.4);
//! 4. of names the one with more labels, which is both "exact before wildcard" and "longest wildcard first"
//!    (5.3); of networks the longest, IPv4 counted as ::ffff:0:0/96 (5.6);
//! 5. the lower address (5.7), the name that was told first: tell name servers in canonical order (5.5).
//!
//! Feeds in shadow take part in a second reckoning only, by the same precedence: what would have won, were
//! they enforced. What is not known yet about an answer is told to a [`Reckoning`] when it is; `explain` runs
//! the same one with an observer.

use std::cmp::Reverse;
use std::net::IpAddr;

use super::action::Action;
use super::index::{Index, Listed};
use super::rule::{Feed, FeedKind, Mode, Provenance, Rule, Timing};
use super::trigger::Trigger;
use crate::name::Key;

/// What the policy says about a query.
#[derive(Debug, Clone, Copy, Default)]
pub struct Decision<'p> {
    /// The rule that acts, if any.
    pub ruling: Option<Ruling<'p>>,
    /// The rule of a feed in shadow that would have acted instead.
    pub shadow: Option<Ruling<'p>>,
}

/// A rule that a query met.
#[derive(Debug, Clone, Copy)]
pub struct Ruling<'p> {
    /// The rule.
    pub rule: &'p Rule,
    /// The feed it comes from.
    pub feed: &'p Feed,
    /// Its malware family.
    pub family: Option<&'p str>,
    /// Where in the chain of aliases it was met: 0 is the qname.
    pub stage: u8,
    /// How many labels of the name that met it, from the root, the listed name has; how many bits the listed
    /// network has.
    pub depth: u8,
    /// The address that met it, where an address did.
    pub address: Option<IpAddr>,
    /// The number of the name server that met it, as the reckoning was told.
    pub server: u16,
}

impl Ruling<'_> {
    /// Whether a query that meets this rule tells of an infected client or a click.
    pub fn is_hit(&self) -> bool {
        self.feed.kind == FeedKind::Threat
            && self.rule.mode == Mode::Enforced
            // Neither tells of anything malicious.
            && !matches!(self.rule.action, Action::Passthru | Action::TcpOnly)
    }

    /// Lower is better.
    fn rank(&self) -> (u8, u16, Trigger, Reverse<u8>, Option<IpAddr>) {
        let mapped = if self.address.is_some_and(|address| address.is_ipv4()) { 96 } else { 0 };
        (self.stage, self.rule.feed, self.rule.trigger, Reverse(self.depth + mapped), self.address)
    }

    fn outranks(&self, other: &Self) -> bool {
        self.rank() < other.rank()
    }
}

/// Sees every rule that a decision considers.
pub trait Observer<'p> {
    /// A listed name on the way to one that was told, or a listed network, has this rule; `covers` tells
    /// whether its scope includes what was told.
    fn considers(&mut self, ruling: Ruling<'p>, covers: bool);
}

/// Watches nothing: the query path.
pub struct Unobserved;

impl<'p> Observer<'p> for Unobserved {
    fn considers(&mut self, _: Ruling<'p>, _: bool) {}
}

/// A decision in the making: told what a query is and what its answer has, in any order.
pub struct Reckoning<'p, 'o, D, O> {
    index: &'p Index<D>,
    weighing: Weighing<'p>,
    observer: &'o mut O,
}

impl<'p, 'o, D: AsRef<[u8]>, O: Observer<'p>> Reckoning<'p, 'o, D, O> {
    /// Nothing was told yet.
    pub fn new(index: &'p Index<D>, observer: &'o mut O) -> Self {
        Self { index, weighing: Weighing::default(), observer }
    }

    /// Who asks.
    pub fn client(&mut self, client: IpAddr) {
        let fact = Fact { address: Some(client.to_canonical()), ..Fact::default() };
        self.network(Trigger::ClientIp, fact);
    }

    /// The qname, or what the chain of aliases comes to at this stage.
    pub fn name(&mut self, stage: u8, key: &Key) {
        let Self { index, weighing, observer } = self;
        let fact = Fact { stage, ..Fact::default() };
        index.walk(key, |listed| weighing.meet_name(listed, fact, index.provenance(), *observer));
    }

    /// An address in the answer, at the end of the chain.
    pub fn address(&mut self, stage: u8, address: IpAddr) {
        let fact = Fact { stage, address: Some(address.to_canonical()), ..Fact::default() };
        self.network(Trigger::Ip, fact);
    }

    /// The name of a name server of this stage's name, and its number by which the decision will tell it.
    pub fn server(&mut self, stage: u8, number: u16, key: &Key) {
        let Self { index, weighing, observer } = self;
        let fact = Fact { stage, server: number, address: None };
        index.walk_servers(key, |listed| weighing.meet_name(listed, fact, index.provenance(), *observer));
    }

    /// An address of that name server.
    pub fn server_address(&mut self, stage: u8, number: u16, address: IpAddr) {
        let fact = Fact { stage, server: number, address: Some(address.to_canonical()) };
        self.network(Trigger::Nsip, fact);
    }

    fn network(&mut self, trigger: Trigger, fact: Fact) {
        let Self { index, weighing, observer } = self;
        let Some(address) = fact.address else { return };
        index.walk_networks(trigger, address, |len, rules| {
            for rule in rules {
                weighing.meet(rule, len, fact, true, index.provenance(), *observer);
            }
        });
    }

    /// What came of all that was told.
    pub fn decision(&self) -> Decision<'p> {
        self.weighing.decision()
    }
}

/// Decides what happens to a query for the name behind `key`, whoever asks, as far as that is known before it
/// is resolved.
pub fn decide<'p, D: AsRef<[u8]>>(
    index: &'p Index<D>,
    key: &Key,
    observer: &mut impl Observer<'p>,
) -> Decision<'p> {
    let mut reckoning = Reckoning::new(index, observer);
    reckoning.name(0, key);
    reckoning.decision()
}

/// As [`decide`], unobserved, for several names at once and for those who ask for them; where there is no
/// key, nothing is decided.
pub fn decide_many<'p, D: AsRef<[u8]>, const N: usize>(
    index: &'p Index<D>,
    keys: &[Option<Key>; N],
    clients: &[Option<IpAddr>; N],
) -> [Decision<'p>; N] {
    let mut weighings = [Weighing::default(); N];
    index.walk_many(keys, |number, listed| {
        weighings[number].meet_name(listed, Fact::default(), index.provenance(), &mut Unobserved);
    });
    if index.has(Trigger::ClientIp) {
        for ((weighing, key), client) in weighings.iter_mut().zip(keys).zip(clients) {
            let (Some(_), Some(client)) = (key, client) else { continue };
            let mut reckoning = Reckoning { index, weighing: *weighing, observer: &mut Unobserved };
            reckoning.client(*client);
            *weighing = reckoning.weighing;
        }
    }
    weighings.map(Weighing::decision)
}

/// Whether a ruling that needs no answer must wait for one: its feed says so, or an earlier one may have a
/// say once the answer is there.
pub fn must_wait<D: AsRef<[u8]>>(index: &Index<D>, ruling: &Ruling<'_>) -> bool {
    ruling.feed.timing == Timing::AfterResolving
        || index.first_on_response().is_some_and(|first| first < ruling.rule.feed)
}

/// Whether the name servers of the names in question could change a decision that was made without them: not
/// where the qname itself met a rule of the same feed or an earlier one.
pub fn needs_servers<D: AsRef<[u8]>>(index: &Index<D>, decision: &Decision<'_>) -> bool {
    let Some(first) = index.first_on_servers() else { return false };
    decision.ruling.is_none_or(|ruling| ruling.stage > 0 || first < ruling.rule.feed)
}

/// What meets a rule.
#[derive(Debug, Clone, Copy, Default)]
struct Fact {
    stage: u8,
    server: u16,
    address: Option<IpAddr>,
}

/// The rules that a query has met so far.
#[derive(Debug, Clone, Copy, Default)]
struct Weighing<'p> {
    enforced: Option<Ruling<'p>>,
    /// What would have won, were the feeds in shadow enforced.
    on_trial: Option<Ruling<'p>>,
}

impl<'p> Weighing<'p> {
    fn meet_name(
        &mut self,
        listed: Listed<'p>,
        fact: Fact,
        provenance: &'p Provenance,
        observer: &mut impl Observer<'p>,
    ) {
        for rule in listed.rules {
            let covers = rule.scope.covers(listed.is_qname);
            // A name has at most 127 labels.
            self.meet(rule, listed.labels as u8, fact, covers, provenance, observer);
        }
    }

    fn meet(
        &mut self,
        rule: &'p Rule,
        depth: u8,
        fact: Fact,
        covers: bool,
        provenance: &'p Provenance,
        observer: &mut impl Observer<'p>,
    ) {
        // `Index::new` checked both numbers.
        let Some(feed) = provenance.feeds.get(usize::from(rule.feed)) else { return };
        let family = rule.family.and_then(|family| provenance.families.get(family as usize));
        let Fact { stage, server, address } = fact;
        let family = family.map(|text| &**text);
        let ruling = Ruling { rule, feed, family, stage, depth, address, server };
        observer.considers(ruling, covers);
        if !covers {
            return;
        }
        if rule.mode == Mode::Enforced && self.enforced.is_none_or(|best| ruling.outranks(&best)) {
            self.enforced = Some(ruling);
        }
        if self.on_trial.is_none_or(|best| ruling.outranks(&best)) {
            self.on_trial = Some(ruling);
        }
    }

    fn decision(self) -> Decision<'p> {
        // An exception on trial would have changed nothing that is worth a note.
        let is_told =
            |ruling: &Ruling<'_>| ruling.rule.mode == Mode::Shadow && ruling.rule.action != Action::Passthru;
        Decision { ruling: self.enforced, shadow: self.on_trial.filter(is_told) }
    }
}

#[cfg(test)]
mod tests;
