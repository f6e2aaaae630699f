//! `resolver.mode = "recurse"`: names are resolved from the root, on a small internet of real servers.

use crate::harness::dig::{Dig, Reply};
use crate::harness::internet::{Internet, tree};
use crate::harness::server::Server;

struct Scene {
    server: Server,
    internet: Internet,
}

impl Scene {
    fn start(resolver: &str) -> Self {
        let internet = Internet::start(&tree());
        let server = internet.house(resolver, "").serve();
        Self { server, internet }
    }

    fn dig(&self) -> Dig {
        self.internet.dig(self.server.dns)
    }

    #[track_caller]
    fn ask(&self, qname: &str, qtype: &str) -> Reply {
        self.dig().ask(qname, qtype)
    }

    /// The addresses that a name leads to.
    #[track_caller]
    fn check(&self, qname: &str, expected: &[&str]) {
        let reply = self.ask(qname, "A");
        assert_eq!((&*reply.status, reply.rdata("A")), ("NOERROR", expected.to_vec()), "{}", reply.raw);
        assert!(reply.has_flag("ra") && !reply.has_flag("aa"), "{}", reply.raw);
    }

    /// The extended error of a name that does not resolve.
    #[track_caller]
    fn check_failure(&self, qname: &str, expected: &str) {
        let reply = self.ask(qname, "A");
        assert_eq!(reply.status, "SERVFAIL", "{}", reply.raw);
        assert_eq!(reply.ede(), Some(expected), "{}", reply.raw);
    }

    /// As [`Self::check_failure`], by the code alone.
    #[track_caller]
    fn check_failure_code(&self, qname: &str, expected: u16) {
        let reply = self.ask(qname, "A");
        assert_eq!((&*reply.status, reply.ede_code()), ("SERVFAIL", Some(expected)), "{}", reply.raw);
    }
}

#[test]
fn names_are_resolved_from_the_root() {
    let scene = Scene::start("dnssec = false\n");
    scene.check("www.signed.example", &["192.0.2.80"]);
    scene.check("WWW.signed.EXAMPLE", &["192.0.2.80"]);
    scene.check("www.plain.example", &["192.0.2.90"]);
    scene.check("www.gov.vn", &["192.0.2.20"]);
    scene.check("www.tinh.gov.vn", &["192.0.2.30"]);
    scene.check("any.w.tinh.gov.vn", &["192.0.2.31"]);
    // Over empty names.
    scene.check("deep.er.still.tinh.gov.vn", &["192.0.2.32"]);
    // Aliases within a zone, into another one, and by a DNAME record.
    scene.check("alias.signed.example", &["192.0.2.80"]);
    scene.check("far.signed.example", &["192.0.2.30"]);
    scene.check("alias.plain.example", &["192.0.2.80"]);
    scene.check("www.tree.signed.example", &["192.0.2.30"]);
    // A server whose address has to be found, and one of two that is lame.
    scene.check("www.glueless.example", &["192.0.2.91"]);
    scene.check("www.half.example", &["192.0.2.92"]);
    assert_eq!(scene.ask("www.signed.example", "TXT").rdata("TXT"), ["\"one\" \"two\""]);
    assert_eq!(scene.ask("odd.signed.example", "TYPE65534").answer.len(), 1);
    assert_eq!(scene.ask("alias.signed.example", "CNAME").rdata("CNAME"), ["www.signed.example."]);
    assert_eq!(scene.ask("signed.example", "NS").rdata("NS"), ["ns1.signed.example."]);
    assert_eq!(scene.ask(".", "NS").rdata("NS").len(), 2);
    assert_eq!(scene.ask("signed.example", "DS").rdata("DS").len(), 1);
    scene.ask("www.signed.example", "MX").assert_nodata();
    scene.ask("ent.signed.example", "A").assert_nodata();
    scene.ask("plain.example", "DS").assert_nodata();
    for qname in ["nothing.signed.example", "a.b.nothing.example", "nothing", "dangling.signed.example"] {
        let reply = scene.ask(qname, "A");
        assert_eq!((&*reply.status, reply.authority.len()), ("NXDOMAIN", 1), "{}", reply.raw);
    }
}

#[test]
fn what_cannot_be_resolved_ends_in_servfail_that_says_why() {
    let scene = Scene::start("dnssec = false\n");
    scene.check_failure(
        "www.lame.example",
        "22 (No Reachable Authority): (the servers of lame.example refuse, fail or are lame)",
    );
    scene.check_failure("www.dead.example", "23 (Network Error): (no server of dead.example can be reached)");
    let addressless =
        |zone: &str| format!("22 (No Reachable Authority): (no server of {zone} has an address)");
    scene.check_failure("www.self.example", &addressless("self.example"));
    scene.check_failure("www.loop.example", &addressless("loop.example"));
    scene.check_failure("round.signed.example", "0 (Other): (too many aliases)");
}

#[test]
fn dnssec_records_are_for_those_who_ask_for_them() {
    let scene = Scene::start("dnssec = false\n");
    let plain = scene.ask("www.signed.example", "A");
    assert_eq!(plain.answer.len(), 1, "{}", plain.raw);
    let signed = scene.dig().with("+dnssec").ask("www.signed.example", "A");
    assert_eq!((signed.rdata("A").len(), signed.rdata("RRSIG").len()), (1, 1), "{}", signed.raw);
    let denied = scene.dig().with("+dnssec").ask("nothing.signed.example", "A");
    let count = |rtype: &str| denied.authority.iter().filter(|rr| rr.rtype == rtype).count();
    assert_eq!((count("SOA"), count("RRSIG")), (1, 1 + count("NSEC")), "{}", denied.raw);
    assert!(count("NSEC") > 0, "{}", denied.raw);
    let wild = scene.dig().with("+dnssec").ask("some.wild.signed.example", "A");
    assert!(wild.authority.iter().any(|rr| rr.rtype == "NSEC"), "a wildcard's proof: {}", wild.raw);
}

#[test]
fn without_rd_only_what_is_known_is_told() {
    let scene = Scene::start("dnssec = false\n");
    let dig = || scene.dig().with("+norecurse");
    let reply = dig().ask("www.signed.example", "A");
    assert_eq!((&*reply.status, reply.ede_code()), ("REFUSED", Some(20)), "{}", reply.raw);
    scene.check("www.signed.example", &["192.0.2.80"]);
    let reply = dig().ask("www.signed.example", "A");
    assert_eq!(reply.rdata("A"), ["192.0.2.80"], "{}", reply.raw);
    assert!(!reply.has_flag("rd"), "{}", reply.raw);
}

#[test]
fn unbound_says_the_same() {
    let scene = Scene::start("dnssec = false\n");
    let unbound = scene.internet.unbound("module-config: \"iterator\"");
    for (qname, qtype) in [
        ("www.signed.example", "A"),
        ("www.signed.example", "AAAA"),
        ("www.signed.example", "MX"),
        ("alias.signed.example", "A"),
        ("far.signed.example", "A"),
        ("far.signed.example", "CNAME"),
        ("plain.signed.example", "A"),
        ("dangling.signed.example", "A"),
        ("www.tree.signed.example", "A"),
        ("www.tree.signed.example", "DNAME"),
        ("tree.signed.example", "DNAME"),
        ("ent.signed.example", "A"),
        ("x.wild.signed.example", "TXT"),
        ("www.glueless.example", "A"),
        ("www.half.example", "A"),
        ("www.lame.example", "A"),
        ("www.self.example", "A"),
        ("www.loop.example", "A"),
        ("www.tinh.gov.vn", "A"),
        ("gov.vn", "NS"),
        ("gov.vn", "DS"),
        ("tinh.gov.vn", "DNSKEY"),
        ("nothing.vn", "A"),
        ("nothing", "A"),
        (".", "SOA"),
    ] {
        let [ours, theirs] = [scene.server.dns, unbound.address].map(|server| {
            let mut reply = scene.internet.dig(server).with("+bufsize=4096").ask(qname, qtype);
            reply.answer.iter_mut().for_each(|rr| rr.ttl = 0);
            reply.answer.sort_by(|a, b| (&a.rtype, &a.rdata).cmp(&(&b.rtype, &b.rdata)));
            let authority: Vec<_> =
                reply.authority.iter().filter(|rr| rr.rtype == "SOA").map(|rr| rr.rdata.clone()).collect();
            (reply.status, reply.answer, authority)
        });
        assert_eq!(ours, theirs, "{qname} {qtype}\n{}", unbound.text());
    }
}

/// With DNSSEC: what is signed rightly is told so, what should be and is not is not given out.
#[test]
fn answers_are_validated_from_the_root() {
    let scene = Scene::start("");
    let unbound = scene.internet.unbound("");
    let check = |qname: &str, qtype: &str, expected: &str| {
        for (server, who) in [(scene.server.dns, "sachdns"), (unbound.address, "unbound")] {
            let reply = scene.internet.dig(server).with("+dnssec").ask(qname, qtype);
            let ad = if reply.has_flag("ad") { " AD" } else { "" };
            assert_eq!(format!("{}{ad}", reply.status), expected, "{who}: {}", reply.raw);
        }
    };
    check("www.signed.example", "A", "NOERROR AD");
    check("www.signed.example", "MX", "NOERROR AD");
    check("ent.signed.example", "A", "NOERROR AD");
    check("nothing.signed.example", "A", "NXDOMAIN AD");
    check("some.wild.signed.example", "A", "NOERROR AD");
    check("some.wild.signed.example", "MX", "NOERROR AD");
    check("odd.signed.example", "TYPE65534", "NOERROR AD");
    check("alias.signed.example", "A", "NOERROR AD");
    check("far.signed.example", "A", "NOERROR AD");
    check("www.tree.signed.example", "A", "NOERROR AD");
    check("www.tinh.gov.vn", "A", "NOERROR AD");
    check("any.w.tinh.gov.vn", "A", "NOERROR AD");
    check("nothing.tinh.gov.vn", "A", "NXDOMAIN AD");
    check("signed.example", "DS", "NOERROR AD");
    check("tinh.gov.vn", "DNSKEY", "NOERROR AD");
    check(".", "NS", "NOERROR AD");
    check("nothing", "A", "NXDOMAIN AD");
    // Nothing that was not validated stands in it.
    assert!(scene.dig().with("+dnssec").ask("www.signed.example", "A").authority.is_empty());
    // Insecurely delegated, by NSEC and by NSEC3 with opt-out, or by an algorithm that nobody knows.
    check("www.plain.example", "A", "NOERROR");
    check("plain.example", "DS", "NOERROR AD");
    check("ns.helper.vn", "A", "NOERROR");
    check("plain.signed.example", "A", "NOERROR");
    check("www.future.example", "A", "NOERROR");
    check("www.digest.example", "A", "NOERROR");
    check("www.hashed.example", "A", "NOERROR AD");
    check("nothing.hashed.example", "A", "NXDOMAIN");
    for qname in ["www.bogus.example", "bad.signed.example", "www.expired.example", "www.mismatch.example"] {
        check(qname, "A", "SERVFAIL");
    }
    let code = |qname: &str| scene.ask(qname, "A").ede_code();
    assert_eq!(code("www.bogus.example"), Some(6));
    assert_eq!(code("www.expired.example"), Some(7));
    assert_eq!(code("www.mismatch.example"), Some(9));

    // What is insecure is told only where hardly anybody wanted it so.
    assert_eq!(code("www.future.example"), Some(1));
    assert_eq!(code("www.digest.example"), Some(2));
    assert_eq!(code("nothing.hashed.example"), Some(27));
    for qname in ["www.hashed.example", "www.plain.example", "plain.signed.example", "www.signed.example"] {
        assert_eq!(code(qname), None, "{qname}");
    }
    // From the cache too, and in front of it.
    for _ in 0..3 {
        let reply = scene.ask("www.future.example", "A");
        let expected = "1 (Unsupported DNSKEY Algorithm): (future.example is signed with algorithm 200, which is not supported)";
        assert_eq!((reply.ede(), reply.rdata("A")), (Some(expected), vec!["192.0.2.97"]), "{}", reply.raw);
    }
    assert_eq!(scene.dig().with("+cdflag").ask("www.future.example", "A").ede_code(), None);

    // Who checks by itself gets it, whatever is kept; who asks for no DNSSEC is not told AD.
    let unchecked = scene.dig().with("+cdflag").with("+dnssec").ask("www.bogus.example", "A");
    assert_eq!((unchecked.rdata("A"), unchecked.has_flag("ad")), (vec!["192.0.2.94"], false));
    scene.check_failure_code("www.bogus.example", 6);
    assert!(!scene.dig().with("+noadflag").ask("www.signed.example", "A").has_flag("ad"));
    assert!(scene.dig().with("+adflag").ask("www.signed.example", "A").has_flag("ad"));
}

#[test]
fn a_negative_trust_anchor_lets_a_broken_zone_through() {
    let scene = Scene::start("negative_trust_anchors = [\"bogus.example\"]\n");
    let reply = scene.dig().with("+dnssec").ask("www.bogus.example", "A");
    assert_eq!((reply.rdata("A"), reply.has_flag("ad")), (vec!["192.0.2.94"], false), "{}", reply.raw);
    scene.check_failure_code("www.expired.example", 7);
    assert!(scene.dig().with("+dnssec").ask("www.signed.example", "A").has_flag("ad"));
}
