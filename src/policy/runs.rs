//! Sorted runs: more names than memory should hold are sorted piece by piece, kept in a scratch file
//! and merged.
//!
//! Knows keys and numbers; what a number means is `compile`'s.
//!
//! ```text
//! run:     record …, in the order of keys; of equal keys in the order they came
//! record:  u16 length of the key, u32 number, key                    (numbers are little-endian)
//! ```

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write as _};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

/// Octets that are read or written at once.
const BUFFER: usize = 128 << 10;
const RECORD_HEAD: usize = 6;

/// Keys, each with a number, on their way into order.
pub(crate) struct Runs {
    scratch: Option<Scratch>,
    keys: Vec<u8>,
    entries: Vec<Entry>,
}

/// A key's place in the arena, which is also the order of adding, and its number.
struct Entry {
    /// The key's first octets, zeros where it has fewer: most comparisons end here, without a look into the arena.
    prefix: [u8; 8],
    start: u32,
    len: u16,
    number: u32,
}

/// Where runs go that memory is not meant to hold.
struct Scratch {
    file: File,
    /// Octets of keys and entries that are held in memory at most.
    budget: usize,
    runs: Vec<Range<u64>>,
}

/// More than 4 GiB of keys in memory.
pub(crate) struct Full;

impl Runs {
    /// Holds all keys in memory.
    pub(crate) fn in_memory() -> Self {
        Self { scratch: None, keys: Vec::new(), entries: Vec::new() }
    }

    /// Holds about `budget` octets in memory and the others in `file`, which is empty.
    pub(crate) fn spilling(file: File, budget: usize) -> Self {
        let scratch = Some(Scratch { file, budget, runs: Vec::new() });
        Self { scratch, keys: Vec::new(), entries: Vec::new() }
    }

    /// Adds a key; afterwards see whether it [is time to spill](Runs::is_time_to_spill).
    pub(crate) fn push(&mut self, key: &[u8], number: u32) -> Result<(), Full> {
        let start = u32::try_from(self.keys.len()).map_err(|_| Full)?;
        self.keys.extend_from_slice(key);
        let mut prefix = [0; 8];
        let known = key.len().min(prefix.len());
        prefix[..known].copy_from_slice(&key[..known]);
        // `name::Key` bounds it to a few hundred octets.
        self.entries.push(Entry { prefix, start, len: key.len() as u16, number });
        Ok(())
    }

    pub(crate) fn is_time_to_spill(&self) -> bool {
        let held = self.keys.len() + self.entries.len() * size_of::<Entry>();
        self.scratch.as_ref().is_some_and(|scratch| held >= scratch.budget)
    }

    /// Sorts what is in memory and moves it to the scratch file.
    pub(crate) fn spill(&mut self) -> io::Result<()> {
        self.sort();
        let Some(scratch) = &mut self.scratch else { return Ok(()) };
        let start = scratch.runs.last().map_or(0, |run| run.end);
        let mut end = start;
        // The file's own position is where the last run ended.
        let mut out = BufWriter::with_capacity(BUFFER, &scratch.file);
        for entry in &self.entries {
            out.write_all(&entry.len.to_le_bytes())?;
            out.write_all(&entry.number.to_le_bytes())?;
            out.write_all(key(&self.keys, entry))?;
            end += (RECORD_HEAD + usize::from(entry.len)) as u64;
        }
        out.flush()?;
        scratch.runs.push(start..end);
        self.keys.clear();
        self.entries.clear();
        Ok(())
    }

    /// Ends adding.
    pub(crate) fn finish(mut self) -> io::Result<Self> {
        if self.scratch.as_ref().is_some_and(|scratch| !scratch.runs.is_empty()) {
            self.spill()?;
            (self.keys, self.entries) = (Vec::new(), Vec::new());
        } else {
            self.sort();
        }
        Ok(self)
    }

    fn sort(&mut self) {
        let keys = &self.keys;
        // The start grows with each push, but for the root, whose key is empty.
        self.entries.sort_unstable_by(|a, b| {
            let by_prefix = u64::from_be_bytes(a.prefix).cmp(&u64::from_be_bytes(b.prefix));
            by_prefix
                .then_with(|| key(keys, a).cmp(key(keys, b)))
                .then(a.start.cmp(&b.start))
                .then(a.number.cmp(&b.number))
        });
    }

    /// Calls `visit` with each key once, in order, and its numbers in the order they were added.
    pub(crate) fn merge<E: From<io::Error>>(
        &self,
        mut visit: impl FnMut(&[u8], &[u32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(scratch) = self.scratch.as_ref().filter(|scratch| !scratch.runs.is_empty()) else {
            for same in self.entries.chunk_by(|a, b| key(&self.keys, a) == key(&self.keys, b)) {
                let numbers: Vec<u32> = same.iter().map(|entry| entry.number).collect();
                visit(key(&self.keys, &same[0]), &numbers)?;
            }
            return Ok(());
        };
        let mut heads = BinaryHeap::new();
        for (order, run) in scratch.runs.iter().enumerate() {
            let section = Section { file: &scratch.file, rest: run.clone() };
            let records = BufReader::with_capacity(BUFFER, section);
            let mut head = Head { key: Vec::new(), number: 0, order, records };
            if head.advance()? {
                heads.push(Reverse(head));
            }
        }
        let (mut current, mut numbers) = (Vec::new(), Vec::new());
        while let Some(mut first) = heads.peek_mut() {
            if first.0.key != current && !numbers.is_empty() {
                visit(&current, &numbers)?;
                numbers.clear();
            }
            if numbers.is_empty() {
                current.clone_from(&first.0.key);
            }
            numbers.push(first.0.number);
            if !first.0.advance()? {
                PeekMut::pop(first);
            }
        }
        if !numbers.is_empty() {
            visit(&current, &numbers)?;
        }
        Ok(())
    }
}

fn key<'a>(keys: &'a [u8], entry: &Entry) -> &'a [u8] {
    &keys[entry.start as usize..][..usize::from(entry.len)]
}

/// The first record of a run that is not taken yet.
struct Head<'a> {
    key: Vec<u8>,
    number: u32,
    order: usize,
    records: BufReader<Section<'a>>,
}

impl Head<'_> {
    /// Reads the next record; false at the end of the run.
    fn advance(&mut self) -> io::Result<bool> {
        if self.records.buffer().is_empty() && self.records.get_ref().rest.is_empty() {
            return Ok(false);
        }
        let mut head = [0; RECORD_HEAD];
        self.records.read_exact(&mut head)?;
        let [a, b, number @ ..] = head;
        self.number = u32::from_le_bytes(number);
        self.key.resize(usize::from(u16::from_le_bytes([a, b])), 0);
        self.records.read_exact(&mut self.key)?;
        Ok(true)
    }
}

impl Ord for Head<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key).then(self.order.cmp(&other.order))
    }
}

impl PartialOrd for Head<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head<'_> {}

/// A part of a file that others read too.
struct Section<'a> {
    file: &'a File,
    rest: Range<u64>,
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.rest.end - self.rest.start).unwrap_or(usize::MAX);
        let most = buffer.len().min(left);
        let read = self.file.read_at(&mut buffer[..most], self.rest.start)?;
        self.rest.start += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn merged(mut runs: Runs, pairs: &[(Vec<u8>, u32)]) -> Vec<(Vec<u8>, Vec<u32>)> {
        for (key, number) in pairs {
            assert!(runs.push(key, *number).is_ok());
            if runs.is_time_to_spill() {
                runs.spill().unwrap();
            }
        }
        let mut all = Vec::new();
        let done: io::Result<()> = runs.finish().unwrap().merge(|key, numbers| {
            all.push((key.to_vec(), numbers.to_vec()));
            Ok(())
        });
        done.unwrap();
        all
    }

    proptest! {
        #[test]
        fn runs_merge_as_one_sort_would(
            pairs in prop::collection::vec((prop::collection::vec(0u8..4, 1..5), any::<u32>()), 0..200),
            budget in 1usize..3000,
        ) {
            let mut model = std::collections::BTreeMap::<Vec<u8>, Vec<u32>>::new();
            for (key, number) in &pairs {
                model.entry(key.clone()).or_default().push(*number);
            }
            let model: Vec<_> = model.into_iter().collect();
            prop_assert_eq!(&merged(Runs::in_memory(), &pairs), &model);
            let spilling = Runs::spilling(tempfile::tempfile().unwrap(), budget);
            prop_assert_eq!(&merged(spilling, &pairs), &model);
        }
    }
}
