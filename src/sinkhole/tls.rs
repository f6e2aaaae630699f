//! The sinkhole's TLS listener: the landing page for machines that trust the sinkhole's authority, and for all others a
//! refusal at once, after the name and the fingerprint of the ClientHello were recorded.
//!
//! Without an authority, for a name that is not listed (any more) and for whoever speaks no TLS the connection ends with an
//! alert: a browser shows its error page then, instead of waiting. What is spoken inside is the caller's.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use rustls::ServerConfig;
use rustls::crypto::ring;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::authority::{Authority, Refusal};
pub use super::capture::Rewound;
use super::capture::{self, Spoken};
use super::ports;
use super::visits::{Visitor, Visits};
use crate::client::admission::{Admission, Ticket};
use crate::clock;
use crate::listener;
use crate::name::Name;

/// A fatal alert, access_denied (RFC 8446, section 6.2): no certificate will come, and trying again is no use.
const ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];
/// Of what is spoken inside.
const PROTOCOL: &[u8] = b"http/1.1";

/// A connection whose handshake is done, and of which the first request was looked at.
pub type Inside = Rewound<TlsStream<Rewound<TcpStream>>>;

/// Whether the policy sinkholes a name for a client.
pub type IsListed = dyn Fn(&Name, IpAddr) -> bool + Send + Sync;

/// Whether there is an authority, and which names it signs for.
pub struct Gate {
    /// The authority in force, and the settings that use it.
    authority: ArcSwapOption<(Arc<Authority>, TlsAcceptor)>,
    is_listed: Box<IsListed>,
}

impl Gate {
    /// No authority yet. `is_listed` is asked for each connection; it must not block.
    pub fn new(is_listed: Box<IsListed>) -> Self {
        Self { authority: ArcSwapOption::empty(), is_listed }
    }

    /// Puts an authority in force, or none.
    ///
    /// # Errors
    /// What rustls said; then all is as before.
    pub fn put_in_force(&self, authority: Option<Authority>) -> Result<(), rustls::Error> {
        let Some(authority) = authority.map(Arc::new) else {
            self.authority.store(None);
            return Ok(());
        };
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&authority) as _);
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        // A name may be taken off the list: nobody comes back on an old key.
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        self.authority.store(Some(Arc::new((authority, Arc::new(config).into()))));
        Ok(())
    }

    /// The settings for a connection to this name; `None` where it is refused.
    fn open(&self, server_name: Option<&str>, client: IpAddr) -> Option<TlsAcceptor> {
        let in_force = self.authority.load();
        let (authority, acceptor) = &**in_force.as_ref()?;
        let name = Name::from_host(server_name?).ok()?;
        if !(self.is_listed)(&name, client) {
            return None;
        }
        match authority.certificate(&name, clock::now()) {
            Ok(_) => Some(acceptor.clone()),
            Err(refusal) => {
                if refusal == Refusal::Busy {
                    tracing::debug!(%client, %name, "too many certificates are asked for at once");
                }
                None
            }
        }
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("is_open", &self.authority.load().is_some()).finish_non_exhaustive()
    }
}

/// Serves TLS on `listeners` until `shutdown` completes; `converse` is given what is inside.
///
/// `patience` is how long a ClientHello, the handshake and the first request may each take.
pub async fn serve<F>(
    listeners: Vec<TcpListener>,
    admission: Admission,
    patience: Duration,
    visits: Visits,
    gate: Arc<Gate>,
    converse: impl Fn(Inside, IpAddr) -> F + Clone + Send + 'static,
    shutdown: impl Future<Output = ()>,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let turned_away = |stream: &TcpStream, peer| ports::turn_away(stream, peer, &visits);
    listener::attend_all(
        "sinkhole (TLS)",
        listeners,
        &admission,
        shutdown,
        turned_away,
        |stream, peer, ticket| {
            connection(stream, peer, ticket, patience, visits.clone(), Arc::clone(&gate), converse.clone())
        },
    )
    .await;
}

async fn connection<F: Future<Output = ()>>(
    mut stream: TcpStream,
    peer: SocketAddr,
    _ticket: Ticket,
    patience: Duration,
    visits: Visits,
    gate: Arc<Gate>,
    converse: impl Fn(Inside, IpAddr) -> F,
) {
    let Some(visitor) = Visitor::of(&stream, peer) else { return };
    let beginning = capture::read(&mut stream, patience).await;
    let server_name = match &beginning.spoken {
        Spoken::Tls(hello) => hello.server_name.as_deref(),
        _ => None,
    };
    let Some(acceptor) = gate.open(server_name, visitor.client) else {
        visits.note(visitor, &beginning);
        if matches!(beginning.spoken, Spoken::Tls(_)) {
            // Into an empty send buffer: this does not wait.
            let _ = stream.write_all(&ALERT).await;
        }
        return;
    };
    let handshake = acceptor.accept(Rewound::new(beginning.octets.clone(), stream));
    let Ok(Ok(mut inside)) = timeout(patience, handshake).await else {
        // It does not trust the authority, most likely.
        visits.note(visitor, &beginning);
        return;
    };
    let request = capture::read(&mut inside, patience).await;
    visits.note_inside(visitor, &beginning, &request);
    converse(Rewound::new(request.octets, inside), visitor.client).await;
}
