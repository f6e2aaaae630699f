//! What can be wrong with a zone's file, and how it is told.

use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneFault {
    /// The line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong, and the mend.
    pub problem: Problem,
}

/// What is wrong with a zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file cannot be read.
    #[error("cannot be read: {0}; relative paths start from the working directory")]
    Unreadable(String),
    /// More octets than any zone here has.
    #[error(
        "more than {limit} octets; a zone of that size belongs to a name server of its own, and a [[route]] to it"
    )]
    TooLarge {
        /// The most that is read.
        limit: u64,
    },
    /// Not a master file.
    #[error(
        "not a record: {0}; see RFC 1035, section 5, and for types without a text form RFC 3597: `TYPE731 \\# 2 abcd`"
    )]
    Syntax(String),
    /// A directive that would open another file.
    #[error("$INCLUDE {0} is not followed; put its records into this file")]
    Include(String),
    /// Another class than IN.
    #[error("class {0} is not IN; leave the class out")]
    Class(u16),
    /// A type that no zone holds.
    #[error("{0} records are in no zone; take it out")]
    Type(String),
    /// Not the zone's.
    #[error("{owner} is outside of zone {zone}; mind the final dot, or take it out")]
    Outside {
        /// Whose record it is.
        owner: String,
        /// The zone.
        zone: String,
    },
    /// No SOA record, or not at the apex.
    #[error("no SOA record at {0}; it begins the zone: `@ SOA ns1 hostmaster 1 1h 15m 1w 5m`")]
    NoSoa(String),
    /// More than one SOA record.
    #[error("a second SOA record; a zone has one, at its apex")]
    SecondSoa,
    /// No name servers.
    #[error("no NS record at {0}; name at least one server: `@ NS ns1`")]
    NoNs(String),
    /// RFC 1034, section 3.6.2.
    #[error("{0} has a CNAME record and others beside it; keep one or the others")]
    CnameAndOthers(String),
    /// More than one alias of a kind.
    #[error("{0} has two {1} records; a name has one at most")]
    Twice(String, &'static str),
    /// An RRset that no message holds.
    #[error("{0} has more {1} records than a message holds; take some out")]
    TooMany(String, String),
}

impl ZoneFault {
    pub(super) fn whole_file(problem: Problem) -> Self {
        Self { line: 0, problem }
    }

    /// What the scanner says: `LINE:COLUMN: WORDS`.
    pub(super) fn syntax(text: &str) -> Self {
        let mut parts = text.splitn(3, ':');
        let line = parts.next().and_then(|line| line.parse().ok());
        match (line, parts.nth(1)) {
            (Some(line), Some(words)) => Self { line, problem: Problem::Syntax(words.trim().to_owned()) },
            _ => Self::whole_file(Problem::Syntax(text.to_owned())),
        }
    }
}

/// Everything that is wrong with one zone; shown one fault a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneFaults {
    /// The file.
    pub path: PathBuf,
    /// The faults, first ones first.
    pub faults: Vec<ZoneFault>,
}

impl fmt::Display for ZoneFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, ZoneFault { line, problem }) in self.faults.iter().enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            write!(f, "{}:", self.path.display())?;
            if *line > 0 {
                write!(f, "{line}:")?;
            }
            write!(f, " {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ZoneFaults {}
