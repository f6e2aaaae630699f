//! The tables in ClickHouse: their columns, for servers of today and old ones, and what a server that is asked can do.
//!
//! `records` has a row for each record; on a cluster it is a Distributed table over `records_local`. Partitions are days, so
//! that a file's rows of one day are one part: all of them are there, or none. Rows are sorted by hour, client and
//! time: a look at a client's hour and a look at any hour read little. A column that a later release adds is added to the
//! table when that release first ships to it.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::time::Duration;

use super::client::{Ask, Client, ClientError};
use super::sql::Text as Literal;
use super::{Identifier, Options};
use crate::evidence::store::rows::Text;

/// What types a server knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Those of today.
    Current,
    /// None for addresses and microseconds: servers before 20.x.
    Old,
}

/// A column, in the order in which it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    /// The record's hour, by which rows are sorted and dropped.
    Hour,
    Time,
    /// Who recorded it.
    Node,
    /// In which file it came, and of which day.
    Batch,
    Text(Text),
    Qclass,
    Hit,
    /// A hit that was found later, beside the row of its query.
    Late,
    Cached,
    Latency,
}

impl Column {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let first = [Self::Hour, Self::Time, Self::Node, Self::Batch];
        let last = [Self::Qclass, Self::Hit, Self::Late, Self::Cached, Self::Latency];
        first.into_iter().chain(Text::ALL.map(Self::Text)).chain(last)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Time => "time",
            Self::Node => "node",
            Self::Batch => "batch",
            Self::Text(text) => text.name(),
            Self::Qclass => "qclass",
            Self::Hit => "hit",
            Self::Late => "late",
            Self::Cached => "cached",
            Self::Latency => "latency_us",
        }
    }

    /// Whether it has so many different values that each stands for itself.
    fn is_diverse(self) -> bool {
        matches!(self, Self::Text(Text::Qname | Text::Matched))
    }

    /// The type that a block of rows has it in.
    pub(super) fn sent_type(self, dialect: Dialect) -> &'static str {
        let (time, address, addresses) = match dialect {
            Dialect::Current => ("DateTime64(6, 'UTC')", "IPv6", "Array(IPv6)"),
            Dialect::Old => ("Int64", "FixedString(16)", "Array(FixedString(16))"),
        };
        match self {
            Self::Hour => "DateTime('UTC')",
            Self::Time => time,
            Self::Text(Text::Client) => address,
            Self::Text(Text::Answers) => addresses,
            Self::Node | Self::Batch | Self::Text(_) => "String",
            Self::Qclass => "UInt16",
            Self::Hit | Self::Late | Self::Cached => "UInt8",
            Self::Latency => "UInt32",
        }
    }

    /// The type that the table has it in.
    fn kept_type(self, dialect: Dialect) -> &'static str {
        match self.sent_type(dialect) {
            "String" if dialect == Dialect::Current && !self.is_diverse() => "LowCardinality(String)",
            other => other,
        }
    }

    fn definition(self, dialect: Dialect) -> String {
        let codec = match (dialect, self) {
            (Dialect::Old, _) => "",
            (Dialect::Current, Self::Hour | Self::Time) => " CODEC(DoubleDelta, ZSTD(1))",
            (Dialect::Current, _) => " CODEC(ZSTD(1))",
        };
        format!("{} {}{codec}", self.name(), self.kept_type(dialect))
    }

    /// Whether nothing can be shipped without it.
    fn is_needed(self) -> bool {
        match self {
            Self::Text(text) => {
                matches!(text, Text::Client | Text::Qname | Text::Action | Text::Transport | Text::Answers)
            }
            _ => true,
        }
    }
}

/// How a partition is told from a row, and rows are sorted.
const LAYOUT: &str = "PARTITION BY toYYYYMMDD(hour) ORDER BY (hour, client, time)";
/// Blocks that the server remembers, so that one that comes again is passed over.
const REMEMBERED: u32 = 10_000;

/// The statements that make the database and its tables.
pub fn tables(options: &Options, dialect: Dialect) -> Vec<String> {
    let database = &options.database;
    let table = options.table();
    let columns: Vec<String> =
        Column::all().map(|column| format!("    {}", column.definition(dialect))).collect();
    let mut columns = columns.join(",\n");
    if dialect == Dialect::Current {
        columns.push_str(",\n    INDEX hits hit TYPE minmax GRANULARITY 1");
    }
    let mut layout = LAYOUT.to_owned();
    if dialect == Dialect::Current {
        let days = |kept: Duration| kept.as_secs().div_ceil(86_400);
        // Writing to a text does not fail.
        let _ = write!(
            layout,
            "\nTTL hour + INTERVAL {} DAY DELETE WHERE hit = 0, hour + INTERVAL {} DAY DELETE",
            days(options.keep_queries),
            days(options.keep_hits)
        );
    }
    let Some(cluster) = &options.cluster else {
        let window = match dialect {
            Dialect::Current => format!("\nSETTINGS non_replicated_deduplication_window = {REMEMBERED}"),
            Dialect::Old => String::new(),
        };
        return vec![
            format!("CREATE DATABASE IF NOT EXISTS {database}"),
            format!(
                "CREATE TABLE IF NOT EXISTS {table} (\n{columns}\n)\nENGINE = MergeTree\n{layout}{window}"
            ),
        ];
    };
    let path = format!("/clickhouse/tables/{{shard}}/{database}/records");
    vec![
        format!("CREATE DATABASE IF NOT EXISTS {database} ON CLUSTER {cluster}"),
        format!(
            "CREATE TABLE IF NOT EXISTS {database}.records_local ON CLUSTER {cluster} (\n{columns}\n)\n\
             ENGINE = ReplicatedMergeTree('{path}', '{{replica}}')\n{layout}\n\
             SETTINGS replicated_deduplication_window = {REMEMBERED}, \
             replicated_deduplication_window_seconds = 2592000"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {table} ON CLUSTER {cluster} AS {database}.records_local\n\
             ENGINE = Distributed({cluster}, {database}, records_local, cityHash64(node, batch))"
        ),
    ]
}

/// Why a server is no use to us.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// It cannot be asked.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A table lacks what records need.
    #[error(
        "{table} in ClickHouse has no column {column}: it is another program's; set log.clickhouse.database to another name"
    )]
    Column {
        /// Which table.
        table: String,
        /// What it lacks.
        column: &'static str,
    },
    /// A cluster that does not take a batch once.
    #[error(
        "ClickHouse {version} cannot tell that it was sent a batch before (insert_deduplication_token, since 22.1): \
         a cluster needs that; take out log.clickhouse.cluster, or update ClickHouse"
    )]
    Cluster {
        /// Which release.
        version: String,
    },
}

/// How a batch becomes one that is there once, whatever is lost on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The server passes over a batch whose token it knows.
    Token,
    /// The server forgets. A batch goes into a table of its own, is moved over in one step, and that table is dropped
    /// before anything is tried again: what still comes too late finds nothing to move.
    Stage,
}

/// What a server has, and can do.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) dialect: Dialect,
    pub(super) way: Way,
    /// The columns that its table has.
    pub(super) columns: Vec<Column>,
    /// What goes into the URL of an INSERT.
    pub(super) settings: Vec<(&'static str, String)>,
}

/// Settings that an INSERT has where the server knows them: as one part, done when it is answered, on the disk of a shard.
const INSERTING: [(&str, &str); 3] =
    [("async_insert", "0"), ("insert_deduplicate", "1"), ("insert_distributed_sync", "1")];
const TOKEN: &str = "insert_deduplication_token";

/// Lines of an answer.
pub(super) fn lines(
    client: &Client,
    sql: &str,
    is_over: &mut dyn FnMut() -> bool,
) -> Result<Vec<String>, ClientError> {
    const MOST: usize = 16 << 20;
    let mut octets = Vec::new();
    client.ask(&Ask::new(sql), client.patience(), is_over, &mut |part| {
        octets.extend(part);
        if octets.len() > MOST { Err(client.nonsense()) } else { Ok(()) }
    })?;
    let text = String::from_utf8(octets).map_err(|_| client.nonsense())?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// Whether tables that are missing are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Make,
    Leave,
}

impl Target {
    /// Finds out what there is; `None` where there is no table, and none was to be made.
    pub(super) fn find(
        client: &Client,
        options: &Options,
        missing: Missing,
        is_over: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Self>, SchemaError> {
        let Options { database, cluster, .. } = options;
        let words: Vec<&str> = INSERTING.iter().map(|(name, _)| *name).chain([TOKEN]).collect();
        let list = |words: &[&str]| super::sql::List(words).to_string();
        let known: HashSet<String> = lines(
            client,
            &format!(
                "SELECT name FROM system.settings WHERE name IN {} UNION ALL \
                 SELECT name FROM system.data_type_families WHERE name IN {}",
                list(&words),
                list(&["DateTime64", "IPv6", "LowCardinality"])
            ),
            is_over,
        )?
        .into_iter()
        .collect();
        let is_current = ["DateTime64", "IPv6", "LowCardinality"].iter().all(|name| known.contains(*name));
        if cluster.is_some() && !known.contains(TOKEN) {
            let version = lines(client, "SELECT version()", is_over)?.concat();
            return Err(SchemaError::Cluster { version });
        }
        let mut columns = columns(client, database, is_over)?;
        if missing == Missing::Make {
            let dialect = if is_current { Dialect::Current } else { Dialect::Old };
            if columns.is_empty() {
                for statement in tables(options, dialect) {
                    done(client, &statement, is_over)?;
                }
                columns = self::columns(client, database, is_over)?;
            }
            check(options, &columns)?;
            if add_columns(client, options, &columns, is_over)? {
                columns = self::columns(client, database, is_over)?;
            }
        }
        if columns.is_empty() {
            return Ok(None);
        }
        let is_old = columns.iter().any(|(name, kind)| name == "time" && kind == "Int64");
        let has = |column: &Column| columns.iter().any(|(name, _)| name == column.name());
        check(options, &columns)?;
        let engine = lines(
            client,
            &format!(
                "SELECT engine, create_table_query LIKE '%non_replicated_deduplication_window%' FROM system.tables \
                 WHERE database = {} AND name = 'records'",
                Literal(database.to_string().as_bytes())
            ),
            is_over,
        );
        // Servers that do not tell it forget.
        let engine = engine.map_or_else(|_| String::new(), |lines| lines.concat());
        let remembers = ["Distributed", "Replicated", "Shared"].iter().any(|it| engine.starts_with(it))
            || engine.ends_with("\t1");
        let settings = INSERTING.iter().filter(|(name, _)| known.contains(*name));
        Ok(Some(Self {
            dialect: if is_old { Dialect::Old } else { Dialect::Current },
            way: if remembers && known.contains(TOKEN) { Way::Token } else { Way::Stage },
            columns: Column::all().filter(has).collect(),
            settings: settings.map(|(name, value)| (*name, (*value).to_owned())).collect(),
        }))
    }

    /// An INSERT's settings, with a token that says which batch it is.
    pub(super) fn settings_of<'a>(&self, batch: &str) -> Vec<(&'a str, String)> {
        let token = (self.way == Way::Token).then(|| (TOKEN, batch.to_owned()));
        self.settings.iter().cloned().chain(token).collect()
    }
}

/// A statement whose answer says nothing.
pub(super) fn done(client: &Client, sql: &str, is_over: &mut dyn FnMut() -> bool) -> Result<(), ClientError> {
    client.ask(&Ask::new(sql), client.patience(), is_over, &mut |_| Ok(()))
}

/// The columns of the table there, and their types; none where there is no table.
fn columns(
    client: &Client,
    database: &Identifier,
    is_over: &mut dyn FnMut() -> bool,
) -> Result<Vec<(String, String)>, ClientError> {
    let sql = format!(
        "SELECT name, type FROM system.columns WHERE database = {} AND table = 'records'",
        Literal(database.to_string().as_bytes())
    );
    let lines = lines(client, &sql, is_over)?;
    let pair = |line: &String| line.split_once('\t').map(|(name, kind)| (name.to_owned(), kind.to_owned()));
    Ok(lines.iter().filter_map(pair).collect())
}

/// Whether the table there can be ours.
fn check(options: &Options, columns: &[(String, String)]) -> Result<(), SchemaError> {
    let lacks = |column: &Column| column.is_needed() && columns.iter().all(|(name, _)| name != column.name());
    match Column::all().find(lacks) {
        Some(lacking) => Err(SchemaError::Column { table: options.table(), column: lacking.name() }),
        None => Ok(()),
    }
}

/// Adds what an earlier release did not know; returns whether there was any.
fn add_columns(
    client: &Client,
    options: &Options,
    columns: &[(String, String)],
    is_over: &mut dyn FnMut() -> bool,
) -> Result<bool, SchemaError> {
    let is_old = columns.iter().any(|(name, kind)| name == "time" && kind == "Int64");
    let dialect = if is_old { Dialect::Old } else { Dialect::Current };
    let lacks =
        |column: &Column| !column.is_needed() && columns.iter().all(|(name, _)| name != column.name());
    let mut has_added = false;
    for column in Column::all().filter(lacks) {
        let definition = column.definition(dialect);
        let (name, kind) = (column.name(), definition.split_once(' ').map_or("", |(_, kind)| kind));
        let existing = if dialect == Dialect::Old { "" } else { "IF NOT EXISTS " };
        let (mut tables, mut on) = (vec![options.table()], String::new());
        if let Some(cluster) = &options.cluster {
            tables.insert(0, format!("{}_local", options.table()));
            on = format!(" ON CLUSTER {cluster}");
        }
        for table in tables {
            let kind =
                if on.is_empty() || table.ends_with("_local") { kind } else { column.kept_type(dialect) };
            done(client, &format!("ALTER TABLE {table}{on} ADD COLUMN {existing}{name} {kind}"), is_over)?;
        }
        has_added = true;
    }
    Ok(has_added)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_of_a_record_is_in_every_table() {
        for dialect in [Dialect::Current, Dialect::Old] {
            for cluster in [None, Some("province".parse().unwrap())] {
                let options = Options { cluster, ..super::super::tests::options() };
                let statements = tables(&options, dialect);
                for column in Column::all() {
                    let line = format!("\n    {} {}", column.name(), column.kept_type(dialect));
                    assert!(statements[1].contains(&line), "{line}\n{}", statements[1]);
                }
            }
        }
    }

    #[test]
    fn a_cluster_has_replicas_and_one_table_for_all() {
        let options =
            Options { cluster: Some("province".parse().unwrap()), ..super::super::tests::options() };
        let statements = tables(&options, Dialect::Current);
        assert_eq!(statements.len(), 3);
        assert!(statements.iter().all(|it| it.contains(" ON CLUSTER province")), "{statements:#?}");
        assert!(statements[1].contains("TTL hour + INTERVAL 90 DAY DELETE WHERE hit = 0"), "{statements:#?}");
        assert!(statements[2].contains("Distributed(province, sachdns, records_local,"), "{statements:#?}");
    }
}
