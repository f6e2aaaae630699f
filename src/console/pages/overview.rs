//! What is infected, what is new, what is overdue, and whether the service is well: in ten seconds.

use maud::{Markup, html};
use serde_json::json;

use super::super::access::Right;
use super::super::alerts::{self, Alert};
use super::super::answer::{Failure, Reply};
use super::super::call::Call;
use super::super::chart::{self, Bar, Rank, Words};
use super::super::data::Data;
use super::super::data::look::{DAY, HOUR, Rates};
use super::super::parts::{self, Head, Tone};
use super::super::routes::{Needs, Route, get};
use super::super::shell;
use super::super::tongue::{Tongue, vietnam};
use super::log::{exact, hits_link, hour_of};
use crate::cases::{Case, CaseFilter, Class, State};
use crate::evidence::store::{By, Count, Filter, Kind};
use crate::metrics::Condition;

pub(in crate::console) static ROUTES: &[Route] =
    &[get("/", Needs::Right(Right::See), page), get("/live", Needs::Right(Right::See), live)];

/// Rows of what is most.
const MOST: usize = 8;

fn page(call: &Call) -> Result<Reply, Failure> {
    let tongue = call.tongue;
    let data = call.data()?;
    let viewer = call.viewer()?;
    let alerts = alerts::all(call)?;
    let hour = hour_of(call.now);
    let of = |since| Filter { since: Some(since), kind: Kind::Hits, ..Filter::default() };
    let day_families = data.counted(&of(hour - DAY), By::Family)?;
    let week_families = data.counted(&of(hour - 7 * DAY), By::Family)?;
    let tally = call.house.desk()?.tally(
        &CaseFilter { agency: viewer.agency().map(str::to_owned), ..CaseFilter::default() },
        call.now,
    )?;
    let new = data.cases(&CaseFilter {
        states: vec![State::New],
        limit: Some(MOST as u64),
        ..CaseFilter::default()
    })?;
    let infected = infected(call, &data)?;
    let hits: u64 = day_families.iter().map(|count| count.count).sum();
    let doubted = data.doubted(500)?;
    let worst = alerts.first().map_or(Tone::Good, |alert| alert.tone);
    let body = html! {
        @if let Some(own) = viewer.agency() {
            p.soft { (tongue.say("Chỉ gồm số liệu của ", "Figures of ")) (parts::agency(call, Some(own))) (tongue.say(".", " only.")) }
        }
        (parts::figures(&html! {
            (parts::figure(
                if infected > 0 { Tone::Bad } else { Tone::Good }, &tongue.number(infected),
                tongue.say("Máy đang nhiễm", "Infected machines"), tongue.say("có ca nhiễm đang mở", "with an open case of an infection"),
                Some("/cases?class=infection"),
            ))
            (parts::figure(
                if tally.of(State::New) > 0 { Tone::Warn } else { Tone::Good }, &tongue.number(tally.of(State::New)),
                tongue.say("Ca mới", "New cases"), tongue.say("chưa thông báo", "nobody told yet"), Some("/cases?state=new"),
            ))
            (parts::figure(
                if tally.overdue > 0 { Tone::Bad } else { Tone::Good }, &tongue.number(tally.overdue),
                tongue.say("Ca quá hạn", "Overdue cases"), tongue.say("chưa báo hoặc chưa trả lời", "untold or unanswered"), Some("/cases?overdue=1"),
            ))
            (parts::figure(
                if doubted.is_empty() { Tone::Plain } else { Tone::Warn }, &tongue.number(doubted.len() as u64),
                tongue.say("Báo “chặn nhầm”", "“This is wrong”"), tongue.say("chờ kết luận", "to be judged"),
                doubted.first().map(|case| parts::link(&["cases", &case.ticket.to_string()], &[])).as_deref(),
            ))
            (parts::figure(
                Tone::Plain, &tongue.number(hits), tongue.say("Lượt chặn 24 giờ", "Hits in 24 hours"), "",
                Some(&hits_link(&[], "24h")),
            ))
            (rates(call, &*data.rates()?))
        }))
        (health(call, &alerts, worst))
        (course(call, &data)?)
        div.grid {
            (families(call, &day_families, &week_families))
            @if viewer.agency().is_none() { (agencies(call, &data, hour)?) } @else { (machines(call, &data, hour)?) }
        }
        (new_cases(call, &new, tally.of(State::New)))
    };
    let title = if viewer.agency().is_some() {
        tongue.say("Tổng quan cơ quan", "Overview of your agency")
    } else {
        tongue.say("Tổng quan", "Overview")
    };
    Ok(shell::page(call, title, &body))
}

/// Infected machines, each once.
pub(in crate::console) fn infected(call: &Call, data: &Data<'_>) -> Result<u64, Failure> {
    let own = call.viewer()?.agency();
    let count = data.held("infected", 10_000_000, || Ok(call.house.desk()?.infected(own)?))?;
    Ok(*count)
}

fn decimal(tongue: Tongue, number: f64) -> String {
    if number >= 100.0 {
        return tongue.number(number.round() as u64);
    }
    format!("{number:.1}").replace('.', tongue.say(",", "."))
}

/// Two figures that follow the server where scripts run.
fn rates(call: &Call, rates: &Rates) -> Markup {
    let tongue = call.tongue;
    html! {
        li.figure data-live="/live" data-every="5" {
            a href="/log" {
                span.value { span data-value="queries" { (decimal(tongue, rates.queries)) } }
                span.label { (tongue.say("Truy vấn mỗi giây", "Queries a second")) }
                span.more {
                    span data-value="hits" { (decimal(tongue, rates.hits)) } (tongue.say(" lượt chặn mỗi phút ", " hits a minute "))
                    (chart::spark(tongue.say("Truy vấn 15 phút qua", "Queries of the last 15 minutes"), &rates.minutes, Some("points")))
                }
            }
        }
    }
}

/// What [`rates`] follow.
fn live(call: &Call) -> Result<Reply, Failure> {
    let rates = call.data()?.rates()?;
    Ok(Reply::Json(json!({
        "queries": decimal(call.tongue, rates.queries),
        "hits": decimal(call.tongue, rates.hits),
        "points": chart::points(&rates.minutes),
    })))
}

/// Whether all is well, and if not, what to do first.
fn health(call: &Call, alerts: &[Alert], worst: Tone) -> Markup {
    let tongue = call.tongue;
    if alerts.is_empty() {
        // Said only to whom it would be told if it were otherwise.
        let is_well = call.may(Right::SeeProvince) && call.house.health().condition() == Condition::Well;
        return parts::notice(
            Tone::Good,
            &html! {
                strong { (tongue.say("Không có cảnh báo.", "No alerts.")) }
                @if is_well { " " (tongue.say("Dịch vụ, nhật ký và các nguồn danh sách hoạt động bình thường.", "Service, log and feeds are well.")) }
            },
        );
    }
    // Of one kind two are enough here.
    let of_kind = |at: usize| alerts[..at].iter().filter(|it| it.detector == alerts[at].detector).count();
    let shown: Vec<&Alert> =
        (0..alerts.len()).filter(|at| of_kind(*at) < 2).map(|at| &alerts[at]).take(6).collect();
    html! {
        section class={ "card " (worst.class()) } {
            header {
                h2 { (tongue.say("Cần xem", "To look at")) }
                a href="/alerts" { (tongue.say("Tất cả cảnh báo", "All alerts")) " (" (alerts.len()) ")" }
            }
            ul.steps {
                @for alert in shown {
                    li {
                        @match &alert.href { Some(href) => a href=(href) { (alert.what.say(tongue)) }, None => (alert.what.say(tongue)) }
                        @if !alert.details.is_empty() { " " span.soft.small { (alert.details.say(tongue)) } }
                        div.small { (alert.to_do.say(tongue)) }
                    }
                }
            }
        }
    }
}

/// Queries and hits of a day, by the hour.
fn course(call: &Call, data: &Data<'_>) -> Result<Markup, Failure> {
    let tongue = call.tongue;
    let course = data.course(
        &Filter { kind: Kind::Hits, ..Filter::default() },
        By::Hour,
        call.now - DAY + HOUR,
        call.now,
    )?;
    let bars: Vec<Bar> = course
        .into_iter()
        .map(|(time, hits, _)| Bar {
            label: jiff::Timestamp::from_microsecond(time)
                .map(|time| time.to_zoned_datetime(vietnam()).strftime("%Hh %d/%m").to_string())
                .unwrap_or_default(),
            value: hits,
            part: 0,
            href: Some(parts::link(
                &["log"],
                &[("hits", "1"), ("since", &exact(time)), ("until", &exact(time + HOUR))],
            )),
        })
        .collect();
    let words = Words {
        title: tongue.say("Lượt chặn theo giờ, 24 giờ qua", "Hits by the hour, last 24 hours"),
        step: tongue.say("Giờ", "Hour"),
        value: tongue.say("lượt chặn", "hits"),
        part: "",
    };
    Ok(html! { section.card aria-label=(words.title) { (chart::bars(tongue, words, &bars)) } })
}

fn families(call: &Call, day: &[Count], week: &[Count]) -> Markup {
    let tongue = call.tongue;
    let of_day = |family: &str| day.iter().find(|count| count.value == family).map_or(0, |count| count.count);
    let most = week.iter().map(|count| count.count).max().unwrap_or(1);
    let rows = html! {
        @for count in week.iter().take(MOST) {
            tr {
                th.name scope="row" { (parts::family(tongue, &count.value)) }
                td.number { a href=(hits_link(&[("family", &count.value)], "24h")) { (tongue.number(of_day(&count.value))) } }
                td.number { a href=(hits_link(&[("family", &count.value)], "7d")) { (tongue.number(count.count)) } }
                td.share { (chart::share(count.count, most)) }
            }
        }
    };
    parts::card(
        tongue.say("Họ mã độc", "Families"),
        &html! {},
        &html! {
            @if week.is_empty() { (nothing_hit(call)) } @else {
                div.ranks { (parts::table(tongue.say("Lượt chặn theo họ mã độc", "Hits by family"), &counted_heads(tongue, tongue.say("Họ", "Family")), &rows)) }
            }
        },
    )
}

fn counted_heads<'a>(tongue: Tongue, what: &'a str) -> [Head<'a>; 4] {
    [
        Head::Text(what),
        Head::Number(tongue.say("24 giờ", "24 hours")),
        Head::Number(tongue.say("7 ngày", "7 days")),
        Head::Unseen(tongue.say("Biểu đồ", "Chart")),
    ]
}

fn nothing_hit(call: &Call) -> Markup {
    let tongue = call.tongue;
    parts::empty(
        tongue.say("Không có lượt chặn nào trong 7 ngày.", "There was no hit within 7 days."),
        &html! { (tongue.say("Nếu hệ thống mới lắp, hãy kiểm tra các nguồn danh sách và DHCP của đơn vị.", "Where this is new, check the feeds and the agencies' DHCP.")) },
    )
}

fn agencies(call: &Call, data: &Data<'_>, hour: i64) -> Result<Markup, Failure> {
    let tongue = call.tongue;
    let of = |since| Filter { since: Some(since), kind: Kind::Hits, ..Filter::default() };
    let day = data.counted(&of(hour - DAY), By::Agency)?;
    let week = data.counted(&of(hour - 7 * DAY), By::Agency)?;
    let of_day = |id: &str| day.iter().find(|count| count.value == id).map_or(0, |count| count.count);
    let most = week.iter().map(|count| count.count).max().unwrap_or(1);
    let rows = html! {
        @for count in week.iter().take(MOST) {
            @let id = Some(&*count.value).filter(|id| !id.is_empty());
            tr {
                th.name scope="row" { @if id.is_some() { (parts::agency(call, id)) } @else { span.soft { (tongue.say("không thuộc cơ quan nào", "of no agency")) } } }
                td.number { a href=(hits_link(&[("agency", &count.value)], "24h")) { (tongue.number(of_day(&count.value))) } }
                td.number { a href=(hits_link(&[("agency", &count.value)], "7d")) { (tongue.number(count.count)) } }
                td.share { (chart::share(count.count, most)) }
            }
        }
    };
    let caption = tongue.say("Lượt chặn theo cơ quan", "Hits by agency");
    Ok(parts::card(
        tongue.say("Cơ quan", "Agencies"),
        &html! { a href="/agencies" { (tongue.say("Tất cả", "All")) } },
        &html! {
            @if week.is_empty() { (nothing_hit(call)) } @else {
                div.ranks { (parts::table(caption, &counted_heads(tongue, tongue.say("Cơ quan", "Agency")), &rows)) }
            }
        },
    ))
}

/// For an officer: the own machines with the most hits.
fn machines(call: &Call, data: &Data<'_>, hour: i64) -> Result<Markup, Failure> {
    let tongue = call.tongue;
    let filter = Filter { since: Some(hour - 7 * DAY), kind: Kind::Hits, ..Filter::default() };
    let week = data.counted(&filter, By::Client)?;
    let ranks: Vec<Rank> = week
        .iter()
        .take(MOST)
        .filter_map(|count| {
            Some(Rank {
                what: parts::client(count.value.parse().ok()?),
                value: count.count,
                href: Some(hits_link(&[("client", &count.value)], "7d")),
            })
        })
        .collect();
    Ok(parts::card(
        tongue.say("Máy bị chặn nhiều nhất, 7 ngày", "Machines with the most hits, 7 days"),
        &html! { a href="/machines" { (tongue.say("Tất cả máy", "All machines")) } },
        &html! {
            @if ranks.is_empty() { (nothing_hit(call)) } @else {
                (chart::ranks(tongue, tongue.say("Lượt chặn theo máy", "Hits by machine"), tongue.say("Máy", "Machine"), tongue.say("Lượt chặn", "Hits"), &ranks))
            }
        },
    ))
}

fn new_cases(call: &Call, cases: &[Case], count: u64) -> Markup {
    let tongue = call.tongue;
    let is_province = call.viewer.as_ref().is_some_and(|viewer| viewer.agency().is_none());
    let heads = [
        Head::Text(tongue.say("Ca", "Case")),
        Head::Text(tongue.say("Máy", "Machine")),
        Head::Text(if is_province { tongue.say("Cơ quan", "Agency") } else { "" }),
        Head::Text(tongue.say("Họ mã độc", "Family")),
        Head::Text(tongue.say("Lần cuối", "Last seen")),
    ];
    let heads: Vec<Head<'_>> = heads.into_iter().filter(|head| !matches!(head, Head::Text(""))).collect();
    let rows = html! {
        @for case in cases {
            tr {
                th scope="row" { (parts::ticket(case.ticket)) }
                td data-label=(tongue.say("Máy", "Machine")) { (parts::case_machine(case)) }
                @if is_province { td data-label=(tongue.say("Cơ quan", "Agency")) { (parts::agency(call, case.agency.as_deref())) } }
                td data-label=(tongue.say("Họ mã độc", "Family")) { @if case.class != Class::C2 { (parts::class(tongue, case.class)) " " } (parts::family(tongue, &case.family)) }
                td data-label=(tongue.say("Lần cuối", "Last seen")) { (parts::ago(call, case.course.last_hit)) }
            }
        }
    };
    parts::card(
        tongue.say("Ca mới, chưa thông báo", "New cases, nobody told yet"),
        &html! { a href="/cases?state=new" { (tongue.say("Tất cả", "All")) " (" (tongue.number(count)) ")" } },
        &html! {
            @if cases.is_empty() {
                (parts::empty(tongue.say("Không có ca mới.", "There is no new case."), &html! { a href="/cases" { (tongue.say("Xem các ca đang mở", "See open cases")) } }))
            } @else {
                (parts::cards(tongue.say("Ca mới", "New cases"), &heads, &rows))
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::super::super::access::Role;
    use super::super::super::house::{House as _, Wanted};
    use super::super::super::tests::{AGENCIES, NOW, Scratch, text, viewer};
    use super::*;
    use crate::cases::{Evidence, Sighting, Subject};
    use crate::evidence::store::Unwatched;
    use crate::report::{Format, Period, Scope};

    #[test]
    fn infected_machines_are_those_that_a_report_has_as_not_done_with() {
        let scratch = Scratch::new();
        let desk = scratch.desk().unwrap();
        for (client, class) in [
            ("10.1.2.10", Class::Unknown),
            ("10.1.2.10", Class::Address),
            ("10.2.2.11", Class::Address),
            ("10.1.2.12", Class::Phishing),
            ("10.1.2.13", Class::Scan),
        ] {
            let client = client.parse().unwrap();
            let sighting = Sighting {
                time: NOW - HOUR,
                client,
                machine: Subject::Address(client),
                host: None,
                agency: Some(AGENCIES[0].to_owned()),
                family: String::new(),
                class,
                name: "x.example".to_owned(),
                evidence: Evidence::Query,
                count: 1,
                officer: None,
            };
            desk.sighting(&sighting, NOW).unwrap();
        }
        let reader = viewer(Role::Reader);
        let call = scratch.call(Some(reader.clone()), "/", &[]);
        let count = infected(&call, &call.data().unwrap()).unwrap();
        let period = Period::new(date(2026, 11, 26), date(2026, 11, 26)).unwrap();
        let wanted = Wanted { period, scope: Scope::All, format: Format::Json };
        let report = scratch.report(&wanted, &mut Unwatched).unwrap();
        let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
        assert_eq!((count, &report["province"]["remaining"]), (4, &json!(4)), "{report}");

        let page = text(scratch.get(&reader, "/").unwrap());
        assert!(page.contains("/cases?class=infection"), "{page}");
        let cases = text(scratch.get(&reader, "/cases?class=infection").unwrap());
        assert!(cases.contains("10.1.2.10") && !cases.contains("10.1.2.12"), "{cases}");
        let machines = text(scratch.get(&reader, "/coverage/export?infected=1&format=jsonl").unwrap());
        assert_eq!(machines.lines().count(), 4, "{machines}");
    }
}
