//! Exports: records as people and programs read them.
//!
//! Only forms; which records is the store's question.

pub mod csv;
pub mod jsonl;
pub mod table;

use jiff::Timestamp;

use super::record::Record;
use crate::{name, wire};

/// RFC 3339 in UTC with microseconds.
fn time_text(record: &Record<'_>) -> String {
    Timestamp::from_microsecond(record.time).map_or_else(|_| String::new(), |time| format!("{time:.6}"))
}

/// Presentation format; empty where the query could not be read.
fn qname_text(record: &Record<'_>) -> String {
    if record.qname.is_empty() { String::new() } else { name::Presentation(&record.qname).to_string() }
}

fn qtype_text(record: &Record<'_>) -> String {
    if record.qname.is_empty() { String::new() } else { wire::type_text(record.qtype).into_owned() }
}

/// Empty where no answer was sent.
fn rcode_text(record: &Record<'_>) -> String {
    record.rcode.map_or_else(String::new, |rcode| wire::rcode_text(rcode).into_owned())
}
