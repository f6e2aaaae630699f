//! `sachdns demo`

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;

use super::CliError;
use super::coverage::CoverageError;
use super::log::filters::time;
use crate::clock;
use crate::config::Config;
use crate::coverage::Ledger;
use crate::daemon::{self, SurveyError};
use crate::demo::{self, Listeners, Made, Options};
use crate::evidence::store::Unwatched;
use crate::identity::Book;

/// Machines of an agency, and queries of a machine a day, where nothing else is asked for.
const MACHINES: u32 = 20;
const QUERIES: u64 = 10;
/// One infection for so many machines.
const INFECTED: u32 = 12;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where to: a folder that is empty, or not there yet.
    #[arg(long, value_name = "FOLDER")]
    output: PathBuf,
    /// How many agencies.
    #[arg(long, value_name = "N", default_value_t = 200)]
    agencies: u32,
    /// How many days, up to now.
    #[arg(long, value_name = "N", default_value_t = 30)]
    days: u32,
    /// How many machines; left out: 20 an agency.
    #[arg(long, value_name = "N")]
    machines: Option<u32>,
    /// How many queries a day, on average; left out: 10 a machine.
    #[arg(long, value_name = "N")]
    queries_per_day: Option<u64>,
    /// How many infections; left out: one in 12 machines.
    #[arg(long, value_name = "N")]
    infections: Option<u32>,
    /// Another number gives another province.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// When its last day ends, such as 2026-11-24T17:00:00+07:00; left out: now.
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<i64>,
    /// The port of its DNS server, before those of its landing page and its console; left out: ports that are free.
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), CliError> {
    let machines = arguments.machines.unwrap_or_else(|| arguments.agencies.saturating_mul(MACHINES));
    let options = Options {
        folder: arguments.output.clone(),
        agencies: arguments.agencies,
        days: arguments.days,
        machines,
        queries_per_day: arguments.queries_per_day.unwrap_or_else(|| u64::from(machines) * QUERIES),
        infections: arguments.infections.unwrap_or((machines / INFECTED).max(12)),
        until: arguments.until.unwrap_or_else(clock::now),
        seed: arguments.seed,
        listeners: Listeners::choose(arguments.port)?,
    };
    let bar = Bar::new();
    let made = demo::make(&options, &mut |done, all| bar.show(done, all));
    bar.end();
    let Made { machines, records, hits, contacts, accounts, password } = made?;
    let config = options.folder.join("sachdns.toml");
    count(&config, options.until)?;
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{} agencies, {machines} machines, {records} queries, {hits} hits, {contacts} contacts with the sinkhole\n\
         look at it with:\n  sachdns serve --config {}\n  \
         http://{}/ as {accounts}, each with the password {password}",
        options.agencies,
        config.display(),
        options.listeners.console
    )?;
    Ok(())
}

/// Counts who asked, for the figures of endpoint protection, as a server does once an hour.
fn count(path: &Path, until: i64) -> Result<(), CliError> {
    let config = Config::load(path)?;
    let counted = || -> Result<(), SurveyError> {
        let (ledger, book) =
            (Ledger::open(&config.data_dir)?, Book::open(&daemon::identity_folder(&config.data_dir))?);
        daemon::survey_coverage(&config, &ledger, &book, until, &mut Unwatched)
    };
    counted().map_err(CoverageError::from)?;
    Ok(())
}

/// How far it is, on a terminal.
struct Bar {
    is_shown: bool,
    begun: Instant,
}

impl Bar {
    fn new() -> Self {
        Self { is_shown: io::stderr().is_terminal(), begun: Instant::now() }
    }

    fn show(&self, done: u32, all: u32) {
        const WIDTH: u32 = 40;
        if !self.is_shown {
            return;
        }
        let full = (WIDTH * done / all.max(1)) as usize;
        let left = self.begun.elapsed().checked_div(done).unwrap_or(Duration::ZERO) * (all - done);
        let _ = write!(
            io::stderr(),
            "\r[{}{}] day {done} of {all}, {} s left \x1b[K",
            "#".repeat(full),
            " ".repeat(WIDTH as usize - full),
            left.as_secs()
        );
    }

    fn end(&self) {
        if self.is_shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
