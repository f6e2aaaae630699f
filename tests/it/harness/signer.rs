//! Signs the records of scripted zones (RFC 4034), with a key made for the test.

use std::fs;
use std::process::Command;

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::wilds::rr;
use super::wire::{self, name};
use super::{PATIENCE, run, run_for};

/// The TTL of all that [`rr`] writes.
const TTL: u32 = 300;

/// A zone's only key.
pub(crate) struct Signer {
    zone: String,
    pair: Pair,
    random: SystemRandom,
}

enum Pair {
    Ecdsa(Box<EcdsaKeyPair>),
    /// Of a size that only OpenSSL makes; in a folder, as `key`.
    Rsa(TempDir),
}

impl Signer {
    /// With ECDSA P-256 and SHA-256 (RFC 6605).
    pub(crate) fn new(zone: &str) -> Self {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pair.as_ref(), &random).unwrap();
        Self { zone: zone.to_owned(), pair: Pair::Ecdsa(Box::new(pair)), random }
    }

    /// With RSA and SHA-256 (RFC 5702), a key of so many bits.
    pub(crate) fn rsa(zone: &str, bits: u32) -> Self {
        let folder = tempfile::Builder::new().prefix("sachdns-key-").tempdir().unwrap();
        let bits = bits.to_string();
        // It takes as long as luck wants.
        run_for(
            3 * PATIENCE,
            Command::new("openssl").args(["genrsa", "-out", "key", &bits]).current_dir(&folder),
        )
        .well();
        Self { zone: zone.to_owned(), pair: Pair::Rsa(folder), random: SystemRandom::new() }
    }

    fn algorithm(&self) -> u8 {
        match self.pair {
            Pair::Ecdsa(_) => 13,
            Pair::Rsa(_) => 8,
        }
    }

    /// The data of its DNSKEY record: zone key and entry point, protocol 3, and the key.
    pub(crate) fn dnskey(&self) -> Vec<u8> {
        let key = match &self.pair {
            // The curve's point without the octet that says how it is written.
            Pair::Ecdsa(pair) => pair.public_key().as_ref()[1..].to_vec(),
            Pair::Rsa(folder) => {
                let mut openssl = Command::new("openssl");
                let text =
                    run(openssl.args(["rsa", "-in", "key", "-noout", "-modulus"]).current_dir(folder)).well();
                let digits = text.stdout.trim().trim_start_matches("Modulus=").to_owned();
                let octet = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
                // The exponent 65537 (RFC 3110, section 2).
                [3, 1, 0, 1].into_iter().chain((0..digits.len()).step_by(2).map(octet)).collect()
            }
        };
        [&[1, 1, 3, self.algorithm()], &key[..]].concat()
    }

    /// Its DS record, as trust anchors are written.
    pub(crate) fn anchor(&self) -> String {
        let digest = Sha256::digest([name(&self.zone), self.dnskey()].concat());
        let digest: String = digest.iter().map(|octet| format!("{octet:02x}")).collect();
        format!("{}. IN DS {} {} 2 {digest}\n", self.zone, key_tag(&self.dnskey()), self.algorithm())
    }

    /// An RRset, given as its data in canonical order, and its signature. The owner is in lower case.
    pub(crate) fn sign(&self, owner: &str, rtype: u16, data: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut records: Vec<_> = data.iter().map(|data| rr(owner, rtype, data)).collect();
        let mut signature = self.unsigned(self.algorithm(), key_tag(&self.dnskey()), owner, rtype);
        let signed = [signature.clone(), records.concat()].concat();
        match &self.pair {
            Pair::Ecdsa(pair) => signature.extend(pair.sign(&self.random, &signed).unwrap().as_ref()),
            Pair::Rsa(folder) => {
                let file = tempfile::NamedTempFile::new_in(folder).unwrap();
                fs::write(file.path(), signed).unwrap();
                let mut openssl = Command::new("openssl");
                openssl.args(["dgst", "-sha256", "-sign", "key", "-out", "signature"]).arg(file.path());
                run(openssl.current_dir(folder)).well();
                signature.extend(fs::read(folder.path().join("signature")).unwrap());
            }
        }
        records.push(rr(owner, wire::RRSIG, &signature));
        records
    }

    /// The data of an RRSIG record but for the signature itself (RFC 4034, section 3.1), from yesterday to tomorrow.
    pub(crate) fn unsigned(&self, algorithm: u8, tag: u16, owner: &str, rtype: u16) -> Vec<u8> {
        let labels = owner.split('.').filter(|label| !label.is_empty()).count();
        let now = jiff::Timestamp::now().as_second();
        let mut data = rtype.to_be_bytes().to_vec();
        data.extend([algorithm, u8::try_from(labels).unwrap()]);
        data.extend(TTL.to_be_bytes());
        for time in [now + 86_400, now - 86_400] {
            data.extend(u32::try_from(time).unwrap().to_be_bytes());
        }
        data.extend(tag.to_be_bytes());
        data.extend(name(&self.zone));
        data
    }
}

/// The tag of a DNSKEY record by its data (RFC 4034, appendix B).
pub(crate) fn key_tag(data: &[u8]) -> u16 {
    let octets = |pair: &[u8]| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&octet| u32::from(octet));
    let sum: u32 = data.chunks(2).map(octets).sum();
    (sum + (sum >> 16)) as u16
}
