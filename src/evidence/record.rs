//! The record of one query, and its octets in a segment.
//!
//! ```text
//! size  field                                        (numbers are little-endian)
//!    8  time, microseconds since 1970
//!    1  transport
//!    1  outcome
//!    1  flags: 1 = hit, 2 = from the cache
//!    2  qtype
//!    2  qclass
//!    2  rcode, 65535 = no answer was sent
//!    4  latency, microseconds
//!   16  client, IPv4 as IPv4-mapped
//! 1+n   agency, then feed, then family: length and text, 0 = none
//! 1+n   qname in wire format, lower case, 0 = it could not be read
//! 1+16n addresses in the answer
//! ```

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};

use crate::name;

/// The shortest encoded record: fixed fields, and nothing where something may be missing.
pub const MIN_LEN: usize = 37 + 3 + 1 + 1;
/// The longest encoded record: fixed fields, three texts, a name and all addresses.
pub const MAX_LEN: usize = 37 + 3 * 256 + 256 + 1 + 16 * MAX_ANSWERS;
/// Most answer addresses that a record keeps.
pub const MAX_ANSWERS: usize = 16;
const NO_RCODE: u16 = u16::MAX;

/// What is kept of one query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// When the query arrived, microseconds since 1970.
    pub time: i64,
    /// The address that asked.
    pub client: IpAddr,
    /// How it asked.
    pub transport: Transport,
    /// The id of the client's agency.
    pub agency: Option<Cow<'a, str>>,
    /// The qname in wire format; empty where the query could not be read. Folded when encoded.
    pub qname: Cow<'a, [u8]>,
    /// The qtype, 0 where it could not be read.
    pub qtype: u16,
    /// The qclass, 0 where it could not be read.
    pub qclass: u16,
    /// What was answered; `None` when no answer was sent.
    pub rcode: Option<u16>,
    /// What was done.
    pub outcome: Outcome,
    /// Whether a rule of a threat feed acted: the client is infected, or somebody clicked.
    pub is_hit: bool,
    /// Whether the answer was in the cache.
    pub is_cached: bool,
    /// The feed whose rule was met.
    pub feed: Option<Cow<'a, str>>,
    /// The malware family of that rule.
    pub family: Option<Cow<'a, str>>,
    /// The first addresses that were answered.
    pub answers: Cow<'a, [IpAddr]>,
    /// From the query's arrival until its answer was ready, in microseconds.
    pub latency: u32,
}

/// How a client asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
}

/// What was done with a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// No rule: resolved like any other name.
    Forward,
    /// Led to the sinkhole.
    Sinkhole,
    /// Answered NXDOMAIN by a rule.
    Nxdomain,
    /// Answered NODATA by a rule.
    Nodata,
    /// Resolved, because a rule says so.
    Passthru,
    /// Not answered, by a rule.
    Drop,
    /// Sent to TCP by a rule.
    TcpOnly,
    /// Led to another name by a rule.
    Cname,
    /// Resolved; a shadow rule would have acted.
    Shadow,
    /// Not for this client, or not a kind of query that is answered.
    Refused,
    /// Not a well-formed query.
    Malformed,
    /// One too many of its client or network.
    Limited,
}

/// Every outcome with its octet and its word in logs and exports.
const OUTCOMES: &[(u8, &str, Outcome)] = &[
    (0, "forward", Outcome::Forward),
    (1, "sinkhole", Outcome::Sinkhole),
    (2, "nxdomain", Outcome::Nxdomain),
    (3, "nodata", Outcome::Nodata),
    (4, "passthru", Outcome::Passthru),
    (5, "drop", Outcome::Drop),
    (6, "tcp-only", Outcome::TcpOnly),
    (7, "cname", Outcome::Cname),
    (8, "shadow", Outcome::Shadow),
    (9, "refused", Outcome::Refused),
    (10, "malformed", Outcome::Malformed),
    (11, "limited", Outcome::Limited),
];

impl Outcome {
    /// Its word in logs and exports.
    pub fn as_str(self) -> &'static str {
        OUTCOMES.iter().find(|(.., outcome)| *outcome == self).map_or("", |(_, word, _)| word)
    }
}

const TRANSPORTS: &[(u8, &str, Transport)] = &[(0, "udp", Transport::Udp), (1, "tcp", Transport::Tcp)];

impl Transport {
    /// Its word in logs and exports.
    pub fn as_str(self) -> &'static str {
        TRANSPORTS.iter().find(|(.., transport)| *transport == self).map_or("", |(_, word, _)| word)
    }
}

impl Record<'_> {
    /// Appends the record's octets.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.time.to_le_bytes());
        out.push(
            TRANSPORTS.iter().find(|(.., known)| *known == self.transport).map_or(0, |(octet, ..)| *octet),
        );
        out.push(OUTCOMES.iter().find(|(.., known)| *known == self.outcome).map_or(0, |(octet, ..)| *octet));
        out.push(u8::from(self.is_hit) | u8::from(self.is_cached) << 1);
        out.extend(self.qtype.to_le_bytes());
        out.extend(self.qclass.to_le_bytes());
        out.extend(self.rcode.unwrap_or(NO_RCODE).to_le_bytes());
        out.extend(self.latency.to_le_bytes());
        out.extend(octets(self.client));
        for text in [&self.agency, &self.feed, &self.family] {
            let text = text.as_deref().unwrap_or("");
            let text = &text[..text.floor_char_boundary(255)];
            out.push(text.len() as u8);
            out.extend(text.as_bytes());
        }
        let qname = &self.qname[..self.qname.len().min(name::MAX_WIRE)];
        out.push(qname.len() as u8);
        let start = out.len();
        out.extend(qname);
        name::fold(&mut out[start..]);
        let answers = &self.answers[..self.answers.len().min(MAX_ANSWERS)];
        out.push(answers.len() as u8);
        for answer in answers {
            out.extend(octets(*answer));
        }
    }
}

impl<'a> Record<'a> {
    /// Reads a record's octets; `None` when they are not exactly one record as [`Self::encode`]
    /// writes it.
    pub fn decode(octets: &'a [u8]) -> Option<Self> {
        let mut rest = octets;
        let time = i64::from_le_bytes(take(&mut rest)?);
        let [transport, outcome, flags] = take(&mut rest)?;
        let qtype = u16::from_le_bytes(take(&mut rest)?);
        let qclass = u16::from_le_bytes(take(&mut rest)?);
        let rcode = u16::from_le_bytes(take(&mut rest)?);
        let latency = u32::from_le_bytes(take(&mut rest)?);
        let client = address(take(&mut rest)?);
        let agency = text(&mut rest)?;
        let feed = text(&mut rest)?;
        let family = text(&mut rest)?;
        // `encode` folds the name and caps the answers: other octets are damage.
        let qname = sized(&mut rest).filter(|qname| !qname.iter().any(u8::is_ascii_uppercase))?;
        let [count] = take(&mut rest).filter(|[count]| usize::from(*count) <= MAX_ANSWERS)?;
        let answers = (0..count).map(|_| take(&mut rest).map(address)).collect::<Option<Vec<_>>>()?;
        if !rest.is_empty() {
            return None;
        }
        Some(Self {
            time,
            client,
            transport: TRANSPORTS.iter().find(|(octet, ..)| *octet == transport)?.2,
            agency,
            qname: qname.into(),
            qtype,
            qclass,
            rcode: Some(rcode).filter(|&rcode| rcode != NO_RCODE),
            outcome: OUTCOMES.iter().find(|(octet, ..)| *octet == outcome)?.2,
            is_hit: flags & 1 != 0,
            is_cached: flags & 2 != 0,
            feed,
            family,
            answers: answers.into(),
            latency,
        })
    }
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

fn address(octets: [u8; 16]) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(octets)).to_canonical()
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*taken)
}

fn sized<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let [len] = take(rest)?;
    let (taken, tail) = rest.split_at_checked(usize::from(len))?;
    *rest = tail;
    Some(taken)
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<Option<Cow<'a, str>>> {
    let text = std::str::from_utf8(sized(rest)?).ok()?;
    Some(Some(text).filter(|text| !text.is_empty()).map(Cow::from))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A hit, with every field set.
    pub(crate) fn sample(time: i64) -> Record<'static> {
        Record {
            time,
            client: "10.1.2.3".parse().unwrap(),
            transport: Transport::Udp,
            agency: Some("so-tttt".into()),
            qname: b"\x04evil\x07example\x00".as_slice().into(),
            qtype: 1,
            qclass: 1,
            rcode: Some(0),
            outcome: Outcome::Sinkhole,
            is_hit: true,
            is_cached: true,
            feed: Some("authority".into()),
            family: Some("Mã độc".into()),
            answers: vec!["10.10.10.10".parse().unwrap(), "fd00::10".parse().unwrap()].into(),
            latency: 7,
        }
    }

    #[test]
    fn records_round_trip() {
        fn check(record: &Record<'_>) {
            let mut octets = Vec::new();
            record.encode(&mut octets);
            assert!(octets.len() <= MAX_LEN);
            assert_eq!(Record::decode(&octets).as_ref(), Some(record));
            for len in 0..octets.len() {
                assert_eq!(Record::decode(&octets[..len]), None, "cut to {len}");
            }
        }
        let full = sample(1_795_478_400_000_000);
        check(&full);
        for (_, _, outcome) in OUTCOMES {
            check(&Record { outcome: *outcome, ..full.clone() });
        }
        check(&Record {
            client: "2001:db8::1".parse().unwrap(),
            transport: Transport::Tcp,
            agency: None,
            qname: Cow::default(),
            rcode: None,
            feed: None,
            family: None,
            answers: Cow::default(),
            is_hit: false,
            is_cached: false,
            ..full
        });
    }

    #[test]
    fn what_is_never_written_is_not_read() {
        fn check(change: impl FnOnce(&mut Vec<u8>)) {
            let mut octets = Vec::new();
            sample(1).encode(&mut octets);
            change(&mut octets);
            assert_eq!(Record::decode(&octets), None, "{octets:02x?}");
        }
        let answers = 2 * 16;
        check(|octets| {
            let letter = octets.len() - answers - 3;
            octets[letter].make_ascii_uppercase();
        });
        check(|octets| {
            let count = octets.len() - answers - 1;
            octets[count] = MAX_ANSWERS as u8 + 1;
            octets.resize(count + 1 + (MAX_ANSWERS + 1) * 16, 0);
        });
        check(|octets| octets[8] = 2);
        check(|octets| octets[9] = OUTCOMES.len() as u8);
        check(|octets| octets.push(0));
    }

    #[test]
    fn what_is_too_long_is_cut_and_case_is_folded() {
        let long = "é".repeat(200);
        let record = Record {
            agency: Some(long.as_str().into()),
            qname: b"\x04eViL\x07Example\x00".as_slice().into(),
            answers: vec!["10.10.10.10".parse().unwrap(); 40].into(),
            ..sample(1)
        };
        let mut octets = Vec::new();
        record.encode(&mut octets);
        let back = Record::decode(&octets).unwrap();
        assert_eq!(back.agency.unwrap().len(), 254);
        assert_eq!(*back.qname, *b"\x04evil\x07example\x00");
        assert_eq!(back.answers.len(), MAX_ANSWERS);
    }
}
