//! The command line: typed arguments and what is printed; no logic of its own.
//!
//! Results go to standard output, everything about them to standard error. Exit status: 0 done, 1
//! not done (the reason is printed), 2 wrong usage.

mod account;
mod agency;
mod ca;
mod case;
mod check;
mod contacts;
mod coverage;
mod demo;
mod diff;
mod explain;
mod export;
mod feed;
mod fetch;
mod hunt;
mod identity;
mod log;
mod policy;
mod reload;
mod replay;
mod report;
mod review;
mod rules;
mod serve;
mod status;

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{Config, Faults};
use crate::daemon::DaemonError;
use crate::evidence::contacts::ContactsError;
use crate::evidence::store::StoreError;
use crate::evidence::store::clickhouse::ship::ShipError;
use crate::feed::ReadError;
use crate::fetch::bundle::BundleError;
use crate::identity::BookError;
use crate::identity::follow::ImportError;
use crate::image::ImageError;
use crate::publish::list::Format;
use crate::sinkhole::authority::AuthorityError;
use crate::update::UpdateError;

/// A protective DNS resolver: malicious names lead to a sinkhole, every query leaves its record.
#[derive(Debug, Parser)]
#[command(name = "sachdns", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGINT or SIGTERM; SIGHUP reloads.
    Serve(ConfigArg),
    /// Make the running server read its configuration and feeds again; returns once they are in force.
    Reload(ConfigArg),
    /// Check the configuration and read every feed once; changes nothing.
    Check(ConfigArg),
    /// Tell what happens to a name, and which rule of which feed decides it.
    Explain(explain::Arguments),
    /// Print the query log, newest first; count it; follow it.
    Log(Box<log::Arguments>),
    /// Search the query log for any number of names, addresses and networks.
    Hunt(Box<hunt::Arguments>),
    /// Follow infected machines until they are clean.
    #[command(subcommand)]
    Case(case::Command),
    /// Make a report of a period: a workbook, a letter, a table or a page.
    Report(Box<report::Arguments>),
    /// Print who came to the sinkhole, newest first; say which agencies do not.
    Contacts(Box<contacts::Arguments>),
    /// Make the sinkhole's own certificate authority, and give out its certificate.
    #[command(subcommand)]
    Ca(ca::Command),
    /// Machines, and which addresses they had when.
    #[command(subcommand)]
    Identity(Box<identity::Command>),
    /// Endpoint protection: what has it, and which infected machines have none.
    #[command(subcommand)]
    Coverage(Box<coverage::Command>),
    /// Agencies, their networks and officers.
    #[command(subcommand)]
    Agency(agency::Command),
    /// Who may sign in to the console.
    #[command(subcommand)]
    Account(account::Command),
    /// Read feeds.
    #[command(subcommand)]
    Feed(feed::Command),
    /// Build the policy image, say what is in it, and give rules of one's own.
    #[command(subcommand)]
    Policy(policy::Command),
    /// Make up a province to look around in: queries, hits, machines, cases, feeds and rules.
    Demo(demo::Arguments),
}

/// How lists are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ListForm {
    Table,
    Jsonl,
    Csv,
}

/// How reports are printed that no spreadsheet could show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ReportForm {
    Table,
    Jsonl,
}

#[derive(Debug, Args)]
struct ConfigArg {
    /// The configuration file. Relative paths in it start from the working directory.
    #[arg(long, value_name = "FILE", default_value = "config/sachdns.toml")]
    config: PathBuf,
}

impl ConfigArg {
    fn load(&self) -> Result<Config, Faults> {
        let config = Config::load(&self.config)?;
        for unused in &config.unused {
            eprintln!("warning: {unused}");
        }
        Ok(config)
    }
}

/// Why a command was not done.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error(transparent)]
    Config(#[from] Faults),
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    #[error(transparent)]
    Update(#[from] UpdateError),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Contacts(#[from] ContactsError),
    #[error(transparent)]
    Accounts(#[from] crate::console::account::AccountsError),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error("{what} is not for a terminal: write it to a file by --output FILE")]
    Binary { what: &'static str },
    #[error(transparent)]
    Book(#[from] BookError),
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error("no source speaks of {what:?}; `sachdns identity list` shows the machines that are known")]
    NoMachine { what: String },
    #[error(transparent)]
    Tokens(#[from] crate::console::token::TokenError),
    #[error(transparent)]
    Agency(Box<agency::AgencyError>),
    #[error(transparent)]
    Coverage(Box<coverage::CoverageError>),
    #[error(transparent)]
    Rule(#[from] crate::daemon::giving::RuleError),
    #[error(
        "these feeds could not be fetched, or not all of them: {feeds}; their last versions stay in force"
    )]
    NotFetched { feeds: String },
    #[error(transparent)]
    Desk(#[from] crate::cases::DeskError),
    #[error(
        "{path}: no cases here; start `sachdns serve` first, or check data_dir and the working directory"
    )]
    NoCases { path: PathBuf },
    #[error(transparent)]
    Report(#[from] crate::report::ReportError),
    #[error("which days? Write --from 2026-11-01 --to 2026-11-30, or --month 2026-11, and --output FILE")]
    WhichReport,
    #[error("no feed {name:?} {what}; there are: {known}")]
    NoSuchFeed { name: String, what: &'static str, known: String },
    #[error("{path}: {source}")]
    Bundle { path: PathBuf, source: BundleError },
    #[error(
        "{path}: it was made at {made_at}, and one of {last} was taken already; --older takes it all the same"
    )]
    OldBundle { path: PathBuf, made_at: String, last: String },
    #[error("{path}: {source}")]
    Open { path: PathBuf, source: io::Error },
    #[error("{path}: {source}")]
    Feed { path: PathBuf, source: ReadError },
    #[error(
        "{path}: no policy image here; `sachdns policy build` makes one, or check data_dir and the working directory"
    )]
    NoImage { path: PathBuf },
    #[error("a list in the format {format} cannot hold {kind}; choose another --kind, or another --format")]
    Kind { format: Format, kind: &'static str },
    #[error("the policy image has no feed {name:?}; it has {known}")]
    NoFeed { name: String, known: String },
    #[error("no [[agency]] has the id {id:?}")]
    NoAgency { id: String },
    #[error(
        "{path}: no query log here; start `sachdns serve` first, or check data_dir and the working directory"
    )]
    NoLog { path: PathBuf },
    #[error(transparent)]
    Versions(#[from] crate::feed::store::StoreError),
    #[error("a summary has other columns than that format: write --format table, jsonl or csv")]
    SummaryForm,
    #[error(transparent)]
    Review(#[from] crate::daemon::reviewing::ReviewError),
    #[error(transparent)]
    Replay(#[from] crate::daemon::replaying::ReplayError),
    #[error("what is said above of these feeds should be looked after: {feeds}")]
    Troubled { feeds: String },
    #[error("dnstap is not for a terminal: write it to a file, `… --format dnstap > log.dnstap`")]
    Octets,
    #[error("no ClickHouse is configured; set [log.clickhouse] url, for instance \"http://127.0.0.1:8123\"")]
    NoClickHouse,
    #[error(transparent)]
    Ship(#[from] ShipError),
    #[error("nothing to look for: the files list no name, address or network")]
    NoNames,
    #[error(
        "what is to be counted? Say --by agency, client, name, type, rcode, action, feed, family, hour or day"
    )]
    NoBy,
    #[error("stopped before the end: what is printed is not all")]
    Stopped,
    #[error("{path}: that somebody looks at a client cannot be recorded, so nothing is shown: {source}")]
    Audit { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Demo(#[from] crate::demo::DemoError),
    #[error("{path}: it was done, but cannot be recorded: {source}")]
    Unrecorded { path: PathBuf, source: io::Error },
    #[error(
        "there is an admin who can sign in already; `sachdns account link NAME` makes a link for a new password"
    )]
    NotFirst,
    /// There is no other sign-in.
    #[error("there is no OpenID Connect provider: set console.oidc.issuer first (docs/console.md)")]
    NoOutside,
    #[error("the two passwords differ; nothing was changed")]
    PasswordsDiffer,
    #[error("writing the output: {0}")]
    Output(#[from] io::Error),
}

/// Runs the command that the process's arguments ask for.
pub fn run() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Reload(arguments) => reload::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Log(arguments) => log::run(&arguments),
        Command::Hunt(arguments) => hunt::run(&arguments),
        Command::Case(command) => case::run(&command),
        Command::Report(arguments) => report::run(&arguments),
        Command::Contacts(arguments) => contacts::run(&arguments),
        Command::Ca(command) => ca::run(&command),
        Command::Identity(command) => identity::run(&command),
        Command::Agency(command) => agency::run(&command),
        Command::Coverage(command) => coverage::run(&command),
        Command::Account(command) => account::run(&command),
        Command::Feed(command) => feed::run(&command),
        Command::Policy(command) => policy::run(&command),
        Command::Demo(arguments) => demo::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has seen enough (`| head`).
        Err(CliError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Lets the process's own diagnostics go to standard error, from this level up.
fn diagnose(level: tracing::Level) {
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        // Otherwise it would print what it cannot write, to where it cannot write it, and panic.
        .log_internal_errors(false)
        .init();
}

/// A path as it will be looked for, so that an error shows which folder was meant.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
