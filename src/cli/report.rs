//! `sachdns report`: the figures of a period as a file.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::civil::Date;

use super::log::bar::{Bar, Stop};
use super::{CliError, ConfigArg};
use crate::daemon::{gather_report, report_store, write_whole};
use crate::report::{self, Format, Period, PeriodError, Scope};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    make: Make,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write the built-in letter, to be edited and set as report.template.
    Template(Template),
}

#[derive(Debug, Args)]
struct Make {
    #[command(flatten)]
    config: ConfigArg,
    /// The first day, by Vietnam's clocks (UTC+7): 2026-11-01.
    #[arg(long, value_name = "DAY", requires = "to")]
    from: Option<Date>,
    /// The last day; all of it is part of the report.
    #[arg(long, value_name = "DAY", requires = "from")]
    to: Option<Date>,
    /// A whole month in place of both: 2026-11.
    #[arg(long, value_name = "MONTH", value_parser = Period::month, conflicts_with_all = ["from", "to"])]
    month: Option<Period>,
    /// Only this agency: the report then holds nothing of others.
    #[arg(long, value_name = "ID")]
    agency: Option<String>,
    /// Only what is on this machine, also where log.clickhouse is set: ClickHouse has all servers' queries.
    #[arg(long)]
    local: bool,
    /// The file to write; its name says the format: .xlsx, .docx, .csv, .json or .html.
    #[arg(long, value_name = "FILE", value_parser = output)]
    output: Option<Output>,
}

#[derive(Debug, Args)]
struct Template {
    /// The file to write, a .docx.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

/// Where a report is written to, and how.
#[derive(Debug, Clone)]
struct Output {
    path: PathBuf,
    format: Format,
}

fn output(text: &str) -> Result<Output, &'static str> {
    let path = PathBuf::from(text);
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let formats = [Format::Xlsx, Format::Docx, Format::Csv, Format::Json, Format::Html];
    let format = formats.into_iter().find(|format| format.as_str().eq_ignore_ascii_case(extension));
    let format = format.ok_or("its name must end with .xlsx, .docx, .csv, .json or .html")?;
    Ok(Output { path, format })
}

pub(super) fn run(arguments: &Arguments) -> Result<(), CliError> {
    match &arguments.command {
        Some(Command::Template(Template { output })) => write(output, &report::default_template()),
        None => make(&arguments.make),
    }
}

fn make(arguments: &Make) -> Result<(), CliError> {
    let Some(output) = &arguments.output else { return Err(CliError::WhichReport) };
    let config = arguments.config.load()?;
    let period = match (arguments.month, arguments.from, arguments.to) {
        (Some(month), ..) => month,
        (None, Some(from), Some(to)) => Period::new(from, to).map_err(period_error)?,
        _ => return Err(CliError::WhichReport),
    };
    let scope = match &arguments.agency {
        None => Scope::All,
        Some(id) if config.agencies.iter().any(|agency| *agency.id == **id) => Scope::Agency(id.clone()),
        Some(id) => return Err(CliError::NoAgency { id: id.clone() }),
    };
    if !config.log.folder.exists() {
        return Err(CliError::NoLog { path: super::absolute(&config.log.folder) });
    }
    let stop = Stop::listen()?;
    let store = report_store(&config, arguments.local);
    let figures = gather_report(&config, &*store, period, &scope, &mut Bar::new(&stop))?;
    let octets = report::render(&figures, output.format, &config.reports.options)?;
    write(&output.path, &octets)
}

fn period_error(error: PeriodError) -> CliError {
    report::ReportError::from(error).into()
}

fn write(path: &Path, octets: &[u8]) -> Result<(), CliError> {
    write_whole(path, octets).map_err(|source| CliError::Open { path: path.to_owned(), source })
}
