//! Replaying the log under the policy that would be in force if a feed had another version.
//!
//! Builds that policy beside the one in force, reads the log, and leaves nothing behind. For the command and the console alike; the
//! comparing is `replay`'s.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{DaemonError, RulesError, guard, plan};
use crate::client::Agencies;
use crate::clock;
use crate::config::Config;
use crate::evidence::store::{Filter, Store, StoreError};
use crate::feed::source::Source;
use crate::image::{self, Image, ImageError};
use crate::replay::{self, Replay};
use crate::rules::history::History;
use crate::serve::rulebook::Rulebook;
use crate::update::{self, UpdateError};

/// Why nothing is replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// There is nothing to compare with.
    #[error(
        "{path}: no policy image here; `sachdns policy build` makes one, or check data_dir and the working directory"
    )]
    NoImage {
        /// Where it would be.
        path: PathBuf,
    },
    /// The image in force cannot be opened.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The other policy cannot be built.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// Guarded names or analysts' rules cannot be read.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] StoreError),
}

/// Replays the queries that `filter` takes under the policy in which `source` has the version at `version`; `go_on` is asked as
/// [`replay::replay`] says.
///
/// # Errors
/// [`ReplayError`].
pub fn replay(
    config: &Config,
    log: &dyn Store,
    source: &Source,
    version: &Path,
    filter: &Filter,
    go_on: &mut dyn FnMut(u64) -> bool,
) -> Result<Replay, ReplayError> {
    let path = config.image_path();
    let in_force = image::open(&path).map_err(|error| match error {
        ImageError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            ReplayError::NoImage { path: std::path::absolute(&path).unwrap_or(path.clone()) }
        }
        error => error.into(),
    })?;
    let scratch = Scratch(config.data_dir.join(format!("replay-{}.img", std::process::id())));
    let otherwise = update::what_if(plan(config), &source.name, version, &scratch.0, clock::now())?;
    // It stays mapped.
    drop(scratch);
    let agencies =
        Agencies::new(config.agencies.clone()).expect("the configuration refuses a network of two agencies");
    let books = [book(config, &agencies, in_force)?, book(config, &agencies, otherwise)?];
    Ok(replay::replay(log, filter, &agencies, [&books[0], &books[1]], go_on)?)
}

/// What queries are decided by, with this image.
fn book(config: &Config, agencies: &Agencies, image: Image) -> Result<Rulebook, DaemonError> {
    let reading = History::new(&config.data_dir).read().map_err(RulesError::from)?;
    let own = reading.book.own(clock::now()).map_err(RulesError::from)?.map(Arc::new);
    let book = Rulebook::new(image).with(guard(config)?, config.reaches.clone(), agencies);
    Ok(book.with_own(own, agencies))
}

/// A file that goes when this does.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
        let _ = std::fs::remove_file(Path::new(&self.0).with_extension("runs"));
    }
}
