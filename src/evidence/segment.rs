//! Write-ahead segments: append-only files of records, one writer each.
//!
//! Owns the files' names and octets, and tells a torn tail from whole records. Which records
//! matter is the store's business.
//!
//! ```text
//! name     CREATED-WRITER.seg         microseconds since 1970 (16 digits), writer number (2 digits)
//! header   8  magic "SACHSEG\x01"
//! then, for each record
//!          2  length of the record, little-endian
//!          4  CRC-32 of the record, little-endian
//!          n  the record (see `record`)
//! ```
//!
//! A record is written before its answer leaves. After kill -9 the page cache still holds it; after
//! a power cut the file may end in the middle of one, which the length or the CRC shows.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::record::{self, Record};

const MAGIC: &[u8; 8] = b"SACHSEG\x01";
const FRAME: usize = 6;

/// A segment's place in time and its writer, as its file name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    /// When it was begun, microseconds since 1970.
    pub created: i64,
    /// Which of the process's writers began it.
    pub writer: u16,
}

impl Id {
    fn file_name(self) -> String {
        format!("{:016}-{:02}.seg", self.created, self.writer)
    }

    fn from_file_name(name: &str) -> Option<Self> {
        let (created, writer) = name.strip_suffix(".seg")?.split_once('-')?;
        Some(Self { created: created.parse().ok()?, writer: writer.parse().ok()? })
    }
}

/// A segment on disk.
#[derive(Debug, Clone)]
pub struct Segment {
    /// What its name says.
    pub id: Id,
    /// Where it is.
    pub path: PathBuf,
    /// Its octets when the folder was listed.
    pub len: u64,
}

/// All segments in `folder`, oldest first; a folder that does not exist has none.
///
/// # Errors
/// What the system said when the folder was read.
pub fn list(folder: &Path) -> io::Result<Vec<Segment>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut segments = Vec::new();
    for entry in entries {
        let entry = entry?;
        let Some(id) = entry.file_name().to_str().and_then(Id::from_file_name) else { continue };
        // A segment may be retired between the two calls.
        let Ok(facts) = entry.metadata() else { continue };
        segments.push(Segment { id, path: entry.path(), len: facts.len() });
    }
    segments.sort_by_key(|segment| segment.id);
    Ok(segments)
}

/// Appends one record with its frame to a batch.
pub fn frame(record: &Record<'_>, batch: &mut Vec<u8>) {
    let start = batch.len();
    batch.extend([0; FRAME]);
    record.encode(batch);
    let body = &batch[start + FRAME..];
    // `record::MAX_LEN` is far below 65536.
    let len = (body.len() as u16).to_le_bytes();
    let crc = crc32fast::hash(body).to_le_bytes();
    batch[start..start + 2].copy_from_slice(&len);
    batch[start + 2..start + FRAME].copy_from_slice(&crc);
}

/// A segment that is being written.
#[derive(Debug)]
pub struct Writer {
    file: File,
    path: PathBuf,
    len: u64,
}

impl Writer {
    /// Begins a segment; where the name is taken, a microsecond later.
    ///
    /// # Errors
    /// What the system said when the file was created.
    pub fn create(folder: &Path, mut id: Id) -> io::Result<Self> {
        loop {
            let path = folder.join(id.file_name());
            match OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => {
                    let mut writer = Self { file, path, len: 0 };
                    let begun = writer.append(MAGIC).and_then(|()| File::open(folder)?.sync_all());
                    if let Err(error) = begun {
                        let _ = fs::remove_file(&writer.path);
                        return Err(error);
                    }
                    return Ok(writer);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => id.created += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Appends a batch of frames, whole or not at all.
    ///
    /// # Errors
    /// What the system said; what was written of the batch is cut off again.
    pub fn append(&mut self, batch: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(batch) {
            // A torn batch in the middle would hide all that comes after it.
            let _ = self.file.set_len(self.len);
            return Err(error);
        }
        self.len += batch.len() as u64;
        Ok(())
    }

    /// The open file, for syncing it from elsewhere.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Octets written.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether no record was written yet.
    pub fn is_empty(&self) -> bool {
        self.len <= MAGIC.len() as u64
    }
}

/// The records in a segment's octets, oldest first; ends where they stop being whole.
pub struct Records<'a> {
    octets: &'a [u8],
    at: usize,
}

impl<'a> Records<'a> {
    /// Starts at the segment's header.
    pub fn new(octets: &'a [u8]) -> Self {
        let at = if octets.starts_with(MAGIC) { MAGIC.len() } else { 0 };
        Self { octets, at }
    }

    /// How many octets at the end belong to no whole record; 0 once a whole segment was read.
    pub fn torn_len(&self) -> usize {
        self.octets.len() - self.at
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        if self.at == 0 {
            return None;
        }
        let (frame, rest) = self.octets.get(self.at..)?.split_first_chunk::<FRAME>()?;
        let len = usize::from(u16::from_le_bytes([frame[0], frame[1]]));
        let body = rest.get(..len)?;
        if len > record::MAX_LEN || crc32fast::hash(body).to_le_bytes() != frame[2..] {
            return None;
        }
        let record = Record::decode(body)?;
        self.at += FRAME + len;
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::sample;
    use super::*;

    #[test]
    fn a_segment_cut_anywhere_keeps_its_whole_records() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::create(folder.path(), Id { created: 5, writer: 1 }).unwrap();
        let mut ends = vec![writer.len()];
        for time in 0..5 {
            let mut batch = Vec::new();
            frame(&sample(time), &mut batch);
            writer.append(&batch).unwrap();
            ends.push(writer.len());
        }
        let octets = fs::read(writer.path()).unwrap();
        for len in 0..=octets.len() {
            let mut records = Records::new(&octets[..len]);
            let whole = ends.iter().filter(|&&end| end <= len as u64).count().saturating_sub(1);
            assert_eq!(records.by_ref().count(), whole, "cut to {len}");
            let is_at_an_end = ends.contains(&(len as u64)) || len == 0;
            assert_eq!(records.torn_len() == 0, is_at_an_end, "cut to {len}");
        }
    }

    #[test]
    fn damage_ends_the_reading_and_never_lies() {
        let mut octets = MAGIC.to_vec();
        for time in 0..3 {
            frame(&sample(time), &mut octets);
        }
        for at in 0..octets.len() {
            let mut damaged = octets.clone();
            damaged[at] ^= 0x10;
            for (n, record) in Records::new(&damaged).enumerate() {
                assert_eq!(record, sample(n as i64), "octet {at} changed");
            }
        }
    }

    #[test]
    fn names_sort_by_time_and_are_never_shared() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("notes.txt"), "not a segment").unwrap();
        for created in [30, 5, 30] {
            Writer::create(folder.path(), Id { created, writer: 0 }).unwrap();
        }
        let created: Vec<i64> =
            list(folder.path()).unwrap().iter().map(|segment| segment.id.created).collect();
        assert_eq!(created, [5, 30, 31]);
        assert!(list(&folder.path().join("missing")).unwrap().is_empty());
    }
}
