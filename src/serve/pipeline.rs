//! The pipeline: what happens to one query, whatever transport it came by.
//!
//! Here client, policy, resolving and evidence meet, and nowhere else. The front half is
//! synchronous; a query that must wait becomes a [`Job`] for the back half. Every answer has its
//! record written before it may be sent.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer::{self, Ede};
use crate::client::admission::{Admission, Ticket};
use crate::client::cookie::{self, Cookie, Cookies};
use crate::client::limits::{Limits, Proof, Sending};
use crate::client::prefix::PrefixMap;
use crate::client::rate::Rate;
use crate::client::{Agencies, Agency};
use crate::clock;
use crate::evidence::journal::Journal;
use crate::evidence::record::{Outcome, Record, Transport};
use crate::image::Image;
use crate::name::{Key, Name};
use crate::policy::action::Action;
use crate::policy::decide::{Ruling, Unobserved, decide};
use crate::resolve::cache::{AskFlags, Found, Freshness, Key as CacheKey};
use crate::resolve::exchange::Ask;
use crate::resolve::{Origin, Resolver, forward};
use crate::wire::{CLASS_IN, Query, Reject, Response, rcode, rtype};

/// What a reload replaces as one, with every new policy.
pub struct State {
    /// Networks whose clients are answered.
    pub allow: PrefixMap<()>,
    /// How many queries a second clients may ask, and how many answers they are sent.
    pub limits: Limits,
    /// How clients prove their addresses; `None`: their cookies are ignored.
    pub cookies: Option<Cookies>,
    /// Who owns which network.
    pub agencies: Agencies,
    /// All rules.
    pub image: Image,
    /// Where sinkholed names lead.
    pub sinkhole: Sinkhole,
    /// Which queries are recorded.
    pub log: LogScope,
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

/// The sinkhole's addresses and how long an answer with them may be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sinkhole {
    /// At most one of each family.
    pub addresses: Vec<IpAddr>,
    /// Seconds.
    pub ttl: u32,
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
    outcome: Outcome,
    is_hit: bool,
    feed: Option<Arc<str>>,
    family: Option<Box<str>>,
    /// The target of an alias that a rule asked for.
    alias: Option<Name>,
    /// What the cache had: nothing, or an answer past its time.
    found: Option<Found>,
    permit: Permit,
}

/// A place among the queries that wait; hold it until the answer is sent.
pub struct Permit {
    _place: OwnedSemaphorePermit,
    _share: Ticket,
}

/// What was done with a query and by which rule, for its record.
#[derive(Debug, Clone, Copy)]
struct Met<'a> {
    outcome: Outcome,
    is_hit: bool,
    feed: Option<&'a Arc<str>>,
    family: Option<&'a str>,
}

impl<'a> Met<'a> {
    fn nothing(outcome: Outcome) -> Self {
        Self { outcome, is_hit: false, feed: None, family: None }
    }

    fn rule(outcome: Outcome, ruling: &Ruling<'a>) -> Self {
        Self { outcome, is_hit: ruling.is_hit(), feed: Some(&ruling.feed.name), family: ruling.family }
    }

    /// An answer that was cut or left out; where a rule was met, its outcome tells more.
    fn limited(self) -> Self {
        let outcome = if self.outcome == Outcome::Forward { Outcome::Limited } else { self.outcome };
        Self { outcome, ..self }
    }
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

/// One query on its way through the front half.
struct Visit<'a, 'q> {
    state: &'a Arc<State>,
    query: &'a Query<'q>,
    arrival: Arrival,
    cookie: Option<Cookie>,
}

impl Pipeline {
    /// Joins the parts.
    pub fn new(state: State, resolver: Arc<Resolver>, journal: Journal, waiting: Waiting) -> Self {
        let Waiting { pending, per_client } = waiting;
        let capacity = u32::try_from(pending.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        Self {
            state: ArcSwap::from_pointee(state),
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

    /// Puts a new state in force; queries on their way finish under the one they began with.
    pub fn replace(&self, state: State, upstreams: forward::Options) {
        self.resolver.set_upstreams(upstreams);
        self.state.store(Arc::new(state));
    }

    /// Takes a packet as far as it goes without waiting. An answer replaces what is in `out`; its
    /// record is added to `journal`, which the caller commits before sending.
    pub fn front(
        &self,
        state: &Arc<State>,
        packet: &[u8],
        arrival: Arrival,
        journal: &mut Journal,
        out: &mut Vec<u8>,
    ) -> Step {
        let query = match Query::parse(packet) {
            Ok(query) => query,
            Err(Reject::Silent) => return Step::Silent,
            Err(reject @ (Reject::Opcode(_) | Reject::Malformed(_))) => {
                let rcode = answer::reject(packet, reject, out);
                let met = Met::nothing(Outcome::Malformed);
                let Arrival { client, transport, instant, .. } = arrival;
                // It is short already.
                let class = || Class::of(rcode, &[]);
                let (step, rcode) = match state.limits.response(client, proof(transport), class, instant) {
                    Sending::Nothing => (Step::Silent, None),
                    Sending::Whole | Sending::Short => (Step::Answered, Some(rcode)),
                };
                note(state, journal, &entry(state, arrival, None, met, rcode, &[]));
                return step;
            }
        };
        let cookie = state.cookie(&query, arrival);
        let visit = Visit { state, query: &query, arrival, cookie: cookie.unwrap_or_default() };
        let refused = refusal(&query, state.access(arrival.client))
            .or(cookie.is_err().then_some((rcode::FORMERR, None)));
        let step = match refused {
            Some((rcode, ede)) => {
                let is_malformed = matches!(rcode, rcode::BADVERS | rcode::FORMERR);
                let outcome = if is_malformed { Outcome::Malformed } else { Outcome::Refused };
                answer::error(&query, rcode, ede, out);
                visit.close(journal, Met::nothing(outcome), Some(rcode), &[], Origin::Upstream, out)
            }
            None => self.decide(&visit, journal, out),
        };
        if matches!(step, Step::Answered) {
            visit.fit(out);
        }
        step
    }

    fn decide(&self, visit: &Visit<'_, '_>, journal: &mut Journal, out: &mut Vec<u8>) -> Step {
        let Visit { state, query, arrival, .. } = *visit;
        let decision = Key::from_wire(query.qname())
            .map(|key| decide(&state.image.index, &key, &mut Unobserved))
            .unwrap_or_default();
        let shadow = decision.shadow.map(|ruling| Met::rule(Outcome::Shadow, &ruling));
        let Some(ruling) = decision.ruling else {
            let met = shadow.unwrap_or(Met::nothing(Outcome::Forward));
            return self.wait(visit, met, None, journal, out);
        };
        match apply(&state.sinkhole, &ruling, query, arrival.transport, out) {
            Applied::Answer(outcome, rcode) => {
                let addresses = if outcome == Outcome::Sinkhole { &*state.sinkhole.addresses } else { &[] };
                let is_asked = |address: &&IpAddr| address_type(**address) == query.qtype();
                // The sinkhole has at most one address of a family.
                let answered = addresses.iter().find(is_asked).map_or(&[][..], std::slice::from_ref);
                visit.close(journal, Met::rule(outcome, &ruling), rcode, answered, Origin::Upstream, out)
            }
            Applied::Alias(target) => {
                self.wait(visit, Met::rule(Outcome::Cname, &ruling), Some(target), journal, out)
            }
            Applied::Resolve(outcome) => {
                let met = shadow.unwrap_or(Met::rule(outcome, &ruling));
                self.wait(visit, met, None, journal, out)
            }
        }
    }

    fn wait(
        &self,
        visit: &Visit<'_, '_>,
        met: Met<'_>,
        alias: Option<&Name>,
        journal: &mut Journal,
        out: &mut Vec<u8>,
    ) -> Step {
        // A hit is evidence, also where its rule leads to another name: it never counts.
        let Arrival { client, instant, .. } = visit.arrival;
        if !met.is_hit && visit.state.limits.query(client, visit.proof(), instant) == Rate::Exceeded {
            let rcode = visit.limited(out);
            let met = Met { outcome: Outcome::Limited, ..met };
            return visit.close(journal, met, Some(rcode), &[], Origin::Upstream, out);
        }
        let found = match alias {
            // An alias's target has another name than the key; the resolver looks it up.
            Some(_) => None,
            None => self.resolver.find(&cache_key(visit.query), visit.arrival.instant),
        };
        if let Some(found @ Found { entry, state, .. }) = &found
            && let Some(aged) = found.at_once()
        {
            let rcode = answer::relay(visit.query, &entry.answer, aged, out);
            if *state == Freshness::Ending {
                self.resolver.refresh(ask(visit.query, None));
            }
            return visit.close(journal, met, Some(rcode), entry.answer.addresses(), Origin::Cache, out);
        }
        let share = self.shares.admit(visit.arrival.client);
        let place = Arc::clone(&self.pending).try_acquire_owned().ok();
        let (Some(share), Some(place)) = (share, place) else {
            let busy = Ede { code: Ede::OTHER, text: "too many queries are waiting" };
            answer::error(visit.query, rcode::SERVFAIL, Some(busy), out);
            return visit.close(journal, met, Some(rcode::SERVFAIL), &[], Origin::Upstream, out);
        };
        Step::Wait(Box::new(Job {
            packet: visit.query.packet().to_vec(),
            arrival: visit.arrival,
            state: Arc::clone(visit.state),
            outcome: met.outcome,
            is_hit: met.is_hit,
            feed: met.feed.cloned(),
            family: met.family.map(Box::from),
            alias: alias.cloned(),
            found,
            permit: Permit { _place: place, _share: share },
        }))
    }

    /// Resolves a query that had to wait. The answer, or nothing where none is to be sent, replaces what is
    /// in `out`, its record is written; the query counts as waiting until the permit is dropped.
    pub async fn finish(&self, job: Job, out: &mut Vec<u8>) -> Permit {
        let Job { packet, arrival, state, outcome, is_hit, feed, family, alias, found, permit } = job;
        // It was parsed once already; the packet is the same.
        let Ok(query) = Query::parse(&packet) else { return permit };
        let served = self.resolver.resolve(ask(&query, alias.as_ref()), found).await;
        let resolved = &served.entry.answer;
        let rcode = match &alias {
            None => answer::relay(&query, resolved, served.aged, out),
            Some(target) => {
                let ede = Ede { code: Ede::BLOCKED, text: feed.as_deref().unwrap_or("") };
                answer::alias(
                    &query,
                    target.as_wire(),
                    state.sinkhole.ttl,
                    ede,
                    Some((resolved, served.aged)),
                    out,
                )
            }
        };
        let met = Met { outcome, is_hit, feed: feed.as_ref(), family: family.as_deref() };
        // A malformed cookie did not come as far as here.
        let cookie = state.cookie(&query, arrival).unwrap_or_default();
        let visit = Visit { state: &state, query: &query, arrival, cookie };
        // What became a failure on its way out told the client no address.
        let answers = if rcode == rcode::SERVFAIL { &[] } else { resolved.addresses() };
        let close =
            |journal: &mut Journal| visit.close(journal, met, Some(rcode), answers, served.origin, out);
        match self.with_journal(close) {
            Step::Answered => visit.fit(out),
            Step::Silent | Step::Wait(_) => out.clear(),
        }
        permit
    }

    /// Waits until no query waits for an upstream or for being sent, or until `longest` has passed.
    pub async fn drain(&self, longest: Duration) {
        // The semaphore is never closed; a time-out leaves the stragglers to their fate.
        let _ = tokio::time::timeout(longest, self.pending.acquire_many(self.capacity)).await;
    }

    /// Runs `add` on the shared journal and commits it.
    pub fn with_journal<T>(&self, add: impl FnOnce(&mut Journal) -> T) -> T {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let result = add(&mut journal);
        journal.commit(clock::now());
        result
    }
}

/// What a rule makes of a query.
pub enum Applied<'p> {
    /// This outcome with this rcode; the answer is in the buffer. No rcode: no answer.
    Answer(Outcome, Option<u16>),
    /// An alias to this name, which must be resolved.
    Alias(&'p Name),
    /// It must be resolved as if there were no rule.
    Resolve(Outcome),
}

/// Applies the rule that was decided on to a query. The query path and `explain` both call this.
pub fn apply<'p>(
    sinkhole: &Sinkhole,
    ruling: &Ruling<'p>,
    query: &Query<'_>,
    transport: Transport,
    out: &mut Vec<u8>,
) -> Applied<'p> {
    let ede = Ede { code: Ede::BLOCKED, text: &ruling.feed.name };
    let ttl = sinkhole.ttl;
    match &ruling.rule.action {
        Action::Sinkhole => {
            answer::addresses(query, &sinkhole.addresses, ttl, ede, out);
            Applied::Answer(Outcome::Sinkhole, Some(rcode::NOERROR))
        }
        Action::Nxdomain => {
            answer::nxdomain(query, ttl, ede, out);
            Applied::Answer(Outcome::Nxdomain, Some(rcode::NXDOMAIN))
        }
        Action::Nodata => {
            answer::nodata(query, ttl, ede, out);
            Applied::Answer(Outcome::Nodata, Some(rcode::NOERROR))
        }
        Action::Drop => Applied::Answer(Outcome::Drop, None),
        Action::TcpOnly if transport == Transport::Udp => {
            answer::truncated(query, rcode::NOERROR, out);
            Applied::Answer(Outcome::TcpOnly, Some(rcode::NOERROR))
        }
        Action::TcpOnly => Applied::Resolve(Outcome::TcpOnly),
        // An alias to itself would lead nowhere: the feed that names its own walled garden.
        Action::Cname(target) if target.as_wire().eq_ignore_ascii_case(query.qname()) => {
            Applied::Resolve(Outcome::Passthru)
        }
        // The alias itself is what these ask for (RFC 1034, section 4.3.2, step 3a).
        Action::Cname(target) if matches!(query.qtype(), rtype::CNAME | rtype::ANY) => {
            answer::alias(query, target.as_wire(), ttl, ede, None, out);
            Applied::Answer(Outcome::Cname, Some(rcode::NOERROR))
        }
        Action::Cname(target) => Applied::Alias(target),
        Action::Passthru => Applied::Resolve(Outcome::Passthru),
    }
}

/// Whether a client may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It is in a network that is answered.
    Allowed,
    /// It is in none.
    Prohibited,
}

impl Access {
    /// What `allow` says about `client`.
    pub fn of(client: IpAddr, allow: &PrefixMap<()>) -> Self {
        if allow.find(client).is_some() { Self::Allowed } else { Self::Prohibited }
    }
}

/// Why a well-formed query is not answered as asked, if so: rcode and extended error. The query path
/// and `explain` both call this.
pub fn refusal(query: &Query<'_>, access: Access) -> Option<(u16, Option<Ede<'static>>)> {
    if query.edns().is_some_and(|edns| edns.version != 0) {
        return Some((rcode::BADVERS, None));
    }
    if access == Access::Prohibited {
        return Some((rcode::REFUSED, Some(Ede { code: Ede::PROHIBITED, text: "" })));
    }
    let is_answered = query.qclass() == CLASS_IN && !rtype::is_meta(query.qtype());
    (!is_answered).then_some((rcode::REFUSED, Some(Ede { code: Ede::NOT_SUPPORTED, text: "" })))
}

/// What the policy says about a host that a browser asked the sinkhole for: feed and family.
pub fn listing(state: &State, host: &Name) -> Option<(Arc<str>, Option<String>)> {
    let decision = decide(&state.image.index, &Key::from(host), &mut Unobserved);
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

impl Visit<'_, '_> {
    /// Whether the client has shown that its address is its own.
    fn proof(&self) -> Proof {
        self.cookie.map_or(Proof::Claimed, |cookie| cookie.proof).max(proof(self.arrival.transport))
    }

    /// Answers a query that is one too many: over UDP with what a real client comes back from, with a cookie
    /// (RFC 7873, section 5.2.3) or over TCP, and a forged one gets hardly more than it sent; REFUSED where the
    /// client came back already. Returns the rcode.
    fn limited(&self, out: &mut Vec<u8>) -> u16 {
        if self.arrival.transport == Transport::Tcp {
            let ede = Ede { code: Ede::PROHIBITED, text: "too many queries a second" };
            answer::error(self.query, rcode::REFUSED, Some(ede), out);
            return rcode::REFUSED;
        }
        self.shorten(rcode::NOERROR, out)
    }

    /// Puts what makes a real client come back in place of an answer with this rcode. Returns the new one.
    fn shorten(&self, rcode: u16, out: &mut Vec<u8>) -> u16 {
        if self.cookie.is_some() && self.proof() == Proof::Claimed {
            answer::error(self.query, rcode::BADCOOKIE, None, out);
            return rcode::BADCOOKIE;
        }
        answer::truncated(self.query, rcode, out);
        rcode
    }

    /// Makes an answer what this client takes: with its cookie, and over UDP an empty one with TC set in
    /// place of one that is too long.
    fn fit(&self, out: &mut Vec<u8>) {
        let add_cookie = |out: &mut Vec<u8>| {
            if let Some(cookie) = &self.cookie {
                answer::append_cookie(out, &cookie.answer);
            }
        };
        add_cookie(out);
        if self.arrival.transport == Transport::Udp && out.len() > answer::udp_limit(self.query) {
            let rcode = Response::parse(out).map_or(rcode::SERVFAIL, |answer| answer.rcode());
            answer::truncated(self.query, rcode, out);
            add_cookie(out);
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
        let entry = entry(self.state, self.arrival, Some(self.query), met, rcode, answers);
        note(self.state, journal, &Record { is_cached: origin == Origin::Cache, ..entry });
        if rcode.is_some() { Step::Answered } else { Step::Silent }
    }

    fn sending(&self, rcode: u16) -> Sending {
        let class = || Class::of(rcode, self.query.qname());
        let Arrival { client, instant, .. } = self.arrival;
        self.state.limits.response(client, self.proof(), class, instant)
    }
}

/// What the transport alone shows: a TCP connection was opened from where its answers go.
fn proof(transport: Transport) -> Proof {
    match transport {
        Transport::Tcp => Proof::Proven,
        Transport::Udp => Proof::Claimed,
    }
}

fn entry<'a>(
    state: &'a State,
    arrival: Arrival,
    query: Option<&Query<'a>>,
    met: Met<'a>,
    rcode: Option<u16>,
    answers: &'a [IpAddr],
) -> Record<'a> {
    Record {
        time: arrival.time,
        client: arrival.client,
        transport: arrival.transport,
        agency: state.agencies.of(arrival.client).map(|Agency { id, .. }| (&**id).into()),
        qname: query.map_or(&[][..], |query| query.qname()).into(),
        qtype: query.map_or(0, Query::qtype),
        qclass: query.map_or(0, Query::qclass),
        rcode,
        outcome: met.outcome,
        is_hit: met.is_hit,
        is_cached: false,
        feed: met.feed.map(|feed| (&**feed).into()),
        family: met.family.map(Into::into),
        answers: answers.into(),
        latency: u32::try_from(arrival.instant.elapsed().as_micros()).unwrap_or(u32::MAX),
    }
}

fn note(state: &State, journal: &mut Journal, record: &Record<'_>) {
    if state.log == LogScope::All || record.is_hit || record.outcome == Outcome::Shadow {
        journal.add(record);
    }
}

fn address_type(address: IpAddr) -> u16 {
    if address.is_ipv4() { rtype::A } else { rtype::AAAA }
}
