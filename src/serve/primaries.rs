//! Primaries whose word is taken that a zone of theirs has changed (NOTIFY, RFC 1996).
//!
//! Says whose word counts and hands it on; what comes of it is not known here. A notice without a key is as good as
//! its address, which may be forged: it makes somebody ask the real primary, and no more.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::name::Name;
use crate::tsig::Signature;
use crate::wire::{CLASS_IN, Query, rcode, rtype};

/// One primary of one zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Primary {
    /// The zone.
    pub zone: Name,
    /// From where notices come.
    pub address: IpAddr,
    /// The key that must have signed them; `None`: none need have.
    pub key: Option<Name>,
}

/// Told of zones that have changed; never waits.
pub type Heed = Arc<dyn Fn(&Name) + Send + Sync>;

/// All primaries.
#[derive(Clone, Default)]
pub struct Primaries {
    list: Vec<Primary>,
    heed: Option<Heed>,
}

impl Primaries {
    /// These; `heed` is told what they say.
    pub fn new(list: Vec<Primary>, heed: Heed) -> Self {
        Self { list, heed: Some(heed) }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Heeds a notice, where it is a primary's, and says the rcode that its sender gets.
    pub fn hear(&self, notice: &Query<'_>, sender: IpAddr, signature: &Signature) -> u16 {
        let signer = match signature {
            Signature::Malformed => return rcode::FORMERR,
            Signature::Refused(_) => return rcode::NOTAUTH,
            Signature::None => None,
            Signature::Good(signer) => Some(signer.key()),
        };
        if !self.list.iter().any(|primary| primary.address == sender) {
            return rcode::REFUSED;
        }
        // RFC 1996, section 3.7: no other types are known to mean anything.
        if notice.qtype() != rtype::SOA || notice.qclass() != CLASS_IN {
            return rcode::NOTIMP;
        }
        let Some(zone) = Name::from_wire(notice.qname()) else { return rcode::FORMERR };
        let mut of_zone = self.list.iter().filter(|primary| primary.zone == zone).peekable();
        if of_zone.peek().is_none() {
            return rcode::NOTAUTH;
        }
        let is_word_of = |primary: &Primary| {
            primary.address == sender && primary.key.as_ref().is_none_or(|key| signer == Some(key))
        };
        if !of_zone.any(is_word_of) {
            return rcode::REFUSED;
        }
        if let Some(heed) = &self.heed {
            heed(&zone);
        }
        rcode::NOERROR
    }
}

impl fmt::Debug for Primaries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.list.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::tsig::{Algorithm, Key, Keys, Signer};

    fn name(text: &str) -> Name {
        Name::from_host(text).unwrap()
    }

    #[test]
    fn only_a_primarys_word_counts() {
        let keys: Vec<Key> = ["key.x", "other.x"]
            .map(|it| Key::new(name(it), Algorithm::Sha256, &"c2Fj".repeat(11)).unwrap())
            .to_vec();
        let primary = |zone: &str, address: &str, key: Option<&str>| Primary {
            zone: name(zone),
            address: address.parse().unwrap(),
            key: key.map(name),
        };
        let list = vec![
            primary("open.x", "192.0.2.1", None),
            primary("signed.x", "192.0.2.1", Some("key.x")),
            primary("signed.x", "192.0.2.2", Some("key.x")),
        ];
        let heard = Arc::new(Mutex::new(Vec::new()));
        let of = Arc::clone(&heard);
        let primaries =
            Primaries::new(list, Arc::new(move |zone: &Name| of.lock().unwrap().push(zone.to_string())));
        let check = |zone: &str, qtype: u16, sender: &str, key: Option<usize>, expected: u16| {
            let mut packet = vec![0, 7, Query::NOTIFY, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            packet.extend(name(zone).as_wire());
            packet.extend(qtype.to_be_bytes());
            packet.extend(CLASS_IN.to_be_bytes());
            if let Some(key) = key {
                Signer::of_request(&keys[key]).sign(1_700_000_000, &mut packet);
            }
            let notice = Query::parse_notify(&packet).unwrap();
            let signature = Keys::new(keys.clone()).check(&notice, 1_700_000_000);
            let rcode = primaries.hear(&notice, sender.parse().unwrap(), &signature);
            assert_eq!(rcode, expected, "{zone} {qtype} {sender} {key:?}");
            let heard = std::mem::take(&mut *heard.lock().unwrap());
            assert_eq!(heard, if expected == rcode::NOERROR { vec![zone.to_owned()] } else { vec![] });
        };
        check("open.x", rtype::SOA, "192.0.2.1", None, rcode::NOERROR);
        check("open.x", rtype::SOA, "192.0.2.1", Some(1), rcode::NOERROR);
        check("open.x", rtype::SOA, "192.0.2.2", None, rcode::REFUSED);
        check("open.x", rtype::SOA, "192.0.2.9", None, rcode::REFUSED);
        check("open.x", rtype::A, "192.0.2.1", None, rcode::NOTIMP);
        check("signed.x", rtype::SOA, "192.0.2.1", Some(0), rcode::NOERROR);
        check("signed.x", rtype::SOA, "192.0.2.2", Some(0), rcode::NOERROR);
        check("signed.x", rtype::SOA, "192.0.2.2", Some(1), rcode::REFUSED);
        check("signed.x", rtype::SOA, "192.0.2.2", None, rcode::REFUSED);
        check("signed.x", rtype::SOA, "192.0.2.9", Some(0), rcode::REFUSED);
        check("elsewhere.x", rtype::SOA, "192.0.2.1", None, rcode::NOTAUTH);
        check("elsewhere.x", rtype::SOA, "192.0.2.9", None, rcode::REFUSED);
        assert!(Query::parse_notify(&[0; 12]).is_none() && Query::parse_notify(&[0, 0, 0x20]).is_none());
    }
}
