//! Contacts over a real database.

use std::fs;
use std::time::Instant;

use super::*;
use crate::clock;

pub(super) fn contact(name: &str) -> Contact {
    Contact {
        id: 0,
        time: 0,
        client: IpAddr::from([10, 1, 2, 3]),
        source_port: 4444,
        local: SocketAddr::from(([10, 10, 10, 10], 80)),
        via: Via::Http,
        name: Some(name.to_owned()),
        path: Some("/gate.php".to_owned()),
        agent: Some("Mozilla/4.0".to_owned()),
        ja4: None,
        first: b"GET /gate.php HTTP/1.1\r\n".to_vec(),
        count: 1,
    }
}

/// Waits for so many rows behind an id.
fn await_rows(contacts: &Contacts, id: u64, count: usize) -> Vec<Contact> {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let rows = contacts.after(id, 1000).unwrap();
        if rows.len() >= count {
            return rows;
        }
        assert!(Instant::now() < until, "{rows:#?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_was_handed_in_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let contacts = Contacts::open(folder.path(), &Options::default()).unwrap();
    let whole = Contact { time: clock::now(), ja4: Some("t13d".to_owned()), ..contact("evil.example") };
    contacts.add(whole.clone());
    let rows = await_rows(&contacts, 0, 1);
    let first = rows[0].id;
    assert_eq!(rows, [Contact { id: first, ..whole.clone() }]);
    let silent = Contact {
        time: whole.time + 1,
        local: "[fd00::10]:25".parse().unwrap(),
        client: "fd00:1::5".parse().unwrap(),
        via: Via::Tcp,
        name: None,
        path: None,
        agent: None,
        first: Vec::new(),
        ..whole.clone()
    };
    contacts.add(silent.clone());
    let rows = await_rows(&contacts, first, 1);
    assert_eq!(rows, [Contact { id: first + 1, ..silent }]);
    // What waits when it ends is written.
    contacts.add(contact("last.example"));
    drop(contacts);
    let reader = Reader::open(folder.path()).unwrap();
    assert_eq!(reader.last_id().unwrap(), first + 2);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(folder.path().join("contacts.db")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn filters_take_what_they_say() {
    let folder = tempfile::tempdir().unwrap();
    let contacts = Contacts::open(folder.path(), &Options::default()).unwrap();
    let now = clock::now();
    contacts.add(Contact { time: now, ..contact("www.evil.example") });
    contacts.add(Contact { time: now + 1, client: [10, 2, 0, 1].into(), ..contact("notevil.example") });
    let smtp = SocketAddr::from(([10, 10, 10, 10], 25));
    contacts.add(Contact { time: now + 2, local: smtp, via: Via::Tcp, name: None, ..contact("") });
    let before = await_rows(&contacts, 0, 3)[0].id - 1;
    let check = |filter: ContactFilter, expected: &[u64]| {
        let ids: Vec<u64> = contacts.find(&filter).unwrap().iter().map(|it| it.id - before).collect();
        assert_eq!(ids, expected, "{filter:?}");
    };
    let all = ContactFilter::default;
    check(all(), &[3, 2, 1]);
    check(ContactFilter { limit: Some(2), ..all() }, &[3, 2]);
    check(ContactFilter { client: Some([10, 2, 0, 1].into()), ..all() }, &[2]);
    check(ContactFilter { client: Some("::ffff:10.2.0.1".parse().unwrap()), ..all() }, &[2]);
    check(ContactFilter { name: Some(Name::from_host("evil.example").unwrap()), ..all() }, &[1]);
    check(ContactFilter { port: Some(25), ..all() }, &[3]);
    check(ContactFilter { via: Some(Via::Http), ..all() }, &[2, 1]);
    check(ContactFilter { since: Some(now + 1), until: Some(now + 2), ..all() }, &[2]);
    let counts = contacts.reader.by_client(now).unwrap();
    assert_eq!(counts.iter().map(|it| it.count).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn a_loop_is_one_row_and_a_flood_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let contacts = Contacts::open(folder.path(), &Options::default()).unwrap();
    let now = clock::now();
    for _ in 0..50_000 {
        contacts.add(Contact { time: now, ..contact("evil.example") });
    }
    let missed = contacts.missed();
    drop(contacts);
    let reader = Reader::open(folder.path()).unwrap();
    let rows = reader.find(&ContactFilter::default()).unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(u64::from(rows[0].count) + missed, 50_000);
    let gaps = reader.gaps(None, None).unwrap();
    assert_eq!(gaps.iter().map(|gap| gap.count).sum::<u64>(), missed);
}

#[test]
fn the_oldest_go_first_and_ids_are_never_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut database = Database::open(folder.path()).unwrap();
    let mut rows = alike::Rows::default();
    for n in 0..20_000_u32 {
        let client = IpAddr::from((0x0a00_0000 + n / 16).to_be_bytes());
        assert!(
            rows.add(Contact { time: i64::from(n), client, ..contact(&format!("n{n}.example")) })
                || n > 16_000
        );
    }
    let ids = database.write(rows.changed(), None).unwrap();
    let last = *ids.last().unwrap();
    // By age: everything that came before.
    while database.expire(8000, 1 << 30).unwrap() {}
    assert_eq!(database.after(0, 1).unwrap()[0].time, 8000);
    // By size: until it fits.
    while database.expire(0, 1 << 20).unwrap() {}
    let left = database.after(0, usize::MAX).unwrap();
    assert_eq!(left.last().map(|it| it.id), Some(last.unsigned_abs()));
    assert!(!left.is_empty() && left.len() < 8000, "{}", left.len());
    while database.expire(i64::MAX, 0).unwrap() {}
    rows = alike::Rows::default();
    rows.add(contact("new.example"));
    assert!(database.write(rows.changed(), None).unwrap()[0] > last);
}

#[test]
fn an_id_that_a_power_cut_took_back_is_not_given_again() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Contacts::open(folder.path(), &Options::default()).unwrap();
    let contacts = open();
    contacts.add(Contact { time: clock::now(), ..contact("one.example") });
    let first = await_rows(&contacts, 0, 1).remove(0).id;
    drop(contacts);
    let contacts = open();
    contacts.add(Contact { time: clock::now(), ..contact("two.example") });
    let second = await_rows(&contacts, first, 1).remove(0).id;
    assert!(second - first > 100_000, "{first} {second}");
}

#[test]
fn damaged_contacts_are_put_aside_and_ids_go_on() {
    let folder = tempfile::tempdir().unwrap();
    drop(Contacts::open(folder.path(), &Options::default()).unwrap());
    fs::write(folder.path().join("contacts.db"), vec![b'x'; 9000]).unwrap();
    let contacts = Contacts::open(folder.path(), &Options::default()).unwrap();
    contacts.add(Contact { time: clock::now(), ..contact("evil.example") });
    let rows = await_rows(&contacts, 0, 1);
    assert!(rows[0].id > 1_700_000_000_000, "{}", rows[0].id);
    assert!(folder.path().join("contacts.db.damaged").exists());
}

#[test]
fn ids_go_on_where_somebody_removed_the_contacts() {
    let folder = tempfile::tempdir().unwrap();
    let mut last = 0;
    for _ in 0..2 {
        let contacts = Contacts::open(folder.path(), &Options::default()).unwrap();
        contacts.add(Contact { time: clock::now(), ..contact("evil.example") });
        let id = await_rows(&contacts, last, 1).remove(0).id;
        assert!(id > last, "{id}");
        last = id;
        drop(contacts);
        fs::remove_dir_all(folder.path()).unwrap();
    }
}

#[test]
fn a_reader_without_contacts_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let error = Reader::open(&folder.path().join("contacts")).unwrap_err();
    assert!(matches!(error, ContactsError::Missing { .. }), "{error}");
}

#[test]
fn hosts_become_names() {
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(host_name(text).as_deref(), expected, "{text}");
    }
    check("WWW.Evil.Example:8080", Some("www.evil.example"));
    check("evil.example.", Some("evil.example"));
    check("10.10.10.10:80", Some("10.10.10.10"));
    check("[FD00::10]:443", Some("fd00::10"));
    check("fd00::10", Some("fd00::10"));
    check("m\u{1ea1}ng.example", Some("xn--mng-sgz.example"));
    check("<script>", None);
    check("", None);
    check(&"a".repeat(300), None);
}

#[test]
fn what_is_long_is_cut() {
    let long = trimmed(Contact {
        path: Some("ế".repeat(1000)),
        agent: Some("a".repeat(1000)),
        first: vec![0; 1000],
        client: "::ffff:10.0.0.1".parse().unwrap(),
        count: 0,
        ..contact("a")
    });
    assert_eq!(long.path.map(|path| path.len()), Some(510));
    assert_eq!(long.agent.map(|agent| agent.len()), Some(256));
    assert_eq!((long.first.len(), long.count), (128, 1));
    assert_eq!(long.client, IpAddr::from([10, 0, 0, 1]));
}
