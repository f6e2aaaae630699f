//! What is told is told once, whatever receivers do; the clock is the test's, the receivers are sockets that follow a script.

use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};

use ring::hmac;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::*;
use crate::cases::{CaseFilter, Evidence, Sighting, State, Subject};

const SECOND: i64 = 1_000_000;
/// Nine in the morning in Việt Nam.
const NOW: i64 = 20_000 * DAY + 2 * 3_600 * SECOND;

/// What a relay does with one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Take,
    /// Refuse the recipient for now.
    Later,
    /// Take it, and go away without a word.
    Vanish,
    /// Take it, and say nothing.
    Stall,
}

/// A relay: what it does one message after the other, and then takes all; what it got.
async fn relay(deeds: &[Deed]) -> (Relay, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let got = Arc::<Mutex<Vec<String>>>::default();
    let (kept, deeds) = (Arc::clone(&got), deeds.to_vec());
    tokio::spawn(async move {
        let mut deeds = deeds.into_iter();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            serve(stream, &mut deeds, &kept).await;
        }
    });
    (Relay { port, ..Relay::default() }, got)
}

async fn serve(stream: TcpStream, deeds: &mut impl Iterator<Item = Deed>, got: &Mutex<Vec<String>>) {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 relay\r\n").await.unwrap();
    let mut deed = None;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        let reply = match line.split_whitespace().next().unwrap_or_default() {
            "EHLO" => "250-relay\r\n250 8BITMIME\r\n",
            "RCPT" if *deed.insert(deeds.next().unwrap_or(Deed::Take)) == Deed::Later => "451 later\r\n",
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await.unwrap();
                let mut text = String::new();
                while !text.ends_with("\r\n.\r\n") {
                    stream.read_line(&mut text).await.unwrap();
                }
                got.lock().unwrap().push(text);
                match deed {
                    Some(Deed::Vanish) => return,
                    Some(Deed::Stall) => std::future::pending::<()>().await,
                    _ => {}
                }
                "250 taken\r\n"
            }
            "QUIT" => return,
            _ => "250 ok\r\n",
        };
        stream.write_all(reply.as_bytes()).await.unwrap();
    }
}

fn desk(folder: &Path) -> Desk {
    Desk::open(folder, crate::cases::Options::default()).unwrap()
}

fn hit(desk: &Desk, machine: u8, class: Class, now: i64) {
    hit_of(desk, machine, Some("so-yt"), class, now);
}

fn hit_of(desk: &Desk, machine: u8, agency: Option<&str>, class: Class, now: i64) {
    let client = [10, 1, 0, machine].into();
    let sighting = Sighting {
        time: now,
        client,
        machine: Subject::Address(client),
        host: Some("MÁY-KẾ-TOÁN".to_owned()),
        agency: agency.map(str::to_owned),
        family: "emotet".to_owned(),
        class,
        name: "c2.evil.example".to_owned(),
        evidence: Evidence::Query,
        count: 1,
        officer: None,
    };
    desk.sighting(&sighting, now).unwrap();
}

fn options(relay: Relay) -> Options {
    let agency = Agency {
        name: "Sở Y tế".to_owned(),
        officer: Some("Trần Thị B".to_owned()),
        email: Some("cntt@yt.example.vn".to_owned()),
    };
    Options {
        mail: Some(Mail {
            relay,
            digest: None,
            from: "SachDNS <dns@example.vn>".to_owned(),
            ..Mail::default()
        }),
        node: "dns1".to_owned(),
        agencies: HashMap::from([("so-yt".to_owned(), agency)]),
        ..Options::default()
    }
}

/// The readable text of a mail in quoted-printable or base64.
fn decoded(mail: &str) -> String {
    let (head, body) = mail.split_once("\r\n\r\n").unwrap();
    if head.contains("base64") {
        use base64::prelude::{BASE64_STANDARD, Engine as _};
        let text: String = body.trim_end_matches("\r\n.\r\n").split_whitespace().collect();
        return String::from_utf8(BASE64_STANDARD.decode(text).unwrap()).unwrap();
    }
    let (mut octets, body) = (Vec::new(), body.replace("=\r\n", ""));
    let mut letters = body.bytes();
    while let Some(letter) = letters.next() {
        if letter == b'=' && head.contains("quoted-printable") {
            let digits = [letters.next().unwrap(), letters.next().unwrap()];
            octets.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
        } else {
            octets.push(letter);
        }
    }
    String::from_utf8(octets).unwrap()
}

fn state(desk: &Desk) -> State {
    desk.list(&CaseFilter::default()).unwrap()[0].course.state
}

#[tokio::test]
async fn mail_goes_at_once_says_what_to_do_and_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let desk = desk(folder.path());
    let (relay, got) = relay(&[Deed::Later]).await;
    let options = options(relay);
    // The first hit of all may come before the postman does.
    hit(&desk, 1, Class::C2, NOW);
    let mut postman = Postman::new(&desk).unwrap();
    postman.round(&options, NOW).await.unwrap();
    assert_eq!((got.lock().unwrap().len(), state(&desk)), (0, State::New), "it was refused");
    postman.round(&options, NOW + SECOND).await.unwrap();
    assert_eq!(got.lock().unwrap().len(), 0, "and is left alone for a while");
    for later in [31, 32, 3600] {
        postman.round(&options, NOW + later * SECOND).await.unwrap();
    }
    let mails = got.lock().unwrap().clone();
    assert_eq!((mails.len(), state(&desk)), (1, State::Notified));
    let text = decoded(&mails[0]);
    for part in [
        "Kính gửi Anh/Chị Trần Thị B,",
        "Sở Y tế",
        "MÁY-KẾ-TOÁN (10.1.0.1)",
        "emotet",
        "c2[.]evil[.]example",
        "1. Ngắt máy khỏi mạng",
        "09:00:00 ngày 04/10/2024",
        "Máy tắt không được tính là sạch",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let case = &desk.list(&CaseFilter::default()).unwrap()[0];
    assert!(text.contains(&case.ticket.to_string()));
    assert!(mails[0].is_ascii() && mails[0].contains("To: cntt@yt.example.vn\r\n"), "{}", mails[0]);
    // Another class waits for the digest, and nothing comes twice after a restart.
    hit(&desk, 2, Class::Phishing, NOW + 7200 * SECOND);
    let mut postman = Postman::new(&desk).unwrap();
    postman.round(&options, NOW + 7200 * SECOND).await.unwrap();
    assert_eq!(got.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn who_says_that_it_is_wrong_is_heard_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let desk = desk(folder.path());
    let mut postman = Postman::new(&desk).unwrap();
    let (relay, got) = relay(&[]).await;
    let mut options = options(relay);
    options.mail.as_mut().unwrap().to = vec!["attt@example.vn".to_owned()];
    // Of a class that waits for the digest.
    hit(&desk, 1, Class::Unknown, NOW);
    postman.round(&options, NOW).await.unwrap();
    assert_eq!(got.lock().unwrap().len(), 0);
    let case = desk.list(&CaseFilter::default()).unwrap().remove(0);
    let by = crate::cases::desk::visitor(case.client);
    desk.said_wrong(case.id, "Đây là trang của đơn vị", &by, NOW + SECOND).unwrap();
    for second in 1..100 {
        postman.round(&options, NOW + second * SECOND).await.unwrap();
    }
    let mails = got.lock().unwrap().clone();
    assert_eq!(mails.len(), 2, "the analysts and the agency, once each");
    for mail in &mails {
        let text = decoded(mail);
        for part in ["Người sử dụng báo cảnh báo nhầm", "Đây là trang của đơn vị", "sachdns case verdict"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("Việc cần làm"), "{text}");
    }
}

#[tokio::test]
async fn what_may_have_arrived_is_not_sent_again_but_is_in_the_digest() {
    for deed in [Deed::Vanish, Deed::Stall] {
        let folder = tempfile::tempdir().unwrap();
        let desk = desk(folder.path());
        let mut postman = Postman::new(&desk).unwrap();
        let (relay, got) = relay(&[deed]).await;
        let mut options = options(relay);
        hit(&desk, 1, Class::C2, NOW);
        {
            // Killed while the relay thinks, where it does.
            let round = postman.round(&options, NOW);
            tokio::pin!(round);
            tokio::select! {
                done = &mut round => done.unwrap(),
                () = async {
                    while got.lock().unwrap().is_empty() {
                        tokio::task::yield_now().await;
                    }
                    if deed == Deed::Vanish {
                        std::future::pending::<()>().await;
                    }
                } => {}
            }
        }
        drop(postman);
        let (again, fresh) = self::relay(&[]).await;
        options.mail.as_mut().unwrap().relay = again;
        let mut postman = Postman::new(&desk).unwrap();
        for hour in 0..20 {
            postman.round(&options, NOW + hour * 3600 * SECOND).await.unwrap();
        }
        assert_eq!((fresh.lock().unwrap().len(), state(&desk)), (0, State::New), "{deed:?}");
        options.mail.as_mut().unwrap().digest = Some(8 * 60);
        for hour in 20..30 {
            postman.round(&options, NOW + hour * 3600 * SECOND).await.unwrap();
        }
        let mails = fresh.lock().unwrap().clone();
        assert_eq!((mails.len(), state(&desk)), (1, State::Notified), "{deed:?}");
        let text = decoded(&mails[0]);
        assert!(text.contains("Tình hình xử lý mã độc của Sở Y tế, ngày 05/10/2024"), "{text}");
        assert!(text.contains("máy chủ điều khiển mã độc (C2): 1 đang mở (1 mới trong ngày,"), "{text}");
    }
}

#[tokio::test]
async fn only_mail_to_the_agency_itself_tells_of_a_case() {
    let folder = tempfile::tempdir().unwrap();
    let desk = desk(folder.path());
    let mut postman = Postman::new(&desk).unwrap();
    let (relay, got) = relay(&[]).await;
    let mut options = options(relay);
    let mail = options.mail.as_mut().unwrap();
    (mail.to, mail.digest) = (vec!["attt@example.vn".to_owned()], Some(10 * 60));
    let silent = Agency { name: "Sở Nội vụ".to_owned(), officer: None, email: None };
    options.agencies.insert("so-nv".to_owned(), silent);
    for (machine, agency) in [(1, Some("so-yt")), (2, Some("so-nv")), (3, Some("no-more")), (4, None)] {
        hit_of(&desk, machine, agency, Class::C2, NOW);
    }
    let states = || {
        let mut cases = desk.list(&CaseFilter::default()).unwrap();
        cases.sort_by_key(|case| case.client);
        cases.into_iter().map(|case| case.course.state).collect::<Vec<_>>()
    };
    // At once, and again in the digest.
    let expected = [State::Notified, State::New, State::New, State::Notified];
    for (hours, mails) in [(0, 2), (2, 4)] {
        for second in 0..600 {
            postman.round(&options, NOW + (hours * 3600 + second) * SECOND).await.unwrap();
        }
        assert_eq!((got.lock().unwrap().len(), states().as_slice()), (mails, &expected[..]), "{hours}");
    }
}

#[tokio::test]
async fn a_digest_counts_all_by_class_and_lists_some() {
    let folder = tempfile::tempdir().unwrap();
    let desk = desk(folder.path());
    let mut postman = Postman::new(&desk).unwrap();
    let (relay, got) = relay(&[]).await;
    let mut options = options(relay);
    options.mail.as_mut().unwrap().digest = Some(8 * 60);
    // More than a digest lists, and those seen last are of one class.
    for machine in 0..=250 {
        let (class, later) = if machine < 30 { (Class::Phishing, 0) } else { (Class::C2, 1) };
        hit(&desk, machine, class, NOW - 2 * DAY + later * SECOND);
    }
    hit(&desk, 251, Class::Scan, NOW - 2 * SECOND);
    let cases = desk.list(&CaseFilter::default()).unwrap();
    let by = Actor::Person("Lê Văn A".to_owned());
    for case in cases.iter().filter(|case| case.class == Class::Phishing).take(3) {
        desk.said_clean(case.id, "", &by, NOW - SECOND).unwrap();
    }
    options.mail.as_mut().unwrap().at_once = Vec::new();
    postman.round(&options, NOW).await.unwrap();
    let mails = got.lock().unwrap().clone();
    assert_eq!(mails.len(), 1);
    let text = decoded(&mails[0]);
    for part in [
        "(C2): 221 đang mở (0 mới trong ngày, 0 tái diễn, 0 đã báo làm sạch), 0 đã đóng",
        "Người dùng mở trang lừa đảo: 30 đang mở (0 mới trong ngày, 0 tái diễn, 3 đã báo làm sạch), 0 đã đóng",
        "Máy dò quét: 1 đang mở (1 mới trong ngày,",
        "… và 22 phiếu khác",
        "… và 30 phiếu khác",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(text.matches("thấy lần cuối").count(), 200);
    let subject = wording::digest(&[], &[], None, &reader_of_nothing(), NOW).subject;
    assert_eq!(subject, "[SachDNS] Tổng hợp ngày 04/10/2024: đang mở 0 phiếu – toàn tỉnh");
    let of = |class, open| outbox::Figures { class, open, new: 0, again: 0, said_clean: 0, closed: 0 };
    let figures = [of(Class::Phishing, 3), of(Class::C2, 5), of(Class::Scan, 0)];
    let subject = wording::digest(&[], &figures, None, &reader_of_nothing(), NOW).subject;
    assert_eq!(subject, "[SachDNS] Tổng hợp ngày 04/10/2024: đang mở 5 C2, 3 lừa đảo – toàn tỉnh");
}

fn reader_of_nothing() -> wording::Reader<'static> {
    static NONE: LazyLock<HashMap<String, Agency>> = LazyLock::new(HashMap::new);
    static ZONE: jiff::tz::TimeZone = jiff::tz::TimeZone::UTC;
    wording::Reader { address: "attt@example.vn", agencies: &NONE, zone: &ZONE }
}

#[tokio::test]
async fn an_outbreak_is_some_mails() {
    let folder = tempfile::tempdir().unwrap();
    let desk = desk(folder.path());
    let mut postman = Postman::new(&desk).unwrap();
    let (relay, got) = relay(&[]).await;
    let options = options(relay);
    for machine in 0..120 {
        hit(&desk, machine, Class::C2, NOW);
    }
    for second in 0..3600 {
        postman.round(&options, NOW + second * SECOND).await.unwrap();
    }
    let mails = got.lock().unwrap().clone();
    let texts: Vec<String> = mails.iter().map(|mail| decoded(mail)).collect();
    let told: usize = texts.iter().map(|text| text.matches("Mã phiếu").count()).sum();
    assert_eq!((mails.len(), told), (3, 120));
    assert_eq!(texts[0].matches("1. Ngắt máy khỏi mạng").count(), 1, "what to do is said once");
}

#[tokio::test]
async fn webhooks_are_signed_and_keep_their_key() {
    let folder = tempfile::tempdir().unwrap();
    let desk = desk(folder.path());
    let mut postman = Postman::new(&desk).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let got = Arc::<Mutex<Vec<String>>>::default();
    let kept = Arc::clone(&got);
    tokio::spawn(async move {
        for status in ["500 no", "204 yes", "204 yes", "204 yes", "204 yes"] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"}") {
                let mut part = [0; 4096];
                let len = stream.read(&mut part).await.unwrap();
                request.extend(&part[..len]);
            }
            kept.lock().unwrap().push(String::from_utf8(request).unwrap());
            let reply = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(reply.as_bytes()).await.unwrap();
        }
    });
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "correct horse\n").unwrap();
    let http = crate::fetch::http::Options {
        proxy: None,
        ca: None,
        credentials: None,
        max_size: 0,
        timeout: Duration::from_secs(10),
    };
    let url = format!("http://127.0.0.1:{port}/hook").parse().unwrap();
    let webhook = Webhook { name: "soc".to_owned(), url, http, secret: Some(secret), notifies: true };
    let mut options = Options { webhooks: vec![webhook], node: "dns1".to_owned(), ..Options::default() };
    hit(&desk, 1, Class::C2, NOW);
    for second in 0..100 {
        postman.round(&options, NOW + second * SECOND).await.unwrap();
    }
    let requests = got.lock().unwrap().clone();
    let (opened, told) = (&requests[1], &requests[2]);
    assert_eq!(requests.len(), 3, "refused once, then taken, then that somebody was told: {requests:#?}");
    assert_eq!(state(&desk), State::Notified);
    // One for people who are not at the machine tells nobody there.
    options.webhooks[0].notifies = false;
    hit(&desk, 2, Class::C2, NOW + 200 * SECOND);
    for second in 200..300 {
        postman.round(&options, NOW + second * SECOND).await.unwrap();
    }
    assert_eq!(got.lock().unwrap().len(), 4, "only that it was opened");
    let new = CaseFilter { states: vec![State::New], ..CaseFilter::default() };
    assert_eq!(desk.list(&new).unwrap().len(), 1);
    let field = |request: &str, name: &str| {
        let line = request
            .lines()
            .find(|line| line.split(':').next().is_some_and(|it| it.eq_ignore_ascii_case(name)));
        line.unwrap().split_once(": ").unwrap().1.to_owned()
    };
    assert_eq!(field(&requests[0], "idempotency-key"), field(opened, "idempotency-key"));
    assert_ne!(field(told, "idempotency-key"), field(opened, "idempotency-key"));
    let body = opened.split_once("\r\n\r\n").unwrap().1;
    assert!(body.contains(r#""event":"opened""#) && body.contains(r#""family":"emotet""#), "{body}");
    let signed = format!("{}.{body}", field(opened, "x-sachdns-timestamp"));
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"correct horse");
    let expected: String =
        hmac::sign(&key, signed.as_bytes()).as_ref().iter().map(|it| format!("{it:02x}")).collect();
    assert_eq!(field(opened, "x-sachdns-signature"), format!("sha256={expected}"));
}

#[tokio::test]
async fn syslog_over_tls_goes_only_to_who_is_meant() {
    use tokio_rustls::TlsAcceptor;
    let made = rcgen::generate_simple_self_signed(vec!["siem.example.vn".to_owned()]).unwrap();
    let pem = made.cert.pem();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let got = Arc::<Mutex<Vec<String>>>::default();
    let kept = Arc::clone(&got);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let kept = Arc::clone(&kept);
            tokio::spawn(async move {
                let mut part = [0; 4096];
                while let Ok(len @ 1..) = stream.read(&mut part).await {
                    kept.lock().unwrap().push(String::from_utf8_lossy(&part[..len]).into_owned());
                }
            });
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let desk = desk(folder.path());
    let mut postman = Postman::new(&desk).unwrap();
    let to = |name: &str| {
        let identity = crate::outlet::Identity::new(name, Some(pem.as_bytes()), None).unwrap();
        Options { syslog: Some(Receiver::Tls(address, identity)), ..Options::default() }
    };
    hit(&desk, 1, Class::C2, NOW);
    let other = to("other.example.vn");
    for second in 0..100 {
        postman.round(&other, NOW + second * SECOND).await.unwrap();
    }
    assert!(got.lock().unwrap().is_empty(), "nothing for a stranger");
    let meant = to("siem.example.vn");
    let mut now = NOW + 3600 * SECOND;
    for more in 1..=2 {
        // The second message takes the same connection.
        hit(&desk, 1 + more, Class::C2, now);
        now += 3600 * SECOND;
        postman.round(&meant, now).await.unwrap();
        while got.lock().unwrap().concat().matches("event=").count() <= usize::from(more) {
            tokio::task::yield_now().await;
        }
    }
    let text = got.lock().unwrap().concat();
    let (len, rest) = text.split_once(' ').unwrap();
    assert!(rest.as_bytes()[len.parse::<usize>().unwrap()].is_ascii_digit(), "{text}");
    assert_eq!(text.matches("event=\"opened\"").count(), 3, "{text}");
}

#[tokio::test]
async fn syslog_has_its_facts_as_structured_data() {
    let folder = tempfile::tempdir().unwrap();
    let desk = desk(folder.path());
    let mut postman = Postman::new(&desk).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let receiver = Receiver::Udp(socket.local_addr().unwrap());
    let options = Options { syslog: Some(receiver), node: "dns 1".to_owned(), ..Options::default() };
    hit(&desk, 1, Class::C2, NOW);
    postman.round(&options, NOW).await.unwrap();
    let mut datagram = [0; 2048];
    let len = socket.recv(&mut datagram).await.unwrap();
    let line = std::str::from_utf8(&datagram[..len]).unwrap();
    assert!(line.starts_with("<131>1 2024-10-04T02:00:00.000000Z dns_1 sachdns "), "{line}");
    for part in [" case [case@32473 event=\"opened\" ", " family=\"emotet\" ", " host=\"MÁY-KẾ-TOÁN\" "] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let case = &desk.list(&CaseFilter::default()).unwrap()[0];
    let step = Step { time: i64::MAX, by: Actor::Server, what: What::Noted, note: String::new() };
    let odd = Case { family: "a\"b]c\\d\ne".to_owned(), ..case.clone() };
    let line = syslog::line("", &odd, &step);
    assert!(line.starts_with("<133>1 - - sachdns ") && line.contains(r#"family="a\"b\]c\\de""#), "{line}");
}
