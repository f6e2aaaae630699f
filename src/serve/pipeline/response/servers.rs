//! Who serves the names of an answer: what NSDNAME and NSIP triggers look at.
//!
//! The resolver is asked for the NS records of a name and its ancestors, and for the servers' addresses where
//! rules want them, like for anything else: it keeps them, and in both modes it knows whom to ask. All is
//! bounded, names, servers, questions and time; what is not known by then is not looked at.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;

use super::{Case, Pipeline};
use crate::name::{Key, Name};
use crate::policy::trigger::Trigger;
use crate::resolve::Resolver;
use crate::resolve::answer::Answer;
use crate::resolve::cache::{Entry, Freshness, Key as CacheKey};
use crate::resolve::exchange::{Ask, Flag};
use crate::wire::{CLASS_IN, rtype};

/// Names of a chain whose servers are looked at.
const MOST_STAGES: u8 = 8;
/// Of a name's ancestors with more labels than one, those that are looked at: so many from either end. A zone
/// is cut near the top or near the name; between them lie the labels of reverse names, and of those who
/// would like to hide.
const FROM_EITHER_END: usize = 6;
/// Servers that are looked at, of all names together.
const MOST_SERVERS: usize = 32;

/// A name server.
pub(super) struct Server {
    /// The name of the chain that it serves.
    pub(super) stage: u8,
    pub(super) name: Name,
    /// Empty unless a rule looks at them.
    pub(super) addresses: Vec<IpAddr>,
}

/// What is still to be resolved.
type Missing = Vec<Ask>;
/// What was resolved of late, by its question.
type Answers = HashMap<Vec<u8>, Arc<Entry>>;

impl Pipeline {
    /// The servers, where the cache knows them all.
    pub(super) fn known_servers(&self, case: &Case<'_>, now: Instant) -> Option<Vec<Server>> {
        self.look_up(case, &Answers::new(), now).ok()
    }

    /// The servers, as far as they can be found in the time that the query has left.
    pub(super) async fn servers(&self, case: &Case<'_>) -> Vec<Server> {
        let end =
            tokio::time::Instant::from_std(case.arrival.instant + self.resolver.deadline(case.query.qname()));
        let mut answers = Answers::new();
        loop {
            // Whatever was missing once is in `answers` the next time: there are two rounds at most.
            let missing = match self.look_up(case, &answers, Instant::now()) {
                Ok(servers) => return servers,
                Err(missing) => missing,
            };
            let mut asking = JoinSet::new();
            for ask in missing {
                // Stands for an answer that does not come in time.
                let unknown = || Entry::unkept(Answer::failure(&[], &[]));
                answers.entry(ask.question.clone()).or_insert_with(unknown);
                let resolver = Arc::clone(&self.resolver);
                asking.spawn(async move {
                    let question = ask.question.clone();
                    (question, resolver.resolve(ask, None).await.entry)
                });
            }
            // What is late is finished and kept all the same.
            while let Ok(Some(answered)) = tokio::time::timeout_at(end, asking.join_next()).await {
                if let Ok((question, entry)) = answered {
                    answers.insert(question, entry);
                }
            }
        }
    }

    /// The servers by what is in `answers` or the cache, or what is in neither.
    fn look_up(&self, case: &Case<'_>, answers: &Answers, now: Instant) -> Result<Vec<Server>, Missing> {
        let mut search = Search { resolver: &self.resolver, answers, now, missing: Missing::new() };
        let mut servers = Vec::new();
        for (stage, zone) in zones(case) {
            let Some(entry) = search.find(&zone, rtype::NS) else { continue };
            for name in entry.answer.name_servers() {
                let Some(name) = Name::from_wire(name.as_wire()) else { continue };
                if servers.len() < MOST_SERVERS {
                    servers.push(Server { stage, name, addresses: Vec::new() });
                }
            }
        }
        if case.state.rules.image.index.has(Trigger::Nsip) && search.missing.is_empty() {
            for Server { name, addresses, .. } in &mut servers {
                for qtype in [rtype::A, rtype::AAAA] {
                    if let Some(entry) = search.find(name, qtype) {
                        addresses.extend(entry.answer.all_addresses());
                    }
                }
            }
        }
        if !search.missing.is_empty() {
            return Err(search.missing);
        }
        // In canonical order: of equals the first one told wins.
        servers.sort_by_cached_key(|server| (server.stage, Key::from(&server.name).as_bytes().to_vec()));
        Ok(servers)
    }
}

/// The places where zones that hold the names of an answer may begin.
fn zones(case: &Case<'_>) -> Vec<(u8, Name)> {
    let mut zones = Vec::new();
    case.for_each_name(|stage, name| {
        let Some(name) = Name::from_wire(name).filter(|_| stage < MOST_STAGES) else { return };
        // Those of a top-level domain serve half the world (BIND's `min-ns-dots 1`).
        let ancestors = std::iter::successors(Some(name), Name::parent);
        let ancestors: Vec<Name> = ancestors.take_while(|name| name.label_count() > 1).collect();
        let count = ancestors.len();
        let is_near = |at: usize| at < FROM_EITHER_END || at + FROM_EITHER_END >= count;
        let near = ancestors.into_iter().enumerate().filter(|(at, _)| is_near(*at));
        zones.extend(near.map(|(_, name)| (stage, name)));
    });
    zones
}

/// A look at what is known without waiting.
struct Search<'a> {
    resolver: &'a Arc<Resolver>,
    answers: &'a Answers,
    now: Instant,
    missing: Missing,
}

impl Search<'_> {
    /// The answer to a question; one that is neither at hand nor in the cache is missing.
    fn find(&mut self, name: &Name, qtype: u16) -> Option<Arc<Entry>> {
        let question = [name.as_wire(), &qtype.to_be_bytes(), &CLASS_IN.to_be_bytes()].concat();
        if let Some(entry) = self.answers.get(&question) {
            return Some(Arc::clone(entry));
        }
        let (recursion, clear) = (Flag::Set, Flag::Clear);
        let ask = Ask { question, recursion, checking_disabled: clear, dnssec_ok: clear };
        let found = self.resolver.find(&CacheKey::of(&ask), self.now);
        let Some(found) = found.filter(|found| found.at_once().is_some()) else {
            if !self.missing.iter().any(|other| other.question == ask.question) {
                self.missing.push(ask);
            }
            return None;
        };
        if found.state == Freshness::Ending {
            self.resolver.refresh(ask);
        }
        Some(found.entry)
    }
}
