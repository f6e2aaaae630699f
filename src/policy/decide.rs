//! The one place that decides which rule a query meets.
//!
//! Precedence (draft-vixie-dnsop-dns-rpz-00, section 5), first to last:
//!
//! 1. the earlier name of a chain of aliases; the client belongs to the first, addresses in the answer to the
//!    last, name servers to the name whose zones they serve (5.1);
//! 2. analysts' own rules before those of feeds, then the earlier feed in configured order (5.2);
//! 3. client-IP, QNAME, IP, NSDNAME, NSIP (5.4), a bare address;
//! 4. of names the one with more labels, which is both "exact before wildcard" and "longest wildcard first"
//!    (5.3); of networks the longest, IPv4 counted as ::ffff:0:0/96 (5.6);
//! 5. the lower address (5.7), the name that was told first: tell name servers in canonical order (5.5).
//!
//! Bare addresses (`Trigger::Address`), which no RPZ knows, stand apart. Were they ranked like IP triggers,
//! one address in the first list would keep every query for a name of the other lists waiting for an answer
//! from those who own the name. So the best of them is found by itself, and then
//!
//! * gives way to analysts' rules on names, and to any rule that acts by the client or the name alone;
//! * otherwise, where an analyst gave it, comes before all that feeds say: an address that was allowed is not
//!   taken by a feed's rule on answers, and one that was blocked is, whatever a feed lets pass;
//! * otherwise is ranked as above.
//!
//! A guarded rule (`Mode::Guarded`) counts as in shadow where a name of the chain is guarded. Feeds in shadow
//! take part in a second reckoning only, by the same precedence: what would have won, were they enforced.
//! Rules that do not apply to the audience take part in none. What is not known yet about an answer is told
//! to a [`Reckoning`] when it is; `explain` runs the same one with an observer.

use std::cmp::Reverse;
use std::net::IpAddr;

use super::action::Action;
use super::index::{Index, Listed};
use super::layers::{Asker, Audience, Layer, Layers};
use super::rule::{Feed, FeedKind, Mode, Rule, Timing};
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
    /// Whose it is.
    pub layer: Layer,
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

/// Where a ruling stands among others; lower is better.
type Rank = (u8, Layer, u16, Trigger, Reverse<u8>, Option<IpAddr>);

impl Ruling<'_> {
    /// Whether a query that meets this rule tells of an infected client or a click.
    pub fn is_hit(&self) -> bool {
        self.feed.kind == FeedKind::Threat
            && self.rule.mode != Mode::Shadow
            // Neither tells of anything malicious.
            && !matches!(self.rule.action, Action::Passthru | Action::TcpOnly)
    }

    fn rank(&self) -> Rank {
        let mapped = if self.address.is_some_and(|address| address.is_ipv4()) { 96 } else { 0 };
        let depth = Reverse(self.depth + mapped);
        (self.stage, self.layer, self.rule.feed, self.rule.trigger, depth, self.address)
    }

    fn outranks(&self, other: &Self) -> bool {
        self.rank() < other.rank()
    }

    /// Whether it needs no answer to be told, and none to act.
    fn acts_by_name(&self) -> bool {
        matches!(self.rule.trigger, Trigger::ClientIp | Trigger::Qname)
            && self.rule.action != Action::Passthru
    }

    /// Whether this one, on a bare address, stands behind one that is on something else.
    fn gives_way_to(&self, other: &Self) -> bool {
        other.layer == Layer::Own || other.acts_by_name() || self.layer != Layer::Own && other.outranks(self)
    }

    /// Whether this one comes before another one that was met as well.
    pub fn comes_before(&self, other: &Self) -> bool {
        let is_bare = |ruling: &Self| ruling.rule.trigger == Trigger::Address;
        match (is_bare(self), is_bare(other)) {
            (true, false) => !self.gives_way_to(other),
            (false, true) => other.gives_way_to(self),
            _ => self.outranks(other),
        }
    }

    /// Whether they are the same rule, met by the same.
    pub fn is_same(&self, other: &Self) -> bool {
        let place = |ruling: &Self| (ruling.stage, ruling.depth, ruling.address, ruling.server);
        std::ptr::eq(self.rule, other.rule) && place(self) == place(other)
    }

    /// Why this one came before another one that was met as well.
    pub fn reason_before(&self, other: &Self) -> Reason {
        let is_bare = |ruling: &Self| ruling.rule.trigger == Trigger::Address;
        if is_bare(self) != is_bare(other) {
            if (self.layer, other.layer) == (Layer::Own, Layer::Feeds) {
                return Reason::Own;
            }
            if is_bare(other) && self.acts_by_name() {
                return Reason::Name;
            }
        }
        let (ours, others) = (self.rank(), other.rank());
        if ours.0 != others.0 {
            Reason::Stage
        } else if ours.1 != others.1 {
            Reason::Own
        } else if ours.2 != others.2 {
            Reason::Feed
        } else if ours.3 != others.3 {
            Reason::Trigger
        } else if ours.4 != others.4 {
            Reason::Length
        } else if ours.5 != others.5 {
            Reason::Address
        } else if self.rule.action == Action::Passthru {
            Reason::Exception
        } else {
            Reason::First
        }
    }
}

/// Why one rule came before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It was met earlier in the chain of aliases.
    Stage,
    /// Analysts' rules come before those of feeds.
    Own,
    /// Its feed comes first.
    Feed,
    /// What it looks at comes first.
    Trigger,
    /// The name or network that it lists is longer.
    Length,
    /// The address that it met is the lower one.
    Address,
    /// It acts by the name, which a bare address gives way to.
    Name,
    /// It is an exception of the same feed for the same name.
    Exception,
    /// It stands first.
    First,
}

/// How a rule fits a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// It is met.
    Met,
    /// The listed name is on the way, but the rule's scope leaves out what was told.
    OutOfScope,
    /// It is met, and does not apply to this client.
    OtherAudience,
}

/// Sees every rule that a decision considers.
pub trait Observer<'p> {
    /// A listed name on the way to one that was told, or a listed network, has this rule.
    fn considers(&mut self, ruling: Ruling<'p>, fit: Fit);
}

/// Watches nothing: the query path.
pub struct Unobserved;

impl<'p> Observer<'p> for Unobserved {
    fn considers(&mut self, _: Ruling<'p>, _: Fit) {}
}

/// A decision in the making: told what a query is and what its answer has, in any order.
pub struct Reckoning<'p, 'a, D, O> {
    layers: Layers<'p, D>,
    asker: Asker<'a>,
    /// Of rules that are on anything but bare addresses.
    named: Weighing<'p>,
    /// Of bare addresses.
    bare: Weighing<'p>,
    is_guarded: bool,
    observer: &'a mut O,
}

impl<'p, 'a, D: AsRef<[u8]>, O: Observer<'p>> Reckoning<'p, 'a, D, O> {
    /// Nothing was told yet but who asks.
    pub fn new(layers: Layers<'p, D>, asker: Asker<'a>, observer: &'a mut O) -> Self {
        let (named, bare) = (Weighing::default(), Weighing::default());
        let mut reckoning = Self { layers, asker, named, bare, is_guarded: false, observer };
        if let Some(client) = asker.client {
            let fact = Fact { address: Some(client.to_canonical()), ..Fact::default() };
            reckoning.network(Trigger::ClientIp, fact);
        }
        reckoning
    }

    /// The qname, or what the chain of aliases comes to at this stage.
    pub fn name(&mut self, stage: u8, key: &Key) {
        let Self { layers, asker, named, observer, .. } = self;
        let fact = Fact { stage, ..Fact::default() };
        let mut scale = Scale { audience: asker.audience, observer: *observer };
        if let Some(own) = layers.own {
            own.walk(key, |listed| named.meet_name(Layer::Own, own, listed, fact, &mut scale));
        }
        let feeds = layers.feeds;
        feeds.walk(key, |listed| named.meet_name(Layer::Feeds, feeds, listed, fact, &mut scale));
        let has_guarded = layers.feeds.has_guarded() || layers.own.is_some_and(Index::has_guarded);
        self.is_guarded |= has_guarded && layers.guard.find(key).is_some();
    }

    /// An address in the answer, at the end of the chain.
    pub fn address(&mut self, stage: u8, address: IpAddr) {
        let fact = Fact { stage, address: Some(address.to_canonical()), ..Fact::default() };
        self.network(Trigger::Ip, fact);
    }

    /// The name of a name server of this stage's name, and its number by which the decision will tell it.
    pub fn server(&mut self, stage: u8, number: u16, key: &Key) {
        let Self { layers, asker, named, observer, .. } = self;
        let fact = Fact { stage, server: number, address: None };
        let mut scale = Scale { audience: asker.audience, observer: *observer };
        let feeds = layers.feeds;
        feeds.walk_servers(key, |listed| named.meet_name(Layer::Feeds, feeds, listed, fact, &mut scale));
    }

    /// An address of that name server.
    pub fn server_address(&mut self, stage: u8, number: u16, address: IpAddr) {
        let fact = Fact { stage, server: number, address: Some(address.to_canonical()) };
        self.network(Trigger::Nsip, fact);
    }

    fn network(&mut self, trigger: Trigger, fact: Fact) {
        if let Some(own) = self.layers.own {
            self.network_in(Layer::Own, own, trigger, fact);
        }
        self.network_in(Layer::Feeds, self.layers.feeds, trigger, fact);
    }

    fn network_in<E: AsRef<[u8]>>(
        &mut self,
        layer: Layer,
        index: &'p Index<E>,
        trigger: Trigger,
        fact: Fact,
    ) {
        let Self { asker, named, bare, observer, .. } = self;
        let Some(address) = fact.address else { return };
        let mut scale = Scale { audience: asker.audience, observer: *observer };
        index.walk_networks(trigger, address, |len, rules| {
            for rule in rules {
                let Some(ruling) = ruling(layer, index, rule, len, fact) else { continue };
                let weighing = if rule.trigger == Trigger::Address { &mut *bare } else { &mut *named };
                weighing.meet(ruling, true, &mut scale);
            }
        });
    }

    /// What came of all that was told.
    pub fn decision(&self) -> Decision<'p> {
        let acting = |of: &Weighing<'p>| if self.is_guarded { of.firm } else { of.enforced };
        let on_trial = first_of(self.named.on_trial, self.bare.on_trial);
        let is_held_back = |mode| mode == Mode::Shadow || mode == Mode::Guarded && self.is_guarded;
        Decision {
            ruling: first_of(acting(&self.named), acting(&self.bare)),
            shadow: told(on_trial, is_held_back),
        }
    }
}

/// The better one of a ruling on anything but a bare address, and of one on such.
fn first_of<'p>(named: Option<Ruling<'p>>, bare: Option<Ruling<'p>>) -> Option<Ruling<'p>> {
    match (named, bare) {
        (Some(named), Some(bare)) => Some(if bare.gives_way_to(&named) { named } else { bare }),
        (named, bare) => named.or(bare),
    }
}

/// What would have won, where it is held back and worth a note: an exception would have changed nothing.
fn told<'p>(on_trial: Option<Ruling<'p>>, is_held_back: impl Fn(Mode) -> bool) -> Option<Ruling<'p>> {
    on_trial.filter(|ruling| is_held_back(ruling.rule.mode) && ruling.rule.action != Action::Passthru)
}

/// Decides what happens to a query for the name behind `key` by the rules of feeds, whoever asks, as far as
/// that is known before it is resolved.
pub fn decide<'p, D: AsRef<[u8]>>(
    index: &'p Index<D>,
    key: &Key,
    observer: &mut impl Observer<'p>,
) -> Decision<'p> {
    let mut reckoning = Reckoning::new(Layers::of_feeds(index), Asker::ANYBODY, observer);
    reckoning.name(0, key);
    reckoning.decision()
}

/// Decides for several names at once and for those who ask for them, unobserved, as far as that is known
/// before they are resolved; where there is no key, nothing is decided.
pub fn decide_many<'p, D: AsRef<[u8]>, const N: usize>(
    layers: Layers<'p, D>,
    keys: &[Option<Key>; N],
    askers: &[Asker<'_>; N],
) -> [Decision<'p>; N] {
    let mut weighings = [Weighing::default(); N];
    let fact = Fact::default();
    let mut unobserved = Unobserved;
    if let Some(own) = layers.own {
        own.walk_many(keys, |number, listed| {
            let mut scale = Scale { audience: askers[number].audience, observer: &mut unobserved };
            weighings[number].meet_name(Layer::Own, own, listed, fact, &mut scale);
        });
    }
    layers.feeds.walk_many(keys, |number, listed| {
        let mut scale = Scale { audience: askers[number].audience, observer: &mut unobserved };
        weighings[number].meet_name(Layer::Feeds, layers.feeds, listed, fact, &mut scale);
    });
    if layers.feeds.has(Trigger::ClientIp) {
        for ((weighing, key), asker) in weighings.iter_mut().zip(keys).zip(askers) {
            if key.is_some() && asker.client.is_some() {
                // Nothing was told to it but the client.
                weighing.join(&Reckoning::new(layers, *asker, &mut unobserved).named);
            }
        }
    }
    weighings.map(|Weighing { enforced, on_trial, .. }| Decision {
        ruling: enforced,
        shadow: told(on_trial, |mode| mode == Mode::Shadow),
    })
}

/// Whether a ruling that needs no answer must wait for one: its feed says so, or an earlier one that applies
/// to the audience may have a say once the answer is there.
pub fn must_wait<D: AsRef<[u8]>>(feeds: &Index<D>, audience: &Audience, ruling: &Ruling<'_>) -> bool {
    let first = || feeds.on_response().iter().find(|feed| audience.feeds.has(**feed));
    ruling.feed.timing == Timing::AfterResolving
        || ruling.layer == Layer::Feeds && first().is_some_and(|first| *first < ruling.rule.feed)
}

/// Whether the name servers of the names in question could change a decision that was made without them: not
/// where the qname itself met a rule of the same feed or an earlier one.
pub fn needs_servers<D: AsRef<[u8]>>(feeds: &Index<D>, audience: &Audience, decision: &Decision<'_>) -> bool {
    let Some(first) = feeds.on_servers().iter().find(|feed| audience.feeds.has(**feed)) else { return false };
    decision.ruling.is_none_or(|ruling| match (ruling.layer, ruling.rule.trigger) {
        // Nothing that feeds say comes before an address that an analyst gave.
        (Layer::Own, Trigger::Address) => false,
        (Layer::Feeds, Trigger::Address) => ruling.stage > 0 || *first <= ruling.rule.feed,
        (Layer::Own, _) => ruling.stage > 0,
        (Layer::Feeds, _) => ruling.stage > 0 || *first < ruling.rule.feed,
    })
}

/// What meets a rule.
#[derive(Debug, Clone, Copy, Default)]
struct Fact {
    stage: u8,
    server: u16,
    address: Option<IpAddr>,
}

/// For whom rules are weighed, and who watches.
struct Scale<'a, O> {
    audience: &'a Audience,
    observer: &'a mut O,
}

/// The rules that a query has met so far.
#[derive(Debug, Clone, Copy, Default)]
struct Weighing<'p> {
    /// Guarded rules count here as enforced …
    enforced: Option<Ruling<'p>>,
    /// … and here they do not.
    firm: Option<Ruling<'p>>,
    /// What would have won, were the feeds in shadow enforced.
    on_trial: Option<Ruling<'p>>,
}

fn ruling<'p, D: AsRef<[u8]>>(
    layer: Layer,
    index: &'p Index<D>,
    rule: &'p Rule,
    depth: u8,
    fact: Fact,
) -> Option<Ruling<'p>> {
    // `Index::new` checked both numbers.
    let provenance = index.provenance();
    let feed = provenance.feeds.get(usize::from(rule.feed))?;
    let family = rule.family.and_then(|family| provenance.families.get(family as usize));
    let Fact { stage, server, address } = fact;
    Some(Ruling { layer, rule, feed, family: family.map(|text| &**text), stage, depth, address, server })
}

impl<'p> Weighing<'p> {
    fn meet_name<D: AsRef<[u8]>>(
        &mut self,
        layer: Layer,
        index: &'p Index<D>,
        listed: Listed<'p>,
        fact: Fact,
        scale: &mut Scale<'_, impl Observer<'p>>,
    ) {
        for rule in listed.rules {
            // A name has at most 127 labels.
            if let Some(ruling) = ruling(layer, index, rule, listed.labels as u8, fact) {
                self.meet(ruling, rule.scope.covers(listed.is_qname), scale);
            }
        }
    }

    fn meet(&mut self, ruling: Ruling<'p>, covers: bool, scale: &mut Scale<'_, impl Observer<'p>>) {
        let fit = if !covers {
            Fit::OutOfScope
        } else if scale.audience.has(ruling.layer, ruling.rule.feed) {
            Fit::Met
        } else {
            Fit::OtherAudience
        };
        scale.observer.considers(ruling, fit);
        if fit == Fit::Met {
            self.add(ruling);
        }
    }

    fn add(&mut self, ruling: Ruling<'p>) {
        if ruling.rule.mode != Mode::Shadow && self.enforced.is_none_or(|best| ruling.outranks(&best)) {
            self.enforced = Some(ruling);
        }
        if ruling.rule.mode == Mode::Enforced && self.firm.is_none_or(|best| ruling.outranks(&best)) {
            self.firm = Some(ruling);
        }
        if self.on_trial.is_none_or(|best| ruling.outranks(&best)) {
            self.on_trial = Some(ruling);
        }
    }

    fn join(&mut self, other: &Self) {
        for ruling in [other.enforced, other.firm, other.on_trial].into_iter().flatten() {
            self.add(ruling);
        }
    }
}

#[cfg(test)]
mod tests;
