//! Fetching: what publishers put on the network, as versions for the store of feeds.
//!
//! Knows protocols and no formats: nothing here reads an indicator, and nothing here decides whether a version is
//! taken. Everything runs in a thread of its own, beside the serving of queries ([`schedule`]).
//!
//! ```text
//! schedule ─► run ─► http ─┬─ taxii ─┐
//!  (when)   (one feed)     └─ misp ──┴─ array     (one file of what comes in parts)
//!               │                        │
//!               ├────► transfer ──────► draft ─► feed::store
//!               └────► memory                    (what is known for the next time, kept beside the version)
//! ```

pub mod array;
pub mod bundle;
pub mod draft;
pub mod http;
pub mod memory;
pub mod misp;
pub mod run;
pub mod schedule;
pub mod shown;
pub mod taxii;
pub mod transfer;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use url::Url;

use shown::Shown;
use transfer::Primary;

/// How often a publisher is asked where neither the configuration nor the publisher says so.
pub const REFRESH: Duration = Duration::from_secs(3600);

/// A feed that is fetched.
#[derive(Debug, Clone)]
pub struct Remote {
    /// Its name.
    pub name: Arc<str>,
    /// Who is asked for it.
    pub publisher: Publisher,
    /// How often; `None`: as the zone's SOA record says, or every hour.
    pub refresh: Option<Duration>,
}

/// Who publishes a feed, and how.
#[derive(Debug, Clone)]
pub enum Publisher {
    /// A file by HTTP.
    Http(Url, http::Options),
    /// A collection of a TAXII 2.1 server.
    Taxii(Url, http::Options),
    /// The folder of a MISP feed.
    Misp(Url, http::Options),
    /// A zone by transfer.
    Zone(Primary),
}

impl Publisher {
    /// What tells it from others, its secrets included, which cannot be read out of it.
    pub fn identity(&self) -> String {
        let url = match self {
            Self::Http(url, _) | Self::Taxii(url, _) | Self::Misp(url, _) => url,
            Self::Zone(_) => return self.to_string(),
        };
        if Shown(url).to_string() == url.as_str() {
            return self.to_string();
        }
        let digest = Sha256::digest(url.as_str());
        let digits: String = digest[..8].iter().map(|octet| format!("{octet:02x}")).collect();
        format!("{self} {digits}")
    }

    /// The proxy on the way to it.
    pub fn proxy(&self) -> Option<&http::Proxy> {
        match self {
            Self::Http(_, options) | Self::Taxii(_, options) | Self::Misp(_, options) => {
                options.proxy.as_ref()
            }
            Self::Zone(_) => None,
        }
    }
}

/// As it is configured, but for secrets.
impl fmt::Display for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url, _) => Shown(url).fmt(f),
            Self::Taxii(url, _) => write!(f, "taxii2+{}", Shown(url)),
            Self::Misp(url, _) => write!(f, "misp+{}", Shown(url)),
            Self::Zone(primary) => write!(f, "rpz://{}/{}", primary.address, primary.zone),
        }
    }
}
