//! `sachdns feed status`, `approve` and `reject`

use std::io::{self, Write};

use clap::Args;
use serde_json::{Value, json};

use super::{CliError, ConfigArg, ReportForm};
use crate::clock::{self, local_time};
use crate::config::Config;
use crate::daemon::{self, DaemonError, ask_to_refresh};
use crate::feed::source::Source;
use crate::feed::store::{Accepted, Counts, Digest, Event, Refused, State, Word};
use crate::update::choose;
use crate::update::standing::{self, FeedStanding};

#[derive(Debug, Args)]
pub(super) struct Status {
    #[command(flatten)]
    config: ConfigArg,
    /// Only this feed, with all that happened to its versions.
    #[arg(value_name = "NAME")]
    feed: Option<String>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = ReportForm::Table)]
    format: ReportForm,
}

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

pub(super) fn status(arguments: &Status) -> Result<(), CliError> {
    let config = arguments.config.load()?;
    if let Some(name) = &arguments.feed {
        source(&config, name)?;
    }
    let mut standings = standing::of(daemon::plan(&config))?;
    standings.retain(|it| arguments.feed.as_deref().is_none_or(|name| *it.source.name == *name));
    let mut out = io::stdout().lock();
    match arguments.format {
        ReportForm::Jsonl => {
            for standing in &standings {
                serde_json::to_writer(&mut out, &as_json(standing)).map_err(io::Error::from)?;
                writeln!(out)?;
            }
        }
        ReportForm::Table => {
            write_table(&mut out, &standings)?;
            if arguments.feed.is_some() {
                standings.iter().try_for_each(|standing| write_history(&mut out, &standing.state))?;
            }
        }
    }
    Ok(())
}

fn write_table(out: &mut impl Write, standings: &[FeedStanding<'_>]) -> io::Result<()> {
    let width = standings.iter().map(|it| it.source.name.chars().count()).max().unwrap_or(0).max(4);
    writeln!(
        out,
        "{:width$}  {:12}  {:>10}  {:>8}  {:25}  STATE",
        "FEED", "VERSION", "LISTS", "LEFT OUT", "CAME"
    )?;
    for FeedStanding { source, state, troubles } in standings {
        let name = &*source.name;
        match &state.accepted {
            Some(Accepted { version, counts, set_aside, .. }) => write!(
                out,
                "{name:width$}  {:12}  {:>10}  {set_aside:>8}  {:25}  ",
                version.digest.short(),
                counts.indicators(),
                local_time(version.arrived_at),
            )?,
            None => write!(out, "{name:width$}  {:12}  {:>10}  {:>8}  {:25}  ", "none", "", "", "")?,
        }
        writeln!(out, "{}", if troubles.is_empty() { word(state) } else { "see below" })?;
    }
    for FeedStanding { source, troubles, .. } in standings {
        for trouble in troubles {
            writeln!(out, "\n{}: {trouble}", source.name)?;
        }
    }
    Ok(())
}

fn word(state: &State) -> &'static str {
    match (&state.accepted, &state.latest) {
        (Some(accepted), Some(latest)) if accepted.version.digest != latest.digest => {
            if state.is_rejected(latest.digest) {
                "in force; a newer one is rejected"
            } else {
                "a new one waits"
            }
        }
        (Some(_), _) => "in force",
        (None, Some(_)) => "waits for its first build",
        (None, None) => "nothing came yet",
    }
}

fn write_history(out: &mut impl Write, state: &State) -> io::Result<()> {
    writeln!(out, "\nHISTORY")?;
    for Event { at, what, digest, by, reasons } in &state.history {
        write!(out, "{}  {}  {}", local_time(*at), digest.short(), what.as_str())?;
        if let Some(by) = by {
            write!(out, " by {by}")?;
        }
        if !reasons.is_empty() {
            write!(out, ": {}", reasons.join("; "))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn as_json(standing: &FeedStanding<'_>) -> Value {
    let FeedStanding { source, state, troubles } = standing;
    let counts = |counts: &Counts| {
        let Counts { names, networks, addresses, urls, faults } = counts;
        json!({"names": names, "networks": networks, "addresses": addresses, "urls": urls, "faults": faults})
    };
    let word = |word: &Word| {
        let Word { digest, by, reason, at } = word;
        json!({"version": digest.to_string(), "by": by, "reason": reason, "at": time(*at)})
    };
    let accepted = |it: &Accepted| {
        json!({
            "version": it.version.digest.to_string(), "size": it.version.size, "counts": counts(&it.counts),
            "left_out": it.set_aside, "came": time(it.version.arrived_at), "since": time(it.accepted_at),
            "approval": it.approval.as_ref().map(word),
        })
    };
    let refused = |it: &Refused| {
        json!({
            "version": it.version.digest.to_string(), "size": it.version.size, "counts": counts(&it.counts),
            "came": time(it.version.arrived_at), "reasons": it.reasons,
            "added": it.changes.map(|it| it.added), "removed": it.changes.map(|it| it.removed),
            "is_rejected": state.is_rejected(it.version.digest),
        })
    };
    let event = |event: &Event| {
        json!({
            "at": time(event.at), "what": event.what.as_str(), "version": event.digest.to_string(),
            "by": event.by, "reasons": event.reasons,
        })
    };
    json!({
        "feed": &*source.name,
        "origin": source.origin.to_string(),
        "accepted": state.accepted.as_ref().map(accepted),
        "refused": state.refused.iter().map(refused).collect::<Vec<_>>(),
        "latest": state.latest.as_ref().map(|latest| latest.digest.to_string()),
        "troubles": troubles,
        "history": state.history.iter().map(event).collect::<Vec<_>>(),
    })
}

fn time(microseconds: i64) -> Option<String> {
    jiff::Timestamp::from_microsecond(microseconds).ok().map(|time| time.to_string())
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
