//! Which rules are published: of each rule set, the one that counts at the listed name and the one that counts
//! below it.
//!
//! Precedence is `policy::decide`'s; this is what is left of it once feeds of the same name, and names above, are
//! all that is compared: the earlier feed, then the nearer name (which is why `Pick::over` needs no more).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::content::Sets;
use crate::policy::action::Action;
use crate::policy::layers::{Audience, Layer, Layers};
use crate::policy::rule::{Feed, FeedIndex, FeedKind, Mode, Provenance, Rule};
use crate::policy::trigger::Trigger;

/// A rule that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pick {
    /// The lower one wins: analysts' before those of feeds.
    rank: (Layer, FeedIndex),
    /// Its number in [`Selection::deeds`].
    pub(super) action: u32,
    /// Its number in [`Selection::families`].
    family: Option<u32>,
}

impl Pick {
    /// Which of a name's own rule and one from above counts.
    pub(super) fn over(own: Option<Self>, above: Option<Self>) -> Option<Self> {
        match (own, above) {
            (Some(own), Some(above)) if above.rank < own.rank => Some(above),
            (own, above) => own.or(above),
        }
    }
}

/// What counts of one rule set.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Choice {
    /// At the listed name, or in the listed network.
    pub(super) here: Option<Pick>,
    /// Below the name.
    pub(super) below: Option<Pick>,
}

/// What counts of every rule set.
pub(super) struct Selection {
    own: Vec<Choice>,
    feeds: Vec<Choice>,
    /// Malware families: of the image, then of analysts' rules.
    families: Vec<Arc<str>>,
    /// What rules do, each once.
    pub(super) deeds: Vec<Deed>,
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Deed {
    pub(super) action: Action,
    /// Where its feed's sinkholed names lead, if not where all lead.
    pub(super) sinkhole: Option<Box<[IpAddr]>>,
}

/// What becomes of bare addresses, which are blocked but where the query is for a guarded name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bare {
    /// They are taken: who blocks connections sees no names.
    Taken,
    /// They are left out: who has no guard would take away what ours does not.
    LeftOut,
}

/// Which feeds are published.
#[derive(Debug, Clone, Copy)]
pub enum Feeds<'a> {
    /// All that list something malicious.
    Threats,
    /// All, canaries too.
    All,
    /// Those with these names.
    Named(&'a [String]),
}

impl Feeds<'_> {
    /// Whether a feed is among them.
    pub fn has(&self, feed: &Feed) -> bool {
        match self {
            Self::Threats => feed.kind == FeedKind::Threat,
            Self::All => true,
            Self::Named(names) => names.iter().any(|name| **name == *feed.name),
        }
    }
}

impl Selection {
    /// Chooses among the rules of these feeds that act and apply. Analysts' exceptions count whatever feeds are chosen.
    pub(super) fn new<D: AsRef<[u8]>>(
        layers: Layers<'_, D>,
        audience: &Audience,
        feeds: Feeds<'_>,
        bare: Bare,
    ) -> Self {
        let mut table = Table::default();
        let mut families = layers.feeds.provenance().families.clone();
        let mut choose = |layer: Layer, rule_sets: &'_ [Vec<Rule>], provenance: &Provenance, first: usize| {
            let is_chosen: Vec<bool> = provenance.feeds.iter().map(|feed| feeds.has(feed)).collect();
            let counts = |rule: &Rule| {
                let acts = match rule.mode {
                    Mode::Enforced => true,
                    // A zone's own rules stand as it had them.
                    Mode::Guarded => bare == Bare::Taken || rule.trigger != Trigger::Address,
                    Mode::Shadow => false,
                };
                let is_exception = layer == Layer::Own && rule.action == Action::Passthru;
                let is_wanted = is_exception || is_chosen[usize::from(rule.feed)];
                acts && is_wanted && audience.has(layer, rule.feed)
            };
            let mut pick = |rules: &[Rule], is_listed_name| {
                // They stand in the order in which they win.
                let rule = rules.iter().find(|rule| counts(rule) && rule.scope.covers(is_listed_name))?;
                let sinkhole = provenance.feeds[usize::from(rule.feed)].sinkhole.as_deref();
                let action = table.number(&rule.action, sinkhole);
                let family = rule.family.map(|family| family + first as u32);
                Some(Pick { rank: (layer, rule.feed), action, family })
            };
            let choices =
                rule_sets.iter().map(|rules| Choice { here: pick(rules, true), below: pick(rules, false) });
            choices.collect::<Vec<_>>()
        };
        // What analysts say comes first, in tables too.
        let own = layers.own.map(|own| choose(Layer::Own, own.rule_sets(), own.provenance(), families.len()));
        let chosen = choose(Layer::Feeds, layers.feeds.rule_sets(), layers.feeds.provenance(), 0);
        families.extend(layers.own.iter().flat_map(|own| own.provenance().families.iter().cloned()));
        Self { own: own.unwrap_or_default(), feeds: chosen, families, deeds: table.deeds }
    }

    pub(super) fn choice(&self, sets: Sets) -> Choice {
        let find = |choices: &[Choice], set: Option<usize>| {
            set.and_then(|set| choices.get(set)).copied().unwrap_or_default()
        };
        let (own, feeds) = (find(&self.own, sets.own), find(&self.feeds, sets.feeds));
        Choice { here: own.here.or(feeds.here), below: own.below.or(feeds.below) }
    }

    /// Whether a rule keeps people from what is listed.
    pub(super) fn is_block(&self, pick: Pick) -> bool {
        !matches!(self.deeds[pick.action as usize].action, Action::Passthru | Action::TcpOnly)
    }

    /// The malware family that a rule names.
    pub(super) fn family(&self, pick: Pick) -> Option<&str> {
        self.families.get(pick.family? as usize).map(|family| &**family)
    }
}

/// What rules do, each once.
#[derive(Default)]
struct Table {
    deeds: Vec<Deed>,
    numbers: HashMap<Deed, u32>,
}

impl Table {
    fn number(&mut self, action: &Action, sinkhole: Option<&[IpAddr]>) -> u32 {
        let sinkhole = sinkhole.filter(|_| *action == Action::Sinkhole).map(Into::into);
        let deed = Deed { action: action.clone(), sinkhole };
        *self.numbers.entry(deed).or_insert_with_key(|deed| {
            self.deeds.push(deed.clone());
            self.deeds.len() as u32 - 1
        })
    }
}
