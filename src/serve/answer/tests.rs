//! Answers are read back by an independent codec.

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{RData, RecordType};

use super::*;

/// `Evil.Example`, RD and CD, with an OPT record (size 4096, DO) where asked for.
fn query(qtype: u16, has_edns: bool) -> Vec<u8> {
    let mut packet = b"\x12\x34\x01\x10\x00\x01\x00\x00\x00\x00\x00\x00\x04Evil\x07Example\x00".to_vec();
    packet.extend(qtype.to_be_bytes());
    packet.extend([0, 1]);
    if has_edns {
        packet[11] = 1;
        packet.extend(b"\x00\x00\x29\x10\x00\x00\x00\x80\x00\x00\x00");
    }
    packet
}

const EDE: Ede<'static> = Ede { code: Ede::BLOCKED, text: "authority" };

/// Makes an answer and reads it with the other codec, after checking what all answers share.
fn answer<T>(qtype: u16, has_edns: bool, make: impl FnOnce(&Query<'_>, &mut Vec<u8>) -> T) -> Message {
    let packet = query(qtype, has_edns);
    let mut out = Vec::new();
    make(&Query::parse(&packet).unwrap(), &mut out);
    assert!(Response::parse(&out).is_ok());
    assert_eq!(out[wire::HEADER..][..18], packet[wire::HEADER..][..18], "the question in the client's case");
    let message = Message::from_vec(&out).unwrap();
    let facts = &message.metadata;
    assert_eq!(facts.id, 0x1234);
    assert!(facts.recursion_desired && facts.recursion_available && facts.checking_disabled);
    assert!(!facts.authoritative && !facts.authentic_data);
    assert_eq!(message.edns.is_some(), has_edns);
    if let Some(edns) = &message.edns {
        assert!(edns.flags().dnssec_ok);
        assert_eq!(edns.max_payload(), PAYLOAD_SIZE);
    }
    message
}

fn ede_codes(message: &Message) -> Vec<u16> {
    let options = message.edns.as_ref().map(|edns| edns.options().options.as_slice()).unwrap_or_default();
    options
        .iter()
        .filter_map(|(_, option)| match option {
            EdnsOption::Unknown(wire::option::EDE, value) => wire::u16_at(value, 0),
            _ => None,
        })
        .collect()
}

#[test]
fn addresses_answer_their_type_and_nodata_the_others() {
    let sinkhole = [Ipv4Addr::new(10, 10, 10, 10).into(), "fd00::10".parse().unwrap()];
    for has_edns in [true, false] {
        let ede = if has_edns { vec![15] } else { vec![] };
        let make =
            |query: &Query<'_>, out: &mut Vec<u8>| addresses(Stem::at_qname(query), &sinkhole, 30, EDE, out);

        let message = answer(rtype::A, has_edns, make);
        assert_eq!(message.answers.len(), 1);
        assert_eq!(message.answers[0].data, RData::A(Ipv4Addr::new(10, 10, 10, 10).into()));
        assert_eq!(message.answers[0].ttl, 30);
        assert_eq!(ede_codes(&message), ede);

        let message = answer(rtype::AAAA, has_edns, make);
        assert_eq!(message.answers[0].data, RData::AAAA("fd00::10".parse::<Ipv6Addr>().unwrap().into()));

        for qtype in [65, 16, 15, 255] {
            let message = answer(qtype, has_edns, make);
            assert_eq!(message.metadata.response_code, ResponseCode::NoError);
            assert!(message.answers.is_empty());
            let RData::SOA(soa) = &message.authorities[0].data else { panic!("no SOA") };
            assert_eq!((soa.minimum, message.authorities[0].ttl), (30, 30));
            assert_eq!(message.authorities[0].name.to_ascii(), "Evil.Example.");
            assert_eq!(ede_codes(&message), ede);
        }
    }
}

#[test]
fn nxdomain_denies_below_the_parent() {
    let message = answer(1, true, |query, out| nxdomain(Stem::at_qname(query), 60, EDE, out));
    assert_eq!(message.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(message.authorities[0].name.to_ascii(), "Example.");
}

#[test]
fn badvers_has_its_extended_bits() {
    let message = answer(1, true, |query, out| error(query, rcode::BADVERS, None, out));
    assert_eq!(u16::from(message.metadata.response_code), rcode::BADVERS);
    assert_eq!(message.edns.unwrap().version(), 0);
}

#[test]
fn rejects_echo_id_opcode_and_question() {
    let mut packet = query(1, false);
    packet[2] = 0x29; // UPDATE, RD
    let mut out = Vec::new();
    reject(&packet, Reject::Opcode(Speaks::Plain), &mut out);
    assert_eq!(out, b"\x12\x34\xa9\x04\x00\x00\x00\x00\x00\x00\x00\x00");
    reject(&packet, Reject::Opcode(Speaks::Edns), &mut out);
    assert!(Message::from_vec(&out).unwrap().edns.is_some());
    reject(&query(1, false), Reject::Malformed(Some(30)), &mut out);
    assert_eq!(out.len(), 30);
    assert_eq!(Message::from_vec(&out).unwrap().metadata.response_code, ResponseCode::FormErr);
}

/// An upstream's answer: AA, AD; a CNAME and an address, one glue record, then OPT with EDE 3 and a cookie.
fn upstream(rcode: u8) -> Vec<u8> {
    let mut packet = query(1, false);
    packet[..12].copy_from_slice(b"\x77\x77\x85\xa0\x00\x01\x00\x02\x00\x00\x00\x02");
    packet[3] |= rcode;
    packet.extend(b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x06\x03www\xc0\x11");
    packet.extend(b"\xc0\x2a\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x01");
    packet.extend(b"\xc0\x11\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x02");
    packet.extend(
        b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x12\x00\x0f\x00\x02\x00\x03\x00\x0a\x00\x08cookies!",
    );
    packet
}

#[test]
fn a_relayed_answer_keeps_its_records_and_gets_our_opt() {
    for has_edns in [true, false] {
        let packet = upstream(3);
        let response = Response::parse(&packet).unwrap();
        let message =
            answer(1, has_edns, |query, out| relay(query, &Answer::new(&response), Aged::By(10), out));
        assert_eq!(message.metadata.response_code, ResponseCode::NXDomain);
        assert_eq!(message.answers.len(), 2);
        assert_eq!(message.answers[1].name.to_ascii(), "www.Example.");
        assert_eq!(message.additionals.len(), 1);
        assert_eq!(ede_codes(&message), if has_edns { vec![3] } else { vec![] });
        let options = message.edns.map_or(0, |edns| edns.options().options.len());
        assert_eq!(options, usize::from(has_edns), "no option of the upstream's but its EDE");
    }
}

#[test]
fn only_who_asks_is_told_that_an_answer_is_authentic() {
    let packet = upstream(0);
    let response = Response::parse(&packet).unwrap();
    let check = |flags: u8, has_edns: bool, aged: Aged, expected: [bool; 2]| {
        let mut query = query(1, has_edns);
        query[3] |= flags;
        let mut out = Vec::new();
        let mut answer = Answer::new(&response);
        for expected in expected {
            relay(&Query::parse(&query).unwrap(), &answer, aged, &mut out);
            assert_eq!(out[3] & wire::AD != 0, expected, "{flags} {has_edns} {aged:?}");
            answer.set_authentic();
        }
        alias(
            Stem::at_qname(&Query::parse(&query).unwrap()),
            b"\x01w\x00",
            30,
            EDE,
            Some((&answer, Aged::By(0))),
            &mut out,
        );
        assert_eq!(out[3] & wire::AD, 0, "what a rule made is not authentic");
    };
    // With DO, with AD, with neither; then past its time.
    check(0, true, Aged::By(1), [false, true]);
    check(wire::AD, false, Aged::By(1), [false, true]);
    check(0, false, Aged::By(1), [false, false]);
    check(wire::AD, true, Aged::Stale, [false, false]);
}

#[test]
fn a_failure_keeps_its_reason() {
    let failure = Answer::failure(b"\x04evil\x07example\x00\x00\x01\x00\x01", b"\x00\x0f\x00\x02\x00\x16");
    let message = answer(1, true, |query, out| relay(query, &failure, Aged::By(0), out));
    assert_eq!(message.metadata.response_code, ResponseCode::ServFail);
    assert_eq!((message.answers.len(), ede_codes(&message)), (0, vec![22]));
    answer(1, false, |query, out| relay(query, &failure, Aged::By(0), out));
}

#[test]
fn ttls_are_told_as_they_are_now() {
    let packet = upstream(0);
    let kept = Answer::new(&Response::parse(&packet).unwrap());
    let check = |aged: Aged, expected: u32, ede: &[u16]| {
        let message = answer(1, true, |query, out| relay(query, &kept, aged, out));
        let ttls: Vec<u32> =
            message.answers.iter().chain(&message.additionals).map(|record| record.ttl).collect();
        assert_eq!(ttls, [expected; 3], "{aged:?}");
        assert_eq!(ede_codes(&message), ede, "{aged:?}");
        let message = answer(1, true, |query, out| {
            alias(Stem::at_qname(query), b"\x01w\x00", 30, EDE, Some((&kept, aged)), out)
        });
        assert_eq!(message.answers[2].ttl, expected, "{aged:?}");
    };
    check(Aged::By(0), 60, &[3]);
    check(Aged::By(59), 1, &[3]);
    check(Aged::By(100), 0, &[3]);
    check(Aged::Stale, 30, &[3, 3]);
}

#[test]
fn an_alias_leads_to_what_its_target_holds() {
    let mut packet = upstream(0);
    packet[wire::HEADER + 1] = b'W';
    let response = Response::parse(&packet).unwrap();
    let message = answer(1, true, |query, out| {
        alias(
            Stem::at_qname(query),
            b"\x04wvil\x07example\x00",
            30,
            EDE,
            Some((&Answer::new(&response), Aged::By(10))),
            out,
        )
    });
    let names: Vec<String> = message.answers.iter().map(|record| record.name.to_ascii()).collect();
    assert_eq!(names, ["Evil.Example.", "Wvil.Example.", "www.Example."]);
    assert_eq!(message.answers[0].record_type(), RecordType::CNAME);
    assert_eq!(ede_codes(&message), [15]);
}

#[test]
fn a_cookie_is_added_where_there_is_an_opt_record() {
    let cookie = *b"a clientand a server, us";
    for has_edns in [true, false] {
        let message = answer(1, has_edns, |query, out| {
            nxdomain(Stem::at_qname(query), 60, EDE, out);
            append_cookie(out, &cookie);
        });
        let options = message.edns.as_ref().map(|edns| edns.options().options.clone()).unwrap_or_default();
        assert_eq!((options.len(), ede_codes(&message).len()), if has_edns { (2, 1) } else { (0, 0) });
    }
    let mut packet = query(1, true);
    packet[2] |= wire::QR;
    let opt = packet.len() - 11;
    for (room, is_added) in [(28, true), (27, false)] {
        // Padding (RFC 7830) up to what leaves so much room.
        let padding = wire::MAX_MESSAGE - packet.len() - 4 - room;
        let mut out = packet.clone();
        out[opt + 9..].copy_from_slice(&(4 + padding as u16).to_be_bytes());
        out.extend([&[0, 12][..], &(padding as u16).to_be_bytes(), &vec![0; padding]].concat());
        append_cookie(&mut out, &cookie);
        let options = Response::parse(&out).unwrap().options().count();
        assert_eq!(options, 1 + usize::from(is_added), "{room} octets of room");
    }
}

#[test]
fn padding_fills_blocks_and_no_more_than_a_message() {
    let mut packet = query(1, true);
    packet[2] |= wire::QR;
    let opt = packet.len() - 11;
    let check = |len: usize, expected: usize| {
        // An option that nobody knows, for the length.
        let filler = len - packet.len() - 4;
        let mut out = packet.clone();
        out[opt + 9..].copy_from_slice(&(4 + filler as u16).to_be_bytes());
        out.extend([&[0xff, 0xfe][..], &(filler as u16).to_be_bytes(), &vec![0; filler]].concat());
        pad(&mut out);
        assert_eq!(out.len(), expected, "from {len}");
        assert!(Response::parse(&out).is_ok());
    };
    check(100, 468);
    check(464, 468);
    check(465, 936);
    check(468, 936);
    check(65_052, 65_052 + 468);
    check(65_521, wire::MAX_MESSAGE);
    check(65_531, wire::MAX_MESSAGE);
    // No room for an option at all.
    check(65_532, 65_532);
    let bare = answer(1, false, |query, out| {
        nxdomain(Stem::at_qname(query), 60, EDE, out);
        pad(out);
        append_keepalive(out, Duration::from_secs(1));
    });
    assert!(bare.edns.is_none());
}

#[test]
fn a_connections_time_is_told_in_tenths_of_a_second() {
    let check = |idle: Duration, expected: u16| {
        let packet = query(1, true);
        let mut out = Vec::new();
        error(&Query::parse(&packet).unwrap(), rcode::REFUSED, None, &mut out);
        append_keepalive(&mut out, idle);
        let told = Response::parse(&out).unwrap().options().last().map(|(code, data)| (code, data.to_vec()));
        assert_eq!(told, Some((11, expected.to_be_bytes().to_vec())), "{idle:?}");
    };
    check(Duration::from_secs(10), 100);
    check(Duration::from_millis(250), 2);
    check(Duration::from_secs(86_400), u16::MAX);
}

#[test]
fn clients_sizes_are_honoured_within_ours() {
    let check = |size: Option<u16>, expected: usize| {
        let mut packet = query(1, size.is_some());
        if let Some(size) = size {
            packet[33..35].copy_from_slice(&size.to_be_bytes());
        }
        assert_eq!(udp_limit(&Query::parse(&packet).unwrap()), expected, "{size:?}");
    };
    check(None, 512);
    check(Some(0), 512);
    check(Some(600), 600);
    check(Some(4096), 1232);
}

#[test]
fn the_root_can_be_denied() {
    let packet = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01";
    let mut out = Vec::new();
    nxdomain(Stem::at_qname(&Query::parse(packet).unwrap()), 60, EDE, &mut out);
    assert!(Message::from_vec(&out).is_ok());
}

#[test]
fn records_behind_the_upstreams_opt_are_kept() {
    let packet = upstream(0);
    let opt = Response::parse(&packet).unwrap().opt_range().unwrap();
    // The OPT record in front of the glue record, whose owner is a pointer.
    let glue = opt.start - 16..opt.start;
    let moved = [&packet[..glue.start], &packet[opt.clone()], &packet[glue]].concat();
    let response = Response::parse(&moved).unwrap();
    let message = answer(1, true, |query, out| relay(query, &Answer::new(&response), Aged::By(10), out));
    assert_eq!(message.additionals.len(), 1);
    assert_eq!(message.additionals[0].name.to_ascii(), "Example.");
}

#[test]
fn what_no_message_holds_is_a_failure() {
    let mut packet = upstream(0);
    let opt = Response::parse(&packet).unwrap().opt_range().unwrap();
    packet.truncate(opt.start);
    packet[11] = 2;
    // A record of the root that takes all the room there is.
    packet.extend(b"\x00\x00\x0a\x00\x01\x00\x00\x00\x3c");
    let room = wire::MAX_MESSAGE - packet.len() - 2;
    packet.extend((room as u16).to_be_bytes());
    packet.resize(wire::MAX_MESSAGE, 0);
    let response = Response::parse(&packet).unwrap();
    let message = answer(1, true, |query, out| relay(query, &Answer::new(&response), Aged::By(10), out));
    assert_eq!((message.metadata.response_code, ede_codes(&message)), (ResponseCode::ServFail, vec![0]));
    let message = answer(1, false, |query, out| relay(query, &Answer::new(&response), Aged::By(10), out));
    assert_eq!(message.metadata.response_code, ResponseCode::NoError);
}
