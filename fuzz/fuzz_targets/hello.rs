//! Any octets at the start of a connection: a ClientHello is read whole or not at all, in however many records it comes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sachdns::evidence::contacts::host_name;
use sachdns::sinkhole::hello::{HelloError, MOST, parse};

fuzz_target!(|octets: &[u8]| {
    let read = parse(octets);
    if let Ok(hello) = &read {
        assert_eq!(hello.ja4.len(), 36);
        assert!(hello.ja4.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'_'));
        if let Some(name) = hello.server_name.as_deref().and_then(host_name) {
            assert!(!name.contains(char::is_control) && name.len() <= 1024);
        }
        // What is behind it changes nothing.
        if octets.len() + 4 < MOST {
            assert_eq!(parse(&[octets, b"more"].concat()), read);
        }
    }
    // What may be the beginning of one is told as that, and what is none stays none.
    if read == Err(HelloError::Other) {
        assert_eq!(parse(&[octets, b"more"].concat()), read);
    }
    if octets.len() >= MOST {
        assert_ne!(read, Err(HelloError::Cut), "nothing more is waited for");
    }
    let _ = std::str::from_utf8(octets).map(host_name);

    // The same message in records of two octets each.
    let Some((head, message)) = octets.split_at_checked(5) else { return };
    let len = usize::from(u16::from_be_bytes([head[3], head[4]]));
    if len == message.len() && len > 0 && octets.len() < MOST / 4 {
        let parts = message.chunks(2).flat_map(|part| [&head[..3], &[0, part.len() as u8], part].concat());
        assert_eq!(parse(&parts.collect::<Vec<_>>()), read);
    }
});
