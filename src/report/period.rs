//! The time that a report is about: whole days, as Vietnam's clocks have them.

use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, ToSpan as _};

/// The longest: three years and a little.
const MOST_DAYS: i32 = 1100;

/// Whole days, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    first: Date,
    last: Date,
}

/// Why days are no period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PeriodError {
    /// The end is before the beginning.
    #[error("{last} is before {first}: write the earlier day first")]
    Backwards {
        /// The first day.
        first: Date,
        /// The last day.
        last: Date,
    },
    /// It is too long.
    #[error("{first} to {last} are more than {MOST_DAYS} days; make several reports")]
    Long {
        /// The first day.
        first: Date,
        /// The last day.
        last: Date,
    },
    /// Times of that day cannot be told.
    #[error("{0} is out of range; write a day such as 2026-11-01")]
    Range(Date),
    /// A text is no month.
    #[error("it is no month such as 2026-11")]
    Month,
}

impl Period {
    /// From a day to another one, which is part of it.
    ///
    /// # Errors
    /// [`PeriodError`].
    pub fn new(first: Date, last: Date) -> Result<Self, PeriodError> {
        if last < first {
            return Err(PeriodError::Backwards { first, last });
        }
        for day in [first, last] {
            // Times of the days around it are told too.
            if !(1970..=9000).contains(&day.year()) {
                return Err(PeriodError::Range(day));
            }
        }
        if (last - first).get_days() >= MOST_DAYS {
            return Err(PeriodError::Long { first, last });
        }
        Ok(Self { first, last })
    }

    /// A month, as in `2026-11`.
    ///
    /// # Errors
    /// [`PeriodError::Month`], or as [`Self::new`].
    pub fn month(text: &str) -> Result<Self, PeriodError> {
        let is_plain = text.len() == 7 && text.bytes().all(|octet| octet.is_ascii_digit() || octet == b'-');
        let first: Date = match is_plain {
            true => format!("{text}-01").parse().map_err(|_| PeriodError::Month)?,
            false => return Err(PeriodError::Month),
        };
        Self::new(first, first.last_of_month())
    }

    /// The month before the one of a time, microseconds since 1970.
    ///
    /// # Errors
    /// [`PeriodError::Range`].
    pub fn month_before(now: i64) -> Result<Self, PeriodError> {
        let last = day_of(now).first_of_month().yesterday().map_err(|_| PeriodError::Month)?;
        Self::new(last.first_of_month(), last)
    }

    /// The first day.
    pub fn first(self) -> Date {
        self.first
    }

    /// The last day.
    pub fn last(self) -> Date {
        self.last
    }

    /// When it begins, microseconds since 1970.
    pub fn since(self) -> i64 {
        begin_of(self.first)
    }

    /// When it is over, exclusive.
    pub fn until(self) -> i64 {
        begin_of(self.last.saturating_add(1.day()))
    }

    /// Its days in their order.
    pub fn days(self) -> impl Iterator<Item = Self> {
        self.first.series(1.day()).take_while(move |day| *day <= self.last).map(Self::of_day)
    }

    fn of_day(day: Date) -> Self {
        Self { first: day, last: day }
    }

    /// Whether it is a whole month, which then names it: `2026-11`.
    pub fn month_name(self) -> Option<String> {
        let is_month = self.first == self.first.first_of_month() && self.last == self.first.last_of_month();
        is_month.then(|| self.first.strftime("%Y-%m").to_string())
    }
}

/// The zone of Vietnam: as far back as there are records, seven hours before UTC the whole year.
pub fn vietnam() -> TimeZone {
    TimeZone::fixed(Offset::constant(7))
}

/// When a day begins there.
fn begin_of(day: Date) -> i64 {
    let time = vietnam().to_timestamp(day.at(0, 0, 0, 0));
    time.map_or(0, Timestamp::as_microsecond)
}

/// The day of a time there.
pub fn day_of(time: i64) -> Date {
    civil(time).date()
}

/// A time on Vietnam's clocks.
pub(super) fn civil(time: i64) -> jiff::civil::DateTime {
    let time = Timestamp::from_microsecond(time).unwrap_or_default();
    vietnam().to_datetime(time)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn time(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_microsecond()
    }

    #[test]
    fn days_begin_at_midnight_in_vietnam_and_the_last_one_counts() {
        let period = Period::new(date(2026, 11, 1), date(2026, 11, 30)).unwrap();
        assert_eq!(period.since(), time("2026-10-31T17:00:00Z"));
        assert_eq!(period.until(), time("2026-11-30T17:00:00Z"));
        assert_eq!(period.month_name().as_deref(), Some("2026-11"));
        let days: Vec<_> = period.days().collect();
        assert_eq!(days.len(), 30);
        assert_eq!((days[0].since(), days[29].until()), (period.since(), period.until()));
        assert!(days.windows(2).all(|two| two[0].until() == two[1].since()));
        assert_eq!(day_of(time("2026-11-30T17:00:00Z")), date(2026, 12, 1));
        assert_eq!(day_of(time("2026-11-30T16:59:59Z")), date(2026, 11, 30));
    }

    #[test]
    fn months_by_their_names() {
        fn check(text: &str, expected: Option<(Date, Date)>) {
            let found = Period::month(text).ok().map(|it| (it.first(), it.last()));
            assert_eq!(found, expected, "{text:?}");
        }
        check("2026-02", Some((date(2026, 2, 1), date(2026, 2, 28))));
        check("2028-02", Some((date(2028, 2, 1), date(2028, 2, 29))));
        check("2026-13", None);
        check("2026-1", None);
        check("2026-11-01", None);
        check("+026-11", None);
        check("", None);
        let before = Period::month_before(time("2026-11-30T17:00:00Z")).unwrap();
        assert_eq!(before, Period::month("2026-11").unwrap());
        let before = Period::month_before(time("2026-11-30T16:59:59Z")).unwrap();
        assert_eq!(before, Period::month("2026-10").unwrap());
    }

    #[test]
    fn what_is_no_period_says_why() {
        fn check(first: Date, last: Date, part: &str) {
            let why = Period::new(first, last).unwrap_err().to_string();
            assert!(why.contains(part), "{why}");
        }
        check(date(2026, 11, 2), date(2026, 11, 1), "the earlier day first");
        check(date(2020, 1, 1), date(2026, 11, 1), "several reports");
        check(date(1812, 1, 1), date(1812, 1, 2), "such as 2026-11-01");
    }
}
