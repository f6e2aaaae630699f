//! What each format says of one small policy.

use std::net::IpAddr;
use std::sync::Arc;

use super::*;
use crate::image::{self, Image};
use crate::name::Name;
use crate::policy::action::Action;
use crate::policy::compile::{Compiler, Listing};
use crate::policy::layers::Own;
use crate::policy::rule::{Feed, FeedKind, Mode};
use crate::policy::trigger::{Scope, Trigger};

/// An image of these rules: what is listed, the feed's number, its scope, its action.
fn image(rules: &[(&str, u16, Scope, &str)]) -> Content {
    let feeds = vec![
        Feed::new("canary".into(), FeedKind::Housekeeping),
        Feed::new("authority".into(), FeedKind::Threat),
        Feed::new("other".into(), FeedKind::Threat),
    ];
    let mut compiler = Compiler::new(feeds);
    let family: Arc<str> = "Mã \"độc\"; x".into();
    for &(listed, feed, scope, action) in rules {
        let (action, mode) = match action {
            "shadow" => (Action::Sinkhole, Mode::Shadow),
            action => (action.parse().unwrap(), Mode::Enforced),
        };
        let listing = Listing { feed, scope, action, mode, family: Some(&family), severity: None };
        match (listed.parse::<IpNet>(), listed.parse::<IpAddr>()) {
            (Ok(net), _) => compiler.add_network(Trigger::Ip, net, listing).unwrap(),
            (_, Ok(address)) => compiler.add_network(Trigger::Ip, address.into(), listing).unwrap(),
            _ => compiler.add(&Name::from_presentation(listed).unwrap(), listing).unwrap(),
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.img");
    image::write(&path, &compiler.finish().unwrap(), &[0; 32], 1_700_000_000_000_000).unwrap();
    content(image::open(&path).unwrap())
}

/// All rules of an image, for everybody.
fn content(image: Image) -> Content {
    Content::new(Arc::new(image), None, None, Vec::new())
}

fn sample() -> Content {
    image(&[
        ("use-application-dns.net", 0, Scope::Subtree, "nxdomain"),
        ("evil.example", 1, Scope::Subtree, "sinkhole"),
        ("www.evil.example", 2, Scope::Subtree, "sinkhole"),
        ("good.x.evil.example", 1, Scope::Exact, "passthru"),
        ("exact.example", 2, Scope::Exact, "nxdomain"),
        ("below.example", 2, Scope::Below, "drop"),
        ("trial.example", 1, Scope::Subtree, "shadow"),
        ("a\\;b.example", 1, Scope::Subtree, "local-data:60 A 192.0.2.9"),
        ("203.0.113.7", 1, Scope::Exact, "sinkhole"),
        ("203.0.113.0/30", 1, Scope::Exact, "nxdomain"),
        ("203.0.113.1", 1, Scope::Exact, "passthru"),
        ("10.0.0.1", 1, Scope::Exact, "sinkhole"),
        ("2001:db8::1:0:0:0/127", 1, Scope::Exact, "sinkhole"),
    ])
}

/// The lines of a list that are no comments, and what came of it.
fn list(content: &Content, change: impl FnOnce(&mut Request<'_>)) -> (Vec<String>, Summary) {
    let never: Vec<IpNet> = PRIVATE.iter().map(|net| net.parse().unwrap()).collect();
    let sinkholed = Sinkholed::Addresses(vec![[10, 10, 10, 10].into()]);
    let mut request = Request {
        format: Format::Plain,
        kind: Kind::All,
        feeds: Feeds::Threats,
        never: &never,
        sinkholed: &sinkholed,
        ttl: 30,
        limit: u64::MAX,
    };
    change(&mut request);
    let mark = request.format.comment();
    let mut out = Vec::new();
    let summary = write(content, &request, &mut out, |_, _| {}).unwrap();
    let text = String::from_utf8(out).unwrap();
    let is_comment = |line: &&str| mark.is_some_and(|mark| line.starts_with(mark));
    (text.lines().filter(|line| !is_comment(line)).map(str::to_owned).collect(), summary)
}

#[track_caller]
fn check(change: impl FnOnce(&mut Request<'_>), expected: &[&str]) {
    assert_eq!(list(&sample(), change).0, expected);
}

#[test]
fn plain_lists_say_what_is_blocked() {
    check(
        |it| it.kind = Kind::Addresses,
        &["203.0.113.0", "203.0.113.2/31", "203.0.113.7", "2001:db8:0:0:1::/127"],
    );
    check(|it| it.kind = Kind::Names, &["a\\;b.example", "evil.example", "exact.example"]);
    let other: &[String] = vec!["other".to_owned()].leak();
    check(
        |it| (it.kind, it.feeds) = (Kind::Names, Feeds::Named(other)),
        &["www.evil.example", "exact.example"],
    );
    let (_, summary) = list(&sample(), |_| {});
    assert_eq!(summary, Summary { networks: 4, names: 3, unsaid: 2, cut: 0, ..Summary::default() });
    let (lines, summary) = list(&sample(), |it| it.limit = 5);
    assert_eq!(
        (lines.len(), summary),
        (5, Summary { networks: 4, names: 1, unsaid: 2, cut: 2, ..Summary::default() })
    );
}

#[test]
fn dynamic_lists_have_nothing_but_entries() {
    check(
        |it| (it.format, it.kind) = (Format::Edl, Kind::Names),
        &[
            "a\\;b.example",
            "*.a\\;b.example",
            "*.below.example",
            "evil.example",
            "*.evil.example",
            "exact.example",
        ],
    );
}

#[test]
fn scripts_replace_what_was_there() {
    check(
        |it| (it.format, it.kind) = (Format::Nftables, Kind::Addresses),
        &[
            "add table inet sachdns",
            "add set inet sachdns addresses4 { type ipv4_addr; flags interval; }",
            "flush set inet sachdns addresses4",
            "add set inet sachdns addresses6 { type ipv6_addr; flags interval; }",
            "flush set inet sachdns addresses6",
            "add element inet sachdns addresses4 {",
            "    203.0.113.0,",
            "    203.0.113.2/31,",
            "    203.0.113.7,",
            "}",
            "add element inet sachdns addresses6 {",
            "    2001:db8:0:0:1::/127,",
            "}",
        ],
    );
    check(
        |it| (it.format, it.kind) = (Format::Mikrotik, Kind::Addresses),
        &[
            "/ip firewall address-list",
            "remove [find where list=sachdns]",
            "add list=sachdns address=203.0.113.0",
            "add list=sachdns address=203.0.113.2/31",
            "add list=sachdns address=203.0.113.7",
            "/ipv6 firewall address-list",
            "remove [find where list=sachdns]",
            "add list=sachdns address=2001:db8:0:0:1::/127",
        ],
    );
    // Also where nothing is to be there any more.
    let (lines, _) = list(&image(&[]), |it| (it.format, it.kind) = (Format::Mikrotik, Kind::Addresses));
    assert_eq!(lines.len(), 4);
    let (lines, _) = list(&image(&[]), |it| (it.format, it.kind) = (Format::Nftables, Kind::Addresses));
    assert_eq!(lines.len(), 5);
}

#[test]
fn zones_have_exceptions_and_what_they_need() {
    let (lines, summary) = list(&sample(), |it| (it.format, it.feeds) = (Format::Rpz, Feeds::All));
    let expected = [
        "$TTL 30",
        "@ SOA localhost. root.localhost. 1700000000 300 60 2592000 30",
        "@ NS localhost.",
        "32.1.0.0.10.rpz-ip 30 A 10.10.10.10",
        "32.1.113.0.203.rpz-ip 30 CNAME rpz-passthru.",
        "32.7.113.0.203.rpz-ip 30 A 10.10.10.10",
        "30.0.113.0.203.rpz-ip 30 CNAME .",
        "127.zz.1.0.0.db8.2001.rpz-ip 30 A 10.10.10.10",
        r"a\;b.example 60 A 192.0.2.9",
        r"*.a\;b.example 60 A 192.0.2.9",
        "*.below.example 30 CNAME rpz-drop.",
        "evil.example 30 A 10.10.10.10",
        "*.evil.example 30 A 10.10.10.10",
        // Without these two, names below x.evil.example would not be listed any more.
        "x.evil.example 30 A 10.10.10.10",
        "*.x.evil.example 30 A 10.10.10.10",
        "good.x.evil.example 30 CNAME rpz-passthru.",
        "*.good.x.evil.example 30 A 10.10.10.10",
        "exact.example 30 CNAME .",
        "use-application-dns.net 30 CNAME .",
        "*.use-application-dns.net 30 CNAME .",
    ];
    assert_eq!(lines, expected);
    assert_eq!(summary, Summary { networks: 5, names: 6, unsaid: 0, cut: 0, ..Summary::default() });
    let cname: &Sinkholed = Box::leak(Box::new("cname:landing.example".parse().unwrap()));
    let (lines, _) = list(&image(&[("evil.example", 1, Scope::Exact, "sinkhole")]), |it| {
        (it.format, it.sinkholed) = (Format::Rpz, cname);
    });
    assert_eq!(lines[3..], ["evil.example 30 CNAME landing.example."]);
}

#[test]
fn rules_keep_their_numbers() {
    let (lines, _) = list(&sample(), |it| it.format = Format::Suricata);
    assert_eq!(lines.len(), 8);
    let of = |lines: &[String], part: &str| {
        let found: Vec<_> = lines.iter().filter(|line| line.contains(part)).cloned().collect();
        assert_eq!(found.len(), 1, "{part}: {lines:#?}");
        found.concat()
    };
    let rule = of(&lines, "203.0.113.2/31 any");
    assert!(
        rule.starts_with("alert ip $HOME_NET any -> 203.0.113.2/31 any (msg:\"SachDNS: 203.0.113.2/31\"; ")
    );
    let evil = of(&lines, "\".evil.example\"");
    assert!(evil.contains("(msg:\"SachDNS: evil.example (Mã  độc   x)\"; dns.query; dotprefix; content:\".evil.example\"; nocase; endswith; "), "{evil}");
    assert!(
        of(&lines, "exact.example").contains("content:\"exact.example\"; nocase; startswith; endswith; ")
    );
    assert!(
        of(&lines, "below.example").contains("dns.query; content:\".below.example\"; nocase; endswith; ")
    );
    assert!(of(&lines, "|3b|").contains("content:\".a|3b|b.example\""));
    let (fewer, _) =
        list(&image(&[("evil.example", 1, Scope::Subtree, "sinkhole")]), |it| it.format = Format::Suricata);
    assert_eq!(fewer, [evil]);
}

#[test]
fn bare_addresses_are_for_firewalls_and_sinkholes_are_feeds() {
    let own =
        Feed { sinkhole: Some([[10, 9, 9, 9].into()].into()), ..Feed::new("own".into(), FeedKind::Threat) };
    let mut compiler = Compiler::new(vec![own, Feed::new("other".into(), FeedKind::Threat)]);
    let (scope, mode) = (Scope::Exact, Mode::Enforced);
    for (feed, name) in [(0, "a.example"), (1, "b.example")] {
        let listing = Listing { feed, scope, action: Action::Sinkhole, mode, family: None, severity: None };
        compiler.add(&Name::from_host(name).unwrap(), listing).unwrap();
    }
    let listing = Listing {
        feed: 1,
        scope,
        action: Action::Sinkhole,
        mode: Mode::Guarded,
        family: None,
        severity: None,
    };
    compiler.add_network(Trigger::Address, "203.0.113.7/32".parse().unwrap(), listing.clone()).unwrap();
    compiler.add_network(Trigger::Ip, "203.0.113.9/32".parse().unwrap(), listing).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.img");
    image::write(&path, &compiler.finish().unwrap(), &[0; 32], 0).unwrap();
    let image = content(image::open(&path).unwrap());
    assert_eq!(list(&image, |it| it.kind = Kind::Addresses).0, ["203.0.113.7", "203.0.113.9"]);
    // Whoever takes the zone has no guard; what a zone had stands in it.
    let (lines, _) = list(&image, |it| it.format = Format::Rpz);
    let expected =
        ["32.9.113.0.203.rpz-ip 30 A 10.10.10.10", "a.example 30 A 10.9.9.9", "b.example 30 A 10.10.10.10"];
    assert_eq!(lines[3..], expected);
}

#[test]
fn analysts_rules_come_first_as_far_as_they_apply() {
    let groups =
        [Feed::new("analysts".into(), FeedKind::Threat), Feed::new("analysts".into(), FeedKind::Threat)];
    let mut compiler = Compiler::new(groups.to_vec());
    for (feed, listed, action) in [
        (0, "school.example", "sinkhole"),
        (0, "192.0.2.0/25", "sinkhole"),
        (1, "good.evil.example", "passthru"),
        (1, "mine.example", "sinkhole"),
        (1, "exact.example", "passthru"),
        (1, "203.0.113.0/24", "passthru"),
        (1, "203.0.113.2/32", "sinkhole"),
        (1, "192.0.2.128/25", "sinkhole"),
    ] {
        let (action, mode) = (action.parse().unwrap(), Mode::Enforced);
        let listing = Listing { feed, scope: Scope::Subtree, action, mode, family: None, severity: None };
        match listed.parse() {
            Ok(net) => {
                let listing = Listing { scope: Scope::Exact, ..listing };
                compiler.add_network(Trigger::Address, net, listing).unwrap();
            }
            Err(_) => compiler.add(&Name::from_presentation(listed).unwrap(), listing).unwrap(),
        }
    }
    let index = compiler.finish().unwrap().into_index().unwrap();
    let agencies = vec![Some("so-tttt".into()), None];
    let own = Arc::new(Own { index, agencies, digest: [1; 32], changed_at: 1_800_000_000_000_000 });
    let image = Arc::clone(sample().image());
    let content = |agency: Option<&str>, withheld: &[&str]| {
        let withheld = withheld.iter().map(|feed| (*feed).into()).collect();
        Content::new(Arc::clone(&image), Some(Arc::clone(&own)), agency.map(Into::into), withheld)
    };
    let everybody = content(None, &["other"]);
    let (lines, summary) = list(&everybody, |_| {});
    assert_eq!(
        lines,
        [
            "192.0.2.128/25",
            "203.0.113.2",
            "2001:db8:0:0:1::/127",
            "a\\;b.example",
            "evil.example",
            "mine.example"
        ]
    );
    assert_eq!(summary.few, LeftOut { feeds: vec!["other".into()], own: 2 });
    assert_eq!(summary.few.to_string(), "feeds other and 2 of the analysts' rules");
    let (lines, summary) = list(&content(Some("so-tttt"), &[]), |it| it.kind = Kind::Addresses);
    assert_eq!(lines, ["192.0.2.0/24", "203.0.113.2", "2001:db8:0:0:1::/127"]);
    assert!(summary.few.is_empty());
    // Exceptions hold whatever is asked for, blocks only where they are.
    let authority = vec!["authority".to_owned()].leak();
    let (lines, _) = list(&everybody, |it| it.feeds = Feeds::Named(authority));
    assert_eq!(lines, ["2001:db8:0:0:1::/127", "a\\;b.example", "evil.example"]);
    let (lines, _) =
        list(&everybody, |it| (it.format, it.kind, it.feeds) = (Format::Rpz, Kind::Names, Feeds::All));
    for (record, is_there) in [
        ("good.evil.example 30 CNAME rpz-passthru.", true),
        ("*.good.evil.example 30 CNAME rpz-passthru.", true),
        ("exact.example 30 CNAME rpz-passthru.", true),
        ("mine.example 30 A 10.10.10.10", true),
        ("school.example 30 A 10.10.10.10", false),
    ] {
        assert_eq!(lines.iter().any(|line| line == record), is_there, "{record}: {lines:#?}");
    }
    assert!(lines[1].starts_with("@ SOA localhost. root.localhost. 1800000000 "), "{}", lines[1]);
}
