//! What is recorded, and for how long it is kept: `[log]`.

use std::path::Path;
use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

use super::faults::Problem;
use super::reader::{Reader, Table, Value, duration, parsed, size, text};
use crate::evidence::archive::{self, Anonymise};
use crate::evidence::journal;
use crate::evidence::store::clickhouse;
use crate::serve::pipeline::LogScope;

/// What `[log]` says.
pub(super) struct Log {
    pub(super) scope: LogScope,
    pub(super) journal: journal::Options,
    pub(super) archive: archive::Options,
    pub(super) clickhouse: Option<clickhouse::Options>,
}

pub(super) fn read<'a>(reader: &mut Reader<'a>, top: &mut Table<'a>, data_dir: &Path) -> Log {
    let mut table = reader.sub_table(top, "log");
    let scope = reader.take(
        &mut table,
        "queries",
        LogScope::All,
        parsed("\"all\" or \"hits\"", |text| match text {
            "all" => Ok(LogScope::All),
            "hits" => Ok(LogScope::Hits),
            _ => Err("neither of the two"),
        }),
    );
    let sync = reader.take(&mut table, "sync", Duration::from_secs(1), duration);
    let max_size = reader.take(&mut table, "max_size", 50 << 30, log_size);
    let default = archive::Options::default();
    let anonymise = parsed("\"never\", \"truncate\" or \"hash\"", |text| match text {
        "never" => Ok(Anonymise::Never),
        "truncate" => Ok(Anonymise::Truncate),
        "hash" => Ok(Anonymise::Hash),
        _ => Err("none of the three"),
    });
    let archive = archive::Options {
        after: reader.take(&mut table, "archive_after", default.after, duration),
        keep_queries: reader.take(&mut table, "keep_queries", default.keep_queries, age),
        keep_summaries: reader.take(&mut table, "keep_summaries", default.keep_summaries, age),
        keep_hits: reader.take(&mut table, "keep_hits", default.keep_hits, age),
        hits_size: reader.take(&mut table, "hits_max_size", default.hits_size, hits_size),
        anonymise: reader.take(&mut table, "anonymise", default.anonymise, anonymise),
        anonymise_after: reader.take(&mut table, "anonymise_after", default.anonymise_after, age),
    };
    let clickhouse = super::clickhouse::read(reader, &mut table);
    reader.finish(table, &[]);
    let journal = journal::Options { folder: data_dir.join("log"), sync, max_size };
    Log { scope, journal, archive, clickhouse }
}

fn log_size(value: Value<'_>) -> Result<u64, Problem> {
    let octets = size(value)?;
    if octets >= journal::Options::LEAST_SIZE {
        return Ok(octets);
    }
    Err(Problem::Value {
        got: text(value)?.to_owned(),
        why: "the log's open files alone may need as much".to_owned(),
        expected: "at least \"64MiB\"",
    })
}

fn hits_size(value: Value<'_>) -> Result<u64, Problem> {
    const LEAST: u64 = 16 << 20;
    let octets = size(value)?;
    if octets >= LEAST {
        return Ok(octets);
    }
    Err(Problem::Value {
        got: text(value)?.to_owned(),
        why: "a day's counts alone may need as much".to_owned(),
        expected: "at least \"16MiB\"",
    })
}

/// A time for which something is kept: from an hour to a hundred years.
pub(super) fn age(value: Value<'_>) -> Result<Duration, Problem> {
    const SHORTEST: Duration = Duration::from_secs(3600);
    const LONGEST: Duration = Duration::from_secs(100 * 366 * 86_400);
    parsed("an age such as \"12h\", \"90d\" or \"3y\"", |text| {
        // A year has 365 days here.
        let span = match text.strip_suffix('y').map(str::parse::<i64>) {
            Some(Ok(years)) => years.checked_mul(365).and_then(|days| Span::new().try_days(days).ok()),
            _ => text.parse::<Span>().ok(),
        };
        let age = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
        let age = age.and_then(|age| Duration::try_from(age).ok()).ok_or("no age")?;
        if (SHORTEST..=LONGEST).contains(&age) { Ok(age) } else { Err("it must be from 1h to 100y") }
    })(value)
}
