//! The landing page's facts for programs that ask for JSON.
//!
//! Field names are a promise to those who read them. A page's script gets no more than that the name is blocked: it runs
//! under whatever name it came from, the malicious one too, whose business the machine is not.

use jiff::Timestamp;
use serde::Serialize;

use super::desk::Class;
use super::page::Notice;
use super::route::Reader;

#[derive(Serialize)]
struct Facts<'a> {
    /// Whether the name is listed.
    blocked: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    family: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    feed: Option<&'a str>,
    time: Timestamp,
    #[serde(flatten)]
    whose: Option<Whose<'a>>,
}

#[derive(Serialize)]
struct Whose<'a> {
    client: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    machine: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agency: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contact: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket: Option<&'a str>,
}

pub(super) fn facts(notice: &Notice<'_>, reader: Reader) -> String {
    let case = notice.case.map(|(case, _)| case);
    let case_of_host = case.filter(|_| notice.is_blocked());
    let class = case_of_host.map(|case| case.class).filter(|class| *class != Class::Unknown);
    let class = class.or_else(|| notice.listing.map(|listing| listing.class));
    let family = case_of_host.and_then(|case| case.family.as_deref());
    let facts = Facts {
        blocked: notice.is_blocked(),
        name: notice.host,
        class: class.map(word),
        family: family.or_else(|| notice.listing.and_then(|listing| listing.family.as_deref())),
        feed: notice.listing.map(|listing| &*listing.feed),
        time: notice.time,
        whose: (reader == Reader::Program).then(|| Whose {
            client: notice.client.to_canonical().to_string(),
            machine: case.and_then(|case| case.machine.as_deref()),
            agency: notice.agency.map(|agency| &*agency.name),
            contact: notice.agency.and_then(|agency| agency.contact.as_deref()),
            ticket: case.map(|case| &*case.ticket),
        }),
    };
    let mut text = serde_json::to_string(&facts).expect("texts, a time and a flag are JSON");
    text.push('\n');
    text
}

fn word(class: Class) -> &'static str {
    match class {
        Class::C2 => "c2",
        Class::Phishing => "phishing",
        Class::Address => "address",
        Class::Scan => "scan",
        Class::Unknown => "unknown",
    }
}
