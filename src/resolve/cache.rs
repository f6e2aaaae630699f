//! The cache of answers: bounded in octets, fresh for their TTL, stale for a while after it.
//!
//! Knows what was asked and what came of it; when to ask again is [`super::Resolver`]'s decision.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use quick_cache::Weighter;
use quick_cache::sync::Cache as Entries;

use super::Aged;
use super::answer::Answer;
use super::exchange::{Ask, Flag};
use crate::name::{self, MAX_WIRE};
use crate::wire::rcode;

/// How answers are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Octets of all answers together.
    pub max_size: u64,
    /// For how long after its life an answer may still be given when no upstream answers (RFC 8767).
    pub stale: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_size: 128 << 20, stale: Duration::from_secs(86_400) }
    }
}

/// What an answer costs besides its own octets: the entry, its key and the cache's own books.
const OVERHEAD: u64 = 192;
/// About what one answer takes, to size the cache's tables.
const TYPICAL: u64 = 512;

/// Answers by question.
pub struct Cache {
    entries: Entries<Box<[u8]>, Arc<Entry>, ByOctets>,
    stale: u32,
    begun: Instant,
}

/// An answer and when it came.
#[derive(Debug)]
pub struct Entry {
    /// The answer.
    pub answer: Answer,
    /// Seconds after [`Cache::begun`].
    born: u32,
    /// Before this second nobody asks again: the last try has failed, or is on its way.
    ask_again_at: AtomicU32,
}

/// What the cache has for a question.
#[derive(Debug, Clone)]
pub struct Found {
    /// The entry.
    pub entry: Arc<Entry>,
    /// How old its answer is, in seconds.
    pub age: u32,
    /// What that means.
    pub state: Freshness,
}

impl Found {
    /// How it is given without asking anybody; `None` where an upstream should be asked first.
    pub fn at_once(&self) -> Option<Aged> {
        match self.state {
            Freshness::Fresh | Freshness::Ending => Some(Aged::By(self.age)),
            Freshness::StaleAndTried => Some(Aged::Stale),
            Freshness::Stale => None,
        }
    }

    /// For how many seconds more it may be given without a look into the cache: until it should be asked
    /// for again.
    pub fn fresh_for(&self) -> Option<u32> {
        let life = self.entry.answer.life();
        let until = if life >= SHORTEST_PREFETCHED { (ENDING * f64::from(life)) as u32 } else { life };
        until.checked_sub(self.age).filter(|_| self.state == Freshness::Fresh)
    }
}

/// How good an answer of some age still is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Within its TTL.
    Fresh,
    /// Within its TTL, and somebody should ask again before it ends: only one asker is told so.
    Ending,
    /// Past its TTL: good only when nothing better is to be had.
    Stale,
    /// As [`Freshness::Stale`], and the last try to get something better failed a moment ago.
    StaleAndTried,
}

/// The part of its life after which an answer that is still asked for is fetched anew.
const ENDING: f64 = 0.9;
/// Answers that live shorter are not worth that.
const SHORTEST_PREFETCHED: u32 = 10;
/// After a failed try stale answers are given at once for this long (RFC 8767, section 5).
const RECHECK: u32 = 30;

#[derive(Debug, Clone)]
struct ByOctets;

impl Weighter<Box<[u8]>, Arc<Entry>> for ByOctets {
    fn weight(&self, key: &Box<[u8]>, entry: &Arc<Entry>) -> u64 {
        OVERHEAD + key.len() as u64 + entry.answer.weight() as u64
    }
}

/// A question as the cache knows it: name in lower case, type, and the flags that change answers.
pub struct Key {
    octets: [u8; MAX_WIRE + 5],
    len: usize,
}

impl Key {
    /// The key of what is asked. Allocates nothing.
    pub fn new(question: &[u8], ask: AskFlags) -> Self {
        let mut key = Self { octets: [0; MAX_WIRE + 5], len: 0 };
        let len = question.len().min(MAX_WIRE + 4);
        key.octets[0] = ask.0;
        key.octets[1..=len].copy_from_slice(&question[..len]);
        // Type and class stand behind the name: their octets are no letters of it.
        name::fold(&mut key.octets[1..=len.saturating_sub(4)]);
        key.len = 1 + len;
        key
    }

    fn as_bytes(&self) -> &[u8] {
        &self.octets[..self.len]
    }

    /// The key of a question with its flags.
    pub fn of(ask: &Ask) -> Self {
        Self::new(&ask.question, AskFlags::from(ask))
    }

    /// The key as it is stored.
    pub fn to_boxed(&self) -> Box<[u8]> {
        self.as_bytes().into()
    }
}

/// The name in a key, in wire format.
pub(super) fn qname(key: &[u8]) -> Option<&[u8]> {
    key.get(1..)?.split_last_chunk::<4>().map(|(qname, _)| qname)
}

/// The flags of a query that change its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AskFlags(u8);

impl AskFlags {
    /// Of RD, CD and DO.
    pub fn new(recursion: Flag, checking_disabled: Flag, dnssec_ok: Flag) -> Self {
        let bit = |flag: Flag, bit: u8| if flag == Flag::Set { bit } else { 0 };
        Self(bit(recursion, 1) | bit(checking_disabled, 2) | bit(dnssec_ok, 4))
    }
}

impl From<&Ask> for AskFlags {
    fn from(ask: &Ask) -> Self {
        Self::new(ask.recursion, ask.checking_disabled, ask.dnssec_ok)
    }
}

impl Cache {
    /// An empty cache; `now` is its zero of time.
    pub fn new(options: &Options, now: Instant) -> Self {
        let typical = usize::try_from(options.max_size / TYPICAL).unwrap_or(usize::MAX);
        Self {
            entries: Entries::with_weighter(typical, options.max_size, ByOctets),
            stale: u32::try_from(options.stale.as_secs()).unwrap_or(u32::MAX),
            begun: now,
        }
    }

    /// What there is for a question; nothing when it is too old even to be stale.
    pub fn find(&self, key: &Key, now: Instant) -> Option<Found> {
        let entry = self.entries.get(key.as_bytes())?;
        let now = self.seconds(now);
        let age = now.saturating_sub(entry.born);
        let life = entry.answer.life();
        let state = if age < life {
            let is_ending = life >= SHORTEST_PREFETCHED && f64::from(age) >= ENDING * f64::from(life);
            if is_ending && entry.claim(now) { Freshness::Ending } else { Freshness::Fresh }
        } else if age - life < self.stale && entry.answer.rcode() != rcode::SERVFAIL {
            if entry.ask_again_at.load(Ordering::Relaxed) > now {
                Freshness::StaleAndTried
            } else {
                Freshness::Stale
            }
        } else {
            return None;
        };
        Some(Found { entry, age, state })
    }

    /// Keeps an answer if it may be kept. A failure never replaces an answer that may still be given.
    pub fn insert(&self, key: Box<[u8]>, answer: Answer, now: Instant) -> Arc<Entry> {
        let born = self.seconds(now);
        let is_failure = answer.rcode() == rcode::SERVFAIL;
        let is_kept = answer.life() > 0;
        let entry = Arc::new(Entry { answer, born, ask_again_at: AtomicU32::new(0) });
        if is_failure && let Some(old) = self.entries.peek(&*key) {
            let end = old.born.saturating_add(old.answer.life()).saturating_add(self.stale);
            if old.answer.rcode() != rcode::SERVFAIL && born < end {
                old.ask_again_at.store(born.saturating_add(RECHECK), Ordering::Relaxed);
                return entry;
            }
        }
        if is_kept {
            self.entries.insert(key, Arc::clone(&entry));
        } else {
            // It says that the old one is over.
            self.entries.remove(&*key);
        }
        entry
    }

    /// Takes back that somebody asks again for an answer.
    pub fn release(&self, key: &Key) {
        if let Some(entry) = self.entries.peek(key.as_bytes()) {
            entry.ask_again_at.store(0, Ordering::Relaxed);
        }
    }

    /// Forgets one answer.
    pub fn remove(&self, key: &[u8]) {
        self.entries.remove(key);
    }

    /// Forgets the answers whose keys `is_kept` does not take.
    pub fn retain(&self, is_kept: impl Fn(&[u8]) -> bool) {
        self.entries.retain(|key, _| is_kept(key));
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.entries.clear();
    }

    /// Octets of all answers.
    pub fn weight(&self) -> u64 {
        self.entries.weight()
    }

    /// The time in seconds since the cache was made.
    pub fn seconds(&self, now: Instant) -> u32 {
        u32::try_from(now.saturating_duration_since(self.begun).as_secs()).unwrap_or(u32::MAX)
    }
}

impl Entry {
    /// An answer that is kept nowhere.
    pub fn unkept(answer: Answer) -> Arc<Self> {
        Arc::new(Self { answer, born: 0, ask_again_at: AtomicU32::new(0) })
    }

    /// Whether the caller is the one who asks again.
    fn claim(&self, now: u32) -> bool {
        let until = self.ask_again_at.load(Ordering::Relaxed);
        until <= now
            && self
                .ask_again_at
                .compare_exchange(until, now.saturating_add(RECHECK), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{self, Response};

    fn key(name: &str) -> Key {
        let question = [name.as_bytes(), &[0, 0, 1, 0, 1]].concat();
        Key::new(&question, AskFlags::new(Flag::Set, Flag::Clear, Flag::Clear))
    }

    /// An A record with this TTL.
    fn answer(ttl: u32) -> Answer {
        let mut packet = vec![0, 7, wire::QR, 0, 0, 1, 0, 1, 0, 0, 0, 0];
        packet.extend(b"\x07example\x00\x00\x01\x00\x01\xc0\x0c\x00\x01\x00\x01");
        packet.extend(ttl.to_be_bytes());
        packet.extend([0, 4, 192, 0, 2, 1]);
        Answer::new(&Response::parse(&packet).unwrap())
    }

    fn failure() -> Answer {
        Answer::failure(b"\x07example\x00\x00\x01\x00\x01", &[])
    }

    #[test]
    fn answers_age_and_go_stale_and_end() {
        let begun = Instant::now();
        let cache = Cache::new(&Options { stale: Duration::from_secs(1000), ..Options::default() }, begun);
        let at = |seconds| begun + Duration::from_secs(seconds);
        cache.insert(key("\x07example").to_boxed(), answer(100), at(10));
        let check = |seconds, expected: Option<(u32, Freshness)>| {
            let found = cache.find(&key("\x07EXAMPLE"), at(seconds));
            assert_eq!(found.map(|found| (found.age, found.state)), expected, "at {seconds}");
        };
        check(10, Some((0, Freshness::Fresh)));
        check(99, Some((89, Freshness::Fresh)));
        check(100, Some((90, Freshness::Ending)));
        check(100, Some((90, Freshness::Fresh)));
        check(109, Some((99, Freshness::Fresh)));
        // The one who was told to ask again at 100 has half a minute for it.
        check(110, Some((100, Freshness::StaleAndTried)));
        check(131, Some((121, Freshness::Stale)));
        check(1109, Some((1099, Freshness::Stale)));
        check(1110, None);
        assert!(cache.find(&key("\x05other"), at(10)).is_none());
    }

    #[test]
    fn flags_and_types_are_told_apart() {
        let cache = Cache::new(&Options::default(), Instant::now());
        cache.insert(key("\x07example").to_boxed(), answer(100), Instant::now());
        let question = b"\x07example\x00\x00\x01\x00\x01";
        for (recursion, checking, dnssec) in [
            (Flag::Clear, Flag::Clear, Flag::Clear),
            (Flag::Set, Flag::Set, Flag::Clear),
            (Flag::Set, Flag::Clear, Flag::Set),
        ] {
            let other = Key::new(question, AskFlags::new(recursion, checking, dnssec));
            assert!(cache.find(&other, Instant::now()).is_none());
        }
        // Type 97 (0x61, an `a`) is not type 65 (0x41, an `A`).
        let flags = AskFlags::new(Flag::Set, Flag::Clear, Flag::Clear);
        let lower = Key::new(b"\x07example\x00\x00\x61\x00\x01", flags);
        let upper = Key::new(b"\x07example\x00\x00\x41\x00\x01", flags);
        assert_ne!(lower.as_bytes(), upper.as_bytes());
    }

    #[test]
    fn a_failure_keeps_the_stale_answer() {
        let begun = Instant::now();
        let cache = Cache::new(&Options::default(), begun);
        let at = |seconds| begun + Duration::from_secs(seconds);
        let state = |seconds| cache.find(&key("\x07example"), at(seconds)).map(|found| found.state);
        cache.insert(key("\x07example").to_boxed(), answer(5), at(0));
        assert_eq!(state(10), Some(Freshness::Stale));
        cache.insert(key("\x07example").to_boxed(), failure(), at(10));
        assert_eq!(state(11), Some(Freshness::StaleAndTried));
        assert_eq!(state(40), Some(Freshness::Stale));
        cache.insert(key("\x07example").to_boxed(), answer(5), at(41));
        assert_eq!(state(41), Some(Freshness::Fresh));

        let cache = Cache::new(&Options::default(), begun);
        cache.insert(key("\x07example").to_boxed(), failure(), at(0));
        assert_eq!(cache.find(&key("\x07example"), at(0)).map(|found| found.state), Some(Freshness::Fresh));
        assert!(cache.find(&key("\x07example"), at(60)).is_none(), "a failure is never stale");
    }

    #[test]
    fn what_must_not_be_kept_ends_what_was() {
        let begun = Instant::now();
        let cache = Cache::new(&Options::default(), begun);
        cache.insert(key("\x07example").to_boxed(), answer(5), begun);
        let later = begun + Duration::from_secs(10);
        assert_eq!(cache.find(&key("\x07example"), later).unwrap().state, Freshness::Stale);
        cache.insert(key("\x07example").to_boxed(), answer(0), later);
        assert!(cache.find(&key("\x07example"), later).is_none());
    }

    #[test]
    fn the_bound_holds() {
        let options = Options { max_size: 1 << 20, ..Options::default() };
        let cache = Cache::new(&options, Instant::now());
        for n in 0..20_000u32 {
            let name = format!("\x08{n:08}");
            cache.insert(key(&name).to_boxed(), answer(100), Instant::now());
        }
        assert!(cache.weight() <= options.max_size, "{}", cache.weight());
        assert!(cache.weight() > options.max_size / 2, "{}", cache.weight());
    }
}
