//! Zeek's `dns.log`, as its ASCII writer makes it: tabs between columns, named in a heading.
//!
//! A record knows neither ports nor message ids nor flags: those columns are unset (`-`). Behind Zeek's own columns
//! stand ours: what was done, and by which rule.

use std::io::{self, Write};
use std::net::IpAddr;

use jiff::Timestamp;

use super::{carrier, qname_text, qtype_text, rcode_text};
use crate::evidence::record::Record;
use crate::wire::{self, rcode};

/// Every column with its type, in order.
const COLUMNS: [(&str, &str); 27] = [
    ("ts", "time"),
    ("uid", "string"),
    ("id.orig_h", "addr"),
    ("id.orig_p", "port"),
    ("id.resp_h", "addr"),
    ("id.resp_p", "port"),
    ("proto", "enum"),
    ("trans_id", "count"),
    ("rtt", "interval"),
    ("query", "string"),
    ("qclass", "count"),
    ("qclass_name", "string"),
    ("qtype", "count"),
    ("qtype_name", "string"),
    ("rcode", "count"),
    ("rcode_name", "string"),
    ("AA", "bool"),
    ("TC", "bool"),
    ("RD", "bool"),
    ("RA", "bool"),
    ("Z", "count"),
    ("answers", "vector[string]"),
    ("TTLs", "vector[interval]"),
    ("rejected", "bool"),
    ("action", "string"),
    ("feed", "string"),
    ("family", "string"),
];

const UNSET: &str = "-";

/// Writes the heading; `now`, in microseconds since 1970, is when the file was begun.
///
/// # Errors
/// What `out` said.
pub fn write_heading(out: &mut impl Write, now: i64) -> io::Result<()> {
    let open = Timestamp::from_microsecond(now)
        .map_or_else(|_| UNSET.to_owned(), |now| now.strftime("%Y-%m-%d-%H-%M-%S").to_string());
    let [names, types] = [COLUMNS.map(|(name, _)| name).join("\t"), COLUMNS.map(|(_, kind)| kind).join("\t")];
    write!(
        out,
        "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t{UNSET}\n#path\tdns\n\
         #open\t{open}\n#fields\t{names}\n#types\t{types}\n"
    )
}

/// Writes one record as one line.
///
/// # Errors
/// What `out` said.
pub fn write(out: &mut impl Write, record: &Record<'_>) -> io::Result<()> {
    let is_read = !record.qname.is_empty();
    let class_name = match record.qclass {
        wire::CLASS_IN => "C_INTERNET".to_owned(),
        wire::CLASS_CH => "C_CHAOS".to_owned(),
        wire::CLASS_ANY => "C_ANY".to_owned(),
        other => format!("qclass-{other}"),
    };
    let when = |is_there: bool, text: String| if is_there { text } else { UNSET.to_owned() };
    let text = |text: Option<&str>| text.map_or_else(|| UNSET.to_owned(), |text| escaped(text, false));
    let fields: [String; COLUMNS.len()] = [
        format!("{}.{:06}", record.time.div_euclid(1_000_000), record.time.rem_euclid(1_000_000)),
        UNSET.to_owned(),
        record.client.to_string(),
        UNSET.to_owned(),
        UNSET.to_owned(),
        UNSET.to_owned(),
        carrier(record).to_owned(),
        UNSET.to_owned(),
        when(
            record.rcode.is_some(),
            format!("{}.{:06}", record.latency / 1_000_000, record.latency % 1_000_000),
        ),
        text(Some(qname_text(record)).filter(|_| is_read).as_deref()),
        when(is_read, record.qclass.to_string()),
        when(is_read, class_name),
        when(is_read, record.qtype.to_string()),
        when(is_read, qtype_text(record)),
        record.rcode.map_or_else(|| UNSET.to_owned(), |rcode| rcode.to_string()),
        when(record.rcode.is_some(), rcode_text(record)),
        UNSET.to_owned(),
        UNSET.to_owned(),
        UNSET.to_owned(),
        UNSET.to_owned(),
        UNSET.to_owned(),
        answers(&record.answers),
        UNSET.to_owned(),
        if record.rcode == Some(rcode::REFUSED) { "T" } else { "F" }.to_owned(),
        record.outcome.as_str().to_owned(),
        text(record.feed.as_deref()),
        text(record.family.as_deref()),
    ];
    writeln!(out, "{}", fields.join("\t"))
}

fn answers(answers: &[IpAddr]) -> String {
    if answers.is_empty() {
        return UNSET.to_owned();
    }
    let answers: Vec<String> = answers.iter().map(ToString::to_string).collect();
    answers.join(",")
}

/// Escapes as Zeek's ASCII writer does: what would end a field or not be seen stands as `\xNN`, octet by octet, and a
/// text that would be taken for an unset or empty field is escaped at its beginning.
fn escaped(text: &str, is_element: bool) -> String {
    if text.is_empty() {
        return "(empty)".to_owned();
    }
    let is_reserved = text == UNSET || text == "(empty)";
    let mut out = String::with_capacity(text.len());
    for (at, letter) in text.char_indices() {
        let is_hidden = letter.is_control() || letter == '\\' || (is_element && letter == ',');
        if is_hidden || (at == 0 && (is_reserved || letter == '#')) {
            let mut octets = [0; 4];
            for octet in letter.encode_utf8(&mut octets).bytes() {
                out.push_str(&format!("\\x{octet:02x}"));
            }
        } else {
            out.push(letter);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::Format;
    use super::super::tests::{benign, hostile, text};
    use super::*;
    use crate::evidence::record::tests::sample;

    /// Reads a log as `zeek-cut` does: by its own heading.
    fn cut(log: &str) -> Vec<HashMap<String, String>> {
        let names: Vec<&str> =
            log.lines().find_map(|line| line.strip_prefix("#fields\t")).unwrap().split('\t').collect();
        let types = log.lines().find_map(|line| line.strip_prefix("#types\t")).unwrap();
        assert_eq!(types.split('\t').count(), names.len());
        let rows = log.lines().filter(|line| !line.starts_with('#'));
        rows.map(|line| {
            let values: Vec<&str> = line.split('\t').collect();
            assert_eq!(values.len(), names.len(), "{line:?}");
            names.iter().zip(values).map(|(name, value)| ((*name).to_owned(), value.to_owned())).collect()
        })
        .collect()
    }

    fn log(records: &[&Record<'_>]) -> String {
        let mut out = Vec::new();
        write_heading(&mut out, 1_795_478_400_000_001).unwrap();
        let rows: String = records.iter().map(|record| text(Format::Zeek, record)).collect();
        String::from_utf8(out).unwrap() + &rows
    }

    #[test]
    fn columns_are_found_by_their_names() {
        let log = log(&[&sample(1_795_478_400_000_001), &benign(), &hostile()]);
        assert!(log.starts_with("#separator \\x09\n#set_separator\t,\n"), "{log}");
        assert!(log.contains("\n#open\t2026-11-24-00-00-00\n"), "{log}");
        let rows = cut(&log);
        let check = |row: usize, expected: &[(&str, &str)]| {
            for (name, value) in expected {
                assert_eq!(rows[row][*name], *value, "{name}");
            }
        };
        check(
            0,
            &[
                ("ts", "1795478400.000001"),
                ("id.orig_h", "10.1.2.3"),
                ("proto", "udp"),
                ("rtt", "0.000007"),
                ("query", "evil.example"),
                ("qclass", "1"),
                ("qclass_name", "C_INTERNET"),
                ("qtype", "1"),
                ("qtype_name", "A"),
                ("rcode", "0"),
                ("rcode_name", "NOERROR"),
                ("answers", "10.10.10.10,fd00::10"),
                ("rejected", "F"),
                ("action", "sinkhole"),
                ("feed", "authority"),
                ("family", "Mã độc"),
                ("trans_id", "-"),
            ],
        );
        check(
            1,
            &[
                ("rcode_name", "NXDOMAIN"),
                ("answers", "-"),
                ("feed", "-"),
                ("proto", "tcp"),
                ("rtt", "0.025300"),
            ],
        );
        check(2, &[("ts", "0.000000"), ("query", r"|=\x5c\x5c\x5c010\x5c009")]);
    }

    #[test]
    fn texts_are_escaped_as_zeek_does() {
        fn check(text: &str, expected: &str) {
            assert_eq!(escaped(text, false), expected);
        }
        check("a\tb\nc", r"a\x09b\x0ac");
        check("\u{85}", r"\xc2\x85");
        check("-", r"\x2d");
        check("-x", "-x");
        check("", "(empty)");
        check("(empty)", r"\x28empty)");
        check("#x", r"\x23x");
        assert_eq!(escaped("a,b", true), r"a\x2cb");
    }
}
