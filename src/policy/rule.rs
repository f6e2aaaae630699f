//! Rules: a trigger, an action and where both come from.

use std::net::IpAddr;
use std::sync::Arc;

use super::action::Action;
use super::trigger::{Scope, Trigger};

/// The place of a feed in configured order; the lower one wins.
pub type FeedIndex = u16;

/// One rule of a listed name or network.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Which feed lists it: an index into [`Provenance::feeds`].
    pub feed: FeedIndex,
    /// What of a query or its answer is looked at.
    pub trigger: Trigger,
    /// What around the listed name is covered; `Exact` for a network.
    pub scope: Scope,
    /// What happens to the query.
    pub action: Action,
    /// Whether it does happen.
    pub mode: Mode,
    /// The malware family: an index into [`Provenance::families`].
    pub family: Option<u32>,
    /// How bad it is, where somebody said.
    pub severity: Option<Severity>,
}

/// Whether a rule acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// It acts.
    Enforced,
    /// It only shows in the log what it would have done: a feed on trial.
    Shadow,
    /// It acts, but where the query is for a guarded name it is as in shadow: a bare address (see
    /// `super::guard`).
    Guarded,
}

/// How bad it is to meet what a rule lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// A nuisance: advertising, tracking.
    Low,
    /// Unwanted software, spam.
    Medium,
    /// Malware, phishing.
    High,
    /// An attack that is aimed, or under way.
    Critical,
}

/// The word names no severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a severity is one of low, medium, high and critical")]
pub struct SeverityError;

impl Severity {
    /// All of them, the least bad first.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];

    /// Its word in configuration, logs and exports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Severity {
    type Err = SeverityError;

    fn from_str(text: &str) -> Result<Self, SeverityError> {
        Self::ALL.into_iter().find(|severity| severity.as_str() == text).ok_or(SeverityError)
    }
}

/// The words behind a rule's numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provenance {
    /// Feeds in configured order.
    pub feeds: Vec<Feed>,
    /// Malware families, each once.
    pub families: Vec<Arc<str>>,
}

/// A source of rules as decisions and records name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// Its configured name.
    pub name: Arc<str>,
    /// What a match of one of its rules says about the client.
    pub kind: FeedKind,
    /// When its rules act on what would also resolve.
    pub timing: Timing,
    /// Whether they act on signed answers.
    pub signed: Signed,
    /// Where its sinkholed names lead; `None`: to the same addresses as everybody's.
    pub sinkhole: Option<Box<[IpAddr]>>,
}

impl Feed {
    /// A feed whose rules act at once, on signed answers too, and lead to the common sinkhole.
    pub fn new(name: Arc<str>, kind: FeedKind) -> Self {
        let (timing, signed) = (Timing::default(), Signed::default());
        Self { name, kind, timing, signed, sinkhole: None }
    }
}

/// When rules act that need no answer to be told: those on clients and qnames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Timing {
    /// At once: nobody is asked about the name.
    #[default]
    AtOnce,
    /// Once the name is resolved, so that its owners do not learn by their silence that it is listed (BIND's
    /// `qname-wait-recurse yes`).
    AfterResolving,
}

/// What rules do where a client that asks for DNSSEC records would get a signed answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Signed {
    /// They act all the same; a client that validates takes the answer for a forgery (`break-dnssec yes`).
    #[default]
    Rewritten,
    /// They only note that they would have acted.
    LeftAlone,
}

/// What a match says about the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedKind {
    /// The client asked for something malicious: a hit.
    Threat,
    /// Ordinary software asks for such names (canaries): no hit.
    Housekeeping,
}
