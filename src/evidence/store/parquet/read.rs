//! Reading a file: which rows are wanted, column by column, and then these rows.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fs::File;
use std::net::IpAddr;
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use ipnet::IpNet;
use parquet::column::reader::{ColumnReaderImpl, get_typed_column_reader};
use parquet::data_type::{BoolType, DataType, Int32Type, Int64Type};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::reader::{FileReader as _, RowGroupReader, SerializedFileReader};
use parquet::file::serialized_reader::ReadOptionsBuilder;
use parquet::schema::types::SchemaDescriptor;

use super::selection::{Selection, chunks, count, intersect, push, unite, whole};
use super::text::{Dictionary, Memo, Texts};
use super::{CHUNK, Column, FileError, SOURCES, Source, schema, source_from_text};
use crate::evidence::record::Record;
use crate::evidence::store::names::Needles;
use crate::evidence::store::rows::{Row, Text};
use crate::evidence::store::whereabouts::Whereabouts;
use crate::evidence::store::words::Words;
use crate::evidence::store::{Filter, Kind};
use crate::mac::Mac;
use crate::name::{self, Name};

/// Where a file has the columns that we know.
pub(super) struct Places(Vec<(Column, usize)>);

impl Places {
    /// # Errors
    /// A column that every release has written is not there, or one has another type.
    pub(super) fn find(file: &SchemaDescriptor) -> Result<Self, FileError> {
        let columns: Vec<Column> = Column::all().collect();
        let ours = SchemaDescriptor::new(schema(&columns)?.into());
        let mut places = Vec::new();
        for (column, expected) in columns.into_iter().zip(ours.columns()) {
            match file.columns().iter().position(|found| found.path() == expected.path()) {
                Some(at) if file.column(at).self_type() == expected.self_type() => places.push((column, at)),
                None if column.may_be_absent() => {}
                _ => return Err(FileError::Column(column.name())),
            }
        }
        Ok(Self(places))
    }

    fn of(&self, column: Column) -> Option<usize> {
        self.0.iter().find(|(known, _)| *known == column).map(|(_, at)| *at)
    }
}

/// A row group that is read.
struct Group<'f> {
    reader: Box<dyn RowGroupReader + 'f>,
    places: &'f Places,
    number: usize,
    rows: usize,
    /// Those that were read, by the number of their column: they are large, and columns are read more than once.
    dictionaries: RefCell<[Option<Rc<Dictionary>>; Text::ALL.len()]>,
}

impl Group<'_> {
    fn texts(&self, text: Text) -> Result<Texts, FileError> {
        let place = self.places.of(Column::Text(text));
        let pages = place.map(|at| self.reader.get_column_page_reader(at)).transpose()?;
        let mut known = self.dictionaries.borrow_mut();
        let known = &mut known[text as usize];
        let texts = Texts::new(pages, text, known.as_ref())?;
        *known = Some(Rc::clone(texts.dictionary()));
        Ok(texts)
    }

    fn cursor<T: DataType>(&self, column: Column) -> Result<Cursor<T>, FileError> {
        let place = self.places.of(column);
        let reader = place.map(|at| self.reader.get_column_reader(at)).transpose()?;
        let reader = reader.map(get_typed_column_reader);
        Ok(Cursor { reader, at: 0, values: Vec::new() })
    }
}

/// Reads one column of numbers of a row group, forwards.
struct Cursor<T: DataType> {
    reader: Option<ColumnReaderImpl<T>>,
    at: usize,
    values: Vec<T::T>,
}

impl<T: DataType> Cursor<T> {
    /// Reads these rows, which lie behind those that were read before.
    fn read(&mut self, rows: Range<usize>) -> Result<(), FileError> {
        self.values.clear();
        // All releases have written them.
        let reader = self.reader.as_mut().ok_or(FileError::Rows)?;
        if rows.start > self.at {
            reader.skip_records(rows.start - self.at)?;
        }
        let mut left = rows.len();
        while left > 0 {
            let (read, ..) = reader.read_records(left, None, None, &mut self.values)?;
            if read == 0 {
                return Err(FileError::Rows);
            }
            left -= read;
        }
        self.at = rows.end;
        Ok(())
    }
}

/// Keeps those rows of a selection whose value in one column passes.
fn narrow<T: DataType>(
    group: &Group<'_>,
    column: Column,
    selection: &[Range<usize>],
    mut passes: impl FnMut(&Cursor<T>, &mut Vec<bool>),
) -> Result<Selection, FileError> {
    let mut kept = Selection::new();
    if selection.is_empty() {
        return Ok(kept);
    }
    let (mut cursor, mut verdicts) = (group.cursor(column)?, Vec::with_capacity(CHUNK));
    for rows in chunks(selection) {
        cursor.read(rows.clone())?;
        verdicts.clear();
        passes(&cursor, &mut verdicts);
        for (row, passed) in rows.zip(&verdicts) {
            if *passed {
                push(&mut kept, row..row + 1);
            }
        }
    }
    Ok(kept)
}

/// As [`narrow`], by text.
fn narrow_text(
    group: &Group<'_>,
    text: Text,
    selection: &[Range<usize>],
    passes: impl Fn(Option<&str>) -> bool,
) -> Result<Selection, FileError> {
    narrow_octets(group, text, selection, |value| {
        passes(value.and_then(|value| std::str::from_utf8(value).ok()))
    })
}

/// As [`narrow_text`], by the text's octets.
fn narrow_octets(
    group: &Group<'_>,
    text: Text,
    selection: &[Range<usize>],
    passes: impl Fn(Option<&[u8]>) -> bool,
) -> Result<Selection, FileError> {
    let mut kept = Selection::new();
    if selection.is_empty() {
        return Ok(kept);
    }
    let (mut texts, mut memo) = (group.texts(text)?, Memo::default());
    for rows in chunks(selection) {
        texts.read(rows.clone())?;
        for (at, row) in rows.enumerate() {
            let Ok(passed) = memo.get(&texts, at, |value| Ok::<_, Infallible>(passes(value)));
            if passed {
                push(&mut kept, row..row + 1);
            }
        }
    }
    Ok(kept)
}

/// Takes the texts of rows as numbers.
pub(in crate::evidence) trait Sieve<const N: usize> {
    type Error: From<FileError>;

    /// Gives a text of one of the columns a number; equal texts are mostly asked for once before a cut.
    fn number(&mut self, column: usize, text: Option<&str>) -> Result<u32, Self::Error>;

    /// Takes a row: its time, whether it is a hit, and the numbers of its texts.
    fn row(&mut self, time: i64, is_hit: bool, numbers: [u32; N]);

    /// From here on all numbers are given anew; before the first row, in between, and behind the last.
    fn cut(&mut self) -> Result<(), Self::Error>;
}

/// Rows between two cuts: what they say takes some ten megabytes, were each name another.
const CUT: usize = 32 * CHUNK;

/// A file that is read.
pub(in crate::evidence) struct Stored {
    reader: SerializedFileReader<File>,
    places: Places,
    /// All that is looked for in it, where that is known.
    words: Option<Arc<Words>>,
}

impl Stored {
    pub(in crate::evidence) fn open(path: &Path) -> Result<Self, FileError> {
        let file = File::open(path)?;
        let options = ReadOptionsBuilder::new().with_page_index().build();
        let reader = guarded(|| Ok(SerializedFileReader::new_with_options(file, options)?))?;
        let places = Places::find(reader.metadata().file_metadata().schema_descr())?;
        Ok(Self { reader, places, words: None })
    }

    /// Knows all that a search by name finds in it.
    pub(in crate::evidence::store) fn knowing(self, words: Option<Arc<Words>>) -> Self {
        Self { words, ..self }
    }

    fn groups(&self) -> impl Iterator<Item = Result<Group<'_>, FileError>> {
        (0..self.reader.num_row_groups()).map(|number| {
            let reader = self.reader.get_row_group(number)?;
            // A negative number of rows is damage.
            let rows = usize::try_from(reader.metadata().num_rows()).map_err(|_| FileError::Rows)?;
            Ok(Group { reader, places: &self.places, number, rows, dictionaries: RefCell::default() })
        })
    }

    pub(in crate::evidence) fn rows(&self) -> u64 {
        self.reader.metadata().file_metadata().num_rows().unsigned_abs()
    }

    /// The segments that it was made of.
    pub(in crate::evidence) fn sources(&self) -> Vec<Source> {
        let pairs = self.reader.metadata().file_metadata().key_value_metadata();
        let listed = pairs.into_iter().flatten().find(|pair| pair.key == SOURCES);
        let listed = listed.and_then(|pair| pair.value.as_deref()).unwrap_or("");
        listed.split(',').filter_map(source_from_text).collect()
    }

    /// Calls `visit` with every record that `filter` takes, in the file's order; with `most`, at least the newest so
    /// many of them.
    pub(in crate::evidence) fn read(
        &self,
        filter: &Filter,
        most: Option<usize>,
        visit: &mut dyn FnMut(&Record<'_>),
    ) -> Result<(), FileError> {
        guarded(|| {
            for group in self.groups() {
                let group = group?;
                let mut selection = self.select(&group, filter)?;
                if let Some(most) = most {
                    selection = newest(&group, selection, most)?;
                }
                materialise(&group, &selection, |record| {
                    if filter.takes(record) {
                        visit(record);
                    }
                })?;
            }
            Ok(())
        })
    }

    /// Calls `add` with each value of a column in the rows that `filter` takes, and how many in a row have it.
    pub(in crate::evidence) fn count_text(
        &self,
        filter: &Filter,
        text: Text,
        add: &mut dyn FnMut(&str, u64),
    ) -> Result<(), FileError> {
        guarded(|| {
            for group in self.groups() {
                let group = group?;
                let selection = self.select(&group, filter)?;
                if selection.is_empty() {
                    continue;
                }
                let (mut texts, mut memo) = (group.texts(text)?, Memo::default());
                let mut counts: Vec<(Box<str>, u64)> = Vec::new();
                for rows in chunks(&selection) {
                    texts.read(rows)?;
                    for at in 0..texts.len() {
                        let place = memo.get(&texts, at, |value| {
                            let value = std::str::from_utf8(value.unwrap_or_default());
                            counts.push((value.map_err(|_| FileError::Value(text))?.into(), 0));
                            Ok::<_, FileError>(counts.len() - 1)
                        })?;
                        counts[place].1 += 1;
                    }
                }
                counts.iter().for_each(|(value, count)| add(value, *count));
            }
            Ok(())
        })
    }

    /// Shows a sieve all rows.
    pub(in crate::evidence) fn sift<const N: usize, S: Sieve<N>>(
        &self,
        columns: [Text; N],
        sieve: &mut S,
    ) -> Result<(), S::Error> {
        guarded(|| Ok(self.sift_all(columns, sieve)))?
    }

    fn sift_all<const N: usize, S: Sieve<N>>(
        &self,
        columns: [Text; N],
        sieve: &mut S,
    ) -> Result<(), S::Error> {
        for group in self.groups() {
            let group = group?;
            let mut times = group.cursor::<Int64Type>(Column::Time)?;
            let mut hits = group.cursor::<BoolType>(Column::Hit)?;
            let mut texts = Vec::with_capacity(N);
            for text in columns {
                texts.push((group.texts(text)?, Memo::default()));
            }
            for rows in chunks(&whole(group.rows)) {
                if rows.start % CUT == 0 {
                    sieve.cut()?;
                    texts.iter_mut().for_each(|(_, memo)| *memo = Memo::default());
                }
                times.read(rows.clone())?;
                hits.read(rows.clone())?;
                for (texts, _) in &mut texts {
                    texts.read(rows.clone())?;
                }
                for at in 0..rows.len() {
                    let mut numbers = [0; N];
                    for (column, (texts, memo)) in texts.iter_mut().enumerate() {
                        numbers[column] = memo.get(texts, at, |value| {
                            let text = value.map(std::str::from_utf8).transpose();
                            sieve.number(column, text.map_err(|_| FileError::Value(columns[column]))?)
                        })?;
                    }
                    sieve.row(times.values[at], hits.values[at], numbers);
                }
            }
        }
        sieve.cut()
    }

    /// Calls `add` with the time of each row that `filter` takes.
    pub(in crate::evidence) fn count_times(
        &self,
        filter: &Filter,
        add: &mut dyn FnMut(i64),
    ) -> Result<(), FileError> {
        guarded(|| {
            for group in self.groups() {
                let group = group?;
                let selection = self.select(&group, filter)?;
                if selection.is_empty() {
                    continue;
                }
                let mut cursor = group.cursor::<Int64Type>(Column::Time)?;
                for rows in chunks(&selection) {
                    cursor.read(rows)?;
                    cursor.values.iter().for_each(|time| add(*time));
                }
            }
            Ok(())
        })
    }

    /// The rows of a group that `filter` takes.
    fn select(&self, group: &Group<'_>, filter: &Filter) -> Result<Selection, FileError> {
        let mut selection = whole(group.rows);
        if let Some(client) = filter.client.map(|client| client.to_canonical()) {
            let asked = self.with(group, Text::Client, &client.to_string())?;
            let told = self.with(group, Text::Subnet, &IpNet::from(client).to_string())?;
            selection = intersect(&selection, &unite(asked, told));
        }
        if filter.since.is_some() || filter.until.is_some() {
            let (since, until) = (filter.since.unwrap_or(i64::MIN), filter.until.unwrap_or(i64::MAX));
            let pages = self.pages(group, Column::Time, |index, page| match index {
                ColumnIndexMetaData::INT64(index) => {
                    index.min_value(page).is_none_or(|min| *min < until)
                        && index.max_value(page).is_none_or(|max| *max >= since)
                }
                _ => true,
            });
            selection = intersect(&selection, &pages);
            let is_within = |time: &i64| since <= *time && (*time < until || filter.until.is_none());
            selection = narrow::<Int64Type>(group, Column::Time, &selection, |cursor, verdicts| {
                verdicts.extend(cursor.values.iter().map(is_within));
            })?;
        }
        if filter.kind == Kind::Hits {
            selection = narrow::<BoolType>(group, Column::Hit, &selection, |cursor, verdicts| {
                verdicts.extend_from_slice(&cursor.values);
            })?;
        }
        let words = [
            (Text::Action, filter.outcome.map(|outcome| outcome.as_str().to_owned())),
            (Text::Agency, filter.agency.clone()),
            (Text::Feed, filter.feed.clone()),
            (Text::Family, filter.family.clone()),
            (Text::Qtype, filter.qtype.map(|qtype| crate::wire::type_text(qtype).into_owned())),
            (Text::Rcode, filter.rcode.map(|rcode| crate::wire::rcode_text(rcode).into_owned())),
        ];
        for (text, word) in words {
            if let Some(word) = word {
                selection = narrow_text(group, text, &selection, |value| value == Some(word.as_str()))?;
            }
        }
        if let Some(name) = &filter.name
            // What is known is what is looked for by name only where nothing else is.
            && (filter.sought.is_some() || self.words.is_none())
        {
            selection = narrow_text(group, Text::Qname, &selection, |text| {
                text.is_some_and(|text| is_within(text, name))
            })?;
        }
        if let Some(words) = &self.words {
            selection = known(group, &selection, words)?;
        } else if let Some(needles) = &filter.sought {
            selection = sought(group, &selection, needles)?;
        }
        if let Some(machine) = &filter.machine {
            selection = of_machine(group, &selection, machine)?;
        }
        Ok(selection)
    }

    /// The rows of a group that have this text in a column; pages that cannot have it are not read.
    fn with(&self, group: &Group<'_>, column: Text, wanted: &str) -> Result<Selection, FileError> {
        let pages = self.pages(group, Column::Text(column), |index, page| match index {
            ColumnIndexMetaData::BYTE_ARRAY(index) => {
                // A page without any has neither.
                index.min_value(page).is_some_and(|min| min <= wanted.as_bytes())
                    && index.max_value(page).is_some_and(|max| max >= wanted.as_bytes())
            }
            _ => true,
        });
        narrow_text(group, column, &pages, |text| text == Some(wanted))
    }

    /// The pages of a column that may hold what is wanted; all where there is no index.
    fn pages(
        &self,
        group: &Group<'_>,
        column: Column,
        is_wanted: impl Fn(&ColumnIndexMetaData, usize) -> bool,
    ) -> Selection {
        let rows = group.rows;
        let all = || whole(rows);
        let Some(column) = self.places.of(column) else { return all() };
        let index = self.reader.metadata().page_index_for_row_group(group.number);
        let (Some(values), Some(pages)) = (index.column_index(column), index.page_locations(column)) else {
            return all();
        };
        if values.num_pages() as usize != pages.len() {
            return all();
        }
        let start = |page: usize| {
            pages.get(page).map_or(rows, |page| usize::try_from(page.first_row_index).unwrap_or(0))
        };
        let mut selection = Selection::new();
        for page in (0..pages.len()).filter(|page| is_wanted(values, *page)) {
            let part = start(page)..start(page + 1).min(rows);
            if part.start >= part.end {
                return all();
            }
            push(&mut selection, part);
        }
        selection
    }
}

/// Whether a name in presentation format is `ancestor` or lies below it.
fn is_within(text: &str, ancestor: &Name) -> bool {
    Name::from_presentation(text).is_ok_and(|name| name::is_within(name.as_wire(), ancestor.as_wire()))
}

/// Rows of a machine: those with its MAC, and of those without any those with an address that it had then.
fn of_machine(
    group: &Group<'_>,
    selection: &[Range<usize>],
    machine: &Whereabouts,
) -> Result<Selection, FileError> {
    let mac =
        |text: Option<&str>| text.and_then(|text| text.parse::<Mac>().ok()).filter(|mac| !mac.is_random());
    let mut found = narrow_text(group, Text::Mac, selection, |text| {
        mac(text).is_some_and(|mac| machine.macs.contains(&mac))
    })?;
    let untold = narrow_text(group, Text::Mac, selection, |text| mac(text).is_none())?;
    let whole = |text: Option<&str>| {
        let net = text.and_then(|text| text.parse::<IpNet>().ok());
        net.filter(|net| net.prefix_len() == net.max_prefix_len()).map(|net| net.addr())
    };
    let direct = narrow_text(group, Text::Subnet, &untold, |text| whole(text).is_none())?;
    let addresses: BTreeSet<IpAddr> = machine.spans.iter().map(|(address, ..)| *address).collect();
    for address in addresses {
        let asked = narrow_text(group, Text::Client, &direct, |text| {
            text.is_some_and(|text| text.parse() == Ok(address))
        })?;
        let told = narrow_text(group, Text::Subnet, &untold, |text| whole(text) == Some(address))?;
        let then = narrow::<Int64Type>(group, Column::Time, &unite(asked, told), |cursor, verdicts| {
            verdicts.extend(cursor.values.iter().map(|time| machine.had(address, *time)));
        })?;
        found = unite(found, then);
    }
    Ok(found)
}

/// The rows whose qname or answer is looked for.
fn sought(group: &Group<'_>, selection: &[Range<usize>], needles: &Needles) -> Result<Selection, FileError> {
    let names = narrow_text(group, Text::Qname, selection, |text| {
        let name = text.and_then(|text| Name::from_presentation(text).ok());
        name.is_some_and(|name| needles.takes_name(name.as_wire()))
    })?;
    if !needles.has_addresses() {
        return Ok(names);
    }
    let answers = narrow_text(group, Text::Answers, selection, |text| {
        let mut addresses = text.unwrap_or("").split(' ').filter_map(|text| text.parse().ok());
        addresses.any(|address| needles.takes_address(address))
    })?;
    Ok(unite(names, answers))
}

/// As [`sought`], of what is known to be there.
fn known(group: &Group<'_>, selection: &[Range<usize>], words: &Words) -> Result<Selection, FileError> {
    let mut names = Selection::new();
    if words.has_names() {
        names = narrow_octets(group, Text::Qname, selection, |text| {
            text.is_some_and(|text| words.has_name(text))
        })?;
    }
    if !words.has_addresses() {
        return Ok(names);
    }
    let answers = narrow_octets(group, Text::Answers, selection, |text| {
        text.is_some_and(|text| words.has_address(text))
    })?;
    Ok(unite(names, answers))
}

/// The newest rows of a selection, and those of the same time.
fn newest(group: &Group<'_>, selection: Selection, most: usize) -> Result<Selection, FileError> {
    if count(&selection) <= most || most == 0 {
        return Ok(selection);
    }
    let mut times = Vec::with_capacity(count(&selection));
    let mut cursor = group.cursor::<Int64Type>(Column::Time)?;
    for rows in chunks(&selection) {
        cursor.read(rows)?;
        times.extend_from_slice(&cursor.values);
    }
    let mut sorted = times.clone();
    let at = sorted.len() - most;
    let (_, threshold, _) = sorted.select_nth_unstable(at);
    let mut kept = Selection::new();
    for (row, time) in selection.into_iter().flatten().zip(&times) {
        if time >= threshold {
            push(&mut kept, row..row + 1);
        }
    }
    Ok(kept)
}

fn materialise(
    group: &Group<'_>,
    selection: &[Range<usize>],
    mut visit: impl FnMut(&Record<'_>),
) -> Result<(), FileError> {
    if selection.is_empty() {
        return Ok(());
    }
    let mut times = group.cursor::<Int64Type>(Column::Time)?;
    let mut qclasses = group.cursor::<Int32Type>(Column::Qclass)?;
    let mut hits = group.cursor::<BoolType>(Column::Hit)?;
    let mut cached = group.cursor::<BoolType>(Column::Cached)?;
    let mut latencies = group.cursor::<Int32Type>(Column::Latency)?;
    let mut texts = Text::ALL.into_iter().map(|text| group.texts(text)).collect::<Result<Vec<_>, _>>()?;
    for rows in chunks(selection) {
        times.read(rows.clone())?;
        qclasses.read(rows.clone())?;
        hits.read(rows.clone())?;
        cached.read(rows.clone())?;
        latencies.read(rows.clone())?;
        for text in &mut texts {
            text.read(rows.clone())?;
        }
        for at in 0..rows.len() {
            let row = Row {
                time: times.values[at],
                qclass: qclasses.values[at],
                is_hit: hits.values[at],
                is_cached: cached.values[at],
                latency: latencies.values[at],
                texts: std::array::from_fn(|column| texts[column].value(at).map(Cow::Borrowed)),
            };
            visit(&row.record().map_err(FileError::Value)?);
        }
    }
    Ok(())
}

/// The library promises no errors instead of panics for files that are damaged.
fn guarded<T>(read: impl FnOnce() -> Result<T, FileError>) -> Result<T, FileError> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(read)).unwrap_or(Err(FileError::Panic))
}
