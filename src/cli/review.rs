//! `sachdns feed approve` and `reject`

use std::io::{self, Write};

use clap::Args;

use super::{CliError, ConfigArg};
use crate::clock;
use crate::config::Config;
use crate::daemon::reviewing::{self, Decision};
use crate::daemon::{DaemonError, ask_to_refresh};
use crate::feed::store::Digest;

#[derive(Debug, Args)]
pub(super) struct Decide {
    #[command(flatten)]
    config: ConfigArg,
    /// The feed.
    #[arg(value_name = "NAME")]
    feed: String,
    /// Who decides: kept with the version.
    #[arg(long, value_name = "WHO", value_parser = words)]
    by: String,
    /// Why.
    #[arg(long, value_name = "TEXT", value_parser = words)]
    reason: Option<String>,
    /// Which version: refused (the newest one that is), or the first digits of its SHA-256.
    #[arg(long, value_name = "VERSION", default_value = "refused")]
    version: String,
}

fn words(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    if text.is_empty() || text.len() > 500 || text.contains(char::is_control) {
        return Err("one line of at most 500 octets, and not nothing");
    }
    Ok(text.to_owned())
}

pub(super) fn decide(arguments: &Decide, decision: Decision) -> Result<(), CliError> {
    let config = arguments.config.load()?;
    let Decide { feed, by, reason, version, .. } = arguments;
    let digest = reviewing::decide(&config, feed, version, decision, by, reason.as_deref(), clock::now())?;
    tell(&config, feed, digest, decision)
}

fn tell(config: &Config, feed: &str, digest: Digest, decision: Decision) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    let digest = digest.short();
    if decision == Decision::Reject {
        writeln!(out, "feed {feed}: version {digest} is rejected, and not asked about again")?;
        return Ok(());
    }
    writeln!(out, "feed {feed}: version {digest} is approved; protected names in it stay left out")?;
    match ask_to_refresh(&config.data_dir) {
        Ok(line) => writeln!(out, "{line}")?,
        Err(DaemonError::NotRunning { .. }) => {
            writeln!(
                out,
                "no server is running here: it is put in force with the next start or `sachdns policy build`"
            )?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
