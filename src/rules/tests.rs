//! What the book and the history promise.

use std::fs::{self, OpenOptions};
use std::io::Write as _;

use super::history::{History, HistoryError};
use super::*;
use crate::name::Key;
use crate::policy::decide::{Unobserved, decide};

/// `ACTION SUBJECT`, with more words for the agency (`@id`) and the time of the end (`-n`).
fn rule(text: &str) -> Rule {
    let mut words = text.split(' ');
    let action: Action = words.next().unwrap().parse().unwrap();
    let subject = words.next().unwrap();
    let subject = match subject.parse::<IpNet>() {
        Ok(net) => Subject::Network(net),
        Err(_) => match subject.strip_prefix("=") {
            Some(name) => Subject::Name(Name::from_host(name).unwrap(), Scope::Exact),
            None => Subject::Name(Name::from_host(subject).unwrap(), Scope::Subtree),
        },
    };
    let mut rule = Rule {
        subject,
        action,
        effect: Effect::Usual,
        agency: None,
        expires: None,
        family: Some("Mã độc".into()),
        severity: Some(Severity::Critical),
    };
    for word in words {
        match word.split_at(1) {
            ("@", id) => rule.agency = Some(id.into()),
            ("-", end) => rule.expires = Some(end.parse().unwrap()),
            _ => rule.effect = if word == "shadow" { Effect::Shadow } else { Effect::Forced },
        }
    }
    rule
}

fn deed(id: u64, time: i64) -> Deed {
    Deed { id, time, by: "Lan".into(), reason: "vì \"thử\"\n".into() }
}

fn add(id: u64, time: i64, text: &str) -> Event {
    Event { deed: deed(id, time), change: Change::Add(rule(text)) }
}

fn remove(id: u64, time: i64, of: u64) -> Event {
    Event { deed: deed(id, time), change: Change::Remove(of) }
}

fn standings(book: &Book, now: i64) -> Vec<&'static str> {
    book.entries().iter().map(|entry| entry.standing(now).as_str()).collect()
}

#[test]
fn a_rule_ends_by_its_time_a_later_one_or_a_hand() {
    let mut book = Book::default();
    for event in [
        add(1, 10, "sinkhole a.example"),
        add(2, 20, "sinkhole b.example -50"),
        add(3, 30, "passthru a.example"),
        // Of another scope, and of an agency: others.
        add(4, 30, "sinkhole =a.example"),
        add(5, 30, "sinkhole a.example @so"),
        remove(6, 40, 5),
        remove(7, 41, 5),
        remove(8, 41, 99),
        add(9, 60, "nxdomain b.example"),
    ] {
        book.apply(event);
    }
    assert_eq!(standings(&book, 45), ["replaced", "expired", "active", "active", "removed", "active"]);
    assert_eq!(book.next_id(), 10);
    assert_eq!(book.next_expiry(45), None);
    let a = rule("sinkhole a.example").subject;
    assert_eq!(book.find(&a, None, 45).map(|entry| entry.deed.id), Some(3));
    assert_eq!(book.find(&a, Some(&"so".into()), 45).map(|entry| entry.deed.id), None);
}

#[test]
fn what_was_over_is_not_ended_again() {
    let mut book = Book::default();
    book.apply(add(1, 10, "sinkhole a.example -20"));
    assert_eq!(book.next_expiry(19), Some(20));
    assert_eq!(standings(&book, 19), ["active"]);
    assert_eq!(standings(&book, 20), ["expired"]);
    book.apply(remove(2, 30, 1));
    assert_eq!(standings(&book, 40), ["expired"]);
}

#[test]
fn agencies_rules_come_first() {
    let mut book = Book::default();
    for event in [
        add(1, 1, "sinkhole evil.example"),
        add(2, 1, "passthru www.evil.example @b"),
        add(3, 1, "nxdomain evil.example @a"),
        add(4, 1, "sinkhole 192.0.2.1/32"),
    ] {
        book.apply(event);
    }
    let own = book.own(5).unwrap().unwrap();
    assert_eq!(own.agencies, [Some("a".into()), Some("b".into()), None]);
    assert_eq!(own.index.name_count(), 3);
    assert!(own.index.has_guarded());
    let key = Key::from(&Name::from_host("www.evil.example").unwrap());
    let ruling = decide(&own.index, &key, &mut Unobserved).ruling.unwrap();
    assert_eq!((ruling.rule.feed, &*ruling.feed.name), (0, FEED));
    assert!(Book::default().own(5).unwrap().is_none());
}

#[test]
fn what_is_added_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::new(&folder.path().join("data"));
    assert_eq!(history.read().unwrap().book, Book::default());
    let events = |book: &Book| -> Result<Vec<Event>, HistoryError> {
        let first = book.next_id();
        Ok(vec![
            add(first, 1_700_000_000_000_001, "sinkhole evil.example"),
            add(first + 1, 2, "passthru =good.example @so-tttt -1800000000000000"),
            add(first + 2, 3, "cname:walled.example. 192.0.2.0/24 forced"),
            add(first + 3, 4, "drop 2001:db8::/32 shadow"),
            remove(first + 4, 5, first),
        ])
    };
    let mark = history.mark();
    let (reading, added) = history.change(10, events).unwrap();
    assert_eq!(added.len(), 5);
    assert_ne!(history.mark(), mark);
    let again = history.read().unwrap();
    assert_eq!(again.book, reading.book);
    assert_eq!((again.faults.len(), again.mark), (0, history.mark()));
    history.change(11, events).unwrap();
    assert_eq!(history.read().unwrap().book.next_id(), 11);
    // Nothing is done where the caller finds that nothing may be.
    let refused = || HistoryError::TooLong { path: "x".into() };
    assert!(history.change(12, |_| Err::<Vec<Event>, _>(refused())).is_err());
    assert_eq!(history.read().unwrap().book.next_id(), 11);
}

#[test]
fn a_torn_line_is_not_there_and_a_bad_one_costs_only_itself() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::new(folder.path());
    let one =
        |text: &'static str| move |book: &Book| Ok::<_, HistoryError>(vec![add(book.next_id(), 1, text)]);
    history.change(1, one("sinkhole a.example")).unwrap();
    let whole = fs::read(history.path()).unwrap();
    // Cut at any octet by a power cut, the next line is added to what is whole.
    for cut in 0..whole.len() {
        fs::write(history.path(), [&whole, &whole[..cut]].concat()).unwrap();
        let read = history.read().unwrap();
        assert_eq!((read.book.entries().len(), read.faults.len()), (1, 0), "cut at {cut}");
        history.change(1, one("sinkhole b.example")).unwrap();
        let read = history.read().unwrap();
        assert_eq!((read.book.entries().len(), read.faults.len()), (2, 0), "cut at {cut}");
    }
    let mut file = OpenOptions::new().append(true).open(history.path()).unwrap();
    for bad in [
        "{}",
        "no JSON",
        r#"{"id":9,"time":"2026-11-25T08:00:00Z","by":"","reason":"","block":"a.example"}"#,
        r#"{"id":9,"time":"2026-11-25T08:00:00Z","by":"","reason":"","block":"a.example","scope":"x"}"#,
        r#"{"id":9,"time":"2026-11-25T08:00:00Z","by":"","reason":"","block":"::/0","allow":"::/0"}"#,
        r#"{"id":9,"time":"2026-11-25T08:00:00Z","by":"","reason":"","block":"::/0","extra":1}"#,
        r#"{"id":9,"time":"2026-11-25T08:00:00Z","by":"","reason":"","block":"::/0","severity":"x"}"#,
        "\u{0}\u{ff}",
    ] {
        writeln!(file, "{bad}").unwrap();
    }
    history.change(1, one("sinkhole c.example")).unwrap();
    let read = history.read().unwrap();
    assert_eq!(read.book.entries().len(), 3);
    let lines: Vec<usize> = read.faults.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [3, 4, 5, 6, 7, 8, 9, 10]);
}

#[test]
fn what_ended_long_ago_leaves_the_file_and_is_kept_beside() {
    const DAY: i64 = 24 * 3600 * 1_000_000;
    let folder = tempfile::tempdir().unwrap();
    let history = History::new(folder.path());
    let many = |book: &Book| {
        let events = (0..30_000).map(|n| {
            let text = format!("sinkhole n{n}.example -{}", DAY + n);
            add(book.next_id() + n as u64, 1, &text)
        });
        let kept = add(book.next_id() + 30_000, 1, "sinkhole kept.example");
        Ok::<_, HistoryError>(events.chain([kept]).collect())
    };
    history.change(1, many).unwrap();
    assert!(fs::metadata(history.path()).unwrap().len() > 4 << 20);
    let before = fs::read(history.path()).unwrap();
    let one = |book: &Book| Ok::<_, HistoryError>(vec![add(book.next_id(), 2, "sinkhole last.example")]);
    // Not yet long ago.
    history.change(80 * DAY, one).unwrap();
    assert!(fs::metadata(history.path()).unwrap().len() > 4 << 20);
    history.change(100 * DAY, one).unwrap();
    let read = history.read().unwrap();
    assert_eq!(standings(&read.book, 100 * DAY), ["active", "active"]);
    assert_eq!(read.book.next_id(), 30_004);
    let archive = fs::read(folder.path().join("rules.until-30003.jsonl")).unwrap();
    assert!(archive.starts_with(&before), "nothing is lost");
}
