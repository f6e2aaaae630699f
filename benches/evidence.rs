//! What the query log costs and how soon it answers: rows a second on their way into files, octets a row, each question.
//!
//! `cargo bench --bench evidence` makes ten million rows; `SACHDNS_ROWS=100000000` as many as you like (a hundred million take
//! about 8 GB in the temporary folder, TMPDIR, and some ten minutes). `SACHDNS_DAYS=90` then copies what a day's rows are summed up to,
//! so often as if that many days had passed and their rows were gone, and searches all of it: with `SACHDNS_ROWS=44000000`, a
//! province's day, that is a history of four billion queries. `SACHDNS_BENCH=once` runs a small size once, so that the
//! bench cannot rot. `SACHDNS_FOLDER=PATH` keeps the rows there, and the next run asks the same ones.
//!
//! The rows are generated: 20 thousand clients of 200 agencies, each with some hundred names of its own choice that it asks for
//! again and again; of all names few are asked for by everybody and most by few, every thirtieth query has a name that nobody
//! asked for before. One query in 2000 is a hit.

mod random;

use std::net::{IpAddr, Ipv4Addr};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use random::Random;
use sachdns::evidence::archive::{self, Archiver};
use sachdns::evidence::journal::{Journal, Options};
use sachdns::evidence::ledger::Ledger;
use sachdns::evidence::record::{Outcome, Record, Transport, Trigger};
use sachdns::evidence::store::embedded::Embedded;
use sachdns::evidence::store::names::{Gathering, Label, Reach};
use sachdns::evidence::store::{By, Filter, Kind, Page, Store as _, Unwatched};
use sachdns::name::{Key, Name};

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;
const CLIENTS: usize = 20_000;
/// Names that a client asks for again and again.
const HABITS: usize = 400;

fn main() {
    let is_short = std::env::var_os("SACHDNS_BENCH").is_some_and(|value| value == "once");
    // Where tests are run, benches are run with them.
    let is_short = is_short || std::env::args().all(|argument| argument != "--bench");
    let asked = |name| std::env::var(name).ok().and_then(|number| number.parse::<usize>().ok());
    let rows = asked("SACHDNS_ROWS").unwrap_or(if is_short { 20_000 } else { 10_000_000 });
    let days = asked("SACHDNS_DAYS").unwrap_or(if is_short { 3 } else { 0 });
    let kept = std::env::var_os("SACHDNS_FOLDER").map(PathBuf::from);
    let scratch = || std::env::temp_dir().join(format!("sachdns-evidence-{}", std::process::id()));
    let folder = kept.clone().unwrap_or_else(scratch);
    std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock behind 1970");
    // A day that is over, at any time zone's reckoning.
    let start = (now.as_micros() as i64 / DAY - 3) * DAY + DAY / 4;
    let known = files(&folder.join("store"), "parquet").iter().map(|path| parts_of(path)[1]).min();
    let bench = Bench {
        folder: folder.clone(),
        rows,
        names: Names::new((rows / 20).clamp(1000, 2_000_000)),
        start: known.unwrap_or(start),
    };
    println!("{rows} rows\n");
    println!("| what | |");
    println!("|---|--:|");
    if known.is_none() {
        bench.fill();
    }
    bench.ask();
    bench.sum_up(days);
    if kept.is_none() {
        std::fs::remove_dir_all(&folder).expect("it was made above");
    }
}

/// Names from the one most asked for on.
struct Names {
    wires: Vec<Vec<u8>>,
}

impl Names {
    fn new(count: usize) -> Self {
        let mut random = Random(7);
        let wire = |text: String| Name::from_host(&text).expect("a host name").as_wire().to_vec();
        Self { wires: (0..count).map(|_| wire(format!("www.{}", random.name()))).collect() }
    }

    /// As many names of a rank as there are queries for them.
    fn rank(&self, random: &mut Random) -> usize {
        let at = (self.wires.len() as f64).powf(random.below(1 << 20) as f64 / f64::from(1 << 20));
        (at as usize).min(self.wires.len() - 1)
    }

    /// What a client asks for next: the rank of its name, and the name.
    fn pick(&self, client: usize, random: &mut Random, out: &mut Vec<u8>) -> usize {
        let rank = if random.below(8) > 0 {
            // One of its habits, the first ones more often.
            let habit = (HABITS as f64).powf(random.below(1 << 16) as f64 / f64::from(1 << 16)) as usize;
            self.rank(&mut Random((client * HABITS + habit) as u64))
        } else {
            self.rank(random)
        };
        out.clear();
        if random.below(30) == 0 {
            // One of a kind, as content networks and trackers make them.
            let label = format!("{:012x}", random.next() & 0xffff_ffff_ffff);
            out.push(label.len() as u8);
            out.extend(label.bytes());
        }
        out.extend(&self.wires[rank]);
        rank
    }
}

fn client(number: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(0x0a01_0000 + number as u32 * 3))
}

/// What a name leads to: four names share an address, and those that everybody asks for have some.
fn answer(rank: usize, random: &mut Random) -> IpAddr {
    let turn = if rank < 2000 { random.below(4) } else { 0 };
    IpAddr::V4(Ipv4Addr::from_bits(0x2d00_0000 + (rank / 4 * 4 + turn) as u32))
}

struct Bench {
    folder: PathBuf,
    rows: usize,
    names: Names,
    /// All rows are of twelve hours from here on.
    start: i64,
}

fn archiving() -> archive::Options {
    const YEARS: Duration = Duration::from_secs(86_400 * 36_500);
    archive::Options {
        after: Duration::from_millis(1),
        keep_queries: YEARS,
        keep_summaries: YEARS,
        keep_hits: YEARS,
        ..archive::Options::default()
    }
}

impl Bench {
    fn ledger(&self) -> Arc<Ledger> {
        let folder = self.folder.clone();
        Ledger::open(&Options { folder, sync: Duration::from_secs(1), max_size: 1 << 50 })
            .expect("the folder can be written")
    }

    fn time(&self, number: usize) -> i64 {
        self.start + (number as i128 * i128::from(DAY / 2) / self.rows as i128) as i64
    }

    fn fill(&self) {
        let (rows, mut random) = (self.rows, Random(1));
        let ledger = self.ledger();
        let agencies: Vec<String> = (0..200).map(|number| format!("so-{number}")).collect();
        let begun = Instant::now();
        let mut journal = Journal::open(0, &ledger);
        let (mut qname, mut time) = (Vec::new(), 0);
        for number in 0..rows {
            time = self.time(number);
            let asker = random.below(CLIENTS);
            let rank = self.names.pick(asker, &mut random, &mut qname);
            let is_hit = random.below(2000) == 0;
            let answer = [answer(rank, &mut random)];
            journal.add(&Record {
                time,
                client: client(asker),
                transport: Transport::Udp,
                agency: Some(agencies[asker / 100].as_str().into()),
                mac: None,
                subnet: None,
                qname: qname.as_slice().into(),
                qtype: [1, 1, 1, 28, 65][random.below(5)],
                qclass: 1,
                rcode: Some(if random.below(12) == 0 { 3 } else { 0 }),
                outcome: if is_hit { Outcome::Sinkhole } else { Outcome::Forward },
                is_hit,
                is_cached: random.below(3) > 0,
                feed: is_hit.then(|| "authority".into()),
                family: is_hit.then(|| ["emotet", "qakbot", "mirai"][random.below(3)].into()),
                severity: None,
                trigger: is_hit.then_some(Trigger::Qname),
                matched: None,
                answers: answer.as_slice().into(),
                latency: 5 + random.below(3000) as u32,
            });
            if number % 64 == 63 {
                journal.commit(time);
            }
        }
        journal.commit(time);
        drop(journal);
        let writing = begun.elapsed();
        let begun = Instant::now();
        let archiver = Archiver::start(&ledger, &archiving()).expect("a thread");
        wait_while(|| octets(&self.folder, "seg") > 0);
        let filing = begun.elapsed();
        // The day is over: the thread goes on with it. A summary stands for 64 files at the most.
        let begun = Instant::now();
        let summaries = files(&self.store(), "parquet").len().div_ceil(64);
        wait_while(|| files(&self.store(), "summary").len() < summaries);
        let summing = begun.elapsed();
        drop(archiver);
        let rate = |time: Duration| format!("{:.2} M rows/s", rows as f64 / time.as_secs_f64() / 1e6);
        println!("| generated and written ahead | {} |", rate(writing));
        println!("| archived | {} |", rate(filing));
        println!("| the day summed up | {} |", rate(summing));
        let parts = [("files", "parquet"), ("names", "names"), ("summary", "summary"), ("catalogue", "db")];
        for (what, extension) in parts {
            println!("| {what} | {:.2} octets/row |", octets(&self.store(), extension) as f64 / rows as f64);
        }
    }

    fn store(&self) -> PathBuf {
        self.folder.join("store")
    }
}

fn wait_while(goes_on: impl Fn() -> bool) {
    while goes_on() {
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths.filter(|path| path.extension().is_some_and(|it| it == extension)).collect()
}

/// The number in a file's name, and its times.
fn parts_of(path: &Path) -> [i64; 3] {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("a name of ours");
    let parts: Vec<i64> = stem.split('_').filter_map(|part| part.parse().ok()).collect();
    parts.try_into().expect("a name of ours")
}

fn octets(folder: &Path, extension: &str) -> u64 {
    let len = |path: &PathBuf| std::fs::metadata(path).map_or(0, |facts| facts.len());
    files(folder, extension).iter().map(len).sum()
}

/// How long something takes, and how much of the processors' time: the latter hardly depends on what else runs.
struct Stopwatch {
    begun: Instant,
    used: Duration,
}

impl Stopwatch {
    fn start() -> Self {
        Self { begun: Instant::now(), used: used() }
    }
}

impl std::fmt::Display for Stopwatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (time, used) = (self.begun.elapsed().as_secs_f64(), (used() - self.used).as_secs_f64());
        write!(f, "{time:.3} s | {used:.3} s")
    }
}

/// What all threads of this process had of the processors so far.
fn used() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    used.try_into().expect("not before it began")
}

impl Bench {
    fn list(&self, what: &str, filter: &Filter, limit: Option<u64>) {
        let begun = Stopwatch::start();
        let mut found = 0u64;
        let page = Page { limit, after: None };
        let scan = Embedded::new(&self.folder).newest_first(filter, page, &mut Unwatched, &mut |_| {
            found += 1;
            ControlFlow::Continue(())
        });
        let scan = scan.expect("readable");
        assert!(scan.unreadable.is_empty(), "{:?}", scan.unreadable);
        println!("| {what} | {begun} | {found} rows |");
    }

    fn count(&self, what: &str, filter: &Filter, by: By) {
        let begun = Stopwatch::start();
        let (counts, _) = Embedded::new(&self.folder).count(filter, by, &mut Unwatched).expect("readable");
        println!("| {what} | {begun} | {} values |", counts.len());
    }

    fn sum(&self, what: &str, filter: &Filter) {
        let begun = Stopwatch::start();
        let (sightings, scan) =
            Embedded::new(&self.folder).sightings(filter, &mut Unwatched).expect("readable");
        assert!(scan.unreadable.is_empty(), "{:?}", scan.unreadable);
        let queries: u64 = sightings.iter().map(|it| it.count).sum();
        println!("| {what} | {begun} | {} sums of {queries} queries |", sightings.len());
    }

    fn queries(&self, filter: &Filter) -> u64 {
        let (sightings, _) = Embedded::new(&self.folder).sightings(filter, &mut Unwatched).expect("readable");
        sightings.iter().map(|it| it.count).sum()
    }

    fn ask(&self) {
        println!("\n| question | time | processors | found |");
        println!("|---|--:|--:|--:|");
        let base = Filter::default;
        let hits = || Filter { kind: Kind::Hits, ..base() };
        let middle = self.time(self.rows / 2);
        let one = Some(client(4711));
        self.list("the newest 100", &base(), Some(100));
        self.list("all hits", &hits(), None);
        self.list("one agency's hits", &Filter { agency: Some("so-47".into()), ..hits() }, None);
        let (since, until) = (Some(middle - 600_000_000), Some(middle + 600_000_000));
        self.list("one client, ten minutes around", &Filter { client: one, since, until, ..base() }, None);
        self.list("one client, all of it", &Filter { client: one, ..base() }, None);
        self.list("a rare name's subtree", &Filter { name: self.rare(), ..base() }, None);
        self.list("NXDOMAIN, the newest 100", &Filter { rcode: Some(3), ..base() }, Some(100));
        self.count("queries by agency", &base(), By::Agency);
        self.count("hits by family", &hits(), By::Family);
        self.count("queries by hour", &base(), By::Hour);
        self.count("queries by type", &base(), By::Type);
        let agency = Filter { agency: Some("so-47".into()), ..base() };
        self.count("one agency's queries by client", &agency, By::Client);
        self.list("50 thousand names, none asked for", &self.sought(50_000, 0), None);
        self.list("50 thousand names, 20 asked for", &self.sought(50_000, 20), None);
        self.sum("… summed up", &self.sought(50_000, 20));
    }

    fn rare(&self) -> Option<Name> {
        Name::from_wire(&self.names.wires[self.names.wires.len() - 2])
    }

    /// So many names, of which some are known but rare.
    fn sought(&self, count: usize, known: usize) -> Filter {
        let mut random = Random(99);
        let (label, mut gathering) = (Label::default(), Gathering::default());
        for number in 0..count {
            let name = match self.names.wires.len().checked_sub(1 + number * 13) {
                Some(at) if number < known => Name::from_wire(&self.names.wires[at]),
                _ => Name::from_host(&random.name()).ok(),
            };
            let name = name.expect("a name");
            gathering.add_name(Key::from(&name).as_bytes(), Reach::Subtree, &label);
        }
        Filter { sought: Some(Arc::new(gathering.finish())), ..Filter::default() }
    }

    /// Searches many days, of which all but the first have nothing but their summary.
    fn sum_up(&self, days: usize) {
        let Some(days) = days.checked_sub(1).filter(|days| *days > 0) else { return };
        let once = self.queries(&self.one());
        let summaries = files(&self.store(), "summary");
        for summary in &summaries {
            let [number, earliest, latest] = parts_of(summary);
            for day in 1..=days as i64 {
                let (number, earliest) = (number + day * 1_000_000, earliest - day * DAY);
                let name = format!("{number:010}_{earliest}_{}.summary", latest - day * DAY);
                std::fs::copy(summary, self.store().join(name)).expect("there is room");
            }
        }
        // At a start those that the catalogue does not know are entered.
        let archiver = Archiver::start(&self.ledger(), &archiving()).expect("a thread");
        wait_while(|| self.queries(&self.one()) < once * (days as u64 + 1));
        drop(archiver);
        let all = self.rows as f64 * (days + 1) as f64;
        println!();
        let summaries = octets(&self.store(), "summary") as f64 / 1e9;
        println!("{} days, {:.2} billion rows, {summaries:.2} GB of summaries\n", days + 1, all / 1e9);
        println!("| question | time | processors | found |");
        println!("|---|--:|--:|--:|");
        self.sum("one name", &self.one());
        self.sum("50 thousand names, none asked for", &self.sought(50_000, 0));
        self.sum("50 thousand names, 20 asked for", &self.sought(50_000, 20));
        self.sum("50 thousand names, 2000 asked for", &self.sought(50_000, 2000));
        self.sum("a million names, 20 asked for", &self.sought(1_000_000, 20));
        self.list("50 thousand names, 20 asked for, rows of the one day", &self.sought(50_000, 20), None);
    }

    /// A name that is asked for.
    fn one(&self) -> Filter {
        Filter { name: Name::from_wire(&self.names.wires[self.names.wires.len() / 100]), ..Filter::default() }
    }
}
