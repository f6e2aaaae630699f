//! What can be wrong with a configuration, and how it is told.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::resolve::validate::anchor::AnchorProblem;
use crate::sinkhole::texts::TextProblem;

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1; `None` for the file as a whole.
    pub line: Option<usize>,
    /// The setting's full name; empty for the file as a whole.
    pub setting: String,
    /// What is wrong with it, and the mend.
    pub problem: Problem,
}

/// What is wrong with a setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file cannot be read.
    #[error("cannot be read: {0}; check the path after --config and the file's permissions")]
    Unreadable(String),
    /// Not TOML.
    #[error("not valid TOML: {0}")]
    Syntax(String),
    /// No such setting.
    #[error("no such setting; {}", .nearest.as_ref().map_or_else(|| "take it out".to_owned(), |name| format!("did you mean `{name}`?")))]
    Unknown {
        /// The nearest known one.
        nearest: Option<String>,
    },
    /// A setting of DESIGN that this release does not act on.
    #[error("this release does not act on this setting yet")]
    Unused,
    /// Another type of value.
    #[error("is {got}, but must be {expected}")]
    Type {
        /// What the value should be.
        expected: &'static str,
        /// What it is.
        got: &'static str,
    },
    /// A value that says nothing usable.
    #[error("{got:?} is not usable: {why}; write {expected}")]
    Value {
        /// The value.
        got: String,
        /// What is wrong with it.
        why: String,
        /// What it should be, with an example.
        expected: &'static str,
    },
    /// A setting that must be there.
    #[error("is missing; add it, for example `{0}`")]
    Missing(&'static str),
    /// Twice the same.
    #[error("{0:?} is there twice; keep one of the two")]
    Twice(String),
    /// A trust anchor that cannot be used.
    #[error("{0}")]
    Anchor(AnchorProblem),
    /// A text of the landing page that cannot be used.
    #[error("{0}")]
    Text(TextProblem),
    /// A landing page that would be too long.
    #[error(
        "the page would have up to {octets} octets, more than {most}; take a smaller logo, or shorten the texts"
    )]
    Heavy {
        /// How many it would have.
        octets: usize,
        /// How many it may have.
        most: usize,
    },
    /// The list of agencies that was imported.
    #[error("it cannot be read as a list of agencies: {0}; import the sheet again, or mend the file")]
    Roster(String),
    /// A file that a setting names.
    #[error("{path}: {why}; relative paths start from the working directory")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
}

impl Fault {
    pub(super) fn whole_file(path: &Path, problem: Problem) -> Self {
        Self { path: path.to_owned(), line: None, setting: String::new(), problem }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        if !self.setting.is_empty() {
            write!(f, " {}:", self.setting)?;
        }
        write!(f, " {}", self.problem)
    }
}

/// Everything that is wrong with one configuration; shown one fault a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, fault) in self.0.iter().enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
