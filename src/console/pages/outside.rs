//! To the organisation's own sign-in and back, and what is said to those who do not come in.
//!
//! Both are asked for by GET: a form would be stopped at the provider's redirect by our own rule that forms go nowhere else. What
//! keeps others from signing somebody in as themselves is the cookie that came with the way out.

use hyper::StatusCode;
use maud::{Markup, html};

use super::super::account::{Came, Entry, Grant, Outsider, Refusal};
use super::super::answer::{Failure, Reply};
use super::super::call::Call;
use super::super::outside::{Back, Outside, STEP, Trouble};
use super::super::parts::{self, Tone};
use super::super::routes::{Needs, Route, get};
use super::super::server::outside_cookie;
use super::super::shell;
use super::sign_in;
use crate::evidence::audit::{self, Change, Person};
use crate::oidc::OidcError;

pub(in crate::console) static ROUTES: &[Route] =
    &[get("/sign-in/oidc", Needs::Nothing, leave), get("/sign-in/oidc/callback", Needs::Nothing, arrive)];

/// Most characters of what a provider says that are shown.
const SHOWN: usize = 300;

/// To the provider.
fn leave(call: &Call) -> Result<Reply, Failure> {
    let outside = call.outside.as_deref().ok_or(Failure::Absent)?;
    call.accounts.pay_outside(call.from(), call.now)?;
    let back = call.query.find("back").filter(|path| shell::is_own(path));
    match outside.begin(back, call.binding.as_deref(), call.now) {
        Ok((url, binding)) => {
            let cookie = outside_cookie(call, &binding, STEP / 1_000_000);
            Ok(Reply::RedirectWith { to: url.into(), cookie })
        }
        Err(trouble) => troubled(call, outside, &trouble),
    }
}

/// Back from it (Core, sections 3.1.2.5 and 3.1.2.6).
fn arrive(call: &Call) -> Result<Reply, Failure> {
    let outside = call.outside.as_deref().ok_or(Failure::Absent)?;
    let paid = call.accounts.pay_outside(call.from(), call.now)?;
    let state = call.query.find("state").unwrap_or_default();
    let binding = call.binding.as_deref().unwrap_or_default();
    let issuer = call.query.find("iss");
    let code = match (call.query.find("error"), call.query.find("code")) {
        (None, Some(code)) => code,
        (error, _) => {
            // Words of strangers are shown to nobody: only what comes with a state of this browser's.
            if let Err(trouble) = outside.give_up(state, binding, call.now) {
                return troubled(call, outside, &trouble);
            }
            return Ok(denied(call, outside, error, call.query.find("error_description")));
        }
    };
    match outside.redeem(state, binding, code, issuer, call.now) {
        Ok(back) => {
            // The first of the two payments is the way out's.
            call.accounts.give_back_outside(&paid);
            call.accounts.give_back_outside(&paid);
            enter(call, outside, &back)
        }
        Err(trouble) => troubled(call, outside, &trouble),
    }
}

fn enter(call: &Call, outside: &Outside, back: &Back) -> Result<Reply, Failure> {
    let claims = &back.person.claims;
    let subject = outside.subject(claims);
    // Of an account that is there the name is not asked.
    let name = outside.name(claims).unwrap_or_default();
    let of_groups = outside.grant(claims);
    let is_there = |id: &str| call.house.agencies().iter().any(|it| &*it.id == id);
    let grant = of_groups.filter(|grant| grant.agency.as_deref().is_none_or(is_there));
    let id_token = Some(&*back.person.token).filter(|token| token.len() <= HINT);
    let outsider = Outsider { subject: &subject, name: &name, grant, id_token };
    match call.accounts.enter(&outsider, call.from(), call.now)? {
        Entry::Session { token, account, came } => {
            record(call, &account, &came, grant, &subject)?;
            sign_in::enter(call, &account, &token, back.to.as_deref(), &format!("oidc {subject}"))
        }
        Entry::Refused(refusal) => {
            let is_lost = refusal == Refusal::NoGroup && of_groups.is_some();
            let is_overflown = outside.is_overflown(claims);
            tracing::warn!(
                ?name, %subject, ?refusal, is_lost, is_overflown,
                "somebody whom the OpenID provider knows does not come in"
            );
            let told = match refusal {
                _ if is_lost => call.tongue.say(
                    "Nhóm của bạn được gán cho một cơ quan không có trong SachDNS.",
                    "Your group leads to an agency that SachDNS does not know.",
                ),
                Refusal::Name if name.is_empty() => call.tongue.say(
                    "Hệ thống đăng nhập một lần không cho biết tên đăng nhập của bạn.",
                    "The single sign-on does not say what your name is.",
                ),
                refusal => told(call, &refusal),
            };
            let name: String = name.chars().take(SHOWN).collect();
            Ok(refused(call, outside, told, &format!("{name} · {subject}")))
        }
    }
}

/// What was changed so that somebody could come in.
fn record(
    call: &Call,
    account: &str,
    came: &Came,
    grant: Option<&Grant>,
    subject: &str,
) -> Result<(), Failure> {
    let is = grant.map(Grant::text).unwrap_or_default();
    let (what, details) = match came {
        Came::Known => return Ok(()),
        Came::Made => ("account.add", format!("{is}, by group: {subject}")),
        Came::Linked => ("account.outside", format!("linked: {subject}")),
        Came::Changed(was) => ("account.role", format!("{} -> {is}, by group", was.text())),
    };
    let role = call.accounts.find(account)?.role.as_str();
    let by = Person { account, role, address: Some(call.client) };
    let change = Change { what, on: account, details: &details };
    audit::changed(call.house.data_dir(), call.now, Some(&by), &change).map_err(super::super::audit::failed)
}

/// The longest token that is kept to sign out with: it comes back as a part of a URL.
const HINT: usize = 4096;

fn told(call: &Call, refusal: &Refusal) -> &'static str {
    let tongue = call.tongue;
    match refusal {
        Refusal::Disabled => tongue.say("Tài khoản của bạn đang bị khóa.", "Your account is disabled."),
        Refusal::NoGroup => tongue.say(
            "Bạn đã đăng nhập đúng, nhưng chưa được cấp quyền dùng SachDNS: không nhóm nào của bạn có vai trò ở đây.",
            "You signed in, but may not use SachDNS yet: none of your groups has a role here.",
        ),
        Refusal::Taken => tongue.say(
            "Ở đây đã có một tài khoản mang tên đăng nhập của bạn và chưa gắn với bạn. Quản trị viên có thể cho tài khoản ấy đăng nhập một lần, hoặc xóa đi.",
            "There is an account of your name here, and it is not linked to you. An admin can let it sign in this way, or remove it.",
        ),
        Refusal::Name => tongue.say(
            "Tên đăng nhập của bạn có ký tự không dùng được ở đây, hoặc dài quá 64 ký tự.",
            "Your name has characters that no name may have here, or more than 64.",
        ),
    }
}

/// The page for those who are known there and do not come in here.
fn refused(call: &Call, outside: &Outside, told: &str, who: &str) -> Reply {
    let tongue = call.tongue;
    let contact = match &*outside.options.contact {
        "" => tongue.say("quản trị viên SachDNS của tỉnh", "the admins of SachDNS"),
        contact => contact,
    };
    let body = html! {
        (parts::notice(Tone::Bad, &html! { (told) }))
        p { (tongue.say("Hãy liên hệ ", "Turn to ")) strong { (contact) } (tongue.say(" và gửi kèm dòng sau:", ", and send this line along:")) }
        p.name { code #who { (who) } }
        (ways(call))
    };
    page(call, StatusCode::FORBIDDEN, &body)
}

/// The provider says no, or the person did.
fn denied(call: &Call, outside: &Outside, error: Option<&str>, description: Option<&str>) -> Reply {
    let tongue = call.tongue;
    let cut = |text: &str| -> String { text.chars().filter(|it| !it.is_control()).take(SHOWN).collect() };
    let told = match error {
        Some("access_denied") => tongue.say(
            "Hệ thống đăng nhập một lần không cho vào, hoặc bạn đã bấm hủy.",
            "The single sign-on did not let you in, or you cancelled.",
        ),
        Some("temporarily_unavailable" | "server_error") => tongue.say(
            "Hệ thống đăng nhập một lần đang gặp sự cố. Hãy thử lại sau ít phút.",
            "The single sign-on is out of order. Try again in some minutes.",
        ),
        _ => tongue.say(
            "Hệ thống đăng nhập một lần trả lời không như mong đợi.",
            "The single sign-on answers otherwise than expected.",
        ),
    };
    if let Some(error) = error {
        let (error, description) = (cut(error), description.map(cut).unwrap_or_default());
        tracing::warn!(%error, %description, "the OpenID provider sends somebody back without a code");
    }
    let body = html! {
        (parts::notice(Tone::Bad, &html! { (told) }))
        @if let Some(error) = error {
            p.name { (tongue.say("Hệ thống ấy nói: ", "It says: ")) code { (cut(error)) }
                @if let Some(description) = description { " – " (cut(description)) } }
        }
        (ways(call))
        @if !outside.options.contact.is_empty() {
            p.hint { (tongue.say("Nếu vẫn không được, hãy liên hệ ", "If that does not help, turn to ")) (outside.options.contact) "." }
        }
    };
    page(call, StatusCode::FORBIDDEN, &body)
}

fn troubled(call: &Call, outside: &Outside, trouble: &Trouble) -> Result<Reply, Failure> {
    if let Some(failure) = trouble.failure() {
        return Err(failure);
    }
    let tongue = call.tongue;
    let (status, told) = match trouble {
        Trouble::Busy | Trouble::State => (
            StatusCode::FORBIDDEN,
            tongue.say(
                "Lần đăng nhập này đã quá hạn, đã dùng rồi, hoặc bắt đầu từ trình duyệt khác. Hãy đăng nhập lại từ đầu.",
                "This sign-in is too old, was used already, or began in another browser. Sign in from the start.",
            ),
        ),
        Trouble::Provider(error) => {
            tracing::warn!(%error, "nobody can sign in by OpenID Connect like this");
            match error {
                OidcError::Http { .. } | OidcError::Late { .. } | OidcError::Lately(_) | OidcError::Status { .. } => (
                    StatusCode::BAD_GATEWAY,
                    tongue.say(
                        "Không liên lạc được với hệ thống đăng nhập một lần. Hãy thử lại sau ít phút, hoặc đăng nhập bằng mật khẩu nếu bạn có.",
                        "The single sign-on cannot be reached. Try again in some minutes, or sign in with a password if you have one.",
                    ),
                ),
                OidcError::Refused { .. } => (
                    StatusCode::BAD_GATEWAY,
                    tongue.say(
                        "Hệ thống đăng nhập một lần không nhận lần đăng nhập này. Hãy đăng nhập lại từ đầu; nếu vẫn không được, quản trị viên cần xem nhật ký máy chủ.",
                        "The single sign-on does not take this sign-in. Sign in from the start; if that does not help, an admin must look into the server's log.",
                    ),
                ),
                _ => (
                    StatusCode::BAD_GATEWAY,
                    tongue.say(
                        "Câu trả lời của hệ thống đăng nhập một lần không hợp lệ nên không được chấp nhận. Quản trị viên xem lý do trong nhật ký máy chủ.",
                        "What the single sign-on answers does not count. The server's log says why; tell an admin.",
                    ),
                ),
            }
        }
    };
    let body = html! {
        (parts::notice(Tone::Bad, &html! { (told) }))
        (ways(call))
        @if !outside.options.contact.is_empty() {
            p.hint { (tongue.say("Cần giúp: ", "Help: ")) (outside.options.contact) }
        }
    };
    Ok(page(call, status, &body))
}

fn ways(call: &Call) -> Markup {
    html! { p { a.button href="/sign-in" { (call.tongue.say("Về trang đăng nhập", "To the sign-in page")) } } }
}

fn page(call: &Call, status: StatusCode, body: &Markup) -> Reply {
    let title = call.tongue.say("Chưa đăng nhập được", "You are not signed in");
    Reply::Told(status, shell::frame(call, title, body))
}

/// The page that leads on to the provider's, to sign out there too.
pub(in crate::console) fn onward(call: &Call, to: String, cookie: String) -> Reply {
    let tongue = call.tongue;
    let title = tongue.say("Đã đăng xuất khỏi SachDNS", "You are signed out of SachDNS");
    let body = html! {
        p { (tongue.say("Đang chuyển tới hệ thống đăng nhập một lần để đăng xuất cả ở đó.", "On to the single sign-on, to sign out there too.")) }
        p { a.button href=(to) { (tongue.say("Tiếp tục", "Continue")) } " "
            a.button.second href="/sign-in" { (tongue.say("Ở lại", "Stay here")) } }
    };
    Reply::Onward { page: shell::frame(call, title, &body), to, cookie }
}
