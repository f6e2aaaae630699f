//! Hunts: who asked for these names or was answered these addresses; and what later lists found in the log by themselves.

use std::collections::HashMap;
use std::net::IpAddr;

use hyper::Method;
use maud::{Markup, html};
use serde_json::json;

use super::super::access::Right;
use super::super::answer::{Failure, Reply, Stream};
use super::super::audit;
use super::super::call::Call;
use super::super::data::look::DAY;
use super::super::hunts::{Find, Hunt, HuntError, Stage, Wish};
use super::super::parts::{self, Confirm, Head, Tone};
use super::super::routes::{Needs, Route, get, post};
use super::super::shell;
use super::super::tongue::Tongue;
use super::log::{exact, time};
use crate::cases::Subject;
use crate::evidence::export::csv;

/// Finds of a page, and of what lists found.
const PAGE: usize = 100;
const FINDS: usize = 50;
/// Characters of a title.
const TITLE: usize = 120;
/// Octets of a form with a list: names of some thousand lines.
const LIST: usize = 1 << 20;

pub(in crate::console) static ROUTES: &[Route] = &[
    get("/hunts", Needs::Right(Right::SeeProvince), page),
    Route {
        method: Method::POST,
        path: "/hunts",
        needs: Needs::Right(Right::Rule),
        most: LIST,
        answer: start,
    },
    get("/hunts/{number}", Needs::Right(Right::SeeProvince), one),
    get("/hunts/{number}/progress", Needs::Right(Right::SeeProvince), progress),
    get("/hunts/{number}/export", Needs::Right(Right::SeeProvince), export),
    post("/hunts/{number}/stop", Needs::Right(Right::Rule), stop),
    post("/hunts/{number}/remove", Needs::Right(Right::Rule), remove),
];

const DONE: [(&str, &str, &str); 2] = [
    ("stopped", "Đang dừng; những gì đã tìm thấy được giữ lại.", "It stops; what was found by now is kept."),
    ("removed", "Đã xóa lần truy tìm.", "The hunt was removed."),
];

fn stage(tongue: Tongue, stage: Stage) -> Markup {
    match stage {
        Stage::Running => parts::badge(Tone::Info, tongue.say("Đang tìm", "Running")),
        Stage::Done => parts::badge(Tone::Good, tongue.say("Xong", "Done")),
        Stage::Stopped => parts::badge(Tone::Warn, tongue.say("Đã dừng", "Stopped")),
        Stage::CutOff => {
            parts::badge(Tone::Warn, tongue.say("Bị ngắt khi máy chủ dừng", "Cut off by the server's stop"))
        }
        Stage::Failed => parts::badge(Tone::Bad, tongue.say("Lỗi", "Failed")),
    }
}

fn page(call: &Call) -> Result<Reply, Failure> {
    let tongue = call.tongue;
    let hunts = call.house.hunts().all();
    let may = call.viewer()?.may(Right::Rule);
    let heads = [
        Head::Text(tongue.say("Truy tìm", "Hunt")),
        Head::Text(tongue.say("Trạng thái", "State")),
        Head::Text(tongue.say("Bắt đầu", "Begun")),
        Head::Text(tongue.say("Người tìm", "By")),
        Head::Number(tongue.say("Tìm gì", "Sought")),
        Head::Number(tongue.say("Địa chỉ thấy", "Clients found")),
    ];
    let rows = html! {
        @for hunt in &hunts {
            tr {
                th scope="row" { a href=(link(hunt)) { (title(tongue, hunt)) } }
                td data-label=(tongue.say("Trạng thái", "State")) { (stage(tongue, hunt.stage)) }
                td data-label=(tongue.say("Bắt đầu", "Begun")) { (parts::ago(call, hunt.number)) }
                td data-label=(tongue.say("Người tìm", "By")) { (hunt.by) }
                td.number data-label=(tongue.say("Tìm gì", "Sought")) { (tongue.number(hunt.count as u64)) }
                td.number data-label=(tongue.say("Địa chỉ thấy", "Clients found")) { (tongue.number(hunt.clients as u64)) }
            }
        }
    };
    let body = html! {
        (parts::done(call, &DONE))
        @if may { (form(call, None)) }
        section.card {
            header { h2 { (tongue.say("Các lần truy tìm", "Hunts so far")) } }
            @if hunts.is_empty() {
                (parts::empty(tongue.say("Chưa có lần truy tìm nào.", "There was no hunt yet."), &html! { (tongue.say("Dán các tên miền hay địa chỉ trong cảnh báo của cơ quan chức năng vào ô trên.", "Paste the names or addresses of an authority's warning above.")) }))
            } @else { (parts::cards(tongue.say("Các lần truy tìm", "Hunts"), &heads, &rows)) }
        }
        (found_by_lists(call)?)
    };
    Ok(shell::page(call, tongue.say("Truy tìm", "Hunts"), &body))
}

fn link(hunt: &Hunt) -> String {
    parts::link(&["hunts", &hunt.number.to_string()], &[])
}

fn title(tongue: Tongue, hunt: &Hunt) -> String {
    if !hunt.title.is_empty() {
        return hunt.title.clone();
    }
    hunt.sought.first().cloned().unwrap_or_else(|| tongue.say("Truy tìm", "Hunt").to_owned())
}

/// What is asked for a new one; with what was wrong about the last try.
fn form(call: &Call, wrong: Option<&str>) -> Markup {
    let tongue = call.tongue;
    let spans = [
        ("7d", tongue.say("7 ngày", "7 days")),
        ("30d", tongue.say("30 ngày", "30 days")),
        ("90d", tongue.say("90 ngày", "90 days")),
        ("365d", tongue.say("1 năm (theo tổng hợp)", "1 year (by sums)")),
    ];
    let chosen = call.form.find("since").unwrap_or("90d");
    parts::card(
        tongue.say("Truy tìm mới", "New hunt"),
        &html! {},
        &html! {
            p.soft { (tongue.say("Máy nào đã hỏi các tên miền này (kể cả tên con) hoặc được trả lời các địa chỉ này? Việc tìm chạy nền, bạn có thể rời trang.", "Which machines asked for these names (and those below), or were answered these addresses? It runs in the background; you may leave the page.")) }
            @if let Some(wrong) = wrong { (parts::notice(Tone::Bad, &html! { (wrong) })) }
            form.stack method="post" action="/hunts" {
                (parts::csrf(call))
                label { (tongue.say("Tên miền, địa chỉ, mạng; mỗi dòng một mục (nhận cả evil[.]vn)", "Names, addresses, networks, one a line (evil[.]vn too)"))
                    textarea name="sought" rows="6" required spellcheck="false" placeholder="evil.vn\n203.0.113.7\n198.51.100.0/24" { (call.form.find("sought").unwrap_or("")) }
                }
                div.grid {
                    label { (tongue.say("Về việc gì (không bắt buộc)", "What it is about (optional)"))
                        input type="text" name="title" maxlength=(TITLE) value=[call.form.find("title")]; }
                    label { (tongue.say("Tìm trong", "Search"))
                        select name="since" { @for (value, text) in spans { option value=(value) selected[value == chosen] { (text) } } } }
                }
                button { (tongue.say("Bắt đầu tìm", "Start")) }
            }
        },
    )
}

fn start(call: &Call) -> Result<Reply, Failure> {
    let tongue = call.tongue;
    let text = call.form.find("sought").unwrap_or("");
    let title: String = call.form.find("title").unwrap_or("").chars().take(TITLE).collect();
    let since = call.form.find("since").and_then(|age| time(age, call.now)).unwrap_or(call.now - 90 * DAY);
    let since = since.clamp(call.now - 3660 * DAY, call.now);
    let viewer = call.viewer()?;
    let wish = Wish { title: &title, text, since, by: &viewer.name };
    let started = call.house.hunts().start(&call.house, &wish, call.now);
    let wrong = match started {
        Ok(number) => {
            audit::changed(call, "hunt.start", &number.to_string(), &title)?;
            return Ok(Reply::Redirect(parts::link(&["hunts", &number.to_string()], &[])));
        }
        Err(HuntError::Nothing(why)) => {
            let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
            tongue.say(
                format!("Không có tên miền hay địa chỉ nào đọc được{why}."),
                format!("There is no name or address that could be read{why}."),
            )
        }
        Err(HuntError::Many(most)) => tongue.say(
            format!("Tối đa {most} mục một lần; hãy chia nhỏ danh sách."),
            format!("At most {most} at once: split the list."),
        ),
        Err(HuntError::Busy) => tongue.say(
            "Đang có hai lần truy tìm chạy; hãy đợi một lần xong.".to_owned(),
            "Two hunts run already: wait for one to end.".to_owned(),
        ),
        Err(HuntError::Disk(why)) => {
            tongue.say(format!("Không ghi được vào đĩa: {why}."), format!("The disk refuses: {why}."))
        }
    };
    Ok(shell::page(call, tongue.say("Truy tìm", "Hunts"), &form(call, Some(&wrong))))
}

fn find(call: &Call) -> Result<Hunt, Failure> {
    let number = call.place("number").parse().map_err(|_| Failure::Absent)?;
    call.house.hunts().find(number).ok_or(Failure::Absent)
}

fn one(call: &Call) -> Result<Reply, Failure> {
    let tongue = call.tongue;
    let hunt = find(call)?;
    let may = call.viewer()?.may(Right::Rule);
    let from = call.query.find("after").and_then(|from| from.parse::<usize>().ok()).unwrap_or(0);
    let finds = call.house.hunts().finds(hunt.number, from, PAGE);
    let next = (finds.len() == PAGE).then(|| (from + PAGE).to_string());
    let number = hunt.number.to_string();
    let action = |what: &str| parts::link(&["hunts", &number, what], &[]);
    let body = html! {
        p.trail { a href="/hunts" { (tongue.say("Truy tìm", "Hunts")) } " › " (title(tongue, &hunt)) }
        (parts::done(call, &DONE))
        section.card {
            dl.facts {
                dt { (tongue.say("Trạng thái", "State")) } dd { (stage(tongue, hunt.stage)) @if let Some(trouble) = &hunt.trouble { " " (trouble) } }
                dt { (tongue.say("Người tìm", "By")) } dd { (hunt.by) ", " (parts::time(call, hunt.number)) }
                dt { (tongue.say("Tìm từ", "Searched from")) } dd { (parts::day(call, hunt.since)) }
                dt { (tongue.say("Tìm gì", "Sought")) } dd {
                    (tongue.number(hunt.count as u64)) (tongue.say(" mục", " entries"))
                    details { summary { (tongue.say("Xem", "Show")) } ul.small { @for sought in &hunt.sought { li.name { (sought) } } @if hunt.sought.len() < hunt.count { li { "…" } } } }
                }
                dt { (tongue.say("Thấy", "Found")) } dd { (tongue.number(hunt.clients as u64)) (tongue.say(" địa chỉ, ", " clients, ")) (tongue.number(hunt.found as u64)) (tongue.say(" dòng", " rows")) }
            }
            @if hunt.stage == Stage::Running {
                @let (done, total) = call.house.hunts().progress(hunt.number).unwrap_or((0, 0));
                div data-live=(action("progress")) data-every="2" data-reload {
                    progress data-progress="percent" aria-label=(tongue.say("Tiến độ", "Progress")) max="100" value=(percent(done, total)) {}
                    p.small.soft { (tongue.say("Trang tự tải lại khi xong; không có script thì hãy tải lại trang.", "The page reloads when it is over; without scripts reload it yourself.")) }
                }
                @if may { (parts::confirm(call, &Confirm { action: &action("stop"), button: tongue.say("Dừng", "Stop"), reason: None, is_danger: true }, &html! {})) }
            } @else if may {
                (parts::confirm(call, &Confirm { action: &action("remove"), button: tongue.say("Xóa lần truy tìm này", "Remove this hunt"), reason: None, is_danger: true }, &html! {}))
            }
        }
        @if finds.is_empty() && hunt.stage != Stage::Running {
            (parts::empty(tongue.say("Không máy nào đã hỏi.", "No machine asked."), &html! { (tongue.say("Nếu là tên miền độc hại thật, hãy thêm vào chính sách để chặn từ nay.", "If these are malicious, add them to the policy, so that they are blocked from now on.")) }))
        } @else if !finds.is_empty() {
            (find_table(call, &finds)?)
            div.pager { (parts::pager(call, finds.len(), next.as_deref())) (parts::export(call, &action("export"))) }
        }
    };
    Ok(shell::page(call, &title(tongue, &hunt), &body))
}

fn find_table(call: &Call, finds: &[Find]) -> Result<Markup, Failure> {
    let tongue = call.tongue;
    let data = call.data()?;
    let mut hosts = HashMap::new();
    for find in finds {
        if let std::collections::hash_map::Entry::Vacant(entry) = hosts.entry((find.client, find.last)) {
            entry.insert(data.host(find.client, find.last)?);
        }
    }
    let heads = [
        Head::Text(tongue.say("Địa chỉ", "Client")),
        Head::Text(tongue.say("Máy", "Machine")),
        Head::Text(tongue.say("Cơ quan", "Agency")),
        Head::Text(tongue.say("Hỏi gì", "What")),
        Head::Text(tongue.say("Lần cuối", "Last")),
        Head::Number(tongue.say("Số lần", "Times")),
        Head::Text(tongue.say("Khi đó", "Then")),
        Head::Unseen(tongue.say("Xem thêm", "More")),
    ];
    let rows = html! {
        @for find in finds {
            tr.hit[find.was_hit] {
                th scope="row" { (parts::client(find.client)) }
                td data-label=(tongue.say("Máy", "Machine")) { @match hosts.get(&(find.client, find.last)).and_then(Option::as_ref) { Some(machine) => (parts::machine(&Subject::Machine(machine.id), machine.host.as_deref())), None => span.soft { "—" } } }
                td data-label=(tongue.say("Cơ quan", "Agency")) { (parts::agency(call, find.agency.as_deref())) }
                td.name data-label=(tongue.say("Hỏi gì", "What")) { (parts::qname(call, &find.what)) }
                td data-label=(tongue.say("Lần cuối", "Last")) { (parts::time(call, find.last)) @if find.count > 1 { div.soft.small { (tongue.say("từ ", "since ")) (parts::day(call, find.first)) } } }
                td.number data-label=(tongue.say("Số lần", "Times")) { (tongue.number(find.count)) }
                td data-label=(tongue.say("Khi đó", "Then")) { @if find.was_hit { (parts::badge(Tone::Good, tongue.say("đã chặn", "blocked"))) } @else { (parts::badge(Tone::Bad, tongue.say("đã lọt", "let through"))) } }
                td { a href=(parts::link(&["log"], &[("client", &find.client.to_string()), ("around", &exact(find.last))])) { (tongue.say("Quanh đó", "Around")) } }
            }
        }
    };
    Ok(parts::cards(
        tongue.say("Ai đã hỏi, mới nhất trước", "Who asked, those seen last first"),
        &heads,
        &rows,
    ))
}

fn percent(done: u64, total: u64) -> u64 {
    done.saturating_mul(100).checked_div(total).unwrap_or(0)
}

fn progress(call: &Call) -> Result<Reply, Failure> {
    let hunt = find(call)?;
    let progress = call.house.hunts().progress(hunt.number);
    let (done, total) = progress.unwrap_or((1, 1));
    Ok(Reply::Json(json!({ "percent": percent(done, total), "over": progress.is_none() })))
}

fn stop(call: &Call) -> Result<Reply, Failure> {
    let hunt = find(call)?;
    call.house.hunts().stop(hunt.number);
    audit::changed(call, "hunt.stop", &hunt.number.to_string(), &hunt.title)?;
    Ok(Reply::Redirect(parts::link(&["hunts", &hunt.number.to_string()], &[("done", "stopped")])))
}

fn remove(call: &Call) -> Result<Reply, Failure> {
    let hunt = find(call)?;
    call.house.hunts().remove(hunt.number);
    audit::changed(call, "hunt.remove", &hunt.number.to_string(), &hunt.title)?;
    Ok(Reply::Redirect("/hunts?done=removed".to_owned()))
}

fn export(call: &Call) -> Result<Reply, Failure> {
    let hunt = find(call)?;
    let is_json = call.query.find("format") == Some("jsonl");
    let name = if is_json { "sachdns-hunt.jsonl" } else { "sachdns-hunt.csv" };
    audit::changed(call, "hunt.export", &hunt.number.to_string(), name)?;
    let finds = call.house.hunts().finds(hunt.number, 0, usize::MAX);
    let write = Box::new(move |out: &mut dyn std::io::Write| {
        if !is_json {
            write!(out, "client,agency,what,first,last,count,was_hit\r\n")?;
        }
        for find in &finds {
            let (first, last) = (exact(find.first), exact(find.last));
            if is_json {
                let line = json!({
                    "client": find.client, "agency": find.agency, "what": find.what, "first": first, "last": last,
                    "count": find.count, "was_hit": find.was_hit,
                });
                writeln!(out, "{line}")?;
            } else {
                let fields = [
                    find.client.to_string(),
                    find.agency.clone().unwrap_or_default(),
                    find.what.clone(),
                    first,
                    last,
                    find.count.to_string(),
                    find.was_hit.to_string(),
                ];
                let line: Vec<String> = fields.iter().map(|field| csv::quoted(field)).collect();
                write!(out, "{}\r\n", line.join(","))?;
            }
        }
        Ok(())
    });
    Ok(Reply::Stream(Stream::export(!is_json, "hunt", write)))
}

/// Hits that updates of lists found in what was recorded before.
fn found_by_lists(call: &Call) -> Result<Markup, Failure> {
    let tongue = call.tongue;
    let data = call.data()?;
    let finds = data.finds(call.now - 90 * DAY, 1000)?;
    // Of one machine and name the last is shown.
    let mut shown: HashMap<(IpAddr, &[u8]), usize> = HashMap::new();
    for find in &finds {
        *shown.entry((find.source(), &find.qname)).or_default() += 1;
    }
    let heads = [
        Head::Text(tongue.say("Lần cuối", "Last")),
        Head::Text(tongue.say("Địa chỉ", "Client")),
        Head::Text(tongue.say("Cơ quan", "Agency")),
        Head::Text(tongue.say("Tên miền", "Name")),
        Head::Text(tongue.say("Họ mã độc", "Family")),
        Head::Text(tongue.say("Nguồn", "Feed")),
        Head::Number(tongue.say("Số lần", "Times")),
    ];
    let mut told = std::collections::HashSet::new();
    let rows = html! {
        @for find in finds.iter().filter(|find| told.insert((find.source(), &find.qname))).take(FINDS) {
            @let name = parts::name_text(&find.qname);
            tr.hit {
                th scope="row" { (parts::time(call, find.time)) }
                td data-label=(tongue.say("Địa chỉ", "Client")) { (parts::client(find.source())) }
                td data-label=(tongue.say("Cơ quan", "Agency")) { (parts::agency(call, find.agency.as_deref())) }
                td.name data-label=(tongue.say("Tên miền", "Name")) { (parts::qname(call, &name)) }
                td data-label=(tongue.say("Họ", "Family")) { (parts::family(tongue, find.family.as_deref().unwrap_or(""))) }
                td data-label=(tongue.say("Nguồn", "Feed")) { (find.feed.as_deref().unwrap_or("—")) }
                td.number data-label=(tongue.say("Số lần", "Times")) { (tongue.number(shown.get(&(find.source(), &*find.qname)).copied().unwrap_or(1) as u64)) }
            }
        }
    };
    Ok(parts::card(
        tongue.say(
            "Danh sách mới tự tìm thấy trong nhật ký cũ (90 ngày)",
            "Found by new lists in the log (90 days)",
        ),
        &html! {},
        &html! {
            @if finds.is_empty() {
                (parts::empty(tongue.say("Chưa có.", "Nothing so far."), &html! { (tongue.say("Mỗi khi danh sách có mục mới, nhật ký được tìm lại ngay: máy đã hỏi trước khi bị liệt kê sẽ hiện ở đây.", "Whenever a list has something new, the log is searched for it: machines that asked before it was listed appear here.")) }))
            } @else {
                (parts::cards(tongue.say("Hỏi trước khi bị liệt kê", "Asked before it was listed"), &heads, &rows))
                @if finds.len() >= 1000 { p.soft.small { (tongue.say("Chỉ hiện các lần gần nhất.", "Only the latest are shown.")) } }
            }
        },
    ))
}
