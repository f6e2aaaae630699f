//! The console's two languages, and times as people in Vietnam write them.
//!
//! Both wordings stand side by side where they are used: `tongue.say("Tổng quan", "Overview")`. Vietnamese comes first.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};

/// A language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Tongue {
    /// Vietnamese.
    #[default]
    Vietnamese,
    /// English.
    English,
}

impl Tongue {
    /// The wording in this language.
    pub(super) fn say<T>(self, vietnamese: T, english: T) -> T {
        match self {
            Self::Vietnamese => vietnamese,
            Self::English => english,
        }
    }

    /// As HTML's `lang` and the cookie write it.
    pub(super) fn code(self) -> &'static str {
        self.say("vi", "en")
    }

    /// The language of this code.
    pub(super) fn of(code: &str) -> Option<Self> {
        match code {
            "vi" => Some(Self::Vietnamese),
            "en" => Some(Self::English),
            _ => None,
        }
    }

    /// A whole number with its thousands apart: 1.234.567, in English 1,234,567.
    pub(super) fn number(self, number: u64) -> String {
        let digits = number.to_string();
        let separator = self.say('.', ',');
        let mut text = String::with_capacity(digits.len() * 4 / 3);
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                text.push(separator);
            }
            text.push(digit);
        }
        text
    }

    /// A time (microseconds since 1970) in Vietnam: 26/11/2026 14:05:09, in English 26 Nov 2026 14:05:09.
    pub(super) fn time(self, time: i64) -> String {
        format(time, self.say("%d/%m/%Y %H:%M:%S", "%-d %b %Y %H:%M:%S"))
    }

    /// The day of a time in Vietnam: 26/11/2026, in English 26 Nov 2026.
    pub(super) fn day(self, time: i64) -> String {
        format(time, self.say("%d/%m/%Y", "%-d %b %Y"))
    }
}

/// Asia/Ho_Chi_Minh, which has no summer time.
pub(super) fn vietnam() -> TimeZone {
    TimeZone::fixed(Offset::constant(7))
}

/// A day as people type it: 26/11/2026 or, as programs and links have it, 2026-11-26.
pub(super) fn read_day(text: &str) -> Option<Date> {
    text.parse().or_else(|_| Date::strptime("%d/%m/%Y", text)).ok()
}

fn format(time: i64, form: &str) -> String {
    Timestamp::from_microsecond(time)
        .map_or_else(|_| String::new(), |time| time.to_zoned_datetime(vietnam()).strftime(form).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_written_as_people_do() {
        let (vi, en) = (Tongue::Vietnamese, Tongue::English);
        assert_eq!([vi.number(0), vi.number(999), vi.number(1_234_567)], ["0", "999", "1.234.567"]);
        assert_eq!(en.number(1000), "1,000");
        let time = 1_795_676_709_000_000;
        assert_eq!(vi.time(time), "26/11/2026 14:05:09");
        assert_eq!(en.time(time), "26 Nov 2026 14:05:09");
        assert_eq!(vi.day(time), "26/11/2026");
    }

    #[test]
    fn days_are_read_as_they_are_written() {
        let day = Some(jiff::civil::date(2026, 11, 6));
        assert_eq!(["2026-11-06", "06/11/2026", "6/11/2026"].map(read_day), [day; 3]);
        assert_eq!(["11/26/2026", "06/11", "", "6/11/2026 x"].map(read_day), [None; 4]);
    }
}
