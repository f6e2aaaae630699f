//! Accounts of others, for admins: who may sign in, as what, and one-time links for them.

use maud::{Markup, html};

use super::super::access::{ROLES, Right, Role};
use super::super::account::{Account, AccountsError, Passwords};
use super::super::answer::{Failure, Reply};
use super::super::audit;
use super::super::call::Call;
use super::super::parts::{self, Confirm, Head, Tone};
use super::super::routes::{Needs, Route, get, post};
use super::super::shell;
use super::super::tongue::Tongue;
use super::account::said;

const NEEDS: Needs = Needs::Right(Right::Manage);

pub(in crate::console) static ROUTES: &[Route] = &[
    get("/users", NEEDS, page),
    post("/users", NEEDS, add),
    get("/users/{name}", NEEDS, one),
    post("/users/{name}/role", NEEDS, role),
    post("/users/{name}/link", NEEDS, link),
    post("/users/{name}/totp", NEEDS, totp),
    post("/users/{name}/outside", NEEDS, outside),
    post("/users/{name}/sessions", NEEDS, sessions),
    post("/users/{name}/disable", NEEDS, disable),
    post("/users/{name}/enable", NEEDS, enable),
    post("/users/{name}/remove", NEEDS, remove),
];

const DONE: &[(&str, &str, &str)] = &[
    (
        "role",
        "Đã đổi vai trò. Các phiên của người này đã kết thúc.",
        "The role is changed. This one's sessions are over.",
    ),
    (
        "totp",
        "Đã bỏ xác thực hai bước. Các phiên của người này đã kết thúc.",
        "The second factor is taken away. This one's sessions are over.",
    ),
    (
        "outside",
        "Tài khoản chờ chủ nhân đăng nhập một lần: ai đăng nhập với đúng tên này trong 7 ngày tới sẽ nhận tài khoản.",
        "The account waits for its owner: whoever signs in by the single sign-on with this name within 7 days gets it.",
    ),
    ("sessions", "Các phiên của người này đã kết thúc.", "This one's sessions are over."),
    ("disable", "Tài khoản đã bị khóa.", "The account is disabled."),
    ("enable", "Tài khoản đã được mở lại.", "The account is enabled."),
    ("remove", "Đã xóa tài khoản.", "The account is removed."),
];

/// A role, for people.
pub(in crate::console) fn role_text(tongue: Tongue, role: Role) -> &'static str {
    match role {
        Role::Admin => tongue.say("Quản trị viên", "Admin"),
        Role::Analyst => tongue.say("Chuyên viên phân tích", "Analyst"),
        Role::Officer => tongue.say("Cán bộ cơ quan", "Agency officer"),
        Role::Reader => tongue.say("Chỉ xem", "Read only"),
    }
}

fn page(call: &Call) -> Result<Reply, Failure> {
    let body = html! { (parts::done(call, DONE)) (list(call)?) };
    Ok(shell::page(call, call.tongue.say("Người dùng", "Users"), &body))
}

fn list(call: &Call) -> Result<Markup, Failure> {
    let tongue = call.tongue;
    let accounts = call.accounts.list()?;
    let (name, role, second, last, state) = (
        tongue.say("Tên", "Name"),
        tongue.say("Vai trò", "Role"),
        tongue.say("Xác thực hai bước", "Second factor"),
        tongue.say("Đăng nhập lần cuối", "Signed in last"),
        tongue.say("Trạng thái", "State"),
    );
    let rows = html! {
        @for account in &accounts {
            tr {
                td data-label=(name) { a href=(parts::link(&["users", &account.name], &[])) { (account.name) } }
                td data-label=(role) {
                    (role_text(tongue, account.role))
                    @if let Some(agency) = &account.agency { " · " (parts::agency(call, Some(agency))) }
                }
                td data-label=(second) { (second_text(tongue, account)) }
                td data-label=(last) { @match account.last { Some(last) => (parts::ago(call, last)), None => "–" } }
                td data-label=(state) { (state_badge(tongue, account, call.now))
                    @if account.subject.is_some() { " " (parts::badge(Tone::Plain, "SSO")) } }
            }
        }
    };
    let heads = [Head::Text(name), Head::Text(role), Head::Text(second), Head::Text(last), Head::Text(state)];
    Ok(html! {
        (parts::cards(tongue.say("Người dùng", "Users"), &heads, &rows))
        (parts::card(tongue.say("Mời người mới", "Invite somebody"), &html! {}, &html! {
            form.narrow method="post" action="/users" {
                (parts::csrf(call))
                label { (tongue.say("Tên đăng nhập", "Name"))
                    input type="text" name="name" value=[call.form.find("name")] autocomplete="off" autocapitalize="none" spellcheck="false" maxlength="64" required; }
                (role_fields(call, call.form.find("role").unwrap_or("officer"), call.form.find("agency")))
                @if call.outside.is_some() {
                    label.check { input type="checkbox" name="outside" value="1" checked[are_passwords_for_admins(call)];
                        " " (tongue.say("Đăng nhập một lần (SSO), không cần liên kết", "By the single sign-on, without a link")) }
                }
                button { (tongue.say("Mời", "Invite")) }
            }
        }))
    })
}

fn role_fields(call: &Call, chosen: &str, agency: Option<&str>) -> Markup {
    let tongue = call.tongue;
    let agencies = call.house.agencies();
    html! {
        label { (tongue.say("Vai trò", "Role"))
            select name="role" {
                @for (word, role) in ROLES {
                    option value=(word) selected[word == chosen] { (role_text(tongue, role)) }
                }
            }
        }
        label { (tongue.say("Cơ quan (chỉ với cán bộ cơ quan)", "Agency (of an agency officer only)"))
            select name="agency" {
                option value="" { "–" }
                @for it in agencies.iter() {
                    option value=(it.id) selected[agency == Some(&*it.id)] { (it.name) }
                }
            }
        }
    }
}

fn second_text(tongue: Tongue, account: &Account) -> Markup {
    html! {
        @match (account.totp, account.subject.is_some()) {
            (Some(_), _) => (parts::badge(Tone::Good, tongue.say("có", "on"))),
            (None, true) => span.soft { (tongue.say("theo SSO", "by the SSO")) },
            (None, false) => (parts::badge(Tone::Plain, tongue.say("chưa", "off"))),
        }
    }
}

fn are_passwords_for_admins(call: &Call) -> bool {
    call.outside.as_ref().is_some_and(|outside| outside.options.passwords == Passwords::Admins)
}

/// Whether the first who comes by this name from the organisation's own sign-in gets it.
fn is_awaited(account: &Account, now: i64) -> bool {
    account.awaited.is_some_and(|until| until > now)
}

fn state_badge(tongue: Tongue, account: &Account, now: i64) -> Markup {
    if account.is_disabled {
        parts::badge(Tone::Bad, tongue.say("bị khóa", "disabled"))
    } else if is_awaited(account, now) {
        parts::badge(Tone::Info, tongue.say("chờ đăng nhập một lần", "waits for single sign-on"))
    } else if account.has_password || account.subject.is_some() {
        parts::badge(Tone::Good, tongue.say("hoạt động", "active"))
    } else {
        parts::badge(Tone::Info, tongue.say("đã mời", "invited"))
    }
}

/// The role that a form has, and its agency, which must be one.
fn chosen(call: &Call) -> Result<(Role, Option<&str>), Failure> {
    let wrong = |field, vietnamese: &str, english: &str| Failure::Wrong {
        field,
        vietnamese: vietnamese.to_owned(),
        english: english.to_owned(),
    };
    let role = call.form.find("role").and_then(|word| word.parse().ok());
    let role = role.ok_or_else(|| wrong("role", "không có vai trò này", "there is no such role"))?;
    let agency = call.form.find("agency").filter(|_| role == Role::Officer);
    let agencies = call.house.agencies();
    if agency.is_some_and(|agency| !agencies.iter().any(|it| &*it.id == agency)) {
        return Err(wrong("agency", "không có cơ quan này", "there is no such agency"));
    }
    Ok((role, agency))
}

fn add(call: &Call) -> Result<Reply, Failure> {
    let (role, agency) = chosen(call)?;
    let name = call.form.find("name").unwrap_or_default();
    match call.accounts.invite(name, role, agency, None, call.now) {
        Ok(()) => {
            let details =
                agency.map_or_else(|| role.as_str().to_owned(), |it| format!("{} {it}", role.as_str()));
            audit::changed(call, "account.add", name, &details)?;
            if call.outside.is_some() && call.form.find("outside").is_some() {
                return wait(call, name);
            }
            show_link(call, name)
        }
        Err(error) if error.is_of_request() => {
            let wrong = said(call.tongue, &error);
            let body = html! { (parts::notice(Tone::Bad, &html! { (wrong) })) (list(call)?) };
            Ok(shell::again(call, call.tongue.say("Người dùng", "Users"), &body))
        }
        Err(error) => Err(error.into()),
    }
}

/// Lets an account wait for its owner.
fn wait(call: &Call, name: &str) -> Result<Reply, Failure> {
    call.accounts.await_outside(name, call.now)?;
    audit::changed(call, "account.outside", name, "waits")?;
    Ok(Reply::Redirect(parts::link(&["users", name], &[("done", "outside")])))
}

/// A new one-time link, which nobody can show again.
fn show_link(call: &Call, name: &str) -> Result<Reply, Failure> {
    let tongue = call.tongue;
    let code = call.accounts.password_link(name, call.now)?;
    let link = format!("{}{}", call.origin, parts::link(&["first"], &[("code", &code)]));
    let body = html! {
        (parts::notice(Tone::Good, &html! { (tongue.say(
            "Hãy gửi liên kết này cho người dùng qua một kênh tin cậy. Liên kết dùng được một lần trong 24 giờ và không hiện lại.",
            "Send this link to its owner in a way that you trust. It is good once, for 24 hours, and is not shown again.",
        )) }))
        p.name { code #link { (link) } }
        p { a.button.second href=(parts::link(&["users", name], &[])) { (tongue.say("Về tài khoản ", "To the account ")) (name) } }
    };
    Ok(shell::page(call, tongue.say("Liên kết một lần", "One-time link"), &body))
}

fn account(call: &Call) -> Result<Account, Failure> {
    match call.accounts.find(call.place("name")) {
        Err(AccountsError::Absent(_)) => Err(Failure::Absent),
        found => Ok(found?),
    }
}

fn one(call: &Call) -> Result<Reply, Failure> {
    let tongue = call.tongue;
    let account = account(call)?;
    let sessions = call.accounts.sessions(&account.name, call.now)?;
    let to = |what: &str| parts::link(&["users", &account.name, what], &[]);
    let act = |what: &str, button: &str, is_danger: bool| {
        let confirm = Confirm { action: &to(what), button, reason: None, is_danger };
        parts::confirm(call, &confirm, &html! {})
    };
    let nothing = html! {};
    let facts = html! {
        p { (state_badge(tongue, &account, call.now)) " " (role_text(tongue, account.role))
            @if let Some(agency) = &account.agency { " · " (parts::agency(call, Some(agency))) } }
        p { (tongue.say("Tạo lúc ", "Made ")) (parts::time(call, account.made))
            @if let Some(last) = account.last { " · " (tongue.say("đăng nhập lần cuối ", "signed in last ")) (parts::ago(call, last)) }
            " · " (tongue.say("đang có ", "sessions now: ")) (sessions.len()) (tongue.say(" phiên", "")) }
        p { (tongue.say("Xác thực hai bước: ", "Second factor: ")) (second_text(tongue, &account)) }
        @if let Some(subject) = &account.subject {
            p.name { (tongue.say("Đăng nhập một lần (SSO): ", "Signs in by the single sign-on: ")) code { (subject) } }
            @if account.by_groups {
                p.hint { (tongue.say("Vai trò và cơ quan theo nhóm ở hệ thống ấy, tính lại mỗi lần đăng nhập; đổi ở đây chỉ giữ đến lần sau.",
                    "Role and agency follow its groups, anew at each sign-in; what is changed here lasts until then.")) }
            }
        }
        p { a href=(parts::link(&["audit"], &[("who", &account.name)])) { (tongue.say("Nhật ký kiểm toán của người này", "What the audit has of this one")) } }
    };
    let role = html! {
        form.narrow method="post" action=(to("role")) {
            (parts::csrf(call))
            (role_fields(call, account.role.as_str(), account.agency.as_deref()))
            button { (tongue.say("Đổi vai trò", "Change the role")) }
        }
        p.hint { (tongue.say("Người này sẽ phải đăng nhập lại.", "This one must sign in again.")) }
    };
    let entry = html! {
        @if call.outside.is_some() && account.subject.is_none() && !is_awaited(&account, call.now) {
            (act("outside", tongue.say("Cho đăng nhập một lần (SSO)", "Let it sign in by the single sign-on"), false))
            p.hint { (tongue.say("Người đầu tiên đăng nhập một lần với đúng tên này trong 7 ngày sẽ nhận tài khoản; mật khẩu cũ (trừ của quản trị viên) khi đó bị bỏ.",
                "The first who comes by the single sign-on with this name within 7 days gets the account; its password (but an admin's) goes then.")) }
        }
        @if account.subject.is_none() && (account.role == Role::Admin || !are_passwords_for_admins(call)) {
            (act("link", tongue.say("Tạo liên kết đặt mật khẩu", "Make a link for a new password"), false))
        }
        @if account.totp.is_some() {
            (act("totp", tongue.say("Bỏ xác thực hai bước (mất điện thoại)", "Take the second factor away (lost telephone)"), true))
        }
        (act("sessions", tongue.say("Kết thúc mọi phiên", "End all sessions"), false))
        @if account.is_disabled {
            (act("enable", tongue.say("Mở lại tài khoản", "Enable the account"), false))
        } @else {
            (act("disable", tongue.say("Khóa tài khoản", "Disable the account"), true))
        }
        (act("remove", tongue.say("Xóa tài khoản", "Remove the account"), true))
    };
    let body = html! {
        (parts::done(call, DONE))
        p { a href="/users" { "« " (tongue.say("Người dùng", "Users")) } }
        (parts::card(tongue.say("Tài khoản", "Account"), &nothing, &facts))
        (parts::card(tongue.say("Vai trò", "Role"), &nothing, &role))
        (parts::card(tongue.say("Đăng nhập", "Signing in"), &nothing, &entry))
    };
    Ok(shell::page(call, &account.name, &body))
}

/// Does something to the account of the path, records it, and goes back to its page.
fn done(
    call: &Call,
    code: &str,
    details: &str,
    act: impl FnOnce(&str) -> Result<(), AccountsError>,
) -> Result<Reply, Failure> {
    let name = account(call)?.name;
    act(&name)?;
    audit::changed(call, &format!("account.{code}"), &name, details)?;
    let path = if code == "remove" {
        parts::link(&["users"], &[("done", code)])
    } else {
        parts::link(&["users", &name], &[("done", code)])
    };
    Ok(Reply::Redirect(path))
}

fn role(call: &Call) -> Result<Reply, Failure> {
    let (role, agency) = chosen(call)?;
    let was = account(call)?;
    let text = |role: Role, agency: Option<&str>| match agency {
        Some(agency) => format!("{} {agency}", role.as_str()),
        None => role.as_str().to_owned(),
    };
    let details = format!("{} -> {}", text(was.role, was.agency.as_deref()), text(role, agency));
    done(call, "role", &details, |name| call.accounts.set_role(name, role, agency))
}

fn link(call: &Call) -> Result<Reply, Failure> {
    let name = account(call)?.name;
    audit::changed(call, "account.link", &name, "")?;
    show_link(call, &name)
}

fn outside(call: &Call) -> Result<Reply, Failure> {
    if call.outside.is_none() {
        return Err(Failure::Absent);
    }
    wait(call, &account(call)?.name)
}

fn totp(call: &Call) -> Result<Reply, Failure> {
    done(call, "totp", "taken away", |name| call.accounts.reset_totp(name))
}

fn sessions(call: &Call) -> Result<Reply, Failure> {
    done(call, "sessions", "ended", |name| call.accounts.end_sessions(name, None, None).map(drop))
}

fn disable(call: &Call) -> Result<Reply, Failure> {
    done(call, "disable", "", |name| call.accounts.disable(name))
}

fn enable(call: &Call) -> Result<Reply, Failure> {
    done(call, "enable", "", |name| call.accounts.enable(name))
}

fn remove(call: &Call) -> Result<Reply, Failure> {
    done(call, "remove", "", |name| call.accounts.remove(name))
}
