//! Longest-prefix look-up over networks of both families.
//!
//! Nested networks are flattened to disjoint ranges once, so that a look-up is one binary search.

use std::net::IpAddr;

use ipnet::IpNet;

/// Values by network; the longest network that holds an address wins.
#[derive(Debug, Clone)]
pub struct PrefixMap<T> {
    v4: Vec<Range<T>>,
    v6: Vec<Range<T>>,
}

/// From `start` up to the next range's start the value is this; `None` where no network reaches.
#[derive(Debug, Clone)]
struct Range<T> {
    start: u128,
    value: Option<T>,
}

/// The same network twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is claimed twice")]
pub struct Overlap(pub IpNet);

impl<T> Default for PrefixMap<T> {
    fn default() -> Self {
        Self { v4: Vec::new(), v6: Vec::new() }
    }
}

impl<T: Copy + PartialEq> PrefixMap<T> {
    /// Builds the map; host bits of a network do not count.
    ///
    /// # Errors
    /// [`Overlap`], when one network is given twice with different values.
    pub fn new(entries: impl IntoIterator<Item = (IpNet, T)>) -> Result<Self, Overlap> {
        let mut sorted: Vec<(IpNet, T)> =
            entries.into_iter().map(|(net, value)| (net.trunc(), value)).collect();
        // Outer networks before the ones inside them.
        sorted.sort_by_key(|(net, _)| (bits(net.network()), net.prefix_len()));
        for pair in sorted.windows(2) {
            if pair[0].0 == pair[1].0 && pair[0].1 != pair[1].1 {
                return Err(Overlap(pair[0].0));
            }
        }
        let of = |is_v4: bool| sorted.iter().filter(move |(net, _)| net.addr().is_ipv4() == is_v4);
        Ok(Self { v4: flatten(of(true)), v6: flatten(of(false)) })
    }

    /// The value of the longest network that holds `address`; an IPv4-mapped IPv6 address counts as
    /// the IPv4 address it is.
    pub fn find(&self, address: IpAddr) -> Option<&T> {
        let address = address.to_canonical();
        let ranges = if address.is_ipv4() { &self.v4 } else { &self.v6 };
        let bits = bits(address);
        let after = ranges.partition_point(|range| range.start <= bits);
        ranges.get(after.checked_sub(1)?)?.value.as_ref()
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn flatten<'a, T: Copy + 'a>(sorted: impl Iterator<Item = &'a (IpNet, T)>) -> Vec<Range<T>> {
    let mut ranges: Vec<Range<T>> = Vec::new();
    // The networks that are open at this point, outermost first, each with its last address.
    let mut open: Vec<(u128, T)> = Vec::new();
    let mut push = |start: u128, value: Option<T>| match ranges.last_mut() {
        Some(last) if last.start == start => last.value = value,
        _ => ranges.push(Range { start, value }),
    };
    let close_before =
        |open: &mut Vec<(u128, T)>, start: Option<u128>, push: &mut dyn FnMut(u128, Option<T>)| {
            while let Some(&(last, _)) = open.last() {
                if start.is_some_and(|start| last >= start) {
                    break;
                }
                open.pop();
                if let Some(next) = last.checked_add(1) {
                    push(next, open.last().map(|(_, value)| *value));
                }
            }
        };
    for (net, value) in sorted {
        let start = bits(net.network());
        close_before(&mut open, Some(start), &mut push);
        push(start, Some(*value));
        open.push((bits(net.broadcast()), *value));
    }
    close_before(&mut open, None, &mut push);
    ranges
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn map(nets: &[&str]) -> PrefixMap<usize> {
        PrefixMap::new(nets.iter().enumerate().map(|(n, net)| (net.parse().unwrap(), n))).unwrap()
    }

    #[test]
    fn the_longest_network_wins() {
        let map =
            map(&["10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "fd00::/8", "0.0.0.0/0", "10.1.2.255/32"]);
        let check = |address: &str, expected: Option<usize>| {
            assert_eq!(map.find(address.parse().unwrap()).copied(), expected, "{address}");
        };
        check("10.0.0.1", Some(0));
        check("10.1.0.1", Some(1));
        check("10.1.2.1", Some(2));
        check("10.1.2.255", Some(5));
        check("10.1.3.0", Some(1));
        check("10.2.0.0", Some(0));
        check("11.0.0.0", Some(4));
        check("255.255.255.255", Some(4));
        check("fd00::1", Some(3));
        check("fe80::1", None);
        check("::ffff:10.1.2.1", Some(2));
    }

    #[test]
    fn one_network_has_one_value() {
        let twice: [(IpNet, u8); 2] =
            [("10.1.0.0/16".parse().unwrap(), 1), ("10.1.2.3/16".parse().unwrap(), 2)];
        assert_eq!(PrefixMap::new(twice).unwrap_err(), Overlap("10.1.0.0/16".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn agrees_with_trying_each(
            // Few bits differ, so that networks nest and touch, at both ends of the space.
            nets in prop::collection::vec((0u8..4, any::<bool>(), 0u8..4, 0u8..=32), 0..20),
            asked in prop::collection::vec((0u8..4, any::<bool>(), 0u8..4), 20),
        ) {
            let address = |(high, is_top, low): (u8, bool, u8)| {
                std::net::Ipv4Addr::new(high << 6, if is_top { 255 } else { 0 }, low << 6, low)
            };
            let nets: Vec<IpNet> = nets.into_iter()
                .map(|(a, b, c, len)| IpNet::new(address((a, b, c)).into(), len).unwrap().trunc())
                .collect();
            let map = PrefixMap::new(nets.iter().map(|net| (*net, net.prefix_len()))).unwrap();
            for asked in asked {
                let asked = IpAddr::from(address(asked));
                let naive = nets.iter().filter(|net| net.contains(&asked)).map(IpNet::prefix_len).max();
                prop_assert_eq!(map.find(asked).copied(), naive);
            }
        }
    }
}
