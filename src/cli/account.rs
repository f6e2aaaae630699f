//! `sachdns account`: who may sign in to the console.

use std::io::{self, BufRead as _};

use clap::{Args, Subcommand};

use super::{CliError, ConfigArg};
use crate::clock;
use crate::console::access::Role;
use crate::console::account::Accounts;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make an account; its password is the first line of standard input.
    Add(Add),
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

pub(super) fn run(command: &Command) -> Result<(), CliError> {
    match command {
        Command::Add(arguments) => {
            let config = arguments.config.load()?;
            let accounts = Accounts::open(&config.data_dir)?;
            let mut password = String::new();
            io::stdin().lock().read_line(&mut password)?;
            let password = password.trim_end_matches(['\r', '\n']);
            accounts.add(
                &arguments.name,
                arguments.role,
                arguments.agency.as_deref(),
                password,
                clock::now(),
            )?;
            Ok(())
        }
    }
}
