//! Exports as people in Vietnam have them, and what they make of machines. Addresses, names and people are made up.

use jiff::tz::TimeZone;

use super::read::{Reading, read};
use super::*;
use crate::identity::claim::{About, Batch as Claims, Claim, Scope};
use crate::identity::read::times::Order;
use crate::identity::{Book, MachineId, Source, Trial};
use crate::tabular::workbook::samples::{inline, workbook};

/// 2026-11-26 01:00:00 UTC.
const NOW: i64 = 1_795_654_800_000_000;

fn reading() -> Reading {
    Reading { product: None, zone: TimeZone::fixed(jiff::tz::offset(7)), dates: Order::Auto }
}

/// Rows as `place host mac address unit product version seen state`, times in hours before `NOW`; faults as `place! fault`.
#[track_caller]
fn check(octets: &[u8], expected: &[&str]) {
    let batch = read(octets, &reading()).unwrap();
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let installs = batch.installs.iter().map(|it| {
        let seen = it.seen.map_or("-".to_owned(), |time| ((NOW - time) / 3_600_000_000).to_string());
        let macs = it.macs.first().map(ToString::to_string);
        let addresses = it.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join("+");
        let (host, unit) = (text(&it.host), text(&it.unit));
        let (product, version) = (text(&it.product), text(&it.version));
        format!(
            "{} {host} {} {addresses} {unit} {product} {version} {seen} {:?}",
            it.place,
            text(&macs),
            it.state
        )
    });
    let faults = batch.faults.iter().map(|(place, fault)| format!("{place}! {fault}"));
    let found: Vec<String> = installs.chain(faults).collect();
    assert_eq!(found, expected);
}

#[test]
fn vietnamese_sheets_are_read() {
    let rows: [&[&str]; 8] = [
        &["UBND TỈNH — SỞ Y TẾ"],
        &["DANH SÁCH MÁY TRẠM CÀI ĐẶT BKAV ENDPOINT"],
        &[
            "STT",
            "Tên máy",
            "Địa chỉ IP",
            "Địa chỉ MAC",
            "Đơn vị",
            "Phiên bản",
            "Kết nối lần cuối",
            "Trạng thái",
        ],
        &[
            "1",
            "SYT-PC01",
            "10.2.0.11",
            "00-1A-2B-3C-4D-5E",
            "Sở Y tế",
            "8.2.1",
            "26/11/2026 07:00",
            "Đang bật",
        ],
        &[
            "2",
            "SYT-PC02",
            "10.2.0.12; 192.168.1.5",
            "",
            "Sở Y tế",
            "8.2.0",
            "25/11/2026 08:00",
            "Ngoại tuyến",
        ],
        &["3", "SYT-PC03", "10.2.0.300", "x", "Sở Y tế", "", "31/31/2026", "Chờ duyệt"],
        &["4", "", "", "", "Sở Y tế", "8.0", "25/11/2026", "Đã gỡ bỏ"],
        &["", "Tổng cộng: 4"],
    ];
    check(
        &workbook("", &[("Bkav", "visible", &inline(&rows))]),
        &[
            "Bkav:4 SYT-PC01 00:1a:2b:3c:4d:5e 10.2.0.11 Sở Y tế Bkav Endpoint 8.2.1 1 On",
            "Bkav:5 SYT-PC02 - 10.2.0.12+192.168.1.5 Sở Y tế Bkav Endpoint 8.2.0 24 Unsaid",
            "Bkav:6 SYT-PC03 -  Sở Y tế Bkav Endpoint - - Unsaid",
            "Bkav:6! \"10.2.0.300\" is no address: write it as 10.1.2.3; the rest of the row counts",
            "Bkav:6! \"x\" is no MAC address: write it as 00:1a:2b:3c:4d:5e; the rest of the row counts",
            "Bkav:6! \"31/31/2026\" is no time: write it as 26/11/2026 08:00, or say the order with --dates dmy, mdy or ymd",
            "Bkav:6! the state \"Chờ duyệt\" is not known here: such rows count as installed, as far as they were heard of lately",
            "Bkav:7! neither host name nor address nor MAC: the row is passed over",
        ],
    );
}

#[test]
fn english_csv_is_read() {
    check(
        b"\xef\xbb\xbfComputer Name,IP Address,MAC,Agent Version,Last Seen,Status,Group\r\n\
          stttt-01.province.local,10.1.0.5,001A2B3C4D60,22.1,2026-11-26T00:00:00Z,Online,STTTT\r\n\
          stttt-02,\"10.1.0.6, fe80::1\",,22.1,2026-11-01T00:00:00Z,Uninstalled,STTTT\r\n\"open,,,,,,\r\n",
        &[
            "2 stttt-01.province.local 00:1a:2b:3c:4d:60 10.1.0.5 STTTT - 22.1 1 On",
            "3 stttt-02 - 10.1.0.6 STTTT - 22.1 601 Off",
            "4! a quotation mark opens here that nothing closes: the line is passed over",
        ],
    );
    // A plain list of names; an inventory that says in a word whether there is any.
    check(b"T\xc3\xaan m\xc3\xa1y\npc-01\n", &["2 pc-01 -  - - - - Unsaid"]);
    check(
        "Tên máy;Phần mềm diệt virus\npc-01;Không\npc-02;Bkav\npc-03;Có\n".as_bytes(),
        &["2 pc-01 -  - - - - Off", "3 pc-02 -  - Bkav Endpoint - - Unsaid", "4 pc-03 -  - - - - On"],
    );
    check(
        b"a,b\n1,2\n",
        &[
            "1! no row names a column for host names, addresses or MACs; known are: T\u{ea}n m\u{e1}y, \u{110}\u{1ecb}a ch\u{1ec9} IP, \u{110}\u{1ecb}a ch\u{1ec9} MAC, Computer Name, IP Address, MAC Address",
        ],
    );
}

struct Scene {
    _folder: tempfile::TempDir,
    ledger: Ledger,
    book: Book,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let book = Book::open(&folder.path().join("identity")).unwrap();
        let machine =
            |line, host: &str, mac: &str, address: &str, agency: &str, protection: Option<&str>| Claim {
                line,
                address: Some(address.parse().unwrap()),
                mac: mac.parse().ok(),
                host: Some(host.to_owned()),
                about: About {
                    agency: Some(agency.to_owned()),
                    protection: protection.map(str::to_owned),
                    ..About::default()
                },
                ..Claim::default()
            };
        let mut claims = Claims::new(Scope::Inventory);
        claims.claim(machine(1, "PC-01", "00:1a:2b:3c:4d:01", "10.1.0.1", "a", None));
        claims.claim(machine(2, "PC-02", "00:1a:2b:3c:4d:02", "10.1.0.2", "a", None));
        claims.claim(machine(3, "PC-01", "00:1a:2b:3c:4d:03", "10.2.0.1", "b", None));
        claims.claim(machine(4, "PC-04", "00:1a:2b:3c:4d:04", "10.3.0.4", "c", Some("Bkav")));
        claims.claim(machine(5, "PC-05", "00:1a:2b:3c:4d:05", "10.3.0.5", "c", Some("Chưa cài")));
        claims.claim(machine(6, "PC-06", "00:1a:2b:3c:4d:06", "10.3.0.6", "c", None));
        for claim in &mut claims.claims {
            claim.about.agency =
                ["a", "a", "b", "c", "c", "c"].get(claim.line as usize - 1).map(|it| (*it).to_owned());
        }
        book.take(&Source { name: "x", agency: None, as_of: NOW - DAY }, &mut claims, Trial::No).unwrap();
        Self { ledger: Ledger::open(folder.path()).unwrap(), book, _folder: folder }
    }

    fn saw(&self, subjects: &[(&str, &str)]) {
        let seen: Vec<Seen> = subjects
            .iter()
            .map(|(subject, agency)| Seen {
                subject: subject.parse().unwrap(),
                agency: Some((*agency).to_owned()),
                client: [10, 0, 0, 1].into(),
                time: NOW - DAY,
            })
            .collect();
        self.ledger.saw(&seen, Some(NOW)).unwrap();
    }

    fn take(&self, name: &str, text: &str, as_of: i64) -> Result<Taken, LedgerError> {
        let batch = read(text.as_bytes(), &reading()).unwrap();
        self.ledger.take(&Offer { name, agency: None, as_of, by: "an" }, &batch, NOW)
    }

    fn standings(&self) -> Vec<String> {
        let agency_of = |address: IpAddr| match address {
            IpAddr::V4(address) => {
                ["a", "b", "c"].get(usize::from(address.octets()[1]) - 1).map(|it| (*it).to_owned())
            }
            IpAddr::V6(_) => None,
        };
        let agencies = [("a".to_owned(), "Sở A".to_owned())];
        let settling = Settling { book: &self.book, agencies: &agencies, agency_of: &agency_of };
        self.ledger.settle(&settling, NOW).unwrap();
        let rows = self.ledger.list(&Query::default()).unwrap();
        rows.iter().map(|row| format!("{} {}", row.subject, row.standing.as_str())).collect()
    }
}

#[test]
fn machines_are_found_and_stand() {
    let scene = Scene::new();
    scene.saw(&[
        ("m-1", "a"),
        ("m-2", "a"),
        ("m-3", "b"),
        ("m-4", "c"),
        ("m-5", "c"),
        ("m-6", "c"),
        ("10.1.0.9", "a"),
    ]);
    let said = ["m-4 protected", "m-5 unprotected", "m-6 unknown"];
    let none = ["m-1 unknown", "m-2 unknown", "m-3 unknown"];
    assert_eq!(scene.standings(), [&none[..], &said, &["10.1.0.9 unknown"]].concat());
    // By MAC; by name within the agency; by address; and one that an export has as gone.
    scene
        .take("bkav", "Tên máy,IP,MAC,Đơn vị,Trạng thái\nkhác,,00-1A-2B-3C-4D-02,,Bật\npc-01.a.local,,,Sở A,Bật\n,10.1.0.9,,,Bật\n", NOW)
        .unwrap();
    let protected = ["m-1 protected", "m-2 protected", "m-3 unknown"];
    assert_eq!(scene.standings(), [&protected[..], &said, &["10.1.0.9 protected"]].concat());
    // The next version: who is not in it, or not working, or not heard of for long, has none.
    let next = "Tên máy,Đơn vị,Kết nối lần cuối,Trạng thái\nPC-01,Sở A,01/09/2026,Bật\nPC-02,Sở A,,Hết hạn\n";
    assert_eq!(scene.take("bkav", next, NOW).unwrap(), Taken { rows: 2, before: 3 });
    let gone = ["m-1 unprotected", "m-2 unprotected", "m-3 unknown"];
    assert_eq!(scene.standings(), [&gone[..], &said, &["10.1.0.9 unprotected"]].concat());
    let all = scene.ledger.province((NOW - 30 * DAY, NOW)).unwrap();
    assert_eq!(all, Coverage { machines: 7, protected: 1, unprotected: 4, unknown: 2 });
    let of_a = scene.ledger.by_agency((NOW - 30 * DAY, NOW), Some("a")).unwrap();
    assert_eq!(
        of_a,
        [(Some("a".to_owned()), Coverage { machines: 3, protected: 0, unprotected: 3, unknown: 0 })]
    );
    assert_eq!(scene.ledger.province((NOW, i64::MAX)).unwrap(), Coverage::default());
    // Nothing that cannot be read, and nothing older, takes away what is known.
    assert!(matches!(scene.take("bkav", "Tên máy,IP\n", NOW), Err(LedgerError::Empty)));
    assert!(matches!(scene.take("bkav", "x,y\n", NOW), Err(LedgerError::Nothing(_))));
    assert!(matches!(scene.take("bkav", next, NOW - 1), Err(LedgerError::Older { .. })));
    assert_eq!(scene.ledger.exports().unwrap()[0].matched, 2);
    assert!(scene.ledger.forget("bkav").unwrap() && !scene.ledger.forget("bkav").unwrap());
    assert_eq!(scene.standings()[0], "m-1 unknown");
}

#[test]
fn lists_are_narrowed_and_paged() {
    let scene = Scene::new();
    scene.saw(&[("m-1", "a"), ("m-3", "b"), ("m-4", "c")]);
    scene.standings();
    let ids = |query: &Query| {
        scene.ledger.list(query).unwrap().iter().map(|row| row.subject.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&Query { agency: Some("b".to_owned()), ..Query::default() }), ["m-3"]);
    assert_eq!(ids(&Query { standings: vec![Standing::Protected], ..Query::default() }), ["m-4"]);
    let first = scene.ledger.list(&Query { limit: Some(1), ..Query::default() }).unwrap();
    assert_eq!(ids(&Query { after: Some(first[0].id), ..Query::default() }), ["m-3", "m-4"]);
    let known =
        scene.ledger.standings([Subject::Machine(MachineId(4)), Subject::Machine(MachineId(9))]).unwrap();
    assert_eq!(known.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn machines_that_became_one_count_once() {
    let scene = Scene::new();
    scene.saw(&[("m-1", "a"), ("m-2", "a")]);
    scene.book.merge(MachineId(1), MachineId(2), NOW, "an", None).unwrap();
    assert_eq!(scene.standings(), ["m-1 unknown"]);
}
