//! What is remembered of a feed's publisher from one fetch to the next: in the store's `state.json`, changed
//! together with the version that it speaks of.
//!
//! Pure: the time is told.

use std::time::Duration;

use rand::Rng;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::transfer::assembly::Soa;
use super::{Publisher, REFRESH, Remote};
use crate::feed::store::{Digest, State};

/// The first pause after a failure; each further one doubles it, up to the usual time between fetches.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
/// What a zone may ask for.
const SHORTEST: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(86_400);

/// What is remembered. Times are microseconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// Who was asked: all else is of no use once that is somebody else.
    pub source: String,
    /// The version that came last.
    pub version: Option<Digest>,
    /// Its entity tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// … and the time of its last change, as the server wrote both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
    /// From when on a TAXII server is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub added_after: Option<String>,
    /// The zone's numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<Numbers>,
    /// When the publisher was asked last, whatever came of it.
    pub tried_at: i64,
    /// When it was last known that there was nothing newer.
    pub checked_at: i64,
    /// When it is asked next.
    pub next_at: i64,
    /// Failures since then.
    pub failures: u32,
    /// Why the last fetch failed that did, which stays when others go well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// When that was.
    #[serde(skip_serializing_if = "is_zero")]
    pub trouble_at: i64,
}

/// What a zone's SOA record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbers {
    /// Which version.
    pub serial: u32,
    /// Seconds, as [`Soa`] has them.
    pub refresh: u32,
    /// … likewise.
    pub retry: u32,
    /// … likewise.
    pub expire: u32,
}

impl From<Soa> for Numbers {
    fn from(soa: Soa) -> Self {
        let Soa { serial, refresh, retry, expire } = soa;
        Self { serial, refresh, retry, expire }
    }
}

impl Memory {
    /// What a feed's state has; nothing, where it was fetched from somebody else.
    pub fn of(state: &State, publisher: &Publisher) -> Self {
        let source = publisher.identity();
        let memory = state.fetcher.as_ref().and_then(Self::read);
        let mut memory = memory
            .filter(|memory| memory.source == source)
            .unwrap_or_else(|| Self { source, ..Self::default() });
        // Validators speak of a version: without it they are of no use.
        if memory.version.is_none() || memory.version != state.latest.as_ref().map(|latest| latest.digest) {
            memory.forget();
        }
        memory
    }

    /// Reads what [`Self::value`] gave.
    pub fn read(value: &Value) -> Option<Self> {
        Self::deserialize(value).ok()
    }

    /// For the store.
    pub fn value(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// Forgets what speaks of a version, so that all of it is asked for.
    pub fn forget(&mut self) {
        (self.version, self.etag, self.last_modified, self.added_after) = (None, None, None, None);
        self.zone = None;
    }

    /// The usual time between two fetches.
    pub fn interval(&self, remote: &Remote) -> Duration {
        let of_zone = self.zone.filter(|_| matches!(remote.publisher, Publisher::Zone(_)));
        let of_zone = of_zone.map(|zone| seconds(zone.refresh).clamp(SHORTEST, LONGEST));
        remote.refresh.or(of_zone).unwrap_or(REFRESH)
    }

    /// Puts down that the publisher was heard at `now`.
    pub fn succeed(&mut self, remote: &Remote, now: i64, random: &mut impl Rng) {
        (self.tried_at, self.checked_at) = (now, now);
        self.failures = 0;
        self.next_at = later(now, self.interval(remote), random);
    }

    /// Puts down why nothing came at `now`, or not all of it; the publisher may want to be left alone for a while.
    pub fn fail(
        &mut self,
        remote: &Remote,
        why: String,
        retry_after: Option<Duration>,
        now: i64,
        random: &mut impl Rng,
    ) {
        let interval = self.interval(remote);
        let doubled = FIRST_PAUSE.saturating_mul(1 << self.failures.min(16));
        let of_zone = self.zone.filter(|_| matches!(remote.publisher, Publisher::Zone(_)));
        let of_zone = of_zone.map(|zone| seconds(zone.retry).max(SHORTEST));
        let pause = of_zone.unwrap_or(doubled).min(interval).max(retry_after.unwrap_or_default());
        self.tried_at = now;
        self.failures = self.failures.saturating_add(1);
        (self.trouble, self.trouble_at) = (Some(why), now);
        self.next_at = later(now, pause, random);
    }

    /// In how long the publisher is asked next, seen from `now`.
    pub fn due(&self, remote: &Remote, now: i64) -> Duration {
        // A changed setting counts from now on; and clocks are set back.
        let soonest = if self.failures == 0 {
            self.next_at.min(self.tried_at.saturating_add(micros(self.interval(remote)) / 10 * 11))
        } else {
            self.next_at
        };
        let wait = Duration::from_micros(soonest.saturating_sub(now).max(0) as u64);
        if self.tried_at > now { Duration::ZERO } else { wait.min(LONGEST * 2) }
    }

    /// Whether a zone's primary has not been heard for so long that other secondaries would not answer from it
    /// any more (RFC 1035, section 3.3.13).
    pub fn is_expired(&self, now: i64) -> bool {
        self.zone.is_some_and(|zone| now.saturating_sub(self.checked_at) > micros(seconds(zone.expire)))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

fn seconds(number: u32) -> Duration {
    Duration::from_secs(number.into())
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// `now` and a time that is up to a tenth shorter or longer than `wait`, so that not all servers ask at once.
fn later(now: i64, wait: Duration, random: &mut impl Rng) -> i64 {
    let wait = micros(wait.min(LONGEST * 2));
    now.saturating_add(wait - wait / 10 + random.random_range(0..=wait / 5))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    const NOW: i64 = 1_700_000_000_000_000;

    fn remote(refresh: Option<u64>, is_zone: bool) -> Remote {
        let options = crate::fetch::http::tests::options();
        let publisher = if is_zone {
            Publisher::Zone(crate::fetch::transfer::Primary {
                address: ([192, 0, 2, 1], 53).into(),
                zone: crate::name::Name::from_host("rpz.example").unwrap(),
                key: None,
                max_size: 0,
                timeout: Duration::ZERO,
            })
        } else {
            Publisher::Http("https://feeds.example/list".parse().unwrap(), options)
        };
        Remote { name: "a".into(), publisher, refresh: refresh.map(Duration::from_secs) }
    }

    #[test]
    fn a_publisher_is_asked_at_its_time() {
        #[track_caller]
        fn check(
            remote: &Remote,
            zone: Option<[u32; 2]>,
            failures: u32,
            retry_after: Option<u64>,
            expected: u64,
        ) {
            let mut random = StdRng::seed_from_u64(7);
            for _ in 0..50 {
                let zone = zone.map(|[refresh, retry]| Numbers { serial: 1, refresh, retry, expire: 1000 });
                let mut memory = Memory { zone, ..Memory::default() };
                memory.succeed(remote, NOW, &mut random);
                for _ in 0..failures {
                    let wait = retry_after.map(Duration::from_secs);
                    memory.fail(remote, "why".to_owned(), wait, NOW, &mut random);
                }
                let due = memory.due(remote, NOW).as_secs_f64();
                let expected = expected as f64;
                assert!((expected * 0.899..=expected * 1.101).contains(&due), "{due}, not {expected}");
            }
        }
        let (http, zone) = (remote(None, false), remote(None, true));
        check(&http, None, 0, None, 3600);
        check(&remote(Some(600), false), None, 0, None, 600);
        for (failures, pause) in [(1, 60), (2, 120), (3, 240), (6, 1920), (7, 3600), (100, 3600)] {
            check(&http, None, failures, None, pause);
        }
        check(&http, None, 1, Some(7200), 7200);
        check(&http, None, 9, Some(5), 3600);
        check(&zone, None, 0, None, 3600);
        check(&zone, Some([900, 120]), 0, None, 900);
        check(&zone, Some([900, 120]), 5, None, 120);
        check(&zone, Some([1, 1]), 0, None, 30);
        check(&remote(Some(60), true), Some([900, 120]), 0, None, 60);
    }

    #[test]
    fn what_is_remembered_is_of_one_version_of_one_publisher() {
        let remote = remote(None, false);
        let digest = Digest([7; 32]);
        let mut memory = Memory {
            source: remote.publisher.identity(),
            version: Some(digest),
            etag: Some("\"a\"".to_owned()),
            failures: 2,
            ..Memory::default()
        };
        memory.trouble = Some("why".to_owned());
        let state = |memory: &Memory, digest: Digest| {
            let version = serde_json::json!({"digest": digest, "size": 1, "arrived_at": 1, "origin": "x"});
            let state = serde_json::json!({"latest": version, "fetcher": memory.value()});
            serde_json::from_value::<State>(state).unwrap()
        };
        assert_eq!(Memory::of(&state(&memory, digest), &remote.publisher), memory);
        let other = Memory::of(&state(&memory, Digest([8; 32])), &remote.publisher);
        assert_eq!((other.etag, other.failures), (None, 2), "another version is there");
        let elsewhere =
            Publisher::Http("https://other.example/".parse().unwrap(), crate::fetch::http::tests::options());
        let other = Memory::of(&state(&memory, digest), &elsewhere);
        assert_eq!(other, Memory { source: "https://other.example/".to_owned(), ..Memory::default() });
        assert_eq!(other.due(&remote, NOW), Duration::ZERO);
    }

    #[test]
    fn a_clock_that_is_set_back_holds_nothing_up() {
        let (remote, mut random) = (remote(None, false), StdRng::seed_from_u64(7));
        let mut memory = Memory::default();
        memory.succeed(&remote, NOW, &mut random);
        assert!(memory.due(&remote, NOW + 1) > Duration::from_secs(3000));
        assert_eq!(memory.due(&remote, NOW - 86_400_000_000), Duration::ZERO);
        assert_eq!(memory.due(&remote, NOW + 86_400_000_000), Duration::ZERO);
        memory.next_at = i64::MAX;
        assert!(memory.due(&remote, NOW + 1) < Duration::from_secs(4000));
    }
}
