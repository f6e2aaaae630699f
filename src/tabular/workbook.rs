//! XLSX workbooks (ECMA-376): the rows of their sheets.
//!
//! ```text
//! xl/workbook.xml              which sheets there are
//! xl/_rels/workbook.xml.rels   in which part each of them lies
//! xl/sharedStrings.xml         texts that cells refer to by number
//! xl/worksheets/sheet1.xml     rows of cells, then which cells are one (merged)
//! ```
//!
//! A workbook is a zip archive of XML from a stranger: how much is unpacked, how long a text is and how many
//! there are is counted while reading, whatever the archive says of itself; the file is held in memory, its
//! sheets are not. A cell that is merged downwards counts in each of its rows. Formulas count with the value that
//! was last computed; dates are a count of days from 1900. Hidden sheets are left out, and told.
//!
//! Own code over two libraries, for `calamine` reserves memory for as many texts as a file claims to have.

use std::collections::HashMap;
use std::io::{self, BufReader, Cursor, Read};

use quick_xml::Reader as XmlReader;
use quick_xml::events::{BytesRef, BytesStart, Event};
use zip::ZipArchive;
use zip::result::ZipError;

use super::MAX_COLUMNS;

/// Octets of a workbook, as packed.
const MAX_FILE: u64 = 64 << 20;
/// Octets of its parts, unpacked.
const MAX_UNPACKED: u64 = 512 << 20;
/// Octets of a part that is held in memory, unpacked.
const MAX_HELD: u64 = 64 << 20;
/// Octets of all cells together: many may refer to one text.
const MAX_CELLS: u64 = 1 << 30;
/// Octets between two marks of XML. A cell has at most 32,767 characters.
const MAX_RUN: usize = 1 << 20;
/// Octets of a text that are kept.
const MAX_TEXT: usize = 4096;
/// Parts of an archive, sheets, merged cells and texts.
const MAX_PARTS: usize = 10_000;
const MAX_SHEETS: usize = 256;
const MAX_MERGED: usize = 50_000;
const MAX_TEXTS: usize = 4_000_000;
/// Rows that a sheet can have.
const MAX_ROWS: u32 = 1 << 20;

/// Why a workbook cannot be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum WorkbookError {
    /// The archive is damaged, cut off or encrypted.
    #[error("the archive: {0}")]
    Archive(#[from] ZipError),
    /// The XML in it is damaged.
    #[error("its XML: {0}")]
    Xml(#[from] quick_xml::Error),
    /// A part that another one speaks of.
    #[error("the part {0:?} is missing")]
    Missing(String),
    /// More of something than a list needs.
    #[error("it has more than {0}; split it, or save it as CSV")]
    TooMuch(&'static str),
}

/// Whether these octets begin a zip archive.
pub fn is_archive(head: &[u8]) -> bool {
    head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06")
}

/// Whether these octets begin an OLE file: a workbook of Excel 97, or one with a password.
pub fn is_old(head: &[u8]) -> bool {
    head.starts_with(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
}

/// Takes what a workbook holds, as it is read.
pub trait Rows {
    /// Takes the next row, which has this number from 1 on in its sheet.
    fn row(&mut self, number: u32, cells: Vec<String>);

    /// A sheet of this name begins.
    fn begin_sheet(&mut self, _name: &str) {}

    /// A sheet has ended: what follows is another table.
    fn end_sheet(&mut self);

    /// Takes what is left out.
    fn left_out(&mut self, what: LeftOut<'_>);
}

/// What is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftOut<'a> {
    /// The archive is no workbook.
    NotWorkbook,
    /// A hidden sheet with this name.
    HiddenSheet(&'a str),
}

/// Reads every visible sheet of a workbook.
///
/// # Errors
/// Those of `reader`, which keeps them, and [`WorkbookError`].
pub fn read(reader: impl Read, out: &mut dyn Rows) -> Result<(), WorkbookError> {
    let mut file = Vec::new();
    reader.take(MAX_FILE + 1).read_to_end(&mut file).map_err(ZipError::Io)?;
    if file.len() as u64 > MAX_FILE {
        return Err(WorkbookError::TooMuch("64 MiB"));
    }
    let mut book = Book::open(file)?;
    let Some(sheets) = book.sheets()? else {
        out.left_out(LeftOut::NotWorkbook);
        return Ok(());
    };
    let texts = book.texts()?;
    for sheet in sheets {
        if sheet.is_hidden {
            out.left_out(LeftOut::HiddenSheet(&sheet.name));
            continue;
        }
        let merged = book.merged(&sheet.part)?;
        out.begin_sheet(&sheet.name);
        book.rows(&sheet.part, &texts, &merged, out)?;
    }
    Ok(())
}

struct Book {
    archive: ZipArchive<Cursor<Vec<u8>>>,
    /// Octets that may still be unpacked.
    left: u64,
    /// Octets that cells may still have.
    cells_left: u64,
}

struct Sheet {
    name: String,
    part: String,
    is_hidden: bool,
}

/// Where a cell that goes down over several rows begins, and its last row.
type Merged = HashMap<(u32, usize), u32>;

impl Book {
    fn open(file: Vec<u8>) -> Result<Self, WorkbookError> {
        let archive = ZipArchive::new(Cursor::new(file))?;
        if archive.len() > MAX_PARTS {
            return Err(WorkbookError::TooMuch("10,000 parts"));
        }
        Ok(Self { archive, left: MAX_UNPACKED, cells_left: MAX_CELLS })
    }

    /// The sheets in their order; `None` where this is no workbook.
    fn sheets(&mut self) -> Result<Option<Vec<Sheet>>, WorkbookError> {
        if self.archive.index_for_name(WORKBOOK).is_none() {
            return Ok(None);
        }
        let mut targets = HashMap::new();
        self.part(RELATIONS, MAX_HELD, |xml| {
            while let Some(node) = xml.next()? {
                if let Node::Start(element) = &node
                    && name(element) == "Relationship"
                    && targets.len() < MAX_PARTS
                    && let (Some(id), Some(target)) = (attribute(element, "Id"), attribute(element, "Target"))
                {
                    targets.insert(id, target);
                }
            }
            Ok(())
        })?;
        let mut sheets = Vec::new();
        self.part(WORKBOOK, MAX_HELD, |xml| {
            while let Some(node) = xml.next()? {
                if let Node::Start(element) = &node
                    && name(element) == "sheet"
                    && let Some(target) = attribute(element, "id").and_then(|id| targets.get(&id))
                {
                    let part = match target.strip_prefix('/') {
                        Some(absolute) => absolute.to_owned(),
                        None => format!("xl/{target}"),
                    };
                    let is_hidden = attribute(element, "state").is_some_and(|state| state != "visible");
                    sheets.push(Sheet {
                        name: attribute(element, "name").unwrap_or_default(),
                        part,
                        is_hidden,
                    });
                }
                if sheets.len() > MAX_SHEETS {
                    return Err(WorkbookError::TooMuch("256 sheets"));
                }
            }
            Ok(())
        })?;
        Ok(Some(sheets))
    }

    /// The texts that cells refer to.
    fn texts(&mut self) -> Result<Vec<Box<str>>, WorkbookError> {
        let mut texts = Vec::new();
        if self.archive.index_for_name(TEXTS).is_none() {
            return Ok(texts);
        }
        self.part(TEXTS, MAX_HELD, |xml| {
            while let Some(node) = xml.next()? {
                if let Node::Start(element) = &node
                    && name(element) == "si"
                {
                    texts.push(xml.text("si")?.into_boxed_str());
                }
                if texts.len() > MAX_TEXTS {
                    return Err(WorkbookError::TooMuch("four million texts"));
                }
            }
            Ok(())
        })?;
        Ok(texts)
    }

    fn merged(&mut self, part: &str) -> Result<Merged, WorkbookError> {
        let mut merged = Merged::new();
        self.part(part, MAX_UNPACKED, |xml| {
            while let Some(node) = xml.next()? {
                if let Node::Start(element) = &node
                    && name(element) == "mergeCell"
                    && merged.len() < MAX_MERGED
                    && let Some(range) = attribute(element, "ref")
                    && let Some((first, last)) = range.split_once(':')
                    && let (Some((row, column)), Some((last_row, _))) = (place(first), place(last))
                    && last_row > row
                {
                    merged.insert((row, column), last_row);
                }
            }
            Ok(())
        })?;
        Ok(merged)
    }

    fn rows(
        &mut self,
        part: &str,
        texts: &[Box<str>],
        merged: &Merged,
        out: &mut dyn Rows,
    ) -> Result<(), WorkbookError> {
        let mut left = self.cells_left;
        let mut carried: HashMap<usize, (u32, String)> = HashMap::new();
        let mut row = 0;
        let mut cells: Vec<String> = Vec::new();
        self.part(part, MAX_UNPACKED, |xml| {
            while let Some(node) = xml.next()? {
                match &node {
                    Node::Start(element) if name(element) == "row" => {
                        let number = attribute(element, "r").and_then(|number| number.parse().ok());
                        row = number.unwrap_or(row + 1).clamp(1, MAX_ROWS);
                        cells.clear();
                    }
                    Node::Start(element) if name(element) == "c" => {
                        let at =
                            attribute(element, "r").and_then(|it| place(&it)).map_or(cells.len(), |it| it.1);
                        let kind = attribute(element, "t").unwrap_or_default();
                        let text = xml.text("c")?;
                        let text = match kind.as_str() {
                            "s" => text
                                .trim()
                                .parse()
                                .ok()
                                .and_then(|at: usize| texts.get(at))
                                .map(|text| &**text),
                            "e" => None,
                            _ => Some(text.as_str()),
                        };
                        let text = text.unwrap_or_default();
                        left = left
                            .checked_sub(text.len() as u64 + 1)
                            .ok_or(WorkbookError::TooMuch("1 GiB of cells"))?;
                        if at < MAX_COLUMNS {
                            cells.resize(cells.len().max(at + 1), String::new());
                            text.clone_into(&mut cells[at]);
                        }
                    }
                    Node::End("row") if cells.iter().any(|cell| !cell.trim().is_empty()) => {
                        // Cells outside of any row count for the first.
                        row = row.max(1);
                        carried.retain(|_, (last, _)| *last >= row);
                        for (at, (_, text)) in &carried {
                            cells.resize(cells.len().max(at + 1), String::new());
                            if cells[*at].is_empty() {
                                text.clone_into(&mut cells[*at]);
                            }
                        }
                        for (at, cell) in cells.iter().enumerate() {
                            if let Some(last) = merged.get(&(row, at)) {
                                carried.insert(at, (*last, cell.clone()));
                            }
                        }
                        out.row(row, std::mem::take(&mut cells));
                    }
                    Node::End("sheetData") => return Ok(()),
                    _ => {}
                }
            }
            Ok(())
        })?;
        out.end_sheet();
        self.cells_left = left;
        Ok(())
    }

    /// Reads one part of the archive.
    fn part(
        &mut self,
        part: &str,
        limit: u64,
        read: impl FnOnce(&mut Xml<'_>) -> Result<(), WorkbookError>,
    ) -> Result<(), WorkbookError> {
        let file = match self.archive.by_name(part) {
            Err(ZipError::FileNotFound) => return Err(WorkbookError::Missing(part.to_owned())),
            file => file?,
        };
        let limit = limit.min(self.left);
        let mut part = Part { input: file, left: limit, run: 0, excess: None };
        let mut reader = XmlReader::from_reader(BufReader::new(&mut part as &mut dyn Read));
        let config = reader.config_mut();
        config.expand_empty_elements = true;
        config.check_end_names = false;
        let read = read(&mut Xml { reader, buffer: Vec::new() });
        self.left -= limit - part.left;
        match part.excess {
            Some(what) => Err(WorkbookError::TooMuch(what)),
            None => read,
        }
    }
}

pub(crate) const WORKBOOK: &str = "xl/workbook.xml";
pub(crate) const RELATIONS: &str = "xl/_rels/workbook.xml.rels";
pub(crate) const TEXTS: &str = "xl/sharedStrings.xml";

/// A part as it is unpacked, and no more of it than may be.
struct Part<R> {
    input: R,
    left: u64,
    /// Octets since the last mark of XML: what the parser must hold at once.
    run: usize,
    excess: Option<&'static str>,
}

impl<R: Read> Read for Part<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.input.read(buffer)?;
        match buffer[..len].iter().rposition(|byte| matches!(byte, b'<' | b'>')) {
            Some(at) => self.run = len - at,
            None => self.run += len,
        }
        if self.run > MAX_RUN {
            self.excess = Some("1 MiB in one text");
        }
        match self.left.checked_sub(len as u64) {
            Some(left) => self.left = left,
            None => self.excess = Some("512 MiB of sheets or 64 MiB of texts, unpacked"),
        }
        if self.excess.is_some() { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(len) }
    }
}

struct Xml<'a> {
    reader: XmlReader<BufReader<&'a mut dyn Read>>,
    buffer: Vec<u8>,
}

/// What matters of XML here.
enum Node {
    Start(BytesStart<'static>),
    End(&'static str),
    Text(String),
}

impl Xml<'_> {
    /// The next element or text; `None` at the end.
    fn next(&mut self) -> Result<Option<Node>, WorkbookError> {
        loop {
            self.buffer.clear();
            return Ok(Some(match self.reader.read_event_into(&mut self.buffer)? {
                Event::Start(element) | Event::Empty(element) => Node::Start(element.into_owned()),
                Event::End(element) => Node::End(known(element.local_name().as_ref())),
                Event::Text(text) => Node::Text(text.xml10_content().into_owned()),
                Event::CData(text) => Node::Text(text.xml10_content().into_owned()),
                Event::GeneralRef(reference) => Node::Text(resolved(&reference)),
                Event::Eof => return Ok(None),
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => continue,
            }));
        }
    }

    /// The text within the element that began last, up to its end: of `t` and `v`, not of formulas nor of how
    /// words are pronounced.
    fn text(&mut self, end: &'static str) -> Result<String, WorkbookError> {
        let mut text = String::new();
        let mut is_text = false;
        let mut is_phonetic = false;
        while let Some(node) = self.next()? {
            match node {
                Node::Start(element) => match name(&element) {
                    "t" | "v" => is_text = !is_phonetic,
                    "rPh" => is_phonetic = true,
                    _ => is_text = false,
                },
                Node::End("rPh") => is_phonetic = false,
                Node::End(name) if name == end => break,
                Node::End(_) => is_text = false,
                Node::Text(part) if is_text && text.len() < MAX_TEXT => text.push_str(&part),
                Node::Text(_) => {}
            }
        }
        if text.len() > MAX_TEXT {
            text.truncate(text.floor_char_boundary(MAX_TEXT));
        }
        Ok(text)
    }
}

/// The names of elements that end something here.
fn known(name: &str) -> &'static str {
    ["row", "c", "si", "rPh", "sheetData"].into_iter().find(|known| *known == name).unwrap_or_default()
}

/// An element's name without its prefix.
fn name<'a>(element: &'a BytesStart<'_>) -> &'a str {
    let name = element.name().into_inner();
    name.rsplit_once(':').map_or(name, |(_, name)| name)
}

/// An attribute by its name without prefix: `r:id` has one, and which is the file's own choice.
fn attribute(element: &BytesStart<'_>, key: &str) -> Option<String> {
    let attribute = element
        .attributes()
        .with_checks(false)
        .flatten()
        .find(|attribute| attribute.key.local_name().as_ref() == key)?;
    quick_xml::escape::unescape(&attribute.value).ok().map(std::borrow::Cow::into_owned)
}

fn resolved(reference: &BytesRef<'_>) -> String {
    if let Ok(Some(char)) = reference.resolve_char_ref() {
        return char.to_string();
    }
    let known = quick_xml::escape::resolve_predefined_entity(&reference.xml10_content());
    known.unwrap_or_default().to_owned()
}

/// `B3` is row 3 and column 1, counted from 0.
fn place(text: &str) -> Option<(u32, usize)> {
    let text = text.trim_start_matches('$');
    let letters = text.bytes().take_while(u8::is_ascii_alphabetic).count();
    // A sheet ends with column XFD.
    if letters == 0 || letters > 3 {
        return None;
    }
    let column = text.bytes().take(letters).fold(0, |sum, letter| sum * 26 + usize::from(letter & 0x1f));
    let row =
        text[letters..].trim_start_matches('$').parse().ok().filter(|row| (1..=MAX_ROWS).contains(row))?;
    Some((row, column - 1))
}

#[cfg(test)]
pub(crate) mod samples;
