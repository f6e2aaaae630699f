//! Which rules are published: of each rule set, the one that counts at the listed name and the one that counts
//! below it.
//!
//! Precedence is `policy::decide`'s; this is what is left of it once feeds of the same name, and names above, are
//! all that is compared: the earlier feed, then the nearer name (which is why `Pick::over` needs no more).

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::ControlFlow;

use ipnet::IpNet;

use crate::policy::action::Action;
use crate::policy::index::Index;
use crate::policy::layers::Own;
use crate::policy::rule::{Feed, FeedIndex, FeedKind, Mode, Rule};
use crate::policy::trigger::Trigger;

/// A rule that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pick {
    /// The lower one wins.
    feed: FeedIndex,
    /// Its number in [`Selection::deeds`].
    pub(super) action: u32,
    /// Its number in the image's families.
    pub(super) family: Option<u32>,
}

impl Pick {
    /// Which of a name's own rule and one from above counts.
    pub(super) fn over(own: Option<Self>, above: Option<Self>) -> Option<Self> {
        match (own, above) {
            (Some(own), Some(above)) if above.feed < own.feed => Some(above),
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
    choices: Vec<Choice>,
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

/// Networks that analysts have excepted for everybody: they win over every feed.
pub fn excepted(own: &Own) -> Vec<IpNet> {
    let is_for_all = |rule: &Rule| own.agencies.get(usize::from(rule.feed)).is_some_and(Option::is_none);
    let mut nets = Vec::new();
    for is_v6 in [false, true] {
        let _ = own.index.scan_networks(Trigger::Ip, is_v6, |net, rule_set| {
            let rules = own.index.rule_sets().get(rule_set).map(Vec::as_slice).unwrap_or_default();
            if rules.iter().any(|rule| is_for_all(rule) && rule.action == Action::Passthru) {
                nets.push(net);
            }
            ControlFlow::Continue(())
        });
    }
    nets
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
    /// Chooses among the rules of these feeds that act.
    pub(super) fn new<D: AsRef<[u8]>>(index: &Index<D>, feeds: Feeds<'_>, bare: Bare) -> Self {
        let provenance = index.provenance();
        let is_chosen: Vec<bool> = provenance.feeds.iter().map(|feed| feeds.has(feed)).collect();
        let counts = |rule: &Rule| {
            let acts = match rule.mode {
                Mode::Enforced => true,
                Mode::Guarded => bare == Bare::Taken,
                Mode::Shadow => false,
            };
            acts && is_chosen[usize::from(rule.feed)]
        };
        let mut deeds = Vec::new();
        let mut numbers: HashMap<(&Action, Option<&[IpAddr]>), u32> = HashMap::new();
        let mut choices = Vec::with_capacity(index.rule_sets().len());
        for rules in index.rule_sets() {
            let mut choose = |is_listed_name| {
                // They stand in the order in which they win.
                let rule = rules.iter().find(|rule| counts(rule) && rule.scope.covers(is_listed_name))?;
                let sinkhole = provenance.feeds[usize::from(rule.feed)].sinkhole.as_deref();
                let sinkhole = sinkhole.filter(|_| rule.action == Action::Sinkhole);
                let action = *numbers.entry((&rule.action, sinkhole)).or_insert_with(|| {
                    deeds.push(Deed { action: rule.action.clone(), sinkhole: sinkhole.map(Into::into) });
                    deeds.len() as u32 - 1
                });
                Some(Pick { feed: rule.feed, action, family: rule.family })
            };
            choices.push(Choice { here: choose(true), below: choose(false) });
        }
        Self { choices, deeds }
    }

    pub(super) fn choice(&self, rule_set: usize) -> Choice {
        self.choices.get(rule_set).copied().unwrap_or_default()
    }

    /// Whether a rule keeps people from what is listed.
    pub(super) fn is_block(&self, pick: Pick) -> bool {
        !matches!(self.deeds[pick.action as usize].action, Action::Passthru | Action::TcpOnly)
    }
}
