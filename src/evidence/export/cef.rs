//! CEF, ArcSight's Common Event Format, which nearly every SIEM reads: one line a record, keys of its dictionary.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::net::IpAddr;

use super::{
    Gravity, Origin, PRODUCT, VERSION, Verdict, answered, carrier, gravity, qname_text, qtype_text,
    rcode_text, verdict,
};
use crate::evidence::record::{Outcome, Record, Trigger};

/// Writes one record as one line.
///
/// # Errors
/// What `out` said.
pub fn write(out: &mut impl Write, record: &Record<'_>, origin: &Origin) -> io::Result<()> {
    let mut line = format!(
        "CEF:0|{PRODUCT}|{PRODUCT}|{}|{}|{}|{}|",
        Header(VERSION),
        record.outcome.as_str(),
        summary(record),
        severity(record)
    );
    let mut extension = Extension { line: &mut line, is_first: true };
    extension.add("rt", record.time.div_euclid(1000));
    extension.add("start", record.time.div_euclid(1000));
    extension.add("end", answered(record).div_euclid(1000));
    match record.client {
        // `src` is an IPv4 address.
        IpAddr::V4(client) => extension.add("src", client),
        IpAddr::V6(client) => extension.custom("c6a2", "Source IPv6 Address", Some(client)),
    }
    extension.add("dvchost", &origin.node);
    extension.add("app", "DNS");
    extension.add("proto", if carrier(record) == "udp" { "UDP" } else { "TCP" });
    let qname = qname_text(record);
    if !qname.is_empty() {
        extension.add("dhost", &qname);
        extension.add("request", &qname);
    }
    extension.add("act", record.outcome.as_str());
    if let Some(outcome) = outcome(record) {
        extension.add("outcome", outcome);
    }
    if record.rcode.is_some() {
        extension.add("reason", rcode_text(record));
    }
    extension.custom("cs1", "Malware Family", record.family.as_deref());
    extension.custom("cs2", "Feed", record.feed.as_deref());
    extension.custom("cs3", "Query Type", Some(qtype_text(record)).filter(|qtype| !qtype.is_empty()));
    extension.custom("cs4", "Agency", record.agency.as_deref());
    let trigger = record.trigger.map(|trigger| match record.matched.as_deref() {
        Some(matched) => Cow::from(format!("{} {matched}", trigger.as_str())),
        None => Trigger::as_str(trigger).into(),
    });
    extension.custom("cs5", "Trigger", trigger);
    let answers: Vec<String> = record.answers.iter().map(ToString::to_string).collect();
    extension.custom("cs6", "Answers", (!answers.is_empty()).then(|| answers.join(" ")));
    extension.custom("cn1", "Latency in Microseconds", Some(record.latency));
    extension.custom("flexString1", "Transport", Some(record.transport.as_str()));
    extension.custom("flexString2", "Found", record.is_before_listed().then_some("before-listed"));
    line.push('\n');
    out.write_all(line.as_bytes())
}

fn summary(record: &Record<'_>) -> &'static str {
    match record.outcome {
        _ if record.is_before_listed() => "DNS query of what was listed later",
        Outcome::Forward => "DNS query resolved",
        Outcome::Sinkhole => "DNS query led to the sinkhole",
        Outcome::Nxdomain | Outcome::Nodata | Outcome::Cname | Outcome::LocalData => {
            "DNS query answered by a rule"
        }
        Outcome::Passthru => "DNS query allowed by a rule",
        Outcome::Drop => "DNS query dropped by a rule",
        Outcome::TcpOnly => "DNS query sent to TCP by a rule",
        Outcome::Shadow => "DNS query that a feed in shadow lists",
        Outcome::Refused => "DNS query refused",
        Outcome::Malformed => "DNS query not well-formed",
        Outcome::Limited => "DNS query beyond a limit",
        Outcome::Local => "DNS query answered by the server itself",
    }
}

/// From 0 to 10.
fn severity(record: &Record<'_>) -> u8 {
    match gravity(record) {
        Gravity::Information => 0,
        Gravity::Low => 3,
        Gravity::Medium => 5,
        Gravity::High => 8,
        Gravity::Critical => 10,
    }
}

fn outcome(record: &Record<'_>) -> Option<&'static str> {
    match verdict(record) {
        Verdict::None => None,
        Verdict::Allowed | Verdict::Delayed => Some("allowed"),
        Verdict::Noticed => Some("detected"),
        Verdict::Blocked => Some("blocked"),
        Verdict::Dropped => Some("dropped"),
    }
}

/// Keys and values behind the header.
struct Extension<'l> {
    line: &'l mut String,
    is_first: bool,
}

impl Extension<'_> {
    fn add(&mut self, key: &str, value: impl fmt::Display) {
        let space = if std::mem::take(&mut self.is_first) { "" } else { " " };
        // A String takes all.
        let _ = write!(self.line, "{space}{key}=");
        let start = self.line.len();
        let _ = write!(self.line, "{value}");
        let value = self.line.split_off(start);
        let _ = write!(self.line, "{}", Value(&value));
    }

    /// A key that the dictionary leaves to us, with what it means here.
    fn custom(&mut self, key: &str, label: &str, value: Option<impl fmt::Display>) {
        let Some(value) = value else { return };
        self.add(key, value);
        self.add(&format!("{key}Label"), label);
    }
}

/// A field of the header: `|` and `\` are escaped, line ends are none.
struct Header<'t>(&'t str);

impl fmt::Display for Header<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '|' | '\\' => write!(f, "\\{letter}")?,
                letter if letter.is_control() => f.write_char(' ')?,
                letter => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}

/// A value of the extension: `=` and `\` are escaped, line ends stand as `\n` and `\r`, what else is no letter as a space.
struct Value<'t>(&'t str);

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '=' | '\\' => write!(f, "\\{letter}")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                letter if letter.is_control() => f.write_char(' ')?,
                letter => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::tests::{benign, hostile, text};
    use super::*;
    use crate::evidence::record::tests::sample;

    #[test]
    fn a_hit_reads_as_arcsights_dictionary_says() {
        assert_eq!(
            text(Format::Cef, &sample(1_795_478_400_000_001)),
            format!(
                "CEF:0|SachDNS|SachDNS|{VERSION}|sinkhole|DNS query led to the sinkhole|8|rt=1795478400000 start=1795478400000 \
                 end=1795478400000 src=10.1.2.3 dvchost=dns1.example.vn app=DNS proto=UDP dhost=evil.example \
                 request=evil.example act=sinkhole outcome=blocked reason=NOERROR cs1=Mã độc cs1Label=Malware Family \
                 cs2=authority cs2Label=Feed cs3=A cs3Label=Query Type cs4=so-tttt cs4Label=Agency cs5=qname \
                 cs5Label=Trigger cs6=10.10.10.10 fd00::10 cs6Label=Answers cn1=7 cn1Label=Latency in Microseconds \
                 flexString1=udp flexString1Label=Transport\n"
            )
        );
        let other = text(Format::Cef, &benign());
        assert!(other.contains("|forward|DNS query resolved|0|"), "{other}");
        assert!(other.contains(" c6a2=2001:db8::7 c6a2Label=Source IPv6 Address "), "{other}");
        assert!(!other.contains(" src=") && !other.contains("cs1="), "{other}");
    }

    #[test]
    fn strangers_texts_stay_in_their_value() {
        let line = text(Format::Cef, &hostile());
        assert!(line.contains(r#" cs1=a|b\=c\\d"e, \r\n "#), "{line}");
        assert!(line.contains(r" dhost=|\=\\\\\\010\\009 "), "{line}");
        assert!(line.contains(r" cs5=qname x\ny "), "{line}");
        // Nothing before a key's value can be taken for a key.
        let extension = line.splitn(8, '|').nth(7).unwrap();
        let bare = extension.replace("\\\\", "").replace("\\=", "");
        let keys: Vec<&str> =
            bare.split('=').rev().skip(1).map(|before| before.rsplit(' ').next().unwrap()).collect();
        assert!(keys.iter().all(|key| key.chars().all(|letter| letter.is_ascii_alphanumeric())), "{keys:?}");
        assert_eq!(Header(r"1|2\3").to_string(), r"1\|2\\3");
    }
}
