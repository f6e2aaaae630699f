//! Local data: the records that a rule answers with.
//!
//! Only what they are and how they are spelled; their message is put together in `serve::answer`.

use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::str::FromStr;

const A: u16 = 1;
const AAAA: u16 = 28;
/// Most octets of one name's records: what fits any message beside its question, with room to spare.
const MAX_OCTETS: usize = 32 << 10;

/// All records of one listed name: RRsets in the order of their types.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocalData {
    records: Vec<DataRecord>,
    /// The data of A, then of AAAA records: what a query's record says was answered.
    addresses: Vec<IpAddr>,
}

/// One record of local data.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DataRecord {
    /// Its type.
    pub rtype: u16,
    /// Its data in wire format, names not compressed.
    pub rdata: Box<[u8]>,
    /// Its TTL in seconds.
    pub ttl: u32,
}

/// Why a text is no local data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DataError {
    /// No record.
    #[error("there is no record in it")]
    Empty,
    /// A record that is not a TTL, a type and data.
    #[error(r"a record is a TTL, a type and data: `60 A 192.0.2.1`, or `60 TYPE16 \# 4 03616263` (RFC 3597)")]
    Record,
}

impl LocalData {
    /// Local data of these records. Equal ones count once, an RRset has one TTL, the lowest (RFC 2181,
    /// section 5.2), and what would not fit a message is left out.
    pub fn new(mut records: Vec<DataRecord>) -> Self {
        records.sort_unstable();
        records.dedup_by(|one, other| one.rtype == other.rtype && one.rdata == other.rdata);
        let mut octets = 0;
        records.retain(|record| {
            // Owner as a pointer, type, class, TTL and length.
            octets += 12 + record.rdata.len();
            octets <= MAX_OCTETS
        });
        for rrset in records.chunk_by_mut(|one, other| one.rtype == other.rtype) {
            let ttl = rrset.iter().map(|record| record.ttl).min().unwrap_or_default();
            rrset.iter_mut().for_each(|record| record.ttl = ttl);
        }
        let addresses = records.iter().filter_map(DataRecord::address).collect();
        Self { records, addresses }
    }

    /// The records of one type; all of them for `None`.
    pub fn records(&self, rtype: Option<u16>) -> impl Iterator<Item = &DataRecord> {
        self.records.iter().filter(move |record| rtype.is_none_or(|rtype| record.rtype == rtype))
    }

    /// The addresses in its records of this type.
    pub fn addresses(&self, rtype: u16) -> &[IpAddr] {
        let first_v6 = self.addresses.partition_point(IpAddr::is_ipv4);
        match rtype {
            A => &self.addresses[..first_v6],
            AAAA => &self.addresses[first_v6..],
            _ => &[],
        }
    }

    /// These records and the other ones.
    pub(super) fn union(&self, other: &Self) -> Self {
        Self::new([&*self.records, &*other.records].concat())
    }
}

impl DataRecord {
    fn address(&self) -> Option<IpAddr> {
        match self.rtype {
            A => <[u8; 4]>::try_from(&*self.rdata).ok().map(IpAddr::from),
            AAAA => <[u8; 16]>::try_from(&*self.rdata).ok().map(IpAddr::from),
            _ => None,
        }
    }
}

/// `60 A 192.0.2.1; 60 TYPE16 \# 4 03616263`: addresses as such, all else as RFC 3597 writes unknown types.
impl fmt::Display for LocalData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, record) in self.records.iter().enumerate() {
            if number > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{} ", record.ttl)?;
            match record.address() {
                Some(address) => write!(f, "{} {address}", if address.is_ipv4() { "A" } else { "AAAA" })?,
                None => {
                    write!(f, "TYPE{} \\# {}", record.rtype, record.rdata.len())?;
                    for (at, octet) in record.rdata.iter().enumerate() {
                        if at == 0 {
                            f.write_char(' ')?;
                        }
                        write!(f, "{octet:02x}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl FromStr for LocalData {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        if text.trim().is_empty() {
            return Err(DataError::Empty);
        }
        let records = text.split(';').map(|record| self::record(record).ok_or(DataError::Record));
        Ok(Self::new(records.collect::<Result<_, _>>()?))
    }
}

fn record(text: &str) -> Option<DataRecord> {
    let mut words = text.split_ascii_whitespace();
    let ttl = words.next()?.parse().ok()?;
    let (rtype, rdata) = match words.next()? {
        "A" => (A, octets_of(words.next()?.parse().ok().filter(IpAddr::is_ipv4)?)),
        "AAAA" => (AAAA, octets_of(words.next()?.parse().ok().filter(IpAddr::is_ipv6)?)),
        other => {
            let rtype = other.strip_prefix("TYPE")?.parse().ok()?;
            let len: usize = words.next().filter(|word| *word == "\\#").and(words.next())?.parse().ok()?;
            let digits = words.next().unwrap_or_default().as_bytes();
            let octets = digits.chunks(2).map(|pair| match pair {
                [high, low] => Some((digit(*high)? << 4 | digit(*low)?) as u8),
                _ => None,
            });
            let rdata: Box<[u8]> = octets.collect::<Option<_>>()?;
            (rtype, Some(rdata).filter(|rdata| rdata.len() == len)?)
        }
    };
    words.next().is_none().then_some(DataRecord { rtype, rdata, ttl })
}

fn digit(octet: u8) -> Option<u32> {
    char::from(octet).to_digit(16)
}

fn octets_of(address: IpAddr) -> Box<[u8]> {
    match address {
        IpAddr::V4(address) => address.octets().into(),
        IpAddr::V6(address) => address.octets().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_round_trips() {
        fn check(text: &str, expected: &str) {
            let data: LocalData = text.parse().unwrap();
            assert_eq!(data.to_string(), expected);
            assert_eq!(expected.parse(), Ok(data));
        }
        check("60 A 192.0.2.1", "60 A 192.0.2.1");
        check("60 AAAA 2001:DB8::1;60 A 192.0.2.1", "60 A 192.0.2.1; 60 AAAA 2001:db8::1");
        check(r"5 TYPE16 \# 4 03616263", r"5 TYPE16 \# 4 03616263");
        check(r"0 TYPE65280 \# 0", r"0 TYPE65280 \# 0");
        // An RRset has one TTL, and equal records are one.
        check("60 A 192.0.2.2; 5 A 192.0.2.1; 9 A 192.0.2.1", "5 A 192.0.2.1; 5 A 192.0.2.2");
        for odd in [
            "60 A",
            "60 A 2001:db8::1",
            "x A 192.0.2.1",
            "60 A 192.0.2.1 x",
            r"60 TYPE16 \# 3 0361",
            "60 TYPE16 0361",
            r"60 TYPE16 \# 1 0z",
        ] {
            assert_eq!(odd.parse::<LocalData>(), Err(DataError::Record), "{odd}");
        }
        assert_eq!(" ".parse::<LocalData>(), Err(DataError::Empty));
    }

    #[test]
    fn what_fits_no_message_is_left_out() {
        let record =
            |n: u16| DataRecord { rtype: 16, rdata: vec![(n >> 8) as u8; 1000].into(), ttl: n.into() };
        let data = LocalData::new((0..100).map(|n| record(n << 8)).collect());
        assert!((30..=33).contains(&data.records(None).count()));
    }

    #[test]
    fn addresses_are_told_by_type() {
        let data: LocalData = "1 A 192.0.2.1; 1 A 192.0.2.2; 1 AAAA 2001:db8::1".parse().unwrap();
        assert_eq!(
            (data.addresses(A).len(), data.addresses(AAAA).len(), data.addresses(16).len()),
            (2, 1, 0)
        );
    }
}
