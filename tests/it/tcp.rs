//! TCP: each answer as it is ready, and nobody's connection holds up another's (RFC 7766).

use std::io::ErrorKind;
use std::thread;
use std::time::Instant;

use crate::harness::house::Setup;
use crate::harness::scripted::{Door, Scripted};
use crate::harness::server::Server;
use crate::harness::wire::{self, Query, Tcp};
use crate::harness::{PATIENCE, nsd};

/// Whether a new connection from 127.0.0.1 gets an answer; `None` when it is closed instead.
fn connect(server: &Server) -> Option<Tcp> {
    let mut tcp = Tcp::to(server.dns);
    // The server may have closed already.
    let _ = tcp.send_raw(&wire::framed(&Query::new("evil.example", wire::A).bytes()));
    tcp.receive().is_ok().then_some(tcp)
}

#[track_caller]
fn assert_closed(mut tcp: Tcp) {
    let error = tcp.receive().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{error}");
}

#[test]
fn a_pipelined_query_does_not_wait_for_the_one_before() {
    let door = Door::default();
    let at_door = door.clone();
    let upstream = Scripted::answering(move |query| {
        if query.qname().starts_with("slow") {
            at_door.wait();
        }
        query.answer_a([192, 0, 2, 7])
    });
    let server = Setup::new(upstream.address).feed("authority", "evil.example\n").serve();
    let mut tcp = Tcp::to(server.dns);
    let queries = [("slow.test", 1), ("fast.test", 2), ("evil.example", 3)];
    // In one segment, as stubs do that have several to ask.
    let frames = queries.map(|(qname, id)| wire::framed(&Query::new(qname, wire::A).id(id).bytes()));
    tcp.send_raw(&frames.concat()).unwrap();
    let mut receive = || wire::decode(&tcp.receive().unwrap()).metadata.id;
    let mut first = [receive(), receive()];
    first.sort_unstable();
    assert_eq!(first, [2, 3]);
    door.open();
    assert_eq!(receive(), 1);
}

#[test]
fn a_connection_without_a_whole_query_is_closed() {
    let server = Setup::new(nsd::address())
        .feed("authority", "evil.example\n")
        .more("[limits]\ntcp_idle = \"300ms\"\n")
        .serve();
    // Nothing at all, half a length, half a query, and nothing more after a query.
    let query = wire::framed(&Query::new("evil.example", wire::A).bytes());
    for octets in [&[][..], &query[..1], &query[..20]] {
        let mut tcp = Tcp::to(server.dns);
        tcp.send_raw(octets).unwrap();
        assert_closed(tcp);
    }
    let mut tcp = Tcp::to(server.dns);
    tcp.send_raw(&query).unwrap();
    assert_eq!(wire::decode(&tcp.receive().unwrap()).answers.len(), 1);
    assert_closed(tcp);
}

#[test]
fn connections_are_capped_in_all_and_a_client() {
    let server = Setup::new(nsd::address())
        .feed("authority", "evil.example\n")
        .more("[limits]\ntcp_connections = 3\ntcp_per_client = 2\n")
        .serve();
    let (first, second) = (connect(&server).unwrap(), connect(&server).unwrap());
    assert!(connect(&server).is_none(), "one too many of a client");
    let other = || server.dig().from("127.0.0.2").with("+tcp");
    assert_eq!(other().ask("evil.example", "A").answer.len(), 1, "which is not another client's");
    drop(first);
    // The server hears of it in its own time.
    let begun = Instant::now();
    let third = std::iter::repeat_with(|| connect(&server)).find_map(|tcp| {
        assert!(begun.elapsed() < PATIENCE, "no place is free again");
        tcp
    });
    drop((second, third));
}

#[test]
fn a_client_that_does_not_read_holds_up_nobody() {
    let server = Setup::new(nsd::address()).more("[limits]\ntcp_idle = \"2s\"\n").serve();
    let mut tcp = Tcp::to(server.dns);
    let query = wire::framed(&Query::new("huge.example.test", wire::TXT).bytes());
    let writing = thread::spawn(move || {
        // Until the answers fill all buffers, and the server has waited long enough.
        std::iter::repeat_with(|| tcp.send_raw(&query)).find_map(Result::err)
    });
    while !writing.is_finished() {
        let reply = server.dig().with("+tcp").ask("www.example.test", "A");
        assert_eq!(reply.rdata("A"), ["192.0.2.80"], "{}", reply.raw);
    }
    let error = writing.join().unwrap().unwrap();
    assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
}
