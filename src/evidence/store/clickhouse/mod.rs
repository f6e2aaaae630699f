//! ClickHouse: a store for fleets, beside the embedded one.
//!
//! What the archiver sealed is shipped file by file ([`ship`]), exactly once; questions go to ClickHouse, and to this machine for
//! what is not there yet (`questions`). One HTTP client (`client`), one place for values in SQL (`sql`), one for tables
//! (`schema`), one for the octets of rows (`rows`).
//!
//! ```text
//!     store/NUMBER_….parquet ─► one INSERT a file and day, as one block of Native ─► records
//!     store/store.db (finds) ─►   "                                                   "
//!     store/shipped.db: which of them are there
//! ```
//!
//! Nothing here is on a query's way, and no record waits in memory: what is not shipped yet lies in the store's files.

mod client;
mod questions;
pub mod rows;
mod schema;
pub mod ship;
mod sought;
mod sql;
mod state;

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

pub use client::ClientError;
pub use questions::ClickHouse;
pub use schema::{Dialect, SchemaError, tables};
pub use sql::{Identifier, IdentifierError};

/// How ClickHouse is reached, and what its tables are like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Its HTTP interface: `http://HOST:8123` or `https://HOST:8443`.
    pub url: Url,
    /// Who we are there.
    pub user: String,
    /// The file with the password; none: there is none.
    pub password_file: Option<PathBuf>,
    /// A file with the authorities' certificates in place of the system's.
    pub ca: Option<PathBuf>,
    /// The database of our tables.
    pub database: Identifier,
    /// The cluster on which they are replicated and distributed; none: a single server.
    pub cluster: Option<Identifier>,
    /// How long it may say and take nothing while it is sent rows.
    pub timeout: Duration,
    /// How long it keeps records.
    pub keep_queries: Duration,
    /// … and hits.
    pub keep_hits: Duration,
}

impl Options {
    /// Our table there.
    fn table(&self) -> String {
        format!("{}.records", self.database)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a server that nobody asks.
    pub(super) fn options() -> Options {
        const DAY: Duration = Duration::from_secs(86_400);
        Options {
            url: "http://127.0.0.1:8123".parse().unwrap(),
            user: "default".into(),
            password_file: None,
            ca: None,
            database: "sachdns".parse().unwrap(),
            cluster: None,
            timeout: Duration::from_secs(60),
            keep_queries: 90 * DAY,
            keep_hits: 1095 * DAY,
        }
    }
}
