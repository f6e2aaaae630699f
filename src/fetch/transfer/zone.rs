//! The zone as it is kept: a master file, and the differences that are worked into it.
//!
//! ```text
//! $ORIGIN rpz.example.
//! @ 300 IN SOA ns.example. admin.example. 2026112501 3600 600 86400 300
//! evil.example 300 IN CNAME .
//! ```
//!
//! One record a line, owners relative to the zone: a line without its TTL says which record it is, so that
//! differences are worked in by reading the old file once and keeping only the differences in memory.

use std::collections::HashMap;
use std::io::{self, BufRead, Write};

use super::assembly::Line;
use crate::name::Name;

/// Octets of differences that are held in memory; the whole zone is transferred where there are more.
const MOST_DIFFERENCES: usize = 64 << 20;
/// The longest line that this file writes: 64 KiB of data as digits, and an owner.
const LONGEST_LINE: u64 = 256 << 10;

/// Differences that do not fit the zone that is there.
#[derive(Debug, thiserror::Error)]
pub enum ZoneError {
    /// A record that should be there is not, or the other way round.
    #[error("its differences do not fit the version that is there")]
    Misfit,
    /// Too many of them.
    #[error("its differences are more than {MOST_DIFFERENCES} octets")]
    Many,
    /// What is there is no zone of this file's.
    #[error("the version that is there is no zone")]
    NoZone,
    /// Reading or writing.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Writes the head of a zone's file.
///
/// # Errors
/// What the writer says.
pub fn write_head(out: &mut dyn Write, apex: &Name, soa: &Line) -> io::Result<()> {
    let dot = if apex.is_root() { "" } else { "." };
    writeln!(out, "$ORIGIN {apex}{dot}")?;
    write_line(out, soa)
}

/// Writes a record.
///
/// # Errors
/// What the writer says.
pub fn write_line(out: &mut dyn Write, line: &Line) -> io::Result<()> {
    writeln!(out, "{} {} IN {}", line.owner, line.ttl, line.data)
}

/// Differences of one or more versions, as one.
#[derive(Debug, Default)]
pub struct Differences {
    changes: HashMap<String, Net>,
    octets: usize,
}

/// What becomes of a record in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Net {
    /// It was there, and is not.
    Deleted,
    /// It was not there, and is, with this TTL.
    Added(u32),
    /// It was there, and is, with this TTL.
    Replaced(u32),
}

fn key(line: &Line) -> String {
    format!("{} {}", line.owner, line.data)
}

impl Differences {
    /// A record goes.
    ///
    /// # Errors
    /// It has gone already, or there are too many.
    pub fn delete(&mut self, line: &Line) -> Result<(), ZoneError> {
        let key = key(line);
        match self.changes.get(&key).copied() {
            None | Some(Net::Replaced(_)) => self.insert(key, Net::Deleted),
            Some(Net::Added(_)) => {
                self.octets -= key.len();
                self.changes.remove(&key);
                Ok(())
            }
            Some(Net::Deleted) => Err(ZoneError::Misfit),
        }
    }

    /// A record comes.
    ///
    /// # Errors
    /// It has come already, or there are too many.
    pub fn add(&mut self, line: &Line) -> Result<(), ZoneError> {
        let key = key(line);
        match self.changes.get(&key).copied() {
            None => self.insert(key, Net::Added(line.ttl)),
            Some(Net::Deleted) => self.insert(key, Net::Replaced(line.ttl)),
            Some(Net::Added(_) | Net::Replaced(_)) => Err(ZoneError::Misfit),
        }
    }

    fn insert(&mut self, key: String, net: Net) -> Result<(), ZoneError> {
        let len = key.len();
        if self.changes.insert(key, net).is_none() {
            self.octets += len;
        }
        if self.octets > MOST_DIFFERENCES { Err(ZoneError::Many) } else { Ok(()) }
    }

    /// Writes the new version, from the old one and its new SOA record.
    ///
    /// # Errors
    /// [`ZoneError`]; what was written is of no use then.
    pub fn apply(
        mut self,
        old: &mut dyn BufRead,
        apex: &Name,
        soa: &Line,
        out: &mut dyn Write,
    ) -> Result<(), ZoneError> {
        write_head(out, apex, soa)?;
        let mut line = String::new();
        let (mut number, mut written) = (0, String::new());
        loop {
            line.clear();
            if io::Read::take(&mut *old, LONGEST_LINE).read_line(&mut line)? == 0 {
                break;
            }
            number += 1;
            // The head was written anew.
            match (number, line.strip_suffix('\n').ok_or(ZoneError::NoZone)?) {
                (1, text) if text.starts_with("$ORIGIN ") => {}
                (2, text) if text.starts_with("@ ") && text.contains(" IN SOA ") => {}
                (1 | 2, _) => return Err(ZoneError::NoZone),
                (_, text) => {
                    let (owner, rest) = text.split_once(' ').ok_or(ZoneError::NoZone)?;
                    let (_, data) = rest.split_once(" IN ").ok_or(ZoneError::NoZone)?;
                    written.clear();
                    written.extend([owner, " ", data]);
                    match self.changes.remove(&written) {
                        None => out.write_all(line.as_bytes())?,
                        Some(Net::Deleted) => {}
                        Some(Net::Replaced(ttl)) => writeln!(out, "{owner} {ttl} IN {data}")?,
                        Some(Net::Added(_)) => return Err(ZoneError::Misfit),
                    }
                }
            }
        }
        if number < 2 {
            return Err(ZoneError::NoZone);
        }
        let mut added: Vec<_> = self.changes.into_iter().collect();
        // The same versions give the same octets.
        added.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        for (key, net) in added {
            let Net::Added(ttl) = net else { return Err(ZoneError::Misfit) };
            let (owner, data) = key.split_once(' ').ok_or(ZoneError::NoZone)?;
            writeln!(out, "{owner} {ttl} IN {data}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        let (owner, rest) = text.split_once(' ').unwrap();
        let (ttl, data) = rest.split_once(' ').unwrap();
        Line { owner: owner.to_owned(), ttl: ttl.parse().unwrap(), data: data.to_owned() }
    }

    /// The new zone's records: from the old ones by changes, each `+` or `-` and a record.
    fn apply(old: &[&str], changes: &[&str]) -> Result<String, ZoneError> {
        let (apex, soa) = (Name::from_host("rpz.x").unwrap(), line("@ 300 SOA a. b. 8 1 1 1 1"));
        let mut text = Vec::new();
        write_head(&mut text, &apex, &line("@ 300 SOA a. b. 7 1 1 1 1"))?;
        old.iter().try_for_each(|record| write_line(&mut text, &line(record)))?;
        let mut differences = Differences::default();
        for change in changes {
            match change.split_at(1) {
                ("+", record) => differences.add(&line(record))?,
                (_, record) => differences.delete(&line(record))?,
            }
        }
        let mut out = Vec::new();
        differences.apply(&mut &*text, &apex, &soa, &mut out)?;
        let text = String::from_utf8(out).unwrap();
        let head = "$ORIGIN rpz.x.\n@ 300 IN SOA a. b. 8 1 1 1 1\n";
        Ok(text.strip_prefix(head).expect("the new head").to_owned())
    }

    #[test]
    fn differences_are_worked_in() {
        #[track_caller]
        fn check(old: &[&str], changes: &[&str], expected: &str) {
            assert_eq!(apply(old, changes).unwrap(), expected);
        }
        let (a, b) = ("a 60 CNAME .", "b 60 A 192.0.2.1");
        check(&[], &[], "");
        check(&[a, b], &[], "a 60 IN CNAME .\nb 60 IN A 192.0.2.1\n");
        check(&[a, b], &["-a 60 CNAME ."], "b 60 IN A 192.0.2.1\n");
        // The TTL does not say which record it is.
        check(&[a, b], &["-a 5 CNAME .", "+a 30 CNAME ."], "a 30 IN CNAME .\nb 60 IN A 192.0.2.1\n");
        check(
            &[b],
            &["+d 60 CNAME .", "+c 60 CNAME ."],
            "b 60 IN A 192.0.2.1\nc 60 IN CNAME .\nd 60 IN CNAME .\n",
        );
        // Over several versions.
        check(&[a], &["+c 60 CNAME .", "-c 60 CNAME ."], "a 60 IN CNAME .\n");
        check(&[a], &["-a 60 CNAME .", "+a 60 CNAME .", "-a 60 CNAME ."], "");
    }

    #[test]
    fn misfits_are_found() {
        #[track_caller]
        fn check(old: &[&str], changes: &[&str]) {
            let error = apply(old, changes).unwrap_err();
            assert!(matches!(error, ZoneError::Misfit), "{error}");
        }
        check(&[], &["-a 60 CNAME ."]);
        check(&["a 60 CNAME ."], &["+a 60 CNAME ."]);
        check(&["a 60 CNAME ."], &["-a 60 CNAME .", "-a 60 CNAME ."]);
        check(&[], &["-a 60 CNAME .", "+a 60 CNAME ."]);
        check(&[], &["+a 60 CNAME .", "+a 60 CNAME ."]);
        let apex = Name::from_host("rpz.x").unwrap();
        for text in
            ["", "$ORIGIN rpz.x.\n", "evil.example\nother.example\n", "$ORIGIN rpz.x.\n@ 1 IN SOA a b\nx"]
        {
            let soa = line("@ 300 SOA a. b. 8 1 1 1 1");
            let error = Differences::default().apply(&mut text.as_bytes(), &apex, &soa, &mut Vec::new());
            assert!(matches!(error, Err(ZoneError::NoZone)), "{text:?}");
        }
    }
}
