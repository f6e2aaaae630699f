//! What was resolved once is answered again without asking, as it should look to each client.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::harness::house::Setup;
use crate::harness::scripted::{Scripted, Seen, Step};
use crate::harness::wire::{self, Query};
use crate::harness::{PATIENCE, nsd};

/// NOERROR with one A record of this TTL.
fn answer(query: &Seen, ttl: u32) -> Vec<u8> {
    let record = wire::record(&[0xc0, 12], wire::A, wire::IN, ttl, &[192, 0, 2, 1]);
    query.answer(wire::RA, 0, &[record], None)
}

#[test]
fn an_answer_is_asked_for_once_and_fits_each_client() {
    let upstream = Scripted::answering(|query| answer(query, 300));
    let server = Setup::new(upstream.address).serve();
    assert_eq!(server.dig().ask("www.example.test", "A").rdata("A"), ["192.0.2.1"]);
    for (option, qname) in
        [("+notcp", "WWW.eXample.test"), ("+tcp", "www.example.test"), ("+noedns", "www.example.test")]
    {
        let reply = server.dig().with(option).ask(qname, "A");
        assert_eq!(reply.rdata("A"), ["192.0.2.1"], "{}", reply.raw);
        assert!(reply.raw.contains(&format!(";{qname}.")), "the client's letter case: {}", reply.raw);
    }
    // The id of each.
    for id in [7, 8] {
        let reply = server.ask(&Query::new("www.example.test", wire::A).id(id));
        assert_eq!(reply[..2], [0, id as u8]);
    }
    assert_eq!(upstream.seen().len(), 1);
    let cached: Vec<bool> = server.log(&[]).iter().map(|record| record.flag("cached")).collect();
    assert_eq!(cached, [true, true, true, true, true, false], "newest first");
    assert_eq!(server.log(&[])[0].text("action"), "forward");
}

#[test]
fn flags_that_change_answers_are_asked_apart() {
    let upstream = Scripted::answering(|query| answer(query, 300));
    let server = Setup::new(upstream.address).serve();
    for option in ["+nodnssec", "+dnssec", "+cdflag", "+nodnssec", "+dnssec", "+cdflag"] {
        server.dig().with(option).ask("www.example.test", "A");
    }
    assert_eq!(upstream.seen().len(), 3);
}

#[test]
fn negative_answers_are_kept_by_their_soa() {
    let soa = b"\x00\x00\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03\x00\x00\x00\x04\x00\x00\x00\x3c";
    let upstream = Scripted::answering(move |query| {
        let has_soa = query.qname().starts_with("soa.");
        let mut answer = query.answer(wire::RA, 3, &[], None);
        if has_soa {
            answer[9] = 1;
            answer.extend(wire::record(&[0xc0, 12], 6, wire::IN, 300, soa));
        }
        answer
    });
    let server = Setup::new(upstream.address).serve();
    for qname in ["soa.example.test", "soa.example.test", "bare.example.test", "bare.example.test"] {
        assert_eq!(server.dig().ask(qname, "A").status, "NXDOMAIN");
    }
    let seen: Vec<String> = upstream.seen().iter().map(Seen::qname).collect();
    assert_eq!(seen.len(), 3, "{seen:?}");
}

#[test]
fn clients_who_wait_for_one_name_ask_once() {
    let is_open = Arc::new(AtomicBool::new(false));
    let door = Arc::clone(&is_open);
    let upstream = Scripted::start(move |query| {
        while !door.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        vec![Step::Send(answer(query, 300))]
    });
    let server = Setup::new(upstream.address).serve();
    let clients: Vec<wire::Udp> = (0..20).map(|_| wire::Udp::to(server.dns).wait_at_most(PATIENCE)).collect();
    for (client, id) in clients.iter().zip(0..) {
        client.send(&Query::new("www.example.test", wire::A).id(id).bytes());
    }
    upstream.wait_seen(1);
    is_open.store(true, Ordering::Release);
    for (client, id) in clients.iter().zip(0u8..) {
        let reply = client.receive().unwrap();
        assert_eq!((reply[1], wire::decode(&reply).answers.len()), (id, 1));
    }
    // A client that came after the answer found it in the cache. An upstream that is slow to answer, as
    // on a busy machine, is asked once more.
    assert!(upstream.seen().len() <= 2, "{}", upstream.seen().len());
    assert_eq!(server.log(&[]).len(), 20, "each has its record");
}

#[test]
fn past_its_time_an_answer_helps_out() {
    let is_dead = Arc::new(AtomicBool::new(false));
    let life = Arc::clone(&is_dead);
    let upstream = Scripted::start(move |query| {
        if life.load(Ordering::Acquire) { Vec::new() } else { vec![Step::Send(answer(query, 1))] }
    });
    let server = Setup::new(upstream.address).serve();
    server.dig().ask("www.example.test", "A");
    is_dead.store(true, Ordering::Release);
    // Until its second is over it comes as it was; then an upstream is asked, in vain.
    let stale = (0..10_000)
        .map(|_| server.dig().ask("www.example.test", "A"))
        .find(|reply| reply.ede_code().is_some())
        .unwrap();
    assert_eq!((stale.ede_code(), stale.rdata("A")), (Some(3), vec!["192.0.2.1"]), "{}", stale.raw);
    assert!(stale.raw.contains("\t30\tIN\tA"), "{}", stale.raw);
    // Of the next ones none waits.
    let asked = upstream.seen().len();
    assert_eq!(server.dig().ask("www.example.test", "A").ede_code(), Some(3));
    assert!(upstream.seen().len() <= asked + 1);
}

#[test]
fn where_too_many_wait_an_answer_past_its_time_helps_out() {
    let is_dead = Arc::new(AtomicBool::new(false));
    let life = Arc::clone(&is_dead);
    let upstream = Scripted::start(move |query| {
        if life.load(Ordering::Acquire) { Vec::new() } else { vec![Step::Send(answer(query, 1))] }
    });
    let server = Setup::new(upstream.address).more("[limits]\npending = 4\npending_per_client = 4\n").serve();
    server.dig().ask("www.example.test", "A");
    is_dead.store(true, Ordering::Release);
    let flood = wire::Udp::to(server.dns);
    let mut id = 0;
    // While all places are taken nobody is asked, so the stale answer comes at once; others fail at once.
    let stale = (0..10_000)
        .map(|_| {
            for _ in 0..4 {
                flood.send(&Query::new(&format!("flood{id}.example.test"), wire::A).id(id).bytes());
                id += 1;
            }
            let new = server.dig().ask(&format!("new{id}.example.test"), "A");
            (new, server.dig().ask("www.example.test", "A"))
        })
        .find(|(_, reply)| reply.ede_code().is_some());
    let (new, stale) = stale.unwrap();
    assert_eq!(new.status, "SERVFAIL", "{}", new.raw);
    assert_eq!((stale.ede_code(), stale.rdata("A")), (Some(3), vec!["192.0.2.1"]), "{}", stale.raw);
    let asked = upstream.seen().iter().filter(|query| query.qname() == "www.example.test.").count();
    assert_eq!(asked, 1, "it waited for nobody");
}

#[test]
fn real_answers_are_the_same_the_second_time() {
    let server = Setup::new(nsd::address()).serve();
    for (qname, qtype) in [
        ("www.example.test", "A"),
        ("odd.example.test", "TYPE65534"),
        ("www.example.test", "MX"),
        ("nothing.example.test", "A"),
    ] {
        for option in ["+dnssec", "+nodnssec"] {
            let ask = || server.dig().with(option).ask(qname, qtype);
            let lines = |raw: &str| {
                let body = raw.lines().skip_while(|line| !line.contains("QUESTION SECTION"));
                // But for the TTL, which may be a second less.
                let words = |line: &str| {
                    let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
                    if words.len() > 3 {
                        words.remove(1);
                    }
                    words
                };
                body.filter(|line| !line.starts_with(";;")).map(words).collect::<Vec<_>>()
            };
            let (first, second) = (ask(), ask());
            assert_eq!(lines(&first.raw), lines(&second.raw));
            assert_eq!(first.status, second.status);
        }
    }
    assert!(server.log(&[]).iter().any(|record| record.flag("cached")));
}
