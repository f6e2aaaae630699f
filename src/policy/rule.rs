//! Rules: a trigger's scope, an action and where both come from.

use std::sync::Arc;

use super::action::Action;
use super::trigger::Scope;

/// The place of a feed in configured order; the lower one wins.
pub type FeedIndex = u16;

/// One rule of a listed name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Which feed lists the name: an index into [`Provenance::feeds`].
    pub feed: FeedIndex,
    /// What around the listed name is covered.
    pub scope: Scope,
    /// What happens to the query.
    pub action: Action,
    /// Whether it does happen.
    pub mode: Mode,
    /// The malware family: an index into [`Provenance::families`].
    pub family: Option<u32>,
}

/// Whether a rule acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// It acts.
    Enforced,
    /// It only shows in the log what it would have done: a feed on trial.
    Shadow,
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
}

/// What a match says about the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedKind {
    /// The client asked for something malicious: a hit.
    Threat,
    /// Ordinary software asks for such names (canaries): no hit.
    Housekeeping,
}
