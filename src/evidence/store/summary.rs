//! Summaries: of a day's files, who asked for each name and who was answered each address.
//!
//! So that a search over months reads days, not rows, and still finds who asked when the rows are gone. A summary knows the
//! client and its agency, the first and the last minute, how often, and whether any of it was a hit. It stands beside the files that
//! it is made of and lists them; which summaries count is the catalogue's business, when one is made the archiver's.
//!
//! Keys are those of [`names`](super::names). Blocks of keys come apart from blocks of what belongs to them, since most
//! searches only want to know whether a key is there. On disk, numbers being LEB128 where no size is given:
//!
//! ```text
//!          8  magic "SACHSUM\x01"
//!          n  of each block of keys, what belongs to them, zstd:
//!             four columns, each with its length: the client's number (of each key's first one itself, then its distance),
//!             the first minute (after the summary's first), minutes from the first to the last, twice how often (plus one: a hit)
//!          n  the blocks of keys, zstd; for each key
//!             octets that it shares with the one before, octets that follow, these, how many clients
//!          n  the clients in their order, zstd: length, 4 or 16, and address; length and text of the agency
//!          n  the index, zstd: the first minute, the earliest and the latest time (twos' complement), the number of rows;
//!             the number of files, and each one's number and times; the number of blocks, and for each the
//!             length of its first key, that key, the lengths of both its parts on disk and of both unpacked
//!         36  where keys, clients and index begin (8 each, little-endian); lengths of clients and index, unpacked (4 each);
//!             CRC-32 of the index and of these 32 octets before
//!          8  magic "SACHEOS\x01"
//! ```
//!
//! Each part that zstd packed has its checksum. What does not fit is damage: then the files are searched instead.

mod build;
mod merge;
mod read;
mod write;

use std::io;
use std::net::IpAddr;

use super::parquet::{FileError, FileName};

pub(in crate::evidence) use build::Slices;
pub(in crate::evidence) use merge::{merge, rewrite};
pub(in crate::evidence) use read::Summary;
pub(super) use read::{Find, Met};

const MAGIC: &[u8; 8] = b"SACHSUM\x01";
const END: &[u8; 8] = b"SACHEOS\x01";
/// Octets of the end, without its magic.
const TAIL: usize = 36;
/// The most that a part may unpack to: what says more is damage.
const MOST_UNPACKED: usize = 256 << 20;

/// Why a summary cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(in crate::evidence) enum SummaryError {
    #[error(transparent)]
    System(#[from] io::Error),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("it is damaged")]
    Damaged,
}

impl SummaryError {
    /// Whether the file went away: it was retired.
    pub(in crate::evidence) fn is_absent(&self) -> bool {
        match self {
            Self::System(error) => error.kind() == io::ErrorKind::NotFound,
            Self::File(error) => error.is_absent(),
            Self::Damaged => false,
        }
    }
}

/// Who asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::evidence) struct Client {
    pub(in crate::evidence) address: IpAddr,
    pub(in crate::evidence) agency: Option<Box<str>>,
}

/// What a client had to do with one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::evidence::store) struct Asker {
    /// Its number in the table of clients.
    pub(super) client: u32,
    /// The first minute since 1970, and the last.
    pub(super) first: u32,
    pub(super) last: u32,
    pub(super) count: u32,
    /// Whether any of it was a hit at the time.
    pub(super) was_hit: bool,
}

impl Asker {
    /// Adds what the same client had to do with the same key at another time.
    fn join(&mut self, other: Self) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.count = self.count.saturating_add(other.count);
        self.was_hit |= other.was_hit;
    }
}

/// Sorts by client, and makes one of what has the same.
fn settle(askers: &mut Vec<Asker>) {
    askers.sort_unstable_by_key(|asker| asker.client);
    askers.dedup_by(|other, kept| {
        let is_same = other.client == kept.client;
        if is_same {
            kept.join(*other);
        }
        is_same
    });
}

/// What a summary is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::evidence) struct Facts {
    /// The files, in the order of their names.
    pub(in crate::evidence) files: Vec<FileName>,
    /// Their times.
    pub(in crate::evidence) earliest: i64,
    pub(in crate::evidence) latest: i64,
    /// Their rows.
    pub(in crate::evidence) rows: u64,
}

/// The minute of a time; of one before 1970 the first.
fn minute(time: i64) -> u32 {
    u32::try_from(time.div_euclid(super::rows::MINUTE)).unwrap_or(0)
}
