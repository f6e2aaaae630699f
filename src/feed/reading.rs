//! How a feed's octets are to be read: what the configuration or the command line says of it.
//!
//! Only the choices and their words; the formats' own files follow them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::Format;
use crate::policy::rule::Severity;

/// How to read a feed, and the time at which it is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// How it is written.
    pub format: Format,
    /// Which columns of a table hold what; none: their headings or their content tells.
    pub columns: Columns,
    /// What becomes of URLs.
    pub urls: Urls,
    /// The malware family of what brings none of its own.
    pub family: Option<Arc<str>>,
    /// The severity of what brings none of its own.
    pub severity: Option<Severity>,
    /// The file's own name, without its folder: maltrail's files are named for their family.
    pub file: Option<Arc<str>>,
    /// The present, in microseconds since 1970: what ended by then is left out.
    pub now: i64,
}

/// What becomes of a URL, or of a host with a path or a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Urls {
    /// It is handed on as a URL, which no rule comes from: it says nothing about the whole host.
    #[default]
    Ignore,
    /// Its host is listed: the name itself and nothing below it, or the address.
    Host,
}

/// The word is neither of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("URLs are either \"ignore\" (counted) or \"host\" (the whole host is listed)")]
pub struct UrlsError;

impl Urls {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ignore => "ignore",
            Self::Host => "host",
        }
    }
}

impl FromStr for Urls {
    type Err = UrlsError;

    fn from_str(text: &str) -> Result<Self, UrlsError> {
        [Self::Ignore, Self::Host].into_iter().find(|urls| urls.as_str() == text).ok_or(UrlsError)
    }
}

/// Which column of a table holds what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns([Option<Column>; Role::ALL.len()]);

/// What a column of a table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// What is listed: a name, an address, a network or a URL.
    Value,
    /// What kind of thing that is.
    Type,
    /// The malware family.
    Family,
    /// How bad it is.
    Severity,
    /// When it ends.
    Expires,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Column {
    /// By its heading; case and blanks around it do not matter.
    Heading(Box<str>),
    /// By its number, from 1.
    Number(u16),
}

/// Why a text is no map of columns.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ColumnsError {
    /// What a column holds is unknown.
    #[error("no column holds {0:?}; there are value, type, family, severity and expires")]
    Role(String),
    /// Nothing in front of or behind the `=`, or none.
    #[error("{0:?} is not of the form value=HEADING or value=NUMBER")]
    Form(String),
    /// Columns are counted from 1.
    #[error("there is no column {0}; they are counted from 1 to 1000")]
    Number(String),
    /// A map that leaves out the one column without which nothing is listed.
    #[error("no column is named as value; without it nothing is listed")]
    NoValue,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [Self::Value, Self::Type, Self::Family, Self::Severity, Self::Expires];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Type => "type",
            Self::Family => "family",
            Self::Severity => "severity",
            Self::Expires => "expires",
        }
    }
}

impl FromStr for Role {
    type Err = ColumnsError;

    fn from_str(text: &str) -> Result<Self, ColumnsError> {
        let role = Self::ALL.into_iter().find(|role| role.as_str() == text);
        role.ok_or_else(|| ColumnsError::Role(text.to_owned()))
    }
}

impl Column {
    /// The last column that is looked at.
    pub const LAST: u16 = 1000;
}

impl FromStr for Column {
    type Err = ColumnsError;

    /// Reads a number from 1, or a heading.
    fn from_str(text: &str) -> Result<Self, ColumnsError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(ColumnsError::Form(text.to_owned()));
        }
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Self::Heading(text.into()));
        }
        let number = text.parse().ok().filter(|number| (1..=Self::LAST).contains(number));
        number.map(Self::Number).ok_or_else(|| ColumnsError::Number(text.to_owned()))
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Heading(heading) => f.write_str(heading),
            Self::Number(number) => number.fmt(f),
        }
    }
}

impl Columns {
    /// Whether nothing is said about any column.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// The column that holds this, if any is named.
    pub fn column(&self, role: Role) -> Option<&Column> {
        self.0[role as usize].as_ref()
    }

    /// The columns that are named, in the order of [`Role::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Role, &Column)> {
        Role::ALL.into_iter().filter_map(|role| Some((role, self.column(role)?)))
    }
}

/// Collects columns; a map that names any must name [`Role::Value`].
impl TryFrom<Vec<(Role, Column)>> for Columns {
    type Error = ColumnsError;

    fn try_from(named: Vec<(Role, Column)>) -> Result<Self, ColumnsError> {
        let mut columns = Self::default();
        for (role, column) in named {
            columns.0[role as usize] = Some(column);
        }
        if !columns.is_empty() && columns.column(Role::Value).is_none() {
            return Err(ColumnsError::NoValue);
        }
        Ok(columns)
    }
}

/// Reads `value=host,family=3`.
impl FromStr for Columns {
    type Err = ColumnsError;

    fn from_str(text: &str) -> Result<Self, ColumnsError> {
        let pair = |pair: &str| {
            let (role, column) = pair.split_once('=').ok_or_else(|| ColumnsError::Form(pair.to_owned()))?;
            Ok((role.trim().parse()?, column.parse()?))
        };
        text.split(',').map(pair).collect::<Result<Vec<_>, ColumnsError>>()?.try_into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_headings_or_numbers() {
        fn check(text: &str, expected: Result<&str, ColumnsError>) {
            let shown = text.parse::<Columns>().map(|columns| {
                let pair = |(role, column): (Role, &Column)| format!("{}={column}", role.as_str());
                columns.iter().map(pair).collect::<Vec<_>>().join(",")
            });
            assert_eq!(shown, expected.map(str::to_owned), "{text:?}");
        }
        check("value=host", Ok("value=host"));
        check("family = Mã độc , value = 2", Ok("value=2,family=Mã độc"));
        check(
            "value=1,type=2,family=3,severity=4,expires=5",
            Ok("value=1,type=2,family=3,severity=4,expires=5"),
        );
        check("family=1", Err(ColumnsError::NoValue));
        check("host=1", Err(ColumnsError::Role("host".to_owned())));
        check("value", Err(ColumnsError::Form("value".to_owned())));
        check("value=", Err(ColumnsError::Form(String::new())));
        check("value=0", Err(ColumnsError::Number("0".to_owned())));
        check("value=70000", Err(ColumnsError::Number("70000".to_owned())));
    }

    #[test]
    fn urls_are_one_of_two() {
        assert_eq!("ignore".parse(), Ok(Urls::default()));
        assert_eq!("host".parse(), Ok(Urls::Host));
        assert_eq!("block".parse::<Urls>(), Err(UrlsError));
    }
}
