//! Domains that other upstreams are asked for.

use crate::harness::house::{CONFIG, Setup};
use crate::harness::nsd;
use crate::harness::scripted::Scripted;
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
