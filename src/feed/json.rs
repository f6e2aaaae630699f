//! The JSON form of an indicator, one object a line, as `feed parse --json` prints it.
//!
//! The only place of the feeds that knows serde; the core types do not follow this form.
//!
//! ```text
//! {"kind":"name","value":"evil.example","match":"subtree","trigger":null,"family":"emotet","severity":"high",
//!  "expires":"2026-12-01T00:00:00Z","severity":null,"expires":null,"action":null,"line":7}
//! ```

use std::io::{self, Write};

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::{Indicator, Value};
use crate::policy::action::Action;
use crate::policy::rule::Severity;
use crate::policy::trigger::{Scope, Trigger};

/// Writes one indicator and the end of its line.
///
/// `kind` is `name`, `ip`, `net` or `url`; `match` is `exact`, `subtree` or `below` for a name and
/// null for the rest; `trigger` is `client-ip`, `qname`, `ip`, `nsdname` or `nsip` in an RPZ and null in a list;
/// `family`, `severity`, `expires` (RFC 3339) and `action` are null where the feed has none.
///
/// # Errors
/// Those of `out`.
pub fn write_line(out: &mut impl Write, indicator: &Indicator) -> io::Result<()> {
    let (kind, value, scope): (_, &dyn std::fmt::Display, _) = match &indicator.value {
        Value::Name(name, scope) => ("name", name, Some(scope)),
        Value::Ip(address) => ("ip", address, None),
        Value::Net(network) => ("net", network, None),
        Value::Url(url) => ("url", url, None),
    };
    let expires = indicator.expires.and_then(|end| Timestamp::from_microsecond(end).ok());
    let line = Line {
        kind,
        value: Shown(value),
        scope: scope.map(|scope: &Scope| Shown(scope)),
        trigger: indicator.trigger.map(Trigger::as_str),
        family: indicator.family.as_deref(),
        severity: indicator.severity.map(Severity::as_str),
        expires: expires.as_ref().map(|expires| Shown(expires)),
        action: indicator.action.as_ref().map(|action: &Action| Shown(action)),
        line: indicator.line,
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}

#[derive(Serialize)]
struct Line<'a> {
    kind: &'static str,
    value: Shown<'a>,
    #[serde(rename = "match")]
    scope: Option<Shown<'a>>,
    trigger: Option<&'static str>,
    family: Option<&'a str>,
    severity: Option<&'static str>,
    expires: Option<Shown<'a>>,
    action: Option<Shown<'a>>,
    line: u64,
}

struct Shown<'a>(&'a dyn std::fmt::Display);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use crate::feed::tests::as_is;
    use crate::feed::{Format, Parsed, parse};

    #[test]
    fn one_object_a_line() {
        fn check(feed: &str, format: Format, expected: &str) {
            let mut parsed = Parsed::default();
            parse(feed.as_bytes(), &as_is(format), &mut parsed).unwrap();
            let mut out = Vec::new();
            super::write_line(&mut out, &parsed.indicators[0]).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), format!("{expected}\n"), "{feed:?}");
        }
        check(
            "\nSẠCH.vn\temotet",
            Format::Plain,
            r#"{"kind":"name","value":"xn--sch-sgz.vn","match":"subtree","trigger":null,"family":"emotet","severity":null,"expires":null,"action":null,"line":2}"#,
        );
        check(
            "*.evil.example CNAME walled.example.",
            Format::Rpz,
            r#"{"kind":"name","value":"evil.example","match":"below","trigger":"qname","family":null,"severity":null,"expires":null,"action":"cname:walled.example.","line":1}"#,
        );
        check(
            "2001:DB8::/32",
            Format::Plain,
            r#"{"kind":"net","value":"2001:db8::/32","match":null,"trigger":null,"family":null,"severity":null,"expires":null,"action":null,"line":1}"#,
        );
        check(
            r#"http://h.example/?q="x""#,
            Format::Plain,
            r#"{"kind":"url","value":"http://h.example/?q=\"x\"","match":null,"trigger":null,"family":null,"severity":null,"expires":null,"action":null,"line":1}"#,
        );
    }
}
