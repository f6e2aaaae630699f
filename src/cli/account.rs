//! `sachdns account`: who may sign in to the console.

mod token;

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use super::{CliError, ConfigArg};
use crate::config::Config;
use crate::console::access::Role;
use crate::console::account::{Account, Accounts, AccountsError};
use crate::console::outside;
use crate::evidence::audit::{self, Change};
use crate::{clock, daemon};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make an account. Its password is asked for twice, or is the first line of standard input.
    Add(Add),
    /// Print a one-time link: that makes the first admin, or by which NAME sets a password.
    Link(Link),
    /// List all accounts.
    List(ConfigArg),
    /// Give an account a new password; its sessions end.
    Password(Named),
    /// Give an account another role; its sessions end.
    Role(Add),
    /// Let nobody sign in with this account, and end its sessions.
    Disable(Named),
    /// Let its owner sign in again.
    Enable(Named),
    /// Remove an account. What it did stays in the audit.
    Remove(Named),
    /// The second factor.
    #[command(subcommand)]
    Totp(Totp),
    /// Let an account sign in by the organisation's own sign-in (console.oidc).
    ///
    /// Without --subject the first who comes from there by the account's name within seven days becomes its owner. An account that has its
    /// owner there has no password any more, but for an admin's.
    Outside(Outside),
    /// Sessions.
    #[command(subcommand)]
    Sessions(Sessions),
    /// Tokens for programs.
    #[command(subcommand)]
    Token(token::Command),
}

#[derive(Debug, Subcommand)]
pub(super) enum Totp {
    /// Take the second factor away, of an account whose telephone is lost.
    Reset(Named),
}

#[derive(Debug, Subcommand)]
pub(super) enum Sessions {
    /// End all sessions of an account.
    End(Named),
}

#[derive(Debug, Args)]
pub(super) struct Add {
    #[command(flatten)]
    config: ConfigArg,
    /// The name to sign in with.
    name: String,
    /// What it may do: admin, analyst, officer (of one agency) or reader.
    #[arg(long)]
    role: Role,
    /// The only agency that an officer sees.
    #[arg(long, value_name = "ID")]
    agency: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Named {
    #[command(flatten)]
    config: ConfigArg,
    /// The account's name.
    name: String,
}

#[derive(Debug, Args)]
pub(super) struct Outside {
    #[command(flatten)]
    config: ConfigArg,
    /// The account's name.
    name: String,
    /// Who it is there (the claim `sub`), as the page says that refuses somebody: links the account at once.
    #[arg(long, value_name = "SUB")]
    subject: Option<String>,
    /// Take it back: it signs in by a password again, or by a link for one.
    #[arg(long, conflicts_with = "subject")]
    off: bool,
}

#[derive(Debug, Args)]
pub(super) struct Link {
    #[command(flatten)]
    config: ConfigArg,
    /// Whose password it sets; without it, it makes the first admin.
    name: Option<String>,
}

pub(super) fn run(command: &Command) -> Result<(), CliError> {
    match command {
        Command::Add(arguments) => {
            let (config, accounts) = open(&arguments.config)?;
            known_agency(&config, arguments.agency.as_deref())?;
            let password = new_password()?;
            let (name, agency) = (&*arguments.name, arguments.agency.as_deref());
            accounts.add(name, arguments.role, agency, &password, clock::now())?;
            record(&config, "account.add", name, &role_text(arguments))
        }
        Command::Link(arguments) => link(arguments),
        Command::List(arguments) => list(&open(arguments)?.1),
        Command::Password(arguments) => {
            let (config, accounts) = open(&arguments.config)?;
            let name = accounts.find(&arguments.name)?.name;
            accounts.set_password(&name, &new_password()?)?;
            record(&config, "account.password", &name, "")
        }
        Command::Role(arguments) => {
            let (config, accounts) = open(&arguments.config)?;
            known_agency(&config, arguments.agency.as_deref())?;
            accounts.set_role(&arguments.name, arguments.role, arguments.agency.as_deref())?;
            record(&config, "account.role", &arguments.name, &role_text(arguments))
        }
        Command::Disable(arguments) => change(arguments, "account.disable", Accounts::disable),
        Command::Enable(arguments) => change(arguments, "account.enable", Accounts::enable),
        Command::Remove(arguments) => change(arguments, "account.remove", Accounts::remove),
        Command::Outside(arguments) => outside(arguments),
        Command::Totp(Totp::Reset(arguments)) => change(arguments, "account.totp", Accounts::reset_totp),
        Command::Sessions(Sessions::End(arguments)) => {
            change(arguments, "account.sessions", |accounts, name| {
                accounts.find(name)?;
                accounts.end_sessions(name, None, None).map(drop)
            })
        }
        Command::Token(command) => token::run(command),
    }
}

fn open(arguments: &ConfigArg) -> Result<(Config, Accounts), CliError> {
    let config = arguments.load()?;
    let accounts = Accounts::open_with(&config.data_dir, config.console.rules.clone())?;
    Ok((config, accounts))
}

fn change(
    arguments: &Named,
    what: &str,
    act: impl FnOnce(&Accounts, &str) -> Result<(), AccountsError>,
) -> Result<(), CliError> {
    let (config, accounts) = open(&arguments.config)?;
    act(&accounts, &arguments.name)?;
    record(&config, what, &arguments.name, "")
}

fn role_text(arguments: &Add) -> String {
    let role = arguments.role.as_str();
    arguments.agency.as_ref().map_or_else(|| role.to_owned(), |agency| format!("{role} {agency}"))
}

/// Records a change as the console does.
fn record(config: &Config, what: &str, on: &str, details: &str) -> Result<(), CliError> {
    audit::changed(&config.data_dir, clock::now(), None, &Change { what, on, details })
        .map_err(|source| CliError::Unrecorded { path: audit::path(&config.data_dir), source })
}

fn outside(arguments: &Outside) -> Result<(), CliError> {
    let (config, accounts) = open(&arguments.config)?;
    let name = accounts.find(&arguments.name)?.name;
    let details = match (&arguments.subject, arguments.off) {
        (_, true) => {
            accounts.unlink_outside(&name)?;
            "taken back".to_owned()
        }
        (Some(subject), false) => {
            let provider = config.console.outside.as_ref().ok_or(CliError::NoOutside)?;
            let subject = outside::subject(&provider.provider.issuer, subject);
            accounts.link_outside(&name, &subject)?;
            format!("linked: {subject}")
        }
        (None, false) => {
            if config.console.outside.is_none() {
                return Err(CliError::NoOutside);
            }
            accounts.await_outside(&name, clock::now())?;
            "waits".to_owned()
        }
    };
    record(&config, "account.outside", &name, &details)
}

fn known_agency(config: &Config, agency: Option<&str>) -> Result<(), CliError> {
    match agency {
        Some(id) if !config.agencies.iter().any(|agency| &*agency.id == id) => {
            Err(CliError::NoAgency { id: id.to_owned() })
        }
        _ => Ok(()),
    }
}

fn link(arguments: &Link) -> Result<(), CliError> {
    let (config, accounts) = open(&arguments.config)?;
    let address = config.console.listen.first().copied().unwrap_or_else(|| ([127, 0, 0, 1], 8053).into());
    let code = match &arguments.name {
        Some(name) => accounts.password_link(name, clock::now())?,
        None => accounts.first_link(clock::now())?.ok_or(CliError::NotFirst)?,
    };
    record(&config, "account.link", arguments.name.as_deref().unwrap_or("first admin"), "")?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}", daemon::first_link(&config.console, address, &code))?;
    if config.console.listen.is_empty() {
        eprintln!(
            "warning: console.listen is empty: there is no console; set it, for instance to [\"127.0.0.1:8053\"]"
        );
    }
    Ok(())
}

fn list(accounts: &Accounts) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{:<24} {:<8} {:<16} {:<10} {:<7} last sign-in",
        "name", "role", "agency", "state", "totp"
    )?;
    for account in accounts.list()? {
        let last = account.last.and_then(|last| Timestamp::from_microsecond(last).ok());
        writeln!(
            out,
            "{:<24} {:<8} {:<16} {:<10} {:<7} {}",
            account.name,
            account.role.as_str(),
            account.agency.as_deref().unwrap_or("-"),
            state(&account),
            if account.totp.is_some() { "on" } else { "off" },
            last.map_or_else(|| "never".to_owned(), |last| format!("{last:.0}"))
        )?;
    }
    Ok(())
}

fn state(account: &Account) -> &'static str {
    if account.is_disabled {
        "disabled"
    } else if account.subject.is_some() {
        "sso"
    } else if account.awaited.is_some_and(|until| until > clock::now()) {
        "waits"
    } else if account.has_password {
        "active"
    } else {
        "invited"
    }
}

/// A password typed twice where nobody sees it, or the first line of standard input.
fn new_password() -> Result<String, CliError> {
    if !io::stdin().is_terminal() {
        return line();
    }
    let first = hidden("password: ")?;
    if first == hidden("the same again: ")? { Ok(first) } else { Err(CliError::PasswordsDiffer) }
}

fn hidden(prompt: &str) -> Result<String, CliError> {
    let terminal = io::stdin();
    eprint!("{prompt}");
    io::stderr().flush()?;
    let shown = tcgetattr(&terminal).map_err(io::Error::from)?;
    let mut quiet = shown.clone();
    // As getpass(3): an interrupt would leave the terminal mute.
    quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
    quiet.local_modes.insert(LocalModes::ECHONL);
    tcsetattr(&terminal, OptionalActions::Flush, &quiet).map_err(io::Error::from)?;
    let typed = line();
    // The terminal shows again what is typed, whatever came.
    tcsetattr(&terminal, OptionalActions::Flush, &shown).map_err(io::Error::from)?;
    typed
}

fn line() -> Result<String, CliError> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    line.truncate(line.trim_end_matches(['\r', '\n']).len());
    Ok(line)
}
