//! The provider's public keys (JWK Sets, RFC 7517 and 7518), and what they have signed.
//!
//! Pure. Only keys that sign, of algorithms with a public key: `none` and HMAC have no name here, so no token can ask for them.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use ring::signature::{
    self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use serde::Deserialize;

/// Most keys that are looked at: more are no set that anybody rotates.
const KEYS: usize = 100;
/// Most octets of a part of a key: RSA of 8192 bits, and some.
const PART: usize = 2048;

/// How a token is signed (RFC 7518, section 3.1; RFC 8037, section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

const ALGORITHMS: [(&str, Algorithm); 9] = [
    ("RS256", Algorithm::Rs256),
    ("RS384", Algorithm::Rs384),
    ("RS512", Algorithm::Rs512),
    ("PS256", Algorithm::Ps256),
    ("PS384", Algorithm::Ps384),
    ("PS512", Algorithm::Ps512),
    ("ES256", Algorithm::Es256),
    ("ES384", Algorithm::Es384),
    ("EdDSA", Algorithm::EdDsa),
];

impl Algorithm {
    /// The algorithm of this name, where it is one of ours.
    pub(super) fn of(name: &str) -> Option<Self> {
        ALGORITHMS.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
    }
}

/// A key, by its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    id: Option<String>,
    /// The only algorithm it is for, where it says so; one that is not known here fits none.
    only: Option<Option<Algorithm>>,
    material: Material,
}

/// What a provider signs with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeySet(Vec<Key>);

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// Not JSON, or no set.
    #[error("it is no set of keys (RFC 7517): {0}")]
    Form(#[from] serde_json::Error),
    /// None that would do.
    #[error("of its {0} keys none signs with RSA, P-256, P-384 or Ed25519")]
    None(usize),
}

/// Why a signature does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubt {
    /// There is no key of this id and kind.
    NoKey,
    /// There is, and it has not signed this.
    Forged,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Written {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads a set; keys for other things, and of kinds that are not known, are left out (RFC 7517, section 5).
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn read(octets: &[u8]) -> Result<Self, KeysError> {
        let set: Set = serde_json::from_slice(octets)?;
        let many = set.keys.len();
        let keys: Vec<Key> = set.keys.into_iter().take(KEYS).filter_map(key).collect();
        if keys.is_empty() { Err(KeysError::None(many)) } else { Ok(Self(keys)) }
    }

    /// Whether one of these keys has signed `message`: that of this id, or any where there is none.
    pub(super) fn verify(
        &self,
        algorithm: Algorithm,
        id: Option<&str>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Doubt> {
        let mut doubt = Doubt::NoKey;
        for key in &self.0 {
            if id.is_some_and(|id| key.id.as_deref() != Some(id)) {
                continue;
            }
            match key.has_signed(algorithm, message, signature) {
                Some(true) => return Ok(()),
                // Without an id it may be another one's, which is not here yet.
                Some(false) if id.is_some() => doubt = Doubt::Forged,
                Some(false) | None => {}
            }
        }
        Err(doubt)
    }
}

impl Key {
    /// `None`: it is of another kind than the algorithm.
    fn has_signed(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> Option<bool> {
        if self.only.is_some_and(|only| only != Some(algorithm)) {
            return None;
        }
        let by = |parameters: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(parameters, key).verify(message, signature).is_ok()
        };
        let is_signed = match (algorithm, &self.material) {
            (Algorithm::Es256, Material::P256(key)) => by(&signature::ECDSA_P256_SHA256_FIXED, key),
            (Algorithm::Es384, Material::P384(key)) => by(&signature::ECDSA_P384_SHA384_FIXED, key),
            (Algorithm::EdDsa, Material::Ed25519(key)) => by(&signature::ED25519, key),
            (algorithm, Material::Rsa { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(of_rsa(algorithm)?, message, signature).is_ok()
            }
            _ => return None,
        };
        Some(is_signed)
    }
}

/// RSA of 2048 bits and more only.
fn of_rsa(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
        Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa => return None,
    })
}

fn key(value: serde_json::Value) -> Option<Key> {
    let key: Written = serde_json::from_value(value).ok()?;
    let signs = key.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
        && key.key_ops.as_ref().is_none_or(|all| all.iter().any(|it| it == "verify"));
    if !signs {
        return None;
    }
    let point = |octets: usize| {
        let mut point = vec![4];
        for part in [&key.x, &key.y] {
            let part = part_of(part.as_deref())?;
            // RFC 7518, section 6.2.1.2: of the full length, with its leading zeros.
            if part.len() != octets {
                return None;
            }
            point.extend(part);
        }
        Some(point)
    };
    let material = match (&*key.kty, key.crv.as_deref()) {
        ("RSA", _) => {
            let whole = |part: Option<&str>| {
                let octets = part_of(part)?;
                // Some write a sign's octet in front, against RFC 7518, section 6.3.1.1.
                let first = octets.iter().position(|octet| *octet != 0)?;
                Some(octets[first..].to_vec())
            };
            Material::Rsa { n: whole(key.n.as_deref())?, e: whole(key.e.as_deref())? }
        }
        ("EC", Some("P-256")) => Material::P256(point(32)?),
        ("EC", Some("P-384")) => Material::P384(point(48)?),
        ("OKP", Some("Ed25519")) => {
            Material::Ed25519(part_of(key.x.as_deref()).filter(|key| key.len() == 32)?)
        }
        _ => return None,
    };
    Some(Key { id: key.kid, only: key.alg.map(|name| Algorithm::of(&name)), material })
}

fn part_of(text: Option<&str>) -> Option<Vec<u8>> {
    let text = text.filter(|text| text.len() <= PART)?;
    BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
}
