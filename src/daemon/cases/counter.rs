//! The case desk as the landing page knows it: which case a visit belongs to, and what is said at the machine.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Means;
use super::who::who;
use crate::cases::desk::visitor;
use crate::cases::{self, Desk, DeskError, Effect, Evidence, Sighting, State, Subject, Ticket, What};
use crate::daemon::{identity_folder, landing};
use crate::identity::{Book, BookError, Hints};
use crate::sinkhole::desk::{self as page, Case, Class, Filed, Said, Statement, Visit};

/// What the landing page asks.
pub(super) struct Counter {
    means: Arc<Means>,
    /// `None` until it could be opened.
    book: Mutex<Option<Arc<Book>>>,
}

/// Why the desk cannot be asked.
#[derive(Debug, thiserror::Error)]
enum CounterError {
    #[error(transparent)]
    Desk(#[from] DeskError),
    #[error(transparent)]
    Book(#[from] BookError),
}

impl Counter {
    pub(super) fn new(means: &Arc<Means>) -> Self {
        Self { means: Arc::clone(means), book: Mutex::default() }
    }

    fn book(&self) -> Result<Arc<Book>, BookError> {
        let mut book: MutexGuard<'_, _> = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        match &*book {
            Some(book) => Ok(Arc::clone(book)),
            None => {
                let opened = Book::open(&identity_folder(&self.means.data_dir))?;
                Ok(Arc::clone(book.insert(Arc::new(opened))))
            }
        }
    }

    fn find(&self, visit: &Visit<'_>) -> Result<Option<Case>, CounterError> {
        let (desk, book) = (&self.means.desk()?, &*self.book()?);
        let facts = self.means.facts();
        let agency =
            self.means.pipeline.state().agencies.of(visit.client).map(|agency| agency.id.to_string());
        let hints = Hints { agency: agency.as_deref(), ..Hints::default() };
        let person = who(book, visit.client.to_canonical(), visit.time, &hints)?;
        let (Some(host), Some(listing)) = (visit.host, visit.listing) else {
            // It came by a name that is not listed any more, or by none: what is known of the machine.
            let known = desk.open_cases(person.subject)?;
            return known.first().map(|case| told(desk, case)).transpose();
        };
        let class =
            facts.classes.of(listing.family.as_deref(), Some(&listing.feed), listing.class == Class::Address);
        let agency = person.agency.or(agency);
        let sighting = Sighting {
            time: visit.time,
            client: visit.client.to_canonical(),
            machine: person.subject,
            host: person.host,
            officer: agency.as_deref().and_then(|id| facts.officers.get(id)).cloned(),
            agency,
            family: listing.family.clone().unwrap_or_default(),
            class,
            name: shortened(host),
            evidence: Evidence::Visit,
            count: 1,
        };
        if matches!(desk.sighting(&sighting, visit.time)?, Effect::Harmless | Effect::Refused) {
            return Ok(None);
        }
        let case = desk.find(sighting.machine, &sighting.family, class)?;
        case.map(|case| told(desk, &case)).transpose()
    }

    fn state(
        &self,
        statement: &Statement<'_>,
        say: impl FnOnce(&Desk, &cases::Case, &cases::Actor) -> Result<Filed, DeskError>,
    ) -> Result<Filed, page::DeskError> {
        let stated = || {
            let (desk, book) = (&self.means.desk()?, &*self.book()?);
            let Ok(ticket) = statement.ticket.parse::<Ticket>() else { return Ok(Filed::NoCase) };
            let Some(case) = desk.by_ticket(ticket)? else { return Ok(Filed::NoCase) };
            let client = statement.client.to_canonical();
            let is_here = case.client == client
                || case.subject == Subject::Address(client)
                || who(book, client, statement.time, &Hints::default())?.subject == case.subject;
            if !is_here {
                return Ok(Filed::NoCase);
            }
            match say(desk, &case, &visitor(client)) {
                // Nothing more of it would help anybody.
                Err(DeskError::Tired(_) | DeskError::Full(_) | DeskError::IsClosed(_)) => Ok(Filed::Already),
                said => Ok(said?),
            }
        };
        stated().map_err(|error: CounterError| page::DeskError(error.into()))
    }
}

/// Names are short; what a browser sends need not be.
fn shortened(host: &str) -> String {
    host.chars().filter(|letter| !letter.is_control()).take(253).collect()
}

/// A case as the page tells of it.
fn told(desk: &Desk, case: &cases::Case) -> Result<Case, CounterError> {
    let said = match case.course.state {
        State::Cleaned | State::Watched => Some(Said::Clean),
        _ => {
            let file = desk.get(case.id)?;
            let steps = file.iter().flat_map(|file| &file.steps);
            let mut of_now = steps.filter(|step| step.time >= case.course.since);
            of_now.any(|step| step.what == What::SaidWrong).then_some(Said::Wrong)
        }
    };
    Ok(Case {
        ticket: case.ticket.to_string(),
        class: landing::class(case.class),
        name: Some(case.name.clone()),
        family: Some(case.family.clone()).filter(|family| !family.is_empty()),
        machine: case.host.clone(),
        since: case.course.first_hit,
        sightings: case.queries.saturating_add(case.contacts).max(1),
        said,
    })
}

impl page::Desk for Counter {
    fn case_of(&self, visit: &Visit<'_>) -> Option<Case> {
        match self.find(visit) {
            Ok(case) => case,
            Err(error) => {
                tracing::warn!("the landing page has no ticket: {error}");
                None
            }
        }
    }

    fn said_clean(&self, statement: &Statement<'_>) -> Result<Filed, page::DeskError> {
        self.state(statement, |desk, case, by| {
            if matches!(case.course.state, State::Cleaned | State::Watched) {
                return Ok(Filed::Already);
            }
            desk.said_clean(case.id, statement.note.unwrap_or_default(), by, statement.time)?;
            Ok(Filed::Taken)
        })
    }

    fn said_wrong(&self, statement: &Statement<'_>) -> Result<Filed, page::DeskError> {
        self.state(statement, |desk, case, by| {
            let file = desk.get(case.id)?;
            let steps = file.iter().flat_map(|file| &file.steps);
            if steps.filter(|step| step.time >= case.course.since).any(|step| step.what == What::SaidWrong) {
                return Ok(Filed::Already);
            }
            desk.said_wrong(case.id, statement.note.unwrap_or_default(), by, statement.time)?;
            Ok(Filed::Taken)
        })
    }
}
