//! BIND's configuration: `zone` statements (BIND 9's manual, "zone Block Grammar").
//!
//! ```text
//! zone "evil.example" { type master; notify no; file "null.zone.file"; };      listed, with all below
//! zone "evil.example" IN {                                                     the same
//!     type primary;  // in as many lines as one likes
//! };
//! zone "corp.example" { type forward; forwarders { 10.0.0.53; }; };            no indicator
//! ```
//!
//! A list of this kind gives each name an empty zone of its own. What the zone's file says is not
//! looked at; a zone that is fetched or asked elsewhere is no listing. Every other statement is reported.

use crate::policy::trigger::Scope;

use super::output::{Output, Traits, excerpt};
use super::{Fault, Grammar, Value, token};

/// Types of zones that answer by themselves.
const OWN: [&str; 3] = ["master", "primary", "redirect"];
/// Words of a statement that are kept.
const MAX_WORDS: usize = 4;

/// Reads `named.conf`.
#[derive(Default)]
pub(super) struct Reader {
    /// The words of the statement in front of its block.
    head: Vec<String>,
    /// The line on which it starts, and that line's text.
    start: (u64, String),
    /// Open braces.
    depth: usize,
    /// The words of the option within the block.
    option: Vec<String>,
    /// What the block says of the zone's type.
    kind: Option<String>,
    is_comment: bool,
}

impl Grammar for Reader {
    fn line(&mut self, line: &str, out: &mut Output<'_>) {
        let mut rest = line;
        loop {
            if self.is_comment {
                let Some((_, after)) = rest.split_once("*/") else { return };
                self.is_comment = false;
                rest = after;
            }
            rest = rest.trim_start();
            let Some(first) = rest.chars().next() else { return };
            if first == '#' || rest.starts_with("//") {
                return;
            }
            let len = match first {
                '/' if rest.starts_with("/*") => {
                    self.is_comment = true;
                    2
                }
                '{' | '}' | ';' => {
                    self.mark(first, line, out);
                    1
                }
                '"' => {
                    let Some((word, _)) = rest[1..].split_once('"') else {
                        out.fault(Fault::Quote, line);
                        return self.forget();
                    };
                    self.word(word, line, out);
                    word.len() + 2
                }
                _ => {
                    let end = rest.find([' ', '\t', '{', '}', ';', '"', '#']).unwrap_or(rest.len());
                    self.word(&rest[..end], line, out);
                    end
                }
            };
            rest = &rest[len..];
        }
    }

    fn end(&mut self, out: &mut Output<'_>) {
        if !self.head.is_empty() {
            self.report(Fault::Syntax, out);
        }
    }
}

impl Reader {
    fn word(&mut self, word: &str, line: &str, out: &Output<'_>) {
        if self.head.is_empty() {
            self.start = (out.line, line.to_owned());
        }
        // Names have at most some thousand characters as written.
        let words = if self.depth == 0 { &mut self.head } else { &mut self.option };
        if words.len() < MAX_WORDS {
            words.push(word.to_owned());
        }
    }

    fn mark(&mut self, mark: char, line: &str, out: &mut Output<'_>) {
        match mark {
            '{' if self.head.is_empty() => {
                out.fault(Fault::Syntax, line);
                self.forget();
            }
            '{' => self.depth += 1,
            '}' if self.depth == 0 => out.fault(Fault::Syntax, line),
            '}' => {
                self.depth -= 1;
                self.option.clear();
            }
            _ if self.depth == 0 => {
                if !self.head.is_empty() {
                    self.finish(out);
                }
                self.forget();
            }
            _ => {
                if let (1, [name, kind, ..]) = (self.depth, &self.option[..])
                    && name == "type"
                {
                    self.kind = Some(kind.clone());
                }
                self.option.clear();
            }
        }
    }

    /// The statement is whole.
    fn finish(&mut self, out: &mut Output<'_>) {
        let [keyword, name, ..] = &self.head[..] else {
            let keyword = self.head.first().map(|keyword| excerpt(keyword)).unwrap_or_default();
            return self.report(Fault::Setting(keyword), out);
        };
        let fault = match (keyword.as_str(), self.kind.as_deref()) {
            ("zone", Some(kind)) if OWN.contains(&kind) => {
                let now = std::mem::replace(&mut out.line, self.start.0);
                let value = match name.as_str() {
                    "." => Err(Fault::Everything),
                    name if token::address(name).is_some() => Err(Fault::AddressAsName),
                    name => token::name(name).map(|name| Value::Name(name, Scope::Subtree)),
                };
                match value {
                    Ok(value) => out.indicator(value, Traits::default(), None),
                    Err(fault) => out.fault(fault, &self.start.1),
                }
                out.line = now;
                return;
            }
            ("zone", Some(kind)) => Fault::ZoneType(excerpt(kind)),
            ("zone", None) => Fault::Syntax,
            (keyword, _) => Fault::Setting(excerpt(keyword)),
        };
        self.report(fault, out);
    }

    fn report(&self, fault: Fault, out: &mut Output<'_>) {
        let now = std::mem::replace(&mut out.line, self.start.0);
        out.fault(fault, &self.start.1);
        out.line = now;
    }

    fn forget(&mut self) {
        self.head.clear();
        self.option.clear();
        self.kind = None;
        self.depth = 0;
    }
}

#[cfg(test)]
mod tests {
    use crate::feed::Format;
    use crate::feed::tests::check;

    #[test]
    fn zones() {
        let check = |text: &str, expected: &[&str]| check(Format::Bind, text, expected);
        check("# why\n// why\n/* zone \"a.example\"\n*/\n", &[]);
        check(
            r#"zone "Evil.example" { type master; notify no; file "null.zone.file"; };"#,
            &["1 name evil.example subtree"],
        );
        check(
            "\nzone \"evil.example.\" IN {\n type primary; # why\n file \"x\";\n};",
            &["2 name evil.example subtree"],
        );
        check("zone evil.example{type master;};", &["1 name evil.example subtree"]);
        check(
            "zone \"a.example\" {type master;}; zone \"b.example\" {type master; allow-query { any; };};",
            &["1 name a.example subtree", "1 name b.example subtree"],
        );
    }

    #[test]
    fn faults() {
        let check = |text: &str, expected: &[&str]| check(Format::Bind, text, expected);
        check("zone \"a.example\" { type forward; };", &["1! ZoneType(\"forward\")"]);
        check("zone \"a.example\" { file \"x\"; };", &["1! Syntax"]);
        check("zone \".\" { type master; };", &["1! Everything"]);
        check("zone \"com\" { type master; };", &["1! SingleLabel"]);
        check("zone \"1.2.3.4\" { type master; };", &["1! AddressAsName"]);
        check("options {\n directory \"x\";\n};", &["1! Setting(\"options\")"]);
        check("include \"x\";", &["1! Setting(\"include\")"]);
        check("zone \"a.example\" {\n type master;\n", &["1! Syntax"]);
        check(
            "zone \"a.example {\nzone \"b.example\" {type master;};",
            &["1! Quote", "2 name b.example subtree"],
        );
        check("};{ };", &["1! Syntax", "1! Syntax", "1! Syntax"]);
    }
}
