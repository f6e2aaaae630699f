//! JSON lines: one object a record, keys as the documentation fixes them.

use std::io::{self, Write};
use std::net::IpAddr;

use serde::Serialize;

use super::{qname_text, qtype_text, rcode_text, time_text};
use crate::evidence::record::{Record, Severity, Trigger};

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    client: IpAddr,
    agency: Option<&'a str>,
    qname: Option<String>,
    qtype: Option<String>,
    rcode: Option<String>,
    action: &'static str,
    hit: bool,
    before_listed: bool,
    cached: bool,
    feed: Option<&'a str>,
    family: Option<&'a str>,
    severity: Option<&'static str>,
    trigger: Option<&'static str>,
    matched: Option<&'a str>,
    answers: &'a [IpAddr],
    latency_us: u32,
    transport: &'static str,
    client_mac: Option<String>,
    client_subnet: Option<String>,
}

/// Writes one record as one line. What is not known is `null`.
///
/// # Errors
/// What `out` said.
pub fn write(out: &mut impl Write, record: &Record<'_>) -> io::Result<()> {
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    let line = Line {
        time: time_text(record),
        client: record.client,
        agency: record.agency.as_deref(),
        qname: some(qname_text(record)),
        qtype: some(qtype_text(record)),
        rcode: some(rcode_text(record)),
        action: record.outcome.as_str(),
        hit: record.is_hit,
        before_listed: record.is_before_listed(),
        cached: record.is_cached,
        feed: record.feed.as_deref(),
        family: record.family.as_deref(),
        severity: record.severity.map(Severity::as_str),
        trigger: record.trigger.map(Trigger::as_str),
        matched: record.matched.as_deref(),
        answers: &record.answers,
        latency_us: record.latency,
        transport: record.transport.as_str(),
        client_mac: record.mac.map(|mac| mac.to_string()),
        client_subnet: record.subnet.map(|net| net.to_string()),
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::record::tests::sample;

    #[test]
    fn keys_are_as_documented() {
        let mut out = Vec::new();
        write(&mut out, &sample(1_795_478_400_000_001)).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            concat!(
                r#"{"time":"2026-11-24T00:00:00.000001Z","client":"10.1.2.3","agency":"so-tttt","#,
                r#""qname":"evil.example","qtype":"A","rcode":"NOERROR","action":"sinkhole","hit":true,"before_listed":false,"cached":true,"#,
                r#""feed":"authority","family":"Mã độc","severity":"high","trigger":"qname","matched":null,"answers":["10.10.10.10","fd00::10"],"#,
                r#""latency_us":7,"transport":"udp","client_mac":null,"client_subnet":null}"#,
                "\n"
            )
        );
    }
}
