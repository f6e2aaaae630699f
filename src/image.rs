//! The policy image: one immutable file that holds all rules, mapped read-only and shared by all
//! workers.
//!
//! Owns the file's bytes, its digest and its atomic replacement. What rules mean is `policy`'s.
//!
//! ```text
//! offset  size
//!      0     8  magic "SACHDNS\x01"
//!      8     4  version of this layout, 4                              (numbers are little-endian)
//!     12     4  zero
//!     16     8  A: octets of the automaton
//!     24     8  T: octets of the tables
//!     32     8  keys in the automaton: names and networks
//!     40     8  when it was built, microseconds since 1970
//!     48    32  fingerprint of the sources that it was built from
//!     80    32  SHA-256 of: the SHA-256 of each 262144 octets (the last: fewer) of automaton and tables,
//!               then the first 80 octets of this header
//!    112     A  automaton (crate `fst`): key → number of a rule set. A qname's key is as in
//!               `crate::name::Key`; all others begin with 00 (see `policy::trigger`)
//!  112+A     T  tables
//!
//! tables:   feeds      u16 count, each: u8 kind, u8 timing, u8 signed (see `policy::rule`), u16 length, name,
//!                      u8 number of its sinkhole's addresses (all ones: it has no own), and for each: u8 4 | 16, octets
//!           families   u32 count, each: u16 length, text
//!           actions    u32 count, each: u32 length, spelling (see `policy::action`)
//!           rules      u32 count, each: u16 feed, u8 trigger, u8 scope, u8 mode, u32 action,
//!                      u32 family (all ones: none), u8 severity (0: none; low to critical from 1 on)
//!           rule sets  u32 count, each: u16 count, u32 rule …
//! ```
//!
//! A file is written beside its final place, fsynced and renamed, so a reader sees the old image or
//! the new one. Only its digest makes it trusted: a corrupt automaton would lie or panic. Nobody may
//! change the file in place while it is mapped; replacing it by rename is always safe.

#![expect(unsafe_code, reason = "mapping a file is unsafe; this is the one place that does it")]

mod digest;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write};
use std::net::IpAddr;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

pub use digest::Digest;

use crate::policy::action::Action;
use crate::policy::compile::Compiled;
use crate::policy::index::{Index, IndexError};
use crate::policy::rule::{Feed, FeedKind, Mode, Provenance, Rule, Severity, Signed, Timing};
use crate::policy::trigger::{Scope, Trigger};
use digest::Digester;

const MAGIC: &[u8; 8] = b"SACHDNS\x01";
const VERSION: u32 = 4;
const HEADER: usize = 112;
/// Where the digest starts; the header's octets before it are digested.
const DIGEST: usize = 80;
const NO_FAMILY: u32 = u32::MAX;
const NO_SINKHOLE: u8 = u8::MAX;

/// A digest of what an image was built from, to tell whether it is still up to date.
pub type Fingerprint = [u8; 32];

/// An image that was opened and verified.
pub struct Image {
    /// The rules, straight from the mapped file.
    pub index: Index<Automaton>,
    /// What the header says.
    pub facts: Facts,
}

/// What an image's header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Octets of the whole file.
    pub file_len: u64,
    /// Octets of the automaton in it.
    pub automaton_len: u64,
    /// How many names are listed.
    pub name_count: u64,
    /// When it was built, microseconds since 1970.
    pub built_at: i64,
    /// What it was built from.
    pub fingerprint: Fingerprint,
    /// Its SHA-256.
    pub digest: Digest,
}

/// The automaton's part of a mapped image.
pub struct Automaton {
    map: Mmap,
    end: usize,
}

impl AsRef<[u8]> for Automaton {
    fn as_ref(&self) -> &[u8] {
        &self.map[HEADER..self.end]
    }
}

/// Why an image cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The file system refused.
    #[error("{path}: {action}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not an image, or was made by another release.
    #[error("{path}: {what}; build it again with `sachdns policy build`")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// The digest does not fit the bytes.
    #[error(
        "{path}: damaged (its SHA-256 does not fit its content); build it again with `sachdns policy build`, and check the disk"
    )]
    Digest {
        /// The file.
        path: PathBuf,
    },
    /// The parts do not fit each other.
    #[error("{path}: {source}")]
    Index {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        source: IndexError,
    },
}

fn io_error<'a>(path: &'a Path, action: &'static str) -> impl FnOnce(io::Error) -> ImageError + 'a {
    move |source| ImageError::Io { path: path.to_owned(), action, source }
}

/// Verifies the image at `path` and maps it.
///
/// # Errors
/// [`ImageError`]: unreadable, of another layout, or damaged.
pub fn open(path: &Path) -> Result<Image, ImageError> {
    let (file, header) = open_file(path)?;
    let reading = || io_error(path, "reading the policy image");
    let format = |what| ImageError::Format { path: path.to_owned(), what };
    let len = file.metadata().map_err(reading())?.len();
    let (automaton_len, tables_len) = (u64_at(&header, 16), u64_at(&header, 24));
    let total = automaton_len.checked_add(tables_len).and_then(|sum| sum.checked_add(HEADER as u64));
    if total != Some(len) {
        return Err(format("its length is not what its header says (cut off?)"));
    }
    let digest = digest::of_file(&file, HEADER as u64, len, &header[..DIGEST]).map_err(reading())?;
    if digest != header[DIGEST..] {
        return Err(ImageError::Digest { path: path.to_owned() });
    }
    // SAFETY: the map is read-only and private to this type. The file is never written in place:
    // `write` makes a new one and renames it over this one, which leaves the mapped inode as it is.
    // (A disk that fails under the map ends the process with SIGBUS; nothing here can change that.)
    let map = unsafe { Mmap::map(&file) }.map_err(io_error(path, "mapping the policy image"))?;
    if map.len() as u64 != len {
        return Err(format("it was changed in place while it was opened"));
    }
    let facts = Facts {
        file_len: map.len() as u64,
        automaton_len,
        name_count: u64_at(&header, 32),
        built_at: u64_at(&header, 40) as i64,
        fingerprint: fingerprint_in(&header),
        digest,
    };
    // Both lengths add up to the map's, which fits a usize.
    let end = HEADER + automaton_len as usize;
    let (provenance, rule_sets) =
        Tables { rest: &map[end..] }.read().ok_or_else(|| format("its tables do not parse"))?;
    let index = Index::new(Automaton { map, end }, rule_sets, provenance)
        .map_err(|source| ImageError::Index { path: path.to_owned(), source })?;
    Ok(Image { index, facts })
}

/// What the image at `path` was built from, as its header says; nothing is verified.
///
/// # Errors
/// [`ImageError`]: unreadable, or of another layout.
pub fn fingerprint(path: &Path) -> Result<Fingerprint, ImageError> {
    open_file(path).map(|(_, header)| fingerprint_in(&header))
}

/// The digest of the image at `path`, as its header says; nothing is verified.
///
/// # Errors
/// [`ImageError`]: unreadable, or of another layout.
pub fn digest(path: &Path) -> Result<Digest, ImageError> {
    open_file(path).map(|(_, header)| header[DIGEST..].try_into().expect("32 octets"))
}

/// Opens the file and reads its header, which is one of this layout.
fn open_file(path: &Path) -> Result<(File, [u8; HEADER]), ImageError> {
    let format = |what| ImageError::Format { path: path.to_owned(), what };
    let file = File::open(path).map_err(io_error(path, "opening the policy image"))?;
    let mut header = [0; HEADER];
    file.read_exact_at(&mut header, 0).map_err(|source| match source.kind() {
        io::ErrorKind::UnexpectedEof => format("too short for a policy image"),
        _ => ImageError::Io { path: path.to_owned(), action: "reading the policy image", source },
    })?;
    if &header[..8] != MAGIC {
        return Err(format("not a policy image"));
    }
    if u32_at(&header, 8) != VERSION {
        return Err(format("made by another release of sachdns"));
    }
    Ok((file, header))
}

fn fingerprint_in(header: &[u8; HEADER]) -> Fingerprint {
    header[48..80].try_into().expect("32 octets")
}

/// Writes an image and puts it in place of whatever is at `path`, in one step.
///
/// # Errors
/// [`ImageError::Io`]; the old image then stays, and no half-written file is left. That the rename
/// itself reaches the disk is tried, not promised: after a power cut either image may be there, whole.
pub fn write(
    path: &Path,
    compiled: &Compiled,
    fingerprint: &Fingerprint,
    built_at: i64,
) -> Result<Digest, ImageError> {
    let scratch = scratch_path(path);
    let result = write_scratch(&scratch, compiled, fingerprint, built_at).and_then(|digest| {
        fs::rename(&scratch, path).map_err(io_error(path, "putting the policy image in place"))?;
        Ok(digest)
    });
    match &result {
        Ok(_) => sync_folder(path),
        // It may not exist; what went wrong first is what matters.
        Err(_) => drop(fs::remove_file(&scratch)),
    }
    result
}

/// Removes what an earlier process left half-written when it was killed.
pub fn remove_scratch(path: &Path) {
    let _ = fs::remove_file(scratch_path(path));
}

fn scratch_path(path: &Path) -> PathBuf {
    path.with_extension("tmp")
}

fn sync_folder(path: &Path) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Err(error) = File::open(folder).and_then(|folder| folder.sync_all()) {
        tracing::warn!(folder = %folder.display(), %error, "the policy image's folder cannot be synced");
    }
}

fn write_scratch(
    scratch: &Path,
    compiled: &Compiled,
    fingerprint: &Fingerprint,
    built_at: i64,
) -> Result<Digest, ImageError> {
    let writing = || io_error(scratch, "writing the policy image");
    let mut file = File::create(scratch).map_err(io_error(scratch, "creating the policy image"))?;
    file.write_all(&[0; HEADER]).map_err(writing())?;
    let mut body = Digesting { inner: BufWriter::new(file), digester: Digester::default(), len: 0 };

    let mut name_count: u64 = 0;
    let built = (|| {
        let mut names = fst::raw::Builder::new(&mut body)?;
        let rule_sets = compiled.visit(|key, rule_set| {
            name_count += 1;
            names.insert(key, rule_set)
        })?;
        names.finish()?;
        Ok(rule_sets)
    })();
    let rule_sets = built.map_err(|error| match error {
        fst::Error::Io(source) => writing()(source),
        other => writing()(io::Error::other(other)),
    })?;
    let automaton_len = body.len;
    body.write_all(&tables(&compiled.provenance, &rule_sets)).map_err(writing())?;
    let tables_len = body.len - automaton_len;

    let mut header = [0; HEADER];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[16..24].copy_from_slice(&automaton_len.to_le_bytes());
    header[24..32].copy_from_slice(&tables_len.to_le_bytes());
    header[32..40].copy_from_slice(&name_count.to_le_bytes());
    header[40..48].copy_from_slice(&built_at.to_le_bytes());
    header[48..80].copy_from_slice(fingerprint);
    let digest = body.digester.finish(&header[..DIGEST]);
    header[DIGEST..].copy_from_slice(&digest);
    let mut file = body.inner.into_inner().map_err(|error| writing()(error.into_error()))?;

    file.seek(SeekFrom::Start(0)).map_err(writing())?;
    file.write_all(&header).map_err(writing())?;
    file.sync_all().map_err(io_error(scratch, "syncing the policy image"))?;
    Ok(digest)
}

/// Counts and digests what passes through.
struct Digesting<W> {
    inner: W,
    digester: Digester,
    len: u64,
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.inner.write(bytes)?;
        self.digester.update(&bytes[..len]);
        self.len += len as u64;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn tables(provenance: &Provenance, rule_sets: &[Vec<Rule>]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend((provenance.feeds.len() as u16).to_le_bytes());
    for feed in &provenance.feeds {
        out.push(match feed.kind {
            FeedKind::Threat => 0,
            FeedKind::Housekeeping => 1,
        });
        out.push(match feed.timing {
            Timing::AtOnce => 0,
            Timing::AfterResolving => 1,
        });
        out.push(match feed.signed {
            Signed::Rewritten => 0,
            Signed::LeftAlone => 1,
        });
        push_text(&mut out, &feed.name);
        match &feed.sinkhole {
            None => out.push(NO_SINKHOLE),
            // The configuration gives one of each family at most.
            Some(addresses) => {
                out.push(addresses.len() as u8);
                addresses.iter().for_each(|address| push_address(&mut out, *address));
            }
        }
    }
    out.extend((provenance.families.len() as u32).to_le_bytes());
    for family in &provenance.families {
        push_text(&mut out, family);
    }

    let mut actions: Vec<&Action> = Vec::new();
    let mut action_numbers: HashMap<&Action, u32> = HashMap::new();
    let mut rules: Vec<(&Rule, u32)> = Vec::new();
    let mut rule_numbers: HashMap<&Rule, u32> = HashMap::new();
    let mut sets = Vec::new();
    for set in rule_sets {
        sets.extend((set.len() as u16).to_le_bytes());
        for rule in set {
            let number = *rule_numbers.entry(rule).or_insert_with(|| {
                let action = *action_numbers.entry(&rule.action).or_insert_with(|| {
                    actions.push(&rule.action);
                    actions.len() as u32 - 1
                });
                rules.push((rule, action));
                rules.len() as u32 - 1
            });
            sets.extend(number.to_le_bytes());
        }
    }
    out.extend((actions.len() as u32).to_le_bytes());
    for action in actions {
        let text = action.to_string();
        out.extend((text.len() as u32).to_le_bytes());
        out.extend(text.as_bytes());
    }
    out.extend((rules.len() as u32).to_le_bytes());
    for (rule, action) in rules {
        out.extend(rule.feed.to_le_bytes());
        out.push(Trigger::ALL.iter().position(|trigger| *trigger == rule.trigger).unwrap_or_default() as u8);
        out.push(match rule.scope {
            Scope::Exact => 0,
            Scope::Subtree => 1,
            Scope::Below => 2,
        });
        out.push(match rule.mode {
            Mode::Enforced => 0,
            Mode::Shadow => 1,
            Mode::Guarded => 2,
        });
        out.extend(action.to_le_bytes());
        out.extend(rule.family.unwrap_or(NO_FAMILY).to_le_bytes());
        out.push(match rule.severity {
            None => 0,
            Some(Severity::Low) => 1,
            Some(Severity::Medium) => 2,
            Some(Severity::High) => 3,
            Some(Severity::Critical) => 4,
        });
    }
    out.extend((rule_sets.len() as u32).to_le_bytes());
    out.extend(sets);
    out
}

/// Texts come from configuration and feeds, both capped; a longer one is cut at a character's edge.
fn push_text(out: &mut Vec<u8>, text: &str) {
    let text = &text[..text.floor_char_boundary(usize::from(u16::MAX))];
    out.extend((text.len() as u16).to_le_bytes());
    out.extend(text.as_bytes());
}

fn push_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            out.push(4);
            out.extend(address.octets());
        }
        IpAddr::V6(address) => {
            out.push(16);
            out.extend(address.octets());
        }
    }
}

/// Reads the tables; every length is checked, for a digest proves origin, not sense.
struct Tables<'a> {
    rest: &'a [u8],
}

impl Tables<'_> {
    fn read(mut self) -> Option<(Provenance, Vec<Vec<Rule>>)> {
        let mut provenance = Provenance::default();
        for _ in 0..self.u16()? {
            let kind = match self.u8()? {
                0 => FeedKind::Threat,
                1 => FeedKind::Housekeeping,
                _ => return None,
            };
            let timing = match self.u8()? {
                0 => Timing::AtOnce,
                1 => Timing::AfterResolving,
                _ => return None,
            };
            let signed = match self.u8()? {
                0 => Signed::Rewritten,
                1 => Signed::LeftAlone,
                _ => return None,
            };
            let name = self.text()?.into();
            let sinkhole = match self.u8()? {
                NO_SINKHOLE => None,
                count => Some((0..count).map(|_| self.address()).collect::<Option<_>>()?),
            };
            provenance.feeds.push(Feed { kind, timing, signed, name, sinkhole });
        }
        for _ in 0..self.u32()? {
            provenance.families.push(self.text()?.into());
        }
        let mut actions: Vec<Action> = Vec::new();
        for _ in 0..self.u32()? {
            let len = self.u32()? as usize;
            actions.push(std::str::from_utf8(self.take(len)?).ok()?.parse().ok()?);
        }
        let mut rules = Vec::new();
        for _ in 0..self.u32()? {
            rules.push(Rule {
                feed: self.u16()?,
                trigger: *Trigger::ALL.get(usize::from(self.u8()?))?,
                scope: match self.u8()? {
                    0 => Scope::Exact,
                    1 => Scope::Subtree,
                    2 => Scope::Below,
                    _ => return None,
                },
                mode: match self.u8()? {
                    0 => Mode::Enforced,
                    1 => Mode::Shadow,
                    2 => Mode::Guarded,
                    _ => return None,
                },
                action: actions.get(self.u32()? as usize)?.clone(),
                family: Some(self.u32()?).filter(|&family| family != NO_FAMILY),
                severity: match self.u8()? {
                    0 => None,
                    number => Some(*Severity::ALL.get(usize::from(number) - 1)?),
                },
            });
        }
        let mut sets = Vec::new();
        for _ in 0..self.u32()? {
            let mut set = Vec::new();
            for _ in 0..self.u16()? {
                set.push(rules.get(self.u32()? as usize)?.clone());
            }
            sets.push(set);
        }
        self.rest.is_empty().then_some((provenance, sets))
    }

    fn take(&mut self, len: usize) -> Option<&[u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn address(&mut self) -> Option<IpAddr> {
        match self.u8()? {
            4 => <[u8; 4]>::try_from(self.take(4)?).ok().map(IpAddr::from),
            16 => <[u8; 16]>::try_from(self.take(16)?).ok().map(IpAddr::from),
            _ => None,
        }
    }

    fn text(&mut self) -> Option<&str> {
        let len = usize::from(self.u16()?);
        std::str::from_utf8(self.take(len)?).ok()
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four octets"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight octets"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::name::{Key, Name};
    use crate::policy::compile::{Compiler, Listing};
    use crate::policy::decide::{Unobserved, decide};

    fn sample() -> Compiled {
        let feeds = vec![
            Feed::new("canary".into(), FeedKind::Housekeeping),
            Feed {
                sinkhole: Some(["10.66.0.1".parse().unwrap(), "fd00::66".parse().unwrap()].into()),
                ..Feed::new("authority".into(), FeedKind::Threat)
            },
        ];
        let mut compiler = Compiler::new(feeds);
        let family: Arc<str> = "Mã độc".into();
        for n in 0..100 {
            let name = Name::from_host(&format!("evil{n}.example")).unwrap();
            let (scope, action, mode) = (Scope::Subtree, Action::Sinkhole, Mode::Shadow);
            let severity = Some(Severity::ALL[n % 4]);
            let listing = Listing { feed: 1, scope, action, mode, family: Some(&family), severity };
            compiler.add(&name, listing).unwrap();
        }
        let alias = Action::Cname(Name::from_host("walled.example").unwrap());
        let name = Name::from_host("alias.example").unwrap();
        let (scope, mode) = (Scope::Exact, Mode::Enforced);
        let listing = Listing { feed: 0, scope, action: alias, mode, family: None, severity: None };
        compiler.add(&name, listing).unwrap();
        let (action, mode) = (Action::Sinkhole, Mode::Guarded);
        let listing = Listing { feed: 1, scope, action, mode, family: None, severity: None };
        compiler.add_network(Trigger::Address, "192.0.2.0/24".parse().unwrap(), listing).unwrap();
        compiler.finish().unwrap()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.img");
        let compiled = sample();
        write(&path, &compiled, &[7; 32], 1_000_000).unwrap();
        let image = open(&path).unwrap();
        assert_eq!(image.facts.name_count, 102);
        assert_eq!(image.facts.built_at, 1_000_000);
        assert_eq!(image.facts.fingerprint, [7; 32]);
        assert_eq!(image.index.name_count(), 102);
        assert_eq!(*image.index.provenance(), compiled.provenance);

        let key = Key::from(&Name::from_host("www.evil7.example").unwrap());
        let ruling = decide(&image.index, &key, &mut Unobserved).shadow.unwrap();
        assert_eq!((&*ruling.feed.name, ruling.family), ("authority", Some("Mã độc")));
        assert_eq!(ruling.rule.severity, Some(Severity::Critical));
        let mut modes = Vec::new();
        image.index.walk_networks(Trigger::Ip, "192.0.2.7".parse().unwrap(), |len, rules| {
            modes.extend(rules.iter().map(|rule| (len, rule.trigger, rule.mode)));
        });
        assert_eq!(modes, [(24, Trigger::Address, Mode::Guarded)]);
        let key = Key::from(&Name::from_host("alias.example").unwrap());
        let ruling = decide(&image.index, &key, &mut Unobserved).ruling.unwrap();
        assert_eq!(ruling.rule.action.to_string(), "cname:walled.example.");
        assert!(!ruling.is_hit());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no scratch file stays");
    }

    #[test]
    fn a_mapped_image_outlives_its_replacement() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.img");
        write(&path, &sample(), &[1; 32], 1).unwrap();
        let old = open(&path).unwrap();
        write(&path, &Compiler::new(Vec::new()).finish().unwrap(), &[2; 32], 2).unwrap();
        assert_eq!(open(&path).unwrap().index.name_count(), 0);
        let key = Key::from(&Name::from_host("evil7.example").unwrap());
        assert!(decide(&old.index, &key, &mut Unobserved).shadow.is_some());
    }

    #[test]
    fn any_damage_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.img");
        write(&path, &sample(), &[7; 32], 1).unwrap();
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x20;
            fs::write(&path, &damaged).unwrap();
            assert!(open(&path).is_err(), "octet {at} changed");
        }
        for len in 0..whole.len() {
            fs::write(&path, &whole[..len]).unwrap();
            assert!(open(&path).is_err(), "cut to {len}");
        }
    }
}
