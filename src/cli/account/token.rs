//! `sachdns account token`: tokens for programs.

use std::io::{self, Write as _};

use clap::{Args, Subcommand};
use jiff::Timestamp;

use crate::cases::lifecycle::DAY;
use crate::cli::{CliError, ConfigArg};
use crate::clock;
use crate::config::Config;
use crate::console::access::Right;
use crate::console::account::Accounts;
use crate::console::token::{self, Token, Tokens, Wish};
use crate::evidence::audit::{self, Change};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Make a token that asks the API for an account, and print it: it is shown once.
    Make(Make),
    /// List tokens.
    List(List),
    /// Let a token count no more.
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Make {
    #[command(flatten)]
    config: ConfigArg,
    /// For which account; it never may more than that one.
    account: String,
    /// What it is for.
    #[arg(long, value_name = "TEXT")]
    label: String,
    /// What it may: see, see-province, work, judge, rule, audit, manage or metrics; may be repeated.
    #[arg(long = "right", value_name = "RIGHT", required = true, value_parser = right)]
    rights: Vec<Right>,
    /// The only agency that it sees.
    #[arg(long, value_name = "ID")]
    agency: Option<String>,
    /// After how many days it ends; 0: never.
    #[arg(long, value_name = "N", default_value_t = 365)]
    days: u32,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    config: ConfigArg,
    /// Only those of this account.
    account: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Revoke {
    #[command(flatten)]
    config: ConfigArg,
    /// Its number, as the list has it.
    id: i64,
}

fn right(word: &str) -> Result<Right, &'static str> {
    token::right(word).ok_or("no right; see, see-province, work, judge, rule, audit, manage and metrics are")
}

/// Records a change as the console does.
fn record(config: &Config, what: &str, on: &str, details: &str) -> Result<(), CliError> {
    Ok(audit::changed(&config.data_dir, clock::now(), None, &Change { what, on, details })?)
}

fn tokens(config: &Config) -> Result<Tokens, CliError> {
    Ok(Tokens::open(&config.data_dir)?)
}

pub(super) fn run(command: &Command) -> Result<(), CliError> {
    match command {
        Command::Make(arguments) => {
            let config = arguments.config.load()?;
            if let Some(id) = &arguments.agency
                && !config.agencies.iter().any(|agency| *agency.id == **id)
            {
                return Err(CliError::NoAgency { id: id.clone() });
            }
            let account = Accounts::open(&config.data_dir)?.find(&arguments.account)?;
            let now = clock::now();
            let wish = Wish {
                label: &arguments.label,
                rights: &arguments.rights,
                agency: arguments.agency.as_deref(),
                until: (arguments.days > 0).then(|| now + i64::from(arguments.days) * DAY),
            };
            let (secret, id) = tokens(&config)?.make(&account, &wish, now)?;
            record(&config, "token.make", &id.to_string(), &format!("{}: {}", account.name, wish.label))?;
            writeln!(io::stdout(), "{secret}")?;
            Ok(())
        }
        Command::List(arguments) => list(arguments),
        Command::Revoke(arguments) => {
            let config = arguments.config.load()?;
            let token = tokens(&config)?.revoke(arguments.id, None)?;
            let what = format!("{}: {}", token.account, token.label);
            record(&config, "token.revoke", &token.id.to_string(), &what)?;
            writeln!(io::stdout(), "{what} counts no more")?;
            Ok(())
        }
    }
}

fn list(arguments: &List) -> Result<(), CliError> {
    let all = tokens(&arguments.config.load()?)?.list(arguments.account.as_deref())?;
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{:<6} {:<20} {:<20} {:<30} {:<16} {:<12} last used",
        "id", "account", "label", "rights", "agency", "ends"
    )?;
    for Token { id, account, label, rights, agency, until, last, .. } in all {
        let time = |time: Option<i64>| time.and_then(|time| Timestamp::from_microsecond(time).ok());
        let ends =
            time(until).map_or_else(|| "never".to_owned(), |time| time.strftime("%Y-%m-%d").to_string());
        let last = time(last).map_or_else(|| "never".to_owned(), |time| format!("{time:.0}"));
        let rights: Vec<&str> = rights.iter().map(|right| token::word(*right)).collect();
        let (account, label) = (account.escape_debug().to_string(), label.escape_debug().to_string());
        let (rights, agency) = (rights.join(" "), agency.unwrap_or_else(|| "-".to_owned()));
        writeln!(out, "{id:<6} {account:<20} {label:<20} {rights:<30} {agency:<16} {ends:<12} {last}")?;
    }
    Ok(())
}
