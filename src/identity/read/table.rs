//! Tables of machines: what `tabular` says of a file becomes faults of the batch.

use super::super::claim::{Batch, Fault};
use crate::tabular::table::{self, Tables, Unread};
use crate::tabular::workbook::WorkbookError;

/// The rows of delimited text.
pub(super) fn of_text(text: &str, batch: &mut Batch) -> Tables {
    told(table::of_text(text), batch)
}

/// The rows of a workbook, sheet by sheet.
pub(super) fn of_workbook(octets: &[u8], batch: &mut Batch) -> Result<Tables, WorkbookError> {
    table::of_workbook(octets).map(|tables| told(tables, batch))
}

fn told(tables: Tables, batch: &mut Batch) -> Tables {
    for (place, unread) in &tables.unread {
        let fault = match unread {
            Unread::OpenQuote => Fault::Syntax("\"".to_owned()),
            Unread::TooMany => Fault::TooMany,
            Unread::HiddenSheet(name) => Fault::HiddenSheet(name.clone()),
            Unread::NotWorkbook => Fault::NoHeader,
        };
        batch.fault(place.line, fault);
    }
    tables
}
