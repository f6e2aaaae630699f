//! From bytes to lines: gzip, the size cap, byte order marks, and files that are no lists at all.
//!
//! Holds one line and the first 64 KiB, never more. Knows no format.

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, Cursor, Read};

use flate2::read::MultiGzDecoder;

use crate::tabular::workbook::WorkbookError;

/// The longest line that is kept, in octets, without its end.
pub const MAX_LINE: usize = 64 * 1024;
/// The most octets read of one feed, once unpacked.
pub const MAX_SIZE: u64 = 1 << 30;
/// How much of the start is looked at to tell what a file is.
const HEAD: usize = 64 * 1024;
/// How much of a line that is too long is shown.
const SHOWN: usize = 1024;

/// Why a feed could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The gzip stream ends too soon or its checksum is wrong.
    #[error("the gzip data is cut off or damaged after line {after_line}: {source}")]
    Gzip {
        /// The last line that was read whole.
        after_line: u64,
        /// What the unpacking said.
        source: io::Error,
    },
    /// The reader failed.
    #[error("reading failed after line {after_line}: {source}")]
    Io {
        /// The last line that was read whole.
        after_line: u64,
        /// What the reader said.
        source: io::Error,
    },
    /// JSON that is none from some place on: damaged, cut off, or nested too deep.
    #[error("the JSON is cut off or damaged: {source}")]
    Json {
        /// What the parser said, with the place.
        source: serde_json::Error,
    },
    /// A workbook that is damaged, cut off or made to fill memory.
    #[error("the workbook cannot be read: {source}")]
    Workbook {
        /// What is wrong with it.
        source: WorkbookError,
    },
    /// More octets than a feed may have.
    #[error("larger than {limit} octets once unpacked; read up to line {after_line}")]
    TooLarge {
        /// The last line that was read whole.
        after_line: u64,
        /// The most octets allowed.
        limit: u64,
    },
}

/// What the start of a file shows it to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// Something with lines.
    Text,
    /// Byte order mark of UTF-16, either order.
    Utf16,
    /// A zero octet near the start. Further down it is the fault of its own line.
    Binary,
    /// HTML or XML.
    Markup,
}

/// One line, without its end. What is not UTF-8 has U+FFFD in its place, which no token may hold:
/// so a stray octet spoils an entry, and nothing where it stands in a comment.
pub(super) enum Line<'a> {
    Whole(Cow<'a, str>),
    /// Only the start of the line.
    TooLong(Cow<'a, str>),
}

/// The lines of a feed.
pub(super) struct Lines<R> {
    input: BufReader<Input<R>>,
    content: Content,
    is_gzip: bool,
    /// What ends a line.
    end: u8,
    line: Vec<u8>,
    octets: u64,
    max_size: u64,
}

impl<R: Read> Lines<R> {
    /// Looks at the start of `reader` and unpacks it if it is gzip.
    pub(super) fn open(mut reader: R, max_size: u64) -> Result<Self, ReadError> {
        let mut magic = Vec::with_capacity(2);
        reader
            .by_ref()
            .take(2)
            .read_to_end(&mut magic)
            .map_err(|source| ReadError::Io { after_line: 0, source })?;
        let is_gzip = magic == [0x1f, 0x8b];
        let raw = Cursor::new(magic).chain(reader);
        // One octet more than allowed, to tell "just full" from "too large".
        let mut body = if is_gzip { Body::Gzip(Box::new(MultiGzDecoder::new(raw))) } else { Body::Raw(raw) }
            .take(max_size.saturating_add(1));
        let mut head = Vec::new();
        // An error here waits until the lines before it are read.
        let error = body.by_ref().take(HEAD as u64).read_to_end(&mut head).err();
        let content = Content::of(&head);
        let mut octets = 0;
        if head.starts_with(UTF8_MARK) {
            head.drain(..UTF8_MARK.len());
            octets += UTF8_MARK.len() as u64;
        }
        let end = line_end(&head);
        let input = Input { head: Cursor::new(head), error, body };
        let input = BufReader::with_capacity(HEAD, input);
        Ok(Self { input, content, is_gzip, end, line: Vec::new(), octets, max_size })
    }

    /// What the file is.
    pub(super) fn content(&self) -> Content {
        self.content
    }

    /// The first 64 KiB, or all there is.
    pub(super) fn head(&self) -> &[u8] {
        self.input.get_ref().head.get_ref()
    }

    /// Reads one more line; `number` counts it.
    pub(super) fn next(&mut self, number: &mut u64) -> Result<Option<Line<'_>>, ReadError> {
        self.line.clear();
        let len = (&mut self.input)
            .take(MAX_LINE as u64 + 1)
            .read_until(self.end, &mut self.line)
            .map_err(|error| failed(self.is_gzip, error, *number))?;
        let mut octets = len as u64;
        if len == 0 {
            return Ok(None);
        }
        let is_ended = self.line.pop_if(|&mut last| last == self.end).is_some();
        let is_too_long = !is_ended && len > MAX_LINE;
        if is_too_long {
            octets += discard_line(&mut self.input, self.end)
                .map_err(|error| failed(self.is_gzip, error, *number))?;
        }
        self.octets += octets;
        if self.octets > self.max_size {
            return Err(ReadError::TooLarge { after_line: *number, limit: self.max_size });
        }
        *number += 1;
        if is_too_long {
            return Ok(Some(Line::TooLong(String::from_utf8_lossy(&self.line[..SHOWN]))));
        }
        self.line.pop_if(|&mut last| last == b'\r');
        Ok(Some(Line::Whole(String::from_utf8_lossy(&self.line))))
    }
}

impl<R: Read> Lines<R> {
    /// All octets as they are, for formats that have no lines.
    pub(super) fn octets(&mut self) -> Octets<'_, R> {
        Octets { lines: self, failure: None }
    }
}

/// The octets of a feed, no more of them than it may have.
pub(super) struct Octets<'a, R> {
    lines: &'a mut Lines<R>,
    failure: Option<Failure>,
}

enum Failure {
    Io(io::Error),
    TooLarge,
}

impl<R: Read> Octets<'_, R> {
    /// Why reading failed, if it did, after this many whole lines.
    pub(super) fn failure(self, after_line: u64) -> Option<ReadError> {
        Some(match self.failure? {
            Failure::Io(error) => failed(self.lines.is_gzip, error, after_line),
            Failure::TooLarge => ReadError::TooLarge { after_line, limit: self.lines.max_size },
        })
    }
}

impl<R: Read> Read for Octets<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let failure = match self.lines.input.read(buffer) {
            Ok(len) => {
                self.lines.octets += len as u64;
                if self.lines.octets <= self.lines.max_size {
                    return Ok(len);
                }
                Failure::TooLarge
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => Failure::Io(error),
        };
        self.failure = Some(failure);
        // Whoever reads sees only that it is over; `failure` has the reason.
        Err(io::ErrorKind::Other.into())
    }
}

/// The byte order mark that some editors put in front of UTF-8.
const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";

impl Content {
    fn of(head: &[u8]) -> Self {
        if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") {
            return Self::Utf16;
        }
        if head.contains(&0) {
            return Self::Binary;
        }
        // No format here starts a line with `<`, so `<` and anything of a tag is enough; comments
        // that speak of HTML further down never count.
        match head.strip_prefix(UTF8_MARK).unwrap_or(head).trim_ascii_start() {
            [b'<', b'!' | b'?' | b'/' | b'a'..=b'z' | b'A'..=b'Z', ..] => Self::Markup,
            _ => Self::Text,
        }
    }
}

/// What ends the lines of a text: LF with or without CR in front, or CR alone as on the first Macintoshes, whose way
/// spreadsheets for the Mac still offer.
pub(super) fn line_end(head: &[u8]) -> u8 {
    if head.contains(&b'\r') && !head.contains(&b'\n') { b'\r' } else { b'\n' }
}

/// Skips to the end of the line and returns how many octets that took.
fn discard_line(input: &mut impl BufRead, end: u8) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let buffer = match input.fill_buf() {
            Ok(buffer) => buffer,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let found = buffer.iter().position(|&byte| byte == end);
        let len = found.map_or(buffer.len(), |end| end + 1);
        input.consume(len);
        skipped += len as u64;
        if found.is_some() || len == 0 {
            return Ok(skipped);
        }
    }
}

fn failed(is_gzip: bool, source: io::Error, after_line: u64) -> ReadError {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    if is_gzip && matches!(source.kind(), InvalidData | InvalidInput | UnexpectedEof) {
        ReadError::Gzip { after_line, source }
    } else {
        ReadError::Io { after_line, source }
    }
}

type Raw<R> = io::Chain<Cursor<Vec<u8>>, R>;

enum Body<R> {
    Raw(Raw<R>),
    Gzip(Box<MultiGzDecoder<Raw<R>>>),
}

impl<R: Read> Read for Body<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Raw(raw) => raw.read(buffer),
            Self::Gzip(gzip) => gzip.read(buffer),
        }
    }
}

/// The head again, then what its reading ended with, then the rest.
struct Input<R> {
    head: Cursor<Vec<u8>>,
    /// Kept, because a decoder asked again after its error may say that all is well.
    error: Option<io::Error>,
    body: io::Take<Body<R>>,
}

impl<R: Read> Read for Input<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.head.read(buffer)? {
            0 => {}
            len => return Ok(len),
        }
        match self.error.take() {
            Some(error) => Err(error),
            None => self.body.read(buffer),
        }
    }
}
