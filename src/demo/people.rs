//! From hits to cases: the desk is told what it would have been told, as of then, and people do what they do.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::DemoError;
use super::calendar::{DAY, MINUTE, SECOND};
use super::infections::{Act, Infection};
use super::machines::Persons;
use super::province::{ANALYSTS, Link, NAMES, Province};
use super::threats::{FAMILIES, FEEDS, Kind};
use super::trace::Trace;
use super::traffic::Hit;
use crate::cases::{
    Actor, Class, Classes, Desk, DeskError, Evidence, Notes, Sighting, Subject, Verdict, desk,
};
use crate::evidence::contacts::{self, Contact, Gap, Via, Why};

/// Where scanners knock.
const SINKHOLE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 10, 10, 10));
/// … at which doors.
const DOORS: [u16; 9] = [21, 22, 23, 80, 135, 443, 445, 3389, 8080];

/// The mark by which a server knows which contacts its desk has taken in.
const CONTACTS: &str = "contacts";

/// Follows cases through the months.
#[derive(Debug)]
pub(super) struct People<'a> {
    desk: Desk,
    classes: &'a Classes,
    contacts: PathBuf,
    province: &'a Province,
    infections: &'a [Infection],
    persons: Persons<'a>,
    /// Whose case each infection is, once it was seen.
    subjects: Vec<Option<Subject>>,
    /// What people are still to do, in the order of times.
    acts: BTreeMap<(i64, usize, usize), Act>,
    pub(super) contact_count: u64,
    last_contact: u64,
    /// What analysts did, for the audit log.
    pub(super) trace: Trace,
}

impl<'a> People<'a> {
    pub(super) fn new(
        desk: Desk,
        classes: &'a Classes,
        contacts: &Path,
        province: &'a Province,
        infections: &'a [Infection],
        persons: Persons<'a>,
    ) -> Self {
        let acts = infections.iter().enumerate().flat_map(|(number, infection)| {
            let acts = infection.acts.iter().enumerate();
            acts.map(move |(at, (time, act))| ((*time, number, at), act.clone()))
        });
        Self {
            desk,
            classes,
            contacts: contacts.to_owned(),
            province,
            infections,
            persons,
            subjects: vec![None; infections.len()],
            acts: acts.collect(),
            contact_count: 0,
            last_contact: 0,
            trace: Trace::default(),
        }
    }

    /// Takes in the hits of a time that ends now, and enters who came to the sinkhole.
    pub(super) fn take(&mut self, hits: Vec<Hit>, now: i64) -> Result<(), DemoError> {
        let mut came: Vec<(Contact, usize, String)> = Vec::new();
        let mut sightings = Vec::with_capacity(hits.len());
        for hit in hits {
            let link = self.province.agency_of(self.infections[hit.infection].machine).link;
            // Of an agency's own DNS server nobody is told whose query it was, unless somebody came.
            if hit.contact.is_none() || link != Link::Forwarder {
                let sighting =
                    self.sighting(hit.infection, hit.client, hit.time, hit.name.clone(), Evidence::Query, 1)?;
                sightings.push(sighting);
            }
            if let Some(contact) = hit.contact {
                came.push((contact, hit.infection, hit.name));
            }
        }
        came.sort_by_key(|(contact, ..)| contact.time);
        let rows: Vec<Contact> = came.iter().map(|(contact, ..)| contact.clone()).collect();
        let ids = if rows.is_empty() { Vec::new() } else { contacts::enter(&self.contacts, &rows, None)? };
        self.contact_count += ids.len() as u64;
        self.last_contact = ids.last().copied().unwrap_or(self.last_contact);
        for (id, (contact, infection, name)) in ids.into_iter().zip(came) {
            let evidence = Evidence::Contact(id);
            sightings.push(self.sighting(
                infection,
                contact.client,
                contact.time,
                name,
                evidence,
                contact.count,
            )?);
        }
        sightings.sort_by_key(|sighting| sighting.time);
        if !sightings.is_empty() {
            self.desk.sightings(&sightings, &self.notes(), now)?;
        }
        Ok(())
    }

    /// How far contacts are taken in, so that a server goes on behind them.
    fn notes(&self) -> Notes {
        Notes::mark(CONTACTS, i64::try_from(self.last_contact).unwrap_or(i64::MAX))
    }

    fn sighting(
        &mut self,
        number: usize,
        client: IpAddr,
        time: i64,
        name: String,
        evidence: Evidence,
        count: u32,
    ) -> Result<Sighting, DemoError> {
        let infection = &self.infections[number];
        let agency = self.province.agency_of(infection.machine);
        let person = self.persons.who(infection.machine, client, time)?;
        self.subjects[number] = Some(person.subject);
        Ok(Sighting {
            time,
            client,
            machine: person.subject,
            host: person.host,
            agency: Some(agency.id.clone()),
            family: FAMILIES[infection.family].name.to_owned(),
            class: self.class(infection.family),
            name,
            evidence,
            count,
            officer: Some(agency.officer.clone()),
        })
    }

    fn class(&self, family: usize) -> Class {
        let facts = &FAMILIES[family];
        let name = Some(facts.name).filter(|name| !name.is_empty());
        self.classes.of(name, Some(FEEDS[facts.feed].name), facts.kind == Kind::Address)
    }

    /// These infections' machines asked for something.
    pub(super) fn asked(&self, awake: &[usize], time: i64) -> Result<(), DemoError> {
        let mut seen: Vec<(Subject, i64)> =
            awake.iter().filter_map(|number| self.subjects[*number]).map(|subject| (subject, time)).collect();
        seen.sort_unstable();
        seen.dedup();
        Ok(self.desk.asked(&seen, time)?)
    }

    /// More came to the sinkhole at once than is kept.
    pub(super) fn note_flood(&self, time: i64) -> Result<(), DemoError> {
        let gap = Gap { earliest: time, latest: time + MINUTE, count: 412, why: Why::Flood };
        contacts::enter(&self.contacts, &[], Some(&gap))?;
        Ok(())
    }

    /// Somebody tries one door of the sinkhole after the other: nobody led him there.
    pub(super) fn scan(&mut self, machine: u32, time: i64) -> Result<(), DemoError> {
        let client = IpAddr::V4(self.province.machines[machine as usize].address_at(time));
        let contact = |number: u16, port: u16| Contact {
            id: 0,
            time: time + i64::from(number) * SECOND,
            client,
            source_port: 51_200 + number,
            local: SocketAddr::new(SINKHOLE, port),
            via: Via::Tcp,
            name: None,
            path: None,
            agent: None,
            ja4: None,
            first: Vec::new(),
            count: 1,
        };
        let rows: Vec<Contact> = (0..).zip(DOORS).map(|(number, port)| contact(number, port)).collect();
        let ids = contacts::enter(&self.contacts, &rows, None)?;
        self.contact_count += ids.len() as u64;
        self.last_contact = ids.last().copied().unwrap_or(self.last_contact);
        let agency = self.province.agency_of(machine);
        let mut sightings = Vec::new();
        for (id, contact) in ids.into_iter().zip(rows) {
            let person = self.persons.who(machine, client, contact.time)?;
            sightings.push(Sighting {
                time: contact.time,
                client,
                machine: person.subject,
                host: person.host,
                agency: Some(agency.id.clone()),
                family: String::new(),
                class: Class::Scan,
                name: SINKHOLE.to_string(),
                evidence: Evidence::Contact(id),
                count: 1,
                officer: Some(agency.officer.clone()),
            });
        }
        self.desk.sightings(&sightings, &self.notes(), time + MINUTE)?;
        Ok(())
    }

    /// A day is over.
    pub(super) fn end_day(&self, now: i64) -> Result<(), DemoError> {
        Ok(self.desk.tick(now)?)
    }

    /// People do what they do before a time.
    pub(super) fn act(&mut self, until: i64) -> Result<(), DemoError> {
        while let Some(next) = self.acts.first_entry().filter(|next| next.key().0 < until) {
            let ((time, number, at), act) = next.remove_entry();
            if self.subjects[number].is_none() {
                // Its machine was off since: nobody knows of it yet.
                self.acts.insert((time + DAY, number, at), act);
                continue;
            }
            match self.one(number, &act, time) {
                Ok(()) => {}
                Err(DemoError::Desk(error)) if !matches!(error, DeskError::Store { .. }) => {
                    // Somebody is late: the case is closed, or the machine was just seen again.
                    tracing::debug!(%error, ?act, "not done");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn one(&mut self, number: usize, act: &Act, time: i64) -> Result<(), DemoError> {
        let infection = &self.infections[number];
        let Some(subject) = self.subjects[number] else { return Ok(()) };
        let family = FAMILIES[infection.family].name;
        let Some(case) = self.desk.find(subject, family, self.class(infection.family))? else {
            return Ok(());
        };
        let analyst = |number: usize| Actor::Person(ANALYSTS[number % ANALYSTS.len()].to_owned());
        let officer = || Actor::Person(self.province.agency_of(infection.machine).officer.clone());
        let (desk, id) = (&self.desk, case.id);
        let told =
            |by: usize, what, details: &str| Some((ANALYSTS[by % ANALYSTS.len()], what, details.to_owned()));
        let judged = |verdict: Verdict, why: &str| format!("{}: {why}", verdict.as_str());
        let (done, told) = match *act {
            Act::Tell(how) => (desk.told(id, how, &analyst(number), time), told(number, "case.told", how)),
            Act::SayClean(note) => (desk.said_clean(id, note, &desk::visitor(case.client), time), None),
            Act::OfficerSaysClean(note) => (desk.said_clean(id, note, &officer(), time), None),
            Act::SayWrong(note) => (desk.said_wrong(id, note, &desk::visitor(case.client), time), None),
            Act::Note(by, note) => (desk.note(id, note, &analyst(by), time), told(by, "case.note", note)),
            Act::Assign(to) => {
                let name = NAMES[to % NAMES.len()];
                (desk.assign(id, name, &analyst(number), time), told(number, "case.assign", name))
            }
            Act::Harmless(why) => {
                let verdict = Verdict::FalsePositive;
                let done = desk.verdict(id, verdict, &[], why, &analyst(number), time);
                (done, told(number, "case.verdict", &judged(verdict, why)))
            }
            Act::Confirm(why) => {
                let verdict = Verdict::Confirmed;
                let done = desk.verdict(id, verdict, &[], why, &analyst(number), time);
                (done, told(number, "case.verdict", &judged(verdict, why)))
            }
            Act::Close(why) => (desk.close(id, why, &analyst(number), time), told(number, "case.close", why)),
        };
        let case = done?;
        if let Some((by, what, details)) = told {
            self.trace.changed(time, by, what, &case.ticket.to_string(), &details);
        }
        Ok(())
    }
}
