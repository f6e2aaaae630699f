//! What a decision promises, case by case and against a naive model.

use proptest::prelude::*;

use ipnet::IpNet;

use super::*;
use crate::name::Name;
use crate::policy::compile::{Compiler, Listing};
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
        compiler.add(&name, Listing { feed, scope, action, mode, family: None }).unwrap();
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
            compiler.add(name, Listing { feed: *feed, scope, action, mode, family: None }).unwrap();
        }
        let index = compiler.finish().unwrap().into_index().unwrap();
        for four in qnames.chunks(4) {
            let keys = std::array::from_fn::<_, 4, _>(|n| four.get(n).map(Key::from));
            for (qname, decision) in four.iter().zip(decide_many(&index, &keys, &[None; 4])) {
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
}

/// The rank of a match as the draft's section 5 words it, lower being better: stage, feed, trigger, then for
/// names labels (more is better) and the matching name's order, for networks the prefix length (longer is
/// better) and the address.
type Rank = (usize, u16, Trigger, i32, Vec<u8>);

fn naive_matches(rule: &Stated, told: &Told) -> Vec<Rank> {
    let mut ranks = Vec::new();
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
        match (&rule.thing, name, address) {
            (Thing::Name(kind, listed, scope), Some(name), None)
                if *kind == trigger && is_covered(name, listed, *scope) =>
            {
                // Of qnames of one stage there is one, and of servers the order counts.
                let order = Key::from(name).as_bytes().to_vec();
                ranks.push((stage, rule.feed, trigger, -(listed.label_count() as i32), order));
            }
            (Thing::Network(kind, net), None, Some(address))
                if *kind == trigger && net.contains(&address) =>
            {
                let bits = i32::from(net.prefix_len()) + if net.addr().is_ipv4() { 96 } else { 0 };
                ranks.push((stage, rule.feed, trigger, -bits, mapped(address)));
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
    }
    ranks
}

/// The best rank of all rules that `is_counted` takes.
fn naive_best(rules: &[Stated], told: &Told, is_counted: impl Fn(&Stated) -> bool) -> Option<Rank> {
    rules.iter().filter(|rule| is_counted(rule)).flat_map(|rule| naive_matches(rule, told)).min()
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
    let of_networks = prop::sample::select(vec![Trigger::ClientIp, Trigger::Ip, Trigger::Nsip]);
    let thing = prop_oneof![
        (of_names, small_name(), scope).prop_map(|(trigger, name, scope)| Thing::Name(trigger, name, scope)),
        (of_networks, small_network()).prop_map(|(trigger, net)| Thing::Network(trigger, net)),
    ];
    let mode = prop::sample::select(vec![Mode::Enforced, Mode::Enforced, Mode::Shadow]);
    let action = prop::sample::select(vec![Action::Passthru, Action::Sinkhole, Action::Nxdomain]);
    (0..3u16, mode, thing, action).prop_map(|(feed, mode, thing, action)| Stated {
        feed,
        mode,
        thing,
        action,
    })
}

fn any_told() -> impl Strategy<Value = Told> {
    let addresses = || prop::collection::vec(small_address(), 0..3);
    let servers = prop::collection::vec((small_name(), addresses()), 0..3);
    let stages = prop::collection::vec((small_name(), servers), 1..4);
    (small_address(), stages, addresses()).prop_map(|(client, stages, addresses)| Told {
        client,
        stages,
        addresses,
    })
}

fn tell<'p>(index: &'p Index<Vec<u8>>, told: &Told) -> Decision<'p> {
    let mut unobserved = Unobserved;
    let mut reckoning = Reckoning::new(index, &mut unobserved);
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
    reckoning.client(told.client);
    reckoning.decision()
}

fn rank_of(ruling: &Ruling<'_>) -> (usize, u16, Trigger, i32) {
    let mapped = if ruling.address.is_some_and(|address| address.is_ipv4()) { 96 } else { 0 };
    (usize::from(ruling.stage), ruling.rule.feed, ruling.rule.trigger, -(i32::from(ruling.depth) + mapped))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]
    #[test]
    fn all_triggers_agree_with_a_naive_model(
        stated in prop::collection::vec(any_stated(), 0..40),
        asked in prop::collection::vec(any_told(), 1..6),
    ) {
        // A feed lists a thing once, and has one mode.
        let mut rules: Vec<Stated> = Vec::new();
        for mut rule in stated {
            rule.mode = rules.iter().find(|other| other.feed == rule.feed).map_or(rule.mode, |other| other.mode);
            if !rules.iter().any(|other| (other.feed, &other.thing) == (rule.feed, &rule.thing)) {
                rules.push(rule);
            }
        }
        let mut compiler = Compiler::new(
            (0..3).map(|n| Feed::new(format!("feed{n}").into(), FeedKind::Threat)).collect(),
        );
        for Stated { feed, mode, thing, action } in rules.clone() {
            let listing = |scope| Listing { feed, scope, action, mode, family: None };
            match thing {
                Thing::Name(Trigger::Nsdname, name, scope) => compiler.add_server(&name, listing(scope)),
                Thing::Name(_, name, scope) => compiler.add(&name, listing(scope)),
                Thing::Network(trigger, net) => compiler.add_network(trigger, net, listing(Scope::Exact)),
            }.unwrap();
        }
        let index = compiler.finish().unwrap().into_index().unwrap();
        for told in &asked {
            let decision = tell(&index, told);
            let enforced = naive_best(&rules, told, |rule| rule.mode == Mode::Enforced);
            prop_assert_eq!(
                decision.ruling.map(|ruling| rank_of(&ruling)),
                enforced.as_ref().map(|(stage, feed, trigger, depth, _)| (*stage, *feed, *trigger, *depth)),
                "{:?}", told
            );
            // The address that decided is the one that the naive model has.
            if let (Some(Ruling { address: Some(address), .. }), Some((.., order))) = (decision.ruling, &enforced) {
                let octets = match address {
                    IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                    IpAddr::V6(address) => address.octets(),
                };
                prop_assert_eq!(&octets[..], &order[..]);
            }
            let of_all = naive_best(&rules, told, |_| true);
            let is_shadow = decision.shadow.is_some();
            if let Some(shadow) = decision.shadow {
                let (stage, feed, trigger, depth, _) = of_all.unwrap();
                prop_assert_eq!(rank_of(&shadow), (stage, feed, trigger, depth));
            }
            prop_assert!(!is_shadow || decision.shadow.map(|it| rank_of(&it)) != decision.ruling.map(|it| rank_of(&it)));

            // What needs no answer may be decided without one, unless it must wait.
            let (first, _) = &told.stages[0];
            let key = [Some(Key::from(first))];
            let [early] = decide_many(&index, &key, &[Some(told.client)]);
            if let Some(ruling) = early.ruling.filter(|ruling| !must_wait(&index, ruling)) {
                prop_assert_eq!(Some(rank_of(&ruling)), decision.ruling.map(|it| rank_of(&it)));
            }
            let without = Told {
                stages: told.stages.iter().map(|(name, _)| (name.clone(), Vec::new())).collect(),
                ..told.clone()
            };
            let partly = tell(&index, &without);
            if !needs_servers(&index, &partly) {
                prop_assert_eq!(partly.ruling.map(|it| rank_of(&it)), decision.ruling.map(|it| rank_of(&it)));
            }
        }
    }
}

#[test]
fn of_name_servers_with_equal_matches_the_first_in_canonical_order_wins() {
    let mut compiler = Compiler::new(vec![Feed::new("feed0".into(), FeedKind::Threat)]);
    for (name, action) in [("ns.b.example", Action::Nxdomain), ("ns.a.example", Action::Nodata)] {
        let (scope, mode) = (Scope::Exact, Mode::Enforced);
        let listing = Listing { feed: 0, scope, action, mode, family: None };
        compiler.add_server(&Name::from_host(name).unwrap(), listing).unwrap();
    }
    let index = compiler.finish().unwrap().into_index().unwrap();
    let servers = ["ns.b.example", "ns.a.example"].map(|name| (Name::from_host(name).unwrap(), Vec::new()));
    let told = Told {
        client: "10.0.0.1".parse().unwrap(),
        stages: vec![(Name::from_host("www.example").unwrap(), servers.into())],
        addresses: Vec::new(),
    };
    assert_eq!(tell(&index, &told).ruling.unwrap().rule.action, Action::Nodata);
    // A name server's name is no qname, and the other way round.
    check(&index, "ns.a.example", "-");
}

#[test]
fn lines_of_local_data_become_one_rule() {
    let mut compiler = Compiler::new(vec![Feed::new("feed0".into(), FeedKind::Threat)]);
    let mut add = |name: &str, action: &str| {
        let (scope, mode, action) = (Scope::Exact, Mode::Enforced, action.parse().unwrap());
        let listing = Listing { feed: 0, scope, action, mode, family: None };
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
