//! Cases as programs read them: one JSON object or one line of a table each.
//!
//! Values only; who quotes them for CSV is whoever writes that.

use jiff::Timestamp;
use serde::Serialize;

use super::{Case, Verdict};

/// A case.
#[derive(Debug, Serialize)]
pub struct Row<'a> {
    ticket: String,
    state: &'static str,
    class: &'static str,
    family: &'a str,
    machine: String,
    host: Option<&'a str>,
    client: String,
    agency: Option<&'a str>,
    officer: Option<&'a str>,
    verdict: Option<&'static str>,
    name: &'a str,
    queries: u64,
    contacts: u64,
    opened: String,
    since: String,
    first_hit: String,
    last_hit: String,
    last_asked: Option<String>,
    notified: Option<String>,
    cleaned: Option<String>,
    closed: Option<String>,
    reopened: u32,
    quiet_days: u32,
    seconds_to_notify: Option<i64>,
    seconds_to_clean: Option<i64>,
}

/// What the columns of a table are called.
pub const HEADING: [&str; 25] = [
    "ticket",
    "state",
    "class",
    "family",
    "machine",
    "host",
    "client",
    "agency",
    "officer",
    "verdict",
    "name",
    "queries",
    "contacts",
    "opened",
    "since",
    "first_hit",
    "last_hit",
    "last_asked",
    "notified",
    "cleaned",
    "closed",
    "reopened",
    "quiet_days",
    "seconds_to_notify",
    "seconds_to_clean",
];

/// A time as exports write it.
pub fn time_text(time: i64) -> String {
    Timestamp::from_microsecond(time).map_or_else(|_| String::new(), |it| format!("{it:.6}"))
}

/// Whole seconds.
fn seconds(time: Option<i64>) -> Option<i64> {
    time.map(|time| time / 1_000_000)
}

impl<'a> Row<'a> {
    /// Of this case.
    pub fn of(case: &'a Case) -> Self {
        let course = &case.course;
        Self {
            ticket: case.ticket.to_string(),
            state: course.state.as_str(),
            class: case.class.as_str(),
            family: &case.family,
            machine: case.subject.to_string(),
            host: case.host.as_deref(),
            client: case.client.to_string(),
            agency: case.agency.as_deref(),
            officer: case.officer.as_deref(),
            verdict: case.verdict.map(Verdict::as_str),
            name: &case.name,
            queries: case.queries,
            contacts: case.contacts,
            opened: time_text(course.opened),
            since: time_text(course.since),
            first_hit: time_text(course.first_hit),
            last_hit: time_text(course.last_hit),
            last_asked: course.last_asked.map(time_text),
            notified: course.notified.map(time_text),
            cleaned: course.cleaned.map(time_text),
            closed: course.closed.map(time_text),
            reopened: course.reopened,
            quiet_days: course.quiet_days,
            seconds_to_notify: seconds(course.time_to_notify()),
            seconds_to_clean: seconds(course.time_to_clean()),
        }
    }

    /// The columns, in the order of [`HEADING`].
    pub fn fields(self) -> [String; 25] {
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let number = |number: Option<i64>| number.map_or_else(String::new, |number| number.to_string());
        [
            self.ticket,
            self.state.to_owned(),
            self.class.to_owned(),
            self.family.to_owned(),
            self.machine,
            text(self.host),
            self.client,
            text(self.agency),
            text(self.officer),
            text(self.verdict),
            self.name.to_owned(),
            self.queries.to_string(),
            self.contacts.to_string(),
            self.opened,
            self.since,
            self.first_hit,
            self.last_hit,
            self.last_asked.unwrap_or_default(),
            self.notified.unwrap_or_default(),
            self.cleaned.unwrap_or_default(),
            self.closed.unwrap_or_default(),
            self.reopened.to_string(),
            self.quiet_days.to_string(),
            number(self.seconds_to_notify),
            number(self.seconds_to_clean),
        ]
    }
}
