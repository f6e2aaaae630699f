//! One case: what happened, how sure that is, what was done and by whom, and what can be done next. Fit to be printed.

use maud::{Markup, html};

use super::super::access::Right;
use super::super::answer::{Failure, Reply};
use super::super::audit;
use super::super::call::Call;
use super::super::data::work::Known;
use super::super::parts::{self, Confirm, Head, Tone};
use super::super::routes::{Needs, Route, get, post};
use super::super::shell;
use super::super::tongue::Tongue;
use super::cases::{actor, forget, missing, overdue, refused};
use super::coverage::{shield, shield_source};
use crate::cases::desk::LONGEST_NOTE;
use crate::cases::{
    Actor, Case, CaseFile, Desk, DeskError, Evidence, State, Step, Ticket, Trace, Verdict, What,
};

/// Pieces of evidence that a page shows: the last.
const MOST_TRACES: usize = 100;
/// Names that a verdict may be about.
const MOST_NAMES: usize = 50;
/// How many minutes of the log around a piece of evidence a link shows.
const AROUND: &str = "5";

pub(in crate::console) static ROUTES: &[Route] = &[
    get("/cases/{ticket}", Needs::Right(Right::See), page),
    post("/cases/{ticket}/assign", Needs::Right(Right::Work), |call| {
        act(call, "case.assign", "officer", true, |desk, case, text, by| {
            desk.assign(case.id, text, by, call.now)
        })
    }),
    post("/cases/{ticket}/note", Needs::Right(Right::Work), |call| {
        act(call, "case.note", "text", true, |desk, case, text, by| desk.note(case.id, text, by, call.now))
    }),
    post("/cases/{ticket}/told", Needs::Right(Right::Work), |call| {
        act(call, "case.told", "text", true, |desk, case, text, by| desk.told(case.id, text, by, call.now))
    }),
    post("/cases/{ticket}/clean", Needs::Right(Right::Work), |call| {
        act(call, "case.clean", "text", false, |desk, case, text, by| {
            desk.said_clean(case.id, text, by, call.now)
        })
    }),
    post("/cases/{ticket}/wrong", Needs::Right(Right::Work), |call| {
        act(call, "case.wrong", "text", false, |desk, case, text, by| {
            desk.said_wrong(case.id, text, by, call.now)
        })
    }),
    post("/cases/{ticket}/verdict", Needs::Right(Right::Judge), verdict),
    post("/cases/{ticket}/close", Needs::Right(Right::Judge), |call| {
        act(call, "case.close", "reason", true, |desk, case, text, by| {
            desk.close(case.id, text, by, call.now)
        })
    }),
    post("/cases/{ticket}/reopen", Needs::Right(Right::Judge), |call| {
        act(call, "case.reopen", "reason", true, |desk, case, text, by| {
            desk.reopen(case.id, text, by, call.now)
        })
    }),
    post("/cases/{ticket}/merge", Needs::Right(Right::Judge), merge),
];

/// What can have been done, by `?done=`.
const DONE: [(&str, &str, &str); 9] = [
    ("case.assign", "Đã giao ca cho cán bộ.", "The case was assigned."),
    ("case.note", "Đã ghi chú.", "The note was added."),
    ("case.told", "Đã ghi nhận việc thông báo.", "It was noted that somebody was told."),
    (
        "case.clean",
        "Đã ghi nhận: máy được báo là đã làm sạch.",
        "It was noted that the machine is said to be clean.",
    ),
    (
        "case.wrong",
        "Đã ghi nhận ý kiến chặn nhầm.",
        "It was noted that the name is said to be listed by mistake.",
    ),
    ("case.verdict", "Đã ghi nhận kết luận.", "The verdict was noted."),
    ("case.close", "Đã đóng ca.", "The case was closed."),
    ("case.reopen", "Đã mở lại ca.", "The case was opened again."),
    ("case.merge", "Đã gộp: cả hai mã dẫn tới ca này.", "Merged: both tickets lead to this case."),
];

fn ticket(call: &Call) -> Result<Ticket, Failure> {
    call.place("ticket").parse().map_err(|_| Failure::Absent)
}

fn page(call: &Call) -> Result<Reply, Failure> {
    let tongue = call.tongue;
    let (data, asked) = (call.data()?, ticket(call)?);
    let file = data.case_looked_at(asked)?;
    let case = &file.case;
    // A ticket of a case that became part of another one leads to that.
    if case.ticket != asked {
        return Ok(Reply::Redirect(parts::link(&["cases", &case.ticket.to_string()], &[])));
    }
    let (known, desk, viewer) = (data.machine_of(case)?, call.house.desk()?, call.viewer()?);
    let title = format!("{} {}", tongue.say("Ca", "Case"), case.ticket);
    let body = html! {
        (parts::done(call, &DONE))
        div.actions {
            (parts::state(tongue, case.course.state))
            (overdue(call, &desk, case))
            (parts::class(tongue, case.class))
            @if let Some(verdict) = case.verdict { (parts::verdict(tongue, verdict)) }
            @if case.course.reopened > 0 {
                (parts::badge(Tone::Warn, &tongue.say(
                    format!("Tái nhiễm {} lần", case.course.reopened),
                    match case.course.reopened {
                        1 => "Came back once".to_owned(),
                        times => format!("Came back {times} times"),
                    },
                )))
            }
        }
        div.grid {
            (parts::card(tongue.say("Việc gì đã xảy ra", "What happened"), &html! {}, &happened(call, &file)))
            (parts::card(tongue.say("Máy", "Machine"), &html! {}, &machine(call, case, &known)?))
        }
        (parts::card(tongue.say("Các bước xử lý", "Steps"), &html! {
            span.soft.small { (tongue.number(file.steps.len() as u64)) (tongue.say(" bước", " steps")) }
        }, &html! {
            ol.steps { @for step in &file.steps { (self::step(call, step)) } }
        }))
        @if viewer.may(Right::Work) { (work(call, &file, viewer.may(Right::Judge))) }
        (evidence(call, &file))
    };
    Ok(shell::page(call, &title, &body))
}

/// What the evidence amounts to.
fn certainty(tongue: Tongue, case: &Case) -> (Tone, &'static str) {
    match (case.verdict, case.contacts, case.class) {
        (Some(Verdict::Confirmed), ..) => (
            Tone::Bad,
            tongue.say("Đã được cán bộ phân tích xác nhận.", "An analyst has confirmed it."),
        ),
        (Some(Verdict::FalsePositive), ..) => (
            Tone::Plain,
            tongue.say("Cán bộ phân tích kết luận là nhận diện nhầm.", "An analyst says that it is a false positive."),
        ),
        (None, 1.., crate::cases::Class::C2) => (
            Tone::Bad,
            tongue.say(
                "Rất chắc chắn: máy đã truy vấn và đã kết nối tới sinkhole như mã độc gọi về máy chủ điều khiển.",
                "Very sure: the machine asked, and connected to the sinkhole as malware does to its server.",
            ),
        ),
        (None, 1.., _) => (
            Tone::Warn,
            tongue.say(
                "Chắc chắn có truy cập: máy đã truy vấn và đã kết nối tới sinkhole.",
                "There was a visit for sure: the machine asked, and connected to the sinkhole.",
            ),
        ),
        (None, 0, crate::cases::Class::C2) => (
            Tone::Warn,
            tongue.say(
                "Khả năng cao: máy đã truy vấn tên miền của mã độc; chưa thấy kết nối tới sinkhole.",
                "Likely: the machine asked for names of malware; no connection to the sinkhole was seen.",
            ),
        ),
        (None, 0, _) => (
            Tone::Plain,
            tongue.say(
                "Chỉ có truy vấn: có thể do người dùng bấm vào liên kết, hoặc do trình duyệt tải trước.",
                "Only queries: somebody may have followed a link, or a browser looked ahead.",
            ),
        ),
    }
}

fn happened(call: &Call, file: &CaseFile) -> Markup {
    let (tongue, case, course) = (call.tongue, &file.case, &file.case.course);
    let (tone, sure) = certainty(tongue, case);
    let span = |time: i64| parts::span_text(tongue, time);
    html! {
        (parts::notice(tone, &html! { (sure) }))
        dl.facts {
            dt { (tongue.say("Họ mã độc", "Family")) } dd { (parts::family(tongue, &case.family)) }
            dt { (tongue.say("Tên miền gần nhất", "Last name")) } dd { (parts::qname(call, &case.name)) }
            dt { (tongue.say("Số lần", "Hits")) }
            dd {
                (tongue.number(case.queries)) (tongue.say(" truy vấn, ", " queries, "))
                (tongue.number(case.contacts)) (tongue.say(" kết nối tới sinkhole", " connections to the sinkhole"))
            }
            dt { (tongue.say("Thấy lần đầu", "First seen")) } dd { (parts::time(call, course.first_hit)) }
            dt { (tongue.say("Thấy lần cuối", "Last seen")) } dd { (parts::time(call, course.last_hit)) }
            @if let Some(took) = course.time_to_notify() {
                dt { (tongue.say("Thời gian tới khi thông báo", "Time to notify")) } dd { (span(took)) }
            }
            @if let Some(took) = course.time_to_clean() {
                dt { (tongue.say("Thời gian làm sạch", "Time to clean")) } dd { (span(took)) }
            } @else {
                dt { (tongue.say("Số ngày yên", "Quiet days")) }
                dd {
                    (course.quiet_days) " / " (call.house.desk().map_or(0, |desk| desk.options().quiet_days))
                    span.soft.small { (tongue.say(
                        " — chỉ tính ngày máy có hoạt động mà không truy vấn độc hại",
                        " — days on which the machine asked and did not hit",
                    )) }
                }
            }
            @if file.tickets.len() > 1 {
                dt { (tongue.say("Các mã đã gộp", "Merged tickets")) }
                dd.mono { @for ticket in &file.tickets { (ticket) " " } }
            }
        }
    }
}

fn machine(call: &Call, case: &Case, known: &Known) -> Result<Markup, Failure> {
    let tongue = call.tongue;
    let agencies = call.house.agencies();
    let agency = case.agency.as_deref().and_then(|id| agencies.iter().find(|agency| &*agency.id == id));
    let machine = known.machine.as_ref();
    let shields = call.data()?.standings([case.subject])?;
    let row = shields.first().and_then(Option::as_ref);
    let text = |label: &str, value: Option<&str>| {
        html! { @if let Some(value) = value { dt { (label) } dd { (value) } } }
    };
    Ok(html! {
        dl.facts {
            dt { (tongue.say("Máy", "Machine")) } dd { (parts::case_machine(case)) }
            dt { (tongue.say("Địa chỉ gần nhất", "Last address")) } dd { (parts::client(case.client)) }
            @if let Some(machine) = machine {
                (text("MAC", machine.mac.map(|mac| mac.to_string()).as_deref()))
                (text(tongue.say("Người dùng", "Owner"), machine.owner.as_deref()))
                (text(tongue.say("Bộ phận", "Unit"), machine.unit.as_deref()))
            }
            dt { (tongue.say("Phần mềm bảo vệ", "Protection")) } dd {
                (shield(tongue, row, machine.and_then(|machine| machine.protection.as_deref())))
                @if let Some(row) = row { (shield_source(call, row)) }
            }
            @if !known.addresses.is_empty() {
                dt { (tongue.say("Các địa chỉ", "Addresses")) }
                dd { @for (at, interval) in known.addresses.iter().enumerate() {
                    @if at > 0 { ", " }
                    span.mono { (interval.address) }
                } }
            }
            dt { (tongue.say("Cơ quan", "Agency")) } dd { (parts::agency(call, case.agency.as_deref())) }
            (text(tongue.say("Liên hệ", "Contact"), agency.and_then(|agency| agency.contact.as_deref())))
            dt { (tongue.say("Cán bộ phụ trách", "Officer")) }
            dd { (case.officer.as_deref().unwrap_or(tongue.say("chưa giao", "nobody yet"))) }
            @if let Some(asked) = case.course.last_asked {
                dt { (tongue.say("Máy hoạt động lần cuối", "Last active")) } dd { (parts::time(call, asked)) }
            }
        }
    })
}

/// What a step is called.
pub(super) fn what_text(tongue: Tongue, what: What) -> &'static str {
    match what {
        What::Opened => tongue.say("Mở ca", "Opened"),
        What::Notified => tongue.say("Đã thông báo", "Somebody was told"),
        What::SaidClean => tongue.say("Báo đã làm sạch", "Said to be clean"),
        What::Relapsed => tongue.say("Lại truy vấn độc hại", "Seen again"),
        What::Watched => tongue.say("Bắt đầu theo dõi", "Watched"),
        What::Closed => tongue.say("Đóng ca", "Closed"),
        What::Reopened => tongue.say("Mở lại", "Opened again"),
        What::Assigned => tongue.say("Giao cán bộ", "Assigned"),
        What::Noted => tongue.say("Ghi chú", "Note"),
        What::SaidWrong => tongue.say("Báo chặn nhầm", "Said to be a mistake"),
        What::Judged => tongue.say("Kết luận", "Verdict"),
        What::Merged => tongue.say("Gộp ca", "Merged"),
        What::Identified => tongue.say("Nhận ra máy", "Identified"),
    }
}

fn actor_text(tongue: Tongue, by: &Actor) -> String {
    match by {
        Actor::Server => tongue.say("hệ thống", "the server").to_owned(),
        Actor::Visitor(address) => {
            tongue.say(format!("người dùng tại {address}"), format!("somebody at {address}"))
        }
        Actor::Person(name) => name.clone(),
    }
}

/// What the server itself notes, in the viewer's language; anything else as it was written.
fn note_text(tongue: Tongue, step: &Step) -> String {
    let note = &step.note;
    if tongue == Tongue::English {
        return note.clone();
    }
    let translated = match (&step.by, step.what) {
        (Actor::Server, What::Closed) => {
            note.strip_suffix(" quiet days").map(|days| format!("{days} ngày yên"))
        }
        (_, What::Judged) => note
            .strip_prefix("confirmed: ")
            .map(|why| format!("xác nhận nhiễm: {why}"))
            .or_else(|| note.strip_prefix("false-positive: ").map(|why| format!("nhận diện nhầm: {why}"))),
        (_, What::Closed) => (note == "false-positive").then(|| "nhận diện nhầm".to_owned()),
        _ => None,
    };
    translated.unwrap_or_else(|| note.clone())
}

fn step(call: &Call, step: &Step) -> Markup {
    let tongue = call.tongue;
    let note = note_text(tongue, step);
    html! {
        li {
            strong { (what_text(tongue, step.what)) }
            " " span.soft.small { (parts::time(call, step.time)) " · " (actor_text(tongue, &step.by)) }
            @if !note.is_empty() { div.name { (note) } }
        }
    }
}

fn evidence(call: &Call, file: &CaseFile) -> Markup {
    let tongue = call.tongue;
    let shown = file.traces.iter().rev().take(MOST_TRACES);
    let heads = [
        Head::Text(tongue.say("Lúc", "When")),
        Head::Text(tongue.say("Bằng chứng", "Evidence")),
        Head::Text(tongue.say("Tên miền", "Name")),
        Head::Text(tongue.say("Từ địa chỉ", "From")),
        Head::Number(tongue.say("Số lần", "Times")),
        Head::Text(tongue.say("Nhật ký", "Log")),
    ];
    let rows = html! {
        @for trace in shown {
            tr {
                td { (parts::time(call, trace.last)) }
                td { (kind(tongue, trace.evidence)) }
                td.name { (parts::qname(call, &trace.name)) }
                td { (parts::client(trace.client)) }
                td.number { (tongue.number(trace.count)) }
                td { a href=(around(trace)) { (tongue.say("xem xung quanh", "around this")) } }
            }
        }
    };
    let more = file.traces.len().saturating_sub(MOST_TRACES);
    parts::card(
        tongue.say("Bằng chứng", "Evidence"),
        &html! { span.soft.small {
            (tongue.say("mới nhất ở trên", "the newest first"))
            @if more > 0 { "; " (tongue.number(more as u64)) (tongue.say(" dòng cũ hơn không hiện", " older ones are not shown")) }
        } },
        &parts::table(tongue.say("Bằng chứng của ca", "Evidence of the case"), &heads, &rows),
    )
}

fn kind(tongue: Tongue, evidence: Evidence) -> &'static str {
    match evidence {
        Evidence::Query => tongue.say("Truy vấn", "Query"),
        Evidence::Contact(_) => tongue.say("Kết nối tới sinkhole", "Contact"),
        Evidence::Visit => tongue.say("Xem trang cảnh báo", "Saw the landing page"),
        Evidence::Find => tongue.say("Truy vấn trước khi có trong danh sách", "Query, before it was listed"),
    }
}

/// The log around a piece of evidence.
fn around(trace: &Trace) -> String {
    let at = jiff::Timestamp::from_microsecond(trace.last).map(|it| it.to_string()).unwrap_or_default();
    parts::link(&["log"], &[("client", &trace.client.to_string()), ("around", &at), ("within", AROUND)])
}

/// What can be done, by state and right.
fn work(call: &Call, file: &CaseFile, may_judge: bool) -> Markup {
    let (tongue, case) = (call.tongue, &file.case);
    let path = |action: &str| parts::link(&["cases", &case.ticket.to_string(), action], &[]);
    let is_open = case.course.is_open();
    let text = |label: &str, is_required: bool| {
        html! { label { (label) input type="text" name="text" required[is_required] maxlength=(LONGEST_NOTE) autocomplete="off"; } }
    };
    let form = |action: &str, button: &str, fields: &Markup| {
        let path = path(action);
        parts::confirm(call, &Confirm { action: &path, button, reason: None, is_danger: false }, fields)
    };
    let asked = |action: &str, button: &str, reason: &str, is_danger: bool| {
        let path = path(action);
        let confirm = Confirm { action: &path, button, reason: Some(reason), is_danger };
        parts::confirm(call, &confirm, &html! {})
    };
    let can_be_cleaned = matches!(case.course.state, State::New | State::Notified);
    parts::card(
        tongue.say("Việc tiếp theo", "What to do next"),
        &html! {},
        &html! {
            div.grid {
                div {
                    @if is_open {
                        (form("told", tongue.say("Đã thông báo", "Was told"), &text(
                            tongue.say("Đã báo cho ai, bằng cách nào", "Who was told, and how"), true)))
                    }
                    @if can_be_cleaned {
                        (form("clean", tongue.say("Báo đã làm sạch", "Said clean"), &text(
                            tongue.say("Đã làm gì (không bắt buộc)", "What was done (not required)"), false)))
                    }
                    (form("note", tongue.say("Thêm ghi chú", "Add a note"), &text(
                        tongue.say("Ghi chú", "Note"), true)))
                    (form("assign", tongue.say("Giao", "Assign"), &html! {
                        label { (tongue.say("Cán bộ phụ trách", "Officer"))
                            input type="text" name="officer" required maxlength="200" value=[case.officer.as_deref()] autocomplete="off"; }
                    }))
                    (form("wrong", tongue.say("Báo chặn nhầm", "Said to be a mistake"), &text(
                        tongue.say("Vì sao cho là nhầm (không bắt buộc)", "Why (not required)"), false)))
                }
                @if may_judge {
                    div {
                        @if case.verdict != Some(Verdict::Confirmed) && is_open {
                            (verdict_form(call, &path("verdict"), Verdict::Confirmed, &html! {}))
                        }
                        @if is_open {
                            (asked("close", tongue.say("Đóng ca", "Close"), tongue.say("Lý do đóng", "Why it is closed"), true))
                        } @else {
                            (asked("reopen", tongue.say("Mở lại ca", "Open again"), tongue.say("Lý do mở lại", "Why it is opened again"), false))
                        }
                        details {
                            summary { (tongue.say("Nhận diện nhầm…", "False positive …")) }
                            p.hint { (tongue.say(
                                "Ca được đóng; các tên đã chọn được đề xuất cho qua, chờ duyệt ở trang Chính sách.",
                                "The case is closed; the chosen names are proposed as exceptions, to be accepted on the policy page.",
                            )) }
                            (verdict_form(call, &path("verdict"), Verdict::FalsePositive, &names(tongue, file)))
                        }
                        details {
                            summary { (tongue.say("Gộp vào ca khác…", "Merge into another case …")) }
                            (form("merge", tongue.say("Gộp", "Merge"), &html! {
                                label { (tongue.say("Mã ca nhận (cùng họ mã độc và loại)", "Ticket of the other case (same family and kind)"))
                                    input type="text" name="into" required maxlength="20" autocomplete="off" placeholder="K7M4-QW9Y"; }
                                (text(tongue.say("Lý do (không bắt buộc)", "Why (not required)"), false))
                            }))
                        }
                    }
                }
            }
        },
    )
}

fn verdict_form(call: &Call, action: &str, verdict: Verdict, fields: &Markup) -> Markup {
    let tongue = call.tongue;
    let (button, reason) = match verdict {
        Verdict::Confirmed => {
            (tongue.say("Xác nhận nhiễm", "Confirm"), tongue.say("Căn cứ xác nhận", "Why it is confirmed"))
        }
        Verdict::FalsePositive => {
            (tongue.say("Kết luận nhận diện nhầm", "False positive"), tongue.say("Căn cứ", "Why"))
        }
    };
    let confirm =
        Confirm { action, button, reason: Some(reason), is_danger: verdict == Verdict::FalsePositive };
    parts::confirm(
        call,
        &confirm,
        &html! { input type="hidden" name="verdict" value=(verdict.as_str()); (fields) },
    )
}

/// The names of a case, all ticked.
fn names(tongue: Tongue, file: &CaseFile) -> Markup {
    let mut names: Vec<&str> = Vec::new();
    for trace in file.traces.iter().rev() {
        if names.len() < MOST_NAMES && !names.contains(&&*trace.name) {
            names.push(&trace.name);
        }
    }
    html! {
        fieldset {
            legend { (tongue.say("Tên vô hại", "Harmless names")) }
            @for name in names {
                label.check { input type="checkbox" name="name" value=(name) checked; (name) }
            }
        }
    }
}

fn done(call: &Call, ticket: Ticket, what: &str) -> Reply {
    forget(call);
    Reply::Redirect(parts::link(&["cases", &ticket.to_string()], &[("done", what)]))
}

/// Does one thing to the case, with the text of one field.
fn act(
    call: &Call,
    what: &'static str,
    field: &'static str,
    is_required: bool,
    act: impl FnOnce(&Desk, &Case, &str, &Actor) -> Result<Case, DeskError>,
) -> Result<Reply, Failure> {
    let text = call.form.find(field);
    if is_required && text.is_none() {
        return Err(missing(field));
    }
    let (desk, case) = call.data()?.case_to_work_on(ticket(call)?)?;
    let text = text.unwrap_or_default();
    act(&desk, &case, text, &actor(call)?).map_err(refused)?;
    audit::changed(call, what, &case.ticket.to_string(), text)?;
    Ok(done(call, case.ticket, what))
}

fn verdict(call: &Call) -> Result<Reply, Failure> {
    let verdict = match call.form.find("verdict") {
        Some("confirmed") => Verdict::Confirmed,
        Some("false-positive") => Verdict::FalsePositive,
        _ => return Err(missing("verdict")),
    };
    let reason = call.form.find("reason").ok_or_else(|| missing("reason"))?;
    let data = call.data()?;
    let (desk, case) = data.case_to_work_on(ticket(call)?)?;
    // Only names of the case: what is proposed is allowed for everybody.
    let seen = data.case(case.ticket)?.traces;
    let is_seen = |name: &&str| seen.iter().any(|trace| trace.name == **name);
    let names: Vec<String> =
        call.form.all("name").filter(is_seen).take(MOST_NAMES).map(str::to_owned).collect();
    if verdict == Verdict::FalsePositive && names.is_empty() {
        return Err(missing("name"));
    }
    desk.verdict(case.id, verdict, &names, reason, &actor(call)?, call.now).map_err(refused)?;
    let details = format!("{}: {reason}", verdict.as_str());
    audit::changed(call, "case.verdict", &case.ticket.to_string(), &details)?;
    Ok(done(call, case.ticket, "case.verdict"))
}

fn merge(call: &Call) -> Result<Reply, Failure> {
    let data = call.data()?;
    let (desk, case) = data.case_to_work_on(ticket(call)?)?;
    let into = call.form.find("into").ok_or_else(|| missing("into"))?;
    let into: Ticket = into.parse().map_err(|error: crate::cases::ticket::TicketError| Failure::Wrong {
        field: "into",
        vietnamese: "mã ca gồm tám chữ và số, như K7M4-QW9Y".to_owned(),
        english: error.to_string(),
    })?;
    let (_, into) = data.case_to_work_on(into)?;
    let reason = call.form.find("text").unwrap_or_default();
    desk.merge(case.id, into.id, reason, &actor(call)?, call.now).map_err(refused)?;
    let details = format!("into {} {reason}", into.ticket);
    audit::changed(call, "case.merge", &case.ticket.to_string(), details.trim_end())?;
    Ok(done(call, into.ticket, "case.merge"))
}
