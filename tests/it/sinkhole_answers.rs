//! A listed name, and everything below it, is answered with the sinkhole; nothing beside it is.

use hickory_proto::op::{MessageType, OpCode, ResponseCode};
use hickory_proto::rr::{RData, RecordType};

use crate::harness::house::Setup;
use crate::harness::server::Server;
use crate::harness::wire::{self, Query, Tcp};
use crate::harness::{dig, nsd};

fn serve() -> Server {
    Setup::new(nsd::address()).feed("authority", "evil.example.test\nWorse.Example\n").serve()
}

fn assert_synthesised(reply: &dig::Reply) {
    assert!(reply.has_flag("qr") && reply.has_flag("ra"), "{}", reply.raw);
    assert!(!reply.has_flag("aa") && !reply.has_flag("ad") && !reply.has_flag("tc"), "{}", reply.raw);
}

#[test]
fn addresses_lead_to_the_sinkhole() {
    let server = serve();
    let check = |qname: &str, qtype: &str, expected: &str| {
        for transport in ["+notcp", "+tcp"] {
            let reply = server.dig().with(transport).with("+adflag").ask(qname, qtype);
            assert_eq!(reply.status, "NOERROR", "{}", reply.raw);
            assert_eq!(reply.rdata(qtype), [expected], "{}", reply.raw);
            assert_eq!(reply.answer.len(), 1, "{}", reply.raw);
            assert_eq!(reply.answer[0].ttl, 30, "{}", reply.raw);
            assert_eq!(reply.transport, if transport == "+tcp" { "TCP" } else { "UDP" });
            assert_synthesised(&reply);
        }
    };
    check("evil.example.test", "A", "10.10.10.10");
    check("evil.example.test", "AAAA", "fd00::10");
    check("www.evil.example.test", "A", "10.10.10.10");
    check("a.b.c.d.e.evil.example.test", "AAAA", "fd00::10");
    check("worse.example", "A", "10.10.10.10");
    check("_odd.*.evil.example.test", "A", "10.10.10.10");
}

#[test]
fn every_other_type_is_nodata() {
    let server = serve();
    for qname in ["evil.example.test", "www.evil.example.test"] {
        for qtype in ["HTTPS", "SVCB", "TXT", "MX", "NS", "SOA", "CNAME", "SRV", "DS", "TYPE65534"] {
            for transport in ["+notcp", "+tcp"] {
                let reply = server.dig().with(transport).ask(qname, qtype);
                reply.assert_nodata();
                assert_synthesised(&reply);
                assert_eq!(reply.authority[0].ttl, 30, "{}", reply.raw);
                assert_eq!(reply.ede_code(), Some(15), "{}", reply.raw);
            }
        }
    }
}

#[test]
fn names_beside_a_listed_one_are_not_hit() {
    let server = serve();
    let check = |qname: &str, expected: &str| {
        let reply = server.dig().ask(qname, "A");
        assert_eq!(reply.rdata("A"), [expected], "{}", reply.raw);
        assert_eq!(reply.ede(), None, "{}", reply.raw);
    };
    check("notevil.example.test", "192.0.2.68");
    check("evil-twin.example.test", "192.0.2.69");
    check("example.test", "192.0.2.1");
    // The upstream does not serve this one, and no rule of ours is met either.
    let elsewhere = server.dig().ask("evil.example.test.other.test", "A");
    assert!(elsewhere.answer.is_empty() && elsewhere.ede_code() != Some(15), "{}", elsewhere.raw);
}

#[test]
fn the_extended_error_comes_with_edns_only() {
    let server = serve();
    let with = server.dig().ask("evil.example.test", "A");
    assert_eq!(with.ede_code(), Some(15), "{}", with.raw);
    let without = server.dig().with("+noedns").ask("evil.example.test", "A");
    assert_eq!(without.rdata("A"), ["10.10.10.10"]);
    assert!(without.opt.is_none(), "{}", without.raw);
    let nodata = server.dig().with("+noedns").ask("evil.example.test", "TXT");
    nodata.assert_nodata();
    assert!(nodata.opt.is_none(), "{}", nodata.raw);
}

#[test]
fn the_question_comes_back_as_it_was_asked() {
    let server = serve();
    for qname in ["eViL.eXaMpLe.TeSt", "WWW.EVIL.EXAMPLE.TEST"] {
        let reply = server.dig().ask(qname, "A");
        assert_eq!(reply.question.as_ref().unwrap(), &[&format!("{qname}."), "A", "IN"]);
        assert_eq!(reply.answer[0].name, format!("{qname}."), "{}", reply.raw);
        assert_eq!(reply.rdata("A"), ["10.10.10.10"]);
    }
}

#[test]
fn another_decoder_reads_the_same() {
    let server = serve();
    for (id, edns) in [(0, false), (0xffff, true), (0x1234, true)] {
        for (qtype, rtype) in [
            (wire::A, RecordType::A),
            (wire::AAAA, RecordType::AAAA),
            (wire::MX, RecordType::MX),
            (wire::TXT, RecordType::TXT),
            (wire::SOA, RecordType::SOA),
            (wire::HTTPS, RecordType::HTTPS),
        ] {
            // Flags that a stub may set; AD asks for AD, and is still not given.
            let mut query =
                Query::new("Evil.example.test", qtype).id(id).flags(wire::RD | wire::AD | wire::CD);
            if edns {
                query = query.edns(4096, 0, true);
            }
            let message = wire::decode(&server.ask(&query));
            let head = &message.metadata;
            assert_eq!(
                (head.id, head.message_type, head.op_code),
                (id, MessageType::Response, OpCode::Query)
            );
            assert_eq!(wire::rcode(&message), ResponseCode::NoError);
            assert!(head.recursion_desired && head.recursion_available && head.checking_disabled);
            assert!(!head.authoritative && !head.authentic_data && !head.truncation);
            assert_eq!(message.queries.len(), 1);
            assert_eq!(message.queries[0].query_type(), rtype);
            match qtype {
                wire::A => {
                    let RData::A(address) = &message.answers[0].data else { panic!("{message}") };
                    assert_eq!(address.0.to_string(), "10.10.10.10");
                }
                wire::AAAA => {
                    let RData::AAAA(address) = &message.answers[0].data else { panic!("{message}") };
                    assert_eq!(address.0.to_string(), "fd00::10");
                }
                _ => {
                    assert!(message.answers.is_empty(), "{message}");
                    assert_eq!(message.authorities.len(), 1, "{message}");
                    assert!(matches!(message.authorities[0].data, RData::SOA(_)), "{message}");
                }
            }
            assert_eq!(message.edns.is_some(), edns, "{message}");
            assert_eq!(wire::ede_code(&message), edns.then_some(15), "{message}");
        }
    }
}

#[test]
fn one_connection_carries_many_questions() {
    let server = serve();
    let mut tcp = Tcp::to(server.dns);
    // All at once, listed and unlisted in turn, and the last one in pieces.
    let qname = |id: u16| if id.is_multiple_of(2) { "evil.example.test" } else { "www.example.test" };
    for id in 0..9 {
        tcp.send(&Query::new(qname(id), wire::A).id(id).bytes());
    }
    let framed = wire::framed(&Query::new(qname(9), wire::A).id(9).bytes());
    for octet in framed {
        tcp.send_raw(&[octet]).unwrap();
    }
    let mut answered: Vec<_> = (0..10)
        .map(|_| {
            let message = wire::decode(&tcp.receive().unwrap());
            let RData::A(address) = &message.answers[0].data else { panic!("{message}") };
            let expected = if message.metadata.id.is_multiple_of(2) { "10.10.10.10" } else { "192.0.2.80" };
            assert_eq!(address.0.to_string(), expected);
            message.metadata.id
        })
        .collect();
    // They may come back in any order (RFC 7766, section 7).
    answered.sort_unstable();
    assert_eq!(answered, (0..10).collect::<Vec<_>>());
}
