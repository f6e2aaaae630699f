//! The database: cases, their tickets, steps and traces, what analysts are asked, and what is still to be told. SQL stands here alone.
//!
//! ```text
//! cases      one row a case; what is the same machine, family and class is one case
//! tickets    every code that was ever given, and the case that it leads to now
//! steps      what happened, in the order of its numbers: the audit, and what notifications are made of
//! traces     what was seen, by kind, address, name and minute
//! proposals  names that somebody holds for harmless
//! outbox     messages on their way, each with a key that no second one can have
//! meta       how far others have got: the intake with contacts, notifications with steps
//! ```
//!
//! The server and the commands write it, each change in one transaction; what is committed survives a power cut.

pub(super) mod board;
pub(super) mod histories;
pub(super) mod outbox;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};

use super::board::Behind;
use super::{
    Actor, Case, CaseFilter, CaseId, Class, Course, Evidence, Proposal, State, Step, Subject, Ticket, Trace,
    Verdict, What,
};
use crate::database::{self, DatabaseError, Durability, Layout};
use crate::tabular::heading::folded;

/// What people said and what was told is nowhere else.
const LAYOUT: Layout = Layout {
    steps: &[SCHEMA, CLOSED, KEPT],
    durability: Durability::Commits,
    cache_kib: 8192,
    log_size: 16 << 20,
    shrinks: false,
};
const MINUTE: i64 = 60_000_000;
/// Traces that a case keeps: the first, since they tell how it began …
const FIRST_TRACES: i64 = 20;
/// … and the last.
const LAST_TRACES: i64 = 180;

const SCHEMA: &str = "
CREATE TABLE cases (
    id INTEGER PRIMARY KEY AUTOINCREMENT, ticket TEXT NOT NULL, subject TEXT NOT NULL, host TEXT, client TEXT NOT NULL,
    agency TEXT, family TEXT NOT NULL, class TEXT NOT NULL, name TEXT NOT NULL, officer TEXT, verdict TEXT,
    queries INTEGER NOT NULL, contacts INTEGER NOT NULL,
    state TEXT NOT NULL, opened INTEGER NOT NULL, since INTEGER NOT NULL, first_hit INTEGER NOT NULL,
    last_hit INTEGER NOT NULL, last_asked INTEGER, notified INTEGER, cleaned INTEGER, closed INTEGER,
    reopened INTEGER NOT NULL, quiet_days INTEGER NOT NULL, counted_day INTEGER NOT NULL, asked_day INTEGER,
    UNIQUE (subject, family, class)) STRICT;
CREATE INDEX cases_seen ON cases (last_hit);
CREATE INDEX cases_state ON cases (state, last_hit);
CREATE INDEX cases_agency ON cases (agency, last_hit);
CREATE INDEX cases_client ON cases (client);
CREATE INDEX cases_asked ON cases (asked_day) WHERE asked_day IS NOT NULL;
CREATE TABLE tickets (code TEXT PRIMARY KEY, cases INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX tickets_case ON tickets (cases);
CREATE TABLE steps (
    id INTEGER PRIMARY KEY AUTOINCREMENT, cases INTEGER NOT NULL, time INTEGER NOT NULL, actor TEXT NOT NULL,
    what TEXT NOT NULL, note TEXT NOT NULL) STRICT;
CREATE INDEX steps_case ON steps (cases, time);
CREATE TABLE traces (
    id INTEGER PRIMARY KEY, cases INTEGER NOT NULL, kind INTEGER NOT NULL, minute INTEGER NOT NULL, client TEXT NOT NULL,
    name TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, count INTEGER NOT NULL, contact INTEGER,
    UNIQUE (cases, minute, kind, client, name)) STRICT;
CREATE TABLE proposals (
    id INTEGER PRIMARY KEY, cases INTEGER NOT NULL, name TEXT NOT NULL, time INTEGER NOT NULL, actor TEXT NOT NULL,
    reason TEXT NOT NULL, declined INTEGER, decliner TEXT, UNIQUE (cases, name)) STRICT;
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, channel TEXT NOT NULL, kind TEXT NOT NULL, cases INTEGER,
    step INTEGER, made INTEGER NOT NULL, due INTEGER NOT NULL, tries INTEGER NOT NULL DEFAULT 0, state INTEGER NOT NULL DEFAULT 0,
    trouble TEXT) STRICT;
CREATE INDEX outbox_due ON outbox (state, channel, due);
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
";

pub(super) type Result<T> = std::result::Result<T, DatabaseError>;

/// Where it is, in the folder of cases.
pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join("cases.db")
}

/// Opens it, and makes it where it is missing.
pub(super) fn open(folder: &Path) -> Result<Connection> {
    database::open(&path(folder), &LAYOUT)
}

/// Finds the cases that were closed lately.
const CLOSED: &str = "CREATE INDEX cases_closed ON cases (closed) WHERE closed IS NOT NULL;";

const KEPT: &str = "CREATE TABLE kept (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;";

const COLUMNS: &str =
    "id, ticket, subject, host, client, agency, family, class, name, officer, verdict, queries, contacts,
    state, opened, since, first_hit, last_hit, last_asked, notified, cleaned, closed, reopened, quiet_days,
    counted_day, asked_day";

/// A text of ours that does not parse: somebody wrote into the database by hand.
fn strange(at: usize) -> rusqlite::Error {
    let error = "a value that this program never writes".into();
    rusqlite::Error::FromSqlConversionFailure(at, rusqlite::types::Type::Text, error)
}

fn parsed<T: std::str::FromStr>(row: &Row<'_>, at: usize) -> rusqlite::Result<T> {
    row.get_ref(at)?.as_str()?.parse().map_err(|_| strange(at))
}

fn number(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(at)?.unsigned_abs())
}

fn case_of(row: &Row<'_>) -> rusqlite::Result<Case> {
    let verdict: Option<String> = row.get(10)?;
    Ok(Case {
        id: CaseId(row.get(0)?),
        ticket: parsed(row, 1)?,
        subject: parsed(row, 2)?,
        host: row.get(3)?,
        client: parsed(row, 4)?,
        agency: row.get(5)?,
        family: row.get(6)?,
        class: parsed(row, 7)?,
        name: row.get(8)?,
        officer: row.get(9)?,
        verdict: verdict.as_deref().and_then(Verdict::from_word),
        queries: number(row, 11)?,
        contacts: number(row, 12)?,
        course: Course {
            state: parsed(row, 13)?,
            opened: row.get(14)?,
            since: row.get(15)?,
            first_hit: row.get(16)?,
            last_hit: row.get(17)?,
            last_asked: row.get(18)?,
            notified: row.get(19)?,
            cleaned: row.get(20)?,
            closed: row.get(21)?,
            reopened: row.get(22)?,
            quiet_days: row.get(23)?,
            counted_day: row.get(24)?,
            asked_day: row.get(25)?,
        },
    })
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn case(connection: &Connection, id: CaseId) -> Result<Option<Case>> {
    let select = format!("SELECT {COLUMNS} FROM cases WHERE id = ?1");
    Ok(connection.prepare(&select)?.query_row([id.0], case_of).optional()?)
}

/// The case of this machine, family and class. Feeds write families as they like: one that is spelt so goes first, then the
/// first that differs in case or marks only.
pub(super) fn case_of_key(
    connection: &Connection,
    subject: Subject,
    family: &str,
    class: Class,
) -> Result<Option<Case>> {
    let select = format!("SELECT {COLUMNS} FROM cases WHERE subject = ?1 AND family = ?2 AND class = ?3");
    let mut statement = connection.prepare(&select)?;
    let exact =
        statement.query_row(params![subject.to_string(), family, class.as_str()], case_of).optional()?;
    if exact.is_some() {
        return Ok(exact);
    }
    let wanted = folded(family);
    let is_alike = |case: &Case| case.class == class && folded(&case.family) == wanted;
    Ok(cases_of(connection, subject)?.into_iter().find(is_alike))
}

pub(super) fn cases_of(connection: &Connection, subject: Subject) -> Result<Vec<Case>> {
    let select = format!("SELECT {COLUMNS} FROM cases WHERE subject = ?1 ORDER BY id");
    let mut statement = connection.prepare(&select)?;
    Ok(statement.query_map([subject.to_string()], case_of)?.collect::<rusqlite::Result<_>>()?)
}

/// Cases whose asked day is over.
pub(super) fn cases_to_count(connection: &Connection, today: i32) -> Result<Vec<Case>> {
    let select =
        format!("SELECT {COLUMNS} FROM cases WHERE asked_day < ?1 AND state <> 'closed' ORDER BY asked_day");
    let mut statement = connection.prepare(&select)?;
    Ok(statement.query_map([today], case_of)?.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn case_of_ticket(connection: &Connection, ticket: Ticket) -> Result<Option<CaseId>> {
    let mut statement = connection.prepare("SELECT cases FROM tickets WHERE code = ?1")?;
    Ok(statement.query_row([ticket.to_string()], |row| Ok(CaseId(row.get(0)?))).optional()?)
}

pub(super) fn tickets(connection: &Connection, id: CaseId) -> Result<Vec<Ticket>> {
    let mut statement = connection.prepare("SELECT code FROM tickets WHERE cases = ?1 ORDER BY code")?;
    Ok(statement.query_map([id.0], |row| parsed(row, 0))?.collect::<rusqlite::Result<_>>()?)
}

/// What a filter asks for, in SQL, with the values of its places in their order; the limit is left out.
fn conditions(filter: &CaseFilter) -> (String, Vec<Value>) {
    let mut parts = vec!["1".to_owned()];
    let mut values: Vec<Value> = Vec::new();
    let mut add = |part: &str, value: Value| {
        values.push(value);
        parts.push(format!("{part} ?{}", values.len()));
    };
    for (part, value) in [
        ("agency =", filter.agency.clone()),
        ("family = ", filter.family.clone()),
        ("officer =", filter.officer.clone()),
        ("class =", filter.class.map(|class| class.to_string())),
        ("subject =", filter.subject.map(|subject| subject.to_string())),
        ("client =", filter.client.map(|client| client.to_canonical().to_string())),
    ] {
        if let Some(value) = value {
            add(part, value.into());
        }
    }
    if let Some(since) = filter.since {
        add("last_hit >=", since.into());
    }
    if let Some(until) = filter.until {
        add("last_hit <", until.into());
    }
    if let Some(text) = &filter.text {
        let escaped = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        values.push(format!("%{escaped}%").into());
        let place = values.len();
        let has = |column| format!("{column} LIKE ?{place} ESCAPE '\\'");
        parts.push(format!("({})", ["host", "client", "subject", "name", "family"].map(has).join(" OR ")));
    }
    if let Some(infected) = filter.infected {
        parts.push(board::infected_condition(infected, filter.agency.is_some()));
    }
    if let Some(overdue) = filter.overdue {
        parts.push(board::overdue_condition(overdue, &mut values));
    }
    if let Some(Behind { last_hit, id }) = filter.after {
        values.extend([last_hit.into(), id.into()]);
        let (last_hit, id) = (values.len() - 1, values.len());
        parts.push(format!("(last_hit, id) < (?{last_hit}, ?{id})"));
    }
    if !filter.states.is_empty() {
        // Words of ours.
        let states: Vec<String> = filter.states.iter().map(|state| format!("'{state}'")).collect();
        parts.push(format!("state IN ({})", states.join(", ")));
    }
    (parts.join(" AND "), values)
}

pub(super) fn list(connection: &Connection, filter: &CaseFilter) -> Result<Vec<Case>> {
    let (condition, values) = conditions(filter);
    let limit = filter.limit.map_or(-1, signed);
    let select = format!(
        "SELECT {COLUMNS} FROM cases WHERE {condition} ORDER BY last_hit DESC, id DESC LIMIT {limit}"
    );
    let mut statement = connection.prepare(&select)?;
    Ok(statement.query_map(params_from_iter(values), case_of)?.collect::<rusqlite::Result<_>>()?)
}

/// Open cases that were said to be wrong, and not judged.
pub(super) fn doubted(connection: &Connection, agency: Option<&str>, most: u32) -> Result<Vec<Case>> {
    let open = OPEN.map(|state| format!("'{state}'")).join(", ");
    let select = format!(
        "SELECT {COLUMNS} FROM cases WHERE state IN ({open}) AND verdict IS NULL AND (?1 IS NULL OR agency = ?1)
         AND EXISTS (SELECT 1 FROM steps WHERE steps.cases = cases.id AND what = 'said-wrong') ORDER BY last_hit DESC LIMIT ?2"
    );
    let mut statement = connection.prepare(&select)?;
    Ok(statement.query_map(params![agency, most], case_of)?.collect::<rusqlite::Result<_>>()?)
}

/// How many cases are not closed.
pub(super) fn open_count(connection: &Connection) -> Result<u64> {
    let mut statement = connection.prepare("SELECT count(*) FROM cases WHERE state <> 'closed'")?;
    Ok(statement.query_row([], |row| number(row, 0))?)
}

/// Adds a case; its number is given here.
pub(super) fn insert(connection: &Connection, case: &Case) -> Result<CaseId> {
    connection
        .prepare(
            "INSERT INTO cases VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14,
        ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25)",
        )?
        .execute(params_from_iter(values(case)))?;
    let id = CaseId(connection.last_insert_rowid());
    connection
        .prepare("INSERT INTO tickets VALUES (?1, ?2)")?
        .execute(params![case.ticket.to_string(), id.0])?;
    Ok(id)
}

pub(super) fn update(connection: &Connection, case: &Case) -> Result<()> {
    let mut values = values(case);
    values.push(case.id.0.into());
    connection
        .prepare(
            "UPDATE cases SET ticket = ?1, subject = ?2, host = ?3, client = ?4, agency = ?5, family = ?6, class = ?7,
        name = ?8, officer = ?9, verdict = ?10, queries = ?11, contacts = ?12, state = ?13, opened = ?14, since = ?15,
        first_hit = ?16, last_hit = ?17, last_asked = ?18, notified = ?19, cleaned = ?20, closed = ?21, reopened = ?22,
        quiet_days = ?23, counted_day = ?24, asked_day = ?25 WHERE id = ?26",
        )?
        .execute(params_from_iter(values))?;
    Ok(())
}

/// In the order of the columns, without the number.
fn values(case: &Case) -> Vec<Value> {
    let Case { course, .. } = case;
    let text = |text: &Option<String>| text.clone().map_or(Value::Null, Value::from);
    let time = |time: Option<i64>| time.map_or(Value::Null, Value::from);
    vec![
        case.ticket.to_string().into(),
        case.subject.to_string().into(),
        text(&case.host),
        case.client.to_string().into(),
        text(&case.agency),
        case.family.clone().into(),
        case.class.as_str().to_owned().into(),
        case.name.clone().into(),
        text(&case.officer),
        case.verdict.map_or(Value::Null, |verdict| verdict.as_str().to_owned().into()),
        signed(case.queries).into(),
        signed(case.contacts).into(),
        course.state.as_str().to_owned().into(),
        course.opened.into(),
        course.since.into(),
        course.first_hit.into(),
        course.last_hit.into(),
        time(course.last_asked),
        time(course.notified),
        time(course.cleaned),
        time(course.closed),
        course.reopened.into(),
        course.quiet_days.into(),
        course.counted_day.into(),
        course.asked_day.map_or(Value::Null, Value::from),
    ]
}

pub(super) fn add_step(connection: &Connection, id: CaseId, step: &Step) -> Result<()> {
    connection
        .prepare("INSERT INTO steps (cases, time, actor, what, note) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![id.0, step.time, step.by.to_string(), step.what.as_str(), step.note])?;
    Ok(())
}

fn step_of(row: &Row<'_>) -> rusqlite::Result<Step> {
    Ok(Step {
        time: row.get(0)?,
        by: Actor::parse(row.get_ref(1)?.as_str()?),
        what: What::from_word(row.get_ref(2)?.as_str()?).ok_or_else(|| strange(2))?,
        note: row.get(3)?,
    })
}

pub(super) fn steps(connection: &Connection, id: CaseId) -> Result<Vec<Step>> {
    let select = "SELECT time, actor, what, note FROM steps WHERE cases = ?1 ORDER BY time, id";
    let mut statement = connection.prepare(select)?;
    Ok(statement.query_map([id.0], step_of)?.collect::<rusqlite::Result<_>>()?)
}

/// How many steps a case has that people at the machine made since then.
pub(super) fn visitor_steps(connection: &Connection, id: CaseId, since: i64) -> Result<u64> {
    let select = "SELECT count(*) FROM steps WHERE cases = ?1 AND time >= ?2 AND actor LIKE 'visitor %'";
    Ok(connection.prepare(select)?.query_row(params![id.0, since], |row| number(row, 0))?)
}

/// How many steps a case has.
pub(super) fn step_count(connection: &Connection, id: CaseId) -> Result<u64> {
    let select = "SELECT count(*) FROM steps WHERE cases = ?1";
    Ok(connection.prepare(select)?.query_row([id.0], |row| number(row, 0))?)
}

/// Adds to what was seen.
pub(super) fn add_trace(connection: &Connection, id: CaseId, trace: &Trace) -> Result<()> {
    let (kind, contact) = kind_of(trace.evidence);
    connection
        .prepare(
            "INSERT INTO traces (cases, kind, minute, client, name, first, last, count, contact)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT DO UPDATE SET first = min(first, excluded.first), last = max(last, excluded.last),
                 count = count + excluded.count, contact = excluded.contact",
        )?
        .execute(params![
            id.0,
            kind,
            trace.last.div_euclid(MINUTE),
            trace.client.to_string(),
            trace.name,
            trace.first,
            trace.last,
            signed(trace.count),
            contact
        ])?;
    Ok(())
}

/// Counts what was seen of what is known already, unless its trace was let go.
pub(super) fn grow_trace(connection: &Connection, id: CaseId, trace: &Trace) -> Result<()> {
    let (kind, _) = kind_of(trace.evidence);
    connection
        .prepare(
            "UPDATE traces SET count = count + ?6 WHERE cases = ?1 AND kind = ?2 AND minute = ?3 AND client = ?4 AND name = ?5",
        )?
        .execute(params![
            id.0,
            kind,
            trace.last.div_euclid(MINUTE),
            trace.client.to_string(),
            trace.name,
            signed(trace.count)
        ])?;
    Ok(())
}

fn kind_of(evidence: Evidence) -> (i64, Option<i64>) {
    match evidence {
        Evidence::Query => (0, None),
        Evidence::Contact(id) => (1, Some(signed(id))),
        Evidence::Visit => (2, None),
        Evidence::Find => (3, None),
    }
}

/// Lets the middle of a long list of traces go.
pub(super) fn trim_traces(connection: &Connection, id: CaseId) -> Result<()> {
    let select = "SELECT count(*) FROM traces WHERE cases = ?1";
    let count: i64 = connection.prepare(select)?.query_row([id.0], |row| row.get(0))?;
    let most = FIRST_TRACES + LAST_TRACES;
    // Now and then, not with each.
    if count > most + most / 10 {
        connection
            .prepare(
                "DELETE FROM traces WHERE id IN (SELECT id FROM traces WHERE cases = ?1 ORDER BY first, id LIMIT ?2 OFFSET ?3)",
            )?
            .execute(params![id.0, count - most, FIRST_TRACES])?;
    }
    Ok(())
}

pub(super) fn traces(connection: &Connection, id: CaseId) -> Result<Vec<Trace>> {
    let select = "SELECT first, last, count, client, kind, contact, name FROM traces WHERE cases = ?1 ORDER BY first, id";
    let mut statement = connection.prepare(select)?;
    let rows = statement.query_map([id.0], |row| {
        Ok(Trace {
            first: row.get(0)?,
            last: row.get(1)?,
            count: number(row, 2)?,
            client: row.get_ref(3)?.as_str()?.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            evidence: match row.get::<_, i64>(4)? {
                0 => Evidence::Query,
                2 => Evidence::Visit,
                3 => Evidence::Find,
                _ => Evidence::Contact(row.get::<_, Option<i64>>(5)?.unwrap_or_default().unsigned_abs()),
            },
            name: row.get(6)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Gives all that belongs to one case to another, and removes the former.
pub(super) fn move_all(connection: &Connection, from: CaseId, into: CaseId) -> Result<()> {
    let ids = params![from.0, into.0];
    connection.execute("UPDATE tickets SET cases = ?2 WHERE cases = ?1", ids)?;
    connection.execute("UPDATE steps SET cases = ?2 WHERE cases = ?1", ids)?;
    connection.execute("UPDATE outbox SET cases = ?2 WHERE cases = ?1", ids)?;
    connection.execute(
        "INSERT INTO traces (cases, kind, minute, client, name, first, last, count, contact)
         SELECT ?2, kind, minute, client, name, first, last, count, contact FROM traces WHERE cases = ?1
         ON CONFLICT DO UPDATE SET first = min(first, excluded.first), last = max(last, excluded.last),
             count = count + excluded.count",
        ids,
    )?;
    connection.execute("UPDATE OR IGNORE proposals SET cases = ?2 WHERE cases = ?1", ids)?;
    remove(connection, from)
}

fn remove(connection: &Connection, id: CaseId) -> Result<()> {
    for table in ["tickets", "steps", "traces", "proposals", "outbox"] {
        connection.execute(&format!("DELETE FROM {table} WHERE cases = ?1"), [id.0])?;
    }
    connection.execute("DELETE FROM cases WHERE id = ?1", [id.0])?;
    Ok(())
}

/// Removes cases that were closed before then; at most some at once. Returns how many.
pub(super) fn expire(connection: &Connection, before: i64) -> Result<usize> {
    let select = "SELECT id FROM cases WHERE state = 'closed' AND closed < ?1 LIMIT 1000";
    let ids: Vec<i64> = connection
        .prepare(select)?
        .query_map([before], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for id in &ids {
        remove(connection, CaseId(*id))?;
    }
    Ok(ids.len())
}

pub(super) fn add_proposal(
    connection: &Connection,
    id: CaseId,
    name: &str,
    time: i64,
    by: &Actor,
    reason: &str,
) -> Result<()> {
    connection
        .prepare(
            "INSERT INTO proposals (cases, name, time, actor, reason) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET time = excluded.time, actor = excluded.actor, reason = excluded.reason,
                 declined = NULL, decliner = NULL",
        )?
        .execute(params![id.0, name, time, by.to_string(), reason])?;
    Ok(())
}

/// Whether somebody holds this name of a case for harmless, and nobody declined that.
pub(super) fn is_harmless(connection: &Connection, id: CaseId, name: &str) -> Result<bool> {
    let select = "SELECT 1 FROM proposals WHERE cases = ?1 AND name = ?2 AND declined IS NULL";
    Ok(connection.prepare(select)?.exists(params![id.0, name])?)
}

pub(super) fn proposals(connection: &Connection) -> Result<Vec<Proposal>> {
    let select = "SELECT proposals.id, cases.ticket, proposals.name, cases.family, time, actor, reason, declined, decliner
        FROM proposals JOIN cases ON cases.id = proposals.cases ORDER BY proposals.time DESC, proposals.id DESC";
    let mut statement = connection.prepare(select)?;
    let rows = statement.query_map([], |row| {
        let declined: Option<i64> = row.get(7)?;
        let by: Option<String> = row.get(8)?;
        Ok(Proposal {
            id: row.get(0)?,
            ticket: parsed(row, 1)?,
            name: row.get(2)?,
            family: row.get(3)?,
            time: row.get(4)?,
            by: Actor::parse(row.get_ref(5)?.as_str()?),
            reason: row.get(6)?,
            declined: declined.zip(by.as_deref().map(Actor::parse)),
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Sets proposals aside: one by its number, or all of a case. Returns the cases that they were of.
pub(super) fn decline(connection: &Connection, id: i64, time: i64, by: &Actor) -> Result<Option<CaseId>> {
    let update = "UPDATE proposals SET declined = ?2, decliner = ?3 WHERE id = ?1 AND declined IS NULL RETURNING cases";
    let mut statement = connection.prepare(update)?;
    let of = statement.query_row(params![id, time, by.to_string()], |row| Ok(CaseId(row.get(0)?)));
    Ok(of.optional()?)
}

/// The names of a case's traces, the most frequent first.
pub(super) fn names(connection: &Connection, id: CaseId, most: u32) -> Result<Vec<String>> {
    let select =
        "SELECT name FROM traces WHERE cases = ?1 GROUP BY name ORDER BY sum(count) DESC, name LIMIT ?2";
    let mut statement = connection.prepare(select)?;
    Ok(statement.query_map(params![id.0, most], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
}

/// How far somebody has got.
pub(super) fn mark(connection: &Connection, key: &str) -> Result<Option<i64>> {
    let mut statement = connection.prepare("SELECT value FROM meta WHERE key = ?1")?;
    Ok(statement.query_row([key], |row| row.get(0)).optional()?)
}

pub(super) fn set_mark(connection: &Connection, key: &str, value: i64) -> Result<()> {
    let insert = "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value";
    connection.prepare(insert)?.execute(params![key, value])?;
    Ok(())
}

/// How far somebody has got with what has a name that begins so.
pub(super) fn marks(connection: &Connection, prefix: &str) -> Result<Vec<(String, i64)>> {
    let mut statement = connection
        .prepare("SELECT key, value FROM meta WHERE substr(key, 1, length(?1)) = ?1 ORDER BY key")?;
    let rows = statement.query_map([prefix], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn remove_mark(connection: &Connection, key: &str) -> Result<()> {
    connection.prepare("DELETE FROM meta WHERE key = ?1")?.execute([key])?;
    Ok(())
}

/// What somebody keeps for later.
pub(super) fn kept(connection: &Connection) -> Result<Vec<String>> {
    let mut statement = connection.prepare("SELECT value FROM kept ORDER BY key")?;
    Ok(statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
}

/// Keeps something, or keeps it no longer.
pub(super) fn keep(connection: &Connection, key: &str, value: Option<&str>) -> Result<()> {
    match value {
        Some(value) => {
            let insert = "INSERT INTO kept VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value";
            connection.prepare(insert)?.execute(params![key, value])?
        }
        None => connection.prepare("DELETE FROM kept WHERE key = ?1")?.execute([key])?,
    };
    Ok(())
}

/// The most that a state's word is not closed; named for those who list.
pub(super) const OPEN: [State; 4] = [State::New, State::Notified, State::Cleaned, State::Watched];
