//! Many questions at once to upstreams over UDP, from one thread and a few sockets.
//!
//! Owns the sockets, the ids, and whose answer a datagram is; whom to ask, and what to make of the answer, is
//! [`super::Resolver`]'s. Nothing here waits: whoever owns a pool waits for its sockets, which are in the
//! owner's epoll. What cannot be settled with one datagram is handed back, to be asked the long way.
//!
//! A socket is connected, so a datagram from any other address never comes; its port is of the kernel's
//! choice, its ids are random and one question each. It asks no more after `MOST_ASKED` questions or
//! `LONGEST`, or once `MOST_STRANGERS` datagrams came that answer nothing: somebody guesses. Then what it
//! asked is handed back, to be asked from a new port.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::epoll;

use super::exchange::{Ask, Datagram, Edns};
use crate::datagram::{BATCH, Batch, Outbox, Wait};

/// Sockets to each upstream between which each batch chooses.
const PORTS: usize = 8;
/// How many sockets a pool has at the most, those included that only wait for their last answers.
pub const MOST_PORTS: usize = 64;
/// What one socket asks before it is replaced.
const MOST_ASKED: u32 = 512;
/// … and for how long it does.
const LONGEST: Duration = Duration::from_secs(5);
/// Datagrams that answer nothing, after which a socket is given up.
const MOST_STRANGERS: u32 = 8;
/// The highest bit of an epoll event's data says that it is a pool's.
pub const TOKEN: u64 = 1 << 63;

/// Questions on their way, each with what its asker wants back with the answer.
pub struct Pool<T> {
    ports: Vec<Option<Port>>,
    flights: Vec<Option<Flight<T>>>,
    free: Vec<usize>,
    /// By when each must be answered, in order; those that are listened for longer apart.
    ends: [VecDeque<End>; 2],
    serial: u64,
    /// What goes out with the next flush: the port's number and the query.
    outgoing: Vec<(usize, Vec<u8>)>,
    spare: Vec<Vec<u8>>,
    /// The port that this batch uses, for each upstream.
    chosen: Vec<(SocketAddr, usize)>,
    batch: Batch,
    outbox: Outbox<BATCH>,
}

/// When a flight, by slot and serial number, ends.
type End = (Instant, usize, u64);

struct Port {
    socket: UdpSocket,
    upstream: SocketAddr,
    /// Ids to flights.
    asked: HashMap<u16, usize>,
    /// Ids that were settled: what comes for them is late, or comes twice, and is nobody's guess.
    settled: HashSet<u16>,
    born: Instant,
    count: u32,
    strangers: u32,
}

struct Flight<T> {
    ask: Ask,
    port: usize,
    id: u16,
    serial: u64,
    waiting: T,
}

/// What came of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word<'a> {
    /// The upstream's answer to it, whatever it says.
    Answer(&'a [u8]),
    /// Ours by its id, and not to be believed as it is: cut, garbled, in other letter case, without a question.
    Odd,
    /// Too many datagrams came that answer nothing.
    Guessed,
    /// The upstream's system refused.
    Unreachable,
    /// Ours did, or the question was asked beside one that was refused: nothing is known of the upstream.
    Local,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self {
            ports: Vec::new(),
            flights: Vec::new(),
            free: Vec::new(),
            ends: Default::default(),
            serial: 0,
            outgoing: Vec::new(),
            spare: Vec::new(),
            chosen: Vec::new(),
            batch: Batch::new(),
            outbox: Outbox::new(),
        }
    }
}

impl<T> Pool<T> {
    /// Whether no question is on its way.
    pub fn is_idle(&self) -> bool {
        self.flights.len() == self.free.len()
    }

    /// When the next question has waited long enough.
    pub fn next_end(&self) -> Option<Instant> {
        self.ends.iter().filter_map(|ends| ends.front().map(|(end, ..)| *end)).min()
    }

    /// Asks with the next flush. An answer is waited for until `end`, or as long as for the question before.
    ///
    /// # Errors
    /// `waiting`, when there is no socket for it.
    pub fn ask(
        &mut self,
        epoll: BorrowedFd<'_>,
        upstream: SocketAddr,
        ask: Ask,
        waiting: T,
        (now, end): (Instant, Instant),
    ) -> Result<(), T> {
        let Some(number) = self.port(epoll, upstream, now) else { return Err(waiting) };
        let Some(port) = self.ports[number].as_mut() else { return Err(waiting) };
        let mut id: u16 = rand::random();
        while port.asked.contains_key(&id) || port.settled.contains(&id) {
            // At most a few hundred are taken.
            id = rand::random();
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.flights.push(None);
            self.flights.len() - 1
        });
        port.asked.insert(id, slot);
        port.count += 1;
        let mut query = self.spare.pop().unwrap_or_default();
        ask.write_query(id, Edns::Sent, &mut query);
        self.outgoing.push((number, query));
        self.serial += 1;
        // A reload may have brought another patience.
        self.flights[slot] = Some(Flight { ask, port: number, id, serial: self.serial, waiting });
        push(&mut self.ends[0], (end, slot, self.serial));
        Ok(())
    }

    /// Sends what was asked since the last call. What the system does not take comes back by `settle`.
    pub fn flush(&mut self, settle: &mut impl FnMut(T, Word<'_>)) {
        self.chosen.clear();
        while let Some(&(number, _)) = self.outgoing.first() {
            let Some(port) = self.ports[number].as_ref() else { break };
            let own = self.outgoing.iter().filter(|(other, _)| *other == number);
            let refused = self.outbox.send(&port.socket, own.map(|(_, query)| (None, &**query)));
            self.outgoing.retain_mut(|(other, query)| {
                if *other != number {
                    return true;
                }
                query.clear();
                self.spare.push(std::mem::take(query));
                false
            });
            if refused > 0 {
                // It is not told which; those that are waited for in vain are few, or all.
                self.give_up(number, Word::Local, settle);
            }
        }
    }

    /// Takes some of what came for the socket with this token, and tells `settle` of each question that is
    /// settled. What is left makes the epoll tell again.
    pub fn receive(&mut self, token: u64, settle: &mut impl FnMut(T, Word<'_>)) {
        let number = (token & !TOKEN) as usize;
        let Some(port) = self.ports.get_mut(number).and_then(Option::as_mut) else { return };
        let count = match self.batch.receive(&port.socket, Wait::Not) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(_) => return self.give_up(number, Word::Unreachable, settle),
        };
        for n in 0..count {
            let (packet, is_whole) = self.batch.octets(n);
            let id = packet.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
            let slot = port.asked.get(&id).copied();
            let flight = slot.and_then(|slot| self.flights[slot].as_ref());
            let kind = match flight {
                // What was cut goes over TCP, like what the upstream cut itself.
                Some(_) if !is_whole => Datagram::Odd,
                Some(flight) => Datagram::of(packet, id, &flight.ask),
                None => Datagram::Foreign,
            };
            let word = match kind {
                Datagram::Answer => Word::Answer(packet),
                Datagram::Headless | Datagram::Odd => Word::Odd,
                Datagram::Foreign => {
                    port.strangers += u32::from(!port.settled.remove(&id));
                    if port.strangers < MOST_STRANGERS {
                        continue;
                    }
                    tracing::debug!(upstream = %port.upstream, "too much that answers nothing: asking from another port");
                    return self.give_up(number, Word::Guessed, settle);
                }
            };
            let Some(slot) = slot else { continue };
            port.asked.remove(&id);
            port.settled.insert(id);
            let Some(flight) = self.flights[slot].take() else { continue };
            self.free.push(slot);
            settle(flight.waiting, word);
        }
    }

    /// Gives back what waits for answers that did not come in time. Where `overdue` returns something to wait
    /// instead, and until when, the question goes on being listened for.
    pub fn expire(&mut self, now: Instant, overdue: &mut impl FnMut(T) -> Option<(T, Instant)>) {
        for which in 0..self.ends.len() {
            while let Some(&(end, slot, serial)) = self.ends[which].front() {
                let open = self.flights[slot].take_if(|flight| flight.serial == serial && end <= now);
                let is_open = self.flights[slot].as_ref().is_some_and(|flight| flight.serial == serial);
                if is_open {
                    break;
                }
                self.ends[which].pop_front();
                let Some(mut flight) = open else { continue };
                if let Some((waiting, end)) = overdue(flight.waiting) {
                    self.serial += 1;
                    (flight.waiting, flight.serial) = (waiting, self.serial);
                    self.flights[slot] = Some(flight);
                    push(&mut self.ends[1], (end, slot, self.serial));
                    continue;
                }
                self.free.push(slot);
                if let Some(port) = &mut self.ports[flight.port]
                    && port.asked.get(&flight.id) == Some(&slot)
                {
                    port.asked.remove(&flight.id);
                    port.settled.insert(flight.id);
                }
            }
        }
    }

    /// The port for the next question to `upstream`: one of a few, the same for one batch.
    fn port(&mut self, epoll: BorrowedFd<'_>, upstream: SocketAddr, now: Instant) -> Option<usize> {
        if let Some(&(_, number)) = self.chosen.iter().find(|(other, _)| *other == upstream) {
            return Some(number);
        }
        for port in &mut self.ports {
            // Dropping the socket takes it out of the epoll.
            port.take_if(|port| port.asked.is_empty() && !port.is_fit(now));
        }
        let mut open = [0; PORTS];
        let mut count = 0;
        for (number, port) in self.ports.iter().enumerate() {
            if count < PORTS
                && port.as_ref().is_some_and(|port| port.upstream == upstream && port.is_fit(now))
            {
                open[count] = number;
                count += 1;
            }
        }
        let pick = usize::from(rand::random::<u8>()) % PORTS;
        let number = match open[..count].get(pick) {
            Some(&number) => number,
            None => match self.open(epoll, upstream, now) {
                Ok(number) => number,
                Err(error) => {
                    tracing::debug!(%upstream, %error, "no new socket");
                    *open[..count].first()?
                }
            },
        };
        self.chosen.push((upstream, number));
        Some(number)
    }

    fn open(&mut self, epoll: BorrowedFd<'_>, upstream: SocketAddr, now: Instant) -> io::Result<usize> {
        let number = match self.ports.iter().position(Option::is_none) {
            Some(number) => number,
            None if self.ports.len() < MOST_PORTS => {
                self.ports.push(None);
                self.ports.len() - 1
            }
            None => return Err(io::ErrorKind::QuotaExceeded.into()),
        };
        let any: IpAddr = match upstream {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(upstream)?;
        socket.set_nonblocking(true)?;
        let token = epoll::EventData::new_u64(TOKEN | number as u64);
        epoll::add(epoll, socket.as_fd(), token, epoll::EventFlags::IN)?;
        self.ports[number] = Some(Port {
            socket,
            upstream,
            asked: HashMap::new(),
            settled: HashSet::new(),
            born: now,
            count: 0,
            strangers: 0,
        });
        Ok(number)
    }

    /// Hands back all that a port has asked, and closes it.
    fn give_up(&mut self, number: usize, mut word: Word<'_>, settle: &mut impl FnMut(T, Word<'_>)) {
        // Dropping the socket takes it out of the epoll.
        let Some(port) = self.ports[number].take() else { return };
        self.chosen.retain(|(_, chosen)| *chosen != number);
        self.outgoing.retain(|(other, _)| *other != number);
        for slot in port.asked.into_values() {
            let Some(flight) = self.flights[slot].take() else { continue };
            self.free.push(slot);
            settle(flight.waiting, word);
            if word == Word::Unreachable {
                // One refusal is one, however many questions were on their way.
                word = Word::Local;
            }
        }
    }
}

/// Adds an end; a reload may have brought another patience, and they must stay in order.
fn push(ends: &mut VecDeque<End>, (end, slot, serial): End) {
    let end = ends.back().map_or(end, |(last, ..)| end.max(*last));
    ends.push_back((end, slot, serial));
}

impl Port {
    /// Whether it may ask more.
    fn is_fit(&self, now: Instant) -> bool {
        self.count < MOST_ASKED && now.saturating_duration_since(self.born) < LONGEST
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::super::exchange::Flag;
    use super::*;
    use crate::wire::{self, HEADER};

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A pool with its epoll, an upstream that the test plays, and what was settled.
    struct Scene {
        pool: Pool<u32>,
        epoll: OwnedFd,
        upstream: UdpSocket,
        settled: Vec<(u32, &'static str)>,
        now: Instant,
    }

    fn ask(name: &[u8]) -> Ask {
        Ask {
            question: [&[name.len() as u8], name, b"\x00\x00\x01\x00\x01"].concat(),
            recursion: Flag::Set,
            checking_disabled: Flag::Clear,
            dnssec_ok: Flag::Clear,
        }
    }

    fn note(settled: &mut Vec<(u32, &'static str)>) -> impl FnMut(u32, Word<'_>) {
        move |number, word| {
            let word = match word {
                Word::Answer(_) => "answer",
                Word::Odd => "odd",
                Word::Guessed => "guessed",
                Word::Unreachable => "unreachable",
                Word::Local => "local",
            };
            settled.push((number, word));
        }
    }

    impl Scene {
        fn new() -> Self {
            let upstream = UdpSocket::bind("127.0.0.1:0").unwrap();
            upstream.set_read_timeout(Some(PATIENCE)).unwrap();
            Self {
                pool: Pool::default(),
                epoll: epoll::create(epoll::CreateFlags::CLOEXEC).unwrap(),
                upstream,
                settled: Vec::new(),
                now: Instant::now(),
            }
        }

        /// Asks these numbers; each question is for a name of its own.
        fn ask(&mut self, numbers: std::ops::Range<u32>) {
            let upstream = self.upstream.local_addr().unwrap();
            for number in numbers {
                let asked = ask(format!("name{number}").as_bytes());
                let times = (self.now, self.now + Duration::from_secs(1));
                assert_eq!(self.pool.ask(self.epoll.as_fd(), upstream, asked, number, times), Ok(()));
            }
            self.pool.flush(&mut note(&mut self.settled));
        }

        /// What the upstream got, and from where.
        fn asked(&self) -> (Vec<u8>, SocketAddr) {
            let mut buffer = [0; 512];
            let (len, from) = self.upstream.recv_from(&mut buffer).unwrap();
            (buffer[..len].to_vec(), from)
        }

        /// Answers with what `change` makes of the query's echo.
        fn answer(&self, (query, to): &(Vec<u8>, SocketAddr), change: impl FnOnce(&mut Vec<u8>)) {
            let mut answer = query.clone();
            answer[2] |= wire::QR;
            change(&mut answer);
            self.upstream.send_to(&answer, to).unwrap();
        }

        /// Takes what comes until `count` questions are settled, or `times` sockets were readable.
        fn receive(&mut self, count: usize, times: usize) -> &[(u32, &'static str)] {
            for _ in 0..times {
                if self.settled.len() >= count {
                    break;
                }
                let mut events = Vec::with_capacity(16);
                let wait = rustix::time::Timespec { tv_sec: 20, tv_nsec: 0 };
                epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&wait)).unwrap();
                assert!(!events.is_empty(), "nothing came");
                for event in &events {
                    self.pool.receive(event.data.u64(), &mut note(&mut self.settled));
                }
            }
            &self.settled
        }
    }

    #[test]
    fn each_answer_finds_its_question() {
        let mut scene = Scene::new();
        scene.ask(0..20);
        assert!(!scene.pool.is_idle());
        let mut queries: Vec<_> = (0..20).map(|_| scene.asked()).collect();
        let ports: HashSet<_> = queries.iter().map(|(_, from)| *from).collect();
        assert_eq!(ports.len(), 1, "a batch leaves from one socket");
        queries.reverse();
        for query in &queries {
            scene.answer(query, |_| {});
        }
        let mut settled = scene.receive(20, 20).to_vec();
        settled.sort_unstable();
        assert!(settled.into_iter().eq((0..20).map(|number| (number, "answer"))));
        assert!(scene.pool.is_idle());
    }

    #[test]
    fn what_is_not_to_be_believed_is_not() {
        let mut scene = Scene::new();
        scene.ask(0..3);
        let queries: Vec<_> = (0..3).map(|_| scene.asked()).collect();
        // Another id, another name: nobody's.
        scene.answer(&queries[0], |answer| answer[0] ^= 1);
        scene.answer(&queries[0], |answer| answer[HEADER + 1] = b'x');
        // Other letter case; an error without a question; cut.
        scene.answer(&queries[0], |answer| answer[HEADER + 1] = b'N');
        scene.answer(&queries[1], |answer| {
            answer.truncate(HEADER);
            answer[3] = 1;
            answer[5] = 0;
            answer[11] = 0;
        });
        scene.answer(&queries[2], |answer| answer[2] |= wire::TC);
        assert_eq!(scene.receive(3, 5), [(0, "odd"), (1, "odd"), (2, "odd")]);
        // A second answer comes too late.
        scene.answer(&queries[0], |_| {});
        scene.ask(3..4);
        let query = scene.asked();
        scene.answer(&query, |_| {});
        assert_eq!(scene.receive(4, 5).last(), Some(&(3, "answer")));
    }

    #[test]
    fn whoever_guesses_meets_a_closed_port() {
        let mut scene = Scene::new();
        scene.ask(0..2);
        let query = scene.asked();
        for guess in 1..=MOST_STRANGERS as u8 {
            scene.answer(&query, |answer| answer[HEADER + 2] = guess);
        }
        let mut settled = scene.receive(2, 20).to_vec();
        settled.sort_unstable();
        assert_eq!(settled, [(0, "guessed"), (1, "guessed")]);
        assert!(scene.pool.is_idle());
        scene.asked();
        scene.ask(2..3);
        assert_ne!(scene.asked().1, query.1, "another port");
    }

    #[test]
    fn the_answer_behind_many_guesses_is_not_believed() {
        let mut scene = Scene::new();
        scene.ask(0..1);
        let query = scene.asked();
        (1..=40).for_each(|guess| scene.answer(&query, |answer| answer[HEADER + 2] = guess));
        scene.answer(&query, |_| {});
        assert_eq!(scene.receive(1, 5), [(0, "guessed")]);
    }

    #[test]
    fn late_answers_are_no_guesses() {
        let mut scene = Scene::new();
        scene.ask(0..20);
        let queries: Vec<_> = (0..20).map(|_| scene.asked()).collect();
        let end = scene.pool.next_end().unwrap();
        scene.pool.expire(end, &mut |_| None);
        queries.iter().for_each(|query| scene.answer(query, |_| {}));
        // Until one is asked from the same port.
        let mut number = 20;
        let last = loop {
            scene.ask(number..number + 1);
            number += 1;
            let query = scene.asked();
            if query.1 == queries[0].1 {
                break query;
            }
        };
        scene.answer(&last, |_| {});
        let settled = scene.receive(1, 5);
        assert_eq!(settled.last(), Some(&(number - 1, "answer")), "{settled:?}");
    }

    #[test]
    fn a_very_long_datagram_leads_to_tcp() {
        let mut scene = Scene::new();
        scene.ask(0..1);
        let query = scene.asked();
        scene.answer(&query, |answer| answer.resize(5000, 0));
        assert_eq!(scene.receive(1, 1), [(0, "odd")]);
    }

    #[test]
    fn a_socket_is_replaced_after_a_while_and_after_many_questions() {
        let mut scene = Scene::new();
        let mut ports = HashSet::new();
        for number in 0..2000 {
            scene.ask(number..number + 1);
            let query = scene.asked();
            scene.answer(&query, |_| {});
            scene.receive(number as usize + 1, 5);
            ports.insert(query.1);
        }
        assert!(ports.len() >= 3, "{} ports for 2000 questions", ports.len());
        assert!(scene.pool.ports.iter().flatten().all(|port| port.count <= MOST_ASKED));
        scene.now += LONGEST;
        scene.ask(2000..2001);
        assert!(!ports.contains(&scene.asked().1), "each is too old");
        assert_eq!(scene.pool.ports.iter().flatten().count(), 1, "the others are closed");
    }

    #[test]
    fn silence_ends_and_refusal_is_told_at_once() {
        let mut scene = Scene::new();
        scene.ask(0..2);
        let end = scene.pool.next_end().unwrap();
        let mut overdue = Vec::new();
        scene.pool.expire(end - Duration::from_millis(1), &mut |_| unreachable!("it has time left"));
        // The second is listened for a while longer, as 7.
        scene.pool.expire(end, &mut |number| {
            overdue.push(number);
            (number == 1).then_some((7, end + Duration::from_secs(1)))
        });
        assert_eq!(overdue, [0, 1]);
        assert!(!scene.pool.is_idle());
        let queries = [scene.asked(), scene.asked()];
        queries.iter().for_each(|query| scene.answer(query, |_| {}));
        assert_eq!(scene.receive(1, 5), [(7, "answer")]);
        assert!(scene.pool.is_idle());
        scene.ask(2..3);
        scene.asked();
        let end = scene.pool.next_end().unwrap();
        scene.pool.expire(end, &mut |number| Some((number, end + Duration::from_secs(1))));
        let end = scene.pool.next_end().unwrap();
        scene.pool.expire(end, &mut |_| None);
        assert!(scene.pool.is_idle());

        let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let times = (scene.now, scene.now + PATIENCE);
        scene.pool.ask(scene.epoll.as_fd(), closed, ask(b"refused"), 9, times).unwrap();
        scene.pool.flush(&mut note(&mut scene.settled));
        assert_eq!(scene.receive(2, 5).last(), Some(&(9, "unreachable")));
    }
}
