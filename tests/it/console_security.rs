//! What somebody with bad intentions does to the console, over real sockets: forged forms, cookies of their own, markup in every text that
//! comes from outside, paths and filters that would break out, requests without end.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::house::Setup;
use crate::harness::server::Server;
use crate::harness::staff::{PASSWORD, account, console};
use crate::harness::visitor::Visitor;
use crate::harness::wait_until;
use crate::harness::{http, nsd, run};
use crate::sinkhole::listening;

/// Markup, a formula, and what would end an attribute: in a label of a qname as far as it can be.
const MARKUP: &str = "<script>alert(1)</script>";

fn province() -> Server {
    let server = Setup::new(nsd::address())
        .csv("authority", &format!("name,family\nevil.example,\"{MARKUP}\"\n"))
        .agency("so-yt", "Sở <b>Y tế</b> & \\\"bạn\\\"", "127.0.0.0/8", "<i>Phòng</i>")
        .sinkhole("ipv4 = \"127.0.0.1\"\nhttp_listen = [\"127.0.0.1:0\"]\nhttps_listen = [\"127.0.0.1:0\"]\ntcp_listen = [\"127.0.0.1:0\"]\n")
        .more("[console]\nlisten = [\"127.0.0.1:0\"]\n")
        .serve();
    account(&server, "an", "admin", None);
    server
}

#[test]
fn what_strangers_write_is_never_markup() {
    let server = province();
    let mut an = Visitor::signed_in(console(&server), "an", PASSWORD);
    // Asked for, so that it is in the log, the case and the feed's pages.
    server.dig().ask("evil.example", "A");
    server.dig().ask("\\<script\\>x\\<\\/script\\>.evil.example", "A");
    wait_until("a case", || an.page("/cases?state=all").contains("/cases/"));
    let list = an.page("/cases?state=all");
    let mut links = list.split("href=\"/cases/").skip(1).filter_map(|rest| rest.split('"').next());
    let case = links.find(|path| !path.contains(['?', '/']) && *path != "export").unwrap().to_owned();
    let note = [("note", MARKUP), ("reason", MARKUP), ("text", MARKUP)];
    an.post(&format!("/cases/{case}/note"), &note);
    let evil = url::form_urlencoded::byte_serialize(MARKUP.as_bytes()).collect::<String>();
    for path in [
        "/".to_owned(),
        "/cases?state=all".to_owned(),
        format!("/cases/{case}"),
        "/agencies".to_owned(),
        "/agencies/so-yt".to_owned(),
        "/feeds".to_owned(),
        "/feeds/authority".to_owned(),
        "/contacts".to_owned(),
        format!("/policy?name={evil}"),
        format!("/policy/rules?q={evil}"),
        format!("/audit?who={evil}&on={evil}&action={evil}"),
        format!("/users/{evil}"),
        format!("/cases?q={evil}&agency={evil}&family={evil}&state={evil}"),
        format!("/sign-in?back={evil}&done={evil}"),
        format!("/first?code={evil}"),
        format!("/nothing/{evil}"),
        "/settings".to_owned(),
    ] {
        let answer = an.get(&path);
        assert!(answer.status < 500, "{path}: {}", answer.body);
        for markup in ["<script>alert", "<script>x", "<b>Y", "<i>Phòng"] {
            assert!(!answer.body.contains(markup), "{path}: {}", answer.body);
        }
        let policy = answer.field("content-security-policy").unwrap_or_default();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(answer.field("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.field("cache-control"), Some("no-store"), "{path}");
    }
}

#[test]
fn what_comes_to_the_sinkhole_is_never_markup() {
    let server = province();
    let mut an = Visitor::signed_in(console(&server), "an", PASSWORD);
    server.dig().ask("evil.example", "A");
    // A host, a path and a program's name; a name in TLS; and octets of no protocol.
    let visit = format!(
        "GET /{MARKUP}?q=\"><img/src=x> HTTP/1.1\r\nHost: {MARKUP}.evil.example\r\nUser-Agent: =cmd()|{MARKUP}\r\n\
         Referer: {MARKUP}\r\nConnection: close\r\n\r\n"
    );
    http::exchange(server.http.unwrap(), visit.as_bytes());
    let visit = "GET / HTTP/1.1\r\nHost: <img/src=x>.evil.example\r\nConnection: close\r\n\r\n";
    http::exchange(server.http.unwrap(), visit.as_bytes());
    let hello = listening(&server, "sinkhole-https")[0].to_string();
    let mut s_client = Command::new("openssl");
    s_client.args(["s_client", "-connect", &hello, "-servername", "<img src=y>.evil.example"]);
    run(s_client.stdin(Stdio::null()));
    let mut raw = TcpStream::connect(listening(&server, "sinkhole-tcp")[0]).unwrap();
    raw.write_all(format!("{MARKUP}<img src=z>\r\n").as_bytes()).unwrap();
    drop(raw);
    wait_until("the contacts", || {
        let page = an.page("/contacts");
        ["=cmd()|&lt;script&gt;", "tls", "&lt;img src=z&gt;"].iter().all(|text| page.contains(text))
    });
    for path in ["/contacts", "/contacts?via=http", "/machines/127.0.0.1", "/agencies/so-yt", "/", "/alerts"]
    {
        let page = an.page(path);
        for markup in ["<script>alert", "<img"] {
            assert!(!page.contains(markup), "{path}: {page}");
        }
    }
    let machine = an.page("/machines/127.0.0.1");
    assert!(machine.contains("=cmd()|&lt;script&gt;alert"), "{machine}");
    let csv = an.page("/contacts/export?format=csv");
    assert!(csv.contains("\"'=cmd()|<script>alert(1)</script>\""), "{csv}");
    let lines = an.page("/contacts/export?format=jsonl");
    assert!(lines.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{lines}");
}

#[test]
fn sessions_are_the_servers_own_and_forms_their_pages() {
    let server = province();
    let address = console(&server);
    // A session that somebody else chose is none, before and after.
    let mut victim = Visitor::new(address);
    victim.cookies().insert("session".to_owned(), "chosen".to_owned());
    let entered = victim.send("/sign-in", &[("name", "an"), ("password", PASSWORD)]);
    assert_eq!(entered.status, 303);
    let first = victim.cookies()["session"].clone();
    assert!(first.len() > 40 && first != "chosen");
    // Signing in again ends the session before.
    let form = victim.page("/sign-in");
    assert!(form.contains(&format!("name=\"csrf\" value=\"{}\"", victim.csrf())), "{form}");
    victim.post("/sign-in", &[("name", "an"), ("password", PASSWORD)]);
    let second = victim.cookies()["session"].clone();
    let is_in = |session: &str| {
        let mut visitor = Visitor::new(address);
        visitor.cookies().insert("session".to_owned(), session.to_owned());
        visitor.get("/account").status == 200
    };
    assert!(!is_in(&first) && is_in(&second) && !is_in("") && !is_in("' OR 1=1 --"));
    // Redirects lead nowhere else.
    for back in [
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "/%0d%0aSet-Cookie:x=y",
        "/\r\nX: y",
        "javascript:1",
    ] {
        let entered = victim.post("/sign-in", &[("name", "an"), ("password", PASSWORD), ("back", back)]);
        assert_eq!(entered.field("location"), Some("/"), "{back}");
        assert!(entered.field("x").is_none());
    }
    let csrf = victim.csrf();
    let mut other = Visitor::signed_in(address, "an", PASSWORD);
    let users = [("name", "x"), ("role", "reader"), ("csrf", csrf.as_str())];
    assert_eq!(other.send("/users", &users).status, 403, "another session's");
    assert_eq!(other.send("/users", &users[..2]).status, 403, "none");
    let mut cross = victim.clone().with("Origin", "https://evil.example");
    assert_eq!(cross.send("/users", &users).status, 403);
    assert_eq!(
        Visitor::new(address).with("Sec-Fetch-Site", "cross-site").send("/sign-in", &users).status,
        403
    );
    assert_eq!(victim.send("/users", &users).status, 200);
}

#[test]
fn paths_and_filters_do_not_break_out() {
    let server = province();
    let mut an = Visitor::signed_in(console(&server), "an", PASSWORD);
    for path in [
        "/assets/../../etc/passwd",
        "/assets/..%2f..%2fetc%2fpasswd",
        "/assets/%2e%2e/sachdns.toml",
        "/assets/console.css%00.png",
        "/..",
        "/%",
        "//etc/passwd",
    ] {
        let answer = an.get(path);
        assert!(matches!(answer.status, 400 | 404), "{path}: {}", answer.status);
        assert!(!answer.body.contains("root:") && !answer.body.contains("[console]"), "{path}");
    }
    for text in ["' OR '1'='1", "'; DROP TABLE account; --", "\\\"", "%", "_", "\u{0}", "10.1.2.3' --"] {
        let text: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
        for path in [
            "/cases?state=all&q=",
            "/cases?state=all&agency=",
            "/audit?who=",
            "/contacts?name=",
            "/users/",
            "/agencies/",
        ] {
            let answer = an.get(&format!("{path}{text}"));
            assert!(answer.status < 500, "{path}{text}: {}", answer.body);
        }
        let export = an.get(&format!("/cases/export?format=csv&state=all&agency={text}"));
        assert!(export.body.lines().count() <= 1, "{}", export.body);
    }
    assert_eq!(an.get("/users").status, 200);
}

#[test]
fn requests_without_end_end_and_others_are_served() {
    let server = province();
    let address = console(&server);
    let mut an = Visitor::signed_in(address, "an", PASSWORD);
    let large = vec![b'a'; 100 << 10];
    let answer = an.ask("POST", "/users", Some(("application/x-www-form-urlencoded", large)));
    assert_eq!(answer.status, 413);
    // Heads that never end, more than one address may have: some wait, the rest are turned away.
    let mut slow: Vec<TcpStream> = (0..100)
        .filter_map(|_| {
            let mut stream = TcpStream::connect(address).ok()?;
            stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX: ").ok()?;
            Some(stream)
        })
        .collect();
    let is_closed = |stream: &mut TcpStream| {
        stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        // An answer that says why is as good as an end.
        let read = stream.read(&mut [0; 512]).map(drop);
        read.err().is_none_or(|error| {
            !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
        })
    };
    wait_until("too many are closed", || slow.iter_mut().map(is_closed).filter(|is| *is).count() >= 30);
    // DNS goes on, and once their time is over the console does too.
    server.dig().ask("evil.example", "A");
    wait_until("all are closed", || slow.iter_mut().all(is_closed));
    assert_eq!(an.get("/account").status, 200);
    let mut head = TcpStream::connect(address).unwrap();
    let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "a".repeat(1 << 20));
    let _ = head.write_all(long.as_bytes());
    let mut answer = Vec::new();
    let _ = head.read_to_end(&mut answer);
    assert!(!String::from_utf8_lossy(&answer).contains(" 200 "), "{}", String::from_utf8_lossy(&answer));
}
