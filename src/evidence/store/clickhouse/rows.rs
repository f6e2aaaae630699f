//! Rows on their way to ClickHouse, and back: one block of its Native format up, RowBinary down.
//!
//! A block says how many rows it has before the first of them, so what is cut on the way is an error there and never a
//! part of a batch. Values are as in the store's files, but for addresses, which are sixteen octets, and for names: a
//! dot inside a label is written `\046`, so that every dot in the table stands between two labels. What comes back is
//! bounded, and taken to be anything.

use std::borrow::Cow;
use std::io::{self, Write};
use std::net::IpAddr;

use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::data_type::ByteArray;

use super::schema::{Column, Dialect};
use super::sql;
use crate::evidence::record::Record;
use crate::evidence::store::rows::{Row, Rows, Text};
use crate::name;

/// Microseconds of an hour.
const HOUR: i64 = 3_600_000_000;
/// The longest text that a column of a record has, with room.
const MAX_TEXT: u64 = 16 << 10;
/// Most addresses of one answer.
const MAX_ADDRESSES: u64 = 1024;

/// A record's hour, in seconds since 1970; times that no hour of ClickHouse's reaches are in its first or last.
pub(super) fn hour_of(time: i64) -> u32 {
    let latest = i64::from(u32::MAX / 3600);
    time.div_euclid(HOUR).clamp(0, latest) as u32 * 3600
}

/// The number of a record's day, by UTC: its partition.
pub(super) fn day_of(time: i64) -> u32 {
    hour_of(time) / 86_400
}

/// A name as the table has it.
pub(super) fn stored_name(wire: &[u8]) -> String {
    let text = name::Presentation(wire).to_string();
    if !text.contains('\\') {
        return text;
    }
    let mut stored = String::with_capacity(text.len() + 8);
    let mut is_escaped = false;
    for c in text.chars() {
        match (is_escaped, c) {
            (true, '.') => stored.push_str("046"),
            (_, c) => stored.push(c),
        }
        is_escaped = !is_escaped && c == '\\';
    }
    stored
}

/// The same, of a name as the store's files have it.
fn stored_text(text: &[u8]) -> Vec<u8> {
    if !text.contains(&b'\\') {
        return text.to_vec();
    }
    let name = std::str::from_utf8(text).ok().and_then(|text| name::Name::from_presentation(text).ok());
    name.map_or_else(|| text.to_vec(), |name| stored_name(name.as_wire()).into_bytes())
}

/// A name of the table, as people write it.
pub(super) fn shown_name(stored: &str) -> String {
    if !stored.contains('\\') {
        return stored.to_owned();
    }
    name::Name::from_presentation(stored).map_or_else(|_| stored.to_owned(), |name| name.to_string())
}

/// What all rows of a batch have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Common<'a> {
    pub(super) node: &'a str,
    pub(super) batch: &'a str,
    pub(super) is_late: bool,
}

/// All rows as one block, packed.
pub(super) fn block(
    rows: &Rows,
    columns: &[Column],
    dialect: Dialect,
    common: Common<'_>,
) -> io::Result<Vec<u8>> {
    // Little is gained by packing more, and DNS has the processor.
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    put_number(columns.len() as u64, &mut out)?;
    put_number(rows.len() as u64, &mut out)?;
    for column in columns {
        put_text(column.name().as_bytes(), &mut out)?;
        put_text(column.sent_type(dialect).as_bytes(), &mut out)?;
        match *column {
            Column::Hour => put_each(&rows.times, |time| hour_of(*time).to_le_bytes(), &mut out)?,
            Column::Time => put_each(&rows.times, |time| time.to_le_bytes(), &mut out)?,
            Column::Node => put_same(common.node, rows.len(), &mut out)?,
            Column::Batch => put_same(common.batch, rows.len(), &mut out)?,
            Column::Qclass => put_each(&rows.qclasses, |qclass| (*qclass as u16).to_le_bytes(), &mut out)?,
            Column::Hit => put_each(&rows.hits, |is_hit| [u8::from(*is_hit)], &mut out)?,
            Column::Late => put_each(&rows.times, |_| [u8::from(common.is_late)], &mut out)?,
            Column::Cached => put_each(&rows.cached, |is_cached| [u8::from(*is_cached)], &mut out)?,
            Column::Latency => put_each(&rows.latencies, |latency| latency.to_le_bytes(), &mut out)?,
            Column::Text(text) => put_column(rows, text, &mut out)?,
        }
    }
    out.finish()
}

/// A column of text: each distinct value is made once.
fn put_column(rows: &Rows, text: Text, out: &mut impl Write) -> io::Result<()> {
    let column = rows.column(text);
    let addresses = |text: &ByteArray| {
        let text = std::str::from_utf8(text.data()).unwrap_or_default();
        let addresses = text.split(' ').filter_map(|it| it.parse::<IpAddr>().ok());
        addresses.flat_map(sql::octets).collect::<Vec<u8>>()
    };
    let values: Vec<Vec<u8>> = column
        .values
        .iter()
        .map(|value| match text {
            Text::Client | Text::Answers => addresses(value),
            Text::Qname => stored_text(value.data()),
            _ => value.data().to_vec(),
        })
        .collect();
    let of_rows = || column.numbers.iter().map(|number| &values[*number as usize]);
    match text {
        Text::Client => of_rows().try_for_each(|octets| match octets.len() {
            16 => out.write_all(octets),
            _ => Err(io::Error::other("a client is no address")),
        }),
        Text::Answers => {
            let mut end = 0u64;
            for octets in of_rows() {
                end += octets.len() as u64 / 16;
                out.write_all(&end.to_le_bytes())?;
            }
            of_rows().try_for_each(|octets| out.write_all(octets))
        }
        _ => of_rows().try_for_each(|octets| put_text(octets, out)),
    }
}

fn put_each<T, const N: usize>(
    values: &[T],
    octets: impl Fn(&T) -> [u8; N],
    out: &mut impl Write,
) -> io::Result<()> {
    values.iter().try_for_each(|value| out.write_all(&octets(value)))
}

fn put_same(text: &str, count: usize, out: &mut impl Write) -> io::Result<()> {
    (0..count).try_for_each(|_| put_text(text.as_bytes(), out))
}

fn put_text(octets: &[u8], out: &mut impl Write) -> io::Result<()> {
    put_number(octets.len() as u64, out)?;
    out.write_all(octets)
}

/// LEB128, as in records.
fn put_number(mut number: u64, out: &mut impl Write) -> io::Result<()> {
    while number > 0x7f {
        out.write_all(&[number as u8 | 0x80])?;
        number >>= 7;
    }
    out.write_all(&[number as u8])
}

/// What a record is made of, in the order in which it is asked for.
fn record_columns() -> impl Iterator<Item = Column> {
    Column::all()
        .filter(|column| !matches!(column, Column::Hour | Column::Node | Column::Batch | Column::Late))
}

/// The expressions that [`Rest::records`] reads, as SELECT has them.
pub(super) fn selected(columns: &[Column], dialect: Dialect) -> String {
    let expressions: Vec<&str> = record_columns()
        .map(|column| match column {
            Column::Time => time_of(dialect),
            // A table that nobody may change lacks what a later release added.
            column if !columns.contains(&column) => "''",
            column => column.name(),
        })
        .collect();
    expressions.join(", ")
}

/// A row's time in microseconds.
pub(super) fn time_of(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Current => "toUnixTimestamp64Micro(time)",
        Dialect::Old => "time",
    }
}

/// Why an answer cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nonsense;

/// What is missing of a value: octets that are still to come, or sense.
enum Lack {
    Octets,
    Sense,
}

/// Reads rows as they come, in the pieces in which they come.
#[derive(Debug, Default)]
pub struct Rest(Vec<u8>);

/// Who asked for what, as the server added it up.
#[derive(Debug, PartialEq, Eq)]
pub struct SumRow<'r> {
    /// Who.
    pub client: IpAddr,
    /// The id of its agency; empty where it has none.
    pub agency: &'r str,
    /// A name as the table has it, or an address in digits.
    pub what: &'r str,
    /// When first, microseconds since 1970.
    pub first: i64,
    /// When last.
    pub last: i64,
    /// How often.
    pub count: u64,
    /// Whether any of it was a hit.
    pub was_hit: bool,
}

impl Rest {
    /// Gives `visit` each row that is whole now.
    fn each(
        &mut self,
        octets: &[u8],
        mut read: impl FnMut(&mut &[u8]) -> Result<(), Lack>,
    ) -> Result<(), Nonsense> {
        self.0.extend(octets);
        let mut rest = &*self.0;
        while !rest.is_empty() {
            let mut ahead = rest;
            match read(&mut ahead) {
                Ok(()) => rest = ahead,
                Err(Lack::Octets) => break,
                Err(Lack::Sense) => return Err(Nonsense),
            }
        }
        let used = self.0.len() - rest.len();
        self.0.drain(..used);
        Ok(())
    }

    /// Reads records.
    ///
    /// # Errors
    /// The octets are no rows of records.
    pub fn records(&mut self, octets: &[u8], visit: &mut dyn FnMut(&Record<'_>)) -> Result<(), Nonsense> {
        self.each(octets, |rest| {
            let row = row(rest)?;
            visit(&row.record().map_err(|_| Lack::Sense)?);
            Ok(())
        })
    }

    /// Reads pairs of a text and a number.
    ///
    /// # Errors
    /// The octets are none.
    pub fn counts(&mut self, octets: &[u8], visit: &mut dyn FnMut(&[u8], u64)) -> Result<(), Nonsense> {
        self.each(octets, |rest| {
            let text = text(rest)?;
            visit(text, u64::from_le_bytes(array(rest)?));
            Ok(())
        })
    }

    /// Reads who asked for what: a client and its agency, a text, the first and the last time, how often, and whether any was a hit.
    ///
    /// # Errors
    /// The octets are no such rows.
    pub fn sums(&mut self, octets: &[u8], visit: &mut dyn FnMut(&SumRow<'_>)) -> Result<(), Nonsense> {
        self.each(octets, |rest| {
            let client = sql::address(array(rest)?);
            let agency = std::str::from_utf8(text(rest)?).map_err(|_| Lack::Sense)?;
            let what = std::str::from_utf8(text(rest)?).map_err(|_| Lack::Sense)?;
            let [first, last] = [i64::from_le_bytes(array(rest)?), i64::from_le_bytes(array(rest)?)];
            let count = u64::from_le_bytes(array(rest)?);
            visit(&SumRow { client, agency, what, first, last, count, was_hit: array(rest)? != [0] });
            Ok(())
        })
    }

    /// Reads pairs of a number with a sign and one without.
    ///
    /// # Errors
    /// The octets are none.
    pub fn numbers(&mut self, octets: &[u8], visit: &mut dyn FnMut(i64, u64)) -> Result<(), Nonsense> {
        self.each(octets, |rest| {
            let first = i64::from_le_bytes(array(rest)?);
            visit(first, u64::from_le_bytes(array(rest)?));
            Ok(())
        })
    }

    /// Whether nothing is left of the last row.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn row<'r>(rest: &mut &'r [u8]) -> Result<Row<'r>, Lack> {
    let mut row = Row::default();
    for column in record_columns() {
        match column {
            Column::Time => row.time = i64::from_le_bytes(array(rest)?),
            Column::Qclass => row.qclass = u16::from_le_bytes(array(rest)?).into(),
            Column::Hit => row.is_hit = array::<1>(rest)? != [0],
            Column::Cached => row.is_cached = array::<1>(rest)? != [0],
            Column::Latency => row.latency = i32::from_le_bytes(array(rest)?),
            Column::Text(of) => {
                let value: Cow<'_, [u8]> = match of {
                    Text::Client => sql::address(array(rest)?).to_string().into_bytes().into(),
                    Text::Answers => addresses(rest)?.into_bytes().into(),
                    _ => text(rest)?.into(),
                };
                row.texts[of as usize] = Some(value).filter(|it| !it.is_empty());
            }
            Column::Hour | Column::Node | Column::Batch | Column::Late => {}
        }
    }
    Ok(row)
}

/// With a space between them, as the store's files have them.
fn addresses(rest: &mut &[u8]) -> Result<String, Lack> {
    let count = number(rest)?;
    if count > MAX_ADDRESSES {
        return Err(Lack::Sense);
    }
    let texts: Result<Vec<String>, Lack> =
        (0..count).map(|_| Ok(sql::address(array(rest)?).to_string())).collect();
    Ok(texts?.join(" "))
}

fn array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Lack> {
    let (taken, tail) = rest.split_first_chunk::<N>().ok_or(Lack::Octets)?;
    *rest = tail;
    Ok(*taken)
}

fn text<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Lack> {
    let len = number(rest)?;
    if len > MAX_TEXT {
        return Err(Lack::Sense);
    }
    // It is small.
    let (taken, tail) = rest.split_at_checked(len as usize).ok_or(Lack::Octets)?;
    *rest = tail;
    Ok(taken)
}

fn number(rest: &mut &[u8]) -> Result<u64, Lack> {
    let mut number = 0u64;
    for shift in (0..63).step_by(7) {
        let [octet] = array(rest)?;
        number |= u64::from(octet & 0x7f) << shift;
        if octet & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Lack::Sense)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::evidence::record::tests::sample;

    #[test]
    fn every_dot_in_a_stored_name_is_between_labels() {
        let check = |wire: &[u8], stored: &str, shown: &str| {
            assert_eq!(stored_name(wire), stored);
            assert_eq!(stored_text(shown.as_bytes()), stored.as_bytes());
            assert_eq!(shown_name(stored), shown);
            assert_eq!(name::Name::from_presentation(stored).unwrap().as_wire(), wire);
        };
        check(b"\x03www\x04evil\x00", "www.evil", "www.evil");
        check(b"\x03a.b\x04evil\x00", "a\\046b.evil", "a\\.b.evil");
        check(b"\x04a\\.b\x04evil\x00", "a\\\\\\046b.evil", "a\\\\\\.b.evil");
        check(b"\x02a\\\x01b\x00", "a\\\\.b", "a\\\\.b");
        check(b"\x03a b\x00", "a\\032b", "a\\032b");
        check(b"\x00", ".", ".");
    }

    #[test]
    fn hours_and_days_are_utcs() {
        assert_eq!(hour_of(1_795_478_400_000_000), 1_795_478_400);
        assert_eq!(hour_of(1_795_478_400_000_000 + HOUR - 1), 1_795_478_400);
        assert_eq!(day_of(1_795_478_400_000_000), 1_795_478_400 / 86_400);
        assert_eq!((hour_of(-1), hour_of(i64::MIN)), (0, 0));
        assert_eq!(hour_of(i64::MAX), u32::MAX / 3600 * 3600);
    }

    #[test]
    fn a_block_says_how_much_it_has() {
        let mut rows = Rows::default();
        rows.add(&sample(7));
        let columns: Vec<Column> = Column::all().collect();
        let common = Common { node: "dns1", batch: "b", is_late: false };
        let packed = block(&rows, &columns, Dialect::Current, common).unwrap();
        let mut octets = Vec::new();
        flate2::read::GzDecoder::new(&*packed).read_to_end(&mut octets).unwrap();
        assert_eq!(&octets[..2], [columns.len() as u8, 1]);
        assert!(
            octets[2..]
                .starts_with(b"\x04hour\x0fDateTime('UTC')\0\0\0\0\x04time\x14DateTime64(6, 'UTC')\x07")
        );
    }

    /// A record's row, as RowBinary has it.
    fn row_binary(record: &Record<'_>) -> Vec<u8> {
        let mut rows = Rows::default();
        rows.add(record);
        let mut out = Vec::new();
        for column in record_columns() {
            match column {
                Column::Time => out.extend(record.time.to_le_bytes()),
                Column::Qclass => out.extend(record.qclass.to_le_bytes()),
                Column::Hit => out.push(record.is_hit.into()),
                Column::Cached => out.push(record.is_cached.into()),
                Column::Latency => out.extend(record.latency.to_le_bytes()),
                Column::Text(Text::Answers) => {
                    put_number(record.answers.len() as u64, &mut out).unwrap();
                    out.extend(record.answers.iter().flat_map(|it| sql::octets(*it)));
                }
                Column::Text(text) => put_column(&rows, text, &mut out).unwrap(),
                _ => {}
            }
        }
        out
    }

    #[test]
    fn records_are_read_however_they_are_cut() {
        let first = sample(1_795_478_400_000_001);
        let second = Record {
            client: "2001:db8::1".parse().unwrap(),
            qname: b"\x03a.b\x04evil\x00".as_slice().into(),
            agency: None,
            feed: None,
            family: None,
            severity: None,
            trigger: None,
            answers: Cow::default(),
            rcode: None,
            is_hit: false,
            ..sample(2)
        };
        let octets = [row_binary(&first), row_binary(&second)].concat();
        for size in 1..octets.len() {
            let (mut rest, mut found) = (Rest::default(), Vec::new());
            for piece in octets.chunks(size) {
                rest.records(piece, &mut |record| found.push(format!("{record:?}"))).unwrap();
            }
            assert!(rest.is_empty());
            assert_eq!(found, [format!("{first:?}"), format!("{second:?}")]);
        }
    }

    #[test]
    fn what_is_no_row_is_refused_and_not_waited_for() {
        let mut octets = row_binary(&sample(1));
        let check = |octets: &[u8]| assert_eq!(Rest::default().records(octets, &mut |_| ()), Err(Nonsense));
        // Behind time and client: a text without end.
        let agency = 8 + 16;
        octets.splice(agency..agency + 1, [0xff; 9]);
        check(&octets);
        let mut octets = row_binary(&sample(1));
        octets.splice(agency..agency + 1, [0xff, 0xff, 0x7f]);
        check(&octets);
        let mut octets = row_binary(&sample(1));
        let action = octets.windows(8).position(|it| it == b"sinkhole").unwrap();
        octets[action] = b'S';
        check(&octets);
    }
}
