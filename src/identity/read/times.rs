//! Dates and times as programs write them for people of some country.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

/// In which order a date's numbers stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// All dates of a file together tell; if they do not, the day is first, as in Vietnam.
    #[default]
    Auto,
    /// Day, month, year: 27/11/2026.
    Dmy,
    /// Month, day, year: 11/27/2026.
    Mdy,
    /// Year, month, day: 2026/11/27.
    Ymd,
}

/// Every order with its word.
const ORDERS: [(&str, Order); 4] =
    [("auto", Order::Auto), ("dmy", Order::Dmy), ("mdy", Order::Mdy), ("ymd", Order::Ymd)];

/// No order has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no order of dates is called {0:?}; there are auto, dmy (27/11/2026), mdy (11/27/2026) and ymd (2026/11/27)"
)]
pub struct OrderError(String);

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ORDERS[*self as usize].0)
    }
}

impl FromStr for Order {
    type Err = OrderError;

    fn from_str(text: &str) -> Result<Self, OrderError> {
        let found = ORDERS.iter().find(|(word, _)| *word == text);
        found.map(|(_, order)| *order).ok_or_else(|| OrderError(text.to_owned()))
    }
}

impl Order {
    /// The order in which these dates are written.
    pub fn of<'t>(self, texts: impl Iterator<Item = &'t str>) -> Self {
        if self != Self::Auto {
            return self;
        }
        let mut is_english = false;
        for text in texts {
            let mut numbers = text.split(|char: char| !char.is_ascii_digit()).filter(|part| !part.is_empty());
            let (Some(first), Some(second)) = (numbers.next(), numbers.next()) else { continue };
            match (first.len(), first.parse::<u8>(), second.parse::<u8>()) {
                (4, ..) => return Self::Ymd,
                (_, Ok(13..), _) => return Self::Dmy,
                (_, _, Ok(13..)) => return Self::Mdy,
                _ => is_english |= text.ends_with("AM") || text.ends_with("PM"),
            }
        }
        if is_english { Self::Mdy } else { Self::Dmy }
    }

    /// Reads a date, or a date and a time; `None` where it is none.
    pub fn read(self, text: &str, zone: &TimeZone) -> Option<i64> {
        self.instant(text, zone, Day::Begins)
    }

    /// As [`Order::read`], of when something ends: a date alone is the end of that day.
    pub fn read_end(self, text: &str, zone: &TimeZone) -> Option<i64> {
        self.instant(text, zone, Day::Ends)
    }

    fn instant(self, text: &str, zone: &TimeZone, day: Day) -> Option<i64> {
        let text = text.trim();
        if let Ok(time) = text.parse::<Timestamp>() {
            return Some(time.as_microsecond());
        }
        let mut words = text.split(|char: char| char.is_whitespace() || matches!(char, ',' | 'T'));
        let mut words = words.by_ref().filter(|word| !word.is_empty());
        let date = words.next()?;
        let mut date = match excel_days(date) {
            Some(date) => date,
            None => self.date(date)?,
        };
        let (mut hour, mut minute, mut second) = (0, 0, 0);
        let clock = words.next();
        if clock.is_none() && day == Day::Ends {
            date = date.tomorrow().ok()?;
        }
        if let Some(clock) = clock {
            let mut parts = clock.split([':', '.']);
            hour = parts.next()?.parse::<i8>().ok()?;
            minute = parts.next()?.parse().ok()?;
            second = parts.next().map_or(Some(0), |part| part.parse().ok())?;
        }
        // Morning and afternoon, in English and in Vietnamese (sáng, chiều).
        match words.next() {
            None => {}
            Some("AM" | "SA") => hour %= 12,
            Some("PM" | "CH") => hour = hour % 12 + 12,
            Some(_) => return None,
        }
        let time = DateTime::from_parts(date, Time::new(hour, minute, second, 0).ok()?);
        Some(zone.to_timestamp(time).ok()?.as_microsecond())
    }

    fn date(self, text: &str) -> Option<Date> {
        let mut numbers = text.split(['/', '-', '.']).map(|part| part.parse::<i16>().ok());
        let (first, second, third) = (numbers.next()??, numbers.next()??, numbers.next()??);
        if numbers.next().is_some() {
            return None;
        }
        let (year, month, day) = match self {
            // A year can be nothing else.
            _ if first > 31 => (first, second, third),
            Self::Ymd => (first, second, third),
            Self::Dmy | Self::Auto => (third, second, first),
            Self::Mdy => (third, first, second),
        };
        let year = if year < 100 { year + 2000 } else { year };
        Date::new(year, month.try_into().ok()?, day.try_into().ok()?).ok()
    }
}

/// What a date without a time of day means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Day {
    Begins,
    Ends,
}

/// A day as spreadsheets count them, from 1900.
fn excel_days(text: &str) -> Option<Date> {
    let days: f64 = text.parse().ok()?;
    // From 1954 to 2119: other numbers are something else.
    (20_000.0..80_000.0).contains(&days).then_some(())?;
    Date::new(1899, 12, 30).ok()?.checked_add(jiff::Span::new().days(days as i64)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_in_their_order() {
        fn check(order: Order, text: &str, expected: Option<&str>) {
            let zone = TimeZone::fixed(jiff::tz::offset(7));
            let read = order.read(text, &zone).map(|it| Timestamp::from_microsecond(it).unwrap().to_string());
            assert_eq!(read.as_deref(), expected, "{text:?}");
        }
        check(Order::Dmy, "27/11/2026 3:04:05 CH", Some("2026-11-27T08:04:05Z"));
        check(Order::Dmy, "27/11/2026 12:04:05 SA", Some("2026-11-26T17:04:05Z"));
        check(Order::Mdy, "11/27/2026 3:04:05 PM", Some("2026-11-27T08:04:05Z"));
        check(Order::Mdy, "1/2/2026 15:04", Some("2026-01-02T08:04:00Z"));
        check(Order::Dmy, "1/2/2026", Some("2026-01-31T17:00:00Z"));
        check(Order::Dmy, "2026-11-27 15:04:05", Some("2026-11-27T08:04:05Z"));
        check(Order::Dmy, "2026-11-27T15:04:05+07:00", Some("2026-11-27T08:04:05Z"));
        check(Order::Dmy, "2026-11-27T08:04:05Z", Some("2026-11-27T08:04:05Z"));
        check(Order::Auto, "46353", Some("2026-11-26T17:00:00Z"));
        for text in [
            "",
            "x",
            "27/11",
            "32/11/2026",
            "11/27/2026",
            "27/11/2026 25:00",
            "27/11/2026 1:00 XX",
            "1/2/3/4",
            "99999999",
        ] {
            check(Order::Dmy, text, None);
        }
    }

    #[test]
    fn a_day_alone_is_in_where_something_ends() {
        fn check(text: &str, expected: &str) {
            let zone = TimeZone::fixed(jiff::tz::offset(7));
            let read = Order::Dmy.read_end(text, &zone).unwrap();
            assert_eq!(Timestamp::from_microsecond(read).unwrap().to_string(), expected, "{text:?}");
        }
        check("31/10/2026", "2026-10-31T17:00:00Z");
        check("46326", "2026-10-31T17:00:00Z");
        check("31/10/2026 00:00", "2026-10-30T17:00:00Z");
        check("31/10/2026 17:30", "2026-10-31T10:30:00Z");
        check("2026-10-31T08:00:00Z", "2026-10-31T08:00:00Z");
    }

    #[test]
    fn a_file_tells_its_order() {
        fn check(texts: &[&str], expected: Order) {
            assert_eq!(Order::Auto.of(texts.iter().copied()), expected, "{texts:?}");
        }
        check(&["1/2/2026", "27/11/2026"], Order::Dmy);
        check(&["1/2/2026", "11/27/2026"], Order::Mdy);
        check(&["2026-01-02"], Order::Ymd);
        check(&["1/2/2026 3:00:00 AM"], Order::Mdy);
        check(&["1/2/2026 3:00:00 SA"], Order::Dmy);
        check(&[], Order::Dmy);
        assert_eq!(Order::Ymd.of(["27/11/2026"].into_iter()), Order::Ymd);
    }
}
