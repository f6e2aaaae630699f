//! Why the desk did not do something, in words for whoever asked for it.

use std::path::PathBuf;

use super::{MOST_STEPS, MOST_VISITS};
use crate::cases::{CaseId, Ticket};
use crate::database::DatabaseError;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// The database cannot be used.
    #[error("{path}: cases cannot be read or written: {source}; check the disk and who owns the file")]
    Store {
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: DatabaseError,
    },
    /// There is no such case.
    #[error("no case has the ticket {0}; `sachdns case list` shows all")]
    NoCase(Ticket),
    /// There is none with this number.
    #[error("no case has the number {0}; `sachdns case list` shows all")]
    NoNumber(CaseId),
    /// It is closed.
    #[error("case {0} is closed; `sachdns case reopen` opens it again")]
    IsClosed(Ticket),
    /// It is open.
    #[error("case {0} is open")]
    IsOpen(Ticket),
    /// It was seen since.
    #[error("case {0}: the machine was seen again after that time")]
    SeenSince(Ticket),
    /// There is too much in it.
    #[error("case {0} has {MOST_STEPS} steps, and takes no more")]
    Full(Ticket),
    /// Somebody at the machine said a lot already.
    #[error(
        "case {0}: people at the machine have said {MOST_VISITS} things of it today; the rest is not kept"
    )]
    Tired(Ticket),
    /// A text is too long, empty, or has control characters.
    #[error("{what} must be one to {most} octets without control characters")]
    Text {
        /// Which.
        what: &'static str,
        /// Its bound.
        most: usize,
    },
    /// The two are of different trouble.
    #[error("{0} is {1}, {2} is {3}: cases become one only where family and class are the same")]
    Different(Ticket, String, Ticket, String),
    /// It is one case.
    #[error("both tickets are of one case")]
    Same,
    /// There is no such proposal.
    #[error("no proposal that nobody decided about has the number {0}; `sachdns case proposals` shows all")]
    NoProposal(i64),
    /// Chance gave tickets that others have.
    #[error("no free ticket was found; try again")]
    NoTicket,
}
