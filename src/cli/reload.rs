//! `sachdns reload`

use std::io::Write as _;

use super::{CliError, ConfigArg};
use crate::daemon;

pub(super) fn run(arguments: &ConfigArg) -> Result<(), CliError> {
    let config = arguments.load()?;
    let line = daemon::ask_to_reload(&config.data_dir)?;
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}
