//! Tables with a header somewhere in their first rows.
//!
//! Which headings there are is for the formats to know.

use super::super::claim::{Batch, Fault};
use crate::tabular::delimited::{DIVIDERS, OpenQuote, fields};
use crate::tabular::workbook::{self, LeftOut, Rows, WorkbookError};

/// Rows that may stand above the header: titles, who made it, when.
const HEAD: usize = 50;
/// Lines that one record may take.
const MAX_LINES: usize = 20;
/// Octets of them.
const MAX_OCTETS: usize = 256 * 1024;
/// Cells of all rows together that are held.
const MAX_CELLS: usize = 8_000_000;

/// Rows with where they stand.
pub(super) type Table = Vec<(u64, Vec<String>)>;
/// Which columns hold what, and the rows below the header.
pub(super) type Body<'t, R> = (Vec<(R, usize)>, &'t [(u64, Vec<String>)]);

/// Whether one of the first rows is a header.
pub(super) fn has_header(head: &str, is_header: fn(&[String]) -> bool) -> bool {
    DIVIDERS.into_iter().any(|divider| {
        head.lines().take(HEAD).any(|line| fields(line, divider).is_ok_and(|cells| is_header(&cells)))
    })
}

/// The rows of delimited text.
pub(super) fn of_text(text: &str, batch: &mut Batch) -> Vec<Table> {
    let width = |divider| {
        let cells = text.lines().take(HEAD).map(|line| fields(line, divider).map_or(0, |cells| cells.len()));
        cells.max().unwrap_or(0)
    };
    let divider = DIVIDERS.into_iter().rev().max_by_key(|divider| width(*divider)).unwrap_or(DIVIDERS[0]);
    let lines: Vec<&str> = text.lines().collect();
    let mut table = Table::new();
    let (mut at, mut cells_left) = (0, MAX_CELLS);
    while at < lines.len() {
        let line = at as u64 + 1;
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
                batch.fault(line, Fault::Syntax("\"".to_owned()));
                (1, Vec::new())
            }
        };
        at += count;
        match cells_left.checked_sub(cells.len()) {
            Some(left) => cells_left = left,
            None => {
                batch.fault(line, Fault::TooMany);
                break;
            }
        }
        table.push((line, cells));
    }
    vec![table]
}

/// The rows of a workbook, sheet by sheet.
pub(super) fn of_workbook(octets: &[u8], batch: &mut Batch) -> Result<Vec<Table>, WorkbookError> {
    let mut sheets = Sheets { tables: vec![Table::new()], cells_left: MAX_CELLS, batch };
    workbook::read(octets, &mut sheets)?;
    Ok(sheets.tables)
}

struct Sheets<'b> {
    tables: Vec<Table>,
    cells_left: usize,
    batch: &'b mut Batch,
}

impl Rows for Sheets<'_> {
    fn row(&mut self, number: u32, cells: Vec<String>) {
        match (self.cells_left.checked_sub(cells.len()), self.tables.last_mut()) {
            (Some(left), Some(table)) => {
                self.cells_left = left;
                table.push((number.into(), cells));
            }
            _ => {
                self.cells_left = 0;
                self.batch.fault(number.into(), Fault::TooMany);
            }
        }
    }

    fn end_sheet(&mut self) {
        self.tables.push(Table::new());
    }

    fn left_out(&mut self, what: LeftOut<'_>) {
        let fault = match what {
            LeftOut::NotWorkbook => Fault::NoHeader,
            LeftOut::HiddenSheet(name) => Fault::HiddenSheet(name.to_owned()),
        };
        self.batch.fault(1, fault);
    }
}

/// Splits a table at its header: which column holds what, and the rows below it.
pub(super) fn below_header<R>(
    table: &[(u64, Vec<String>)],
    role: fn(&str) -> Option<R>,
    is_header: fn(&[String]) -> bool,
) -> Option<Body<'_, R>> {
    let at = table.iter().take(HEAD).position(|(_, cells)| is_header(cells))?;
    let mut columns: Vec<(R, usize)> = Vec::new();
    for (column, cell) in table[at].1.iter().enumerate() {
        if let Some(role) = role(cell) {
            columns.push((role, column));
        }
    }
    Some((columns, &table[at + 1..]))
}
