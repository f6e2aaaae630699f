//! Maltrail's trails: one malware family a file (its wiki, "Trails").
//!
//! ```text
//! # Aliases: apt32, oceanlotus      the family, where the file's name is not known
//! # Reference: https://…
//! evil.example    # was: …          listed, with all below
//! 192.0.2.1:4444                    the address
//! http://evil.example/a  evil.example/a     URLs
//! /gate.php   vh[0-9]{6}\.example   pieces of URLs and regular expressions: no indicator
//! .top                              a whole top-level domain: no indicator
//! ```
//!
//! The family is the file's name without its ending, unless the feed is given one. Files that are called
//! `sinkhole_…` list whom researchers had malicious names handed over to. Nobody is harmed there, but
//! whoever is led there is infected: so their names count as name servers of what is asked for.

use std::sync::Arc;

use super::output::{Output, Traits};
use super::{Fault, Grammar, Reading, Value, is_family, token};

/// Reads one trail.
pub(super) struct Reader {
    family: Option<Arc<str>>,
    is_family_given: bool,
    is_sinkhole: bool,
}

impl Reader {
    pub(super) fn new(reading: &Reading) -> Self {
        let stem = reading.file.as_deref().map(stem).filter(|stem| is_family(stem));
        let is_sinkhole = stem.is_some_and(|stem| stem.starts_with("sinkhole_"));
        // What the feed is given comes by itself.
        let is_family_given = reading.family.is_some();
        let family = stem.filter(|_| !is_family_given).map(Into::into);
        Self { family, is_family_given, is_sinkhole }
    }
}

impl Grammar for Reader {
    fn line(&mut self, line: &str, out: &mut Output<'_>) {
        let text = line.trim();
        if let Some(comment) = text.strip_prefix('#') {
            return self.comment(comment);
        }
        let text = [" #", "\t#"].iter().fold(text, |text, mark| text.split(mark).next().unwrap_or(text));
        let text = text.trim_end();
        if text.is_empty() {
            return;
        }
        if text.starts_with('/') {
            return out.fault(Fault::Pattern, line);
        }
        if text.contains(['\\', '[', '(', '^', '$', '|']) && !text.contains(['/', ':']) {
            return out.fault(Fault::Regex, line);
        }
        match token::read(text) {
            Ok(value) => {
                let traits = Traits { family: self.family.clone(), ..Traits::default() };
                match value {
                    Value::Name(..) if self.is_sinkhole => out.server(value, traits),
                    _ => out.indicator(value, traits, None),
                }
            }
            Err(fault) => out.fault(fault, line),
        }
    }
}

impl Reader {
    fn comment(&mut self, comment: &str) {
        if let Some(aliases) = comment.trim_start().strip_prefix("Aliases:")
            && self.family.is_none()
            && !self.is_family_given
        {
            let first = aliases.split(',').next().unwrap_or(aliases).trim();
            self.family = is_family(first).then(|| first.into());
        }
    }
}

/// A file's name without the endings of a text and of gzip.
fn stem(file: &str) -> &str {
    let file = file.strip_suffix(".gz").unwrap_or(file);
    file.strip_suffix(".txt").unwrap_or(file)
}

#[cfg(test)]
mod tests {
    use crate::feed::tests::{as_is, check, check_read};
    use crate::feed::{Format, Reading};

    #[test]
    fn trails() {
        let check = |text: &str, expected: &[&str]| check(Format::Maltrail, text, expected);
        check("# Reference: https://a.example/\n\n  \n", &[]);
        check("Evil.example", &["1 name evil.example subtree"]);
        check("evil.example    # was: xấu.example", &["1 name evil.example subtree"]);
        check("evil.example\t# x ", &["1 name evil.example subtree"]);
        check("1.2.3.4:4444", &["1 ip 1.2.3.4"]);
        check("http://1.2.3.4/a", &["1 url http://1.2.3.4/a"]);
        check("evil.example/a(1).php", &["1 url evil.example/a(1).php"]);
        check("evil.example:81", &["1 url evil.example:81"]);
        check("/gate.php", &["1! Pattern"]);
        check(r"vh[0-9]{6}\.example\.com", &["1! Regex"]);
        check(".top", &["1! SingleLabel"]);
    }

    #[test]
    fn the_family_is_the_files_or_the_first_alias() {
        let text = "# Aliases: apt32, oceanlotus\n\nevil.example";
        let check = |file: Option<&str>, family: Option<&str>, expected: &str| {
            let (file, family) = (file.map(Into::into), family.map(Into::into));
            let reading = Reading { file, family, ..as_is(Format::Maltrail) };
            check_read(&reading, text.as_bytes(), &[expected]);
        };
        check(None, None, "3 name evil.example subtree family=apt32");
        check(Some("apt_oceanlotus.txt"), None, "3 name evil.example subtree family=apt_oceanlotus");
        check(Some("apt_oceanlotus.txt.gz"), None, "3 name evil.example subtree family=apt_oceanlotus");
        check(Some("a.txt"), Some("Ocean Lotus"), "3 name evil.example subtree family=Ocean Lotus");
    }

    #[test]
    fn sinkholes_are_where_answers_lead() {
        let reading = Reading { file: Some("sinkhole_x.txt".into()), ..as_is(Format::Maltrail) };
        check_read(
            &reading,
            b"ns1.sinkhole.example\n1.2.3.4",
            &[
                "1 name ns1.sinkhole.example subtree family=sinkhole_x trigger=nsdname",
                "2 ip 1.2.3.4 family=sinkhole_x",
            ],
        );
    }
}
