//! Archiving: what is asked before and after it, and when it is stopped in between. No threads, no clock.

mod summaries;

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv6Addr};
use std::ops::ControlFlow;

use super::super::journal::Journal;
use super::super::journal::tests::options as journal_options;
use super::super::record::{Outcome, Record, Severity, Transport, Trigger};
use super::super::segment;
use super::super::store::embedded::Embedded;
use super::super::store::names::{Gathering, Label, Needles, Reach};
use super::super::store::recent::Recent;
use super::super::store::whereabouts::Whereabouts;
use super::super::store::{By, Filter, Kind, Page, Place, Scan, Store as _, Unwatched, Why};
use super::*;
use crate::mac::Mac;
use crate::name::{self, Name};

const SECOND: i64 = 1_000_000;
/// 24 November 2026.
const START: i64 = 1_795_478_400_000_000;

/// A record that differs from most others in most fields.
fn record(n: i64) -> Record<'static> {
    let outcomes =
        [Outcome::Forward, Outcome::Sinkhole, Outcome::Nxdomain, Outcome::Refused, Outcome::Shadow];
    let outcome = outcomes[(n % 5) as usize];
    let is_hit = outcome == Outcome::Sinkhole;
    let qname = match n % 11 {
        0 => Vec::new(),
        1 => vec![0],
        2 => b"\x05a\"b\\\n\x04\x00\xff.,\x07example\x00".to_vec(),
        label => Name::from_host(&format!("n{label}.{}.example", n % 3)).unwrap().as_wire().to_vec(),
    };
    let is_read = !qname.is_empty();
    Record {
        // Some in one microsecond, and a clock that steps back.
        time: START + n / 2 * SECOND - if n % 17 == 0 { 90 * SECOND } else { 0 },
        client: match n % 7 {
            0 => "2001:db8::1".parse().unwrap(),
            n => IpAddr::from([10, 1, n as u8, 3]),
        },
        transport: [Transport::Udp, Transport::Tcp, Transport::Quic][(n % 3) as usize],
        agency: (n % 3 != 0).then(|| format!("so-{}", n % 3).into()),
        mac: (n % 5 == 0).then_some(Mac([0, 0x1a, 0x2b, 0x3c, 0x4d, n as u8])),
        subnet: (n % 6 == 0).then(|| "10.3.2.1/32".parse().unwrap()),
        qname: qname.into(),
        qtype: if is_read { [1, 28, 65, 65534][(n % 4) as usize] } else { 0 },
        qclass: if is_read { [1, 3][usize::from(n % 13 == 0)] } else { 0 },
        rcode: [Some(0), Some(3), None, Some(4000)][(n % 4) as usize],
        outcome,
        is_hit,
        is_cached: n % 2 == 0,
        feed: is_hit.then(|| "authority".into()),
        family: is_hit.then(|| ["Mã độc", "emotet"][(n % 2) as usize].into()),
        severity: is_hit.then_some(Severity::Critical),
        trigger: is_hit.then_some(Trigger::Ip),
        matched: is_hit.then(|| "192.0.2.66".into()),
        answers: match n % 4 {
            0 => Vec::new(),
            1 => vec![IpAddr::from([192, 0, 2, n as u8])],
            _ => vec!["192.0.2.1".parse().unwrap(), "2001:db8::53".parse().unwrap()],
        }
        .into(),
        latency: if n % 5 == 0 { u32::MAX } else { n as u32 },
    }
}

/// Three writers, of two processes; every segment is closed.
fn fill(folder: &Path, count: i64) {
    for run in 0..2 {
        let ledger = Ledger::open(&journal_options(folder)).unwrap();
        let mut journals = [0, 1, 2].map(|number| Journal::open(number, &ledger));
        for n in run * count / 2..(run + 1) * count / 2 {
            let journal = &mut journals[(n % 3) as usize];
            journal.add(&record(n));
            journal.commit(START);
        }
    }
}

fn options() -> Options {
    const YEARS: Duration = Duration::from_secs(86_400 * 365 * 50);
    Options { after: Duration::ZERO, keep_queries: YEARS, keep_hits: YEARS, ..Options::default() }
}

fn work(folder: &Path, options: &Options) -> Work {
    let ledger = Ledger::open(&journal_options(folder)).unwrap();
    Work::new(&ledger, options, &Arc::default())
}

fn archive(folder: &Path) -> Work {
    let mut work = work(folder, &options());
    work.round(Instant::now(), START).unwrap();
    assert_eq!(segment::list(folder).unwrap().len(), 0, "all is archived");
    work
}

fn ask(folder: &Path, filter: &Filter, page: Page) -> (Vec<Record<'static>>, Scan) {
    let mut records = Vec::new();
    let scan = Embedded::new(folder)
        .newest_first(filter, page, &mut Unwatched, &mut |record| {
            records.push(record.clone().into_owned());
            ControlFlow::Continue(())
        })
        .unwrap();
    (records, scan)
}

fn all(folder: &Path, filter: &Filter) -> Vec<Record<'static>> {
    let (records, scan) = ask(folder, filter, Page::default());
    assert_eq!(scan, Scan::default());
    records
}

fn hits() -> Filter {
    Filter { kind: Kind::Hits, ..Filter::default() }
}

fn needles(names: &[&str], nets: &[&str]) -> Needles {
    let label =
        Label { feed: Some("new".into()), family: Some("late".into()), severity: Some(Severity::High) };
    let mut gathering = Gathering::default();
    for name in names {
        let name = Name::from_host(name).unwrap();
        gathering.add_name(name::Key::from(&name).as_bytes(), Reach::Subtree, &label);
    }
    for net in nets {
        gathering.add_net(net.parse().unwrap(), &label);
    }
    gathering.finish()
}

/// Has these names and networks sought.
fn order(folder: &Path, names: &[&str], nets: &[&str]) {
    let label =
        Label { feed: Some("new".into()), family: Some("late".into()), severity: Some(Severity::High) };
    let mut order = Hunter::new(folder).order(i64::MIN).unwrap();
    for name in names {
        let name = Name::from_host(name).unwrap();
        order.add_name(name::Key::from(&name).as_bytes(), Reach::Subtree, &label).unwrap();
    }
    for net in nets {
        order.add_net(net.parse().unwrap(), &label).unwrap();
    }
    order.finish().unwrap();
}

/// A machine that had two addresses for a time, one of them behind a forwarder, and has a MAC.
fn machine() -> Whereabouts {
    let span = |address: &str, from: i64, to: i64| {
        (address.parse().unwrap(), START + from * SECOND, START + to * SECOND)
    };
    Whereabouts {
        spans: vec![span("10.1.3.3", 20, 90), span("10.3.2.1", 0, 40)],
        macs: vec![Mac([0, 0x1a, 0x2b, 0x3c, 0x4d, 5])],
    }
}

/// Filters of every kind, alone and together.
fn filters() -> Vec<Filter> {
    let base = Filter::default;
    let name = |text: &str| Some(Name::from_host(text).unwrap());
    vec![
        base(),
        hits(),
        Filter { client: Some("10.1.3.3".parse().unwrap()), ..base() },
        Filter { client: Some("2001:db8::1".parse().unwrap()), ..hits() },
        // One of whom forwarders told.
        Filter { client: Some("10.3.2.1".parse().unwrap()), ..base() },
        Filter { client: Some("10.3.2.1".parse().unwrap()), ..hits() },
        Filter { agency: Some("so-1".into()), ..base() },
        Filter { name: name("n3.0.example"), ..base() },
        Filter { name: name("1.example"), ..base() },
        Filter { name: name("no.such.name"), ..base() },
        Filter { qtype: Some(28), ..base() },
        Filter { rcode: Some(4000), ..base() },
        Filter { outcome: Some(Outcome::Shadow), ..base() },
        Filter { feed: Some("authority".into()), ..base() },
        Filter { family: Some("emotet".into()), ..hits() },
        Filter { since: Some(START + 100 * SECOND), ..base() },
        Filter { since: Some(START), until: Some(START + 50 * SECOND), ..hits() },
        Filter { until: Some(START), ..base() },
        Filter { sought: Some(Arc::new(needles(&["n4.example", "2.example"], &[]))), ..base() },
        Filter { machine: Some(Arc::new(machine())), ..base() },
        Filter { sought: Some(Arc::new(needles(&["n3.0.example"], &["192.0.2.0/29"]))), ..base() },
        Filter {
            sought: Some(Arc::new(needles(&[], &["2001:db8::53/128"]))),
            agency: Some("so-2".into()),
            ..base()
        },
    ]
}

const BYS: [By; 12] = [
    By::Nothing,
    By::Agency,
    By::Client,
    By::Name,
    By::Type,
    By::Rcode,
    By::Action,
    By::Feed,
    By::Family,
    By::Minute,
    By::Hour,
    By::Day,
];

#[test]
fn what_is_archived_answers_as_it_did_before() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), 600);
    let answers = || filters().iter().map(|filter| all(folder.path(), filter)).collect::<Vec<_>>();
    let recent = Arc::new(Recent::default());
    let counts = || {
        let count = |filter: &Filter, by| {
            let counted = Embedded::new(folder.path()).count(filter, by, &mut Unwatched).unwrap().0;
            // Who counted before is told the same.
            let store = Embedded::new(folder.path()).counting(Arc::clone(&recent));
            assert_eq!(store.count(filter, by, &mut Unwatched).unwrap().0, counted, "{filter:?} {by:?}");
            counted
        };
        filters().iter().flat_map(|filter| BYS.map(|by| count(filter, by))).collect::<Vec<_>>()
    };
    let (before, counted) = (answers(), counts());
    for (filter, records) in filters().iter().zip(&before) {
        let mut expected: Vec<_> = (0..600).map(record).filter(|record| filter.takes(record)).collect();
        let is_known = |text: &Name| text.to_string() == "no.such.name";
        assert_eq!(expected.is_empty(), filter.name.as_ref().is_some_and(is_known), "{filter:?}");
        assert!(records.is_sorted_by_key(|record| -record.time));
        // Each is there once, whatever their order in one microsecond.
        let key = |record: &Record<'_>| (record.time, record.latency, record.client, record.qtype);
        let mut found = records.clone();
        found.sort_by_key(key);
        expected.sort_by_key(key);
        assert_eq!(found, expected, "{filter:?}");
    }
    // A part of it is archived, then all.
    for left in [Some(60), None] {
        let mut work = work(folder.path(), &options());
        work.open().unwrap();
        let mut batch = work.due(START).unwrap().unwrap();
        batch.truncate(left.map_or(batch.len(), |_| 2));
        work.archive(&batch).unwrap();
        assert_eq!(answers(), before);
        assert_eq!(counts(), counted);
    }
    assert_eq!(segment::list(folder.path()).unwrap().len(), 0);
    // Where it is not known what a file has, its names are read.
    for entry in fs::read_dir(store_folder(folder.path())).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|it| it == "names") {
            fs::remove_file(path).unwrap();
        }
    }
    assert_eq!(answers(), before);
    assert_eq!(counts(), counted);
}

#[test]
fn what_comes_while_it_is_counted_is_counted_once() {
    const HOUR: i64 = 3600 * SECOND;
    let folder = tempfile::tempdir().unwrap();
    let recent = Arc::new(Recent::default());
    // Ten days, of which some are archived while the last segment grows.
    let ledger = Ledger::open(&journal_options(folder.path())).unwrap();
    let mut journal = Journal::open(0, &ledger);
    let mut written: Vec<Record<'_>> = Vec::new();
    for n in 0..80 {
        let record = Record { time: START + n * 3 * HOUR + n * SECOND, ..record(n) };
        journal.add(&record);
        journal.commit(START);
        written.push(record);
        if n == 50 {
            drop(journal);
            archive(folder.path());
            journal = Journal::open(0, &Ledger::open(&journal_options(folder.path())).unwrap());
        }
        if n % 9 != 0 {
            continue;
        }
        for (since, until) in
            [(None, None), (Some(5), None), (Some(7), Some(77)), (None, Some(130)), (Some(24), Some(25))]
        {
            let bound = |hours: Option<i64>| hours.map(|hours| START + hours * HOUR);
            for kind in [Kind::All, Kind::Hits] {
                let filter = Filter { since: bound(since), until: bound(until), kind, ..Filter::default() };
                for by in [By::Nothing, By::Agency, By::Family, By::Hour, By::Day] {
                    let store = Embedded::new(folder.path()).counting(Arc::clone(&recent));
                    let counts = store.count(&filter, by, &mut Unwatched).unwrap().0;
                    let sum = counts.iter().map(|count| count.count).sum::<u64>();
                    let expected = written.iter().filter(|record| filter.takes(record)).count() as u64;
                    assert_eq!(sum, expected, "{n} {filter:?} {by:?}");
                }
            }
        }
    }
}

#[test]
fn pages_follow_one_another_wherever_records_lie() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), 300);
    let expected = all(folder.path(), &Filter::default());
    let mut work = work(folder.path(), &options());
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let (records, _) = ask(folder.path(), &Filter::default(), Page { limit: Some(7), after });
        if records.is_empty() {
            break;
        }
        assert!(records.len() <= 7);
        for record in &records {
            after = Some(Place::behind(after, record.time));
        }
        assert_eq!(after.unwrap().to_string().parse::<Place>().unwrap(), after.unwrap());
        pages.extend(records);
        if pages.len() == 49 {
            work.round(Instant::now(), START).unwrap();
        }
    }
    assert_eq!(pages, expected);
}

#[test]
fn whatever_step_is_the_last_nothing_is_lost_or_doubled() {
    let mut steps = 0;
    loop {
        let folder = tempfile::tempdir().unwrap();
        fill(folder.path(), 60);
        let answers = || {
            let counts = Embedded::new(folder.path()).count(&hits(), By::Nothing, &mut Unwatched).unwrap().0;
            (all(folder.path(), &Filter::default()), all(folder.path(), &hits()), counts)
        };
        let before = answers();
        let mut first = work(folder.path(), &options());
        first.steps = Some(steps);
        let outcome = first.round(Instant::now(), START);
        assert_eq!(answers(), before, "stopped after step {steps}");
        drop(first);
        let is_done = outcome.is_ok();
        // Numbers go on behind what is archived, and new records are none of the old.
        let ledger = Ledger::open(&journal_options(folder.path())).unwrap();
        let mut journal = Journal::open(0, &ledger);
        journal.add(&record(1000));
        journal.commit(START);
        drop(journal);
        let with_new = answers();
        assert_eq!(with_new.0.len(), before.0.len() + 1, "stopped after step {steps}");
        archive(folder.path());
        assert_eq!(answers(), with_new, "stopped after step {steps}");
        let left = fs::read_dir(store_folder(folder.path())).unwrap().flatten();
        let left: Vec<String> = left.map(|entry| entry.file_name().into_string().unwrap()).collect();
        assert!(!left.iter().any(|name| name.ends_with(".new")), "{left:?}");
        if is_done {
            break;
        }
        steps += 1;
    }
    // Writing, two renames, the commit, and each of six segments.
    assert!(steps >= 9, "{steps} steps");
}

#[test]
fn a_lost_or_damaged_catalogue_is_made_again() {
    for damage in [None, Some("no database at all, but long enough to be looked at")] {
        let folder = tempfile::tempdir().unwrap();
        fill(folder.path(), 100);
        let answers = || (all(folder.path(), &Filter::default()), all(folder.path(), &hits()));
        let before = answers();
        drop(archive(folder.path()));
        let path = store_folder(folder.path()).join("store.db");
        for extension in ["-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{extension}", path.display()));
        }
        match damage {
            Some(text) => fs::write(&path, text.repeat(100)).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let mut work = work(folder.path(), &options());
        while let Err(error) = work.round(Instant::now(), START) {
            assert!(damage.is_some());
            work.tell(&error);
        }
        assert_eq!(answers(), before);
        assert_eq!(path.with_extension("db.damaged").exists(), damage.is_some());
    }
}

#[test]
fn finds_are_hits_before_listed_and_entered_once() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), 200);
    let sought = Arc::new(needles(&["n5.example", "1.example"], &["192.0.2.1/32"]));
    let is_find = |it: &Record<'_>| !it.is_hit && sought.find_in(it).is_some();
    let known = all(folder.path(), &Filter::default());
    let finds = known.iter().filter(|it| is_find(it)).count();
    assert!(finds > 20);
    let mut work = work(folder.path(), &options());
    work.open().unwrap();
    let mut batch = work.due(START).unwrap().unwrap();
    batch.truncate(3);
    work.archive(&batch).unwrap();
    // Half of it lies in segments yet; and what was found is found again.
    for round in 0..6 {
        order(folder.path(), &["n5.example", "1.example"], &["192.0.2.1/32"]);
        while work.go_hunting().unwrap() {}
        let late: Vec<_> = all(folder.path(), &hits())
            .into_iter()
            .filter(|it| it.family.as_deref() == Some("late"))
            .collect();
        let mut expected = BTreeMap::new();
        for it in known.iter().filter(|it| is_find(it)) {
            // One of those that differ in nothing that a person would see is enough.
            expected.insert((it.time, it.client, it.qname.to_vec()), ());
        }
        assert_eq!(late.len(), expected.len(), "round {round}");
        assert!(late.iter().all(|it| it.is_before_listed() == matches!(it.outcome, Outcome::Forward)));
        assert_eq!(all(folder.path(), &Filter::default()), known, "the query itself is there once");
        if round == 1 {
            work.round(Instant::now(), START).unwrap();
        }
    }
    assert!(!folder.path().join("store/hunts/failed").exists(), "none has failed");
}

#[test]
fn old_queries_go_and_their_hits_stay() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), 200);
    let known_hits = all(folder.path(), &hits());
    let total = Embedded::new(folder.path()).count(&Filter::default(), By::Nothing, &mut Unwatched).unwrap();
    drop(archive(folder.path()));
    let day = Duration::from_secs(86_400);
    let kept = Options { keep_queries: 2 * day, keep_hits: 30 * day, ..options() };
    let clock = START + 3 * 86_400 * SECOND;
    let mut work = work(folder.path(), &kept);
    work.round(Instant::now(), clock).unwrap();
    assert_eq!(all(folder.path(), &hits()), known_hits);
    assert_eq!(all(folder.path(), &Filter::default()), known_hits);
    // What was counted by the hour is still known.
    assert_eq!(
        Embedded::new(folder.path()).count(&Filter::default(), By::Nothing, &mut Unwatched).unwrap(),
        total
    );
    // A part of an hour is not, which is told.
    let part = Filter { since: Some(START + 10 * SECOND), ..Filter::default() };
    let (_, scan) = Embedded::new(folder.path()).count(&part, By::Nothing, &mut Unwatched).unwrap();
    assert_eq!(scan.uncounted, [(START + 10 * SECOND, START + 3600 * SECOND)]);
    let part = Filter { until: Some(START + 20 * SECOND), ..part };
    let (_, scan) = Embedded::new(folder.path()).count(&part, By::Nothing, &mut Unwatched).unwrap();
    assert_eq!(scan.uncounted, [(START + 10 * SECOND, START + 20 * SECOND)]);
    let names: Vec<_> = fs::read_dir(store_folder(folder.path())).unwrap().flatten().collect();
    assert!(!names.iter().any(|it| it.path().extension().is_some_and(|it| it == "parquet" || it == "names")));
    work.expired = None;
    work.round(Instant::now(), START + 40 * 86_400 * SECOND).unwrap();
    assert!(all(folder.path(), &Filter::default()).is_empty());
}

#[test]
fn files_that_are_owed_stay_and_are_a_gap_where_they_had_to_go() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), 60);
    let kept = Options { keep_queries: Duration::from_secs(1), ..options() };
    let mut work = work(folder.path(), &kept);
    work.ledger.owed().begin(HashSet::new());
    let late = START + 3600 * SECOND;
    work.round(Instant::now(), late).unwrap();
    let before = all(folder.path(), &Filter::default());
    assert_eq!(before.len(), 60, "too old, and owed");
    let file = work.catalogue().unwrap().files().unwrap().remove(0);
    // As the keeper does where all together are too large.
    fs::remove_file(store_folder(folder.path()).join(file.name.to_string())).unwrap();
    work.expired = None;
    work.round(Instant::now(), late).unwrap();
    let hits = before.iter().filter(|record| record.is_hit).count();
    let gaps = Embedded::new(folder.path()).gaps(None, None).unwrap();
    let [gap] = &*gaps else { panic!("{gaps:?}") };
    assert_eq!((gap.why, gap.count), (Why::Unshipped, (60 - hits) as u64));
    assert_eq!((gap.earliest, gap.latest), (file.name.earliest, file.name.latest));
    let catalogue = work.catalogue().unwrap();
    assert_eq!(catalogue.retired().unwrap().len(), 1);
    assert_eq!(catalogue.hits_of(file.id).unwrap().len(), hits, "they are still to be had");
}

#[test]
fn what_is_not_owed_any_more_goes_by_its_age() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), 60);
    let kept = Options { keep_queries: Duration::from_secs(1), ..options() };
    let mut work = work(folder.path(), &kept);
    work.ledger.owed().begin(HashSet::new());
    let late = START + 3600 * SECOND;
    work.round(Instant::now(), late).unwrap();
    let file = work.catalogue().unwrap().files().unwrap().remove(0);
    work.ledger.owed().settle(file.name.number);
    work.expired = None;
    work.round(Instant::now(), late).unwrap();
    assert_eq!(work.catalogue().unwrap().files().unwrap().len(), 0);
    assert_eq!(Embedded::new(folder.path()).gaps(None, None).unwrap(), []);
}

#[test]
fn old_clients_are_made_unknown_but_for_hits() {
    for anonymise in [Anonymise::Truncate, Anonymise::Hash] {
        let folder = tempfile::tempdir().unwrap();
        fill(folder.path(), 100);
        let before = all(folder.path(), &Filter::default());
        drop(archive(folder.path()));
        let options = Options { anonymise, anonymise_after: Duration::from_secs(60), ..options() };
        let mut work = work(folder.path(), &options);
        for _ in 0..2 {
            work.expired = None;
            work.round(Instant::now(), START + 3600 * SECOND).unwrap();
        }
        let after = all(folder.path(), &Filter::default());
        assert_eq!(after.len(), before.len());
        let of = |records: &[Record<'_>], is_hit| {
            let chosen = records.iter().filter(|it| it.is_hit == is_hit);
            chosen.map(|it| it.client).collect::<HashSet<IpAddr>>()
        };
        assert_eq!(of(&after, true), of(&before, true));
        // Nor is what a forwarder told of them.
        let is_told = |it: &&Record<'_>| it.mac.is_some() || it.subnet.is_some();
        assert!(before.iter().any(|it| !it.is_hit && is_told(&it)));
        assert!(!after.iter().any(|it| !it.is_hit && is_told(&it)));
        let (known, unknown) = (of(&before, false), of(&after, false));
        assert!(known.is_disjoint(&unknown), "{unknown:?}");
        assert_eq!(known.len(), unknown.len(), "each network here has one client");
        let is_expected = |client: &IpAddr| match (anonymise, client) {
            (Anonymise::Hash, IpAddr::V6(client)) => client.segments()[..4] == [0x100, 0, 0, 0],
            (_, IpAddr::V4(client)) => client.octets()[3] == 0,
            (_, IpAddr::V6(client)) => *client == "2001:db8::".parse::<Ipv6Addr>().unwrap(),
        };
        assert!(unknown.iter().all(is_expected), "{unknown:?}");
    }
}

#[test]
fn damage_is_told_and_costs_what_it_hits() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), 60);
    let before = all(folder.path(), &Filter::default());
    // A block's checksum no longer fits.
    let hurt = segment::list(folder.path()).unwrap().remove(0);
    let mut octets = fs::read(&hurt.path).unwrap();
    octets[40] ^= 1;
    fs::write(&hurt.path, &octets).unwrap();
    drop(archive(folder.path()));
    assert_eq!(all(folder.path(), &Filter::default()).len(), before.len() - 1);
    let gaps = Embedded::new(folder.path()).gaps(None, None).unwrap();
    assert_eq!(gaps.len(), 1);
    assert_eq!((gaps[0].why, gaps[0].place.as_deref()), (Why::Damaged, Some(&*hurt.id.file_name())));
    assert_eq!(fs::read(hurt.path.with_extension("seg.damaged")).unwrap(), octets);

    let store = store_folder(folder.path());
    let path = |extension: &str| {
        let entries = fs::read_dir(&store).unwrap().flatten().map(|entry| entry.path());
        entries.into_iter().find(|path| path.extension().is_some_and(|it| it == extension)).unwrap()
    };
    // Without its names a file is read.
    fs::write(path("names"), "damaged").unwrap();
    let name = Filter { name: Some(Name::from_host("n3.0.example").unwrap()), ..Filter::default() };
    assert!(!all(folder.path(), &name).is_empty());
    // Cut or changed anywhere, a file is told and never ends the search.
    let whole = fs::read(path("parquet")).unwrap();
    let mut told = 0;
    for at in (0..whole.len()).step_by(whole.len() / 60 + 1) {
        let mut changed = whole.clone();
        changed[at] ^= 0x55;
        for octets in [&whole[..at], &changed] {
            fs::write(path("parquet"), octets).unwrap();
            let (records, scan) = ask(folder.path(), &Filter::default(), Page::default());
            told += scan.unreadable.len();
            assert!(records.len() <= before.len());
        }
    }
    assert!(told > 50, "{told}");
}

#[test]
fn gaps_are_entered_and_grow() {
    let folder = tempfile::tempdir().unwrap();
    let mut work = work(folder.path(), &options());
    for second in 0..3 {
        work.ledger.lose(5, START + second * SECOND);
        work.ledger.drop_records(7, START + second * SECOND);
        work.enter_gaps().unwrap();
    }
    work.ledger.lose(1, START + 3600 * SECOND);
    work.enter_gaps().unwrap();
    let gaps = Embedded::new(folder.path()).gaps(None, None).unwrap();
    let facts: Vec<_> = gaps.iter().map(|gap| (gap.why, gap.earliest, gap.latest, gap.count)).collect();
    let end = START + 2 * SECOND;
    assert_eq!(
        facts,
        [
            (Why::Refused, START + 3600 * SECOND, START + 3600 * SECOND, 1),
            (Why::NoRoom, START, end, 21),
            (Why::Refused, START, end, 15),
        ]
    );
    assert_eq!(Embedded::new(folder.path()).gaps(Some(end + 1), None).unwrap().len(), 1);
}
