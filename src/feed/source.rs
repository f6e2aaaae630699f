//! Where a feed comes from, and what its indicators do.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use super::address::Addresses;
use super::{Columns, Format, Reading, Urls};
use crate::name::Name;
use crate::policy::action::{Action, ActionError};
use crate::policy::rule::Mode;

pub use crate::policy::rule::{Severity, Signed, Timing};

/// A configured feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its name in logs and decisions.
    pub name: Arc<str>,
    /// Where its versions come from.
    pub origin: Origin,
    /// How it is written.
    pub format: Format,
    /// Which columns of a table hold what.
    pub columns: Columns,
    /// What becomes of URLs.
    pub urls: Urls,
    /// The family of what brings none of its own.
    pub family: Option<Arc<str>>,
    /// The severity of what brings none of its own.
    pub severity: Option<Severity>,
    /// What its rules do.
    pub action: FeedAction,
    /// When those do it that need no answer to be told.
    pub timing: Timing,
    /// Whether they do it to signed answers.
    pub signed: Signed,
    /// What becomes of addresses that it lists as such.
    pub addresses: Addresses,
    /// Where its sinkholed names lead; `None`: where all others do.
    pub sinkhole: Option<Box<[IpAddr]>>,
    /// Whether its versions are judged before they are put in force.
    pub gate: Gating,
}

/// Where the versions of a feed come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A file that somebody else puts there.
    File(PathBuf),
    /// A publisher on the network, or bundles: versions are put into the store by whoever fetches them. Holds what is
    /// configured, for people.
    Fetched(String),
}

impl Origin {
    /// The file, where it is one.
    pub fn file(&self) -> Option<&std::path::Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Fetched(_) => None,
        }
    }

    /// The last part of it: maltrail's files are named for their family.
    pub fn file_name(&self) -> Option<std::borrow::Cow<'_, str>> {
        match self {
            Self::File(path) => path.file_name().map(std::ffi::OsStr::to_string_lossy),
            // What follows the path says which file is meant, not what it is called.
            Self::Fetched(url) => {
                let path = url.split(['?', '#']).next().unwrap_or_default();
                path.rsplit('/').next().filter(|name| !name.is_empty()).map(Into::into)
            }
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Fetched(url) => f.write_str(url),
        }
    }
}

/// Whether the versions of a feed are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gating {
    /// They are.
    Gated,
    /// They are taken as they come, whatever they list.
    AsItComes,
}

impl Source {
    /// A file as a feed, every setting at its default.
    pub fn new(name: &str, path: PathBuf) -> Self {
        Self {
            name: name.into(),
            origin: Origin::File(path),
            format: Format::default(),
            columns: Columns::default(),
            urls: Urls::default(),
            family: None,
            severity: None,
            action: FeedAction::default(),
            timing: Timing::default(),
            signed: Signed::default(),
            addresses: Addresses::default(),
            sinkhole: None,
            gate: Gating::Gated,
        }
    }

    /// How it is to be read at this time, in microseconds since 1970.
    pub fn reading(&self, now: i64) -> Reading {
        Reading {
            format: self.format,
            columns: self.columns.clone(),
            urls: self.urls,
            family: self.family.clone(),
            severity: self.severity,
            file: self.origin.file_name().map(Into::into),
            now,
        }
    }
}

/// What the rules of a feed do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedAction {
    /// What the feed itself says, line by line; sinkhole where it says nothing.
    Given,
    /// This, whatever the feed says; only its exceptions stay exceptions.
    Always(Action),
    /// As [`FeedAction::Given`], and it only shows in the log.
    Shadow,
}

impl FeedAction {
    /// Where all of its names lead, if that is one name.
    pub fn leads_to(&self) -> Option<&Name> {
        match self {
            Self::Always(Action::Cname(target)) => Some(target),
            _ => None,
        }
    }
}

impl Default for FeedAction {
    fn default() -> Self {
        Self::Always(Action::Sinkhole)
    }
}

impl FromStr for FeedAction {
    type Err = ActionError;

    /// Reads `given`, `shadow` or an action's spelling.
    fn from_str(text: &str) -> Result<Self, ActionError> {
        Ok(match text {
            "given" => Self::Given,
            "shadow" => Self::Shadow,
            other => Self::Always(other.parse()?),
        })
    }
}

impl std::fmt::Display for FeedAction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Given => f.write_str("given"),
            Self::Always(action) => action.fmt(f),
            Self::Shadow => f.write_str("shadow"),
        }
    }
}

impl FeedAction {
    /// What a rule does whose own line asks for `own`, and whether it does.
    ///
    /// An override never turns an exception of the feed's author into a block.
    pub fn of(&self, own: Option<Action>) -> (Action, Mode) {
        let mode = if *self == Self::Shadow { Mode::Shadow } else { Mode::Enforced };
        let action = match (self, own) {
            (Self::Given | Self::Shadow, own) => own.unwrap_or(Action::Sinkhole),
            (Self::Always(_), Some(Action::Passthru)) => Action::Passthru,
            (Self::Always(action), _) => action.clone(),
        };
        (action, mode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_stay_exceptions() {
        let check = |configured: &str, own: Option<Action>, expected: Action, mode: Mode| {
            let action: FeedAction = configured.parse().unwrap();
            assert_eq!(action.to_string(), configured);
            assert_eq!(action.of(own.clone()), (expected, mode), "{configured} {own:?}");
        };
        check("sinkhole", None, Action::Sinkhole, Mode::Enforced);
        check("sinkhole", Some(Action::Nxdomain), Action::Sinkhole, Mode::Enforced);
        check("sinkhole", Some(Action::Passthru), Action::Passthru, Mode::Enforced);
        check("given", None, Action::Sinkhole, Mode::Enforced);
        check("given", Some(Action::Nxdomain), Action::Nxdomain, Mode::Enforced);
        check("given", Some(Action::Passthru), Action::Passthru, Mode::Enforced);
        check("shadow", Some(Action::Nxdomain), Action::Nxdomain, Mode::Shadow);
        check("shadow", Some(Action::Passthru), Action::Passthru, Mode::Shadow);
        check("shadow", None, Action::Sinkhole, Mode::Shadow);
        check("passthru", None, Action::Passthru, Mode::Enforced);
    }
}
