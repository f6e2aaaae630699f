//! The outbox: messages on their way. A key that was given is never given again, so nothing is told twice.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{COLUMNS, Result, case_of, step_of};
use crate::cases::{Case, CaseId, Class, Step};

/// How far a message is; the numbers are those in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i64)]
pub(in crate::cases) enum Fate {
    /// It is to be sent.
    Waiting = 0,
    /// It is being sent: whoever finds it so after a crash does not know whether it arrived.
    Leaving = 1,
    /// It was taken.
    Sent = 2,
    /// Nobody took it for too long.
    GivenUp = 3,
    /// It may have arrived.
    Uncertain = 4,
}

/// A message to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cases) struct Message {
    pub(in crate::cases) id: i64,
    pub(in crate::cases) key: String,
    pub(in crate::cases) kind: String,
    pub(in crate::cases) case: Option<CaseId>,
    pub(in crate::cases) step: Option<i64>,
    pub(in crate::cases) made: i64,
    pub(in crate::cases) tries: u32,
}

fn message_of(row: &Row<'_>) -> rusqlite::Result<Message> {
    Ok(Message {
        id: row.get(0)?,
        key: row.get(1)?,
        kind: row.get(2)?,
        case: row.get::<_, Option<i64>>(3)?.map(CaseId),
        step: row.get(4)?,
        made: row.get(5)?,
        tries: row.get(6)?,
    })
}

/// Steps behind this one, with their cases.
pub(in crate::cases) fn steps_after(
    connection: &Connection,
    after: i64,
    most: u32,
) -> Result<Vec<(i64, Step, CaseId)>> {
    let select = "SELECT time, actor, what, note, id, cases FROM steps WHERE id > ?1 ORDER BY id LIMIT ?2";
    let mut statement = connection.prepare(select)?;
    let rows = statement
        .query_map(params![after, most], |row| Ok((row.get(4)?, step_of(row)?, CaseId(row.get(5)?))))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(in crate::cases) fn step(connection: &Connection, id: i64) -> Result<Option<Step>> {
    let select = "SELECT time, actor, what, note FROM steps WHERE id = ?1";
    Ok(connection.prepare(select)?.query_row([id], step_of).optional()?)
}

/// Adds a message, unless there is or was one with this key.
pub(in crate::cases) fn add(
    connection: &Connection,
    key: &str,
    channel: &str,
    kind: &str,
    of: Option<(CaseId, i64)>,
    now: i64,
) -> Result<()> {
    let (case, step) = of.map(|(case, step)| (case.0, step)).unzip();
    connection
        .prepare(
            "INSERT OR IGNORE INTO outbox (key, channel, kind, cases, step, made, due) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)",
        )?
        .execute(params![key, channel, kind, case, step, now])?;
    Ok(())
}

/// How many messages of a channel wait.
pub(in crate::cases) fn waiting(connection: &Connection, channel: &str) -> Result<u64> {
    let select = "SELECT count(*) FROM outbox WHERE state = 0 AND channel = ?1";
    Ok(connection.prepare(select)?.query_row([channel], |row| super::number(row, 0))?)
}

/// Whether a key was given.
pub(in crate::cases) fn has(connection: &Connection, key: &str) -> Result<bool> {
    Ok(connection.prepare("SELECT 1 FROM outbox WHERE key = ?1")?.exists([key])?)
}

/// The messages of a channel that are due, oldest first.
pub(in crate::cases) fn due(
    connection: &Connection,
    channel: &str,
    now: i64,
    most: u32,
) -> Result<Vec<Message>> {
    let select = "SELECT id, key, kind, cases, step, made, tries FROM outbox
        WHERE state = 0 AND channel = ?1 AND due <= ?2 ORDER BY id LIMIT ?3";
    let mut statement = connection.prepare(select)?;
    Ok(statement.query_map(params![channel, now, most], message_of)?.collect::<rusqlite::Result<_>>()?)
}

/// Says how far messages are; `due`: when they are tried next.
pub(in crate::cases) fn settle(
    connection: &Connection,
    ids: &[i64],
    fate: Fate,
    due: i64,
    trouble: Option<&str>,
) -> Result<()> {
    let mut statement = connection.prepare(
        "UPDATE outbox SET state = ?2, due = ?3, trouble = ?4, tries = tries + (?2 = 1) WHERE id = ?1",
    )?;
    for id in ids {
        statement.execute(params![id, fate as i64, due, trouble])?;
    }
    Ok(())
}

/// Says of messages that a process left behind half-sent what they are now. Returns how many.
pub(in crate::cases) fn find_left(connection: &Connection, prefix: &str, fate: Fate) -> Result<usize> {
    let update = "UPDATE outbox SET state = ?2 WHERE state = 1 AND substr(channel, 1, length(?1)) = ?1";
    Ok(connection.execute(update, params![prefix, fate as i64])?)
}

/// Gives up what waits for too long, and forgets what was done with long ago. Returns how many were given up.
pub(in crate::cases) fn clean(
    connection: &Connection,
    made_before: i64,
    forget_before: i64,
) -> Result<usize> {
    let update = "UPDATE outbox SET state = ?2 WHERE state = 0 AND made < ?1";
    let given_up = connection.execute(update, params![made_before, Fate::GivenUp as i64])?;
    connection.execute("DELETE FROM outbox WHERE state > 1 AND made < ?1", [forget_before])?;
    Ok(given_up)
}

/// The cases that are open, of one agency or all, with those that were closed since then; those seen last first.
pub(in crate::cases) fn digest(
    connection: &Connection,
    agency: Option<&str>,
    closed_since: i64,
    most: u32,
) -> Result<Vec<Case>> {
    let select = format!(
        "SELECT {COLUMNS} FROM cases WHERE {OF_DIGEST} ORDER BY state = 'closed', last_hit DESC LIMIT ?3"
    );
    let mut statement = connection.prepare(&select)?;
    let cases = statement.query_map(params![closed_since, agency, most], case_of)?;
    Ok(cases.collect::<rusqlite::Result<_>>()?)
}

/// The cases of a digest, by when closed ones were closed, and the agency.
const OF_DIGEST: &str = "(state <> 'closed' OR closed >= ?1) AND (?2 IS NULL OR agency = ?2)";

/// How many cases of one class a digest is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cases) struct Figures {
    pub(in crate::cases) class: Class,
    pub(in crate::cases) open: u64,
    /// Of the open ones: opened since.
    pub(in crate::cases) new: u64,
    /// … opened again since, or belied.
    pub(in crate::cases) again: u64,
    /// … that somebody says are clean.
    pub(in crate::cases) said_clean: u64,
    /// Closed since.
    pub(in crate::cases) closed: u64,
}

/// Counts the cases of [`digest`], whatever many, by their class.
pub(in crate::cases) fn figures(
    connection: &Connection,
    agency: Option<&str>,
    since: i64,
) -> Result<Vec<Figures>> {
    let select = format!(
        "SELECT class, count(*) FILTER (WHERE state <> 'closed'),
         count(*) FILTER (WHERE state <> 'closed' AND opened >= ?1),
         count(*) FILTER (WHERE state <> 'closed' AND reopened > 0 AND since >= ?1),
         count(*) FILTER (WHERE state IN ('cleaned', 'watched')), count(*) FILTER (WHERE state = 'closed')
         FROM cases WHERE {OF_DIGEST} GROUP BY class"
    );
    let mut statement = connection.prepare(&select)?;
    let figures = statement.query_map(params![since, agency], |row| {
        Ok(Figures {
            class: super::parsed(row, 0)?,
            open: super::number(row, 1)?,
            new: super::number(row, 2)?,
            again: super::number(row, 3)?,
            said_clean: super::number(row, 4)?,
            closed: super::number(row, 5)?,
        })
    })?;
    Ok(figures.collect::<rusqlite::Result<_>>()?)
}
