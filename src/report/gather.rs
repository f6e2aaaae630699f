//! Asks the log, the case desk and the book of machines for everything that is counted.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::PathBuf;

use super::figures::{Day, Figures, Lacks};
use super::people::{Found, People, Person};
use super::tally::{self, Agencies, Facts, OneDay, Place, Trouble};
use super::{Period, ReportError, Scope, Sources};
use crate::cases::Subject;
use crate::cases::history::{History, Seen};
use crate::evidence::export::qname_text;
use crate::evidence::record::{Record, Trigger};
use crate::evidence::store::{Asked, By, Filter, Kind, Page, Scan, Watch, Why};
use crate::identity::BookError;

/// Machines that are told apart: addresses may be forged.
const MOST_PEOPLE: usize = 4 << 20;
/// Names, and families, that are counted, each agency's for itself.
const MOST_NAMES: usize = 1 << 20;
const MOST_FAMILIES: usize = 1 << 16;

/// Gathers the figures of a period.
///
/// # Errors
/// [`ReportError`]: the period has not begun, one of the sources cannot be read, or `watch` had it stopped.
pub fn gather(
    sources: &Sources<'_>,
    period: Period,
    scope: &Scope,
    watch: &mut dyn Watch,
) -> Result<Figures, ReportError> {
    let agency = match scope {
        Scope::All => None,
        Scope::Agency(id) => Some(id.as_str()),
    };
    let (since, until) = (period.since(), period.until());
    if sources.now < since {
        return Err(ReportError::NotBegun(period.first()));
    }
    let configured = sources.agencies.iter().map(|it| (&*it.id, &*it.name));
    let mut agencies = Agencies::new(configured.filter(|(id, _)| agency.is_none_or(|only| only == *id)));
    if agency.is_some() {
        // Also where it is not configured any more.
        agencies.place(agency);
    }
    let mut gathering = Gathering {
        sources,
        filter: Filter {
            since: Some(since),
            until: Some(until),
            agency: agency.map(str::to_owned),
            ..Filter::default()
        },
        agencies,
        people: People::new(sources.book),
        troubles: Troubles::default(),
        lacks: Lacks::default(),
    };
    let days = gathering.days(period, watch)?;
    let people = gathering.machines(period, &days, watch)?;
    let histories = sources.desk.map_or(Ok(Vec::new()), |desk| desk.histories(since, until, agency))?;
    let hits = gathering.hits(&histories, watch)?;
    let gaps = sources.store.gaps(Some(since), Some(until))?;
    let Gathering { agencies, troubles, lacks, .. } = gathering;
    let counted: u64 = days.iter().map(|(day, _)| day.hits).sum();
    let lost = gaps.iter().filter(|gap| gap.why != Why::Damaged).map(|gap| gap.count);
    let lacks = Lacks {
        not_recorded: lost.fold(0, u64::saturating_add),
        unreadable: troubles.0.len() as u64,
        hits_without_detail: counted.saturating_sub(hits.count),
        is_anonymised: sources.anonymised_before.is_some_and(|before| since < before),
        is_unfinished: sources.now < until,
        ..lacks
    };
    Ok(tally::figures(Facts {
        period,
        scope: scope.clone(),
        made: sources.now,
        agencies,
        days,
        people,
        hits: hits.families,
        names: hits.names,
        histories,
        hit_again: hits.again,
        coverage: sources.coverage.cloned(),
        gaps,
        lacks,
    }))
}

/// Files that were not read, or not wholly.
#[derive(Default)]
struct Troubles(HashSet<PathBuf>);

impl Troubles {
    fn note(&mut self, scan: Scan) -> Result<Scan, ReportError> {
        if scan.is_stopped {
            return Err(ReportError::Stopped);
        }
        self.0.extend(scan.damaged.iter().map(|(path, _)| path.clone()));
        self.0.extend(scan.unreadable.iter().map(|(path, _)| path.clone()));
        Ok(scan)
    }
}

struct Gathering<'a> {
    sources: &'a Sources<'a>,
    filter: Filter,
    agencies: Agencies,
    people: People<'a>,
    troubles: Troubles,
    lacks: Lacks,
}

/// What hits say.
#[derive(Default)]
struct Hits {
    count: u64,
    families: HashMap<(Place, String, crate::cases::Class), u64>,
    names: HashMap<(Place, String), u64>,
    again: HashSet<Trouble>,
}

impl Gathering<'_> {
    /// Queries and hits of each agency, day by day: roll-ups know whole hours, so also where rows are gone.
    fn days(&mut self, period: Period, watch: &mut dyn Watch) -> Result<Vec<OneDay>, ReportError> {
        let mut days = Vec::new();
        for day in period.days() {
            let mut counts: HashMap<Place, (u64, u64)> = HashMap::new();
            let mut total = Day { date: day.first(), queries: 0, hits: 0 };
            // What is to come has no records.
            if day.since() <= self.sources.now {
                for kind in [Kind::All, Kind::Hits] {
                    let (since, until) = (Some(day.since()), Some(day.until()));
                    let filter = Filter { since, until, kind, ..self.filter.clone() };
                    let (found, scan) = self.sources.store.count(&filter, By::Agency, watch)?;
                    let scan = self.troubles.note(scan)?;
                    self.lacks.uncounted = self
                        .lacks
                        .uncounted
                        .saturating_add(u32::try_from(scan.uncounted.len()).unwrap_or(u32::MAX));
                    for count in found {
                        let place = self.agencies.place(Some(&count.value));
                        let of_agency = counts.entry(place).or_default();
                        let (sum, of_agency) = match kind {
                            Kind::All => (&mut total.queries, &mut of_agency.0),
                            Kind::Hits => (&mut total.hits, &mut of_agency.1),
                        };
                        *sum += count.count;
                        *of_agency += count.count;
                    }
                }
            }
            days.push((total, counts.into_iter().map(|(place, (all, hits))| (place, all, hits)).collect()));
        }
        Ok(days)
    }

    /// Every machine that asked.
    fn machines(
        &mut self,
        period: Period,
        days: &[OneDay],
        watch: &mut dyn Watch,
    ) -> Result<HashSet<(Place, Person)>, ReportError> {
        let mut found = HashSet::new();
        let mut is_known = vec![false; days.len()];
        let (mut failed, mut is_cut): (Option<BookError>, _) = (None, false);
        // Rows of one client follow each other.
        let mut last: Option<(Asked<'static>, Option<Box<str>>, Found)> = None;
        let (since, wanted) = (period.since(), self.filter.agency.clone());
        let span = (since, period.until());
        let (people, agencies) = (&mut self.people, &mut self.agencies);
        let scan = self.sources.store.asked(span, wanted.as_deref(), watch, &mut |asked| {
            // What a summary says may be of two days.
            let of_days = day_between(since, asked.first)..=day_between(since, asked.last);
            is_known.get_mut(of_days).unwrap_or_default().fill(true);
            if let Some((before, agency, of_before)) = &last
                && before.client == asked.client
                && before.mac == asked.mac
                && before.subnet == asked.subnet
                && agency.as_deref() == asked.agency
                && of_before.from <= asked.first
                && asked.last < of_before.to
            {
                return;
            }
            if failed.is_some() || found.len() >= MOST_PEOPLE {
                is_cut = true;
                return;
            }
            match people.asked(asked) {
                Ok(now) => {
                    found.insert((agencies.place(asked.agency), now.person));
                    let before = Asked { agency: None, ..*asked };
                    last = Some((before, asked.agency.map(Into::into), now));
                }
                Err(error) => failed = Some(error),
            }
        })?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        self.troubles.note(scan)?;
        let without = days.iter().zip(is_known).filter(|((day, _), is_known)| day.queries > 0 && !is_known);
        self.lacks.days_without_machines = u32::try_from(without.count()).unwrap_or(u32::MAX);
        self.lacks.is_cut |= is_cut;
        Ok(found)
    }

    /// Every hit, by what it was.
    fn hits(&mut self, histories: &[History], watch: &mut dyn Watch) -> Result<Hits, ReportError> {
        let unknown = histories.iter().filter(|history| history.seen == Seen::Unknown);
        let unknown: HashSet<Trouble> =
            unknown.map(|it| (it.case.subject, it.case.family.clone(), it.case.class)).collect();
        let mut hits = Hits::default();
        let mut failed: Option<BookError> = None;
        let filter = Filter { kind: Kind::Hits, ..self.filter.clone() };
        let (classes, lacks) = (self.sources.classes, &mut self.lacks);
        let (people, agencies) = (&mut self.people, &mut self.agencies);
        let scan = self.sources.store.newest_first(&filter, Page::default(), watch, &mut |record| {
            let place = agencies.place(record.agency.as_deref());
            let is_address = matches!(record.trigger, Some(Trigger::Ip | Trigger::Nsip));
            let family = record.family.as_deref();
            let class = classes.of(family, record.feed.as_deref(), is_address);
            let family = family.unwrap_or_default().to_owned();
            hits.count += 1;
            lacks.is_cut |= !count(&mut hits.names, (place, qname_text(record)), MOST_NAMES);
            if !unknown.is_empty() {
                match subject(people, record) {
                    Ok(subject) => {
                        let trouble = (subject, family.clone(), class);
                        if unknown.contains(&trouble) {
                            hits.again.insert(trouble);
                        }
                    }
                    Err(error) => {
                        failed = Some(error);
                        return ControlFlow::Break(());
                    }
                }
            }
            lacks.is_cut |= !count(&mut hits.families, (place, family, class), MOST_FAMILIES);
            ControlFlow::Continue(())
        })?;
        match failed {
            Some(error) => return Err(error.into()),
            None => self.troubles.note(scan)?,
        };
        Ok(hits)
    }
}

/// Adds one; `false` where there are too many different ones.
fn count<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, u64>, key: K, most: usize) -> bool {
    if let Some(count) = counts.get_mut(&key) {
        *count += 1;
        return true;
    }
    if counts.len() >= most {
        return false;
    }
    counts.insert(key, 1);
    true
}

/// Whose a hit is, as the case desk reckons it.
fn subject(people: &mut People<'_>, record: &Record<'_>) -> Result<Subject, BookError> {
    let found = people.find(record.client, None, record.agency.as_deref(), record.time)?;
    Ok(match found.person {
        Person::Machine(id) => Subject::Machine(id),
        Person::Mac(_) | Person::Address(_) => Subject::Address(record.client),
    })
}

/// The number of a time's day in a period; days are of equal length in Vietnam.
fn day_between(since: i64, time: i64) -> usize {
    usize::try_from((time - since).max(0) / crate::cases::lifecycle::DAY).unwrap_or(usize::MAX)
}
