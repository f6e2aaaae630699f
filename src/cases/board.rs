//! Cases side by side: how many are how far, which are overdue, and how agencies do. What pages and reports of the moment ask.
//!
//! Answered by SQL with a bound on what comes back; the clock is the caller's.

#[cfg(doc)]
use super::Class;
use super::desk::DeskError;
use super::lifecycle::State;
use super::{CaseFilter, Course, Desk, Options};

/// The place behind a case in a list: when it was seen last, and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behind {
    /// When it was seen last.
    pub last_hit: i64,
    /// Its number.
    pub id: i64,
}

impl std::fmt::Display for Behind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.last_hit, self.id)
    }
}

/// Why a text is no place in a list of cases.
#[derive(Debug, thiserror::Error)]
#[error("not a place in a list of cases")]
pub struct BehindError;

impl std::str::FromStr for Behind {
    type Err = BehindError;

    fn from_str(text: &str) -> Result<Self, BehindError> {
        let (last_hit, id) = text.split_once('.').ok_or(BehindError)?;
        let place = last_hit.parse().ok().zip(id.parse().ok());
        place.map(|(last_hit, id)| Self { last_hit, id }).ok_or(BehindError)
    }
}

/// Before when something should have been done about cases that are overdue now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overdue {
    /// A new case whose episode began before this should have been told of.
    pub begun: i64,
    /// One that was told of before this should have been said clean.
    pub told: i64,
}

impl Overdue {
    /// As of `now`.
    pub fn at(now: i64, options: &Options) -> Self {
        Self {
            begun: now.saturating_sub(options.tell_within),
            told: now.saturating_sub(options.clean_within),
        }
    }

    /// Whether a case is.
    pub fn is(&self, course: &Course) -> bool {
        match course.state {
            State::New => course.since < self.begun,
            State::Notified => course.notified.unwrap_or(course.since) < self.told,
            State::Cleaned | State::Watched | State::Closed => false,
        }
    }
}

/// How many cases are how far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// By state, in the order of [`State`].
    pub states: [u64; 5],
    /// Of them overdue.
    pub overdue: u64,
}

impl Tally {
    /// Those that are so far.
    pub fn of(&self, state: State) -> u64 {
        self.states[state as usize]
    }

    /// Those that are not closed.
    pub fn open(&self) -> u64 {
        self.states.iter().sum::<u64>() - self.of(State::Closed)
    }
}

/// How an agency does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Its id; `None`: of none.
    pub agency: Option<String>,
    /// Cases that are not closed.
    pub open: u64,
    /// Of them new.
    pub new: u64,
    /// … and overdue.
    pub overdue: u64,
    /// Machines with open cases of infections.
    pub infected: u64,
    /// Cases that were closed in the time that was asked for.
    pub closed: u64,
    /// How long machines were infected, on average of those of them that are of infections, in microseconds.
    pub time_to_clean: Option<i64>,
}

/// What is asked for of infections ([`Class::INFECTIONS`]) that are no list's mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Infected {
    /// All their cases.
    Cases,
    /// Infected machines: of each the open case that was seen last.
    Machines,
}

/// By what cases are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// The malware family.
    Family,
    /// Who looks after them.
    Officer,
}

impl Desk {
    /// How many of the cases that a filter takes are how far; its states and limit do not count.
    ///
    /// # Errors
    /// [`DeskError`].
    pub fn tally(&self, filter: &CaseFilter, now: i64) -> Result<Tally, DeskError> {
        let overdue = Overdue::at(now, &self.options());
        self.ask(|reader| super::store::board::tally(reader, filter, overdue))
    }

    /// How each agency that has cases does, or one of them; `since`: from when on closed cases count.
    ///
    /// # Errors
    /// [`DeskError`].
    pub fn standings(&self, agency: Option<&str>, since: i64, now: i64) -> Result<Vec<Standing>, DeskError> {
        let overdue = Overdue::at(now, &self.options());
        self.ask(|reader| super::store::board::standings(reader, agency, since, overdue))
    }

    /// How many machines are infected, of an agency or of all: each counts once, as in a report's machines that are not done with.
    ///
    /// # Errors
    /// [`DeskError`].
    pub fn infected(&self, agency: Option<&str>) -> Result<u64, DeskError> {
        self.ask(|reader| super::store::board::infected(reader, agency))
    }

    /// The most frequent values of open cases, with how many have them; at most `most`, of an agency or of all.
    ///
    /// # Errors
    /// [`DeskError`].
    pub fn frequent(
        &self,
        group: Group,
        agency: Option<&str>,
        most: u32,
    ) -> Result<Vec<(String, u64)>, DeskError> {
        self.ask(|reader| super::store::board::frequent(reader, group, agency, most))
    }
}

#[cfg(test)]
mod tests {
    use super::super::lifecycle::DAY;
    use super::super::{Actor, Class, Evidence, Sighting, Subject, Verdict};
    use super::*;

    fn sighting(client: &str, agency: &str, family: &str, time: i64) -> Sighting {
        let client = client.parse().unwrap();
        Sighting {
            time,
            client,
            machine: Subject::Address(client),
            host: None,
            agency: Some(agency.to_owned()),
            family: family.to_owned(),
            class: Class::C2,
            name: "c2.example".to_owned(),
            evidence: Evidence::Query,
            count: 1,
            officer: (agency == "a").then(|| "An".to_owned()),
        }
    }

    #[test]
    fn cases_are_counted_paged_and_overdue() {
        let folder = tempfile::tempdir().unwrap();
        let desk = Desk::open(folder.path(), Options::default()).unwrap();
        let now = 100 * DAY;
        for (number, (agency, family, age)) in
            [("a", "emotet", 3), ("a", "emotet", 0), ("b", "qakbot", 9), ("b", "", 0)].into_iter().enumerate()
        {
            let seen = now - age * DAY;
            desk.sighting(&sighting(&format!("10.0.0.{number}"), agency, family, seen), seen).unwrap();
        }
        let all = CaseFilter::default();
        let tally = desk.tally(&all, now).unwrap();
        assert_eq!((tally.open(), tally.of(State::New), tally.overdue), (4, 4, 2));

        let overdue = CaseFilter { overdue: Some(Overdue::at(now, &desk.options())), ..all.clone() };
        let late = desk.list(&overdue).unwrap();
        assert_eq!(late.len(), 2);
        assert!(late.iter().all(|case| overdue.overdue.unwrap().is(&case.course)));

        // Told, and later said clean and closed.
        let by = Actor::Person("An".to_owned());
        let told = late.iter().find(|case| case.family == "qakbot").unwrap();
        desk.told(told.id, "telephone", &by, now - 8 * DAY).unwrap();
        assert_eq!(desk.tally(&all, now).unwrap().overdue, 2, "told, and nothing since");
        desk.said_clean(told.id, "", &by, now - DAY).unwrap();
        desk.close(told.id, "clean", &by, now).unwrap();
        let standings = desk.standings(None, now - DAY, now).unwrap();
        let of = |id: &str| standings.iter().find(|it| it.agency.as_deref() == Some(id)).unwrap().clone();
        assert_eq!((of("a").open, of("a").overdue, of("a").infected, of("a").closed), (2, 1, 2, 0));
        assert_eq!((of("b").open, of("b").closed, of("b").time_to_clean), (1, 1, Some(8 * DAY)));
        let one = desk.standings(Some("b"), now - DAY, now).unwrap();
        assert_eq!(one, [of("b")]);

        let mut pages = Vec::new();
        let mut filter = CaseFilter { limit: Some(3), ..all };
        loop {
            let page = desk.list(&filter).unwrap();
            let Some(last) = page.last() else { break };
            filter.after = Some(Behind { last_hit: last.course.last_hit, id: last.id.0 });
            pages.push(page.iter().map(|case| case.id.0).collect::<Vec<_>>());
        }
        assert_eq!(pages, [vec![4, 2, 1], vec![3]]);
        assert_eq!(filter.after.unwrap().to_string().parse::<Behind>().unwrap(), filter.after.unwrap());

        let families = desk.frequent(Group::Family, None, 10).unwrap();
        assert_eq!(families, [("emotet".to_owned(), 2), (String::new(), 1)]);
        assert_eq!(desk.frequent(Group::Officer, Some("b"), 10).unwrap(), []);
        let sought = |text: &str| {
            let filter = CaseFilter { text: Some(text.to_owned()), ..CaseFilter::default() };
            desk.list(&filter).unwrap().len()
        };
        assert_eq!([sought("c2.exam"), sought("10.0.0.1"), sought("%"), sought("_")], [4, 1, 0, 0]);
    }

    #[test]
    fn machines_are_infected_by_infections_alone() {
        let folder = tempfile::tempdir().unwrap();
        let desk = Desk::open(folder.path(), Options::default()).unwrap();
        let (now, by) = (100 * DAY, Actor::Person("An".to_owned()));
        for (client, agency, family, class, age) in [
            ("10.0.0.1", "a", "emotet", Class::C2, 2),
            ("10.0.0.1", "a", "", Class::Unknown, 1),
            ("10.0.0.1", "b", "qakbot", Class::C2, 0),
            ("10.0.0.2", "a", "", Class::Address, 3),
            ("10.0.0.3", "a", "Phishing", Class::Phishing, 0),
            ("10.0.0.4", "a", "", Class::Scan, 0),
            ("10.0.0.5", "b", "emotet", Class::C2, 9),
            ("10.0.0.6", "b", "Phishing", Class::Phishing, 4),
            ("10.0.0.7", "b", "emotet", Class::C2, 5),
            ("10.0.0.6", "b", "Phishing", Class::Phishing, 1),
            ("10.0.0.7", "b", "emotet", Class::C2, 3),
        ] {
            let sighting = Sighting { class, ..sighting(client, agency, family, now - age * DAY) };
            desk.sighting(&sighting, sighting.time).unwrap();
        }
        let of = |client: &str| {
            let filter = CaseFilter { client: client.parse().ok(), ..CaseFilter::default() };
            desk.list(&filter).unwrap().remove(0).id
        };
        for client in ["10.0.0.5", "10.0.0.6"] {
            desk.close(of(client), "clean", &by, now).unwrap();
        }
        desk.verdict(of("10.0.0.7"), Verdict::FalsePositive, &[], "of a bank", &by, now).unwrap();

        assert_eq!([desk.infected(None), desk.infected(Some("b"))].map(Result::unwrap), [2, 1]);
        let standings = desk.standings(None, now - DAY, now).unwrap();
        let infected: Vec<u64> = standings.iter().map(|it| it.infected).collect();
        assert_eq!(infected, [2, 1], "a machine of two agencies is infected in both");
        assert_eq!(standings[1].closed, 3);
        // The closed infection was seen once; neither the link nor the mistake counts.
        assert_eq!(standings[1].time_to_clean, Some(0));

        let listed = |infected, agency: Option<&str>| -> Vec<String> {
            let agency = agency.map(str::to_owned);
            let filter = CaseFilter { infected: Some(infected), agency, ..CaseFilter::default() };
            desk.list(&filter)
                .unwrap()
                .iter()
                .map(|case| format!("{} {}", case.client, case.family))
                .collect()
        };
        let open = ["10.0.0.1 qakbot", "10.0.0.1 ", "10.0.0.1 emotet", "10.0.0.2 "];
        assert_eq!(listed(Infected::Cases, None)[..4], open);
        assert_eq!(listed(Infected::Cases, None)[4..], ["10.0.0.5 emotet"]);
        assert_eq!(listed(Infected::Machines, None), ["10.0.0.1 qakbot", "10.0.0.2 "]);
        assert_eq!(listed(Infected::Machines, Some("a")), ["10.0.0.1 ", "10.0.0.2 "]);
    }
}
