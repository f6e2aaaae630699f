//! Counting records by one of their values.
//!
//! Times are counted by the machine's time zone: a day is what people there call one.

use std::collections::HashMap;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Unit, ZonedDateTime, ZonedDateTimeRound};

use super::recent::Together;
use super::rows::{MINUTE, Text};
use super::{Filter, StoreError};
use crate::evidence::record::Record;
use crate::{name, wire};

/// Most different values: some hundred megabytes.
const MOST: usize = 4 << 20;

/// By what records are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum By {
    /// All together.
    Nothing,
    /// The agency's id.
    Agency,
    /// The client's address.
    Client,
    /// The qname.
    Name,
    /// The qtype.
    Type,
    /// The rcode.
    Rcode,
    /// What was done.
    Action,
    /// The feed.
    Feed,
    /// The malware family.
    Family,
    /// The minute.
    Minute,
    /// The hour.
    Hour,
    /// The day.
    Day,
}

/// How many records have a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// The value as exports write it; empty where records have none.
    pub value: String,
    /// How many.
    pub count: u64,
}

impl By {
    /// Its column, where it has one.
    pub(super) fn text(self) -> Option<Text> {
        Some(match self {
            Self::Agency => Text::Agency,
            Self::Client => Text::Client,
            Self::Name => Text::Qname,
            Self::Type => Text::Qtype,
            Self::Rcode => Text::Rcode,
            Self::Action => Text::Action,
            Self::Feed => Text::Feed,
            Self::Family => Text::Family,
            Self::Nothing | Self::Minute | Self::Hour | Self::Day => return None,
        })
    }

    /// Whether it is a span of time.
    pub fn is_time(self) -> bool {
        self.unit().is_some()
    }

    fn unit(self) -> Option<Unit> {
        match self {
            Self::Minute => Some(Unit::Minute),
            Self::Hour => Some(Unit::Hour),
            Self::Day => Some(Unit::Day),
            _ => None,
        }
    }
}

/// Whether roll-ups can answer: they know nothing else of a record.
pub(super) fn is_rolled_up(filter: &Filter, by: By) -> bool {
    let Filter { client, name, qtype, rcode, feed, sought, machine, .. } = filter;
    client.is_none()
        && name.is_none()
        && qtype.is_none()
        && rcode.is_none()
        && feed.is_none()
        && sought.is_none()
        && machine.is_none()
        && match by {
            By::Nothing | By::Agency | By::Action | By::Family | By::Hour => true,
            By::Day => has_whole_hours(),
            // Minutes are kept for two days only.
            By::Minute => filter
                .since
                .is_some_and(|since| since >= Timestamp::now().as_microsecond() - 24 * 60 * MINUTE),
            By::Client | By::Name | By::Type | By::Rcode | By::Feed => false,
        }
}

/// Whether an hour of ours lies in one day here.
fn has_whole_hours() -> bool {
    TimeZone::system().to_offset(Timestamp::now()).seconds() % 3600 == 0
}

/// When a minute's day begins, by the machine's time zone.
pub(in crate::evidence) fn day_of(minute: i64) -> i64 {
    start_of(minute, Unit::Day, &TimeZone::system())
        .map_or(minute, |start| start.timestamp().as_microsecond())
}

/// When a time's day begins, by the machine's time zone.
pub(super) fn start_of_day(time: i64) -> Option<i64> {
    start_of(time, Unit::Day, &TimeZone::system()).map(|start| start.timestamp().as_microsecond())
}

fn start_of(minute: i64, unit: Unit, zone: &TimeZone) -> Option<ZonedDateTime> {
    let time = Timestamp::from_microsecond(minute).ok()?.to_zoned_datetime(zone.clone());
    match unit {
        Unit::Day => time.start_of_day().ok(),
        unit => time.round(ZonedDateTimeRound::new().smallest(unit).mode(jiff::RoundMode::Trunc)).ok(),
    }
}

/// What was counted so far.
#[derive(Debug)]
pub(super) struct Tally {
    by: By,
    texts: HashMap<String, u64>,
    minutes: HashMap<i64, u64>,
}

impl Tally {
    pub(super) fn new(by: By) -> Self {
        Self { by, texts: HashMap::new(), minutes: HashMap::new() }
    }

    pub(super) fn add_text(&mut self, text: &str, count: u64) {
        if let Some(sum) = self.texts.get_mut(text) {
            *sum += count;
        } else if self.texts.len() <= MOST {
            self.texts.insert(text.to_owned(), count);
        }
    }

    /// Adds what another one counted by the same.
    pub(super) fn join(&mut self, other: &Self) {
        other.texts.iter().for_each(|(text, count)| self.add_text(text, *count));
        other.minutes.iter().for_each(|(time, count)| self.add_time(*time, *count));
    }

    pub(super) fn add_time(&mut self, time: i64, count: u64) {
        *self.minutes.entry(time.div_euclid(MINUTE) * MINUTE).or_default() += count;
    }

    pub(super) fn add(&mut self, record: &Record<'_>) {
        let has_name = !record.qname.is_empty();
        match self.by {
            By::Agency => self.add_text(record.agency.as_deref().unwrap_or(""), 1),
            By::Client => self.add_text(&record.client.to_string(), 1),
            By::Name if has_name => self.add_text(&name::Presentation(&record.qname).to_string(), 1),
            By::Type if has_name => self.add_text(&wire::type_text(record.qtype), 1),
            By::Nothing | By::Name | By::Type => self.add_text("", 1),
            By::Rcode => self.add_text(&record.rcode.map(wire::rcode_text).unwrap_or_default(), 1),
            By::Action => self.add_text(record.outcome.as_str(), 1),
            By::Feed => self.add_text(record.feed.as_deref().unwrap_or(""), 1),
            By::Family => self.add_text(record.family.as_deref().unwrap_or(""), 1),
            By::Minute | By::Hour | By::Day => self.add_time(record.time, 1),
        }
    }

    /// Adds records that are counted together.
    pub(super) fn add_together(&mut self, it: Together<'_>, count: u64) {
        match self.by {
            By::Agency => self.add_text(it.agency, count),
            By::Action => self.add_text(it.action, count),
            By::Family => self.add_text(it.family, count),
            By::Minute | By::Hour | By::Day => self.add_time(it.minute, count),
            _ => self.add_text("", count),
        }
    }

    /// All counts: times in their order, other values by their count.
    pub(super) fn finish(self) -> Result<Vec<Count>, StoreError> {
        if self.texts.len() > MOST {
            return Err(StoreError::Many { most: MOST });
        }
        if let Some(unit) = self.by.unit() {
            let (zone, mut spans) = (TimeZone::system(), std::collections::BTreeMap::new());
            for (minute, count) in self.minutes {
                let Some(start) = start_of(minute, unit, &zone) else { continue };
                *spans.entry(start.timestamp()).or_insert(0) += count;
            }
            let value = |start: Timestamp| {
                start.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
            };
            return Ok(spans
                .into_iter()
                .map(|(start, count)| Count { value: value(start), count })
                .collect());
        }
        let mut counts: Vec<Count> =
            self.texts.into_iter().map(|(value, count)| Count { value, count }).collect();
        counts.sort_unstable_by(|a, b| b.count.cmp(&a.count).then_with(|| a.value.cmp(&b.value)));
        Ok(counts)
    }
}
