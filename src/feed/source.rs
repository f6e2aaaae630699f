//! Where a feed comes from, and what its indicators do.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use super::Format;
use crate::policy::action::{Action, ActionError};

/// A configured feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its name in logs and decisions.
    pub name: Arc<str>,
    /// The file.
    pub path: PathBuf,
    /// How it is written.
    pub format: Format,
    /// What its rules do.
    pub action: FeedAction,
}

/// What the rules of a feed do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedAction {
    /// What the feed itself says, line by line; sinkhole where it says nothing.
    Given,
    /// This, whatever the feed says; only its exceptions stay exceptions.
    Always(Action),
}

impl Default for FeedAction {
    fn default() -> Self {
        Self::Always(Action::Sinkhole)
    }
}

impl FromStr for FeedAction {
    type Err = ActionError;

    /// Reads `given` or an action's spelling.
    fn from_str(text: &str) -> Result<Self, ActionError> {
        if text == "given" { Ok(Self::Given) } else { text.parse().map(Self::Always) }
    }
}

impl std::fmt::Display for FeedAction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Given => f.write_str("given"),
            Self::Always(action) => action.fmt(f),
        }
    }
}

impl FeedAction {
    /// What a rule does whose own line asks for `own`; `None`: there is no rule.
    ///
    /// An override never turns an exception of the feed's author into a block. A feed in shadow
    /// changes nothing, so neither do its exceptions.
    pub fn of(&self, own: Option<Action>) -> Option<Action> {
        match (self, own) {
            (Self::Given, own) => Some(own.unwrap_or(Action::Sinkhole)),
            (Self::Always(Action::Shadow), Some(Action::Passthru)) => None,
            (Self::Always(_), Some(Action::Passthru)) => Some(Action::Passthru),
            (Self::Always(action), _) => Some(action.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_stay_exceptions() {
        let check = |configured: &str, own: Option<Action>, expected: Option<Action>| {
            assert_eq!(
                configured.parse::<FeedAction>().unwrap().of(own.clone()),
                expected,
                "{configured} {own:?}"
            );
        };
        check("sinkhole", None, Some(Action::Sinkhole));
        check("sinkhole", Some(Action::Nxdomain), Some(Action::Sinkhole));
        check("sinkhole", Some(Action::Passthru), Some(Action::Passthru));
        check("given", None, Some(Action::Sinkhole));
        check("given", Some(Action::Nxdomain), Some(Action::Nxdomain));
        check("given", Some(Action::Passthru), Some(Action::Passthru));
        check("shadow", Some(Action::Nxdomain), Some(Action::Shadow));
        check("shadow", Some(Action::Passthru), None);
        check("passthru", None, Some(Action::Passthru));
    }
}
