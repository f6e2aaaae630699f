//! A table for people, 80 columns wide as long as the names are short.

use std::io::{self, Write};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{qname_text, qtype_text};
use crate::evidence::record::Record;
use crate::wire::{self, rcode};

/// Writes the heading; times are in `zone`, whose offset at `now` it names.
///
/// # Errors
/// What `out` said.
pub fn write_heading(out: &mut impl Write, zone: &TimeZone, now: Timestamp) -> io::Result<()> {
    let time = now.to_zoned_datetime(zone.clone()).strftime("TIME (%:z)").to_string();
    writeln!(
        out,
        "{time:<19} {:<15} {:<9} {:<5} QNAME, RCODE (feed, family, severity)",
        "CLIENT", "ACTION", "TYPE"
    )
}

/// Writes one record as one line, its time in `zone`. The rcode is left out where it is NOERROR.
///
/// # Errors
/// What `out` said.
pub fn write(out: &mut impl Write, record: &Record<'_>, zone: &TimeZone) -> io::Result<()> {
    let time = Timestamp::from_microsecond(record.time).map_or_else(
        |_| String::new(),
        |time| time.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
    );
    let dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    write!(
        out,
        "{time:<19} {:<15} {:<9} {:<5} {}",
        record.client.to_string(),
        record.outcome.as_str(),
        dash(qtype_text(record)),
        dash(qname_text(record)),
    )?;
    match record.rcode {
        Some(rcode::NOERROR) => {}
        Some(rcode) => write!(out, " {}", wire::rcode_text(rcode))?,
        None => write!(out, " no answer")?,
    }
    // A family comes from a feed: no control character of it may reach the terminal.
    let Some(feed) = record.feed.as_deref() else { return writeln!(out) };
    write!(out, " ({}", feed.escape_debug())?;
    if let Some(family) = record.family.as_deref() {
        write!(out, ", {}", family.escape_debug())?;
    }
    if let Some(severity) = record.severity {
        write!(out, ", {}", severity.as_str())?;
    }
    // It was answered as usual: no list had it then.
    if record.is_before_listed() {
        write!(out, ", before listed")?;
    }
    writeln!(out, ")")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::record::tests::sample;

    #[test]
    fn a_line_reads_well_and_holds_no_control_characters() {
        let mut out = Vec::new();
        write_heading(&mut out, &TimeZone::UTC, Timestamp::UNIX_EPOCH).unwrap();
        let record = Record { family: Some("\x1b[31mred".into()), ..sample(1_795_478_400_000_000) };
        write(&mut out, &record, &TimeZone::UTC).unwrap();
        let other = Record { family: None, rcode: Some(rcode::NXDOMAIN), ..record };
        write(&mut out, &other, &TimeZone::UTC).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "TIME (+00:00)       CLIENT          ACTION    TYPE  QNAME, RCODE (feed, family, severity)\n\
             2026-11-24 00:00:00 10.1.2.3        sinkhole  A     evil.example (authority, \\u{1b}[31mred, high)\n\
             2026-11-24 00:00:00 10.1.2.3        sinkhole  A     evil.example NXDOMAIN (authority, high)\n"
        );
    }
}
