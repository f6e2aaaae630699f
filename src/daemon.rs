//! The daemon: builds all parts, wires them, reloads and stops them.
//!
//! The only module that knows everyone.

mod control;
mod landing;

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::client::Agencies;
use crate::client::admission::Admission;
use crate::client::prefix::PrefixMap;
use crate::config::{Config, Faults};
use crate::evidence::journal::Journal;
use crate::evidence::keeper::Keeper;
use crate::evidence::ledger::Ledger;
use crate::image::Image;
use crate::resolve::forward::Forwarder;
use crate::serve::pipeline::{Pipeline, State, microseconds_now};
use crate::serve::{tcp, udp};
use crate::sinkhole::http;
use crate::update::{self, FeedReport, Plan, UpdateError};

pub use control::ask_to_reload;

/// How long a stop waits for queries on their way, beyond the resolver's own deadline.
const GRACE: Duration = Duration::from_secs(1);

/// Why the daemon does not start, or a reload changes nothing.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] Faults),
    /// There is no policy to serve.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// An address cannot be used.
    #[error("{place}: {address}: {source}{mend}")]
    Bind {
        /// Which setting, in which line of which file.
        place: String,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
        /// What to do.
        mend: &'static str,
    },
    /// Another process uses the same data folder.
    #[error(
        "{path}: another sachdns (process {pid}) uses this data folder; stop it, or set another data_dir"
    )]
    Taken {
        /// The folder.
        path: PathBuf,
        /// The other process's id, as far as it said.
        pid: String,
    },
    /// A file or folder of the server's own cannot be used.
    #[error("{path}: {source}; data_dir must be a folder that the server may write")]
    Folder {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system has no threads, signals or sockets left.
    #[error("starting: {0}")]
    System(#[from] io::Error),
    /// No server answers on the control socket.
    #[error("{path}: no server is running with this data_dir ({source}); start it with `sachdns serve`")]
    NotRunning {
        /// The control socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The running server refused to reload.
    #[error("{0}")]
    Refused(String),
}

fn folder_error(path: &Path) -> impl FnOnce(io::Error) -> DaemonError + '_ {
    move |source| DaemonError::Folder { path: path.to_owned(), source }
}

/// Serves until SIGINT or SIGTERM. Once every listener answers, calls `ready` with their addresses.
///
/// # Errors
/// [`DaemonError`], at start only: afterwards trouble is reported and serving goes on.
pub fn run(config: Config, ready: impl FnOnce(&Listening)) -> Result<(), DaemonError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let _lock = lock_data_dir(&config.data_dir)?;
    let sockets = Sockets::bind(&config, &runtime)?;
    let (image, reports) = update::ensure(plan(&config), &config.image_path(), microseconds_now())?;
    tell(&image, reports.as_deref());

    let ledger = Ledger::open(&config.log).map_err(folder_error(&config.log.folder))?;
    let shared = Journal::open(0, &ledger);
    let pipeline = Arc::new(Pipeline::new(state(&config, image), shared, config.limits.pending));
    let stop = Arc::new(AtomicBool::new(false));
    let (stop_sender, stop_receiver) = watch::channel(false);

    let listening = sockets.listening();
    let mut threads = Vec::new();
    for (number, socket) in sockets.udp.into_iter().enumerate() {
        // Journal 0 is the shared one; sockets are far fewer than 65535.
        let journal = Journal::open(number as u16 + 1, &ledger);
        let (pipeline, handle, stop) = (Arc::clone(&pipeline), runtime.handle().clone(), Arc::clone(&stop));
        threads.push(thread(&format!("udp-{number}"), move || {
            udp::run(Arc::new(socket), &pipeline, journal, &handle, &stop);
        })?);
    }
    let keeper = Keeper::start(&ledger)?;

    let config = Arc::new(config);
    let reloader =
        Reloader { started: Arc::clone(&config), pipeline: Arc::clone(&pipeline), turn: Arc::default() };
    runtime.block_on(async {
        let limits = &config.limits;
        let admission = Admission::new(limits.tcp_connections, limits.tcp_per_client);
        for listener in sockets.tcp {
            let (pipeline, admission, stop) =
                (Arc::clone(&pipeline), admission.clone(), stop_receiver.clone());
            tokio::spawn(tcp::run(listener, pipeline, limits.tcp_idle, admission, stop));
        }
        let site = Arc::new(landing::Landing(Arc::clone(&pipeline)));
        let mut stopped = stop_receiver.clone();
        let page = tokio::spawn(http::serve(sockets.http, site, config.http.clone(), async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        }));
        let control = control::bind(&config.data_dir)?;
        tokio::spawn(control::run(control, reloader.clone()));
        let mut signals = Signals::new()?;
        ready(&listening);

        signals.until_stop(&reloader).await;
        tracing::info!("stopping");
        stop.store(true, Ordering::Release);
        let _ = stop_sender.send(true);
        pipeline.drain(config.forward.deadline + GRACE).await;
        let _ = tokio::time::timeout(GRACE, page).await;
        Ok::<(), DaemonError>(())
    })?;
    for thread in threads {
        // A worker that panicked has reported it already.
        let _ = thread.join();
    }
    runtime.shutdown_timeout(GRACE);
    keeper.stop();
    tracing::info!(records = ledger.written(), lost = ledger.lost(), "stopped");
    Ok(())
}

/// Where the daemon answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    /// UDP and TCP.
    pub dns: Vec<SocketAddr>,
    /// The landing page.
    pub http: Vec<SocketAddr>,
}

struct Sockets {
    /// Some for each address.
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
    http: Vec<TcpListener>,
}

impl Sockets {
    fn bind(config: &Config, runtime: &Runtime) -> Result<Self, DaemonError> {
        // Tokio's sockets belong to a runtime from birth.
        let _entered = runtime.enter();
        let mut sockets = Self { udp: Vec::new(), tcp: Vec::new(), http: Vec::new() };
        let failed = |setting, address| {
            let place = config.place(setting);
            move |source| DaemonError::Bind { place, address, mend: mend(&source), source }
        };
        for &address in &config.server.listen {
            let (udp, tcp) =
                bind_dns(address, config.server.workers).map_err(failed("server.listen", address))?;
            sockets.udp.extend(udp);
            sockets.tcp.push(tcp);
        }
        for &address in &config.http.listen {
            let listener = tcp::bind(address).map_err(failed("sinkhole.http_listen", address))?;
            sockets.http.push(listener);
        }
        Ok(sockets)
    }

    fn listening(&self) -> Listening {
        let addresses =
            |listeners: &[TcpListener]| listeners.iter().filter_map(|one| one.local_addr().ok()).collect();
        Listening { dns: addresses(&self.tcp), http: addresses(&self.http) }
    }
}

/// One TCP listener and `workers` UDP sockets on the same port, which the system chooses for port 0.
fn bind_dns(address: SocketAddr, workers: usize) -> io::Result<(Vec<UdpSocket>, TcpListener)> {
    // TCP first: it does not share its port, so a second server is told at once.
    let tcp = tcp::bind(address)?;
    let address = SocketAddr::new(address.ip(), tcp.local_addr()?.port());
    let udp = (0..workers).map(|_| udp::bind(address)).collect::<io::Result<_>>()?;
    Ok((udp, tcp))
}

fn mend(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; another program uses this port: stop it (`ss -lptn` names it), or choose another"
        }
        io::ErrorKind::AddrNotAvailable => "; no interface of this machine has this address",
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need root or the capability CAP_NET_BIND_SERVICE"
        }
        _ => "",
    }
}

/// Takes the data folder for this process, until the returned file is closed.
fn lock_data_dir(folder: &Path) -> Result<File, DaemonError> {
    fs::create_dir_all(folder).map_err(folder_error(folder))?;
    let path = folder.join("sachdns.lock");
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(folder_error(&path))?;
    if file.try_lock().is_err() {
        let mut pid = String::new();
        let _ = file.read_to_string(&mut pid);
        return Err(DaemonError::Taken { path: folder.to_owned(), pid: pid.trim().to_owned() });
    }
    file.set_len(0).map_err(folder_error(&path))?;
    writeln!(file, "{}", std::process::id()).map_err(folder_error(&path))?;
    Ok(file)
}

fn plan(config: &Config) -> Plan<'_> {
    Plan { canaries: &config.canaries, feeds: &config.feeds }
}

fn state(config: &Config, image: Image) -> State {
    let allow = PrefixMap::new(config.server.allow.iter().map(|net| (*net, ())));
    State {
        allow: allow.unwrap_or_default(),
        // The configuration refused two agencies with one network.
        agencies: Agencies::new(config.agencies.clone()).unwrap_or_default(),
        image,
        sinkhole: config.sinkhole.clone(),
        forwarder: Forwarder::new(config.forward.clone()),
        log: config.log_scope,
    }
}

/// Reports what was read from the feeds and is now in force.
fn tell(image: &Image, reports: Option<&[FeedReport]>) {
    for report in reports.unwrap_or_default() {
        tracing::info!(
            feed = report.name, format = %report.format, names = report.names,
            addresses = report.addresses, urls = report.urls, unread = report.fault_count(), "read a feed"
        );
        for example in &report.examples {
            tracing::warn!(feed = report.name, "line {example}");
        }
    }
    let how = if reports.is_some() { "built from the feeds" } else { "unchanged on disk" };
    tracing::info!(names = image.facts.name_count, bytes = image.facts.file_len, "policy in force, {how}");
}

fn thread(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body)
}

struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Reloads on SIGHUP; returns on SIGINT and SIGTERM.
    async fn until_stop(&mut self, reloader: &Reloader) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                _ = self.hang_up.recv() => {
                    // A stop must not wait for a long list.
                    let reloader = reloader.clone();
                    tokio::spawn(async move { reloader.reload().await.map_err(|_| ()) });
                }
            }
        }
    }
}

/// Reads the configuration and all feeds again and puts them in force.
#[derive(Clone)]
struct Reloader {
    /// What was in force at the start, and still is where only a start can change it.
    started: Arc<Config>,
    pipeline: Arc<Pipeline>,
    /// Two reloads must not overtake each other.
    turn: Arc<Mutex<()>>,
}

impl Reloader {
    /// Returns a line for people. On error everything stays as it was; either way it is logged.
    async fn reload(&self) -> Result<String, String> {
        let reloader = self.clone();
        let done = tokio::task::spawn_blocking(move || reloader.reload_now()).await;
        match done {
            Ok(Ok(line)) => {
                tracing::info!("{line}");
                Ok(line)
            }
            Ok(Err(error)) => {
                tracing::error!("the reload changed nothing, the old policy stays in force: {error}");
                Err(error.to_string())
            }
            Err(panic) => {
                tracing::error!(%panic, "the reload changed nothing; please report it");
                Err("the reload failed unexpectedly; the old policy stays in force".to_owned())
            }
        }
    }

    fn reload_now(&self) -> Result<String, DaemonError> {
        let begun = std::time::Instant::now();
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let config = Config::load(&self.started.path)?;
        let (image, reports) = update::build(plan(&config), &self.started.image_path(), microseconds_now())?;
        tell(&image, Some(&reports));
        let names = image.facts.name_count;
        self.pipeline.replace(state(&config, image));
        let mut line = format!("reloaded: {names} names in force after {} ms", begun.elapsed().as_millis());
        let fixed = only_at_start(&self.started, &config);
        if !fixed.is_empty() {
            line.push_str("; restart for ");
            line.push_str(&fixed.join(", "));
        }
        Ok(line)
    }
}

/// Settings that differ and that a reload cannot change.
fn only_at_start(old: &Config, new: &Config) -> Vec<&'static str> {
    let mut settings = Vec::new();
    let mut compare = |is_same: bool, name| {
        if !is_same {
            settings.push(name);
        }
    };
    compare(old.data_dir == new.data_dir, "data_dir");
    compare(old.diagnostics == new.diagnostics, "diagnostics");
    compare(old.server.listen == new.server.listen, "server.listen");
    compare(old.server.workers == new.server.workers, "server.workers");
    compare(old.http.listen == new.http.listen, "sinkhole.http_listen");
    compare(old.log == new.log, "log.sync and log.max_size");
    compare(
        old.limits == new.limits
            && (old.http.connections, old.http.per_client) == (new.http.connections, new.http.per_client),
        "limits",
    );
    settings
}
