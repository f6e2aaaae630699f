//! Feeds: bytes in, indicators and diagnostics out.
//!
//! One file a format. A line that cannot be read is a [`Diagnostic`] and never ends a feed; nothing
//! here decides what an indicator does to a query, and nothing is ever resolved or fetched.
//!
//! ```text
//!                      ┌─ xlsx ─────────────────────────────────────────────────────────► table ─┐
//! bytes ─► read ─► detect ─ walk (bounded JSON) ─► misp │ stix ► pattern │ records ► table ────────┼─► token ─► output
//!     gzip, size cap   └─ lines ─► plain │ hosts │ adblock │ dnsmasq │ unbound │ bind │ rpz │ ip │ ─┘
//!                                  maltrail │ text │ csv ► table
//! ```
//!
//! A listed name means itself and everything below it, except where the format says otherwise: the
//! owners of an RPZ, and `*.` in an Adblock rule. Duplicates are kept; the compiler folds them.

mod adblock;
pub mod address;
mod bind;
mod bounded;
mod csv;
mod defang;
mod detect;
mod dnsmasq;
mod fault;
mod format;
pub mod gate;
mod held;
mod hosts;
mod ip;
pub mod json;
mod maltrail;
mod master;
mod misp;
mod output;
mod pattern;
mod plain;
mod read;
mod reading;
mod records;
mod rpz;
pub mod source;
mod stix;
pub mod store;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod token;
mod unbound;
mod walk;
mod words;
mod xlsx;

use std::cell::Cell;
use std::fmt;
use std::io::Read;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::name::Name;
use crate::policy::action::Action;
use crate::policy::rule::Severity;
use crate::policy::trigger::{Scope, Trigger};
use crate::tabular::workbook;

pub use fault::Fault;
pub use format::{Format, FormatError};
pub use read::{MAX_LINE, MAX_SIZE, ReadError};
pub use reading::{Column, Columns, ColumnsError, Reading, Role, Urls, UrlsError};

pub use crate::tabular::workbook::WorkbookError;
use output::{Output, excerpt};
use read::{Content, Line, Lines};

/// Something malicious that a feed lists, with where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Indicator {
    /// What is listed.
    pub value: Value,
    /// The line it stands on, from 1.
    pub line: u64,
    /// The malware family, its own or the feed's.
    pub family: Option<Arc<str>>,
    /// How bad it is, its own or the feed's.
    pub severity: Option<Severity>,
    /// When it ends, in microseconds since 1970; never before the time of reading.
    pub expires: Option<i64>,
    /// What of a query an RPZ wants it compared with; `None` in a list, whose names are asked for.
    pub trigger: Option<Trigger>,
    /// What the feed itself asks for (an RPZ's CNAME, an Adblock exception); `None` leaves it to
    /// the feed's configured action.
    pub action: Option<Action>,
}

/// What an indicator lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A domain name and how much around it is meant.
    Name(Name, Scope),
    /// One address. An address that is listed with a port counts as this too.
    Ip(IpAddr),
    /// A network of more than one address, without host bits.
    Net(IpNet),
    /// A URL, or a host with a path or a port, as written: it says nothing about the whole host.
    Url(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name, _) => name.fmt(f),
            Self::Ip(address) => address.fmt(f),
            Self::Net(network) => network.fmt(f),
            Self::Url(url) => f.write_str(url),
        }
    }
}

/// A line that gave no indicator, though it is neither blank nor a comment, or one that ends nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The line, from 1. What concerns the whole file is said of line 1.
    pub line: u64,
    /// What is wrong with it.
    pub fault: Fault,
    /// The start of the offending text, control characters escaped, at most 80 characters.
    pub text: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.line, self.fault, self.text)
    }
}

/// Takes what a feed gives, as it is read and in the feed's order.
pub trait Sink {
    /// Takes one indicator.
    fn indicator(&mut self, indicator: Indicator);
    /// Takes the reason why a line gave none.
    fn diagnostic(&mut self, diagnostic: Diagnostic);
}

/// A sink that keeps everything in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parsed {
    /// Everything listed, duplicates included.
    pub indicators: Vec<Indicator>,
    /// Every line that gave nothing.
    pub diagnostics: Vec<Diagnostic>,
}

impl Sink for Parsed {
    fn indicator(&mut self, indicator: Indicator) {
        self.indicators.push(indicator);
    }

    fn diagnostic(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }
}

/// The longest family's name, in octets. Real ones have at most some fifty.
const MAX_FAMILY: usize = 200;

/// Whether a text can be a malware family's name: one line, at most 200 octets, all of them UTF-8.
pub fn is_family(text: &str) -> bool {
    let is_odd = |char: char| char.is_control() || char == char::REPLACEMENT_CHARACTER;
    !text.is_empty() && text.len() <= MAX_FAMILY && !text.contains(is_odd)
}

/// Reads a feed, gzip or not, to its end, and returns the format that was used.
///
/// Memory stays bounded whatever the size: one line of at most [`MAX_LINE`] octets is held, a record that
/// goes on over several lines, the indicators of an event or bundle whose family may come last (100,000 of them),
/// and of a workbook its packed file and shared texts (64 MiB each). A file that is no list at all (HTML, UTF-16, binary)
/// gives one diagnostic and no indicator; the format returned is then the one that was asked for.
///
/// # Errors
/// When the bytes end too soon or cannot be had. What was read until then is in the sink already,
/// so a caller that must not take half a feed drops it.
pub fn parse(reader: impl Read, reading: &Reading, sink: &mut dyn Sink) -> Result<Format, ReadError> {
    parse_within(reader, reading, MAX_SIZE, sink)
}

fn parse_within(
    reader: impl Read,
    reading: &Reading,
    max_size: u64,
    sink: &mut dyn Sink,
) -> Result<Format, ReadError> {
    let format = reading.format;
    let mut lines = Lines::open(reader, max_size)?;
    let may_be_workbook = matches!(format, Format::Auto | Format::Xlsx);
    if may_be_workbook && workbook::is_archive(lines.head()) {
        spreadsheet(&mut lines, &mut Output::new(reading, sink))?;
        return Ok(Format::Xlsx);
    }
    let fault = match lines.content() {
        Content::Utf16 => Some(Fault::Utf16),
        Content::Binary if may_be_workbook && workbook::is_old(lines.head()) => Some(Fault::OldWorkbook),
        Content::Binary => Some(Fault::Binary),
        Content::Markup => Some(Fault::Markup),
        Content::Text => (format == Format::Xlsx && !lines.head().is_empty()).then_some(Fault::NotWorkbook),
    };
    if let Some(fault) = fault {
        let text = excerpt(&String::from_utf8_lossy(lines.head()));
        sink.diagnostic(Diagnostic { line: 1, fault, text });
        return Ok(format);
    }
    let format = if format == Format::Auto { detect::format(lines.head()) } else { format };
    let mut out = Output::new(reading, sink);
    if matches!(format, Format::Misp | Format::Stix | Format::Json) {
        document(&mut lines, format, &mut out)?;
        return Ok(format);
    }
    let mut grammar: Box<dyn Grammar> = match format {
        // The others have no lines.
        Format::Auto | Format::Plain | Format::Xlsx | Format::Misp | Format::Stix | Format::Json => {
            Box::new(plain::read_line)
        }
        Format::Hosts => Box::new(hosts::read_line),
        Format::Adblock => Box::new(adblock::read_line),
        Format::Dnsmasq => Box::new(dnsmasq::read_line),
        Format::Unbound => Box::new(unbound::Reader::default()),
        Format::Bind => Box::new(bind::Reader::default()),
        Format::Rpz => Box::new(rpz::Reader::default()),
        Format::Csv => Box::new(csv::Reader::new(&reading.columns)),
        Format::Ip => Box::new(ip::read_line),
        Format::Maltrail => Box::new(maltrail::Reader::new(reading)),
        Format::Text => Box::new(text::read_line),
    };
    while let Some(line) = lines.next(&mut out.line)? {
        let text = match line {
            Line::Whole(text) => text,
            Line::TooLong(start) => {
                out.fault(Fault::LineTooLong, &start);
                continue;
            }
        };
        grammar.line(&text, &mut out);
    }
    grammar.end(&mut out);
    Ok(format)
}

/// Reads a spreadsheet.
fn spreadsheet(lines: &mut Lines<impl Read>, out: &mut Output<'_>) -> Result<(), ReadError> {
    let mut octets = lines.octets();
    let read = xlsx::read(&mut octets, out);
    read.map_err(|source| octets.failure(out.line).unwrap_or(ReadError::Workbook { source }))
}

/// Reads a JSON text.
fn document(lines: &mut Lines<impl Read>, format: Format, out: &mut Output<'_>) -> Result<(), ReadError> {
    if lines.head().trim_ascii().is_empty() {
        return Ok(());
    }
    if !detect::is_json(lines.head()) {
        let text = String::from_utf8_lossy(lines.head()).into_owned();
        out.line = 1;
        out.fault(Fault::NotJson, &text);
        return Ok(());
    }
    let line = Cell::new(0);
    let mut octets = lines.octets();
    let columns = out.columns();
    let walked = match format {
        Format::Misp => walk::walk(&mut octets, &line, &mut misp::Reader::new(out)),
        Format::Stix => {
            let mut reader = stix::Reader::new(out);
            let walked = walk::walk(&mut octets, &line, &mut reader);
            reader.finish();
            walked
        }
        _ => walk::walk(&mut octets, &line, &mut records::Reader::new(columns, out)),
    };
    walked
        .map_err(|source| octets.failure(line.get().saturating_sub(1)).unwrap_or(ReadError::Json { source }))
}

/// A format that is read line by line.
trait Grammar {
    /// Takes the next line, without its end.
    fn line(&mut self, line: &str, out: &mut Output<'_>);

    /// There are no more lines.
    fn end(&mut self, _out: &mut Output<'_>) {}
}

/// A format whose lines have nothing to do with each other.
impl<F: FnMut(&str, &mut Output<'_>)> Grammar for F {
    fn line(&mut self, line: &str, out: &mut Output<'_>) {
        self(line, out);
    }
}
