//! One's own account: password, second factor, sessions, language and colours.

use maud::{Markup, html};
use qrcode::{Color, QrCode};

use super::super::account::{AccountsError, SHORTEST_PASSWORD, totp};
use super::super::answer::{Failure, Reply};
use super::super::audit;
use super::super::call::Call;
use super::super::parts::{self, Head, Tone};
use super::super::routes::{Needs, Route, get, post};
use super::super::server::session_cookie;
use super::super::shell;
use super::super::tongue::Tongue;
use super::users::role_text;

pub(in crate::console) static ROUTES: &[Route] = &[
    get("/account", Needs::Session, page),
    post("/account/password", Needs::Session, password),
    post("/account/sessions", Needs::Session, end_session),
    get("/account/totp", Needs::Session, totp_page),
    post("/account/totp", Needs::Session, enrol),
];

const DONE: &[(&str, &str, &str)] = &[
    (
        "password",
        "Đã đổi mật khẩu. Các phiên khác đã kết thúc.",
        "The password is changed. Your other sessions are over.",
    ),
    ("session", "Phiên đã kết thúc.", "The session is over."),
];

/// What is wrong with a request about accounts, for people.
pub(in crate::console) fn said(tongue: Tongue, error: &AccountsError) -> String {
    let vietnamese = match error {
        AccountsError::Password => {
            "Mật khẩu cần ít nhất 10 ký tự (và nhiều nhất 1024 byte). Vài từ ghép lại vừa dài vừa dễ nhớ."
        }
        AccountsError::Agency => {
            "Cán bộ cơ quan phụ trách đúng một cơ quan; các vai trò khác xem cả tỉnh và không gắn với cơ quan nào."
        }
        AccountsError::Name => {
            "Tên dài 1 đến 64 ký tự, gồm chữ cái, chữ số, các dấu . - _ @ và dấu cách đơn ở giữa."
        }
        AccountsError::Taken(_) => "Đã có tài khoản mang tên này; hãy chọn tên khác.",
        AccountsError::Absent(_) => "Không có tài khoản này.",
        AccountsError::LastAdmin(_) => {
            "Đây là quản trị viên cuối cùng còn đăng nhập được; hãy tạo một quản trị viên khác trước."
        }
        AccountsError::Full => "Đã quá nhiều tài khoản; hãy xóa bớt.",
        AccountsError::Busy(_) => "Quá nhiều lần thử; hãy đợi một lát.",
        AccountsError::Link => {
            "Liên kết này đã được dùng, đã quá hạn hoặc đã được thay bằng liên kết mới. Hãy xin một liên kết khác."
        }
        AccountsError::Code => "Mã chưa đúng. Hãy kiểm tra giờ trên điện thoại rồi nhập mã mới.",
        AccountsError::Wrong => "Mật khẩu hiện tại chưa đúng.",
        AccountsError::Outside => {
            "Tài khoản này đăng nhập một lần (SSO); ở đây chỉ quản trị viên mới có mật khẩu."
        }
        AccountsError::Database { .. } | AccountsError::Open { .. } | AccountsError::Hash(_) => {
            return error.to_string();
        }
    };
    match tongue {
        Tongue::Vietnamese => vietnamese.to_owned(),
        Tongue::English => error.to_string(),
    }
}

fn page(call: &Call) -> Result<Reply, Failure> {
    let body = html! { (parts::done(call, DONE)) (body(call)?) };
    Ok(shell::page(call, call.tongue.say("Tài khoản của tôi", "My account"), &body))
}

fn body(call: &Call) -> Result<Markup, Failure> {
    let tongue = call.tongue;
    let viewer = call.viewer()?;
    let account = call.accounts.find(&viewer.name)?;
    let sessions = call.accounts.sessions(&viewer.name, call.now)?;
    let nothing = html! {};
    let who = html! {
        p {
            strong { (viewer.name) } " · " (role_text(tongue, viewer.role))
            @if let Some(agency) = viewer.agency() { " · " (parts::agency(call, Some(agency))) }
        }
        p.hint { (tongue.say("Ngôn ngữ và giao diện sáng, tối chọn ở góc trên bên phải mỗi trang; trình duyệt này ghi nhớ.",
            "Language and colours are chosen at the top right of every page, and kept by this browser.")) }
    };
    let second = html! {
        @match account.totp {
            Some(codes) => {
                p { (parts::badge(Tone::Good, tongue.say("đang bật", "on"))) " "
                    (tongue.say("Còn ", "Recovery codes left: ")) (codes) (tongue.say(" mã dự phòng.", ".")) }
                p { a.button.second href="/account/totp" { (tongue.say("Đổi điện thoại hoặc lấy mã dự phòng mới", "Another telephone, or new recovery codes")) } }
            },
            None if account.has_password => {
                p { (parts::badge(Tone::Warn, tongue.say("chưa bật", "off"))) " "
                    (tongue.say("Mật khẩu bị lộ là đủ để người khác vào thay bạn.", "Whoever learns your password can sign in as you.")) }
                p { a.button href="/account/totp" { (tongue.say("Bật xác thực hai bước", "Set up the second factor")) } }
            },
            None => p { (tongue.say("Tài khoản này đăng nhập một lần (SSO); xác thực hai bước, nếu có, là của hệ thống ấy.", "This account signs in by the single sign-on; a second factor is asked for there.")) },
        }
    };
    let rows = html! {
        @for session in &sessions {
            @let is_own = call.session_number == Some(session.id);
            tr {
                td data-label=(tongue.say("Bắt đầu", "Began")) { (parts::time(call, session.made)) }
                td data-label=(tongue.say("Dùng lần cuối", "Used last")) { (parts::ago(call, session.last)) }
                td data-label=(tongue.say("Địa chỉ", "Address")) { (session.address)
                    @if session.is_outside { " " (parts::badge(Tone::Plain, "SSO")) } }
                td.name data-label=(tongue.say("Trình duyệt", "Browser")) { (session.agent) }
                td {
                    @if is_own { (parts::badge(Tone::Info, tongue.say("phiên này", "this one"))) } @else {
                        form method="post" action="/account/sessions" {
                            (parts::csrf(call))
                            input type="hidden" name="id" value=(session.id);
                            button.plain { (tongue.say("Kết thúc", "End")) }
                        }
                    }
                }
            }
        }
    };
    let (began, used, address, browser, end) = (
        tongue.say("Bắt đầu", "Began"),
        tongue.say("Dùng lần cuối", "Used last"),
        tongue.say("Địa chỉ", "Address"),
        tongue.say("Trình duyệt", "Browser"),
        tongue.say("Kết thúc", "End"),
    );
    let heads =
        [Head::Text(began), Head::Text(used), Head::Text(address), Head::Text(browser), Head::Unseen(end)];
    let caption = tongue.say("Các phiên đăng nhập", "Sessions");
    let programs = html! {
        p { a.button.second href="/account/tokens" { (tongue.say("Mã truy cập API", "API tokens")) } " "
            (tongue.say("cho chương trình làm việc thay tài khoản này.", "let programs ask in the place of this account.")) }
    };
    let change = html! {
        form.narrow method="post" action="/account/password" {
            (parts::csrf(call))
            // Password managers go by it.
            label { (tongue.say("Tên đăng nhập", "Name"))
                input type="text" name="username" value=(viewer.name) autocomplete="username" readonly; }
            label { (tongue.say("Mật khẩu hiện tại", "The password in use"))
                input type="password" name="old" autocomplete="current-password" maxlength="1024" required; }
            label { (tongue.say("Mật khẩu mới", "The new password"))
                input type="password" name="password" autocomplete="new-password" minlength=(SHORTEST_PASSWORD) maxlength="1024" required; }
            label { (tongue.say("Mật khẩu mới, nhập lại", "The new password again"))
                input type="password" name="again" autocomplete="new-password" minlength=(SHORTEST_PASSWORD) maxlength="1024" required; }
            button { (tongue.say("Đổi mật khẩu", "Change the password")) }
        }
    };
    Ok(html! {
        (parts::card(tongue.say("Tôi là ai", "Who I am"), &nothing, &who))
        (parts::card(tongue.say("Xác thực hai bước", "Second factor"), &nothing, &second))
        (parts::card(caption, &nothing, &parts::cards(caption, &heads, &rows)))
        (parts::card(tongue.say("Cho chương trình", "For programs"), &nothing, &programs))
        @if account.has_password {
            (parts::card(tongue.say("Đổi mật khẩu", "Change the password"), &nothing, &change))
        }
    })
}

fn again(call: &Call, wrong: &str) -> Result<Reply, Failure> {
    let body = html! { (parts::notice(Tone::Bad, &html! { (wrong) })) (body(call)?) };
    Ok(shell::again(call, call.tongue.say("Tài khoản của tôi", "My account"), &body))
}

fn password(call: &Call) -> Result<Reply, Failure> {
    let name = &call.viewer()?.name;
    let old = call.form.verbatim("old").unwrap_or_default();
    let new = call.form.verbatim("password").unwrap_or_default();
    if call.form.verbatim("again") != Some(new) {
        return again(
            call,
            call.tongue.say("Hai lần nhập mật khẩu mới không giống nhau.", "The two new passwords differ."),
        );
    }
    match call.accounts.change_password(name, old, new, call.from(), call.now) {
        Ok(token) => {
            audit::changed(call, "account.password", name, "own")?;
            let cookie = session_cookie(call, &token);
            Ok(Reply::RedirectWith { to: "/account?done=password".to_owned(), cookie })
        }
        Err(error @ (AccountsError::Wrong | AccountsError::Password)) => {
            again(call, &said(call.tongue, &error))
        }
        Err(error) => Err(error.into()),
    }
}

fn end_session(call: &Call) -> Result<Reply, Failure> {
    let name = &call.viewer()?.name;
    let id = call.form.find("id").and_then(|id| id.parse().ok()).ok_or(Failure::Absent)?;
    // Of one's own only: another account's number ends nothing.
    if call.accounts.end_sessions(name, Some(id), None)? > 0 {
        audit::changed(call, "account.sessions", name, "own")?;
    }
    Ok(Reply::Redirect("/account?done=session".to_owned()))
}

fn totp_page(call: &Call) -> Result<Reply, Failure> {
    Ok(shell::page(call, totp_title(call), &totp_form(call, None)?))
}

fn totp_title(call: &Call) -> &'static str {
    call.tongue.say("Xác thực hai bước", "Second factor")
}

fn totp_form(call: &Call, wrong: Option<&str>) -> Result<Markup, Failure> {
    let tongue = call.tongue;
    let account = call.accounts.find(&call.viewer()?.name)?;
    let secret = call.accounts.offered_totp(&account.name)?;
    let typed = totp::base32(&secret);
    let typed: Vec<&str> =
        (0..typed.len()).step_by(4).map(|at| &typed[at..(at + 4).min(typed.len())]).collect();
    let picture = picture(tongue, &totp::address("SachDNS", &account.name, &secret));
    Ok(html! {
        @if let Some(wrong) = wrong { (parts::notice(Tone::Bad, &html! { (wrong) })) }
        @if call.must_enrol {
            (parts::notice(Tone::Info, &html! { (tongue.say(
                "Vai trò của bạn cần xác thực hai bước. Hãy thiết lập trước khi tiếp tục.",
                "Your role needs a second factor. Set it up before you go on.",
            )) }))
        }
        p { (tongue.say(
            "Mở ứng dụng mã xác thực trên điện thoại (FreeOTP, Google Authenticator, Microsoft Authenticator…) và quét hình này.",
            "Open an authenticator app on your telephone (FreeOTP, Google Authenticator, Microsoft Authenticator…) and scan this picture.",
        )) }
        (picture)
        p { (tongue.say("Không quét được? Hãy nhập khóa này: ", "It cannot be scanned? Type this key: "))
            code #secret { (typed.join(" ")) } }
        form.narrow method="post" action="/account/totp" {
            (parts::csrf(call))
            // Whoever finds a browser open must not take a second factor over.
            @if account.totp.is_some() {
                label { (tongue.say("Mật khẩu hiện tại", "The password in use"))
                    input type="password" name="password" autocomplete="current-password" maxlength="1024" required; }
            }
            label { (tongue.say("Mã sáu chữ số mà ứng dụng hiện ra", "The six digits that the app shows"))
                input type="text" name="code" inputmode="numeric" autocomplete="one-time-code" pattern="[0-9 ]*" maxlength="10" required autofocus; }
            button { (tongue.say("Bật xác thực hai bước", "Set up the second factor")) }
        }
    })
}

fn enrol(call: &Call) -> Result<Reply, Failure> {
    let name = call.viewer()?.name.clone();
    let account = call.accounts.find(&name)?;
    let known = match account.totp {
        Some(_) => {
            let password = call.form.verbatim("password").unwrap_or_default();
            call.accounts.check_password(&name, password, call.from(), call.now)
        }
        None => Ok(()),
    };
    let code = call.form.find("code").unwrap_or_default();
    match known.and_then(|()| call.accounts.enrol_totp(&name, code, call.now)) {
        Ok(codes) => {
            audit::changed(call, "account.totp", &name, "own")?;
            Ok(recovery(call, &codes))
        }
        Err(error @ (AccountsError::Code | AccountsError::Wrong)) => {
            let form = totp_form(call, Some(&said(call.tongue, &error)))?;
            Ok(shell::again(call, totp_title(call), &form))
        }
        Err(error) => Err(error.into()),
    }
}

/// The recovery codes, which nobody can show again.
fn recovery(call: &Call, codes: &[String]) -> Reply {
    let tongue = call.tongue;
    let body = html! {
        (parts::notice(Tone::Good, &html! { (tongue.say(
            "Xác thực hai bước đã bật. Lần đăng nhập sau sẽ hỏi mã trên điện thoại.",
            "The second factor is on. The next time you sign in you are asked for the code on your telephone.",
        )) }))
        p { (tongue.say(
            "In hoặc chép lại các mã dự phòng này và cất nơi an toàn: mất điện thoại thì mỗi mã vào được một lần. Trang này không hiện lại.",
            "Print or copy these recovery codes and keep them safe: without your telephone each lets you in once. They are not shown again.",
        )) }
        ul #recovery { @for code in codes { li { code { (code) } } } }
        p { a.button href="/" { (tongue.say("Tôi đã cất các mã này", "I have put them away")) } }
    };
    shell::page(call, tongue.say("Mã dự phòng", "Recovery codes"), &body)
}

/// A QR code that is drawn in the page itself, dark on light whatever the colours.
fn picture(tongue: Tongue, text: &str) -> Markup {
    use std::fmt::Write as _;
    // Longer than any of our names make it, a picture could not be scanned anyway.
    let Ok(code) = QrCode::new(text) else { return html! {} };
    let width = code.width();
    let mut path = String::new();
    for (at, color) in code.to_colors().into_iter().enumerate() {
        if color == Color::Dark {
            let _ = write!(path, "M{},{}h1v1h-1z", at % width + 4, at / width + 4);
        }
    }
    let whole = width + 8;
    html! {
        svg role="img" aria-label=(tongue.say("Hình để quét bằng điện thoại", "Picture to scan with a telephone"))
            width="220" height="220" viewBox={ "0 0 " (whole) " " (whole) } shape-rendering="crispEdges" {
            rect width=(whole) height=(whole) fill="#fff" {}
            path d=(path) fill="#000" {}
        }
    }
}
