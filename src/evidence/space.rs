//! Room on the disk: where it runs short, the last of it is for hits.
//!
//! A file of the log's own holds some room back. When less than as much is free, only hits are recorded,
//! and all other queries are counted; when nothing is free any more, the file is given up for
//! them. Once there is room again, all is as before. DNS goes on all the while.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// What is held back at the most, in octets.
const MOST: u64 = 64 << 20;
/// … and of `log.max_size`.
const SHARE: u64 = 16;

/// The room that the log has left.
#[derive(Debug)]
pub(super) struct Space {
    folder: PathBuf,
    size: u64,
    /// Whether room is held back; locked while that changes.
    is_held: Mutex<bool>,
    is_scarce: AtomicBool,
    /// Records of other queries than hits that were not written, in all.
    dropped: AtomicU64,
    dropped_before: AtomicU64,
}

impl Space {
    /// Of the log in `folder`, which takes at most `max_size` octets. Nothing is held yet.
    pub(super) fn new(folder: &Path, max_size: u64) -> Self {
        Self {
            folder: folder.to_owned(),
            size: (max_size / SHARE).min(MOST),
            is_held: Mutex::new(false),
            is_scarce: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            dropped_before: AtomicU64::new(0),
        }
    }

    /// Octets that are held back.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Whether only hits are recorded.
    pub(super) fn is_scarce(&self) -> bool {
        self.is_scarce.load(Ordering::Relaxed)
    }

    /// Records that were dropped so that hits find room.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Counts records that are dropped.
    pub(super) fn drop_records(&self, count: u64) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }

    /// A write found no room: from now on only hits are recorded, in what was held back.
    pub(super) fn run_out(&self) {
        self.begin();
        // Whoever comes second waits until the room is free.
        let mut is_held = self.is_held();
        if !std::mem::take(&mut *is_held) {
            return;
        }
        if let Err(error) = std::fs::remove_file(self.path())
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::error!(path = %self.path().display(), %error, "the room held back for hits cannot be freed");
        }
    }

    /// Looks how much is free, and begins or ends to record hits only.
    ///
    /// # Errors
    /// What the system said when it was asked, or when room could not be held back though there is some.
    pub(super) fn look(&self) -> io::Result<()> {
        let facts = statvfs(&self.folder)?;
        let free = facts.f_bavail.saturating_mul(facts.f_frsize);
        if free < self.size {
            self.begin();
            return Ok(());
        }
        if free < 2 * self.size {
            return Ok(());
        }
        // It may have been moved away with the folder.
        let mut is_held = self.is_held();
        if !*is_held || !self.path().exists() {
            match self.hold() {
                Ok(()) => *is_held = true,
                // A quota, of which the file system's figures say nothing: there is no room yet.
                Err(_) if self.is_scarce() => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        drop(is_held);
        if self.is_scarce.swap(false, Ordering::Relaxed) {
            let dropped = self.dropped() - self.dropped_before.load(Ordering::Relaxed);
            tracing::warn!(dropped, "the disk has room again: all queries are recorded");
        }
        Ok(())
    }

    fn begin(&self) {
        if !self.is_scarce.swap(true, Ordering::Relaxed) {
            self.dropped_before.store(self.dropped(), Ordering::Relaxed);
            tracing::error!(
                folder = %self.folder.display(),
                "the disk is nearly full: only hits are recorded, other queries are COUNTED; free disk space"
            );
        }
    }

    fn hold(&self) -> io::Result<()> {
        let file: File =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(self.path())?;
        match fallocate(&file, FallocateFlags::empty(), 0, self.size) {
            // A file system that cannot promise room has none to hold back.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
            result => Ok(result?),
        }
    }

    fn is_held(&self) -> MutexGuard<'_, bool> {
        // Whatever panicked, the flag is whole.
        self.is_held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self) -> PathBuf {
        self.folder.join("reserve")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_held_back_and_given_up_and_held_again() {
        let folder = tempfile::tempdir().unwrap();
        let space = Space::new(folder.path(), 1 << 20);
        let held = || std::fs::metadata(folder.path().join("reserve")).map_or(0, |facts| facts.len());
        space.look().unwrap();
        assert!(!space.is_scarce());
        assert_eq!(held(), 1 << 16);
        space.drop_records(5);
        space.run_out();
        assert!(space.is_scarce());
        assert_eq!(held(), 0);
        space.drop_records(2);
        space.look().unwrap();
        assert!(!space.is_scarce());
        assert_eq!((held(), space.dropped()), (1 << 16, 7));
    }

    #[test]
    fn more_than_there_is_begins_with_hits_only() {
        let folder = tempfile::tempdir().unwrap();
        let space = Space { size: u64::MAX / 4, ..Space::new(folder.path(), 0) };
        space.look().unwrap();
        assert!(space.is_scarce());
    }
}
