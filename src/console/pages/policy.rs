//! The policy: what it says of a name and why, analysts' own blocks and exceptions, and what false positives propose.

use std::io::Write as _;
use std::net::IpAddr;

use maud::{Markup, html};

use super::super::access::Right;
use super::super::answer::{Failure, Reply, Stream};
use super::super::audit;
use super::super::call::Call;
use super::super::parts::{self, Confirm, Head, Tone};
use super::super::routes::{Needs, Route, get, post};
use super::super::shell;
use super::super::tongue::Tongue;
use super::super::works::{self, Lines, Order};
use super::cases::{actor, forget, missing, refused};
use super::feeds::{action_text, works};
use super::verdicts;
use crate::cases::Proposal;
use crate::cases::lifecycle::DAY;
use crate::evidence::export::csv;
use crate::explain::{Question, Story};
use crate::name::Name;
use crate::policy::action::Action;
use crate::policy::trigger::Scope;
use crate::rules::{Effect, End, Entry, Standing, Subject};

/// Rules of a page.
const PAGE: usize = 50;
/// Proposals of a page.
const MOST_PROPOSALS: usize = 200;
/// Subjects that are given at once.
const MOST_SUBJECTS: usize = 100;
/// Octets of a reason.
const LONGEST: usize = 500;
/// The type that is explained: A.
const TYPE_A: u16 = 1;

pub(in crate::console) static ROUTES: &[Route] = &[
    get("/policy", Needs::Right(Right::SeeProvince), page),
    get("/policy/rules", Needs::Right(Right::SeeProvince), rules),
    get("/policy/rules/export", Needs::Right(Right::SeeProvince), export),
    post("/policy/rules", Needs::Right(Right::Rule), give),
    post("/policy/rules/{id}/end", Needs::Right(Right::Rule), end),
    get("/policy/proposals", Needs::Right(Right::SeeProvince), proposals),
    post("/policy/proposals/{id}/accept", Needs::Right(Right::Rule), accept),
    post("/policy/proposals/{id}/decline", Needs::Right(Right::Rule), decline),
];

/// What can have been done, by `?done=`.
const DONE: [(&str, &str, &str); 5] = [
    (
        "live",
        "Đã có hiệu lực: mọi truy vấn từ bây giờ theo quy tắc này.",
        "It is live: every query from now on goes by it.",
    ),
    ("ended", "Quy tắc đã hết hiệu lực ngay từ bây giờ.", "The rule is no longer in force from now on."),
    (
        "later",
        "Đã ghi; máy chủ đưa vào hiệu lực trong vòng một giây.",
        "It is kept; the server puts it in force within a second.",
    ),
    ("accepted", "Đã chấp nhận: tên được cho qua ngay từ bây giờ.", "Accepted: the name passes from now on."),
    ("declined", "Đã bác đề xuất: tên vẫn bị chặn.", "Declined: the name stays blocked."),
];

/// The three pages of the policy.
fn tabs(call: &Call, open: usize) -> Markup {
    let tongue = call.tongue;
    let tab = |path: &str, text: &str| {
        html! { li { a href=(path) aria-current=[(call.path == path).then_some("page")] { (text) } } }
    };
    let proposals = match open {
        0 => tongue.say("Đề xuất cho qua", "Proposals").to_owned(),
        open => tongue.say(format!("Đề xuất cho qua ({open})"), format!("Proposals ({open})")),
    };
    html! {
        ul.tabs {
            (tab("/policy", tongue.say("Tra cứu và thêm quy tắc", "Look up, and add rules")))
            (tab("/policy/rules", tongue.say("Quy tắc riêng", "Own rules")))
            (tab("/policy/proposals", &proposals))
        }
    }
}

fn page(call: &Call) -> Result<Reply, Failure> {
    let tongue = call.tongue;
    let may_rule = call.viewer()?.may(Right::Rule);
    let asked = call.query.find("name");
    let policy = works(call)?.policy();
    let book = read(call)?;
    let body = html! {
        (parts::done(call, &DONE))
        (tabs(call, open_proposals(call)?.len()))
        form.filters method="get" action="/policy" role="search" {
            (parts::field(call, "name", tongue.say("Tên miền hoặc địa chỉ", "Name or address"), "evil.example"))
            (parts::field(call, "client", tongue.say("Với máy (không bắt buộc)", "For the client (not required)"), "10.1.2.3"))
            div.do { button { (tongue.say("Tra cứu", "Look up")) } }
        }
        @match asked {
            Some(asked) => (lookup(call, asked)?),
            None => p.hint {
                (tongue.say("Chính sách đang có hiệu lực: ", "The policy in force: "))
                (tongue.number(policy.names)) (tongue.say(" tên miền, dựng lúc ", " names, built "))
                (parts::time(call, policy.built_at)) "; "
                (tongue.number(book.active(call.now).count() as u64))
                (tongue.say(" quy tắc riêng đứng trước mọi nguồn.", " own rules, which come before all feeds."))
            },
        }
        @if may_rule { (giving(call, asked)) }
    };
    Ok(shell::page(call, tongue.say("Chính sách", "Policy"), &body))
}

fn read(call: &Call) -> Result<crate::rules::Book, Failure> {
    call.house.rules().read().map(|reading| reading.book).map_err(|error| Failure::Refused(error.to_string()))
}

fn wrong_name(error: &impl std::fmt::Display) -> Failure {
    Failure::Wrong {
        field: "name",
        vietnamese: "không phải tên miền hay địa chỉ; với một URL, hãy nhập phần tên máy chủ".to_owned(),
        english: format!("neither a name nor an address ({error}); of a URL give the host"),
    }
}

/// What the policy says of a name or an address.
fn lookup(call: &Call, asked: &str) -> Result<Markup, Failure> {
    let tongue = call.tongue;
    let client = call.query.find("client").map(|text| {
        works::address(text).ok_or_else(|| Failure::Wrong {
            field: "client",
            vietnamese: "không phải địa chỉ IP".to_owned(),
            english: "not an IP address".to_owned(),
        })
    });
    let client: Option<IpAddr> = client.transpose()?;
    let address = works::address(asked);
    let question = match address {
        // A name that nobody lists, whose answer leads there.
        Some(address) => {
            let root = Name::from_presentation(".").map_err(|error| wrong_name(&error))?;
            Question { answer_ip: vec![address], ..Question::of(root, TYPE_A) }
        }
        None => Question::of(Name::from_host(asked).map_err(|error| wrong_name(&error))?, TYPE_A),
    };
    let question = Question { client, ..question };
    let lines = if call.query.find("lines") == Some("1") { Lines::Find } else { Lines::Leave };
    let story = works(call)?.explain(&question, lines)?;
    let shown = address.map_or_else(|| question.name.to_string(), |address| address.to_string());
    Ok(html! {
        (verdicts::outcome(call, &shown, &story, address.is_some()))
        (whom(call, &story))
        (verdicts::accounts(call, &story))
        @if lines == Lines::Leave && !story.accounts.is_empty() {
            p { a href=(parts::here(call, "lines", Some("1"))) {
                (tongue.say("Tìm dòng trong tệp của các nguồn (có thể mất vài giây)", "Find the lines in the feeds' files (this may take some seconds)"))
            } }
        }
        @if address.is_none() {
            p { a href=(parts::link(&["log"], &[("name", &shown)])) {
                (tongue.say("Ai đã hỏi: xem nhật ký", "Who asked: the query log"))
            } }
        }
    })
}

/// For whom that holds.
fn whom(call: &Call, story: &Story) -> Markup {
    let tongue = call.tongue;
    let client = &story.client;
    html! {
        p.soft {
            @match client.address {
                None => { (tongue.say("Với máy không thuộc cơ quan nào. Nhập địa chỉ máy để xem quy tắc riêng của cơ quan.", "For a client of no agency. Give a client to see what is its agency's own.")) },
                Some(address) => {
                    (tongue.say("Với máy ", "For ")) (parts::client(address)) ", "
                    @match &client.agency {
                        Some((id, _)) => (parts::agency(call, Some(id))),
                        None => (tongue.say("không thuộc cơ quan nào", "of no agency")),
                    }
                    @if !client.is_answered { ": " strong { (tongue.say("không được phục vụ (server.allow)", "not answered at all (server.allow)")) } }
                    "."
                },
            }
            @for (name, _) in &story.guarded {
                " " (name) (tongue.say(" được bảo vệ hoặc rất phổ biến: riêng một địa chỉ hoặc máy chủ tên không chặn được tên này.", " is protected or popular: no address or name server alone takes it."))
            }
        }
    }
}

/// The form that gives rules.
fn giving(call: &Call, asked: Option<&str>) -> Markup {
    let tongue = call.tongue;
    let agencies = call.house.agencies();
    let actions = ["sinkhole", "nxdomain", "nodata", "drop", "shadow"];
    let ends = [
        ("1", "1 ngày", "1 day"),
        ("7", "7 ngày", "7 days"),
        ("30", "30 ngày", "30 days"),
        ("90", "90 ngày", "90 days"),
        ("365", "1 năm", "1 year"),
        ("never", "Không thời hạn", "Never"),
    ];
    parts::card(
        tongue.say("Thêm quy tắc", "Add a rule"),
        &html! {},
        &html! {
            form.stack method="post" action="/policy/rules" {
                (parts::csrf(call))
                fieldset {
                    legend { (tongue.say("Làm gì", "What it does")) }
                    label.check { input type="radio" name="kind" value="block" required; (tongue.say("Chặn", "Block")) }
                    label.check { input type="radio" name="kind" value="allow" required; (tongue.say("Cho qua, dù nguồn nào liệt kê", "Let pass, whatever feeds say")) }
                }
                label { (tongue.say("Tên miền, địa chỉ hoặc mạng, mỗi dòng một mục; tên gồm cả mọi tên con, *.TÊN: chỉ các tên con", "Names, addresses or networks, one a line; a name has all below it with it, *.NAME is only that"))
                    textarea name="subjects" required rows="3" spellcheck="false" autocomplete="off" { (asked.unwrap_or_default()) }
                }
                label { (tongue.say("Lý do: ai tra cứu cũng sẽ đọc", "Why: everybody who looks it up reads this"))
                    input type="text" name="reason" required maxlength=(LONGEST) autocomplete="off"; }
                div.grid {
                    label { (tongue.say("Hết hạn sau", "Ends after"))
                        select name="expires" { @for (value, vietnamese, english) in ends {
                            option value=(value) selected[value == "30"] { (tongue.say(vietnamese, english)) }
                        } } }
                    label { (tongue.say("Áp dụng cho", "Applies to"))
                        select name="agency" {
                            option value="" { (tongue.say("Mọi cơ quan", "Everybody")) }
                            @for agency in agencies.iter() { option value=(agency.id) { (agency.name) } }
                        } }
                    label { (tongue.say("Khi chặn thì", "A block"))
                        select name="action" { @for action in actions { option value=(action) { (action_text(tongue, action)) } } } }
                    label { (tongue.say("Họ mã độc (không bắt buộc)", "Malware family (not required)"))
                        input type="text" name="family" maxlength="100" autocomplete="off"; }
                }
                label.check { input type="checkbox" name="exact" value="1"; (tongue.say("Chỉ riêng tên này, không gồm tên con", "The name alone, and nothing below it")) }
                label.check { input type="checkbox" name="force" value="1"; (tongue.say("Vẫn chặn dù tên được bảo vệ hoặc rất phổ biến", "Block it even where it is protected or popular")) }
                label.check { input type="checkbox" name="wide" value="1"; (tongue.say(
                    "Vẫn cho qua cả một tên miền cấp cao nhất, đuôi dùng chung (com, com.vn) hoặc mạng rất lớn: mọi tên bên dưới không còn bị chặn",
                    "Let it pass even where it is a top-level domain, a public suffix (com, com.vn) or a very large network: nothing below is blocked any more",
                )) }
                button { (tongue.say("Thêm quy tắc", "Add the rule")) }
                p.hint { (tongue.say("Có hiệu lực trong vòng một giây.", "It is live within a second.")) }
            }
        },
    )
}

/// A reason, which must be one line.
fn reason(call: &Call) -> Result<&str, Failure> {
    let reason = call.form.find("reason").ok_or_else(|| missing("reason"))?;
    if reason.len() > LONGEST || reason.contains(char::is_control) {
        return Err(Failure::Wrong {
            field: "reason",
            vietnamese: format!("một dòng, tối đa {LONGEST} byte"),
            english: format!("one line of at most {LONGEST} octets"),
        });
    }
    Ok(reason)
}

/// When what is given ends.
fn expiry(call: &Call) -> Result<Option<i64>, Failure> {
    match call.form.find("expires") {
        None | Some("never") => Ok(None),
        Some(days) => match days.parse::<i64>() {
            Ok(days @ 1..=3650) => Ok(Some(call.now + days * DAY)),
            _ => Err(missing("expires")),
        },
    }
}

fn give(call: &Call) -> Result<Reply, Failure> {
    let texts = call.form.find("subjects").ok_or_else(|| missing("subjects"))?;
    let is_exact = call.form.find("exact") == Some("1");
    let mut subjects = Vec::new();
    for text in texts.lines().map(str::trim).filter(|text| !text.is_empty()) {
        if subjects.len() >= MOST_SUBJECTS {
            return Err(Failure::Wrong {
                field: "subjects",
                vietnamese: format!("nhiều hơn {MOST_SUBJECTS} dòng; hãy đưa danh sách dài vào một nguồn"),
                english: format!("more than {MOST_SUBJECTS} lines; make such a long list a feed"),
            });
        }
        let subject = text.parse::<Subject>().map_err(|error| Failure::Wrong {
            field: "subjects",
            vietnamese: format!("“{text}” không phải tên miền, địa chỉ hay mạng"),
            english: format!("{text:?}: {error}"),
        })?;
        subjects.push(match subject {
            Subject::Name(name, _) if is_exact => Subject::Name(name, Scope::Exact),
            subject => subject,
        });
    }
    let first = subjects.first().ok_or_else(|| missing("subjects"))?.clone();
    let reason = reason(call)?;
    let is_forced = call.form.find("force") == Some("1");
    let is_wide = call.form.find("wide") == Some("1");
    let (action, effect) = match (call.form.find("kind"), call.form.find("action")) {
        (Some("allow"), _) if is_wide => (Action::Passthru, Effect::Forced),
        (Some("allow"), _) => (Action::Passthru, Effect::Usual),
        (Some("block"), Some("shadow")) => (Action::Sinkhole, Effect::Shadow),
        (Some("block"), action) => {
            let action = match action {
                Some("nxdomain") => Action::Nxdomain,
                Some("nodata") => Action::Nodata,
                Some("drop") => Action::Drop,
                _ => Action::Sinkhole,
            };
            (action, if is_forced { Effect::Forced } else { Effect::Usual })
        }
        _ => return Err(missing("kind")),
    };
    let family = call.form.find("family");
    if family.is_some_and(|family| !crate::feed::is_family(family)) {
        return Err(Failure::Wrong {
            field: "family",
            vietnamese: "không phải tên một họ mã độc".to_owned(),
            english: "not the name of a malware family".to_owned(),
        });
    }
    let order = Order {
        subjects: subjects.clone(),
        action,
        effect,
        agency: call.form.find("agency"),
        expires: expiry(call)?,
        family,
        severity: None,
        by: &call.viewer()?.name,
        reason,
    };
    let is_allowed = order.action == Action::Passthru;
    let numbers = works(call)?.give(&order)?;
    for (number, subject) in numbers.iter().zip(&subjects) {
        let what = if is_allowed { "rule.allow" } else { "rule.block" };
        audit::changed(call, what, &subject.to_string(), &format!("rule {number}: {reason}"))?;
    }
    let shown = match &first {
        Subject::Name(name, _) => name.to_string(),
        Subject::Network(net) => net.addr().to_string(),
    };
    let done = live(call, "live");
    Ok(Reply::Redirect(parts::link(&["policy"], &[("name", &shown), ("done", done)])))
}

/// Puts what was given or ended in force, and says whether that is done.
fn live(call: &Call, done: &'static str) -> &'static str {
    match call.house.renew_rules() {
        Ok(_) => done,
        Err(error) => {
            tracing::warn!(%error, "the console could not have analysts' rules put in force at once");
            "later"
        }
    }
}

fn end(call: &Call) -> Result<Reply, Failure> {
    let number: u64 = call.place("id").parse().map_err(|_| Failure::Absent)?;
    let reason = reason(call)?;
    works(call)?.end(number, &call.viewer()?.name, reason)?;
    audit::changed(call, "rule.end", &number.to_string(), reason)?;
    Ok(Reply::Redirect(parts::link(&["policy", "rules"], &[("done", live(call, "ended"))])))
}

/// What a rule is on, in words.
fn subject_text(tongue: Tongue, subject: &Subject) -> String {
    match subject {
        Subject::Name(name, Scope::Exact) => {
            tongue.say(format!("{name} (riêng tên này)"), format!("{name} (alone)"))
        }
        Subject::Name(name, Scope::Below) => format!("*.{name}"),
        Subject::Name(name, Scope::Subtree) => name.to_string(),
        network => network.to_string(),
    }
}

fn chosen<'b>(call: &Call, book: &'b crate::rules::Book) -> Result<Vec<&'b Entry>, Failure> {
    let state = call.query.find("state").unwrap_or("active");
    let kind = call.query.find("kind");
    let sought = call.query.find("q");
    let subject = sought.and_then(|text| text.parse::<Subject>().ok());
    let takes = |entry: &&Entry| {
        let standing = entry.standing(call.now);
        let is_state = match state {
            "all" => true,
            "ended" => standing != Standing::Active,
            _ => standing == Standing::Active,
        };
        let is_kind = match kind {
            Some("allow") => entry.rule.action == Action::Passthru,
            Some("block") => entry.rule.action != Action::Passthru,
            _ => true,
        };
        let is_agency = call.query.find("agency").is_none_or(|id| entry.rule.agency.as_deref() == Some(id));
        let is_sought = match (&subject, sought) {
            (_, None) => true,
            (Some(Subject::Name(name, _)), _) => {
                matches!(&entry.rule.subject, Subject::Name(listed, _) if listed.is_within(name))
            }
            (Some(Subject::Network(net)), _) => {
                matches!(&entry.rule.subject, Subject::Network(listed) if listed.contains(net) || net.contains(listed))
            }
            (None, Some(text)) => entry.deed.reason.contains(text) || entry.deed.by.contains(text),
        };
        is_state && is_kind && is_agency && is_sought
    };
    // The newest first.
    Ok(book.entries().iter().rev().filter(takes).collect())
}

fn rules(call: &Call) -> Result<Reply, Failure> {
    let tongue = call.tongue;
    let book = read(call)?;
    let chosen = chosen(call, &book)?;
    let start: usize = call.query.find("after").and_then(|text| text.parse().ok()).unwrap_or(0);
    let shown = chosen.get(start.min(chosen.len())..).unwrap_or_default();
    let after = (shown.len() > PAGE).then(|| (start + PAGE).to_string());
    let shown = &shown[..shown.len().min(PAGE)];
    let may_rule = call.viewer()?.may(Right::Rule);
    let body = html! {
        (parts::done(call, &DONE))
        (tabs(call, open_proposals(call)?.len()))
        (parts::filters(call, &html! {
            (parts::field(call, "q", tongue.say("Tìm", "Search"), tongue.say("tên miền, địa chỉ, người, lý do", "name, address, who, why")))
            (parts::choice(call, "state", tongue.say("Hiệu lực", "State"), tongue.say("Đang có hiệu lực", "In force"), [
                ("ended", tongue.say("Đã hết", "Ended")), ("all", tongue.say("Tất cả", "All")),
            ]))
            (parts::choice(call, "kind", tongue.say("Loại", "Kind"), tongue.say("Tất cả", "All"), [
                ("block", tongue.say("Chặn", "Blocks")), ("allow", tongue.say("Cho qua", "Exceptions")),
            ]))
            (parts::agency_choice(call))
        }))
        @if shown.is_empty() {
            section.card { (parts::empty(
                tongue.say("Không có quy tắc nào như vậy", "There is no such rule"),
                &html! { a href="/policy" { (tongue.say("Tra cứu và thêm quy tắc", "Look up, and add rules")) } },
            )) }
        } @else {
            (table(call, shown, may_rule))
            div.pager {
                (parts::pager(call, shown.len(), after.as_deref()))
                (parts::export(call, "/policy/rules/export"))
            }
        }
    };
    Ok(shell::page(call, tongue.say("Quy tắc riêng", "Own rules"), &body))
}

/// What became of a rule.
fn standing(tongue: Tongue, standing: Standing) -> Markup {
    match standing {
        Standing::Active => parts::badge(Tone::Good, tongue.say("có hiệu lực", "in force")),
        Standing::Expired => parts::badge(Tone::Plain, tongue.say("hết hạn", "expired")),
        Standing::Replaced => parts::badge(Tone::Plain, tongue.say("được thay", "replaced")),
        Standing::Removed => parts::badge(Tone::Plain, tongue.say("đã bỏ", "taken back")),
    }
}

/// What a rule does.
fn does(tongue: Tongue, entry: &Entry) -> Markup {
    match (&entry.rule.action, entry.rule.effect) {
        (Action::Passthru, _) => parts::badge(Tone::Good, tongue.say("cho qua", "let pass")),
        (_, Effect::Shadow) => parts::badge(Tone::Info, tongue.say("chỉ ghi nhật ký", "log only")),
        (action, _) => {
            html! { (parts::badge(Tone::Bad, tongue.say("chặn", "block"))) " " span.small.soft { (action_text(tongue, &action.to_string())) } }
        }
    }
}

fn table(call: &Call, entries: &[&Entry], may_rule: bool) -> Markup {
    let tongue = call.tongue;
    let mut heads = vec![
        Head::Number(tongue.say("Số", "No.")),
        Head::Text(tongue.say("Tên miền hoặc địa chỉ", "On")),
        Head::Text(tongue.say("Làm gì", "Does")),
        Head::Text(tongue.say("Cho ai", "For whom")),
        Head::Text(tongue.say("Ai, khi nào, vì sao", "Who, when, why")),
        Head::Text(tongue.say("Hiệu lực", "State")),
    ];
    if may_rule {
        heads.push(Head::Unseen(tongue.say("Bỏ", "Take back")));
    }
    let rows = html! {
        @for entry in entries {
            @let now_is = entry.standing(call.now);
            tr {
                td.number data-label=(tongue.say("Số", "No.")) { (entry.deed.id) }
                th.name scope="row" { (subject_text(tongue, &entry.rule.subject))
                    @if let Some(family) = &entry.rule.family { div.small.soft { (family) } } }
                td data-label=(tongue.say("Làm gì", "Does")) { (does(tongue, entry)) }
                td data-label=(tongue.say("Cho ai", "For whom")) { @match &entry.rule.agency { Some(id) => (parts::agency(call, Some(id))), None => (tongue.say("mọi cơ quan", "everybody")) } }
                td.name data-label=(tongue.say("Vì sao", "Why")) { (entry.deed.reason)
                    div.small.soft { (entry.deed.by) " · " (parts::time(call, entry.deed.time)) } }
                td data-label=(tongue.say("Hiệu lực", "State")) {
                    (standing(tongue, now_is))
                    @match (&entry.end, entry.rule.expires) {
                        (Some(End::Removed(deed)), _) if now_is == Standing::Removed => {
                            div.small.soft.name { (deed.by) " · " (parts::time(call, deed.time)) @if !deed.reason.is_empty() { ": " (deed.reason) } }
                        },
                        (Some(End::Replaced(deed)), _) if now_is == Standing::Replaced => {
                            div.small.soft { (tongue.say("bởi quy tắc ", "by rule ")) (deed.id) }
                        },
                        (_, Some(expires)) => div.small.soft { (tongue.say("hạn ", "until ")) (parts::day(call, expires)) },
                        _ => div.small.soft { (tongue.say("không thời hạn", "no end")) },
                    }
                }
                @if may_rule {
                    td { @if now_is == Standing::Active { (ending(call, entry)) } }
                }
            }
        }
    };
    parts::cards(tongue.say("Quy tắc riêng, mới nhất ở trên", "Own rules, the newest first"), &heads, &rows)
}

fn ending(call: &Call, entry: &Entry) -> Markup {
    let tongue = call.tongue;
    let action = parts::link(&["policy", "rules", &entry.deed.id.to_string(), "end"], &[]);
    let confirm = Confirm {
        action: &action,
        button: tongue.say("Bỏ quy tắc", "Take it back"),
        reason: Some(tongue.say("Vì sao", "Why")),
        is_danger: true,
    };
    html! { details { summary.nowrap { (tongue.say("Bỏ…", "Take back …")) } (parts::confirm(call, &confirm, &html! {})) } }
}

fn time_text(time: i64) -> String {
    jiff::Timestamp::from_microsecond(time).map_or_else(|_| String::new(), |time| time.to_string())
}

fn export(call: &Call) -> Result<Reply, Failure> {
    let is_csv = call.query.find("format") != Some("jsonl");
    let book = read(call)?;
    let mut out = Vec::new();
    if is_csv {
        out.extend(b"id,state,on,action,effect,agency,time,by,reason,expires,family\r\n");
    }
    for entry in chosen(call, &book)? {
        let Entry { deed, rule, .. } = entry;
        let state = entry.standing(call.now).as_str();
        let effect = match rule.effect {
            Effect::Usual => "usual",
            Effect::Forced => "forced",
            Effect::Shadow => "shadow",
        };
        let expires = rule.expires.map(time_text);
        if is_csv {
            let fields = [
                deed.id.to_string(),
                state.to_owned(),
                rule.subject.to_string(),
                rule.action.to_string(),
                effect.to_owned(),
                rule.agency.as_deref().unwrap_or_default().to_owned(),
                time_text(deed.time),
                deed.by.to_string(),
                deed.reason.to_string(),
                expires.unwrap_or_default(),
                rule.family.as_deref().unwrap_or_default().to_owned(),
            ];
            let fields: Vec<String> = fields.iter().map(|field| csv::quoted(field)).collect();
            let _ = write!(out, "{}\r\n", fields.join(","));
        } else {
            let line = serde_json::json!({
                "id": deed.id, "state": state, "on": rule.subject.to_string(), "action": rule.action.to_string(),
                "effect": effect, "agency": rule.agency.as_deref(), "time": time_text(deed.time), "by": &*deed.by,
                "reason": &*deed.reason, "expires": expires, "family": rule.family.as_deref(),
            });
            let _ = writeln!(out, "{line}");
        }
    }
    Ok(Reply::Stream(Stream::export(is_csv, "rules", Box::new(move |to| to.write_all(&out)))))
}

/// Proposals that nobody decided about.
fn open_proposals(call: &Call) -> Result<Vec<Proposal>, Failure> {
    let book = read(call)?;
    let mut proposals = call.house.desk()?.proposals()?;
    proposals.retain(|it| it.declined.is_none() && !book.lets_pass(&it.name, call.now));
    Ok(proposals)
}

fn proposals(call: &Call) -> Result<Reply, Failure> {
    let tongue = call.tongue;
    let open = open_proposals(call)?;
    let may_rule = call.viewer()?.may(Right::Rule);
    let heads = [
        Head::Text(tongue.say("Tên miền", "Name")),
        Head::Text(tongue.say("Từ ca", "From case")),
        Head::Text(tongue.say("Ai, khi nào, vì sao", "Who, when, why")),
        Head::Unseen(tongue.say("Quyết định", "Decide")),
    ];
    let rows = html! {
        @for it in open.iter().take(MOST_PROPOSALS) {
            tr {
                th.name scope="row" { (parts::qname(call, &it.name)) @if !it.family.is_empty() { div.small.soft { (it.family) } } }
                td data-label=(tongue.say("Từ ca", "From case")) { (parts::ticket(it.ticket)) }
                td.name data-label=(tongue.say("Vì sao", "Why")) { (it.reason) div.small.soft { (verdicts::by_text(&it.by)) " · " (parts::time(call, it.time)) } }
                td { @if may_rule { (deciding(call, it)) } }
            }
        }
    };
    let body = html! {
        (parts::done(call, &DONE))
        (tabs(call, open.len()))
        p.hint { (tongue.say(
            "Khi kết luận một ca là nhận diện nhầm, các tên của ca được đề xuất cho qua. Chấp nhận: tên được cho qua với mọi cơ quan.",
            "When a case is judged a false positive, its names are proposed as exceptions. Accepted ones pass for everybody.",
        )) }
        @if open.is_empty() {
            section.card { (parts::empty(tongue.say("Không có đề xuất nào chờ quyết định", "No proposal waits"), &html! {})) }
        } @else {
            (parts::cards(tongue.say("Đề xuất cho qua", "Proposals"), &heads, &rows))
        }
    };
    Ok(shell::page(call, tongue.say("Đề xuất cho qua", "Proposals"), &body))
}

fn deciding(call: &Call, proposal: &Proposal) -> Markup {
    let tongue = call.tongue;
    let path = |action: &str| parts::link(&["policy", "proposals", &proposal.id.to_string(), action], &[]);
    let (accept, decline) = (path("accept"), path("decline"));
    let form = |action: &str, button: &str, reason: &str, is_danger| {
        parts::confirm(call, &Confirm { action, button, reason: Some(reason), is_danger }, &html! {})
    };
    html! {
        details { summary.nowrap { (tongue.say("Quyết định…", "Decide …")) }
            (form(&accept, tongue.say("Chấp nhận, cho qua", "Accept, let it pass"), tongue.say("Lý do", "Why"), false))
            (form(&decline, tongue.say("Bác, vẫn chặn", "Decline, keep it blocked"), tongue.say("Lý do", "Why"), true))
        }
    }
}

fn proposal(call: &Call) -> Result<Proposal, Failure> {
    let id: i64 = call.place("id").parse().map_err(|_| Failure::Absent)?;
    open_proposals(call)?.into_iter().find(|it| it.id == id).ok_or(Failure::Absent)
}

fn accept(call: &Call) -> Result<Reply, Failure> {
    let proposal = proposal(call)?;
    let reason = reason(call)?;
    let subject: Subject = proposal.name.parse().map_err(|error| wrong_name(&error))?;
    let reason = format!("{reason} (case {})", proposal.ticket);
    let order = Order {
        subjects: vec![subject],
        action: Action::Passthru,
        effect: Effect::Usual,
        agency: None,
        expires: None,
        family: None,
        severity: None,
        by: &call.viewer()?.name,
        reason: &reason,
    };
    works(call)?.give(&order)?;
    audit::changed(call, "proposal.accept", &proposal.name, &reason)?;
    forget(call);
    Ok(Reply::Redirect(parts::link(&["policy", "proposals"], &[("done", live(call, "accepted"))])))
}

fn decline(call: &Call) -> Result<Reply, Failure> {
    let proposal = proposal(call)?;
    let reason = reason(call)?;
    call.house.desk()?.decline(proposal.id, reason, &actor(call)?, call.now).map_err(refused)?;
    audit::changed(call, "proposal.decline", &proposal.name, reason)?;
    Ok(Reply::Redirect(parts::link(&["policy", "proposals"], &[("done", "declined")])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_told_with_their_scope() {
        let told = |text: &str| subject_text(Tongue::Vietnamese, &text.parse().unwrap());
        assert_eq!(told("evil.example"), "evil.example");
        assert_eq!(told("*.evil.example"), "*.evil.example");
        assert_eq!(told("192.0.2.0/24"), "192.0.2.0/24");
    }
}
