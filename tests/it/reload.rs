//! A new policy goes live while queries stream in, and a broken one does not.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::process::{ChildStderr, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use hickory_proto::rr::RData;
use rustix::process::Signal;

use crate::harness::house::{CONFIG, Setup};
use crate::harness::server::Server;
use crate::harness::wire::{self, Query, Udp};
use crate::harness::{Lines, nsd, wait_until};

const SINKHOLE: &str = "10.10.10.10";
const UPSTREAM: &str = "192.0.2.70";

/// A feed in which only `flip.example.test` comes and goes.
fn feed(is_flipped: bool) -> String {
    let mut text: String = (0..20).map(|number| format!("always{number}.example\n")).collect();
    if is_flipped {
        text += "flip.example.test\n";
    }
    text
}

fn serve(is_flipped: bool) -> Server {
    Setup::new(nsd::address()).feed("authority", &feed(is_flipped)).serve()
}

/// The address in the answer to an A query; no answer, or another rcode, fails the test.
#[track_caller]
fn address(answer: &[u8]) -> String {
    let message = wire::decode(answer);
    match message.answers.as_slice() {
        [record] => match &record.data {
            RData::A(address) => address.0.to_string(),
            _ => panic!("{message}"),
        },
        _ => panic!("{message}"),
    }
}

fn flip_address(server: &Server) -> String {
    address(&server.ask(&Query::new("flip.example.test", wire::A)))
}

/// Asks without pause over one socket until told to stop; gives how many were answered.
fn stream(server: SocketAddr, is_stopping: &AtomicBool, answered: &AtomicUsize) {
    let udp = Udp::to(server).wait_at_most(Duration::from_secs(5));
    let mut id = 0u16;
    while !is_stopping.load(Ordering::Relaxed) {
        id = id.wrapping_add(1);
        let (qname, expected): (_, &[&str]) = match id % 3 {
            0 => ("always7.example", &[SINKHOLE]),
            1 => ("keep.example.test", &["192.0.2.71"]),
            _ => ("flip.example.test", &[SINKHOLE, UPSTREAM]),
        };
        let answer = udp.ask(&Query::new(qname, wire::A).id(id).bytes());
        let answer = answer.unwrap_or_else(|error| panic!("query {id} was lost: {error}"));
        assert_eq!(answer[..2], id.to_be_bytes());
        let got = address(&answer);
        assert!(expected.contains(&got.as_str()), "{qname}: {got}");
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn no_query_is_lost_and_none_sees_half_a_policy() {
    let mut server = serve(false);
    let (is_stopping, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        // Also when an assertion below fails, or the scope would wait for ever.
        struct StopOnDrop<'a>(&'a AtomicBool);
        impl Drop for StopOnDrop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let stop = StopOnDrop(&is_stopping);
        for _ in 0..4 {
            scope.spawn(|| stream(server.dns, &is_stopping, &answered));
        }
        for round in 1..=6 {
            let is_flipped = round % 2 == 1;
            server.house().write("authority.txt", &feed(is_flipped));
            server.reload().well();
            // The command has returned: the new policy is live.
            let expected = if is_flipped { SINKHOLE } else { UPSTREAM };
            assert_eq!(flip_address(&server), expected, "round {round}");
        }
        wait_until("two thousand answers", || answered.load(Ordering::Relaxed) >= 2000);
        drop(stop);
    });
    server.assert_well();
    // Each answered query has its record, whatever was reloaded meanwhile.
    let records = server.log(&[]);
    assert_eq!(records.len(), answered.load(Ordering::Relaxed) + 6);
}

#[test]
fn sighup_does_the_same() {
    let mut server = serve(false);
    assert_eq!(flip_address(&server), UPSTREAM);
    for is_flipped in [true, false, true] {
        server.house().write("authority.txt", &feed(is_flipped));
        server.signal(Signal::HUP);
        let expected = if is_flipped { SINKHOLE } else { UPSTREAM };
        wait_until("the new policy", || flip_address(&server) == expected);
    }
    server.assert_well();
}

#[test]
fn of_many_sighups_the_last_counts() {
    let mut server = serve(false);
    for round in 0..100 {
        server.house().write("authority.txt", &feed(round % 2 == 1));
        server.signal(Signal::HUP);
    }
    wait_until("the last policy", || flip_address(&server) == SINKHOLE);
    // All signals are handled once a reload that was asked for later is done.
    server.reload().well();
    assert_eq!(flip_address(&server), SINKHOLE);
    server.assert_well();
}

#[test]
fn reload_says_one_line() {
    let server = serve(false);
    let finished = server.reload().well();
    assert_eq!(finished.stdout.lines().count() + finished.stderr.lines().count(), 1, "{finished:#?}");
}

#[test]
fn settings_are_reloaded_too() {
    let server = serve(true);
    assert_eq!(flip_address(&server), SINKHOLE);
    let config = server.house().read(CONFIG);
    server.house().write(CONFIG, &config.replace("10.10.10.10", "10.10.10.11"));
    server.reload().well();
    assert_eq!(flip_address(&server), "10.10.10.11");
}

#[test]
fn a_broken_configuration_leaves_everything_as_it_was() {
    let mut server = serve(true);
    let good = server.house().read(CONFIG);
    for (broken, named) in [
        (good.replace("ttl = 30", "ttl = \"soon\""), "sinkhole.ttl"),
        (format!("{good}\n[[feed]]\nnam = \"x\"\n"), "nam"),
        ("[[[".to_owned(), CONFIG),
    ] {
        server.house().write(CONFIG, &broken);
        let finished = server.reload();
        assert_eq!(finished.code(), 1, "{finished:#?}");
        assert!(finished.stderr.contains(named), "{named}: {finished:#?}");
        assert_eq!(flip_address(&server), SINKHOLE);
        server.signal(Signal::HUP);
        assert_eq!(flip_address(&server), SINKHOLE);
    }
    server.house().write(CONFIG, &good);
    server.house().write("authority.txt", &feed(false));
    server.reload().well();
    assert_eq!(flip_address(&server), UPSTREAM);
    server.assert_well();
}

#[test]
fn a_missing_feed_keeps_its_last_good_version() {
    let mut server = serve(true);
    std::fs::remove_file(server.house().path().join("authority.txt")).unwrap();
    let finished = server.reload().well();
    assert!(finished.stdout.contains("feed authority: authority.txt: "), "{finished:#?}");
    assert_eq!(flip_address(&server), SINKHOLE);
    server.assert_well();
    // Nor does the next start need the file; what was never there is a mistake all the same.
    let house = server.stop(Signal::TERM).house;
    let server = house.serve();
    assert_eq!(flip_address(&server), SINKHOLE);
    let config = server.house().read(CONFIG);
    server.house().write(CONFIG, &format!("{config}\n[[feed]]\nname = \"other\"\nsource = \"other.txt\"\n"));
    let finished = server.reload();
    assert_eq!(finished.code(), 1, "{finished:#?}");
    assert!(finished.stderr.contains("feed.source: other.txt"), "{finished:#?}");
    assert!(!finished.stderr.contains("authority.txt"), "{finished:#?}");
}

/// Standard error of a server, read by somebody who leaves once it is ready.
struct Leaving {
    pipe: Option<ChildStderr>,
    seen: Vec<u8>,
}

impl Read for Leaving {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(pipe) = &mut self.pipe else { return Ok(0) };
        let read = pipe.read(&mut buffer[..1])?;
        self.seen.extend(&buffer[..read]);
        if self.seen.ends_with(b"ready\n") {
            self.pipe = None;
        }
        Ok(read)
    }
}

#[test]
fn nobody_needs_to_listen_to_what_it_says() {
    let house = Setup::new(nsd::address()).feed("authority", &feed(false)).lay();
    let mut command = house.command(&["serve", "--config", CONFIG]);
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = Lines::follow(Leaving { pipe: child.stderr.take(), seen: Vec::new() });
    let mut server = Server::follow(house, child, lines);
    // The public suffix is warned of.
    server.house().write("authority.txt", &(feed(true) + "co.uk\n"));
    server.reload().well();
    assert_eq!(flip_address(&server), SINKHOLE);
    server.assert_well();
}

#[test]
fn without_a_server_it_says_so() {
    let house = Setup::new(nsd::address()).lay();
    let finished = house.run("reload", &[]);
    assert_eq!(finished.code(), 1, "{finished:#?}");
    assert!(!finished.stderr.trim().is_empty());

    // A server that was killed leaves whatever the command looks for behind.
    let house = house.serve().stop(Signal::KILL).house;
    let finished = house.run("reload", &[]);
    assert_eq!(finished.code(), 1, "{finished:#?}");
}
