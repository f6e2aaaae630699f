//! How an explanation is printed: in 80 columns for people, or a JSON object a line.
//!
//! Only forms: what there is to tell is found out beside.

use std::io::{self, Write};
use std::net::IpAddr;

use jiff::Timestamp;
use serde::Serialize;

use super::{Basis, Printed};
use crate::clock::local_time;
use crate::explain::{Account, Thing, guarded_word, source_of};
use crate::policy::layers::Layer;
use crate::policy::rule::Severity;
use crate::policy::trigger::Trigger;
use crate::wire;

/// Columns of a terminal.
const WIDTH: usize = 80;
/// Columns before the texts.
const MARGIN: usize = 10;

impl Printed<'_> {
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let qtype = wire::type_text(self.question.qtype);
        line(out, "question", &format!("{} {qtype}", self.question.name))?;
        line(out, "client", &self.client_text())?;
        line(out, "policy", &self.basis_text())?;
        for (name, why) in &self.story.guarded {
            let text = format!("{name} is {}: no address or name server alone takes it", guarded_word(*why));
            line(out, "guard", &text)?;
        }
        for account in &self.story.accounts {
            line(out, "rule", &text(account))?;
            let place = account.place.as_ref().map_or_else(String::new, |place| format!(" [{place}]"));
            line(out, "", &format!("{}{place}", account.fate))?;
            if let Some(entry) = &account.given {
                let (by, reason) = (entry.deed.by.escape_debug(), entry.deed.reason.escape_debug());
                let time = local_time(entry.deed.time);
                line(out, "", &format!("rule {}, given by {by} on {time}: {reason}", entry.deed.id))?;
            }
        }
        if self.story.accounts.is_empty() {
            line(out, "rule", "none: no feed and no analyst lists this name or one above it")?;
        }
        for trigger in &self.story.unknown {
            let (what, option) = unknown(*trigger);
            line(out, "unknown", &format!("{what}, which some rules look at: give {option}"))?;
        }
        if let Some(why) = self.story.waits {
            line(out, "timing", &format!("after the name is resolved: {}", why.as_str()))?;
        }
        line(out, "answer", &self.story.answer.text)
    }

    fn client_text(&self) -> String {
        let Some(client) = self.story.client.address else {
            return "none given: as anybody of no agency who may ask (--client IP)".to_owned();
        };
        let access = match self.story.client.is_answered {
            true => "answered",
            false => "REFUSED: in no network of server.allow",
        };
        match &self.story.client.agency {
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
            name: self.question.name.to_string(),
            r#type: &wire::type_text(self.question.qtype),
            client: self.story.client.address,
            agency: self.story.client.agency_id(),
            allowed: self.story.client.is_answered,
            guarded: self.story.guarded.first().map(|(_, why)| guarded_word(*why)),
            built,
            names,
        };
        object(out, &question)?;
        for account in &self.story.accounts {
            let place = account.place.as_ref().map(ToString::to_string);
            object(out, &Line::of(account, &account.fate.to_string(), place.as_deref()))?;
        }
        object(
            out,
            &Line::Answer {
                text: &self.story.answer.text,
                waits: self.story.waits.map(crate::explain::Waits::as_str),
                unknown: self.story.unknown.iter().map(|trigger| unknown(*trigger).0).collect(),
            },
        )
    }
}

/// What rules look at and nobody told, and the option that tells it.
fn unknown(trigger: Trigger) -> (&'static str, &'static str) {
    match trigger {
        Trigger::ClientIp => ("the client", "--client IP"),
        Trigger::Ip | Trigger::Address => ("the answer's addresses", "--answer-ip IP"),
        Trigger::Nsdname => ("name servers' names", "--ns NAME"),
        Trigger::Nsip => ("name servers' addresses", "--ns-ip IP"),
        Trigger::Qname => ("the name", "NAME"),
    }
}

fn text(account: &Account) -> String {
    let mut text = format!("{} of {}", account.thing, source_of(account.layer, &account.feed));
    if let Some(family) = &account.family {
        text += &format!(", family {}", family.escape_debug());
    }
    if let Some(severity) = account.severity {
        text += &format!(", {severity}");
    }
    text + ": " + &account.action
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

impl<'a> Line<'a> {
    fn of(account: &'a Account, because: &'a str, place: Option<&'a str>) -> Self {
        let (listed, scope, trigger) = match &account.thing {
            Thing::Name(name, scope, trigger) => (name.to_string(), Some(scope.to_string()), trigger),
            Thing::Network(net, trigger) => (net.to_string(), None, trigger),
        };
        let given = account.given.as_ref();
        Self::Rule {
            listed,
            r#match: scope,
            trigger: trigger.as_str(),
            layer: if account.layer == Layer::Own { "own" } else { "feed" },
            feed: &account.feed,
            family: account.family.as_deref(),
            severity: account.severity.map(Severity::as_str),
            action: &account.action,
            verdict: account.fate.as_str(),
            because,
            place,
            rule: given.map(|entry| entry.deed.id),
            by: given.map(|entry| &*entry.deed.by),
            reason: given.map(|entry| &*entry.deed.reason),
            expires: given.and_then(|entry| entry.rule.expires).map(time_text),
        }
    }
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
