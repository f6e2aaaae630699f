//! What becomes of a client's address that nobody may know any more.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use siphasher::sip::SipHasher24;

use super::Anonymise;
use crate::evidence::record::Record;

/// The prefix of addresses that stand for no machine (RFC 6666).
const DISCARD: u128 = 0x0100 << 112;

/// Hides clients, in the same way for as long as it lives.
#[derive(Debug)]
pub(in crate::evidence) struct Veil {
    how: Anonymise,
    key: (u64, u64),
}

impl Veil {
    /// With a key of its own.
    pub(in crate::evidence) fn new(how: Anonymise) -> Self {
        Self { how, key: rand::random() }
    }

    /// A record as it may be kept: the clients of hits are known, whoever else asked is not, nor what a forwarder told of it.
    pub(in crate::evidence) fn over_record<'r>(&self, record: &Record<'r>) -> Record<'r> {
        if record.is_hit || self.how == Anonymise::Never {
            return record.clone();
        }
        Record { client: self.over(record.client), mac: None, subnet: None, ..record.clone() }
    }

    /// What is shown in place of a client that met no rule.
    pub(in crate::evidence) fn over(&self, client: IpAddr) -> IpAddr {
        match (self.how, client) {
            (Anonymise::Never, client) => client,
            (Anonymise::Truncate, IpAddr::V4(client)) => Ipv4Addr::from_bits(client.to_bits() & !0xff).into(),
            (Anonymise::Truncate, IpAddr::V6(client)) => {
                Ipv6Addr::from_bits(client.to_bits() >> 80 << 80).into()
            }
            // It stands for one already.
            (Anonymise::Hash, IpAddr::V6(client)) if client.to_bits() >> 64 == DISCARD >> 64 => client.into(),
            (Anonymise::Hash, client) => {
                let hash = match client {
                    IpAddr::V4(client) => {
                        SipHasher24::new_with_keys(self.key.0, self.key.1).hash(&client.octets())
                    }
                    IpAddr::V6(client) => {
                        SipHasher24::new_with_keys(self.key.0, self.key.1).hash(&client.octets())
                    }
                };
                Ipv6Addr::from_bits(DISCARD | u128::from(hash)).into()
            }
        }
    }
}
