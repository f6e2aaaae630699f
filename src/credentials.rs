//! The certificate and its key: read from PEM files, and again when these change.
//!
//! What is in force is replaced whole; files that are no use change nothing. Who asks for it, over which
//! transport, is not known here.

mod validity;

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::name::Name;
use validity::Validity;

/// Most octets of a file; a chain with its key has a few thousand.
const MAX_FILE: u64 = 1 << 20;

/// Where the credentials are, and what for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The file of the certificate, and behind it of those that lead to the root.
    pub certificate: PathBuf,
    /// The file of its private key.
    pub key: PathBuf,
    /// The name that clients are told of, which the certificate should have.
    pub name: Option<Name>,
}

/// Why a file is no use.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {why}")]
pub struct CredentialsError {
    /// Which one.
    pub path: PathBuf,
    /// What is wrong with it, and the mend.
    pub why: Why,
}

/// What is wrong with a file of credentials.
#[derive(Debug, thiserror::Error)]
pub enum Why {
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(#[from] io::Error),
    /// It is something else.
    #[error("more than {MAX_FILE} octets: not a certificate or a key")]
    Long,
    /// It is not PEM.
    #[error("not PEM: {0}")]
    Pem(rustls::pki_types::pem::Error),
    /// There is no certificate in it.
    #[error("no certificate in it; the file must be PEM and begin with -----BEGIN CERTIFICATE-----")]
    NoCertificate,
    /// There is no key in it.
    #[error("no private key in it; the file must be PEM and have a line such as -----BEGIN PRIVATE KEY-----")]
    NoKey,
    /// The certificate is not understood.
    #[error("not a certificate that can be used: {0}")]
    Certificate(rustls::Error),
    /// The key is not understood.
    #[error("not a key that can be used ({0}); RSA, ECDSA (P-256, P-384) and Ed25519 can")]
    Key(rustls::Error),
    /// The key belongs to another certificate.
    #[error(
        "not the key of the certificate in {certificate}; the first certificate there must be the server's own"
    )]
    Mismatch {
        /// The file of the certificate.
        certificate: PathBuf,
    },
}

/// What does not keep a certificate from being used, but clients may mind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Concern {
    /// It is past its time.
    Expired(Timestamp),
    /// Its time has not come.
    Early(Timestamp),
    /// It is not for the name that the server is said to have.
    Name(String),
}

impl fmt::Display for Concern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired(time) => {
                write!(f, "the certificate expired at {time}; renew it, or clients refuse it")
            }
            Self::Early(time) => write!(f, "the certificate is not valid before {time}; check the clock"),
            Self::Name(name) => {
                write!(
                    f,
                    "the certificate is not for server.tls_name, {name}: clients that are led there refuse it"
                )
            }
        }
    }
}

/// Credentials that were read and fit together.
pub struct Loaded {
    key: Arc<CertifiedKey>,
    validity: Option<Validity>,
}

impl Loaded {
    /// Reads the files.
    ///
    /// # Errors
    /// [`CredentialsError`]
    pub fn read(options: &Options) -> Result<Self, CredentialsError> {
        let fault = |path: &Path, why| CredentialsError { path: path.to_owned(), why };
        let Options { certificate, key, .. } = options;
        let chain = text(certificate).and_then(|text| chain(&text)).map_err(|why| fault(certificate, why))?;
        let private = text(key).and_then(|text| private_key(&text)).map_err(|why| fault(key, why))?;
        let validity = chain.first().and_then(|first| validity::of(first));
        if let Some(first) = chain.first() {
            ParsedCertificate::try_from(first).map_err(|why| fault(certificate, Why::Certificate(why)))?;
        }
        let signing = ring::sign::any_supported_type(&private).map_err(|why| fault(key, Why::Key(why)))?;
        let certified = CertifiedKey::new(chain, signing);
        match certified.keys_match() {
            // Where it cannot be told, they may.
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(_) => return Err(fault(key, Why::Mismatch { certificate: certificate.clone() })),
        }
        Ok(Self { key: Arc::new(certified), validity })
    }

    /// What clients may mind at this time.
    pub fn concerns(&self, options: &Options, now: Timestamp) -> Vec<Concern> {
        let mut concerns = Vec::new();
        if let Some(validity) = self.validity {
            if now < validity.from {
                concerns.push(Concern::Early(validity.from));
            } else if now > validity.until {
                concerns.push(Concern::Expired(validity.until));
            }
        }
        if let Some(name) =
            options.name.as_ref().map(|name| name.to_string().trim_end_matches('.').to_owned())
            && !self.is_for(&name)
        {
            concerns.push(Concern::Name(name));
        }
        concerns
    }

    fn is_for(&self, name: &str) -> bool {
        let Ok(server) = ServerName::try_from(name) else { return false };
        let certificate = self.key.cert.first().and_then(|first| ParsedCertificate::try_from(first).ok());
        certificate.is_some_and(|it| rustls::client::verify_server_name(&it, &server).is_ok())
    }
}

fn text(path: &Path) -> Result<Vec<u8>, Why> {
    let mut text = Vec::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_FILE { Err(Why::Long) } else { Ok(text) }
}

fn chain(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, Why> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>().map_err(Why::Pem)?;
    if chain.is_empty() { Err(Why::NoCertificate) } else { Ok(chain) }
}

fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, Why> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => Why::NoKey,
        error => Why::Pem(error),
    })
}

/// Which files these are, as they are now: differs when one was replaced or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fingerprint(Options, [Option<[i64; 5]>; 2]);

impl Fingerprint {
    fn of(options: &Options) -> Self {
        let facts = |path: &Path| {
            let it = fs::metadata(path).ok()?;
            Some([
                it.size() as i64,
                it.ino() as i64,
                it.mtime(),
                it.mtime_nsec(),
                it.ctime_nsec() ^ it.ctime(),
            ])
        };
        Self(options.clone(), [facts(&options.certificate), facts(&options.key)])
    }
}

/// The credentials in force, for all encrypted transports.
pub struct Credentials {
    current: ArcSwap<CertifiedKey>,
    /// What was read last, whether it was of use or not.
    seen: Mutex<Fingerprint>,
}

/// What looking at the files again led to.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// The files are as they were.
    None,
    /// New credentials are in force, about which clients may mind this.
    Taken(Vec<Concern>),
}

impl Credentials {
    /// Reads the files; tells what clients may mind, too.
    ///
    /// # Errors
    /// [`CredentialsError`]
    pub fn open(options: &Options, now: Timestamp) -> Result<(Self, Vec<Concern>), CredentialsError> {
        let seen = Mutex::new(Fingerprint::of(options));
        let loaded = Loaded::read(options)?;
        let concerns = loaded.concerns(options, now);
        Ok((Self { current: ArcSwap::new(loaded.key), seen }, concerns))
    }

    /// Reads the files again if they are others or have changed since they were read.
    ///
    /// # Errors
    /// [`CredentialsError`], once for each change: what was in force stays.
    pub fn renew(&self, options: &Options, now: Timestamp) -> Result<Change, CredentialsError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Before reading: what changes meanwhile is read the next time.
        let found = Fingerprint::of(options);
        if *seen == found {
            return Ok(Change::None);
        }
        *seen = found;
        let loaded = Loaded::read(options)?;
        let concerns = loaded.concerns(options, now);
        self.current.store(loaded.key);
        Ok(Change::Taken(concerns))
    }

    /// As [`Self::renew`], with the options that were given last.
    ///
    /// # Errors
    /// As [`Self::renew`].
    pub fn look_again(&self, now: Timestamp) -> Result<Change, CredentialsError> {
        let options = self.seen.lock().unwrap_or_else(PoisonError::into_inner).0.clone();
        self.renew(&options, now)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Credentials {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

#[cfg(test)]
mod tests;
