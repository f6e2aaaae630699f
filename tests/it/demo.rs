//! A made-up province: everything that staff look at is there, agrees with itself, and is served.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use serde_json::Value;

use crate::harness::house::House;
use crate::harness::http::fetch;
use crate::harness::server::Server;
use crate::harness::staff::Staff;
use crate::harness::{Finished, run};

/// A small one, made once for all tests: a house with its configuration, and another one around its folder.
static PROVINCE: LazyLock<(House, House)> = LazyLock::new(|| {
    let around = House::with_config("");
    make(&around, "province", &[]).well();
    (House::with_config(&around.read("province/sachdns.toml")), around)
});

fn make(house: &House, folder: &str, more: &[&str]) -> Finished {
    let usual = ["demo", "--agencies", "20", "--days", "12", "--machines", "400", "--infections", "90"];
    let end = ["--until", "2026-11-26T11:00:00+07:00", "--output", folder];
    run(&mut house.command(&[&usual[..], &end, more].concat()))
}

/// The lines of a command, each as JSON.
fn lines(subcommand: &str, arguments: &[&str]) -> Vec<Value> {
    let arguments = [arguments, &["--format", "jsonl"]].concat();
    let printed = PROVINCE.0.run(subcommand, &arguments).well().stdout;
    printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

#[test]
fn every_list_has_something() {
    for (command, least) in [
        ("log gaps", 1),
        ("contacts", 50),
        ("contacts gaps", 1),
        ("contacts blind", 1),
        ("identity list", 300),
        ("identity conflicts", 3),
        ("policy rules", 5),
        ("case list", 30),
        ("case proposals", 1),
        ("feed status", 6),
        ("coverage list --no-count", 300),
        ("coverage list --no-count --protected", 100),
        ("coverage list --no-count --unknown", 10),
        ("coverage list --no-count --infected --unprotected", 3),
    ] {
        let words: Vec<&str> = command.split(' ').collect();
        let (command, more) = words.split_at(words.len().min(2));
        let lines = lines(&command.join(" "), more);
        let command = words.join(" ");
        assert!(lines.len() >= least, "{command}: {}", lines.len());
    }
    let cases = lines("case list", &["--all"]);
    let mut states: HashMap<&str, usize> = HashMap::new();
    cases.iter().for_each(|case| *states.entry(text(case, "state")).or_default() += 1);
    for state in ["new", "notified", "cleaned", "watched", "closed"] {
        assert!(states.contains_key(state), "{state} in {states:?}");
    }
    for class in ["c2", "phishing", "address", "scan"] {
        assert!(cases.iter().any(|case| text(case, "class") == class), "{class}");
    }
    let rules = lines("policy rules", &["--all"]);
    for state in ["active", "expired", "removed"] {
        assert!(rules.iter().any(|rule| text(rule, "state") == state), "{state}");
    }
    assert!(PROVINCE.0.run("feed status", &[]).stdout.contains("feed approve partner"));
    let late = lines("log", &["--hits", "--action", "forward"]);
    assert!(!late.is_empty(), "hits before they were listed");
    let audit = fs::read_to_string(PROVINCE.1.path().join("province/data/audit.jsonl")).unwrap();
    let did: HashSet<String> =
        audit.lines().map(|line| text(&serde_json::from_str(line).unwrap(), "action").to_owned()).collect();
    for action in [
        "console",
        "account.sign-in",
        "case.told",
        "case.note",
        "rule.block",
        "rule.allow",
        "rule.end",
        "feed.replay",
        "feed.reject",
        "hunt.start",
        "coverage.import",
        "token.make",
    ] {
        assert!(did.contains(action), "{action}: {did:?}");
    }
}

#[test]
fn figures_agree() {
    // Before the server of another test.
    let made = ["--hits", "--until", "2026-11-26T11:00:00+07:00"];
    let hits = lines("log", &made);
    let counts = lines("log count", &[&made[..], &["--by", "family"]].concat());
    let sum: u64 = counts.iter().filter_map(|line| line["count"].as_u64()).sum();
    let before = hits.iter().filter(|hit| text(hit, "action") == "forward").count() as u64;
    assert_eq!(sum, hits.len() as u64, "{before} of them before they were listed");
    // Each family of a hit has its case, and none is of a family that nobody met.
    let families = |of: &[Value]| {
        let mut families: Vec<String> = of.iter().map(|it| text(it, "family").to_owned()).collect();
        families.sort();
        families.dedup();
        families
    };
    let cases = lines("case list", &["--all"]);
    assert_eq!(families(&cases), families(&hits));
    let queries: u64 = cases.iter().filter_map(|case| case["queries"].as_u64()).sum();
    assert!(queries > 0 && queries <= hits.len() as u64, "{queries} of {}", hits.len());
}

/// A server of the province with this configuration.
fn serve(text: &str) -> Server {
    let mut listening = 0;
    let text = text.lines().map(|line| match line.split_once("[\"127.0.0.1:") {
        // The ports that were free when it was made may not be now.
        Some((setting, _)) => {
            listening += 1;
            format!("{setting}[\"127.0.0.1:0\"]\n")
        }
        None => format!("{line}\n"),
    });
    let server = House::with_config(&text.collect::<String>()).serve();
    assert_eq!(listening, 3);
    server
}

#[test]
fn it_is_served() {
    let server = serve(&PROVINCE.0.read("sachdns.toml"));
    let console = server.console.unwrap();
    assert_eq!(fetch(console, "console.example", "/sign-in").status, 200);
    let listed = fs::read_to_string(PROVINCE.1.path().join("province/feeds/authority.csv")).unwrap();
    let name = listed.lines().nth(1).unwrap().split(',').next().unwrap();
    assert_eq!(server.dig().ask(name, "A").rdata("A"), ["10.10.10.10"]);
    let records = server.log(&["--name", name, "--client", "127.0.0.1"]);
    records[0].assert(&[("action", "sinkhole"), ("feed", "authority")]);
}

#[test]
fn staff_find_something_on_every_page() {
    let around = House::with_config("");
    // Up to now: what pages show by themselves is of the last days.
    let made = ["demo", "--agencies", "20", "--days", "16", "--machines", "400", "--infections", "120"];
    let made = [&made[..], &["--output", "province"]].concat();
    let told = run(&mut around.command(&made)).well().stdout;
    let password = told.split_once("the password ").unwrap().1.split_whitespace().next().unwrap();
    let server = serve(&around.read("province/sachdns.toml"));
    let (analyst, admin) =
        (Staff::sign_in_with(&server, "analyst", password), Staff::sign_in_with(&server, "admin", password));
    let alerts = analyst.page("/alerts/export?format=jsonl");
    let detectors: HashSet<String> = alerts
        .lines()
        .map(|line| text(&serde_json::from_str(line).unwrap(), "detector").to_owned())
        .collect();
    for detector in [
        "found-before-listed",
        "overdue",
        "scan",
        "doubts",
        "silent-agency",
        "blind-agency",
        "feed",
        "log-gap",
        "identity-conflict",
    ] {
        assert!(detectors.contains(detector), "{detector}: {detectors:?}");
    }
    for (staff, page, texts) in [
        (&analyst, "/", &["Máy đang nhiễm", "Lượt chặn"][..]),
        (&analyst, "/coverage?standing=protected", &["Bkav Endpoint", "bkav, dòng "]),
        (&analyst, "/coverage?infected=1&standing=unprotected", &["Không được bảo vệ", "/cases/"]),
        (&analyst, "/agencies?sort=coverage", &[" %", "Sở Y tế"]),
        (&analyst, "/hunts", &["PlugX", "minh-chau"]),
        (&analyst, "/feeds/partner", &["chờ duyệt", "giảm quá mức cho phép"]),
        (&analyst, "/policy/rules", &["ke-toan.test", "cho qua"]),
        (&analyst, "/policy/proposals", &["Tên miền đã đổi chủ"]),
        (&analyst, "/account/tokens", &["trung tâm giám sát"]),
        (&admin, "/audit", &["quoc-tuan", "đăng nhập", "bắt đầu truy tìm", "ghi nhận đã thông báo"]),
        (&admin, "/users", &["minh-chau"]),
    ] {
        let shown = staff.page(page);
        for text in texts {
            assert!(shown.contains(text), "{page} {text}: {shown}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_province() {
    let house = House::with_config("");
    let small = ["--days", "2", "--agencies", "4", "--machines", "30", "--infections", "20"];
    let usual = ["demo", "--until", "2026-11-26T11:00:00+07:00", "--output"];
    let shown = |folder: &str, seed: &str| {
        run(&mut house.command(&[&usual[..], &[folder, "--seed", seed], &small].concat())).well();
        let config = format!("{folder}/sachdns.toml");
        let print = |words: &[&str]| {
            run(&mut house.command(&[words, &["--config", &config, "--format", "jsonl"]].concat()))
                .well()
                .stdout
        };
        (print(&["log"]), print(&["case", "list", "--all"]))
    };
    let first = shown("one", "7");
    assert!(first == shown("two", "7") && first.0.lines().count() > 100 && !first.1.is_empty());
    assert!(first.0 != shown("three", "8").0);

    // Its cases have all contacts in them: a server would count them again where that is not marked.
    let number = |path: &str, select: &str| -> i64 {
        let database = rusqlite::Connection::open(house.path().join(path)).unwrap();
        database.query_row(select, [], |row| row.get(0)).unwrap()
    };
    let last = number("one/data/contacts/contacts.db", "SELECT max(id) FROM contacts");
    let mark = number("one/data/cases/cases.db", "SELECT value FROM meta WHERE key = 'contacts'");
    assert_eq!((last > 0, mark), (true, last));
}

#[test]
fn a_folder_with_something_in_it_is_left_alone() {
    let house = House::with_config("data_dir = \"data\"\n");
    let refused = make(&house, ".", &[]);
    assert_eq!(refused.code(), 1);
    assert!(refused.stderr.contains("the folder is not empty"), "{}", refused.stderr);
    assert_eq!(fs::read_dir(house.path()).unwrap().count(), 1);
    let few = ["demo", "--agencies", "20", "--machines", "3", "--output", "new"];
    let refused = run(&mut house.command(&few));
    assert!(refused.stderr.contains("see --machines") && !Path::new(&house.path().join("new")).exists());
}

#[test]
fn one_that_was_stopped_says_so() {
    use std::process::Stdio;

    use rustix::process::{Pid, Signal, kill_process};

    use crate::harness::{spawn, wait_until};

    let house = House::with_config("");
    let words = ["demo", "--agencies", "40", "--days", "900", "--output", "half"];
    let mut child = spawn(house.command(&words).stdout(Stdio::null()).stderr(Stdio::null()));
    let half = house.path().join("half");
    wait_until("it has begun", || half.join("data/log/store").exists());
    kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
    assert!(!child.wait().unwrap().success());
    assert!(half.join("UNFINISHED").exists() && !half.join("sachdns.toml").exists());
}
