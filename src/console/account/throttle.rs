//! How often somebody may guess: by account and by address, in bounded memory.
//!
//! Each attempt is paid for before it is looked at, and given back when it was right. A purse holds some attempts and fills up again
//! little by little. An account's purse is another one for addresses that it signed in from before, so that strangers who guess at it
//! do not lock its owner out. Nothing is kept over a restart.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};

/// Most purses. Of more, the one that is nearest to full is dropped.
const PURSES: usize = 8192;
const SECOND: i64 = 1_000_000;

/// Whose purse, and how much it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Account([u8; 16]),
    Code([u8; 16]),
    Address(IpAddr),
    Outside(IpAddr),
}

impl Key {
    /// How many attempts at once, and after how long there is one more.
    fn terms(self) -> (i64, i64) {
        match self {
            Self::Account(_) => (10, 30 * SECOND),
            // A guess of one in some hundred thousand, by somebody who knows the password.
            Self::Code(_) => (8, 120 * SECOND),
            // An office may be behind one address.
            Self::Address(_) => (40, 10 * SECOND),
            // Nothing is guessed, and nothing reckoned: against those who fill memory.
            Self::Outside(_) => (120, 2 * SECOND),
        }
    }
}

/// Attempts of everybody.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    /// When a purse will be full again.
    full: Mutex<HashMap<Key, i64>>,
}

/// What an attempt cost, to be given back.
#[derive(Debug)]
pub(super) struct Paid([Option<Key>; 2]);

impl Throttle {
    /// Pays for a password for this account (unknown or not) from this address; otherwise says after how many seconds to try again.
    pub(super) fn password(
        &self,
        name: &str,
        address: IpAddr,
        is_known: bool,
        now: i64,
    ) -> Result<Paid, u64> {
        let whose = if is_known { format!("{name}\0{address}") } else { name.to_owned() };
        self.pay([Some(Key::Account(short(&whose))), Some(Key::Address(network(address)))], now)
    }

    /// Pays for a code of the second factor.
    pub(super) fn code(&self, name: &str, now: i64) -> Result<Paid, u64> {
        self.pay([Some(Key::Code(short(name))), None], now)
    }

    /// Pays for a one-time link.
    pub(super) fn link(&self, address: IpAddr, now: i64) -> Result<Paid, u64> {
        self.pay([None, Some(Key::Address(network(address)))], now)
    }

    /// Pays for a way to the organisation's own sign-in, or back from it.
    pub(super) fn outside(&self, address: IpAddr, now: i64) -> Result<Paid, u64> {
        self.pay([None, Some(Key::Outside(network(address)))], now)
    }

    fn pay(&self, keys: [Option<Key>; 2], now: i64) -> Result<Paid, u64> {
        let mut purses = self.purses();
        let mut wait = 0;
        for key in keys.iter().flatten() {
            let (many, each) = key.terms();
            // A clock that was set back must lock nobody out for longer.
            let full = purses.get(key).map_or(now, |full| (*full).clamp(now, now + many * each));
            wait = wait.max(full + each - now - many * each);
        }
        if wait > 0 {
            return Err(u64::try_from(wait.div_euclid(SECOND) + 1).unwrap_or(1));
        }
        for key in keys.iter().flatten() {
            let (many, each) = key.terms();
            if !purses.contains_key(key) && purses.len() >= PURSES {
                make_room(&mut purses, now);
            }
            let full = purses.entry(*key).or_insert(now);
            *full = (*full).clamp(now, now + many * each) + each;
        }
        Ok(Paid(keys))
    }

    /// Gives back what was paid for an attempt that was right.
    pub(super) fn give_back(&self, paid: &Paid) {
        let mut purses = self.purses();
        for key in paid.0.iter().flatten() {
            let (_, each) = key.terms();
            if let Some(full) = purses.get_mut(key) {
                *full -= each;
            }
        }
    }

    fn purses(&self) -> MutexGuard<'_, HashMap<Key, i64>> {
        self.full.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops purses that are full; if none is, the one that would be first.
fn make_room(purses: &mut HashMap<Key, i64>, now: i64) {
    purses.retain(|_, full| *full > now);
    if purses.len() >= PURSES
        && let Some(key) = purses.iter().min_by_key(|(_, full)| **full).map(|(key, _)| *key)
    {
        purses.remove(&key);
    }
}

fn short(text: &str) -> [u8; 16] {
    let digest: [u8; 32] = Sha256::digest(text).into();
    let mut short = [0; 16];
    short.copy_from_slice(&digest[..16]);
    short
}

/// An IPv6 address stands for its /64, of which one machine has all.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, number])
    }

    #[test]
    fn guesses_at_an_account_run_out_and_its_owner_is_not_locked_out() {
        let throttle = Throttle::default();
        for number in 0..10 {
            throttle.password("an", address(number), false, 0).unwrap();
        }
        let wait = throttle.password("an", address(99), false, 0).unwrap_err();
        assert!((1..=31).contains(&wait), "{wait}");
        assert!(throttle.password("an", address(7), true, 0).is_ok());
        assert!(throttle.password("bình", address(99), false, 0).is_ok());
        assert!(throttle.password("an", address(99), false, 31 * SECOND).is_ok());
        assert!(throttle.password("an", address(99), false, 31 * SECOND).is_err());
    }

    #[test]
    fn guesses_from_an_address_run_out_and_right_ones_cost_nothing() {
        let throttle = Throttle::default();
        let six = |end: u16| IpAddr::from([0xfd00, 0, 0, 1, 0, 0, 0, end]);
        for number in 0..40 {
            throttle.password(&format!("an{number}"), six(number), false, 0).unwrap();
        }
        assert!(throttle.password("x", six(99), false, 0).is_err());
        for _ in 0..200 {
            let paid = throttle.password("an", address(1), false, 0).unwrap();
            throttle.give_back(&paid);
        }
        for _ in 0..8 {
            throttle.code("an", 0).unwrap();
        }
        assert!(throttle.code("an", 0).is_err());
    }

    #[test]
    fn memory_is_bounded() {
        let throttle = Throttle::default();
        for number in 0..PURSES + 500 {
            let _ =
                throttle.password(&number.to_string(), IpAddr::from((number as u32).to_be_bytes()), false, 0);
        }
        assert!(throttle.purses().len() <= PURSES);
    }
}
