//! Which version of a feed somebody means.
//!
//! Only looks it up; comparing and judging stand elsewhere.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::UpdateError;
use crate::feed::source::Source;
use crate::feed::store::{Digest, State, Store};

/// Fewest digits by which a version may be named.
const FEWEST_DIGITS: usize = 4;

/// A version, or a file that might become one.
#[derive(Debug)]
pub struct Chosen {
    /// What it is, in words.
    pub what: String,
    /// `None` for a file that is in no store.
    pub digest: Option<Digest>,
    /// Where it is.
    pub path: PathBuf,
    /// Its octets.
    pub file: File,
}

/// The version in force.
///
/// # Errors
/// [`UpdateError`], when it cannot be opened.
pub fn accepted(versions: &Store, source: &Source) -> Result<Option<Chosen>, UpdateError> {
    let state = versions.feed(&source.name).state()?;
    match state.accepted_digest() {
        Some(digest) => open(versions, source, digest, "the version in force").map(Some),
        None => Ok(None),
    }
}

/// The version that `text` means: `refused` (the newest one that is), `latest` (that the origin gave), `accepted`,
/// `previous`, the first digits of a SHA-256, or a file.
///
/// # Errors
/// [`UpdateError::NoVersion`], and when it cannot be opened.
pub fn chosen(versions: &Store, source: &Source, text: &str) -> Result<Chosen, UpdateError> {
    let state = versions.feed(&source.name).state()?;
    let (digest, what) = match text {
        "refused" => (state.refused.last().map(|refused| refused.version.digest), "the refused version"),
        "latest" => (state.latest.as_ref().map(|latest| latest.digest), "the latest version"),
        "accepted" => (state.accepted_digest(), "the version in force"),
        "previous" => (state.previous.as_ref().map(|it| it.version.digest), "the version before"),
        digits => (by_digits(&state, digits), "version"),
    };
    if let Some(digest) = digest {
        return open(versions, source, digest, what);
    }
    let path = Path::new(text);
    // Opening a named pipe would wait for its other end.
    if fs::metadata(path).is_ok_and(|facts| facts.is_file())
        && let Ok(file) = File::open(path)
    {
        let (what, path) = (path.display().to_string(), path.to_owned());
        return Ok(Chosen { what, digest: None, path, file });
    }
    let known = all(&state).map(|digest| digest.short()).collect::<Vec<_>>().join(", ");
    Err(UpdateError::NoVersion { feed: source.name.to_string(), version: text.to_owned(), known })
}

fn open(versions: &Store, source: &Source, digest: Digest, what: &str) -> Result<Chosen, UpdateError> {
    let folder = versions.feed(&source.name);
    let (path, file) = (folder.path_of(digest), folder.open(digest)?);
    let what = match what {
        "version" => format!("version {}", digest.short()),
        what => format!("{what} ({})", digest.short()),
    };
    Ok(Chosen { what, digest: Some(digest), path, file })
}

fn by_digits(state: &State, digits: &str) -> Option<Digest> {
    if digits.len() < FEWEST_DIGITS {
        return None;
    }
    let mut fitting = all(state).filter(|digest| digest.to_string().starts_with(digits));
    let first = fitting.next()?;
    // What could be two is none.
    fitting.all(|other| other == first).then_some(first)
}

/// All versions whose octets are there.
fn all(state: &State) -> impl Iterator<Item = Digest> {
    let accepted = state.accepted.iter().chain(&state.previous).map(|it| it.version.digest);
    let refused = state.refused.iter().map(|refused| refused.version.digest);
    accepted.chain(refused).chain(state.latest.iter().map(|latest| latest.digest))
}
