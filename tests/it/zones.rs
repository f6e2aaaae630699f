//! Local zones: answered with authority, reloaded when their file changes, and the old one kept when it is no zone.

use std::fs;
use std::net::SocketAddr;

use crate::harness::dig::Reply;
use crate::harness::house::{House, Setup};
use crate::harness::namespace::inside;
use crate::harness::nsd;
use crate::harness::scripted::{Scripted, Step};
use crate::harness::server::Server;
use crate::harness::{PATIENCE, run, wire};

pub(crate) const ZONE: &str = "\
$TTL 1h
@       SOA   ns1 hostmaster 2026112501 1h 15m 1w 5m
        NS    ns1
ns1     A     10.1.0.53
www     A     10.1.0.80
        AAAA  fd00::80
alias   CNAME www
out     CNAME www.example.test.
far     CNAME out
evil    CNAME www.evil.example.
loop1   CNAME loop2
loop2   CNAME loop1
*.wild  A     10.1.0.99
old     DNAME example.test.
sub     NS    ns.sub
ns.sub  A     127.0.2.53
";

pub(crate) const TABLES: &str = "\
[[zone]]
name = \"Internal.example\"
file = \"internal.zone\"
[[zone]]
name = \"1.10.in-addr.arpa\"
file = \"reverse.zone\"
";

const REVERSE: &str = "@ 1h SOA ns1.internal.example. h 1 1h 15m 1w 5m\n NS ns1.internal.example.\n80.0 PTR www.internal.example.\n";

fn lay(setup: Setup) -> House {
    let house = setup.more(TABLES).lay();
    house.write("internal.zone", ZONE);
    house.write("reverse.zone", REVERSE);
    house
}

fn serve() -> Server {
    lay(Setup::new(nsd::address())).serve()
}

#[track_caller]
fn check(reply: &Reply, status: &str, answer: &[&str]) {
    let got: Vec<_> =
        reply.answer.iter().map(|rr| format!("{} {} {}", rr.name, rr.rtype, rr.rdata)).collect();
    assert_eq!(
        (reply.status.as_str(), got),
        (status, answer.iter().map(ToString::to_string).collect()),
        "{}",
        reply.raw
    );
}

#[test]
fn they_are_answered_with_authority() {
    let server = serve();
    let ask = |name: &str, qtype: &str| server.dig().ask(name, qtype);
    let reply = ask("wWw.internal.EXAMPLE", "A");
    check(&reply, "NOERROR", &["wWw.internal.EXAMPLE. A 10.1.0.80"]);
    assert!(reply.has_flag("aa") && reply.has_flag("ra") && !reply.has_flag("ad"), "{}", reply.raw);
    assert_eq!(reply.answer[0].ttl, 3600);
    check(
        &ask("alias.internal.example", "AAAA"),
        "NOERROR",
        &["alias.internal.example. CNAME www.internal.example.", "www.internal.example. AAAA fd00::80"],
    );
    check(&ask("x.wild.internal.example", "A"), "NOERROR", &["x.wild.internal.example. A 10.1.0.99"]);
    check(
        &ask("80.0.1.10.in-addr.arpa", "PTR"),
        "NOERROR",
        &["80.0.1.10.in-addr.arpa. PTR www.internal.example."],
    );
    for (name, status) in [("nothing.internal.example", "NXDOMAIN"), ("wild.internal.example", "NOERROR")] {
        let reply = ask(name, "A");
        check(&reply, status, &[]);
        let soa = &reply.authority[0];
        assert_eq!((&*soa.name, &*soa.rtype, soa.ttl), ("internal.example.", "SOA", 300), "{}", reply.raw);
        assert!(reply.has_flag("aa"), "{}", reply.raw);
    }
    // Its other addresses are nobody's business (RFC 6303), and a name that is there below is not denied.
    check(&ask("1.2.3.10.in-addr.arpa", "PTR"), "NXDOMAIN", &[]);
    check(&ask("10.in-addr.arpa", "PTR"), "NOERROR", &[]);
    let record = server.record_of("wWw.internal.example");
    record.assert(&[("action", "local"), ("rcode", "NOERROR"), ("qtype", "A"), ("feed", "")]);
    assert_eq!(record.0["answers"], serde_json::json!(["10.1.0.80"]));
}

#[test]
fn aliases_that_leave_are_resolved() {
    let server =
        lay(Setup::new(nsd::address()).feed_as("alias", "cname:far.internal.example.", "walled.example\n"))
            .serve();
    for transport in ["+notcp", "+tcp"] {
        let ask = |name: &str| server.dig().with(transport).ask(name, "A");
        let reply = ask("far.internal.example");
        let chain = [
            "far.internal.example. CNAME out.internal.example.",
            "out.internal.example. CNAME www.example.test.",
        ];
        let end = "www.example.test. A 192.0.2.80";
        check(&reply, "NOERROR", &[chain[0], chain[1], end]);
        check(
            &ask("www.old.internal.example"),
            "NOERROR",
            &[
                "old.internal.example. DNAME example.test.",
                "www.old.internal.example. CNAME www.example.test.",
                end,
            ],
        );
        let reply = ask("nothing.old.internal.example");
        assert_eq!((reply.status.as_str(), reply.answer.len()), ("NXDOMAIN", 2), "{}", reply.raw);
        // A rule may lead into a local zone, and from there on.
        check(
            &ask("www.walled.example"),
            "NOERROR",
            &["www.walled.example. CNAME far.internal.example.", chain[0], chain[1], end],
        );
    }
    let reply = server.dig().with("+norecurse").ask("out.internal.example", "A");
    check(&reply, "NOERROR", &["out.internal.example. CNAME www.example.test."]);
    let reply = server.dig().ask("loop1.internal.example", "A");
    assert_eq!((reply.status.as_str(), reply.ede_code()), ("SERVFAIL", Some(0)), "{}", reply.raw);
    server.log(&["--name", "far.internal.example"])[0].assert(&[("action", "forward"), ("rcode", "NOERROR")]);
}

#[test]
fn a_cut_is_a_referral_for_who_wants_no_recursion() {
    let server = serve();
    let reply = server.dig().with("+norecurse").ask("x.sub.internal.example", "A");
    check(&reply, "NOERROR", &[]);
    assert!(!reply.has_flag("aa"), "{}", reply.raw);
    assert_eq!(
        (&*reply.authority[0].name, &*reply.authority[0].rdata),
        ("sub.internal.example.", "ns.sub.internal.example.")
    );
    assert!(reply.raw.contains("127.0.2.53"), "{}", reply.raw);
}

#[test]
fn below_a_cut_its_servers_are_asked() {
    inside(|| {
        let upstream = Scripted::answering(|query| query.answer_a([192, 0, 2, 7]));
        let at = |address: [u8; 4]| SocketAddr::from((address, 53));
        let agency = Scripted::at(at([127, 0, 2, 53]), |query| {
            assert_eq!(query.flags() & wire::RD, 0, "it resolves for nobody");
            let alias =
                wire::record(&[0xc0, 12], wire::CNAME, wire::IN, 300, &wire::name("www.example.test"));
            vec![Step::Send(match &*query.qname() {
                "alias.sub.internal.example." => query.answer(wire::AA, 0, &[alias], None),
                _ => query.answer(wire::AA, 0, &[query.a([10, 2, 0, 80])], None),
            })]
        });
        let house = lay(Setup::new(upstream.address));
        // Its server is named in another zone; nobody knows where the last one's is.
        let more = "other NS ns.internal.example.\nns A 127.0.3.53\nlost NS ns.elsewhere.example.\n";
        house.write("internal.zone", &format!("{ZONE}{more}below CNAME x.sub\n"));
        let mut server = house.serve();
        let ask = |name: &str| server.dig().ask(name, "A");
        let reply = ask("x.sub.internal.example");
        assert_eq!((reply.rdata("A"), reply.has_flag("aa")), (vec!["10.2.0.80"], false), "{}", reply.raw);
        assert_eq!(ask("below.internal.example").rdata("A"), ["10.2.0.80"]);
        server.record_of("x.sub.internal.example").assert(&[("action", "forward"), ("rcode", "NOERROR")]);
        assert!(upstream.seen().is_empty());
        // What they are no masters of is for the others to say, and what has no server here.
        let reply = ask("alias.sub.internal.example");
        assert_eq!(reply.rdata("A"), ["192.0.2.7"], "{}", reply.raw);
        assert_eq!(ask("x.lost.internal.example").rdata("A"), ["192.0.2.7"]);

        // Another server, by a changed file; and then one that the configuration has.
        assert_eq!(ask("x.other.internal.example").status, "SERVFAIL");
        let moved =
            Scripted::at(at([127, 0, 4, 53]), |query| vec![Step::Send(query.answer_a([10, 4, 0, 80]))]);
        let text = format!("{ZONE}{more}").replace("127.0.2.53", "127.0.4.53").replace("2501", "2502");
        server.house().write("internal.zone", &text);
        wait_for(&server, "x.sub.internal.example", "10.4.0.80");
        let asked = agency.seen().len();
        let upstreams =
            format!("[[route]]\ndomain = \"sub.internal.example\"\nupstreams = [\"{}\"]\n", upstream.address);
        let config = server.house().read("sachdns.toml") + &upstreams;
        server.house().write("sachdns.toml", &config);
        server.reload().well();
        assert_eq!(ask("x.sub.internal.example").rdata("A"), ["192.0.2.7"]);
        assert_eq!(agency.seen().len(), asked);
        drop(moved);
        server.assert_well();
    });
}

#[test]
fn the_policy_decides_first() {
    // The gate would keep such a feed out.
    let feed = "[[feed]]\nname = \"authority\"\nsource = \"list.txt\"\nformat = \"plain\"\naction = \"sinkhole\"\ngate = false\n";
    let setup = Setup::new(nsd::address()).more(feed).file("list.txt", "www.internal.example\n");
    let server = lay(setup).serve();
    assert_eq!(server.dig().ask("www.internal.example", "A").rdata("A"), ["10.10.10.10"]);
    assert_eq!(server.dig().ask("x.wild.internal.example", "A").rdata("A"), ["10.1.0.99"]);
}

/// Asks until the answer is the wanted one: a changed file is found by a look every few seconds.
#[track_caller]
fn wait_for(server: &Server, name: &str, address: &str) {
    let until = std::time::Instant::now() + PATIENCE;
    while server.dig().ask(name, "A").rdata("A") != [address] {
        assert!(std::time::Instant::now() < until, "{name} is never {address}: {}", server.stderr().text());
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

#[test]
fn a_changed_file_is_taken_without_being_asked() {
    let server = serve();
    let changed = ZONE.replace("10.1.0.80", "10.1.0.81");
    server.house().write("internal.zone", &changed.replace("2026112501", "2026112502"));
    wait_for(&server, "www.internal.example", "10.1.0.81");
    // A number that does not grow is told, and one that shrinks.
    server.house().write(
        "internal.zone",
        &changed.replace("10.1.0.81", "10.1.0.82").replace("2026112501", "2026112502"),
    );
    server.reload().well();
    assert_eq!(server.dig().ask("www.internal.example", "A").rdata("A"), ["10.1.0.82"]);
    let says = |word: &str| server.stderr().wait(PATIENCE, |line| line.contains(word)).is_some();
    assert!(says("its serial number has not"));
    server.house().write("internal.zone", ZONE);
    server.reload().well();
    assert_eq!(server.dig().ask("www.internal.example", "A").rdata("A"), ["10.1.0.80"]);
    assert!(says("gone backwards"));
}

#[test]
fn a_file_that_is_no_zone_leaves_the_old_one() {
    let server = serve();
    server.house().write("internal.zone", &ZONE.replace("10.1.0.80", "10.1.0.800"));
    let finished = server.reload().well();
    assert!(
        finished.stdout.contains("zone internal.example is still the old one: internal.zone:5: "),
        "{finished:#?}"
    );
    assert_eq!(server.dig().ask("www.internal.example", "A").rdata("A"), ["10.1.0.80"]);
    fs::remove_file(server.house().path().join("reverse.zone")).unwrap();
    server.reload().well();
    assert_eq!(server.dig().ask("80.0.1.10.in-addr.arpa", "PTR").rdata("PTR"), ["www.internal.example."]);
    // One that was never there makes the reload fail as a whole.
    let config =
        server.house().read("sachdns.toml") + "[[zone]]\nname = \"new.example\"\nfile = \"new.zone\"\n";
    server.house().write("sachdns.toml", &config);
    let finished = server.reload();
    assert!(
        !finished.status.success() && finished.stderr.contains("new.zone: cannot be read"),
        "{finished:#?}"
    );
}

#[test]
fn a_zone_that_cannot_be_read_stops_the_start_and_the_check() {
    let house = lay(Setup::new(nsd::address()));
    house.write(
        "internal.zone",
        "@ SOA ns h 1 1 1 1 1\n@ NS ns\na CNAME b\na A 10.0.0.1\nx.other. A 10.0.0.1\n",
    );
    for command in ["serve", "check"] {
        let finished = run(&mut house.command(&[command, "--config", "sachdns.toml"]));
        assert!(!finished.status.success(), "{finished:#?}");
        for part in
            ["internal.zone:3: a.internal.example has a CNAME record", "internal.zone:5: x.other is outside"]
        {
            assert!(finished.stderr.contains(part), "{part}: {finished:#?}");
        }
    }
    house.write("internal.zone", ZONE);
    let finished = house.run("check", &[]).well();
    assert!(finished.stdout.contains("zones: 2"), "{finished:#?}");
}

#[test]
fn an_answer_that_is_too_long_for_udp_comes_over_tcp() {
    let house = lay(Setup::new(nsd::address()));
    let many: String = (0..120).map(|n| format!("many A 10.9.0.{n}\n")).collect();
    house.write("internal.zone", &format!("{ZONE}{many}"));
    let server = house.serve();
    let cut = server.dig().with("+notcp").ask("many.internal.example", "A");
    assert!(cut.has_flag("tc") && cut.answer.is_empty(), "{}", cut.raw);
    assert_eq!(server.dig().with("+tcp").ask("many.internal.example", "A").answer.len(), 120);
}
