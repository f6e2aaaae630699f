//! `sachdns feed`

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::review;
use super::status;
use super::{CliError, fetch};
use crate::clock;
use crate::daemon::reviewing::Decision;
use crate::feed::{self, Columns, ColumnsError, Diagnostic, Format, Indicator, Reading, Sink, Urls, json};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Read a feed's file and count its indicators, or print them with --json; lines that give none go
    /// to standard error.
    Parse(Parse),
    /// Say which version of each feed is in force, which were refused and why, and what came of them.
    Status(status::Arguments),
    /// Put a version in force that the gate refused; protected names in it stay left out.
    Approve(review::Decide),
    /// Throw a version away that the gate refused; it is not asked about again.
    Reject(review::Decide),
    /// Ask publishers for new versions now; a running server takes them at once.
    Fetch(fetch::Fetch),
    /// Make a pair of keys for bundles.
    Key(fetch::Key),
    /// Put the accepted versions of feeds into one signed file, for servers without internet.
    Bundle(fetch::MakeBundle),
    /// Take the versions of a bundle; the gate judges them as any other.
    Import(fetch::Import),
}

#[derive(Debug, Args)]
pub(super) struct Parse {
    /// The file, gzip or not.
    file: PathBuf,
    /// How it is written: auto, plain, hosts, adblock, dnsmasq, unbound, bind, rpz, csv, xlsx, misp, stix, json, ip, maltrail or text.
    #[arg(long, default_value = "auto")]
    format: Format,
    /// Which columns of a table hold what, by heading or number: value=host,family=3; also type, severity
    /// and expires.
    #[arg(long, default_value = "", hide_default_value = true, value_parser = columns)]
    columns: Columns,
    /// What becomes of URLs: ignore, or host to list their hosts.
    #[arg(long, default_value = "ignore")]
    urls: Urls,
    /// Print one JSON object a line: kind, value, match, family, severity, expires, action, line.
    /// Otherwise only counts.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: &Command) -> Result<(), CliError> {
    match command {
        Command::Parse(arguments) => parse(arguments),
        Command::Status(arguments) => status::run(arguments),
        Command::Approve(arguments) => review::decide(arguments, Decision::Approve),
        Command::Reject(arguments) => review::decide(arguments, Decision::Reject),
        Command::Fetch(arguments) => fetch::fetch(arguments),
        Command::Key(arguments) => fetch::key(arguments),
        Command::Bundle(arguments) => fetch::bundle(arguments),
        Command::Import(arguments) => fetch::import(arguments),
    }
}

fn parse(arguments: &Parse) -> Result<(), CliError> {
    let path = &arguments.file;
    let file = File::open(path).map_err(|source| CliError::Open { path: path.clone(), source })?;
    let mut printer = Printer {
        path: path.display().to_string(),
        out: arguments.json.then(|| BufWriter::new(io::stdout().lock())),
        failed: None,
        indicators: 0,
        diagnostics: 0,
    };
    let reading = Reading {
        format: arguments.format,
        columns: arguments.columns.clone(),
        urls: arguments.urls,
        file: path.file_name().map(|file| file.to_string_lossy().into()),
        now: clock::now(),
        ..Reading::default()
    };
    let format = feed::parse(file, &reading, &mut printer)
        .map_err(|source| CliError::Feed { path: path.clone(), source })?;
    if let Some(error) = printer.failed {
        return Err(error.into());
    }
    match &mut printer.out {
        Some(out) => out.flush()?,
        None => writeln!(
            io::stdout(),
            "{}: {format}: {} indicators, {} lines without one",
            path.display(),
            printer.indicators,
            printer.diagnostics
        )?,
    }
    Ok(())
}

fn columns(text: &str) -> Result<Columns, ColumnsError> {
    if text.is_empty() { Ok(Columns::default()) } else { text.parse() }
}

struct Printer {
    path: String,
    out: Option<BufWriter<io::StdoutLock<'static>>>,
    failed: Option<io::Error>,
    indicators: u64,
    diagnostics: u64,
}

impl Sink for Printer {
    fn indicator(&mut self, indicator: Indicator) {
        self.indicators += 1;
        if let (Some(out), None) = (&mut self.out, &self.failed)
            && let Err(error) = json::write_line(out, &indicator)
        {
            self.failed = Some(error);
        }
    }

    fn diagnostic(&mut self, diagnostic: Diagnostic) {
        self.diagnostics += 1;
        // Standard error may be closed; the indicators matter more.
        let _ = writeln!(io::stderr(), "{}:{diagnostic}", self.path);
    }
}
