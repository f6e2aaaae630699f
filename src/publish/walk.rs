//! Through all that is published, in the order of keys: for each name what counts there and below it, where that
//! differs from what counts above.
//!
//! What a name above says already is left out, as a list needs it no second time. In DNS leaving it out is more than
//! saving: a name that exists ends the reach of the wildcard above it (RFC 4592, section 3.3.1). So where something
//! must be said below a wildcard, all names between both are said too, with what the wildcard says.

use std::ops::ControlFlow;

use ipnet::IpNet;

use super::content::{self, Sets};
use super::select::{Pick, Selection};
use crate::name::SEPARATOR;
use crate::policy::layers::Layers;
use crate::policy::trigger::{Subject, Trigger};

/// Something that is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node<'k> {
    Name(NameNode<'k>),
    Network { trigger: Trigger, net: IpNet, pick: Pick },
}

/// A name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NameNode<'k> {
    pub(super) trigger: Trigger,
    /// As `crate::name::Key` has it.
    pub(super) key: &'k [u8],
    pub(super) here: Option<Pick>,
    pub(super) below: Option<Pick>,
    /// What counts there without it.
    pub(super) above: Option<Pick>,
    /// It only stands between a name and a wildcard above it.
    pub(super) is_filling: bool,
}

/// A place in the walk; it may be left and taken up again, with the same content and selection.
#[derive(Debug, Clone, Default)]
pub(super) struct Walk {
    /// The last key.
    path: Vec<u8>,
    /// Names on the way to it, the shortest first.
    levels: Vec<Level>,
    is_over: bool,
}

#[derive(Debug, Clone, Copy)]
struct Level {
    /// Octets of the name's key.
    len: usize,
    below: Option<Pick>,
    /// Whether it was published.
    is_there: bool,
}

/// No key of a network or a name server is greater, and no qname's smaller.
const BEFORE_NAMES: &[u8] = &[0x00, 0xff];

impl Walk {
    /// From the beginning: networks and name servers, then names.
    pub(super) fn all() -> Self {
        Self::default()
    }

    /// Only names.
    pub(super) fn names() -> Self {
        Self { path: BEFORE_NAMES.to_vec(), ..Self::default() }
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Goes on until `visit`, which is told each node's key in the index, breaks off, or everything was visited.
    /// What is filled in comes together with the node that needs it: after a break some may follow.
    pub(super) fn run<D: AsRef<[u8]>>(
        &mut self,
        layers: Layers<'_, D>,
        selection: &Selection,
        mut visit: impl FnMut(&[u8], Node<'_>) -> ControlFlow<()>,
    ) {
        if self.is_over {
            return;
        }
        let after = self.path.clone();
        let flow =
            content::scan(layers, &after, |key, sets| self.step(layers, selection, key, sets, &mut visit));
        self.is_over = flow.is_continue();
    }

    fn step<D: AsRef<[u8]>>(
        &mut self,
        layers: Layers<'_, D>,
        selection: &Selection,
        key: &[u8],
        sets: Sets,
        visit: &mut impl FnMut(&[u8], Node<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        // Few octets change from key to key.
        let shared = self.path.iter().zip(key).take_while(|(one, other)| one == other).count();
        self.path.truncate(shared);
        self.path.extend_from_slice(&key[shared..]);
        while self.levels.last().is_some_and(|level| level.len > shared) {
            self.levels.pop();
        }
        let own = selection.choice(sets);
        match Subject::of(key) {
            Some(Subject::Network(trigger, net)) => {
                let mut pick = None;
                // It is among them itself.
                content::walk_networks(layers, trigger, net, |sets| {
                    pick = Pick::over(selection.choice(sets).here, pick);
                });
                match pick {
                    Some(pick) if own.here.is_some() => visit(key, Node::Network { trigger, net, pick }),
                    _ => ControlFlow::Continue(()),
                }
            }
            // No feed may list the root.
            None | Some(Subject::Name(_, [])) => ControlFlow::Continue(()),
            Some(Subject::Name(trigger, name)) => {
                let start = key.len() - name.len();
                self.name(trigger, start, own.here, own.below, visit)
            }
        }
    }

    /// Visits the name at the end of the path, whose key begins at `start`, where it has something to say.
    fn name(
        &mut self,
        trigger: Trigger,
        start: usize,
        here: Option<Pick>,
        below: Option<Pick>,
        visit: &mut impl FnMut(&[u8], Node<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        // The levels of names begin where keys of their trigger do; those of another trigger were left.
        let above = self.levels.last().and_then(|level| level.below);
        let (here, below) = (Pick::over(here, above), Pick::over(below, above));
        let action = |pick: Option<Pick>| pick.map(|pick| pick.action);
        let is_told = [here, below].iter().any(|pick| action(*pick) != action(above));
        let mut flow = ControlFlow::Continue(());
        if is_told {
            if above.is_some() {
                flow = self.fill(trigger, start, visit);
            }
            let key = &self.path[start..];
            let node = Node::Name(NameNode { trigger, key, here, below, above, is_filling: false });
            if visit(&self.path, node).is_break() {
                flow = ControlFlow::Break(());
            }
        }
        self.levels.push(Level { len: self.path.len(), below, is_there: is_told });
        flow
    }

    /// Visits the names between that at the end of the path and the nearest one above that was published.
    fn fill(
        &mut self,
        trigger: Trigger,
        start: usize,
        visit: &mut impl FnMut(&[u8], Node<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut flow = ControlFlow::Continue(());
        // There is one: something counts from above.
        let there = self.levels.iter().rposition(|level| level.is_there).map_or(0, |at| at + 1);
        let from = there.checked_sub(1).map_or(start, |at| self.levels[at].len);
        let mut between = self.levels.split_off(there).into_iter().peekable();
        let ends = (from..self.path.len().saturating_sub(1)).filter(|at| self.path[*at] == SEPARATOR);
        let ends: Vec<usize> = ends.map(|at| at + 1).collect();
        for len in ends {
            let mut below = self.levels.last().and_then(|level| level.below);
            if let Some(level) = between.next_if(|level| level.len == len) {
                below = level.below;
            }
            let key = &self.path[start..len];
            let node =
                Node::Name(NameNode { trigger, key, here: below, below, above: below, is_filling: true });
            if visit(&self.path[..len], node).is_break() {
                flow = ControlFlow::Break(());
            }
            self.levels.push(Level { len, below, is_there: true });
        }
        flow
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::name::{Key, Name, from_key};
    use crate::policy::action::Action;
    use crate::policy::compile::{Compiler, Listing};
    use crate::policy::decide::{Reckoning, Unobserved};
    use crate::policy::layers::{Asker, Audience};
    use crate::policy::rule::{Feed, FeedKind, Mode};
    use crate::policy::trigger::Scope;
    use crate::publish::select::{Bare, Feeds};

    /// What a zone says, as a server of it finds it (RFC 4592).
    #[derive(Default)]
    struct ZoneModel {
        here: BTreeMap<Name, u32>,
        below: BTreeMap<Name, u32>,
        existing: BTreeSet<Name>,
    }

    impl ZoneModel {
        fn add(&mut self, name: &Name, here: Option<u32>, below: Option<u32>) {
            self.here.extend(here.map(|action| (name.clone(), action)));
            self.below.extend(below.map(|action| (name.clone(), action)));
            let mut name = Some(name.clone());
            while let Some(one) = name {
                name = one.parent();
                self.existing.insert(one);
            }
        }

        fn find(&self, qname: &Name) -> Option<u32> {
            if self.existing.contains(qname) {
                return self.here.get(qname).copied();
            }
            let mut encloser = qname.parent()?;
            while !self.existing.contains(&encloser) {
                encloser = encloser.parent()?;
            }
            self.below.get(&encloser).copied()
        }
    }

    fn name() -> impl Strategy<Value = Name> {
        prop::collection::vec("[ab]", 1..6).prop_map(|labels| Name::from_host(&labels.join(".")).unwrap())
    }

    const ACTIONS: [Action; 3] = [Action::Sinkhole, Action::Nxdomain, Action::Passthru];
    const SCOPES: [Scope; 3] = [Scope::Exact, Scope::Subtree, Scope::Below];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]
        #[test]
        fn a_zone_says_what_the_policy_says(
            rules in prop::collection::vec((name(), 0u16..4, 0usize..3, 0usize..3), 0..12),
            qnames in prop::collection::vec(name(), 1..40),
            stride in 1usize..4,
        ) {
            let feeds = ["a", "b", "c"].map(|name| Feed::new(name.into(), FeedKind::Threat));
            let mut compiler = Compiler::new(feeds.to_vec());
            let mut own = Compiler::new(feeds[..1].to_vec());
            for (name, feed, scope, action) in &rules {
                let (scope, action, mode) = (SCOPES[*scope], ACTIONS[*action].clone(), Mode::Enforced);
                let is_own = *feed == 3;
                let feed = if is_own { 0 } else { *feed };
                let listing = Listing { feed, scope, action, mode, family: None, severity: None };
                if is_own { &mut own } else { &mut compiler }.add(name, listing).unwrap();
            }
            let index = compiler.finish().unwrap().into_index().unwrap();
            let own = own.finish().unwrap().into_index().unwrap();
            let layers = Layers { own: Some(&own), ..Layers::of_feeds(&index) };
            let selection = Selection::new(layers, &Audience::EVERYBODY, Feeds::Threats, Bare::Taken);
            let mut zone = ZoneModel::default();
            // It may be left at any place.
            let mut walk = Walk::names();
            while !walk.is_over() {
                let mut left = stride;
                walk.run(layers, &selection, |_, node| {
                    if let Node::Name(NameNode { key, here, below, .. }) = node {
                        let action = |pick: Option<Pick>| pick.map(|pick| pick.action);
                        zone.add(&from_key(key).unwrap(), action(here), action(below));
                    }
                    left = left.saturating_sub(1);
                    if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                });
            }
            for qname in &qnames {
                let mut unobserved = Unobserved;
                let mut reckoning = Reckoning::new(layers, Asker::ANYBODY, &mut unobserved);
                reckoning.name(0, &Key::from(qname));
                let decided = reckoning.decision().ruling.map(|ruling| ruling.rule.action.clone());
                let said = zone.find(qname).map(|number| selection.deeds[number as usize].action.clone());
                prop_assert_eq!(said, decided, "{}", qname);
            }
        }
    }
}
