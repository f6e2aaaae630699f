//! Versions of feeds as people judge them: which one is meant, how it differs from the one in force, and what is decided.
//!
//! For the commands and the console alike; what a version may do is the gate's, and putting it in force the reloader's.

use std::ops::ControlFlow;

use crate::config::Config;
use crate::feed::gate::Gate;
use crate::feed::source::Source;
use crate::feed::store::{Digest, StoreError, Word};
use crate::update::choose::{self, Chosen};
use crate::update::diff::{self, Difference, Totals};
use crate::update::{self, UpdateError};

/// Why a version is not shown or decided about.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// The configuration has no such feed.
    #[error("no feed is called {name:?}; the configuration has {known}")]
    UnknownFeed {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// More than one is waiting, or none.
    #[error("which feed? write --feed NAME; the configuration has {known}")]
    WhichFeed {
        /// What there is.
        known: String,
    },
    /// There is nothing to decide.
    #[error(
        "feed {feed:?} has no refused version that nobody has decided about; `sachdns feed status {feed}` shows what it has, --version DIGITS takes another one"
    )]
    NothingRefused {
        /// Of which feed.
        feed: String,
    },
    /// It is decided already.
    #[error("feed {feed:?}: version {version} is in force")]
    InForce {
        /// Of which feed.
        feed: String,
        /// Which one.
        version: String,
    },
    /// A version cannot be read or found.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// The store cannot be used.
    #[error(transparent)]
    Versions(#[from] StoreError),
}

fn known(config: &Config) -> String {
    config.feeds.iter().map(|source| &*source.name).collect::<Vec<_>>().join(", ")
}

/// The configured feed with this name.
///
/// # Errors
/// [`ReviewError::UnknownFeed`].
pub fn source<'c>(config: &'c Config, name: &str) -> Result<&'c Source, ReviewError> {
    config
        .feeds
        .iter()
        .find(|source| *source.name == *name)
        .ok_or_else(|| ReviewError::UnknownFeed { name: name.to_owned(), known: known(config) })
}

/// The feed that is meant; where none is named, the one with something to decide about.
///
/// # Errors
/// [`ReviewError::UnknownFeed`] and [`ReviewError::WhichFeed`].
pub fn feed<'c>(config: &'c Config, name: Option<&str>) -> Result<&'c Source, ReviewError> {
    if let Some(name) = name {
        return source(config, name);
    }
    let is_pending =
        |source: &&Source| config.versions.feed(&source.name).state().is_ok_and(|it| it.pending().is_some());
    let mut pending = config.feeds.iter().filter(is_pending);
    match (pending.next(), pending.next(), &*config.feeds) {
        (Some(source), None, _) | (None, None, [source]) => Ok(source),
        _ => Err(ReviewError::WhichFeed { known: known(config) }),
    }
}

/// A version of a feed and the one in force, what was before first.
pub struct Comparison<'c> {
    config: &'c Config,
    source: &'c Source,
    old: Option<Chosen>,
    new: Option<Chosen>,
}

impl<'c> Comparison<'c> {
    /// Of the version that `version` means ([`choose::chosen`]).
    ///
    /// # Errors
    /// [`UpdateError`].
    pub fn new(config: &'c Config, source: &'c Source, version: &str) -> Result<Self, UpdateError> {
        let accepted = choose::accepted(&config.versions, source)?;
        let other = choose::chosen(&config.versions, source, version)?;
        let (old, new) =
            if version == "previous" { (Some(other), accepted) } else { (accepted, Some(other)) };
        Ok(Self { config, source, old, new })
    }

    /// What is compared with what, in words.
    pub fn words(&self) -> String {
        let what =
            |chosen: &Option<Chosen>| chosen.as_ref().map_or("nothing".to_owned(), |it| it.what.clone());
        format!("feed {}: {} against {}", self.source.name, what(&self.new), what(&self.old))
    }

    /// Compares them ([`diff::compare`]).
    ///
    /// # Errors
    /// [`UpdateError`].
    pub fn run(
        self,
        now: i64,
        visit: &mut dyn FnMut(&Difference<'_>) -> ControlFlow<()>,
    ) -> Result<Totals, UpdateError> {
        let gate = Gate::load(&self.config.gate)?;
        let files = [self.old.map(|it| it.file), self.new.map(|it| it.file)];
        let scratch = update::scratch_in(&self.config.versions)?;
        diff::compare(self.source, &gate, files, now, scratch, visit)
    }
}

/// What is decided about a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It is to be put in force.
    Approve,
    /// It is not, and nobody wants to be asked again.
    Reject,
}

/// Decides about the version that `version` means: `refused`, or the first digits of its SHA-256. Returns which one that was.
///
/// # Errors
/// [`ReviewError`]; nothing is decided then.
pub fn decide(
    config: &Config,
    feed: &str,
    version: &str,
    decision: Decision,
    by: &str,
    reason: Option<&str>,
    now: i64,
) -> Result<Digest, ReviewError> {
    let source = source(config, feed)?;
    let folder = config.versions.feed(&source.name);
    let state = folder.state()?;
    let digest = match version {
        "refused" => state.pending().map(|refused| refused.version.digest),
        digits => choose::chosen(&config.versions, source, digits)?.digest,
    };
    let digest = digest.ok_or_else(|| ReviewError::NothingRefused { feed: feed.to_owned() })?;
    let word = Word { digest, by: by.to_owned(), reason: reason.map(str::to_owned), at: now };
    let mut is_in_force = false;
    folder.update(|state| {
        is_in_force = state.accepted_digest() == Some(digest);
        match decision {
            // It came in force meanwhile, perhaps by somebody else's word.
            _ if is_in_force => {}
            Decision::Approve => state.approve(word),
            Decision::Reject => state.reject(word),
        }
    })?;
    if is_in_force {
        return Err(ReviewError::InForce { feed: feed.to_owned(), version: digest.short() });
    }
    Ok(digest)
}
