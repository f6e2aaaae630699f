//! Domains that other upstreams are asked for.

use std::time::{Duration, Instant};

use crate::harness::house::{CONFIG, Setup};
use crate::harness::nsd;
use crate::harness::scripted::{Scripted, Seen};
use crate::harness::server::Server;
use crate::harness::wire;

fn answering(last: u8) -> Scripted {
    Scripted::answering(move |query| {
        query.answer(wire::RA | wire::AD, 0, &[query.a([192, 0, 2, last])], None)
    })
}

fn route(domain: &str, upstream: &Scripted, more: &str) -> String {
    format!("[[route]]\ndomain = \"{domain}\"\nupstreams = [\"{}\"]\n{more}\n", upstream.address)
}

#[track_caller]
fn check(server: &Server, qname: &str, expected: &str) {
    for transport in ["+notcp", "+tcp"] {
        let reply = server.dig().with(transport).ask(qname, "A");
        assert_eq!(reply.rdata("A"), [expected], "{}", reply.raw);
    }
}

#[test]
fn the_longest_domain_decides_who_is_asked() {
    let [all, agency, office, reverse] = [1, 2, 3, 4].map(answering);
    let server = Setup::new(all.address)
        .more(&route("agency.example.vn", &agency, ""))
        .more(&route("Office.Agency.Example.VN.", &office, ""))
        .more(&route("10.in-addr.arpa", &reverse, ""))
        .serve();
    check(&server, "www.example.vn", "192.0.2.1");
    check(&server, "otheragency.example.vn", "192.0.2.1");
    check(&server, "agency.example.vn", "192.0.2.2");
    check(&server, "WWW.AGENCY.example.vn", "192.0.2.2");
    check(&server, "www.office.agency.example.vn", "192.0.2.3");
    check(&server, "4.3.2.10.in-addr.arpa", "192.0.2.4");
    assert!(all.seen().iter().all(|query| !query.qname().ends_with(".agency.example.vn.")));
}

#[test]
fn masters_of_a_zone_are_asked_for_what_they_know() {
    let all = answering(1);
    let more = format!(
        "[[route]]\ndomain = \"example.test\"\nupstreams = [\"{}\"]\nrecursion = false\n",
        nsd::address()
    );
    let server = Setup::new(all.address).more(&more).serve();
    check(&server, "www.example.test", "192.0.2.80");
    let denied = server.dig().ask("nothing.example.test", "A");
    assert_eq!(denied.status, "NXDOMAIN", "{}", denied.raw);
    assert!(!denied.has_flag("aa"), "{}", denied.raw);

    let master = answering(2);
    let server = Setup::new(all.address).more(&route("internal.test", &master, "recursion = false")).serve();
    check(&server, "www.internal.test", "192.0.2.2");
    check(&server, "www.test", "192.0.2.1");
    assert!(master.seen().iter().all(|query| query.flags() & wire::RD == 0));
    assert!(all.seen().iter().any(|query| query.flags() & wire::RD != 0));
}

#[test]
fn aliases_out_of_a_masters_zone_are_followed() {
    // AA, and no RA.
    let alias = |query: &Seen, target: &[u8]| {
        query.answer(0x0400, 0, &[wire::record(&[0xc0, 12], 5, wire::IN, 300, target)], None)
    };
    let all = Scripted::answering(move |query| match &*query.qname() {
        "nothing.test." => query.answer(wire::RA, 3, &[], None),
        "broken.test." => query.answer(wire::RA, 2, &[], None),
        _ => query.answer_a([192, 0, 2, 1]),
    });
    let master = Scripted::answering(move |query| match &*query.qname() {
        "www.internal.test." => alias(query, b"\x05Cloud\x04test\x00"),
        "gone.internal.test." => alias(query, b"\x07nothing\x04test\x00"),
        "down.internal.test." => alias(query, b"\x06broken\x04test\x00"),
        // Through the zone itself, and in a circle with another one.
        "far.internal.test." => alias(query, b"\x03www\x08internal\x04test\x00"),
        "one.internal.test." => alias(query, b"\x03two\x05other\x04test\x00"),
        "two.other.test." => alias(query, b"\x03one\x08internal\x04test\x00"),
        _ => query.answer_a([192, 0, 2, 2]),
    });
    let server = Setup::new(all.address)
        .more(&route("internal.test", &master, "recursion = false"))
        .more(&route("other.test", &master, "recursion = false"))
        .serve();
    check(&server, "plain.internal.test", "192.0.2.2");
    for _ in 0..2 {
        check(&server, "www.internal.test", "192.0.2.1");
        check(&server, "far.internal.test", "192.0.2.1");
    }
    let reply = server.dig().ask("FAR.internal.test", "A");
    let owners: Vec<_> = reply.answer.iter().map(|rr| (rr.name.as_str(), rr.rtype.as_str())).collect();
    assert_eq!(
        owners,
        [("FAR.internal.test.", "CNAME"), ("www.internal.test.", "CNAME"), ("cloud.test.", "A")],
        "{}",
        reply.raw
    );
    assert_eq!(server.dig().ask("gone.internal.test", "A").status, "NXDOMAIN");
    assert_eq!(server.dig().ask("down.internal.test", "A").status, "SERVFAIL");
    assert_eq!(server.dig().ask("www.internal.test", "CNAME").rdata("CNAME"), ["Cloud.test."]);
    let start = Instant::now();
    assert_eq!(server.dig().ask("one.internal.test", "A").status, "SERVFAIL");
    assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
}

#[test]
fn a_route_may_be_trusted_by_itself() {
    let (all, validating) = (answering(1), answering(2));
    let server = Setup::new(all.address).more(&route("signed.test", &validating, "trusted = true")).serve();
    let is_authentic = |qname: &str| server.dig().with("+dnssec").ask(qname, "A").has_flag("ad");
    assert!(is_authentic("www.signed.test"));
    assert!(!is_authentic("www.test"));
}

#[test]
fn a_dead_route_fails_alone() {
    let all = answering(1);
    let server = Setup::new(all.address).more(&route("dead.test", &Scripted::failing(2), "")).serve();
    let failed = server.dig().ask("www.dead.test", "A");
    assert_eq!((&*failed.status, failed.ede_code()), ("SERVFAIL", Some(22)), "{}", failed.raw);
    check(&server, "www.test", "192.0.2.1");
}

#[test]
fn a_reload_that_changes_a_route_forgets_what_it_answered() {
    let [all, old, new] = [1, 2, 3].map(answering);
    let setup = |upstream: &Scripted| Setup::new(all.address).more(&route("agency.test", upstream, ""));
    let server = setup(&old).serve();
    check(&server, "www.agency.test", "192.0.2.2");
    check(&server, "www.test", "192.0.2.1");
    let asked = all.seen().len();
    server.house().write(CONFIG, &setup(&new).text());
    server.reload().well();
    check(&server, "www.agency.test", "192.0.2.3");
    check(&server, "www.test", "192.0.2.1");
    assert_eq!(all.seen().len(), asked, "the others' answers stay");
    server.house().write(CONFIG, &Setup::new(all.address).text());
    server.reload().well();
    check(&server, "www.agency.test", "192.0.2.1");
}

#[test]
fn faults_say_the_mend() {
    let check = |route: &str, mend: &str| {
        let house = crate::harness::house::House::with_config(&format!("[[route]]\n{route}"));
        let finished = house.run("check", &[]);
        assert_ne!(finished.code(), 0, "{route}");
        assert!(finished.stderr.contains(mend), "{}", finished.stderr);
    };
    check("domain = \"a.test\"\n", "upstreams = [\"192.0.2.53:53\"]");
    check("upstreams = [\"192.0.2.53\"]\n", "domain = \"agency.example.vn\"");
    check("domain = \".\"\nupstreams = [\"192.0.2.53\"]\n", "resolver.upstreams");
    check("domain = \"a..test\"\nupstreams = [\"192.0.2.53\"]\n", "a domain such as");
    let one = "domain = \"a.test\"\nupstreams = [\"192.0.2.53\"]\n";
    check(&format!("{one}[[route]]\n{one}"), "is there twice");
    check(&format!("{one}strategy = \"best\"\n"), "\"ordered\", \"fastest\" or \"spread\"");
}
