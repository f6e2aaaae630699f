//! Whom an outlet speaks TLS to: the name that the receiver's certificate must have, and whom it must be from.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

/// Who a receiver must show to be.
#[derive(Clone)]
pub struct Identity {
    name: ServerName<'static>,
    roots: Arc<[CertificateDer<'static>]>,
    config: Arc<ClientConfig>,
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
    /// What rustls said.
    #[error("{0}")]
    Tls(String),
}

impl Identity {
    /// The one with this name in a certificate from the authorities in `pem`, or from those that this machine trusts.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn new(name: &str, pem: Option<&[u8]>) -> Result<Self, IdentityError> {
        let server =
            ServerName::try_from(name.to_owned()).map_err(|_| IdentityError::Name(name.to_owned()))?;
        let roots = match pem {
            Some(pem) => CertificateDer::pem_slice_iter(pem)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|error| IdentityError::Pem(error.to_string()))?,
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
            .with_root_certificates(store)
            .with_no_client_auth();
        Ok(Self { name: server, roots: roots.into(), config: Arc::new(config) })
    }

    /// The name, or the address where that is what the certificate says.
    pub fn name(&self) -> Cow<'_, str> {
        self.name.to_str()
    }

    /// A connection that is still to shake hands.
    pub(super) fn connection(&self) -> Result<ClientConnection, rustls::Error> {
        ClientConnection::new(Arc::clone(&self.config), self.name.clone())
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.roots) == (&other.name, &other.roots)
    }
}

impl Eq for Identity {}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {} certificates", self.name(), self.roots.len())
    }
}
