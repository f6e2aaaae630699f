//! The frame of every page: head, navigation, foot; its style and scripts.

use hyper::Method;
use maud::{DOCTYPE, Markup, html};
use sha2::{Digest as _, Sha256};

use super::access::Right;
use super::answer::{Failure, File, Reply};
use super::call::Call;
use super::tongue::Tongue;

/// The one style sheet.
const STYLE: &str = include_str!("assets/console.css");

/// An entry of the navigation: path, name in both languages, what it needs.
const PLACES: [(&str, &str, &str, Right); 1] = [("/", "Tổng quan", "Overview", Right::See)];

/// A page with this title; `body` is its main part. The heading is the title.
pub(super) fn page(call: &Call, title: &str, body: &Markup) -> Reply {
    Reply::Page(frame(call, title, body))
}

fn frame(call: &Call, title: &str, body: &Markup) -> Markup {
    let tongue = call.tongue;
    html! {
        (DOCTYPE)
        html lang=(tongue.code()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · SachDNS" }
                link rel="stylesheet" href=(style_path());
            }
            body {
                a.skip href="#main" { (tongue.say("Tới nội dung", "Skip to content")) }
                header.top {
                    a.brand href="/" { "SachDNS" }
                    @if let Some(viewer) = &call.viewer {
                        nav aria-label=(tongue.say("Chính", "Main")) {
                            ul {
                                @for (path, vietnamese, english, right) in PLACES {
                                    @if viewer.may(right) {
                                        li { a href=(path) aria-current=[is_at(call, path).then_some("page")] {
                                            (tongue.say(vietnamese, english))
                                        } }
                                    }
                                }
                            }
                        }
                    }
                    div.who {
                        form method="post" action="/appearance" {
                            input type="hidden" name="csrf" value=(call.csrf);
                            input type="hidden" name="back" value=(call.path);
                            @let other = tongue.say(Tongue::English, Tongue::Vietnamese);
                            button.plain name="language" value=(other.code()) lang=(other.code()) {
                                (other.say("Tiếng Việt", "English"))
                            }
                        }
                        @if let Some(viewer) = &call.viewer {
                            form method="post" action="/sign-out" {
                                input type="hidden" name="csrf" value=(call.csrf);
                                span { (viewer.name) } " "
                                button.plain { (tongue.say("Đăng xuất", "Sign out")) }
                            }
                        }
                    }
                }
                main id="main" {
                    h1 { (title) }
                    (body)
                }
            }
        }
    }
}

fn is_at(call: &Call, path: &str) -> bool {
    if path == "/" { call.path == "/" } else { call.path.starts_with(path) }
}

/// The page that says why there is no other; it is told in the viewer's language.
pub(super) fn failure(call: &Call, failure: &Failure) -> Markup {
    let tongue = call.tongue;
    let (title, told) = match failure {
        Failure::Absent => (
            tongue.say("Không tìm thấy", "Not found"),
            tongue
                .say(
                    "Không có nội dung này, hoặc bạn không được xem.",
                    "There is nothing here that you may see.",
                )
                .to_owned(),
        ),
        Failure::Forbidden => (
            tongue.say("Không được phép", "Not allowed"),
            tongue.say("Vai trò của bạn không được làm việc này.", "Your role may not do that.").to_owned(),
        ),
        Failure::Forged => (
            tongue.say("Biểu mẫu đã cũ", "The form is too old"),
            tongue
                .say(
                    "Biểu mẫu đã quá hạn hoặc được gửi từ trang khác. Hãy mở lại trang rồi gửi lại.",
                    "The form is too old or came from another site. Open the page again, and send it anew.",
                )
                .to_owned(),
        ),
        Failure::Wrong { field, vietnamese, english } => (
            tongue.say("Thông tin chưa đúng", "Something is not right"),
            format!("{field}: {}", tongue.say(vietnamese, english)),
        ),
        other => (tongue.say("Không thực hiện được", "That could not be done"), other.to_string()),
    };
    frame(call, title, &html! { p.notice.bad role="alert" { (told) } })
}

/// Where the style is, by what it is: browsers may keep it.
fn style_path() -> String {
    let digest = Sha256::digest(STYLE);
    format!("/assets/console-{:02x}{:02x}{:02x}{:02x}.css", digest[0], digest[1], digest[2], digest[3])
}

/// Style and scripts.
pub(super) fn asset(call: &Call) -> Result<Reply, Failure> {
    if call.path != style_path() {
        return Err(Failure::Absent);
    }
    Ok(Reply::File(File { kind: "text/css; charset=utf-8", name: None, octets: STYLE.into() }))
}

/// Keeps the language that somebody chose.
pub(super) fn appearance(call: &Call) -> Result<Reply, Failure> {
    let tongue = call.form.find("language").and_then(Tongue::of).unwrap_or(call.tongue);
    let back = call.form.find("back").filter(|path| is_own(path)).unwrap_or("/");
    let cookie = format!("language={}; Path=/; Max-Age=31536000; SameSite=Lax; HttpOnly", tongue.code());
    Ok(Reply::RedirectWith { to: back.to_owned(), cookie })
}

/// Whether a redirect to this leads nowhere else, and to a page that can be asked for.
pub(super) fn is_own(path: &str) -> bool {
    let is_plain = path.starts_with('/') && !path.starts_with("//") && !path.contains('\\');
    let place = path.split(['?', '#']).next().unwrap_or_default();
    is_plain
        && path.bytes().all(|octet| octet.is_ascii_graphic())
        && matches!(super::routes::find(&Method::GET, place), super::routes::Found::Route(..))
}
