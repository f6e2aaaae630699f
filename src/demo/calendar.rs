//! Days and hours of a province in Vietnam: when offices are open, and how much is asked when. Times are microseconds since 1970.

use super::dice::Dice;

/// A second.
pub(super) const SECOND: i64 = 1_000_000;
/// A minute.
pub(super) const MINUTE: i64 = 60 * SECOND;
/// An hour.
pub(super) const HOUR: i64 = 60 * MINUTE;
/// A day.
pub(super) const DAY: i64 = 24 * HOUR;
/// How far clocks in Vietnam are ahead, the whole year.
const AHEAD: i64 = 7 * HOUR;
/// How much is asked in each hour of a working day.
const BUSY: [u32; 24] =
    [3, 2, 2, 2, 2, 4, 8, 40, 110, 120, 105, 60, 30, 85, 110, 105, 80, 35, 14, 12, 12, 10, 6, 4];
/// Of a hundred machines, how many are on at a weekend, and so how much is asked.
const WEEKEND: u32 = 14;

/// The time that is told of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Calendar {
    /// The midnight with which it begins.
    pub(super) start: i64,
    /// When it ends: now, most often.
    pub(super) until: i64,
    /// Its days, the last of which may not be over.
    pub(super) days: u32,
}

/// An hour of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hour {
    /// When it begins.
    pub(super) start: i64,
    /// When it ends, or all of it does.
    pub(super) end: i64,
    /// How much is asked in it, compared with others.
    pub(super) weight: f64,
}

impl Calendar {
    /// So many days up to a time.
    pub(super) fn new(until: i64, days: u32) -> Self {
        let start = midnight(until) - i64::from(days.max(1) - 1) * DAY;
        Self { start, until, days: days.max(1) }
    }

    /// When a day begins.
    pub(super) fn day(&self, day: u32) -> i64 {
        self.start + i64::from(day) * DAY
    }

    /// The hours of a day that have begun.
    pub(super) fn hours(self, day: u32) -> impl Iterator<Item = Hour> {
        let starts = (0..24).map(move |hour| self.day(day) + hour * HOUR);
        starts.take_while(move |start| *start < self.until).map(move |start| {
            let end = (start + HOUR).min(self.until);
            let busy =
                if is_weekend(start) { BUSY[hour_of(start)] * WEEKEND / 100 } else { BUSY[hour_of(start)] };
            let weight = f64::from(busy.max(1)) * (end - start) as f64 / HOUR as f64;
            Hour { start, end, weight }
        })
    }

    /// The weights of all hours together.
    pub(super) fn weight(self) -> f64 {
        (0..self.days).flat_map(|day| self.hours(day)).map(|hour| hour.weight).sum()
    }
}

/// The midnight before a time.
fn midnight(time: i64) -> i64 {
    (time + AHEAD).div_euclid(DAY) * DAY - AHEAD
}

/// The hour of the day.
pub(super) fn hour_of(time: i64) -> usize {
    ((time + AHEAD).rem_euclid(DAY) / HOUR) as usize
}

/// Whether it is Saturday or Sunday.
pub(super) fn is_weekend(time: i64) -> bool {
    // The first day of 1970 was a Thursday.
    ((time + AHEAD).div_euclid(DAY) + 3).rem_euclid(7) >= 5
}

/// Whether offices are open.
pub(super) fn is_office_hour(time: i64) -> bool {
    !is_weekend(time) && matches!(hour_of(time), 7..=10 | 13..=16)
}

/// A moment in the first minutes of an office hour, after a time.
pub(super) fn office_hour(after: i64, dice: &mut Dice) -> i64 {
    let hour = after.div_euclid(HOUR) * HOUR + HOUR;
    let open = (0..).map(|more| hour + more * HOUR).find(|time| is_office_hour(*time)).unwrap_or(hour);
    dice.within(open, open + 5 * MINUTE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-26T10:30:00+07:00, a Thursday.
    const NOW: i64 = 1_795_663_800_000_000;

    #[test]
    fn days_are_those_of_vietnam() {
        let calendar = Calendar::new(NOW, 3);
        assert_eq!((NOW - calendar.start) / MINUTE, 2 * 24 * 60 + 10 * 60 + 30);
        assert_eq!((hour_of(NOW), is_weekend(NOW), is_weekend(NOW + 2 * DAY)), (10, false, true));
        assert_eq!((calendar.hours(0).count(), calendar.hours(2).count()), (24, 11));
        let last = calendar.hours(2).last().unwrap();
        assert_eq!((last.end, last.end - last.start), (NOW, 30 * MINUTE));
        let saturday = Calendar::new(NOW + 3 * DAY, 1).hours(0).map(|hour| hour.weight).sum::<f64>();
        assert!(saturday < Calendar::new(NOW + DAY, 2).hours(0).map(|hour| hour.weight).sum::<f64>() / 5.0);
    }

    #[test]
    fn offices_open_on_monday_again() {
        let mut dice = Dice::of(1, 1, 1);
        let friday = NOW + DAY + 9 * HOUR;
        let monday = office_hour(friday, &mut dice);
        assert_eq!((monday - friday) / DAY, 2);
        assert_eq!(hour_of(monday), 7);
    }
}
