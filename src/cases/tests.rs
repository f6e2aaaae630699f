//! What the desk promises: what was seen becomes one case a machine, family and class, and nothing is lost or counted twice.

use std::cell::Cell;
use std::path::Path;

use super::desk::visitor;
use super::lifecycle::DAY;
use super::*;
use crate::identity::MachineId;

const NOON: i64 = 20_000 * DAY + 5 * 3_600_000_000;
const SECOND: i64 = 1_000_000;

thread_local! {
    static DICE: Cell<u64> = const { Cell::new(1) };
}

/// Numbers that a test can foresee.
fn dice() -> u64 {
    DICE.with(|dice| {
        dice.set(dice.get() + 1);
        dice.get() * 7_919
    })
}

fn desk(folder: &Path) -> Desk {
    Desk::open(folder, Options { quiet_days: 2, dice, ..Options::default() }).unwrap()
}

fn machine(number: u64) -> Subject {
    Subject::Machine(MachineId(number))
}

fn sighting(machine: Subject, family: &str, time: i64) -> Sighting {
    Sighting {
        time,
        client: "10.1.2.3".parse().unwrap(),
        machine,
        host: Some("PC-17".to_owned()),
        agency: Some("so-tttt".to_owned()),
        family: family.to_owned(),
        class: Class::C2,
        name: "evil.example".to_owned(),
        evidence: Evidence::Query,
        count: 1,
        officer: None,
    }
}

fn by() -> Actor {
    Actor::Person("Lê Văn A".to_owned())
}

fn only(desk: &Desk) -> Case {
    let cases = desk.list(&CaseFilter::default()).unwrap();
    assert_eq!(cases.len(), 1, "{cases:#?}");
    cases.into_iter().next().unwrap()
}

fn whats(desk: &Desk, id: CaseId) -> Vec<What> {
    desk.get(id).unwrap().unwrap().steps.iter().map(|step| step.what).collect()
}

#[test]
fn a_family_is_the_same_however_a_feed_writes_it() {
    let folder = tempfile::tempdir().unwrap();
    let desk = desk(folder.path());
    for (number, family) in
        (0..).zip(["Emotet", "emotet", "EMOTET", "Lừa đảo", "LỪA ĐẢO", "Lu\u{31b}\u{300}a đảo"])
    {
        let seen = sighting(machine(17), family, NOON + number * SECOND);
        desk.sighting(&seen, NOON + number * SECOND).unwrap();
    }
    let mut found: Vec<_> = desk
        .list(&CaseFilter::default())
        .unwrap()
        .into_iter()
        .map(|case| (case.family, case.queries))
        .collect();
    found.sort();
    assert_eq!(found, [("Emotet".to_owned(), 3), ("Lừa đảo".to_owned(), 3)], "the first spelling stays");
    let other = Sighting { class: Class::Phishing, ..sighting(machine(17), "emotet", NOON) };
    assert_eq!(desk.sighting(&other, NOON).unwrap(), Effect::Opened, "another class is another case");
}

#[test]
fn a_machine_and_a_family_are_one_case() {
    let folder = tempfile::tempdir().unwrap();
    let desk = desk(folder.path());
    let first = sighting(machine(17), "emotet", NOON);
    assert_eq!(desk.sighting(&first, NOON + 5).unwrap(), Effect::Opened);
    let later = Sighting { time: NOON + SECOND, count: 3, ..first.clone() };
    assert_eq!(desk.sighting(&later, NOON + 6).unwrap(), Effect::Added);
    let contact = Sighting { evidence: Evidence::Contact(9), time: NOON + 2 * SECOND, ..first.clone() };
    assert_eq!(desk.sighting(&contact, NOON + 7).unwrap(), Effect::Added);
    // What became known late counts, and changes no time.
    let late = Sighting { time: NOON + SECOND / 2, ..first.clone() };
    assert_eq!(desk.sighting(&late, NOON + 8).unwrap(), Effect::Added);
    let case = only(&desk);
    assert_eq!((case.queries, case.contacts), (5, 1));
    assert_eq!((case.course.first_hit, case.course.last_hit), (NOON, NOON + 2 * SECOND));
    assert_eq!(desk.by_ticket(case.ticket).unwrap().as_ref(), Some(&case));
    let file = desk.get(case.id).unwrap().unwrap();
    assert_eq!(file.tickets, [case.ticket]);
    let traces: Vec<_> = file.traces.iter().map(|it| (it.evidence, it.count)).collect();
    assert_eq!(traces, [(Evidence::Query, 5), (Evidence::Contact(9), 1)]);
    // Another family, class or machine is another case.
    let others = [
        Sighting { family: "qakbot".to_owned(), ..first.clone() },
        Sighting { class: Class::Phishing, ..first.clone() },
        Sighting { machine: machine(18), ..first.clone() },
        Sighting { machine: Subject::Address(first.client), ..first },
    ];
    for other in &others {
        assert_eq!(desk.sighting(other, NOON).unwrap(), Effect::Opened);
    }
    assert_eq!(desk.list(&CaseFilter::default()).unwrap().len(), 5);
    // All of it is there for whoever opens it next, another process too.
    let again = self::desk(folder.path());
    assert_eq!(again.list(&CaseFilter::default()).unwrap(), desk.list(&CaseFilter::default()).unwrap());
}

#[test]
fn what_a_scan_began_with_is_one_case_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let desk = desk(folder.path());
    let contact = |family: &str, time| Sighting {
        evidence: Evidence::Contact(9),
        ..sighting(machine(1), family, time)
    };
    // One of before, one that it asked for, and two by which it began.
    desk.sighting(&contact("qakbot", NOON - 100 * SECOND), NOON - 100 * SECOND).unwrap();
    desk.sighting(&sighting(machine(1), "dridex", NOON), NOON).unwrap();
    for family in ["emotet", "trickbot"] {
        desk.sighting(&contact(family, NOON), NOON).unwrap();
    }
    for _ in 0..2 {
        desk.recast_as_scan(machine(1), NOON - 60 * SECOND, NOON + SECOND).unwrap();
        let mut cases: Vec<_> = desk.list(&CaseFilter::default()).unwrap();
        cases.sort_by_key(|case| case.id);
        let found: Vec<_> = cases.iter().map(|it| (it.family.as_str(), it.class, it.contacts)).collect();
        let expected = [("qakbot", Class::C2, 1), ("dridex", Class::C2, 0), ("", Class::Scan, 2)];
        assert_eq!(found, expected);
    }
    assert_eq!(whats(&desk, CaseId(3)), [What::Opened, What::Opened, What::Judged, What::Merged]);
}

#[test]
fn a_case_closes_when_it_was_quiet_and_opens_again_with_its_history() {
    let folder = tempfile::tempdir().unwrap();
    let desk = desk(folder.path());
    desk.sighting(&sighting(machine(1), "emotet", NOON), NOON).unwrap();
    let case = only(&desk);
    desk.told(case.id, "điện thoại", &by(), NOON + SECOND).unwrap();
    desk.said_clean(case.id, "", &visitor("10.1.2.3".parse().unwrap()), NOON + 60 * SECOND).unwrap();
    // Off is not clean.
    for day in 1..6 {
        desk.tick(NOON + day * DAY).unwrap();
    }
    assert_eq!(only(&desk).course.state, State::Cleaned);
    for day in 6..9 {
        assert!(only(&desk).course.is_open(), "day {day}");
        desk.tick(NOON + day * DAY).unwrap();
        desk.asked(&[(machine(1), NOON + day * DAY), (machine(2), NOON)], NOON + day * DAY).unwrap();
    }
    let closed = only(&desk);
    assert_eq!((closed.course.state, closed.course.time_to_clean()), (State::Closed, Some(60 * SECOND)));
    let again = sighting(machine(1), "emotet", NOON + 20 * DAY);
    assert_eq!(desk.sighting(&again, NOON + 20 * DAY).unwrap(), Effect::Reopened);
    let case = only(&desk);
    assert_eq!((case.course.state, case.course.reopened, case.ticket), (State::New, 1, closed.ticket));
    use What::{Closed, Notified, Opened, Reopened, SaidClean, Watched};
    assert_eq!(whats(&desk, case.id), [Opened, Notified, SaidClean, Watched, Closed, Reopened]);
}

#[test]
fn two_addresses_that_are_one_machine_become_one_case() {
    let folder = tempfile::tempdir().unwrap();
    let desk = desk(folder.path());
    let address = Subject::Address("10.1.2.3".parse().unwrap());
    desk.sighting(&sighting(address, "emotet", NOON), NOON).unwrap();
    desk.sighting(&sighting(address, "qakbot", NOON + SECOND), NOON).unwrap();
    let other = Sighting { client: "10.1.9.9".parse().unwrap(), ..sighting(machine(5), "emotet", NOON) };
    desk.sighting(&other, NOON).unwrap();
    let of = |desk: &Desk, subject, family| desk.find(subject, family, Class::C2).unwrap();
    let (one, two) = (of(&desk, address, "emotet").unwrap(), of(&desk, machine(5), "emotet").unwrap());
    desk.note(one.id, "gọi không ai nhấc máy", &by(), NOON + SECOND).unwrap();
    assert_eq!(desk.identify(address, machine(5), None, &Actor::Server, NOON + 2 * SECOND).unwrap(), 2);
    assert_eq!(of(&desk, address, "emotet"), None);
    let case = of(&desk, machine(5), "emotet").unwrap();
    assert_eq!(case.queries, 2);
    let file = desk.get(case.id).unwrap().unwrap();
    for ticket in [one.ticket, two.ticket] {
        assert_eq!(desk.by_ticket(ticket).unwrap().as_ref(), Some(&case));
        assert!(file.tickets.contains(&ticket));
    }
    assert_eq!(file.traces.len(), 2);
    assert!(file.steps.iter().any(|step| step.note == "gọi không ai nhấc máy"));
    assert_eq!(file.steps.last().unwrap().what, What::Merged);
    // One without a counterpart only changes hands.
    let moved = of(&desk, machine(5), "qakbot").unwrap();
    assert_eq!(whats(&desk, moved.id), [What::Opened, What::Identified]);
    // C2 and phishing are never added up.
    let phishing = Sighting { class: Class::Phishing, ..sighting(machine(5), "emotet", NOON) };
    desk.sighting(&phishing, NOON).unwrap();
    let phishing = desk.find(machine(5), "emotet", Class::Phishing).unwrap().unwrap();
    let refused = desk.merge(phishing.id, case.id, "", &by(), NOON).unwrap_err();
    assert!(matches!(refused, DeskError::Different(..)), "{refused}");
    assert!(matches!(desk.merge(case.id, case.id, "", &by(), NOON), Err(DeskError::Same)));
}

#[test]
fn a_false_positive_is_proposed_and_nothing_else_is_silenced() {
    let folder = tempfile::tempdir().unwrap();
    let desk = desk(folder.path());
    desk.sighting(&sighting(machine(1), "emotet", NOON), NOON).unwrap();
    let case = only(&desk);
    let done = desk.verdict(case.id, Verdict::FalsePositive, &[], "trang của đối tác", &by(), NOON + 1);
    assert_eq!(done.unwrap().course.state, State::Closed);
    let proposals = desk.proposals().unwrap();
    assert_eq!(proposals.len(), 1);
    assert_eq!((&*proposals[0].name, proposals[0].ticket), ("evil.example", case.ticket));
    // The name still hits until an analyst allows it, and that is no news.
    let later = sighting(machine(1), "emotet", NOON + DAY);
    assert_eq!(desk.sighting(&later, NOON + DAY).unwrap(), Effect::Harmless);
    assert_eq!(only(&desk).queries, 2);
    // Another name of the family is.
    let other = Sighting { name: "worse.example".to_owned(), time: NOON + DAY + 1, ..later.clone() };
    assert_eq!(desk.sighting(&other, NOON + DAY).unwrap(), Effect::Reopened);
    desk.close(case.id, "thử", &by(), NOON + DAY + 2).unwrap();
    desk.verdict(
        case.id,
        Verdict::FalsePositive,
        &["evil.example".to_owned()],
        "nhầm",
        &by(),
        NOON + DAY + 3,
    )
    .unwrap();
    // Nor does the verdict hold once an analyst has declined it.
    desk.decline(proposals[0].id, "là C2 thật", &by(), NOON + DAY + 4).unwrap();
    assert!(matches!(desk.decline(99, "x", &by(), NOON), Err(DeskError::NoProposal(99))));
    let again = sighting(machine(1), "emotet", NOON + 2 * DAY);
    assert_eq!(desk.sighting(&again, NOON + 2 * DAY).unwrap(), Effect::Reopened);
    assert_eq!(only(&desk).verdict, None);
}

#[test]
fn nothing_grows_without_bound() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { most_open: 2, dice, ..Options::default() };
    let desk = Desk::open(folder.path(), options).unwrap();
    for (number, expected) in [(1, Effect::Opened), (2, Effect::Opened), (3, Effect::Refused)] {
        assert_eq!(desk.sighting(&sighting(machine(number), "a", NOON), NOON).unwrap(), expected);
    }
    let case = desk.find(machine(1), "a", Class::C2).unwrap().unwrap();
    let many: Vec<_> =
        (1..1000).map(|minute| sighting(machine(1), "a", NOON + minute * 60 * SECOND)).collect();
    desk.sightings(&many, &Notes::default(), NOON).unwrap();
    let file = desk.get(case.id).unwrap().unwrap();
    assert_eq!(file.case.queries, 1000);
    assert!(file.traces.len() <= 220, "{}", file.traces.len());
    assert_eq!(file.traces[0].first, NOON, "the first stay");
    assert_eq!(file.traces.last().unwrap().last, NOON + 999 * 60 * SECOND);
    let visitor = visitor("10.1.2.3".parse().unwrap());
    let said = (0..100).filter(|_| desk.said_wrong(case.id, "x", &visitor, NOON).is_ok()).count();
    assert_eq!(said, 20);
    assert!(desk.said_wrong(case.id, "x", &visitor, NOON + 2 * DAY).is_ok(), "another day");
    assert!(matches!(desk.note(case.id, &"x".repeat(3000), &by(), NOON), Err(DeskError::Text { .. })));
    assert!(matches!(desk.note(case.id, "\x1b[31m", &by(), NOON), Err(DeskError::Text { .. })));
    // What is old goes, but for what is open.
    desk.close(case.id, "xong", &by(), NOON).unwrap();
    desk.tick(NOON + 1095 * DAY - 1).unwrap();
    assert!(desk.get(case.id).unwrap().is_some());
    desk.tick(NOON + 1096 * DAY).unwrap();
    assert!(desk.get(case.id).unwrap().is_none());
    assert_eq!(desk.by_ticket(case.ticket).unwrap(), None);
    assert_eq!(desk.list(&CaseFilter::default()).unwrap().len(), 1);
}

#[test]
fn lists_are_filtered() {
    let folder = tempfile::tempdir().unwrap();
    let desk = desk(folder.path());
    desk.sighting(&sighting(machine(1), "emotet", NOON), NOON).unwrap();
    let other = Sighting {
        agency: Some("so-yt".to_owned()),
        client: "10.2.0.1".parse().unwrap(),
        class: Class::Phishing,
        officer: Some("Trần Thị B".to_owned()),
        ..sighting(machine(2), "fake bank", NOON + SECOND)
    };
    desk.sighting(&other, NOON).unwrap();
    let check = |filter: CaseFilter, expected: &[u64]| {
        let found: Vec<_> = desk.list(&filter).unwrap().iter().map(|case| case.subject).collect();
        let expected: Vec<_> = expected.iter().map(|number| machine(*number)).collect();
        assert_eq!(found, expected, "{filter:?}");
    };
    let all = CaseFilter::default;
    check(all(), &[2, 1]);
    check(CaseFilter { limit: Some(1), ..all() }, &[2]);
    check(CaseFilter { agency: Some("so-tttt".to_owned()), ..all() }, &[1]);
    check(CaseFilter { family: Some("emotet".to_owned()), ..all() }, &[1]);
    check(CaseFilter { class: Some(Class::Phishing), ..all() }, &[2]);
    check(CaseFilter { subject: Some(machine(1)), ..all() }, &[1]);
    check(CaseFilter { client: Some("10.2.0.1".parse().unwrap()), ..all() }, &[2]);
    check(CaseFilter { officer: Some("Trần Thị B".to_owned()), ..all() }, &[2]);
    check(CaseFilter { states: vec![State::Closed], ..all() }, &[]);
    check(CaseFilter { states: vec![State::New, State::Closed], ..all() }, &[2, 1]);
    check(CaseFilter { since: Some(NOON + 1), ..all() }, &[2]);
    check(CaseFilter { until: Some(NOON + 1), ..all() }, &[1]);
}

#[test]
fn marks_move_with_what_they_mark() {
    let folder = tempfile::tempdir().unwrap();
    let desk = desk(folder.path());
    assert_eq!(desk.mark("contacts").unwrap(), None);
    let notes = Notes {
        marks: [("contacts", 7), ("log 1", 2), ("log 2", 3)].map(|(key, to)| (key.to_owned(), to)).into(),
        kept: vec![("a".to_owned(), Some("one".to_owned())), ("b".to_owned(), Some("two".to_owned()))],
    };
    desk.sightings(&[sighting(machine(1), "a", NOON)], &notes, NOON).unwrap();
    assert_eq!(desk.mark("contacts").unwrap(), Some(7));
    assert_eq!(desk.marks("log ").unwrap(), [("log 1".to_owned(), 2), ("log 2".to_owned(), 3)]);
    assert_eq!(desk.kept().unwrap(), ["one", "two"]);
    desk.forget_marks(&["log 1".to_owned()]).unwrap();
    let notes = Notes { kept: vec![("a".to_owned(), None)], ..Notes::mark("log 2", 9) };
    desk.sightings(&[], &notes, NOON).unwrap();
    assert_eq!(desk.marks("log ").unwrap(), [("log 2".to_owned(), 9)]);
    assert_eq!(desk.kept().unwrap(), ["two"]);
}

#[test]
fn what_grows_counts_and_opens_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let desk = desk(folder.path());
    let contact = Sighting { evidence: Evidence::Contact(9), ..sighting(machine(1), "a", NOON) };
    desk.sighting(&contact, NOON).unwrap();
    let id = only(&desk).id;
    desk.close(id, "xong", &by(), NOON + SECOND).unwrap();
    let of_another = Sighting { machine: machine(2), ..contact.clone() };
    desk.grown([Sighting { count: 4, ..contact }, of_another].iter()).unwrap();
    let case = only(&desk);
    assert_eq!((case.contacts, case.course.state), (5, State::Closed));
    assert_eq!(desk.get(id).unwrap().unwrap().traces[0].count, 5);
}

#[test]
fn subjects_and_actors_are_read_back() {
    for text in ["m-17", "10.1.2.3", "fd00::1"] {
        assert_eq!(text.parse::<Subject>().unwrap().to_string(), text);
    }
    assert_eq!("::ffff:10.1.2.3".parse::<Subject>().unwrap().to_string(), "10.1.2.3");
    assert!("m-".parse::<Subject>().is_err() && "PC-1".parse::<Subject>().is_err());
    for actor in [Actor::Server, visitor("10.1.2.3".parse().unwrap()), by()] {
        assert_eq!(Actor::parse(&actor.to_string()), actor);
    }
}
