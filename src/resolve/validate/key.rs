//! Keys, their digests, and the one place where signatures are computed.
//!
//! Octets in, yes or no out. What is signed, when, and by whom it may be is [`super::rrset`]'s.
//!
//! Known algorithms (RFC 9904): RSA with SHA-256 and SHA-512 (8, 10), ECDSA (13, 14), Ed25519 (15). RSA with
//! SHA-1 (5, 7) counts as unsupported, as RFC 9905, section 2, wants from who runs a resolver; Ed448 (16) is not in
//! the library that computes.

use ring::digest;
use ring::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey};

use crate::name::Name;
use crate::wire::u16_at;

/// RSA moduli have at least 1024 bits, as the library wants, and at most 4096 (RFC 3110, section 2).
const RSA_OCTETS: std::ops::RangeInclusive<usize> = 128..=512;
/// Zone Key flag (RFC 4034, section 2.1.1).
const ZONE: u16 = 0x0100;
/// REVOKE flag (RFC 5011, section 7).
const REVOKED: u16 = 0x0080;

/// Whether signatures of this algorithm can be computed, and count.
pub(super) fn is_known_algorithm(algorithm: u8) -> bool {
    matches!(algorithm, 8 | 10 | 13 | 14 | 15)
}

/// Whether digests of this type can be computed: SHA-1, SHA-256, SHA-384.
pub(super) fn is_known_digest(kind: u8) -> bool {
    digest_of(kind).is_some()
}

fn digest_of(kind: u8) -> Option<&'static digest::Algorithm> {
    match kind {
        1 => Some(&digest::SHA1_FOR_LEGACY_USE_ONLY),
        2 => Some(&digest::SHA256),
        4 => Some(&digest::SHA384),
        _ => None,
    }
}

/// A DNSKEY record's data (RFC 4034, section 2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dnskey {
    rdata: Box<[u8]>,
    tag: u16,
}

impl Dnskey {
    /// Reads a record's data.
    pub(super) fn read(rdata: &[u8]) -> Option<Self> {
        (rdata.len() > 4).then(|| Self { tag: key_tag(rdata), rdata: rdata.into() })
    }

    pub(super) fn rdata(&self) -> &[u8] {
        &self.rdata
    }

    pub(super) fn tag(&self) -> u16 {
        self.tag
    }

    pub(super) fn algorithm(&self) -> u8 {
        self.rdata[3]
    }

    /// Whether it may sign a zone: a zone key of protocol 3 (RFC 4034, section 2.1) that is not revoked
    /// (RFC 5011, section 2.1).
    pub(super) fn is_zone_key(&self) -> bool {
        let flags = u16::from_be_bytes([self.rdata[0], self.rdata[1]]);
        flags & (ZONE | REVOKED) == ZONE && self.rdata[2] == 3
    }

    /// Whether its signatures can be computed.
    pub(super) fn is_usable(&self) -> bool {
        let key = &self.rdata[4..];
        match self.algorithm() {
            8 | 10 => rsa(key).is_some(),
            13 => key.len() == 64,
            14 => key.len() == 96,
            15 => key.len() == 32,
            _ => false,
        }
    }

    /// Whether `signature` is this key's over `data`.
    pub(super) fn verify(&self, data: &[u8], signature: &[u8]) -> bool {
        let key = &self.rdata[4..];
        let rsa = |parameters: &RsaParameters| {
            rsa(key).is_some_and(|components| components.verify(parameters, data, signature).is_ok())
        };
        // The record holds a curve's point without the octet that says that it is uncompressed
        // (RFC 6605, section 4).
        let ecdsa = |algorithm: &'static dyn signature::VerificationAlgorithm| {
            let point = [&[4], key].concat();
            UnparsedPublicKey::new(algorithm, &point).verify(data, signature).is_ok()
        };
        match self.algorithm() {
            8 => rsa(&signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY),
            10 => rsa(&signature::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY),
            13 => ecdsa(&signature::ECDSA_P256_SHA256_FIXED),
            14 => ecdsa(&signature::ECDSA_P384_SHA384_FIXED),
            15 => UnparsedPublicKey::new(&signature::ED25519, key).verify(data, signature).is_ok(),
            _ => false,
        }
    }
}

/// The exponent and modulus of an RSA key (RFC 3110, section 2), when they can be computed with.
fn rsa(key: &[u8]) -> Option<RsaPublicKeyComponents<&[u8]>> {
    let (len, rest) = match *key.first()? {
        0 => (usize::from(u16_at(key, 1)?), key.get(3..)?),
        len => (usize::from(len), key.get(1..)?),
    };
    let (exponent, modulus) = rest.split_at_checked(len)?;
    // The library takes no leading zeros, which the record's format allows.
    let bare = |number: &'_ [u8]| number.iter().take_while(|&&octet| octet == 0).count();
    let (e, n) = (&exponent[bare(exponent)..], &modulus[bare(modulus)..]);
    (!e.is_empty() && RSA_OCTETS.contains(&n.len())).then_some(RsaPublicKeyComponents { n, e })
}

/// The key tag of all known algorithms (RFC 4034, appendix B).
fn key_tag(rdata: &[u8]) -> u16 {
    let sum: u32 = rdata
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
        .sum();
    (sum + (sum >> 16 & 0xffff)) as u16
}

/// A DS record's data (RFC 4034, section 5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ds {
    pub(super) tag: u16,
    pub(super) algorithm: u8,
    pub(super) digest_type: u8,
    digest: Box<[u8]>,
}

impl Ds {
    /// Reads a record's data.
    pub(super) fn read(rdata: &[u8]) -> Option<Self> {
        let [high, low, algorithm, digest_type, digest @ ..] = rdata else { return None };
        Some(Self {
            tag: u16::from_be_bytes([*high, *low]),
            algorithm: *algorithm,
            digest_type: *digest_type,
            digest: digest.into(),
        })
    }

    /// Whether a digest of this type has so many octets.
    pub(super) fn has_whole_digest(&self) -> bool {
        digest_of(self.digest_type).is_some_and(|known| known.output_len() == self.digest.len())
    }

    /// Whether `key` of `zone` may be the one, before anything is computed.
    pub(super) fn may_be(&self, key: &Dnskey) -> bool {
        self.tag == key.tag() && self.algorithm == key.algorithm()
    }

    /// Whether this is the digest of `key` of `zone`.
    pub(super) fn is_of(&self, zone: &Name, key: &Dnskey) -> bool {
        let Some(algorithm) = digest_of(self.digest_type).filter(|_| self.may_be(key)) else { return false };
        let mut context = digest::Context::new(algorithm);
        context.update(zone.as_wire());
        context.update(key.rdata());
        context.finish().as_ref() == &*self.digest
    }
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, Engine as _};

    use super::*;

    #[test]
    fn no_key_panics() {
        for len in 0..80 {
            for first in [0, 1, 3, 0x40, 0xff] {
                for algorithm in 0..=17 {
                    let mut rdata = vec![first; len];
                    if let Some(octet) = rdata.get_mut(3) {
                        *octet = algorithm;
                    }
                    let Some(key) = Dnskey::read(&rdata) else { continue };
                    assert!(!key.verify(b"data", &rdata));
                    let _ = (key.is_usable(), key.is_zone_key());
                }
            }
        }
    }

    #[test]
    fn flags_tell_zone_keys() {
        fn check(flags: u16, protocol: u8, expected: bool) {
            let [high, low] = flags.to_be_bytes();
            let key = Dnskey::read(&[high, low, protocol, 13, 1]).unwrap();
            assert_eq!(key.is_zone_key(), expected, "{flags:#x}, {protocol}");
        }
        check(257, 3, true);
        check(256, 3, true);
        check(257 | REVOKED, 3, false);
        check(1, 3, false);
        check(257, 2, false);
    }

    /// RFC 4034, section 5.4; RFC 4509, section 2.3.
    #[test]
    fn digests_are_those_of_the_rfcs() {
        let key = "AQOeiiR0GOMYkDshWoSKz9XzfwJr1AYtsmx3TGkJaNXVbfi/2pHm822aJ5iI9BMzNXxeYCmZDRD99WYwYqUSdjMmmAphXdvxegXd/M5+X7OrzKBaMbCVdFLUUh6DhweJBjEVv5f2wwjM9XzcnOf+EPbtG9DMBmADjFDc2w/rljwvFw==";
        let key = BASE64_STANDARD.decode(key).unwrap();
        let key = Dnskey::read(&[&[1, 0, 3, 5], &*key].concat()).unwrap();
        assert_eq!(key.tag(), 60485);
        let zone = Name::from_presentation("dskey.example.com").unwrap();
        let check = |digest_type: u8, hex: &str| {
            let digest = super::super::anchor::hex(hex).unwrap();
            let rdata = [&[0xec, 0x45, 5, digest_type], &*digest].concat();
            let ds = Ds::read(&rdata).unwrap();
            assert!(ds.is_of(&zone, &key), "{hex}");
            assert!(ds.has_whole_digest());
            assert!(!ds.is_of(&zone.parent().unwrap(), &key));
        };
        check(1, "2BB183AF5F22588179A53B0A98631FAD1A292118");
        check(2, "D4B7D520E7BB5F0F67674A0CCEB1E3E0614B93C4F9E99B8383F6A1E4469DA50A");
    }
}
