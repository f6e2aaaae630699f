//! Published zones while the server runs: a new version where a new policy makes one, and secondaries told.
//!
//! Lists for other devices are here too: what the listener hands out is what is in force.
//!
//! Comparing two large images takes seconds; a thread of low priority does it, and the version before is served
//! meanwhile. What a zone says is `publish`'s.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustix::process::setpriority_process;
use tokio::runtime::Handle;

use crate::clock;
use crate::config::{Config, Publication};
use crate::name::Name;
use crate::publish::content::Content;
pub(super) use crate::publish::http::serve;
use crate::publish::http::{Source, Terms};
use crate::publish::journal::{Published, Publisher};
use crate::publish::zone::Version;
use crate::serve::notify;
use crate::serve::pipeline::Pipeline;
use crate::serve::published::Entry;

/// As the process that builds images.
const NICE: i32 = 10;
/// When a zone is made again that could not be: a disk may be full for a moment.
const RETRY: Duration = Duration::from_secs(60);

/// Where versions are made.
pub(super) struct Press {
    pipeline: Arc<Pipeline>,
    folder: PathBuf,
    image: PathBuf,
    desk: Mutex<Desk>,
    called: Condvar,
}

#[derive(Default)]
struct Desk {
    /// What is to be published.
    order: Vec<Publication>,
    /// Whether it is to be looked at: a newer order takes the place of one that nobody began with.
    is_due: bool,
    is_closed: bool,
}

impl Press {
    /// Starts the thread. `runtime` is where secondaries are told from.
    pub(super) fn start(
        pipeline: &Arc<Pipeline>,
        data_dir: &Path,
        runtime: &Handle,
    ) -> io::Result<Arc<Self>> {
        let press = Arc::new(Self {
            pipeline: Arc::clone(pipeline),
            folder: data_dir.join("publish"),
            image: data_dir.join("policy.img"),
            desk: Mutex::default(),
            called: Condvar::new(),
        });
        let (worker, runtime) = (Arc::clone(&press), runtime.clone());
        super::thread("publish", move || {
            // None of this is worth a zone that is not published.
            let _ = setpriority_process(None, NICE);
            let _entered = runtime.enter();
            worker.run();
        })?;
        Ok(press)
    }

    /// Has the policy in force published as the configuration says.
    pub(super) fn print(&self, config: &Config) {
        self.desk().order = config.publish.clone();
        self.reprint();
    }

    /// Has it published anew: something in the policy may have changed.
    pub(super) fn reprint(&self) {
        self.desk().is_due = true;
        self.called.notify_one();
    }

    /// Begins with no other zone; who waits for one waits no more. What is being compared now is thrown away
    /// by the end of the process, and made anew after its next start.
    pub(super) fn close(&self) {
        self.desk().is_closed = true;
        self.called.notify_one();
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut publishers: HashMap<Name, Publisher> = HashMap::new();
        let mut versions: HashMap<Name, Arc<Version>> = HashMap::new();
        let mut has_failed = false;
        while let Some(order) = self.wait_for_order(has_failed) {
            has_failed = false;
            publishers.retain(|apex, _| order.iter().any(|it| it.entry.apex == *apex));
            versions.retain(|apex, _| order.iter().any(|it| it.entry.apex == *apex));
            // Who may have them holds at once, and what is there already is served on.
            self.show(&order, &versions);
            for publication in &order {
                let apex = &publication.entry.apex;
                let publisher = publishers
                    .entry(apex.clone())
                    .or_insert_with(|| Publisher::new(self.folder.join(file_name(apex))));
                // The configuration has its agency, but the next one may not, and is about to be published.
                let Some(content) = content(&self.pipeline, publication.options.agency.as_deref()) else {
                    continue;
                };
                // Seconds, modulo 2³², as serial numbers go.
                let now = (clock::now() / 1_000_000) as u32;
                match publisher.update(&publication.options, &content, &self.image, now) {
                    Ok(Published { version, is_new }) => {
                        let serial = version.serial();
                        versions.insert(apex.clone(), version);
                        self.show(&order, &versions);
                        if is_new {
                            tracing::info!(zone = %apex, serial, "published a new version");
                            let version = versions.get(apex).cloned();
                            let entry = Entry { version, ..publication.entry.clone() };
                            notify::tell_published(&entry, &self.pipeline.state().keys);
                        }
                    }
                    Err(error) => {
                        has_failed = true;
                        tracing::error!(
                            zone = %apex, folder = %self.folder.display(), %error,
                            "the zone cannot be published, the version before stays; data_dir must be a folder that the server may write"
                        );
                    }
                }
            }
        }
    }

    /// Waits until something is to be published, and where not all of it could be no longer than a moment; `None`: it is closed.
    fn wait_for_order(&self, has_failed: bool) -> Option<Vec<Publication>> {
        let is_idle = |desk: &mut Desk| !desk.is_due && !desk.is_closed;
        let desk = self.desk();
        let mut desk = if has_failed {
            let waited = self.called.wait_timeout_while(desk, RETRY, is_idle);
            waited.unwrap_or_else(PoisonError::into_inner).0
        } else {
            self.called.wait_while(desk, is_idle).unwrap_or_else(PoisonError::into_inner)
        };
        desk.is_due = false;
        (!desk.is_closed).then(|| desk.order.clone())
    }

    fn show(&self, order: &[Publication], versions: &HashMap<Name, Arc<Version>>) {
        let entry =
            |it: &Publication| Entry { version: versions.get(&it.entry.apex).cloned(), ..it.entry.clone() };
        self.pipeline.published.set(order.iter().map(entry).collect());
    }
}

/// What the listener of lists hands out.
pub(super) struct Stand {
    pipeline: Arc<Pipeline>,
    terms: ArcSwap<Terms>,
}

impl Stand {
    pub(super) fn new(pipeline: &Arc<Pipeline>, config: &Config) -> Arc<Self> {
        let terms = ArcSwap::from_pointee(config.export_terms());
        Arc::new(Self { pipeline: Arc::clone(pipeline), terms })
    }

    /// Puts what the configuration says in force.
    pub(super) fn renew(&self, config: &Config) {
        self.terms.store(Arc::new(config.export_terms()));
    }
}

impl Source for Stand {
    fn content(&self, agency: Option<&str>) -> Option<Content> {
        content(&self.pipeline, agency)
    }

    fn terms(&self) -> Arc<Terms> {
        self.terms.load_full()
    }
}

/// What is in force for an agency or for everybody; `None` where there is no such agency.
fn content(pipeline: &Pipeline, agency: Option<&str>) -> Option<Content> {
    let state = pipeline.state();
    let known = agency.map(|id| state.agencies.all().iter().find(|known| *known.id == *id));
    match known {
        Some(None) => None,
        known => Some(state.rules.content(known.flatten().map(|agency| Arc::clone(&agency.id)))),
    }
}

/// The apex as a file may be called: what is no letter, digit or hyphen is escaped.
fn file_name(apex: &Name) -> String {
    let octet = |octet: char| match octet {
        'a'..='z' | '0'..='9' | '-' | '.' => octet.to_string(),
        other => format!("%{:02x}", other as u32),
    };
    apex.to_string().chars().map(octet).collect()
}
