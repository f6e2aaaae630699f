//! Tables with a header somewhere in their first rows, in workbooks and in delimited text of any usual encoding.
//!
//! How much of a file is held is bounded here. Which headings there are is for whoever reads a table to know.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::delimited::{DIVIDERS, OpenQuote, fields};
use super::workbook::{self, LeftOut, Rows, WorkbookError};

/// Rows that may stand above the header: titles, who made it, when.
const HEAD: usize = 50;
/// Lines that one record may take.
const MAX_LINES: usize = 20;
/// Octets of them.
const MAX_OCTETS: usize = 256 * 1024;
/// Cells of all rows together that are held.
const MAX_CELLS: usize = 8_000_000;

/// Where a row stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The sheet of a workbook.
    pub sheet: Option<Arc<str>>,
    /// The line, or the row, from 1.
    pub line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.sheet {
            Some(sheet) => write!(f, "{}:{}", sheet.escape_debug(), self.line),
            None => self.line.fmt(f),
        }
    }
}

/// A row's number and its cells.
pub type Row = (u64, Vec<String>);

/// A sheet, or a whole text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// The sheet's name.
    pub sheet: Option<Arc<str>>,
    /// Its rows, as far as there is anything in them.
    pub rows: Vec<Row>,
}

impl Table {
    /// Where a row of it stands.
    pub fn place(&self, line: u64) -> Place {
        Place { sheet: self.sheet.clone(), line }
    }
}

/// What is not read of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// A quoted field without its end.
    #[error("a quotation mark opens here that nothing closes: the line is passed over")]
    OpenQuote,
    /// More than is held.
    #[error("the file has more than {MAX_CELLS} cells: what follows is not read; split it")]
    TooMany,
    /// A sheet that is hidden.
    #[error("the sheet {0:?} is hidden, and left out")]
    HiddenSheet(String),
    /// An archive of something else.
    #[error("this archive is no workbook")]
    NotWorkbook,
}

/// What a file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tables {
    /// Sheet by sheet.
    pub tables: Vec<Table>,
    /// What is not read of it.
    pub unread: Vec<(Place, Unread)>,
}

/// Why a file gives no table.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// A workbook that cannot be read.
    #[error("the workbook cannot be read: {0}")]
    Workbook(#[from] WorkbookError),
    /// A workbook of Excel 97, or one with a password.
    #[error("a workbook of Excel 97, or one with a password; save it as .xlsx without a password, or as CSV")]
    OldWorkbook,
    /// No text that can be read.
    #[error(transparent)]
    Text(#[from] TextError),
}

/// Why octets are no text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// They are something else.
    #[error("it is neither text nor a workbook")]
    Binary,
    /// They are text in another encoding, of which letters with marks would be lost.
    #[error(
        "line {line} is not UTF-8, and names in it would be ruined; save it in Excel as \"CSV UTF-8 (Comma delimited)\" or as .xlsx"
    )]
    Encoding {
        /// The first line that is not.
        line: usize,
    },
}

/// The tables of a workbook or of delimited text.
///
/// # Errors
/// [`TableError`], where it is neither.
pub fn read(octets: &[u8]) -> Result<Tables, TableError> {
    if workbook::is_old(octets) {
        return Err(TableError::OldWorkbook);
    }
    if workbook::is_archive(octets) {
        return Ok(of_workbook(octets)?);
    }
    Ok(of_text(&text(octets)?))
}

/// The text in these octets: UTF-8, or UTF-16 with its mark.
///
/// # Errors
/// [`TextError`], where they are none, or in another encoding.
pub fn text(octets: &[u8]) -> Result<Cow<'_, str>, TextError> {
    let text = lossy_text(octets).ok_or(TextError::Binary)?;
    let is_wide = matches!(octets, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]);
    match std::str::from_utf8(octets) {
        Err(error) if !is_wide => {
            let before = &octets[..error.valid_up_to()];
            Err(TextError::Encoding { line: 1 + before.iter().filter(|octet| **octet == b'\n').count() })
        }
        _ => Ok(text),
    }
}

/// As [`text`], with a mark in the place of each octet that is none of it; `None` where the octets are no text.
pub fn lossy_text(octets: &[u8]) -> Option<Cow<'_, str>> {
    let wide = |octets: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = octets.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
        String::from_utf16_lossy(&units).into()
    };
    let text: Cow<'_, str> = match octets {
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest),
        octets => String::from_utf8_lossy(octets),
    };
    (!text.get(..text.floor_char_boundary(4096)).is_some_and(|head| head.contains('\0'))).then_some(text)
}

/// Whether one of the first rows is a header.
pub fn has_header(head: &str, is_header: fn(&[String]) -> bool) -> bool {
    DIVIDERS.into_iter().any(|divider| {
        head.lines().take(HEAD).any(|line| fields(line, divider).is_ok_and(|cells| is_header(&cells)))
    })
}

/// The rows of delimited text.
pub fn of_text(text: &str) -> Tables {
    let width = |divider| {
        let cells = text.lines().take(HEAD).map(|line| fields(line, divider).map_or(0, |cells| cells.len()));
        cells.max().unwrap_or(0)
    };
    let divider = DIVIDERS.into_iter().rev().max_by_key(|divider| width(*divider)).unwrap_or(DIVIDERS[0]);
    let lines: Vec<&str> = text.lines().collect();
    let (mut table, mut unread) = (Table::default(), Vec::new());
    let (mut at, mut cells_left) = (0, MAX_CELLS);
    while at < lines.len() {
        let place = table.place(at as u64 + 1);
        // What Export-Csv of Windows PowerShell says of its objects.
        if lines[at].starts_with("#TYPE ") {
            at += 1;
            continue;
        }
        let mut octets = 0;
        let fits = |line: &&&str| {
            octets += line.len();
            octets <= MAX_OCTETS
        };
        let longest = lines[at..].iter().take(MAX_LINES).take_while(fits).count();
        let whole =
            (1..=longest).find_map(|count| match fields(&lines[at..at + count].join("\n"), divider) {
                Ok(cells) => Some((count, cells)),
                Err(OpenQuote) => None,
            });
        let (count, cells) = match whole {
            Some(whole) => whole,
            None => {
                unread.push((place.clone(), Unread::OpenQuote));
                (1, Vec::new())
            }
        };
        at += count;
        match cells_left.checked_sub(cells.len()) {
            Some(left) => cells_left = left,
            None => {
                unread.push((place, Unread::TooMany));
                break;
            }
        }
        table.rows.push((place.line, cells));
    }
    Tables { tables: vec![table], unread }
}

/// The rows of a workbook, sheet by sheet.
///
/// # Errors
/// [`WorkbookError`], where it cannot be read to its end.
pub fn of_workbook(octets: &[u8]) -> Result<Tables, WorkbookError> {
    let mut sheets = Sheets { found: Tables::default(), cells_left: MAX_CELLS };
    workbook::read(octets, &mut sheets)?;
    Ok(sheets.found)
}

struct Sheets {
    found: Tables,
    cells_left: usize,
}

impl Rows for Sheets {
    fn begin_sheet(&mut self, name: &str) {
        self.found.tables.push(Table { sheet: Some(name.into()), rows: Vec::new() });
    }

    fn row(&mut self, number: u32, cells: Vec<String>) {
        let Some(table) = self.found.tables.last_mut() else { return };
        match self.cells_left.checked_sub(cells.len()) {
            Some(left) => {
                self.cells_left = left;
                table.rows.push((number.into(), cells));
            }
            None => {
                // Told once.
                if self.cells_left > 0 {
                    self.found.unread.push((table.place(number.into()), Unread::TooMany));
                }
                self.cells_left = 0;
            }
        }
    }

    fn end_sheet(&mut self) {}

    fn left_out(&mut self, what: LeftOut<'_>) {
        let unread = match what {
            LeftOut::NotWorkbook => Unread::NotWorkbook,
            LeftOut::HiddenSheet(name) => Unread::HiddenSheet(name.to_owned()),
        };
        self.found.unread.push((Place { sheet: None, line: 1 }, unread));
    }
}

/// Which columns hold what, and the rows below the header.
pub type Body<'t, R> = (Vec<(R, usize)>, &'t [Row]);

/// Splits a table at its header: which column holds what, and the rows below it.
pub fn below_header<R>(
    rows: &[Row],
    role: fn(&str) -> Option<R>,
    is_header: fn(&[String]) -> bool,
) -> Option<Body<'_, R>> {
    let at = rows.iter().take(HEAD).position(|(_, cells)| is_header(cells))?;
    let mut columns: Vec<(R, usize)> = Vec::new();
    for (column, cell) in rows[at].1.iter().enumerate() {
        if let Some(role) = role(cell) {
            columns.push((role, column));
        }
    }
    Some((columns, &rows[at + 1..]))
}

/// One line without control characters and blanks around it, of at most `most` octets; `None` where nothing is left, or only what
/// stands for nothing.
pub fn tidy(text: &str, most: usize) -> Option<String> {
    let text: String = text
        .split(|char: char| char.is_control() || char.is_whitespace())
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    let is_nothing =
        text.is_empty() || text.chars().all(|char| matches!(char, '-' | '–' | '*' | '.' | '?' | '/'));
    let text = &text[..text.floor_char_boundary(most)];
    (!is_nothing).then(|| text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::workbook::samples::{inline, workbook};
    use super::*;

    #[test]
    fn rows_tell_where_they_stand() {
        let sheet = inline(&[&["Tên máy", "IP"], &["PC-01", "10.1.2.3"]]);
        let octets = workbook("", &[("Sở Y tế", "visible", &sheet), ("x", "hidden", &sheet)]);
        let found = read(&octets).unwrap();
        assert_eq!(found.tables.len(), 1);
        assert_eq!(found.tables[0].place(2).to_string(), "Sở Y tế:2");
        assert_eq!(found.unread[0].1, Unread::HiddenSheet("x".to_owned()));
        let found = read("a;b\n\"c\nd\";e\n\"f\n".as_bytes()).unwrap();
        let rows: Vec<_> = found.tables[0].rows.iter().map(|(line, cells)| (*line, cells.len())).collect();
        assert_eq!(rows, [(1, 2), (2, 2), (4, 0)]);
        assert_eq!(found.unread, [(Place { sheet: None, line: 4 }, Unread::OpenQuote)]);
        assert!(matches!(read(b"\0\0\0"), Err(TableError::Text(TextError::Binary))));
    }

    #[test]
    fn names_in_another_encoding_are_not_ruined() {
        fn check(octets: &[u8], expected: &Result<&str, TextError>) {
            assert_eq!(&text(octets).as_deref().map_err(Clone::clone), expected, "{octets:?}");
        }
        check("Tên;IP\n".as_bytes(), &Ok("Tên;IP\n"));
        check("\u{feff}Tên".as_bytes(), &Ok("Tên"));
        let wide: Vec<u8> = "\u{feff}Tên".encode_utf16().flat_map(u16::to_le_bytes).collect();
        check(&wide, &Ok("Tên"));
        // Windows-1258, and half a letter at the end.
        check(b"IP;A\nT\xean;B\n", &Err(TextError::Encoding { line: 2 }));
        check(b"IP\n\n\xe1\xba", &Err(TextError::Encoding { line: 3 }));
        check(b"\0\xea", &Err(TextError::Binary));
    }
}
