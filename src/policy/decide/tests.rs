//! What a decision promises, case by case and against a naive model.

use proptest::prelude::*;

use ipnet::IpNet;

use super::*;
use crate::name::Name;
use crate::policy::compile::{Compiler, Listing};
use crate::policy::guard::Guard;
use crate::policy::layers::Members;
use crate::policy::trigger::Scope;

/// One rule a line: `FEED SCOPE NAME ACTION`, feeds by number; `shadow:` before the action of a
/// feed on trial.
fn policy(text: &str) -> Index<Vec<u8>> {
    let mut compiler =
        Compiler::new((0..4).map(|n| Feed::new(format!("feed{n}").into(), FeedKind::Threat)).collect());
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split(' ').collect();
        let scope = match words[1] {
            "exact" => Scope::Exact,
            "below" => Scope::Below,
            _ => Scope::Subtree,
        };
        let name = Name::from_host(words[2]).unwrap();
        let (mode, action) = match words[3].strip_prefix("shadow:") {
            Some(action) => (Mode::Shadow, action),
            None => (Mode::Enforced, words[3]),
        };
        let (feed, action) = (words[0].parse().unwrap(), action.parse().unwrap());
        compiler.add(&name, Listing { feed, scope, action, mode, family: None, severity: None }).unwrap();
    }
    compiler.finish().unwrap().into_index().unwrap()
}

fn check(index: &Index<Vec<u8>>, qname: &str, expected: &str) {
    let key = Key::from(&Name::from_host(qname).unwrap());
    let decision = decide(index, &key, &mut Unobserved);
    let show = |ruling: Option<Ruling<'_>>| {
        ruling.map_or("-".to_owned(), |r| format!("{} {}", r.rule.feed, r.rule.action))
    };
    let got = match decision.shadow {
        None => show(decision.ruling),
        shadow => format!("{} shadow {}", show(decision.ruling), shadow.unwrap().rule.feed),
    };
    assert_eq!(got, expected, "{qname}");
}

#[test]
fn scopes() {
    let index = policy(
        "0 exact exact.example nxdomain
         0 below below.example nodata
         0 subtree subtree.example sinkhole",
    );
    check(&index, "exact.example", "0 nxdomain");
    check(&index, "a.exact.example", "-");
    check(&index, "below.example", "-");
    check(&index, "a.below.example", "0 nodata");
    check(&index, "a.b.below.example", "0 nodata");
    check(&index, "subtree.example", "0 sinkhole");
    check(&index, "a.subtree.example", "0 sinkhole");
    check(&index, "notsubtree.example", "-");
    check(&index, "subtree.example.org", "-");
    check(&index, "example", "-");
}

#[test]
fn earlier_feeds_win_and_then_the_longest_match() {
    let index = policy(
        "0 subtree good.evil.example passthru
         1 subtree evil.example sinkhole
         1 exact www.evil.example nodata
         1 below deep.evil.example nxdomain
         2 exact www.evil.example drop
         2 exact late.example drop",
    );
    check(&index, "good.evil.example", "0 passthru");
    check(&index, "www.good.evil.example", "0 passthru");
    check(&index, "evil.example", "1 sinkhole");
    check(&index, "www.evil.example", "1 nodata");
    check(&index, "a.www.evil.example", "1 sinkhole");
    check(&index, "deep.evil.example", "1 sinkhole");
    check(&index, "a.deep.evil.example", "1 nxdomain");
    check(&index, "late.example", "2 drop");
}

#[test]
fn feeds_in_shadow_change_nothing_and_tell_what_they_would() {
    let index = policy(
        "0 subtree evil.example shadow:sinkhole
         1 subtree evil.example sinkhole
         0 subtree watched.example shadow:sinkhole
         0 subtree good.watched.example shadow:passthru
         2 subtree early.example sinkhole
         3 subtree early.example shadow:drop
         0 subtree freed.example shadow:passthru
         1 subtree freed.example sinkhole",
    );
    check(&index, "evil.example", "1 sinkhole shadow 0");
    check(&index, "www.watched.example", "- shadow 0");
    check(&index, "www.good.watched.example", "-");
    check(&index, "early.example", "2 sinkhole");
    check(&index, "freed.example", "1 sinkhole");
}

#[test]
fn an_exception_beats_a_block_of_the_same_feed_and_name() {
    let index = policy(
        "0 subtree both.example sinkhole
         0 subtree both.example passthru",
    );
    check(&index, "www.both.example", "0 passthru");
}

/// What [`decide`] promises, written without an index.
fn naive(rules: &[(u16, Scope, Name, Action)], qname: &Name) -> Option<(u16, usize, Action)> {
    let mut best: Option<(u16, usize, Action)> = None;
    for (feed, scope, name, action) in rules {
        let is_met = match scope {
            Scope::Exact => qname == name,
            Scope::Below => qname != name && qname.is_within(name),
            Scope::Subtree => qname.is_within(name),
        };
        if !is_met {
            continue;
        }
        let labels = name.label_count();
        let is_better = best.as_ref().is_none_or(|(best_feed, best_labels, best_action)| {
            feed < best_feed
                || feed == best_feed
                    && (labels > *best_labels
                        || labels == *best_labels
                            && *action == Action::Passthru
                            && *best_action != Action::Passthru)
        });
        if is_better {
            best = Some((*feed, labels, action.clone()));
        }
    }
    best
}

fn small_name() -> impl Strategy<Value = Name> {
    // Few labels over few letters, so that random names meet.
    prop::collection::vec("[ab]{1,2}", 1..5).prop_map(|labels| Name::from_host(&labels.join(".")).unwrap())
}

fn any_rule() -> impl Strategy<Value = (u16, Scope, Name, Action)> {
    let scope = prop::sample::select(vec![Scope::Exact, Scope::Below, Scope::Subtree]);
    let action = prop::sample::select(vec![Action::Passthru, Action::Sinkhole, Action::Nxdomain]);
    (0..3u16, scope, small_name(), action)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn the_walk_agrees_with_a_naive_matcher(
        rules in prop::collection::vec(any_rule(), 0..40),
        qnames in prop::collection::vec(small_name(), 1..20),
    ) {
        let mut compiler = Compiler::new(
            (0..3).map(|n| Feed::new(format!("feed{n}").into(), FeedKind::Threat)).collect(),
        );
        for (feed, scope, name, action) in &rules {
            let (scope, action, mode) = (*scope, action.clone(), Mode::Enforced);
            compiler.add(name, Listing { feed: *feed, scope, action, mode, family: None, severity: None }).unwrap();
        }
        let index = compiler.finish().unwrap().into_index().unwrap();
        for four in qnames.chunks(4) {
            let keys = std::array::from_fn::<_, 4, _>(|n| four.get(n).map(Key::from));
            for (qname, decision) in four.iter().zip(decide_many(Layers::of_feeds(&index), &keys, &[Asker::ANYBODY; 4])) {
                let alone = decide(&index, &Key::from(qname), &mut Unobserved);
                let show = |it: Option<Ruling<'_>>| it.map(|it| (it.rule.feed, it.depth, it.rule.action.clone()));
                prop_assert_eq!(show(decision.ruling), show(alone.ruling), "{}", qname);
                prop_assert_eq!(show(decision.shadow), show(alone.shadow), "{}", qname);
            }
        }
        for qname in &qnames {
            let decision = decide(&index, &Key::from(qname), &mut Unobserved);
            let got = decision.ruling.map(|r| (r.rule.feed, usize::from(r.depth), r.rule.action.clone()));
            prop_assert_eq!(got, naive(&rules, qname), "{}", qname);
        }
    }
}

/// A rule as the naive model has it.
#[derive(Debug, Clone)]
struct Stated {
    layer: Layer,
    feed: u16,
    mode: Mode,
    thing: Thing,
    action: Action,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Thing {
    Name(Trigger, Name, Scope),
    Network(Trigger, IpNet),
}

/// A name server and its addresses.
type NameServer = (Name, Vec<IpAddr>);

/// What is told of a query: stages, each a name with its servers, and addresses at the end of the chain.
#[derive(Debug, Clone)]
struct Told {
    client: IpAddr,
    stages: Vec<(Name, Vec<NameServer>)>,
    addresses: Vec<IpAddr>,
    /// Which feeds apply, and which of the analysts' groups.
    feeds: Vec<bool>,
    own: Vec<bool>,
}

/// The rank of a match as the draft's section 5 words it, lower being better: stage, analysts before feeds,
/// feed, trigger, then for names labels (more is better) and the matching name's order, for networks the
/// prefix length (longer is better) and the address.
type NaiveRank = (usize, Layer, u16, Trigger, i32, Vec<u8>);

fn naive_matches(rule: &Stated, told: &Told) -> Vec<NaiveRank> {
    let mut ranks = Vec::new();
    let applies = if rule.layer == Layer::Own { &told.own } else { &told.feeds };
    if !applies[usize::from(rule.feed)] {
        return ranks;
    }
    let last = told.stages.len() - 1;
    let is_covered = |name: &Name, listed: &Name, scope: Scope| match scope {
        Scope::Exact => name == listed,
        Scope::Below => name != listed && name.is_within(listed),
        Scope::Subtree => name.is_within(listed),
    };
    let mapped = |address: IpAddr| match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let mut meet = |stage: usize, trigger: Trigger, name: Option<&Name>, address: Option<IpAddr>| {
        let is_first = (stage, rule.layer, rule.feed, trigger);
        match (&rule.thing, name, address) {
            (Thing::Name(kind, listed, scope), Some(name), None)
                if *kind == trigger && is_covered(name, listed, *scope) =>
            {
                // Of qnames of one stage there is one, and of servers the order counts.
                let order = Key::from(name).as_bytes().to_vec();
                let (stage, layer, feed, trigger) = is_first;
                ranks.push((stage, layer, feed, trigger, -(listed.label_count() as i32), order));
            }
            (Thing::Network(kind, net), None, Some(address))
                if *kind == trigger && net.contains(&address) =>
            {
                let bits = i32::from(net.prefix_len()) + if net.addr().is_ipv4() { 96 } else { 0 };
                let (stage, layer, feed, trigger) = is_first;
                ranks.push((stage, layer, feed, trigger, -bits, mapped(address)));
            }
            _ => {}
        }
    };
    meet(0, Trigger::ClientIp, None, Some(told.client));
    for (stage, (name, servers)) in told.stages.iter().enumerate() {
        meet(stage, Trigger::Qname, Some(name), None);
        for (server, addresses) in servers {
            meet(stage, Trigger::Nsdname, Some(server), None);
            for address in addresses {
                meet(stage, Trigger::Nsip, None, Some(*address));
            }
        }
    }
    for address in &told.addresses {
        meet(last, Trigger::Ip, None, Some(*address));
        meet(last, Trigger::Address, None, Some(*address));
    }
    ranks
}

/// The best of all rules that `is_counted` takes: of those on bare addresses and of all others by themselves,
/// and then of the two.
fn naive_best<'a>(
    rules: &'a [Stated],
    told: &Told,
    is_counted: impl Fn(&Stated) -> bool,
) -> Option<(NaiveRank, &'a Stated)> {
    let matches = |is_bare: bool| {
        let ranked = rules
            .iter()
            .filter(|rule| is_counted(rule))
            .flat_map(|rule| naive_matches(rule, told).into_iter().map(move |rank| (rank, rule)));
        ranked
            .filter(|((_, _, _, trigger, ..), _)| (*trigger == Trigger::Address) == is_bare)
            .min_by(|(one, _), (other, _)| one.cmp(other))
    };
    let (Some(named), Some(bare)) = (matches(false), matches(true)) else {
        return matches(false).or(matches(true));
    };
    let is_by_name = matches!(named.0.3, Trigger::ClientIp | Trigger::Qname);
    if named.1.layer == Layer::Own || is_by_name && named.1.action != Action::Passthru {
        Some(named)
    } else if bare.1.layer == Layer::Own || bare.0 < named.0 {
        Some(bare)
    } else {
        Some(named)
    }
}

/// Few bits differ, so that networks nest and addresses meet them; and some of either family.
fn small_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (0u8..4, 0u8..4).prop_map(|(a, b)| IpAddr::from([192, a << 6, 2, b])),
        (0u16..4, 0u16..4).prop_map(|(a, b)| IpAddr::from([0x2001, a << 13, 0, 0, 0, 0, 0, b])),
    ]
}

fn small_network() -> impl Strategy<Value = IpNet> {
    (small_address(), 0u8..=128).prop_map(|(address, len)| {
        let len = if address.is_ipv4() { len % 33 } else { len };
        IpNet::new(address, len).unwrap().trunc()
    })
}

fn any_stated() -> impl Strategy<Value = Stated> {
    let scope = prop::sample::select(vec![Scope::Exact, Scope::Below]);
    let of_names = prop::sample::select(vec![Trigger::Qname, Trigger::Nsdname]);
    let of_networks =
        prop::sample::select(vec![Trigger::ClientIp, Trigger::Ip, Trigger::Nsip, Trigger::Address]);
    let thing = prop_oneof![
        (of_names, small_name(), scope).prop_map(|(trigger, name, scope)| Thing::Name(trigger, name, scope)),
        (of_networks, small_network()).prop_map(|(trigger, net)| Thing::Network(trigger, net)),
    ];
    let mode = prop::sample::select(vec![Mode::Enforced, Mode::Enforced, Mode::Shadow]);
    let action = prop::sample::select(vec![Action::Passthru, Action::Sinkhole, Action::Nxdomain]);
    let layer = prop::sample::select(vec![Layer::Own, Layer::Feeds, Layer::Feeds]);
    (layer, 0..3u16, mode, any::<bool>(), thing, action).prop_map(
        |(layer, feed, mode, is_firm, thing, action)| {
            let thing = match thing {
                // Analysts name names and addresses.
                Thing::Name(_, name, scope) if layer == Layer::Own => {
                    Thing::Name(Trigger::Qname, name, scope)
                }
                Thing::Network(_, net) if layer == Layer::Own => Thing::Network(Trigger::Address, net),
                thing => thing,
            };
            let (Thing::Name(trigger, ..) | Thing::Network(trigger, _)) = &thing;
            let is_indirect = trigger.is_on_response() || *trigger == Trigger::Address;
            let mode = match mode {
                Mode::Enforced if is_indirect && !is_firm => Mode::Guarded,
                mode => mode,
            };
            Stated { layer, feed, mode, thing, action }
        },
    )
}

fn any_told() -> impl Strategy<Value = Told> {
    let addresses = || prop::collection::vec(small_address(), 0..3);
    let servers = prop::collection::vec((small_name(), addresses()), 0..3);
    let stages = prop::collection::vec((small_name(), servers), 1..4);
    let members = || prop::collection::vec(prop::bool::weighted(0.8), 3);
    (small_address(), stages, addresses(), members(), members())
        .prop_map(|(client, stages, addresses, feeds, own)| Told { client, stages, addresses, feeds, own })
}

impl Told {
    fn audience(&self) -> Audience {
        let members = |taken: &[bool]| Members::new(taken.len(), |number| taken[number]);
        Audience { feeds: members(&self.feeds), own: members(&self.own) }
    }
}

fn tell<'p>(layers: Layers<'p, Vec<u8>>, told: &Told) -> Decision<'p> {
    let mut unobserved = Unobserved;
    let asker = Asker { client: Some(told.client), audience: &told.audience() };
    let mut reckoning = Reckoning::new(layers, asker, &mut unobserved);
    // In another order than that of precedence.
    for address in &told.addresses {
        reckoning.address(told.stages.len() as u8 - 1, *address);
    }
    for (stage, (name, servers)) in told.stages.iter().enumerate().rev() {
        let mut servers = servers.clone();
        servers.sort_by_key(|(name, _)| Key::from(name).as_bytes().to_vec());
        for (number, (server, addresses)) in servers.iter().enumerate() {
            reckoning.server(stage as u8, number as u16, &Key::from(server));
            for address in addresses {
                reckoning.server_address(stage as u8, number as u16, *address);
            }
        }
        reckoning.name(stage as u8, &Key::from(name));
    }
    reckoning.decision()
}

/// All of a rank but the name or address.
type Place = (usize, Layer, u16, Trigger, i32);

fn place_of(ruling: &Ruling<'_>) -> Place {
    let mapped = if ruling.address.is_some_and(|address| address.is_ipv4()) { 96 } else { 0 };
    let depth = -(i32::from(ruling.depth) + mapped);
    (usize::from(ruling.stage), ruling.layer, ruling.rule.feed, ruling.rule.trigger, depth)
}

fn naive_place((rank, _): &(NaiveRank, &Stated)) -> Place {
    (rank.0, rank.1, rank.2, rank.3, rank.4)
}

fn index_of(rules: &[Stated], layer: Layer) -> Index<Vec<u8>> {
    let mut compiler =
        Compiler::new((0..3).map(|n| Feed::new(format!("feed{n}").into(), FeedKind::Threat)).collect());
    for Stated { feed, mode, thing, action, .. } in rules.iter().filter(|rule| rule.layer == layer).cloned() {
        let listing = |scope| Listing { feed, scope, action, mode, family: None, severity: None };
        let added = match thing {
            Thing::Name(Trigger::Nsdname, name, scope) => compiler.add_server(&name, listing(scope)),
            Thing::Name(_, name, scope) => compiler.add(&name, listing(scope)),
            Thing::Network(trigger, net) => compiler.add_network(trigger, net, listing(Scope::Exact)),
        };
        added.unwrap();
    }
    compiler.finish().unwrap().into_index().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]
    #[test]
    fn all_layers_and_triggers_agree_with_a_naive_model(
        stated in prop::collection::vec(any_stated(), 0..40),
        protected in prop::collection::vec(small_name(), 0..3),
        popular in prop::collection::vec(small_name(), 0..3),
        asked in prop::collection::vec(any_told(), 1..6),
    ) {
        // A feed lists a thing once, and is on trial or is not.
        let mut rules: Vec<Stated> = Vec::new();
        for mut rule in stated {
            let of_feed = |other: &&Stated| (other.layer, other.feed) == (rule.layer, rule.feed);
            match rules.iter().find(of_feed).map(|other| other.mode) {
                Some(Mode::Shadow) => rule.mode = Mode::Shadow,
                Some(_) if rule.mode == Mode::Shadow => rule.mode = Mode::Enforced,
                _ => {}
            }
            let is_there = |other: &Stated| {
                (other.layer, other.feed, &other.thing) == (rule.layer, rule.feed, &rule.thing)
            };
            if !rules.iter().any(is_there) {
                rules.push(rule);
            }
        }
        let (own, feeds) = (index_of(&rules, Layer::Own), index_of(&rules, Layer::Feeds));
        let guard = Guard::new(protected.clone(), popular.clone());
        let layers = Layers { feeds: &feeds, own: Some(&own), guard: &guard };
        for told in &asked {
            let decision = tell(layers, told);
            let is_guarded = told.stages.iter().any(|(name, _)| {
                protected.iter().any(|held| name.is_within(held)) || popular.contains(name)
            });
            let is_held_back = |mode| mode == Mode::Shadow || mode == Mode::Guarded && is_guarded;
            let acting = naive_best(&rules, told, |rule| !is_held_back(rule.mode));
            prop_assert_eq!(
                decision.ruling.map(|ruling| (place_of(&ruling), ruling.rule.action.clone())),
                acting.as_ref().map(|best| (naive_place(best), best.1.action.clone())),
                "{:?}", told
            );
            // The address that decided is the one that the naive model has.
            if let (Some(Ruling { address: Some(address), .. }), Some(((.., order), _))) = (decision.ruling, &acting) {
                let octets = match address {
                    IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                    IpAddr::V6(address) => address.octets(),
                };
                prop_assert_eq!(&octets[..], &order[..]);
            }
            let shadow = naive_best(&rules, told, |_| true)
                .filter(|(_, rule)| is_held_back(rule.mode) && rule.action != Action::Passthru);
            prop_assert_eq!(
                decision.shadow.map(|ruling| place_of(&ruling)),
                shadow.as_ref().map(naive_place),
                "{:?}", told
            );

            // What needs no answer may be decided without one, unless it must wait. An exception need not
            // be the last word: its name is resolved, and then asked about again.
            let (first, _) = &told.stages[0];
            let audience = told.audience();
            let asker = Asker { client: Some(told.client), audience: &audience };
            let [early] = decide_many(layers, &[Some(Key::from(first))], &[asker]);
            let acts = |ruling: &Ruling<'_>| {
                !must_wait(&feeds, &audience, ruling)
                    && (ruling.layer == Layer::Own || ruling.rule.action != Action::Passthru)
            };
            if let Some(ruling) = early.ruling.filter(acts) {
                prop_assert_eq!(Some(place_of(&ruling)), decision.ruling.map(|it| place_of(&it)));
            }
            let without = Told {
                stages: told.stages.iter().map(|(name, _)| (name.clone(), Vec::new())).collect(),
                ..told.clone()
            };
            let partly = tell(layers, &without);
            if !needs_servers(&feeds, &audience, &partly) {
                prop_assert_eq!(partly.ruling.map(|it| place_of(&it)), decision.ruling.map(|it| place_of(&it)));
            }
        }
    }
}

#[test]
fn of_name_servers_with_equal_matches_the_first_in_canonical_order_wins() {
    let mut compiler = Compiler::new(vec![Feed::new("feed0".into(), FeedKind::Threat)]);
    for (name, action) in [("ns.b.example", Action::Nxdomain), ("ns.a.example", Action::Nodata)] {
        let (scope, mode) = (Scope::Exact, Mode::Enforced);
        let listing = Listing { feed: 0, scope, action, mode, family: None, severity: None };
        compiler.add_server(&Name::from_host(name).unwrap(), listing).unwrap();
    }
    let index = compiler.finish().unwrap().into_index().unwrap();
    let servers = ["ns.b.example", "ns.a.example"].map(|name| (Name::from_host(name).unwrap(), Vec::new()));
    let told = Told {
        client: "10.0.0.1".parse().unwrap(),
        stages: vec![(Name::from_host("www.example").unwrap(), servers.into())],
        addresses: Vec::new(),
        feeds: vec![true],
        own: Vec::new(),
    };
    assert_eq!(tell(Layers::of_feeds(&index), &told).ruling.unwrap().rule.action, Action::Nodata);
    // A name server's name is no qname, and the other way round.
    check(&index, "ns.a.example", "-");
}

#[test]
fn lines_of_local_data_become_one_rule() {
    let mut compiler = Compiler::new(vec![Feed::new("feed0".into(), FeedKind::Threat)]);
    let mut add = |name: &str, action: &str| {
        let (scope, mode, action) = (Scope::Exact, Mode::Enforced, action.parse().unwrap());
        let listing = Listing { feed: 0, scope, action, mode, family: None, severity: None };
        compiler.add(&Name::from_host(name).unwrap(), listing).unwrap();
    };
    for name in ["a.example", "b.example"] {
        add(name, "local-data:60 A 192.0.2.2");
        add(name, "local-data:60 A 192.0.2.1");
        add(name, "local-data:60 A 192.0.2.2");
        add(name, r"local-data:60 TYPE16 \# 2 0161");
        add(name, "nxdomain");
    }
    add("c.example", "nxdomain");
    add("c.example", "local-data:60 A 192.0.2.1");
    add("d.example", "local-data:60 A 192.0.2.1");
    add("d.example", "passthru");
    let index = compiler.finish().unwrap().into_index().unwrap();
    for name in ["a.example", "b.example"] {
        check(&index, name, r"0 local-data:60 A 192.0.2.1; 60 A 192.0.2.2; 60 TYPE16 \# 2 0161");
    }
    check(&index, "c.example", "0 nxdomain");
    check(&index, "d.example", "0 passthru");
    assert_eq!(index.rule_set_count(), 3, "equal data is shared");
}
