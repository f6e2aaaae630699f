//! Bare addresses: what becomes of an address or network that a list has among its lines.
//!
//! Which of them a rule can be made of, and how firm it is. What an RPZ says of addresses is no concern of
//! this: it names its trigger.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::Fault;

/// What becomes of a feed's bare addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// Whether they are rules.
    pub treatment: Treatment,
    /// Addresses of our own, the sinkhole's: a network with one of them would take its own answers.
    pub own: Vec<IpAddr>,
    /// Networks with fewer bits, IPv4 and IPv6, are mistakes.
    pub shortest: (u8, u8),
    /// Whom this server answers: what takes a large part of one of these networks takes DNS away there.
    pub clients: Vec<IpNet>,
}

/// A zone's rule on clients may hold no more of a network that is served than its part of this many bits: a sixteenth.
const PART: u8 = 4;

/// Whether bare addresses are rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Treatment {
    /// They are; but queries for protected and popular names they only show in the log.
    #[default]
    Guarded,
    /// They are, whatever name leads to them.
    Enforced,
    /// They are counted, for firewalls alone.
    Ignore,
}

/// The word is none of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("none of guarded, enforced and ignore")]
pub struct TreatmentError;

impl Treatment {
    /// Its word in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guarded => "guarded",
            Self::Enforced => "enforced",
            Self::Ignore => "ignore",
        }
    }
}

impl FromStr for Treatment {
    type Err = TreatmentError;

    fn from_str(text: &str) -> Result<Self, TreatmentError> {
        let all = [Self::Guarded, Self::Enforced, Self::Ignore];
        all.into_iter().find(|treatment| treatment.as_str() == text).ok_or(TreatmentError)
    }
}

impl Default for Addresses {
    fn default() -> Self {
        // Nobody was ever given an IPv4 network of more than a /8, and of IPv6 a /16 is far beyond that.
        Self { treatment: Treatment::default(), own: Vec::new(), shortest: (8, 16), clients: Vec::new() }
    }
}

/// Networks in which no malicious host of the internet is (RFC 6890): what leads there is a local name, a
/// block by somebody else, or a mistake. Those of documentation are left out; nobody is there either way.
const SPECIAL: [IpNet; 16] = [
    v4([0, 0, 0, 0], 8),
    v4([10, 0, 0, 0], 8),
    v4([100, 64, 0, 0], 10),
    v4([127, 0, 0, 0], 8),
    v4([169, 254, 0, 0], 16),
    v4([172, 16, 0, 0], 12),
    v4([192, 168, 0, 0], 16),
    v4([224, 0, 0, 0], 4),
    v4([255, 255, 255, 255], 32),
    v6([0, 0], 127),
    v6([0x64, 0xff9b], 96),
    v6([0x100, 0], 64),
    v6([0xfc00, 0], 7),
    v6([0xfe80, 0], 10),
    v6([0xfec0, 0], 10),
    v6([0xff00, 0], 8),
];

const fn v4([a, b, c, d]: [u8; 4], len: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(std::net::Ipv4Addr::new(a, b, c, d), len))
}

const fn v6([a, b]: [u16; 2], len: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(std::net::Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0), len))
}

impl Addresses {
    /// Whether a rule can be made of a network.
    ///
    /// # Errors
    /// The [`Fault`] of one that would take our own addresses, local ones, or far too many.
    pub fn check(&self, net: IpNet) -> Result<(), Fault> {
        self.check_reach(net)?;
        match is_special(net) {
            true => Err(Fault::SpecialAddress),
            false => Ok(()),
        }
    }

    /// … by somebody who knows which trigger it is, as a zone does: local addresses may be meant there.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn check_reach(&self, net: IpNet) -> Result<(), Fault> {
        let shortest = if net.addr().is_ipv4() { self.shortest.0 } else { self.shortest.1 };
        if net.prefix_len() < shortest {
            return Err(Fault::Wide(shortest));
        }
        match self.own.iter().any(|own| net.contains(own)) {
            true => Err(Fault::OwnAddress),
            false => Ok(()),
        }
    }

    /// Whether a rule can be made of a network of clients.
    ///
    /// # Errors
    /// [`Fault::Clients`].
    pub fn check_clients(&self, net: IpNet) -> Result<(), Fault> {
        let takes = |served: &IpNet| {
            let is_large =
                served.contains(&net) && net.prefix_len() < served.prefix_len().saturating_add(PART);
            net.prefix_len() < net.max_prefix_len() && (net.contains(served) || is_large)
        };
        match self.clients.iter().find(|served| takes(served)) {
            Some(served) => Err(Fault::Clients(*served)),
            None => Ok(()),
        }
    }
}

/// Whether local addresses, or such that no host has, are in a network.
pub fn is_special(net: IpNet) -> bool {
    SPECIAL.iter().any(|special| special.contains(&net) || net.contains(special))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_internet_become_rules() {
        let addresses = Addresses {
            own: vec!["203.0.113.10".parse().unwrap(), "2001:db8::10".parse().unwrap()],
            ..Addresses::default()
        };
        let check = |net: &str, expected: Result<(), Fault>| {
            let parsed = net.parse().unwrap_or_else(|_| IpNet::from(net.parse::<IpAddr>().unwrap()));
            assert_eq!(addresses.check(parsed), expected, "{net}");
        };
        check("198.51.100.7", Ok(()));
        check("198.51.100.0/24", Ok(()));
        check("45.0.0.0/8", Ok(()));
        check("2606:4700::/32", Ok(()));
        check("44.0.0.0/7", Err(Fault::Wide(8)));
        check("0.0.0.0/0", Err(Fault::Wide(8)));
        check("2000::/15", Err(Fault::Wide(16)));
        check("203.0.113.10", Err(Fault::OwnAddress));
        check("203.0.113.0/24", Err(Fault::OwnAddress));
        check("2001:db8::/32", Err(Fault::OwnAddress));
        for special in [
            "10.1.2.3",
            "127.0.0.1",
            "0.0.0.0",
            "192.168.0.0/24",
            "172.20.1.1",
            "100.64.0.1",
            "169.254.1.1",
            "239.1.2.3",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fd00::10",
            "ff02::1",
            // Larger than what is special, and with it inside.
            "172.0.0.0/8",
            "fc00::/16",
            "64:ff9b::a00:1",
        ] {
            check(special, Err(Fault::SpecialAddress));
        }
    }
}
