//! Hunts that analysts start: who asked for these names, or was answered these addresses, searched through in the background.
//!
//! ```text
//! data_dir/console/hunts/NUMBER.json     what was sought, by whom, and what came of it
//! data_dir/console/hunts/NUMBER.jsonl    what was found: a client and a name or address a line, those seen last first
//! ```
//!
//! Few run at once, by threads at a low priority; what one finds is written beside and renamed, so that a hunt is over or is not. One
//! that the server's stop cut off says so. Old ones go when there are many.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::house::House;
use crate::evidence::store::names::{Gathering, Label, Needles, Reach, What};
use crate::evidence::store::{Filter, Store, Watch};
use crate::feed::{self, Diagnostic, Format, Indicator, Reading, Sink, Value};
use crate::name;
use crate::policy::trigger::Scope;

/// Hunts that run at once.
const AT_ONCE: usize = 2;
/// Hunts that are kept.
const MOST: usize = 100;
/// Names and addresses of one hunt.
const MOST_SOUGHT: usize = 20_000;
/// … of them those that are shown.
const SHOWN: usize = 200;
/// Lines that are kept of what was found.
const MOST_FOUND: usize = 20_000;
/// As the console's own threads have it.
const NICE: i32 = 10;

/// How far a hunt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Stage {
    /// It is searched.
    Running,
    /// All was searched.
    Done,
    /// Somebody stopped it: what was found by then is there.
    Stopped,
    /// The server stopped.
    CutOff,
    /// It failed.
    Failed,
}

/// A hunt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hunt {
    /// Its number: when it was begun.
    pub(super) number: i64,
    /// What it is about, in its starter's words.
    pub(super) title: String,
    /// Who started it.
    pub(super) by: String,
    /// From when on queries are searched.
    pub(super) since: i64,
    /// The first of what is sought.
    pub(super) sought: Vec<String>,
    /// How much is sought in all.
    pub(super) count: usize,
    /// How far it is.
    pub(super) stage: Stage,
    /// When it ended.
    pub(super) ended: Option<i64>,
    /// Lines that were found.
    pub(super) found: usize,
    /// … of so many clients.
    pub(super) clients: usize,
    /// Why it failed.
    pub(super) trouble: Option<String>,
}

/// What was found: somebody asked for something, or was answered it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Find {
    /// Who.
    pub(super) client: IpAddr,
    /// Its agency.
    pub(super) agency: Option<String>,
    /// What: a name or an address.
    pub(super) what: String,
    /// When first, microseconds since 1970.
    pub(super) first: i64,
    /// … and last.
    pub(super) last: i64,
    /// How often.
    pub(super) count: u64,
    /// Whether it was blocked.
    pub(super) was_hit: bool,
}

/// Why a hunt is not begun.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum HuntError {
    /// Nothing in the text can be sought; the first fault.
    #[error("nothing in the text can be sought: write names and addresses, one a line")]
    Nothing(Option<String>),
    /// More than so much.
    #[error("more than {0} names and addresses")]
    Many(usize),
    /// Others run.
    #[error("other hunts are running: wait for their end")]
    Busy,
    /// The disk.
    #[error("{0}")]
    Disk(String),
}

/// What somebody wants to know who asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// What it is about.
    pub title: &'a str,
    /// Names and addresses, in any format of feeds.
    pub text: &'a str,
    /// From when on queries are searched.
    pub since: i64,
    /// Who wants it.
    pub by: &'a str,
}

/// A hunt that runs.
#[derive(Debug)]
struct Running {
    number: i64,
    done: AtomicU64,
    total: AtomicU64,
    stop: AtomicBool,
}

impl Watch for &Running {
    fn progress(&mut self, done: u64, total: u64) -> ControlFlow<()> {
        self.done.store(done, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
        if self.stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// All hunts of a data folder.
#[derive(Debug)]
pub struct Hunts {
    folder: PathBuf,
    running: Mutex<Vec<Arc<Running>>>,
}

impl Hunts {
    /// Those below this folder. Whatever ran there was cut off.
    pub fn new(data_dir: &Path) -> Self {
        let hunts = Self { folder: data_dir.join("console").join("hunts"), running: Mutex::default() };
        for mut hunt in hunts.all().into_iter().filter(|hunt| hunt.stage == Stage::Running) {
            hunt.stage = Stage::CutOff;
            if let Err(error) = hunts.write(&hunt) {
                tracing::warn!(%error, "a hunt that was cut off stays as it is");
            }
        }
        hunts
    }

    /// All of them, the last begun first.
    pub(super) fn all(&self) -> Vec<Hunt> {
        let mut all: Vec<Hunt> = self.numbers().into_iter().filter_map(|number| self.find(number)).collect();
        all.sort_by_key(|hunt| std::cmp::Reverse(hunt.number));
        all
    }

    fn numbers(&self) -> Vec<i64> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
        let number = |entry: fs::DirEntry| entry.file_name().to_str()?.strip_suffix(".json")?.parse().ok();
        entries.flatten().filter_map(number).collect()
    }

    /// The one with this number.
    pub(super) fn find(&self, number: i64) -> Option<Hunt> {
        serde_json::from_slice(&fs::read(self.path(number, "json")).ok()?).ok()
    }

    /// How far one is that runs: done, of how much.
    pub(super) fn progress(&self, number: i64) -> Option<(u64, u64)> {
        let running = self.running();
        let running = running.iter().find(|running| running.number == number)?;
        Some((running.done.load(Ordering::Relaxed), running.total.load(Ordering::Relaxed)))
    }

    /// Ends one early.
    pub(super) fn stop(&self, number: i64) {
        for running in self.running().iter().filter(|running| running.number == number) {
            running.stop.store(true, Ordering::Relaxed);
        }
    }

    /// Removes one that is over.
    pub(super) fn remove(&self, number: i64) {
        if self.progress(number).is_none() {
            for kind in ["json", "jsonl"] {
                let _ = fs::remove_file(self.path(number, kind));
            }
        }
    }

    /// What one found, from a line on; at most `most`.
    pub(super) fn finds(&self, number: i64, from: usize, most: usize) -> Vec<Find> {
        let Ok(file) = File::open(self.path(number, "jsonl")) else { return Vec::new() };
        let lines = BufReader::new(file).lines().map_while(Result::ok);
        lines.skip(from).take(most).filter_map(|line| serde_json::from_str(&line).ok()).collect()
    }

    /// Begins one; its number comes back.
    pub(super) fn start(
        self: &Arc<Self>,
        house: &Arc<dyn House>,
        wish: &Wish<'_>,
        now: i64,
    ) -> Result<i64, HuntError> {
        let (work, needles) = self.begin(wish, now)?;
        let (number, house) = (work.run.number, Arc::clone(house));
        let spawned = std::thread::Builder::new().name("console-hunt".to_owned()).spawn(move || {
            // Of this thread only, as Linux has it.
            let _ = rustix::process::setpriority_process(None, NICE);
            work.run(&*house.log(), needles);
        });
        spawned?;
        Ok(number)
    }

    /// Has one made by who waits for it, as of a time: for what is made up.
    ///
    /// # Errors
    /// [`HuntError`].
    pub fn make(self: &Arc<Self>, log: &dyn Store, wish: &Wish<'_>, now: i64) -> Result<(), HuntError> {
        let (work, needles) = self.begin(wish, now)?;
        let number = work.run.number;
        work.run(log, needles);
        match self.find(number) {
            Some(hunt) => Ok(self.write(&Hunt { ended: Some(now), ..hunt })?),
            None => Ok(()),
        }
    }

    fn begin(self: &Arc<Self>, wish: &Wish<'_>, now: i64) -> Result<(Work, Needles), HuntError> {
        let (needles, sought) = gather(wish.text, now)?;
        let mut running = self.running();
        if running.len() >= AT_ONCE {
            return Err(HuntError::Busy);
        }
        let known = self.numbers();
        let mut number = now;
        while known.contains(&number) {
            number += 1;
        }
        let count = needles.len();
        let hunt = Hunt {
            number,
            title: wish.title.to_owned(),
            by: wish.by.to_owned(),
            since: wish.since,
            sought,
            count,
            stage: Stage::Running,
            ended: None,
            found: 0,
            clients: 0,
            trouble: None,
        };
        fs::create_dir_all(&self.folder)?;
        self.write(&hunt)?;
        self.thin(known);
        let run = Arc::new(Running { number, done: 0.into(), total: 0.into(), stop: false.into() });
        // Work that is not begun ends itself, for which it needs the lock.
        running.push(Arc::clone(&run));
        Ok((Work { hunts: Arc::clone(self), run, hunt: Some(hunt) }, needles))
    }

    /// Lets the oldest go.
    fn thin(&self, mut known: Vec<i64>) {
        known.sort_unstable();
        let over = (known.len() + 1).saturating_sub(MOST);
        for number in known.into_iter().take(over) {
            for kind in ["json", "jsonl"] {
                let _ = fs::remove_file(self.path(number, kind));
            }
        }
    }

    fn write(&self, hunt: &Hunt) -> io::Result<()> {
        let octets = serde_json::to_vec_pretty(hunt)?;
        self.replace(&self.path(hunt.number, "json"), |out| out.write_all(&octets))
    }

    /// Writes beside, syncs and renames.
    fn replace(
        &self,
        path: &Path,
        write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> io::Result<()> {
        let beside = path.with_extension("new");
        let mut out = BufWriter::new(File::create(&beside)?);
        write(&mut out)?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&beside, path)?;
        File::open(&self.folder)?.sync_all()
    }

    fn path(&self, number: i64, kind: &str) -> PathBuf {
        self.folder.join(format!("{number}.{kind}"))
    }

    fn running(&self) -> MutexGuard<'_, Vec<Arc<Running>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<io::Error> for HuntError {
    fn from(error: io::Error) -> Self {
        Self::Disk(error.to_string())
    }
}

/// A hunt on its thread; however that ends, it is told.
struct Work {
    hunts: Arc<Hunts>,
    run: Arc<Running>,
    hunt: Option<Hunt>,
}

impl Work {
    fn run(mut self, log: &dyn Store, needles: Needles) {
        let Some(mut hunt) = self.hunt.take() else { return };
        let filter = Filter { sought: Some(Arc::new(needles)), since: Some(hunt.since), ..Filter::default() };
        match log.sightings(&filter, &mut &*self.run) {
            Ok((sightings, scan)) => {
                hunt.stage = if scan.is_stopped { Stage::Stopped } else { Stage::Done };
                hunt.found = sightings.len();
                let clients: std::collections::HashSet<IpAddr> =
                    sightings.iter().map(|it| it.client).collect();
                hunt.clients = clients.len();
                let path = self.hunts.path(hunt.number, "jsonl");
                let written = self.hunts.replace(&path, |out| {
                    for sighting in sightings.iter().take(MOST_FOUND) {
                        let find = Find {
                            client: sighting.client,
                            agency: sighting.agency.clone(),
                            what: match &sighting.what {
                                What::Name(name) => name.to_string(),
                                What::Address(address) => address.to_string(),
                            },
                            first: sighting.first,
                            last: sighting.last,
                            count: sighting.count,
                            was_hit: sighting.was_hit,
                        };
                        serde_json::to_writer(&mut *out, &find)?;
                        out.write_all(b"\n")?;
                    }
                    Ok(())
                });
                if let Err(error) = written {
                    (hunt.stage, hunt.trouble) = (Stage::Failed, Some(error.to_string()));
                }
            }
            Err(error) => (hunt.stage, hunt.trouble) = (Stage::Failed, Some(error.to_string())),
        }
        self.hunt = Some(hunt);
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let number = self.run.number;
        let mut hunt = self.hunt.take().or_else(|| self.hunts.find(number));
        if let Some(hunt) = &mut hunt {
            if hunt.stage == Stage::Running {
                hunt.stage = Stage::Failed;
            }
            hunt.ended = Some(crate::clock::now());
            if let Err(error) = self.hunts.write(hunt) {
                tracing::warn!(%error, "what a hunt found cannot be kept");
            }
        }
        self.hunts.running().retain(|running| running.number != number);
    }
}

/// What a text asks to seek, and the first of it as it was read.
fn gather(text: &str, now: i64) -> Result<(Needles, Vec<String>), HuntError> {
    let mut gathered = Gathered::default();
    let reading = Reading { format: Format::Auto, now, ..Reading::default() };
    let read = feed::parse(text.as_bytes(), &reading, &mut gathered);
    if gathered.count > MOST_SOUGHT {
        return Err(HuntError::Many(MOST_SOUGHT));
    }
    let needles = gathered.gathering.finish();
    if needles.is_empty() {
        return Err(HuntError::Nothing(gathered.fault.or_else(|| read.err().map(|error| error.to_string()))));
    }
    Ok((needles, gathered.shown))
}

#[derive(Default)]
struct Gathered {
    gathering: Gathering,
    shown: Vec<String>,
    count: usize,
    fault: Option<String>,
}

impl Sink for Gathered {
    fn indicator(&mut self, indicator: Indicator) {
        self.count += 1;
        if self.count > MOST_SOUGHT {
            return;
        }
        let label = Label { family: indicator.family, ..Label::default() };
        let shown = match indicator.value {
            Value::Name(name, scope) => {
                let (reach, shown) = match scope {
                    Scope::Exact => (Reach::Exact, name.to_string()),
                    Scope::Subtree => (Reach::Subtree, format!("{name} (+ *.{name})")),
                    Scope::Below => (Reach::Below, format!("*.{name}")),
                };
                self.gathering.add_name(name::Key::from(&name).as_bytes(), reach, &label);
                shown
            }
            Value::Ip(address) => {
                self.gathering.add_net(address.into(), &label);
                address.to_string()
            }
            Value::Net(net) => {
                self.gathering.add_net(net, &label);
                net.to_string()
            }
            // The log knows names and addresses only.
            Value::Url(_) => return,
        };
        if self.shown.len() < SHOWN {
            self.shown.push(shown);
        }
    }

    fn diagnostic(&mut self, diagnostic: Diagnostic) {
        self.fault.get_or_insert_with(|| diagnostic.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{MARKERS, NOW, Scratch};
    use super::*;

    fn ended(hunts: &Hunts, number: i64) -> Hunt {
        let begun = std::time::Instant::now();
        loop {
            if hunts.progress(number).is_none() {
                return hunts.find(number).unwrap();
            }
            assert!(begun.elapsed().as_secs() < 20, "the hunt does not end");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_hunt_finds_who_asked_and_is_kept() {
        let scratch = Scratch::new();
        let house: Arc<dyn House> = scratch.clone();
        let hunts = Arc::new(Hunts::new(scratch.data_dir()));
        let text = format!("c2.{}.example\nhxxp://no.such[.]example/\n192.0.2.0/24\n", MARKERS[1]);
        let number = hunts
            .start(&house, &Wish { title: "thử", text: &text, since: NOW - 86_400_000_000, by: "an" }, NOW)
            .unwrap();
        let hunt = ended(&hunts, number);
        assert_eq!((hunt.stage, hunt.found, hunt.clients, hunt.trouble), (Stage::Done, 1, 1, None));
        let finds = hunts.finds(number, 0, 10);
        assert_eq!((finds[0].client, finds[0].count, finds[0].was_hit), (Scratch::client(1), 5, true));
        assert_eq!(hunts.finds(number, 1, 10), []);
        // One that was cut off says so at the next start.
        hunts.write(&Hunt { stage: Stage::Running, ..hunts.find(number).unwrap() }).unwrap();
        assert_eq!(Hunts::new(scratch.data_dir()).all()[0].stage, Stage::CutOff);
        hunts.remove(number);
        assert!(hunts.all().is_empty());
    }

    #[test]
    fn what_cannot_be_sought_is_told() {
        let scratch = Scratch::empty();
        let house: Arc<dyn House> = scratch.clone();
        let hunts = Arc::new(Hunts::new(scratch.data_dir()));
        let start = |text: &str| hunts.start(&house, &Wish { title: "", text, since: 0, by: "an" }, NOW);
        assert!(matches!(start(""), Err(HuntError::Nothing(_))));
        assert!(matches!(start("<html>"), Err(HuntError::Nothing(Some(_)))));
        let many: String = (0..=MOST_SOUGHT).map(|n| format!("n{n}.example\n")).collect();
        assert_eq!(start(&many), Err(HuntError::Many(MOST_SOUGHT)));
    }
}
