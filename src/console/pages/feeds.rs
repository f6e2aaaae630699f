//! Feeds: how each stands; and of each its versions, what a refused one would change and would have blocked, and the decision.

use std::sync::Arc;
use std::time::Duration;

use maud::{Markup, html};

use super::super::access::Right;
use super::super::answer::{Failure, Reply};
use super::super::audit;
use super::super::call::Call;
use super::super::data::work::Until;
use super::super::house::House;
use super::super::jobs::{Job, Outcome};
use super::super::parts::{self, Confirm, Head, Tone};
use super::super::routes::{Needs, Route, get, post};
use super::super::shell;
use super::super::tongue::Tongue;
use super::super::works::{Affected, Decision, Differences, Feed, Line, Replayed, Trouble, Way, Works};
use super::cases::missing;
use super::{reasons, verdicts};
use crate::cases::lifecycle::DAY;
use crate::evidence::store::{By, Filter};
use crate::feed::store::{Accepted, Counts, Digest, Event, Happening, Refused, State};

/// Differences of each kind that a page shows.
const MOST_DIFFERENCES: usize = 150;
/// … and at once.
const FEW: usize = 8;
/// How long a page waits for what is nearly there.
const PATIENCE: Duration = Duration::from_millis(150);
/// Octets of a reason.
const LONGEST: usize = 500;

pub(in crate::console) static ROUTES: &[Route] = &[
    get("/feeds", Needs::Right(Right::SeeProvince), page),
    get("/feeds/{name}", Needs::Right(Right::SeeProvince), one),
    get("/feeds/{name}/progress", Needs::Right(Right::SeeProvince), progress),
    post("/feeds/{name}/decide", Needs::Right(Right::Rule), decide),
    post("/feeds/{name}/replay", Needs::Right(Right::Rule), replay),
];

/// What can have been done, by `?done=`.
const DONE: [(&str, &str, &str); 3] = [
    (
        "approve",
        "Đã duyệt: phiên bản đang được đưa vào hiệu lực. Các tên được bảo vệ vẫn bị bỏ ra.",
        "Approved: the version is being put in force. Protected names stay left out.",
    ),
    (
        "reject",
        "Đã từ chối: phiên bản này sẽ không được hỏi lại.",
        "Rejected: nobody is asked about this version again.",
    ),
    ("replay", "Đang chạy lại nhật ký.", "The log is being replayed."),
];

/// The running server's feeds.
pub(super) fn works(call: &Call) -> Result<&dyn Works, Failure> {
    call.house.works().ok_or_else(|| Failure::Refused("no server is running".to_owned()))
}

/// How a feed stands, in words.
fn standing(tongue: Tongue, feed: &Feed) -> (Tone, &'static str) {
    let state = &feed.state;
    let held_back = match (&state.accepted, &state.latest) {
        (Some(accepted), Some(latest)) => accepted.version.digest != latest.digest,
        _ => false,
    };
    if waiting(state).is_some() {
        (Tone::Bad, tongue.say("Bị chặn, chờ duyệt", "Refused, to be decided"))
    } else if feed.missing.is_some() {
        (Tone::Bad, tongue.say("Không đọc được tệp", "Its file cannot be read"))
    } else if feed.fetching.as_ref().is_some_and(|fetching| fetching.failures > 0) {
        (Tone::Warn, tongue.say("Không tải được", "Cannot be fetched"))
    } else if state.accepted.is_none() {
        (Tone::Warn, tongue.say("Chưa có phiên bản", "No version yet"))
    } else if held_back && state.latest.as_ref().is_some_and(|latest| state.is_rejected(latest.digest)) {
        (Tone::Info, tongue.say("Hiệu lực, bản mới bị từ chối", "In force, the newer one is rejected"))
    } else if held_back {
        (Tone::Info, tongue.say("Đang đưa bản mới vào", "A new one is coming"))
    } else {
        (Tone::Good, tongue.say("Đang có hiệu lực", "In force"))
    }
}

/// A refused version about which nobody has decided.
fn waiting(state: &State) -> Option<&Refused> {
    let latest = state.latest.as_ref()?;
    state.pending().filter(|refused| refused.version.digest == latest.digest)
}

fn page(call: &Call) -> Result<Reply, Failure> {
    let tongue = call.tongue;
    let feeds = works(call)?.feeds()?;
    let waiting_count = feeds.iter().filter(|feed| waiting(&feed.state).is_some()).count();
    let heads = [
        Head::Text(tongue.say("Nguồn", "Feed")),
        Head::Text(tongue.say("Tình trạng", "State")),
        Head::Number(tongue.say("Chỉ báo", "Indicators")),
        Head::Number(tongue.say("Bỏ ra", "Left out")),
        Head::Text(tongue.say("Có hiệu lực từ", "In force since")),
        Head::Text(tongue.say("Lần tải tới", "Next fetch")),
        Head::Text(tongue.say("Tác động", "Action")),
    ];
    let rows = html! {
        @for feed in &feeds {
            @let (tone, word) = standing(tongue, feed);
            @let accepted = feed.state.accepted.as_ref();
            tr {
                th.name scope="row" { a href=(link(feed, &[])) { (feed.name) } div.small.soft.name { (feed.origin) } }
                td data-label=(tongue.say("Tình trạng", "State")) { (parts::badge(tone, word)) (trouble(call, feed)) }
                td.number data-label=(tongue.say("Chỉ báo", "Indicators")) { @match accepted {
                    Some(accepted) => (tongue.number(accepted.counts.indicators())), None => "—",
                } }
                td.number data-label=(tongue.say("Bỏ ra", "Left out")) { (tongue.number(accepted.map_or(0, |accepted| accepted.set_aside))) }
                td data-label=(tongue.say("Có hiệu lực từ", "In force since")) { @match accepted {
                    Some(accepted) => (parts::ago(call, accepted.accepted_at)), None => "—",
                } }
                td data-label=(tongue.say("Lần tải tới", "Next fetch")) { (next(call, feed)) }
                td data-label=(tongue.say("Tác động", "Action")) { (action_text(tongue, &feed.action)) }
            }
        }
    };
    let body = html! {
        @if waiting_count > 0 {
            (parts::notice(Tone::Bad, &html! { (tongue.say(
                format!("{waiting_count} nguồn có phiên bản mới bị chặn và chờ quyết định; bản tốt gần nhất vẫn có hiệu lực."),
                format!("{waiting_count} feeds have a refused version to decide about; the last good one stays in force."),
            )) }))
        }
        @if feeds.is_empty() {
            section.card { (parts::empty(
                tongue.say("Chưa có nguồn nào", "There is no feed"),
                &html! { (tongue.say("Thêm [[feed]] vào tệp cấu hình: chưa có tên nào bị chặn.", "Add [[feed]] to the configuration: nothing is blocked yet.")) },
            )) }
        } @else {
            (parts::cards(tongue.say("Các nguồn, nguồn đứng trước được ưu tiên", "Feeds; earlier ones win"), &heads, &rows))
        }
    };
    Ok(shell::page(call, tongue.say("Nguồn danh sách", "Feeds"), &body))
}

/// What is wrong with a feed, in a few words.
fn trouble(call: &Call, feed: &Feed) -> Markup {
    let tongue = call.tongue;
    html! {
        @if let Some(refused) = waiting(&feed.state) {
            div.small { (reasons::gate(tongue, refused.reasons.first().map_or("", String::as_str))) }
        } @else if let Some(missing) = &feed.missing {
            div.small.name { (reasons::file(tongue, missing)) }
        } @else if let Some((_, why)) = feed.fetching.as_ref().filter(|it| it.failures > 0).and_then(|it| it.trouble.as_ref()) {
            div.small.name { (reasons::fetch(tongue, why)) }
        }
    }
}

fn link(feed: &Feed, query: &[(&str, &str)]) -> String {
    parts::link(&["feeds", &feed.name], query)
}

/// When a new version is looked for.
fn next(call: &Call, feed: &Feed) -> Markup {
    let tongue = call.tongue;
    html! {
        @match &feed.fetching {
            Some(fetching) if fetching.next_at <= call.now => { (tongue.say("ngay bây giờ", "now")) }
            Some(fetching) => (parts::ago(call, fetching.next_at)),
            None if feed.is_file => { (tongue.say("khi tệp đổi", "when the file changes")) }
            None => { (tongue.say("khi nhập gói", "by import")) }
        }
    }
}

/// What rules do, in words.
pub(super) fn action_text(tongue: Tongue, action: &str) -> String {
    let known = match action {
        "sinkhole" => tongue.say("dẫn tới sinkhole", "sinkhole"),
        "nxdomain" => tongue.say("trả lời không tồn tại", "NXDOMAIN"),
        "nodata" => tongue.say("trả lời rỗng", "NODATA"),
        "passthru" => tongue.say("cho qua", "let pass"),
        "drop" => tongue.say("không trả lời", "drop"),
        "tcp-only" => tongue.say("chỉ qua TCP", "TCP only"),
        "shadow" => tongue.say("chỉ ghi nhật ký", "log only"),
        "given" => tongue.say("theo nguồn", "as the feed says"),
        other => other,
    };
    known.to_owned()
}

fn found(call: &Call) -> Result<Feed, Failure> {
    let name = call.place("name");
    works(call)?.feeds()?.into_iter().find(|feed| *feed.name == *name).ok_or(Failure::Absent)
}

/// The version that a page is about: the one that the query names, or the refused one.
fn version_of(call: &Call, feed: &Feed) -> Result<Option<(Digest, String)>, Failure> {
    let state = &feed.state;
    let asked = call.query.find("version").or_else(|| call.form.find("version"));
    let digest = match asked {
        Some(digits) => {
            let refused = state.refused.iter().map(|refused| refused.version.digest);
            let others = state.previous.iter().map(|previous| previous.version.digest);
            let fits = |digest: &Digest| digits.len() >= 12 && digest.to_string().starts_with(digits);
            Some(refused.chain(others).find(fits).ok_or(Failure::Absent)?)
        }
        None => waiting(state).map(|refused| refused.version.digest),
    };
    Ok(digest.map(|digest| (digest, digest.to_string())))
}

fn one(call: &Call) -> Result<Reply, Failure> {
    let tongue = call.tongue;
    let feed = found(call)?;
    let version = version_of(call, &feed)?;
    let (tone, word) = standing(tongue, &feed);
    let may_rule = call.viewer()?.may(Right::Rule);
    let body = html! {
        (parts::done(call, &DONE))
        div.actions { (parts::badge(tone, word)) }
        @if let Some((digest, _)) = &version { (review(call, &feed, *digest, may_rule)?) }
        div.grid {
            (parts::card(tongue.say("Nguồn", "Feed"), &html! {}, &facts(call, &feed)))
            (parts::card(tongue.say("Các phiên bản", "Versions"), &html! {}, &versions(call, &feed)))
        }
        (history(call, &feed))
    };
    let title = format!("{} {}", tongue.say("Nguồn", "Feed"), feed.name);
    Ok(shell::page(call, &title, &body))
}

fn counts_text(tongue: Tongue, counts: &Counts) -> String {
    let Counts { names, networks, addresses, urls, .. } = counts;
    let number = |count: u64| tongue.number(count);
    let mut parts =
        vec![tongue.say(format!("{} tên miền", number(*names)), format!("{} names", number(*names)))];
    let others = networks + addresses;
    if others > 0 {
        parts
            .push(tongue.say(format!("{} địa chỉ", number(others)), format!("{} addresses", number(others))));
    }
    if *urls > 0 {
        parts.push(format!("{} URL", number(*urls)));
    }
    parts.join(", ")
}

fn facts(call: &Call, feed: &Feed) -> Markup {
    let tongue = call.tongue;
    html! {
        dl.facts {
            dt { (tongue.say("Lấy từ", "From")) } dd.name { (feed.origin) }
            dt { (tongue.say("Tác động", "Action")) } dd { (action_text(tongue, &feed.action)) }
            dt { (tongue.say("Kiểm tra bản mới", "New versions are judged")) }
            dd { (if feed.is_gated { tongue.say("có", "yes") } else { tongue.say("không: lấy nguyên như nguồn đưa", "no: taken as they come") }) }
            @if let Some(Accepted { version, counts, set_aside, accepted_at, approval, .. }) = &feed.state.accepted {
                dt { (tongue.say("Có hiệu lực từ", "In force since")) } dd { (parts::time(call, *accepted_at)) }
                dt { (tongue.say("Nội dung", "Content")) } dd { (counts_text(tongue, counts)) }
                @if *set_aside > 0 {
                    dt { (tongue.say("Bỏ ra", "Left out")) }
                    dd { (tongue.number(*set_aside)) (tongue.say(" tên được bảo vệ", " protected names")) }
                }
                @if counts.faults > 0 {
                    dt { (tongue.say("Dòng không đọc được", "Unread lines")) } dd { (tongue.number(counts.faults)) }
                }
                @if let Some(word) = approval { dt { (tongue.say("Người duyệt", "Approved by")) } dd { (word.by) } }
                dt { "SHA-256" } dd.mono.name { (version.digest) }
            }
            dt { (tongue.say("Lần tải tới", "Next fetch")) } dd { (next(call, feed)) }
            @if let Some(fetching) = &feed.fetching {
                @if fetching.heard_at > 0 { dt { (tongue.say("Liên lạc lần cuối", "Last heard")) } dd { (parts::time(call, fetching.heard_at)) } }
                @if let Some(serial) = fetching.serial { dt { (tongue.say("Số sê-ri", "Serial")) } dd { (serial) } }
                @if let Some((at, why)) = &fetching.trouble {
                    dt { (tongue.say("Lỗi gần nhất", "Last trouble")) } dd { (parts::time(call, *at)) ": " (reasons::fetch(tongue, why)) @if tongue == Tongue::Vietnamese { div.small.soft.name lang="en" { (why) } } }
                }
            }
            @if let Some(missing) = &feed.missing { dt { (tongue.say("Lỗi tệp", "File trouble")) } dd { (reasons::file(tongue, missing)) } }
        }
    }
}

fn versions(call: &Call, feed: &Feed) -> Markup {
    let tongue = call.tongue;
    let state = &feed.state;
    let heads = [
        Head::Text(tongue.say("Phiên bản", "Version")),
        Head::Text(tongue.say("Đến lúc", "Came")),
        Head::Text(tongue.say("Nội dung", "Content")),
        Head::Text(tongue.say("Kết quả", "Outcome")),
    ];
    let row = |digest: Digest, at: i64, counts: &Counts, outcome: &Markup, leads: bool| {
        let short = digest.short();
        html! { tr {
            th.mono scope="row" { @if leads { a href=(link(feed, &[("version", &short)])) { (short) } } @else { (short) } }
            td { (parts::time(call, at)) }
            td { (counts_text(tongue, counts)) }
            td { (outcome) }
        } }
    };
    let rows = html! {
        @for Refused { version, counts, .. } in state.refused.iter().rev() {
            @let is_rejected = state.is_rejected(version.digest);
            @let outcome = if is_rejected { parts::badge(Tone::Plain, tongue.say("từ chối", "rejected")) }
                else { parts::badge(Tone::Bad, tongue.say("bị chặn", "refused")) };
            (row(version.digest, version.arrived_at, counts, &outcome, true))
        }
        @if let Some(Accepted { version, counts, .. }) = &state.accepted {
            (row(version.digest, version.arrived_at, counts, &parts::badge(Tone::Good, tongue.say("có hiệu lực", "in force")), false))
        }
        @if let Some(Accepted { version, counts, .. }) = &state.previous {
            (row(version.digest, version.arrived_at, counts, &parts::badge(Tone::Plain, tongue.say("trước đó", "before")), true))
        }
    };
    if state.accepted.is_none() && state.refused.is_empty() {
        return parts::empty(tongue.say("Chưa có phiên bản nào", "There is no version yet"), &html! {});
    }
    parts::table(tongue.say("Các phiên bản", "Versions"), &heads, &rows)
}

fn history(call: &Call, feed: &Feed) -> Markup {
    let tongue = call.tongue;
    let what = |what: Happening| match what {
        Happening::Accepted => tongue.say("Đưa vào hiệu lực", "Put in force"),
        Happening::Refused => tongue.say("Bị chặn", "Refused"),
        Happening::Approved => tongue.say("Được duyệt", "Approved"),
        Happening::Rejected => tongue.say("Bị từ chối", "Rejected"),
    };
    parts::card(
        tongue.say("Lịch sử", "History"),
        &html! {},
        &html! {
            @if feed.state.history.is_empty() { p.soft { (tongue.say("Chưa có gì.", "Nothing yet.")) } }
            ol.steps {
                @for Event { at, what: happened, digest, by, reasons } in feed.state.history.iter().rev().take(50) {
                    li {
                        strong { (what(*happened)) } " "
                        span.soft.small { (parts::time(call, *at)) " · " span.mono { (digest.short()) }
                            @if let Some(by) = by { " · " (by) } }
                        @for reason in reasons { div.name { (reasons::gate(tongue, reason)) } }
                    }
                }
            }
        },
    )
}

/// A version that is not in force: why, what it would change and would have blocked, and what can be decided.
fn review(call: &Call, feed: &Feed, digest: Digest, may_rule: bool) -> Result<Markup, Failure> {
    let tongue = call.tongue;
    let state = &feed.state;
    let refused = state.refused.iter().find(|refused| refused.version.digest == digest);
    let is_rejected = state.is_rejected(digest);
    let is_approved = state.approval.as_ref().is_some_and(|word| word.digest == digest);
    let title = match refused {
        Some(_) if is_rejected => tongue.say("Phiên bản đã bị từ chối", "A rejected version"),
        Some(_) => tongue.say("Phiên bản bị chặn", "A refused version"),
        None => tongue.say("Phiên bản trước", "The version before"),
    };
    Ok(html! {
        section.card.bad[refused.is_some() && !is_rejected] {
            header { h2 { (title) } span.mono.soft { (digest.short()) } }
            @if let Some(refused) = refused {
                p { (tongue.say("Đến lúc ", "It came ")) (parts::time(call, refused.version.arrived_at)) "; " (counts_text(tongue, &refused.counts)) "." }
                ul { @for reason in &refused.reasons { li.name { (reasons::gate(tongue, reason)) } } }
            }
            @if is_approved {
                (parts::notice(Tone::Info, &html! { (tongue.say(
                    "Đã được duyệt, đang đưa vào hiệu lực. Tải lại trang để xem.",
                    "It is approved and being put in force. Load the page again to see.",
                )) }))
            } @else if may_rule && refused.is_some() {
                (decision(call, feed, digest, is_rejected))
            }
            h3 { (tongue.say("Sẽ thay đổi gì", "What it would change")) }
            (differences(call, feed, digest)?)
            h3 { (tongue.say("Trong ngày qua sẽ chặn những truy vấn nào", "Which queries of the last day it would have blocked")) }
            (replayed(call, feed, digest, may_rule)?)
        }
    })
}

fn decision(call: &Call, feed: &Feed, digest: Digest, is_rejected: bool) -> Markup {
    let tongue = call.tongue;
    let action = parts::link(&["feeds", &feed.name, "decide"], &[]);
    let form = |decision: &str, button: &str, reason: &str, is_danger| {
        let confirm = Confirm { action: &action, button, reason: Some(reason), is_danger };
        parts::confirm(
            call,
            &confirm,
            &html! {
                input type="hidden" name="decision" value=(decision);
                input type="hidden" name="version" value=(digest);
            },
        )
    };
    html! {
        div.grid {
            (form("approve", tongue.say("Duyệt", "Approve"), tongue.say("Vì sao duyệt", "Why it is approved"), false))
            @if !is_rejected {
                (form("reject", tongue.say("Từ chối", "Reject"), tongue.say("Vì sao từ chối", "Why it is rejected"), true))
            }
        }
    }
}

fn key(kind: &str, feed: &Feed, digest: Digest) -> String {
    let base = feed.state.accepted_digest().map(|digest| digest.to_string()).unwrap_or_default();
    format!("{kind} {} {base} {digest}", feed.name)
}

/// How far a job is, or that it cannot be begun now.
fn under_way(call: &Call, feed: &Feed, job: &Job, kind: &str, digest: Digest) -> Markup {
    let tongue = call.tongue;
    let (done, total) = job.progress();
    let live =
        parts::link(&["feeds", &feed.name, "progress"], &[("kind", kind), ("version", &digest.to_string())]);
    html! {
        div data-live=(live) data-every="2" data-reload {
            @if total > 0 {
                progress aria-label=(tongue.say("Tiến độ", "Progress")) max=(total) value=(done.min(total)) data-progress="done" {}
                p.soft { span data-value="text" { (progress_text(tongue, done, total)) } }
            } @else {
                progress aria-label=(tongue.say("Đang làm", "Under way")) {}
            }
            p.hint { (tongue.say("Đang làm ở nền; ", "Under way in the background; "))
                a href=(parts::here(call, "done", None)) { (tongue.say("tải lại để xem kết quả", "load again to see what came of it")) } "." }
        }
    }
}

fn progress_text(tongue: Tongue, done: u64, total: u64) -> String {
    let (done, total) = (tongue.number(done), tongue.number(total));
    tongue.say(format!("{done} trên {total} truy vấn"), format!("{done} of {total} queries"))
}

fn progress(call: &Call) -> Result<Reply, Failure> {
    let feed = found(call)?;
    let (digest, _) = version_of(call, &feed)?.ok_or(Failure::Absent)?;
    let kind =
        call.query.find("kind").filter(|kind| matches!(*kind, "diff" | "replay")).ok_or(Failure::Absent)?;
    let job = works(call)?.jobs().find(&key(kind, &feed, digest));
    let (done, total) = job.as_ref().map_or((0, 0), |job| job.progress());
    Ok(Reply::Json(serde_json::json!({
        "done": done, "text": progress_text(call.tongue, done, total),
        "over": job.is_none_or(|job| job.outcome().is_some()),
    })))
}

/// Runs on a thread of its own, which outlives the request.
fn with_works<T>(
    house: &Arc<dyn House>,
    ask: impl FnOnce(&dyn Works) -> Result<T, Trouble>,
) -> Result<T, Trouble> {
    house.works().ok_or_else(|| Trouble::Failed("no server is running".to_owned())).and_then(ask)
}

fn differences(call: &Call, feed: &Feed, digest: Digest) -> Result<Markup, Failure> {
    let tongue = call.tongue;
    let (house, name, version) = (Arc::clone(&call.house), Arc::clone(&feed.name), digest.to_string());
    let job = works(call)?.jobs().start(&key("diff", feed, digest), call.now, move |_| {
        let found = with_works(&house, |works| works.differences(&name, &version, MOST_DIFFERENCES));
        found.map(Outcome::Differences)
    });
    let job = match job {
        Ok(job) => job,
        Err(Trouble::Busy) => return Ok(busy(call)),
        Err(trouble) => return Err(trouble.into()),
    };
    Ok(match job.wait(PATIENCE).as_deref() {
        None => under_way(call, feed, &job, "diff", digest),
        Some(Ok(Outcome::Differences(found))) => shown(call, found),
        Some(Ok(Outcome::Replay(_))) => html! {},
        Some(Err(trouble)) => parts::notice(
            Tone::Bad,
            &html! {
                (tongue.say("Không so sánh được: ", "It cannot be compared: ")) (trouble)
            },
        ),
    })
}

fn busy(call: &Call) -> Markup {
    parts::notice(
        Tone::Info,
        &html! { (call.tongue.say(
            "Máy chủ đang bận việc khác; hãy tải lại trang sau ít phút.",
            "The server is busy with something else; load the page again in a while.",
        )) },
    )
}

fn shown(call: &Call, found: &Differences) -> Markup {
    let tongue = call.tongue;
    let number = |count| tongue.number(count);
    let kind = |kind: &str| match kind {
        "name" => tongue.say("tên miền", "name"),
        "network" => tongue.say("mạng", "network"),
        "address" => tongue.say("địa chỉ", "address"),
        _ => "URL",
    };
    let (added, removed) = (found.changes.added, found.changes.removed);
    let heads = [
        Head::Text(tongue.say("Giá trị", "Value")),
        Head::Text(tongue.say("Loại", "Kind")),
        Head::Text(tongue.say("Họ mã độc", "Family")),
    ];
    let rows = |lines: &[Line]| {
        html! {
            @for line in lines { tr {
                th.name scope="row" { (line.value)
                    @if let Some(why) = &line.left_out { div.small.soft { (tongue.say("sẽ bỏ ra: ", "would be left out: ")) (verdicts::objection_text(tongue, why)) } } }
                td { (kind(line.kind)) }
                td { (line.family.as_deref().unwrap_or("—")) }
            } }
        }
    };
    let part = |title: &str, lines: &[Line], count: u64| {
        let (few, rest) = lines.split_at(lines.len().min(FEW));
        let more = count.saturating_sub(lines.len() as u64);
        html! {
            @if !few.is_empty() {
                h4 { (title) " (" (number(count)) ")" }
                (parts::table(title, &heads, &rows(few)))
            }
            @if !rest.is_empty() {
                details {
                    summary { (tongue.say(format!("Thêm {} dòng", rest.len()), format!("{} more", rest.len()))) }
                    (parts::table(&format!("{title} …"), &heads, &rows(rest)))
                    @if more > 0 { p.hint { (tongue.say(
                        format!("Còn {} dòng nữa: sachdns policy diff --feed NGUỒN cho xem tất cả.", number(more)),
                        format!("{} more: sachdns policy diff --feed NAME shows all.", number(more)),
                    )) } }
                }
            }
        }
    };
    html! {
        p {
            strong { "+" (number(added)) } (tongue.say(" thêm, ", " added, "))
            strong { "−" (number(removed)) } (tongue.say(" bớt, ", " removed, "))
            (number(found.kept)) (tongue.say(" giữ nguyên.", " in both."))
            @if !found.families.is_empty() {
                " " (tongue.say("Họ mã độc: ", "Families: "))
                @for (at, (family, changes)) in found.families.iter().enumerate() {
                    @if at > 0 { ", " } (family) " +" (number(changes.added)) " −" (number(changes.removed))
                }
                "."
            }
        }
        (part(tongue.say("Thêm", "Added"), &found.added, added))
        (part(tongue.say("Bớt", "Removed"), &found.removed, removed))
    }
}

fn replayed(call: &Call, feed: &Feed, digest: Digest, may_rule: bool) -> Result<Markup, Failure> {
    let tongue = call.tongue;
    let begin = |button: &str| {
        let action = parts::link(&["feeds", &feed.name, "replay"], &[]);
        let confirm = Confirm { action: &action, button, reason: None, is_danger: false };
        parts::confirm(call, &confirm, &html! { input type="hidden" name="version" value=(digest); })
    };
    let Some(job) = works(call)?.jobs().find(&key("replay", feed, digest)) else {
        return Ok(html! {
            @if may_rule {
                (begin(tongue.say("Chạy thử với truy vấn của ngày qua", "Try it with the last day's queries")))
                p.hint { (tongue.say(
                    "Đọc nhật ký ở nền với ưu tiên thấp; không truy vấn ra ngoài.",
                    "Reads the log in the background at a low priority; nothing is asked of anybody.",
                )) }
            } @else { p.soft { (tongue.say("Chưa chạy thử.", "Not tried yet.")) } }
        });
    };
    Ok(match job.wait(PATIENCE).as_deref() {
        None => under_way(call, feed, &job, "replay", digest),
        Some(Ok(Outcome::Replay(replayed))) => html! {
            (ways(call, replayed))
            @if may_rule { (begin(tongue.say("Chạy lại", "Try again"))) }
        },
        Some(Ok(Outcome::Differences(_))) => html! {},
        Some(Err(trouble)) => html! {
            (parts::notice(Tone::Bad, &html! { (tongue.say("Không chạy được: ", "It cannot be tried: ")) (trouble) }))
            @if may_rule { (begin(tongue.say("Chạy lại", "Try again"))) }
        },
    })
}

fn ways(call: &Call, replayed: &Replayed) -> Markup {
    let tongue = call.tongue;
    html! {
        p {
            (tongue.say("Đã xem ", "Looked at ")) (tongue.number(replayed.queries)) (tongue.say(" truy vấn", " queries"))
            @if let Some((first, last)) = replayed.span {
                (tongue.say(" từ ", " from ")) (parts::time(call, first)) (tongue.say(" đến ", " to ")) (parts::time(call, last))
            }
            "."
            @if !replayed.is_complete { " " (parts::badge(Tone::Warn, tongue.say("chưa hết", "not all of them"))) }
        }
        (way(call, &replayed.blocked, tongue.say("sẽ bị chặn", "would be blocked"), Tone::Warn))
        (way(call, &replayed.released, tongue.say("sẽ không còn bị chặn", "would no longer be blocked"), Tone::Info))
    }
}

fn way(call: &Call, way: &Way, words: &str, tone: Tone) -> Markup {
    let tongue = call.tongue;
    let number = |count| tongue.number(count);
    let line = |affected: &Affected| {
        html! { tr {
            td.name { (parts::qname(call, &affected.name)) }
            td.number { a href=(parts::link(&["log"], &[("name", &affected.name)])) { (number(affected.queries)) } }
            td.number { (number(affected.clients)) @if affected.has_more_clients { "+" } }
            td { @for (at, (agency, queries)) in affected.agencies.iter().take(3).enumerate() {
                @if at > 0 { ", " } (parts::agency(call, (!agency.is_empty()).then_some(agency))) " (" (number(*queries)) ")"
            } @if affected.agencies.len() > 3 { " …" } }
            td { (affected.feed) @if let Some(family) = &affected.family { ", " (family) } }
            td { (parts::ago(call, affected.last)) }
        } }
    };
    html! {
        @if way.queries == 0 {
            p { (parts::badge(Tone::Good, tongue.say("không có", "none"))) " "
                (tongue.say("Không truy vấn nào ", "No query ")) (words) "." }
        } @else {
            p {
                (parts::badge(tone, &number(way.queries)))
                " " (tongue.say("truy vấn của ", "queries of ")) (number(way.clients)) (tongue.say(" máy ", " clients ")) (words) ": "
                @for (at, (agency, queries, clients)) in way.agencies.iter().take(8).enumerate() {
                    @if at > 0 { "; " }
                    (parts::agency(call, (!agency.is_empty()).then_some(agency)))
                    (tongue.say(
                        format!(" {} truy vấn của {} máy", number(*queries), number(*clients)),
                        format!(" {} queries of {} clients", number(*queries), number(*clients)),
                    ))
                }
                @if way.agencies.len() > 8 { " …" }
                "."
            }
        }
        @if !way.names.is_empty() {
            (parts::table(words, &[
                Head::Text(tongue.say("Tên miền", "Name")), Head::Number(tongue.say("Truy vấn", "Queries")),
                Head::Number(tongue.say("Máy", "Clients")), Head::Text(tongue.say("Của ai", "Whose")),
                Head::Text(tongue.say("Nguồn", "Feed")), Head::Text(tongue.say("Lần cuối", "Last")),
            ], &html! { @for affected in way.names.iter().take(50) { (line(affected)) } }))
            @let more = (way.names.len() as u64).saturating_sub(50) + way.more;
            @if more > 0 { p.hint { (tongue.say(format!("Còn {} tên nữa.", number(more)), format!("{} more names.", number(more)))) } }
        }
    }
}

fn decide(call: &Call) -> Result<Reply, Failure> {
    let feed = found(call)?;
    let (digest, version) = version_of(call, &feed)?.ok_or_else(|| missing("version"))?;
    let reason = call.form.find("reason").ok_or_else(|| missing("reason"))?;
    if reason.len() > LONGEST || reason.contains(char::is_control) {
        return Err(Failure::Wrong {
            field: "reason",
            vietnamese: format!("một dòng, tối đa {LONGEST} byte"),
            english: format!("one line of at most {LONGEST} octets"),
        });
    }
    let (decision, word) = match call.form.find("decision") {
        Some("approve") => (Decision::Approve, "approve"),
        Some("reject") => (Decision::Reject, "reject"),
        _ => return Err(missing("decision")),
    };
    works(call)?.decide(&feed.name, &version, decision, &call.viewer()?.name, reason)?;
    let details = format!("{}: {reason}", digest.short());
    audit::changed(call, &format!("feed.{word}"), &feed.name, &details)?;
    Ok(Reply::Redirect(link(&feed, &[("done", word)])))
}

fn replay(call: &Call) -> Result<Reply, Failure> {
    let feed = found(call)?;
    let (digest, version) = version_of(call, &feed)?.ok_or_else(|| missing("version"))?;
    let (key, since) = (key("replay", &feed, digest), call.now - DAY);
    let (house, name, of) = (Arc::clone(&call.house), Arc::clone(&feed.name), version.clone());
    let jobs = works(call)?.jobs();
    jobs.forget(&key);
    jobs.start(&key, call.now, move |job| {
        let filter = Filter { since: Some(since), ..Filter::default() };
        // From roll-ups; without them nobody knows how far it is.
        let counted = house.log().count(&filter, By::Nothing, &mut Until::after(Duration::from_secs(2)));
        if let Ok((counts, scan)) = counted
            && !scan.is_stopped
        {
            job.has(counts.iter().map(|count| count.count).sum());
        }
        with_works(&house, |works| works.replay(&name, &of, since, &mut |queries| job.is_at(queries)))
            .map(Outcome::Replay)
    })?;
    audit::changed(call, "feed.replay", &feed.name, &digest.short())?;
    Ok(Reply::Redirect(link(&feed, &[("version", &version), ("done", "replay")])))
}
