//! What is remembered of upstreams, and whom that says to ask first.
//!
//! Takes down what others saw and asks nobody; every number here is an atomic, since workers and tasks take
//! down at once, and what two of them do to each other is an estimate a little off.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Whom to ask first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// The first in configured order that answers.
    #[default]
    Ordered,
    /// The one that has been answering soonest; now and then another, to know how fast that is.
    Fastest,
    /// One of all that answer, at random.
    Spread,
}

/// Silences in a row after which an upstream rests: it is asked last.
pub(super) const MOST_SILENCES: u32 = 3;
/// Errors in a row to which others had a good answer, after which it does.
pub(super) const MOST_OUTDONE: u32 = 8;
/// Each rest is twice as long as the one before, up to this.
const LONGEST_REST: Duration = Duration::from_secs(60);
/// Of so many questions one goes to another than the fastest.
const EXPLORED: u32 = 32;
/// How much of what was known of an upstream's speed a new time leaves as it is (as TCP does: RFC 6298, section 2).
const KEPT: u64 = 7;

/// All upstreams, by number.
#[derive(Debug)]
pub(super) struct Wards {
    all: Box<[Health]>,
    strategy: Strategy,
    shortest_rest: Duration,
    begun: Instant,
}

/// What is remembered of an upstream.
#[derive(Debug, Default)]
struct Health {
    silences: AtomicU32,
    outdone: AtomicU32,
    /// When it last answered anything, in milliseconds after [`Wards::begun`].
    heard_at: AtomicU64,
    is_resting: AtomicBool,
    /// How often it rested without a good answer since.
    rests: AtomicU32,
    /// Silences, errors that others had an answer to, and that it could not be reached, in all.
    failures: AtomicU64,
    /// How long its answers take, smoothed, in microseconds; 0: nobody knows yet.
    rtt: AtomicU32,
}

/// A rest that begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rest {
    /// How long the upstream is left alone.
    pub(super) lasting: Duration,
    /// Which of its rests this is.
    pub(super) serial: u32,
}

impl Wards {
    pub(super) fn new(count: usize, strategy: Strategy, shortest_rest: Duration) -> Self {
        let all = (0..count).map(|_| Health::default()).collect();
        Self { all, strategy, shortest_rest, begun: Instant::now() }
    }

    /// The upstream to ask first. `None` when there is none at all.
    pub(super) fn first(&self) -> Option<usize> {
        let awake = || (0..self.all.len()).filter(|&number| !self.is_resting(number));
        let random = || {
            let count = awake().count();
            // Others may fall asleep meanwhile.
            awake().nth(rand::random::<u32>() as usize % count.max(1)).or_else(|| awake().next())
        };
        let first = match self.strategy {
            Strategy::Ordered => awake().next(),
            Strategy::Fastest if rand::random::<u32>().is_multiple_of(EXPLORED) => random(),
            // One that nobody knows yet is the fastest until it is known.
            Strategy::Fastest => awake().min_by_key(|&number| self.rtt(number)),
            Strategy::Spread => random(),
        };
        first.or((!self.all.is_empty()).then_some(0))
    }

    /// All upstreams, in the order in which to ask them: those that rest last.
    pub(super) fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.all.len()).collect();
        let first = self.first();
        // Two sorts that keep what is equal in order: by speed where that counts, then by rest.
        if self.strategy == Strategy::Fastest {
            order.sort_by_key(|&number| self.rtt(number));
        }
        if let (Strategy::Spread, Some(first)) = (self.strategy, first) {
            order.rotate_left(first);
        }
        order.sort_by_key(|&number| (self.is_resting(number), Some(number) != first));
        order
    }

    /// Takes down that an upstream answered after `rtt`; a good answer is one that helps who asked. Tells whether it
    /// rested until now.
    pub(super) fn note_answer(&self, number: usize, rtt: Duration, is_good: bool) -> bool {
        let Some(health) = self.all.get(number) else { return false };
        health.silences.store(0, Ordering::Relaxed);
        health.heard_at.store(self.now(), Ordering::Relaxed);
        self.note_rtt(health, rtt);
        if is_good {
            health.outdone.store(0, Ordering::Relaxed);
            health.rests.store(0, Ordering::Relaxed);
        }
        health.is_resting.swap(false, Ordering::Relaxed)
    }

    /// Takes down that a question of `asked_at` was not answered. That is no silence of the upstream when it
    /// has answered others since: some names are not to be resolved, by anyone.
    pub(super) fn note_silence(&self, number: usize, asked_at: Instant) -> Option<Rest> {
        let health = self.all.get(number)?;
        let asked_at = asked_at.saturating_duration_since(self.begun).as_millis() as u64;
        if health.heard_at.load(Ordering::Relaxed) > asked_at {
            return None;
        }
        self.note_rtt(health, Duration::from_secs(1));
        health.failures.fetch_add(1, Ordering::Relaxed);
        self.count(health, &health.silences, MOST_SILENCES)
    }

    /// Takes down that an upstream cannot be reached.
    pub(super) fn note_unreachable(&self, number: usize) -> Option<Rest> {
        let health = self.all.get(number)?;
        health.failures.fetch_add(1, Ordering::Relaxed);
        self.count(health, &health.silences, MOST_SILENCES)
    }

    /// Takes down that an upstream answered with an error, and another one had an answer. An error that all have
    /// is the name's.
    pub(super) fn note_outdone(&self, number: usize) -> Option<Rest> {
        let health = self.all.get(number)?;
        health.failures.fetch_add(1, Ordering::Relaxed);
        self.count(health, &health.outdone, MOST_OUTDONE)
    }

    /// How long an upstream goes on resting that was found as it was; `None` when another rest began meanwhile, or
    /// none is on.
    pub(super) fn go_on_resting(&self, number: usize, serial: u32) -> Option<Rest> {
        let health = self.all.get(number)?;
        let is_it = self.is_resting(number) && health.rests.load(Ordering::Relaxed) == serial;
        is_it.then(|| self.rest(health))
    }

    /// Whether this rest of an upstream is still on.
    pub(super) fn is_in(&self, number: usize, rest: Rest) -> bool {
        let is_it = |health: &Health| health.rests.load(Ordering::Relaxed) == rest.serial;
        self.is_resting(number) && self.all.get(number).is_some_and(is_it)
    }

    /// Of each upstream, whether it rests, and how often it failed.
    pub(super) fn figures(&self) -> impl Iterator<Item = (bool, u64)> {
        let of = |health: &Health| {
            (health.is_resting.load(Ordering::Relaxed), health.failures.load(Ordering::Relaxed))
        };
        self.all.iter().map(of)
    }

    fn is_resting(&self, number: usize) -> bool {
        self.all.get(number).is_some_and(|health| health.is_resting.load(Ordering::Relaxed))
    }

    fn rtt(&self, number: usize) -> u32 {
        self.all.get(number).map_or(0, |health| health.rtt.load(Ordering::Relaxed))
    }

    fn note_rtt(&self, health: &Health, rtt: Duration) {
        if self.strategy != Strategy::Fastest {
            return;
        }
        let rtt = u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX).max(1);
        let known = health.rtt.load(Ordering::Relaxed);
        let smoothed = (KEPT * u64::from(known) + u64::from(rtt)) / (KEPT + 1);
        // Both are 32 bits, so their mean is.
        health.rtt.store(if known == 0 { rtt } else { smoothed as u32 }, Ordering::Relaxed);
    }

    /// Counts a failure; the last of a row begins a rest.
    fn count(&self, health: &Health, failures: &AtomicU32, most: u32) -> Option<Rest> {
        // Many questions meet one failure: those that were on their way when its rest began count no more.
        if health.is_resting.load(Ordering::Relaxed)
            || failures.fetch_add(1, Ordering::Relaxed).saturating_add(1) < most
        {
            return None;
        }
        if health.is_resting.swap(true, Ordering::Relaxed) {
            return None;
        }
        failures.store(0, Ordering::Relaxed);
        Some(self.rest(health))
    }

    fn rest(&self, health: &Health) -> Rest {
        let rests = health.rests.fetch_add(1, Ordering::Relaxed);
        let lasting = self.shortest_rest.saturating_mul(1 << rests.min(8)).min(LONGEST_REST);
        Rest { lasting, serial: rests.wrapping_add(1) }
    }

    /// Milliseconds since this began.
    fn now(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORTEST_REST: Duration = Duration::from_secs(5);
    const SOON: Duration = Duration::from_millis(1);

    fn of(count: usize, strategy: Strategy) -> Wards {
        Wards::new(count, strategy, SHORTEST_REST)
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(3600)
    }

    fn silence(wards: &Wards, number: usize) -> Option<Rest> {
        (0..MOST_SILENCES).find_map(|_| wards.note_silence(number, later()))
    }

    #[test]
    fn who_rests_is_asked_last() {
        let wards = of(3, Strategy::Ordered);
        assert_eq!((wards.first(), wards.order()), (Some(0), vec![0, 1, 2]));
        silence(&wards, 0).unwrap();
        assert_eq!((wards.first(), wards.order()), (Some(1), vec![1, 2, 0]));
        silence(&wards, 1).unwrap();
        silence(&wards, 2).unwrap();
        assert_eq!((wards.first(), wards.order()), (Some(0), vec![0, 1, 2]));
        wards.note_answer(2, SOON, false);
        assert_eq!((wards.first(), wards.order()), (Some(2), vec![2, 0, 1]));
        assert_eq!(of(0, Strategy::Ordered).first(), None);
    }

    #[test]
    fn the_fastest_is_asked_first_and_others_now_and_then() {
        let wards = of(3, Strategy::Fastest);
        for (number, millis) in [(0, 30), (1, 10), (2, 20)] {
            assert_eq!(wards.rtt(number), 0);
            wards.note_answer(number, Duration::from_millis(millis), true);
        }
        let firsts: Vec<_> = (0..1000).filter_map(|_| wards.first()).collect();
        let count = |number| firsts.iter().filter(|&&first| first == number).count();
        assert!(count(1) > 900 && count(0) > 0 && count(2) > 0, "{} {} {}", count(0), count(1), count(2));
        while wards.order() != [1, 2, 0] {}
        for _ in 0..20 {
            wards.note_answer(1, Duration::from_millis(100), true);
        }
        while wards.order() != [2, 0, 1] {}
    }

    #[test]
    fn all_that_answer_have_their_share() {
        let wards = of(3, Strategy::Spread);
        silence(&wards, 1).unwrap();
        let mut counts = [0; 3];
        for _ in 0..1000 {
            let order = wards.order();
            assert_eq!(order[2], 1);
            counts[order[0]] += 1;
        }
        assert!(counts[0] > 400 && counts[2] > 400 && counts[1] == 0, "{counts:?}");
    }

    #[test]
    fn one_failure_that_many_meet_is_one_rest() {
        let wards = of(1, Strategy::Ordered);
        let rests: Vec<Rest> = (0..1000).filter_map(|_| wards.note_silence(0, later())).collect();
        assert_eq!(rests, [Rest { lasting: SHORTEST_REST, serial: 1 }]);
    }

    #[test]
    fn rests_grow_until_a_good_answer() {
        let wards = of(1, Strategy::Ordered);
        let first = silence(&wards, 0).unwrap();
        let second = wards.go_on_resting(0, first.serial).unwrap();
        assert_eq!(second.lasting, 2 * SHORTEST_REST);
        assert!(!wards.is_in(0, first) && wards.is_in(0, second));
        assert_eq!(wards.go_on_resting(0, first.serial), None);
        assert!(wards.note_answer(0, SOON, false));
        assert_eq!(silence(&wards, 0).unwrap().lasting, 4 * SHORTEST_REST);
        wards.note_answer(0, SOON, true);
        assert_eq!(silence(&wards, 0).unwrap().lasting, SHORTEST_REST);
    }

    #[test]
    fn an_error_counts_only_where_others_do_better() {
        let wards = of(2, Strategy::Ordered);
        for _ in 0..100 {
            wards.note_answer(0, SOON, false);
        }
        assert_eq!(wards.first(), Some(0));
        for _ in 0..MOST_OUTDONE {
            wards.note_outdone(0);
            wards.note_answer(0, SOON, true);
        }
        assert_eq!(wards.first(), Some(0), "not in a row");
        for _ in 0..MOST_OUTDONE {
            wards.note_outdone(0);
        }
        assert_eq!(wards.first(), Some(1));
    }

    #[test]
    fn a_silence_before_the_last_answer_is_none() {
        let wards = of(1, Strategy::Ordered);
        let asked_at = wards.begun;
        std::thread::sleep(Duration::from_millis(2));
        wards.note_answer(0, SOON, true);
        assert!((0..10).all(|_| wards.note_silence(0, asked_at).is_none()));
    }
}
