//! The second factor: codes that a telephone reckons from a shared secret and the time (RFC 6238), and what stands in for a lost one.
//!
//! Pure. HMAC-SHA-1, six digits, steps of thirty seconds: what every such program on a telephone knows.

use ring::hmac;
use sha2::{Digest as _, Sha256};

/// Octets of a secret: the length of the digest (RFC 4226, section 4, R6).
pub(super) const SECRET: usize = 20;
/// Seconds of a step.
const STEP: i64 = 30;
/// By how many steps a telephone's clock may be wrong, either way.
const DRIFT: i64 = 1;
/// Recovery codes that an account gets at once, and the letters of each: 50 bits.
pub(super) const CODES: usize = 10;
const CODE: usize = 10;

const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Base32 without padding (RFC 4648, section 6), as such programs take a secret.
pub fn base32(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len() * 8 / 5 + 1);
    let (mut bits, mut held) = (0u32, 0);
    for &octet in octets {
        bits = bits << 8 | u32::from(octet);
        held += 8;
        while held >= 5 {
            held -= 5;
            text.push(char::from(LETTERS[(bits >> held & 31) as usize]));
        }
    }
    if held > 0 {
        text.push(char::from(LETTERS[(bits << (5 - held) & 31) as usize]));
    }
    text
}

/// What a telephone takes from a picture: `otpauth://totp/…`.
pub fn address(issuer: &str, account: &str, secret: &[u8]) -> String {
    let encoded = |text: &str| {
        let encoded: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
        encoded.replace('+', "%20")
    };
    let (issuer, account) = (encoded(issuer), encoded(account));
    format!("otpauth://totp/{issuer}:{account}?secret={}&issuer={issuer}", base32(secret))
}

/// The code of a step (RFC 4226, section 5.3).
fn code(secret: &[u8], step: i64) -> u32 {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let octets = tag.as_ref();
    let offset = usize::from(octets[octets.len() - 1] & 15);
    let four = [octets[offset] & 0x7f, octets[offset + 1], octets[offset + 2], octets[offset + 3]];
    u32::from_be_bytes(four) % 1_000_000
}

/// The step that this code is of, if it is one of now and behind `used`: no step counts twice (RFC 6238, section 5.2).
pub(in crate::console) fn step_of(secret: &[u8], text: &str, used: i64, now: i64) -> Option<i64> {
    let digits: String = text.chars().filter(|it| !it.is_whitespace()).collect();
    if digits.len() != 6 || !digits.bytes().all(|octet| octet.is_ascii_digit()) {
        return None;
    }
    let given: u32 = digits.parse().ok()?;
    let current = now.div_euclid(1_000_000 * STEP);
    (current - DRIFT..=current + DRIFT).find(|&step| step > used && code(secret, step) == given)
}

/// Codes that stand in for a lost telephone, each once.
pub(super) fn recovery_codes(dice: impl Fn() -> [u8; 7]) -> Vec<String> {
    let code = || {
        let text = base32(&dice());
        format!("{}-{}", &text[..CODE / 2], &text[CODE / 2..CODE])
    };
    std::iter::repeat_with(code).take(CODES).collect()
}

/// What is kept of a recovery code, however it was typed; `None` where it cannot be one.
pub(in crate::console) fn recovery_digest(text: &str) -> Option<[u8; 32]> {
    let letters: Vec<u8> =
        text.bytes().filter(u8::is_ascii_alphanumeric).map(|octet| octet.to_ascii_uppercase()).collect();
    (letters.len() == CODE).then(|| Sha256::digest(letters).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RFC: &[u8] = b"12345678901234567890";

    #[test]
    fn codes_are_those_of_the_rfc() {
        // RFC 6238, appendix B, the last six of eight digits.
        for (time, expected) in [
            (59, 287_082),
            (1_111_111_109, 81_804),
            (1_111_111_111, 50_471),
            (1_234_567_890, 5_924),
            (2_000_000_000, 279_037),
            (20_000_000_000, 353_130),
        ] {
            assert_eq!(code(RFC, time / STEP), expected, "{time}");
        }
        // RFC 4648, section 10.
        for (octets, expected) in [("", ""), ("f", "MY"), ("fo", "MZXQ"), ("foobar", "MZXW6YTBOI")] {
            assert_eq!(base32(octets.as_bytes()), expected);
        }
    }

    #[test]
    fn a_step_counts_once_and_only_about_now() {
        let at = |seconds: i64| seconds * 1_000_000;
        let check = |text: &str, used, time, expected| {
            assert_eq!(step_of(RFC, text, used, at(time)), expected, "{text} {used} {time}");
        };
        check("287082", 0, 59, Some(1));
        check(" 287 082 ", 0, 59, Some(1));
        check("287082", 1, 59, None);
        check("287082", 0, 89, Some(1));
        check("287082", 0, 120, None);
        check("287082", 0, 0, Some(1));
        for text in ["287083", "28708", "2870820", "+87082", "", "٢٨٧٠٨٢"] {
            check(text, 0, 59, None);
        }
    }

    #[test]
    fn recovery_codes_are_known_however_they_are_typed() {
        let codes = recovery_codes(|| [0x12, 0xf3, 0x45, 0xa7, 0x89, 0xab, 0xcd]);
        assert_eq!(codes.len(), CODES);
        assert_eq!(codes[0].len(), 11);
        let digest = recovery_digest(&codes[0]).unwrap();
        assert_eq!(recovery_digest(&codes[0].replace('-', " ").to_ascii_lowercase()), Some(digest));
        assert_eq!(recovery_digest("287082"), None);
    }

    #[test]
    fn a_telephone_takes_the_address() {
        let address = address("SachDNS", "an bình@sở", RFC);
        assert_eq!(
            address,
            "otpauth://totp/SachDNS:an%20b%C3%ACnh%40s%E1%BB%9F?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=SachDNS"
        );
    }
}
