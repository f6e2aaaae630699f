//! One client's flood is its own: it is told to wait, and the others do not notice.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use hickory_proto::op::Message;

use crate::harness::house::Setup;
use crate::harness::record::Record;
use crate::harness::scripted::{Scripted, Step};
use crate::harness::server::Server;
use crate::harness::wire::{self, Query};
use crate::harness::{PATIENCE, nsd};

#[test]
fn a_client_that_asks_too_fast_is_sent_to_tcp_and_refused_there() {
    let server = Setup::new(nsd::address())
        .feed("authority", "evil.example\n")
        .feed_as("garden", "cname:www.example.test.", "alias.example\n")
        .more("[limits]\nclient_qps = 1\nexempt = [\"127.0.0.53/32\"]\n")
        .serve();
    let ask = |client: &str, option: &str| {
        server.dig().from(client).with(option).with("+ignore").ask("www.example.test", "A")
    };
    // The first of a second is answered; that all four come within one is not for a test to demand.
    let replies: Vec<_> = (0..4).map(|_| ask("127.0.0.1", "+notcp")).collect();
    assert_eq!(replies[0].rdata("A"), ["192.0.2.80"], "{}", replies[0].raw);
    let limited = replies.iter().filter(|reply| reply.has_flag("tc") && reply.answer.is_empty()).count();
    assert!(limited > 0);
    // The TCP queries of the same second count too.
    let refused = (0..4).map(|_| ask("127.0.0.1", "+tcp")).find(|reply| reply.status == "REFUSED").unwrap();
    assert_eq!(refused.ede_code(), Some(18), "{}", refused.raw);
    assert!(server.log(&[]).iter().any(|record| record.text("action") == "limited"));

    for _ in 0..4 {
        assert_eq!(
            ask("127.0.0.53", "+notcp").rdata("A"),
            ["192.0.2.80"],
            "an agency's DNS server is exempt"
        );
        let hit = server.dig().ask("evil.example", "A");
        assert_eq!(hit.answer.len(), 1, "a hit is never limited: {}", hit.raw);
        let alias = server.dig().ask("alias.example", "A");
        assert_eq!(alias.rdata("A"), ["192.0.2.80"], "nor is one that leads elsewhere: {}", alias.raw);
    }
    assert_eq!(server.log(&["--hits"]).len(), 8);
}

#[test]
fn the_clients_of_a_network_are_counted_together() {
    let server =
        Setup::new(nsd::address()).more("[limits]\nprefix_qps = 1\nexempt = [\"127.0.0.53/32\"]\n").serve();
    let is_limited = |client: &str, transport: &str| {
        let reply = server.dig().from(client).with(transport).ask("www.example.test", "A");
        reply.answer.is_empty() && (reply.has_flag("tc") || reply.status == "REFUSED")
    };
    assert!(!is_limited("127.0.0.1", "+notcp"));
    // Ten clients' first queries; that all come within one second is not for a test to demand.
    assert!((2..12).any(|client| is_limited(&format!("127.0.0.{client}"), "+notcp")));
    assert!((2..12).any(|client| is_limited(&format!("127.0.0.{client}"), "+tcp")));
    assert!(!is_limited("127.0.1.1", "+notcp"), "another network");
    for _ in 0..4 {
        assert!(!is_limited("127.0.0.53", "+notcp"), "an agency's DNS server is exempt");
    }
}

#[test]
fn a_flood_of_misses_leaves_room_for_the_others() {
    let upstream = Scripted::start(|query| match query.qname().starts_with("flood") {
        true => Vec::new(),
        false => vec![Step::Send(query.answer_a([192, 0, 2, 7]))],
    });
    let server =
        Setup::new(upstream.address).more("[limits]\npending = 20\npending_per_client = 10\n").serve();
    let flood = wire::Udp::to(server.dns).wait_at_most(PATIENCE);
    for n in 0..100u16 {
        flood.send(&Query::new(&format!("flood{n}.example.test"), wire::A).id(n).bytes());
    }
    // Ninety are told at once that they are too many; ten wait for the upstream.
    let told: Vec<_> = (0..90).map(|_| wire::decode(&flood.receive().unwrap())).collect();
    assert!(told.iter().all(|reply| u16::from(wire::rcode(reply)) == 2));
    for n in 0..20 {
        let reply = server.dig().from("127.0.0.2").ask(&format!("www{n}.example.test"), "A");
        assert_eq!(reply.rdata("A"), ["192.0.2.7"], "{}", reply.raw);
    }
    for _ in 0..10 {
        flood.receive().unwrap();
    }
    assert_eq!(server.log(&["--client", "127.0.0.1"]).len(), 100, "each has its record");
}

#[test]
fn a_flood_of_misses_that_goes_on_does_not_slow_the_others() {
    let upstream = Scripted::start(|query| match query.qname().starts_with("flood") {
        true => Vec::new(),
        false => vec![Step::Send(query.answer_a([192, 0, 2, 7]))],
    });
    let server =
        Setup::new(upstream.address).more("[limits]\npending = 20\npending_per_client = 10\n").serve();
    let is_over = AtomicBool::new(false);
    let (flooded, replies) = thread::scope(|scope| {
        let flood = scope.spawn(|| {
            let udp = wire::Udp::to(server.dns);
            let ask = |n: u32| udp.ask(&Query::new(&format!("flood{n}.example.test"), wire::A).bytes());
            // Ten wait for the upstream, so each more is answered as soon as it comes.
            (0..10).for_each(|n| udp.send(&Query::new(&format!("flood-{n}.test"), wire::A).bytes()));
            (0..).take_while(|&n| !is_over.load(Ordering::Relaxed) && ask(n).is_ok()).count()
        });
        upstream.wait_seen(10);
        let ask = |n: u32| server.dig().from("127.0.0.2").ask(&format!("www{n}.example.test"), "A");
        let replies: Vec<_> = (0..50).map(ask).collect();
        // Judged only when the flood has ended: a scope waits for its threads before it fails.
        is_over.store(true, Ordering::Relaxed);
        (flood.join().unwrap(), replies)
    });
    for reply in replies {
        assert_eq!(reply.rdata("A"), ["192.0.2.7"], "{}", reply.raw);
    }
    assert!(flooded > 0, "no flood");
    let slowest = server.log(&["--client", "127.0.0.2"]).iter().map(latency).max().unwrap();
    // Far below the four seconds that the flood's own queries wait.
    assert!(slowest < Duration::from_secs(2), "{slowest:?} besides {flooded} queries of the flood");
}

fn latency(record: &Record) -> Duration {
    Duration::from_micros(record.0["latency_us"].as_u64().unwrap())
}

/// Asks for `qname` again and again without waiting, then for another name, which is of no flood.
/// Gives the replies in between.
fn flood(server: &Server, qname: &str, count: u16) -> Vec<Message> {
    let udp = wire::Udp::to(server.dns);
    for id in 0..count {
        udp.send(&Query::new(qname, wire::A).id(id).bytes());
    }
    udp.send(&Query::new(&format!("end.{qname}"), wire::A).id(0xffff).bytes());
    let mut replies = Vec::new();
    loop {
        let reply = wire::decode(&udp.receive().unwrap());
        if reply.metadata.id == 0xffff {
            return replies;
        }
        replies.push(reply);
    }
}

#[test]
fn answers_that_nobody_may_have_asked_for_are_few_and_each_query_is_recorded() {
    let server = Setup::new(nsd::address())
        .feed("authority", "evil.example\n")
        .more("[limits]\nresponses_per_second = 1\n")
        .serve();
    // What must not wait is answered in order.
    for cached in ["www.example.test", "end.www.example.test"] {
        server.dig().with("+tcp").ask(cached, "A");
    }
    for (qname, outcome) in [("evil.example", "sinkhole"), ("www.example.test", "limited")] {
        const COUNT: u16 = 200;
        let replies = flood(&server, qname, COUNT);
        let whole = replies.iter().filter(|reply| !reply.answers.is_empty()).count();
        let cut = replies.iter().filter(|reply| reply.metadata.truncation).count();
        assert_eq!(whole + cut, replies.len(), "{qname}");
        // How many seconds it takes is not for a test to demand.
        assert!((1..50).contains(&whole), "{qname}: {whole}");
        let dropped = usize::from(COUNT) - replies.len();
        assert!(cut.abs_diff(dropped) <= 1, "every second one that is too many: {qname}: {cut}, {dropped}");

        let records: Vec<_> = server
            .log(&["--name", qname, "--limit", "1000"])
            .into_iter()
            .filter(|record| record.text("qname") == qname && record.text("transport") == "udp")
            .collect();
        assert_eq!(records.len(), usize::from(COUNT), "{qname}");
        let unanswered = records.iter().filter(|record| record.text("rcode").is_empty()).count();
        assert_eq!(unanswered, dropped, "{qname}");
        let limited = records.iter().filter(|record| record.text("action") == outcome).count();
        assert!(limited >= usize::from(COUNT) - whole, "{qname}");
    }
    assert!(server.log(&["--hits", "--limit", "1000"]).len() >= 200);

    // Who has proven its address is answered.
    let ask = |option: &str, cookie: &str| {
        server.dig().with(option).with(&format!("+cookie={cookie}")).ask("evil.example", "A")
    };
    let learned = ask("+tcp", "0123456789abcdef");
    let cookie = learned.cookie().unwrap().split(' ').next().unwrap();
    for _ in 0..4 {
        for option in ["+notcp", "+tcp"] {
            let reply = ask(option, cookie);
            assert_eq!(reply.answer.len(), 1, "{}", reply.raw);
        }
    }
}

#[test]
fn an_answer_too_many_asks_for_a_cookie_where_the_client_speaks_them() {
    let server = Setup::new(nsd::address())
        .feed("authority", "evil.example\n")
        .more("[limits]\nresponses_per_second = 1\n")
        .serve();
    let udp = wire::Udp::to(server.dns);
    let mut query = Query::new("evil.example", wire::A);
    query.opt = Some(wire::opt(1232, 0, &[(10, b"a client")]));
    // Every second one that is too many gets an answer, and few come to a whole one.
    let asked: Vec<_> = (0..40).map(|id| udp.send(&query.clone().id(id).bytes())).collect();
    let challenged = asked.iter().find_map(|()| {
        let reply = wire::decode(&udp.receive().ok()?);
        (u16::from(wire::rcode(&reply)) == 23).then_some(reply)
    });
    assert!(challenged.unwrap().answers.is_empty());
}
