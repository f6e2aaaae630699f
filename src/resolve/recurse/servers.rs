//! What is remembered of name servers by their address: how fast they answer, which are silent, lame for a
//! zone, or from before EDNS and mixed-case names; and the order in which they are asked.
//!
//! Bounded, and everything ends: a mended server is found again. Asks nobody.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;
use rand::Rng as _;

use crate::name::Name;

/// Servers that are remembered; each takes about 200 octets.
const MOST_SERVERS: usize = 20_000;
/// Lame servers that are; each takes up to 500 octets.
const MOST_LAME: usize = 5_000;
/// How long a server that is lame for a zone is asked last about it.
const LAME_FOR: Duration = Duration::from_secs(300);
/// How long a server is taken for one without EDNS, or one that answers in its own letter case.
const ODD_FOR: Duration = Duration::from_secs(900);
/// How long addresses of a family that this machine has no route for are left out.
const FAMILY_FOR: Duration = Duration::from_secs(60);
/// The rest after the first silence, doubled by each further one up to the second value.
const SHORTEST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(120);
/// How long an unknown server is waited for before another one is asked too.
const FIRST_PATIENCE: Duration = Duration::from_millis(400);
/// Bounds of that time for known ones.
const LEAST_PATIENCE: Duration = Duration::from_millis(60);
const MOST_PATIENCE: Duration = Duration::from_millis(1000);
/// One question in so many goes to any server.
const EXPLORING: u32 = 20;
/// An unknown server may turn out to be as near as this.
const UNKNOWN_RTT: u32 = 60_000;

/// All servers.
pub(super) struct Servers {
    known: Cache<IpAddr, Arc<Server>>,
    lame: Cache<(IpAddr, Name), u64>,
    begun: Instant,
    /// Milliseconds after [`Servers::begun`] until which IPv4 and IPv6 are left out.
    families: [AtomicU64; 2],
}

/// One server. Times are milliseconds after [`Servers::begun`].
#[derive(Debug, Default)]
struct Server {
    /// Smoothed round trip in microseconds; 0: unknown.
    rtt: AtomicU32,
    /// Mean deviation of it.
    deviation: AtomicU32,
    silences: AtomicU32,
    rests_until: AtomicU64,
    folds_until: AtomicU64,
    plain_until: AtomicU64,
}

/// How a server is to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Manners {
    /// With an OPT record.
    pub(super) has_edns: bool,
    /// In random letter case.
    pub(super) keeps_case: bool,
}

impl Servers {
    pub(super) fn new(begun: Instant) -> Self {
        Self {
            known: Cache::new(MOST_SERVERS),
            lame: Cache::new(MOST_LAME),
            begun,
            families: Default::default(),
        }
    }

    /// The addresses in the order in which they are asked about a zone: those that answer, the nearest first with
    /// some luck, then those that were silent, at last those that are lame. Without those that cannot be reached from here.
    pub(super) fn order(&self, zone: &Name, addresses: &[IpAddr], now: Instant) -> Vec<IpAddr> {
        let millis = self.millis(now);
        let mut rng = rand::rng();
        // Now and then luck alone decides: another one than the nearest so far may be nearer.
        let is_exploring = rng.random_ratio(1, EXPLORING);
        let mut order: Vec<(u8, u64, IpAddr)> = addresses
            .iter()
            .filter(|address| self.family(address).load(Ordering::Relaxed) <= millis)
            .map(|&address| {
                let (is_resting, rtt) = self.known.get(&address).map_or((false, 0), |server| {
                    (server.rests_until.load(Ordering::Relaxed) > millis, server.rtt.load(Ordering::Relaxed))
                });
                let is_lame = self.lame.get(&(address, zone.clone())).is_some_and(|until| until > millis);
                let score = match rtt {
                    _ if is_exploring => rng.random_range(0..=u64::from(UNKNOWN_RTT)),
                    0 => rng.random_range(0..=u64::from(UNKNOWN_RTT)),
                    rtt => u64::from(rtt) * rng.random_range(50..=150) / 100,
                };
                (u8::from(is_resting) + 2 * u8::from(is_lame), score, address)
            })
            .collect();
        order.sort_unstable();
        order.into_iter().map(|(_, _, address)| address).collect()
    }

    /// How long a server is waited for before another one is asked too.
    pub(super) fn patience(&self, address: IpAddr) -> Duration {
        let Some(server) = self.known.get(&address) else { return FIRST_PATIENCE };
        let rtt = server.rtt.load(Ordering::Relaxed);
        if rtt == 0 {
            return FIRST_PATIENCE;
        }
        let patience = u64::from(rtt) + 4 * u64::from(server.deviation.load(Ordering::Relaxed));
        Duration::from_micros(patience).clamp(LEAST_PATIENCE, MOST_PATIENCE)
    }

    pub(super) fn manners(&self, address: IpAddr, now: Instant) -> Manners {
        let millis = self.millis(now);
        self.known.get(&address).map_or(Manners { has_edns: true, keeps_case: true }, |server| Manners {
            has_edns: server.plain_until.load(Ordering::Relaxed) <= millis,
            keeps_case: server.folds_until.load(Ordering::Relaxed) <= millis,
        })
    }

    /// Takes down an answer, and how long it took (RFC 6298, section 2).
    pub(super) fn note_answer(&self, address: IpAddr, took: Duration) {
        let server = self.server(address);
        server.silences.store(0, Ordering::Relaxed);
        server.rests_until.store(0, Ordering::Relaxed);
        let took = u32::try_from(took.as_micros()).unwrap_or(u32::MAX).max(1);
        let rtt = server.rtt.load(Ordering::Relaxed);
        let (rtt, deviation) = match rtt {
            0 => (took, took / 2),
            rtt => {
                let deviation = server.deviation.load(Ordering::Relaxed);
                (rtt - rtt / 8 + took / 8, deviation - deviation / 4 + rtt.abs_diff(took) / 4)
            }
        };
        server.rtt.store(rtt.max(1), Ordering::Relaxed);
        server.deviation.store(deviation, Ordering::Relaxed);
    }

    /// Takes down that a server was waited for in vain.
    pub(super) fn note_silence(&self, address: IpAddr, now: Instant) {
        let server = self.server(address);
        let millis = self.millis(now);
        if server.rests_until.load(Ordering::Relaxed) > millis {
            return;
        }
        let silences = server.silences.fetch_add(1, Ordering::Relaxed).min(16);
        let rest = SHORTEST_REST.saturating_mul(1 << silences).min(LONGEST_REST);
        server.rests_until.store(millis + rest.as_millis() as u64, Ordering::Relaxed);
    }

    /// Takes down that a server is not in charge of a zone, or refuses to say anything about it.
    pub(super) fn note_lame(&self, address: IpAddr, zone: &Name, now: Instant) {
        self.lame.insert((address, zone.clone()), self.millis(now) + LAME_FOR.as_millis() as u64);
    }

    /// Takes down that a server answers in other letter case.
    pub(super) fn note_folding(&self, address: IpAddr, now: Instant) {
        let until = self.millis(now) + ODD_FOR.as_millis() as u64;
        self.server(address).folds_until.store(until, Ordering::Relaxed);
    }

    /// Takes down that a server does not know EDNS.
    pub(super) fn note_plain(&self, address: IpAddr, now: Instant) {
        let until = self.millis(now) + ODD_FOR.as_millis() as u64;
        self.server(address).plain_until.store(until, Ordering::Relaxed);
    }

    /// Takes down that this machine has no route for addresses of this family.
    pub(super) fn note_no_route(&self, address: IpAddr, now: Instant) {
        let until = self.millis(now) + FAMILY_FOR.as_millis() as u64;
        self.family(&address).store(until, Ordering::Relaxed);
    }

    /// Whether addresses of this kind may be worth resolving.
    pub(super) fn is_reachable(&self, is_ipv6: bool, now: Instant) -> bool {
        self.families[usize::from(is_ipv6)].load(Ordering::Relaxed) <= self.millis(now)
    }

    fn family(&self, address: &IpAddr) -> &AtomicU64 {
        &self.families[usize::from(address.is_ipv6())]
    }

    fn server(&self, address: IpAddr) -> Arc<Server> {
        self.known.get(&address).unwrap_or_else(|| {
            let server = Arc::new(Server::default());
            self.known.insert(address, Arc::clone(&server));
            server
        })
    }

    fn millis(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.begun).as_millis() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEAR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const FAR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));
    const V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

    fn zone() -> Name {
        Name::from_host("example").unwrap()
    }

    #[test]
    fn the_nearest_comes_first_and_who_is_silent_or_lame_last() {
        let begun = Instant::now();
        let servers = Servers::new(begun);
        servers.note_answer(NEAR, Duration::from_millis(2));
        servers.note_answer(FAR, Duration::from_millis(200));
        // Most of the time.
        let first = |zone: &Name, now| {
            let is_near = |_: &i32| servers.order(zone, &[FAR, NEAR], now)[0] == NEAR;
            if (0..101).filter(is_near).count() > 50 { NEAR } else { FAR }
        };
        let order = |now| first(&zone(), now);
        assert_eq!(order(begun), NEAR);
        servers.note_silence(NEAR, begun);
        assert_eq!(order(begun), FAR);
        assert_eq!(order(begun + Duration::from_secs(2)), NEAR);
        servers.note_lame(NEAR, &zone(), begun);
        assert_eq!(order(begun + Duration::from_secs(2)), FAR);
        let other = Name::from_host("other").unwrap();
        assert_eq!(first(&other, begun + Duration::from_secs(2)), NEAR);
        assert_eq!(order(begun + LAME_FOR + Duration::from_secs(1)), NEAR);
    }

    #[test]
    fn silences_rest_longer_and_longer() {
        let begun = Instant::now();
        let servers = Servers::new(begun);
        let mut now = begun;
        for expected in [1, 2, 4, 8] {
            servers.note_silence(NEAR, now);
            let rests = |seconds: u64| {
                servers.order(&zone(), &[NEAR, FAR], now + Duration::from_millis(seconds * 1000 - 1))[0]
                    == FAR
            };
            assert!(rests(expected));
            now += Duration::from_secs(expected);
        }
        servers.note_answer(NEAR, Duration::from_millis(1));
        assert_eq!(servers.order(&zone(), &[NEAR], now), [NEAR]);
    }

    #[test]
    fn a_family_without_route_is_left_out_for_a_while() {
        let begun = Instant::now();
        let servers = Servers::new(begun);
        servers.note_no_route(V6, begun);
        assert_eq!(servers.order(&zone(), &[V6, NEAR], begun), [NEAR]);
        assert!(!servers.is_reachable(true, begun) && servers.is_reachable(false, begun));
        assert_eq!(servers.order(&zone(), &[V6, NEAR], begun + FAMILY_FOR).len(), 2);
    }

    #[test]
    fn odd_manners_are_forgotten_in_time() {
        let begun = Instant::now();
        let servers = Servers::new(begun);
        let all = Manners { has_edns: true, keeps_case: true };
        assert_eq!(servers.manners(NEAR, begun), all);
        servers.note_plain(NEAR, begun);
        servers.note_folding(NEAR, begun);
        assert_eq!(servers.manners(NEAR, begun), Manners { has_edns: false, keeps_case: false });
        assert_eq!(servers.manners(NEAR, begun + ODD_FOR), all);
    }

    #[test]
    fn patience_follows_the_round_trips() {
        let servers = Servers::new(Instant::now());
        assert_eq!(servers.patience(NEAR), FIRST_PATIENCE);
        servers.note_answer(NEAR, Duration::from_millis(100));
        assert_eq!(servers.patience(NEAR), Duration::from_millis(300));
        for _ in 0..50 {
            servers.note_answer(NEAR, Duration::from_millis(1));
        }
        assert_eq!(servers.patience(NEAR), LEAST_PATIENCE);
    }
}
