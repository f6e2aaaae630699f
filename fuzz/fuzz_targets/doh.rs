//! Any target of a GET: what is read as a message is what was encoded, and nothing else is read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sachdns::serve::doh::{Refusal, read_get};
use sachdns::wire::{self, Query};

fuzz_target!(|octets: &[u8]| {
    let written = format!("ct=x&dns={}&dns=AA", encode(octets));
    let read = read_get(Some(&written));
    if octets.len() > wire::MAX_MESSAGE {
        assert_eq!(read, Err(Refusal::Length));
    } else {
        assert_eq!(read.as_deref(), Ok(octets));
    }

    let Ok(target) = std::str::from_utf8(octets) else { return };
    for target in [target, &format!("dns={target}")] {
        if let Ok(message) = read_get(Some(target)) {
            assert!(message.len() <= wire::MAX_MESSAGE);
            // There is one way only to write a message.
            let value = target.split('&').find_map(|parameter| parameter.strip_prefix("dns="));
            assert_eq!(value, Some(&*encode(&message)));
            let _ = Query::parse(&message);
        }
    }
});

/// Base64url without padding (RFC 4648, section 5).
fn encode(octets: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let letters = octets.chunks(3).flat_map(|chunk| {
        let bits = chunk.iter().fold(0, |bits, &octet| bits << 8 | usize::from(octet));
        let bits = bits << (8 * (3 - chunk.len()));
        (0..=chunk.len()).map(move |n| char::from(LETTERS[bits >> (18 - 6 * n) & 63]))
    });
    letters.collect()
}
