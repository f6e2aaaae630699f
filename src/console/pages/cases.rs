//! Cases side by side: a list to narrow and a board by state, steps for many at once, export.

use std::collections::BTreeSet;
use std::sync::Arc;

use maud::{Markup, html};

use super::super::access::Right;
use super::super::account::Account;
use super::super::answer::{Failure, Reply, Stream};
use super::super::audit;
use super::super::call::{Call, Fields};
use super::super::data::Data;
use super::super::parts::{self, Head, Tone};
use super::super::routes::{Needs, Route, get, post};
use super::super::shell;
use super::super::tongue::Tongue;
use crate::cases::board::{Behind, Group, Infected, Overdue, Tally};
use crate::cases::export::{HEADING, Row};
use crate::cases::{Actor, Case, CaseFilter, Class, Desk, DeskError, State, Ticket};
use crate::evidence::export::csv;

/// Cases of a page, and of a column of the board.
const PAGE: u64 = 50;
const COLUMN: u64 = 15;
/// Cases that a step is done to at once.
const MOST_AT_ONCE: usize = 200;
/// Cases that an export reads at once.
const PART: u64 = 1000;
/// Everything that is not closed.
const OPEN: [State; 4] = [State::New, State::Notified, State::Cleaned, State::Watched];
/// The word of what counts as an infection, beside those of classes.
const INFECTION: &str = "infection";
const CLASSES: [Class; 5] = [Class::C2, Class::Phishing, Class::Address, Class::Scan, Class::Unknown];

pub(in crate::console) static ROUTES: &[Route] = &[
    get("/cases", Needs::Right(Right::See), page),
    get("/cases/export", Needs::Right(Right::See), export),
    post("/cases/bulk/assign", Needs::Right(Right::Work), |call| bulk(call, Step::Assign)),
    post("/cases/bulk/told", Needs::Right(Right::Work), |call| bulk(call, Step::Told)),
    post("/cases/bulk/note", Needs::Right(Right::Work), |call| bulk(call, Step::Note)),
    post("/cases/bulk/close", Needs::Right(Right::Judge), |call| bulk(call, Step::Close)),
];

/// What is asked for, and for what of it the page is narrowed.
fn filter(call: &Call, desk: &Desk) -> Result<CaseFilter, Failure> {
    let query = &call.query;
    let text = |name: &str| query.find(name).map(str::to_owned);
    let states = match query.find("state") {
        None | Some("open") => OPEN.to_vec(),
        Some("all") => Vec::new(),
        Some(word) => vec![word.parse().map_err(|_| wrong("state"))?],
    };
    let is_infection = query.find("class") == Some(INFECTION);
    let class = query.find("class").filter(|_| !is_infection);
    let mut filter = CaseFilter {
        states,
        agency: text("agency"),
        family: text("family"),
        class: class.map(str::parse).transpose().map_err(|_| wrong("class"))?,
        infected: is_infection.then_some(Infected::Cases),
        officer: text("officer"),
        after: query.find("after").map(str::parse::<Behind>).transpose().map_err(|_| wrong("after"))?,
        overdue: (query.find("overdue") == Some("1")).then(|| Overdue::at(call.now, &desk.options())),
        ..CaseFilter::default()
    };
    if let Some(sought) = query.find("q") {
        if let Ok(subject) = sought.parse::<crate::cases::Subject>() {
            match subject {
                crate::cases::Subject::Machine(_) => filter.subject = Some(subject),
                crate::cases::Subject::Address(address) => filter.client = Some(address),
            }
        } else {
            filter.text = Some(sought.chars().take(200).collect());
        }
    }
    Ok(filter)
}

fn wrong(field: &'static str) -> Failure {
    Failure::Wrong {
        field,
        vietnamese: "giá trị không hợp lệ".to_owned(),
        english: "no such value".to_owned(),
    }
}

fn page(call: &Call) -> Result<Reply, Failure> {
    let tongue = call.tongue;
    let data = call.data()?;
    let desk = call.house.desk()?;
    // What people read out on the telephone leads to the case.
    if let Some(ticket) = call.query.find("q").and_then(|text| text.parse::<Ticket>().ok())
        && data.case_to_work_on(ticket).is_ok()
    {
        return Ok(Reply::Redirect(parts::link(&["cases", &ticket.to_string()], &[])));
    }
    let filter = filter(call, &desk)?;
    let of_all = CaseFilter { states: Vec::new(), overdue: None, after: None, ..filter.clone() };
    let tally = data.tally(&of_all)?;
    let is_board = call.query.find("view") == Some("board");
    let shown =
        if is_board { board(call, &data, &filter, &tally)? } else { list(call, &data, &filter, &desk)? };
    let body = html! {
        (done(call))
        (states(call, &tally))
        (narrowing(call, &data)?)
        (views(call, is_board))
        (shown)
    };
    Ok(shell::page(call, tongue.say("Ca xử lý", "Cases"), &body))
}

/// What bulk steps did.
fn done(call: &Call) -> Markup {
    let number = |name| call.query.find(name).and_then(|it| it.parse::<u64>().ok()).unwrap_or(0);
    let (count, failed) = (number("count"), number("failed"));
    let tongue = call.tongue;
    html! {
        @if call.query.find("done") == Some("bulk") {
            @let tone = if failed > 0 { Tone::Warn } else { Tone::Good };
            (parts::notice(tone, &html! {
                @if tongue == Tongue::Vietnamese {
                    "Đã ghi nhận cho " (tongue.number(count)) " ca."
                    @if failed > 0 { " " (tongue.number(failed)) " ca không thực hiện được: ca đã đóng, hoặc không thuộc phạm vi của bạn." }
                } @else {
                    "Done for " (tongue.number(count)) " cases."
                    @if failed > 0 { " It was not possible for " (tongue.number(failed)) ": they are closed, or not yours." }
                }
            }))
        }
        (parts::done(call, &[("none", "Chưa chọn ca nào.", "No case was ticked.")]))
    }
}

/// How many cases are how far; each number leads to them.
fn states(call: &Call, tally: &Tally) -> Markup {
    let tongue = call.tongue;
    let number = |count| tongue.number(count);
    let link = |name: &str, value: &str| {
        let without = Fields::read(call.query.with("after", None).as_bytes());
        let without = Fields::read(without.with("overdue", None).as_bytes());
        let without = Fields::read(without.with("state", None).as_bytes());
        format!("/cases?{}", without.with(name, Some(value)))
    };
    let is = |name: &str, value: &str| call.query.find(name) == Some(value);
    let new = tally.of(State::New);
    parts::figures(&html! {
        (parts::figure(
            if tally.overdue > 0 { Tone::Bad } else { Tone::Good },
            &number(tally.overdue), tongue.say("Quá hạn", "Overdue"),
            if is("overdue", "1") { tongue.say("đang xem", "shown") } else { "" },
            Some(&link("overdue", "1")),
        ))
        (parts::figure(
            if new > 0 { Tone::Warn } else { Tone::Plain },
            &number(new), parts::state_text(tongue, State::New),
            if is("state", "new") { tongue.say("đang xem", "shown") } else { "" },
            Some(&link("state", "new")),
        ))
        @for state in [State::Notified, State::Cleaned, State::Watched, State::Closed] {
            (parts::figure(
                Tone::Plain, &number(tally.of(state)), parts::state_text(tongue, state),
                if is("state", state.as_str()) { tongue.say("đang xem", "shown") } else { "" },
                Some(&link("state", state.as_str())),
            ))
        }
    })
}

fn narrowing(call: &Call, data: &Data<'_>) -> Result<Markup, Failure> {
    let tongue = call.tongue;
    let officers = data.frequent(Group::Officer)?;
    let families = data.frequent(Group::Family)?;
    let states: Vec<(&str, &str)> =
        [State::New, State::Notified, State::Cleaned, State::Watched, State::Closed]
            .map(|state| (state.as_str(), parts::state_text(tongue, state)))
            .into_iter()
            .chain([("all", tongue.say("Tất cả, cả đã đóng", "All, closed too"))])
            .collect();
    let infection =
        tongue.say("Mọi loại nhiễm (trừ lừa đảo, dò quét)", "All infections (no phishing, no scans)");
    let classes = CLASSES.map(|class| (class.as_str(), parts::class_text(tongue, class)));
    let classes = [(INFECTION, infection)].into_iter().chain(classes);
    let view = call.query.find("view");
    let is_narrow = ["class", "family", "officer"].iter().any(|name| call.query.find(name).is_some());
    Ok(parts::filters(
        call,
        &html! {
            @if let Some(view) = view { input type="hidden" name="view" value=(view); }
            (parts::field(call, "q", tongue.say("Tìm", "Search"), tongue.say("mã ca, máy, địa chỉ, tên miền", "ticket, machine, address, name")))
            (parts::choice(call, "state", tongue.say("Trạng thái", "State"), tongue.say("Đang mở", "Open"), states))
            (parts::agency_choice(call))
            (parts::tick(call, "overdue", tongue.say("Chỉ ca quá hạn", "Overdue only")))
            details open[is_narrow] {
                summary { (tongue.say("Thêm điều kiện", "More filters")) }
                div {
                    (parts::choice(call, "class", tongue.say("Loại", "Kind"), tongue.say("Tất cả", "All"), classes))
                    (listed(call, "family", tongue.say("Họ mã độc", "Family"), &families))
                    (listed(call, "officer", tongue.say("Cán bộ", "Officer"), &officers))
                }
            }
        },
    ))
}

/// A choice among the frequent values of open cases; what was asked for is there even where it is not frequent.
fn listed(call: &Call, name: &str, label: &str, values: &[(String, u64)]) -> Markup {
    let asked = call.query.find(name).unwrap_or_default();
    let is_other = !asked.is_empty() && values.iter().all(|(value, _)| value != asked);
    let known = values.iter().map(|(value, _)| value.as_str()).filter(|value| !value.is_empty());
    let values = known.chain(is_other.then_some(asked)).map(|value| (value, value));
    parts::choice(call, name, label, call.tongue.say("Tất cả", "All"), values)
}

fn views(call: &Call, is_board: bool) -> Markup {
    let tongue = call.tongue;
    let here = |view| {
        let query = Fields::read(call.query.with("after", None).as_bytes());
        format!("/cases?{}", query.with("view", view))
    };
    html! {
        ul.tabs {
            li { a href=(here(None)) aria-current=[(!is_board).then_some("page")] { (tongue.say("Danh sách", "List")) } }
            li { a href=(here(Some("board"))) aria-current=[is_board.then_some("page")] { (tongue.say("Bảng theo trạng thái", "Board by state")) } }
        }
    }
}

/// That a case is overdue.
pub(super) fn overdue(call: &Call, desk: &Desk, case: &Case) -> Markup {
    html! {
        @if Overdue::at(call.now, &desk.options()).is(&case.course) {
            (parts::badge(Tone::Bad, call.tongue.say("Quá hạn", "Overdue")))
        }
    }
}

fn list(call: &Call, data: &Data<'_>, filter: &CaseFilter, desk: &Desk) -> Result<Markup, Failure> {
    let tongue = call.tongue;
    let filter = CaseFilter { limit: Some(PAGE + 1), ..filter.clone() };
    let mut cases = data.cases_looked_at(&filter)?;
    let has_more = cases.len() as u64 > PAGE;
    cases.truncate(PAGE as usize);
    let after = cases.last().filter(|_| has_more);
    let after = after.map(|last| Behind { last_hit: last.course.last_hit, id: last.id.0 }.to_string());
    if cases.is_empty() {
        return Ok(nothing(call));
    }
    let viewer = call.viewer()?;
    let may_work = viewer.may(Right::Work);
    let is_province = viewer.agency().is_none();
    let mut heads =
        vec![Head::Text(tongue.say("Mã ca", "Ticket")), Head::Text(tongue.say("Trạng thái", "State"))];
    if may_work {
        heads.insert(0, Head::Unseen(tongue.say("Chọn", "Tick")));
    }
    heads.push(Head::Text(tongue.say("Máy", "Machine")));
    if is_province {
        heads.push(Head::Text(tongue.say("Cơ quan", "Agency")));
    }
    heads.extend([
        Head::Text(tongue.say("Mối nguy", "Threat")),
        Head::Text(tongue.say("Thấy lần cuối", "Last seen")),
        Head::Number(tongue.say("Số lần", "Hits")),
        Head::Text(tongue.say("Cán bộ", "Officer")),
    ]);
    let rows = html! {
        @for case in &cases {
            tr {
                @if may_work {
                    td { input type="checkbox" form="bulk" name="ticket" value=(case.ticket)
                        aria-label={ (tongue.say("Chọn ca ", "Tick case ")) (case.ticket) }; }
                }
                th scope="row" { (parts::ticket(case.ticket)) }
                td { (parts::state(tongue, case.course.state)) " " (overdue(call, desk, case)) }
                td data-label=(tongue.say("Máy", "Machine")) { (parts::case_machine(case)) }
                @if is_province {
                    td.name data-label=(tongue.say("Cơ quan", "Agency")) { (parts::agency(call, case.agency.as_deref())) }
                }
                td.name data-label=(tongue.say("Mối nguy", "Threat")) { (threat(tongue, case)) }
                td data-label=(tongue.say("Thấy lần cuối", "Last seen")) { (parts::ago(call, case.course.last_hit)) }
                td.number data-label=(tongue.say("Số lần", "Hits")) { (tongue.number(case.queries.saturating_add(case.contacts))) }
                td data-label=(tongue.say("Cán bộ", "Officer")) { (case.officer.as_deref().unwrap_or("—")) }
            }
        }
    };
    Ok(html! {
        (parts::cards(tongue.say("Các ca, thấy gần đây nhất ở trên", "Cases, those seen last first"), &heads, &rows))
        div.pager {
            (parts::pager(call, cases.len(), after.as_deref()))
            (parts::export(call, "/cases/export"))
        }
        @if may_work { (steps(call, data, viewer.may(Right::Judge))?) }
    })
}

/// Class and family; of a name without either what was asked for.
pub(super) fn threat(tongue: Tongue, case: &Case) -> Markup {
    html! {
        (parts::class(tongue, case.class)) " "
        @if case.family.is_empty() { span.soft { (case.name) } } @else { (case.family) }
        @if case.verdict == Some(crate::cases::Verdict::FalsePositive) {
            " " (parts::verdict(tongue, crate::cases::Verdict::FalsePositive))
        }
    }
}

/// What to do where no case fits.
fn nothing(call: &Call) -> Markup {
    let tongue = call.tongue;
    let is_narrowed =
        call.query.iter().any(|(name, value)| !matches!(name, "language" | "view") && !value.is_empty());
    html! { section.card {
        @if is_narrowed {
            (parts::empty(
                tongue.say("Không có ca nào như vậy", "No case is like that"),
                &html! { a href="/cases" { (tongue.say("Xem tất cả ca đang mở", "All open cases")) } },
            ))
        } @else {
            (parts::empty(
                tongue.say("Không có ca nào đang mở", "No case is open"),
                &html! {
                    (tongue.say(
                        "Ca được mở khi một máy truy vấn tên miền độc hại. ",
                        "A case opens when a machine asks for a malicious name. ",
                    ))
                    a href="/cases?state=closed" { (tongue.say("Xem các ca đã đóng", "Closed cases")) }
                },
            ))
        }
    } }
}

/// What can be done to the ticked cases.
fn steps(call: &Call, data: &Data<'_>, may_judge: bool) -> Result<Markup, Failure> {
    let tongue = call.tongue;
    let officers = officers(call, data)?;
    Ok(html! {
        form.card id="bulk" method="post" action="/cases/bulk/note" {
            (parts::csrf(call))
            input type="hidden" name="back" value=(call.query.with("done", None));
            h2 { (tongue.say("Với các ca đã chọn", "With the ticked cases")) }
            label.check {
                input type="checkbox" data-all="ticket";
                (tongue.say("Chọn tất cả trên trang này", "Tick all on this page"))
            }
            label { (tongue.say("Nội dung: ghi chú, cách thông báo hoặc lý do đóng", "Text: the note, how somebody was told, or why it is closed"))
                input type="text" name="text" maxlength="1000" autocomplete="off";
            }
            div.actions {
                button.second formaction="/cases/bulk/note" { (tongue.say("Ghi chú", "Note")) }
                button.second formaction="/cases/bulk/told" { (tongue.say("Đã thông báo", "Was told")) }
                @if may_judge { button.danger formaction="/cases/bulk/close" { (tongue.say("Đóng ca", "Close")) } }
            }
            label { (tongue.say("Cán bộ nhận ca", "Officer who gets them"))
                input type="text" name="officer" list="officers" maxlength="1000" autocomplete="off";
                datalist id="officers" { @for name in &officers { option value=(name); } }
            }
            div.actions {
                button.second formaction="/cases/bulk/assign" { (tongue.say("Giao cán bộ", "Assign")) }
            }
        }
    })
}

/// Who may be given cases: officers of agencies, those who have cases, and accounts that work on them, as far as the viewer sees them.
fn officers(call: &Call, data: &Data<'_>) -> Result<BTreeSet<String>, Failure> {
    let viewer = call.viewer()?;
    let agencies = call.house.agencies();
    let seen = agencies.iter().filter(|agency| viewer.sees(Some(&agency.id)));
    let mut names: BTreeSet<String> = seen.filter_map(|agency| agency.officer.clone()).collect();
    names.extend(data.frequent(Group::Officer)?.iter().map(|(name, _)| name.clone()));
    let works = |account: &Account| {
        !account.is_disabled && account.role.may(Right::Work) && viewer.sees(account.agency.as_deref())
    };
    names.extend(call.accounts.list()?.into_iter().filter(works).map(|account| account.name));
    names.remove("");
    Ok(names)
}

fn board(call: &Call, data: &Data<'_>, filter: &CaseFilter, tally: &Tally) -> Result<Markup, Failure> {
    let tongue = call.tongue;
    let desk = call.house.desk()?;
    let is_province = call.viewer()?.agency().is_none();
    let mut columns = Vec::new();
    for state in OPEN {
        let filter = CaseFilter { states: vec![state], after: None, limit: Some(COLUMN), ..filter.clone() };
        columns.push((state, data.cases(&filter)?));
    }
    Ok(html! {
        div.board {
            @for (state, cases) in &columns {
                section.card {
                    header {
                        h2 { (parts::state_text(tongue, *state)) }
                        span.soft { (tongue.number(tally.of(*state))) }
                    }
                    @if cases.is_empty() {
                        p.soft { (tongue.say("Không có ca nào.", "No case.")) }
                    } @else {
                        ul {
                            @for case in cases {
                                li {
                                    div.line { (parts::ticket(case.ticket)) (overdue(call, &desk, case)) }
                                    div { (parts::case_machine(case)) }
                                    @if is_province { div.small { (parts::agency(call, case.agency.as_deref())) } }
                                    div.small.name { (threat(tongue, case)) }
                                    div.small.soft {
                                        (parts::ago(call, case.course.last_hit))
                                        @if let Some(officer) = &case.officer { " · " (officer) }
                                    }
                                }
                            }
                        }
                    }
                    @if tally.of(*state) > cases.len() as u64 {
                        p { a href={ "/cases?" (Fields::read(call.query.with("view", None).as_bytes()).with("state", Some(state.as_str()))) } {
                            (tongue.say("Xem cả cột", "The whole column"))
                        } }
                    }
                }
            }
        }
    })
}

/// What is done to many cases at once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Assign,
    Told,
    Note,
    Close,
}

impl Step {
    /// As the audit has it.
    fn word(self) -> &'static str {
        match self {
            Self::Assign => "case.assign",
            Self::Told => "case.told",
            Self::Note => "case.note",
            Self::Close => "case.close",
        }
    }
}

fn bulk(call: &Call, step: Step) -> Result<Reply, Failure> {
    let back = Fields::read(call.form.find("back").unwrap_or_default().as_bytes());
    let to = |done: &str| {
        let mut query = back.with("done", Some(done));
        query = Fields::read(query.as_bytes()).with("count", None);
        Fields::read(query.as_bytes()).with("failed", None)
    };
    let tickets: Vec<Ticket> =
        call.form.all("ticket").take(MOST_AT_ONCE).filter_map(|text| text.parse().ok()).collect();
    if tickets.is_empty() {
        return Ok(Reply::Redirect(format!("/cases?{}", to("none"))));
    }
    let (data, by) = (call.data()?, actor(call)?);
    let field = if step == Step::Assign { "officer" } else { "text" };
    let text = call.form.find(field).ok_or_else(|| missing(field))?;
    if step == Step::Assign && !officers(call, &data)?.contains(text) {
        return Err(Failure::Wrong {
            field,
            vietnamese: format!("“{text}” không phải cán bộ hay tài khoản nào; hãy chọn trong danh sách"),
            english: format!("“{text}” is neither an officer nor an account; choose one of the list"),
        });
    }
    let (mut count, mut failed) = (0, 0);
    for ticket in tickets {
        let (desk, case) = match data.case_to_work_on(ticket) {
            Ok(found) => found,
            Err(Failure::Absent) => {
                failed += 1;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        let done = match step {
            Step::Assign => desk.assign(case.id, text, &by, call.now),
            Step::Told => desk.told(case.id, text, &by, call.now),
            Step::Note => desk.note(case.id, text, &by, call.now),
            Step::Close => desk.close(case.id, text, &by, call.now),
        };
        match done {
            Ok(_) => {
                audit::changed(call, step.word(), &ticket.to_string(), text)?;
                count += 1;
            }
            Err(error @ (DeskError::Store { .. } | DeskError::Text { .. })) => return Err(refused(error)),
            Err(_) => failed += 1,
        }
    }
    forget(call);
    Ok(Reply::Redirect(format!("/cases?{}&count={count}&failed={failed}", to("bulk"))))
}

/// Who does it, as steps have it.
pub(super) fn actor(call: &Call) -> Result<Actor, Failure> {
    Ok(Actor::Person(call.viewer()?.name.clone()))
}

/// What was counted before is not what somebody wants to see who just changed it.
pub(super) fn forget(call: &Call) {
    if let Some(works) = call.house.works() {
        works.kept().forget();
    }
}

/// A field that must be there.
pub(super) fn missing(field: &'static str) -> Failure {
    Failure::Wrong {
        field,
        vietnamese: "hãy điền mục này".to_owned(),
        english: "this must be filled in".to_owned(),
    }
}

/// Why the desk refused, in both languages.
pub(super) fn refused(error: DeskError) -> Failure {
    let english = error.to_string();
    let told = |field, vietnamese: String| Failure::Wrong { field, vietnamese, english };
    match error {
        DeskError::IsClosed(ticket) => told("case", format!("Ca {ticket} đã đóng; hãy mở lại trước.")),
        DeskError::IsOpen(ticket) => told("case", format!("Ca {ticket} đang mở.")),
        DeskError::SeenSince(ticket) => {
            told("case", format!("Ca {ticket}: máy lại truy vấn tên miền độc hại sau thời điểm đó."))
        }
        DeskError::Full(ticket) => {
            told("case", format!("Ca {ticket} đã có quá nhiều bước, không ghi thêm được."))
        }
        DeskError::Text { most, .. } => {
            told("text", format!("Nội dung phải có từ 1 đến {most} byte và không có ký tự điều khiển."))
        }
        DeskError::Different(from, _, into, _) => {
            told("into", format!("Ca {from} và ca {into} khác họ mã độc hoặc khác loại, nên không gộp được."))
        }
        DeskError::Same => told("into", "Hai mã này là cùng một ca.".to_owned()),
        DeskError::NoProposal(_) => Failure::Absent,
        error => error.into(),
    }
}

fn export(call: &Call) -> Result<Reply, Failure> {
    let filter = filter(call, &call.house.desk()?)?;
    let is_csv = call.query.find("format") != Some("jsonl");
    let (house, viewer, now, from) = (Arc::clone(&call.house), call.viewer()?.clone(), call.now, call.client);
    // A question about one client is recorded before anything is sent.
    call.data()?.cases_looked_at(&CaseFilter { limit: Some(0), ..filter.clone() })?;
    let write = move |out: &mut dyn std::io::Write| {
        let data = Data::new(&*house, &viewer, now).from(from);
        if is_csv {
            write!(out, "{}\r\n", HEADING.join(","))?;
        }
        let mut filter = CaseFilter { limit: Some(PART), ..filter };
        loop {
            let cases = data.cases(&filter).map_err(std::io::Error::other)?;
            for case in &cases {
                let row = Row::of(case);
                if is_csv {
                    let fields: Vec<String> = row.fields().iter().map(|field| csv::quoted(field)).collect();
                    write!(out, "{}\r\n", fields.join(","))?;
                } else {
                    serde_json::to_writer(&mut *out, &row)?;
                    out.write_all(b"\n")?;
                }
            }
            match cases.last() {
                Some(last) if cases.len() as u64 == PART => {
                    filter.after = Some(Behind { last_hit: last.course.last_hit, id: last.id.0 });
                }
                _ => return Ok(()),
            }
        }
    };
    Ok(Reply::Stream(Stream::export(is_csv, "cases", Box::new(write))))
}

#[cfg(test)]
mod tests {
    use super::super::super::access::Role;
    use super::super::super::tests::{AGENCIES, MARKERS, Scratch, officer, text, viewer};
    use super::*;

    #[test]
    fn cases_are_given_to_somebody_who_is_known_alone() {
        let scratch = Scratch::new();
        let analyst = viewer(Role::Analyst);
        let ticket = scratch.ticket(0);
        let assign = |field: &str, name: &str| {
            scratch.post(&analyst, "/cases/bulk/assign", &[("ticket", &ticket), (field, name)])
        };
        let officer_of = || scratch.get(&analyst, &format!("/cases/{ticket}")).map(text).unwrap();
        let is_wrong = |found| matches!(found, Err(Failure::Wrong { field: "officer", .. }));
        // An officer is shown nobody of another agency.
        let other = format!("Cán bộ {}", MARKERS[1]);
        let page = text(scratch.get(&officer(0), "/cases").unwrap());
        assert!(
            page.contains("/cases/bulk/assign") && !page.contains(&format!("value=\"{other}\"")),
            "{page}"
        );
        // What was meant as a note, or why a case is closed, is no officer.
        assert!(is_wrong(assign("text", "đã cài lại máy")) && is_wrong(assign("officer", "đã cài lại máy")));
        assert!(!officer_of().contains("đã cài lại máy"));
        assert!(assign("officer", &other).is_ok() && officer_of().contains(&other));
    }

    #[test]
    fn an_officer_is_shown_the_own_agency_alone() {
        let scratch = Scratch::new();
        for number in 0..AGENCIES.len() {
            let (own, other) = (MARKERS[number], MARKERS[1 - number]);
            let viewer = officer(number);
            let pages = [
                "/cases?state=all".to_owned(),
                "/cases?view=board".to_owned(),
                "/cases/export?format=csv&state=all".to_owned(),
                "/cases/export?format=jsonl&state=all".to_owned(),
                "/contacts".to_owned(),
                "/contacts/export?format=jsonl".to_owned(),
                "/agencies/export?format=csv".to_owned(),
                parts::link(&["agencies", AGENCIES[number]], &[]),
                parts::link(&["cases", &scratch.ticket(number)], &[]),
            ];
            for page in pages {
                let shown = text(scratch.get(&viewer, &page).unwrap());
                assert!(shown.contains(own) && !shown.contains(other), "{page}: {shown}");
            }
            let others = [
                parts::link(&["agencies", AGENCIES[1 - number]], &[]),
                parts::link(&["cases", &scratch.ticket(1 - number)], &[]),
            ];
            for page in others {
                assert!(matches!(scratch.get(&viewer, &page), Err(Failure::Absent)), "{page}");
            }
            for page in ["/feeds", "/policy", "/policy/rules/export"] {
                assert!(matches!(scratch.get(&viewer, page), Err(Failure::Forbidden)), "{page}");
            }
        }
        let reader = viewer(Role::Reader);
        let all = text(scratch.get(&reader, "/cases").unwrap());
        assert!(MARKERS.iter().all(|marker| all.contains(marker)));
        assert!(!all.contains("id=\"bulk\""), "somebody who may not work is not offered to");
    }

    #[test]
    fn steps_that_cannot_be_done_are_told_in_both_languages() {
        let ticket: Ticket = Ticket::new(7);
        for error in [DeskError::IsClosed(ticket), DeskError::IsOpen(ticket), DeskError::Same] {
            let english = error.to_string();
            let Failure::Wrong { vietnamese, english: told, .. } = refused(error) else {
                panic!("{english}: not told in words")
            };
            assert_eq!(told, english);
            assert_ne!(vietnamese, english);
        }
    }
}
