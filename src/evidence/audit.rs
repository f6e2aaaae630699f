//! The trace that looking leaves: who looked at one client's queries, and when.
//!
//! A file of JSON lines in the data folder, only ever appended to. What cannot be recorded is not shown.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

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

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    /// The system's user, and the one who became that by sudo.
    uid: u32,
    user: Option<String>,
    action: &'a str,
    client: IpAddr,
    since: Option<String>,
    until: Option<String>,
}

/// Where the looks in this data folder are recorded.
pub fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("audit.jsonl")
}

/// Records a look, and brings that to the disk.
///
/// # Errors
/// What the system said; then nothing may be shown.
pub fn append(data_dir: &Path, now: i64, look: &Look<'_>) -> io::Result<()> {
    let text =
        |time| Timestamp::from_microsecond(time).map_or_else(|_| String::new(), |it| format!("{it:.6}"));
    let line = Line {
        time: text(now),
        uid: rustix::process::getuid().as_raw(),
        user: ["SUDO_USER", "USER"].into_iter().find_map(|name| std::env::var(name).ok()),
        action: look.command,
        client: look.client,
        since: look.since.map(text),
        until: look.until.map(text),
    };
    let mut octets = serde_json::to_vec(&line)?;
    octets.push(b'\n');
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path(data_dir))?;
    // One write: lines of two that look at once stay apart.
    file.write_all(&octets)?;
    file.sync_data()
}
