//! Exports: records as people and programs read them.
//!
//! Only forms, each a pure function of a record and of who tells it; which records is the store's
//! question, and how they get to somebody else is `outlet`'s.

pub mod cef;
pub mod csv;
pub mod dnstap;
pub mod ecs;
pub mod frames;
pub mod jsonl;
pub mod ocsf;
pub mod syslog;
pub mod table;
pub mod zeek;

use std::io::{self, Write};
use std::str::FromStr;

use jiff::Timestamp;

use super::record::{Outcome, Record, Severity};
use crate::{name, wire};

/// Who tells of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// This server's name among others.
    pub node: String,
}

/// What exports call this program.
const PRODUCT: &str = "SachDNS";
/// … and its version.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A form for other programs: one message a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// One JSON object with the keys of our own.
    Jsonl,
    /// Values with commas between them.
    Csv,
    /// Open Cybersecurity Schema Framework: DNS Activity.
    Ocsf,
    /// The same schema: hits as Detection Finding. Other records have no such form.
    OcsfFinding,
    /// Elastic Common Schema.
    Ecs,
    /// Zeek's `dns.log`.
    Zeek,
    /// ArcSight's Common Event Format.
    Cef,
    /// dnstap, in frames.
    Dnstap,
}

/// Every format with its word in settings and commands.
const FORMATS: [(&str, Format); 8] = [
    ("jsonl", Format::Jsonl),
    ("csv", Format::Csv),
    ("ocsf", Format::Ocsf),
    ("ocsf-finding", Format::OcsfFinding),
    ("ecs", Format::Ecs),
    ("zeek", Format::Zeek),
    ("cef", Format::Cef),
    ("dnstap", Format::Dnstap),
];

/// A word is no format's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("none of jsonl, csv, ocsf, ocsf-finding, ecs, zeek, cef and dnstap")]
pub struct FormatError;

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        FORMATS.iter().find(|(word, _)| *word == text).map(|(_, format)| *format).ok_or(FormatError)
    }
}

impl Format {
    /// Its word in settings and commands.
    pub fn as_str(self) -> &'static str {
        FORMATS[self as usize].0
    }

    /// Whether a record has a form in it.
    pub fn takes(self, record: &Record<'_>) -> bool {
        self != Self::OcsfFinding || record.is_hit
    }

    /// Writes what stands before the first record of a file or connection; `now` is in microseconds
    /// since 1970. Most formats have nothing there.
    ///
    /// # Errors
    /// What `out` said.
    pub fn write_heading(self, out: &mut impl Write, now: i64) -> io::Result<()> {
        match self {
            Self::Csv => csv::write_heading(out),
            Self::Zeek => zeek::write_heading(out, now),
            Self::Jsonl | Self::Ocsf | Self::OcsfFinding | Self::Ecs | Self::Cef | Self::Dnstap => Ok(()),
        }
    }

    /// Writes one record: a line with its end, or, of dnstap, the message without its frame.
    ///
    /// # Errors
    /// What `out` said.
    pub fn write(self, out: &mut impl Write, record: &Record<'_>, origin: &Origin) -> io::Result<()> {
        match self {
            Self::Jsonl => jsonl::write(out, record),
            Self::Csv => csv::write(out, record),
            Self::Ocsf => ocsf::write(out, record, origin),
            Self::OcsfFinding => ocsf::write_finding(out, record, origin),
            Self::Ecs => ecs::write(out, record, origin),
            Self::Zeek => zeek::write(out, record),
            Self::Cef => cef::write(out, record, origin),
            Self::Dnstap => out.write_all(&dnstap::encode(record, origin)),
        }
    }
}

/// RFC 3339 in UTC with microseconds.
fn time_text(record: &Record<'_>) -> String {
    Timestamp::from_microsecond(record.time).map_or_else(|_| String::new(), |time| format!("{time:.6}"))
}

/// Presentation format; empty where the query could not be read.
pub fn qname_text(record: &Record<'_>) -> String {
    if record.qname.is_empty() { String::new() } else { name::Presentation(&record.qname).to_string() }
}

fn qtype_text(record: &Record<'_>) -> String {
    if record.qname.is_empty() { String::new() } else { wire::type_text(record.qtype).into_owned() }
}

/// The mnemonic of a class, or `CLASS` and its number (RFC 3597, section 5).
fn class_text(class: u16) -> String {
    match class {
        wire::CLASS_IN => "IN".to_owned(),
        wire::CLASS_CH => "CH".to_owned(),
        4 => "HS".to_owned(),
        wire::CLASS_ANY => "ANY".to_owned(),
        other => format!("CLASS{other}"),
    }
}

/// Empty where no answer was sent.
fn rcode_text(record: &Record<'_>) -> String {
    record.rcode.map_or_else(String::new, |rcode| wire::rcode_text(rcode).into_owned())
}

/// The transport beneath: what firewalls and flow records call the protocol.
fn carrier(record: &Record<'_>) -> &'static str {
    use super::record::Transport;
    match record.transport {
        Transport::Udp | Transport::Quic => "udp",
        Transport::Tcp | Transport::Tls | Transport::Https => "tcp",
    }
}

/// When the answer was ready, microseconds since 1970.
fn answered(record: &Record<'_>) -> i64 {
    record.time.saturating_add(i64::from(record.latency))
}

/// How much a record should worry whoever reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Gravity {
    /// A query like any other.
    Information,
    /// A rule was met, and nobody is infected by that.
    Low,
    /// A feed in shadow would have acted.
    Medium,
    /// A hit of which the feed says no more.
    High,
    /// A hit that the feed calls so.
    Critical,
}

fn gravity(record: &Record<'_>) -> Gravity {
    match (record.outcome, record.severity) {
        (_, severity) if record.is_hit => match severity {
            Some(Severity::Low) => Gravity::Low,
            Some(Severity::Medium) => Gravity::Medium,
            Some(Severity::High) | None => Gravity::High,
            Some(Severity::Critical) => Gravity::Critical,
        },
        (Outcome::Shadow, _) => Gravity::Medium,
        _ if record.feed.is_some() => Gravity::Low,
        _ => Gravity::Information,
    }
}

/// What was done, in the words of firewalls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Nobody stood in the way.
    None,
    /// A rule said that nobody should.
    Allowed,
    /// A rule would have.
    Noticed,
    /// The client was made to ask again.
    Delayed,
    /// The client was told something else.
    Blocked,
    /// The client was told nothing.
    Dropped,
}

fn verdict(record: &Record<'_>) -> Verdict {
    match record.outcome {
        // Known too late to stand in the way.
        _ if record.is_before_listed() => Verdict::Noticed,
        Outcome::Forward | Outcome::Local | Outcome::Malformed => Verdict::None,
        Outcome::Passthru => Verdict::Allowed,
        Outcome::Shadow => Verdict::Noticed,
        Outcome::TcpOnly => Verdict::Delayed,
        Outcome::Limited if record.rcode.is_none() => Verdict::Dropped,
        Outcome::Sinkhole
        | Outcome::Nxdomain
        | Outcome::Nodata
        | Outcome::Cname
        | Outcome::LocalData
        | Outcome::Refused
        | Outcome::Limited => Verdict::Blocked,
        Outcome::Drop => Verdict::Dropped,
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::sample;
    use super::*;

    pub(super) fn origin() -> Origin {
        Origin { node: "dns1.example.vn".to_owned() }
    }

    /// What a format writes of a record.
    pub(super) fn text(format: Format, record: &Record<'_>) -> String {
        let mut out = Vec::new();
        format.write(&mut out, record, &origin()).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// A query like most, answered over TLS to an IPv6 client.
    pub(super) fn benign() -> Record<'static> {
        use super::super::record::Transport;
        Record {
            client: "2001:db8::7".parse().unwrap(),
            transport: Transport::Tls,
            agency: None,
            qname: b"\x03www\x07example\x00".as_slice().into(),
            qtype: 28,
            outcome: Outcome::Forward,
            is_hit: false,
            is_cached: false,
            feed: None,
            family: None,
            severity: None,
            trigger: None,
            rcode: Some(3),
            answers: Vec::new().into(),
            latency: 25_300,
            ..sample(1_795_478_400_000_001)
        }
    }

    /// As hostile as a record can be.
    pub(super) fn hostile() -> Record<'static> {
        Record {
            family: Some("a|b=c\\d\"e,\t\r\n\u{85}\u{2028}\u{1b}[31m".into()),
            matched: Some("x\ny".into()),
            qname: b"\x05|=\\\n\t\x00".as_slice().into(),
            ..sample(0)
        }
    }

    #[test]
    fn words_are_read_back() {
        for (number, (word, format)) in FORMATS.into_iter().enumerate() {
            assert_eq!((format as usize, word.parse(), format.as_str()), (number, Ok(format), word));
        }
        assert_eq!("syslog".parse::<Format>(), Err(FormatError));
    }

    #[test]
    fn a_record_is_one_line_whatever_is_in_it() {
        let unread =
            Record { qname: Vec::new().into(), rcode: None, outcome: Outcome::Malformed, ..benign() };
        let odd = Record { qtype: 65_280, qclass: 7, rcode: Some(4000), time: i64::MAX, ..benign() };
        for (_, format) in FORMATS.into_iter().filter(|(_, format)| *format != Format::Dnstap) {
            for record in [&hostile(), &unread, &odd, &benign(), &sample(-1)] {
                let line = text(format, record);
                let line = line.strip_suffix('\n').unwrap();
                let line = line.strip_suffix('\r').unwrap_or(line);
                // RFC 4180 has line ends inside quotes.
                if format != Format::Csv {
                    assert!(!line.contains(['\n', '\r', '\u{1b}']), "{format:?}: {line:?}");
                }
            }
        }
    }
}
