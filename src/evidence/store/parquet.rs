//! The store's files: Apache Parquet, one for many segments, rows by client and then by time.
//!
//! Any program that reads Parquet reads them; columns are named as the keys of JSON lines. A file's name is
//! `NUMBER_EARLIEST_LATEST.parquet`: the greatest number of its segments and the times that it covers,
//! microseconds since 1970. Its metadata lists its segments, so that it stands for them also where the catalogue
//! was lost. Which files count, and when they go, is said elsewhere.
//!
//! Columns are found by name: one that an older release did not write is null in its files, and one that only a newer
//! release knows is passed over. So a column may be added at any place, and is never renamed or given another type.

mod read;
mod selection;
mod text;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::data_type::{BoolType, ByteArrayType, DataType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{ColumnPath, Type};

pub(in crate::evidence) use read::{Sieve, Stored};

use super::rows::{Rows, Text};
use crate::evidence::segment::{Id, Span};

/// A column of a file, in the order in which they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Time,
    Text(Text),
    Qclass,
    Hit,
    Cached,
    Latency,
}

impl Column {
    fn all() -> impl Iterator<Item = Self> {
        let numbers = [Self::Qclass, Self::Hit, Self::Cached, Self::Latency];
        std::iter::once(Self::Time).chain(Text::ALL.map(Self::Text)).chain(numbers)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Text(text) => text.name(),
            Self::Qclass => "qclass",
            Self::Hit => "hit",
            Self::Cached => "cached",
            Self::Latency => "latency_us",
        }
    }

    /// Whether a record is whole without it, so that a file may lack it.
    fn may_be_absent(self) -> bool {
        match self {
            Self::Text(text) => !matches!(text, Text::Client | Text::Action | Text::Transport),
            Self::Time | Self::Qclass | Self::Hit | Self::Cached | Self::Latency => false,
        }
    }

    /// Its type, in the words of Parquet's schemas.
    fn definition(self) -> String {
        let name = self.name();
        match self {
            Self::Time => format!("required int64 {name} (TIMESTAMP(MICROS,true));"),
            Self::Text(_) => format!("optional binary {name} (UTF8);"),
            Self::Qclass => format!("required int32 {name} (INTEGER(16,false));"),
            Self::Hit | Self::Cached => format!("required boolean {name};"),
            Self::Latency => format!("required int32 {name} (INTEGER(32,false));"),
        }
    }
}

/// Rows of a page: what is read at the least.
const PAGE: usize = 20_000;
/// Rows that are read or written at once.
const CHUNK: usize = 8192;
/// Names and answers are kept once a file: a million rows have far fewer octets of them.
const DICTIONARY: usize = 64 << 20;
/// Under which key a file's metadata lists its segments.
const SOURCES: &str = "sachdns.segments";

/// Why a file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(in crate::evidence) enum FileError {
    #[error(transparent)]
    System(#[from] io::Error),
    #[error("{0}")]
    Parquet(ParquetError),
    #[error("{0:?} holds what no record has")]
    Value(Text),
    #[error("it has no column {0:?} as this release reads it: it is of a newer one, or of another program")]
    Column(&'static str),
    #[error("a page of its column {0:?} is damaged")]
    Page(Text),
    #[error("it has fewer rows than it says")]
    Rows,
    #[error("reading it failed in a way that should not be possible; please report it")]
    Panic,
}

impl From<ParquetError> for FileError {
    fn from(error: ParquetError) -> Self {
        match error {
            ParquetError::External(source) => match source.downcast::<io::Error>() {
                Ok(source) => Self::System(*source),
                Err(source) => Self::Parquet(ParquetError::External(source)),
            },
            other => Self::Parquet(other),
        }
    }
}

impl FileError {
    /// Whether it is the file's fault: reading it again does not help.
    pub(in crate::evidence) fn is_of_content(&self) -> bool {
        !matches!(self, Self::System(_))
    }

    /// Whether the file went away: it was retired.
    pub(in crate::evidence) fn is_absent(&self) -> bool {
        matches!(self, Self::System(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

/// What a file's name says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::evidence) struct FileName {
    pub(in crate::evidence) number: u64,
    pub(in crate::evidence) earliest: i64,
    pub(in crate::evidence) latest: i64,
}

impl std::fmt::Display for FileName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:010}_{}_{}.parquet", self.number, self.earliest, self.latest)
    }
}

impl FileName {
    pub(in crate::evidence) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_suffix(".parquet")?.splitn(3, '_');
        let mut next = || parts.next();
        let name = Self {
            number: next()?.parse().ok()?,
            earliest: next()?.parse().ok()?,
            latest: next()?.parse().ok()?,
        };
        // Nothing but what we would write ourselves.
        (name.to_string() == text).then_some(name)
    }

    /// Of a summary, whose name is made the same way.
    pub(in crate::evidence) fn parse_summary(text: &str) -> Option<Self> {
        Self::parse(&format!("{}.parquet", text.strip_suffix(".summary")?))
    }

    /// As that of a summary.
    pub(in crate::evidence) fn summary_name(&self) -> String {
        format!("{:010}_{}_{}.summary", self.number, self.earliest, self.latest)
    }

    /// Where its set of names is.
    pub(in crate::evidence) fn names_path(&self, folder: &Path) -> PathBuf {
        folder.join(self.to_string()).with_extension("names")
    }
}

/// A segment that became part of a file, and what it held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::evidence) struct Source {
    pub(in crate::evidence) id: Id,
    pub(in crate::evidence) span: Span,
}

fn source_text(source: &Source) -> String {
    let Source { id, span } = source;
    format!("{} {} {} {} {}", id.number, id.writer, span.earliest, span.latest, span.count)
}

fn source_from_text(text: &str) -> Option<Source> {
    let mut fields = text.split(' ');
    let id = Id { number: fields.next()?.parse().ok()?, writer: fields.next()?.parse().ok()? };
    let mut time = || fields.next()?.parse::<i64>().ok();
    let (earliest, latest) = (time()?, time()?);
    let count = fields.next()?.parse().ok()?;
    Some(Source { id, span: Span { earliest, latest, count } })
}

fn schema(columns: &[Column]) -> Result<Type, ParquetError> {
    let columns: String = columns.iter().map(|column| column.definition()).collect();
    parse_message_type(&format!("message record {{ {columns} }}"))
}

/// Writes the rows to a new file at `path`, and brings it to the disk.
///
/// # Errors
/// What the system said; what was written is left behind.
pub(in crate::evidence) fn write(rows: &Rows, sources: &[Source], path: &Path) -> Result<(), FileError> {
    write_columns(&Column::all().collect::<Vec<_>>(), DICTIONARY, rows, sources, path)
}

fn write_columns(
    columns: &[Column],
    dictionary: usize,
    rows: &Rows,
    sources: &[Source],
    path: &Path,
) -> Result<(), FileError> {
    let path_of = |column: Column| ColumnPath::from(column.name());
    let sorting = [Column::Text(Text::Client), Column::Time].map(|key| SortingColumn {
        // They are a few.
        column_idx: columns.iter().take_while(|column| **column != key).count() as i32,
        descending: false,
        nulls_first: false,
    });
    let sources: Vec<String> = sources.iter().map(source_text).collect();
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("sachdns ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_data_page_row_count_limit(PAGE)
        .set_dictionary_page_size_limit(dictionary)
        .set_max_row_group_row_count(None)
        .set_sorting_columns(Some(sorting.to_vec()))
        .set_key_value_metadata(Some(vec![KeyValue::new(SOURCES.to_owned(), sources.join(","))]));
    for number in [Column::Time, Column::Latency].map(path_of) {
        properties = properties
            .set_column_dictionary_enabled(number.clone(), false)
            .set_column_encoding(number, Encoding::DELTA_BINARY_PACKED);
    }
    // Only clients come in an order that pages are found by.
    for text in Text::ALL.into_iter().filter(|text| *text != Text::Client) {
        let path = path_of(Column::Text(text));
        properties = properties.set_column_statistics_enabled(path, EnabledStatistics::Chunk);
    }
    let file = {
        use std::os::unix::fs::OpenOptionsExt as _;
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?
    };
    let mut writer = SerializedFileWriter::new(
        BufWriter::new(file),
        Arc::new(schema(columns)?),
        Arc::new(properties.build()),
    )?;
    let order = rows.order();
    let mut group = writer.next_row_group()?;
    for column in columns.iter().copied() {
        let mut writer = group.next_column()?.ok_or(FileError::Column(column.name()))?;
        match column {
            Column::Time => put::<Int64Type>(&mut writer, &order, |row| rows.times[row])?,
            Column::Text(text) => put_text(&mut writer, &order, rows, text)?,
            Column::Qclass => put::<Int32Type>(&mut writer, &order, |row| rows.qclasses[row])?,
            Column::Hit => put::<BoolType>(&mut writer, &order, |row| rows.hits[row])?,
            Column::Cached => put::<BoolType>(&mut writer, &order, |row| rows.cached[row])?,
            Column::Latency => put::<Int32Type>(&mut writer, &order, |row| rows.latencies[row])?,
        }
        writer.close()?;
    }
    group.close()?;
    let file = writer.into_inner()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    Ok(())
}

fn put<T: DataType>(
    column: &mut SerializedColumnWriter<'_>,
    order: &[u32],
    value: impl Fn(usize) -> T::T,
) -> Result<(), FileError> {
    let mut values = Vec::with_capacity(CHUNK);
    for rows in order.chunks(CHUNK) {
        values.clear();
        values.extend(rows.iter().map(|row| value(*row as usize)));
        column.typed::<T>().write_batch(&values, None, None)?;
    }
    Ok(())
}

fn put_text(
    column: &mut SerializedColumnWriter<'_>,
    order: &[u32],
    rows: &Rows,
    text: Text,
) -> Result<(), FileError> {
    let from = rows.column(text);
    let (mut values, mut levels) = (Vec::with_capacity(CHUNK), Vec::with_capacity(CHUNK));
    for rows in order.chunks(CHUNK) {
        values.clear();
        levels.clear();
        for &row in rows {
            let value = from.value(row);
            levels.push(i16::from(value.is_some()));
            values.extend(value.cloned());
        }
        column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None)?;
    }
    Ok(())
}

/// Brings a folder's entries to the disk.
pub(in crate::evidence) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Writes a small file beside its place and brings it to the disk; renaming is the caller's.
pub(in crate::evidence) fn write_octets(path: &Path, octets: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(octets)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use parquet::schema::types::SchemaDescriptor;

    use super::*;
    use crate::evidence::record::Record;
    use crate::evidence::record::tests::sample;
    use crate::evidence::store::Filter;
    use crate::name::Name;

    fn read(columns: &[Column], filter: &Filter) -> Vec<Record<'static>> {
        let mut rows = Rows::default();
        (1..=3).for_each(|time| rows.add(&sample(time)));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write_columns(columns, DICTIONARY, &rows, &[], &path).unwrap();
        let mut records = Vec::new();
        let stored = Stored::open(&path).unwrap();
        stored.read(filter, None, &mut |record| records.push(record.clone().into_owned())).unwrap();
        stored.count_text(filter, Text::Family, &mut |_, count| assert_eq!(count, 3)).unwrap();
        records
    }

    #[test]
    fn columns_are_found_by_name_and_what_a_file_lacks_is_null() {
        let whole = sample;
        assert!(sample(1).family.is_some() && !sample(1).answers.is_empty());
        let mut columns: Vec<Column> = Column::all().collect();
        assert_eq!(read(&columns, &Filter::default()), [1, 2, 3].map(whole));
        columns.reverse();
        assert_eq!(read(&columns, &Filter::default()), [1, 2, 3].map(whole));
        // As an older release would have written.
        columns.retain(|it| ![Text::Family, Text::Answers].map(Column::Text).contains(it));
        let poorer = |time| Record { family: None, answers: Vec::new().into(), ..whole(time) };
        assert_eq!(read(&columns, &Filter::default()), [1, 2, 3].map(poorer));
        let family = sample(1).family.map(String::from);
        assert!(read(&columns, &Filter { family, ..Filter::default() }).is_empty());
    }

    #[test]
    fn what_is_in_no_dictionary_is_read_as_well() {
        let wire = |n: i64| Name::from_host(&format!("n{n}.example")).unwrap().as_wire().to_vec();
        let record = |n: i64| Record {
            client: [10, 1, 0, 1].into(),
            qname: if n % 7 == 0 { Vec::new() } else { wire(n / 3) }.into(),
            qtype: if n % 7 == 0 { 0 } else { 28 },
            family: (n % 3 == 0).then(|| format!("f{n}").into()),
            ..sample(n)
        };
        let mut rows = Rows::default();
        (0..50_000).for_each(|n| rows.add(&record(n)));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        // In the midst of the third page it is too much.
        write_columns(&Column::all().collect::<Vec<_>>(), 200_000, &rows, &[], &path).unwrap();
        let stored = Stored::open(&path).unwrap();
        let mut n = 0;
        let all = stored.read(&Filter::default(), None, &mut |found| {
            assert_eq!(*found, record(n));
            n += 1;
        });
        all.unwrap();
        assert_eq!(n, 50_000);
        for at in [1, 9_999, 16_666] {
            let name = Some(Name::from_host(&format!("n{at}.example")).unwrap());
            let (mut found, filter) = (Vec::new(), Filter { name, ..Filter::default() });
            stored.read(&filter, None, &mut |record| found.push(record.time)).unwrap();
            let expected: Vec<i64> = (0..50_000).filter(|n| n / 3 == at && n % 7 != 0).collect();
            assert_eq!(found, expected);
        }
        let mut families = std::collections::HashMap::new();
        let filter = Filter { since: Some(20_000), ..Filter::default() };
        let add = &mut |family: &str, count| *families.entry(family.to_owned()).or_insert(0) += count;
        stored.count_text(&filter, Text::Family, add).unwrap();
        assert_eq!(families.remove(""), Some(20_000));
        assert_eq!(families.len(), 10_000);
        assert!(families.values().all(|count| *count == 1));
    }

    #[test]
    fn a_file_of_another_program_is_told_by_its_columns() {
        let check = |edit: &dyn Fn(String) -> String, expected: Result<(), &str>| {
            let columns: String = Column::all().map(Column::definition).collect();
            let message = format!("message record {{ {} }}", edit(columns));
            let file = SchemaDescriptor::new(Arc::new(parse_message_type(&message).unwrap()));
            let found = read::Places::find(&file).map(drop).map_err(|error| error.to_string());
            match (found, expected) {
                (Ok(()), Ok(())) => {}
                (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
                (found, expected) => panic!("{found:?}, not {expected:?}"),
            }
        };
        check(&|columns| columns, Ok(()));
        check(&|columns| format!("optional group new {{ optional int32 one; }} {columns}"), Ok(()));
        check(&|columns| columns.replace("optional binary client (UTF8);", ""), Err("\"client\""));
        check(&|columns| columns.replace("optional binary family", "required binary family"), Err("family"));
        check(&|columns| columns.replace("required boolean hit", "required int32 hit"), Err("\"hit\""));
    }
}
