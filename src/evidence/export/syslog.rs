//! Syslog (RFC 5424): the header that goes before a record in another form.
//!
//! How messages are told apart (RFC 6587, RFC 5425, RFC 5426) is the connection's matter.

use std::fmt::{self, Write as _};
use std::io::{self, Write};

use super::{Gravity, Origin, gravity, time_text};
use crate::evidence::record::Record;

/// Facility local0 (RFC 5424, section 6.2.1).
const FACILITY: u8 = 16;
/// The longest host name that a receiver must take (section 6).
const MAX_HOST: usize = 255;

/// Writes what goes before a record's text, the space in between included.
///
/// There is no byte order mark before the text (section 6.4): to receivers, JSON and CEF begin with their first letter.
///
/// # Errors
/// What `out` said.
pub fn write_header(out: &mut impl Write, record: &Record<'_>, origin: &Origin) -> io::Result<()> {
    let severity = match gravity(record) {
        Gravity::Information => 6,
        Gravity::Low => 5,
        Gravity::Medium => 4,
        Gravity::High => 3,
        Gravity::Critical => 2,
    };
    let time = time_text(record);
    let time = if time.is_empty() { "-" } else { &time };
    let message_id = if record.is_hit { "hit" } else { "query" };
    let process = std::process::id();
    write!(
        out,
        "<{}>1 {time} {} sachdns {process} {message_id} - ",
        FACILITY * 8 + severity,
        Host(&origin.node)
    )
}

/// A host name: printable ASCII without spaces, or `-`.
struct Host<'t>(&'t str);

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_char('-');
        }
        self.0
            .chars()
            .take(MAX_HOST)
            .try_for_each(|letter| f.write_char(if letter.is_ascii_graphic() { letter } else { '_' }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{benign, origin};
    use super::*;
    use crate::evidence::record::tests::sample;

    #[test]
    fn the_header_has_its_seven_fields() {
        fn check(record: &Record<'_>, origin: &Origin, expected: &str) {
            let mut out = Vec::new();
            write_header(&mut out, record, origin).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert_eq!(text, expected.replace("PID", &std::process::id().to_string()));
        }
        let hit = sample(1_795_478_400_000_001);
        check(&hit, &origin(), "<131>1 2026-11-24T00:00:00.000001Z dns1.example.vn sachdns PID hit - ");
        check(
            &benign(),
            &origin(),
            "<134>1 2026-11-24T00:00:00.000001Z dns1.example.vn sachdns PID query - ",
        );
        let odd = Origin { node: "máy 1".to_owned() };
        check(&Record { time: i64::MAX, ..hit.clone() }, &odd, "<131>1 - m_y_1 sachdns PID hit - ");
        check(
            &hit,
            &Origin { node: String::new() },
            "<131>1 2026-11-24T00:00:00.000001Z - sachdns PID hit - ",
        );
    }
}
