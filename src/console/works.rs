//! What the console does with feeds and rules, as it asks the running server: how feeds stand, what their versions change and would
//! have blocked, what the policy says of a name, and rules that are given and ended.
//!
//! The daemon implements it; the words for people stand here, in both languages.

use std::net::IpAddr;
use std::sync::Arc;

use super::answer::Failure;
use super::jobs::Jobs;
use super::kept::Kept;
use crate::explain::{Question, Story};
use crate::feed::store::{Changes, State};
use crate::policy::action::Action;
use crate::policy::rule::Severity;
use crate::rules::{Effect, Subject};

/// The running server's policy and feeds. Called on threads that may block.
pub trait Works: Send + Sync {
    /// What the policy in force says.
    ///
    /// # Errors
    /// [`Trouble`].
    fn explain(&self, question: &Question, lines: Lines) -> Result<Story, Trouble>;
    /// The policy in force.
    fn policy(&self) -> Policy;
    /// All feeds in configured order.
    ///
    /// # Errors
    /// [`Trouble`].
    fn feeds(&self) -> Result<Vec<Feed>, Trouble>;
    /// How a version of a feed differs from the one in force; takes as long as both are long.
    ///
    /// # Errors
    /// [`Trouble`].
    fn differences(&self, feed: &str, version: &str, most: usize) -> Result<Differences, Trouble>;
    /// Decides about a refused version; an approved one is put in force soon after.
    ///
    /// # Errors
    /// [`Trouble`]; nothing is decided then.
    fn decide(
        &self,
        feed: &str,
        version: &str,
        decision: Decision,
        by: &str,
        reason: &str,
    ) -> Result<(), Trouble>;
    /// Which queries since then would have gone another way with this version; `go_on` is told how many were looked at, and says
    /// whether anybody still wants to know.
    ///
    /// # Errors
    /// [`Trouble`].
    fn replay(
        &self,
        feed: &str,
        version: &str,
        since: i64,
        go_on: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Replayed, Trouble>;
    /// Gives rules; returns their numbers. They are in force once [`super::House::renew_rules`] was called.
    ///
    /// # Errors
    /// [`Trouble`]; none is given then.
    fn give(&self, order: &Order<'_>) -> Result<Vec<u64>, Trouble>;
    /// Takes a rule back.
    ///
    /// # Errors
    /// [`Trouble`].
    fn end(&self, rule: u64, by: &str, reason: &str) -> Result<(), Trouble>;
    /// What is being worked out.
    fn jobs(&self) -> &Arc<Jobs>;
    /// What was worked out a moment ago.
    fn kept(&self) -> &Kept;
}

/// Whether the lines of feeds are looked for, which reads these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    /// They are.
    Find,
    /// They are not.
    Leave,
}

/// The policy in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// When it was built.
    pub built_at: i64,
    /// How many names it has.
    pub names: u64,
}

/// A feed.
#[derive(Debug, Clone)]
pub struct Feed {
    /// Its name.
    pub name: Arc<str>,
    /// Where it comes from, without secrets.
    pub origin: String,
    /// Whether that is a file.
    pub is_file: bool,
    /// What its rules do.
    pub action: String,
    /// Whether its versions are judged.
    pub is_gated: bool,
    /// What the store says of its versions.
    pub state: State,
    /// Why its file cannot be read.
    pub missing: Option<String>,
    /// How its publisher is doing, where it has one that is asked.
    pub fetching: Option<Fetching>,
}

/// How a feed's publisher is doing. Times are microseconds since 1970; 0: never.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fetching {
    /// When it is asked next.
    pub next_at: i64,
    /// When it was heard last.
    pub heard_at: i64,
    /// Failures since then.
    pub failures: u32,
    /// Why the last one failed that did, and when.
    pub trouble: Option<(i64, String)>,
    /// The zone's serial number.
    pub serial: Option<u32>,
}

/// How two versions differ.
#[derive(Debug, Clone, Default)]
pub struct Differences {
    /// What only the new one has: the first of that.
    pub added: Vec<Line>,
    /// What only the old one has, likewise.
    pub removed: Vec<Line>,
    /// How many there are in all.
    pub changes: Changes,
    /// How many both have.
    pub kept: u64,
    /// The families with the most changes.
    pub families: Vec<(String, Changes)>,
}

/// An indicator that only one of two versions has.
#[derive(Debug, Clone)]
pub struct Line {
    /// `name`, `network`, `address` or `url`.
    pub kind: &'static str,
    /// What is listed.
    pub value: String,
    /// Its family.
    pub family: Option<String>,
    /// Why it would be left out.
    pub left_out: Option<String>,
}

/// What is decided about a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It is to be put in force.
    Approve,
    /// It is not.
    Reject,
}

/// What came of a replay.
#[derive(Debug, Clone, Default)]
pub struct Replayed {
    /// Queries that were looked at.
    pub queries: u64,
    /// The first and the last of them.
    pub span: Option<(i64, i64)>,
    /// Whether all were looked at.
    pub is_complete: bool,
    /// What would be blocked.
    pub blocked: Way,
    /// What would not be any more.
    pub released: Way,
}

/// Queries that would have gone one way.
#[derive(Debug, Clone, Default)]
pub struct Way {
    /// How many.
    pub queries: u64,
    /// Of how many clients.
    pub clients: u64,
    /// The most frequent names.
    pub names: Vec<Affected>,
    /// Names that are not among them.
    pub more: u64,
    /// Queries and clients of each agency; empty: of none.
    pub agencies: Vec<(String, u64, u64)>,
}

/// A name whose queries would have gone another way.
#[derive(Debug, Clone)]
pub struct Affected {
    /// The name.
    pub name: String,
    /// The feed that makes the difference, and its family.
    pub feed: String,
    /// … and its family.
    pub family: Option<String>,
    /// How many queries.
    pub queries: u64,
    /// Of at least so many clients.
    pub clients: u64,
    /// Whether it is more.
    pub has_more_clients: bool,
    /// Queries of each agency.
    pub agencies: Vec<(String, u64)>,
    /// When it was asked for last.
    pub last: i64,
}

/// Rules that somebody gives.
#[derive(Debug, Clone)]
pub struct Order<'a> {
    /// On what.
    pub subjects: Vec<Subject>,
    /// What they do.
    pub action: Action,
    /// Whether they do it.
    pub effect: Effect,
    /// For this agency alone.
    pub agency: Option<&'a str>,
    /// When they end by themselves.
    pub expires: Option<i64>,
    /// The malware family.
    pub family: Option<&'a str>,
    /// How bad it is.
    pub severity: Option<Severity>,
    /// Who gives them.
    pub by: &'a str,
    /// Why.
    pub reason: &'a str,
}

/// Why something was not done or told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// There is no such feed.
    #[error("there is no such feed")]
    NoFeed,
    /// There is no such version, or nothing is to be decided.
    #[error("there is no such version that could be decided about")]
    NoVersion,
    /// The version is in force.
    #[error("this version is in force already")]
    InForce,
    /// A block would take what nobody may lose; what, and what that is.
    #[error("{0} {1}; it is blocked only by force")]
    Guarded(String, String),
    /// A block would take a whole top-level domain.
    #[error("{0} is a whole top-level domain; it is blocked only by force")]
    TopLevel(String),
    /// An exception would let pass everything below a top-level domain or public suffix.
    #[error(
        "{0} is a top-level domain or a public suffix: no feed would act on anything below it; it passes only by force"
    )]
    Suffix(String),
    /// … or whatever leads to a large part of all addresses.
    #[error(
        "{0} is a very large network: no feed would act on whatever leads there; it passes only by force"
    )]
    Large(String),
    /// Nobody may block that address.
    #[error("{0}: {1}")]
    Address(String, String),
    /// There is no such agency.
    #[error("there is no agency {0}")]
    NoAgency(String),
    /// There are as many rules as there may be.
    #[error("there are too many rules in force: make such a long list a feed")]
    TooMany,
    /// No such rule is in force.
    #[error("no such rule is in force")]
    NoRule,
    /// Others are at it.
    #[error("others are being worked out; try again in a while")]
    Busy,
    /// Anything else, in the server's words.
    #[error("{0}")]
    Failed(String),
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        let english = trouble.to_string();
        let wrong = |field, vietnamese: String| Self::Wrong { field, vietnamese, english: english.clone() };
        match trouble {
            Trouble::NoFeed | Trouble::NoRule => Self::Absent,
            Trouble::NoVersion => {
                wrong("version", "Không có phiên bản nào như vậy cần quyết định.".to_owned())
            }
            Trouble::InForce => wrong("version", "Phiên bản này đang có hiệu lực.".to_owned()),
            Trouble::Guarded(subject, _) => wrong(
                "subjects",
                format!("{subject} được bảo vệ hoặc rất phổ biến; chỉ chặn được khi chọn “vẫn chặn”."),
            ),
            Trouble::TopLevel(subject) => wrong(
                "subjects",
                format!("{subject} là cả một tên miền cấp cao nhất; chỉ chặn được khi chọn “vẫn chặn”."),
            ),
            Trouble::Suffix(subject) => wrong(
                "subjects",
                format!(
                    "{subject} là tên miền cấp cao nhất hoặc đuôi tên miền dùng chung: cho qua thì không nguồn nào còn chặn được tên nào \
                     bên dưới; chỉ cho qua được khi chọn “vẫn cho qua”."
                ),
            ),
            Trouble::Large(subject) => wrong(
                "subjects",
                format!(
                    "{subject} là một mạng rất lớn: cho qua thì không nguồn nào còn chặn được những gì dẫn tới đó; chỉ cho qua được \
                     khi chọn “vẫn cho qua”."
                ),
            ),
            Trouble::Address(subject, _) => {
                wrong("subjects", format!("{subject}: không được chặn địa chỉ này ({english})."))
            }
            Trouble::NoAgency(agency) => wrong("agency", format!("Không có cơ quan {agency}.")),
            Trouble::TooMany => wrong(
                "subjects",
                "Đã có quá nhiều quy tắc; hãy đưa danh sách dài vào một nguồn danh sách.".to_owned(),
            ),
            Trouble::Busy => Self::Busy(10),
            Trouble::Failed(_) => Self::Refused(english),
        }
    }
}

/// Whether an address is one that explanations can be asked about instead of a name.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    text.trim().parse::<IpAddr>().ok().map(|address| address.to_canonical())
}
