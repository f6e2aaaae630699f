//! What the pipeline answers from what is here: local zones, special names, ANY, the server's own name.
//!
//! The policy has decided before, but for the server's own name. Names come in this order: a local zone, a
//! special name, and then whoever is asked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Instant;

use super::*;
use crate::evidence::record::MAX_ANSWERS;
use crate::resolve::answer::Answer;
use crate::resolve::cache;
use crate::resolve::zone::{Reply, Then, Zones};
use crate::serve::answer::local::{self, Chain};
use crate::serve::published::{self, Entry};
use crate::serve::transfer::{self, Transfer};
use crate::tsig::Signature;
use crate::wire::{CLASS_IN, rtype};

/// What every name of `localhost` has.
const LOCALHOST: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

impl Pipeline {
    /// Puts local zones in force.
    pub fn set_zones(&self, zones: Zones) {
        self.zones.store(Arc::new(zones));
    }

    /// The local zones in force.
    pub fn zones(&self) -> Arc<Zones> {
        self.zones.load_full()
    }

    /// Answers a query that no rule answers, as far as that can be done here: with the answer as an error, or else
    /// with the course that it takes now. What rules wait for is judged by them, and not answered at once.
    pub(super) fn answer_here(
        &self,
        visit: &Visit<'_, '_>,
        met: &mut Met<'_>,
        course: Course,
        place: &mut Option<(&mut Ready, &Question<'_>)>,
        journal: &mut Journal,
        out: &mut Vec<u8>,
    ) -> Result<Course, Step> {
        let Visit { state, query, arrival, now, .. } = *visit;
        let zones = self.zones.load();
        match course {
            Course::Plain => {}
            Course::Ruled => {
                let is_special =
                    state.special.find(query.qname()).is_some() || is_flood(query, arrival.transport);
                let is_here = is_special || zones.answers(query.qname());
                return Ok(if is_here { Course::Here } else { Course::Ruled });
            }
            Course::Alias(_) | Course::Zone(..) | Course::Here => return Ok(course),
        }
        if !zones.is_empty()
            && let Some(reply) = local::zone(query, &zones, out)
        {
            return give_zone(visit, met, &reply, journal, out);
        }
        let rcode = if let Some(found) = state.special.find(query.qname()) {
            local::special(query, found, out)
        } else if is_flood(query, arrival.transport) {
            local::any(query, out);
            rcode::NOERROR
        } else {
            return Ok(Course::Plain);
        };
        *met = met.here();
        let is_localhost =
            |address: &&IpAddr| (if address.is_ipv4() { rtype::A } else { rtype::AAAA }) == query.qtype();
        let has_answer = out.get(7).is_some_and(|count| *count > 0);
        let answered = LOCALHOST.iter().find(is_localhost).filter(|_| has_answer);
        let answered = answered.map_or(&[][..], std::slice::from_ref);
        let step = visit.close(journal, *met, Some(rcode), answered, Origin::Upstream, out);
        if let (Some((ready, question)), Step::Answered) = (place, &step)
            && ready.is_seen(question)
        {
            let is_recorded = is_recorded(state, met.outcome, met.is_hit);
            let facts = Facts { is_recorded, is_counted: true, is_authentic: false };
            let life = Life::State::<std::iter::Empty<usize>>;
            let record = entry(state, arrival, now, Some(query), *met, Some(rcode), answered);
            let now = self.resolver.seconds(now);
            ready.insert(question, out, life, facts, now, |tail| record.encode_tail(tail));
        }
        Err(step)
    }

    /// Resolves a name that may be in a local zone or special: the target of a rule's alias, or what rules on
    /// answers must judge.
    pub(super) async fn resolve_target(&self, state: &State, asked: Ask, transport: Transport) -> Served {
        let dnssec_ok = asked.dnssec_ok == true.into();
        let mut packet = b"\x00\x00\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00".to_vec();
        packet.extend(&asked.question);
        if dnssec_ok {
            packet[11] = 1;
            packet.extend(b"\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x00");
        }
        let mut out = Vec::new();
        let here = match Query::parse(&packet) {
            Ok(query) => self.here(state, &query, transport, &mut out).await,
            Err(_) => None,
        };
        match here.and_then(|()| Response::parse(&out).ok()) {
            Some(response) => served_here(&response),
            None => self.resolver.resolve(asked, None).await,
        }
    }

    /// Resolves what aliases of local zones lead to, and puts it behind them.
    pub(super) async fn resolve_behind(&self, query: &Query<'_>, target: &Name, chain: &Chain) -> Served {
        let served = self.resolver.resolve(ask(query, Some(target)), None).await;
        let mut out = Vec::new();
        local::chain(query, chain, &served.entry.answer, served.aged, &mut out);
        match Response::parse(&out) {
            Ok(response) => Served { origin: served.origin, ..served_here(&response) },
            // It was put together from what parses.
            Err(_) => served,
        }
    }

    /// Puts what is here for a query with RD into `out`, aliases that lead elsewhere followed; `None` where
    /// there is nothing.
    async fn here(
        &self,
        state: &State,
        query: &Query<'_>,
        transport: Transport,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let zones = self.zones.load_full();
        let Some(reply) = local::zone(query, &zones, out) else {
            match state.special.find(query.qname()) {
                Some(found) => local::special(query, found, out),
                None if is_flood(query, transport) => {
                    local::any(query, out);
                    rcode::NOERROR
                }
                None => return None,
            };
            return Some(());
        };
        match reply.then {
            Then::Send => {
                local::finish_zone(query, &reply, true, out);
            }
            Then::Chase => {
                let chain = Chain::new(query, &reply, out);
                let served = self.resolver.resolve(ask(query, Some(&reply.target()?)), None).await;
                local::chain(query, &chain, &served.entry.answer, served.aged, out);
            }
            Then::Fail => endless(query, out),
            Then::Refer => return None,
        }
        Some(())
    }

    /// Answers what is asked of the server itself: its name and version, and over UDP how far a zone is that
    /// the client may transfer (RFC 1995, section 2: the rest comes over TCP). Before that, a query whose
    /// signature does not hold is refused.
    pub(super) fn tell(
        &self,
        visit: &mut Visit<'_, '_>,
        journal: &mut Journal,
        out: &mut Vec<u8>,
    ) -> Option<Step> {
        if let Some(step) = check_signature(visit, journal, out) {
            return Some(step);
        }
        if let Some(entry) = self.published.of(visit.query.qname()) {
            return Some(tell_published(&entry, visit, journal, out));
        }
        let Visit { state, query, arrival, .. } = *visit;
        let is_plain = query.qclass() == CLASS_IN && query.qtype() != rtype::IXFR;
        if is_plain || query.edns().is_some_and(|edns| edns.version != 0) {
            return None;
        }
        if let Some(text) = state.identity.answer_to(query) {
            local::chaos(query, text, out);
        } else {
            let entry =
                transfer::allowed(&self.zones.load(), query, arrival.client, visit.signer.as_deref())?;
            local::soa_of(query, &entry.zone, out);
        }
        let met = Met::nothing(Outcome::Local);
        let step = visit.close(journal, met, Some(rcode::NOERROR), &[], Origin::Upstream, out);
        if matches!(step, Step::Answered) {
            visit.fit(out);
        }
        Some(step)
    }

    /// What signs the answer of a query whose signature was found good before.
    pub(super) fn signer(state: &State, query: &Query<'_>, arrival: Arrival) -> Option<Box<Signer>> {
        match state.keys.check(query, arrival.time / 1_000_000) {
            Signature::Good(signer) => Some(signer),
            Signature::None | Signature::Refused(_) | Signature::Malformed => None,
        }
    }

    /// The messages of a zone transfer, where this is the query for one that the client may have; `None`: it is
    /// for [`Self::front`]. Its record is added to `journal`.
    pub fn transfer(
        &self,
        state: &Arc<State>,
        packet: &[u8],
        arrival: Arrival,
        journal: &mut Journal,
    ) -> Option<Transfer> {
        let query = Query::parse(packet).ok().filter(transfer::is_asked)?;
        let is_sound = state.access(arrival.client) == Access::Allowed
            && query.edns().is_none_or(|edns| edns.version == 0)
            && query.qclass() == CLASS_IN;
        let signer = match state.keys.check(&query, arrival.time / 1_000_000) {
            Signature::None => None,
            Signature::Good(signer) => Some(signer),
            Signature::Refused(_) | Signature::Malformed => return None,
        };
        let transfer = match self.published.of(query.qname()) {
            Some(entry) if entry.apex.as_wire().len() == query.qname().len() => {
                let may = transfer::is_allowed(&entry.terms, arrival.client, signer.as_deref());
                Transfer::published(&query, entry.version.filter(|_| may && is_sound)?, signer)
            }
            Some(_) => return None,
            None => {
                let entry = transfer::allowed(&self.zones.load(), &query, arrival.client, signer.as_deref());
                Transfer::new(&query, entry.filter(|_| is_sound)?, signer)
            }
        };
        let met = Met::nothing(Outcome::Local);
        let record = entry_of(state, arrival, &query, met);
        note(state, journal, &record);
        Some(transfer)
    }
}

/// Answers a query for a published zone: its secondaries' for the apex, and nobody else's.
fn tell_published(
    entry: &Entry,
    visit: &mut Visit<'_, '_>,
    journal: &mut Journal,
    out: &mut Vec<u8>,
) -> Step {
    let Visit { query, arrival, .. } = *visit;
    let is_apex = query.qname().len() == entry.apex.as_wire().len();
    let may = transfer::is_allowed(&entry.terms, arrival.client, visit.signer.as_deref());
    let is_sound = query.qclass() == CLASS_IN && query.edns().is_none_or(|edns| edns.version == 0);
    let is_plain = query.qtype() == rtype::IXFR || !rtype::is_meta(query.qtype());
    let (rcode, outcome) = match &entry.version {
        _ if !(may && is_apex && is_sound && is_plain) => (rcode::REFUSED, Outcome::Refused),
        None => (rcode::SERVFAIL, Outcome::Local),
        Some(version) => {
            published::apex(query, version, out);
            (rcode::NOERROR, Outcome::Local)
        }
    };
    match rcode {
        rcode::REFUSED => answer::error(query, rcode, Some(Ede { code: Ede::PROHIBITED, text: "" }), out),
        rcode::SERVFAIL => {
            let ede = Ede { code: Ede::OTHER, text: "the zone's first version is being made" };
            answer::error(query, rcode, Some(ede), out);
        }
        _ => {}
    }
    let step = visit.close(journal, Met::nothing(outcome), Some(rcode), &[], Origin::Upstream, out);
    if matches!(step, Step::Answered) {
        visit.fit(out);
    }
    step
}

/// Refuses a query whose signature does not hold (RFC 8945, section 5.2): NOTAUTH, with the reason.
fn check_signature(visit: &mut Visit<'_, '_>, journal: &mut Journal, out: &mut Vec<u8>) -> Option<Step> {
    let Visit { state, query, arrival, .. } = *visit;
    query.tsig()?;
    let (rcode, outcome, refusal) = match state.keys.check(query, arrival.time / 1_000_000) {
        Signature::None => return None,
        Signature::Good(signer) => {
            visit.signer = Some(signer);
            return None;
        }
        Signature::Malformed => (rcode::FORMERR, Outcome::Malformed, None),
        Signature::Refused(refusal) => (rcode::NOTAUTH, Outcome::Refused, Some(refusal)),
    };
    answer::error(query, rcode, None, out);
    let step = visit.close(journal, Met::nothing(outcome), Some(rcode), &[], Origin::Upstream, out);
    if let (Some(refusal), Step::Answered) = (refusal, &step) {
        refusal.append(out);
    }
    Some(step)
}

/// Whether a query asks for everything, and could be forged to send that to somebody else (RFC 8482).
fn is_flood(query: &Query<'_>, transport: Transport) -> bool {
    query.qtype() == rtype::ANY && transport == Transport::Udp
}

fn endless(query: &Query<'_>, out: &mut Vec<u8>) {
    let ede = Ede { code: Ede::OTHER, text: "the aliases of a local zone never end" };
    answer::error(query, rcode::SERVFAIL, Some(ede), out);
}

fn served_here(response: &Response<'_>) -> Served {
    let entry = cache::Entry::unkept(Answer::new(response));
    Served { entry, aged: Aged::By(0), origin: Origin::Upstream }
}

/// Gives what a local zone says, as [`Pipeline::answer_here`] does.
fn give_zone(
    visit: &Visit<'_, '_>,
    met: &mut Met<'_>,
    reply: &Reply,
    journal: &mut Journal,
    out: &mut Vec<u8>,
) -> Result<Course, Step> {
    let Visit { query, .. } = *visit;
    let wants_more = query.is_recursion_desired();
    // What is below a cut is resolved as any other name.
    if reply.then == Then::Refer && wants_more {
        return Ok(Course::Plain);
    }
    *met = met.here();
    let rcode = match reply.then {
        Then::Chase if wants_more => {
            let chain = Chain::new(query, reply, out);
            return Ok(reply.target().map_or(Course::Plain, |target| Course::Zone(target, chain)));
        }
        Then::Send | Then::Chase => local::finish_zone(query, reply, true, out),
        Then::Refer => local::finish_zone(query, reply, false, out),
        Then::Fail => {
            endless(query, out);
            rcode::SERVFAIL
        }
    };
    let mut addresses = [IpAddr::from([0; 4]); MAX_ANSWERS];
    let mut count = 0;
    for (place, address) in addresses.iter_mut().zip(reply.addresses()) {
        *place = address;
        count += 1;
    }
    let answered = if rcode == rcode::SERVFAIL { &[] } else { &addresses[..count] };
    Err(visit.close(journal, *met, Some(rcode), answered, Origin::Upstream, out))
}

impl Visit<'_, '_> {
    /// Adds the options that this client is owed to an answer's OPT record.
    pub(super) fn add_options(&self, out: &mut Vec<u8>) {
        if let Some(cookie) = &self.cookie {
            answer::append_cookie(out, &cookie.answer);
        }
        if let Some(id) = self.state.identity.nsid(self.query) {
            local::append_nsid(out, id);
        }
    }
}

fn entry_of<'a>(state: &'a State, arrival: Arrival, query: &Query<'a>, met: Met<'a>) -> Record<'a> {
    entry(state, arrival, Instant::now(), Some(query), met, Some(rcode::NOERROR), &[])
}

impl<'a> Met<'a> {
    /// Answered here; where a rule was met, its outcome tells more.
    pub(super) fn here(self) -> Self {
        let outcome = if self.outcome == Outcome::Forward { Outcome::Local } else { self.outcome };
        Self { outcome, ..self }
    }
}
