//! SQL's only door for values: texts, times and addresses as literals that nothing can end early.
//!
//! Values are written, never pasted: of a text, letters, digits and a few marks stand as they are, every other octet as
//! `\xHH`. Server-side parameters (`{name:Type}`) would do the same, but servers before 19.14 do not know them. Names
//! of databases, tables and clusters are checked where they are read from the configuration ([`Identifier`]).

use std::fmt::{self, Write as _};
use std::net::IpAddr;

/// A text as a literal, with its quotes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a>(pub(super) &'a [u8]);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('\'')?;
        for &octet in self.0 {
            match octet {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'/' => {
                    f.write_char(char::from(octet))?;
                }
                _ => write!(f, "\\x{octet:02X}")?,
            }
        }
        f.write_char('\'')
    }
}

/// Texts, at least one, as what stands behind IN.
#[derive(Debug, Clone, Copy)]
pub(super) struct List<'a, T>(pub(super) &'a [T]);

impl<T: AsRef<[u8]>> fmt::Display for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, text) in self.0.iter().enumerate() {
            f.write_char(if number == 0 { '(' } else { ',' })?;
            Text(text.as_ref()).fmt(f)?;
        }
        f.write_char(')')
    }
}

/// The sixteen octets of an address, an IPv4 one as ::ffff:a.b.c.d.
pub(super) fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// The address of sixteen octets.
pub(super) fn address(octets: [u8; 16]) -> IpAddr {
    IpAddr::from(octets).to_canonical()
}

/// Octets as `hex` of the server writes them.
pub(super) fn hex(octets: &[u8]) -> String {
    let mut text = String::with_capacity(2 * octets.len());
    for octet in octets {
        // Writing to a text does not fail.
        let _ = write!(text, "{octet:02X}");
    }
    text
}

/// The name of a database or cluster: letters, digits and `_`, no digit first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identifier(String);

/// Why a text is no [`Identifier`].
#[derive(Debug, thiserror::Error)]
#[error("it has other characters than letters, digits and _, begins with a digit, or is too long")]
pub struct IdentifierError;

impl std::str::FromStr for Identifier {
    type Err = IdentifierError;

    fn from_str(text: &str) -> Result<Self, IdentifierError> {
        let is_fit = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let is_begun = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        (is_begun && text.len() <= 64 && text.chars().all(is_fit))
            .then(|| Self(text.to_owned()))
            .ok_or(IdentifierError)
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_its_literal() {
        let check = |text: &[u8], expected: &str| assert_eq!(Text(text).to_string(), expected);
        check(b"", "''");
        check(b"www.evil-1.example", "'www.evil-1.example'");
        check(b"a'; DROP TABLE records; --", "'a\\x27\\x3B\\x20DROP\\x20TABLE\\x20records\\x3B\\x20--'");
        check(b"\\' OR 1=1 /*", "'\\x5C\\x27\\x20OR\\x201\\x3D1\\x20/\\x2A'");
        check("Mã độc".as_bytes(), "'M\\xC3\\xA3\\x20\\xC4\\x91\\xE1\\xBB\\x99c'");
        check(b"\0\n\xff", "'\\x00\\x0A\\xFF'");
        for octet in 0..=255u8 {
            let literal = Text(&[octet, octet]).to_string();
            let inner = literal.strip_prefix('\'').and_then(|it| it.strip_suffix('\'')).unwrap();
            assert!(!inner.contains('\''), "{literal}");
            assert!(
                inner
                    .replace("\\x", "")
                    .bytes()
                    .all(|it| it.is_ascii_alphanumeric() || b".-_/".contains(&it))
            );
        }
        assert_eq!(List(&["a", "b'"]).to_string(), "('a','b\\x27')");
    }

    #[test]
    fn only_plain_words_name_anything() {
        for text in ["sachdns", "_x9", "A"] {
            assert_eq!(text.parse::<Identifier>().unwrap().to_string(), text);
        }
        for text in ["", "9a", "a b", "a`", "a'", "a;b", "cơ", "a.b", &"x".repeat(65)] {
            assert!(text.parse::<Identifier>().is_err(), "{text:?}");
        }
    }
}
