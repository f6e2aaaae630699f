//! When a worker looks for queries: at once, as each comes, or a moment later, for several together.
//!
//! Waking a thread costs many times what answering does. Where queries come steadily, a worker that
//! sleeps for [`WINDOW`] and then takes all that came is woken less often, and each query waits half of
//! it on average. That is left off where it gains nothing: when little comes, when one client asks one
//! thing after the other, and when so much comes that there is always something to take. Counts and
//! decides only; sleeping is the worker's.

use std::time::{Duration, Instant};

/// How long queries are let gather.
const WINDOW: Duration = Duration::from_micros(110);
/// Gathering begins when so many come in [`LOOK`]: 12 thousand a second.
const LOOK: Duration = Duration::from_millis(4);
const ENOUGH: u32 = 48;
/// A batch from which on nothing is waited for: the queue is not empty for long anyway.
const FULL: usize = 16;
/// So many windows are judged together; they must have gathered [`GAIN`] halves a window each.
const TRIAL: u32 = 32;
const GAIN: u32 = 3;
/// How long gathering that gained nothing is left off, doubled each time up to the second value.
const SHORTEST_BREAK: Duration = Duration::from_millis(50);
const LONGEST_BREAK: Duration = Duration::from_secs(2);

/// How to wait for queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// Until one comes.
    Block,
    /// Sleep so long, and take what came.
    Gather(Duration),
    /// Take what is there.
    Poll,
}

/// What came of late.
#[derive(Debug)]
pub(super) struct Pace {
    /// When the last look at the socket was.
    looked: Instant,
    /// The size of the batch that it gave.
    latest: usize,
    state: State,
    /// Since when queries are counted, and how many came.
    since: Instant,
    count: u32,
    /// Not before this gathering is tried again.
    not_before: Instant,
    pause: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Each query is taken as it comes.
    Single,
    /// Queries are let gather; so many windows were, with so many queries.
    Gathering { windows: u32, queries: u32 },
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            looked: now,
            latest: 0,
            state: State::Single,
            since: now,
            count: 0,
            not_before: now,
            pause: SHORTEST_BREAK,
        }
    }

    /// How to wait for the next batch.
    pub(super) fn plan(&self, now: Instant) -> Plan {
        if self.state == State::Single {
            return Plan::Block;
        }
        if self.latest >= FULL {
            return Plan::Poll;
        }
        let spent = now.saturating_duration_since(self.looked);
        match WINDOW.checked_sub(spent) {
            Some(left) if !left.is_zero() => Plan::Gather(left),
            _ => Plan::Poll,
        }
    }

    /// Notes a look at the socket that gave `count` queries.
    pub(super) fn note(&mut self, now: Instant, count: usize) {
        self.looked = now;
        self.latest = count;
        match &mut self.state {
            State::Single => {
                self.count += count as u32;
                let spent = now.saturating_duration_since(self.since);
                if spent < LOOK {
                    return;
                }
                // Slower than that, and the count stands for a longer time.
                if spent < 2 * LOOK && self.count >= ENOUGH && now >= self.not_before {
                    self.state = State::Gathering { windows: 0, queries: 0 };
                }
                (self.since, self.count) = (now, 0);
            }
            State::Gathering { windows, queries } => {
                *windows += 1;
                *queries += count as u32;
                if *windows < TRIAL {
                    return;
                }
                if *queries * 2 >= TRIAL * GAIN {
                    self.state = State::Gathering { windows: 0, queries: 0 };
                    self.pause = SHORTEST_BREAK;
                } else {
                    self.state = State::Single;
                    self.not_before = now + self.pause;
                    self.pause = (self.pause * 2).min(LONGEST_BREAK);
                    (self.since, self.count) = (now, 0);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Serves queries that come by `next`, microseconds after the one before as it was answered or sent;
    /// returns how many looks there were, and the longest wait.
    fn run(count: usize, mut arrivals: impl FnMut(u64) -> u64) -> (u32, u64) {
        let begun = Instant::now();
        let at = |micros| begun + Duration::from_micros(micros);
        let mut pace = Pace::new(begun);
        let (mut now, mut looks, mut longest, mut served) = (0, 0, 0, 0);
        let mut next = arrivals(0);
        while served < count {
            match pace.plan(at(now)) {
                Plan::Block => now = now.max(next),
                Plan::Gather(left) => now += left.as_micros() as u64,
                Plan::Poll => {}
            }
            let mut batch = 0;
            while next <= now && batch < 64 {
                longest = longest.max(now - next);
                batch += 1;
                next = arrivals(now);
            }
            looks += 1;
            served += batch;
            pace.note(at(now), batch);
            // A batch takes a while itself.
            now += 2 + batch as u64;
        }
        (looks, longest)
    }

    /// One query each `gap` microseconds, whatever becomes of it.
    fn steady(gap: u64) -> impl FnMut(u64) -> u64 {
        let mut next = 0;
        move |_| {
            next += gap;
            next
        }
    }

    #[test]
    fn a_steady_stream_is_gathered() {
        let (looks, longest) = run(20_000, steady(50));
        assert!(looks < 11_000, "{looks} looks");
        assert!(longest <= 111, "{longest} µs");
        let (looks, longest) = run(20_000, steady(10));
        assert!(looks < 3_000, "{looks} looks");
        assert!(longest <= 111, "{longest} µs");
    }

    #[test]
    fn few_queries_are_not_kept_waiting() {
        let (looks, longest) = run(5_000, steady(200));
        assert_eq!(looks, 5_000);
        assert_eq!(longest, 0);
    }

    #[test]
    fn who_asks_one_thing_after_the_other_is_hardly_slowed() {
        // The next query comes 20 µs after the answer to the last: gathering only makes it wait.
        let mut waits = 0u64;
        let (_, longest) = run(50_000, |now| {
            waits += 1;
            now + 20
        });
        assert!(longest <= 111, "{longest} µs");
        let begun = Instant::now();
        let mut pace = Pace::new(begun);
        let (mut now, mut gathered) = (0u64, 0);
        for _ in 0..50_000 {
            match pace.plan(begun + Duration::from_micros(now)) {
                Plan::Gather(left) => {
                    gathered += 1;
                    now += left.as_micros() as u64;
                }
                _ => now += 20,
            }
            pace.note(begun + Duration::from_micros(now), 1);
            now += 2;
        }
        assert!(gathered < 2_000, "{gathered} of 50000 waited");
    }

    #[test]
    fn gathering_ends_when_nothing_comes() {
        let begun = Instant::now();
        let mut pace = Pace::new(begun);
        let at = |micros| begun + Duration::from_micros(micros);
        (1..60).for_each(|n| pace.note(at(80 * n), 1));
        assert!(matches!(pace.plan(at(80 * 59)), Plan::Gather(_)));
        let mut now = 80 * 60;
        let mut looks = 0;
        while pace.plan(at(now)) != Plan::Block {
            if let Plan::Gather(left) = pace.plan(at(now)) {
                now += left.as_micros() as u64;
            }
            pace.note(at(now), 0);
            looks += 1;
        }
        assert!(looks <= TRIAL, "{looks} looks");
    }

    #[test]
    fn a_flood_is_taken_as_fast_as_it_comes() {
        let begun = Instant::now();
        let mut pace = Pace::new(begun);
        for n in 0..1000u64 {
            pace.note(begun + Duration::from_micros(20 * n), 40);
        }
        assert_eq!(pace.plan(begun + Duration::from_micros(20_001)), Plan::Poll);
    }
}
