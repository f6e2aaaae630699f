//! Malicious addresses as firewalls take them: as few networks as there can be, in order, disjoint, and without
//! those that must never be blocked.
//!
//! ```text
//! 192.0.2.0/25, 192.0.2.128/25, an exception for 192.0.2.7   ─►   192.0.2.0/30, 192.0.2.4/31, 192.0.2.6/32,
//!                                                                 192.0.2.8/29, … 192.0.2.128/25
//! ```

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::ControlFlow;

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};

use super::content;
use super::select::{Pick, Selection};
use crate::policy::layers::Layers;
use crate::policy::trigger::Trigger;

/// Calls `visit` with the networks in order, IPv4 first, until it breaks off. Nothing of `never` is in them.
pub(super) fn run<D: AsRef<[u8]>>(
    layers: Layers<'_, D>,
    selection: &Selection,
    never: &[IpNet],
    mut visit: impl FnMut(IpNet) -> ControlFlow<()>,
) -> ControlFlow<()> {
    for is_v6 in [false, true] {
        let mut sweep = Sweep::new(is_v6, never, &mut visit);
        content::scan_networks(layers, Trigger::Ip, is_v6, |net, sets| {
            let Some(own) = selection.choice(sets).here else { return ControlFlow::Continue(()) };
            sweep.network(span(net), own, selection)
        })?;
        sweep.finish()?;
    }
    ControlFlow::Continue(())
}

/// The first and the last address, as numbers.
type Span = (u128, u128);

fn span(net: IpNet) -> Span {
    match net {
        IpNet::V4(net) => (net.network().to_bits().into(), net.broadcast().to_bits().into()),
        IpNet::V6(net) => (net.network().to_bits(), net.broadcast().to_bits()),
    }
}

/// Goes through nested networks from the lowest address to the highest.
struct Sweep<'v, V> {
    is_v6: bool,
    /// Networks around where it is, the widest first.
    levels: Vec<Level>,
    /// The first address that nothing was said of; `None` behind the last one of all.
    at: Option<u128>,
    /// Blocked addresses that may go on.
    open: Option<Span>,
    /// Not to be blocked, in order and disjoint.
    never: Vec<Span>,
    visit: &'v mut V,
}

struct Level {
    last: u128,
    pick: Pick,
    is_blocked: bool,
}

impl<'v, V: FnMut(IpNet) -> ControlFlow<()>> Sweep<'v, V> {
    fn new(is_v6: bool, never: &[IpNet], visit: &'v mut V) -> Self {
        let of_family = |net: &&IpNet| net.addr().is_ipv6() == is_v6;
        let mut never: Vec<Span> = never.iter().filter(of_family).map(|net| span(*net)).collect();
        never.sort_unstable();
        Self { is_v6, levels: Vec::new(), at: Some(0), open: None, never, visit }
    }

    fn network(&mut self, (first, last): Span, own: Pick, selection: &Selection) -> ControlFlow<()> {
        self.leave(first)?;
        if let Some(before) = first.checked_sub(1) {
            self.say(before)?;
        }
        let above = self.levels.last().map(|level| level.pick);
        let pick = Pick::over(Some(own), above).unwrap_or(own);
        self.levels.push(Level { last, pick, is_blocked: selection.is_block(pick) });
        ControlFlow::Continue(())
    }

    /// Leaves the networks that end before this address.
    fn leave(&mut self, first: u128) -> ControlFlow<()> {
        while self.levels.last().is_some_and(|level| level.last < first) {
            self.end()?;
        }
        ControlFlow::Continue(())
    }

    /// Leaves the innermost network.
    fn end(&mut self) -> ControlFlow<()> {
        if let Some(last) = self.levels.last().map(|level| level.last) {
            self.say(last)?;
            self.levels.pop();
        }
        ControlFlow::Continue(())
    }

    /// Says of all addresses up to this one what the innermost network says.
    fn say(&mut self, last: u128) -> ControlFlow<()> {
        let is_blocked = self.levels.last().is_some_and(|level| level.is_blocked);
        let Some(first) = self.at.filter(|first| *first <= last) else { return ControlFlow::Continue(()) };
        self.at = last.checked_add(1);
        if is_blocked { self.block(first, last) } else { ControlFlow::Continue(()) }
    }

    /// Blocks these addresses but for those that must never be.
    fn block(&mut self, mut first: u128, last: u128) -> ControlFlow<()> {
        for at in 0..self.never.len() {
            let (from, to) = self.never[at];
            if to < first || from > last {
                continue;
            }
            if from > first {
                self.add(first, from - 1)?;
            }
            match to.checked_add(1).filter(|next| *next <= last) {
                Some(next) => first = next,
                None => return ControlFlow::Continue(()),
            }
        }
        self.add(first, last)
    }

    fn add(&mut self, first: u128, last: u128) -> ControlFlow<()> {
        match &mut self.open {
            Some((_, end)) if end.checked_add(1) == Some(first) => {
                *end = last;
                ControlFlow::Continue(())
            }
            open => {
                let before = open.replace((first, last));
                before.map_or(ControlFlow::Continue(()), |span| self.tell(span))
            }
        }
    }

    fn finish(mut self) -> ControlFlow<()> {
        while !self.levels.is_empty() {
            self.end()?;
        }
        self.open.take().map_or(ControlFlow::Continue(()), |span| self.tell(span))
    }

    fn tell(&mut self, (first, last): Span) -> ControlFlow<()> {
        if self.is_v6 {
            let (first, last) = (Ipv6Addr::from_bits(first), Ipv6Addr::from_bits(last));
            return Ipv6Subnets::new(first, last, 0).map(IpNet::from).try_for_each(&mut self.visit);
        }
        // IPv4 addresses: they fit.
        let (first, last) = (Ipv4Addr::from_bits(first as u32), Ipv4Addr::from_bits(last as u32));
        Ipv4Subnets::new(first, last, 0).map(IpNet::from).try_for_each(&mut self.visit)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::policy::action::Action;
    use crate::policy::compile::{Compiler, Listing};
    use crate::policy::decide::{Reckoning, Unobserved};
    use crate::policy::index::Index;
    use crate::policy::layers::{Asker, Audience};
    use crate::policy::rule::{Feed, FeedKind, Mode};
    use crate::policy::trigger::Scope;
    use crate::publish::select::{Bare, Feeds};

    fn index(rules: &[(IpNet, u16, Action)]) -> Index<Vec<u8>> {
        let feeds = ["a", "b"].map(|name| Feed::new(name.into(), FeedKind::Threat));
        let mut compiler = Compiler::new(feeds.to_vec());
        for (net, feed, action) in rules {
            let (scope, action, mode) = (Scope::Exact, action.clone(), Mode::Enforced);
            let listing = Listing { feed: *feed, scope, action, mode, family: None, severity: None };
            compiler.add_network(Trigger::Ip, *net, listing).unwrap();
        }
        compiler.finish().unwrap().into_index().unwrap()
    }

    fn listed(layers: Layers<'_, Vec<u8>>, never: &[IpNet]) -> Vec<IpNet> {
        let selection = Selection::new(layers, &Audience::EVERYBODY, Feeds::Threats, Bare::Taken);
        let mut nets = Vec::new();
        let _ = run(layers, &selection, never, |net| {
            nets.push(net);
            ControlFlow::Continue(())
        });
        nets
    }

    #[test]
    fn as_few_networks_as_can_be() {
        #[track_caller]
        fn check(blocked: &[&str], excepted: &[&str], never: &[&str], expected: &[&str]) {
            let nets =
                |texts: &[&str]| -> Vec<IpNet> { texts.iter().map(|text| text.parse().unwrap()).collect() };
            let rules =
                |nets: Vec<IpNet>, action: Action| nets.into_iter().map(move |net| (net, 0, action.clone()));
            let mut all: Vec<_> = rules(nets(blocked), Action::Sinkhole).collect();
            all.extend(rules(nets(excepted), Action::Passthru));
            assert_eq!(listed(Layers::of_feeds(&index(&all)), &nets(never)), nets(expected));
        }
        check(&[], &[], &[], &[]);
        check(&["192.0.2.0/25", "192.0.2.128/25"], &[], &[], &["192.0.2.0/24"]);
        check(&["192.0.2.0/24", "192.0.2.7/32"], &[], &[], &["192.0.2.0/24"]);
        check(&["192.0.2.0/29"], &["192.0.2.7/32"], &[], &["192.0.2.0/30", "192.0.2.4/31", "192.0.2.6/32"]);
        check(&["192.0.2.0/30"], &[], &["192.0.2.2/31"], &["192.0.2.0/31"]);
        check(&["192.0.2.0/30"], &[], &["192.0.2.0/24"], &[]);
        check(&["255.255.255.254/31", "0.0.0.0/32"], &[], &[], &["0.0.0.0/32", "255.255.255.254/31"]);
        check(
            &["2001:db8::/32", "192.0.2.1/32"],
            &["2001:db8::/33"],
            &[],
            &["192.0.2.1/32", "2001:db8:8000::/33"],
        );
        let all = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128";
        check(&[all], &[], &[], &[all]);
    }

    proptest! {
        #[test]
        fn a_list_blocks_what_the_policy_blocks(
            rules in prop::collection::vec((any::<u8>(), 22u8..=32, 0u16..3, 0usize..3), 0..12),
            never in (any::<u8>(), 27u8..=32),
            is_v6 in any::<bool>(),
        ) {
            let address = |last: u8| -> IpAddr {
                if is_v6 { Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into()).into() } else { [192, 0, 2, last].into() }
            };
            let net = |last, len| IpNet::new(address(last), if is_v6 { len + 96 } else { len }).unwrap().trunc();
            let actions = [Action::Sinkhole, Action::Nxdomain, Action::Passthru];
            let rules: Vec<_> =
                rules.iter().map(|(last, len, feed, action)| (net(*last, *len), *feed, actions[*action].clone())).collect();
            let (own, feeds): (Vec<_>, Vec<_>) = rules.into_iter().partition(|(_, feed, _)| *feed == 2);
            let own: Vec<_> = own.into_iter().map(|(net, _, action)| (net, 0, action)).collect();
            let (index, own) = (index(&feeds), index(&own));
            let layers = Layers { own: Some(&own), ..Layers::of_feeds(&index) };
            let never = net(never.0, never.1);
            let nets = listed(layers, &[never]);
            for pair in nets.windows(2) {
                prop_assert!(span(pair[0]).1 < span(pair[1]).0, "{:?}", nets);
            }
            for last in 0..=255 {
                let mut unobserved = Unobserved;
                let mut reckoning = Reckoning::new(layers, Asker::ANYBODY, &mut unobserved);
                reckoning.address(0, address(last));
                let ruling = reckoning.decision().ruling;
                let is_blocked = ruling.is_some_and(|ruling| ruling.rule.action != Action::Passthru);
                let expected = is_blocked && !never.contains(&address(last));
                prop_assert_eq!(nets.iter().any(|net| net.contains(&address(last))), expected, "{}", last);
            }
        }
    }
}
