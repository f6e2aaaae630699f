//! The letter: a template in whose place holders the figures are put.
//!
//! A template is a `.docx` that anybody edited, so it is a stranger's archive: parts, their octets and what comes out are
//! bounded, nothing is expanded that its XML defines, and nothing of it is run or fetched. All parts are handed on as they are but
//! for the text, headers and footers, in which [`fill`] puts what [`fields`] says. The built-in one is a few parts of XML beside this
//! file, zipped when it is needed.

mod fields;
mod fill;

use std::io::{Cursor, Read as _, Write as _};
use std::path::Path;

use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::figures::Figures;
use super::{Letter, Options, ReportError};

/// Octets of a template, as packed, and of its parts, unpacked.
const MOST_OCTETS: u64 = 16 << 20;
const MOST_UNPACKED: u64 = 64 << 20;
/// Parts of it.
const MOST_PARTS: usize = 2000;
/// Octets of a part that is filled, before and after.
const MOST_TEXT: usize = 64 << 20;

const DOCUMENT: &str = "word/document.xml";

/// The parts of the built-in template.
const PARTS: [(&str, &str); 7] = [
    ("[Content_Types].xml", include_str!("../template/content_types.xml")),
    ("_rels/.rels", include_str!("../template/rels.xml")),
    (DOCUMENT, include_str!("../template/document.xml")),
    ("word/_rels/document.xml.rels", include_str!("../template/document_rels.xml")),
    ("word/styles.xml", include_str!("../template/styles.xml")),
    ("word/settings.xml", include_str!("../template/settings.xml")),
    ("word/header1.xml", include_str!("../template/header1.xml")),
];

/// Why a template cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The system does not give it.
    #[error("{0}; write one by `sachdns report template --output FILE`, or check report.template")]
    System(#[from] std::io::Error),
    /// It is no archive, or a damaged one.
    #[error("it is no Word document (.docx), or a damaged one: {0}; save it anew as .docx")]
    Archive(#[from] ZipError),
    /// It is an archive of something else.
    #[error("it is no Word document: it has no {DOCUMENT}; save it anew as .docx")]
    NoDocument,
    /// A part is no XML.
    #[error("{part}: it is no XML that Word would write: {why}; save it anew as .docx")]
    Xml {
        /// Which.
        part: String,
        /// Why.
        why: String,
    },
    /// There is more of something than letters have.
    #[error("it has more than {0}; make it smaller")]
    TooMuch(&'static str),
    /// Nobody knows what to put there.
    #[error(
        "there is no place holder {{{{{name}}}}}{}; docs/report.md lists all, and `sachdns report template --output FILE` writes a letter with most",
        .nearest.as_ref().map_or_else(String::new, |nearest| format!(", did you mean {{{{{nearest}}}}}?"))
    )]
    Unknown {
        /// What is written there.
        name: String,
        /// The nearest known one.
        nearest: Option<String>,
    },
    /// A place holder begins and does not end in its paragraph.
    #[error(
        "\"{0}\" begins a place holder and does not end it: write both pairs of braces in one paragraph, such as {{{{so_may_nhiem}}}}"
    )]
    Open(String),
    /// Something that comes as a list stands where no row is.
    #[error("{{{{{0}}}}} stands for many: put it into a row of a table, which is then repeated")]
    NoRow(String),
    /// Two lists in one row.
    #[error("{{{{{0}}}}} and {{{{{1}}}}} are of two lists: put them into rows of their own")]
    TwoLists(String, String),
}

/// Makes the letter.
pub(super) fn render(figures: &Figures, options: &Options) -> Result<Vec<u8>, ReportError> {
    let values = fields::Values::of(figures, &options.letter);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ReportError::Template { path, source }
    };
    match &options.template {
        Some(path) => {
            let filled = read(path).and_then(|template| filled(template, &values));
            filled.map_err(failed(path))
        }
        None => filled(default_template(), &values).map_err(failed(Path::new("the built-in template"))),
    }
}

/// Fills a template that somebody made.
///
/// # Errors
/// [`TemplateError`].
pub fn fill_letter(figures: &Figures, letter: &Letter, template: Vec<u8>) -> Result<Vec<u8>, TemplateError> {
    filled(template, &fields::Values::of(figures, letter))
}

/// The built-in template, for people to edit.
pub fn default_template() -> Vec<u8> {
    let parts = PARTS.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect();
    // A few parts of ours, in memory.
    archive(parts).unwrap_or_default()
}

fn read(path: &Path) -> Result<Vec<u8>, TemplateError> {
    // Opening a pipe would wait for its other end.
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is no file").into());
    }
    let mut octets = Vec::new();
    std::fs::File::open(path)?.take(MOST_OCTETS + 1).read_to_end(&mut octets)?;
    if octets.len() as u64 > MOST_OCTETS {
        return Err(TemplateError::TooMuch("16 MiB"));
    }
    Ok(octets)
}

/// Fills a template's text, headers and footers.
fn filled(template: Vec<u8>, values: &fields::Values) -> Result<Vec<u8>, TemplateError> {
    let mut parts = unpacked(template)?;
    if !parts.iter().any(|(name, _)| name == DOCUMENT) {
        return Err(TemplateError::NoDocument);
    }
    for (name, octets) in &mut parts {
        if !has_text(name) {
            continue;
        }
        let wrong = |why: String| TemplateError::Xml { part: name.clone(), why };
        let text = std::str::from_utf8(octets).map_err(|error| wrong(error.to_string()))?;
        *octets = fill::fill(name, text, values, MOST_TEXT)?.into_bytes();
    }
    Ok(archive(parts)?)
}

/// Whether people write into this part.
fn has_text(part: &str) -> bool {
    let Some(name) = part.strip_prefix("word/").and_then(|name| name.strip_suffix(".xml")) else {
        return false;
    };
    ["document", "header", "footer", "footnotes", "endnotes"].iter().any(|start| {
        name.strip_prefix(start).is_some_and(|rest| rest.bytes().all(|octet| octet.is_ascii_digit()))
    })
}

fn unpacked(template: Vec<u8>) -> Result<Vec<(String, Vec<u8>)>, TemplateError> {
    let mut archive = ZipArchive::new(Cursor::new(template))?;
    if archive.len() > MOST_PARTS {
        return Err(TemplateError::TooMuch("2000 parts"));
    }
    let (mut parts, mut left) = (Vec::with_capacity(archive.len()), MOST_UNPACKED);
    for number in 0..archive.len() {
        let part = archive.by_index(number)?;
        if part.is_dir() {
            continue;
        }
        let name = part.name()?.into_owned();
        // Whatever it says of itself.
        let mut octets = Vec::new();
        part.take(left + 1).read_to_end(&mut octets)?;
        left = left.checked_sub(octets.len() as u64).ok_or(TemplateError::TooMuch("64 MiB unpacked"))?;
        parts.push((name, octets));
    }
    Ok(parts)
}

fn archive(parts: Vec<(String, Vec<u8>)>) -> Result<Vec<u8>, ZipError> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (name, octets) in parts {
        writer.start_file(name, options)?;
        writer.write_all(&octets)?;
    }
    Ok(writer.finish()?.into_inner())
}

#[cfg(test)]
mod tests;
