//! Which hit led to a contact, and which agencies cannot be seen through contacts; no I/O and no clock.
//!
//! A contact says more than its hit. Where an agency has a DNS server of its own, all its hits come from that one, and
//! the contact alone names the machine. And a hit with a contact is an infection or a click, where a hit without one may
//! be a look-up that nothing came of: which of the two it is, families and patterns say, and C2 and phishing are
//! never added up.
//!
//! The name (Host or SNI) joins them, from the machine's own address or from another one of its agency: that is its
//! resolver's, or the other side of a NAT. What names nothing (a raw protocol) is joined by the sinkhole's address and time: to what
//! its own address asked last, or to what its agency asked, where that was one name alone.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use super::{ClientCount, Contact};
use crate::evidence::record::Record;
use crate::name::Name;

/// How far apart a hit and its contact may be, microseconds, and how many hits are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// How long after its last hit a contact by name may come: programs and resolvers keep addresses.
    pub by_name: i64,
    /// … and one that names nothing.
    pub by_address: i64,
    /// How long before its hit: clocks of several servers differ, and a row of contacts has the time of the first.
    pub early: i64,
    /// Most names of clients that are kept.
    pub most: usize,
}

impl Default for Rules {
    fn default() -> Self {
        const MINUTE: i64 = 60_000_000;
        Self { by_name: 60 * MINUTE, by_address: 5 * MINUTE, early: MINUTE, most: 200_000 }
    }
}

/// A hit, as far as it matters to contacts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// When it came, microseconds since 1970.
    pub time: i64,
    /// Who asked; where a trusted forwarder told whom it asked for, that one.
    pub client: IpAddr,
    /// The client's agency.
    pub agency: Option<Arc<str>>,
    /// For which name, as [`Contact::name`] has it.
    pub name: Arc<str>,
    /// What it was told: addresses of the sinkhole.
    pub addresses: Box<[IpAddr]>,
    /// The malware family.
    pub family: Option<Arc<str>>,
    /// The feed that lists it.
    pub feed: Option<Arc<str>>,
}

impl Hit {
    /// What a record tells; `None` where it is no hit that a contact can follow.
    pub fn of(record: &Record<'_>) -> Option<Self> {
        if !record.is_hit || record.is_before_listed() {
            return None;
        }
        Some(Self {
            time: record.time,
            client: record.source(),
            agency: record.agency.as_deref().map(Arc::from),
            name: Name::from_wire(&record.qname)?.to_string().into(),
            addresses: record.answers.iter().copied().collect(),
            family: record.family.as_deref().map(Arc::from),
            feed: record.feed.as_deref().map(Arc::from),
        })
    }
}

/// The hit that led to a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match<'a> {
    /// The newest one that fits.
    pub hit: &'a Hit,
    /// What joins them.
    pub basis: Basis,
}

impl Match<'_> {
    /// Whether the hit came from another address than the contact: that of a resolver of the agency's own, or its NAT.
    /// Then the contact names the machine.
    pub fn is_behind(&self, contact: &Contact) -> bool {
        self.hit.client != contact.client
    }
}

/// What joins a contact and a hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// The name.
    Name,
    /// The sinkhole's address and the time.
    Address,
}

/// The hits of the last time, to join contacts to. What it takes is bounded by [`Rules::most`].
#[derive(Debug)]
pub struct Recent {
    rules: Rules,
    young: Generation,
    old: Generation,
}

/// The hits of one name by one client.
#[derive(Debug)]
struct Entry {
    /// When the first one came.
    since: i64,
    /// The last one.
    hit: Hit,
}

#[derive(Debug, Default)]
struct Generation {
    begun: Option<i64>,
    entries: HashMap<(Arc<str>, IpAddr), Entry>,
    /// Who of an agency asked last for a name.
    askers: HashMap<(Arc<str>, Option<Arc<str>>), IpAddr>,
    /// What a client asked for last.
    by_client: HashMap<IpAddr, Last>,
    /// What an agency asked for last.
    by_agency: HashMap<Arc<str>, Last>,
}

/// The last names, without repetitions, and who asked.
type Last = VecDeque<(Arc<str>, IpAddr)>;

/// Names that are kept in a [`Last`].
const LAST: usize = 8;

impl Recent {
    /// Keeps no hit yet.
    pub fn new(rules: Rules) -> Self {
        Self { rules, young: Generation::default(), old: Generation::default() }
    }

    /// Takes a hit in. They come about in the order of their times.
    pub fn add(&mut self, hit: Hit) {
        let begun = *self.young.begun.get_or_insert(hit.time);
        let is_over = hit.time.saturating_sub(begun) >= self.rules.by_name;
        if is_over || self.young.entries.len() >= (self.rules.most / 2).max(1) {
            self.old = std::mem::take(&mut self.young);
            self.young.begun = Some(hit.time);
        }
        self.young.add(hit);
    }

    /// The hit that led to a contact of a client of this agency.
    pub fn hit_of(&self, contact: &Contact, agency: Option<&str>) -> Option<Match<'_>> {
        let agency = agency.map(Arc::from);
        let newer = self.young.hit_of(contact, agency.as_ref(), &self.rules);
        newer.or_else(|| self.old.hit_of(contact, agency.as_ref(), &self.rules))
    }
}

impl Generation {
    fn add(&mut self, hit: Hit) {
        let (name, client, agency) = (Arc::clone(&hit.name), hit.client, hit.agency.clone());
        push(&mut self.by_client, client, &name, client);
        if let Some(agency) = &agency {
            push(&mut self.by_agency, Arc::clone(agency), &name, client);
        }
        self.askers.insert((Arc::clone(&name), agency), client);
        match self.entries.get_mut(&(Arc::clone(&name), client)) {
            Some(entry) => {
                entry.since = entry.since.min(hit.time);
                if hit.time >= entry.hit.time {
                    entry.hit = hit;
                }
            }
            None => {
                self.entries.insert((name, client), Entry { since: hit.time, hit });
            }
        }
    }

    fn hit_of(&self, contact: &Contact, agency: Option<&Arc<str>>, rules: &Rules) -> Option<Match<'_>> {
        let Some(name) = contact.name.as_deref() else {
            return self.by_address(contact, agency, rules);
        };
        if name.parse::<IpAddr>().is_ok() {
            return self.by_address(contact, agency, rules);
        }
        let name: Arc<str> = name.into();
        let of = |client: IpAddr| {
            let entry = self.entries.get(&(Arc::clone(&name), client))?;
            is_near(entry, contact, rules.by_name, rules.early)
                .then_some(Match { hit: &entry.hit, basis: Basis::Name })
        };
        of(contact.client).or_else(|| {
            // Without an agency, others without one are nobody's.
            let agency = Arc::clone(agency?);
            of(*self.askers.get(&(Arc::clone(&name), Some(agency)))?)
        })
    }

    fn by_address(&self, contact: &Contact, agency: Option<&Arc<str>>, rules: &Rules) -> Option<Match<'_>> {
        let fits = |(name, client): &(Arc<str>, IpAddr)| {
            let entry = self.entries.get(&(Arc::clone(name), *client))?;
            let leads_here =
                contact.local.ip().is_unspecified() || entry.hit.addresses.contains(&contact.local.ip());
            (leads_here && is_near(entry, contact, rules.by_address, rules.early)).then_some(&entry.hit)
        };
        let matched = |hit| Match { hit, basis: Basis::Address };
        let own = self.by_client.get(&contact.client).into_iter().flatten().filter_map(fits);
        if let Some(hit) = own.max_by_key(|hit| hit.time) {
            return Some(matched(hit));
        }
        let mut others = self.by_agency.get(agency?).into_iter().flatten().filter_map(fits);
        let hit = others.next()?;
        others.all(|other| other.name == hit.name).then(|| matched(hit))
    }
}

/// Notes that a name was asked for last.
fn push<K: Hash + Eq>(lasts: &mut HashMap<K, Last>, key: K, name: &Arc<str>, client: IpAddr) {
    let last = lasts.entry(key).or_default();
    match last.iter().position(|(known, _)| known == name) {
        Some(at) => {
            last.remove(at);
        }
        None if last.len() >= LAST => {
            last.pop_front();
        }
        None => {}
    }
    last.push_back((Arc::clone(name), client));
}

fn is_near(entry: &Entry, contact: &Contact, late: i64, early: i64) -> bool {
    let after_last = contact.time.saturating_sub(entry.hit.time);
    let before_first = entry.since.saturating_sub(contact.time);
    after_last <= late && before_first <= early
}

/// How an agency is seen, over some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// Its id.
    pub agency: Arc<str>,
    /// Its hits …
    pub hits: u64,
    /// … and from how many addresses.
    pub hit_clients: u64,
    /// Its contacts …
    pub contacts: u64,
    /// … and from how many addresses.
    pub contact_clients: u64,
}

impl Sight {
    /// What to do about an agency that is blind: that has hits, and none of its machines ever comes to the sinkhole.
    /// `None` for one that is not.
    pub fn advice(&self) -> Option<Advice> {
        match self.hit_clients {
            _ if self.hits == 0 || self.contacts > 0 => None,
            0..=FORWARDERS => Some(Advice::Forwarder),
            _ => Some(Advice::Route),
        }
    }
}

/// Addresses of as many resolvers of its own an agency may have.
const FORWARDERS: u64 = 2;

/// What helps against blindness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// All hits come from one or two addresses: most likely its own resolvers or its NAT stand between.
    Forwarder,
    /// Its machines ask by themselves, and do not reach the sinkhole.
    Route,
}

impl Advice {
    /// Its word in listings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Forwarder => "forwarder",
            Self::Route => "route",
        }
    }
}

/// How each agency is seen that has hits or contacts: the blind ones first, those with more hits before others.
pub fn sights(
    hits: &[ClientCount],
    contacts: &[ClientCount],
    agency_of: impl Fn(IpAddr) -> Option<Arc<str>>,
) -> Vec<Sight> {
    let mut sights: HashMap<Arc<str>, Sight> = HashMap::new();
    let mut each = |counts: &[ClientCount], add: fn(&mut Sight, u64)| {
        for count in counts {
            let Some(agency) = agency_of(count.client) else { continue };
            let empty = Sight {
                agency: Arc::clone(&agency),
                hits: 0,
                hit_clients: 0,
                contacts: 0,
                contact_clients: 0,
            };
            add(sights.entry(agency).or_insert(empty), count.count);
        }
    };
    each(hits, |sight, count| {
        sight.hits += count;
        sight.hit_clients += 1;
    });
    each(contacts, |sight, count| {
        sight.contacts += count;
        sight.contact_clients += 1;
    });
    let mut sights: Vec<Sight> = sights.into_values().collect();
    sights.sort_by(|a, b| {
        let order = |sight: &Sight| (sight.advice().is_none(), std::cmp::Reverse(sight.hits));
        order(a).cmp(&order(b)).then_with(|| a.agency.cmp(&b.agency))
    });
    sights
}

#[cfg(test)]
mod tests {
    use super::super::Via;
    use super::super::tests::contact as sample;
    use super::*;

    const SECOND: i64 = 1_000_000;
    const MINUTE: i64 = 60 * SECOND;
    const SINKHOLE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 10, 10, 10));

    fn hit(minute: i64, client: &str, agency: &str, name: &str) -> Hit {
        Hit {
            time: minute * MINUTE,
            client: client.parse().unwrap(),
            agency: (!agency.is_empty()).then(|| agency.into()),
            name: name.into(),
            addresses: [SINKHOLE].into(),
            family: Some("emotet".into()),
            feed: Some("authority".into()),
        }
    }

    fn contact(minute: i64, client: &str, name: &str) -> Contact {
        Contact {
            time: minute * MINUTE + SECOND,
            client: client.parse().unwrap(),
            via: if name.is_empty() { Via::Tcp } else { Via::Http },
            name: (!name.is_empty()).then(|| name.to_owned()),
            ..sample("")
        }
    }

    /// Of which hit (its client and name) a contact is.
    #[track_caller]
    fn check(hits: &[Hit], contact: &Contact, agency: &str, expected: Option<(&str, &str, Basis)>) {
        let mut recent = Recent::new(Rules::default());
        for hit in hits {
            recent.add(hit.clone());
        }
        let agency = (!agency.is_empty()).then_some(agency);
        let found = recent.hit_of(contact, agency);
        let found =
            found.map(|found| (found.hit.client.to_string(), found.hit.name.to_string(), found.basis));
        assert_eq!(
            found.as_ref().map(|(client, name, basis)| (client.as_str(), name.as_str(), *basis)),
            expected
        );
    }

    #[test]
    fn a_name_joins_them() {
        let own = [hit(0, "10.1.0.5", "a", "evil.example")];
        let other = hit(0, "10.1.0.6", "a", "evil.example");
        let found = Some(("10.1.0.5", "evil.example", Basis::Name));
        check(&[own[0].clone(), other], &contact(0, "10.1.0.5", "evil.example"), "a", found);
        check(&own, &contact(0, "10.1.0.5", "good.example"), "a", None);
        check(&own, &contact(59, "10.1.0.5", "evil.example"), "a", found);
        check(&own, &contact(60, "10.1.0.5", "evil.example"), "a", None);
        // A clock that is a little behind.
        check(&own, &contact(-1, "10.1.0.5", "evil.example"), "a", found);
        check(&own, &contact(-3, "10.1.0.5", "evil.example"), "a", None);
    }

    #[test]
    fn behind_an_agencys_own_resolver_the_contact_names_the_machine() {
        let hits = [hit(0, "10.2.0.53", "b", "evil.example"), hit(0, "10.1.0.53", "a", "evil.example")];
        let behind = contact(0, "10.2.7.7", "evil.example");
        check(&hits, &behind, "b", Some(("10.2.0.53", "evil.example", Basis::Name)));
        let mut recent = Recent::new(Rules::default());
        recent.add(hits[0].clone());
        assert!(recent.hit_of(&behind, Some("b")).unwrap().is_behind(&behind));
        // Another agency's hit says nothing of this machine, nor of one that is nobody's.
        check(&hits[..1], &contact(0, "10.3.7.7", "evil.example"), "c", None);
        check(&[hit(0, "10.9.0.1", "", "evil.example")], &contact(0, "10.9.0.2", "evil.example"), "", None);
    }

    #[test]
    fn what_names_nothing_is_joined_by_address_and_time() {
        let hits = [hit(0, "10.1.0.5", "a", "one.example"), hit(1, "10.1.0.5", "a", "two.example")];
        let newest = Some(("10.1.0.5", "two.example", Basis::Address));
        check(&hits, &contact(1, "10.1.0.5", ""), "a", newest);
        check(&hits, &contact(1, "10.1.0.5", "10.10.10.10"), "a", newest);
        check(&hits, &contact(7, "10.1.0.5", ""), "a", None);
        let elsewhere = Contact { local: "10.10.10.99:25".parse().unwrap(), ..contact(1, "10.1.0.5", "") };
        check(&hits, &elsewhere, "a", None);
        // Through a resolver only where there is no doubt.
        check(&hits, &contact(1, "10.1.9.9", ""), "a", None);
        let one = Some(("10.1.0.5", "one.example", Basis::Address));
        check(&hits[..1], &contact(1, "10.1.9.9", ""), "a", one);
    }

    #[test]
    fn a_loop_of_hits_pushes_nothing_out() {
        let mut recent = Recent::new(Rules { most: 100, ..Rules::default() });
        recent.add(hit(0, "10.1.0.5", "a", "evil.example"));
        for _ in 0..10_000 {
            recent.add(hit(1, "10.1.0.6", "a", "loop.example"));
        }
        assert!(recent.hit_of(&contact(1, "10.1.0.5", "evil.example"), Some("a")).is_some());
        for n in 0..10_000 {
            recent.add(hit(2, "10.1.0.7", "a", &format!("n{n}.example")));
        }
        assert!(recent.young.entries.len() + recent.old.entries.len() <= 100);
        assert!(recent.hit_of(&contact(2, "10.1.0.7", "n9999.example"), Some("a")).is_some());
    }

    #[test]
    fn agencies_with_hits_and_without_contacts_are_blind() {
        let count = |client: &str, count| ClientCount { client: client.parse().unwrap(), count };
        let hits = [
            count("10.1.0.53", 90),
            count("10.2.0.1", 5),
            count("10.2.0.2", 1),
            count("10.2.0.3", 1),
            count("10.3.0.1", 4),
            count("192.0.2.1", 4),
        ];
        let contacts = [count("10.3.0.9", 2), count("10.4.0.9", 1)];
        let agency = |client: IpAddr| match client {
            IpAddr::V4(client) if client.octets()[0] == 10 => {
                Some(Arc::from(format!("a{}", client.octets()[1])))
            }
            _ => None,
        };
        let sights = sights(&hits, &contacts, agency);
        let got: Vec<_> = sights
            .iter()
            .map(|it| (&*it.agency, it.hits, it.hit_clients, it.contacts, it.advice()))
            .collect();
        assert_eq!(
            got,
            [
                ("a1", 90, 1, 0, Some(Advice::Forwarder)),
                ("a2", 7, 3, 0, Some(Advice::Route)),
                ("a3", 4, 1, 2, None),
                ("a4", 0, 0, 1, None),
            ]
        );
    }
}
