//! A published zone: its versions, each with a serial number, and transfers of it, whole or as differences.
//!
//! A version is a content, a selection of its rules and a serial number; its records are made while they are sent.
//! Differences between versions come from [`super::journal`].

use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::content::Content;
use super::journal::Difference;
use super::rpz::{self, NS, NS_DATA, Record, SOA, Sinkholed, TIMES, Writer};
use super::select::{Bare, Feeds, Selection};
use super::walk::Walk;
use crate::name::Name;

/// What is published, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The zone's apex.
    pub apex: Name,
    /// The names of the feeds whose rules are in it; empty: all, canaries and analysts' rules too.
    pub feeds: Vec<String>,
    /// What stands in place of the sinkhole.
    pub sinkholed: Sinkholed,
    /// Of its records, in seconds.
    pub ttl: u32,
    /// The id of the agency that it is for; `None`: for everybody.
    pub agency: Option<Arc<str>>,
}

impl Options {
    /// A digest of all that makes another zone of the same image.
    pub(super) fn digest(&self, content: &Content) -> [u8; 32] {
        let text = format!("2 {self:?} {:?}", content.digest());
        Sha256::digest(text).into()
    }
}

/// One version.
pub struct Version {
    pub(super) options: Options,
    pub(super) content: Content,
    pub(super) selection: Selection,
    serial: u32,
    soa: Vec<u8>,
    /// From older versions to this one, the oldest first: each begins where the one before ends.
    pub(super) differences: Vec<Arc<Difference>>,
}

impl Version {
    pub(super) fn new(
        options: Options,
        content: Content,
        serial: u32,
        differences: Vec<Arc<Difference>>,
    ) -> Self {
        let feeds = if options.feeds.is_empty() { Feeds::All } else { Feeds::Named(&options.feeds) };
        let selection = Selection::new(content.layers(), &content.audience(), feeds, Bare::LeftOut);
        Self { selection, options, content, serial, soa: rpz::soa(serial, TIMES), differences }
    }

    /// Its serial number.
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// The zone's apex.
    pub fn apex(&self) -> &Name {
        &self.options.apex
    }

    /// Its SOA record.
    pub fn soa(&self) -> Record<'_> {
        Record { owner: &[], rtype: SOA, ttl: self.options.ttl, rdata: &self.soa }
    }

    /// Its NS record.
    pub fn ns(&self) -> Record<'_> {
        Record { owner: &[], rtype: NS, ttl: self.options.ttl, rdata: NS_DATA }
    }

    /// The differences that lead from the version with this serial number to this one; `None` where they are not
    /// there, or more than the whole is worth.
    fn since(&self, serial: u32) -> Option<&[Arc<Difference>]> {
        let first = self.differences.iter().position(|difference| difference.from == serial)?;
        let chain = &self.differences[first..];
        let octets: u64 = chain.iter().map(|difference| difference.octets()).sum();
        (octets <= self.content.image().facts.name_count.saturating_mul(WORTH).max(SMALL)).then_some(chain)
    }
}

/// Octets of differences a name beyond which the whole is worth more: it has two records or more of each name, of some
/// forty octets each, and half of that is no gain.
const WORTH: u64 = 40;
/// Differences of fewer octets are sent whatever the zone has.
const SMALL: u64 = 64 << 10;
/// Nodes whose records are made at once.
const BATCH: usize = 256;
/// Octets of a difference that are read at once; more than the longest record.
const READ: usize = 128 << 10;

/// What a transfer tells, in order.
enum Step {
    Soa(u32),
    Ns,
    /// Everything.
    All,
    /// These octets of a difference.
    Part(Arc<Difference>, std::ops::Range<u64>),
}

/// A transfer under way: gives record by record.
pub struct Transfer {
    version: Arc<Version>,
    steps: VecDeque<Step>,
    walk: Walk,
    writer: Writer,
    /// Packed records, from `at` on not yet given.
    buffer: Vec<u8>,
    at: usize,
}

impl Transfer {
    /// All of it (RFC 5936).
    pub fn whole(version: Arc<Version>) -> Self {
        let serial = version.serial;
        Self::new(version, [Step::Soa(serial), Step::Ns, Step::All, Step::Soa(serial)].into())
    }

    /// What is new since the version with this serial number (RFC 1995, section 4); all of it where that is not known.
    /// Whoever has this version, or a newer one, gets the SOA record alone.
    pub fn since(version: Arc<Version>, serial: u32) -> Self {
        // RFC 1982, section 3.2: not older than this version.
        if serial.wrapping_sub(version.serial) < 0x8000_0000 {
            let steps = [Step::Soa(version.serial)].into();
            return Self::new(version, steps);
        }
        let Some(chain) = version.since(serial) else { return Self::whole(version) };
        let mut steps = VecDeque::from([Step::Soa(version.serial)]);
        for difference in chain {
            let [deleted, added] = difference.parts();
            steps.push_back(Step::Soa(difference.from));
            steps.push_back(Step::Part(Arc::clone(difference), deleted));
            steps.push_back(Step::Soa(difference.to));
            steps.push_back(Step::Part(Arc::clone(difference), added));
        }
        steps.push_back(Step::Soa(version.serial));
        Self::new(version, steps)
    }

    fn new(version: Arc<Version>, steps: VecDeque<Step>) -> Self {
        let writer = writer(&version);
        Self { version, steps, walk: Walk::all(), writer, buffer: Vec::new(), at: 0 }
    }

    /// Gives records to `take` until it wants no more, for which it is asked again the next time, or the last was
    /// given. Tells whether there are more.
    ///
    /// # Errors
    /// When a difference cannot be read.
    pub fn give(&mut self, mut take: impl FnMut(Record<'_>) -> bool) -> io::Result<bool> {
        loop {
            while let Some((record, len)) = Record::unpack(&self.buffer[self.at..]) {
                if !take(record) {
                    return Ok(true);
                }
                self.at += len;
            }
            if !self.fill()? {
                return Ok(false);
            }
        }
    }

    /// Makes or reads more records; false when there are none.
    fn fill(&mut self) -> io::Result<bool> {
        let Self { version, steps, walk, writer, buffer, at } = self;
        // What is left is the beginning of a record.
        buffer.drain(..*at);
        *at = 0;
        let Some(step) = steps.front_mut() else {
            let is_whole = buffer.is_empty();
            return if is_whole { Ok(false) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        };
        let is_over = match step {
            Step::Soa(serial) => {
                let soa = rpz::soa(*serial, TIMES);
                Record { rdata: &soa, ..version.soa() }.pack(buffer);
                true
            }
            Step::Ns => {
                version.ns().pack(buffer);
                true
            }
            Step::All => {
                let mut left = BATCH;
                walk.run(version.content.layers(), &version.selection, |_, node| {
                    writer.write(node, |record| record.pack(buffer));
                    left -= left.min(1);
                    if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                });
                walk.is_over()
            }
            Step::Part(difference, range) => {
                let end = range.end.min(range.start + READ as u64);
                difference.read(range.start..end, buffer)?;
                range.start = end;
                range.is_empty()
            }
        };
        if is_over {
            steps.pop_front();
        }
        Ok(true)
    }
}

pub(super) fn writer(version: &Version) -> Writer {
    let Options { sinkholed, ttl, apex, .. } = &version.options;
    Writer::new(&version.selection, sinkholed, *ttl, apex.as_wire().len())
}
