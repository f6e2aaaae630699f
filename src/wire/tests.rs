//! Queries and responses of every kind, whole and damaged.

use proptest::prelude::*;

use super::*;

/// `evil.example IN A`, id 0x1234, RD.
const PLAIN: &[u8] =
    b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04eViL\x07example\x00\x00\x01\x00\x01";
/// An OPT record: payload size 1232, DO.
const OPT: &[u8] = b"\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x00";

fn with_additional(records: &[&[u8]]) -> Vec<u8> {
    let mut packet = PLAIN.to_vec();
    packet[11] = records.len() as u8;
    packet.extend(records.concat());
    packet
}

#[test]
fn a_query_is_read() {
    let packet = with_additional(&[OPT]);
    let query = Query::parse(&packet).unwrap();
    assert_eq!((query.id(), query.qtype(), query.qclass()), (0x1234, 1, 1));
    assert_eq!(query.qname(), b"\x04eViL\x07example\x00");
    assert!(query.is_recursion_desired() && !query.is_checking_disabled());
    let edns = query.edns().unwrap();
    assert_eq!((edns.payload_size, edns.version, edns.dnssec_ok), (1232, 0, true));
    assert!(query.is_authentic_data_wanted() && !Query::parse(PLAIN).unwrap().is_authentic_data_wanted());
    assert!(Query::parse(PLAIN).unwrap().edns().is_none());
    assert!(query.cookie().is_none() && Query::parse(PLAIN).unwrap().cookie().is_none());
    // NSID without data, a cookie, another cookie.
    const OPTIONS: &[u8] = b"\x00\x03\x00\x00\x00\x0a\x00\x02ab\x00\x0a\x00\x01c";
    let packet = with_additional(&[&[&OPT[..10], &[15], OPTIONS].concat()]);
    assert_eq!(Query::parse(&packet).unwrap().cookie(), Some(&b"ab"[..]));
}

#[test]
fn what_is_no_query_is_rejected() {
    fn check(change: impl FnOnce(&mut Vec<u8>), expected: Reject) {
        let mut packet = with_additional(&[OPT]);
        change(&mut packet);
        assert_eq!(Query::parse(&packet).map(|_| ()), Err(expected), "{packet:02x?}");
    }
    let end = Some(PLAIN.len());
    check(|p| p.truncate(11), Reject::Silent);
    check(|p| p[2] |= QR, Reject::Silent);
    check(|p| p[2] |= 0x20, Reject::Opcode(Speaks::Edns));
    check(
        |p| {
            p.truncate(PLAIN.len());
            p[11] = 0;
            p[2] |= 0x20;
        },
        Reject::Opcode(Speaks::Plain),
    );
    check(|p| p[5] = 0, Reject::Malformed(None));
    check(|p| p[5] = 2, Reject::Malformed(None));
    check(|p| p[4] = 0xff, Reject::Malformed(None));
    check(|p| p.truncate(20), Reject::Malformed(None));
    check(|p| p[12..14].copy_from_slice(&[0xc0, 12]), Reject::Malformed(None));
    check(|p| p[12] = 64, Reject::Malformed(None));
    check(|p| p.push(0), Reject::Malformed(end));
    check(|p| p[11] = 2, Reject::Malformed(end));
    check(|p| p.truncate(PLAIN.len() + 5), Reject::Malformed(end));
    check(|p| *p = with_additional(&[OPT, OPT]), Reject::Malformed(end));
    // An option that is longer than the record.
    check(
        |p| *p = with_additional(&[b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x08"]),
        Reject::Malformed(end),
    );
}

#[test]
fn records_are_expanded() {
    // evil.example CNAME www.<pointer to example>, owner a pointer too.
    let mut packet = PLAIN.to_vec();
    packet[2] |= QR;
    packet[7] = 1;
    packet.extend(b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x06\x03www\xc0\x11");
    let response = Response::parse(&packet).unwrap();
    let record = response.records().next().unwrap().unwrap();
    let mut out = Vec::new();
    expand_record(&packet, &record, &mut out).unwrap();
    assert_eq!(
        out,
        b"\x04eViL\x07example\x00\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x0d\x03www\x07example\x00".as_slice()
    );
}

#[test]
fn pointers_that_loop_end() {
    let mut packet = PLAIN.to_vec();
    let at = packet.len();
    packet.extend([0xc0, at as u8]);
    assert_eq!(expand_name(&packet, at, &mut Vec::new()), None);
    let at = packet.len();
    packet.extend([1, b'a', 0xc0, at as u8]);
    assert_eq!(expand_name(&packet, at, &mut Vec::new()), None);
}

#[test]
fn types_have_both_forms() {
    assert_eq!(type_text(65), "HTTPS");
    assert_eq!(type_text(65_534), "TYPE65534");
    assert_eq!(type_number("https"), Some(65));
    assert_eq!(type_number("type65534"), Some(65_534));
    assert_eq!(type_number("TYPE65536"), None);
    assert_eq!(type_number("é"), None);
}

proptest! {
    #[test]
    fn no_octets_panic(
        start in prop::sample::select(vec![PLAIN.to_vec(), with_additional(&[OPT])]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        tail in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let mut packet = start;
        packet.extend(tail);
        for (at, byte) in changes {
            let at = at.index(packet.len());
            packet[at] = byte;
        }
        let _ = Query::parse(&packet);
        packet[2] |= QR;
        if let Ok(response) = Response::parse(&packet) {
            for record in response.records() {
                let _ = expand_record(&packet, &record.unwrap(), &mut Vec::new());
            }
        }
        for at in 0..packet.len() {
            let mut out = Vec::new();
            if expand_name(&packet, at, &mut out).is_some() {
                prop_assert_eq!(name::wire_len(&out), Some(out.len()));
            }
        }
    }
}

#[test]
fn an_owner_points_back_to_a_name_that_stands_there() {
    fn check(owner: &[u8], expected: bool) {
        let mut packet = vec![0, 7, QR, 0, 0, 1, 0, 1, 0, 0, 0, 0];
        packet.extend(b"\x07example\x00\x00\x01\x00\x01");
        packet.extend(owner);
        packet.extend(b"\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x01");
        assert_eq!(Response::parse(&packet).is_ok(), expected, "{owner:02x?}");
    }
    check(b"\xc0\x0c", true);
    check(b"\xc0\x14", true);
    check(b"\x03www\xc0\x0c", true);
    check(b"\x00", true);
    // To itself, to its own first label, forward, into the header, past the end.
    check(b"\xc0\x19", false);
    check(b"\x03www\xc0\x19", false);
    check(b"\xc0\x20", false);
    check(b"\xc0\x02", false);
    check(b"\xff\xff", false);
    // Into the middle of a label, where no label is: `xample` as a length is too long.
    check(b"\xc0\x0e", false);
    check(
        &[&[63; 1], &[b'a'; 63][..], &[63], &[b'a'; 63], &[63], &[b'a'; 63], &[63], &[b'a'; 63], b"\xc0\x0c"]
            .concat(),
        false,
    );
}

#[test]
fn names_are_read_and_compared_where_they_stand() {
    // b.example at 12, a.b.example at 23 by a pointer, then a pointer to that.
    let mut packet = vec![0; HEADER];
    packet.extend(b"\x01b\x07eXample\x00\x01a\xc0\x0c\xc0\x17");
    let check = |at: usize, expected: &[u8]| {
        assert_eq!(WireName::read(&packet, at).unwrap().as_wire(), expected, "at {at}");
        assert!(is_name_at(&packet, at, &expected.to_ascii_uppercase()));
        assert!(!is_name_at(&packet, at, &expected[..expected.len() - 1]));
        assert!(!is_name_at(&packet, at, &[expected, b"\x00"].concat()));
        assert!(!is_name_at(&packet, at, b"\x01c\x07example\x00"));
    };
    check(12, b"\x01b\x07eXample\x00");
    check(23, b"\x01a\x01b\x07eXample\x00");
    check(27, b"\x01a\x01b\x07eXample\x00");
    for (odd, at) in [(&b"\xc0\x0c"[..], 12), (b"\xc0\x20", 12), (b"\x05ab", 12), (b"\x40a", 12), (b"", 12)] {
        let packet = [&[0; HEADER], odd].concat();
        assert!(WireName::read(&packet, at).is_none(), "{odd:?}");
        assert!(!is_name_at(&packet, at, b"\x02ab\x00"), "{odd:?}");
    }
    let long = [
        &[0; HEADER][..],
        &b"\x3faaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".repeat(4),
        b"\x00",
    ]
    .concat();
    assert!(WireName::read(&long, HEADER).is_none(), "257 octets");
}

#[test]
fn serial_numbers_go_round() {
    fn check(one: u32, other: u32, expected: Option<Ordering>) {
        assert_eq!(compare_serials(one, other), expected, "{one} {other}");
    }
    check(7, 7, Some(Ordering::Equal));
    check(8, 7, Some(Ordering::Greater));
    check(0, u32::MAX, Some(Ordering::Greater));
    check(u32::MAX, 0, Some(Ordering::Less));
    check(0x8000_0000, 0, None);
}
