//! One client's flood is its own: it is told to wait, and the others do not notice.

use crate::harness::house::Setup;
use crate::harness::scripted::{Scripted, Step};
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
