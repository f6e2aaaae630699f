//! `sachdns agency`: agencies, their networks and officers.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{CliError, ConfigArg, ListForm};
use crate::daemon;
use crate::evidence::export::csv;
use crate::roster::{self, Change, Manner, Proposal, RosterError, SheetError};

/// Octets of a sheet.
const MAX_FILE: u64 = 64 << 20;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show what a sheet of agencies and officers (XLSX, CSV) would change; take it with --apply.
    Import(Import),
    /// List all agencies, those of the configuration and imported ones.
    List(List),
}

#[derive(Debug, Args)]
pub(super) struct Import {
    #[command(flatten)]
    config: ConfigArg,
    /// The file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Take it, and reload a running server.
    #[arg(long)]
    apply: bool,
    /// Agencies that were imported before and are not in the file go.
    #[arg(long)]
    replace: bool,
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    config: ConfigArg,
    /// How to print.
    #[arg(long, value_enum, default_value_t = ListForm::Table)]
    format: ListForm,
}

/// Why a command was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum AgencyError {
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("{path}: {source}")]
    Sheet { path: PathBuf, source: SheetError },
    #[error("{path}: nothing is taken before all that is told above is mended")]
    Faulty { path: PathBuf },
    #[error(transparent)]
    Roster(#[from] RosterError),
}

impl From<AgencyError> for CliError {
    fn from(error: AgencyError) -> Self {
        Self::Agency(Box::new(error))
    }
}

pub(super) fn run(command: &Command) -> Result<(), CliError> {
    match command {
        Command::Import(arguments) => import(arguments),
        Command::List(arguments) => list(arguments),
    }
}

fn load(path: &Path) -> Result<Vec<u8>, AgencyError> {
    let failed = |source| AgencyError::File { path: path.to_owned(), source };
    let facts = fs::metadata(path).map_err(failed)?;
    if !facts.is_file() || facts.len() > MAX_FILE {
        return Err(failed(io::Error::other(format!("no file of at most {} MiB", MAX_FILE >> 20))));
    }
    fs::read(path).map_err(failed)
}

fn import(arguments: &Import) -> Result<(), CliError> {
    let config = arguments.config.load()?;
    let path = &arguments.file;
    let octets = load(path)?;
    let kept = roster::read(&config.data_dir).map_err(AgencyError::from)?;
    let names: Vec<(String, String)> =
        kept.entries.iter().map(|entry| (entry.id.clone(), entry.name.clone())).collect();
    let found = roster::read_sheet(&octets, &names)
        .map_err(|source| AgencyError::Sheet { path: path.clone(), source })?;
    let manner = if arguments.replace { Manner::Replace } else { Manner::Add };
    let proposal = roster::propose(found, &kept.entries, &config.configured_agencies(), manner);
    let shown = path.display();
    for (place, fault) in proposal.faults.iter().chain(&proposal.notes) {
        eprintln!("{shown}:{place}: {fault}");
    }
    let mut out = BufWriter::new(io::stdout().lock());
    print(&mut out, &proposal)?;
    if !proposal.faults.is_empty() {
        out.flush()?;
        return Err(AgencyError::Faulty { path: path.clone() }.into());
    }
    if !arguments.apply {
        if proposal.changes_anything() {
            writeln!(out, "nothing is changed yet: --apply takes it")?;
        }
        out.flush()?;
        return Ok(());
    }
    roster::write(&config.data_dir, &proposal.entries, &kept.digest).map_err(AgencyError::from)?;
    match daemon::ask_to_reload(&config.data_dir) {
        Ok(line) => writeln!(out, "taken; {line}")?,
        Err(daemon::DaemonError::NotRunning { .. }) => {
            writeln!(out, "taken; it is in force at the next start, for no server runs here")?;
        }
        Err(error) => {
            out.flush()?;
            return Err(error.into());
        }
    }
    out.flush()?;
    Ok(())
}

fn print(out: &mut impl Write, proposal: &Proposal) -> io::Result<()> {
    let mut same = 0;
    for it in &proposal.differences {
        let (id, name) = (it.id.escape_debug(), it.name.escape_debug());
        match &it.change {
            Change::Added => writeln!(out, "+ {id} ({name})")?,
            Change::Removed => writeln!(out, "- {id} ({name})")?,
            Change::Changed(fields) => {
                writeln!(out, "~ {id} ({name})")?;
                for (field, old, new) in fields {
                    writeln!(
                        out,
                        "    {}: {} -> {}",
                        field.as_str(),
                        old.escape_debug(),
                        new.escape_debug()
                    )?;
                }
            }
            Change::Same | Change::Kept => same += 1,
        }
    }
    writeln!(out, "{same} stay as they are")
}

fn list(arguments: &List) -> Result<(), CliError> {
    let config = arguments.config.load()?;
    let mut out = BufWriter::new(io::stdout().lock());
    match arguments.format {
        ListForm::Table => {
            writeln!(out, "{:<24}  {:<40}  {:<8}  {:<20}  NETWORKS", "ID", "NAME", "FROM", "OFFICER")?;
        }
        ListForm::Jsonl => {}
        ListForm::Csv => write!(out, "id,name,networks,contact,officer,email,forwarders,from\r\n")?,
    }
    for (number, agency) in config.agencies.iter().enumerate() {
        let office = config.cases.offices.iter().find(|office| office.agency == agency.id);
        let from = if number < config.own_agencies { "settings" } else { "imported" };
        let networks = agency.networks.iter().map(ToString::to_string).collect::<Vec<_>>();
        let forwarders = office.map(|office| &*office.forwarders).unwrap_or_default();
        let forwarders = forwarders.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (officer, email) =
            office.map_or((None, None), |office| (office.officer.clone(), office.email.clone()));
        match arguments.format {
            ListForm::Table => {
                let (id, name) =
                    (agency.id.escape_debug().to_string(), agency.name.escape_debug().to_string());
                let officer = officer.as_deref().unwrap_or("-").escape_debug().to_string();
                writeln!(out, "{id:<24}  {name:<40}  {from:<8}  {officer:<20}  {}", networks.join(" "))?;
            }
            ListForm::Jsonl => {
                let value = json!({
                    "id": &*agency.id, "name": &*agency.name, "networks": networks, "contact": agency.contact.as_deref(),
                    "officer": officer, "email": email, "forwarders": forwarders, "from": from,
                });
                serde_json::to_writer(&mut out, &value).map_err(io::Error::from)?;
                out.write_all(b"\n")?;
            }
            ListForm::Csv => {
                let cells = [
                    agency.id.to_string(),
                    agency.name.to_string(),
                    networks.join(" "),
                    agency.contact.as_deref().unwrap_or_default().to_owned(),
                    officer.unwrap_or_default(),
                    email.unwrap_or_default(),
                    forwarders.join(" "),
                    from.to_owned(),
                ];
                let cells: Vec<String> = cells.iter().map(|cell| csv::quoted(cell)).collect();
                write!(out, "{}\r\n", cells.join(","))?;
            }
        }
    }
    out.flush()?;
    Ok(())
}
