//! How an explanation is printed: in 80 columns for people, or a JSON object a line.
//!
//! Only forms: what there is to tell is found out beside.

use std::io::{self, Write};
use std::net::IpAddr;

use jiff::Timestamp;
use serde::Serialize;

use super::{Access, Account, Basis, Layer, Story, Thing, guarded_word, source_of};
use crate::clock::local_time;
use crate::policy::rule::Severity;
use crate::wire;

/// Columns of a terminal.
const WIDTH: usize = 80;
/// Columns before the texts.
const MARGIN: usize = 10;

impl Story<'_> {
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let qtype = wire::type_text(self.arguments.qtype);
        line(out, "question", &format!("{} {qtype}", self.arguments.name))?;
        line(out, "client", &self.client_text())?;
        line(out, "policy", &self.basis_text())?;
        for (name, why) in &self.guarded {
            let text = format!("{name} is {}: no address alone takes it", guarded_word(*why));
            line(out, "guard", &text)?;
        }
        for account in &self.accounts {
            line(out, "rule", &account.text())?;
            let place = account.place.as_ref().map_or_else(String::new, |place| format!(" [{place}]"));
            line(out, "", &format!("{}{place}", account.because))?;
            if let Some(entry) = &account.given {
                let (by, reason) = (entry.deed.by.escape_debug(), entry.deed.reason.escape_debug());
                let time = local_time(entry.deed.time);
                line(out, "", &format!("rule {}, given by {by} on {time}: {reason}", entry.deed.id))?;
            }
        }
        if self.accounts.is_empty() {
            line(out, "rule", "none: no feed and no analyst lists this name or one above it")?;
        }
        for (what, option) in &self.unknown {
            line(out, "unknown", &format!("{what}, which some rules look at: give {option}"))?;
        }
        if let Some(why) = self.timing {
            line(out, "timing", &format!("after the name is resolved: {why}"))?;
        }
        line(out, "answer", &self.answer)
    }

    fn client_text(&self) -> String {
        let Some(client) = self.client.address else {
            return "none given: as anybody of no agency who may ask (--client IP)".to_owned();
        };
        let access = match self.client.access {
            Access::Allowed => "answered",
            Access::Prohibited => "REFUSED: in no network of server.allow",
        };
        match &self.client.agency {
            Some((id, name)) => format!("{client}: {access}; agency {id} ({name})"),
            None => format!("{client}: {access}; of no agency"),
        }
    }

    fn basis_text(&self) -> String {
        match self.basis {
            Basis::Image { built_at, name_count, is_current } => {
                let built = local_time(*built_at);
                let state =
                    if *is_current { "" } else { "; the feeds may have changed since: `sachdns reload`" };
                format!("{name_count} names, built {built}{state}")
            }
            Basis::Feeds => "none was built yet; this is what the feeds say now".to_owned(),
        }
    }

    pub(super) fn write_lines(&self, out: &mut impl Write) -> io::Result<()> {
        let (built, names) = match self.basis {
            Basis::Image { built_at, name_count, .. } => (Some(time_text(*built_at)), Some(*name_count)),
            Basis::Feeds => (None, None),
        };
        let question = Line::Question {
            name: self.arguments.name.to_string(),
            r#type: &wire::type_text(self.arguments.qtype),
            client: self.client.address,
            agency: self.client.agency_id(),
            allowed: self.client.access == Access::Allowed,
            guarded: self.guarded.first().map(|(_, why)| guarded_word(*why)),
            built,
            names,
        };
        object(out, &question)?;
        for account in &self.accounts {
            object(out, &account.line())?;
        }
        object(
            out,
            &Line::Answer {
                text: &self.answer,
                waits: self.timing,
                unknown: self.unknown.iter().map(|(what, _)| *what).collect(),
            },
        )
    }
}

impl Account {
    fn text(&self) -> String {
        let mut text = format!("{} of {}", self.thing, source_of(self.layer, &self.feed));
        if let Some(family) = &self.family {
            text += &format!(", family {}", family.escape_debug());
        }
        if let Some(severity) = self.severity {
            text += &format!(", {severity}");
        }
        text + ": " + &self.action
    }

    fn line(&self) -> Line<'_> {
        let (listed, scope, trigger) = match &self.thing {
            Thing::Name(name, scope, trigger) => (name.to_string(), Some(scope.to_string()), trigger),
            Thing::Network(net, trigger) => (net.to_string(), None, trigger),
        };
        let given = self.given.as_ref();
        Line::Rule {
            listed,
            r#match: scope,
            trigger: trigger.as_str(),
            layer: if self.layer == Layer::Own { "own" } else { "feed" },
            feed: &self.feed,
            family: self.family.as_deref(),
            severity: self.severity.map(Severity::as_str),
            action: &self.action,
            verdict: self.verdict,
            because: &self.because,
            place: self.place.as_deref(),
            rule: given.map(|entry| entry.deed.id),
            by: given.map(|entry| &*entry.deed.by),
            reason: given.map(|entry| &*entry.deed.reason),
            expires: given.and_then(|entry| entry.rule.expires).map(time_text),
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "line", rename_all = "lowercase")]
enum Line<'a> {
    Question {
        name: String,
        r#type: &'a str,
        client: Option<IpAddr>,
        agency: Option<&'a str>,
        allowed: bool,
        guarded: Option<&'static str>,
        built: Option<String>,
        names: Option<u64>,
    },
    Rule {
        listed: String,
        r#match: Option<String>,
        trigger: &'static str,
        layer: &'static str,
        feed: &'a str,
        family: Option<&'a str>,
        severity: Option<&'static str>,
        action: &'a str,
        verdict: &'static str,
        because: &'a str,
        place: Option<&'a str>,
        rule: Option<u64>,
        by: Option<&'a str>,
        reason: Option<&'a str>,
        expires: Option<String>,
    },
    Answer {
        text: &'a str,
        waits: Option<&'static str>,
        unknown: Vec<&'static str>,
    },
}

fn object(out: &mut impl Write, line: &Line<'_>) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

fn time_text(time: i64) -> String {
    Timestamp::from_microsecond(time).map_or_else(|_| String::new(), |time| time.to_string())
}

/// A word in the margin and a text, which goes on under itself where a line is full.
fn line(out: &mut impl Write, margin: &str, text: &str) -> io::Result<()> {
    write!(out, "{margin:<MARGIN$}")?;
    let mut column = MARGIN;
    for (number, word) in text.split(' ').enumerate() {
        let width = word.chars().count();
        if number > 0 && column + 1 + width > WIDTH {
            write!(out, "\n{:MARGIN$}", "")?;
            column = MARGIN;
        } else if number > 0 {
            out.write_all(b" ")?;
            column += 1;
        }
        out.write_all(word.as_bytes())?;
        column += width;
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_go_on_under_themselves() {
        let mut out = Vec::new();
        line(&mut out, "rule", &"word ".repeat(30)).unwrap();
        line(&mut out, "", &"x".repeat(100)).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[..3].iter().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(lines[1].starts_with("          word"), "{text}");
        assert_eq!(lines.last().unwrap().trim(), "x".repeat(100));
    }
}
