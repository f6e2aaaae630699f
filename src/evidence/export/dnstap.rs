//! dnstap: a record as the message CLIENT_RESPONSE, with the policy that was applied; CLIENT_QUERY where nothing
//! was answered.
//!
//! A record keeps no message, so the one in here is made anew from what it keeps: its id is 0, its answers are the record's
//! addresses under the qname, with a TTL of 0 (aliases in between are not known). Ports are not kept either.
//!
//! The schema is `dnstap.proto` (dnstap/dnstap.pb). It is small and fixed, so its encoding stands here by hand: fields are a
//! number and a wire type, 0 for a varint, 2 for octets with their length, 5 for four octets.

use std::net::IpAddr;

use super::{Origin, PRODUCT, VERSION, answered};
use crate::evidence::record::{Outcome, Record, Transport, Trigger};
use crate::name::Name;
use crate::wire::{AA, CLASS_IN, HEADER, QR, RA, RD, rtype};

const CLIENT_QUERY: u64 = 5;
const CLIENT_RESPONSE: u64 = 6;
const MESSAGE: u64 = 1;

/// A record's message, without its frame.
pub fn encode(record: &Record<'_>, origin: &Origin) -> Vec<u8> {
    let mut dnstap = Fields::default();
    dnstap.octets(1, origin.node.as_bytes());
    dnstap.octets(2, format!("{PRODUCT} {VERSION}").as_bytes());
    // Whose machine it was, which dnstap has no field for.
    if let Some(agency) = &record.agency {
        dnstap.octets(3, agency.as_bytes());
    }
    dnstap.octets(14, &message(record).0);
    dnstap.number(15, MESSAGE);
    dnstap.0
}

fn message(record: &Record<'_>) -> Fields {
    let mut message = Fields::default();
    message.number(1, if record.rcode.is_some() { CLIENT_RESPONSE } else { CLIENT_QUERY });
    message.number(2, if record.client.is_ipv4() { 1 } else { 2 });
    message.number(
        3,
        match record.transport {
            Transport::Udp => 1,
            Transport::Tcp => 2,
            Transport::Tls => 3,
            Transport::Https => 4,
            Transport::Quic => 7,
        },
    );
    message.address(4, record.client);
    message.time(8, 9, record.time);
    match record.rcode {
        None => message.octets(10, &dns(record, None)),
        Some(rcode) => {
            message.time(12, 13, answered(record));
            message.octets(14, &dns(record, Some(rcode)));
        }
    }
    if let Some(policy) = policy(record) {
        message.octets(15, &policy.0);
    }
    message
}

/// The DNS message; a query without an rcode.
fn dns(record: &Record<'_>, rcode: Option<u16>) -> Vec<u8> {
    let has_question = !record.qname.is_empty();
    // Answers stand under the qname; there is none without a question.
    let answers: &[IpAddr] = if has_question && rcode.is_some() { &record.answers } else { &[] };
    let is_extended = rcode.is_some_and(|rcode| rcode > 0xf);
    let mut out = vec![0; HEADER];
    if let Some(rcode) = rcode {
        out[2] |= QR | if record.outcome == Outcome::Local { AA } else { 0 };
        out[3] |= RA | (rcode & 0xf) as u8;
    }
    out[2] |= RD;
    out[5] = u8::from(has_question);
    // At most `record::MAX_ANSWERS`.
    out[7] = answers.len() as u8;
    out[11] = u8::from(is_extended);
    if has_question {
        out.extend(&*record.qname);
        out.extend(record.qtype.to_be_bytes());
        out.extend(record.qclass.to_be_bytes());
    }
    for answer in answers {
        // A pointer to the question's name.
        out.extend([0xc0, HEADER as u8]);
        let (rtype, rdata): (u16, &[u8]) = match answer {
            IpAddr::V4(address) => (rtype::A, &address.octets()),
            IpAddr::V6(address) => (rtype::AAAA, &address.octets()),
        };
        out.extend(rtype.to_be_bytes());
        out.extend(CLASS_IN.to_be_bytes());
        out.extend([0; 4]);
        out.extend((rdata.len() as u16).to_be_bytes());
        out.extend(rdata);
    }
    if let Some(rcode) = rcode.filter(|_| is_extended) {
        // The rcode's upper bits are in an OPT record (RFC 6891, section 6.1.3).
        out.push(0);
        out.extend(rtype::OPT.to_be_bytes());
        out.extend(1232u16.to_be_bytes());
        out.extend([(rcode >> 4) as u8, 0, 0, 0, 0, 0]);
    }
    out
}

fn policy(record: &Record<'_>) -> Option<Fields> {
    let feed = record.feed.as_deref()?;
    let mut policy = Fields::default();
    policy.octets(1, b"RPZ");
    // The rule's owner is not kept: whose it was, and the family.
    let rule = match record.family.as_deref() {
        Some(family) => format!("{feed}: {family}"),
        None => feed.to_owned(),
    };
    policy.octets(2, rule.as_bytes());
    let action = match record.outcome {
        Outcome::Nxdomain => Some(1),
        Outcome::Nodata => Some(2),
        Outcome::Passthru | Outcome::Shadow => Some(3),
        Outcome::Drop => Some(4),
        Outcome::TcpOnly => Some(5),
        Outcome::Sinkhole | Outcome::Cname | Outcome::LocalData => Some(6),
        Outcome::Forward | Outcome::Refused | Outcome::Malformed | Outcome::Limited | Outcome::Local => None,
    };
    if let Some(action) = action {
        policy.number(3, action);
    }
    if let Some(trigger) = record.trigger {
        policy.number(
            4,
            match trigger {
                Trigger::Qname => 1,
                Trigger::ClientIp => 2,
                Trigger::Ip => 3,
                Trigger::Nsdname => 4,
                Trigger::Nsip => 5,
            },
        );
        match matched(record, trigger) {
            Matched::Name(name) => policy.octets(5, &name),
            Matched::Address(address) => policy.address(5, address),
            Matched::Unknown => {}
        }
    }
    Some(policy)
}

/// What met the rule: a name in wire format, an address as its octets.
enum Matched<'r> {
    Name(std::borrow::Cow<'r, [u8]>),
    Address(IpAddr),
    Unknown,
}

fn matched<'r>(record: &'r Record<'_>, trigger: Trigger) -> Matched<'r> {
    match (trigger, record.matched.as_deref()) {
        (Trigger::Qname, None) if !record.qname.is_empty() => Matched::Name((&*record.qname).into()),
        (Trigger::ClientIp, None) => Matched::Address(record.client),
        (_, None) => Matched::Unknown,
        (Trigger::Qname | Trigger::Nsdname, Some(text)) => match Name::from_presentation(text) {
            Ok(name) => Matched::Name(name.as_wire().to_owned().into()),
            Err(_) => Matched::Unknown,
        },
        (_, Some(text)) => text.parse().map_or(Matched::Unknown, Matched::Address),
    }
}

/// The fields of a message.
#[derive(Default)]
struct Fields(Vec<u8>);

impl Fields {
    fn key(&mut self, field: u64, wire_type: u64) {
        self.varint(field << 3 | wire_type);
    }

    fn varint(&mut self, mut number: u64) {
        while number > 0x7f {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn number(&mut self, field: u64, number: u64) {
        self.key(field, 0);
        self.varint(number);
    }

    fn octets(&mut self, field: u64, octets: &[u8]) {
        self.key(field, 2);
        self.varint(octets.len() as u64);
        self.0.extend(octets);
    }

    fn address(&mut self, field: u64, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.octets(field, &address.octets()),
            IpAddr::V6(address) => self.octets(field, &address.octets()),
        }
    }

    /// Microseconds since 1970 as seconds and, of four octets, nanoseconds. Before 1970 there is no time.
    fn time(&mut self, seconds: u64, nanoseconds: u64, time: i64) {
        let time = u64::try_from(time).unwrap_or(0);
        self.number(seconds, time / 1_000_000);
        self.key(nanoseconds, 5);
        // Below a thousand million.
        self.0.extend(((time % 1_000_000 * 1000) as u32).to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::Message;
    use hickory_proto::serialize::binary::BinDecodable as _;

    use super::super::tests::{benign, hostile, origin};
    use super::*;
    use crate::evidence::record::tests::sample;

    /// A field's value.
    #[derive(Debug, Clone, PartialEq, Eq)]
    enum Value {
        Number(u64),
        Octets(Vec<u8>),
    }

    impl From<u64> for Value {
        fn from(number: u64) -> Self {
            Self::Number(number)
        }
    }

    impl From<&[u8]> for Value {
        fn from(octets: &[u8]) -> Self {
            Self::Octets(octets.to_owned())
        }
    }

    fn varint(rest: &mut &[u8]) -> u64 {
        let len = 1 + rest.iter().position(|octet| octet & 0x80 == 0).unwrap();
        let (octets, after) = rest.split_at(len);
        *rest = after;
        octets.iter().rev().fold(0, |number, octet| number << 7 | u64::from(octet & 0x7f))
    }

    /// Reads a message as any reader of protocol buffers does.
    fn fields(mut rest: &[u8]) -> Vec<(u64, Value)> {
        let mut fields = Vec::new();
        while !rest.is_empty() {
            let key = varint(&mut rest);
            let value = match key & 7 {
                0 => Value::Number(varint(&mut rest)),
                2 => {
                    let len = varint(&mut rest) as usize;
                    let (octets, after) = rest.split_at(len);
                    rest = after;
                    Value::Octets(octets.to_owned())
                }
                5 => {
                    let (octets, after) = rest.split_first_chunk().unwrap();
                    rest = after;
                    Value::Number(u32::from_le_bytes(*octets).into())
                }
                other => unreachable!("wire type {other}"),
            };
            fields.push((key >> 3, value));
        }
        fields
    }

    fn inner(fields: &[(u64, Value)], field: u64) -> Vec<u8> {
        match fields.iter().find(|(number, _)| *number == field) {
            Some((_, Value::Octets(octets))) => octets.clone(),
            other => unreachable!("field {field}: {other:?}"),
        }
    }

    #[test]
    fn a_hit_is_a_response_with_its_policy() {
        let outer = fields(&encode(&sample(1_795_478_400_000_001), &origin()));
        assert_eq!(outer[0], (1, b"dns1.example.vn".as_slice().into()));
        assert_eq!(outer[2], (3, b"so-tttt".as_slice().into()));
        assert_eq!(outer.last(), Some(&(15, 1.into())));
        let message = fields(&inner(&outer, 14));
        let plain: Vec<_> = message.iter().filter(|(field, _)| ![14, 15].contains(field)).cloned().collect();
        let expected: Vec<(u64, Value)> = vec![
            (1, 6.into()),
            (2, 1.into()),
            (3, 1.into()),
            (4, [10, 1, 2, 3].as_slice().into()),
            (8, 1_795_478_400.into()),
            (9, 1000.into()),
            (12, 1_795_478_400.into()),
            (13, 8000.into()),
        ];
        assert_eq!(plain, expected);
        let expected: Vec<(u64, Value)> = vec![
            (1, b"RPZ".as_slice().into()),
            (2, "authority: Mã độc".as_bytes().into()),
            (3, 6.into()),
            (4, 1.into()),
            (5, b"\x04evil\x07example\x00".as_slice().into()),
        ];
        assert_eq!(fields(&inner(&message, 15)), expected);
        let dns = Message::from_bytes(&inner(&message, 14)).unwrap();
        assert_eq!(dns.queries[0].to_string(), "evil.example. IN A");
        let answers: Vec<_> = dns.answers.iter().map(|answer| answer.data.to_string()).collect();
        assert_eq!(answers, ["10.10.10.10", "fd00::10"]);
    }

    #[test]
    fn other_records_have_their_message_too() {
        let message = |record: &Record<'_>| fields(&inner(&fields(&encode(record, &origin())), 14));
        let answered = message(&benign());
        assert_eq!(answered[..3], [(1, 6.into()), (2, 2.into()), (3, 3.into())]);
        assert!(answered.iter().all(|(field, _)| *field != 15), "no policy");
        let dns = Message::from_bytes(&inner(&answered, 14)).unwrap();
        assert_eq!(dns.metadata.response_code.low(), 3);
        // An rcode that needs an OPT record.
        let extended = message(&Record { rcode: Some(23), ..benign() });
        let dns = Message::from_bytes(&inner(&extended, 14)).unwrap();
        assert_eq!(u16::from(dns.metadata.response_code), 23);
        let silent = message(&Record { rcode: None, ..benign() });
        assert_eq!(silent[0], (1, 5.into()));
        assert!(Message::from_bytes(&inner(&silent, 10)).unwrap().answers.is_empty());
        // Nothing could be read of it, or it is odd.
        let unread = message(&Record { qname: Vec::new().into(), ..benign() });
        assert!(Message::from_bytes(&inner(&unread, 14)).unwrap().queries.is_empty());
        message(&hostile());
    }

    #[test]
    fn what_met_the_rule_is_in_its_own_form() {
        fn check(trigger: Trigger, matched: Option<&str>, expected: Option<&[u8]>) {
            let matched = matched.map(|text| text.to_owned().into());
            let record = Record { trigger: Some(trigger), matched, ..sample(0) };
            let policy = fields(&policy(&record).unwrap().0);
            let value = policy.iter().find(|(field, _)| *field == 5).map(|(_, value)| value.clone());
            assert_eq!(value, expected.map(Value::from), "{record:?}");
        }
        check(Trigger::Ip, Some("192.0.2.66"), Some(&[192, 0, 2, 66]));
        check(Trigger::Nsdname, Some("ns.evil.example"), Some(b"\x02ns\x04evil\x07example\x00"));
        check(Trigger::Qname, Some("alias.example"), Some(b"\x05alias\x07example\x00"));
        check(Trigger::ClientIp, None, Some(&[10, 1, 2, 3]));
        check(Trigger::Nsip, None, None);
        check(Trigger::Ip, Some("odd"), None);
    }
}
