//! What was done with a query and by which rule, in the words of its record.
//!
//! Only the words: nothing is decided here.

use std::sync::Arc;

use crate::evidence::record::{self, Outcome};
use crate::policy::decide::Ruling;
use crate::policy::rule::Severity;
use crate::policy::trigger::Trigger;

/// What was done with a query and by which rule, for its record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Met<'a> {
    pub(super) outcome: Outcome,
    pub(super) is_hit: bool,
    pub(super) feed: Option<&'a Arc<str>>,
    pub(super) family: Option<&'a str>,
    pub(super) severity: Option<record::Severity>,
    pub(super) trigger: Option<record::Trigger>,
    /// The name or address that met the rule, where it is not the qname or the client.
    pub(super) matched: Option<&'a str>,
}

impl<'a> Met<'a> {
    pub(super) fn nothing(outcome: Outcome) -> Self {
        let (feed, family, severity, trigger, matched) = (None, None, None, None, None);
        Self { outcome, is_hit: false, feed, family, severity, trigger, matched }
    }

    pub(super) fn rule(outcome: Outcome, ruling: &Ruling<'a>) -> Self {
        let trigger = match ruling.rule.trigger {
            Trigger::ClientIp => record::Trigger::ClientIp,
            Trigger::Qname => record::Trigger::Qname,
            Trigger::Ip | Trigger::Address => record::Trigger::Ip,
            Trigger::Nsdname => record::Trigger::Nsdname,
            Trigger::Nsip => record::Trigger::Nsip,
        };
        let severity = ruling.rule.severity.map(|severity| match severity {
            Severity::Low => record::Severity::Low,
            Severity::Medium => record::Severity::Medium,
            Severity::High => record::Severity::High,
            Severity::Critical => record::Severity::Critical,
        });
        Self {
            outcome,
            is_hit: ruling.is_hit(),
            feed: Some(&ruling.feed.name),
            family: ruling.family,
            severity,
            trigger: Some(trigger),
            matched: None,
        }
    }

    /// A rule that would act.
    pub(super) fn shadow(ruling: &Ruling<'a>) -> Self {
        Self { is_hit: false, ..Self::rule(Outcome::Shadow, ruling) }
    }

    /// An answer that was cut or left out; where a rule was met, its outcome tells more.
    pub(super) fn limited(self) -> Self {
        let outcome = if self.outcome == Outcome::Forward { Outcome::Limited } else { self.outcome };
        Self { outcome, ..self }
    }
}
