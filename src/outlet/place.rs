//! An outlet's place: how far it has sent each segment, in a file that survives a kill at any moment.
//!
//! ```json
//! {"version":1,"run":1795646497,"first":7,"sent":1200,"missed":0,"segments":[{"run":1795646497,"number":7,"writer":1,"at":65536}]}
//! ```
//!
//! A run is one process of the server: it may give numbers again that an earlier one gave to segments that are gone, so a segment
//! is named by both. `first` is the run's first number; `at` is where in a segment the next block begins that is not known to have
//! arrived. Of a segment of the last run that is not named, nothing was sent.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::evidence::segment;

const FILE: &str = "place.json";
const NEW: &str = "place.json.new";
const VERSION: u32 = 1;

/// What the file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    version: u32,
    /// When the process was started that saved it, microseconds since 1970.
    pub(super) run: i64,
    /// The number of that process's first segment.
    pub(super) first: u64,
    /// Records that were handed over, ever.
    pub(super) sent: u64,
    /// Records that were not, ever.
    pub(super) missed: u64,
    /// The number of the last hit up to which those were handed over that were found later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) finds: Option<i64>,
    pub(super) segments: Vec<Entry>,
}

/// How far one segment is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) run: i64,
    pub(super) number: u64,
    pub(super) writer: u16,
    pub(super) at: u64,
    /// Nothing more of it is to be sent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) done: bool,
}

impl Place {
    /// Before anything was sent.
    pub(super) fn new(run: i64, first: u64) -> Self {
        Self { version: VERSION, run, first, sent: 0, missed: 0, finds: None, segments: Vec::new() }
    }

    /// What is in the folder; `None` where nothing is, or nothing that can be understood.
    pub(super) fn load(folder: &Path) -> io::Result<Option<Self>> {
        let text = match fs::read(folder.join(FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        match serde_json::from_slice::<Self>(&text) {
            Ok(place) if place.version == VERSION => Ok(Some(place)),
            _ => {
                tracing::warn!(
                    path = %folder.join(FILE).display(),
                    "the outlet's place cannot be read; all that waits for it is sent from its beginning"
                );
                Ok(None)
            }
        }
    }

    /// Puts it in the folder, whole or not at all.
    ///
    /// # Errors
    /// What the system said.
    pub(super) fn save(&self, folder: &Path) -> io::Result<()> {
        let new = folder.join(NEW);
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_data()?;
        fs::rename(&new, folder.join(FILE))
    }
}

/// The folder of a run's segments in an outlet's own.
pub(super) fn run_folder(own: &Path, run: i64) -> PathBuf {
    own.join(format!("{run:016x}"))
}

/// All runs that have such a folder.
pub(super) fn runs(own: &Path) -> io::Result<Vec<i64>> {
    let mut runs = Vec::new();
    for entry in fs::read_dir(own)? {
        let name = entry?.file_name();
        let run = name.to_str().and_then(|name| i64::from_str_radix(name, 16).ok());
        runs.extend(run.filter(|run| run_folder(own, *run).file_name() == Some(&name)));
    }
    runs.sort_unstable();
    Ok(runs)
}

/// Makes a folder of ours where it is missing.
pub(super) fn make(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Removes an outlet's folder with what we put in it, and nothing else.
pub(super) fn remove(own: &Path) {
    for run in runs(own).unwrap_or_default() {
        let folder = run_folder(own, run);
        for segment in segment::list(&folder).unwrap_or_default() {
            let _ = fs::remove_file(segment.path);
        }
        let _ = fs::remove_dir(folder);
    }
    for file in [FILE, NEW] {
        let _ = fs::remove_file(own.join(file));
    }
    if let Err(error) = fs::remove_dir(own) {
        tracing::warn!(path = %own.display(), %error, "what an outlet left that is gone cannot be removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_kept_and_a_torn_one_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("outlets/siem");
        make(&own).unwrap();
        assert_eq!(Place::load(&own).unwrap(), None);
        let mut place = Place::new(9, 7);
        place.segments.push(Entry { run: 9, number: 7, writer: 1, at: 65_536, done: false });
        place.save(&own).unwrap();
        let text = fs::read_to_string(own.join(FILE)).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"version":1,"run":9,"first":7,"sent":0,"missed":0,"#,
                r#""segments":[{"run":9,"number":7,"writer":1,"at":65536}]}"#
            )
        );
        assert_eq!(Place::load(&own).unwrap(), Some(place));
        for len in 0..text.len() {
            fs::write(own.join(FILE), &text[..len]).unwrap();
            assert_eq!(Place::load(&own).unwrap(), None, "cut to {len}");
        }
        make(&run_folder(&own, 9)).unwrap();
        fs::write(run_folder(&own, 9).join("0000000007-001.seg"), "").unwrap();
        assert_eq!(runs(&own).unwrap(), [9]);
        fs::write(own.join("notes.txt"), "somebody's").unwrap();
        remove(&own);
        assert!(own.join("notes.txt").exists() && !own.join(FILE).exists() && runs(&own).unwrap().is_empty());
        fs::remove_file(own.join("notes.txt")).unwrap();
        remove(&own);
        assert!(!own.exists());
    }
}
