//! Any octets as what an OpenID provider sends: its discovery document, its keys, an ID token; and any claims in a token that is signed
//! rightly, which random octets would never be.

#![no_main]

use std::sync::LazyLock;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use libfuzzer_sys::fuzz_target;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use sachdns::oidc::discovery::{Metadata, is_safe};
use sachdns::oidc::keys::KeySet;
use sachdns::oidc::token::{self, Expected};

const ISSUER: &str = "https://sso.example.vn";

static OURS: LazyLock<(Ed25519KeyPair, KeySet)> = LazyLock::new(|| {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("any seed is one");
    let x = BASE64_URL_SAFE_NO_PAD.encode(pair.public_key());
    let keys = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}]}}"#);
    let keys = KeySet::read(keys.as_bytes()).expect("a set of one key");
    (pair, keys)
});

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else { return };
    let (pair, keys) = &*OURS;
    let expected = Expected { issuer: ISSUER, client: "sachdns", nonce: "n", now: 1_795_676_400 };
    match first % 4 {
        0 => {
            if let Ok(metadata) = Metadata::read(rest, ISSUER) {
                assert!(metadata.endpoints().all(is_safe), "{metadata:?}");
            }
        }
        1 => drop(KeySet::read(rest)),
        2 => {
            // Nobody but us has signed anything.
            let text = String::from_utf8_lossy(rest);
            let is_ours = text.split('.').count() == 3 && token::read(&text, keys, &expected).is_ok();
            assert!(!is_ours, "{text}");
        }
        _ => {
            let header = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA"}"#);
            let signed = format!("{header}.{}", BASE64_URL_SAFE_NO_PAD.encode(rest));
            let signature = BASE64_URL_SAFE_NO_PAD.encode(pair.sign(signed.as_bytes()));
            if let Ok(claims) = token::read(&format!("{signed}.{signature}"), keys, &expected) {
                assert!(!claims.subject().is_empty());
                let _ = (claims.find("groups"), claims.find("realm_access.roles"), claims.find(".."));
            }
        }
    }
});
