//! Summaries: they tell what the rows told, whatever happens to either.

use super::*;
use crate::evidence::store::Sighting;
use crate::evidence::store::names::What;

/// Long after everything that is recorded here.
const LATER: i64 = START + 3 * 86_400 * SECOND;

/// Does all that is due.
fn finish(work: &mut Work, clock: i64) {
    work.expired = None;
    while work.round(Instant::now(), clock).unwrap() {}
}

/// Archived, and summarised.
fn summarised(folder: &Path, count: i64) -> Work {
    fill(folder, count);
    let mut work = work(folder, &options());
    finish(&mut work, LATER);
    assert_eq!(paths(folder, "summary").len(), 1);
    work
}

fn paths(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(store_folder(folder)).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|it| it == extension)).collect()
}

/// As `log.max_size` makes them go.
fn remove_rows(folder: &Path) {
    for path in [paths(folder, "parquet"), paths(folder, "names")].concat() {
        fs::remove_file(path).unwrap();
    }
}

fn sought() -> Filter {
    let needles =
        needles(&["n5.example", "1.example", "n3.0.example"], &["192.0.2.0/29", "2001:db8::53/128"]);
    Filter { sought: Some(Arc::new(needles)), ..Filter::default() }
}

/// What is found, without the times within a minute.
fn sightings(folder: &Path, filter: &Filter) -> Vec<Sighting> {
    let (found, scan) = Embedded::new(folder).sightings(filter, &mut Unwatched).unwrap();
    assert_eq!(scan, Scan::default());
    let minute = |time: i64| time.div_euclid(60 * SECOND);
    let rough = |it: Sighting| Sighting { first: minute(it.first), last: minute(it.last), ..it };
    let mut found: Vec<Sighting> = found.into_iter().map(rough).collect();
    found.sort_by(|a, b| (a.client, &a.agency, &a.what).cmp(&(b.client, &b.agency, &b.what)));
    found
}

/// What is expected of it, by a look at every record.
fn expected(count: i64, filter: &Filter) -> Vec<(IpAddr, What, u64)> {
    let sought = filter.sought.clone().unwrap();
    let mut expected = BTreeMap::<(IpAddr, Option<String>, What), u64>::new();
    for record in (0..count).map(record) {
        let name = Name::from_wire(&record.qname).map(What::Name);
        let mut all: Vec<What> =
            name.into_iter().chain(record.answers.iter().copied().map(What::Address)).collect();
        all.retain(|what| sought.label_of(what).is_some());
        for what in all {
            *expected.entry((record.client, record.agency.as_deref().map(Into::into), what)).or_default() +=
                1;
        }
    }
    expected.into_iter().map(|((client, _, what), count)| (client, what, count)).collect()
}

#[test]
fn a_summary_tells_what_the_rows_told() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), 600);
    let filters: Vec<Filter> = vec![
        sought(),
        Filter { client: Some("10.1.3.3".parse().unwrap()), ..sought() },
        Filter { agency: Some("so-1".into()), ..sought() },
        Filter { name: Some(Name::from_host("1.example").unwrap()), ..Filter::default() },
        Filter {
            sought: Some(Arc::new(needles(&["no.such.name"], &["203.0.113.0/24"]))),
            ..Filter::default()
        },
        // These need rows, and get them.
        Filter { since: Some(START + 100 * SECOND), ..sought() },
        Filter { qtype: Some(28), ..sought() },
    ];
    let answers = || filters.iter().map(|filter| sightings(folder.path(), filter)).collect::<Vec<_>>();
    let records = || filters.iter().map(|filter| all(folder.path(), filter)).collect::<Vec<_>>();
    let (before, rows) = (answers(), records());
    let told: Vec<_> = before[0].iter().map(|it| (it.client, it.what.clone(), it.count)).collect();
    assert_eq!(told, expected(600, &filters[0]));
    assert!(before[0].iter().any(|it| it.was_hit) && before[0].iter().any(|it| !it.was_hit));
    let mut work = archive(folder.path());
    assert!(paths(folder.path(), "summary").is_empty(), "the day is not over");
    assert_eq!((answers(), records()), (before.clone(), rows.clone()));
    finish(&mut work, LATER);
    assert_eq!(paths(folder.path(), "summary").len(), 1);
    assert_eq!((answers(), records()), (before.clone(), rows));

    // Rows go, what they told stays.
    remove_rows(folder.path());
    for _ in 0..2 {
        assert_eq!(answers()[..5], before[..5]);
        let (left, scan) = ask(folder.path(), &filters[0], Page::default());
        assert!(left.iter().all(|record| record.is_hit), "hits are kept in the catalogue");
        assert_eq!(scan.gone, before[0].len() as u64);
        // … also once it is told.
        finish(&mut work, LATER);
    }
    let many = Filter { since: Some(START + 3600 * SECOND), ..sought() };
    assert!(sightings(folder.path(), &many).is_empty());
}

#[test]
fn finds_whose_rows_are_gone_become_hits_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut work = summarised(folder.path(), 300);
    let known = sightings(folder.path(), &sought());
    remove_rows(folder.path());
    for _ in 0..2 {
        order(
            folder.path(),
            &["n5.example", "1.example", "n3.0.example"],
            &["192.0.2.0/29", "2001:db8::53/128"],
        );
        finish(&mut work, LATER);
        let late: Vec<_> = all(folder.path(), &hits())
            .into_iter()
            .filter(|it| it.family.as_deref() == Some("late"))
            .collect();
        let key = |client: IpAddr, what: String| (client, what);
        let found: HashSet<_> = late
            .iter()
            .map(|it| {
                key(
                    it.client,
                    it.matched
                        .as_deref()
                        .map_or_else(|| name::Presentation(&it.qname).to_string(), Into::into),
                )
            })
            .collect();
        let expected: HashSet<_> =
            known.iter().filter(|it| !it.was_hit).map(|it| key(it.client, it.what.to_string())).collect();
        assert_eq!(found, expected);
        assert!(late.iter().all(Record::is_before_listed));
        let kept = all(folder.path(), &Filter { family: Some("late".into()), ..Filter::default() });
        assert_eq!(kept.len(), late.len(), "of what is gone, hits are left");
    }
}

#[test]
fn of_too_many_rows_a_search_finds_the_summary() {
    let folder = tempfile::tempdir().unwrap();
    let rows = 10_500;
    {
        let ledger = Ledger::open(&journal_options(folder.path())).unwrap();
        let mut journal = Journal::open(0, &ledger);
        let qname = Name::from_host("many.example").unwrap().as_wire().to_vec();
        for n in 0..rows {
            let (qname, outcome) = (qname.clone().into(), Outcome::Forward);
            let plain = Record { qname, outcome, is_hit: false, feed: None, family: None, ..record(n) };
            journal.add(&Record { severity: None, trigger: None, matched: None, ..plain });
            if n % 50 == 49 {
                journal.commit(START);
            }
        }
    }
    let mut work = work(folder.path(), &options());
    finish(&mut work, LATER);
    order(folder.path(), &["many.example"], &[]);
    finish(&mut work, LATER);
    let found = all(folder.path(), &Filter { family: Some("late".into()), ..hits() });
    let clients: HashSet<_> = found.iter().map(|it| it.client).collect();
    assert_eq!(clients.len(), 7, "each client is found");
    assert!(found.len() <= 7 * 3, "{} hits", found.len());
    assert_eq!(all(folder.path(), &Filter::default()).len(), rows as usize, "the query itself is there once");
}

#[test]
fn whatever_step_is_the_last_a_day_is_summarised_once() {
    let mut steps = 0;
    loop {
        let folder = tempfile::tempdir().unwrap();
        fill(folder.path(), 60);
        let before = (sightings(folder.path(), &sought()), all(folder.path(), &sought()));
        drop(archive(folder.path()));
        let mut first = work(folder.path(), &options());
        first.steps = Some(steps);
        let mut is_stopped = false;
        loop {
            match first.round(Instant::now(), LATER) {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) => {
                    is_stopped = true;
                    break;
                }
            }
        }
        drop(first);
        assert_eq!((sightings(folder.path(), &sought()), all(folder.path(), &sought())), before);
        finish(&mut work(folder.path(), &options()), LATER);
        assert_eq!(paths(folder.path(), "summary").len(), 1, "stopped after step {steps}");
        assert!(paths(folder.path(), "new").is_empty());
        assert_eq!((sightings(folder.path(), &sought()), all(folder.path(), &sought())), before);
        if !is_stopped {
            break;
        }
        steps += 1;
    }
    assert!(steps >= 2, "{steps} steps");
}

#[test]
fn a_summary_outlives_the_catalogue_and_its_files() {
    let folder = tempfile::tempdir().unwrap();
    drop(summarised(folder.path(), 200));
    let known = sightings(folder.path(), &sought());
    for is_row_left in [true, false] {
        if !is_row_left {
            remove_rows(folder.path());
        }
        for name in ["store.db", "store.db-wal", "store.db-shm"] {
            let _ = fs::remove_file(store_folder(folder.path()).join(name));
        }
        finish(&mut work(folder.path(), &options()), LATER);
        assert_eq!(paths(folder.path(), "summary").len(), 1);
        assert_eq!(sightings(folder.path(), &sought()), known);
    }
}

#[test]
fn a_damaged_summary_is_told_and_the_files_are_searched() {
    let folder = tempfile::tempdir().unwrap();
    drop(summarised(folder.path(), 200));
    let before = all(folder.path(), &sought());
    let path = paths(folder.path(), "summary").remove(0);
    fs::write(&path, "damaged").unwrap();
    let (found, scan) = ask(folder.path(), &sought(), Page::default());
    assert_eq!(found, before);
    assert_eq!(scan.unreadable.len(), 1);
    assert_eq!(scan.unreadable[0].0, path);
    fs::remove_file(&path).unwrap();
    assert_eq!(all(folder.path(), &sought()), before, "one that was retired is no trouble");
}

#[test]
fn summaries_go_by_their_age_and_are_not_made_again() {
    let folder = tempfile::tempdir().unwrap();
    drop(summarised(folder.path(), 60));
    let kept = Options { keep_summaries: Duration::from_secs(86_400), ..options() };
    for _ in 0..2 {
        finish(&mut work(folder.path(), &kept), LATER);
        assert!(paths(folder.path(), "summary").is_empty());
    }
    // Nor where one went for another reason.
    let folder = tempfile::tempdir().unwrap();
    let mut work = summarised(folder.path(), 60);
    fs::remove_file(paths(folder.path(), "summary").remove(0)).unwrap();
    finish(&mut work, LATER);
    assert!(paths(folder.path(), "summary").is_empty());
}

#[test]
fn old_clients_become_unknown_in_summaries_but_for_hits() {
    for anonymise in [Anonymise::Truncate, Anonymise::Hash] {
        let folder = tempfile::tempdir().unwrap();
        drop(summarised(folder.path(), 200));
        let known = sightings(folder.path(), &sought());
        let options = Options { anonymise, anonymise_after: Duration::from_secs(60), ..options() };
        for _ in 0..2 {
            finish(&mut work(folder.path(), &options), LATER);
        }
        remove_rows(folder.path());
        let found = sightings(folder.path(), &sought());
        assert_eq!(
            found.iter().map(|it| it.count).sum::<u64>(),
            known.iter().map(|it| it.count).sum::<u64>()
        );
        let of = |all: &[Sighting], was_hit: bool| -> HashSet<IpAddr> {
            all.iter().filter(|it| it.was_hit == was_hit).map(|it| it.client).collect()
        };
        assert_eq!(of(&found, true), of(&known, true));
        assert!(of(&found, false).is_disjoint(&of(&known, false)));
    }
}

#[test]
fn a_search_survives_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), 200);
    drop(archive(folder.path()));
    order(folder.path(), &["1.example"], &[]);
    let is_stopping = Arc::new(AtomicBool::new(true));
    let ledger = Ledger::open(&journal_options(folder.path())).unwrap();
    let mut stopped = Work::new(&ledger, &options(), &is_stopping);
    while stopped.round(Instant::now(), START).unwrap() {}
    drop(stopped);
    assert_eq!(fs::read_dir(store_folder(folder.path()).join("hunts")).unwrap().count(), 1);
    finish(&mut work(folder.path(), &options()), START);
    assert!(!all(folder.path(), &Filter { family: Some("late".into()), ..hits() }).is_empty());
    assert_eq!(fs::read_dir(store_folder(folder.path()).join("hunts")).unwrap().count(), 0);
}

#[test]
fn a_search_that_cannot_be_read_is_given_up_and_holds_up_no_other() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), 60);
    drop(archive(folder.path()));
    order(folder.path(), &["0.example"], &[]);
    let hunts = store_folder(folder.path()).join("hunts");
    let first = fs::read_dir(&hunts).unwrap().next().unwrap().unwrap().path();
    fs::write(&first, "no order").unwrap();
    order(folder.path(), &["1.example"], &[]);
    let mut work = work(folder.path(), &options());
    let faults = (0..20).filter(|_| work.round(Instant::now(), START).is_err()).count();
    assert_eq!(faults, 3);
    assert!(!all(folder.path(), &Filter { family: Some("late".into()), ..hits() }).is_empty());
}
