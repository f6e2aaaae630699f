//! The console's looking pages over HTTP and in Chromium: overview, query log, machines, hunts and alerts; what an officer never sees in
//! them, and that hostile names stay text.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::harness::browser::{Browser, Scheme};
use crate::harness::house::Setup;
use crate::harness::judges::{self, DESK};
use crate::harness::server::Server;
use crate::harness::staff::{Staff, account, console};
use crate::harness::wait_until;
use crate::harness::{nsd, pictures};

/// A name that would be markup, where somebody forgot.
const HOSTILE: &str = r#"<script>alert\(1\)</script>.evil1.example"#;

/// Two agencies, a machine of each in an inventory, and somebody of each role.
fn province() -> Server {
    let names: String = (0..20).map(|number| format!("evil{number}.example,Emotet\n")).collect();
    let inventory = |host: &str, client: &str, owner: &str| {
        format!("Tên máy;Địa chỉ IP;Người sử dụng\n{host};{client};{owner}\n")
    };
    let identity = |path: &str, agency: &str| {
        format!("[[identity]]\npath = \"{path}\"\nformat = \"inventory\"\nagency = \"{agency}\"\n")
    };
    let server = Setup::new(nsd::address())
        .csv("authority", &format!("domain,family\n{names}"))
        .agency("so-yt", "Sở Y tế", "127.1.0.0/16", "Phòng CNTT, 0299 000 001")
        .agency("so-gd", "Sở Giáo dục và Đào tạo", "127.2.0.0/16", "Phòng CNTT, 0299 000 002")
        .file("yt.csv", &inventory("PC-KETOAN", "127.1.0.5", "Nguyễn Thị An"))
        .file("gd.csv", &inventory("PC-HIEUTRUONG", "127.2.0.9", "Trần Bình"))
        .more(&identity("yt.csv", "so-yt"))
        .more(&identity("gd.csv", "so-gd"))
        .more("[console]\nlisten = [\"127.0.0.1:0\"]\n")
        .serve();
    account(&server, "phan-tich", "analyst", None);
    account(&server, "lan", "officer", Some("so-yt"));
    account(&server, "doc", "reader", None);
    server
}

fn fill(server: &Server) {
    let reader = Staff::sign_in(server, "doc");
    wait_until("the inventories", || {
        let page = reader.page("/machines");
        page.contains("PC-KETOAN") && page.contains("PC-HIEUTRUONG")
    });
    for (client, name) in [
        ("127.1.0.5", "evil7.example"),
        ("127.1.0.5", "www.third.example"),
        ("127.1.0.5", HOSTILE),
        ("127.2.0.9", "evil8.example"),
        ("127.2.0.9", "secret.third.example"),
    ] {
        server.dig().from(client).ask(name, "A");
    }
}

#[test]
fn a_hit_is_followed_from_the_overview_to_its_machine() {
    let server = province();
    fill(&server);
    let (analyst, officer) = (Staff::sign_in(&server, "phan-tich"), Staff::sign_in(&server, "lan"));
    wait_until("the cases", || {
        analyst.page("/").contains("PC-KETOAN") && analyst.page("/").contains("PC-HIEUTRUONG")
    });
    let page = analyst.page("/");
    for text in ["Máy đang nhiễm", "Emotet", "Sở Y tế", "Sở Giáo dục", "Truy vấn mỗi giây"]
    {
        assert!(page.contains(text), "{text}: {page}");
    }
    let own = officer.page("/");
    assert!(own.contains("Tổng quan cơ quan") && own.contains("PC-KETOAN"), "{own}");
    for text in ["PC-HIEUTRUONG", "Sở Giáo dục", "evil8", "/feeds", "/policy"] {
        assert!(!own.contains(text), "{text}: {own}");
    }
    let live: Value = serde_json::from_str(&officer.page("/live")).unwrap();
    assert!(live["queries"].is_string() && live["points"].is_string(), "{live}");

    // The log, by all its filters.
    let rows = |staff: &Staff, query: &str| {
        let lines = staff.page(&format!("/log/export?format=jsonl{query}"));
        lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(rows(&analyst, "").len(), 5);
    assert!(rows(&officer, "").iter().all(|row| row["agency"] == "so-yt"));
    for (query, count) in [
        ("&hits=1", 3),
        ("&client=127.2.0.9", 2),
        ("&client=PC-KETOAN", 3),
        ("&agency=so-gd", 2),
        ("&name=third.example", 2),
        ("&name=*.THIRD.example", 2),
        ("&type=AAAA", 0),
        ("&action=sinkhole", 3),
        ("&feed=authority", 3),
        ("&family=Emotet", 3),
        ("&family=khac", 0),
        ("&rcode=NOERROR&hits=1", 3),
        ("&since=1h", 5),
        ("&until=1h", 0),
    ] {
        assert_eq!(rows(&analyst, query).len(), count, "{query}");
    }
    assert!(rows(&officer, "&agency=so-gd").is_empty() && rows(&officer, "&client=127.2.0.9").is_empty());
    assert_eq!(officer.get("/log/export?format=csv&client=PC-HIEUTRUONG").status, 422);
    let page = analyst.page("/log?client=127.1.0.5");
    assert!(page.contains("&lt;script&gt;alert") && !page.contains("<script>alert"), "{page}");
    assert!(page.contains("PC-KETOAN") && page.contains("Quanh đó"), "{page}");
    assert!(analyst.page("/log?name=khong.co.vn").contains("Không có truy vấn nào khớp"));
    for wrong in ["type=nonsense", "since='%20OR%201", "client=nobody", "after=x", "rcode=%00"] {
        let page = analyst.get(&format!("/log?{wrong}"));
        assert!(page.status == 422 || page.body.contains("role=\"alert\""), "{wrong}: {page:?}");
    }

    // The machine: by name, by address, and its page; another agency's is not there.
    let list = officer.page("/machines");
    assert!(
        list.contains("PC-KETOAN") && list.contains("Nguyễn Thị An") && !list.contains("PC-HIEUTRUONG"),
        "{list}"
    );
    assert!(analyst.page("/machines?text=hieutruong").contains("Trần Bình"));
    assert!(officer.page("/machines?text=hieutruong").contains("Không tìm thấy máy nào"));
    assert!(!officer.page("/machines/export?format=csv").contains("HIEUTRUONG"));
    let of = |list: &str, host: &str| {
        let (before, _) = list.split_once(&format!("\">{host}")).unwrap();
        before.rsplit_once("href=\"").unwrap().1.to_owned()
    };
    let machine = of(&list, "PC-KETOAN");
    let page = officer.page(&machine);
    for text in ["Nguyễn Thị An", "evil7.example", "Emotet", "127.1.0.5", "kiểm kê", "Ca xử lý"] {
        assert!(page.contains(text), "{text}: {page}");
    }
    let other = of(&analyst.page("/machines"), "PC-HIEUTRUONG");
    assert_eq!([officer.get(&other).status, officer.get("/machines/127.2.0.9").status], [404, 404]);
    assert!(officer.page("/machines/127.1.0.5").contains("PC-KETOAN"));
    for wrong in ["/machines/m-999999", "/machines/..%2F..%2Fetc", "/machines/%00"] {
        assert_eq!(analyst.get(wrong).status, 404, "{wrong}");
    }
    let audit = fs::read_to_string(server.house().path().join("data/audit.jsonl")).unwrap();
    assert!(audit.lines().any(|line| line.contains("127.1.0.5") && line.contains("lan")), "{audit}");
}

#[test]
fn hunts_and_alerts_tell_what_was_missed() {
    let server = province();
    fill(&server);
    let (analyst, reader) = (Staff::sign_in(&server, "phan-tich"), Staff::sign_in(&server, "doc"));
    let officer = Staff::sign_in(&server, "lan");
    assert_eq!([officer.get("/hunts").status, officer.get("/hunts/1").status], [403, 403]);
    assert_eq!(reader.post("/hunts", &[("sought", "third.example")]).status, 403);
    let refused = analyst.post("/hunts", &[("sought", "<b>")]);
    assert!(refused.body.contains("Không có tên miền hay địa chỉ nào đọc được"), "{refused:?}");
    let begun =
        analyst.post("/hunts", &[("sought", "third[.]example\n203.0.113.7\n"), ("title", "<i>công văn</i>")]);
    let place = begun.field("location").unwrap().to_owned();
    wait_until("the hunt", || !reader.page(&place).contains("Đang tìm"));
    let page = reader.page(&place);
    for text in
        ["Xong", "www.third.example", "secret.third.example", "PC-KETOAN", "đã lọt", "&lt;i&gt;công văn"]
    {
        assert!(page.contains(text), "{text}: {page}");
    }
    let csv = reader.page(&format!("{place}/export?format=csv"));
    assert_eq!(csv.lines().count(), 3, "{csv}");
    assert!(reader.page("/hunts").contains("&lt;i&gt;công văn"));
    assert_eq!(reader.post(&format!("{place}/remove"), &[]).status, 403);
    assert!(analyst.act(&format!("{place}/remove"), &[]).contains("Đã xóa"));
    assert_eq!(analyst.get(&place).status, 404);

    // What a later list finds in the log.
    let names: String = (0..20).map(|number| format!("evil{number}.example,Emotet\n")).collect();
    server.house().write("authority.txt", &format!("domain,family\n{names}third.example,Qakbot\n"));
    wait_until("the finds", || {
        let page = analyst.page("/hunts");
        page.contains("www.third.example") && page.contains("secret.third.example")
    });
    // Alerts are kept for a minute, so only what was there from the beginning can be asked for.
    let page = officer.page("/alerts");
    assert!(page.contains("liệt kê") && !page.contains("Nguồn authority"), "{page}");
    assert!(officer.page("/alerts/export?format=csv").starts_with("\u{feff}detector,"));
}

fn in_language(path: &str, language: &str) -> String {
    let join = if path.contains('?') { '&' } else { '?' };
    format!("{path}{join}language={language}")
}

#[test]
fn the_machine_of_a_hit_is_found_in_a_browser() {
    let server = province();
    fill(&server);
    let analyst = Staff::sign_in(&server, "phan-tich");
    wait_until("the cases", || analyst.page("/").contains("PC-KETOAN"));
    let begun = analyst.post("/hunts", &[("sought", "third.example")]);
    let hunt = begun.field("location").unwrap().to_owned();
    wait_until("the hunt", || !analyst.page(&hunt).contains("Đang tìm"));
    let home = tempfile::tempdir().unwrap();
    let browser = Browser::start(home.path());
    let address = console(&server);
    let go = |path: &str| browser.go(&format!("http://{address}{path}"));
    go("/sign-in");
    let (name, value) = analyst.cookie();
    browser.set_cookie(name, value);
    let pages = [
        ("overview", "/"),
        ("log", "/log?since=24h"),
        ("machines", "/machines"),
        ("machine", "/machines/127.1.0.5"),
        ("hunts", "/hunts"),
        ("hunt", &hunt),
        ("alerts", "/alerts"),
    ];
    for (page, path) in pages {
        for language in ["vi", "en"] {
            go(&in_language(path, language));
            judges::assert_fine(&browser, page);
        }
    }
    if let Some(folder) = std::env::var_os("SACHDNS_CONSOLE_SCREENSHOTS") {
        pictures::take(Path::new(&folder));
    }
    browser.resize(DESK);

    // From the overview to the machine by its case's row, and on to all that it asked.
    go("/");
    browser.wait_for("PC-KETOAN");
    browser.run(
        "[...document.querySelectorAll('main a')].find(link => link.textContent.trim() === 'PC-KETOAN').click(); return null",
    );
    browser.wait_for("Nguyễn Thị An");
    browser.run("[...document.querySelectorAll('main a.button')][0].click(); return null");
    browser.wait_for("www.third.example");
    // A bar of the brush narrows to its time: the first with hits, whatever hour it is by now.
    go("/log?since=24h");
    browser.run(
        "[...document.querySelectorAll('main svg a')].find(bar => bar.querySelector('rect.part'))
            .dispatchEvent(new MouseEvent('click', {bubbles: true})); return null",
    );
    browser.wait_for("evil7.example");
    assert!(browser.run("return location.search").as_str().unwrap().contains("until="));
    // Colours by choice, the other language, and no complaint of the browser (its policy of contents).
    browser.click("button[name=theme]");
    browser.wait_for("Nhật ký truy vấn");
    assert_eq!(browser.run("return document.documentElement.dataset.theme"), "dark");
    browser.click("button[name=language]");
    browser.wait_for("Query log");
    browser.prefer(Scheme::Light);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
