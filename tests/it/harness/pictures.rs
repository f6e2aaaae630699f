//! Pictures of the console's pages with a made-up province, for docs/console: `make screenshots`.

use std::fs;
use std::path::Path;

use super::browser::{Browser, Scheme};
use super::house::{CONFIG, House};
use super::judges::{self, DESK, PHONE};
use super::server::Server;
use super::staff::{Staff, console};
use super::{run, wait_until};

/// A page: what its pictures are called, whose it is, and where.
struct Page {
    name: &'static str,
    /// "": nobody's.
    account: &'static str,
    path: String,
}

/// Languages, windows and colours besides Vietnamese, both windows, and light ones.
const MORE: [(&str, &str, &str, Scheme); 10] = [
    ("overview", "en", "desktop", Scheme::Light),
    ("cases", "en", "desktop", Scheme::Light),
    ("log", "en", "desktop", Scheme::Light),
    ("coverage", "en", "desktop", Scheme::Dark),
    ("log", "vi", "desktop", Scheme::Dark),
    ("case", "vi", "desktop", Scheme::Dark),
    ("feed", "vi", "desktop", Scheme::Dark),
    ("officer-overview", "vi", "desktop", Scheme::Dark),
    ("officer-overview", "vi", "phone", Scheme::Dark),
    ("machine", "en", "phone", Scheme::Light),
];

/// Takes them, and holds each to its window.
pub(crate) fn take(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let house = House::with_config("");
    let made = ["demo", "--agencies", "60", "--days", "30", "--machines", "2000", "--output", "province"];
    let told = run(&mut house.command(&made)).well().stdout;
    let password = told.split_once("the password ").unwrap().1.split_whitespace().next().unwrap();
    // Without the folder of this run, which pages would show.
    let root = fs::canonicalize(house.path()).unwrap();
    let config = house.read("province/sachdns.toml").replace(&format!("{}/", root.display()), "");
    house.write(CONFIG, &config);
    let server = house.serve();
    wait_until("last month's report", || server.house().path().join("province/data/reports").exists());
    let pages = pages(&server, password);
    let home = tempfile::tempdir().unwrap();
    let browser = Browser::start(home.path());
    let take = |page: &Page, language: &str, size: &str, scheme: Scheme| {
        let window = if size == "phone" { PHONE } else { DESK };
        let join = if page.path.contains('?') { '&' } else { '?' };
        let dark = if matches!(scheme, Scheme::Dark) { "-dark" } else { "" };
        browser.resize(window);
        browser.prefer(scheme);
        browser.go(&format!("http://{}{}{join}language={language}", console(&server), page.path));
        let name = format!("{}-{language}-{size}{dark}", page.name);
        let faults = browser.run(judges::FITS);
        assert_eq!(faults.as_array().map(Vec::len), Some(0), "{name}: {faults:#}");
        fs::write(folder.join(format!("{name}.png")), browser.shot(window)).unwrap();
    };
    let mut signed_in = "";
    for page in &pages {
        if page.account != signed_in {
            browser.go(&format!("http://{}/sign-in", console(&server)));
            let staff = Staff::sign_in_with(&server, page.account, password);
            let (name, value) = staff.cookie();
            browser.set_cookie(name, value);
            signed_in = page.account;
        }
        take(page, "vi", "desktop", Scheme::Light);
        take(page, "vi", "phone", Scheme::Light);
        for (_, language, size, scheme) in MORE.iter().filter(|(name, ..)| *name == page.name) {
            take(page, language, size, *scheme);
        }
    }
}

fn pages(server: &Server, password: &str) -> Vec<Page> {
    let analyst = Staff::sign_in_with(server, "analyst", password);
    let first = |page: &str, start: &str| {
        let page = analyst.page(page);
        let mut found = page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
        let found = found.find(|path| path.starts_with(start) && !path.contains('?'));
        found.unwrap_or_else(|| panic!("no {start}")).to_owned()
    };
    // A case with a history, its machine and agency.
    let lines = analyst.page("/cases/export?format=jsonl&state=all");
    let cases = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let of_machines = cases.filter(|case| {
        case["state"] != "closed" && case["machine"].as_str().is_some_and(|subject| subject.starts_with("m-"))
    });
    let case = of_machines.max_by_key(|case| case["reopened"].as_u64()).unwrap();
    let text = |key: &str| case[key].as_str().unwrap_or_default();
    // The refused version, with what it would have blocked.
    let feed = "/feeds/partner";
    let page = analyst.page(feed);
    let version = page.split("name=\"version\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    analyst.post(&format!("{feed}/replay"), &[("version", version)]);
    wait_until("the replay", || analyst.page(feed).contains("Đã xem"));
    let hunt = first("/hunts", "/hunts/1");
    let of_analyst = [
        ("overview", "/".to_owned()),
        ("alerts", "/alerts".to_owned()),
        ("cases", "/cases".to_owned()),
        ("cases-board", "/cases?view=board".to_owned()),
        ("case", format!("/cases/{}", text("ticket"))),
        ("machines", "/machines".to_owned()),
        ("machine", format!("/machines/{}", text("machine"))),
        ("agencies", "/agencies".to_owned()),
        ("agency", format!("/agencies/{}", text("agency"))),
        ("coverage", "/coverage".to_owned()),
        ("coverage-infected", "/coverage?infected=1&standing=unprotected".to_owned()),
        ("log", "/log?since=24h&hits=1".to_owned()),
        ("contacts", "/contacts".to_owned()),
        ("hunts", "/hunts".to_owned()),
        ("hunt", hunt),
        ("feeds", "/feeds".to_owned()),
        ("feed", feed.to_owned()),
        ("policy", format!("/policy?name={}", text("name"))),
        ("rules", "/policy/rules".to_owned()),
        ("proposals", "/policy/proposals".to_owned()),
        ("reports", "/reports".to_owned()),
        ("tokens", "/account/tokens".to_owned()),
        ("account", "/account".to_owned()),
        ("second-factor", "/account/totp".to_owned()),
        ("api", "/api".to_owned()),
    ];
    let of_admin = [
        ("users", "/users".to_owned()),
        ("audit", "/audit".to_owned()),
        ("settings", "/settings".to_owned()),
        ("agencies-import", "/agencies/import".to_owned()),
    ];
    let of_officer = [("officer-overview", "/".to_owned())];
    let of = |account, pages: Vec<(&'static str, String)>| {
        pages.into_iter().map(move |(name, path)| Page { name, account, path })
    };
    of("", vec![("sign-in", "/sign-in".to_owned())])
        .chain(of("analyst", of_analyst.into()))
        .chain(of("admin", of_admin.into()))
        .chain(of("officer", of_officer.into()))
        .collect()
}
