//! The store's files: Apache Parquet, one for many segments, rows by client and then by time.
//!
//! Any program that reads Parquet reads them; columns are named as the keys of JSON lines. A file's name is
//! `NUMBER_EARLIEST_LATEST.parquet`: the greatest number of its segments and the times that it covers,
//! microseconds since 1970. Its metadata lists its segments, so that it stands for them also where the catalogue
//! was lost. Which files count, and when they go, is said elsewhere.

mod read;
mod selection;

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
use parquet::schema::types::ColumnPath;

pub(in crate::evidence) use read::Stored;

use super::rows::{Rows, Text};
use crate::evidence::segment::{Id, Span};

/// The places of the columns that hold no text; the others follow the first.
const TIME: usize = 0;
const QCLASS: usize = 1 + Text::ALL.len();
const HIT: usize = QCLASS + 1;
const CACHED: usize = QCLASS + 2;
const LATENCY: usize = QCLASS + 3;

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
    #[error("it holds other columns")]
    Columns,
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

fn schema() -> Result<Arc<parquet::schema::types::Type>, FileError> {
    let texts = Text::ALL.map(|text| format!("optional binary {} (UTF8);", text.name())).concat();
    let message = format!(
        "message record {{ required int64 time (TIMESTAMP(MICROS,true)); {texts} \
         required int32 qclass (INTEGER(16,false)); required boolean hit; required boolean cached; \
         required int32 latency_us (INTEGER(32,false)); }}"
    );
    Ok(Arc::new(parse_message_type(&message)?))
}

/// Writes the rows to a new file at `path`, and brings it to the disk.
///
/// # Errors
/// What the system said; what was written is left behind.
pub(in crate::evidence) fn write(rows: &Rows, sources: &[Source], path: &Path) -> Result<(), FileError> {
    let column = |text: Text| ColumnPath::from(text.name());
    let sorting = [1 + Text::Client as usize, TIME].map(|at| SortingColumn {
        column_idx: at as i32,
        descending: false,
        nulls_first: false,
    });
    let sources: Vec<String> = sources.iter().map(source_text).collect();
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("sachdns ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_data_page_row_count_limit(PAGE)
        .set_dictionary_page_size_limit(DICTIONARY)
        .set_max_row_group_row_count(None)
        .set_sorting_columns(Some(sorting.to_vec()))
        .set_key_value_metadata(Some(vec![KeyValue::new(SOURCES.to_owned(), sources.join(","))]));
    for number in ["time", "latency_us"].map(ColumnPath::from) {
        properties = properties
            .set_column_dictionary_enabled(number.clone(), false)
            .set_column_encoding(number, Encoding::DELTA_BINARY_PACKED);
    }
    // Only clients come in an order that pages are found by.
    for text in Text::ALL.into_iter().filter(|text| *text != Text::Client) {
        properties = properties.set_column_statistics_enabled(column(text), EnabledStatistics::Chunk);
    }
    let file = {
        use std::os::unix::fs::OpenOptionsExt as _;
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?
    };
    let mut writer =
        SerializedFileWriter::new(BufWriter::new(file), schema()?, Arc::new(properties.build()))?;
    let order = rows.order();
    let mut group = writer.next_row_group()?;
    let mut at = 0;
    while let Some(mut column) = group.next_column()? {
        match at {
            TIME => put::<Int64Type>(&mut column, &order, |row| rows.times[row])?,
            QCLASS => put::<Int32Type>(&mut column, &order, |row| rows.qclasses[row])?,
            HIT => put::<BoolType>(&mut column, &order, |row| rows.hits[row])?,
            CACHED => put::<BoolType>(&mut column, &order, |row| rows.cached[row])?,
            LATENCY => put::<Int32Type>(&mut column, &order, |row| rows.latencies[row])?,
            text => put_text(&mut column, &order, rows, Text::ALL[text - 1])?,
        }
        column.close()?;
        at += 1;
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
