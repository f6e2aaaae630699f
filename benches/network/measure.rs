//! The measuring: which server is asked what, in which order, and what a window gives. How servers start and
//! what is made of the figures stands elsewhere.

use std::collections::BTreeMap;
use std::fmt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::client::{self, Outcome, Target};
use crate::load::{Load, SINKHOLE};
use crate::process::{Process, is_answered};

/// The name that a reload adds. It is asked with labels before it, so that no cache knows the answer.
pub(crate) const ADDED: &str = "added-by-reload.com";
/// How often it is looked whether a reload is over.
const RELOAD_PAUSE: Duration = Duration::from_millis(20);

/// A server that is asked. Its name is that of its column.
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) process: Process,
    pub(crate) target: Target,
}

/// What is measured in windows: the rows of the report, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Row {
    Hits,
    HitsLarge,
    Cached,
    CachedHitsLogged,
    Mixed,
    Misses,
    Steady,
    /// The same, by an echo that sleeps as long as sachdns does.
    SteadyGathered,
}

/// What one window gave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// CPU a query.
    pub(crate) cpu: Duration,
    /// The same in units of the echo, in the same repetition.
    pub(crate) echoes: f64,
    /// Answers a second.
    pub(crate) rate: f64,
    /// Of an open loop.
    pub(crate) latency: Option<Latency>,
    pub(crate) lost: u64,
    pub(crate) failed: u64,
    pub(crate) wrong: u64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Latency {
    pub(crate) median: Duration,
    pub(crate) p99: Duration,
    pub(crate) most: Duration,
}

/// Samples by row and server, in order of time.
pub(crate) type Samples = BTreeMap<(Row, String), Vec<Sample>>;

/// How a window's queries are sent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// So many are always on their way.
    InFlight(usize),
    /// So many a second.
    Rate(u32),
}

/// Asks each server in turn, the echo first, again and again, so that the machine's noise hits all alike.
pub(crate) fn interleave(
    servers: &[(Row, &Server)],
    load: &mut Load,
    pace: Pace,
    window: Duration,
    repetitions: usize,
    samples: &mut Samples,
) {
    for repetition in 1..=repetitions {
        let mut echo = None;
        for (row, server) in servers {
            load.rewind();
            let sample = measure(server, load, pace, window, echo);
            echo.get_or_insert(sample.cpu);
            eprintln!(
                "{row:?} {repetition}/{repetitions}: {:14} {:6.2} µs, {:5.2} E, {:6.0} a second{}{}",
                server.name,
                sample.cpu.as_nanos() as f64 / 1e3,
                sample.echoes,
                sample.rate,
                sample.latency.map_or_else(String::new, |latency| latency.to_string()),
                sample.troubles(),
            );
            samples.entry((*row, server.name.clone())).or_default().push(sample);
        }
    }
}

/// One window. What is still on its way at its end is waited for, and counted.
fn measure(server: &Server, load: &mut Load, pace: Pace, window: Duration, echo: Option<Duration>) -> Sample {
    let before = server.process.cpu();
    let mut outcome = match pace {
        Pace::InFlight(count) => client::closed(server.target, load, count, window),
        Pace::Rate(rate) => client::open(server.target, load, rate, |elapsed| elapsed < window),
    };
    let spent = server.process.cpu() - before;
    tell_wrong(&server.name, &outcome);
    let cpu = spent.div_f64(outcome.answered.max(1) as f64);
    Sample {
        cpu,
        echoes: cpu.as_secs_f64() / echo.unwrap_or(cpu).as_secs_f64(),
        rate: outcome.rate(),
        latency: Latency::of(&mut outcome.latencies),
        lost: outcome.lost,
        failed: outcome.failed,
        wrong: outcome.wrong,
    }
}

impl Sample {
    /// What went wrong, for people.
    pub(crate) fn troubles(&self) -> String {
        let told = [(self.lost, "lost"), (self.failed, "failed"), (self.wrong, "WRONG")];
        told.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!(", {count} {what}")).collect()
    }
}

impl Latency {
    fn of(latencies: &mut [Duration]) -> Option<Self> {
        latencies.sort_unstable();
        let most = *latencies.last()?;
        Some(Self {
            median: latencies[latencies.len() / 2],
            p99: latencies[latencies.len() * 99 / 100],
            most,
        })
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { median, p99, most } = self;
        write!(f, ", median {median:.0?}, 99 % {p99:.0?}, slowest {most:.0?}")
    }
}

/// How a server is told that its list changed.
#[derive(Debug, Clone)]
pub(crate) enum Reload {
    /// A program and its arguments.
    Command(Vec<String>),
    Hangup,
}

/// What clients noticed of a reload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reloaded {
    /// From the word until the new name leads to the sinkhole; nothing if it never did.
    pub(crate) took: Option<Duration>,
    pub(crate) lost: u64,
    pub(crate) wrong: u64,
    /// The slowest answer.
    pub(crate) most: Duration,
    /// Most octets in memory.
    pub(crate) peak: u64,
}

/// How a reload is watched.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trial {
    /// Queries a second, all the time.
    pub(crate) rate: u32,
    /// As long before the reload, and after it.
    pub(crate) calm: Duration,
    /// How long it may take.
    pub(crate) patience: Duration,
}

/// Reloads `server`, whose list has changed by [`ADDED`], while it is asked.
pub(crate) fn reload(server: &Server, how: &Reload, load: &mut Load, trial: Trial) -> Reloaded {
    let Trial { rate, calm, patience } = trial;
    server.process.forget_peak();
    let is_over = AtomicBool::new(false);
    let (took, mut outcome) = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            std::thread::sleep(calm);
            let begun = Instant::now();
            how.ask(server);
            let took = until_added(server.target, begun, patience);
            std::thread::sleep(calm);
            is_over.store(true, Ordering::Release);
            took
        });
        let outcome = client::open(server.target, load, rate, |_| !is_over.load(Ordering::Acquire));
        (watcher.join().expect("it does not panic"), outcome)
    });
    tell_wrong(&server.name, &outcome);
    let most = Latency::of(&mut outcome.latencies).map_or(Duration::ZERO, |latency| latency.most);
    let wrong = outcome.wrong + outcome.failed;
    let reloaded = Reloaded { took, lost: outcome.lost, wrong, most, peak: server.process.peak() };
    eprintln!("reload of {}: {reloaded:?}", server.name);
    reloaded
}

impl Reload {
    fn ask(&self, server: &Server) {
        match self {
            Self::Hangup => server.process.hang_up(),
            Self::Command(words) => {
                let command = Command::new(&words[0])
                    .args(&words[1..])
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .status();
                if !command.as_ref().is_ok_and(std::process::ExitStatus::success) {
                    eprintln!("reload of {}: {command:?}", server.name);
                }
            }
        }
    }
}

fn until_added(target: Target, begun: Instant, patience: Duration) -> Option<Duration> {
    for number in 0u32.. {
        let mut query = Load::single(&format!("n{number}.{ADDED}"), SINKHOLE);
        if is_answered(target, &query.next()) {
            break;
        }
        if begun.elapsed() > patience {
            return None;
        }
        std::thread::sleep(RELOAD_PAUSE);
    }
    Some(begun.elapsed())
}

/// A wrong answer is shown whole, for it is a bug of the server or of the bench.
fn tell_wrong(name: &str, outcome: &Outcome) {
    if let Some((query, answer)) = &outcome.example {
        eprintln!("{name}: a wrong answer to\n  {}\nis\n  {}", query.escape_ascii(), answer.escape_ascii());
    }
}

/// The middle one, the least and the greatest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        Some(Self { median: values[values.len() / 2], least, most })
    }
}
