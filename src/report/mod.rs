//! Reports: the figures of a period, per agency and for the province, and the files that they are sent in.
//!
//! ```text
//! evidence::store ─┐
//! cases::Desk ─────┼─► gather ─► Facts ─► figures (pure) ─► Figures ─► render ─► xlsx │ docx │ csv │ json │ html
//! identity::Book ──┘
//! ```
//!
//! Reads and never writes; whoever gathers needs no running server. What each figure means is said in `docs/report.md` and, in
//! Vietnamese, in every report (`words`). A report about one agency holds nothing of another one. Knows no settings file.

mod csv;
mod docx;
pub mod figures;
mod gather;
mod html;
mod json;
mod people;
pub mod period;
mod tally;
mod words;
mod xlsx;

use std::collections::HashMap;
use std::path::PathBuf;
use std::str::FromStr;

use crate::cases::{Classes, Desk, DeskError};
use crate::client::Agency;
use crate::evidence::store::{Store, StoreError};
use crate::identity::{Book, BookError};

pub use docx::default_template;
pub use docx::{TemplateError, fill_letter};
pub use figures::Figures;
pub use gather::gather;
pub use period::{Period, PeriodError, vietnam};

/// Whom a report is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All agencies, and the province.
    All,
    /// One agency, by its id.
    Agency(String),
}

/// Endpoint protection in an agency: imported inventories against machines that were seen asking.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Machines that were seen or are in an inventory.
    pub machines: u64,
    /// Those of them that have endpoint protection.
    pub protected: u64,
}

/// Coverage as somebody else worked it out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverages {
    /// Of the province, in which a machine counts once.
    pub province: Coverage,
    /// By the id of the agency.
    pub agencies: HashMap<String, Coverage>,
}

/// From where figures come.
pub struct Sources<'a> {
    /// The query log.
    pub store: &'a dyn Store,
    /// Cases, where there are any.
    pub desk: Option<&'a Desk>,
    /// Machines, where any are known.
    pub book: Option<&'a Book>,
    /// The agencies in the order in which they are told.
    pub agencies: &'a [Agency],
    /// Which families and feeds are of which class.
    pub classes: &'a Classes,
    /// `None` where no inventory of endpoint protection was imported.
    pub coverage: Option<&'a Coverages>,
    /// Before when the clients of queries may be hidden.
    pub anonymised_before: Option<i64>,
    /// When the report is made, microseconds since 1970.
    pub now: i64,
}

/// The form of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// A workbook.
    Xlsx,
    /// A letter.
    Docx,
    /// One table, for programs and spreadsheets.
    Csv,
    /// All of it, for programs.
    Json,
    /// One page, to be read and printed.
    Html,
}

const FORMATS: [(&str, Format); 5] = [
    ("xlsx", Format::Xlsx),
    ("docx", Format::Docx),
    ("csv", Format::Csv),
    ("json", Format::Json),
    ("html", Format::Html),
];

impl Format {
    /// Its word in settings, and the end of its files' names.
    pub fn as_str(self) -> &'static str {
        FORMATS[self as usize].0
    }
}

/// A word is no format's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("none of xlsx, docx, csv, json and html")]
pub struct FormatError;

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        FORMATS.iter().find(|(word, _)| *word == text).map(|(_, format)| *format).ok_or(FormatError)
    }
}

/// Who sends the report to whom, as the letter says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// The department that signs: `SỞ KHOA HỌC VÀ CÔNG NGHỆ`.
    pub department: String,
    /// The body above it: `ỦY BAN NHÂN DÂN TỈNH …`.
    pub parent: String,
    /// Where it is signed: `Cần Thơ`.
    pub place: String,
    /// What stands behind the number: `SKHCN-CNTT`.
    pub symbol: String,
    /// To whom it is written.
    pub addressees: Vec<String>,
    /// The office of who signs: `GIÁM ĐỐC`.
    pub signer_title: String,
    /// … and the name.
    pub signer: String,
    /// Who gets it too.
    pub recipients: Vec<String>,
}

impl Default for Letter {
    fn default() -> Self {
        Self {
            department: String::new(),
            parent: String::new(),
            place: String::new(),
            symbol: String::new(),
            addressees: Vec::new(),
            signer_title: "GIÁM ĐỐC".to_owned(),
            signer: String::new(),
            recipients: vec!["Như trên".to_owned(), "Lưu: VT".to_owned()],
        }
    }
}

/// How files are made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Who writes to whom.
    pub letter: Letter,
    /// The letter's own template, in place of the built-in one.
    pub template: Option<PathBuf>,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The log cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Cases cannot be read.
    #[error(transparent)]
    Desk(#[from] DeskError),
    /// Machines cannot be read.
    #[error(transparent)]
    Book(#[from] BookError),
    /// The period is none.
    #[error(transparent)]
    Period(#[from] PeriodError),
    /// It has not begun.
    #[error("the period begins on {0}, which is yet to come: choose days up to today")]
    NotBegun(jiff::civil::Date),
    /// Somebody had it stopped.
    #[error("stopped before the end: there is no report")]
    Stopped,
    /// The template cannot be used.
    #[error("{path}: {source}")]
    Template {
        /// Which.
        path: PathBuf,
        /// Why.
        source: TemplateError,
    },
    /// A workbook refuses what is put into it.
    #[error("making the workbook: {0}")]
    Workbook(#[from] rust_xlsxwriter::XlsxError),
}

/// Makes a file of figures.
///
/// # Errors
/// [`ReportError::Template`] of a letter, [`ReportError::Workbook`] of a workbook; the others are always made.
pub fn render(figures: &Figures, format: Format, options: &Options) -> Result<Vec<u8>, ReportError> {
    match format {
        Format::Xlsx => Ok(xlsx::render(figures, &options.letter)?),
        Format::Docx => docx::render(figures, options),
        Format::Csv => Ok(csv::render(figures)),
        Format::Json => Ok(json::render(figures)),
        Format::Html => Ok(html::render(figures, &options.letter)),
    }
}

#[cfg(test)]
mod tests;
