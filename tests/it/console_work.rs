//! The pages on which staff work, over HTTP as a browser without scripts asks, and in Chromium: a case through its states, a refused feed,
//! an exception that `dig` sees within a second, what an officer may do and see, exports, both languages.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::browser::Browser;
use crate::harness::house::Setup;
use crate::harness::http;
use crate::harness::judges::{self, DESK};
use crate::harness::namespace::inside;
use crate::harness::nsd;
use crate::harness::server::Server;
use crate::harness::staff::{Staff, account, console};
use crate::harness::wait_until;

/// A rule is live when the page that says so is there: far below a second, of which a busy machine takes its part.
const LIVE: Duration = Duration::from_secs(5);
const SINKHOLE: [&str; 1] = ["10.10.10.10"];
/// A text that would be markup or a formula, where somebody forgot.
const HOSTILE: &str = "=1+1<script>alert('x')</script>";

/// So many names that the gate's bounds hold, and `mark`.
fn list(count: usize, mark: &str) -> String {
    let names: String = (0..count).map(|number| format!("evil{number}.example,Emotet\n")).collect();
    format!("domain,family\n{names}{mark},Qakbot\n")
}

/// Two agencies, feeds, and somebody of each role.
fn province() -> Server {
    let server = Setup::new(nsd::address())
        .csv("authority", &list(200, "first.example"))
        .feed("other", "other.example\n")
        .agency("so-yt", "Sở Y tế", "127.1.0.0/16", "Phòng CNTT, 0299 000 001")
        .agency("so-gd", "Sở Giáo dục và Đào tạo", "127.2.0.0/16", "Phòng CNTT, 0299 000 002")
        .file("protected.txt", "gov.vn\n")
        .more("[gate]\nprotected = [\"protected.txt\"]\n[console]\nlisten = [\"127.0.0.1:0\"]\n")
        .serve();
    account(&server, "quan-tri", "admin", None);
    account(&server, "phan-tich", "analyst", None);
    account(&server, "lan", "officer", Some("so-yt"));
    account(&server, "minh", "officer", Some("so-gd"));
    account(&server, "doc", "reader", None);
    server
}

/// What case exports say, as this one is sent it.
fn cases(staff: &Staff, query: &str) -> Vec<Value> {
    let lines = staff.page(&format!("/cases/export?format=jsonl&state=all{query}"));
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text<'a>(case: &'a Value, key: &str) -> &'a str {
    case[key].as_str().unwrap_or_default()
}

/// Asks as this client, and waits for its case.
fn infect(server: &Server, staff: &Staff, client: &str, name: &str) -> String {
    assert_eq!(server.dig().from(client).ask(name, "A").rdata("A"), SINKHOLE);
    let find = || cases(staff, "").into_iter().find(|case| text(case, "client") == client);
    wait_until("a case", || find().is_some());
    text(&find().unwrap(), "ticket").to_owned()
}

fn state_of(staff: &Staff, ticket: &str) -> String {
    let case = cases(staff, "").into_iter().find(|case| text(case, "ticket") == ticket);
    text(&case.unwrap(), "state").to_owned()
}

#[test]
fn a_case_is_taken_through_its_states_by_those_who_may() {
    let server = province();
    let (analyst, reader) = (Staff::sign_in(&server, "phan-tich"), Staff::sign_in(&server, "doc"));
    let (officer, other) = (Staff::sign_in(&server, "lan"), Staff::sign_in(&server, "minh"));
    let ticket = infect(&server, &analyst, "127.1.0.5", "evil7.example");
    let theirs = infect(&server, &analyst, "127.2.0.9", "evil8.example");
    let at = |action: &str| format!("/cases/{ticket}/{action}");

    // The officer sees and works on the own agency's alone, and does not judge.
    let page = officer.page(&format!("/cases/{ticket}"));
    for text in ["Emotet", "Khả năng cao", "127.1.0.5", "Sở Y tế", "0299 000 001", "Mở ca", "evil7.example"]
    {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert_eq!(other.get(&format!("/cases/{ticket}")).status, 404);
    assert_eq!(other.post(&at("note"), &[("text", "không phải của tôi")]).status, 404);
    assert_eq!(cases(&other, "").len(), 1);
    assert!(!other.page("/cases?state=all").contains(&ticket));
    assert!(cases(&other, "&agency=so-yt").is_empty());
    assert_eq!(officer.post(&at("close"), &[("reason", "xong")]).status, 403);
    assert_eq!(officer.post(&at("verdict"), &[("verdict", "confirmed"), ("reason", "rõ")]).status, 403);
    assert_eq!(reader.post(&at("note"), &[("text", "chỉ đọc")]).status, 403);
    assert!(!page.contains("Đóng ca") && !reader.page(&format!("/cases/{ticket}")).contains("Thêm ghi chú"));

    assert_eq!(state_of(&officer, &ticket), "new");
    let said = officer.act(&at("told"), &[("text", "gọi điện cho phòng kế toán")]);
    assert!(
        said.contains("Đã ghi nhận việc thông báo") && said.contains("gọi điện cho phòng kế toán"),
        "{said}"
    );
    assert_eq!(state_of(&officer, &ticket), "notified");
    officer.act(&at("assign"), &[("officer", "Trần Thị B")]);
    officer.act(&at("note"), &[("text", HOSTILE)]);
    let said = officer.act(&at("clean"), &[("text", "quét bằng Bkav")]);
    assert!(!said.contains("<script>alert") && said.contains("&lt;script&gt;alert"), "{said}");
    assert_eq!(state_of(&officer, &ticket), "cleaned");

    // The analyst judges. What is not filled in, or cannot be, is said in words.
    let refused = analyst.post(&at("close"), &[]);
    assert_eq!((refused.status, refused.body.contains("hãy điền mục này")), (422, true));
    analyst.act(&at("close"), &[("reason", "máy đã được cài lại")]);
    let refused = analyst.post(&at("told"), &[("text", "lại gọi")]);
    assert_eq!((refused.status, refused.body.contains("đã đóng")), (422, true), "{refused:?}");
    analyst.act(&at("reopen"), &[("reason", "đóng nhầm")]);
    let reopened = analyst.page(&format!("/cases/{ticket}"));
    assert!(reopened.contains("đóng nhầm") && reopened.contains("Tái nhiễm 1 lần"), "{reopened}");
    let refused = analyst.post(&at("merge"), &[("into", &ticket)]);
    assert_eq!((refused.status, refused.body.contains("cùng một ca")), (422, true));
    analyst.act(&at("merge"), &[("into", &theirs)]);
    let merged = analyst.get(&format!("/cases/{ticket}"));
    assert_eq!((merged.status, merged.field("location")), (303, Some(&*format!("/cases/{theirs}"))));

    // Each change is in the audit, with who and on what.
    let audit = fs::read_to_string(server.house().path().join("data/audit.jsonl")).unwrap();
    for (account, action) in
        [("lan", "case.told"), ("lan", "case.note"), ("phan-tich", "case.close"), ("phan-tich", "case.merge")]
    {
        let is_it = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap();
            text(&line, "account") == account
                && text(&line, "action") == action
                && text(&line, "on") == ticket
        };
        assert!(audit.lines().any(is_it), "{account} {action}: {audit}");
    }
}

#[test]
fn many_cases_are_worked_on_at_once_and_exported() {
    let server = province();
    let (analyst, officer) = (Staff::sign_in(&server, "phan-tich"), Staff::sign_in(&server, "lan"));
    let own: Vec<String> = (1..4)
        .map(|number| infect(&server, &analyst, &format!("127.1.0.{number}"), "evil1.example"))
        .collect();
    let foreign = infect(&server, &analyst, "127.2.0.1", "evil1.example");
    let ticked: Vec<(&str, &str)> =
        own.iter().chain([&foreign]).map(|ticket| ("ticket", &**ticket)).collect();
    let said = officer.act(
        "/cases/bulk/note",
        &[&ticked[..], &[("text", "=HYPERLINK(\"x\")"), ("back", "state=all&q=evil1")]].concat(),
    );
    assert!(said.contains("Đã ghi nhận cho 3 ca") && said.contains("1 ca không thực hiện được"), "{said}");
    assert!(!analyst.page(&format!("/cases/{foreign}")).contains("HYPERLINK"));
    assert_eq!(officer.post("/cases/bulk/close", &ticked).status, 403);
    let said = analyst.act("/cases/bulk/close", &[&ticked[..2], &[("text", "thử nghiệm")]].concat());
    assert!(said.contains("Đã ghi nhận cho 2 ca"), "{said}");

    // Filters, the board, and the same narrowed in exports; formulas are defused.
    assert!(analyst.page("/cases?state=closed").contains(&own[0]));
    assert!(!analyst.page("/cases").contains(&own[0]));
    assert!(analyst.page("/cases?view=board").contains(&own[2]));
    assert!(analyst.page(&format!("/cases?q={}", "127.1.0.3")).contains(&own[2]));
    assert_eq!(analyst.get(&format!("/cases?q={}", own[2])).status, 303);
    assert!(analyst.page("/cases?family=khong-co").contains("Không có ca nào như vậy"));
    assert_eq!(analyst.get("/cases?state=nonsense").status, 422);
    let csv = officer.get("/cases/export?format=csv&state=all");
    assert_eq!(csv.field("content-disposition"), Some("attachment; filename=\"sachdns-cases.csv\""));
    let lines: Vec<&str> = csv.body.lines().collect();
    assert_eq!(
        (lines.len(), lines[0].starts_with("\u{feff}ticket,state,class,family")),
        (4, true),
        "{}",
        csv.body
    );
    assert!(lines[1..].iter().all(|line| line.contains(",so-yt,") && line.contains(",Emotet,")));

    // An agency's page, the league table, and contacts, as far as each may see.
    let league = analyst.page("/agencies");
    assert!(league.contains("Sở Y tế") && league.contains("Sở Giáo dục"), "{league}");
    assert!(analyst.page("/agencies/export?format=csv").contains("so-gd,"));
    assert_eq!(officer.get("/agencies").field("location"), Some("/agencies/so-yt"));
    assert!(officer.page("/agencies/so-yt").contains("0299 000 001"));
    assert_eq!(officer.get("/agencies/so-gd").status, 404);
    assert!(!officer.page("/agencies/export?format=csv").contains("so-gd"));
    for path in ["/feeds", "/feeds/authority", "/policy", "/policy/rules", "/policy/proposals"] {
        assert_eq!(officer.get(path).status, 403, "{path}");
    }
    let sinkhole = server.http.unwrap();
    let visit =
        "GET /gate.php HTTP/1.1\r\nHost: evil1.example\r\nUser-Agent: =cmd|<b>\r\nConnection: close\r\n\r\n";
    http::exchange(sinkhole, visit.as_bytes());
    wait_until("the contact", || analyst.page("/contacts").contains("/gate.php"));
    let page = analyst.page("/contacts?via=http&name=example");
    assert!(page.contains("evil1.example") && page.contains("=cmd|&lt;b&gt;"), "{page}");
    assert!(analyst.page("/contacts/export?format=csv").contains("\"'=cmd|<b>\""));
    assert!(!officer.page("/contacts").contains("/gate.php"), "it came from no address of the agency");
    assert!(analyst.page("/contacts?via=udp").contains("Chưa có kết nối nào như vậy"));
}

#[test]
fn what_analysts_decide_is_seen_by_dig_within_a_second() {
    let server = province();
    let (analyst, reader) = (Staff::sign_in(&server, "phan-tich"), Staff::sign_in(&server, "doc"));
    let is_sinkholed = |name: &str| server.dig().ask(name, "A").rdata("A") == SINKHOLE;

    let page = analyst.page("/policy?name=www.evil7.example");
    for text in ["bị chặn", "theo nguồn authority", "Emotet", "evil7.example (cả các tên con)"] {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(analyst.page("/policy?name=www.evil7.example&lines=1").contains("authority.txt, dòng 9"));
    assert!(reader.page("/policy?name=harmless.example").contains("không bị chặn"));
    assert_eq!(
        reader
            .post("/policy/rules", &[("kind", "allow"), ("subjects", "evil7.example"), ("reason", "x")])
            .status,
        403
    );

    assert!(is_sinkholed("evil7.example"));
    let begun = Instant::now();
    let said = analyst.act(
        "/policy/rules",
        &[
            ("kind", "allow"),
            ("subjects", "evil7.example"),
            ("reason", "trang của chúng ta"),
            ("expires", "7"),
        ],
    );
    assert!(!is_sinkholed("evil7.example"), "{:?}", begun.elapsed());
    assert!(begun.elapsed() < LIVE, "{:?}", begun.elapsed());
    for text in
        ["Đã có hiệu lực", "được cho qua", "quy tắc riêng số 1 của phan-tich", "quy tắc riêng đứng trước"]
    {
        assert!(said.contains(text), "{text}: {said}");
    }
    let rules = analyst.page("/policy/rules");
    assert!(rules.contains("trang của chúng ta") && rules.contains("cho qua"), "{rules}");
    assert!(reader.page("/policy/rules/export?format=csv").contains("trang của chúng ta"));
    analyst.act("/policy/rules/1/end", &[("reason", "hết cần")]);
    assert!(is_sinkholed("evil7.example"));
    assert!(analyst.page("/policy/rules?state=ended").contains("hết cần"));

    // What is protected is blocked only by who says so; what is no name is said.
    let wrong =
        [("gov.vn", "được bảo vệ"), ("http://x/", "không phải tên miền"), ("10.10.10.10", "không được chặn")];
    for (subject, why) in wrong {
        let refused =
            analyst.post("/policy/rules", &[("kind", "block"), ("subjects", subject), ("reason", "thử")]);
        assert_eq!(refused.status, 422, "{subject}: {refused:?}");
        assert!(refused.body.contains(why), "{subject}: {}", refused.body);
    }

    // A false positive's names are proposed, and pass once somebody accepts that.
    let ticket = infect(&server, &analyst, "127.1.0.7", "evil9.example");
    analyst.act(
        &format!("/cases/{ticket}/verdict"),
        &[("verdict", "false-positive"), ("name", "evil9.example"), ("reason", "phần mềm kế toán")],
    );
    let page = analyst.page("/policy/proposals");
    assert!(page.contains("evil9.example") && page.contains("phần mềm kế toán"), "{page}");
    let action = page.split("action=\"").find(|rest| rest.starts_with("/policy/proposals/")).unwrap();
    let action = action.split('"').next().unwrap().to_owned();
    assert!(is_sinkholed("evil9.example"));
    analyst.act(&action, &[("reason", "đã kiểm tra")]);
    assert!(!is_sinkholed("evil9.example"));
    assert!(analyst.page("/policy/proposals").contains("Không có đề xuất nào"));
}

#[test]
fn a_refused_feed_is_looked_at_replayed_and_approved() {
    let server = province();
    let (analyst, reader) = (Staff::sign_in(&server, "phan-tich"), Staff::sign_in(&server, "doc"));
    for client in ["127.1.0.3", "127.2.0.3"] {
        server.dig().from(client).ask("www.third.example", "A");
    }
    assert!(reader.page("/feeds").contains("Đang có hiệu lực"));
    server.house().write(
        "authority.txt",
        &format!("{}{HOSTILE}.example,\nevil500.example,=cmd\n", list(20, "third.example")),
    );
    let is_refused = || reader.page("/feeds").contains("Bị chặn, chờ duyệt");
    wait_until("the refusal", is_refused);

    let page = analyst.page("/feeds/authority");
    assert!(page.contains("giảm quá mức cho phép"), "{page}");
    wait_until("the differences", || {
        let page = analyst.page("/feeds/authority");
        page.contains("third.example") && page.contains("−181") && page.contains("Qakbot")
    });
    let version =
        page.split("name=\"version\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert_eq!(
        reader
            .post(
                "/feeds/authority/decide",
                &[("decision", "approve"), ("version", &version), ("reason", "x")]
            )
            .status,
        403
    );

    let begun = analyst.act("/feeds/authority/replay", &[("version", &version)]);
    assert!(begun.contains("Đang chạy lại nhật ký"), "{begun}");
    wait_until("the replay", || {
        let page = analyst.page("/feeds/authority");
        page.contains("sẽ bị chặn") && page.contains("www.third.example") && page.contains("Sở Y tế")
    });
    let refused = analyst.post("/feeds/authority/decide", &[("decision", "approve"), ("version", &version)]);
    assert_eq!(refused.status, 422);
    let said = analyst.act(
        "/feeds/authority/decide",
        &[("decision", "approve"), ("version", &version), ("reason", "đã hỏi cơ quan phát hành")],
    );
    assert!(said.contains("Đã duyệt"), "{said}");
    wait_until("the version in force", || server.dig().ask("third.example", "A").rdata("A") == SINKHOLE);
    wait_until("the history", || {
        let page = reader.page("/feeds/authority");
        page.contains("Đang có hiệu lực") && page.contains("phan-tich")
    });
    assert_eq!(reader.get("/feeds/nonsense").status, 404);
    assert_eq!(reader.get("/feeds/authority?version=../../etc/passwd").status, 404);
}

/// A browser in which somebody is signed in.
fn browse(server: &Server, staff: &Staff, home: &Path) -> Browser {
    let browser = Browser::start(home);
    browser.go(&format!("http://{}/sign-in", console(server)));
    let (name, value) = staff.cookie();
    browser.set_cookie(name, value);
    browser
}

#[test]
fn staff_work_in_a_browser() {
    inside(|| {
        let server = province();
        let (analyst, officer) = (Staff::sign_in(&server, "phan-tich"), Staff::sign_in(&server, "lan"));
        let ticket = infect(&server, &analyst, "127.1.0.5", "evil7.example");
        infect(&server, &analyst, "127.2.0.9", "evil8.example");
        server.house().write("authority.txt", &list(20, "third.example"));
        wait_until("the refusal", || analyst.page("/feeds").contains("Bị chặn, chờ duyệt"));
        wait_until("the differences", || analyst.page("/feeds/authority").contains("third.example"));
        let home = tempfile::tempdir().unwrap();
        let browser = browse(&server, &analyst, home.path());
        let address = console(&server);
        let go = |path: &str| browser.go(&format!("http://{address}{path}"));
        let pages = [
            ("cases", "/cases".to_owned()),
            ("cases-board", "/cases?view=board".to_owned()),
            ("case", format!("/cases/{ticket}")),
            ("agencies", "/agencies".to_owned()),
            ("agency", "/agencies/so-yt".to_owned()),
            ("feeds", "/feeds".to_owned()),
            ("feed", "/feeds/authority".to_owned()),
            ("policy", "/policy?name=www.evil7.example".to_owned()),
            ("rules", "/policy/rules".to_owned()),
            ("contacts", "/contacts".to_owned()),
        ];
        for (name, path) in &pages {
            go(path);
            judges::assert_fine(&browser, name);
        }

        // A case, by hand.
        browser.resize(DESK);
        go("/cases");
        browser.click(&format!("a[href='/cases/{ticket}']"));
        browser.wait_for("Việc tiếp theo");
        browser.type_into("form[action$='/told'] input[name=text]", "gọi điện");
        browser.click("form[action$='/told'] button");
        browser.wait_for("Đã ghi nhận việc thông báo");
        // Ticked ones at once: a script ticks all.
        go("/cases");
        browser.click("input[data-all=ticket]");
        browser.type_into("#bulk input[name=text]", "kiểm tra tuần này");
        browser.click("#bulk button[formaction='/cases/bulk/note']");
        browser.wait_for("Đã ghi nhận cho 2 ca");
        // A refused feed is approved.
        go("/feeds");
        browser.click("a[href='/feeds/authority']");
        browser.type_into("form[action$='/decide'] input[name=reason]", "đã kiểm tra");
        browser.click("form[action$='/decide'] button");
        browser.wait_for("Đã duyệt");
        wait_until("the version in force", || server.dig().ask("third.example", "A").rdata("A") == SINKHOLE);
        // An exception, which dig sees.
        go("/policy?name=evil3.example");
        browser.click("input[name=kind][value=allow]");
        browser.type_into("form[action='/policy/rules'] input[name=reason]", "máy chủ thư của tỉnh");
        browser.click("form[action='/policy/rules'] button");
        browser.wait_for("Đã có hiệu lực");
        assert!(server.dig().ask("evil3.example", "A").rdata("A") != SINKHOLE);
        // In English.
        browser.click("button[name=language][value=en]");
        browser.wait_for("Policy");
        go("/cases");
        browser.wait_for("Overdue");
        browser.click("button[name=language][value=vi]");
        browser.wait_for("Quá hạn");
        // What a script or style of another origin would leave here.
        assert_eq!(browser.complaints(), [""; 0]);

        // The officer.
        let (name, value) = officer.cookie();
        browser.set_cookie(name, value);
        go("/cases");
        browser.wait_for(&ticket);
        let page = browser.text("body");
        assert!(!page.contains("127.2.0.9") && !page.contains("Nguồn danh sách"), "{page}");
    });
}
