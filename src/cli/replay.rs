//! `sachdns policy replay`

use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::{CliError, ConfigArg, ReportForm, absolute, log};
use crate::clock::{self, local_time};
use crate::daemon::{replaying, reviewing};
use crate::evidence::store::Filter;
use crate::evidence::store::embedded::Embedded;
use crate::name::Presentation;
use crate::replay::{Affected, Replay, Side, Tally, Turn};
use crate::update::choose;

/// Names that a table shows of each direction unless it is told otherwise.
const TABLE_LIMIT: usize = 30;
/// How often is said how far it has come.
const TELLING: Duration = Duration::from_millis(500);
/// Microseconds that are looked back unless somebody says otherwise.
const DAY: i64 = 86_400_000_000;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArg,
    /// The feed; may be left out where only one has a refused version.
    #[arg(long, value_name = "NAME")]
    feed: Option<String>,
    /// What would be in force: refused, latest, previous, the first digits of a SHA-256, or a file.
    #[arg(long, value_name = "VERSION", default_value = "refused")]
    version: String,
    /// Only queries from this time on: a time, a day or an age (24h, 7d); without it the last day.
    #[arg(long, value_name = "TIME", value_parser = log::filters::time)]
    since: Option<i64>,
    /// Only queries before this time.
    #[arg(long, value_name = "TIME", value_parser = log::filters::time)]
    until: Option<i64>,
    /// Only queries of clients of the agency with this id.
    #[arg(long, value_name = "ID")]
    agency: Option<String>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = ReportForm::Table)]
    format: ReportForm,
    /// At most this many names of each direction; a table shows 30 unless told otherwise.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), CliError> {
    let config = arguments.config.load()?;
    let folder = &config.log.folder;
    if !folder.exists() {
        return Err(CliError::NoLog { path: absolute(folder) });
    }
    let source = reviewing::feed(&config, arguments.feed.as_deref())?;
    let chosen = choose::chosen(&config.versions, source, &arguments.version)?;
    let filter = Filter {
        since: Some(arguments.since.unwrap_or(clock::now() - DAY)),
        until: arguments.until,
        agency: arguments.agency.clone(),
        ..Filter::default()
    };
    let interrupted = interruption();
    let mut progress = Progress { told: Instant::now(), is_terminal: io::stderr().is_terminal() };
    let log = Embedded::new(folder);
    let replayed = replaying::replay(&config, &log, source, &chosen.path, &filter, &mut |queries| {
        progress.tell(queries);
        !interrupted.load(Ordering::Relaxed)
    })?;
    progress.clear();
    for (path, octets) in &replayed.scan.damaged {
        eprintln!("note: {}: {octets} octets are no whole record", path.display());
    }
    if !replayed.is_complete {
        eprintln!("note: interrupted: these are the newest {} queries only", replayed.queries);
    }
    let mut out = BufWriter::new(io::stdout().lock());
    match arguments.format {
        ReportForm::Table => {
            writeln!(out, "feed {}: {} against what is in force", source.name, chosen.what)?;
            write_table(&mut out, &replayed, arguments.limit.unwrap_or(TABLE_LIMIT))?;
        }
        ReportForm::Jsonl => write_lines(&mut out, &replayed, arguments.limit.unwrap_or(usize::MAX))?,
    }
    out.flush()?;
    Ok(())
}

/// Becomes true with Ctrl-C, which then ends the reading and not the command.
fn interruption() -> Arc<AtomicBool> {
    let is_told = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&is_told);
    let listen = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        runtime.block_on(tokio::signal::ctrl_c())?;
        told.store(true, Ordering::Relaxed);
        io::Result::Ok(())
    };
    // Without such a thread Ctrl-C ends the command, as it ends every other.
    std::thread::spawn(listen);
    is_told
}

struct Progress {
    told: Instant,
    is_terminal: bool,
}

impl Progress {
    fn tell(&mut self, queries: u64) {
        if self.is_terminal && self.told.elapsed() > TELLING {
            self.told = Instant::now();
            eprint!("\r{queries} queries of the log read; Ctrl-C shows what there is so far ");
        }
    }

    fn clear(&self) {
        if self.is_terminal {
            eprint!("\r\x1b[K");
        }
    }
}

fn write_table(out: &mut impl Write, replay: &Replay, limit: usize) -> io::Result<()> {
    match replay.span {
        Some((first, last)) => {
            writeln!(out, "{} queries from {} to {}", replay.queries, local_time(first), local_time(last))?;
        }
        None => writeln!(out, "the log has no queries of that time")?,
    }
    write_side(out, "would be blocked", &replay.blocked, limit)?;
    write_side(out, "would no longer be blocked", &replay.released, limit)
}

fn write_side(out: &mut impl Write, words: &str, side: &Side, limit: usize) -> io::Result<()> {
    let Side { names, other_queries, total: Tally { queries, clients }, agencies } = side;
    writeln!(out, "\n{queries} queries of {} clients {words}", clients.len())?;
    if names.is_empty() {
        return Ok(());
    }
    writeln!(out, "  QUERIES  CLIENTS  NAME")?;
    for affected in names.iter().take(limit) {
        let Affected { qname, feed, family, queries, clients, has_more_clients, .. } = affected;
        let more = if *has_more_clients { "+" } else { "" };
        write!(
            out,
            "{queries:>9}  {:>7}  {}  {feed}",
            format!("{}{more}", clients.len()),
            Presentation(qname)
        )?;
        if let Some(family) = family {
            write!(out, ", {}", family.escape_debug())?;
        }
        writeln!(out)?;
    }
    let left = names.len().saturating_sub(limit);
    if left > 0 || *other_queries > 0 {
        writeln!(out, "  … and {left} more names, and {other_queries} queries for others")?;
    }
    writeln!(out, "  QUERIES  CLIENTS  AGENCY")?;
    for (agency, Tally { queries, clients }) in agencies {
        let agency = if agency.is_empty() { "(of none)" } else { agency };
        writeln!(out, "{queries:>9}  {:>7}  {agency}", clients.len())?;
    }
    Ok(())
}

fn write_lines(out: &mut impl Write, replay: &Replay, limit: usize) -> io::Result<()> {
    for (turn, side) in [(Turn::Blocked, &replay.blocked), (Turn::Released, &replay.released)] {
        for affected in side.names.iter().take(limit) {
            let Affected { qname, feed, family, queries, clients, has_more_clients, agencies, last } =
                affected;
            let line = json!({
                "change": turn.as_str(), "name": Presentation(qname).to_string(), "feed": feed, "family": family,
                "queries": queries, "clients": clients, "has_more_clients": has_more_clients, "agencies": agencies,
                "last": jiff::Timestamp::from_microsecond(*last).ok().map(|time| time.to_string()),
            });
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}
