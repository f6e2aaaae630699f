//! What of what is looked for a file has, as its columns have it: so that a text is no name that must be read, but octets that are
//! compared.

use std::collections::HashSet;

use super::names;
use crate::name;

/// Octets of the longest name in presentation format are four times 255 at the most.
const LENS: usize = 1024;

/// Names and addresses that a file has and that are looked for, as texts.
#[derive(Debug)]
pub(in crate::evidence::store) struct Words {
    /// In small letters.
    names: HashSet<Box<[u8]>>,
    addresses: HashSet<Box<[u8]>>,
    /// Which lengths names have: nearly all others are passed over by it.
    lens: [bool; LENS],
}

impl Words {
    pub(super) fn from_keys(keys: &[Box<[u8]>]) -> Self {
        let mut words = Self { names: HashSet::new(), addresses: HashSet::new(), lens: [false; LENS] };
        for key in keys {
            if let Some(address) = names::address_of_key(key) {
                words.addresses.insert(address.to_string().into_bytes().into());
            } else if let Some(name) = name::from_key(key) {
                // Keys are folded already.
                let text = name.to_string().into_bytes();
                words.lens[text.len().min(LENS - 1)] = true;
                words.names.insert(text.into());
            }
        }
        words
    }

    pub(super) fn has_names(&self) -> bool {
        !self.names.is_empty()
    }

    pub(super) fn has_addresses(&self) -> bool {
        !self.addresses.is_empty()
    }

    /// Whether a column's name is one of them.
    pub(super) fn has_name(&self, text: &[u8]) -> bool {
        self.lens[text.len().min(LENS - 1)] && self.names.contains(&*text.to_ascii_lowercase())
    }

    /// Whether one of a column's addresses is one of them.
    pub(super) fn has_address(&self, texts: &[u8]) -> bool {
        texts.split(|octet| *octet == b' ').any(|text| self.addresses.contains(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Presentation;

    #[test]
    fn a_name_is_found_in_any_case_and_with_any_octet() {
        let wires: [&[u8]; 4] =
            [b"\x03www\x04evil\x07example\x00", b"\x05a.b\\c\x02\x00\xff\x00", b"\x01@\x03A Z\x00", b"\x00"];
        let key = |wire: &[u8]| names::key_of_name(wire).unwrap();
        let words = Words::from_keys(&wires.map(key));
        for wire in wires {
            for wire in [wire.to_vec(), wire.to_ascii_uppercase(), wire.to_ascii_lowercase()] {
                let text = Presentation(&wire).to_string();
                assert!(words.has_name(text.as_bytes()), "{text}");
            }
        }
        assert!(!words.has_name(b"ww2.evil.example") && !words.has_name(&[b'x'; 4000]));
        assert!(words.has_names() && !words.has_addresses());
    }

    #[test]
    fn an_address_is_found_among_others() {
        let addresses = ["192.0.2.66", "2001:db8::1"];
        let words = Words::from_keys(&addresses.map(|text| names::key_of_address(text.parse().unwrap())));
        for (text, expected) in [
            ("192.0.2.66", true),
            ("192.0.2.6", false),
            ("10.0.0.1 2001:db8::1", true),
            ("10.0.0.1 2001:db8::10", false),
            ("", false),
        ] {
            assert_eq!(words.has_address(text.as_bytes()), expected, "{text}");
        }
        assert!(!words.has_names() && words.has_addresses());
    }
}
