//! The console's side of the daemon: its own runtime and sockets, and what it asks of the running server.

mod works;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;

use super::metrics::Instruments;
use super::{DaemonError, Reloader, encrypted};
use crate::cases::{Desk, DeskError};
use crate::clock;
use crate::config::Config;
use crate::console::account::Accounts;
use crate::console::house::{Agency, Wanted};
use crate::console::hunts::Hunts;
use crate::console::jobs::Jobs;
use crate::console::kept::Kept;
use crate::console::server::{self, Console};
use crate::console::works::Works;
use crate::console::{House, Options};
use crate::credentials::Credentials;
use crate::evidence::contacts::{self, ContactsError, Reader};
use crate::evidence::store::clickhouse::ClickHouse;
use crate::evidence::store::embedded::Embedded;
use crate::evidence::store::recent::Recent;
use crate::evidence::store::{Store, Watch};
use crate::feed::store::Store as Versions;
use crate::identity::Book;
use crate::listener;
use crate::metrics::Health;
use crate::report::{self, ReportError};
use crate::roster::Known;
use crate::rules::history::History;

/// Beside busy workers, the console waits.
const NICE: i32 = 10;
/// Threads that may block at once: those that answer, those that make streams, and some to spare.
const BLOCKING: usize = 12;

/// The console's sockets, bound, and what they run on.
pub(super) struct Side {
    runtime: Runtime,
    listeners: Vec<TcpListener>,
}

impl Side {
    /// Binds them all; `failed` says of which setting an address is. Nothing where there is no console.
    pub(super) fn bind(
        options: &Options,
        failed: impl Fn(io::Error, SocketAddr) -> DaemonError,
    ) -> Result<Option<Self>, DaemonError> {
        if options.listen.is_empty() {
            return Ok(None);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(BLOCKING)
            .thread_name("console")
            .on_thread_start(|| {
                // Of this thread only, as Linux has it.
                let _ = rustix::process::setpriority_process(None, NICE);
            })
            .enable_all()
            .build()?;
        let mut listeners = Vec::new();
        let entered = runtime.enter();
        for &address in &options.listen {
            listeners.push(listener::bind(address).map_err(|error| failed(error, address))?);
        }
        drop(entered);
        Ok(Some(Self { runtime, listeners }))
    }

    /// Where it listens.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        super::addresses(&self.listeners)
    }

    /// Begins to answer. The runtime comes back: with it everything ends.
    pub(super) fn start(
        self,
        reloader: Reloader,
        book: Arc<Book>,
        instruments: Instruments,
        handle: Handle,
        mut stop: watch::Receiver<bool>,
    ) -> Result<Runtime, DaemonError> {
        let config = Arc::clone(&reloader.started);
        let options = &config.console;
        let credentials = credentials(&config)?;
        let accounts = Arc::new(Accounts::open_with(&config.data_dir, options.rules.clone())?);
        self.advise(options, &accounts)?;
        lost_agencies(&config);
        let hunts = Arc::new(Hunts::new(&config.data_dir));
        if let Some(credentials) = &credentials {
            // There is one console: nobody has set it before.
            let _ = reloader.console.set(Arc::clone(credentials));
        }
        let served = Arc::new(Served {
            reloader,
            book,
            instruments,
            handle,
            desk: Mutex::default(),
            agencies: Mutex::default(),
            jobs: Arc::default(),
            kept: Kept::default(),
            hunts,
            recent: Arc::default(),
        });
        let console =
            Console::new(served, accounts, options, credentials.as_ref()).map_err(io::Error::other)?;
        if let Some(credentials) = credentials {
            self.runtime.spawn(encrypted::renew(credentials, stop.clone()));
        }
        self.runtime.spawn(server::serve(self.listeners, console, async move {
            let _ = stop.wait_for(|stop| *stop).await;
        }));
        Ok(self.runtime)
    }

    /// Tells what to mend, and how the first admin comes in.
    fn advise(&self, options: &Options, accounts: &Accounts) -> Result<(), DaemonError> {
        let addresses = self.addresses();
        let is_plain = options.credentials.is_none() && options.trusted_proxies.is_empty();
        if let Some(open) = addresses.iter().find(|address| is_plain && !address.ip().is_loopback()) {
            tracing::warn!(
                "the console at {open} speaks plain HTTP: passwords cross the network in the clear; set console.certificate \
                 and console.key, or listen on 127.0.0.1 behind a reverse proxy (console.trusted_proxies)"
            );
        }
        if let Some(code) = accounts.first_link(clock::now())? {
            let at = addresses.first().map(|address| first_link(options, *address, &code));
            tracing::warn!(
                "nobody can sign in to the console yet: make the first admin at {} (once, within 24 hours; \
                 `sachdns account link` prints a new link)",
                at.unwrap_or_default()
            );
        }
        Ok(())
    }
}

/// Tells of groups of the organisation's own sign-in that lead to agencies that there are not: an import may bring them later.
fn lost_agencies(config: &Config) {
    let groups = config.console.outside.iter().flat_map(|outside| &outside.groups);
    for (group, grant) in groups {
        let Some(agency) = &grant.agency else { continue };
        if !config.agencies.iter().any(|it| *it.id == **agency) {
            tracing::warn!(
                %group,
                %agency,
                "console.oidc.group: there is no such agency, so nobody of this group can sign in: mend the id, or import the agency"
            );
        }
    }
}

/// Where the first admin is made.
pub fn first_link(options: &Options, address: SocketAddr, code: &str) -> String {
    let scheme = if options.credentials.is_some() { "https" } else { "http" };
    let origin = options.url.clone().unwrap_or_else(|| format!("{scheme}://{address}"));
    format!("{origin}/first?code={code}")
}

/// Reads the console's certificate and key, where it has some.
fn credentials(config: &Config) -> Result<Option<Arc<Credentials>>, DaemonError> {
    let Some(options) = &config.console.credentials else { return Ok(None) };
    let opened = Credentials::open(options, Timestamp::now());
    let (credentials, concerns) = opened.map_err(|error| config.credentials_fault(error))?;
    encrypted::warn(&concerns);
    Ok(Some(Arc::new(credentials)))
}

/// What was made of which configuration.
type Made<T> = Option<(Arc<Config>, T)>;

/// The running server, as the console asks it.
struct Served {
    reloader: Reloader,
    book: Arc<Book>,
    instruments: Instruments,
    /// Of the runtime that reloads run on.
    handle: Handle,
    /// The desk as this configuration has it: to open it takes longer than to ask it.
    desk: Mutex<Made<Desk>>,
    /// … and its agencies: a page asks for them row by row.
    agencies: Mutex<Made<Arc<[Agency]>>>,
    jobs: Arc<Jobs>,
    kept: Kept,
    hunts: Arc<Hunts>,
    /// What was counted of the log's segments.
    recent: Arc<Recent>,
}

impl Served {
    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.reloader.current.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn agencies_of(config: &Config) -> Arc<[Agency]> {
    let offices: HashMap<&str, _> =
        config.cases.offices.iter().map(|office| (&*office.agency, office)).collect();
    let agency = |agency: &crate::client::Agency| {
        let office = offices.get(&*agency.id);
        Agency {
            id: Arc::clone(&agency.id),
            name: Arc::clone(&agency.name),
            contact: agency.contact.clone(),
            networks: agency.networks.clone(),
            officer: office.and_then(|office| office.officer.clone()),
            email: office.and_then(|office| office.email.clone()),
            forwarders: office.map(|office| office.forwarders.clone()).unwrap_or_default(),
        }
    };
    config.agencies.iter().map(agency).collect()
}

impl House for Served {
    fn data_dir(&self) -> &Path {
        &self.reloader.started.data_dir
    }

    fn configuration(&self) -> io::Result<(PathBuf, String)> {
        let path = self.reloader.started.path.clone();
        std::fs::read_to_string(&path).map(|text| (path, text))
    }

    fn agencies(&self) -> Arc<[Agency]> {
        let config = self.config();
        let mut kept = self.agencies.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some((of, agencies)) if Arc::ptr_eq(of, &config) => Arc::clone(agencies),
            _ => {
                let agencies = agencies_of(&config);
                *kept = Some((config, Arc::clone(&agencies)));
                agencies
            }
        }
    }

    fn agency_of(&self, address: IpAddr) -> Option<Arc<str>> {
        let state = self.reloader.pipeline.state();
        state.agencies.of(address.to_canonical()).map(|agency| Arc::clone(&agency.id))
    }

    fn log(&self) -> Box<dyn Store> {
        let config = self.config();
        match &config.clickhouse {
            Some(options) => Box::new(ClickHouse::new(
                options,
                &config.node(),
                config.archive.anonymise,
                &config.log.folder,
            )),
            None => Box::new(Embedded::new(&config.log.folder).counting(Arc::clone(&self.recent))),
        }
    }

    fn desk(&self) -> Result<Desk, DeskError> {
        let config = self.config();
        let mut kept = self.desk.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, desk)) = &*kept
            && Arc::ptr_eq(of, &config)
        {
            return Ok(desk.clone());
        }
        let desk = Desk::open(&self.data_dir().join("cases"), config.cases.options.clone())?;
        *kept = Some((config, desk.clone()));
        Ok(desk)
    }

    fn book(&self) -> Arc<Book> {
        Arc::clone(&self.book)
    }

    fn contacts(&self) -> Result<Reader, ContactsError> {
        Reader::open(&contacts::folder(self.data_dir()))
    }

    fn works(&self) -> Option<&dyn Works> {
        Some(self)
    }

    fn reports_folder(&self) -> PathBuf {
        super::reports_folder(&self.config())
    }

    fn report(&self, wanted: &Wanted, watch: &mut dyn Watch) -> Result<Vec<u8>, ReportError> {
        let config = self.config();
        let figures = super::gather_report(&config, &*self.log(), wanted.period, &wanted.scope, watch)?;
        report::render(&figures, wanted.format, &config.reports.options)
    }

    fn hunts(&self) -> &Arc<Hunts> {
        &self.hunts
    }

    fn metrics(&self) -> String {
        self.instruments.text()
    }

    fn health(&self) -> Health {
        self.instruments.health()
    }

    fn may_measure(&self, client: IpAddr) -> bool {
        self.config().console.metrics_allow.iter().any(|net| net.contains(&client))
    }

    fn reload(&self) -> Result<String, String> {
        self.handle.block_on(self.reloader.reload())
    }

    fn configured_agencies(&self) -> Vec<Known> {
        self.config().configured_agencies()
    }

    fn rules(&self) -> History {
        History::new(self.data_dir())
    }

    fn renew_rules(&self) -> Result<String, String> {
        self.handle.block_on(self.reloader.rules.renew()).map_err(|error| error.to_string())
    }

    fn versions(&self) -> Versions {
        self.config().versions.clone()
    }

    fn refresh_feeds(&self) -> Result<String, String> {
        let refreshed = self.handle.block_on(self.reloader.refresh());
        refreshed.map(|line| line.unwrap_or_else(|| "nothing is new".to_owned()))
    }
}
