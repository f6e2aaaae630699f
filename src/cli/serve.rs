//! `sachdns serve`

use std::io::{self, IsTerminal as _};

use super::{CliError, ConfigArg};
use crate::daemon;

pub(super) fn run(arguments: &ConfigArg) -> Result<(), CliError> {
    let config = arguments.load()?;
    tracing_subscriber::fmt()
        .with_max_level(config.diagnostics)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .init();
    daemon::run(config, |listening| {
        for address in &listening.dns {
            eprintln!("listening dns {address}");
        }
        for address in &listening.http {
            eprintln!("listening http {address}");
        }
        eprintln!("ready");
    })?;
    Ok(())
}
