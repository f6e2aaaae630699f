//! Published zones in force: who may have them, and what their secondaries are told.
//!
//! Their versions and records are `publish`'s. Nobody else is told anything of them, and nobody is asked about names
//! in them: what is listed there is no one's business.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;

use super::answer::local;
use crate::name::{Name, is_within};
use crate::publish::zone::{self, Version};
use crate::resolve::zone::Transfer as Terms;
use crate::wire::{Query, rtype};

/// A published zone.
#[derive(Clone)]
pub struct Entry {
    /// Its apex.
    pub apex: Name,
    /// What is in it now; `None` while its first version is made.
    pub version: Option<Arc<Version>>,
    /// Who may have it.
    pub terms: Terms,
    /// Secondaries that are told of a new serial number.
    pub notify: Vec<SocketAddr>,
}

/// All of them.
#[derive(Default)]
pub struct Shelf {
    entries: ArcSwap<Vec<Entry>>,
    /// Where there are none, queries are not looked at.
    has_any: AtomicBool,
}

impl Shelf {
    /// Puts these in place of those there were.
    pub fn set(&self, entries: Vec<Entry>) {
        let has_any = !entries.is_empty();
        self.entries.store(Arc::new(entries));
        self.has_any.store(has_any, Ordering::Release);
    }

    /// The zone that a name, in wire format, is in.
    pub fn of(&self, qname: &[u8]) -> Option<Entry> {
        if !self.has_any.load(Ordering::Acquire) {
            return None;
        }
        let entries = self.entries.load();
        entries.iter().find(|entry| is_within(qname, entry.apex.as_wire())).cloned()
    }
}

/// About how long each message of a transfer is.
const MESSAGE: usize = 16_000;

/// The transfer that a query for a zone asks for; `held` is the serial number of the version that an IXFR begins with.
pub(super) fn transfer(version: Arc<Version>, held: Option<u32>) -> zone::Transfer {
    match held {
        Some(serial) => zone::Transfer::since(version, serial),
        None => zone::Transfer::whole(version),
    }
}

/// Puts the next message of a transfer into `out`; false when it is the last.
///
/// # Errors
/// When a difference cannot be read: the secondary must ask again.
pub(super) fn message(
    query: &Query<'_>,
    transfer: &mut zone::Transfer,
    out: &mut Vec<u8>,
) -> io::Result<bool> {
    let mut has_more = Ok(false);
    local::message(query, out, |out| {
        let mut count = 0u16;
        has_more = transfer.give(|record| {
            // A message has at least one, however long.
            let is_full = out.len() + record.owner.len() + 12 + record.rdata.len() > MESSAGE;
            if is_full && count > 0 {
                return false;
            }
            local::relative(record.owner, record.rtype, record.ttl, record.rdata, out);
            count += 1;
            true
        });
        count
    });
    has_more
}

/// Answers a secondary's question at the apex: the SOA or the NS record, or that there is nothing else.
pub(super) fn apex(query: &Query<'_>, version: &Version, out: &mut Vec<u8>) {
    let record = match query.qtype() {
        rtype::NS => version.ns(),
        // All that UDP is told of a transfer (RFC 1995, section 2).
        rtype::SOA | rtype::IXFR => version.soa(),
        _ => return local::nothing(query, version.soa().ttl, version.soa().rdata, out),
    };
    local::message(query, out, |out| {
        local::relative(record.owner, record.rtype, record.ttl, record.rdata, out);
        1
    });
}
