//! What becomes of requests, of people's statements above all: kept once, refused to strangers, and never lost silently.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::sinkhole::desk::Class;
use crate::sinkhole::page::{Agency, Listing, vietnam};
use crate::sinkhole::route::SAID_PATH;

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 2, 3));
const HOST: &str = "evil.example";
/// 29 August 2022, in microseconds.
const NOW: i64 = 1_661_792_645_000_000;
const MINUTE: i64 = 60 * 1_000_000;

struct OneName;

impl Site for OneName {
    fn look_up(&self, host: Option<&str>, _: IpAddr) -> Finding {
        let listing =
            Listing { family: Some("Emotet".to_owned()), feed: "authority".to_owned(), class: Class::C2 };
        let agency = Agency { name: "Sở Y tế".to_owned(), contact: Some("115".to_owned()) };
        Finding { listing: (host == Some(HOST)).then_some(listing), agency: Some(agency) }
    }
}

/// Which button, the ticket, who, and the note.
type Kept = (Said, String, IpAddr, Option<String>);

/// Follows a case for each client, and keeps what was said.
#[derive(Default)]
struct Notebook {
    said: Mutex<Vec<Kept>>,
    is_broken: AtomicBool,
}

impl Notebook {
    fn keep(&self, said: Said, statement: &Statement<'_>) -> Result<Filed, DeskError> {
        if self.is_broken.load(Ordering::Relaxed) {
            return Err(DeskError("no room".into()));
        }
        if statement.ticket != ticket_of(statement.client) {
            return Ok(Filed::NoCase);
        }
        let mut kept = self.said.lock().unwrap();
        let filed = kept.iter().any(|it| it.0 == said && it.1 == statement.ticket);
        if filed {
            return Ok(Filed::Already);
        }
        kept.push((said, statement.ticket.to_owned(), statement.client, statement.note.map(str::to_owned)));
        Ok(Filed::Taken)
    }
}

fn ticket_of(client: IpAddr) -> String {
    format!("T-{}", client.to_string().rsplit('.').next().unwrap())
}

impl Desk for Notebook {
    fn case_of(&self, visit: &Visit<'_>) -> Option<Case> {
        visit.listing?;
        Some(Case {
            ticket: ticket_of(visit.client),
            class: Class::C2,
            name: visit.host.map(str::to_owned),
            family: None,
            machine: Some("PC-KETOAN-03".to_owned()),
            since: NOW,
            sightings: 1,
            said: None,
        })
    }

    fn said_clean(&self, statement: &Statement<'_>) -> Result<Filed, DeskError> {
        self.keep(Said::Clean, statement)
    }

    fn said_wrong(&self, statement: &Statement<'_>) -> Result<Filed, DeskError> {
        self.keep(Said::Wrong, statement)
    }
}

struct House {
    reception: Reception,
    desk: Arc<Notebook>,
}

struct Answer {
    status: u16,
    headers: hyper::HeaderMap,
    body: String,
}

impl House {
    fn new() -> Self {
        let desk = Arc::new(Notebook::default());
        let shared: Arc<dyn Desk> = desk.clone();
        let reception =
            Reception::new(OneName, Some(shared), Design::default(), Key::new(&[7; 32]), vietnam());
        Self { reception, desk }
    }

    async fn send(&self, request: Request<String>, client: IpAddr, now: i64) -> Answer {
        let request = request.map(|body| Full::new(Bytes::from(body)));
        let time = Timestamp::from_microsecond(now).unwrap();
        let (head, body) = self.reception.receive(request, client, time).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8_lossy(&body).into_owned();
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }

    async fn get(&self, path: &str, fields: &[(&'static str, &str)]) -> Answer {
        let mut request = Request::get(path).header("host", HOST);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        self.send(request.body(String::new()).unwrap(), CLIENT, NOW).await
    }

    /// The token that the page shows.
    async fn token(&self, client: IpAddr, now: i64) -> String {
        let request = Request::get("/").header("host", HOST).body(String::new()).unwrap();
        token_in(&self.send(request, client, now).await.body)
    }

    async fn say(&self, fields: &[(&'static str, &str)], body: &str, client: IpAddr, now: i64) -> Answer {
        let mut request = Request::post(SAID_PATH).header("host", HOST);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.to_owned()).unwrap(), client, now).await
    }

    fn said(&self) -> usize {
        self.desk.said.lock().unwrap().len()
    }
}

fn token_in(page: &str) -> String {
    page.split("name=\"token\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

fn body(said: &str, ticket: &str, token: &str, note: &str) -> String {
    format!("token={token}&ticket={ticket}&language=vi&note={note}&said={said}")
}

#[tokio::test]
async fn what_a_person_says_is_kept_once() {
    let house = House::new();
    let token = house.token(CLIENT, NOW).await;
    let own = [("origin", "http://evil.example"), ("referer", "http://evil.example/")];
    let clean = body("clean", "T-3", &token, "%C4%91%C3%A3+qu%C3%A9t");
    for _ in 0..2 {
        let answer = house.say(&own, &clean, CLIENT, NOW + 90 * MINUTE).await;
        assert_eq!(answer.status, 200);
        assert!(answer.body.contains("Cảm ơn Anh/Chị") && answer.body.contains("T-3"), "{}", answer.body);
    }
    let kept = (Said::Clean, "T-3".to_owned(), CLIENT, Some("đã quét".to_owned()));
    assert_eq!(*house.desk.said.lock().unwrap(), [kept]);
    // Old browsers say nothing of where a form was.
    let wrong = body("wrong", "T-3", &token, "");
    let answer = house.say(&[], &wrong, CLIENT, NOW).await;
    assert!(answer.status == 200 && answer.body.contains("bị chặn nhầm"), "{}", answer.body);
    assert_eq!(house.said(), 2);
}

#[tokio::test]
async fn what_comes_from_elsewhere_is_not_kept_and_can_be_said_again() {
    let house = House::new();
    let token = house.token(CLIENT, NOW).await;
    let clean = body("clean", "T-3", &token, "h%E1%BA%BFt");
    let check = async |fields: &[(&'static str, &str)],
                       body: &str,
                       client: IpAddr,
                       now: i64,
                       has_note: bool| {
        let answer = house.say(fields, body, client, now).await;
        assert_eq!(answer.status, 403, "{fields:?} {body}");
        assert!(answer.body.contains("Chưa ghi nhận được: trang đã mở quá lâu"), "{}", answer.body);
        assert_eq!(answer.body.contains("hết</textarea>"), has_note, "{fields:?} {body}: {}", answer.body);
        assert_eq!(house.said(), 0, "{fields:?} {body}");
        answer
    };
    // Another site's page: nothing that it wrote may stand in the form.
    check(&[("origin", "http://other.example")], &clean, CLIENT, NOW, false).await;
    check(&[("origin", "null")], &clean, CLIENT, NOW, false).await;
    check(&[("sec-fetch-site", "cross-site")], &clean, CLIENT, NOW, false).await;
    check(&[("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors")], &clean, CLIENT, NOW, false).await;
    // A token that is not this form's.
    check(&[], &body("clean", "T-3", "", "h%E1%BA%BFt"), CLIENT, NOW, true).await;
    check(&[], &body("clean", "T-4", &token, "h%E1%BA%BFt"), CLIENT, NOW, true).await;
    check(&[], &clean, [10, 1, 2, 4].into(), NOW, true).await;
    // Too old, and then said with the form that the answer brings.
    let late = NOW + 48 * 60 * MINUTE;
    let answer = check(&[], &clean, CLIENT, late, true).await;
    let again = body("clean", "T-3", &token_in(&answer.body), "");
    assert_eq!(house.say(&[], &again, CLIENT, late).await.status, 200);
    assert_eq!(house.said(), 1);
}

#[tokio::test]
async fn a_bot_that_posts_is_slowed_and_told_so() {
    let house = House::new();
    let token = house.token(CLIENT, NOW).await;
    let mut statuses = Vec::new();
    for n in 0..20 {
        let said = if n % 2 == 0 { "clean" } else { "wrong" };
        let answer = house.say(&[], &body(said, "T-3", &token, &format!("note+{n}")), CLIENT, NOW).await;
        assert_eq!(answer.status == 429, answer.body.contains("quá nhiều lần"), "{}", answer.body);
        statuses.push(answer.status);
    }
    assert_eq!(statuses, [vec![200; 6], vec![429; 14]].concat());
    assert_eq!(house.said(), 2);
    assert_eq!(
        house.say(&[], &body("clean", "T-3", &token, ""), CLIENT, NOW + 61 * MINUTE).await.status,
        200
    );
}

#[tokio::test]
async fn what_is_posted_there_and_is_no_form_gets_the_page() {
    let house = House::new();
    for posted in ["", "loot", &"x".repeat(20_000), "said=clean&ticket=T-3", "{\"said\":\"clean\"}"] {
        let answer = house.say(&[], posted, CLIENT, NOW).await;
        assert!(answer.status == 200 && answer.body.contains("Emotet"), "{}", answer.body);
    }
    assert_eq!(house.said(), 0);
}

#[tokio::test]
async fn a_desk_that_fails_is_owned_up_to() {
    let house = House::new();
    let token = house.token(CLIENT, NOW).await;
    house.desk.is_broken.store(true, Ordering::Relaxed);
    let answer = house.say(&[], &body("clean", "T-3", &token, ""), CLIENT, NOW).await;
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("Chưa ghi nhận được") && answer.body.contains("T-3"), "{}", answer.body);
}

#[tokio::test]
async fn a_page_does_not_wait_for_a_desk_that_hangs() {
    struct Stuck(Mutex<std::sync::mpsc::Receiver<()>>);

    impl Desk for Stuck {
        fn case_of(&self, _: &Visit<'_>) -> Option<Case> {
            let _ = self.0.lock().unwrap().recv();
            None
        }

        fn said_clean(&self, _: &Statement<'_>) -> Result<Filed, DeskError> {
            Ok(Filed::NoCase)
        }

        fn said_wrong(&self, _: &Statement<'_>) -> Result<Filed, DeskError> {
            Ok(Filed::NoCase)
        }
    }

    let (release, stuck) = std::sync::mpsc::channel();
    let desk: Arc<dyn Desk> = Arc::new(Stuck(Mutex::new(stuck)));
    let reception = Reception::new(OneName, Some(desk), Design::default(), Key::new(&[7; 32]), vietnam());
    let ask = async || {
        let request = Request::get("/").header("host", HOST).body(Full::new(Bytes::new())).unwrap();
        reception.receive(request, CLIENT, Timestamp::from_microsecond(NOW).unwrap()).await
    };
    // More than may ask at once.
    let answers = tokio::join!(ask(), ask(), ask(), ask(), ask(), ask());
    assert!([answers.0, answers.4, answers.5].iter().all(|answer| answer.status() == StatusCode::OK));
    drop(release);
}

#[tokio::test]
async fn programs_get_facts_and_scripts_no_more_than_they_need() {
    let house = House::new();
    let program = house.get("/api/v1/items", &[("accept", "application/json")]).await;
    assert_eq!(program.status, 200);
    assert_eq!(program.headers["content-type"], "application/json");
    assert_eq!(program.headers["cache-control"], "no-store");
    let facts: serde_json::Value = serde_json::from_str(&program.body).unwrap();
    let expected = serde_json::json!({
        "blocked": true, "name": HOST, "class": "c2", "family": "Emotet", "feed": "authority",
        "time": "2022-08-29T17:04:05Z", "client": "10.1.2.3", "machine": "PC-KETOAN-03", "agency": "Sở Y tế",
        "contact": "115", "ticket": "T-3",
    });
    assert_eq!(facts, expected);
    let script = house.get("/", &[("accept", "application/json"), ("sec-fetch-dest", "empty")]).await;
    let facts: serde_json::Value = serde_json::from_str(&script.body).unwrap();
    assert_eq!(facts["blocked"], true);
    for key in ["client", "machine", "agency", "contact", "ticket"] {
        assert_eq!(facts.get(key), None, "{key}");
    }
}

#[tokio::test]
async fn parts_of_other_pages_stay_quiet() {
    let house = House::new();
    let picture = house.get("/banner.jpg", &[("accept", "image/avif,image/webp,*/*;q=0.8")]).await;
    assert_eq!((picture.status, picture.headers["content-type"].to_str().unwrap()), (200, "image/gif"));
    assert!(picture.body.starts_with("GIF89a"));
    for (path, accept) in [("/a.js", "*/*"), ("/a", "text/css,*/*;q=0.1"), ("/f.woff2", "*/*")] {
        let part = house.get(path, &[("accept", accept)]).await;
        assert_eq!((part.status, &*part.body), (204, ""), "{path}");
        assert_eq!(part.headers["x-content-type-options"], "nosniff");
        assert_eq!(part.headers.get("content-type"), None);
    }
}

#[test]
fn the_pixel_is_a_gif_that_browsers_take() {
    // Size 1 by 1, a palette of two, a transparent first colour, one image, the end.
    assert_eq!(PIXEL.len(), 43);
    assert_eq!(&PIXEL[6..10], [1, 0, 1, 0]);
    assert_eq!(&PIXEL[19..22], [b'!', 0xf9, 4]);
    assert_eq!(PIXEL.last(), Some(&b';'));
}
