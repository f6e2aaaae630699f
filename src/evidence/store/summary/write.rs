//! Writing a summary: keys in ascending order, each with its clients, in memory that does not grow with their number.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use zstd::bulk::Compressor;

use super::{Asker, Client, END, Facts, MAGIC, SummaryError, minute};
use crate::evidence::record::{put_address, put_number, put_text};

/// Octets of keys, and of what belongs to them, after which a block ends: one is unpacked in a tenth of a millisecond.
const KEYS: usize = 32 << 10;
const ASKERS: usize = 128 << 10;

/// A summary that is being written.
pub(super) struct Writer {
    main: BufWriter<File>,
    len: u64,
    /// The blocks of keys, in a file without a name until the others are written.
    keys: BufWriter<File>,
    keys_len: u64,
    /// The index of the blocks so far.
    index: Vec<u8>,
    blocks: u64,
    base: u32,
    pending: Pending,
    compressor: Compressor<'static>,
}

/// A block that is not full yet.
#[derive(Default)]
struct Pending {
    first: Vec<u8>,
    last: Vec<u8>,
    keys: Vec<u8>,
    columns: [Vec<u8>; 4],
}

impl Writer {
    /// Begins a file at `path`; `earliest` is the least of the times that will come.
    pub(super) fn create(path: &Path, earliest: i64, level: i32) -> Result<Self, SummaryError> {
        let open = |path: &Path| {
            OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)
        };
        let mut main = BufWriter::new(open(path)?);
        main.write_all(MAGIC)?;
        let mut beside = path.as_os_str().to_owned();
        // As everything that a start removes.
        beside.push(".keys.new");
        let keys = open(Path::new(&beside))?;
        fs::remove_file(&beside)?;
        let mut compressor = Compressor::new(level)?;
        compressor.include_checksum(true)?;
        Ok(Self {
            main,
            len: MAGIC.len() as u64,
            keys: BufWriter::new(keys),
            keys_len: 0,
            index: Vec::new(),
            blocks: 0,
            base: minute(earliest),
            pending: Pending::default(),
            compressor,
        })
    }

    /// Adds a key, which is behind all before it, with those who asked, by their numbers.
    pub(super) fn add(&mut self, key: &[u8], askers: &[Asker]) -> Result<(), SummaryError> {
        let pending = &mut self.pending;
        let mut shared = 0;
        if pending.keys.is_empty() {
            pending.first = key.to_vec();
        } else {
            shared = pending.last.iter().zip(key).take_while(|(one, other)| one == other).count();
        }
        put_number(shared as u64, &mut pending.keys);
        put_number((key.len() - shared) as u64, &mut pending.keys);
        pending.keys.extend(&key[shared..]);
        put_number(askers.len() as u64, &mut pending.keys);
        pending.last.truncate(shared);
        pending.last.extend(&key[shared..]);
        let [clients, firsts, lasts, counts] = &mut pending.columns;
        let mut before = 0;
        for asker in askers {
            put_number((asker.client - before).into(), clients);
            before = asker.client;
            put_number(asker.first.saturating_sub(self.base).into(), firsts);
            put_number(asker.last.saturating_sub(asker.first).into(), lasts);
            put_number(u64::from(asker.count) << 1 | u64::from(asker.was_hit), counts);
        }
        let askers: usize = pending.columns.iter().map(Vec::len).sum();
        if pending.keys.len() >= KEYS || askers >= ASKERS {
            self.end_block()?;
        }
        Ok(())
    }

    fn end_block(&mut self) -> Result<(), SummaryError> {
        let Pending { first, keys, columns, .. } = std::mem::take(&mut self.pending);
        let mut askers = Vec::with_capacity(columns.iter().map(Vec::len).sum::<usize>() + 20);
        for column in &columns {
            put_number(column.len() as u64, &mut askers);
            askers.extend(column);
        }
        let packed_askers = self.compressor.compress(&askers)?;
        self.main.write_all(&packed_askers)?;
        self.len += packed_askers.len() as u64;
        let packed_keys = self.compressor.compress(&keys)?;
        self.keys.write_all(&packed_keys)?;
        self.keys_len += packed_keys.len() as u64;
        put_number(first.len() as u64, &mut self.index);
        self.index.extend(first);
        for len in [packed_askers.len(), packed_keys.len(), askers.len(), keys.len()] {
            put_number(len as u64, &mut self.index);
        }
        self.blocks += 1;
        Ok(())
    }

    /// Ends the file, and returns it and its length; syncing it is the caller's.
    pub(super) fn finish(mut self, clients: &[Client], facts: &Facts) -> Result<(File, u64), SummaryError> {
        if !self.pending.keys.is_empty() {
            self.end_block()?;
        }
        let keys_start = self.len;
        let mut keys = self.keys.into_inner().map_err(io::IntoInnerError::into_error)?;
        keys.seek(SeekFrom::Start(0))?;
        io::copy(&mut keys, &mut self.main)?;

        let mut table = Vec::new();
        for client in clients {
            put_address(client.address, &mut table);
            put_text(client.agency.as_deref(), &mut table);
        }
        let packed_table = self.compressor.compress(&table)?;
        self.main.write_all(&packed_table)?;

        let mut index = Vec::new();
        put_number(self.base.into(), &mut index);
        put_number(facts.earliest.cast_unsigned(), &mut index);
        put_number(facts.latest.cast_unsigned(), &mut index);
        put_number(facts.rows, &mut index);
        put_number(facts.files.len() as u64, &mut index);
        for file in &facts.files {
            put_number(file.number, &mut index);
            put_number(file.earliest.cast_unsigned(), &mut index);
            put_number(file.latest.cast_unsigned(), &mut index);
        }
        put_number(self.blocks, &mut index);
        index.extend(&self.index);
        let packed_index = self.compressor.compress(&index)?;
        self.main.write_all(&packed_index)?;

        let clients_start = keys_start + self.keys_len;
        let index_start = clients_start + packed_table.len() as u64;
        let mut tail = Vec::new();
        for start in [keys_start, clients_start, index_start] {
            tail.extend(start.to_le_bytes());
        }
        for len in [table.len(), index.len()] {
            tail.extend(u32::try_from(len).map_err(io::Error::other)?.to_le_bytes());
        }
        let mut crc = crc32fast::Hasher::new();
        crc.update(&packed_index);
        crc.update(&tail);
        tail.extend(crc.finalize().to_le_bytes());
        tail.extend(END);
        self.main.write_all(&tail)?;
        let len = index_start + (packed_index.len() + tail.len()) as u64;
        Ok((self.main.into_inner().map_err(io::IntoInnerError::into_error)?, len))
    }
}
