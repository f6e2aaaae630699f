//! Any body as a form with files: what is read was in it, and no more than a form has.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sachdns::console::multipart::{boundary, read};

fuzz_target!(|data: &[u8]| {
    let split = data.iter().position(|octet| *octet == b'\n').unwrap_or(data.len());
    let (head, body) = data.split_at(split);
    let Ok(head) = std::str::from_utf8(head) else { return };
    let Some(boundary) = boundary(head) else { return };
    assert!(!boundary.is_empty() && boundary.len() <= 70);
    let body = body.get(1..).unwrap_or_default();
    let Some(form) = read(body, boundary) else { return };
    assert!(form.fields.len() + form.files.len() <= 64);
    let octets: usize = form.files.iter().map(|file| file.octets.len()).sum();
    assert!(octets <= body.len());
    for file in &form.files {
        assert!(!file.name.contains(['/', '\\']) && !file.name.contains(char::is_control) && file.name.len() <= 200);
        assert!(file.octets.is_empty() || body.windows(file.octets.len()).any(|part| part == file.octets));
    }
});
