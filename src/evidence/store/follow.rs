//! Records as they come: reads on where the segments ended before.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::{Filter, StoreError, finds};
use crate::evidence::record::Record;
use crate::evidence::segment::{self, Id, Records};

/// Octets that are read at once.
const PART: usize = 4 << 20;
/// Hits that were found later, which are read at once.
const FINDS: usize = 1000;

/// Follows the log in a folder.
#[derive(Debug)]
pub struct Follower {
    folder: PathBuf,
    /// Each segment that is there, and up to where it was read.
    open: HashMap<Id, (File, u64)>,
    /// Up to which number hits were read that were found later; `None` until there can be any.
    finds: Option<i64>,
}

impl Follower {
    /// Follows the log in `folder` from its beginning; hits that are found later, from now on.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), open: HashMap::new(), finds: None }
    }

    /// Passes over what is there.
    ///
    /// # Errors
    /// [`StoreError`], when the records cannot be read.
    pub fn skip(&mut self) -> Result<(), StoreError> {
        self.poll(&Filter { until: Some(i64::MIN), ..Filter::default() }, &mut |_| ())
    }

    /// Calls `visit` with the records that came since the last call and that `filter` takes, by their time.
    ///
    /// # Errors
    /// [`StoreError`], when the records cannot be read.
    pub fn poll(&mut self, filter: &Filter, visit: &mut dyn FnMut(&Record<'_>)) -> Result<(), StoreError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::Read { path, source }
        };
        let listed = segment::list(&self.folder).map_err(failed(&self.folder))?;
        for segment in &listed {
            if self.open.contains_key(&segment.id) {
                continue;
            }
            match File::open(&segment.path) {
                Ok(file) => {
                    self.open.insert(segment.id, (file, 0));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(&segment.path)(error)),
            }
        }
        let mut found: Vec<(i64, Vec<u8>)> = Vec::new();
        let mut octets = Vec::new();
        for (file, at) in self.open.values_mut() {
            loop {
                let read = read_part(file, *at, &mut octets).map_err(failed(&self.folder))?;
                let mut records = if *at == 0 { Records::new(&octets) } else { Records::behind(&octets) };
                for record in records.by_ref() {
                    if filter.takes(&record) {
                        let mut octets = Vec::new();
                        record.encode(record.time, &mut octets);
                        found.push((record.time, octets));
                    }
                }
                let consumed = records.consumed();
                *at += consumed as u64;
                if read < PART || consumed == 0 {
                    break;
                }
            }
        }
        if let Some(at) = self.finds {
            let to = finds::finds_after(&self.folder, at, FINDS, &mut |record| {
                if filter.takes(record) {
                    let mut octets = Vec::new();
                    record.encode(record.time, &mut octets);
                    found.push((record.time, octets));
                }
            })?;
            self.finds = Some(to);
        } else {
            self.finds = finds::newest(&self.folder)?;
        }
        // One that is gone was read to its end.
        self.open.retain(|id, _| listed.iter().any(|segment| segment.id == *id));
        found.sort();
        for (time, octets) in &found {
            if let Some(record) = Record::decode(octets, *time) {
                visit(&record);
            }
        }
        Ok(())
    }
}

fn read_part(file: &File, at: u64, octets: &mut Vec<u8>) -> io::Result<usize> {
    octets.resize(PART, 0);
    let mut filled = 0;
    while filled < PART {
        match file.read_at(&mut octets[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    octets.truncate(filled);
    Ok(filled)
}
