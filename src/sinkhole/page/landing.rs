//! The body of the landing page in one language: what happened, how sure that is, the facts, what to do, the two buttons.
//!
//! Markup only: words come from `texts`, and which of them from the kind.

use jiff::Timestamp;
use maud::{Markup, html};

use super::{Again, Kind, MAX_FAMILY, Notice, contacts, exact, rich, row, shown_host, shown_text, ticket};
use crate::sinkhole::desk::{Case, Said};
use crate::sinkhole::form::LONGEST_NOTE;
use crate::sinkhole::route::SAID_PATH;
use crate::sinkhole::texts::{Language, Texts, Tool, Wording};

pub(super) fn body(notice: &Notice<'_>, kind: Kind, texts: &Texts, language: Language) -> Markup {
    let wording = texts.wording(language);
    let message = kind.message(wording);
    let case = notice.case.map(|(case, _)| case);
    html! {
        @if notice.again.is_some() { p.remark role="alert" { (wording.stale) } }
        p { (message.lead) }
        @if let Some(case) = case { (ticket(case, wording)) }
        @if let Some(sure) = message.sure {
            h2 { (wording.sure_heading) }
            p { (rich(sure)) }
        }
        (facts(notice, wording, language))
        @if kind == Kind::Unlisted {
            p { (wording.unlisted_action) }
        } @else {
            h2 { (wording.steps_heading) }
            ol { @for step in message.steps { li { (self::step(step, &texts.tools, language)) } } }
        }
        @if let Some((case, token)) = notice.case { (said(case, token, notice.again, wording, language)) }
        div.note {
            @if case.is_none() && kind != Kind::Unlisted { p { (wording.mistake) } }
            @if texts.tools.iter().any(|tool| tool.link.is_some()) {
                p { (wording.promise_links) }
            } @else {
                p { (wording.promise) }
            }
        }
        @if kind != Kind::Unlisted {
            div.sheet { p { (wording.sheet_person) } p { (wording.sheet_officer) } }
        }
    }
}

fn facts(notice: &Notice<'_>, wording: &Wording, language: Language) -> Markup {
    let case = notice.case.map(|(case, _)| case);
    let time = |time: Timestamp| {
        let zoned = time.to_zoned_datetime(notice.time_zone.clone());
        html! { time datetime=(time) { (zoned.strftime(language.time_form())) } }
    };
    let feeds = |text: &str| html! { bdi { (shown_text(text, MAX_FAMILY)) } };
    let family = case.filter(|_| notice.is_blocked()).and_then(|case| case.family.as_deref());
    let family = family.or_else(|| notice.listing.and_then(|listing| listing.family.as_deref()));
    html! {
        table {
            caption { (wording.facts_heading) }
            @if let Some(host) = notice.host { (row(&wording.host, exact(shown_host(host)))) }
            (row(&wording.time, time(notice.time)))
            @match family {
                Some(family) => (row(&wording.family, feeds(family))),
                None if notice.listing.is_some() => (row(&wording.family, &wording.no_family)),
                None => {}
            }
            @if let Some(listing) = notice.listing { (row(&wording.feed, feeds(&listing.feed))) }
            @if let Some(machine) = case.and_then(|case| case.machine.as_deref()) {
                (row(&wording.machine, exact(shown_text(machine, MAX_FAMILY))))
            }
            (row(&wording.client, exact(notice.client.to_canonical().to_string())))
            (contacts(notice, wording))
            @if let Some(case) = case.filter(|case| case.sightings > 1) {
                @if let Ok(since) = Timestamp::from_microsecond(case.since) { (row(&wording.since, time(since))) }
                (row(&wording.sightings, case.sightings))
            }
        }
    }
}

/// What the list of tools stands in for.
const TOOLS: &str = "{tools}";

fn step(text: &str, tools: &[Tool], language: Language) -> Markup {
    let Some((before, after)) = text.split_once(TOOLS) else { return rich(text) };
    html! {
        (rich(before.trim_end()))
        ul {
            @for tool in tools {
                li {
                    strong lang="vi" { (tool.name) }
                    @if let Some(link) = &tool.link {
                        // The address itself: people compare it, and read it out.
                        " " a href=(link) rel="noreferrer noopener" { (link) }
                    }
                    @if let Some(remark) = tool.remark(language) { " – " (remark) }
                }
            }
        }
        (after)
    }
}

/// The two buttons, or what was said with one of them.
fn said(case: &Case, token: &str, again: Option<Again<'_>>, wording: &Wording, language: Language) -> Markup {
    let form = |said: Said, label: &str, button: &str| {
        let word = match said {
            Said::Clean => "clean",
            Said::Wrong => "wrong",
        };
        let id = format!("{word}-{}", language.tag());
        let note = again.filter(|again| again.said == said).and_then(|again| again.note).unwrap_or_default();
        html! {
            form method="post" action=(SAID_PATH) accept-charset="utf-8" autocomplete="off" {
                input type="hidden" name="token" value=(token);
                input type="hidden" name="ticket" value=(case.ticket);
                input type="hidden" name="language" value=(language.tag());
                label for=(id) { (label) }
                textarea id=(id) name="note" rows="2" maxlength=(LONGEST_NOTE) { (note) }
                button type="submit" name="said" value=(word) { (button) }
            }
        }
    };
    html! {
        div.said {
            h2 { (wording.said_heading) }
            @match case.said {
                Some(Said::Clean) => p.remark { (wording.said_clean) },
                Some(Said::Wrong) => p.remark { (wording.said_wrong) },
                None => p { (wording.said_lead) },
            }
            (form(Said::Clean, &wording.clean_label, &wording.clean_button))
            (form(Said::Wrong, &wording.wrong_label, &wording.wrong_button))
        }
    }
}
