//! Triggers: which queries and answers a rule applies to.

use std::net::IpAddr;

use ipnet::IpNet;

/// What of a query or its answer a rule looks at (draft-vixie-dnsop-dns-rpz-00, section 4), in the order in
/// which triggers of one feed win (section 5.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Trigger {
    /// The client's address.
    ClientIp,
    /// The qname, or a name that its aliases lead to.
    Qname,
    /// An address in the answer.
    Ip,
    /// The name of a name server of the zones that hold the name.
    Nsdname,
    /// An address of such a name server.
    Nsip,
    /// An address in the answer, which somebody listed as malicious without asking for a trigger: what a list
    /// of bare addresses means, not what an RPZ says. It keeps no query waiting for its answer, and gives way
    /// to every block by name.
    Address,
}

impl Trigger {
    /// All of them, in order of precedence.
    pub const ALL: [Self; 6] =
        [Self::ClientIp, Self::Qname, Self::Ip, Self::Nsdname, Self::Nsip, Self::Address];

    /// Whether it can be told only once the answer is known, and may outrank what is told before.
    pub fn is_on_response(self) -> bool {
        matches!(self, Self::Ip | Self::Nsdname | Self::Nsip)
    }

    /// Its word in logs and exports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientIp => "client-ip",
            Self::Qname => "qname",
            Self::Ip => "ip",
            Self::Nsdname => "nsdname",
            Self::Nsip => "nsip",
            Self::Address => "address",
        }
    }
}

impl std::fmt::Display for Trigger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which names a trigger on names covers, seen from the name that is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// The name itself and nothing below it: an RPZ owner.
    Exact,
    /// The name and everything below it: what lists of malicious names mean.
    Subtree,
    /// Everything below the name, yet not the name itself: an RPZ owner that starts with `*.`.
    Below,
}

impl Scope {
    /// Whether a listed name with this scope covers a qname that `is_listed_name` (or lies below it).
    pub fn covers(self, is_listed_name: bool) -> bool {
        match self {
            Self::Exact => is_listed_name,
            Self::Below => !is_listed_name,
            Self::Subtree => true,
        }
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Exact => "exact",
            Self::Subtree => "subtree",
            Self::Below => "below",
        })
    }
}

/// The start of the keys of all triggers but QNAME. No name's key starts so: labels are not empty.
const OTHERS: u8 = 0x00;
/// The most octets of a network's key: its start, two octets of kind, and one a nibble and for the rest.
const MAX_NETWORK_KEY: usize = 3 + 32 + 1;

/// A place of the index: where the keys of one kind of trigger begin.
///
/// ```text
/// QNAME                    the name's key (see `crate::name::Key`), which never begins with 00
/// NSDNAME                  00 'n', the name's key
/// client-IP, IP, NSIP      00 'c' | 'i' | 's' (bare addresses as IP), 04 | 06 for the family, one octet
///                          for each whole nibble of the network (00 to 0f), then one for the 0 to 3 bits that are left, with a 1 bit
///                          before them, plus 10 hexadecimal: 11 when there are none
///
/// 192.0.2.128/26           00 'i' 04  0c 00 00 00 00 02 16          (10 binary, so 1 10: 6)
/// ```
///
/// One walk along an address's nibbles meets every network that holds it.
pub(super) fn names_of(trigger: Trigger) -> &'static [u8] {
    match trigger {
        Trigger::Nsdname => &[OTHERS, b'n'],
        _ => &[],
    }
}

/// Where the keys of a trigger's networks of one family begin.
pub(super) fn networks_of(trigger: Trigger, family: Family) -> [u8; 3] {
    let trigger = match trigger {
        Trigger::ClientIp => b'c',
        Trigger::Nsip => b's',
        Trigger::Qname | Trigger::Ip | Trigger::Nsdname | Trigger::Address => b'i',
    };
    [OTHERS, trigger, family as u8]
}

/// A family of addresses; the number is what keys hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4 = 4,
    V6 = 6,
}

impl Family {
    pub(super) fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// A network's key.
pub(super) struct NetworkKey {
    octets: [u8; MAX_NETWORK_KEY],
    len: usize,
}

impl NetworkKey {
    pub(super) fn new(trigger: Trigger, net: IpNet) -> Self {
        let net = canonical(net);
        let mut key = Self { octets: [0; MAX_NETWORK_KEY], len: 3 };
        key.octets[..3].copy_from_slice(&networks_of(trigger, Family::of(net.addr())));
        let nibbles = Nibbles::new(net.addr());
        let (whole, rest) = (usize::from(net.prefix_len() / 4), net.prefix_len() % 4);
        for at in 0..whole {
            key.push(nibbles.at(at));
        }
        key.push(end(nibbles.at(whole), rest));
        key
    }

    fn push(&mut self, octet: u8) {
        self.octets[self.len] = octet;
        self.len += 1;
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.octets[..self.len]
    }
}

/// What a key stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject<'k> {
    /// A name (QNAME or NSDNAME), by its key as in `crate::name::Key`.
    Name(Trigger, &'k [u8]),
    /// A network.
    Network(Trigger, IpNet),
}

impl<'k> Subject<'k> {
    /// Reads a key of the index; `None` for octets that are none.
    pub fn of(key: &'k [u8]) -> Option<Self> {
        match key {
            [OTHERS, b'n', name @ ..] => Some(Self::Name(Trigger::Nsdname, name)),
            [OTHERS, ..] => network(key).map(|(trigger, net)| Self::Network(trigger, net)),
            name => Some(Self::Name(Trigger::Qname, name)),
        }
    }
}

/// The network back from its key.
fn network(key: &[u8]) -> Option<(Trigger, IpNet)> {
    let [OTHERS, trigger, family, nibbles @ .., end] = key else { return None };
    let trigger = match trigger {
        b'c' => Trigger::ClientIp,
        b'i' => Trigger::Ip,
        b's' => Trigger::Nsip,
        _ => return None,
    };
    let end = end.checked_sub(0x10).filter(|end| (1..16).contains(end))?;
    let bits = end.ilog2();
    let width: u32 = if *family == Family::V4 as u8 { 32 } else { 128 };
    let len = 4 * nibbles.len() as u32 + bits;
    if len > width || nibbles.iter().any(|nibble| *nibble > 0x0f) {
        return None;
    }
    let mut address: u128 = 0;
    for nibble in nibbles {
        address = address << 4 | u128::from(*nibble);
    }
    address = address << bits | u128::from(end ^ 1 << bits);
    address = address.checked_shl(width - len).unwrap_or(0);
    let address: IpAddr = if width == 32 {
        std::net::Ipv4Addr::from_bits(address as u32).into()
    } else {
        std::net::Ipv6Addr::from_bits(address).into()
    };
    Some((trigger, IpNet::new(address, len as u8).ok()?))
}

/// The octet that ends a network whose last, cut nibble is `nibble` with `bits` bits, fewer than four.
pub(super) fn end(nibble: u8, bits: u8) -> u8 {
    0x10 | 1 << bits | nibble >> (4 - bits)
}

/// An address as its nibbles, the first one first.
pub(super) struct Nibbles {
    bits: u128,
}

impl Nibbles {
    pub(super) fn new(address: IpAddr) -> Self {
        let bits = match address {
            IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
            IpAddr::V6(address) => address.to_bits(),
        };
        Self { bits }
    }

    /// The nibble at this place; 0 past the end.
    pub(super) fn at(&self, at: usize) -> u8 {
        (self.bits.checked_shl(4 * at as u32).unwrap_or(0) >> 124) as u8
    }
}

/// An IPv4-mapped network as the IPv4 network it is.
fn canonical(net: IpNet) -> IpNet {
    match (net.addr().to_canonical(), net.prefix_len().checked_sub(96)) {
        (IpAddr::V4(address), Some(len)) if net.addr().is_ipv6() => {
            IpNet::new(address.into(), len).map_or(net, |net| net.trunc())
        }
        _ => net.trunc(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_come_back_from_their_keys() {
        fn check(net: &str, expected: &[u8]) {
            let net: IpNet = net.parse().unwrap();
            let key = NetworkKey::new(Trigger::Ip, net);
            assert_eq!(key.as_bytes(), expected, "{net}");
            assert_eq!(network(key.as_bytes()), Some((Trigger::Ip, net)), "{net}");
        }
        check("192.0.2.128/26", &[0, b'i', 4, 0xc, 0, 0, 0, 0, 2, 0x16]);
        check("192.0.2.128/32", &[0, b'i', 4, 0xc, 0, 0, 0, 0, 2, 8, 0, 0x11]);
        check("128.0.0.0/1", &[0, b'i', 4, 0x13]);
        check("2001:db8::/32", &[0, b'i', 6, 2, 0, 0, 1, 0, 0xd, 0xb, 8, 0x11]);
        check("0.0.0.0/0", &[0, b'i', 4, 0x11]);
        for len in 0..=128 {
            for trigger in [Trigger::ClientIp, Trigger::Ip, Trigger::Nsip] {
                let net = IpNet::new("2001:db8:1:2:fedc:3:4:5".parse().unwrap(), len).unwrap().trunc();
                assert_eq!(network(NetworkKey::new(trigger, net).as_bytes()), Some((trigger, net)));
            }
        }
        let mapped = NetworkKey::new(Trigger::Nsip, "::ffff:192.0.2.0/120".parse().unwrap());
        assert_eq!(network(mapped.as_bytes()), Some((Trigger::Nsip, "192.0.2.0/24".parse().unwrap())));
        for odd in [&[][..], &[0, b'i', 4], &[0, b'x', 4, 0x11], &[0, b'i', 4, 0x10], &[0, b'i', 4, 0x20]] {
            assert_eq!(network(odd), None, "{odd:?}");
        }
    }
}
