//! Any octets as an answer to be validated, and as what is fetched for that: no panic, and an end.
//!
//! Random octets are never signed rightly, so the target signs for the root what the input puts together: only so
//! do they come to where proofs are judged. What is secure here must be made of nothing but signed RRsets.
//!
//! ```text
//! 1  odd: the rest is the message, octet by octet
//!    even: messages; the first is validated, the others are fetched, in turn
//!
//! a message: 1 qname, 1 qtype (as below), 1 rcode, RRsets
//! an RRset:  1 bits: 80 the message ends here, 40 signed, 20 authority, 10 one label less is signed, 0f owner (NAMES)
//!            1 type (TYPES), 1 length of data, n data; for some types it is made of the first two octets
//! ```

#![no_main]

use std::path::Path;
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use libfuzzer_sys::fuzz_target;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use sachdns::name::Name;
use sachdns::resolve::validate::anchor::Anchors;
use sachdns::resolve::validate::{Attempt, Extent, Fetch, FetchError, Options, Validator, Verdict};
use sachdns::wire::{self, rtype};

const NOW: u64 = 1_800_000_000;
const NAMES: [&[u8]; 12] = [
    b"\0",
    b"\x01a\0",
    b"\x01b\x01a\0",
    b"\x01c\x01b\x01a\0",
    b"\x01*\x01a\0",
    b"\x01*\0",
    b"\x01z\0",
    b"\x01x\x01z\0",
    // SHA-1 of the root, without salt and iterations, and its neighbours.
    b"\x20bekjp7dgpvsjukll47bk43i3urmq4u2f\0",
    b"\x2000000000000000000000000000000000\0",
    b"\x20vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv\0",
    b"\x20g0000000000000000000000000000000\0",
];
const TYPES: [u16; 13] = [
    rtype::A,
    rtype::NS,
    rtype::CNAME,
    rtype::SOA,
    rtype::DNAME,
    rtype::DS,
    rtype::RRSIG,
    rtype::NSEC,
    rtype::DNSKEY,
    rtype::NSEC3,
    rtype::NAPTR,
    rtype::AAAA,
    rtype::ANY,
];

thread_local! {
    static KEY: Ed25519KeyPair =
        Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("any 32 octets are a seed");
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else { return };
    let key = dnskey();
    let text = format!(". IN DNSKEY 257 3 15 {}\n", base64(&key[4..]));
    let anchors = Anchors::parse(Path::new(""), &text).expect("an anchor by hand");
    let validator = Validator::new(Options { anchors, negative: Vec::new() });
    let mut rest = rest;
    let message = match kind & 1 {
        1 => std::mem::take(&mut rest).to_vec(),
        _ => {
            let Some([qname, qtype]) = rest.first_chunk::<2>().copied() else { return };
            rest = &rest[2..];
            build(NAMES[usize::from(qname) % NAMES.len()], TYPES[usize::from(qtype) % TYPES.len()], &mut rest)
        }
    };
    let fetched = Fetched(Mutex::new(rest));
    for extent in [Extent::Whole, Extent::Part] {
        let verdict = finish(validator.validate(&message, extent, NOW, &fetched));
        if let Verdict::Secure { ttl } = verdict {
            assert!(ttl <= 300 || ttl == u32::MAX, "{ttl}");
        }
    }
});

/// Nothing here waits, so a few polls must do.
fn finish<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    for _ in 0..10_000 {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return value;
        }
    }
    panic!("no end");
}

/// What is left of the input.
struct Fetched<'a>(Mutex<&'a [u8]>);

impl Fetch for Fetched<'_> {
    async fn fetch(&self, name: &Name, kind: u16, _: Attempt) -> Result<Vec<u8>, FetchError> {
        if name.is_root() && kind == rtype::DNSKEY {
            let sets = signed(name.as_wire(), kind, 0, &dnskey());
            return Ok(message(name.as_wire(), kind, 0, &sets, &[]));
        }
        let mut rest = self.0.lock().expect("nothing panics while it is held");
        if rest.is_empty() {
            return Err(FetchError::NoAnswer);
        }
        Ok(build(name.as_wire(), kind, &mut rest))
    }
}

fn build(qname: &[u8], qtype: u16, input: &mut &[u8]) -> Vec<u8> {
    let mut take = || -> u8 {
        let Some((first, rest)) = input.split_first() else { return 0x80 };
        *input = rest;
        *first
    };
    let code = take() & 0x0f;
    let (mut answer, mut authority) = (Vec::new(), Vec::new());
    for _ in 0..40 {
        let bits = take();
        if bits & 0x80 != 0 {
            break;
        }
        let owner = NAMES[usize::from(bits & 0x0f) % NAMES.len()];
        let kind = TYPES[usize::from(take()) % TYPES.len()];
        let len = usize::from(take());
        let given: Vec<u8> = (0..len.min(80)).map(|_| take()).collect();
        let data = data(kind, &given);
        let section = if bits & 0x20 != 0 { &mut authority } else { &mut answer };
        section.push(match bits & 0x40 {
            0 => record(owner, kind, &data),
            _ => signed(owner, kind, bits >> 4 & 1, &data).concat(),
        });
    }
    message(qname, qtype, code, &answer, &authority)
}

/// Data that is worth judging: names out of the table, and bit maps.
fn data(kind: u16, given: &[u8]) -> Vec<u8> {
    let [one, other, rest @ ..] = given else { return given.to_vec() };
    let name = NAMES[usize::from(*one) % NAMES.len()];
    match kind {
        rtype::CNAME | rtype::DNAME | rtype::NS => name.to_vec(),
        rtype::SOA => [b"\0\0", &[0; 20][..]].concat(),
        rtype::NSEC => [name, &[0, 7, *other, 0, 0, 0, 0, 3, 0][..], rest].concat(),
        rtype::NSEC3 => {
            let next = [*one; 20];
            [&[1, other & 1, 0, other >> 1 & 63, 0, 20], &next[..], &[0, 7, *other, 0, 0, 0, 0, 3, 0], rest]
                .concat()
        }
        _ => given.to_vec(),
    }
}

fn dnskey() -> Vec<u8> {
    KEY.with(|key| [&[1, 1, 3, 15], key.public_key().as_ref()].concat())
}

fn signed(owner: &[u8], kind: u16, fewer: u8, data: &[u8]) -> [Vec<u8>; 2] {
    let labels = sachdns::name::labels(owner).filter(|label| *label != b"*").count() as u8;
    let labels = labels.saturating_sub(fewer);
    let key = dnskey();
    let tag = key.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum::<u32>();
    let mut fixed = [&kind.to_be_bytes()[..], &[15, labels]].concat();
    fixed.extend(300u32.to_be_bytes());
    fixed.extend((NOW as u32 + 100).to_be_bytes());
    fixed.extend((NOW as u32 - 100).to_be_bytes());
    fixed.extend(((tag + (tag >> 16)) as u16).to_be_bytes());
    fixed.push(0);
    let name = Name::from_wire(owner).expect("a name of the table");
    let wildcard = (name.label_count() > usize::from(labels)).then(|| name.suffix(labels.into()).wildcard());
    let signed_owner = wildcard.flatten().unwrap_or(name);
    let signed = [&fixed[..], &record(signed_owner.as_wire(), kind, data)].concat();
    let signature = KEY.with(|key| key.sign(&signed));
    [record(owner, kind, data), record(owner, rtype::RRSIG, &[&fixed, signature.as_ref()].concat())]
}

fn record(owner: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
    let fixed = [&kind.to_be_bytes()[..], &[0, 1], &300u32.to_be_bytes()].concat();
    [owner, &fixed, &(data.len() as u16).to_be_bytes(), data].concat()
}

fn message(qname: &[u8], qtype: u16, code: u8, answer: &[Vec<u8>], authority: &[Vec<u8>]) -> Vec<u8> {
    let count = |sets: &[Vec<u8>]| {
        let mut count = 0u16;
        for set in sets {
            let mut rest = &set[..];
            while !rest.is_empty() {
                let fixed = sachdns::name::wire_len(rest).expect("a name of the table");
                let len = wire::u16_at(rest, fixed + 8).expect("a whole record");
                rest = &rest[fixed + 10 + usize::from(len)..];
                count += 1;
            }
        }
        count.to_be_bytes()
    };
    let header = [&[0, 0, wire::QR, code, 0, 1][..], &count(answer), &count(authority), &[0, 0]].concat();
    let question = [qname, &qtype.to_be_bytes(), &[0, 1]].concat();
    [header, question, answer.concat(), authority.concat()].concat()
}

fn base64(octets: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in octets.chunks(3) {
        let bits =
            group.iter().fold(0u32, |bits, octet| bits << 8 | u32::from(*octet)) << (8 * (3 - group.len()));
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}
