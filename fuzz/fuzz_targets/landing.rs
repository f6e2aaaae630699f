//! Any body as the landing page's form, and any file as its logo and its texts: what is taken is fit to be handed on.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sachdns::sinkhole::form::Form;
use sachdns::sinkhole::logo::Logo;
use sachdns::sinkhole::page::Design;
use sachdns::sinkhole::texts::Texts;

fuzz_target!(|octets: &[u8]| {
    if let Some(form) = Form::read(octets) {
        assert!(form.ticket.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-'));
        let note = form.note.unwrap_or_default();
        assert!(note.chars().count() <= 300 && !note.contains(char::is_control));
    }
    let logo = Logo::read(octets).ok();
    let texts = std::str::from_utf8(octets).ok().and_then(|text| Texts::read(text).ok());
    if logo.is_some() || texts.is_some() {
        Design::new(texts.unwrap_or_default(), logo).heaviest();
    }
});
