//! Discovery of designated resolvers (RFC 9462): where this server's encrypted transports are.
//!
//! Answers one question, the SVCB records of `_dns.resolver.arpa` (RFC 9461 says what stands in them). All else at and
//! below `resolver.arpa` is not decided here.

use std::net::{IpAddr, SocketAddr};

use super::answer;
use crate::name::Name;
use crate::wire::{CLASS_IN, Query, rtype};

const QNAME: &[u8] = b"\x04_dns\x08resolver\x04arpa\x00";
/// Seconds; a client that is led elsewhere should notice within minutes.
const TTL: u32 = 300;

/// Parameters of an SVCB record (RFC 9460, section 14.3.2; RFC 9461, section 5).
const ALPN: u16 = 1;
const PORT: u16 = 3;
const IPV4_HINT: u16 = 4;
const IPV6_HINT: u16 = 6;
const DOH_PATH: u16 = 7;

/// An encrypted transport, as clients are told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind<'a> {
    /// DNS over TLS.
    Tls,
    /// DNS over HTTPS, at this path.
    Https(&'a str),
    /// DNS over QUIC.
    Quic,
}

/// What clients are told: the name on the certificate, and where it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Designation {
    /// The data of each record.
    records: Vec<Vec<u8>>,
}

impl Designation {
    /// Leads to `name` at these addresses; `None` where there is none.
    pub fn new<'a>(name: &Name, listening: impl IntoIterator<Item = (Kind<'a>, SocketAddr)>) -> Option<Self> {
        // One record for each transport and port.
        let mut services: Vec<(Kind<'a>, u16, Vec<IpAddr>)> = Vec::new();
        for (kind, address) in listening {
            let is_it = |service: &&mut (Kind<'a>, u16, _)| (service.0, service.1) == (kind, address.port());
            match services.iter_mut().find(is_it) {
                Some((.., addresses)) => addresses.push(address.ip()),
                None => services.push((kind, address.port(), vec![address.ip()])),
            }
        }
        let records: Vec<_> =
            services.iter().map(|(kind, port, addresses)| record(name, *kind, *port, addresses)).collect();
        (!records.is_empty()).then_some(Self { records })
    }

    /// Whether this is the question that is answered here.
    pub fn is_asked(&self, query: &Query<'_>) -> bool {
        query.qtype() == rtype::SVCB
            && query.qclass() == CLASS_IN
            && query.qname().eq_ignore_ascii_case(QNAME)
    }

    /// Puts the answer in place of what `out` holds.
    pub fn answer(&self, query: &Query<'_>, out: &mut Vec<u8>) {
        answer::records(query, rtype::SVCB, TTL, self.records.iter().map(Vec::as_slice), out);
    }
}

/// The data of one SVCB record in service mode, parameters in the order of their keys.
fn record(name: &Name, kind: Kind<'_>, port: u16, addresses: &[IpAddr]) -> Vec<u8> {
    // All are equally good: a client takes the transport it speaks.
    let mut rdata = 1u16.to_be_bytes().to_vec();
    rdata.extend(name.as_wire());
    let (protocol, path) = match kind {
        Kind::Tls => ("dot", None),
        // HTTP/1.1 is spoken too, but nobody who knows these records is in need of it.
        Kind::Https(path) => ("h2", Some(path)),
        Kind::Quic => ("doq", None),
    };
    let mut put = |key: u16, value: &[u8]| {
        rdata.extend(key.to_be_bytes());
        rdata.extend((value.len() as u16).to_be_bytes());
        rdata.extend(value);
    };
    put(ALPN, &[&[protocol.len() as u8], protocol.as_bytes()].concat());
    put(PORT, &port.to_be_bytes());
    // Where a wildcard is listened on, the client's own look-up of the name says where.
    let known = || addresses.iter().filter(|address| !address.is_unspecified());
    let v4: Vec<u8> = known()
        .filter_map(|it| if let IpAddr::V4(it) = it { Some(it.octets()) } else { None })
        .flatten()
        .collect();
    let v6: Vec<u8> = known()
        .filter_map(|it| if let IpAddr::V6(it) = it { Some(it.octets()) } else { None })
        .flatten()
        .collect();
    for (key, hint) in [(IPV4_HINT, v4), (IPV6_HINT, v6)] {
        if !hint.is_empty() {
            put(key, &hint);
        }
    }
    if let Some(path) = path {
        put(DOH_PATH, format!("{path}{{?dns}}").as_bytes());
    }
    rdata
}

#[cfg(test)]
mod tests {
    use super::*;

    fn designation() -> Designation {
        let at = |address: &str| address.parse::<SocketAddr>().unwrap();
        let name = Name::from_host("dns.example").unwrap();
        let listening = [
            (Kind::Tls, at("10.1.0.53:853")),
            (Kind::Tls, at("[fd00::53]:853")),
            (Kind::Https("/dns-query"), at("0.0.0.0:443")),
        ];
        Designation::new(&name, listening).unwrap()
    }

    #[test]
    fn a_transport_is_one_record() {
        let records = designation().records;
        assert_eq!(records.len(), 2);
        let dot =
            b"\0\x01\x03dns\x07example\0\0\x01\0\x04\x03dot\0\x03\0\x02\x03\x55\0\x04\0\x04\x0a\x01\0\x35\
            \0\x06\0\x10\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x53";
        assert_eq!(records[0], dot);
        let doh = b"\0\x01\x03dns\x07example\0\0\x01\0\x03\x02h2\0\x03\0\x02\x01\xbb\
            \0\x07\0\x10/dns-query{?dns}";
        assert_eq!(records[1], doh);
        assert_eq!(Designation::new(&Name::from_host("dns.example").unwrap(), []), None);
    }

    #[test]
    fn one_question_is_answered() {
        let check = |question: &[u8], expected: bool| {
            let packet = [b"\0\x01\x01\0\0\x01\0\0\0\0\0\0", question].concat();
            let query = Query::parse(&packet).unwrap();
            assert_eq!(designation().is_asked(&query), expected, "{question:02x?}");
        };
        check(b"\x04_DNS\x08Resolver\x04arpa\0\0\x40\0\x01", true);
        check(b"\x04_dns\x08resolver\x04arpa\0\0\x01\0\x01", false);
        check(b"\x08resolver\x04arpa\0\0\x40\0\x01", false);
        check(b"\x04_dns\x08resolver\x04arpa\0\0\x40\0\x03", false);
    }
}
