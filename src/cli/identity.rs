//! `sachdns identity`

use std::collections::BTreeSet;
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::log::filters::time;
use super::{CliError, ConfigArg, ListForm};
use crate::clock::{self, local_minute, local_time, local_zone};
use crate::config::Config;
use crate::daemon;
use crate::evidence::audit::{self, Look, MachineLook};
use crate::evidence::export::csv;
use crate::identity::follow::{self, Watched};
use crate::identity::list::Query;
use crate::identity::read::Format;
use crate::identity::read::times::Order;
use crate::identity::{ALWAYS, Book, BookError, Conflict, Hints, Interval, Machine, MachineId, Trial, Who};
use crate::mac::Mac;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Read a file of leases or machines. Reading it again changes nothing.
    Import(Import),
    /// Tell which machine has or had an address, and which addresses a machine had.
    Show(Show),
    /// List machines.
    List(List),
    /// Tell where sources contradict each other.
    Conflicts(Conflicts),
    /// Say that two machines are one.
    Merge(Merge),
}

#[derive(Debug, Args)]
pub(super) struct Import {
    #[command(flatten)]
    config: ConfigArg,
    /// The file: leases of Kea, ISC dhcpd, dnsmasq or Windows, or an inventory as CSV or XLSX.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How it is written: auto, kea, isc, dnsmasq, windows or inventory.
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    format: Format,
    /// The agency whose machines are in it, where it does not say so itself.
    #[arg(long, value_name = "ID")]
    agency: Option<String>,
    /// In which order dates are written: auto, dmy (27/11/2026), mdy (11/27/2026) or ymd (2026/11/27).
    #[arg(long, value_name = "ORDER", default_value = "auto")]
    dates: Order,
    /// In which zone times are that do not say so, such as Asia/Ho_Chi_Minh; this machine's otherwise.
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    zone: Option<TimeZone>,
    /// What the versions of one file have in common; the file's path otherwise. A list ends what an older version had.
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// When it was written; the file's own time otherwise.
    #[arg(long, value_name = "TIME", value_parser = time)]
    as_of: Option<i64>,
    /// Only say what would change.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    #[command(flatten)]
    config: ConfigArg,
    /// An address, a MAC, a host name, or a machine's number such as m-17.
    #[arg(value_name = "WHAT")]
    what: String,
    /// At which time an address is asked about; now otherwise.
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<i64>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = ListForm::Table)]
    format: ListForm,
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    config: ConfigArg,
    /// Only machines of the agency with this id.
    #[arg(long, value_name = "ID")]
    agency: Option<String>,
    /// Only machines with this in their name, owner, unit or MAC.
    #[arg(long, value_name = "TEXT")]
    find: Option<String>,
    /// Only machines that a source spoke of since.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<i64>,
    /// Only machines that are known by randomised MACs alone.
    #[arg(long)]
    randomised: bool,
    /// At most this many.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = ListForm::Table)]
    format: ListForm,
}

#[derive(Debug, Args)]
pub(super) struct Conflicts {
    #[command(flatten)]
    config: ConfigArg,
    /// Only what was so since.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "30d")]
    since: i64,
    /// How to print.
    #[arg(long, value_enum, default_value_t = ListForm::Table)]
    format: ListForm,
}

#[derive(Debug, Args)]
pub(super) struct Merge {
    #[command(flatten)]
    config: ConfigArg,
    /// The machine that stays.
    #[arg(value_name = "KEPT")]
    kept: MachineId,
    /// The machine that becomes that one.
    #[arg(value_name = "GONE")]
    gone: MachineId,
    /// Who says so.
    #[arg(long, value_name = "WHO")]
    by: String,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|error| error.to_string())
}

pub(super) fn run(command: &Command) -> Result<(), CliError> {
    match command {
        Command::Import(arguments) => import(arguments),
        Command::Show(arguments) => show(arguments),
        Command::List(arguments) => list(arguments),
        Command::Conflicts(arguments) => conflicts(arguments),
        Command::Merge(arguments) => merge(arguments),
    }
}

pub(super) fn open(config: &Config) -> Result<Book, BookError> {
    Book::open(&daemon::identity_folder(&config.data_dir))
}

fn import(arguments: &Import) -> Result<(), CliError> {
    let config = arguments.config.load()?;
    if let Some(id) = &arguments.agency
        && !config.agencies.iter().any(|agency| *agency.id == **id)
    {
        return Err(CliError::NoAgency { id: id.clone() });
    }
    let file = Watched {
        path: arguments.file.clone(),
        format: arguments.format,
        agency: arguments.agency.clone(),
        zone: arguments.zone.clone().unwrap_or_else(TimeZone::system),
        dates: arguments.dates,
    };
    let name = arguments.source.clone().unwrap_or_else(|| follow::source_name(&file.path));
    let trial = if arguments.dry_run { Trial::Yes } else { Trial::No };
    let import = follow::import(&open(&config)?, &name, &file, arguments.as_of, &config.identity, trial)?;
    let path = file.path.display();
    for (line, fault) in &import.batch.faults {
        eprintln!("{path}:{line}: {fault}");
    }
    if import.batch.more_faults > 0 {
        eprintln!("{path}: {} more faults", import.batch.more_faults);
    }
    let taken = import.taken;
    let would = if arguments.dry_run { "would be " } else { "" };
    writeln!(
        io::stdout(),
        "{path} ({}): {} machines {would}new, {} addresses {would}added, {} changed, {} known already",
        import.format,
        taken.machines,
        taken.added,
        taken.changed,
        taken.known
    )?;
    Ok(())
}

fn show(arguments: &Show) -> Result<(), CliError> {
    let config = arguments.config.load()?;
    let book = open(&config)?;
    let at = arguments.at.unwrap_or_else(clock::now);
    let what = arguments.what.trim();
    let mut out = BufWriter::new(io::stdout().lock());
    let machines = called(&book, what, at)?;
    let mut spans = Vec::new();
    if let Ok(address) = what.parse::<IpAddr>() {
        if machines.len() > 1 {
            eprintln!("note: the sources contradict each other about {address}: it may be any of these");
        }
        spans = book.holders(address)?;
    } else {
        for machine in &machines {
            spans.extend(book.addresses(machine.id)?);
        }
        if arguments.at.is_some() {
            spans.retain(|span| span.from <= at && span.to.is_none_or(|to| to > at));
        }
    }
    let until = arguments.at.map(|at| at.saturating_add(1));
    note_look(&config, "identity show", what, &spans, arguments.at, until)?;
    if machines.is_empty() && spans.is_empty() {
        return Err(CliError::NoMachine { what: what.to_owned() });
    }
    match arguments.format {
        ListForm::Table => {
            for machine in &machines {
                describe(&mut out, machine)?;
            }
            if machines.is_empty() {
                writeln!(out, "no machine is known to have {what} at {}", local_time(at))?;
            }
            let (from, to) = (format!("FROM ({})", local_zone()), "TO");
            writeln!(out, "\n{from:<16} {to:<16} {:<15} {:<8} SOURCE", "ADDRESS", "MACHINE")?;
            for span in &spans {
                let from = since(span.from, local_minute);
                let to = span.to.map_or("still".to_owned(), local_minute);
                let address = span.address.to_string();
                let (machine, source) = (span.machine.to_string(), span.source.escape_debug());
                writeln!(out, "{from:<16} {to:<16} {address:<15} {machine:<8} {source}")?;
            }
        }
        ListForm::Jsonl => {
            for machine in &machines {
                line(&mut out, &as_json(machine))?;
            }
            for span in &spans {
                line(&mut out, &span_as_json(span))?;
            }
        }
        ListForm::Csv => {
            write!(out, "from,to,address,machine,mac,host,source\r\n")?;
            for span in &spans {
                let cells = [
                    utc(span.from).unwrap_or_default(),
                    span.to.and_then(utc).unwrap_or_default(),
                    span.address.to_string(),
                    span.machine.to_string(),
                    span.mac.map(|mac| mac.to_string()).unwrap_or_default(),
                    span.host.clone().unwrap_or_default(),
                    span.source.clone(),
                ];
                row(&mut out, &cells)?;
            }
        }
    }
    out.flush()?;
    Ok(())
}

/// Records that somebody looks at which addresses a machine had, or which machines an address.
fn note_look(
    config: &Config,
    command: &str,
    what: &str,
    spans: &[Interval],
    since: Option<i64>,
    until: Option<i64>,
) -> Result<(), CliError> {
    let failed = |source| CliError::Audit { path: audit::path(&config.data_dir), source };
    let now = clock::now();
    let clients: BTreeSet<IpAddr> = match what.parse::<IpAddr>() {
        Ok(address) => BTreeSet::from([address]),
        Err(_) => {
            let look = MachineLook { command, machine: what, since, until };
            audit::append_machine(&config.data_dir, now, &look).map_err(failed)?;
            spans.iter().map(|span| span.address).collect()
        }
    };
    for client in clients {
        audit::append(&config.data_dir, now, &Look { command, client, since, until }).map_err(failed)?;
    }
    Ok(())
}

/// The machines that people call so: by an address at a time, a MAC, a host name or a number.
pub(super) fn called(book: &Book, what: &str, at: i64) -> Result<Vec<Machine>, BookError> {
    if let Ok(address) = what.parse::<IpAddr>() {
        return Ok(match book.who(address, at, &Hints::default())? {
            Who::Machine(machine) => vec![machine],
            Who::Conflict(machines) => machines,
            Who::Unknown => Vec::new(),
        });
    }
    match (what.parse::<MachineId>(), what.parse::<Mac>()) {
        (Ok(id), _) => Ok(book.machine(id)?.into_iter().collect()),
        (_, Ok(mac)) => book.with_mac(mac),
        _ => book.with_host(what),
    }
}

/// A machine in words.
fn describe(out: &mut impl Write, machine: &Machine) -> io::Result<()> {
    writeln!(out, "{}", machine.id)?;
    let macs = machine.macs.iter().map(|mac| {
        let word = if mac.is_random() { " (randomised: it changes, and says little alone)" } else { "" };
        format!("{mac}{word}")
    });
    let macs = Some(macs.collect::<Vec<_>>().join(", ")).filter(|macs| !macs.is_empty());
    for (what, value) in [
        ("host", &machine.host),
        ("mac", &macs),
        ("agency", &machine.agency),
        ("unit", &machine.unit),
        ("owner", &machine.owner),
        ("model", &machine.model),
        ("protection", &machine.protection),
        ("notes", &machine.notes),
        ("seen", &Some(format!("{} … {}", local_time(machine.first), local_time(machine.last)))),
    ] {
        if let Some(value) = value {
            writeln!(out, "  {what:<10}  {}", value.escape_debug())?;
        }
    }
    Ok(())
}

fn list(arguments: &List) -> Result<(), CliError> {
    let config = arguments.config.load()?;
    if let Some(text) = &arguments.find {
        note_look(&config, "identity list", text, &[], arguments.since, None)?;
    }
    let query = Query {
        agency: arguments.agency.as_deref(),
        find: arguments.find.as_deref(),
        since: arguments.since,
        is_randomised: arguments.randomised,
        limit: arguments.limit,
    };
    let mut out = BufWriter::new(io::stdout().lock());
    match arguments.format {
        ListForm::Table => writeln!(
            out,
            "{:<8} {:<16} {:<15} {:<16} AGENCY, OWNER (MAC)",
            "MACHINE",
            "HOST",
            "ADDRESS",
            format!("LAST ({})", local_zone())
        )?,
        ListForm::Jsonl => {}
        ListForm::Csv => {
            write!(out, "machine,host,mac,address,agency,unit,owner,model,protection,first,last\r\n")?;
        }
    }
    for (machine, address) in open(&config)?.list(&query)? {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let mac = machine.mac.map(|mac| mac.to_string()).unwrap_or_default();
        let address = address.map(|address| address.to_string()).unwrap_or_default();
        match arguments.format {
            ListForm::Table => {
                let shown = |text: &Option<String>| text.as_deref().unwrap_or("-").escape_debug().to_string();
                let (id, last) = (machine.id.to_string(), local_minute(machine.last));
                let (host, agency, owner) =
                    (shown(&machine.host), shown(&machine.agency), shown(&machine.owner));
                write!(out, "{id:<8} {host:<16} {address:<15} {last:<16} {agency}, {owner}")?;
                if mac.is_empty() { writeln!(out)? } else { writeln!(out, " ({mac})")? }
            }
            ListForm::Jsonl => {
                let mut value = as_json(&machine);
                value["address"] = Some(address).filter(|address| !address.is_empty()).into();
                line(&mut out, &value)?;
            }
            ListForm::Csv => {
                let cells = [
                    machine.id.to_string(),
                    text(&machine.host),
                    mac,
                    address,
                    text(&machine.agency),
                    text(&machine.unit),
                    text(&machine.owner),
                    text(&machine.model),
                    text(&machine.protection),
                    utc(machine.first).unwrap_or_default(),
                    utc(machine.last).unwrap_or_default(),
                ];
                row(&mut out, &cells)?;
            }
        }
    }
    out.flush()?;
    Ok(())
}

fn conflicts(arguments: &Conflicts) -> Result<(), CliError> {
    let config = arguments.config.load()?;
    let mut out = BufWriter::new(io::stdout().lock());
    match arguments.format {
        ListForm::Table => {
            let (from, to) = (format!("FROM ({})", local_zone()), "TO");
            writeln!(out, "{:<15} {:<16} {from:<16} {to:<16} MACHINES (sources)", "KIND", "WHAT")?;
        }
        ListForm::Jsonl => {}
        ListForm::Csv => write!(out, "kind,what,from,to,machines,sources\r\n")?,
    }
    for Conflict { kind, subject, machines, from, to, sources } in
        open(&config)?.conflicts(arguments.since)?
    {
        let machines: Vec<String> = machines.iter().map(ToString::to_string).collect();
        match arguments.format {
            ListForm::Table => {
                let (kind, from, to) =
                    (kind.as_str(), since(from, local_minute), to.map_or("still".to_owned(), local_minute));
                let (what, machines, sources) =
                    (subject.escape_debug().to_string(), machines.join(" "), sources.join(", "));
                writeln!(
                    out,
                    "{kind:<15} {what:<16} {from:<16} {to:<16} {machines} ({})",
                    sources.escape_debug()
                )?;
            }
            ListForm::Jsonl => {
                let (from, to) = (utc(from), to.and_then(utc));
                let value = json!({
                    "kind": kind.as_str(), "what": subject, "from": from, "to": to, "machines": machines, "sources": sources,
                });
                line(&mut out, &value)?;
            }
            ListForm::Csv => {
                let (from, to) = (utc(from).unwrap_or_default(), to.and_then(utc).unwrap_or_default());
                row(
                    &mut out,
                    &[kind.as_str().to_owned(), subject, from, to, machines.join(" "), sources.join(" ")],
                )?;
            }
        }
    }
    out.flush()?;
    Ok(())
}

fn merge(arguments: &Merge) -> Result<(), CliError> {
    let config = arguments.config.load()?;
    let Merge { kept, gone, by, reason, .. } = arguments;
    open(&config)?.merge(*kept, *gone, clock::now(), by, reason.as_deref())?;
    writeln!(io::stdout(), "{gone} is {kept} from now on, and for all that is recorded")?;
    Ok(())
}

fn line(out: &mut impl Write, value: &Value) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

fn row(out: &mut impl Write, cells: &[String]) -> io::Result<()> {
    let cells: Vec<_> = cells.iter().map(|cell| csv::quoted(cell)).collect();
    write!(out, "{}\r\n", cells.join(","))
}

fn since(time: i64, shown: fn(i64) -> String) -> String {
    if time == ALWAYS { "always".to_owned() } else { shown(time) }
}

fn utc(microseconds: i64) -> Option<String> {
    jiff::Timestamp::from_microsecond(microseconds)
        .ok()
        .filter(|_| microseconds != ALWAYS)
        .map(|time| time.to_string())
}

fn as_json(machine: &Machine) -> Value {
    let macs: Vec<String> = machine.macs.iter().map(ToString::to_string).collect();
    json!({
        "machine": machine.id.to_string(), "host": machine.host, "mac": machine.mac.map(|mac| mac.to_string()), "macs": macs,
        "is_randomised": machine.mac.is_some_and(Mac::is_random), "agency": machine.agency, "unit": machine.unit,
        "owner": machine.owner, "model": machine.model, "protection": machine.protection, "notes": machine.notes,
        "first": utc(machine.first), "last": utc(machine.last),
    })
}

fn span_as_json(span: &Interval) -> Value {
    json!({
        "from": utc(span.from), "to": span.to.and_then(utc), "address": span.address.to_string(),
        "machine": span.machine.to_string(), "mac": span.mac.map(|mac| mac.to_string()), "host": span.host,
        "source": span.source,
    })
}
