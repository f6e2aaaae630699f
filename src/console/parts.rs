//! What pages are made of: tables, badges, figures, forms, links. Each says the same thing in the same way on every page.
//!
//! Knows no store and decides nothing. What comes from outside (names, hosts, notes) is text here, and never markup; in links it is
//! percent-encoded. A colour never stands alone: a word says what it says.

use std::fmt::Write as _;
use std::net::IpAddr;

use maud::{Markup, html};

use super::access::Right;
use super::call::Call;
use super::tongue::Tongue;
use crate::cases::{Case, Class, State, Subject, Ticket, Verdict};
use crate::name;

/// How something stands, as classes of the style sheet have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// Neither well nor ill.
    Plain,
    /// Worth reading.
    Info,
    /// As it should be.
    Good,
    /// Needs somebody soon.
    Warn,
    /// Needs somebody now.
    Bad,
}

impl Tone {
    /// Its class.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Info => "info",
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

/// A path of ours with these segments and query; both are encoded. Empty values are left out.
pub(super) fn link(segments: &[&str], query: &[(&str, &str)]) -> String {
    let mut link = String::new();
    for segment in segments {
        link.push('/');
        for octet in segment.bytes() {
            if octet.is_ascii_alphanumeric() || b"-_.~:".contains(&octet) {
                link.push(char::from(octet));
            } else {
                let _ = write!(link, "%{octet:02X}");
            }
        }
    }
    if link.is_empty() {
        link.push('/');
    }
    let mut fields = url::form_urlencoded::Serializer::new(String::new());
    fields.extend_pairs(query.iter().filter(|(_, value)| !value.is_empty()));
    let fields = fields.finish();
    if fields.is_empty() { link } else { format!("{link}?{fields}") }
}

/// What a form of ours must bring back.
pub(super) fn csrf(call: &Call) -> Markup {
    html! { input type="hidden" name="csrf" value=(call.csrf); }
}

/// The head of a column.
#[derive(Debug, Clone, Copy)]
pub(super) enum Head<'a> {
    /// Of texts.
    Text(&'a str),
    /// Of numbers, which stand right.
    Number(&'a str),
    /// Of buttons and boxes: read out, not shown.
    Unseen(&'a str),
}

/// A table; `caption` says of what. `rows` are `tr`s.
pub(super) fn table(caption: &str, heads: &[Head<'_>], rows: &Markup) -> Markup {
    table_of("", caption, heads, rows)
}

/// A table that becomes a card a row on a telephone: cells say what they are by `data-label`.
pub(super) fn cards(caption: &str, heads: &[Head<'_>], rows: &Markup) -> Markup {
    table_of("cards", caption, heads, rows)
}

fn table_of(class: &str, caption: &str, heads: &[Head<'_>], rows: &Markup) -> Markup {
    html! {
        // What scrolls must be reachable by keyboard (WCAG 2.1.1), and so has a name.
        div.scroll role="region" aria-label=(caption) tabindex="0" {
            table class=[(!class.is_empty()).then_some(class)] {
                caption.hidden { (caption) }
                thead { tr {
                    @for head in heads {
                        @match head {
                            Head::Text(text) => th scope="col" { (text) },
                            Head::Number(text) => th.number scope="col" { (text) },
                            Head::Unseen(text) => th scope="col" { span.hidden { (text) } },
                        }
                    }
                } }
                tbody { (rows) }
            }
        }
    }
}

/// Leads to the first page and, where there is more, to the next: `after` is the place behind the last row shown.
pub(super) fn pager(call: &Call, shown: usize, after: Option<&str>) -> Markup {
    let tongue = call.tongue;
    let first = call.query.find("after").is_some();
    html! {
        nav.pager aria-label=(tongue.say("Trang", "Pages")) {
            span.soft { (tongue.number(shown as u64)) (tongue.say(" dòng", " rows")) }
            @if first {
                a href=(here(call, "after", None)) { (tongue.say("« Trang đầu", "« First page")) }
            }
            @if let Some(after) = after {
                a.button.second rel="next" href=(here(call, "after", Some(after))) { (tongue.say("Trang sau »", "Next page »")) }
            }
        }
    }
}

/// This page with one field of its query set, or taken out.
pub(super) fn here(call: &Call, name: &str, value: Option<&str>) -> String {
    let query = call.query.with(name, value);
    if query.is_empty() { call.path.clone() } else { format!("{}?{query}", call.path) }
}

/// Links that save what is shown: `path` answers to this page's query with `format=csv` and `format=jsonl`.
pub(super) fn export(call: &Call, path: &str) -> Markup {
    let query = |format| call.query.with("format", Some(format));
    html! {
        span.export {
            span.soft { (call.tongue.say("Tải về:", "Save as:")) }
            a href={ (path) "?" (query("csv")) } { "CSV" }
            a href={ (path) "?" (query("jsonl")) } { "JSON" }
        }
    }
}

/// A form that narrows the page by GET. The path is the page's own.
pub(super) fn filters(call: &Call, fields: &Markup) -> Markup {
    html! {
        form.filters method="get" action=(call.path) role="search" {
            (fields)
            div.do {
                button { (call.tongue.say("Lọc", "Filter")) }
                @if call.query.iter().any(|(key, value)| key != "language" && !value.is_empty()) {
                    a href=(call.path) { (call.tongue.say("Bỏ lọc", "Clear")) }
                }
            }
        }
    }
}

/// A text field of [`filters`], with what was asked for.
pub(super) fn field(call: &Call, name: &str, label: &str, example: &str) -> Markup {
    html! {
        label { (label)
            input type="text" name=(name) value=[call.query.find(name)] placeholder=(example) autocomplete="off" spellcheck="false";
        }
    }
}

/// A choice of [`filters`]: values and what they are called; the empty value, for all, comes first by itself.
pub(super) fn choice<'a>(
    call: &Call,
    name: &str,
    label: &str,
    all: &str,
    choices: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Markup {
    let chosen = call.query.find(name);
    html! {
        label { (label)
            select name=(name) {
                option value="" { (all) }
                @for (value, called) in choices {
                    option value=(value) selected[chosen == Some(value)] { (called) }
                }
            }
        }
    }
}

/// A box of [`filters`] that is ticked or not.
pub(super) fn tick(call: &Call, name: &str, label: &str) -> Markup {
    html! {
        label.check {
            input type="checkbox" name=(name) value="1" checked[call.query.find(name) == Some("1")];
            (label)
        }
    }
}

/// The agencies as a choice of [`filters`]; nothing for somebody who sees one agency only.
pub(super) fn agency_choice(call: &Call) -> Markup {
    if call.viewer.as_ref().is_none_or(|viewer| viewer.agency().is_some()) {
        return html! {};
    }
    let agencies = call.house.agencies();
    let tongue = call.tongue;
    choice(
        call,
        "agency",
        tongue.say("Cơ quan", "Agency"),
        tongue.say("Tất cả", "All"),
        agencies.iter().map(|agency| (&*agency.id, &*agency.name)),
    )
}

/// A word with a colour and a mark.
pub(super) fn badge(tone: Tone, text: &str) -> Markup {
    html! { span class={ "badge " (tone.class()) } { (text) } }
}

/// A case's state in words.
pub(super) fn state_text(tongue: Tongue, state: State) -> &'static str {
    match state {
        State::New => tongue.say("Mới", "New"),
        State::Notified => tongue.say("Đã thông báo", "Notified"),
        State::Cleaned => tongue.say("Báo đã làm sạch", "Said clean"),
        State::Watched => tongue.say("Đang theo dõi", "Watched"),
        State::Closed => tongue.say("Đã đóng", "Closed"),
    }
}

/// A case's state.
pub(super) fn state(tongue: Tongue, state: State) -> Markup {
    let tone = match state {
        State::New => Tone::Bad,
        State::Notified => Tone::Warn,
        State::Cleaned | State::Watched => Tone::Info,
        State::Closed => Tone::Good,
    };
    badge(tone, state_text(tongue, state))
}

/// A class in words.
pub(super) fn class_text(tongue: Tongue, class: Class) -> &'static str {
    match class {
        Class::C2 => tongue.say("Mã độc (C2)", "Malware (C2)"),
        Class::Phishing => tongue.say("Lừa đảo", "Phishing"),
        Class::Address => tongue.say("Địa chỉ độc hại", "Listed address"),
        Class::Scan => tongue.say("Dò quét", "Scan"),
        Class::Unknown => tongue.say("Chưa rõ", "Unknown"),
    }
}

/// A class.
pub(super) fn class(tongue: Tongue, class: Class) -> Markup {
    let tone = match class {
        Class::C2 => Tone::Bad,
        Class::Phishing | Class::Address => Tone::Warn,
        Class::Scan | Class::Unknown => Tone::Plain,
    };
    badge(tone, class_text(tongue, class))
}

/// What an analyst said.
pub(super) fn verdict(tongue: Tongue, verdict: Verdict) -> Markup {
    match verdict {
        Verdict::Confirmed => badge(Tone::Bad, tongue.say("Đã xác nhận", "Confirmed")),
        Verdict::FalsePositive => badge(Tone::Plain, tongue.say("Nhận diện nhầm", "False positive")),
    }
}

/// A number with what it counts; a link leads to what was counted.
pub(super) fn figure(tone: Tone, value: &str, label: &str, more: &str, href: Option<&str>) -> Markup {
    let inner = html! {
        span.value { (value) }
        span.label { (label) }
        @if !more.is_empty() { span.more { (more) } }
    };
    html! {
        li class={ "figure " (tone.class()) } {
            @match href {
                Some(href) => a href=(href) { (inner) },
                None => (inner),
            }
        }
    }
}

/// Figures side by side.
pub(super) fn figures(all: &Markup) -> Markup {
    html! { ul.figures { (all) } }
}

/// A part of a page under its own heading.
pub(super) fn card(title: &str, aside: &Markup, body: &Markup) -> Markup {
    html! { section.card { header { h2 { (title) } div { (aside) } } (body) } }
}

/// Where there is nothing: that it is so, and what to do next.
pub(super) fn empty(what: &str, next: &Markup) -> Markup {
    html! { div.empty { strong { (what) } (next) } }
}

/// Something to be told; what is bad is read out at once.
pub(super) fn notice(tone: Tone, text: &Markup) -> Markup {
    let role = if tone == Tone::Bad { "alert" } else { "status" };
    html! { div class={ "notice " (tone.class()) } role=(role) { (text) } }
}

/// What was just done, by `?done=`: only what is in this list is ever said.
pub(super) fn done(call: &Call, texts: &[(&str, &str, &str)]) -> Markup {
    let said = call.query.find("done").and_then(|code| texts.iter().find(|(known, ..)| *known == code));
    html! {
        @if let Some((_, vietnamese, english)) = said {
            (notice(Tone::Good, &html! { (call.tongue.say(vietnamese, english)) }))
        }
    }
}

/// A time as people there write it; how long ago shows where a pointer rests.
pub(super) fn time(call: &Call, time: i64) -> Markup {
    stamp(time, &call.tongue.time(time), &ago_text(call.tongue, call.now, time))
}

/// How long ago; the time itself shows where a pointer rests.
pub(super) fn ago(call: &Call, time: i64) -> Markup {
    stamp(time, &ago_text(call.tongue, call.now, time), &call.tongue.time(time))
}

/// The day of a time.
pub(super) fn day(call: &Call, time: i64) -> Markup {
    stamp(time, &call.tongue.day(time), &ago_text(call.tongue, call.now, time))
}

fn stamp(time: i64, text: &str, title: &str) -> Markup {
    let machine = jiff::Timestamp::from_microsecond(time).map(|time| time.to_string()).unwrap_or_default();
    html! { time.nowrap datetime=(machine) title=(title) { (text) } }
}

/// How long ago, or how soon, in words.
pub(super) fn ago_text(tongue: Tongue, now: i64, time: i64) -> String {
    let span = span_text(tongue, now.saturating_sub(time).saturating_abs());
    if time > now {
        tongue.say(format!("sau {span} nữa"), format!("in {span}"))
    } else {
        tongue.say(format!("{span} trước"), format!("{span} ago"))
    }
}

/// A length of time (microseconds) in its largest unit.
pub(super) fn span_text(tongue: Tongue, span: i64) -> String {
    const UNITS: [(i64, &str, &str); 4] =
        [(86_400, "ngày", "day"), (3600, "giờ", "hour"), (60, "phút", "minute"), (1, "giây", "second")];
    let seconds = (span / 1_000_000).max(0);
    let (unit, vietnamese, english) =
        UNITS.into_iter().find(|(unit, ..)| seconds >= *unit).unwrap_or(UNITS[3]);
    let count = seconds / unit;
    let plural = if count == 1 { "" } else { "s" };
    tongue.say(format!("{count} {vietnamese}"), format!("{count} {english}{plural}"))
}

/// An agency, by its name; one that is no longer configured by its id.
pub(super) fn agency(call: &Call, id: Option<&str>) -> Markup {
    let Some(id) = id else { return html! { span.soft { "—" } } };
    let agencies = call.house.agencies();
    let name = agencies.iter().find(|agency| &*agency.id == id).map_or(id, |agency| &agency.name);
    html! { a href=(link(&["agencies", id], &[])) { (name) } }
}

/// A machine or an address, with what people call it.
pub(super) fn machine(subject: &Subject, host: Option<&str>) -> Markup {
    let id = subject.to_string();
    html! {
        a href=(link(&["machines", &id], &[])) { (host.unwrap_or(&id)) }
        @if host.is_some() { " " span.soft.small.nowrap { (id) } }
    }
}

/// An address that asked.
pub(super) fn client(address: IpAddr) -> Markup {
    let address = address.to_canonical().to_string();
    html! { a.mono href=(link(&["machines", &address], &[])) { (address) } }
}

/// A case, by its code.
pub(super) fn ticket(ticket: Ticket) -> Markup {
    let code = ticket.to_string();
    html! { a.mono.nowrap href=(link(&["cases", &code], &[])) { (code) } }
}

/// Whose case it is.
pub(super) fn case_machine(case: &Case) -> Markup {
    machine(&case.subject, case.host.as_deref())
}

/// A qname as people write it.
pub(super) fn name_text(wire: &[u8]) -> String {
    name::Name::from_wire(wire).map_or_else(String::new, |name| name.to_string())
}

/// A qname that leads to what the policy says of it or, for who sees one agency only, to who asked for it there.
pub(super) fn qname(call: &Call, name: &str) -> Markup {
    let sees_policy = call.viewer.as_ref().is_some_and(|viewer| viewer.may(Right::SeeProvince));
    let place = if sees_policy { "policy" } else { "log" };
    html! { a.name href=(link(&[place], &[("name", name)])) { (name) } }
}

/// A family, or that none is known.
pub(super) fn family(tongue: Tongue, family: &str) -> Markup {
    html! {
        @if family.is_empty() { span.soft { (tongue.say("chưa rõ", "unknown")) } } @else { (family) }
    }
}

/// What a [`confirm`] asks and does.
pub(super) struct Confirm<'a> {
    /// Where it posts to.
    pub(super) action: &'a str,
    /// On the button.
    pub(super) button: &'a str,
    /// The label of a required reason; `None`: nobody asks why.
    pub(super) reason: Option<&'a str>,
    /// Whether it takes something away.
    pub(super) is_danger: bool,
}

/// A form that does something; `fields` are more of its fields.
pub(super) fn confirm(call: &Call, confirm: &Confirm<'_>, fields: &Markup) -> Markup {
    html! {
        form.inline method="post" action=(confirm.action) {
            (csrf(call))
            (fields)
            @if let Some(reason) = confirm.reason {
                label { (reason) input type="text" name="reason" required maxlength="500"; }
            }
            button class=[confirm.is_danger.then_some("danger")] { (confirm.button) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::access::Role;
    use crate::console::tests::{self, Scratch};

    #[test]
    fn links_are_encoded() {
        assert_eq!(link(&[], &[]), "/");
        assert_eq!(link(&["machines", "fd00::1"], &[("a", "")]), "/machines/fd00::1");
        assert_eq!(
            link(&["agencies", "a/../\"<x>"], &[("name", "đ&\"<")]),
            "/agencies/a%2F..%2F%22%3Cx%3E?name=%C4%91%26%22%3C"
        );
    }

    #[test]
    fn spans_are_told_in_their_largest_unit() {
        let check = |seconds: i64, vietnamese, english| {
            let span = seconds * 1_000_000;
            assert_eq!(span_text(Tongue::Vietnamese, span), vietnamese);
            assert_eq!(span_text(Tongue::English, span), english);
        };
        check(0, "0 giây", "0 seconds");
        check(60, "1 phút", "1 minute");
        check(7199, "1 giờ", "1 hour");
        check(3 * 86_400, "3 ngày", "3 days");
        assert_eq!(ago_text(Tongue::Vietnamese, 0, 60_000_000), "sau 1 phút nữa");
        assert_eq!(ago_text(Tongue::English, 60_000_000, 0), "1 minute ago");
    }

    #[test]
    fn what_comes_from_outside_is_text() {
        let scratch = Scratch::empty();
        let shown = |viewer| {
            qname(&scratch.call(Some(viewer), "/log", &[]), "<script>alert(1)</script>").into_string()
        };
        let (analyst, officer) = (shown(tests::viewer(Role::Analyst)), shown(tests::officer(0)));
        assert!(!analyst.contains("<script"), "{analyst}");
        assert!(analyst.contains("/policy?name=%3Cscript%3E"), "{analyst}");
        // What the policy says is not an officer's to see: the link leads where it may go.
        assert!(officer.contains("/log?name=%3Cscript%3E"), "{officer}");
    }
}
