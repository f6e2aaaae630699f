//! `sachdns serve`

use super::{CliError, ConfigArg};
use crate::daemon;

pub(super) fn run(arguments: &ConfigArg) -> Result<(), CliError> {
    let config = arguments.load()?;
    super::diagnose(config.diagnostics);
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
