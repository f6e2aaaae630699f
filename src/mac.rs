//! Hardware addresses of Ethernet and of what speaks like it (EUI-48).
//!
//! Only their octets and how they are written; whose they are is for `identity` to know.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A hardware address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mac(pub [u8; 6]);

/// The text is no hardware address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a MAC address has twelve hexadecimal digits, as in 00:1a:2b:3c:4d:5e")]
pub struct MacError;

impl Mac {
    /// Whether it was made up by software (the locally administered bit): telephones do so for each network, and
    /// anew from time to time, so that it does not tell for long which machine it is.
    pub fn is_random(self) -> bool {
        self.0[0] & 2 != 0
    }

    /// Whether a machine can have it: no group's address, and not what stands for none.
    pub fn is_usable(self) -> bool {
        self.0[0] & 1 == 0 && self.0 != [0; 6]
    }

    /// Reads six octets that a machine can have.
    pub fn from_octets(octets: &[u8]) -> Option<Self> {
        octets.try_into().ok().map(Self).filter(|mac| mac.is_usable())
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = MacError;

    /// Reads `00:1a:2b:3c:4d:5e`, `00-1A-2B-3C-4D-5E`, `001a.2b3c.4d5e`, `001A2B3C4D5E`, and `0:1a:2b:3c:4d:5e`.
    fn from_str(text: &str) -> Result<Self, MacError> {
        let text = text.trim();
        let mut octets = [0; 6];
        let divider = text.chars().find(|char| !char.is_ascii_hexdigit());
        let width = match divider {
            Some(':' | '-' | ' ') => 1,
            Some('.') => 2,
            None => 6,
            Some(_) => return Err(MacError),
        };
        let mut groups = text.split(|char| Some(char) == divider);
        for part in octets.chunks_mut(width) {
            let group = groups.next().ok_or(MacError)?;
            let most = 2 * width;
            // Only single octets may leave out their first zero.
            let least = if width == 1 { 1 } else { most };
            if !(least..=most).contains(&group.len()) || !group.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(MacError);
            }
            let number = u64::from_str_radix(group, 16).map_err(|_| MacError)?;
            part.copy_from_slice(&number.to_be_bytes()[8 - width..]);
        }
        if groups.next().is_some() {
            return Err(MacError);
        }
        Ok(Self(octets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macs_are_read_however_they_are_written() {
        fn check(text: &str, expected: Result<&str, MacError>) {
            assert_eq!(
                text.parse::<Mac>().map(|mac| mac.to_string()),
                expected.map(str::to_owned),
                "{text:?}"
            );
        }
        for text in [
            "00:1a:2b:3c:4d:5e",
            "00-1A-2B-3C-4D-5E",
            "001a.2b3c.4d5e",
            "001A2B3C4D5E",
            " 0:1a:2b:3c:4d:5e ",
            "00 1a 2b 3c 4d 5e",
        ] {
            check(text, Ok("00:1a:2b:3c:4d:5e"));
        }
        for text in [
            "",
            "pc-01",
            "00:1a:2b:3c:4d",
            "00:1a:2b:3c:4d:5e:6f",
            "001a2b3c4d5",
            "00:1a-2b:3c:4d:5e",
            "é",
            "+1:1a:2b:3c:4d:5e",
        ] {
            check(text, Err(MacError));
        }
    }

    #[test]
    fn randomised_ones_are_known() {
        fn check(text: &str, is_random: bool, is_usable: bool) {
            let mac: Mac = text.parse().unwrap();
            assert_eq!((mac.is_random(), mac.is_usable()), (is_random, is_usable), "{text}");
        }
        check("00:1a:2b:3c:4d:5e", false, true);
        check("da:a1:19:00:00:01", true, true);
        check("00:00:00:00:00:00", false, false);
        check("ff:ff:ff:ff:ff:ff", true, false);
        check("01:00:5e:00:00:01", false, false);
    }
}
