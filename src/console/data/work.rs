//! What staff work on, as far as a viewer may see it: cases side by side, contacts, how agencies do.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Data;
use super::look::{DAY, begin_of};
use crate::cases::board::{Group, Standing, Tally};
use crate::cases::{Case, CaseFile, CaseFilter, Desk, Subject, Ticket};
use crate::console::answer::Failure;
use crate::coverage::Coverage;
use crate::evidence::contacts::join::{self, Hit, Recent, Rules, Sight};
use crate::evidence::contacts::{ClientCount, Contact, ContactFilter};
use crate::evidence::store::{By, Count, Filter, Kind, Page, Watch};
use crate::identity::{Interval, Machine};

/// How long sums are kept, microseconds.
pub(in crate::console) const SHORT: i64 = 5_000_000;
/// … those over many days.
pub(in crate::console) const LONG: i64 = 60_000_000;
/// Contacts of others that are passed over to find an agency's: more are for the next page.
const MOST_PASSED: usize = 20_000;
/// Hits that contacts are joined to.
const MOST_HITS: usize = 20_000;
/// How long hits are looked for.
const PATIENCE: Duration = Duration::from_millis(400);

/// Ends a scan when its time is over.
pub(in crate::console) struct Until(Instant);

impl Until {
    /// In so long.
    pub(in crate::console) fn after(patience: Duration) -> Self {
        Self(Instant::now() + patience)
    }
}

impl Watch for Until {
    fn progress(&mut self, _: u64, _: u64) -> ControlFlow<()> {
        if Instant::now() < self.0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

/// A part of the contacts that somebody asked for.
#[derive(Debug, Default)]
pub(in crate::console) struct Contacts {
    /// Those, the newest first.
    pub(in crate::console) rows: Vec<Contact>,
    /// Behind which place there may be more.
    pub(in crate::console) after: Option<(i64, u64)>,
}

/// Contacts, and the hits that led to them.
#[derive(Debug, Default)]
pub(in crate::console) struct Joined {
    /// By the contacts' numbers.
    led: HashMap<u64, Led>,
    /// Whether hits were left out: a contact without one may have one.
    pub(in crate::console) is_partial: bool,
}

/// A contact's hit.
#[derive(Debug)]
pub(in crate::console) struct Led {
    /// The hit.
    pub(in crate::console) hit: Hit,
    /// Whether it came by another address: the contact tells which machine it was.
    pub(in crate::console) is_behind: bool,
}

impl Joined {
    /// The hit that led to a contact.
    pub(in crate::console) fn hit_of(&self, contact: &Contact) -> Option<&Led> {
        self.led.get(&contact.id)
    }
}

/// A machine as a case shows it.
#[derive(Debug, Default)]
pub(in crate::console) struct Known {
    /// What is known of it.
    pub(in crate::console) machine: Option<Machine>,
    /// Which addresses it had, the latest first.
    pub(in crate::console) addresses: Vec<Interval>,
}

/// How an agency is seen and does.
#[derive(Debug, Clone, Default)]
pub(in crate::console) struct Row {
    /// Its cases.
    pub(in crate::console) standing: Standing,
    /// Its hits.
    pub(in crate::console) hits: u64,
    /// Its contacts with the sinkhole.
    pub(in crate::console) contacts: u64,
    /// Machines that were seen asking; where nobody counted these yet, machines that sources know …
    pub(in crate::console) machines: u64,
    /// … of them those with endpoint protection …
    pub(in crate::console) protected: u64,
    /// … and those of which it is known that they have none.
    pub(in crate::console) unprotected: u64,
    /// Which machines are counted.
    pub(in crate::console) is_seen: bool,
}

impl Row {
    /// Whether it has hits, and none of its machines ever comes to the sinkhole.
    pub(in crate::console) fn is_blind(&self) -> bool {
        self.hits > 0 && self.contacts == 0
    }
}

impl Data<'_> {
    /// A case filter narrowed to what the viewer sees; `None` where that is nothing.
    fn narrowed_cases(&self, filter: &CaseFilter) -> Option<CaseFilter> {
        let agency = self.own_agency(filter.agency.as_deref())?;
        Some(CaseFilter { agency, ..filter.clone() })
    }

    /// The agency that is asked for and may be seen; `None` where the viewer may not see it, `Some(None)` for all.
    pub(super) fn own_agency(&self, asked: Option<&str>) -> Option<Option<String>> {
        match (self.viewer.agency(), asked) {
            (Some(own), Some(asked)) if own != asked => None,
            (Some(own), _) => Some(Some(own.to_owned())),
            (None, asked) => Some(asked.map(str::to_owned)),
        }
    }

    /// Keeps what `make` makes for a while; `key` is made the viewer's own.
    fn kept<T: std::any::Any + Send + Sync>(
        &self,
        key: &str,
        life: i64,
        make: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<Arc<T>, Failure> {
        let key = format!("{:?} {key}", self.viewer.scope);
        match self.house.works() {
            Some(works) => works.kept().get(&key, life, self.now, make),
            None => make().map(Arc::new),
        }
    }

    /// How many cases are how far.
    pub(in crate::console) fn tally(&self, filter: &CaseFilter) -> Result<Tally, Failure> {
        let Some(filter) = self.narrowed_cases(filter) else { return Ok(Tally::default()) };
        let key = format!("tally {filter:?}");
        self.kept(&key, SHORT, || Ok(self.house.desk()?.tally(&filter, self.now)?)).map(|tally| *tally)
    }

    /// The most frequent families or officers of open cases.
    pub(in crate::console) fn frequent(&self, group: Group) -> Result<Arc<Vec<(String, u64)>>, Failure> {
        let own = self.viewer.agency();
        let key = format!("frequent {group:?}");
        self.kept(&key, LONG, || Ok(self.house.desk()?.frequent(group, own, 200)?))
    }

    /// One case with all that belongs to it; that its machine's history was looked at is recorded first.
    pub(in crate::console) fn case_looked_at(&self, ticket: Ticket) -> Result<CaseFile, Failure> {
        let file = self.case(ticket)?;
        self.looked(file.case.client, Some(file.case.course.first_hit), None)?;
        Ok(file)
    }

    /// Cases, those seen last first; that somebody asked for one machine's is recorded first.
    pub(in crate::console) fn cases_looked_at(&self, filter: &CaseFilter) -> Result<Vec<Case>, Failure> {
        let client = match filter.subject {
            Some(Subject::Address(address)) => Some(address),
            _ => filter.client,
        };
        if let Some(client) = client {
            self.looked(client, filter.since, filter.until)?;
        }
        self.cases(filter)
    }

    /// A case that the viewer may work on, and the desk to do that at.
    pub(in crate::console) fn case_to_work_on(&self, ticket: Ticket) -> Result<(Desk, Case), Failure> {
        let desk = self.house.desk()?;
        let case = desk.by_ticket(ticket)?.ok_or(Failure::Absent)?;
        if self.viewer.sees(case.agency.as_deref()) { Ok((desk, case)) } else { Err(Failure::Absent) }
    }

    /// The machine of a case.
    pub(in crate::console) fn machine_of(&self, case: &Case) -> Result<Known, Failure> {
        let Subject::Machine(id) = case.subject else { return Ok(Known::default()) };
        let book = self.house.book();
        let mut addresses = book.addresses(id)?;
        addresses.truncate(8);
        Ok(Known { machine: book.machine(id)?, addresses })
    }

    /// Contacts, the newest first, of an agency or of all; at most `most`. A question about one client is recorded first.
    pub(in crate::console) fn contacts(
        &self,
        filter: &ContactFilter,
        agency: Option<&str>,
        most: usize,
    ) -> Result<Contacts, Failure> {
        let Some(agency) = self.own_agency(agency) else { return Ok(Contacts::default()) };
        if let Some(client) = filter.client {
            self.looked(client, filter.since, filter.until)?;
        }
        let reader = match self.house.contacts() {
            Err(crate::evidence::contacts::ContactsError::Missing { .. }) => return Ok(Contacts::default()),
            reader => reader?,
        };
        let (mut found, mut passed) = (Contacts::default(), 0);
        reader.visit(filter, &mut |contact| {
            found.after = Some((contact.time, contact.id));
            let is_theirs = agency
                .as_deref()
                .is_none_or(|agency| self.house.agency_of(contact.client).is_some_and(|of| *of == *agency));
            if is_theirs {
                found.rows.push(contact);
            } else {
                passed += 1;
            }
            if found.rows.len() < most && passed < MOST_PASSED {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        if found.rows.len() < most && passed < MOST_PASSED {
            found.after = None;
        }
        Ok(found)
    }

    /// Joins these contacts to the hits of their time.
    pub(in crate::console) fn joined(&self, contacts: &[Contact]) -> Result<Joined, Failure> {
        let rules = Rules::default();
        let mut joined = Joined::default();
        let times = contacts.iter().map(|contact| contact.time);
        let (Some(first), Some(last)) = (times.clone().min(), times.max()) else { return Ok(joined) };
        let filter = Filter {
            since: Some(first.saturating_sub(rules.by_name)),
            until: Some(last.saturating_add(rules.early)),
            kind: Kind::Hits,
            agency: self.viewer.agency().map(str::to_owned),
            ..Filter::default()
        };
        let mut hits = Vec::new();
        let page = Page { limit: Some(MOST_HITS as u64), after: None };
        let log = self.house.log();
        let scan = log.newest_first(&filter, page, &mut Until::after(PATIENCE), &mut |record| {
            hits.extend(Hit::of(record));
            ControlFlow::Continue(())
        })?;
        joined.is_partial = scan.is_stopped || hits.len() >= MOST_HITS;
        // What is kept of hits is for a stream of contacts: each is asked about in its own time.
        let mut recent = Recent::new(rules);
        let mut hits = hits.into_iter().rev().peekable();
        let mut contacts: Vec<&Contact> = contacts.iter().collect();
        contacts.sort_by_key(|contact| contact.time);
        for contact in contacts {
            let until = contact.time.saturating_add(rules.early);
            while let Some(hit) = hits.next_if(|hit| hit.time <= until) {
                recent.add(hit);
            }
            let agency = self.house.agency_of(contact.client);
            if let Some(found) = recent.hit_of(contact, agency.as_deref()) {
                let led = Led { is_behind: found.is_behind(contact), hit: found.hit.clone() };
                joined.led.insert(contact.id, led);
            }
        }
        Ok(joined)
    }

    /// How agencies do, since a time: those that are configured, and what is of none. An officer sees the own one.
    pub(in crate::console) fn league(&self, since: i64) -> Result<Arc<Vec<Row>>, Failure> {
        let own = self.viewer.agency();
        // By the hour, so that what is kept is found again.
        let since = since.div_euclid(3_600_000_000) * 3_600_000_000;
        self.kept(&format!("league {since}"), LONG, || {
            let standings = self.house.desk()?.standings(own, since, self.now)?;
            let mut standings: HashMap<_, _> =
                standings.into_iter().filter_map(|it| Some((it.agency.clone()?, it))).collect();
            let filter = Filter { since: Some(since), kind: Kind::Hits, ..Filter::default() };
            let (hits, _) = self.count(&filter, By::Agency, &mut Until::after(PATIENCE))?;
            let hits: HashMap<String, u64> = hits.into_iter().map(|it| (it.value, it.count)).collect();
            let mut contacts: HashMap<Arc<str>, u64> = HashMap::new();
            for count in self.contact_counts(since)? {
                if let Some(agency) = self.house.agency_of(count.client) {
                    *contacts.entry(agency).or_default() += count.count;
                }
            }
            let ledger = self.house.coverage()?;
            let is_seen = ledger.counted_until()?.is_some();
            let machines = if is_seen {
                let counted = ledger.by_agency((since, self.now), own)?;
                counted.into_iter().filter_map(|(id, it)| Some((id?, it))).collect()
            } else {
                let known = self.house.book().census()?.into_iter();
                let of = |(machines, protected)| Coverage { machines, protected, ..Coverage::default() };
                known.map(|(id, it)| (id, of(it))).collect::<HashMap<_, _>>()
            };
            let agencies = self.house.agencies();
            let seen = agencies.iter().filter(|agency| self.viewer.sees(Some(&agency.id)));
            let row = |agency: &crate::console::house::Agency| {
                let id = &*agency.id;
                let Coverage { machines, protected, unprotected, .. } =
                    machines.get(id).copied().unwrap_or_default();
                let standing = standings.remove(id).unwrap_or_default();
                Row {
                    standing: Standing { agency: Some(id.to_owned()), ..standing },
                    hits: hits.get(id).copied().unwrap_or_default(),
                    contacts: contacts.get(id).copied().unwrap_or_default(),
                    machines,
                    protected,
                    unprotected,
                    is_seen,
                }
            };
            Ok(seen.map(row).collect())
        })
    }

    /// Hits of an agency on each day in Vietnam since a time, oldest first, by when it begins; none where they could not be counted
    /// soon enough.
    pub(in crate::console) fn hits_by_day(
        &self,
        agency: &str,
        since: i64,
    ) -> Result<Arc<Vec<(i64, u64)>>, Failure> {
        let since = begin_of(since, DAY);
        self.kept(&format!("hits by day {since} {agency}"), LONG, || {
            let agency = Some(agency.to_owned());
            let filter = Filter { since: Some(since), kind: Kind::Hits, agency, ..Filter::default() };
            let (counts, scan) = self.count(&filter, By::Day, &mut Until::after(PATIENCE))?;
            // Half of them would be a wrong picture.
            if scan.is_stopped || counts.is_empty() {
                return Ok(Vec::new());
            }
            let time =
                |count: &Count| count.value.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_microsecond);
            let counts: HashMap<i64, u64> =
                counts.iter().filter_map(|count| Some((time(count).ok()?, count.count))).collect();
            let days = (since..=self.now).step_by(DAY as usize);
            Ok(days.map(|day| (day, counts.get(&day).copied().unwrap_or_default())).collect())
        })
    }

    fn contact_counts(&self, since: i64) -> Result<Vec<ClientCount>, Failure> {
        match self.house.contacts() {
            Err(crate::evidence::contacts::ContactsError::Missing { .. }) => Ok(Vec::new()),
            reader => Ok(reader?.by_client(since)?),
        }
    }

    /// How an agency is seen through contacts since a time; `None` where it has neither hits nor contacts.
    pub(in crate::console) fn sight(&self, agency: &str, since: i64) -> Result<Option<Sight>, Failure> {
        if !self.viewer.sees(Some(agency)) {
            return Ok(None);
        }
        let since = since.div_euclid(3_600_000_000) * 3_600_000_000;
        let sight = self.kept(&format!("sight {since} {agency}"), LONG, || {
            let filter = Filter {
                since: Some(since),
                kind: Kind::Hits,
                agency: Some(agency.to_owned()),
                ..Filter::default()
            };
            let (hits, _) = self.count(&filter, By::Client, &mut Until::after(PATIENCE))?;
            let hits: Vec<ClientCount> = hits
                .into_iter()
                .filter_map(|it| Some(ClientCount { client: it.value.parse().ok()?, count: it.count }))
                .collect();
            let of = |client: IpAddr| self.house.agency_of(client).filter(|of| **of == *agency);
            Ok(join::sights(&hits, &self.contact_counts(since)?, of).into_iter().next())
        })?;
        Ok((*sight).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::access::Role;
    use super::super::super::tests::{AGENCIES, NOW, Scratch, officer, viewer};
    use super::*;
    use crate::evidence::contacts::Via;

    const MONTH: i64 = 30 * 86_400_000_000;
    const HOUR: i64 = 3_600_000_000;

    #[test]
    fn each_contact_of_a_day_finds_its_own_hit() {
        let scratch = Scratch::new();
        let contact = |hours: i64, name: &str| Contact {
            id: 0,
            time: NOW - hours * HOUR,
            client: Scratch::client(0),
            source_port: 50_000,
            local: "10.10.10.10:80".parse().unwrap(),
            via: Via::Http,
            name: Some(name.to_owned()),
            path: None,
            agent: None,
            ja4: None,
            first: Vec::new(),
            count: 1,
        };
        // There is a hit each second hour.
        let name = "c2.dautichxanh.example";
        let mut rows: Vec<Contact> = (0..10).step_by(2).map(|hours| contact(hours, name)).collect();
        rows.push(contact(3, "other.example"));
        for (id, row) in (1..).zip(&mut rows) {
            row.id = id;
        }
        let call = scratch.call(Some(officer(0)), "/", &[]);
        let joined = call.data().unwrap().joined(&rows).unwrap();
        let times: Vec<Option<i64>> =
            rows.iter().map(|row| joined.hit_of(row).map(|led| row.time - led.hit.time)).collect();
        assert_eq!(times, [Some(1_000_000); 5].into_iter().chain([None]).collect::<Vec<_>>());
    }

    #[test]
    fn days_are_those_of_vietnam_and_none_is_left_out() {
        let scratch = Scratch::new();
        let call = scratch.call(Some(officer(0)), "/", &[]);
        let days = call.data().unwrap().hits_by_day(AGENCIES[0], NOW - MONTH).unwrap();
        // It is 14:00 there, and the hits came since 06:00, which is a day earlier in UTC.
        let today = NOW - 14 * HOUR;
        let expected: Vec<(i64, u64)> =
            (0..=30).rev().map(|back| (today - back * 24 * HOUR, if back == 0 { 5 } else { 0 })).collect();
        assert_eq!(*days, expected);
        let empty = Scratch::empty();
        let call = empty.call(Some(officer(0)), "/", &[]);
        assert_eq!(*call.data().unwrap().hits_by_day(AGENCIES[0], NOW - MONTH).unwrap(), []);
    }

    #[test]
    fn an_officer_works_on_and_sees_the_own_agency_alone() {
        let scratch = Scratch::new();
        for (number, agency) in AGENCIES.into_iter().enumerate() {
            let other = AGENCIES[1 - number];
            let call = scratch.call(Some(officer(number)), "/", &[]);
            let data = call.data().unwrap();
            let all = CaseFilter::default();
            assert_eq!(data.tally(&all).unwrap().open(), 1);
            let of_other = CaseFilter { agency: Some(other.to_owned()), ..all };
            assert_eq!(data.tally(&of_other).unwrap(), Tally::default());
            let families = data.frequent(Group::Family).unwrap();
            assert_eq!(families.len(), 1);

            let own = scratch.ticket(number).parse().unwrap();
            let others = scratch.ticket(1 - number).parse().unwrap();
            assert!(data.case_to_work_on(own).is_ok());
            assert!(matches!(data.case_to_work_on(others), Err(Failure::Absent)));
            assert!(matches!(data.case_looked_at(others), Err(Failure::Absent)));

            let contacts = data.contacts(&ContactFilter::default(), None, 10).unwrap();
            assert_eq!(contacts.rows.len(), 1);
            assert_eq!(contacts.rows[0].client, Scratch::client(number));
            assert!(data.contacts(&ContactFilter::default(), Some(other), 10).unwrap().rows.is_empty());
            let of_others = ContactFilter { client: Some(Scratch::client(1 - number)), ..Default::default() };
            assert!(data.contacts(&of_others, None, 10).unwrap().rows.is_empty());
            let joined = data.joined(&contacts.rows).unwrap();
            let led = joined.hit_of(&contacts.rows[0]).unwrap();
            assert_eq!(led.hit.agency.as_deref(), Some(agency));

            let league = data.league(NOW - MONTH).unwrap();
            assert_eq!(league.len(), 1);
            assert_eq!(league[0].standing.agency.as_deref(), Some(agency));
            assert_eq!((league[0].hits, league[0].standing.open, league[0].machines), (5, 1, 1));
            assert!(!league[0].is_blind());
            assert!(data.sight(agency, NOW - MONTH).unwrap().is_some());
            assert_eq!(data.sight(other, NOW - MONTH).unwrap(), None);
        }
        let call = scratch.call(Some(viewer(Role::Reader)), "/", &[]);
        let data = call.data().unwrap();
        assert_eq!(data.league(NOW - MONTH).unwrap().len(), 2);
        let first = data.contacts(&ContactFilter::default(), None, 1).unwrap();
        let rest = ContactFilter { after: first.after, ..ContactFilter::default() };
        let rest = data.contacts(&rest, None, 10).unwrap();
        assert_eq!((first.rows.len(), rest.rows.len(), rest.after), (1, 1, None));
        assert_ne!(first.rows[0].client, rest.rows[0].client);
        assert_eq!(data.contacts(&ContactFilter::default(), Some(AGENCIES[1]), 10).unwrap().rows.len(), 1);
    }
}
