//! Reading a summary: the blocks that may hold what is looked for, and all of it in order.

use std::fs::File;
use std::io;
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use zstd::bulk::Decompressor;

use super::{Asker, Client, END, Facts, MAGIC, MOST_UNPACKED, SummaryError, TAIL, minute};
use crate::evidence::record::{address, number, text};
use crate::evidence::store::names::{Gathering, Label, Meeting, Needles, What};
use crate::evidence::store::parquet::FileName;

/// A summary that is read.
pub(in crate::evidence) struct Summary {
    file: File,
    facts: Facts,
    base: u32,
    blocks: Vec<Block>,
    clients: Part,
}

/// What the index says of a block.
struct Block {
    first: Box<[u8]>,
    askers: Part,
    keys: Part,
}

/// A part of the file, and what it unpacks to.
#[derive(Clone, Copy)]
struct Part {
    start: u64,
    len: usize,
    unpacked: usize,
}

/// A key that is looked for, and who asked.
pub(in crate::evidence::store) struct Find<'f> {
    pub(in crate::evidence::store) key: &'f [u8],
    pub(in crate::evidence::store) askers: &'f [Asker],
}

/// What of a summary is looked for.
pub(in crate::evidence::store) struct Met {
    /// The keys; `None` where there are too many.
    keys: Option<Arc<Needles>>,
    /// When they were asked for: first and last, in order and apart.
    minutes: Vec<(u32, u32)>,
}

/// Most keys, and times, that are held of one summary: where there are more, rows are hardly passed over by them.
const MOST_MET: usize = 1 << 12;

/// Makes one of what overlaps, or follows one another.
fn unite(minutes: &mut Vec<(u32, u32)>) {
    minutes.sort_unstable();
    minutes.dedup_by(|next, before| {
        let is_near = next.0 <= before.1.saturating_add(1);
        if is_near {
            before.1 = before.1.max(next.1);
        }
        is_near
    });
}

impl Met {
    /// What of this is looked for.
    pub(in crate::evidence::store) fn needles(&self) -> Option<&Arc<Needles>> {
        self.keys.as_ref()
    }

    /// Whether any of it may be in one of the summary's files.
    pub(in crate::evidence::store) fn may_be_in(&self, file: &FileName) -> bool {
        let (first, last) = (minute(file.earliest), minute(file.latest));
        let at = self.minutes.partition_point(|(_, until)| *until < first);
        self.minutes.get(at).is_some_and(|(from, _)| *from <= last)
    }
}

impl Find<'_> {
    /// `None` where the key is none.
    pub(in crate::evidence::store) fn what(&self) -> Option<What> {
        What::of_key(self.key)
    }
}

impl Summary {
    pub(in crate::evidence) fn open(path: &Path) -> Result<Self, SummaryError> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        let mut tail = [0; TAIL + END.len()];
        let tail_start = len.checked_sub(tail.len() as u64).ok_or(SummaryError::Damaged)?;
        file.read_exact_at(&mut tail, tail_start)?;
        let (tail, end) = tail.split_at(TAIL);
        let mut magic = [0; MAGIC.len()];
        file.read_exact_at(&mut magic, 0)?;
        if end != END || magic != *MAGIC {
            return Err(SummaryError::Damaged);
        }
        Self::read_index(file, tail, tail_start)
    }

    fn read_index(file: File, tail: &[u8], tail_start: u64) -> Result<Self, SummaryError> {
        let (starts, rest) = tail.split_at(24);
        let (starts, _) = starts.as_chunks::<8>();
        let [keys_start, clients_start, index_start] = [0, 1, 2].map(|at| u64::from_le_bytes(starts[at]));
        let (lens, _) = rest.as_chunks::<4>();
        let [clients_len, index_len, crc] = [0, 1, 2].map(|at| u32::from_le_bytes(lens[at]));
        let is_ordered = keys_start <= clients_start && clients_start <= index_start;
        if !is_ordered || index_start > tail_start {
            return Err(SummaryError::Damaged);
        }
        let part = |range: Range<u64>, unpacked: u32| {
            let len = usize::try_from(range.end - range.start).map_err(|_| SummaryError::Damaged)?;
            Ok::<_, SummaryError>(Part { start: range.start, len, unpacked: unpacked as usize })
        };
        let index = part(index_start..tail_start, index_len)?;
        let mut packed = Vec::new();
        read_at(&file, index, &mut packed)?;
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&packed);
        hasher.update(&tail[..TAIL - 4]);
        if hasher.finalize() != crc {
            return Err(SummaryError::Damaged);
        }
        let octets = Unpacker::new()?.unpack(&packed, index.unpacked)?;
        let clients = part(clients_start..index_start, clients_len)?;
        let (base, facts, blocks) =
            index_of(&octets, MAGIC.len() as u64..keys_start, keys_start..clients_start)
                .ok_or(SummaryError::Damaged)?;
        Ok(Self { file, facts, base, blocks, clients })
    }

    pub(in crate::evidence) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// All clients, by their numbers.
    pub(in crate::evidence) fn clients(&self) -> Result<Vec<Client>, SummaryError> {
        let octets = Unpacker::new()?.read(&self.file, self.clients)?;
        let (mut rest, mut clients) = (&*octets, Vec::new());
        while !rest.is_empty() {
            let address = address(&mut rest).ok_or(SummaryError::Damaged)?;
            let agency = text(&mut rest).ok_or(SummaryError::Damaged)?;
            clients.push(Client { address, agency: agency.map(|text| text.into_owned().into()) });
        }
        Ok(clients)
    }

    /// What of this is looked for, and when it was asked for; `None` where nothing is.
    pub(in crate::evidence::store) fn met(&self, needles: &Needles) -> Result<Option<Met>, SummaryError> {
        let (mut gathering, mut count, mut minutes) = (Gathering::default(), 0, Vec::new());
        self.find(needles, &mut |find| {
            count += 1;
            gathering.add_key(find.key, &Label::default());
            minutes.extend(find.askers.iter().map(|asker| (asker.first, asker.last)));
            if minutes.len() > MOST_MET {
                unite(&mut minutes);
            }
            if count > MOST_MET || minutes.len() > MOST_MET {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        if count > MOST_MET || minutes.len() > MOST_MET {
            return Ok(Some(Met { keys: None, minutes: vec![(0, u32::MAX)] }));
        }
        unite(&mut minutes);
        Ok((count > 0).then(|| Met { keys: Some(Arc::new(gathering.finish())), minutes }))
    }

    /// Calls `visit` with each key that is looked for, in order.
    pub(in crate::evidence::store) fn find(
        &self,
        needles: &Needles,
        visit: &mut dyn FnMut(Find<'_>) -> ControlFlow<()>,
    ) -> Result<(), SummaryError> {
        let (mut askers, mut unpacker): (Option<(usize, Vec<Asker>)>, _) = (None, Unpacker::new()?);
        self.meet(needles, |number, keys, at| {
            let block = match &mut askers {
                Some((known, block)) if *known == number => block,
                other => {
                    &mut other.insert((number, self.askers(&mut unpacker, &self.blocks[number], keys)?)).1
                }
            };
            let askers = block.get(keys.askers(at)).ok_or(SummaryError::Damaged)?;
            Ok(visit(Find { key: keys.key(at), askers }))
        })
    }

    /// Calls `visit` with the number of a block, its keys, and which of them is looked for.
    fn meet(
        &self,
        needles: &Needles,
        mut visit: impl FnMut(usize, &Keys, usize) -> Result<ControlFlow<()>, SummaryError>,
    ) -> Result<(), SummaryError> {
        let (mut meeting, mut unpacker) = (Meeting::new(needles), Unpacker::new()?);
        let mut keys = Keys::default();
        for (number, block) in self.blocks.iter().enumerate() {
            let next = self.blocks.get(number + 1).map(|next| &*next.first);
            if !meeting.may_meet(&block.first, next) {
                continue;
            }
            keys.read(&unpacker.read(&self.file, block.keys)?)?;
            for at in 0..keys.len() {
                if meeting.meets(keys.key(at)) && visit(number, &keys, at)?.is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// What belongs to the keys of a block, one after the other.
    fn askers(
        &self,
        unpacker: &mut Unpacker,
        block: &Block,
        keys: &Keys,
    ) -> Result<Vec<Asker>, SummaryError> {
        let octets = unpacker.read(&self.file, block.askers)?;
        self.askers_of(&octets, keys).ok_or(SummaryError::Damaged)
    }

    fn askers_of(&self, octets: &[u8], keys: &Keys) -> Option<Vec<Asker>> {
        let mut rest = octets;
        let mut column = || {
            let len = usize::try_from(number(&mut rest)?).ok()?;
            let (column, tail) = rest.split_at_checked(len)?;
            rest = tail;
            Some(column)
        };
        let [mut clients, mut firsts, mut lasts, mut counts] = [column()?, column()?, column()?, column()?];
        // An asker has an octet in each column at the least.
        let mut askers = Vec::with_capacity(clients.len());
        for at in 0..keys.len() {
            let mut client = 0u32;
            for _ in keys.askers(at) {
                client = client.checked_add(small(&mut clients)?)?;
                let first = self.base.checked_add(small(&mut firsts)?)?;
                let last = first.checked_add(small(&mut lasts)?)?;
                let count = number(&mut counts)?;
                let was_hit = count & 1 == 1;
                askers.push(Asker { client, first, last, count: u32::try_from(count >> 1).ok()?, was_hit });
            }
        }
        Some(askers)
    }

    /// Reads all of it, a key after the other.
    pub(in crate::evidence::store) fn walk(&self) -> Result<Walk<'_>, SummaryError> {
        let unpacker = Unpacker::new()?;
        Ok(Walk { summary: self, unpacker, block: 0, keys: Keys::default(), askers: Vec::new(), at: 0 })
    }
}

/// A place in a summary that moves on, a key at a time.
pub(in crate::evidence::store) struct Walk<'s> {
    summary: &'s Summary,
    unpacker: Unpacker,
    /// The next one.
    block: usize,
    keys: Keys,
    askers: Vec<Asker>,
    /// One behind the present key.
    at: usize,
}

impl Walk<'_> {
    /// Goes to the next key; whether there is one.
    pub(in crate::evidence::store) fn advance(&mut self) -> Result<bool, SummaryError> {
        while self.at >= self.keys.len() {
            let Some(block) = self.summary.blocks.get(self.block) else { return Ok(false) };
            self.keys.read(&self.unpacker.read(&self.summary.file, block.keys)?)?;
            self.askers = self.summary.askers(&mut self.unpacker, block, &self.keys)?;
            self.block += 1;
            self.at = 0;
        }
        self.at += 1;
        Ok(true)
    }

    /// Where it is, once it was told to go there.
    pub(super) fn key(&self) -> &[u8] {
        self.keys.key(self.at - 1)
    }

    pub(in crate::evidence::store) fn askers(&self) -> Result<&[Asker], SummaryError> {
        self.askers.get(self.keys.askers(self.at - 1)).ok_or(SummaryError::Damaged)
    }
}

/// The keys of one block.
#[derive(Default)]
struct Keys {
    octets: Vec<u8>,
    /// Where each one ends, and up to where what belongs to it goes.
    ends: Vec<(usize, usize)>,
}

impl Keys {
    fn read(&mut self, block: &[u8]) -> Result<(), SummaryError> {
        self.octets.clear();
        self.ends.clear();
        self.read_all(block).ok_or(SummaryError::Damaged)
    }

    fn read_all(&mut self, mut rest: &[u8]) -> Option<()> {
        let (mut start, mut askers) = (0, 0usize);
        while !rest.is_empty() {
            let shared = start..start + usize::try_from(number(&mut rest)?).ok()?;
            let len = usize::try_from(number(&mut rest)?).ok()?;
            let (own, tail) = rest.split_at_checked(len)?;
            rest = tail;
            start = self.octets.len();
            if shared.end > start {
                return None;
            }
            self.octets.extend_from_within(shared);
            self.octets.extend(own);
            askers = askers.checked_add(usize::try_from(number(&mut rest)?).ok()?)?;
            self.ends.push((self.octets.len(), askers));
        }
        Some(())
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn key(&self, at: usize) -> &[u8] {
        &self.octets[self.before(at).0..self.ends[at].0]
    }

    fn askers(&self, at: usize) -> Range<usize> {
        self.before(at).1..self.ends[at].1
    }

    fn before(&self, at: usize) -> (usize, usize) {
        at.checked_sub(1).map_or((0, 0), |before| self.ends[before])
    }
}

fn read_at(file: &File, part: Part, octets: &mut Vec<u8>) -> io::Result<()> {
    octets.resize(part.len, 0);
    file.read_exact_at(octets, part.start)
}

/// Unpacks one part after the other.
struct Unpacker {
    zstd: Decompressor<'static>,
    packed: Vec<u8>,
}

impl Unpacker {
    fn new() -> Result<Self, SummaryError> {
        Ok(Self { zstd: Decompressor::new()?, packed: Vec::new() })
    }

    fn read(&mut self, file: &File, part: Part) -> Result<Vec<u8>, SummaryError> {
        let mut packed = std::mem::take(&mut self.packed);
        read_at(file, part, &mut packed)?;
        let octets = self.unpack(&packed, part.unpacked);
        self.packed = packed;
        octets
    }

    fn unpack(&mut self, packed: &[u8], len: usize) -> Result<Vec<u8>, SummaryError> {
        if len > MOST_UNPACKED {
            return Err(SummaryError::Damaged);
        }
        let octets = self.zstd.decompress(packed, len).map_err(|_| SummaryError::Damaged)?;
        if octets.len() == len { Ok(octets) } else { Err(SummaryError::Damaged) }
    }
}

fn small(rest: &mut &[u8]) -> Option<u32> {
    u32::try_from(number(rest)?).ok()
}

/// The first minute, what it is made of, and the blocks, whose parts fill these ranges exactly.
fn index_of(octets: &[u8], askers: Range<u64>, keys: Range<u64>) -> Option<(u32, Facts, Vec<Block>)> {
    let rest = &mut &*octets;
    let time = |rest: &mut &[u8]| number(rest).map(u64::cast_signed);
    let base = small(rest)?;
    let (earliest, latest, rows) = (time(rest)?, time(rest)?, number(rest)?);
    let mut facts = Facts { files: Vec::new(), earliest, latest, rows };
    for _ in 0..number(rest)? {
        let file = FileName { number: number(rest)?, earliest: time(rest)?, latest: time(rest)? };
        facts.files.push(file);
    }
    let (mut blocks, mut askers_at, mut keys_at) = (Vec::new(), askers.start, keys.start);
    for _ in 0..number(rest)? {
        let len = usize::try_from(number(rest)?).ok()?;
        let (first, tail) = rest.split_at_checked(len)?;
        *rest = tail;
        let part = |start: &mut u64, end: u64, len: u64, unpacked: u64| {
            let part = Part {
                start: *start,
                len: usize::try_from(len).ok()?,
                unpacked: usize::try_from(unpacked).ok()?,
            };
            *start = start.checked_add(len).filter(|start| *start <= end)?;
            Some(part)
        };
        let lens = [number(rest)?, number(rest)?, number(rest)?, number(rest)?];
        blocks.push(Block {
            first: first.into(),
            askers: part(&mut askers_at, askers.end, lens[0], lens[2])?,
            keys: part(&mut keys_at, keys.end, lens[1], lens[3])?,
        });
    }
    let is_filled = askers_at == askers.end && keys_at == keys.end && rest.is_empty();
    is_filled.then_some((base, facts, blocks))
}
