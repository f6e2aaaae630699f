//! Sheets as departments and management servers keep them: agencies and officers, and which machines have endpoint protection.

use std::path::Path;
use std::process::Command;

use crate::harness::house::{CONFIG, House, Setup};
use crate::harness::{nsd, wait_until};

/// Writes the workbooks of these tests: with titles, merged cells, several sheets, a hidden one, dates that are dates.
const WRITE: &str = "import datetime, sys, openpyxl
folder = sys.argv[1]
book = openpyxl.Workbook()
sheet = book.active
sheet.title = 'Bkav Endpoint'
sheet.merge_cells('A1:G1')
sheet['A1'] = 'DANH SÁCH MÁY TRẠM CÀI ĐẶT BKAV ENDPOINT'
sheet.append([])
sheet.append(['STT', 'Tên máy tính', 'Địa chỉ IP', 'Địa chỉ MAC', 'Phiên bản', 'Kết nối lần cuối', 'Trạng thái'])
day = datetime.datetime.now()
sheet.append([1, 'SYT-PC01', '127.2.0.11', '00:1A:2B:3C:4D:01', '8.2.1', day, 'Đang bật'])
sheet.append([2, 'SYT-PC02', '127.2.0.12', None, '8.2.1', day - datetime.timedelta(days=90), 'Đang bật'])
sheet.append([3, 'SYT-PC03', '127.2.0.999', 'x', '8.2.1', day, 'Đã gỡ bỏ'])
sheet.append([None, 'Người lập biểu'])
hidden = book.create_sheet('cũ')
hidden.sheet_state = 'hidden'
hidden.append(['Tên máy', 'IP'])
book.save(folder + '/bkav.xlsx')
book = openpyxl.Workbook()
sheet = book.active
sheet.title = 'Đơn vị'
sheet.append(['Mã', 'Tên đơn vị', 'Dải địa chỉ', 'Cán bộ phụ trách', 'Email', 'Máy chủ DNS nội bộ'])
sheet.append(['so-y-te', 'Sở Y tế', '127.2.0.0/16', 'Trần Thị B', 'b@syt.example.vn', '127.2.0.53'])
sheet.append([None, 'Sở Nội vụ', '127.3.0.0 - 127.3.1.255', None, None, None])
sheet.append([None, None, '127.3.4.0/24', None, None, None])
sheet.merge_cells('B3:B4')
book.save(folder + '/don-vi.xlsx')
sheet['C2'] = '127.1.0.0/16'
sheet['E2'] = 'b tại syt'
book.save(folder + '/sai.xlsx')
";

fn write_sheets(house: &House) {
    let python = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sheets/bin/python");
    assert!(python.exists(), "{}: run tests/install-deps.sh", python.display());
    let written = Command::new(python).args(["-c", WRITE]).arg(house.path()).output().unwrap();
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
}

#[test]
fn agencies_come_from_a_sheet_whole_or_not_at_all() {
    let server = Setup::new(nsd::address())
        .feed("authority", "evil.example\n")
        .agency("so-tttt", "Sở Thông tin và Truyền thông", "127.1.0.0/16", "it@tttt.test")
        .serve();
    let house = server.house();
    write_sheets(house);
    // What is wrong is told with its place, and nothing is taken.
    let refused = house.run("agency import", &["sai.xlsx", "--apply"]);
    assert_eq!(refused.code(), 1);
    for told in [
        "sai.xlsx:Đơn vị:2: \"b tại syt\" is no address of mail",
        "sai.xlsx:Đơn vị:2: 127.1.0.0/16 is so-tttt's already",
    ] {
        assert!(refused.stderr.contains(told), "{}", refused.stderr);
    }
    assert!(!house.path().join("data/agencies.json").exists());
    // First only shown.
    let shown = house.run("agency import", &["don-vi.xlsx"]).well().stdout;
    assert_eq!(
        shown,
        "+ so-y-te (Sở Y tế)\n+ so-noi-vu (Sở Nội vụ)\n0 stay as they are\nnothing is changed yet: --apply takes it\n"
    );
    assert!(!house.run("agency list", &[]).well().stdout.contains("so-y-te"));
    // Then in force at once.
    let taken = house.run("agency import", &["don-vi.xlsx", "--apply"]).well().stdout;
    assert!(taken.contains("\ntaken; reloaded "), "{taken}");
    let listed = house.run("agency list", &["--format", "csv"]).well().stdout;
    for line in [
        "so-tttt,Sở Thông tin và Truyền thông,127.1.0.0/16,it@tttt.test,,,,settings",
        "so-y-te,Sở Y tế,127.2.0.0/16,,Trần Thị B,b@syt.example.vn,127.2.0.53/32,imported",
        "so-noi-vu,Sở Nội vụ,127.3.0.0/23 127.3.4.0/24,,,,,imported",
    ] {
        assert!(listed.contains(line), "{line} in {listed}");
    }
    server.dig().from("127.3.4.5").ask("evil.example", "A");
    assert_eq!(server.record_of("evil.example").text("agency"), "so-noi-vu");
    // Nothing of it may stand in both.
    let text = house.read(CONFIG);
    house.write(
        CONFIG,
        &format!("{text}\n[[agency]]\nid = \"so-y-te\"\nname = \"Y tế\"\nnetworks = [\"127.9.0.0/16\"]\n"),
    );
    let fault = house.run("check", &[]);
    assert!(
        fault.stderr.contains("agencies.json: agency so-y-te: \"so-y-te\" is there twice"),
        "{}",
        fault.stderr
    );
    assert_eq!(server.reload().code(), 1);
    house.write(CONFIG, &text);
    server.reload().well();
}

#[test]
fn infected_machines_without_protection_are_listed() {
    let server = Setup::new(nsd::address())
        .csv("authority", "domain,family\nevil.example,Emotet\n")
        .agency("so-y-te", "Sở Y tế", "127.2.0.0/16", "it@syt.test")
        .agency("so-tttt", "Sở TTTT", "127.1.0.0/16", "it@tttt.test")
        .file(
            "may-tinh.csv",
            "Tên máy,Địa chỉ IP,Địa chỉ MAC,Đơn vị\nSYT-PC01,127.2.0.11,00-1A-2B-3C-4D-01,Sở Y tế\n\
             SYT-PC02,127.2.0.12,00-1A-2B-3C-4D-02,Sở Y tế\nSYT-PC04,127.2.0.14,00-1A-2B-3C-4D-04,Sở Y tế\n",
        )
        .serve();
    let house = server.house();
    write_sheets(house);
    house.run("identity import", &["may-tinh.csv"]).well();
    for client in ["127.2.0.11", "127.2.0.12", "127.2.0.14", "127.1.0.7"] {
        server.dig().from(client).ask("evil.example", "A");
    }
    wait_until("cases", || house.run("case list", &["--format", "jsonl"]).well().stdout.lines().count() == 4);
    let imported =
        house.run("coverage import", &["bkav.xlsx", "--product", "bkav", "--agency", "so-y-te"]).well();
    for told in [
        "bkav.xlsx:1: the sheet \"cũ\" is hidden",
        "bkav.xlsx:Bkav Endpoint:6: \"127.2.0.999\" is no address",
        "bkav.xlsx:Bkav Endpoint:6: \"x\" is no MAC address",
    ] {
        assert!(imported.stderr.contains(told), "{}", imported.stderr);
    }
    assert!(
        imported.stdout.contains("taken as \"bkav so-y-te\", in the place of 0 before; 2 of them are known"),
        "{}",
        imported.stdout
    );
    let listed = |words: &[&str]| {
        let all = house.run("coverage list", &[&["--format", "csv"], words].concat()).well().stdout;
        let mut rows: Vec<String> = all
            .lines()
            .skip(1)
            .map(|line| {
                let cells: Vec<&str> = line.split(',').collect();
                [cells[1], cells[3], cells[5], cells[13]].join(" ")
            })
            .collect();
        rows.sort();
        rows
    };
    assert_eq!(
        listed(&["--infected"]),
        [
            " 127.1.0.7 unknown Emotet",
            "SYT-PC01 127.2.0.11 protected Emotet",
            "SYT-PC02 127.2.0.12 unprotected Emotet",
            "SYT-PC04 127.2.0.14 unprotected Emotet",
        ]
    );
    let bare = ["SYT-PC02 127.2.0.12 unprotected Emotet", "SYT-PC04 127.2.0.14 unprotected Emotet"];
    assert_eq!(listed(&["--infected", "--unprotected", "--agency", "so-y-te"]), bare);
    assert!(listed(&["--infected", "--unprotected", "--agency", "so-tttt"]).is_empty());
    assert_eq!(listed(&["--protected"]), ["SYT-PC01 127.2.0.11 protected "]);
    let figures = house.run("coverage agencies", &[]).well().stdout;
    let of = |agency: &str| {
        let line = figures.lines().find(|line| line.starts_with(&format!("{agency} "))).unwrap();
        line.split_whitespace().skip(1).map(|figure| figure.parse().unwrap()).collect::<Vec<u64>>()
    };
    assert_eq!(
        (of("so-y-te"), of("so-tttt"), of("all")),
        (vec![3, 1, 2, 0], vec![1, 0, 0, 1], vec![4, 1, 2, 1])
    );
    // A file without any row changes nothing.
    house.write("rỗng.csv", "Tên máy,IP\n");
    let refused = house.run("coverage import", &["rỗng.csv", "--source", "bkav so-y-te"]);
    assert!(
        refused.stderr.contains("there is no row in it; what was known before stays"),
        "{}",
        refused.stderr
    );
    assert!(house.run("coverage exports", &[]).well().stdout.contains("bkav so-y-te"));
}
