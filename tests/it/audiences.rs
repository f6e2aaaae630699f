//! Which feeds apply to whom, addresses that lists have as such, and what feeds say of their own.

use crate::harness::house::Setup;
use crate::harness::scripted::{Scripted, Seen};
use crate::harness::server::Server;
use crate::harness::wire;

/// An address for A, nothing for anything else.
fn plain(query: &Seen) -> Vec<u8> {
    match wire::decode(&query.bytes).queries[0].query_type().into() {
        wire::A => query.answer_a([192, 0, 2, 66]),
        _ => query.answer(wire::RA, 0, &[], None),
    }
}

fn feed(name: &str, settings: &str) -> String {
    format!("[[feed]]\nname = \"{name}\"\nsource = \"{name}.txt\"\n{settings}\n")
}

#[track_caller]
fn check(server: &Server, client: &str, qname: &str, expected: &str) {
    let reply = server.dig().from(client).ask(qname, "A");
    assert_eq!(reply.rdata("A"), [expected], "{qname} for {client}: {}", reply.raw);
}

#[test]
fn a_feed_applies_to_whom_it_says() {
    let upstream = Scripted::answering(plain);
    let tables = [
        feed("all", ""),
        feed("only", "agencies = [\"schools\", \"c\"]"),
        feed("except", "except_agencies = [\"a\"]"),
        feed("mixed", "agencies = [\"schools\"]\nexcept_agencies = [\"b\"]"),
        "[[group]]\nid = \"schools\"\nagencies = [\"a\", \"b\"]\n".to_owned(),
    ];
    let mut setup = Setup::new(upstream.address).more(&tables.concat());
    for name in ["all", "only", "except", "mixed"] {
        setup = setup.file(&format!("{name}.txt"), &format!("{name}.test\nshared.test\n"));
    }
    for (id, network) in
        [("a", "127.1.0.0/16"), ("b", "127.2.0.0/16"), ("c", "127.3.0.0/16"), ("d", "127.4.0.0/16")]
    {
        setup = setup.agency(id, &format!("Agency {id}"), network, "it@test");
    }
    let server = setup.serve();
    // Which of the feeds' names lead to the sinkhole.
    for (client, listed) in [
        ("127.1.0.1", ["all", "only", "mixed"].as_slice()),
        ("127.2.0.1", &["all", "only", "except"]),
        ("127.3.0.1", &["all", "only", "except"]),
        ("127.4.0.1", &["all", "except"]),
        ("127.9.0.1", &["all", "except"]),
    ] {
        // More than once: an answer that is kept for one must not be given to another.
        for _ in 0..3 {
            for name in ["all", "only", "except", "mixed"] {
                let expected = if listed.contains(&name) { "10.10.10.10" } else { "192.0.2.66" };
                check(&server, client, &format!("{name}.test"), expected);
            }
            check(&server, client, "shared.test", "10.10.10.10");
        }
    }
    let record = &server.log(&["--name", "mixed.test", "--client", "127.1.0.1"])[0];
    record.assert(&[("action", "sinkhole"), ("feed", "mixed"), ("agency", "a")]);
}

#[test]
fn a_wrong_audience_is_told() {
    let tables = [
        feed("one", "agencies = [\"scools\"]"),
        "[[agency]]\nid = \"a\"\nname = \"A\"\nnetworks = [\"127.1.0.0/16\"]\n".to_owned(),
        "[[group]]\nid = \"schools\"\nagencies = [\"a\", \"x\"]\n".to_owned(),
        "[[group]]\nid = \"a\"\nagencies = [\"a\"]\n".to_owned(),
        feed("analysts", ""),
    ];
    let house = Setup::new(([127, 0, 0, 1], 9).into()).more(&tables.concat()).lay();
    let checked = house.run("check", &[]);
    assert_eq!(checked.code(), 1);
    for expected in [
        "feed.agencies: \"scools\" is not usable: there is none of this id; is \"schools\" meant?",
        "group.agencies: \"x\" is not usable",
        "group.id: \"a\" is there twice",
        "feed.name: \"analysts\" is not usable",
    ] {
        assert!(checked.stderr.contains(expected), "{expected}\n{}", checked.stderr);
    }
}

#[test]
fn an_address_in_a_list_is_a_rule_on_answers() {
    let upstream = Scripted::answering(|query: &Seen| match &*query.qname() {
        "six.test." => query.answer(wire::RA, 0, &[], None),
        "c2.test." => query.answer_a([198, 51, 100, 7]),
        "walled.test." => query.answer_a([203, 0, 113, 53]),
        _ => plain(query),
    });
    let tables = [
        feed("first", "family = \"Emotet\"\nseverity = \"critical\""),
        feed("sinks", "action = \"shadow\"\nfamily = \"sinkholed\""),
        feed("late", ""),
        "[[zone]]\nname = \"protected.test\"\nfile = \"zone.txt\"\n".to_owned(),
    ];
    let server = Setup::new(upstream.address)
        .more(&tables.concat())
        .file("first.txt", "198.51.100.0/24\n192.0.2.66\n10.10.10.10\n127.0.0.1\n0.0.0.0/1\n")
        .file("sinks.txt", "203.0.113.53\n")
        .file("late.txt", "dead.test\n")
        .file(
            "zone.txt",
            "@ 60 SOA ns h 1 60 60 60 60\n@ 60 NS ns\nns 60 A 192.0.2.1\nwww 60 CNAME cdn.other.test.\n",
        )
        .serve();
    check(&server, "127.0.0.1", "c2.test", "10.10.10.10");
    server.record_of("c2.test").assert(&[
        ("action", "sinkhole"),
        ("feed", "first"),
        ("trigger", "ip"),
        ("matched", "198.51.100.7"),
        ("family", "Emotet"),
        ("severity", "critical"),
    ]);
    // A name of a later feed is asked of nobody for all that.
    check(&server, "127.0.0.1", "dead.test", "10.10.10.10");
    assert!(!upstream.seen().iter().any(|query| query.qname() == "dead.test."));
    // What leads to a sinkhole that others run tells of an infection, and is left as it is.
    check(&server, "127.0.0.1", "walled.test", "203.0.113.53");
    server.record_of("walled.test").assert(&[
        ("action", "shadow"),
        ("feed", "sinks"),
        ("family", "sinkholed"),
    ]);
    // The province's own name is not taken by an address that it shares with others.
    let reply = server.dig().ask("www.protected.test", "A");
    assert_eq!(reply.rdata("A"), ["192.0.2.66"], "{}", reply.raw);
    server.record_of("www.protected.test").assert(&[
        ("action", "shadow"),
        ("feed", "first"),
        ("trigger", "ip"),
        ("matched", "192.0.2.66"),
    ]);
    check(&server, "127.0.0.1", "cdn.other.test", "10.10.10.10");
    let checked = server.house().run("check", &[]).well().stdout;
    assert!(checked.contains("feed first (plain): 0 names, 2 addresses, 3 lines not read"), "{checked}");
    for reason in ["of the sinkhole itself", "local or special", "larger than a /8"] {
        assert!(checked.contains(reason), "{reason}\n{checked}");
    }
}

#[test]
fn addresses_are_enforced_or_ignored_where_a_feed_says_so() {
    let upstream = Scripted::answering(plain);
    let zone = "[[zone]]\nname = \"protected.test\"\nfile = \"zone.txt\"\n";
    let serve = |treatment: &str| {
        Setup::new(upstream.address)
            .more(&[&feed("list", &format!("addresses = \"{treatment}\"")), zone].concat())
            .file("list.txt", "192.0.2.66\n")
            .file(
                "zone.txt",
                "@ 60 SOA ns h 1 60 60 60 60\n@ 60 NS ns\nns 60 A 192.0.2.1\nwww 60 CNAME cdn.test.\n",
            )
            .serve()
    };
    let enforced = serve("enforced");
    check(&enforced, "127.0.0.1", "other.test", "10.10.10.10");
    check(&enforced, "127.0.0.1", "www.protected.test", "10.10.10.10");
    let ignored = serve("ignore");
    check(&ignored, "127.0.0.1", "other.test", "192.0.2.66");
}

#[test]
fn a_feed_has_a_sinkhole_of_its_own() {
    let upstream = Scripted::answering(plain);
    let tables = [
        feed("own", "sinkhole_ipv4 = \"10.66.0.1\""),
        feed("none", "sinkhole_ipv6 = \"\""),
        feed("common", ""),
    ];
    let server = Setup::new(upstream.address)
        .more(&tables.concat())
        .file("own.txt", "own.test\n")
        .file("none.txt", "none.test\n")
        .file("common.txt", "common.test\n")
        .serve();
    for (name, ipv4, ipv6) in [
        ("own.test", &["10.66.0.1"][..], &["fd00::10"][..]),
        ("none.test", &["10.10.10.10"], &[]),
        ("common.test", &["10.10.10.10"], &["fd00::10"]),
    ] {
        assert_eq!(server.dig().ask(name, "A").rdata("A"), ipv4);
        assert_eq!(server.dig().ask(name, "AAAA").rdata("AAAA"), ipv6);
    }
    let log = server.house().run("log", &["--name", "own.test", "--format", "csv"]).well().stdout;
    assert!(log.contains(",10.66.0.1,"), "{log}");
}
