//! The authority, as clients that verify see it.

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{CertificateError, RootCertStore};

use super::*;

const NOW: i64 = 1_795_478_400_000_000;

fn name(text: &str) -> Name {
    Name::from_host(text).unwrap()
}

fn wish() -> Wish {
    Wish { name: "Test".to_owned(), years: 10, permitted: Vec::new(), excluded: vec![name("gov.vn")] }
}

/// Whether a client that trusts the authority takes a certificate for a name at some time.
fn verify(folder: &Path, certified: &CertifiedKey, name: &str, at: i64) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(Export::read(folder).unwrap().der.into()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let at = UnixTime::since_unix_epoch(Duration::from_micros(at.unsigned_abs()));
    let name = ServerName::try_from(name.to_owned()).unwrap();
    verifier.verify_server_cert(&certified.cert[0], &certified.cert[1..], &name, &[], at).map(|_| ())
}

#[test]
fn who_trusts_the_authority_takes_its_certificates() {
    let parent = tempfile::tempdir().unwrap();
    let folder = folder(parent.path());
    let facts = create(&folder, &wish(), NOW).unwrap();
    assert!(facts.name.starts_with("Test ") && facts.name.len() == 13, "{}", facts.name);
    let authority = Authority::load(&folder).unwrap().unwrap();
    let certified = authority.certificate(&name("www.evil.example"), NOW).unwrap();
    verify(&folder, &certified, "www.evil.example", NOW).unwrap();
    // A clock that is a day behind, and a page that stays open for weeks.
    verify(&folder, &certified, "www.evil.example", NOW - DAY).unwrap();
    verify(&folder, &certified, "www.evil.example", NOW + 29 * DAY).unwrap();
    assert!(verify(&folder, &certified, "www.evil.example", NOW + 31 * DAY).is_err());
    assert!(verify(&folder, &certified, "evil.example", NOW).is_err());
    let long = format!("{}.{}.example", "a".repeat(60), "b".repeat(60));
    let certified = authority.certificate(&name(&long), NOW).unwrap();
    verify(&folder, &certified, &long, NOW).unwrap();
}

#[test]
fn it_signs_for_no_name_that_it_may_not() {
    let parent = tempfile::tempdir().unwrap();
    let folder = folder(parent.path());
    create(&folder, &wish(), NOW).unwrap();
    let authority = Authority::load(&folder).unwrap().unwrap();
    let refusal = |text: &str| authority.certificate(&name(text), NOW).err();
    assert_eq!(refusal("www.gov.vn"), Some(Refusal::Constrained));
    assert_eq!(refusal("gov.vn"), Some(Refusal::Constrained));
    assert_eq!(refusal("notgov.vn"), None);
    assert_eq!(refusal("evil"), Some(Refusal::NoName));
    assert_eq!(refusal("10.0.0.1"), Some(Refusal::NoName));
    let late = authority.certificate(&name("evil.example"), NOW + 11 * 365 * DAY);
    assert_eq!(late.err(), Some(Refusal::Expired));
    // And were the key stolen, a client that honours constraints would not believe it.
    let certified = authority.make("www.gov.vn", NOW).unwrap();
    let error = verify(&folder, &certified, "www.gov.vn", NOW).unwrap_err();
    assert!(matches!(error, rustls::Error::InvalidCertificate(CertificateError::Other(_))), "{error:?}");
}

#[test]
fn permitted_names_alone_where_there_are_any() {
    let parent = tempfile::tempdir().unwrap();
    let folder = folder(parent.path());
    create(&folder, &Wish { permitted: vec![name("evil.example")], ..wish() }, NOW).unwrap();
    let authority = Authority::load(&folder).unwrap().unwrap();
    let certified = authority.certificate(&name("a.evil.example"), NOW).unwrap();
    verify(&folder, &certified, "a.evil.example", NOW).unwrap();
    assert_eq!(authority.certificate(&name("other.example"), NOW).err(), Some(Refusal::Constrained));
    let certified = authority.make("other.example", NOW).unwrap();
    assert!(verify(&folder, &certified, "other.example", NOW).is_err());
}

#[test]
fn certificates_are_kept_renewed_and_not_made_without_bound() {
    let parent = tempfile::tempdir().unwrap();
    let folder = folder(parent.path());
    create(&folder, &wish(), NOW).unwrap();
    let authority = Authority::load(&folder).unwrap().unwrap();
    let evil = name("evil.example");
    let first = authority.certificate(&evil, NOW).unwrap();
    assert!(Arc::ptr_eq(&first, &authority.certificate(&evil, NOW + 6 * DAY).unwrap()));
    assert!(!Arc::ptr_eq(&first, &authority.certificate(&evil, NOW + 8 * DAY).unwrap()));
    let now = NOW + 8 * DAY;
    let made = |from: usize, now| {
        let each = (from..from + 500).map(|n| authority.certificate(&name(&format!("n{n}.example")), now));
        each.filter(Result::is_ok).count()
    };
    assert_eq!(made(0, now), BURST as usize - 1);
    assert_eq!(made(1000, now), 0);
    // What is kept is there all the same.
    assert!(authority.certificate(&evil, now).is_ok());
    assert_eq!(made(2000, now + 1_000_000), RATE as usize);
    assert_eq!(made(3000, now + 1_000_000), 0);
    // A clock that is set back does not stop it.
    assert!(made(4000, now - 1) > 0);
}

#[test]
fn an_authority_is_made_once_and_stays_the_same() {
    use std::os::unix::fs::PermissionsExt as _;

    let parent = tempfile::tempdir().unwrap();
    let folder = folder(parent.path());
    assert!(Authority::load(&folder).unwrap().is_none());
    assert!(matches!(Export::read(&folder), Err(AuthorityError::Missing { .. })));
    let facts = create(&folder, &wish(), NOW).unwrap();
    assert!(matches!(create(&folder, &wish(), NOW), Err(AuthorityError::Exists { .. })));
    let mode = |name: &str| fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("ca.key"), mode("")), (0o600, 0o700));
    let export = Export::read(&folder).unwrap();
    assert_eq!(export.facts, facts);
    assert_eq!(export.sha256().len(), 32 * 3 - 1);
    assert_eq!(export.sha1().len(), 40);
    let aside = put_aside(&folder, NOW).unwrap();
    assert!(aside.join("ca.key").exists());
    create(&folder, &wish(), NOW).unwrap();
    assert_ne!(Export::read(&folder).unwrap().sha256(), export.sha256());
    // A key that belongs to another certificate is told.
    fs::copy(aside.join("ca.key"), folder.join("ca.key")).unwrap();
    let error = Authority::load(&folder).unwrap_err();
    assert!(matches!(error, AuthorityError::Damaged { .. }), "{error}");
}

#[test]
fn odd_wishes_are_refused() {
    let parent = tempfile::tempdir().unwrap();
    for name in ["", "  ", "a\nb", &"x".repeat(56)] {
        let made = create(&folder(parent.path()), &Wish { name: name.to_owned(), ..wish() }, NOW);
        assert!(matches!(made, Err(AuthorityError::Wish(_))), "{name:?}: {made:?}");
    }
    assert!(!folder(parent.path()).exists());
}
