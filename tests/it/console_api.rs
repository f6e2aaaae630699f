//! The API: tokens and what they may, agencies kept apart, errors, the description held to its standard, files by the browser's form.

use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::house::{CONFIG, Setup};
use crate::harness::http::{Response, exchange};
use crate::harness::server::Server;
use crate::harness::staff::{Staff, account, console};
use crate::harness::{PATIENCE, nsd, wait_until};

/// Holds a document against the standard of OpenAPI.
const VALIDATE: &str = "import json, sys
from openapi_spec_validator import OpenAPIV31SpecValidator
OpenAPIV31SpecValidator(json.load(sys.stdin)).validate()
";

/// A request with a token.
fn ask(server: &Server, token: &str, method: &str, target: &str, body: &str) -> Response {
    let length = body.len();
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: console.test\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    exchange(console(server), request.as_bytes())
}

fn json(response: &Response) -> Value {
    serde_json::from_str(&response.body).unwrap_or_else(|error| panic!("{error}: {response:?}"))
}

fn items(server: &Server, token: &str, target: &str) -> Vec<Value> {
    let response = ask(server, token, "GET", target, "");
    assert_eq!(response.status, 200, "{target}: {response:?}");
    json(&response)["items"].as_array().unwrap().clone()
}

/// Makes an account, and a token of it with these words behind.
fn token(server: &Server, name: &str, (role, agency): (&str, Option<&str>), rights: &[&str]) -> String {
    account(server, name, role, agency);
    let words: Vec<&str> = rights.iter().flat_map(|right| ["--right", right]).collect();
    let made =
        server.house().run("account token make", &[&[name, "--label", "thử"], &words[..]].concat()).well();
    made.stdout.trim().to_owned()
}

fn province() -> Server {
    Setup::new(nsd::address())
        .csv("authority", "name,family\nevil.example,Emotet\n")
        .agency("so-y-te", "Sở Y tế", "127.2.0.0/16", "it@syt.test")
        .agency("so-tttt", "Sở TTTT", "127.1.0.0/16", "it@tttt.test")
        .more("[console]\nlisten = \"127.0.0.1:0\"\n")
        .serve()
}

#[test]
fn rules_go_where_the_server_is_whatever_the_file_says_by_now() {
    let server = province();
    let admin = token(&server, "quan-tri", ("admin", None), &["rule"]);
    let config = server.house().read(CONFIG);
    server.house().write(CONFIG, &config.replace("data_dir = \"data\"", "data_dir = \"other\""));
    server.signal(Signal::HUP);
    let is_told = |line: &str| line.contains("restart for") && line.contains("data_dir");
    assert!(server.stderr().wait(PATIENCE, is_told).is_some(), "{}", server.stderr().text());
    let rule = r#"{"subjects":["www.example.test"],"action":"nxdomain","reason":"thử"}"#;
    let given = ask(&server, &admin, "POST", "/api/v1/rules", rule);
    assert!(given.status < 300, "{given:?}");
    assert_eq!(server.dig().ask("www.example.test", "A").status, "NXDOMAIN");
    assert!(!server.house().path().join("other").exists(), "nothing is where nobody looks");
}

#[test]
fn tokens_see_and_may_what_they_were_given() {
    let server = province();
    for client in ["127.1.0.7", "127.2.0.9"] {
        server.dig().from(client).ask("evil.example", "A");
    }
    let admin = token(
        &server,
        "quan-tri",
        ("admin", None),
        &["see", "see-province", "judge", "work", "rule", "audit"],
    );
    let officer = token(&server, "can-bo", ("officer", Some("so-y-te")), &["see", "work"]);
    wait_until("both cases", || items(&server, &admin, "/api/v1/cases").len() == 2);

    // The officer's sees one agency, whatever is asked for.
    for (target, count) in [
        ("/api/v1/cases", 1),
        ("/api/v1/cases?agency=so-tttt", 0),
        ("/api/v1/log?hits=true", 1),
        ("/api/v1/log?agency=so-tttt", 0),
        ("/api/v1/agencies", 1),
    ] {
        let found = items(&server, &officer, target);
        assert_eq!(found.len(), count, "{target}: {found:?}");
        assert!(!format!("{found:?}").contains("so-tttt"), "{target}");
    }
    let theirs =
        items(&server, &admin, "/api/v1/cases?agency=so-tttt")[0]["ticket"].as_str().unwrap().to_owned();
    assert_eq!(ask(&server, &officer, "GET", &format!("/api/v1/cases/{theirs}"), "").status, 404);

    // What it may not, and what is wrong, is told as a problem.
    let refused = ask(&server, &officer, "GET", "/api/v1/audit", "");
    assert_eq!((refused.status, refused.field("content-type")), (403, Some("application/problem+json")));
    assert_eq!(json(&refused)["status"], 403);
    let wrong = ask(&server, &officer, "GET", "/api/v1/log?limit=0", "");
    assert_eq!((wrong.status, &json(&wrong)["field"]), (422, &Value::from("limit")));
    let nobody = ask(&server, "sachdns_wrong", "GET", "/api/v1/cases", "");
    assert_eq!((nobody.status, nobody.field("www-authenticate")), (401, Some("Bearer")));

    // Pages are for browsers: no token opens one.
    assert_eq!(ask(&server, &admin, "GET", "/cases", "").status, 303);

    // A case is taken on, by who may.
    let own = items(&server, &officer, "/api/v1/cases")[0]["ticket"].as_str().unwrap().to_owned();
    let steps = format!("/api/v1/cases/{own}/steps");
    let told = ask(&server, &officer, "POST", &steps, r#"{"step":"notified","note":"gọi điện"}"#);
    assert_eq!(json(&told)["case"]["state"], "notified", "{told:?}");
    assert_eq!(ask(&server, &officer, "POST", &steps, r#"{"step":"close","note":"x"}"#).status, 403);
    let closed = ask(&server, &admin, "POST", &steps, r#"{"step":"close","note":"máy đã cài lại"}"#);
    assert_eq!(json(&closed)["case"]["state"], "closed", "{closed:?}");

    // A rule is in force when the answer comes.
    let given = ask(
        &server,
        &admin,
        "POST",
        "/api/v1/rules",
        r#"{"subjects":["www.example.test"],"action":"nxdomain","reason":"thử"}"#,
    );
    let id = json(&given)["ids"][0].as_u64().unwrap_or_else(|| panic!("{given:?}"));
    assert_eq!(server.dig().ask("www.example.test", "A").status, "NXDOMAIN");
    let ended = ask(&server, &admin, "POST", &format!("/api/v1/rules/{id}/end"), r#"{"reason":"xong"}"#);
    assert_eq!(ended.status, 200, "{ended:?}");
    assert_eq!(server.dig().ask("www.example.test", "A").status, "NOERROR");
    let feed = ask(&server, &admin, "GET", "/api/v1/feeds/authority", "");
    assert_eq!(json(&feed)["indicators"], 1, "{feed:?}");
    let explained = json(&ask(&server, &admin, "GET", "/api/v1/policy/explain?name=www.evil.example", ""));
    assert_eq!(
        (&explained["rules"][0]["feed"], &explained["rules"][0]["decides"]),
        (&Value::from("authority"), &Value::from(true))
    );

    // Who did it is in the audit, with the token.
    let audit = items(&server, &admin, "/api/v1/audit?action=case.");
    assert!(
        audit.iter().any(|it| it["who"] == "can-bo (token thử)" && it["action"] == "case.notified"),
        "{audit:?}"
    );

    // What is revoked counts no more.
    let listed = server.house().run("account token list", &["can-bo"]).well().stdout;
    let number = listed.lines().nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    server.house().run("account token revoke", &[&number]).well();
    assert_eq!(ask(&server, &officer, "GET", "/api/v1/me", "").status, 401);
}

#[test]
fn the_description_is_valid_openapi() {
    let server = province();
    let reader = token(&server, "doc", ("reader", None), &["see", "see-province"]);
    let document = ask(&server, &reader, "GET", "/api/v1/openapi.json", "");
    assert_eq!(json(&document)["openapi"], "3.1.0");
    let python = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sheets/bin/python");
    assert!(python.exists(), "{}: run tests/install-deps.sh", python.display());
    let mut validator = Command::new(python)
        .args(["-c", VALIDATE])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut validator.stdin.take().unwrap(), document.body.as_bytes()).unwrap();
    let output = validator.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn figures_may_be_read_by_token() {
    let server = Setup::new(nsd::address())
        .more("[console]\nlisten = \"127.0.0.1:0\"\nmetrics_allow = [\"192.0.2.0/24\"]\n")
        .serve();
    let metrics = token(&server, "do", ("admin", None), &["metrics"]);
    assert_eq!(ask(&server, "sachdns_x", "GET", "/metrics", "").status, 401);
    let read = ask(&server, &metrics, "GET", "/metrics", "");
    assert_eq!((read.status, read.body.contains("sachdns_workers ")), (200, true), "{read:?}");
    assert_eq!(ask(&server, &metrics, "GET", "/api/v1/cases", "").status, 403);
}

#[test]
fn files_come_by_the_browsers_form_and_changes_are_shown_first() {
    let server = province();
    account(&server, "quan-tri", "admin", None);
    account(&server, "phan-tich", "analyst", None);
    let (admin, analyst) = (Staff::sign_in(&server, "quan-tri"), Staff::sign_in(&server, "phan-tich"));
    let sheet = "Mã;Tên đơn vị;Dải địa chỉ\nso-nv;Sở <Nội vụ>;127.3.0.0/16\n";
    assert_eq!(analyst.upload("/agencies/import", &[], "đơn vị.csv", sheet).status, 403);
    // What is wrong is told with its row, and cannot be applied.
    let wrong = admin.upload("/agencies/import", &[], "x.csv", "Mã;Tên;Mạng\na;A;127.1.0.0/16\n");
    assert!(
        wrong.body.contains("127.1.0.0/16 is so-tttt&#39;s already")
            || wrong.body.contains("so-tttt's already"),
        "{wrong:?}"
    );
    assert!(!wrong.body.contains("name=\"waiting\""));
    let shown = admin.upload("/agencies/import", &[], "đơn vị.csv", sheet);
    assert!(shown.body.contains("Thêm mới") && shown.body.contains("Sở &lt;Nội vụ&gt;"), "{shown:?}");
    let field = |name: &str| {
        let (_, rest) = shown.body.split_once(&format!("name=\"{name}\" value=\"")).unwrap();
        rest.split('"').next().unwrap().to_owned()
    };
    assert!(!server.house().run("agency list", &[]).well().stdout.contains("so-nv"));
    let (waiting, before) = (field("waiting"), field("before"));
    let elsewhere =
        admin.post("/agencies/import/apply", &[("waiting", "a../../accounts.db"), ("before", &before)]);
    assert_eq!(elsewhere.status, 422, "{elsewhere:?}");
    let said = admin.act("/agencies/import/apply", &[("waiting", &waiting), ("before", &before)]);
    assert!(said.contains("có hiệu lực ngay"), "{said}");
    assert!(server.house().run("agency list", &[]).well().stdout.contains("so-nv"));
    // It cannot be applied twice.
    assert_eq!(
        admin.post("/agencies/import/apply", &[("waiting", &waiting), ("before", &before)]).status,
        422
    );

    let inventory = "Tên máy;Địa chỉ IP;Trạng thái\npc-01;127.2.0.9;Bật\npc-02;x9;Bật\n";
    let taken = admin.upload(
        "/coverage/import",
        &[("product", "bkav"), ("agency", "so-y-te")],
        "bkav.csv",
        inventory,
    );
    assert!(
        taken.body.contains("Đã nhập 2 máy, nhận ra 1") && taken.body.contains("\"x9\"")
            || taken.body.contains("&quot;x9&quot;"),
        "{taken:?}"
    );
    assert!(admin.page("/coverage").contains("bkav so-y-te"));
    // A browser may read the API, and change nothing by it.
    assert_eq!(admin.get("/api/v1/cases").status, 200);
    let refused = admin.post("/api/v1/rules", &[("subjects", "x")]);
    assert_eq!((refused.status, refused.body.contains("need a token")), (403, true), "{refused:?}");
    // A token is shown once.
    let made = admin.post("/account/tokens", &[("label", "SIEM"), ("right", "see"), ("days", "30")]);
    let (_, rest) = made.body.split_once("sachdns_").unwrap_or_else(|| panic!("{made:?}"));
    let secret = format!("sachdns_{}", rest.split('<').next().unwrap());
    assert_eq!(ask(&server, &secret, "GET", "/api/v1/me", "").status, 200);
    assert!(!admin.page("/account/tokens").contains(&secret));
}
