//! The response side: what rules make of a query once its answer is known.
//!
//! Every answer that was resolved passes here on its way out, from the cache or from an upstream, asked by a
//! worker or the long way. Where no rule looks at answers and there is no alias in it, that is a glance.
//! Precedence is `policy::decide`'s; who serves a name is looked up in [`servers`].

mod servers;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::{
    Arrival, Course, Facts, Job, Life, Met, Permit, Pipeline, Question, Ready, State, Step, Visit, ask,
    entry, is_recorded,
};
use crate::evidence::journal::Journal;
use crate::evidence::record::{Outcome, Record};
use crate::name::{Key, Name, Presentation};
use crate::policy::decide::{Decision, Reckoning, Ruling, Unobserved, needs_servers};
use crate::policy::layers::Asker;
use crate::policy::rule::Signed;
use crate::policy::trigger::Trigger;
use crate::resolve::answer::Answer;
use crate::resolve::cache::{Found, Freshness};
use crate::resolve::{Aged, Origin, Served};
use crate::serve::answer::{self, Ede, Stem};
use crate::serve::apply::{Applied, apply};
use crate::serve::rulebook::Rulebook;
use crate::wire::{Query, WireName, rcode, rtype};
use servers::Server;

/// What becomes of an answer.
enum Verdict<'a> {
    /// The message for the client is in the buffer.
    Told(Told<'a>),
    /// First it must be known who serves its names.
    Servers,
    /// A rule leads to another name, which must be resolved.
    Alias(Told<'a>, Stem<'a>, Name),
}

/// What was made of a query, for its record.
struct Told<'a> {
    met: Met<'a>,
    matched: Option<String>,
    rcode: Option<u16>,
    answers: &'a [IpAddr],
    /// Whether the message is a rule's, not what was resolved.
    is_made: bool,
}

impl Told<'_> {
    fn met(&self) -> Met<'_> {
        Met { matched: self.matched.as_deref(), ..self.met }
    }
}

/// A query whose answer is known.
#[derive(Clone, Copy)]
struct Case<'a> {
    state: &'a State,
    query: &'a Query<'a>,
    arrival: Arrival,
    answer: &'a Answer,
    aged: Aged,
}

impl Pipeline {
    /// Answers from the resolver's cache; `None` where more than the answer must be resolved.
    pub(super) fn give(
        &self,
        visit: &Visit<'_, '_>,
        course: &Course,
        (found, aged): (&Found, Aged),
        place: Option<(&mut Ready, &Question<'_>)>,
        journal: &mut Journal,
        out: &mut Vec<u8>,
    ) -> Option<Step> {
        let Visit { state, query, arrival, now, .. } = *visit;
        if found.state == Freshness::Ending {
            self.resolver.refresh(ask(query, None));
        }
        let kept = &found.entry.answer;
        let case = Case { state, query, arrival, answer: kept, aged };
        let told = match case.verdict(course, None, out) {
            Verdict::Told(told) => told,
            Verdict::Alias(..) => return None,
            Verdict::Servers => {
                let servers = self.known_servers(&case, now)?;
                match case.verdict(course, Some(&servers), out) {
                    Verdict::Told(told) => told,
                    Verdict::Alias(..) | Verdict::Servers => return None,
                }
            }
        };
        let (met, rcode, answers) = (told.met(), told.rcode, told.answers);
        let step = visit.close(journal, met, rcode, answers, Origin::Cache, out);
        if let (Some((ready, question)), Step::Answered) = (place, &step)
            && let Some(seconds) = found.fresh_for()
            // Over TCP it is another answer.
            && (met.outcome != Outcome::TcpOnly)
        {
            let is_counted = !met.is_hit && !told.is_made;
            let is_authentic = kept.is_authentic() && !told.is_made;
            let is_recorded = is_recorded(state, met.outcome, met.is_hit);
            let facts = Facts { is_recorded, is_counted, is_authentic };
            let record = entry(state, arrival, now, Some(query), met, rcode, answers);
            let record = Record { is_cached: true, ..record };
            let now = self.resolver.seconds(now);
            // What a rule made is as good as what it was made of, and its TTLs stay as they are.
            let life = Life::Seconds(seconds, kept.ttls().filter(|_| !told.is_made));
            ready.insert(question, out, life, facts, now, |tail| record.encode_tail(tail));
        }
        Some(step)
    }

    /// Answers a query that had to wait, by what was resolved; its record is added to `journal`. Where no
    /// answer is to be sent, `out` is empty afterwards.
    ///
    /// # Errors
    /// The job, where more must be resolved: hand it to [`Self::finish`].
    pub fn complete(
        &self,
        mut job: Box<Job>,
        served: &Served,
        now: Instant,
        journal: &mut Journal,
        out: &mut Vec<u8>,
    ) -> Result<Permit, Box<Job>> {
        let Ok(query) = Query::parse(&job.packet) else { return Ok(job.permit) };
        let Job { arrival, ref state, ref course, .. } = *job;
        let case = Case { state, query: &query, arrival, answer: &served.entry.answer, aged: served.aged };
        let told = match case.verdict(course, None, out) {
            Verdict::Told(told) => Some(told),
            Verdict::Alias(..) => None,
            Verdict::Servers => self.known_servers(&case, now).and_then(|servers| {
                match case.verdict(course, Some(&servers), out) {
                    Verdict::Told(told) => Some(told),
                    Verdict::Alias(..) | Verdict::Servers => None,
                }
            }),
        };
        let Some(told) = told else {
            out.clear();
            job.resolved = Some(served.clone());
            return Err(job);
        };
        end(state, &query, arrival, now, &told, served, journal, out);
        Ok(job.permit)
    }

    /// Resolves a query that had to wait, and what its rules want to know beside. The answer, or nothing where none
    /// is to be sent, replaces what is in `out`, its record is written; the query counts as waiting until the
    /// permit is dropped.
    pub async fn finish(&self, job: Job, out: &mut Vec<u8>) -> Permit {
        let Job { packet, arrival, state, course, found, resolved, permit } = job;
        // It was parsed once already; the packet is the same.
        let Ok(query) = Query::parse(&packet) else { return permit };
        let served = match (resolved, &course) {
            (Some(served), _) => served,
            (None, Course::Alias(target)) => {
                let target = self.resolve_target(&state, ask(&query, Some(target)), arrival.transport).await;
                self.lead(&state, &query, arrival, &course, &target, out);
                return permit;
            }
            (None, Course::Zone(target, chain)) => self.resolve_behind(&query, target, chain).await,
            (None, Course::Here) => self.resolve_target(&state, ask(&query, None), arrival.transport).await,
            (None, Course::Plain | Course::Ruled) => self.resolver.resolve(ask(&query, None), found).await,
        };
        let case =
            Case { state: &state, query: &query, arrival, answer: &served.entry.answer, aged: served.aged };
        let mut servers = None;
        let told = loop {
            match case.verdict(&course, servers.as_deref(), out) {
                Verdict::Told(told) => break told,
                // Once they are given they are not asked for again.
                Verdict::Servers => servers = Some(self.servers(&case).await),
                Verdict::Alias(told, stem, target) => {
                    let asked = ask(&query, Some(&target));
                    let resolved = self.resolve_target(&state, asked, arrival.transport).await;
                    let (answer, ttl) = (&resolved.entry.answer, state.sinkhole.ttl);
                    let ede = Ede { code: Ede::BLOCKED, text: told.met.feed.map_or("", |feed| feed) };
                    let behind = Some((answer, resolved.aged));
                    let rcode = answer::alias(stem, target.as_wire(), ttl, ede, behind, out);
                    let addresses = if rcode == rcode::SERVFAIL { &[] } else { answer.addresses() };
                    let told = Told { rcode: Some(rcode), answers: addresses, ..told };
                    let now = Instant::now();
                    self.with_journal(|journal| {
                        end(&state, &query, arrival, now, &told, &resolved, journal, out);
                    });
                    return permit;
                }
            }
        };
        let now = Instant::now();
        self.with_journal(|journal| end(&state, &query, arrival, now, &told, &served, journal, out));
        permit
    }

    /// Answers with the alias that the qname's or the client's own rule asked for.
    fn lead(
        &self,
        state: &Arc<State>,
        query: &Query<'_>,
        arrival: Arrival,
        course: &Course,
        served: &Served,
        out: &mut Vec<u8>,
    ) {
        let Course::Alias(target) = course else { return };
        let mut unobserved = Unobserved;
        let asker = state.rules.asker(&state.agencies, arrival.client);
        let mut reckoning = Reckoning::new(state.rules.layers(), asker, &mut unobserved);
        if let Some(key) = Key::from_wire(query.qname()) {
            reckoning.name(0, &key);
        }
        // The same as it was before the target was resolved.
        let Some(ruling) = reckoning.decision().ruling else { return };
        let resolved = &served.entry.answer;
        let ede = Ede { code: Ede::BLOCKED, text: &ruling.feed.name };
        let behind = Some((resolved, served.aged));
        let rcode =
            answer::alias(Stem::at_qname(query), target.as_wire(), state.sinkhole.ttl, ede, behind, out);
        // What became a failure on its way out told the client no address.
        let answers = if rcode == rcode::SERVFAIL { &[] } else { resolved.addresses() };
        let met = Met::rule(Outcome::Cname, &ruling);
        let told = Told { met, matched: None, rcode: Some(rcode), answers, is_made: true };
        self.with_journal(|journal| {
            end(state, query, arrival, Instant::now(), &told, served, journal, out);
        });
    }
}

/// Ends a query that had to wait: limits its answer, adds its record, makes it fit its client.
#[expect(clippy::too_many_arguments, reason = "each is one thing, and they meet only here")]
fn end(
    state: &Arc<State>,
    query: &Query<'_>,
    arrival: Arrival,
    now: Instant,
    told: &Told<'_>,
    served: &Served,
    journal: &mut Journal,
    out: &mut Vec<u8>,
) {
    // A malformed cookie did not come as far as here.
    let cookie = state.cookie(query, arrival).unwrap_or_default();
    let visit = Visit { state, query, arrival, now, cookie, signer: Pipeline::signer(state, query, arrival) };
    match visit.close(journal, told.met(), told.rcode, told.answers, served.origin, out) {
        Step::Answered => visit.fit(out),
        Step::Silent | Step::Wait(_) => out.clear(),
    }
}

impl<'a> Case<'a> {
    /// Puts what the client gets into `out`, or says what must be known first.
    fn verdict(&self, course: &Course, servers: Option<&[Server]>, out: &mut Vec<u8>) -> Verdict<'a> {
        let State { rules, agencies, .. } = self.state;
        if matches!(course, Course::Plain) && !concerns(rules, self.answer) {
            return Verdict::Told(self.relay(Met::nothing(Outcome::Forward), None, out));
        }
        let decision = self.judge(servers.unwrap_or_default());
        let Asker { audience, .. } = rules.asker(agencies, self.arrival.client);
        if servers.is_none() && needs_servers(&rules.image.index, audience, &decision) {
            return Verdict::Servers;
        }
        let shadow = decision.shadow.map(|ruling| (Met::shadow(&ruling), self.matched(&ruling, servers)));
        let Some(ruling) = decision.ruling else {
            let (met, matched) = shadow.unwrap_or((Met::nothing(Outcome::Forward), None));
            return Verdict::Told(self.relay(met, matched, out));
        };
        let matched = self.matched(&ruling, servers);
        let wants_dnssec = self.query.edns().is_some_and(|edns| edns.dnssec_ok);
        if ruling.feed.signed == Signed::LeftAlone && wants_dnssec && self.answer.is_signed() {
            return Verdict::Told(self.relay(Met::shadow(&ruling), matched, out));
        }
        let stem = Stem::along(self.query, self.answer, ruling.stage);
        match apply(&self.state.sinkhole, &ruling, stem, self.arrival.transport, out) {
            Applied::Answer(outcome, rcode) => {
                let met = Met::rule(outcome, &ruling);
                let answers = self.state.sinkhole.told(&ruling, self.query.qtype());
                Verdict::Told(Told { met, matched, rcode, answers, is_made: true })
            }
            Applied::Alias(target) => {
                let met = Met::rule(Outcome::Cname, &ruling);
                let told = Told { met, matched, rcode: None, answers: &[], is_made: true };
                Verdict::Alias(told, stem, target)
            }
            Applied::Resolve(outcome) => {
                let (met, matched) = shadow.unwrap_or((Met::rule(outcome, &ruling), matched));
                Verdict::Told(self.relay(met, matched, out))
            }
        }
    }

    fn relay(&self, met: Met<'a>, matched: Option<String>, out: &mut Vec<u8>) -> Told<'a> {
        let rcode = answer::relay(self.query, self.answer, self.aged, out);
        // What became a failure on its way out told the client no address.
        let answers = if rcode == rcode::SERVFAIL { &[] } else { self.answer.addresses() };
        Told { met, matched, rcode: Some(rcode), answers, is_made: false }
    }

    /// Decides by all that is known.
    fn judge(&self, servers: &[Server]) -> Decision<'a> {
        let mut unobserved = Unobserved;
        let State { rules, agencies, .. } = self.state;
        let asker = rules.asker(agencies, self.arrival.client);
        let mut reckoning = Reckoning::new(rules.layers(), asker, &mut unobserved);
        let mut last = 0;
        self.for_each_name(|stage, name| {
            if let Some(key) = Key::from_wire(name) {
                reckoning.name(stage, &key);
            }
            last = stage;
        });
        for address in self.answer.all_addresses() {
            reckoning.address(last, address);
        }
        for (number, server) in servers.iter().enumerate() {
            // There are far fewer.
            let number = number as u16;
            reckoning.server(server.stage, number, &Key::from(&server.name));
            for address in &server.addresses {
                reckoning.server_address(server.stage, number, *address);
            }
        }
        reckoning.decision()
    }

    /// Calls `visit` with the qname and every name that aliases lead to from it. Those who ask for aliases
    /// themselves follow none.
    fn for_each_name(&self, mut visit: impl FnMut(u8, &[u8])) {
        visit(0, self.query.qname());
        if matches!(self.query.qtype(), rtype::CNAME | rtype::ANY) {
            return;
        }
        let mut stage = 0;
        self.answer.for_each_alias(|target, _| {
            stage += 1;
            visit(stage, target.as_wire());
        });
    }

    /// What met a rule, where it is not the qname or the client.
    fn matched(&self, ruling: &Ruling<'_>, servers: Option<&[Server]>) -> Option<String> {
        match ruling.rule.trigger {
            Trigger::Ip | Trigger::Nsip | Trigger::Address => {
                ruling.address.map(|address| address.to_string())
            }
            Trigger::Nsdname => {
                let server = servers.unwrap_or_default().get(usize::from(ruling.server))?;
                Some(server.name.to_string())
            }
            Trigger::Qname if ruling.stage > 0 => {
                let mut name: Option<WireName> = None;
                let mut stage = 0;
                self.answer.for_each_alias(|target, _| {
                    stage += 1;
                    if stage == ruling.stage {
                        name = Some(*target);
                    }
                });
                name.map(|name| Presentation(name.as_wire()).to_string())
            }
            Trigger::Qname | Trigger::ClientIp => None,
        }
    }
}

/// Whether an answer could meet a rule that its question did not.
fn concerns(rules: &Rulebook, answer: &Answer) -> bool {
    answer.has_alias()
        || !rules.image.index.on_servers().is_empty()
        || answer.all_addresses().any(|address| rules.lists(address))
}
