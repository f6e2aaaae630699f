//! How many connections may be open at once, in all and from one client.
//!
//! Counts only: who is turned away and how is the listener's business. What it keeps is bounded by
//! the total, for a client without an open connection is forgotten.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A machine has a whole IPv6 network of this length to ask from.
pub(super) const MACHINE_V6: u32 = 64;

/// Counts the open connections; its clones share the count.
#[derive(Debug, Clone)]
pub struct Admission {
    total: usize,
    per_client: usize,
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    per_client: HashMap<IpAddr, usize>,
}

/// One admitted connection, until dropped.
#[derive(Debug)]
pub struct Ticket {
    /// `None`: it is not known yet.
    client: Option<IpAddr>,
    open: Arc<Mutex<Open>>,
}

impl Admission {
    /// Admits up to `total` connections, and up to `per_client` from one address, or IPv6 /64.
    pub fn new(total: usize, per_client: usize) -> Self {
        Self { total, per_client, open: Arc::default() }
    }

    /// Admits one more connection of `client`, unless that would be one too many.
    pub fn admit(&self, client: IpAddr) -> Option<Ticket> {
        let client = machine(client);
        let mut open = lock(&self.open);
        let clients = open.per_client.get(&client).copied().unwrap_or(0);
        if open.total >= self.total || clients >= self.per_client {
            return None;
        }
        open.total += 1;
        open.per_client.insert(client, clients + 1);
        Some(Ticket { client: Some(client), open: Arc::clone(&self.open) })
    }

    /// Admits one more connection whose client is not known yet: it counts in the total only.
    pub fn admit_unnamed(&self) -> Option<Ticket> {
        let mut open = lock(&self.open);
        if open.total >= self.total {
            return None;
        }
        open.total += 1;
        Some(Ticket { client: None, open: Arc::clone(&self.open) })
    }

    /// Counts an admitted connection for its client from now on, unless that would be one too many.
    pub fn name(&self, unnamed: Ticket, client: IpAddr) -> Option<Ticket> {
        // Its place in the total is free for a moment only, and somebody else's at worst.
        drop(unnamed);
        self.admit(client)
    }
}

/// What counts as one client.
fn machine(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(client) => {
            IpAddr::V6(Ipv6Addr::from_bits(client.to_bits() & u128::MAX << (128 - MACHINE_V6)))
        }
        client @ IpAddr::V4(_) => client,
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        open.total -= 1;
        let Some(client) = self.client else { return };
        if let Entry::Occupied(mut clients) = open.per_client.entry(client) {
            *clients.get_mut() -= 1;
            if *clients.get() == 0 {
                clients.remove();
            }
        }
    }
}

/// A panic elsewhere leaves the counts whole: no code between two updates can panic.
fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 0, 1));
    const TWO: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 0, 2));

    #[test]
    fn both_caps_hold_and_open_again() {
        let admission = Admission::new(3, 2);
        let first = admission.admit(ONE).unwrap();
        let second = admission.admit(ONE).unwrap();
        assert!(admission.admit(ONE).is_none(), "the client's cap");
        let third = admission.admit(TWO).unwrap();
        assert!(admission.admit(TWO).is_none(), "the total");
        drop(first);
        let fourth = admission.admit(TWO).unwrap();
        drop((second, third, fourth));
        assert!(lock(&admission.open).per_client.is_empty(), "clients that left are forgotten");
        assert_eq!(lock(&admission.open).total, 0);
    }

    #[test]
    fn one_whose_client_is_told_later_counts_all_the_same() {
        let admission = Admission::new(3, 1);
        let first = admission.admit(ONE).unwrap();
        let unnamed = admission.admit_unnamed().unwrap();
        let other = admission.admit_unnamed().unwrap();
        assert!(admission.admit_unnamed().is_none(), "the total");
        assert!(admission.name(unnamed, ONE).is_none(), "the client's cap");
        let named = admission.name(other, TWO).unwrap();
        assert!(admission.admit(TWO).is_none(), "the client's cap");
        drop((first, named));
        assert!(lock(&admission.open).per_client.is_empty());
        assert_eq!(lock(&admission.open).total, 0);
    }
}
