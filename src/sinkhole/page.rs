//! The landing page: what a person sees in place of a malicious site.
//!
//! Facts in, HTML out: no sockets, no clock, no look-ups, and no sentence (those are in `wording`).
//! The page holds no script and fetches nothing, so that it works on any office machine, with the
//! network cable pulled, and under the strictest policy a browser enforces ([`SECURITY_POLICY`]).
//! Block layout only: old browsers, Internet Explorer 11 among them, lay it out too.

use std::net::IpAddr;

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::wording::{ENGLISH, Message, VIETNAMESE, Wording};

/// Why a host is taken for malicious. Feeds wrote it: the text may hold anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The malware family, where the feed says so.
    pub family: Option<String>,
    /// The name of the feed that lists it.
    pub feed: String,
}

/// Who looks after the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agency {
    /// Its name, as people write it.
    pub name: String,
    /// Whom to call there: a telephone number, an address, a room.
    pub contact: Option<String>,
}

/// What one landing page tells.
#[derive(Debug, Clone)]
pub struct Notice<'a> {
    /// What the browser asked for, without port and as it sent it; hostile until shown.
    pub host: Option<&'a str>,
    /// Why the host is listed; `None` when it is not, or not any more.
    pub listing: Option<&'a Listing>,
    /// The address the request came from.
    pub client: IpAddr,
    /// Whose machine that is, if known.
    pub agency: Option<&'a Agency>,
    /// When the request came.
    pub time: Timestamp,
    /// The zone in which to tell the time.
    pub time_zone: &'a TimeZone,
}

const STYLE: &str = include_str!("page.css");

/// The `Content-Security-Policy` that the page needs: this one style sheet, and nothing else.
///
/// The hash is that of the style sheet (CSP level 3, section 2.3.1); a test computes it anew.
pub const SECURITY_POLICY: &str = "default-src 'none'; \
     style-src 'sha256-RJ76ghMAUHl857hjxUO01VHzANOUQhrJXoR6dvKeo4k='; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Most characters shown of a host: a domain name has no more.
const MAX_HOST: usize = 255;
/// Most characters shown of a family or a feed's name.
const MAX_FAMILY: usize = 80;
/// Most characters shown of an agency's name or contact.
const MAX_AGENCY: usize = 160;

/// The zone of Vietnam, from the machine's zone files or, where it has none, as the fixed offset
/// that has been in force since 1975.
pub fn vietnam() -> TimeZone {
    TimeZone::get("Asia/Ho_Chi_Minh").unwrap_or_else(|_| TimeZone::fixed(Offset::constant(7)))
}

/// Draws the page: Vietnamese first, English below it.
///
/// Some 9 kB, and less than 20 kB whatever the notice holds.
pub fn render(notice: &Notice<'_>) -> String {
    let tone = match notice.listing {
        Some(_) => "grave",
        None => "calm",
    };
    html! {
        (DOCTYPE)
        html lang="vi" {
            head {
                meta charset="utf-8";
                // Offices switch Internet Explorer to version 7 for what looks like their intranet.
                meta http-equiv="X-UA-Compatible" content="IE=edge";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="robots" content="noindex";
                meta name="color-scheme" content="light dark";
                title { (message(notice, &VIETNAMESE).title) }
                style { (PreEscaped(STYLE)) }
            }
            body class=(tone) {
                (part(notice, &VIETNAMESE))
                (part(notice, &ENGLISH))
            }
        }
    }
    .into_string()
}

/// A shield with an exclamation mark, drawn in place: the page fetches no picture.
const SHIELD: &str = "<svg width=\"37\" height=\"44\" viewBox=\"0 0 37 44\" aria-hidden=\"true\" \
     focusable=\"false\"><path fill=\"none\" stroke=\"#fff\" stroke-width=\"3\" stroke-linejoin=\"round\" \
     d=\"M18.5 2.5 34.5 8v13c0 10-6.5 17-16 20.5C9 38 2.5 31 2.5 21V8z\"/><path fill=\"#fff\" \
     d=\"M16.3 12h4.4v12.5h-4.4zM16.3 27.5h4.4v4.4h-4.4z\"/></svg>";

/// The whole page in one language.
fn part(notice: &Notice<'_>, wording: &Wording) -> Markup {
    let Message { title, lead, action } = message(notice, wording);
    html! {
        section id=(wording.language) lang=(wording.language) {
            div.band {
                div.wide {
                    a href={ "#" (wording.other) } lang=(wording.other) hreflang=(wording.other) {
                        (wording.other_name)
                    }
                    p { (wording.sender) }
                    (PreEscaped(SHIELD))
                    h1 { (title) }
                }
            }
            div.wide.text {
                p { (lead) }
                (facts(notice, wording))
                @if notice.listing.is_some() {
                    h2 { (action) }
                    (steps(wording))
                } @else {
                    p { (action) }
                }
                div.note {
                    @if notice.listing.is_some() { p { (wording.mistake) } }
                    p { (wording.promise) }
                }
            }
        }
    }
}

fn steps(wording: &Wording) -> Markup {
    html! {
        ol {
            @for (gist, rest) in &wording.steps {
                li { strong { (gist) } (rest) }
            }
        }
    }
}

fn message<'a>(notice: &Notice<'_>, wording: &'a Wording) -> &'a Message {
    match notice.listing {
        Some(_) => &wording.listed,
        None => &wording.unlisted,
    }
}

fn facts(notice: &Notice<'_>, wording: &Wording) -> Markup {
    let words = &wording.facts;
    let time = notice.time.to_zoned_datetime(notice.time_zone.clone());
    html! {
        table {
            caption { (words.caption) }
            @if let Some(host) = notice.host {
                tr { th scope="row" { (words.host) } td.exact { (shown_host(host)) } }
            }
            tr {
                th scope="row" { (words.time) }
                td { time datetime=(notice.time) { (time.strftime(words.time_form)) } }
            }
            @if let Some(listing) = notice.listing {
                tr {
                    th scope="row" { (words.family) }
                    td {
                        @match &listing.family {
                            Some(family) => bdi { (shown_text(family, MAX_FAMILY)) },
                            None => (words.no_family),
                        }
                    }
                }
                tr { th scope="row" { (words.feed) } td { bdi { (shown_text(&listing.feed, MAX_FAMILY)) } } }
            }
            tr { th scope="row" { (words.client) } td.exact { (notice.client.to_canonical()) } }
            tr {
                th scope="row" { (words.agency) }
                td {
                    @match notice.agency {
                        Some(agency) => bdi lang="vi" { (shown_text(&agency.name, MAX_AGENCY)) },
                        None => (words.no_agency),
                    }
                }
            }
            @if let Some(contact) = notice.agency.and_then(|agency| agency.contact.as_deref()) {
                tr {
                    th scope="row" { (words.contact) }
                    td { bdi lang="vi" { (shown_text(contact, MAX_AGENCY)) } }
                }
            }
        }
    }
}

/// A host with only printable ASCII as it is.
///
/// Browsers send A-labels, so nothing honest is lost, and no look-alike letter, invisible mark or
/// right-to-left override can make one name read as another.
fn shown_host(host: &str) -> String {
    shown(host, MAX_HOST, |c| c.is_ascii_graphic())
}

/// People's text in any script, without what could hide or reorder it.
fn shown_text(text: &str, limit: usize) -> String {
    shown(text, limit, |c| !c.is_control() && !is_invisible(c))
}

/// Shows at most `limit` characters, the ones that are not `legible` as `\u{…}`.
fn shown(text: &str, limit: usize, legible: impl Fn(char) -> bool) -> String {
    let mut shown = String::new();
    let mut left = limit;
    for c in text.chars() {
        let is_legible = legible(c);
        let width = if is_legible { 1 } else { c.escape_unicode().len() };
        if width > left {
            shown.push('…');
            break;
        }
        left -= width;
        if is_legible {
            shown.push(c);
        } else {
            shown.extend(c.escape_unicode());
        }
    }
    shown
}

/// Unicode's zero-width and bidirectional formatting characters, separators of lines, and tags.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    use sha2::{Digest, Sha256};

    use super::*;

    fn listing(family: Option<&str>, feed: &str) -> Listing {
        Listing { family: family.map(str::to_owned), feed: feed.to_owned() }
    }

    fn agency(name: &str, contact: Option<&str>) -> Agency {
        Agency { name: name.to_owned(), contact: contact.map(str::to_owned) }
    }

    fn notice<'a>(
        host: Option<&'a str>,
        listing: Option<&'a Listing>,
        agency: Option<&'a Agency>,
        time_zone: &'a TimeZone,
    ) -> Notice<'a> {
        let time = "2022-08-29T17:04:05Z".parse().unwrap();
        Notice { host, listing, client: IpAddr::from([10, 1, 2, 3]), agency, time, time_zone }
    }

    #[test]
    fn all_facts_stand_in_both_languages() {
        let listing = listing(Some("Emotet"), "authority");
        let agency = agency("Sở Thông tin và Truyền thông", Some("Phòng CNTT, máy lẻ 115"));
        let zone = vietnam();
        let page = render(&notice(Some("evil.example"), Some(&listing), Some(&agency), &zone));
        assert!(page.starts_with("<!DOCTYPE html><html lang=\"vi\">"), "{page}");
        for fact in ["evil.example", "Emotet", "authority", "10.1.2.3", "Sở Thông tin", "máy lẻ 115"] {
            assert_eq!(page.matches(fact).count(), 2, "{fact}");
        }
        for text in [
            "00:04:05 ngày 30/08/2022 (UTC+07:00)",
            "00:04:05, 30 August 2022 (UTC+07:00)",
            "href=\"#en\"",
            "section id=\"en\" lang=\"en\"",
            "<meta name=\"robots\" content=\"noindex\">",
        ] {
            assert!(page.contains(text), "{text}");
        }
    }

    #[test]
    fn what_is_unknown_is_said_to_be() {
        let listing = listing(None, "authority");
        let zone = vietnam();
        let page = render(&notice(Some("evil.example"), Some(&listing), None, &zone));
        for text in ["chưa phân loại", "unclassified", "chưa xác định", "not known"] {
            assert!(page.contains(text), "{text}");
        }
        assert!(!page.contains("Liên hệ"), "a contact without an agency");
    }

    #[test]
    fn without_a_listing_nothing_is_called_malicious_and_no_step_is_asked() {
        let zone = vietnam();
        for host in [None, Some("10.10.10.10"), Some("intranet.example")] {
            let page = render(&notice(host, None, None, &zone));
            assert!(page.contains(VIETNAMESE.unlisted.title) && page.contains(ENGLISH.unlisted.title));
            assert!(!page.contains(VIETNAMESE.listed.title) && !page.contains("<ol>"), "{page}");
            assert_eq!(
                page.contains("<td class=\"exact\">intranet.example"),
                host == Some("intranet.example")
            );
        }
    }

    #[test]
    fn hostile_hosts_show_as_harmless_text() {
        fn check(host: &str, expected: &str) {
            let (zone, listing) = (vietnam(), listing(None, "authority"));
            let page = render(&notice(Some(host), Some(&listing), None, &zone));
            let cell = format!("<td class=\"exact\">{expected}</td>");
            assert_eq!(page.matches(&cell).count(), 2, "{host:?}: {page}");
        }
        check("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;");
        check("\"'><b>&amp;", "&quot;'&gt;&lt;b&gt;&amp;amp;");
        check("moc.\u{202e}elpmaxe", "moc.\\u{202e}elpmaxe");
        check("zero\u{200b}width", "zero\\u{200b}width");
        check("p\u{430}ypal.example", "p\\u{430}ypal.example");
        check("a\r\nb\0c d", "a\\u{d}\\u{a}b\\u{0}c\\u{20}d");
        check("bytes\u{fffd}", "bytes\\u{fffd}");
        check(&"a".repeat(255), &"a".repeat(255));
        check(&"a".repeat(16_000), &format!("{}…", "a".repeat(255)));
        check(&format!("{}\u{202e}", "a".repeat(250)), &format!("{}…", "a".repeat(250)));
    }

    #[test]
    fn feeds_and_agencies_keep_their_letters_but_hide_nothing() {
        assert_eq!(shown_text("Mã độc đào tiền ảo", MAX_FAMILY), "Mã độc đào tiền ảo");
        assert_eq!(shown_text("a\u{202e}b\u{2066}c\u{7f}\n", MAX_FAMILY), r"a\u{202e}b\u{2066}c\u{7f}\u{a}");
        assert_eq!(shown_text(&"ế".repeat(81), MAX_FAMILY), format!("{}…", "ế".repeat(80)));
    }

    #[test]
    fn the_page_stays_small() {
        // The characters that take the most bytes once they are escaped.
        let long = "\"".repeat(20_000);
        let zone = vietnam();
        let usual = listing(Some("Emotet"), "authority");
        let page = render(&notice(Some("evil.example"), Some(&usual), None, &zone));
        assert!(page.len() < 12_000, "{} bytes", page.len());
        let (listing, agency) = (listing(Some(&long), &long), agency(&long, Some(&long)));
        let worst = render(&notice(Some(&long), Some(&listing), Some(&agency), &zone));
        assert!(worst.len() < 20_000, "{} bytes", worst.len());
    }

    #[test]
    fn nothing_is_fetched_run_or_sent() {
        let listing = listing(Some("Emotet"), "authority");
        let zone = vietnam();
        let page = render(&notice(Some("evil.example"), Some(&listing), None, &zone));
        for mark in
            ["<script", "<link", "<img", "<form", "<iframe", "src=", "style=", "url(", "@import", "http:"]
        {
            assert!(!page.contains(mark), "{mark}");
        }
    }

    #[test]
    fn the_policy_names_this_style_sheet() {
        let hash = BASE64_STANDARD.encode(Sha256::digest(STYLE));
        assert!(SECURITY_POLICY.contains(&format!("'sha256-{hash}'")), "put 'sha256-{hash}' there");
        let zone = vietnam();
        let page = render(&notice(None, None, None, &zone));
        assert!(page.contains(&format!("<style>{STYLE}</style>")), "the hash is that of the element's text");
        // A browser turns CR LF into LF before it hashes.
        assert!(!STYLE.contains('\r'));
    }
}
