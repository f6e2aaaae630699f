//! Only clients of `server.allow` are served; the others are told so, and leave their record too.

use crate::harness::house::Setup;
use crate::harness::nsd;

#[test]
fn a_client_outside_is_refused_and_logged() {
    let server =
        Setup::new(nsd::address()).allow(r#"["127.0.0.1/32"]"#).feed("authority", "evil.example\n").serve();
    for qname in ["www.example.test", "evil.example"] {
        for transport in ["+notcp", "+tcp"] {
            let reply = server.dig().from("127.0.0.2").with(transport).ask(qname, "A");
            assert_eq!(reply.status, "REFUSED", "{}", reply.raw);
            assert!(reply.answer.is_empty(), "{}", reply.raw);
            // Prohibited (RFC 8914, section 4.19).
            assert_eq!(reply.ede_code(), Some(18), "{}", reply.raw);
        }
        let plain = server.dig().from("127.0.0.2").with("+noedns").ask(qname, "A");
        assert_eq!(plain.status, "REFUSED");
        assert!(plain.opt.is_none(), "{}", plain.raw);
    }
    let refused = server.log(&["--client", "127.0.0.2"]);
    assert_eq!(refused.len(), 6, "{refused:#?}");
    for record in &refused {
        record.assert(&[("client", "127.0.0.2"), ("action", "refused"), ("rcode", "REFUSED"), ("feed", "")]);
    }

    let reply = server.dig().from("127.0.0.1").ask("www.example.test", "A");
    assert_eq!(reply.rdata("A"), ["192.0.2.80"], "{}", reply.raw);
}

#[test]
fn the_longest_network_names_the_agency() {
    let server = Setup::new(nsd::address())
        .agency("province", "Tỉnh", "127.0.0.0/8", "it@province.test")
        .agency("so-tttt", "Sở Thông tin và Truyền thông", "127.1.0.0/16", "it@stttt.test")
        .serve();
    for (client, agency) in [("127.0.0.1", "province"), ("127.1.2.3", "so-tttt"), ("127.2.0.1", "province")] {
        server.dig().from(client).ask("www.example.test", "A");
        let records = server.log(&["--client", client]);
        assert_eq!(records.len(), 1);
        records[0].assert(&[("agency", agency), ("client", client)]);
    }
}

#[test]
fn a_client_of_no_agency_is_served() {
    let server = Setup::new(nsd::address()).agency("far", "Far", "10.0.0.0/8", "it@far.test").serve();
    assert_eq!(server.dig().ask("www.example.test", "A").rdata("A"), ["192.0.2.80"]);
    server.record_of("www.example.test").assert(&[("agency", ""), ("client", "127.0.0.1")]);
}
