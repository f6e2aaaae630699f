//! Rate limits: how many queries a second one client may ask.
//!
//! Counts only: what happens to a query that is too many is the pipeline's business. Memory is fixed
//! whatever comes: clients share a table by hash, and two that fall together share one count.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::prefix::PrefixMap;

/// Slots of the table: half a megabyte.
const SLOTS: usize = 1 << 16;
/// What a client that was quiet may ask at once, in seconds' worth of its rate.
const BURST: Duration = Duration::from_secs(1);

/// Whether a query is within its client's rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// It is.
    Within,
    /// It is one too many.
    Exceeded,
}

/// The rate of every client.
///
/// The generic cell rate algorithm (ITU-T I.371): a slot holds the time at which the client's account is
/// even again; a query that would move it further ahead than the burst is one too many.
pub struct RateLimit {
    /// Between two queries of a client that asks steadily.
    interval: Duration,
    exempt: PrefixMap<()>,
    slots: Box<[AtomicU64]>,
    hasher: RandomState,
    begun: Instant,
}

impl RateLimit {
    /// Allows each client `per_second` queries a second (at least one), and those in `exempt` any
    /// number: the DNS servers of agencies, each of which asks for a whole site.
    pub fn new(per_second: u32, exempt: PrefixMap<()>, now: Instant) -> Self {
        Self {
            interval: Duration::from_secs(1) / per_second.max(1),
            exempt,
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
            begun: now,
        }
    }

    /// Counts a query. Allocates nothing and waits for nothing.
    pub fn count(&self, client: IpAddr, now: Instant) -> Rate {
        if self.exempt.find(client).is_some() {
            return Rate::Within;
        }
        let now = nanoseconds(now.saturating_duration_since(self.begun));
        let (interval, burst) = (nanoseconds(self.interval), nanoseconds(BURST));
        let slot = &self.slots[self.slot(client)];
        let counted = slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |even_at| {
            let even_at = even_at.max(now) + interval;
            (even_at <= now + burst.max(interval)).then_some(even_at)
        });
        if counted.is_ok() { Rate::Within } else { Rate::Exceeded }
    }

    fn slot(&self, client: IpAddr) -> usize {
        let hash = match client.to_canonical() {
            IpAddr::V4(client) => self.hasher.hash_one(client.to_bits()),
            // A machine has a whole /64 to ask from.
            IpAddr::V6(client) => self.hasher.hash_one((client.to_bits() >> 64) as u64),
        };
        hash as usize % SLOTS
    }
}

/// Five centuries fit.
fn nanoseconds(duration: Duration) -> u64 {
    duration.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(per_second: u32, client: &str, at: &[u64], expected: &str) {
        let begun = Instant::now();
        let exempt = PrefixMap::new([("10.1.0.53/32".parse().unwrap(), ())]).unwrap();
        let limit = RateLimit::new(per_second, exempt, begun);
        let got: String = at
            .iter()
            .map(|&at| match limit.count(client.parse().unwrap(), begun + Duration::from_millis(at)) {
                Rate::Within => '+',
                Rate::Exceeded => '-',
            })
            .collect();
        assert_eq!(got, expected, "{per_second} a second, {client} at {at:?}");
    }

    #[test]
    fn a_burst_and_then_the_steady_rate() {
        check(4, "10.1.2.3", &[0, 0, 0, 0, 0, 0], "++++--");
        check(4, "10.1.2.3", &[0, 0, 0, 0, 250, 250, 500, 2000, 2000, 2000, 2000, 2000], "+++++-+++++-");
        check(1, "10.1.2.3", &[0, 999, 1000, 1001, 2000], "+-+-+");
        check(4, "10.1.0.53", &[0; 100], &"+".repeat(100));
    }

    #[test]
    fn one_machine_is_one_client() {
        let now = Instant::now();
        let limit = RateLimit::new(1, PrefixMap::default(), now);
        assert_eq!(limit.count("2001:db8::1".parse().unwrap(), now), Rate::Within);
        assert_eq!(limit.count("2001:db8::2".parse().unwrap(), now), Rate::Exceeded, "the same /64");
        assert_eq!(limit.count("10.1.2.3".parse().unwrap(), now), Rate::Within);
        assert_eq!(limit.count("::ffff:10.1.2.3".parse().unwrap(), now), Rate::Exceeded);
    }

    #[test]
    fn a_flood_of_one_costs_the_others_little() {
        let now = Instant::now();
        let limit = RateLimit::new(10, PrefixMap::default(), now);
        for _ in 0..100_000 {
            limit.count("10.1.2.3".parse().unwrap(), now);
        }
        let others = (0..1000u32).map(|n| IpAddr::from(std::net::Ipv4Addr::from_bits(0x0a02_0000 + n)));
        let hit = others.filter(|other| limit.count(*other, now) == Rate::Exceeded).count();
        assert!(hit <= 2, "{hit} of a thousand share the slot of one");
    }
}
