//! Cases: one machine and one malware family, followed from the first hit until the machine is clean.
//!
//! [`lifecycle`] says what may become of a case, and never looks at a clock; [`desk`] takes what was seen and what people say and
//! keeps it in one SQLite database (`store`), which the server and the commands share; `notify` tells people. What a
//! record or a contact is, is not known here: whoever feeds the desk says who was seen, where and when. All times are
//! microseconds since 1970.

pub mod board;
pub mod class;
pub mod desk;
mod doubts;
pub mod export;
pub mod history;
pub mod lifecycle;
pub mod notify;
mod store;
pub mod ticket;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

pub use class::{Class, Classes};
pub use desk::{Desk, DeskError, Notes};
pub use lifecycle::{Course, State};
pub use ticket::Ticket;

use crate::identity::MachineId;

/// Whose case it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// A machine that somebody imported.
    Machine(MachineId),
    /// An address of which nobody says whose it is.
    Address(IpAddr),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine(id) => id.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// Why a text is no subject.
#[derive(Debug, thiserror::Error)]
#[error("neither a machine such as m-17 nor an address")]
pub struct SubjectError;

impl FromStr for Subject {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, SubjectError> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Machine(id));
        }
        text.parse::<IpAddr>().map(|it| Self::Address(it.to_canonical())).map_err(|_| SubjectError)
    }
}

/// A case's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CaseId(pub i64);

impl fmt::Display for CaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// By what a machine was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// It asked for a listed name.
    Query,
    /// It connected to the sinkhole; the number of the contact.
    Contact(u64),
    /// Somebody at it was shown the landing page.
    Visit,
    /// It asked for a name before that was listed; a search found it later.
    Find,
}

/// A machine was seen doing what a rule lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// When; of several alike within a minute, the last.
    pub time: i64,
    /// The address that it had.
    pub client: IpAddr,
    /// Who it was at that time.
    pub machine: Subject,
    /// What people call the machine, if it is known.
    pub host: Option<String>,
    /// The id of its agency.
    pub agency: Option<String>,
    /// The malware family, empty where no feed says one.
    pub family: String,
    /// What kind of trouble that is.
    pub class: Class,
    /// The name that it asked for or connected to, or the address.
    pub name: String,
    /// By what it was seen.
    pub evidence: Evidence,
    /// How many alike within a minute this stands for.
    pub count: u32,
    /// The agency's officer, who gets a case that is new.
    pub officer: Option<String>,
}

/// What a sighting did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It opened a case.
    Opened,
    /// It opened a closed case again.
    Reopened,
    /// Somebody had said that the machine is clean: it is not.
    Relapsed,
    /// It was added to a case.
    Added,
    /// The case is one of a name that is no threat (a verdict), so it only counts.
    Harmless,
    /// There are too many open cases ([`Options::most_open`]).
    Refused,
}

/// Who did something to a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// The server by itself.
    Server,
    /// Somebody at the machine, by the landing page, from this address.
    Visitor(IpAddr),
    /// A person by name.
    Person(String),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server => f.write_str("server"),
            Self::Visitor(address) => write!(f, "visitor {address}"),
            Self::Person(name) => write!(f, "person {name}"),
        }
    }
}

impl Actor {
    /// The actor that [`fmt::Display`] wrote.
    fn parse(text: &str) -> Self {
        match text.split_once(' ') {
            Some(("visitor", address)) if let Ok(address) = address.parse() => Self::Visitor(address),
            Some(("person", name)) => Self::Person(name.to_owned()),
            _ => Self::Server,
        }
    }
}

/// What was done to a case, or happened to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum What {
    /// It was opened.
    Opened,
    /// Somebody was told of it.
    Notified,
    /// Somebody says that the machine is clean.
    SaidClean,
    /// … and it was seen again, doing the same.
    Relapsed,
    /// The machine is back, asks, and does not hit.
    Watched,
    /// It was closed.
    Closed,
    /// It was opened again.
    Reopened,
    /// An officer has it.
    Assigned,
    /// Somebody noted something.
    Noted,
    /// Somebody at the machine says that the name is listed by mistake.
    SaidWrong,
    /// An analyst says what it is.
    Judged,
    /// Another case became part of it.
    Merged,
    /// An address turned out to be a machine.
    Identified,
}

/// Every step with its word in the database and in exports.
const WHATS: [(&str, What); 13] = [
    ("opened", What::Opened),
    ("notified", What::Notified),
    ("said-clean", What::SaidClean),
    ("relapsed", What::Relapsed),
    ("watched", What::Watched),
    ("closed", What::Closed),
    ("reopened", What::Reopened),
    ("assigned", What::Assigned),
    ("noted", What::Noted),
    ("said-wrong", What::SaidWrong),
    ("judged", What::Judged),
    ("merged", What::Merged),
    ("identified", What::Identified),
];

impl What {
    /// Its word in exports.
    pub fn as_str(self) -> &'static str {
        WHATS[self as usize].0
    }

    fn from_word(word: &str) -> Option<Self> {
        WHATS.iter().find(|(known, _)| *known == word).map(|(_, what)| *what)
    }
}

/// What an analyst says a case is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The machine is infected, or somebody fell for it.
    Confirmed,
    /// The name or address is no threat.
    FalsePositive,
}

impl Verdict {
    /// Its word in commands and exports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::FalsePositive => "false-positive",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::Confirmed, Self::FalsePositive].into_iter().find(|it| it.as_str() == word)
    }
}

/// A case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Its number.
    pub id: CaseId,
    /// What people read out on the telephone.
    pub ticket: Ticket,
    /// Whose it is.
    pub subject: Subject,
    /// What people call the machine.
    pub host: Option<String>,
    /// The address that it was seen at last.
    pub client: IpAddr,
    /// The id of the agency that it was seen in last.
    pub agency: Option<String>,
    /// The malware family, empty where none is known.
    pub family: String,
    /// What kind of trouble it is.
    pub class: Class,
    /// The name that was asked for or connected to last.
    pub name: String,
    /// Who looks after it.
    pub officer: Option<String>,
    /// What an analyst says that it is.
    pub verdict: Option<Verdict>,
    /// How far it is, and since when.
    pub course: Course,
    /// Queries for listed names.
    pub queries: u64,
    /// Connections to the sinkhole.
    pub contacts: u64,
}

/// A step of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// When.
    pub time: i64,
    /// Who.
    pub by: Actor,
    /// What.
    pub what: What,
    /// More about it.
    pub note: String,
}

/// What is known of a case by one kind of evidence, one address and one name within a minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// The first of them.
    pub first: i64,
    /// The last.
    pub last: i64,
    /// How many.
    pub count: u64,
    /// From this address.
    pub client: IpAddr,
    /// By what; of contacts the number of the last.
    pub evidence: Evidence,
    /// For this name.
    pub name: String,
}

/// A case with all that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseFile {
    /// The case.
    pub case: Case,
    /// Every code that leads to it: its own, and those of cases that became part of it.
    pub tickets: Vec<Ticket>,
    /// What happened to it, oldest first.
    pub steps: Vec<Step>,
    /// What was seen, oldest first; of a long list the middle is gone.
    pub traces: Vec<Trace>,
}

/// An exception that an analyst may give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Its number.
    pub id: i64,
    /// Of which case.
    pub ticket: Ticket,
    /// The name or address that would pass.
    pub name: String,
    /// The family of the case.
    pub family: String,
    /// When, by whom and why.
    pub time: i64,
    /// By whom.
    pub by: Actor,
    /// Why.
    pub reason: String,
    /// When and by whom it was set aside.
    pub declined: Option<(i64, Actor)>,
}

/// Which cases are asked for; everything that is set must fit.
#[derive(Debug, Clone, Default)]
pub struct CaseFilter {
    /// In any of these states; none: all.
    pub states: Vec<State>,
    /// Of this agency.
    pub agency: Option<String>,
    /// Of this family.
    pub family: Option<String>,
    /// Of this class.
    pub class: Option<Class>,
    /// Of infections alone.
    pub infected: Option<board::Infected>,
    /// Of this machine or address.
    pub subject: Option<Subject>,
    /// Seen at this address.
    pub client: Option<IpAddr>,
    /// Looked after by this officer.
    pub officer: Option<String>,
    /// Last seen from this time on.
    pub since: Option<i64>,
    /// Last seen before this time.
    pub until: Option<i64>,
    /// Whose machine, address, name or family has this text in it; letters of ASCII count the same in either case.
    pub text: Option<String>,
    /// About which something should have been done before these times.
    pub overdue: Option<board::Overdue>,
    /// Behind this place.
    pub after: Option<board::Behind>,
    /// At most so many, the last seen first.
    pub limit: Option<u64>,
}

/// How cases are kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// A case closes after so many days without a hit on which the machine was seen asking.
    pub quiet_days: u32,
    /// In which days begin.
    pub time_zone: jiff::tz::TimeZone,
    /// How long closed cases are kept, in microseconds.
    pub keep: i64,
    /// Most open cases: source addresses can be forged.
    pub most_open: u64,
    /// How long a new case may wait until somebody is told of it, in microseconds …
    pub tell_within: i64,
    /// … and one that was told of until somebody says that the machine is clean: then it is overdue.
    pub clean_within: i64,
    /// What tickets are made of.
    pub dice: fn() -> u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            quiet_days: 7,
            time_zone: jiff::tz::TimeZone::fixed(jiff::tz::Offset::constant(7)),
            keep: 1095 * lifecycle::DAY,
            most_open: 100_000,
            tell_within: lifecycle::DAY,
            clean_within: 7 * lifecycle::DAY,
            dice: rand::random,
        }
    }
}

#[cfg(test)]
mod tests;
