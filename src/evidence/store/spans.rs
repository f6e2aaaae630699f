//! Which of a time sums answer, and which rows: whole minutes, hours and days as far back as the sums of each are kept.

use super::catalogue::Unit;
use super::counting::day_of;
use super::rows::MINUTE;

/// Microseconds of an hour.
pub(super) const HOUR: i64 = 60 * MINUTE;

/// From when on there are sums of each; `None` where there are none.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Kept {
    pub(super) minute: Option<i64>,
    pub(super) hour: Option<i64>,
    /// Not asked for where days are no answer.
    pub(super) day: Option<i64>,
}

/// A time in parts, none of which overlap.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Spans {
    /// Whole units of which there are sums: from, and before.
    pub(super) sums: Vec<(Unit, i64, i64)>,
    /// What only rows can tell, each within an hour or a day of which there may be a sum.
    pub(super) rest: Vec<(Unit, i64, i64)>,
}

impl Spans {
    /// Parts the time from `from` on and before `to`.
    pub(super) fn of(from: i64, to: i64, kept: Kept) -> Self {
        let mut spans = Self::default();
        let days_end = end_of_days(kept).clamp(from, to.max(from));
        spans.add_days(from, days_end);
        spans.add_hours(days_end, to, kept.minute);
        spans
    }

    /// Parts a time whose minutes are all there.
    pub(super) fn of_minutes(from: i64, to: i64) -> Self {
        let mut spans = Self::default();
        spans.add_minutes(from, to, Some(i64::MIN));
        spans
    }

    fn add_days(&mut self, from: i64, to: i64) {
        if from >= to {
            return;
        }
        let start = if from == i64::MIN || day_of(from) == from { from } else { next_day(from) };
        let end = day_of(to);
        if start > end {
            self.rest.push((Unit::Day, from, to));
            return;
        }
        self.add(Unit::Day, start, end);
        self.add_rest(Unit::Day, from, start);
        self.add_rest(Unit::Day, end, to);
    }

    fn add_hours(&mut self, from: i64, to: i64, first_minute: Option<i64>) {
        let (start, end) = whole(from, to, HOUR);
        if start < end {
            self.add(Unit::Hour, start, end);
            self.add_minutes(from, start, first_minute);
            self.add_minutes(end, to, first_minute);
        } else {
            // Parts of two hours at the most.
            let between = start.min(to);
            self.add_minutes(from, between, first_minute);
            self.add_minutes(between, to, first_minute);
        }
    }

    fn add_minutes(&mut self, from: i64, to: i64, first_minute: Option<i64>) {
        let (start, end) = whole(from, to, MINUTE);
        if start < end && first_minute.is_some_and(|first| first <= start) {
            self.add(Unit::Minute, start, end);
            self.add_rest(Unit::Hour, from, start);
            self.add_rest(Unit::Hour, end, to);
        } else {
            self.add_rest(Unit::Hour, from, to);
        }
    }

    fn add(&mut self, unit: Unit, from: i64, to: i64) {
        if from < to {
            self.sums.push((unit, from, to));
        }
    }

    fn add_rest(&mut self, unit: Unit, from: i64, to: i64) {
        if from < to {
            self.rest.push((unit, from, to));
        }
    }
}

/// The whole units of a time; without end where it is.
fn whole(from: i64, to: i64, unit: i64) -> (i64, i64) {
    let up = |time: i64| time.saturating_add(unit - 1).div_euclid(unit).saturating_mul(unit);
    let start = if from == i64::MIN { from } else { up(from) };
    let end = if to == i64::MAX { to } else { to.div_euclid(unit).saturating_mul(unit) };
    (start, end)
}

/// Up to where only sums of days are left: whole days, since those of hours went by the hour.
fn end_of_days(kept: Kept) -> i64 {
    match kept {
        Kept { day: Some(day), hour: Some(hour), .. } if day < day_of(hour) => {
            if day_of(hour) == hour {
                hour
            } else {
                next_day(hour)
            }
        }
        Kept { day: Some(_), hour: None, .. } => i64::MAX,
        _ => i64::MIN,
    }
}

/// When the day after that of a time begins, by the machine's time zone.
fn next_day(time: i64) -> i64 {
    // Days have 23 to 25 hours.
    day_of(day_of(time).saturating_add(36 * HOUR))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;
    const NONE: Kept = Kept { minute: None, hour: None, day: None };

    #[track_caller]
    fn check(from: i64, to: i64, kept: Kept, sums: &[(Unit, i64, i64)], rest: &[(Unit, i64, i64)]) {
        let spans = Spans::of(from, to, kept);
        assert_eq!((&*spans.sums, &*spans.rest), (sums, rest));
    }

    #[test]
    fn whole_hours_and_minutes_are_summed_and_only_ends_are_read() {
        let (open, end) = (i64::MIN, i64::MAX);
        check(open, end, NONE, &[(Unit::Hour, open, end)], &[]);
        let [a, b] = [10 * HOUR + 90 * SECOND, 12 * HOUR + 30 * SECOND];
        let hours = (Unit::Hour, 11 * HOUR, 12 * HOUR);
        check(a, b, NONE, &[hours], &[(Unit::Hour, a, 11 * HOUR), (Unit::Hour, 12 * HOUR, b)]);
        let first = 10 * HOUR + 2 * MINUTE;
        let minutes = (Unit::Minute, first, 11 * HOUR);
        let ends = [(Unit::Hour, a, first), (Unit::Hour, 12 * HOUR, b)];
        check(a, b, Kept { minute: Some(first), ..NONE }, &[hours, minutes], &ends);
        // Those of the later end are kept for longer.
        let [a, b] = [10 * HOUR + SECOND, 12 * HOUR + 90 * SECOND];
        check(
            a,
            b,
            Kept { minute: Some(12 * HOUR), ..NONE },
            &[hours, (Unit::Minute, 12 * HOUR, 12 * HOUR + MINUTE)],
            &[(Unit::Hour, a, 11 * HOUR), (Unit::Hour, 12 * HOUR + MINUTE, b)],
        );
    }

    #[test]
    fn a_time_without_a_whole_hour_lies_in_two() {
        let [a, b] = [10 * HOUR + 50 * MINUTE, 11 * HOUR + 10 * MINUTE];
        check(a, b, NONE, &[], &[(Unit::Hour, a, 11 * HOUR), (Unit::Hour, 11 * HOUR, b)]);
        let kept = Kept { minute: Some(0), ..NONE };
        check(a, b, kept, &[(Unit::Minute, a, 11 * HOUR), (Unit::Minute, 11 * HOUR, b)], &[]);
        check(a, a + SECOND, kept, &[], &[(Unit::Hour, a, a + SECOND)]);
        check(a, a, kept, &[], &[]);
        check(b, a, kept, &[], &[]);
    }

    #[test]
    fn days_answer_for_times_whose_hours_are_gone() {
        let day = |number: i64| {
            let mut day = day_of(1_795_478_400 * SECOND);
            (0..number).for_each(|_| day = next_day(day));
            day
        };
        let kept = Kept { day: Some(day(0)), hour: Some(day(2) + 5 * HOUR), minute: None };
        let (open, end) = (i64::MIN, i64::MAX);
        check(open, end, kept, &[(Unit::Day, open, day(3)), (Unit::Hour, day(3), end)], &[]);
        let from = day(1) + HOUR;
        let sums = [(Unit::Day, day(2), day(3)), (Unit::Hour, day(3), end)];
        check(from, end, kept, &sums, &[(Unit::Day, from, day(2))]);
        check(from, from + HOUR, kept, &[], &[(Unit::Day, from, from + HOUR)]);
        check(day(4), day(5), kept, &[(Unit::Hour, day(4), day(5))], &[]);
        check(open, day(1), Kept { hour: None, ..kept }, &[(Unit::Day, open, day(1))], &[]);
    }
}
