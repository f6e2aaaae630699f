//! What is answered to a statement: thanks and what happens next, or that it was not kept and what to do instead.
//!
//! Markup only, as in `landing`.

use maud::html;

use super::{Notice, Part, contacts, rich, ticket};
use crate::sinkhole::desk::Said;
use crate::sinkhole::texts::{Language, Wording};

/// What became of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was kept, now or before.
    Kept(Said),
    /// Too much was said.
    TooOften,
    /// The desk failed.
    Failed,
}

impl Outcome {
    pub(super) fn tone(self) -> &'static str {
        match self {
            Self::Kept(_) => "done",
            Self::TooOften | Self::Failed => "calm",
        }
    }
}

pub(super) fn part(outcome: Outcome, notice: &Notice<'_>, wording: &Wording, language: Language) -> Part {
    let none = Vec::new();
    let (title, lead, next) = match outcome {
        Outcome::Kept(Said::Clean) => {
            (&wording.thanks_clean_title, &wording.thanks_clean_lead, &wording.thanks_clean_next)
        }
        Outcome::Kept(Said::Wrong) => {
            (&wording.thanks_wrong_title, &wording.thanks_wrong_lead, &wording.thanks_wrong_next)
        }
        Outcome::TooOften => (&wording.often_title, &wording.often_lead, &none),
        Outcome::Failed => (&wording.failed_title, &wording.failed_lead, &none),
    };
    let body = html! {
        p role="status" { (lead) }
        @if let Some((case, _)) = notice.case { (ticket(case, wording)) }
        @if !next.is_empty() {
            h2 { (wording.next_heading) }
            ol { @for step in next { li { (rich(step)) } } }
        }
        table { (contacts(notice, wording)) }
        // To the very page, not to this one, which would be posted again.
        p { a href="/" hreflang=(language.tag()) { (wording.back) } }
    };
    Part { title: title.clone(), is_done: matches!(outcome, Outcome::Kept(_)), body }
}
