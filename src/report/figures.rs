//! The figures themselves: what a report says, whatever form it takes. Data only; `tally` works them out.

use jiff::civil::Date;

use super::period::Period;
use super::{Coverage, Scope};
use crate::cases::{Class, Ticket};
use crate::evidence::store::Gap;

/// What a report says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// About which days.
    pub period: Period,
    /// About whom.
    pub scope: Scope,
    /// When it was made, microseconds since 1970.
    pub made: i64,
    /// All agencies together: what two of them saw counts once. Of a report about one agency, that one.
    pub province: Row,
    /// Agencies as they are configured, then those that only the log or cases know, then what is of none.
    pub agencies: Vec<Row>,
    /// Day by day.
    pub days: Vec<Day>,
    /// The cases that the figures count, by agency, those seen last first.
    pub cases: Vec<CaseLine>,
    /// When records were not kept.
    pub gaps: Vec<Gap>,
    /// What else is not in the figures.
    pub lacks: Lacks,
}

impl Figures {
    /// The end of the period, or when the report was made, if that is earlier.
    pub fn as_of(&self) -> i64 {
        self.period.until().min(self.made)
    }
}

/// The figures of an agency, or of all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// The agency's id; `None` for all together, and for what is of none.
    pub id: Option<String>,
    /// Its name; empty for all together, and for what is of none.
    pub name: String,
    /// How many.
    pub counts: Counts,
    /// Families: those of the most machines first.
    pub families: Vec<Family>,
    /// Names that were hit most.
    pub names: Vec<NameCount>,
}

/// How many. `docs/report.md` says what each counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Machines that were seen asking.
    pub machines: u64,
    /// Queries that were recorded.
    pub queries: u64,
    /// Those of them that were hits.
    pub hits: u64,
    /// Infected machines: with a case that was opened, or that hit.
    pub infected: u64,
    /// Machines with a case from before that was still open, and did not hit.
    pub carried: u64,
    /// Those of both that somebody was told of by the end.
    pub notified: u64,
    /// … that are said to be clean, and were not belied.
    pub said_clean: u64,
    /// … all of whose cases were closed.
    pub cleaned: u64,
    /// … that were still followed: all others.
    pub remaining: u64,
    /// Machines that were clean, and infected again in the period.
    pub repeat: u64,
    /// Cases of names that are no threat.
    pub false_alarms: u64,
    /// Machines at which somebody opened a link that deceives. In none of the figures above.
    pub phishing: u64,
    /// Machines that scan. Likewise.
    pub scanning: u64,
    /// From the opening of a case until somebody was told.
    pub to_notify: Option<Times>,
    /// From the opening of a case until the machine was clean.
    pub to_clean: Option<Times>,
    /// Endpoint protection.
    pub coverage: Option<Coverage>,
}

impl Counts {
    /// All machines that were followed.
    pub fn followed(&self) -> u64 {
        self.infected + self.carried
    }

    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        *self == Self { coverage: self.coverage, ..Self::default() }
    }
}

/// How long something took, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// How often.
    pub count: u64,
    /// Half of them took no longer.
    pub median: u64,
    /// On the average.
    pub mean: u64,
}

impl Times {
    /// Of microseconds; `None` of nothing.
    pub(super) fn of(mut times: Vec<i64>) -> Option<Self> {
        times.sort_unstable();
        let count = times.len();
        let seconds = |time: i64| time.max(0).unsigned_abs() / 1_000_000;
        let middle = (*times.get(count / 2)?, *times.get((count - 1) / 2)?);
        let sum: i128 = times.iter().map(|time| i128::from(*time)).sum();
        // No more than the longest of them.
        let mean = i64::try_from(sum / count as i128).unwrap_or(i64::MAX);
        let median = i64::midpoint(middle.0, middle.1);
        Some(Self { count: count as u64, median: seconds(median), mean: seconds(mean) })
    }
}

/// A malware family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    /// Its name; empty where no feed says one. Feeds wrote it.
    pub name: String,
    /// What it is.
    pub class: Class,
    /// Machines with a case of it that was opened, or hit, in the period.
    pub machines: u64,
    /// Hits.
    pub hits: u64,
}

/// A name that was hit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameCount {
    /// As it was asked for; empty for a query that could not be read. Strangers chose it.
    pub name: String,
    /// How often.
    pub hits: u64,
}

/// A day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day {
    /// Which.
    pub date: Date,
    /// Queries of it.
    pub queries: u64,
    /// Hits among them.
    pub hits: u64,
}

/// How far a case was at the end of the period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nobody was told.
    New,
    /// Somebody was.
    Notified,
    /// Somebody says that the machine is clean.
    SaidClean,
    /// It was closed.
    Closed,
    /// The name is no threat.
    FalseAlarm,
}

/// A case that the figures count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseLine {
    /// Its ticket.
    pub ticket: Ticket,
    /// The agency's name; empty for none.
    pub agency: String,
    /// What the machine is called, or its number or address.
    pub machine: String,
    /// The address that it had last.
    pub client: String,
    /// The malware family.
    pub family: String,
    /// What it is.
    pub class: Class,
    /// The name that was asked for last.
    pub name: String,
    /// Who looks after it.
    pub officer: Option<String>,
    /// How far it was.
    pub stage: Stage,
    /// Whether it was opened or hit in the period; else it is from before.
    pub is_of_period: bool,
    /// When the machine was seen first.
    pub first_hit: i64,
    /// … and last.
    pub last_hit: i64,
    /// How often it was opened again.
    pub reopened: u32,
}

/// What the figures do not have, so that they are honest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lacks {
    /// Queries that were answered and not recorded.
    pub not_recorded: u64,
    /// Files of the log that cannot be read, or not wholly.
    pub unreadable: u64,
    /// Hits that are counted and of which no more is known: they are in no family and of no name.
    pub hits_without_detail: u64,
    /// Days with queries of which nobody knows any more who asked.
    pub days_without_machines: u32,
    /// Parts of hours whose queries are gone uncounted.
    pub uncounted: u32,
    /// Clients of old queries were hidden, so machines count once a network or a day.
    pub is_anonymised: bool,
    /// There were too many different names, or machines, to count them all.
    pub is_cut: bool,
    /// The period was not over.
    pub is_unfinished: bool,
}
