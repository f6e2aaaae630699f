//! Tables as people save them: the rows of workbooks and of delimited text, and the words of headings.
//!
//! What columns hold and what a row means is for whoever reads a table.

pub mod delimited;
pub mod heading;
pub mod table;
pub mod workbook;

/// The cells of a row that are looked at.
pub const MAX_COLUMNS: usize = 1000;
