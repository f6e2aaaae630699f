//! The daemon: builds all parts, wires them, reloads and stops them.
//!
//! The only module that knows everyone.

mod cases;
mod clickhouse;
mod console;
mod control;
mod coverage;
mod encrypted;
mod error;
pub mod explain;
pub mod feed_standing;
mod feeds;
mod files;
pub mod giving;
mod hunting;
mod identity;
mod landing;
mod metrics;
mod publish;
pub mod replaying;
mod report;
pub mod reviewing;
mod rules;
mod sinkhole;
mod zones;

use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::client::Agencies;
use crate::client::admission::Admission;
use crate::client::cookie::{Cookies, Secret};
use crate::client::limits::Limits;
use crate::client::prefix::PrefixMap;
use crate::clock;
use crate::config::{Config, Transports};
use crate::credentials::Credentials;
use crate::evidence::archive::{Archiver, Hunter};
use crate::evidence::contacts::{self, Contacts};
use crate::evidence::export::Origin;
use crate::evidence::journal::Journal;
use crate::evidence::keeper::Keeper;
use crate::evidence::ledger::Ledger;
use crate::fetch::schedule::Orders;
use crate::identity::Book;
use crate::image::Image;
use crate::listener;
use crate::outlet::Outlets;
use crate::policy::guard::Guard;
use crate::resolve::zone::Zones;
use crate::resolve::{Resolver, cache, routes};
use crate::serve::pipeline::{Pipeline, State, Waiting};
use crate::serve::proxy::Proxies;
use crate::serve::ready::Ready;
use crate::serve::rulebook::Rulebook;
use crate::serve::stream::Door;
use crate::serve::{tcp, udp};
use crate::sinkhole::reception::Reception;
use crate::sinkhole::visits::Visits;
use crate::sinkhole::{http, ports};
use crate::tsig::Keys;
use crate::update::child::{Pace, Workshop};
use crate::update::{self, FeedReport, Plan, standing};

use error::folder_error;
use files::affordable;

pub use crate::identity::folder as identity_folder;
pub use console::first_link;
pub use control::{ask_for_rules, ask_to_refresh, ask_to_reload};
pub use coverage::{SurveyError, settle as settle_coverage, survey as survey_coverage};
pub use error::DaemonError;
pub use report::{folder as reports_folder, gather as gather_report, store as report_store, write_whole};
pub use rules::{RulesError, guard};

/// How long a stop waits for queries on their way, beyond the resolver's own deadline.
const GRACE: Duration = Duration::from_secs(1);
/// Which part of `cache.max_size` the UDP workers have for answers of their own.
const READY_SHARE: u64 = 4;
/// How often is looked whether the last query under an old policy is answered.
const RETIRING: Duration = Duration::from_millis(10);
/// How often another port is tried where the system chooses it.
const TRIES: usize = 8;

/// Reads all local zones once.
///
/// # Errors
/// [`DaemonError::Zones`]: what is wrong with any of them.
pub fn check_zones(config: &Config) -> Result<(), DaemonError> {
    zones::load(&config.zones, &Zones::default())?;
    Ok(())
}

/// Serves until SIGINT or SIGTERM. Once every listener answers, calls `ready` with their addresses.
///
/// # Errors
/// [`DaemonError`], at start, or when a part that must not end has ended: afterwards all other trouble
/// is reported and serving goes on.
pub fn run(config: Config, ready: impl FnOnce(&Listening)) -> Result<(), DaemonError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let _entered = runtime.enter();
    // First of all: a signal during a long start must find its handler.
    let mut signals = Signals::new()?;
    let _lock = lock_data_dir(&config.data_dir)?;
    if !config.image_path().exists() {
        check_feeds(&config)?;
    }
    let sources = config.sources()?;
    let design = config.design()?;
    let credentials = encrypted::credentials(&config)?;
    let local_zones = zones::load(&config.zones, &Zones::default())?;
    let sinkhole_runtime = sinkhole::runtime()?;
    let sockets = Sockets::bind(&config, &sinkhole_runtime)?;
    let listening = sockets.listening();
    let (workshop, path) = (Arc::new(Workshop::default()), config.image_path());
    let build = || workshop.build(plan(&config), &path, clock::now(), Pace::Urgent);
    let (image, reports) = update::ensure(plan(&config), &path, build)?;
    tell(&image, reports.as_deref());
    hunting::begin(&path, &image);

    let ledger = Ledger::open(&config.log).map_err(folder_error(&config.log.folder))?;
    let shared = Journal::open(0, &ledger);
    let affordable = affordable(&config, sources.most_sockets())?;
    let pending = affordable.pending;
    let secret = Secret::new(rand::random());
    let fetching = Orders::default();
    let state = state(&config, image, guard(&config)?, &secret, &listening, &fetching);
    let waiting = Waiting { pending, ..config.limits.waiting };
    let kept = cache::Options {
        max_size: config.cache.max_size - config.cache.max_size / READY_SHARE - sources.remembered(),
        ..config.cache.clone()
    };
    let configured = sources.clone();
    let sources = zones::with_cuts(sources, &local_zones.zones);
    let resolver = Resolver::new(sources, &kept, pending, runtime.handle().clone());
    let pipeline = Arc::new(Pipeline::new(state, Arc::new(resolver), shared, waiting));
    zones::put_in_force(&pipeline, local_zones.zones);
    let press = publish::Press::start(&pipeline, &config.data_dir, runtime.handle())?;
    let rules = rules::Rules::start(&config.data_dir, &pipeline, &press)?;
    press.print(&config);
    let stand = publish::Stand::new(&pipeline, &config);
    // Before those who read them: a damaged file is put aside.
    let contacts = Arc::new(Contacts::open(&contacts::folder(&config.data_dir), &config.watch.contacts)?);
    let cases = Arc::new(cases::Cases::start(&config, &ledger, &pipeline, clock::now())?);
    let reception = landing::reception(&config, design, &pipeline, &cases)?;
    let control = control::bind(&config.data_dir)?;
    let stop = StopOnDrop(Arc::default());
    let (stop_sender, stop_receiver) = watch::channel(false);

    let (mut threads, mut pulses) = (Vec::new(), Vec::new());
    // A part of the cache's room is the workers' own.
    let ready_size = config.cache.max_size / READY_SHARE / sockets.udp.len() as u64;
    for (number, socket) in sockets.udp.into_iter().enumerate() {
        // Journal 0 is the shared one; sockets are far fewer than 65535.
        let journal = Journal::open(number as u16 + 1, &ledger);
        let tools = udp::Tools::new(socket, journal, Ready::new(ready_size))?;
        let (pipeline, handle, stop) = (Arc::clone(&pipeline), runtime.handle().clone(), Arc::clone(&stop.0));
        let pulse = Arc::new(());
        pulses.push(Arc::downgrade(&pulse));
        threads.push(thread(&format!("udp-{number}"), move || {
            udp::run(tools, &pipeline, &handle, &stop);
            drop(pulse);
        })?);
    }
    // Before those who let files go.
    let shipper = clickhouse::start(&ledger, &config)?;
    let keeper = Keeper::start(&ledger)?;
    let outlets = Arc::new(Outlets::new(&ledger, clock::now()));
    outlets.replace(&config.outlets, &Origin { node: config.node() })?;
    let archiver = Archiver::start(&ledger, &config.archive)?;
    let book = Arc::new(Book::open(&identity_folder(&config.data_dir))?);
    let registry = Arc::new(identity::Registry::start(Arc::clone(&book), config.identity.clone())?);

    let config = Arc::new(config);
    let reloader = Reloader {
        started: Arc::clone(&config),
        listening: listening.clone(),
        credentials: credentials.clone(),
        console: Arc::default(),
        pipeline: Arc::clone(&pipeline),
        secret,
        hunter: archiver.hunter(),
        workshop: Arc::clone(&workshop),
        outlets: Arc::clone(&outlets),
        cases: Arc::clone(&cases),
        registry: Arc::clone(&registry),
        turn: Arc::new(Mutex::new(configured)),
        rules: rules.clone(),
        press: Arc::clone(&press),
        stand: Arc::clone(&stand),
        reception: Arc::clone(&reception),
        asked: Arc::default(),
        current: Arc::new(Mutex::new(Arc::clone(&config))),
        news: feeds::News::default(),
        fetching,
    };
    let reporter = report::Reporter::start(Arc::clone(&reloader.current))?;
    let surveyor = coverage::Surveyor::start(reloader.clone(), Arc::clone(&book))?;
    let started = clock::now();
    let instruments = metrics::Instruments::new(
        reloader.clone(),
        Arc::clone(&ledger),
        Arc::clone(&contacts),
        pulses,
        started,
    );
    let console = sockets
        .console
        .map(|side| {
            let handle = runtime.handle().clone();
            side.start(reloader.clone(), book, instruments, handle, stop_receiver.clone())
        })
        .transpose()?;
    let outcome = runtime.block_on(async {
        let limits = &config.limits;
        let mut parts = JoinSet::new();
        let admission = Admission::new(affordable.tcp_connections, limits.tcp_per_client);
        let door = Door::new(Arc::clone(&pipeline), limits.tcp_idle, admission);
        parts.spawn(tcp::run(sockets.tcp, door.clone(), stop_receiver.clone()));
        if let Some(credentials) = credentials {
            let path = &config.server.transports.https_path;
            sockets.encrypted.serve(&mut parts, &credentials, path, &door, &stop_receiver)?;
            parts.spawn(encrypted::renew(credentials, stop_receiver.clone()));
        }
        let http = http::Options { connections: affordable.http_connections, ..config.http.clone() };
        let connections = affordable.sinkhole_connections;
        let ports = ports::Options { connections, ..config.watch.ports.clone() };
        let keeper = sinkhole::AuthorityKeeper::new(&config, &pipeline);
        let (visits, runtime) = (Visits::new(Arc::clone(&contacts)), &sinkhole_runtime);
        sockets.sinkhole.serve(
            &mut parts,
            runtime,
            (reception, visits),
            (http, ports),
            keeper,
            &stop_receiver,
        );
        let mut stopped = stop_receiver.clone();
        parts.spawn(publish::serve(sockets.lists, Arc::clone(&stand), async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        }));
        let control = tokio::spawn(control::run(control, reloader.clone()));
        let reloads = tokio::spawn(reloader.clone().run());
        let watch = tokio::spawn(zones::watch(reloader.clone()));
        let feeds = tokio::spawn(feeds::watch(reloader.clone()));
        let rules_watch = tokio::spawn(rules.watch());
        let schedule = feeds::fetch(&reloader)?;
        ready(&listening);

        let outcome = tokio::select! {
            () = signals.until_stop(&reloader) => Ok(()),
            // None of them ends before it is told to.
            Some(_) = parts.join_next() => Err(DaemonError::PartEnded),
        };
        tracing::info!("stopping");
        control.abort();
        reloads.abort();
        watch.abort();
        feeds.abort();
        rules_watch.abort();
        workshop.close();
        press.close();
        // No query may come in any more when those on their way are waited for.
        stop.0.store(true, Ordering::Release);
        let _ = stop_sender.send(true);
        let joined = tokio::task::spawn_blocking(move || {
            drop(schedule);
            for thread in threads {
                // A worker reports its panics itself.
                let _ = thread.join();
            }
        });
        let _ = joined.await;
        pipeline.drain(config.forward.longest() + GRACE).await;
        // Their last answers are being sent.
        let _ = tokio::time::timeout(2 * GRACE, async { while parts.join_next().await.is_some() {} }).await;
        outcome
    });
    surveyor.stop();
    drop(_entered);
    runtime.shutdown_timeout(GRACE);
    sinkhole_runtime.shutdown_timeout(GRACE);
    drop(reporter);
    if let Some(console) = console {
        console.shutdown_timeout(GRACE);
    }
    keeper.stop();
    // Now that every record is written.
    outlets.stop();
    cases.stop();
    drop(archiver);
    drop(shipper);
    tracing::info!(records = ledger.written(), lost = ledger.lost(), dropped = ledger.dropped(), "stopped");
    outcome
}

/// Tells all threads to stop, also when the start fails half-way.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Where the daemon answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    /// UDP and TCP.
    pub dns: Vec<SocketAddr>,
    /// DNS over TLS.
    pub tls: Vec<SocketAddr>,
    /// DNS over HTTPS.
    pub https: Vec<SocketAddr>,
    /// DNS over QUIC.
    pub quic: Vec<SocketAddr>,
    /// The sinkhole.
    pub sinkhole: sinkhole::Listening,
    /// Lists for other devices.
    pub lists: Vec<SocketAddr>,
    /// The console.
    pub console: Vec<SocketAddr>,
}

struct Sockets {
    /// Some for each address.
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
    lists: Vec<TcpListener>,
    console: Option<console::Side>,
    sinkhole: sinkhole::Sockets,
    encrypted: encrypted::Sockets,
}

impl Sockets {
    /// Call it inside a runtime, to which tokio's sockets belong from birth.
    fn bind(config: &Config, sinkhole: &Runtime) -> Result<Self, DaemonError> {
        let failed = |setting, address| {
            let place = config.place(setting);
            move |source| DaemonError::Bind { place, address, mend: mend(&source), source }
        };
        let encrypted = encrypted::Sockets::bind(&config.server.transports, failed)?;
        let sinkhole = sinkhole::Sockets::bind(config, sinkhole, failed)?;
        let console =
            console::Side::bind(&config.console, |error, address| failed("console.listen", address)(error))?;
        let mut sockets =
            Self { udp: Vec::new(), tcp: Vec::new(), lists: Vec::new(), console, sinkhole, encrypted };
        for &address in &config.server.listen {
            let (udp, tcp) =
                bind_dns(address, config.server.workers).map_err(failed("server.listen", address))?;
            sockets.udp.extend(udp);
            sockets.tcp.push(tcp);
        }
        for &address in &config.export.http.listen {
            sockets.lists.push(listener::bind(address).map_err(failed("export.listen", address))?);
        }
        Ok(sockets)
    }

    fn listening(&self) -> Listening {
        let [tls, https, quic] = self.encrypted.addresses();
        Listening {
            dns: addresses(&self.tcp),
            tls,
            https,
            quic,
            sinkhole: self.sinkhole.listening(),
            lists: addresses(&self.lists),
            console: self.console.as_ref().map(console::Side::addresses).unwrap_or_default(),
        }
    }
}

fn addresses(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    listeners.iter().filter_map(|one| one.local_addr().ok()).collect()
}

/// One TCP listener and `workers` UDP sockets on the same port, which the system chooses for port 0.
fn bind_dns(address: SocketAddr, workers: usize) -> io::Result<(Vec<UdpSocket>, TcpListener)> {
    for _ in 0..TRIES {
        match bind_both(address, workers) {
            // The port that was free for TCP is somebody's for UDP: the system chooses another.
            Err(error) if address.port() == 0 && error.kind() == io::ErrorKind::AddrInUse => {}
            bound => return bound,
        }
    }
    bind_both(address, workers)
}

fn bind_both(address: SocketAddr, workers: usize) -> io::Result<(Vec<UdpSocket>, TcpListener)> {
    // TCP first: it does not share its port, so a second server is told at once.
    let tcp = listener::bind(address)?;
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
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            return Err(DaemonError::Taken { path: folder.to_owned(), pid: pid.trim().to_owned() });
        }
        Err(TryLockError::Error(error)) => return Err(folder_error(&path)(error)),
    }
    file.set_len(0).map_err(folder_error(&path))?;
    writeln!(file, "{}", std::process::id()).map_err(folder_error(&path))?;
    Ok(file)
}

/// What this configuration's policy is made from.
pub fn plan(config: &Config) -> Plan<'_> {
    let Config { canaries, feeds, gate, versions, .. } = config;
    Plan { canaries, feeds, gate, versions }
}

/// Whether the file of each feed is there that has no version to be served without it.
///
/// # Errors
/// [`DaemonError::Config`]: those that are not.
pub fn check_feeds(config: &Config) -> Result<(), DaemonError> {
    let has_version =
        |name: &str| config.versions.feed(name).state().is_ok_and(|state| state.accepted.is_some());
    Ok(config.check_feeds(|source| !has_version(&source.name))?)
}

/// `own` signs cookies where the configuration names no secret.
fn state(
    config: &Config,
    image: Image,
    guard: Guard,
    own: &Secret,
    listening: &Listening,
    fetching: &Orders,
) -> State {
    let networks = |networks: &[IpNet]| {
        PrefixMap::new(networks.iter().map(|net| (*net, ()))).expect("one value cannot differ from itself")
    };
    let mut secrets = config.server.cookie_secrets.iter().cloned();
    let signing = secrets.next().unwrap_or_else(|| own.clone());
    let cookies = config.server.cookies.then(|| Cookies::new(signing, secrets.collect()));
    let agencies =
        Agencies::new(config.agencies.clone()).expect("the configuration refuses a network of two agencies");
    State {
        allow: networks(&config.server.allow).into(),
        forwarders: networks(&config.server.trusted_forwarders).into(),
        limits: Limits::new(config.limits.rates, networks(&config.limits.exempt), Instant::now()).into(),
        cookies,
        rules: Rulebook::new(image).with(guard, config.reaches.clone(), &agencies),
        agencies: agencies.into(),
        sinkhole: config.sinkhole.clone(),
        log: config.log_scope,
        idle: config.limits.tcp_idle,
        proxies: (!config.server.transports.proxies.is_empty())
            .then(|| Proxies::new(networks(&config.server.transports.proxies)).into()),
        designation: encrypted::designation(&config.server.transports, listening).map(Into::into),
        special: config.special_names().into(),
        identity: config.server.identity.clone(),
        keys: Keys::new(config.tsig_keys.clone()).into(),
        primaries: feeds::primaries(config, fetching).into(),
    }
}

/// What somebody should look after, where no feed was read just now.
fn known_troubles(config: &Config) -> Vec<String> {
    let standings = standing::of(plan(config)).unwrap_or_default();
    let of_feed = |standing: standing::FeedStanding<'_>| {
        let name = standing.source.name.to_string();
        standing.troubles.into_iter().map(move |trouble| format!("feed {name}: {trouble}"))
    };
    standings.into_iter().flat_map(of_feed).collect()
}

/// Reports what was read from the feeds and is now in force; returns what somebody should look after.
fn tell(image: &Image, reports: Option<&[FeedReport]>) -> Option<Vec<String>> {
    if image.index.provenance().feeds.len() < 2 {
        tracing::warn!("no feed is configured: nothing is sinkholed; add [[feed]] to the configuration");
    }
    for report in reports.unwrap_or_default() {
        if report.names + report.networks == 0 {
            tracing::warn!(feed = report.name, "the feed lists no names");
        }
        tracing::info!(
            feed = report.name, format = %report.format, names = report.names,
            networks = report.networks, addresses = report.addresses, urls = report.urls, unread = report.fault_count(), "read a feed"
        );
        for example in &report.examples {
            tracing::warn!(feed = report.name, "line {example}");
        }
        if report.set_aside.count > 0 {
            let (count, names) = (report.set_aside.count, &report.set_aside);
            tracing::warn!(feed = report.name, "{count} protected names are left out: {names}");
        }
    }
    tell_troubles(reports.unwrap_or_default());
    let how = if reports.is_some() { "built from the feeds" } else { "unchanged on disk" };
    tracing::info!(names = image.facts.name_count, bytes = image.facts.file_len, "policy in force, {how}");
    let of_report = |report: &FeedReport| {
        let name = report.name.clone();
        report.troubles.clone().into_iter().map(move |trouble| format!("feed {name}: {trouble}"))
    };
    Some(reports?.iter().flat_map(of_report).collect())
}

/// Tells what somebody should look after.
fn tell_troubles(reports: &[FeedReport]) {
    for report in reports {
        for trouble in &report.troubles {
            tracing::error!(feed = report.name, "{trouble}");
        }
    }
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
                // A stop must not wait for a long list, and many signals are one reload.
                _ = self.hang_up.recv() => reloader.asked.notify_one(),
            }
        }
    }
}

/// Reads the configuration and all feeds again and puts them in force.
#[derive(Clone)]
struct Reloader {
    /// What was in force at the start, and still is where only a start can change it.
    started: Arc<Config>,
    /// Where the server answers since then.
    listening: Listening,
    credentials: Option<Arc<Credentials>>,
    /// Those of the console, once it has some.
    console: Arc<OnceLock<Arc<Credentials>>>,
    pipeline: Arc<Pipeline>,
    /// Cookies outlive a reload.
    secret: Secret,
    hunter: Hunter,
    workshop: Arc<Workshop>,
    outlets: Arc<Outlets>,
    cases: Arc<cases::Cases>,
    registry: Arc<identity::Registry>,
    /// Two reloads must not overtake each other. Holds who is asked as the configuration in force has it.
    turn: Arc<Mutex<routes::Options>>,
    rules: rules::Rules,
    press: Arc<publish::Press>,
    stand: Arc<publish::Stand>,
    reception: Arc<Reception>,
    /// Somebody asked for a reload and does not wait for it.
    asked: Arc<Notify>,
    /// The configuration in force.
    current: Arc<Mutex<Arc<Config>>>,
    /// Feeds may have new versions.
    news: feeds::News,
    /// Which feeds are fetched.
    fetching: Orders,
}

impl Reloader {
    /// Reloads whenever it is asked for.
    async fn run(self) {
        loop {
            self.asked.notified().await;
            // Reported by itself.
            let _ = self.reload().await;
        }
    }

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
        let begun = Instant::now();
        let mut configured = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut config = Config::reload(&self.started.path, &self.started.data_dir)?;
        let fixed = only_at_start(&self.started, &config);
        keep_folders(&self.started, &mut config);
        let config = Arc::new(config);
        check_feeds(&config)?;
        let design = config.design()?;
        let sources = config.sources()?;
        // All that may be wrong comes before the first change.
        let earlier_guard = guard(&config)?;
        let local_zones = zones::load(&config.zones, &self.pipeline.zones())?;
        update::take_in(plan(&config), clock::now());
        let path = self.started.image_path();
        let build = || self.workshop.build(plan(&config), &path, clock::now(), Pace::Gentle);
        let (image, reports) = update::renew(plan(&config), &path, clock::now(), build)?;
        // Behind the image: the lists may have changed while it was built, and it must not be the newer one.
        let guard = guard(&config).unwrap_or(earlier_guard);
        let troubles = tell(&image, reports.as_deref());
        let names = image.facts.name_count;
        let old = self.pipeline.state();
        let before = old.rules.image.facts.name_count;
        let mut line = format!(
            "reloaded {}: {names} names in force ({:+}), after {} ms",
            config.path.display(),
            names as i64 - before as i64,
            begun.elapsed().as_millis()
        );
        let state = state(&config, image, guard, &self.secret, &self.listening, &self.fetching);
        let cuts = zones::with_cuts(sources.clone(), &local_zones.zones);
        drop(old);
        self.retire_and_search(self.pipeline.replace(state, cuts));
        *configured = sources;
        self.fetching.fetch(config.remotes.clone());
        self.press.print(&config);
        self.stand.renew(&config);
        self.reception.redesign(design);
        self.cases.renew(&config);
        let renewed = [
            (self.credentials.as_ref(), &config.server.transports.credentials),
            (self.console.get(), &config.console.credentials),
        ];
        for (credentials, options) in renewed {
            if let (Some(credentials), Some(options)) = (credentials, options)
                && let Some(trouble) = encrypted::reload(credentials, options, &config)
            {
                line.push_str("; the certificate stays as it was: ");
                line.push_str(&trouble);
            }
        }
        for kept in &local_zones.kept {
            line.push_str(&format!("; zone {} is still the old one: {}", kept.0, kept.1));
        }
        zones::put_in_force(&self.pipeline, local_zones.zones);
        if let Err(error) = self.outlets.replace(&config.outlets, &Origin { node: config.node() }) {
            line.push_str(&format!("; not every outlet was started: {error}"));
        }
        self.registry.renew(config.identity.clone());
        for trouble in troubles.unwrap_or_else(|| known_troubles(&config)) {
            line.push_str("; ");
            line.push_str(&trouble);
        }
        if !fixed.is_empty() {
            line.push_str("; restart for ");
            line.push_str(&fixed.join(", "));
        }
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(line)
    }
}

/// Leaves the server where it is: what is in these folders is what it serves and searches, whatever the file says now.
fn keep_folders(started: &Config, config: &mut Config) {
    config.data_dir = started.data_dir.clone();
    config.versions = started.versions.clone();
    config.log = started.log.clone();
    config.archive = started.archive.clone();
    config.clickhouse = started.clickhouse.clone();
}

/// Drops a state once nobody else has it: to unmap a large image takes a while, in which a worker
/// would answer nobody.
async fn retire(old: Arc<State>) {
    while Arc::strong_count(&old) > 1 {
        tokio::time::sleep(RETIRING).await;
    }
    drop(tokio::task::spawn_blocking(move || drop(old)));
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
    let fixed = |config: &Config| {
        let Transports { tls, https, https_path, quic, .. } = config.server.transports.clone();
        (tls, https, https_path, quic)
    };
    compare(fixed(old) == fixed(new), "tls_listen, https_listen, https_path and quic_listen");
    compare(old.http.listen == new.http.listen, "sinkhole.http_listen");
    compare(old.watch.ports.https == new.watch.ports.https, "sinkhole.https_listen");
    compare(old.watch.ports.tcp == new.watch.ports.tcp, "sinkhole.tcp_listen");
    compare(old.watch.ports.udp == new.watch.ports.udp, "sinkhole.udp_listen");
    compare(old.watch.contacts == new.watch.contacts, "sinkhole.contacts_max_size");
    compare(old.export.http == new.export.http, "export.listen");
    // Who may read figures is looked up each time.
    let console =
        |config: &Config| crate::console::Options { metrics_allow: Vec::new(), ..config.console.clone() };
    compare(console(old) == console(new), "console");
    compare(old.cache == new.cache, "cache");
    compare(old.log == new.log, "log.sync and log.max_size");
    compare(
        old.archive == new.archive,
        "log.archive_after, log.keep_*, log.hits_max_size and log.anonymise*",
    );
    compare(old.clickhouse == new.clickhouse, "log.clickhouse");
    let fixed = |config: &Config| {
        let limits = &config.limits;
        let tcp = (limits.tcp_connections, limits.tcp_per_client, limits.tcp_idle);
        let ports = &config.watch.ports;
        let sinkhole = (ports.connections, ports.per_client);
        (limits.waiting, tcp, config.http.connections, config.http.per_client, sinkhole)
    };
    compare(fixed(old) == fixed(new), "limits (but for rates and exempt)");
    settings
}
