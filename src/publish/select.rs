//! Which rules are published: of each rule set, the one that counts at the listed name and the one that counts
//! below it.
//!
//! Precedence is `policy::decide`'s; this is what is left of it once feeds of the same name, and names above, are
//! all that is compared: the earlier feed, then the nearer name (which is why `Pick::over` needs no more).

use std::collections::HashMap;

use crate::policy::action::Action;
use crate::policy::index::Index;
use crate::policy::rule::{Feed, FeedIndex, FeedKind, Mode, Rule};

/// A rule that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pick {
    /// The lower one wins.
    feed: FeedIndex,
    /// Its number in [`Selection::actions`].
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
    /// Different actions, each once.
    pub(super) actions: Vec<Action>,
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
    /// Chooses among the enforced rules of these feeds.
    pub(super) fn new<D: AsRef<[u8]>>(index: &Index<D>, feeds: Feeds<'_>) -> Self {
        let provenance = index.provenance();
        let is_chosen: Vec<bool> = provenance.feeds.iter().map(|feed| feeds.has(feed)).collect();
        let counts = |rule: &Rule| rule.mode == Mode::Enforced && is_chosen[usize::from(rule.feed)];
        let mut actions = Vec::new();
        let mut numbers: HashMap<&Action, u32> = HashMap::new();
        let pick = |rule: &Rule, action| Pick { feed: rule.feed, action, family: rule.family };
        let mut choices = Vec::with_capacity(index.rule_sets().len());
        for rules in index.rule_sets() {
            let mut choose = |is_listed_name| {
                // They stand in the order in which they win.
                let rule = rules.iter().find(|rule| counts(rule) && rule.scope.covers(is_listed_name))?;
                let number = *numbers.entry(&rule.action).or_insert_with(|| {
                    actions.push(rule.action.clone());
                    actions.len() as u32 - 1
                });
                Some(pick(rule, number))
            };
            choices.push(Choice { here: choose(true), below: choose(false) });
        }
        Self { choices, actions }
    }

    pub(super) fn choice(&self, rule_set: usize) -> Choice {
        self.choices.get(rule_set).copied().unwrap_or_default()
    }

    /// What a rule does.
    pub(super) fn action(&self, pick: Pick) -> &Action {
        &self.actions[pick.action as usize]
    }

    /// Whether a rule keeps people from what is listed.
    pub(super) fn is_block(&self, pick: Pick) -> bool {
        !matches!(self.action(pick), Action::Passthru | Action::TcpOnly)
    }
}
