//! What a request brings, made of anything: read without a panic, and within bounds.

use hyper::header::HeaderValue;
use hyper::{HeaderMap, Method};
use proptest::prelude::*;

use super::super::account::totp;
use super::super::call::Fields;
use super::super::{door, routes, server, shell};

proptest! {
    #[test]
    fn forms_paths_cookies_and_fields_of_proxies_are_read_without_a_panic(
        octets in proptest::collection::vec(any::<u8>(), 0..300),
        path in "[/%a-z0-9{}.+&=\\\\]{0,60}",
        forwarded in "[0-9a-f:.,\\[\\] ]{0,80}",
    ) {
        let fields = Fields::read(&octets);
        for (name, value) in fields.iter() {
            prop_assert!(fields.verbatim(name).is_some());
            let _ = (fields.find(name), fields.with(name, Some(value)));
        }
        let _ = routes::find(&Method::GET, &path);
        if shell::is_own(&path) {
            prop_assert!(path.starts_with('/') && !path.starts_with("//") && !path.contains('\\'));
        }
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(&octets) {
            headers.insert("cookie", value.clone());
            headers.insert("host", value.clone());
            headers.insert("x-forwarded-proto", value);
        }
        headers.insert("x-forwarded-for", HeaderValue::from_str(&forwarded).unwrap());
        let _ = (server::cookie(&headers, "session"), door::host(&headers));
        let peer = "10.9.0.1".parse().unwrap();
        let all = ["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()];
        let _ = door::behind(&all, peer, false, &headers);
        prop_assert_eq!(door::behind(&[], peer, false, &headers), (peer, false));
        let text = String::from_utf8_lossy(&octets);
        let _ = (totp::step_of(&octets, &text, 0, i64::MAX), totp::step_of(&octets, &path, 0, i64::MIN));
        let _ = totp::recovery_digest(&text);
    }
}
