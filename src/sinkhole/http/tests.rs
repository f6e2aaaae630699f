//! The listener's promises, over real sockets and raw bytes.

use tokio::net::TcpSocket;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::sinkhole::desk::Class;
use crate::sinkhole::page::Design;
use crate::sinkhole::token::Key;

/// Lists `evil.example`, and knows the loopback's agency.
struct OneName;

impl Site for OneName {
    fn look_up(&self, host: Option<&str>, client: IpAddr) -> Finding {
        let listing =
            Listing { family: Some("Emotet".to_owned()), feed: "authority".to_owned(), class: Class::C2 };
        let agency = Agency { name: "Sở Y tế".to_owned(), contact: Some("115".to_owned()) };
        Finding {
            listing: (host == Some("evil.example")).then_some(listing),
            agency: client.is_loopback().then_some(agency),
        }
    }
}

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

/// Nothing a test awaits takes this long; it only keeps a failing test from hanging.
const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(50);

fn start(options: Options) -> Running {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let listeners = vec![TcpListener::from_std(listener).unwrap()];
    let (stop, stopped) = oneshot::channel();
    let shutdown = async {
        let _ = stopped.await;
    };
    let reception = Reception::new(OneName, None, Design::default(), Key::new(&[7; 32]), page::vietnam());
    let served = tokio::spawn(serve(listeners, Arc::new(reception), options, Visits::default(), shutdown));
    Running { address, stop, served }
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn connect_from(&self, client: [u8; 4]) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((client, 0))).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    /// Sends `request` and returns the answer's head and body.
    async fn ask(&self, request: &[u8]) -> (String, String) {
        exchange(self.connect().await, request).await
    }
}

async fn exchange(mut stream: TcpStream, request: &[u8]) -> (String, String) {
    stream.write_all(request).await.unwrap();
    let answer = String::from_utf8(until_closed(stream).await).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole head");
    (head.to_ascii_lowercase(), body.to_owned())
}

async fn until_closed(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    tokio::time::timeout(LONG, stream.read_to_end(&mut bytes)).await.expect("closed in time").unwrap();
    bytes
}

/// Whether the connection is closed without an answer: a reset says so too.
async fn is_turned_away(mut stream: TcpStream) -> bool {
    let mut byte = [0];
    matches!(
        tokio::time::timeout(LONG, stream.read(&mut byte)).await.expect("closed in time"),
        Ok(0) | Err(_)
    )
}

#[tokio::test]
async fn every_method_and_path_gets_the_page() {
    let running = start(Options::default());
    for line in [
        "GET / HTTP/1.1",
        "GET /a/b.php?c=%00 HTTP/1.1",
        "GET /favicon.ico HTTP/1.1",
        "POST /gate HTTP/1.1",
        "PUT /x HTTP/1.1",
        "DELETE /x HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "BREW /pot HTTP/1.1",
        "GET http://evil.example:8080/x HTTP/1.1",
        "GET / HTTP/1.0",
    ] {
        let (head, body) = running.ask(format!("{line}\r\nHost: evil.example\r\n\r\n").as_bytes()).await;
        assert!(head.contains(" 200 ok"), "{line}: {head}");
        assert!(body.contains("Emotet") && body.contains("Sở Y tế"), "{line}: {body}");
        for field in [
            "content-type: text/html; charset=utf-8",
            "cache-control: no-store",
            "content-security-policy: default-src 'none'; style-src 'sha256-",
            "x-content-type-options: nosniff",
            "referrer-policy: same-origin",
            &format!("content-length: {}", body.len()),
        ] {
            assert!(head.contains(field), "{line}: no {field} in {head}");
        }
    }
}

#[tokio::test]
async fn head_has_the_length_and_no_body() {
    let running = start(Options::default());
    let (head, body) = running.ask(b"HEAD / HTTP/1.1\r\nHost: evil.example\r\n\r\n").await;
    assert!(head.contains(" 200 ok") && head.contains("content-length: "), "{head}");
    assert_eq!(body, "");
}

#[tokio::test]
async fn connect_opens_no_tunnel() {
    let running = start(Options::default());
    let (head, body) =
        running.ask(b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n").await;
    assert!(head.contains(" 403 "), "{head}");
    assert!(body.contains("Emotet"), "{body}");
}

#[tokio::test]
async fn the_host_is_found_and_shown() {
    let running = start(Options::default());
    let check = async |request: &[u8], expected: Option<&str>| {
        let (_, body) = running.ask(request).await;
        // The host's cell comes before the one of the client's address.
        let mut cells = body.split("<td><span class=\"exact\">").skip(1);
        let shown = cells.next().and_then(|rest| rest.split("</span>").next());
        assert_eq!(shown.filter(|&cell| cell != "127.0.0.1"), expected);
    };
    check(b"GET / HTTP/1.0\r\n\r\n", None).await;
    check(b"GET / HTTP/1.1\r\nHost:\r\n\r\n", None).await;
    check(b"GET / HTTP/1.1\r\nHost: :80\r\n\r\n", None).await;
    check(b"GET / HTTP/1.1\r\nHost: Evil.example:8080\r\n\r\n", Some("Evil.example")).await;
    check(b"GET / HTTP/1.1\r\nHost: [fd00::10]:80\r\n\r\n", Some("[fd00::10]")).await;
    check(b"GET / HTTP/1.1\r\nHost: [fd00::10]\r\n\r\n", Some("[fd00::10]")).await;
    check(b"GET / HTTP/1.1\r\nHost: fd00::10\r\n\r\n", Some("fd00::10")).await;
    check(b"GET http://u:p@a.example:1/ HTTP/1.1\r\nHost: b.example\r\n\r\n", Some("a.example")).await;
    check(
        b"GET / HTTP/1.1\r\nHost: <script>alert(\"1\")</script>\r\n\r\n",
        Some("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;"),
    )
    .await;
    check(b"GET / HTTP/1.1\r\nHost: a\xff\xfeb\r\n\r\n", Some("a\\u{fffd}\\u{fffd}b")).await;
    check("GET / HTTP/1.1\r\nHost: a\u{202e}b\r\n\r\n".as_bytes(), Some("a\\u{202e}b")).await;
    let long = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "a".repeat(5000));
    check(long.as_bytes(), Some(&format!("{}…", "a".repeat(255)))).await;
}

#[tokio::test]
async fn a_body_is_thrown_away_and_the_answer_still_arrives() {
    let running = start(Options::default());
    let mut request = b"POST / HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 200000\r\n\r\n".to_vec();
    request.resize(request.len() + 200_000, b'x');
    let (head, body) = running.ask(&request).await;
    assert!(head.contains(" 200 ok") && body.ends_with("</html>"), "{head}");
}

#[tokio::test]
async fn a_request_and_its_fin_may_come_together() {
    let running = start(Options::default());
    let mut stream = running.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n").await.unwrap();
    stream.shutdown().await.unwrap();
    assert!(until_closed(stream).await.ends_with(b"</html>"));
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let running = start(Options::default());
    let (head, _) = running.ask(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n").await;
    assert!(head.contains(" 400 "), "{head}");
    let mut request = b"GET / HTTP/1.1\r\nHost: evil.example\r\nCookie: ".to_vec();
    request.resize(request.len() + 40_000, b'x');
    let (head, _) = running.ask(&request).await;
    assert!(head.contains(" 431 "), "{head}");
}

#[tokio::test]
async fn a_slow_head_is_cut() {
    let running = start(Options { head_timeout: SHORT, ..Options::default() });
    assert!(is_turned_away(running.connect().await).await, "nothing sent");
    let mut stream = running.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: ev").await.unwrap();
    assert!(is_turned_away(stream).await, "half a head");
}

#[tokio::test]
async fn a_connection_has_one_life() {
    let running = start(Options { head_timeout: LONG, life: SHORT, ..Options::default() });
    let mut stream = running.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    assert!(is_turned_away(stream).await);
}

#[tokio::test]
async fn one_client_cannot_take_all_connections() {
    let running = start(Options { per_client: 1, ..Options::default() });
    let first = running.connect().await;
    assert!(is_turned_away(running.connect().await).await, "a second one of the same client");
    let request = b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    let (head, _) = exchange(running.connect_from([127, 0, 0, 2]).await, request).await;
    assert!(head.contains(" 200 ok"), "another client: {head}");
    let (head, _) = exchange(first, request).await;
    assert!(head.contains(" 200 ok"), "the first one: {head}");
    let again = async {
        let mut stream = running.connect().await;
        while stream.write_all(request).await.is_err() || until_closed_any(&mut stream).await == 0 {
            stream = running.connect().await;
        }
    };
    tokio::time::timeout(LONG, again).await.expect("the place is free again");
}

/// How many bytes come before the end, or before a reset.
async fn until_closed_any(stream: &mut TcpStream) -> usize {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    bytes.len()
}

#[tokio::test]
async fn all_clients_together_are_capped() {
    let running = start(Options { connections: 2, ..Options::default() });
    let _held = [running.connect_from([127, 0, 0, 2]).await, running.connect_from([127, 0, 0, 3]).await];
    assert!(is_turned_away(running.connect_from([127, 0, 0, 4]).await).await);
}

#[tokio::test]
async fn shutdown_ends_it_with_connections_open() {
    let running = start(Options::default());
    let idle = running.connect().await;
    // The answer shows that the idle connection, which came first, is accepted.
    running.ask(b"GET / HTTP/1.1\r\n\r\n").await;
    running.stop.send(()).unwrap();
    tokio::time::timeout(LONG, running.served).await.expect("ends in time").unwrap();
    assert!(is_turned_away(idle).await);
    assert!(TcpStream::connect(running.address).await.is_err(), "nobody listens any more");
}
