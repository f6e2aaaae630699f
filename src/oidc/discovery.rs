//! What a provider says of itself (OpenID Connect Discovery 1.0, section 3), checked.
//!
//! Pure.

use serde::Deserialize;
use url::Url;

/// Why a discovery document cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// Not JSON, or without what must be in it.
    #[error("it is no discovery document: {0}")]
    Form(#[from] serde_json::Error),
    /// Of somebody else (section 4.3): what mixes providers up.
    #[error(
        "it is of the issuer {found:?}: write exactly that as console.oidc.issuer, if it is the right one"
    )]
    Issuer {
        /// Whose it is.
        found: String,
    },
    /// An endpoint that nobody may be sent to.
    #[error("its {name} {url:?} is no https URL")]
    Endpoint {
        /// Which.
        name: &'static str,
        /// What it says.
        url: String,
    },
}

/// How we prove who we are at the token endpoint (Core, section 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    Basic,
    Post,
}

/// A provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    pub(super) authorization: Url,
    pub(super) token: Url,
    pub(super) keys: Url,
    pub(super) userinfo: Option<Url>,
    pub(super) end_session: Option<Url>,
    /// `None`: it takes neither.
    pub(super) proof: Option<Proof>,
    /// Whether each of its answers says whose it is (RFC 9207, section 3).
    pub(super) says_issuer: bool,
}

#[derive(Deserialize)]
struct Written {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
    end_session_endpoint: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl Metadata {
    /// Everywhere that it leads.
    pub fn endpoints(&self) -> impl Iterator<Item = &Url> {
        let optional = self.userinfo.iter().chain(&self.end_session);
        [&self.authorization, &self.token, &self.keys].into_iter().chain(optional)
    }

    /// Reads the document of this issuer.
    ///
    /// # Errors
    /// [`DiscoveryError`].
    pub fn read(octets: &[u8], issuer: &str) -> Result<Self, DiscoveryError> {
        let written: Written = serde_json::from_slice(octets)?;
        if written.issuer != issuer {
            let found = written.issuer.chars().take(200).collect();
            return Err(DiscoveryError::Issuer { found });
        }
        let endpoint = |name, text: String| match text.parse::<Url>() {
            Ok(url) if is_safe(&url) => Ok(url),
            _ => Err(DiscoveryError::Endpoint { name, url: text.chars().take(200).collect() }),
        };
        let optional = |name, text: Option<String>| text.map(|text| endpoint(name, text)).transpose();
        // Section 3: left out, it is `client_secret_basic`.
        let proof = match written.token_endpoint_auth_methods_supported {
            None => Some(Proof::Basic),
            Some(methods) => {
                let takes = |name: &str| methods.iter().any(|method| method == name);
                match (takes("client_secret_basic"), takes("client_secret_post")) {
                    (true, _) => Some(Proof::Basic),
                    (false, true) => Some(Proof::Post),
                    (false, false) => None,
                }
            }
        };
        Ok(Self {
            authorization: endpoint("authorization_endpoint", written.authorization_endpoint)?,
            token: endpoint("token_endpoint", written.token_endpoint)?,
            keys: endpoint("jwks_uri", written.jwks_uri)?,
            userinfo: optional("userinfo_endpoint", written.userinfo_endpoint)?,
            end_session: optional("end_session_endpoint", written.end_session_endpoint)?,
            proof,
            says_issuer: written.authorization_response_iss_parameter_supported,
        })
    }
}

/// Whether secrets may go there: encrypted, or on this machine.
pub fn is_safe(url: &Url) -> bool {
    let is_here = match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => return false,
    };
    let is_encrypted = url.scheme() == "https" || url.scheme() == "http" && is_here;
    is_encrypted && url.username().is_empty() && url.password().is_none() && url.fragment().is_none()
}

/// Where the document of an issuer is (section 4).
pub(super) fn place(issuer: &str) -> Option<Url> {
    format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/')).parse().ok()
}
