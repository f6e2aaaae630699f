//! An OpenID provider that does as a test says: one person, one client, keys of RSA and P-256, and every way to be wrong.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine as _};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use ring::{digest, hmac};
use serde_json::{Value, json};
use url::Url;

/// Who the console is there; both have what must be form-encoded in Basic.
pub(crate) const CLIENT: &str = "sachdns & co";
pub(crate) const SECRET: &str = "bí mật:+%";

/// What is wrong with the next tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Twist {
    Nothing,
    /// The nonce of another request.
    Nonce,
    /// For another client.
    Audience,
    Issuer,
    Expired,
    /// Unsigned.
    None,
    /// By HMAC, with the public key as the secret.
    Hmac,
    /// By somebody else's key, under the id of ours.
    Forged,
    /// The userinfo endpoint speaks of somebody else.
    Substituted,
}

/// Which key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Rsa,
    P256,
}

struct State {
    issuer: String,
    person: Value,
    /// What is told at the userinfo endpoint only.
    userinfo: Value,
    twist: Twist,
    kind: Kind,
    /// Whether nothing is answered.
    hangs: bool,
    rsa: RsaKeyPair,
    p256: EcdsaKeyPair,
    kid: String,
    /// Nonce and challenge of each code that nobody had yet.
    codes: HashMap<String, (String, String)>,
    issued: usize,
    paths: Vec<String>,
}

/// A running provider. Its thread ends with the test.
pub(crate) struct Provider {
    state: Arc<Mutex<State>>,
}

fn encoded(octets: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(octets)
}

fn p256() -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap()
}

fn rsa() -> RsaKeyPair {
    let options = ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-outform", "DER"];
    let made = Command::new("openssl").args(options).output().unwrap();
    // Some releases write the PKCS #1 form here; either will do.
    RsaKeyPair::from_pkcs8(&made.stdout).or_else(|_| RsaKeyPair::from_der(&made.stdout)).unwrap()
}

impl Provider {
    /// One that knows this person: claims such as `sub`, `preferred_username` and `groups`.
    pub(crate) fn start(person: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = State {
            issuer: format!("http://{address}/realms/tinh"),
            person,
            userinfo: json!({}),
            twist: Twist::Nothing,
            kind: Kind::Rsa,
            hangs: false,
            rsa: rsa(),
            p256: p256(),
            kid: "first".to_owned(),
            codes: HashMap::new(),
            issued: 0,
            paths: Vec::new(),
        };
        let state = Arc::new(Mutex::new(state));
        let provider = Self { state: Arc::clone(&state) };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&state);
                thread::spawn(move || answer(stream, &state));
            }
        });
        provider
    }

    pub(crate) fn issuer(&self) -> String {
        self.state().issuer.clone()
    }

    pub(crate) fn person(&self, person: Value) {
        self.state().person = person;
    }

    pub(crate) fn userinfo(&self, claims: Value) {
        self.state().userinfo = claims;
    }

    pub(crate) fn twist(&self, twist: Twist) {
        self.state().twist = twist;
    }

    pub(crate) fn sign_with(&self, kind: Kind) {
        self.state().kind = kind;
    }

    pub(crate) fn hang(&self, hangs: bool) {
        self.state().hangs = hangs;
    }

    /// New keys, with a new id; the old ones are gone.
    pub(crate) fn rotate(&self, kid: &str) {
        let mut state = self.state();
        state.p256 = p256();
        kid.clone_into(&mut state.kid);
    }

    /// How often this path was asked for.
    pub(crate) fn many(&self, path: &str) -> usize {
        self.state().paths.iter().filter(|it| it.ends_with(path)).count()
    }

    /// The person signs in there, sent by this URL: where the browser goes then.
    #[track_caller]
    pub(crate) fn approve(&self, url: &str) -> String {
        self.state().approve(url)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    #[track_caller]
    fn approve(&mut self, url: &str) -> String {
        let url: Url = url.parse().unwrap();
        let fields: HashMap<String, String> = url.query_pairs().into_owned().collect();
        assert_eq!((&*fields["response_type"], &*fields["client_id"]), ("code", CLIENT), "{url}");
        assert_eq!(fields["code_challenge_method"], "S256", "{url}");
        assert!(fields["scope"].split(' ').any(|scope| scope == "openid"), "{url}");
        self.issued += 1;
        let code = format!("code-{}", self.issued);
        self.codes.insert(code.clone(), (fields["nonce"].clone(), fields["code_challenge"].clone()));
        let mut back: Url = fields["redirect_uri"].parse().unwrap();
        back.query_pairs_mut().extend_pairs([
            ("code", &*code),
            ("state", &fields["state"]),
            ("iss", &self.issuer),
        ]);
        back.into()
    }

    fn token(&self, nonce: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
        let is = |twist| self.twist == twist;
        let mut claims = json!({
            "iss": if is(Twist::Issuer) { "http://127.0.0.1:1/realms/tinh" } else { &self.issuer },
            "aud": if is(Twist::Audience) { "other" } else { CLIENT },
            "nonce": if is(Twist::Nonce) { "another" } else { nonce },
            "iat": now - 1,
            "exp": if is(Twist::Expired) { now - 300 } else { now + 300 },
        });
        claims.as_object_mut().unwrap().extend(self.person.as_object().unwrap().clone());
        let algorithm = match (self.twist, self.kind) {
            (Twist::None, _) => "none",
            (Twist::Hmac, _) => "HS256",
            (_, Kind::Rsa) => "RS256",
            (_, Kind::P256) => "ES256",
        };
        let header = json!({ "alg": algorithm, "kid": self.id(self.kind), "typ": "JWT" });
        let signed = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
        let random = SystemRandom::new();
        let signature = match (self.twist, self.kind) {
            (Twist::None, _) => Vec::new(),
            (Twist::Hmac, _) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, self.rsa.public().as_ref());
                hmac::sign(&key, signed.as_bytes()).as_ref().to_vec()
            }
            (twist, Kind::P256) => {
                let other;
                let key = match twist {
                    Twist::Forged => {
                        other = p256();
                        &other
                    }
                    _ => &self.p256,
                };
                key.sign(&random, signed.as_bytes()).unwrap().as_ref().to_vec()
            }
            (twist, Kind::Rsa) => {
                let other;
                let key = match twist {
                    Twist::Forged => {
                        other = rsa();
                        &other
                    }
                    _ => &self.rsa,
                };
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).unwrap();
                signature
            }
        };
        format!("{signed}.{}", encoded(signature))
    }

    fn id(&self, kind: Kind) -> String {
        format!("{}-{kind:?}", self.kid)
    }

    fn keys(&self) -> Value {
        let rsa = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(self.rsa.public());
        let point = self.p256.public_key().as_ref();
        json!({ "keys": [
            { "kty": "RSA", "use": "enc", "alg": "RSA-OAEP", "kid": "e", "n": encoded(&rsa.n), "e": encoded(&rsa.e) },
            { "kty": "RSA", "use": "sig", "kid": self.id(Kind::Rsa), "n": encoded(&rsa.n), "e": encoded(&rsa.e) },
            { "kty": "EC", "crv": "P-256", "kid": self.id(Kind::P256), "x": encoded(&point[1..33]), "y": encoded(&point[33..]) },
        ] })
    }

    /// RFC 6749, section 4.1.3, with who asks by Basic, and RFC 7636.
    fn redeem(&mut self, authorization: &str, body: &str) -> (u16, Value) {
        let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let pair = format!("{}:{}", encoded(CLIENT), encoded(SECRET));
        if authorization != format!("Basic {}", BASE64_STANDARD.encode(pair)) {
            return (401, json!({ "error": "invalid_client" }));
        }
        let fields: HashMap<String, String> =
            url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
        let known = self.codes.remove(fields.get("code").map_or("", |code| code));
        let challenge = fields.get("code_verifier").map(|it| digest::digest(&digest::SHA256, it.as_bytes()));
        let is_right = fields.get("grant_type").is_some_and(|it| it == "authorization_code")
            && fields.get("redirect_uri").is_some_and(|it| it.ends_with("/sign-in/oidc/callback"));
        match (known, challenge) {
            (Some((nonce, expected)), Some(challenge))
                if is_right && encoded_digest(&challenge) == expected =>
            {
                let token = self.token(&nonce);
                (
                    200,
                    json!({ "token_type": "Bearer", "access_token": "access", "expires_in": 60, "id_token": token }),
                )
            }
            _ => (400, json!({ "error": "invalid_grant", "error_description": "Code <b>not</b> valid" })),
        }
    }
}

fn encoded_digest(digest: &digest::Digest) -> String {
    encoded(digest.as_ref())
}

fn answer(mut stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut first, mut length, mut authorization) = (String::new(), 0, String::new());
    let _ = reader.read_line(&mut first);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().unwrap();
            }
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                value.clone_into(&mut authorization);
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let target = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let path = target.split('?').next().unwrap_or_default().to_owned();
    let mut state = state.lock().unwrap();
    state.paths.push(path.clone());
    if state.hangs {
        drop(state);
        // Until whoever asked has gone.
        let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
        let _ = stream.read(&mut [0]);
        return;
    }
    let issuer = state.issuer.clone();
    let html = |text: String| (200, "text/html; charset=utf-8", text);
    let (status, kind, text) = match path.rsplit('/').next().unwrap_or_default() {
        "openid-configuration" => {
            let document = json!({
                "issuer": issuer, "authorization_endpoint": format!("{issuer}/auth"),
                "token_endpoint": format!("{issuer}/token"), "jwks_uri": format!("{issuer}/certs"),
                "userinfo_endpoint": format!("{issuer}/userinfo"), "end_session_endpoint": format!("{issuer}/logout"),
                "authorization_response_iss_parameter_supported": true,
            });
            (200, "application/json", document.to_string())
        }
        "certs" => (200, "application/json", state.keys().to_string()),
        "token" => {
            let (status, answer) = state.redeem(&authorization, &String::from_utf8_lossy(&body));
            (status, "application/json", answer.to_string())
        }
        "userinfo" if authorization == "Bearer access" => {
            let subject = if state.twist == Twist::Substituted {
                "somebody else".into()
            } else {
                state.person["sub"].clone()
            };
            let mut claims = json!({ "sub": subject });
            claims.as_object_mut().unwrap().extend(state.userinfo.as_object().unwrap().clone());
            (200, "application/json", claims.to_string())
        }
        // With a button, as there the person presses one.
        "auth" => {
            let back = state.approve(&format!("http://provider{target}"));
            html(format!(
                "<link rel=icon href=data:,><title>SSO</title><h1>Provider</h1><a id=enter href=\"{}\">Enter</a>",
                back.replace('&', "&amp;")
            ))
        }
        "logout" => {
            let url: Url = format!("http://provider{target}").parse().unwrap();
            let fields: HashMap<String, String> = url.query_pairs().into_owned().collect();
            let hint = fields
                .get("id_token_hint")
                .map_or("none", |hint| if hint.contains('.') { "token" } else { "other" });
            html(format!(
                "<link rel=icon href=data:,><title>SSO</title><h1>Bye</h1><p>hint: {hint}</p><a id=back href=\"{}?state={}\">Back</a>",
                fields["post_logout_redirect_uri"], fields["state"]
            ))
        }
        _ => (404, "text/plain", "nothing".to_owned()),
    };
    let _ = write!(
        stream,
        "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    );
}
