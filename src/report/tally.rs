//! From facts to figures. Pure: what is to be counted is all there.

use std::collections::{HashMap, HashSet};

use super::figures::{CaseLine, Counts, Day, Family, Figures, Lacks, NameCount, Row, Stage, Times};
use super::people::Person;
use super::period::Period;
use super::{Coverages, Scope};
use crate::cases::history::{History, Seen};
use crate::cases::{Class, Subject, Verdict};
use crate::evidence::store::Gap;

/// Families and names that are told of an agency …
const MOST_FAMILIES: usize = 100;
const MOST_NAMES: usize = 20;
/// … and of all together.
const MOST_NAMES_IN_ALL: usize = 100;

/// An agency's place among all; 0 is what is of none.
pub(super) type Place = usize;

/// Agencies by their ids, each with a place.
#[derive(Debug)]
pub(super) struct Agencies {
    all: Vec<(Option<String>, String)>,
    places: HashMap<String, Place>,
}

impl Agencies {
    /// Those that are known before anything is read, in the order in which they are told.
    pub(super) fn new<'a>(known: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut agencies = Self { all: vec![(None, String::new())], places: HashMap::new() };
        for (id, name) in known {
            agencies.add(id, name);
        }
        agencies
    }

    fn add(&mut self, id: &str, name: &str) -> Place {
        self.places.insert(id.to_owned(), self.all.len());
        self.all.push((Some(id.to_owned()), name.to_owned()));
        self.all.len() - 1
    }

    /// That of an id; one that nobody configured is called by it.
    pub(super) fn place(&mut self, id: Option<&str>) -> Place {
        match id.filter(|id| !id.is_empty()) {
            None => 0,
            Some(id) => self.places.get(id).copied().unwrap_or_else(|| self.add(id, id)),
        }
    }

    fn name(&self, place: Place) -> &str {
        &self.all[place].1
    }
}

/// A day, and of it the queries and hits of each agency.
pub(super) type OneDay = (Day, Vec<(Place, u64, u64)>);

/// A trouble as cases and hits share it: whose, which family, what kind.
pub(super) type Trouble = (Subject, String, Class);

/// Everything that is counted.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) period: Period,
    pub(super) scope: Scope,
    pub(super) made: i64,
    pub(super) agencies: Agencies,
    pub(super) days: Vec<OneDay>,
    pub(super) people: HashSet<(Place, Person)>,
    pub(super) hits: HashMap<(Place, String, Class), u64>,
    pub(super) names: HashMap<(Place, String), u64>,
    pub(super) histories: Vec<History>,
    /// Of what [`Seen::Unknown`] is said, those that hit in the period.
    pub(super) hit_again: HashSet<Trouble>,
    pub(super) coverage: Option<Coverages>,
    pub(super) gaps: Vec<Gap>,
    pub(super) lacks: Lacks,
}

/// A machine that is followed.
#[derive(Debug, Default, Clone, Copy)]
struct Machine {
    is_infected: bool,
    is_open: bool,
    is_notified: bool,
    is_said_clean: bool,
    /// A case of it is open, and nobody says that it is clean.
    is_dirty: bool,
    is_again: bool,
}

/// What is added up for an agency, or for all.
#[derive(Debug, Default)]
struct Tally {
    people: HashSet<Person>,
    queries: u64,
    hits: u64,
    machines: HashMap<Subject, Machine>,
    phishing: HashSet<Subject>,
    scanning: HashSet<Subject>,
    false_alarms: u64,
    to_notify: Vec<i64>,
    to_clean: Vec<i64>,
    families: HashMap<(String, Class), (HashSet<Subject>, u64)>,
    names: HashMap<String, u64>,
}

/// Works the figures out.
pub(super) fn figures(facts: Facts) -> Figures {
    let Facts { period, scope, made, mut agencies, days, people, hits, names, histories, coverage, .. } =
        facts;
    let mut province = Tally::default();
    let mut each: HashMap<Place, Tally> = HashMap::new();
    for (place, person) in people {
        province.people.insert(person);
        each.entry(place).or_default().people.insert(person);
    }
    for (place, queries, hits) in days.iter().flat_map(|(_, of_agencies)| of_agencies) {
        for tally in [&mut province, each.entry(*place).or_default()] {
            tally.queries += queries;
            tally.hits += hits;
        }
    }
    for ((place, family, class), count) in hits {
        let key = (family, class);
        each.entry(place).or_default().families.entry(key.clone()).or_default().1 += count;
        province.families.entry(key).or_default().1 += count;
    }
    for ((place, name), count) in names {
        *province.names.entry(name.clone()).or_default() += count;
        each.entry(place).or_default().names.insert(name, count);
    }
    let mut cases = Vec::new();
    for history in &histories {
        let place = agencies.place(history.case.agency.as_deref());
        let judged = judge(history, period, made, &facts.hit_again);
        for tally in [&mut province, each.entry(place).or_default()] {
            tally.add(history, &judged, period);
        }
        if judged.counts() {
            cases.push((place, line(history, &judged, agencies.name(place))));
        }
    }
    cases.sort_by(|(a_place, a), (b_place, b)| {
        // What is of no agency comes last, as it does among the rows.
        let order = |place: &Place| place.wrapping_sub(1);
        let key = |line: &CaseLine| (std::cmp::Reverse(line.last_hit), line.ticket.to_string());
        order(a_place).cmp(&order(b_place)).then_with(|| key(a).cmp(&key(b)))
    });
    let of_agency = |id: &str| coverage.as_ref().map(|all| all.agencies.get(id).copied().unwrap_or_default());
    let mut rows: Vec<Row> = Vec::new();
    for place in (1..agencies.all.len()).chain([0]) {
        let (id, name) = agencies.all[place].clone();
        let tally = each.remove(&place).unwrap_or_default();
        let coverage = id.as_deref().and_then(of_agency);
        let row = Row { id, name, ..tally.row(MOST_NAMES) };
        // Of none there is often nothing.
        if place > 0 || !row.counts.is_empty() {
            rows.push(Row { counts: Counts { coverage, ..row.counts }, ..row });
        }
    }
    let mut province = province.row(MOST_NAMES_IN_ALL);
    province.counts.coverage = coverage.as_ref().map(|all| all.province);
    if let (Scope::Agency(_), Some(only)) = (&scope, rows.first()) {
        province = Row { names: province.names, ..only.clone() };
    }
    Figures {
        period,
        scope,
        made,
        province,
        agencies: rows,
        days: days.into_iter().map(|(day, _)| day).collect(),
        cases: cases.into_iter().map(|(_, line)| line).collect(),
        gaps: facts.gaps,
        lacks: facts.lacks,
    }
}

/// What a case is to a period.
#[derive(Debug, Clone, Copy)]
struct Judged {
    /// It was opened, or its machine was seen.
    is_of_period: bool,
    /// It was open when the period began.
    is_from_before: bool,
    stage: Stage,
    machine: Machine,
}

impl Judged {
    fn counts(&self) -> bool {
        self.is_of_period || (self.is_from_before && self.stage != Stage::FalseAlarm)
    }
}

fn judge(history: &History, period: Period, made: i64, hit_again: &HashSet<Trouble>) -> Judged {
    let (since, until, case) = (period.since(), period.until(), &history.case);
    let is_seen = match history.seen {
        Seen::Yes => true,
        Seen::No => false,
        Seen::Unknown => hit_again.contains(&(case.subject, case.family.clone(), case.class)),
    };
    let standing = history.standing(until.min(made.saturating_add(1)));
    let is_of_period = is_seen || history.is_opened(since, until);
    let stage = match () {
        () if case.verdict == Some(Verdict::FalsePositive) => Stage::FalseAlarm,
        () if !standing.is_open => Stage::Closed,
        () if standing.is_said_clean => Stage::SaidClean,
        () if standing.is_notified => Stage::Notified,
        () => Stage::New,
    };
    Judged {
        is_of_period,
        is_from_before: case.course.opened < since && history.standing(since).is_open,
        stage,
        machine: Machine {
            is_infected: is_of_period,
            is_open: standing.is_open,
            is_notified: standing.is_notified,
            is_said_clean: standing.is_said_clean,
            is_dirty: standing.is_open && !standing.is_said_clean,
            is_again: history.is_reopened(since, until),
        },
    }
}

impl Tally {
    fn add(&mut self, history: &History, judged: &Judged, period: Period) {
        let (since, until, case) = (period.since(), period.until(), &history.case);
        if judged.stage == Stage::FalseAlarm {
            self.false_alarms += u64::from(judged.is_of_period);
            return;
        }
        if judged.is_of_period {
            let key = (case.family.clone(), case.class);
            self.families.entry(key).or_default().0.insert(case.subject);
        }
        if case.class.is_infection() {
            if judged.counts() {
                self.machines.entry(case.subject).or_default().join(judged.machine);
            }
            self.to_notify.extend(history.times_to_notify(since, until));
            self.to_clean.extend(history.times_to_clean(since, until));
        } else if judged.is_of_period {
            let set = if case.class == Class::Scan { &mut self.scanning } else { &mut self.phishing };
            set.insert(case.subject);
        }
    }

    fn row(self, most_names: usize) -> Row {
        let machines = || self.machines.values();
        let count = |is: fn(&Machine) -> bool| machines().filter(|machine| is(machine)).count() as u64;
        let counts = Counts {
            machines: self.people.len() as u64,
            queries: self.queries,
            hits: self.hits,
            infected: count(|it| it.is_infected),
            carried: count(|it| !it.is_infected),
            notified: count(|it| it.is_notified),
            said_clean: count(|it| it.is_said_clean && !it.is_dirty),
            cleaned: count(|it| !it.is_open),
            remaining: count(|it| it.is_open),
            repeat: count(|it| it.is_again),
            false_alarms: self.false_alarms,
            phishing: self.phishing.len() as u64,
            scanning: self.scanning.len() as u64,
            to_notify: Times::of(self.to_notify),
            to_clean: Times::of(self.to_clean),
            coverage: None,
        };
        let family = |((name, class), (machines, hits)): ((String, Class), (HashSet<Subject>, u64))| Family {
            name,
            class,
            machines: machines.len() as u64,
            hits,
        };
        let mut families: Vec<Family> = self.families.into_iter().map(family).collect();
        families.sort_by(|a, b| {
            let key = |it: &Family| (std::cmp::Reverse((it.machines, it.hits)), it.class);
            key(a).cmp(&key(b)).then_with(|| a.name.cmp(&b.name))
        });
        families.truncate(MOST_FAMILIES);
        let mut names: Vec<NameCount> =
            self.names.into_iter().map(|(name, hits)| NameCount { name, hits }).collect();
        names.sort_by(|a, b| b.hits.cmp(&a.hits).then_with(|| a.name.cmp(&b.name)));
        names.truncate(most_names);
        Row { id: None, name: String::new(), counts, families, names }
    }
}

impl Machine {
    /// Adds another case of it.
    fn join(&mut self, other: Self) {
        self.is_infected |= other.is_infected;
        self.is_open |= other.is_open;
        self.is_notified |= other.is_notified;
        self.is_said_clean |= other.is_said_clean;
        self.is_dirty |= other.is_dirty;
        self.is_again |= other.is_again;
    }
}

fn line(history: &History, judged: &Judged, agency: &str) -> CaseLine {
    let case = &history.case;
    CaseLine {
        ticket: case.ticket,
        agency: agency.to_owned(),
        machine: case.host.clone().unwrap_or_else(|| case.subject.to_string()),
        client: case.client.to_string(),
        family: case.family.clone(),
        class: case.class,
        name: case.name.clone(),
        officer: case.officer.clone(),
        stage: judged.stage,
        is_of_period: judged.is_of_period,
        first_hit: case.course.first_hit,
        last_hit: case.course.last_hit,
        reopened: case.course.reopened,
    }
}
