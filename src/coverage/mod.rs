//! Endpoint protection: which machines have it, by what inventories of it say and by who was seen asking.
//!
//! ```text
//! exports of Bkav, Viettel, … ─► read ─► Batch ─► Ledger::take ──┐
//! who asked, day by day ──────────────────────► Ledger::saw ─────┼─► Ledger::settle ─► coverage.db ─► figures, lists
//! identity::Book: machines, and what inventories say of them ────┘
//! ```
//!
//! An *install* is a row of an export: protection on a computer that is called so. A *standing* says of a machine that was seen
//! whether it is protected. Both are settled beforehand, so that figures of a whole province are one look at the ledger. Nothing here knows
//! records; whoever reads them says who asked. Times are microseconds since 1970.

mod ledger;
pub mod read;
mod settle;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

pub use self::ledger::{Export, Ledger, LedgerError, Offer, Query, Row, Taken};
pub use self::settle::Settling;
use crate::cases::Subject;
use crate::mac::Mac;
use crate::tabular::table::Place;

/// Microseconds of a day.
pub const DAY: i64 = 86_400_000_000;
/// An installation that was not heard of for so long before its export is none: the machine was set up anew, or it is broken.
pub const STALE: i64 = 30 * DAY;

/// Whether a machine that was seen is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Standing {
    /// An export, or an inventory of machines, says so.
    Protected,
    /// Its agency gave an export, and it is not in it, or not as working; or an inventory says that it has none.
    Unprotected,
    /// Nobody gave anything for its agency.
    Unknown,
}

/// Every standing with its word in exports.
const STANDINGS: [(&str, Standing); 3] = [
    ("protected", Standing::Protected),
    ("unprotected", Standing::Unprotected),
    ("unknown", Standing::Unknown),
];

impl Standing {
    /// Its word in commands and exports.
    pub fn as_str(self) -> &'static str {
        STANDINGS[self as usize].0
    }

    /// The standing of this word.
    pub fn of(word: &str) -> Option<Self> {
        STANDINGS.iter().find(|(known, _)| *known == word).map(|(_, standing)| *standing)
    }

    fn of_number(number: i64) -> Self {
        usize::try_from(number).ok().and_then(|it| STANDINGS.get(it)).map_or(Self::Unknown, |(_, it)| *it)
    }
}

/// What an export says of an installation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    /// Nothing, or nothing that decides: that it is off line, say.
    #[default]
    Unsaid,
    /// It works.
    On,
    /// It is not there, switched off, or has expired.
    Off,
}

/// Protection on a computer, as an export has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Install {
    /// Where it stands.
    pub place: Place,
    /// What the computer is called.
    pub host: Option<String>,
    /// Its hardware addresses.
    pub macs: Vec<Mac>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The agency, or part of it, in the export's words.
    pub unit: Option<String>,
    /// What protects it.
    pub product: Option<String>,
    /// … in which version.
    pub version: Option<String>,
    /// When it was heard of last.
    pub seen: Option<i64>,
    /// Whether it works.
    pub state: State,
}

/// Machines of an agency, or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Coverage {
    /// That were seen asking.
    pub machines: u64,
    /// Of them, protected ones …
    pub protected: u64,
    /// … unprotected ones …
    pub unprotected: u64,
    /// … and those of which nobody said anything.
    pub unknown: u64,
}

impl Coverage {
    fn add(&mut self, standing: Standing, count: u64) {
        self.machines += count;
        *match standing {
            Standing::Protected => &mut self.protected,
            Standing::Unprotected => &mut self.unprotected,
            Standing::Unknown => &mut self.unknown,
        } += count;
    }
}

/// Somebody who asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Who.
    pub subject: Subject,
    /// Of which agency.
    pub agency: Option<String>,
    /// By which address.
    pub client: IpAddr,
    /// When last.
    pub time: i64,
}
