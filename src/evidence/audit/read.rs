//! The audit read backwards, a block at a time: however long it is, a page costs what it shows or a bound.
//!
//! Lines are in the order in which they were written, and hardly ever in another than that of their times: a clock may be set back.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;

/// Octets that are read at once.
const BLOCK: u64 = 64 << 10;
/// Longer lines are none of ours.
const MOST_LINE: usize = 256 << 10;
/// Octets that are read for one page.
const MOST_READ: u64 = 32 << 20;
/// By how much a clock may have been set back, microseconds.
const SLACK: i64 = 24 * 3600 * 1_000_000;

/// What an entry is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Somebody looked at one client's or machine's history.
    Look,
    /// Somebody changed something.
    Change,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When, microseconds since 1970.
    pub time: i64,
    /// The console's account.
    pub account: Option<String>,
    /// … and what it was.
    pub role: Option<String>,
    /// Where that one came from.
    pub address: Option<IpAddr>,
    /// The system's user, where it was a command.
    pub user: Option<String>,
    /// … and its number.
    pub uid: u32,
    /// The command, or what was done.
    pub action: String,
    /// What of.
    pub of: Of,
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Of {
    /// A look.
    Look {
        /// Whose history.
        client: IpAddr,
        /// From this time on.
        since: Option<i64>,
        /// Before this time.
        until: Option<i64>,
    },
    /// A change.
    Change {
        /// Of what.
        on: String,
        /// What else there is to say.
        details: String,
    },
}

impl Entry {
    /// What it is of.
    pub fn kind(&self) -> Kind {
        match self.of {
            Of::Look { .. } => Kind::Look,
            Of::Change { .. } => Kind::Change,
        }
    }

    /// Who it was: the account, or the system's user.
    pub fn who(&self) -> &str {
        self.account.as_deref().or(self.user.as_deref()).unwrap_or("?")
    }
}

/// Which entries are asked for; everything that is set must fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// By this account or user.
    pub who: Option<String>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// Whose action begins so: `case.` are all of cases.
    pub action: Option<String>,
    /// With this in what was looked at or changed.
    pub on: Option<String>,
    /// From this time on, microseconds since 1970.
    pub since: Option<i64>,
    /// Before this time.
    pub until: Option<i64>,
}

impl Filter {
    fn takes(&self, entry: &Entry) -> bool {
        let is_on = |wanted: &String| match &entry.of {
            Of::Look { client, .. } => client.to_string() == *wanted,
            Of::Change { on, .. } => on.contains(wanted.as_str()),
        };
        self.who.as_ref().is_none_or(|who| {
            entry.account.as_ref() == Some(who)
                || (entry.account.is_none() && entry.user.as_ref() == Some(who))
        }) && self.kind.is_none_or(|kind| kind == entry.kind())
            && self.action.as_ref().is_none_or(|action| entry.action.starts_with(action.as_str()))
            && self.on.as_ref().is_none_or(is_on)
            && self.since.is_none_or(|since| entry.time >= since)
            && self.until.is_none_or(|until| entry.time < until)
    }
}

/// How far reading came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// To the beginning: there is no more.
    Through,
    /// To this place: whoever goes on begins there.
    To(u64),
}

/// Calls `visit` with the entries that `filter` takes, the newest first, from `before` (as [`Came::To`] has it; `None`: the end) until
/// it breaks, or enough was read for once.
///
/// # Errors
/// What the system said. There being no audit yet is none.
pub fn newest_first(
    data_dir: &Path,
    filter: &Filter,
    before: Option<u64>,
    visit: &mut dyn FnMut(Entry) -> ControlFlow<()>,
) -> io::Result<Came> {
    let file = match File::open(super::path(data_dir)) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Came::Through),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    let end = before.map_or(length, |before| before.min(length));
    let end = match filter.until {
        Some(until) => later(&file, end, until.saturating_add(SLACK))?,
        None => end,
    };
    let mut lines = Backwards { file, at: end, rest: Vec::new() };
    while let Some((place, line)) = lines.next_line()? {
        // A line that is cut off or damaged says nothing.
        let entry = parse(&line);
        if let Some(entry) = entry {
            if filter.since.is_some_and(|since| entry.time < since.saturating_sub(SLACK)) {
                return Ok(Came::Through);
            }
            if filter.takes(&entry) && visit(entry).is_break() {
                return Ok(if place == 0 { Came::Through } else { Came::To(place) });
            }
        }
        if end - place > MOST_READ {
            return Ok(Came::To(place));
        }
    }
    Ok(Came::Through)
}

/// A place behind which, up to `end`, all lines are of this time or later; found by halves.
fn later(file: &File, end: u64, time: i64) -> io::Result<u64> {
    let (mut low, mut high) = (0, end);
    while high - low > BLOCK {
        let middle = low + (high - low) / 2;
        match first_time(file, middle, high)? {
            Some(found) if found >= time => high = middle,
            Some(_) => low = middle,
            None => break,
        }
    }
    // The line that `high` stands in may begin before it.
    let mut octets = vec![0; MOST_LINE.min((end - high) as usize)];
    file.read_exact_at(&mut octets, high)?;
    Ok(octets.iter().position(|octet| *octet == b'\n').map_or(end, |behind| high + behind as u64 + 1))
}

/// The time of the first whole line behind `from`.
fn first_time(file: &File, from: u64, end: u64) -> io::Result<Option<i64>> {
    let mut octets = vec![0; MOST_LINE.min((end - from) as usize)];
    file.read_exact_at(&mut octets, from)?;
    let mut lines = octets.split(|octet| *octet == b'\n').skip(1);
    Ok(lines.find_map(parse).map(|entry| entry.time))
}

struct Backwards {
    file: File,
    /// What lies before was not read.
    at: u64,
    /// … what lies behind and was not given out.
    rest: Vec<u8>,
}

impl Backwards {
    /// The line before, and where it begins.
    fn next_line(&mut self) -> io::Result<Option<(u64, Vec<u8>)>> {
        loop {
            // The last octet is the end of the line itself.
            let searched = self.rest.len().saturating_sub(1);
            if let Some(end) = self.rest[..searched].iter().rposition(|octet| *octet == b'\n') {
                let line = self.rest.split_off(end + 1);
                return Ok(Some((self.at + end as u64 + 1, line)));
            }
            if self.at == 0 {
                let line = std::mem::take(&mut self.rest);
                return Ok(if line.is_empty() { None } else { Some((0, line)) });
            }
            if self.rest.len() > MOST_LINE {
                self.rest.clear();
            }
            let length = BLOCK.min(self.at);
            let mut octets = vec![0; length as usize];
            self.file.read_exact_at(&mut octets, self.at - length)?;
            self.at -= length;
            octets.append(&mut self.rest);
            self.rest = octets;
        }
    }
}

#[derive(Deserialize)]
struct Line {
    time: String,
    #[serde(default)]
    uid: u32,
    user: Option<String>,
    account: Option<String>,
    role: Option<String>,
    address: Option<IpAddr>,
    action: String,
    client: Option<IpAddr>,
    since: Option<String>,
    until: Option<String>,
    on: Option<String>,
    #[serde(default)]
    details: String,
}

fn parse(line: &[u8]) -> Option<Entry> {
    let line: Line = serde_json::from_slice(line).ok()?;
    let time = |text: &str| text.parse().ok().map(|time: Timestamp| time.as_microsecond());
    let of = match (line.client, line.on) {
        (Some(client), _) => Of::Look {
            client,
            since: line.since.as_deref().and_then(time),
            until: line.until.as_deref().and_then(time),
        },
        (None, Some(on)) => Of::Change { on, details: line.details },
        (None, None) => return None,
    };
    Some(Entry {
        time: time(&line.time)?,
        account: line.account,
        role: line.role,
        address: line.address,
        user: line.user,
        uid: line.uid,
        action: line.action,
        of,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Change, Look, Person, append, changed, looked};
    use super::*;

    const SECOND: i64 = 1_000_000;
    const START: i64 = 1_795_676_400 * SECOND;

    fn read(folder: &Path, filter: &Filter, before: Option<u64>, most: usize) -> (Vec<Entry>, Came) {
        let mut entries = Vec::new();
        let came = newest_first(folder, filter, before, &mut |entry| {
            entries.push(entry);
            if entries.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        (entries, came.unwrap())
    }

    #[test]
    fn who_looked_and_who_changed_what_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        assert_eq!(read(folder, &Filter::default(), None, 9), (Vec::new(), Came::Through));
        let client = "10.1.2.3".parse().unwrap();
        let look = Look { command: "console", client, since: Some(START), until: None };
        let an = Person { account: "an", role: "analyst", address: "10.9.0.7".parse().ok() };
        append(folder, START, &Look { command: "log", ..look.clone() }).unwrap();
        looked(folder, START + SECOND, &an, &look).unwrap();
        let change = Change { what: "case.close", on: "K7-M2Q", details: "dòng một\ndòng hai" };
        changed(folder, START + 2 * SECOND, Some(&an), &change).unwrap();
        // What a power cut left of a line.
        let torn = std::fs::read(super::super::path(folder)).unwrap();
        std::fs::write(super::super::path(folder), [&torn, &b"{\"time\":\"20"[..]].concat()).unwrap();

        let (all, came) = read(folder, &Filter::default(), None, 9);
        assert_eq!(came, Came::Through);
        let actions: Vec<_> = all.iter().map(|entry| &*entry.action).collect();
        assert_eq!(actions, ["case.close", "console", "log"]);
        assert_eq!(all[0].of, Of::Change { on: "K7-M2Q".to_owned(), details: change.details.to_owned() });
        assert_eq!((all[0].who(), all[0].address), ("an", an.address));
        assert_eq!(all[1].of, Of::Look { client, since: Some(START), until: None });

        let check = |filter: Filter, expected: &[&str]| {
            let (found, _) = read(folder, &filter, None, 9);
            assert_eq!(found.iter().map(|entry| &*entry.action).collect::<Vec<_>>(), expected, "{filter:?}");
        };
        check(Filter { who: Some("an".to_owned()), ..Filter::default() }, &["case.close", "console"]);
        check(Filter { kind: Some(Kind::Look), ..Filter::default() }, &["console", "log"]);
        check(Filter { kind: Some(Kind::Change), ..Filter::default() }, &["case.close"]);
        check(Filter { action: Some("case.".to_owned()), ..Filter::default() }, &["case.close"]);
        check(Filter { on: Some("10.1.2.3".to_owned()), ..Filter::default() }, &["console", "log"]);
        check(Filter { since: Some(START + SECOND), ..Filter::default() }, &["case.close", "console"]);
        check(Filter { until: Some(START + SECOND), ..Filter::default() }, &["log"]);
    }

    #[test]
    fn pages_meet_and_a_time_is_found_in_a_long_file() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let hour = 3600 * SECOND;
        let line = |number: i64| {
            let time = Timestamp::from_microsecond(START + number * hour).unwrap();
            format!(
                "{{\"time\":\"{time:.6}\",\"uid\":0,\"account\":\"an\",\"action\":\"x\",\"on\":\"{number}\",\"details\":\"{}\"}}\n",
                "d".repeat(400)
            )
        };
        let text: String = (0..2000).map(line).collect();
        std::fs::write(super::super::path(folder), text).unwrap();
        let numbers = |entries: &[Entry]| -> Vec<i64> {
            entries
                .iter()
                .map(|entry| match &entry.of {
                    Of::Change { on, .. } => on.parse().unwrap(),
                    Of::Look { .. } => -1,
                })
                .collect()
        };
        let (mut all, mut before) = (Vec::new(), None);
        loop {
            let (page, came) = read(folder, &Filter::default(), before, 300);
            all.extend(numbers(&page));
            match came {
                Came::To(place) => before = Some(place),
                Came::Through => break,
            }
        }
        assert_eq!(all, (0..2000).rev().collect::<Vec<_>>());
        for until in [0, 1, 2, 700, 1999, 2000, 3000] {
            let filter = Filter { until: Some(START + until * hour), ..Filter::default() };
            let (page, _) = read(folder, &filter, None, 3);
            let last = until.min(2000);
            assert_eq!(numbers(&page), ((last - 3).max(0)..last).rev().collect::<Vec<_>>(), "{until}");
        }
        let filter = Filter { since: Some(START + 1990 * hour), ..Filter::default() };
        assert_eq!(read(folder, &filter, None, 99).0.len(), 10);
    }
}
