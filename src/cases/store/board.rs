//! The database's answers to what is asked of many cases at once.

use rusqlite::types::Value;
use rusqlite::{Connection, params, params_from_iter};

use super::{OPEN, Result, conditions, number};
use crate::cases::board::{Group, Infected, Overdue, Standing, Tally};
use crate::cases::{CaseFilter, Class, State, Verdict};

/// The states that are not closed, for an index's sake.
fn open() -> String {
    OPEN.map(|state| format!("'{state}'")).join(", ")
}

/// Whether a row of `table` is of an infection, and no list's mistake.
fn is_infection(table: &str) -> String {
    let classes = Class::INFECTIONS.map(|class| format!("'{class}'")).join(", ");
    let mistake = Verdict::FalsePositive.as_str();
    format!("({table}.class IN ({classes}) AND {table}.verdict IS NOT '{mistake}')")
}

/// As [`conditions`] has it.
pub(super) fn infected_condition(infected: Infected, is_of_agency: bool) -> String {
    let is_infection = is_infection("cases");
    if infected == Infected::Cases {
        return is_infection;
    }
    let (open, is_later) = (open(), self::is_infection("later"));
    let of_agency = if is_of_agency { "AND later.agency = cases.agency" } else { "" };
    format!(
        "{is_infection} AND state IN ({open}) AND NOT EXISTS (SELECT 1 FROM cases AS later
             WHERE later.subject = cases.subject AND {is_later} AND later.state IN ({open}) {of_agency}
             AND (later.last_hit, later.id) > (cases.last_hit, cases.id))"
    )
}

pub(in crate::cases) fn infected(connection: &Connection, agency: Option<&str>) -> Result<u64> {
    let (open, is_infection) = (open(), is_infection("cases"));
    let of = if agency.is_some() { "agency = ?1" } else { "?1 IS NULL" };
    let select = format!(
        "SELECT count(DISTINCT subject) FROM cases WHERE state IN ({open}) AND {is_infection} AND {of}"
    );
    Ok(connection.prepare(&select)?.query_row(params![agency], |row| number(row, 0))?)
}

/// Whether a case is overdue, with both times in these places.
fn is_overdue(begun: usize, told: usize) -> String {
    format!(
        "((state = 'new' AND since < ?{begun}) OR (state = 'notified' AND coalesce(notified, since) < ?{told}))"
    )
}

/// As [`conditions`] has it.
pub(super) fn overdue_condition(overdue: Overdue, values: &mut Vec<Value>) -> String {
    values.extend([overdue.begun.into(), overdue.told.into()]);
    // Both are states of the index.
    format!("state IN ('new', 'notified') AND {}", is_overdue(values.len() - 1, values.len()))
}

pub(in crate::cases) fn tally(
    connection: &Connection,
    filter: &CaseFilter,
    overdue: Overdue,
) -> Result<Tally> {
    let filter = CaseFilter { states: Vec::new(), after: None, ..filter.clone() };
    let (condition, mut values) = conditions(&filter);
    values.extend([overdue.begun.into(), overdue.told.into()]);
    let is_overdue = is_overdue(values.len() - 1, values.len());
    let select = format!(
        "SELECT state, count(*), count(*) FILTER (WHERE {is_overdue}) FROM cases WHERE {condition} GROUP BY state"
    );
    let mut statement = connection.prepare(&select)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut tally = Tally::default();
    while let Some(row) = rows.next()? {
        let state: State = super::parsed(row, 0)?;
        tally.states[state as usize] = number(row, 1)?;
        tally.overdue += number(row, 2)?;
    }
    Ok(tally)
}

pub(in crate::cases) fn standings(
    connection: &Connection,
    agency: Option<&str>,
    since: i64,
    overdue: Overdue,
) -> Result<Vec<Standing>> {
    let open = open();
    let (is_overdue, is_infection) = (is_overdue(2, 3), is_infection("cases"));
    // The signs keep it from going through all cases by state or agency: those closed lately are few.
    let of = if agency.is_some() { "agency = ?1" } else { "?1 IS NULL" };
    let select = format!(
        "SELECT agency, count(*), count(*) FILTER (WHERE state = 'new'), count(*) FILTER (WHERE {is_overdue}),
             count(DISTINCT subject) FILTER (WHERE {is_infection}), 0, NULL
         FROM cases WHERE state IN ({open}) AND {of} GROUP BY agency
         UNION ALL
         SELECT agency, 0, 0, 0, 0, count(*),
             avg(max(0, coalesce(cleaned, last_hit) - since)) FILTER (WHERE {is_infection})
         FROM cases WHERE +state = 'closed' AND closed >= ?4 AND {of} GROUP BY +agency
         ORDER BY 1"
    );
    let mut statement = connection.prepare(&select)?;
    let mut rows = statement.query(params![agency, overdue.begun, overdue.told, since])?;
    let mut standings: Vec<Standing> = Vec::new();
    while let Some(row) = rows.next()? {
        let agency: Option<String> = row.get(0)?;
        if standings.last().is_none_or(|last| last.agency != agency) {
            standings.push(Standing { agency, ..Standing::default() });
        }
        let Some(standing) = standings.last_mut() else { continue };
        standing.open += number(row, 1)?;
        standing.new += number(row, 2)?;
        standing.overdue += number(row, 3)?;
        standing.infected += number(row, 4)?;
        standing.closed += number(row, 5)?;
        // An average of whole microseconds, to the microsecond.
        standing.time_to_clean = row.get::<_, Option<f64>>(6)?.map(|it| it as i64).or(standing.time_to_clean);
    }
    Ok(standings)
}

pub(in crate::cases) fn frequent(
    connection: &Connection,
    group: Group,
    agency: Option<&str>,
    most: u32,
) -> Result<Vec<(String, u64)>> {
    let column = match group {
        Group::Family => "family",
        Group::Officer => "officer",
    };
    let open = open();
    let of = if agency.is_some() { "agency = ?1" } else { "?1 IS NULL" };
    let select = format!(
        "SELECT {column}, count(*) FROM cases WHERE state IN ({open}) AND {column} IS NOT NULL AND {of}
         GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?2"
    );
    let mut statement = connection.prepare(&select)?;
    let rows = statement.query_map(params![agency, most], |row| Ok((row.get(0)?, number(row, 1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
