//! The desk: takes what was seen and what people say, and answers questions about cases.
//!
//! Every change is one transaction with its step, so that what is in the database was done by somebody at some time. Calls wait for
//! the disk, for some milliseconds as a rule: they are for threads that may. The clock is the caller's.

mod error;
mod intake;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use rusqlite::{Connection, Transaction, TransactionBehavior};

pub use error::DeskError;
pub use intake::Notes;

use super::history::History;
use super::lifecycle::{self, Turn};
use super::store;
use super::{
    Actor, Case, CaseFile, CaseFilter, CaseId, Class, Options, Proposal, State, Step, Subject, Ticket,
    Verdict, What,
};
use crate::database::DatabaseError;

/// Octets of a note.
pub const LONGEST_NOTE: usize = 2000;
/// Octets of an officer's or a person's name.
pub const LONGEST_NAME: usize = 200;
/// Steps that a case may have: nobody needs more, and a loop would fill the disk.
const MOST_STEPS: u64 = 2000;
/// What people at a machine may say of it in a day.
const MOST_VISITS: u64 = 20;
/// Names of one case that a verdict is about.
const MOST_NAMES: u32 = 50;
type Result<T> = std::result::Result<T, DeskError>;

/// All cases of a province.
#[derive(Debug, Clone)]
pub struct Desk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    options: RwLock<Arc<Options>>,
    writer: Mutex<Connection>,
    /// So that nobody who reads waits for the disk of one who writes.
    reader: Mutex<Connection>,
}

impl Desk {
    /// Opens the database in `folder`, and makes it where it is missing.
    ///
    /// # Errors
    /// [`DeskError::Store`].
    pub fn open(folder: &Path, options: Options) -> Result<Self> {
        let path = store::path(folder);
        let failed = |source| DeskError::Store { path: path.clone(), source };
        let writer = Mutex::new(store::open(folder).map_err(failed)?);
        let reader = Mutex::new(store::open(folder).map_err(failed)?);
        let options = RwLock::new(Arc::new(options));
        Ok(Self(Arc::new(Inner { path, options, writer, reader })))
    }

    /// Opens the database in `folder`; `None` where there is none.
    ///
    /// # Errors
    /// [`DeskError::Store`].
    pub fn open_existing(folder: &Path, options: Options) -> Result<Option<Self>> {
        if store::path(folder).exists() { Self::open(folder, options).map(Some) } else { Ok(None) }
    }

    /// Where the database is.
    pub(super) fn folder(&self) -> &Path {
        self.0.path.parent().unwrap_or(&self.0.path)
    }

    /// How cases are kept.
    pub fn options(&self) -> Arc<Options> {
        Arc::clone(&self.0.options.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps cases by other options from now on.
    pub fn renew(&self, options: Options) {
        *self.0.options.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(options);
    }

    /// Counts quiet days that are over, closes what was quiet for long enough, and lets go what is old.
    ///
    /// # Errors
    /// [`DeskError`]; then nothing has changed.
    pub fn tick(&self, now: i64) -> Result<()> {
        let failed = |source| self.failed(source);
        let today = self.day(now);
        let is_due = {
            let reader = self.reader();
            !store::cases_to_count(&reader, today).map_err(failed)?.is_empty()
        };
        if is_due {
            self.change(|transaction| {
                for mut case in store::cases_to_count(transaction, today).map_err(failed)? {
                    let turn = case.course.tick(now, today, self.options().quiet_days);
                    self.turned(transaction, &case, turn.as_slice(), now)?;
                    store::update(transaction, &case).map_err(failed)?;
                }
                Ok(())
            })?;
        }
        // A writer's turn only where there is something.
        while self.change(|transaction| {
            store::expire(transaction, now.saturating_sub(self.options().keep)).map_err(failed)
        })? > 0
        {}
        Ok(())
    }

    fn turned(&self, transaction: &Transaction<'_>, case: &Case, turns: &[Turn], now: i64) -> Result<()> {
        for turn in turns {
            let (what, note) = match turn {
                Turn::Watched => (What::Watched, String::new()),
                Turn::Closed => (What::Closed, format!("{} quiet days", case.course.quiet_days)),
                _ => continue,
            };
            self.step(transaction, case, now, &Actor::Server, what, &note)?;
        }
        Ok(())
    }

    /// Gives a case to an officer.
    ///
    /// # Errors
    /// [`DeskError`].
    pub fn assign(&self, id: CaseId, officer: &str, by: &Actor, now: i64) -> Result<Case> {
        let officer = text(officer, "an officer's name", LONGEST_NAME)?;
        self.act(id, by, now, |case| {
            case.officer = Some(officer.clone());
            Ok((What::Assigned, officer))
        })
    }

    /// Adds a note.
    ///
    /// # Errors
    /// [`DeskError`].
    pub fn note(&self, id: CaseId, note: &str, by: &Actor, now: i64) -> Result<Case> {
        let note = text(note, "a note", LONGEST_NOTE)?;
        self.act(id, by, now, |_| Ok((What::Noted, note)))
    }

    /// Somebody was told of a case; `how` says by what.
    ///
    /// # Errors
    /// [`DeskError`].
    pub fn told(&self, id: CaseId, how: &str, by: &Actor, now: i64) -> Result<Case> {
        let how = text(how, "a note", LONGEST_NOTE)?;
        self.act(id, by, now, |case| {
            if !case.course.is_open() {
                return Err(DeskError::IsClosed(case.ticket));
            }
            case.course.told(now);
            Ok((What::Notified, how))
        })
    }

    /// Somebody was told of a case: noted where it is the first time in this episode.
    pub(super) fn told_first(&self, id: CaseId, how: &str, by: &Actor, now: i64) -> Result<()> {
        self.change(|transaction| {
            let mut case = self.case_in(transaction, id)?;
            if case.course.told(now).is_some() {
                self.step(transaction, &case, now, by, What::Notified, how)?;
                store::update(transaction, &case).map_err(|source| self.failed(source))?;
            }
            Ok(())
        })
    }

    /// Somebody says that the machine is clean.
    ///
    /// # Errors
    /// [`DeskError`]: the case is closed, or the machine was seen again after `now`.
    pub fn said_clean(&self, id: CaseId, note: &str, by: &Actor, now: i64) -> Result<Case> {
        let note = free_text(note)?;
        self.act(id, by, now, |case| {
            match case.course.state {
                State::Closed => return Err(DeskError::IsClosed(case.ticket)),
                // It is said once more.
                State::Cleaned | State::Watched => {}
                State::New | State::Notified => {
                    case.course.said_clean(now).ok_or(DeskError::SeenSince(case.ticket))?;
                }
            }
            Ok((What::SaidClean, note))
        })
    }

    /// Somebody at the machine says that the name is listed by mistake. That changes nothing but what analysts see.
    ///
    /// # Errors
    /// [`DeskError`].
    pub fn said_wrong(&self, id: CaseId, note: &str, by: &Actor, now: i64) -> Result<Case> {
        let note = free_text(note)?;
        self.act(id, by, now, |_| Ok((What::SaidWrong, note)))
    }

    /// An analyst says what a case is. One of a name that is no threat is closed, and its names are proposed as exceptions:
    /// `names`, or all that were seen.
    ///
    /// # Errors
    /// [`DeskError`].
    pub fn verdict(
        &self,
        id: CaseId,
        verdict: Verdict,
        names: &[String],
        reason: &str,
        by: &Actor,
        now: i64,
    ) -> Result<Case> {
        let failed = |source| self.failed(source);
        let reason = text(reason, "a reason", LONGEST_NOTE)?;
        self.change(|transaction| {
            let mut case = self.case_in(transaction, id)?;
            self.check_room(transaction, &case, by, now)?;
            case.verdict = Some(verdict);
            let note = format!("{}: {reason}", verdict.as_str());
            self.step(transaction, &case, now, by, What::Judged, &note)?;
            if verdict == Verdict::FalsePositive {
                let seen = store::names(transaction, id, MOST_NAMES).map_err(failed)?;
                for name in if names.is_empty() { &seen[..] } else { names } {
                    store::add_proposal(transaction, id, name, now, by, &reason).map_err(failed)?;
                }
                if case.course.close(now).is_some() {
                    self.step(transaction, &case, now, by, What::Closed, verdict.as_str())?;
                }
            }
            store::update(transaction, &case).map_err(failed)?;
            Ok(case)
        })
    }

    /// Closes a case.
    ///
    /// # Errors
    /// [`DeskError`].
    pub fn close(&self, id: CaseId, reason: &str, by: &Actor, now: i64) -> Result<Case> {
        let reason = text(reason, "a reason", LONGEST_NOTE)?;
        self.act(id, by, now, |case| {
            case.course.close(now).ok_or(DeskError::IsClosed(case.ticket))?;
            Ok((What::Closed, reason))
        })
    }

    /// Opens a closed case again.
    ///
    /// # Errors
    /// [`DeskError`].
    pub fn reopen(&self, id: CaseId, reason: &str, by: &Actor, now: i64) -> Result<Case> {
        let reason = text(reason, "a reason", LONGEST_NOTE)?;
        self.act(id, by, now, |case| {
            case.course.reopen(now).ok_or(DeskError::IsOpen(case.ticket))?;
            case.verdict = None;
            Ok((What::Reopened, reason))
        })
    }

    /// Makes two cases of one trouble one, `into`; both tickets lead to it from then on.
    ///
    /// # Errors
    /// [`DeskError`]: they are of different families or classes.
    pub fn merge(&self, from: CaseId, into: CaseId, reason: &str, by: &Actor, now: i64) -> Result<Case> {
        let reason = free_text(reason)?;
        if from == into {
            return Err(DeskError::Same);
        }
        self.change(|transaction| {
            let (from, into) = (self.case_in(transaction, from)?, self.case_in(transaction, into)?);
            if (&from.family, from.class) != (&into.family, into.class) {
                let trouble = |case: &Case| format!("{:?} ({})", case.family, case.class);
                return Err(DeskError::Different(from.ticket, trouble(&from), into.ticket, trouble(&into)));
            }
            self.join(transaction, &from, into, &reason, by, now)
        })
    }

    fn join(
        &self,
        transaction: &Transaction<'_>,
        from: &Case,
        mut into: Case,
        reason: &str,
        by: &Actor,
        now: i64,
    ) -> Result<Case> {
        let failed = |source| self.failed(source);
        if from.course.last_hit > into.course.last_hit {
            into.client = from.client;
            into.name.clone_from(&from.name);
            into.agency = from.agency.clone().or(into.agency);
        }
        into.host = into.host.or_else(|| from.host.clone());
        into.officer = into.officer.or_else(|| from.officer.clone());
        into.queries = into.queries.saturating_add(from.queries);
        into.contacts = into.contacts.saturating_add(from.contacts);
        into.course.join(&from.course);
        if into.course.is_open() {
            into.verdict = into.verdict.filter(|verdict| *verdict == Verdict::Confirmed);
        }
        store::move_all(transaction, from.id, into.id).map_err(failed)?;
        let note = match reason {
            "" => format!("{} ({})", from.ticket, from.subject),
            reason => format!("{} ({}): {reason}", from.ticket, from.subject),
        };
        self.step(transaction, &into, now, by, What::Merged, &note)?;
        store::update(transaction, &into).map_err(failed)?;
        store::trim_traces(transaction, into.id).map_err(failed)?;
        Ok(into)
    }

    /// Sets a proposal aside: the name is a threat after all.
    ///
    /// # Errors
    /// [`DeskError`].
    pub fn decline(&self, proposal: i64, reason: &str, by: &Actor, now: i64) -> Result<()> {
        let failed = |source| self.failed(source);
        let reason = text(reason, "a reason", LONGEST_NOTE)?;
        self.change(|transaction| {
            let id = store::decline(transaction, proposal, now, by).map_err(failed)?;
            let case = self.case_in(transaction, id.ok_or(DeskError::NoProposal(proposal))?)?;
            let note = format!("proposal {proposal} is declined: {reason}");
            self.step(transaction, &case, now, by, What::Judged, &note)
        })
    }

    /// The names that somebody holds for harmless, the latest first.
    ///
    /// # Errors
    /// [`DeskError`].
    pub fn proposals(&self) -> Result<Vec<Proposal>> {
        store::proposals(&self.reader()).map_err(|source| self.failed(source))
    }

    /// The cases that a filter takes, those seen last first.
    ///
    /// # Errors
    /// [`DeskError`].
    pub fn list(&self, filter: &CaseFilter) -> Result<Vec<Case>> {
        store::list(&self.reader(), filter).map_err(|source| self.failed(source))
    }

    /// The open cases of a machine or address.
    ///
    /// # Errors
    /// [`DeskError`].
    pub fn open_cases(&self, subject: Subject) -> Result<Vec<Case>> {
        let filter =
            CaseFilter { subject: Some(subject), states: store::OPEN.to_vec(), ..CaseFilter::default() };
        self.list(&filter)
    }

    /// The case of a machine for one trouble.
    ///
    /// # Errors
    /// [`DeskError`].
    pub fn find(&self, subject: Subject, family: &str, class: Class) -> Result<Option<Case>> {
        store::case_of_key(&self.reader(), subject, family, class).map_err(|source| self.failed(source))
    }

    /// A case with all that belongs to it.
    ///
    /// # Errors
    /// [`DeskError`].
    pub fn get(&self, id: CaseId) -> Result<Option<CaseFile>> {
        let failed = |source| self.failed(source);
        let reader = self.reader();
        let Some(case) = store::case(&reader, id).map_err(failed)? else { return Ok(None) };
        Ok(Some(CaseFile {
            tickets: store::tickets(&reader, id).map_err(failed)?,
            steps: store::steps(&reader, id).map_err(failed)?,
            traces: store::traces(&reader, id).map_err(failed)?,
            case,
        }))
    }

    /// The case that a ticket leads to.
    ///
    /// # Errors
    /// [`DeskError`].
    pub fn by_ticket(&self, ticket: Ticket) -> Result<Option<Case>> {
        let failed = |source| self.failed(source);
        let reader = self.reader();
        let Some(id) = store::case_of_ticket(&reader, ticket).map_err(failed)? else { return Ok(None) };
        store::case(&reader, id).map_err(failed)
    }

    /// Whether there may be one more open case ([`Options::most_open`]).
    ///
    /// # Errors
    /// [`DeskError`].
    pub fn has_room(&self) -> Result<bool> {
        let open = store::open_count(&self.reader()).map_err(|source| self.failed(source))?;
        Ok(open < self.options().most_open)
    }

    /// What happened to the cases that matter for the time from `since` on and before `until`, of one agency or of all.
    ///
    /// # Errors
    /// [`DeskError`].
    pub fn histories(&self, since: i64, until: i64, agency: Option<&str>) -> Result<Vec<History>> {
        let reader = self.reader();
        store::histories::histories(&reader, since, until, agency).map_err(|source| self.failed(source))
    }

    /// Does one thing to one case.
    fn act(
        &self,
        id: CaseId,
        by: &Actor,
        now: i64,
        act: impl FnOnce(&mut Case) -> Result<(What, String)>,
    ) -> Result<Case> {
        self.change(|transaction| {
            let mut case = self.case_in(transaction, id)?;
            self.check_room(transaction, &case, by, now)?;
            let (what, note) = act(&mut case)?;
            self.step(transaction, &case, now, by, what, &note)?;
            store::update(transaction, &case).map_err(|source| self.failed(source))?;
            Ok(case)
        })
    }

    fn case_in(&self, transaction: &Transaction<'_>, id: CaseId) -> Result<Case> {
        let case = store::case(transaction, id).map_err(|source| self.failed(source))?;
        case.ok_or(DeskError::NoNumber(id))
    }

    /// Whether somebody may still add to a case. The server itself always may: what it adds is bounded by days.
    fn check_room(&self, transaction: &Transaction<'_>, case: &Case, by: &Actor, now: i64) -> Result<()> {
        let failed = |source| self.failed(source);
        if *by != Actor::Server && store::step_count(transaction, case.id).map_err(failed)? >= MOST_STEPS {
            return Err(DeskError::Full(case.ticket));
        }
        let since = now.saturating_sub(lifecycle::DAY);
        if matches!(by, Actor::Visitor(_))
            && store::visitor_steps(transaction, case.id, since).map_err(failed)? >= MOST_VISITS
        {
            return Err(DeskError::Tired(case.ticket));
        }
        Ok(())
    }

    fn step(
        &self,
        transaction: &Transaction<'_>,
        case: &Case,
        time: i64,
        by: &Actor,
        what: What,
        note: &str,
    ) -> Result<()> {
        let step = Step { time, by: by.clone(), what, note: note.to_owned() };
        store::add_step(transaction, case.id, &step).map_err(|source| self.failed(source))
    }

    fn day(&self, time: i64) -> i32 {
        lifecycle::day(time, &self.options().time_zone)
    }

    /// Runs a change as a whole or not at all.
    fn change<T>(&self, change: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let mut writer = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |source: rusqlite::Error| self.failed(source.into());
        // At once: one that begins by reading could not write where somebody else wrote meanwhile.
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let done = change(&transaction)?;
        transaction.commit().map_err(failed)?;
        Ok(done)
    }

    /// Asks the database something.
    pub(super) fn ask<T>(&self, ask: impl FnOnce(&Connection) -> store::Result<T>) -> Result<T> {
        ask(&self.reader()).map_err(|source| self.failed(source))
    }

    fn reader(&self) -> MutexGuard<'_, Connection> {
        self.0.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, source: DatabaseError) -> DeskError {
        DeskError::Store { path: self.0.path.clone(), source }
    }
}

/// A text that somebody gave, which must say something.
fn text(text: &str, what: &'static str, most: usize) -> Result<String> {
    let text = text.trim();
    let is_odd = |letter: char| letter.is_control() && letter != '\n';
    if text.is_empty() || text.len() > most || text.contains(is_odd) {
        return Err(DeskError::Text { what, most });
    }
    Ok(text.to_owned())
}

/// One that may say nothing.
fn free_text(note: &str) -> Result<String> {
    if note.trim().is_empty() { Ok(String::new()) } else { text(note, "a note", LONGEST_NOTE) }
}

/// The actor of a person's name, as commands take it.
///
/// # Errors
/// [`DeskError::Text`].
pub fn person(name: &str) -> Result<Actor> {
    text(name, "a name", LONGEST_NAME).map(Actor::Person)
}

/// The actor at a machine.
pub fn visitor(address: IpAddr) -> Actor {
    Actor::Visitor(address.to_canonical())
}
