//! ID tokens: signed JSON (RFC 7515, RFC 7519) that says who signed in, to whom, and for which request (OpenID Connect Core 1.0, section 2).
//!
//! Pure. What is in a token can be read only once its signature and its claims were found right: the types leave no other way.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::keys::{Algorithm, Doubt, KeySet};

/// Most octets of a token: two hundred groups and some.
pub(super) const MOST: usize = 32 << 10;
/// By how many seconds the provider's clock may be wrong.
const LEEWAY: i64 = 60;
/// How old a token may be, seconds: it is fetched once somebody has signed in.
const OLDEST: i64 = 10 * 60;
/// Most octets of who somebody is (Core, section 2).
const SUBJECT: usize = 255;

/// Why a token does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Too long.
    #[error("it has {0} octets, more than {MOST}")]
    Size(usize),
    /// No token.
    #[error("{0}")]
    Form(&'static str),
    /// Signed in a way that proves nothing, or in one that is not known.
    #[error(
        "it is signed with {0:?}; RS256, PS256, ES256, ES384, EdDSA and the longer forms of RS and PS count"
    )]
    Algorithm(String),
    /// No key of the provider's is this one.
    #[error("none of the provider's keys has the id {0:?}")]
    NoKey(String),
    /// The key has not signed it.
    #[error("its signature is not the provider's")]
    Signature,
    /// A claim is missing or wrong.
    #[error("its claim {claim} {why}")]
    Claim {
        /// Which.
        claim: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

/// What a token must say.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Whose it is.
    pub issuer: &'a str,
    /// For whom.
    pub client: &'a str,
    /// For which request.
    pub nonce: &'a str,
    /// Now, seconds since 1970.
    pub now: i64,
}

/// What a token says that was found right.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims(pub(super) Map<String, Value>);

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
}

/// Reads a token: its signature first, then what it says.
///
/// # Errors
/// [`TokenError`].
pub fn read(text: &str, keys: &KeySet, expected: &Expected<'_>) -> Result<Claims, TokenError> {
    if text.len() > MOST {
        return Err(TokenError::Size(text.len()));
    }
    let (signed, signature) = text.rsplit_once('.').ok_or(TokenError::Form("it has no signature"))?;
    let (header, payload) = signed.split_once('.').ok_or(TokenError::Form("it has less than three parts"))?;
    if payload.contains('.') {
        return Err(TokenError::Form("it has more than three parts: encrypted tokens are not understood"));
    }
    let octets = |part: &str| {
        BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Form("a part is not base64url"))
    };
    let not_json = |_| TokenError::Form("a part is no JSON object");
    let header: Header = serde_json::from_slice(&octets(header)?).map_err(not_json)?;
    // RFC 7515, section 4.1.11: whoever does not understand what is critical refuses the whole.
    if header.crit.is_some() {
        return Err(TokenError::Form("it has critical extensions, of which none is understood"));
    }
    // RFC 8725, section 3.11: access tokens and logout tokens, which are signed with the same keys, are no ID tokens.
    if header.typ.as_ref().is_some_and(|kind| !kind.eq_ignore_ascii_case("jwt")) {
        return Err(TokenError::Form("it is a token of another kind"));
    }
    let Some(algorithm) = Algorithm::of(&header.alg) else {
        return Err(TokenError::Algorithm(header.alg.chars().take(20).collect()));
    };
    let id = header.kid.as_deref();
    keys.verify(algorithm, id, signed.as_bytes(), &octets(signature)?).map_err(|doubt| match doubt {
        Doubt::NoKey => TokenError::NoKey(id.unwrap_or_default().chars().take(80).collect()),
        Doubt::Forged => TokenError::Signature,
    })?;
    let claims = Claims(serde_json::from_slice(&octets(payload)?).map_err(not_json)?);
    claims.check(expected)?;
    Ok(claims)
}

impl Claims {
    /// Core, section 3.1.3.7.
    fn check(&self, expected: &Expected<'_>) -> Result<(), TokenError> {
        let wrong = |claim, why: String| Err(TokenError::Claim { claim, why });
        let is = |claim: &'static str, right: &str| match self.0.get(claim).and_then(Value::as_str) {
            Some(text) if text == right => Ok(()),
            Some(text) => {
                let text: String = text.chars().take(200).collect();
                wrong(claim, format!("is {text:?}, not {right:?}"))
            }
            None => wrong(claim, "is missing".to_owned()),
        };
        is("iss", expected.issuer)?;
        let audience = match self.0.get("aud") {
            Some(Value::String(one)) => vec![&**one],
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        if !audience.contains(&expected.client) {
            return wrong("aud", format!("does not have {:?}: it is for somebody else", expected.client));
        }
        // Of several, the one whom it was made for is named; and where one is named, it is us.
        if audience.len() > 1 || self.0.contains_key("azp") {
            is("azp", expected.client)?;
        }
        let time = |claim| match self.0.get(claim) {
            None => Ok(None),
            Some(value) => match value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64)) {
                Some(seconds) => Ok(Some(seconds)),
                None => wrong(claim, "is no time".to_owned()).map(|()| None),
            },
        };
        let (Some(end), Some(begin)) = (time("exp")?, time("iat")?) else {
            return wrong("exp or iat", "is missing".to_owned());
        };
        let clock = "compare the clocks of both servers";
        if end.saturating_add(LEEWAY) <= expected.now {
            return wrong("exp", format!("is {} seconds ago: {clock}", expected.now.saturating_sub(end)));
        }
        if begin.saturating_sub(LEEWAY) > expected.now {
            return wrong("iat", format!("is in the future: {clock}"));
        }
        if begin < expected.now - LEEWAY - OLDEST {
            return wrong("iat", format!("is too long ago: {clock}"));
        }
        if time("nbf")?.is_some_and(|since| since.saturating_sub(LEEWAY) > expected.now) {
            return wrong("nbf", format!("is in the future: {clock}"));
        }
        // Not told: it is of another request, which may be another person's.
        if self.0.get("nonce").and_then(Value::as_str) != Some(expected.nonce) {
            return wrong("nonce", "is not that of this sign-in".to_owned());
        }
        let subject = self.subject();
        if subject.is_empty() || subject.len() > SUBJECT || subject.chars().any(char::is_control) {
            return wrong("sub", "is missing or cannot be one".to_owned());
        }
        Ok(())
    }

    /// Who it is, among all of the provider's; never given to another one.
    pub fn subject(&self) -> &str {
        self.0.get("sub").and_then(Value::as_str).unwrap_or_default()
    }

    /// A claim by its name, or by the names that lead to it: `realm_access.roles`.
    pub fn find(&self, name: &str) -> Option<&Value> {
        let within = || {
            let (first, rest) = name.split_once('.')?;
            rest.split('.').try_fold(self.0.get(first)?, |value, name| value.get(name))
        };
        self.0.get(name).or_else(within).filter(|value| !value.is_null())
    }

    /// Takes over what `others` say besides. Whoever they are of must have been looked at.
    pub(super) fn add(&mut self, others: Map<String, Value>) {
        for (name, value) in others {
            self.0.entry(name).or_insert(value);
        }
    }
}
