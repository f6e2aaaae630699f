//! What a forwarder tells of its client, in options of EDNS.
//!
//! ```text
//! 65001  the client's MAC, six octets                       dnsmasq: add-mac
//! 65073  … in Base64 (eight letters) or as text             dnsmasq: add-mac=base64, add-mac=text
//!     8  the client's network (RFC 7871): family, prefix length, 0, as many octets as that takes
//! ```
//!
//! Only reads; whether the forwarder is believed is for the pipeline to know. Allocates nothing, and takes an option that is
//! no good for none: a wrong hint is no reason not to answer.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Query, options};
use crate::mac::Mac;

/// The code that dnsmasq has for a MAC.
const MAC: u16 = 65001;
/// … and for one as text (which others use for names of devices).
const MAC_TEXT: u16 = 65073;
/// Client subnet (RFC 7871).
const SUBNET: u16 = 8;

/// What a forwarder told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told {
    /// Its client's hardware address.
    pub mac: Option<Mac>,
    /// The network of its client; one address where it tells all of it.
    pub subnet: Option<IpNet>,
}

impl Query<'_> {
    /// What the sender told of its own client.
    pub fn told(&self) -> Told {
        let mut told = Told::default();
        let Some(edns) = &self.edns else { return told };
        for (code, data) in options(&self.packet[edns.options.clone()]) {
            match code {
                MAC => told.mac = told.mac.or_else(|| Mac::from_octets(data)),
                MAC_TEXT => told.mac = told.mac.or_else(|| mac_of_text(data)),
                SUBNET => told.subnet = told.subnet.or_else(|| subnet(data)),
                _ => {}
            }
        }
        told
    }
}

fn mac_of_text(data: &[u8]) -> Option<Mac> {
    if data.len() == 8
        && let Some(octets) = base64(data)
    {
        return Mac::from_octets(&octets);
    }
    let mac: Mac = std::str::from_utf8(data).ok().filter(|text| text.len() <= 17)?.parse().ok()?;
    mac.is_usable().then_some(mac)
}

/// Six octets in the alphabet of RFC 4648, section 4.
fn base64(data: &[u8]) -> Option<[u8; 6]> {
    let mut number = 0u64;
    for byte in data {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        number = number << 6 | u64::from(digit);
    }
    let [_, _, octets @ ..] = number.to_be_bytes();
    Some(octets)
}

/// RFC 7871, section 6: in queries the scope is 0, there are no more octets than the prefix takes, and none of their bits
/// beyond it is set. A length of 0 tells nothing (section 7.1.2).
fn subnet(data: &[u8]) -> Option<IpNet> {
    let [family_high, family_low, len, scope, octets @ ..] = data else { return None };
    let most = match [*family_high, *family_low] {
        [0, 1] => 32,
        [0, 2] => 128,
        _ => return None,
    };
    if *len == 0 || *len > most || *scope != 0 || octets.len() != usize::from(*len).div_ceil(8) {
        return None;
    }
    let mut whole = [0; 16];
    whole[..octets.len()].copy_from_slice(octets);
    let address = if most == 32 {
        let [a, b, c, d, ..] = whole;
        IpAddr::from([a, b, c, d])
    } else {
        IpAddr::from(whole)
    };
    let net = IpNet::new(address, *len).ok()?;
    (net.network() == address).then_some(net)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A query with these options.
    fn query(options: &[(u16, &[u8])]) -> Vec<u8> {
        let mut packet =
            b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x01a\x00\x00\x01\x00\x01".to_vec();
        packet.extend(b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00");
        let data: Vec<u8> = options
            .iter()
            .flat_map(|(code, data)| {
                [&code.to_be_bytes()[..], &(data.len() as u16).to_be_bytes(), data].concat()
            })
            .collect();
        packet.extend((data.len() as u16).to_be_bytes());
        packet.extend(data);
        packet
    }

    #[track_caller]
    fn check(options: &[(u16, &[u8])], mac: Option<&str>, subnet: Option<&str>) {
        let packet = query(options);
        let told = Query::parse(&packet).unwrap().told();
        let shown = (told.mac.map(|it| it.to_string()), told.subnet.map(|it| it.to_string()));
        assert_eq!(shown, (mac.map(str::to_owned), subnet.map(str::to_owned)), "{options:?}");
    }

    #[test]
    fn macs_come_in_three_forms() {
        let expected = Some("00:1a:2b:3c:4d:5e");
        check(&[], None, None);
        check(&[(MAC, b"\x00\x1a\x2b\x3c\x4d\x5e")], expected, None);
        check(&[(MAC_TEXT, b"ABorPE1e")], expected, None);
        check(&[(MAC_TEXT, b"00:1a:2b:3c:4d:5e")], expected, None);
        check(&[(MAC_TEXT, b"001A2B3C4D5E")], expected, None);
        for (code, data) in [
            (MAC, &b""[..]),
            (MAC, b"\x00\x1a\x2b\x3c\x4d"),
            (MAC, b"\x01\x00\x5e\x00\x00\x01"),
            (MAC, b"\0\0\0\0\0\0"),
            (MAC_TEXT, b"laptop-1"),
            (MAC_TEXT, b"\xff\xff\xff\xff\xff\xff\xff\xff"),
            (MAC_TEXT, b"00:1a:2b:3c:4d:5e:6f"),
        ] {
            check(&[(code, data)], None, None);
        }
        // The first good one counts.
        check(
            &[(MAC, b""), (MAC, b"\x00\x1a\x2b\x3c\x4d\x5e"), (MAC, b"\x00\x1a\x2b\x3c\x4d\x5f")],
            expected,
            None,
        );
    }

    #[test]
    fn subnets_are_as_rfc_7871_has_them() {
        let check = |data: &[u8], expected: Option<&str>| check(&[(SUBNET, data)], None, expected);
        check(b"\x00\x01\x18\x00\x0a\x01\x02", Some("10.1.2.0/24"));
        check(b"\x00\x01\x20\x00\x0a\x01\x02\x03", Some("10.1.2.3/32"));
        check(b"\x00\x01\x0c\x00\x0a\x10", Some("10.16.0.0/12"));
        check(b"\x00\x02\x20\x00\x20\x01\x0d\xb8", Some("2001:db8::/32"));
        for odd in [
            &b""[..],
            b"\x00\x01\x00\x00",
            b"\x00\x01\x18\x00\x0a\x01",
            b"\x00\x01\x18\x00\x0a\x01\x02\x03",
            b"\x00\x01\x18\x18\x0a\x01\x02",
            b"\x00\x01\x21\x00\x0a\x01\x02\x03\x04",
            b"\x00\x01\x0c\x00\x0a\x11",
            b"\x00\x03\x08\x00\x0a",
        ] {
            check(odd, None);
        }
    }
}
