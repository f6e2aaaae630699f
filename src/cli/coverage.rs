//! `sachdns coverage`: which machines have endpoint protection.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::log::bar::{Bar, Stop};
use super::log::filters::time;
use super::{CliError, ConfigArg, ListForm};
use crate::cases::board::Infected;
use crate::cases::{Case, CaseFilter, Desk};
use crate::clock::{self, local_time};
use crate::config::Config;
use crate::coverage::read::{MAX_FILE, Reading, read};
use crate::coverage::{Ledger, LedgerError, Offer, Query, Row, Standing};
use crate::daemon::{self, SurveyError};
use crate::evidence::export::csv;
use crate::identity::read::times::Order;
use crate::tabular::heading::bare;
use crate::tabular::table::TableError;

/// What was counted so lately is not counted again.
const FRESH: i64 = 3_600_000_000;
/// Faults that are told one by one.
const TOLD: usize = 50;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Take an inventory of endpoint protection: a sheet or CSV that names computers. The next one of the same product takes its place.
    Import(Import),
    /// List machines that asked, and whether they are protected; or infected ones, by their open cases.
    List(List),
    /// Print how many machines of each agency are protected.
    Agencies(Since),
    /// List what was imported.
    Exports(Exports),
    /// Take out what was imported by this name.
    Forget(Forget),
}

#[derive(Debug, Args)]
pub(super) struct Import {
    #[command(flatten)]
    config: ConfigArg,
    /// The file: XLSX or CSV with a column for host names, addresses or MACs.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What protects the computers in it, such as bkav or viettel, where it does not say so.
    #[arg(long, value_name = "NAME")]
    product: Option<String>,
    /// The agency whose computers are in it, where it does not say so.
    #[arg(long, value_name = "ID")]
    agency: Option<String>,
    /// What the versions of one export have in common; product and agency otherwise, or the file's name.
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// When it was made; the file's own time otherwise.
    #[arg(long, value_name = "TIME", value_parser = time)]
    as_of: Option<i64>,
    /// In which order dates are written: auto, dmy (27/11/2026), mdy (11/27/2026) or ymd (2026/11/27).
    #[arg(long, value_name = "ORDER", default_value = "auto")]
    dates: Order,
    /// Who brings it.
    #[arg(long, value_name = "WHO", default_value = "command line")]
    by: String,
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    since: Since,
    /// Only machines of the agency with this id.
    #[arg(long, value_name = "ID")]
    agency: Option<String>,
    /// Only machines with open cases, a row each case.
    #[arg(long)]
    infected: bool,
    /// Only machines without protection, as far as anybody says.
    #[arg(long, conflicts_with_all = ["protected", "unknown"])]
    unprotected: bool,
    /// Only machines with protection.
    #[arg(long, conflicts_with = "unknown")]
    protected: bool,
    /// Only machines of which nobody says anything.
    #[arg(long)]
    unknown: bool,
    /// How to print.
    #[arg(long, value_enum, default_value_t = ListForm::Table)]
    format: ListForm,
}

#[derive(Debug, Args)]
pub(super) struct Since {
    #[command(flatten)]
    config: ConfigArg,
    /// Only machines that asked since.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "30d")]
    since: i64,
    /// Ask what is known already, and do not count who asked since then.
    #[arg(long)]
    no_count: bool,
}

#[derive(Debug, Args)]
pub(super) struct Exports {
    #[command(flatten)]
    config: ConfigArg,
}

#[derive(Debug, Args)]
pub(super) struct Forget {
    #[command(flatten)]
    config: ConfigArg,
    /// The name, as `sachdns coverage exports` lists it.
    #[arg(value_name = "NAME")]
    name: String,
}

/// Why a command was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum CoverageError {
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("{path}: larger than {} MiB; is this an inventory of endpoint protection?", MAX_FILE >> 20)]
    TooLarge { path: PathBuf },
    #[error("{path}: {source}")]
    Table { path: PathBuf, source: TableError },
    #[error("{path}: {source}")]
    Taking { path: PathBuf, source: LedgerError },
    #[error("nothing was imported as {name:?}; `sachdns coverage exports` lists what was")]
    NoExport { name: String },
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Survey(#[from] SurveyError),
}

impl From<CoverageError> for CliError {
    fn from(error: CoverageError) -> Self {
        Self::Coverage(Box::new(error))
    }
}

pub(super) fn run(command: &Command) -> Result<(), CliError> {
    match command {
        Command::Import(arguments) => import(arguments),
        Command::List(arguments) => list(arguments),
        Command::Agencies(arguments) => agencies(arguments),
        Command::Exports(arguments) => exports(arguments),
        Command::Forget(arguments) => forget(arguments),
    }
}

fn open(config: &Config) -> Result<Ledger, CoverageError> {
    Ok(Ledger::open(&config.data_dir)?)
}

/// The file's octets, and when it was written.
fn load(path: &Path) -> Result<(Vec<u8>, i64), CoverageError> {
    let failed = |source| CoverageError::File { path: path.to_owned(), source };
    let mut octets = Vec::new();
    let file = File::open(path).map_err(failed)?;
    let written = file.metadata().map_err(failed)?.mtime().saturating_mul(1_000_000);
    file.take(MAX_FILE + 1).read_to_end(&mut octets).map_err(failed)?;
    if octets.len() as u64 > MAX_FILE {
        return Err(CoverageError::TooLarge { path: path.to_owned() });
    }
    Ok((octets, written))
}

fn import(arguments: &Import) -> Result<(), CliError> {
    let config = arguments.config.load()?;
    if let Some(id) = &arguments.agency
        && !config.agencies.iter().any(|agency| *agency.id == **id)
    {
        return Err(CliError::NoAgency { id: id.clone() });
    }
    let path = &arguments.file;
    let (octets, written) = load(path)?;
    let reading = Reading {
        product: arguments.product.clone(),
        zone: TimeZone::fixed(jiff::tz::Offset::constant(7)),
        dates: arguments.dates,
    };
    let batch =
        read(&octets, &reading).map_err(|source| CoverageError::Table { path: path.clone(), source })?;
    let shown = path.display();
    for (place, fault) in batch.faults.iter().take(TOLD) {
        eprintln!("{shown}:{place}: {fault}");
    }
    let more = batch.faults.len().saturating_sub(TOLD) as u64 + batch.more_faults;
    if more > 0 {
        eprintln!("{shown}: {more} more faults");
    }
    let name = arguments.source.clone().unwrap_or_else(|| {
        let of_product = arguments.product.as_deref().map(|product| bare(product).replace(' ', "-"));
        let of_file = || path.file_name().map(|name| name.to_string_lossy().into_owned());
        let words = [of_product.or_else(of_file), arguments.agency.clone()];
        words.into_iter().flatten().collect::<Vec<_>>().join(" ")
    });
    let now = clock::now();
    let offer = Offer {
        name: &name,
        agency: arguments.agency.as_deref(),
        as_of: arguments.as_of.unwrap_or(written).min(now),
        by: &arguments.by,
    };
    let ledger = open(&config)?;
    let taken = ledger
        .take(&offer, &batch, now)
        .map_err(|source| CoverageError::Taking { path: path.clone(), source })?;
    let book = super::identity::open(&config)?;
    daemon::settle_coverage(&config, &ledger, &book, now).map_err(CoverageError::from)?;
    let exports = ledger.exports().map_err(CoverageError::from)?;
    let matched = exports.iter().find(|export| export.name == name).map_or(0, |export| export.matched);
    writeln!(
        io::stdout(),
        "{shown}: {} computers taken as {name:?}, in the place of {} before; {matched} of them are known machines or addresses",
        taken.rows,
        taken.before
    )?;
    Ok(())
}

/// The ledger, with who asked up to now.
fn counted(arguments: &Since) -> Result<(Config, Ledger), CliError> {
    let config = arguments.config.load()?;
    let ledger = open(&config)?;
    let now = clock::now();
    let is_fresh = ledger
        .counted_until()
        .map_err(CoverageError::from)?
        .is_some_and(|until| (now - FRESH..=now).contains(&until));
    if !arguments.no_count && !is_fresh && config.log.folder.exists() {
        let book = super::identity::open(&config)?;
        let stop = Stop::listen()?;
        daemon::survey_coverage(&config, &ledger, &book, now, &mut Bar::new(&stop))
            .map_err(CoverageError::from)?;
    }
    Ok((config, ledger))
}

fn agencies(arguments: &Since) -> Result<(), CliError> {
    let (_, ledger) = counted(arguments)?;
    let mut out = BufWriter::new(io::stdout().lock());
    writeln!(
        out,
        "{:<24}  {:>9}  {:>9}  {:>11}  {:>9}",
        "AGENCY", "MACHINES", "PROTECTED", "UNPROTECTED", "UNKNOWN"
    )?;
    let all = ledger.by_agency((arguments.since, i64::MAX), None).map_err(CoverageError::from)?;
    let sum = ledger.province((arguments.since, i64::MAX)).map_err(CoverageError::from)?;
    let rows = all.into_iter().map(|(agency, coverage)| (agency.unwrap_or_else(|| "-".to_owned()), coverage));
    for (agency, it) in rows.chain([("all".to_owned(), sum)]) {
        let agency = agency.escape_debug().to_string();
        writeln!(
            out,
            "{agency:<24}  {:>9}  {:>9}  {:>11}  {:>9}",
            it.machines, it.protected, it.unprotected, it.unknown
        )?;
    }
    out.flush()?;
    Ok(())
}

fn exports(arguments: &Exports) -> Result<(), CliError> {
    let ledger = open(&arguments.config.load()?)?;
    let mut out = BufWriter::new(io::stdout().lock());
    writeln!(
        out,
        "{:<30}  {:<20}  {:<20}  {:>9}  {:>9}  {:>7}  AS OF",
        "NAME", "PRODUCT", "AGENCY", "COMPUTERS", "KNOWN", "FAULTS"
    )?;
    for it in ledger.exports().map_err(CoverageError::from)? {
        let shown = |text: Option<&str>| text.unwrap_or("-").escape_debug().to_string();
        let (name, product, agency) =
            (shown(Some(&it.name)), shown(it.product.as_deref()), shown(it.agency.as_deref()));
        let as_of = local_time(it.as_of);
        writeln!(
            out,
            "{name:<30}  {product:<20}  {agency:<20}  {:>9}  {:>9}  {:>7}  {as_of}",
            it.rows, it.matched, it.faults
        )?;
    }
    out.flush()?;
    Ok(())
}

fn forget(arguments: &Forget) -> Result<(), CliError> {
    let config = arguments.config.load()?;
    let ledger = open(&config)?;
    if !ledger.forget(&arguments.name).map_err(CoverageError::from)? {
        return Err(CoverageError::NoExport { name: arguments.name.clone() }.into());
    }
    let book = super::identity::open(&config)?;
    daemon::settle_coverage(&config, &ledger, &book, clock::now()).map_err(CoverageError::from)?;
    writeln!(io::stdout(), "{:?} is taken out", arguments.name)?;
    Ok(())
}

fn list(arguments: &List) -> Result<(), CliError> {
    let (config, ledger) = counted(&arguments.since)?;
    let wanted = [
        (arguments.unprotected, Standing::Unprotected),
        (arguments.protected, Standing::Protected),
        (arguments.unknown, Standing::Unknown),
    ];
    let standings: Vec<Standing> =
        wanted.into_iter().filter(|(is_wanted, _)| *is_wanted).map(|(_, it)| it).collect();
    let mut out = BufWriter::new(io::stdout().lock());
    head(&mut out, arguments.format)?;
    if arguments.infected {
        let folder = config.data_dir.join("cases");
        let desk = Desk::open_existing(&folder, config.cases.options.clone())?;
        let desk = desk.ok_or(CliError::NoCases { path: folder })?;
        let filter = CaseFilter {
            infected: Some(Infected::Machines),
            agency: arguments.agency.clone(),
            ..CaseFilter::default()
        };
        let cases = desk.list(&filter)?;
        let rows = ledger.standings(cases.iter().map(|case| case.subject)).map_err(CoverageError::from)?;
        for (case, row) in cases.iter().zip(&rows) {
            let standing = row.as_ref().map_or(Standing::Unknown, |row| row.standing);
            if standings.is_empty() || standings.contains(&standing) {
                print(&mut out, arguments.format, row.as_ref(), Some(case))?;
            }
        }
    } else {
        let query = Query {
            agency: arguments.agency.clone(),
            standings,
            since: Some(arguments.since.since),
            limit: Some(PART),
            ..Query::default()
        };
        let mut after = None;
        loop {
            let rows = ledger.list(&Query { after, ..query.clone() }).map_err(CoverageError::from)?;
            for row in &rows {
                print(&mut out, arguments.format, Some(row), None)?;
            }
            match rows.last() {
                Some(last) if rows.len() as u64 == PART => after = Some(last.id),
                _ => break,
            }
        }
    }
    out.flush()?;
    Ok(())
}

/// Rows that are asked for at once.
const PART: u64 = 5000;

fn head(out: &mut impl Write, format: ListForm) -> io::Result<()> {
    match format {
        ListForm::Table => writeln!(
            out,
            "{:<16}  {:<20}  {:<15}  {:<20}  {:<11}  {:<18}  {:<12}  CASE",
            "MACHINE", "HOST", "ADDRESS", "AGENCY", "STANDING", "PRODUCT", "VERSION"
        ),
        ListForm::Jsonl => Ok(()),
        ListForm::Csv => write!(
            out,
            "machine,host,owner,address,agency,standing,product,version,heard,export,place,last,ticket,family,state\r\n"
        ),
    }
}

/// A machine as it stands, and its case.
fn print(out: &mut impl Write, format: ListForm, row: Option<&Row>, case: Option<&Case>) -> io::Result<()> {
    let of_row = |of: fn(&Row) -> Option<&String>| row.and_then(of).cloned();
    let machine = row.map(|row| row.subject).or_else(|| case.map(|case| case.subject));
    let machine = machine.map(|it| it.to_string()).unwrap_or_default();
    let host = of_row(|row| row.host.as_ref()).or_else(|| case.and_then(|case| case.host.clone()));
    let address = row.map(|row| row.client).or_else(|| case.map(|case| case.client));
    let address = address.map(|it| it.to_string()).unwrap_or_default();
    let agency = of_row(|row| row.agency.as_ref()).or_else(|| case.and_then(|case| case.agency.clone()));
    let standing = row.map_or(Standing::Unknown, |row| row.standing).as_str();
    let (product, version) = (of_row(|row| row.product.as_ref()), of_row(|row| row.version.as_ref()));
    let utc = |time: i64| jiff::Timestamp::from_microsecond(time).map(|time| time.to_string()).ok();
    let heard = row.and_then(|row| row.heard).and_then(utc);
    let last = row.map(|row| row.last).and_then(utc);
    let (ticket, family) = (case.map(|it| it.ticket.to_string()), case.map(|it| it.family.clone()));
    let state = case.map(|case| case.course.state.as_str().to_owned());
    match format {
        ListForm::Table => {
            let shown = |text: &Option<String>| text.as_deref().unwrap_or("-").escape_debug().to_string();
            let (host, agency, product, version) =
                (shown(&host), shown(&agency), shown(&product), shown(&version));
            let case = ticket.map(|ticket| format!("{ticket} {}", family.unwrap_or_default().escape_debug()));
            let case = case.unwrap_or_else(|| "-".to_owned());
            writeln!(
                out,
                "{machine:<16}  {host:<20}  {address:<15}  {agency:<20}  {standing:<11}  {product:<18}  {version:<12}  {case}"
            )
        }
        ListForm::Jsonl => {
            let value: Value = json!({
                "machine": machine, "host": host, "owner": of_row(|row| row.owner.as_ref()), "address": address, "agency": agency,
                "standing": standing, "product": product, "version": version, "heard": heard,
                "export": of_row(|row| row.export.as_ref()), "place": of_row(|row| row.place.as_ref()), "last": last,
                "ticket": ticket, "family": family, "state": state,
            });
            serde_json::to_writer(&mut *out, &value)?;
            out.write_all(b"\n")
        }
        ListForm::Csv => {
            let cells = [
                Some(machine),
                host,
                of_row(|row| row.owner.as_ref()),
                Some(address),
                agency,
                Some(standing.to_owned()),
                product,
                version,
                heard,
                of_row(|row| row.export.as_ref()),
                of_row(|row| row.place.as_ref()),
                last,
                ticket,
                family,
                state,
            ];
            let cells: Vec<_> =
                cells.into_iter().map(|cell| csv::quoted(&cell.unwrap_or_default())).collect();
            write!(out, "{}\r\n", cells.join(","))
        }
    }
}
