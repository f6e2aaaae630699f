//! The first message of a TLS client, as octets: the name that it asks for, and its JA4 fingerprint.
//!
//! Reads what strangers send, allocates no more than it was given, and never panics. No TLS is spoken here. JA4 is FoxIO's
//! description of a ClientHello (its client part is under the BSD licence):
//!
//! ```text
//! t13d1516h2_8daaf6152771_e5627efa2ab1
//! │├┘│├┘├┘├┘ │            └ SHA-256, 12 digits, of the extensions but SNI and ALPN, sorted, `_`, and the
//! ││ ││ │ │  │              signature algorithms in their order
//! ││ ││ │ │  └ SHA-256, 12 digits, of the cipher suites, sorted
//! ││ ││ │ └ the first and last character of the first ALPN value
//! ││ ││ └ the number of extensions
//! ││ │└ the number of cipher suites
//! ││ └ d: it names a server (SNI); i: it does not
//! │└ the highest TLS version that it offers
//! └ over TCP
//! ```
//!
//! Values that only keep servers tolerant (GREASE, RFC 8701) count nowhere.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// Octets of records in which a ClientHello must be whole. Browsers' take up to two thousand, with post-quantum keys.
pub const MOST: usize = 16 * 1024;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const SIGNATURE_ALGORITHMS: u16 = 13;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;

/// What a ClientHello tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The name that is asked for, as it was sent: any text.
    pub server_name: Option<String>,
    /// Its fingerprint.
    pub ja4: String,
}

/// Why octets are no ClientHello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HelloError {
    /// They may be the beginning of one.
    Cut,
    /// They are not.
    Other,
}

/// Reads a ClientHello at the start of a connection (RFC 8446, section 4.1.2, and RFC 5246, section 7.4.1.2).
///
/// # Errors
/// [`HelloError`].
pub fn parse(octets: &[u8]) -> Result<Hello, HelloError> {
    let message = message(octets)?;
    let body = message.get(4..).ok_or(HelloError::Other)?;
    read(body).ok_or(HelloError::Other)
}

/// The first handshake message, taken out of its records.
fn message(octets: &[u8]) -> Result<Vec<u8>, HelloError> {
    let mut message = Vec::new();
    // Past that no more is waited for.
    let cut = if octets.len() < MOST { HelloError::Cut } else { HelloError::Other };
    let mut rest = &octets[..octets.len().min(MOST)];
    loop {
        // What can be told already is told before the rest has come.
        let is_odd =
            |at: usize, expected: fn(u8) -> bool| rest.get(at).is_some_and(|&octet| !expected(octet));
        if is_odd(0, |kind| kind == HANDSHAKE) || is_odd(1, |major| major == 3) {
            return Err(HelloError::Other);
        }
        let (head, behind) = rest.split_at_checked(5).ok_or(cut)?;
        let len = usize::from(u16::from_be_bytes([head[3], head[4]]));
        if len == 0 {
            return Err(HelloError::Other);
        }
        let part = &behind[..len.min(behind.len())];
        message.extend_from_slice(part);
        if message.first().is_some_and(|&kind| kind != CLIENT_HELLO) {
            return Err(HelloError::Other);
        }
        if let Some(&[_, a, b, c]) = message.first_chunk::<4>() {
            let whole = 4 + usize::from(a) * 65_536 + usize::from(b) * 256 + usize::from(c);
            if whole > MOST {
                return Err(HelloError::Other);
            }
            if message.len() >= whole {
                message.truncate(whole);
                return Ok(message);
            }
        }
        if part.len() < len {
            return Err(cut);
        }
        rest = &behind[len..];
    }
}

fn read(body: &[u8]) -> Option<Hello> {
    let mut rest = Octets(body);
    let legacy_version = rest.number()?;
    rest.take(32)?;
    let session = usize::from(rest.octet()?);
    rest.take(session)?;
    let suites = rest.counted()?;
    let compressions = usize::from(rest.octet()?);
    rest.take(compressions)?;
    let mut extensions = if rest.0.is_empty() { Octets(&[]) } else { rest.counted()? };
    let mut suites: Vec<u16> = numbers(suites);

    let mut kinds = Vec::new();
    let (mut names_server, mut server_name) = (false, None);
    let (mut version, mut alpn, mut algorithms) = (legacy_version, None, Vec::new());
    while !extensions.0.is_empty() {
        let kind = extensions.number()?;
        let mut content = extensions.counted()?;
        if is_grease(kind) {
            continue;
        }
        kinds.push(kind);
        match kind {
            SERVER_NAME => {
                names_server = true;
                server_name = server_name_of(content).or(server_name);
            }
            SIGNATURE_ALGORITHMS => algorithms = content.counted().map(numbers).unwrap_or_default(),
            ALPN => {
                let first = content.counted().and_then(|mut list| {
                    let len = usize::from(list.octet()?);
                    list.take(len)
                });
                alpn = first.filter(|value| !value.is_empty());
            }
            SUPPORTED_VERSIONS => {
                let len = usize::from(content.octet()?);
                let highest = numbers(Octets(content.take(len)?)).into_iter().max();
                version = highest.unwrap_or(version);
            }
            _ => {}
        }
    }

    let mut ja4 = String::with_capacity(36);
    let sni = if names_server { 'd' } else { 'i' };
    let alpn = alpn.map_or(['0', '0'], ends);
    let _ = write!(
        ja4,
        "t{}{sni}{:02}{:02}{}{}",
        version_text(version),
        suites.len().min(99),
        kinds.len().min(99),
        alpn[0],
        alpn[1]
    );
    suites.sort_unstable();
    let suites = hex(&suites);
    let _ = write!(ja4, "_{}", digest(&suites));
    kinds.retain(|kind| ![SERVER_NAME, ALPN].contains(kind));
    kinds.sort_unstable();
    let mut last = hex(&kinds);
    if !last.is_empty() && !algorithms.is_empty() {
        last.push('_');
        last.push_str(&hex(&algorithms));
    }
    let _ = write!(ja4, "_{}", digest(&last));
    Some(Hello { server_name, ja4 })
}

/// The host name in the server name extension (RFC 6066, section 3).
fn server_name_of(mut content: Octets<'_>) -> Option<String> {
    let mut list = content.counted()?;
    while !list.0.is_empty() {
        let kind = list.octet()?;
        let name = list.counted()?;
        if kind == 0 {
            return std::str::from_utf8(name.0).ok().map(str::to_owned);
        }
    }
    None
}

/// The first and last character of an ALPN value; of one that is not text, of its hexadecimal digits.
fn ends(value: &[u8]) -> [char; 2] {
    let (Some(&first), Some(&last)) = (value.first(), value.last()) else { return ['0', '0'] };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return [char::from(first), char::from(last)];
    }
    let digit = |number: u8| char::from_digit(u32::from(number), 16).unwrap_or('0');
    [digit(first >> 4), digit(last & 15)]
}

fn version_text(version: u16) -> &'static str {
    match version {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        _ => "00",
    }
}

/// The first digits of the SHA-256 of a text; zeros where there is none.
fn digest(text: &str) -> String {
    if text.is_empty() {
        return "0".repeat(12);
    }
    let digest = Sha256::digest(text);
    digest[..6].iter().fold(String::with_capacity(12), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

fn hex(numbers: &[u16]) -> String {
    let mut text = String::with_capacity(5 * numbers.len());
    for number in numbers {
        let comma = if text.is_empty() { "" } else { "," };
        let _ = write!(text, "{comma}{number:04x}");
    }
    text
}

/// RFC 8701, section 2: both octets alike, and their last digit an A.
fn is_grease(number: u16) -> bool {
    let [first, second] = number.to_be_bytes();
    first == second && first & 15 == 10
}

/// Numbers of two octets, but for GREASE.
fn numbers(octets: Octets<'_>) -> Vec<u16> {
    let pairs = octets.0.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    pairs.filter(|&number| !is_grease(number)).collect()
}

/// Octets that are taken from the front.
#[derive(Clone, Copy)]
struct Octets<'a>(&'a [u8]);

impl<'a> Octets<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn octet(&mut self) -> Option<u8> {
        self.take(1).map(|octets| octets[0])
    }

    fn number(&mut self) -> Option<u16> {
        self.take(2).map(|octets| u16::from_be_bytes([octets[0], octets[1]]))
    }

    /// What follows its own length, a number of two octets.
    fn counted(&mut self) -> Option<Self> {
        let len = usize::from(self.number()?);
        self.take(len).map(Self)
    }
}

#[cfg(test)]
mod tests;
