//! Signing in and out.

use maud::html;

use super::super::answer::{Failure, Reply};
use super::super::call::Call;
use super::super::server::session_cookie;
use super::super::shell;

pub(in crate::console) fn page(call: &Call) -> Result<Reply, Failure> {
    Ok(form(call, false))
}

pub(in crate::console) fn submit(call: &Call) -> Result<Reply, Failure> {
    let (Some(name), Some(password)) = (call.form.find("name"), call.form.find("password")) else {
        return Ok(form(call, true));
    };
    let Some(token) = call.accounts.sign_in(name, password, call.now)? else { return Ok(form(call, true)) };
    let back = call.form.find("back").filter(|path| shell::is_own(path)).unwrap_or("/");
    Ok(Reply::RedirectWith { to: back.to_owned(), cookie: session_cookie(call, &token) })
}

pub(in crate::console) fn leave(call: &Call) -> Result<Reply, Failure> {
    if let Some(session) = &call.session {
        call.accounts.sign_out(session)?;
    }
    Ok(Reply::RedirectWith { to: "/sign-in".to_owned(), cookie: session_cookie(call, "") })
}

fn form(call: &Call, is_wrong: bool) -> Reply {
    let tongue = call.tongue;
    let body = html! {
        form.narrow method="post" action="/sign-in" {
            @if is_wrong {
                p.notice.bad role="alert" { (tongue.say("Tên hoặc mật khẩu chưa đúng.", "The name or the password is wrong.")) }
            }
            input type="hidden" name="back" value=(call.query.find("back").unwrap_or("/"));
            label { (tongue.say("Tên đăng nhập", "Name"))
                input name="name" autocomplete="username" required autofocus; }
            label { (tongue.say("Mật khẩu", "Password"))
                input name="password" type="password" autocomplete="current-password" required; }
            button { (tongue.say("Đăng nhập", "Sign in")) }
        }
    };
    shell::page(call, tongue.say("Đăng nhập", "Sign in"), &body)
}
