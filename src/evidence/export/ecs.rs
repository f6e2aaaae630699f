//! ECS, the Elastic Common Schema, version 8.11: a record as one event, for Elasticsearch, OpenSearch and Wazuh.
//!
//! What the schema has no field for stands under `sachdns`.

use std::io::{self, Write};
use std::net::IpAddr;

use serde::Serialize;

use super::{
    Gravity, Origin, PRODUCT, VERSION, Verdict, carrier, class_text, gravity, qname_text, qtype_text,
    rcode_text, time_text, verdict,
};
use crate::evidence::record::{Record, Trigger};
use crate::mac::Mac;

const SCHEMA: &str = "8.11.0";

#[derive(Serialize)]
struct Line<'a> {
    #[serde(rename = "@timestamp")]
    timestamp: String,
    ecs: Version,
    event: Event,
    network: Network,
    client: Address,
    source: Address,
    dns: Dns<'a>,
    observer: Observer<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    organization: Option<Organization<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<Rule<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    threat: Option<Threat<'a>>,
    related: Related,
    sachdns: Own<'a>,
}

#[derive(Serialize)]
struct Version {
    version: &'static str,
}

#[derive(Serialize)]
struct Event {
    kind: &'static str,
    category: &'static [&'static str],
    #[serde(rename = "type")]
    kinds: &'static [&'static str],
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    dataset: &'static str,
    module: &'static str,
    /// Nanoseconds.
    duration: u64,
    severity: u8,
}

#[derive(Serialize)]
struct Network {
    protocol: &'static str,
    transport: &'static str,
    #[serde(rename = "type")]
    family: &'static str,
}

#[derive(Serialize)]
struct Address {
    ip: IpAddr,
    /// In capitals, with hyphens, as the schema has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    mac: Option<String>,
}

#[derive(Serialize)]
struct Dns<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    question: Option<Question>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_code: Option<String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    resolved_ip: &'a [IpAddr],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    answers: Vec<Answer>,
}

#[derive(Serialize)]
struct Question {
    name: String,
    #[serde(rename = "type")]
    qtype: String,
    class: String,
}

#[derive(Serialize)]
struct Answer {
    data: IpAddr,
    #[serde(rename = "type")]
    rtype: &'static str,
}

#[derive(Serialize)]
struct Observer<'a> {
    hostname: &'a str,
    product: &'static str,
    vendor: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
struct Organization<'a> {
    id: &'a str,
}

#[derive(Serialize)]
struct Rule<'a> {
    name: &'a str,
    ruleset: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<&'static str>,
}

#[derive(Serialize)]
struct Threat<'a> {
    indicator: Indicator<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    software: Option<Software<'a>>,
}

#[derive(Serialize)]
struct Indicator<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    provider: &'a str,
    name: String,
}

#[derive(Serialize)]
struct Software<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct Related {
    ip: Vec<IpAddr>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hosts: Vec<String>,
}

#[derive(Serialize)]
struct Own<'a> {
    action: &'static str,
    hit: bool,
    /// A list took up the name or address later.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    before_listed: bool,
    cached: bool,
    transport: &'static str,
    latency_us: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    matched: Option<&'a str>,
    /// The network of the forwarder's client.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_subnet: Option<String>,
}

/// Writes one record as one line.
///
/// # Errors
/// What `out` said.
pub fn write(out: &mut impl Write, record: &Record<'_>, origin: &Origin) -> io::Result<()> {
    let qname = qname_text(record);
    let feed = record.feed.as_deref();
    let mut related = Related { ip: vec![record.client], hosts: Vec::new() };
    related.ip.extend(record.answers.iter());
    related.hosts.extend(Some(qname.clone()).filter(|qname| !qname.is_empty()));
    let line = Line {
        timestamp: time_text(record),
        ecs: Version { version: SCHEMA },
        event: event(record),
        network: Network {
            protocol: "dns",
            transport: carrier(record),
            family: if record.client.is_ipv4() { "ipv4" } else { "ipv6" },
        },
        client: Address { ip: record.client, mac: record.mac.map(hyphened) },
        source: Address { ip: record.client, mac: None },
        dns: Dns {
            kind: if record.rcode.is_some() { "answer" } else { "query" },
            question: (!qname.is_empty()).then(|| Question {
                name: qname.clone(),
                qtype: qtype_text(record),
                class: class_text(record.qclass),
            }),
            response_code: record.rcode.map(|_| rcode_text(record)),
            resolved_ip: &record.answers,
            answers: record.answers.iter().map(|address| answer(*address)).collect(),
        },
        observer: Observer {
            hostname: &origin.node,
            product: PRODUCT,
            vendor: PRODUCT,
            kind: "dns",
            version: VERSION,
        },
        organization: record.agency.as_deref().map(|id| Organization { id }),
        rule: feed.map(|feed| Rule {
            name: record.family.as_deref().unwrap_or(feed),
            ruleset: feed,
            category: record.trigger.map(Trigger::as_str),
        }),
        threat: feed.filter(|_| record.is_hit).map(|provider| Threat {
            indicator: Indicator {
                kind: indicator_kind(record),
                provider,
                name: record.matched.as_deref().map_or(qname, str::to_owned),
            },
            software: record.family.as_deref().map(|name| Software { name }),
        }),
        related,
        sachdns: Own {
            action: record.outcome.as_str(),
            hit: record.is_hit,
            before_listed: record.is_before_listed(),
            cached: record.is_cached,
            transport: record.transport.as_str(),
            latency_us: record.latency,
            matched: record.matched.as_deref(),
            client_subnet: record.subnet.map(|net| net.to_string()),
        },
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}

/// As ECS has hardware addresses (RFC 7042): `00-1A-2B-3C-4D-5E`.
fn hyphened(mac: Mac) -> String {
    let octets = mac.0.map(|octet| format!("{octet:02X}"));
    octets.join("-")
}

fn event(record: &Record<'_>) -> Event {
    let kinds: &[&str] = match verdict(record) {
        Verdict::None => &["protocol", "info"],
        Verdict::Allowed | Verdict::Noticed | Verdict::Delayed => &["protocol", "allowed"],
        Verdict::Blocked | Verdict::Dropped => &["protocol", "denied"],
    };
    Event {
        kind: if record.is_hit { "alert" } else { "event" },
        category: if record.is_hit { &["network", "intrusion_detection"] } else { &["network"] },
        kinds,
        action: record.outcome.as_str(),
        // Whether the client was served; a name that does not exist is an answer like any other.
        outcome: record.rcode.map(|rcode| if matches!(rcode, 0 | 3) { "success" } else { "failure" }),
        dataset: "sachdns.query",
        module: "sachdns",
        duration: u64::from(record.latency) * 1000,
        severity: match gravity(record) {
            Gravity::Information => 1,
            Gravity::Low => 2,
            Gravity::Medium => 3,
            Gravity::High => 4,
            Gravity::Critical => 5,
        },
    }
}

fn answer(data: IpAddr) -> Answer {
    Answer { data, rtype: if data.is_ipv4() { "A" } else { "AAAA" } }
}

fn indicator_kind(record: &Record<'_>) -> &'static str {
    match record.trigger {
        Some(Trigger::ClientIp) if record.client.is_ipv6() => "ipv6-addr",
        Some(Trigger::ClientIp) => "ipv4-addr",
        Some(Trigger::Ip | Trigger::Nsip) => match record.matched.as_deref() {
            Some(matched) if matched.contains(':') => "ipv6-addr",
            _ => "ipv4-addr",
        },
        Some(Trigger::Qname | Trigger::Nsdname) | None => "domain-name",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::Format;
    use super::super::tests::{benign, text};
    use super::*;
    use crate::evidence::record::tests::sample;

    fn event(record: &Record<'_>) -> Value {
        serde_json::from_str(&text(Format::Ecs, record)).unwrap()
    }

    #[test]
    fn a_hit_is_an_alert_with_its_indicator() {
        let expected = json!({
            "@timestamp": "2026-11-24T00:00:00.000001Z",
            "ecs": {"version": "8.11.0"},
            "event": {
                "kind": "alert", "category": ["network", "intrusion_detection"], "type": ["protocol", "denied"],
                "action": "sinkhole", "outcome": "success", "dataset": "sachdns.query", "module": "sachdns",
                "duration": 7000, "severity": 4,
            },
            "network": {"protocol": "dns", "transport": "udp", "type": "ipv4"},
            "client": {"ip": "10.1.2.3"}, "source": {"ip": "10.1.2.3"},
            "dns": {
                "type": "answer", "question": {"name": "evil.example", "type": "A", "class": "IN"},
                "response_code": "NOERROR", "resolved_ip": ["10.10.10.10", "fd00::10"],
                "answers": [{"data": "10.10.10.10", "type": "A"}, {"data": "fd00::10", "type": "AAAA"}],
            },
            "observer": {
                "hostname": "dns1.example.vn", "product": "SachDNS", "vendor": "SachDNS", "type": "dns",
                "version": VERSION,
            },
            "organization": {"id": "so-tttt"},
            "rule": {"name": "Mã độc", "ruleset": "authority", "category": "qname"},
            "threat": {
                "indicator": {"type": "domain-name", "provider": "authority", "name": "evil.example"},
                "software": {"name": "Mã độc"},
            },
            "related": {"ip": ["10.1.2.3", "10.10.10.10", "fd00::10"], "hosts": ["evil.example"]},
            "sachdns": {"action": "sinkhole", "hit": true, "cached": true, "transport": "udp", "latency_us": 7},
        });
        assert_eq!(event(&sample(1_795_478_400_000_001)), expected);
    }

    #[test]
    fn another_query_is_an_event() {
        let event = event(&benign());
        // What Elastic asks of every event.
        for key in ["kind", "category", "type"] {
            assert!(!event["event"][key].is_null(), "{event:#}");
        }
        assert_eq!(event["event"]["kind"], "event");
        assert!(event.get("threat").is_none() && event.get("rule").is_none(), "{event:#}");
        assert_eq!(event["network"], json!({"protocol": "dns", "transport": "tcp", "type": "ipv6"}));
    }
}
