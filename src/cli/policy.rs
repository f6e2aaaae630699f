//! `sachdns policy`

use std::io::{self, Write};

use clap::Subcommand;
use tracing::Level;

use super::{CliError, ConfigArg, absolute};
use crate::clock::{self, local_time};
use crate::daemon::{self, plan};
use crate::image::{self, Facts, ImageError};
use crate::update::{self, FeedReport, child};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Build the policy image from the feeds; a running server takes it with `sachdns reload`.
    Build(ConfigArg),
    /// Say what is in the policy image.
    Stat(ConfigArg),
    /// Write what the policy image blocks as a list for firewalls, proxies, sensors or other resolvers.
    Export(super::export::Arguments),
    /// Show what another version of a feed would change.
    Diff(super::diff::Arguments),
    /// Show which queries of the log another version of a feed would have blocked, and whose they were.
    Replay(super::replay::Arguments),
    #[command(flatten)]
    Own(super::rules::Command),
    /// Build what standard input orders: how a running server has its image built.
    #[command(hide = true)]
    Compile,
}

pub(super) fn run(command: &Command) -> Result<(), CliError> {
    // These lock standard output themselves.
    match command {
        Command::Export(arguments) => return super::export::run(arguments),
        Command::Diff(arguments) => return super::diff::run(arguments),
        Command::Replay(arguments) => return super::replay::run(arguments),
        Command::Own(command) => return super::rules::run(command),
        Command::Build(_) | Command::Stat(_) | Command::Compile => {}
    }
    let mut out = io::stdout().lock();
    match command {
        Command::Export(_) | Command::Diff(_) | Command::Replay(_) | Command::Own(_) => {}
        Command::Build(arguments) => {
            let config = arguments.load()?;
            daemon::check_feeds(&config)?;
            let begun = std::time::Instant::now();
            let (image, reports) = update::build(plan(&config), &config.image_path(), clock::now())?;
            write_reports(&mut out, &reports)?;
            writeln!(
                out,
                "{}: {} names in {} bytes, built in {} ms",
                config.image_path().display(),
                image.facts.name_count,
                image.facts.file_len,
                begun.elapsed().as_millis()
            )?;
        }
        Command::Compile => {
            // They join the server's own, which start at its level.
            super::diagnose(Level::WARN);
            child::work(io::stdin().lock(), &mut out)?;
        }
        Command::Stat(arguments) => {
            let config = arguments.load()?;
            let path = config.image_path();
            let image = image::open(&path).map_err(|error| match error {
                ImageError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                    CliError::NoImage { path: absolute(&path) }
                }
                error => error.into(),
            })?;
            let provenance = image.index.provenance();
            let Facts { file_len, automaton_len, name_count, fingerprint, digest, .. } = &image.facts;
            let feeds: Vec<&str> = provenance.feeds.iter().map(|feed| &*feed.name).collect();
            let a_name = if *name_count == 0 { 0.0 } else { *file_len as f64 / *name_count as f64 };
            writeln!(out, "image      {}", absolute(&path).display())?;
            writeln!(out, "built      {}", local_time(image.facts.built_at))?;
            writeln!(out, "names      {name_count}")?;
            writeln!(out, "families   {}", provenance.families.len())?;
            writeln!(out, "feeds      {}", feeds.join(", "))?;
            writeln!(out, "rule sets  {}", image.index.rule_set_count())?;
            writeln!(out, "bytes      {file_len} ({a_name:.2} a name; automaton {automaton_len})")?;
            writeln!(out, "sha256     {}", hexadecimal(digest))?;
            if update::is_current(plan(&config), fingerprint) {
                writeln!(out, "state      up to date with its feeds")?;
            } else {
                writeln!(
                    out,
                    "state      the feeds or the configuration may have changed since: `sachdns reload` rebuilds it"
                )?;
            }
        }
    }
    Ok(())
}

/// One line a feed, and under it why lines gave nothing.
pub(super) fn write_reports(out: &mut impl Write, reports: &[FeedReport]) -> io::Result<()> {
    for report in reports {
        let FeedReport { name, format, names, networks, addresses, urls, .. } = report;
        write!(out, "feed {name} ({format}): {names} names")?;
        if *networks > 0 {
            write!(out, ", {networks} networks and addresses")?;
        }
        if *addresses > 0 {
            write!(out, ", {addresses} addresses")?;
        }
        if *urls > 0 {
            write!(out, ", {urls} URLs (say nothing about their hosts)")?;
        }
        writeln!(out, ", {} lines not read", report.fault_count())?;
        if report.set_aside.count > 0 {
            writeln!(out, "    {} protected names left out: {}", report.set_aside.count, report.set_aside)?;
        }
        for (reason, count) in &report.faults {
            writeln!(out, "    {count} × {reason}")?;
        }
        for example in &report.examples {
            writeln!(out, "    line {example}")?;
        }
        for trouble in &report.troubles {
            writeln!(out, "    {trouble}")?;
        }
    }
    Ok(())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
