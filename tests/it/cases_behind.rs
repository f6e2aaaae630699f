//! Cases of machines that did not ask by themselves, or not lately: behind a forwarder that tells whose query it is, and before
//! a name was listed.

use std::fs;
use std::time::SystemTime;

use serde_json::Value;

use crate::cases::{
    CLOCK, FORWARDER, HARMLESS, Office, ask, await_forwarder, call_home, case, cases, find, have_addresses,
    province, serve, text, wait_for_cases,
};
use crate::harness::house::{House, Setup};
use crate::harness::namespace::inside;
use crate::harness::scripted::Scripted;
use crate::harness::{PATIENCE, wait_until};

const AGENCY: &str = r#"
[[agency]]
id = "so-yt"
name = "Sở Y tế"
networks = ["10.1.0.0/24", "10.0.1.0/30"]
forwarders = ["10.0.1.2/32"]
[cases]
quiet_days = 2
"#;

/// The kinds of evidence of a machine's case of a class, with how often.
fn evidence(house: &House, ticket: &str) -> Vec<(String, u64)> {
    let shown = house.run("case show", &[ticket, "--format", "jsonl"]).well();
    let file: Value = serde_json::from_str(&shown.stdout).unwrap();
    let traces = file["evidence"].as_array().unwrap();
    traces.iter().map(|trace| (text(trace, "kind").to_owned(), trace["count"].as_u64().unwrap())).collect()
}

/// The first machine's case of a family.
#[track_caller]
fn of(house: &House, family: &str) -> Value {
    let is_it = |it: &Value| text(it, "machine") == "m-1" && text(it, "family") == family;
    cases(house).into_iter().find(is_it).unwrap_or_else(|| panic!("{family}: {:#?}", cases(house)))
}

#[test]
fn whom_a_forwarder_tells_is_followed_until_it_is_clean() {
    inside(|| {
        have_addresses();
        let office = Office::open(&["--add-mac", "--add-subnet=32,128"]);
        let [used, off] = &office.machines;
        // A MAC of its own; the other one has a made-up one, as cables of tests have, and is known by its address.
        used.run("ip", &["link", "set", "eth0", "address", "00:1a:2b:3c:4d:11"]).well();
        let upstream = Scripted::answering(|query| query.answer_a([192, 0, 2, 1]));
        let server = serve(
            province(&upstream)
                .server("trusted_forwarders = [\"10.0.1.2/32\"]\n")
                .csv("authority", "domain,family\nevil.example,emotet\n")
                .more(AGENCY),
        );
        let house = server.house();
        await_forwarder(used);

        // Both ask for the same name through the same server, and go there.
        call_home(used, FORWARDER, "evil.example");
        wait_until("the first machine has a case", || {
            find(house, "m-1", "c2").is_some_and(|it| it["contacts"] == 1 && it["queries"] == 1)
        });
        call_home(off, FORWARDER, "evil.example");
        wait_until("the second machine has its own", || {
            find(house, "10.1.0.12", "c2").is_some_and(|it| it["contacts"] == 1 && it["queries"] == 1)
        });
        assert_eq!(cases(house).len(), 2, "{:#?}", cases(house));
        let first = case(house, "m-1", "c2");
        assert_eq!((text(&first, "client"), text(&first, "agency")), ("10.1.0.11", "so-yt"));
        assert_eq!(server.log(&["--machine", "m-1", "--hits"]).len(), 1);

        // Days pass on which one of them is used.
        let last_asked = |house: &House, family: &str| text(&of(house, family), "last_asked").to_owned();
        for day in 1..=3 {
            house.write(CLOCK, &format!("+{day}d"));
            let before = last_asked(house, "emotet");
            ask(used, FORWARDER, HARMLESS);
            wait_until("the machine was seen asking", || last_asked(house, "emotet") != before);
        }
        assert_eq!(text(&case(house, "m-1", "c2"), "state"), "closed");
        let untouched = case(house, "10.1.0.12", "c2");
        assert_eq!((text(&untouched, "state"), &untouched["quiet_days"]), ("new", &Value::from(0)));

        // What it asked for is listed now: who asked, and when, is known.
        let asked = server.log(&["--machine", "m-1", "--name", HARMLESS]).len() as u64;
        assert!(asked >= 4, "{asked}");
        house.write("authority.txt", "domain,family\nevil.example,emotet\nwww.example.test,trickbot\n");
        server.reload().well();
        wait_until("who asked before has a case", || {
            cases(house).iter().any(|it| text(it, "family") == "trickbot" && it["queries"] == asked)
        });
        let late = of(house, "trickbot");
        let is = |key| text(&late, key);
        assert_eq!((is("class"), is("state"), is("name")), ("c2", "new", HARMLESS));
        let evidence = evidence(house, text(&late, "ticket"));
        assert!(evidence.iter().all(|(kind, _)| kind == "find"), "{evidence:?}");
        assert_eq!(evidence.iter().map(|(_, count)| count).sum::<u64>(), asked);
        assert_eq!(cases(house).len(), 3, "{:#?}", cases(house));

        // It is found once, whatever happens, and its case goes on as any other.
        let stopped = server.stop(rustix::process::Signal::KILL);
        let server = stopped.house.serve();
        let house = server.house();
        for day in 4..=6 {
            house.write(CLOCK, &format!("+{day}d"));
            let before = last_asked(house, "trickbot");
            ask(used, FORWARDER, "other.example.test");
            wait_until("the machine was seen asking", || last_asked(house, "trickbot") != before);
        }
        let after = of(house, "trickbot");
        assert_eq!(after["queries"], asked);
        assert_eq!(text(&after, "state"), "closed", "{after:#?}");
    });
}

#[test]
fn a_desk_that_cannot_be_opened_gets_what_was_recorded_meanwhile() {
    let upstream = Scripted::answering(|query| query.answer_a([192, 0, 2, 1]));
    let house = Setup::new(upstream.address).csv("authority", "domain,family\nevil.example,emotet\n").lay();
    let desk = house.path().join("data/cases/cases.db");
    fs::create_dir_all(&desk).unwrap();
    let server = house.serve();
    let says_so = |line: &str| line.contains("cases are not kept up");
    assert!(server.stderr().wait(PATIENCE, says_so).is_some(), "{}", server.stderr().text());
    server.dig().ask("c2.evil.example", "A");
    assert_eq!(server.log(&["--hits"]).len(), 1);
    fs::remove_dir(&desk).unwrap();
    wait_until("there is a case", || cases(server.house()).len() == 1);
}

#[test]
fn a_hit_that_waits_for_a_contact_outlives_a_kill() {
    let upstream = Scripted::answering(|query| query.answer_a([192, 0, 2, 1]));
    let office = r#"
[[agency]]
id = "so-yt"
name = "Sở Y tế"
networks = ["127.0.0.53/32"]
forwarders = ["127.0.0.53/32"]
"#;
    let setup = Setup::new(upstream.address).csv("authority", "domain,family\nevil.example,emotet\n");
    let server = serve(setup.more(office));
    server.dig().from("127.0.0.53").ask("evil.example", "A");
    server.dig().from("127.0.0.53").ask("evil.example", "AAAA");
    server.dig().from("127.0.0.11").ask("evil.example", "A");
    let is_there = |house: &House, machine: &str, queries: u64| {
        find(house, machine, "c2").is_some_and(|it| it["queries"] == queries)
    };
    wait_until("who asks for itself has a case", || is_there(server.house(), "127.0.0.11", 1));
    assert_eq!(cases(server.house()).len(), 1);
    // The log is not read again.
    let (place, seen) = (server.house().path().join("data/log/cases/place.json"), SystemTime::now());
    let is_noted = || fs::metadata(&place).and_then(|it| it.modified()).is_ok_and(|noted| noted > seen);
    wait_until("its place is noted", is_noted);
    let stopped = server.stop(rustix::process::Signal::KILL);
    stopped.house.write(CLOCK, "+2m");
    let server = stopped.house.serve();
    wait_until("nobody came, so it is the server's", || is_there(server.house(), "127.0.0.53", 2));
    assert_eq!(cases(server.house()).len(), 2);
}

#[test]
fn a_lease_that_becomes_known_soon_after_a_hit_is_whose_it_was() {
    let upstream = Scripted::answering(|query| query.answer_a([192, 0, 2, 1]));
    let server =
        Setup::new(upstream.address).csv("authority", "domain,family\nevil.example,emotet\n").serve();
    let house = server.house();
    server.dig().from("127.0.0.5").ask("evil.example", "A");
    wait_until("the address has a case", || find(house, "127.0.0.5", "c2").is_some());
    // As a list of every quarter of an hour says it: since it was made.
    let expires = jiff::Timestamp::now().as_second() + 3600;
    house.write("dnsmasq.leases", &format!("{expires} 00:1a:2b:3c:4d:05 127.0.0.5 PC-05 *\n"));
    house.run("identity import", &["--format", "dnsmasq", "dnsmasq.leases"]).well();
    server.dig().from("127.0.0.5").ask("evil.example", "A");
    wait_for_cases(house, "it is one case, of the machine", |cases| {
        cases.len() == 1 && text(&cases[0], "host") == "PC-05" && cases[0]["queries"] == 2
    });
}

#[test]
fn a_log_that_somebody_moved_away_is_followed_where_it_begins_anew() {
    let upstream = Scripted::answering(|query| query.answer_a([192, 0, 2, 1]));
    let families = "domain,family\nevil.example,emotet\nworse.example,qakbot\n";
    let server = Setup::new(upstream.address).csv("authority", families).serve();
    server.dig().ask("c2.evil.example", "A");
    wait_until("there is a case", || cases(server.house()).len() == 1);
    let log = server.house().path().join("data/log");
    fs::rename(&log, log.with_extension("old")).unwrap();
    let is_told = |line: &str| line.contains("the query log was moved or removed under the server");
    assert!(server.stderr().wait(PATIENCE, is_told).is_some(), "{}", server.stderr().text());
    wait_until("it begins anew", || log.join("cases/place.json").exists());
    server.dig().ask("c2.worse.example", "A");
    wait_until("there is another case", || cases(server.house()).len() == 2);
}
