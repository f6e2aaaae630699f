//! The landing page: what a person sees in place of a malicious site.
//!
//! Facts in, HTML out: no sockets, no clock, no look-ups, and no sentence (those are in `texts`).
//! The page holds no script and fetches nothing, so that it works on any office machine, with the
//! network cable pulled, and under the strictest policy a browser enforces. Block layout only: old browsers, Internet
//! Explorer 11 among them, lay it out too. Vietnamese first, English below it; on paper a sheet for each.

mod landing;
mod outcome;

use std::net::IpAddr;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use maud::{DOCTYPE, Markup, PreEscaped, Render, html};
use sha2::{Digest as _, Sha256};

pub use outcome::Outcome;

use super::desk::{Case, Class, Said};
use super::logo::Logo;
use super::texts::{Language, Texts, Wording, is_hidden};

/// Why a host is taken for malicious. Feeds wrote it: the text may hold anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The malware family, where the feed says so.
    pub family: Option<String>,
    /// The name of the feed that lists it.
    pub feed: String,
    /// What it is listed for, where that is known.
    pub class: Class,
}

/// Who looks after the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agency {
    /// Its name, as people write it.
    pub name: String,
    /// Whom to call there: a telephone number, an address, a room.
    pub contact: Option<String>,
}

/// What one landing page tells.
#[derive(Debug, Clone)]
pub struct Notice<'a> {
    /// What the browser asked for, without port and as it sent it; hostile until shown.
    pub host: Option<&'a str>,
    /// Why the host is listed; `None` when it is not, or not any more.
    pub listing: Option<&'a Listing>,
    /// The address the request came from.
    pub client: IpAddr,
    /// Whose machine that is, if known.
    pub agency: Option<&'a Agency>,
    /// When the request came.
    pub time: Timestamp,
    /// The zone in which to tell the time.
    pub time_zone: &'a TimeZone,
    /// The case that it belongs to, and the token of the forms about it.
    pub case: Option<(&'a Case, &'a str)>,
    /// What somebody wanted to say and must say once more.
    pub again: Option<Again<'a>>,
}

impl Notice<'_> {
    /// Whether the host is listed, or was when the machine was seen with it: what was resolved for it need not be known
    /// any more.
    pub(super) fn is_blocked(&self) -> bool {
        let of_case = self.case.and_then(|(case, _)| case.name.as_deref());
        let is_of_case = of_case.zip(self.host).is_some_and(|(name, host)| name.eq_ignore_ascii_case(host));
        self.listing.is_some() || is_of_case
    }
}

/// A statement that came too late, or from an address that is not the form's any more.
#[derive(Debug, Clone, Copy)]
pub struct Again<'a> {
    /// Which.
    pub said: Said,
    /// What was written with it.
    pub note: Option<&'a str>,
}

/// How the page looks and what it says, whatever the notice.
#[derive(Debug, Clone)]
pub struct Design {
    texts: Texts,
    logo: Option<Logo>,
    policy: String,
}

const STYLE: &str = include_str!("page.css");

/// No page is longer, whatever the notice holds: slow lines and old machines show it at once.
pub const MOST_OCTETS: usize = 30_000;

/// Most characters shown of a host: a domain name has no more.
const MAX_HOST: usize = 255;
/// Most characters shown of a family, a feed's or a machine's name.
const MAX_FAMILY: usize = 80;
/// Most characters shown of an agency's name or contact.
const MAX_AGENCY: usize = 160;

/// The zone of Vietnam, from the machine's zone files or, where it has none, as the fixed offset
/// that has been in force since 1975.
pub fn vietnam() -> TimeZone {
    TimeZone::get("Asia/Ho_Chi_Minh").unwrap_or_else(|_| TimeZone::fixed(Offset::constant(7)))
}

impl Default for Design {
    /// The built-in texts, no logo.
    fn default() -> Self {
        Self::new(Texts::default(), None)
    }
}

impl Design {
    /// Has the page say `texts`, under `logo`.
    pub fn new(texts: Texts, logo: Option<Logo>) -> Self {
        // The hash is that of the style sheet (CSP level 3, section 2.3.1).
        let style = BASE64_STANDARD.encode(Sha256::digest(STYLE));
        let pictures = if logo.is_some() { "img-src data:; " } else { "" };
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{style}'; {pictures}base-uri 'none'; form-action 'self'; \
             frame-ancestors 'none'"
        );
        Self { texts, logo, policy }
    }

    /// The `Content-Security-Policy` that its pages need: this one style sheet, the logo in the page itself, the form to
    /// where the page came from, and nothing else.
    pub fn security_policy(&self) -> &str {
        &self.policy
    }

    /// Draws the page.
    pub fn landing(&self, notice: &Notice<'_>) -> String {
        let kind = Kind::of(notice);
        let part = |language| Part {
            title: kind.message(self.texts.wording(language)).title.to_owned(),
            is_done: false,
            body: landing::body(notice, kind, &self.texts, language),
        };
        self.draw(kind.tone(), Language::Vietnamese, part)
    }

    /// Draws what is answered to a statement, the language first in which it was made.
    pub fn outcome(&self, outcome: Outcome, notice: &Notice<'_>, first: Language) -> String {
        let part = |language| outcome::part(outcome, notice, self.texts.wording(language), language);
        self.draw(outcome.tone(), first, part)
    }

    /// How many octets the longest page has that can come of it; more than [`MOST_OCTETS`] are too many.
    pub fn heaviest(&self) -> usize {
        // The characters that take most octets.
        let long = "\"".repeat(MAX_HOST + MAX_AGENCY);
        let listing = |class| Listing { family: Some(long.clone()), feed: long.clone(), class };
        let agency = Agency { name: long.clone(), contact: Some(long.clone()) };
        let case = Case {
            ticket: "W".repeat(Case::LONGEST_TICKET),
            class: Class::C2,
            name: None,
            family: None,
            machine: Some(long.clone()),
            since: 0,
            sightings: u64::MAX,
            said: Some(Said::Clean),
        };
        let token = "A".repeat(64);
        let of = |class| {
            let (listing, case, zone) = (listing(class), Case { class, ..case.clone() }, vietnam());
            let notice = Notice {
                host: Some(&long),
                listing: Some(&listing),
                client: IpAddr::from([u16::MAX; 8]),
                agency: Some(&agency),
                time: Timestamp::UNIX_EPOCH,
                time_zone: &zone,
                case: Some((&case, &token)),
                again: Some(Again { said: Said::Clean, note: Some(&long) }),
            };
            self.landing(&notice).len()
        };
        [Class::C2, Class::Phishing, Class::Address, Class::Unknown]
            .into_iter()
            .map(of)
            .max()
            .unwrap_or_default()
    }

    fn draw(&self, tone: &'static str, first: Language, part: impl Fn(Language) -> Part) -> String {
        let parts = [first, first.other()].map(|language| (language, part(language)));
        html! {
            (DOCTYPE)
            html lang=(first.tag()) {
                head {
                    meta charset="utf-8";
                    // Offices switch Internet Explorer to version 7 for what looks like their intranet.
                    meta http-equiv="X-UA-Compatible" content="IE=edge";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="robots" content="noindex";
                    meta name="color-scheme" content="light dark";
                    // Old Internet Explorer calls by itself what looks like a telephone number.
                    meta name="format-detection" content="telephone=no";
                    title { (parts[0].1.title) }
                    style { (PreEscaped(STYLE)) }
                }
                body class=(tone) {
                    main {
                        @for (language, part) in &parts {
                            (self.section(*language, part, *language == first))
                        }
                    }
                }
            }
        }
        .into_string()
    }

    /// The whole page in one language.
    fn section(&self, language: Language, part: &Part, is_first: bool) -> Markup {
        let other = language.other();
        html! {
            section id=(language.tag()) lang=(language.tag()) {
                div.band {
                    div.wide {
                        p.sender {
                            a href={ "#" (other.tag()) } lang=(other.tag()) hreflang=(other.tag()) { (other.own_name()) }
                            // What it shows is said beside it. Once: it makes the page long.
                            @if is_first && let Some(logo) = &self.logo { img src=(logo.uri) alt=""; }
                            (self.texts.wording(language).sender)
                        }
                        (PreEscaped(SHIELD)) (PreEscaped(if part.is_done { DONE } else { WARNING }))
                        h1 { (part.title) }
                    }
                }
                div.wide.text { (part.body) }
            }
        }
    }
}

/// A shield, drawn in place: the page fetches no picture.
const SHIELD: &str = "<svg width=\"37\" height=\"44\" viewBox=\"0 0 37 44\" aria-hidden=\"true\" \
     focusable=\"false\"><path fill=\"none\" stroke=\"#fff\" stroke-width=\"3\" stroke-linejoin=\"round\" \
     d=\"M18.5 2.5 34.5 8v13c0 10-6.5 17-16 20.5C9 38 2.5 31 2.5 21V8z";
/// What is on it: an exclamation mark …
const WARNING: &str = "\"/><path fill=\"#fff\" d=\"M16.3 12h4.4v12.5h-4.4zM16.3 27.5h4.4v4.4h-4.4z\"/></svg>";
/// … or a tick.
const DONE: &str = "M11 21.5l5.5 5.5L26.5 16\"/></svg>";

/// The page in one language.
struct Part {
    title: String,
    is_done: bool,
    body: Markup,
}

/// What the page is about, which decides its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    C2 { is_repeated: bool },
    Phishing,
    Address,
    Listed,
    Unlisted,
}

/// From so many times on, chance is no explanation.
const REPEATED: u64 = 3;

/// The words for a kind.
struct Message<'a> {
    title: &'a str,
    lead: &'a str,
    /// `None`: nothing is suspected.
    sure: Option<&'a str>,
    steps: &'a [String],
}

impl Kind {
    fn of(notice: &Notice<'_>) -> Self {
        // The desk has seen more than this one request.
        let class = match (notice.case, notice.listing) {
            (Some((case, _)), _) if notice.is_blocked() && case.class != Class::Unknown => case.class,
            (_, Some(listing)) => listing.class,
            (Some(_), None) if notice.is_blocked() => Class::Unknown,
            // Whatever the machine did before, this name is not why the page is shown.
            (_, None) => return Self::Unlisted,
        };
        match class {
            Class::C2 => {
                Self::C2 { is_repeated: notice.case.is_some_and(|(case, _)| case.sightings >= REPEATED) }
            }
            Class::Phishing => Self::Phishing,
            Class::Address => Self::Address,
            Class::Scan | Class::Unknown => Self::Listed,
        }
    }

    fn message(self, wording: &Wording) -> Message<'_> {
        let (title, lead, sure, steps) = match self {
            Self::C2 { is_repeated: true } => {
                (&wording.c2_title, &wording.c2_lead, &wording.c2_repeated, &wording.c2_steps)
            }
            Self::C2 { is_repeated: false } => {
                (&wording.c2_title, &wording.c2_lead, &wording.c2_sure, &wording.c2_steps)
            }
            Self::Phishing => {
                let Wording { phishing_title, phishing_lead, phishing_sure, phishing_steps, .. } = wording;
                (phishing_title, phishing_lead, phishing_sure, phishing_steps)
            }
            Self::Address => {
                let Wording { address_title, address_lead, address_sure, address_steps, .. } = wording;
                (address_title, address_lead, address_sure, address_steps)
            }
            Self::Listed => {
                (&wording.listed_title, &wording.listed_lead, &wording.listed_sure, &wording.listed_steps)
            }
            Self::Unlisted => {
                let Wording { unlisted_title, unlisted_lead, .. } = wording;
                return Message { title: unlisted_title, lead: unlisted_lead, sure: None, steps: &[] };
            }
        };
        Message { title, lead, sure: Some(sure), steps }
    }

    /// The class of the body, which has its colour.
    fn tone(self) -> &'static str {
        match self {
            Self::C2 { .. } | Self::Address | Self::Listed => "grave",
            Self::Phishing => "wary",
            Self::Unlisted => "calm",
        }
    }
}

/// The code to read out.
fn ticket(case: &Case, wording: &Wording) -> Markup {
    html! {
        p.ticket {
            (wording.ticket) " "
            strong.exact { (case.ticket) }
            " " span { (wording.ticket_help) }
        }
    }
}

/// A row of facts: what it is called, and the value's markup.
fn row(name: &str, value: impl Render) -> Markup {
    html! { tr { th scope="row" { (name) } td { (value) } } }
}

fn exact(text: impl Render) -> Markup {
    html! { span.exact { (text) } }
}

/// Whom to ask.
fn contacts(notice: &Notice<'_>, wording: &Wording) -> Markup {
    let vietnamese = |text: &str| html! { bdi lang="vi" { (shown_text(text, MAX_AGENCY)) } };
    html! {
        @match notice.agency {
            Some(agency) => (row(&wording.agency, vietnamese(&agency.name))),
            None => (row(&wording.agency, &wording.no_agency)),
        }
        @if let Some(contact) = notice.agency.and_then(|agency| agency.contact.as_deref()) {
            (row(&wording.contact, vietnamese(contact)))
        }
        @if !wording.helpline.is_empty() { (row(&wording.helpline_label, &wording.helpline)) }
    }
}

/// A text whose beginning may stand between *stars*, which make it bold.
fn rich(text: &str) -> Markup {
    match text.strip_prefix('*').and_then(|rest| rest.split_once('*')) {
        Some((gist, rest)) => html! { strong { (gist) } (rest) },
        None => html! { (text) },
    }
}

/// A host with only printable ASCII as it is.
///
/// Browsers send A-labels, so nothing honest is lost, and no look-alike letter, invisible mark or
/// right-to-left override can make one name read as another.
pub(super) fn shown_host(host: &str) -> String {
    shown(host, MAX_HOST, |c| c.is_ascii_graphic())
}

/// People's text in any script, without what could hide or reorder it.
pub(super) fn shown_text(text: &str, limit: usize) -> String {
    shown(text, limit, |c| !is_hidden(c))
}

/// Shows as many characters as take the room of `limit`, the ones that are not `legible` as `\u{…}`. A character that HTML
/// escapes takes as much room as its escape, so that no text makes the page long.
fn shown(text: &str, limit: usize, legible: impl Fn(char) -> bool) -> String {
    let mut shown = String::new();
    let mut left = limit;
    for c in text.chars() {
        let is_legible = legible(c);
        let width = match c {
            _ if !is_legible => c.escape_unicode().len(),
            '"' => "&quot;".len(),
            '&' => "&amp;".len(),
            '<' | '>' => "&lt;".len(),
            _ => 1,
        };
        if width > left {
            shown.push('…');
            break;
        }
        left -= width;
        if is_legible {
            shown.push(c);
        } else {
            shown.extend(c.escape_unicode());
        }
    }
    shown
}

#[cfg(test)]
mod tests;
