//! Write-ahead segments: append-only files of records, one writer each.
//!
//! Owns the files' names and octets, and tells a torn tail from whole records. Which records
//! matter is the store's business, who begins and closes segments the ledger's and the keeper's.
//!
//! ```text
//! name     NUMBER-WRITER.seg          sequence number (10 digits), writer number (3 digits)
//! header   8  magic "SACHSEG\x03"
//! then, for each batch, a block
//!          4  magic "BLK\n"
//!          4  length of all that follows, little-endian
//!          4  CRC-32 of all that follows, little-endian
//!          8  time, little-endian, microseconds since 1970: that of the first record
//!             for each record
//!          2  length of the record, little-endian
//!          n  the record (see `record`)
//! trailer, in a closed segment
//!          8  magic "SACHEND\x01"
//!          8  time of the earliest record, little-endian, microseconds since 1970
//!          8  time of the latest record, likewise
//!          8  number of records, little-endian
//!          4  CRC-32 of the trailer's 32 octets before, little-endian
//! ```
//!
//! A block is written before its answers leave. After kill -9 the page cache still holds it; after
//! a power cut the file may end in the middle of one, which the length or the CRC shows.
//!
//! Numbers only grow, whatever the clock does, and say nothing of time: a clock may step back, and a
//! segment of a quiet writer takes long to fill. Only the trailer tells which times a segment
//! covers. A segment without one is open, or its process was killed, or its tail is torn; then all of
//! it must be read to know.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::record::{self, Head, Record};

/// A segment's first octets.
pub(crate) const MAGIC: &[u8; 8] = b"SACHSEG\x03";
/// A block's first octets.
pub(crate) const BLOCK: &[u8; 4] = b"BLK\n";
/// Octets before a block's time.
pub(crate) const BLOCK_HEADER: usize = 12;
/// … and before its first record.
const BLOCK_RECORDS: usize = BLOCK_HEADER + 8;
/// The longest block that is read. What is written is far shorter, see [`Block::is_full`].
pub(crate) const MAX_BLOCK: usize = 1 << 20;
/// Octets of a segment without records.
pub(crate) const EMPTY_LEN: u64 = MAGIC.len() as u64;
const END: &[u8; 8] = b"SACHEND\x01";
const TRAILER: usize = 36;
/// A name with a greater number was not given by us, and must not make ours overflow.
const MAX_NUMBER: u64 = 1 << 50;

/// A segment's number and its writer, as its file name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// Greater than that of every segment begun before, by any writer.
    pub number: u64,
    /// Which of the process's writers began it.
    pub writer: u16,
}

impl Id {
    /// Its file's name.
    pub fn file_name(self) -> String {
        format!("{:010}-{:03}.seg", self.number, self.writer)
    }

    fn from_file_name(name: &str) -> Option<Self> {
        let (number, writer) = name.strip_suffix(".seg")?.split_once('-')?;
        let id = Self { number: number.parse().ok()?, writer: writer.parse().ok()? };
        // Nothing but what we would write ourselves: `+1-0.seg` is somebody else's.
        (id.number <= MAX_NUMBER && id.file_name() == name).then_some(id)
    }
}

/// How many records, and which times they cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The earliest time, microseconds since 1970.
    pub earliest: i64,
    /// The latest time, likewise.
    pub latest: i64,
    /// Number of records.
    pub count: u64,
}

impl Span {
    /// No records.
    pub const EMPTY: Self = Self { earliest: i64::MAX, latest: i64::MIN, count: 0 };

    /// Adds a record of this time.
    pub fn add(&mut self, time: i64) {
        self.join(Self { earliest: time, latest: time, count: 1 });
    }

    /// Adds the records of another span.
    pub fn join(&mut self, other: Self) {
        self.earliest = self.earliest.min(other.earliest);
        self.latest = self.latest.max(other.latest);
        self.count += other.count;
    }

    fn trailer(self) -> [u8; TRAILER] {
        let mut octets = [0; TRAILER];
        octets[..8].copy_from_slice(END);
        octets[8..16].copy_from_slice(&self.earliest.to_le_bytes());
        octets[16..24].copy_from_slice(&self.latest.to_le_bytes());
        octets[24..32].copy_from_slice(&self.count.to_le_bytes());
        let crc = crc32fast::hash(&octets[..32]).to_le_bytes();
        octets[32..].copy_from_slice(&crc);
        octets
    }

    fn from_trailer(octets: &[u8]) -> Option<Self> {
        let (fields, crc) = octets.split_at_checked(TRAILER - 4)?;
        let rest = fields.strip_prefix(END)?;
        if crc != crc32fast::hash(fields).to_le_bytes() {
            return None;
        }
        let ([earliest, latest, count], []) = rest.as_chunks::<8>() else { return None };
        Some(Self {
            earliest: i64::from_le_bytes(*earliest),
            latest: i64::from_le_bytes(*latest),
            count: u64::from_le_bytes(*count),
        })
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
    /// When it was last written, microseconds since 1970 by the clock of then.
    pub modified: i64,
}

/// What a segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Survey {
    /// Its records.
    pub span: Span,
    /// Octets looked at; records behind them came later.
    pub len: u64,
    /// Whether it is whole, and closed.
    pub end: End,
}

/// How a segment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With a trailer.
    Sealed,
    /// With a whole record.
    Whole,
    /// With so many octets that are no whole record.
    Torn(usize),
}

impl Segment {
    /// Finds what it holds: by its trailer, else by reading all of it.
    ///
    /// # Errors
    /// What the system said.
    pub fn survey(&self) -> io::Result<Survey> {
        survey(&File::open(&self.path)?)
    }

    /// What its trailer says; `None` where there is none.
    ///
    /// # Errors
    /// What the system said.
    pub fn sealed_span(&self) -> io::Result<Option<Span>> {
        Ok(trailer(&File::open(&self.path)?)?.map(|(span, _)| span))
    }

    /// Adds the trailer to a segment that its process could not close.
    ///
    /// # Errors
    /// What the system said; the segment is as it was.
    pub fn seal(&self, survey: &Survey) -> io::Result<()> {
        let file = OpenOptions::new().append(true).open(&self.path)?;
        seal(&file, survey.len, survey.span)
    }
}

/// Finds what a segment holds: by its trailer, else by reading all of it.
pub(super) fn survey(file: &File) -> io::Result<Survey> {
    if let Some((span, len)) = trailer(file)? {
        return Ok(Survey { span, len, end: End::Sealed });
    }
    let mut octets = Vec::new();
    read(file, u64::MAX, &mut octets)?;
    let mut records = Records::new(&octets);
    let mut span = Span::EMPTY;
    for record in records.by_ref() {
        span.add(record.time);
    }
    // It may have been sealed since the trailer was looked for; then nothing is torn either.
    let end = match records.damaged_len() {
        0 => End::Whole,
        torn => End::Torn(torn),
    };
    Ok(Survey { span, len: octets.len() as u64, end })
}

/// Reads a segment's first `len` octets into `octets`, which is emptied before.
pub(super) fn read(mut file: &File, len: u64, octets: &mut Vec<u8>) -> io::Result<()> {
    octets.clear();
    file.seek(SeekFrom::Start(0))?;
    file.take(len).read_to_end(octets)?;
    Ok(())
}

/// What the trailer says, and the length of the file.
pub(super) fn trailer(file: &File) -> io::Result<Option<(Span, u64)>> {
    let len = file.metadata()?.len();
    let Some(at) = len.checked_sub(TRAILER as u64).filter(|&at| at >= MAGIC.len() as u64) else {
        return Ok(None);
    };
    let mut octets = [0; TRAILER];
    file.read_exact_at(&mut octets, at)?;
    Ok(Span::from_trailer(&octets).map(|span| (span, len)))
}

/// Ends a file of `len` octets with its trailer, and brings both to the disk.
fn seal(mut file: &File, len: u64, span: Span) -> io::Result<()> {
    // The records first: a trailer vouches for them.
    file.sync_data()?;
    let added = file.write_all(&span.trailer()).and_then(|()| file.sync_data());
    if added.is_err() {
        let _ = file.set_len(len);
    }
    added
}

/// All segments in `folder` by number; a folder that does not exist has none.
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
        // A segment may be retired between the two calls; a folder or a link is not ours.
        let Some(facts) = entry.metadata().ok().filter(fs::Metadata::is_file) else { continue };
        let modified = facts.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let modified = modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let modified = i64::try_from(modified).unwrap_or(i64::MAX);
        segments.push(Segment { id, path: entry.path(), len: facts.len(), modified });
    }
    segments.sort_by_key(|segment| segment.id);
    Ok(segments)
}

/// A batch of records, as it goes into a segment with one write.
#[derive(Debug)]
pub struct Block {
    octets: Vec<u8>,
    /// Of the first record.
    time: i64,
    span: Span,
}

impl Default for Block {
    fn default() -> Self {
        Self { octets: vec![0; BLOCK_RECORDS], time: 0, span: Span::EMPTY }
    }
}

impl Block {
    /// Adds a record.
    pub fn add(&mut self, record: &Record<'_>) {
        self.add_record(record.time, |block, octets| record.encode(block, octets));
    }

    /// Adds a record whose tail was encoded before, by [`Record::encode_tail`].
    pub fn add_with_tail(&mut self, head: &Head<'_>, tail: &[u8]) {
        self.add_record(head.time, |block, octets| {
            head.encode(block, octets);
            octets.extend(tail);
        });
    }

    fn add_record(&mut self, time: i64, encode: impl FnOnce(i64, &mut Vec<u8>)) {
        if self.span.count == 0 {
            self.time = time;
            self.octets[BLOCK_HEADER..].copy_from_slice(&time.to_le_bytes());
        }
        let start = self.octets.len();
        // At once, so that the small parts of a record find room.
        self.octets.reserve(2 + record::MAX_LEN);
        self.octets.extend([0; 2]);
        encode(self.time, &mut self.octets);
        // `record::MAX_LEN` is far below 65536.
        let len = (self.octets.len() - start - 2) as u16;
        self.octets[start..start + 2].copy_from_slice(&len.to_le_bytes());
        self.span.add(time);
    }

    /// Takes all records out that are no hits.
    pub fn retain_hits(&mut self) {
        let block = &self.octets[BLOCK_RECORDS..];
        let records = Records { octets: &[], at: 0, is_segment: false, block, time: self.time, damaged: 0 };
        let mut hits = Self::default();
        for record in records.filter(|record| record.is_hit) {
            hits.add(&record);
        }
        *self = hits;
    }

    /// Whether it must be written before more is added, so that it is found again.
    pub fn is_full(&self) -> bool {
        self.octets.len() > MAX_BLOCK / 2
    }

    /// How many records it has, and which times they cover.
    pub fn span(&self) -> Span {
        self.span
    }

    /// Its octets in a segment.
    pub fn seal(&mut self) -> &[u8] {
        let (header, rest) = self.octets.split_at_mut(BLOCK_HEADER);
        header[..4].copy_from_slice(BLOCK);
        // `is_full` sees to it that this fits.
        header[4..8].copy_from_slice(&(rest.len() as u32).to_le_bytes());
        header[8..].copy_from_slice(&crc32fast::hash(rest).to_le_bytes());
        &self.octets
    }

    /// Octets that [`Self::seal`] gives.
    pub fn sealed_len(&self) -> usize {
        self.octets.len()
    }

    /// Forgets its records and keeps its memory.
    pub fn clear(&mut self) {
        self.octets.truncate(BLOCK_RECORDS);
        self.span = Span::EMPTY;
    }
}

/// A segment that is being written.
#[derive(Debug)]
pub struct Writer {
    id: Id,
    file: Arc<File>,
    path: PathBuf,
    len: u64,
    span: Span,
    is_torn: bool,
}

impl Writer {
    /// Begins a segment. Its entry in the folder is not synced yet.
    ///
    /// # Errors
    /// What the system said; `AlreadyExists` where the name is taken.
    pub fn create(folder: &Path, id: Id) -> io::Result<Self> {
        let path = folder.join(id.file_name());
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path)?;
        if let Err(error) = (&file).write_all(MAGIC) {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(Self::over(file, path, id))
    }

    fn over(file: File, path: PathBuf, id: Id) -> Self {
        Self { id, file: Arc::new(file), path, len: MAGIC.len() as u64, span: Span::EMPTY, is_torn: false }
    }

    /// Appends a block, whole or not at all.
    ///
    /// # Errors
    /// What the system said; what was written of the block is cut off again, or else the segment
    /// [is torn](Self::is_torn).
    pub fn append(&mut self, block: &mut Block) -> io::Result<()> {
        let octets = block.seal();
        if let Err(error) = (&*self.file).write_all(octets) {
            self.is_torn = self.file.set_len(self.len).is_err();
            return Err(error);
        }
        self.len += octets.len() as u64;
        self.span.join(block.span());
        Ok(())
    }

    /// Ends the segment: syncs it, adds the trailer, syncs that. What is torn gets none.
    ///
    /// # Errors
    /// What the system said; it can be tried again.
    pub fn seal(&self) -> io::Result<()> {
        if self.is_torn { self.file.sync_data() } else { seal(&self.file, self.len, self.span) }
    }

    /// What its name says.
    pub fn id(&self) -> Id {
        self.id
    }

    /// The open file, for syncing it from elsewhere.
    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Octets once `block` is appended and the segment is sealed.
    pub fn len_with(&self, block: &Block) -> u64 {
        self.len + (block.sealed_len() + TRAILER) as u64
    }

    /// Whether no record was written yet.
    pub fn is_empty(&self) -> bool {
        self.span.count == 0
    }

    /// Whether a block was written in part and could not be cut off: it ends its segment.
    pub fn is_torn(&self) -> bool {
        self.is_torn
    }
}

/// The whole records in a segment's octets, oldest first. What is damaged is passed over and counted:
/// one bad sector must not hide the records behind it.
pub struct Records<'a> {
    octets: &'a [u8],
    /// Where the next block is looked for.
    at: usize,
    is_segment: bool,
    /// What is left of the block before, and its time.
    block: &'a [u8],
    time: i64,
    damaged: usize,
}

impl<'a> Records<'a> {
    /// Starts at the segment's header.
    pub fn new(octets: &'a [u8]) -> Self {
        let is_segment = octets.starts_with(MAGIC);
        let at = if is_segment { MAGIC.len() } else { 0 };
        Self { octets, at, is_segment, block: &[], time: 0, damaged: 0 }
    }

    /// Starts between two blocks, with the octets behind what was [consumed](Self::consumed) before.
    pub(super) fn behind(octets: &'a [u8]) -> Self {
        Self { octets, at: 0, is_segment: true, block: &[], time: 0, damaged: 0 }
    }

    /// Where the last whole block ends that was begun to be read: there a reader goes on that comes back for more.
    pub fn consumed(&self) -> usize {
        self.at
    }

    /// How many octets belong to no whole record; complete once all records were read. A tail that a
    /// power cut tore counts too.
    pub fn damaged_len(&self) -> usize {
        let rest = &self.octets[self.at..];
        let tail = if self.is_segment && Span::from_trailer(rest).is_some() { 0 } else { rest.len() };
        self.damaged + self.block.len() + tail
    }

    /// The next record with its octets.
    pub fn next_with_octets(&mut self) -> Option<(&'a [u8], Record<'a>)> {
        loop {
            if let Some((len, rest)) = self.block.split_first_chunk::<2>() {
                let len = usize::from(u16::from_le_bytes(*len));
                let whole = rest
                    .split_at_checked(len)
                    .and_then(|(body, rest)| Some((body, Record::decode(body, self.time)?, rest)));
                let Some((body, record, rest)) = whole else {
                    // The CRC fits, so somebody wrote it so: no version of ours.
                    self.damaged += self.block.len();
                    self.block = &[];
                    continue;
                };
                self.block = rest;
                return Some((body, record));
            }
            self.damaged += self.block.len();
            self.block = &[];
            if !self.is_segment {
                return None;
            }
            // Behind damage the next block is looked for by its magic; its CRC tells it from chance.
            let (start, block) =
                (self.at..self.octets.len()).find_map(|start| Some((start, self.block_at(start)?)))?;
            self.damaged += start - self.at;
            self.at = start + BLOCK_HEADER + block.len();
            let (time, records) = block.split_first_chunk().unwrap_or((&[0; 8], &[]));
            (self.time, self.block) = (i64::from_le_bytes(*time), records);
        }
    }

    fn block_at(&self, start: usize) -> Option<&'a [u8]> {
        let (header, rest) = self.octets.get(start..)?.split_first_chunk::<BLOCK_HEADER>()?;
        let [magic, len, crc] = [0, 4, 8].map(|at| &header[at..at + 4]);
        if magic != BLOCK {
            return None;
        }
        let len = u32::from_le_bytes(len.try_into().ok()?) as usize;
        let block = rest.get(..len).filter(|_| len <= MAX_BLOCK)?;
        (crc32fast::hash(block).to_le_bytes() == crc).then_some(block)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        self.next_with_octets().map(|(_, record)| record)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::record::tests::sample;
    use super::*;

    /// A segment over a device that the test chose for its faults. Its path is a link, so that
    /// whatever is done to the path, tests run by root included, the device stays.
    pub(crate) fn over(device: &str, folder: &Path) -> Writer {
        let path = folder.join("device");
        std::os::unix::fs::symlink(device, &path).unwrap();
        Writer::over(OpenOptions::new().write(true).open(&path).unwrap(), path, id(9))
    }

    fn id(number: u64) -> Id {
        Id { number, writer: 1 }
    }

    fn append(writer: &mut Writer, time: i64) {
        let mut block = Block::default();
        block.add(&sample(time));
        writer.append(&mut block).unwrap();
    }

    #[test]
    fn a_segment_cut_anywhere_keeps_its_whole_records() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::create(folder.path(), id(5)).unwrap();
        let mut ends = vec![writer.len];
        for time in 0..5 {
            append(&mut writer, time);
            ends.push(writer.len);
        }
        writer.seal().unwrap();
        let octets = fs::read(writer.path()).unwrap();
        for len in 0..=octets.len() {
            let mut records = Records::new(&octets[..len]);
            let whole = ends.iter().filter(|&&end| end <= len as u64).count().saturating_sub(1);
            assert_eq!(records.by_ref().count(), whole, "cut to {len}");
            let is_at_an_end = ends.contains(&(len as u64)) || [0, octets.len()].contains(&len);
            assert_eq!(records.damaged_len() == 0, is_at_an_end, "cut to {len}");

            let file = writer.path();
            fs::write(file, &octets[..len]).unwrap();
            let survey = list(folder.path()).unwrap()[0].survey().unwrap();
            assert_eq!(survey.span.count, whole as u64, "cut to {len}");
            assert_eq!(survey.end == End::Sealed, len == octets.len(), "cut to {len}");
            assert_eq!(matches!(survey.end, End::Torn(_)), !is_at_an_end, "cut to {len}");
        }
    }

    #[test]
    fn damage_costs_what_it_hits_and_never_lies() {
        let mut octets = MAGIC.to_vec();
        let mut span = Span::EMPTY;
        let mut ends = vec![octets.len()];
        // Blocks of one, of two and of one record.
        let blocks = [0..1, 1..3, 3..4];
        for times in blocks.clone() {
            let mut block = Block::default();
            for time in times {
                block.add(&sample(time));
            }
            octets.extend(block.seal());
            span.join(block.span());
            ends.push(octets.len());
        }
        let end = octets.len();
        octets.extend(span.trailer());
        for at in 0..octets.len() {
            let mut damaged = octets.clone();
            damaged[at] ^= 0x10;
            let mut records = Records::new(&damaged);
            let times: Vec<i64> = records.by_ref().map(|record| record.time).collect();
            let hit = ends.windows(2).position(|frame| (frame[0]..frame[1]).contains(&at));
            let is_kept = |number: usize| at >= MAGIC.len() && hit != Some(number);
            let kept = blocks.iter().cloned().enumerate().filter(|(number, _)| is_kept(*number));
            let expected: Vec<i64> = kept.flat_map(|(_, times)| times).collect();
            assert_eq!(times, expected, "octet {at} changed");
            assert!(records.damaged_len() > 0, "octet {at} changed");
            let expected = (at < end).then_some(span);
            assert_eq!(Span::from_trailer(&damaged[end..]), expected, "octet {at} changed");
        }
    }

    #[test]
    fn a_trailer_tells_the_times_and_a_leftover_gets_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::create(folder.path(), id(1)).unwrap();
        // The clock stepped back.
        for time in [50, 70, 20] {
            append(&mut writer, time);
        }
        let segment = || list(folder.path()).unwrap().remove(0);
        let span = Span { earliest: 20, latest: 70, count: 3 };
        let survey = segment().survey().unwrap();
        assert_eq!(survey, Survey { span, len: writer.len, end: End::Whole });
        assert_eq!(segment().sealed_span().unwrap(), None);
        segment().seal(&survey).unwrap();
        assert_eq!(segment().sealed_span().unwrap(), Some(span));
        let len = writer.len + TRAILER as u64;
        assert_eq!(segment().survey().unwrap(), Survey { span, len, end: End::Sealed });
    }

    #[test]
    fn names_sort_by_number_and_are_never_shared() {
        let folder = tempfile::tempdir().unwrap();
        for name in
            ["notes.txt", "1795478400000000-00.seg", "+000000001-000.seg", "7-1.seg", "-.seg", "0.seg"]
        {
            fs::write(folder.path().join(name), "not a segment").unwrap();
        }
        fs::write(folder.path().join(format!("{}-000.seg", u64::MAX)), "not ours").unwrap();
        fs::create_dir(folder.path().join("0000000003-000.seg")).unwrap();
        for number in [30, 5] {
            Writer::create(folder.path(), id(number)).unwrap();
        }
        let taken = Writer::create(folder.path(), id(30)).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        let numbers: Vec<u64> =
            list(folder.path()).unwrap().iter().map(|segment| segment.id.number).collect();
        assert_eq!(numbers, [5, 30]);
        assert!(list(&folder.path().join("missing")).unwrap().is_empty());
    }
}
