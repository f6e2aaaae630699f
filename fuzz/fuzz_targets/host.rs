//! Any text on the landing page and as a name: it changes no tag, and a name it is stays one.
//!
//! The page is drawn twice: with the text, and with a letter in place of each character that HTML
//! gives a meaning to. Where nothing gets out unescaped, both have the same tags.

#![no_main]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;
use sachdns::name::{Key, Name, from_key};
use sachdns::sinkhole::desk::{Case, Class, Said};
use sachdns::sinkhole::page::{Again, Agency, Design, Listing, MOST_OCTETS, Notice};

fuzz_target!(|text: &str| {
    /// Lines of any page: those of its style sheet.
    static LINES: LazyLock<usize> = LazyLock::new(|| page("x").matches('\n').count());

    let hostile = page(text);
    let harmless = page(&text.replace(['<', '>', '&', '"'], "x"));
    assert_eq!(tags(&hostile), tags(&harmless));
    assert!(!hostile.contains(|c: char| c.is_control() && c != '\n'));
    assert_eq!(hostile.matches('\n').count(), *LINES);
    assert!(hostile.len() <= MOST_OCTETS, "{} bytes", hostile.len());

    if let Ok(name) = Name::from_host(text) {
        check_name(&name);
        assert_eq!(Name::from_host(&name.to_string()).as_ref(), Ok(&name));
    }
    if let Ok(name) = Name::from_presentation(text) {
        check_name(&name);
    }
});

fn page(text: &str) -> String {
    static DESIGN: LazyLock<Design> = LazyLock::new(Design::default);
    let listing = Listing { family: Some(text.to_owned()), feed: text.to_owned(), class: Class::C2 };
    let agency = Agency { name: text.to_owned(), contact: Some(text.to_owned()) };
    let case = Case {
        ticket: "K7-M2Q".to_owned(),
        class: Class::C2,
        name: Some(text.to_owned()),
        family: Some(text.to_owned()),
        machine: Some(text.to_owned()),
        since: 0,
        sightings: 2,
        said: None,
    };
    // The form's reader hands on no more, and nothing that does not show.
    let note: String = text.chars().filter(|c| !c.is_control()).take(300).collect();
    DESIGN.landing(&Notice {
        host: Some(text),
        listing: Some(&listing),
        client: IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3)),
        agency: Some(&agency),
        time: Timestamp::UNIX_EPOCH,
        time_zone: &TimeZone::UTC,
        case: Some((&case, "TOKEN")),
        again: Some(Again { said: Said::Wrong, note: Some(&note) }),
    })
}

/// Everything between angle brackets.
fn tags(page: &str) -> Vec<&str> {
    page.split('<').skip(1).map(|rest| rest.split_once('>').map_or(rest, |(tag, _)| tag)).collect()
}

fn check_name(name: &Name) {
    assert_eq!(Name::from_wire(name.as_wire()).as_ref(), Some(name));
    assert_eq!(Name::from_presentation(&name.to_string()).as_ref(), Ok(name));
    assert_eq!(from_key(Key::from(name).as_bytes()).as_ref(), Some(name));
    assert!(!name.to_string().contains(char::is_control));
}
