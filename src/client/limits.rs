//! Limits of rates: how many queries a second a client and its network may ask, and how many answers of a
//! class its network is sent.
//!
//! Says who counts as one and who is exempt; `rate` counts, and what happens to a query or an answer that
//! is too many is the pipeline's business.

use std::hash::Hash;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use super::admission::MACHINE_V6;
use super::prefix::PrefixMap;
use super::rate::{Rate, RateLimit};

/// What is allowed a second; 0: any number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// Queries of a client: an IPv4 address, an IPv6 /64.
    pub client: u32,
    /// Queries of a network: an IPv4 /24, an IPv6 /48.
    pub prefix: u32,
    /// Answers of one class to a network, an IPv4 /24 or IPv6 /56, that nobody has proven to have asked.
    pub responses: u32,
}

/// Whether a query's source address is more than a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Proof {
    /// Anybody can write any address into a datagram.
    Claimed,
    /// It took what was sent to it: a TCP connection, or a server cookie that came back.
    Proven,
}

/// What of an answer is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sending {
    /// All of it.
    Whole,
    /// What makes a real client come back in a way that proves its address.
    Short,
    /// Nothing.
    Nothing,
}

/// How many leading bits of an address make one client or network.
#[derive(Clone, Copy)]
struct Lengths {
    v4: u32,
    v6: u32,
}

const CLIENT: Lengths = Lengths { v4: 32, v6: MACHINE_V6 };
/// A subnet of one site, and what a site gets (RFC 6177).
const PREFIX: Lengths = Lengths { v4: 24, v6: 48 };
/// What response rate limiting takes for one victim, as BIND and NSD do.
const VICTIM: Lengths = Lengths { v4: 24, v6: 56 };

/// Of the answers that are too many, every second is short and the others are nothing: a real client
/// soon meets a short one, and a victim of forged queries gets half of them, none longer than its query.
const SLIP: u32 = 2;

/// All limits, and who is exempt from them.
pub struct Limits {
    exempt: PrefixMap<()>,
    client: Option<RateLimit>,
    prefix: Option<RateLimit>,
    responses: Option<RateLimit>,
    /// Answers that were too many.
    excess: AtomicU32,
}

impl Limits {
    /// Allows these rates, and clients in `exempt` any: the DNS servers of agencies, each of which asks
    /// for a whole site.
    pub fn new(rates: Rates, exempt: PrefixMap<()>, now: Instant) -> Self {
        let limit = |per_second| (per_second > 0).then(|| RateLimit::new(per_second, now));
        Self {
            exempt,
            client: limit(rates.client),
            prefix: limit(rates.prefix),
            responses: limit(rates.responses),
            excess: AtomicU32::new(0),
        }
    }

    /// Counts a query of `client`. Allocates nothing and waits for nothing.
    ///
    /// What a client proved has an account of its own, which those who forge its address cannot empty. Where
    /// clients are counted, a proven one is not counted with its network either, for the same reason.
    pub fn query(&self, client: IpAddr, proof: Proof, now: Instant) -> Rate {
        if self.client.is_none() && self.prefix.is_none() || self.exempt.find(client).is_some() {
            return Rate::Within;
        }
        if let Some(limit) = &self.client {
            let rate = limit.count((network(client, CLIENT), proof), now);
            if rate == Rate::Exceeded || proof == Proof::Proven {
                return rate;
            }
        }
        self.prefix.as_ref().map_or(Rate::Within, |limit| limit.count(network(client, PREFIX), now))
    }

    /// Whether `client` asks for many: no share of anything bounds it.
    pub fn is_exempt(&self, client: IpAddr) -> bool {
        self.exempt.find(client).is_some()
    }

    /// Whether answers to clients with this proof are counted at all.
    pub fn are_answers_limited(&self, proof: Proof) -> bool {
        self.responses.is_some() && proof == Proof::Claimed
    }

    /// Counts an answer to `client`, of the class that `class` says: response rate limiting, against floods
    /// of answers to somebody whose address others write into their queries. Who has proven to have asked
    /// gets all. Allocates nothing and waits for nothing.
    pub fn response<C: Hash>(
        &self,
        client: IpAddr,
        proof: Proof,
        class: impl FnOnce() -> C,
        now: Instant,
    ) -> Sending {
        let Some(limit) = self.responses.as_ref().filter(|_| proof == Proof::Claimed) else {
            return Sending::Whole;
        };
        if self.exempt.find(client).is_some()
            || limit.count((network(client, VICTIM), class()), now) == Rate::Within
        {
            return Sending::Whole;
        }
        match self.excess.fetch_add(1, Ordering::Relaxed) % SLIP {
            0 => Sending::Short,
            _ => Sending::Nothing,
        }
    }
}

/// The leading bits of an address, and how many there are, so that the families stay apart.
fn network(address: IpAddr, lengths: Lengths) -> (u32, u128) {
    match address.to_canonical() {
        IpAddr::V4(address) => (lengths.v4, u128::from(address.to_bits() >> (32 - lengths.v4))),
        IpAddr::V6(address) => (128 + lengths.v6, address.to_bits() >> (128 - lengths.v6)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks in this order, all at once; `!` in front of a client: its address is proven.
    fn check(rates: Rates, clients: &[&str], expected: &str) {
        let now = Instant::now();
        let exempt = PrefixMap::new([("10.1.0.53/32".parse().unwrap(), ())]).unwrap();
        let limits = Limits::new(rates, exempt, now);
        let ask = |client: &&str| {
            let (client, proof) = match client.strip_prefix('!') {
                Some(client) => (client, Proof::Proven),
                None => (*client, Proof::Claimed),
            };
            match limits.query(client.parse().unwrap(), proof, now) {
                Rate::Within => '+',
                Rate::Exceeded => '-',
            }
        };
        assert_eq!(clients.iter().map(ask).collect::<String>(), expected, "{rates:?} {clients:?}");
    }

    const CLIENT_ONE: Rates = Rates { client: 1, prefix: 0, responses: 0 };
    const PREFIX_TWO: Rates = Rates { client: 0, prefix: 2, responses: 0 };
    const BOTH: Rates = Rates { client: 1, prefix: 2, responses: 0 };

    #[test]
    fn one_machine_is_one_client() {
        check(CLIENT_ONE, &["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"], "+-+");
        check(CLIENT_ONE, &["10.1.2.3", "::ffff:10.1.2.3", "10.1.2.4"], "+-+");
        check(Rates::default(), &["10.1.2.3"; 50], &"+".repeat(50));
        check(CLIENT_ONE, &["10.1.0.53"; 50], &"+".repeat(50));
    }

    #[test]
    fn a_network_counts_its_clients_together() {
        check(PREFIX_TWO, &["10.1.2.3", "10.1.2.4", "10.1.2.5", "10.1.3.5"], "++-+");
        check(PREFIX_TWO, &["2001:db8::1", "2001:db8:0:1::1", "2001:db8:0:ffff::1", "2001:db8:1::1"], "++-+");
        check(PREFIX_TWO, &["10.1.0.53", "10.1.0.53", "10.1.0.53", "10.1.0.1", "10.1.0.2"], "+++++");
    }

    #[test]
    fn a_client_that_is_too_fast_does_not_count_for_its_network() {
        check(BOTH, &["10.1.2.3", "10.1.2.3", "10.1.2.3", "10.1.2.4", "10.1.2.5"], "+--+-");
    }

    #[test]
    fn forgers_do_not_empty_the_account_of_a_proven_address() {
        check(CLIENT_ONE, &["10.1.2.3", "10.1.2.3", "!10.1.2.3", "!10.1.2.3"], "+-+-");
        check(BOTH, &["10.1.2.3", "10.1.2.4", "10.1.2.5", "!10.1.2.6", "!10.1.2.6"], "++-+-");
        // Nothing else counts it there.
        check(PREFIX_TWO, &["!10.1.2.3", "!10.1.2.3", "!10.1.2.3"], "++-");
    }
    #[test]
    fn answers_that_are_too_many_are_short_or_nothing() {
        let now = Instant::now();
        let exempt = || PrefixMap::new([("10.1.0.53/32".parse().unwrap(), ())]).unwrap();
        let check = |responses: u32, proof: Proof, answers: &[(&str, &str)], expected: &str| {
            let limits = Limits::new(Rates { responses, ..Rates::default() }, exempt(), now);
            let sendings = answers.iter().map(|(client, class)| {
                match limits.response(client.parse().unwrap(), proof, || class, now) {
                    Sending::Whole => '+',
                    Sending::Short => 's',
                    Sending::Nothing => '-',
                }
            });
            assert_eq!(
                sendings.collect::<String>(),
                expected,
                "{responses} a second, {proof:?}: {answers:?}"
            );
        };
        let flood = [("10.1.2.3", "name"); 8];
        check(2, Proof::Claimed, &flood, "++s-s-s-");
        check(2, Proof::Proven, &flood, "++++++++");
        check(0, Proof::Claimed, &flood, "++++++++");
        check(1, Proof::Claimed, &[("10.1.0.53", "name"); 4], "++++");
        let victims =
            [("10.1.2.3", "name"), ("10.1.2.4", "name"), ("10.1.2.3", "other"), ("10.1.3.3", "name")];
        check(1, Proof::Claimed, &victims, "+s++");
        let victims = [
            ("2001:db8::1", ""),
            ("2001:db8:0:ff::1", ""),
            ("2001:db8:0:100::1", ""),
            ("::ffff:10.1.2.3", ""),
        ];
        check(1, Proof::Claimed, &victims, "+s++");
    }
}
