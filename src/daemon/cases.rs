//! Feeds the case desk: follows the query log and the contacts with the sinkhole, asks who was behind each address, and tells
//! the desk who was seen doing what, and who merely asked.
//!
//! A thread of low priority, so DNS waits for nothing here. It keeps its place in the log as an outlet does, and the desk notes with
//! what it takes how far that was, so that each record is taken once, wherever the process ends. What it holds in memory is bounded:
//! hits wait by name and client, and that somebody asks is told once in ten minutes. What a case is, and what becomes of it, is
//! `cases`' to say.

mod counter;
mod growing;
mod hits;
mod intake;
mod post;
mod recall;
mod scan;
mod seen;
mod who;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use counter::Counter;

use crate::cases::{Class, Classes, Desk, DeskError, Options, notify};
use crate::client::prefix::PrefixMap;
use crate::config::Config;
use crate::evidence::ledger::Ledger;
use crate::serve::pipeline::Pipeline;
use crate::sinkhole::desk as page;

/// What the configuration in force says.
pub(super) struct Facts {
    classes: Classes,
    /// Who gets an agency's new cases.
    officers: HashMap<Arc<str>, String>,
    /// Agencies' own DNS servers.
    forwarders: PrefixMap<()>,
    /// Who is told of cases.
    notices: notify::Options,
    /// How cases are kept.
    options: Options,
}

impl Facts {
    fn of(config: &Config) -> Self {
        let offices = &config.cases.offices;
        let officers = offices.iter().filter_map(|it| Some((Arc::clone(&it.agency), it.officer.clone()?)));
        let networks = offices.iter().flat_map(|office| &office.forwarders).map(|net| (*net, ()));
        Self {
            classes: config.cases.classes.clone(),
            officers: officers.collect(),
            notices: notify::Options { node: config.node(), ..config.cases.notices.clone() },
            options: config.cases.options.clone(),
            forwarders: PrefixMap::new(networks).expect("one value cannot differ from itself"),
        }
    }
}

/// The thread that feeds the desk, and the one that tells of what is there.
pub(super) struct Cases {
    means: Arc<Means>,
    counter: Arc<Counter>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What the threads work with.
struct Means {
    ledger: Arc<Ledger>,
    pipeline: Arc<Pipeline>,
    facts: Mutex<Arc<Facts>>,
    stop: AtomicBool,
    data_dir: Box<Path>,
    /// `None` until it could be opened.
    desk: Mutex<Option<Desk>>,
    /// Tells this process from those before it.
    run: i64,
}

impl Cases {
    /// Begins to feed the desk. What goes wrong with its files is told and tried again: it is no reason not to answer.
    ///
    /// # Errors
    /// The system has no threads left.
    pub(super) fn start(
        config: &Config,
        ledger: &Arc<Ledger>,
        pipeline: &Arc<Pipeline>,
        now: i64,
    ) -> io::Result<Self> {
        let means = Arc::new(Means {
            ledger: Arc::clone(ledger),
            pipeline: Arc::clone(pipeline),
            facts: Mutex::new(Arc::new(Facts::of(config))),
            stop: AtomicBool::default(),
            data_dir: config.data_dir.clone().into(),
            desk: Mutex::default(),
            run: now,
        });
        let counter = Arc::new(Counter::new(&means));
        let (feeding, telling) = (Arc::clone(&means), Arc::clone(&means));
        let threads = vec![
            super::thread("cases", move || intake::run(feeding))?,
            super::thread("notices", move || post::run(&telling))?,
        ];
        Ok(Self { means, counter, threads: Mutex::new(threads) })
    }

    /// The desk as the landing page knows it.
    pub(super) fn counter(&self) -> Arc<dyn page::Desk> {
        Arc::clone(&self.counter) as Arc<dyn page::Desk>
    }

    /// Says of what class a rule is of this family and feed, by the configuration in force; `true`: an address met it.
    pub(super) fn classify(&self) -> impl Fn(Option<&str>, &str, bool) -> Class + Send + Sync + 'static {
        let means = Arc::clone(&self.means);
        move |family, feed, is_address| means.facts().classes.of(family, Some(feed), is_address)
    }

    /// Takes what a reload changed.
    pub(super) fn renew(&self, config: &Config) {
        let facts = Arc::new(Facts::of(config));
        *self.means.facts.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&facts);
        // Behind the facts, which the desk is opened by where it is not open yet.
        if let Some(desk) = &*self.means.desk.lock().unwrap_or_else(PoisonError::into_inner) {
            desk.renew(facts.options.clone());
        }
    }

    /// Takes in what is recorded, as far as that is soon done, and ends.
    pub(super) fn stop(&self) {
        self.means.stop.store(true, Ordering::Release);
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            thread.thread().unpark();
            // It reports its panics itself.
            let _ = thread.join();
        }
    }
}

/// Where cases are, in the data folder.
pub(super) fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("cases")
}

impl Means {
    fn facts(&self) -> Arc<Facts> {
        Arc::clone(&self.facts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// The desk, which is opened where it is not yet.
    fn desk(&self) -> Result<Desk, DeskError> {
        let mut desk: MutexGuard<'_, _> = self.desk.lock().unwrap_or_else(PoisonError::into_inner);
        match &*desk {
            Some(desk) => Ok(desk.clone()),
            None => {
                let opened = Desk::open(&folder(&self.data_dir), self.facts().options.clone())?;
                Ok(desk.insert(opened).clone())
            }
        }
    }
}
