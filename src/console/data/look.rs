//! What is looked at: rates and counts of queries, machines and where they were, finds of later lists, doubts.
//!
//! Sums are kept for some seconds, by whose they are: many look at the same page.

use std::any::Any;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Data;
use crate::cases::{Case, CaseFilter, Subject};
use crate::console::answer::Failure;
use crate::console::tongue::vietnam;
use crate::evidence::contacts::{Contact, ContactFilter, ContactsError};
use crate::evidence::record::Record;
use crate::evidence::store::whereabouts::Whereabouts;
use crate::evidence::store::{By, Count, Filter, Gap, Kind, Page, Watch};
use crate::identity::search::{Found, Search};
use crate::identity::{Hints, Interval, Machine, MachineId, Who};

/// Microseconds.
pub(in crate::console) const SECOND: i64 = 1_000_000;
pub(in crate::console) const MINUTE: i64 = 60 * SECOND;
pub(in crate::console) const HOUR: i64 = 60 * MINUTE;
pub(in crate::console) const DAY: i64 = 24 * HOUR;
/// How long counts of hours and days are kept.
const COUNTS: i64 = 30 * SECOND;
/// Minutes that rates are shown of.
const MINUTES: i64 = 15;
/// Addresses of a machine that are looked at.
const MOST_SPANS: usize = 40;
/// Hits of a machine that are counted.
pub(in crate::console) const MOST_HITS: usize = 5000;

/// Ends a scan when its time is over.
pub(in crate::console) struct Deadline(Instant);

impl Deadline {
    /// In so long.
    pub(in crate::console) fn after(patience: Duration) -> Self {
        Self(Instant::now() + patience)
    }
}

impl Watch for Deadline {
    fn progress(&mut self, _: u64, _: u64) -> ControlFlow<()> {
        if Instant::now() < self.0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

/// How many queries come.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::console) struct Rates {
    /// Queries a second, over the last minute.
    pub(in crate::console) queries: f64,
    /// Hits a minute, likewise.
    pub(in crate::console) hits: f64,
    /// Queries of the last minutes that are over, the oldest first.
    pub(in crate::console) minutes: Vec<u64>,
    /// … and hits.
    pub(in crate::console) hit_minutes: Vec<u64>,
}

/// A machine or an address, with what a viewer may see of it.
#[derive(Debug, Clone)]
pub(in crate::console) struct Seen {
    /// Whose it is.
    pub(in crate::console) subject: Subject,
    /// The machine, where sources know it.
    pub(in crate::console) machine: Option<Machine>,
    /// Where several may be it.
    pub(in crate::console) others: Vec<Machine>,
    /// When it had which address; of an address, who had it. The latest first.
    pub(in crate::console) intervals: Vec<Interval>,
    /// Its agency.
    pub(in crate::console) agency: Option<String>,
}

impl Seen {
    /// The addresses that it had, each with its times; the latest first.
    pub(in crate::console) fn spans(&self) -> Vec<(IpAddr, i64, i64)> {
        match self.subject {
            Subject::Address(address) => vec![(address, i64::MIN, i64::MAX)],
            Subject::Machine(_) => {
                let spans = self.intervals.iter().take(MOST_SPANS);
                spans.map(|it| (it.address, it.from, it.to.unwrap_or(i64::MAX))).collect()
            }
        }
    }
}

/// What a machine hit.
#[derive(Debug, Clone, Default)]
pub(in crate::console) struct Hits {
    /// The last of them.
    pub(in crate::console) last: Vec<Record<'static>>,
    /// How many, by family, the most first.
    pub(in crate::console) families: Vec<(String, u64)>,
    /// … and by the day in Vietnam, without days that have none.
    pub(in crate::console) days: BTreeMap<i64, u64>,
    /// How many in all.
    pub(in crate::console) count: u64,
    /// Whether there may be more.
    pub(in crate::console) is_partial: bool,
}

/// When the span of this length begins that has a time in it, as Vietnam's clocks have it.
pub(super) fn begin_of(time: i64, step: i64) -> i64 {
    (time + 7 * HOUR).div_euclid(step) * step - 7 * HOUR
}

/// Counts by the hour, added up to days in Vietnam. Values stay times (RFC 3339) that tell when a day begins.
pub(super) fn days_of(hours: &[Count]) -> Vec<Count> {
    let mut days = BTreeMap::<i64, u64>::new();
    for hour in hours {
        let Ok(time) = hour.value.parse::<jiff::Timestamp>() else { continue };
        *days.entry(begin_of(time.as_microsecond(), DAY)).or_default() += hour.count;
    }
    let count = |(begin, count)| {
        let begin = jiff::Timestamp::from_microsecond(begin).ok()?.to_zoned_datetime(vietnam());
        Some(Count { value: begin.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(), count })
    };
    days.into_iter().filter_map(count).collect()
}

impl Data<'_> {
    /// What was worked out a moment ago; `key` is made the viewer's own.
    pub(in crate::console) fn held<T: Any + Send + Sync>(
        &self,
        key: &str,
        life: i64,
        make: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<Arc<T>, Failure> {
        let key = format!("look {:?} {key}", self.viewer.scope);
        match self.house.works() {
            Some(works) => works.kept().get(&key, life, self.now, make),
            None => make().map(Arc::new),
        }
    }

    /// Counts, kept for a while.
    pub(in crate::console) fn counted(&self, filter: &Filter, by: By) -> Result<Arc<Vec<Count>>, Failure> {
        self.held(&format!("count {by:?} {filter:?}"), COUNTS, || {
            let mut deadline = Deadline::after(Duration::from_secs(2));
            Ok(self.count(filter, by, &mut deadline)?.0)
        })
    }

    /// Counts of queries and of the hits among them, by hours, days or minutes: time, queries, hits. Spans without any are there too.
    pub(in crate::console) fn course(
        &self,
        filter: &Filter,
        by: By,
        since: i64,
        until: i64,
    ) -> Result<Vec<(i64, u64, u64)>, Failure> {
        let step = match by {
            By::Minute => MINUTE,
            By::Hour => HOUR,
            _ => DAY,
        };
        // Days begin in Vietnam, hours and minutes anywhere.
        let begin = |time: i64| begin_of(time, step);
        let filter = Filter { since: Some(begin(since)), until: None, ..filter.clone() };
        let of = |kind| -> Result<BTreeMap<i64, u64>, Failure> {
            let counts = self.counted(&Filter { kind, ..filter.clone() }, by)?;
            let mut sums = BTreeMap::new();
            for count in counts.iter() {
                if let Ok(time) = count.value.parse::<jiff::Timestamp>() {
                    *sums.entry(begin(time.as_microsecond())).or_insert(0) += count.count;
                }
            }
            Ok(sums)
        };
        let hits = of(Kind::Hits)?;
        let all = if filter.kind == Kind::Hits { BTreeMap::new() } else { of(Kind::All)? };
        let mut course = Vec::new();
        let mut time = begin(since);
        while time < until && course.len() < 1000 {
            let hits = hits.get(&time).copied().unwrap_or_default();
            course.push((time, all.get(&time).copied().unwrap_or(hits), hits));
            time += step;
        }
        Ok(course)
    }

    /// How many queries come just now.
    pub(in crate::console) fn rates(&self) -> Result<Arc<Rates>, Failure> {
        let minute = self.now.div_euclid(MINUTE) * MINUTE;
        self.held("rates", 2 * SECOND, || {
            let of = |kind| -> Result<Vec<u64>, Failure> {
                let filter = Filter { since: Some(minute - MINUTES * MINUTE), kind, ..Filter::default() };
                let mut minutes = vec![0; MINUTES as usize + 1];
                for count in self.count(&filter, By::Minute, &mut Deadline::after(Duration::from_secs(1)))?.0
                {
                    let Ok(time) = count.value.parse::<jiff::Timestamp>() else { continue };
                    let place = (time.as_microsecond() - minute) / MINUTE + MINUTES;
                    if let Some(sum) = usize::try_from(place).ok().and_then(|place| minutes.get_mut(place)) {
                        *sum += count.count;
                    }
                }
                Ok(minutes)
            };
            // A window that slides: what of the minute before belongs to the last sixty seconds, and this one so far.
            let rate = |minutes: &mut Vec<u64>| {
                let current = minutes.pop().unwrap_or_default() as f64;
                let before = minutes.last().copied().unwrap_or_default() as f64;
                let gone = (self.now - minute) as f64 / MINUTE as f64;
                current + before * (1.0 - gone)
            };
            let (mut minutes, mut hit_minutes) = (of(Kind::All)?, of(Kind::Hits)?);
            let (queries, hits) = (rate(&mut minutes) / 60.0, rate(&mut hit_minutes));
            Ok(Rates { queries, hits, minutes, hit_minutes })
        })
    }

    /// Hits that later lists found.
    pub(in crate::console) fn finds(&self, since: i64, most: usize) -> Result<Vec<Record<'static>>, Failure> {
        let mut finds = Vec::new();
        self.house.log().finds(self.viewer.agency(), since, most, &mut |record| {
            finds.push(record.clone().into_owned());
        })?;
        Ok(finds)
    }

    /// When the log has gaps; only who sees the province is told.
    pub(in crate::console) fn gaps(&self, since: i64) -> Result<Vec<Gap>, Failure> {
        if self.viewer.agency().is_some() {
            return Ok(Vec::new());
        }
        Ok(self.house.log().gaps(Some(since), None)?)
    }

    /// Open cases that somebody at the machine says are wrong.
    pub(in crate::console) fn doubted(&self, most: u32) -> Result<Arc<Vec<Case>>, Failure> {
        self.held(&format!("doubted {most}"), 10 * SECOND, || {
            Ok(self.house.desk()?.doubted(self.viewer.agency(), most)?)
        })
    }

    /// Machines by what they are called.
    pub(in crate::console) fn machines(
        &self,
        agency: Option<&str>,
        text: Option<&str>,
        after: Option<(i64, MachineId)>,
        most: usize,
    ) -> Result<Vec<Found>, Failure> {
        let own = self.viewer.agency();
        if own.is_some() && agency.is_some() && own != agency {
            return Ok(Vec::new());
        }
        Ok(self.house.book().search(&Search { agency: own.or(agency), text, after, most })?)
    }

    /// How many machines sources know.
    pub(in crate::console) fn machine_count(&self) -> Result<u64, Failure> {
        let count =
            self.held("machine count", COUNTS, || Ok(self.house.book().count(self.viewer.agency())?))?;
        Ok(*count)
    }

    /// A machine or an address, if the viewer may see it. That its history was looked at is recorded first.
    pub(in crate::console) fn seen(&self, subject: Subject) -> Result<Seen, Failure> {
        let seen = self.whose(subject)?;
        let spans = seen.spans();
        let mut addresses: Vec<IpAddr> = spans.iter().map(|(address, ..)| *address).collect();
        addresses.sort_unstable();
        addresses.dedup();
        for address in addresses {
            self.looked(address, None, None)?;
        }
        Ok(seen)
    }

    fn whose(&self, subject: Subject) -> Result<Seen, Failure> {
        let book = self.house.book();
        let own = self.viewer.agency();
        // Where it was in other agencies is theirs to know.
        let is_seen = |it: &Interval| own.is_none() || self.house.agency_of(it.address).as_deref() == own;
        match subject {
            Subject::Machine(id) => {
                let machine = book.machine(id)?.ok_or(Failure::Absent)?;
                let agency = machine.agency.clone();
                if !self.viewer.sees(agency.as_deref()) {
                    return Err(Failure::Absent);
                }
                let mut intervals = book.addresses(machine.id)?;
                intervals.retain(is_seen);
                let subject = Subject::Machine(machine.id);
                Ok(Seen { subject, machine: Some(machine), others: Vec::new(), intervals, agency })
            }
            Subject::Address(address) => {
                let agency = self.house.agency_of(address);
                if !self.viewer.sees(agency.as_deref()) {
                    return Err(Failure::Absent);
                }
                let hints = Hints { agency: agency.as_deref(), ..Hints::default() };
                let (machine, mut others) = match book.who(address, self.now, &hints)? {
                    Who::Machine(machine) => (Some(machine), Vec::new()),
                    Who::Conflict(machines) => (None, machines),
                    Who::Unknown => (None, Vec::new()),
                };
                let is_own = |machine: &Machine| self.viewer.sees(machine.agency.as_deref());
                let machine = machine.filter(is_own);
                others.retain(is_own);
                let intervals = book.holders(address)?;
                let agency = agency.map(|agency| agency.as_ref().to_owned());
                Ok(Seen { subject, machine, others, intervals, agency })
            }
        }
    }

    /// The same, where the look is recorded by what is asked next.
    pub(in crate::console) fn seen_quietly(&self, subject: Subject) -> Result<Seen, Failure> {
        self.whose(subject)
    }

    /// Who had an address at a time, as far as one machine is known and may be seen.
    pub(in crate::console) fn host(&self, address: IpAddr, at: i64) -> Result<Option<Machine>, Failure> {
        match self.house.book().who(address, at, &Hints::default())? {
            Who::Machine(machine) if self.viewer.sees(machine.agency.as_deref()) => Ok(Some(machine)),
            _ => Ok(None),
        }
    }

    /// Where a machine was, for the log.
    pub(in crate::console) fn whereabouts(&self, seen: &Seen) -> Whereabouts {
        let macs = seen.machine.as_ref().map(|machine| machine.macs.clone()).unwrap_or_default();
        Whereabouts { spans: seen.spans(), macs }
    }

    /// What a machine hit since a time: by the addresses that it had, each through the index of clients. Behind an agency's own server
    /// it is found where a trusted forwarder told which it was.
    pub(in crate::console) fn hits_of(&self, seen: &Seen, since: i64) -> Result<Hits, Failure> {
        let log = self.house.log();
        let machine = Arc::new(self.whereabouts(seen));
        let agency = self.viewer.agency().map(str::to_owned);
        let mut deadline = Deadline::after(Duration::from_millis(400));
        let mut records: Vec<Record<'static>> = Vec::new();
        let mut is_partial = false;
        let mut clients: Vec<(IpAddr, i64, i64)> = seen.spans();
        // Its agency's own servers may have asked for it.
        if matches!(seen.subject, Subject::Machine(_))
            && let Some(of) = self.house.agencies().iter().find(|it| seen.agency.as_deref() == Some(&*it.id))
        {
            let single = of.forwarders.iter().filter(|net| net.prefix_len() == net.max_prefix_len());
            clients.extend(single.take(4).map(|net| (net.addr(), i64::MIN, i64::MAX)));
        }
        for (client, from, to) in clients {
            if to <= since {
                continue;
            }
            let is_address = matches!(seen.subject, Subject::Address(_));
            let filter = Filter {
                client: Some(client),
                agency: agency.clone(),
                since: Some(from.max(since)),
                until: (to != i64::MAX).then_some(to),
                kind: Kind::Hits,
                machine: (!is_address).then(|| Arc::clone(&machine)),
                ..Filter::default()
            };
            let page = Page { limit: Some(MOST_HITS as u64), after: None };
            let mut count = 0;
            let scan = log.newest_first(&filter, page, &mut deadline, &mut |record| {
                records.push(record.clone().into_owned());
                count += 1;
                ControlFlow::Continue(())
            })?;
            is_partial |= scan.is_stopped || count >= MOST_HITS;
            if records.len() > 4 * MOST_HITS {
                is_partial = true;
                break;
            }
        }
        records.sort_by_key(|record| std::cmp::Reverse(record.time));
        records.dedup();
        let mut families = BTreeMap::<String, u64>::new();
        let mut hits = Hits { is_partial, count: records.len() as u64, ..Hits::default() };
        for record in &records {
            *families.entry(record.family.as_deref().unwrap_or("").to_owned()).or_default() += 1;
            *hits.days.entry(begin_of(record.time, DAY)).or_default() += 1;
        }
        hits.families = families.into_iter().collect();
        hits.families.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        records.truncate(20);
        hits.last = records;
        Ok(hits)
    }

    /// The contacts of a machine with the sinkhole since a time, the last first.
    pub(in crate::console) fn contacts_of(
        &self,
        seen: &Seen,
        since: i64,
        most: usize,
    ) -> Result<Vec<Contact>, Failure> {
        let reader = match self.house.contacts() {
            Err(ContactsError::Missing { .. }) => return Ok(Vec::new()),
            reader => reader?,
        };
        let mut found = Vec::new();
        for (client, from, to) in seen.spans() {
            if to <= since || !self.viewer.sees(self.house.agency_of(client).as_deref()) {
                continue;
            }
            found.extend(reader.find(&ContactFilter {
                client: Some(client),
                since: Some(from.max(since)),
                until: (to != i64::MAX).then_some(to),
                limit: Some(most as u64),
                ..ContactFilter::default()
            })?);
        }
        found.sort_by_key(|contact| std::cmp::Reverse(contact.time));
        found.truncate(most);
        Ok(found)
    }

    /// The cases of a machine or address.
    pub(in crate::console) fn cases_of(&self, seen: &Seen) -> Result<Vec<Case>, Failure> {
        let filter = CaseFilter { subject: Some(seen.subject), limit: Some(100), ..CaseFilter::default() };
        self.cases(&filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_of_any_zone_become_days_of_vietnam() {
        let hour = |value: &str, count| Count { value: value.to_owned(), count };
        let hours = [
            hour("2026-11-25T16:00:00+00:00", 1),
            hour("2026-11-25T17:00:00+00:00", 2),
            hour("2026-11-26T11:00:00-05:00", 4),
            hour("2026-11-27T02:00:00+09:00", 8),
        ];
        let expected = [
            hour("2026-11-25T00:00:00+07:00", 1),
            hour("2026-11-26T00:00:00+07:00", 6),
            hour("2026-11-27T00:00:00+07:00", 8),
        ];
        assert_eq!(days_of(&hours), expected);
    }
}
