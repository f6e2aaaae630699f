//! Recursion: names are resolved from the root down, by asking the name servers in charge.
//!
//! `walk` goes down, `ask` asks a zone's servers, [`digest`] takes from their responses what they may
//! say, `store` and `servers` remember, [`task`] bounds it all, [`piece`] makes an answer of what was found, [`judge`] is
//! the seam to validation. Answers to clients are kept and shared by [`super::Resolver`], which calls this.

mod ask;
pub mod digest;
mod dnssec;
pub mod hints;
pub mod judge;
pub mod piece;
mod servers;
mod store;
pub mod task;
pub mod transport;
mod walk;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use self::digest::{Delegation, MOST_ALIASES};
use self::judge::{Boxed, Cause, Fetch, Freshness, Judge, Unfetched, Verdict};
use self::piece::{Outcome, Piece, compose};
use self::servers::Servers;
use self::store::Store;
use self::task::{Budget, Task, Trouble};
use self::transport::{Network, Transport};
use super::exchange::{Ask, Flag};
use super::validate::{self, Validator};
use crate::name::Name;
use crate::wire::{Response, rtype, u16_at};

/// How often the root's servers are asked who they are, where they do not answer.
const PRIMING_PAUSE: Duration = Duration::from_secs(30);

/// How names are resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The root's servers, to begin with.
    pub hints: Arc<Delegation>,
    /// After this a question has failed.
    pub deadline: Duration,
    /// Octets of all that is remembered between questions.
    pub max_size: u64,
    /// How answers are validated; `None`: not at all.
    pub validation: Option<validate::Options>,
}

/// Resolves names from the root down.
pub struct Recursor {
    engine: Arc<Engine>,
}

/// What was resolved.
#[derive(Debug)]
pub struct Resolved {
    /// The answer: a message as from a resolver, with RA.
    pub message: Vec<u8>,
    /// Whether all of it was validated.
    pub is_authentic: bool,
    /// Why it was not, where that is worth telling.
    pub cause: Option<Cause>,
}

impl Recursor {
    /// Resolves over the network.
    pub fn new(options: Options) -> Self {
        let validator = options.validation.clone().map(|options| Arc::new(Validator::new(options)) as _);
        Self::over(Arc::new(Network::default()), options, validator)
    }

    /// As [`Self::new`], over another network; `judge` validates, if given, whatever the options say.
    pub fn over(transport: Arc<dyn Transport>, options: Options, judge: Option<Arc<dyn Judge>>) -> Self {
        let begun = Instant::now().into_std();
        let engine = Engine {
            store: Store::new(options.max_size),
            servers: Servers::new(begun),
            transport,
            judge,
            begun,
            prime_at: AtomicU64::new(0),
            options,
        };
        Self { engine: Arc::new(engine) }
    }

    /// How it resolves.
    pub fn options(&self) -> &Options {
        &self.engine.options
    }

    /// Whether another one would ask the same servers, and validate alike.
    pub fn asks_the_same(&self, other: &Self) -> bool {
        let facts = |it: &Self| (Arc::clone(&it.options().hints), it.options().validation.clone());
        facts(self) == facts(other)
    }

    /// Resolves a question.
    ///
    /// # Errors
    /// [`Trouble`], after the deadline at the latest.
    pub async fn resolve(&self, ask: &Ask) -> Result<Resolved, Trouble> {
        let deadline = Instant::now() + self.engine.options.deadline;
        let task = Task::new(Budget::new(deadline));
        self.engine.resolve(ask, task).await
    }
}

/// What all questions share.
struct Engine {
    options: Options,
    store: Store,
    servers: Servers,
    transport: Arc<dyn Transport>,
    judge: Option<Arc<dyn Judge>>,
    begun: std::time::Instant,
    /// Milliseconds after [`Self::begun`] from which on the root may be asked for its servers.
    prime_at: AtomicU64,
}

impl Engine {
    async fn resolve(self: &Arc<Self>, ask: &Ask, task: Task) -> Result<Resolved, Trouble> {
        let deadline = task.budget.deadline;
        let found = timeout_at(deadline, self.pieces(ask, task)).await.unwrap_or(Err(Trouble::Late))?;
        let now = Instant::now().into_std();
        let message = compose(&ask.question, &found.pieces, ask.dnssec_ok == Flag::Set, now);
        let Found { is_authentic, cause, .. } = found;
        Ok(Resolved { message: message.ok_or(Trouble::TooLong)?, is_authentic, cause })
    }

    /// The pieces that answer a question.
    async fn pieces(self: &Arc<Self>, ask: &Ask, mut task: Task) -> Result<Found, Trouble> {
        let at = ask.question.len().saturating_sub(4);
        let question = Name::from_wire(&ask.question[..at]).zip(u16_at(&ask.question, at));
        // The pipeline asks only what parsed.
        let (mut name, qtype) = question.ok_or(Trouble::TooLong)?;
        let is_authentic = self.judge.is_some() && ask.checking_disabled == Flag::Clear;
        let mut all = Found { pieces: Vec::new(), is_authentic, cause: None };
        'walks: loop {
            let mut pieces = Arc::clone(self).walk(name.clone(), qtype, task.clone()).await?;
            if qtype == rtype::CNAME {
                // The alias itself is what is asked for.
                pieces.truncate(1);
            }
            for piece in pieces {
                if all.pieces.iter().any(|found| found.qname == piece.qname) {
                    return Err(Trouble::Aliases);
                }
                match self.judge(&piece, ask, &task).await {
                    // Somebody on the way may have forged it: another server is asked, once.
                    Some(Verdict::Bogus(_)) if task.distrusted.is_none() => {
                        task.distrusted = Some(piece.from);
                        name = piece.qname.clone();
                        continue 'walks;
                    }
                    Some(Verdict::Bogus(cause)) => return Err(Trouble::Bogus(cause)),
                    Some(Verdict::Secure { .. }) => {}
                    verdict => {
                        all.is_authentic = false;
                        if let Some(Verdict::Insecure(cause)) = verdict {
                            all.cause = all.cause.or(cause);
                        }
                    }
                }
                all.pieces.push(piece);
            }
            let target = match all.pieces.last().map(|piece| &piece.outcome) {
                Some(Outcome::Alias(target)) if qtype != rtype::CNAME => target.clone(),
                _ => return Ok(all),
            };
            if all.pieces.len() >= MOST_ALIASES {
                return Err(Trouble::Aliases);
            }
            name = target;
        }
    }

    /// What validation says of a piece; `None` where it is not asked.
    async fn judge(self: &Arc<Self>, piece: &Piece, ask: &Ask, task: &Task) -> Option<Verdict> {
        let judge = self.judge.as_ref().filter(|_| ask.checking_disabled == Flag::Clear)?;
        if let Some(verdict) = piece.verdict() {
            return Some(verdict);
        }
        let fetcher = Fetcher { engine: Arc::clone(self), task: task.clone() };
        let verdict = judge.judge(&piece.message, &fetcher).await;
        piece.set_verdict(verdict.clone());
        Some(verdict)
    }

    /// The servers of the nearest known zone at or above a name.
    fn closest(self: &Arc<Self>, name: &Name, now: std::time::Instant) -> Arc<Delegation> {
        self.store.closest(name, now).unwrap_or_else(|| {
            self.prime(now);
            Arc::clone(&self.options.hints)
        })
    }

    /// Asks the root's servers who they are (RFC 8109), in the background: the hints do in the meantime.
    fn prime(self: &Arc<Self>, now: std::time::Instant) {
        let millis = |time: std::time::Instant| time.saturating_duration_since(self.begun).as_millis() as u64;
        let (at, next) = (self.prime_at.load(Ordering::Relaxed), millis(now + PRIMING_PAUSE));
        let is_ours =
            || self.prime_at.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if at > millis(now) || !is_ours() {
            return;
        }
        let engine = Arc::clone(self);
        tokio::spawn(async move {
            let task = Task::new(Budget::new(Instant::now() + engine.options.deadline));
            let hints = Arc::clone(&engine.options.hints);
            let said = match ask::ask(&engine, &task, &hints, (&hints.zone, rtype::NS)).await {
                Ok(said) => said,
                Err(trouble) => {
                    tracing::warn!(%trouble, "the root's servers cannot be asked who they are; the hints are used");
                    return;
                }
            };
            let servers = Response::parse(&said.packet)
                .ok()
                .and_then(|response| digest::servers_in_answer(&response, &hints.zone));
            let Some(mut servers) = servers else { return };
            // The response may have room for some addresses only.
            for server in servers.servers.iter_mut().filter(|server| server.addresses.is_empty()) {
                let hint = hints.servers.iter().find(|hint| hint.name == server.name);
                server.addresses = hint.map(|hint| hint.addresses.clone()).unwrap_or_default();
            }
            engine.store.insert_delegation(Arc::new(servers), Instant::now().into_std());
        });
    }
}

/// What answers a question.
struct Found {
    pieces: Vec<Arc<Piece>>,
    /// Whether all of them are secure.
    is_authentic: bool,
    cause: Option<Cause>,
}

/// Fetches keys for validation, out of the budget of the question that is validated.
struct Fetcher {
    engine: Arc<Engine>,
    task: Task,
}

impl Fetch for Fetcher {
    fn fetch<'a>(
        &'a self,
        qname: &'a Name,
        qtype: u16,
        freshness: Freshness,
    ) -> Boxed<'a, Result<Vec<u8>, Unfetched>> {
        Box::pin(async move {
            let now = Instant::now().into_std();
            if (qtype, freshness) == (rtype::DS, Freshness::Known)
                && self.engine.store.piece(qname, qtype, now).is_none()
                && let Some(no_ds) = self.engine.store.no_ds(qname, now)
            {
                return Ok(no_ds.message.to_vec());
            }
            let mut task = self.task.below(qname, qtype).ok_or(Unfetched::Spent)?;
            if freshness == Freshness::Now {
                let known = self.engine.store.piece(qname, qtype, now);
                task.distrusted = Some(known.map_or(IpAddr::from([0; 4]), |piece| piece.from));
            }
            let pieces = Arc::clone(&self.engine).walk(qname.clone(), qtype, task).await;
            let pieces = pieces.map_err(|trouble| match trouble {
                Trouble::Spent | Trouble::Late => Unfetched::Spent,
                _ => Unfetched::NoAnswer,
            })?;
            pieces.first().map(|piece| piece.message.to_vec()).ok_or(Unfetched::NoAnswer)
        })
    }
}

#[cfg(test)]
mod tests;
