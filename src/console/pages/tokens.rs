//! Tokens for programs: making one, which is shown once, and revoking.

use maud::html;

use super::super::access::{RIGHTS, Right};
use super::super::answer::{Failure, Reply};
use super::super::call::Call;
use super::super::parts::{self, Head, Tone};
use super::super::routes::{Needs, Route, get, post};
use super::super::token::{self, TokenError, Tokens, Wish};
use super::super::tongue::Tongue;
use super::super::{audit, shell};
use crate::cases::lifecycle::DAY;

pub(in crate::console) static ROUTES: &[Route] = &[
    get("/account/tokens", Needs::Session, page),
    post("/account/tokens", Needs::Session, make),
    post("/account/tokens/{id}/revoke", Needs::Session, revoke),
];

const DONE: [(&str, &str, &str); 1] = [("revoked", "Đã thu hồi mã truy cập.", "The token is revoked.")];

/// What a right is, in words.
fn right_text(tongue: Tongue, right: Right) -> &'static str {
    match right {
        Right::See => tongue.say("Xem truy vấn, máy, ca xử lý", "See queries, machines, cases"),
        Right::SeeProvince => {
            tongue.say("Xem nguồn danh sách, quy tắc của tỉnh", "See feeds and rules of the province")
        }
        Right::Work => tongue.say("Ghi chú, báo tin cho ca xử lý", "Work on cases"),
        Right::Judge => tongue.say("Kết luận, đóng, mở lại ca xử lý", "Judge, close and reopen cases"),
        Right::Rule => {
            tongue.say("Chặn, cho qua, duyệt nguồn, truy tìm", "Block, let pass, approve feeds, hunt")
        }
        Right::Audit => tongue.say("Xem nhật ký kiểm toán", "Read the audit log"),
        Right::Manage => tongue.say("Nhập danh sách, quản trị", "Import and manage"),
        Right::Measure => tongue.say("Đọc số đo (/metrics)", "Read figures (/metrics)"),
    }
}

/// The account behind a viewer; a token has no tokens.
fn account(call: &Call) -> Result<&str, Failure> {
    if call.rights.is_some() {
        return Err(Failure::Forbidden);
    }
    Ok(&call.viewer()?.name)
}

fn page(call: &Call) -> Result<Reply, Failure> {
    shown(call, None)
}

fn shown(call: &Call, made: Option<&str>) -> Result<Reply, Failure> {
    let tongue = call.tongue;
    let account = account(call)?;
    let viewer = call.viewer()?;
    let tokens = Tokens::open(call.house.data_dir()).map_err(failed)?.list(Some(account)).map_err(failed)?;
    let heads = [
        Head::Text(tongue.say("Mục đích", "Purpose")),
        Head::Text(tongue.say("Quyền", "Rights")),
        Head::Text(tongue.say("Dùng lần cuối", "Last used")),
        Head::Text(tongue.say("Hết hạn", "Ends")),
        Head::Unseen(tongue.say("Thao tác", "Actions")),
    ];
    let rows = html! {
        @for token in &tokens {
            tr {
                th.name scope="row" { (token.label) }
                td data-label=(tongue.say("Quyền", "Rights")) { @for right in &token.rights { code { (token::word(*right)) } " " }
                    @if let Some(agency) = &token.agency { (parts::agency(call, Some(agency))) } }
                td data-label=(tongue.say("Dùng lần cuối", "Last used")) { @match token.last { Some(last) => (parts::ago(call, last)), None => (tongue.say("chưa dùng", "never")) } }
                td data-label=(tongue.say("Hết hạn", "Ends")) { @match token.until { Some(until) => (parts::day(call, until)), None => (tongue.say("không", "never")) } }
                td { (parts::confirm(call, &parts::Confirm {
                    action: &parts::link(&["account", "tokens", &token.id.to_string(), "revoke"], &[]),
                    button: tongue.say("Thu hồi", "Revoke"), reason: None, is_danger: true,
                }, &html! {})) }
            }
        }
    };
    let agencies = call.house.agencies();
    let body = html! {
        (parts::done(call, &DONE))
        @if let Some(made) = made {
            (parts::notice(Tone::Good, &html! {
                p { (tongue.say("Hãy chép mã này ngay: nó không được hiện lại.", "Copy this token now: it is not shown again.")) }
                p { code { (made) } }
            }))
        }
        p { (tongue.say("Mã truy cập cho phép chương trình dùng ", "A token lets a program use the ")) a href="/api" { "API" }
            (tongue.say(" thay cho tài khoản này, trong các quyền được chọn.", " in the place of this account, within the rights that you choose.")) }
        @if tokens.is_empty() {
            (parts::empty(tongue.say("Chưa có mã truy cập nào.", "There is no token yet."), &html! {}))
        } @else {
            (parts::cards(tongue.say("Mã truy cập", "Tokens"), &heads, &rows))
        }
        (parts::card(tongue.say("Tạo mã truy cập", "Make a token"), &html! {}, &html! {
            form.narrow method="post" action="/account/tokens" {
                (parts::csrf(call))
                label { (tongue.say("Mục đích", "Purpose")) input type="text" name="label" required maxlength="100" placeholder="SIEM"; }
                fieldset {
                    legend { (tongue.say("Quyền", "Rights")) }
                    @for right in RIGHTS { @if viewer.may(right) {
                        label.check { input type="checkbox" name="right" value=(token::word(right)) checked[right == Right::See];
                            (right_text(tongue, right)) " " code { (token::word(right)) } }
                    } }
                }
                @if viewer.agency().is_none() {
                    label { (tongue.say("Chỉ một cơ quan", "One agency only"))
                        select name="agency" {
                            option value="" { (tongue.say("Cả tỉnh", "The whole province")) }
                            @for agency in agencies.iter() { option value=(agency.id) { (agency.name) } }
                        }
                    }
                }
                label { (tongue.say("Hết hạn sau (ngày)", "Ends after (days)")) input type="number" name="days" min="1" max="3650" value="365"; }
                button { (tongue.say("Tạo mã", "Make it")) }
            }
        }))
    };
    Ok(shell::page(call, tongue.say("Mã truy cập API", "API tokens"), &body))
}

fn make(call: &Call) -> Result<Reply, Failure> {
    let account = call.accounts.find(account(call)?)?;
    let rights: Vec<Right> = call.form.all("right").filter_map(token::right).collect();
    let days = call
        .form
        .find("days")
        .and_then(|days| days.parse::<i64>().ok())
        .filter(|days| (1..=3650).contains(days));
    let wish = Wish {
        label: call.form.find("label").unwrap_or_default(),
        rights: &rights,
        agency: call.form.find("agency"),
        until: days.map(|days| call.now + days * DAY),
    };
    if let Some(agency) = wish.agency
        && !call.house.agencies().iter().any(|known| *known.id == *agency)
    {
        return Err(Failure::Absent);
    }
    let (secret, id) = Tokens::open(call.house.data_dir())
        .and_then(|tokens| tokens.make(&account, &wish, call.now))
        .map_err(failed)?;
    audit::changed(call, "token.make", &id.to_string(), wish.label)?;
    shown(call, Some(&secret))
}

fn revoke(call: &Call) -> Result<Reply, Failure> {
    let account = account(call)?;
    let id = call.place("id").parse().map_err(|_| Failure::Absent)?;
    let tokens = Tokens::open(call.house.data_dir()).map_err(failed)?;
    let token = tokens.revoke(id, Some(account)).map_err(failed)?;
    audit::changed(call, "token.revoke", &id.to_string(), &token.label)?;
    Ok(Reply::Redirect("/account/tokens?done=revoked".to_owned()))
}

fn failed(error: TokenError) -> Failure {
    match error {
        TokenError::Account(error) => Failure::Accounts(error),
        TokenError::Absent => Failure::Absent,
        TokenError::Label => wrong("label", "hãy ghi mục đích, tối đa 100 byte", &error),
        TokenError::NoRight => wrong("right", "hãy chọn ít nhất một quyền", &error),
        TokenError::Beyond(_) => wrong("right", "tài khoản không có quyền này", &error),
        TokenError::Agency => wrong("agency", "tài khoản chỉ xem được cơ quan của mình", &error),
        TokenError::Full => wrong("label", "tài khoản đã có quá nhiều mã; hãy thu hồi mã không dùng", &error),
        error @ TokenError::Database { .. } => Failure::Refused(error.to_string()),
    }
}

fn wrong(field: &'static str, vietnamese: &str, error: &TokenError) -> Failure {
    Failure::Wrong { field, vietnamese: vietnamese.to_owned(), english: error.to_string() }
}
