//! What forgers try, against zones that are signed in memory with Ed25519.
//!
//! That signatures are computed as others compute them is shown by `tests/it/validation.rs`, on zones that ldns
//! signs; here the records are right or wrong on purpose, in ways that no tool makes.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;

use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::anchor::{AnchorProblem, Anchors};
use super::key::Dnskey;
use super::rrset::Sections;
use super::*;
use crate::wire::{self, Response, rcode, rtype};

const NOW: u64 = 1_800_000_000;
const ED25519: u8 = 15;
const NS: u16 = rtype::NS;
const SOA: u16 = rtype::SOA;
const A: u16 = rtype::A;
const CNAME: u16 = rtype::CNAME;
const DNAME: u16 = rtype::DNAME;
const DS: u16 = rtype::DS;
const DNSKEY: u16 = rtype::DNSKEY;
const NSEC: u16 = rtype::NSEC;
const NSEC3: u16 = rtype::NSEC3;
const RRSIG: u16 = rtype::RRSIG;
const TXT: u16 = 16;

fn name(text: &str) -> Name {
    Name::from_presentation(text).unwrap()
}

/// Signs for one zone.
struct Signer {
    zone: Name,
    pair: Ed25519KeyPair,
}

impl Signer {
    fn new(zone: &str) -> Self {
        let mut seed = [0; 32];
        let text = name(zone);
        for (octet, byte) in seed.iter_mut().zip(text.as_wire()) {
            *octet = *byte;
        }
        Self { zone: text, pair: Ed25519KeyPair::from_seed_unchecked(&seed).unwrap() }
    }

    fn dnskey(&self) -> Vec<u8> {
        [&[1, 1, 3, ED25519], self.pair.public_key().as_ref()].concat()
    }

    fn ds(&self) -> Vec<u8> {
        let tag = Dnskey::read(&self.dnskey()).unwrap().tag();
        let digest =
            ring::digest::digest(&ring::digest::SHA256, &[self.zone.as_wire(), &self.dnskey()].concat());
        [&tag.to_be_bytes(), &[ED25519, 2], digest.as_ref()].concat()
    }

    /// The set and its signature, good for an hour from now on.
    fn set(&self, owner: &str, kind: u16, data: &[Vec<u8>]) -> Vec<u8> {
        let labels = owner.split('.').filter(|label| !label.is_empty() && *label != "*").count();
        self.set_of(owner, kind, data, labels, (NOW as u32 - 60, NOW as u32 + 3600))
    }

    /// … as a wildcard with so many labels makes it, or at another time.
    fn set_of(
        &self,
        owner: &str,
        kind: u16,
        data: &[Vec<u8>],
        labels: usize,
        (inception, expiration): (u32, u32),
    ) -> Vec<u8> {
        let tag = Dnskey::read(&self.dnskey()).unwrap().tag();
        let mut fixed = [&kind.to_be_bytes()[..], &[ED25519, labels as u8]].concat();
        fixed.extend(300u32.to_be_bytes());
        fixed.extend(expiration.to_be_bytes());
        fixed.extend(inception.to_be_bytes());
        fixed.extend(tag.to_be_bytes());
        fixed.extend(self.zone.as_wire());
        let mut signed = fixed.clone();
        let signed_owner = if name(owner).label_count() > labels {
            name(owner).suffix(labels).wildcard().unwrap()
        } else {
            name(owner)
        };
        let mut sorted = data.to_vec();
        sorted.sort();
        let mut records = Vec::new();
        for data in &sorted {
            signed.extend(record(signed_owner.as_wire(), kind, 300, data));
            records.extend(record(name(owner).as_wire(), kind, 300, data));
        }
        let signature = self.pair.sign(&signed);
        records.extend(record(name(owner).as_wire(), RRSIG, 300, &[&fixed, signature.as_ref()].concat()));
        records
    }

    fn soa(&self) -> Vec<u8> {
        self.set(&self.zone.to_string(), SOA, &[[&[0, 0][..], &[0; 20]].concat()])
    }

    fn nsec(&self, owner: &str, next: &str, types: &[u16]) -> Vec<u8> {
        self.set(owner, NSEC, &[[name(next).as_wire(), &maps(types)].concat()])
    }
}

fn record(owner: &[u8], kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut octets = owner.to_vec();
    octets.extend(kind.to_be_bytes());
    octets.extend([0, 1]);
    octets.extend(ttl.to_be_bytes());
    octets.extend((data.len() as u16).to_be_bytes());
    octets.extend(data);
    octets
}

/// An RRset that nobody signed.
fn bare(owner: &str, kind: u16, data: &[u8]) -> Vec<u8> {
    record(name(owner).as_wire(), kind, 300, data)
}

/// Type bit maps of types below 256.
fn maps(types: &[u16]) -> Vec<u8> {
    let mut map = [0u8; 32];
    for &kind in types {
        map[usize::from(kind / 8)] |= 0x80 >> (kind % 8);
    }
    [&[0, 32], &map[..]].concat()
}

fn message(qname: &str, qtype: u16, code: u16, answer: &[Vec<u8>], authority: &[Vec<u8>]) -> Vec<u8> {
    let count = |sets: &[Vec<u8>]| -> u16 {
        let mut count = 0;
        for set in sets {
            let mut rest = &set[..];
            while !rest.is_empty() {
                let fixed = crate::name::wire_len(rest).unwrap();
                let len = wire::u16_at(rest, fixed + 8).unwrap();
                rest = &rest[fixed + 10 + usize::from(len)..];
                count += 1;
            }
        }
        count
    };
    let mut octets = vec![0, 0, wire::QR, code as u8, 0, 1];
    octets.extend(count(answer).to_be_bytes());
    octets.extend(count(authority).to_be_bytes());
    octets.extend([0, 0]);
    octets.extend(name(qname).as_wire());
    octets.extend(qtype.to_be_bytes());
    octets.extend([0, 1]);
    octets.extend(answer.concat());
    octets.extend(authority.concat());
    octets
}

/// What the servers say; counts what they are asked.
#[derive(Default)]
struct Servers {
    said: HashMap<(Name, u16), Vec<u8>>,
    /// What they say the first time, where that is something else.
    first: HashMap<(Name, u16), Result<Vec<u8>, FetchError>>,
    asked: Mutex<Vec<String>>,
}

impl Servers {
    fn say(&mut self, qname: &str, qtype: u16, code: u16, answer: &[Vec<u8>], authority: &[Vec<u8>]) {
        self.said.insert((name(qname), qtype), message(qname, qtype, code, answer, authority));
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Fetch for Servers {
    async fn fetch(&self, qname: &Name, kind: u16, attempt: Attempt) -> Result<Vec<u8>, FetchError> {
        self.asked.lock().unwrap().push(format!("{qname} {}", wire::type_text(kind)));
        tokio::task::yield_now().await;
        let question = (qname.clone(), kind);
        if attempt == Attempt::First
            && let Some(first) = self.first.get(&question)
        {
            return first.clone();
        }
        self.said.get(&question).cloned().ok_or(FetchError::NoAnswer)
    }
}

/// A root with `child.`, signed, `open.`, delegated without DS, and no others.
struct Lab {
    root: Signer,
    child: Signer,
    servers: Servers,
}

impl Lab {
    fn new() -> Self {
        let (root, child) = (Signer::new("."), Signer::new("child"));
        let mut servers = Servers::default();
        let keys = |signer: &Signer| signer.set(&signer.zone.to_string(), DNSKEY, &[signer.dnskey()]);
        servers.say(".", DNSKEY, rcode::NOERROR, &[keys(&root)], &[]);
        servers.say("child", DNSKEY, rcode::NOERROR, &[keys(&child)], &[]);
        servers.say("child", DS, rcode::NOERROR, &[root.set("child", DS, &[child.ds()])], &[]);
        let cut = root.nsec("open", ".", &[NS, NSEC, RRSIG]);
        servers.say("open", DS, rcode::NOERROR, &[], &[root.soa(), cut]);
        for label in ["www.child", "a.child", "b.child", "x.b.child"] {
            let nsec = child.nsec(label, "zzz.child", &[A, RRSIG, NSEC]);
            servers.say(label, DS, rcode::NOERROR, &[], &[child.soa(), nsec]);
        }
        Self { root, child, servers }
    }

    fn validator(&self) -> Validator {
        let ds = self.root.ds();
        let digest: String = ds[4..].iter().map(|octet| format!("{octet:02x}")).collect();
        let text = format!(". IN DS {} 15 2 {digest}\n", u16::from_be_bytes([ds[0], ds[1]]));
        let anchors = Anchors::parse(Path::new("root.anchor"), &text).unwrap();
        Validator::new(Options { anchors, negative: Vec::new() })
    }

    fn verdict(&self, message: &[u8], extent: Extent) -> Verdict {
        block_on(self.validator().validate(message, extent, NOW, &self.servers))
    }

    /// Validates an answer as a whole; the verdict as a word, with the extended error where there is one.
    #[track_caller]
    fn check(&self, message: &[u8], expected: &str) {
        let verdict = self.verdict(message, Extent::Whole);
        assert_eq!(word(&verdict), expected, "{verdict:?}");
    }
}

fn word(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Secure { .. } => "secure".to_owned(),
        Verdict::Insecure(reason) => format!("insecure {}", reason.ede()),
        Verdict::Bogus(reason) => format!("bogus {}", reason.ede()),
        Verdict::Indeterminate(reason) => format!("indeterminate {}", reason.ede()),
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

const ADDRESS: [u8; 4] = [192, 0, 2, 1];

fn a(signer: &Signer, owner: &str) -> Vec<u8> {
    signer.set(owner, A, &[ADDRESS.to_vec()])
}

#[test]
fn sound_answers_are_secure() {
    let lab = Lab::new();
    let child = &lab.child;
    lab.check(&message("www.child", A, 0, &[a(child, "www.child")], &[]), "secure");
    let apex = child.nsec("child", "b.child", &[NS, SOA, DNSKEY, RRSIG, NSEC]);
    let b = child.nsec("b.child", "child", &[A, RRSIG, NSEC]);
    lab.check(&message("b.child", TXT, 0, &[], &[child.soa(), b.clone()]), "secure");
    lab.check(&message("aa.child", A, 3, &[], &[child.soa(), apex.clone()]), "secure");
    lab.check(&message("c.child", A, 3, &[], &[child.soa(), apex, b.clone()]), "secure");
    let made = child.set_of("x.child", A, &[ADDRESS.to_vec()], 1, (NOW as u32, NOW as u32 + 9));
    lab.check(&message("x.child", A, 0, &[made], &[b]), "secure");
    lab.check(&message("www.open", A, 0, &[bare("www.open", A, &ADDRESS)], &[]), "insecure 0");
}

#[test]
fn a_delegation_is_insecure_only_by_proof() {
    let answer = message("www.child", A, 0, &[bare("www.child", A, &ADDRESS)], &[]);
    let check = |code: u16, sets: &dyn Fn(&Lab) -> Vec<Vec<u8>>, expected: &str| {
        let mut lab = Lab::new();
        let authority = sets(&lab);
        lab.servers.say("child", DS, code, &[], &authority);
        lab.check(&answer, expected);
    };
    // No DS record, and nothing or the wrong thing to prove it.
    check(0, &|_| vec![], "bogus 12");
    check(3, &|_| vec![], "bogus 12");
    check(0, &|lab| vec![lab.root.soa()], "bogus 12");
    check(0, &|lab| vec![lab.root.nsec("aaa", "open", &[A])], "bogus 10");
    check(0, &|lab| vec![lab.root.nsec("open", ".", &[NS])], "bogus 6");
    check(0, &|lab| vec![lab.root.nsec("child", "open", &[NS, DS])], "bogus 6");
    check(0, &|lab| vec![lab.child.nsec("child", "www.child", &[NS, SOA])], "bogus 6");
    check(0, &|lab| vec![lab.root.nsec("child", "open", &[NS, SOA])], "bogus 6");
    check(0, &|_| vec![bare("child", NSEC, &[name("open").as_wire(), &maps(&[NS])].concat())], "bogus 10");
    // The right thing.
    check(0, &|lab| vec![lab.root.nsec("child", "open", &[NS])], "insecure 0");
    // No zone begins there: then it must be signed by the root.
    check(0, &|lab| vec![lab.root.nsec("child", "open", &[A])], "bogus 6");
}

#[test]
fn nobody_signs_for_others() {
    let mut lab = Lab::new();
    let other = Signer::new("other");
    lab.check(&message("www.child", A, 0, &[a(&other, "www.child")], &[]), "bogus 6");
    // The zone's own key does not vouch for its DS record.
    lab.check(&message("child", DS, 0, &[lab.child.set("child", DS, &[other.ds()])], &[]), "bogus 6");
    lab.check(&message("child", DS, 0, &[lab.root.set("child", DS, &[lab.child.ds()])], &[]), "secure");
    // Nor does the parent's for what lies in the child.
    lab.check(&message("www.child", A, 0, &[a(&lab.root, "www.child")], &[]), "secure");
    let keys = lab.child.set("child", DNSKEY, &[other.dnskey()]);
    lab.servers.say("child", DNSKEY, 0, &[keys], &[]);
    for signer in [&other, &lab.child] {
        lab.check(&message("www.child", A, 0, &[a(signer, "www.child")], &[]), "bogus 9");
    }
}

#[test]
fn nsec_records_prove_what_they_say_and_no_more() {
    let lab = Lab::new();
    let child = &lab.child;
    let nodata = |kind: u16, proofs: &[Vec<u8>], expected: &str| {
        lab.check(&message("b.child", kind, 0, &[], &[&[child.soa()], proofs].concat()), expected);
    };
    nodata(A, &[child.nsec("b.child", "c.child", &[A])], "bogus 6");
    nodata(TXT, &[child.nsec("b.child", "c.child", &[CNAME])], "bogus 6");
    nodata(TXT, &[child.nsec("b.child", "c.child", &[NS])], "bogus 6");
    nodata(TXT, &[child.nsec("b.child", "c.child", &[NS, SOA])], "secure");
    nodata(DS, &[child.nsec("b.child", "c.child", &[NS])], "secure");
    nodata(DS, &[child.nsec("b.child", "c.child", &[NS, SOA])], "bogus 6");
    nodata(TXT, &[child.nsec("a.child", "c.child", &[A])], "bogus 6");
    nodata(TXT, &[child.nsec("a.child", "x.b.child", &[A])], "secure");
    nodata(TXT, &[], "bogus 12");
    nodata(TXT, &[bare("b.child", NSEC, &[name("c.child").as_wire(), &maps(&[A])].concat())], "bogus 10");

    let nxdomain = |qname: &str, proofs: &[Vec<u8>], expected: &str| {
        lab.check(&message(qname, A, 3, &[], &[&[child.soa()], proofs].concat()), expected);
    };
    let apex = child.nsec("child", "b.child", &[NS, SOA]);
    nxdomain("c.child", &[child.nsec("b.child", "d.child", &[A]), apex.clone()], "secure");
    // The wildcard is not denied, or there is one.
    nxdomain("c.child", &[child.nsec("b.child", "d.child", &[A])], "bogus 6");
    nxdomain(
        "c.child",
        &[child.nsec("b.child", "d.child", &[A]), child.nsec("*.child", "b.child", &[A])],
        "bogus 6",
    );
    // The name itself exists, or something below it.
    nxdomain("b.child", &[child.nsec("b.child", "d.child", &[A]), apex.clone()], "bogus 6");
    nxdomain("c.child", &[child.nsec("b.child", "x.c.child", &[A]), apex.clone()], "bogus 6");
    // Below a zone cut or an alias this zone does not know.
    nxdomain("x.b.child", &[child.nsec("b.child", "d.child", &[NS]), apex.clone()], "bogus 6");
    nxdomain("x.b.child", &[child.nsec("b.child", "d.child", &[DNAME]), apex.clone()], "bogus 6");
    // A range that leads around, but not to the apex; a proof that a wildcard made.
    nxdomain("c.child", &[child.nsec("b.child", "a.child", &[A]), apex.clone()], "bogus 6");
    let data = [name("d.child").as_wire(), &maps(&[A])].concat();
    let made = child.set_of("b.child", NSEC, &[data], 1, (NOW as u32, NOW as u32 + 9));
    nxdomain("c.child", &[made, apex], "bogus 6");
}

#[test]
fn a_wildcard_needs_the_proof_that_nothing_is_nearer() {
    let lab = Lab::new();
    let child = &lab.child;
    let check = |qname: &str, labels: usize, proofs: &[Vec<u8>], expected: &str| {
        let made = child.set_of(qname, A, &[ADDRESS.to_vec()], labels, (NOW as u32, NOW as u32 + 9));
        lab.check(&message(qname, A, 0, &[made], proofs), expected);
    };
    check("x.child", 1, &[child.nsec("b.child", "child", &[A])], "secure");
    check("x.child", 1, &[], "bogus 12");
    check("x.child", 1, &[child.nsec("x.child", "child", &[TXT])], "bogus 6");
    check("x.child", 1, &[child.nsec("b.child", "y.x.child", &[A])], "bogus 6");
    check("x.child", 1, &[child.nsec("y.child", "child", &[A])], "bogus 6");
    // `a.child` exists: the wildcard at the apex says nothing of what is below it.
    check("x.a.child", 1, &[child.nsec("a.child", "b.child", &[A])], "bogus 6");
    check("x.a.child", 2, &[child.nsec("a.child", "b.child", &[A])], "secure");
    // The signature of a wildcard above its own zone.
    check("x.child", 0, &[child.nsec("b.child", "child", &[A])], "bogus 6");
}

/// RFC 5155, appendix A's salt and iterations, and hashes of names in `child.` computed as section 5 says.
fn hash(text: &str, iterations: u16) -> Vec<u8> {
    let mut hash = name(text).as_wire().to_vec();
    for _ in 0..=iterations {
        hash = ring::digest::digest(
            &ring::digest::SHA1_FOR_LEGACY_USE_ONLY,
            &[&hash[..], &[0xaa, 0xbb]].concat(),
        )
        .as_ref()
        .to_vec();
    }
    hash
}

fn base32hex(octets: &[u8]) -> String {
    let bits: String = octets.iter().map(|octet| format!("{octet:08b}")).collect();
    let digit = |at: usize| u32::from_str_radix(&bits[at..at + 5], 2).unwrap();
    (0..bits.len()).step_by(5).map(|at| char::from_digit(digit(at), 32).unwrap()).collect()
}

/// An NSEC3 record at this hash, or around it.
fn nsec3(signer: &Signer, hash: &[u8], next: &[u8], flags: u8, iterations: u16, types: &[u16]) -> Vec<u8> {
    let owner = format!("{}.{}", base32hex(hash), signer.zone);
    let [high, low] = iterations.to_be_bytes();
    let data = [&[1, flags, high, low, 2, 0xaa, 0xbb, 20], next, &maps(types)].concat();
    signer.set(&owner, NSEC3, &[data])
}

fn shifted(hash: &[u8], by: i8) -> Vec<u8> {
    let mut hash = hash.to_vec();
    hash[19] = hash[19].wrapping_add_signed(by);
    hash
}

#[test]
fn nsec3_records_prove_what_they_say_and_no_more() {
    let lab = Lab::new();
    let child = &lab.child;
    let at =
        |text: &str, types: &[u16]| nsec3(child, &hash(text, 3), &shifted(&hash(text, 3), 1), 0, 3, types);
    let around = |text: &str, flags: u8| {
        nsec3(child, &shifted(&hash(text, 3), -1), &shifted(&hash(text, 3), 1), flags, 3, &[A])
    };
    let apex = || at("child", &[NS, SOA]);
    let check = |qname: &str, kind: u16, code: u16, proofs: &[Vec<u8>], expected: &str| {
        lab.check(&message(qname, kind, code, &[], &[&[child.soa()], proofs].concat()), expected);
    };
    check("b.child", TXT, 0, &[at("b.child", &[A])], "secure");
    check("b.child", A, 0, &[at("b.child", &[A])], "bogus 6");
    check("b.child", TXT, 0, &[at("b.child", &[CNAME])], "bogus 6");
    check("b.child", TXT, 0, &[at("b.child", &[NS])], "bogus 6");
    check("b.child", TXT, 0, &[apex()], "bogus 6");
    // NXDOMAIN: closest encloser, next closer name, wildcard.
    check("x.child", A, 3, &[apex(), around("x.child", 0), around("*.child", 0)], "secure");
    check("x.child", A, 3, &[apex(), around("x.child", 1), around("*.child", 0)], "insecure 0");
    check("x.child", A, 3, &[apex(), around("x.child", 0)], "bogus 6");
    check("x.child", A, 3, &[apex(), around("*.child", 0)], "bogus 6");
    check("x.child", A, 3, &[around("x.child", 0), around("*.child", 0)], "bogus 6");
    check("x.child", A, 3, &[apex(), at("x.child", &[A]), around("*.child", 0)], "bogus 6");
    check("x.child", A, 3, &[apex(), around("x.child", 2), around("*.child", 0)], "bogus 6");
    check(
        "y.b.child",
        A,
        3,
        &[at("b.child", &[NS]), around("y.b.child", 0), around("*.b.child", 0)],
        "bogus 6",
    );
    // A wildcard without the type; no DS in an opt-out span.
    check("x.child", TXT, 0, &[apex(), around("x.child", 0), at("*.child", &[A])], "secure");
    check("x.child", A, 0, &[apex(), around("x.child", 0), at("*.child", &[A])], "bogus 6");
    check("x.child", DS, 0, &[apex(), around("x.child", 1)], "insecure 0");
    check("x.child", DS, 0, &[apex(), around("x.child", 0)], "bogus 6");
    // Wildcard answers.
    let made = child.set_of("x.child", A, &[ADDRESS.to_vec()], 1, (NOW as u32, NOW as u32 + 9));
    let answered = |proofs: &[Vec<u8>]| message("x.child", A, 0, std::slice::from_ref(&made), proofs);
    lab.check(&answered(&[around("x.child", 0)]), "secure");
    lab.check(&answered(&[around("x.child", 1)]), "insecure 0");
    lab.check(&answered(&[at("x.child", &[TXT])]), "bogus 6");
    // Too many iterations: insecure, if the zone says so itself.
    let many = |signer: &Signer| nsec3(signer, &hash("child", 0), &[9; 20], 0, 51, &[A]);
    check("x.child", A, 3, &[many(child)], "insecure 27");
    check("x.child", A, 3, &[many(&Signer::new("other"))], "bogus 12");
    lab.check(&answered(&[many(child)]), "insecure 27");
}

#[test]
fn aliases_are_checked_link_by_link() {
    let lab = Lab::new();
    let child = &lab.child;
    let link = |from: &str, to: &str| child.set(from, CNAME, &[name(to).as_wire().to_vec()]);
    let www = a(child, "www.child");
    lab.check(&message("a.child", A, 0, &[link("a.child", "www.child"), www.clone()], &[]), "secure");
    let forged = bare("a.child", CNAME, name("www.child").as_wire());
    lab.check(&message("a.child", A, 0, &[forged, www.clone()], &[]), "bogus 10");
    let out = bare("www.open", A, &ADDRESS);
    lab.check(&message("a.child", A, 0, &[link("a.child", "www.open"), out], &[]), "insecure 0");
    // Nothing at the end, and no proof: good as a part, not as a whole.
    let cut = message("a.child", A, 0, &[link("a.child", "www.child")], &[]);
    lab.check(&cut, "bogus 12");
    assert_eq!(word(&lab.verdict(&cut, Extent::Part)), "secure");
    // An NXDOMAIN is proven for where the aliases end, in any case.
    let gone = message("a.child", A, 3, &[link("a.child", "www.child")], &[]);
    assert_eq!(word(&lab.verdict(&gone, Extent::Part)), "bogus 12");
    // A loop, and a chain without end.
    let around = [link("a.child", "b.child"), link("b.child", "a.child")];
    lab.check(&message("a.child", A, 0, &around, &[]), "bogus 6");
    // An error that carries data.
    lab.check(&message("www.child", A, 3, &[www], &[]), "bogus 12");
}

#[test]
fn a_dname_makes_what_it_says() {
    let lab = Lab::new();
    let child = &lab.child;
    let dname = child.set("a.child", DNAME, &[name("b.child").as_wire().to_vec()]);
    let made = |to: &str| bare("x.a.child", CNAME, name(to).as_wire());
    let end = a(child, "x.b.child");
    let check = |kind: u16, sets: &[Vec<u8>], expected: &str| {
        lab.check(&message("x.a.child", kind, 0, sets, &[]), expected);
    };
    check(A, &[dname.clone(), made("x.b.child"), end.clone()], "secure");
    check(A, &[dname.clone(), end.clone()], "secure");
    check(CNAME, &[dname.clone(), made("x.b.child")], "secure");
    check(A, &[dname.clone(), made("x.c.child"), a(child, "x.c.child")], "bogus 6");
    check(A, &[bare("a.child", DNAME, name("b.child").as_wire()), made("x.b.child"), end], "bogus 10");
    // Too long a name is an answer of its own (RFC 6672, section 2.2).
    let long = format!("{}.child", ["a".repeat(60).as_str(); 4].join("."));
    let far = child.set("a.child", DNAME, &[name(&long).as_wire().to_vec()]);
    let qname = format!("{}.a.child", "x".repeat(40));
    lab.check(&message(&qname, A, 6, &[far], &[]), "secure");
    lab.check(&message("x.a.child", A, 6, &[dname], &[]), "bogus 12");
}

#[test]
fn keys_are_kept_and_asked_for_once() {
    let lab = Lab::new();
    let validator = lab.validator();
    let answer = message("www.child", A, 0, &[a(&lab.child, "www.child")], &[]);
    let validate = |now: u64| validator.validate(&answer, Extent::Whole, now, &lab.servers);
    let both = block_on(async { tokio::join!(validate(NOW), validate(NOW)) });
    assert_eq!((word(&both.0), word(&both.1)), ("secure".to_owned(), "secure".to_owned()));
    assert_eq!(lab.servers.asked(), [". DNSKEY", "child DS", "child DNSKEY"]);
    block_on(validate(NOW + 299));
    assert_eq!(lab.servers.asked().len(), 3);
    // Their TTL is over.
    block_on(validate(NOW + 300));
    assert_eq!(lab.servers.asked().len(), 6);
}

#[test]
fn an_answer_may_be_kept_as_long_as_its_signatures() {
    let lab = Lab::new();
    let ttl = |now: u32, expiration: u32| {
        let set = lab.child.set_of("www.child", A, &[ADDRESS.to_vec()], 2, (now - 60, expiration));
        let message = message("www.child", A, 0, &[set], &[]);
        match block_on(lab.validator().validate(&message, Extent::Whole, u64::from(now), &lab.servers)) {
            Verdict::Secure { ttl } => Some(ttl),
            _ => None,
        }
    };
    let now = NOW as u32;
    assert_eq!(ttl(now, now + 3600), Some(300));
    assert_eq!(ttl(now, now + 7), Some(7));
    assert_eq!(ttl(now, now), Some(0));
    assert_eq!(ttl(now, now - 1), None);
}

#[test]
fn what_came_wrong_is_asked_for_again() {
    let mut lab = Lab::new();
    let answer = message("www.child", A, 0, &[a(&lab.child, "www.child")], &[]);
    let junk = message("child", DNSKEY, 0, &[bare("child", DNSKEY, &lab.child.dnskey())], &[]);
    lab.servers.first.insert((name("child"), DNSKEY), Ok(junk.clone()));
    lab.check(&answer, "secure");
    // No answer is no verdict about the zone: the next question asks again.
    lab.servers.first.insert((name("child"), DNSKEY), Err(FetchError::NoAnswer));
    let validator = lab.validator();
    let verdict = |lab: &Lab| word(&block_on(validator.validate(&answer, Extent::Whole, NOW, &lab.servers)));
    assert_eq!(verdict(&lab), "bogus 9");
    lab.servers.first.insert((name("child"), DS), Err(FetchError::NoAnswer));
    assert_eq!(word(&lab.verdict(&answer, Extent::Whole)), "bogus 22");
    lab.servers.first.clear();
    assert_eq!(verdict(&lab), "secure");
    // What stays wrong is believed to be so for a few seconds.
    lab.servers.said.insert((name("child"), DNSKEY), junk);
    lab.servers.asked.lock().unwrap().clear();
    let validator = lab.validator();
    for (now, asked) in [(NOW, 5), (NOW + 4, 5), (NOW + 5, 9)] {
        let verdict = block_on(validator.validate(&answer, Extent::Whole, now, &lab.servers));
        assert_eq!(word(&verdict), "bogus 10");
        assert_eq!(lab.servers.asked().len(), asked, "{:?}", lab.servers.asked());
    }
}

#[test]
fn keys_with_one_tag_cost_little() {
    // CVE-2023-50387: the tag is a sum, so swapped words make another key with the same.
    let lab = Lab::new();
    let real = lab.child.dnskey();
    let mut keys = Vec::new();
    for at in (4..34).step_by(2) {
        let mut key = real.clone();
        key.swap(at, at + 2);
        key.swap(at + 1, at + 3);
        keys.push(Dnskey::read(&key).unwrap());
    }
    assert!(keys.iter().all(|key| key.tag() == keys[0].tag()));
    let mut sets = Vec::new();
    for expiration in 0..40 {
        let window = (NOW as u32 - 9, NOW as u32 + 9 + expiration);
        sets.push(lab.child.set_of("www.child", A, &[ADDRESS.to_vec()], 2, window));
    }
    let message = message("www.child", A, 0, &sets, &[]);
    let sections = Sections::read(&Response::parse(&message).unwrap()).unwrap();
    let mut work = Work::default();
    let verified = sections.answer[0].verify(&name("child"), &keys, NOW as u32, &mut work);
    assert!(matches!(verified, Err(Reason::BadSignature { .. })), "{verified:?}");
    assert!(work.checks <= 4, "{work:?}");
}

#[test]
fn a_message_full_of_work_is_given_up() {
    // Many RRsets, each with a signature that must be computed.
    let lab = Lab::new();
    let names: Vec<String> = (0..200).map(|number| format!("n{number}.child")).collect();
    let mut sets: Vec<Vec<u8>> = names.iter().map(|owner| a(&lab.child, owner)).collect();
    lab.check(&message("n0.child", A, 0, &sets[..50], &[]), "secure");
    sets.push(a(&lab.child, "www.child"));
    lab.check(&message("www.child", A, 0, &sets, &[]), "bogus 6");
    // CVE-2023-50868: a long name, and a hash for each of its labels.
    let deep = format!("{}.child", ["x"; 120].join("."));
    let apex = nsec3(&lab.child, &hash("child", 3), &shifted(&hash("child", 3), 1), 0, 3, &[NS, SOA]);
    lab.check(&message(&deep, A, 3, &[], &[lab.child.soa(), apex]), "bogus 6");
}

#[test]
fn trust_anchors_are_read_as_tools_write_them() {
    let check = |text: &str, count: usize| {
        let anchors = Anchors::parse(Path::new("root.key"), text).unwrap();
        let (_, anchor) = anchors.nearest(&name("www.example")).unwrap();
        assert_eq!(anchor.ds.len() + anchor.keys.len(), count, "{text}");
    };
    let key = "AwEAAa96jeuknZlaeSrvyAJj6ZHv28hhOKkx3rLGXVaC6rXTsDc449/cidltpkyGwCJNnOAlFNKF2jBosZBU5eeHspaQWOmOElZsjICMQMC3aeHbGiShvZsx4wMYSjH8e7Vrhbu6irwCzVBApESjbUdpWWmEnhathWu1jo+siFUiRAAxm9qyJNg/wOZqqzL/dL/q8PkcRU5oUKEpUge71M3ej2/7CPqpdVwuMoTvoB+ZOT4YeGyxMvHmbrxlFzGOHOijtzN+u1TQNatX2XBuzZNQ1K+s2CXkPIZo7s6JgZyvaBevYtxPvYLw4z9mR7K2vaF18UYH9Z9GNUUeayffKC73PYc=";
    check(
        &format!("; autotrust\n.\t172800\tIN\tDNSKEY\t257 3 8 {key} ;{{id = 38696}} ;;state=2 [ VALID ]\n"),
        1,
    );
    let (one, other) = key.split_at(100);
    check(&format!("$TTL 3600\n. DNSKEY 257 3 8 (\n    {one}\n    {other} ) ; split\n"), 1);
    check(
        ". IN DS 20326 8 2 ( E06D44B80B8F1D39A95C0B0D7C65D084\n 58E880409BBC683457104237C7F8EC8D )\n  3600 IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16\n",
        2,
    );
    let anchors = Anchors::root();
    let (owner, anchor) = anchors.nearest(&name("www.example")).unwrap();
    assert!(owner.is_root());
    // Both forms of IANA's newer key are one.
    let keys = Anchors::parse(Path::new(""), &format!(". DNSKEY 257 3 8 {key}\n")).unwrap();
    assert!(anchor.ds[1].is_of(owner, &keys.nearest(owner).unwrap().1.keys[0]));
}

#[test]
fn faults_of_anchor_files_have_their_line() {
    let check = |text: &str, line: usize, problem: &AnchorProblem| {
        let faults = Anchors::parse(Path::new("a"), text).unwrap_err();
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!((faults[0].line, &faults[0].problem), (Some(line), problem), "{text}");
    };
    let digest = "00".repeat(32);
    check(&format!("; x\n. IN DS 1 5 2 {digest}\n"), 2, &AnchorProblem::Algorithm(5));
    check(". IN DS 1 8 2 00\n", 1, &AnchorProblem::Digest { digest_type: 2, octets: 1 });
    check(&format!(". IN DS 1 8 9 {digest}\n"), 1, &AnchorProblem::Digest { digest_type: 9, octets: 32 });
    check(". IN DS 1 8 2 0g\n", 1, &AnchorProblem::Hex);
    check(". IN DNSKEY 257 3 13 AAAA\n", 1, &AnchorProblem::Key);
    check(". IN DNSKEY 257 3 13 A\n", 1, &AnchorProblem::Base64);
    let key = format!("{}=", "A".repeat(43));
    check(&format!(". IN DNSKEY 385 3 15 {key}\n"), 1, &AnchorProblem::Flags(385));
    check(". IN A 192.0.2.1\n", 1, &AnchorProblem::Kind("A".to_owned()));
    check("$INCLUDE other\n", 1, &AnchorProblem::Directive("$INCLUDE".to_owned()));
    check("\n. IN DS ( 1\n8\n", 2, &AnchorProblem::Open);
    check("  IN DS 1 8 2 00\n", 1, &AnchorProblem::NoOwner);
    let field = |what, got: &str| AnchorProblem::Field { what, got: got.to_owned() };
    check(". IN DS x 8 2 00\n", 1, &field("a key tag from 0 to 65535", "x"));
    check(". IN DS 1 800 2 00\n", 1, &field("the number of an algorithm, such as 8 or 13", "800"));
}
