//! The token in the page's form: whoever posts it was shown that very form, at that address, not long ago.
//!
//! ```text
//! token = base64url( time (8 octets, microseconds, big endian) ‖ HMAC-SHA-256(key, time ‖ client ‖ ticket ‖ host) )
//! ```
//!
//! The client is its 16 octets as IPv6, the ticket and host are preceded by their length (8 octets). Nothing is kept of
//! tokens, so one may come twice; saying the same thing twice is harmless, and how often is bounded elsewhere.
//!
//! **What it is good for.** The page stands under the malicious name's own origin, and anybody's page can post to it:
//! another site's cannot read the token. A script of the malicious name's own that ran before the name was blocked can,
//! and so can a program on the machine, for nobody logs in. Neither can do more than claim what a person could claim; cases are
//! closed by what a machine does afterwards, never by what was said. No clock, no I/O.

use std::net::IpAddr;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use ring::hmac;

use super::desk::Case;

/// What tokens are made with.
#[derive(Clone)]
pub struct Key(hmac::Key);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

/// To what a token is bound.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound<'a> {
    pub(super) client: IpAddr,
    pub(super) ticket: &'a str,
    pub(super) host: Option<&'a str>,
}

/// How long a page may stand open: a machine that is found in the evening is cleaned the next day. In microseconds.
const LIFE: i64 = 36 * 3600 * 1_000_000;
/// The clock may have been set back a little since.
const AHEAD: i64 = 300 * 1_000_000;

const TIME: usize = 8;

impl Key {
    /// How many octets a key has.
    pub const OCTETS: usize = 32;

    /// Takes octets that nobody else knows.
    pub fn new(secret: &[u8; Self::OCTETS]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// Makes the token of a form that is shown at `time`.
    pub(super) fn token(&self, bound: Bound<'_>, time: i64) -> String {
        let time = time.to_be_bytes();
        let tag = hmac::sign(&self.0, &message(time, bound));
        BASE64_URL_SAFE_NO_PAD.encode([&time, tag.as_ref()].concat())
    }

    /// Whether `token` was made for this form, and not too long ago.
    pub(super) fn is_good(&self, token: &str, bound: Bound<'_>, now: i64) -> bool {
        let Ok(octets) = BASE64_URL_SAFE_NO_PAD.decode(token) else { return false };
        let Some((time, tag)) = octets.split_first_chunk::<TIME>() else { return false };
        let age = now.saturating_sub(i64::from_be_bytes(*time));
        // In constant time, says ring.
        hmac::verify(&self.0, &message(*time, bound), tag).is_ok() && (-AHEAD..=LIFE).contains(&age)
    }
}

fn message(time: [u8; TIME], Bound { client, ticket, host }: Bound<'_>) -> Vec<u8> {
    let client = match client {
        IpAddr::V4(client) => client.to_ipv6_mapped(),
        IpAddr::V6(client) => client,
    };
    let host = host.unwrap_or_default();
    let length = |text: &str| (text.len() as u64).to_be_bytes();
    let parts: [&[u8]; 6] =
        [&time, &client.octets(), &length(ticket), ticket.as_bytes(), &length(host), host.as_bytes()];
    parts.concat()
}

/// Whether a text can be a ticket at all.
pub(super) fn is_ticket(text: &str) -> bool {
    (1..=Case::LONGEST_TICKET).contains(&text.len())
        && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600 * 1_000_000;
    const BOUND: Bound<'_> = Bound {
        client: IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 2, 3)),
        ticket: "K7-M2Q",
        host: Some("evil.example"),
    };

    #[test]
    fn a_token_is_good_for_its_form_alone() {
        let (key, now) = (Key::new(&[7; 32]), 1_661_792_645_000_000);
        let token = key.token(BOUND, now);
        let check = |token: &str, bound: Bound<'_>, now: i64, expected: bool| {
            assert_eq!(key.is_good(token, bound, now), expected, "{token} {bound:?} {now}");
        };
        check(&token, BOUND, now, true);
        check(&token, BOUND, now + 35 * HOUR, true);
        check(&token, BOUND, now + 37 * HOUR, false);
        check(&token, BOUND, now - HOUR, false);
        check(&token, Bound { client: [10, 1, 2, 4].into(), ..BOUND }, now, false);
        check(&token, Bound { client: "::ffff:10.1.2.3".parse().unwrap(), ..BOUND }, now, true);
        check(&token, Bound { ticket: "K7-M2R", ..BOUND }, now, false);
        check(&token, Bound { host: Some("other.example"), ..BOUND }, now, false);
        check(&token, Bound { host: None, ..BOUND }, now, false);
        // What goes over from one field to the next is another form.
        check(
            &key.token(Bound { ticket: "ab", host: Some("c"), ..BOUND }, now),
            Bound { ticket: "a", host: Some("bc"), ..BOUND },
            now,
            false,
        );
        for wrong in ["", "A", "AAAAAAAAAAA", &token[1..], &format!("{token}A"), "đ", &"A".repeat(4000)] {
            check(wrong, BOUND, now, false);
        }
        for at in 0..token.len() {
            let mut other = token.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            check(std::str::from_utf8(&other).unwrap(), BOUND, now, false);
        }
        assert!(!Key::new(&[8; 32]).is_good(&token, BOUND, now), "another server's key");
        check(&key.token(BOUND, i64::MIN), BOUND, i64::MAX, false);
    }
}
