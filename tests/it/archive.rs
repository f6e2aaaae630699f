//! What is archived answers every question as before, and no kill loses or doubles any of it.

use std::collections::HashSet;
use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::house::{CONFIG, House, Setup};
use crate::harness::record::Record;
use crate::harness::server::Server;
use crate::harness::wire::{self, Query, Udp};
use crate::harness::{PATIENCE, nsd};

const ARCHIVING: &str = "[log]\narchive_after = \"1ms\"\n";

fn files(house: &House, extension: &str) -> usize {
    let is_one = |path: &std::path::PathBuf| path.extension().is_some_and(|it| it == extension);
    house.data_files().iter().filter(|path| is_one(path)).count()
}

/// Waits until nothing is left of the segments of earlier processes.
fn wait_until_archived(server: &Server, earlier: &[std::path::PathBuf]) {
    let begun = Instant::now();
    while earlier.iter().any(|path| path.exists()) {
        assert!(begun.elapsed() < PATIENCE, "not archived: {}", server.stderr().text());
        thread::sleep(Duration::from_millis(5));
    }
}

fn segments(house: &House) -> Vec<std::path::PathBuf> {
    house.data_files().into_iter().filter(|path| path.extension().is_some_and(|it| it == "seg")).collect()
}

/// Everything that was asked is archived, and the server has stopped.
pub(crate) fn archived(asked: &[(&str, &str)]) -> House {
    let server = Setup::new(nsd::address())
        .feed("authority", "evil.example.test\n")
        .agency("province", "Tỉnh", "127.0.0.0/16", "it@province.test")
        .agency("so-y-te", "Sở Y tế", "127.1.0.0/16", "it@syt.test")
        .more(ARCHIVING)
        .serve();
    for (client, qname) in asked {
        server.dig().from(client).ask(qname, "A");
    }
    let house = server.stop(Signal::TERM).house;
    // What was not archived at the stop is at the next start.
    let left = segments(&house);
    let server = house.serve();
    wait_until_archived(&server, &left);
    let house = server.stop(Signal::TERM).house;
    assert!(files(&house, "parquet") > 0);
    house
}

#[test]
fn questions_about_archived_queries() {
    let house = archived(&[
        ("127.0.0.1", "www.example.test"),
        ("127.0.0.1", "evil.example.test"),
        ("127.1.0.5", "www.evil.example.test"),
        ("127.1.0.5", "notevil.example.test"),
        ("127.1.0.6", "example.test"),
        ("127.1.0.6", "nothing.example.test"),
    ]);
    let check = |filters: &[&str], expected: &[&str]| {
        let records = house.log(filters);
        let names: Vec<_> = records.iter().map(|record| record.text("qname")).collect();
        assert_eq!(names, expected, "{filters:?}");
    };
    let all = [
        "nothing.example.test",
        "example.test",
        "notevil.example.test",
        "www.evil.example.test",
        "evil.example.test",
        "www.example.test",
    ];
    check(&[], &all);
    check(&["--hits"], &all[3..5]);
    check(&["--client", "127.1.0.5"], &all[2..4]);
    check(&["--agency", "province"], &all[4..]);
    check(&["--name", "evil.example.test"], &all[3..5]);
    check(&["--action", "sinkhole", "--feed", "authority"], &all[3..5]);
    check(&["--rcode", "NXDOMAIN", "--type", "A"], &all[..1]);
    check(&["--type", "AAAA"], &[]);
    check(&["--family", "emotet"], &[]);
    let hit = house.log(&["--name", "www.evil.example.test"]).remove(0);
    let time = hit.time().to_string();
    check(&["--around", &time, "--within", "1h"], &all);
    check(&["--around", "2001-01-01T00:00:00Z"], &[]);

    // Page by page.
    let page = house.run("log", &["--format", "jsonl", "--limit", "4"]).well();
    let place = page.stderr.split("--after ").nth(1).unwrap().trim().to_owned();
    assert_eq!(Record::read_all(&page.stdout).len(), 4);
    check(&["--limit", "4", "--after", &place], &all[4..]);

    let count = |arguments: &[&str]| {
        let arguments = [arguments, &["--format", "jsonl"]].concat();
        house.run("log count", &arguments).well().stdout
    };
    assert_eq!(count(&[]), "{\"count\":6}\n");
    assert_eq!(count(&["--hits"]), "{\"count\":2}\n");
    assert_eq!(
        count(&["--by", "agency"]),
        "{\"agency\":\"so-y-te\",\"count\":4}\n{\"agency\":\"province\",\"count\":2}\n"
    );
    let top = house.run("log top", &["--by", "client", "--limit", "1", "--format", "csv"]).well().stdout;
    assert_eq!(top, "client,count\r\n127.0.0.1,2\r\n");
    let gaps = house.run("log gaps", &[]).well().stdout;
    assert_eq!(gaps.lines().count(), 1, "{gaps}");

    // Looks at one client leave their trace, others leave none.
    let traces = house.read("data/audit.jsonl");
    assert_eq!(traces.lines().count(), 1, "{traces}");
    let trace: serde_json::Value = serde_json::from_str(traces.trim()).unwrap();
    assert_eq!((trace["action"].as_str(), trace["client"].as_str()), (Some("log"), Some("127.1.0.5")));
}

#[test]
fn a_look_at_a_client_that_cannot_be_recorded_shows_nothing() {
    let house = archived(&[("127.0.0.1", "www.example.test")]);
    fs::create_dir(house.path().join("data/audit.jsonl")).unwrap();
    let refused = house.run("log", &["--client", "127.0.0.1", "--format", "jsonl"]);
    assert_eq!((refused.code(), refused.stdout.as_str()), (1, ""));
    assert!(refused.stderr.contains("audit.jsonl"), "{}", refused.stderr);
    assert_eq!(house.log(&[]).len(), 1);
}

#[test]
fn a_hunt_finds_names_subtrees_addresses_and_networks() {
    let house = archived(&[
        ("127.0.0.1", "www.example.test"),
        ("127.1.0.5", "a.b.evil.example.test"),
        ("127.1.0.6", "nothing.example.test"),
    ]);
    let check = |list: &str, expected: &[&str]| {
        house.write("list.txt", list);
        let found = house.run("hunt", &["--names", "list.txt", "--format", "jsonl"]).well();
        let records = Record::read_all(&found.stdout);
        let names: Vec<_> = records.iter().map(|record| record.text("qname")).collect();
        assert_eq!(names, expected, "{list:?}: {}", found.stderr);
    };
    check("evil.example.test\nno.such.test\n", &["a.b.evil.example.test"]);
    check("b.example.test\n", &[]);
    check("example.test\n", &["nothing.example.test", "a.b.evil.example.test", "www.example.test"]);
    check("10.10.10.10\n", &["a.b.evil.example.test"]);
    check("10.10.0.0/16\nnothing.example.test\n", &["nothing.example.test", "a.b.evil.example.test"]);
    // Of a URL the host, and nothing below it.
    check("hxxps://www[.]example[.]test/a.php?b=c\n", &["www.example.test"]);
    check("http://evil.example.test:8080/x\n", &[]);
    check("https://10.10.10.10/x\nhttp://b.evil.example.test/\n", &["a.b.evil.example.test"]);
    let urls = house.run("hunt", &["--names", "list.txt"]).well().stderr;
    assert!(urls.contains("of 2 URLs the host alone is looked for"), "{urls}");
    let empty = house.run("hunt", &["--names", "-"]);
    assert!(empty.code() == 1 && empty.stderr.contains("nothing to look for"), "{}", empty.stderr);
    let many: String = (0..20_000).map(|n| format!("n{n}.filler.test\n")).collect();
    check(&many, &[]);
    check(&(many + "www.example.test\n"), &["www.example.test"]);
    house.write("list.txt", "evil.example.test\n10.10.0.0/16\n");
    let summary = |format: &str| {
        let arguments = ["--names", "list.txt", "--summary", "--format", format];
        house.run("hunt", &arguments).well().stdout
    };
    let sums: Vec<serde_json::Value> =
        summary("jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(sums.len(), 2, "{sums:?}");
    for sum in &sums {
        assert_eq!((sum["client"].as_str(), sum["count"].as_u64()), (Some("127.1.0.5"), Some(1)));
        assert_eq!(sum["agency"].as_str(), Some("so-y-te"));
    }
    assert_eq!(summary("csv").lines().filter(|line| line.contains(",127.1.0.5,so-y-te,")).count(), 2);
    assert_eq!(summary("table").lines().filter(|line| line.contains(" 127.1.0.5 ")).count(), 2);
    let refused = house.run("hunt", &["--names", "list.txt", "--summary", "--format", "ocsf"]);
    assert_eq!((refused.code(), refused.stdout.as_str()), (1, ""));
    house.write("list.txt", "# nothing\n");
    let nothing = house.run("hunt", &["--names", "list.txt"]);
    assert_eq!(nothing.code(), 1);
}

#[test]
fn what_a_new_list_has_is_sought_in_the_past() {
    let server = Setup::new(nsd::address()).feed("authority", "evil.example.test\n").more(ARCHIVING).serve();
    for name in ["www.later.example.test", "www.example.test", "evil.example.test", "www.last.example.test"] {
        server.dig().ask(name, "A");
    }
    let hits = |server: &Server, count: usize| {
        let begun = Instant::now();
        loop {
            let hits = server.log(&["--hits"]);
            if hits.len() >= count {
                break hits;
            }
            assert!(begun.elapsed() < PATIENCE, "nothing found: {}", server.stderr().text());
            thread::sleep(Duration::from_millis(20));
        }
    };
    server.house().write("authority.txt", "evil.example.test\nlater.example.test\n");
    server.reload().well();
    let found = hits(&server, 2);
    let find = found.iter().find(|hit| hit.flag("before_listed")).unwrap();
    find.assert(&[("qname", "www.later.example.test"), ("action", "forward"), ("feed", "authority")]);
    assert_eq!(found.len(), 2, "{found:?}");
    // The query is there once, as it was answered.
    assert_eq!(server.log(&[]).len(), 4);
    assert!(!server.record_of("www.later.example.test").flag("hit"));

    // A feed that comes with a start.
    let house = server.stop(Signal::TERM).house;
    house.write("second.txt", "last.example.test\n");
    let config = fs::read_to_string(house.path().join(CONFIG)).unwrap();
    house.write(CONFIG, &(config + "\n[[feed]]\nname = \"second\"\nsource = \"second.txt\"\n"));
    let server = house.serve();
    let found = hits(&server, 3);
    assert_eq!(found.len(), 3, "{found:?}");
    let find = found.iter().find(|hit| hit.text("feed") == "second").unwrap();
    find.assert(&[("qname", "www.last.example.test"), ("action", "forward")]);
    assert!(find.flag("before_listed"));
}

#[test]
fn follow_prints_what_comes() {
    use std::process::Stdio;

    use crate::harness::{Lines, spawn};
    let server = Setup::new(nsd::address()).serve();
    server.dig().ask("www.example.test", "A");
    let mut command = server.house().command(&["log", "--config", CONFIG, "--follow", "--format", "csv"]);
    let mut follower = spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()));
    let lines = Lines::follow(follower.stdout.take().unwrap());
    assert!(lines.wait(PATIENCE, |line| line.contains(",www.example.test,")).is_some());
    for name in ["one.example.test", "two.example.test"] {
        server.dig().ask(name, "A");
        assert!(lines.wait(PATIENCE, |line| line.contains(&format!(",{name},"))).is_some(), "{name}");
    }
    follower.kill().unwrap();
    follower.wait().unwrap();
    let text = lines.text();
    assert_eq!(text.lines().filter(|line| line.contains("example.test")).count(), 3, "{text}");
}

/// Asks one name after the other until the server is dead; returns those that were answered.
fn ask_until_it_dies(
    dns: SocketAddr,
    round: usize,
    client: usize,
    is_dead: &AtomicBool,
    answered: &AtomicUsize,
) -> Vec<String> {
    let udp = Udp::to(dns).wait_at_most(Duration::from_millis(100));
    let mut names = Vec::new();
    for number in 0.. {
        if is_dead.load(Ordering::Acquire) {
            break;
        }
        let parent = if number % 2 == 0 { "evil.example.test" } else { "example.test" };
        let qname = format!("r{round}-c{client}-n{number}.{parent}");
        if udp.answer_to(&Query::new(&qname, wire::A).bytes()).is_ok() {
            names.push(qname);
            answered.fetch_add(1, Ordering::Relaxed);
        }
    }
    names
}

/// A hundred kills in all; of four houses at once, so that none waits for another's start.
#[test]
fn kill_9_while_archiving_loses_and_doubles_nothing() {
    let (answered, recorded) = thread::scope(|scope| {
        let houses = [0, 1, 2, 3].map(|number| scope.spawn(move || kill_in_rounds(number)));
        let (mut answered, mut recorded) = (HashSet::new(), HashSet::new());
        for house in houses {
            let (one, other) = house.join().unwrap();
            answered.extend(one);
            recorded.extend(other);
        }
        (answered, recorded)
    });
    let missing: Vec<_> = answered.difference(&recorded).collect();
    assert!(missing.is_empty(), "{} of {} have no record: {missing:?}", missing.len(), answered.len());
}

/// Returns the names that were answered, and those that are recorded.
fn kill_in_rounds(number: usize) -> (HashSet<String>, HashSet<String>) {
    const ROUNDS: usize = 25;
    // An address of its own: the port of a killed server may be another's the next moment.
    let setup = Setup::new(nsd::address()).listen(&format!("127.0.77.{}:0", number + 1));
    let mut house = setup.feed("authority", "evil.example.test\n").more(ARCHIVING).lay();
    let mut answered = HashSet::new();
    for round in 0..ROUNDS {
        // It archives what the killed one left while it is asked, and is killed meanwhile.
        let server = house.serve();
        let (dns, is_dead, count) = (server.dns, AtomicBool::new(false), AtomicUsize::new(0));
        // Not the same in two runs; the answers, not the clock, say when.
        let moment = (std::process::id() as usize).wrapping_mul(7919 * (number * ROUNDS + round + 1)) % 400;
        house = thread::scope(|scope| {
            let (is_dead, count) = (&is_dead, &count);
            let ask = |client| {
                scope.spawn(move || ask_until_it_dies(dns, number * ROUNDS + round, client, is_dead, count))
            };
            let clients = [0, 1].map(ask);
            let begun = Instant::now();
            while count.load(Ordering::Relaxed) < moment && begun.elapsed() < PATIENCE {
                thread::yield_now();
            }
            let house = server.stop(Signal::KILL).house;
            is_dead.store(true, Ordering::Release);
            for client in clients {
                answered.extend(client.join().unwrap());
            }
            house
        });
    }
    let left = segments(&house);
    let check = |house: &House| {
        let records = house.log(&[]);
        let mut recorded = HashSet::new();
        for record in &records {
            assert!(recorded.insert(record.text("qname").to_owned()), "twice: {record:?}");
        }
        let hits = records.iter().filter(|record| record.flag("hit")).count();
        assert_eq!(house.log(&["--hits"]).len(), hits);
        let counted = house.run("log count", &["--format", "jsonl"]).well().stdout;
        assert_eq!(counted, format!("{{\"count\":{}}}\n", records.len()), "roll-ups count each once");
        let hits_counted = house.run("log count", &["--hits", "--format", "jsonl"]).well().stdout;
        assert_eq!(hits_counted, format!("{{\"count\":{hits}}}\n"));
        recorded
    };
    let recorded = check(&house);
    let server = house.serve();
    wait_until_archived(&server, &left);
    let house = server.stop(Signal::TERM).house;
    assert_eq!(check(&house), recorded);
    assert!(files(&house, "parquet") > 0);
    (answered, recorded)
}
