//! What whoever feeds the desk gives to it: who was seen doing what, who merely asked, and who turned out to be whom.
//!
//! Each is counted once: how far the feeder has got is written in the transaction of what it gives ([`Notes`]).

use rusqlite::Transaction;

use super::super::lifecycle::Turn;
use super::super::store;
use super::super::{
    Actor, Case, CaseId, Class, Course, Effect, Evidence, Sighting, State, Subject, Ticket, Trace, Verdict,
    What,
};
use super::{Desk, DeskError, Result};

/// How often a ticket is drawn that nobody has.
const DRAWS: usize = 16;
/// How many are looked up together who were seen asking.
const ASKED_PART: usize = 256;
/// What is told of asking is not more exact.
const ASKED_STEP: i64 = 600_000_000;

impl Desk {
    /// A machine was seen doing what a rule lists.
    ///
    /// # Errors
    /// [`DeskError`]; then nothing has changed.
    pub fn sighting(&self, sighting: &Sighting, now: i64) -> Result<Effect> {
        self.change(|transaction| self.take(transaction, sighting, now))
    }

    /// Takes many in one transaction, and what was noted with them; what each did. Whoever notes how far he has got
    /// has each of them counted once, whenever he ends and begins again.
    ///
    /// # Errors
    /// [`DeskError`]; then nothing has changed.
    pub fn sightings(&self, sightings: &[Sighting], notes: &Notes, now: i64) -> Result<Vec<Effect>> {
        self.change(|transaction| {
            let effects = sightings.iter().map(|sighting| self.take(transaction, sighting, now)).collect();
            notes.write(transaction).map_err(|source| self.failed(source))?;
            effects
        })
    }

    /// More of what was taken already: it is counted where its case still is, and changes nothing else.
    ///
    /// # Errors
    /// [`DeskError`]; then nothing has changed.
    pub fn grown<'a>(&self, sightings: impl Iterator<Item = &'a Sighting>) -> Result<()> {
        let failed = |source| self.failed(source);
        self.change(|transaction| {
            for sighting in sightings {
                let Sighting { machine, family, class, .. } = sighting;
                let case = store::case_of_key(transaction, *machine, family, *class).map_err(failed)?;
                let Some(mut case) = case else { continue };
                count(&mut case, sighting);
                store::update(transaction, &case).map_err(failed)?;
                store::grow_trace(transaction, case.id, &trace(sighting)).map_err(failed)?;
            }
            Ok(())
        })
    }

    fn take(&self, transaction: &Transaction<'_>, sighting: &Sighting, now: i64) -> Result<Effect> {
        let failed = |source| self.failed(source);
        let day = self.day(sighting.time);
        let Sighting { machine, family, class, .. } = sighting;
        let trace = trace(sighting);
        let known = store::case_of_key(transaction, *machine, family, *class).map_err(failed)?;
        let Some(mut case) = known else {
            if store::open_count(transaction).map_err(failed)? >= self.options().most_open {
                return Ok(Effect::Refused);
            }
            let course = Course::open(sighting.time, day, now);
            let case = Case {
                id: CaseId(0),
                ticket: self.draw(transaction)?,
                subject: *machine,
                host: sighting.host.clone(),
                client: trace.client,
                agency: sighting.agency.clone(),
                family: family.clone(),
                class: *class,
                name: sighting.name.clone(),
                officer: None,
                verdict: None,
                course,
                queries: 0,
                contacts: 0,
            };
            let id = store::insert(transaction, &case).map_err(failed)?;
            let mut case = Case { id, ..case };
            store::add_trace(transaction, id, &trace).map_err(failed)?;
            count(&mut case, sighting);
            self.step(transaction, &case, now, &Actor::Server, What::Opened, &sighting.name)?;
            if let Some(officer) = &sighting.officer {
                case.officer = Some(officer.clone());
                self.step(transaction, &case, now, &Actor::Server, What::Assigned, officer)?;
            }
            store::update(transaction, &case).map_err(failed)?;
            return Ok(Effect::Opened);
        };
        store::add_trace(transaction, case.id, &trace).map_err(failed)?;
        store::trim_traces(transaction, case.id).map_err(failed)?;
        count(&mut case, sighting);
        if sighting.time >= case.course.last_hit {
            case.client = trace.client;
            case.name.clone_from(&sighting.name);
            case.agency = sighting.agency.clone().or(case.agency);
            case.host = sighting.host.clone().or(case.host);
        }
        if case.verdict == Some(Verdict::FalsePositive)
            && store::is_harmless(transaction, case.id, &sighting.name).map_err(failed)?
        {
            store::update(transaction, &case).map_err(failed)?;
            return Ok(Effect::Harmless);
        }
        let turn = case.course.hit(sighting.time, day, now);
        let effect = match turn {
            Some(Turn::Reopened) => {
                // What was said of it was said of what it was then.
                case.verdict = None;
                self.step(transaction, &case, now, &Actor::Server, What::Reopened, &sighting.name)?;
                Effect::Reopened
            }
            Some(Turn::Relapsed) => {
                self.step(transaction, &case, now, &Actor::Server, What::Relapsed, &sighting.name)?;
                Effect::Relapsed
            }
            _ => Effect::Added,
        };
        store::update(transaction, &case).map_err(failed)?;
        Ok(effect)
    }

    /// A ticket that no case has.
    fn draw(&self, transaction: &Transaction<'_>) -> Result<Ticket> {
        for _ in 0..DRAWS {
            let ticket = Ticket::new((self.options().dice)());
            let taken = store::case_of_ticket(transaction, ticket).map_err(|source| self.failed(source))?;
            if taken.is_none() {
                return Ok(ticket);
            }
        }
        Err(DeskError::NoTicket)
    }

    /// These were seen asking for anything, each at a time.
    ///
    /// # Errors
    /// [`DeskError`]; then nothing has changed.
    pub fn asked(&self, seen: &[(Subject, i64)], now: i64) -> Result<()> {
        let failed = |source| self.failed(source);
        // Most machines have no case, and reading waits for nobody.
        let mut of_cases = Vec::new();
        for part in seen.chunks(ASKED_PART) {
            // A person who waits for a page is let in between.
            let reader = self.reader();
            for (subject, time) in part {
                let cases = store::cases_of(&reader, *subject).map_err(failed)?;
                if cases.iter().any(|case| self.is_news(case, *time)) {
                    of_cases.push((*subject, *time));
                }
            }
        }
        if of_cases.is_empty() {
            return Ok(());
        }
        self.change(|transaction| {
            for (subject, time) in &of_cases {
                for mut case in store::cases_of(transaction, *subject).map_err(failed)? {
                    if !self.is_news(&case, *time) {
                        continue;
                    }
                    let turns = case.course.asked(*time, self.day(*time), self.options().quiet_days);
                    self.turned(transaction, &case, &turns, now)?;
                    store::update(transaction, &case).map_err(failed)?;
                }
            }
            Ok(())
        })
    }

    /// Whether that it asked then changes anything that is worth a write.
    fn is_news(&self, case: &Case, time: i64) -> bool {
        let course = &case.course;
        course.is_open()
            && (course.last_asked.is_none_or(|last| time >= last + ASKED_STEP)
                || course.state == State::Cleaned
                || course.last_asked.is_none_or(|last| self.day(last) < self.day(time)))
    }

    /// Two subjects turned out to be one machine, `into`: its cases become one where family and class are the same, and change
    /// hands where there is none. Returns how many cases that were.
    ///
    /// # Errors
    /// [`DeskError`].
    pub fn identify(
        &self,
        from: Subject,
        into: Subject,
        host: Option<&str>,
        by: &Actor,
        now: i64,
    ) -> Result<usize> {
        if from == into {
            return Ok(0);
        }
        let failed = |source| self.failed(source);
        self.change(|transaction| {
            let cases = store::cases_of(transaction, from).map_err(failed)?;
            for case in &cases {
                let note = format!("{from} is {into}");
                match store::case_of_key(transaction, into, &case.family, case.class).map_err(failed)? {
                    Some(into) => drop(self.join(transaction, case, into, &note, by, now)?),
                    None => {
                        let host = host.map(str::to_owned).or_else(|| case.host.clone());
                        let case = Case { subject: into, host, ..case.clone() };
                        self.step(transaction, &case, now, by, What::Identified, &note)?;
                        store::update(transaction, &case).map_err(failed)?;
                    }
                }
            }
            Ok(cases.len())
        })
    }

    /// A subject turned out to scan: its cases that were opened since then, by contacts alone, are one of that.
    ///
    /// # Errors
    /// [`DeskError`].
    pub fn recast_as_scan(&self, subject: Subject, since: i64, now: i64) -> Result<()> {
        let failed = |source| self.failed(source);
        let is_of_it = |case: &Case| {
            case.class != Class::Scan
                && case.queries == 0
                && case.course.since >= since
                && case.course.is_open()
        };
        if !store::cases_of(&self.reader(), subject).map_err(failed)?.iter().any(is_of_it) {
            return Ok(());
        }
        self.change(|transaction| {
            for case in store::cases_of(transaction, subject).map_err(failed)?.into_iter().filter(is_of_it) {
                match store::case_of_key(transaction, subject, "", Class::Scan).map_err(failed)? {
                    Some(into) => drop(self.join(transaction, &case, into, "a scan", &Actor::Server, now)?),
                    None => {
                        self.step(transaction, &case, now, &Actor::Server, What::Judged, "a scan")?;
                        let case = Case { family: String::new(), class: Class::Scan, ..case };
                        store::update(transaction, &case).map_err(failed)?;
                    }
                }
            }
            Ok(())
        })
    }

    /// How far somebody has got who feeds the desk.
    ///
    /// # Errors
    /// [`DeskError`].
    pub fn mark(&self, key: &str) -> Result<Option<i64>> {
        store::mark(&self.reader(), key).map_err(|source| self.failed(source))
    }

    /// … with what has a name that begins so, by that name.
    ///
    /// # Errors
    /// [`DeskError`].
    pub fn marks(&self, prefix: &str) -> Result<Vec<(String, i64)>> {
        store::marks(&self.reader(), prefix).map_err(|source| self.failed(source))
    }

    /// Forgets marks that nobody needs any more.
    ///
    /// # Errors
    /// [`DeskError`].
    pub fn forget_marks(&self, keys: &[String]) -> Result<()> {
        let forget = |transaction: &Transaction<'_>| {
            keys.iter().try_for_each(|key| store::remove_mark(transaction, key))
        };
        self.change(|transaction| forget(transaction).map_err(|source| self.failed(source)))
    }

    /// What was kept for later ([`Notes::kept`]).
    ///
    /// # Errors
    /// [`DeskError`].
    pub fn kept(&self) -> Result<Vec<String>> {
        store::kept(&self.reader()).map_err(|source| self.failed(source))
    }
}

/// What whoever feeds the desk writes down with sightings, so that a kill at any moment separates neither from the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    /// How far he has got, by what.
    pub marks: Vec<(String, i64)>,
    /// What he keeps for later in his own words, by key; `None`: no longer.
    pub kept: Vec<(String, Option<String>)>,
}

impl Notes {
    /// One mark.
    pub fn mark(key: &str, value: i64) -> Self {
        Self { marks: vec![(key.to_owned(), value)], kept: Vec::new() }
    }

    fn write(&self, transaction: &Transaction<'_>) -> store::Result<()> {
        self.marks.iter().try_for_each(|(key, value)| store::set_mark(transaction, key, *value))?;
        self.kept.iter().try_for_each(|(key, value)| store::keep(transaction, key, value.as_deref()))
    }
}

fn trace(sighting: &Sighting) -> Trace {
    Trace {
        first: sighting.time,
        last: sighting.time,
        count: u64::from(sighting.count),
        client: sighting.client.to_canonical(),
        evidence: sighting.evidence,
        name: sighting.name.clone(),
    }
}

fn count(case: &mut Case, sighting: &Sighting) {
    let counted = match sighting.evidence {
        Evidence::Query | Evidence::Find => &mut case.queries,
        Evidence::Contact(_) => &mut case.contacts,
        // The contact itself comes by another way.
        Evidence::Visit => return,
    };
    *counted = counted.saturating_add(u64::from(sighting.count));
}
