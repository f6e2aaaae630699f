//! Plain lists: one token a line, perhaps a malware family behind a TAB.
//!
//! ```text
//! # comment            ; comment            ! comment            // comment
//! evil.example
//! *.evil.example # a comment behind a blank
//! evil.example<TAB>emotet
//! 192.0.2.0/24;and a comment that needs no blank
//! http://evil.example/path;a=1#all-of-this-is-the-url
//! ```
//!
//! What a token is, is `token`'s to say.

use super::output::{Output, Traits};
use super::{Fault, Value, is_family, token};

pub(super) fn read_line(line: &str, out: &mut Output<'_>) {
    let item = split(without_comment(line)).and_then(|item| match item {
        None => Ok(None),
        Some((item, family)) => token::read(item).map(|value| Some((value, family))),
    });
    match item {
        Ok(None) => {}
        Ok(Some((value, family))) => {
            let family = family.map(|family| out.family(family));
            out.indicator(value, Traits { family, ..Traits::default() }, None);
        }
        Err(fault) => out.fault(fault, line),
    }
}

/// The item of a line without its comment, and its family; `None` where there is nothing.
pub(super) fn split(text: &str) -> Result<Option<(&str, Option<&str>)>, Fault> {
    let mut columns = text.split('\t').map(str::trim).filter(|column| !column.is_empty());
    let Some(item) = columns.next() else { return Ok(None) };
    let family = columns.next();
    if columns.next().is_some() || item.contains(' ') {
        return Err(Fault::Columns);
    }
    // Counts (how many lists agree) stand in the same place in lists of addresses.
    let family = family.filter(|family| !family.bytes().all(|byte| byte.is_ascii_digit()));
    if family.is_some_and(|family| !is_family(family)) {
        return Err(Fault::Family);
    }
    Ok(Some((item, family)))
}

/// The line up to its comment, trimmed; empty when there is nothing else.
pub(super) fn without_comment(line: &str) -> &str {
    let text = line.trim();
    if text.starts_with(['#', ';', '!']) || text.starts_with("//") {
        return "";
    }
    let mut is_url = false;
    let mut is_after_blank = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            // In a URL both are part of the path unless a blank stands before them.
            b'#' | b';' if is_after_blank || !is_url || is_network(&text[..at]) => {
                return text[..at].trim_end();
            }
            b'/' if is_after_blank && text[at..].starts_with("//") => return text[..at].trim_end(),
            b'/' => is_url = true,
            _ => {}
        }
        is_after_blank = matches!(byte, b' ' | b'\t');
    }
    text
}

/// Whether the slash that was seen divides an address from its prefix length.
fn is_network(text: &str) -> bool {
    text.split_once('/').is_some_and(|(host, _)| token::address(host).is_some())
        && !matches!(token::read(text), Ok(Value::Url(_)))
}

#[cfg(test)]
mod tests {
    use crate::feed::tests::check;
    use crate::feed::{Fault, Format};
    use crate::name::NameError;

    #[test]
    fn lines() {
        let check = |text: &str, expected: &[&str]| check(Format::Plain, text, expected);
        check("", &[]);
        check("\n \t\n# a.example\n; a.example\n! a.example\n// a.example\n", &[]);
        check("evil.example", &["1 name evil.example subtree"]);
        check("a.example\r\nb.example\r\n", &["1 name a.example subtree", "2 name b.example subtree"]);
        check("\u{feff}evil.example\n", &["1 name evil.example subtree"]);
        check("  evil.example  ", &["1 name evil.example subtree"]);
        check("evil.example # why", &["1 name evil.example subtree"]);
        check("evil.example\t#why", &["1 name evil.example subtree"]);
        check("evil.example#why", &["1 name evil.example subtree"]);
        check("evil.example;why", &["1 name evil.example subtree"]);
        check("evil.example // why", &["1 name evil.example subtree"]);
        check("http://evil.example/#a;b", &["1 url http://evil.example/#a;b"]);
        check("http://evil.example/#a # why", &["1 url http://evil.example/#a"]);
        check("192.0.2.0/24;SBL1", &["1 net 192.0.2.0/24"]);
        check("192.0.2.0/24 ; SBL1", &["1 net 192.0.2.0/24"]);
    }

    #[test]
    fn families() {
        let check = |text: &str, expected: &[&str]| check(Format::Plain, text, expected);
        check("evil.example\temotet", &["1 name evil.example subtree family=emotet"]);
        check("evil.example\tCobalt Strike # c2", &["1 name evil.example subtree family=Cobalt Strike"]);
        check("evil.example\t\t\temotet\t", &["1 name evil.example subtree family=emotet"]);
        check("1.2.3.4\t10", &["1 ip 1.2.3.4"]);
        check("evil.example\ta\u{7}b", &["1! Family"]);
        check("evil.example\ta\tb", &["1! Columns"]);
        check("evil.example other.example", &["1! Columns"]);
        check("0.0.0.0 evil.example", &["1! Columns"]);
    }

    #[test]
    fn a_bad_line_costs_only_itself() {
        check(
            Format::Plain,
            "com\na.example\n||b.example^\nc.example",
            &[
                "1! SingleLabel",
                "2 name a.example subtree",
                &format!("3! {:?}", Fault::Name(NameError::Character('|'))),
                "4 name c.example subtree",
            ],
        );
    }
}
