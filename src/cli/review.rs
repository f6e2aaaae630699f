//! `sachdns feed approve` and `reject`

use std::io::{self, Write};

use clap::Args;

use super::{CliError, ConfigArg};
use crate::clock;
use crate::config::Config;
use crate::daemon::{DaemonError, ask_to_refresh};
use crate::feed::source::Source;
use crate::feed::store::{Digest, Word};
use crate::update::choose;

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

/// What is decided.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Approve,
    Reject,
}

fn words(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    if text.is_empty() || text.len() > 500 || text.contains(char::is_control) {
        return Err("one line of at most 500 octets, and not nothing");
    }
    Ok(text.to_owned())
}

/// The configured feed with this name.
pub(super) fn source<'c>(config: &'c Config, name: &str) -> Result<&'c Source, CliError> {
    config.feeds.iter().find(|source| *source.name == *name).ok_or_else(|| CliError::UnknownFeed {
        name: name.to_owned(),
        known: config.feeds.iter().map(|source| &*source.name).collect::<Vec<_>>().join(", "),
    })
}

pub(super) fn decide(arguments: &Decide, verdict: Verdict) -> Result<(), CliError> {
    let config = arguments.config.load()?;
    let source = source(&config, &arguments.feed)?;
    let folder = config.versions.feed(&source.name);
    let state = folder.state()?;
    let digest = match &*arguments.version {
        "refused" => state.pending().map(|refused| refused.version.digest),
        digits => choose::chosen(&config.versions, source, digits)?.digest,
    };
    let digest = digest.ok_or_else(|| CliError::NothingRefused { feed: arguments.feed.clone() })?;
    if state.accepted_digest() == Some(digest) {
        return Err(CliError::InForce { feed: arguments.feed.clone(), version: digest.short() });
    }
    let (by, reason) = (arguments.by.clone(), arguments.reason.clone());
    let word = Word { digest, by, reason, at: clock::now() };
    folder.update(|state| match verdict {
        Verdict::Approve => state.approve(word),
        Verdict::Reject => state.reject(word),
    })?;
    tell(&config, &arguments.feed, digest, verdict)
}

fn tell(config: &Config, feed: &str, digest: Digest, verdict: Verdict) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    let digest = digest.short();
    if verdict == Verdict::Reject {
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
