//! Cases side by side: how many are how far, which are overdue, and how agencies do. What pages and reports of the moment ask.
//!
//! Answered by SQL with a bound on what comes back; the clock is the caller's.

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
    /// Machines with open cases of malware.
    pub infected: u64,
    /// Cases that were closed in the time that was asked for.
    pub closed: u64,
    /// How long their machines were infected, on average, in microseconds.
    pub time_to_clean: Option<i64>,
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
    use super::super::{Actor, Class, Evidence, Sighting, Subject};
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
}
