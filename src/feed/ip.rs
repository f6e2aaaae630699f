//! Lists of addresses: one address, network or range a line.
//!
//! ```text
//! 192.0.2.1
//! 192.0.2.0/24 # comment        192.0.2.0/24 ; comment
//! 192.0.2.1<TAB>10              how many lists agree: of no use here
//! 192.0.2.1<TAB>emotet          a family
//! 192.0.2.1-192.0.2.9           every address of the range; so with blanks around the `-`
//! 192.0.2.1:4444                the address
//! ```
//!
//! A name is a fault: what mixes both is a plain list.

use std::net::IpAddr;

use ipnet::{IpNet, IpSubnets, Ipv4Subnets, Ipv6Subnets};

use super::output::{Output, Traits};
use super::{Fault, Value, plain, token};

pub(super) fn read_line(line: &str, out: &mut Output<'_>) {
    let text = plain::without_comment(line);
    if text.is_empty() {
        return;
    }
    if let Some((first, last)) = range(text) {
        return match subnets(first, last) {
            Ok(networks) => {
                for network in networks {
                    out.indicator(value(network), Traits::default(), None);
                }
            }
            Err(fault) => out.fault(fault, line),
        };
    }
    // Counts stand behind a TAB, a comma or blanks.
    let text = match text.split_once([' ', ',']) {
        Some((item, count)) if count.trim().bytes().all(|byte| byte.is_ascii_digit()) => item,
        _ => text,
    };
    match plain::split(text) {
        Ok(None) => {}
        Ok(Some((item, family))) => match token::read(item) {
            Ok(value @ (Value::Ip(_) | Value::Net(_))) => {
                let family = family.map(|family| out.family(family));
                out.indicator(value, Traits { family, ..Traits::default() }, None);
            }
            Ok(Value::Name(..) | Value::Url(_)) => out.fault(Fault::NotAddress, line),
            Err(fault) => out.fault(fault, line),
        },
        Err(fault) => out.fault(fault, line),
    }
}

/// The ends of a range, if the line is one.
pub(super) fn range(text: &str) -> Option<(IpAddr, IpAddr)> {
    let (first, last) = text.split_once('-')?;
    Some((token::address(first.trim_end())?, token::address(last.trim_start())?))
}

/// The fewest networks that make up a range: 62 or 254 at most.
fn subnets(first: IpAddr, last: IpAddr) -> Result<IpSubnets, Fault> {
    if first > last {
        return Err(Fault::Range);
    }
    let networks = match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => IpSubnets::from(Ipv4Subnets::new(first, last, 0)),
        (IpAddr::V6(first), IpAddr::V6(last)) => IpSubnets::from(Ipv6Subnets::new(first, last, 0)),
        _ => return Err(Fault::Range),
    };
    if networks.clone().any(|network| network.prefix_len() == 0) {
        return Err(Fault::Everything);
    }
    Ok(networks)
}

fn value(network: IpNet) -> Value {
    if network.prefix_len() == network.max_prefix_len() {
        Value::Ip(network.addr())
    } else {
        Value::Net(network)
    }
}

#[cfg(test)]
mod tests {
    use crate::feed::Format;
    use crate::feed::tests::check;

    #[test]
    fn lines() {
        let check = |text: &str, expected: &[&str]| check(Format::Ip, text, expected);
        check("# 1.2.3.4\n; 1.2.3.4\n\n", &[]);
        check("1.2.3.4", &["1 ip 1.2.3.4"]);
        check("2001:DB8::1", &["1 ip 2001:db8::1"]);
        check("1.2.3.4:4444", &["1 ip 1.2.3.4"]);
        check("1[.]2.3.4", &["1 ip 1.2.3.4"]);
        check("1.2.3.4\t10", &["1 ip 1.2.3.4"]);
        check("1.2.3.4 10", &["1 ip 1.2.3.4"]);
        check("1.2.3.4,10", &["1 ip 1.2.3.4"]);
        check("1.2.3.4\temotet", &["1 ip 1.2.3.4 family=emotet"]);
        check("1.2.3.4 # scanner.example", &["1 ip 1.2.3.4"]);
        check("192.0.2.0/24 ; SBL1", &["1 net 192.0.2.0/24"]);
        check("192.0.2.0/24;SBL1", &["1 net 192.0.2.0/24"]);
    }

    #[test]
    fn ranges() {
        let check = |text: &str, expected: &[&str]| check(Format::Ip, text, expected);
        check("192.0.2.0-192.0.2.255", &["1 net 192.0.2.0/24"]);
        check("192.0.2.1 - 192.0.2.4", &["1 ip 192.0.2.1", "1 net 192.0.2.2/31", "1 ip 192.0.2.4"]);
        check("2001:db8::-2001:db8::f # x", &["1 net 2001:db8::/124"]);
        check("192.0.2.1-192.0.2.1", &["1 ip 192.0.2.1"]);
        check("192.0.2.9-192.0.2.1", &["1! Range"]);
        check("192.0.2.9-2001:db8::1", &["1! Range"]);
        check("0.0.0.0-255.255.255.255", &["1! Everything"]);
    }

    #[test]
    fn faults() {
        let check = |text: &str, expected: &[&str]| check(Format::Ip, text, expected);
        check("evil.example", &["1! NotAddress"]);
        check("http://1.2.3.4/a", &["1! NotAddress"]);
        check("C91.196.152.28", &["1! Address"]);
        check("1.2.3.4 and more", &["1! Columns"]);
        check("192.0.2.1/24", &["1! HostBits(192.0.2.0/24)"]);
    }
}
