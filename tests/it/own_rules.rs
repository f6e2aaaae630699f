//! Analysts' own blocks and exceptions: live at once, before all feeds, kept whatever happens, and over by
//! themselves.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::house::{House, Setup};
use crate::harness::scripted::{Scripted, Seen};
use crate::harness::server::Server;
use crate::harness::{Finished, PATIENCE, wire};

const SINKHOLE: [&str; 1] = ["10.10.10.10"];
const RESOLVED: [&str; 1] = ["192.0.2.66"];
/// An analyst's block is live when the command returns: far below a second, of which a busy machine takes its part.
const LIVE: Duration = Duration::from_secs(5);

/// An address for A, nothing for anything else.
fn plain(query: &Seen) -> Vec<u8> {
    match wire::decode(&query.bytes).queries[0].query_type().into() {
        wire::A => query.answer_a([192, 0, 2, 66]),
        _ => query.answer(wire::RA, 0, &[], None),
    }
}

fn setup(upstream: &Scripted) -> Setup {
    Setup::new(upstream.address)
        .feed("authority", "evil.test\tEmotet\n")
        .agency("a", "Agency A", "127.1.0.0/16", "a@test")
        .agency("b", "Agency B", "127.2.0.0/16", "b@test")
}

fn give(house: &House, command: &str, arguments: &[&str]) -> Finished {
    let who = ["--by", "Lan", "--reason", "vì thử"];
    house.run(&format!("policy {command}"), &[arguments, &who].concat())
}

#[track_caller]
fn check(server: &Server, client: &str, qname: &str, expected: &[&str]) {
    let reply = server.dig().from(client).ask(qname, "A");
    assert_eq!(reply.rdata("A"), expected, "{qname} for {client}: {}", reply.raw);
}

#[test]
fn a_block_is_live_at_once_and_before_all_feeds() {
    let upstream = Scripted::answering(plain);
    let server = setup(&upstream).serve();
    // Asked often: what workers keep ready must not outlive the rules.
    for _ in 0..3 {
        check(&server, "127.0.0.1", "www.new.test", &RESOLVED);
    }
    let begun = Instant::now();
    let said =
        give(server.house(), "block", &["new.test", "--family", "Qakbot", "--severity", "critical"]).well();
    check(&server, "127.0.0.1", "www.new.test", &SINKHOLE);
    assert!(begun.elapsed() < LIVE, "{:?}", begun.elapsed());
    assert!(
        said.stdout.contains("rule 1: new.test and all below it is blocked (sinkhole), for everybody"),
        "{said:?}"
    );
    let record = &server.log(&["--name", "new.test", "--hits"])[0];
    record.assert(&[
        ("action", "sinkhole"),
        ("feed", "analysts"),
        ("family", "Qakbot"),
        ("severity", "critical"),
    ]);

    check(&server, "127.0.0.1", "www.evil.test", &SINKHOLE);
    give(server.house(), "allow", &["www.evil.test", "--exact"]).well();
    check(&server, "127.0.0.1", "www.evil.test", &RESOLVED);
    check(&server, "127.0.0.1", "a.www.evil.test", &SINKHOLE);
    server.log(&["--name", "www.evil.test"])[1].assert(&[("action", "passthru"), ("feed", "analysts")]);
    // A canary gives way to an analyst too.
    give(server.house(), "allow", &["mask.icloud.com"]).well();
    check(&server, "127.0.0.1", "mask.icloud.com", &RESOLVED);

    server.house().run("policy unblock", &["new.test", "--by", "Minh"]).well();
    check(&server, "127.0.0.1", "www.new.test", &RESOLVED);
    server.house().run("policy remove", &["2", "--by", "Minh"]).well();
    check(&server, "127.0.0.1", "www.evil.test", &SINKHOLE);
}

#[test]
fn a_rule_is_live_also_where_nobody_may_ask_for_it() {
    let upstream = Scripted::answering(plain);
    let server = setup(&upstream).serve();
    // As another user's command: it writes the file, and cannot reach the socket.
    std::fs::rename(server.house().path().join("data/control.sock"), server.house().path().join("data/c"))
        .unwrap();
    let said = give(server.house(), "block", &["new.test"]).well();
    assert!(said.stdout.contains("next start"), "{said:?}");
    let begun = Instant::now();
    while server.dig().ask("new.test", "A").rdata("A") != SINKHOLE {
        assert!(begun.elapsed() < PATIENCE);
    }
}

#[test]
fn a_rule_ends_by_itself() {
    let upstream = Scripted::answering(plain);
    let server = setup(&upstream).serve();
    give(server.house(), "block", &["short.test", "--expires", "2s"]).well();
    check(&server, "127.0.0.1", "short.test", &SINKHOLE);
    let begun = Instant::now();
    while server.dig().ask("short.test", "A").rdata("A") != RESOLVED {
        assert!(begun.elapsed() < PATIENCE);
    }
    let listed = server.house().run("policy rules", &["--all", "--format", "csv"]).well().stdout;
    assert!(listed.contains("1,expired,name,short.test,subtree,sinkhole,usual,"), "{listed}");
    assert!(!server.house().run("policy rules", &[]).well().stdout.contains("short.test"));
}

#[test]
fn rules_of_one_agency_are_nobody_elses() {
    let upstream = Scripted::answering(plain);
    let server = setup(&upstream).serve();
    give(server.house(), "block", &["social.test", "--agency", "a"]).well();
    give(server.house(), "allow", &["evil.test", "--agency", "b"]).well();
    // Twice and more: an answer that is kept for one must not be given to another.
    for _ in 0..4 {
        check(&server, "127.1.0.1", "social.test", &SINKHOLE);
        check(&server, "127.2.0.1", "social.test", &RESOLVED);
        check(&server, "127.0.0.1", "social.test", &RESOLVED);
        check(&server, "127.1.0.1", "evil.test", &SINKHOLE);
        check(&server, "127.2.0.1", "evil.test", &RESOLVED);
        check(&server, "127.0.0.1", "evil.test", &SINKHOLE);
    }
    let unknown = give(server.house(), "block", &["x.test", "--agency", "c"]);
    assert!(unknown.code() == 1 && unknown.stderr.contains("no agency \"c\""), "{unknown:?}");
}

#[test]
fn an_address_is_blocked_and_allowed() {
    let upstream = Scripted::answering(plain);
    let server = setup(&upstream)
        .more("[[zone]]\nname = \"zone.test\"\nfile = \"zone.txt\"\n")
        .file("zone.txt", "@ 60 SOA ns hostmaster 1 60 60 60 60\n@ 60 NS ns\nns 60 A 192.0.2.66\n")
        .serve();
    give(server.house(), "block", &["192.0.2.0/24"]).well();
    check(&server, "127.0.0.1", "www.shared.test", &SINKHOLE);
    let record = &server.log(&["--name", "www.shared.test"])[0];
    record.assert(&[("action", "sinkhole"), ("trigger", "ip"), ("matched", "192.0.2.66")]);
    give(server.house(), "allow", &["192.0.2.66"]).well();
    check(&server, "127.0.0.1", "www.shared.test", &RESOLVED);
    // An address that is allowed makes no malicious name good, and none is resolved for it.
    check(&server, "127.0.0.1", "evil.test", &SINKHOLE);
    assert!(!upstream.seen().iter().any(|query| query.qname() == "evil.test."));
    for (subject, why) in [
        ("10.1.2.3", "local or special"),
        ("10.10.10.10", "of the sinkhole itself"),
        ("64.0.0.0/3", "larger than a /8"),
        ("192.0.2.1/24", "host bits"),
        ("zone.test", "is in a local zone"),
        ("www.zone.test", "is in a local zone, as all of zone.test"),
        ("test", "takes zone.test"),
        ("com.la", "public suffix"),
        ("http://evil.test/x", "of a URL give the host"),
    ] {
        let refused = give(server.house(), "block", &[subject]);
        assert!(!refused.status.success() && refused.stderr.contains(why), "{subject}: {refused:?}");
    }
    give(server.house(), "block", &["www.zone.test", "--force"]).well();
    check(&server, "127.0.0.1", "www.zone.test", &SINKHOLE);
}

#[test]
fn rules_outlive_the_server_a_reload_and_a_kill() {
    let upstream = Scripted::answering(plain);
    let house = setup(&upstream).lay();
    let said = give(&house, "block", &["early.test"]).well();
    assert!(said.stdout.contains("it holds from the next start on"), "{said:?}");
    let server = house.serve();
    check(&server, "127.0.0.1", "early.test", &SINKHOLE);
    server.house().write("authority.txt", "other.test\n");
    server.reload().well();
    check(&server, "127.0.0.1", "early.test", &SINKHOLE);
    check(&server, "127.0.0.1", "evil.test", &RESOLVED);
    give(server.house(), "block", &["last.test"]).well();
    let stopped = server.stop(Signal::KILL);
    // A command that was killed in the middle of its line.
    let path = stopped.house.path().join("data/rules.jsonl");
    let text = std::fs::read(&path).unwrap();
    std::fs::write(&path, [&text, &text[..30]].concat()).unwrap();
    let server = stopped.house.serve();
    check(&server, "127.0.0.1", "early.test", &SINKHOLE);
    check(&server, "127.0.0.1", "last.test", &SINKHOLE);
    give(server.house(), "block", &["next.test"]).well();
    check(&server, "127.0.0.1", "next.test", &SINKHOLE);
}

#[test]
fn many_who_give_rules_at_once_lose_none() {
    let upstream = Scripted::answering(plain);
    let server = setup(&upstream).serve();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let house = server.house();
            scope.spawn(move || give(house, "block", &[&format!("n{number}.test")]).well());
        }
    });
    let listed = server.house().run("policy rules", &["--format", "jsonl"]).well().stdout;
    let ids: std::collections::BTreeSet<u64> = listed
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids, (1..=8).collect());
    for number in 0..8 {
        check(&server, "127.0.0.1", &format!("n{number}.test"), &SINKHOLE);
    }
}

#[test]
fn a_reload_holds_no_rule_up() {
    let upstream = Scripted::answering(plain);
    let server = setup(&upstream).feed("long", "").serve();
    // Long enough that the rule comes while it is being built.
    let names: String = (0..300_000).map(|number| format!("name{number}.long.test\n")).collect();
    server.house().write("long.txt", &names);
    std::thread::scope(|scope| {
        let reload = scope.spawn(|| server.reload().well());
        give(server.house(), "block", &["now.test"]).well();
        check(&server, "127.0.0.1", "now.test", &SINKHOLE);
        let was_reloading = !reload.is_finished();
        reload.join().unwrap();
        assert!(was_reloading, "the reload is too short to show anything");
    });
    check(&server, "127.0.0.1", "now.test", &SINKHOLE);
    check(&server, "127.0.0.1", "name7.long.test", &SINKHOLE);
}

#[test]
fn the_list_of_rules_tells_who_why_and_until_when() {
    let upstream = Scripted::answering(plain);
    let house = setup(&upstream).lay();
    give(&house, "block", &["*.below.test", "198.51.100.7", "--expires", "2030-01-01T00:00:00Z"]).well();
    give(&house, "block", &["watched.test", "--action", "shadow", "--agency", "a"]).well();
    give(&house, "block", &["below.test", "--action", "nxdomain"]).well();
    give(&house, "allow", &["watched.test", "--agency", "a"]).well();
    house.run("policy remove", &["198.51.100.7", "--by", "Minh", "--reason", "nhầm"]).well();
    let table = house.run("policy rules", &["--all"]).well().stdout;
    for expected in [
        "     1  active    sinkhole    all         *.below.test\n",
        "by Lan: vì thử; expires 2030-01-01",
        "     2  removed   sinkhole    all         198.51.100.7\n",
        "by Minh: nhầm",
        "     3  replaced  shadow      a           watched.test\n",
        "; replaced by rule 5",
        "     4  active    nxdomain    all         below.test\n",
        "     5  active    passthru    a           watched.test\n",
    ] {
        assert!(table.contains(expected), "{expected}\n{table}");
    }
    let count = |filters: &[&str]| {
        let filters = [&["--format", "jsonl"], filters].concat();
        house.run("policy rules", &filters).well().stdout.lines().count()
    };
    assert_eq!(count(&[]), 3);
    assert_eq!(count(&["--state", "replaced"]), 1);
    assert_eq!(count(&["--all", "--agency", "a"]), 2);
    assert_eq!(count(&["--all", "--by", "Minh"]), 0);
    assert_eq!(count(&["--all", "--on", "198.51.100.0/24"]), 1);
    assert_eq!(count(&["--on", "test"]), 3);
    for (arguments, why) in [
        (&["x.test", "--expires", "2020-01-01"][..], "is over already"),
        (&["x.test", "--expires", "soon"], "a while such as 30d"),
        (&["x.test", "--action", "passthru"], "policy allow"),
        (&["x.test", "--action", "given"], "is for feeds"),
        (&["192.0.2.1", "--exact"], "is for names"),
        (&["a..b"], "neither a name"),
        (&["."], "no name here"),
        (&["x.test", "--family", "a\nb"], "malware family"),
    ] {
        let refused = give(&house, "block", arguments);
        assert!(!refused.status.success() && refused.stderr.contains(why), "{arguments:?}: {refused:?}");
    }
    let nothing = house.run("policy unblock", &["watched.test", "--by", "Lan"]);
    assert!(nothing.stderr.contains("no rule of that number, name or address is in force"), "{nothing:?}");
    assert_eq!(house.run("policy rules", &["--all", "--format", "csv"]).well().stdout.lines().count(), 6);
}

#[test]
fn explain_tells_every_rule_and_why_it_lost() {
    let tables = "[[feed]]\nname = \"trial\"\nsource = \"trial.txt\"\naction = \"shadow\"\n\
                  [[feed]]\nname = \"ads\"\nsource = \"ads.txt\"\nagencies = [\"a\"]\n\
                  [[feed]]\nname = \"ips\"\nsource = \"ips.txt\"\nseverity = \"high\"\n\
                  [[zone]]\nname = \"zone.test\"\nfile = \"zone.txt\"\n";
    let upstream = Scripted::answering(plain);
    let house = setup(&upstream)
        .more(tables)
        .file("trial.txt", "www.evil.test\n")
        .file("ads.txt", "evil.test\nads.test\n")
        .file("ips.txt", "192.0.2.0/24\n")
        .file("zone.txt", "@ 60 SOA ns h 1 60 60 60 60\n@ 60 NS ns\nns 60 A 192.0.2.66\n")
        .lay();
    give(&house, "allow", &["www.evil.test", "--agency", "b", "--expires", "2030-01-01"]).well();
    give(&house, "block", &["x.ads.test", "--exact"]).well();
    house.run("policy build", &[]).well();
    let explain = |arguments: &[&str], expected: &[&str]| {
        let text = house.run("explain", arguments).well().stdout;
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for words in expected {
            assert!(text.contains(words), "{words:?} is not in\n{text}");
        }
    };
    explain(
        &["www.evil.test", "--client", "127.2.0.1"],
        &[
            "client 127.2.0.1: answered; agency b (Agency B)",
            "rule www.evil.test (subtree) of analysts: passthru decides rule 1, given by Lan on",
            ": vì thử",
            "evil.test (subtree) of feed authority, family Emotet: sinkhole comes behind www.evil.test (subtree) of \
             analysts: analysts' rules come before those of feeds [authority.txt:1]",
            "evil.test (subtree) of feed ads: sinkhole does not apply: feed ads is only for a [ads.txt:1]",
        ],
    );
    explain(
        &["www.evil.test"],
        &[
            "client none given",
            "www.evil.test (subtree) of analysts: passthru does not apply: it is for agency b only",
            "evil.test (subtree) of feed authority, family Emotet: sinkhole decides [authority.txt:1]",
            "www.evil.test (subtree) of feed trial: sinkhole comes behind evil.test (subtree) of feed authority: its \
             feed comes first in the configuration",
            "answer NOERROR, A 10.10.10.10, TTL 30",
        ],
    );
    explain(
        &["y.x.ads.test", "--client", "127.1.0.1"],
        &[
            "x.ads.test (exact) of analysts: sinkhole does not cover this name: it is for the listed one alone",
            "ads.test (subtree) of feed ads: sinkhole decides",
        ],
    );
    explain(
        &["ns.zone.test", "--answer-ip", "192.0.2.66"],
        &[
            "guard ns.zone.test is protected: no address or name server alone takes it",
            "192.0.2.0/24 (address) of feed ips, high: sinkhole would decide, but ns.zone.test is protected: no address \
             or name server alone takes such a name, it only shows in the log [ips.txt:1]",
            "answer whatever the local zone zone.test says",
        ],
    );
    explain(
        &["quiet.test", "--answer-ip", "192.0.2.66"],
        &["192.0.2.0/24 (address) of feed ips, high: sinkhole decides"],
    );
    explain(&["quiet.test"], &["rule none: no feed and no analyst lists this name or one above it"]);
    let lines =
        house.run("explain", &["www.evil.test", "--client", "127.2.0.1", "--format", "jsonl"]).well().stdout;
    let lines: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let verdicts: Vec<&str> = lines.iter().filter_map(|line| line["verdict"].as_str()).collect();
    assert_eq!(verdicts, ["decides", "outranked", "other-audience", "outranked"]);
    assert_eq!((&lines[0]["line"], &lines[0]["agency"]), (&"question".into(), &"b".into()));
    assert_eq!(
        (&lines[1]["rule"], &lines[1]["by"], &lines[1]["layer"]),
        (&1.into(), &"Lan".into(), &"own".into())
    );
    assert_eq!(lines.last().unwrap()["line"], "answer");
}
