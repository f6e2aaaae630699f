//! Any octets as a form, as a query and as a field of cookies: what is read can be put back, and says the same again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sachdns::console::fields::{Fields, cookie};

fuzz_target!(|data: &[u8]| {
    let fields = Fields::read(data);
    for (name, _) in fields.iter().take(50) {
        assert!(fields.verbatim(name).is_some());
        if let Some(found) = fields.find(name) {
            assert_eq!(found, found.trim());
            assert!(!found.is_empty() && fields.all(name).any(|other| other == found));
        }
        // One of them set to something else: the others stay, but for those that say nothing.
        let text = fields.with(name, Some("<&=%+; \u{1ea1}"));
        assert!(text.bytes().all(|octet| octet.is_ascii_graphic() && !b"<>\"'".contains(&octet)), "{text}");
        let again = Fields::read(text.as_bytes());
        assert_eq!(again.verbatim(name), Some("<&=%+; \u{1ea1}"));
        let others = |of: &Fields| {
            let kept = of.iter().filter(|(other, value)| *other != name && !value.is_empty());
            kept.map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<Vec<_>>()
        };
        assert_eq!(others(&again), others(&fields));
        assert!(Fields::read(fields.with(name, None).as_bytes()).verbatim(name).is_none());
    }
    if let Ok(field) = std::str::from_utf8(data) {
        for name in ["session", "__Host-session", "language", ""] {
            if let Some(value) = cookie(field, name) {
                assert!(!value.contains(';') && field.contains(value));
            }
        }
    }
});
