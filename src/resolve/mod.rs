//! Resolving what no rule answers: from the cache, by forwarding to upstreams, or by recursion from the root.
//!
//! Knows no policy, no clients and no log. Equal questions that wait at the same time are asked once,
//! and what was asked is finished and kept even when nobody waits for it any more.

pub mod answer;
pub mod cache;
pub mod chain;
mod chase;
pub mod exchange;
pub mod forward;
pub mod health;
#[cfg(test)]
mod peer;
pub mod pool;
pub mod recurse;
pub mod routes;
pub mod stream;
pub mod upstream;
pub mod validate;
pub mod zone;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use self::answer::{Answer, push_option};
use self::cache::{Cache, Entry, Found, Freshness, Key};
use self::exchange::{Ask, Flag, is_ignorance};
use self::forward::{Failure, Forwarder, Met, Prior, Recursion, is_error};
use self::pool::Word;
use self::recurse::Recursor;
use self::routes::{Change, Routes, Source};
use crate::wire::{Response, option, rcode};

/// How long a client waits for a fresh answer while there is a stale one (RFC 8767, section 5: the
/// client response timer).
const STALE_PATIENCE: Duration = Duration::from_millis(1800);
/// Extended errors of failures that are made here (RFC 8914): 22, No Reachable Authority; 23, Network Error; 0, Other.
const NO_REACHABLE_AUTHORITY: u16 = 22;
const NETWORK_ERROR: u16 = 23;
const OTHER: u16 = 0;
/// 20, Not Authoritative: what only recursion would find was asked for without (RD = 0).
const NOT_AUTHORITATIVE: u16 = 20;

/// Answers questions, all of them as one.
pub struct Resolver {
    /// Who is asked. Outlives reloads that do not change it: it knows which servers answer.
    routes: ArcSwap<Routes>,
    /// How often they changed.
    changes: AtomicU32,
    cache: Cache,
    /// Questions that are being asked, and where their answer will be.
    flights: Mutex<Flights>,
    places: Arc<Semaphore>,
    runtime: Handle,
}

/// Where the answer to a question that is being asked will be.
type Flight = watch::Receiver<Option<Arc<Entry>>>;
type Flights = HashMap<Box<[u8]>, Flight>;

/// An answer for a client.
#[derive(Debug, Clone)]
pub struct Served {
    /// The answer.
    pub entry: Arc<Entry>,
    /// How old it is.
    pub aged: Aged,
    /// Where it came from.
    pub origin: Origin,
}

/// How the TTLs of an answer are to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aged {
    /// Less this many seconds.
    By(u32),
    /// As 30 seconds each: their time is over (RFC 8767, section 4).
    Stale,
}

/// The TTL of an answer past its time (RFC 8767, section 4).
const STALE_TTL: u32 = 30;

impl Aged {
    /// What of a TTL is told.
    pub fn ttl(self, kept: u32) -> u32 {
        match self {
            Self::By(age) => kept.saturating_sub(age),
            Self::Stale => STALE_TTL,
        }
    }
}

/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// An upstream was asked for it.
    Upstream,
    /// It was there already.
    Cache,
}

impl Resolver {
    /// Asks by `options` and keeps what comes; at most `capacity` questions are asked at once.
    /// Its work runs on `runtime`.
    pub fn new(options: routes::Options, cache: &cache::Options, capacity: usize, runtime: Handle) -> Self {
        Self {
            routes: ArcSwap::from_pointee(Routes::new(options, &runtime)),
            changes: AtomicU32::new(0),
            cache: Cache::new(cache, Instant::now()),
            flights: Mutex::default(),
            places: Arc::new(Semaphore::new(capacity.min(Semaphore::MAX_PERMITS))),
            runtime,
        }
    }

    /// Asks by these options from now on. Where they change, what the others said is forgotten.
    pub fn set_upstreams(&self, options: routes::Options) {
        let Some((routes, change)) = self.routes.load().changed(options, &self.runtime) else { return };
        self.routes.store(Arc::new(routes));
        // Who waits still gets an answer; who comes now must not get one of the others.
        let is_other = |key: &[u8]| cache::qname(key).is_some_and(|qname| change.concerns(qname));
        self.flights().retain(|key, _| !is_other(key));
        match change {
            Change::All => self.cache.clear(),
            Change::Domains(ref domains) if domains.is_empty() => {}
            Change::Domains(_) => self.cache.retain(|key| !is_other(key)),
        }
        // What others made of answers holds no longer than these.
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// How often whom to ask has changed, and answers were forgotten.
    pub fn changes(&self) -> u32 {
        self.changes.load(Ordering::Acquire)
    }

    /// Whether a name, in wire format, has upstreams of its own. Allocates nothing.
    pub fn has_route(&self, qname: &[u8]) -> bool {
        self.routes.load().route(qname).is_some()
    }

    /// Every upstream with the domain that it is asked for.
    pub fn upstreams(&self) -> Vec<(String, forward::UpstreamFigures)> {
        self.routes.load().upstreams()
    }

    /// Whom to ask.
    fn source(&self, ask: &Ask) -> Source {
        self.routes.load().find(qname(ask))
    }

    /// What the cache has. Waits for nothing.
    pub fn find(&self, key: &Key, now: Instant) -> Option<Found> {
        self.cache.find(key, now)
    }

    /// How long a question about this name, in wire format, may take.
    pub fn deadline(&self, qname: &[u8]) -> Duration {
        self.routes.load().find(qname).deadline()
    }

    /// The time by which answers age, in seconds.
    pub fn seconds(&self, now: Instant) -> u32 {
        self.cache.seconds(now)
    }

    /// Asks again for an answer that is about to end, for the clients to come.
    pub fn refresh(self: &Arc<Self>, ask: Ask) {
        let key = Key::of(&ask);
        if self.fly(key.to_boxed(), ask).is_none() {
            // Too many are being asked: the next one may try.
            self.cache.release(&key);
        }
    }

    /// Answers a question; `found` is what the cache had, and where it had nothing it is looked at
    /// again: the answer may have come since. An answer always comes: SERVFAIL with its extended
    /// errors, at the worst.
    pub async fn resolve(self: &Arc<Self>, ask: Ask, found: Option<Found>) -> Served {
        if ask.recursion == Flag::Clear && matches!(self.source(&ask), Source::Recursor(_)) {
            return self.recall(ask);
        }
        let key = Key::of(&ask);
        let found = found.or_else(|| self.find(&key, Instant::now()));
        if let Some(found) = &found
            && let Some(aged) = found.at_once()
        {
            let served = Served { entry: Arc::clone(&found.entry), aged, origin: Origin::Cache };
            if found.state == Freshness::Ending {
                self.refresh(ask);
            }
            return served;
        }
        let stale =
            found.map(|found| Served { entry: found.entry, aged: Aged::Stale, origin: Origin::Cache });
        let key = key.to_boxed();
        let question = ask.question.clone();
        let failed = |text| {
            let entry = Entry::unkept(failure(&question, OTHER, text));
            Served { entry, aged: Aged::By(0), origin: Origin::Upstream }
        };
        let Some(mut flight) = self.fly(key, ask) else {
            return stale.unwrap_or_else(|| failed("too many questions are being asked"));
        };
        let landed = async { flight.wait_for(Option::is_some).await.ok().and_then(|entry| entry.clone()) };
        let fresh = match &stale {
            None => landed.await,
            Some(_) => tokio::time::timeout(STALE_PATIENCE, landed).await.ok().flatten(),
        };
        let is_good = |entry: &Arc<Entry>| entry.answer.rcode() != rcode::SERVFAIL;
        match (fresh, stale) {
            (Some(entry), None) => Served { entry, aged: Aged::By(0), origin: Origin::Upstream },
            (Some(entry), Some(_)) if is_good(&entry) => {
                Served { entry, aged: Aged::By(0), origin: Origin::Upstream }
            }
            (_, Some(stale)) => stale,
            (None, None) => failed("the question could not be asked"),
        }
    }

    /// Answers a question of somebody who does not want recursion, by what others were answered.
    fn recall(&self, ask: Ask) -> Served {
        let known = Ask { recursion: Flag::Set, ..ask };
        let found = self.find(&Key::of(&known), Instant::now());
        match found.as_ref().and_then(Found::at_once).zip(found) {
            Some((aged, found)) => Served { entry: found.entry, aged, origin: Origin::Cache },
            None => {
                let mut refusal = failure(&known.question, NOT_AUTHORITATIVE, "set RD to have it resolved");
                refusal.set_refused();
                Served { entry: Entry::unkept(refusal), aged: Aged::By(0), origin: Origin::Cache }
            }
        }
    }

    /// Asks a question, unless it is being asked already. `None` when too many are.
    fn fly(self: &Arc<Self>, key: Box<[u8]>, ask: Ask) -> Option<Flight> {
        let source = self.source(&ask);
        match self.board(key, ask, source, None) {
            Boarding::Ours(takeoff) => {
                let flight = takeoff.ended.flight.clone();
                self.go_on(takeoff, None);
                Some(flight)
            }
            Boarding::Theirs(flight) => Some(flight),
            Boarding::Full => None,
        }
    }

    fn board(
        self: &Arc<Self>,
        key: Box<[u8]>,
        mut ask: Ask,
        source: Source,
        first: Option<(usize, SocketAddr)>,
    ) -> Boarding {
        let mut flights = self.flights();
        if let Some(flight) = flights.get(&key) {
            return Boarding::Theirs(flight.clone());
        }
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else { return Boarding::Full };
        let (landing, flight) = watch::channel(None);
        flights.insert(key.clone(), flight.clone());
        drop(flights);
        let ended = Ended { resolver: Arc::clone(self), key, flight };
        let recursion = ask.recursion;
        if let Source::Forwarder(forwarder) = &source {
            forwarder.prepare(&mut ask);
        }
        Boarding::Ours(Takeoff { ask, recursion, source, first, landing, ended, _place: place })
    }

    /// Leaves a question to the caller, who asks its first upstream by a [`pool::Pool`] of his own and
    /// brings what came to [`Self::settle`]. `None` when it is being asked already, too many are, or it takes
    /// more than datagrams to one upstream: then [`Self::resolve`] waits for it.
    pub fn take_off(self: &Arc<Self>, ask: Ask) -> Option<Takeoff> {
        let Source::Forwarder(forwarder) = self.source(&ask) else { return None };
        let first = forwarder.first()?;
        let key = Key::of(&ask).to_boxed();
        match self.board(key, ask, Source::Forwarder(forwarder), Some(first)) {
            Boarding::Ours(takeoff) => Some(takeoff),
            Boarding::Theirs(_) | Boarding::Full => None,
        }
    }

    /// Takes what came of a question that was [left to the caller](Self::take_off), asked at `asked_at` of
    /// its first upstream. `None` when that is no good answer: it is then asked the long way, and
    /// [`Self::resolve`] waits for it.
    pub fn settle(self: &Arc<Self>, takeoff: Takeoff, word: Word<'_>, asked_at: Instant) -> Option<Served> {
        let (Some((number, _)), Source::Forwarder(forwarder)) = (takeoff.first(), takeoff.source.clone())
        else {
            self.go_on(takeoff, None);
            return None;
        };
        let met = match word {
            Word::Answer(message) => match Response::parse(message) {
                Ok(response) => match forwarder.note_answer(number, &response, asked_at) {
                    Some(answer) => {
                        let entry = self.land(&takeoff, answer);
                        return Some(Served { entry, aged: Aged::By(0), origin: Origin::Upstream });
                    }
                    // It does not know EDNS: it is asked again without.
                    None if is_ignorance(message) => Met::Nothing,
                    None => Met::Refusal(message.to_vec()),
                },
                // The pool believed only what parses.
                Err(_) => Met::Oddity,
            },
            Word::Odd => Met::Oddity,
            Word::Guessed | Word::Local => Met::Nothing,
            Word::Unreachable => {
                forwarder.note_unreachable(number);
                Met::Unreachable
            }
        };
        self.go_on(takeoff, Some(Prior { number, asked_at, met }));
        None
    }

    /// Goes on with a question that was [left to the caller](Self::take_off) and had no answer from its first
    /// upstream within its patience. Should it still come, `late` brings it.
    pub fn overdue(self: &Arc<Self>, takeoff: Takeoff, late: oneshot::Receiver<Vec<u8>>, asked_at: Instant) {
        let prior = match (takeoff.first(), &takeoff.source) {
            (Some((number, _)), Source::Forwarder(forwarder)) => {
                forwarder.note_no_answer(number, asked_at);
                Some(Prior { number, asked_at, met: Met::Silence(late) })
            }
            _ => None,
        };
        self.go_on(takeoff, prior);
    }

    /// Asks a question in the background.
    fn go_on(self: &Arc<Self>, takeoff: Takeoff, prior: Option<Prior>) {
        let resolver = Arc::clone(self);
        self.runtime.spawn(async move { resolver.ask(takeoff, prior).await });
    }

    async fn ask(self: &Arc<Self>, takeoff: Takeoff, prior: Option<Prior>) {
        let answer = match &takeoff.source {
            Source::Forwarder(forwarder) => {
                let answer = forwarded(forwarder, takeoff.ask.clone(), prior).await;
                match takeoff.follows_aliases() {
                    true => {
                        let ask = Ask { recursion: takeoff.recursion, ..takeoff.ask.clone() };
                        self.chase(answer, &ask, takeoff.deadline()).await
                    }
                    false => answer,
                }
            }
            Source::Recursor(recursor) => recursed(recursor, &takeoff.ask).await,
        };
        self.land(&takeoff, answer);
    }

    /// Keeps an answer, and gives it to all who wait for it. Whoever comes later finds it in the cache: the
    /// question is taken off the list after this.
    fn land(&self, takeoff: &Takeoff, answer: Answer) -> Arc<Entry> {
        let Takeoff { source, landing, ended, .. } = takeoff;
        // What former upstreams say is for those who wait for it, and for nobody else.
        let is_current = || {
            let asked = qname(&takeoff.ask);
            source.is(&self.routes.load().find(asked))
        };
        let entry = if is_current() {
            let entry = self.cache.insert(ended.key.clone(), answer, Instant::now());
            if !is_current() {
                // The cache may have been cleared just before.
                self.cache.remove(&ended.key);
            }
            entry
        } else {
            Entry::unkept(answer)
        };
        landing.send_replace(Some(Arc::clone(&entry)));
        entry
    }

    fn flights(&self) -> MutexGuard<'_, Flights> {
        // Whatever panicked, the map is whole.
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question that is being asked, and the right to answer it.
pub struct Takeoff {
    ask: Ask,
    /// As the client set it, whatever upstreams are asked.
    recursion: Flag,
    /// Who was asked, also once others are to be.
    source: Source,
    first: Option<(usize, SocketAddr)>,
    landing: watch::Sender<Option<Arc<Entry>>>,
    ended: Ended,
    _place: OwnedSemaphorePermit,
}

impl Takeoff {
    /// The upstream to ask, and its number.
    pub fn first(&self) -> Option<(usize, SocketAddr)> {
        self.first
    }

    /// What to ask it.
    pub fn ask(&self) -> &Ask {
        &self.ask
    }

    /// Whether it is for us to follow aliases: upstreams were not asked to.
    fn follows_aliases(&self) -> bool {
        let are_masters = |forwarder: &Forwarder| forwarder.options().recursion == Recursion::None;
        self.recursion == Flag::Set
            && matches!(&self.source, Source::Forwarder(forwarder) if are_masters(forwarder))
    }

    /// After this much silence the question goes on to the next one.
    pub fn patience(&self) -> Duration {
        match &self.source {
            Source::Forwarder(forwarder) => forwarder.options().patience.min(self.deadline()),
            Source::Recursor(_) => self.deadline(),
        }
    }

    /// After this the question has failed.
    pub fn deadline(&self) -> Duration {
        self.source.deadline()
    }
}

/// What came of the wish to ask a question.
enum Boarding {
    /// The caller asks it.
    Ours(Takeoff),
    /// Somebody asks it already.
    Theirs(Flight),
    /// Too many are being asked.
    Full,
}

/// Takes a question off the list, also when its task ends by a panic.
struct Ended {
    resolver: Arc<Resolver>,
    key: Box<[u8]>,
    flight: Flight,
}

impl Drop for Ended {
    fn drop(&mut self) {
        let mut flights = self.resolver.flights();
        // Other upstreams may be asked the same by now.
        if flights.get(&self.key).is_some_and(|flight| flight.same_channel(&self.flight)) {
            flights.remove(&self.key);
        }
    }
}

/// The name that is asked for, in wire format.
fn qname(ask: &Ask) -> &[u8] {
    ask.question.split_last_chunk::<4>().map_or(&[], |(qname, _)| qname)
}

/// What upstreams answer.
async fn forwarded(forwarder: &Forwarder, ask: Ask, prior: Option<Prior>) -> Answer {
    let question = ask.question.clone();
    match forwarder.resolve(ask, prior).await {
        Ok(answer) => answer,
        Err(Failure::Refused(message)) => match Response::parse(&message) {
            Ok(response) if has_error(&response) => {
                Answer::failure(&question, Answer::new(&response).errors())
            }
            Ok(response) if is_error(&response) => {
                failure(&question, NO_REACHABLE_AUTHORITY, "every upstream failed")
            }
            _ => failure(&question, NETWORK_ERROR, "what upstreams answered is no answer"),
        },
        Err(Failure::Garbled) => failure(&question, NETWORK_ERROR, "no upstream's answer could be used"),
        Err(Failure::Silence) => failure(&question, NO_REACHABLE_AUTHORITY, "no upstream answered"),
        Err(Failure::Local) => failure(&question, OTHER, "this server is out of sockets"),
    }
}

/// What name servers answer, from the root down.
async fn recursed(recursor: &Recursor, ask: &Ask) -> Answer {
    let resolved = match recursor.resolve(ask).await {
        Ok(resolved) => resolved,
        Err(trouble) => return failure(&ask.question, trouble.code(), &trouble.to_string()),
    };
    let Ok(response) = Response::parse(&resolved.message) else {
        return failure(&ask.question, OTHER, "the answer cannot be put together");
    };
    let mut answer = Answer::new(&response);
    if resolved.is_authentic {
        answer.set_authentic();
    }
    if let Some(cause) = resolved.cause {
        answer.set_errors(&extended_error(cause.code, &cause.text));
    }
    answer
}

fn has_error(response: &Response<'_>) -> bool {
    response.options().any(|(code, _)| code == option::EDE)
}

fn failure(question: &[u8], code: u16, text: &str) -> Answer {
    Answer::failure(question, &extended_error(code, text))
}

/// An EDNS option (RFC 8914).
fn extended_error(code: u16, text: &str) -> Vec<u8> {
    let mut errors = Vec::new();
    push_option(&mut errors, option::EDE, &[&code.to_be_bytes()[..], text.as_bytes()].concat());
    errors
}

#[cfg(test)]
mod tests;
