//! Whom an outlet speaks TLS to: the name that the receiver's certificate must have, and whom it must be from.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

/// Who a receiver must show to be, and who the outlet shows to be.
#[derive(Clone)]
pub struct Identity {
    name: ServerName<'static>,
    roots: Arc<[CertificateDer<'static>]>,
    own: Option<Arc<Own>>,
    config: Arc<ClientConfig>,
}

/// What an outlet shows of itself (RFC 5425, section 4.2).
#[derive(PartialEq, Eq)]
pub struct Own {
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Own {
    /// From texts in PEM form: the certificate with those that lead to its root behind it, and its key.
    ///
    /// # Errors
    /// [`IdentityError`]; none tells anything of the key.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        Ok(Self {
            certificates: read_certificates(certificates)?,
            key: PrivateKeyDer::from_pem_slice(key).map_err(|_| IdentityError::Key)?,
        })
    }
}

fn read_certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let read = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    read.map_err(|error| IdentityError::Pem(error.to_string()))
}

/// No receiver can show to be this one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Neither a name nor an address.
    #[error("{0:?} is neither a host name nor an address")]
    Name(String),
    /// The text is not PEM.
    #[error("no certificates in PEM form: {0}")]
    Pem(String),
    /// Nobody is trusted.
    #[error("there is no usable certificate of an authority")]
    NoRoots,
    /// There is no private key.
    #[error("there is no private key in PEM form in it")]
    Key,
    /// The outlet's own certificate and key are of no use.
    #[error("it and the key are of no use together: {0}")]
    Own(String),
    /// What rustls said.
    #[error("{0}")]
    Tls(String),
}

impl Identity {
    /// The one with this name in a certificate from the authorities in `pem`, or from those that this machine
    /// trusts. Receivers that ask for it are shown `own`.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn new(name: &str, pem: Option<&[u8]>, own: Option<Own>) -> Result<Self, IdentityError> {
        let server =
            ServerName::try_from(name.to_owned()).map_err(|_| IdentityError::Name(name.to_owned()))?;
        let roots = match pem {
            Some(pem) => read_certificates(pem)?,
            // What cannot be read of many does no harm.
            None => rustls_native_certs::load_native_certs().certs,
        };
        let mut store = RootCertStore::empty();
        let (added, _) = store.add_parsable_certificates(roots.iter().cloned());
        if added == 0 {
            return Err(IdentityError::NoRoots);
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| IdentityError::Tls(error.to_string()))?
            .with_root_certificates(store);
        let config = match &own {
            None => config.with_no_client_auth(),
            Some(own) => config
                .with_client_auth_cert(own.certificates.clone(), own.key.clone_key())
                .map_err(|error| IdentityError::Own(error.to_string()))?,
        };
        Ok(Self { name: server, roots: roots.into(), own: own.map(Arc::new), config: Arc::new(config) })
    }

    /// The name, or the address where that is what the certificate says.
    pub fn name(&self) -> Cow<'_, str> {
        self.name.to_str()
    }

    /// What a connection by other means is made with.
    pub fn client(&self) -> (Arc<ClientConfig>, ServerName<'static>) {
        (Arc::clone(&self.config), self.name.clone())
    }

    /// A connection that is still to shake hands.
    pub(super) fn connection(&self) -> Result<ClientConnection, rustls::Error> {
        ClientConnection::new(Arc::clone(&self.config), self.name.clone())
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.roots, &self.own) == (&other.name, &other.roots, &other.own)
    }
}

impl Eq for Identity {}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = if self.own.is_some() { ", and one of its own" } else { "" };
        write!(f, "{} by {} certificates{own}", self.name(), self.roots.len())
    }
}
