//! What reports need of cases: those that matter for a time, with their steps, and whether they were seen in it. SQL only.

use rusqlite::{Connection, params};

use super::{COLUMNS, FIRST_TRACES, LAST_TRACES, MINUTE, Result, case_of, steps};
use crate::cases::history::{Closing, History, Seen};
use crate::cases::{Case, What};

/// Cases that were known or seen before `until`, and that were open, closed or seen from `since` on.
pub(in crate::cases) fn histories(
    connection: &Connection,
    since: i64,
    until: i64,
    agency: Option<&str>,
) -> Result<Vec<History>> {
    // One moment for all that is read.
    let connection = connection.unchecked_transaction()?;
    let select = format!(
        "SELECT {COLUMNS} FROM cases WHERE (opened < ?2 OR first_hit < ?2)
         AND (state <> 'closed' OR closed >= ?1 OR last_hit >= ?1) AND (?3 IS NULL OR agency = ?3) ORDER BY id"
    );
    let mut statement = connection.prepare(&select)?;
    let cases: Vec<Case> =
        statement.query_map(params![since, until, agency], case_of)?.collect::<rusqlite::Result<_>>()?;
    let mut within = connection.prepare(
        "SELECT 1 FROM traces WHERE cases = ?1 AND minute >= ?2 AND minute <= ?3 AND last >= ?4 AND first < ?5 LIMIT 1",
    )?;
    let mut count = connection.prepare("SELECT count(*) FROM traces WHERE cases = ?1")?;
    let mut last = connection.prepare("SELECT max(last) FROM traces WHERE cases = ?1 AND last <= ?2")?;
    let mut found = Vec::with_capacity(cases.len());
    for case in cases {
        let course = &case.course;
        let is_within = |time: i64| (since..until).contains(&time);
        let seen = if is_within(course.first_hit) || is_within(course.last_hit) {
            Seen::Yes
        } else if course.first_hit >= until || course.last_hit < since {
            Seen::No
        } else if within.exists(params![
            case.id.0,
            since.div_euclid(MINUTE),
            until.div_euclid(MINUTE),
            since,
            until
        ])? {
            Seen::Yes
        } else if count.query_row([case.id.0], |row| row.get::<_, i64>(0))? >= FIRST_TRACES + LAST_TRACES {
            Seen::Unknown
        } else {
            Seen::No
        };
        let steps = steps(&connection, case.id)?;
        let mut closings = Vec::new();
        for step in steps.iter().filter(|step| step.what == What::Closed && is_within(step.time)) {
            let last_hit = last.query_row(params![case.id.0, step.time], |row| row.get(0))?;
            closings.push(Closing { time: step.time, last_hit });
        }
        found.push(History { case, steps, seen, closings });
    }
    Ok(found)
}
