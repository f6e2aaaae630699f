//! `sachdns log ship` and `sachdns log schema`: ClickHouse, by hand.

use clap::Args;

use super::bar::Stop;
use crate::cli::{CliError, ConfigArg};
use crate::config::Config;
use crate::evidence::store::clickhouse::{Dialect, Identifier, Options, ship, tables};

#[derive(Debug, Args)]
pub(super) struct Ship {
    #[command(flatten)]
    config: ConfigArg,
}

#[derive(Debug, Args)]
pub(super) struct Schema {
    #[command(flatten)]
    config: ConfigArg,
    /// For this cluster; without it as log.clickhouse.cluster says.
    #[arg(long, value_name = "NAME")]
    cluster: Option<Identifier>,
    /// For a server without types for addresses and microseconds (before 20.x).
    #[arg(long)]
    old: bool,
}

fn options(config: &Config) -> Result<&Options, CliError> {
    config.clickhouse.as_ref().ok_or(CliError::NoClickHouse)
}

pub(super) fn ship(arguments: &Ship) -> Result<(), CliError> {
    let config = arguments.config.load()?;
    let options = options(&config)?;
    let stop = Stop::listen()?;
    let folder = &config.log.folder;
    let done = ship::ship(folder, options, &config.node(), config.archive.anonymise, stop.flag())?;
    println!(
        "{} files are in ClickHouse now: {} records were sent, {} were there",
        done.files, done.records, done.known
    );
    Ok(())
}

pub(super) fn schema(arguments: &Schema) -> Result<(), CliError> {
    let config = arguments.config.load()?;
    let mut options = options(&config)?.clone();
    if arguments.cluster.is_some() {
        options.cluster.clone_from(&arguments.cluster);
    }
    let dialect = if arguments.old { Dialect::Old } else { Dialect::Current };
    for statement in tables(&options, dialect) {
        println!("{statement};\n");
    }
    Ok(())
}
