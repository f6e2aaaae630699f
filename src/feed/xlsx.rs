//! XLSX workbooks: each visible sheet is a table of indicators.
//!
//! Only how rows become indicators and what is left out a fault; `tabular` reads the workbook.

use std::io::Read;

use super::Fault;
use super::output::Output;
use super::table::Table;
use crate::tabular::workbook::{self, LeftOut, Rows, WorkbookError};

/// Reads every visible sheet of a workbook.
///
/// # Errors
/// Those of `reader`, which keeps them, and [`WorkbookError`].
pub(super) fn read(reader: impl Read, out: &mut Output<'_>) -> Result<(), WorkbookError> {
    let table = Table::new(out.columns());
    workbook::read(reader, &mut Sheets { table, out })
}

struct Sheets<'a, 'o> {
    table: Table<'a>,
    out: &'a mut Output<'o>,
}

impl Rows for Sheets<'_, '_> {
    fn row(&mut self, number: u32, cells: Vec<String>) {
        self.out.line = u64::from(number);
        self.table.row(cells, self.out);
    }

    fn end_sheet(&mut self) {
        self.table.end(self.out);
        self.table = Table::new(self.out.columns());
    }

    fn left_out(&mut self, what: LeftOut<'_>) {
        self.out.line = 1;
        match what {
            LeftOut::NotWorkbook => self.out.fault(Fault::NotWorkbook, ""),
            LeftOut::HiddenSheet(name) => self.out.fault(Fault::HiddenSheet, name),
        }
    }
}

#[cfg(test)]
mod tests;
