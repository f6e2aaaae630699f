//! Finding the line of a feed that a rule came from.
//!
//! For people's eyes: it reads the whole feed, and nothing that decides depends on it.

use std::fs::File;

use ipnet::IpNet;

use crate::feed::source::{FeedAction, Origin, Source};
use crate::feed::store::Store;
use crate::feed::{self, Diagnostic, Indicator, ReadError, Sink, Value};
use crate::name::Name;
use crate::policy::action::Action;
use crate::policy::rule::Rule;
use crate::policy::trigger::Trigger;

/// What a rule lists.
#[derive(Debug, Clone, Copy)]
pub enum Listed<'a> {
    /// A name.
    Name(&'a Name),
    /// An address or a network.
    Network(IpNet),
}

/// The first line of the feed's version in force from which the rule came that lists this; where there is none, of
/// its file.
///
/// # Errors
/// When it cannot be read.
pub fn line_of(
    versions: &Store,
    source: &Source,
    listed: Listed<'_>,
    rule: &Rule,
) -> Result<Option<u64>, ReadError> {
    struct Finder<'a> {
        listed: Listed<'a>,
        rule: &'a Rule,
        action: &'a FeedAction,
        line: Option<u64>,
    }
    impl Sink for Finder<'_> {
        fn indicator(&mut self, indicator: Indicator) {
            if self.line.is_some() {
                return;
            }
            let is_it = match (&indicator.value, indicator.trigger) {
                (Value::Name(name, scope), trigger) => {
                    trigger.unwrap_or(Trigger::Qname) == self.rule.trigger
                        && *scope == self.rule.scope
                        && matches!(self.listed, Listed::Name(listed) if name == listed)
                }
                (value, trigger) => {
                    let net = match value {
                        Value::Ip(address) => Some(IpNet::from(*address)),
                        Value::Net(net) => Some(*net),
                        Value::Name(..) | Value::Url(_) => None,
                    };
                    trigger.unwrap_or(Trigger::Address) == self.rule.trigger
                        && matches!(self.listed, Listed::Network(listed) if net == Some(listed))
                }
            };
            if is_it && is_part(&self.action.of(indicator.action).0, &self.rule.action) {
                self.line = Some(indicator.line);
            }
        }
        fn diagnostic(&mut self, _: Diagnostic) {}
    }
    let folder = versions.feed(&source.name);
    let accepted = folder.state().ok().and_then(|state| state.accepted_digest());
    let file = match (accepted.and_then(|digest| folder.open(digest).ok()), &source.origin) {
        (Some(file), _) => file,
        (None, Origin::File(path)) => {
            File::open(path).map_err(|source| ReadError::Io { after_line: 0, source })?
        }
        // The image is older than the store.
        (None, Origin::Fetched(_)) => return Ok(None),
    };
    let mut finder = Finder { listed, rule, action: &source.action, line: None };
    // The image may be older than an indicator's end.
    feed::parse(file, &source.reading(i64::MIN), &mut finder)?;
    Ok(finder.line)
}

/// Whether a line's action is the rule's, or one of the records that the rule has from several lines.
fn is_part(of_line: &Action, of_rule: &Action) -> bool {
    match (of_line, of_rule) {
        (Action::LocalData(_), Action::LocalData(_)) => true,
        (of_line, of_rule) => of_line == of_rule,
    }
}
