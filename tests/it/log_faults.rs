//! What was answered has its record, whatever happens to the process; what was not recorded is told.

use std::collections::HashSet;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, prlimit};

use crate::harness::house::{CONFIG, House, Setup};
use crate::harness::server::Server;
use crate::harness::wire::{self, Query, Udp};
use crate::harness::{Lines, PATIENCE, nsd, spawn};

/// A name of its own for each query; the even ones are listed.
fn qname(round: u32, client: usize, number: usize) -> String {
    let parent = if number.is_multiple_of(2) { "evil.example.test" } else { "example.test" };
    format!("r{round}-c{client}-n{number}.{parent}")
}

/// What one round's clients and its killer know of each other.
#[derive(Default)]
struct Round {
    number: u32,
    answered: AtomicUsize,
    is_dead: AtomicBool,
}

/// Asks over one socket, several queries on their way at once, until the server is dead and what
/// it sent has been read; returns the names that were answered.
fn ask_until_it_dies(udp: &Udp, round: &Round, client: usize) -> Vec<String> {
    const AT_ONCE: usize = 8;
    let begun = Instant::now();
    let ask = |number: usize| {
        let id = u16::try_from(number % 60_000).unwrap();
        // A refusal (ICMP) once the server is dead.
        let _ = udp.try_send(&Query::new(&qname(round.number, client, number), wire::A).id(id).bytes());
    };
    (0..AT_ONCE).for_each(ask);
    let (mut next, mut names) = (AT_ONCE, Vec::new());
    loop {
        let is_dead = round.is_dead.load(Ordering::Acquire);
        let Ok(answer) = udp.receive() else {
            if is_dead || begun.elapsed() > PATIENCE {
                return names;
            }
            continue;
        };
        let id = usize::from(u16::from_be_bytes([answer[0], answer[1]]));
        // Ids come back in any order, but never from as far as 60000 queries ago.
        let number = (0..).map(|turn| turn * 60_000 + id).find(|number| number + 30_000 > next).unwrap();
        names.push(qname(round.number, client, number));
        round.answered.fetch_add(1, Ordering::Relaxed);
        ask(next);
        next += 1;
    }
}

#[test]
fn kill_9_at_any_moment_loses_nothing_that_was_answered() {
    const ROUNDS: u32 = 10;
    const CLIENTS: usize = 4;
    let mut house = Setup::new(nsd::address()).feed("authority", "evil.example.test\n").lay();
    let mut answered = HashSet::new();
    for number in 0..ROUNDS {
        let server = house.serve();
        let dns = server.dns;
        let round = &Round { number, ..Round::default() };
        // Not the same in two runs; the answers, not the clock, say when.
        let moment = 20 + (std::process::id() as usize).wrapping_mul(7919 * (number as usize + 1)) % 2000;
        house = thread::scope(|scope| {
            let client = |client| {
                scope.spawn(move || {
                    let udp = Udp::to(dns).wait_at_most(Duration::from_millis(100));
                    ask_until_it_dies(&udp, round, client)
                })
            };
            let clients: Vec<_> = (0..CLIENTS).map(client).collect();
            let begun = Instant::now();
            while round.answered.load(Ordering::Relaxed) < moment && begun.elapsed() < PATIENCE {
                thread::yield_now();
            }
            let house = server.stop(Signal::KILL).house;
            round.is_dead.store(true, Ordering::Release);
            for client in clients {
                answered.extend(client.join().unwrap());
            }
            house
        });
    }
    assert!(answered.len() > ROUNDS as usize * 20, "{} answers", answered.len());
    let records = house.log(&[]);
    let mut recorded = HashSet::new();
    for record in &records {
        assert!(recorded.insert(record.text("qname").to_owned()), "twice: {record:?}");
    }
    let missing: Vec<_> = answered.difference(&recorded).collect();
    assert!(
        missing.is_empty(),
        "{} of {} answers have no record: {missing:?}",
        missing.len(),
        answered.len()
    );
    assert!(records.is_sorted_by(|newer, older| newer.time() >= older.time()), "newest first");
    // So with every part of the time, once a server has sealed what the killed ones left.
    let house = house.serve().stop(Signal::TERM).house;
    let middle = records[records.len() / 2].time().to_string();
    let parts = [["--since", &middle], ["--until", &middle]].map(|filter| house.log(&filter).len());
    assert_eq!(parts.iter().sum::<usize>(), records.len());
}

/// Starts a server whose writes fail, instead of ending it, once its files have reached their limit.
fn serve_without_xfsz(house: House) -> Server {
    let mut command = house.command(&["serve", "--config", CONFIG]);
    let mut shell = std::process::Command::new("sh");
    shell
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(command.get_program())
        .args(command.get_args());
    shell.current_dir(house.path()).env_remove("RUST_LOG").env("NO_COLOR", "1");
    command = shell;
    let mut child = spawn(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()));
    let lines = Lines::follow(child.stderr.take().unwrap());
    Server::follow(house, child, lines)
}

#[test]
fn a_full_disk_costs_records_and_no_answers() {
    // Both kinds of query: listed names are recorded by the workers, others by the shared journal.
    let house = Setup::new(nsd::address()).feed("authority", "evil.example.test\n").lay();
    let server = serve_without_xfsz(house);
    let udp = Udp::to(server.dns);
    let ask = |qname: &str| {
        let answer = wire::decode(&udp.ask(&Query::new(qname, wire::A).bytes()).unwrap());
        assert!(!answer.answers.is_empty() || qname.starts_with('n'), "{answer:?}");
    };
    ask("before.evil.example.test");
    ask("nbefore.example.test");

    // No file may grow beyond this, as on a full disk.
    let pid = Some(server.pid());
    let limit = getrlimit(Resource::Fsize);
    prlimit(pid, Resource::Fsize, Rlimit { current: Some(1), ..limit }).unwrap();
    let lost = 500;
    for number in 0..lost {
        ask(&if number % 2 == 0 {
            format!("lost{number}.evil.example.test")
        } else {
            format!("nlost{number}.example.test")
        });
    }
    assert!(server.stderr().wait(PATIENCE, |line| line.contains("records are being LOST")).is_some());

    prlimit(pid, Resource::Fsize, limit).unwrap();
    // Written again within two seconds, and told once it lasts.
    let begun = Instant::now();
    let mut number = 0;
    let is_told = |wait| server.stderr().wait(wait, |line| line.contains("is being written again")).is_some();
    while !is_told(Duration::from_millis(20)) {
        assert!(begun.elapsed() < PATIENCE, "not written again:\n{}", server.stderr().text());
        ask(&format!("between{number}.evil.example.test"));
        number += 1;
    }
    ask("after.evil.example.test");
    ask("nafter.example.test");

    let stopped = server.stop(Signal::TERM);
    let count = |part: &str| stopped.stderr.lines().filter(|line| line.contains(part)).count();
    assert_eq!(count("records are being LOST"), 1, "{}", stopped.stderr);
    assert_eq!(count("is being written again"), 1, "{}", stopped.stderr);
    let names: Vec<_> = stopped.house.log(&[]).iter().map(|record| record.text("qname").to_owned()).collect();
    for name in ["before.evil", "nbefore", "after.evil", "nafter"] {
        assert!(names.contains(&format!("{name}.example.test")), "{name}: {names:?}");
    }
    // What was told is what is missing.
    let asked = 4 + lost + number;
    let told = format!("lost={}", asked - names.len());
    assert!(
        stopped.stderr.lines().any(|line| line.contains("written again") && line.contains(&told)),
        "{told}:\n{}",
        stopped.stderr
    );
    assert!(names.len() < asked - 400, "{} of {asked} recorded", names.len());
}

#[test]
fn a_long_interval_neither_ends_the_log_nor_holds_up_a_stop() {
    let server = Setup::new(nsd::address())
        .feed("authority", "evil.example.test\n")
        .more("[log]\nsync = \"24h\"\nmax_size = \"64MiB\"\n")
        .serve();
    server.dig().ask("evil.example.test", "A");
    let stopped = server.stop(Signal::TERM);
    assert!(stopped.status.success() && !stopped.stderr.contains("panicked"), "{}", stopped.stderr);
    assert!(stopped.took < Duration::from_secs(10), "{:?}", stopped.took);
    assert_eq!(stopped.house.log(&[]).len(), 1);
}

/// A server whose data lie on a disk of their own, of this many MiB, in a mount namespace of its own.
fn serve_on_small_disk(house: House, size: u32) -> Server {
    let command = house.command(&["serve", "--config", CONFIG]);
    let mut unshare = std::process::Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        unshare.arg("--map-root-user");
    }
    let script =
        format!("mkdir -p data && mount -t tmpfs -o size={size}m sachdns data && exec \"$0\" \"$@\"");
    unshare.args(["--mount", "sh", "-c", &script]).arg(command.get_program()).args(command.get_args());
    unshare.current_dir(house.path()).env_remove("RUST_LOG").env("NO_COLOR", "1");
    let mut child = spawn(unshare.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()));
    let lines = Lines::follow(child.stderr.take().unwrap());
    Server::follow(house, child, lines)
}

#[test]
fn the_last_room_on_the_disk_is_for_hits() {
    let setup = Setup::new(nsd::address())
        .feed("authority", "evil.example.test\n")
        .more("[log]\nmax_size = \"64MiB\"\n");
    let server = serve_on_small_disk(setup.lay(), 20);
    let udp = Udp::to(server.dns);
    let ask = |qname: &str| udp.ask(&Query::new(qname, wire::A).bytes()).unwrap();
    let told = |part: &str| server.stderr().wait(PATIENCE, |line| line.contains(part)).is_some();
    let ask_both = |part: &str| {
        for number in 0..50 {
            ask(&format!("{part}{number}.evil.example.test"));
            ask(&format!("n{part}{number}.example.test"));
        }
    };
    let data = std::path::PathBuf::from(format!("/proc/{}/root", server.pid().as_raw_nonzero()))
        .join(server.house().path().strip_prefix("/").unwrap())
        .join("data");
    let reserve = data.join("log/reserve");
    let begun = Instant::now();
    while !reserve.exists() {
        assert!(begun.elapsed() < PATIENCE, "no room is held back");
        thread::yield_now();
    }
    ask_both("before");

    // Little is left: less than what is held back, which is 4 MiB of 64.
    fill(&data.join("filler"), 13 << 20);
    assert!(told("only hits are recorded"));
    ask_both("little");
    // Nothing is left: what is held back is given up for hits.
    fill(&data.join("more"), 24 << 20);
    for round in 0.. {
        ask_both(&format!("none{round}-"));
        if !reserve.exists() {
            break;
        }
        assert!(begun.elapsed() < 2 * PATIENCE, "the room is not given up");
    }
    ask_both("last");
    for filler in ["filler", "more"] {
        std::fs::remove_file(data.join(filler)).unwrap();
    }
    assert!(told("the disk has room again"));
    ask_both("after");

    // The disk is gone with the server.
    let command = server.house().command(&["log", "--config", CONFIG, "--format", "jsonl"]);
    let mut enter = std::process::Command::new("nsenter");
    enter.args(["--target", &server.pid().as_raw_nonzero().to_string(), "--mount", "--wd"]);
    if !rustix::process::geteuid().is_root() {
        enter.args(["--user", "--preserve-credentials"]);
    }
    let log = enter.arg(command.get_program()).args(command.get_args()).output().unwrap();
    assert!(log.status.success(), "{log:?}");
    let log = String::from_utf8(log.stdout).unwrap();
    let count = |part: &str| log.lines().filter(|line| line.contains(&format!(":\"{part}"))).count();
    for (part, others) in [("before", 50), ("little", 0), ("last", 0), ("after", 50)] {
        assert_eq!(count(part), 50, "hits, {part}");
        assert_eq!(count(&format!("n{part}")), others, "others, {part}");
    }
    let stopped = server.stop(Signal::TERM);
    assert!(stopped.stderr.contains("lost=0"), "{}", stopped.stderr);
}

#[test]
fn a_disk_that_can_only_be_read_costs_records_and_no_answers() {
    let house = Setup::new(nsd::address()).feed("authority", "evil.example.test\n").lay();
    let server = serve_on_small_disk(house, 24);
    let udp = Udp::to(server.dns);
    let ask = |qname: &str| {
        let answer = wire::decode(&udp.ask(&Query::new(qname, wire::A).bytes()).unwrap());
        assert!(!answer.answers.is_empty() || qname.starts_with('n'), "{answer:?}");
    };
    let told = |part: &str| server.stderr().wait(PATIENCE, |line| line.contains(part)).is_some();
    ask("before.evil.example.test");
    // In the server's own mount namespace: what it opens from now on lies on a disk that takes nothing.
    let pid = server.pid().as_raw_nonzero().to_string();
    let inside = |command: &[&str]| {
        let mut enter = std::process::Command::new("nsenter");
        enter.args(["--target", &pid, "--mount"]);
        if !rustix::process::geteuid().is_root() {
            enter.args(["--user", "--preserve-credentials"]);
        }
        let folder = server.house().path().join("data/log");
        let status = enter.args(command).arg(folder).status().unwrap();
        assert!(status.success(), "{command:?}");
    };
    inside(&["mount", "-t", "tmpfs", "-o", "ro", "sachdns"]);
    let begun = Instant::now();
    let mut asked = 0;
    while !server.stderr().text().contains("records are being LOST") {
        assert!(begun.elapsed() < PATIENCE, "nothing is lost:\n{}", server.stderr().text());
        for number in [asked, asked + 1] {
            ask(&format!("during{number}.evil.example.test"));
            ask(&format!("nduring{number}.example.test"));
        }
        asked += 2;
    }
    assert!(told("Read-only file system"), "{}", server.stderr().text());
    inside(&["umount"]);
    while !server.stderr().text().contains("is being written again") {
        assert!(begun.elapsed() < 2 * PATIENCE, "not written again:\n{}", server.stderr().text());
        ask("between.evil.example.test");
    }
}

/// Writes until the file is so long, or the disk is full.
fn fill(path: &std::path::Path, len: usize) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path).unwrap();
    let block = [0; 4096];
    for _ in 0..len / block.len() {
        if file.write_all(&block).is_err() {
            // The last octets too.
            while file.write_all(&[0]).is_ok() {}
            return;
        }
    }
}
