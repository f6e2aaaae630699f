//! Who comes into the console: the first admin by a link, others by invitation and command, over TLS and behind a proxy; passwords, the
//! second factor, and how often somebody may guess.

use std::fs;
use std::sync::Arc;

use crate::harness::authority::Authority;
use crate::harness::browser::{Browser, Scheme};
use crate::harness::house::{CONFIG, Setup};
use crate::harness::judges::{DESK, PHONE};
use crate::harness::namespace::inside;
use crate::harness::server::Server;
use crate::harness::staff::{PASSWORD, account, console};
use crate::harness::visitor::{Visitor, oathtool};
use crate::harness::{PATIENCE, nsd, run, tls, wait_until};

/// The console's lines of a configuration.
fn with_console(lines: &str) -> Server {
    Setup::new(nsd::address())
        .agency("so-yt", "Sở Y tế", "127.1.0.0/16", "Phòng CNTT")
        .more(&format!("[console]\nlisten = [\"127.0.0.1:0\"]\n{lines}"))
        .serve()
}

/// The path of the link that the log has for the first admin.
fn first_link(server: &Server) -> String {
    let line = server.stderr().wait(PATIENCE, |line| line.contains("/first?code=")).unwrap();
    let code = line.split("/first?code=").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    format!("/first?code={code}")
}

fn code_of(link: &str) -> &str {
    link.trim().rsplit("code=").next().unwrap()
}

#[test]
fn the_first_admin_comes_by_a_link_that_is_good_once_and_invites_others() {
    let server = with_console("");
    let address = console(&server);
    let link = first_link(&server);
    let mut admin = Visitor::new(address);
    assert!(admin.page(&link).contains("Tạo quản trị viên đầu tiên"));
    let code = code_of(&link);
    let fields = [("code", code), ("name", "an"), ("password", PASSWORD), ("again", PASSWORD)];
    let differs = [("code", code), ("name", "an"), ("password", PASSWORD), ("again", "khác hẳn")];
    assert_eq!(admin.send("/first", &differs).status, 422);
    let short = [("code", code), ("name", "an"), ("password", "ngắn"), ("again", "ngắn")];
    assert_eq!(admin.send("/first", &short).status, 422);
    assert_eq!(admin.send("/first", &fields).field("location"), Some("/"));
    assert!(admin.page("/").contains("an"));
    assert_eq!(Visitor::new(address).send("/first", &fields).status, 422, "it was used");

    let command = server.house().run("account link", &[]);
    assert!(!command.status.success() && command.stderr.contains("there is an admin"), "{command:?}");

    let invited = admin.post("/users", &[("name", "lan"), ("role", "officer"), ("agency", "so-yt")]);
    assert_eq!(invited.status, 200, "{}", invited.body);
    let link = invited.body.split("<code id=\"link\">").nth(1).unwrap().split('<').next().unwrap();
    assert!(link.starts_with(&format!("http://{address}/first?code=")), "{link}");
    let mut officer = Visitor::new(address);
    let fields = [("code", code_of(link)), ("password", PASSWORD), ("again", PASSWORD)];
    assert_eq!(officer.send("/first", &fields).status, 303);
    assert_eq!(officer.get("/users").status, 403);
    assert!(officer.page("/account").contains("Cán bộ cơ quan"));

    let audit = admin.page("/audit/export?format=jsonl");
    for (what, on) in [("account.sign-in", "an"), ("account.add", "lan"), ("account.sign-in", "lan")] {
        let is = |line: &str| {
            line.contains(&format!("\"action\":\"{what}\"")) && line.contains(&format!("\"on\":\"{on}\""))
        };
        assert!(audit.lines().any(is), "{what} {on}: {audit}");
    }
    // Ended by the admin, at once.
    assert_eq!(admin.post("/users/lan/disable", &[]).status, 303);
    assert!(officer.get("/account").field("location").unwrap().starts_with("/sign-in"));
}

#[test]
fn accounts_are_managed_by_command_while_the_server_runs() {
    let server = with_console("");
    let house = server.house();
    account(&server, "an", "admin", None);
    account(&server, "lan", "officer", Some("so-yt"));
    let mut lan = Visitor::signed_in(console(&server), "lan", PASSWORD);
    let well = |command: &str, arguments: &[&str]| house.run(command, arguments).well().stdout;
    let ill = |command: &str, arguments: &[&str]| {
        let finished = house.run(command, arguments);
        assert!(!finished.status.success(), "{finished:?}");
        finished.stderr
    };
    let list = well("account list", &[]);
    assert!(list.contains("lan") && list.contains("so-yt") && list.contains("officer"), "{list}");
    assert_eq!(lan.get("/account").status, 200);
    well("account role", &["lan", "--role", "analyst"]);
    assert_eq!(lan.get("/account").status, 303, "the session ended with the role");
    let mut lan = Visitor::signed_in(console(&server), "lan", PASSWORD);
    let end = ["account", "sessions", "end", "--config", CONFIG, "lan"];
    run(&mut house.command(&end)).well();
    assert_eq!(lan.get("/account").status, 303);
    assert!(ill("account remove", &["an"]).contains("last admin"));
    assert!(ill("account disable", &["binh"]).contains("`sachdns account list` shows all"));
    assert!(ill("account role", &["lan", "--role", "officer"]).contains("name it by its id"));
    assert!(ill("account role", &["lan", "--role", "officer", "--agency", "x"]).contains("no [[agency]]"));
    let link = well("account link", &["lan"]);
    let fields =
        [("code", code_of(&link)), ("password", "một mật khẩu khác"), ("again", "một mật khẩu khác")];
    assert_eq!(Visitor::new(console(&server)).send("/first", &fields).status, 303);
    Visitor::signed_in(console(&server), "lan", "một mật khẩu khác");
    well("account remove", &["lan"]);
    let audit = house.read("data/audit.jsonl");
    assert!(audit.contains("\"account.remove\"") && audit.contains("\"account.role\""), "{audit}");
}

#[test]
fn the_second_factor_can_be_a_must_and_a_telephone_reckons_it() {
    let server = with_console("totp = [\"admin\"]\n");
    account(&server, "an", "admin", None);
    let address = console(&server);
    let mut an = Visitor::signed_in(address, "an", PASSWORD);
    for path in ["/", "/users", "/settings", "/account"] {
        assert_eq!(an.get(path).field("location"), Some("/account/totp"), "{path}");
    }
    let page = an.page("/account/totp");
    let secret = page.split("<code id=\"secret\">").nth(1).unwrap().split('<').next().unwrap().to_owned();
    let csrf = page.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert_eq!(an.send("/account/totp", &[("csrf", &csrf), ("code", "000000")]).status, 422);
    let first = oathtool(&secret);
    let enrolled = an.send("/account/totp", &[("csrf", &csrf), ("code", &first)]);
    assert_eq!(enrolled.status, 200, "{}", enrolled.body);
    assert_eq!(enrolled.body.matches("<li><code>").count(), 10);
    let recovery = enrolled.body.split("<li><code>").nth(1).unwrap().split('<').next().unwrap().to_owned();
    assert_eq!(an.get("/users").status, 200);

    let mut again = Visitor::new(address);
    let step = again.send("/sign-in", &[("name", "an"), ("password", PASSWORD), ("back", "/audit")]);
    assert_eq!(step.status, 200);
    assert!(again.cookies().is_empty(), "there is no session before the code");
    let token = step.body.split("name=\"step\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    // The code of the enrolment does not count again.
    assert_eq!(again.send("/sign-in", &[("step", token), ("code", &first)]).status, 422);
    let entered = again.send("/sign-in", &[("step", token), ("code", &recovery), ("back", "/audit")]);
    assert_eq!(entered.field("location"), Some("/audit"));
    assert_eq!(again.get("/audit").status, 200);
}

#[test]
fn guesses_are_slowed_down_and_say_for_how_long() {
    let server = with_console("");
    account(&server, "an", "admin", None);
    let mut stranger = Visitor::new(console(&server));
    let statuses: Vec<u16> = (0..12)
        .map(|_| stranger.send("/sign-in", &[("name", "an"), ("password", "sai mật khẩu")]).status)
        .collect();
    assert_eq!(statuses[..10], [422; 10]);
    assert_eq!(statuses[10..], [429; 2]);
    let slowed = stranger.send("/sign-in", &[("name", "an"), ("password", PASSWORD)]);
    assert_eq!(slowed.status, 429);
    let wait: u64 = slowed.field("retry-after").unwrap().parse().unwrap();
    assert!((1..=31).contains(&wait), "{wait}");
    assert!(slowed.body.contains("Hãy thử lại sau"), "{}", slowed.body);
}

#[test]
fn over_tls_cookies_are_secure_and_http_is_led_there() {
    let authority = Authority::new();
    let (certificate, key) = authority.issue("console.example.test");
    let server = Setup::new(nsd::address())
        .file("console.pem", &certificate)
        .file("console-key.pem", &key)
        .more("[console]\nlisten = [\"127.0.0.1:0\"]\ncertificate = \"console.pem\"\nkey = \"console-key.pem\"\n")
        .serve();
    account(&server, "an", "admin", None);
    let config = Arc::new(tls::config(&authority, &["http/1.1"]));
    let address = console(&server);
    let mut an = Visitor::over_tls(address, config, "console.example.test");
    let entered = an.send("/sign-in", &[("name", "an"), ("password", PASSWORD)]);
    let cookie = entered.field("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-session="), "{cookie}");
    for part in ["; Secure", "; HttpOnly", "; SameSite=Lax", "; Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Domain"), "{cookie}");
    assert!(entered.field("strict-transport-security").is_some_and(|it| it.starts_with("max-age=")));
    assert_eq!(an.get("/").status, 200);
    let mut asks_again = an.clone();
    let mut is_served = move || asks_again.get("/").status == 200;

    // A renewed certificate: one without its key changes nothing; the pair is shown from then on.
    let shown = || {
        let mut tls = tls::Tls::to_host(address, &authority, "console.example.test");
        tls.send_raw(b"GET /healthz HTTP/1.1\r\nHost: console.example.test\r\nConnection: close\r\n\r\n")
            .unwrap();
        assert!(tls.receive_all().starts_with(b"HTTP/1.1 "));
        tls.certificate()
    };
    let first = shown();
    let (certificate, key) = authority.issue("console.example.test");
    server.house().write("console.pem", &certificate);
    let told = server.reload().well().stdout;
    assert!(told.contains("the certificate stays as it was") && told.contains("console.key"), "{told}");
    assert!(shown() == first && is_served());
    server.house().write("console-key.pem", &key);
    let told = server.reload().well().stdout;
    assert!(!told.contains("certificate"), "{told}");
    assert!(shown() != first && is_served());

    let plain = Visitor::new(address).with("Host", "console.example.test:8443").get("/cases?state=all");
    assert_eq!(plain.status, 308);
    assert_eq!(plain.field("location"), Some("https://console.example.test:8443/cases?state=all"));
}

#[test]
fn only_a_trusted_proxy_says_who_asks_and_over_what() {
    let server = with_console("trusted_proxies = [\"127.0.0.1/32\"]\n");
    account(&server, "an", "admin", None);
    let mut an = Visitor::new(console(&server))
        .with("X-Forwarded-For", "192.0.2.66, 10.7.7.7")
        .with("X-Forwarded-Proto", "https");
    let entered = an.send("/sign-in", &[("name", "an"), ("password", PASSWORD)]);
    assert!(entered.field("set-cookie").unwrap().starts_with("__Host-session="));
    let page = an.page("/account");
    assert!(page.contains("10.7.7.7") && !page.contains("192.0.2.66"), "{page}");
}

#[test]
fn an_open_console_without_tls_is_warned_of() {
    let server = Setup::new(nsd::address()).more("[console]\nlisten = [\"0.0.0.0:0\"]\n").serve();
    let warned = server.stderr().wait(PATIENCE, |line| line.contains("speaks plain HTTP"));
    assert!(warned.is_some_and(|line| line.contains("console.certificate")), "{}", server.stderr().text());
}

#[test]
fn a_browser_comes_in_by_the_link_and_takes_up_the_second_factor() {
    inside(|| {
        let server = with_console("");
        let folder = tempfile::tempdir().unwrap();
        let browser = Browser::start(folder.path());
        let origin = format!("http://{}", console(&server));
        browser.resize(DESK);
        browser.go(&format!("{origin}{}", first_link(&server)));
        picture(&browser, "first");
        browser.type_into("[name=name]", "an");
        browser.type_into("[name=password]", PASSWORD);
        browser.type_into("[name=again]", PASSWORD);
        browser.click("form[action='/first'] button");
        wait_until("the overview", || browser.text("h1") == "Tổng quan");
        browser.go(&format!("{origin}/account/totp"));
        picture(&browser, "totp");
        let secret = browser.text("#secret");
        browser.type_into("[name=code]", &oathtool(&secret));
        browser.click("form[action='/account/totp'] button");
        browser.wait_for("Mã dự phòng");
        picture(&browser, "recovery");
        let recovery = browser.text("#recovery li");
        browser.go(&format!("{origin}/account"));
        picture(&browser, "account");
        browser.click("form[action='/sign-out'] button");
        browser.wait_for("Bạn đã đăng xuất");
        // In English, and in with a recovery code: the telephone's was used just now.
        browser.click("form[action='/appearance'] button[name=language]");
        browser.wait_for("Password");
        picture(&browser, "sign-in");
        browser.type_into("[name=name]", "an");
        browser.type_into("[name=password]", PASSWORD);
        browser.click("form[action='/sign-in'] button");
        browser.wait_for("The six digits on your telephone");
        browser.type_into("[name=code]", &recovery);
        browser.click("form[action='/sign-in'] button");
        wait_until("the overview in English", || browser.text("h1") == "Overview");
        for path in ["users", "audit", "settings", "account"] {
            browser.go(&format!("{origin}/{path}"));
            picture(&browser, &format!("{path}-en"));
            browser.resize(PHONE);
            let is_wide =
                "return document.documentElement.scrollWidth > document.documentElement.clientWidth";
            assert_eq!(browser.run(is_wide), false, "{path} scrolls sideways on a phone");
            picture(&browser, &format!("{path}-phone"));
            browser.resize(DESK);
        }
        browser.prefer(Scheme::Dark);
        browser.go(&format!("{origin}/users"));
        picture(&browser, "users-dark");
        assert_eq!(browser.complaints(), [""; 0]);
    });
}

/// Keeps a picture of the page where somebody wants to look at them.
fn picture(browser: &Browser, name: &str) {
    if let Some(folder) = std::env::var_os("SACHDNS_SCREENSHOTS") {
        let path = std::path::Path::new(&folder).join(format!("console-{name}.png"));
        fs::write(path, browser.picture("html")).unwrap();
    }
}
