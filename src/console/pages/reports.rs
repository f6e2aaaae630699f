//! Reports: those that were made of whole months, and one of any days, made while somebody waits.

use std::fs::{self, File};
use std::io;
use std::time::UNIX_EPOCH;

use jiff::civil::Date;
use maud::{Markup, html};

use super::super::access::Right;
use super::super::answer::{self, Failure, Reply, Stream};
use super::super::call::Call;
use super::super::parts::{self, Head};
use super::super::routes::{Needs, Route, get, post};
use super::super::tongue::read_day;
use super::super::{reporting, shell};
use crate::report::{Format, Period};

pub(in crate::console) static ROUTES: &[Route] = &[
    get("/reports", Needs::Right(Right::See), page),
    post("/reports", Needs::Right(Right::See), make),
    // They tell of every agency.
    get("/reports/{file}", Needs::Right(Right::SeeProvince), file),
];

/// Files that are listed, the newest.
const MOST_LISTED: usize = 120;
/// Formats, with their content types and what people call them.
const FORMATS: [(Format, &str, &str, &str); 5] = [
    (
        Format::Docx,
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "Công văn (DOCX)",
        "Letter (DOCX)",
    ),
    (
        Format::Xlsx,
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "Bảng tính (XLSX)",
        "Workbook (XLSX)",
    ),
    (Format::Html, "text/html; charset=utf-8", "Trang để in (HTML)", "Page to print (HTML)"),
    (Format::Csv, "text/csv; charset=utf-8", "Bảng số liệu (CSV)", "Table (CSV)"),
    (Format::Json, "application/json", "Dữ liệu (JSON)", "Data (JSON)"),
];

/// A report that was made.
struct Made {
    name: String,
    kind: &'static str,
    size: u64,
    /// When, microseconds since 1970.
    time: i64,
}

/// The reports that are there, the newest first.
fn made(call: &Call) -> Result<Vec<Made>, Failure> {
    let entries = match fs::read_dir(call.house.reports_folder()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut all: Vec<Made> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            // What somebody else put there under an odd name, and links to elsewhere, are no reports.
            let name = entry.file_name().into_string().ok()?;
            let is_plain = name.bytes().all(|it| it.is_ascii_alphanumeric() || b".-_".contains(&it));
            let (_, ending) = name.rsplit_once('.')?;
            let (_, kind, ..) = FORMATS.into_iter().find(|(format, ..)| format.as_str() == ending)?;
            let about = entry.metadata().ok().filter(|about| about.is_file() && is_plain)?;
            let age = about.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
            let time = i64::try_from(age.as_micros()).ok()?;
            Some(Made { name, kind, size: about.len(), time })
        })
        .collect();
    all.sort_by(|a, b| b.name.cmp(&a.name));
    all.truncate(MOST_LISTED);
    Ok(all)
}

fn failed(source: io::Error) -> Failure {
    Failure::Files { what: "reports", source }
}

fn page(call: &Call) -> Result<Reply, Failure> {
    let tongue = call.tongue;
    let body = html! {
        (parts::card(tongue.say("Lập báo cáo", "Make a report"), &html! {}, &form(call)?))
        @if call.may(Right::SeeProvince) {
            (parts::card(tongue.say("Báo cáo tháng đã lập", "Reports of months"), &html! {}, &list(call)?))
        }
    };
    Ok(shell::page(call, tongue.say("Báo cáo", "Reports"), &body))
}

fn form(call: &Call) -> Result<Markup, Failure> {
    let tongue = call.tongue;
    let usual = Period::month_before(call.now).ok();
    let day = |of: fn(Period) -> Date| usual.map(|period| of(period).to_string());
    let agencies = call.house.agencies();
    let is_of_province = call.viewer()?.agency().is_none();
    Ok(html! {
        form.narrow method="post" action="/reports" {
            (parts::csrf(call))
            label { (tongue.say("Từ ngày", "From")) input type="date" name="from" required value=[day(Period::first)]; }
            label { (tongue.say("Đến hết ngày", "To the end of")) input type="date" name="to" required value=[day(Period::last)]; }
            @if is_of_province {
                label { (tongue.say("Cơ quan", "Agency"))
                    select name="agency" {
                        option value="" { (tongue.say("Cả tỉnh", "The whole province")) }
                        @for agency in agencies.iter() { option value=(agency.id) { (agency.name) } }
                    }
                }
            }
            label { (tongue.say("Định dạng", "Format"))
                select name="format" {
                    @for (format, _, vietnamese, english) in FORMATS {
                        option value=(format.as_str()) { (tongue.say(vietnamese, english)) }
                    }
                }
            }
            button { (tongue.say("Lập và tải về", "Make and save it")) }
        }
    })
}

fn list(call: &Call) -> Result<Markup, Failure> {
    let tongue = call.tongue;
    let all = made(call)?;
    if all.is_empty() {
        return Ok(parts::empty(
            tongue.say("Chưa có báo cáo nào.", "There is none yet."),
            &html! { p { (tongue.say(
                "Báo cáo của tháng trước được lập tự động đầu mỗi tháng, nếu report.monthly được bật.",
                "Last month's is made at the beginning of each month, where report.monthly is on.",
            )) } },
        ));
    }
    let labels =
        [tongue.say("Tệp", "File"), tongue.say("Lập lúc", "Made"), tongue.say("Cỡ (KiB)", "Size (KiB)")];
    let heads = [Head::Text(labels[0]), Head::Text(labels[1]), Head::Number(labels[2])];
    let rows = html! {
        @for it in &all {
            tr {
                td { a href=(parts::link(&["reports", &it.name], &[])) { (it.name) } }
                td { (parts::time(call, it.time)) }
                td.number { (tongue.number(it.size.div_ceil(1024))) }
            }
        }
    };
    Ok(parts::table(tongue.say("Báo cáo tháng", "Reports of months"), &heads, &rows))
}

/// One of those that were made.
fn file(call: &Call) -> Result<Reply, Failure> {
    let found = made(call)?.into_iter().find(|it| it.name == call.place("file")).ok_or(Failure::Absent)?;
    let mut file = File::open(call.house.reports_folder().join(&found.name)).map_err(failed)?;
    Ok(Reply::Stream(Stream {
        kind: found.kind,
        name: Some(found.name),
        write: Box::new(move |out| io::copy(&mut file, out).map(drop)),
    }))
}

/// Makes one.
fn make(call: &Call) -> Result<Reply, Failure> {
    let day = |field: &'static str| -> Result<Date, Failure> {
        let text = call.form.find(field).unwrap_or_default();
        read_day(text).ok_or_else(|| {
            wrong(field, "hãy ghi ngày như 01/11/2026", "write a day such as 01/11/2026 or 2026-11-01")
        })
    };
    let period = Period::new(day("from")?, day("to")?).map_err(|error| {
        wrong(
            "to",
            "ngày cuối phải sau ngày đầu, và báo cáo dài nhất là ba năm; hãy sửa ngày",
            &error.to_string(),
        )
    })?;
    let word = call.form.find("format").unwrap_or_default();
    let format = FORMATS.into_iter().find(|(format, ..)| format.as_str() == word);
    let (format, kind, ..) =
        format.ok_or_else(|| wrong("format", "hãy chọn một định dạng", "choose a format"))?;
    let agency = call.form.find("agency");
    let octets = reporting::make(call, period, "from", agency, format)?;
    let about = call.viewer()?.agency().or(agency);
    let days = format!("{}_{}", period.first(), period.last());
    let name =
        format!("report-{}{days}.{}", about.map(|id| format!("{id}-")).unwrap_or_default(), format.as_str());
    Ok(Reply::File(answer::File { kind, name: Some(name), octets }))
}

fn wrong(field: &'static str, vietnamese: &str, english: &str) -> Failure {
    Failure::Wrong { field, vietnamese: vietnamese.to_owned(), english: english.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::super::access::Role;
    use super::super::super::house::House as _;
    use super::super::super::tests::{AGENCIES, MARKERS, Scratch, officer, text, viewer};
    use super::*;

    #[test]
    fn an_officer_gets_a_report_of_the_own_agency_alone() {
        let scratch = Scratch::new();
        let days = [("from", "2026-11-25"), ("to", "2026-11-26"), ("format", "json")];
        let of = |agency: &'static str| [&days[..], &[("agency", agency)]].concat();
        let all = text(scratch.post(&viewer(Role::Reader), "/reports", &days).unwrap());
        assert!(MARKERS.iter().all(|marker| all.contains(marker)), "{all}");
        for agency in ["", AGENCIES[0]] {
            let own = text(scratch.post(&officer(0), "/reports", &of(agency)).unwrap());
            assert!(own.contains(MARKERS[0]) && !own.contains(MARKERS[1]), "{own}");
        }
        assert!(matches!(scratch.post(&officer(0), "/reports", &of(AGENCIES[1])), Err(Failure::Absent)));
        assert!(matches!(
            scratch.post(&viewer(Role::Admin), "/reports", &of("so-khong-co")),
            Err(Failure::Absent)
        ));
        let wrong = [("from", "2026-11-26"), ("to", "2026-11-25"), ("format", "json")];
        assert!(matches!(
            scratch.post(&officer(0), "/reports", &wrong),
            Err(Failure::Wrong { field: "to", .. })
        ));
        let future = [("from", "2026-11-27"), ("to", "2026-11-30"), ("format", "json")];
        assert!(matches!(
            scratch.post(&officer(0), "/reports", &future),
            Err(Failure::Wrong { field: "from", .. })
        ));
    }

    #[test]
    fn reports_of_months_are_for_those_who_see_the_province() {
        let scratch = Scratch::new();
        let folder = scratch.reports_folder();
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("2026-10.csv"), "tháng mười").unwrap();
        fs::write(folder.join("2026-10.csv.new"), "nửa chừng").unwrap();
        std::os::unix::fs::symlink("/proc/self/environ", folder.join("2026-09.csv")).unwrap();
        let reader = viewer(Role::Reader);
        let page = text(scratch.get(&reader, "/reports").unwrap());
        assert!(
            page.contains("/reports/2026-10.csv\"") && !page.contains(".new") && !page.contains("2026-09")
        );
        assert_eq!(text(scratch.get(&reader, "/reports/2026-10.csv").unwrap()), "tháng mười");
        for other in ["2026-09.csv", "2026-10.csv.new", "..%2Fconsole%2Faccounts.db"] {
            let target = format!("/reports/{other}");
            assert!(matches!(scratch.get(&reader, &target), Err(Failure::Absent)), "{target}");
        }
        assert!(!text(scratch.get(&officer(0), "/reports").unwrap()).contains("2026-10.csv"));
        assert!(matches!(scratch.get(&officer(0), "/reports/2026-10.csv"), Err(Failure::Forbidden)));
    }
}
