//! Feeds are fetched while the server runs, whatever their publishers do, and what was good stays.

use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::process::Signal;

use crate::harness::authority::Authority;
use crate::harness::house::{CONFIG, Setup};
use crate::harness::publisher::{Nginx, Proxy, Scripted, write_secret};
use crate::harness::server::Server;
use crate::harness::{PATIENCE, nsd, wait_until};

const SINKHOLE: &str = "10.10.10.10";

fn feed(name: &str, source: &str, settings: &str) -> String {
    format!("[[feed]]\nname = \"{name}\"\nsource = \"{source}\"\ngate = false\n{settings}\n")
}

fn is_sinkholed(server: &Server, name: &str) -> bool {
    server.dig().ask(name, "A").rdata("A") == [SINKHOLE]
}

/// Waits until a name leads to the sinkhole, or no longer does; only asking shows.
#[track_caller]
pub(crate) fn wait_until_sinkholed(server: &Server, name: &str, expected: bool) {
    let until = Instant::now() + PATIENCE;
    while is_sinkholed(server, name) != expected {
        assert!(Instant::now() < until, "{name} sinkholed: never {expected}\n{}", server.stderr().text());
        thread::sleep(Duration::from_millis(50));
    }
}

#[track_caller]
fn wait_for_line(server: &Server, words: &[&str]) {
    let is_it = |line: &str| words.iter().all(|word| line.contains(word));
    let line = server.stderr().wait(PATIENCE, is_it);
    assert!(line.is_some(), "no line with {words:?}:\n{}", server.stderr().text());
}

#[test]
fn another_publisher_waits_for_no_fetch_of_the_one_before() {
    let publisher = Scripted::start();
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n".to_vec();
    let drips = std::iter::repeat_n((Duration::from_millis(100), b"a".to_vec()), 5000);
    publisher.script("/slow", std::iter::once((Duration::ZERO, head)).chain(drips).collect());
    publisher.body("/good", "", b"good.example\n");
    let settings = "refresh = \"24h\"\ntimeout = \"300s\"";
    let setup = |path: &str| Setup::new(nsd::address()).more(&feed("list", &publisher.url(path), settings));
    let server = setup("/slow").serve();
    wait_until("it is asked", || publisher.requests().iter().any(|request| request.contains("/slow")));
    server.house().write(CONFIG, &setup("/good").text());
    server.reload().well();
    wait_until_sinkholed(&server, "good.example", true);
}

#[test]
fn a_list_is_followed_and_survives_its_publisher() {
    let nginx = Nginx::start(&Authority::new(), "feeds.example.test");
    nginx.write("list.txt", "first.example\nother.example\n");
    let settings = "refresh = \"1s\"";
    let tables = feed("list", &format!("http://{}/list.txt", nginx.http), settings);
    let server = Setup::new(nsd::address()).more(&tables).serve();
    wait_until_sinkholed(&server, "first.example", true);
    // It is asked for again, and sent once.
    let until = Instant::now() + PATIENCE;
    while !nginx.requests().contains("304 /list.txt sachdns/") {
        assert!(Instant::now() < until, "{}", nginx.requests());
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(nginx.requests().matches("200 /list.txt").count(), 1, "{}", nginx.requests());
    nginx.write("list.txt", "second.example\nother.example\n");
    wait_until_sinkholed(&server, "second.example", true);
    assert!(!is_sinkholed(&server, "first.example"));

    // Without its publisher, and after a kill -9, what was good is there from the first answer on.
    let asked = nginx.requests().lines().count();
    let stopped = server.stop(Signal::KILL);
    drop(nginx);
    let server = stopped.house.serve();
    assert!(asked > 2 && is_sinkholed(&server, "second.example"));
    wait_for_line(&server, &["could not be fetched", "no connection", "list"]);
    assert!(is_sinkholed(&server, "second.example"));
}

#[test]
fn a_key_in_a_url_is_asked_with_and_shown_nowhere() {
    let publisher = Scripted::start();
    publisher.body("/list?auth=s3cret", "", b"first.example\n");
    publisher.raw("/loop?auth=s3cret", "HTTP/1.1 302 Found\r\nLocation: /loop?auth=s3cret\r\n\r\n");
    publisher.raw("/away?auth=s3cret", "HTTP/1.1 302 Found\r\nLocation: ftp://s3cret@host/?s3cret\r\n\r\n");
    let of = |name: &str| feed(name, &publisher.url(&format!("/{name}?auth=s3cret")), "");
    let tables = [of("list"), of("loop"), of("away"), of("gone")].concat();
    let server = Setup::new(nsd::address()).more(&tables).serve();
    wait_until_sinkholed(&server, "first.example", true);
    wait_for_line(&server, &["could not be fetched", "feed=\"loop\"", "the last to http://", "/loop?…"]);
    wait_for_line(&server, &["could not be fetched", "feed=\"away\"", "ftp://host/?…"]);
    wait_for_line(&server, &["could not be fetched", "feed=\"gone\"", "404"]);
    let mut told = server.stderr().text();
    for arguments in [&[][..], &["--format", "jsonl"], &["list"], &["loop"]] {
        told += &server.house().run("feed status", arguments).well().stdout;
    }
    let table = server.house().run("feed status", &[]).well().stdout;
    let (rows, troubles) = table.split_once("\n\n").unwrap();
    assert!(rows.lines().count() == 5 && rows.lines().all(|row| row.chars().count() <= 80), "{table}");
    let row = |name: &str| rows.lines().find(|row| row.starts_with(name)).unwrap();
    assert!(row("list").ends_with(" in force") && row("list").contains(" min "), "{table}");
    assert!(row("loop").ends_with("  see below"), "{table}");
    assert!(troubles.contains("loop: it could not be fetched, last at 20"), "{table}");
    assert!(troubles.contains("more than 5 redirects") && troubles.contains("; asked again in "), "{table}");
    let of = |name: &str| -> serde_json::Value {
        let status = server.house().run("feed status", &[name, "--format", "jsonl"]).well();
        serde_json::from_str(&status.stdout).unwrap()
    };
    let (list, looping) = (of("list"), of("loop"));
    assert!(list["accepted"]["since"].is_string() && list["fetching"]["next"].is_string(), "{list}");
    assert!(list["fetching"]["failures"] == 0 && list["fetching"]["trouble"].is_null(), "{list}");
    assert!(looping["fetching"]["failures"] == 1 && looping["fetching"]["heard"].is_null(), "{looping}");
    assert!(looping["fetching"]["trouble"]["why"].as_str().unwrap().contains("redirects"), "{looping}");
    for name in ["list", "loop", "away"] {
        told += &server.house().read(&format!("data/feeds/{name}/state.json"));
    }
    told += &server.house().run("feed fetch", &["loop"]).stderr;
    assert!(told.contains("/list?…") && !told.contains("s3cret"), "{told}");
    // Another key is another publisher as far as what is remembered goes.
    let house = server.stop(Signal::TERM).house;
    let text = house.read("sachdns.toml");
    house.write(
        "bad.toml",
        &text
            .replace("/list?auth=s3cret\"", "/list?auth=s3cret\"\nuser = \"x\"")
            .replace("http://", "htp://"),
    );
    let refused = crate::harness::run(&mut house.command(&["check", "--config", "bad.toml"]));
    assert!(refused.stderr.contains("/list?…") && !refused.stderr.contains("s3cret"), "{refused:?}");
}

#[test]
fn one_publishers_trouble_is_told_and_costs_the_others_nothing() {
    let publisher = Scripted::start();
    let list = b"good.example\n".as_slice();
    publisher.body("/good", "", list);
    publisher.raw("/cut", "HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\ncut.example\n");
    publisher.raw("/chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nd\r\nchunk.example\r\n");
    publisher.body(
        "/html",
        "Content-Type: text/html\r\n",
        b"<!DOCTYPE html><html><body>sign in</body></html>",
    );
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    for number in 0..200_000 {
        writeln!(bomb, "bomb{number}.example").unwrap();
    }
    publisher.body("/bomb", "", &bomb.finish().unwrap());
    publisher.raw("/loop", "HTTP/1.1 302 Found\r\nLocation: /loop\r\n\r\n");
    publisher.raw("/busy", "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7000\r\n\r\n");
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n".to_vec();
    let drips = std::iter::repeat_n((Duration::from_millis(100), b"a".to_vec()), 999);
    publisher.script("/drip", std::iter::once((Duration::ZERO, head)).chain(drips).collect());
    let troubles = [
        ("cut", "it was cut"),
        ("chunk", "it was cut"),
        ("bomb", "unpacked it is larger than max_size"),
        ("loop", "more than 5 redirects"),
        ("busy", "503 Service Unavailable"),
        ("drip", "not all of it came within"),
        ("gone", "404 Not Found"),
    ];
    let settings = "max_size = \"1024KiB\"\ntimeout = \"3s\"";
    let names = troubles.iter().map(|(name, _)| *name).chain(["html", "good"]);
    let tables: String =
        names.map(|name| feed(name, &publisher.url(&format!("/{name}")), settings)).collect();
    let server = Setup::new(nsd::address()).more(&tables).serve();
    wait_until_sinkholed(&server, "good.example", true);
    for (name, why) in troubles {
        wait_for_line(&server, &["could not be fetched", &format!("feed=\"{name}\""), why]);
    }
    // A page in place of a list is not a list, and whoever looks at it is told how it was sent.
    wait_for_line(&server, &["fetched a new version", "feed=\"html\""]);
    let state = server.house().read("data/feeds/html/state.json");
    assert!(state.contains("sent as text/html"), "{state}");
    // Who wants to be left alone is: for 7000 seconds, a tenth more or less.
    let is_left_alone = |line: &str| {
        let next = line.split("next=\"").nth(1).and_then(|rest| rest.split(' ').next());
        line.contains("feed=\"busy\"")
            && next.is_some_and(|next| next.parse().is_ok_and(|next: u64| next > 6000))
    };
    assert!(server.stderr().wait(PATIENCE, is_left_alone).is_some(), "{}", server.stderr().text());
    for name in ["cut.example", "chunk.example", "bomb7.example"] {
        assert!(!is_sinkholed(&server, name), "{name}");
    }
    assert!(is_sinkholed(&server, "good.example"));
}

#[test]
fn https_proxies_and_credentials() {
    let authority = Authority::new();
    let nginx = Nginx::start(&authority, "127.0.0.1");
    nginx.write("secret/list.txt", "secret.example\n");
    nginx.write("open.txt", "open.example\n");
    let (proxy, closed) = (Proxy::start(), nsd::free_address());
    let https = |path: &str| format!("https://{}{path}", nginx.https);
    let house = Setup::new(nsd::address()).lay();
    let ca = authority.root_file(&house);
    write_secret(house.path(), "password", "pass word");
    let credentials = format!("ca = \"{ca}\"\nuser = \"staff\"\npassword_file = \"password\"");
    let tables = [
        format!("[fetch]\nproxy = \"http://{}\"", proxy.address),
        feed("straight", &https("/secret/list.txt"), &format!("proxy = \"\"\n{credentials}")),
        feed("tunnelled", &https("/open.txt"), &format!("ca = \"{ca}\"")),
        feed("untrusted", &https("/open.txt"), "proxy = \"\""),
        feed("nobody", &https("/secret/list.txt"), &format!("proxy = \"\"\nca = \"{ca}\"")),
        feed("lost", &https("/open.txt"), &format!("ca = \"{ca}\"\nproxy = \"http://{closed}\"")),
        feed("plain", &format!("http://{}/open.txt", nginx.http), ""),
    ];
    let text = Setup::new(nsd::address()).more(&tables.join("\n")).text();
    house.write(CONFIG, &text);
    let server = house.serve();
    wait_until_sinkholed(&server, "secret.example", true);
    wait_until_sinkholed(&server, "open.example", true);
    for feed in ["straight", "tunnelled", "plain"] {
        wait_for_line(&server, &["fetched a new version", &format!("feed=\"{feed}\"")]);
    }
    wait_for_line(&server, &["feed=\"untrusted\"", "set ca to its authority's certificate"]);
    wait_for_line(&server, &["feed=\"nobody\"", "401 Unauthorized: check user and password_file"]);
    wait_for_line(&server, &["feed=\"lost\"", "no connection"]);
    let log = proxy.log();
    assert!(log.contains(&format!("CONNECT {}", nginx.https)), "{log}");
    assert!(log.contains(&format!("GET http://{}/open.txt", nginx.http)), "{log}");
    let everything = server.stderr().text();
    assert!(!everything.contains("pass word"), "{everything}");
}

#[test]
fn collections_and_events_are_followed() {
    let publisher = Scripted::start();
    let indicator = |number: u32, name: &str| {
        format!(
            "{{\"type\":\"indicator\",\"spec_version\":\"2.1\",\"id\":\"indicator--00000000-0000-4000-8000-{number:012}\",\
             \"created\":\"2026-11-01T00:00:00Z\",\"modified\":\"2026-11-01T00:00:00Z\",\"valid_from\":\"2026-11-01T00:00:00Z\",\
             \"pattern_type\":\"stix\",\"pattern\":\"[domain-name:value = '{name}']\"}}"
        )
    };
    let added = |last: &str| format!("X-TAXII-Date-Added-Last: {last}\r\n");
    let page = |objects: &[String], more: &str| {
        format!("{{\"objects\":[{}]{more}}}", objects.join(",")).into_bytes()
    };
    let objects = "/api/collections/c/objects/";
    publisher.body(
        objects,
        &added("2026-11-01T00:00:01Z"),
        &page(&[indicator(1, "stix1.example")], ",\"more\":true,\"next\":\"2\""),
    );
    publisher.body(
        &format!("{objects}?next=2"),
        &added("2026-11-01T00:00:02Z"),
        &page(&[indicator(2, "stix2.example")], ""),
    );
    let after = format!("{objects}?added_after=2026-11-01T00%3A00%3A02Z");
    publisher.body(&after, &added("2026-11-01T00:00:03Z"), &page(&[indicator(3, "stix3.example")], ""));

    let uuid = |number: u32| format!("00000000-0000-4000-8000-{number:012}");
    let event = |number: u32, name: &str| {
        format!(
            "{{\"Event\":{{\"uuid\":\"{}\",\"timestamp\":\"1\",\"info\":\"x\",\"Attribute\":[{{\"type\":\"domain\",\
             \"category\":\"Network activity\",\"to_ids\":true,\"value\":\"{name}\"}}]}}}}",
            uuid(number)
        )
    };
    publisher.body(
        "/misp/manifest.json",
        "",
        format!("{{\"{}\":{{\"timestamp\":\"1\"}},\"{}\":{{\"timestamp\":\"1\"}}}}", uuid(1), uuid(2))
            .as_bytes(),
    );
    publisher.body(&format!("/misp/{}.json", uuid(1)), "", event(1, "misp1.example").as_bytes());

    let tables = [
        feed("stix", &format!("taxii2+{}", publisher.url("/api/collections/c")), "refresh = \"1s\""),
        feed("misp", &format!("misp+{}", publisher.url("/misp/")), ""),
    ];
    let server = Setup::new(nsd::address()).more(&tables.join("\n")).serve();
    for name in ["stix1.example", "stix2.example", "misp1.example", "stix3.example"] {
        wait_until_sinkholed(&server, name, true);
    }
    wait_for_line(&server, &["not all of the feed could be fetched", "feed=\"misp\"", "404"]);
    let asked = publisher.requests().join("");
    assert!(asked.contains("application/taxii+json;version=2.1"), "{asked}");
}

#[test]
fn feeds_are_fetched_by_hand_too() {
    let publisher = Scripted::start();
    publisher.body("/list", "", b"byhand.example\n");
    let tables = feed("list", &publisher.url("/list"), "") + &feed("gone", &publisher.url("/gone"), "");
    let house = Setup::new(nsd::address()).more(&tables).lay();
    let fetched = house.run("feed fetch", &["list"]).well();
    assert!(fetched.stdout.contains("list: a new version, "), "{fetched:?}");
    assert!(fetched.stdout.contains("its next start takes what is new"), "{fetched:?}");
    let fetched = house.run("feed fetch", &[]);
    assert!(fetched.code() == 1 && fetched.stdout.contains("list: nothing new"), "{fetched:?}");
    assert!(fetched.stderr.contains("gone: the server answers 404"), "{fetched:?}");
    let server = house.serve();
    assert!(is_sinkholed(&server, "byhand.example"));
    // A running server takes it at once.
    publisher.body("/list", "", b"byhand2.example\n");
    let fetched = server.house().run("feed fetch", &["list"]).well();
    assert!(fetched.stdout.contains("reloaded"), "{fetched:?}");
    assert!(is_sinkholed(&server, "byhand2.example"));
    let fetched = server.house().run("feed fetch", &["other"]);
    assert!(fetched.stderr.contains("there are: list, gone"), "{fetched:?}");
}

#[test]
fn bundles_carry_feeds_to_where_nothing_can_be_fetched() {
    let publisher = Scripted::start();
    publisher.body("/list", "", b"bundled.example\n");
    let maker = Setup::new(nsd::address()).more(&feed("list", &publisher.url("/list"), "")).lay();
    maker.run("feed fetch", &[]).well();
    maker.run("policy build", &[]).well();
    let made = crate::harness::run(&mut maker.command(&["feed", "key", "--output", "secret.key"])).well();
    let keys = made.stdout.lines().last().unwrap().to_owned();
    assert!(keys.starts_with("bundle_keys = [\""), "{made:?}");
    assert!(
        !crate::harness::run(&mut maker.command(&["feed", "key", "--output", "secret.key"])).status.success()
    );
    let bundle = |output: &str| maker.run("feed bundle", &["--key", "secret.key", "--output", output]).well();
    bundle("one.bundle");
    publisher.body("/list", "", b"bundled2.example\n");
    maker.run("feed fetch", &[]).well();
    maker.run("policy build", &[]).well();
    bundle("two.bundle");

    let tables = feed("list", "bundle://", "");
    let inside = |keys: &str| Setup::new(nsd::address()).more(&format!("[fetch]\n{keys}\n{tables}")).lay();
    let server = inside(&keys).serve();
    let path = |bundle: &str| maker.path().join(bundle).to_str().unwrap().to_owned();
    let import =
        |bundle: &str, more: &[&str]| server.house().run("feed import", &[&[&*path(bundle)], more].concat());
    let imported = import("one.bundle", &[]).well();
    assert!(
        imported.stdout.contains("list: a new version") && imported.stdout.contains("reloaded"),
        "{imported:?}"
    );
    assert!(is_sinkholed(&server, "bundled.example"));
    import("two.bundle", &[]).well();
    assert!(is_sinkholed(&server, "bundled2.example") && !is_sinkholed(&server, "bundled.example"));
    // An older one is no news, unless somebody insists.
    let refused = import("one.bundle", &[]);
    assert!(refused.code() == 1 && refused.stderr.contains("--older"), "{refused:?}");
    import("one.bundle", &["--older"]).well();
    assert!(is_sinkholed(&server, "bundled.example"));
    // One that was changed, or that a stranger made, is none.
    let mut octets = std::fs::read(path("two.bundle")).unwrap();
    *octets.last_mut().unwrap() ^= 1;
    std::fs::write(maker.path().join("changed.bundle"), octets).unwrap();
    let refused = import("changed.bundle", &["--older"]);
    assert!(refused.code() == 1 && refused.stderr.contains("not what was signed"), "{refused:?}");
    assert!(is_sinkholed(&server, "bundled.example"));
    let refused = inside("").run("feed import", &[&path("two.bundle")]);
    assert!(refused.code() == 1 && refused.stderr.contains("by none of fetch.bundle_keys"), "{refused:?}");
}
