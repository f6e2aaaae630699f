//! The store of versions: what each feed's origin gave, under the SHA-256 of its octets, and what became of it.
//!
//! Bytes and bookkeeping only. Nothing is parsed or judged here (`gate` does), nothing is fetched.
//!
//! ```text
//! FOLDER/NAME/state.json      which version is accepted, which are refused and why (see `state`)
//! FOLDER/NAME/<64 digits>     a version, octet by octet as it came, gzip or not; never changed
//! FOLDER/NAME/incoming-…      one on its way in; locked by whoever writes it
//! FOLDER/NAME/lock            held while state.json is read, changed and replaced
//! ```
//!
//! Versions and state are written beside, fsynced and renamed: whenever the machine stops, a version is there
//! whole or not at all, and the state is the old one or the new one. Nothing waits for a lock longer than such a
//! change takes.

mod state;
#[cfg(test)]
mod tests;

use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};

pub use state::{
    Accepted, Candidate, Changes, Counts, Digest, DigestError, Event, Happening, Judge, Refused, Seen, Stamp,
    State, Version, Word,
};

/// The most octets of one version as it comes.
pub const MAX_VERSION: u64 = super::MAX_SIZE;
/// Octets that are copied at once.
const BUFFER: usize = 256 << 10;
/// A version on its way in that nobody has written to for so long, and that is not locked, was left behind.
const ABANDONED: Duration = Duration::from_secs(60);
/// The folder of a feed that is not configured any more goes after this long.
const FORGOTTEN: Duration = Duration::from_secs(30 * 24 * 3600);
const STATE: &str = "state.json";
const INCOMING: &str = "incoming-";

/// Why a version cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refused.
    #[error(
        "{path}: {source}; data_dir must be a folder that the server may write, with room left on its disk"
    )]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The content could not be read to its end: nothing of it is kept.
    #[error("{origin}: {source}")]
    Content {
        /// Where it comes from.
        origin: String,
        /// What the system said.
        source: io::Error,
    },
    /// More octets than a version may have.
    #[error("{origin}: larger than {MAX_VERSION} octets, which no feed may be")]
    TooLarge {
        /// Where it comes from.
        origin: String,
    },
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> StoreError + '_ {
    move |source| StoreError::Io { path: path.to_owned(), source }
}

/// The versions of all feeds.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
}

/// The versions of one feed.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
}

/// Facts about content that comes in.
#[derive(Debug, Clone, Default)]
pub struct Arrival {
    /// From where, for people: a path or a URL without secrets.
    pub origin: String,
    /// The time, microseconds since 1970.
    pub now: i64,
    /// What the file looked like before it was read, where it was one.
    pub seen: Option<Seen>,
    /// What the fetcher wants to remember from now on; put down together with the version, so that it never
    /// takes a version for had that is not there.
    pub fetcher: Option<serde_json::Value>,
}

/// What became of content that came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Staged {
    /// It is new: the next build tries it.
    Candidate(Digest),
    /// It is the accepted version.
    Unchanged(Digest),
    /// It was refused or rejected before.
    Known(Digest),
}

impl Store {
    /// Those in `folder`, which need not exist yet.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Where they are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The versions of the feed with this name.
    ///
    /// The configuration refuses names with slashes and with a dot in front.
    pub fn feed(&self, name: &str) -> Folder {
        Folder { path: self.folder.join(name) }
    }

    /// Removes the folders of feeds that `is_known` has not heard of and that nothing happened to for a month.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn forget(&self, is_known: impl Fn(&str) -> bool) -> Result<(), StoreError> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(failed(&self.folder))?,
        };
        for entry in entries {
            let path = entry.map_err(failed(&self.folder))?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let changed = fs::metadata(path.join(STATE)).and_then(|facts| facts.modified());
            if name.is_some_and(|name| !is_known(name)) && changed.is_ok_and(|at| is_past(at, FORGOTTEN)) {
                fs::remove_dir_all(&path).map_err(failed(&path))?;
            }
        }
        Ok(())
    }
}

fn is_past(time: SystemTime, age: Duration) -> bool {
    SystemTime::now().duration_since(time).is_ok_and(|past| past >= age)
}

impl Folder {
    /// What is known of the feed: nothing, where the folder does not exist.
    ///
    /// # Errors
    /// [`StoreError`], when `state.json` cannot be read. One that holds something else counts as none: the next
    /// [`Self::update`] puts it aside.
    pub fn state(&self) -> Result<State, StoreError> {
        Ok(self.read_state()?.unwrap_or_default())
    }

    /// `None` for a state that is damaged.
    fn read_state(&self) -> Result<Option<State>, StoreError> {
        let path = self.path.join(STATE);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(State::default())),
            text => text.map_err(failed(&path))?,
        };
        let state = serde_json::from_slice::<State>(&text).ok();
        Ok(state.filter(|state| state.layout == state::LAYOUT))
    }

    /// Changes what is known of the feed, alone; afterwards removes versions that nothing names any more.
    ///
    /// # Errors
    /// [`StoreError`]; then everything is as before.
    pub fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> Result<T, StoreError> {
        let _lock = self.lock()?;
        self.update_locked(change)
    }

    fn update_locked<T>(&self, change: impl FnOnce(&mut State) -> T) -> Result<T, StoreError> {
        let path = self.path.join(STATE);
        let mut state = match self.read_state()? {
            Some(state) => state,
            None => {
                let aside = path.with_extension("damaged");
                fs::rename(&path, &aside).map_err(failed(&path))?;
                tracing::error!(
                    "{}: damaged, or of another release; it is now {}, and the feed begins anew",
                    path.display(),
                    aside.display()
                );
                State::default()
            }
        };
        let before = state.clone();
        let result = change(&mut state);
        state.layout = state::LAYOUT;
        if state != before {
            let text = serde_json::to_vec_pretty(&state).map_err(|error| failed(&path)(error.into()))?;
            self.replace(&path, &text).map_err(failed(&path))?;
        }
        self.sweep(&state);
        Ok(result)
    }

    /// Writes `path` beside, fsyncs and renames it.
    fn replace(&self, path: &Path, text: &[u8]) -> io::Result<()> {
        let new = path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        self.sync()
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn lock(&self) -> Result<File, StoreError> {
        fs::create_dir_all(&self.path).map_err(failed(&self.path))?;
        let path = self.path.join("lock");
        let lock = File::create(&path).map_err(failed(&path))?;
        lock.lock().map_err(failed(&path))?;
        Ok(lock)
    }

    /// Takes content in. It is read to its end before anything changes, and without a lock; what cannot be read to
    /// its end leaves nothing behind.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn stage(&self, content: impl Read, arrival: Arrival) -> Result<Staged, StoreError> {
        let Arrival { origin, now, seen, fetcher } = arrival;
        fs::create_dir_all(&self.path).map_err(failed(&self.path))?;
        let incoming = Incoming::new(&self.path)?;
        let (digest, size) = incoming.take(content, &origin)?;
        let _lock = self.lock()?;
        let place = self.path_of(digest);
        // What was damaged or lost since is mended by the way.
        fs::rename(&incoming.path, &place).map_err(failed(&place))?;
        self.sync().map_err(failed(&self.path))?;
        self.update_locked(|state| {
            state.latest = match state.version(digest) {
                Some(known) => Some(known.clone()),
                None => Some(Version { digest, size, arrived_at: now, origin }),
            };
            state.seen = seen.or(state.seen.take());
            state.fetcher = fetcher.or(state.fetcher.take());
            let is_refused = state.refused.iter().any(|refused| refused.version.digest == digest);
            if state.accepted_digest() == Some(digest) {
                Staged::Unchanged(digest)
            } else if is_refused || state.is_rejected(digest) {
                Staged::Known(digest)
            } else {
                Staged::Candidate(digest)
            }
        })
    }

    /// Copies the file at `path` in, if it may have changed since that was done last.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::Content`] when the file cannot be opened or read.
    pub fn stage_file(&self, path: &Path, now: i64) -> Result<Option<Staged>, StoreError> {
        let origin = path.display().to_string();
        let unreadable = |source| StoreError::Content { origin: origin.clone(), source };
        let seen = self.state()?.seen;
        let stamp = stamp(path).map_err(unreadable)?;
        if seen.is_some_and(|seen| seen.is_same(&origin, &stamp)) {
            return Ok(None);
        }
        let file = File::open(path).map_err(unreadable)?;
        let seen = Some(Seen { path: origin.clone(), stamp, at: now });
        self.stage(file, Arrival { origin, now, seen, fetcher: None }).map(Some)
    }

    /// Whether the file at `path` is, for sure, the one that was copied last.
    pub fn has_seen(&self, path: &Path) -> bool {
        let seen = self.state().ok().and_then(|state| state.seen);
        match (seen, stamp(path)) {
            (Some(seen), Ok(stamp)) => seen.is_same(&path.display().to_string(), &stamp),
            _ => false,
        }
    }

    /// Whether the file at `path` looks like the one that was copied last: a little less sure than [`Self::has_seen`]
    /// right after the file has changed.
    pub fn has_seen_alike(&self, path: &Path) -> bool {
        let seen = self.state().ok().and_then(|state| state.seen);
        match (seen, stamp(path)) {
            (Some(seen), Ok(stamp)) => seen.is_alike(&path.display().to_string(), &stamp),
            _ => false,
        }
    }

    /// Keeps a version from being removed until [`State::accept`], [`State::refuse`] or the next call.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn pin(&self, version: &Version) -> Result<(), StoreError> {
        self.update(|state| state.pinned = Some(version.clone()))
    }

    /// Opens a version.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(&self, digest: Digest) -> Result<File, StoreError> {
        let path = self.path_of(digest);
        File::open(&path).map_err(failed(&path))
    }

    /// Puts down what the fetcher wants to remember, where no version came.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn remember(&self, fetcher: serde_json::Value) -> Result<(), StoreError> {
        self.update(|state| state.fetcher = Some(fetcher))
    }

    /// Where a version is.
    pub fn path_of(&self, digest: Digest) -> PathBuf {
        self.path.join(digest.to_string())
    }

    /// Removes versions that the state does not name, and what was left behind half-way.
    fn sweep(&self, state: &State) {
        let Ok(entries) = fs::read_dir(&self.path) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let is_surplus = match name.parse::<Digest>() {
                Ok(digest) => !state.keeps(digest),
                Err(_) => name.starts_with(INCOMING) && is_abandoned(&entry.path()),
            };
            if is_surplus {
                // The next change tries again.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let facts = fs::metadata(path)?;
    if !facts.is_file() {
        // To open a named pipe would wait for its other end.
        return Err(io::Error::other("not a file"));
    }
    Ok(Stamp::of(&facts))
}

fn is_abandoned(path: &Path) -> bool {
    let is_old = fs::metadata(path)
        .and_then(|facts| facts.modified())
        .is_ok_and(|modified| is_past(modified, ABANDONED));
    is_old && File::open(path).is_ok_and(|file| !matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

/// A version on its way in; removed unless it was renamed.
struct Incoming {
    path: PathBuf,
    file: File,
}

impl Incoming {
    fn new(folder: &Path) -> Result<Self, StoreError> {
        // With the process's id no two have one name.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("{INCOMING}{}-{number}", std::process::id()));
        let file = File::create(&path).map_err(failed(&path))?;
        file.lock().map_err(failed(&path))?;
        Ok(Self { path, file })
    }

    /// Writes all of `content` and returns its digest and length.
    fn take(&self, content: impl Read, origin: &str) -> Result<(Digest, u64), StoreError> {
        let mut content = content.take(MAX_VERSION + 1);
        let mut out = BufWriter::with_capacity(BUFFER, &self.file);
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; BUFFER];
        let mut size = 0;
        loop {
            let len = match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(StoreError::Content { origin: origin.to_owned(), source }),
            };
            hasher.update(&buffer[..len]);
            out.write_all(&buffer[..len]).map_err(failed(&self.path))?;
            size += len as u64;
        }
        if size > MAX_VERSION {
            return Err(StoreError::TooLarge { origin: origin.to_owned() });
        }
        out.flush().map_err(failed(&self.path))?;
        drop(out);
        self.file.sync_all().map_err(failed(&self.path))?;
        Ok((Digest(hasher.finalize().into()), size))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // After a rename there is nothing of that name.
        let _ = fs::remove_file(&self.path);
    }
}
