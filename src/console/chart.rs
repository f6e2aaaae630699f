//! Charts as inline SVG: bars over time, shares beside each other, a line. Drawn by classes of the style sheet, so that they follow
//! dark mode and print; what they show stands beside them as text or a table, for those who do not see them.
//!
//! Pure: numbers and words in, markup out. No style attributes: the console's policy of contents forbids them.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::parts::{self, Head};
use super::tongue::Tongue;

/// The height of a chart of bars, in its own units.
const HEIGHT: u64 = 1000;
/// The room of one bar, and the part of it that is filled.
const STEP: u64 = 100;
const WIDTH: u64 = 82;

/// A bar over a piece of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bar {
    /// Of when it is.
    pub(super) label: String,
    /// How many.
    pub(super) value: u64,
    /// … and how many of these stand out (hits).
    pub(super) part: u64,
    /// Where it leads.
    pub(super) href: Option<String>,
}

/// What a chart of [`bars`] is called.
#[derive(Debug, Clone, Copy)]
pub(super) struct Words<'a> {
    /// What the chart shows.
    pub(super) title: &'a str,
    /// What a bar stands for: "Giờ", "Ngày".
    pub(super) step: &'a str,
    /// What is counted.
    pub(super) value: &'a str,
    /// What the part is; empty: there is none.
    pub(super) part: &'a str,
}

/// Bars over time, in the order given.
pub(super) fn bars(tongue: Tongue, words: Words<'_>, bars: &[Bar]) -> Markup {
    let most = bars.iter().map(|bar| bar.value).max().unwrap_or(0);
    let scaled = |value: u64| {
        let height = (u128::from(value) * u128::from(HEIGHT) / u128::from(most.max(1))) as u64;
        // What is there shows.
        if value > 0 { height.max(12) } else { 0 }
    };
    let width = (bars.len() as u64 * STEP).max(STEP);
    let has_part = !words.part.is_empty();
    let spoken = |bar: &Bar| {
        let mut text = format!("{}: {} {}", bar.label, tongue.number(bar.value), words.value);
        if has_part {
            let _ = write!(text, ", {} {}", tongue.number(bar.part), words.part);
        }
        text
    };
    html! {
        figure.chart {
            figcaption {
                span { (words.title) }
                span.key {
                    @if has_part { span { (words.value) } span.of { (words.part) } }
                    (tongue.say("cao nhất ", "most ")) (tongue.number(most))
                }
            }
            svg viewBox={ "0 0 " (width) " " (HEIGHT) } preserveAspectRatio="none" role="group" aria-label=(words.title) {
                @for (at, bar) in (0u64..).zip(bars) {
                    @let x = at * STEP;
                    @let (height, part) = (scaled(bar.value), scaled(bar.part));
                    @let drawn = html! {
                        title { (spoken(bar)) }
                        rect.bar x=(x + (STEP - WIDTH) / 2) y=(HEIGHT - height) width=(WIDTH) height=(height) {}
                        @if part > 0 {
                            rect.part x=(x + (STEP - WIDTH) / 2) y=(HEIGHT - part) width=(WIDTH) height=(part) {}
                        }
                        // The whole column can be pointed at.
                        rect.reach x=(x) y="0" width=(STEP) height=(HEIGHT) {}
                    };
                    @match &bar.href {
                        Some(href) => a href=(href) aria-label=(spoken(bar)) { (drawn) },
                        None => g { (drawn) },
                    }
                }
            }
            @if let (Some(first), Some(last)) = (bars.first(), bars.last()) {
                div.axis aria-hidden="true" {
                    span { (first.label) }
                    @if bars.len() > 4 { span { (bars[bars.len() / 2].label) } }
                    span { (last.label) }
                }
            }
            details {
                summary { (tongue.say("Xem bảng số liệu", "Show as a table")) }
                @let rows = html! {
                    @for bar in bars {
                        tr {
                            th scope="row" { @match &bar.href { Some(href) => a href=(href) { (bar.label) }, None => (bar.label) } }
                            td.number { (tongue.number(bar.value)) }
                            @if has_part { td.number { (tongue.number(bar.part)) } }
                        }
                    }
                };
                @let heads = [Head::Text(words.step), Head::Number(words.value), Head::Number(words.part)];
                (parts::table(words.title, &heads[..if has_part { 3 } else { 2 }], &rows))
            }
        }
    }
}

/// A row of [`ranks`].
pub(super) struct Rank {
    /// What it is.
    pub(super) what: Markup,
    /// How many.
    pub(super) value: u64,
    /// Where the number leads.
    pub(super) href: Option<String>,
}

/// What is most, as a table with a bar a row.
pub(super) fn ranks(tongue: Tongue, caption: &str, what: &str, counted: &str, ranks: &[Rank]) -> Markup {
    let most = ranks.iter().map(|rank| rank.value).max().unwrap_or(0).max(1);
    let rows = html! {
        @for rank in ranks {
            tr {
                th.name scope="row" { (rank.what) }
                td.number {
                    @match &rank.href { Some(href) => a href=(href) { (tongue.number(rank.value)) }, None => (tongue.number(rank.value)) }
                }
                td.share { (share(rank.value, most)) }
            }
        }
    };
    html! {
        div.ranks {
            (parts::table(caption, &[Head::Text(what), Head::Number(counted), Head::Unseen(tongue.say("Biểu đồ", "Chart"))], &rows))
        }
    }
}

/// A bar as long as its share.
pub(super) fn share(value: u64, most: u64) -> Markup {
    let width = (u128::from(value) * 1000 / u128::from(most.max(1))).min(1000) as u64;
    let width = if value > 0 { width.max(6) } else { 0 };
    html! {
        svg viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true" focusable="false" {
            rect.bar x="0" y="0" width=(width) height="10" {}
        }
    }
}

/// A line without axes, for beside a number; `label` says what it shows.
pub(super) fn spark(label: &str, values: &[u64], live: Option<&str>) -> Markup {
    html! {
        svg.spark viewBox="0 0 100 20" preserveAspectRatio="none" role="img" aria-label=(label) {
            polyline.line points=(points(values)) data-points=[live] vector-effect="non-scaling-stroke" {}
        }
    }
}

/// The points of a [`spark`].
pub(super) fn points(values: &[u64]) -> String {
    let most = values.iter().copied().max().unwrap_or(0).max(1);
    let last = values.len().saturating_sub(1).max(1) as u64;
    let mut points = String::new();
    for (at, value) in (0u64..).zip(values) {
        let y = 19 - (u128::from(*value) * 18 / u128::from(most)) as u64;
        let _ = write!(points, "{}{},{y}", if at > 0 { " " } else { "" }, at * 100 / last);
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_is_said_too() {
        let words =
            Words { title: "Lượt chặn", step: "Giờ", value: "truy vấn", part: "lượt chặn" };
        let all = [
            Bar { label: "08:00".to_owned(), value: 4000, part: 1, href: Some("/log?x=<".to_owned()) },
            Bar { label: "09:00".to_owned(), value: 0, part: 0, href: None },
        ];
        let drawn = bars(Tongue::Vietnamese, words, &all).into_string();
        assert!(drawn.contains("08:00: 4.000 truy vấn, 1 lượt chặn"), "{drawn}");
        assert!(drawn.contains("href=\"/log?x=&lt;\""), "{drawn}");
        assert!(!drawn.contains("style="), "{drawn}");
        assert!(bars(Tongue::Vietnamese, words, &[]).into_string().contains("<svg"));
    }

    #[test]
    fn points_stay_within_the_picture() {
        assert_eq!(points(&[0, 10, 5]), "0,19 50,1 100,10");
        assert_eq!(points(&[u64::MAX]), "0,1");
        assert_eq!(points(&[]), "");
    }
}
