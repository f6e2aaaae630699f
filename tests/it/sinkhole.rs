//! Whoever comes to the sinkhole is recorded, on whatever port; over TLS the page is shown to machines that trust the
//! sinkhole's authority, and nobody waits for it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::harness::house::Setup;
use crate::harness::server::Server;
use crate::harness::{Finished, Lines, PATIENCE, http, nsd, run, spawn};

/// A line of `sachdns contacts --format jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Contact {
    pub(crate) id: u64,
    pub(crate) client: String,
    pub(crate) source_port: u16,
    pub(crate) agency: Option<String>,
    pub(crate) local: SocketAddr,
    pub(crate) via: String,
    pub(crate) name: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) agent: Option<String>,
    pub(crate) ja4: Option<String>,
    pub(crate) first: String,
    pub(crate) count: u64,
}

fn setup() -> Setup {
    Setup::new(nsd::address())
        .sinkhole(
            "ipv4 = \"127.0.0.1\"\nipv6 = \"::1\"\nhttp_listen = [\"127.0.0.1:0\"]\nhttps_listen = [\"127.0.0.1:0\"]\n\
             tcp_listen = [\"127.0.0.1:0,0\", \"[::1]:0\"]\nudp_listen = [\"127.0.0.1:0\"]\n",
        )
        .feed("authority", "evil.example.test\n")
}

/// Where the sinkhole listens, by the server's own word.
#[track_caller]
pub(crate) fn listening(server: &Server, kind: &str) -> Vec<SocketAddr> {
    let start = format!("listening {kind} ");
    let text = server.stderr().text();
    text.lines().filter_map(|line| line.strip_prefix(&start)?.parse().ok()).collect()
}

#[track_caller]
pub(crate) fn contacts(server: &Server, filters: &[&str]) -> Vec<Contact> {
    let arguments = [&["--format", "jsonl"], filters].concat();
    let text = server.house().run("contacts", &arguments).well().stdout;
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Waits until there are so many rows; oldest first.
#[track_caller]
fn await_contacts(server: &Server, filters: &[&str], rows: usize) -> Vec<Contact> {
    let until = Instant::now() + PATIENCE;
    loop {
        let mut found = contacts(server, filters);
        if found.len() >= rows {
            found.reverse();
            return found;
        }
        assert!(Instant::now() < until, "{rows} rows are awaited: {found:#?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn hex(text: &str) -> String {
    text.bytes().map(|octet| format!("{octet:02x}")).collect()
}

/// Sends something and reads until the other end closes, or breaks off.
fn exchange(server: SocketAddr, octets: &[u8]) -> (Vec<u8>, SocketAddr) {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let own = stream.local_addr().unwrap();
    stream.write_all(octets).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    (answer, own)
}

fn s_client(server: SocketAddr, arguments: &[&str]) -> Finished {
    let address = server.to_string();
    run(Command::new("openssl").args(["s_client", "-connect", &address]).args(arguments))
}

#[test]
fn whoever_comes_is_recorded() {
    let mut server = setup().agency("so-tttt", "Sở TTTT", "127.0.0.0/8", "…").serve();
    let page = http::exchange(
        server.http.unwrap(),
        b"GET /gate.php?id=7 HTTP/1.1\r\nHost: WWW.Evil.example.test:80\r\nUser-Agent: Bot/1.0\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(page.status, 200);
    let seen = await_contacts(&server, &[], 1).remove(0);
    assert_eq!((&*seen.client, &*seen.via), ("127.0.0.1", "http"));
    assert_eq!((seen.local, seen.agency.as_deref()), (server.http.unwrap(), Some("so-tttt")));
    assert_eq!(seen.name.as_deref(), Some("www.evil.example.test"));
    assert_eq!((seen.path.as_deref(), seen.agent.as_deref()), (Some("/gate.php?id=7"), Some("Bot/1.0")));
    assert!(seen.first.starts_with(&hex("GET /gate.php?id=7 HTTP/1.1\r\n")) && seen.first.len() <= 256);

    // A plain port never answers, and ends what said enough.
    let ports = listening(&server, "sinkhole-tcp");
    assert_eq!(ports.len(), 3);
    let (answer, own) = exchange(ports[0], b"NICK bot\r\nUSER bot\r\n");
    assert!(answer.is_empty(), "{answer:?}");
    let seen = await_contacts(&server, &["--via", "tcp"], 1).remove(0);
    assert_eq!((seen.local, seen.source_port), (ports[0], own.port()));
    assert_eq!((seen.first, seen.name), (hex("NICK bot\r\nUSER bot\r\n"), None));
    let (answer, _) = exchange(ports[2], b"POST http://c2.evil.example.test/x HTTP/1.1\r\n\r\n");
    assert!(answer.is_empty(), "{answer:?}");
    let port = ports[2].port().to_string();
    let seen = await_contacts(&server, &["--port", &port], 1).remove(0);
    assert_eq!(
        (&*seen.client, &*seen.via, seen.name.as_deref()),
        ("::1", "http", Some("c2.evil.example.test"))
    );

    // TLS on any port tells its name and its fingerprint.
    for port in [ports[1], listening(&server, "sinkhole-https")[0]] {
        let begun = Instant::now();
        let hello = s_client(port, &["-servername", "tls.evil.example.test", "-alpn", "h2,http/1.1"]);
        assert!(!hello.status.success(), "{hello:#?}");
        assert!(begun.elapsed() < Duration::from_secs(4), "a browser should not wait");
    }
    let seen = await_contacts(&server, &["--via", "tls"], 2);
    for seen in &seen {
        assert_eq!(seen.name.as_deref(), Some("tls.evil.example.test"));
        let ja4 = seen.ja4.as_deref().unwrap();
        assert!(ja4.starts_with("t13d") && ja4.split('_').map(str::len).eq([10, 12, 12]), "{ja4}");
        assert_eq!(&ja4[8..10], "h2");
    }
    assert_eq!(seen[0].ja4, seen[1].ja4);

    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.send_to(&[7; 1000], listening(&server, "sinkhole-udp")[0]).unwrap();
    let seen = await_contacts(&server, &["--via", "udp"], 1).remove(0);
    assert_eq!((seen.first, seen.source_port), ("07".repeat(128), udp.local_addr().unwrap().port()));
    udp.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(udp.recv(&mut [0; 10]).is_err(), "UDP is never answered");

    // A port scanner, which takes its connection back at once.
    let scanner = TcpStream::connect(ports[1]).unwrap();
    socket2::SockRef::from(&scanner).set_linger(Some(Duration::ZERO)).unwrap();
    let scanners_port = scanner.local_addr().unwrap().port();
    drop(scanner);
    let port = ports[1].port().to_string();
    let seen = await_contacts(&server, &["--via", "tcp", "--port", &port], 1).remove(0);
    assert_eq!((seen.source_port, seen.first), (scanners_port, String::new()));

    // Who says nothing is recorded too, when his time is over.
    let silent = TcpStream::connect(ports[0]).unwrap();
    let port = ports[0].port().to_string();
    let mut rows = await_contacts(&server, &["--via", "tcp", "--port", &port], 2);
    assert_eq!(rows.pop().map(|it| it.first), Some(String::new()));
    drop(silent);
    // Filters, and the table for people.
    assert_eq!(contacts(&server, &["--name", "evil.example.test"]).len(), 4);
    assert!(contacts(&server, &["--client", "127.0.0.9"]).is_empty());
    assert!(server.house().read("data/audit.jsonl").contains("127.0.0.9"));
    let table = server.house().run("contacts", &["--limit", "3"]).well().stdout;
    assert_eq!(table.lines().count(), 4, "{table}");
    let csv = server.house().run("contacts", &["--format", "csv"]).well().stdout;
    assert!(csv.starts_with("id,time,client,"), "{csv}");
    server.assert_well();
}

#[test]
fn what_loops_is_one_row_and_survives_a_kill() {
    let server = setup().serve();
    let mut child = spawn(
        server.house().command(&["contacts", "--config", "sachdns.toml", "--follow"]).stdout(Stdio::piped()),
    );
    let lines = Lines::follow(child.stdout.take().unwrap());
    for _ in 0..30 {
        http::fetch(server.http.unwrap(), "evil.example.test", "/loop");
    }
    // However random each handshake is.
    for _ in 0..5 {
        s_client(listening(&server, "sinkhole-https")[0], &["-servername", "evil.example.test"]);
    }
    let seen = lines.wait(PATIENCE, |line| line.contains("evil.example.test /loop"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(seen.is_some(), "{}", lines.text());
    let until = Instant::now() + PATIENCE;
    while contacts(&server, &[]).iter().map(|it| it.count).sum::<u64>() < 35 {
        assert!(Instant::now() < until, "{:#?}", contacts(&server, &[]));
        std::thread::sleep(Duration::from_millis(50));
    }
    let before = contacts(&server, &[]);
    assert!(before.len() <= 4, "of two minutes at the most: {before:#?}");
    let stopped = server.stop(rustix::process::Signal::KILL);
    let server = stopped.house.serve();
    assert_eq!(contacts(&server, &[]), before);
    http::fetch(server.http.unwrap(), "evil.example.test", "/after");
    let after = await_contacts(&server, &[], before.len() + 1);
    assert!(after.last().unwrap().id > before[0].id);
}

#[test]
fn machines_that_trust_the_authority_see_the_page() {
    let server = setup().serve();
    let https = listening(&server, "sinkhole-https")[0];
    let missing = server.house().run("ca export", &[]);
    assert!(missing.code() == 1 && missing.stderr.contains("sachdns ca init"), "{missing:#?}");
    let made = server.house().run("ca init", &["--name", "Tỉnh thử nghiệm"]).well();
    assert!(made.stdout.contains("never signs for: gov.vn"), "{}", made.stdout);
    let again = server.house().run("ca init", &[]);
    assert!(again.code() == 1 && again.stderr.contains("--replace"), "{again:#?}");
    server.house().run("ca export", &["--output", "ca.pem"]).well();
    let printed = server.house().run("ca export", &["--output", "-"]).well().stdout;
    assert!(printed == server.house().read("ca.pem") && !server.house().path().join("-").exists());
    server.house().run("ca export", &["--format", "der", "--output", "ca.cer"]).well();
    let shown = run(Command::new("openssl")
        .args(["x509", "-inform", "DER", "-in", "ca.cer", "-noout", "-text", "-fingerprint", "-sha256"])
        .current_dir(server.house().path()))
    .well()
    .stdout;
    for part in ["CA:TRUE, pathlen:0", "Name Constraints: critical", "DNS:gov.vn", "Certificate Sign"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let fingerprint = shown.lines().find_map(|line| line.split_once("Fingerprint=")).unwrap().1;
    let ours = server.house().run("ca export", &["--format", "fingerprint"]).well().stdout;
    assert!(ours.contains(&fingerprint.to_ascii_lowercase()), "{ours}{fingerprint}");

    let curl = |name: &str, more: &[&str]| {
        let (to, url) = (format!("::{https}"), format!("https://{name}/gate.php"));
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-A", "curl/1", "-H", "Accept: text/html", "--connect-to", &to, &url]).args(more);
        run(curl.current_dir(server.house().path()))
    };
    let trusting = ["--cacert", "ca.pem"];
    // The server takes it by itself.
    let until = Instant::now() + PATIENCE;
    let page = loop {
        let page = curl("www.evil.example.test", &trusting);
        if page.status.success() {
            break page;
        }
        assert!(Instant::now() < until, "{page:#?}");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(page.stdout.contains("<html") && page.stdout.contains("www.evil.example.test"), "{page:#?}");
    let inside = loop {
        let seen = contacts(&server, &["--via", "tls"]);
        if let Some(inside) = seen.iter().find(|it| it.path.is_some()) {
            break inside.clone();
        }
        assert!(Instant::now() < until, "{seen:#?}");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!((inside.path.as_deref(), inside.agent.as_deref()), (Some("/gate.php"), Some("curl/1")));
    assert_eq!(inside.name.as_deref(), Some("www.evil.example.test"));
    assert!(inside.ja4.is_some() && inside.first.starts_with(&hex("GET /gate.php")), "{inside:#?}");

    // No certificate for what nobody lists, nor for whom the authority may not speak.
    for (name, more) in [("good.example.test", &trusting[..]), ("www.evil.example.test", &[])] {
        let refused = curl(name, more);
        assert!(!refused.status.success(), "{name}: {refused:#?}");
    }
    // Another one replaces it, and who trusts the old one is refused.
    server.house().run("ca init", &["--replace"]).well();
    let until = Instant::now() + PATIENCE;
    while curl("www.evil.example.test", &trusting).status.success() {
        assert!(Instant::now() < until, "the new authority is not in force");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn agencies_that_cannot_be_seen_are_told() {
    let server = setup()
        .agency("forwarder", "Sở A", "127.1.0.0/16", "…")
        .agency("unrouted", "Sở B", "127.2.0.0/16", "…")
        .agency("seen", "Sở C", "127.3.0.0/16", "…")
        .agency("clean", "Sở D", "127.4.0.0/16", "…")
        .serve();
    for client in ["127.1.0.53", "127.2.0.1", "127.2.0.2", "127.2.0.3", "127.3.0.53"] {
        server.dig().from(client).ask("evil.example.test", "A");
    }
    server.dig().from("127.4.0.1").ask("www.example.test", "A");
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 3, 7, 7], 0)).into()).unwrap();
    socket.connect(&server.http.unwrap().into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.write_all(b"GET / HTTP/1.0\r\nHost: evil.example.test\r\n\r\n").unwrap();
    await_contacts(&server, &[], 1);
    let lines = |arguments: &[&str]| {
        let text = server.house().run("contacts blind", arguments).well().stdout;
        text.lines()
            .map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                let text = |key: &str| line[key].as_str().unwrap_or("-").to_owned();
                format!("{} {} {} {}", text("agency"), line["hits"], line["contacts"], text("advice"))
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(lines(&["--format", "jsonl"]), ["unrouted 3 0 route", "forwarder 1 0 forwarder"]);
    let all = ["unrouted 3 0 route", "forwarder 1 0 forwarder", "seen 1 1 -"];
    assert_eq!(lines(&["--format", "jsonl", "--all"]), all);
    let text = server.house().run("contacts blind", &[]).well().stdout;
    assert!(text.contains("add-mac") && text.contains("route the sinkhole's addresses"), "{text}");
}

#[test]
fn odd_settings_are_told_with_their_mend() {
    fn check(line: &str, expected: &str) {
        let house = Setup::new(nsd::address()).sinkhole(&format!("{line}\n")).lay();
        let finished = house.run("check", &[]);
        assert_eq!(finished.code(), 1, "{finished:#?}");
        assert!(finished.stderr.contains(expected), "{expected}: {}", finished.stderr);
    }
    check("tcp_listen = [\"10.10.10.10\"]", "no colon before its ports");
    check("tcp_listen = [\"fd00::10:25\"]", "an IPv6 address without brackets");
    check("udp_listen = [\"10.10.10.10:9-5\"]", "ends before it begins");
    check("tcp_listen = [\"10.10.10.10:1-65535\"]", "more than 256 ports");
    check("tcp_listen = [\"10.10.10.10:1-200\", \"10.10.10.10:301-400\"]", "at most 256 ports in all");
    check("contacts_max_size = \"1KiB\"", "at least \"16MiB\"");
    check("ca_excluded = [\"a b\"]", "sinkhole.ca_excluded");
}
