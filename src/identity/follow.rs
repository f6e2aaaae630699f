//! Files that are read into the book, once or whenever they change.
//!
//! A file that changes while it is read, or whose last line has no end, is being written: it is read again at the next look. Which
//! files there are is told; when to look is for the caller to know.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;

use super::claim::{Batch, Fault, Scope};
use super::read::times::Order;
use super::read::{self, Format, MAX_FILE, ReadError, Reading};
use super::{Book, BookError, Source, Taken, Trial};
use crate::tabular::heading::bare;

/// When a file is tried again that could not be read or taken, and is as it was.
const RETRY: Duration = Duration::from_secs(60);

/// A file that is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Where it is. Of Kea's lease files, the main one.
    pub path: PathBuf,
    /// How it is written.
    pub format: Format,
    /// The id of the agency whose machines it speaks of, where it does not say so itself.
    pub agency: Option<String>,
    /// In which zone its times are, where they do not say so.
    pub zone: TimeZone,
    /// In which order its dates are.
    pub dates: Order,
}

/// What is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The files.
    pub files: Vec<Watched>,
    /// Agencies' ids and names, by which inventories may call them.
    pub agencies: Vec<(String, String)>,
    /// How long is kept which addresses machines had.
    pub keep: Duration,
}

/// Why a file was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It cannot be opened or read.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// More than a file may have.
    #[error("{path}: larger than {} MiB; is this a file of leases or machines?", MAX_FILE >> 20)]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
    /// It is none that can be read.
    #[error("{path}: {source}")]
    Content {
        /// Which.
        path: PathBuf,
        /// Why.
        source: ReadError,
    },
    /// It gives nothing, and taking it would end all that it said before.
    #[error("{path}: no machine could be read of it ({fault}); what it said before stays")]
    Nothing {
        /// Which.
        path: PathBuf,
        /// The first fault.
        fault: Fault,
    },
    /// The book refuses.
    #[error(transparent)]
    Book(#[from] BookError),
}

impl ImportError {
    /// Whether the same file may be taken a minute later: rights, a disk and a busy database are mended without touching it.
    fn is_passing(&self) -> bool {
        matches!(self, Self::File { .. } | Self::Book(_))
    }
}

/// What became of a file.
#[derive(Debug)]
pub struct Import {
    /// In which format it is.
    pub format: Format,
    /// What changed.
    pub taken: Taken,
    /// What could not be read of it.
    pub batch: Batch,
}

/// Reads a file into the book.
///
/// # Errors
/// [`ImportError`]; then nothing of it is taken.
pub fn import(
    book: &Book,
    name: &str,
    file: &Watched,
    as_of: Option<i64>,
    options: &Options,
    trial: Trial,
) -> Result<Import, ImportError> {
    let (octets, written) = load(&file.path)?;
    take(book, name, file, &octets, as_of.unwrap_or(written), options, trial)
}

fn take(
    book: &Book,
    name: &str,
    file: &Watched,
    octets: &[u8],
    as_of: i64,
    options: &Options,
    trial: Trial,
) -> Result<Import, ImportError> {
    let Watched { path, format, agency, zone, dates } = file;
    let reading = Reading { format: *format, as_of, zone: zone.clone(), dates: *dates };
    let (format, mut batch) =
        read::read(octets, &reading).map_err(|source| ImportError::Content { path: path.clone(), source })?;
    // A list of the moment ends what it does not have: one that cannot be read must not.
    if batch.scope != Scope::Log
        && batch.claims.is_empty()
        && let Some((_, fault)) = batch.faults.first()
    {
        return Err(ImportError::Nothing { path: path.clone(), fault: fault.clone() });
    }
    let mut agencies = HashMap::new();
    for (id, name) in &options.agencies {
        for called in [id, name] {
            agencies.entry(bare(called)).or_insert(id);
        }
    }
    batch.name_agencies(|unit| agencies.get(&bare(unit)).map(|id| (*id).clone()));
    let source = Source { name, agency: agency.as_deref(), as_of };
    let taken = book.take(&source, &mut batch, trial)?;
    Ok(Import { format, taken, batch })
}

/// The name under which a file's versions are known: its whole path.
pub fn source_name(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// A file's octets, and when it was written.
fn load(path: &Path) -> Result<(Vec<u8>, i64), ImportError> {
    let mut octets = Vec::new();
    let mut written = 0;
    for part in parts(path) {
        let fault = |source| ImportError::File { path: part.clone(), source };
        let kind = fs::metadata(&part).map_err(fault)?;
        if !kind.is_file() {
            return Err(fault(io::Error::other("not a file")));
        }
        let left = MAX_FILE.saturating_sub(octets.len() as u64);
        File::open(&part).map_err(fault)?.take(left + 1).read_to_end(&mut octets).map_err(fault)?;
        if octets.len() as u64 > MAX_FILE {
            return Err(ImportError::TooLarge { path: path.to_owned() });
        }
        written = written.max(mark_of(&kind).written);
        if !octets.is_empty() && !octets.ends_with(b"\n") && part != *path {
            octets.push(b'\n');
        }
    }
    Ok((octets, written))
}

/// The files that are one: while Kea cleans up its leases (lease file cleanup), the older ones stand beside, and count first.
fn parts(path: &Path) -> Vec<PathBuf> {
    let beside = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    let completed = beside(".completed");
    let older = if completed.exists() { vec![completed] } else { vec![beside(".2"), beside(".1")] };
    let is_leases = |part: &PathBuf| {
        let mut head = [0; 16];
        let read = File::open(part).and_then(|mut file| file.read(&mut head));
        read.is_ok_and(|len| head[..len].starts_with(b"address,"))
    };
    older.into_iter().filter(is_leases).chain([path.to_owned()]).collect()
}

/// By what a change shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    octets: u64,
    inode: u64,
    written: i64,
}

fn mark_of(facts: &fs::Metadata) -> Mark {
    let written = facts.mtime().saturating_mul(1_000_000).saturating_add(facts.mtime_nsec() / 1000);
    Mark { octets: facts.len(), inode: facts.ino(), written }
}

fn mark(path: &Path) -> Option<Vec<Mark>> {
    parts(path).iter().map(|part| fs::metadata(part).ok().map(|facts| mark_of(&facts))).collect()
}

/// Looks for changes of files.
#[derive(Debug, Default)]
pub struct Follower {
    seen: Vec<Seen>,
}

/// What is known of a file.
#[derive(Debug)]
struct Seen {
    file: Watched,
    taken: Option<Vec<Mark>>,
    last: Option<Vec<Mark>>,
    /// When it failed as it is now, by what may pass.
    failed: Option<Instant>,
    /// That it is not there was told.
    is_missing: bool,
}

/// What a look found, for people.
#[derive(Debug)]
pub enum Event {
    /// A file was read.
    Taken(PathBuf, Box<Import>),
    /// It was not, and will be tried again once it changes, or soon where that may have helped itself.
    Failed(ImportError),
}

impl Follower {
    /// Looks once. What has changed since the last look is not read before it stays as it is for a look.
    pub fn look(&mut self, book: &Book, options: &Options) -> Vec<Event> {
        self.seen.retain(|seen| options.files.contains(&seen.file));
        for file in &options.files {
            if !self.seen.iter().any(|seen| seen.file == *file) {
                let file = file.clone();
                self.seen.push(Seen { file, taken: None, last: None, failed: None, is_missing: false });
            }
        }
        self.seen.iter_mut().filter_map(|seen| seen.look(book, options)).collect()
    }
}

impl Seen {
    fn look(&mut self, book: &Book, options: &Options) -> Option<Event> {
        let path = &self.file.path;
        let Some(now) = mark(path) else {
            let was_missing = std::mem::replace(&mut self.is_missing, true);
            (self.taken, self.last) = (None, None);
            let source = io::Error::from(io::ErrorKind::NotFound);
            return (!was_missing).then(|| Event::Failed(ImportError::File { path: path.clone(), source }));
        };
        self.is_missing = false;
        if self.taken.as_ref() == Some(&now) {
            return None;
        }
        // The first time it need not have changed at all.
        let is_quiet = self.last.as_ref() == Some(&now);
        self.last = Some(now.clone());
        if !is_quiet {
            self.failed = None;
            return None;
        }
        if self.failed.is_some_and(|at| at.elapsed() < RETRY) {
            return None;
        }
        let loaded = load(path);
        if mark(path).as_ref() != Some(&now) {
            return None;
        }
        let name = source_name(path);
        let taken = loaded.and_then(|(octets, written)| {
            take(book, &name, &self.file, &octets, written, options, Trial::No)
        });
        match taken {
            Err(error) if error.is_passing() => {
                let was_told = self.failed.replace(Instant::now()).is_some();
                (!was_told).then_some(Event::Failed(error))
            }
            taken => {
                (self.taken, self.failed) = (Some(now), None);
                Some(match taken {
                    Ok(import) => Event::Taken(path.clone(), Box::new(import)),
                    Err(error) => Event::Failed(error),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Hints, Who};

    fn options(path: &Path) -> Options {
        let file = Watched {
            path: path.to_owned(),
            format: Format::Auto,
            agency: Some("so-tttt".to_owned()),
            zone: TimeZone::UTC,
            dates: Order::Auto,
        };
        let agencies = vec![("so-yt".to_owned(), "Sở Y tế".to_owned())];
        Options { files: vec![file], agencies, keep: Duration::from_secs(86400) }
    }

    fn told(events: &[Event]) -> Vec<String> {
        let tell = |event: &Event| match event {
            Event::Taken(_, import) => format!("{} {}", import.format, import.taken.added),
            Event::Failed(error) => error.to_string().rsplit(": ").next().unwrap().to_owned(),
        };
        events.iter().map(tell).collect()
    }

    #[test]
    fn files_are_read_when_they_change_and_rest() {
        let folder = tempfile::tempdir().unwrap();
        let book = Book::open(&folder.path().join("book")).unwrap();
        let path = folder.path().join("leases.csv");
        let options = options(&path);
        let mut follower = Follower::default();
        let mut look = || told(&follower.look(&book, &options));
        assert_eq!(look(), ["entity not found"]);
        assert_eq!(look(), Vec::<String>::new());
        let header = "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context\n";
        let line = "10.1.2.3,00:1a:2b:3c:4d:5e,,3600,1795658400,1,0,0,pc-01,0,\n";
        fs::write(&path, format!("{header}{line}")).unwrap();
        assert_eq!(look(), Vec::<String>::new());
        assert_eq!(look(), ["kea 1"]);
        assert_eq!(look(), Vec::<String>::new());
        // While the old leases are cleaned up they stand beside.
        fs::rename(&path, folder.path().join("leases.csv.1")).unwrap();
        fs::write(&path, format!("{header}{}", line.replace("10.1.2.3", "10.1.2.4"))).unwrap();
        assert_eq!(look(), Vec::<String>::new());
        assert_eq!(look(), ["kea 1"]);
        let address = "10.1.2.3".parse().unwrap();
        let Who::Machine(machine) = book.who(address, 1_795_655_000_000_000, &Hints::default()).unwrap()
        else {
            panic!()
        };
        assert_eq!(machine.agency.as_deref(), Some("so-tttt"));
        assert_eq!(book.addresses(machine.id).unwrap().len(), 2);
        fs::write(&path, "nothing\n").unwrap();
        fs::remove_file(folder.path().join("leases.csv.1")).unwrap();
        look();
        assert_eq!(
            look(),
            ["what kind of file is this? Say --format kea, isc, dnsmasq, windows or inventory"]
        );
    }

    #[test]
    fn a_list_that_cannot_be_read_ends_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let book = Book::open(&folder.path().join("book")).unwrap();
        let path = folder.path().join("may-tinh.csv");
        let options = options(&path);
        let file = &options.files[0];
        let import = |text: &str, as_of| {
            fs::write(&path, text).unwrap();
            import(&book, "may-tinh", file, Some(as_of), &options, Trial::No)
        };
        import("Tên máy,Địa chỉ IP,Đơn vị\npc-01,10.1.2.3,SỞ Y TẾ\n", 10).unwrap();
        let error = import("Tên máy,Địa chỉ IP,Đơn vị\n,10.1.2.300,\n", 20).unwrap_err();
        assert!(error.to_string().ends_with("what it said before stays"), "{error}");
        let Who::Machine(machine) = book.who("10.1.2.3".parse().unwrap(), 30, &Hints::default()).unwrap()
        else {
            panic!()
        };
        assert_eq!((machine.agency.as_deref(), machine.unit.as_deref()), (Some("so-yt"), Some("SỞ Y TẾ")));
    }
}
