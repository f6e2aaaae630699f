//! `sachdns feed status`: what of each feed is in force and since when, what waits or was refused, and how its publisher
//! is doing. The table fits 80 columns; the JSON has all.

use std::io::{self, Write};

use clap::Args;
use serde_json::{Value, json};

use super::{CliError, ConfigArg, ReportForm};
use crate::clock::{self, local_time};
use crate::daemon::feed_standing::{self, Feed};
use crate::daemon::reviewing;
use crate::feed::source::Source;
use crate::feed::store::{Accepted, Counts, Event, Refused, State, Word};
use crate::fetch::memory::Memory;
use crate::update::standing::FeedStanding;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArg,
    /// Only this feed, with all that happened to its versions.
    #[arg(value_name = "NAME")]
    feed: Option<String>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = ReportForm::Table)]
    format: ReportForm,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), CliError> {
    let config = arguments.config.load()?;
    if let Some(name) = &arguments.feed {
        reviewing::source(&config, name)?;
    }
    let mut feeds = feed_standing::feeds(&config)?;
    feeds.retain(|it| arguments.feed.as_deref().is_none_or(|name| *it.standing.source.name == *name));
    let (mut out, now) = (io::stdout().lock(), clock::now());
    match (arguments.format, &arguments.feed) {
        (ReportForm::Jsonl, _) => {
            for feed in &feeds {
                serde_json::to_writer(&mut out, &feed_as_json(feed)).map_err(io::Error::from)?;
                writeln!(out)?;
            }
        }
        (ReportForm::Table, None) => write_table(&mut out, &feeds, now)?,
        (ReportForm::Table, Some(_)) => {
            write_table(&mut out, &feeds, now)?;
            feeds.iter().try_for_each(|feed| write_details(feed, &mut out, now))?;
        }
    }
    Ok(())
}

/// Characters of a name in the table: the rest of its 80 columns is taken.
const NAME: usize = 18;

fn write_table(out: &mut impl Write, feeds: &[Feed<'_>], now: i64) -> io::Result<()> {
    let width =
        feeds.iter().map(|it| it.standing.source.name.chars().count()).max().unwrap_or(0).clamp(4, NAME);
    writeln!(
        out,
        "{:width$}  {:>9}  {:>8}  {:16}  {:10}  STATE",
        "FEED", "LISTS", "LEFT OUT", "IN FORCE SINCE", "NEXT FETCH"
    )?;
    for feed in feeds {
        let FeedStanding { source, state, .. } = &feed.standing;
        let name = cut(&source.name, width);
        match &state.accepted {
            Some(Accepted { counts, set_aside, accepted_at, .. }) => write!(
                out,
                "{name:width$}  {:>9}  {set_aside:>8}  {:16}  ",
                counts.indicators(),
                // To the minute.
                cut(&local_time(*accepted_at), 16),
            )?,
            None => write!(out, "{name:width$}  {:>9}  {:>8}  {:16}  ", "", "", "")?,
        }
        writeln!(out, "{:10}  {}", feed.next(now), feed.word())?;
    }
    for feed in feeds {
        for trouble in feed.troubles(now) {
            writeln!(out, "\n{}: {trouble}", feed.standing.source.name)?;
        }
    }
    Ok(())
}

/// The first characters of a text.
fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

/// All that is known of one feed.
fn write_details(feed: &Feed<'_>, out: &mut impl Write, now: i64) -> io::Result<()> {
    let FeedStanding { source, state, .. } = &feed.standing;
    writeln!(out)?;
    writeln!(out, "source         {}", source.origin)?;
    if let Some(Accepted { version, accepted_at, approval, .. }) = &state.accepted {
        writeln!(out, "version        {}", version.digest.short())?;
        writeln!(out, "came           {}", local_time(version.arrived_at))?;
        writeln!(out, "in force since {}", local_time(*accepted_at))?;
        if let Some(Word { by, .. }) = approval {
            writeln!(out, "approved by    {by}")?;
        }
    }
    let newer = state.latest.as_ref().filter(|latest| state.is_rejected(latest.digest));
    if let Some(latest) = newer {
        writeln!(out, "rejected       {} (*), which is newer", latest.digest.short())?;
    }
    if let Some((_, memory)) = &feed.publisher {
        let Memory { checked_at, zone, trouble, trouble_at, .. } = memory;
        if *checked_at > 0 {
            writeln!(out, "last heard     {}", local_time(*checked_at))?;
        }
        if let Some(zone) = zone {
            writeln!(out, "serial         {}", zone.serial)?;
        }
        if let Some(trouble) = trouble {
            writeln!(out, "last trouble   {}: {trouble}", local_time(*trouble_at))?;
        }
    }
    writeln!(out, "next fetch     {}", feed.next(now))?;
    write_history(out, state)
}

fn feed_as_json(feed: &Feed<'_>) -> Value {
    let FeedStanding { source, state, .. } = &feed.standing;
    let publisher = feed.publisher.as_ref().map(|(_, memory)| {
            let trouble = memory.trouble.as_ref().map(|why| json!({"at": time(memory.trouble_at), "why": why}));
            json!({
                "next": moment(memory.next_at), "asked": moment(memory.tried_at), "heard": moment(memory.checked_at),
                "failures": memory.failures, "trouble": trouble,
                "serial": memory.zone.map(|zone| zone.serial),
            })
        });
    let mut value = as_json(source, state, &feed.standing.troubles);
    value["fetching"] = json!(publisher);
    value
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

fn as_json(source: &Source, state: &State, troubles: &[String]) -> Value {
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

/// A time that may not have come.
fn moment(microseconds: i64) -> Option<String> {
    if microseconds == 0 { None } else { time(microseconds) }
}
