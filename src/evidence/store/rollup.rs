//! Counting by roll-ups: whole minutes, hours and days, as the catalogue adds them up.
//!
//! Days are read where days will do: of a thousand agencies a week has some ten thousand sums by the day, and a million by the hour.

use super::Filter;
use super::catalogue::{Catalogue, Unit};
use super::counting::{By, Tally, start_of_day};
use super::spans::HOUR;
use crate::database::DatabaseError;

/// Adds up what `filter` takes of whole spans, from a time on and before another one; of hours, days where that is all the same.
pub(super) fn add(
    catalogue: &Catalogue,
    (unit, from, to): (Unit, i64, i64),
    filter: &Filter,
    by: By,
    tally: &mut Tally,
) -> Result<(), DatabaseError> {
    let read = |unit, from, to, tally: &mut Tally| {
        let mut are_days = true;
        if from < to {
            catalogue.sums(unit, (from, to), filter, by, &mut |text, time, count| {
                // Days of another time zone than the machine's now are none.
                are_days &= unit != Unit::Day || start_of_day(time) == Some(time);
                if by.is_time() { tally.add_time(time, count) } else { tally.add_text(text, count) }
            })?;
        }
        Ok::<_, DatabaseError>(are_days)
    };
    if unit == Unit::Hour
        && !matches!(by, By::Hour | By::Minute)
        && let Some((first, last)) = days(from, to)
    {
        let mut of_days = Tally::new(by);
        if read(Unit::Day, first, last, &mut of_days)? {
            tally.join(&of_days);
            read(Unit::Hour, from, first, tally)?;
            read(Unit::Hour, last, to, tally)?;
            return Ok(());
        }
    }
    read(unit, from, to, tally)?;
    Ok(())
}

/// The whole days between two times.
fn days(start: i64, end: i64) -> Option<(i64, i64)> {
    let first = match start {
        i64::MIN => i64::MIN,
        // The day after the one before.
        start => match start_of_day(start)? {
            day if day == start => day,
            day => start_of_day(day.checked_add(36 * HOUR)?)?,
        },
    };
    let last = if end == i64::MAX { i64::MAX } else { start_of_day(end)? };
    (first < last).then_some((first, last))
}
