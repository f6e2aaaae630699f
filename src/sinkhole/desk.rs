//! What the landing page asks of the people who follow cases, and what it hands to them.
//!
//! A trait and its types: the daemon implements it over the case desk. No case is kept here, no page
//! drawn, and nothing of this knows how a case goes on.

use std::net::IpAddr;

use super::page::Listing;

/// Knows the cases of machines. The daemon implements it.
///
/// Called where blocking is allowed, a few calls at once; the page waits for an answer no longer than
/// two seconds and then goes out without a ticket.
pub trait Desk: Send + Sync + 'static {
    /// The case that `visit` belongs to; `None` where nobody follows one.
    ///
    /// The page mostly comes before the query's record was looked at, so this may open the case. It is
    /// asked again for each visit of the same machine, which must then find the same case.
    fn case_of(&self, visit: &Visit<'_>) -> Option<Case>;

    /// Somebody at the machine says that it was cleaned.
    ///
    /// Saying it again before anything else happened must add nothing: see [`Filed::Already`].
    ///
    /// # Errors
    /// [`DeskError`]: nothing was kept, and the page says so.
    fn said_clean(&self, statement: &Statement<'_>) -> Result<Filed, DeskError>;

    /// Somebody at the machine says that the name is listed by mistake. As [`Desk::said_clean`].
    ///
    /// # Errors
    /// [`DeskError`].
    fn said_wrong(&self, statement: &Statement<'_>) -> Result<Filed, DeskError>;
}

/// Somebody who is shown the page.
#[derive(Debug, Clone, Copy)]
pub struct Visit<'a> {
    /// When, in microseconds since 1970.
    pub time: i64,
    /// From which address.
    pub client: IpAddr,
    /// The host that was asked for, without port and as the browser sent it: any text at all.
    pub host: Option<&'a str>,
    /// Why that host is listed; `None` where it is not, or not any more.
    pub listing: Option<&'a Listing>,
}

/// What a case is about. Kinds are never added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Class {
    /// Malware on the machine asks its masters for orders.
    C2,
    /// A link led somebody there.
    Phishing,
    /// The name is not listed; the address that it leads to is.
    Address,
    /// A security product looks at listed names.
    Scan,
    /// Listed, and no more is known.
    #[default]
    Unknown,
}

/// A case, as far as the page tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// The code to read out on the phone: letters of ASCII, digits and `-`, at most [`Case::LONGEST_TICKET`].
    pub ticket: String,
    /// What it is about.
    pub class: Class,
    /// The listed name, or the address, that the machine was seen with last.
    pub name: Option<String>,
    /// The malware family, where the desk knows it better than the list does.
    pub family: Option<String>,
    /// What people call the machine, where it is known.
    pub machine: Option<String>,
    /// The first hit or contact, in microseconds since 1970.
    pub since: i64,
    /// How many hits and contacts it has.
    pub sightings: u64,
    /// What was said of it on this page.
    pub said: Option<Said>,
}

impl Case {
    /// The longest ticket that the page takes.
    pub const LONGEST_TICKET: usize = 32;
}

/// The two things that can be said on the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Said {
    /// "I have cleaned this machine".
    Clean,
    /// "This name is blocked by mistake".
    Wrong,
}

/// Something that was said on the page, by whoever sits at the machine: nobody logged in.
///
/// It came from the machine's own address, over the page's own form, within the limits on how often.
#[derive(Debug, Clone, Copy)]
pub struct Statement<'a> {
    /// The case.
    pub ticket: &'a str,
    /// When, in microseconds since 1970.
    pub time: i64,
    /// From which address.
    pub client: IpAddr,
    /// The host under whose name the page stood.
    pub host: Option<&'a str>,
    /// One line that somebody wrote with it, at most 300 characters, without control characters; hostile
    /// until shown.
    pub note: Option<&'a str>,
}

/// What became of a [`Statement`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filed {
    /// It was kept.
    Taken,
    /// The case says so already; nothing was added.
    Already,
    /// There is no such case, or it is not this machine's.
    NoCase,
}

/// A statement that could not be kept.
#[derive(Debug, thiserror::Error)]
#[error("the case desk cannot keep what was said on the landing page: {0}")]
pub struct DeskError(#[from] pub Box<dyn std::error::Error + Send + Sync>);
