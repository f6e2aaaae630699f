//! How many queries were answered how, since the start: by transport, by what was done, and by rcode.
//!
//! Each journal counts for itself, whether or not the record is kept; whoever asks adds them up.

use super::record::{self, Outcome, Record, Transport};
use crate::metrics::Counters;

/// Transports, outcomes and rcodes that are told apart; the last rcodes are all others, and no answer.
const TRANSPORTS: usize = 5;
const OUTCOMES: usize = 14;
const RCODES: usize = 25;
const OTHER: usize = RCODES - 2;
const SILENT: usize = RCODES - 1;
const CELLS: usize = TRANSPORTS * OUTCOMES * RCODES;
/// Behind them: hits, and answers from the cache.
const HITS: usize = CELLS;
const CACHED: usize = CELLS + 1;

/// The counters of a journal.
#[derive(Debug)]
pub(super) struct Tally(Counters);

impl Default for Tally {
    fn default() -> Self {
        Self(Counters::new(CELLS + 2))
    }
}

/// How many were answered so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered {
    /// How they came.
    pub transport: Transport,
    /// What was done.
    pub outcome: Outcome,
    /// What was answered: an rcode, `None` for no answer; rcodes that nobody knows are [`Answered::OTHER`].
    pub rcode: Option<u16>,
    /// How many.
    pub count: u64,
}

impl Answered {
    /// Stands for all rcodes that are not told apart.
    pub const OTHER: u16 = OTHER as u16;
}

/// All queries since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers {
    /// By what became of them, without what never happened.
    pub answered: Vec<Answered>,
    /// Those that were hits.
    pub hits: u64,
    /// Those that were answered from the cache.
    pub cached: u64,
}

impl Tally {
    #[inline]
    pub(super) fn count(&self, record: &Record<'_>) {
        let rcode = record.rcode.map_or(SILENT, |rcode| usize::from(rcode).min(OTHER));
        self.add(record.transport, record.outcome as usize, rcode, record.is_hit, record.is_cached);
    }

    /// … by the tail of a record, which was encoded before.
    #[inline]
    pub(super) fn count_tail(&self, transport: Transport, tail: &[u8]) {
        let (outcome, rcode) = record::outcome_and_rcode(tail);
        let rcode = rcode.map_or(SILENT, |rcode| usize::from(rcode).min(OTHER));
        self.add(transport, outcome, rcode, record::is_hit(tail), record::is_cached(tail));
    }

    #[inline]
    fn add(&self, transport: Transport, outcome: usize, rcode: usize, is_hit: bool, is_cached: bool) {
        self.0.add((transport as usize * OUTCOMES + outcome.min(OUTCOMES - 1)) * RCODES + rcode);
        if is_hit {
            self.0.add(HITS);
        }
        if is_cached {
            self.0.add(CACHED);
        }
    }
}

/// Adds up what journals counted.
pub(super) fn sum<'t>(tallies: impl Iterator<Item = &'t Tally>) -> Answers {
    let mut cells = vec![0_u64; CELLS + 2];
    for Tally(counters) in tallies {
        for (number, cell) in cells.iter_mut().enumerate() {
            *cell += counters.value(number);
        }
    }
    let mut answered = Vec::new();
    for (transport, transport_word) in Transport::words().enumerate() {
        for (outcome, outcome_word) in Outcome::words().enumerate() {
            let (Some(transport_of), Some(outcome_of)) =
                (Transport::from_word(transport_word), Outcome::from_word(outcome_word))
            else {
                continue;
            };
            for rcode in 0..RCODES {
                let count = cells[(transport * OUTCOMES + outcome) * RCODES + rcode];
                if count > 0 {
                    // Below 25.
                    let rcode = (rcode != SILENT).then_some(rcode as u16);
                    answered.push(Answered { transport: transport_of, outcome: outcome_of, rcode, count });
                }
            }
        }
    }
    Answers { answered, hits: cells[HITS], cached: cells[CACHED] }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::sample;
    use super::*;

    #[test]
    fn records_and_their_tails_count_alike() {
        let (one, other) = (Tally::default(), Tally::default());
        let record =
            Record { rcode: Some(3), outcome: Outcome::Nxdomain, is_hit: true, qtype: 65_535, ..sample(1) };
        one.count(&record);
        let mut tail = Vec::new();
        record.encode_tail(&mut tail);
        other.count_tail(record.transport, &tail);
        one.count(&Record {
            rcode: None,
            outcome: Outcome::Drop,
            is_hit: false,
            is_cached: false,
            ..sample(1)
        });
        one.count(&Record {
            rcode: Some(4000),
            outcome: Outcome::Forward,
            is_hit: false,
            is_cached: false,
            ..sample(1)
        });
        let sum = sum([&one, &other].into_iter());
        let transport = record.transport;
        let of = |outcome, rcode, count| Answered { transport, outcome, rcode, count };
        assert_eq!(
            sum.answered,
            [
                of(Outcome::Forward, Some(Answered::OTHER), 1),
                of(Outcome::Nxdomain, Some(3), 2),
                of(Outcome::Drop, None, 1),
            ]
        );
        assert_eq!(sum.hits, 2);
    }

    #[test]
    fn there_is_a_place_for_every_transport_and_outcome() {
        assert_eq!((Transport::words().count(), Outcome::words().count()), (TRANSPORTS, OUTCOMES));
    }
}
