//! Rows on their way into a file: records as columns in memory, each distinct text once.
//!
//! Knows what a column holds and how its text is read back; the file's octets are `parquet`'s business.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;

use parquet::data_type::ByteArray;

use super::names::{self, Set};
use crate::evidence::record::{Outcome, Record, Severity, Transport, Trigger};
use crate::evidence::segment::Span;
use crate::name::{self, Name};
use crate::wire;

/// The columns of text. What is not known is null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(in crate::evidence) enum Text {
    Client,
    Agency,
    Qname,
    Qtype,
    Rcode,
    Action,
    Feed,
    Family,
    Severity,
    Trigger,
    Matched,
    /// Addresses with a space between them.
    Answers,
    Transport,
    Mac,
    /// In CIDR notation.
    Subnet,
}

impl Text {
    /// In the order of their numbers.
    pub(super) const ALL: [Self; 15] = [
        Self::Client,
        Self::Agency,
        Self::Qname,
        Self::Qtype,
        Self::Rcode,
        Self::Action,
        Self::Feed,
        Self::Family,
        Self::Severity,
        Self::Trigger,
        Self::Matched,
        Self::Answers,
        Self::Transport,
        Self::Mac,
        Self::Subnet,
    ];

    /// The column's name: the key in JSON lines.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Agency => "agency",
            Self::Qname => "qname",
            Self::Qtype => "qtype",
            Self::Rcode => "rcode",
            Self::Action => "action",
            Self::Feed => "feed",
            Self::Family => "family",
            Self::Severity => "severity",
            Self::Trigger => "trigger",
            Self::Matched => "matched",
            Self::Answers => "answers",
            Self::Transport => "transport",
            Self::Mac => "client_mac",
            Self::Subnet => "client_subnet",
        }
    }
}

/// The number of null in every column of text.
const NULL: u32 = 0;

/// Records as columns.
#[derive(Debug, Default)]
pub(in crate::evidence) struct Rows {
    pub(super) times: Vec<i64>,
    pub(super) latencies: Vec<i32>,
    pub(super) qclasses: Vec<i32>,
    pub(super) hits: Vec<bool>,
    pub(super) cached: Vec<bool>,
    texts: [Column; Text::ALL.len()],
    span: Option<Span>,
    /// The octets of each hit, in a block of its own time, and that time.
    hit_records: Vec<(i64, Box<[u8]>)>,
}

/// A column of text: a number for each row, which stands for a value.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) numbers: Vec<u32>,
    pub(super) values: Vec<ByteArray>,
    known: HashMap<Box<[u8]>, u32>,
}

impl Default for Column {
    fn default() -> Self {
        Self { numbers: Vec::new(), values: vec![ByteArray::from("")], known: HashMap::new() }
    }
}

impl Column {
    fn put(&mut self, key: &[u8], text: impl FnOnce() -> String) {
        let number = match self.known.get(key) {
            _ if key.is_empty() => NULL,
            Some(number) => *number,
            None => {
                // Rows are far fewer than 2^32.
                let number = self.values.len() as u32;
                self.values.push(ByteArray::from(text().into_bytes()));
                self.known.insert(key.into(), number);
                number
            }
        };
        self.numbers.push(number);
    }

    fn put_text(&mut self, text: Option<&str>) {
        let text = text.unwrap_or("");
        self.put(text.as_bytes(), || text.to_owned());
    }

    /// The value of a row; `None` for null.
    pub(super) fn value(&self, row: u32) -> Option<&ByteArray> {
        match self.numbers[row as usize] {
            NULL => None,
            number => Some(&self.values[number as usize]),
        }
    }
}

/// What is counted together in the finest roll-up.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::evidence) struct Group {
    /// The minute, in microseconds since 1970.
    pub(in crate::evidence) minute: i64,
    pub(in crate::evidence) agency: String,
    pub(in crate::evidence) action: String,
    pub(in crate::evidence) family: String,
    pub(in crate::evidence) hit: HitKind,
}

/// What is counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::evidence) enum HitKind {
    None = 0,
    Hit = 1,
    /// A hit that was found later; it is counted as none, too.
    Late = 2,
}

impl Group {
    /// That of a hit that was found later.
    pub(super) fn late(record: &Record<'_>) -> Self {
        Self {
            minute: record.time.div_euclid(MINUTE) * MINUTE,
            agency: record.agency.as_deref().unwrap_or("").to_owned(),
            action: record.outcome.as_str().to_owned(),
            family: record.family.as_deref().unwrap_or("").to_owned(),
            hit: HitKind::Late,
        }
    }
}

/// Microseconds of a minute.
pub(in crate::evidence) const MINUTE: i64 = 60_000_000;

impl Rows {
    pub(in crate::evidence) fn len(&self) -> usize {
        self.times.len()
    }

    pub(in crate::evidence) fn span(&self) -> Span {
        self.span.unwrap_or(Span::EMPTY)
    }

    /// The octets of each hit and its time.
    pub(in crate::evidence) fn hit_records(&self) -> &[(i64, Box<[u8]>)] {
        &self.hit_records
    }

    pub(super) fn column(&self, text: Text) -> &Column {
        &self.texts[text as usize]
    }

    pub(in crate::evidence) fn add(&mut self, record: &Record<'_>) {
        self.times.push(record.time);
        // As the column's type says, 32 bits without sign.
        self.latencies.push(record.latency.cast_signed());
        self.qclasses.push(record.qclass.into());
        self.hits.push(record.is_hit);
        self.cached.push(record.is_cached);
        self.span.get_or_insert(Span::EMPTY).add(record.time);
        if record.is_hit {
            let mut octets = Vec::new();
            record.encode(record.time, &mut octets);
            self.hit_records.push((record.time, octets.into()));
        }
        let mut key = Vec::new();
        for text in Text::ALL {
            let column = &mut self.texts[text as usize];
            match text {
                Text::Client => {
                    put_octets(record.client, &mut key);
                    column.put(&key, || record.client.to_string());
                }
                Text::Agency => column.put_text(record.agency.as_deref()),
                Text::Qname => column.put(&record.qname, || name::Presentation(&record.qname).to_string()),
                Text::Qtype if record.qname.is_empty() => column.put_text(None),
                Text::Qtype => {
                    column.put(&record.qtype.to_be_bytes(), || wire::type_text(record.qtype).into_owned());
                }
                Text::Rcode => match record.rcode {
                    Some(rcode) => column.put(&rcode.to_be_bytes(), || wire::rcode_text(rcode).into_owned()),
                    None => column.put_text(None),
                },
                Text::Action => column.put_text(Some(record.outcome.as_str())),
                Text::Feed => column.put_text(record.feed.as_deref()),
                Text::Family => column.put_text(record.family.as_deref()),
                Text::Severity => column.put_text(record.severity.map(Severity::as_str)),
                Text::Trigger => column.put_text(record.trigger.map(Trigger::as_str)),
                Text::Matched => column.put_text(record.matched.as_deref()),
                Text::Answers => {
                    key.clear();
                    for answer in &*record.answers {
                        put_octets(*answer, &mut key);
                    }
                    column.put(&key, || {
                        let answers: Vec<String> = record.answers.iter().map(ToString::to_string).collect();
                        answers.join(" ")
                    });
                    key.clear();
                }
                Text::Transport => column.put_text(Some(record.transport.as_str())),
                Text::Mac => column.put(record.mac.as_ref().map_or(&[], |mac| &mac.0), || {
                    record.mac.map(|mac| mac.to_string()).unwrap_or_default()
                }),
                Text::Subnet => {
                    key.clear();
                    if let Some(subnet) = record.subnet {
                        put_octets(subnet.addr(), &mut key);
                        key.push(subnet.prefix_len());
                    }
                    column.put(&key, || record.subnet.map(|it| it.to_string()).unwrap_or_default());
                    key.clear();
                }
            }
        }
    }

    /// The rows in the file's order: by the client's text, then by time.
    pub(super) fn order(&self) -> Vec<u32> {
        let clients = self.column(Text::Client);
        let mut by_text: Vec<u32> = (0..clients.values.len() as u32).collect();
        by_text.sort_unstable_by(|a, b| {
            clients.values[*a as usize].data().cmp(clients.values[*b as usize].data())
        });
        let mut ranks = vec![0u32; by_text.len()];
        for (rank, number) in by_text.into_iter().enumerate() {
            ranks[number as usize] = rank as u32;
        }
        let mut order: Vec<u32> = (0..self.len() as u32).collect();
        order.sort_unstable_by_key(|&row| {
            let at = row as usize;
            (ranks[clients.numbers[at] as usize], self.times[at], row)
        });
        order
    }

    /// The octets of the set of its names and addresses.
    pub(in crate::evidence) fn names(&self) -> Vec<u8> {
        self.sought().to_octets()
    }

    /// The names that were asked for and the addresses that were answered.
    fn sought(&self) -> Set {
        let names = self.column(Text::Qname).known.keys().filter_map(|wire| names::key_of_name(wire));
        let mut keys: Vec<Box<[u8]>> = names.collect();
        for octets in self.column(Text::Answers).known.keys() {
            let mut rest = &**octets;
            while let Some((&len, tail)) = rest.split_first() {
                let Some((address, tail)) = tail.split_at_checked(len.into()) else { break };
                keys.push(names::key_of_octets(address));
                rest = tail;
            }
        }
        Set::from_keys(keys)
    }

    /// How many rows there are of each group.
    pub(in crate::evidence) fn groups(&self) -> HashMap<Group, u64> {
        let [agency, action, family] = [Text::Agency, Text::Action, Text::Family].map(|it| self.column(it));
        let mut counts: HashMap<(i64, u32, u32, u32, bool), u64> = HashMap::new();
        for at in 0..self.len() {
            let minute = self.times[at].div_euclid(MINUTE) * MINUTE;
            let key = (minute, agency.numbers[at], action.numbers[at], family.numbers[at], self.hits[at]);
            *counts.entry(key).or_default() += 1;
        }
        let text = |column: &Column, number: u32| {
            String::from_utf8_lossy(column.values[number as usize].data()).into_owned()
        };
        let group = |((minute, a, b, c, is_hit), count)| {
            let [agency, action, family] = [text(agency, a), text(action, b), text(family, c)];
            let hit = if is_hit { HitKind::Hit } else { HitKind::None };
            (Group { minute, agency, action, family, hit }, count)
        };
        counts.into_iter().map(group).collect()
    }
}

fn put_octets(address: IpAddr, out: &mut Vec<u8>) {
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

/// One row as it stands in a file.
#[derive(Debug, Default)]
pub(super) struct Row<'r> {
    pub(super) time: i64,
    pub(super) latency: i32,
    pub(super) qclass: i32,
    pub(super) is_hit: bool,
    pub(super) is_cached: bool,
    pub(super) texts: [Option<Cow<'r, [u8]>>; Text::ALL.len()],
}

impl Row<'_> {
    fn text(&self, text: Text) -> Result<Option<&str>, Text> {
        let value = self.texts[text as usize].as_deref();
        value.map(|value| std::str::from_utf8(value).map_err(|_| text)).transpose()
    }

    fn read<T>(&self, text: Text, read: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, Text> {
        self.text(text)?.map(|word| read(word).ok_or(text)).transpose()
    }

    /// The record that the row was; or the column that holds something else.
    pub(super) fn record(&self) -> Result<Record<'_>, Text> {
        let must = |text| move || text;
        let wire = |text: &str| Name::from_presentation(text).ok().map(|name| name.as_wire().to_vec());
        let addresses =
            |text: &str| text.split(' ').map(|it| it.parse().ok()).collect::<Option<Vec<IpAddr>>>();
        let client: IpAddr = self.read(Text::Client, |it| it.parse().ok())?.ok_or_else(must(Text::Client))?;
        let transport =
            self.read(Text::Transport, Transport::from_word)?.ok_or_else(must(Text::Transport))?;
        let outcome = self.read(Text::Action, Outcome::from_word)?.ok_or_else(must(Text::Action))?;
        Ok(Record {
            time: self.time,
            client,
            transport,
            agency: self.text(Text::Agency)?.map(Into::into),
            mac: self.read(Text::Mac, |it| it.parse().ok())?,
            subnet: self.read(Text::Subnet, |it| it.parse().ok())?,
            qname: self.read(Text::Qname, wire)?.unwrap_or_default().into(),
            qtype: self.read(Text::Qtype, wire::type_number)?.unwrap_or_default(),
            qclass: u16::try_from(self.qclass).unwrap_or_default(),
            rcode: self.read(Text::Rcode, wire::rcode_number)?,
            outcome,
            is_hit: self.is_hit,
            is_cached: self.is_cached,
            feed: self.text(Text::Feed)?.map(Into::into),
            family: self.text(Text::Family)?.map(Into::into),
            severity: self.read(Text::Severity, Severity::from_word)?,
            trigger: self.read(Text::Trigger, Trigger::from_word)?,
            matched: self.text(Text::Matched)?.map(Into::into),
            answers: self.read(Text::Answers, addresses)?.unwrap_or_default().into(),
            latency: self.latency.cast_unsigned(),
        })
    }
}
