//! Feeds while the server runs: a file that changes is live by itself, and so is what a fetch has brought.
//!
//! Only looks and asks; what a version may do is the gate's, and the building is `update`'s.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::{DaemonError, Pace, Reloader, guard, plan, retire, state, tell, tell_troubles, zones};
use crate::clock;
use crate::config::Config;
use crate::feed::source::Origin;
use crate::feed::store::Stamp;
use crate::fetch::schedule::{Orders, Schedule};
use crate::fetch::{Publisher, Remote};
use crate::serve::pipeline::State;
use crate::serve::primaries::{Primaries, Primary};
use crate::update;

/// How often is looked whether a file has changed: a call of `stat` a file.
const WATCHING: Duration = Duration::from_millis(250);
/// How often is looked whether an indicator has ended.
const ENDING: Duration = Duration::from_secs(600);
/// A file that changed longer ago than this, in microseconds, is taken at once: nobody is writing to it.
const SETTLED: i64 = 1_000_000;

/// How to ask for the feeds' new versions to be put in force.
#[derive(Clone, Default)]
pub(super) struct News(Arc<Notify>);

impl News {
    /// There is a new version in the store. Many calls are one look.
    pub(super) fn tell(&self) {
        self.0.notify_one();
    }
}

impl Reloader {
    /// Puts new versions of feeds in force, under the configuration in force: what somebody is about to change in its
    /// file is not a feed's to decide. Returns a line for people, and none where nothing is new; on error everything
    /// stays as it was. Either way it is logged.
    pub(super) async fn refresh(&self) -> Result<Option<String>, String> {
        let reloader = self.clone();
        let why = match tokio::task::spawn_blocking(move || reloader.refresh_now()).await {
            Ok(Ok(line)) => {
                if let Some(line) = &line {
                    tracing::info!("{line}");
                }
                return Ok(line);
            }
            Ok(Err(error)) => error.to_string(),
            Err(panic) => format!("it failed unexpectedly, please report it: {panic}"),
        };
        tracing::error!("the feeds' new versions are not in force, the old policy stays: {why}");
        Err(why)
    }

    fn refresh_now(&self) -> Result<Option<String>, DaemonError> {
        let begun = Instant::now();
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let config = self.current();
        let old = self.pipeline.state();
        update::take_in(plan(&config), clock::now());
        let is_due = update::is_due(plan(&config), clock::now());
        if !is_due && update::is_current(plan(&config), &old.rules.image.facts.fingerprint) {
            return Ok(None);
        }
        let sources = config.sources()?;
        let path = self.started.image_path();
        let build = || self.workshop.build(plan(&config), &path, clock::now(), Pace::Gentle);
        let (image, reports) = update::renew(plan(&config), &path, clock::now(), build)?;
        if image.facts.digest == old.rules.image.facts.digest {
            // What was new is refused.
            tell_troubles(reports.as_deref().unwrap_or_default());
            return Ok(None);
        }
        tell(&image, reports.as_deref());
        let (names, before) = (image.facts.name_count, old.rules.image.facts.name_count);
        let line = format!(
            "the feeds have changed: {names} names in force ({:+}), after {} ms",
            names as i64 - before as i64,
            begun.elapsed().as_millis()
        );
        let state = state(&config, image, guard(&config)?, &self.secret, &self.listening, &self.fetching);
        let sources = zones::with_cuts(sources, &self.pipeline.zones());
        drop(old);
        self.retire_and_search(self.pipeline.replace(state, sources));
        self.press.print(&config);
        Ok(Some(line))
    }

    /// Has what is new sought once the last query under the old policy is answered, and recorded as what it was then.
    pub(super) fn retire_and_search(&self, old: Arc<State>) {
        let reloader = self.clone();
        tokio::spawn(async move {
            retire(old).await;
            reloader.search_in_turn().await;
        });
    }

    async fn search_in_turn(&self) {
        let reloader = self.clone();
        let searched = tokio::task::spawn_blocking(move || {
            let _turn = reloader.turn.lock().unwrap_or_else(PoisonError::into_inner);
            reloader.search_for_new();
        });
        // A panic is reported by itself.
        let _ = searched.await;
    }

    /// The configuration in force.
    pub(super) fn current(&self) -> Arc<Config> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Begins to fetch the feeds that are fetched, in a thread of its own, until what it returns is dropped.
pub(super) fn fetch(reloader: &Reloader) -> io::Result<Schedule> {
    let (orders, news, config) = (reloader.fetching.clone(), reloader.news.clone(), reloader.current());
    orders.fetch(config.remotes.clone());
    Schedule::start(orders, config.versions.clone(), move || news.tell())
}

/// The primaries of zones that feeds are, whose word that a zone has changed has it fetched.
pub(super) fn primaries(config: &Config, fetching: &Orders) -> Primaries {
    let primary = |remote: &Remote| match &remote.publisher {
        Publisher::Zone(primary) => Some(Primary {
            zone: primary.zone.clone(),
            address: primary.address.ip().to_canonical(),
            key: primary.key.as_ref().map(|key| key.name().clone()),
        }),
        Publisher::Http(..) | Publisher::Taxii(..) | Publisher::Misp(..) => None,
    };
    let orders = fetching.clone();
    Primaries::new(
        config.remotes.iter().filter_map(primary).collect(),
        Arc::new(move |zone| orders.notice(zone)),
    )
}

/// Looks after the feeds until the task is aborted.
pub(super) async fn watch(reloader: Reloader) {
    let mut ticks = tokio::time::interval(WATCHING);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // What came in force with the start: its settings may have changed.
    reloader.search_in_turn().await;
    // What came in before this process, and is not in force yet.
    reloader.news.tell();
    let mut watch = Watch::default();
    let mut ends = tokio::time::interval(ENDING);
    loop {
        let is_told = tokio::select! {
            _ = ticks.tick() => false,
            _ = ends.tick() => true,
            () = reloader.news.0.notified() => true,
        };
        let config = reloader.current();
        let looked = tokio::task::spawn_blocking(move || {
            let is_changed = watch.look(&config);
            (watch, is_changed)
        });
        let Ok((looked, is_changed)) = looked.await else { return };
        watch = looked;
        if is_told || is_changed {
            // Reported by itself.
            let _ = reloader.refresh().await;
        }
    }
}

/// What was seen of each file.
#[derive(Default)]
struct Watch {
    files: HashMap<PathBuf, Look>,
}

/// What was seen of a file.
struct Look {
    stamp: Option<Stamp>,
    /// Whether it has changed and may change further.
    is_moving: bool,
}

impl Watch {
    /// Whether a file has something new and stands still.
    fn look(&mut self, config: &Config) -> bool {
        let mut is_changed = false;
        for source in &config.feeds {
            let Origin::File(path) = &source.origin else { continue };
            if self.has_settled(path) {
                is_changed |= !config.versions.feed(&source.name).has_seen(path);
            }
        }
        for path in config.gate.protected.iter().chain(&config.gate.popular) {
            is_changed |= self.has_settled(path);
        }
        is_changed
    }

    /// Whether the file has changed since this was last true of it, and now stands still.
    fn has_settled(&mut self, path: &Path) -> bool {
        let stamp = fs::metadata(path).ok().map(|facts| Stamp::of(&facts));
        let Some(look) = self.files.get_mut(path) else {
            self.files.insert(path.to_owned(), Look { stamp, is_moving: true });
            return false;
        };
        let is_same = look.stamp == stamp;
        if is_same && !look.is_moving {
            return false;
        }
        look.stamp = stamp;
        let Some(stamp) = stamp else {
            if !is_same {
                tracing::warn!("{}: the file is gone; what was read from it stays in force", path.display());
            }
            look.is_moving = false;
            return false;
        };
        let is_old = clock::now().saturating_sub(stamp.changed_at()) > SETTLED;
        look.is_moving = !(is_same || is_old || stamp.is_put());
        !look.is_moving
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_taken_once_it_stands_still() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list.txt");
        let mut watch = Watch::default();
        let write = |text: &str| fs::write(&path, text).unwrap();
        assert!(!watch.has_settled(&path), "it is not there");
        write("one");
        assert!(!watch.has_settled(&path), "somebody may be writing");
        write("one and more");
        assert!(!watch.has_settled(&path));
        assert!(watch.has_settled(&path));
        assert!(!watch.has_settled(&path), "that is known");
        fs::remove_file(&path).unwrap();
        assert!(!watch.has_settled(&path));
        // Put there at once, as by a rename: the inode changed after the content.
        write("two");
        let long_ago = std::time::SystemTime::now() - Duration::from_secs(60);
        fs::File::options().append(true).open(&path).unwrap().set_modified(long_ago).unwrap();
        assert!(watch.has_settled(&path));
        assert!(!watch.has_settled(&path));
    }
}
