//! The encrypted transports: their sockets, their credentials, and what clients are told of them.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{DaemonError, Listening, addresses};
use crate::config::{Config, Transports};
use crate::credentials::{Change, Concern, Credentials, Options};
use crate::listener;
use crate::serve::ddr::{Designation, Kind};
use crate::serve::stream::Door;
use crate::serve::{doh, quic, tls};

/// How often the files of the credentials are looked at.
const LOOK: Duration = Duration::from_secs(60);

pub(super) struct Sockets {
    tls: Vec<TcpListener>,
    https: Vec<TcpListener>,
    quic: Vec<UdpSocket>,
}

impl Sockets {
    /// `failed` makes an error of what the system said about a setting's address.
    pub(super) fn bind<E: FnOnce(io::Error) -> DaemonError>(
        transports: &Transports,
        failed: impl Fn(&'static str, SocketAddr) -> E,
    ) -> Result<Self, DaemonError> {
        fn all<S, E: FnOnce(io::Error) -> DaemonError>(
            addresses: &[SocketAddr],
            bind: fn(SocketAddr) -> io::Result<S>,
            failed: impl Fn(SocketAddr) -> E,
        ) -> Result<Vec<S>, DaemonError> {
            addresses.iter().map(|&address| bind(address).map_err(failed(address))).collect()
        }
        Ok(Self {
            tls: all(&transports.tls, listener::bind, |address| failed("server.tls_listen", address))?,
            https: all(&transports.https, listener::bind, |address| failed("server.https_listen", address))?,
            quic: all(&transports.quic, quic::bind, |address| failed("server.quic_listen", address))?,
        })
    }

    /// Of DNS over TLS, over HTTPS and over QUIC.
    pub(super) fn addresses(&self) -> [Vec<SocketAddr>; 3] {
        let quic = self.quic.iter().filter_map(|socket| socket.local_addr().ok()).collect();
        [addresses(&self.tls), addresses(&self.https), quic]
    }

    /// Has `parts` serve all of them.
    pub(super) fn serve(
        self,
        parts: &mut JoinSet<()>,
        credentials: &Arc<Credentials>,
        path: &str,
        door: &Door,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), DaemonError> {
        parts.spawn(tls::run(self.tls, credentials, door.clone(), stop.clone()).map_err(io::Error::other)?);
        let doh = doh::run(self.https, credentials, path.to_owned(), door.clone(), stop.clone());
        parts.spawn(doh.map_err(io::Error::other)?);
        // Unlike listeners without a socket, which wait, an endpoint without one would have ended.
        if !self.quic.is_empty() {
            parts.spawn(quic::run(self.quic, credentials, door, stop).map_err(io::Error::other)?);
        }
        Ok(())
    }
}

/// Reads the credentials, where there are any to read.
pub(super) fn credentials(config: &Config) -> Result<Option<Arc<Credentials>>, DaemonError> {
    let transports = &config.server.transports;
    let Some(options) = transports.credentials.as_ref().filter(|_| transports.is_encrypted()) else {
        return Ok(None);
    };
    let opened = Credentials::open(options, Timestamp::now());
    let (credentials, concerns) = opened.map_err(|error| config.credentials_fault(error))?;
    warn(&concerns);
    Ok(Some(Arc::new(credentials)))
}

/// Reads the credentials anew at a reload. Says what is wrong with them, in which case nothing has changed.
pub(super) fn reload(credentials: &Credentials, options: &Options, config: &Config) -> Option<String> {
    match credentials.renew(options, Timestamp::now()) {
        Ok(change) => {
            tell(&change);
            None
        }
        Err(error) => Some(config.credentials_fault(error).to_string()),
    }
}

/// Reads the credentials anew whenever their files change, until `stop` says so.
pub(super) async fn renew(credentials: Arc<Credentials>, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let credentials = Arc::clone(&credentials);
        match tokio::task::spawn_blocking(move || credentials.look_again(Timestamp::now())).await {
            Ok(Ok(change)) => tell(&change),
            Ok(Err(error)) => tracing::error!("the certificate stays as it was: {error}"),
            Err(panic) => tracing::error!(%panic, "reading the certificate; please report it"),
        }
    }
}

fn tell(change: &Change) {
    if let Change::Taken(concerns) = change {
        tracing::info!("a new certificate is in force");
        warn(concerns);
    }
}

pub(super) fn warn(concerns: &[Concern]) {
    for concern in concerns {
        tracing::warn!("{concern}");
    }
}

/// What clients that ask for encrypted transports are told; nothing without a name.
pub(super) fn designation(transports: &Transports, listening: &Listening) -> Option<Designation> {
    let name = transports.credentials.as_ref()?.name.as_ref()?;
    let all = |kind, addresses: &[SocketAddr]| {
        addresses.iter().map(move |address| (kind, *address)).collect::<Vec<_>>()
    };
    let services = [
        all(Kind::Tls, &listening.tls),
        all(Kind::Https(&transports.https_path), &listening.https),
        all(Kind::Quic, &listening.quic),
    ];
    Designation::new(name, services.into_iter().flatten())
}
