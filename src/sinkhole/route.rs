//! What a request to the sinkhole is for: a page, facts for a program, or something that had better stay quiet.
//!
//! Malicious names are asked for by people, by programs, and by pages of other sites that hold a picture, a script or a
//! frame from there. Only the head of a request is looked at. Browsers say what they want it for (`Sec-Fetch-Dest`), but on
//! plain HTTP only to loopback addresses; else `Accept` tells, and where that takes anything, the path's extension.
//! A request without `Accept` is no browser's: it gets the page.

use hyper::header::{self, HeaderMap, HeaderName};
use hyper::{Method, Uri};

/// Where the page's form is posted to.
pub(super) const SAID_PATH: &str = "/~sachdns/said";

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The landing page.
    Page,
    /// Facts as JSON. `Script`: a page's script reads them, under whatever name that page is.
    Json(Reader),
    /// A picture within a page: one pixel that does not show.
    Picture,
    /// Anything else within a page: an answer without content.
    Nothing,
    /// The page's form.
    Statement,
}

/// Who reads facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// A program on the machine.
    Program,
    /// A script in a browser.
    Script,
}

const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");

pub(super) fn wanted(method: &Method, uri: &Uri, headers: &HeaderMap) -> Wanted {
    if *method == Method::POST && uri.path() == SAID_PATH {
        return Wanted::Statement;
    }
    let is_preflight =
        *method == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    // Nobody has opened what is fetched ahead.
    if is_preflight || text(headers, &SEC_PURPOSE).is_some_and(|purpose| purpose.contains("prefetch")) {
        return Wanted::Nothing;
    }
    let accept = Accept::of(headers);
    match text(headers, &SEC_FETCH_DEST) {
        Some("document") => return Wanted::Page,
        Some("image") => return Wanted::Picture,
        // `fetch` and XMLHttpRequest.
        Some("empty") if accept.has_json => return Wanted::Json(Reader::Script),
        // Frames too: the page may not stand in one, and a browser would say so in its place.
        Some(_) => return Wanted::Nothing,
        None => {}
    }
    match accept {
        Accept { has_html: true, .. } | Accept { is_there: false, .. } => Wanted::Page,
        Accept { has_json: true, .. } => Wanted::Json(Reader::Program),
        Accept { first: Kind::Image, .. } => Wanted::Picture,
        Accept { first: Kind::Part, .. } => Wanted::Nothing,
        Accept { first: Kind::Other, .. } => by_extension(uri.path()),
    }
}

/// Whether a form was posted from a page of its own origin, as far as the browser says: old ones say nothing.
///
/// `authority` is the host and port under which the page stood. The page's referrer policy (`same-origin`) has browsers send an
/// `Origin`, which with `no-referrer` would be `null`.
pub(super) fn is_own(headers: &HeaderMap, authority: Option<&str>) -> bool {
    let says = |name: &HeaderName, wanted: &str| text(headers, name).is_none_or(|value| value == wanted);
    let is_from = |name: &HeaderName| match headers.get(name) {
        None => true,
        Some(value) => value.to_str().is_ok_and(|value| {
            let rest = value.strip_prefix("http://").or_else(|| value.strip_prefix("https://"));
            let origin = rest.map(|rest| rest.split('/').next().unwrap_or(rest));
            origin.zip(authority).is_some_and(|(origin, authority)| origin.eq_ignore_ascii_case(authority))
        }),
    };
    says(&SEC_FETCH_SITE, "same-origin")
        && says(&SEC_FETCH_MODE, "navigate")
        && says(&SEC_FETCH_DEST, "document")
        && is_from(&header::ORIGIN)
        && is_from(&header::REFERER)
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// What kinds of content a request takes.
struct Accept {
    is_there: bool,
    has_html: bool,
    has_json: bool,
    /// The kind that it names first.
    first: Kind,
}

enum Kind {
    Image,
    /// A part of a page that is no picture: a style sheet, a script, a font, sound, film.
    Part,
    Other,
}

impl Accept {
    fn of(headers: &HeaderMap) -> Self {
        let mut accept = Self { is_there: false, has_html: false, has_json: false, first: Kind::Other };
        let fields = headers.get_all(header::ACCEPT).iter().filter_map(|field| field.to_str().ok());
        for range in fields.flat_map(|field| field.split(',')) {
            let range = range.split(';').next().unwrap_or(range).trim();
            let is = |wanted: &str| range.eq_ignore_ascii_case(wanted);
            let starts = |wanted: &str| {
                range.get(..wanted.len()).is_some_and(|start| start.eq_ignore_ascii_case(wanted))
            };
            let ends = |wanted: &str| {
                let at = range.len().checked_sub(wanted.len());
                at.and_then(|at| range.get(at..)).is_some_and(|end| end.eq_ignore_ascii_case(wanted))
            };
            accept.has_html |= is("text/html") || is("application/xhtml+xml");
            accept.has_json |= is("application/json") || is("text/json") || ends("+json");
            if !accept.is_there {
                const PARTS: [&str; 6] =
                    ["text/css", "text/javascript", "application/javascript", "font/", "audio/", "video/"];
                accept.first = match () {
                    () if starts("image/") => Kind::Image,
                    () if PARTS.iter().any(|part| starts(part)) => Kind::Part,
                    () => Kind::Other,
                };
            }
            accept.is_there = true;
        }
        accept
    }
}

/// Extensions of what pages are made of.
const PARTS: [&str; 17] = [
    "js", "mjs", "css", "map", "json", "wasm", "woff", "woff2", "ttf", "otf", "eot", "mp3", "mp4", "webm",
    "ogg", "m3u8", "swf",
];
const PICTURES: [&str; 9] = ["png", "gif", "jpg", "jpeg", "webp", "avif", "svg", "ico", "bmp"];

fn by_extension(path: &str) -> Wanted {
    let file = path.rsplit('/').next().unwrap_or(path);
    let Some((_, extension)) = file.rsplit_once('.') else { return Wanted::Page };
    let is_one = |known: &[&str]| known.iter().any(|known| known.eq_ignore_ascii_case(extension));
    if is_one(&PICTURES) {
        Wanted::Picture
    } else if is_one(&PARTS) {
        Wanted::Nothing
    } else {
        Wanted::Page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn people_get_pages_programs_facts_and_parts_nothing() {
        fn check(path: &str, fields: &[(&'static str, &'static str)], expected: Wanted) {
            let got = wanted(&Method::GET, &path.parse().unwrap(), &headers(fields));
            assert_eq!(got, expected, "{path} {fields:?}");
        }
        // As Chromium, Firefox and Internet Explorer 11 send them.
        let document =
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";
        check("/", &[("accept", document)], Wanted::Page);
        check("/a.png", &[("accept", document)], Wanted::Page);
        check("/", &[("accept", "text/html, application/xhtml+xml, */*")], Wanted::Page);
        check("/", &[("accept", document), ("sec-fetch-dest", "document")], Wanted::Page);
        check("/", &[("accept", document), ("sec-fetch-dest", "iframe")], Wanted::Nothing);
        check("/", &[("accept", document), ("sec-purpose", "prefetch;prerender")], Wanted::Nothing);
        let image = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8";
        check("/pixel", &[("accept", image)], Wanted::Picture);
        check("/pixel", &[("accept", image), ("sec-fetch-dest", "image")], Wanted::Picture);
        check("/style", &[("accept", "text/css,*/*;q=0.1")], Wanted::Nothing);
        check("/x", &[("accept", "*/*"), ("sec-fetch-dest", "script")], Wanted::Nothing);
        check("/x", &[("accept", "*/*"), ("sec-fetch-dest", "empty")], Wanted::Nothing);
        check(
            "/x",
            &[("accept", "application/json"), ("sec-fetch-dest", "empty")],
            Wanted::Json(Reader::Script),
        );
        check("/favicon.ico", &[("accept", "*/*")], Wanted::Picture);
        check("/a/jquery.MIN.JS?v=1.2", &[("accept", "*/*")], Wanted::Nothing);
        check("/f.woff2", &[("accept", "*/*")], Wanted::Nothing);
        // Programs.
        check("/", &[("accept", "application/json, text/plain, */*")], Wanted::Json(Reader::Program));
        check("/a.js", &[("accept", "Application/Problem+JSON")], Wanted::Json(Reader::Program));
        check("/", &[("accept", "application/json, text/html")], Wanted::Page);
        check("/gate.php", &[("accept", "*/*")], Wanted::Page);
        check("/a.b/c", &[("accept", "*/*")], Wanted::Page);
        check("/favicon.ico", &[], Wanted::Page);
        check("/", &[("accept", "")], Wanted::Page);
    }

    #[test]
    fn other_methods_are_told_apart() {
        fn check(method: &Method, path: &str, fields: &[(&'static str, &'static str)], expected: Wanted) {
            assert_eq!(wanted(method, &path.parse().unwrap(), &headers(fields)), expected, "{method} {path}");
        }
        check(&Method::POST, SAID_PATH, &[], Wanted::Statement);
        check(&Method::GET, SAID_PATH, &[], Wanted::Page);
        check(&Method::POST, "/gate.php", &[("accept", "*/*")], Wanted::Page);
        check(&Method::OPTIONS, "/", &[], Wanted::Page);
        check(&Method::OPTIONS, "/", &[("access-control-request-method", "PUT")], Wanted::Nothing);
    }

    #[test]
    fn forms_of_other_origins_are_known() {
        fn check(fields: &[(&'static str, &'static str)], expected: bool) {
            assert_eq!(is_own(&headers(fields), Some("evil.example:8080")), expected, "{fields:?}");
        }
        check(&[], true);
        check(&[("origin", "http://evil.example:8080")], true);
        check(&[("origin", "https://EVIL.example:8080"), ("referer", "http://evil.example:8080/a?b")], true);
        check(&[("origin", "http://evil.example")], false);
        check(&[("origin", "http://other.example:8080")], false);
        check(&[("origin", "null")], false);
        check(&[("referer", "http://other.example/")], false);
        check(&[("referer", "http://evil.example:8080.other.example/")], false);
        check(
            &[
                ("sec-fetch-site", "same-origin"),
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", "document"),
            ],
            true,
        );
        check(&[("sec-fetch-site", "cross-site")], false);
        check(&[("sec-fetch-site", "same-site")], false);
        // A script of the same origin that does not even leave its page.
        check(
            &[("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")],
            false,
        );
        assert!(!is_own(&headers(&[("origin", "http://a.example")]), None));
    }
}
