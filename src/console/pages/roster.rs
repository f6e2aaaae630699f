//! The import of agencies and officers: the file, what it would change, and only then the change.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use maud::{Markup, html};

use super::super::access::Right;
use super::super::answer::{Failure, Reply};
use super::super::call::Call;
use super::super::parts::{self, Head, Tone};
use super::super::routes::{Needs, Route, get, post, upload};
use super::super::{import, shell};
use crate::roster::{Change, Difference, Field, Manner, Proposal};

pub(in crate::console) static ROUTES: &[Route] = &[
    get("/agencies/import", Needs::Right(Right::Manage), page),
    upload("/agencies/import", Needs::Right(Right::Manage), preview),
    post("/agencies/import/apply", Needs::Right(Right::Manage), apply),
];

/// Files that wait for their second step, and for how long.
const MOST_WAITING: usize = 8;
const WAIT: Duration = Duration::from_secs(24 * 3600);

const DONE: [(&str, &str, &str); 1] = [(
    "applied",
    "Đã cập nhật danh sách cơ quan; có hiệu lực ngay.",
    "The agencies are taken, and in force.",
)];

fn page(call: &Call) -> Result<Reply, Failure> {
    let tongue = call.tongue;
    let body = html! {
        (parts::done(call, &DONE))
        p { (tongue.say(
            "Tệp XLSX hoặc CSV, mỗi dòng một cơ quan: mã, tên đơn vị, dải địa chỉ, đầu mối liên hệ, cán bộ phụ trách, email, máy chủ DNS nội bộ. Các thay đổi được liệt kê trước khi áp dụng.",
            "An XLSX or CSV file, a row an agency: id, name, networks, contact, officer, email, DNS servers. What it would change is shown before anything is applied.",
        )) }
        section.card { form.narrow method="post" action="/agencies/import" enctype="multipart/form-data" {
            (parts::csrf(call))
            label { (tongue.say("Tệp", "File")) input type="file" name="file" accept=".xlsx,.csv,.txt" required; }
            label.check { input type="checkbox" name="replace" value="1";
                (tongue.say("Bỏ các cơ quan đã nhập trước đây mà không có trong tệp", "Take out agencies that were imported before and are not in the file")) }
            button { (tongue.say("Xem thay đổi", "Show the changes")) }
        } }
    };
    Ok(shell::page(call, tongue.say("Nhập cơ quan và cán bộ", "Import agencies and officers"), &body))
}

fn preview(call: &Call) -> Result<Reply, Failure> {
    let tongue = call.tongue;
    let manner = if call.form.find("replace").is_some() { Manner::Replace } else { Manner::Add };
    let (proposal, before) = import::propose(call, &call.body, manner)?;
    let is_good = proposal.faults.is_empty() && proposal.changes_anything();
    let waiting = if is_good { Some(keep(call, manner)?) } else { None };
    let body = html! {
        @if !proposal.faults.is_empty() {
            (parts::notice(Tone::Bad, &html! { (tongue.say(
                "Chưa áp dụng được: hãy sửa các chỗ dưới đây trong tệp rồi gửi lại. Chưa có gì thay đổi.",
                "It cannot be applied: mend what stands below in the file and send it again. Nothing has changed.",
            )) }))
            (faults(call, &proposal))
        } @else if !proposal.changes_anything() {
            (parts::notice(Tone::Good, &html! { (tongue.say("Không có gì thay đổi.", "Nothing would change.")) }))
        }
        (differences(call, &proposal.differences))
        @if let Some(waiting) = waiting {
            (parts::confirm(call, &parts::Confirm {
                action: "/agencies/import/apply",
                button: tongue.say("Áp dụng các thay đổi này", "Apply these changes"),
                reason: None,
                is_danger: manner == Manner::Replace,
            }, &html! {
                input type="hidden" name="waiting" value=(waiting);
                input type="hidden" name="before" value=(before);
            }))
        }
        p { a href="/agencies/import" { (tongue.say("Chọn tệp khác", "Choose another file")) } }
    };
    Ok(shell::page(call, tongue.say("Các thay đổi sẽ có", "What would change"), &body))
}

fn apply(call: &Call) -> Result<Reply, Failure> {
    let gone = || Failure::Wrong {
        field: "file",
        vietnamese: "tệp đã quá hạn; hãy gửi lại".to_owned(),
        english: "the file is no longer kept; send it again".to_owned(),
    };
    let (Some(waiting), Some(before)) = (call.form.find("waiting"), call.form.find("before")) else {
        return Err(gone());
    };
    let (octets, manner) = kept(call, waiting)?.ok_or_else(gone)?;
    let (proposal, now) = import::propose(call, &octets, manner)?;
    if now != before || !proposal.faults.is_empty() {
        return Err(Failure::Refused(
            call.tongue
                .say(
                    "Danh sách cơ quan đã được người khác thay đổi; hãy gửi lại tệp để xem lại các thay đổi.",
                    "Somebody else changed the agencies meanwhile; send the file again to see the changes.",
                )
                .to_owned(),
        ));
    }
    import::apply(call, &proposal, before)?;
    let _ = fs::remove_file(folder(call).join(waiting));
    Ok(Reply::Redirect("/agencies/import?done=applied".to_owned()))
}

fn faults(call: &Call, proposal: &Proposal) -> Markup {
    let tongue = call.tongue;
    let heads = [
        Head::Text(tongue.say("Vị trí", "Place")),
        Head::Text(tongue.say("Lỗi và cách sửa", "What is wrong, and the mend")),
    ];
    let rows = html! {
        @for (place, fault) in &proposal.faults { tr { td { (place) } td lang="en" { (fault) } } }
    };
    parts::table(tongue.say("Lỗi trong tệp", "Faults of the file"), &heads, &rows)
}

fn differences(call: &Call, all: &[Difference]) -> Markup {
    let tongue = call.tongue;
    let heads = [
        Head::Text(tongue.say("Cơ quan", "Agency")),
        Head::Text(tongue.say("Thay đổi", "Change")),
        Head::Text(tongue.say("Chi tiết", "Details")),
    ];
    let same = all.iter().filter(|it| matches!(it.change, Change::Same | Change::Kept)).count();
    let called = |field: Field| match field {
        Field::Name => tongue.say("tên", "name"),
        Field::Networks => tongue.say("dải địa chỉ", "networks"),
        Field::Contact => tongue.say("liên hệ", "contact"),
        Field::Officer => tongue.say("cán bộ", "officer"),
        Field::Email => "email",
        Field::Forwarders => tongue.say("máy chủ DNS", "DNS servers"),
    };
    let rows = html! {
        @for it in all {
            @let (tone, word) = match &it.change {
                Change::Added => (Tone::Good, tongue.say("Thêm mới", "New")),
                Change::Changed(_) => (Tone::Warn, tongue.say("Sửa", "Changed")),
                Change::Removed => (Tone::Bad, tongue.say("Bỏ", "Goes")),
                Change::Same | Change::Kept => (Tone::Plain, ""),
            };
            @if !word.is_empty() {
                tr {
                    td { (it.name) " " span.soft { (it.id) } }
                    td { (parts::badge(tone, word)) }
                    td { @if let Change::Changed(fields) = &it.change {
                        ul.plain { @for (field, old, new) in fields {
                            li { (called(*field)) ": " @if !old.is_empty() { del { (old) } " " } ins { (new) } }
                        } }
                    } }
                }
            }
        }
    };
    html! {
        (parts::table(tongue.say("Thay đổi theo cơ quan", "Changes by agency"), &heads, &rows))
        p.soft { (tongue.number(same as u64)) (tongue.say(" cơ quan giữ nguyên.", " agencies stay as they are.")) }
    }
}

/// Where files wait for their second step.
fn folder(call: &Call) -> PathBuf {
    call.house.data_dir().join("console").join("imports")
}

fn failed(source: io::Error) -> Failure {
    Failure::Files { what: "console/imports", source }
}

/// Keeps the file that was sent until somebody applies it; old ones go.
fn keep(call: &Call, manner: Manner) -> Result<String, Failure> {
    let folder = folder(call);
    fs::create_dir_all(&folder).map_err(failed)?;
    let mut waiting: Vec<(SystemTime, PathBuf)> = fs::read_dir(&folder)
        .map_err(failed)?
        .flatten()
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    waiting.sort();
    let most = waiting.len().saturating_sub(MOST_WAITING - 1);
    for (number, (at, path)) in waiting.iter().enumerate() {
        if number < most || at.elapsed().is_ok_and(|age| age > WAIT) {
            let _ = fs::remove_file(path);
        }
    }
    let word = if manner == Manner::Replace { "r" } else { "a" };
    let name = format!("{word}{:032x}", rand::random::<u128>());
    fs::write(folder.join(&name), &call.body).map_err(failed)?;
    Ok(name)
}

/// What was kept under this name.
fn kept(call: &Call, name: &str) -> Result<Option<(Vec<u8>, Manner)>, Failure> {
    let manner = match name.as_bytes().first() {
        Some(b'r') => Manner::Replace,
        Some(b'a') => Manner::Add,
        _ => return Ok(None),
    };
    // Nothing that is a path.
    if name.len() != 33 || !name.bytes().skip(1).all(|octet| octet.is_ascii_hexdigit()) {
        return Ok(None);
    }
    match fs::read(folder(call).join(name)) {
        Ok(octets) => Ok(Some((octets, manner))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}
