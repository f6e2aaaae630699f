//! The measuring: which server is asked what, in which order, and what a window gives.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::client::{self, Outcome, Target};
use crate::load::{Kind, Load};
use crate::process::Process;

/// A server that is asked.
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) process: Process,
    pub(crate) target: Target,
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
    pub(crate) lost: u64,
    pub(crate) failed: u64,
    pub(crate) wrong: u64,
}

/// Samples by load and server, in order of time.
pub(crate) type Samples = BTreeMap<(Kind, String), Vec<Sample>>;

/// How a window is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) in_flight: usize,
    pub(crate) time: Duration,
}

/// Asks each server in turn, the echo first, again and again, so that the machine's noise hits all alike.
pub(crate) fn interleave(
    servers: &[&Server],
    kind: Kind,
    load: &mut Load,
    window: Window,
    repetitions: usize,
    samples: &mut Samples,
) {
    for repetition in 1..=repetitions {
        let mut echo = None;
        for server in servers {
            load.rewind();
            let sample = measure(server, load, window, echo);
            echo.get_or_insert(sample.cpu);
            eprintln!(
                "{kind:?} {repetition}/{repetitions}: {:14} {:6.2} µs, {:5.2} E, {:6.0} a second{}",
                server.name,
                sample.cpu.as_nanos() as f64 / 1e3,
                sample.echoes,
                sample.rate,
                sample.troubles(),
            );
            samples.entry((kind, server.name.clone())).or_default().push(sample);
        }
    }
}

/// One window of a closed loop. What is still on its way at its end is waited for, and counted.
fn measure(server: &Server, load: &mut Load, window: Window, echo: Option<Duration>) -> Sample {
    let before = server.process.cpu();
    let outcome = client::closed(server.target, load, window.in_flight, window.time);
    let spent = server.process.cpu() - before;
    tell_wrong(&server.name, &outcome);
    let cpu = spent.div_f64(outcome.answered.max(1) as f64);
    Sample {
        cpu,
        echoes: cpu.as_secs_f64() / echo.unwrap_or(cpu).as_secs_f64(),
        rate: outcome.rate(),
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

/// A wrong answer is shown whole, for it is a bug of the server or of the bench.
pub(crate) fn tell_wrong(name: &str, outcome: &Outcome) {
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
