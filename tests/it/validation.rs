//! What is signed is told from what is not, and from what should be; with the causes that operators look for.
//!
//! Each question is put to our validator and to Unbound with the same trust anchor, over the same zones. Where the two
//! differ, docs/resolver-differences.md says why.

use std::net::SocketAddr;
use std::time::SystemTime;

use sachdns::name::Name;
use sachdns::resolve::exchange::{Ask, Flag, Peer, Via, exchange};
use sachdns::resolve::validate::anchor::Anchors;
use sachdns::resolve::validate::{Attempt, Extent, Fetch, FetchError, Options, Validator, Verdict};
use sachdns::wire::{self, Response, Section};

use crate::harness::PATIENCE;
use crate::harness::dig::Dig;
use crate::harness::signed;

/// Asks the authoritative server, which has all the zones.
struct Direct(SocketAddr);

impl Fetch for Direct {
    async fn fetch(&self, name: &Name, rtype: u16, _: Attempt) -> Result<Vec<u8>, FetchError> {
        let question = [name.as_wire(), &rtype.to_be_bytes(), &wire::CLASS_IN.to_be_bytes()].concat();
        let ask =
            Ask { question, recursion: Flag::Clear, checking_disabled: Flag::Set, dnssec_ok: Flag::Set };
        exchange(&Peer::new(self.0.into()), &ask, Via::Udp).await.map_err(|_| FetchError::NoAnswer)
    }
}

fn name(text: &str) -> Name {
    Name::from_presentation(text).unwrap()
}

fn validator(negative: &[&str]) -> Validator {
    let anchors = Anchors::load(std::slice::from_ref(&signed::tree().anchor)).unwrap();
    Validator::new(Options { anchors, negative: negative.iter().map(|text| name(text)).collect() })
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("an answer in time") })
}

/// Validates as a resolver does: what an alias leads to is asked for by itself.
async fn ours(validator: &Validator, qname: &str, qtype: &str, now: u64) -> String {
    let direct = Direct(signed::tree().authority);
    let qtype = wire::type_number(qtype).unwrap();
    let mut qname = name(qname);
    let mut worst = "secure".to_owned();
    loop {
        let message = direct.fetch(&qname, qtype, Attempt::First).await.unwrap();
        let verdict = match validator.validate(&message, Extent::Part, now, &direct).await {
            Verdict::Secure { ttl } => {
                assert!(ttl <= 3600, "{ttl}");
                "secure".to_owned()
            }
            Verdict::Insecure(reason) if reason.ede() == 0 => "insecure".to_owned(),
            Verdict::Insecure(reason) => format!("insecure {}", reason.ede()),
            Verdict::Bogus(reason) => return format!("bogus {}", reason.ede()),
            Verdict::Indeterminate(reason) => format!("indeterminate {}", reason.ede()),
        };
        if worst == "secure" {
            worst = verdict;
        }
        match last_alias(&message, qtype) {
            Some(target) => qname = target,
            None => return worst,
        }
    }
}

/// Where a message's last alias leads, when nothing stands there.
fn last_alias(message: &[u8], qtype: u16) -> Option<Name> {
    let response = Response::parse(message).unwrap();
    let mut target = None;
    for record in response.records().map(Result::unwrap) {
        match record.rtype {
            wire::rtype::SOA if record.section == Section::Authority => return None,
            kind if kind == qtype && record.section == Section::Answer => return None,
            wire::rtype::CNAME if record.section == Section::Answer => {
                let mut expanded = Vec::new();
                wire::expand_name(message, record.rdata.start, &mut expanded)?;
                target = Name::from_wire(&expanded);
            }
            _ => {}
        }
    }
    target
}

fn unbounds(qname: &str, qtype: &str) -> &'static str {
    let reply = Dig::at(signed::tree().unbound).with("+dnssec").ask(qname, qtype);
    match &*reply.status {
        "SERVFAIL" => "bogus",
        _ if reply.has_flag("ad") => "secure",
        _ => "insecure",
    }
}

/// A question, what we say, and what Unbound says.
struct Row(&'static str, &'static str, &'static str, Unbound);

/// What Unbound says; its extended errors tell more, or less, with each question.
enum Unbound {
    Same,
    Says(&'static str),
}

use Unbound::{Same, Says};

const ROWS: &[Row] = &[
    // All that a sound zone can answer, with NSEC and ECDSA P-256.
    Row("test", "SOA", "secure", Same),
    Row("test", "DNSKEY", "secure", Same),
    Row("www.test", "A", "secure", Same),
    Row("www.test", "ANY", "secure", Same),
    Row("WWW.TEST", "A", "secure", Same),
    Row("www.test", "MX", "secure", Same),
    Row("nothing.test", "A", "secure", Same),
    Row("x.y.z.test", "A", "secure", Same),
    Row("a.wild.test", "TXT", "secure", Same),
    Row("a.b.wild.test", "TXT", "secure", Same),
    Row("a.wild.test", "A", "secure", Same),
    Row("*.wild.test", "TXT", "secure", Same),
    Row("*.wild.test", "A", "secure", Same),
    Row("wild.test", "TXT", "secure", Same),
    Row("ent.test", "A", "secure", Same),
    Row("alias.test", "A", "secure", Same),
    Row("alias.test", "CNAME", "secure", Same),
    Row("dangling.test", "A", "secure", Same),
    Row("www.below.test", "A", "secure", Same),
    Row("nothing.below.test", "A", "secure", Same),
    Row("www.below.test", "CNAME", "secure", Says("bogus")),
    Row("below.test", "DNAME", "secure", Same),
    // Names inside of data are compressed and folded, or not, type by type.
    Row("mixed.test", "MX", "secure", Same),
    Row("mixed.test", "NAPTR", "secure", Same),
    Row("mixed.test", "SRV", "secure", Same),
    Row("_25._tcp.test", "TLSA", "secure", Same),
    // The same with NSEC3 and RSA/SHA-256.
    Row("nsec3.test", "DS", "secure", Same),
    Row("nsec3.test", "DNSKEY", "secure", Same),
    Row("www.nsec3.test", "A", "secure", Same),
    Row("www.nsec3.test", "MX", "secure", Same),
    Row("nothing.nsec3.test", "A", "secure", Same),
    Row("a.b.wild.nsec3.test", "TXT", "secure", Same),
    Row("a.wild.nsec3.test", "A", "secure", Same),
    Row("ent.nsec3.test", "A", "secure", Same),
    Row("dangling.nsec3.test", "A", "secure", Same),
    // … with salt, the most iterations that count, and RSA/SHA-512.
    Row("www.salted.test", "A", "secure", Same),
    Row("nothing.salted.test", "A", "secure", Same),
    Row("a.wild.salted.test", "TXT", "secure", Same),
    // … with opt-out and Ed25519: what may be delegated without being listed is not known not to exist.
    Row("www.optout.test", "A", "secure", Same),
    Row("www.optout.test", "MX", "secure", Same),
    Row("ent.optout.test", "A", "secure", Same),
    Row("nothing.optout.test", "A", "insecure", Same),
    Row("a.wild.optout.test", "TXT", "insecure", Same),
    Row("x.nothing.optout.test", "DS", "insecure", Same),
    Row("www.sub.optout.test", "A", "insecure", Same),
    Row("nothing.sub.optout.test", "A", "insecure", Same),
    // … and ECDSA P-384.
    Row("www.p384.test", "A", "secure", Same),
    Row("nothing.p384.test", "A", "secure", Same),
    // Delegated without DS, the second signed all the same.
    Row("unsigned.test", "DS", "secure", Same),
    Row("www.unsigned.test", "A", "insecure", Same),
    Row("www.unsigned.test", "MX", "insecure", Same),
    Row("nothing.unsigned.test", "A", "insecure", Same),
    Row("alias.unsigned.test", "A", "insecure", Same),
    Row("www.undelegated.test", "A", "insecure", Same),
    Row("nothing.undelegated.test", "A", "insecure", Same),
    // An alias is worth as much as the least of what it leads to.
    Row("to-nsec3.test", "A", "secure", Same),
    Row("to-unsigned.test", "A", "insecure", Same),
    Row("to-bogus.test", "A", "bogus 6", Same),
    // One RRset changed after it was signed; the zone's others stand.
    Row("www.bogus.test", "A", "bogus 6", Same),
    Row("alias.bogus.test", "A", "bogus 6", Same),
    Row("www.bogus.test", "AAAA", "secure", Same),
    Row("nothing.bogus.test", "A", "secure", Same),
    // Out of their time.
    Row("www.expired.test", "A", "bogus 7", Same),
    Row("nothing.expired.test", "A", "bogus 7", Same),
    Row("www.future.test", "A", "bogus 8", Same),
    Row("nothing.future.test", "A", "bogus 8", Same),
    // Unbound gives a tenth of the term, an hour at the least.
    Row("www.late.test", "A", "bogus 7", Says("secure")),
    Row("www.early.test", "A", "bogus 8", Says("secure")),
    // Something is missing: signatures, proofs, keys.
    Row("www.nosig.test", "A", "bogus 10", Same),
    Row("www.nosig.test", "MX", "bogus 10", Same),
    Row("www.nosig.test", "AAAA", "secure", Same),
    Row("www.noproof.test", "A", "secure", Same),
    Row("www.noproof.test", "MX", "bogus 12", Same),
    Row("nothing.noproof.test", "A", "bogus 12", Same),
    Row("a.wild.noproof.test", "TXT", "bogus 12", Same),
    Row("www.nokey.test", "A", "bogus 9", Same),
    Row("nokey.test", "DNSKEY", "bogus 9", Same),
    Row("www.otherkey.test", "A", "bogus 9", Same),
    Row("nothing.otherkey.test", "A", "bogus 9", Same),
    Row("www.wrongtag.test", "A", "bogus 9", Same),
    Row("www.nozonekey.test", "A", "bogus 11", Same),
    // Nobody could check it.
    Row("algorithm.test", "DS", "secure", Same),
    Row("www.algorithm.test", "A", "insecure 1", Same),
    Row("nothing.algorithm.test", "A", "insecure 1", Same),
    Row("www.digest.test", "A", "insecure 2", Same),
    Row("www.sha1.test", "A", "insecure 1", Says("secure")),
    Row("nothing.sha1.test", "A", "insecure 1", Says("secure")),
    Row("www.ed448.test", "A", "insecure 1", Says("secure")),
    Row("www.short.test", "A", "insecure 1", Says("secure")),
    Row("nothing.some.test", "A", "insecure 27", Says("secure")),
    Row("www.more.test", "MX", "insecure 27", Says("secure")),
    // Too many iterations spoil proofs, and nothing else.
    Row("www.iterations.test", "A", "secure", Same),
    Row("www.iterations.test", "MX", "insecure 27", Same),
    Row("nothing.iterations.test", "A", "insecure 27", Same),
    Row("a.wild.iterations.test", "TXT", "insecure 27", Same),
];

#[test]
fn verdicts_are_those_of_unbound_but_for_the_documented_ones() {
    let validator = validator(&[]);
    let mut wrong = Vec::new();
    for Row(qname, qtype, expected, unbound) in ROWS {
        let got = block_on(ours(&validator, qname, qtype, seconds()));
        if got != *expected {
            wrong.push(format!("{qname} {qtype}: {got}, should be {expected}"));
        }
        let expected = match unbound {
            Same => expected.split(' ').next().unwrap(),
            Says(other) => other,
        };
        let got = unbounds(qname, qtype);
        if got != expected {
            wrong.push(format!("{qname} {qtype}: Unbound says {got}, should say {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn verdicts_do_not_depend_on_what_was_asked_before() {
    for Row(qname, qtype, expected, _) in ROWS {
        let got = block_on(ours(&validator(&[]), qname, qtype, seconds()));
        assert_eq!(got, *expected, "{qname} {qtype}");
    }
}

#[test]
fn time_decides_what_a_signature_is_worth() {
    let validator = validator(&[]);
    let now = seconds();
    let year = 365 * 86_400;
    for (time, expected) in
        [(now, "secure"), (now + year, "bogus 7"), (now - year, "bogus 8"), (now, "secure")]
    {
        // Keys that were kept are no longer good a year later.
        assert_eq!(block_on(ours(&validator, "www.nsec3.test", "A", time)), expected, "{time} at {now}");
    }
}

#[test]
fn negative_trust_anchors_end_validation_below_them() {
    let validator = validator(&["bogus.test", "expired.test"]);
    let check = |qname: &str, expected: &str| {
        assert_eq!(block_on(ours(&validator, qname, "A", seconds())), expected, "{qname}");
    };
    check("www.bogus.test", "insecure");
    check("www.expired.test", "insecure");
    check("nothing.expired.test", "insecure");
    check("to-bogus.test", "insecure");
    check("www.nsec3.test", "secure");
    check("www.future.test", "bogus 8");
}

#[test]
fn a_nearer_trust_anchor_beats_a_negative_one() {
    let anchors = Anchors::load(std::slice::from_ref(&signed::tree().anchor)).unwrap();
    let validator = Validator::new(Options { anchors, negative: vec![name(".")] });
    assert_eq!(block_on(ours(&validator, "www.test", "A", seconds())), "secure");
}

#[test]
fn what_no_trust_anchor_covers_is_indeterminate() {
    let validator = validator(&[]);
    let message = b"\x00\x00\x80\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x00\x00\x01\x00\x01";
    let direct = Direct(signed::tree().authority);
    let verdict = block_on(validator.validate(message, Extent::Whole, seconds(), &direct));
    assert!(matches!(&verdict, Verdict::Indeterminate(reason) if reason.ede() == 5), "{verdict:?}");
}
