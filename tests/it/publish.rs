//! Other resolvers take our policy as a response policy zone, block what we block, and follow by differences.

use std::net::SocketAddr;
use std::process::Command;

use crate::harness::house::Setup;
use crate::harness::named::Subscriber;
use crate::harness::server::Server;
use crate::harness::unbound_subscriber::UnboundSubscriber;
use crate::harness::{PATIENCE, nsd, run, wait_until};

const ZONE: &str = "rpz.example";
const NAME: &str = "transfer.example";
const SECRET: &str = "c2FjaC1kbnMgZXhhbXBsZSBrZXk=";
const WRONG: &str = "bm90LXRoZS1yaWdodC1zZWNyZXQ=";

fn list(extra: &str) -> String {
    let names = (0..2000).map(|number| format!("evil{number}.example\n"));
    names.collect::<String>() + "www.example.test\n" + extra
}

fn setup(publish: &str) -> Setup {
    Setup::new(nsd::address())
        .feed_as("except", "passthru", "good.evil7.example\ngood.www.example.test\n")
        .feed("authority", &list(""))
        .rpz("other", "given", "", "gone.example CNAME .\n24.0.113.0.203.rpz-ip CNAME *.\n")
        .more(&format!(
            "[[tsig_key]]\nname = \"{NAME}\"\nsecret = \"{SECRET}\"\n\
             [[publish]]\nzone = \"{ZONE}\"\n{publish}\n"
        ))
}

/// The text of an AXFR or IXFR by dig, and whether it is whole.
fn transfer(server: SocketAddr, kind: &str, options: &[&str]) -> (bool, Vec<String>) {
    transfer_of(server, ZONE, kind, options)
}

fn transfer_of(server: SocketAddr, zone: &str, kind: &str, options: &[&str]) -> (bool, Vec<String>) {
    let mut dig = Command::new("dig");
    dig.arg("-r").arg(format!("@{}", server.ip())).arg("-p").arg(server.port().to_string());
    dig.args(["+nocookie", "+time=10", "+tries=1"]).args(options).args(["-t", kind, "-q", zone]);
    let text = run(&mut dig).stdout;
    let is_whole = text.contains("XFR size") && !text.contains("Transfer failed");
    let records = text.lines().filter(|line| !line.starts_with(';') && !line.is_empty());
    let records = records.filter(|line| !line.contains("\tTSIG\t"));
    (is_whole, records.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect())
}

/// The serial number that is published, once it is greater than this.
#[track_caller]
fn serial(server: &Server, before: u32) -> u32 {
    serial_of(server, ZONE, before)
}

#[track_caller]
fn serial_of(server: &Server, zone: &str, before: u32) -> u32 {
    let published = format!("published a new version zone={zone} serial=");
    let told = |line: &str| line.split(&published).nth(1)?.parse().ok();
    let wanted = |line: &str| told(line).is_some_and(|serial: u32| serial > before);
    let line = server.stderr().wait(PATIENCE, wanted);
    line.as_deref().and_then(told).unwrap_or_else(|| panic!("{}", server.stderr().text()))
}

#[test]
fn bind_blocks_what_we_block_and_follows_by_ixfr() {
    let address = Subscriber::address();
    let server = setup(&format!("tsig = \"{NAME}\"\nnotify = [\"{address}\"]")).serve();
    let bind = Subscriber::start(address, server.dns, nsd::address(), ZONE, [NAME, "hmac-sha256", SECRET]);
    bind.wait_for("transfer of 'rpz.example/IN' from", "Transfer status: success");
    bind.wait_for("rpz: rpz.example: reload done", "success");
    let told = |qname: &str| bind.dig().ask(qname, "A");
    assert_eq!(told("evil7.example").rdata("A"), ["10.10.10.10"]);
    assert_eq!(told("deep.below.evil7.example").rdata("A"), ["10.10.10.10"]);
    assert_eq!(told("www.example.test").rdata("A"), ["10.10.10.10"]);
    assert_eq!(told("gone.example").status, "NXDOMAIN");
    assert!(told("good.evil7.example").rdata("A").is_empty(), "an exception");
    assert_eq!(told("evil7.example").rdata("TXT"), [""; 0]);
    assert!(told("mail.example.test").status == "NOERROR");

    server.house().write("authority.txt", &list("new.example.test\n").replace("evil9.example\n", ""));
    server.reload().well();
    // Four SOA records, and of two names and what is below them both addresses each.
    bind.wait_for("transfer of 'rpz.example/IN'", " 12 records");
    bind.wait_until(|| told("new.example.test").rdata("A") == ["10.10.10.10"]);
    bind.wait_until(|| told("evil9.example").rdata("A").is_empty());

    let address = Subscriber::address();
    let stranger = Subscriber::start(address, server.dns, nsd::address(), ZONE, [NAME, "hmac-sha256", WRONG]);
    stranger.wait_for("zone rpz.example/IN: refresh: failure", "tsig indicates error");
}

#[test]
fn unbound_blocks_what_we_block_and_follows() {
    let address = nsd::free_address();
    let server = setup(&format!("transfer_to = [\"127.0.0.1\"]\nnotify = [\"{address}\"]")).serve();
    server.await_published(ZONE);
    let unbound = UnboundSubscriber::start(address, server.dns, nsd::address(), ZONE);
    unbound.wait_for("evil7.example", |reply| reply.rdata("A") == ["10.10.10.10"]);
    blocks_what_we_block(&unbound);
    // Told by NOTIFY: it would ask again in five minutes.
    server.house().write("authority.txt", &list("new.example.test\n").replace("evil9.example\n", ""));
    server.reload().well();
    unbound.wait_for("new.example.test", |reply| reply.rdata("A") == ["10.10.10.10"]);
    unbound.wait_for("evil9.example", |reply| reply.rdata("A").is_empty());
    blocks_what_we_block(&unbound);
}

#[track_caller]
fn blocks_what_we_block(resolver: &UnboundSubscriber) {
    let told = |qname: &str, rtype: &str| resolver.dig().ask(qname, rtype);
    for qname in ["evil7.example", "deep.below.evil7.example", "www.example.test"] {
        let reply = told(qname, "A");
        assert_eq!(reply.rdata("A"), ["10.10.10.10"], "{}", reply.raw);
    }
    assert_eq!(told("gone.example", "A").status, "NXDOMAIN");
    let excepted = told("good.www.example.test", "A");
    assert!(
        excepted.status == "NXDOMAIN" && excepted.rdata("A").is_empty(),
        "an exception: {}",
        excepted.raw
    );
    assert_eq!(told("evil7.example", "TXT").rdata("TXT"), [""; 0]);
    let other = told("mail.example.test", "A");
    assert_eq!(other.status, "NOERROR", "{}", other.raw);
}

#[test]
fn differences_lead_from_every_version_that_is_kept() {
    let server = setup("transfer_to = [\"127.0.0.1\"]").serve();
    let first = serial(&server, 0);
    let (is_whole, mut before) = transfer(server.dns, "AXFR", &["+onesoa"]);
    assert!(is_whole && before.len() > 4000, "{}", before.len());

    server.house().write("authority.txt", &list("new.example.test\n").replace("evil9.example\n", ""));
    server.reload().well();
    let second = serial(&server, first);
    assert!(second > first);
    server.house().write("authority.txt", &list("new.example.test\nnewer.example.test\n"));
    server.reload().well();
    let third = serial(&server, second);
    let (_, after) = transfer(server.dns, "AXFR", &["+onesoa"]);

    let check = |server: &Server, from: u32, steps: usize| {
        let (is_whole, records) = transfer(server.dns, &format!("IXFR={from}"), &[]);
        assert!(is_whole, "{records:#?}");
        let soas = records.iter().filter(|record| record.contains(" SOA ")).count();
        assert_eq!(soas, 2 + 2 * steps, "{records:#?}");
        records
    };
    // RFC 1995, section 4: deletions behind the old SOA record, additions behind the new one.
    let records = check(&server, first, 2);
    assert!(records.len() < 30, "{records:#?}");
    let mut is_adding = true;
    for record in &records[1..records.len() - 1] {
        if record.contains(" SOA ") {
            is_adding = !is_adding;
            before.retain(|record| !record.contains(" SOA "));
        } else if is_adding {
            before.push(record.clone());
        } else {
            let at = before.iter().position(|other| other == record);
            before.remove(at.unwrap_or_else(|| panic!("{record} was not there")));
        }
    }
    let sorted = |records: &[String]| {
        let mut records: Vec<_> =
            records.iter().filter(|record| !record.contains(" SOA ")).cloned().collect();
        records.sort();
        records
    };
    assert_eq!(sorted(&before), sorted(&after));
    check(&server, second, 1);
    // Who is up to date, and who asks over UDP, learns that alone; who has a version that nobody knows gets all.
    assert_eq!(transfer(server.dns, &format!("IXFR={third}"), &[]).1.len(), 1);
    assert_eq!(transfer(server.dns, &format!("IXFR={first}"), &["+notcp"]).1.len(), 1);
    assert!(transfer(server.dns, &format!("IXFR={}", first - 1), &[]).1.len() > 4000);

    // A reload that changes nothing of the zone, and a restart, change nothing for secondaries.
    server.house().write("except.txt", "good.evil7.example\ngood.www.example.test\n# the same\n");
    server.reload().well();
    assert_eq!(
        server.dig().ask(ZONE, "SOA").rdata("SOA").concat().split(' ').nth(2),
        Some(&*third.to_string())
    );
    let house = server.stop(rustix::process::Signal::KILL).house;
    let server = house.serve();
    server.await_published(ZONE);
    check(&server, first, 2);
    // Changed while nobody served: compared with what was published last.
    let house = server.stop(rustix::process::Signal::TERM).house;
    house.write("authority.txt", &list("newest.example.test\n"));
    house.run("policy build", &[]).well();
    let server = house.serve();
    serial(&server, third);
    check(&server, third, 1);
    check(&server, first, 3);
}

#[test]
fn nobody_else_is_told_anything() {
    let server = setup("transfer_to = [\"127.0.0.9\"]").serve();
    server.await_published(ZONE);
    let from =
        |client: &str, options: &[&str]| transfer(server.dns, "AXFR", &[&["-b", client], options].concat()).0;
    assert!(from("127.0.0.9", &[]));
    assert!(!from("127.0.0.8", &[]));
    for (client, name, rtype, expected) in [
        ("127.0.0.9", ZONE, "SOA", "NOERROR"),
        ("127.0.0.9", ZONE, "NS", "NOERROR"),
        ("127.0.0.9", ZONE, "TXT", "NOERROR"),
        ("127.0.0.9", "evil7.example.rpz.example", "A", "REFUSED"),
        ("127.0.0.8", ZONE, "SOA", "REFUSED"),
        ("127.0.0.8", "evil7.example.rpz.example", "A", "REFUSED"),
    ] {
        let reply = server.dig().from(client).ask(name, rtype);
        assert_eq!(reply.status, expected, "{client} {name} {rtype}: {}", reply.raw);
    }
    let records = server.log(&["--name", "evil7.example.rpz.example"]);
    assert!(
        records.len() == 2 && records.iter().all(|record| record.text("action") == "refused"),
        "{records:#?}"
    );
}

#[test]
fn only_the_chosen_feeds_are_in_it_and_as_it_was_chosen() {
    let zone =
        "transfer_to = [\"127.0.0.1\"]\nfeeds = [\"authority\"]\nsinkhole = \"cname:landing.example.\"";
    let server = setup(zone).serve();
    server.await_published(ZONE);
    let (is_whole, records) = transfer(server.dns, "AXFR", &["+onesoa"]);
    assert!(is_whole);
    let has = |record: &str| records.iter().any(|other| other == record);
    assert!(has("evil7.example.rpz.example. 30 IN CNAME landing.example."), "{:?}", &records[..5]);
    assert!(has("*.evil7.example.rpz.example. 30 IN CNAME landing.example."));
    assert!(records.iter().all(|record| !record.contains("rpz-passthru") && !record.starts_with("gone.")));
    let house = server.house();
    house.write(
        "bad.toml",
        &house.read("sachdns.toml").replace("feeds = [\"authority\"]", "feeds = [\"nobody\"]"),
    );
    let done = run(&mut house.command(&["check", "--config", "bad.toml"]));
    assert!(
        done.stderr.contains("publish.feeds: \"nobody\" is not usable: no [[feed]] has this name"),
        "{}",
        done.stderr
    );
}

#[test]
fn analysts_rules_are_published_at_once_to_whom_they_are_for() {
    let server = Setup::new(nsd::address())
        .feed("authority", "evil.test\n")
        .agency("a", "Agency A", "127.1.0.0/16", "a@test")
        .file("schools.txt", "games.test\n")
        .more(&format!(
            "[[feed]]\nname = \"schools\"\nsource = \"schools.txt\"\nagencies = [\"a\"]\n\
             [export]\nlisten = [\"127.0.0.1:0\"]\n\
             [[publish]]\nzone = \"{ZONE}\"\ntransfer_to = [\"127.0.0.1\"]\n\
             [[publish]]\nzone = \"a.example\"\nagency = \"a\"\ntransfer_to = [\"127.0.0.1\"]\n"
        ))
        .serve();
    let first = serial(&server, 0);
    serial_of(&server, "a.example", 0);
    let fetch = |path: &str| {
        let address = server.export.unwrap();
        run(Command::new("curl").args(["-s", "--max-time", "20"]).arg(format!("http://{address}{path}")))
            .well()
            .stdout
    };
    let names = |path: &str| -> Vec<String> {
        fetch(path).lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    };
    assert_eq!(names("/v1/names.txt"), ["evil.test"]);
    assert!(fetch("/v1/names.txt").contains("# left out, as it is not for everybody here: feeds schools\n"));
    assert_eq!(names("/v1/names.txt?agency=a"), ["evil.test", "games.test"]);
    assert_eq!(fetch("/v1/names.txt?agency=b"), "no such agency\n");

    let give = |command: &str, arguments: &[&str]| {
        let who = ["--by", "Lan", "--reason", "vì thử"];
        server.house().run(&format!("policy {command}"), &[arguments, &who].concat()).well();
    };
    give("block", &["new.test"]);
    assert_eq!(names("/v1/names.txt"), ["evil.test", "new.test"]);
    let second = serial(&server, first);
    let records = transfer(server.dns, &format!("IXFR={first}"), &[]).1;
    let added = |records: &[String], record: &str| records.iter().any(|other| other.starts_with(record));
    assert!(records.len() == 8 && added(&records, "new.test.rpz.example. 30 IN A "), "{records:#?}");
    give("allow", &["www.evil.test"]);
    let third = serial(&server, second);
    let records = transfer(server.dns, &format!("IXFR={second}"), &[]).1;
    assert!(added(&records, "www.evil.test.rpz.example. 30 IN CNAME rpz-passthru."), "{records:#?}");

    // What is for one agency changes nothing for everybody.
    give("block", &["mine.test", "--agency", "a"]);
    let of_a = || transfer_of(server.dns, "a.example", "AXFR", &[]).1;
    wait_until("mine.test", || added(&of_a(), "mine.test.a.example. 30 IN A "));
    let records = of_a();
    for name in ["evil.test", "games.test", "mine.test", "new.test"] {
        assert!(added(&records, &format!("{name}.a.example. 30 IN A ")), "{name}: {records:#?}");
    }
    assert_eq!(names("/v1/names.txt"), ["evil.test", "new.test"]);
    assert_eq!(names("/v1/names.txt?agency=a&feed=analysts"), ["mine.test", "new.test"]);
    let exported = server.house().run("policy export", &["--format", "plain"]).well();
    assert_eq!(exported.stdout, fetch("/v1/all.txt"));
    assert!(
        exported.stderr.contains("feeds schools and 1 of the analysts' rules; --agency ID"),
        "{exported:?}"
    );
    let exported = server.house().run("policy export", &["--format", "plain", "--agency", "a"]).well();
    assert_eq!(exported.stdout, fetch("/v1/all.txt?agency=a"));
    let unknown = server.house().run("policy export", &["--format", "plain", "--agency", "b"]);
    assert!(unknown.stderr.contains("no [[agency]] has the id \"b\""), "{unknown:?}");

    // A restart changes nothing for secondaries.
    let server = server.stop(rustix::process::Signal::KILL).house.serve();
    server.await_published(ZONE);
    let (_, records) = transfer(server.dns, &format!("IXFR={first}"), &[]);
    assert!(records[0].contains(&format!(" {third} ")) && records.len() > 2, "{records:#?}");
    assert_eq!(records.iter().filter(|record| record.contains(" SOA ")).count(), 6, "{records:#?}");
}
