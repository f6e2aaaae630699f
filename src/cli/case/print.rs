//! How cases are printed: a table of 80 columns, JSON lines, CSV.

use std::io::{self, BufWriter, Write};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::cases::export::{HEADING, Row, time_text};
use crate::cases::{Actor, Case, CaseFile, Evidence, Proposal, Step, Trace};
use crate::cli::{ListForm, ReportForm};
use crate::clock::local_time;
use crate::config::Config;
use crate::evidence::export::csv::quoted;

/// What a change made of a case.
pub(super) fn line(case: &Case) -> String {
    format!(
        "{} {}: {} {} at {}",
        case.ticket,
        case.course.state,
        case.class,
        or_dash(&case.family).escape_debug(),
        case.host.as_deref().unwrap_or(&case.subject.to_string()).escape_debug()
    )
}

pub(super) fn list(cases: &[Case], form: ListForm) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    match form {
        ListForm::Table => table(&mut out, cases)?,
        ListForm::Jsonl => {
            for case in cases {
                json(&mut out, &Row::of(case))?;
            }
        }
        ListForm::Csv => {
            write!(out, "{}\r\n", HEADING.join(","))?;
            for case in cases {
                let line: Vec<String> = Row::of(case).fields().iter().map(|field| quoted(field)).collect();
                write!(out, "{}\r\n", line.join(","))?;
            }
        }
    }
    out.flush()
}

fn table(out: &mut impl Write, cases: &[Case]) -> io::Result<()> {
    let zone = TimeZone::system();
    let seen = Timestamp::now().to_zoned_datetime(zone.clone()).strftime("SEEN (%:z)").to_string();
    writeln!(
        out,
        "{:<9} {:<8} {:<8} {seen:<16} {:>6} {:<15} FAMILY (agency)",
        "TICKET", "STATE", "CLASS", "HITS", "MACHINE"
    )?;
    for case in cases {
        let time = Timestamp::from_microsecond(case.course.last_hit).map_or_else(
            |_| String::new(),
            |time| time.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string(),
        );
        let machine = case.host.clone().unwrap_or_else(|| case.subject.to_string());
        // Families and host names come from strangers: no control character of them may reach the terminal.
        write!(
            out,
            "{:<9} {:<8} {:<8} {time:<16} {:>6} {:<15} {}",
            case.ticket.to_string(),
            case.course.state.as_str(),
            case.class.as_str(),
            case.queries.saturating_add(case.contacts),
            machine.escape_debug().to_string(),
            or_dash(&case.family).escape_debug(),
        )?;
        match &case.agency {
            Some(agency) => writeln!(out, " ({agency})")?,
            None => writeln!(out)?,
        }
    }
    Ok(())
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

fn json(out: &mut impl Write, row: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, row)?;
    out.write_all(b"\n")
}

/// A case with all that belongs to it, as programs read it.
#[derive(Serialize)]
struct FileRow<'a> {
    #[serde(flatten)]
    case: Row<'a>,
    tickets: Vec<String>,
    steps: Vec<StepRow<'a>>,
    evidence: Vec<TraceRow<'a>>,
}

#[derive(Serialize)]
struct StepRow<'a> {
    time: String,
    by: String,
    what: &'static str,
    note: &'a str,
}

#[derive(Serialize)]
struct TraceRow<'a> {
    kind: &'static str,
    first: String,
    last: String,
    count: u64,
    client: String,
    name: &'a str,
    contact: Option<u64>,
}

fn kind(evidence: Evidence) -> (&'static str, Option<u64>) {
    match evidence {
        Evidence::Query => ("query", None),
        Evidence::Contact(id) => ("contact", Some(id)),
        Evidence::Visit => ("visit", None),
        Evidence::Find => ("find", None),
    }
}

fn step_row(step: &Step) -> StepRow<'_> {
    StepRow {
        time: time_text(step.time),
        by: step.by.to_string(),
        what: step.what.as_str(),
        note: &step.note,
    }
}

fn trace_row(trace: &Trace) -> TraceRow<'_> {
    let (kind, contact) = kind(trace.evidence);
    TraceRow {
        kind,
        first: time_text(trace.first),
        last: time_text(trace.last),
        count: trace.count,
        client: trace.client.to_string(),
        name: &trace.name,
        contact,
    }
}

pub(super) fn file(file: &CaseFile, config: &Config, form: ReportForm) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let case = &file.case;
    if form == ReportForm::Jsonl {
        json(
            &mut out,
            &FileRow {
                case: Row::of(case),
                tickets: file.tickets.iter().map(ToString::to_string).collect(),
                steps: file.steps.iter().map(step_row).collect(),
                evidence: file.traces.iter().map(trace_row).collect(),
            },
        )?;
        return out.flush();
    }
    let course = &case.course;
    let mut row = |head: &str, text: String| writeln!(out, "{head:<12}{}", text.escape_debug());
    row("ticket", file.tickets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))?;
    let reopened =
        if course.reopened > 0 { format!(", reopened {} times", course.reopened) } else { String::new() };
    row("state", format!("{}{reopened}", course.state))?;
    row("trouble", format!("{}, {}", case.class, or_dash(&case.family)))?;
    let host = case.host.as_ref().map(|host| format!(" ({host})")).unwrap_or_default();
    row("machine", format!("{}{host}, last at {}", case.subject, case.client))?;
    let agency = case.agency.as_deref().map(|id| {
        let known = config.agencies.iter().find(|agency| *agency.id == *id);
        known.map_or_else(|| id.to_owned(), |agency| format!("{id} ({})", agency.name))
    });
    row("agency", agency.unwrap_or_else(|| "-".to_owned()))?;
    row("officer", case.officer.clone().unwrap_or_else(|| "-".to_owned()))?;
    if let Some(verdict) = case.verdict {
        row("verdict", verdict.as_str().to_owned())?;
    }
    row("first hit", local_time(course.first_hit))?;
    row("last hit", local_time(course.last_hit))?;
    row("hits", format!("{} queries, {} contacts; last {}", case.queries, case.contacts, case.name))?;
    row("last asked", course.last_asked.map_or_else(|| "-".to_owned(), local_time))?;
    if let Some(took) = course.time_to_notify() {
        row("to notify", span(took))?;
    }
    match course.time_to_clean() {
        Some(took) => row("to clean", span(took))?,
        None => row("quiet days", format!("{} of {}", course.quiet_days, config.cases.options.quiet_days))?,
    }
    writeln!(out, "\nSTEPS")?;
    for step in &file.steps {
        let by = match &step.by {
            Actor::Server => String::new(),
            by => format!(" by {by}"),
        };
        let note = if step.note.is_empty() { String::new() } else { format!(": {}", step.note) };
        let text = format!("{}{by}{note}", step.what.as_str());
        writeln!(out, "{}  {}", local_time(step.time), text.escape_debug())?;
    }
    writeln!(out, "\nEVIDENCE")?;
    for trace in &file.traces {
        let (kind, _) = kind(trace.evidence);
        let count = if trace.count > 1 { format!(" ×{}", trace.count) } else { String::new() };
        let client = trace.client;
        writeln!(
            out,
            "{}  {kind:<7} {client:<15} {}{count}",
            local_time(trace.last),
            trace.name.escape_debug()
        )?;
    }
    out.flush()
}

/// A span of time for people.
fn span(microseconds: i64) -> String {
    let minutes = microseconds / 60_000_000;
    match (minutes / 1440, minutes / 60 % 24, minutes % 60) {
        (0, 0, 0) => format!("{} s", microseconds / 1_000_000),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// A proposal as programs read it.
#[derive(Serialize)]
pub(super) struct Proposed<'a> {
    id: i64,
    state: &'static str,
    ticket: String,
    name: &'a str,
    family: &'a str,
    time: String,
    by: String,
    reason: &'a str,
    declined: Option<String>,
    declined_by: Option<String>,
}

impl<'a> Proposed<'a> {
    /// `is_allowed`: a rule of analysts lets the name pass.
    pub(super) fn new(proposal: &'a Proposal, is_allowed: bool) -> Self {
        let (declined, declined_by) =
            proposal.declined.as_ref().map(|(time, by)| (time_text(*time), by.to_string())).unzip();
        let state = match (&declined, is_allowed) {
            (Some(_), _) => "declined",
            (None, true) => "accepted",
            (None, false) => "open",
        };
        Self {
            id: proposal.id,
            state,
            ticket: proposal.ticket.to_string(),
            name: &proposal.name,
            family: &proposal.family,
            time: time_text(proposal.time),
            by: proposal.by.to_string(),
            reason: &proposal.reason,
            declined,
            declined_by,
        }
    }

    /// Whether nobody has decided.
    pub(super) fn is_open(&self) -> bool {
        self.state == "open"
    }
}

pub(super) fn proposals(rows: &[Proposed<'_>], form: ListForm) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    match form {
        ListForm::Jsonl => {
            for row in rows {
                json(&mut out, row)?;
            }
        }
        ListForm::Csv => {
            write!(out, "id,state,ticket,name,family,time,by,reason,declined,declined_by\r\n")?;
            for row in rows {
                let text = |text: &Option<String>| text.clone().unwrap_or_default();
                let fields = [
                    row.id.to_string(),
                    row.state.to_owned(),
                    row.ticket.clone(),
                    row.name.to_owned(),
                    row.family.to_owned(),
                    row.time.clone(),
                    row.by.clone(),
                    row.reason.to_owned(),
                    text(&row.declined),
                    text(&row.declined_by),
                ];
                let line: Vec<String> = fields.iter().map(|field| quoted(field)).collect();
                write!(out, "{}\r\n", line.join(","))?;
            }
        }
        ListForm::Table => {
            writeln!(out, "{:>4} {:<8} {:<9} NAME (family): reason", "ID", "STATE", "TICKET")?;
            for row in rows {
                let (name, family) = (row.name.escape_debug(), or_dash(row.family).escape_debug());
                let reason = row.reason.escape_debug();
                writeln!(
                    out,
                    "{:>4} {:<8} {:<9} {name} ({family}): {reason}",
                    row.id, row.state, row.ticket
                )?;
                if row.is_open() {
                    writeln!(
                        out,
                        "     to accept: sachdns policy allow {name} --reason 'case {}' --by WHO",
                        row.ticket
                    )?;
                }
            }
        }
    }
    out.flush()
}
