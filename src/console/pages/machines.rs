//! Machines: found by whatever people call them, and one with its addresses over time, hits, contacts and cases.

use std::sync::Arc;

use maud::{Markup, html};

use super::super::access::Right;
use super::super::answer::{Failure, Reply, Stream};
use super::super::audit;
use super::super::call::Call;
use super::super::chart::{self, Bar, Rank, Words};
use super::super::data::Data;
use super::super::data::look::{DAY, HOUR, Hits, MOST_HITS, Seen};
use super::super::parts::{self, Head, Tone};
use super::super::routes::{Needs, Route, get};
use super::super::shell;
use super::super::tongue::{Tongue, vietnam};
use super::coverage::{shield, shield_source};
use super::log::{exact, hits_link};
use crate::cases::{State, Subject};
use crate::coverage::{Row, Standing};
use crate::evidence::contacts::Contact;
use crate::evidence::export::csv;
use crate::evidence::record::Record;
use crate::identity::{ALWAYS, Interval, MachineId};
use crate::wire;

/// Machines of a page.
const PAGE: usize = 50;
/// Machines that are exported.
const MOST_EXPORTED: usize = 100_000;
/// How far back hits and contacts are looked for.
const DAYS: i64 = 30;
/// Contacts that are shown, and times of addresses.
const CONTACTS: usize = 15;
const INTERVALS: usize = 25;

pub(in crate::console) static ROUTES: &[Route] = &[
    get("/machines", Needs::Right(Right::See), page),
    get("/machines/export", Needs::Right(Right::See), export),
    get("/machines/{id}", Needs::Right(Right::See), one),
];

/// The place behind a machine in the list.
fn place(text: &str) -> Option<(i64, MachineId)> {
    let (last, id) = text.split_once('.')?;
    Some((last.parse().ok()?, MachineId(id.parse().ok()?)))
}

/// Whose word it is when a machine was there: what is seen asking, sources do not know.
fn told(tongue: Tongue) -> &'static str {
    tongue.say("DHCP hoặc kiểm kê ghi nhận lần cuối", "Last told of by DHCP or an inventory")
}

fn page(call: &Call) -> Result<Reply, Failure> {
    let tongue = call.tongue;
    let data = call.data()?;
    let text = call.query.find("text");
    let after = call.query.find("after").and_then(place);
    let found = data.machines(call.query.find("agency"), text, after, PAGE)?;
    let next = found.last().filter(|_| found.len() == PAGE);
    let next = next.map(|last| format!("{}.{}", last.machine.last, last.machine.id.0));
    let is_province = call.viewer()?.agency().is_none();
    // An address of which no source knows anything has a page of its own.
    let address = text.and_then(|text| text.parse::<std::net::IpAddr>().ok());
    let heads = [
        Head::Text(tongue.say("Máy", "Machine")),
        Head::Text(tongue.say("Địa chỉ gần nhất", "Last address")),
        Head::Text(if is_province { tongue.say("Cơ quan", "Agency") } else { "" }),
        Head::Text(tongue.say("Người dùng", "Owner")),
        Head::Text("MAC"),
        Head::Text(tongue.say("Bảo vệ", "Protection")),
        Head::Text(told(tongue)),
    ];
    let heads: Vec<Head<'_>> = heads.into_iter().filter(|head| !matches!(head, Head::Text(""))).collect();
    let rows = data.standings(found.iter().map(|it| Subject::Machine(it.machine.id)))?;
    let rows = html! {
        @for (it, row) in found.iter().zip(&rows) {
            @let machine = &it.machine;
            // Leases do not say whose a machine is; its address does.
            @let agency = machine.agency.as_deref().map(Arc::from).or_else(|| call.house.agency_of(it.address?));
            tr {
                th scope="row" { (parts::machine(&Subject::Machine(machine.id), machine.host.as_deref())) }
                td data-label=(tongue.say("Địa chỉ", "Address")) { @match it.address { Some(address) => (parts::client(address)), None => span.soft { "—" } } }
                @if is_province { td data-label=(tongue.say("Cơ quan", "Agency")) { (parts::agency(call, agency.as_deref())) } }
                td data-label=(tongue.say("Người dùng", "Owner")) { (machine.owner.as_deref().unwrap_or("—")) @if let Some(unit) = &machine.unit { div.soft.small { (unit) } } }
                td.mono data-label="MAC" { @match machine.mac { Some(mac) => (mac), None => span.soft { "—" } } }
                td data-label=(tongue.say("Bảo vệ", "Protection")) { (shield(tongue, row.as_ref(), machine.protection.as_deref())) }
                td data-label=(told(tongue)) { (parts::ago(call, machine.last)) }
            }
        }
    };
    let body = html! {
        (parts::filters(call, &html! {
            (parts::field(call, "text", tongue.say("Tên máy, người dùng, MAC, địa chỉ hoặc số", "Host, owner, MAC, address or number"), "PC-01, 10.1.2.3, m-17"))
            (parts::agency_choice(call))
        }))
        @if let Some(address) = address {
            p { (tongue.say("Địa chỉ ", "The address ")) (parts::client(address)) (tongue.say(": xem lượt chặn, ca và ai từng dùng.", ": its hits, cases and who had it.")) }
        }
        @if found.is_empty() {
            @if text.is_some() || call.query.find("agency").is_some() {
                (parts::empty(tongue.say("Không tìm thấy máy nào.", "No machine was found."), &html! {
                    (tongue.say("Thử một phần tên, địa chỉ IP hoặc MAC.", "Try a part of the name, an address or a MAC.")) " "
                    a href="/machines" { (tongue.say("Xem tất cả", "Show all")) }
                }))
            } @else {
                (parts::empty(tongue.say("Chưa có máy nào.", "There are no machines yet."), &html! {
                    (tongue.say("Nhập kiểm kê hoặc nhật ký DHCP (mục [identity] trong cấu hình) để biết máy sau mỗi địa chỉ.", "Import inventories or DHCP leases ([identity] in the configuration) to know which machine is behind an address."))
                }))
            }
        } @else {
            p.soft { (tongue.number(data.machine_count()?)) (tongue.say(" máy đã biết.", " machines are known.")) }
            (parts::cards(tongue.say("Máy, được ghi nhận gần nhất ở trên", "Machines, those told of last first"), &heads, &rows))
        }
        div.pager {
            (parts::pager(call, found.len(), next.as_deref()))
            @if !found.is_empty() { (parts::export(call, "/machines/export")) }
        }
    };
    Ok(shell::page(call, tongue.say("Máy", "Machines"), &body))
}

fn export(call: &Call) -> Result<Reply, Failure> {
    let is_json = call.query.find("format") == Some("jsonl");
    let name = if is_json { "sachdns-machines.jsonl" } else { "sachdns-machines.csv" };
    let viewer = call.viewer()?.clone();
    audit::changed(call, "machines.export", name, &call.query.with("format", None))?;
    let (house, now) = (Arc::clone(&call.house), call.now);
    let text = call.query.find("text").map(str::to_owned);
    let agency = call.query.find("agency").map(str::to_owned);
    let write = Box::new(move |out: &mut dyn std::io::Write| {
        let data = Data::new(&*house, &viewer, now);
        if !is_json {
            write!(out, "machine,host,address,agency,owner,unit,mac,protection,standing,last\r\n")?;
        }
        let (mut after, mut written) = (None, 0);
        while written < MOST_EXPORTED {
            let found = data
                .machines(agency.as_deref(), text.as_deref(), after, 1000)
                .map_err(|error| std::io::Error::other(error.to_string()))?;
            let Some(last) = found.last() else { break };
            after = Some((last.machine.last, last.machine.id));
            written += found.len();
            let rows = data
                .standings(found.iter().map(|it| Subject::Machine(it.machine.id)))
                .map_err(|error| std::io::Error::other(error.to_string()))?;
            for (it, row) in found.iter().zip(&rows) {
                let machine = &it.machine;
                let of = |text: &Option<String>| text.clone().unwrap_or_default();
                let fields = [
                    ("machine", machine.id.to_string()),
                    ("host", of(&machine.host)),
                    ("address", it.address.map(|it| it.to_string()).unwrap_or_default()),
                    ("agency", of(&machine.agency)),
                    ("owner", of(&machine.owner)),
                    ("unit", of(&machine.unit)),
                    ("mac", machine.mac.map(|it| it.to_string()).unwrap_or_default()),
                    (
                        "protection",
                        of(&row.as_ref().and_then(|row| row.product.clone()).or(machine.protection.clone())),
                    ),
                    (
                        "standing",
                        row.as_ref().map_or(Standing::Unknown, |row| row.standing).as_str().to_owned(),
                    ),
                    ("last", exact(machine.last)),
                ];
                if is_json {
                    let object: serde_json::Map<String, serde_json::Value> =
                        fields.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
                    writeln!(out, "{}", serde_json::Value::Object(object))?;
                } else {
                    let line: Vec<String> = fields.iter().map(|(_, value)| csv::quoted(value)).collect();
                    write!(out, "{}\r\n", line.join(","))?;
                }
            }
            // What is found by a number, a MAC or an address has one page.
            if found.len() < 1000 {
                break;
            }
        }
        Ok(())
    });
    Ok(Reply::Stream(Stream::export(!is_json, "machines", write)))
}

fn one(call: &Call) -> Result<Reply, Failure> {
    let tongue = call.tongue;
    let subject: Subject = call.place("id").parse().map_err(|_| Failure::Absent)?;
    let data = call.data()?;
    let seen = data.seen(subject)?;
    // One that was merged has another number now.
    if seen.subject != subject {
        return Ok(Reply::Redirect(parts::link(&["machines", &seen.subject.to_string()], &[])));
    }
    let since = call.now - DAYS * DAY;
    let hits = data.hits_of(&seen, since)?;
    let cases = data.cases_of(&seen)?;
    let shields = data.standings([seen.subject])?;
    let row = shields.first().and_then(Option::as_ref);
    let contacts = data.contacts_of(&seen, since, CONTACTS)?;
    let id = subject.to_string();
    let title = match seen.machine.as_ref().and_then(|machine| machine.host.as_ref()) {
        Some(host) if matches!(subject, Subject::Machine(_)) => format!("{host} ({id})"),
        _ => id.clone(),
    };
    let open = cases.iter().filter(|case| case.course.state != State::Closed).count();
    let body = html! {
        p.trail { a href="/machines" { (tongue.say("Máy", "Machines")) } " › " (id) }
        p.soft { (tongue.say("Việc bạn xem lịch sử của máy này được ghi vào nhật ký kiểm toán.", "That you looked at this machine's history is recorded in the audit log.")) }
        @if !seen.others.is_empty() {
            (parts::notice(Tone::Warn, &html! {
                (tongue.say("Các nguồn mâu thuẫn: địa chỉ này có thể là một trong các máy ", "Sources contradict each other: this may be any of "))
                @for (at, machine) in seen.others.iter().enumerate() { @if at > 0 { ", " } (parts::machine(&Subject::Machine(machine.id), machine.host.as_deref())) }
            }))
        }
        (parts::figures(&html! {
            (parts::figure(if hits.count > 0 { Tone::Bad } else { Tone::Good },
                &format!("{}{}", tongue.number(hits.count), if hits.is_partial { "+" } else { "" }),
                tongue.say("Lượt chặn, 30 ngày", "Hits, 30 days"), "", Some(&hits_link(&[("client", &id)], "30d"))))
            (parts::figure(if open > 0 { Tone::Warn } else { Tone::Good }, &tongue.number(open as u64),
                tongue.say("Ca đang mở", "Open cases"), &tongue.say(format!("{} ca tất cả", cases.len()), format!("{} in all", cases.len())), None))
            (parts::figure(Tone::Plain, &tongue.number(hits.families.len() as u64), tongue.say("Họ mã độc", "Families"), "", None))
            (parts::figure(Tone::Plain, &tongue.number(contacts.len() as u64), tongue.say("Kết nối sinkhole", "Contacts"), tongue.say("gần nhất, 30 ngày", "latest, 30 days"), None))
        }))
        p.actions {
            a.button.second href=(parts::link(&["log"], &[("client", &id), ("since", "24h")])) { (tongue.say("Mọi truy vấn 24 giờ qua", "All queries of 24 hours")) }
            a.button.second href=(parts::link(&["log"], &[("client", &id), ("since", "7d")])) { (tongue.say("7 ngày", "7 days")) }
        }
        (case_table(call, &cases))
        div.grid {
            (about(call, &seen, row))
            (families(call, &hits, &id))
        }
        (days(call, &hits, &id))
        (addresses(call, &seen))
        (last_hits(call, &hits.last, &id))
        (contact_table(call, &contacts))
    };
    Ok(shell::page(call, &title, &body))
}

fn about(call: &Call, seen: &Seen, row: Option<&Row>) -> Markup {
    let tongue = call.tongue;
    let fact = |label: &str, value: Option<&str>| html! { @if let Some(value) = value { dt { (label) } dd { (value) } } };
    parts::card(
        tongue.say("Thông tin", "About"),
        &html! {},
        &html! {
            dl.facts {
                dt { (tongue.say("Cơ quan", "Agency")) } dd { (parts::agency(call, seen.agency.as_deref())) }
                dt { (tongue.say("Phần mềm bảo vệ", "Endpoint protection")) } dd {
                    (shield(tongue, row, seen.machine.as_ref().and_then(|machine| machine.protection.as_deref())))
                    @if let Some(row) = row { (shield_source(call, row)) }
                }
                @if let Some(row) = row {
                    dt { (tongue.say("Ngày truy vấn gần nhất", "Day of the last query")) } dd { (parts::day(call, row.last)) }
                }
                @if let Some(machine) = &seen.machine {
                    @if matches!(seen.subject, Subject::Address(_)) {
                        dt { (tongue.say("Máy hiện tại", "Machine now")) } dd { (parts::machine(&Subject::Machine(machine.id), machine.host.as_deref())) }
                    }
                    (fact(tongue.say("Người dùng", "Owner"), machine.owner.as_deref()))
                    (fact(tongue.say("Phòng ban", "Unit"), machine.unit.as_deref()))
                    @if !machine.macs.is_empty() {
                        dt { "MAC" } dd.mono { @for (at, mac) in machine.macs.iter().take(8).enumerate() { @if at > 0 { ", " } (mac) } }
                    }
                    (fact(tongue.say("Loại máy", "Model"), machine.model.as_deref()))
                    (fact(tongue.say("Ghi chú", "Notes"), machine.notes.as_deref()))
                    dt { (tongue.say("Biết từ", "Known since")) } dd { (parts::day(call, machine.first)) }
                    dt { (told(tongue)) } dd { (parts::time(call, machine.last)) }
                } @else {
                    dt { (tongue.say("Máy", "Machine")) } dd.soft { (tongue.say("chưa nguồn nào (DHCP, kiểm kê) cho biết đây là máy nào", "no source (DHCP, inventory) says which one this is")) }
                }
            }
        },
    )
}

fn families(call: &Call, hits: &Hits, id: &str) -> Markup {
    let tongue = call.tongue;
    let ranks: Vec<Rank> = hits
        .families
        .iter()
        .take(10)
        .map(|(family, count)| Rank {
            what: parts::family(tongue, family),
            value: *count,
            href: Some(hits_link(&[("client", id), ("family", family)], "30d")),
        })
        .collect();
    parts::card(
        tongue.say("Lượt chặn theo họ mã độc", "Hits by family"),
        &html! { span.soft { (tongue.say("30 ngày", "30 days")) } },
        &html! {
            @if ranks.is_empty() {
                (parts::empty(tongue.say("Không có lượt chặn.", "There are no hits."), &html! {}))
            } @else {
                (chart::ranks(tongue, tongue.say("Lượt chặn theo họ mã độc", "Hits by family"), tongue.say("Họ", "Family"), tongue.say("Lượt", "Hits"), &ranks))
                @if hits.is_partial { p.soft.small { (tongue.say("Chỉ tính ", "Only the latest ")) (tongue.number(MOST_HITS as u64)) (tongue.say(" lượt gần nhất mỗi địa chỉ.", " of each address are counted.")) } }
            }
        },
    )
}

fn days(call: &Call, hits: &Hits, id: &str) -> Markup {
    let tongue = call.tongue;
    if hits.days.is_empty() {
        return html! {};
    }
    let today = (call.now + 7 * HOUR).div_euclid(DAY) * DAY - 7 * HOUR;
    let bars: Vec<Bar> = (0..DAYS)
        .rev()
        .map(|ago| {
            let day = today - ago * DAY;
            let label = jiff::Timestamp::from_microsecond(day)
                .map(|day| day.to_zoned_datetime(vietnam()).strftime("%d/%m").to_string())
                .unwrap_or_default();
            let query =
                [("client", id), ("hits", "1"), ("since", &*exact(day)), ("until", &*exact(day + DAY))];
            Bar {
                label,
                value: hits.days.get(&day).copied().unwrap_or(0),
                part: 0,
                href: Some(parts::link(&["log"], &query)),
            }
        })
        .collect();
    let words = Words {
        title: tongue.say("Lượt chặn theo ngày", "Hits by the day"),
        step: tongue.say("Ngày", "Day"),
        value: tongue.say("lượt chặn", "hits"),
        part: "",
    };
    html! { section.card aria-label=(words.title) { (chart::bars(tongue, words, &bars)) } }
}

fn case_table(call: &Call, cases: &[crate::cases::Case]) -> Markup {
    let tongue = call.tongue;
    if cases.is_empty() {
        return html! {};
    }
    let heads = [
        Head::Text(tongue.say("Ca", "Case")),
        Head::Text(tongue.say("Trạng thái", "State")),
        Head::Text(tongue.say("Loại", "Kind")),
        Head::Text(tongue.say("Họ mã độc", "Family")),
        Head::Text(tongue.say("Tên miền", "Name")),
        Head::Text(tongue.say("Mở lúc", "Opened")),
        Head::Text(tongue.say("Lần cuối", "Last seen")),
    ];
    let rows = html! {
        @for case in cases {
            tr {
                th scope="row" { (parts::ticket(case.ticket)) }
                td data-label=(tongue.say("Trạng thái", "State")) { (parts::state(tongue, case.course.state)) }
                td data-label=(tongue.say("Loại", "Kind")) { (parts::class(tongue, case.class)) }
                td data-label=(tongue.say("Họ", "Family")) { (parts::family(tongue, &case.family)) }
                td.name data-label=(tongue.say("Tên miền", "Name")) { (case.name) }
                td data-label=(tongue.say("Mở lúc", "Opened")) { (parts::day(call, case.course.since)) }
                td data-label=(tongue.say("Lần cuối", "Last seen")) { (parts::ago(call, case.course.last_hit)) }
            }
        }
    };
    parts::card(
        tongue.say("Ca xử lý", "Cases"),
        &html! {},
        &parts::cards(tongue.say("Ca xử lý của máy", "Cases of this machine"), &heads, &rows),
    )
}

fn addresses(call: &Call, seen: &Seen) -> Markup {
    let tongue = call.tongue;
    let is_machine = matches!(seen.subject, Subject::Machine(_));
    let heads = [
        Head::Text(if is_machine {
            tongue.say("Địa chỉ", "Address")
        } else {
            tongue.say("Máy", "Machine")
        }),
        Head::Text(tongue.say("Từ", "From")),
        Head::Text(tongue.say("Đến", "Until")),
        Head::Text(tongue.say("Nguồn", "Source")),
        Head::Text(tongue.say("Khi đó", "As")),
    ];
    let row = |it: &Interval| {
        let host = it.host.as_deref();
        html! {
            tr {
                th scope="row" { @if is_machine { (parts::client(it.address)) } @else { (parts::machine(&Subject::Machine(it.machine), host)) } }
                td data-label=(tongue.say("Từ", "From")) { @if it.from == ALWAYS { (tongue.say("luôn (kiểm kê)", "always (inventory)")) } @else { (parts::time(call, it.from)) } }
                td data-label=(tongue.say("Đến", "Until")) { @match it.to { Some(to) => (parts::time(call, to)), None => (tongue.say("nay", "now")) } }
                td data-label=(tongue.say("Nguồn", "Source")) { span title=(it.source) { (file_name(&it.source)) } @if it.is_inventory { " " span.soft.small { (tongue.say("kiểm kê", "inventory")) } } }
                td.mono data-label=(tongue.say("Khi đó", "As")) { @if let Some(mac) = it.mac { (mac) } @if let Some(host) = host { " " (host) } }
            }
        }
    };
    let rows = html! { @for it in seen.intervals.iter().take(INTERVALS) { (row(it)) } };
    let title = if is_machine {
        tongue.say("Địa chỉ theo thời gian", "Addresses over time")
    } else {
        tongue.say("Ai đã dùng địa chỉ này", "Who had this address")
    };
    parts::card(
        title,
        &html! { @if seen.intervals.len() > INTERVALS { span.soft { (tongue.number(INTERVALS as u64)) " / " (tongue.number(seen.intervals.len() as u64)) } } },
        &html! {
            @if seen.intervals.is_empty() {
                (parts::empty(tongue.say("Chưa nguồn nào cho biết.", "No source tells."), &html! { (tongue.say("Nhập DHCP hoặc kiểm kê trong [identity].", "Import DHCP leases or inventories in [identity].")) }))
            } @else { (parts::cards(title, &heads, &rows)) }
        },
    )
}

/// Sources are known by the paths of their files.
fn file_name(source: &str) -> &str {
    source.rsplit_once('/').map_or(source, |(_, name)| name)
}

fn last_hits(call: &Call, hits: &[Record<'_>], id: &str) -> Markup {
    let tongue = call.tongue;
    if hits.is_empty() {
        return html! {};
    }
    let heads = [
        Head::Text(tongue.say("Thời gian", "Time")),
        Head::Text(tongue.say("Tên miền", "Name")),
        Head::Text(tongue.say("Loại", "Type")),
        Head::Text(tongue.say("Họ mã độc", "Family")),
        Head::Text(tongue.say("Địa chỉ", "Address")),
        Head::Unseen(tongue.say("Xem thêm", "More")),
    ];
    let rows = html! {
        @for record in hits {
            @let name = parts::name_text(&record.qname);
            tr.hit {
                th scope="row" { (parts::time(call, record.time)) }
                td.name data-label=(tongue.say("Tên miền", "Name")) { (parts::qname(call, &name)) }
                td data-label=(tongue.say("Loại", "Type")) { (wire::type_text(record.qtype)) }
                td data-label=(tongue.say("Họ", "Family")) { (parts::family(tongue, record.family.as_deref().unwrap_or(""))) }
                td data-label=(tongue.say("Địa chỉ", "Address")) { (parts::client(record.source())) }
                td { a href=(parts::link(&["log"], &[("client", id), ("around", &exact(record.time))])) { (tongue.say("Quanh đó", "Around")) } }
            }
        }
    };
    parts::card(
        tongue.say("Lượt chặn gần nhất", "Latest hits"),
        &html! { a href=(hits_link(&[("client", id)], "30d")) { (tongue.say("Tất cả", "All")) } },
        &parts::cards(tongue.say("Lượt chặn gần nhất", "Latest hits"), &heads, &rows),
    )
}

fn contact_table(call: &Call, contacts: &[Contact]) -> Markup {
    let tongue = call.tongue;
    let heads = [
        Head::Text(tongue.say("Thời gian", "Time")),
        Head::Text(tongue.say("Cổng", "Port")),
        Head::Text(tongue.say("Tên và đường dẫn", "Name and path")),
        Head::Text(tongue.say("Chương trình", "Program")),
        Head::Number(tongue.say("Lần", "Times")),
    ];
    let rows = html! {
        @for contact in contacts {
            tr {
                th scope="row" { (parts::time(call, contact.time)) }
                td data-label=(tongue.say("Cổng", "Port")) { (contact.local.port()) " " span.soft.small { (contact.via.as_str()) } }
                td.name data-label=(tongue.say("Tên", "Name")) { (contact.name.as_deref().unwrap_or("—")) @if let Some(path) = &contact.path { span.soft.small { (path) } } }
                td.name data-label=(tongue.say("Chương trình", "Program")) { (contact.agent.as_deref().or(contact.ja4.as_deref()).unwrap_or("—")) }
                td.number data-label=(tongue.say("Lần", "Times")) { (contact.count) }
            }
        }
    };
    parts::card(
        tongue.say("Kết nối tới sinkhole", "Contacts with the sinkhole"),
        &html! { span.soft { (tongue.say("30 ngày", "30 days")) } },
        &html! {
            @if contacts.is_empty() {
                (parts::empty(tongue.say("Máy này chưa kết nối tới sinkhole.", "This machine did not come to the sinkhole."), &html! {
                    (tongue.say("Chỉ hỏi tên mà không kết nối: có thể do DNS của đơn vị hỏi thay, hoặc đường tới sinkhole bị chặn.", "It asks and does not connect: its agency's DNS may ask for others, or the way to the sinkhole is closed."))
                }))
            } @else { (parts::cards(tongue.say("Kết nối tới sinkhole", "Contacts with the sinkhole"), &heads, &rows)) }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::super::super::access::Role;
    use super::super::super::tests::{Scratch, text, viewer};

    #[test]
    fn a_machine_says_when_it_asked_and_who_told_of_it() {
        let scratch = Scratch::new();
        let get = |target: &str| text(scratch.get(&viewer(Role::Reader), target).unwrap());
        let list = get("/machines");
        assert!(list.contains("Last told of by DHCP or an inventory"), "{list}");
        // The inventory is of the day before; the machine asked today.
        let page = get("/machines/m-1");
        let asked = page.split("Day of the last query").nth(1).unwrap();
        assert!(asked.split("</dd>").next().unwrap().contains("26 Nov 2026"), "{page}");
        assert!(page.contains("Last told of by DHCP or an inventory"), "{page}");
    }
}
