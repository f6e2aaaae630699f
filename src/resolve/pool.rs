//! Many questions at once to upstreams over UDP, from one thread and a few sockets.
//!
//! Owns the sockets, the ids, and whose answer a datagram is; whom to ask, and what to make of the answer, is
//! [`super::Resolver`]'s. Nothing here waits: whoever owns a pool waits for its sockets, which are in the
//! owner's epoll. What cannot be settled with one datagram is handed back, to be asked the long way.
//!
//! A socket is connected, so a datagram from any other address never comes; its port is of the kernel's
//! choice, its ids are random and one question each. It asks no more after [`MOST_ASKED`] questions or
//! [`LONGEST`], or once [`MOST_STRANGERS`] datagrams came that answer nothing: somebody guesses. Then what it
//! asked is handed back, to be asked from a new port.

use std::collections::{HashMap, VecDeque};
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
    /// By when each must be answered, in order.
    ends: VecDeque<(Instant, usize, u64)>,
    serial: u64,
    /// What goes out with the next flush: the port's number and the query.
    outgoing: Vec<(usize, Vec<u8>)>,
    spare: Vec<Vec<u8>>,
    /// The port that this batch uses, for each upstream.
    chosen: Vec<(SocketAddr, usize)>,
    batch: Batch,
    outbox: Outbox<BATCH>,
}

struct Port {
    socket: UdpSocket,
    upstream: SocketAddr,
    /// Ids to flights.
    asked: HashMap<u16, usize>,
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
    /// The upstream's system refused, or ours did.
    Unreachable,
    /// Nothing came in time.
    Silence,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self {
            ports: Vec::new(),
            flights: Vec::new(),
            free: Vec::new(),
            ends: VecDeque::new(),
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
        self.ends.front().map(|(end, ..)| *end)
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
        while port.asked.contains_key(&id) {
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
        let end = self.ends.back().map_or(end, |(last, ..)| end.max(*last));
        self.flights[slot] = Some(Flight { ask, port: number, id, serial: self.serial, waiting });
        self.ends.push_back((end, slot, self.serial));
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
                self.give_up(number, Word::Unreachable, settle);
            }
        }
    }

    /// Takes what came for the socket with this token, and tells `settle` of each question that is settled.
    pub fn receive(&mut self, token: u64, settle: &mut impl FnMut(T, Word<'_>)) {
        let number = (token & !TOKEN) as usize;
        loop {
            let Some(port) = self.ports.get_mut(number).and_then(Option::as_mut) else { return };
            let count = match self.batch.receive(&port.socket, Wait::Not) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return self.give_up(number, Word::Unreachable, settle),
            };
            for n in 0..count {
                let Some((packet, _)) = self.batch.packet(n) else { continue };
                let id = packet.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
                let slot = port.asked.get(&id).copied();
                let flight = slot.and_then(|slot| self.flights[slot].as_ref());
                let kind = flight.map_or(Datagram::Foreign, |flight| Datagram::of(packet, id, &flight.ask));
                let word = match kind {
                    Datagram::Answer => Word::Answer(packet),
                    Datagram::Headless | Datagram::Odd => Word::Odd,
                    Datagram::Foreign => {
                        port.strangers += 1;
                        continue;
                    }
                };
                let Some(slot) = slot else { continue };
                port.asked.remove(&id);
                let Some(flight) = self.flights[slot].take() else { continue };
                self.free.push(slot);
                settle(flight.waiting, word);
            }
            if port.strangers >= MOST_STRANGERS {
                tracing::debug!(upstream = %port.upstream, "datagrams that answer nothing: asking from another port");
                return self.give_up(number, Word::Guessed, settle);
            }
            if count < BATCH {
                break;
            }
        }
    }

    /// Tells `settle` of the questions that have waited long enough.
    pub fn expire(&mut self, now: Instant, settle: &mut impl FnMut(T, Word<'_>)) {
        while let Some(&(end, slot, serial)) = self.ends.front() {
            let is_open = self.flights[slot].as_ref().is_some_and(|flight| flight.serial == serial);
            if is_open && end > now {
                return;
            }
            self.ends.pop_front();
            if !is_open {
                continue;
            }
            let Some(flight) = self.flights[slot].take() else { continue };
            self.free.push(slot);
            if let Some(port) = &mut self.ports[flight.port] {
                port.asked.remove(&flight.id);
            }
            settle(flight.waiting, Word::Silence);
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
        let asked = HashMap::new();
        self.ports[number] = Some(Port { socket, upstream, asked, born: now, count: 0, strangers: 0 });
        Ok(number)
    }

    /// Hands back all that a port has asked, and closes it.
    fn give_up(&mut self, number: usize, word: Word<'_>, settle: &mut impl FnMut(T, Word<'_>)) {
        // Dropping the socket takes it out of the epoll.
        let Some(port) = self.ports[number].take() else { return };
        self.chosen.retain(|(_, chosen)| *chosen != number);
        self.outgoing.retain(|(other, _)| *other != number);
        for slot in port.asked.into_values() {
            let Some(flight) = self.flights[slot].take() else { continue };
            self.free.push(slot);
            settle(flight.waiting, word);
        }
    }
}

impl Port {
    /// Whether it may ask more.
    fn is_fit(&self, now: Instant) -> bool {
        self.count < MOST_ASKED && now.saturating_duration_since(self.born) < LONGEST
    }
}
