//! One question to the servers of one zone: whom first, when the next one, and which response counts.
//!
//! The first useful response wins. The next server is asked at once after a useless one, and after a while of
//! silence, while the earlier one may still answer. Servers whose addresses did not come with the delegation
//! are found when all others have been asked once.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rand::Rng as _;
use rand::seq::SliceRandom as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::Engine;
use super::digest::{Asked, Delegation, Digest, Useless, digest};
use super::piece::Outcome;
use super::servers::Manners;
use super::task::{MOST_LOOKUPS_A_ZONE, Task, Trouble};
use super::transport::{NoReply, Reply, WithEdns, is_in_other_case};
use crate::name::{self, Name};
use crate::resolve::exchange::{Ask, Flag};
use crate::wire::{self, CLASS_IN, Response, rcode, rtype};

/// The port that name servers answer at.
const PORT: u16 = 53;
/// How often each server is asked before giving up.
const ROUNDS: u32 = 3;
/// After this a server that was asked is no longer listened to; a TCP connection that drips ends by it too.
const LONGEST_TRY: Duration = Duration::from_millis(2500);
/// As long as the name of one server is resolved before that of another one is too.
const LOOKUP_PATIENCE: Duration = Duration::from_millis(300);

/// A useful response.
pub(super) struct Said {
    pub(super) digest: Digest,
    pub(super) packet: Vec<u8>,
}

/// Asks the zone's servers.
pub(super) async fn ask(
    engine: &Arc<Engine>,
    task: &Task,
    delegation: &Delegation,
    (qname, qtype): (&Name, u16),
) -> Result<Said, Trouble> {
    let deadline = task.budget.deadline;
    let mut round = Round::new(engine, task, delegation, (qname, qtype));
    let mut latest = None;
    let mut next_at = Instant::now();
    loop {
        // Not by the timer, which rounds up to a millisecond: that is longer than a near server takes.
        if next_at <= Instant::now() && next_at < deadline {
            if let Some(server) = latest.take() {
                engine.servers.note_silence(server, Instant::now().into_std());
            }
            match round.next() {
                Some((patience, server)) => {
                    (latest, next_at) = (server, Instant::now() + patience);
                }
                None if round.running.is_empty() => break,
                // Nobody is left to ask: wait for those that were.
                None => next_at = deadline,
            }
        }
        tokio::select! {
            biased;
            Some(done) = round.running.join_next(), if !round.running.is_empty() => {
                // A task ends early only by a panic, for which there is no cause.
                let Ok(event) = done else { continue };
                let is_awaited = match &event {
                    Event::Reply { server, .. } => latest == Some(*server),
                    Event::Addresses(_) => true,
                };
                if let Some(said) = round.take(event) {
                    return Ok(said);
                }
                if is_awaited || round.running.is_empty() || round.is_waiting {
                    (latest, next_at) = (None, Instant::now());
                }
            }
            () = sleep_until(next_at), if next_at < deadline => {}
            () = sleep_until(deadline) => {
                round.is_late = true;
                break;
            }
        }
    }
    Err(round.trouble())
}

/// What comes of what was begun.
enum Event {
    Reply { server: IpAddr, ask: Box<Ask>, took: Duration, result: Option<Result<Reply, NoReply>> },
    Addresses(Vec<IpAddr>),
}

struct Round<'a> {
    engine: &'a Arc<Engine>,
    task: &'a Task,
    delegation: &'a Delegation,
    qname: &'a Name,
    qtype: u16,
    running: JoinSet<Event>,
    /// Lookups that run.
    lookups: usize,
    lookups_begun: usize,
    /// Servers to ask in this round.
    queue: VecDeque<IpAddr>,
    /// Servers that were asked, and may yet answer when asked again.
    open: Vec<IpAddr>,
    /// Servers without known address.
    names: Vec<Name>,
    number: u32,
    is_waiting: bool,
    is_late: bool,
    is_spent: bool,
    is_local: bool,
    refusals: usize,
    unreachable: usize,
    asked: usize,
}

impl<'a> Round<'a> {
    fn new(
        engine: &'a Arc<Engine>,
        task: &'a Task,
        delegation: &'a Delegation,
        (qname, qtype): (&'a Name, u16),
    ) -> Self {
        let now = Instant::now().into_std();
        let mut addresses = Vec::new();
        let mut names = Vec::new();
        for server in &delegation.servers {
            if !server.addresses.is_empty() {
                addresses.extend(&server.addresses);
                continue;
            }
            let known = [rtype::A, rtype::AAAA].map(|qtype| engine.store.piece(&server.name, qtype, now));
            let known: Vec<IpAddr> = known.iter().flatten().flat_map(|piece| piece.addresses()).collect();
            if known.is_empty() {
                names.push(server.name.clone());
            }
            addresses.extend(known);
        }
        if addresses.is_empty() {
            // A name below the zone cannot be resolved without the zone.
            names.retain(|name| !name.is_within(&delegation.zone));
        }
        addresses.sort_unstable();
        addresses.dedup();
        names.shuffle(&mut rand::rng());
        let mut queue = VecDeque::from(engine.servers.order(&delegation.zone, &addresses, now));
        if let Some(distrusted) = task.distrusted
            && let Some(at) = queue.iter().position(|&address| address == distrusted)
        {
            queue.remove(at);
            queue.push_back(distrusted);
        }
        Self {
            engine,
            task,
            delegation,
            qname,
            qtype,
            running: JoinSet::new(),
            lookups: 0,
            lookups_begun: 0,
            queue,
            open: Vec::new(),
            names,
            number: 0,
            is_waiting: false,
            is_late: false,
            is_spent: false,
            is_local: false,
            refusals: 0,
            unreachable: 0,
            asked: 0,
        }
    }

    /// Begins the next thing that may help: how long it has before another one is begun, and the server that is
    /// asked by it. `None`: nothing more can be begun now.
    fn next(&mut self) -> Option<(Duration, Option<IpAddr>)> {
        self.is_waiting = false;
        if self.queue.is_empty() {
            while let Some(name) = self.names.pop() {
                if self.look_up(name) {
                    return Some((LOOKUP_PATIENCE, None));
                }
            }
            if self.lookups > 0 {
                self.is_waiting = true;
                return None;
            }
            if self.number + 1 < ROUNDS && !self.open.is_empty() {
                self.number += 1;
                self.queue = std::mem::take(&mut self.open).into();
            }
        }
        let server = self.queue.pop_front()?;
        if !self.task.budget.spend_query() {
            self.is_spent = true;
            return None;
        }
        self.begin(server);
        let patience = self.engine.servers.patience(server) * (1 << self.number);
        Some((patience, Some(server)))
    }

    fn begin(&mut self, server: IpAddr) {
        let manners = self.engine.servers.manners(server, Instant::now().into_std());
        let ask = Box::new(question(self.qname, self.qtype, manners));
        let edns = if manners.has_edns { WithEdns::Yes } else { WithEdns::No };
        let (transport, sockets) =
            (Arc::clone(&self.engine.transport), Arc::clone(&self.task.budget.sockets));
        self.open.push(server);
        self.asked += 1;
        self.running.spawn(async move {
            // The semaphore is never closed.
            let _socket = sockets.acquire().await;
            let begun = Instant::now();
            let asking = transport.ask(SocketAddr::new(server, PORT), &ask, edns);
            let result = timeout(LONGEST_TRY, asking).await.ok();
            Event::Reply { server, ask, took: begun.elapsed(), result }
        });
    }

    /// Resolves a server's name; whether that is possible.
    fn look_up(&mut self, name: Name) -> bool {
        if self.lookups_begun >= MOST_LOOKUPS_A_ZONE || !self.task.budget.spend_lookup() {
            return false;
        }
        let (engine, task) = (Arc::clone(self.engine), self.task.clone());
        self.lookups += 1;
        self.lookups_begun += 1;
        self.running.spawn(async move { Event::Addresses(engine.addresses_of(name, task).await) });
        true
    }

    /// Takes what came; a response when that helps.
    fn take(&mut self, event: Event) -> Option<Said> {
        let (server, ask, took, result) = match event {
            Event::Reply { server, ask, took, result } => (server, ask, took, result?),
            Event::Addresses(addresses) => {
                self.lookups -= 1;
                let now = Instant::now().into_std();
                for address in self.engine.servers.order(&self.delegation.zone, &addresses, now) {
                    if !self.queue.contains(&address) && !self.open.contains(&address) {
                        self.queue.push_back(address);
                    }
                }
                return None;
            }
        };
        let servers = &self.engine.servers;
        let now = Instant::now().into_std();
        match result {
            Ok(reply) => {
                servers.note_answer(server, took);
                let useless = match self.read(server, &ask, reply, now) {
                    Ok(said) => return Some(said),
                    Err(useless) => useless,
                };
                tracing::debug!(%server, zone = %self.delegation.zone, qname = %self.qname, ?useless, "a useless response");
                if matches!(useless, Useless::Lame | Useless::Rcode(rcode::REFUSED)) {
                    servers.note_lame(server, &self.delegation.zone, now);
                }
                self.refusals += 1;
                self.close(server);
            }
            Err(error) => {
                tracing::debug!(%server, %error, "a name server cannot be asked");
                match error {
                    NoReply::Network(_) => {
                        servers.note_silence(server, now);
                        self.unreachable += 1;
                        self.close(server);
                    }
                    NoReply::NoRoute(_) => {
                        servers.note_no_route(server, now);
                        self.unreachable += 1;
                        self.close(server);
                    }
                    NoReply::Local(error) => {
                        tracing::error!(%error, "no socket for a query: raise the limit of open files (ulimit -n)");
                        self.is_local = true;
                    }
                    NoReply::Mismatch => {
                        self.refusals += 1;
                        self.close(server);
                    }
                }
            }
        }
        None
    }

    fn read(
        &self,
        server: IpAddr,
        ask: &Ask,
        mut reply: Reply,
        now: std::time::Instant,
    ) -> Result<Said, Useless> {
        let servers = &self.engine.servers;
        if reply.is_plain {
            servers.note_plain(server, now);
        }
        if is_in_other_case(&reply.packet, ask) {
            servers.note_folding(server, now);
        }
        // Names that point into the question come in the letter case that we chose at random.
        if let Some(qname) = reply.packet.get_mut(wire::HEADER..wire::HEADER + ask.question.len() - 4) {
            name::fold(qname);
        }
        let Self { delegation, qname, qtype, .. } = *self;
        let asked = Asked { zone: &delegation.zone, qname, qtype, now, from: server };
        let digest = {
            let response = Response::parse(&reply.packet).map_err(|_| Useless::Garbled)?;
            digest(&response, asked)
        };
        match digest {
            Digest::Useless(useless) => Err(useless),
            digest => Ok(Said { digest, packet: reply.packet }),
        }
    }

    /// A server that has said all that it has to say.
    fn close(&mut self, server: IpAddr) {
        self.open.retain(|&open| open != server);
    }

    fn trouble(&self) -> Trouble {
        let zone = self.delegation.zone.clone();
        if self.is_local {
            Trouble::Local
        } else if self.refusals > 0 {
            Trouble::Refused(zone)
        } else if self.is_spent {
            Trouble::Spent
        } else if self.asked == 0 && self.is_late {
            Trouble::Late
        } else if self.asked == 0 {
            Trouble::NoAddress(zone)
        } else if self.unreachable >= self.asked {
            Trouble::Network(zone)
        } else {
            Trouble::Silence(zone)
        }
    }
}

/// A question as it is sent to a name server: without RD, and in random letter case (draft-vixie-dnsext-dns0x20)
/// where the server keeps that.
fn question(qname: &Name, qtype: u16, manners: Manners) -> Ask {
    let mut question = qname.as_wire().to_vec();
    if manners.keeps_case {
        let mut rng = rand::rng();
        let mut bits = 0u64;
        for (at, octet) in question.iter_mut().enumerate() {
            if at % 64 == 0 {
                bits = rng.random();
            }
            // Length octets are below every letter.
            if octet.is_ascii_lowercase() && bits >> (at % 64) & 1 == 1 {
                *octet = octet.to_ascii_uppercase();
            }
        }
    }
    question.extend(qtype.to_be_bytes());
    question.extend(CLASS_IN.to_be_bytes());
    Ask {
        question,
        recursion: Flag::Clear,
        checking_disabled: Flag::Clear,
        // Their signatures are kept for the clients that want them, and for validation.
        dnssec_ok: Flag::Set,
    }
}

impl Engine {
    /// The addresses of a name server, IPv6 ones only where it has none of IPv4.
    async fn addresses_of(self: Arc<Self>, name: Name, task: Task) -> Vec<IpAddr> {
        for (qtype, is_ipv6) in [(rtype::A, false), (rtype::AAAA, true)] {
            if !self.servers.is_reachable(is_ipv6, Instant::now().into_std()) {
                continue;
            }
            let Some(task) = task.below(&name, qtype) else { continue };
            let Ok(pieces) = Arc::clone(&self).walk(name.clone(), qtype, task).await else { continue };
            // An alias is no name server's name (RFC 2181, section 10.3).
            let data = pieces.first().filter(|piece| piece.outcome == Outcome::Data);
            let addresses = data.map(|piece| piece.addresses()).unwrap_or_default();
            if !addresses.is_empty() {
                return addresses;
            }
        }
        Vec::new()
    }
}
