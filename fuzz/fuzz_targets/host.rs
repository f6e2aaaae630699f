//! Any text on the landing page and as a name: it changes no tag, and a name it is stays one.
//!
//! The page is drawn twice: with the text, and with a letter in place of each character that HTML
//! gives a meaning to. Where nothing gets out unescaped, the two differ in these places alone.

#![no_main]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;
use sachdns::name::{Key, Name, from_key};
use sachdns::sinkhole::page::{Agency, Listing, Notice, render};

fuzz_target!(|text: &str| {
    /// Lines of any page: those of its style sheet.
    static LINES: LazyLock<usize> = LazyLock::new(|| page("x").matches('\n').count());

    let hostile = page(text);
    let harmless = page(&text.replace(['<', '>', '&', '"'], "x"));
    assert_eq!(flattened(&hostile), flattened(&harmless));
    assert!(!hostile.contains(|c: char| c.is_control() && c != '\n'));
    assert_eq!(hostile.matches('\n').count(), *LINES);
    assert!(hostile.len() < 20_000, "{} bytes", hostile.len());

    if let Ok(name) = Name::from_host(text) {
        check_name(&name);
        assert_eq!(Name::from_host(&name.to_string()).as_ref(), Ok(&name));
    }
    if let Ok(name) = Name::from_presentation(text) {
        check_name(&name);
    }
});

fn page(text: &str) -> String {
    let listing = Listing { family: Some(text.to_owned()), feed: text.to_owned() };
    let agency = Agency { name: text.to_owned(), contact: Some(text.to_owned()) };
    render(&Notice {
        host: Some(text),
        listing: Some(&listing),
        client: IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3)),
        agency: Some(&agency),
        time: Timestamp::UNIX_EPOCH,
        time_zone: &TimeZone::UTC,
    })
}

/// The page with a letter in place of every character reference.
fn flattened(page: &str) -> String {
    ["&lt;", "&gt;", "&amp;", "&quot;"].iter().fold(page.to_owned(), |page, entity| page.replace(entity, "x"))
}

fn check_name(name: &Name) {
    assert_eq!(Name::from_wire(name.as_wire()).as_ref(), Some(name));
    assert_eq!(Name::from_presentation(&name.to_string()).as_ref(), Ok(name));
    assert_eq!(from_key(Key::from(name).as_bytes()).as_ref(), Some(name));
    assert!(!name.to_string().contains(char::is_control));
}
