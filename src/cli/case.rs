//! `sachdns case`: what is followed, and what people say about it.

mod print;

use std::io::{self, Write as _};
use std::net::IpAddr;

use clap::{Args, Subcommand, ValueEnum};

use super::log::filters::time;
use super::{CliError, ConfigArg, ListForm, ReportForm};
use crate::cases::desk::{Desk, DeskError, person};
use crate::cases::{Actor, Case, CaseFilter, Class, State, Subject, Ticket, Verdict};
use crate::clock;
use crate::config::Config;
use crate::evidence::audit::{self, Look};
use crate::rules::history::History;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List cases, those seen last first; without --state or --all those that are open.
    List(List),
    /// Print one case: what was seen, who did what and when.
    Show(Show),
    /// Give a case to an officer.
    Assign(Assign),
    /// Add a note.
    Note(Note),
    /// Note that somebody was told, by telephone for instance.
    Notified(Note),
    /// Note that somebody says that the machine is clean.
    Clean(Statement),
    /// Say what a case is; a false positive is closed, and its names are proposed as exceptions.
    Verdict(VerdictArgs),
    /// Close a case by hand.
    Close(Reasoned),
    /// Open a closed case again.
    Reopen(Reasoned),
    /// Make two cases one, of one family and class; both tickets lead to it.
    Merge(Merge),
    /// List names that somebody holds for harmless, and how to let them pass.
    Proposals(Proposals),
    /// Set a proposal aside: the name is a threat.
    Decline(Decline),
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    config: ConfigArg,
    /// Only cases that are so far: new, notified, cleaned, watched or closed; may be repeated.
    #[arg(long)]
    state: Vec<State>,
    /// Closed ones too.
    #[arg(long, conflicts_with = "state")]
    all: bool,
    /// Only cases of this agency.
    #[arg(long, value_name = "ID")]
    agency: Option<String>,
    /// Only cases of this malware family.
    #[arg(long, value_name = "NAME")]
    family: Option<String>,
    /// Only cases of this class: c2, phishing, address, scan or unknown.
    #[arg(long)]
    class: Option<Class>,
    /// Only cases of this machine, or of an address of which no machine is known.
    #[arg(long, value_name = "m-ID|ADDRESS")]
    machine: Option<Subject>,
    /// Only cases that were seen at this address last.
    #[arg(long, value_name = "IP")]
    client: Option<IpAddr>,
    /// Only cases that this officer has.
    #[arg(long, value_name = "NAME")]
    officer: Option<String>,
    /// Only cases with a hit from this time on: RFC 3339, or an age such as 2h or 90d.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<i64>,
    /// Only cases with no hit from this time on.
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<i64>,
    /// At most this many.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = ListForm::Table)]
    format: ListForm,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    #[command(flatten)]
    of: Of,
    /// How to print.
    #[arg(long, value_enum, default_value_t = ReportForm::Table)]
    format: ReportForm,
}

#[derive(Debug, Args)]
struct Of {
    #[command(flatten)]
    config: ConfigArg,
    /// The case's ticket, as people read it out; small letters and spaces do not matter.
    ticket: Ticket,
}

#[derive(Debug, Args)]
struct By {
    /// Who answers for it.
    #[arg(long, value_name = "WHO")]
    by: String,
}

#[derive(Debug, Args)]
pub(super) struct Assign {
    #[command(flatten)]
    of: Of,
    /// Who looks after it from now on.
    officer: String,
    #[command(flatten)]
    by: By,
}

#[derive(Debug, Args)]
pub(super) struct Note {
    #[command(flatten)]
    of: Of,
    /// What is to be noted.
    text: String,
    #[command(flatten)]
    by: By,
}

#[derive(Debug, Args)]
pub(super) struct Statement {
    #[command(flatten)]
    of: Of,
    /// What was done.
    #[arg(long, default_value = "")]
    note: String,
    #[command(flatten)]
    by: By,
}

#[derive(Debug, Args)]
pub(super) struct VerdictArgs {
    #[command(flatten)]
    of: Of,
    /// What it is.
    #[arg(value_enum)]
    verdict: VerdictArg,
    /// Why.
    #[arg(long)]
    reason: String,
    /// Of a false positive, the harmless name, if not all that were seen; may be repeated.
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,
    #[command(flatten)]
    by: By,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum VerdictArg {
    Confirmed,
    FalsePositive,
}

#[derive(Debug, Args)]
pub(super) struct Reasoned {
    #[command(flatten)]
    of: Of,
    /// Why.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    by: By,
}

#[derive(Debug, Args)]
pub(super) struct Merge {
    #[command(flatten)]
    of: Of,
    /// The case that it becomes part of.
    into: Ticket,
    /// Why.
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    by: By,
}

#[derive(Debug, Args)]
pub(super) struct Proposals {
    #[command(flatten)]
    config: ConfigArg,
    /// Those too that were decided about.
    #[arg(long)]
    all: bool,
    /// How to print.
    #[arg(long, value_enum, default_value_t = ListForm::Table)]
    format: ListForm,
}

#[derive(Debug, Args)]
pub(super) struct Decline {
    #[command(flatten)]
    config: ConfigArg,
    /// The proposal's number.
    number: i64,
    /// Why.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    by: By,
}

pub(super) fn run(command: &Command) -> Result<(), CliError> {
    match command {
        Command::List(arguments) => list(arguments),
        Command::Show(arguments) => show(arguments),
        Command::Proposals(arguments) => proposals(arguments),
        Command::Assign(Assign { of, officer, by }) => {
            act(of, by, |desk, case, by, now| desk.assign(case.id, officer, by, now))
        }
        Command::Note(Note { of, text, by }) => {
            act(of, by, |desk, case, by, now| desk.note(case.id, text, by, now))
        }
        Command::Notified(Note { of, text, by }) => {
            act(of, by, |desk, case, by, now| desk.told(case.id, text, by, now))
        }
        Command::Clean(Statement { of, note, by }) => {
            act(of, by, |desk, case, by, now| desk.said_clean(case.id, note, by, now))
        }
        Command::Close(Reasoned { of, reason, by }) => {
            act(of, by, |desk, case, by, now| desk.close(case.id, reason, by, now))
        }
        Command::Reopen(Reasoned { of, reason, by }) => {
            act(of, by, |desk, case, by, now| desk.reopen(case.id, reason, by, now))
        }
        Command::Verdict(VerdictArgs { of, verdict, reason, name, by }) => {
            let verdict = match verdict {
                VerdictArg::Confirmed => Verdict::Confirmed,
                VerdictArg::FalsePositive => Verdict::FalsePositive,
            };
            act(of, by, |desk, case, by, now| desk.verdict(case.id, verdict, name, reason, by, now))
        }
        Command::Merge(Merge { of, into, reason, by }) => act(of, by, |desk, case, by, now| {
            let into = desk.by_ticket(*into)?.ok_or(DeskError::NoCase(*into))?;
            desk.merge(case.id, into.id, reason, by, now)
        }),
        Command::Decline(Decline { config, number, reason, by }) => {
            let desk = desk(&config.load()?)?;
            desk.decline(*number, reason, &person(&by.by)?, clock::now())?;
            writeln!(io::stdout(), "proposal {number} is declined")?;
            Ok(())
        }
    }
}

/// The desk of this data folder; with and without a running server.
fn desk(config: &Config) -> Result<Desk, CliError> {
    let folder = config.data_dir.join("cases");
    let desk = Desk::open_existing(&folder, config.cases.options.clone())?;
    desk.ok_or_else(|| CliError::NoCases { path: super::absolute(&folder) })
}

fn act(
    of: &Of,
    by: &By,
    act: impl FnOnce(&Desk, &Case, &Actor, i64) -> Result<Case, DeskError>,
) -> Result<(), CliError> {
    let desk = desk(&of.config.load()?)?;
    let case = desk.by_ticket(of.ticket)?.ok_or(DeskError::NoCase(of.ticket))?;
    let case = act(&desk, &case, &person(&by.by)?, clock::now())?;
    writeln!(io::stdout(), "{}", print::line(&case))?;
    Ok(())
}

fn list(arguments: &List) -> Result<(), CliError> {
    let config = arguments.config.load()?;
    let desk = desk(&config)?;
    let open = || [State::New, State::Notified, State::Cleaned, State::Watched].to_vec();
    let states = match &arguments.state[..] {
        [] if arguments.all => Vec::new(),
        [] => open(),
        states => states.to_vec(),
    };
    let filter = CaseFilter {
        states,
        agency: arguments.agency.clone(),
        family: arguments.family.clone(),
        class: arguments.class,
        subject: arguments.machine,
        client: arguments.client,
        officer: arguments.officer.clone(),
        since: arguments.since,
        until: arguments.until,
        limit: arguments.limit,
        ..CaseFilter::default()
    };
    let looked_at = arguments.client.or(match arguments.machine {
        Some(Subject::Address(address)) => Some(address),
        _ => None,
    });
    if let Some(client) = looked_at {
        note_look(&config, "case list", client, arguments.since, arguments.until)?;
    }
    print::list(&desk.list(&filter)?, arguments.format)?;
    Ok(())
}

fn show(Show { of, format }: &Show) -> Result<(), CliError> {
    let config = of.config.load()?;
    let desk = desk(&config)?;
    let case = desk.by_ticket(of.ticket)?.ok_or(DeskError::NoCase(of.ticket))?;
    let file = desk.get(case.id)?.ok_or(DeskError::NoCase(of.ticket))?;
    note_look(&config, "case show", case.client, Some(case.course.first_hit), None)?;
    print::file(&file, &config, *format)?;
    Ok(())
}

/// Records that somebody looks at what one machine did.
fn note_look(
    config: &Config,
    command: &str,
    client: IpAddr,
    since: Option<i64>,
    until: Option<i64>,
) -> Result<(), CliError> {
    let failed = |source| CliError::Audit { path: audit::path(&config.data_dir), source };
    audit::append(&config.data_dir, clock::now(), &Look { command, client, since, until }).map_err(failed)
}

fn proposals(arguments: &Proposals) -> Result<(), CliError> {
    let config = arguments.config.load()?;
    let proposals = desk(&config)?.proposals()?;
    let reading = History::new(&config.data_dir).read().map_err(crate::daemon::giving::RuleError::from)?;
    let now = clock::now();
    let rows: Vec<_> = proposals
        .iter()
        .map(|proposal| print::Proposed::new(proposal, reading.book.lets_pass(&proposal.name, now)))
        .filter(|row| arguments.all || row.is_open())
        .collect();
    print::proposals(&rows, arguments.format)?;
    Ok(())
}
