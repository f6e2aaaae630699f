//! Every record is in ClickHouse once, whatever fails, and it answers as the log here does.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::clickhouse::{ClickHouse, Engine, Fault, Proxy};
use crate::harness::house::{House, Setup};
use crate::harness::server::Server;
use crate::harness::wire::{self, Query, Udp};
use crate::harness::{PATIENCE, nsd};

/// A configuration that ships to this address, and archives at once.
fn setup(address: std::net::SocketAddr, log: &str, more: &str) -> Setup {
    Setup::new(nsd::address())
        .feed("authority", "evil.example.test\n")
        .agency("province", "Tỉnh", "127.0.0.0/16", "it@province.test")
        .agency("so-y-te", "Sở Y tế", "127.1.0.0/16", "it@syt.test")
        .server("id = \"dns1\"\n")
        .file("password", "open sesame\n")
        .more(&format!(
            "[log]\narchive_after = \"1ms\"\n{log}\n[log.clickhouse]\nurl = \"http://{address}\"\n\
             password_file = \"password\"\ntimeout = \"1s\"\n{more}"
        ))
}

/// Asks for names of its own, each once; tells which.
fn ask(server: &Server, round: usize, asked: &mut BTreeSet<String>) {
    let udp = Udp::to(server.dns);
    for number in 0..12 {
        let parent = if number % 3 == 0 { "evil.example.test" } else { "example.test" };
        let name = format!("r{round}-{number}.{parent}");
        udp.ask(&Query::new(&name, wire::A).bytes()).unwrap();
        asked.insert(name);
    }
}

#[track_caller]
fn wait_for(clickhouse: &ClickHouse, server: &Server, expected: usize) {
    let (begun, expected) = (Instant::now(), format!("{expected}\t{expected}"));
    loop {
        let rows = clickhouse.rows();
        if rows == expected {
            return;
        }
        let stderr = || server.stderr().text();
        assert!(begun.elapsed() < 2 * PATIENCE, "{rows:?}, not {expected:?}:\n{}", stderr());
        thread::sleep(Duration::from_millis(50));
    }
}

/// What befalls ClickHouse, or what it is told, while a round's batch is shipped.
enum Trouble {
    None,
    Faults(&'static [(&'static str, Fault)]),
    /// It is not there for a while.
    Away,
    /// It dies with half of a batch.
    DiesInTheMiddle,
    /// It stands still: what it is sent stays in the system's queues until it goes on.
    StandsStill,
    /// The server under test dies with a batch on its way.
    WeDie,
}

fn whatever_fails(engine: Engine, troubles: &[Trouble]) {
    let mut clickhouse = ClickHouse::start(engine);
    let proxy = Proxy::to(clickhouse.address);
    let mut house = setup(proxy.address, "", "").lay();
    let mut asked = BTreeSet::new();
    for (round, trouble) in troubles.iter().enumerate() {
        // What the rounds before asked is shipped in this one.
        let shipped = asked.len();
        match trouble {
            Trouble::None => {}
            Trouble::Faults(faults) => proxy.plan(faults),
            Trouble::Away => clickhouse.kill(),
            Trouble::DiesInTheMiddle | Trouble::WeDie => proxy.plan(&[("INSERT", Fault::Hang)]),
            Trouble::StandsStill => clickhouse.signal(Signal::STOP),
        }
        let mut server = house.serve();
        ask(&server, round, &mut asked);
        let is_told = |server: &Server| {
            let line = server.stderr().wait(PATIENCE, |line| line.contains("ClickHouse does not get"));
            assert!(line.is_some(), "{}", server.stderr().text());
        };
        match trouble {
            Trouble::None => {}
            Trouble::Faults(_) => proxy.await_all(),
            Trouble::Away => {
                is_told(&server);
                clickhouse.launch();
            }
            Trouble::DiesInTheMiddle => {
                proxy.await_hanging();
                clickhouse.kill();
                clickhouse.launch();
            }
            Trouble::StandsStill => {
                is_told(&server);
                clickhouse.signal(Signal::CONT);
            }
            Trouble::WeDie => {
                proxy.await_hanging();
                server = server.stop(Signal::KILL).house.serve();
                ask(&server, 100 + round, &mut asked);
            }
        }
        if !matches!(trouble, Trouble::WeDie) {
            wait_for(&clickhouse, &server, shipped);
        }
        for answer in proxy.release() {
            // What came too late finds no table, or is passed over; it changes nothing.
            assert_eq!(answer.starts_with("HTTP/1.1 200"), engine == Engine::Current, "{answer}");
            assert_eq!(clickhouse.rows(), format!("{shipped}\t{shipped}"));
        }
        // Who is asked to stop ships what it can until it does: that is the next round's.
        proxy.shut(true);
        house = server.stop(if round % 2 == 0 { Signal::KILL } else { Signal::TERM }).house;
        proxy.shut(false);
    }
    let server = house.serve();
    wait_for(&clickhouse, &server, asked.len());
    let house = server.stop(Signal::TERM).house;
    let names = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let there = names(&clickhouse.ask("SELECT qname FROM sachdns.records ORDER BY qname"));
    assert_eq!(there.iter().cloned().collect::<BTreeSet<_>>(), asked, "client-side numbers");
    assert_eq!(there.len(), asked.len(), "once each");
    for place in [&["--local"][..], &[]] {
        let records = house.log(place);
        let mut here: Vec<String> = records.iter().map(|it| it.text("qname").to_owned()).collect();
        here.sort();
        assert_eq!(here, there, "{place:?}");
    }
    let left = clickhouse.ask("SELECT name FROM system.tables WHERE database = 'sachdns'");
    assert_eq!(left, "records", "nothing is left lying about");
}

#[test]
fn each_record_is_in_a_clickhouse_of_old_once() {
    whatever_fails(
        Engine::Old,
        &[
            Trouble::None,
            Trouble::Faults(&[("INSERT", Fault::Swallow), ("ALTER", Fault::Swallow)]),
            Trouble::DiesInTheMiddle,
            Trouble::Faults(&[("INSERT", Fault::Cut), ("DROP", Fault::Swallow)]),
            Trouble::Faults(&[("ALTER", Fault::Late)]),
            Trouble::WeDie,
            Trouble::Faults(&[("INSERT", Fault::Late), ("CREATE TABLE", Fault::Swallow)]),
            Trouble::Away,
            Trouble::StandsStill,
        ],
    );
}

#[test]
fn each_record_is_in_a_clickhouse_of_today_once() {
    if !Engine::all().contains(&Engine::Current) {
        return;
    }
    whatever_fails(
        Engine::Current,
        &[
            Trouble::None,
            Trouble::Faults(&[("SELECT count", Fault::Cut), ("INSERT", Fault::Swallow)]),
            Trouble::DiesInTheMiddle,
            Trouble::Faults(&[("INSERT", Fault::Late)]),
            Trouble::WeDie,
            Trouble::Faults(&[("INSERT", Fault::Cut)]),
            Trouble::StandsStill,
        ],
    );
}

#[test]
fn a_long_outage_is_caught_up_with_once() {
    const ROUNDS: usize = 20;
    let mut clickhouse = ClickHouse::start(Engine::Old);
    let proxy = Proxy::to(clickhouse.address);
    let mut house = setup(proxy.address, "", "").lay();
    let mut asked = BTreeSet::new();
    clickhouse.kill();
    for round in 0..ROUNDS {
        let server = house.serve();
        ask(&server, round, &mut asked);
        house = server.stop(if round % 3 == 0 { Signal::KILL } else { Signal::TERM }).house;
    }
    let server = house.serve();
    // What a round asked is a file of its own, or one with the next's where that came sooner than the file; all wait.
    let begun = Instant::now();
    loop {
        let told = server.house().run("log ship", &[]).stderr;
        let waiting: Option<usize> =
            told.split("goes on by itself; ").nth(1).and_then(|it| it.split(' ').next()?.parse().ok());
        if waiting.is_some_and(|files| files > ROUNDS / 2) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{told}\n{}", server.stderr().text());
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(server.log(&["--local"]).len(), asked.len(), "all of it is answered from here");
    // In the midst of catching up an answer is lost, it dies, and so do we.
    proxy.plan(&[("ALTER", Fault::Swallow), ("INSERT", Fault::Cut), ("INSERT", Fault::Hang)]);
    clickhouse.launch();
    proxy.await_hanging();
    clickhouse.kill();
    clickhouse.launch();
    proxy.plan(&[("INSERT", Fault::Hang)]);
    proxy.await_hanging();
    let server = server.stop(Signal::KILL).house.serve();
    wait_for(&clickhouse, &server, asked.len());
    let there = clickhouse.ask("SELECT qname FROM sachdns.records ORDER BY qname");
    assert!(there.lines().eq(asked.iter()), "client-side numbers, once each:\n{there}");
    let batches: usize = clickhouse.ask("SELECT uniqExact(batch) FROM sachdns.records").parse().unwrap();
    assert!((ROUNDS / 2..=ROUNDS).contains(&batches), "{batches}");
    let house = server.stop(Signal::TERM).house;
    for place in [&["--local"][..], &[]] {
        let mut here: Vec<String> = house.log(place).iter().map(|it| it.text("qname").to_owned()).collect();
        here.sort();
        assert!(here.iter().eq(asked.iter()), "{place:?}");
    }
}

/// Names that would end a statement, and an escape, if they could.
fn hostile() -> Vec<Vec<u8>> {
    [
        b"\x0b'; DROP -- \x07example\x04test\x00".as_slice(),
        b"\x03a.b\x04evil\x07example\x04test\x00",
        b"\x02a\\\x04evil\x07example\x04test\x00",
        b"\x06\\' OR \x04evil\x07example\x04test\x00",
        b"\x05{x:y}\x07example\x04test\x00",
        b"\x04\x00\n\xff\xc3\x07example\x04test\x00",
        b"\x07notevil\x07example\x04test\x00",
    ]
    .map(<[u8]>::to_vec)
    .into()
}

/// A house whose log is in ClickHouse, but for its last queries.
fn shipped(clickhouse: &ClickHouse, log: &str) -> Server {
    let server = setup(clickhouse.address, log, "")
        .server("trusted_forwarders = [\"127.0.0.9/32\"]\n")
        .file("leases", "0 00:1a:2b:3c:4d:5e 127.1.0.5 pc-01 *\n")
        .serve();
    // Machines behind a forwarder: by MAC, by a MAC that was made up, by a whole address and by a part of one.
    for options in [
        &["+ednsopt=65001:001a2b3c4d5e"][..],
        &["+ednsopt=65001:021a2b3c4d5e", "+subnet=127.1.0.5/32"],
        &["+ednsopt=65001:001a2b3c4d5f", "+subnet=127.1.0.5/32"],
        &["+subnet=127.1.0.0/24"],
    ] {
        let dig = server.dig().from("127.0.0.9");
        options.iter().fold(dig, |dig, option| dig.with(option)).ask("told.example.test", "A");
    }
    server.house().run("identity import", &["leases", "--as-of", "2026-11-26T01:00:00Z"]).well();
    for (client, names) in [
        ("127.0.0.1", &["www.example.test", "evil.example.test", "www.later.example.test"][..]),
        ("127.1.0.5", &["www.evil.example.test", "nothing.example.test", "www.example.test"]),
        ("127.1.0.6", &["a.b.evil.example.test"]),
    ] {
        for name in names {
            server.dig().from(client).ask(name, "A");
        }
    }
    server.dig().ask("example.test", "AAAA");
    for wire in hostile() {
        let query =
            [b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", &*wire, b"\x00\x01\x00\x01"].concat();
        let _ = Udp::to(server.dns).ask(&query);
    }
    let server = server.stop(Signal::TERM).house.serve();
    let count = 12 + hostile().len();
    let begun = Instant::now();
    while !clickhouse.ask("SELECT count() FROM sachdns.records").starts_with(&count.to_string()) {
        assert!(begun.elapsed() < PATIENCE, "{}", server.stderr().text());
        thread::sleep(Duration::from_millis(50));
    }
    for name in ["late.evil.example.test", "late.example.test"] {
        server.dig().ask(name, "A");
    }
    server
}

fn same_answers(engine: Engine) {
    let clickhouse = ClickHouse::start(engine);
    let server = shipped(&clickhouse, "");
    let house = server.house();
    let there = |command: &str, arguments: &[&str]| house.run(command, arguments).well().stdout;
    let local = |command: &str, arguments: &[&str]| there(command, &[arguments, &["--local"]].concat());
    let check = |command: &str, arguments: &[&str], lines: usize| {
        let answer = there(command, arguments);
        assert_eq!(answer, local(command, arguments), "{command} {arguments:?}");
        assert_eq!(answer.lines().count(), lines, "{command} {arguments:?}:\n{answer}");
    };
    let all = 14 + hostile().len();
    let log = |filters: &[&str], lines| check("log", &[&["--format", "jsonl"], filters].concat(), lines);
    log(&[], all);
    log(&["--hits"], 7);
    // What it asked, and what was asked for it.
    log(&["--client", "127.1.0.5"], 5);
    // Where it was, and where a forwarder tells it.
    log(&["--machine", "pc-01"], 5);
    log(&["--machine", "pc-01", "--hits"], 1);
    log(&["--machine", "pc-01", "--name", "told.example.test", "--since", "1h"], 2);
    log(&["--agency", "so-y-te"], 4);
    log(&["--agency", "x' OR '1'='1"], 0);
    log(&["--name", "evil.example.test"], 7);
    log(&["--name", "b.evil.example.test"], 1);
    log(&["--name", "EVIL.example.test", "--client", "127.0.0.1"], 5);
    log(&["--name", "."], all);
    log(&["--name", "no.such.test"], 0);
    log(&["--type", "AAAA"], 1);
    log(&["--rcode", "NXDOMAIN", "--agency", "so-y-te"], 1);
    log(&["--action", "sinkhole", "--feed", "authority"], 7);
    log(&["--family", "emo'tet\\"], 0);
    log(&["--since", "1h", "--until", "0s"], all);
    log(&["--since", "2001-01-01T00:00:00Z", "--until", "2001-01-02T00:00:00Z"], 0);
    // Page by page, over what is there and what is here.
    let mut pages = String::new();
    let mut place = Vec::new();
    loop {
        let arguments = [&["--format", "jsonl", "--limit", "4"], &*place].concat();
        let page = house.run("log", &arguments).well();
        pages.push_str(&page.stdout);
        let Some((_, next)) = page.stderr.split_once("--after ") else { break };
        place = vec!["--after", Box::leak(next.trim().to_owned().into_boxed_str())];
    }
    assert_eq!(pages, local("log", &["--format", "jsonl"]));
    for by in
        ["agency", "client", "name", "type", "rcode", "action", "feed", "family", "minute", "hour", "day"]
    {
        for filters in [&["--by", by][..], &["--by", by, "--hits"], &["--by", by, "--name", "example.test"]] {
            assert_eq!(there("log count", filters), local("log count", filters), "{filters:?}");
        }
    }
    check("log count", &[], 1);
    check("log count", &["--client", "127.0.0.1"], 1);
    check("log count", &["--machine", "pc-01"], 1);
    let hunt = |list: &str, lines| {
        house.write("list.txt", list);
        check("hunt", &["--names", "list.txt", "--format", "jsonl"], lines);
        for filters in [&[][..], &["--client", "127.1.0.5"], &["--hits"], &["--name", "evil.example.test"]] {
            let filters = [&["--names", "list.txt", "--summary", "--format", "csv"], filters].concat();
            assert_eq!(there("hunt", &filters), local("hunt", &filters), "{filters:?}");
        }
    };
    hunt("told.example.test\nwww.evil.example.test\n10.10.10.10\n", 11);
    hunt("evil.example.test\nno.such.test\n", 7);
    hunt("b.evil.example.test\n", 1);
    hunt("10.10.10.10\n", 7);
    hunt("10.10.0.0/19\nfd00::/8\nnothing.example.test\n", 8);
    let mut many = "www.example.test\n".to_owned();
    (0..20_000).for_each(|n| writeln!(many, "n{n}.filler.test").unwrap());
    hunt(&many, 2);
    // A hit that was none when it was asked for.
    house.write("authority.txt", "evil.example.test\nlater.example.test\n");
    server.reload().well();
    let begun = Instant::now();
    while clickhouse.ask("SELECT count() FROM sachdns.records WHERE late = 1") != "1" {
        assert!(begun.elapsed() < PATIENCE, "{}", server.stderr().text());
        thread::sleep(Duration::from_millis(50));
    }
    log(&["--hits"], 8);
    log(&[], all);
    assert_eq!(there("log count", &["--hits"]), "8\n");
    // Nothing was shipped twice by the way, and nobody ships beside the server.
    let taken = house.run("log ship", &[]);
    assert!(taken.code() == 1 && taken.stderr.contains("goes on by itself; 0 files wait"), "{taken:?}");
}

#[test]
fn a_clickhouse_of_old_answers_as_the_log_here() {
    same_answers(Engine::Old);
}

#[test]
fn a_clickhouse_of_today_answers_as_the_log_here() {
    if Engine::all().contains(&Engine::Current) {
        same_answers(Engine::Current);
    }
}

#[test]
fn clients_are_hidden_before_they_leave() {
    let clickhouse = ClickHouse::start(Engine::Old);
    let server = shipped(&clickhouse, "anonymise = \"truncate\"\n");
    let clients = |what: &str| {
        clickhouse.ask(&format!("SELECT DISTINCT hex(client) FROM sachdns.records WHERE {what} ORDER BY 1"))
    };
    assert_eq!(clients("NOT hit"), "00000000000000000000FFFF7F000000\n00000000000000000000FFFF7F010000");
    assert!(clients("hit").contains("00000000000000000000FFFF7F010006"));
    // Here they are known for as long as log.anonymise_after says.
    assert_eq!(server.log(&["--client", "127.1.0.5"]).len(), 5);
}

/// The log of a server that does not run, and its archive.
fn stopped(clickhouse: &ClickHouse, more: &str) -> House {
    let house = setup(clickhouse.address, "", more).lay();
    let text = house.read("sachdns.toml");
    house.write("sachdns.toml", text.split("[log.clickhouse]").next().unwrap());
    let server = house.serve();
    ask(&server, 0, &mut BTreeSet::new());
    let server = server.stop(Signal::TERM).house.serve();
    let begun = Instant::now();
    let is_archived = |house: &House| {
        house.data_files().iter().any(|path| path.extension().is_some_and(|it| it == "parquet"))
    };
    while !is_archived(server.house()) {
        assert!(begun.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(20));
    }
    let house = server.stop(Signal::TERM).house;
    house.write("sachdns.toml", &text);
    house
}

#[test]
fn what_was_sealed_before_is_shipped_by_hand_too() {
    let clickhouse = ClickHouse::start(Engine::Old);
    let house = stopped(&clickhouse, "");
    let ship = || house.run("log ship", &[]).well().stdout;
    assert!(ship().contains("12 records were sent, 0 were there"), "all of them");
    assert!(ship().starts_with("0 files are in ClickHouse now: 0 records"), "it remembers");
    std::fs::remove_file(house.path().join("data/log/store/shipped.db")).unwrap();
    assert!(ship().contains("0 records were sent, 12 were there"), "it asks");
    assert_eq!(clickhouse.rows(), "12\t12");
    let tables = house.run("log schema", &["--cluster", "pair"]).well().stdout;
    assert!(tables.contains("Distributed(pair, sachdns, records_local"), "{tables}");
}

#[test]
fn what_is_wrong_is_said_with_its_mend() {
    let clickhouse = ClickHouse::start(Engine::Old);
    let check = |house: &House, command: &str, part: &str| {
        let refused = house.run(command, &[]);
        assert!(refused.code() == 1 && refused.stderr.contains(part), "{refused:#?}");
    };
    let house = stopped(&clickhouse, "cluster = \"pair\"\n");
    check(&house, "log ship", "take out log.clickhouse.cluster");
    let house = stopped(&clickhouse, "");
    house.write("password", "wrong\n");
    check(&house, "log", "check log.clickhouse.user and password_file");
    check(&house, "log count", "--local asks for what is on this machine alone");
    std::fs::remove_file(house.path().join("password")).unwrap();
    check(&house, "log ship", "password_file must be a file with the password");
    house.write("password", "open sesame\n");
    clickhouse.ask("CREATE DATABASE sachdns");
    clickhouse.ask("CREATE TABLE sachdns.records (time Int64) ENGINE = Memory");
    check(&house, "log ship", "set log.clickhouse.database to another name");
    drop(clickhouse);
    check(&house, "log", "check log.clickhouse.url, and that ClickHouse runs");
    assert_eq!(house.log(&["--local"]).len(), 12);
}
