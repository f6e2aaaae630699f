//! Signing in to the console by the organisation's own OpenID Connect provider: the whole way, what groups make of people, and every way
//! to be somebody else that must not work.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::browser::Browser;
use crate::harness::house::{CONFIG, Setup};
use crate::harness::http::Response;
use crate::harness::judges::{DESK, PHONE};
use crate::harness::namespace::inside;
use crate::harness::openid::{CLIENT, Kind, Provider, SECRET, Twist};
use crate::harness::server::Server;
use crate::harness::staff::{PASSWORD, account};
use crate::harness::visitor::Visitor;
use crate::harness::{PATIENCE, nsd, run, wait_until};

const CONTACT: &str = "Phòng An toàn thông tin, 0236 3 123 456";

/// A server whose people sign in there, and where its console is.
fn province(provider: &Provider, console: &str, oidc: &str) -> (Server, SocketAddr) {
    let address = nsd::free_address();
    (province_at(provider, address, &format!("http://{address}"), console, oidc), address)
}

/// … with its console there, which browsers reach by `url`.
fn province_at(provider: &Provider, address: SocketAddr, url: &str, console: &str, oidc: &str) -> Server {
    let server = Setup::new(nsd::address())
        .agency("so-yt", "Sở Y tế", "127.1.0.0/16", "Phòng CNTT")
        .file("secret.txt", &format!("{SECRET}\n"))
        .more(&format!(
            "[console]\nlisten = [\"{address}\"]\nurl = \"{url}\"\n{console}\n[console.oidc]\nissuer = \"{}\"\nclient_id = \"{CLIENT}\"\n\
             client_secret_file = \"secret.txt\"\ncontact = \"{CONTACT}\"\n{oidc}\n\
             [[console.oidc.group]]\ngroup = \"bosses\"\nrole = \"admin\"\n\
             [[console.oidc.group]]\ngroup = \"analysts\"\nrole = \"analyst\"\n\
             [[console.oidc.group]]\ngroup = \"yte\"\nrole = \"officer\"\nagency = \"so-yt\"\n\
             [[console.oidc.group]]\ngroup = \"lost\"\nrole = \"officer\"\nagency = \"so-nao\"\n",
            provider.issuer()
        ))
        .serve();
    server.stderr().wait(PATIENCE, |line| line.starts_with("listening console ")).unwrap();
    server
}

fn person(groups: &[&str]) -> Value {
    json!({ "sub": "f:7:lan", "preferred_username": "lan", "email": "an@example.vn", "groups": groups })
}

/// Path and query of a URL.
fn path(url: &str) -> String {
    let url: url::Url = url.parse().unwrap();
    url[url::Position::BeforePath..].to_owned()
}

/// To the provider: where it is, with all that is asked.
#[track_caller]
fn leave(visitor: &mut Visitor, target: &str) -> String {
    let away = visitor.get(target);
    assert_eq!(away.status, 303, "{}", away.body);
    away.field("location").unwrap().to_owned()
}

/// The whole way, there and back.
#[track_caller]
fn sign_in(visitor: &mut Visitor, provider: &Provider) -> Response {
    let away = leave(visitor, "/sign-in/oidc");
    visitor.get(&path(&provider.approve(&away)))
}

#[track_caller]
fn is_refused(answer: &Response, status: u16, wanted: &str) {
    assert_eq!(answer.status, status, "{}\n{}", answer.head, answer.body);
    assert!(answer.body.contains(wanted), "{wanted}: {}", answer.body);
    assert!(
        !answer.head.contains("set-cookie: session") && answer.field("location").is_none(),
        "{}",
        answer.head
    );
}

#[test]
fn people_come_in_by_their_organisation_and_are_what_their_groups_say() {
    let provider = Provider::start(person(&["all", "yte", "analysts"]));
    let (server, address) = province(&provider, "", "");
    account(&server, "an", "admin", None);
    let mut lan = Visitor::new(address);
    let page = lan.page("/sign-in?back=%2Fcases%3Fstate%3Dall");
    assert!(page.contains("Đăng nhập một lần (SSO)") && page.contains("Hoặc bằng mật khẩu"), "{page}");
    assert!(
        page.contains(&format!("href=\"http://{address}/sign-in/oidc?back=%2Fcases%3Fstate%3Dall\"")),
        "{page}"
    );

    let away = lan.get("/sign-in/oidc?back=%2Fcases%3Fstate%3Dall");
    let cookie = away.field("set-cookie").unwrap();
    assert!(
        cookie.starts_with("oidc=") && cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax; Max-Age=600"),
        "{cookie}"
    );
    let to = away.field("location").unwrap();
    assert!(to.starts_with(&format!("{}/auth?response_type=code&", provider.issuer())), "{to}");
    assert!(!to.contains(cookie.split(['=', ';']).nth(1).unwrap()), "what binds is not sent along: {to}");
    let arrived = lan.get(&path(&provider.approve(to)));
    assert_eq!(
        (arrived.status, arrived.field("location")),
        (303, Some("/cases?state=all")),
        "{}",
        arrived.body
    );
    let cookie = arrived.field("set-cookie").unwrap();
    assert!(
        cookie.starts_with("session=") && cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"),
        "{cookie}"
    );
    // The first in the configuration's order, not in the claim's.
    assert!(lan.page("/account").contains("Chuyên viên phân tích"));
    assert!(lan.page("/account").contains("SSO"), "the session shows how it began");
    assert_eq!(provider.many("/userinfo"), 0, "nothing was missing");

    // Signed another way, and of other groups: another role, and the session before is over.
    provider.sign_with(Kind::P256);
    provider.person(person(&["yte"]));
    let mut again = Visitor::new(address);
    assert_eq!(sign_in(&mut again, &provider).field("location"), Some("/"));
    assert!(again.page("/account").contains("Cán bộ cơ quan") && again.page("/account").contains("Sở Y tế"));
    assert!(lan.get("/account").field("location").unwrap().starts_with("/sign-in"));
    // Groups that only the userinfo endpoint tells.
    provider.person(json!({ "sub": "f:7:lan", "preferred_username": "lan" }));
    provider.userinfo(json!({ "groups": "analysts", "preferred_username": "an" }));
    assert_eq!(sign_in(&mut again, &provider).status, 303);
    assert!(again.page("/account").contains("Chuyên viên phân tích"));

    // Out here is out there.
    let out = again.post("/sign-out", &[]);
    let onward = out.field("refresh").unwrap();
    assert_eq!(out.status, 200, "{}", out.body);
    assert!(onward.starts_with(&format!("0; url={}/logout?client_id=", provider.issuer())), "{onward}");
    assert!(
        onward.contains("&id_token_hint=ey")
            && onward.contains(&format!("http%3A%2F%2F127.0.0.1%3A{}%2Fsign-in", address.port()))
    );
    assert_eq!(again.get("/account").status, 303);

    // Whoever has no group any more is told to whom to turn, and what to send along.
    provider.person(person(&["all"]));
    provider.userinfo(json!({}));
    let refused = sign_in(&mut again, &provider);
    is_refused(&refused, 403, CONTACT);
    assert!(refused.body.contains(&format!("lan · {} f:7:lan", provider.issuer())), "{}", refused.body);
    provider.person(person(&["lost"]));
    is_refused(&sign_in(&mut again, &provider), 403, "không có trong SachDNS");
    provider.person(json!({ "sub": "9", "groups": ["analysts"] }));
    is_refused(&sign_in(&mut again, &provider), 403, "không cho biết tên đăng nhập");
    // Whose account is known needs no name.
    provider.person(json!({ "sub": "f:7:lan", "groups": ["analysts"] }));
    assert_eq!(sign_in(&mut again, &provider).status, 303);
    again.post("/sign-out", &[]);

    let mut admin = Visitor::signed_in(address, "an", PASSWORD);
    let audit = admin.page("/audit/export?format=jsonl");
    for details in [
        format!("analyst, by group: {} f:7:lan", provider.issuer()),
        "analyst -> officer so-yt, by group".to_owned(),
        format!("oidc {} f:7:lan", provider.issuer()),
    ] {
        assert!(audit.contains(&details), "{details}: {audit}");
    }
    let page = admin.page("/users/lan");
    assert!(page.contains("f:7:lan") && page.contains("theo nhóm"), "{page}");
    // A disabled account stays out, whatever the provider says.
    provider.person(person(&["analysts"]));
    assert_eq!(admin.post("/users/lan/disable", &[]).status, 303);
    is_refused(&sign_in(&mut Visitor::new(address), &provider), 403, "đang bị khóa");
}

#[test]
fn tokens_of_others_do_not_count() {
    let provider = Provider::start(person(&["analysts"]));
    let (server, address) = province(&provider, "", "");
    let mut lan = Visitor::new(address);
    for kind in [Kind::Rsa, Kind::P256] {
        provider.sign_with(kind);
        for (twist, why) in [
            (Twist::Nonce, "its claim nonce is not that of this sign-in"),
            (Twist::Audience, "its claim aud does not have"),
            (Twist::Issuer, "its claim iss is"),
            (Twist::Expired, "its claim exp is"),
            (Twist::None, "it is signed with \\\"none\\\""),
            (Twist::Hmac, "it is signed with \\\"HS256\\\""),
            (Twist::Forged, "its signature is not the provider's"),
        ] {
            provider.twist(twist);
            is_refused(&sign_in(&mut lan, &provider), 502, "không hợp lệ");
            let why = why.replace("\\\"", "\"");
            let told = server.stderr().wait(PATIENCE, |line| line.contains(&why));
            assert!(told.is_some(), "{twist:?} {kind:?}: {}", server.stderr().text());
        }
    }
    provider.twist(Twist::Substituted);
    provider.person(json!({ "sub": "f:7:lan", "preferred_username": "lan" }));
    is_refused(&sign_in(&mut lan, &provider), 502, "không hợp lệ");
    provider.twist(Twist::Nothing);
    provider.person(person(&["analysts"]));
    assert_eq!(sign_in(&mut lan, &provider).status, 303);
    assert_eq!(provider.many("/certs"), 1, "keys are kept");

    // New keys are fetched once an unknown id comes, and not at every one.
    provider.rotate("second");
    assert_eq!(sign_in(&mut lan, &provider).status, 303);
    assert_eq!(provider.many("/certs"), 2);
    provider.rotate("third");
    is_refused(&sign_in(&mut lan, &provider), 502, "không hợp lệ");
    is_refused(&sign_in(&mut lan, &provider), 502, "không hợp lệ");
    assert_eq!(provider.many("/certs"), 2, "once a minute");
    assert_eq!(provider.many("/openid-configuration"), 1);
}

#[test]
fn the_way_back_is_of_one_browser_once() {
    let provider = Provider::start(person(&["analysts"]));
    let (_server, address) = province(&provider, "", "");
    let (mut lan, mut other) = (Visitor::new(address), Visitor::new(address));
    // A link with somebody's code makes nobody that one: no cookie, or one of another way out.
    let back = path(&provider.approve(&leave(&mut lan, "/sign-in/oidc")));
    is_refused(&other.get(&back), 403, "trình duyệt khác");
    leave(&mut other, "/sign-in/oidc");
    is_refused(&other.get(&back), 403, "trình duyệt khác");
    // … and the state is not used up by that. A session that somebody else chose is none, before and after.
    lan.cookies().insert("session".to_owned(), "chosen".to_owned());
    assert_eq!(lan.get(&back).status, 303);
    let session = lan.cookies()["session"].clone();
    assert!(session.len() > 40 && session != "chosen");
    // Two windows of one browser do not disturb each other.
    let (one, two) = (leave(&mut lan, "/sign-in/oidc"), leave(&mut lan, "/sign-in/oidc"));
    for away in [&one, &two] {
        assert_eq!(lan.get(&path(&provider.approve(away))).status, 303);
    }
    // Once.
    let mut replay = lan.clone();
    replay.cookies().remove("session");
    is_refused(&replay.get(&back), 403, "đã dùng rồi");
    // Somebody else's code in one's own way back: the verifier is not that code's.
    let mine = leave(&mut other, "/sign-in/oidc");
    let theirs = provider.approve(&leave(&mut Visitor::new(address), "/sign-in/oidc"));
    let code = |url: &str| url.split("code=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let mixed = path(&provider.approve(&mine));
    let mixed = mixed.replace(&code(&mixed), &code(&theirs));
    let refused = other.get(&mixed);
    is_refused(&refused, 502, "không nhận lần đăng nhập này");
    assert!(!refused.body.contains("<b>not"), "{}", refused.body);
    // The answer of another provider (RFC 9207), and one that does not say whose it is.
    for (was, is) in [("&iss=", "&iss=http%3A%2F%2Fevil.example&x="), ("&iss=", "&x=")] {
        let back = path(&provider.approve(&leave(&mut other, "/sign-in/oidc"))).replace(was, is);
        is_refused(&other.get(&back), 502, "không hợp lệ");
    }
    // What the provider says is shown as text; what a stranger says is not shown.
    let error = "error=access_denied&error_description=%3Cscript%3Ealert(1)%3C%2Fscript%3E";
    let away = leave(&mut other, "/sign-in/oidc");
    let state = away.split("&state=").nth(1).unwrap().split('&').next().unwrap();
    let denied = other.get(&format!("/sign-in/oidc/callback?{error}&state={state}"));
    is_refused(&denied, 403, "&lt;script&gt;alert(1)");
    let stranger = other.get(&format!("/sign-in/oidc/callback?{error}&state={state}"));
    is_refused(&stranger, 403, "đã dùng rồi");
    assert!(!stranger.body.contains("alert(1)"), "{}", stranger.body);
    for nothing in ["", "?code=x", "?state=x", "?code=x&state=", "?code=&state=%00", "?error=x"] {
        is_refused(&other.get(&format!("/sign-in/oidc/callback{nothing}")), 403, "đăng nhập lại từ đầu");
    }
    // It leads nowhere else in the end.
    for back in ["https://evil.example/", "//evil.example", "/\\evil.example", "/nothing", "javascript:1"] {
        let query: String = url::form_urlencoded::byte_serialize(back.as_bytes()).collect();
        let away = leave(&mut other, &format!("/sign-in/oidc?back={query}"));
        assert_eq!(other.get(&path(&provider.approve(&away))).field("location"), Some("/"), "{back}");
    }
    // Strangers who do it all day must wait.
    let mut stranger = Visitor::new(address);
    let busy = (0..200).map(|_| stranger.get("/sign-in/oidc")).find(|answer| answer.status == 429);
    assert!(busy.unwrap().field("retry-after").is_some());
}

#[test]
fn names_of_accounts_are_not_taken_over_and_passwords_may_be_for_admins() {
    let provider = Provider::start(person(&["analysts"]));
    let (server, address) = province(&provider, "", "passwords = false\n");
    let house = server.house();
    account(&server, "root", "admin", None);
    account(&server, "lan", "officer", Some("so-yt"));
    let page = Visitor::new(address).page("/sign-in");
    assert!(
        page.contains("<details class=\"outside or\"><summary>") && page.contains("Quản trị viên: đăng nhập"),
        "{page}"
    );
    let refused = Visitor::new(address).send("/sign-in", &[("name", "lan"), ("password", PASSWORD)]);
    is_refused(&refused, 422, "đăng nhập bằng hệ thống đăng nhập một lần");
    let mut root = Visitor::signed_in(address, "root", PASSWORD);
    // The same name is not the same person until an admin says so.
    let mut lan = Visitor::new(address);
    is_refused(&sign_in(&mut lan, &provider), 403, "chưa gắn với bạn");
    assert_eq!(root.post("/users/lan/outside", &[]).status, 303);
    assert_eq!(sign_in(&mut lan, &provider).status, 303);
    assert!(lan.page("/account").contains("Cán bộ cơ quan"), "as the admin made it");
    let list = house.run("account list", &[]).well().stdout;
    assert!(list.lines().any(|line| line.starts_with("lan ") && line.contains(" sso ")), "{list}");
    // By who it is there, at once; and back.
    house.run("account outside", &["root", "--subject", "f:7:root"]).well();
    provider.person(json!({ "sub": "f:7:root", "preferred_username": "r" }));
    let mut boss = Visitor::new(address);
    assert_eq!(sign_in(&mut boss, &provider).status, 303);
    assert_eq!(boss.get("/users").status, 200);
    let taken = house.run("account outside", &["lan", "--subject", "f:7:root"]);
    assert!(!taken.status.success() && taken.stderr.contains("there is an account root"), "{taken:?}");
    let off = ["account", "outside", "--config", CONFIG, "lan", "--off"];
    run(&mut house.command(&off)).well();
    assert_eq!(lan.get("/account").status, 303, "its sessions are over");
    // Somebody invited needs no link.
    let mut root = Visitor::signed_in(address, "root", PASSWORD);
    let invited = root.post("/users", &[("name", "bình"), ("role", "reader"), ("outside", "1")]);
    assert_eq!(invited.status, 303, "{}", invited.body);
    provider.person(json!({ "sub": "8", "preferred_username": "bình" }));
    assert_eq!(sign_in(&mut lan, &provider).status, 303);
    assert!(lan.page("/account").contains("Chỉ xem"));
    let audit = house.read("data/audit.jsonl");
    assert!(audit.matches("\"account.outside\"").count() >= 5, "{audit}");
}

#[test]
fn without_the_provider_passwords_and_dns_go_on() {
    let provider = Provider::start(person(&["analysts"]));
    let (server, address) = province(&provider, "trusted_proxies = [\"127.0.0.1/32\"]", "timeout = \"2s\"\n");
    account(&server, "an", "admin", None);
    // Over TLS, as a proxy says, cookies are of this host alone.
    let mut an = Visitor::new(address).with("X-Forwarded-Proto", "https");
    let away = an.get("/sign-in/oidc");
    let cookie = away.field("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-oidc=") && cookie.ends_with("; Secure"), "{cookie}");
    // One that hangs after it was there: the way back takes its time and no longer, and holds up nobody else.
    let back = path(&provider.approve(away.field("location").unwrap()));
    provider.hang(true);
    let slow: Vec<_> = (0..8)
        .map(|_| {
            let (mut visitor, back) = (an.clone(), back.clone());
            std::thread::spawn(move || visitor.get(&back))
        })
        .collect();
    let mut waiting = Visitor::new(address);
    wait_until("the provider is asked", || provider.many("/token") > 0);
    let begun = Instant::now();
    assert_eq!(waiting.get("/sign-in").status, 200);
    assert_eq!(Visitor::new(address).send("/sign-in", &[("name", "an"), ("password", PASSWORD)]).status, 303);
    server.dig().ask("evil.example", "A");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    let late: Vec<u16> = slow.into_iter().map(|thread| thread.join().unwrap().status).collect();
    // One asked; the others came too late or found too many.
    assert_eq!(late.iter().filter(|status| **status == 502).count(), 1, "{late:?}");
    assert!(late.iter().all(|status| [403, 429, 502].contains(status)), "{late:?}");

    // One that never was there.
    let gone = Provider::start(person(&[]));
    gone.hang(true);
    let (server, address) = province(&gone, "", "timeout = \"1s\"\n");
    account(&server, "an", "admin", None);
    let mut an = Visitor::new(address);
    assert!(an.page("/sign-in").contains("Đăng nhập một lần"), "nobody is asked for the page");
    assert_eq!(gone.many(""), 0);
    is_refused(&an.get("/sign-in/oidc"), 502, "Không liên lạc được");
    is_refused(&an.get("/sign-in/oidc"), 502, "bằng mật khẩu");
    assert_eq!(gone.many("/openid-configuration"), 1, "it is not asked again at once");
    let told = server.stderr().wait(PATIENCE, |line| line.contains("no answer within 1 s"));
    assert!(told.is_some(), "{}", server.stderr().text());
    Visitor::signed_in(address, "an", PASSWORD);
}

#[test]
fn faults_of_the_settings_say_the_mend() {
    let check = |lines: &str, wanted: &[&str]| {
        let text = format!("[sinkhole]\nipv4 = \"10.10.10.10\"\n{lines}");
        let house = crate::harness::house::House::with_config(&text);
        let checked = house.run("check", &[]);
        let told = format!("{}{}", checked.stdout, checked.stderr);
        for wanted in wanted {
            assert!(told.contains(wanted), "{wanted}: {told}");
        }
    };
    check(
        "[console.oidc]\nissuer = \"https://sso.example.vn\"\n",
        &["console.oidc.client_id: is missing", "console.url: is missing; add it, for example `url = "],
    );
    check(
        "[console.oidc]\nissuer = \"http://sso.example.vn\"\nclient_secret_file = \"none\"\nscopes = [\"profile\"]\ntimeout = \"5m\"\n",
        &["no https URL", "console.oidc.client_secret_file: none:", "without openid", "at most \"30s\""],
    );
    check("[console.oidc]\npasswords = false\n", &["console.oidc.issuer: is missing"]);
    check("[console.oidc]\nisuer = \"\"\n", &["did you mean `issuer`?"]);
    check(
        "[[console.oidc.group]]\ngroup = \"a\"\nrole = \"officer\"\n[[console.oidc.group]]\ngroup = \"b\"\nrole = \"admin\"\nagency = \"x\"\n\
         [[console.oidc.group]]\ngroup = \"c\"\nrole = \"reader\"\n[[console.oidc.group]]\ngroup = \"c\"\nrole = \"admin\"\n",
        &["console.oidc.group.agency: is missing", "this role sees the province", "\"c\" is there twice"],
    );
}

#[test]
fn a_browser_goes_there_and_back_over_sites() {
    inside(|| {
        let provider = Provider::start(person(&["analysts"]));
        let address = nsd::free_address();
        // Another site than the provider's, so that cookies must be sent over sites.
        let origin = format!("http://localhost:{}", address.port());
        let _server = province_at(&provider, address, &origin, "", "");
        let folder = tempfile::tempdir().unwrap();
        let browser = Browser::start(folder.path());
        browser.resize(PHONE);
        browser.go(&format!("{origin}/alerts"));
        browser.wait_for("Đăng nhập một lần");
        picture(&browser, "phone");
        let is_wide = "return document.documentElement.scrollWidth > document.documentElement.clientWidth";
        assert_eq!(browser.run(is_wide), false, "the page scrolls sideways on a phone");
        browser.resize(DESK);
        picture(&browser, "desk");
        browser.click("a[href*='/sign-in/oidc']");
        browser.wait_for("Provider");
        assert!(browser.run("return location.host").as_str().unwrap().starts_with("127.0.0.1:"));
        browser.click("#enter");
        wait_until("the page that was wanted", || browser.text("h1") == "Cảnh báo");
        assert_eq!(browser.run("return location.host"), format!("localhost:{}", address.port()));
        assert_eq!(browser.run("return document.cookie"), "", "no script sees a cookie");
        browser.click("form[action='/sign-out'] button");
        browser.wait_for("hint: token");
        browser.click("#back");
        browser.wait_for("Bạn đã đăng xuất");
        browser.go(&format!("{origin}/"));
        browser.wait_for("Đăng nhập một lần");
        // One who may not.
        provider.person(person(&[]));
        browser.click("a[href*='/sign-in/oidc']");
        browser.wait_for("Provider");
        browser.click("#enter");
        browser.wait_for(CONTACT);
        picture(&browser, "refused");
        browser.resize(PHONE);
        assert_eq!(browser.run(is_wide), false, "the refusal scrolls sideways on a phone");
        picture(&browser, "refused-phone");
        let complaints = browser.complaints();
        assert!(complaints.iter().all(|it| it.contains("403")), "{complaints:?}");
    });
}

/// Keeps a picture of the page where somebody wants to look at them.
fn picture(browser: &Browser, name: &str) {
    if let Some(folder) = std::env::var_os("SACHDNS_SCREENSHOTS") {
        let path = std::path::Path::new(&folder).join(format!("console-oidc-{name}.png"));
        std::fs::write(path, browser.picture("html")).unwrap();
    }
}
