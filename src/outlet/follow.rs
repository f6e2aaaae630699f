//! Following the log: reads the write-ahead segments while they are being written, each record once, oldest blocks first.
//!
//! A segment gets a second name in the outlet's own folder as soon as it is seen, so that it stays when the log retires or
//! archives it, until all of it has arrived. How much may wait is bounded by [`Follower::bound`]; what is given up there is
//! counted. The log's writers and its keeper know nothing of this.
//!
//! A process may give a segment a number that an earlier one gave to a segment that is gone, so each has a folder of its own for
//! the second names.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::place::{self, Entry, Place};
use crate::evidence::record::Record;
use crate::evidence::segment::{self, BLOCK, BLOCK_HEADER, Id, MAGIC, MAX_BLOCK, Records, Segment};

/// Most octets of a segment that are read at once, unless one block is longer.
const CHUNK: usize = 64 << 10;
/// … and then.
const LONG_CHUNK: usize = MAX_BLOCK + 2 * BLOCK_HEADER;
/// Octets of a block up to and with its time.
const TIMED: usize = BLOCK_HEADER + 8;

/// Where an outlet is in the log.
pub(crate) struct Follower {
    /// The log's folder.
    log: PathBuf,
    /// The outlet's own.
    own: PathBuf,
    /// This process, and the number of its first segment. Other segments have no writer any more.
    run: i64,
    first: u64,
    known: BTreeMap<Key, Known>,
    pub(crate) sent: u64,
    pub(crate) missed: u64,
    /// Up to which number hits have arrived that were found later; kept for whoever sends those.
    pub(super) finds: Option<i64>,
    buffer: Vec<u8>,
}

/// Where one that has no place in the log yet begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// With the first record of this process, however late it is opened.
    Start,
    /// With what is recorded from now on.
    Now,
}

/// A process, and one of its segments: in the order of time.
pub(crate) type Key = (i64, Id);

/// A segment that the log had when it was looked at last, or that is still to be sent.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// How far it was read.
    at: u64,
    /// Where what is not known to have arrived begins, if that is before.
    arrived: Option<u64>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// There may be more than was read; the time of the next block, once it is there.
    Open(Option<i64>),
    /// All is read.
    Read,
    /// All has arrived, or is given up.
    Done,
}

/// What was read at once: where it began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chunk {
    pub(crate) key: Key,
    from: u64,
    /// Where the next one of its segment begins.
    pub(crate) to: u64,
}

impl Follower {
    /// Goes on where the outlet in the folder `own` was, in the process `run`, whose first segment has the number `first`; a new one
    /// begins where `since` says.
    ///
    /// # Errors
    /// What the system said of either folder.
    pub(crate) fn open(log: &Path, own: &Path, run: i64, first: u64, since: Since) -> io::Result<Self> {
        place::make(&place::run_folder(own, run))?;
        let before = Place::load(own)?;
        let mut follower = Self {
            log: log.to_owned(),
            own: own.to_owned(),
            run,
            first,
            known: BTreeMap::new(),
            sent: before.as_ref().map_or(0, |place| place.sent),
            missed: before.as_ref().map_or(0, |place| place.missed),
            finds: before.as_ref().and_then(|place| place.finds),
            buffer: Vec::new(),
        };
        let entries: BTreeMap<Key, Entry> = before
            .iter()
            .flat_map(|place| &place.segments)
            .map(|entry| ((entry.run, Id { number: entry.number, writer: entry.writer }), entry.clone()))
            .collect();
        for run in place::runs(own)? {
            for segment in segment::list(&place::run_folder(own, run))? {
                let key = (run, segment.id);
                match entries.get(&key) {
                    // It was to be removed.
                    Some(entry) if entry.done => drop(fs::remove_file(&segment.path)),
                    Some(entry) => follower.begin(key, entry.at),
                    None => follower.begin(key, segment::EMPTY_LEN),
                }
            }
            if run != follower.run {
                // Unless something waits in it.
                let _ = fs::remove_dir(place::run_folder(own, run));
            }
        }
        match before {
            Some(place) if place.run == run => {
                for (key, entry) in entries.into_iter().filter(|((of, _), entry)| *of == run && entry.done) {
                    follower.known.insert(key, Known { at: entry.at, arrived: None, state: State::Done });
                }
            }
            Some(place) => follower.catch_up(&place, &entries)?,
            None if since == Since::Now => follower.pass_over()?,
            None => {}
        }
        follower.look()?;
        follower.save()?;
        Ok(follower)
    }

    fn begin(&mut self, key: Key, at: u64) {
        self.known.insert(key, Known { at, arrived: None, state: State::Open(None) });
    }

    /// Takes in what the process before began after the outlet's last look.
    fn catch_up(&mut self, before: &Place, entries: &BTreeMap<Key, Entry>) -> io::Result<()> {
        for Segment { id, path, .. } in segment::list(&self.log)? {
            let key = (before.run, id);
            if (before.first..self.first).contains(&id.number) && !entries.contains_key(&key) {
                place::make(&place::run_folder(&self.own, before.run))?;
                self.link(key, &path)?;
            }
        }
        Ok(())
    }

    /// Leaves out what the log has already.
    fn pass_over(&mut self) -> io::Result<()> {
        for segment in segment::list(&self.log)? {
            let key = (self.run, segment.id);
            if segment.id.number < self.first || self.known.contains_key(&key) {
                continue;
            }
            if segment.sealed_span().is_ok_and(|span| span.is_some()) {
                let known = Known { at: segment::EMPTY_LEN, arrived: None, state: State::Done };
                self.known.insert(key, known);
            } else {
                self.link(key, &segment.path)?;
                self.give_up(key, &|_| false)?;
            }
        }
        Ok(())
    }

    /// Gives a segment its second name.
    fn link(&mut self, key: Key, path: &Path) -> io::Result<()> {
        let link = || fs::hard_link(path, self.path(key));
        let linked = match link() {
            // Somebody took the folder away.
            Err(error) if error.kind() == io::ErrorKind::NotFound && path.exists() => {
                place::make(&place::run_folder(&self.own, key.0)).and_then(|()| link())
            }
            linked => linked,
        };
        match linked {
            // Nothing was in it, or the log is so small that it is too late.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.exists() => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        self.begin(key, segment::EMPTY_LEN);
        Ok(())
    }

    /// Finds segments that were begun since, and forgets those that are gone and done.
    ///
    /// # Errors
    /// What the system said when the log's folder was read, or of the first segment that could not be given its second name.
    pub(crate) fn look(&mut self) -> io::Result<()> {
        let listed = segment::list(&self.log)?;
        let ids: Vec<Id> = listed.iter().map(|segment| segment.id).collect();
        let mut result = Ok(());
        for Segment { id, path, .. } in listed {
            let key = (self.run, id);
            if id.number >= self.first && !self.known.contains_key(&key) {
                result = result.and(self.link(key, &path));
            }
        }
        let run = self.run;
        self.known.retain(|(of, id), known| {
            known.state != State::Done || (*of == run && ids.binary_search(id).is_ok())
        });
        result
    }

    /// Reads some records of the segment whose next block is the oldest; `None` when there are none now.
    ///
    /// # Errors
    /// What the system said.
    pub(crate) fn read(&mut self, visit: &mut dyn FnMut(&Record<'_>)) -> io::Result<Option<Chunk>> {
        self.peek()?;
        loop {
            let open = self.known.iter().filter_map(|(key, known)| match known.state {
                State::Open(Some(time)) => Some((time, *key)),
                _ => None,
            });
            let Some((_, key)) = open.min() else { return Ok(None) };
            if let Some(chunk) = self.read_from(key, visit)? {
                return Ok(Some(chunk));
            }
        }
    }

    /// Looks for the next block of each segment that had none.
    fn peek(&mut self) -> io::Result<()> {
        let waiting: Vec<Key> =
            self.known.iter().filter(|(_, it)| it.state == State::Open(None)).map(|(key, _)| *key).collect();
        for key in waiting {
            let Some(known) = self.known.get(&key).copied() else { continue };
            let state = match self.next_block(key, known.at) {
                Ok(state) => state,
                // What was removed is the second name only.
                Err(error) if error.kind() == io::ErrorKind::NotFound && self.may_be_written(key) => {
                    let path = self.log.join(key.1.file_name());
                    self.link(key, &path)?;
                    self.next_block(key, known.at)?
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    tracing::warn!(
                        path = %self.path(key).display(),
                        "somebody removed a segment before the outlet had sent it"
                    );
                    State::Done
                }
                Err(error) => return Err(error),
            };
            self.known.insert(key, Known { state, ..known });
            self.settle(key);
        }
        Ok(())
    }

    fn next_block(&self, key: Key, at: u64) -> io::Result<State> {
        let file = File::open(self.path(key))?;
        // Before its length, which is the last where nobody writes any more.
        let is_over = !self.may_be_written(key);
        let facts = file.metadata()?;
        let left = facts.len().saturating_sub(at);
        if left == 0 {
            return Ok(if is_over { State::Read } else { State::Open(None) });
        }
        let mut head = [0; TIMED];
        let head = &mut head[..TIMED.min(usize::try_from(left).unwrap_or(TIMED))];
        file.read_exact_at(head, at)?;
        match head.strip_prefix(BLOCK).and_then(|rest| rest.last_chunk::<8>()) {
            Some(time) if head.len() == TIMED => Ok(State::Open(Some(i64::from_le_bytes(*time)))),
            // A block that is being written, the trailer, or damage, which reading tells apart.
            _ => Ok(State::Open((is_over || self.is_sealed(key)?).then_some(i64::MIN))),
        }
    }

    fn is_sealed(&self, key: Key) -> io::Result<bool> {
        let segment = Segment { id: key.1, path: self.path(key), len: 0, modified: 0 };
        Ok(segment.sealed_span()?.is_some())
    }

    /// Reads on in one segment; `None` when there was no whole record.
    fn read_from(&mut self, key: Key, visit: &mut dyn FnMut(&Record<'_>)) -> io::Result<Option<Chunk>> {
        let Some(known) = self.known.get(&key).copied() else { return Ok(None) };
        let file = match File::open(self.path(key)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.known.insert(key, Known { state: State::Open(None), ..known });
                return Ok(None);
            }
            opened => opened?,
        };
        let is_over = !self.may_be_written(key) || self.is_sealed(key)?;
        let mut count = 0u64;
        for most in [CHUNK, LONG_CHUNK] {
            let len = fill(&file, known.at, most, &mut self.buffer)?;
            let mut records = Records::new(&self.buffer);
            for record in records.by_ref() {
                count += 1;
                visit(&record);
            }
            let consumed = records.consumed() - MAGIC.len();
            let to = if consumed > 0 {
                known.at + consumed as u64
            } else if len == most && most == LONG_CHUNK {
                // No block is so long: this is damage, and the next one may begin at its end.
                known.at + (len - BLOCK_HEADER) as u64
            } else if len < most {
                // The rest is no whole block: it is being written, or it will never be one.
                let state = if is_over { State::Read } else { State::Open(None) };
                self.known.insert(key, Known { state, ..known });
                self.settle(key);
                return Ok(None);
            } else {
                continue;
            };
            self.known.insert(key, Known { at: to, state: State::Open(None), ..known });
            return Ok((count > 0).then_some(Chunk { key, from: known.at, to }));
        }
        Ok(None)
    }

    /// Notes that a chunk is on its way and may be lost.
    pub(crate) fn launch(&mut self, chunk: Chunk) {
        if let Some(known) = self.known.get_mut(&chunk.key) {
            known.arrived.get_or_insert(chunk.from);
        }
    }

    /// Notes that a chunk, and all of its segment before it, has arrived.
    pub(crate) fn land(&mut self, chunk: Chunk) {
        // Unless it was given up meanwhile.
        if let Some(known) = self.known.get_mut(&chunk.key).filter(|known| known.arrived.is_some()) {
            known.arrived = Some(chunk.to).filter(|to| *to < known.at);
            self.settle(chunk.key);
        }
    }

    /// Goes back to what is not known to have arrived.
    pub(crate) fn rewind(&mut self) {
        for known in self.known.values_mut() {
            if let Some(arrived) = known.arrived.take() {
                *known = Known { at: arrived, arrived: None, state: State::Open(None) };
            }
        }
    }

    /// Leaves out what has arrived by another account than this place's own, which is written down now and then only.
    pub(crate) fn skip(&mut self, key: Key, to: u64) {
        if let Some(known) = self.known.get_mut(&key).filter(|it| it.state != State::Done && it.at < to) {
            *known = Known { at: to, arrived: None, state: State::Open(None) };
        }
    }

    /// The segments that it has not forgotten: of others, nothing comes any more.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> {
        self.known.keys().copied()
    }

    /// Lets a segment go that is read and has arrived.
    fn settle(&mut self, key: Key) {
        let path = self.path(key);
        if let Some(known) = self.known.get_mut(&key)
            && (known.state == State::Done || (known.state == State::Read && known.arrived.is_none()))
        {
            known.state = State::Done;
            if let Err(error) = fs::remove_file(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(path = %path.display(), %error, "a segment that an outlet has sent holds its room");
            }
            if key.0 != self.run {
                // Unless more waits in it.
                let _ = fs::remove_dir(place::run_folder(&self.own, key.0));
            }
        }
    }

    /// Gives up the oldest segments as long as more than `most` octets wait; of those that are still in the log nothing where
    /// `is_scarce`, since only the others hold room. Returns how many records of those that `wants` takes will not be sent.
    ///
    /// # Errors
    /// What the system said.
    pub(crate) fn bound(
        &mut self,
        most: u64,
        is_scarce: bool,
        wants: &dyn Fn(&Record<'_>) -> bool,
    ) -> io::Result<u64> {
        let mut waiting = Vec::new();
        for (key, known) in self.known.iter().filter(|(_, known)| known.state != State::Done) {
            let Ok(facts) = fs::metadata(self.path(*key)) else { continue };
            let at = known.arrived.unwrap_or(known.at);
            waiting.push((*key, facts.len().saturating_sub(at), is_scarce && !self.is_in_log(key.1)));
        }
        let mut total: u64 = waiting.iter().map(|(_, len, _)| len).sum();
        let mut missed = 0;
        for (key, len, is_held) in waiting {
            if total > most || is_held {
                total = total.saturating_sub(len);
                missed += self.give_up(key, wants)?;
            }
        }
        self.missed += missed;
        Ok(missed)
    }

    /// Passes over what a segment holds now; returns how many records that were.
    fn give_up(&mut self, key: Key, wants: &dyn Fn(&Record<'_>) -> bool) -> io::Result<u64> {
        let mut missed = 0;
        // What is on its way may arrive all the same; nobody will know, so it counts.
        if let Some(known) = self.known.get_mut(&key)
            && let Some(arrived) = known.arrived.take()
        {
            *known = Known { at: arrived, arrived: None, state: State::Open(None) };
        }
        loop {
            let before = self.known.get(&key).map(|known| known.at);
            self.read_from(key, &mut |record| missed += u64::from(wants(record)))?;
            if self.known.get(&key).map(|known| known.at) == before {
                return Ok(missed);
            }
        }
    }

    /// Writes the place down.
    ///
    /// # Errors
    /// What the system said.
    pub(crate) fn save(&self) -> io::Result<()> {
        let entry = |((run, id), known): (&Key, &Known)| Entry {
            run: *run,
            number: id.number,
            writer: id.writer,
            at: known.arrived.unwrap_or(known.at),
            done: known.state == State::Done,
        };
        let mut place = Place::new(self.run, self.first);
        (place.sent, place.missed, place.finds) = (self.sent, self.missed, self.finds);
        place.segments = self.known.iter().map(entry).collect();
        place.save(&self.own)
    }

    fn path(&self, (run, id): Key) -> PathBuf {
        place::run_folder(&self.own, run).join(id.file_name())
    }

    /// Whether the log still has the segment under its first name. How many names it has says nothing: other outlets give it theirs.
    fn is_in_log(&self, id: Id) -> bool {
        self.log.join(id.file_name()).try_exists().unwrap_or(true)
    }

    fn may_be_written(&self, (run, id): Key) -> bool {
        run == self.run && self.is_in_log(id)
    }
}

/// Reads at most so many octets from here on, behind a segment's first octets, so that they read as one. Returns how many.
fn fill(file: &File, at: u64, most: usize, buffer: &mut Vec<u8>) -> io::Result<usize> {
    buffer.clear();
    buffer.extend(MAGIC);
    buffer.resize(MAGIC.len() + most, 0);
    let mut len = 0;
    while len < most {
        match file.read_at(&mut buffer[MAGIC.len() + len..], at + len as u64) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(MAGIC.len() + len);
    Ok(len)
}

#[cfg(test)]
mod tests;
