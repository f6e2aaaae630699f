//! A record's data in presentation format, turned into wire format.
//!
//! The `domain` crate reads it, one record at a time: it opens no file, and what it does not know is
//! RFC 3597's. Nothing here knows what a record is for.

use std::panic::{AssertUnwindSafe, catch_unwind};

use domain::base::rdata::ComposeRecordData as _;
use domain::zonefile::inplace::{Entry, Zonefile};

use super::super::Fault;
use super::super::output::excerpt;
use crate::name::Name;
use crate::policy::data::DataRecord;

/// SOA, NS and DNAME speak of a zone; the others are of messages (RFC 6895, section 3.1).
const NO_DATA: [u16; 4] = [2, 6, 39, 41];

/// Reads `text`, the words behind a record's type; relative names in it are relative to `origin`.
pub(super) fn record(rtype: &str, text: &str, origin: &Name, ttl: u32) -> Result<DataRecord, Fault> {
    let dot = if origin.is_root() { "" } else { "." };
    let zone = format!("$ORIGIN {origin}{dot}\n. {ttl} IN {rtype} {text}\n");
    let mut zone = Zonefile::from(zone.as_bytes());
    // It panics at some misplaced parentheses, and one bad line must not cost a feed.
    let entry = catch_unwind(AssertUnwindSafe(|| zone.next_entry()));
    let Ok(Ok(Some(Entry::Record(record)))) = entry else {
        // It does not tell what is wrong by type: one of those that everybody knows is known.
        let known = zone_knows(rtype);
        let fault = if known { Fault::LocalData } else { Fault::DataType };
        return Err(fault(excerpt(rtype)));
    };
    let number = record.rtype().to_int();
    if NO_DATA.contains(&number) || matches!(number, 0 | 128..=255) {
        return Err(Fault::DataType(excerpt(rtype)));
    }
    let mut rdata = Vec::new();
    if record.data().compose_rdata(&mut rdata).is_err() || rdata.len() > usize::from(u16::MAX) {
        return Err(Fault::LocalData(excerpt(rtype)));
    }
    Ok(DataRecord { rtype: number, rdata: rdata.into(), ttl })
}

/// Whether a mnemonic is a type's.
fn zone_knows(rtype: &str) -> bool {
    rtype.parse::<domain::base::iana::Rtype>().is_ok()
}
