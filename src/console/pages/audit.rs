//! The audit: who looked at whose history, and who changed what.

use std::ops::ControlFlow;

use jiff::Timestamp;
use jiff::civil::Date;
use maud::{Markup, html};

use super::super::access::Right;
use super::super::answer::{Failure, Reply, Stream};
use super::super::audit::failed;
use super::super::call::Call;
use super::super::parts::{self, Head, Tone};
use super::super::routes::{Needs, Route, get};
use super::super::shell;
use super::super::tongue::{Tongue, read_day, vietnam};
use crate::evidence::audit::read::{self, Came, Entry, Filter, Kind, Of};
use crate::evidence::export::csv::quoted;

pub(in crate::console) static ROUTES: &[Route] = &[
    get("/audit", Needs::Right(Right::Audit), page),
    get("/audit/export", Needs::Right(Right::Audit), export),
];

/// Entries of a page.
const ROWS: usize = 50;

/// What was done, for people; of what is not here the word itself is shown.
const ACTIONS: &[(&str, &str, &str)] = &[
    ("console", "xem lịch sử truy vấn", "looked at queries"),
    ("log", "xem lịch sử truy vấn (dòng lệnh)", "looked at queries (command)"),
    ("account.sign-in", "đăng nhập", "signed in"),
    ("account.sign-out", "đăng xuất", "signed out"),
    ("account.add", "tạo tài khoản", "made an account"),
    ("account.role", "đổi vai trò", "changed a role"),
    ("account.outside", "gắn tài khoản với đăng nhập một lần", "linked an account to the single sign-on"),
    ("account.password", "đổi mật khẩu", "changed a password"),
    ("account.link", "tạo liên kết một lần", "made a one-time link"),
    ("account.totp", "đổi xác thực hai bước", "changed a second factor"),
    ("account.sessions", "kết thúc phiên", "ended sessions"),
    ("account.disable", "khóa tài khoản", "disabled an account"),
    ("account.enable", "mở lại tài khoản", "enabled an account"),
    ("account.remove", "xóa tài khoản", "removed an account"),
    ("token.make", "tạo mã truy cập API", "made a token"),
    ("token.revoke", "thu hồi mã truy cập API", "revoked a token"),
    ("case.assign", "giao ca", "assigned a case"),
    ("case.note", "ghi chú vào ca", "noted on a case"),
    ("case.told", "ghi nhận đã thông báo", "noted who was told"),
    ("case.notified", "ghi nhận đã thông báo", "noted who was told"),
    ("case.clean", "ghi nhận báo đã làm sạch", "noted that it is said to be clean"),
    ("case.wrong", "ghi nhận báo chặn nhầm", "noted that it is said to be wrong"),
    ("case.verdict", "kết luận ca", "judged a case"),
    ("case.close", "đóng ca", "closed a case"),
    ("case.reopen", "mở lại ca", "opened a case again"),
    ("case.merge", "gộp ca", "merged a case"),
    ("rule.block", "chặn tên hoặc địa chỉ", "blocked"),
    ("rule.allow", "cho qua tên hoặc địa chỉ", "let pass"),
    ("rule.give", "đặt quy tắc riêng", "gave a rule"),
    ("rule.end", "kết thúc quy tắc riêng", "ended a rule"),
    ("proposal.accept", "chấp nhận đề xuất cho qua", "accepted a proposal"),
    ("proposal.decline", "bác đề xuất cho qua", "declined a proposal"),
    ("feed.approve", "duyệt phiên bản của nguồn", "approved a version of a feed"),
    ("feed.reject", "từ chối phiên bản của nguồn", "rejected a version of a feed"),
    ("feed.replay", "chạy lại nhật ký với phiên bản", "replayed the log for a version"),
    ("hunt", "truy tìm qua API", "hunted by the API"),
    ("hunt.start", "bắt đầu truy tìm", "began a hunt"),
    ("hunt.stop", "dừng truy tìm", "stopped a hunt"),
    ("hunt.remove", "xóa kết quả truy tìm", "removed a hunt"),
    ("hunt.export", "tải kết quả truy tìm", "exported a hunt"),
    ("log.export", "tải nhật ký truy vấn", "exported the query log"),
    ("machines.export", "tải danh sách máy", "exported machines"),
    ("report.make", "lập báo cáo", "made a report"),
    ("agency.import", "nhập danh sách cơ quan", "imported agencies"),
    ("coverage.import", "nhập danh sách máy được bảo vệ", "imported protected machines"),
];

fn action_text(tongue: Tongue, action: &str) -> &str {
    let known = ACTIONS.iter().find(|(word, ..)| *word == action);
    known.map_or(action, |(_, vietnamese, english)| tongue.say(vietnamese, english))
}

/// What is asked for. A day that is none is told.
fn filter(call: &Call) -> Result<Filter, Failure> {
    let text = |name| call.query.find(name).map(str::to_owned);
    let day = |name: &'static str| -> Result<Option<Date>, Failure> {
        let Some(text) = call.query.find(name) else { return Ok(None) };
        read_day(text).map(Some).ok_or_else(|| Failure::Wrong {
            field: name,
            vietnamese: "ngày viết như 26/11/2026".to_owned(),
            english: "a day is written as in 26/11/2026 or 2026-11-26".to_owned(),
        })
    };
    let start =
        |day: Option<Date>| vietnam().to_timestamp(day?.at(0, 0, 0, 0)).ok().map(Timestamp::as_microsecond);
    Ok(Filter {
        who: text("who"),
        kind: match call.query.find("kind") {
            Some("look") => Some(Kind::Look),
            Some("change") => Some(Kind::Change),
            _ => None,
        },
        action: text("action"),
        on: text("on"),
        since: start(day("since")?),
        // The whole of the last day.
        until: start(day("until")?.and_then(|day| day.tomorrow().ok())),
    })
}

fn page(call: &Call) -> Result<Reply, Failure> {
    let tongue = call.tongue;
    let before = call.query.find("after").and_then(|place| place.parse().ok());
    let mut entries = Vec::with_capacity(ROWS);
    let came = read::newest_first(call.house.data_dir(), &filter(call)?, before, &mut |entry| {
        entries.push(entry);
        if entries.len() == ROWS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .map_err(failed)?;
    let after = match came {
        Came::To(place) => Some(place.to_string()),
        Came::Through => None,
    };
    let (time, who, what, on, details) = (
        tongue.say("Lúc", "When"),
        tongue.say("Ai", "Who"),
        tongue.say("Việc", "What"),
        tongue.say("Đối tượng", "Of what"),
        tongue.say("Chi tiết", "Details"),
    );
    let heads = [Head::Text(time), Head::Text(who), Head::Text(what), Head::Text(on), Head::Text(details)];
    let rows = html! {
        @for entry in &entries {
            tr {
                td.nowrap data-label=(time) { (parts::time(call, entry.time)) }
                td data-label=(who) { (who_text(tongue, entry)) }
                td data-label=(what) { (action_text(tongue, &entry.action)) }
                td.name data-label=(on) { (on_text(entry)) }
                td.name data-label=(details) { (details_text(tongue, entry)) }
            }
        }
    };
    let fields = html! {
        (parts::field(call, "who", tongue.say("Ai", "Who"), ""))
        (parts::choice(call, "kind", tongue.say("Loại", "Kind"), tongue.say("Tất cả", "All"),
            [("look", tongue.say("Xem lịch sử", "Looks")), ("change", tongue.say("Thay đổi", "Changes"))]))
        (parts::field(call, "action", tongue.say("Việc bắt đầu bằng", "Action begins with"), "case."))
        (parts::field(call, "on", tongue.say("Đối tượng", "Of what"), "10.1.2.3"))
        label { (tongue.say("Từ ngày", "From")) input type="date" name="since" value=[call.query.find("since")]; }
        label { (tongue.say("Đến hết ngày", "To the end of")) input type="date" name="until" value=[call.query.find("until")]; }
    };
    let body = html! {
        (parts::filters(call, &fields))
        @if entries.is_empty() {
            (parts::empty(
                tongue.say("Không có mục nào", "There is nothing"),
                &html! { @if after.is_some() { (tongue.say("Chưa tìm hết; hãy xem trang sau.", "Not all was searched; go on to the next page.")) }
                    @else { (tongue.say("Hãy nới bộ lọc.", "Ask for more.")) } },
            ))
        } @else {
            (parts::cards(tongue.say("Nhật ký kiểm toán", "Audit log"), &heads, &rows))
        }
        (parts::pager(call, entries.len(), after.as_deref()))
        div.pager { (parts::export(call, "/audit/export")) }
    };
    Ok(shell::page(call, tongue.say("Nhật ký kiểm toán", "Audit log"), &body))
}

fn who_text(tongue: Tongue, entry: &Entry) -> Markup {
    html! {
        @match &entry.account {
            Some(account) => {
                (account)
                @if let Some(role) = entry.role.as_deref().and_then(|role| role.parse().ok()) {
                    " " span.soft { "(" (super::users::role_text(tongue, role)) ")" }
                }
                @if let Some(address) = entry.address { br; span.soft { (address) } }
            },
            None => {
                (entry.user.as_deref().unwrap_or("?")) " "
                (parts::badge(Tone::Plain, tongue.say("dòng lệnh", "command")))
            },
        }
    }
}

fn on_text(entry: &Entry) -> Markup {
    html! {
        @match &entry.of {
            Of::Look { client, .. } => (parts::client(*client)),
            Of::Change { on, .. } => (on),
        }
    }
}

fn details_text(tongue: Tongue, entry: &Entry) -> String {
    match &entry.of {
        Of::Look { since, until, .. } => {
            let from = since.map(|since| format!("{} {}", tongue.say("từ", "from"), tongue.time(since)));
            let to = until.map(|until| format!("{} {}", tongue.say("đến", "to"), tongue.time(until)));
            from.into_iter().chain(to).collect::<Vec<_>>().join(" ")
        }
        Of::Change { details, .. } if details == "password" => {
            tongue.say("bằng mật khẩu", "by password").to_owned()
        }
        Of::Change { details, .. } => details.clone(),
    }
}

fn export(call: &Call) -> Result<Reply, Failure> {
    let filter = filter(call)?;
    let data_dir = call.house.data_dir().to_owned();
    let is_csv = call.query.find("format") != Some("jsonl");
    let write = move |out: &mut dyn std::io::Write| {
        if is_csv {
            out.write_all(b"time,account,role,address,user,kind,action,on,details\r\n")?;
        }
        let mut before = None;
        loop {
            let mut written = Ok(());
            let came = read::newest_first(&data_dir, &filter, before, &mut |entry| {
                written = if is_csv { csv_line(out, &entry) } else { json_line(out, &entry) };
                if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
            written?;
            match came {
                Came::To(place) => before = Some(place),
                Came::Through => return Ok(()),
            }
        }
    };
    Ok(Reply::Stream(Stream::export(is_csv, "audit", Box::new(write))))
}

/// Time, account, role, address, user, kind, action, on, details.
fn fields(entry: &Entry) -> [String; 9] {
    let time = |time| Timestamp::from_microsecond(time).map_or_else(|_| String::new(), |it| it.to_string());
    let (kind, on, details) = match &entry.of {
        Of::Look { client, since, until } => {
            let span = [since, until].map(|it| it.map(time).unwrap_or_default());
            ("look", client.to_string(), span.join("/"))
        }
        Of::Change { on, details } => ("change", on.clone(), details.clone()),
    };
    [
        time(entry.time),
        entry.account.clone().unwrap_or_default(),
        entry.role.clone().unwrap_or_default(),
        entry.address.map(|address| address.to_string()).unwrap_or_default(),
        entry.user.clone().unwrap_or_default(),
        kind.to_owned(),
        entry.action.clone(),
        on,
        details,
    ]
}

fn csv_line(out: &mut dyn std::io::Write, entry: &Entry) -> std::io::Result<()> {
    let line: Vec<String> = fields(entry).iter().map(|field| quoted(field)).collect();
    write!(out, "{}\r\n", line.join(","))
}

fn json_line(out: &mut dyn std::io::Write, entry: &Entry) -> std::io::Result<()> {
    const NAMES: [&str; 9] =
        ["time", "account", "role", "address", "user", "kind", "action", "on", "details"];
    let fields = NAMES.into_iter().map(str::to_owned).zip(fields(entry).map(serde_json::Value::String));
    writeln!(out, "{}", serde_json::Value::Object(fields.collect()))
}

#[cfg(test)]
mod tests {
    use super::super::super::access::Role;
    use super::super::super::audit::changed;
    use super::super::super::tests::{Scratch, text, viewer};

    #[test]
    fn what_was_changed_is_shown_and_exported_as_text() {
        let scratch = Scratch::empty();
        let admin = viewer(Role::Admin);
        let call = scratch.call(Some(admin.clone()), "/", &[]);
        changed(&call, "policy.block", "<script>x</script>.example", "=cmd()\n<b>").unwrap();
        let page = text(scratch.get(&admin, "/audit?kind=change&who=admin").unwrap());
        assert!(page.contains("&lt;script&gt;x&lt;/script&gt;.example"), "{page}");
        assert!(!page.contains("<script>x") && !page.contains("<b>"), "{page}");
        let csv = text(scratch.get(&admin, "/audit/export?format=csv").unwrap());
        assert!(csv.contains("change,policy.block,<script>x</script>.example,\"'=cmd()\n<b>\"\r\n"), "{csv}");
        let json = text(scratch.get(&admin, "/audit/export?format=jsonl").unwrap());
        let line: serde_json::Value = serde_json::from_str(json.trim_end()).unwrap();
        assert_eq!((&line["account"], &line["details"]), (&"admin".into(), &"=cmd()\n<b>".into()));
        for (query, is_there) in [
            ("since=2026-11-26", true),
            ("since=2026-11-27", false),
            ("until=2026-11-25", false),
            ("until=2026-11-26", true),
            ("action=policy.", true),
            ("action=case.", false),
            ("on=script", true),
            ("kind=look", false),
        ] {
            let page = text(scratch.get(&admin, &format!("/audit?{query}")).unwrap());
            assert_eq!(page.contains("policy.block"), is_there, "{query}");
        }
        assert!(scratch.get(&admin, "/audit?since=hôm%20qua").is_err());
    }
}
