//! Versions of a zone on disk: the serial number, the image that it came from, and the differences before it, so that
//! secondaries go on where they were when the server is started again.
//!
//! ```text
//! FOLDER/state            text: serial number, the image's digest, the digest of what else makes the zone: settings, analysts' rules
//! FOLDER/image            a link to that image, so that it can still be compared when another took its place
//! FOLDER/1-2.difference   from serial 1 to serial 2:
//!
//! offset  size
//!      0     8  magic "SACHRPZ\x01"
//!      8     4  serial before        (numbers are little-endian)
//!     12     4  serial after
//!     16     8  D: octets of deletions
//!     24     8  A: octets of additions
//!     32     4  CRC-32 of both
//!     36     D  records, packed (see `rpz`)
//!   36+D     A  records
//! ```
//!
//! Each is written beside its place, fsynced and renamed, the state last: what it does not speak of does not count. Where
//! anything does not fit, the next version is told whole.

use std::cmp::Ordering;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write};
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::content::Content;
use super::rpz::{Record, Writer};
use super::walk::Walk;
use super::zone::{Options, Version, writer};
use crate::image::{self, Digest};

const MAGIC: &[u8; 8] = b"SACHRPZ\x01";
const HEADER: u64 = 36;
/// Most octets of all differences of a zone; the oldest go first. A hundredth of a million names, changed, takes three
/// million.
const MOST_OCTETS: u64 = 256 << 20;
/// Most differences of a zone.
const MOST: usize = 100;
/// Nodes that are compared at once.
const BATCH: usize = 1024;

/// What leads from one version to the next.
#[derive(Debug)]
pub(super) struct Difference {
    pub(super) from: u32,
    pub(super) to: u32,
    deleted: u64,
    added: u64,
    /// Open, so that it may be removed while it is sent.
    file: File,
    path: PathBuf,
}

impl Difference {
    /// Octets of its records.
    pub(super) fn octets(&self) -> u64 {
        self.deleted + self.added
    }

    /// Where its deletions and its additions are.
    pub(super) fn parts(&self) -> [Range<u64>; 2] {
        let middle = HEADER + self.deleted;
        [HEADER..middle, middle..middle + self.added]
    }

    /// Appends octets of it.
    pub(super) fn read(&self, range: Range<u64>, out: &mut Vec<u8>) -> io::Result<()> {
        let at = out.len();
        out.resize(at + usize::try_from(range.end - range.start).unwrap_or_default(), 0);
        self.file.read_exact_at(&mut out[at..], range.start)
    }

    /// Opens one and checks that it is whole.
    fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let mut header = [0; HEADER as usize];
        file.read_exact(&mut header)?;
        let number =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let long = |at: usize| u64::from(number(at)) | u64::from(number(at + 4)) << 32;
        let (deleted, added) = (long(16), long(24));
        let mut checksum = crc32fast::Hasher::new();
        let mut buffer = vec![0; 256 << 10];
        let mut len = 0;
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            checksum.update(&buffer[..read]);
            len += read as u64;
        }
        let is_whole = &header[..8] == MAGIC
            && deleted.checked_add(added) == Some(len)
            && checksum.finalize() == number(32);
        if !is_whole {
            return Err(io::Error::other("it is damaged"));
        }
        Ok(Self { from: number(8), to: number(12), deleted, added, file, path: path.to_owned() })
    }
}

/// What is on disk of a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    serial: u32,
    image: Digest,
    options: Digest,
}

/// Publishes one zone: makes a version of each image that changes it. Blocks while it compares; for a thread that
/// answers nobody.
pub struct Publisher {
    folder: PathBuf,
    current: Option<Arc<Version>>,
}

/// What an update came to.
pub struct Published {
    /// What is in force now.
    pub version: Arc<Version>,
    /// Whether it is a new one.
    pub is_new: bool,
}

impl Publisher {
    /// Keeps what it must know in `folder`, which is for this zone alone.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, current: None }
    }

    /// Makes the version that a content gives: the one before where nothing in it is another, else one with a
    /// greater serial number. `now`, in seconds since 1970, is where serial numbers begin; `path` is where the image is.
    ///
    /// # Errors
    /// When the folder cannot be written: nothing has changed then.
    pub fn update(
        &mut self,
        options: &Options,
        content: &Content,
        path: &Path,
        now: u32,
    ) -> io::Result<Published> {
        fs::create_dir_all(&self.folder)?;
        let known = self.state();
        let next = State {
            // Should all be lost, the next number is a greater one all the same.
            serial: known.map_or(now, |known| successor(known.serial, now)),
            image: content.image().facts.digest,
            options: options.digest(content),
        };
        if let Some(known) = known
            && (known.image, known.options) == (next.image, next.options)
        {
            let version = match self.current.take().filter(|current| current.serial() == known.serial) {
                Some(current) => current,
                None => Arc::new(Version::new(
                    options.clone(),
                    content.clone(),
                    known.serial,
                    self.chain(known.serial),
                )),
            };
            self.current = Some(Arc::clone(&version));
            return Ok(Published { version, is_new: false });
        }
        let before = known.and_then(|known| self.before(known, options, content));
        let new = Version::new(options.clone(), content.clone(), next.serial, Vec::new());
        let (serial, chain) = match &before {
            None => (next.serial, Vec::new()),
            Some(before) => match self.compare(before, &new)? {
                None => (before.serial(), before.differences.clone()),
                Some(difference) => {
                    let chain = before.differences.iter().cloned().chain([Arc::new(difference)]);
                    (next.serial, bounded(&chain.collect::<Vec<_>>()))
                }
            },
        };
        self.link(path, &next.image);
        self.write_state(State { serial, ..next })?;
        self.sweep(&chain);
        let is_new = before.is_none_or(|before| before.serial() != serial);
        let version = Arc::new(Version::new(options.clone(), content.clone(), serial, chain));
        self.current = Some(Arc::clone(&version));
        Ok(Published { version, is_new })
    }

    /// The version before, as it was published: from memory, or from the link to its image.
    fn before(&self, known: State, options: &Options, content: &Content) -> Option<Arc<Version>> {
        if let Some(current) = self.current.as_ref().filter(|current| current.serial() == known.serial) {
            return Some(Arc::clone(current));
        }
        // How it was published otherwise, or with which rules of analysts, is not known any more.
        if known.options != options.digest(content) {
            return None;
        }
        let image = image::open(&self.folder.join(IMAGE)).ok()?;
        let chain = self.chain(known.serial);
        let is_it = image.facts.digest == known.image;
        is_it.then(|| {
            Arc::new(Version::new(options.clone(), content.with(Arc::new(image)), known.serial, chain))
        })
    }

    /// The differences on disk that lead to this serial number.
    fn chain(&self, serial: u32) -> Vec<Arc<Difference>> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let paths =
            entries.map(|entry| entry.path()).filter(|path| path.extension() == Some(DIFFERENCE.as_ref()));
        let mut all: Vec<Difference> = paths.filter_map(|path| Difference::open(&path).ok()).collect();
        let (mut chain, mut serial) = (Vec::new(), serial);
        while let Some(at) = all.iter().position(|difference| difference.to == serial) {
            let difference = all.swap_remove(at);
            serial = difference.from;
            chain.push(Arc::new(difference));
        }
        chain.reverse();
        chain
    }

    /// Writes the difference between two versions; `None` where there is none.
    fn compare(&self, before: &Version, after: &Version) -> io::Result<Option<Difference>> {
        let scratch = self.folder.join("new");
        let mut added = BufWriter::with_capacity(BUFFER, tempfile(&self.folder)?);
        let mut deleted = BufWriter::with_capacity(
            BUFFER,
            File::options().read(true).write(true).create(true).truncate(true).open(&scratch)?,
        );
        deleted.write_all(&[0; HEADER as usize])?;
        let mut checksum = crc32fast::Hasher::new();
        let (mut deleted_len, mut added_len) = (0, 0);
        let mut record = Vec::new();
        compare(before, after, |side, one| {
            record.clear();
            one.pack(&mut record);
            match side {
                Side::Before => {
                    deleted_len += record.len() as u64;
                    checksum.update(&record);
                    deleted.write_all(&record)
                }
                Side::After => {
                    added_len += record.len() as u64;
                    added.write_all(&record)
                }
            }
        })?;
        if deleted_len + added_len == 0 {
            let _ = fs::remove_file(&scratch);
            return Ok(None);
        }
        let mut additions = added.into_inner().map_err(io::IntoInnerError::into_error)?;
        additions.seek(SeekFrom::Start(0))?;
        let mut buffer = vec![0; BUFFER];
        loop {
            let read = additions.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            checksum.update(&buffer[..read]);
            deleted.write_all(&buffer[..read])?;
        }
        let mut file = deleted.into_inner().map_err(io::IntoInnerError::into_error)?;
        let (from, to) = (before.serial(), after.serial());
        let mut header = MAGIC.to_vec();
        header.extend(from.to_le_bytes());
        header.extend(to.to_le_bytes());
        header.extend(deleted_len.to_le_bytes());
        header.extend(added_len.to_le_bytes());
        header.extend(checksum.finalize().to_le_bytes());
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&header)?;
        file.sync_all()?;
        let path = self.folder.join(format!("{from}-{to}.{DIFFERENCE}"));
        fs::rename(&scratch, &path)?;
        Ok(Some(Difference { from, to, deleted: deleted_len, added: added_len, file, path }))
    }

    /// Keeps hold of the image that is published. Where that fails, the first version after a start is told whole.
    fn link(&self, path: &Path, digest: &Digest) {
        let (new, link) = (self.folder.join("image.new"), self.folder.join(IMAGE));
        let _ = fs::remove_file(&new);
        let linked = fs::hard_link(path, &new).and_then(|()| {
            // It may have been replaced since.
            if image::digest(&new).is_ok_and(|found| found == *digest) {
                fs::rename(&new, &link)
            } else {
                fs::remove_file(&new)
            }
        });
        if let Err(error) = linked {
            tracing::warn!(%error, image = %path.display(), "the published image cannot be kept beside the next one");
        }
    }

    fn state(&self) -> Option<State> {
        let text = fs::read_to_string(self.folder.join(STATE)).ok()?;
        let mut words = text.split_whitespace();
        let serial = words.next()?.parse().ok()?;
        let mut digest = || -> Option<Digest> {
            let word = words.next()?.as_bytes();
            let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
            word.chunks(2).map(octet).collect::<Option<Vec<u8>>>()?.try_into().ok()
        };
        Some(State { serial, image: digest()?, options: digest()? })
    }

    fn write_state(&self, state: State) -> io::Result<()> {
        let digits = |digest: Digest| digest.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
        let text = format!("{}\n{}\n{}\n", state.serial, digits(state.image), digits(state.options));
        let new = self.folder.join("state.new");
        let mut file = File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, self.folder.join(STATE))?;
        File::open(&self.folder)?.sync_all()
    }

    /// Removes differences that lead nowhere any more.
    fn sweep(&self, chain: &[Arc<Difference>]) {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            let is_difference = path.extension() == Some(DIFFERENCE.as_ref());
            if is_difference && chain.iter().all(|difference| difference.path != path) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

const STATE: &str = "state";
const IMAGE: &str = "image";
const DIFFERENCE: &str = "difference";
const BUFFER: usize = 128 << 10;

/// An empty file without a name.
fn tempfile(folder: &Path) -> io::Result<File> {
    let path = folder.join("added");
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
    fs::remove_file(path)?;
    Ok(file)
}

/// A greater serial number (RFC 1982): the time, where that is one, so that people can read it.
fn successor(serial: u32, now: u32) -> u32 {
    if (1..0x8000_0000).contains(&now.wrapping_sub(serial)) { now } else { serial.wrapping_add(1) }
}

/// The newest differences that are not too many.
fn bounded(chain: &[Arc<Difference>]) -> Vec<Arc<Difference>> {
    let mut octets = 0;
    let kept = chain.iter().rev().take(MOST).take_while(|difference| {
        octets += difference.octets();
        octets <= MOST_OCTETS
    });
    let kept = kept.count();
    chain[chain.len() - kept..].to_vec()
}

/// Which of two versions has a record that the other has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Before,
    After,
}

/// Goes through both versions in the order of keys, and tells what only one has.
pub(super) fn compare(
    before: &Version,
    after: &Version,
    mut tell: impl FnMut(Side, Record<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let (mut old, mut new) = (Nodes::new(before), Nodes::new(after));
    loop {
        let order = match (old.front(), new.front()) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((old, _)), Some((new, _))) => old.cmp(new),
        };
        let records =
            |nodes: &mut Nodes<'_>| nodes.front().map(|(_, records)| records.to_vec()).unwrap_or_default();
        let (gone, come) = match order {
            Ordering::Less => (records(&mut old), Vec::new()),
            Ordering::Greater => (Vec::new(), records(&mut new)),
            Ordering::Equal if old.front() == new.front() => (Vec::new(), Vec::new()),
            Ordering::Equal => (records(&mut old), records(&mut new)),
        };
        for record in unpacked(&gone).filter(|record| unpacked(&come).all(|other| other != *record)) {
            tell(Side::Before, record)?;
        }
        for record in unpacked(&come).filter(|record| unpacked(&gone).all(|other| other != *record)) {
            tell(Side::After, record)?;
        }
        if order.is_le() {
            old.next();
        }
        if order.is_ge() {
            new.next();
        }
    }
}

fn unpacked(mut packed: &[u8]) -> impl Iterator<Item = Record<'_>> {
    std::iter::from_fn(move || {
        let (record, len) = Record::unpack(packed)?;
        packed = &packed[len..];
        Some(record)
    })
}

/// The nodes of a version in the order of keys, each with its records.
struct Nodes<'v> {
    version: &'v Version,
    walk: Walk,
    writer: Writer,
    keys: Vec<u8>,
    records: Vec<u8>,
    /// Where the key and the records of each node end.
    ends: Vec<[usize; 2]>,
    at: usize,
}

impl<'v> Nodes<'v> {
    fn new(version: &'v Version) -> Self {
        let (keys, records, ends) = (Vec::new(), Vec::new(), Vec::new());
        let mut nodes =
            Self { version, walk: Walk::all(), writer: writer(version), keys, records, ends, at: 0 };
        nodes.fill();
        nodes
    }

    fn front(&self) -> Option<(&[u8], &[u8])> {
        let [key_end, end] = *self.ends.get(self.at)?;
        let [key_start, start] = self.at.checked_sub(1).map_or([0, 0], |before| self.ends[before]);
        Some((&self.keys[key_start..key_end], &self.records[start..end]))
    }

    fn next(&mut self) {
        self.at += 1;
        if self.at >= self.ends.len() {
            self.fill();
        }
    }

    fn fill(&mut self) {
        let Self { version, walk, writer, keys, records, ends, at } = self;
        keys.clear();
        records.clear();
        ends.clear();
        *at = 0;
        // Some nodes have no records.
        while ends.is_empty() && !walk.is_over() {
            walk.run(version.content.layers(), &version.selection, |key, node| {
                let before = records.len();
                writer.write(node, |record| record.pack(records));
                if records.len() > before {
                    keys.extend_from_slice(key);
                    ends.push([keys.len(), records.len()]);
                }
                if ends.len() < BATCH { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::name::Name;
    use crate::policy::action::Action;
    use crate::policy::compile::{Compiler, Listing};
    use crate::policy::rule::{Feed, FeedKind, Mode};
    use crate::policy::trigger::Scope;
    use crate::publish::rpz::{SOA, Sinkholed};
    use crate::publish::zone::Transfer;

    /// What a transfer gives: type, owner and data of each record.
    type Records = Vec<(u16, Vec<u8>, Vec<u8>)>;

    fn records(mut transfer: Transfer) -> Records {
        let mut records = Vec::new();
        let take = |record: Record<'_>| {
            records.push((record.rtype, record.owner.to_vec(), record.rdata.to_vec()));
            true
        };
        assert!(!transfer.give(take).unwrap());
        records
    }

    fn options() -> Options {
        let (apex, feeds) = (Name::from_host("rpz.example").unwrap(), Vec::new());
        Options { apex, feeds, sinkholed: Sinkholed::Nxdomain, ttl: 30, agency: None }
    }

    fn write(path: &Path, names: &BTreeSet<String>) -> Content {
        let mut compiler = Compiler::new(vec![Feed::new("a".into(), FeedKind::Threat)]);
        for name in names {
            // Exceptions below names that are listed need names between both, which come and go with them.
            let action = if name.starts_with('x') { Action::Passthru } else { Action::Sinkhole };
            let (scope, mode) = (Scope::Subtree, Mode::Enforced);
            let listing = Listing { feed: 0, scope, action, mode, family: None, severity: None };
            compiler.add(&Name::from_host(name).unwrap(), listing).unwrap();
        }
        image::write(path, &compiler.finish().unwrap(), &[0; 32], 1).unwrap();
        Content::new(Arc::new(image::open(path).unwrap()), None, None, Vec::new())
    }

    fn name() -> impl Strategy<Value = String> {
        prop::collection::vec("[abx]", 1..5).prop_map(|labels| labels.join(".") + ".example")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn differences_make_the_new_version_of_the_old_one(
            versions in prop::collection::vec(prop::collection::btree_set(name(), 0..10), 2..5),
            restarts in prop::collection::vec(any::<bool>(), 5),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("policy.img");
            let mut publisher = Publisher::new(folder.path().join("zone"));
            let mut secondary: Option<(u32, Records)> = None;
            for (names, is_restart) in versions.iter().zip(restarts) {
                if is_restart {
                    publisher = Publisher::new(folder.path().join("zone"));
                }
                let image = write(&path, names);
                let Published { version, is_new } = publisher.update(&options(), &image, &path, 7).unwrap();
                let whole = records(Transfer::whole(Arc::clone(&version)));
                let is_first = secondary.is_none();
                let (serial, mut held) = match secondary.take() {
                    None => (version.serial(), whole.clone()),
                    Some(held) => held,
                };
                let news = records(Transfer::since(Arc::clone(&version), serial));
                prop_assert_eq!(is_new, is_first || serial != version.serial());
                let mut is_adding = true;
                for record in news.iter().skip(1).take(news.len().saturating_sub(2)) {
                    if record.0 == SOA {
                        is_adding = !is_adding;
                        held.retain(|held| held.0 != SOA);
                    } else if is_adding {
                        held.push(record.clone());
                    } else {
                        let at = held.iter().position(|held| held == record);
                        prop_assert!(at.is_some(), "{:?} was not there", record);
                        held.remove(at.unwrap());
                    }
                }
                let sorted = |records: &Records| {
                    let mut records: Records = records.iter().filter(|record| record.0 != SOA).cloned().collect();
                    records.sort();
                    records
                };
                prop_assert_eq!(sorted(&held), sorted(&whole));
                secondary = Some((version.serial(), whole));
            }
        }
    }

    #[test]
    fn what_is_damaged_or_lost_is_told_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (path, zone) = (folder.path().join("policy.img"), folder.path().join("zone"));
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let update = |list: &[&str]| {
            let image = write(&path, &names(list));
            Publisher::new(zone.clone()).update(&options(), &image, &path, 7).unwrap()
        };
        let count =
            |version: &Arc<Version>, serial| records(Transfer::since(Arc::clone(version), serial)).len();
        assert!(update(&["a.example"]).is_new);
        let second = update(&["a.example", "b.example"]).version;
        assert_eq!((second.serial(), count(&second, 7), count(&second, 8)), (8, 6, 1));
        // Of another layout, cut off, or gone.
        fs::write(zone.join("7-8.difference"), "damaged").unwrap();
        let again = update(&["a.example", "b.example"]);
        assert!(!again.is_new);
        assert_eq!(count(&again.version, 7), 7, "two SOA records, NS, and two records of each name");
        fs::remove_file(zone.join(IMAGE)).unwrap();
        let third = update(&["b.example"]);
        assert!(third.is_new && third.version.serial() == 9 && count(&third.version, 8) == 5);
        fs::remove_dir_all(&zone).unwrap();
        assert_eq!(update(&["b.example"]).version.serial(), 7, "the time is all that is left");
        // Another setting makes another zone.
        let image = write(&path, &names(&["b.example"]));
        let other = Options { ttl: 60, ..options() };
        let other = Publisher::new(zone.clone()).update(&other, &image, &path, 7).unwrap();
        assert!(other.is_new && other.version.serial() == 8);
    }

    #[test]
    fn serial_numbers_grow_around_the_corner() {
        for (serial, now, expected) in
            [(1, 7, 7), (7, 7, 8), (9, 7, 10), (u32::MAX, 7, 7), (u32::MAX, 3_000_000_000, 0)]
        {
            assert_eq!(successor(serial, now), expected, "{serial} {now}");
        }
    }
}
