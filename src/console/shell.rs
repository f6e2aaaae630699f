//! The frame of every page: head, navigation, foot; its style and scripts.

use std::io::{self, Write};

use hyper::Method;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use super::account::AccountsError;
use super::answer::{Failure, File, Reply};
use super::call::Call;
use super::labels::label;
use super::routes::{self, Found, Needs};
use super::tongue::Tongue;

/// The one style sheet, and the one script.
const STYLE: &str = include_str!("assets/console.css");
const SCRIPT: &str = include_str!("assets/console.js");

/// A group of the navigation: its name in both languages, and its places with theirs.
type Group = (&'static str, &'static str, &'static [(&'static str, &'static str, &'static str)]);

/// The navigation. What a place needs stands in the table of routes; one without a route is not shown.
const PLACES: &[Group] = &[
    (
        "Theo dõi",
        "Watch",
        &[
            ("/", "Tổng quan", "Overview"),
            ("/alerts", "Cảnh báo", "Alerts"),
            ("/cases", "Ca xử lý", "Cases"),
            ("/machines", "Máy", "Machines"),
            ("/agencies", "Cơ quan", "Agencies"),
            ("/coverage", "Phần mềm bảo vệ", "Endpoint protection"),
        ],
    ),
    (
        "Tra cứu",
        "Search",
        &[
            ("/log", "Nhật ký truy vấn", "Query log"),
            ("/contacts", "Kết nối sinkhole", "Contacts"),
            ("/hunts", "Truy tìm", "Hunts"),
        ],
    ),
    (
        "Ngăn chặn",
        "Protection",
        &[("/feeds", "Nguồn danh sách", "Feeds"), ("/policy", "Chính sách", "Policy")],
    ),
    ("Báo cáo", "Reporting", &[("/reports", "Báo cáo", "Reports")]),
    (
        "Quản trị",
        "Administration",
        &[
            ("/users", "Người dùng", "Users"),
            ("/audit", "Nhật ký kiểm toán", "Audit log"),
            ("/settings", "Cài đặt", "Settings"),
        ],
    ),
];

/// In which colours pages are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Theme {
    /// As the viewer's system has it.
    #[default]
    System,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

impl Theme {
    /// The theme of this word in the cookie.
    pub(super) fn of(word: &str) -> Self {
        match word {
            "light" => Self::Light,
            "dark" => Self::Dark,
            _ => Self::System,
        }
    }

    fn code(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// What a click on the choice leads to, and its name.
    fn next(self) -> (Self, &'static str, &'static str) {
        match self {
            Self::System => (Self::Dark, "Giao diện tối", "Dark"),
            Self::Dark => (Self::Light, "Giao diện sáng", "Light"),
            Self::Light => (Self::System, "Giao diện theo máy", "As my system"),
        }
    }
}

/// A page with this title; `body` is its main part. The heading is the title.
pub(super) fn page(call: &Call, title: &str, body: &Markup) -> Reply {
    Reply::Page(frame(call, title, body))
}

/// A page whose main part `write` makes while it is sent.
pub(super) fn gradual(
    call: &Call,
    title: &str,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
) -> Reply {
    // No text has it: in a text it is escaped.
    const HERE: &str = "<!--main-->";
    let framed = frame(call, title, &PreEscaped(HERE.to_owned())).into_string();
    Reply::Gradual(Box::new(move |out| {
        let (before, after) = framed.split_once(HERE).unwrap_or((&framed, ""));
        out.write_all(before.as_bytes())?;
        write(out)?;
        out.write_all(after.as_bytes())
    }))
}

/// The same, where its form was not right.
pub(super) fn again(call: &Call, title: &str, body: &Markup) -> Reply {
    Reply::Again(frame(call, title, body))
}

/// A page, to be sent in another way than most.
pub(super) fn frame(call: &Call, title: &str, body: &Markup) -> Markup {
    let tongue = call.tongue;
    let theme = call.theme;
    html! {
        (DOCTYPE)
        html lang=(tongue.code()) data-theme=[(theme != Theme::System).then_some(theme.code())] {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · SachDNS" }
                link rel="icon" href="data:,";
                link rel="stylesheet" href=(asset_path("css", STYLE));
                script src=(asset_path("js", SCRIPT)) defer {}
            }
            body {
                a.skip href="#main" { (tongue.say("Tới nội dung", "Skip to content")) }
                header.top {
                    a.brand href="/" { "Sach" span { "DNS" } }
                    @if let Some(own) = call.viewer.as_ref().and_then(|viewer| viewer.agency()) {
                        @let agencies = call.house.agencies();
                        @let name = agencies.iter().find(|agency| &*agency.id == own).map_or(own, |agency| &agency.name);
                        span.scope { (name) }
                    }
                    div.who {
                        (appearances(call))
                        @if let Some(viewer) = &call.viewer {
                            form method="post" action="/sign-out" {
                                input type="hidden" name="csrf" value=(call.csrf);
                                @if may_open(call, "/account") { a href="/account" { (viewer.name) } } @else { span { (viewer.name) } }
                                button.plain { (tongue.say("Đăng xuất", "Sign out")) }
                            }
                        }
                    }
                }
                @if call.viewer.is_some() {
                    // For narrow windows; the style shows one of the two.
                    details.menu {
                        summary { (tongue.say("Danh mục", "Menu")) }
                        (navigation(call))
                    }
                    div.body {
                        div.side { (navigation(call)) }
                        (main(title, body))
                    }
                } @else {
                    div.body.bare { (main(title, body)) }
                }
            }
        }
    }
}

fn main(title: &str, body: &Markup) -> Markup {
    html! { main id="main" tabindex="-1" { h1 { (title) } (body) } }
}

fn navigation(call: &Call) -> Markup {
    let tongue = call.tongue;
    html! {
        nav.places aria-label=(tongue.say("Chính", "Main")) {
            @for (vietnamese, english, places) in PLACES {
                @if places.iter().any(|(path, ..)| may_open(call, path)) {
                    div {
                        p { (tongue.say(vietnamese, english)) }
                        ul {
                            @for (path, vietnamese, english) in *places {
                                @if may_open(call, path) {
                                    li { a href=(path) aria-current=[is_at(call, path).then_some("page")] {
                                        (tongue.say(vietnamese, english))
                                    } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Whether there is such a page, and for this viewer.
pub(super) fn may_open(call: &Call, path: &str) -> bool {
    match routes::find(&Method::GET, path) {
        Found::Route(route, _) => match route.needs {
            Needs::Nothing => true,
            Needs::Session => call.viewer.is_some(),
            Needs::Right(right) => call.may(right),
        },
        _ => false,
    }
}

/// Language and colours.
fn appearances(call: &Call) -> Markup {
    let tongue = call.tongue;
    let query = call.query.with("language", None);
    let back = if query.is_empty() { call.path.clone() } else { format!("{}?{query}", call.path) };
    let other = tongue.say(Tongue::English, Tongue::Vietnamese);
    let (theme, vietnamese, english) = call.theme.next();
    html! {
        form method="post" action="/appearance" {
            input type="hidden" name="csrf" value=(call.csrf);
            input type="hidden" name="back" value=(back);
            button.plain name="theme" value=(theme.code()) { (tongue.say(vietnamese, english)) }
            button.plain name="language" value=(other.code()) lang=(other.code()) { (other.say("Tiếng Việt", "English")) }
        }
    }
}

fn is_at(call: &Call, path: &str) -> bool {
    let rest = call.path.strip_prefix(path);
    if path == "/" {
        call.path == "/"
    } else {
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// The page that says why there is no other; it is told in the viewer's language.
pub(super) fn failure(call: &Call, why: &Failure) -> Markup {
    let tongue = call.tongue;
    let (title, told) = match why {
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
            format!("{}: {}", label(tongue, &call.path, field), tongue.say(vietnamese, english)),
        ),
        Failure::Busy(seconds) => (
            tongue.say("Quá nhiều lần thử", "Too many attempts"),
            format!(
                "{} {} {}",
                tongue.say("Hãy thử lại sau", "Try again in"),
                tongue.number(*seconds),
                tongue.say("giây.", "seconds.")
            ),
        ),
        Failure::Accounts(AccountsError::Busy(seconds)) => return failure(call, &Failure::Busy(*seconds)),
        Failure::Accounts(error) if error.is_of_request() => (
            tongue.say("Thông tin chưa đúng", "Something is not right"),
            super::pages::account::said(tongue, error),
        ),
        other => (tongue.say("Không thực hiện được", "That could not be done"), other.to_string()),
    };
    frame(call, title, &html! { p.notice.bad role="alert" { (told) } })
}

/// Where an asset is, by what it is: browsers may keep it.
fn asset_path(kind: &str, text: &str) -> String {
    let digest = Sha256::digest(text);
    format!("/assets/console-{:02x}{:02x}{:02x}{:02x}.{kind}", digest[0], digest[1], digest[2], digest[3])
}

/// Style and scripts.
pub(super) fn asset(call: &Call) -> Result<Reply, Failure> {
    let all = [("css", "text/css; charset=utf-8", STYLE), ("js", "text/javascript; charset=utf-8", SCRIPT)];
    let found = all.into_iter().find(|(kind, _, text)| call.path == asset_path(kind, text));
    let (_, kind, text) = found.ok_or(Failure::Absent)?;
    Ok(Reply::File(File { kind, name: None, octets: text.into() }))
}

/// Keeps the language or the colours that somebody chose.
pub(super) fn appearance(call: &Call) -> Result<Reply, Failure> {
    let to = call.form.find("back").filter(|path| is_own(path)).unwrap_or("/").to_owned();
    let (name, value) = match (call.form.find("theme"), call.form.find("language").and_then(Tongue::of)) {
        (Some(theme), _) => ("theme", Theme::of(theme).code()),
        (None, tongue) => ("language", tongue.unwrap_or(call.tongue).code()),
    };
    let cookie = format!("{name}={value}; Path=/; Max-Age=31536000; SameSite=Lax; HttpOnly");
    Ok(Reply::RedirectWith { to, cookie })
}

/// Whether a redirect to this leads nowhere else, and to a page that can be asked for.
pub(super) fn is_own(path: &str) -> bool {
    let is_plain = path.starts_with('/') && !path.starts_with("//") && !path.contains('\\');
    let place = path.split(['?', '#']).next().unwrap_or_default();
    is_plain
        && path.bytes().all(|octet| octet.is_ascii_graphic())
        && matches!(routes::find(&Method::GET, place), Found::Route(..))
}
