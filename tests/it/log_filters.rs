//! `sachdns log` gives the records that were asked for, all of them, in the form that was asked for.

use rustix::process::Signal;

use crate::harness::house::{House, Setup};
use crate::harness::nsd;
use crate::harness::record::{KEYS, Record};

/// The questions in the log, oldest first: client, name, whether it is listed.
const ASKED: [(&str, &str, bool); 6] = [
    ("127.0.0.1", "www.example.test", false),
    ("127.0.0.1", "evil.example.test", true),
    ("127.1.0.5", "www.evil.example.test", true),
    ("127.1.0.5", "notevil.example.test", false),
    ("127.1.0.6", "example.test", false),
    ("127.1.0.6", "evil.example.test", true),
];

/// A folder whose server has stopped: every test here only reads.
fn house() -> House {
    let server = Setup::new(nsd::address())
        .feed("authority", "evil.example.test\n")
        .agency("province", "Tỉnh", "127.0.0.0/16", "it@province.test")
        .agency("so-y-te", "Sở Y tế", "127.1.0.0/16", "it@syt.test")
        .serve();
    for (client, qname, _) in ASKED {
        server.dig().from(client).ask(qname, "A");
    }
    server.stop(Signal::TERM).house
}

/// The places in [`ASKED`] of these records, in their order.
fn places(records: &[Record]) -> Vec<usize> {
    let place = |record: &Record| {
        let asked = |&(client, qname, _): &(&str, &str, bool)| {
            (client, qname) == (record.text("client"), record.text("qname"))
        };
        ASKED.iter().position(asked).unwrap_or_else(|| panic!("nobody asked this: {record:?}"))
    };
    records.iter().map(place).collect()
}

#[test]
fn filters() {
    let house = house();
    let check = |filters: &[&str], expected: &[usize]| {
        assert_eq!(places(&house.log(filters)), expected, "{filters:?}");
    };
    check(&[], &[5, 4, 3, 2, 1, 0]);
    check(&["--client", "127.1.0.5"], &[3, 2]);
    check(&["--client", "127.9.9.9"], &[]);
    check(&["--agency", "so-y-te"], &[5, 4, 3, 2]);
    check(&["--agency", "province"], &[1, 0]);
    // The subtree, whatever the case and the final dot, and nothing that only ends alike.
    check(&["--name", "evil.example.test"], &[5, 2, 1]);
    check(&["--name", "EVIL.Example.test."], &[5, 2, 1]);
    check(&["--name", "example.test"], &[5, 4, 3, 2, 1, 0]);
    check(&["--name", "ample.test"], &[]);
    check(&["--hits"], &[5, 2, 1]);
    check(&["--limit", "2"], &[5, 4]);
    check(&["--hits", "--limit", "2"], &[5, 2]);
    check(&["--hits", "--client", "127.1.0.6"], &[5]);
    check(&["--agency", "so-y-te", "--name", "www.evil.example.test", "--hits"], &[2]);
}

#[test]
fn times() {
    let house = house();
    let all = house.log(&[]);
    let times: Vec<_> = all.iter().map(Record::time).collect();
    assert!(times.is_sorted_by(|newer, older| newer >= older), "newest first: {times:?}");

    // Between the third and the fourth question.
    let middle = times[3] + times[2].duration_since(times[3]) / 2;
    let between = middle.to_string();
    let check = |filters: &[&str], expected: &[usize]| {
        assert_eq!(places(&house.log(filters)), expected, "{filters:?}");
    };
    check(&["--since", &between], &[5, 4, 3]);
    check(&["--until", &between], &[2, 1, 0]);
    check(&["--since", "1h"], &[5, 4, 3, 2, 1, 0]);
    check(&["--since", "90d"], &[5, 4, 3, 2, 1, 0]);
    check(&["--until", "1h"], &[]);
    check(&["--since", &between, "--until", "0s"], &[5, 4, 3]);
    // Another zone's clock shows the same instant.
    let there = middle.display_with_offset(jiff::tz::Offset::constant(7)).to_string();
    check(&["--since", &there], &[5, 4, 3]);
}

#[test]
fn formats() {
    let house = house();
    let csv = house.run("log", &["--format", "csv"]).well().stdout;
    let mut lines = csv.lines();
    let head: Vec<_> = lines.next().unwrap().split(',').collect();
    for key in KEYS {
        assert!(head.contains(&key), "no column {key}: {head:?}");
    }
    assert_eq!(lines.count(), ASKED.len());

    let table = house.run("log", &["--format", "table"]).well().stdout;
    for (client, qname, _) in ASKED {
        let is_shown = table.lines().any(|line| line.contains(client) && line.contains(qname));
        assert!(is_shown, "{client} {qname}:\n{table}");
    }
    assert_eq!(house.run("log", &[]).well().stdout, table, "people are served first");

    let jsonl = house.run("log", &["--format", "jsonl"]).well().stdout;
    assert_eq!(jsonl.lines().count(), ASKED.len());
}

#[test]
fn filters_that_make_no_sense_are_refused() {
    let house = Setup::new(nsd::address()).lay();
    for filters in [
        ["--client", "nonsense"],
        ["--since", "yesterday-ish"],
        ["--until", "2026-13-01T00:00:00Z"],
        ["--name", "a..b"],
        ["--format", "xml"],
        ["--limit", "many"],
    ] {
        let finished = house.run("log", &filters);
        assert_ne!(finished.code(), 0, "{finished:#?}");
        assert!(finished.stdout.is_empty(), "{finished:#?}");
        assert!(finished.stderr.contains(filters[1]), "it names what it does not take: {finished:#?}");
    }
}
