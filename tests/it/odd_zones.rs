//! Signed zones as no name server would serve them: what we make of them, and what Unbound does.
//! docs/resolver-differences.md says why the two differ.

use crate::harness::dig::Dig;
use crate::harness::namespace::inside;
use crate::harness::scripted::{Seen, Step};
use crate::harness::signer::Signer;
use crate::harness::wilds::{ATTACKER, Wilds, a, deny, ns, refer, rr, say, soa};
use crate::harness::wire::{self, name};

/// Asks both about a name in `attack.`, which is signed and whose server does this where its keys are not asked for.
#[track_caller]
fn check(
    qname: &str,
    [ours, unbounds]: [&str; 2],
    script: impl Fn(&Seen, &Signer) -> Vec<Step> + Send + Sync + 'static,
) -> Vec<Seen> {
    check_signed_by(Signer::new("attack"), qname, [ours, unbounds], script)
}

/// As [`check`], signed by this one; what we asked.
#[track_caller]
fn check_signed_by(
    signer: Signer,
    qname: &str,
    [ours, unbounds]: [&str; 2],
    script: impl Fn(&Seen, &Signer) -> Vec<Step> + Send + Sync + 'static,
) -> Vec<Seen> {
    let anchor = signer.anchor();
    let wilds = Wilds::start(move |query| match (query.qtype(), &*query.qname()) {
        (wire::DNSKEY, "attack.") => say(query, &signer.sign("attack", wire::DNSKEY, &[signer.dnskey()])),
        _ => script(query, &signer),
    });
    let house = wilds.house(&anchor);
    let unbound = wilds.unbound(&house, &anchor);
    let server = house.serve();
    let mut seen = Vec::new();
    for (address, expected, who) in [(server.dns, ours, "sachdns"), (unbound.address, unbounds, "unbound")] {
        let reply = Dig::at(address).with("+dnssec").ask(qname, "A");
        let ad = if reply.has_flag("ad") { " AD" } else { "" };
        let ede = reply.ede_code().map_or(String::new(), |code| format!(" {code}"));
        let got = format!("{}{ad}{ede}", reply.status);
        assert_eq!(got, expected, "{who}: {}\n{}", reply.raw, unbound.text());
        if who == "sachdns" {
            seen = wilds.attacker.seen();
        }
    }
    seen
}

/// The signed SOA record of `attack.`.
fn signed_soa(signer: &Signer) -> Vec<Vec<u8>> {
    let record = soa("attack");
    // Behind the owner and ten octets of type, class, TTL and length.
    signer.sign("attack", wire::SOA, &[record[name("attack").len() + 10..].to_vec()])
}

/// The signed NSEC record of a name, with the types TXT, RRSIG and NSEC.
fn nsec(signer: &Signer, owner: &str, next: &str) -> Vec<Vec<u8>> {
    signer.sign(owner, wire::NSEC, &[[&name(next)[..], &[0, 6, 0, 0, 0x80, 0, 0, 3]].concat()])
}

/// A sound zone with one name.
fn sound(query: &Seen, signer: &Signer) -> Vec<Step> {
    match (query.qtype(), &*query.qname()) {
        (wire::A, "www.attack.") => say(query, &signer.sign("www.attack", wire::A, &[vec![192, 0, 2, 66]])),
        _ => deny(query, 0, &[signed_soa(signer), nsec(signer, "attack", "www.attack")].concat()),
    }
}

#[test]
fn signed_zones_are_secure_as_they_should_be() {
    inside(|| drop(check("www.attack", ["NOERROR AD"; 2], sound)));
}

#[test]
fn keys_that_are_long_are_computed_with() {
    inside(|| drop(check_signed_by(Signer::rsa("attack", 4096), "www.attack", ["NOERROR AD"; 2], sound)));
}

#[test]
fn keys_that_are_too_long_are_not() {
    inside(|| {
        check_signed_by(Signer::rsa("attack", 4104), "www.attack", ["NOERROR 1", "NOERROR AD"], sound);
    });
}

#[test]
fn a_proof_of_nodata_proves_no_nxdomain() {
    inside(|| {
        check("text.attack", ["SERVFAIL 6", "NOERROR AD"], |query, signer| match &*query.qname() {
            "text.attack." => {
                let proof = nsec(signer, "text.attack", "zebra.attack");
                deny(query, 3, &[signed_soa(signer), proof].concat())
            }
            _ => deny(query, 0, &[signed_soa(signer), nsec(signer, "attack", "text.attack")].concat()),
        });
    });
}

#[test]
fn delegations_whose_ds_records_cannot_be_had_are_bogus() {
    inside(|| {
        check("www.child.attack", ["SERVFAIL 22", "SERVFAIL 23"], |query, signer| {
            match (query.qtype(), &*query.qname()) {
                (wire::DS, "child.attack.") => vec![Step::Send(query.message(2, [&[], &[], &[]]))],
                (_, "child.attack.") => {
                    refer(query, &[ns("child.attack", "ns.child.attack")], &[a("ns.child.attack", ATTACKER)])
                }
                (wire::A, "www.child.attack.") => {
                    say(query, &[rr("www.child.attack", wire::A, &[192, 0, 2, 66])])
                }
                _ => deny(query, 0, &[signed_soa(signer), nsec(signer, "attack", "www.attack")].concat()),
            }
        });
    });
}

/// The NSEC record of an insecure delegation: the types NS, RRSIG and NSEC.
fn no_ds(signer: &Signer, owner: &str) -> Vec<Vec<u8>> {
    let data = [&name("zebra.attack")[..], &[0, 6, 0x20, 0, 0, 0, 0, 3]].concat();
    signer.sign(owner, wire::NSEC, &[data])
}

/// What says to a name in `child.attack`, whose referral has this proof.
fn insecure(query: &Seen, signer: &Signer, proof: &[Vec<u8>]) -> Vec<Step> {
    let delegation = [ns("child.attack", "ns.child.attack")];
    match (query.qtype(), &*query.qname()) {
        (wire::DS, "child.attack.") => {
            deny(query, 0, &[signed_soa(signer), no_ds(signer, "child.attack")].concat())
        }
        (_, "child.attack.") => {
            refer(query, &[&delegation, proof].concat(), &[a("ns.child.attack", ATTACKER)])
        }
        (wire::A, "www.child.attack.") => say(query, &[rr("www.child.attack", wire::A, &[192, 0, 2, 66])]),
        _ => deny(query, 0, &[signed_soa(signer), nsec(signer, "attack", "child.attack")].concat()),
    }
}

#[test]
fn a_referrals_proof_saves_a_question() {
    inside(|| {
        let seen = check("www.child.attack", ["NOERROR"; 2], |query, signer| {
            insecure(query, signer, &no_ds(signer, "child.attack"))
        });
        let asked: Vec<_> = seen.iter().map(|query| (query.qname(), query.qtype())).collect();
        let expected =
            [("child.attack.", wire::A), ("www.child.attack.", wire::A), ("attack.", wire::DNSKEY)];
        assert_eq!(asked, expected.map(|(qname, qtype)| (qname.to_owned(), qtype)));
    });
}

#[test]
fn a_referrals_forged_proof_is_asked_for_again() {
    inside(|| {
        let seen = check("www.child.attack", ["NOERROR"; 2], |query, signer| {
            let mut forged = no_ds(signer, "child.attack");
            if let Some(octet) = forged.last_mut().and_then(|signature| signature.last_mut()) {
                *octet ^= 1;
            }
            insecure(query, signer, &forged)
        });
        assert!(seen.iter().any(|query| query.qtype() == wire::DS));
    });
}

#[test]
fn a_referrals_proof_of_another_name_is_none() {
    inside(|| {
        let seen = check("www.child.attack", ["NOERROR"; 2], |query, signer| {
            insecure(query, signer, &no_ds(signer, "other.attack"))
        });
        assert!(seen.iter().any(|query| query.qtype() == wire::DS));
    });
}
