//! STIX patterns (STIX 2.1, section 9): which names, addresses and URLs one speaks of.
//!
//! ```text
//! [domain-name:value = 'evil.example' OR url:value = 'http://evil.example/a']      both are listed
//! [ipv4-addr:value IN ('192.0.2.1', '192.0.2.2')]                                  both
//! [domain-name:value = 'a.example'] FOLLOWEDBY [domain-name:value = 'b.example']   both
//! [domain-name:value LIKE '%.evil.example']                                        what is below the name
//! [ipv4-addr:value = '192.0.2.1' AND network-traffic:dst_port = 443]               the address
//! [domain-name:value = 'cdn.example' AND file:name = 'a.exe']                      nothing: the name alone is harmless
//! ```
//!
//! What is joined by AND or FOLLOWEDBY is malicious together. Where all of it are names, addresses and what only
//! describes them, each is listed, as producers mean it; where a file, a URL or a negation is part of it, the names and
//! addresses are narrowed to what DNS cannot see, and are faults. Each test that lists nothing is a fault of its own.

use super::output::excerpt;
use super::{Fault, Value, token};
use crate::policy::trigger::Scope;

/// How deep parentheses may lie in each other.
const MAX_DEPTH: usize = 32;
/// Tests of one pattern.
const MAX_TESTS: usize = 10_000;

/// Something that a pattern speaks of, or why it cannot be listed, each with its text.
pub(super) type Found = (Result<Value, Fault>, String);

/// Reads a pattern.
///
/// # Errors
/// [`Fault::PatternSyntax`], and nothing of the pattern counts.
pub(super) fn read(pattern: &str) -> Result<Vec<Found>, Fault> {
    let mut parser = Parser { rest: pattern, tests: 0 };
    let finding = parser.observations(0)?;
    if parser.word().is_some() {
        return Err(Fault::PatternSyntax);
    }
    Ok(finding.found)
}

/// What a part of a pattern speaks of.
#[derive(Default)]
struct Finding {
    found: Vec<Found>,
    /// Whether it asks for something that DNS does not show, so that what it is joined with is narrowed.
    is_narrow: bool,
}

impl Finding {
    fn one(value: Result<Value, Fault>, text: &str) -> Self {
        let is_narrow = !matches!(value, Ok(Value::Name(..) | Value::Ip(_) | Value::Net(_)));
        Self { found: vec![(value, text.to_owned())], is_narrow }
    }

    fn or(mut self, other: Self) -> Self {
        self.found.extend(other.found);
        self.is_narrow |= other.is_narrow;
        self
    }

    fn and(self, other: Self) -> Self {
        let mut both = self.or(other);
        if both.is_narrow {
            for (value, _) in &mut both.found {
                if matches!(value, Ok(Value::Name(..) | Value::Ip(_) | Value::Net(_))) {
                    *value = Err(Fault::Narrowed);
                }
            }
        }
        both
    }
}

struct Parser<'a> {
    rest: &'a str,
    tests: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word<'a> {
    Mark(char),
    Operator(&'a str),
    /// A keyword, a path or a number.
    Bare(&'a str),
    /// A string without its quotes, escapes as written.
    Text(&'a str),
}

impl<'a> Parser<'a> {
    /// `[…] AND (…) FOLLOWEDBY […] WITHIN 5 SECONDS`
    fn observations(&mut self, depth: usize) -> Result<Finding, Fault> {
        let mut finding = self.observation(depth)?;
        loop {
            let is_or = match self.peek() {
                Some(Word::Bare("OR")) => true,
                Some(Word::Bare("AND" | "FOLLOWEDBY")) => false,
                _ => return Ok(finding),
            };
            self.word();
            let next = self.observation(depth)?;
            finding = if is_or { finding.or(next) } else { finding.and(next) };
        }
    }

    fn observation(&mut self, depth: usize) -> Result<Finding, Fault> {
        let finding = match self.word() {
            Some(Word::Mark('[')) => self.comparisons(0).and_then(|finding| self.closed(']', finding))?,
            Some(Word::Mark('(')) if depth < MAX_DEPTH => {
                self.observations(depth + 1).and_then(|finding| self.closed(')', finding))?
            }
            _ => return Err(Fault::PatternSyntax),
        };
        loop {
            // How often and how soon does not change what is seen.
            let words = match self.peek() {
                Some(Word::Bare("WITHIN" | "REPEATS")) => 3,
                Some(Word::Bare("START")) => 4,
                _ => return Ok(finding),
            };
            for _ in 0..words {
                self.word().ok_or(Fault::PatternSyntax)?;
                // `t'2026-…'` is two words here.
                if self.rest.starts_with('\'') {
                    self.word();
                }
            }
        }
    }

    /// `a = 'x' AND b = 'y' OR c = 'z'`; AND binds closer.
    fn comparisons(&mut self, depth: usize) -> Result<Finding, Fault> {
        let mut finding = self.conjunction(depth)?;
        while self.peek() == Some(Word::Bare("OR")) {
            self.word();
            finding = finding.or(self.conjunction(depth)?);
        }
        Ok(finding)
    }

    fn conjunction(&mut self, depth: usize) -> Result<Finding, Fault> {
        let mut finding = self.comparison(depth)?;
        while self.peek() == Some(Word::Bare("AND")) {
            self.word();
            finding = finding.and(self.comparison(depth)?);
        }
        Ok(finding)
    }

    fn comparison(&mut self, depth: usize) -> Result<Finding, Fault> {
        match self.word() {
            Some(Word::Mark('(')) if depth < MAX_DEPTH => {
                self.comparisons(depth + 1).and_then(|finding| self.closed(')', finding))
            }
            Some(Word::Bare("EXISTS")) => {
                let Some(Word::Bare(path)) = self.word() else { return Err(Fault::PatternSyntax) };
                Ok(Finding::one(Err(unseen(path)), path))
            }
            Some(Word::Bare(path)) if path.contains(':') => self.test(path),
            _ => Err(Fault::PatternSyntax),
        }
    }

    /// `= 'x'`, `IN ('x', 'y')`, `NOT LIKE 'x'`
    fn test(&mut self, path: &str) -> Result<Finding, Fault> {
        self.tests += 1;
        if self.tests > MAX_TESTS {
            return Err(Fault::PatternSyntax);
        }
        let mut is_negated = self.peek() == Some(Word::Bare("NOT"));
        if is_negated {
            self.word();
        }
        let Some(Word::Operator(operator) | Word::Bare(operator)) = self.word() else {
            return Err(Fault::PatternSyntax);
        };
        is_negated |= matches!(operator, "!=" | "<>");
        let literals = self.literals()?;
        let Some(subject) = Subject::of(path) else {
            // A port, a protocol: what only describes the rest.
            if path.starts_with("network-traffic:") || path.ends_with("_refs[*].type") {
                return Ok(Finding::default());
            }
            return Ok(Finding::one(Err(unseen(path)), path));
        };
        let mut finding = Finding::default();
        for literal in literals {
            let value = if is_negated { Err(Fault::Negated) } else { subject.read(operator, &literal) };
            finding = finding.or(Finding::one(value, &literal));
        }
        Ok(finding)
    }

    fn literals(&mut self) -> Result<Vec<String>, Fault> {
        let first = self.literal()?;
        if let Some(first) = first {
            return Ok(vec![first]);
        }
        let mut literals = Vec::new();
        loop {
            literals.push(self.literal()?.ok_or(Fault::PatternSyntax)?);
            match self.word() {
                Some(Word::Mark(',')) if literals.len() < MAX_TESTS => {}
                Some(Word::Mark(')')) => return Ok(literals),
                _ => return Err(Fault::PatternSyntax),
            }
        }
    }

    /// A string or a number; `None` where a set begins.
    fn literal(&mut self) -> Result<Option<String>, Fault> {
        match self.word() {
            Some(Word::Text(text)) => Ok(Some(unescaped(text))),
            // Times and octets: t'…', h'…', b'…'.
            Some(Word::Bare("t" | "h" | "b")) if self.rest.starts_with('\'') => self.literal(),
            Some(Word::Bare(number)) => Ok(Some(number.to_owned())),
            Some(Word::Mark('(')) => Ok(None),
            _ => Err(Fault::PatternSyntax),
        }
    }

    fn closed(&mut self, mark: char, finding: Finding) -> Result<Finding, Fault> {
        if self.word() == Some(Word::Mark(mark)) { Ok(finding) } else { Err(Fault::PatternSyntax) }
    }

    fn peek(&self) -> Option<Word<'a>> {
        Parser { rest: self.rest, tests: 0 }.word()
    }

    fn word(&mut self) -> Option<Word<'a>> {
        let mut rest = self.rest.trim_start();
        // An open comment is a word that nothing expects.
        while let Some((_, after)) = rest.strip_prefix("/*").and_then(|comment| comment.split_once("*/")) {
            rest = after.trim_start();
        }
        let first = rest.chars().next()?;
        let (word, len) = match first {
            '[' | ']' | '(' | ')' | ',' => (Word::Mark(first), 1),
            '=' | '!' | '<' | '>' => {
                let len = rest.find(|char| !matches!(char, '=' | '!' | '<' | '>')).unwrap_or(rest.len());
                (Word::Operator(&rest[..len]), len)
            }
            '\'' => {
                let len = quoted_len(&rest[1..])?;
                (Word::Text(&rest[1..1 + len]), len + 2)
            }
            _ => {
                let len = bare_len(rest);
                (Word::Bare(&rest[..len]), len)
            }
        };
        self.rest = rest.get(len..)?;
        Some(word)
    }
}

/// The octets of a keyword, a number or a path, whose parts may be quoted: `file:hashes.'SHA-256'`.
fn bare_len(text: &str) -> usize {
    let mut at = 0;
    let mut is_path = false;
    while let Some(char) = text[at..].chars().next() {
        match char {
            ':' => is_path = true,
            '\'' if is_path && text[..at].ends_with(['.', ':']) => match quoted_len(&text[at + 1..]) {
                Some(len) => at += len + 1,
                None => return text.len(),
            },
            '[' if is_path => match text[at..].split_once(']') {
                // `refs[*]`, `refs[0]`
                Some((index, _)) if index[1..].bytes().all(|byte| byte == b'*' || byte.is_ascii_digit()) => {
                    at += index.len();
                }
                _ => break,
            },
            '[' | ']' | '(' | ')' | ',' | '=' | '!' | '<' | '>' | '\'' => break,
            '/' if at > 0 && text[at..].starts_with("/*") => break,
            char if char.is_whitespace() => break,
            _ => {}
        }
        at += char.len_utf8();
    }
    // Nothing would be no word, and never end.
    at.max(text.chars().next().map_or(0, char::len_utf8))
}

/// The octets in front of the closing quote.
fn quoted_len(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'\'' if !is_escaped => return Some(at),
            _ => is_escaped = byte == b'\\' && !is_escaped,
        }
    }
    None
}

fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        plain.push(if char == '\\' { chars.next().unwrap_or(char) } else { char });
    }
    plain
}

fn unseen(path: &str) -> Fault {
    Fault::Kind(excerpt(path))
}

/// What of a thing is compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    Name,
    Address,
    /// A name or an address.
    Either,
    Url,
}

impl Subject {
    fn of(path: &str) -> Option<Self> {
        Some(match path {
            // The latter two are OpenCTI's own.
            "domain-name:value" | "hostname:value" | "x-opencti-hostname:value" => Self::Name,
            "ipv4-addr:value" | "ipv6-addr:value" => Self::Address,
            "domain-name:resolves_to_refs[*].value"
            | "network-traffic:dst_ref.value"
            | "network-traffic:src_ref.value" => Self::Either,
            "url:value" => Self::Url,
            _ => return None,
        })
    }

    fn read(self, operator: &str, literal: &str) -> Result<Value, Fault> {
        match operator {
            "=" | "==" | "IN" => {}
            "LIKE" if !literal.contains(['%', '_']) => {}
            "LIKE" => {
                let below = literal.strip_prefix("%.").filter(|rest| !rest.contains(['%', '_']));
                return match (self, below) {
                    (Self::Name | Self::Either, Some(rest)) => {
                        token::name(rest).map(|name| Value::Name(name, Scope::Below))
                    }
                    _ => Err(Fault::Wildcard),
                };
            }
            "ISSUBSET" if self == Self::Address => {}
            "MATCHES" => return Err(Fault::Regex),
            operator => return Err(Fault::Operator(excerpt(operator))),
        }
        match (self, token::read(literal)?) {
            (Self::Url, Value::Name(..) | Value::Ip(_) | Value::Net(_)) => Ok(Value::Url(literal.to_owned())),
            (Self::Address, Value::Name(..) | Value::Url(_)) => Err(Fault::NotAddress),
            (_, value) => Ok(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, expected: &[&str]) {
        let shown: Vec<String> = match read(pattern) {
            Err(fault) => vec![format!("{fault:?}")],
            Ok(found) => found
                .into_iter()
                .map(|(value, text)| match value {
                    Ok(Value::Name(name, scope)) => format!("{name} {scope}"),
                    Ok(value) => value.to_string(),
                    Err(fault) => format!("{fault:?}: {text}"),
                })
                .collect(),
        };
        assert_eq!(shown, expected, "{pattern:?}");
    }

    #[test]
    fn each_alternative_is_listed() {
        check("[domain-name:value = 'Evil.example']", &["evil.example subtree"]);
        check("[domain-name:value='evil.example']", &["evil.example subtree"]);
        check("[ domain-name:value == 'sạch.vn' ]", &["xn--sch-sgz.vn subtree"]);
        check(
            "[domain-name:value='a.example' OR domain-name:value = 'b.example' OR url:value='http://c.example/x']",
            &["a.example subtree", "b.example subtree", "http://c.example/x"],
        );
        check("[ipv4-addr:value IN ('192.0.2.1','192.0.2.2')]", &["192.0.2.1", "192.0.2.2"]);
        check(
            "[ipv6-addr:value = '2001:db8::1'] OR [ipv4-addr:value = '192.0.2.0/24']",
            &["2001:db8::1", "192.0.2.0/24"],
        );
        check("[ipv4-addr:value ISSUBSET '192.0.2.0/24']", &["192.0.2.0/24"]);
        check("[hostname:value = 'evil.example']", &["evil.example subtree"]);
        check("[x-opencti-hostname:value = 'evil.example']", &["evil.example subtree"]);
        check("[domain-name:value LIKE '%.evil.example']", &["evil.example below"]);
        check("[domain-name:value LIKE 'evil.example']", &["evil.example subtree"]);
        check(r"[url:value = 'http://a.example/\'x\\']", &[r"http://a.example/'x\"]);
        check(
            "([domain-name:value = 'a.example']) OR (([domain-name:value = 'b.example']))",
            &["a.example subtree", "b.example subtree"],
        );
        check(
            "[domain-name:value = 'a.example' OR file:name = 'x']",
            &["a.example subtree", "Kind(\"file:name\"): file:name"],
        );
    }

    #[test]
    fn what_is_joined_is_listed_where_dns_sees_all_of_it() {
        check(
            "[domain-name:value = 'a.example' AND ipv4-addr:value = '192.0.2.1']",
            &["a.example subtree", "192.0.2.1"],
        );
        check("[ipv4-addr:value = '192.0.2.1' AND network-traffic:dst_port = 443]", &["192.0.2.1"]);
        check(
            "[network-traffic:dst_ref.type = 'ipv4-addr' AND network-traffic:dst_ref.value = '192.0.2.1']",
            &["192.0.2.1"],
        );
        check(
            "[domain-name:value = 'a.example' AND domain-name:resolves_to_refs[*].value = '192.0.2.1']",
            &["a.example subtree", "192.0.2.1"],
        );
        check(
            "[domain-name:value = 'a.example'] FOLLOWEDBY [domain-name:value = 'b.example'] WITHIN 600 SECONDS",
            &["a.example subtree", "b.example subtree"],
        );
        check(
            "[domain-name:value = 'a.example'] REPEATS 5 TIMES START t'2026-01-01T00:00:00Z' STOP t'2026-02-01T00:00:00Z' AND [ipv4-addr:value='192.0.2.1']",
            &["a.example subtree", "192.0.2.1"],
        );
        check(
            "[domain-name:value = 'a.example' AND file:hashes.'SHA-256' = 'ab']",
            &["Narrowed: a.example", "Kind(\"file:hashes.'SHA-256'\"): file:hashes.'SHA-256'"],
        );
        check(
            "[(domain-name:value = 'a.example' OR domain-name:value = 'b.example') AND url:value = 'http://a.example/x']",
            &["Narrowed: a.example", "Narrowed: b.example", "http://a.example/x"],
        );
        check(
            "[domain-name:value = 'a.example' OR domain-name:value = 'b.example' AND domain-name:value != 'c.example']",
            &["a.example subtree", "Narrowed: b.example", "Negated: c.example"],
        );
    }

    #[test]
    fn comments_are_blanks() {
        for pattern in [
            "/* x */[domain-name:value = 'a.example' /* 'b.example'] */]/**/ /***/",
            "[/*x*/domain-name:value/*x*/=/*x*/'a.example'/*x*/]",
            "[domain-name:value/* x\ny */IN('a.example')]",
        ] {
            check(pattern, &["a.example subtree"]);
        }
        check("[url:value = 'http://a.example/*b*/']", &["http://a.example/*b*/"]);
        for pattern in ["[domain-name:value = 'a.example'] /* x", "[domain-name:value = 'a.example' */ x */]"]
        {
            check(pattern, &["PatternSyntax"]);
        }
    }

    #[test]
    fn what_lists_nothing_says_why() {
        check("[email-addr:value = 'a@b.example']", &["Kind(\"email-addr:value\"): email-addr:value"]);
        check("[app:id='x']", &["Kind(\"app:id\"): app:id"]);
        check("[domain-name:value NOT = 'a.example']", &["Negated: a.example"]);
        check("[domain-name:value NOT LIKE '%.a.example']", &["Negated: %.a.example"]);
        check("[domain-name:value LIKE '%evil.example']", &["Wildcard: %evil.example"]);
        check("[domain-name:value MATCHES '^evil']", &["Regex: ^evil"]);
        check("[domain-name:value > 'a']", &["Operator(\">\"): a"]);
        check("[ipv4-addr:value = 'a.example']", &["NotAddress: a.example"]);
        check("[EXISTS domain-name:value]", &["Kind(\"domain-name:value\"): domain-name:value"]);
        check("[domain-name:value = 'com']", &["SingleLabel: com"]);
        for pattern in [
            "",
            "[",
            "[]",
            "[domain-name:value = 'a.example'",
            "[domain-name:value = 'a.example]",
            "[domain-name:value]",
            "[domain-name:value IN ()]",
            "[domain-name:value IN ('a.example' 'b.example')]",
            "[domain-name:value = 'a.example'] [domain-name:value = 'b.example']",
            "[domain-name:value = 'a.example' AND]",
            "domain-name:value = 'a.example'",
            "[domain-name:value = 'a.example'] WITHIN",
        ] {
            check(pattern, &["PatternSyntax"]);
        }
        check(&format!("{}{}", "(".repeat(1000), ")".repeat(1000)), &["PatternSyntax"]);
        check(&format!("[{}", "(".repeat(1000)), &["PatternSyntax"]);
    }
}
