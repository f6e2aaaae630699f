//! The query log: filters, pages, a brush over time, what was asked around something, export.

mod asked;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::Write;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use maud::{Markup, html};

use self::asked::{Asked, local, read, step};
pub(in crate::console) use self::asked::{action, exact, time};
use super::super::access::Right;
use super::super::answer::{Failure, Reply, Stream};
use super::super::audit;
use super::super::call::{Call, Fields};
use super::super::chart::{self, Bar, Words};
use super::super::data::Data;
use super::super::data::look::{DAY, Deadline, HOUR, MINUTE};
use super::super::labels::label;
use super::super::parts::{self, Head, Tone};
use super::super::routes::{Needs, Route, get};
use super::super::shell;
use super::super::tongue::vietnam;
use crate::cases::{CaseFilter, Ticket};
use crate::evidence::export::{Format, Origin};
use crate::evidence::record::{Outcome, Record};
use crate::evidence::store::{By, Filter, Page, Place, Scan, Watch};
use crate::identity::Machine;
use crate::wire;

/// Rows of a page.
const PAGE: u64 = 50;
/// How long a page searches before it shows a bar, how long then, and how often the bar moves.
const PATIENCE: Duration = Duration::from_millis(100);
const MORE_PATIENCE: Duration = Duration::from_secs(25);
const BETWEEN: Duration = Duration::from_millis(250);
/// Rows of an export, and how long it may take.
const MOST_EXPORTED: u64 = 1_000_000;
const EXPORT_PATIENCE: Duration = Duration::from_secs(600);

pub(in crate::console) static ROUTES: &[Route] =
    &[get("/log", Needs::Right(Right::See), page), get("/log/export", Needs::Right(Right::See), export)];

fn page(call: &Call) -> Result<Reply, Failure> {
    let tongue = call.tongue;
    let asked = match read(call) {
        Ok(asked) => asked,
        // The form is shown with what was typed, and why that will not do.
        Err(Failure::Wrong { field, vietnamese, english }) => {
            let body = html! {
                (parts::notice(Tone::Bad, &html! { (label(tongue, &call.path, field)) ": " (tongue.say(vietnamese, english)) }))
                (filters(call, None))
            };
            return Ok(shell::page(call, tongue.say("Nhật ký truy vấn", "Query log"), &body));
        }
        Err(other) => return Err(other),
    };
    let data = call.data()?;
    let mut found = Found::before(&asked);
    found.search(&data, &asked, &mut Deadline::after(PATIENCE))?;
    let title = tongue.say("Nhật ký truy vấn", "Query log");
    let above = html! { (filters(call, Some(&asked))) (brush(call, &data, &asked)?) };
    if !found.scan.is_stopped {
        return Ok(shell::page(call, title, &html! { (above) (below(call, &data, &found)?) }));
    }
    let own = call.clone();
    Ok(shell::gradual(call, title, move |out| {
        out.write_all(above.into_string().as_bytes())?;
        let body = go_on(&own, &asked, found, out);
        let body = body.unwrap_or_else(|failure| {
            let title = own.tongue.say("Không thực hiện được: ", "That could not be done: ");
            parts::notice(Tone::Bad, &html! { (title) (failure) })
        });
        out.write_all(body.into_string().as_bytes())
    }))
}

/// What a page found until now.
struct Found {
    rows: Vec<Record<'static>>,
    /// Where the last of them is; where the page began, as long as there is none.
    place: Option<Place>,
    scan: Scan,
}

impl Found {
    fn before(asked: &Asked) -> Self {
        Self { rows: Vec::new(), place: asked.after, scan: Scan::default() }
    }

    /// Whether there may be rows behind these.
    fn is_full(&self) -> bool {
        self.rows.len() as u64 >= PAGE
    }

    /// Goes on from where it is.
    fn search(&mut self, data: &Data<'_>, asked: &Asked, watch: &mut dyn Watch) -> Result<(), Failure> {
        let mut filter = asked.filter.clone();
        if let (true, Some(reached)) = (self.rows.is_empty(), self.scan.reached) {
            // What is later was looked at already.
            let reached = reached.saturating_add(1);
            filter.until = Some(filter.until.map_or(reached, |until| until.min(reached)));
        }
        let page = Page { limit: Some(PAGE - self.rows.len() as u64), after: self.place };
        let Self { rows, place, .. } = self;
        self.scan = data.queries(&filter, page, watch, &mut |record| {
            *place = Some(Place::behind(*place, record.time));
            rows.push(record.clone().into_owned());
            ControlFlow::Continue(())
        })?;
        Ok(())
    }
}

/// Goes on while somebody waits, and shows how far it is.
fn go_on(call: &Call, asked: &Asked, mut found: Found, out: &mut dyn Write) -> Result<Markup, Failure> {
    let lost = |source| Failure::Files { what: "the page", source };
    let tongue = call.tongue;
    let head = html! { p { (tongue.say("Đang tìm trong nhật ký…", "Searching the log…")) } }.into_string();
    let begun = format!("<div class=\"searching\" role=\"status\">{head}");
    out.write_all(begun.as_bytes()).and_then(|()| out.flush()).map_err(lost)?;
    let data = call.data()?.going_on();
    let label = tongue.say("Tiến độ", "Progress");
    let mut told =
        Told { until: Instant::now() + MORE_PATIENCE, next: Instant::now(), label, out: &mut *out };
    let searched = found.search(&data, asked, &mut told);
    out.write_all(b"</div>").map_err(lost)?;
    searched?;
    below(call, &data, &found)
}

/// Tells a reader how far a search is: one bar after the other, of which the last is seen.
struct Told<'a> {
    until: Instant,
    next: Instant,
    label: &'static str,
    out: &'a mut dyn Write,
}

impl Watch for Told<'_> {
    fn progress(&mut self, done: u64, total: u64) -> ControlFlow<()> {
        let now = Instant::now();
        if now >= self.until {
            return ControlFlow::Break(());
        }
        if now >= self.next {
            self.next = now + BETWEEN;
            let bar =
                html! { progress aria-label=(self.label) max=(total.max(1)) value=(done.min(total)) {} };
            // Nobody is there any more.
            if self.out.write_all(bar.into_string().as_bytes()).and_then(|()| self.out.flush()).is_err() {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }
}

/// What was found, and how to go on.
fn below(call: &Call, data: &Data<'_>, found: &Found) -> Result<Markup, Failure> {
    let Found { rows, place, scan } = found;
    let next = place.filter(|_| found.is_full()).map(|place| place.to_string());
    Ok(html! {
        (troubles(call, scan, place.filter(|_| !rows.is_empty())))
        @if rows.is_empty() && !scan.is_stopped {
            (nothing(call))
        } @else if !rows.is_empty() {
            (table(call, data, rows)?)
        }
        div.pager {
            (parts::pager(call, rows.len(), next.as_deref()))
            (parts::export(call, "/log/export"))
        }
    })
}

/// The form, and what is asked for often.
fn filters(call: &Call, asked: Option<&Asked>) -> Markup {
    let tongue = call.tongue;
    let actions: Vec<(&str, &str)> =
        Outcome::words().filter_map(|word| Some((word, action(tongue, Outcome::from_word(word)?)))).collect();
    let feeds: Vec<Arc<str>> = feeds(call);
    let more =
        ["type", "rcode", "action", "feed", "family"].iter().any(|name| call.query.find(name).is_some());
    let moment = |name: &str, label: &str, value: Option<i64>| {
        // What was typed stands there where it could not be read.
        html! { label { (label)
            input type="datetime-local" name=(name) value=[value.map(local)];
        } }
    };
    let (since, until) = asked.map_or((None, None), |asked| (asked.filter.since, asked.filter.until));
    html! {
        (parts::filters(call, &html! {
            (parts::field(call, "name", tongue.say("Tên miền và tên con", "Name and all below"), "vidu.vn"))
            (parts::field(call, "client", tongue.say("Địa chỉ hoặc máy", "Address or machine"), "10.1.2.3, PC-01, m-17"))
            (parts::agency_choice(call))
            (moment("since", tongue.say("Từ lúc", "From"), since))
            (moment("until", tongue.say("Đến trước lúc", "Before"), until))
            (parts::tick(call, "hits", tongue.say("Chỉ lượt chặn mã độc", "Hits only")))
            details open[more] {
                summary { (tongue.say("Thêm điều kiện", "More")) }
                div {
                    (parts::field(call, "family", tongue.say("Họ mã độc", "Family"), ""))
                    (parts::choice(call, "feed", tongue.say("Nguồn danh sách", "Feed"), tongue.say("Tất cả", "All"), feeds.iter().map(|feed| (&**feed, &**feed))))
                    (parts::choice(call, "action", tongue.say("Xử lý", "Action"), tongue.say("Tất cả", "All"), actions))
                    (parts::field(call, "type", tongue.say("Loại bản ghi", "Type"), "A, AAAA, HTTPS"))
                    (parts::field(call, "rcode", tongue.say("Mã trả lời", "Response code"), "NOERROR, NXDOMAIN"))
                }
            }
        }))
        ul.tabs aria-label=(tongue.say("Khoảng thời gian", "Time")) {
            @for (age, text) in [
                ("1h", tongue.say("1 giờ qua", "Last hour")), ("24h", tongue.say("24 giờ qua", "Last 24 hours")),
                ("7d", tongue.say("7 ngày qua", "Last 7 days")), ("30d", tongue.say("30 ngày qua", "Last 30 days")),
            ] {
                li { a href=(within(call, age, None)) aria-current=[(call.query.find("since") == Some(age)).then_some("true")] { (text) } }
            }
        }
    }
}

/// The names of feeds, where the server tells them and the viewer may know.
fn feeds(call: &Call) -> Vec<Arc<str>> {
    let may = call.viewer.as_ref().is_some_and(|viewer| viewer.may(Right::SeeProvince));
    let works = call.house.works().filter(|_| may);
    let feeds = works.and_then(|works| works.feeds().ok()).unwrap_or_default();
    feeds.into_iter().map(|feed| feed.name).collect()
}

/// This page narrowed to another time.
fn within(call: &Call, since: &str, until: Option<&str>) -> String {
    let mut fields = call.query.clone();
    for name in ["after", "around", "within", "until", "since"] {
        fields = Fields::read(fields.with(name, None).as_bytes());
    }
    let fields = Fields::read(fields.with("since", Some(since)).as_bytes());
    let query = fields.with("until", until);
    format!("{}?{query}", call.path)
}

/// Bars over the time that is asked for; each narrows to itself.
fn brush(call: &Call, data: &Data<'_>, asked: &Asked) -> Result<Markup, Failure> {
    let tongue = call.tongue;
    let until = asked.filter.until.unwrap_or(call.now).min(call.now);
    let since = asked.filter.since.unwrap_or(until - DAY).max(until - 400 * DAY);
    if since >= until {
        return Ok(html! {});
    }
    let (by, span) = step(since, until, call.now);
    let filter = Filter {
        agency: asked.filter.agency.clone(),
        family: asked.filter.family.clone(),
        outcome: asked.filter.outcome,
        kind: asked.filter.kind,
        ..Filter::default()
    };
    let course = data.course(&filter, by, since, until)?;
    let form = match by {
        By::Day => "%d/%m",
        By::Hour if until - since > DAY => "%d/%m %Hh",
        _ => "%H:%M",
    };
    let label = |time: i64| {
        jiff::Timestamp::from_microsecond(time)
            .map(|time| time.to_zoned_datetime(vietnam()).strftime(form).to_string())
            .unwrap_or_default()
    };
    let is_hits = asked.filter.kind == crate::evidence::store::Kind::Hits;
    let bars: Vec<Bar> = course
        .into_iter()
        .map(|(time, all, hits)| Bar {
            label: label(time),
            value: all,
            part: hits,
            href: (span > MINUTE).then(|| within(call, &exact(time), Some(&exact(time + span)))),
        })
        .collect();
    let words = Words {
        title: if asked.is_rolled_up() {
            tongue.say("Truy vấn theo thời gian", "Queries over time")
        } else {
            tongue.say(
                "Truy vấn theo thời gian (chưa lọc theo máy, tên miền, loại, mã trả lời)",
                "Queries over time (whatever machine, name, type and response code)",
            )
        },
        step: match by {
            By::Day => tongue.say("Ngày", "Day"),
            By::Hour => tongue.say("Giờ", "Hour"),
            _ => tongue.say("Phút", "Minute"),
        },
        value: if is_hits {
            tongue.say("lượt chặn", "hits")
        } else {
            tongue.say("truy vấn", "queries")
        },
        part: if is_hits { "" } else { tongue.say("lượt chặn", "hits") },
    };
    Ok(html! { section.card aria-label=(words.title) { (chart::bars(tongue, words, &bars)) } })
}

/// What stood in the way, and how to go on.
fn troubles(call: &Call, scan: &Scan, place: Option<Place>) -> Markup {
    let tongue = call.tongue;
    let go_on = || {
        let mut fields = call.query.clone();
        if let Some(place) = place {
            fields = Fields::read(fields.with("after", Some(&place.to_string())).as_bytes());
        }
        match scan.reached {
            // What is later was looked at already.
            Some(reached) if place.is_none() => fields.with("until", Some(&exact(reached.saturating_add(1)))),
            _ => fields.with("language", None),
        }
    };
    html! {
        @if scan.is_stopped {
            (parts::notice(Tone::Warn, &html! {
                @if let Some(reached) = scan.reached {
                    (tongue.say("Tìm chưa hết: mới xem tới ", "Not all was searched: it came as far as "))
                    (parts::time(call, reached)) ". "
                } @else { (tongue.say("Tìm chưa hết. ", "Not all was searched. ")) }
                a href={ (call.path) "?" (go_on()) } { (tongue.say("Tìm tiếp", "Go on")) }
                " · " (tongue.say("hoặc thu hẹp thời gian.", "or narrow the time."))
            }))
        }
        @if !scan.unreadable.is_empty() || !scan.damaged.is_empty() {
            (parts::notice(Tone::Warn, &html! {
                (tongue.say("Một phần nhật ký không đọc được nên có thể thiếu dòng; hãy kiểm tra ổ đĩa.", "A part of the log cannot be read, so rows may be missing: check the disk."))
            }))
        }
        @if scan.gone > 0 {
            (parts::notice(Tone::Info, &html! {
                (tongue.say("Truy vấn cũ hơn đã xóa, chỉ còn tổng hợp: ", "Of older queries only sums are left: "))
                (tongue.number(scan.gone)) ". "
                a href="/hunts" { (tongue.say("Truy tìm sẽ cộng cả phần đó.", "A hunt adds them up.")) }
            }))
        }
    }
}

fn nothing(call: &Call) -> Markup {
    let tongue = call.tongue;
    let is_narrowed = call.query.iter().any(|(name, value)| !value.is_empty() && name != "language");
    if is_narrowed {
        parts::empty(
            tongue.say("Không có truy vấn nào khớp.", "No query fits."),
            &html! { a href=(call.path) { (tongue.say("Bỏ các điều kiện lọc", "Clear the filters")) } (tongue.say(" hoặc chọn thời gian dài hơn.", " or choose a longer time.")) },
        )
    } else {
        parts::empty(
            tongue.say("Chưa có truy vấn nào được ghi.", "No query was recorded yet."),
            &html! { (tongue.say("Hãy trỏ DNS của một máy tới máy chủ này, rồi tải lại trang.", "Point a machine's DNS to this server, then reload.")) },
        )
    }
}

fn table(call: &Call, data: &Data<'_>, rows: &[Record<'_>]) -> Result<Markup, Failure> {
    let tongue = call.tongue;
    let mut hosts: HashMap<IpAddr, Option<Machine>> = HashMap::new();
    let mut cases: HashMap<(IpAddr, String), Option<Ticket>> = HashMap::new();
    for row in rows {
        let source = row.source();
        if let Entry::Vacant(entry) = hosts.entry(source) {
            entry.insert(data.host(source, row.time)?);
        }
        if !row.is_hit {
            continue;
        }
        let key = (source, row.family.as_deref().unwrap_or("").to_owned());
        let family = key.1.clone();
        if let Entry::Vacant(entry) = cases.entry(key) {
            let filter = CaseFilter {
                client: Some(source),
                family: Some(family),
                limit: Some(1),
                ..CaseFilter::default()
            };
            entry.insert(data.cases(&filter)?.first().map(|case| case.ticket));
        }
    }
    let is_province = call.viewer()?.agency().is_none();
    let heads = [
        Head::Text(tongue.say("Thời gian", "Time")),
        Head::Text(tongue.say("Máy", "Machine")),
        Head::Text(if is_province { tongue.say("Cơ quan", "Agency") } else { "" }),
        Head::Text(tongue.say("Tên miền", "Name")),
        Head::Text(tongue.say("Loại", "Type")),
        Head::Text(tongue.say("Xử lý", "Action")),
        Head::Text(tongue.say("Trả lời", "Answer")),
        Head::Unseen(tongue.say("Xem thêm", "More")),
    ];
    let heads: Vec<Head<'_>> = heads.into_iter().filter(|head| !matches!(head, Head::Text(""))).collect();
    let body = html! {
        @for row in rows {
            @let source = row.source();
            @let qname = parts::name_text(&row.qname);
            @let label = |vietnamese, english| tongue.say(vietnamese, english);
            tr.hit[row.is_hit] {
                th scope="row" { span.when { (parts::time(call, row.time)) } }
                td data-label=(label("Máy", "Machine")) {
                    @match hosts.get(&source).and_then(Option::as_ref) {
                        Some(machine) => {
                            a href=(parts::link(&["machines", &machine.id.to_string()], &[])) { (machine.host.as_deref().unwrap_or("")) @if machine.host.is_none() { (machine.id) } }
                            " " span.small { (parts::client(source)) }
                        }
                        None => (parts::client(source)),
                    }
                    @if source != row.client { " " span.soft.small { (tongue.say("qua ", "by ")) (row.client) } }
                }
                @if is_province { td data-label=(label("Cơ quan", "Agency")) { (parts::agency(call, row.agency.as_deref())) } }
                td.name data-label=(label("Tên miền", "Name")) {
                    @if qname.is_empty() { span.soft { (tongue.say("không đọc được", "unreadable")) } }
                    @else { (parts::qname(call, &qname)) }
                    @if let Some(matched) = &row.matched { " " span.soft.small { "→ " (matched) } }
                }
                td data-label=(label("Loại", "Type")) { (wire::type_text(row.qtype)) }
                td data-label=(label("Xử lý", "Action")) {
                    (badge(call, row))
                    @if let Some(family) = row.family.as_deref().filter(|family| !family.is_empty()) { " " (family) }
                    @if let Some(feed) = &row.feed { " " span.soft.small { (feed) } }
                }
                td data-label=(label("Trả lời", "Answer")) {
                    @match row.rcode { Some(rcode) => (wire::rcode_text(rcode)), None => span.soft { "—" } }
                    @if let Some(answer) = row.answers.first() { " " span.soft.small.mono { (answer) @if row.answers.len() > 1 { " +" (row.answers.len() - 1) } } }
                }
                td {
                    @let asked = if row.source() == row.client { row.client } else { row.source() };
                    a.nowrap href=(parts::link(&["log"], &[("client", &asked.to_string()), ("around", &exact(row.time))]))
                        title=(tongue.say("±10 phút của máy này", "±10 minutes of this machine")) { (tongue.say("Quanh đó", "Around")) }
                    @if let Some(Some(ticket)) = cases.get(&(source, row.family.as_deref().unwrap_or("").to_owned())).filter(|_| row.is_hit) {
                        " " div { (parts::ticket(*ticket)) }
                    }
                }
            }
        }
    };
    Ok(parts::cards(tongue.say("Truy vấn, mới nhất trước", "Queries, the newest first"), &heads, &body))
}

fn badge(call: &Call, row: &Record<'_>) -> Markup {
    let tone = match row.outcome {
        _ if row.is_hit => Tone::Bad,
        Outcome::Shadow | Outcome::Refused | Outcome::Limited | Outcome::Drop => Tone::Warn,
        Outcome::Passthru => Tone::Info,
        _ => Tone::Plain,
    };
    parts::badge(tone, action(call.tongue, row.outcome))
}

/// What the page shows, and all that is behind it.
fn export(call: &Call) -> Result<Reply, Failure> {
    let format = match call.query.find("format") {
        Some("jsonl") => Format::Jsonl,
        _ => Format::Csv,
    };
    let is_csv = format == Format::Csv;
    let name = if is_csv { "sachdns-log.csv" } else { "sachdns-log.jsonl" };
    let asked = read(call)?;
    let viewer = call.viewer()?.clone();
    audit::changed(call, "log.export", name, &call.query.with("format", None))?;
    let (house, client, now) = (Arc::clone(&call.house), call.client, call.now);
    let write = Box::new(move |out: &mut dyn Write| {
        let data = Data::new(&*house, &viewer, now).from(client);
        let origin = Origin { node: String::new() };
        let mut out = out;
        format.write_heading(&mut out, now)?;
        let mut failed = None;
        let page = Page { limit: Some(MOST_EXPORTED), after: None };
        let read = data.queries(&asked.filter, page, &mut Deadline::after(EXPORT_PATIENCE), &mut |record| {
            match format.write(&mut out, record, &origin) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        });
        match (failed, read) {
            (Some(error), _) => Err(error),
            (None, Err(error)) => Err(std::io::Error::other(error.to_string())),
            // Half of it would look whole.
            (None, Ok(scan)) if scan.is_stopped => Err(std::io::ErrorKind::TimedOut.into()),
            (None, Ok(_)) => Ok(()),
        }
    });
    Ok(Reply::Stream(Stream::export(is_csv, "log", write)))
}

/// A link to the hits of something.
pub(in crate::console) fn hits_link(fields: &[(&str, &str)], since: &str) -> String {
    let mut query = fields.to_vec();
    query.extend([("hits", "1"), ("since", since)]);
    parts::link(&["log"], &query)
}

/// The whole hour in which a time is.
pub(in crate::console) fn hour_of(time: i64) -> i64 {
    time.div_euclid(HOUR) * HOUR
}
