//! What the formats' readers write to: the sink, with the line they are on.
//!
//! Knows no format. Families are interned here, excerpts are made safe to print here.

use std::collections::HashSet;
use std::sync::Arc;

use crate::policy::action::Action;
use crate::policy::rule::Severity;
use crate::policy::trigger::Trigger;

use super::{Columns, Diagnostic, Fault, Indicator, Reading, Sink, Urls, Value, token};

/// How much of a line a diagnostic repeats, in characters.
const MAX_EXCERPT: usize = 80;
/// Families kept for sharing. The largest public list knows some 2,500; a hostile one that invents
/// more only loses the sharing.
const MAX_FAMILIES: usize = 65_536;

/// What a format knows of an indicator beside what is listed.
#[derive(Debug, Clone, Default)]
pub(super) struct Traits {
    pub(super) family: Option<Arc<str>>,
    pub(super) severity: Option<Severity>,
    /// In microseconds since 1970.
    pub(super) expires: Option<i64>,
}

/// The sink, and the line that is being read.
pub(super) struct Output<'a> {
    reading: &'a Reading,
    sink: &'a mut dyn Sink,
    /// The current line, from 1.
    pub(super) line: u64,
    families: HashSet<Arc<str>>,
    last_family: Option<Arc<str>>,
}

impl<'a> Output<'a> {
    pub(super) fn new(reading: &'a Reading, sink: &'a mut dyn Sink) -> Self {
        Self { reading, sink, line: 0, families: HashSet::new(), last_family: None }
    }

    /// Which columns of a table the configuration names.
    pub(super) fn columns(&self) -> &'a Columns {
        &self.reading.columns
    }

    /// The time at which the feed is read, in microseconds since 1970.
    pub(super) fn now(&self) -> i64 {
        self.reading.now
    }

    /// Hands on an indicator of the current line.
    pub(super) fn indicator(&mut self, value: Value, traits: Traits, action: Option<Action>) {
        self.hand_on(value, traits, None, action);
    }

    /// Hands on a rule of an RPZ.
    pub(super) fn rule(&mut self, value: Value, trigger: Trigger, action: Action) {
        self.hand_on(value, Traits::default(), Some(trigger), Some(action));
    }

    /// Hands on a name that is looked for among the name servers of what is asked.
    pub(super) fn server(&mut self, value: Value, traits: Traits) {
        self.hand_on(value, traits, Some(Trigger::Nsdname), None);
    }

    fn hand_on(&mut self, value: Value, traits: Traits, trigger: Option<Trigger>, action: Option<Action>) {
        let Reading { family, severity, urls, now, .. } = self.reading;
        let Traits { family: own, severity: own_severity, expires } = traits;
        if expires.is_some_and(|end| end <= *now) {
            return self.fault(Fault::Expired, &value.to_string());
        }
        let value = match &value {
            Value::Url(url) if *urls == Urls::Host => token::host(url).unwrap_or(value),
            _ => value,
        };
        let (line, family, severity) =
            (self.line, own.or_else(|| family.clone()), own_severity.or(*severity));
        self.sink.indicator(Indicator { value, line, family, severity, expires, trigger, action });
    }

    /// Hands on why `text`, on the current line, gives no indicator.
    pub(super) fn fault(&mut self, fault: Fault, text: &str) {
        self.sink.diagnostic(Diagnostic { line: self.line, fault, text: excerpt(text) });
    }

    /// Hands on what `read` made of `text`.
    pub(super) fn result(&mut self, read: Result<Value, Fault>, action: Option<Action>, text: &str) {
        match read {
            Ok(value) => self.indicator(value, Traits::default(), action),
            Err(fault) => self.fault(fault, text),
        }
    }

    /// The one shared copy of a family's name.
    pub(super) fn family(&mut self, text: &str) -> Arc<str> {
        // Lists are mostly sorted by family: the last one is the next one.
        if let Some(last) = self.last_family.as_ref().filter(|last| last.as_ref() == text) {
            return Arc::clone(last);
        }
        let family = match self.families.get(text) {
            Some(family) => Arc::clone(family),
            None => {
                let family = Arc::from(text);
                if self.families.len() < MAX_FAMILIES {
                    self.families.insert(Arc::clone(&family));
                }
                family
            }
        };
        self.last_family = Some(Arc::clone(&family));
        family
    }
}

/// The start of `text`, in one line of at most 80 characters that a terminal shows as they are.
pub(super) fn excerpt(text: &str) -> String {
    let text = text.trim();
    let mut excerpt = String::new();
    let mut len = 0;
    for char in text.chars() {
        // Quotes and backslashes are kept: they are harmless and names are full of escapes.
        let is_plain = matches!(char, ' '..='~' | char::REPLACEMENT_CHARACTER);
        let shown = char.escape_debug();
        let width = if is_plain { 1 } else { shown.clone().count() };
        if len + width > MAX_EXCERPT {
            // Room for the mark: a cut inside the last escape would only puzzle.
            while len + 1 > MAX_EXCERPT {
                excerpt.pop();
                len -= 1;
            }
            excerpt.push('…');
            break;
        }
        if is_plain {
            excerpt.push(char);
        } else {
            excerpt.extend(shown);
        }
        len += width;
    }
    excerpt
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::Parsed;

    #[test]
    fn excerpts_are_short_and_safe_to_print() {
        fn check(text: &str, expected: &str) {
            assert_eq!(excerpt(text), expected, "{text:?}");
        }
        check(" evil.example\t", "evil.example");
        check("a\tb\u{1b}[31m\0", r"a\tb\u{1b}[31m\0");
        check("sạch\u{202e}.vn", r"sạch\u{202e}.vn");
        check(r#"\"'"#, r#"\"'"#);
        check(&"a".repeat(80), &"a".repeat(80));
        check(&"a".repeat(81), &format!("{}…", "a".repeat(79)));
        check(&"\0".repeat(50), &format!("{}\\…", r"\0".repeat(39)));
    }

    #[test]
    fn equal_families_are_one_allocation() {
        let mut parsed = Parsed::default();
        let reading = Reading::default();
        let mut out = Output::new(&reading, &mut parsed);
        let first = out.family("emotet");
        let other = out.family("qakbot");
        assert!(Arc::ptr_eq(&first, &out.family("emotet")));
        assert!(Arc::ptr_eq(&other, &out.family("qakbot")));
    }
}
