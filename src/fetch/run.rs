//! One fetch of one feed: from what is remembered, by way of its publisher, into the store.
//!
//! One feed is fetched by one process at a time. Whatever happens on the way, versions that are there stay.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::draft::{Draft, Finished, TooLarge};
use super::http::{Ask, Client, HttpError, Options, Reply};
use super::memory::Memory;
use super::misp::{self, EventError, MispError, Validators};
use super::taxii::{self, TaxiiError};
use super::transfer::{self, Kind, Primary, TransferError, Transferred};
use super::{Publisher, Remote};
use crate::clock;
use crate::feed::store::{Arrival, Digest, Folder, Staged, Store, StoreError};
use url::Url;

/// What lists are usually said to be.
const ACCEPT: &str = "text/plain, */*;q=0.5";

/// Why a feed was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// By HTTP.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// From a TAXII server.
    #[error(transparent)]
    Taxii(#[from] TaxiiError),
    /// From a MISP feed.
    #[error(transparent)]
    Misp(#[from] MispError),
    /// By transfer.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// It cannot be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its folder cannot be used.
    #[error("{path}: {source}; data_dir must be a folder that the server may write")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else is at it.
    #[error("another process is fetching it just now")]
    Busy,
}

impl FetchError {
    /// When the publisher wants to be asked again.
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Http(error)
            | Self::Taxii(TaxiiError::Http(error))
            | Self::Misp(MispError::Manifest(error)) => error.retry_after(),
            _ => None,
        }
    }
}

/// What came of a fetch.
#[derive(Debug)]
pub struct Fetched {
    /// The version, or that there is none.
    pub news: News,
    /// Parts that are missing, and why.
    pub missing: Option<(usize, EventError)>,
}

/// Whether something came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Nothing is newer than what is there.
    None,
    /// A version came; how, where it was a zone, and what the store says of it.
    Version(Staged, Option<Kind>),
}

/// A fetch with what was remembered of it.
#[derive(Debug)]
pub struct Report {
    /// What came of it.
    pub result: Result<Fetched, FetchError>,
    /// In how long the next is due.
    pub due: Duration,
    /// Failures in a row, this one included.
    pub failures: u32,
    /// Whether a zone's time has run out.
    pub is_expired: bool,
}

/// Fetches a feed and puts what comes into the store.
pub async fn run(remote: &Remote, store: &Store) -> Report {
    let folder = store.feed(&remote.name);
    let place = store.folder().join(&*remote.name);
    let (memory, result) = match Place::take(&place) {
        Err(error) => (memory_of(&folder, remote), Err(error)),
        Ok(place) => fetch(remote, &folder, &place).await,
    };
    let now = clock::now();
    Report {
        due: match &result {
            // Who is at it writes down when the next is due.
            Err(FetchError::Busy) => Duration::from_secs(60),
            // What cannot be written down must not be tried again at once.
            Err(FetchError::Store(_) | FetchError::Folder { .. }) => Duration::from_secs(300),
            _ => memory.due(remote, now),
        },
        failures: memory.failures,
        is_expired: memory.is_expired(now),
        result,
    }
}

fn memory_of(folder: &Folder, remote: &Remote) -> Memory {
    Memory::of(&folder.state().unwrap_or_default(), &remote.publisher)
}

/// A feed's folder, held for one fetch.
struct Place {
    path: PathBuf,
    _lock: File,
}

impl Place {
    fn take(path: &Path) -> Result<Self, FetchError> {
        let failed = |source| FetchError::Folder { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(failed)?;
        let lock = File::create(path.join("fetch.lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(FetchError::Busy),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}

/// What came, before it is in the store.
struct Catch {
    /// `None`: nothing newer.
    content: Option<Finished>,
    by: Option<Kind>,
    /// The media type, where it may say why the content is none.
    media_type: Option<String>,
    missing: Option<(usize, EventError)>,
}

impl Catch {
    fn of(content: Option<Finished>) -> Self {
        Self { content, by: None, media_type: None, missing: None }
    }
}

async fn fetch(remote: &Remote, folder: &Folder, place: &Place) -> (Memory, Result<Fetched, FetchError>) {
    let state = match folder.state() {
        Ok(state) => state,
        Err(error) => return (memory_of(folder, remote), Err(error.into())),
    };
    let mut memory = Memory::of(&state, &remote.publisher);
    let held = memory.version.and_then(|version| folder.open(version).ok());
    if held.is_none() {
        memory.forget();
    }
    let before = memory.clone();
    let caught = catch(remote, &mut memory, held, &place.path).await;
    let now = clock::now();
    let caught = match caught {
        Ok(caught) => caught,
        Err(error) => {
            memory = before;
            memory.fail(remote, error.to_string(), error.retry_after(), now, &mut rand::rng());
            let result = folder.remember(memory.value()).map_err(FetchError::from).and(Err(error));
            return (memory, result);
        }
    };
    match &caught.missing {
        None => memory.succeed(remote, now, &mut rand::rng()),
        Some((count, why)) => {
            let why = format!("{count} events could not be had: {why}");
            memory.fail(remote, why, None, now, &mut rand::rng());
        }
    }
    let kept = keep(remote, &mut memory, caught.content, caught.media_type, folder, now);
    let result = kept.map(|staged| Fetched {
        news: staged.map_or(News::None, |staged| News::Version(staged, caught.by)),
        missing: caught.missing,
    });
    (memory, result)
}

/// Puts the version and what is remembered of it into the store; one that is there already is nothing new.
fn keep(
    remote: &Remote,
    memory: &mut Memory,
    content: Option<Finished>,
    media_type: Option<String>,
    folder: &Folder,
    now: i64,
) -> Result<Option<Staged>, FetchError> {
    let Some(Finished { file, digest }) = content.filter(|it| memory.version != Some(Digest(it.digest)))
    else {
        folder.remember(memory.value())?;
        return Ok(None);
    };
    memory.version = Some(Digest(digest));
    let mut origin = remote.publisher.to_string();
    // A page in place of a list: who reads of its refusal should not have to guess.
    if let Some(media_type) = media_type.filter(|it| it.starts_with("text/html")) {
        origin = format!("{origin} (sent as {media_type})");
    }
    let arrival = Arrival { origin, now, seen: None, fetcher: Some(memory.value()) };
    Ok(Some(folder.stage(file, arrival)?))
}

async fn catch(
    remote: &Remote,
    memory: &mut Memory,
    held: Option<File>,
    place: &Path,
) -> Result<Catch, FetchError> {
    match &remote.publisher {
        Publisher::Http(url, options) => catch_file(url, options, memory, place).await,
        Publisher::Taxii(url, options) => {
            let mut client = Client::new(options)?;
            let after = memory.added_after.clone();
            let collected =
                taxii::collect(&mut client, url, after.as_deref(), held, options.max_size, place).await?;
            memory.added_after = collected.added_after;
            Ok(Catch::of(collected.content))
        }
        Publisher::Misp(url, options) => {
            let mut client = Client::new(options)?;
            let (etag, last_modified) = (memory.etag.take(), memory.last_modified.take());
            let validators = Validators { etag: etag.as_deref(), last_modified: last_modified.as_deref() };
            let gathered = misp::gather(&mut client, url, validators, held, options.max_size, place).await?;
            (memory.etag, memory.last_modified) = (gathered.etag, gathered.last_modified);
            Ok(Catch { missing: gathered.missing, ..Catch::of(gathered.content) })
        }
        Publisher::Zone(primary) => catch_zone(primary, memory, held, place).await,
    }
}

async fn catch_file(
    url: &Url,
    options: &Options,
    memory: &mut Memory,
    place: &Path,
) -> Result<Catch, FetchError> {
    let write = |error: io::Error| match TooLarge::of(&error) {
        Some(too_large) => HttpError::TooLarge(too_large),
        None => HttpError::Write(error),
    };
    let mut client = Client::new(options)?;
    let mut draft = Draft::create(place, options.max_size).map_err(write)?;
    let ask = Ask {
        url,
        accept: ACCEPT,
        etag: memory.etag.as_deref(),
        last_modified: memory.last_modified.as_deref(),
    };
    let Reply::Content(head) = client.get(ask, &mut draft).await? else { return Ok(Catch::of(None)) };
    (memory.etag, memory.last_modified) = (head.etag(), head.last_modified());
    let content = draft.finish().map_err(write)?;
    Ok(Catch { media_type: head.content_type(), ..Catch::of(Some(content)) })
}

async fn catch_zone(
    primary: &Primary,
    memory: &mut Memory,
    held: Option<File>,
    place: &Path,
) -> Result<Catch, FetchError> {
    let held = memory.zone.map(|zone| zone.serial).zip(held);
    match transfer::transfer(primary, held, place).await? {
        Transferred::Unchanged(soa) => {
            memory.zone = Some(soa.into());
            Ok(Catch::of(None))
        }
        Transferred::Zone { content, soa, by } => {
            memory.zone = Some(soa.into());
            Ok(Catch { by: Some(by), ..Catch::of(Some(content)) })
        }
    }
}
