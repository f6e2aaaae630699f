//! Zone transfers out (AXFR: RFC 5936; IXFR: RFC 1995, of published zones by differences, of local ones always with all of
//! the zone).
//!
//! Makes the messages, one after the other as they are wanted, so that a large zone is never held a second
//! time. Who sends them is [`super::tcp`]'s.

use std::cmp::Ordering;
use std::net::IpAddr;
use std::sync::Arc;

use super::answer::local;
use super::published;
use crate::publish::zone::{self, Version};
use crate::resolve::zone::{Entry, Transfer as Terms, Zone, ZoneRecord, Zones};
use crate::tsig::Signer;
use crate::wire::{Query, Section, compare_serials, rtype};

/// About how long each message is: few messages, and each fits a compression pointer's 14 bits.
const MESSAGE: usize = 16_000;

/// Whether a query asks for a zone.
pub fn is_asked(query: &Query<'_>) -> bool {
    matches!(query.qtype(), rtype::AXFR | rtype::IXFR)
}

/// The zone that a query asks for, where its client may have it.
pub fn allowed(
    zones: &Zones,
    query: &Query<'_>,
    client: IpAddr,
    signer: Option<&Signer>,
) -> Option<Arc<Entry>> {
    let entry = is_asked(query).then(|| zones.at(query.qname())).flatten()?;
    is_allowed(&entry.source.transfer, client, signer).then(|| Arc::clone(entry))
}

/// Whether a client may have a zone of these terms.
pub(super) fn is_allowed(terms: &Terms, client: IpAddr, signer: Option<&Signer>) -> bool {
    let is_near = terms.networks.iter().any(|network| network.contains(&client));
    match &terms.key {
        Some(key) => {
            (is_near || terms.networks.is_empty()) && signer.is_some_and(|signer| signer.key() == key)
        }
        None => is_near,
    }
}

/// The serial number of the version that the asker of an IXFR has.
fn serial_of(query: &Query<'_>) -> Option<u32> {
    let mut records = query.records().flatten();
    let soa = records.find(|record| record.section == Section::Authority && record.rtype == rtype::SOA)?;
    let numbers = query.packet().get(soa.rdata)?.last_chunk::<20>()?;
    Some(u32::from_be_bytes([numbers[0], numbers[1], numbers[2], numbers[3]]))
}

/// A transfer under way.
pub struct Transfer {
    packet: Vec<u8>,
    signer: Option<Box<Signer>>,
    content: Content,
}

enum Content {
    /// A local zone.
    Local {
        entry: Arc<Entry>,
        /// Which record is the next.
        at: At,
        is_whole: bool,
    },
    /// A published one; `None` when its last message was made.
    Published(Option<Box<zone::Transfer>>),
}

/// A place in a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// The SOA record that begins it.
    Begin,
    /// A name's number, and which of its records.
    Name(usize, usize),
    /// The SOA record that ends it.
    End,
    /// Behind that.
    Done,
}

impl Transfer {
    /// The transfer of a zone in answer to a query: all of it, or its SOA record where the client has that
    /// version, or a newer one.
    pub fn new(query: &Query<'_>, entry: Arc<Entry>, signer: Option<Box<Signer>>) -> Self {
        let held = serial_of(query).filter(|_| query.qtype() == rtype::IXFR);
        let is_whole = held.is_none_or(|held| {
            !matches!(compare_serials(held, entry.zone.serial()), Some(Ordering::Equal | Ordering::Greater))
        });
        let content = Content::Local { entry, at: At::Begin, is_whole };
        Self { packet: query.packet().to_vec(), signer, content }
    }

    /// The transfer of a published zone in answer to a query.
    pub fn published(query: &Query<'_>, version: Arc<Version>, signer: Option<Box<Signer>>) -> Self {
        let held = serial_of(query).filter(|_| query.qtype() == rtype::IXFR);
        let content = Content::Published(Some(Box::new(published::transfer(version, held))));
        Self { packet: query.packet().to_vec(), signer, content }
    }

    /// The next message, at `now` in seconds since 1970; `None` when the last was made.
    pub fn next(&mut self, now: i64) -> Option<Vec<u8>> {
        // It was parsed once already; the packet is the same.
        let query = Query::parse(&self.packet).ok()?;
        let mut out = Vec::with_capacity(MESSAGE + 1024);
        match &mut self.content {
            Content::Local { at: At::Done, .. } | Content::Published(None) => return None,
            Content::Local { entry, at, is_whole } => local(&query, entry, at, *is_whole, &mut out),
            Content::Published(content) => {
                match published::message(&query, content.as_mut()?, &mut out) {
                    Ok(true) => {}
                    Ok(false) => *content = None,
                    Err(error) => {
                        // The end is missing, by which the secondary sees that it must ask again.
                        tracing::warn!(%error, "a transfer is broken off: its differences cannot be read");
                        return None;
                    }
                }
            }
        }
        if let Some(signer) = &mut self.signer {
            signer.sign(now, &mut out);
        }
        Some(out)
    }
}

/// Makes the next message of a local zone.
fn local(query: &Query<'_>, entry: &Entry, place: &mut At, is_whole: bool, out: &mut Vec<u8>) {
    let zone = &entry.zone;
    let mut at = *place;
    let mut is_first = true;
    let next = |len: usize| {
        let (record, found) = from(zone, at)?;
        let is_full = len + record.owner.len() + 10 + record.rdata.len() > MESSAGE;
        if is_full && !std::mem::take(&mut is_first) {
            return None;
        }
        is_first = false;
        at = match found {
            At::Begin if is_whole => At::Name(0, 0),
            At::Begin | At::End | At::Done => At::Done,
            At::Name(name, number) => At::Name(name, number + 1),
        };
        Some(record)
    };
    local::transfer(query, next, out);
    *place = at;
}

/// The record at a place, or at the first behind it that has one, and that place.
fn from(zone: &Zone, mut at: At) -> Option<(ZoneRecord<'_>, At)> {
    loop {
        match at {
            At::Begin | At::End => return Some((zone.soa_record()?, at)),
            At::Name(name, number) => match zone.records_of(name) {
                None => at = At::End,
                Some(mut records) => match records.nth(number) {
                    None => at = At::Name(name + 1, 0),
                    Some(record) => return Some((record, at)),
                },
            },
            At::Done => return None,
        }
    }
}
