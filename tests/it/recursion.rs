//! `resolver.mode = "recurse"`: names are resolved from the root, on a small internet of real servers.

use crate::harness::internet::{Internet, tree};

#[test]
fn unbound_resolves_on_it() {
    let internet = Internet::start(&tree());
    let unbound = internet.unbound("");
    let ask = |qname: &str| internet.dig(unbound.address).with("+dnssec").ask(qname, "A");
    let reply = ask("www.signed.example");
    assert_eq!(reply.rdata("A"), ["192.0.2.80"], "{}\n{}", reply.raw, unbound.lines().text());
    assert!(reply.has_flag("ad"), "{}", reply.raw);
    let reply = ask("www.tinh.gov.vn");
    assert!(reply.has_flag("ad"), "{}", reply.raw);
    assert_eq!(ask("www.glueless.example").rdata("A"), ["192.0.2.91"]);
    assert_eq!(ask("www.bogus.example").status, "SERVFAIL");
    assert_eq!(ask("www.expired.example").status, "SERVFAIL");
}
