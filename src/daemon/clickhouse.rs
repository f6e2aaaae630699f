//! The query log on its way to ClickHouse, where one is set.

use std::io;
use std::sync::Arc;

use crate::config::Config;
use crate::evidence::ledger::Ledger;
use crate::evidence::store::clickhouse::ship::Shipper;

/// Starts shipping; nothing where ClickHouse is not used.
pub(super) fn start(ledger: &Arc<Ledger>, config: &Config) -> io::Result<Option<Shipper>> {
    let Some(options) = &config.clickhouse else { return Ok(None) };
    tracing::info!(url = %options.url, database = %options.database, "what is sealed of the query log goes to ClickHouse");
    Shipper::start(ledger, options, &config.node(), config.archive.anonymise).map(Some)
}
