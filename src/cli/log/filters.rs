//! Which records a command is about, as people type it, and the trace that looking leaves.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo, Timestamp};

use crate::cli::{CliError, ConfigArg, ListForm, absolute, identity};
use crate::clock;
use crate::config::Config;
use crate::evidence::audit;
use crate::evidence::record::Outcome;
use crate::evidence::store::clickhouse::ClickHouse;
use crate::evidence::store::embedded::Embedded;
use crate::evidence::store::whereabouts::Whereabouts;
use crate::evidence::store::{Filter, Kind, Store};
use crate::name::Name;
use crate::wire;

// Which times in which nothing was recorded are asked for: queries or contacts.
#[derive(Debug, Args)]
pub(in crate::cli) struct GapFilters {
    #[command(flatten)]
    pub(in crate::cli) config: ConfigArg,
    /// Only gaps from this time on.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(in crate::cli) since: Option<i64>,
    /// Only gaps before this time.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(in crate::cli) until: Option<i64>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = ListForm::Table)]
    pub(in crate::cli) format: ListForm,
}

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct Filters {
    /// Only queries of this client address, also those that a trusted forwarder asked for it. That somebody looked is itself recorded (audit.jsonl in data_dir).
    #[arg(long, value_name = "IP")]
    client: Option<IpAddr>,
    /// Only queries of this machine, wherever it was: a number such as m-17, a MAC, a host name, or an address that it has now.
    /// That somebody looked is recorded, too.
    #[arg(long, value_name = "MACHINE", conflicts_with = "client")]
    machine: Option<String>,
    /// Only queries of clients of the agency with this id.
    #[arg(long, value_name = "ID")]
    agency: Option<String>,
    /// Only queries for this name and all names below it.
    #[arg(long, value_name = "NAME", value_parser = crate::cli::explain::name)]
    name: Option<Name>,
    /// Only queries of this type.
    #[arg(long = "type", value_name = "TYPE", value_parser = qtype)]
    qtype: Option<u16>,
    /// Only queries with this answer: NOERROR, NXDOMAIN, SERVFAIL …
    #[arg(long, value_name = "RCODE", value_parser = rcode)]
    rcode: Option<u16>,
    /// Only queries with which this was done: sinkhole, forward, nxdomain, shadow …
    #[arg(long, value_parser = outcome)]
    action: Option<Outcome>,
    /// Only queries that met a rule of this feed.
    #[arg(long, value_name = "NAME")]
    feed: Option<String>,
    /// Only queries that met a rule of this malware family.
    #[arg(long, value_name = "NAME")]
    family: Option<String>,
    /// Only queries from this time on: RFC 3339 (2026-11-24T08:00:00+07:00), a day or time on this machine's clock (2026-11-24) or an age (2h, 90d).
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<i64>,
    /// Only queries before this time.
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<i64>,
    /// Only queries around this time.
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with_all = ["since", "until"])]
    around: Option<i64>,
    /// How far around.
    #[arg(long, value_name = "AGE", default_value = "10m", value_parser = age, requires = "around")]
    within: i64,
    /// Only hits: queries that a rule of a threat feed met, or would have met had the feed been there in time.
    #[arg(long)]
    hits: bool,
    /// Only what is on this machine, also where log.clickhouse is set: ClickHouse has all servers' queries.
    #[arg(long)]
    local: bool,
}

impl Filters {
    /// Who answers: ClickHouse, where it is set and not told otherwise.
    pub(in crate::cli) fn store(&self, config: &Config) -> Box<dyn Store> {
        let log = &config.log.folder;
        match config.clickhouse.as_ref().filter(|_| !self.local) {
            Some(options) => {
                Box::new(ClickHouse::new(options, &config.node(), config.archive.anonymise, log))
            }
            None => Box::new(Embedded::new(log)),
        }
    }

    /// The filter that was asked for; a look at one client is recorded before anything is read.
    pub(in crate::cli) fn filter(&self, config: &Config, command: &'static str) -> Result<Filter, CliError> {
        let folder = &config.log.folder;
        if !folder.exists() {
            return Err(CliError::NoLog { path: absolute(folder) });
        }
        if let Some(id) = &self.agency
            && !config.agencies.iter().any(|agency| *agency.id == **id)
        {
            eprintln!(
                "note: the configuration has no agency {id:?} now; only records from when it had can match"
            );
        }
        let around = self.around.map(|time| {
            (time.saturating_sub(self.within), time.saturating_add(self.within).saturating_add(1))
        });
        let mut filter = Filter {
            client: self.client,
            agency: self.agency.clone(),
            name: self.name.clone(),
            qtype: self.qtype,
            rcode: self.rcode,
            outcome: self.action,
            feed: self.feed.clone(),
            family: self.family.clone(),
            since: around.map(|(since, _)| since).or(self.since),
            until: around.map(|(_, until)| until).or(self.until),
            kind: if self.hits { Kind::Hits } else { Kind::All },
            sought: None,
            machine: self.machine.as_deref().map(|what| whereabouts(config, what)).transpose()?.flatten(),
        };
        if let (None, Some(what)) = (&filter.machine, &self.machine) {
            eprintln!("note: no source speaks of {what}: this is what that address asked, whoever had it");
            filter.client = what.trim().parse().ok();
        }
        if let Some(client) = filter.client {
            audit_look(&config.data_dir, command, client, &filter)?;
        }
        if let (Some(machine), Some(called)) = (&filter.machine, self.machine.as_deref()) {
            let look =
                audit::MachineLook { command, machine: called, since: filter.since, until: filter.until };
            audit::append_machine(&config.data_dir, clock::now(), &look)
                .map_err(|source| CliError::Audit { path: audit::path(&config.data_dir), source })?;
            let clients: BTreeSet<IpAddr> = machine.spans.iter().map(|(address, ..)| *address).collect();
            for client in clients {
                audit_look(&config.data_dir, command, client, &filter)?;
            }
        }
        Ok(filter)
    }
}

/// Where a machine was, as people call it; nothing where it is an address that nobody knows.
fn whereabouts(config: &Config, what: &str) -> Result<Option<Arc<Whereabouts>>, CliError> {
    let what = what.trim();
    let book = identity::open(config)?;
    let machines = identity::called(&book, what, clock::now())?;
    if machines.is_empty() {
        if what.parse::<IpAddr>().is_ok() {
            return Ok(None);
        }
        return Err(CliError::NoMachine { what: what.to_owned() });
    }
    let mut found = Whereabouts::default();
    for machine in machines {
        found.macs.extend(&machine.macs);
        let spans = book.addresses(machine.id)?;
        found.spans.extend(spans.into_iter().map(|it| (it.address, it.from, it.to.unwrap_or(i64::MAX))));
    }
    Ok(Some(Arc::new(found)))
}

fn audit_look(data_dir: &Path, command: &str, client: IpAddr, filter: &Filter) -> Result<(), CliError> {
    let look = audit::Look { command, client, since: filter.since, until: filter.until };
    audit::append(data_dir, clock::now(), &look)
        .map_err(|source| CliError::Audit { path: audit::path(data_dir), source })
}

/// Microseconds since 1970.
pub(in crate::cli) fn time(text: &str) -> Result<i64, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_microsecond());
    }
    // A day, or a day and a time, on this machine's clock.
    if let Ok(time) = text.parse::<jiff::civil::DateTime>()
        && let Ok(time) = TimeZone::system().to_timestamp(time)
    {
        return Ok(time.as_microsecond());
    }
    let wrong = || {
        format!("{text:?} is neither a time such as 2026-11-24T08:00:00+07:00 nor an age such as 2h or 90d")
    };
    let age = age(text).map_err(|_| wrong())?;
    Timestamp::now().as_microsecond().checked_sub(age).ok_or_else(wrong)
}

/// Microseconds.
fn age(text: &str) -> Result<i64, String> {
    let wrong = || format!("{text:?} is no age such as 10m, 2h or 90d");
    let age = text
        .parse::<Span>()
        .and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()))
        .map_err(|_| wrong())?;
    i64::try_from(age.abs().as_micros()).map_err(|_| wrong())
}

fn qtype(text: &str) -> Result<u16, &'static str> {
    wire::type_number(text).ok_or("no such record type; write A, HTTPS, TYPE65 …")
}

fn rcode(text: &str) -> Result<u16, &'static str> {
    wire::rcode_number(text).ok_or("no such response code; write NOERROR, NXDOMAIN, RCODE23 …")
}

fn outcome(text: &str) -> Result<Outcome, String> {
    let words = || Outcome::words().collect::<Vec<_>>().join(", ");
    Outcome::from_word(text).ok_or_else(|| format!("no such action; there are {}", words()))
}
