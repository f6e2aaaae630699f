//! The record of one query, and its octets in a segment.
//!
//! ```text
//! size  field                                        (numbers are LEB128 where no size is given)
//!       the head: what differs from query to query
//!       time, microseconds after (even: n / 2) or before (odd: (n + 1) / 2) that of its block
//!    1  transport, plus 128 where there is a MAC, 64 where there is a subnet
//!       latency, microseconds
//!  1+n  client: length, 4 or 16, and address
//!  1+n  agency: length and text, 0 = none
//!    6  the MAC that a trusted forwarder told
//!  2+n  … and the subnet: length, 4 or 16, address, prefix length
//!       the tail: what the same answer says again
//!    1  flags: 1 = hit, 2 = from the cache, 4 = there is a feed, 8 = a family, 16 = a qclass, 32 = a trigger,
//!       64 = a severity; a flag that an older release did not know is not set in its records
//!    1  outcome
//!       qtype
//!       rcode plus one, 0 = no answer was sent
//!       qclass; without it, 1, IN
//!  1+n  feed, then family: length and text
//!    1  severity (low, medium, high, critical from 0 on)
//!    1  trigger (client-ip, qname, ip, nsdname, nsip from 0 on); without it, qname where there is a feed
//!  1+n  … and what met the rule: length and text
//!  1+n  qname in wire format, lower case, 0 = it could not be read
//!    1  number of addresses in the answer, and for each
//!  1+n  its length, 4 or 16, and the address
//! ```

use std::borrow::Cow;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::mac::Mac;
use crate::name;
use crate::wire::CLASS_IN;

/// The longest encoded record: a head with an address, a text, a MAC and a subnet, a tail with two texts, a name and all
/// addresses, a trigger with its text, and the longest numbers.
pub const MAX_LEN: usize =
    10 + 1 + 5 + 17 + 256 + 6 + 18 + 2 + 9 + 2 * 256 + 1 + 1 + 256 + 256 + 1 + 17 * MAX_ANSWERS;
/// Most answer addresses that a record keeps.
pub const MAX_ANSWERS: usize = 16;

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
    /// The MAC of the forwarder's client, where a trusted forwarder told it.
    pub mac: Option<Mac>,
    /// The network of the forwarder's client, likewise.
    pub subnet: Option<IpNet>,
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
    /// How bad it is by that rule.
    pub severity: Option<Severity>,
    /// What of the query or its answer met the rule.
    pub trigger: Option<Trigger>,
    /// The name or address that did, where it is not the qname or the client.
    pub matched: Option<Cow<'a, str>>,
    /// The first addresses that were answered.
    pub answers: Cow<'a, [IpAddr]>,
    /// From the query's arrival until its answer was ready, in microseconds.
    pub latency: u32,
}

/// What of a record differs from query to query, however often the same is asked and answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head<'a> {
    /// As [`Record::time`].
    pub time: i64,
    /// As [`Record::client`].
    pub client: IpAddr,
    /// As [`Record::transport`].
    pub transport: Transport,
    /// As [`Record::agency`].
    pub agency: Option<&'a str>,
    /// As [`Record::mac`].
    pub mac: Option<Mac>,
    /// As [`Record::subnet`].
    pub subnet: Option<IpNet>,
    /// As [`Record::latency`].
    pub latency: u32,
}

/// How a client asked. The numbers are those in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Transport {
    /// UDP.
    Udp = 0,
    /// TCP.
    Tcp = 1,
    /// DNS over TLS.
    Tls = 2,
    /// DNS over HTTPS.
    Https = 3,
    /// DNS over QUIC.
    Quic = 4,
}

/// What was done with a query. The numbers are those in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Outcome {
    /// No rule: resolved like any other name.
    Forward = 0,
    /// Led to the sinkhole.
    Sinkhole = 1,
    /// Answered NXDOMAIN by a rule.
    Nxdomain = 2,
    /// Answered NODATA by a rule.
    Nodata = 3,
    /// Resolved, because a rule says so.
    Passthru = 4,
    /// Not answered, by a rule.
    Drop = 5,
    /// Sent to TCP by a rule.
    TcpOnly = 6,
    /// Led to another name by a rule.
    Cname = 7,
    /// Resolved; a shadow rule would have acted.
    Shadow = 8,
    /// Not for this client, or not a kind of query that is answered.
    Refused = 9,
    /// Not a well-formed query.
    Malformed = 10,
    /// One too many of its client or network.
    Limited = 11,
    /// Answered by this server of its own knowledge: a local zone, a special name, its own version.
    Local = 12,
    /// Answered with records of a rule's own.
    LocalData = 13,
}

/// Every outcome with its word in logs and exports, in the order of their numbers.
const OUTCOMES: [(&str, Outcome); 14] = [
    ("forward", Outcome::Forward),
    ("sinkhole", Outcome::Sinkhole),
    ("nxdomain", Outcome::Nxdomain),
    ("nodata", Outcome::Nodata),
    ("passthru", Outcome::Passthru),
    ("drop", Outcome::Drop),
    ("tcp-only", Outcome::TcpOnly),
    ("cname", Outcome::Cname),
    ("shadow", Outcome::Shadow),
    ("refused", Outcome::Refused),
    ("malformed", Outcome::Malformed),
    ("limited", Outcome::Limited),
    ("local", Outcome::Local),
    ("local-data", Outcome::LocalData),
];

impl Outcome {
    /// Its word in logs and exports.
    pub fn as_str(self) -> &'static str {
        OUTCOMES[self as usize].0
    }

    /// The outcome of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        of_word(&OUTCOMES, word)
    }

    /// Every word that there is.
    pub fn words() -> impl Iterator<Item = &'static str> {
        OUTCOMES.iter().map(|(word, _)| *word)
    }
}

fn of_word<T: Copy>(words: &[(&'static str, T)], word: &str) -> Option<T> {
    words.iter().find(|(known, _)| *known == word).map(|(_, value)| *value)
}

/// Every transport with its word in logs and exports, in the order of their numbers.
const TRANSPORTS: [(&str, Transport); 5] = [
    ("udp", Transport::Udp),
    ("tcp", Transport::Tcp),
    ("dot", Transport::Tls),
    ("doh", Transport::Https),
    ("doq", Transport::Quic),
];

impl Transport {
    /// Its word in logs and exports.
    pub fn as_str(self) -> &'static str {
        TRANSPORTS[self as usize].0
    }

    /// Every word that there is, in the order of their numbers.
    pub fn words() -> impl Iterator<Item = &'static str> {
        TRANSPORTS.iter().map(|(word, _)| *word)
    }

    /// The transport of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        of_word(&TRANSPORTS, word)
    }

    /// Whether nobody on the way can read what is said.
    pub fn is_encrypted(self) -> bool {
        matches!(self, Self::Tls | Self::Https | Self::Quic)
    }
}

/// What a rule looked at. The numbers are those in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Trigger {
    /// The client's address.
    ClientIp = 0,
    /// The qname, or a name that its aliases lead to.
    Qname = 1,
    /// An address in the answer.
    Ip = 2,
    /// A name server's name.
    Nsdname = 3,
    /// A name server's address.
    Nsip = 4,
}

/// Every trigger with its word in logs and exports, in the order of their numbers.
const TRIGGERS: [(&str, Trigger); 5] = [
    ("client-ip", Trigger::ClientIp),
    ("qname", Trigger::Qname),
    ("ip", Trigger::Ip),
    ("nsdname", Trigger::Nsdname),
    ("nsip", Trigger::Nsip),
];

impl Trigger {
    /// Its word in logs and exports.
    pub fn as_str(self) -> &'static str {
        TRIGGERS[self as usize].0
    }

    /// The trigger of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        of_word(&TRIGGERS, word)
    }
}

/// How bad what a rule lists is. The numbers are those in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Severity {
    /// A nuisance.
    Low = 0,
    /// Unwanted.
    Medium = 1,
    /// Malware, phishing.
    High = 2,
    /// An attack that is aimed, or under way.
    Critical = 3,
}

/// Every severity with its word in logs and exports, in the order of their numbers.
const SEVERITIES: [(&str, Severity); 4] = [
    ("low", Severity::Low),
    ("medium", Severity::Medium),
    ("high", Severity::High),
    ("critical", Severity::Critical),
];

impl Severity {
    /// Its word in logs and exports.
    pub fn as_str(self) -> &'static str {
        SEVERITIES[self as usize].0
    }

    /// The severity of this number.
    pub(super) fn from_number(number: u8) -> Option<Self> {
        SEVERITIES.get(usize::from(number)).map(|(_, severity)| *severity)
    }

    /// The severity of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        of_word(&SEVERITIES, word)
    }
}

impl Head<'_> {
    /// Appends the octets of a record's head, in a block of this time.
    pub fn encode(&self, block: i64, out: &mut Vec<u8>) {
        let after = self.time.wrapping_sub(block);
        put_number((after << 1 ^ after >> 63) as u64, out);
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let told = flag(self.mac.is_some(), MAC) | flag(self.subnet.is_some(), SUBNET);
        out.push(self.transport as u8 | told);
        put_number(self.latency.into(), out);
        put_address(self.client, out);
        put_text(self.agency, out);
        if let Some(mac) = self.mac {
            out.extend(mac.0);
        }
        if let Some(subnet) = self.subnet {
            put_address(subnet.addr(), out);
            out.push(subnet.prefix_len());
        }
    }
}

/// The flags beside the transport.
const MAC: u8 = 128;
const SUBNET: u8 = 64;

/// The flags of a record's tail.
const HIT: u8 = 1;
const CACHED: u8 = 2;
const FEED: u8 = 4;
const FAMILY: u8 = 8;
const CLASS: u8 = 16;
const TRIGGER: u8 = 32;
const SEVERITY: u8 = 64;

/// Whether an encoded tail is a hit's.
pub fn is_hit(tail: &[u8]) -> bool {
    tail.first().is_some_and(|flags| flags & HIT != 0)
}

/// Whether an encoded tail is of an answer from the cache.
pub(super) fn is_cached(tail: &[u8]) -> bool {
    tail.first().is_some_and(|flags| flags & CACHED != 0)
}

/// The number of the outcome in an encoded tail, and the rcode.
pub(super) fn outcome_and_rcode(tail: &[u8]) -> (usize, Option<u16>) {
    let outcome = tail.get(1).copied().unwrap_or_default();
    let mut rest = tail.get(2..).unwrap_or_default().iter();
    // The qtype ends with its first octet below 128.
    let _ = rest.find(|octet| **octet < 128);
    let mut rcode = 0_u32;
    for (octet, shift) in rest.zip([0, 7, 14]) {
        rcode |= u32::from(octet & 127) << shift;
        if *octet < 128 {
            break;
        }
    }
    (outcome.into(), rcode.checked_sub(1).map(|rcode| rcode as u16))
}

impl Record<'_> {
    /// Whether it became a hit only when a list took up the name or address: it was answered as usual.
    pub fn is_before_listed(&self) -> bool {
        self.is_hit && matches!(self.outcome, Outcome::Forward | Outcome::Local)
    }

    /// Appends the record's octets, in a block of this time.
    pub fn encode(&self, block: i64, out: &mut Vec<u8>) {
        self.head().encode(block, out);
        self.encode_tail(out);
    }

    /// Itself, tied to nothing.
    pub fn into_owned(self) -> Record<'static> {
        let text = |text: Option<Cow<'_, str>>| text.map(|text| Cow::Owned(text.into_owned()));
        Record {
            agency: text(self.agency),
            qname: self.qname.into_owned().into(),
            feed: text(self.feed),
            family: text(self.family),
            matched: text(self.matched),
            answers: self.answers.into_owned().into(),
            ..self
        }
    }

    /// The address that asked, behind a forwarder the one that it told, if that is a whole one.
    pub fn source(&self) -> IpAddr {
        let whole = self.subnet.filter(|net| net.prefix_len() == net.max_prefix_len());
        whole.map_or(self.client, |net| net.addr().to_canonical())
    }

    /// Its head.
    pub fn head(&self) -> Head<'_> {
        let Self { time, client, transport, mac, subnet, latency, .. } = *self;
        Head { time, client, transport, agency: self.agency.as_deref(), mac, subnet, latency }
    }

    /// Appends the octets of all but the head: [`Head::encode`] goes before.
    pub fn encode_tail(&self, out: &mut Vec<u8>) {
        let (feed, family) = (self.feed.as_deref().unwrap_or(""), self.family.as_deref().unwrap_or(""));
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let matched = self.matched.as_deref();
        let usual = Some(Trigger::Qname).filter(|_| !feed.is_empty());
        let trigger = self.trigger.filter(|trigger| matched.is_some() || Some(*trigger) != usual);
        out.push(
            flag(self.is_hit, HIT)
                | flag(self.is_cached, CACHED)
                | flag(!feed.is_empty(), FEED)
                | flag(!family.is_empty(), FAMILY)
                | flag(self.qclass != CLASS_IN, CLASS)
                | flag(trigger.is_some(), TRIGGER)
                | flag(self.severity.is_some(), SEVERITY),
        );
        out.push(self.outcome as u8);
        put_number(self.qtype.into(), out);
        put_number(self.rcode.map_or(0, |rcode| u64::from(rcode) + 1), out);
        if self.qclass != CLASS_IN {
            put_number(self.qclass.into(), out);
        }
        for text in [feed, family].into_iter().filter(|text| !text.is_empty()) {
            put_text(Some(text), out);
        }
        if let Some(severity) = self.severity {
            out.push(severity as u8);
        }
        if let Some(trigger) = trigger {
            out.push(trigger as u8);
            put_text(matched, out);
        }
        let qname = &self.qname[..self.qname.len().min(name::MAX_WIRE)];
        out.push(qname.len() as u8);
        let start = out.len();
        out.extend(qname);
        name::fold(&mut out[start..]);
        let answers = &self.answers[..self.answers.len().min(MAX_ANSWERS)];
        out.push(answers.len() as u8);
        for answer in answers {
            put_address(*answer, out);
        }
    }
}

impl<'a> Record<'a> {
    /// Reads a record's octets from a block of this time; `None` when they are not exactly one record as [`Self::encode`]
    /// writes it.
    pub fn decode(octets: &'a [u8], block: i64) -> Option<Self> {
        let mut rest = octets;
        let after = number(&mut rest)?;
        let time = block.wrapping_add((after >> 1) as i64 ^ -((after & 1) as i64));
        let [transport] = take(&mut rest)?;
        let latency = u32::try_from(number(&mut rest)?).ok()?;
        let client = address(&mut rest)?;
        let agency = text(&mut rest)?;
        let mac = if transport & MAC != 0 { Some(Mac(take(&mut rest)?)) } else { None };
        let subnet = if transport & SUBNET != 0 {
            let address = address(&mut rest)?;
            let [len] = take(&mut rest)?;
            Some(IpNet::new(address, len).ok()?)
        } else {
            None
        };
        let [flags, outcome] = take(&mut rest)?;
        let has = |flag| flags & flag != 0;
        let qtype = u16::try_from(number(&mut rest)?).ok()?;
        let rcode = match number(&mut rest)? {
            0 => None,
            more => Some(u16::try_from(more - 1).ok()?),
        };
        let qclass = if has(CLASS) { u16::try_from(number(&mut rest)?).ok()? } else { CLASS_IN };
        let feed = if has(FEED) { text(&mut rest)? } else { None };
        let family = if has(FAMILY) { text(&mut rest)? } else { None };
        let severity = if has(SEVERITY) {
            let [severity] = take(&mut rest)?;
            Some(Severity::from_number(severity)?)
        } else {
            None
        };
        let (trigger, matched) = if has(TRIGGER) {
            let [trigger] = take(&mut rest)?;
            (Some(TRIGGERS.get(usize::from(trigger))?.1), text(&mut rest)?)
        } else {
            (feed.as_ref().map(|_| Trigger::Qname), None)
        };
        // `encode` folds the name and caps the answers: other octets are damage.
        let qname = sized(&mut rest).filter(|qname| !qname.iter().any(u8::is_ascii_uppercase))?;
        let [count] = take(&mut rest).filter(|[count]| usize::from(*count) <= MAX_ANSWERS)?;
        let answers = (0..count).map(|_| address(&mut rest)).collect::<Option<Vec<_>>>()?;
        if !rest.is_empty() {
            return None;
        }
        Some(Self {
            time,
            client,
            transport: TRANSPORTS.get(usize::from(transport & !(MAC | SUBNET)))?.1,
            agency,
            mac,
            subnet,
            qname: qname.into(),
            qtype,
            qclass,
            rcode,
            outcome: OUTCOMES.get(usize::from(outcome))?.1,
            is_hit: has(HIT),
            is_cached: has(CACHED),
            feed,
            family,
            severity,
            trigger,
            matched,
            answers: answers.into(),
            latency,
        })
    }
}

/// LEB128: seven bits an octet, the lowest first; the highest bit says that more follow.
pub(super) fn put_number(mut number: u64, out: &mut Vec<u8>) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(super) fn number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..u64::BITS).step_by(7) {
        let [octet] = take(rest)?;
        let bits = u64::from(octet & 0x7f);
        if bits.leading_zeros() < shift {
            return None;
        }
        number |= bits << shift;
        if octet & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

pub(super) fn put_address(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => {
            out.push(4);
            out.extend(address.octets());
        }
        IpAddr::V6(address) => {
            out.push(16);
            out.extend(address.octets());
        }
    }
}

pub(super) fn address(rest: &mut &[u8]) -> Option<IpAddr> {
    match take(rest)? {
        [4] => take::<4>(rest).map(IpAddr::from),
        [16] => take::<16>(rest).map(IpAddr::from),
        _ => None,
    }
}

pub(super) fn put_text(text: Option<&str>, out: &mut Vec<u8>) {
    let text = text.unwrap_or("");
    let text = &text[..text.floor_char_boundary(255)];
    out.push(text.len() as u8);
    out.extend(text.as_bytes());
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

pub(super) fn text<'a>(rest: &mut &'a [u8]) -> Option<Option<Cow<'a, str>>> {
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
            mac: None,
            subnet: None,
            qname: b"\x04evil\x07example\x00".as_slice().into(),
            qtype: 1,
            qclass: 1,
            rcode: Some(0),
            outcome: Outcome::Sinkhole,
            is_hit: true,
            is_cached: true,
            feed: Some("authority".into()),
            family: Some("Mã độc".into()),
            severity: Some(Severity::High),
            trigger: Some(Trigger::Qname),
            matched: None,
            answers: vec!["10.10.10.10".parse().unwrap(), "fd00::10".parse().unwrap()].into(),
            latency: 7,
        }
    }

    #[test]
    fn records_round_trip() {
        fn check(record: &Record<'_>) {
            let mut octets = Vec::new();
            for block in [record.time, record.time + 1, record.time - 100_000, i64::MIN, i64::MAX] {
                octets.clear();
                record.encode(block, &mut octets);
                assert!(octets.len() <= MAX_LEN);
                assert_eq!(Record::decode(&octets, block).as_ref(), Some(record));
            }
            for len in 0..octets.len() {
                assert_eq!(Record::decode(&octets[..len], i64::MAX), None, "cut to {len}");
            }
        }
        let full = sample(1_795_478_400_000_000);
        check(&full);
        for (number, (_, outcome)) in OUTCOMES.into_iter().enumerate() {
            assert_eq!(outcome as usize, number);
            check(&Record { outcome, ..full.clone() });
        }
        for (_, transport) in TRANSPORTS {
            check(&Record { transport, ..full.clone() });
        }
        let told = Record {
            mac: Some(Mac([0, 0x1a, 0x2b, 0x3c, 0x4d, 0x5e])),
            subnet: Some("10.1.2.0/24".parse().unwrap()),
            ..full.clone()
        };
        check(&told);
        check(&Record { mac: None, subnet: Some("2001:db8::7/128".parse().unwrap()), ..full.clone() });
        check(&Record { subnet: None, ..told });
        for latency in [0, 127, 128, 16_384, u32::MAX] {
            check(&Record { latency, qtype: u16::MAX, rcode: Some(u16::MAX), ..full.clone() });
        }
        for (number, (_, trigger)) in TRIGGERS.into_iter().enumerate() {
            assert_eq!(trigger as usize, number);
            let matched = Some("192.0.2.66".into());
            check(&Record { trigger: Some(trigger), matched, ..full.clone() });
            check(&Record { trigger: Some(trigger), ..full.clone() });
        }
        check(&Record {
            client: "2001:db8::1".parse().unwrap(),
            transport: Transport::Tcp,
            agency: None,
            qname: Cow::default(),
            rcode: None,
            feed: None,
            family: None,
            trigger: None,
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
            sample(1).encode(1, &mut octets);
            change(&mut octets);
            assert_eq!(Record::decode(&octets, 1), None, "{octets:02x?}");
        }
        for (number, (_, transport)) in TRANSPORTS.into_iter().enumerate() {
            assert_eq!(transport as usize, number);
        }
        // One of four octets, one of sixteen, each with its length.
        let answers = 5 + 17;
        check(|octets| {
            let letter = octets.len() - answers - 3;
            octets[letter].make_ascii_uppercase();
        });
        check(|octets| {
            let count = octets.len() - answers - 1;
            octets[count] = MAX_ANSWERS as u8 + 1;
            octets.truncate(count + 1);
            octets.extend([4, 10, 10, 10, 10].repeat(MAX_ANSWERS + 1));
        });
        check(|octets| octets[1] = TRANSPORTS.len() as u8);
        // Behind time, transport, latency, client and agency.
        check(|octets| octets[1 + 1 + 1 + 5 + 8 + 1] = OUTCOMES.len() as u8);
        check(|octets| octets[3] = 6);
        check(|octets| {
            octets.splice(2..3, [0xff; 5]);
        });
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
        record.encode(1, &mut octets);
        let back = Record::decode(&octets, 1).unwrap();
        assert_eq!(back.agency.unwrap().len(), 254);
        assert_eq!(*back.qname, *b"\x04evil\x07example\x00");
        assert_eq!(back.answers.len(), MAX_ANSWERS);
    }
}
