//! From when until when a certificate is valid, read from its DER octets (RFC 5280, section 4.1.2.5).
//!
//! For a warning only: what is not understood is not known, and whether a certificate can be trusted is the
//! client's to say.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// A certificate's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
}

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The validity of a certificate; `None` where it cannot be read.
pub(super) fn of(certificate: &[u8]) -> Option<Validity> {
    let (SEQUENCE, certificate, _) = element(certificate)? else { return None };
    let (SEQUENCE, to_be_signed, _) = element(certificate)? else { return None };
    let (tag, _, after) = element(to_be_signed)?;
    // The version stands first, where it is not 1; then serial number, algorithm and issuer.
    let mut rest = if tag == VERSION { after } else { to_be_signed };
    for _ in 0..3 {
        (_, _, rest) = element(rest)?;
    }
    let (SEQUENCE, validity, _) = element(rest)? else { return None };
    let (from_tag, from, rest) = element(validity)?;
    let (until_tag, until, _) = element(rest)?;
    Some(Validity { from: time(from_tag, from)?, until: time(until_tag, until)? })
}

/// An element's tag and content, and what is behind it.
fn element(octets: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = octets.split_first_chunk()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // Four octets of length would be a file that is not read.
        0x81..=0x83 => {
            let (len, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (len.iter().fold(0, |len, &octet| len << 8 | usize::from(octet)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((tag, content, rest))
}

/// `YYMMDDHHMMSSZ`, or with the whole year.
fn time(tag: u8, text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: i16 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let two = |at: usize| rest.get(at..at + 2)?.parse::<i8>().ok();
    let time = DateTime::new(year, two(0)?, two(2)?, two(4)?, two(6)?, two(8)?, 0).ok()?;
    // 9999-12-31T23:59:59Z, which means never, lies a day behind the last that is reckoned with.
    Some(TimeZone::UTC.to_timestamp(time).unwrap_or(Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_both_forms_are_read() {
        fn check(tag: u8, text: &str, expected: Option<&str>) {
            assert_eq!(
                time(tag, text.as_bytes()).map(|time| time.to_string()).as_deref(),
                expected,
                "{text}"
            );
        }
        check(UTC_TIME, "261125183000Z", Some("2026-11-25T18:30:00Z"));
        check(UTC_TIME, "991231235959Z", Some("1999-12-31T23:59:59Z"));
        check(GENERALIZED_TIME, "20500101000000Z", Some("2050-01-01T00:00:00Z"));
        check(GENERALIZED_TIME, "99991231235959Z", Some(&*Timestamp::MAX.to_string()));
        check(UTC_TIME, "261325183000Z", None);
        check(UTC_TIME, "2611251830Z", None);
        check(UTC_TIME, "261125183000", None);
        check(UTC_TIME, "26112518+000Z", None);
        check(0x02, "261125183000Z", None);
    }

    #[test]
    fn a_certificate_is_read_and_a_cut_one_is_not() {
        let made = rcgen::generate_simple_self_signed(["dns.example".to_owned()]).unwrap();
        let der = made.cert.der();
        let validity = of(der).unwrap();
        assert_eq!(validity.from.to_string(), "1975-01-01T00:00:00Z");
        assert_eq!(validity.until.to_string(), "4096-01-01T00:00:00Z");
        for len in 0..der.len() {
            assert_eq!(of(&der[..len]), None, "cut to {len}");
        }
    }
}
