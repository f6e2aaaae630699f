//! What is said to a query without resolving it: by a rule, or by way of refusal.
//!
//! Decides nothing that depends on other queries. The query path and `explain` both call this.

use std::net::IpAddr;

use super::answer::{self, Ede, Stem};
use crate::client::prefix::PrefixMap;
use crate::evidence::record::{Outcome, Transport};
use crate::name::{Name, labels};
use crate::policy::action::Action;
use crate::policy::decide::Ruling;
use crate::policy::rule::Feed;
use crate::wire::{CLASS_IN, Query, rcode, rtype};

/// The sinkhole's addresses and how long an answer with them may be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sinkhole {
    /// At most one of each family.
    pub addresses: Vec<IpAddr>,
    /// Seconds.
    pub ttl: u32,
}

/// What a rule makes of a query.
pub enum Applied {
    /// This outcome with this rcode; the answer is in the buffer. No rcode: no answer.
    Answer(Outcome, Option<u16>),
    /// An alias to this name, which must be resolved.
    Alias(Name),
    /// It must be resolved as if there were no rule.
    Resolve(Outcome),
}

impl Sinkhole {
    /// Where this feed's sinkholed names lead.
    pub fn of<'a>(&'a self, feed: &'a Feed) -> &'a [IpAddr] {
        feed.sinkhole.as_deref().unwrap_or(&self.addresses)
    }

    /// The addresses that a query which this rule answers is told.
    pub fn told<'a>(&'a self, ruling: &Ruling<'a>, qtype: u16) -> &'a [IpAddr] {
        match &ruling.rule.action {
            Action::Sinkhole => {
                let is_asked = |address: &&IpAddr| address_type(**address) == qtype;
                // A sinkhole has at most one address of a family.
                self.of(ruling.feed).iter().find(is_asked).map_or(&[][..], std::slice::from_ref)
            }
            Action::LocalData(data) => data.addresses(qtype),
            _ => &[],
        }
    }
}

fn address_type(address: IpAddr) -> u16 {
    if address.is_ipv4() { rtype::A } else { rtype::AAAA }
}

/// Applies the rule that was decided on to a query.
pub fn apply(
    sinkhole: &Sinkhole,
    ruling: &Ruling<'_>,
    stem: Stem<'_>,
    transport: Transport,
    out: &mut Vec<u8>,
) -> Applied {
    let query = stem.query();
    let ede = Ede { code: Ede::BLOCKED, text: &ruling.feed.name };
    let ttl = sinkhole.ttl;
    match &ruling.rule.action {
        Action::Sinkhole => {
            answer::addresses(stem, sinkhole.of(ruling.feed), ttl, ede, out);
            Applied::Answer(Outcome::Sinkhole, Some(rcode::NOERROR))
        }
        Action::LocalData(data) => {
            let rcode = answer::local_data(stem, data, ttl, ede, out);
            Applied::Answer(Outcome::LocalData, Some(rcode))
        }
        Action::Nxdomain => {
            answer::nxdomain(stem, ttl, ede, out);
            Applied::Answer(Outcome::Nxdomain, Some(rcode::NXDOMAIN))
        }
        Action::Nodata => {
            answer::nodata(stem, ttl, ede, out);
            Applied::Answer(Outcome::Nodata, Some(rcode::NOERROR))
        }
        Action::Drop => Applied::Answer(Outcome::Drop, None),
        Action::TcpOnly if transport == Transport::Udp => {
            answer::truncated(query, rcode::NOERROR, out);
            Applied::Answer(Outcome::TcpOnly, Some(rcode::NOERROR))
        }
        Action::TcpOnly => Applied::Resolve(Outcome::TcpOnly),
        Action::Cname(target) => {
            let name = stem.name();
            let name = name.as_ref().map_or(query.qname(), |name| name.as_wire());
            let Some(target) = expand(target, name) else {
                answer::too_long(stem, ttl, ede, out);
                return Applied::Answer(Outcome::Cname, Some(rcode::YXDOMAIN));
            };
            match query.qtype() {
                // An alias to itself would lead nowhere: the feed that names its own walled garden.
                _ if target.as_wire().eq_ignore_ascii_case(name) => Applied::Resolve(Outcome::Passthru),
                // The alias itself is what these ask for (RFC 1034, section 4.3.2, step 3a).
                rtype::CNAME | rtype::ANY => {
                    answer::alias(stem, target.as_wire(), ttl, ede, None, out);
                    Applied::Answer(Outcome::Cname, Some(rcode::NOERROR))
                }
                _ => Applied::Alias(target),
            }
        }
        Action::Passthru => Applied::Resolve(Outcome::Passthru),
    }
}

/// Where an alias leads whose first label may be `*`, for which `name` stands; `None` past 255 octets.
fn expand(target: &Name, name: &[u8]) -> Option<Name> {
    if labels(target.as_wire()).next() != Some(b"*") {
        return Some(target.clone());
    }
    Name::from_wire(name)?.under(&target.parent()?)
}

/// Whether a client may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It is in a network that is answered.
    Allowed,
    /// It is in none.
    Prohibited,
}

impl Access {
    /// What `allow` says about `client`.
    pub fn of(client: IpAddr, allow: &PrefixMap<()>) -> Self {
        if allow.find(client).is_some() { Self::Allowed } else { Self::Prohibited }
    }
}

/// Why a well-formed query is not answered as asked, if so: rcode and extended error.
pub fn refusal(query: &Query<'_>, access: Access) -> Option<(u16, Option<Ede<'static>>)> {
    if query.edns().is_some_and(|edns| edns.version != 0) {
        return Some((rcode::BADVERS, None));
    }
    if access == Access::Prohibited {
        return Some((rcode::REFUSED, Some(Ede { code: Ede::PROHIBITED, text: "" })));
    }
    if query.qtype() == rtype::NXNAME {
        // RFC 9824, section 3.5.
        return Some((rcode::FORMERR, Some(Ede { code: Ede::INVALID_QTYPE, text: "" })));
    }
    let is_answered = query.qclass() == CLASS_IN && !rtype::is_meta(query.qtype());
    (!is_answered).then_some((rcode::REFUSED, Some(Ede { code: Ede::NOT_SUPPORTED, text: "" })))
}
