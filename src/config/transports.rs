//! Encrypted transports and balancers in `[server]`: where they are, and what they need.

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use super::faults::Problem;
use super::file::{empty_or_name, network};
use super::reader::{Reader, Table, address, list, parsed};
use crate::credentials;

/// The encrypted transports of `[server]`, and the balancers in front of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transports {
    /// Where DNS over TLS is served.
    pub tls: Vec<SocketAddr>,
    /// Where DNS over HTTPS is served.
    pub https: Vec<SocketAddr>,
    /// … and at which path.
    pub https_path: String,
    /// Where DNS over QUIC is served.
    pub quic: Vec<SocketAddr>,
    /// The certificate and its key, and its name; there where one of the three is.
    pub credentials: Option<credentials::Options>,
    /// Networks of balancers that say who asks.
    pub proxies: Vec<IpNet>,
}

impl Transports {
    /// Whether anything is served that needs a certificate.
    pub fn is_encrypted(&self) -> bool {
        !(self.tls.is_empty() && self.https.is_empty() && self.quic.is_empty())
    }
}

/// Takes them out of the table `[server]`.
pub(super) fn read<'a>(reader: &mut Reader<'a>, table: &mut Table<'a>) -> Transports {
    let line = table.line();
    let tls = reader.take(table, "tls_listen", Vec::new(), list(address));
    let https = reader.take(table, "https_listen", Vec::new(), list(address));
    let https_path = reader.take(table, "https_path", "/dns-query".to_owned(), path);
    let quic = reader.take(table, "quic_listen", Vec::new(), list(address));
    let file = parsed("the path of a PEM file, or \"\" for none", |text| {
        Ok::<_, std::convert::Infallible>(
            Some(PathBuf::from(text)).filter(|path| !path.as_os_str().is_empty()),
        )
    });
    let certificate = reader.take(table, "tls_certificate", None, &file);
    let key = reader.take(table, "tls_key", None, &file);
    let name = reader.take(
        table,
        "tls_name",
        None,
        parsed("the name on the certificate, such as \"dns.example.vn\", or \"\" for none", empty_or_name),
    );
    let proxies = reader.take(table, "proxy_from", Vec::new(), list(network));
    let mut transports = Transports { tls, https, https_path, quic, credentials: None, proxies };
    if transports.is_encrypted() {
        let missing = [
            (&certificate, "server.tls_certificate", "tls_certificate = \"/etc/sachdns/fullchain.pem\""),
            (&key, "server.tls_key", "tls_key = \"/etc/sachdns/key.pem\""),
        ];
        for (file, setting, example) in missing {
            if file.is_none() {
                reader.fault(line, setting, Problem::Missing(example));
            }
        }
    }
    let options = |(certificate, key)| credentials::Options { certificate, key, name };
    transports.credentials = certificate.zip(key).map(options);
    transports
}

/// A path that requests name, and that stands in a URI template (RFC 6570) as it is.
fn path(value: super::reader::Value<'_>) -> Result<String, Problem> {
    parsed("the path of a URL, such as \"/dns-query\"", |text: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
        match text {
            _ if !text.starts_with('/') => Err("it does not begin with a slash"),
            _ if !text.bytes().all(is_plain) => Err("only letters, digits and / - . _ ~ may stand in it"),
            _ if text.len() > 255 => Err("it has more than 255 characters"),
            _ => Ok(text.to_owned()),
        }
    })(value)
}
