//! Feeds: bytes in, indicators and diagnostics out.
//!
//! One file a format. A line that cannot be read is a [`Diagnostic`] and never ends a feed; nothing
//! here decides what an indicator does to a query.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::name::{Name, NameError};
use crate::policy::action::Action;
use crate::policy::trigger::Scope;

/// Something malicious that a feed lists, with where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Indicator {
    /// What is listed.
    pub value: Value,
    /// The line it stands on, from 1.
    pub line: u64,
    /// The malware family, where the format has one.
    pub family: Option<Arc<str>>,
    /// What the feed itself asks for (an RPZ's CNAME, an Adblock exception); `None` leaves it to
    /// the feed's configured action.
    pub action: Option<Action>,
}

/// What an indicator lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A domain name and how much around it is meant.
    Name(Name, Scope),
    /// One address.
    Ip(IpAddr),
    /// A network, without host bits.
    Net(IpNet),
    /// A URL or a host with a path, as written: it says nothing about the whole host.
    Url(String),
}

/// A line that gave no indicator, though it is neither blank nor a comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub fault: Fault,
    /// The start of the offending text, control characters escaped, at most 80 characters.
    pub text: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.line, self.fault, self.text)
    }
}

/// Why a line gave no indicator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A name was expected.
    #[error("not a domain name ({0})")]
    Name(#[from] NameError),
}
