//! Unbound's configuration: `local-zone` and `local-data` (unbound.conf(5)).
//!
//! ```text
//! local-zone: "evil.example" always_nxdomain     listed, with all below; so with each type that refuses
//! local-zone: "evil.example" redirect            the same, whatever local-data it leads to
//! local-data: "evil.example A 0.0.0.0"           listed, without what is below; nothing new within a zone
//! local-zone: "good.example" always_transparent  exception
//! ```
//!
//! Types that refuse nothing by themselves (`transparent`, `nodefault`, …) list nothing and are reported,
//! like every other option: a whole configuration given by mistake shows.

use crate::name::Name;
use crate::policy::action::Action;
use crate::policy::trigger::Scope;

use super::output::{Output, Traits, excerpt};
use super::{Fault, Grammar, Value, token};

/// Types of zones that keep all of their names from being resolved.
const REFUSING: [&str; 12] = [
    "always_nxdomain",
    "always_null",
    "always_nodata",
    "always_refuse",
    "always_deny",
    "static",
    "refuse",
    "deny",
    "redirect",
    "inform_deny",
    "inform_redirect",
    "block_a",
];
/// Clauses that only say what the options below them belong to.
const CLAUSES: [&str; 2] = ["server", "view"];

/// Reads `unbound.conf`.
#[derive(Default)]
pub(super) struct Reader {
    /// The zone that local data fill: they are no news.
    zone: Option<Name>,
}

impl Grammar for Reader {
    fn line(&mut self, line: &str, out: &mut Output<'_>) {
        let text = without_comment(line).trim();
        if text.is_empty() {
            return;
        }
        let Some((option, value)) = text.split_once(':') else { return out.fault(Fault::Syntax, line) };
        let value = value.trim();
        match option.trim_end() {
            "local-zone" => self.zone(value, line, out),
            "local-data" => self.data(value, line, out),
            clause if CLAUSES.contains(&clause) && value.is_empty() => {}
            option => out.fault(Fault::Setting(excerpt(option)), line),
        }
    }
}

impl Reader {
    fn zone(&mut self, value: &str, line: &str, out: &mut Output<'_>) {
        self.zone = None;
        let (name, rest) = word(value);
        let (kind, rest) = word(rest);
        if !rest.is_empty() || kind.is_empty() {
            return out.fault(Fault::Syntax, line);
        }
        let action = if REFUSING.contains(&kind) {
            None
        } else if kind == "always_transparent" {
            Some(Action::Passthru)
        } else {
            return out.fault(Fault::ZoneType(excerpt(kind)), line);
        };
        match read_name(name) {
            Ok(name) => {
                self.zone = Some(name.clone());
                out.indicator(Value::Name(name, Scope::Subtree), Traits::default(), action);
            }
            Err(fault) => out.fault(fault, line),
        }
    }

    fn data(&mut self, value: &str, line: &str, out: &mut Output<'_>) {
        let (record, rest) = word(value);
        // Without quotes the record is all that follows.
        let record = if rest.is_empty() { record } else { value };
        let mut words = record.split_ascii_whitespace();
        let name = match words.next().map(read_name) {
            None => return out.fault(Fault::Record, line),
            Some(Err(fault)) => return out.fault(fault, line),
            Some(Ok(name)) => name,
        };
        if self.zone.as_ref().is_some_and(|zone| name.is_within(zone)) {
            return;
        }
        let is_left_out =
            |word: &&str| word.eq_ignore_ascii_case("IN") || word.bytes().all(|byte| byte.is_ascii_digit());
        let mut words = words.skip_while(is_left_out);
        let rtype = words.next().unwrap_or_default();
        let data = words.next();
        let is_of = |name: &str| rtype.eq_ignore_ascii_case(name);
        if data.is_none() {
            out.fault(Fault::Record, line);
        } else if is_of("A") || is_of("AAAA") || is_of("CNAME") {
            out.indicator(Value::Name(name, Scope::Exact), Traits::default(), None);
        } else {
            out.fault(Fault::DataType(excerpt(rtype)), line);
        }
    }
}

fn read_name(text: &str) -> Result<Name, Fault> {
    match text {
        "." => Err(Fault::Everything),
        _ if token::address(text).is_some() => Err(Fault::AddressAsName),
        _ => token::name(text),
    }
}

/// The first word, without its quotes, and what follows it.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    for quote in ['"', '\''] {
        if let Some((word, rest)) = text.strip_prefix(quote).and_then(|rest| rest.split_once(quote)) {
            return (word, rest.trim());
        }
    }
    text.split_once([' ', '\t']).map_or((text, ""), |(word, rest)| (word, rest.trim()))
}

/// The line up to a `#` that no quotes hold.
fn without_comment(line: &str) -> &str {
    let mut quote = None;
    for (at, byte) in line.bytes().enumerate() {
        match (byte, quote) {
            (b'#', None) => return &line[..at],
            (b'"' | b'\'', None) => quote = Some(byte),
            (byte, Some(open)) if byte == open => quote = None,
            _ => {}
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use crate::feed::Format;
    use crate::feed::tests::check;

    #[test]
    fn zones() {
        let check = |text: &str, expected: &[&str]| check(Format::Unbound, text, expected);
        check("# why\nserver:\n\n", &[]);
        check(r#"local-zone: "Evil.example" always_nxdomain"#, &["1 name evil.example subtree"]);
        check(r#"  local-zone: "evil.example." static # why"#, &["1 name evil.example subtree"]);
        check("local-zone: 'evil.example' refuse", &["1 name evil.example subtree"]);
        check("local-zone: evil.example always_null", &["1 name evil.example subtree"]);
        check(r#"local-zone:"sạch.vn" deny"#, &["1 name xn--sch-sgz.vn subtree"]);
        check(
            r#"local-zone: "good.example" always_transparent"#,
            &["1 name good.example subtree action=passthru"],
        );
    }

    #[test]
    fn data() {
        let check = |text: &str, expected: &[&str]| check(Format::Unbound, text, expected);
        check(r#"local-data: "evil.example A 0.0.0.0""#, &["1 name evil.example exact"]);
        check(r#"local-data: 'evil.example. 60 IN AAAA ::'"#, &["1 name evil.example exact"]);
        check("local-data: evil.example CNAME walled.example", &["1 name evil.example exact"]);
        check(
            "local-zone: \"evil.example\" redirect\nlocal-data: \"evil.example A 10.0.0.1\"\n\
             local-data: \"other.example A 10.0.0.1\"",
            &["1 name evil.example subtree", "3 name other.example exact"],
        );
    }

    #[test]
    fn faults() {
        let check = |text: &str, expected: &[&str]| check(Format::Unbound, text, expected);
        check(r#"local-zone: "evil.example" transparent"#, &["1! ZoneType(\"transparent\")"]);
        check(r#"local-zone: "evil.example""#, &["1! Syntax"]);
        check(r#"local-zone: "." refuse"#, &["1! Everything"]);
        check(r#"local-zone: "com" refuse"#, &["1! SingleLabel"]);
        check(r#"local-zone: "1.2.3.4" refuse"#, &["1! AddressAsName"]);
        check(r#"local-data: "evil.example TXT x""#, &["1! DataType(\"TXT\")"]);
        check(r#"local-data: "evil.example A""#, &["1! Record"]);
        check(r#"local-data: """#, &["1! Record"]);
        check("interface: 127.0.0.1", &["1! Setting(\"interface\")"]);
        check("evil.example", &["1! Syntax"]);
    }
}
