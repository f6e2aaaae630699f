//! Who follows a listed name into the sinkhole finds a page that says what happened and what to do.

use std::net::{IpAddr, SocketAddr};

use crate::harness::house::Setup;
use crate::harness::http::{self, Response};
use crate::harness::nsd;
use crate::harness::scripted::Scripted;
use crate::harness::server::Server;
use crate::harness::wire;

const AGENCY: &str = "Sở Thông tin và Truyền thông";
const CONTACT: &str = "Nguyễn Văn A, 0200 000 000";

fn serve() -> (Server, SocketAddr) {
    let server = Setup::new(nsd::address())
        .sinkhole("ipv4 = \"127.0.0.1\"\nipv6 = \"::1\"\nttl = 30\nhttp_listen = [\"127.0.0.1:0\"]\n")
        .feed("authority", "evil.example.test\n")
        .agency("so-tttt", AGENCY, "127.0.0.0/8", CONTACT)
        .serve();
    let http = server.http.expect("a line `listening http ADDRESS` before `ready`");
    (server, http)
}

/// Fails the test unless this is our page, fit for any browser and harmless.
#[track_caller]
fn assert_page(response: &Response) {
    let kind = response.field("content-type").unwrap_or_default().to_ascii_lowercase();
    assert!(kind.starts_with("text/html") && kind.contains("utf-8"), "{response:#?}");
    let body = response.body.to_ascii_lowercase();
    assert!(body.contains("<html") && body.contains("lang=\"vi\""), "Vietnamese first: {response:#?}");
    assert!(body.contains("viewport"), "fit for a phone: {response:#?}");
    // No script, nothing from outside (a link to follow is no resource).
    for unwanted in [
        "<script",
        "javascript:",
        "onerror=\"",
        "src=\"http",
        "@import",
        "<link rel=\"stylesheet\" href=\"http",
    ] {
        assert!(!body.contains(unwanted), "{unwanted}: {response:#?}");
    }
    // A browser must not keep it once the machine is clean.
    assert_eq!(response.field("cache-control").map(|value| value.contains("no-store")), Some(true));
}

#[test]
fn the_page_behind_a_listed_name() {
    let (server, http) = serve();
    let reply = server.dig().ask("www.evil.example.test", "A");
    let sinkhole: IpAddr = reply.rdata("A")[0].parse().unwrap();
    assert_eq!(sinkhole, http.ip());

    let there = SocketAddr::new(sinkhole, http.port());
    for path in ["/", "/gate.php?id=1&x=%00", "/a/b/../c", "/favicon.ico"] {
        for host in ["www.evil.example.test", "WWW.Evil.example.test:80"] {
            let page = http::fetch(there, host, path);
            assert_page(&page);
            // The name may be shown as asked or folded.
            assert!(page.body.to_ascii_lowercase().contains("www.evil.example.test"), "{page:#?}");
            for shown in ["127.0.0.1", AGENCY, CONTACT] {
                assert!(page.body.contains(shown), "{shown}: {page:#?}");
            }
        }
    }
}

#[test]
fn other_methods_get_the_page_too() {
    let (_server, http) = serve();
    let post = b"POST /upload HTTP/1.1\r\nHost: evil.example.test\r\nContent-Length: 5\r\nConnection: close\r\n\r\nloot!";
    assert_page(&http::exchange(http, post));
    let head =
        http::exchange(http, b"HEAD / HTTP/1.1\r\nHost: evil.example.test\r\nConnection: close\r\n\r\n");
    assert!(head.body.is_empty(), "{head:#?}");
}

#[test]
fn a_hostile_host_is_shown_as_text_or_not_at_all() {
    let (server, http) = serve();
    for host in [
        "<script>alert(1)</script>.evil.example.test",
        "\"><img src=x onerror=alert(1)>.evil.example.test",
        "'><iframe/onload=alert(1)>",
        "{{7*7}}.evil.example.test",
        "evil.example.test\t<blink>",
        "-",
        "[::1]",
        "..",
        "",
    ] {
        for path in ["/", "/<script>alert(2)</script>?\"onmouseover=\"alert(3)"] {
            let page = http::fetch(http, host, path);
            assert!((200..500).contains(&page.status), "{page:#?}");
            for markup in ["<script", "<img src=x", "<iframe", "<blink>", "\"onmouseover=\"", ">49<"] {
                assert!(!page.body.contains(markup), "{host:?} put {markup} into the page: {page:#?}");
            }
        }
    }
    let without = http::exchange(http, b"GET / HTTP/1.0\r\n\r\n");
    assert!((200..500).contains(&without.status), "{without:#?}");
    let long = http::fetch(http, &"a.".repeat(3000), "/");
    assert!((200..500).contains(&long.status) && long.body.len() < 100_000, "{:?}", long.head);
    let octets = b"GET / HTTP/1.1\r\nHost: \xff\xfe<blink>\r\nConnection: close\r\n\r\n";
    assert!(!http::exchange(http, octets).body.contains("<blink>"));

    assert_page(&http::fetch(http, "evil.example.test", "/"));
    assert!(!server.stderr().text().contains("panicked"), "{}", server.stderr().text());
}

#[test]
fn what_is_not_http_does_not_hurt() {
    use std::io::Write as _;

    let (mut server, http) = serve();
    let hello = [0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3];
    for octets in [&hello[..], &[0; 64], b"\r\n\r\n", b"GET", &[b'A'; 70_000]] {
        let mut stream = std::net::TcpStream::connect(http).unwrap();
        // The server may close before it has read all.
        let _ = stream.write_all(octets);
    }
    assert_page(&http::fetch(http, "evil.example.test", "/"));
    server.assert_well();
}

#[test]
fn one_clients_idle_connections_do_not_keep_others_out() {
    use socket2::{Domain, Socket, Type};

    let (mut server, http) = serve();
    let idle = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 9], 0)).into()).unwrap();
        socket.connect(&http.into()).unwrap();
        socket
    };
    let _idle: Vec<_> = (0..100).map(|_| idle()).collect();
    assert_page(&http::fetch(http, "evil.example.test", "/"));
    server.assert_well();
}

#[test]
fn programs_get_facts_and_parts_of_pages_nothing() {
    let (_server, http) = serve();
    let ask = |path: &str, accept: &str| {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: www.evil.example.test\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
        );
        http::exchange(http, request.as_bytes())
    };
    let facts = ask("/api", "application/json");
    let json: serde_json::Value = serde_json::from_str(&facts.body).unwrap();
    for (key, expected) in [
        ("name", "www.evil.example.test"),
        ("feed", "authority"),
        ("client", "127.0.0.1"),
        ("agency", AGENCY),
        ("contact", CONTACT),
    ] {
        assert_eq!(json[key], expected, "{json:#}");
    }
    assert_eq!(json["blocked"], true);
    assert!(ask("/ad", "image/avif,image/webp,*/*;q=0.8").body.starts_with("GIF89a"));
    assert!(ask("/favicon.ico", "*/*").body.starts_with("GIF89a"));
    for (path, accept) in [("/a.js", "*/*"), ("/a", "text/css,*/*;q=0.1")] {
        let part = ask(path, accept);
        assert_eq!((part.status, &*part.body), (204, ""), "{part:#?}");
    }
    assert_page(&ask("/a.js", "text/html,application/xhtml+xml,*/*;q=0.8"));
}

/// The name itself is not listed; only the answer told that it leads there.
#[test]
fn a_name_that_leads_to_a_listed_address_is_told_as_that() {
    let upstream = Scripted::answering(|query| match &*query.qname() {
        "shop.example.test." if query.qtype() == wire::A => query.answer_a([203, 0, 113, 7]),
        _ => query.answer(wire::RA, 0, &[], None),
    });
    let server = Setup::new(upstream.address)
        .sinkhole("ipv4 = \"127.0.0.1\"\nhttp_listen = [\"127.0.0.1:0\"]\n")
        .feed("addresses", "203.0.113.7\n")
        .serve();
    let page = |host: &str| http::fetch(server.http.unwrap(), host, "/").body;
    const ADDRESS: &str = "Đã chặn kết nối đến một địa chỉ độc hại";
    assert!(!page("shop.example.test").contains(ADDRESS), "nobody has asked for it");
    assert_eq!(server.dig().ask("shop.example.test", "A").rdata("A"), ["127.0.0.1"]);
    for host in ["shop.example.test", "203.0.113.7", "203.0.113.7:8080"] {
        let page = page(host);
        assert!(page.contains(ADDRESS) && page.contains("addresses"), "{host}: {page}");
    }
    assert!(!page("203.0.113.8").contains(ADDRESS));
}

#[test]
fn logo_and_texts_are_the_administrators_and_a_reload_changes_them() {
    const SVG: &str =
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 9 9\"><path d=\"M0 0h9v9z\"/></svg>";
    let server = Setup::new(nsd::address())
        .sinkhole("ipv4 = \"127.0.0.1\"\nhttp_listen = [\"127.0.0.1:0\"]\nlogo = \"logo.svg\"\ntexts = \"texts.toml\"\n")
        .feed("authority", "evil.example.test\n")
        .file("logo.svg", SVG)
        .file("texts.toml", "[vi]\nsender = \"Tỉnh Một\"\nhelpline = \"0299 111 111\"\n")
        .serve();
    let page = || http::fetch(server.http.unwrap(), "evil.example.test", "/");
    let first = page();
    assert_page(&first);
    for shown in ["Tỉnh Một", "0299 111 111", "<img src=\"data:image/svg+xml;base64,"] {
        assert!(first.body.contains(shown), "{shown}: {first:#?}");
    }
    assert!(first.field("content-security-policy").unwrap().contains("img-src data:;"));

    server.house().write("texts.toml", "[vi]\nsender = \"Tỉnh Hai\"\n");
    server.reload().well();
    assert!(page().body.contains("Tỉnh Hai"), "{:#?}", page());

    // What is wrong changes nothing, and is told with its place and the mend.
    server.house().write("texts.toml", "[vi]\nsender = \"Tỉnh Ba\"\nsendr = \"Tỉnh Ba\"\n");
    let refused = server.reload();
    assert_ne!(refused.code(), 0);
    assert!(
        refused.stderr.contains("texts.toml:3: vi.sendr: no such text; did you mean `sender`?"),
        "{refused:#?}"
    );
    assert!(page().body.contains("Tỉnh Hai"));
    server
        .house()
        .write("logo.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 9 9\"><script/></svg>");
    let checked = server.house().run("check", &[]);
    assert_ne!(checked.code(), 0);
    for part in ["sinkhole.logo: logo.svg: holds <script>", "save it as plain SVG"] {
        assert!(checked.stderr.contains(part), "{part}: {checked:#?}");
    }
}

/// With the case desk behind it: the ticket, what is said, and that it is said once.
#[test]
fn what_a_person_says_reaches_the_case() {
    let (server, http) = serve();
    let page = || http::fetch(http, "www.evil.example.test", "/").body;
    let between = |text: &str, start: &str, end: &str| {
        let rest = text.split_once(start).unwrap_or_else(|| panic!("no {start}: {text}")).1;
        rest.split_once(end).unwrap().0.to_owned()
    };
    let first = page();
    let ticket = between(&first, "name=\"ticket\" value=\"", "\"");
    let token = between(&first, "name=\"token\" value=\"", "\"");
    assert!(first.contains(&format!("<strong class=\"exact\">{ticket}</strong>")), "{first}");
    assert_eq!(between(&page(), "name=\"ticket\" value=\"", "\""), ticket, "the same machine, another case");
    let say = |origin: &str, token: &str| {
        let body = format!("token={token}&ticket={ticket}&language=vi&note=xong&said=clean");
        let request = format!(
            "POST /~sachdns/said HTTP/1.1\r\nHost: www.evil.example.test\r\nOrigin: {origin}\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        );
        http::exchange(http, request.as_bytes())
    };
    const NOTED: &str = "máy này được báo là đã làm sạch";
    assert_eq!(say("http://other.example.test", &token).status, 403);
    assert_eq!(say("http://www.evil.example.test", "AAAA").status, 403);
    assert!(!page().contains(NOTED));
    for _ in 0..2 {
        let thanks = say("http://www.evil.example.test", &token);
        assert_eq!(thanks.status, 200, "{thanks:#?}");
        assert!(thanks.body.contains("Cảm ơn Anh/Chị") && thanks.body.contains(&ticket), "{thanks:#?}");
    }
    assert!(page().contains(NOTED), "{}", page());
    assert!(!server.stderr().text().contains("panicked"), "{}", server.stderr().text());
}
