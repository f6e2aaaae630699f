//! OCSF, the Open Cybersecurity Schema Framework, version 1.3: a record as DNS Activity (class 4003), a
//! hit as Detection Finding (class 2004) too.
//!
//! Both carry the profile `security_control` where a rule or a limit acted. Our own words, for which the
//! schema has none, are in `unmapped`. Times are milliseconds since 1970, as the schema's `timestamp_t`.

use std::io::{self, Write};
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Serialize, Serializer};

use super::{
    Gravity, Origin, PRODUCT, VERSION, Verdict, answered, carrier, class_text, gravity, qname_text,
    qtype_text, verdict,
};
use crate::evidence::record::{Record, Trigger};
use crate::mac::Mac;
use crate::wire;

const SCHEMA: &str = "1.3.0";
const SECURITY_CONTROL: &[&str] = &["security_control"];

#[derive(Serialize)]
struct Activity<'a> {
    activity_id: u8,
    activity_name: &'static str,
    category_uid: u8,
    category_name: &'static str,
    class_uid: u16,
    class_name: &'static str,
    type_uid: u32,
    type_name: &'static str,
    severity_id: u8,
    severity: &'static str,
    time: i64,
    metadata: Metadata<'a>,
    src_endpoint: Client<'a>,
    dst_endpoint: Server<'a>,
    connection_info: Connection,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<Query>,
    query_time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rcode_id: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rcode: Option<String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    answers: &'a [Answer],
    #[serde(flatten)]
    control: Option<Control<'a>>,
    unmapped: Unmapped<'a>,
}

#[derive(Serialize)]
struct Finding<'a> {
    activity_id: u8,
    activity_name: &'static str,
    category_uid: u8,
    category_name: &'static str,
    class_uid: u16,
    class_name: &'static str,
    type_uid: u32,
    type_name: &'static str,
    severity_id: u8,
    severity: &'static str,
    status_id: u8,
    status: &'static str,
    is_alert: bool,
    time: i64,
    metadata: Metadata<'a>,
    finding_info: FindingInfo<'a>,
    evidences: [Evidence<'a>; 1],
    #[serde(flatten)]
    control: Option<Control<'a>>,
    unmapped: Unmapped<'a>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    version: &'static str,
    product: Product,
    log_name: &'static str,
    log_provider: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    profiles: &'static [&'static str],
}

#[derive(Serialize)]
struct Product {
    name: &'static str,
    vendor_name: &'static str,
    version: &'static str,
}

#[derive(Serialize, Clone, Copy)]
struct Client<'a> {
    ip: IpAddr,
    /// Of the machine behind a forwarder, as that told.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown")]
    mac: Option<Mac>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<&'a str>,
}

#[derive(Serialize, Clone, Copy)]
struct Server<'a> {
    hostname: &'a str,
}

#[derive(Serialize, Clone, Copy)]
struct Connection {
    direction_id: u8,
    direction: &'static str,
    protocol_name: &'static str,
    protocol_num: u8,
}

#[derive(Serialize)]
struct Query {
    hostname: String,
    #[serde(rename = "type")]
    qtype: String,
    #[serde(rename = "class")]
    qclass: String,
}

#[derive(Serialize)]
struct Answer {
    rdata: IpAddr,
    #[serde(rename = "type")]
    rtype: &'static str,
}

/// What the profile `security_control` adds.
#[derive(Serialize)]
struct Control<'a> {
    action_id: u8,
    action: &'static str,
    disposition_id: u8,
    disposition: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    firewall_rule: Option<Rule<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    malware: Option<[Malware<'a>; 1]>,
}

#[derive(Serialize)]
struct Rule<'a> {
    name: &'a str,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    trigger: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    match_details: Option<[&'a str; 1]>,
}

#[derive(Serialize)]
struct Malware<'a> {
    name: &'a str,
    classification_ids: [u8; 1],
    provider: &'a str,
}

#[derive(Serialize)]
struct FindingInfo<'a> {
    uid: String,
    title: String,
    analytic: Analytic<'a>,
    created_time: i64,
    first_seen_time: i64,
    last_seen_time: i64,
    data_sources: [&'static str; 1],
}

#[derive(Serialize)]
struct Analytic<'a> {
    name: &'a str,
    type_id: u8,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
struct Evidence<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<Query>,
    src_endpoint: Client<'a>,
    dst_endpoint: Server<'a>,
    connection_info: Connection,
}

#[derive(Serialize)]
struct Unmapped<'a> {
    action: &'static str,
    transport: &'static str,
    cached: bool,
    latency_us: u32,
    /// A list took up the name or address later.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    before_listed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    agency: Option<&'a str>,
    /// The network of the forwarder's client.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown")]
    client_subnet: Option<IpNet>,
}

/// Writes one record as one line: DNS Activity.
///
/// # Errors
/// What `out` said.
pub fn write(out: &mut impl Write, record: &Record<'_>, origin: &Origin) -> io::Result<()> {
    let (activity_id, activity_name, type_name) = match record.rcode {
        Some(_) => (6, "Traffic", "DNS Activity: Traffic"),
        None => (1, "Query", "DNS Activity: Query"),
    };
    let (severity_id, severity) = severity(record);
    let control = control(record);
    let answers: Vec<Answer> = record.answers.iter().map(|address| answer(*address)).collect();
    let (rcode_id, rcode) = record.rcode.map(rcode).unzip();
    let line = Activity {
        activity_id,
        activity_name,
        category_uid: 4,
        category_name: "Network Activity",
        class_uid: 4003,
        class_name: "DNS Activity",
        type_uid: 400_300 + u32::from(activity_id),
        type_name,
        severity_id,
        severity,
        time: milliseconds(record.time),
        metadata: metadata(origin, control.is_some()),
        src_endpoint: client(record),
        dst_endpoint: Server { hostname: &origin.node },
        connection_info: connection(record),
        query: query(record),
        query_time: milliseconds(record.time),
        response_time: record.rcode.map(|_| milliseconds(answered(record))),
        rcode_id,
        rcode,
        answers: &answers,
        control,
        unmapped: unmapped(record),
    };
    write_line(out, &line)
}

/// Writes one hit as one line: Detection Finding.
///
/// # Errors
/// What `out` said.
pub fn write_finding(out: &mut impl Write, record: &Record<'_>, origin: &Origin) -> io::Result<()> {
    let (severity_id, severity) = severity(record);
    let time = milliseconds(record.time);
    let qname = qname_text(record);
    let title = match record.family.as_deref() {
        Some(family) => format!("{family}: a client asked for {qname}"),
        None => format!("A client asked for {qname}"),
    };
    let line = Finding {
        activity_id: 1,
        activity_name: "Create",
        category_uid: 2,
        category_name: "Findings",
        class_uid: 2004,
        class_name: "Detection Finding",
        type_uid: 200_401,
        type_name: "Detection Finding: Create",
        severity_id,
        severity,
        status_id: 1,
        status: "New",
        is_alert: true,
        time,
        metadata: metadata(origin, true),
        finding_info: FindingInfo {
            // The same each time that a record is sent: who gets it twice can tell.
            uid: uid(record, &qname, origin),
            title,
            analytic: Analytic { name: record.feed.as_deref().unwrap_or(PRODUCT), type_id: 1, kind: "Rule" },
            created_time: time,
            first_seen_time: time,
            last_seen_time: time,
            data_sources: ["DNS"],
        },
        evidences: [Evidence {
            query: query(record),
            src_endpoint: client(record),
            dst_endpoint: Server { hostname: &origin.node },
            connection_info: connection(record),
        }],
        control: control(record),
        unmapped: unmapped(record),
    };
    write_line(out, &line)
}

/// What a record is known by: queries of one batch have the same microsecond, and what a later list found is a find of its own.
fn uid(record: &Record<'_>, qname: &str, origin: &Origin) -> String {
    let Record { time, client, qtype, .. } = record;
    let found = if record.is_before_listed() { "-before-listed" } else { "" };
    format!("{}-{time}-{client}-{qtype}-{qname}{found}", origin.node)
}

fn write_line(out: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

fn milliseconds(microseconds: i64) -> i64 {
    microseconds.div_euclid(1000)
}

fn metadata(origin: &Origin, has_control: bool) -> Metadata<'_> {
    Metadata {
        version: SCHEMA,
        product: Product { name: PRODUCT, vendor_name: PRODUCT, version: VERSION },
        log_name: "query log",
        log_provider: &origin.node,
        profiles: if has_control { SECURITY_CONTROL } else { &[] },
    }
}

/// A value as its text.
fn shown<T: std::fmt::Display, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

fn client<'a>(record: &'a Record<'_>) -> Client<'a> {
    Client { ip: record.client, mac: record.mac, zone: record.agency.as_deref() }
}

fn connection(record: &Record<'_>) -> Connection {
    let protocol_name = carrier(record);
    let protocol_num = if protocol_name == "udp" { 17 } else { 6 };
    Connection { direction_id: 1, direction: "Inbound", protocol_name, protocol_num }
}

fn query(record: &Record<'_>) -> Option<Query> {
    (!record.qname.is_empty()).then(|| Query {
        hostname: qname_text(record),
        qtype: qtype_text(record),
        qclass: class_text(record.qclass),
    })
}

fn answer(rdata: IpAddr) -> Answer {
    Answer { rdata, rtype: if rdata.is_ipv4() { "A" } else { "AAAA" } }
}

fn unmapped<'a>(record: &'a Record<'_>) -> Unmapped<'a> {
    Unmapped {
        action: record.outcome.as_str(),
        transport: record.transport.as_str(),
        cached: record.is_cached,
        latency_us: record.latency,
        before_listed: record.is_before_listed(),
        agency: record.agency.as_deref(),
        client_subnet: record.subnet,
    }
}

fn severity(record: &Record<'_>) -> (u8, &'static str) {
    match gravity(record) {
        Gravity::Information => (1, "Informational"),
        Gravity::Low => (2, "Low"),
        Gravity::Medium => (3, "Medium"),
        Gravity::High => (4, "High"),
        Gravity::Critical => (5, "Critical"),
    }
}

/// The schema's number and word; it has own numbers for ranges of codes, and calls some by other words.
fn rcode(rcode: u16) -> (u16, String) {
    let (id, word) = match rcode {
        0 => (0, "NoError"),
        1 => (1, "FormError"),
        2 => (2, "ServError"),
        3 => (3, "NXDomain"),
        4 => (4, "NotImp"),
        5 => (5, "Refused"),
        6 => (6, "YXDomain"),
        7 => (7, "YXRRSet"),
        8 => (8, "NXRRSet"),
        9 => (9, "NotAuth"),
        10 => (10, "NotZone"),
        16 => (16, "BADSIG_VERS"),
        23 => (23, "BADCOOKIE"),
        other => return (99, wire::rcode_text(other).into_owned()),
    };
    (id, word.to_owned())
}

fn control<'a>(record: &'a Record<'_>) -> Option<Control<'a>> {
    let (action_id, action, disposition_id, disposition) = match verdict(record) {
        Verdict::None => return None,
        Verdict::Allowed => (1, "Allowed", 1, "Allowed"),
        Verdict::Noticed => (1, "Allowed", 15, "Detected"),
        Verdict::Delayed => (1, "Allowed", 14, "Delayed"),
        Verdict::Blocked => (2, "Denied", 2, "Blocked"),
        Verdict::Dropped => (2, "Denied", 6, "Dropped"),
    };
    let feed = record.feed.as_deref();
    let firewall_rule = feed.map(|name| Rule {
        name,
        trigger: record.trigger.map(Trigger::as_str),
        match_details: record.matched.as_deref().map(|matched| [matched]),
    });
    let malware = record.family.as_deref().map(|name| {
        // Feeds say a family's name, and nothing of its kind.
        [Malware { name, classification_ids: [0], provider: feed.unwrap_or(PRODUCT) }]
    });
    Some(Control { action_id, action, disposition_id, disposition, firewall_rule, malware })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::Format;
    use super::super::tests::{benign, hostile, text};
    use super::*;
    use crate::evidence::record::Outcome;
    use crate::evidence::record::tests::sample;

    /// What the schema (ocsf/ocsf-schema, events/ and objects/) requires, with the type that it asks for. An
    /// object's attributes are required where the object is there; `*` stands for each element.
    const REQUIRED: &[(&str, &str, Kind)] = &[
        ("", "activity_id", Kind::Integer),
        ("", "category_uid", Kind::Integer),
        ("", "class_uid", Kind::Integer),
        ("", "metadata", Kind::Object),
        ("", "severity_id", Kind::Integer),
        ("", "time", Kind::Integer),
        ("", "type_uid", Kind::Integer),
        ("/metadata", "version", Kind::Text),
        ("/metadata", "product", Kind::Object),
        ("/metadata/product", "vendor_name", Kind::Text),
        ("/connection_info", "direction_id", Kind::Integer),
        ("/query", "hostname", Kind::Text),
        ("/answers/*", "rdata", Kind::Text),
        ("/malware/*", "classification_ids", Kind::List),
        ("/finding_info", "uid", Kind::Text),
        ("/finding_info", "title", Kind::Text),
        ("/finding_info/analytic", "type_id", Kind::Integer),
        ("/evidences/*/connection_info", "direction_id", Kind::Integer),
        ("/evidences/*/query", "hostname", Kind::Text),
    ];

    /// … and of a class.
    const REQUIRED_OF_CLASS: &[(u64, &str)] =
        &[(4003, "src_endpoint"), (4003, "dst_endpoint"), (2004, "finding_info")];

    #[derive(Debug, Clone, Copy)]
    enum Kind {
        Integer,
        Text,
        List,
        Object,
    }

    impl Kind {
        fn fits(self, value: &Value) -> bool {
            match self {
                Self::Integer => value.is_i64() || value.is_u64(),
                Self::Text => value.as_str().is_some_and(|text| !text.is_empty()),
                Self::List => value.as_array().is_some_and(|list| !list.is_empty()),
                Self::Object => value.is_object(),
            }
        }
    }

    /// All values at a path.
    fn at<'v>(value: &'v Value, path: &str) -> Vec<&'v Value> {
        path.split('/').skip(1).fold(vec![value], |found, step| {
            let below = found.into_iter();
            match step {
                "*" => below.flat_map(|value| value.as_array().into_iter().flatten()).collect(),
                key => below.filter_map(|value| value.get(key)).collect(),
            }
        })
    }

    fn check_required(format: Format, record: &Record<'_>) -> Value {
        let event: Value = serde_json::from_str(&text(format, record)).unwrap();
        for (object, key, kind) in REQUIRED {
            for object_there in at(&event, object) {
                let value = object_there.get(key).unwrap_or(&Value::Null);
                assert!(kind.fits(value), "{object}/{key} is no {kind:?}: {event:#}");
            }
        }
        let class = event["class_uid"].as_u64().unwrap();
        for (_, key) in REQUIRED_OF_CLASS.iter().filter(|(of, _)| *of == class) {
            assert!(event[key].is_object(), "{key}: {event:#}");
        }
        let (category, activity) = (&event["category_uid"], event["activity_id"].as_u64().unwrap());
        assert_eq!(event["type_uid"], class * 100 + activity, "{event:#}");
        assert_eq!(*category, class / 1000, "{event:#}");
        event
    }

    #[test]
    fn every_record_has_what_the_schema_requires() {
        for outcome in
            [Outcome::Forward, Outcome::Sinkhole, Outcome::Drop, Outcome::Shadow, Outcome::Malformed]
        {
            for rcode in [None, Some(0), Some(2), Some(4000)] {
                for record in [sample(7), benign(), hostile()] {
                    let unread = Record { qname: Vec::new().into(), ..record.clone() };
                    for record in [record, unread] {
                        check_required(Format::Ocsf, &Record { outcome, rcode, ..record.clone() });
                        check_required(Format::OcsfFinding, &Record { outcome, rcode, ..record });
                    }
                }
            }
        }
    }

    #[test]
    fn a_hit_is_a_control_that_acted() {
        let event = check_required(Format::Ocsf, &sample(1_795_478_400_000_001));
        let expected = serde_json::json!({
            "activity_id": 6, "activity_name": "Traffic", "category_uid": 4, "category_name": "Network Activity",
            "class_uid": 4003, "class_name": "DNS Activity", "type_uid": 400_306, "type_name": "DNS Activity: Traffic",
            "severity_id": 4, "severity": "High", "time": 1_795_478_400_000_i64,
            "metadata": {
                "version": "1.3.0", "log_name": "query log", "log_provider": "dns1.example.vn",
                "product": {"name": "SachDNS", "vendor_name": "SachDNS", "version": VERSION},
                "profiles": ["security_control"],
            },
            "src_endpoint": {"ip": "10.1.2.3", "zone": "so-tttt"}, "dst_endpoint": {"hostname": "dns1.example.vn"},
            "connection_info": {"direction_id": 1, "direction": "Inbound", "protocol_name": "udp", "protocol_num": 17},
            "query": {"hostname": "evil.example", "type": "A", "class": "IN"},
            "query_time": 1_795_478_400_000_i64, "response_time": 1_795_478_400_000_i64,
            "rcode_id": 0, "rcode": "NoError",
            "answers": [{"rdata": "10.10.10.10", "type": "A"}, {"rdata": "fd00::10", "type": "AAAA"}],
            "action_id": 2, "action": "Denied", "disposition_id": 2, "disposition": "Blocked",
            "firewall_rule": {"name": "authority", "type": "qname"},
            "malware": [{"name": "Mã độc", "classification_ids": [0], "provider": "authority"}],
            "unmapped": {"action": "sinkhole", "transport": "udp", "cached": true, "latency_us": 7, "agency": "so-tttt"},
        });
        assert_eq!(event, expected);
        let finding = check_required(Format::OcsfFinding, &sample(1_795_478_400_000_001));
        assert_eq!(finding["finding_info"]["title"], "Mã độc: a client asked for evil.example");
        assert_eq!(finding["evidences"][0]["src_endpoint"]["ip"], "10.1.2.3");
    }

    #[test]
    fn records_of_one_microsecond_are_told_apart() {
        let uid = |record: &Record<'_>| {
            let finding = check_required(Format::OcsfFinding, record);
            finding["finding_info"]["uid"].as_str().unwrap().to_owned()
        };
        let record = sample(7);
        assert_eq!(uid(&record), "dns1.example.vn-7-10.1.2.3-1-evil.example");
        let other = Record { qname: b"\x05other\x07example\0".to_vec().into(), ..record.clone() };
        let late = Record { outcome: Outcome::Forward, ..record.clone() };
        let uids = [uid(&record), uid(&other), uid(&late)];
        assert_eq!(uids.iter().collect::<std::collections::HashSet<_>>().len(), 3, "{uids:?}");
        assert_eq!(uid(&record), uids[0], "the same each time");
    }

    #[test]
    fn what_nobody_stood_in_the_way_of_has_no_control() {
        let event = check_required(Format::Ocsf, &benign());
        assert!(event.get("action_id").is_none() && event["metadata"].get("profiles").is_none(), "{event:#}");
        assert_eq!((&event["rcode"], &event["severity_id"]), (&"NXDomain".into(), &1.into()));
        assert_eq!(event["connection_info"]["protocol_name"], "tcp");
        let silent = check_required(Format::Ocsf, &Record { rcode: None, ..benign() });
        assert!(silent.get("rcode_id").is_none() && silent.get("response_time").is_none(), "{silent:#}");
    }
}
