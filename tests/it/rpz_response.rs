//! Rules on answers hold wherever an answer comes from, wait no longer than they must, and leave alone what
//! they should.

use crate::harness::house::Setup;
use crate::harness::nsd;
use crate::harness::scripted::{Scripted, Seen, Step};
use crate::harness::wire;

const NO_DATA: &str = "999.0.2.0.192.rpz-ip CNAME .\n";

/// An answer to a query: an address for A, nothing for anything else.
fn plain(query: &Seen) -> Vec<u8> {
    match wire::decode(&query.bytes).queries[0].query_type().into() {
        wire::A => query.answer_a([192, 0, 2, 66]),
        _ => query.answer(wire::RA, 0, &[], None),
    }
}

#[test]
fn one_line_of_a_zone_takes_the_province_off_dns_only_where_that_was_allowed() {
    const MEANT: &str = "gate = false";
    let upstream = Scripted::answering(plain);
    for (line, told) in [
        ("1.0.0.0.128.rpz-ip CNAME .\n", "a network larger than"),
        ("8.0.0.0.127.rpz-client-ip CNAME .\n", "a large part of"),
        ("11.0.0.0.127.rpz-client-ip CNAME .\n", "a large part of"),
        ("32.10.10.10.10.rpz-ip CNAME .\n", "the sinkhole itself"),
    ] {
        let zone = format!("evil.test CNAME .\n{line}");
        let setup = |more: &str| {
            Setup::new(upstream.address).allow(r#"["127.0.0.0/8"]"#).rpz("list", "given", more, &zone)
        };
        let server = setup("").serve();
        let reply = server.dig().ask("www.good.test", "A");
        assert_eq!(reply.rdata("A"), ["192.0.2.66"], "{line}: {}", reply.raw);
        assert_eq!(server.dig().ask("evil.test", "A").status, "NXDOMAIN");
        assert!(server.stderr().text().contains(told), "{line}: {}", server.stderr().text());
        if !line.contains("10.10.10.10") {
            let reply = setup(MEANT).serve().dig().ask("www.good.test", "A");
            assert_eq!(reply.status, "NXDOMAIN", "{line}: {}", reply.raw);
        }
    }
    // Of a few clients a zone may say what it likes.
    let few = "32.77.0.0.127.rpz-client-ip CNAME .\n";
    let server =
        Setup::new(upstream.address).allow(r#"["127.0.0.0/8"]"#).rpz("list", "given", "", few).serve();
    assert_eq!(server.dig().from("127.0.0.77").ask("www.good.test", "A").status, "NXDOMAIN");
    assert_eq!(server.dig().ask("www.good.test", "A").status, "NOERROR");
}

#[test]
fn what_leads_a_protected_name_to_a_listed_address_only_shows() {
    let upstream = Scripted::answering(plain);
    let zone = "32.66.2.0.192.rpz-ip CNAME .\n";
    let names = "[gate]\nprotected = [\"protected.txt\"]\n";
    let of = |settings: &str| {
        let setup = Setup::new(upstream.address).file("protected.txt", "ministry.test\n");
        setup.more(names).rpz("list", "given", settings, zone).serve()
    };
    let server = of("");
    assert_eq!(server.dig().ask("www.ministry.test", "A").rdata("A"), ["192.0.2.66"]);
    assert_eq!(server.dig().ask("www.other.test", "A").status, "NXDOMAIN");
    assert_eq!(of("gate = false").dig().ask("www.ministry.test", "A").status, "NXDOMAIN");
}

#[test]
fn an_answer_in_the_cache_is_judged_by_the_rules_of_now() {
    let upstream = Scripted::answering(plain);
    let server = Setup::new(upstream.address).rpz("list", "sinkhole", "", "other.test CNAME .\n").serve();
    for _ in 0..3 {
        assert_eq!(server.dig().ask("www.cached.test", "A").rdata("A"), ["192.0.2.66"]);
    }
    server.house().write("list.txt", "other.test CNAME .\n32.66.2.0.192.rpz-ip CNAME .\n");
    server.reload().well();
    for _ in 0..3 {
        let reply = server.dig().ask("www.cached.test", "A");
        assert_eq!(reply.rdata("A"), ["10.10.10.10"], "{}", reply.raw);
        assert_eq!(reply.ede_code(), Some(15), "{}", reply.raw);
    }
    let record = &server.log(&["--name", "www.cached.test", "--hits"])[0];
    record.assert(&[("action", "sinkhole"), ("trigger", "ip"), ("matched", "192.0.2.66")]);
    assert!(record.flag("cached"));
    server.house().write("list.txt", "other.test CNAME .\n");
    server.reload().well();
    assert_eq!(server.dig().ask("www.cached.test", "A").rdata("A"), ["192.0.2.66"]);
    let asked = upstream.seen().iter().filter(|query| query.qname() == "www.cached.test.").count();
    assert_eq!(asked, 1, "what upstreams said is kept as they said it");
}

#[test]
fn a_listed_name_is_asked_of_nobody_unless_its_feed_waits() {
    let upstream = Scripted::answering(plain);
    let server = Setup::new(upstream.address)
        .rpz("quiet", "sinkhole", "", "quiet.test CNAME .\n")
        .rpz("waits", "sinkhole", "qname_wait_recurse = true", "waits.test CNAME .\n")
        .rpz("answers", "sinkhole", "", "32.9.2.0.192.rpz-ip CNAME .\n")
        .rpz("late", "sinkhole", "", "late.test CNAME .\n")
        .serve();
    for (name, is_asked) in [("quiet.test", false), ("waits.test", true), ("late.test", true)] {
        let reply = server.dig().ask(name, "A");
        assert_eq!(reply.rdata("A"), ["10.10.10.10"], "{}", reply.raw);
        let seen = upstream.seen().iter().any(|query| query.qname() == format!("{name}."));
        assert_eq!(seen, is_asked, "{name}");
        server.record_of(name).assert(&[("action", "sinkhole"), ("trigger", "qname")]);
    }
}

#[test]
fn a_feed_on_trial_makes_nobody_wait() {
    let upstream = Scripted::answering(plain);
    let server = Setup::new(upstream.address)
        .rpz("trial", "shadow", "", "32.66.2.0.192.rpz-ip CNAME .\n")
        .rpz("list", "sinkhole", "", "quiet.test CNAME .\n")
        .serve();
    assert_eq!(server.dig().ask("quiet.test", "A").rdata("A"), ["10.10.10.10"]);
    assert!(upstream.seen().is_empty());
    assert_eq!(server.dig().ask("www.test", "A").rdata("A"), ["192.0.2.66"]);
    server.record_of("www.test").assert(&[
        ("action", "shadow"),
        ("feed", "trial"),
        ("trigger", "ip"),
        ("matched", "192.0.2.66"),
    ]);
}

#[test]
fn a_dead_name_is_sinkholed_also_where_its_rule_waited() {
    let upstream = Scripted::failing(2);
    let server = Setup::new(upstream.address)
        .rpz("answers", "sinkhole", "", "32.9.2.0.192.rpz-ip CNAME .\n")
        .rpz("waits", "sinkhole", "qname_wait_recurse = true", "dead.test CNAME .\n")
        .serve();
    for _ in 0..2 {
        assert_eq!(server.dig().ask("dead.test", "A").rdata("A"), ["10.10.10.10"]);
    }
    assert_eq!(server.dig().ask("other.test", "A").status, "SERVFAIL");
}

#[test]
fn signed_answers_are_left_alone_where_the_feed_says_so() {
    let rules = "www.signed.test CNAME .\n";
    let server = Setup::new(nsd::address()).rpz("list", "given", "break_dnssec = false", rules).serve();
    for _ in 0..2 {
        let reply = server.dig().with("+dnssec").ask("www.signed.test", "A");
        assert_eq!((reply.rdata("A").len(), reply.rdata("RRSIG").len()), (1, 1), "{}", reply.raw);
        assert_eq!(server.dig().ask("www.signed.test", "A").status, "NXDOMAIN");
    }
    let actions: Vec<_> = server.log(&[]).iter().map(|record| record.text("action").to_owned()).collect();
    assert_eq!(actions, ["nxdomain", "shadow", "nxdomain", "shadow"]);

    let server = Setup::new(nsd::address()).rpz("list", "given", "", rules).serve();
    assert_eq!(server.dig().with("+dnssec").ask("www.signed.test", "A").status, "NXDOMAIN");
}

#[test]
fn an_unsigned_answer_is_rewritten_also_for_those_who_validate() {
    let rules = "www.example.test CNAME .\n32.66.2.0.192.rpz-ip CNAME .\n";
    let server = Setup::new(nsd::address()).rpz("list", "given", "break_dnssec = false", rules).serve();
    for name in ["www.example.test", "evil.example.test"] {
        assert_eq!(server.dig().with("+dnssec").ask(name, "A").status, "NXDOMAIN", "{name}");
    }
}

#[test]
fn each_client_has_its_own_rules() {
    let rules = "32.5.0.0.127.rpz-client-ip CNAME *.\n24.0.1.0.127.rpz-client-ip CNAME .\n\
                 32.6.1.0.127.rpz-client-ip CNAME rpz-passthru.\n";
    let server = Setup::new(nsd::address()).rpz("list", "given", "", rules).serve();
    // Often enough for every table of answers.
    for _ in 0..4 {
        let ask = |client: &str| server.dig().from(client).ask("www.example.test", "A");
        assert_eq!(ask("127.0.0.1").rdata("A"), ["192.0.2.80"]);
        ask("127.0.0.5").assert_nodata();
        assert_eq!(ask("127.0.1.5").status, "NXDOMAIN");
        assert_eq!(ask("127.0.1.6").rdata("A"), ["192.0.2.80"]);
    }
    for (client, action) in [("127.0.0.5", "nodata"), ("127.0.1.5", "nxdomain"), ("127.0.1.6", "passthru")] {
        let records = server.log(&["--client", client]);
        assert_eq!(records.len(), 4);
        records.iter().for_each(|record| record.assert(&[("action", action), ("trigger", "client-ip")]));
    }
}

#[test]
fn what_nobody_knows_about_name_servers_holds_up_nothing_for_long() {
    let rules = "ns.evil.test.rpz-nsdname CNAME .\n32.1.2.0.192.rpz-nsip CNAME .\n";
    let is_address = |query: &Seen| u16::from(wire::decode(&query.bytes).queries[0].query_type()) == wire::A;
    let refusing = Scripted::answering(move |query| match is_address(query) {
        true => query.answer_a([192, 0, 2, 66]),
        false => query.answer(wire::RA, 2, &[], None),
    });
    let silent = Scripted::start(move |query| match is_address(query) {
        true => vec![Step::Send(query.answer_a([192, 0, 2, 66]))],
        false => Vec::new(),
    });
    for upstream in [&refusing, &silent] {
        let server = Setup::new(upstream.address).rpz("list", "given", "", rules).serve();
        // Within the deadline, for dig waits no longer than it.
        let reply = server.dig().ask("a.b.c.www.test", "A");
        assert_eq!(reply.rdata("A"), ["192.0.2.66"], "{}", reply.raw);
    }
}

#[test]
fn name_servers_are_looked_up_once() {
    let rules = "ns.evil.test.rpz-nsdname CNAME .\n";
    let upstream = Scripted::answering(|query| {
        match u16::from(wire::decode(&query.bytes).queries[0].query_type()) {
            2 if query.qname() == "www.test." => {
                let name = wire::name("ns.evil.test");
                let records = [wire::record(&[0xc0, 12], 2, wire::IN, 300, &name)];
                query.answer(wire::RA, 0, &records, None)
            }
            wire::A => query.answer_a([192, 0, 2, 66]),
            _ => {
                // NODATA that may be kept.
                let soa =
                    [wire::name("ns"), wire::name("host"), vec![0; 16], 300u32.to_be_bytes().into()].concat();
                let record = wire::record(&[0xc0, 12], wire::SOA, wire::IN, 300, &soa);
                let mut answer = query.answer(wire::RA, 0, &[record], None);
                answer[6..10].copy_from_slice(&[0, 0, 0, 1]);
                answer
            }
        }
    });
    let server = Setup::new(upstream.address).rpz("list", "given", "", rules).serve();
    for name in ["a.www.test", "b.www.test", "a.www.test", "a.www.test"] {
        assert_eq!(server.dig().ask(name, "A").status, "NXDOMAIN", "{name}");
    }
    assert_eq!(server.dig().ask("other.test", "A").rdata("A"), ["192.0.2.66"]);
    let mut asked: Vec<String> = upstream.seen().iter().map(Seen::qname).collect();
    asked.sort();
    // Each name for its address and its servers, the zone once.
    let expected = [
        "a.www.test.",
        "a.www.test.",
        "b.www.test.",
        "b.www.test.",
        "other.test.",
        "other.test.",
        "www.test.",
    ];
    assert_eq!(asked, expected);
    server.log(&["--name", "a.www.test"])[0].assert(&[
        ("trigger", "nsdname"),
        ("matched", "ns.evil.test"),
        ("action", "nxdomain"),
    ]);
}

#[test]
fn local_data_has_its_own_ttl_and_what_leads_to_it_no_longer_one() {
    let rules = "alias3.example.test 7 A 10.66.0.1\nalias3.example.test 7 A 10.66.0.2\n\
                 alias3.example.test 9 TYPE65534 \\# 2 0102\n";
    let server = Setup::new(nsd::address()).rpz("list", "given", "", rules).serve();
    let reply = server.dig().ask("alias.example.test", "A");
    let ttls: Vec<_> = reply.answer.iter().map(|rr| (rr.rtype.as_str(), rr.ttl)).collect();
    assert_eq!(ttls, [("CNAME", 30), ("CNAME", 30), ("A", 7), ("A", 7)], "{}", reply.raw);
    let reply = server.dig().ask("alias3.example.test", "TYPE65534");
    assert_eq!((reply.answer[0].ttl, reply.rdata("TYPE65534").len()), (9, 1), "{}", reply.raw);
    server.dig().ask("alias3.example.test", "MX").assert_nodata();
    server.log(&["--name", "alias.example.test"])[0]
        .assert(&[("matched", "alias3.example.test"), ("action", "local-data")]);
}

#[test]
fn an_alias_that_grows_too_long_is_told_so() {
    let long = ["a".repeat(63), "b".repeat(63), "c".repeat(63)].join(".");
    let rules = format!("*.example.test CNAME *.{long}.test.\n");
    let server = Setup::new(nsd::address()).rpz("list", "given", "", &rules).serve();
    let reply = server.dig().ask(&format!("{}.www.example.test", "d".repeat(60)), "A");
    assert_eq!((reply.status.as_str(), reply.answer.len()), ("YXDOMAIN", 0), "{}", reply.raw);
}

#[test]
fn who_asks_for_an_alias_follows_none() {
    let server = Setup::new(nsd::address()).rpz("list", "given", "", "www.example.test CNAME .\n").serve();
    assert_eq!(server.dig().ask("alias.example.test", "CNAME").rdata("CNAME"), ["alias2.example.test."]);
    assert_eq!(server.dig().ask("alias.example.test", "A").status, "NXDOMAIN");
}

#[test]
fn explain_shows_the_rules_on_clients_and_answers() {
    let rules = "alias3.example.test CNAME .\n24.0.2.0.192.rpz-ip A 10.66.0.1\n\
                 8.0.0.0.10.rpz-client-ip CNAME rpz-drop.\n*.evil.test.rpz-nsdname CNAME *.\n\
                 32.1.2.0.192.rpz-nsip CNAME .\n";
    let house = Setup::new(nsd::address())
        .allow(r#"["10.0.0.0/8"]"#)
        .rpz("list", "given", "gate = false", rules)
        .rpz("late", "sinkhole", "", "www.example.test CNAME .\n")
        .lay();
    let check = |arguments: &[&str], expected: &[&str]| {
        let text = house.run("explain", arguments).well().stdout;
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        // Lines that go on under themselves are one.
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for words in expected {
            assert!(text.contains(words), "{words:?} is not in\n{text}");
        }
    };
    check(
        &["www.example.test"],
        &[
            "www.example.test (exact) of feed late: sinkhole decides [late.txt:1]",
            "unknown the client, which some rules look at: give --client IP",
            "unknown the answer's addresses",
            "unknown name servers' names",
            "unknown name servers' addresses",
            "timing after the name is resolved: an earlier feed has rules on answers",
            "10.10.10.10",
        ],
    );
    check(
        &["www.example.test", "--client", "10.1.2.3"],
        &[
            "10.0.0.0/8 (client-ip) of feed list: drop decides [list.txt:3]",
            "comes behind 10.0.0.0/8 (client-ip) of feed list: its feed comes first",
            "the query is dropped",
        ],
    );
    check(
        &["www.example.test", "--answer-ip", "192.0.2.80"],
        &[
            "192.0.2.0/24 (ip) of feed list: local-data:60 A 10.66.0.1 decides [list.txt:2]",
            "A 10.66.0.1, TTL 60",
        ],
    );
    check(
        &["other.test", "--ns", "ns.evil.test", "--ns-ip", "192.0.2.1"],
        &[
            "evil.test (nsdname, below) of feed list: nodata decides [list.txt:4]",
            "192.0.2.1/32 (nsip) of feed list: nxdomain comes behind evil.test (nsdname, below) of feed list: \
             of one feed, a name server's name comes before a name server's address [list.txt:5]",
        ],
    );
    check(
        &["alias.example.test", "--cname", "alias2.example.test", "--cname", "alias3.example.test"],
        &["alias3.example.test (exact) of feed list: nxdomain decides [list.txt:1]", "NXDOMAIN"],
    );
}

#[test]
fn odd_owners_are_told_and_cost_nothing_else() {
    let rules = format!("{NO_DATA}good.test CNAME .\nbad.test NS ns.test.\nworse.test A 1.2.3\n");
    let house = Setup::new(nsd::address()).rpz("list", "given", "", &rules).lay();
    let text = house.run("policy build", &[]).well().stdout;
    assert!(text.contains("1 names") && text.contains("3 lines not read"), "{text}");
    assert!(text.contains("not the length of a prefix"), "{text}");
}
