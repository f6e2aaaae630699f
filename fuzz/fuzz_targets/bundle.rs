//! Any file as a bundle, and any list of feeds that was signed rightly: what comes out is what was signed.

#![no_main]

use std::io::{self, BufReader};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use libfuzzer_sys::fuzz_target;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use sachdns::fetch::bundle::{Bundle, PublicKey};
use sha2::{Digest as _, Sha256};

fuzz_target!(|octets: &[u8]| {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a seed");
    let key: PublicKey = BASE64_STANDARD.encode(pair.public_key().as_ref()).parse().expect("a key");
    assert!(Bundle::new(BufReader::new(octets), &[key]).is_err(), "nobody signed it");

    // The list up to the first line end, signed, and the rest as what is in it.
    let end = octets.iter().position(|&octet| octet == b'\n').unwrap_or(octets.len());
    let (list, content) = octets.split_at(end);
    let signed = [b"sachdns-bundle 1\n", list, b"\n"].concat();
    let signature = BASE64_STANDARD.encode(pair.sign(&signed));
    let whole = [&*signed, signature.as_bytes(), b"\n", content.get(1..).unwrap_or_default()].concat();
    let Ok(mut bundle) = Bundle::new(&*whole, &[key]) else { return };
    while let Some((entry, mut content)) = bundle.next_feed() {
        let mut out = Vec::new();
        if io::copy(&mut content, &mut out).is_err() {
            return;
        }
        assert_eq!(out.len() as u64, entry.size);
        assert_eq!(Sha256::digest(&out)[..], entry.digest.0);
    }
});
