//! The sinkhole's own certificate authority: made once, and then certificates for names that are listed.
//!
//! A browser shows the landing page of an `https:` address only to a machine that trusts this authority, so agencies may
//! deploy it (docs/ca.md). Whoever has its key can pass for any site before such a machine. So: the key never leaves
//! the data folder (mode 0600), the authority signs for names alone that the policy sinkholes at that moment, it
//! names what it may not sign for (name constraints, RFC 5280, section 4.2.1.10, for clients that honour them, and kept
//! here whatever clients do), and none exists until an operator makes one.
//!
//! ```text
//! data_dir/ca/   appears whole: it is made under another name, synced and renamed
//!   ca.pem       the certificate
//!   ca.key       its key, PKCS #8 in PEM, for the user of the server alone
//!   ca.json      its name, time and constraints
//! ```
//!
//! The keys of servers' certificates live in memory only, and are new at each start.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quick_cache::sync::Cache;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, GeneralSubtree,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SerialNumber,
};
use ring::digest;
use rustls::crypto::ring::sign;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};

use crate::name::{self, Name};

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;
/// How far back a certificate is valid: clocks of old machines are behind.
const BACK: i64 = 2 * DAY;
/// How long a server's certificate is valid …
const VALID: i64 = 30 * DAY;
/// … and after which it is made anew.
const FRESH: i64 = 7 * DAY;
/// Certificates that are kept; each takes a few kilobytes.
const MOST: usize = 1024;
/// Certificates that are made a second …
const RATE: i64 = 20;
/// … and at once, after a while without any.
const BURST: i64 = 200;
/// The longest common name (RFC 5280, appendix A.1).
const LONGEST_NAME: usize = 64;

/// What a new authority is to be.
#[derive(Debug, Clone)]
pub struct Wish {
    /// What it calls itself, at most 55 characters; digits of its key follow.
    pub name: String,
    /// How many years it is valid.
    pub years: u16,
    /// Names at and below which alone it may sign; none: everywhere.
    pub permitted: Vec<Name>,
    /// Names at and below which it may not.
    pub excluded: Vec<Name>,
}

/// What is said of an authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Its common name.
    pub name: String,
    /// From when on it is valid, microseconds since 1970.
    pub from: i64,
    /// … and until when.
    pub until: i64,
    /// Names at and below which alone it signs; none: everywhere.
    pub permitted: Vec<String>,
    /// Names at and below which it does not.
    pub excluded: Vec<String>,
}

/// Why there is no authority, or no certificate of it.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// One is there.
    #[error(
        "{path}: there is a certificate authority already, which machines may trust; `--replace` puts it aside and makes a new one"
    )]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// None is there.
    #[error("{path}: no certificate authority here; `sachdns ca init` makes one")]
    Missing {
        /// Where it would be.
        path: PathBuf,
    },
    /// A file cannot be written or read.
    #[error("{path}: {source}; run as the user that sachdns runs as")]
    System {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not what it was.
    #[error(
        "{path}: {why}; restore the folder from a backup, or make a new one by `sachdns ca init --replace`"
    )]
    Damaged {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The wish cannot be fulfilled.
    #[error("{0}")]
    Wish(&'static str),
    /// The cryptography failed.
    #[error("making a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
}

/// Where the authority of a data folder is.
pub fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("ca")
}

/// Makes an authority.
///
/// # Errors
/// [`AuthorityError`], and then nothing has changed.
pub fn create(folder: &Path, wish: &Wish, now: i64) -> Result<Facts, AuthorityError> {
    if folder.exists() {
        return Err(AuthorityError::Exists { path: folder.to_owned() });
    }
    if wish.name.trim().is_empty() || wish.name.chars().any(char::is_control) {
        return Err(AuthorityError::Wish("the name must be some text in one line"));
    }
    let key = KeyPair::generate()?;
    let id = hex(&digest::digest(&digest::SHA256, key.public_key_raw()).as_ref()[..4], "");
    let name = format!("{} {id}", wish.name.trim());
    if name.chars().count() > LONGEST_NAME {
        return Err(AuthorityError::Wish("the name may have at most 55 characters"));
    }
    let texts = |names: &[Name]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let facts = Facts {
        name,
        from: now.saturating_sub(BACK),
        until: now.saturating_add(i64::from(wish.years) * 365 * DAY),
        permitted: texts(&wish.permitted),
        excluded: texts(&wish.excluded),
    };
    let certificate = root(&facts).self_signed(&key)?;

    // Made beside, and renamed when it is whole.
    let new = folder.with_extension("new");
    let system = |path: &Path| {
        let path = path.to_owned();
        move |source| AuthorityError::System { path, source }
    };
    match fs::remove_dir_all(&new) {
        // Somebody died here before.
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(system(&new)(error)),
        _ => {}
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&new).map_err(system(&new))?;
    let json = serde_json::to_string_pretty(&facts).unwrap_or_default();
    for (name, text) in [("ca.pem", certificate.pem()), ("ca.key", key.serialize_pem()), ("ca.json", json)] {
        let path = new.join(name);
        let write = || {
            let mut file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        };
        write().map_err(system(&path))?;
    }
    let sync = |path: &Path| File::open(path).and_then(|folder| folder.sync_all()).map_err(system(path));
    sync(&new)?;
    fs::rename(&new, folder).map_err(system(folder))?;
    if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        sync(parent)?;
    }
    Ok(facts)
}

/// Puts an authority aside, under a name that tells the time; returns where it is then.
///
/// # Errors
/// [`AuthorityError::System`].
pub fn put_aside(folder: &Path, now: i64) -> Result<PathBuf, AuthorityError> {
    let aside = folder.with_extension(format!("until-{}", now / 1_000_000));
    match fs::rename(folder, &aside) {
        Ok(()) => Ok(aside),
        Err(source) => Err(AuthorityError::System { path: folder.to_owned(), source }),
    }
}

/// An authority's certificate as others get it.
#[derive(Debug, Clone)]
pub struct Export {
    /// In PEM.
    pub pem: String,
    /// In DER.
    pub der: Vec<u8>,
    /// What is said of it.
    pub facts: Facts,
}

impl Export {
    /// Reads it.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn read(folder: &Path) -> Result<Self, AuthorityError> {
        if !folder.exists() {
            return Err(AuthorityError::Missing { path: folder.to_owned() });
        }
        let path = folder.join("ca.pem");
        let pem = text(&path)?;
        let der = CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|error| AuthorityError::Damaged { path, why: error.to_string() })?;
        Ok(Self { pem, der: der.to_vec(), facts: facts(folder)? })
    }

    /// SHA-256 of the certificate, by which people compare it.
    pub fn sha256(&self) -> String {
        hex(digest::digest(&digest::SHA256, &self.der).as_ref(), ":")
    }

    /// SHA-1 of the certificate, which Windows calls its thumbprint.
    pub fn sha1(&self) -> String {
        hex(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &self.der).as_ref(), "")
    }
}

/// An authority that signs.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    until: i64,
    permitted: Vec<Name>,
    excluded: Vec<Name>,
    /// The key of all servers' certificates.
    key: KeyPair,
    signing: Arc<dyn rustls::sign::SigningKey>,
    made: Cache<Box<str>, (i64, Arc<CertifiedKey>)>,
    tokens: Mutex<Tokens>,
}

/// How many certificates may be made now.
#[derive(Debug)]
struct Tokens {
    count: i64,
    at: i64,
}

/// Why there is no certificate for a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is no name that certificates are for.
    NoName,
    /// The authority may not sign for it.
    Constrained,
    /// The authority's own time is over.
    Expired,
    /// Too many were made just now.
    Busy,
    /// It could not be made.
    Failed,
}

impl Authority {
    /// Reads the authority in `folder`; `None` where there is none.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn load(folder: &Path) -> Result<Option<Self>, AuthorityError> {
        if !folder.exists() {
            return Ok(None);
        }
        let damaged = |name: &str, why: &dyn std::fmt::Display| AuthorityError::Damaged {
            path: folder.join(name),
            why: why.to_string(),
        };
        let Export { der, facts, .. } = Export::read(folder)?;
        let signer =
            KeyPair::from_pem(&text(&folder.join("ca.key"))?).map_err(|error| damaged("ca.key", &error))?;
        let names = |texts: &[String]| {
            let names = texts.iter().map(|text| Name::from_host(text));
            names.collect::<Result<Vec<_>, _>>().map_err(|error| damaged("ca.json", &error))
        };
        let (permitted, excluded) = (names(&facts.permitted)?, names(&facts.excluded)?);
        let certificate = CertificateDer::from(der);
        // A key of another certificate would sign what nobody believes.
        let own =
            PrivateKeyDer::try_from(signer.serialize_der()).map_err(|error| damaged("ca.key", &error))?;
        let own = sign::any_ecdsa_type(&own).map_err(|error| damaged("ca.key", &error))?;
        if CertifiedKey::new(vec![certificate.clone()], own).keys_match().is_err() {
            return Err(damaged("ca.key", &"not the key of the certificate in ca.pem"));
        }
        let key = KeyPair::generate()?;
        let signing = PrivateKeyDer::try_from(key.serialize_der()).map_err(|error| damaged("", &error))?;
        let signing = sign::any_ecdsa_type(&signing).map_err(|error| damaged("", &error))?;
        Ok(Some(Self {
            issuer: Issuer::new(root(&facts), signer),
            certificate,
            until: facts.until,
            permitted,
            excluded,
            key,
            signing,
            made: Cache::new(MOST),
            tokens: Mutex::new(Tokens { count: BURST, at: i64::MIN }),
        }))
    }

    /// The certificate for a name, which the caller found listed.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn certificate(&self, name: &Name, now: i64) -> Result<Arc<CertifiedKey>, Refusal> {
        let text = name.to_string();
        // Certificates for bare labels or what looks like an address are none that a client would take.
        if !text.contains('.') || text.parse::<IpAddr>().is_ok() {
            return Err(Refusal::NoName);
        }
        let is_in = |names: &[Name]| names.iter().any(|one| name::is_within(name.as_wire(), one.as_wire()));
        if is_in(&self.excluded) || !(self.permitted.is_empty() || is_in(&self.permitted)) {
            return Err(Refusal::Constrained);
        }
        if now >= self.until {
            return Err(Refusal::Expired);
        }
        if let Some((made, certified)) = self.made.get(&*text)
            && (0..FRESH).contains(&now.saturating_sub(made))
        {
            return Ok(certified);
        }
        if !self.tokens.lock().unwrap_or_else(PoisonError::into_inner).take(now) {
            return Err(Refusal::Busy);
        }
        let certified = Arc::new(self.make(&text, now).map_err(|error| {
            tracing::debug!(name = text, %error, "no certificate");
            Refusal::Failed
        })?);
        self.made.insert(text.into(), (now, Arc::clone(&certified)));
        Ok(certified)
    }

    fn make(&self, name: &str, now: i64) -> Result<CertifiedKey, rcgen::Error> {
        let mut params = CertificateParams::new([name.to_owned()])?;
        params.not_before = rcgen::date_time_ymd(1970, 1, 1) + seconds(now.saturating_sub(BACK));
        params.not_after =
            rcgen::date_time_ymd(1970, 1, 1) + seconds(now.saturating_add(VALID).min(self.until));
        params.distinguished_name = DistinguishedName::new();
        // A longer one would be none; names are in the alternative names anyway.
        if name.len() <= LONGEST_NAME {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial());
        let certificate = params.signed_by(&self.key, &self.issuer)?;
        let chain = vec![certificate.der().clone(), self.certificate.clone()];
        Ok(CertifiedKey::new(chain, Arc::clone(&self.signing)))
    }
}

impl std::fmt::Debug for Authority {
    /// Without its key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("until", &self.until).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Authority {
    /// What was made for the name that the client asks for: whoever lets the handshake begin has it made before.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = Name::from_host(hello.server_name()?).ok()?.to_string();
        self.made.get(&*name).map(|(_, certified)| certified)
    }
}

impl Tokens {
    fn take(&mut self, now: i64) -> bool {
        const SECOND: i64 = 1_000_000;
        let elapsed = now.saturating_sub(self.at);
        // At a clock that was set back it begins anew.
        if !(0..BURST / RATE * SECOND).contains(&elapsed) {
            (self.count, self.at) = (BURST, now);
        } else {
            let gained = elapsed * RATE / SECOND;
            self.count = (self.count + gained).min(BURST);
            self.at += gained * SECOND / RATE;
        }
        let has_one = self.count > 0;
        self.count -= i64::from(has_one);
        has_one
    }
}

/// The authority's own certificate, unsigned.
fn root(facts: &Facts) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + seconds(facts.from);
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + seconds(facts.until);
    params.serial_number = Some(serial());
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, &*facts.name);
    // No authority below this one.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let subtrees = |names: &[String]| names.iter().cloned().map(GeneralSubtree::DnsName).collect::<Vec<_>>();
    if !(facts.permitted.is_empty() && facts.excluded.is_empty()) {
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: subtrees(&facts.permitted),
            excluded_subtrees: subtrees(&facts.excluded),
        });
    }
    params
}

/// A random number of 63 bits, above zero (RFC 5280, section 4.1.2.2).
fn serial() -> SerialNumber {
    SerialNumber::from(rand::random::<u64>() >> 1 | 1)
}

/// Whole seconds since 1970, of microseconds.
fn seconds(microseconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(microseconds / 1_000_000).unwrap_or(0))
}

fn facts(folder: &Path) -> Result<Facts, AuthorityError> {
    let path = folder.join("ca.json");
    serde_json::from_str(&text(&path)?)
        .map_err(|error| AuthorityError::Damaged { path, why: error.to_string() })
}

fn text(path: &Path) -> Result<String, AuthorityError> {
    fs::read_to_string(path).map_err(|source| AuthorityError::System { path: path.to_owned(), source })
}

fn hex(octets: &[u8], between: &str) -> String {
    octets.iter().enumerate().fold(String::new(), |mut text, (at, octet)| {
        let between = if at == 0 { "" } else { between };
        let _ = write!(text, "{between}{octet:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
