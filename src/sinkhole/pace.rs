//! How often something may be said on the landing page: by a client, of a case, and in all.
//!
//! Counts in a table of fixed size, by hours. Clients or tickets that fall on one place share it, so a few may be told to
//! wait who need not; nobody gets more than the bound. No clock.

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

/// What one address may say in an hour; a whole agency may be behind it.
const OF_CLIENT: u32 = 30;
/// What may be said of one case in an hour.
const OF_TICKET: u32 = 6;
/// What may be said in all in an hour: more than all people of a province press in a bad one.
const IN_ALL: u32 = 5_000;

const PLACES: usize = 4096;
/// In microseconds.
const HOUR: i64 = 3600 * 1_000_000;

pub(super) struct Pace {
    hasher: RandomState,
    counts: Mutex<Counts>,
}

struct Counts {
    /// Which hour is counted.
    hour: i64,
    all: u32,
    clients: Box<[u32]>,
    tickets: Box<[u32]>,
}

impl Default for Pace {
    fn default() -> Self {
        let places = || vec![0; PLACES].into_boxed_slice();
        let counts = Counts { hour: i64::MIN, all: 0, clients: places(), tickets: places() };
        Self { hasher: RandomState::new(), counts: Mutex::new(counts) }
    }
}

impl Pace {
    /// Counts one more statement, unless it is one too many.
    pub(super) fn admit(&self, client: IpAddr, ticket: &str, now: i64) -> bool {
        let (client, ticket) = (self.place(machine(client)), self.place(ticket));
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let hour = now.div_euclid(HOUR);
        if counts.hour != hour {
            counts.hour = hour;
            counts.all = 0;
            counts.clients.fill(0);
            counts.tickets.fill(0);
        }
        if counts.all >= IN_ALL || counts.clients[client] >= OF_CLIENT || counts.tickets[ticket] >= OF_TICKET
        {
            return false;
        }
        counts.all += 1;
        counts.clients[client] += 1;
        counts.tickets[ticket] += 1;
        true
    }

    fn place(&self, key: impl Hash) -> usize {
        // Below PLACES.
        (self.hasher.hash_one(key) % PLACES as u64) as usize
    }
}

/// A machine has a whole IPv6 /64 to come from.
fn machine(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(client) => Ipv6Addr::from_bits(client.to_bits() & u128::MAX << 64).into(),
        client @ IpAddr::V4(_) => client,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_client_says_is_bounded_and_others_are_heard() {
        let pace = Pace::default();
        let v6 = |text: &str| text.parse::<IpAddr>().unwrap();
        let said = (0..1000).filter(|n| pace.admit([10, 0, 0, 1].into(), &format!("A-{n}"), 0)).count();
        assert!((OF_CLIENT as usize - 5..=OF_CLIENT as usize).contains(&said), "{said}");
        let said =
            (0..1000u16).filter(|n| pace.admit(v6(&format!("fd00::{n:x}")), &format!("B-{n}"), 0)).count();
        assert!(said <= OF_CLIENT as usize, "{said} from one /64");
        assert!(pace.admit([10, 0, 0, 2].into(), "C-1", 0), "another client");
        assert!(pace.admit([10, 0, 0, 1].into(), "A-1", HOUR), "the next hour");
    }

    #[test]
    fn what_is_said_of_one_case_and_in_all_is_bounded() {
        let pace = Pace::default();
        let clients = || (0..200u8).flat_map(|c| (0..250u8).map(move |d| IpAddr::from([10, 9, c, d])));
        let said = clients().filter(|&client| pace.admit(client, "A-1", 0)).count();
        assert_eq!(said, OF_TICKET as usize);
        let said =
            clients().enumerate().filter(|(n, client)| pace.admit(*client, &n.to_string(), HOUR)).count();
        assert!(said <= IN_ALL as usize, "{said}");
        assert!(said > 4000, "{said}");
    }
}
