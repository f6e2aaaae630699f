//! DNS over HTTPS (RFC 8484): GET and POST over HTTP/1.1 and 2, and what is no query is told so.

use std::fs;
use std::net::TcpStream;
use std::process::Command;

use crate::harness::authority::Authority;
use crate::harness::house::Setup;
use crate::harness::server::Server;
use crate::harness::tls::Tls;
use crate::harness::wire::{self, Query};
use crate::harness::{nsd, run};

const VERSIONS: [&str; 2] = ["--http1.1", "--http2"];
const TYPE: &str = "content-type: application/dns-message";

fn setup(authority: &Authority) -> Setup {
    Setup::new(nsd::address())
        .feed("authority", "evil.example\n")
        .feed_as("silence", "drop", "drop.example\n")
        .encrypted(authority)
}

/// What `curl` got.
struct Response {
    /// The status line and fields, in lower case.
    head: String,
    body: Vec<u8>,
}

/// Asks with `curl`, which verifies the certificate; the exit code where it got no response.
fn try_curl(server: &Server, authority: &Authority, path: &str, options: &[&str]) -> Result<Response, i32> {
    let port = server.https.unwrap().port();
    let body = server.house().path().join("body");
    let _ = fs::remove_file(&body);
    let mut curl = Command::new("curl");
    curl.args(["-s", "-S", "-D", "-", "-o"]).arg(&body).args(["--max-time", "20"]);
    curl.arg("--cacert").arg(authority.root_file(server.house()));
    curl.arg("--resolve").arg(format!("dns.example.test:{port}:127.0.0.1"));
    let finished = run(curl.args(options).arg(format!("https://dns.example.test:{port}{path}")));
    match finished.code() {
        0 => Ok(Response {
            head: finished.stdout.to_ascii_lowercase(),
            body: fs::read(&body).unwrap_or_default(),
        }),
        code => Err(code),
    }
}

#[track_caller]
fn curl(server: &Server, authority: &Authority, path: &str, options: &[&str]) -> Response {
    try_curl(server, authority, path, options).unwrap_or_else(|code| panic!("curl: exit code {code}"))
}

/// The path of a GET that asks this.
fn get(query: &Query) -> String {
    format!("/dns-query?dns={}", base64url(&query.bytes()))
}

fn base64url(octets: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    octets
        .chunks(3)
        .flat_map(|chunk| {
            let bits = chunk.iter().fold(0, |bits, &octet| bits << 8 | usize::from(octet))
                << (8 * (3 - chunk.len()));
            (0..=chunk.len()).map(move |n| char::from(LETTERS[bits >> (18 - 6 * n) & 63]))
        })
        .collect()
}

#[test]
fn queries_come_by_get_and_post_over_both_versions() {
    let authority = Authority::new();
    let server = setup(&authority).serve();
    let query = Query::new("www.example.test", wire::A).id(0);
    let file = server.house().path().join("query");
    fs::write(&file, query.bytes()).unwrap();
    let data = format!("@{}", file.display());
    let post = ["-H", TYPE, "--data-binary", &data];
    for version in VERSIONS {
        let number = version.trim_start_matches("--http");
        let responses = [
            curl(&server, &authority, &get(&query), &[version]),
            curl(&server, &authority, "/dns-query", &[&[version][..], &post].concat()),
        ];
        for response in responses {
            assert!(response.head.starts_with(&format!("http/{number} 200")), "{}", response.head);
            assert!(response.head.contains(TYPE), "{}", response.head);
            let message = wire::decode(&response.body);
            assert_eq!(message.answers[0].data.to_string(), "192.0.2.80");
            let fresh = format!("cache-control: max-age={}", message.answers[0].ttl);
            assert!(response.head.contains(&fresh), "{} should say {fresh}", response.head);
        }
    }
    // A negative answer is kept as its SOA record says; an error is not kept.
    let nothing = curl(&server, &authority, &get(&Query::new("nx.example.test", wire::A)), &[]);
    let message = wire::decode(&nothing.body);
    assert_eq!(u16::from(wire::rcode(&message)), 3);
    assert!(!nothing.head.contains("max-age=0") && nothing.head.contains("max-age="), "{}", nothing.head);
    let refused =
        curl(&server, &authority, &get(&Query::new("www.example.test", wire::A).qclass(wire::CH)), &[]);
    assert!(refused.head.contains(" 200") && refused.head.contains("max-age=0"), "{}", refused.head);
    assert_eq!(server.log(&["--name", "www.example.test"]).len(), 5);
    assert!(server.log(&[]).iter().all(|record| record.text("transport") == "doh"));
}

#[test]
fn what_is_no_query_is_told_what_is_wrong() {
    let authority = Authority::new();
    let server = setup(&authority).serve();
    let query = Query::new("evil.example", wire::A);
    let file = |name: &str, octets: &[u8]| {
        let path = server.house().path().join(name);
        fs::write(&path, octets).unwrap();
        format!("@{}", path.display())
    };
    let (good, long) = (file("good", &query.bytes()), file("long", &[0; 65_536]));
    let (short, response) = (file("short", b"DNS"), file("response", &query.clone().flags(wire::QR).bytes()));
    let post = |data: &str, options: &[&str]| -> Vec<String> {
        options.iter().chain(&["--data-binary", data]).map(|it| (*it).to_owned()).collect()
    };
    let typed = ["-H", TYPE];
    let cases: [(&str, Vec<String>, u16, &str); 11] = [
        ("/", vec![], 404, "another path"),
        ("/dns-query/", vec![], 404, "another path"),
        ("/dns-query", vec![], 400, "dns="),
        ("/dns-query?name=www.example.test", vec![], 400, "dns="),
        ("/dns-query?dns=AA==", vec![], 400, "base64url"),
        ("/dns-query?dns=AAAA", vec![], 400, "not a DNS query"),
        ("/dns-query", vec!["-X".to_owned(), "DELETE".to_owned()], 405, "GET or POST"),
        ("/dns-query", post(&good, &[]), 415, "application/dns-message"),
        ("/dns-query", post(&long, &typed), 413, "65535"),
        ("/dns-query", post(&short, &typed), 400, "not a DNS query"),
        ("/dns-query", post(&response, &typed), 400, "not a DNS query"),
    ];
    for version in VERSIONS {
        for (path, options, status, words) in &cases {
            let options: Vec<_> =
                std::iter::once(version).chain(options.iter().map(String::as_str)).collect();
            let response = curl(&server, &authority, path, &options);
            let told = String::from_utf8_lossy(&response.body).into_owned();
            // Behind `100 Continue`, where curl asked for it.
            let got = response.head.split("http/").last().unwrap();
            assert!(got.contains(&format!(" {status}")), "{path} {options:?}: {}", response.head);
            assert!(told.contains(words), "{path} {options:?}: {told}");
            assert!(response.head.contains("content-type: text/plain"), "{}", response.head);
            assert_eq!(response.head.contains("allow: get, post"), *status == 405, "{}", response.head);
        }
    }
    assert!(server.log(&[]).is_empty(), "none of them was a query");
    // What is wrong in terms of DNS is answered in them.
    let cut = &query.bytes()[..20];
    let path = format!("/dns-query?dns={}", base64url(cut));
    let malformed = curl(&server, &authority, &path, &[]);
    assert!(malformed.head.contains(" 200"), "{}", malformed.head);
    assert_eq!(malformed.body[3] & 0x0f, 1);
}

#[test]
fn a_rule_that_wants_silence_gets_it() {
    let authority = Authority::new();
    let server = setup(&authority).serve();
    for version in VERSIONS {
        let silence = try_curl(&server, &authority, &get(&Query::new("drop.example", wire::A)), &[version]);
        // An empty reply, or a stream that was reset.
        assert!(matches!(silence, Err(52 | 56 | 92)), "{version}: {:?}", silence.err());
    }
    assert_eq!(server.log(&["--name", "drop.example"]).len(), 2);
}

#[test]
fn another_path_is_where_it_is_set() {
    let authority = Authority::new();
    let server = setup(&authority).server("https_path = \"/q\"\n").serve();
    let asked = base64url(&Query::new("evil.example", wire::A).bytes());
    let response = curl(&server, &authority, &format!("/q?dns={asked}"), &[]);
    assert_eq!(wire::decode(&response.body).answers.len(), 1);
    assert!(curl(&server, &authority, &format!("/dns-query?dns={asked}"), &[]).head.contains(" 404"));
}

#[test]
fn slow_requests_end() {
    let authority = Authority::new();
    let server = setup(&authority).more("[limits]\ntcp_idle = \"500ms\"\n").serve();
    let over = |protocol: &str| {
        let stream = TcpStream::connect(server.https.unwrap()).unwrap();
        Tls::over(stream, &authority, &[protocol])
    };
    let posted = format!("POST /dns-query HTTP/1.1\r\nHost: x\r\n{TYPE}\r\nContent-Length: 100\r\n\r\n");
    let heads = ["", "GET /dns-query HT", "GET /dns-query HTTP/1.1\r\nHost: x\r\nX-Slow: ", &*posted];
    for head in heads {
        let mut tls = over("http/1.1");
        tls.send_raw(head.as_bytes()).unwrap();
        let answer = String::from_utf8_lossy(&tls.receive_all()).into_owned();
        assert!(!answer.contains(" 200"), "{answer}");
        assert_eq!(answer.contains(" 408"), head == posted, "{answer}");
    }
    // The preface of HTTP/2 and nothing more, and half of the frame that must follow it.
    for rest in [&b""[..], &[0, 0, 0, 4, 0]] {
        let mut tls = over("h2");
        tls.send_raw(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", rest].concat()).unwrap();
        tls.receive_all();
    }
    // A head without an end is not kept.
    let mut tls = over("http/1.1");
    tls.send_raw(b"GET /dns-query HTTP/1.1\r\nX-Long: ").unwrap();
    let endless = (0..64).try_for_each(|_| tls.send_raw(&[b'x'; 4096]));
    let answer = String::from_utf8_lossy(&tls.receive_all()).into_owned();
    assert!(endless.is_err() || answer.is_empty() || answer.contains(" 431"), "{answer}");
    let fine = curl(&server, &authority, &get(&Query::new("evil.example", wire::A)), &[]);
    assert!(fine.head.contains(" 200"), "{}", fine.head);
}
