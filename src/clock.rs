//! The machine's clock, as records and images write time.
//!
//! Only the outermost modules ask it; everything else is told the time.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Microseconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// A time in microseconds since 1970, in this machine's time zone, for people.
pub fn local_time(microseconds: i64) -> String {
    Timestamp::from_microsecond(microseconds).map_or_else(
        |_| "unknown".to_owned(),
        |time| time.to_zoned_datetime(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string(),
    )
}

/// … to the minute and without its zone, for columns of tables: [`local_zone`] stands in their heading.
pub fn local_minute(microseconds: i64) -> String {
    Timestamp::from_microsecond(microseconds).map_or_else(
        |_| "unknown".to_owned(),
        |time| time.to_zoned_datetime(TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string(),
    )
}

/// This machine's time zone at present, as in `+07:00`.
pub fn local_zone() -> String {
    Timestamp::now().to_zoned_datetime(TimeZone::system()).strftime("%:z").to_string()
}
