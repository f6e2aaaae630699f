//! The trace that people leave: who looked at one client's queries, who changed what, and when.
//!
//! A file of JSON lines in the data folder, only ever appended to. What cannot be recorded is not shown, and what was changed is
//! recorded or an error. [`read`] reads it backwards.
//!
//! ```text
//! {"time":…,"uid":0,"user":"root","action":"log","client":"10.1.2.3","since":…,"until":…}                      a look by command
//! {"time":…,"uid":0,"account":"an","role":"analyst","address":"10.9.0.7","action":"console","client":…}       … by console
//! {"time":…,"uid":0,"account":"an","role":"analyst","address":"10.9.0.7","action":"case.close","on":"K7-M2Q","details":"…"}   a change
//! ```

pub mod read;

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

/// Most octets of what a change was done to …
const MOST_ON: usize = 512;
/// … and of what else is said of it: an entry is a line, not an archive.
const MOST_DETAILS: usize = 4096;

/// A look at one client's queries.
#[derive(Debug, Clone)]
pub struct Look<'a> {
    /// The command.
    pub command: &'a str,
    /// Whose queries.
    pub client: IpAddr,
    /// From this time on, microseconds since 1970.
    pub since: Option<i64>,
    /// Before this time.
    pub until: Option<i64>,
}

/// A change that somebody made.
#[derive(Debug, Clone)]
pub struct Change<'a> {
    /// What was done, in words of ours: `case.close`, `account.add`.
    pub what: &'a str,
    /// To what.
    pub on: &'a str,
    /// What else there is to say: the reason, old and new; may be empty.
    pub details: &'a str,
}

/// An account of the console, and where it came from.
#[derive(Debug, Clone, Copy)]
pub struct Person<'a> {
    /// Its name.
    pub account: &'a str,
    /// What it was then.
    pub role: &'a str,
    /// From which address.
    pub address: Option<IpAddr>,
}

/// A look at one machine's queries, wherever it was.
#[derive(Debug, Clone)]
pub struct MachineLook<'a> {
    /// The command.
    pub command: &'a str,
    /// What the machine was called.
    pub machine: &'a str,
    /// From this time on, microseconds since 1970.
    pub since: Option<i64>,
    /// Before this time.
    pub until: Option<i64>,
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    /// The system's user, and the one who became that by sudo; of the console the server's.
    uid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    action: &'a str,
    #[serde(flatten)]
    of: Of<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Of<'a> {
    Look { client: IpAddr, since: Option<String>, until: Option<String> },
    Machine { machine: &'a str, since: Option<String>, until: Option<String> },
    Change { on: &'a str, details: &'a str },
}

/// Where looks and changes in this data folder are recorded.
pub fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("audit.jsonl")
}

/// Records a look by a command, and brings that to the disk.
///
/// # Errors
/// What the system said; then nothing may be shown.
pub fn append(data_dir: &Path, now: i64, look: &Look<'_>) -> io::Result<()> {
    write(data_dir, now, None, look.command, Of::of_look(look))
}

/// As [`append`], of a look at a machine: it is one whatever addresses it had, and where none is known.
///
/// # Errors
/// As [`append`].
pub fn append_machine(data_dir: &Path, now: i64, look: &MachineLook<'_>) -> io::Result<()> {
    let (since, until) = (look.since.map(written), look.until.map(written));
    write(data_dir, now, None, look.command, Of::Machine { machine: look.machine, since, until })
}

/// Records a look by an account of the console.
///
/// # Errors
/// What the system said; then nothing may be shown.
pub fn looked(data_dir: &Path, now: i64, by: &Person<'_>, look: &Look<'_>) -> io::Result<()> {
    write(data_dir, now, Some(by), look.command, Of::of_look(look))
}

/// Records a change; `by` is nobody where a command made it.
///
/// # Errors
/// What the system said.
pub fn changed(data_dir: &Path, now: i64, by: Option<&Person<'_>>, change: &Change<'_>) -> io::Result<()> {
    let of = Of::Change { on: cut(change.on, MOST_ON), details: cut(change.details, MOST_DETAILS) };
    write(data_dir, now, by, change.what, of)
}

impl Of<'_> {
    fn of_look(look: &Look<'_>) -> Self {
        Self::Look { client: look.client, since: look.since.map(written), until: look.until.map(written) }
    }
}

fn written(time: i64) -> String {
    Timestamp::from_microsecond(time).map_or_else(|_| String::new(), |it| format!("{it:.6}"))
}

fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

fn write(data_dir: &Path, now: i64, by: Option<&Person<'_>>, action: &str, of: Of<'_>) -> io::Result<()> {
    let user = || ["SUDO_USER", "USER"].into_iter().find_map(|name| std::env::var(name).ok());
    let line = Line {
        time: written(now),
        uid: rustix::process::getuid().as_raw(),
        // The console's is the server's own, and says nothing of who it was.
        user: if by.is_none() { user() } else { None },
        account: by.map(|by| by.account),
        role: by.map(|by| by.role),
        address: by.and_then(|by| by.address),
        action,
        of,
    };
    let mut octets = serde_json::to_vec(&line)?;
    octets.push(b'\n');
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path(data_dir))?;
    // One write: lines of two that come at once stay apart.
    file.write_all(&octets)?;
    file.sync_data()
}
