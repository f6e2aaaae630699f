//! The history of analysts' rules: a file to which every change is added.
//!
//! ```text
//! one JSON object a line, in the order in which things were done
//! {"id":1,"time":"2026-11-25T08:00:00Z","by":"Lan","reason":"phishing","block":"evil.example","scope":"subtree",
//!  "action":"sinkhole","agency":"so-tttt","expires":"2026-12-25T08:00:00Z","family":"…","severity":"high","force":true}
//! {"id":2,"time":"2026-11-25T09:00:00Z","by":"Minh","reason":"ours","allow":"192.0.2.0/24"}
//! {"id":3,"time":"2026-11-25T10:00:00Z","by":"Lan","reason":"cleaned","remove":1}
//! ```
//!
//! `scope` is there for names alone; from `agency` on, what is not said is not there. A line is added by one
//! write and synced before anybody is told that it is done, under a lock that goes with its file; what the
//! power cut in the middle has no line's end, and is cut off before the next line is added. Long after rules
//! have ended they leave the file, which stays whole under another name.
//!
//! What rules mean is not known here.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Book, Change, Deed, Effect, End, Entry, Event, Rule, Subject};
use crate::name::Name;
use crate::policy::action::Action;
use crate::policy::trigger::Scope;

/// A file that is much longer is another one.
const MOST_OCTETS: u64 = 256 << 20;
/// From this size on, what ended long ago leaves the file …
const LONG: u64 = 4 << 20;
/// … and this is long ago, in microseconds.
const KEPT: i64 = 90 * 24 * 3600 * 1_000_000;

/// The file.
#[derive(Debug, Clone)]
pub struct History {
    path: PathBuf,
}

/// What a file was when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark([i64; 5]);

/// What was read.
#[derive(Debug, Default)]
pub struct Reading {
    /// All rules that were given.
    pub book: Book,
    /// Lines that cannot be read: their numbers, and why.
    pub faults: Vec<(usize, String)>,
    /// What the file was.
    pub mark: Mark,
    /// Octets up to the end of the last whole line.
    whole: u64,
    len: u64,
}

/// Why rules cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file system refused.
    #[error("{path}: {source}; data_dir must be a folder that the server may write, and who gives rules too")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It cannot be what we wrote.
    #[error("{path}: longer than {} MiB, which is no list of rules; look what it is", MOST_OCTETS >> 20)]
    TooLong {
        /// The file.
        path: PathBuf,
    },
}

/// A line as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: u64,
    time: Timestamp,
    by: String,
    reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    block: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    allow: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    remove: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    action: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    agency: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    family: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    severity: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    force: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    shadow: bool,
}

impl History {
    /// The history in this data folder, which need not be there yet.
    pub fn new(data_dir: &Path) -> Self {
        Self { path: data_dir.join("rules.jsonl") }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the file is now: it differs once something was added.
    pub fn mark(&self) -> Mark {
        fs::metadata(&self.path).map(|facts| mark_of(&facts)).unwrap_or_default()
    }

    /// Reads all of it. A line that is being written, or was cut off by a power cut, is not there yet.
    ///
    /// # Errors
    /// [`HistoryError`]; a file that is not there is an empty one.
    pub fn read(&self) -> Result<Reading, HistoryError> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Reading::default()),
            Err(source) => return Err(self.io(source)),
        };
        let facts = file.metadata().map_err(|source| self.io(source))?;
        if facts.len() > MOST_OCTETS {
            return Err(HistoryError::TooLong { path: self.path.clone() });
        }
        let mut octets = Vec::new();
        // What is added meanwhile changes the mark, and is read the next time.
        let read = (&mut file).take(facts.len()).read_to_end(&mut octets);
        let len = read.map_err(|source| self.io(source))? as u64;
        let mut reading = Reading { mark: mark_of(&facts), len, ..Reading::default() };
        for (number, line) in (1..).zip(octets.split_inclusive(|octet| *octet == b'\n')) {
            let Some(line) = line.strip_suffix(b"\n") else { break };
            reading.whole += line.len() as u64 + 1;
            if line.trim_ascii().is_empty() {
                continue;
            }
            match decode(line) {
                Ok(event) => reading.book.apply(event),
                Err(why) => reading.faults.push((number, why)),
            }
        }
        Ok(reading)
    }

    /// Adds what `make` wants to be done, given all that was; returns that, and what was read.
    ///
    /// Nobody else changes the file meanwhile. Once this returns, what was done is on the disk.
    ///
    /// # Errors
    /// Those of `make`, and [`HistoryError`]: nothing was done then.
    pub fn change<E: From<HistoryError>>(
        &self,
        now: i64,
        make: impl FnOnce(&Book) -> Result<Vec<Event>, E>,
    ) -> Result<(Reading, Vec<Event>), E> {
        let _lock = self.lock()?;
        let mut reading = self.read()?;
        let events = make(&reading.book)?;
        self.append(&reading, &events)?;
        for event in &events {
            reading.book.apply(event.clone());
        }
        if reading.len > LONG && reading.faults.is_empty() {
            self.shorten(&reading.book, now)?;
        }
        Ok((reading, events))
    }

    fn lock(&self) -> Result<File, HistoryError> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder).map_err(|source| self.io(source))?;
        }
        let path = self.path.with_extension("lock");
        let failed = |source| HistoryError::Io { path: path.clone(), source };
        let lock = self.create(&path).map_err(failed)?;
        lock.lock().map_err(failed)?;
        Ok(lock)
    }

    fn append(&self, reading: &Reading, events: &[Event]) -> Result<(), HistoryError> {
        if events.is_empty() {
            return Ok(());
        }
        let mut octets = Vec::new();
        for event in events {
            encode(event, &mut octets);
        }
        let add = || {
            let is_new = !self.path.exists();
            let mut file = self.create(&self.path)?;
            if reading.whole < reading.len {
                file.set_len(reading.whole)?;
            }
            let added = file.write_all(&octets).and_then(|()| file.sync_all());
            if added.is_err() {
                // Half a batch is none.
                let _ = file.set_len(reading.whole);
            }
            added?;
            if is_new { self.sync_folder() } else { Ok(()) }
        };
        add().map_err(|source| self.io(source))
    }

    /// Leaves out rules that ended long ago. The file as it is stays, named by its last deed.
    fn shorten(&self, book: &Book, now: i64) -> Result<(), HistoryError> {
        let kept = |entry: &&Entry| entry.ended_at(now).is_none_or(|ended| now - ended < KEPT);
        let mut events: Vec<Event> = Vec::new();
        for Entry { deed, rule, end } in book.entries().iter().filter(kept) {
            events.push(Event { deed: deed.clone(), change: Change::Add(rule.clone()) });
            if let Some(End::Removed(by)) = end {
                events.push(Event { deed: by.clone(), change: Change::Remove(deed.id) });
            }
        }
        events.sort_by_key(|event| event.deed.id);
        let mut octets = Vec::new();
        events.iter().for_each(|event| encode(event, &mut octets));
        if octets.len() as u64 > LONG / 2 {
            // It would not help for long.
            return Ok(());
        }
        let replace = || {
            let scratch = self.path.with_extension("tmp");
            let _ = fs::remove_file(&scratch);
            let mut file = self.create(&scratch)?;
            file.write_all(&octets)?;
            file.sync_all()?;
            let archive = self.path.with_extension(format!("until-{}.jsonl", book.next_id() - 1));
            match fs::hard_link(&self.path, &archive) {
                // A process was killed before the next line, and nothing was done since.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                linked => linked?,
            }
            fs::rename(&scratch, &self.path)?;
            self.sync_folder()
        };
        replace().map_err(|source| self.io(source))
    }

    /// Opens a file to add to, and makes it where it is not there; it belongs to whom the folder belongs:
    /// root may give rules to a server that runs as somebody else.
    fn create(&self, path: &Path) -> io::Result<File> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        if let Some(folder) = path.parent()
            && let (Ok(folder), Ok(own)) = (fs::metadata(folder), file.metadata())
            && (folder.uid(), folder.gid()) != (own.uid(), own.gid())
        {
            // Only root may, and for others it need not be so.
            let _ = std::os::unix::fs::fchown(&file, Some(folder.uid()), Some(folder.gid()));
        }
        Ok(file)
    }

    fn sync_folder(&self) -> io::Result<()> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn io(&self, source: io::Error) -> HistoryError {
        HistoryError::Io { path: self.path.clone(), source }
    }
}

fn mark_of(facts: &fs::Metadata) -> Mark {
    Mark([facts.ino() as i64, facts.len() as i64, facts.mtime(), facts.mtime_nsec(), facts.ctime_nsec()])
}

fn encode(event: &Event, out: &mut Vec<u8>) {
    let Event { deed, change } = event;
    let time = |time: i64| Timestamp::from_microsecond(time).unwrap_or_default();
    let mut line = Line {
        id: deed.id,
        time: time(deed.time),
        by: deed.by.to_string(),
        reason: deed.reason.to_string(),
        block: None,
        allow: None,
        remove: None,
        scope: None,
        action: None,
        agency: None,
        expires: None,
        family: None,
        severity: None,
        force: false,
        shadow: false,
    };
    match change {
        Change::Remove(id) => line.remove = Some(*id),
        Change::Add(rule) => {
            let value = match &rule.subject {
                Subject::Name(name, scope) => {
                    line.scope = Some(scope.to_string());
                    name.to_string()
                }
                Subject::Network(net) => net.to_string(),
            };
            match rule.action {
                Action::Passthru => line.allow = Some(value),
                ref action => (line.block, line.action) = (Some(value), Some(action.to_string())),
            }
            line.agency = rule.agency.as_deref().map(str::to_owned);
            line.expires = rule.expires.map(time);
            line.family = rule.family.as_deref().map(str::to_owned);
            line.severity = rule.severity.map(|severity| severity.to_string());
            line.force = rule.effect == Effect::Forced;
            line.shadow = rule.effect == Effect::Shadow;
        }
    }
    // Into memory, and there are only texts and numbers in it.
    let _ = serde_json::to_writer(&mut *out, &line);
    out.push(b'\n');
}

/// Reads a line, or says why it cannot be.
fn decode(line: &[u8]) -> Result<Event, String> {
    let line: Line = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let deed = Deed {
        id: line.id,
        time: line.time.as_microsecond(),
        by: line.by.into(),
        reason: line.reason.into(),
    };
    let (value, action) = match (line.block, line.allow, line.remove) {
        (None, None, Some(id)) => return Ok(Event { deed, change: Change::Remove(id) }),
        (None, Some(value), None) => (value, Action::Passthru),
        (Some(value), None, None) => {
            let action = line.action.as_deref().unwrap_or("sinkhole");
            (value, action.parse().map_err(|error| format!("action: {error}"))?)
        }
        _ => return Err("there must be one of block, allow and remove in it".to_owned()),
    };
    let subject = match line.scope.as_deref() {
        Some(scope) => {
            let scope = match scope {
                "exact" => Scope::Exact,
                "subtree" => Scope::Subtree,
                "below" => Scope::Below,
                _ => return Err(format!("scope: {scope:?} is none of exact, subtree and below")),
            };
            Subject::Name(Name::from_presentation(&value).map_err(|error| error.to_string())?, scope)
        }
        None => Subject::Network(value.parse::<IpNet>().map_err(|error| format!("{value:?}: {error}"))?),
    };
    let effect = match (line.force, line.shadow) {
        (_, true) => Effect::Shadow,
        (true, false) => Effect::Forced,
        (false, false) => Effect::Usual,
    };
    let severity = line.severity.map(|severity| severity.parse()).transpose();
    let rule = Rule {
        subject,
        action,
        effect,
        agency: line.agency.map(Into::into),
        expires: line.expires.map(Timestamp::as_microsecond),
        family: line.family.map(Into::into),
        severity: severity.map_err(|error| format!("severity: {error}"))?,
    };
    Ok(Event { deed, change: Change::Add(rule) })
}
