//! A server that is told to stop finishes what it has begun, and says that all went well.

use std::time::Duration;

use rustix::process::Signal;

use crate::harness::house::Setup;
use crate::harness::nsd;
use crate::harness::scripted::{Door, Scripted};
use crate::harness::wire::{self, Query, Tcp, Udp};

#[test]
fn at_once_when_nobody_waits() {
    for signal in [Signal::INT, Signal::TERM] {
        let server = Setup::new(nsd::address())
            .sinkhole("ipv4 = \"127.0.0.1\"\nipv6 = \"::1\"\nhttp_listen = [\"127.0.0.1:0\"]\n")
            .feed("authority", "evil.example\n")
            .serve();
        server.dig().ask("evil.example", "A");
        // Clients that are connected, and say nothing, hold up nothing.
        let _idle = Tcp::to(server.dns);
        let _idle_http = std::net::TcpStream::connect(server.http.unwrap()).unwrap();
        let stopped = server.stop(signal);
        assert_eq!(stopped.status.code(), Some(0), "{signal:?}: {}", stopped.stderr);
        assert!(stopped.took < Duration::from_secs(5), "{signal:?}: {:?}", stopped.took);
        assert!(!stopped.stderr.contains("panicked"), "{}", stopped.stderr);
        assert_eq!(stopped.house.log(&[]).len(), 1);
    }
}

#[test]
fn queries_in_flight_are_answered() {
    let door = Door::default();
    let at_door = door.clone();
    let upstream = Scripted::answering(move |query| {
        at_door.wait();
        query.answer_a([192, 0, 2, 7])
    });
    let server = Setup::new(upstream.address).serve();
    let udp = Udp::to(server.dns);
    udp.send(&Query::new("one.test", wire::A).bytes());
    let mut tcp = Tcp::to(server.dns);
    tcp.send(&Query::new("two.test", wire::A).bytes());
    upstream.wait_seen(2);

    server.signal(Signal::TERM);
    door.open();
    for answer in [udp.receive(), tcp.receive()] {
        let message = wire::decode(&answer.expect("what was asked before the signal is answered"));
        assert_eq!(message.answers.len(), 1, "{message}");
    }
    // A second signal while it stops changes nothing.
    let stopped = server.stop(Signal::TERM);
    assert_eq!(stopped.status.code(), Some(0), "{}", stopped.stderr);
    assert_eq!(stopped.house.log(&[]).len(), 2, "and recorded");
}

#[test]
fn a_dead_upstream_does_not_hold_it_up() {
    let upstream = Scripted::silent();
    let server = Setup::new(upstream.address).serve();
    let udp = Udp::to(server.dns);
    udp.send(&Query::new("one.test", wire::A).bytes());
    upstream.wait_seen(1);
    let stopped = server.stop(Signal::INT);
    assert_eq!(stopped.status.code(), Some(0), "{}", stopped.stderr);
    assert!(stopped.took < Duration::from_secs(10), "{:?}", stopped.took);
}
