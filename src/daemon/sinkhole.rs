//! The sinkhole's side of the daemon: its sockets and its own thread, contacts, the authority.
//!
//! Its listeners run on a runtime of their own, one thread at a low priority: however many bots come there, DNS is answered first.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UdpSocket};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::DaemonError;
use crate::client::admission::Admission;
use crate::config::Config;
use crate::listener;
use crate::name::Name;
use crate::serve::pipeline::{self, Pipeline};
use crate::sinkhole::authority::{self, Authority};
use crate::sinkhole::reception::Reception;
use crate::sinkhole::tls::Gate;
use crate::sinkhole::visits::Visits;
use crate::sinkhole::{http, ports, tls};

/// Beside busy workers, the sinkhole waits.
const NICE: i32 = 10;
/// How often is looked for an authority, or another one.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The sinkhole's sockets, bound, and what they run on.
pub(super) struct Sockets {
    http: Vec<TcpListener>,
    https: Vec<TcpListener>,
    tcp: Vec<TcpListener>,
    udp: Vec<UdpSocket>,
}

/// Where the sinkhole listens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listening {
    /// The landing page.
    pub http: Vec<SocketAddr>,
    /// The landing page over TLS.
    pub https: Vec<SocketAddr>,
    /// Plain TCP ports.
    pub tcp: Vec<SocketAddr>,
    /// UDP ports.
    pub udp: Vec<SocketAddr>,
}

/// What the sinkhole runs on.
pub(super) fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("sinkhole")
        .on_thread_start(|| {
            // Of this thread only, as Linux has it.
            let _ = rustix::process::setpriority_process(None, NICE);
        })
        .enable_all()
        .build()
}

impl Sockets {
    /// Binds them all; `failed` says of which setting an address is.
    pub(super) fn bind<F: FnOnce(io::Error) -> DaemonError>(
        config: &Config,
        runtime: &Runtime,
        failed: impl Fn(&'static str, SocketAddr) -> F,
    ) -> Result<Self, DaemonError> {
        // tokio's sockets belong to the runtime that they are born in.
        let _entered = runtime.enter();
        let listeners = |setting, addresses: &[SocketAddr]| {
            let bind = |&address| listener::bind(address).map_err(failed(setting, address));
            addresses.iter().map(bind).collect::<Result<Vec<_>, _>>()
        };
        let options = &config.watch.ports;
        let bind = |&address| bind_udp(address).map_err(failed("sinkhole.udp_listen", address));
        Ok(Self {
            http: listeners("sinkhole.http_listen", &config.http.listen)?,
            https: listeners("sinkhole.https_listen", &options.https)?,
            tcp: listeners("sinkhole.tcp_listen", &options.tcp)?,
            udp: options.udp.iter().map(bind).collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn listening(&self) -> Listening {
        Listening {
            http: super::addresses(&self.http),
            https: super::addresses(&self.https),
            tcp: super::addresses(&self.tcp),
            udp: self.udp.iter().filter_map(|one| one.local_addr().ok()).collect(),
        }
    }

    /// Serves on all of them until `stop` says so. `http` and `options` have the numbers of connections that the limit of
    /// open files allows.
    pub(super) fn serve(
        self,
        parts: &mut JoinSet<()>,
        runtime: &Runtime,
        (reception, visits): (Arc<Reception>, Visits),
        (http, options): (http::Options, ports::Options),
        keeper: AuthorityKeeper,
        stop: &watch::Receiver<bool>,
    ) {
        let until_stop = || {
            let mut stop = stop.clone();
            async move {
                let _ = stop.wait_for(|stop| *stop).await;
            }
        };
        let handle = runtime.handle();
        let shared = Arc::new(http.clone());
        parts.spawn_on(
            http::serve(self.http, Arc::clone(&reception), http, visits.clone(), until_stop()),
            handle,
        );
        let converse =
            move |inside, client| http::converse(inside, client, Arc::clone(&reception), Arc::clone(&shared));
        let admission = Admission::new(options.connections, options.per_client);
        parts.spawn_on(
            tls::serve(
                self.https,
                admission.clone(),
                options.patience,
                visits.clone(),
                Arc::clone(&keeper.gate),
                converse,
                until_stop(),
            ),
            handle,
        );
        parts.spawn_on(
            ports::serve_tcp(self.tcp, admission, options.patience, visits.clone(), until_stop()),
            handle,
        );
        parts.spawn_on(ports::serve_udp(self.udp, visits, until_stop()), handle);
        parts.spawn_on(keeper.run(until_stop()), handle);
    }
}

fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::DGRAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// Puts the authority in force that is in the data folder, and again when there is another one.
pub(super) struct AuthorityKeeper {
    folder: PathBuf,
    gate: Arc<Gate>,
    /// The files of the authority that was looked at last.
    seen: Option<Vec<(u64, i64, i64)>>,
}

impl AuthorityKeeper {
    /// Looks at once. The authority signs for names that the policy sinkholes.
    pub(super) fn new(config: &Config, pipeline: &Arc<Pipeline>) -> Self {
        let pipeline = Arc::clone(pipeline);
        let is_listed =
            move |name: &Name, client| pipeline::listing(&pipeline.state(), name, client).is_some();
        let gate = Arc::new(Gate::new(Box::new(is_listed)));
        let mut keeper = Self { folder: authority::folder(&config.data_dir), gate, seen: None };
        keeper.look();
        keeper
    }

    async fn run(mut self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                () = tokio::time::sleep(LOOK_EVERY) => self.look(),
            }
        }
    }

    /// A few small files: that takes no longer than a page does.
    fn look(&mut self) {
        let facts = |name: &str| {
            let facts = fs::metadata(self.folder.join(name)).ok()?;
            Some((facts.ino(), facts.mtime(), facts.mtime_nsec()))
        };
        let now = ["ca.pem", "ca.key", "ca.json"].into_iter().map(facts).collect();
        if now == self.seen {
            return;
        }
        self.seen = now;
        let loaded = Authority::load(&self.folder).map_err(|error| error.to_string());
        let is_there = matches!(loaded, Ok(Some(_)));
        match loaded.and_then(|it| self.gate.put_in_force(it).map_err(|error| error.to_string())) {
            Ok(()) if is_there => {
                tracing::info!("the sinkhole shows its page over TLS to machines that trust its authority");
            }
            Ok(()) => tracing::info!("the sinkhole has no authority any more: TLS is refused"),
            Err(error) => {
                tracing::error!(%error, "the sinkhole's authority is no use; what was in force stays");
            }
        }
    }
}
