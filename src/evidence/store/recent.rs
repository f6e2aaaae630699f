//! What was counted of segments that no file stands for yet, so that who asks again and again reads only what came since.
//!
//! A server keeps one of these for as long as it runs. It holds numbers and the few texts that they are counted by, of the segments
//! that are there: what the archiver takes is forgotten.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{Mutex, PoisonError};

use super::rows::MINUTE;
use super::segments::Raw;
use super::{Filter, Kind};
use crate::evidence::record::{Outcome, Record};
use crate::evidence::segment::{self, End, Id, Records, Span, Survey};

/// Most groups of one segment: more of them are counted anew each time, by the caller.
const MOST: usize = 200_000;

/// Counts of the segments that are still to be archived.
#[derive(Debug, Default)]
pub struct Recent(Mutex<HashMap<Id, Counted>>);

/// What was counted of one segment.
#[derive(Debug, Default)]
struct Counted {
    /// Up to here: the octets that were there …
    len: u64,
    /// … and those of whole blocks.
    at: u64,
    /// When its records were.
    span: Option<Span>,
    texts: Vec<Box<str>>,
    numbers: HashMap<Box<str>, u32>,
    groups: HashMap<Key, u64>,
    is_full: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    minute: i64,
    agency: u32,
    action: u32,
    family: u32,
    is_hit: bool,
}

/// What roll-ups know of records that are counted together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Together<'a> {
    pub(super) minute: i64,
    pub(super) agency: &'a str,
    pub(super) action: &'a str,
    pub(super) family: &'a str,
}

impl Recent {
    /// Forgets all segments but these.
    pub(super) fn keep(&self, raws: &[Raw]) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|id, _| raws.iter().any(|raw| raw.segment.id == *id));
    }

    /// As [`segment::survey`].
    pub(super) fn survey(&self, id: Id, file: &File) -> io::Result<Survey> {
        if let Some((span, len)) = segment::trailer(file)? {
            return Ok(Survey { span, len, end: End::Sealed });
        }
        let len = file.metadata()?.len();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = all.entry(id).or_default();
        if counted.len > len {
            // Not the one that was read.
            *counted = Counted::default();
        }
        if counted.len < len {
            counted.read(file, len)?;
        }
        let end = match usize::try_from(counted.len - counted.at).unwrap_or(usize::MAX) {
            0 => End::Whole,
            torn => End::Torn(torn),
        };
        Ok(Survey { span: counted.span.unwrap_or(Span::EMPTY), len, end })
    }

    /// Calls `visit` with what a segment has of what `filter` takes, whose times are whole minutes; false: it must be read.
    pub(super) fn each(
        &self,
        raw: &Raw,
        filter: &Filter,
        visit: &mut dyn FnMut(Together<'_>, u64),
    ) -> io::Result<bool> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = all.entry(raw.segment.id).or_default();
        if counted.len < raw.survey.len {
            let file = match &raw.file {
                Some(file) => file,
                None => &File::open(&raw.segment.path)?,
            };
            counted.read(file, raw.survey.len)?;
        }
        if counted.is_full {
            return Ok(false);
        }
        let text = |number: u32| &*counted.texts[number as usize];
        let is = |wanted: Option<&str>, text: &str| wanted.is_none_or(|wanted| wanted == text);
        let action = filter.outcome.map(Outcome::as_str);
        for (key, count) in &counted.groups {
            let together = Together {
                minute: key.minute,
                agency: text(key.agency),
                action: text(key.action),
                family: text(key.family),
            };
            if (key.is_hit || filter.kind == Kind::All)
                && filter.since.is_none_or(|since| key.minute >= since)
                && filter.until.is_none_or(|until| key.minute < until)
                && is(filter.agency.as_deref(), together.agency)
                && is(filter.family.as_deref(), together.family)
                && is(action, together.action)
            {
                visit(together, *count);
            }
        }
        Ok(true)
    }
}

impl Counted {
    fn read(&mut self, file: &File, len: u64) -> io::Result<()> {
        let mut octets = vec![0; usize::try_from(len.saturating_sub(self.at)).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut octets, self.at)?;
        let mut records = if self.at == 0 { Records::new(&octets) } else { Records::behind(&octets) };
        for record in records.by_ref() {
            self.span.get_or_insert(Span::EMPTY).add(record.time);
            if !self.is_full {
                self.add(&record);
            }
        }
        // A block that is not whole yet is read again.
        self.at += records.consumed() as u64;
        self.len = len;
        if self.groups.len() > MOST {
            self.is_full = true;
            (self.groups, self.numbers, self.texts) = Default::default();
        }
        Ok(())
    }

    fn add(&mut self, record: &Record<'_>) {
        let key = Key {
            minute: record.time.div_euclid(MINUTE) * MINUTE,
            agency: self.number(record.agency.as_deref().unwrap_or("")),
            action: self.number(record.outcome.as_str()),
            family: self.number(record.family.as_deref().unwrap_or("")),
            is_hit: record.is_hit,
        };
        *self.groups.entry(key).or_default() += 1;
    }

    fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        self.texts.push(text.into());
        self.numbers.insert(text.into(), number);
        number
    }
}
