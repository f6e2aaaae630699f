//! What this server tells of itself, where its operator wants that: nothing by default.
//!
//! In class CH the names of RFC 4892 and their elder kin; the NSID option (RFC 5001) has the same text as `id.server`.

use crate::wire::{CLASS_CH, Query, option, rtype};

/// The texts; an empty one is not told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// For `version.bind` and `version.server`.
    pub version: Box<str>,
    /// For `id.server`, `hostname.bind` and NSID.
    pub id: Box<str>,
}

const VERSION: [&[u8]; 2] = [b"\x07version\x04bind\x00", b"\x07version\x06server\x00"];
const ID: [&[u8]; 2] = [b"\x02id\x06server\x00", b"\x08hostname\x04bind\x00"];

impl Identity {
    /// The text that a query asks for, if it is told.
    pub fn answer_to(&self, query: &Query<'_>) -> Option<&str> {
        if query.qclass() != CLASS_CH || !matches!(query.qtype(), rtype::TXT | rtype::ANY) {
            return None;
        }
        let is_one_of = |names: [&[u8]; 2]| names.iter().any(|name| name.eq_ignore_ascii_case(query.qname()));
        let text = if is_one_of(VERSION) {
            &*self.version
        } else if is_one_of(ID) {
            &*self.id
        } else {
            return None;
        };
        Some(text).filter(|text| !text.is_empty())
    }

    /// The text for the NSID option, where the query asks for it and it is told.
    pub fn nsid(&self, query: &Query<'_>) -> Option<&str> {
        (!self.id.is_empty() && query.has_option(option::NSID)).then_some(&self.id)
    }
}
