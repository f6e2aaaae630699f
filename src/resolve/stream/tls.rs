//! Who an upstream must show to be: the name in its certificate, whom that is from, and which keys it may have.
//!
//! A certificate counts only from the given roots and for the given name; pins come on top of that and replace
//! nothing (RFC 7858, section 4.2; RFC 8310). Reads no file.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest as _, Sha256};

/// Certificates from which those of upstreams must come.
#[derive(Clone, PartialEq, Eq)]
pub struct Roots(Arc<[CertificateDer<'static>]>);

/// Why there are none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootsError {
    /// The text is not PEM.
    #[error("no certificates in PEM form: {0}")]
    Pem(String),
    /// Nothing usable in it.
    #[error("there is no certificate in it")]
    None,
}

impl Roots {
    /// Reads all certificates of a text in PEM form.
    ///
    /// # Errors
    /// It is no such text, or there is none.
    pub fn from_pem(pem: &[u8]) -> Result<Self, RootsError> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(|error| RootsError::Pem(error.to_string()))?;
        Self::new(certificates)
    }

    /// Those that this machine trusts.
    ///
    /// # Errors
    /// It trusts none.
    pub fn of_system() -> Result<Self, RootsError> {
        // What cannot be read of many does no harm.
        Self::new(rustls_native_certs::load_native_certs().certs)
    }

    fn new(certificates: Vec<CertificateDer<'static>>) -> Result<Self, RootsError> {
        if certificates.is_empty() { Err(RootsError::None) } else { Ok(Self(certificates.into())) }
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} certificates", self.0.len())
    }
}

/// The SHA-256 of a key that an upstream may have: of its certificate's SubjectPublicKeyInfo, as in RFC 7858,
/// appendix A.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin([u8; 32]);

/// A text is no pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not sha256/ and 32 octets in Base64, 44 characters")]
pub struct PinError;

impl FromStr for Pin {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Self, PinError> {
        let digest = text.strip_prefix("sha256/").and_then(|text| BASE64_STANDARD.decode(text).ok());
        let digest = digest.and_then(|digest| digest.try_into().ok());
        digest.map(Self).ok_or(PinError)
    }
}

/// Who an upstream must show to be, ready to be asked for.
#[derive(Clone)]
pub struct Identity {
    name: ServerName<'static>,
    roots: Roots,
    pins: Arc<[Pin]>,
    config: Arc<ClientConfig>,
}

/// No upstream can show to be this one.
#[derive(Debug, thiserror::Error)]
#[error("the certificates of authorities are not usable: {0}")]
pub struct IdentityError(String);

impl Identity {
    /// The one with this name in a certificate from these roots, and, where pins are given, with one of their keys.
    ///
    /// # Errors
    /// No certificate of the roots is usable.
    pub fn new(
        name: ServerName<'static>,
        roots: Roots,
        pins: Vec<Pin>,
        alpn: &[&[u8]],
    ) -> Result<Self, IdentityError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(roots.0.iter().cloned());
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(&provider))
            .build()
            .map_err(|error| IdentityError(error.to_string()))?;
        let pins: Arc<[Pin]> = pins.into();
        let verifier = Arc::new(Verifier { inner, pins: Arc::clone(&pins) });
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| IdentityError(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        let config = with_alpn(config, alpn);
        Ok(Self { name, roots, pins, config: Arc::new(config) })
    }

    /// One that no certificate shows.
    #[cfg(test)]
    pub(in crate::resolve) fn untrusting(name: ServerName<'static>) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        Self { name, roots: Roots(Arc::default()), pins: Arc::default(), config: Arc::new(config) }
    }

    /// The name, or the address where that is what the certificate says.
    pub fn name(&self) -> Cow<'_, str> {
        self.name.to_str()
    }

    /// As rustls takes it.
    pub(super) fn server_name(&self) -> &ServerName<'static> {
        &self.name
    }

    /// For connections to it. Those of one identity share their sessions, so that a second handshake is short.
    pub(super) fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }
}

fn with_alpn(mut config: ClientConfig, alpn: &[&[u8]]) -> ClientConfig {
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.roots, &self.pins) == (&other.name, &other.roots, &other.pins)
    }
}

impl Eq for Identity {}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {:?} and {} pins", self.name(), self.roots, self.pins.len())
    }
}

/// What rustls checks by itself, and the pins.
#[derive(Debug)]
struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    pins: Arc<[Pin]>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified =
            self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        if !self.pins.is_empty() {
            let key = ParsedCertificate::try_from(end_entity)?.subject_public_key_info();
            let pin = Pin(Sha256::digest(&*key).into());
            if !self.pins.contains(&pin) {
                return Err(CertificateError::ApplicationVerificationFailure.into());
            }
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_read() {
        fn check(text: &str, expected: Option<[u8; 32]>) {
            assert_eq!(text.parse::<Pin>().ok().map(|pin| pin.0), expected, "{text}");
        }
        check("sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", Some([0; 32]));
        check(&format!("sha256/{}8=", "/".repeat(42)), Some([0xff; 32]));
        // SHA-256 of nothing.
        check(
            "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
            Some(<[u8; 32]>::from(Sha256::digest(b""))),
        );
        check("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", None);
        check("sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU", None);
        check("sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuF==", None);
        check("sha256/47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=", None);
        check("sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=", None);
    }
}
