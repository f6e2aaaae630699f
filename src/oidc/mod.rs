//! OpenID Connect: who somebody is, by the word of the organisation's own sign-in (Core 1.0, the authorization code flow with PKCE).
//!
//! ```text
//! browser ─► begin ──────────► the provider's page ──► browser ─► redeem
//!            state, nonce, PKCE                        code, state  │
//!              discovery (metadata, an hour)    token endpoint ◄────┤ code, PKCE's verifier, who we are
//!              keys (an hour; a new id: anew)   ID token ───────────┤ signature, then iss, aud, exp, iat, nonce
//!                                               userinfo ◄──────────┘ only for claims that the token lacks
//! ```
//!
//! Knows HTTP, JSON and signatures. What a person may do here, sessions, cookies and pages are `console`'s; that what [`Started`] has came
//! back from the browser that was sent away is its to see to, too.

pub mod discovery;
pub mod keys;
#[cfg(test)]
mod tests;
pub mod token;

use std::future::Future;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine as _};
use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::fetch::http::{self, Client, HttpError, Post, read_secret};
use discovery::{DiscoveryError, Metadata, Proof};
use keys::{KeySet, KeysError};
use token::{Claims, Expected, TokenError};

const SECOND: i64 = 1_000_000;
/// How long is kept what a provider says of itself, and its keys; an old one does where no new one is to be had.
const KEPT: i64 = 3600 * SECOND;
const STALE: i64 = 24 * KEPT;
/// How often a provider is asked that does not answer, or that keys are fetched anew because of an id that is not known.
const AGAIN: i64 = 10 * SECOND;
const KEYS_AGAIN: i64 = 60 * SECOND;
/// So that an answer that is late is told, and remembered, as that one.
const SLACK: Duration = Duration::from_millis(250);
/// Most octets of an answer.
const ANSWER: u64 = 512 << 10;
/// The longest code that a provider may give (an Entra code has some 1,200 octets).
const CODE: usize = 8 << 10;

/// Whom we ask, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Its name, exactly as it says it itself.
    pub issuer: String,
    /// Our name there.
    pub client: String,
    /// The file of our secret; `None`: what proves that it is us is PKCE alone.
    pub secret: Option<PathBuf>,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// Where it sends people back to.
    pub redirect: String,
    /// How it is asked: authorities, proxy, time.
    pub http: http::Options,
}

/// What is remembered of somebody who was sent to the provider. None of it is a secret from that browser but `verifier`.
#[derive(Debug, Clone)]
pub struct Started {
    /// Comes back with the browser.
    pub state: String,
    /// … in the token.
    pub nonce: String,
    /// What the code is worth nothing without (RFC 7636).
    pub verifier: String,
}

impl Started {
    /// New ones.
    pub fn roll() -> Self {
        let secret = || BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        Self { state: secret(), nonce: secret(), verifier: secret() }
    }
}

/// Somebody who signed in.
#[derive(Debug, Clone, PartialEq)]
pub struct Person {
    /// What is said of them.
    pub claims: Claims,
    /// The token that says so, for when they sign out.
    pub token: String,
}

/// Why nobody signed in.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// No answer.
    #[error("{url}: {source}")]
    Http {
        /// From where.
        url: String,
        /// Why.
        source: HttpError,
    },
    /// No answer in time.
    #[error("{url}: no answer within {} s", .after.as_secs())]
    Late {
        /// From where.
        url: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// It was asked a moment ago.
    #[error("{0} (asked again in some seconds)")]
    Lately(String),
    /// Another answer than was asked for.
    #[error("{url} answers {status}; {mend}")]
    Status {
        /// Who.
        url: String,
        /// What.
        status: u16,
        /// What to do.
        mend: &'static str,
    },
    /// What it says of itself.
    #[error("{url}: {source}")]
    Discovery {
        /// Where.
        url: String,
        /// What is wrong.
        source: DiscoveryError,
    },
    /// Its keys.
    #[error("{url}: {source}")]
    Keys {
        /// Where.
        url: String,
        /// What is wrong.
        source: KeysError,
    },
    /// It gives no token for the code.
    #[error("the provider refuses the code: {error:?} {description:?}; {}", mend(.error))]
    Refused {
        /// Its word (RFC 6749, section 5.2).
        error: String,
        /// Its words.
        description: String,
    },
    /// What it gives is no answer to that.
    #[error("the provider's answer has no {0}")]
    Answer(&'static str),
    /// It takes no secret as we have one.
    #[error("the provider takes neither client_secret_basic nor client_secret_post: allow one of them there")]
    Proof,
    /// Our secret.
    #[error("{path}: {source}; client_secret_file must have the secret in its first line")]
    Secret {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The answer is another provider's (RFC 9207).
    #[error("the answer is of the issuer {0:?}, who was not asked")]
    Mixed(String),
    /// The token.
    #[error("the ID token does not count: {0}")]
    Token(#[from] TokenError),
    /// Who else the userinfo endpoint speaks of (Core, section 5.3.2).
    #[error("the userinfo endpoint speaks of somebody else than the ID token")]
    Substituted,
}

fn mend(error: &str) -> &'static str {
    match error {
        "invalid_client" | "unauthorized_client" => {
            "check console.oidc client_id and client_secret_file, and that the client may use the code flow"
        }
        "invalid_grant" => "start again; if that does not help, the redirect URI there may be another one",
        _ => "the provider's own log says more",
    }
}

/// What was learnt of the provider.
#[derive(Debug, Default)]
struct Known {
    metadata: Option<(i64, Arc<Metadata>)>,
    keys: Option<(i64, Arc<KeySet>)>,
    /// When they were fetched because of an id that was not known, and when they could not be.
    renewed: Option<i64>,
    refused: Option<i64>,
    failed: Option<(i64, String)>,
}

/// A provider.
#[derive(Debug)]
pub struct Provider {
    options: Options,
    known: Mutex<Known>,
    /// One asks at a time; the others have the answer then.
    turn: tokio::sync::Mutex<()>,
}

impl Provider {
    /// One that is not asked anything yet.
    pub fn new(options: Options) -> Self {
        Self { options, known: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// Its name.
    pub fn issuer(&self) -> &str {
        &self.options.issuer
    }

    /// Where a browser goes to sign in (Core, section 3.1.2.1).
    ///
    /// # Errors
    /// [`OidcError`]: the provider does not say where that is.
    pub async fn begin(&self, started: &Started, now: i64) -> Result<Url, OidcError> {
        let metadata = self.within(self.metadata(now)).await?;
        let mut url = metadata.authorization.clone();
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(&started.verifier));
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.options.client)
            .append_pair("redirect_uri", &self.options.redirect)
            .append_pair("scope", &self.options.scopes.join(" "))
            .append_pair("state", &started.state)
            .append_pair("nonce", &started.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        Ok(url)
    }

    /// Turns the code that came back into who it is. `wanted` are claims that are asked for at the userinfo endpoint, where there is one
    /// and the token lacks them.
    ///
    /// # Errors
    /// [`OidcError`].
    pub async fn redeem(
        &self,
        code: &str,
        issuer: Option<&str>,
        started: &Started,
        wanted: &[&str],
        now: i64,
    ) -> Result<Person, OidcError> {
        self.within(self.redeemed(code, issuer, started, wanted, now)).await
    }

    async fn redeemed(
        &self,
        code: &str,
        issuer: Option<&str>,
        started: &Started,
        wanted: &[&str],
        now: i64,
    ) -> Result<Person, OidcError> {
        let metadata = self.metadata(now).await?;
        self.check_issuer(&metadata, issuer)?;
        if code.len() > CODE {
            return Err(OidcError::Answer("code of a length that one has"));
        }
        let answer = self.tokens(&metadata, code, &started.verifier).await?;
        let token = answer.id_token.ok_or(OidcError::Answer("id_token: is openid among the scopes?"))?;
        let expected = Expected {
            issuer: &self.options.issuer,
            client: &self.options.client,
            nonce: &started.nonce,
            now: now.div_euclid(SECOND),
        };
        let keys = self.keys(&metadata, false, now).await?;
        let mut claims = match token::read(&token, &keys, &expected) {
            // Signed with a key that is newer than what is known.
            Err(TokenError::NoKey(_)) => {
                token::read(&token, &*self.keys(&metadata, true, now).await?, &expected)?
            }
            read => read?,
        };
        let is_whole = wanted.iter().all(|name| claims.find(name).is_some());
        if let (false, Some(url), Some(access)) = (is_whole, &metadata.userinfo, answer.access_token) {
            let others = self.userinfo(url, &access).await?;
            if others.get("sub").and_then(Value::as_str) != Some(claims.subject()) {
                return Err(OidcError::Substituted);
            }
            claims.add(others);
        }
        Ok(Person { claims, token })
    }

    /// Whether an answer is this provider's: of one that always says so, too, where it does not.
    fn check_issuer(&self, metadata: &Metadata, issuer: Option<&str>) -> Result<(), OidcError> {
        match issuer {
            Some(issuer) if issuer != self.options.issuer => {
                Err(OidcError::Mixed(issuer.chars().take(200).collect()))
            }
            None if metadata.says_issuer => Err(OidcError::Mixed(String::new())),
            _ => Ok(()),
        }
    }

    /// Where somebody signs out of the provider too (RP-Initiated Logout 1.0, section 2); from there back to `back`, with `state`.
    /// `None`: it does not say where that is.
    ///
    /// # Errors
    /// [`OidcError`]: the provider does not answer.
    pub async fn leave(
        &self,
        token: Option<&str>,
        back: &str,
        state: &str,
        now: i64,
    ) -> Result<Option<Url>, OidcError> {
        let metadata = self.within(self.metadata(now)).await?;
        let Some(mut url) = metadata.end_session.clone() else { return Ok(None) };
        let mut query = url.query_pairs_mut();
        query.append_pair("client_id", &self.options.client);
        query.append_pair("post_logout_redirect_uri", back).append_pair("state", state);
        if let Some(token) = token {
            query.append_pair("id_token_hint", token);
        }
        drop(query);
        Ok(Some(url))
    }

    /// All that one person waits for takes no longer than one answer may.
    async fn within<T>(&self, asked: impl Future<Output = Result<T, OidcError>>) -> Result<T, OidcError> {
        let after = self.options.http.timeout;
        let late = |_| OidcError::Late { url: self.options.issuer.clone(), after };
        tokio::time::timeout(after + SLACK, asked).await.map_err(late)?
    }

    async fn metadata(&self, now: i64) -> Result<Arc<Metadata>, OidcError> {
        let kept = |most: i64| {
            let known = self.known();
            let (at, metadata) = known.metadata.as_ref()?;
            is_younger(*at, most, now).then(|| Arc::clone(metadata))
        };
        if let Some(metadata) = kept(KEPT) {
            return Ok(metadata);
        }
        let _turn = self.turn.lock().await;
        if let Some(metadata) = kept(KEPT) {
            return Ok(metadata);
        }
        let lately = self.known().failed.clone().filter(|(at, _)| is_younger(*at, AGAIN, now));
        let asked = match lately {
            Some((_, why)) => Err(OidcError::Lately(why)),
            None => self.discover().await,
        };
        match asked {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                let mut known = self.known();
                known.failed = None;
                known.metadata = Some((now, Arc::clone(&metadata)));
                Ok(metadata)
            }
            Err(error) => {
                if !matches!(error, OidcError::Lately(_)) {
                    self.known().failed = Some((now, error.to_string()));
                }
                kept(STALE).ok_or(error)
            }
        }
    }

    async fn discover(&self) -> Result<Metadata, OidcError> {
        let url = discovery::place(&self.options.issuer).ok_or(OidcError::Answer("URL"))?;
        let mend = "is console.oidc.issuer right?";
        let octets = self.fetch(&url, mend).await?;
        Metadata::read(&octets, &self.options.issuer)
            .map_err(|source| OidcError::Discovery { url: url.to_string(), source })
    }

    /// The provider's keys: those that are known, or `anew` ones, but not too often.
    async fn keys(&self, metadata: &Metadata, anew: bool, now: i64) -> Result<Arc<KeySet>, OidcError> {
        let kept = || {
            let known = self.known();
            let (at, keys) = known.keys.as_ref()?;
            let lately = |then: Option<i64>, most| then.is_some_and(|then| is_younger(then, most, now));
            let most = if lately(known.refused, AGAIN) { STALE } else { KEPT };
            let is_enough = !anew || lately(known.renewed, KEYS_AGAIN);
            (is_enough && is_younger(*at, most, now)).then(|| Arc::clone(keys))
        };
        if let Some(keys) = kept() {
            return Ok(keys);
        }
        let _turn = self.turn.lock().await;
        if let Some(keys) = kept() {
            return Ok(keys);
        }
        if anew {
            self.known().renewed = Some(now);
        }
        let fetched = self.fetch(&metadata.keys, "the discovery document's jwks_uri leads there").await;
        let read = fetched.and_then(|octets| {
            let url = || metadata.keys.to_string();
            KeySet::read(&octets).map_err(|source| OidcError::Keys { url: url(), source })
        });
        match read {
            Ok(keys) => {
                let keys = Arc::new(keys);
                self.known().keys = Some((now, Arc::clone(&keys)));
                Ok(keys)
            }
            Err(error) => {
                self.known().refused = Some(now);
                kept().ok_or(error)
            }
        }
    }

    async fn tokens(&self, metadata: &Metadata, code: &str, verifier: &str) -> Result<Tokens, OidcError> {
        let Options { client, redirect, .. } = &self.options;
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", redirect)
            .append_pair("code_verifier", verifier);
        let mut fields = Vec::new();
        match &self.options.secret {
            None => drop(form.append_pair("client_id", client)),
            Some(path) => {
                let secret =
                    read_secret(path).map_err(|source| OidcError::Secret { path: path.clone(), source })?;
                match metadata.proof.ok_or(OidcError::Proof)? {
                    Proof::Post => {
                        form.append_pair("client_id", client).append_pair("client_secret", &secret);
                    }
                    Proof::Basic => {
                        // RFC 6749, section 2.3.1: each is form-encoded before.
                        let encoded = |text: &str| {
                            url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>()
                        };
                        let pair =
                            BASE64_STANDARD.encode(format!("{}:{}", encoded(client), encoded(&secret)));
                        fields.push(authorization(&format!("Basic {pair}"))?);
                    }
                }
            }
        }
        let post = Post {
            url: &metadata.token,
            content_type: "application/x-www-form-urlencoded",
            fields: &fields,
            body: Bytes::from(form.finish()),
        };
        let (status, octets) = self.exchange(Method::POST, post).await?;
        if status == 200 {
            return serde_json::from_slice(&octets).map_err(|_| OidcError::Answer("JSON"));
        }
        match serde_json::from_slice::<Refusal>(&octets) {
            Ok(refusal) => Err(OidcError::Refused {
                error: refusal.error.chars().take(80).collect(),
                description: refusal.error_description.unwrap_or_default().chars().take(400).collect(),
            }),
            Err(_) => {
                let mend = "the provider's own log says more";
                Err(OidcError::Status { url: metadata.token.to_string(), status, mend })
            }
        }
    }

    async fn userinfo(&self, url: &Url, access: &str) -> Result<Map<String, Value>, OidcError> {
        let fields = [authorization(&format!("Bearer {access}"))?];
        let post = Post { url, content_type: "", fields: &fields, body: Bytes::new() };
        match self.exchange(Method::GET, post).await? {
            (200, octets) => serde_json::from_slice(&octets)
                .map_err(|_| OidcError::Answer("JSON: a signed or encrypted userinfo is not understood")),
            (status, _) => {
                let mend = "claims that the ID token lacks are asked for there: add them to the token";
                Err(OidcError::Status { url: url.to_string(), status, mend })
            }
        }
    }

    async fn fetch(&self, url: &Url, mend: &'static str) -> Result<Vec<u8>, OidcError> {
        let post = Post { url, content_type: "", fields: &[], body: Bytes::new() };
        match self.exchange(Method::GET, post).await? {
            (200, octets) => Ok(octets),
            (status, _) => Err(OidcError::Status { url: url.to_string(), status, mend }),
        }
    }

    /// Redirects are not followed: whoever may set one may set the endpoint too.
    async fn exchange(&self, method: Method, post: Post<'_>) -> Result<(u16, Vec<u8>), OidcError> {
        let url = post.url;
        let mut bounded = Bounded(Vec::new());
        let exchanged = match Client::new(&self.options.http) {
            Ok(mut client) => client.exchange(method, post, &mut bounded).await,
            Err(error) => Err(error),
        };
        let status = exchanged.map_err(|source| match source {
            HttpError::Timeout(after) => OidcError::Late { url: url.to_string(), after },
            source => OidcError::Http { url: url.to_string(), source },
        })?;
        Ok((status, bounded.0))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether something of then is younger than `most`; a clock that was set back makes nothing young for ever.
fn is_younger(then: i64, most: i64, now: i64) -> bool {
    (0..most).contains(&(now - then))
}

fn authorization(value: &str) -> Result<(HeaderName, HeaderValue), OidcError> {
    let mut value = HeaderValue::from_str(value).map_err(|_| OidcError::Answer("token that can be sent"))?;
    value.set_sensitive(true);
    Ok((AUTHORIZATION, value))
}

/// What the token endpoint gives (RFC 6749, section 5.1).
#[derive(Deserialize)]
struct Tokens {
    id_token: Option<String>,
    access_token: Option<String>,
}

/// … or why it does not (section 5.2).
#[derive(Deserialize)]
struct Refusal {
    error: String,
    error_description: Option<String>,
}

/// An answer in memory.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if (self.0.len() + octets.len()) as u64 > ANSWER {
            return Err(io::Error::other(format!("it has more than {ANSWER} octets")));
        }
        self.0.extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
