//! Every record comes once, whatever becomes of the log meanwhile; what is given up is counted.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::evidence::journal::{self, Journal};
use crate::evidence::ledger::Ledger;
use crate::evidence::record::tests::sample;

/// A log of two journals, and an outlet's folder.
struct House {
    folder: tempfile::TempDir,
    ledger: Arc<Ledger>,
    journals: Vec<Journal>,
    run: i64,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Self::ledger(folder.path());
        Self { journals: journals(&ledger), ledger, folder, run: 1 }
    }

    fn ledger(folder: &Path) -> Arc<Ledger> {
        // The smallest segments.
        let options =
            journal::Options { folder: folder.join("log"), sync: Duration::ZERO, max_size: 1 << 18 };
        Ledger::open(&options).unwrap()
    }

    /// As after a restart: closed segments stay behind.
    fn restart(&mut self) {
        self.journals.clear();
        self.run += 1;
        self.ledger = Self::ledger(self.folder.path());
        self.journals = journals(&self.ledger);
    }

    fn write(&mut self, times: std::ops::Range<i64>) {
        for time in times {
            let journal = &mut self.journals[usize::try_from(time % 2).unwrap()];
            journal.add(&Record { is_hit: time % 10 == 0, ..sample(time) });
            journal.commit(time);
        }
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn own(&self) -> PathBuf {
        self.log().join("outlets/siem")
    }

    fn follower(&self) -> Follower {
        Follower::open(&self.log(), &self.own(), self.run, self.ledger.first(), Since::Now).unwrap()
    }

    /// How many segments have their second name.
    fn waiting(&self) -> usize {
        let runs = place::runs(&self.own()).unwrap().into_iter();
        runs.map(|run| segment::list(&place::run_folder(&self.own(), run)).unwrap().len()).sum()
    }
}

fn journals(ledger: &Arc<Ledger>) -> Vec<Journal> {
    (0..2).map(|number| Journal::open(number, ledger)).collect()
}

#[test]
fn a_folder_that_somebody_took_away_costs_nothing() {
    let mut house = House::new();
    let mut follower = house.follower();
    house.write(0..10);
    assert_eq!(read(&mut follower).0.len(), 10);
    fs::remove_dir_all(place::run_folder(&house.own(), house.run)).unwrap();
    house.write(10..20);
    assert_eq!(in_order(read(&mut follower).0), (10..20).collect::<Vec<_>>());
    fs::remove_dir_all(place::run_folder(&house.own(), house.run)).unwrap();
    // Long enough for new segments.
    house.write(20..3000);
    assert_eq!(in_order(read(&mut follower).0), (20..3000).collect::<Vec<_>>());
}

fn in_order(mut times: Vec<i64>) -> Vec<i64> {
    times.sort_unstable();
    times
}

/// Reads all there is; the chunks are on their way.
fn read(follower: &mut Follower) -> (Vec<i64>, Vec<Chunk>) {
    let (mut times, mut chunks) = (Vec::new(), Vec::new());
    follower.look().unwrap();
    while let Some(chunk) = follower.read(&mut |record| times.push(record.time)).unwrap() {
        follower.launch(chunk);
        chunks.push(chunk);
    }
    (times, chunks)
}

/// Each once.
#[track_caller]
fn check(mut times: Vec<i64>, expected: std::ops::Range<i64>) {
    times.sort_unstable();
    let odd = times.iter().copied().zip(expected.clone()).find(|(got, expected)| got != expected);
    assert!(odd.is_none() && times.len() == expected.count(), "{} times, {odd:?}", times.len());
}

#[test]
fn each_record_comes_once_and_nothing_stays() {
    let mut house = House::new();
    let mut follower = house.follower();
    let mut all = Vec::new();
    // Some segments of each journal, read now and then.
    for start in (0..20_000).step_by(1000) {
        house.write(start..start + 1000);
        let (times, chunks) = read(&mut follower);
        // Within what is there at once, about in order: a block of one journal may begin before the other's last.
        check(times.clone(), start..start + 1000);
        chunks.into_iter().for_each(|chunk| follower.land(chunk));
        all.extend(times);
    }
    check(all, 0..20_000);
    house.journals.clear();
    assert_eq!(read(&mut follower).0, Vec::<i64>::new());
    assert_eq!(house.waiting(), 0, "what has arrived holds no room");
    follower.save().unwrap();
    let mut again = house.follower();
    assert_eq!(read(&mut again).0, Vec::<i64>::new());
}

#[test]
fn what_is_not_known_to_have_arrived_comes_again() {
    let mut house = House::new();
    let mut follower = house.follower();
    house.write(0..3000);
    let (_, chunks) = read(&mut follower);
    house.write(3000..6000);
    let (_, more) = read(&mut follower);
    chunks.into_iter().for_each(|chunk| follower.land(chunk));
    follower.rewind();
    check(read(&mut follower).0, 3000..6000);

    // A kill: what was saved holds, and the rest comes again.
    follower.save().unwrap();
    drop((follower, more));
    house.restart();
    let mut follower = house.follower();
    let (times, chunks) = read(&mut follower);
    check(times, 3000..6000);
    chunks.into_iter().for_each(|chunk| follower.land(chunk));
    assert_eq!(house.waiting(), 0, "segments of the process before are done");
}

#[test]
fn what_the_log_retires_or_archives_stays_until_it_has_arrived() {
    let mut house = House::new();
    let mut follower = house.follower();
    house.write(0..5000);
    follower.look().unwrap();
    house.journals.clear();
    follower.save().unwrap();
    for segment in segment::list(&house.log()).unwrap() {
        fs::remove_file(segment.path).unwrap();
    }
    let mut follower = house.follower();
    let (times, chunks) = read(&mut follower);
    check(times, 0..5000);
    chunks.into_iter().for_each(|chunk| follower.land(chunk));
    assert_eq!(house.waiting(), 0);
}

#[test]
fn what_does_not_fit_is_given_up_and_counted() {
    let mut house = House::new();
    let mut follower = house.follower();
    house.write(0..20_000);
    follower.look().unwrap();
    let hits = |record: &Record<'_>| record.is_hit;
    let most = 300_000;
    let missed = follower.bound(most, false, &hits).unwrap();
    let (times, chunks) = read(&mut follower);
    let got = times.iter().filter(|time| *time % 10 == 0).count() as u64;
    assert!(missed > 500 && got > 100, "{missed} missed, {got} kept");
    assert_eq!(missed + got, 2000);
    assert_eq!(follower.missed, missed);
    assert!(times.contains(&19_999), "the oldest go first");
    // What is on its way counts, and may be given up too.
    assert_eq!(follower.bound(most, false, &hits).unwrap(), 0);
    assert_eq!(follower.bound(0, false, &hits).unwrap(), got);
    chunks.into_iter().for_each(|chunk| follower.land(chunk));
    follower.rewind();
    assert_eq!(read(&mut follower).0, Vec::<i64>::new());
    house.journals.clear();
    read(&mut follower);
    assert_eq!(house.waiting(), 0);
}

#[test]
fn on_a_scarce_disk_only_what_the_log_has_too_is_kept() {
    let mut house = House::new();
    let mut follower = house.follower();
    house.write(0..10_000);
    follower.look().unwrap();
    let oldest = segment::list(&house.log()).unwrap().remove(0);
    let held = oldest.survey().unwrap().span.count;
    fs::remove_file(oldest.path).unwrap();
    assert_eq!(follower.bound(u64::MAX, false, &|_| true).unwrap(), 0);
    assert_eq!(follower.bound(u64::MAX, true, &|_| true).unwrap(), held);
    assert_eq!(read(&mut follower).0.len() as u64, 10_000 - held);
}

#[test]
fn one_that_begins_with_the_start_is_never_too_late() {
    let mut house = House::new();
    house.write(0..3000);
    house.restart();
    house.write(3000..9000);
    let first = house.ledger.first();
    let open = || Follower::open(&house.log(), &house.own(), house.run, first, Since::Start).unwrap();
    let mut follower = open();
    let (times, chunks) = read(&mut follower);
    check(times, 3000..9000);
    chunks.into_iter().for_each(|chunk| follower.land(chunk));
    follower.save().unwrap();
    assert_eq!(read(&mut open()).0, Vec::<i64>::new(), "once");
}

#[test]
fn a_new_outlet_begins_with_what_comes() {
    let mut house = House::new();
    house.write(0..5000);
    let mut follower = house.follower();
    assert_eq!(read(&mut follower).0, Vec::<i64>::new());
    house.write(5000..8000);
    check(read(&mut follower).0, 5000..8000);
    // So where segments of earlier processes lie.
    fs::remove_dir_all(house.own()).unwrap();
    house.restart();
    let mut follower = house.follower();
    house.write(0..10);
    check(read(&mut follower).0, 0..10);
}

#[test]
fn numbers_that_are_given_again_are_other_segments() {
    let mut house = House::new();
    let mut follower = house.follower();
    house.write(0..2000);
    follower.look().unwrap();
    follower.save().unwrap();
    drop(follower);
    // The receiver is away, and the log has archived all: the next process begins with the same numbers.
    house.journals.clear();
    for segment in segment::list(&house.log()).unwrap() {
        fs::remove_file(segment.path).unwrap();
    }
    house.restart();
    assert_eq!(house.ledger.first(), 1);
    let mut follower = house.follower();
    house.write(2000..4000);
    let (times, chunks) = read(&mut follower);
    assert!(times.is_sorted_by_key(|time| *time >= 2000), "the older process first");
    check(times, 0..4000);
    chunks.into_iter().for_each(|chunk| follower.land(chunk));
    assert_eq!(place::runs(&house.own()).unwrap(), [2]);
}

#[test]
fn what_was_begun_after_the_last_look_before_a_kill_is_sent() {
    let mut house = House::new();
    house.write(0..10);
    let mut follower = house.follower();
    house.write(10..4000);
    let (times, chunks) = read(&mut follower);
    check(times, 10..4000);
    chunks.into_iter().for_each(|chunk| follower.land(chunk));
    follower.save().unwrap();
    drop(follower);
    house.write(4000..8000);
    house.restart();
    let mut follower = house.follower();
    check(read(&mut follower).0, 4000..8000);
}

#[test]
fn a_segment_cut_anywhere_gives_its_whole_records_and_ends() {
    let mut house = House::new();
    house.write(0..6);
    house.journals.clear();
    let segments = segment::list(&house.log()).unwrap();
    let id = segments[0].id;
    let octets = fs::read(&segments[0].path).unwrap();
    for segment in &segments {
        fs::remove_file(&segment.path).unwrap();
    }
    for len in 0..octets.len() {
        let _ = fs::remove_dir_all(house.own());
        let before = place::run_folder(&house.own(), 0);
        fs::create_dir_all(&before).unwrap();
        fs::write(before.join(id.file_name()), &octets[..len]).unwrap();
        let whole = Records::new(&octets[..len]).count();
        // Of a process that is gone: nobody writes it any more.
        let mut follower = house.follower();
        let (times, chunks) = read(&mut follower);
        assert_eq!(times.len(), whole, "cut to {len}");
        chunks.into_iter().for_each(|chunk| follower.land(chunk));
        read(&mut follower);
        assert_eq!(house.waiting(), 0, "cut to {len}");
        drop(follower);

        // While somebody does, the rest is waited for.
        let _ = fs::remove_dir_all(house.own());
        let mut follower = Follower::open(&house.log(), &house.own(), 1, 0, Since::Now).unwrap();
        let log = house.log().join(id.file_name());
        fs::write(&log, &octets[..len]).unwrap();
        assert_eq!(read(&mut follower).0.len(), whole, "cut to {len}");
        fs::write(&log, &octets).unwrap();
        let rest = read(&mut follower).0.len();
        assert_eq!(rest, Records::new(&octets).count() - whole, "grown from {len}");
        fs::remove_file(log).unwrap();
    }
}
