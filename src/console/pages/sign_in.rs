//! Signing in, with the second factor where there is one, and out.

use maud::{Markup, html};

use super::super::account::{Passwords, SignIn};
use super::super::answer::{Failure, Reply};
use super::super::audit;
use super::super::call::Call;
use super::super::parts::{self, Tone};
use super::super::routes::{Needs, Route, get, post};
use super::super::server::session_cookie;
use super::super::shell;
use crate::evidence::audit::{Change, Person};

pub(in crate::console) static ROUTES: &[Route] = &[
    get("/sign-in", Needs::Nothing, page),
    post("/sign-in", Needs::Nothing, submit),
    post("/sign-out", Needs::Session, leave),
];

fn page(call: &Call) -> Result<Reply, Failure> {
    let done = parts::done(
        call,
        &[
            ("password", "Đã đặt mật khẩu. Hãy đăng nhập.", "The password is set. Sign in with it."),
            ("out", "Bạn đã đăng xuất.", "You are signed out."),
        ],
    );
    // What the single sign-on sends back, once somebody signed out of it.
    let done = match call.query.find("state") {
        Some("out") => parts::notice(
            Tone::Good,
            &html! { (call.tongue.say("Bạn đã đăng xuất.", "You are signed out.")) },
        ),
        _ => done,
    };
    Ok(shell::page(call, title(call), &form(call, call.query.find("back"), &done)))
}

fn submit(call: &Call) -> Result<Reply, Failure> {
    let back = call.form.find("back").filter(|path| shell::is_own(path));
    if let Some(step) = call.form.find("step") {
        let code = call.form.find("code").unwrap_or_default();
        return match call.accounts.second_factor(step, code, call.from(), call.now)? {
            Some((token, name)) => enter(call, &name, &token, back, "second factor"),
            None => Ok(shell::again(call, title(call), &code_form(call, step, back, true))),
        };
    }
    let name = call.form.find("name").unwrap_or_default();
    let password = call.form.verbatim("password").unwrap_or_default();
    match call.accounts.sign_in(name, password, call.from(), call.now)? {
        SignIn::Session(token) => enter(call, name, &token, back, "password"),
        SignIn::Code(step) => Ok(shell::page(call, title(call), &code_form(call, &step, back, false))),
        SignIn::Outside => {
            let other = html! { (call.tongue.say(
                "Tài khoản này đăng nhập bằng hệ thống đăng nhập một lần, không dùng mật khẩu ở đây.",
                "This account signs in by the single sign-on; it has no password here.",
            )) };
            Ok(shell::again(call, title(call), &form(call, back, &parts::notice(Tone::Bad, &other))))
        }
        SignIn::Wrong => {
            let wrong = html! { (call.tongue.say("Tên hoặc mật khẩu chưa đúng.", "The name or the password is wrong.")) };
            Ok(shell::again(call, title(call), &form(call, back, &parts::notice(Tone::Bad, &wrong))))
        }
    }
}

/// Into the console, by a session that is new; what the browser had before is over.
pub(in crate::console) fn enter(
    call: &Call,
    name: &str,
    token: &str,
    back: Option<&str>,
    how: &str,
) -> Result<Reply, Failure> {
    if let Some(old) = &call.session {
        call.accounts.sign_out(old)?;
    }
    let account = call.accounts.find(name)?;
    let by = Person { account: &account.name, role: account.role.as_str(), address: Some(call.client) };
    let change = Change { what: "account.sign-in", on: &account.name, details: how };
    crate::evidence::audit::changed(call.house.data_dir(), call.now, Some(&by), &change)
        .map_err(audit::failed)?;
    Ok(Reply::RedirectWith { to: back.unwrap_or("/").to_owned(), cookie: session_cookie(call, token) })
}

fn leave(call: &Call) -> Result<Reply, Failure> {
    let mut onward = None;
    if let Some(session) = &call.session {
        let token = call.accounts.is_outside(session)?;
        call.accounts.sign_out(session)?;
        audit::changed(call, "account.sign-out", &call.viewer()?.name, "")?;
        // Last: the session here is over, however long it takes there.
        if let (Some(outside), Some(token)) = (&call.outside, token) {
            onward = outside.leave(token.as_deref(), &format!("{}/sign-in", call.origin), call.now);
        }
    }
    if let Some(to) = onward {
        return Ok(super::outside::onward(call, to.into(), session_cookie(call, "")));
    }
    Ok(Reply::RedirectWith { to: "/sign-in?done=out".to_owned(), cookie: session_cookie(call, "") })
}

fn title(call: &Call) -> &'static str {
    call.tongue.say("Đăng nhập", "Sign in")
}

fn form(call: &Call, back: Option<&str>, notice: &Markup) -> Markup {
    let tongue = call.tongue;
    let Some(outside) = call.outside.as_deref() else { return password_form(call, back, notice) };
    let options = &outside.options;
    let to = match back {
        Some(back) => parts::link(&["sign-in", "oidc"], &[("back", back)]),
        None => "/sign-in/oidc".to_owned(),
    };
    // Whoever came by another name of this server comes back to this one, and must have its cookie.
    let to = format!("{}{to}", call.origin);
    html! {
        (notice)
        p.outside { a.button href=(to) { (tongue.say(&options.label[0], &options.label[1])) } }
        @match options.passwords {
            Passwords::Everybody => {
                p.outside.or { (tongue.say("Hoặc bằng mật khẩu", "Or with a password")) }
                (password_form(call, back, &html! {}))
            },
            // What somebody typed is in sight, with what was wrong.
            Passwords::Admins => details.outside.or open[call.form.find("name").is_some()] {
                summary { (tongue.say("Quản trị viên: đăng nhập bằng mật khẩu", "Admins: sign in with a password")) }
                (password_form(call, back, &html! {}))
            },
        }
    }
}

fn password_form(call: &Call, back: Option<&str>, notice: &Markup) -> Markup {
    let tongue = call.tongue;
    html! {
        (notice)
        form.narrow method="post" action="/sign-in" {
            (parts::csrf(call))
            @if let Some(back) = back { input type="hidden" name="back" value=(back); }
            label { (tongue.say("Tên đăng nhập", "Name"))
                input type="text" name="name" value=[call.form.find("name")] autocomplete="username" autocapitalize="none" spellcheck="false" maxlength="64" required autofocus[call.outside.is_none()]; }
            label { (tongue.say("Mật khẩu", "Password"))
                input type="password" name="password" autocomplete="current-password" maxlength="1024" required; }
            button.second[call.outside.is_some()] { (tongue.say("Đăng nhập", "Sign in")) }
        }
    }
}

fn code_form(call: &Call, step: &str, back: Option<&str>, is_wrong: bool) -> Markup {
    let tongue = call.tongue;
    html! {
        @if is_wrong {
            (parts::notice(Tone::Bad, &html! { (tongue.say(
                "Mã chưa đúng, đã dùng rồi hoặc đã quá hạn. Hãy chờ mã mới trên điện thoại; nếu vẫn không được, hãy đăng nhập lại từ đầu.",
                "The code is wrong, was used already, or came too late. Wait for the next one; if that does not help, sign in from the start.",
            )) }))
        }
        form.narrow method="post" action="/sign-in" {
            (parts::csrf(call))
            input type="hidden" name="step" value=(step);
            @if let Some(back) = back { input type="hidden" name="back" value=(back); }
            label { (tongue.say("Mã sáu chữ số trên điện thoại, hoặc một mã dự phòng", "The six digits on your telephone, or a recovery code"))
                input type="text" name="code" inputmode="numeric" autocomplete="one-time-code" maxlength="20" required autofocus; }
            button { (tongue.say("Tiếp tục", "Continue")) }
        }
        p { a href="/sign-in" { (tongue.say("Đăng nhập lại từ đầu", "Sign in from the start")) } }
    }
}
