//! Zone text and a question in, the sections out; no sockets.

use super::*;
use crate::name::Presentation;
use crate::wire::{self, Response, Section, rcode_text, type_number, type_text};

const ZONE: &str = "\
$TTL 1h
@         SOA   ns1 hostmaster 2026112501 1h 15m 1w 5m
          NS    ns1
          NS    ns.elsewhere.example.
ns1       A     10.1.0.53
www       A     10.1.0.80
          AAAA  fd00::80
          TXT   \"a b\" c
Mixed     A     10.1.0.81
alias     CNAME www
long      CNAME alias
out       CNAME www.elsewhere.example.
gone      CNAME nothing
loop1     CNAME loop2
loop2     CNAME loop1
a.deep.er A     10.1.0.82
*.wild    A     10.1.0.99
*.wild    TXT   wild
b.wild    A     10.1.0.98
*.walias  CNAME www
sub       NS    ns.sub
          NS    ns1
          DS    1 13 2 00112233445566778899AABBCCDDEEFF00112233445566778899AABBCCDDEEFF
ns.sub    A     10.2.0.53
          AAAA  fd00:2::53
old       DNAME new
x.new     A     10.1.0.83
dout      DNAME elsewhere.example.
odd       TYPE65534 \\# 4 01020304
many      A     10.1.0.1
          A     10.1.0.2
          A     10.1.0.1
";

fn zone(apex: &str, text: &str) -> Arc<Entry> {
    let name = Name::from_host(apex).unwrap();
    let zone = Zone::parse(&name, text.as_bytes()).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let source = Source { name, file: PathBuf::new(), transfer: Transfer::default(), notify: Vec::new() };
    Arc::new(Entry { zone: Arc::new(zone), source, stamp: None, faults: None })
}

fn zones() -> Zones {
    let reverse = "@ 300 SOA ns1.internal.example. h. 7 1 1 1 60\n NS ns1.internal.example.\n80.0 PTR www.internal.example.\n";
    let child = "@ 300 SOA ns h 1 1 1 1 60\n NS ns\nns A 10.3.0.53\nup CNAME www.internal.example.\n";
    Zones::new([
        zone("internal.example", &format!("{ZONE}to CNAME up.child.internal.example.\n")),
        zone("1.10.in-addr.arpa", reverse),
        zone("child.internal.example", child),
    ])
}

/// `RCODE THEN`, and a line for each record with its section's first letter.
fn ask(zones: &Zones, qname: &str, qtype: &str, dnssec_ok: bool) -> Vec<String> {
    let qname: Vec<u8> = {
        // The client's letter case is kept.
        let labels = qname.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
        labels.chain([0]).collect()
    };
    let qtype = type_number(qtype).unwrap();
    let mut out = b"\x00\x00\x80\x00\x00\x01\x00\x00\x00\x00\x00\x00".to_vec();
    out.extend(&qname);
    out.extend(qtype.to_be_bytes());
    out.extend(wire::CLASS_IN.to_be_bytes());
    let Some(reply) = zones.answer(Question { qname: &qname, qtype, dnssec_ok }, &mut out) else {
        return vec!["none".to_owned()];
    };
    for (at, count) in [6, 8, 10].into_iter().zip(reply.counts) {
        out[at..at + 2].copy_from_slice(&count.to_be_bytes());
    }
    let response = Response::parse(&out).expect("the records parse");
    let mut lines = vec![format!("{} {:?}", rcode_text(reply.rcode), reply.then)];
    for record in response.records() {
        let record = record.unwrap();
        let mut owner = Vec::new();
        wire::expand_name(&out, record.start, &mut owner).unwrap();
        let section = match record.section {
            Section::Answer => "an",
            Section::Authority => "au",
            Section::Additional => "ad",
        };
        let rdata = &out[record.rdata.clone()];
        let data = match record.rtype {
            rtype::A => std::net::Ipv4Addr::from(<[u8; 4]>::try_from(rdata).unwrap()).to_string(),
            rtype::NS | rtype::CNAME | rtype::DNAME | rtype::PTR => Presentation(rdata).to_string(),
            rtype::SOA | rtype::NSEC | rtype::RRSIG => "…".to_owned(),
            _ => format!("[{}]", rdata.len()),
        };
        let rtype = type_text(record.rtype);
        lines.push(format!("{section} {} {} {rtype} {data}", Presentation(&owner), record.ttl));
    }
    lines
}

#[track_caller]
fn check(qname: &str, qtype: &str, expected: &[&str]) {
    assert_eq!(ask(&zones(), qname, qtype, false), expected, "{qname} {qtype}");
}

const SOA: &str = "au internal.example 300 SOA …";

#[test]
fn names_and_types() {
    check("www.internal.example", "A", &["NOERROR Send", "an www.internal.example 3600 A 10.1.0.80"]);
    check("wWw.Internal.EXAMPLE", "A", &["NOERROR Send", "an wWw.Internal.EXAMPLE 3600 A 10.1.0.80"]);
    check("www.internal.example", "TXT", &["NOERROR Send", "an www.internal.example 3600 TXT [6]"]);
    check("www.internal.example", "MX", &["NOERROR Send", SOA]);
    check("nothing.internal.example", "A", &["NXDOMAIN Send", SOA]);
    check("below.www.internal.example", "A", &["NXDOMAIN Send", SOA]);
    check(
        "odd.internal.example",
        "TYPE65534",
        &["NOERROR Send", "an odd.internal.example 3600 TYPE65534 [4]"],
    );
    check("internal.example", "SOA", &["NOERROR Send", "an internal.example 3600 SOA …"]);
    check("internal.example", "DS", &["NOERROR Send", SOA]);
    check(
        "many.internal.example",
        "A",
        &[
            "NOERROR Send",
            "an many.internal.example 3600 A 10.1.0.1",
            "an many.internal.example 3600 A 10.1.0.2",
        ],
    );
    assert_eq!(ask(&zones(), "www.internal.example", "ANY", false).len(), 4);
    for elsewhere in ["example", "notinternal.example", "www.example.com", "2.10.in-addr.arpa"] {
        check(elsewhere, "A", &["none"]);
    }
    check(
        "80.0.1.10.in-addr.arpa",
        "PTR",
        &["NOERROR Send", "an 80.0.1.10.in-addr.arpa 300 PTR www.internal.example"],
    );
}

#[test]
fn empty_non_terminals_exist() {
    check("deep.er.internal.example", "A", &["NOERROR Send", SOA]);
    check("er.internal.example", "A", &["NOERROR Send", SOA]);
    check("b.er.internal.example", "A", &["NXDOMAIN Send", SOA]);
    check("0.1.10.in-addr.arpa", "PTR", &["NOERROR Send", "au 1.10.in-addr.arpa 60 SOA …"]);
}

#[test]
fn wildcards() {
    check("x.wild.internal.example", "A", &["NOERROR Send", "an x.wild.internal.example 3600 A 10.1.0.99"]);
    check(
        "x.y.wild.internal.example",
        "A",
        &["NOERROR Send", "an x.y.wild.internal.example 3600 A 10.1.0.99"],
    );
    check("x.wild.internal.example", "MX", &["NOERROR Send", SOA]);
    check("b.wild.internal.example", "TXT", &["NOERROR Send", SOA]);
    // The closest encloser is b.wild, which has no wildcard below it.
    check("x.b.wild.internal.example", "A", &["NXDOMAIN Send", SOA]);
    check("wild.internal.example", "A", &["NOERROR Send", SOA]);
    check("*.wild.internal.example", "A", &["NOERROR Send", "an *.wild.internal.example 3600 A 10.1.0.99"]);
    check(
        "x.walias.internal.example",
        "A",
        &[
            "NOERROR Send",
            "an x.walias.internal.example 3600 CNAME www.internal.example",
            "an www.internal.example 3600 A 10.1.0.80",
        ],
    );
}

#[test]
fn aliases_are_followed_as_far_as_zones_go() {
    check(
        "long.internal.example",
        "A",
        &[
            "NOERROR Send",
            "an long.internal.example 3600 CNAME alias.internal.example",
            "an alias.internal.example 3600 CNAME www.internal.example",
            "an www.internal.example 3600 A 10.1.0.80",
        ],
    );
    check(
        "alias.internal.example",
        "CNAME",
        &["NOERROR Send", "an alias.internal.example 3600 CNAME www.internal.example"],
    );
    check(
        "gone.internal.example",
        "A",
        &["NXDOMAIN Send", "an gone.internal.example 3600 CNAME nothing.internal.example", SOA],
    );
    check(
        "out.internal.example",
        "A",
        &["NOERROR Chase", "an out.internal.example 3600 CNAME www.elsewhere.example"],
    );
    check(
        "to.internal.example",
        "A",
        &[
            "NOERROR Send",
            "an to.internal.example 3600 CNAME up.child.internal.example",
            "an up.child.internal.example 300 CNAME www.internal.example",
            "an www.internal.example 3600 A 10.1.0.80",
        ],
    );
    let looping = ask(&zones(), "loop1.internal.example", "A", false);
    assert_eq!((&*looping[0], looping.len()), ("SERVFAIL Fail", 14));
    check(
        "x.old.internal.example",
        "A",
        &[
            "NOERROR Send",
            "an old.internal.example 3600 DNAME new.internal.example",
            "an x.old.internal.example 3600 CNAME x.new.internal.example",
            "an x.new.internal.example 3600 A 10.1.0.83",
        ],
    );
    check("old.internal.example", "A", &["NOERROR Send", SOA]);
    check(
        "a.dout.internal.example",
        "A",
        &[
            "NOERROR Chase",
            "an dout.internal.example 3600 DNAME elsewhere.example",
            "an a.dout.internal.example 3600 CNAME a.elsewhere.example",
        ],
    );
    let reply = {
        let qname = b"\x01a\x04dout\x08internal\x07example\x00";
        let mut out = vec![0; 12];
        zones().answer(Question { qname, qtype: 1, dnssec_ok: false }, &mut out).unwrap()
    };
    assert_eq!(reply.target().unwrap().to_string(), "a.elsewhere.example");
    // What the DNAME record leads to would be longer than any name.
    let long = format!("{}.old", ["a"; 115].join("."));
    let wide = "@ SOA n h 1 1 1 1 1\n NS n\nold DNAME abcdefghijkl.mnopqrstu\n";
    let zones = Zones::new([zone("e", wide)]);
    assert_eq!(ask(&zones, &format!("{long}.e"), "A", false)[0], "YXDOMAIN Send");
}

#[test]
fn cuts_are_referrals_and_ds_is_above_them() {
    let referral = [
        "NOERROR Refer",
        "au sub.internal.example 3600 NS ns.sub.internal.example",
        "au sub.internal.example 3600 NS ns1.internal.example",
        "ad ns.sub.internal.example 3600 A 10.2.0.53",
        "ad ns.sub.internal.example 3600 AAAA [16]",
        "ad ns1.internal.example 3600 A 10.1.0.53",
    ];
    check("sub.internal.example", "A", &referral);
    check("x.y.sub.internal.example", "MX", &referral);
    check("ns.sub.internal.example", "A", &referral);
    check("sub.internal.example", "DS", &["NOERROR Send", "an sub.internal.example 3600 DS [36]"]);
    check("x.sub.internal.example", "DS", &referral);
    // A zone that is here too is asked itself; its parent does not know of the cut.
    check(
        "child.internal.example",
        "NS",
        &["NOERROR Send", "an child.internal.example 300 NS ns.child.internal.example"],
    );
    check("child.internal.example", "DS", &["NOERROR Send", "au child.internal.example 60 SOA …"]);
}

/// Signed as far as the proofs go: the signatures are none.
const SIGNED: &str = "\
@   300 SOA ns h 1 1 1 1 60
    300 RRSIG SOA 13 1 300 20300101000000 20200101000000 1 e. AAAA
    300 NS ns
    300 NSEC a NS SOA RRSIG NSEC
a   300 A 10.0.0.1
    300 RRSIG A 13 2 300 20300101000000 20200101000000 1 e. AAAA
    300 NSEC c A RRSIG NSEC
b.c 300 A 10.0.0.2
    300 NSEC *.w A RRSIG NSEC
*.w 300 A 10.0.0.3
    300 RRSIG A 13 2 300 20300101000000 20200101000000 1 e. AAAA
    300 NSEC z A RRSIG NSEC
z   300 NS ns.z
    300 NSEC @ NS RRSIG NSEC
ns.z 300 A 10.0.0.4
";

#[test]
fn cuts_name_servers_that_have_addresses_here() {
    let above = "@ SOA n h 1 1 1 1 1\n NS n\nn A 10.0.0.1\n\
                 one NS ns.one\none NS n\nns.one A 10.0.0.2\nns.one AAAA fd00::2\nx.one NS n\n\
                 two NS ns.other.e.\nthree NS ns.elsewhere.\nlocal NS n\nnowhere NS ns.nowhere\nns.nowhere A 0.0.0.0\n";
    let zones = Zones::new([
        zone("e", above),
        zone("other.e", "@ SOA n h 1 1 1 1 1\n NS ns\nns A 10.0.0.3\n"),
        zone("local.e", "@ SOA n h 1 1 1 1 1\n NS n\n"),
    ]);
    let cuts: Vec<String> =
        zones.cuts().iter().map(|cut| format!("{} {:?}", cut.name, cut.servers)).collect();
    assert_eq!(cuts, ["one.e [10.0.0.2, fd00::2, 10.0.0.1]", "two.e [10.0.0.3]"]);
}

#[test]
fn signed_zones_hand_out_what_they_have() {
    let zones = Zones::new([zone("e", SIGNED)]);
    let check = |qname: &str, qtype: &str, expected: &[&str]| {
        let got: Vec<String> = ask(&zones, qname, qtype, true)
            .into_iter()
            .map(|line| {
                line.split(' ').filter(|word| *word != "300" && *word != "60").collect::<Vec<_>>().join(" ")
            })
            .collect();
        assert_eq!(got, expected, "{qname} {qtype}");
    };
    const SIG: &str = "RRSIG …";
    let (soa, soa_sig) = ("au e SOA …", &format!("au e {SIG}")[..]);
    check("a.e", "A", &["NOERROR Send", "an a.e A 10.0.0.1", &format!("an a.e {SIG}")]);
    check("a.e", "MX", &["NOERROR Send", soa, soa_sig, "au a.e NSEC …"]);
    check("c.e", "A", &["NOERROR Send", soa, soa_sig, "au a.e NSEC …"]);
    check("d.e", "A", &["NXDOMAIN Send", soa, soa_sig, "au b.c.e NSEC …", "au e NSEC …"]);
    check(
        "x.w.e",
        "A",
        &["NOERROR Send", "an x.w.e A 10.0.0.3", &format!("an x.w.e {SIG}"), "au *.w.e NSEC …"],
    );
    check("x.w.e", "MX", &["NOERROR Send", soa, soa_sig, "au *.w.e NSEC …"]);
    check("x.z.e", "A", &["NOERROR Refer", "au z.e NS ns.z.e", "au z.e NSEC …", "ad ns.z.e A 10.0.0.4"]);
    assert_eq!(ask(&zones, "a.e", "A", false).len(), 2);
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    #[track_caller]
    fn check(text: &str, expected: &[(usize, &str)]) {
        let faults = Zone::parse(&Name::from_host("e").unwrap(), text.as_bytes()).unwrap_err();
        let got: Vec<_> = faults.iter().map(|fault| (fault.line, fault.problem.to_string())).collect();
        assert_eq!(got.len(), expected.len(), "{got:#?}");
        for ((line, problem), (expected_line, part)) in got.iter().zip(expected) {
            assert!(
                line == expected_line && problem.contains(part),
                "{line} {problem}: {expected_line} {part}"
            );
        }
    }
    const HEAD: &str = "@ SOA n h 1 1 1 1 1\n NS n\n";
    let with = |text: &str| format!("{HEAD}{text}");
    check("", &[(0, "no SOA record at e")]);
    check("@ SOA n h 1 1 1 1 1\n", &[(1, "no NS record at e")]);
    check("a SOA n h 1 1 1 1 1\n", &[(1, "no SOA record at e")]);
    check(&with("@ SOA n h 2 1 1 1 1\n"), &[(3, "a second SOA")]);
    check(&with("a A 10.0.0.256\n"), &[(3, "not a record")]);
    check(&with("\n\na LOC 1 2 3\n"), &[(5, "not a record")]);
    check(&with("a CH A 10.0.0.1\nb.f. A 10.0.0.1\n"), &[(3, "class 3"), (4, "b.f is outside of zone e")]);
    check(&with("a CNAME b\na A 10.0.0.1\n"), &[(3, "a.e has a CNAME record and others")]);
    check(&with("a CNAME b\na CNAME c\n"), &[(3, "a.e has two CNAME")]);
    check(&with("$INCLUDE secret.txt\n"), &[(3, "$INCLUDE secret.txt is not followed")]);
    check(&with("a TYPE250 \\# 0\n"), &[(3, "TSIG records")]);
    let many: String = (0..5000).map(|n| format!("m A 10.0.{}.{}\n", n / 250, n % 250)).collect();
    let faults = Zone::parse(&Name::from_host("e").unwrap(), with(&many).as_bytes()).unwrap_err();
    assert!(faults[0].problem.to_string().contains("more A records"), "{faults:?}");
}

/// Found by fuzzing: the scanner panics at this.
#[test]
fn text_that_the_scanner_chokes_on_is_a_fault() {
    let text = b"$TTL 3600\n@ SOA ns host 7 3600 600 86400 300\n@ NS ns\nns A 192.0.2.1\nwww 69 IN AAAA 2001:db8::1\n\
        alias CNAME www\n*.wild(TXT \"a b\" c\ntree DNAME other.vn.\nsub NS nsbnu.uss.\nb]A 192.0.2.2\n";
    let faults = Zone::parse(&Name::from_host("x.vn").unwrap(), text).unwrap_err();
    assert_eq!((faults.len(), faults[0].line), (1, 7), "{faults:?}");
}

#[test]
fn all_records_are_there_to_be_transferred() {
    let zones = zones();
    let entry = zones.at(b"\x08InTernal\x07example\x00").unwrap();
    // The one that was there twice is there once.
    assert_eq!(entry.zone.records().count(), ZONE.lines().count() - 2 + 1 - 1);
    assert_eq!(entry.zone.serial(), 2_026_112_501);
    assert!(
        entry
            .zone
            .is_same(&zone("internal.example", &format!("{ZONE}to CNAME up.child.internal.example.\n")).zone)
    );
    assert!(!entry.zone.is_same(&zone("internal.example", ZONE).zone));
    // The file's letter case is kept.
    assert!(entry.zone.records().any(|record| record.owner.starts_with(b"\x05Mixed")));
}
