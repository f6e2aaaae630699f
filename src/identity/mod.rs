//! Which machine was behind an address, and when.
//!
//! ```text
//! lease files, inventories ─► read (a file a format) ─► Batch of claims ─► Book::take ─► book.db
//! records of queries ─► Book::who(address, at) ─► Machine │ Conflict │ Unknown
//! ```
//!
//! A *claim* is what a source says: this machine had this address from then until then. Claims are kept as they were made;
//! which of them hold at a time is reckoned when somebody asks, so that a newer lease ends an older one without
//! rewriting it. A *machine* keeps one id across addresses. Where sources contradict each other, that is said and not
//! decided. Nothing here knows records, cases or who asks.
//!
//! Times are microseconds since 1970.

mod book;
pub mod claim;
mod conflicts;
pub mod follow;
pub mod list;
mod matching;
pub mod read;
pub mod search;
mod take;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

pub use self::book::{Book, BookError};
pub use self::conflicts::{Conflict, ConflictKind};
pub use self::take::{Source, Taken, Told, Trial};
use crate::mac::Mac;

/// Where the book of a data folder is.
pub fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("identity")
}

/// A machine's number, shown as `m-17`. It is never given again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MachineId(pub u64);

impl fmt::Display for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m-{}", self.0)
    }
}

/// The text is no machine's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a machine is written as in m-17")]
pub struct MachineIdError;

impl FromStr for MachineId {
    type Err = MachineIdError;

    fn from_str(text: &str) -> Result<Self, MachineIdError> {
        let digits = text.strip_prefix("m-").or_else(|| text.strip_prefix("M-"));
        let digits = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        digits.and_then(|digits| digits.parse().ok()).map(Self).ok_or(MachineIdError)
    }
}

/// A computer, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Its number.
    pub id: MachineId,
    /// The name that it, or the inventory, says it has.
    pub host: Option<String>,
    /// Its hardware address: of several the one last seen, a randomised one only where it has no other.
    pub mac: Option<Mac>,
    /// All of them.
    pub macs: Vec<Mac>,
    /// Who works at it.
    pub owner: Option<String>,
    /// The id of its agency.
    pub agency: Option<String>,
    /// The part of the agency, in the inventory's words.
    pub unit: Option<String>,
    /// What it is.
    pub model: Option<String>,
    /// The endpoint protection that the inventory says it has.
    pub protection: Option<String>,
    /// What else the inventory says.
    pub notes: Option<String>,
    /// When a source first spoke of it, and last.
    pub first: i64,
    /// … and last.
    pub last: i64,
}

/// Who was behind an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// This machine.
    Machine(Machine),
    /// One of these: the sources contradict each other.
    Conflict(Vec<Machine>),
    /// No source knows.
    Unknown,
}

/// What is known beside the address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hints<'a> {
    /// The hardware address that a trusted forwarder told.
    pub mac: Option<Mac>,
    /// The name that the machine gave.
    pub host: Option<&'a str>,
    /// The agency whose network the address is of.
    pub agency: Option<&'a str>,
}

/// A time in which a machine had an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interval {
    /// The address.
    pub address: IpAddr,
    /// The machine.
    pub machine: MachineId,
    /// From when on; [`ALWAYS`] where nobody knows.
    pub from: i64,
    /// Until when, exclusive; `None`: it does not end.
    pub to: Option<i64>,
    /// The source that says so.
    pub source: String,
    /// What it knew the machine by.
    pub mac: Option<Mac>,
    /// … and by which name.
    pub host: Option<String>,
    /// Whether that is an inventory, which says what is so in general.
    pub is_inventory: bool,
}

/// The beginning of what an inventory says without a date.
pub const ALWAYS: i64 = i64::MIN;
