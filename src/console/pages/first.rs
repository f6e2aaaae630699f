//! What a one-time link leads to: the first admin, or a password for an account that was invited or whose owner forgot it.

use maud::html;

use super::super::account::{Link, Purpose, SHORTEST_PASSWORD};
use super::super::answer::{Failure, Reply};
use super::super::call::Call;
use super::super::parts::{self, Tone};
use super::super::routes::{Needs, Route, get, post};
use super::super::shell;
use super::account::said;
use super::sign_in;

pub(in crate::console) static ROUTES: &[Route] =
    &[get("/first", Needs::Nothing, page), post("/first", Needs::Nothing, submit)];

fn page(call: &Call) -> Result<Reply, Failure> {
    let code = call.query.find("code").unwrap_or_default();
    let link = call.accounts.link(code, call.now)?;
    Ok(form(call, code, &link, None))
}

fn submit(call: &Call) -> Result<Reply, Failure> {
    let code = call.form.find("code").unwrap_or_default();
    let link = call.accounts.link(code, call.now)?;
    let password = call.form.verbatim("password").unwrap_or_default();
    if call.form.verbatim("again") != Some(password) {
        let tongue = call.tongue;
        let differs = tongue.say("Hai lần nhập mật khẩu không giống nhau.", "The two passwords differ.");
        return Ok(form(call, code, &link, Some(differs)));
    }
    let name = call.form.find("name").unwrap_or_default();
    match call.accounts.use_link(code, name, password, call.from(), call.now) {
        Ok((name, Some(token))) => sign_in::enter(call, &name, &token, None, "one-time link"),
        Ok((_, None)) => Ok(Reply::Redirect("/sign-in?done=password".to_owned())),
        Err(error) if error.is_of_request() => Ok(form(call, code, &link, Some(&said(call.tongue, &error)))),
        Err(error) => Err(error.into()),
    }
}

fn form(call: &Call, code: &str, link: &Link, wrong: Option<&str>) -> Reply {
    let tongue = call.tongue;
    let title = match link.purpose {
        Purpose::First => tongue.say("Tạo quản trị viên đầu tiên", "Make the first admin"),
        Purpose::Password => tongue.say("Đặt mật khẩu", "Set a password"),
    };
    let body = html! {
        @if let Some(wrong) = wrong { (parts::notice(Tone::Bad, &html! { (wrong) })) }
        form.narrow method="post" action="/first" {
            (parts::csrf(call))
            input type="hidden" name="code" value=(code);
            @match &link.account {
                Some(account) => {
                    label { (tongue.say("Tên đăng nhập", "Name"))
                        input type="text" name="name" value=(account) autocomplete="username" readonly; }
                },
                None => {
                    label { (tongue.say("Tên đăng nhập", "Name"))
                        input type="text" name="name" value=[call.form.find("name")] autocomplete="username" autocapitalize="none" spellcheck="false" maxlength="64" required autofocus; }
                },
            }
            label { (tongue.say("Mật khẩu", "Password"))
                input type="password" name="password" autocomplete="new-password" minlength=(SHORTEST_PASSWORD) maxlength="1024" required; }
            label { (tongue.say("Mật khẩu, nhập lại", "The password again"))
                input type="password" name="again" autocomplete="new-password" minlength=(SHORTEST_PASSWORD) maxlength="1024" required; }
            p.hint { (tongue.say(
                "Ít nhất 10 ký tự. Vài từ ghép lại vừa dài vừa dễ nhớ.",
                "At least 10 characters. Several words are long and easy to keep in mind.",
            )) }
            button { (tongue.say("Lưu và đăng nhập", "Save and sign in")) }
        }
    };
    if wrong.is_some() { shell::again(call, title, &body) } else { shell::page(call, title, &body) }
}
