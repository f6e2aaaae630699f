//! Stores: who answers questions about the records.
//!
//! The questions are the same for every back end; so far the segments themselves are the only one.

pub mod segments;

use std::io;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::path::PathBuf;

use super::record::Record;
use crate::name::{self, Name};

/// Which records are asked for; everything that is set must fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Records of this client.
    pub client: Option<IpAddr>,
    /// Records of clients of the agency with this id.
    pub agency: Option<String>,
    /// Records whose qname is this name or lies below it.
    pub name: Option<Name>,
    /// Records from this time on, microseconds since 1970.
    pub since: Option<i64>,
    /// Records before this time, microseconds since 1970.
    pub until: Option<i64>,
    /// Which kind of record.
    pub kind: Kind,
}

/// Which kind of record is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    /// All.
    #[default]
    All,
    /// Hits only.
    Hits,
}

impl Filter {
    /// Whether `record` is asked for.
    pub fn takes(&self, record: &Record<'_>) -> bool {
        (self.kind == Kind::All || record.is_hit)
            && self.since.is_none_or(|since| record.time >= since)
            && self.until.is_none_or(|until| record.time < until)
            && self.client.is_none_or(|client| record.client == client.to_canonical())
            && self.agency.as_deref().is_none_or(|agency| record.agency.as_deref() == Some(agency))
            && self.name.as_ref().is_none_or(|name| name::is_within(&record.qname, name.as_wire()))
    }
}

/// What a scan met besides records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan {
    /// Segments with octets of no whole record, and how many.
    pub damaged: Vec<(PathBuf, usize)>,
}

/// Why a store cannot answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or folder cannot be read.
    #[error("{path}: reading the query log: {source}; run as the user that sachdns runs as")]
    Read {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Answers questions about the records.
pub trait Store {
    /// Calls `visit` with every record that `filter` takes, newest first, until it breaks.
    ///
    /// # Errors
    /// [`StoreError`], when the records cannot be read.
    fn newest_first(
        &self,
        filter: &Filter,
        visit: &mut dyn FnMut(&Record<'_>) -> ControlFlow<()>,
    ) -> Result<Scan, StoreError>;
}
