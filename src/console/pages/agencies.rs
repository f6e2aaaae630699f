//! Agencies side by side: a league table to sort, and each with its networks, officers, blind spots, trend, cases and machines.

use std::cmp::Reverse;
use std::io::Write as _;

use maud::{Markup, html};

use super::super::access::Right;
use super::super::answer::{Failure, Reply, Stream};
use super::super::call::Call;
use super::super::chart::{self, Bar, Words};
use super::super::data::work::Row;
use super::super::house::Agency;
use super::super::parts::{self, Head, Tone};
use super::super::routes::{Needs, Route, get};
use super::super::shell;
use super::super::tongue::{Tongue, vietnam};
use super::cases::{overdue, threat};
use super::coverage::{percent, share, shield};
use super::overview::infected;
use crate::cases::{CaseFilter, State, Subject};
use crate::evidence::contacts::join::Advice;
use crate::evidence::export::csv;
use crate::identity::list::Query;
use crate::tabular::heading::bare;

/// What the table is about: the last 30 days.
const SPAN: i64 = 30 * 86_400_000_000;
/// Agencies of a page.
const PAGE: usize = 100;
/// Cases and machines that an agency's page shows.
const FEW: u64 = 10;

pub(in crate::console) static ROUTES: &[Route] = &[
    get("/agencies", Needs::Right(Right::See), page),
    get("/agencies/export", Needs::Right(Right::See), export),
    get("/agencies/{id}", Needs::Right(Right::See), one),
];

/// By what the table may be sorted: its word, heads in both languages, and whether it is a number.
const COLUMNS: [(&str, &str, &str); 9] = [
    ("name", "Cơ quan", "Agency"),
    ("hits", "Lượt chặn", "Hits"),
    ("infected", "Máy nhiễm", "Infected"),
    ("open", "Ca mở", "Open cases"),
    ("overdue", "Quá hạn", "Overdue"),
    ("closed", "Đã đóng", "Closed"),
    ("clean", "Thời gian làm sạch", "Time to clean"),
    ("machines", "Máy", "Machines"),
    ("coverage", "Có bảo vệ", "Protected"),
];

/// A row, and the agency that it is of.
struct Line<'a> {
    agency: &'a Agency,
    row: &'a Row,
}

/// Sorted as the query asks, the worst first; names in their own order.
fn sorted<'a>(call: &Call, agencies: &'a [Agency], rows: &'a [Row]) -> Vec<Line<'a>> {
    let mut lines: Vec<Line<'_>> = rows
        .iter()
        .filter_map(|row| {
            let id = row.standing.agency.as_deref()?;
            Some(Line { agency: agencies.iter().find(|agency| &*agency.id == id)?, row })
        })
        .collect();
    if let Some(sought) = call.query.find("q") {
        let sought = bare(sought);
        lines.retain(|line| bare(&line.agency.name).contains(&sought) || line.agency.id.contains(&*sought));
    }
    if call.query.find("blind") == Some("1") {
        lines.retain(|line| line.row.is_blind());
    }
    let by = call.query.find("sort").unwrap_or("overdue");
    let number = |line: &Line<'_>| -> u64 {
        let Row { standing, hits, machines, .. } = line.row;
        match by {
            "hits" => *hits,
            "infected" => standing.infected,
            "open" => standing.open,
            "closed" => standing.closed,
            "clean" => standing.time_to_clean.map_or(0, i64::unsigned_abs),
            "machines" => *machines,
            // Those with the least protection first; without machines nobody knows.
            "coverage" => coverage(line.row).map_or(0, |share| 1001 - share),
            _ => standing.overdue,
        }
    };
    match by {
        "name" => lines.sort_by(|a, b| a.agency.name.cmp(&b.agency.name)),
        _ => lines.sort_by_key(|line| {
            (Reverse(number(line)), Reverse(line.row.standing.open), Reverse(line.row.hits))
        }),
    }
    lines
}

/// How many of a thousand machines are protected, rounded as in reports; `None` where nobody told of any.
fn coverage(row: &Row) -> Option<u64> {
    let is_told = row.protected + row.unprotected > 0;
    share(row.machines, row.protected).filter(|_| is_told)
}

fn page(call: &Call) -> Result<Reply, Failure> {
    let tongue = call.tongue;
    if let Some(own) = call.viewer()?.agency() {
        return Ok(Reply::Redirect(parts::link(&["agencies", own], &[])));
    }
    let (data, agencies) = (call.data()?, call.house.agencies());
    let rows = data.league(call.now - SPAN)?;
    let lines = sorted(call, &agencies, &rows);
    let start: usize = call.query.find("after").and_then(|text| text.parse().ok()).unwrap_or(0);
    let shown = lines.get(start.min(lines.len())..).unwrap_or_default();
    let after = (shown.len() > PAGE).then(|| (start + PAGE).to_string());
    let shown = &shown[..shown.len().min(PAGE)];
    let blind = rows.iter().filter(|row| row.is_blind()).count() as u64;
    let sum = |of: fn(&Row) -> u64| rows.iter().map(of).sum::<u64>();
    let body = html! {
        (parts::figures(&html! {
            (parts::figure(Tone::Plain, &tongue.number(agencies.len() as u64), tongue.say("Cơ quan", "Agencies"), "", None))
            (parts::figure(Tone::Warn, &tongue.number(infected(call, &data)?), tongue.say("Máy nhiễm mã độc", "Infected machines"), tongue.say("có ca đang mở", "with open cases"), Some("/agencies?sort=infected")))
            (parts::figure(if sum(|row| row.standing.overdue) > 0 { Tone::Bad } else { Tone::Good }, &tongue.number(sum(|row| row.standing.overdue)), tongue.say("Ca quá hạn", "Overdue cases"), "", Some("/cases?overdue=1")))
            (parts::figure(if blind > 0 { Tone::Warn } else { Tone::Good }, &tongue.number(blind), tongue.say("Cơ quan chưa thấy rõ máy", "Blind agencies"), tongue.say("có lượt chặn mà không máy nào tới sinkhole", "with hits, and no machine comes to the sinkhole"), Some("/agencies?blind=1")))
        }))
        (parts::filters(call, &html! {
            @if let Some(sort) = call.query.find("sort") { input type="hidden" name="sort" value=(sort); }
            (parts::field(call, "q", tongue.say("Tìm cơ quan", "Find an agency"), tongue.say("tên hoặc mã", "name or id")))
            (parts::tick(call, "blind", tongue.say("Chỉ cơ quan chưa thấy rõ máy", "Blind ones only")))
        }))
        @if shown.is_empty() {
            section.card { (parts::empty(
                tongue.say("Không có cơ quan nào như vậy", "No agency is like that"),
                &html! { a href="/agencies" { (tongue.say("Xem tất cả", "All agencies")) } },
            )) }
        } @else {
            (table(call, shown))
            (parts::pager(call, shown.len(), after.as_deref()))
            div.pager {
                p.hint {
                    (tongue.say(
                        "Lượt chặn, ca đã đóng và thời gian làm sạch: 30 ngày qua. Bấm vào đầu cột để xếp thứ tự. ",
                        "Hits, closed cases and time to clean: the last 30 days. A column's head sorts by it. ",
                    ))
                    @if rows.iter().any(|row| row.is_seen) {
                        (tongue.say("Máy: đã thấy hoạt động trong 30 ngày qua.", "Machines: seen asking in the last 30 days."))
                    } @else {
                        (tongue.say("Máy: có trong kiểm kê hoặc DHCP.", "Machines: known by inventories or DHCP."))
                    }
                }
                (parts::export(call, "/agencies/export"))
            }
        }
        @if call.may(Right::Manage) {
            p { a.button.second href="/agencies/import" { (tongue.say("Nhập cơ quan và cán bộ từ tệp", "Import agencies and officers from a file")) } }
        }
    };
    Ok(shell::page(call, tongue.say("Cơ quan", "Agencies"), &body))
}

/// The table; its heads are links that sort by them.
fn table(call: &Call, lines: &[Line<'_>]) -> Markup {
    let tongue = call.tongue;
    let by = call.query.find("sort").unwrap_or("overdue");
    let sort = |column: &str| {
        let query = super::super::call::Fields::read(call.query.with("after", None).as_bytes());
        format!("/agencies?{}", query.with("sort", Some(column)))
    };
    let caption = tongue.say("Bảng xếp hạng các cơ quan", "League table of agencies");
    html! {
        div.scroll role="region" aria-label=(caption) tabindex="0" {
            table {
                caption.hidden { (caption) }
                thead { tr {
                    @for (column, vietnamese, english) in COLUMNS {
                        th class=[(column != "name").then_some("number")] scope="col"
                            aria-sort=[(by == column).then_some(if column == "name" { "ascending" } else { "descending" })] {
                            a href=(sort(column)) { (tongue.say(vietnamese, english)) @if by == column { " ▾" } }
                        }
                    }
                } }
                tbody {
                    @for Line { agency, row } in lines {
                        tr {
                            th.name scope="row" {
                                a href=(parts::link(&["agencies", &agency.id], &[])) { (agency.name) }
                                @if row.is_blind() { " " (parts::badge(Tone::Warn, tongue.say("chưa thấy rõ máy", "blind"))) }
                            }
                            td.number { (tongue.number(row.hits)) }
                            td.number { (counted(tongue, row.standing.infected, &[("agency", &agency.id), ("class", "infection")])) }
                            td.number { (counted(tongue, row.standing.open, &[("agency", &agency.id)])) }
                            td.number { (counted(tongue, row.standing.overdue, &[("agency", &agency.id), ("overdue", "1")])) }
                            td.number { (counted(tongue, row.standing.closed, &[("agency", &agency.id), ("state", "closed")])) }
                            td.number { @match row.standing.time_to_clean {
                                Some(span) => (parts::span_text(tongue, span)), None => span.soft { "—" },
                            } }
                            td.number { (tongue.number(row.machines)) }
                            td.number { @match coverage(row) {
                                Some(share) => (percent(tongue, share)), None => span.soft { "—" },
                            } }
                        }
                    }
                }
            }
        }
    }
}

/// A number that leads to the cases that it counts.
fn counted(tongue: Tongue, count: u64, query: &[(&str, &str)]) -> Markup {
    html! {
        @if count == 0 { span.soft { "0" } } @else { a href=(parts::link(&["cases"], query)) { (tongue.number(count)) } }
    }
}

fn export(call: &Call) -> Result<Reply, Failure> {
    let is_csv = call.query.find("format") != Some("jsonl");
    let agencies = call.house.agencies();
    let rows = call.data()?.league(call.now - SPAN)?;
    let mut out = Vec::new();
    let heading = "agency,name,hits,contacts,blind,infected,open,new,overdue,closed,seconds_to_clean,machines,protected,unprotected";
    if is_csv {
        out.extend(heading.as_bytes());
        out.extend(b"\r\n");
    }
    for Line { agency, row } in sorted(call, &agencies, &rows) {
        let Row { standing, hits, contacts, machines, protected, unprotected, .. } = row;
        let seconds = standing.time_to_clean.map(|span| span / 1_000_000);
        if is_csv {
            let (id, name) = (csv::quoted(&agency.id), csv::quoted(&agency.name));
            let seconds = seconds.map_or_else(String::new, |it| it.to_string());
            let _ = write!(
                out,
                "{id},{name},{hits},{contacts},{},{},{},{},{},{},{seconds},{machines},{protected},{unprotected}\r\n",
                row.is_blind(),
                standing.infected,
                standing.open,
                standing.new,
                standing.overdue,
                standing.closed,
            );
        } else {
            let line = serde_json::json!({
                "agency": &*agency.id, "name": &*agency.name, "hits": hits, "contacts": contacts, "blind": row.is_blind(),
                "infected": standing.infected, "open": standing.open, "new": standing.new, "overdue": standing.overdue,
                "closed": standing.closed, "seconds_to_clean": seconds, "machines": machines, "protected": protected,
                "unprotected": unprotected,
            });
            let _ = writeln!(out, "{line}");
        }
    }
    Ok(Reply::Stream(Stream::export(is_csv, "agencies", Box::new(move |to| to.write_all(&out)))))
}

fn one(call: &Call) -> Result<Reply, Failure> {
    let tongue = call.tongue;
    let id = call.place("id");
    if !call.viewer()?.sees(Some(id)) {
        return Err(Failure::Absent);
    }
    let agencies = call.house.agencies();
    let agency = agencies.iter().find(|agency| &*agency.id == id).ok_or(Failure::Absent)?;
    let (data, since) = (call.data()?, call.now - SPAN);
    let rows = data.league(since)?;
    let row = rows.iter().find(|row| row.standing.agency.as_deref() == Some(id)).cloned().unwrap_or_default();
    let advice = if row.is_blind() { data.sight(id, since)?.and_then(|sight| sight.advice()) } else { None };
    let standing = &row.standing;
    let body = html! {
        @if let Some(advice) = advice { (blind(call, agency, advice)) }
        (parts::figures(&html! {
            (parts::figure(Tone::Plain, &tongue.number(row.hits), tongue.say("Lượt chặn", "Hits"), tongue.say("30 ngày qua", "last 30 days"),
                Some(&parts::link(&["log"], &[("agency", id), ("hits", "1")]))))
            (parts::figure(if standing.infected > 0 { Tone::Warn } else { Tone::Good }, &tongue.number(standing.infected), tongue.say("Máy nhiễm mã độc", "Infected machines"), "",
                Some(&parts::link(&["cases"], &[("agency", id), ("class", "infection")]))))
            (parts::figure(Tone::Plain, &tongue.number(standing.open), tongue.say("Ca đang mở", "Open cases"), "", Some(&parts::link(&["cases"], &[("agency", id)]))))
            (parts::figure(if standing.overdue > 0 { Tone::Bad } else { Tone::Good }, &tongue.number(standing.overdue), tongue.say("Quá hạn", "Overdue"), "",
                Some(&parts::link(&["cases"], &[("agency", id), ("overdue", "1")]))))
            (parts::figure(Tone::Plain, &standing.time_to_clean.map_or_else(|| "—".to_owned(), |span| parts::span_text(tongue, span)),
                tongue.say("Thời gian làm sạch trung bình", "Mean time to clean"), tongue.say("30 ngày qua", "last 30 days"), None))
            (parts::figure(Tone::Plain, &coverage(&row).map_or_else(|| "—".to_owned(), |share| percent(tongue, share)),
                tongue.say("Máy có phần mềm bảo vệ", "Machines with protection"),
                &tongue.say(format!("{} trên {} máy", row.protected, row.machines), format!("{} of {} machines", row.protected, row.machines)), None))
        }))
        (trend(call, id)?)
        div.grid {
            (parts::card(tongue.say("Liên hệ và mạng", "Contact and networks"), &html! {}, &facts(call, agency)))
            (cases(call, id)?)
        }
        (machines(call, id)?)
    };
    Ok(shell::page(call, &agency.name, &body))
}

/// What to do about an agency whose machines nobody sees.
fn blind(call: &Call, agency: &Agency, advice: Advice) -> Markup {
    let tongue = call.tongue;
    parts::notice(
        Tone::Warn,
        &html! {
            strong { (tongue.say("Chưa thấy rõ máy nào trong cơ quan này bị nhiễm.", "Which of its machines are infected cannot be seen.")) }
            @match advice {
                Advice::Forwarder => {
                    p { (tongue.say(
                        "Mọi lượt chặn đều đến từ một hai địa chỉ: nhiều khả năng là máy chủ DNS riêng hoặc NAT của cơ quan.",
                        "All hits come from one or two addresses: most likely the agency's own DNS server, or its NAT.",
                    )) }
                    ul {
                        li { (tongue.say(
                            "Cho máy chủ DNS của cơ quan gửi kèm máy nào hỏi (dnsmasq: add-mac, add-subnet=32,128; ở đây: server.trusted_forwarders), hoặc cho các máy hỏi thẳng máy chủ này.",
                            "Have that server send who asks (dnsmasq: add-mac, add-subnet=32,128; here: server.trusted_forwarders), or let its machines ask this server by themselves.",
                        )) }
                        li { (tongue.say(
                            "Định tuyến các địa chỉ sinkhole về đây, không qua NAT, để thấy máy nào kết nối.",
                            "Route the sinkhole's addresses here without NAT, so that contacts show the machines.",
                        )) }
                        @if agency.forwarders.is_empty() {
                            li { (tongue.say(
                                "Khai báo máy chủ DNS đó trong cấu hình (agency.forwarders), để ca không mang tên nó.",
                                "Name that server in the configuration (agency.forwarders), so that no case is made of it.",
                            )) }
                        }
                    }
                }
                Advice::Route => p { (tongue.say(
                    "Các máy tự truy vấn nhưng không máy nào tới được sinkhole: hãy định tuyến các địa chỉ sinkhole (sinkhole.ipv4, sinkhole.ipv6) về đây và cho tường lửa trên đường mở các cổng của nó.",
                    "Its machines ask by themselves, but none reaches the sinkhole: route the sinkhole's addresses (sinkhole.ipv4, sinkhole.ipv6) here, and let the firewalls on the way pass its ports.",
                )) },
            }
        },
    )
}

fn facts(call: &Call, agency: &Agency) -> Markup {
    let tongue = call.tongue;
    let none = || html! { span.soft { (tongue.say("chưa khai báo", "not given")) } };
    let nets = |nets: &[ipnet::IpNet]| {
        html! { @if nets.is_empty() { (none()) } @for net in nets { div.mono { (net) } } }
    };
    html! {
        dl.facts {
            dt { (tongue.say("Mã", "Id")) } dd.mono { (agency.id) }
            dt { (tongue.say("Liên hệ", "Contact")) } dd { @match &agency.contact { Some(contact) => (contact), None => (none()) } }
            dt { (tongue.say("Cán bộ phụ trách", "Officer")) } dd { @match &agency.officer { Some(officer) => (officer), None => (none()) } }
            dt { (tongue.say("Thư điện tử", "Mail")) } dd { @match &agency.email { Some(email) => (email), None => (none()) } }
            dt { (tongue.say("Mạng", "Networks")) } dd { (nets(&agency.networks)) }
            dt { (tongue.say("Máy chủ DNS riêng", "Own DNS servers")) } dd { (nets(&agency.forwarders)) }
        }
    }
}

/// Hits by day.
fn trend(call: &Call, id: &str) -> Result<Markup, Failure> {
    let tongue = call.tongue;
    let counts = call.data()?.hits_by_day(id, call.now - SPAN)?;
    if counts.is_empty() {
        return Ok(html! {});
    }
    let bars: Vec<Bar> = counts
        .iter()
        .map(|(day, count)| Bar { label: day_text(tongue, *day), value: *count, part: 0, href: None })
        .collect();
    let words = Words {
        title: tongue.say("Lượt chặn theo ngày, 30 ngày qua", "Hits by day, the last 30 days"),
        step: tongue.say("Ngày", "Day"),
        value: tongue.say("Lượt chặn", "Hits"),
        part: "",
    };
    Ok(html! { section.card { (chart::bars(tongue, words, &bars)) } })
}

/// A day, by when it begins, as people write it.
fn day_text(tongue: Tongue, day: i64) -> String {
    let day = jiff::Timestamp::from_microsecond(day).unwrap_or_default().to_zoned_datetime(vietnam());
    day.strftime(tongue.say("%d/%m/%Y", "%-d %b %Y")).to_string()
}

fn cases(call: &Call, id: &str) -> Result<Markup, Failure> {
    let tongue = call.tongue;
    let filter = CaseFilter {
        states: vec![State::New, State::Notified, State::Cleaned, State::Watched],
        agency: Some(id.to_owned()),
        limit: Some(FEW),
        ..CaseFilter::default()
    };
    let cases = call.data()?.cases(&filter)?;
    let desk = call.house.desk()?;
    let body = html! {
        @if cases.is_empty() {
            (parts::empty(tongue.say("Không có ca nào đang mở", "No case is open"), &html! {}))
        } @else {
            (parts::cards(
                tongue.say("Các ca gần đây", "Latest cases"),
                &[
                    Head::Text(tongue.say("Mã ca", "Ticket")), Head::Text(tongue.say("Trạng thái", "State")),
                    Head::Text(tongue.say("Máy", "Machine")), Head::Text(tongue.say("Mối nguy", "Threat")),
                ],
                &html! { @for case in &cases { tr {
                    th scope="row" { (parts::ticket(case.ticket)) }
                    td data-label=(tongue.say("Trạng thái", "State")) { (parts::state(tongue, case.course.state)) " " (overdue(call, &desk, case)) }
                    td data-label=(tongue.say("Máy", "Machine")) { (parts::case_machine(case)) }
                    td.name data-label=(tongue.say("Mối nguy", "Threat")) { (threat(tongue, case)) }
                } } },
            ))
        }
    };
    let all = html! { a href=(parts::link(&["cases"], &[("agency", id)])) { (tongue.say("Tất cả ca", "All cases")) } };
    Ok(parts::card(tongue.say("Ca đang mở", "Open cases"), &all, &body))
}

fn machines(call: &Call, id: &str) -> Result<Markup, Failure> {
    let tongue = call.tongue;
    let query = Query { agency: Some(id), limit: Some(FEW), ..Query::default() };
    let machines = call.house.book().list(&query)?;
    let rows = call.data()?.standings(machines.iter().map(|(machine, _)| Subject::Machine(machine.id)))?;
    let body = html! {
        @if machines.is_empty() {
            (parts::empty(
                tongue.say("Chưa biết máy nào", "No machine is known"),
                &html! { (tongue.say("Nhập danh sách cấp phát DHCP hoặc kiểm kê để biết máy nào ở sau một địa chỉ.", "Import DHCP leases or an inventory to learn which machine is behind an address.")) },
            ))
        } @else {
            (parts::cards(
                tongue.say("Các máy thấy gần đây", "Machines seen last"),
                &[
                    Head::Text(tongue.say("Máy", "Machine")), Head::Text(tongue.say("Địa chỉ", "Address")),
                    Head::Text(tongue.say("Người dùng, bộ phận", "Owner, unit")), Head::Text(tongue.say("Phần mềm bảo vệ", "Protection")),
                ],
                &html! { @for ((machine, address), row) in machines.iter().zip(&rows) { tr {
                    th scope="row" { (parts::machine(&Subject::Machine(machine.id), machine.host.as_deref())) }
                    td.mono data-label=(tongue.say("Địa chỉ", "Address")) { @match address { Some(address) => (address), None => "—" } }
                    td data-label=(tongue.say("Người dùng", "Owner")) { (machine.owner.as_deref().unwrap_or("—")) @if let Some(unit) = &machine.unit { ", " (unit) } }
                    td data-label=(tongue.say("Phần mềm bảo vệ", "Protection")) { (shield(tongue, row.as_ref(), machine.protection.as_deref())) }
                } } },
            ))
        }
    };
    let all = html! { a href=(parts::link(&["machines"], &[("agency", id)])) { (tongue.say("Tất cả máy", "All machines")) } };
    Ok(parts::card(tongue.say("Máy", "Machines"), &all, &body))
}
