//! Endpoint protection: how many machines of each agency have it, which ones have none, and the import of inventories of it.

use std::io::Write as _;

use maud::{Markup, html};

use super::super::access::Right;
use super::super::answer::{Failure, Reply, Stream};
use super::super::call::Call;
use super::super::parts::{self, Head, Tone};
use super::super::routes::{Needs, Route, get, upload};
use super::super::tongue::Tongue;
use super::super::{import, shell};
use crate::cases::board::{Behind, Infected};
use crate::cases::{Case, CaseFilter};
use crate::coverage::read::says_protected;
use crate::coverage::{Coverage, DAY, Query, Row, Standing};
use crate::evidence::export::csv;

/// Machines of a page, and of one step of an export.
const PAGE: u64 = 50;
const PART: u64 = 1000;
/// Faults of a file that are shown.
const MOST_FAULTS: usize = 200;

pub(in crate::console) static ROUTES: &[Route] = &[
    get("/coverage", Needs::Right(Right::See), page),
    get("/coverage/export", Needs::Right(Right::See), export),
    upload("/coverage/import", Needs::Right(Right::Manage), submit),
];

const DONE: [(&str, &str, &str); 1] = [(
    "imported",
    "Đã nhập danh sách và đối chiếu với các máy đã thấy.",
    "The list is taken and compared with the machines that were seen.",
)];

fn standing_text(tongue: Tongue, standing: Standing) -> &'static str {
    match standing {
        Standing::Protected => tongue.say("Được bảo vệ", "Protected"),
        Standing::Unprotected => tongue.say("Không được bảo vệ", "Unprotected"),
        Standing::Unknown => tongue.say("Chưa rõ", "Unknown"),
    }
}

fn standing(tongue: Tongue, standing: Standing) -> Markup {
    let tone = match standing {
        Standing::Protected => Tone::Good,
        Standing::Unprotected => Tone::Bad,
        Standing::Unknown => Tone::Plain,
    };
    parts::badge(tone, standing_text(tongue, standing))
}

/// What protects a machine: by the ledger, where it was seen asking; else by what an inventory of machines says.
pub(super) fn shield(tongue: Tongue, row: Option<&Row>, said: Option<&str>) -> Markup {
    let known = row.map_or(Standing::Unknown, |row| row.standing);
    let stands = match (known, said.and_then(says_protected)) {
        (Standing::Unknown, Some(true)) => Standing::Protected,
        (Standing::Unknown, Some(false)) => Standing::Unprotected,
        (known, _) => known,
    };
    let product = row.and_then(|row| row.product.as_deref()).or(said);
    match (stands, product) {
        (Standing::Protected, Some(product)) => parts::badge(Tone::Good, product),
        _ => standing(tongue, stands),
    }
}

/// … and what says so.
pub(super) fn shield_source(call: &Call, row: &Row) -> Markup {
    let tongue = call.tongue;
    html! {
        @if let Some(export) = &row.export {
            div.soft.small {
                (tongue.say("theo danh sách ", "by the list ")) (export)
                @if let Some(version) = &row.version { (tongue.say(", phiên bản ", ", version ")) (version) }
                @if let Some(heard) = row.heard { (tongue.say(", liên lạc lần cuối ", ", last heard of ")) (parts::day(call, heard)) }
            }
        } @else if row.standing == Standing::Unprotected {
            div.soft.small { (tongue.say("không có trong danh sách nào của cơ quan", "in none of its agency's lists")) }
        }
    }
}

/// How many of a thousand machines that is, rounded as in reports; `None` of none.
pub(super) fn share(machines: u64, part: u64) -> Option<u64> {
    (part * 2000 + machines).checked_div(2 * machines)
}

/// So many of a thousand, as a percentage.
pub(super) fn percent(tongue: Tongue, share: u64) -> String {
    let separator = tongue.say(',', '.');
    format!("{}{separator}{} %", share / 10, share % 10)
}

/// What is asked for, and behind which place.
struct Asked {
    standing: Option<Standing>,
    agency: Option<String>,
    is_infected: bool,
    since: i64,
}

impl Asked {
    fn read(call: &Call) -> Self {
        Self {
            standing: call.query.find("standing").and_then(Standing::of),
            agency: call.query.find("agency").map(str::to_owned),
            is_infected: call.query.find("infected").is_some(),
            since: call.now - 30 * DAY,
        }
    }

    /// A part of the list, and the place behind it.
    fn part(
        &self,
        call: &Call,
        after: Option<&str>,
        limit: u64,
    ) -> Result<(Vec<Item>, Option<String>), Failure> {
        let data = call.data()?;
        if self.is_infected {
            let filter = CaseFilter {
                infected: Some(Infected::Machines),
                agency: self.agency.clone(),
                after: after.and_then(|after| after.parse::<Behind>().ok()),
                limit: Some(limit),
                ..CaseFilter::default()
            };
            let cases = data.cases(&filter)?;
            let rows = data.protection_of(&cases)?;
            let next = cases.last().filter(|_| cases.len() as u64 == limit);
            let next = next.map(|case| Behind { last_hit: case.course.last_hit, id: case.id.0 }.to_string());
            let items = cases.into_iter().zip(rows).map(|(case, row)| Item { row, case: Some(case) });
            let wanted = |item: &Item| self.standing.is_none_or(|wanted| wanted == item.standing());
            return Ok((items.filter(wanted).collect(), next));
        }
        let query = Query {
            agency: self.agency.clone(),
            standings: self.standing.into_iter().collect(),
            since: Some(self.since),
            after: after.and_then(|after| after.parse().ok()),
            limit: Some(limit),
        };
        let rows = data.protected(&query)?;
        let next = rows.last().filter(|_| rows.len() as u64 == limit).map(|row| row.id.to_string());
        Ok((rows.into_iter().map(|row| Item { row: Some(row), case: None }).collect(), next))
    }
}

/// A machine, and its case where infected ones were asked for.
struct Item {
    row: Option<Row>,
    case: Option<Case>,
}

impl Item {
    fn standing(&self) -> Standing {
        self.row.as_ref().map_or(Standing::Unknown, |row| row.standing)
    }

    fn host(&self) -> Option<&str> {
        let of_row = self.row.as_ref().and_then(|row| row.host.as_deref());
        of_row.or_else(|| self.case.as_ref().and_then(|case| case.host.as_deref()))
    }

    fn agency(&self) -> Option<&str> {
        let of_row = self.row.as_ref().and_then(|row| row.agency.as_deref());
        of_row.or_else(|| self.case.as_ref().and_then(|case| case.agency.as_deref()))
    }

    fn subject(&self) -> Option<crate::cases::Subject> {
        self.row.as_ref().map(|row| row.subject).or_else(|| self.case.as_ref().map(|case| case.subject))
    }
}

fn page(call: &Call) -> Result<Reply, Failure> {
    let tongue = call.tongue;
    let asked = Asked::read(call);
    let figures = call.data()?.protection(asked.since)?;
    let (items, next) = asked.part(call, call.query.find("after"), PAGE)?;
    let may_manage = call.may(Right::Manage);
    let body = html! {
        (parts::done(call, &DONE))
        (sums(call, &figures))
        (parts::filters(call, &html! {
            (parts::agency_choice(call))
            (parts::choice(call, "standing", tongue.say("Bảo vệ", "Protection"), tongue.say("Tất cả", "All"), [
                ("protected", standing_text(tongue, Standing::Protected)),
                ("unprotected", standing_text(tongue, Standing::Unprotected)),
                ("unknown", standing_text(tongue, Standing::Unknown)),
            ]))
            (parts::tick(call, "infected", tongue.say("Chỉ máy đang nhiễm", "Infected ones only")))
        }))
        @if items.is_empty() {
            (parts::empty(tongue.say("Không có máy nào.", "There is no machine."), &html! {
                p { (tongue.say(
                    "Máy được đếm theo nhật ký truy vấn, mỗi giờ một lần. Hãy bỏ lọc, hoặc nhập danh sách máy đã cài phần mềm bảo vệ.",
                    "Machines are counted by the query log, once an hour. Clear the filter, or import a list of protected machines.",
                )) }
            }))
        } @else {
            (list(call, &items))
            div.pager { (parts::pager(call, items.len(), next.as_deref())) (parts::export(call, "/coverage/export")) }
        }
        @if !figures.is_empty() && call.viewer()?.agency().is_none() { (by_agency(call, &figures)) }
        @if may_manage { (form(call)?) }
    };
    Ok(shell::page(call, tongue.say("Phần mềm bảo vệ", "Endpoint protection"), &body))
}

fn sums(call: &Call, figures: &[(Option<String>, Coverage)]) -> Markup {
    let tongue = call.tongue;
    let sum = |of: fn(&Coverage) -> u64| figures.iter().map(|(_, it)| of(it)).sum::<u64>();
    let number = |of: fn(&Coverage) -> u64| tongue.number(sum(of));
    let (machines, protected) = (sum(|it| it.machines), sum(|it| it.protected));
    let share = share(machines, protected).map(|share| percent(tongue, share)).unwrap_or_default();
    parts::figures(&html! {
        (parts::figure(Tone::Plain, &number(|it| it.machines), tongue.say("máy đã thấy trong 30 ngày", "machines seen in 30 days"), "", None))
        (parts::figure(Tone::Good, &number(|it| it.protected), tongue.say("được bảo vệ", "protected"), &share, Some("/coverage?standing=protected")))
        (parts::figure(if sum(|it| it.unprotected) > 0 { Tone::Bad } else { Tone::Plain }, &number(|it| it.unprotected), tongue.say("không được bảo vệ", "unprotected"), "", Some("/coverage?standing=unprotected")))
        (parts::figure(Tone::Plain, &number(|it| it.unknown), tongue.say("chưa rõ", "unknown"), "", Some("/coverage?standing=unknown")))
    })
}

fn by_agency(call: &Call, figures: &[(Option<String>, Coverage)]) -> Markup {
    let tongue = call.tongue;
    let heads = [
        Head::Text(tongue.say("Cơ quan", "Agency")),
        Head::Number(tongue.say("Máy đã thấy", "Seen")),
        Head::Number(tongue.say("Được bảo vệ", "Protected")),
        Head::Number(tongue.say("Không được bảo vệ", "Unprotected")),
        Head::Number(tongue.say("Chưa rõ", "Unknown")),
    ];
    let rows = html! {
        @for (agency, it) in figures {
            tr {
                td { (parts::agency(call, agency.as_deref())) }
                td.number { (tongue.number(it.machines)) }
                td.number { (tongue.number(it.protected)) }
                td.number { (tongue.number(it.unprotected)) }
                td.number { (tongue.number(it.unknown)) }
            }
        }
    };
    let title = tongue.say("Theo cơ quan", "By agency");
    parts::card(title, &html! {}, &parts::table(title, &heads, &rows))
}

fn list(call: &Call, items: &[Item]) -> Markup {
    let tongue = call.tongue;
    let labels = [
        tongue.say("Máy", "Machine"),
        tongue.say("Cơ quan", "Agency"),
        tongue.say("Bảo vệ", "Protection"),
        tongue.say("Sản phẩm", "Product"),
        tongue.say("Thấy lần cuối", "Seen last"),
        tongue.say("Ca xử lý", "Case"),
    ];
    let is_infected = items.iter().any(|item| item.case.is_some());
    let heads: Vec<Head<'_>> =
        labels.iter().take(if is_infected { 6 } else { 5 }).map(|label| Head::Text(label)).collect();
    let rows = html! {
        @for item in items {
            tr {
                td data-label=(labels[0]) { @if let Some(subject) = item.subject() { (parts::machine(&subject, item.host())) } }
                td data-label=(labels[1]) { (parts::agency(call, item.agency())) }
                td data-label=(labels[2]) { (standing(tongue, item.standing())) }
                td data-label=(labels[3]) {
                    @match item.row.as_ref().filter(|row| row.product.is_some() || row.export.is_some()) {
                        Some(row) => {
                            (row.product.as_deref().unwrap_or_default()) " " (row.version.as_deref().unwrap_or_default())
                            @if let Some(export) = &row.export {
                                div.soft.small { (export) @if let Some(place) = &row.place { (tongue.say(", dòng ", ", line ")) (place) } }
                            }
                        }
                        None => span.soft { "—" },
                    }
                }
                td data-label=(labels[4]) { @if let Some(row) = &item.row { (parts::day(call, row.last)) } }
                @if let Some(case) = &item.case {
                    td data-label=(labels[5]) { (parts::ticket(case.ticket)) " " (parts::family(tongue, &case.family)) }
                }
            }
        }
    };
    parts::cards(tongue.say("Máy", "Machines"), &heads, &rows)
}

fn form(call: &Call) -> Result<Markup, Failure> {
    let tongue = call.tongue;
    let exports = call.house.coverage()?.exports()?;
    let heads = [
        Head::Text(tongue.say("Danh sách", "List")),
        Head::Text(tongue.say("Nhập lúc", "Taken")),
        Head::Text(tongue.say("Người nhập", "By")),
        Head::Number(tongue.say("Số máy", "Computers")),
        Head::Number(tongue.say("Đã nhận ra", "Known")),
        Head::Number(tongue.say("Dòng lỗi", "Faults")),
    ];
    let rows = html! {
        @for it in &exports {
            tr {
                td { (it.name) }
                td { (parts::time(call, it.taken)) }
                td { (it.by) }
                td.number { (tongue.number(it.rows)) }
                td.number { (tongue.number(it.matched)) }
                td.number { (tongue.number(it.faults)) }
            }
        }
    };
    let agencies = call.house.agencies();
    let body = html! {
        p { (tongue.say(
            "Tệp XLSX hoặc CSV do máy chủ quản trị của Bkav, Viettel… xuất ra, có cột tên máy, địa chỉ IP hoặc MAC. Bản nhập sau thay cho bản trước cùng sản phẩm và cơ quan.",
            "An XLSX or CSV file that a management server of Bkav, Viettel … exports, with a column for host names, addresses or MACs. The next one of the same product and agency takes its place.",
        )) }
        form.narrow method="post" action="/coverage/import" enctype="multipart/form-data" {
            (parts::csrf(call))
            label { (tongue.say("Tệp", "File")) input type="file" name="file" accept=".xlsx,.csv,.txt" required; }
            label { (tongue.say("Sản phẩm", "Product"))
                input type="text" name="product" list="products" maxlength="100" placeholder="Bkav";
                datalist id="products" { option value="Bkav"; option value="Viettel"; }
            }
            label { (tongue.say("Cơ quan, nếu trong tệp không ghi", "Agency, where the file does not say it"))
                select name="agency" {
                    option value="" { (tongue.say("Theo tệp và địa chỉ", "By the file and by addresses")) }
                    @for agency in agencies.iter() { option value=(agency.id) { (agency.name) } }
                }
            }
            button { (tongue.say("Nhập danh sách", "Import")) }
        }
        @if !exports.is_empty() { (parts::table(tongue.say("Các danh sách đã nhập", "Lists that were imported"), &heads, &rows)) }
    };
    Ok(parts::card(
        tongue.say("Nhập danh sách máy được bảo vệ", "Import protected machines"),
        &html! {},
        &body,
    ))
}

fn submit(call: &Call) -> Result<Reply, Failure> {
    let wish = import::Wish {
        product: call.form.find("product"),
        agency: call.form.find("agency"),
        name: None,
        file: call.form.find(import::FILE_NAME),
    };
    let done = import::take(call, &call.body, &wish)?;
    if done.faults.is_empty() {
        return Ok(Reply::Redirect("/coverage?done=imported".to_owned()));
    }
    let tongue = call.tongue;
    let rows = html! {
        @for (place, fault) in done.faults.iter().take(MOST_FAULTS) {
            tr { td { (place) } td lang="en" { (fault) } }
        }
    };
    let heads = [
        Head::Text(tongue.say("Vị trí", "Place")),
        Head::Text(tongue.say("Lỗi và cách sửa", "What is wrong, and the mend")),
    ];
    let taken = tongue.say(
        format!(
            "Đã nhập {} máy, nhận ra {}. Những chỗ dưới đây không đọc được; phần còn lại vẫn được tính.",
            done.taken.rows, done.matched
        ),
        format!(
            "{} computers are taken, {} of them known. What stands below could not be read; the rest counts.",
            done.taken.rows, done.matched
        ),
    );
    let body = html! {
        (parts::notice(Tone::Warn, &html! { (taken) }))
        (parts::table(tongue.say("Lỗi trong tệp", "Faults of the file"), &heads, &rows))
        p { a href="/coverage" { (tongue.say("Về trang phần mềm bảo vệ", "Back to endpoint protection")) } }
    };
    Ok(shell::page(call, tongue.say("Kết quả nhập danh sách", "What came of the import"), &body))
}

fn export(call: &Call) -> Result<Reply, Failure> {
    let asked = Asked::read(call);
    // In parts, each asked for when it is wanted; bounded by what there is.
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let (items, next) = asked.part(call, after.as_deref(), PART)?;
        all.extend(items);
        match next {
            Some(next) if all.len() < MOST_EXPORTED => after = Some(next),
            _ => break,
        }
    }
    let is_csv = call.query.find("format") != Some("jsonl");
    let write = move |out: &mut dyn std::io::Write| {
        const KEYS: [&str; 10] = [
            "machine", "host", "owner", "agency", "address", "standing", "product", "version", "ticket",
            "family",
        ];
        let mut out = std::io::BufWriter::new(out);
        if is_csv {
            write!(out, "{}\r\n", KEYS.join(","))?;
        }
        for item in &all {
            let row = item.row.as_ref();
            let cells = [
                item.subject().map(|it| it.to_string()),
                item.host().map(str::to_owned),
                row.and_then(|row| row.owner.clone()),
                item.agency().map(str::to_owned),
                row.map(|row| row.client.to_string())
                    .or_else(|| item.case.as_ref().map(|case| case.client.to_string())),
                Some(item.standing().as_str().to_owned()),
                row.and_then(|row| row.product.clone()),
                row.and_then(|row| row.version.clone()),
                item.case.as_ref().map(|case| case.ticket.to_string()),
                item.case.as_ref().map(|case| case.family.clone()),
            ];
            if is_csv {
                let cells: Vec<String> =
                    cells.iter().map(|cell| csv::quoted(cell.as_deref().unwrap_or_default())).collect();
                write!(out, "{}\r\n", cells.join(","))?;
            } else {
                let object: serde_json::Map<String, serde_json::Value> =
                    KEYS.iter().zip(cells).map(|(key, cell)| ((*key).to_owned(), cell.into())).collect();
                serde_json::to_writer(&mut out, &object)?;
                out.write_all(b"\n")?;
            }
        }
        out.flush()
    };
    Ok(Reply::Stream(Stream::export(is_csv, "coverage", Box::new(write))))
}

/// Machines of one export.
const MOST_EXPORTED: usize = 200_000;
