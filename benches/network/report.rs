//! What the run found, as Markdown, and where it goes. The chart is drawn in `chart`; nothing is measured here.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::bench::{ECHO, Fact, Findings, SACHDNS};
use crate::chart;
use crate::measure::{Latency, Row, Sample, Spread};

/// Between these lines of README.md stands what the bench writes.
const BEGIN: &str = "<!-- written by the network bench -->";
const END: &str = "<!-- end of what the bench writes -->";

/// The least that an echo's slowest repetition reaches of its fastest, on a machine that does nothing else.
const CALM: f64 = 0.8;

const COSTS: [Row; 8] = [
    Row::Hits,
    Row::HitsLarge,
    Row::Cached,
    Row::CachedHitsLogged,
    Row::Mixed,
    Row::Misses,
    Row::Steady,
    Row::SteadyGathered,
];

/// Writes `bench.md` and `bench.svg` into `folder`, and the costs into the README.md beside that folder, if there is
/// one with a place for them.
pub(crate) fn write(findings: &Findings, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("bench.svg"), chart::svg(findings))?;
    fs::write(folder.join("bench.md"), whole(findings))?;
    let readme = folder.join("../README.md");
    let Ok(text) = fs::read_to_string(&readme) else { return Ok(()) };
    if let Some((before, rest)) = text.split_once(BEGIN)
        && let Some((_, after)) = rest.split_once(END)
    {
        let costs = costs(findings, Detail::Medians);
        let disturbance = disturbance(findings).map_or_else(String::new, |told| format!("{told}\n\n"));
        fs::write(&readme, format!("{before}{BEGIN}\n\n{costs}\n{disturbance}{END}{after}"))?;
    }
    Ok(())
}

/// The whole report.
pub(crate) fn whole(findings: &Findings) -> String {
    let mut out = String::from(
        "# What a query costs\n\nWritten by `make bench-write`. Lower is better everywhere but in queries a second. \
         What a name costs in recursion: [bench-recursion.md](bench-recursion.md).\n\n\
         ![CPU a query in units of a bare echo](bench.svg)\n\n",
    );
    out.push_str(&conditions(findings));
    if let Some(told) = disturbance(findings) {
        let _ = writeln!(out, "\n{told}");
    }
    out.push_str("\n## CPU a query\n\n");
    out.push_str(&costs(findings, Detail::Ranges));
    out.push_str(
        "\nIn brackets the least and the greatest of all repetitions; lost: no answer within a second; \
                  failed: another RCODE than NOERROR.\n\n## Everything else\n\n",
    );
    out.push_str(&others(findings));
    out.push_str(&notes(findings));
    out
}

/// How much a cell of the main table tells.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    Medians,
    Ranges,
}

/// The main table: a row a load, a column a server.
fn costs(findings: &Findings, detail: Detail) -> String {
    let mut table = Table::new("µs of CPU a query", &findings.columns);
    for row in COSTS {
        table.row(&row_title(findings, row), |column| {
            let samples = findings.samples.get(&(row, column.to_owned()))?;
            cost(column, samples, detail)
        });
    }
    table.text
}

fn cost(column: &str, samples: &[Sample], detail: Detail) -> Option<String> {
    let cpu = Spread::of(samples.iter().map(|sample| sample.cpu.as_secs_f64() * 1e6))?;
    let echoes = Spread::of(samples.iter().map(|sample| sample.echoes))?;
    let mut cell = format!("{:.2}", cpu.median);
    if detail == Detail::Ranges {
        let _ = write!(cell, " ({:.2}–{:.2})", cpu.least, cpu.most);
    }
    // What all others are measured by is not measured by itself.
    let is_unit = (echoes.least, echoes.most) == (1.0, 1.0);
    match column {
        _ if is_unit => {}
        SACHDNS => {
            let _ = write!(cell, "<br>**{:.2} E**", echoes.median);
        }
        _ => {
            let _ = write!(cell, "<br>{:.2} E", echoes.median);
        }
    }
    if detail == Detail::Ranges && !is_unit {
        let _ = write!(cell, " ({:.2}–{:.2})", echoes.least, echoes.most);
    }
    let sum = |of: fn(&Sample) -> u64| samples.iter().map(of).sum::<u64>();
    let told = [
        (sum(|sample| sample.lost), "lost"),
        (sum(|sample| sample.failed), "failed"),
        (sum(|sample| sample.wrong), "wrong"),
    ];
    for (count, what) in told.iter().filter(|(count, _)| *count > 0) {
        let _ = write!(cell, "<br>{count} {what}");
    }
    Some(cell)
}

fn row_title(findings: &Findings, row: Row) -> String {
    let (listed, large) = (count(findings.listed), count(findings.listed_large));
    match row {
        Row::Hits => format!("a: names of a list of {listed}"),
        Row::HitsLarge => format!("a: names of a list of {large}"),
        Row::Cached => "b: cached names".to_owned(),
        Row::CachedHitsLogged => "b: only hits logged".to_owned(),
        Row::Mixed => "c: 98 % b, 2 % a".to_owned(),
        Row::Misses => "d: names never asked before".to_owned(),
        Row::Steady => "c: 20 thousand a second, one by one".to_owned(),
        Row::SteadyGathered => "… by an echo that sleeps 110 µs, as sachdns does".to_owned(),
    }
}

type Part = fn(&Latency) -> Duration;

fn others(findings: &Findings) -> String {
    let Findings { columns, listed, listed_large, .. } = findings;
    let (listed, large) = (count(*listed), count(*listed_large));
    let mut table = Table::new("", columns);
    let samples = |row: Row, column: &str| findings.samples.get(&(row, column.to_owned()));
    table.row("c: thousand queries a second of one core", |column| {
        let rate = Spread::of(samples(Row::Mixed, column)?.iter().map(|sample| sample.rate / 1e3))?;
        Some(format!("{:.0} ({:.0}–{:.0})", rate.median, rate.least, rate.most))
    });
    let latencies: [(&str, Part); 3] = [
        ("median", |latency| latency.median),
        ("99th percentile", |latency| latency.p99),
        ("slowest", |latency| latency.most),
    ];
    for (what, of) in latencies {
        table.row(&format!("20 thousand a second: {what}, µs"), |column| {
            let times = samples(Row::Steady, column)?.iter().filter_map(|sample| sample.latency.as_ref());
            let time = Spread::of(times.map(|latency| of(latency).as_secs_f64() * 1e6))?;
            Some(format!("{:.0} ({:.0}–{:.0})", time.median, time.least, time.most))
        });
    }
    let facts = [
        (format!("first answer after exec, list of {listed}"), Fact::Start),
        (format!("first answer after exec, list of {large}"), Fact::StartLarge),
        (format!("memory after the start, list of {listed}"), Fact::Memory),
        ("memory after all loads".to_owned(), Fact::MemoryLoaded),
        (format!("memory after the start, list of {large}"), Fact::MemoryLarge),
        ("memory after load a".to_owned(), Fact::MemoryLargeLoaded),
    ];
    for (title, fact) in facts {
        let show = if matches!(fact, Fact::Start | Fact::StartLarge) { seconds } else { mebibytes };
        table.row(&title, |column| {
            let values = findings.facts.get(&(fact, column.to_owned()))?;
            Spread::of(values.iter().copied()).map(show)
        });
    }
    let reload = |column: &str| findings.reloads.get(column);
    table.row("new list under 5 thousand a second: in force after", |column| {
        Some(reload(column)?.took.map_or("never".to_owned(), |time| format!("{:.1} s", time.as_secs_f64())))
    });
    table.row("… lost", |column| {
        let reloaded = reload(column)?;
        let wrong = if reloaded.wrong > 0 { format!("; {} failed", reloaded.wrong) } else { String::new() };
        Some(format!("{}{wrong}", reloaded.lost))
    });
    table.row("… slowest answer", |column| {
        Some(format!("{:.1} ms", reload(column)?.most.as_secs_f64() * 1e3))
    });
    table.row("… most memory", |column| {
        Some(format!("{:.0} MiB", reload(column)?.peak as f64 / f64::from(1 << 20)))
    });
    table.text
}

fn seconds(spread: Spread) -> String {
    if spread.most < 1.0 {
        let [median, least, most] = [spread.median, spread.least, spread.most].map(|seconds| seconds * 1e3);
        if least.total_cmp(&most).is_eq() {
            return format!("{median:.0} ms");
        }
        return format!("{median:.1} ms ({least:.1}–{most:.1})");
    }
    format!("{:.1} s", spread.median)
}

fn mebibytes(spread: Spread) -> String {
    format!("{:.0} MiB", spread.median / f64::from(1 << 20))
}

/// How it was measured, and on what.
fn conditions(findings: &Findings) -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel: Vec<&str> = release.trim().split('.').take(2).collect();
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let Findings { in_flight, repetitions, window, popular, .. } = findings;
    let processors = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    format!(
        "{}, {processors} cores, Linux {}. The server has one core and one worker; the generator and an upstream \
         that answers at once share another; everything is on 127.0.0.1. {in_flight} queries are on their way at once, \
         from 8 ports, with EDNS; every answer is checked. CPU time is the scheduler's own accounting of the \
         server's threads and children, over {} ms, divided by right answers. Each of {repetitions} repetitions goes through all \
         servers in turn; medians are shown. E is what a bare recvmmsg/sendmmsg echo of the same packets costs in \
         the same repetition, for the steady load one that blocks for each packet. Cached names are {} by Zipf with \
         exponent 1. Every server logs each query where it can. Moments in which the generator itself was held up for \
         more than a millisecond are left out of latencies.\n",
        model.trim_start_matches(['\t', ' ', ':']),
        kernel.join("."),
        window.as_millis(),
        count(*popular),
    )
}

/// What the echo says of the machine: it decides nothing and has nothing to lose packets by.
fn disturbance(findings: &Findings) -> Option<String> {
    let echo = findings.samples.iter().filter(|((_, column), _)| column == ECHO);
    let lost: u64 = echo.flat_map(|(_, samples)| samples).map(|sample| sample.lost).sum();
    let mixed = findings.samples.get(&(Row::Mixed, ECHO.to_owned()))?;
    let rate = Spread::of(mixed.iter().map(|sample| sample.rate / 1e3))?;
    (lost > 0 || rate.least < CALM * rate.most).then(|| {
        format!(
            "**The machine was busy with other things during this run**: the echo itself lost {lost} packets, and \
             answered between {:.0} and {:.0} thousand queries a second. CPU a query suffers least from that; \
             losses, latencies and throughput, of all servers, say more about the machine.",
            rate.least, rate.most,
        )
    })
}

fn notes(findings: &Findings) -> String {
    let mut out = String::from("\n");
    if let Some(rate) = findings.dnsperf {
        let _ = writeln!(
            out,
            "* dnsperf with load c sees {:.0} thousand queries a second of sachdns.",
            rate / 1e3
        );
    }
    for (name, way) in &findings.measured {
        let _ = writeln!(out, "* {name}: {way}.");
    }
    for (name, why) in &findings.absent {
        let _ = writeln!(out, "* {name} was not measured: {why}.");
    }
    out.push_str("* A first answer of a peer is that of one start, with the list to read; sachdns maps an image that it made before.\n");
    out.push_str("* dnsdist, knot-resolver and dnsmasq take a new list by a restart only, in the form measured here.\n");
    out
}

/// 1 million, 50 thousand.
fn count(number: usize) -> String {
    match number {
        0..1000 => number.to_string(),
        1000..1_000_000 => format!("{} thousand", number / 1000),
        _ => format!("{} million", number / 1_000_000),
    }
}

struct Table<'a> {
    text: String,
    columns: &'a [String],
}

impl<'a> Table<'a> {
    fn new(title: &str, columns: &'a [String]) -> Self {
        let text = format!("| {title} | {} |\n|---{}|\n", columns.join(" | "), "|--:".repeat(columns.len()));
        Self { text, columns }
    }

    /// Adds a row, unless all its cells are empty.
    fn row(&mut self, title: &str, cell: impl Fn(&str) -> Option<String>) {
        let cells: Vec<String> = self.columns.iter().map(|column| cell(column).unwrap_or_default()).collect();
        if cells.iter().any(|cell| !cell.is_empty()) {
            let _ = writeln!(self.text, "| {title} | {} |", cells.join(" | "));
        }
    }
}
