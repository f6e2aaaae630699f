//! What is published: the rules of all feeds with analysts' own before them, as far as they apply to those that it is for.
//!
//! Both are walked as one, in the order of keys. Which rule counts is `select`'s.

use std::ops::ControlFlow;
use std::sync::Arc;

use ipnet::IpNet;
use sha2::{Digest as _, Sha256};

use super::select::Feeds;
use crate::image::{Automaton, Digest, Image};
use crate::policy::guard::Guard;
use crate::policy::index::Index;
use crate::policy::layers::{Audience, Layer, Layers, Members, Own};
use crate::policy::rule::Feed;
use crate::policy::trigger::Trigger;

/// All that something published is made of. Cheap to copy: its parts are shared.
#[derive(Clone)]
pub struct Content {
    image: Arc<Image>,
    own: Option<Arc<Own>>,
    /// The id of the agency that it is for; `None`: it is for everybody.
    agency: Option<Arc<str>>,
    /// The names of feeds that do not apply to those that it is for.
    withheld: Vec<Arc<str>>,
}

impl Content {
    /// All rules of these that apply to an agency or, without one, to everybody: of analysts' rules those for the agency
    /// and those for all, of the feeds those that are not withheld.
    pub fn new(
        image: Arc<Image>,
        own: Option<Arc<Own>>,
        agency: Option<Arc<str>>,
        withheld: Vec<Arc<str>>,
    ) -> Self {
        Self { image, own, agency, withheld }
    }

    /// The image.
    pub fn image(&self) -> &Arc<Image> {
        &self.image
    }

    /// The same of another image.
    pub(super) fn with(&self, image: Arc<Image>) -> Self {
        Self { image, ..self.clone() }
    }

    /// The agency that it is for.
    pub(super) fn agency(&self) -> Option<&str> {
        self.agency.as_deref()
    }

    pub(super) fn layers(&self) -> Layers<'_, Automaton> {
        let own = self.own.as_deref().map(|own| &own.index);
        Layers { feeds: &self.image.index, own, guard: &Guard::NONE }
    }

    pub(super) fn audience(&self) -> Audience {
        let feeds = &self.image.index.provenance().feeds;
        let groups = self.own.as_deref().map_or(&[][..], |own| &own.agencies);
        Audience {
            feeds: Members::new(feeds.len(), |feed| !self.withheld.contains(&feeds[feed].name)),
            own: Members::new(groups.len(), |group| groups[group].is_none() || groups[group] == self.agency),
        }
    }

    /// When it was last changed, in microseconds since 1970.
    pub(super) fn changed_at(&self) -> i64 {
        self.own.as_ref().map_or(i64::MIN, |own| own.changed_at).max(self.image.facts.built_at)
    }

    /// What tells it from others made of the same image.
    pub(super) fn digest(&self) -> Digest {
        let own = self.own.as_ref().map(|own| own.digest);
        Sha256::digest(format!("{own:?} {:?} {:?}", self.agency, self.withheld)).into()
    }

    /// The names of what it is made of: of feeds, and what logs call analysts' rules.
    pub(super) fn sources(&self, feeds: Feeds<'_>) -> Vec<&str> {
        let audience = self.audience();
        let named = |layer: Layer, all: &'_ [Feed]| -> Vec<usize> {
            // There are no more feeds than their numbers.
            let is_in =
                |(number, feed): &(usize, &Feed)| feeds.has(feed) && audience.has(layer, *number as u16);
            all.iter().enumerate().filter(is_in).map(|(number, _)| number).collect()
        };
        let own = self.own.as_deref().map_or(&[][..], |own| &own.index.provenance().feeds);
        // All groups of analysts' rules have one name.
        let analysts = named(Layer::Own, own).first().map(|group| &*own[*group].name);
        let all = &self.image.index.provenance().feeds;
        analysts
            .into_iter()
            .chain(named(Layer::Feeds, all).into_iter().map(|feed| &*all[feed].name))
            .collect()
    }

    /// Whether a feed, or what logs call analysts' rules, is among its sources.
    pub fn knows(&self, name: &str) -> bool {
        let own = self.own.iter().flat_map(|own| &own.index.provenance().feeds);
        self.image.index.provenance().feeds.iter().chain(own).any(|feed| *feed.name == *name)
    }

    /// What these feeds list that is not in it, since it does not apply to those that it is for.
    pub(super) fn left_out(&self, feeds: Feeds<'_>) -> LeftOut {
        let audience = self.audience();
        let all = self.image.index.provenance().feeds.iter().enumerate();
        let withheld = all.filter(|(number, feed)| {
            // There are no more feeds than their numbers.
            feeds.has(feed) && !audience.has(Layer::Feeds, *number as u16)
        });
        let withheld = withheld.map(|(_, feed)| Arc::clone(&feed.name)).collect();
        let mut own = 0;
        if let Some(rules) = self.own.as_deref() {
            rules.index.for_each(|_, rules| {
                own += rules.iter().filter(|rule| !audience.has(Layer::Own, rule.feed)).count() as u64;
            });
        }
        LeftOut { feeds: withheld, own }
    }
}

/// What applies to others only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Feeds, by their names.
    pub feeds: Vec<Arc<str>>,
    /// How many of the analysts' rules.
    pub own: u64,
}

/// For people; nothing where there is nothing.
impl std::fmt::Display for LeftOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { feeds, own } = self;
        if !feeds.is_empty() {
            write!(f, "feeds {}", feeds.join(", "))?;
        }
        if *own > 0 {
            let before = if feeds.is_empty() { "" } else { " and " };
            write!(f, "{before}{own} of the analysts' rules")?;
        }
        Ok(())
    }
}

impl LeftOut {
    /// Whether everything is in it.
    pub fn is_empty(&self) -> bool {
        self.feeds.is_empty() && self.own == 0
    }
}

/// The numbers of a key's rule sets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sets {
    pub(super) own: Option<usize>,
    pub(super) feeds: Option<usize>,
}

/// Calls `visit` with every key behind `after`, in the order of keys, until it breaks off.
pub(super) fn scan<D: AsRef<[u8]>>(
    layers: Layers<'_, D>,
    after: &[u8],
    mut visit: impl FnMut(&[u8], Sets) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mut own = layers.own.map(|own| own.keys(after));
    layers.feeds.scan(after, |key, number| {
        let mut sets = Sets { own: None, feeds: Some(number) };
        if let Some(own) = &mut own {
            while let Some((before, number)) = own.front().filter(|(before, _)| *before < key) {
                visit(before, Sets { own: Some(number), feeds: None })?;
                own.advance();
            }
            sets.own = own.front().filter(|(same, _)| *same == key).map(|(_, number)| number);
            if sets.own.is_some() {
                own.advance();
            }
        }
        visit(key, sets)
    })?;
    while let Some(own) = &mut own
        && let Some((key, number)) = own.front()
    {
        visit(key, Sets { own: Some(number), feeds: None })?;
        own.advance();
    }
    ControlFlow::Continue(())
}

/// Calls `visit` with every network of this trigger and family in the order of addresses, each before the networks in
/// it, until it breaks off.
pub(super) fn scan_networks<D: AsRef<[u8]>>(
    layers: Layers<'_, D>,
    trigger: Trigger,
    is_v6: bool,
    mut visit: impl FnMut(IpNet, Sets) -> ControlFlow<()>,
) -> ControlFlow<()> {
    // There are few.
    let own = layers.own.map(|own| networks(own, trigger, is_v6)).unwrap_or_default();
    let mut own = own.into_iter().peekable();
    layers.feeds.scan_networks(trigger, is_v6, |net, number| {
        while let Some((before, number)) = own.next_if(|(before, _)| *before < net) {
            visit(before, Sets { own: Some(number), feeds: None })?;
        }
        let same = own.next_if(|(same, _)| *same == net).map(|(_, number)| number);
        visit(net, Sets { own: same, feeds: Some(number) })
    })?;
    own.try_for_each(|(net, number)| visit(net, Sets { own: Some(number), feeds: None }))
}

fn networks<D: AsRef<[u8]>>(index: &Index<D>, trigger: Trigger, is_v6: bool) -> Vec<(IpNet, usize)> {
    let mut networks = Vec::new();
    let _ = index.scan_networks(trigger, is_v6, |net, number| {
        networks.push((net, number));
        ControlFlow::Continue(())
    });
    networks
}

/// Calls `visit` with the networks that an address is in: those of feeds, then analysts' own, of each the widest first.
pub(super) fn walk_networks<D: AsRef<[u8]>>(
    layers: Layers<'_, D>,
    trigger: Trigger,
    net: IpNet,
    mut visit: impl FnMut(Sets),
) {
    let is_around = |len: u8| len <= net.prefix_len();
    layers.feeds.walk_network_sets(trigger, net.addr(), |len, number| {
        if is_around(len) {
            visit(Sets { own: None, feeds: Some(number) });
        }
    });
    if let Some(own) = layers.own {
        own.walk_network_sets(trigger, net.addr(), |len, number| {
            if is_around(len) {
                visit(Sets { own: Some(number), feeds: None });
            }
        });
    }
}
