//! What the protocol promises: which signatures and claims count, which discovery documents, and what a browser is sent away with.

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::json;

use super::keys::{Algorithm, Doubt};
use super::*;

const ISSUER: &str = "https://sso.example.vn/realms/tinh";
const NOW: i64 = 1_795_676_400;

fn encoded(octets: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(octets)
}

/// A key of our own, and its set.
struct Signer {
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

impl Signer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self { pair: EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap(), random }
    }

    fn jwk(&self, more: &Value) -> Value {
        let point = self.pair.public_key().as_ref();
        let mut jwk = json!({
            "kty": "EC", "crv": "P-256", "kid": "a", "use": "sig",
            "x": encoded(&point[1..33]), "y": encoded(&point[33..]),
        });
        jwk.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        jwk
    }

    fn keys(&self, more: &Value) -> Result<KeySet, KeysError> {
        KeySet::read(json!({ "keys": [self.jwk(more)] }).to_string().as_bytes())
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
        let signature = self.pair.sign(&self.random, signed.as_bytes()).unwrap();
        format!("{signed}.{}", encoded(signature))
    }
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "f:1:an", "aud": "sachdns", "exp": NOW + 300, "iat": NOW - 1, "nonce": "n",
        "preferred_username": "an", "realm_access": { "roles": ["x", "y"] },
    })
}

fn expected() -> Expected<'static> {
    Expected { issuer: ISSUER, client: "sachdns", nonce: "n", now: NOW }
}

#[test]
fn signatures_of_the_standards_count() {
    // RFC 7515, appendices A.2 and A.3, and RFC 8037, appendix A.4.
    const PAYLOAD: &str =
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let rsa = json!({
        "kty": "RSA", "e": "AQAB",
        "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZ\
              S-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2\
              R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcD\
              TW9gb54h4FRWyuXpoQ",
    });
    let ec = json!({
        "kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    });
    let edwards =
        json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
    let symmetric = json!({ "kty": "oct", "k": "c2VjcmV0" });
    let keys = json!({ "keys": [symmetric, rsa, ec, edwards] }).to_string();
    let keys = KeySet::read(keys.as_bytes()).unwrap();
    let check = |name: &str, message: &str, signature: &str| {
        let octets = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
        let algorithm = Algorithm::of(name).unwrap();
        assert_eq!(keys.verify(algorithm, None, message.as_bytes(), &octets), Ok(()), "{name}");
        assert_eq!(keys.verify(algorithm, None, b"other", &octets), Err(Doubt::NoKey), "{name}");
        assert_eq!(keys.verify(algorithm, Some("b"), message.as_bytes(), &octets), Err(Doubt::NoKey));
    };
    check(
        "RS256",
        &format!("eyJhbGciOiJSUzI1NiJ9.{PAYLOAD}"),
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZ\
         cAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-e\
         OkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
    );
    check(
        "ES256",
        &format!("eyJhbGciOiJFUzI1NiJ9.{PAYLOAD}"),
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    );
    check(
        "EdDSA",
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
    );
    for name in ["none", "None", "HS256", "HS512", "rs256", "RS1", "", "ES256K", "RSA-OAEP"] {
        assert_eq!(Algorithm::of(name), None, "{name}");
    }
}

#[test]
fn claims_are_those_of_this_request() {
    let signer = Signer::new();
    let keys = signer.keys(&json!({})).unwrap();
    let header = json!({ "alg": "ES256", "kid": "a" });
    let read = |changes: &Value| {
        let mut all = claims();
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => drop(all.as_object_mut().unwrap().remove(name)),
                value => all[name] = value.clone(),
            }
        }
        token::read(&signer.sign(&header, &all), &keys, &expected())
    };
    let right = read(&json!({})).unwrap();
    assert_eq!(right.subject(), "f:1:an");
    assert_eq!(right.find("realm_access.roles").and_then(|it| it[1].as_str()), Some("y"));
    assert_eq!(right.find("realm_access.roles.x"), None);
    for changes in [
        json!({ "aud": ["sachdns"] }),
        json!({ "aud": ["other", "sachdns"], "azp": "sachdns" }),
        // The clocks may differ by a minute.
        json!({ "exp": NOW - 59 }),
        json!({ "iat": NOW + 59, "nbf": NOW + 59 }),
        json!({ "exp": NOW as f64 + 0.5 }),
    ] {
        assert!(read(&changes).is_ok(), "{changes}: {:?}", read(&changes));
    }
    for (changes, claim) in [
        (json!({ "iss": "https://sso.example.vn/realms/other" }), "iss"),
        (json!({ "iss": format!("{ISSUER}/") }), "iss"),
        (json!({ "iss": null }), "iss"),
        (json!({ "aud": "other" }), "aud"),
        (json!({ "aud": [] }), "aud"),
        (json!({ "aud": null }), "aud"),
        (json!({ "aud": { "sachdns": 1 } }), "aud"),
        (json!({ "aud": ["sachdns", "other"] }), "azp"),
        (json!({ "aud": ["sachdns", "other"], "azp": "other" }), "azp"),
        (json!({ "azp": "other" }), "azp"),
        (json!({ "azp": 1 }), "azp"),
        (json!({ "exp": NOW - 60 }), "exp"),
        (json!({ "exp": i64::MIN }), "exp"),
        (json!({ "exp": "tomorrow" }), "exp"),
        (json!({ "exp": null }), "exp or iat"),
        (json!({ "iat": null }), "exp or iat"),
        (json!({ "iat": NOW + 61 }), "iat"),
        (json!({ "iat": i64::MAX }), "iat"),
        (json!({ "iat": NOW - 3600 }), "iat"),
        (json!({ "nbf": NOW + 61 }), "nbf"),
        (json!({ "nonce": "m" }), "nonce"),
        (json!({ "nonce": null }), "nonce"),
        (json!({ "nonce": ["n"] }), "nonce"),
        (json!({ "sub": null }), "sub"),
        (json!({ "sub": "" }), "sub"),
        (json!({ "sub": 7 }), "sub"),
        (json!({ "sub": "a\nb" }), "sub"),
        (json!({ "sub": "a".repeat(256) }), "sub"),
    ] {
        match read(&changes) {
            Err(TokenError::Claim { claim: found, .. }) => assert_eq!(found, claim, "{changes}"),
            other => panic!("{changes}: {other:?}"),
        }
    }
}

#[test]
fn only_the_providers_signature_counts() {
    let signer = Signer::new();
    let keys = signer.keys(&json!({})).unwrap();
    let check = |token: &str, wanted: &str| {
        let error = token::read(token, &keys, &expected()).unwrap_err().to_string();
        assert!(error.contains(wanted), "{wanted}: {error}");
    };
    let header = json!({ "alg": "ES256", "kid": "a" });
    let right = signer.sign(&header, &claims());
    let parts: Vec<&str> = right.split('.').collect();
    let other = encoded(json!({ "iss": ISSUER }).to_string());
    check(&format!("{}.{other}.{}", parts[0], parts[2]), "signature is not the provider's");
    check(&format!("{}.{}.", parts[0], parts[1]), "signature is not the provider's");
    check(&format!("{}.{}", parts[0], parts[1]), "less than three parts");
    check(&format!("{right}.x"), "more than three parts");
    check(&format!("{right}="), "not base64url");
    check("", "no signature");
    check(&"a".repeat(token::MOST + 1), "more than");
    check(&Signer::new().sign(&header, &claims()), "signature is not the provider's");
    // What is not a claim of the algorithm's is not the key's to answer for.
    for (header, wanted) in [
        (json!({ "alg": "none" }), "signed with \"none\""),
        (json!({ "alg": "HS256", "kid": "a" }), "signed with \"HS256\""),
        (json!({ "alg": "RS256", "kid": "a" }), "none of the provider's keys"),
        (json!({ "alg": "ES384", "kid": "a" }), "none of the provider's keys"),
        (json!({ "alg": "ES256", "kid": "b" }), "has the id \"b\""),
        (json!({ "alg": "ES256", "kid": "a", "crit": ["x"] }), "critical"),
        (json!({ "alg": "ES256", "kid": "a", "typ": "at+jwt" }), "another kind"),
        (json!({ "alg": "ES256", "kid": "a", "typ": "logout+jwt" }), "another kind"),
        (json!({ "kid": "a" }), "no JSON object"),
    ] {
        check(&signer.sign(&header, &claims()), wanted);
    }
    let typed = json!({ "alg": "ES256", "typ": "JWT" });
    assert!(token::read(&signer.sign(&typed, &claims()), &keys, &expected()).is_ok());
}

#[test]
fn keys_for_other_things_are_left_out() {
    let signer = Signer::new();
    for more in [
        json!({ "use": "enc" }),
        json!({ "key_ops": ["sign"] }),
        json!({ "crv": "P-521" }),
        json!({ "x": "AA" }),
        json!({ "y": null }),
        json!({ "kty": "oct" }),
    ] {
        assert!(matches!(signer.keys(&more), Err(KeysError::None(1))), "{more}");
    }
    let header = json!({ "alg": "ES256", "kid": "a" });
    let only = |alg: &str| {
        let keys = signer.keys(&json!({ "alg": alg })).unwrap();
        token::read(&signer.sign(&header, &claims()), &keys, &expected()).is_ok()
    };
    assert!(only("ES256") && !only("ES384") && !only("ECDH-ES"));
    assert!(KeySet::read(b"{}").is_err() && KeySet::read(b"[]").is_err());
}

fn document(changes: &Value) -> Vec<u8> {
    let mut document = json!({
        "issuer": ISSUER, "authorization_endpoint": format!("{ISSUER}/auth?kc=1"),
        "token_endpoint": format!("{ISSUER}/token"), "jwks_uri": format!("{ISSUER}/certs"),
        "end_session_endpoint": format!("{ISSUER}/logout"),
    });
    document.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    document.to_string().into_bytes()
}

#[test]
fn a_discovery_document_is_of_its_issuer_and_leads_to_safe_places() {
    let read = |changes: &Value| Metadata::read(&document(changes), ISSUER);
    let right = read(&json!({})).unwrap();
    assert_eq!((right.proof, right.says_issuer, right.userinfo), (Some(Proof::Basic), false, None));
    let proof =
        |methods: Value| read(&json!({ "token_endpoint_auth_methods_supported": methods })).unwrap().proof;
    assert_eq!(proof(json!(["client_secret_post", "client_secret_basic"])), Some(Proof::Basic));
    assert_eq!(proof(json!(["private_key_jwt", "client_secret_post"])), Some(Proof::Post));
    assert_eq!(proof(json!(["private_key_jwt"])), None);
    assert!(read(&json!({ "token_endpoint": "http://127.0.0.1:80/token" })).is_ok());
    for changes in [
        json!({ "issuer": "https://evil.example" }),
        json!({ "issuer": format!("{ISSUER}/") }),
        json!({ "issuer": "https://login.microsoftonline.com/{tenantid}/v2.0" }),
        json!({ "token_endpoint": "http://sso.example.vn/token" }),
        json!({ "authorization_endpoint": "javascript:alert(1)" }),
        json!({ "jwks_uri": "file:///etc/passwd" }),
        json!({ "end_session_endpoint": "//evil.example" }),
        json!({ "userinfo_endpoint": "https://a:b@sso.example.vn/" }),
        json!({ "jwks_uri": null }),
    ] {
        assert!(read(&changes).is_err(), "{changes}");
    }
    let place = |issuer: &str| discovery::place(issuer).unwrap().to_string();
    assert_eq!(place(ISSUER), format!("{ISSUER}/.well-known/openid-configuration"));
    assert_eq!(place("https://sso.example.vn/"), "https://sso.example.vn/.well-known/openid-configuration");
}

fn provider(metadata: Metadata) -> Provider {
    let http = http::Options {
        proxy: None,
        ca: None,
        credentials: None,
        max_size: 0,
        timeout: Duration::from_millis(300),
    };
    let provider = Provider::new(Options {
        issuer: ISSUER.to_owned(),
        client: "sachdns".to_owned(),
        secret: None,
        scopes: vec!["openid".to_owned(), "profile".to_owned()],
        redirect: "https://sachdns.example.vn/sign-in/oidc/callback".to_owned(),
        http,
    });
    provider.known().metadata = Some((0, Arc::new(metadata)));
    provider
}

#[tokio::test]
async fn a_browser_is_sent_away_with_what_binds_the_answer() {
    let provider = provider(Metadata::read(&document(&json!({})), ISSUER).unwrap());
    // RFC 7636, appendix B.
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned();
    let started = Started { state: "s".to_owned(), nonce: "n".to_owned(), verifier };
    let url = provider.begin(&started, 1).await.unwrap();
    assert_eq!(
        url.as_str(),
        format!(
            "{ISSUER}/auth?kc=1&response_type=code&client_id=sachdns\
             &redirect_uri=https%3A%2F%2Fsachdns.example.vn%2Fsign-in%2Foidc%2Fcallback&scope=openid+profile&state=s&nonce=n\
             &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256"
        )
    );
    let out =
        provider.leave(Some("t"), "https://sachdns.example.vn/sign-in", "out", 1).await.unwrap().unwrap();
    assert_eq!(
        out.as_str(),
        format!(
            "{ISSUER}/logout?client_id=sachdns&post_logout_redirect_uri=https%3A%2F%2Fsachdns.example.vn%2Fsign-in&state=out\
             &id_token_hint=t"
        )
    );
    let (first, second) = (Started::roll(), Started::roll());
    assert!(first.state != second.state && first.nonce != second.nonce && first.verifier != second.verifier);
    assert!(first.verifier.len() >= 43 && first.verifier != first.state);
}

#[tokio::test]
async fn answers_of_other_issuers_are_refused_before_the_code_is_shown_to_anybody() {
    let (wants, does_not) = (true, false);
    for (says, issuer, is_refused) in [
        (wants, None, true),
        (wants, Some("https://evil.example"), true),
        (wants, Some(ISSUER), false),
        (does_not, Some("https://evil.example"), true),
        (does_not, None, false),
    ] {
        let more = json!({
            "authorization_response_iss_parameter_supported": says, "token_endpoint": "http://127.0.0.1:1/token",
        });
        let provider = provider(Metadata::read(&document(&more), ISSUER).unwrap());
        let came = provider.redeem("c", issuer, &Started::roll(), &[], 1).await.unwrap_err();
        assert_eq!(matches!(came, OidcError::Mixed(_)), is_refused, "{says} {issuer:?}: {came}");
        // Whoever is not refused goes on to a port where nobody listens.
        assert_eq!(matches!(came, OidcError::Http { .. }), !is_refused, "{came}");
    }
}

#[tokio::test]
async fn a_provider_that_is_away_is_asked_again_after_a_while_and_what_is_known_does_meanwhile() {
    let mut provider = provider(Metadata::read(&document(&json!({})), ISSUER).unwrap());
    provider.options.issuer = "http://127.0.0.1:1".to_owned();
    let started = Started::roll();
    assert!(provider.begin(&started, KEPT + 1).await.is_ok(), "old, but known");
    let gone = STALE + KEPT;
    assert!(matches!(provider.begin(&started, gone).await, Err(OidcError::Http { .. })));
    assert!(matches!(provider.begin(&started, gone + 1).await, Err(OidcError::Lately(_))));
    assert!(matches!(provider.begin(&started, gone + AGAIN).await, Err(OidcError::Http { .. })));
}
