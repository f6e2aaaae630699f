//! Contacts: who came to the sinkhole, to which port, asking for which name, and with which first octets.
//!
//! The sinkhole's listeners hand them in and never wait; one thread of low priority writes them to a database in
//! `data_dir/contacts`. What it could not take or keep is counted as a [`Gap`]. Contacts that are alike within a minute
//! are one row with a count. Knows no sockets, no machines and no cases; which query led to a contact is said by [`join`].

mod alike;
mod database;
pub mod join;
mod writer;

use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use self::alike::Row;
use self::database::Database;
use self::writer::Writer;
use crate::name::{self, Name};

/// Octets that are kept of what came first.
pub const MOST_FIRST: usize = 128;
/// Octets that are kept of a path …
const MOST_PATH: usize = 512;
/// … and of what a client calls itself.
const MOST_AGENT: usize = 256;
/// Contacts that wait for the writer: some megabytes at the most.
const MOST_WAITING: usize = 4096;
/// Contacts that are alike within this time are one, in microseconds.
const MINUTE: i64 = 60_000_000;

/// What the sinkhole saw of one connection or datagram, or of several that were alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// Its number: higher than those of all rows that were entered before. 0 until it is entered.
    pub id: u64,
    /// When the (first) one came, microseconds since 1970.
    pub time: i64,
    /// Whose address it came from. Of a datagram ([`Via::Udp`]) this is a claim.
    pub client: IpAddr,
    /// … and from which port.
    pub source_port: u16,
    /// Where it came to. The address is unspecified for datagrams to a wildcard.
    pub local: SocketAddr,
    /// What it spoke.
    pub via: Via,
    /// The name that it asked for (Host or SNI), lower case, without port; see [`host_name`].
    pub name: Option<String>,
    /// The path and query that it asked for, as it was sent.
    pub path: Option<String>,
    /// What the client calls itself (`User-Agent`).
    pub agent: Option<String>,
    /// The fingerprint of its ClientHello.
    pub ja4: Option<String>,
    /// The first octets that it sent, at most [`MOST_FIRST`]; of TLS what came inside, or those before the random ones.
    pub first: Vec<u8>,
    /// How many were alike within a minute, 1 or more.
    pub count: u32,
}

/// What a contact spoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Via {
    /// HTTP without TLS, on any port.
    Http = 1,
    /// TLS, on any port.
    Tls = 2,
    /// Anything else over TCP, or nothing.
    Tcp = 3,
    /// A datagram.
    Udp = 4,
}

impl Via {
    /// Its word in listings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tls => "tls",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    fn from_number(number: i64) -> Self {
        match number {
            1 => Self::Http,
            2 => Self::Tls,
            4 => Self::Udp,
            _ => Self::Tcp,
        }
    }
}

/// How contacts are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How long.
    pub keep: Duration,
    /// Octets of all of them; the oldest go first.
    pub size: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { keep: Duration::from_secs(1095 * 86_400), size: 1 << 30 }
    }
}

/// Which contacts are asked for; everything that is set must fit.
#[derive(Debug, Clone, Default)]
pub struct ContactFilter {
    /// From this address.
    pub client: Option<IpAddr>,
    /// For this name or one below it.
    pub name: Option<Name>,
    /// To this port.
    pub port: Option<u16>,
    /// That spoke this.
    pub via: Option<Via>,
    /// From this time on, microseconds since 1970.
    pub since: Option<i64>,
    /// Before this time.
    pub until: Option<i64>,
    /// Behind the one of this time and id.
    pub after: Option<(i64, u64)>,
    /// At most so many, the newest.
    pub limit: Option<u64>,
}

impl ContactFilter {
    /// Whether `contact` is asked for, but for the limit.
    pub fn takes(&self, contact: &Contact) -> bool {
        let is_within = |wanted: &Name| {
            let name = contact.name.as_deref().and_then(|name| Name::from_host(name).ok());
            name.is_some_and(|name| name::is_within(name.as_wire(), wanted.as_wire()))
        };
        self.client.is_none_or(|client| client.to_canonical() == contact.client)
            && self.name.as_ref().is_none_or(is_within)
            && self.port.is_none_or(|port| port == contact.local.port())
            && self.via.is_none_or(|via| via == contact.via)
            && self.since.is_none_or(|since| contact.time >= since)
            && self.until.is_none_or(|until| contact.time < until)
            && self.after.is_none_or(|after| (contact.time, contact.id) < after)
    }
}

/// A time in which contacts were not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// When the first of them came, microseconds since 1970.
    pub earliest: i64,
    /// … and the last.
    pub latest: i64,
    /// How many.
    pub count: u64,
    /// Why.
    pub why: Why,
}

/// Why contacts were not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// There were more at once than are kept.
    Flood,
    /// The disk refused them.
    Disk,
}

impl Why {
    /// Its word in listings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Flood => "flood",
            Self::Disk => "disk",
        }
    }
}

/// How many contacts one client made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCount {
    /// Whose address.
    pub client: IpAddr,
    /// How many.
    pub count: u64,
}

/// Why contacts cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum ContactsError {
    /// The folder or the database cannot be opened or made.
    #[error("{path}: {why}; check that the user who runs sachdns may write there, and the room on the disk")]
    Open {
        /// Where.
        path: PathBuf,
        /// What the system or the database said.
        why: String,
    },
    /// Reading failed.
    #[error("{path}: reading contacts: {why}; run as the user that sachdns runs as")]
    Read {
        /// Where.
        path: PathBuf,
        /// What the database said.
        why: String,
    },
    /// There is none yet.
    #[error(
        "{path}: no contacts here; start `sachdns serve` first, or check data_dir and the working directory"
    )]
    Missing {
        /// Where they would be.
        path: PathBuf,
    },
}

/// The contacts of one data folder, and the thread that writes them. When it is dropped, what waits is written first.
#[derive(Debug)]
pub struct Contacts {
    sender: Option<SyncSender<Contact>>,
    missed: Arc<Missed>,
    reader: Reader,
    thread: Option<JoinHandle<()>>,
}

impl Contacts {
    /// Opens the contacts in `folder` and starts the thread; makes what is missing. Damaged ones are put aside.
    ///
    /// # Errors
    /// [`ContactsError::Open`].
    pub fn open(folder: &Path, options: &Options) -> Result<Self, ContactsError> {
        let database = Database::open(folder)?;
        let reader = Reader::open(folder)?;
        let missed = Arc::<Missed>::default();
        let (sender, receiver) = sync_channel(MOST_WAITING);
        let mut writer = Writer::new(database, options.clone(), Arc::clone(&missed));
        let thread = std::thread::Builder::new().name("contacts".to_owned()).spawn(move || {
            writer.run(&receiver);
        });
        let thread = thread.map_err(|source| ContactsError::Open {
            path: folder.to_owned(),
            why: format!("the system starts no thread: {source}"),
        })?;
        Ok(Self { sender: Some(sender), missed, reader, thread: Some(thread) })
    }

    /// Hands a contact in. Never waits: where too many wait already, it is counted as missed. Its texts are cut to
    /// what is kept; `id` is not looked at.
    pub fn add(&self, contact: Contact) {
        let Some(sender) = &self.sender else { return };
        match sender.try_send(trimmed(contact)) {
            Ok(()) => {}
            Err(TrySendError::Full(contact) | TrySendError::Disconnected(contact)) => {
                self.missed.add(contact.time, contact.count, Why::Flood);
            }
        }
    }

    /// Rows behind the one with this id, at most `limit`, in the order of their ids. A row is there within a tenth of a
    /// second after it was handed in, and not a second time when its count rises.
    ///
    /// # Errors
    /// [`ContactsError::Read`].
    pub fn after(&self, id: u64, limit: usize) -> Result<Vec<Contact>, ContactsError> {
        self.reader.after(id, limit)
    }

    /// Rows that `filter` takes, newest first.
    ///
    /// # Errors
    /// [`ContactsError::Read`].
    pub fn find(&self, filter: &ContactFilter) -> Result<Vec<Contact>, ContactsError> {
        self.reader.find(filter)
    }

    /// The times in which contacts were not kept, the newest first.
    ///
    /// # Errors
    /// [`ContactsError::Read`].
    pub fn gaps(&self, since: Option<i64>, until: Option<i64>) -> Result<Vec<Gap>, ContactsError> {
        self.reader.gaps(since, until)
    }

    /// Contacts that were not kept since the start.
    pub fn missed(&self) -> u64 {
        self.missed.with(|counts| counts.total)
    }
}

impl Drop for Contacts {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // A panic was reported already.
            let _ = thread.join();
        }
    }
}

/// Reads contacts, beside a running server or without one.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    database: Mutex<Database>,
}

impl Reader {
    /// Opens the contacts in `folder` for reading.
    ///
    /// # Errors
    /// [`ContactsError::Missing`] and [`ContactsError::Read`].
    pub fn open(folder: &Path) -> Result<Self, ContactsError> {
        let path = Database::path(folder);
        let database = Database::read(folder).map_err(|error| read_error(&path, &error))?;
        let Some(database) = database else { return Err(ContactsError::Missing { path }) };
        Ok(Self { path, database: Mutex::new(database) })
    }

    /// As [`Contacts::after`].
    ///
    /// # Errors
    /// [`ContactsError::Read`].
    pub fn after(&self, id: u64, limit: usize) -> Result<Vec<Contact>, ContactsError> {
        self.database().after(id, limit).map_err(|error| read_error(&self.path, &error))
    }

    /// The counts of the contacts with these numbers and those between: rows are counted up for a minute.
    ///
    /// # Errors
    /// [`ContactsError::Read`].
    pub fn counts(&self, first: u64, last: u64) -> Result<Vec<(u64, u32)>, ContactsError> {
        self.database().counts(first, last).map_err(|error| read_error(&self.path, &error))
    }

    /// As [`Contacts::find`].
    ///
    /// # Errors
    /// [`ContactsError::Read`].
    pub fn find(&self, filter: &ContactFilter) -> Result<Vec<Contact>, ContactsError> {
        let mut found = Vec::new();
        self.for_each(filter, &mut |contact| found.push(contact))?;
        Ok(found)
    }

    /// Calls `visit` with every row that `filter` takes, newest first.
    ///
    /// # Errors
    /// [`ContactsError::Read`].
    pub fn for_each(
        &self,
        filter: &ContactFilter,
        visit: &mut dyn FnMut(Contact),
    ) -> Result<(), ContactsError> {
        self.visit(filter, &mut |contact| {
            visit(contact);
            ControlFlow::Continue(())
        })
    }

    /// Calls `visit` with rows that `filter` takes, newest first, until it breaks.
    ///
    /// # Errors
    /// [`ContactsError::Read`].
    pub fn visit(
        &self,
        filter: &ContactFilter,
        visit: &mut dyn FnMut(Contact) -> ControlFlow<()>,
    ) -> Result<(), ContactsError> {
        self.database().find(filter, visit).map_err(|error| read_error(&self.path, &error))
    }

    /// The highest id so far; 0 where there is none.
    ///
    /// # Errors
    /// [`ContactsError::Read`].
    pub fn last_id(&self) -> Result<u64, ContactsError> {
        self.database().last_id().map_err(|error| read_error(&self.path, &error))
    }

    /// How many contacts each client made from this time on.
    ///
    /// # Errors
    /// [`ContactsError::Read`].
    pub fn by_client(&self, since: i64) -> Result<Vec<ClientCount>, ContactsError> {
        self.database().by_client(since).map_err(|error| read_error(&self.path, &error))
    }

    /// As [`Contacts::gaps`].
    ///
    /// # Errors
    /// [`ContactsError::Read`].
    pub fn gaps(&self, since: Option<i64>, until: Option<i64>) -> Result<Vec<Gap>, ContactsError> {
        self.database().gaps(since, until).map_err(|error| read_error(&self.path, &error))
    }

    fn database(&self) -> MutexGuard<'_, Database> {
        // A connection whose statement panicked is as good as before.
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Enters contacts of the past into a folder where no server is, each as a row of its own, and a gap; returns their numbers.
///
/// # Errors
/// [`ContactsError::Open`]; then nothing was entered.
pub fn enter(folder: &Path, contacts: &[Contact], gap: Option<&Gap>) -> Result<Vec<u64>, ContactsError> {
    let mut database = Database::open(folder)?;
    let rows: Vec<Row> = contacts.iter().cloned().map(|it| Row::of(trimmed(it))).collect();
    let ids = database
        .write(rows.iter(), gap)
        .map_err(|error| ContactsError::Open { path: Database::path(folder), why: error.to_string() })?;
    Ok(ids.into_iter().map(i64::unsigned_abs).collect())
}

/// Where the contacts of a data folder are.
pub fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("contacts")
}

/// A name as contacts have it: what a client wrote as host, folded, without port; an address as it is usually
/// written. `None` for what is neither.
pub fn host_name(text: &str) -> Option<String> {
    let text = match text.rsplit_once(':') {
        Some((host, port))
            if port.bytes().all(|byte| byte.is_ascii_digit())
                && (!host.contains(':') || host.ends_with(']')) =>
        {
            host
        }
        _ => text,
    };
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Some(address.to_string());
    }
    Name::from_host(text).ok().map(|name| name.to_string())
}

fn read_error(path: &Path, error: &crate::database::DatabaseError) -> ContactsError {
    ContactsError::Read { path: path.to_owned(), why: error.to_string() }
}

fn trimmed(mut contact: Contact) -> Contact {
    contact.client = contact.client.to_canonical();
    contact.local.set_ip(contact.local.ip().to_canonical());
    contact.first.truncate(MOST_FIRST);
    for (text, most) in [(&mut contact.path, MOST_PATH), (&mut contact.agent, MOST_AGENT)] {
        if let Some(text) = text {
            text.truncate(text.floor_char_boundary(most));
        }
    }
    contact.count = contact.count.max(1);
    contact
}

/// Contacts that were not kept, until the writer enters them as a gap.
#[derive(Debug, Default)]
struct Missed(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    total: u64,
    open: Option<Gap>,
}

impl Missed {
    fn add(&self, time: i64, count: u32, why: Why) {
        self.with(|counts| {
            counts.total += u64::from(count);
            let gap = counts.open.get_or_insert(Gap { earliest: time, latest: time, count: 0, why });
            gap.earliest = gap.earliest.min(time);
            gap.latest = gap.latest.max(time);
            gap.count += u64::from(count);
            if why == Why::Disk {
                gap.why = why;
            }
        });
    }

    fn take(&self) -> Option<Gap> {
        self.with(|counts| counts.open.take())
    }

    /// Gives back what could not be entered.
    fn give_back(&self, gap: Gap) {
        self.with(|counts| {
            counts.open = Some(match counts.open.take() {
                None => gap,
                Some(newer) => Gap {
                    earliest: gap.earliest.min(newer.earliest),
                    latest: gap.latest.max(newer.latest),
                    count: gap.count + newer.count,
                    why: if newer.why == Why::Disk { Why::Disk } else { gap.why },
                },
            });
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut Counts) -> T) -> T {
        // Whatever panicked, the counts are whole.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests;
