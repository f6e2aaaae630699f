//! The pipeline: what happens to one query, whatever transport it came by.
//!
//! Here client, policy, resolving and evidence meet, and nowhere else. The front half is
//! synchronous and takes many queries at once; a query that must wait becomes a [`Job`] for the back half. Every
//! answer has its record written before it may be sent.

mod excess;
mod local;
mod met;
mod notice;
mod visited;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

mod response;

use super::answer::local::Chain;
use super::answer::{self, Ede, Stem};
use super::apply::{Access, Applied, Sinkhole, apply, refusal};
use super::ddr::Designation;
use super::identity::Identity;
use super::primaries::Primaries;
use super::proxy::Proxies;
use super::published::Shelf;
use super::ready::{Facts, Life, Question, Ready};
use super::rulebook::Rulebook;
use super::special::Special;
use crate::client::admission::{Admission, Ticket};
use crate::client::cookie::{self, Cookie, Cookies};
use crate::client::limits::{Limits, Proof, Sending};
use crate::client::prefix::PrefixMap;
use crate::client::rate::Rate;
use crate::client::{Agencies, Agency};
use crate::clock;
use crate::evidence::journal::Journal;
use crate::evidence::record::{Head, Outcome, Record, Transport};
use crate::name::{Key, Name};
use crate::policy::decide::{Decision, Ruling, decide_many, must_wait};
use crate::policy::layers::{Asker, Own};
use crate::policy::rule::Signed;
use crate::policy::trigger::Trigger;
use crate::resolve::cache::{AskFlags, Found, Key as CacheKey};
use crate::resolve::exchange::Ask;
use crate::resolve::forward::UpstreamFigures;
use crate::resolve::pool::Word;
use crate::resolve::zone::Zones;
use crate::resolve::{Aged, Origin, Resolver, Served, Takeoff, routes};
use crate::tsig::{Keys, Signer};
use crate::wire::{self, Query, Reject, Response, Told, option, rcode};
use met::Met;
pub use visited::Listed;

/// What a reload replaces as one, with every new policy. Copies share their accounts and their rules.
#[derive(Clone)]
pub struct State {
    /// Networks whose clients are answered.
    pub allow: Arc<PrefixMap<()>>,
    /// How many queries a second clients may ask, and how many answers they are sent.
    pub limits: Arc<Limits>,
    /// Forwarders that are believed about their clients.
    pub forwarders: Arc<PrefixMap<()>>,
    /// How clients prove their addresses; `None`: their cookies are ignored.
    pub cookies: Option<Cookies>,
    /// Who owns which network.
    pub agencies: Arc<Agencies>,
    /// All rules.
    pub rules: Rulebook,
    /// Where sinkholed names lead.
    pub sinkhole: Sinkhole,
    /// Which queries are recorded.
    pub log: LogScope,
    /// How long a connection may be without a query.
    pub idle: Duration,
    /// The balancers that say who asks; `None`: there are none.
    pub proxies: Option<Arc<Proxies>>,
    /// Where encrypted transports are; `None`: nobody is told.
    pub designation: Option<Arc<Designation>>,
    /// Names that are answered here and asked of nobody.
    pub special: Arc<Special>,
    /// What this server tells of itself.
    pub identity: Identity,
    /// What signs transactions.
    pub keys: Arc<Keys>,
    /// Who may say that a zone has changed which feeds are taken from.
    pub primaries: Arc<Primaries>,
}

impl State {
    /// Whether `client` may ask.
    pub fn access(&self, client: IpAddr) -> Access {
        Access::of(client, &self.allow)
    }

    /// What a query's cookie, if it has one, says about its client.
    fn cookie(&self, query: &Query<'_>, arrival: Arrival) -> Result<Option<Cookie>, cookie::Malformed> {
        let (Some(cookies), Some(option)) = (&self.cookies, query.cookie()) else { return Ok(None) };
        // Modulo 2³², as cookies tell the time.
        let seconds = (arrival.time / 1_000_000) as u32;
        cookies.read(option, arrival.client, seconds).map(Some)
    }
}

/// Which queries are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogScope {
    /// All.
    All,
    /// Hits, and what rules of feeds in shadow would have made hits.
    Hits,
}

/// What all transports share.
pub struct Pipeline {
    state: ArcSwap<State>,
    /// Two replacements must not overtake each other.
    replacing: Mutex<()>,
    zones: ArcSwap<Zones>,
    /// Zones that are made of the policy for other resolvers.
    pub published: Shelf,
    resolver: Arc<Resolver>,
    /// The journal of everything but the UDP workers' own answers.
    journal: Mutex<Journal>,
    pending: Arc<Semaphore>,
    capacity: u32,
    /// No client may take all places.
    shares: Admission,
}

/// How many queries may wait for upstreams at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// In all.
    pub pending: usize,
    /// Of one client address.
    pub per_client: usize,
}

/// Who asked, how, and when.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// The client.
    pub client: IpAddr,
    /// The transport.
    pub transport: Transport,
    /// Microseconds since 1970.
    pub time: i64,
    /// The same moment, for the latency.
    pub instant: Instant,
}

impl Arrival {
    /// A query that has just come. Asks the machine's clocks.
    pub fn now(client: IpAddr, transport: Transport) -> Self {
        Self { client: client.to_canonical(), transport, time: clock::now(), instant: Instant::now() }
    }
}

/// What the front half made of a packet.
pub enum Step {
    /// No answer, for the sender deserves or is given none.
    Silent,
    /// The answer is in the buffer, its record in the journal.
    Answered,
    /// Somebody else must be asked: hand it to [`Pipeline::finish`].
    Wait(Box<Job>),
}

/// A query that waits for an upstream.
pub struct Job {
    packet: Vec<u8>,
    arrival: Arrival,
    state: Arc<State>,
    course: Course,
    /// What the cache had: nothing, or an answer past its time.
    found: Option<Found>,
    /// The answer, where it is there and more must be known for the rules.
    resolved: Option<Served>,
    permit: Permit,
}

/// What is to become of a query that must be resolved.
#[derive(Debug, Clone)]
enum Course {
    /// It met no rule yet.
    Plain,
    /// It met one that waits for the answer, or that has it resolved.
    Ruled,
    /// A rule leads it here; the target is what must be resolved.
    Alias(Name),
    /// Aliases of local zones lead it here, and stand before what is resolved.
    Zone(Name, Chain),
    /// As [`Course::Ruled`], and its answer is here.
    Here,
}

/// A place among the queries that wait; hold it until the answer is sent.
pub struct Permit {
    _place: OwnedSemaphorePermit,
    _share: Option<Ticket>,
}

/// What response rate limiting takes for one answer, whatever makes it differ a little: random names that
/// do not exist, and all errors, are one.
#[derive(Hash)]
struct Class(u16, Option<Key>);

impl Class {
    fn of(rcode: u16, qname: &[u8]) -> Self {
        match rcode {
            rcode::NOERROR => Self(rcode, Key::from_wire(qname)),
            rcode::NXDOMAIN => Self(rcode, None),
            _ => Self(rcode::SERVFAIL, None),
        }
    }
}

/// A query that has come, and what became of it.
pub struct Turn<'a> {
    /// The query's octets.
    pub packet: &'a [u8],
    /// Who asked, how, and when.
    pub arrival: Arrival,
    /// Where its answer goes, in place of what is there.
    pub out: &'a mut Vec<u8>,
    /// What was made of it; [`Step::Silent`] to begin with.
    pub step: Step,
}

/// Most queries that are decided side by side.
const LANES: usize = 16;

/// One query on its way through the front half.
struct Visit<'a, 'q> {
    state: &'a Arc<State>,
    query: &'a Query<'q>,
    arrival: Arrival,
    now: Instant,
    cookie: Option<Cookie>,
    /// Signs the answer of a query that was signed.
    signer: Option<Box<Signer>>,
}

impl Pipeline {
    /// Joins the parts.
    pub fn new(state: State, resolver: Arc<Resolver>, journal: Journal, waiting: Waiting) -> Self {
        let Waiting { pending, per_client } = waiting;
        let capacity = u32::try_from(pending.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        Self {
            state: ArcSwap::from_pointee(state),
            replacing: Mutex::new(()),
            zones: ArcSwap::default(),
            published: Shelf::default(),
            resolver,
            journal: Mutex::new(journal),
            pending: Arc::new(Semaphore::new(capacity as usize)),
            capacity,
            shares: Admission::new(usize::MAX, per_client),
        }
    }

    /// What is in force now.
    pub fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// Puts a new state in force; queries on their way finish under the one they began with. Analysts' rules
    /// stay as they are. Returns the old state: to drop the last one of an image takes a while.
    pub fn replace(&self, state: State, upstreams: routes::Options) -> Arc<State> {
        let _turn = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        self.resolver.set_upstreams(upstreams);
        let own = self.state.load().rules.own().cloned();
        let rules = state.rules.with_own(own, &state.agencies);
        self.state.swap(Arc::new(State { rules, ..state }))
    }

    /// Puts analysts' rules in force in place of those before, and changes nothing else; returns the old
    /// state.
    pub fn replace_own(&self, own: Option<Own>) -> Arc<State> {
        let _turn = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let state = self.state.load_full();
        let rules = state.rules.with_own(own.map(Arc::new), &state.agencies);
        self.state.swap(Arc::new(State { rules, ..State::clone(&state) }))
    }

    /// Asks these from now on.
    pub fn set_upstreams(&self, upstreams: routes::Options) {
        self.resolver.set_upstreams(upstreams);
    }

    /// Takes queries as far as they go without waiting. An answer replaces what is in its `out`; its
    /// record is added to `journal`, which the caller commits before sending. `ready` is the
    /// caller's own table of answers, if it has one; `now` is the time by which answers are judged.
    pub fn front(
        &self,
        state: &Arc<State>,
        turns: &mut [Option<Turn<'_>>],
        now: Instant,
        journal: &mut Journal,
        mut ready: Option<&mut Ready>,
    ) {
        if let Some(ready) = &mut ready {
            ready.follow(state, self.resolver.changes());
        }
        for turns in turns.chunks_mut(LANES) {
            let mut undecided = [const { None }; LANES];
            for (turn, undecided) in turns.iter_mut().zip(&mut undecided) {
                let Some(turn) = turn else { continue };
                if let Some(step) = self.look(state, turn, now, journal, ready.as_deref_mut(), undecided) {
                    turn.step = step;
                }
            }
            if undecided.iter().all(Option::is_none) {
                continue;
            }
            let qname = |undecided: &Undecided<'_>| Key::from_wire(undecided.query.qname());
            let keys = undecided.each_ref().map(|undecided| undecided.as_ref().and_then(qname));
            let mut askers = [Asker::ANYBODY; LANES];
            for (asker, turn) in askers.iter_mut().zip(turns.iter()) {
                if let Some(turn) = turn {
                    *asker = state.rules.asker(&state.agencies, turn.arrival.client);
                }
            }
            let decisions = decide_many(state.rules.layers(), &keys, &askers);
            for ((turn, undecided), decision) in turns.iter_mut().zip(&mut undecided).zip(decisions) {
                let (Some(turn), Some(undecided)) = (turn, undecided) else { continue };
                let Undecided { query, cookie, question, signer } = undecided;
                let signer = signer.take();
                let visit = Visit { state, query, arrival: turn.arrival, now, cookie: *cookie, signer };
                let place = ready.as_deref_mut().zip(question.as_ref());
                turn.step = self.act(&visit, &decision, place, journal, turn.out);
                if matches!(turn.step, Step::Answered) {
                    visit.fit(turn.out);
                }
            }
        }
    }

    /// As [`Self::front`], for one query.
    pub fn front_one(
        &self,
        state: &Arc<State>,
        packet: &[u8],
        arrival: Arrival,
        journal: &mut Journal,
        out: &mut Vec<u8>,
    ) -> Step {
        let mut turn = [Some(Turn { packet, arrival, out, step: Step::Silent })];
        self.front(state, &mut turn, arrival.instant, journal, None);
        let [turn] = turn;
        turn.map_or(Step::Silent, |turn| turn.step)
    }

    /// Answers what needs no decision: what is no query, what is refused, and what was answered before.
    /// The others are left in `undecided`, with their question where the answer may be kept.
    fn look<'q>(
        &self,
        state: &Arc<State>,
        turn: &mut Turn<'q>,
        now: Instant,
        journal: &mut Journal,
        ready: Option<&mut Ready>,
        undecided: &mut Option<Undecided<'q>>,
    ) -> Option<Step> {
        let (packet, arrival) = (turn.packet, turn.arrival);
        let query = match Query::parse(packet) {
            Ok(query) => query,
            Err(Reject::Silent) => return Some(Step::Silent),
            Err(reject @ (Reject::Opcode(_) | Reject::Malformed(_))) => {
                if let Some(step) = notice::answer(state, packet, arrival, now, journal, turn.out) {
                    return Some(step);
                }
                let rcode = answer::reject(packet, reject, turn.out);
                let met = Met::nothing(Outcome::Malformed);
                let Arrival { client, transport, instant, .. } = arrival;
                // It is short already.
                let class = || Class::of(rcode, &[]);
                let (step, rcode) = match state.limits.response(client, proof(transport), class, instant) {
                    Sending::Nothing => (Step::Silent, None),
                    Sending::Whole | Sending::Short => (Step::Answered, Some(rcode)),
                };
                note(state, journal, &entry(state, arrival, now, None, met, rcode, &[]));
                return Some(step);
            }
        };
        let cookie = state.cookie(&query, arrival);
        let (is_cookie, cookie) = (cookie.is_ok(), cookie.unwrap_or_default());
        let mut visit = Visit { state, query: &query, arrival, now, cookie, signer: None };
        let access = state.access(arrival.client);
        if access == Access::Allowed
            && is_cookie
            && let Some(step) = self.tell(&mut visit, journal, turn.out)
        {
            return Some(step);
        }
        let refused = refusal(&query, access).or((!is_cookie).then_some((rcode::FORMERR, None)));
        if let Some((rcode, ede)) = refused {
            let is_malformed = matches!(rcode, rcode::BADVERS | rcode::FORMERR);
            let outcome = if is_malformed { Outcome::Malformed } else { Outcome::Refused };
            answer::error(&query, rcode, ede, turn.out);
            let met = Met::nothing(outcome);
            let step = visit.close(journal, met, Some(rcode), &[], Origin::Upstream, turn.out);
            if matches!(step, Step::Answered) {
                visit.fit(turn.out);
            }
            return Some(step);
        }
        // Where answers are limited, each must be looked at anew.
        let is_shared =
            || !state.limits.are_answers_limited(visit.proof()) && !has_own_rules(state, arrival.client);
        let ready = ready.filter(|_| is_shared());
        let question = ready.as_deref().and_then(|ready| {
            ready.question(&query, state.rules.audience_of(&state.agencies, arrival.client))
        });
        if let (Some(ready), Some(question)) = (ready, &question)
            && let Some(found) = ready.find(question, self.resolver.seconds(now))
        {
            let facts = found.facts();
            // What this client does not take, and one too many, is answered by the common way.
            if found.write(&query, turn.out) && !(facts.is_counted && visit.is_exceeded()) {
                journal.count_tail(arrival.transport, found.tail());
                if facts.is_recorded {
                    journal.add_with_tail(&head(state, arrival, now, Some(&query)), found.tail());
                }
                visit.fit(turn.out);
                return Some(Step::Answered);
            }
        }
        let Visit { cookie, signer, .. } = visit;
        *undecided = Some(Undecided { query, cookie, question, signer });
        None
    }

    fn act(
        &self,
        visit: &Visit<'_, '_>,
        decision: &Decision<'_>,
        place: Option<(&mut Ready, &Question<'_>)>,
        journal: &mut Journal,
        out: &mut Vec<u8>,
    ) -> Step {
        let Visit { state, query, arrival, now, .. } = *visit;
        let has_dnssec = query.edns().is_some_and(|edns| edns.dnssec_ok);
        let waits = |ruling: &Ruling<'_>| {
            let Asker { audience, .. } = state.rules.asker(&state.agencies, arrival.client);
            must_wait(&state.rules.image.index, audience, ruling)
                || ruling.feed.signed == Signed::LeftAlone && has_dnssec
        };
        let Some(ruling) = decision.ruling.filter(|ruling| !waits(ruling)) else {
            if let (Some(designation), None) = (&state.designation, &decision.ruling)
                && designation.is_asked(query)
            {
                let met = decision.shadow.as_ref().map_or(Met::nothing(Outcome::Local), Met::shadow);
                if visit.is_exceeded() {
                    return visit.refuse_excess(met, journal, out);
                }
                designation.answer(query, out);
                return visit.close(journal, met, Some(rcode::NOERROR), &[], Origin::Upstream, out);
            }
            // Until it is known what comes of it, for its limits.
            let (met, course) = match (&decision.ruling, &decision.shadow) {
                (Some(ruling), _) => (Met::rule(Outcome::Shadow, ruling), Course::Ruled),
                (None, Some(ruling)) => (Met::shadow(ruling), Course::Ruled),
                (None, None) => (Met::nothing(Outcome::Forward), Course::Plain),
            };
            return self.wait(visit, met, course, place, journal, out);
        };
        match apply(&state.sinkhole, &ruling, Stem::at_qname(query), arrival.transport, out) {
            Applied::Answer(outcome, rcode) => {
                let answered = state.sinkhole.told(&ruling, query.qtype());
                let met = Met::rule(outcome, &ruling);
                let step = visit.close(journal, met, rcode, answered, Origin::Upstream, out);
                if let (Some((ready, question)), Step::Answered) = (place, &step)
                    && outcome != Outcome::TcpOnly
                    && ready.is_seen(question)
                {
                    let is_recorded = is_recorded(state, met.outcome, met.is_hit);
                    let facts = Facts { is_recorded, is_counted: false, is_authentic: false };
                    let life = Life::State::<std::iter::Empty<usize>>;
                    let record = entry(state, arrival, now, Some(query), met, rcode, answered);
                    let now = self.resolver.seconds(now);
                    ready.insert(question, out, life, facts, now, |tail| record.encode_tail(tail));
                }
                step
            }
            Applied::Alias(target) => {
                let met = Met::rule(Outcome::Cname, &ruling);
                self.wait(visit, met, Course::Alias(target), None, journal, out)
            }
            Applied::Resolve(outcome) => {
                self.wait(visit, Met::rule(outcome, &ruling), Course::Ruled, place, journal, out)
            }
        }
    }

    fn wait(
        &self,
        visit: &Visit<'_, '_>,
        met: Met<'_>,
        course: Course,
        mut place: Option<(&mut Ready, &Question<'_>)>,
        journal: &mut Journal,
        out: &mut Vec<u8>,
    ) -> Step {
        // A hit is evidence, also where its rule leads to another name: it never counts.
        if !met.is_hit && visit.is_exceeded() {
            return visit.refuse_excess(met, journal, out);
        }
        let mut met = met;
        let course = match self.answer_here(visit, &mut met, course, &mut place, journal, out) {
            Ok(course) => course,
            Err(step) => return step,
        };
        let found = match course {
            // An alias's target has another name than the key; the resolver looks it up. What is here is not in the cache.
            Course::Alias(_) | Course::Zone(..) | Course::Here => None,
            Course::Plain | Course::Ruled => self.resolver.find(&cache_key(visit.query), visit.now),
        };
        let mut resolved = None;
        if let Some(found) = &found
            && let Some(aged) = found.at_once()
        {
            if let Some(step) = self.give(visit, &course, (found, aged), place.take(), journal, out) {
                return step;
            }
            resolved = Some(Served { entry: Arc::clone(&found.entry), aged, origin: Origin::Cache });
        }
        let Arrival { client, .. } = visit.arrival;
        // One that asks for a whole site may take all places.
        let share = match visit.state.limits.is_exempt(client) {
            true => Some(None),
            false => self.shares.admit(client).map(Some),
        };
        let seat = Arc::clone(&self.pending).try_acquire_owned().ok();
        let (Some(share), Some(seat)) = (share, seat) else {
            // Past its time, and better than nothing (RFC 8767).
            let stale = found.as_ref().map(|found| (found, Aged::Stale));
            let step = stale.and_then(|stale| self.give(visit, &course, stale, place, journal, out));
            if let Some(step) = step {
                return step;
            }
            let busy = Ede { code: Ede::OTHER, text: "too many queries are waiting" };
            answer::error(visit.query, rcode::SERVFAIL, Some(busy), out);
            return visit.close(journal, met, Some(rcode::SERVFAIL), &[], Origin::Upstream, out);
        };
        Step::Wait(Box::new(Job {
            packet: visit.query.packet().to_vec(),
            arrival: visit.arrival,
            state: Arc::clone(visit.state),
            course,
            found,
            resolved,
            permit: Permit { _place: seat, _share: share },
        }))
    }

    /// Leaves the question of a query that must wait to the caller, as [`Resolver::take_off`] does.
    pub fn take_off(&self, job: &Job) -> Option<Takeoff> {
        // An alias is put together from two names, and what is past its time has a patience of its own:
        // both go the long way.
        let is_plain = matches!(job.course, Course::Plain | Course::Ruled);
        if !is_plain || job.found.is_some() || job.resolved.is_some() {
            return None;
        }
        let query = Query::parse(&job.packet).ok()?;
        self.resolver.take_off(ask(&query, None))
    }

    /// Takes what came of a question that was left to the caller, as [`Resolver::settle`] does.
    pub fn settle(&self, takeoff: Takeoff, word: Word<'_>, asked_at: Instant) -> Option<Served> {
        self.resolver.settle(takeoff, word, asked_at)
    }

    /// Goes on with a question that was left to the caller, as [`Resolver::overdue`] does.
    pub fn overdue(&self, takeoff: Takeoff, late: oneshot::Receiver<Vec<u8>>, asked_at: Instant) {
        self.resolver.overdue(takeoff, late, asked_at);
    }

    /// Waits until no query waits for an upstream or for being sent, or until `longest` has passed.
    pub async fn drain(&self, longest: Duration) {
        // The semaphore is never closed; a time-out leaves the stragglers to their fate.
        let _ = tokio::time::timeout(longest, self.pending.acquire_many(self.capacity)).await;
    }

    /// How many queries wait for upstreams, and how many may.
    pub fn waiting(&self) -> (usize, usize) {
        let capacity = self.capacity as usize;
        (capacity.saturating_sub(self.pending.available_permits()), capacity)
    }

    /// Every upstream with the route that asks it, `.` for those that are asked for all other names.
    pub fn upstreams(&self) -> Vec<(String, UpstreamFigures)> {
        self.resolver.upstreams()
    }

    /// Runs `add` on the shared journal and commits it.
    pub fn with_journal<T>(&self, add: impl FnOnce(&mut Journal) -> T) -> T {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let result = add(&mut journal);
        journal.commit(clock::now());
        result
    }
}

/// What the policy says about a host that this client's browser asked the sinkhole for: feed and family.
pub fn listing(state: &State, host: &Name, client: IpAddr) -> Option<(Arc<str>, Option<String>)> {
    let asker = state.rules.asker(&state.agencies, client);
    let [decision] = decide_many(state.rules.layers(), &[Some(Key::from(host))], &[asker]);
    let ruling = decision.ruling.filter(Ruling::is_hit)?;
    Some((Arc::clone(&ruling.feed.name), ruling.family.map(str::to_owned)))
}

/// What to ask for a query: its own question, or the same about the target of an alias.
fn ask(query: &Query<'_>, alias: Option<&Name>) -> Ask {
    let question = match alias {
        None => query.question().to_vec(),
        Some(target) => [target.as_wire(), &query.question()[query.qname().len()..]].concat(),
    };
    Ask {
        question,
        recursion: query.is_recursion_desired().into(),
        checking_disabled: query.is_checking_disabled().into(),
        dnssec_ok: query.edns().is_some_and(|edns| edns.dnssec_ok).into(),
    }
}

/// As [`ask`] for the query's own question, without allocating.
fn cache_key(query: &Query<'_>) -> CacheKey {
    let flags = AskFlags::new(
        query.is_recursion_desired().into(),
        query.is_checking_disabled().into(),
        query.edns().is_some_and(|edns| edns.dnssec_ok).into(),
    );
    CacheKey::new(query.question(), flags)
}

/// A query about which the policy must be asked.
struct Undecided<'q> {
    query: Query<'q>,
    cookie: Option<Cookie>,
    /// There where its answer may be kept.
    question: Option<Question<'q>>,
    signer: Option<Box<Signer>>,
}

impl Visit<'_, '_> {
    /// Counts the query, and tells whether it is one too many of its client.
    fn is_exceeded(&self) -> bool {
        let Arrival { client, instant, .. } = self.arrival;
        self.state.limits.query(client, self.proof(), instant) == Rate::Exceeded
    }

    /// Whether the client has shown that its address is its own.
    fn proof(&self) -> Proof {
        self.cookie.map_or(Proof::Claimed, |cookie| cookie.proof).max(proof(self.arrival.transport))
    }

    /// Makes an answer what this client takes: with its cookie, and over UDP an empty one with TC set in
    /// place of one that is too long.
    fn fit(&self, out: &mut Vec<u8>) {
        self.add_options(out);
        let signature = self.signer.as_ref().map_or(0, |signer| signer.record_len());
        if self.arrival.transport != Transport::Udp {
            self.fit_stream(out);
        } else if out.len() + signature > answer::udp_limit(self.query) {
            let rcode = Response::parse(out).map_or(rcode::SERVFAIL, |answer| answer.rcode());
            answer::truncated(self.query, rcode, out);
            self.add_options(out);
        }
        if let Some(signer) = &self.signer {
            // Behind everything else; each query has one answer.
            signer.as_ref().clone().sign(self.arrival.time / 1_000_000, out);
        }
    }

    /// Adds what a client on a stream asked to be told, and the padding where it padded too.
    fn fit_stream(&self, out: &mut Vec<u8>) {
        let transport = self.arrival.transport;
        let is_ours_to_close = matches!(transport, Transport::Tcp | Transport::Tls);
        if is_ours_to_close && self.query.has_option(option::KEEPALIVE) {
            answer::append_keepalive(out, self.state.idle);
        }
        if transport.is_encrypted() && self.query.has_option(option::PADDING) {
            answer::pad(out);
        }
    }

    /// Ends a visit with the answer in `out`, or with none: limits it, and adds the record of what is sent.
    fn close(
        &self,
        journal: &mut Journal,
        met: Met<'_>,
        rcode: Option<u16>,
        answers: &[IpAddr],
        origin: Origin,
        out: &mut Vec<u8>,
    ) -> Step {
        let (met, rcode, answers) = match rcode.map(|rcode| (rcode, self.sending(rcode))) {
            None | Some((_, Sending::Whole)) => (met, rcode, answers),
            // Errors are short already, and no client asks again for one.
            Some((rcode, Sending::Short)) if !matches!(rcode, rcode::NOERROR | rcode::NXDOMAIN) => {
                (met, Some(rcode), answers)
            }
            Some((rcode, Sending::Short)) => (met.limited(), Some(self.shorten(rcode, out)), &[][..]),
            Some((_, Sending::Nothing)) => (met.limited(), None, &[][..]),
        };
        let entry = entry(self.state, self.arrival, self.now, Some(self.query), met, rcode, answers);
        note(self.state, journal, &Record { is_cached: origin == Origin::Cache, ..entry });
        if rcode.is_some() { Step::Answered } else { Step::Silent }
    }

    fn sending(&self, rcode: u16) -> Sending {
        let class = || Class::of(rcode, self.query.qname());
        let Arrival { client, instant, .. } = self.arrival;
        self.state.limits.response(client, self.proof(), class, instant)
    }
}

/// What the transport alone shows: a connection was opened from where its answers go.
fn proof(transport: Transport) -> Proof {
    match transport {
        Transport::Tcp | Transport::Tls | Transport::Https | Transport::Quic => Proof::Proven,
        Transport::Udp => Proof::Claimed,
    }
}

fn head<'s>(state: &'s State, arrival: Arrival, now: Instant, query: Option<&Query<'_>>) -> Head<'s> {
    let is_believed = |_: &&Query<'_>| state.forwarders.find(arrival.client).is_some();
    let Told { mac, subnet } = query.filter(is_believed).map(Query::told).unwrap_or_default();
    let latency = now.saturating_duration_since(arrival.instant).as_micros();
    Head {
        time: arrival.time,
        client: arrival.client,
        transport: arrival.transport,
        agency: state.agencies.of(arrival.client).map(|Agency { id, .. }| &**id),
        mac,
        subnet,
        latency: u32::try_from(latency).unwrap_or(u32::MAX),
    }
}

fn entry<'a>(
    state: &'a State,
    arrival: Arrival,
    now: Instant,
    query: Option<&Query<'a>>,
    met: Met<'a>,
    rcode: Option<u16>,
    answers: &'a [IpAddr],
) -> Record<'a> {
    let Head { time, client, transport, agency, mac, subnet, latency } = head(state, arrival, now, query);
    Record {
        time,
        client,
        transport,
        agency: agency.map(Into::into),
        mac,
        subnet,
        qname: query.map_or(&[][..], |query| query.qname()).into(),
        qtype: query.map_or(0, Query::qtype),
        qclass: query.map_or(0, Query::qclass),
        rcode,
        outcome: met.outcome,
        is_hit: met.is_hit,
        is_cached: false,
        feed: met.feed.map(|feed| (&**feed).into()),
        family: met.family.map(Into::into),
        severity: met.severity,
        trigger: met.trigger,
        matched: met.matched.map(Into::into),
        answers: answers.into(),
        latency,
    }
}

fn note(state: &State, journal: &mut Journal, record: &Record<'_>) {
    journal.count(record);
    if is_recorded(state, record.outcome, record.is_hit) {
        journal.add(record);
    }
}

fn is_recorded(state: &State, outcome: Outcome, is_hit: bool) -> bool {
    state.log == LogScope::All || is_hit || outcome == Outcome::Shadow
}

/// Whether rules on clients may make this one's answers others than everybody's.
fn has_own_rules(state: &State, client: IpAddr) -> bool {
    let mut is_listed = false;
    state.rules.image.index.walk_networks(Trigger::ClientIp, client, |_, _| is_listed = true);
    is_listed
}
