//! The landing page over TLS, in a browser that trusts the sinkhole's own authority: it is shown without a warning, its button
//! works, and nobody else's page can press it.

use std::process::Command;

use serde_json::{Value, json};

use crate::harness::browser::Browser;
use crate::harness::house::{House, Setup};
use crate::harness::namespace::inside;
use crate::harness::scripted::Scripted;
use crate::harness::{run, wait_until};

/// The only case.
fn case(house: &House) -> Value {
    let listed = house.run("case list", &["--format", "jsonl"]).well().stdout;
    serde_json::from_str(&listed).unwrap_or_else(|_| panic!("not one case: {listed}"))
}

#[test]
fn a_click_over_https_is_heard_and_one_from_elsewhere_is_not() {
    inside(|| {
        let upstream = Scripted::answering(|query| query.answer_a([192, 0, 2, 1]));
        let house = Setup::new(upstream.address)
            .sinkhole(
                "ipv4 = \"127.0.0.1\"\nipv6 = \"\"\nhttp_listen = [\"127.0.0.1:80\"]\nhttps_listen = [\"127.0.0.1:443\"]\n",
            )
            .csv("authority", "domain,family\nevil.example,emotet\n")
            .lay();
        house.run("ca init", &["--name", "Tỉnh – Cảnh báo mã độc"]).well();
        house.run("ca export", &["--output", "ca.pem"]).well();
        // As a person's browser on Linux is told whom to trust.
        let home = tempfile::tempdir().unwrap();
        let database = home.path().join(".pki/nssdb");
        std::fs::create_dir_all(&database).unwrap();
        let database = format!("sql:{}", database.display());
        let certutil = |arguments: &[&str]| {
            run(Command::new("certutil").args(["-d", &database]).args(arguments)).well();
        };
        certutil(&["-N", "--empty-password"]);
        let authority = house.path().join("ca.pem");
        certutil(&["-A", "-n", "SachDNS", "-t", "C,,", "-i", authority.to_str().unwrap()]);
        let server = house.serve();
        let house = server.house();
        let browser = Browser::start(home.path());

        server.dig().ask("c2.evil.example", "A");
        wait_until("the case", || {
            house.run("case list", &["--format", "jsonl"]).well().stdout.contains("emotet")
        });
        // Where the desk is slow, the page goes out without its buttons; a person looks again.
        wait_until("the page with its buttons", || {
            browser.go("https://c2.evil.example/");
            browser.text("body").contains("Tôi đã làm sạch máy")
        });
        let secure = browser.run("return [location.href, isSecureContext]");
        assert_eq!(secure, json!(["https://c2.evil.example/", true]));
        assert_eq!(case(house)["state"], "new");

        // Another page's form, with a token and a ticket that are good.
        let field = |name: &str| {
            let value = browser.run(&format!("return document.querySelector('[name={name}]').value"));
            value.as_str().unwrap().to_owned()
        };
        let form = format!(
            "data:text/html,<form method=post action='https://c2.evil.example/~sachdns/said'>\
             <input name=token value={}><input name=ticket value={}><input name=note value=spam>\
             <button name=said value=clean>Win a prize</button></form>",
            field("token"),
            field("ticket")
        );
        browser.go(&form);
        browser.click("button");
        browser.wait_for("Chưa ghi nhận được: trang đã mở quá lâu");
        assert_eq!(case(house)["state"], "new");
        let complaints = browser.complaints();
        assert!(matches!(&complaints[..], [only] if only.contains("403 (Forbidden)")), "{complaints:?}");

        browser.go("https://c2.evil.example/");
        browser.type_into("#clean-vi", "đã quét bằng Bkav");
        browser.click("#vi button[value=clean]");
        browser.wait_for("Cảm ơn Anh/Chị");
        assert_eq!(browser.run("return location.protocol"), "https:");
        wait_until("the case is cleaned", || case(house)["state"] == "cleaned");
        let shown = house.run("case show", &[case(house)["ticket"].as_str().unwrap()]).well().stdout;
        assert!(shown.contains("said-clean by visitor 127.0.0.1: đã quét bằng Bkav"), "{shown}");
        assert!(!shown.contains("spam"), "{shown}");
        assert_eq!(browser.complaints(), [""; 0]);
    });
}
