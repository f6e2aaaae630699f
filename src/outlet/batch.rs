//! Records on their way out: each in its form, and told apart from the next.

use crate::evidence::export::{Format, Origin, frames, syslog};
use crate::evidence::record::Record;

use super::Scope;

/// How messages are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// A line each.
    Lines,
    /// Their length in decimal and a space before each (RFC 6587, section 3.4.1; RFC 5425).
    Counted,
    /// Frame Streams.
    Frames,
    /// A datagram each (RFC 5426).
    Datagrams,
}

/// Messages that go out together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    octets: Vec<u8>,
    /// Where each message ends.
    ends: Vec<usize>,
}

impl Batch {
    pub(super) fn clear(&mut self) {
        self.octets.clear();
        self.ends.clear();
    }

    pub(super) fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// How many messages.
    pub(super) fn count(&self) -> u64 {
        self.ends.len() as u64
    }

    /// One by one.
    pub(super) fn messages(&self) -> impl Iterator<Item = &[u8]> {
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.octets[start..*end])
    }
}

/// Gives records their form.
#[derive(Debug)]
pub(super) struct Encoder {
    pub(super) format: Format,
    pub(super) scope: Scope,
    pub(super) is_syslog: bool,
    pub(super) origin: Origin,
    message: Vec<u8>,
}

impl Encoder {
    pub(super) fn new(format: Format, scope: Scope, is_syslog: bool, origin: Origin) -> Self {
        Self { format, scope, is_syslog, origin, message: Vec::new() }
    }

    /// Whether a record goes out at all.
    pub(super) fn wants(&self, record: &Record<'_>) -> bool {
        (self.scope == Scope::All || record.is_hit) && self.format.takes(record)
    }

    /// How messages are told apart on a stream, or in a file.
    pub(super) fn framing(&self, is_file: bool) -> Framing {
        match self.format {
            Format::Dnstap => Framing::Frames,
            _ if self.is_syslog && !is_file => Framing::Counted,
            _ => Framing::Lines,
        }
    }

    /// Adds a record, if it goes out.
    pub(super) fn add(&mut self, record: &Record<'_>, framing: Framing, batch: &mut Batch) {
        if !self.wants(record) {
            return;
        }
        let message = &mut self.message;
        message.clear();
        if self.is_syslog {
            syslog::write_header(message, record, &self.origin).expect("a Vec takes all");
        }
        self.format.write(message, record, &self.origin).expect("a Vec takes all");
        let line = message.strip_suffix(b"\n").unwrap_or(message);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match framing {
            Framing::Lines => batch.octets.extend(&*message),
            Framing::Counted => {
                batch.octets.extend(format!("{} ", line.len()).as_bytes());
                batch.octets.extend(line);
            }
            Framing::Frames => frames::put_data(message, &mut batch.octets),
            Framing::Datagrams => batch.octets.extend(line),
        }
        batch.ends.push(batch.octets.len());
    }

    /// What stands before the first message, where messages stand behind each other.
    pub(super) fn heading(&self, framing: Framing, now: i64) -> Vec<u8> {
        let mut heading = Vec::new();
        if framing == Framing::Lines && !self.is_syslog {
            self.format.write_heading(&mut heading, now).expect("a Vec takes all");
        }
        heading
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::record::tests::sample;

    #[test]
    fn messages_are_told_apart() {
        fn check(format: Format, is_syslog: bool, framing: Framing, starts: &[&str]) {
            let origin = Origin { node: "dns1".to_owned() };
            let mut encoder = Encoder::new(format, Scope::Hits, is_syslog, origin);
            let mut batch = Batch::default();
            for time in [0, 1] {
                encoder.add(&sample(time), framing, &mut batch);
                encoder.add(&Record { is_hit: false, ..sample(time) }, framing, &mut batch);
            }
            assert_eq!(batch.count(), 2);
            let messages: Vec<_> = batch.messages().map(String::from_utf8_lossy).collect();
            assert_eq!(messages.concat().len(), String::from_utf8_lossy(batch.octets()).len());
            for (message, start) in messages.iter().zip(starts) {
                assert!(message.starts_with(start), "{message:?}");
                assert_eq!(message.ends_with('\n'), framing == Framing::Lines, "{message:?}");
                if framing == Framing::Counted {
                    let (len, line) = message.split_once(' ').unwrap();
                    assert_eq!(len.parse(), Ok(line.len()), "{message:?}");
                }
            }
        }
        check(Format::Jsonl, false, Framing::Lines, &["{\"time\":\"1970-01-01T00:00:00.000000Z\"", "{"]);
        check(Format::Csv, false, Framing::Datagrams, &["1970-01-01T00:00:00.000000Z,", "1970-01"]);
        check(
            Format::Cef,
            true,
            Framing::Datagrams,
            &["<131>1 1970-01-01T00:00:00.000000Z dns1 sachdns ", "<131>1"],
        );
        check(Format::Cef, true, Framing::Counted, &["", ""]);
        check(Format::Cef, false, Framing::Counted, &["", ""]);
        check(Format::Ocsf, true, Framing::Lines, &["<131>1 1970-01-01T00:00:00.000000Z dns1 ", "<"]);
        check(Format::Dnstap, false, Framing::Frames, &["\0\0\0", "\0\0\0"]);
    }
}
