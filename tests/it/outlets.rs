//! The log reaches other programs as it is written, and none of them holds up an answer.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::authority::Authority;
use crate::harness::house::{House, Setup};
use crate::harness::receiver::{self, Receiver, free_address, wait_until};
use crate::harness::record::Record;
use crate::harness::server::Server;
use crate::harness::wire::{self, Query, Udp};
use crate::harness::{PATIENCE, nsd};

/// A configuration with an outlet that sends all queries, and these lines.
fn setup(lines: &str) -> Setup {
    Setup::new(nsd::address())
        .feed("authority", "evil.example.test\n")
        .agency("so-tttt", "Sở Thông tin và Truyền thông", "127.0.0.0/8", "it@stttt.test")
        .server("id = \"dns1.example.test\"\n")
        .more(&format!("[[outlet]]\nname = \"siem\"\nqueries = \"all\"\n{lines}"))
}

/// Asks for names of its own, every second one listed; returns them.
fn ask(server: &Server, part: &str, count: usize) -> HashSet<String> {
    let udp = Udp::to(server.dns);
    let name = |number: usize| {
        let parent = if number.is_multiple_of(2) { "evil.example.test" } else { "example.test" };
        format!("{part}{number}.{parent}")
    };
    let names = (0..count).map(name);
    names.inspect(|name| drop(udp.ask(&Query::new(name, wire::A).bytes()).unwrap())).collect()
}

fn qnames(jsonl: &str) -> Vec<String> {
    // The last line may be on its way.
    let whole = jsonl.rfind('\n').map_or("", |end| &jsonl[..=end]);
    Record::read_all(whole).iter().map(|record| record.text("qname").to_owned()).collect()
}

fn set(names: Vec<String>) -> HashSet<String> {
    names.into_iter().collect()
}

/// What is in a file of the house; nothing where it is not there yet.
fn read(house: &House, file: &str) -> String {
    std::fs::read_to_string(house.path().join(file)).unwrap_or_default()
}

#[test]
fn a_file_has_every_record_once_when_the_server_stops() {
    let server = setup("to = \"file:out.jsonl\"\n").serve();
    ask(&server, "a", 50);
    // While it runs, within a moment.
    wait_until(|| read(server.house(), "out.jsonl"), |text| text.lines().count() == 50);
    ask(&server, "b", 50);
    let stopped = server.stop(Signal::TERM);
    assert!(stopped.took < Duration::from_secs(5), "{:?}", stopped.took);
    let values = |mut records: Vec<Record>| {
        records.sort_by_key(Record::time);
        records.into_iter().map(|record| record.0.to_string()).collect::<Vec<_>>()
    };
    let file = Record::read_all(&read(&stopped.house, "out.jsonl"));
    assert_eq!(values(file), values(stopped.house.log(&[])));
    // The next start sends nothing again.
    let server = stopped.house.serve();
    let more = ask(&server, "c", 10);
    let stopped = server.stop(Signal::TERM);
    let names = qnames(&read(&stopped.house, "out.jsonl"));
    assert_eq!(names.len(), 110);
    assert_eq!(set(names[100..].to_vec()), more);
    let own = stopped.house.path().join("data/log/outlets/siem");
    let left: Vec<_> = std::fs::read_dir(own).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "its place, and a folder for what waits: {left:?}");
    let mut waiting = stopped.house.data_files();
    waiting.retain(|path| path.iter().any(|part| part == "siem"));
    assert_eq!(waiting.len(), 1, "nothing that was sent holds room: {waiting:?}");
}

#[test]
fn kill_9_loses_nothing_on_its_way_out() {
    let mut house = setup("to = \"file:out.jsonl\"\n").lay();
    let mut asked = HashSet::new();
    for round in 0..4 {
        let server = house.serve();
        asked.extend(ask(&server, &format!("r{round}-"), 40 * round + 1));
        house = server.stop(Signal::KILL).house;
    }
    let stopped = house.serve().stop(Signal::TERM);
    let names = qnames(&read(&stopped.house, "out.jsonl"));
    assert_eq!(set(names), asked);
}

#[test]
fn a_rotated_file_is_begun_anew() {
    let server = setup("to = \"file:out.log\"\nformat = \"zeek\"\n").serve();
    let path = server.house().path().join("out.log");
    let rows = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
    ask(&server, "a", 5);
    wait_until(|| read(server.house(), "out.log"), |text| rows(text) == 5);
    std::fs::rename(&path, path.with_extension("1")).unwrap();
    // At the outlet's next look, whether there is anything to write or not.
    wait_until(|| read(server.house(), "out.log"), |text| text.contains("#fields"));
    ask(&server, "b", 5);
    let stopped = server.stop(Signal::TERM);
    for file in ["out.1", "out.log"] {
        let text = read(&stopped.house, file);
        assert!(text.starts_with("#separator \\x09\n") && text.matches("#fields").count() == 1, "{text}");
    }
    assert_eq!(["out.1", "out.log"].map(|file| rows(&read(&stopped.house, file))), [5, 5]);
}

/// The messages of a dnstap reader, by the name that was asked for.
#[track_caller]
fn assert_dnstap(lines: &[String], asked: &HashSet<String>) {
    let name = |line: &String| {
        // TIME CR ADDRESS UDP SIZE "QNAME." CLASS TYPE
        let name = line.split('"').nth(1).unwrap_or_else(|| panic!("{line}")).trim_end_matches('.');
        assert!(line.contains(" CR ") && line.contains(" IN A"), "{line}");
        name.to_owned()
    };
    assert_eq!(lines.iter().map(name).collect::<HashSet<_>>(), *asked, "{lines:#?}");
    assert_eq!(lines.len(), asked.len(), "once each: {lines:#?}");
}

#[test]
fn dnstap_is_read_by_others_from_every_place() {
    let check = |to: &str, receiver: Option<Receiver>| {
        let server = setup(&format!("to = \"{to}\"\nformat = \"dnstap\"\n")).serve();
        let asked = ask(&server, "n", 40);
        let stopped = server.stop(Signal::TERM);
        assert!(!stopped.stderr.contains("cannot send"), "{}", stopped.stderr);
        let lines = match receiver {
            Some(receiver) => receiver.dnstap(),
            None => receiver::dnstap(&stopped.house.path().join("out.dnstap")),
        };
        assert_dnstap(&lines, &asked);
        stopped.house
    };
    let house = check("file:out.dnstap", None);
    let unix = Receiver::fstrm_unix();
    let socket = unix.socket();
    check(&format!("unix:{}", socket.display()), Some(unix));
    let address = free_address();
    let tcp = Receiver::fstrm_tcp(address);
    // Without a file to show when it listens.
    wait_until(|| std::net::TcpStream::connect(address).is_ok(), |is_there| *is_there);
    check(&format!("tcp://{address}"), Some(tcp));

    // A file that was ended goes on, and the reader sees what was applied.
    let server = house.serve();
    ask(&server, "more", 2);
    let house = server.stop(Signal::TERM).house;
    let file = house.path().join("out.dnstap");
    assert_eq!(receiver::dnstap(&file).len(), 42);
    let yaml = receiver::dnstap_yaml(&file);
    for part in [
        "type: CLIENT_RESPONSE",
        "identity: \"dns1.example.test\"",
        "query_address: \"127.0.0.1\"",
        "socket_protocol: UDP",
    ] {
        assert!(yaml.contains(part), "{part}: {yaml}");
    }
    // On demand.
    let output =
        house.command(&["log", "--config", "sachdns.toml", "--format", "dnstap", "--hits"]).output().unwrap();
    assert!(output.status.success());
    std::fs::write(&file, output.stdout).unwrap();
    let lines = receiver::dnstap(&file);
    assert_eq!(lines.len(), 21);
    assert!(lines.iter().all(|line| line.contains("evil.example.test.")), "{lines:#?}");
}

#[test]
fn rsyslog_understands_every_message() {
    for scheme in ["tcp", "udp"] {
        let address = free_address();
        let receiver = Receiver::rsyslogd(address);
        wait_until(|| std::net::TcpStream::connect(address).is_ok(), |is_there| *is_there);
        let format = if scheme == "tcp" { "cef" } else { "ocsf" };
        let server =
            setup(&format!("to = \"{scheme}://{address}\"\nformat = \"{format}\"\nsyslog = true\n")).serve();
        let asked = ask(&server, "n", 30);
        let text = receiver.wait_until(|text| text.lines().count() >= asked.len());
        let mut got = HashSet::new();
        for line in text.lines() {
            let [priority, time, host, app, id, message] =
                line.splitn(6, '|').collect::<Vec<_>>().try_into().unwrap();
            let is_hit = line.contains("evil.example.test");
            assert_eq!(priority, if is_hit { "local0.err" } else { "local0.info" }, "{line}");
            assert_eq!(
                (host, app, id),
                ("dns1.example.test", "sachdns", if is_hit { "hit" } else { "query" })
            );
            time.parse::<jiff::Timestamp>().unwrap();
            let qname = if format == "cef" {
                assert!(message.trim_start().starts_with("CEF:0|SachDNS|SachDNS|"), "{message}");
                message.split_once(" dhost=").unwrap().1.split(' ').next().unwrap().to_owned()
            } else {
                let event: serde_json::Value = serde_json::from_str(message.trim()).unwrap();
                assert_eq!(event["class_uid"], 4003);
                event["query"]["hostname"].as_str().unwrap().to_owned()
            };
            got.insert(qname);
        }
        assert_eq!(got, asked, "{scheme}");
        server.stop(Signal::TERM);
    }
}

#[test]
fn a_socket_of_datagrams_gets_one_a_message() {
    let house = setup("to = \"unix:log.sock\"\nformat = \"csv\"\nsyslog = true\n").lay();
    let socket = std::os::unix::net::UnixDatagram::bind(house.path().join("log.sock")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let server = house.serve();
    let asked = ask(&server, "n", 100);
    let mut got = HashSet::new();
    let mut octets = [0; 4096];
    while got.len() < asked.len() {
        let len = socket.recv(&mut octets).unwrap();
        let message = std::str::from_utf8(&octets[..len]).unwrap();
        let record = message.strip_prefix("<1").and_then(|rest| rest.splitn(8, ' ').nth(7)).unwrap();
        // Behind time, client and agency.
        got.insert(record.split(',').nth(3).unwrap().to_owned());
        assert!(!record.contains(['\r', '\n']), "{record:?}");
    }
    assert_eq!(got, asked);
}

#[test]
fn what_was_asked_before_it_was_listed_is_sent_once_too() {
    let outlet = "[[outlet]]\nname = \"siem\"\nqueries = \"hits\"\nto = \"file:out.ecs\"\nformat = \"ecs\"\n";
    let server = Setup::new(nsd::address()).feed("authority", "evil.example.test\n").more(outlet).serve();
    let name = "later.example.test";
    server.dig().ask(name, "A");
    server.dig().ask("evil.example.test", "A");
    let lines = |house: &House| read(house, "out.ecs").lines().filter(|line| line.contains(name)).count();
    wait_until(|| read(server.house(), "out.ecs"), |text| text.lines().count() == 1);
    let list = server.house().read("authority.txt");
    server.house().write("authority.txt", &format!("{list}{name}\n"));
    server.reload().well();
    wait_until(|| lines(server.house()), |count| *count == 1);
    let text = read(server.house(), "out.ecs");
    let line = text.lines().find(|line| line.contains(name)).unwrap();
    assert!(line.contains("\"before_listed\":true") && line.contains("\"name\":\"authority\""), "{line}");
    // Nor again behind a kill.
    let stopped = server.stop(Signal::TERM);
    let server = stopped.house.serve();
    server.dig().ask("other.evil.example.test", "A");
    wait_until(|| read(server.house(), "out.ecs"), |text| text.contains("other.evil"));
    assert_eq!(lines(server.house()), 1);
}

#[test]
fn the_log_command_writes_the_same_forms() {
    let server = setup("to = \"file:out.ecs\"\nformat = \"ecs\"\n").serve();
    ask(&server, "n", 6);
    wait_until(|| read(server.house(), "out.ecs"), |text| text.lines().count() == 6);
    let house = server.stop(Signal::TERM).house;
    let log =
        |format: &str, more: &[&str]| house.run("log", &[&["--format", format], more].concat()).well().stdout;
    let lines = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(lines(&log("ecs", &[])), lines(&read(&house, "out.ecs")));
    assert_eq!(log("cef", &["--limit", "4"]).matches("CEF:0|").count(), 4);
    let zeek = log("zeek", &[]);
    assert!(
        zeek.starts_with("#separator") && zeek.lines().filter(|line| !line.starts_with('#')).count() == 6
    );
    for (format, class, count) in [("ocsf", 4003, 6), ("ocsf-finding", 2004, 3)] {
        let text = log(format, &[]);
        let classes: Vec<u64> = text
            .lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["class_uid"].as_u64().unwrap()
            })
            .collect();
        assert_eq!(classes, vec![class; count], "{format}");
    }
    assert_eq!(log("ocsf-finding", &["--limit", "2"]).lines().count(), 2, "of hits");
}

/// The messages of an octet-counted stream (RFC 5425, section 4.3).
fn counted(mut text: &str) -> Vec<&str> {
    let mut messages = Vec::new();
    while let Some((len, rest)) = text.split_once(' ') {
        let Some(message) = rest.get(..len.parse().unwrap()) else { break };
        messages.push(message);
        text = &rest[message.len()..];
    }
    messages
}

#[test]
fn tls_goes_only_to_the_receiver_that_is_meant() {
    let authority = Authority::new();
    let house = setup("to = \"file:unused\"\n").lay();
    let (certificate, key) = authority.issue("siem.example.test");
    house.write("siem.pem", &(certificate + &key));
    let ca = authority.root_file(&house);
    let address = free_address();
    let pem = house.path().join("siem.pem");
    // It wants to know who we are, too.
    let (own, own_key) = authority.issue("dns1.example.test");
    house.write("own.pem", &own);
    house.write("own.key", &own_key);
    let receiver = Receiver::socat(&format!(
        "OPENSSL-LISTEN:{},bind=127.0.0.1,reuseaddr,fork,verify=1,cafile={ca},cert={}",
        address.port(),
        pem.display()
    ));
    wait_until(|| std::net::TcpStream::connect(address).is_ok(), |is_there| *is_there);
    let text = |name: &str| {
        let own = "certificate = \"own.pem\"\nkey = \"own.key\"\n";
        let lines = format!("format = \"ecs\"\nsyslog = true\nca = \"{ca}\"\n{own}");
        setup(&format!("to = \"tls://{address}#{name}\"\n{lines}")).text()
    };
    house.write("authority.txt", "evil.example.test\n");
    house.write("sachdns.toml", &text("other.example.test"));
    let server = house.serve();
    let asked = ask(&server, "n", 20);
    assert!(server.stderr().wait(PATIENCE, |line| line.contains("certificate not valid for name")).is_some());
    assert_eq!(receiver.output(), "");

    // With the right name what was asked meanwhile goes out too.
    server.house().write("sachdns.toml", &text("siem.example.test"));
    server.reload().well();
    let output = receiver.wait_until(|text| counted(text).len() >= asked.len());
    let names = counted(&output).into_iter().map(|message| {
        assert!(message.starts_with("<131>1 ") || message.starts_with("<134>1 "), "{message}");
        let event: serde_json::Value = serde_json::from_str(&message[message.find('{').unwrap()..]).unwrap();
        event["dns"]["question"]["name"].as_str().unwrap().to_owned()
    });
    assert_eq!(names.collect::<HashSet<_>>(), asked);
    let stopped = server.stop(Signal::TERM);
    assert!(stopped.took < Duration::from_secs(6), "{:?}", stopped.took);
}

#[test]
fn a_receiver_that_comes_late_or_goes_gets_all_of_it() {
    let address = free_address();
    let server = setup(&format!("to = \"tcp://{address}\"\n")).serve();
    let mut asked = ask(&server, "early", 30);
    assert!(server.stderr().wait(PATIENCE, |line| line.contains("the outlet cannot send")).is_some());
    // The place outlives a restart, too.
    let server = server.stop(Signal::TERM).house.serve();
    asked.extend(ask(&server, "later", 30));
    let listen = format!("TCP-LISTEN:{},bind=127.0.0.1,reuseaddr", address.port());
    let first = Receiver::socat(&listen);
    first.wait_until(|text| qnames(text).len() >= asked.len());
    // It goes, and what it had may come again, but nothing is left out.
    let mut got = set(qnames(&first.output()));
    drop(first);
    asked.extend(ask(&server, "between", 30));
    let second = Receiver::socat(&listen);
    let is_all = |text: &str| {
        let names = set(qnames(text));
        asked.iter().all(|name| names.contains(name) || got.contains(name))
    };
    let text = second.wait_until(is_all);
    got.extend(qnames(&text));
    assert_eq!(got, asked);
}

#[test]
fn a_slow_receiver_gets_all_of_it_whole() {
    let authority = Authority::new();
    for scheme in ["tcp", "tls"] {
        let address = free_address();
        let house = setup("to = \"file:unused\"\n").lay();
        let (certificate, key) = authority.issue("siem.example.test");
        house.write("siem.pem", &(certificate + &key));
        let (ca, pem) = (authority.root_file(&house), house.path().join("siem.pem"));
        let listen = format!("{},bind=127.0.0.1,reuseaddr", address.port());
        let (listen, to) = match scheme {
            "tcp" => (format!("TCP-LISTEN:{listen}"), format!("tcp://{address}")),
            _ => (
                format!("OPENSSL-LISTEN:{listen},verify=0,cert={}", pem.display()),
                format!("tls://{address}#siem.example.test"),
            ),
        };
        let receiver = Receiver::sluggish(&listen);
        let text = setup(&format!("to = \"{to}\"\nformat = \"ecs\"\nca = \"{ca}\"\n")).text();
        house.write("authority.txt", "evil.example.test\n");
        house.write("sachdns.toml", &text);
        let server = house.serve();
        // Many times what the sockets hold.
        let label = "x".repeat(60);
        let count = 12_000;
        let udp = Udp::to(server.dns);
        for number in 0..count {
            let name = format!("n{number}.{label}.{label}.{label}.evil.example.test");
            udp.ask(&Query::new(&name, wire::A).bytes()).unwrap();
        }
        let text = receiver.wait_until(|text| text.lines().count() >= count && text.ends_with('\n'));
        let names: HashSet<String> = text
            .lines()
            .map(|line| {
                let event: serde_json::Value = serde_json::from_str(line).unwrap();
                event["dns"]["question"]["name"].as_str().unwrap().to_owned()
            })
            .collect();
        assert_eq!(names.len(), count, "{scheme}");
        assert_eq!(text.lines().count(), count, "{scheme}: nothing twice on a connection that stands");
        let stopped = server.stop(Signal::TERM);
        assert!(!stopped.stderr.contains("MISSED"), "{}", stopped.stderr);
    }
}

/// Takes connections and reads none of them.
struct Stalling(TcpListener);

#[test]
fn a_receiver_that_stalls_slows_no_answer_and_what_it_misses_is_counted() {
    let stalling = Stalling(TcpListener::bind("127.0.0.1:0").unwrap());
    let address: SocketAddr = stalling.0.local_addr().unwrap();
    let server = setup(&format!("to = \"tcp://{address}\"\nbacklog = \"1MiB\"\n"))
        .more("[log]\nmax_size = \"64MiB\"\n")
        .serve();
    let (connection, _) = stalling.0.accept().unwrap();
    // Long names fill the backlog, and the socket's buffers, with few queries.
    let udp = Udp::to(server.dns);
    let label = "x".repeat(60);
    let mut asked = 0u64;
    let mut slowest = Duration::ZERO;
    let begun = Instant::now();
    while !server.stderr().text().contains("records were MISSED") {
        assert!(begun.elapsed() < 2 * PATIENCE, "nothing is missed after {asked} queries");
        for _ in 0..500 {
            let name = format!("n{asked}.{label}.{label}.{label}.evil.example.test");
            let sent = Instant::now();
            udp.ask(&Query::new(&name, wire::A).bytes()).unwrap();
            slowest = slowest.max(sent.elapsed());
            asked += 1;
        }
    }
    // Far below what the receiver's patience would cost; a busy machine takes its part of it.
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");

    // It is read again: what was not missed arrives.
    drop(connection);
    let reader = std::thread::spawn(move || {
        let mut names = HashSet::new();
        stalling.0.set_nonblocking(false).unwrap();
        // Until the server has ended, each connection to its end.
        for stream in stalling.0.incoming() {
            for line in BufReader::new(stream.unwrap()).lines() {
                let Ok(line) = line else { break };
                if line == "end" {
                    return names;
                }
                names.extend(qnames(&(line + "\n")));
            }
        }
        names
    });
    let last = "last.evil.example.test";
    udp.ask(&Query::new(last, wire::A).bytes()).unwrap();
    assert!(server.stderr().wait(PATIENCE, |line| line.contains("the outlet sends again")).is_some());
    let stopped = server.stop(Signal::TERM);
    let mut end = std::net::TcpStream::connect(address).unwrap();
    std::io::Write::write_all(&mut end, b"end\n").unwrap();
    let names = reader.join().unwrap();
    assert!(names.contains(last));
    let ended = stopped.stderr.lines().find(|line| line.contains("the outlet has ended")).unwrap();
    let missed: u64 =
        ended.split("missed=").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap();
    assert!(missed > 0, "{ended}");
    assert_eq!(names.len() as u64 + missed, asked + 1, "{ended}");
    // They are all in the log.
    assert!(stopped.stderr.contains("lost=0"), "{}", stopped.stderr);
}

#[test]
fn outlets_come_and_go_with_a_reload() {
    let server = setup("to = \"file:out.jsonl\"\n").serve();
    let before = ask(&server, "a", 10);
    let text = server.house().read("sachdns.toml");
    let renamed = text.replace("name = \"siem\"", "name = \"other\"").replace("out.jsonl", "other.jsonl");
    server.house().write("sachdns.toml", &renamed);
    server.reload().well();
    // What was begun is ended well, and the new one begins with what comes.
    assert_eq!(set(qnames(&read(server.house(), "out.jsonl"))), before);
    let after = ask(&server, "b", 10);
    let house = server.stop(Signal::TERM).house;
    assert_eq!(set(qnames(&read(&house, "other.jsonl"))), after);
    assert_eq!(set(qnames(&read(&house, "out.jsonl"))), before);
    assert!(!house.path().join("data/log/outlets/siem").exists(), "what is gone holds no room");
}
