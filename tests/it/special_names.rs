//! Special-use names are answered here, as their RFCs say, and asked of nobody.

use crate::harness::house::Setup;
use crate::harness::scripted::Scripted;
use crate::harness::server::Server;

/// An upstream that has an address for every name, so that what reaches it shows.
fn upstream() -> Scripted {
    Scripted::answering(|query| query.answer_a([192, 0, 2, 7]))
}

#[track_caller]
fn check(server: &Server, qname: &str, qtype: &str, status: &str, rdata: &[&str], soa: Option<&str>) {
    let reply = server.dig().ask(qname, qtype);
    assert_eq!(reply.status, status, "{}", reply.raw);
    let got: Vec<_> = reply.answer.iter().map(|rr| rr.rdata.as_str()).collect();
    assert_eq!(got, rdata, "{}", reply.raw);
    let got: Vec<_> = reply.authority.iter().map(|rr| (rr.name.as_str(), rr.rtype.as_str())).collect();
    assert_eq!(got, soa.map(|name| (name, "SOA")).into_iter().collect::<Vec<_>>(), "{}", reply.raw);
    assert!(reply.has_flag("aa") && reply.has_flag("ra") && !reply.has_flag("ad"), "{}", reply.raw);
    assert!(reply.opt.is_some(), "{}", reply.raw);
}

#[test]
fn they_are_answered_here() {
    let upstream = upstream();
    let server = Setup::new(upstream.address).serve();
    let negative = |qname: &str, qtype: &str, status: &str, soa: &str| {
        check(&server, qname, qtype, status, &[], Some(soa));
    };
    // RFC 6761, section 6.3.
    check(&server, "localhost", "A", "NOERROR", &["127.0.0.1"], None);
    check(&server, "LocalHost", "AAAA", "NOERROR", &["::1"], None);
    check(&server, "www.localhost", "A", "NOERROR", &["127.0.0.1"], None);
    negative("localhost", "MX", "NOERROR", "localhost.");
    negative("a.b.localhost", "HTTPS", "NOERROR", "localhost.");
    check(&server, "1.0.0.127.in-addr.arpa", "PTR", "NOERROR", &["localhost."], None);
    check(&server, "9.8.7.127.in-addr.arpa", "PTR", "NOERROR", &["localhost."], None);
    negative("0.0.127.in-addr.arpa", "PTR", "NOERROR", "127.in-addr.arpa.");
    negative("1.0.0.127.in-addr.arpa", "A", "NOERROR", "127.in-addr.arpa.");
    negative("256.0.0.127.in-addr.arpa", "PTR", "NXDOMAIN", "127.in-addr.arpa.");
    negative("1.1.0.0.127.in-addr.arpa", "PTR", "NXDOMAIN", "127.in-addr.arpa.");
    let one = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa";
    check(&server, one, "PTR", "NOERROR", &["localhost."], None);
    negative(&format!("x.{one}"), "PTR", "NXDOMAIN", &format!("{one}."));
    // Names that are in no DNS.
    for name in ["invalid", "onion", "local", "alt"] {
        negative(name, "A", "NXDOMAIN", &format!("{name}."));
        negative(&format!("www.some.{name}"), "AAAA", "NXDOMAIN", &format!("{name}."));
    }
    // Empty zones (RFC 6303, section 3).
    for zone in [
        "home.arpa",
        "10.in-addr.arpa",
        "16.172.in-addr.arpa",
        "31.172.in-addr.arpa",
        "168.192.in-addr.arpa",
        "254.169.in-addr.arpa",
        "64.100.in-addr.arpa",
        "0.in-addr.arpa",
        "255.255.255.255.in-addr.arpa",
        "2.0.192.in-addr.arpa",
        "d.f.ip6.arpa",
        "8.e.f.ip6.arpa",
        "8.b.d.0.1.0.0.2.ip6.arpa",
    ] {
        let apex = format!("{zone}.");
        check(&server, zone, "NS", "NOERROR", &[&apex], None);
        let soa = format!("{apex} nobody.invalid. 1 3600 1200 604800 10800");
        check(&server, zone, "SOA", "NOERROR", &[&soa], None);
        negative(zone, "A", "NOERROR", &apex);
        negative(&format!("1.2.{zone}"), "PTR", "NXDOMAIN", &apex);
    }
    // RFC 9462, section 6.4: no designated resolver, and no other name server asked for one.
    negative("_dns.resolver.arpa", "SVCB", "NOERROR", "resolver.arpa.");
    assert!(upstream.seen().is_empty(), "nobody else is asked");
    let records = server.log(&[]);
    assert!(records.iter().all(|record| record.text("action") == "local"), "{records:#?}");
    // Kept ready by the workers the third time, and the same.
    for _ in 0..4 {
        check(&server, "www.localhost", "A", "NOERROR", &["127.0.0.1"], None);
    }
    server.log(&["--name", "www.localhost"])[0].assert(&[("action", "local"), ("rcode", "NOERROR")]);
}

#[test]
fn names_that_only_look_special_are_resolved() {
    let upstream = upstream();
    let server = Setup::new(upstream.address).serve();
    for name in [
        "test",
        "www.test",
        "example",
        "www.example.com",
        "notlocal",
        "local.example",
        "15.172.in-addr.arpa",
        "32.172.in-addr.arpa",
        "8.8.8.8.in-addr.arpa",
        "128.100.in-addr.arpa",
        "arpa",
        "in-addr.arpa",
        "intranet",
    ] {
        let reply = server.dig().ask(name, "A");
        assert_eq!(reply.rdata("A"), ["192.0.2.7"], "{}", reply.raw);
        assert!(!reply.has_flag("aa"), "{}", reply.raw);
    }
    assert_eq!(upstream.seen().len(), 13);
}

#[test]
fn the_table_can_be_put_off_in_part_or_whole() {
    let upstream = upstream();
    let is_resolved = |server: &Server, name: &str| server.dig().ask(name, "A").rdata("A") == ["192.0.2.7"];
    let house = Setup::new(upstream.address).more("").lay();
    let text = house.read("sachdns.toml");
    let with = |lines: &str| text.replace("[resolver]\n", &format!("[resolver]\n{lines}\n"));
    house.write("sachdns.toml", &with("special_except = [\"5.10.in-addr.arpa\", \"home.arpa\"]"));
    let server = house.serve();
    assert!(is_resolved(&server, "5.10.in-addr.arpa"));
    assert!(is_resolved(&server, "1.2.5.10.in-addr.arpa"));
    assert!(is_resolved(&server, "home.arpa"));
    assert!(!is_resolved(&server, "1.2.6.10.in-addr.arpa"));
    assert!(!is_resolved(&server, "localhost"));
    // What a route takes is asked of who it says.
    let other = Scripted::answering(|query| query.answer_a([192, 0, 2, 8]));
    let route =
        format!("\n[[route]]\ndomain = \"168.192.in-addr.arpa\"\nupstreams = [\"{}\"]\n", other.address);
    server.house().write("sachdns.toml", &(text.clone() + &route));
    server.reload().well();
    assert_eq!(server.dig().ask("1.168.192.in-addr.arpa", "A").rdata("A"), ["192.0.2.8"]);
    assert!(!is_resolved(&server, "1.2.5.10.in-addr.arpa"));
    server.house().write("sachdns.toml", &with("special_names = false"));
    server.reload().well();
    assert!(is_resolved(&server, "www.localhost"));
    assert!(is_resolved(&server, "6.10.in-addr.arpa"));
}

#[test]
fn the_policy_decides_first() {
    let upstream = upstream();
    let server = Setup::new(upstream.address).feed("authority", "evil.onion\n").serve();
    assert_eq!(server.dig().ask("www.evil.onion", "A").rdata("A"), ["10.10.10.10"]);
    assert_eq!(server.dig().ask("good.onion", "A").status, "NXDOMAIN");
    server.record_of("www.evil.onion").assert(&[("action", "sinkhole"), ("feed", "authority")]);
}
