//! Files that are of use, and files that are not; and what becomes of them later.

use std::fs;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tempfile::TempDir;

use super::*;

const NOW: &str = "2026-11-25T12:00:00Z";

/// A folder with a certificate for dns.example, and another key.
fn folder() -> (TempDir, Options) {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        certificate: folder.path().join("certificate.pem"),
        key: folder.path().join("key.pem"),
        name: Some(Name::from_host("dns.example").unwrap()),
    };
    lay(&options, "dns.example", 2027);
    (folder, options)
}

/// Puts a new pair in place, valid from 2026 until this year.
fn lay(options: &Options, name: &str, until: i32) {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new([name.to_owned()]).unwrap();
    parameters.not_before = date_time_ymd(2026, 1, 1);
    parameters.not_after = date_time_ymd(until, 2, 1);
    let certificate = parameters.self_signed(&key).unwrap();
    fs::write(&options.certificate, certificate.pem()).unwrap();
    fs::write(&options.key, key.serialize_pem()).unwrap();
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn what_is_of_no_use_says_why() {
    #[track_caller]
    fn check(change: impl FnOnce(&Options), expected: &str) {
        let (_folder, options) = folder();
        change(&options);
        let error = Loaded::read(&options).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(expected), "{error:?} should say {expected:?}");
    }
    check(|it| fs::remove_file(&it.certificate).unwrap(), "certificate.pem: No such file");
    check(|it| fs::remove_file(&it.key).unwrap(), "key.pem: No such file");
    check(|it| fs::write(&it.certificate, "").unwrap(), "begin with -----BEGIN CERTIFICATE-----");
    check(|it| fs::write(&it.key, "a key").unwrap(), "-----BEGIN PRIVATE KEY-----");
    check(|it| fs::write(&it.key, vec![b'\n'; 2 << 20]).unwrap(), "more than 1048576 octets");
    check(
        |it| fs::write(&it.certificate, "-----BEGIN CERTIFICATE-----\nAAAA\n").unwrap(),
        "certificate.pem: not PEM",
    );
    check(
        |it| {
            fs::write(&it.certificate, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
                .unwrap();
        },
        "certificate.pem: not a certificate",
    );
    check(
        |it| fs::write(&it.key, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap(),
        "RSA, ECDSA",
    );
    let other = KeyPair::generate().unwrap().serialize_pem();
    check(|it| fs::write(&it.key, other).unwrap(), "key.pem: not the key of the certificate in ");
}

#[test]
fn what_clients_may_mind_is_told() {
    fn check(now: &str, name: Option<&str>, expected: &[&str]) {
        let (_folder, options) = folder();
        let options = Options { name: name.map(|name| Name::from_host(name).unwrap()), ..options };
        let concerns = Loaded::read(&options).unwrap().concerns(&options, time(now));
        assert_eq!(concerns.len(), expected.len(), "{concerns:?}");
        for (concern, part) in concerns.iter().zip(expected) {
            assert!(concern.to_string().contains(part), "{concern}");
        }
    }
    check(NOW, Some("dns.example"), &[]);
    check(NOW, None, &[]);
    check("2027-02-02T00:00:00Z", None, &["expired at 2027-02-01T00:00:00Z"]);
    check("2025-12-31T00:00:00Z", None, &["not valid before 2026-01-01"]);
    check("2027-02-02T00:00:00Z", Some("other.example"), &["expired", "server.tls_name, other.example"]);
}

#[test]
fn new_files_are_taken_and_bad_ones_leave_the_old() {
    let (_folder, options) = folder();
    let (credentials, _) = Credentials::open(&options, time(NOW)).unwrap();
    let in_force = || credentials.current.load().cert[0].to_vec();
    let first = in_force();
    assert_eq!(credentials.look_again(time(NOW)).unwrap(), Change::None);

    fs::write(&options.key, "half a k").unwrap();
    assert!(credentials.look_again(time(NOW)).is_err());
    assert_eq!(credentials.look_again(time(NOW)).unwrap(), Change::None, "told once");
    assert_eq!(in_force(), first);

    lay(&options, "other.example", 2028);
    let Change::Taken(concerns) = credentials.look_again(time(NOW)).unwrap() else {
        panic!("the files have changed");
    };
    assert_eq!(concerns, [Concern::Name("dns.example".to_owned())]);
    assert_ne!(in_force(), first);

    let elsewhere = Options { key: options.key.with_extension("other"), ..options.clone() };
    assert!(credentials.renew(&elsewhere, time(NOW)).is_err());
    fs::rename(&options.key, &elsewhere.key).unwrap();
    assert!(matches!(credentials.renew(&elsewhere, time(NOW)).unwrap(), Change::Taken(_)));
    assert_eq!(credentials.look_again(time(NOW)).unwrap(), Change::None);
}
