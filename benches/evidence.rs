//! What the query log costs and how soon it answers: rows a second on their way into files, octets a row, each question.
//!
//! `cargo bench --bench evidence` makes ten million rows; `SACHDNS_EVIDENCE_ROWS=100000000` as many as you like (a hundred
//! million take about 1.5 GB in the temporary folder, TMPDIR, and some minutes). `SACHDNS_BENCH=once` runs a small
//! size once, so that the bench cannot rot.
//!
//! The rows are generated: 20 thousand clients of 200 agencies, names of which few are asked for often and most
//! seldom (a third of them by one client only), one hit in 2000, a province's 45 million queries a day.

mod random;

use std::net::{IpAddr, Ipv4Addr};
use std::ops::ControlFlow;
use std::path::Path;
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

const DAY: i64 = 86_400_000_000;
const A_DAY: i64 = 45_000_000;
const START: i64 = 1_795_478_400_000_000;
const CLIENTS: usize = 20_000;

fn main() {
    let is_short = std::env::var_os("SACHDNS_BENCH").is_some_and(|value| value == "once");
    // Where tests are run, benches are run with them.
    let is_short = is_short || std::env::args().all(|argument| argument != "--bench");
    let asked = std::env::var("SACHDNS_EVIDENCE_ROWS").ok().and_then(|rows| rows.parse().ok());
    let rows: usize = asked.unwrap_or(if is_short { 20_000 } else { 10_000_000 });
    let folder = std::env::temp_dir().join(format!("sachdns-evidence-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
    println!("{rows} rows\n");
    println!("| what | |");
    println!("|---|--:|");
    fill(&folder, rows);
    ask(&folder, rows);
    std::fs::remove_dir_all(&folder).expect("it was made above");
}

/// Names from the one most asked for on; as many as there are queries for them.
struct Names {
    popular: Vec<Vec<u8>>,
}

impl Names {
    fn new(count: usize) -> Self {
        let mut random = Random(7);
        let wire = |text: String| Name::from_host(&text).expect("a host name").as_wire().to_vec();
        Self { popular: (0..count).map(|_| wire(format!("www.{}", random.name()))).collect() }
    }

    fn pick(&self, random: &mut Random, out: &mut Vec<u8>) {
        out.clear();
        let at = (self.popular.len() as f64).powf(random.below(1 << 20) as f64 / f64::from(1 << 20));
        let name = &self.popular[(at as usize).min(self.popular.len() - 1)];
        if random.below(30) == 0 {
            // One of a kind, as content networks and trackers make them.
            let label = format!("{:012x}", random.next() & 0xffff_ffff_ffff);
            out.push(label.len() as u8);
            out.extend(label.bytes());
        }
        out.extend(name);
    }
}

fn client(number: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(0x0a01_0000 + number as u32 * 3))
}

fn fill(folder: &Path, rows: usize) {
    let (names, mut random) = (Names::new((rows / 20).clamp(1000, 1_000_000)), Random(1));
    let options = Options { folder: folder.to_owned(), sync: Duration::from_secs(1), max_size: 1 << 40 };
    let ledger = Ledger::open(&options).expect("the folder can be written");
    let archiving = archive::Options {
        after: Duration::from_millis(1),
        keep_queries: Duration::from_secs(86_400 * 36_500),
        keep_hits: Duration::from_secs(86_400 * 36_500),
        ..archive::Options::default()
    };
    let (mut writing, mut filing) = (Duration::ZERO, Duration::ZERO);
    let agencies: Vec<String> = (0..200).map(|number| format!("so-{number}")).collect();
    let mut done = 0;
    // In parts, so that the segments of one are archived before the next.
    while done < rows {
        let part = (rows - done).min(4_000_000);
        let begun = Instant::now();
        let mut journal = Journal::open(0, &ledger);
        let (mut qname, mut time) = (Vec::new(), 0);
        for number in done..done + part {
            time = START + number as i64 * (DAY / A_DAY);
            names.pick(&mut random, &mut qname);
            let asker = random.below(CLIENTS);
            let is_hit = random.below(2000) == 0;
            let answer = [IpAddr::V4(Ipv4Addr::from_bits(0xc633_6400 | (qname.len() as u32 % 250)))];
            journal.add(&Record {
                time,
                client: client(asker),
                transport: Transport::Udp,
                agency: Some(agencies[asker / 100].as_str().into()),
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
        writing += begun.elapsed();
        let begun = Instant::now();
        let archiver = Archiver::start(&ledger, &archiving).expect("a thread");
        while octets(folder, "seg") > 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(archiver);
        filing += begun.elapsed();
        done += part;
    }
    let rate = |time: Duration| format!("{:.2} M rows/s", rows as f64 / time.as_secs_f64() / 1e6);
    println!("| generated and written ahead | {} |", rate(writing));
    println!("| archived | {} |", rate(filing));
    let store = folder.join("store");
    for (what, extension) in [("files", "parquet"), ("names", "names"), ("catalogue", "db")] {
        println!("| {what} | {:.2} octets/row |", octets(&store, extension) as f64 / rows as f64);
    }
}

fn octets(folder: &Path, extension: &str) -> u64 {
    let entries = std::fs::read_dir(folder).expect("the folder is there").flatten();
    let of = |entry: std::fs::DirEntry| {
        let is_one = entry.path().extension().is_some_and(|it| it == extension);
        if is_one { entry.metadata().map_or(0, |facts| facts.len()) } else { 0 }
    };
    entries.map(of).sum()
}

fn ask(folder: &Path, rows: usize) {
    let store = Embedded::new(folder);
    let list = |what: &str, filter: &Filter, limit: Option<u64>| {
        let begun = Instant::now();
        let mut found = 0u64;
        let page = Page { limit, after: None };
        let scan = store.newest_first(filter, page, &mut Unwatched, &mut |_| {
            found += 1;
            ControlFlow::Continue(())
        });
        assert!(scan.expect("readable").unreadable.is_empty());
        println!("| {what} | {:.3} s ({found} rows) |", begun.elapsed().as_secs_f64());
    };
    let count = |what: &str, filter: &Filter, by: By| {
        let begun = Instant::now();
        let (counts, _) = store.count(filter, by, &mut Unwatched).expect("readable");
        println!("| {what} | {:.3} s ({} values) |", begun.elapsed().as_secs_f64(), counts.len());
    };
    let base = Filter::default;
    let middle = START + rows as i64 / 2 * (DAY / A_DAY);
    let one = Some(client(4711));
    list("the newest 100", &base(), Some(100));
    list("all hits", &Filter { kind: Kind::Hits, ..base() }, None);
    list("one agency's hits", &Filter { kind: Kind::Hits, agency: Some("so-47".into()), ..base() }, None);
    let (since, until) = (Some(middle - 600_000_000), Some(middle + 600_000_000));
    list("one client, ten minutes around", &Filter { client: one, since, until, ..base() }, None);
    list("one client, all of it", &Filter { client: one, ..base() }, None);
    let names = Names::new((rows / 20).clamp(1000, 1_000_000));
    let rare = Name::from_wire(&names.popular[names.popular.len() - 2]);
    list("a rare name's subtree", &Filter { name: rare, ..base() }, None);
    list("NXDOMAIN, the newest 100", &Filter { rcode: Some(3), ..base() }, Some(100));
    count("queries by agency", &base(), By::Agency);
    count("hits by family", &Filter { kind: Kind::Hits, ..base() }, By::Family);
    count("queries by hour", &base(), By::Hour);
    count("queries by type", &base(), By::Type);
    count("one agency's queries by client", &Filter { agency: Some("so-47".into()), ..base() }, By::Client);
    for (what, known) in [("50 thousand names, none asked for", 0), ("50 thousand names, 20 asked for", 20)] {
        let mut random = Random(99);
        let (label, mut gathering) = (Label::default(), Gathering::default());
        for number in 0..50_000 {
            let name = match names.popular.len().checked_sub(1 + number * 13) {
                Some(at) if number < known => Name::from_wire(&names.popular[at]),
                _ => Name::from_host(&random.name()).ok(),
            };
            let name = name.expect("a name");
            gathering.add_name(Key::from(&name).as_bytes(), Reach::Subtree, &label);
        }
        list(what, &Filter { sought: Some(Arc::new(gathering.finish())), ..base() }, None);
    }
}
