//! What an officer is shown on pages, in exports and in reports that are made: the own agency's, and nothing of another's.

use super::super::access::Role;
use super::super::house::House;
use super::{AGENCIES, MARKERS, NOW, Scratch, officer, text, viewer};
use crate::cases::{Actor, CaseFilter};

/// Pages and exports that tell of an agency, with what each says of the own one.
const PAGES: [&str; 17] = [
    "/",
    "/alerts",
    "/alerts/export?format=csv",
    "/alerts/export?format=jsonl",
    "/cases?state=all",
    "/cases/export?format=csv&state=all",
    "/contacts",
    "/contacts/export?format=jsonl",
    "/coverage",
    "/coverage?infected=1",
    "/coverage?agency=so-tttt",
    "/coverage/export?format=csv",
    "/coverage/export?format=jsonl&infected=1",
    "/log?since=24h",
    "/log/export?format=csv&since=24h",
    "/machines",
    "/machines/export?format=csv",
];

/// A scratch house in which people say of each agency's case that it is a mistake.
fn doubted() -> std::sync::Arc<Scratch> {
    let scratch = Scratch::new();
    let desk = scratch.desk().unwrap();
    for case in desk.list(&CaseFilter::default()).unwrap() {
        desk.said_wrong(case.id, "", &Actor::Visitor(case.client), NOW).unwrap();
    }
    scratch
}

#[test]
fn each_page_tells_an_officer_of_the_own_agency_alone() {
    let scratch = doubted();
    for page in PAGES {
        let shown = |viewer| text(scratch.get(&viewer, page).unwrap());
        let (own, all) = (shown(officer(0)), shown(viewer(Role::Analyst)));
        assert!(own.contains(MARKERS[0]), "{page}: {own}");
        assert!(!own.contains(MARKERS[1]) && !own.contains(AGENCIES[1]), "{page}: {own}");
        assert!(all.contains(MARKERS[0]), "{page}: {all}");
        assert!(page.contains("agency=") || all.contains(MARKERS[1]), "{page}: {all}");
    }
    // Whatever is asked for.
    for page in ["/coverage", "/coverage/export", "/alerts", "/machines", "/contacts", "/log"] {
        let asked = format!("{page}?agency={}&format=csv", AGENCIES[1]);
        let own = text(scratch.get(&officer(0), &asked).unwrap());
        assert!(!own.contains(MARKERS[1]), "{asked}: {own}");
    }
}

#[test]
fn an_officers_report_is_of_the_own_agency() {
    let scratch = doubted();
    for format in ["json", "csv", "html", "docx", "xlsx"] {
        for asked in ["", AGENCIES[0], AGENCIES[1]] {
            let wanted =
                [("from", "2026-11-20"), ("to", "2026-11-26"), ("format", format), ("agency", asked)];
            let wanted = if asked.is_empty() { &wanted[..3] } else { &wanted[..] };
            // Of another agency there is none, or it is the own one's.
            let Ok(made) = scratch.post(&officer(0), "/reports", wanted) else {
                assert_eq!(asked, AGENCIES[1]);
                continue;
            };
            let made = text(made);
            assert!(!made.contains(MARKERS[1]) && !made.contains(AGENCIES[1]), "{format} {asked}: {made}");
            if ["json", "csv", "html"].contains(&format) {
                assert!(made.contains(MARKERS[0]), "{format} {asked}: {made}");
            }
        }
    }
    let province = [("from", "2026-11-20"), ("to", "2026-11-26"), ("format", "json")];
    let all = text(scratch.post(&viewer(Role::Analyst), "/reports", &province).unwrap());
    assert!(MARKERS.iter().all(|marker| all.contains(marker)), "{all}");
    assert!(scratch.post(&viewer(Role::Analyst), "/reports", &province[..2]).is_err());
    assert!(scratch.get(&officer(0), "/reports/2026-10.json").is_err());
}
