//! Whatever a packet holds, the server answers FORMERR, the error that fits, or nothing; and goes on.

use std::io;
use std::time::Duration;

use hickory_proto::op::{OpCode, ResponseCode};

use crate::harness::house::Setup;
use crate::harness::nsd;
use crate::harness::server::Server;
use crate::harness::wire::{self, Query, Tcp, Udp};

fn serve() -> Server {
    Setup::new(nsd::address()).feed("authority", "evil.example\n").serve()
}

/// A listed name is answered by the worker that took the packet before it: when this is the next
/// answer, the packet before got none.
fn sentinel() -> Query {
    Query::new("evil.example", wire::A).id(0xbeef)
}

/// The answer to `packet`; `None` for silence.
#[track_caller]
fn answer(server: &Server, packet: &[u8]) -> Option<Vec<u8>> {
    let udp = Udp::to(server.dns);
    udp.send(packet);
    let first = udp.ask(&sentinel().bytes()).expect("the server still answers");
    if first.starts_with(&sentinel().id.to_be_bytes()) {
        return None;
    }
    let second = udp.receive().expect("the server still answers");
    assert!(second.starts_with(&sentinel().id.to_be_bytes()), "two answers to {packet:02x?}");
    Some(first)
}

#[track_caller]
fn check_silence(server: &Server, packet: &[u8]) {
    let got = answer(server, packet);
    assert!(got.is_none(), "{packet:02x?} got {got:02x?}");
}

#[track_caller]
fn check_rcode(server: &Server, packet: &[u8], expected: ResponseCode) {
    let got = answer(server, packet).unwrap_or_else(|| panic!("no answer to {packet:02x?}"));
    let message = wire::decode(&got);
    assert_eq!(got[..2], packet[..2], "the id");
    assert_eq!(wire::rcode(&message), expected, "{packet:02x?} got {message}");
    assert!(message.answers.is_empty() && message.authorities.is_empty(), "{message}");
}

#[track_caller]
fn check_formerr(server: &Server, packet: &[u8]) {
    check_rcode(server, packet, ResponseCode::FormErr);
}

/// A query whose question section is these octets.
fn with_question(question: &[u8]) -> Vec<u8> {
    [&wire::header(0x1dea, wire::RD, [1, 0, 0, 0]), question].concat()
}

#[test]
fn less_than_a_header_is_dropped() {
    let mut server = serve();
    let query = sentinel().id(1).bytes();
    for len in 0..12 {
        check_silence(&server, &query[..len]);
    }
    server.assert_well();
}

#[test]
fn a_response_is_dropped() {
    let mut server = serve();
    for opcode in 0..16 {
        check_silence(&server, &sentinel().id(1).flags(wire::QR | opcode << 11).bytes());
    }
    // Two servers that answer each other's errors would never end.
    check_silence(&server, &wire::header(1, wire::QR | 1, [0; 4]));
    server.assert_well();
}

#[test]
fn a_question_section_other_than_one() {
    let mut server = serve();
    let question = &sentinel().bytes()[12..];
    let counted = |count: u16, bytes: &[u8]| [&wire::header(1, wire::RD, [count, 0, 0, 0]), bytes].concat();
    check_formerr(&server, &counted(0, &[]));
    check_formerr(&server, &counted(2, &question.repeat(2)));
    // A count that makes a careless parser reserve megabytes.
    check_formerr(&server, &counted(0xffff, question));
    check_formerr(&server, &counted(1, &[]));
    server.assert_well();
}

#[test]
fn names_that_are_none() {
    let mut server = serve();
    let tail = [0, 1, 0, 1];
    let question = |name: &[u8]| with_question(&[name, &tail].concat());
    // A pointer to itself, to its own start behind a label, to the header, and forward.
    check_formerr(&server, &question(&[0xc0, 12]));
    check_formerr(&server, &question(&[1, b'a', 0xc0, 12]));
    check_formerr(&server, &question(&[0xc0, 0]));
    check_formerr(&server, &question(&[0xc0, 0xff]));
    // Label types that nobody uses (RFC 6891, section 5).
    check_formerr(&server, &question(&[0x41, 0, 0]));
    check_formerr(&server, &question(&[0x80, 0, 0]));
    // A label that runs past the end of the message.
    check_formerr(&server, &with_question(&[63, b'a']));
    // No root label.
    check_formerr(&server, &with_question(&[1, b'a']));
    // Too long: 256 octets of labels and the root.
    check_formerr(&server, &question(&[[1, b'a'].repeat(128), vec![0]].concat()));
    // QTYPE or QCLASS cut off.
    check_formerr(&server, &with_question(b"\x01a\x00"));
    check_formerr(&server, &with_question(b"\x01a\x00\x00\x01\x00"));

    // The longest name there is, is one.
    let longest = Query { qname: [[1, b'a'].repeat(127), vec![0]].concat(), ..Query::new("", wire::A) };
    let message = wire::decode(&server.ask(&longest));
    assert_ne!(wire::rcode(&message), ResponseCode::FormErr);
    server.assert_well();
}

#[test]
fn the_additional_section() {
    let mut server = serve();
    let with_additional = |count: u16, bytes: &[u8]| {
        let question = &sentinel().bytes()[12..];
        [&wire::header(1, wire::RD, [1, 0, 0, count]), question, bytes].concat()
    };
    let opt = wire::opt(1232, 0, &[]);
    // Two OPTs (RFC 6891, section 6.1.1).
    check_formerr(&server, &with_additional(2, &opt.repeat(2)));
    // One whose owner is not the root.
    let owned = wire::record(&wire::name("a"), wire::OPT, 1232, 0, &[]);
    check_formerr(&server, &with_additional(1, &owned));
    // One that is announced and not there, or only in part.
    check_formerr(&server, &with_additional(1, &[]));
    check_formerr(&server, &with_additional(1, &opt[..8]));
    // An option that is longer than its record.
    let overlong = wire::record(&[0], wire::OPT, 1232, 0, &[0, 10, 0, 9, 1]);
    check_formerr(&server, &with_additional(1, &overlong));
    server.assert_well();
}

#[test]
fn octets_behind_the_message() {
    let mut server = serve();
    let packet = [sentinel().id(1).bytes(), vec![0xab; 20]].concat();
    let got = answer(&server, &packet).expect("an answer or FORMERR");
    let rcode = wire::rcode(&wire::decode(&got));
    assert!([ResponseCode::NoError, ResponseCode::FormErr].contains(&rcode), "{rcode}");
    server.assert_well();
}

#[test]
fn opcodes_that_we_do_not_serve() {
    let mut server = serve();
    // IQUERY, STATUS, unassigned, NOTIFY, UPDATE, DSO and another unassigned.
    for opcode in [1, 2, 3, 4, 5, 6, 15] {
        let packet = sentinel().id(1).flags(opcode << 11).bytes();
        check_rcode(&server, &packet, ResponseCode::NotImp);
        let got = answer(&server, &packet).unwrap();
        assert_eq!(got[2] >> 3 & 15, u8::try_from(opcode).unwrap(), "the opcode comes back");
        assert_ne!(got[2] & 0x80, 0, "as a response");
    }
    server.assert_well();
}

#[test]
fn classes_that_we_do_not_serve() {
    let mut server = serve();
    for class in [wire::CH, 4, 0, 0xfffe] {
        let packet = Query::new("version.bind", wire::TXT).qclass(class).bytes();
        check_rcode(&server, &packet, ResponseCode::Refused);
    }
    let packet = sentinel().id(1).qclass(wire::CH).bytes();
    check_rcode(&server, &packet, ResponseCode::Refused);
    server.assert_well();
}

#[test]
fn edns_versions_that_do_not_exist() {
    let mut server = serve();
    for version in [1, 255] {
        for qname in ["evil.example", "www.example.test"] {
            let packet = Query::new(qname, wire::A).edns(1232, version, false).bytes();
            check_rcode(&server, &packet, ResponseCode::BADVERS);
            let message = wire::decode(&answer(&server, &packet).unwrap());
            assert_eq!(message.edns.expect("BADVERS needs an OPT").version(), 0);
            assert_eq!(message.metadata.op_code, OpCode::Query);
        }
    }
    server.assert_well();
}

#[test]
fn over_tcp() {
    let mut server = serve();
    // Each ends its connection, or is answered; the server goes on either way.
    let fates: [&[u8]; 6] =
        [&[0], &[0, 0], &[0, 5, 1, 2, 3, 4, 5], &[0xff, 0xff, 1], b"GET / HTTP/1.1\r\n\r\n", &[0, 12]];
    for octets in fates {
        let mut tcp = Tcp::to(server.dns);
        // The server may have closed already.
        let _ = tcp.send_raw(octets);
    }
    let mut tcp = Tcp::to(server.dns);
    tcp.send(&with_question(&[0xc0, 12, 0, 1, 0, 1]));
    match tcp.receive() {
        Ok(answer) => assert_eq!(wire::rcode(&wire::decode(&answer)), ResponseCode::FormErr),
        Err(error) => {
            let is_close =
                [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset].contains(&error.kind());
            assert!(is_close, "{error}");
        }
    }
    let mut tcp = Tcp::to(server.dns);
    tcp.send(&sentinel().bytes());
    assert_eq!(wire::decode(&tcp.receive().unwrap()).answers.len(), 1);
    server.assert_well();
}

#[test]
fn malformed_packets_leave_a_record() {
    let server = serve();
    check_formerr(&server, &wire::header(1, wire::RD, [0; 4]));
    let records = server.log(&[]);
    let record = records.iter().find(|record| record.text("action") == "malformed");
    let record = record.unwrap_or_else(|| panic!("{records:#?}"));
    record.assert(&[("client", "127.0.0.1"), ("rcode", "FORMERR"), ("feed", ""), ("transport", "udp")]);
}

/// xorshift64*: the same packets in every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }
}

#[test]
fn twenty_thousand_packets_of_noise() {
    let mut server = serve();
    let mut noise = Noise(0x5ac4_d115);
    let seeds = [
        sentinel().bytes(),
        Query::new("www.evil.example", wire::TXT).edns(1232, 0, true).bytes(),
        with_question(&[1, b'a', 0xc0, 12, 0, 1, 0, 1]),
    ];
    // The flood has its own port: its answers do not mix with the sentinels'.
    let flood = Udp::to(server.dns);
    let udp = Udp::to(server.dns).wait_at_most(Duration::from_secs(5));
    for number in 0..20_000 {
        let packet: Vec<u8> = if number % 2 == 0 {
            (0..noise.below(80)).map(|_| noise.byte()).collect()
        } else {
            let mut packet = seeds[noise.below(seeds.len())].clone();
            for _ in 0..=noise.below(4) {
                let at = noise.below(packet.len());
                packet[at] = noise.byte();
            }
            packet.truncate(1 + noise.below(packet.len()));
            packet
        };
        flood.send(&packet);
        if number % 100 == 99 {
            // Keeps the flood within the socket's buffer, so that each packet is really looked at;
            // a sentinel itself may fall to a full buffer once.
            let query = sentinel().bytes();
            let answer = udp.ask(&query).or_else(|_| udp.ask(&query)).expect("the server still answers");
            assert_eq!(wire::decode(&answer).answers.len(), 1);
        }
    }
    server.assert_well();
}
