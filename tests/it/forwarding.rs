//! What is not listed is answered as the upstream answers it.

use std::fmt::Write as _;

use hickory_proto::op::ResponseCode;

use crate::harness::dig::Reply;
use crate::harness::house::Setup;
use crate::harness::nsd;
use crate::harness::scripted::Scripted;
use crate::harness::server::Server;
use crate::harness::wire::{self, Query};

fn serve() -> Server {
    Setup::new(nsd::address()).feed("authority", "evil.example.test\n").serve()
}

/// Asks us and NSD, compares what a client would see, and gives our reply.
#[track_caller]
fn same_as_upstream(server: &Server, option: &str, qname: &str, qtype: &str) -> Reply {
    let ours = server.dig().with(option).ask(qname, qtype);
    let theirs = crate::harness::dig::Dig::at(nsd::address()).with(option).ask(qname, qtype);
    assert_eq!(ours.status, theirs.status, "{}", ours.raw);
    assert_eq!(ours.question, theirs.question, "{}", ours.raw);
    let sorted = |reply: &Reply| {
        let mut records: Vec<_> =
            reply.answer.iter().map(|rr| (rr.rtype.clone(), rr.rdata.clone())).collect();
        records.sort();
        records
    };
    assert_eq!(sorted(&ours), sorted(&theirs), "{}", ours.raw);
    assert!(ours.has_flag("ra") && !ours.has_flag("ad"), "{}", ours.raw);
    ours
}

#[test]
fn answers_of_every_type() {
    let server = serve();
    for transport in ["+notcp", "+tcp"] {
        let check = |qname: &str, qtype: &str, expected: &[&str]| {
            let reply = same_as_upstream(&server, transport, qname, qtype);
            assert_eq!(reply.rdata(qtype), expected, "{}", reply.raw);
        };
        check("www.example.test", "A", &["192.0.2.80"]);
        check("www.example.test", "AAAA", &["2001:db8::80"]);
        check("www.example.test", "TXT", &["\"plain text\" \"in two strings\""]);
        check("example.test", "MX", &["10 mail.example.test."]);
        check("odd.example.test", "TYPE65534", &["\\# 4 01020304"]);
        check("www.example.test", "HTTPS", &["1 . alpn=\"h2,h3\" ipv4hint=192.0.2.80"]);
        check("a.b.wild.example.test", "A", &["192.0.2.99"]);
    }
}

#[test]
fn an_alias_comes_with_its_whole_chain_in_order() {
    let server = serve();
    let reply = same_as_upstream(&server, "+edns", "alias.example.test", "A");
    let owners: Vec<_> = reply.answer.iter().map(|rr| (rr.name.as_str(), rr.rtype.as_str())).collect();
    assert_eq!(
        owners,
        [
            ("alias.example.test.", "CNAME"),
            ("alias2.example.test.", "CNAME"),
            ("alias3.example.test.", "CNAME"),
            ("www.example.test.", "A"),
        ]
    );
}

#[test]
fn nxdomain_is_not_nodata() {
    let server = serve();
    let nxdomain = same_as_upstream(&server, "+edns", "nothing.example.test", "A");
    assert_eq!(nxdomain.status, "NXDOMAIN");
    assert_eq!(nxdomain.authority[0].rtype, "SOA", "{}", nxdomain.raw);
    same_as_upstream(&server, "+edns", "www.example.test", "MX").assert_nodata();
}

#[test]
fn case_is_kept() {
    let server = serve();
    same_as_upstream(&server, "+edns", "wWw.eXaMpLe.TeSt", "A");
    same_as_upstream(&server, "+edns", "WWW.EXAMPLE.TEST", "A");
}

#[test]
fn a_large_answer_is_truncated_over_udp_and_whole_over_tcp() {
    let server = serve();
    let check = |option: &str, qname: &str, is_truncated: bool, limit: usize| {
        let reply = server.dig().with(option).ask(qname, "TXT");
        assert_eq!(reply.status, "NOERROR", "{}", reply.raw);
        assert_eq!(reply.has_flag("tc"), is_truncated, "{option}: {}", reply.raw);
        assert!(reply.size <= limit, "{option}: {} octets", reply.size);
        if !is_truncated {
            assert_eq!(reply.answer.len(), nsd::MEDIUM_STRINGS, "{}", reply.raw);
        }
    };
    check("+bufsize=1232", "medium.example.test", false, 1232);
    check("+bufsize=4096", "medium.example.test", false, 1232);
    check("+bufsize=512", "medium.example.test", true, 512);
    check("+noedns", "medium.example.test", true, 512);
    // Less than 512 counts as 512 (RFC 6891, section 6.2.5).
    check("+bufsize=100", "medium.example.test", true, 512);
    check("+bufsize=1232", "large.example.test", true, 1232);
    check("+bufsize=4096", "large.example.test", true, 1232);
    check("+noedns", "large.example.test", true, 512);
    check("+bufsize=4096", "huge.example.test", true, 1232);

    for (qname, count) in
        [("large.example.test", nsd::LARGE_STRINGS), ("huge.example.test", nsd::HUGE_STRINGS)]
    {
        // As a stub does it: UDP, then TCP because of the TC flag.
        let reply = server.dig().with("+noignore").ask(qname, "TXT");
        assert_eq!(reply.transport, "TCP", "{}", reply.raw);
        let mut strings: Vec<_> = reply.rdata("TXT").iter().map(|text| text.replace('"', "")).collect();
        strings.sort();
        assert_eq!(strings, nsd::txt_strings(count));
    }
}

#[test]
fn an_answer_that_grows_past_the_longest_message_fails_aloud() {
    let upstream = Scripted::answering(|query| {
        let full = query.answer(wire::RA, 0, &[], None);
        if !query.is_tcp {
            return query.answer(wire::RA | wire::TC, 0, &[], None);
        }
        // As long as a message can be, and without an OPT record of its own.
        let data = vec![0; 65_535 - full.len() - 12];
        query.answer(wire::RA, 0, &[wire::record(&[0xc0, 12], 65_400, wire::IN, 300, &data)], None)
    });
    let server = Setup::new(upstream.address).serve();
    let ask = |query: &Query| {
        let mut tcp = wire::Tcp::to(server.dns);
        tcp.send(&query.bytes());
        tcp.receive().unwrap()
    };
    assert_eq!(ask(&Query::new("plain.test", 65_400)).len(), 65_535);
    let failed = wire::decode(&ask(&Query::new("edns.test", 65_400).edns(1232, 0, false)));
    assert_eq!(wire::rcode(&failed), ResponseCode::ServFail);
    assert_eq!(wire::ede_code(&failed), Some(0));
    server.record_of("edns.test").assert(&[("rcode", "SERVFAIL")]);
}

#[test]
fn signatures_come_for_those_who_ask() {
    let server = serve();
    for _ in 0..2 {
        // Twice and by turns: an answer kept for one must not go to the other.
        let with = same_as_upstream(&server, "+dnssec", "www.signed.test", "A");
        assert_eq!(with.rdata("RRSIG").len(), 1, "{}", with.raw);
        assert!(with.opt.as_ref().unwrap()[0].contains("flags: do"), "{}", with.raw);
        let without = same_as_upstream(&server, "+nodnssec", "www.signed.test", "A");
        assert!(without.rdata("RRSIG").is_empty(), "{}", without.raw);
        let plain = same_as_upstream(&server, "+noedns", "www.signed.test", "A");
        assert!(plain.opt.is_none(), "{}", plain.raw);
    }
    let denied = server.dig().with("+dnssec").ask("nothing.signed.test", "A");
    assert_eq!(denied.status, "NXDOMAIN");
    assert!(denied.authority.iter().any(|rr| rr.rtype == "NSEC"), "{}", denied.raw);
    let keys = same_as_upstream(&server, "+dnssec", "signed.test", "DNSKEY");
    assert_eq!(keys.rdata("DNSKEY").len(), 1);
}

#[test]
fn the_upstream_sees_do_and_cd_as_the_client_set_them() {
    let upstream = Scripted::answering(|query| query.answer_a([192, 0, 2, 7]));
    let server = Setup::new(upstream.address).serve();
    for (number, cd) in [false, true].into_iter().enumerate() {
        for dnssec_ok in [false, true] {
            let qname = format!("cd{number}-do{}.test", u8::from(dnssec_ok));
            let option = if dnssec_ok { "+dnssec" } else { "+nodnssec" };
            let reply = server.dig().with(option).with(if cd { "+cd" } else { "+nocd" }).ask(&qname, "A");
            assert_eq!(reply.has_flag("cd"), cd, "{}", reply.raw);
            let seen = upstream.seen();
            let query = seen.iter().find(|seen| seen.qname() == format!("{qname}.")).unwrap();
            assert_eq!(query.flags() & wire::CD != 0, cd, "{qname}");
            assert!(query.is_dnssec_ok() || !dnssec_ok, "{qname}");
            assert_ne!(query.flags() & wire::RD, 0, "{qname}");
        }
    }
}

#[test]
fn the_upstreams_word_that_it_validated_is_not_passed_on() {
    let upstream =
        Scripted::answering(|query| query.answer(wire::RA | wire::AD, 0, &[query.a([192, 0, 2, 7])], None));
    let server = Setup::new(upstream.address).serve();
    for option in ["+adflag", "+dnssec"] {
        let reply = server.dig().with(option).ask("www.test", "A");
        assert_eq!(reply.rdata("A"), ["192.0.2.7"]);
        assert!(!reply.has_flag("ad"), "{}", reply.raw);
    }
}

#[test]
fn the_upstreams_extended_error_is_passed_on() {
    let upstream = Scripted::answering(|query| {
        if query.qname() == "stale.test." {
            let opt = wire::ede(3, "kept too long");
            query.answer(wire::RA, 0, &[query.a([192, 0, 2, 7])], Some(&opt))
        } else {
            query.answer(wire::RA, 2, &[], Some(&wire::ede(6, "signature does not match")))
        }
    });
    let server = Setup::new(upstream.address).serve();
    let stale = server.dig().ask("stale.test", "A");
    assert_eq!(stale.rdata("A"), ["192.0.2.7"]);
    assert_eq!(stale.ede(), Some("3 (Stale Answer): (kept too long)"), "{}", stale.raw);
    let bogus = server.dig().ask("bogus.test", "A");
    assert_eq!(bogus.status, "SERVFAIL");
    assert!(bogus.raw.contains("EDE: 6 (DNSSEC Bogus): (signature does not match)"), "{}", bogus.raw);

    let plain = server.dig().with("+noedns").ask("stale.test", "A");
    assert_eq!(plain.rdata("A"), ["192.0.2.7"]);
    assert!(plain.opt.is_none(), "{}", plain.raw);
}

#[test]
fn clients_options_and_ids_do_not_mix() {
    let server = serve();
    // The same question in flight many times, each with its own id and case.
    let clients: Vec<_> = (0..40u16)
        .map(|number| {
            let mut qname = String::new();
            for (at, letter) in "www.example.test".chars().enumerate() {
                let is_upper = (number >> (at % 6)) & 1 == 1;
                write!(qname, "{}", if is_upper { letter.to_ascii_uppercase() } else { letter }).unwrap();
            }
            let query = Query::new(&qname, wire::A).id(number * 7);
            let query = if number.is_multiple_of(2) { query.edns(1232, 0, false) } else { query };
            let udp = wire::Udp::to(server.dns);
            udp.send(&query.bytes());
            (udp, query)
        })
        .collect();
    for (udp, query) in clients {
        let answer = udp.receive().unwrap();
        let message = wire::decode(&answer);
        assert_eq!(wire::rcode(&message), ResponseCode::NoError);
        assert_eq!(message.metadata.id, query.id);
        assert_eq!(&answer[12..12 + query.qname.len()], query.qname);
        assert_eq!(message.edns.is_some(), query.opt.is_some());
    }
}
