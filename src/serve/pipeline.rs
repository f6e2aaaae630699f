//! The pipeline: what happens to one query, whatever transport it came by.
//!
//! Here client, policy, resolving and evidence meet, and nowhere else. The front half is
//! synchronous; a query that must wait becomes a [`Job`] for the back half. Every answer has its
//! record written before the caller gets it.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer::{self, Ede};
use crate::client::prefix::PrefixMap;
use crate::client::{Agencies, Agency};
use crate::evidence::journal::Journal;
use crate::evidence::record::{self, Outcome, Record, Transport};
use crate::image::Image;
use crate::name::{Key, Name};
use crate::policy::action::Action;
use crate::policy::decide::{Decision, Ruling, Unobserved, decide};
use crate::resolve::exchange::Ask;
use crate::resolve::forward::{Failure, Forwarder};
use crate::wire::{CLASS_IN, Query, Reject, Response, rcode, rtype};

/// Everything that a reload may change, swapped as one.
pub struct State {
    /// Networks whose clients are answered.
    pub allow: PrefixMap<()>,
    /// Who owns which network.
    pub agencies: Agencies,
    /// All rules.
    pub image: Image,
    /// Where sinkholed names lead.
    pub sinkhole: Sinkhole,
    /// Who resolves the rest.
    pub forwarder: Forwarder,
    /// Which queries are recorded.
    pub log: LogScope,
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
    /// Those that a rule of a threat feed met.
    Hits,
}

/// What all transports share.
pub struct Pipeline {
    state: ArcSwap<State>,
    /// The journal of everything but the UDP workers' own answers.
    journal: Mutex<Journal>,
    pending: Arc<Semaphore>,
    capacity: usize,
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
        Self { client: client.to_canonical(), transport, time: microseconds_now(), instant: Instant::now() }
    }
}

/// Microseconds since 1970 by the machine's clock.
pub fn microseconds_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
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
    met: Met,
    /// The target of an alias that a rule asked for.
    alias: Option<Name>,
    _permit: OwnedSemaphorePermit,
}

/// The rule that a query met, for its record.
#[derive(Debug, Clone)]
struct Met {
    outcome: Outcome,
    is_hit: bool,
    feed: Option<Arc<str>>,
    family: Option<Box<str>>,
}

impl Met {
    fn nothing(outcome: Outcome) -> Self {
        Self { outcome, is_hit: false, feed: None, family: None }
    }

    fn rule(outcome: Outcome, ruling: &Ruling<'_>) -> Self {
        Self {
            outcome,
            is_hit: ruling.is_hit(),
            feed: Some(Arc::clone(&ruling.feed.name)),
            family: ruling.family.map(Box::from),
        }
    }
}

impl Pipeline {
    /// Joins the parts. `pending` bounds how many queries wait for upstreams at once.
    pub fn new(state: State, journal: Journal, pending: usize) -> Self {
        Self {
            state: ArcSwap::from_pointee(state),
            journal: Mutex::new(journal),
            pending: Arc::new(Semaphore::new(pending)),
            capacity: pending,
        }
    }

    /// What is in force now.
    pub fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// Puts a new state in force; queries on their way finish under the one they began with.
    pub fn replace(&self, state: State) {
        self.state.store(Arc::new(state));
    }

    /// Takes a packet as far as it goes without waiting. An answer is put into `out`, which must be
    /// empty; its record is added to `journal`, which the caller commits before sending.
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
            Err(reject) => {
                let (rcode, question_end) = match reject {
                    Reject::Opcode => (rcode::NOTIMP, None),
                    Reject::Malformed(question_end) => (rcode::FORMERR, question_end),
                    Reject::Silent => return Step::Silent,
                };
                answer::reject(packet, question_end, rcode, out);
                note(
                    state,
                    journal,
                    &entry(state, arrival, None, &Met::nothing(Outcome::Malformed), Some(rcode)),
                );
                return Step::Answered;
            }
        };
        if let Some((rcode, ede)) = refusal(state, &query, arrival.client) {
            let outcome = if rcode == rcode::BADVERS { Outcome::Malformed } else { Outcome::Refused };
            answer::error(&query, rcode, ede, out);
            note(state, journal, &entry(state, arrival, Some(&query), &Met::nothing(outcome), Some(rcode)));
            return Step::Answered;
        }
        self.decide(state, &query, arrival, journal, out)
    }

    fn decide(
        &self,
        state: &Arc<State>,
        query: &Query<'_>,
        arrival: Arrival,
        journal: &mut Journal,
        out: &mut Vec<u8>,
    ) -> Step {
        let decision = Key::from_wire(query.qname())
            .map(|key| decide(&state.image.index, &key, &mut Unobserved))
            .unwrap_or_default();
        let Some(ruling) = decision.ruling else {
            let met = shadowed(&decision).unwrap_or_else(|| Met::nothing(Outcome::Forward));
            return self.wait(state, query, arrival, met, None, journal, out);
        };
        let outcome = match apply(&state.sinkhole, &ruling, query, arrival.transport, out) {
            Applied::Answer(outcome) => outcome,
            Applied::Alias(target) => {
                let met = Met::rule(Outcome::Cname, &ruling);
                return self.wait(state, query, arrival, met, Some(target.clone()), journal, out);
            }
            Applied::Resolve => {
                let met = Met::rule(Outcome::Passthru, &ruling);
                return self.wait(state, query, arrival, met, None, journal, out);
            }
        };
        let met = Met::rule(outcome, &ruling);
        let rcode = Response::parse(out).ok().map(|answer| answer.rcode());
        let mut entry = entry(state, arrival, Some(query), &met, rcode);
        let answered: Vec<IpAddr>;
        if outcome == Outcome::Sinkhole {
            let is_asked = |address: &&IpAddr| address_type(**address) == query.qtype();
            answered = state.sinkhole.addresses.iter().filter(is_asked).copied().collect();
            entry.answers = (&answered).into();
        }
        note(state, journal, &entry);
        if outcome == Outcome::Drop { Step::Silent } else { Step::Answered }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one call's facts; a struct for them would live three lines"
    )]
    fn wait(
        &self,
        state: &Arc<State>,
        query: &Query<'_>,
        arrival: Arrival,
        met: Met,
        alias: Option<Name>,
        journal: &mut Journal,
        out: &mut Vec<u8>,
    ) -> Step {
        let Ok(permit) = Arc::clone(&self.pending).try_acquire_owned() else {
            let busy = Ede { code: Ede::OTHER, text: "too many queries are waiting" };
            answer::error(query, rcode::SERVFAIL, Some(busy), out);
            note(state, journal, &entry(state, arrival, Some(query), &met, Some(rcode::SERVFAIL)));
            return Step::Answered;
        };
        Step::Wait(Box::new(Job {
            packet: query.packet().to_vec(),
            arrival,
            state: Arc::clone(state),
            met,
            alias,
            _permit: permit,
        }))
    }

    /// Resolves a query that had to wait; the answer is put into `out`, its record is written.
    pub async fn finish(&self, job: Job, out: &mut Vec<u8>) {
        let Job { packet, arrival, state, met, alias, _permit } = job;
        // It was parsed once already; the packet is the same.
        let Ok(query) = Query::parse(&packet) else { return };
        let question = match &alias {
            None => query.question().to_vec(),
            Some(target) => [target.as_wire(), &query.question()[query.qname().len()..]].concat(),
        };
        let ask = Ask {
            question,
            recursion: query.is_recursion_desired().into(),
            checking_disabled: query.is_checking_disabled().into(),
            dnssec_ok: query.edns().is_some_and(|edns| edns.dnssec_ok).into(),
        };
        let resolved = state.forwarder.resolve(ask).await;
        let answered = assemble(&query, &met, alias.as_ref(), &resolved, state.sinkhole.ttl, out);
        if arrival.transport == Transport::Udp && out.len() > answer::udp_limit(&query) {
            out.clear();
            answer::truncated(&query, answered.rcode, out);
        }
        let mut entry = entry(&state, arrival, Some(&query), &met, Some(answered.rcode));
        entry.answers = answered.addresses.into();
        self.with_journal(|journal| note(&state, journal, &entry));
    }

    /// Waits until no query is on its way to an upstream, or until `longest` has passed.
    pub async fn drain(&self, longest: std::time::Duration) {
        let all = u32::try_from(self.capacity).unwrap_or(u32::MAX);
        // The semaphore is never closed; a time-out leaves the stragglers to their fate.
        let _ = tokio::time::timeout(longest, self.pending.acquire_many(all)).await;
    }

    /// Runs `add` on the shared journal and commits it.
    pub fn with_journal<T>(&self, add: impl FnOnce(&mut Journal) -> T) -> T {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let result = add(&mut journal);
        journal.commit(microseconds_now());
        result
    }
}

/// What a rule makes of a query.
pub enum Applied<'p> {
    /// This outcome; the answer is in the buffer, which stays empty for a drop.
    Answer(Outcome),
    /// An alias to this name, which must be resolved.
    Alias(&'p Name),
    /// It must be resolved as if there were no rule.
    Resolve,
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
    Applied::Answer(match &ruling.rule.action {
        Action::Sinkhole => {
            answer::addresses(query, &sinkhole.addresses, ttl, ede, out);
            Outcome::Sinkhole
        }
        Action::Nxdomain => {
            answer::nxdomain(query, ttl, ede, out);
            Outcome::Nxdomain
        }
        Action::Nodata => {
            answer::nodata(query, ttl, ede, out);
            Outcome::Nodata
        }
        Action::Drop => Outcome::Drop,
        Action::TcpOnly if transport == Transport::Udp => {
            answer::truncated(query, rcode::NOERROR, out);
            Outcome::TcpOnly
        }
        Action::Cname(target) => return Applied::Alias(target),
        // `decide` reports shadow rules apart; one that came here would still change nothing.
        Action::TcpOnly | Action::Passthru | Action::Shadow => return Applied::Resolve,
    })
}

/// What a record keeps of an upstream's answer.
struct Answered {
    rcode: u16,
    addresses: Vec<IpAddr>,
}

fn assemble(
    query: &Query<'_>,
    met: &Met,
    alias: Option<&Name>,
    resolved: &Result<Vec<u8>, Failure>,
    ttl: u32,
    out: &mut Vec<u8>,
) -> Answered {
    let failed = |upstream: Option<&Response<'_>>, text, out: &mut Vec<u8>| {
        let otherwise = Ede { code: Ede::NO_REACHABLE_AUTHORITY, text };
        answer::failure(query, upstream, otherwise, out);
        Answered { rcode: rcode::SERVFAIL, addresses: Vec::new() }
    };
    match resolved {
        Ok(message) => {
            // The exchange believed only what parses.
            let Ok(response) = Response::parse(message) else {
                return failed(None, "the upstream's answer does not parse", out);
            };
            match alias {
                None => answer::relay(query, &response, out),
                Some(target) => {
                    let feed = met.feed.as_deref().unwrap_or("");
                    let ede = Ede { code: Ede::BLOCKED, text: feed };
                    answer::alias(query, target.as_wire(), ttl, ede, Some(&response), out);
                }
            }
            Answered { rcode: response.rcode(), addresses: addresses_in(&response) }
        }
        Err(Failure::Refused(message)) => {
            failed(Response::parse(message).ok().as_ref(), "every upstream failed", out)
        }
        Err(Failure::Silence) => failed(None, "no upstream answered", out),
    }
}

/// Why a well-formed query is not answered as asked, if so.
fn refusal(state: &State, query: &Query<'_>, client: IpAddr) -> Option<(u16, Option<Ede<'static>>)> {
    if query.edns().is_some_and(|edns| edns.version != 0) {
        return Some((rcode::BADVERS, None));
    }
    if state.allow.find(client).is_none() {
        return Some((rcode::REFUSED, Some(Ede { code: Ede::PROHIBITED, text: "" })));
    }
    let is_answered = query.qclass() == CLASS_IN
        && !matches!(
            query.qtype(),
            0 | rtype::OPT | 249 | 250 | rtype::IXFR | rtype::AXFR | rtype::MAILB | rtype::MAILA
        );
    (!is_answered).then_some((rcode::REFUSED, Some(Ede { code: Ede::NOT_SUPPORTED, text: "" })))
}

fn shadowed(decision: &Decision<'_>) -> Option<Met> {
    decision.shadow.map(|ruling| Met::rule(Outcome::Shadow, &ruling))
}

fn entry<'a>(
    state: &'a State,
    arrival: Arrival,
    query: Option<&Query<'a>>,
    met: &'a Met,
    rcode: Option<u16>,
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
        feed: met.feed.as_deref().map(Into::into),
        family: met.family.as_deref().map(Into::into),
        answers: (&[][..]).into(),
        latency: latency(arrival),
    }
}

fn note(state: &State, journal: &mut Journal, record: &Record<'_>) {
    if state.log == LogScope::All || record.is_hit {
        journal.add(record);
    }
}

fn latency(arrival: Arrival) -> u32 {
    u32::try_from(arrival.instant.elapsed().as_micros()).unwrap_or(u32::MAX)
}

fn address_type(address: IpAddr) -> u16 {
    if address.is_ipv4() { rtype::A } else { rtype::AAAA }
}

/// The first addresses in the answer section.
fn addresses_in(response: &Response<'_>) -> Vec<IpAddr> {
    response
        .records()
        .flatten()
        .filter_map(|found| {
            let rdata = response.packet().get(found.rdata.clone())?;
            match found.rtype {
                rtype::A => Some(IpAddr::from(<[u8; 4]>::try_from(rdata).ok()?)),
                rtype::AAAA => Some(IpAddr::from(<[u8; 16]>::try_from(rdata).ok()?)),
                _ => None,
            }
        })
        .take(record::MAX_ANSWERS)
        .collect()
}

/// What the policy says about a host that a browser asked the sinkhole for: feed and family.
pub fn listing(state: &State, host: &Name) -> Option<(Arc<str>, Option<String>)> {
    let decision = decide(&state.image.index, &Key::from(host), &mut Unobserved);
    let ruling = decision.ruling.filter(Ruling::is_hit)?;
    Some((Arc::clone(&ruling.feed.name), ruling.family.map(str::to_owned)))
}
