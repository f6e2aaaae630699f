//! Updating: from the configured feeds to a policy image in its place.
//!
//! Joins `feed`, `policy` and `image`, for the daemon and the commands alike. Blocks while it reads
//! and sorts: never call it where queries are answered. The daemon has it done by [`child`].
//!
//! ```text
//! a feed's file ─► feed::store ─► candidate ─► gate ─► compiler ─► image, renamed ─► state.json: accepted
//!                                     │                                  (in this order: see `make`)
//!                                     └─ refused: kept for review, the accepted version is read instead
//! ```

pub mod child;
pub mod choose;
pub mod diff;
mod find;
mod intake;
mod rounds;
pub mod standing;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::thread;

use sha2::{Digest as _, Sha256};

use crate::feed::gate::{self, Gate, GateError, Reason};
use crate::feed::source::Source;
use crate::feed::store::{self, Store, StoreError};
use crate::image::{self, Digest, Fingerprint, Image, ImageError};
use crate::name::Name;
use crate::policy::compile::{CompileError, Compiled, Compiler};

pub use find::{Listed, line_of};
pub use intake::FeedReport;

use rounds::{Outcome, Rounds};

/// What a policy is made from.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// Names that are NXDOMAIN before any feed is asked.
    pub canaries: &'a [Name],
    /// Feeds in order of precedence.
    pub feeds: &'a [Source],
    /// What no feed may do.
    pub gate: &'a gate::Options,
    /// Where the versions of feeds are kept.
    pub versions: &'a Store,
}

/// Counts up when the same feeds should give another image: a format is read otherwise, for one.
const READING: u32 = 4;

/// Why there is no new policy. The old one is untouched.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// Not one feed has a version that can be served.
    #[error("feed {feed:?}: {why}; there is no version that could be served instead")]
    NoFeed {
        /// The first of them.
        feed: String,
        /// What is wrong with it.
        why: String,
    },
    /// A version cannot be read to its end.
    #[error("feed {feed:?}: {why}")]
    Unreadable {
        /// The feed.
        feed: String,
        /// What is wrong with it.
        why: Reason,
    },
    /// A feed has no such version.
    #[error(
        "feed {feed:?} has no version {version:?}, and there is no such file; it has {known}; or write refused, latest, accepted or previous"
    )]
    NoVersion {
        /// The feed.
        feed: String,
        /// What was asked for.
        version: String,
        /// What it has.
        known: String,
    },
    /// The gate's lists cannot be read.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// The versions of feeds cannot be kept or read.
    #[error(transparent)]
    Versions(#[from] StoreError),
    /// The feeds' names cannot be sorted.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The image cannot be written or read back.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The folder for it cannot be used.
    #[error("{path}: {source}; data_dir must be a folder that the server may write")]
    Folder {
        /// The folder or lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The building process refused, in its own words: one of the reasons above.
    #[error("{0}")]
    Refused(String),
    /// The building process ended without a word.
    #[error(
        "the process that builds the policy ended early ({status}); reload again, and if it is killed again, see the kernel's log: the machine may have too little memory"
    )]
    Died {
        /// How it ended.
        status: ExitStatus,
    },
    /// The building process cannot be waited for.
    #[error("waiting for the process that builds the policy: {0}")]
    Waiting(io::Error),
    /// Each time another build put its own image in place.
    #[error("{path}: other builds keep replacing the image; wait for their end, and reload again")]
    Overtaken {
        /// The image.
        path: PathBuf,
    },
    /// The server stops, and its build with it.
    #[error("the server is stopping")]
    Stopping,
}

/// An image, and what came of each feed if it was built just now.
pub type Update = (Image, Option<Vec<FeedReport>>);
/// What a build gives.
pub type Built = (Image, Vec<FeedReport>);

/// Copies the files of feeds that may have changed into the store, at a low priority: most often they hold what they
/// held, and no process need be started. Trouble with a file is told where it is read next.
pub fn take_in(plan: Plan<'_>, now: i64) {
    let news = |source: &'_ Source| {
        let (folder, path) = (plan.versions.feed(&source.name), source.origin.file()?.to_owned());
        (!folder.has_seen(&path)).then_some((folder, path))
    };
    let news: Vec<_> = plan.feeds.iter().filter_map(news).collect();
    if news.is_empty() {
        return;
    }
    // A thread cannot take its priority back: it gets one of its own.
    thread::scope(|scope| {
        scope.spawn(|| {
            child::step_back();
            for (folder, path) in news {
                let _ = folder.stage_file(&path, now);
            }
        });
    });
}

/// Opens the image at `path` if it is whole and there is nothing new to be put into it, and has it built anew
/// otherwise.
///
/// # Errors
/// Those of `build`.
pub fn renew(
    plan: Plan<'_>,
    path: &Path,
    now: i64,
    build: impl FnOnce() -> Result<Update, UpdateError>,
) -> Result<Update, UpdateError> {
    // Most often it is not, and need not be verified to be replaced.
    if image::fingerprint(path).is_ok_and(|of_image| is_current(plan, &of_image))
        && !is_due(plan, now)
        && let OnDisk::Ours(image) = on_disk(plan, path)
    {
        return Ok((image, None));
    }
    build()
}

/// Opens the image at `path` if it is whole and was made by the same settings, whichever versions of the feeds
/// it holds: a start waits for no feed. Otherwise has it built anew; where that fails, an older image that is whole
/// is better than none.
///
/// # Errors
/// Those of `build`, when there is no older image.
pub fn ensure(
    plan: Plan<'_>,
    path: &Path,
    build: impl FnOnce() -> Result<Update, UpdateError>,
) -> Result<Update, UpdateError> {
    let old = match on_disk(plan, path) {
        OnDisk::Ours(image) => return Ok((image, None)),
        OnDisk::Other(image) => Some(image),
        OnDisk::Nothing => None,
    };
    match (build(), old) {
        (Ok(update), _) => Ok(update),
        (Err(error), Some(old)) => {
            tracing::error!(%error, "no new policy could be built; the OLD one is served: mend it, then `sachdns reload`");
            Ok((old, None))
        }
        (Err(error), None) => Err(error),
    }
}

/// The image that is there already.
enum OnDisk {
    /// Whole, and made by these settings.
    Ours(Image),
    /// Whole, and made by others.
    Other(Image),
    Nothing,
}

fn on_disk(plan: Plan<'_>, path: &Path) -> OnDisk {
    let settings = gate::digest(plan.gate).ok().map(|gate| settings(plan, gate));
    match image::open(path) {
        Ok(image) if settings.is_some_and(|it| image.facts.fingerprint[..HALF] == it) => OnDisk::Ours(image),
        Ok(image) => OnDisk::Other(image),
        Err(ImageError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => OnDisk::Nothing,
        Err(error) => {
            // Whatever is wrong with the old image, a new one mends it.
            tracing::warn!(%error, "the policy image is built anew");
            OnDisk::Nothing
        }
    }
}

/// Builds the image from its feeds, puts it in place and opens it.
///
/// # Errors
/// [`UpdateError`]; the image that was there stays.
pub fn build(plan: Plan<'_>, path: &Path, now: i64) -> Result<Built, UpdateError> {
    let _lock = lock(path)?;
    let (_, reports) = make(plan, path, now, Need::Always)?;
    Ok((image::open(path)?, reports.unwrap_or_default()))
}

/// Makes the image's folder, and waits until nobody else builds there: a server's reload and a
/// `policy build` by hand may meet. The lock goes with the file.
fn lock(path: &Path) -> Result<File, UpdateError> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let lock_path = path.with_extension("lock");
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| UpdateError::Folder { path, source }
    };
    fs::create_dir_all(folder).map_err(failed(folder))?;
    let lock = File::create(&lock_path).map_err(failed(&lock_path))?;
    lock.lock().map_err(failed(&lock_path))?;
    Ok(lock)
}

/// What [`make`] is to do where nothing is new.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Builds all the same.
    Always,
    /// Leaves the image as it is.
    IfNew,
}

/// Builds the image and puts it in place; call it under [`lock`]. Without reports, it is as it was.
///
/// The image comes first, then what the store says is in force: whoever stops in between serves the new image, and
/// judges and builds the same once more.
fn make(
    plan: Plan<'_>,
    path: &Path,
    now: i64,
    need: Need,
) -> Result<(Digest, Option<Vec<FeedReport>>), UpdateError> {
    image::remove_scratch(path);
    let gate = Gate::load(plan.gate)?;
    let mut rounds = Rounds::prepare(plan, &gate, now)?;
    let settings = settings(plan, gate.digest());
    let of_these = |versions| {
        let image = image::open(path).ok()?;
        (image.facts.fingerprint == join(settings, contents(versions))).then_some(image.facts.digest)
    };
    // A file may have changed, and hold what it held.
    if need == Need::IfNew
        && let Some(digest) = rounds.all_accepted(now).and_then(of_these)
    {
        return Ok((digest, None));
    }
    let runs = path.with_extension("runs");
    let there = Cell::new(None);
    let is_there = |versions| {
        there.set(if need == Need::IfNew { of_these(versions) } else { None });
        there.get().is_some()
    };
    let compiler = |feeds| Ok(Compiler::with_scratch(feeds, scratch(&runs)?));
    let read = match (rounds.run_unless(now, compiler, is_there)?, there.get()) {
        (Outcome::New(read), _) => read,
        (Outcome::AsItWas(reports), digest) => {
            rounds.compare(now)?;
            return Ok((digest.unwrap_or_default(), Some(reports)));
        }
    };
    let fingerprint = join(settings, contents(read.versions.iter().copied()));
    let digest = image::write(path, &read.compiled, &fingerprint, now)?;
    let is_settled = rounds.settle(&read)?;
    rounds.compare(now)?;
    if let Err(error) = plan.versions.forget(|name| plan.feeds.iter().any(|feed| *feed.name == *name)) {
        tracing::warn!(%error, "versions of feeds that are not configured any more stay");
    }
    if !is_settled {
        // Without what somebody rejected while it was read.
        return make(plan, path, now, need);
    }
    Ok((digest, Some(read.reports)))
}

/// An empty file without a name in the store's folder.
///
/// # Errors
/// [`UpdateError::Folder`].
pub fn scratch_in(versions: &Store) -> Result<File, UpdateError> {
    let path = versions.folder().join(format!("sorting-{}", std::process::id()));
    fs::create_dir_all(versions.folder())
        .map_err(|source| UpdateError::Folder { path: versions.folder().to_owned(), source })?;
    scratch(&path)
}

/// An empty file without a name, so that it goes with its process.
fn scratch(path: &Path) -> Result<File, UpdateError> {
    let failed = |source| UpdateError::Folder { path: path.to_owned(), source };
    // There may be one whose process was killed before the next line but one.
    let file = File::options().read(true).write(true).create(true).truncate(true).open(path);
    let file = file.map_err(failed)?;
    fs::remove_file(path).map_err(failed)?;
    Ok(file)
}

/// Reads all feeds as they lie there as of `now`, in microseconds since 1970, and compiles their rules in memory;
/// changes nothing.
///
/// # Errors
/// [`UpdateError`]. A version that the gate would refuse is among the troubles of its feed's report.
pub fn compile(plan: Plan<'_>, now: i64) -> Result<(Compiled, Vec<FeedReport>), UpdateError> {
    let gate = Gate::load(plan.gate)?;
    let read = Rounds::rehearse(plan, &gate)?.run(now, |feeds| Ok(Compiler::new(feeds)))?;
    Ok((read.compiled, read.reports))
}

/// Builds the image that would be in force if the feed of this name had what the file at `version` has, and all others
/// what they have; writes it to `image`. Names that no feed may take are left out.
///
/// # Errors
/// [`UpdateError`], when the version cannot be read, or the image not be written.
pub fn what_if(
    plan: Plan<'_>,
    feed: &str,
    version: &Path,
    image: &Path,
    now: i64,
) -> Result<Image, UpdateError> {
    let gate = Gate::load(plan.gate)?;
    let runs = image.with_extension("runs");
    let read = Rounds::what_if(plan, &gate, feed, version)?
        .run(now, |feeds| Ok(Compiler::with_scratch(feeds, scratch(&runs)?)))?;
    if let Some(report) =
        read.reports.iter().find(|report| report.name == feed && !report.troubles.is_empty())
    {
        return Err(UpdateError::NoFeed { feed: feed.to_owned(), why: report.troubles.join("; ") });
    }
    image::write(image, &read.compiled, &Fingerprint::default(), now)?;
    Ok(image::open(image)?)
}

/// Whether indicators in force have ended since they were read.
pub fn is_due(plan: Plan<'_>, now: i64) -> bool {
    let is_due = |source: &Source| plan.versions.feed(&source.name).state().is_ok_and(|it| it.is_due(now));
    plan.feeds.iter().any(is_due)
}

/// Whether an image with this fingerprint holds all that there is.
pub fn is_current(plan: Plan<'_>, of_image: &Fingerprint) -> bool {
    has_no_news(plan, of_image).unwrap_or(false)
}

fn has_no_news(plan: Plan<'_>, of_image: &Fingerprint) -> Result<bool, UpdateError> {
    let gate = gate::digest(plan.gate)?;
    let mut versions = Vec::new();
    for source in plan.feeds {
        let folder = plan.versions.feed(&source.name);
        let state = folder.state()?;
        // What is not there brings nothing new.
        let is_changed =
            source.origin.file().is_some_and(|path| path.exists() && !folder.has_seen_alike(path));
        if is_changed || state.candidate(rounds::rules(gate, source)).is_some() {
            return Ok(false);
        }
        versions.push(state.accepted_digest());
    }
    Ok(*of_image == join(settings(plan, gate), contents(versions)))
}

/// Octets of a fingerprint that tell the settings; the others tell the versions of the feeds.
const HALF: usize = size_of::<Fingerprint>() / 2;

fn join(settings: [u8; HALF], contents: [u8; HALF]) -> Fingerprint {
    let mut fingerprint = Fingerprint::default();
    fingerprint[..HALF].copy_from_slice(&settings);
    fingerprint[HALF..].copy_from_slice(&contents);
    fingerprint
}

/// Digests everything but the feeds' versions that an image depends on; `gate` is the digest of the gate's rules.
fn settings(plan: Plan<'_>, gate: store::Digest) -> [u8; HALF] {
    let mut hasher = Sha256::new();
    let mut field = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    field(env!("CARGO_PKG_VERSION").as_bytes());
    field(&READING.to_le_bytes());
    field(&gate.0);
    for name in plan.canaries {
        field(name.as_wire());
    }
    for source in plan.feeds {
        field(&child::digest_of(source).0);
    }
    half(hasher)
}

/// Digests which versions an image is made of.
fn contents(versions: impl IntoIterator<Item = Option<store::Digest>>) -> [u8; HALF] {
    let mut hasher = Sha256::new();
    for version in versions {
        hasher.update(version.map_or([0; 32], |digest| digest.0));
    }
    half(hasher)
}

fn half(hasher: Sha256) -> [u8; HALF] {
    let mut half = [0; HALF];
    half.copy_from_slice(&hasher.finalize()[..HALF]);
    half
}
