//! Who came to the sinkhole: each contact with the hit that led to it, and which machine it tells.

use std::net::IpAddr;
use std::sync::Arc;

use maud::{Markup, html};

use super::super::access::Right;
use super::super::answer::{Failure, Reply, Stream};
use super::super::call::Call;
use super::super::data::Data;
use super::super::parts::{self, Head, Tone};
use super::super::routes::{Needs, Route, get};
use super::super::shell;
use crate::cases::Subject;
use crate::cases::export::time_text;
use crate::evidence::contacts::{Contact, ContactFilter, Via};
use crate::evidence::export::csv;
use crate::identity::{Hints, Who};
use crate::name::Name;

/// Contacts of a page, and that an export reads at once.
const PAGE: usize = 50;
const PART: usize = 1000;
/// Characters of what was sent first that a page shows.
const SHOWN: usize = 60;
const VIAS: [Via; 4] = [Via::Http, Via::Tls, Via::Tcp, Via::Udp];
const HOUR: i64 = 3_600_000_000;

pub(in crate::console) static ROUTES: &[Route] = &[
    get("/contacts", Needs::Right(Right::See), page),
    get("/contacts/export", Needs::Right(Right::See), export),
];

fn wrong(field: &'static str, vietnamese: &str, english: &str) -> Failure {
    Failure::Wrong { field, vietnamese: vietnamese.to_owned(), english: english.to_owned() }
}

fn filter(call: &Call) -> Result<ContactFilter, Failure> {
    let query = &call.query;
    let client = query.find("client").map(|text| {
        let client = super::super::works::address(text);
        client.ok_or_else(|| wrong("client", "không phải địa chỉ IP", "not an IP address"))
    });
    let name = query
        .find("name")
        .map(|text| Name::from_host(text).map_err(|_| wrong("name", "không phải tên miền", "not a name")));
    let port = query
        .find("port")
        .map(|text| text.parse().map_err(|_| wrong("port", "cổng từ 1 đến 65535", "a port from 1 to 65535")));
    let via = query.find("via").map(|word| {
        let via = VIAS.into_iter().find(|via| via.as_str() == word);
        via.ok_or_else(|| wrong("via", "giá trị không hợp lệ", "no such value"))
    });
    let since = query.find("period").map(|hours| {
        let hours: i64 = hours.parse().ok().filter(|hours| (1..=100_000).contains(hours))?;
        Some(call.now - hours * HOUR)
    });
    let after = query.find("after").map(|text| {
        let (time, id) = text.split_once('.')?;
        Some((time.parse().ok()?, id.parse().ok()?))
    });
    Ok(ContactFilter {
        client: client.transpose()?,
        name: name.transpose()?,
        port: port.transpose()?,
        via: via.transpose()?,
        since: since.flatten(),
        after: after.flatten(),
        ..ContactFilter::default()
    })
}

fn page(call: &Call) -> Result<Reply, Failure> {
    let tongue = call.tongue;
    let data = call.data()?;
    let found = data.contacts(&filter(call)?, call.query.find("agency"), PAGE)?;
    let joined = data.joined(&found.rows)?;
    let is_province = call.viewer()?.agency().is_none();
    let mut heads = vec![
        Head::Text(tongue.say("Lúc", "When")),
        Head::Text(tongue.say("Máy", "Machine")),
        Head::Text(tongue.say("Tới", "To")),
        Head::Text(tongue.say("Tên và nội dung", "Name and content")),
        Head::Text(tongue.say("Truy vấn dẫn tới", "The hit that led to it")),
        Head::Number(tongue.say("Số lần", "Times")),
    ];
    if is_province {
        heads.insert(2, Head::Text(tongue.say("Cơ quan", "Agency")));
    }
    let rows = html! {
        @for contact in &found.rows {
            @let agency = call.house.agency_of(contact.client);
            @let led = joined.hit_of(contact);
            tr {
                td data-label=(tongue.say("Lúc", "When")) { (parts::time(call, contact.time)) }
                th scope="row" { (machine(call, contact, agency.as_deref())) }
                @if is_province { td data-label=(tongue.say("Cơ quan", "Agency")) { (parts::agency(call, agency.as_deref())) } }
                td data-label=(tongue.say("Tới", "To")) { (via_text(contact.via)) " " span.soft { (contact.local.port()) } }
                td.name data-label=(tongue.say("Nội dung", "Content")) { (content(call, contact)) }
                td.name data-label=(tongue.say("Truy vấn dẫn tới", "The hit")) {
                    @match led {
                        None => span.soft { "—" },
                        Some(led) => {
                            @if let Some(family) = &led.hit.family { (parts::badge(Tone::Bad, family)) } @else { (parts::badge(Tone::Plain, tongue.say("chưa rõ họ", "no family"))) }
                            div.small.soft { (parts::ago(call, led.hit.time)) @if let Some(feed) = &led.hit.feed { " · " (feed) } }
                            @if led.is_behind {
                                div.small { (tongue.say("hỏi qua máy chủ DNS ", "asked through ")) span.mono { (led.hit.client) }
                                    (tongue.say(": kết nối này cho biết máy thật", ": this contact tells the machine")) }
                            }
                        },
                    }
                }
                td.number data-label=(tongue.say("Số lần", "Times")) { (tongue.number(u64::from(contact.count))) }
            }
        }
    };
    let vias = VIAS.map(|via| (via.as_str(), via_text(via)));
    let periods = [
        ("24", tongue.say("24 giờ qua", "Last 24 hours")),
        ("168", tongue.say("7 ngày qua", "Last 7 days")),
        ("720", tongue.say("30 ngày qua", "Last 30 days")),
    ];
    let after = found.after.map(|(time, id)| format!("{time}.{id}"));
    let body = html! {
        @if is_province {
            p.hint {
                (tongue.say("Một kết nối cho biết đúng máy nào bị nhiễm. ", "A contact tells which machine it is. "))
                a href="/agencies?blind=1" { (tongue.say("Các cơ quan có lượt chặn mà không máy nào tới đây", "Agencies with hits of which no machine comes here")) } "."
            }
        }
        (parts::filters(call, &html! {
            (parts::field(call, "client", tongue.say("Địa chỉ máy", "Client"), "10.1.2.3"))
            (parts::field(call, "name", tongue.say("Tên miền", "Name"), "evil.example"))
            (parts::agency_choice(call))
            (parts::choice(call, "via", tongue.say("Giao thức", "Protocol"), tongue.say("Tất cả", "All"), vias))
            (parts::field(call, "port", tongue.say("Cổng", "Port"), "443"))
            (parts::choice(call, "period", tongue.say("Thời gian", "Time"), tongue.say("Tất cả", "All"), periods))
        }))
        @if joined.is_partial {
            (parts::notice(Tone::Info, &html! { (tongue.say(
                "Quá nhiều lượt chặn trong thời gian này: không phải kết nối nào cũng đã được ghép.",
                "There are too many hits in this time: not every contact was joined to its hit.",
            )) }))
        }
        @if found.rows.is_empty() && after.is_none() {
            section.card { (parts::empty(
                tongue.say("Chưa có kết nối nào như vậy", "There is no such contact"),
                &html! { (tongue.say(
                    "Khi máy nhiễm mã độc kết nối tới sinkhole, kết nối hiện ở đây. Nếu có lượt chặn mà ở đây trống, hãy kiểm tra định tuyến tới sinkhole.",
                    "When an infected machine connects to the sinkhole, that shows here. Where there are hits and nothing here, check the route to the sinkhole.",
                )) },
            )) }
        } @else {
            (parts::cards(tongue.say("Kết nối tới sinkhole, mới nhất ở trên", "Contacts with the sinkhole, the newest first"), &heads, &rows))
            div.pager {
                (parts::pager(call, found.rows.len(), after.as_deref()))
                (parts::export(call, "/contacts/export"))
            }
        }
    };
    Ok(shell::page(call, tongue.say("Kết nối sinkhole", "Contacts"), &body))
}

/// Who it was at that time.
fn machine(call: &Call, contact: &Contact, agency: Option<&str>) -> Markup {
    let hints = Hints { agency, ..Hints::default() };
    let who = call.house.book().who(contact.client, contact.time, &hints);
    html! {
        @match who {
            Ok(Who::Machine(machine)) => {
                (parts::machine(&Subject::Machine(machine.id), machine.host.as_deref()))
                div.small { (parts::client(contact.client)) }
            },
            _ => (parts::client(contact.client)),
        }
    }
}

fn via_text(via: Via) -> &'static str {
    match via {
        Via::Http => "HTTP",
        Via::Tls => "TLS",
        Via::Tcp => "TCP",
        Via::Udp => "UDP",
    }
}

/// Octets that can be read, as text, the others as points; `None` where next to nothing can be read.
fn readable(octets: &[u8]) -> Option<String> {
    let legible = octets.iter().filter(|octet| octet.is_ascii_graphic()).count();
    if legible < 4 || legible * 2 < octets.len().min(SHOWN) {
        return None;
    }
    let shown = octets.iter().take(SHOWN);
    let mut text: String =
        shown.map(|octet| if (0x20..0x7f).contains(octet) { char::from(*octet) } else { '·' }).collect();
    if octets.len() > SHOWN {
        text.push('…');
    }
    Some(text)
}

fn content(call: &Call, contact: &Contact) -> Markup {
    html! {
        @if let Some(name) = &contact.name {
            @if name.parse::<IpAddr>().is_ok() { (name) } @else { (parts::qname(call, name)) }
        }
        @if let Some(path) = &contact.path { " " span.small.soft { (path) } }
        @if let Some(agent) = &contact.agent { div.small.soft { (agent) } }
        @if let Some(ja4) = &contact.ja4 { div.small.soft { "JA4 " span.mono { (ja4) } } }
        @if let Some(text) = readable(&contact.first).filter(|_| contact.path.is_none()) { div.small.mono { (text) } }
    }
}

const HEADING: [&str; 13] = [
    "id",
    "time",
    "client",
    "source_port",
    "agency",
    "local",
    "via",
    "name",
    "path",
    "agent",
    "ja4",
    "first",
    "count",
];

fn export(call: &Call) -> Result<Reply, Failure> {
    let is_csv = call.query.find("format") != Some("jsonl");
    let mut filter = filter(call)?;
    let agency = call.query.find("agency").map(str::to_owned);
    let (house, viewer, now, from) = (Arc::clone(&call.house), call.viewer()?.clone(), call.now, call.client);
    // Recorded, and found wrong, before anything is sent.
    let first = call.data()?.contacts(&filter, agency.as_deref(), PART)?;
    let write = move |out: &mut dyn std::io::Write| {
        if is_csv {
            write!(out, "{}\r\n", HEADING.join(","))?;
        }
        let mut part = first;
        loop {
            for contact in &part.rows {
                let agency = house.agency_of(contact.client);
                write_contact(out, contact, agency.as_deref(), is_csv)?;
            }
            let Some(after) = part.after else { return Ok(()) };
            // Of one client, each part is a look of its own.
            filter.after = Some(after);
            let data = Data::new(&*house, &viewer, now).from(from);
            part = data.contacts(&filter, agency.as_deref(), PART).map_err(std::io::Error::other)?;
        }
    };
    Ok(Reply::Stream(Stream::export(is_csv, "contacts", Box::new(write))))
}

fn write_contact(
    out: &mut dyn std::io::Write,
    contact: &Contact,
    agency: Option<&str>,
    is_csv: bool,
) -> std::io::Result<()> {
    let Contact { id, time, client, source_port, local, via, name, path, agent, ja4, first, count } = contact;
    let hex: String = first.iter().map(|octet| format!("{octet:02x}")).collect();
    if !is_csv {
        let line = serde_json::json!({
            "id": id, "time": time_text(*time), "client": client, "source_port": source_port, "agency": agency,
            "local": local, "via": via.as_str(), "name": name, "path": path, "agent": agent, "ja4": ja4, "first": hex,
            "count": count,
        });
        return writeln!(out, "{line}");
    }
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let fields = [
        id.to_string(),
        time_text(*time),
        client.to_string(),
        source_port.to_string(),
        agency.unwrap_or_default().to_owned(),
        local.to_string(),
        via.as_str().to_owned(),
        text(name),
        text(path),
        text(agent),
        text(ja4),
        hex,
        count.to_string(),
    ];
    let fields: Vec<String> = fields.iter().map(|field| csv::quoted(field)).collect();
    write!(out, "{}\r\n", fields.join(","))
}
