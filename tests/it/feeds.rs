//! Versions of feeds: a good one goes live by itself, a bad one stays out and is told, and people have the last word.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::house::{CONFIG, House, Setup};
use crate::harness::server::Server;
use crate::harness::{Finished, nsd, wait_until};

const SINKHOLE: [&str; 1] = ["10.10.10.10"];

/// So many names that the gate's bounds hold, and `mark`.
fn list(count: usize, mark: &str) -> String {
    let names: String = (0..count).map(|number| format!("evil{number}.example\n")).collect();
    format!("{names}{mark}\n")
}

fn house() -> House {
    Setup::new(nsd::address())
        .feed("authority", &list(200, "first.example"))
        .feed("other", "other.example\n")
        .lay()
}

fn is_sinkholed(server: &Server, qname: &str) -> bool {
    server.dig().ask(qname, "A").rdata("A") == SINKHOLE
}

#[track_caller]
fn feed(house: &House, arguments: &[&str]) -> Finished {
    let (command, rest) = arguments.split_first().unwrap();
    house.run(&format!("feed {command}"), rest)
}

/// What `feed status --format jsonl` says of the feed `authority`.
#[track_caller]
fn status(house: &House) -> Value {
    let finished = feed(house, &["status", "authority", "--format", "jsonl"]).well();
    serde_json::from_str(&finished.stdout).unwrap()
}

#[test]
fn a_file_that_changes_is_live_by_itself() {
    let mut server = house().serve();
    for (count, mark) in [(200, "second.example"), (190, "third.example")] {
        server.house().write("authority.txt", &list(count, mark));
        wait_until(mark, || is_sinkholed(&server, mark));
    }
    assert!(!is_sinkholed(&server, "second.example"));
    assert!(is_sinkholed(&server, "other.example"));

    // Somebody writes in place, and takes his time.
    let path = server.house().path().join("authority.txt");
    let text = list(200, "fourth.example");
    let (half, rest) = text.split_at(text.len() / 2);
    fs::write(&path, half).unwrap();
    std::io::Write::write_all(&mut fs::File::options().append(true).open(&path).unwrap(), rest.as_bytes())
        .unwrap();
    wait_until("fourth.example", || is_sinkholed(&server, "fourth.example"));
    server.assert_well();
}

#[test]
fn a_bad_version_stays_out_and_holds_back_nothing() {
    let mut server = house().serve();
    for (bad, why) in [
        ("<!DOCTYPE html><title>Sign in</title>\n".to_owned(), "web page"),
        (list(50, "mark.example"), "51 indicators after 201"),
        (list(1000, "mark.example"), "it grew past gate.max_growth"),
        (String::new(), "it lists nothing"),
        ("only prose here\n".to_owned(), "nothing in it could be read"),
        (list(200, "use-application-dns.net"), "is a canary"),
    ] {
        server.house().write("authority.txt", &bad);
        let finished = server.reload().well();
        assert!(
            finished.stdout.contains("feed authority: version ") && finished.stdout.contains(why),
            "{finished:#?}"
        );
        assert!(finished.stdout.contains("sachdns policy diff --feed authority"), "{finished:#?}");
        assert!(is_sinkholed(&server, "first.example"), "{why}");
        let status = status(server.house());
        assert!(status["troubles"][0].as_str().unwrap().contains(why), "{status:#}");
        assert_eq!(status["accepted"]["counts"]["names"], 201, "{status:#}");
    }
    // The others go on.
    server.house().write("other.txt", "another.example\n");
    wait_until("the other feed", || is_sinkholed(&server, "another.example"));
    assert!(is_sinkholed(&server, "first.example"));
    let status = status(server.house());
    assert_eq!(status["refused"].as_array().unwrap().len(), 3, "the oldest go first: {status:#}");
    // And a good one ends it.
    server.house().write("authority.txt", &list(200, "second.example"));
    server.reload().well();
    assert!(is_sinkholed(&server, "second.example"));
    let table = feed(server.house(), &["status"]).well().stdout;
    assert!(!table.contains("refused"), "{table}");
    server.assert_well();
}

#[test]
fn what_would_change_is_shown_and_people_decide() {
    let mut server = house().serve();
    let bad = format!("{}co.uk\n", list(20, "mark.example"));
    server.house().write("authority.txt", &bad);
    server.reload().well();
    let house = server.house();
    let refused = status(house)["refused"][0].clone();
    assert_eq!((&refused["added"], &refused["removed"]), (&2.into(), &181.into()), "{refused:#}");

    let lines = house.run("policy diff", &["--format", "jsonl"]).well().stdout;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let added: Vec<_> = lines.iter().filter(|line| line["change"] == "added").collect();
    assert_eq!((lines.len(), added.len()), (183, 2));
    let suffix = added.iter().find(|line| line["value"] == "co.uk").unwrap();
    assert!(suffix["left_out"].as_str().unwrap().contains("takes amazon.co.uk"), "{suffix}");
    let table = house.run("policy diff", &["--limit", "1"]).well().stdout;
    assert!(
        table.contains("2 added, 181 removed, 20 in both") && table.contains("… and 182 more"),
        "{table}"
    );
    let csv = house.run("policy diff", &["--feed", "authority", "--format", "csv"]).well().stdout;
    assert!(csv.starts_with("change,kind,") && csv.contains("\nadded,name,mark.example,subtree,"), "{csv}");
    // A file that is in no store, too.
    house.write("draft.txt", &list(200, "draft.example"));
    let draft = house.run("policy diff", &["--feed", "authority", "--version", "draft.txt"]).well().stdout;
    assert!(draft.contains("+ name     draft.example") && draft.contains("1 added, 1 removed"), "{draft}");

    let finished =
        feed(house, &["approve", "authority", "--by", "Nguyễn An", "--reason", "the list was cleaned up"]);
    assert!(finished.well().stdout.contains("is approved"));
    assert!(is_sinkholed(&server, "mark.example") && !is_sinkholed(&server, "first.example"));
    assert!(!is_sinkholed(&server, "x.co.uk"), "protected names stay left out");
    let status = status(server.house());
    assert_eq!(status["accepted"]["approval"]["by"], "Nguyễn An");
    assert_eq!(status["accepted"]["approval"]["reason"], "the list was cleaned up");
    assert_eq!(status["accepted"]["left_out"], 1);
    let history = feed(server.house(), &["status", "authority"]).well().stdout;
    for words in
        ["refused: 22 indicators", "approved by Nguyễn An: the list was cleaned up", "accepted by Nguyễn An"]
    {
        assert!(history.contains(words), "no {words:?} in {history}");
    }
    server.assert_well();
}

#[test]
fn a_replay_tells_whom_a_version_would_have_blocked() {
    let server = Setup::new(nsd::address())
        .feed("authority", &list(200, "first.example"))
        .agency("so-y-te", "Sở Y tế", "127.0.0.2/32", "điện thoại 0299 000 001")
        .serve();
    let ask = |client: &str, qname: &str| server.dig().from(client).ask(qname, "A");
    for (client, qname) in [
        ("127.0.0.1", "www.example.test"),
        ("127.0.0.2", "www.example.test"),
        ("127.0.0.2", "www.example.test"),
        ("127.0.0.1", "keep.example.test"),
        ("127.0.0.1", "first.example"),
        ("127.0.0.1", "evil3.example"),
    ] {
        ask(client, qname);
    }
    server.house().write("authority.txt", &list(20, "www.example.test"));
    server.reload().well();
    let lines = server.house().run("policy replay", &["--format", "jsonl"]).well().stdout;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    let blocked = &lines[0];
    assert_eq!((&blocked["change"], &blocked["name"]), (&"blocked".into(), &"www.example.test".into()));
    assert_eq!((&blocked["feed"], &blocked["queries"]), (&"authority".into(), &3.into()));
    assert_eq!(blocked["clients"], serde_json::json!(["127.0.0.1", "127.0.0.2"]));
    assert_eq!(blocked["agencies"], serde_json::json!({"": 1, "so-y-te": 2}));
    assert_eq!((&lines[1]["change"], &lines[1]["name"]), (&"released".into(), &"first.example".into()));
    let table = server.house().run("policy replay", &["--feed", "authority", "--since", "1h"]).well().stdout;
    for words in [
        "6 queries from ",
        "3 queries of 2 clients would be blocked",
        "so-y-te",
        "1 queries of 1 clients would no longer",
    ] {
        assert!(table.contains(words), "no {words:?} in {table}");
    }
    let left = server.house().data_files();
    assert!(left.iter().all(|file| !file.to_string_lossy().contains("replay-")), "{left:?}");
    // A file that is in no store, and a version that is in force.
    server.house().write("draft.txt", "keep.example.test\n");
    let draft =
        server.house().run("policy replay", &["--version", "draft.txt", "--agency", "so-y-te"]).well().stdout;
    assert!(
        draft.contains("2 queries from ") && draft.contains("0 queries of 0 clients would be blocked"),
        "{draft}"
    );
    let finished = server.house().run("policy replay", &["--version", "nosuch"]);
    assert!(finished.stderr.contains("has no version \"nosuch\""), "{finished:#?}");
}

#[test]
fn what_is_rejected_is_not_asked_about_again() {
    let server = house().serve();
    let good = server.house().read("authority.txt");
    server.house().write("authority.txt", "mark.example\n");
    server.reload().well();
    feed(server.house(), &["reject", "authority", "--by", "an"]).well();
    let finished = server.reload().well();
    assert!(!finished.stdout.contains("refused"), "{finished:#?}");
    let finished = feed(server.house(), &["reject", "authority", "--by", "an"]);
    assert_eq!(finished.code(), 1, "{finished:#?}");
    assert!(finished.stderr.contains("no refused version"), "{finished:#?}");
    // It comes and goes, and comes again.
    for text in [good.as_str(), "mark.example\n"] {
        server.house().write("authority.txt", text);
        let finished = server.reload().well();
        assert!(!finished.stdout.contains("refused"), "{finished:#?}");
    }
    assert!(is_sinkholed(&server, "first.example") && !is_sinkholed(&server, "mark.example"));
    let finished = feed(server.house(), &["approve", "nobody", "--by", "an"]);
    assert!(finished.stderr.contains("authority, other"), "{finished:#?}");
}

#[test]
fn a_first_version_that_is_bad_leaves_the_others() {
    let house = house();
    house.write("authority.txt", "<html>moved</html>\n");
    let finished = house.run("check", &[]);
    assert_eq!(finished.code(), 1, "{finished:#?}");
    assert!(finished.stdout.contains("it would be refused: this file is a web page"), "{finished:#?}");
    let server = house.serve();
    assert!(is_sinkholed(&server, "other.example"));
    assert!(server.stderr().text().contains("web page"));
    server.house().write("authority.txt", &list(200, "first.example"));
    wait_until("its first good version", || is_sinkholed(&server, "first.example"));
}

#[test]
fn protected_names_are_left_out_and_told() {
    let house = house();
    house.write("protected.txt", "agency.example.vn\n");
    let config = house.read(CONFIG);
    house.write(CONFIG, &format!("{config}\n[gate]\nprotected = [\"protected.txt\"]\nmax_set_aside = 1\n"));
    house.write("authority.txt", &list(200, "www.agency.example.vn"));
    let server = house.serve();
    assert!(!is_sinkholed(&server, "www.agency.example.vn") && is_sinkholed(&server, "evil1.example"));
    assert_eq!(status(server.house())["accepted"]["left_out"], 1);
    let told = "1 protected names are left out: line 201: www.agency.example.vn is protected, as all of agency.example.vn";
    assert!(server.stderr().text().contains(told), "{}", server.stderr().text());

    server.house().write("authority.txt", &list(200, "www.agency.example.vn\nagency.example.vn"));
    let finished = server.reload().well();
    assert!(finished.stdout.contains("more than gate.max_set_aside = 1"), "{finished:#?}");
    // The list of protected names may change too.
    server.house().write("protected.txt", "# nothing\n");
    wait_until("the names", || is_sinkholed(&server, "www.agency.example.vn"));
    assert!(is_sinkholed(&server, "agency.example.vn"));
}

#[test]
fn whoever_is_killed_while_updating_starts_with_a_good_policy() {
    /// Small, and different each time.
    const ROUNDS: u64 = 12;
    let mut house = Setup::new(nsd::address()).feed("authority", &list(3000, "mark0.example")).lay();
    let mut moment = 7u64;
    for round in 1..=ROUNDS {
        let server = house.serve();
        // The policy of the last round, or of the one before: one of both marks, and all that they share.
        // The older one is asked for first: the newer one may take its place in between.
        let marks = [round.saturating_sub(2), round - 1].map(|mark| format!("mark{mark}.example"));
        assert!(is_sinkholed(&server, "evil2999.example"), "round {round}");
        assert!(marks.iter().any(|mark| is_sinkholed(&server, mark)), "round {round}: neither of {marks:?}");
        // What was on its way comes through by itself.
        wait_until(&marks[1], || is_sinkholed(&server, &marks[1]));
        server.house().write("authority.txt", &list(3000, &format!("mark{round}.example")));
        server.signal(Signal::HUP);
        // Somewhere between the signal and some time after the new policy is there.
        moment = moment.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let until = Instant::now() + Duration::from_micros((moment >> 33) % 400_000);
        while Instant::now() < until {
            std::thread::yield_now();
        }
        house = server.stop(Signal::KILL).house;
    }
    let server = house.serve();
    let last = format!("mark{ROUNDS}.example");
    wait_until(&last, || is_sinkholed(&server, &last));
    // What it is writing just now goes by itself.
    let is_left =
        |file: &PathBuf| file.extension().is_some_and(|it| it == "tmp" || it == "new" || it == "damaged");
    wait_until("nothing half done is left", || !server.house().data_files().iter().any(is_left));
}
