//! A rate: how many times a second something may happen for each of very many keys.
//!
//! Counts only: what the keys are is `limits`' business. Memory is fixed whatever comes: keys share a
//! table by hash, and two that fall together share one count.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Slots of the table: half a megabyte.
const SLOTS: usize = 1 << 16;
/// What a key that was quiet may do at once, in seconds' worth of its rate.
const BURST: Duration = Duration::from_secs(1);

/// Whether something is within its key's rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// It is.
    Within,
    /// It is one too many.
    Exceeded,
}

/// The rate of every key.
///
/// The generic cell rate algorithm (ITU-T I.371): a slot holds the time at which the key's account is
/// even again; what would move it further ahead than the burst is one too many, and is not counted.
pub struct RateLimit {
    /// Between two of a key that goes steadily.
    interval: Duration,
    slots: Box<[AtomicU64]>,
    hasher: RandomState,
    begun: Instant,
}

impl RateLimit {
    /// Allows each key `per_second` a second (at least one).
    pub fn new(per_second: u32, now: Instant) -> Self {
        Self {
            interval: Duration::from_secs(1) / per_second.max(1),
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
            begun: now,
        }
    }

    /// Counts one more of `key`. Allocates nothing and waits for nothing.
    pub fn count(&self, key: impl Hash, now: Instant) -> Rate {
        let now = nanoseconds(now.saturating_duration_since(self.begun));
        let (interval, burst) = (nanoseconds(self.interval), nanoseconds(BURST));
        let slot = &self.slots[self.hasher.hash_one(key) as usize % SLOTS];
        let counted = slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |even_at| {
            let even_at = even_at.max(now) + interval;
            (even_at <= now + burst.max(interval)).then_some(even_at)
        });
        if counted.is_ok() { Rate::Within } else { Rate::Exceeded }
    }
}

/// Five centuries fit.
fn nanoseconds(duration: Duration) -> u64 {
    duration.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(per_second: u32, at: &[u64], expected: &str) {
        let begun = Instant::now();
        let limit = RateLimit::new(per_second, begun);
        let got: String = at
            .iter()
            .map(|&at| match limit.count("key", begun + Duration::from_millis(at)) {
                Rate::Within => '+',
                Rate::Exceeded => '-',
            })
            .collect();
        assert_eq!(got, expected, "{per_second} a second at {at:?}");
    }

    #[test]
    fn a_burst_and_then_the_steady_rate() {
        check(4, &[0, 0, 0, 0, 0, 0], "++++--");
        check(4, &[0, 0, 0, 0, 250, 250, 500, 2000, 2000, 2000, 2000, 2000], "+++++-+++++-");
        check(1, &[0, 999, 1000, 1001, 2000], "+-+-+");
    }

    #[test]
    fn a_flood_of_one_costs_the_others_little() {
        let now = Instant::now();
        let limit = RateLimit::new(10, now);
        for _ in 0..100_000 {
            limit.count("flood", now);
        }
        let hit = (0..1000u32).filter(|other| limit.count(other, now) == Rate::Exceeded).count();
        assert!(hit <= 2, "{hit} of a thousand share the slot of one");
    }
}
