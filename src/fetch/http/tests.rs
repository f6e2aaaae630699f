//! Servers that behave, and many that do not, over real sockets.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex};

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::fetch::draft::Draft;

/// What a server does with one request: these octets, each piece behind a pause, and the end of the connection.
type Script = Vec<(Duration, Vec<u8>)>;

/// Serves these answers, one connection each, the last again and again; gives its URL and the heads of requests.
async fn serve(scripts: Vec<Script>) -> (Url, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/list", listener.local_addr().unwrap())).unwrap();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    tokio::spawn(async move {
        let mut at = 0;
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let head = head(&mut stream).await;
            seen.lock().unwrap().extend(head);
            for (pause, octets) in &scripts[at] {
                tokio::time::sleep(*pause).await;
                if stream.write_all(octets).await.is_err() {
                    break;
                }
            }
            at = (at + 1).min(scripts.len() - 1);
        }
    });
    (url, heads)
}

/// Serves each path its answer, and 404 for all others; gives the URL of `/`.
pub(in crate::fetch) async fn serve_paths(answers: impl Iterator<Item = (String, String)>) -> Url {
    let answers: HashMap<String, String> = answers.collect();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let answers = answers.clone();
            tokio::spawn(async move {
                while let Some(head) = head(&mut stream).await {
                    let path = head.split(' ').nth(1).unwrap_or_default();
                    let nothing = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
                    let answer = answers.get(path).map_or(nothing, String::as_str);
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

/// The head of the next request; `None` where the client has left.
async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

fn at_once(octets: impl Into<Vec<u8>>) -> Script {
    vec![(Duration::ZERO, octets.into())]
}

fn with_body(fields: &str, body: &[u8]) -> Script {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{fields}\r\n", body.len());
    at_once([head.as_bytes(), body].concat())
}

fn gzip(octets: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(octets).unwrap();
    encoder.finish().unwrap()
}

pub(in crate::fetch) fn options() -> Options {
    Options { proxy: None, ca: None, credentials: None, max_size: 100_000, timeout: Duration::from_secs(120) }
}

/// What comes of this URL: the body, or the error's text.
async fn get(url: &Url, options: &Options) -> Result<Option<Vec<u8>>, String> {
    let ask = Ask { url, accept: "*/*", etag: Some("\"a\""), last_modified: None };
    let folder = tempfile::tempdir().unwrap();
    let mut draft = Draft::create(folder.path(), options.max_size).unwrap();
    let mut client = Client::new(options).map_err(|error| error.to_string())?;
    match client.get(ask, &mut draft).await.map_err(|error| error.to_string())? {
        Reply::Unchanged => Ok(None),
        Reply::Content(_) => {
            let mut content = Vec::new();
            draft.finish().map_err(|error| error.to_string())?.file.read_to_end(&mut content).unwrap();
            Ok(Some(content))
        }
    }
}

#[tokio::test]
async fn bodies_come_whole_or_not_at_all() {
    async fn check(script: Script, expected: Result<Option<&[u8]>, &str>) {
        let (url, _) = serve(vec![script]).await;
        let got = get(&url, &options()).await;
        match (&got, expected) {
            (Ok(got), Ok(expected)) => assert_eq!(got.as_deref(), expected),
            (Err(got), Err(expected)) => assert!(got.contains(expected), "{got}: {expected}"),
            _ => panic!("{got:?}, not {expected:?}"),
        }
    }
    let list = b"evil.example\n".as_slice();
    check(with_body("", list), Ok(Some(list))).await;
    check(with_body("", b""), Ok(Some(b""))).await;
    check(at_once("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n"), Ok(None)).await;
    let chunks =
        |end: &str| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nevil.\r\n{end}");
    check(at_once(chunks("8\r\nexample\n\r\n0\r\n\r\n")), Ok(Some(list))).await;
    // Truncated: a length that is not reached, chunks without their end, a chunk that is cut.
    check(at_once("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nevil.example\n"), Err("it was cut")).await;
    check(at_once(chunks("")), Err("it was cut")).await;
    check(at_once(chunks("8\r\nexa")), Err("it was cut")).await;
    check(at_once(""), Err("it was cut")).await;
    check(at_once("220 mail.example ESMTP\r\n"), Err("not HTTP")).await;
    // Packed for the way: unpacked here.
    check(with_body("Content-Encoding: gzip\r\n", &gzip(list)), Ok(Some(list))).await;
    let cut = &gzip(list)[..20];
    check(with_body("Content-Encoding: gzip\r\n", cut), Err("its gzip is damaged")).await;
    check(with_body("Content-Encoding: br\r\n", list), Err("\"br\"")).await;
    // A packed list stays packed.
    let packed = gzip(list);
    check(with_body("Content-Type: application/gzip\r\n", &packed), Ok(Some(&packed))).await;
    // Bombs, as the list or for the way, and one that is just long.
    let bomb = gzip(&vec![b'a'; 2_000_000]);
    check(with_body("", &bomb), Err("unpacked it is larger than max_size")).await;
    check(with_body("Content-Encoding: gzip\r\n", &bomb), Err("larger than max_size")).await;
    check(with_body("", &[b'a'; 100_001]), Err("larger than max_size, 100000 octets")).await;
    check(at_once("HTTP/1.1 404 Not Found\r\n\r\n"), Err("404 Not Found: the list is not there any more"))
        .await;
    check(at_once("HTTP/1.1 401 Unauthorized\r\n\r\n"), Err("check user and password_file")).await;
    check(at_once("HTTP/1.1 206 Partial Content\r\nContent-Length: 0\r\n\r\n"), Err("206")).await;
    // A head without an end.
    let endless = "HTTP/1.1 200 OK\r\n".to_owned() + &"A: b\r\n".repeat(20_000);
    check(at_once(endless), Err("HTTP")).await;
}

#[tokio::test]
async fn redirects_are_followed_with_care() {
    let to = |location: &str| at_once(format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\n\r\n"));
    let (url, heads) = serve(vec![to("/other?a=b#c"), with_body("", b"a")]).await;
    assert_eq!(get(&url, &options()).await, Ok(Some(b"a".to_vec())));
    let heads = heads.lock().unwrap().join("");
    assert!(
        heads.contains("GET /list HTTP/1.1\r\n") && heads.contains("GET /other?a=b HTTP/1.1\r\n"),
        "{heads}"
    );
    for (location, expected) in
        [("/list", "more than 5 redirects"), ("ftp://a.example/", "no http or https URL"), ("", "no http")]
    {
        let (url, _) = serve(vec![to(location)]).await;
        let error = get(&url, &options()).await.unwrap_err();
        assert!(error.contains(expected), "{location}: {error}");
    }
    let https = Url::parse("https://a.example/").unwrap();
    let response = Response::builder().header(LOCATION, "http://a.example/").body(()).unwrap();
    assert!(matches!(target(&https, &response), Err(HttpError::Downgrade(_))));
}

#[tokio::test]
async fn secrets_go_to_their_server_only() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "se:cret \nand a remark\n").unwrap();
    let mut options = options();
    options.credentials = Some(Credentials::Password { user: "us\u{1ea1}".to_owned(), file: file.clone() });
    let (other, of_other) = serve(vec![with_body("", b"a")]).await;
    let there = format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: {other}\r\n\r\n");
    let (url, heads) = serve(vec![at_once(there)]).await;
    assert_eq!(get(&url, &options).await, Ok(Some(b"a".to_vec())));
    let expected = format!("Basic {}", BASE64_STANDARD.encode("us\u{1ea1}:se:cret"));
    let heads = heads.lock().unwrap().join("");
    assert!(heads.contains(&expected) && heads.contains("if-none-match: \"a\""), "{heads}");
    let of_other = of_other.lock().unwrap().join("");
    assert!(!of_other.contains("uthorization") && !of_other.contains("if-none"), "{of_other}");
    options.credentials = Some(Credentials::Token { file: file.clone() });
    assert!(get(&url, &options).await.is_ok());
    std::fs::write(&file, "\n").unwrap();
    assert!(get(&url, &options).await.unwrap_err().contains("its first line is empty"));
}

#[tokio::test(start_paused = true)]
async fn who_drips_or_sleeps_is_given_up() {
    #[track_caller]
    fn check(error: &str, expected: &str) {
        assert!(error.contains(expected), "{error}: {expected}");
    }
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n".to_vec();
    let drips = |octets: usize| {
        let drip = (Duration::from_secs(1), vec![b'a'; octets]);
        let mut script = vec![(Duration::ZERO, head.clone())];
        script.extend(std::iter::repeat_n(drip, 99_999_usize.div_ceil(octets)));
        script
    };
    let (url, _) = serve(vec![drips(100)]).await;
    check(&get(&url, &options()).await.unwrap_err(), "too slowly");
    // Fast enough, and then too long in all.
    let (url, _) = serve(vec![drips(2000)]).await;
    let options = Options { timeout: Duration::from_secs(30), ..options() };
    check(&get(&url, &options).await.unwrap_err(), "not all of it came within 30 s");
    let (url, _) = serve(vec![vec![(Duration::from_secs(100), head)]]).await;
    let options = Options { timeout: Duration::from_secs(200), ..options };
    check(&get(&url, &options).await.unwrap_err(), "waited 60 s for an answer");
}

#[tokio::test]
async fn a_proxy_gets_plain_requests_whole() {
    let (proxy, heads) = serve(vec![with_body("", b"a")]).await;
    let options = Options { proxy: Some(Proxy { url: proxy, credentials: None }), ..options() };
    // The name is the proxy's to look up.
    let url = Url::parse("http://list.invalid/a?b").unwrap();
    assert_eq!(get(&url, &options).await, Ok(Some(b"a".to_vec())));
    let heads = heads.lock().unwrap().join("");
    assert!(heads.starts_with("GET http://list.invalid/a?b HTTP/1.1\r\nhost: list.invalid\r\n"), "{heads}");
    let (proxy, heads) = serve(vec![at_once("HTTP/1.1 403 Filtered\r\n\r\n")]).await;
    let options = Options { proxy: Some(Proxy { url: proxy, credentials: None }), ..options };
    let url = Url::parse("https://list.invalid/").unwrap();
    let error = get(&url, &options).await.unwrap_err();
    assert!(error.contains("answers 403"), "{error}");
    let heads = heads.lock().unwrap().join("");
    assert!(heads.starts_with("CONNECT list.invalid:443 HTTP/1.1\r\n"), "{heads}");
}

#[test]
fn servers_say_when_to_come_back() {
    fn check(text: &str, expected: Option<u64>) {
        let mut fields = HeaderMap::new();
        fields.insert(RETRY_AFTER, text.parse().unwrap());
        let now = "1994-11-06T08:49:00Z".parse().unwrap();
        assert_eq!(retry_after(&fields, now).map(|wait| wait.as_secs()), expected, "{text}");
    }
    check("120", Some(120));
    check("99999999", Some(86_400));
    check("Sun, 06 Nov 1994 08:49:37 GMT", Some(37));
    check("Sun, 06 Nov 1994 08:48:37 GMT", None);
    check("soon", None);
    check("-1", None);
}
