//! What reports say of made-up facts, and that no stranger's text becomes anything else than text.

use std::collections::{HashMap, HashSet};

use jiff::civil::date;

use super::figures::{Day, Lacks, Times};
use super::people::Person;
use super::tally::{Agencies, Facts};
use super::*;
use crate::cases::history::{Closing, History, Seen};
use crate::cases::{Actor, Case, CaseId, Class, Course, Step, Subject, Ticket, Verdict, What};
use crate::evidence::store::embedded::Embedded;
use crate::evidence::store::{Gap, Unwatched, Why};

const HOUR: i64 = 3_600_000_000;

fn november() -> Period {
    Period::month("2026-11").unwrap()
}

/// Hours after the period's begin.
fn at(hours: i64) -> i64 {
    november().since() + hours * HOUR
}

/// After the period.
const LATER: i64 = 30 * 24;

fn history(subject: &str, class: Class, steps: &[(What, i64)], seen: Seen) -> History {
    let mut course = Course::open(at(steps[0].1), 0, at(steps[0].1));
    let mut verdict = None;
    for (what, hours) in steps {
        let time = at(*hours);
        match what {
            What::Notified => drop(course.told(time)),
            What::SaidClean => drop(course.said_clean(time)),
            What::Relapsed => drop(course.hit(time + HOUR, 0, time)),
            What::Closed => drop(course.close(time)),
            What::Reopened => drop(course.reopen(time)),
            What::Judged => verdict = Some(Verdict::FalsePositive),
            _ => {}
        }
    }
    let closed = steps.iter().filter(|(what, _)| *what == What::Closed);
    History {
        case: Case {
            id: CaseId(0),
            ticket: Ticket::new(steps.len() as u64),
            subject: subject.parse().unwrap(),
            host: Some("=HYPERLINK(\"x\")".to_owned()),
            client: "10.1.0.1".parse().unwrap(),
            agency: Some("so-yt".to_owned()),
            family: "+emotet<script>".to_owned(),
            class,
            name: "evil.example".to_owned(),
            officer: None,
            verdict,
            course,
            queries: 1,
            contacts: 0,
        },
        steps: steps
            .iter()
            .map(|(what, hours)| Step {
                time: at(*hours),
                by: Actor::Server,
                what: *what,
                note: String::new(),
            })
            .collect(),
        seen,
        closings: closed
            .map(|(_, hours)| Closing { time: at(*hours), last_hit: Some(at(hours - 10)) })
            .collect(),
    }
}

fn facts(histories: Vec<History>) -> Facts {
    Facts {
        period: november(),
        scope: Scope::All,
        made: at(LATER + 30),
        agencies: Agencies::new([("so-yt", "@Sở Y tế"), ("so-gd", "Sở GD")].into_iter()),
        days: vec![(
            Day { date: date(2026, 11, 1), queries: 10, hits: 4 },
            vec![(0, 1, 0), (1, 5, 3), (2, 4, 1)],
        )],
        people: HashSet::from([
            (1, Person::Address("10.1.0.1".parse().unwrap())),
            (2, Person::Address("10.1.0.1".parse().unwrap())),
            (2, Person::Address("10.2.0.1".parse().unwrap())),
        ]),
        hits: HashMap::from([
            ((1, "+emotet<script>".to_owned(), Class::C2), 3),
            ((2, String::new(), Class::Unknown), 1),
        ]),
        names: HashMap::from([((1, "-evil.example".to_owned()), 3), ((2, String::new()), 1)]),
        histories,
        hit_again: HashSet::from([(
            Subject::Address("10.1.0.9".parse().unwrap()),
            "+emotet<script>".to_owned(),
            Class::C2,
        )]),
        coverage: None,
        gaps: vec![Gap { earliest: at(1), latest: at(2), count: 7, why: Why::NoRoom, place: None }],
        lacks: Lacks { not_recorded: 7, ..Lacks::default() },
    }
}

#[test]
fn what_a_case_went_through_says_where_it_counts() {
    use What::{Closed, Judged, Merged, Notified, Opened, Relapsed, Reopened, SaidClean};
    /// Infected, carried, notified, said clean, cleaned, remaining, repeat, false alarms, phishing.
    #[track_caller]
    fn check(class: Class, steps: &[(What, i64)], seen: Seen, expected: [u64; 9]) {
        let figures = tally::figures(facts(vec![history("10.1.0.9", class, steps, seen)]));
        let it = &figures.province.counts;
        let found = [
            it.infected,
            it.carried,
            it.notified,
            it.said_clean,
            it.cleaned,
            it.remaining,
            it.repeat,
            it.false_alarms,
            it.phishing,
        ];
        assert_eq!(found, expected, "{steps:?}");
        assert_eq!(it.followed(), it.cleaned + it.remaining);
        assert_eq!(figures.agencies[0].counts.infected, it.infected);
    }
    check(Class::C2, &[(Opened, 1)], Seen::Yes, [1, 0, 0, 0, 0, 1, 0, 0, 0]);
    check(Class::Unknown, &[(Opened, 1)], Seen::Yes, [1, 0, 0, 0, 0, 1, 0, 0, 0]);
    check(Class::Phishing, &[(Opened, 1)], Seen::Yes, [0, 0, 0, 0, 0, 0, 0, 0, 1]);
    check(Class::C2, &[(Opened, 1), (Notified, 2), (SaidClean, 3)], Seen::Yes, [1, 0, 1, 1, 0, 1, 0, 0, 0]);
    check(Class::C2, &[(Opened, 1), (SaidClean, 3), (Relapsed, 4)], Seen::Yes, [1, 0, 0, 0, 0, 1, 0, 0, 0]);
    check(Class::C2, &[(Opened, 1), (Notified, 2), (Closed, 9)], Seen::Yes, [1, 0, 1, 0, 1, 0, 0, 0, 0]);
    check(Class::C2, &[(Opened, 1), (Closed, 9), (Reopened, 10)], Seen::Yes, [1, 0, 0, 0, 0, 1, 1, 0, 0]);
    check(Class::C2, &[(Opened, 1), (Judged, 2), (Closed, 2)], Seen::Yes, [0, 0, 0, 0, 0, 0, 0, 1, 0]);
    // What came after the end does not count yet.
    check(Class::C2, &[(Opened, 1), (Closed, LATER)], Seen::Yes, [1, 0, 0, 0, 0, 1, 0, 0, 0]);
    check(Class::C2, &[(Opened, 1), (Notified, LATER + 1)], Seen::Yes, [1, 0, 0, 0, 0, 1, 0, 0, 0]);
    // From before: open, closed within, closed before, and seen again while nobody kept when.
    check(Class::C2, &[(Opened, -50)], Seen::No, [0, 1, 0, 0, 0, 1, 0, 0, 0]);
    check(Class::C2, &[(Opened, -50), (Closed, 9)], Seen::No, [0, 1, 0, 0, 1, 0, 0, 0, 0]);
    check(Class::C2, &[(Opened, -50), (Closed, -9)], Seen::No, [0; 9]);
    check(Class::C2, &[(Opened, -50)], Seen::Unknown, [1, 0, 0, 0, 0, 1, 0, 0, 0]);
    check(Class::Phishing, &[(Opened, -50)], Seen::No, [0; 9]);
    check(
        Class::C2,
        &[(Opened, -50), (Closed, -20), (Reopened, 5), (Closed, LATER)],
        Seen::Yes,
        [1, 0, 0, 0, 0, 1, 1, 0, 0],
    );
    // Two that became one: closed only when both are.
    let merged =
        [(Opened, 1), (Opened, 2), (Closed, 3), (Merged, 4), (Notified, 5), (Closed, 6), (Reopened, LATER)];
    check(Class::C2, &merged, Seen::Yes, [1, 0, 1, 0, 1, 0, 0, 0, 0]);
}

#[test]
fn times_are_those_of_episodes_that_ended_in_the_period() {
    use What::{Closed, Notified, Opened, Reopened, SaidClean};
    let times = |steps: &[(What, i64)]| {
        let figures = tally::figures(facts(vec![history("10.1.0.9", Class::C2, steps, Seen::Yes)]));
        let counts = figures.province.counts;
        let of = |times: Option<Times>| times.map(|it| (it.count, it.median / 3600, it.mean / 3600));
        (of(counts.to_notify), of(counts.to_clean))
    };
    assert_eq!(times(&[(Opened, 1)]), (None, None));
    assert_eq!(times(&[(Opened, 1), (Notified, 3), (Notified, 9)]), (Some((1, 2, 2)), None));
    assert_eq!(
        times(&[(Opened, -9), (Notified, -3), (SaidClean, 1), (Closed, 80)]),
        (None, Some((1, 10, 10)))
    );
    // Nobody said anything: until the last hit.
    assert_eq!(times(&[(Opened, 1), (Closed, 31), (Reopened, LATER)]), (None, Some((1, 20, 20))));
    assert_eq!(
        times(&[
            (Opened, 1),
            (Notified, 2),
            (SaidClean, 5),
            (Closed, 9),
            (Reopened, 10),
            (Notified, 17),
            (SaidClean, 18),
            (Closed, 60)
        ]),
        (Some((2, 4, 4)), Some((2, 6, 6)))
    );
    assert_eq!(times(&[(Opened, 1), (Notified, LATER), (Closed, LATER + 9)]), (None, None));
}

#[test]
fn a_machine_counts_once_in_all() {
    let two = ["10.1.0.9", "10.1.0.9", "10.1.0.8"]
        .map(|subject| history(subject, Class::C2, &[(What::Opened, 1)], Seen::Yes));
    let [first, mut second, third] = two;
    second.case.agency = Some("so-gd".to_owned());
    second.case.family = "other".to_owned();
    let figures = tally::figures(facts(vec![first, second, third]));
    assert_eq!(figures.province.counts.infected, 2);
    assert_eq!(figures.agencies.iter().map(|row| row.counts.infected).collect::<Vec<_>>(), [2, 1, 0]);
    assert_eq!(figures.province.counts.machines, 2);
    assert_eq!(figures.agencies.iter().map(|row| row.counts.machines).collect::<Vec<_>>(), [1, 2, 0]);
    // What is of no agency comes last, and only where there is any.
    assert_eq!(
        figures.agencies.iter().map(|row| row.id.as_deref()).collect::<Vec<_>>(),
        [Some("so-yt"), Some("so-gd"), None]
    );
    assert_eq!(figures.agencies[2].counts.queries, 1);
    let median = Times::of(vec![1_000_000, 9_000_000, 4_000_000, 2_000_000]).unwrap();
    assert_eq!((median.count, median.median, median.mean), (4, 3, 4));
}

fn hostile() -> Figures {
    let cases = ["10.1.0.9", "10.1.0.8"]
        .map(|subject| history(subject, Class::C2, &[(What::Opened, 1), (What::Notified, 2)], Seen::Yes));
    tally::figures(facts(cases.to_vec()))
}

#[test]
fn no_text_becomes_a_formula_or_a_tag() {
    let figures = hostile();
    let options = Options::default();
    let csv = String::from_utf8(render(&figures, Format::Csv, &options).unwrap()).unwrap();
    assert!(csv.contains(",\"'@Sở Y tế\","), "{csv}");
    let html = String::from_utf8(render(&figures, Format::Html, &options).unwrap()).unwrap();
    assert!(html.contains("+emotet&lt;script&gt;") && !html.contains("<script"), "{html}");
    assert!(
        !html.contains("http://") && !html.contains("https://") && !html.contains("url("),
        "no outside resource"
    );
    let json: serde_json::Value =
        serde_json::from_slice(&render(&figures, Format::Json, &options).unwrap()).unwrap();
    assert_eq!(json["province"]["families"][0]["family"], "+emotet<script>");
    // Of the workbook's formulas each is ours.
    let xlsx = render(&figures, Format::Xlsx, &options).unwrap();
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(xlsx)).unwrap();
    let (mut formulas, mut texts) = (Vec::new(), String::new());
    for number in 0..archive.len() {
        let mut part = archive.by_index(number).unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut part, &mut text).unwrap();
        formulas.extend(text.split("<f>").skip(1).map(|rest| rest.split("</f>").next().unwrap().to_owned()));
        texts.push_str(&text);
    }
    assert!(formulas.len() > 10);
    assert!(
        formulas.iter().all(|formula| formula.starts_with("SUM(") || formula.starts_with("IF(")),
        "{formulas:?}"
    );
    assert!(texts.contains("=HYPERLINK(&quot;x&quot;)") || texts.contains("=HYPERLINK(\"x\")"));
    assert!(!texts.contains("<hyperlink"));
}

#[test]
fn a_period_that_has_not_begun_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let period = Period::month("2026-12").unwrap();
    let gathered = |now| {
        let sources = Sources {
            store: &Embedded::new(folder.path()),
            desk: None,
            book: None,
            agencies: &[],
            classes: &Classes::default(),
            coverage: None,
            anonymised_before: None,
            now,
        };
        gather(&sources, period, &Scope::All, &mut Unwatched)
    };
    let why = gathered(period.since() - 1).unwrap_err();
    assert!(why.to_string().contains("begins on 2026-12-01"), "{why}");
    assert!(gathered(period.since()).is_ok());
}

#[test]
fn every_form_is_made_of_nothing_and_of_much() {
    let empty = tally::figures(Facts {
        agencies: Agencies::new(std::iter::empty()),
        days: Vec::new(),
        people: HashSet::new(),
        hits: HashMap::new(),
        names: HashMap::new(),
        gaps: Vec::new(),
        lacks: Lacks {
            is_unfinished: true,
            is_anonymised: true,
            is_cut: true,
            uncounted: 1,
            ..Lacks::default()
        },
        ..facts(Vec::new())
    });
    let names: Vec<String> =
        (0..300).map(|number| format!("Ban Quản lý khu công nghiệp số {number}")).collect();
    let much = tally::figures(Facts {
        agencies: Agencies::new(names.iter().map(|name| (&**name, &**name))),
        coverage: Some(Coverages {
            province: Coverage { machines: 10, protected: 7 },
            agencies: HashMap::from([(names[0].clone(), Coverage { machines: 10, protected: 7 })]),
        }),
        ..facts(vec![history("10.1.0.9", Class::C2, &[(What::Opened, 1)], Seen::Yes)])
    });
    for figures in [&empty, &much, &hostile()] {
        for (word, format) in FORMATS {
            let octets = render(figures, format, &Options::default()).unwrap();
            assert!(!octets.is_empty(), "{word}");
            assert_eq!((word.parse(), format.as_str()), (Ok(format), word));
        }
    }
    let page = String::from_utf8(render(&much, Format::Html, &Options::default()).unwrap()).unwrap();
    assert!(page.contains("70,0%") && page.contains("Ban Quản lý khu công nghiệp số 299"));
}
