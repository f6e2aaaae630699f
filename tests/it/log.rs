//! Every query has its record, with every key, and it is there when the answer is.

use rustix::process::Signal;

use crate::harness::house::Setup;
use crate::harness::nsd;
use crate::harness::record::Record;
use crate::harness::scripted::Scripted;
use crate::harness::server::Server;
use crate::harness::wire::{self, Query};

fn serve() -> Server {
    Setup::new(nsd::address())
        .feed("authority", "evil.example.test\n")
        .agency("so-tttt", "Sở Thông tin và Truyền thông", "127.0.0.0/8", "it@stttt.test")
        .serve()
}

#[test]
fn each_kind_of_query_has_its_record() {
    let server = serve();
    let check = |transport: &str, qname: &str, qtype: &str, rcode: &str, action: &str, feed: &str| {
        let before = server.log(&[]).len();
        server.dig().with(transport).ask(qname, qtype);
        let records = server.log(&[]);
        assert_eq!(records.len(), before + 1, "one query, one record: {qname} {qtype}");
        records[0].assert(&[
            ("client", "127.0.0.1"),
            ("agency", "so-tttt"),
            // As it was asked, but folded.
            ("qname", &qname.to_ascii_lowercase()),
            ("qtype", qtype),
            ("rcode", rcode),
            ("action", action),
            ("feed", feed),
            ("family", ""),
            ("transport", if transport == "+tcp" { "tcp" } else { "udp" }),
        ]);
    };
    check("+notcp", "evil.example.test", "A", "NOERROR", "sinkhole", "authority");
    check("+tcp", "evil.example.test", "AAAA", "NOERROR", "sinkhole", "authority");
    check("+notcp", "WWW.Evil.example.test", "A", "NOERROR", "sinkhole", "authority");
    check("+notcp", "evil.example.test", "HTTPS", "NOERROR", "sinkhole", "authority");
    check("+notcp", "evil.example.test", "TXT", "NOERROR", "sinkhole", "authority");
    check("+notcp", "evil.example.test", "MX", "NOERROR", "sinkhole", "authority");
    check("+notcp", "www.example.test", "A", "NOERROR", "forward", "");
    check("+tcp", "www.example.test", "A", "NOERROR", "forward", "");
    check("+notcp", "nothing.example.test", "A", "NXDOMAIN", "forward", "");
    check("+notcp", "www.example.test", "MX", "NOERROR", "forward", "");
    check("+notcp", "odd.example.test", "TYPE65534", "NOERROR", "forward", "");
    check("+notcp", "large.example.test", "TXT", "NOERROR", "forward", "");
    check("+tcp", "large.example.test", "TXT", "NOERROR", "forward", "");
    check("+dnssec", "www.signed.test", "A", "NOERROR", "forward", "");
    check("+notcp", "www.elsewhere.test", "A", "SERVFAIL", "forward", "");
}

#[test]
fn addresses_beside_the_answer_are_not_answers() {
    let upstream = Scripted::answering(|query| {
        let glue = wire::record(&wire::name("mx.test"), wire::A, wire::IN, 300, &[192, 0, 2, 9]);
        let mx = wire::record(&[0xc0, 12], wire::MX, wire::IN, 300, b"\x00\x0a\x02mx\x04test\x00");
        let mut answer = query.answer(wire::RA, 0, &[mx], None);
        // ARCOUNT.
        answer[11] = 1;
        answer.extend(glue);
        answer
    });
    let server = Setup::new(upstream.address).serve();
    assert_eq!(server.dig().ask("glue.test", "MX").rdata("MX"), ["10 mx.test."]);
    assert_eq!(server.record_of("glue.test").0["answers"], serde_json::json!([]));
}

#[test]
fn names_with_odd_octets_stay_one_record() {
    let server = serve();
    let qname = b"\x05a\"b\\\n\x04\x00\xff.,\x07example\x04test\x00".to_vec();
    server.ask(&Query { qname, ..Query::new("", wire::A) });
    server.ask(&Query::new("", wire::A));
    let records = server.log(&[]);
    assert_eq!(records.len(), 2, "{records:#?}");
    assert_eq!(records[0].text("qname"), ".", "the root has no dot to lose");
    // Presentation format (RFC 1035, section 5.1).
    assert_eq!(records[1].text("qname"), r#"a\"b\\\010.\000\255\.,.example.test"#);
    for format in ["table", "csv"] {
        let text = server.house().run("log", &["--format", format]).well().stdout;
        assert!(!text.contains('\0'), "{text:?}");
        assert_eq!(text.lines().count(), 3, "a head and two records: {text:?}");
    }
}

#[test]
fn a_record_is_there_when_its_answer_is() {
    let server = serve();
    let udp = wire::Udp::to(server.dns);
    for number in 0..20 {
        // Listed and unlisted, cached or not.
        let qname =
            format!("n{number}.{}", if number % 2 == 0 { "evil.example.test" } else { "example.test" });
        udp.ask(&Query::new(&qname, wire::A).bytes()).unwrap();
        server.record_of(&qname);
    }
}

#[test]
fn kill_9_loses_nothing_that_was_answered() {
    let server = serve();
    let udp = wire::Udp::to(server.dns);
    for number in 0..200 {
        let qname =
            format!("n{number}.{}", if number % 2 == 0 { "evil.example.test" } else { "example.test" });
        udp.ask(&Query::new(&qname, wire::A).bytes()).unwrap();
    }
    let house = server.stop(Signal::KILL).house;
    let mut asked: Vec<_> = house.log(&[]).iter().map(|record| record.text("qname").to_owned()).collect();
    assert_eq!(asked.len(), 200);
    asked.sort();
    asked.dedup();
    assert_eq!(asked.len(), 200);

    // The next server goes on where that one was stopped.
    let server = house.serve();
    server.dig().ask("after.example.test", "A");
    let records = server.log(&[]);
    assert_eq!(records.len(), 201);
    assert_eq!(records[0].text("qname"), "after.example.test", "newest first");
}

#[test]
fn it_is_read_without_a_server_too() {
    let server = serve();
    server.dig().ask("evil.example.test", "A");
    server.dig().ask("www.example.test", "A");
    let while_running = server.log(&[]);
    let house = server.stop(Signal::TERM).house;
    let after = house.log(&[]);
    let values = |records: &[Record]| records.iter().map(|record| record.0.clone()).collect::<Vec<_>>();
    assert_eq!(values(&while_running), values(&after));
    assert_eq!(after.len(), 2);
}

#[test]
fn no_log_yet_is_told() {
    // More likely the wrong working directory than a province without queries.
    let finished = Setup::new(nsd::address()).lay().run("log", &[]);
    assert_eq!(finished.code(), 1, "{finished:#?}");
    assert!(finished.stderr.contains("data_dir") && finished.stdout.is_empty(), "{finished:#?}");
}

#[test]
fn hits_only_when_so_configured() {
    let server = Setup::new(nsd::address())
        .feed("authority", "evil.example.test\n")
        .more("[log]\nqueries = \"hits\"\n")
        .serve();
    server.dig().ask("www.example.test", "A");
    server.dig().ask("evil.example.test", "A");
    server.dig().ask("www.example.test", "A");
    let records = server.log(&[]);
    assert_eq!(records.len(), 1, "{records:#?}");
    records[0].assert(&[("qname", "evil.example.test"), ("action", "sinkhole")]);
}
