//! CSV (RFC 4180) with a heading line, safe to open in a spreadsheet.

use std::io::{self, Write};

use super::{qname_text, qtype_text, rcode_text, time_text};
use crate::evidence::record::{Record, Severity, Trigger};

/// Writes the heading line.
///
/// # Errors
/// What `out` said.
pub fn write_heading(out: &mut impl Write) -> io::Result<()> {
    out.write_all(
        b"time,client,agency,qname,qtype,rcode,action,hit,before_listed,cached,feed,family,severity,trigger,matched,answers,latency_us,transport,client_mac,client_subnet\r\n",
    )
}

/// Writes one record as one line. What is not known is empty.
///
/// # Errors
/// What `out` said.
pub fn write(out: &mut impl Write, record: &Record<'_>) -> io::Result<()> {
    let answers: Vec<String> = record.answers.iter().map(ToString::to_string).collect();
    let fields = [
        time_text(record),
        record.client.to_string(),
        record.agency.as_deref().unwrap_or("").to_owned(),
        qname_text(record),
        qtype_text(record),
        rcode_text(record),
        record.outcome.as_str().to_owned(),
        record.is_hit.to_string(),
        record.is_before_listed().to_string(),
        record.is_cached.to_string(),
        record.feed.as_deref().unwrap_or("").to_owned(),
        record.family.as_deref().unwrap_or("").to_owned(),
        record.severity.map_or("", Severity::as_str).to_owned(),
        record.trigger.map_or("", Trigger::as_str).to_owned(),
        record.matched.as_deref().unwrap_or("").to_owned(),
        answers.join(" "),
        record.latency.to_string(),
        record.transport.as_str().to_owned(),
        record.mac.map(|mac| mac.to_string()).unwrap_or_default(),
        record.subnet.map(|net| net.to_string()).unwrap_or_default(),
    ];
    let line: Vec<String> = fields.iter().map(|field| quoted(field)).collect();
    write!(out, "{}\r\n", line.join(","))
}

/// Quotes where RFC 4180 asks for it. A text that a spreadsheet would take for a formula gets an
/// apostrophe in front: names and families come from strangers.
pub fn quoted(field: &str) -> String {
    let guard = if field.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    if guard.is_empty() && !field.contains([',', '"', '\r', '\n']) {
        return field.to_owned();
    }
    format!("\"{guard}{}\"", field.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::record::tests::sample;

    #[test]
    fn strangers_texts_stay_in_their_field() {
        fn check(family: &str, expected: &str) {
            let mut out = Vec::new();
            write(&mut out, &Record { family: Some(family.into()), ..sample(0) }).unwrap();
            let line = String::from_utf8(out).unwrap();
            assert!(line.contains(&format!("authority,{expected},high,qname,,10.10.10.10")), "{line}");
        }
        check("emotet", "emotet");
        check("a,b", "\"a,b\"");
        check("a\"b", "\"a\"\"b\"");
        check("=cmd()", "\"'=cmd()\"");
    }
}
