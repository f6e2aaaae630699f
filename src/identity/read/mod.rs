//! Files of DHCP servers and inventories, into claims: one file a format.
//!
//! ```text
//! octets ─► text (UTF-8, UTF-16) ─► kea │ isc │ dnsmasq │ windows ─┐
//!        └► workbook, delimited ─► table ─► windows │ inventory ───┴─► Batch
//! ```
//!
//! A line that cannot be read is a fault of the batch and never ends a file. Reading knows nothing of what is in the book.

mod dnsmasq;
mod inventory;
mod isc;
mod kea;
mod table;
#[cfg(test)]
mod tests;
pub mod times;
mod windows;

use std::fmt;
use std::str::FromStr;

use jiff::tz::TimeZone;

use super::claim::{Batch, Scope};
use crate::tabular::table::{self as tables, TextError, has_header, lossy_text};
use crate::tabular::workbook::{self, WorkbookError};
use times::Order;

/// Octets of a file that is read.
pub const MAX_FILE: u64 = 128 << 20;

/// How a file is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// Its content tells.
    #[default]
    Auto,
    /// Kea's lease file (memfile), of DHCPv4 or DHCPv6.
    Kea,
    /// `dhcpd.leases` of ISC dhcpd.
    Isc,
    /// `dnsmasq.leases`.
    Dnsmasq,
    /// Leases of Windows DHCP servers: `Get-DhcpServerv4Lease | Export-Csv`, or `Export-DhcpServer -Leases`.
    Windows,
    /// A table of machines: CSV or XLSX.
    Inventory,
}

/// Every format with its word.
const FORMATS: [(&str, Format); 6] = [
    ("auto", Format::Auto),
    ("kea", Format::Kea),
    ("isc", Format::Isc),
    ("dnsmasq", Format::Dnsmasq),
    ("windows", Format::Windows),
    ("inventory", Format::Inventory),
];

/// No format has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no format is called {0:?}; there are auto, kea, isc, dnsmasq, windows and inventory")]
pub struct FormatError(String);

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FORMATS[*self as usize].0)
    }
}

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let found = FORMATS.iter().find(|(word, _)| *word == text);
        found.map(|(_, format)| *format).ok_or_else(|| FormatError(text.to_owned()))
    }
}

/// How to read a file.
#[derive(Debug, Clone)]
pub struct Reading {
    /// How it is written.
    pub format: Format,
    /// When it was written.
    pub as_of: i64,
    /// In which zone its times are, where they do not say so.
    pub zone: TimeZone,
    /// In which order its dates are.
    pub dates: Order,
}

/// Why a file gives nothing at all.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is no kind of file that is known.
    #[error("what kind of file is this? Say --format kea, isc, dnsmasq, windows or inventory")]
    Unknown,
    /// A workbook that cannot be read.
    #[error("the workbook cannot be read: {0}")]
    Workbook(#[from] WorkbookError),
    /// A workbook of Excel 97, or one with a password.
    #[error("a workbook of Excel 97, or one with a password; save it as .xlsx without a password, or as CSV")]
    OldWorkbook,
    /// No text that can be read.
    #[error(transparent)]
    Text(#[from] TextError),
    /// Nothing in it is of the format that was said.
    #[error("nothing in it is what {0} writes; --format auto (or format = \"auto\") finds out what it is")]
    Foreign(&'static str),
}

/// Reads a file; tells in which format it is.
///
/// # Errors
/// [`ReadError`], where it is nothing that can be read.
pub fn read(octets: &[u8], reading: &Reading) -> Result<(Format, Batch), ReadError> {
    if workbook::is_old(octets) {
        return Err(ReadError::OldWorkbook);
    }
    if workbook::is_archive(octets) {
        let mut batch = Batch::new(Scope::Inventory);
        let tables = table::of_workbook(octets, &mut batch)?;
        inventory::read(&tables.tables, reading, &mut batch);
        return Ok((Format::Inventory, batch));
    }
    let mut text = lossy_text(octets).ok_or(TextError::Binary)?;
    let format = match reading.format {
        Format::Auto => match detect(&text) {
            Some(format) => format,
            // A heading may be what is ruined.
            None => return Err(tables::text(octets).map_or_else(ReadError::Text, |_| ReadError::Unknown)),
        },
        format => format,
    };
    // Tables are people's; an odd host name in a lease must not cost the other leases.
    if matches!(format, Format::Windows | Format::Inventory) {
        text = tables::text(octets)?;
    }
    match format {
        Format::Kea if !text.lines().any(kea::is_header) => return Err(ReadError::Foreign("Kea")),
        // A file without leases is empty, or has remarks only.
        Format::Isc if !isc::may_be(&text) => return Err(ReadError::Foreign("ISC dhcpd")),
        _ => {}
    }
    let scope = match format {
        Format::Kea | Format::Isc | Format::Auto => Scope::Log,
        Format::Dnsmasq | Format::Windows => Scope::Leases,
        Format::Inventory => Scope::Inventory,
    };
    let mut batch = Batch::new(scope);
    match format {
        Format::Auto | Format::Kea => kea::read(&text, reading, &mut batch),
        Format::Isc => isc::read(&text, reading, &mut batch),
        Format::Dnsmasq => dnsmasq::read(&text, reading, &mut batch),
        Format::Windows => windows::read(&text, reading, &mut batch),
        Format::Inventory => inventory::read(&table::of_text(&text, &mut batch).tables, reading, &mut batch),
    }
    Ok((format, batch))
}

/// In which format a text is.
fn detect(text: &str) -> Option<Format> {
    let head = &text[..text.floor_char_boundary(64 * 1024)];
    let lines = || head.lines().map(str::trim).filter(|line| !line.is_empty());
    if lines().next().is_some_and(kea::is_header) {
        return Some(Format::Kea);
    }
    if head.contains("<DHCPServer") || has_header(head, windows::is_header) {
        return Some(Format::Windows);
    }
    if lines().filter(|line| !line.starts_with('#')).take(20).any(isc::is_start) {
        return Some(Format::Isc);
    }
    if lines().take(20).any(dnsmasq::is_lease) {
        return Some(Format::Dnsmasq);
    }
    has_header(head, inventory::is_header).then_some(Format::Inventory)
}

/// Lines with their numbers, from 1.
fn numbered(text: &str) -> impl Iterator<Item = (u64, &str)> {
    (1..).zip(text.lines())
}

/// Octets in hexadecimal, with or without something between them.
fn octets(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b':' | b'-' | b' ')).collect();
    if digits.is_empty() || digits.len() % 2 == 1 || digits.len() > 512 {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    digits.chunks(2).map(|pair| Some((digit(pair[0])? << 4 | digit(pair[1])?) as u8)).collect()
}

/// A time in seconds since 1970, in microseconds.
fn of_seconds(seconds: i64) -> Option<i64> {
    seconds.checked_mul(1_000_000)
}
