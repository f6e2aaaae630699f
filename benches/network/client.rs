//! The load generator: queries in batches over several flows, every answer checked, every loss counted.
//! It knows neither servers nor reports.
//!
//! Closed loop: so many queries are always on their way, and each answer makes room for the next query.
//! Open loop: queries leave at their times, whatever comes back, and a latency begins when its query was due.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sachdns::datagram::{self, Batch, Path, Wait};
use socket2::SockRef;

use crate::load::{HEADER, Load, MAX_QUERY, question_end};

/// Client sockets, each with a port of its own.
const FLOWS: usize = 8;
/// Queries that a flow can have on their way in an open loop: what 20 thousand a second are in 1.6 seconds.
const OPEN_SLOTS: usize = 4096;
/// An answer that takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(1);
/// A generator that is late by more than this was not given its core.
const HELD_UP: Duration = Duration::from_millis(1);
/// How often losses are looked for.
const PULSE: Duration = Duration::from_millis(50);
/// Room for many datagrams that wait, in octets; the kernel may grant less.
const BUFFER: usize = 4 << 20;

/// Whom to ask.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) answers: Answers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answers {
    /// The query itself comes back.
    Echoed,
    /// An answer with the address that the load wants.
    Resolved,
}

/// What became of a window's queries.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Right answers.
    pub(crate) answered: u64,
    /// No answer within a second.
    pub(crate) lost: u64,
    /// Well-formed answers with another RCODE than NOERROR.
    pub(crate) failed: u64,
    /// Answers to the right query with the wrong content.
    pub(crate) wrong: u64,
    /// The first of them, and its query.
    pub(crate) example: Option<(Vec<u8>, Vec<u8>)>,
    /// From the first query to the last answer.
    pub(crate) elapsed: Duration,
    /// Of an open loop, in no order.
    pub(crate) latencies: Vec<Duration>,
}

impl Outcome {
    /// Answers a second.
    pub(crate) fn rate(&self) -> f64 {
        self.answered as f64 / self.elapsed.as_secs_f64()
    }
}

/// Keeps `in_flight` queries on their way for `window`, then waits for the last answers.
pub(crate) fn closed(target: Target, load: &mut Load, in_flight: usize, window: Duration) -> Outcome {
    run_closed(target, load, in_flight, |elapsed, _| elapsed < window)
}

/// As [`closed`], for so many queries (and a few more).
pub(crate) fn closed_count(target: Target, load: &mut Load, in_flight: usize, count: usize) -> Outcome {
    run_closed(target, load, in_flight, |_, asked| asked < count)
}

fn run_closed(
    target: Target,
    load: &mut Load,
    in_flight: usize,
    goes_on: impl Fn(Duration, usize) -> bool,
) -> Outcome {
    let mut client = Client::new(target, (in_flight / FLOWS).max(1).next_power_of_two());
    let begun = Instant::now();
    let mut asked = 0;
    for flow in &mut client.flows {
        asked += flow.fill(load, begun, target.address);
    }
    let (mut last, mut looked) = (begun, begun);
    while client.flows.iter().any(Flow::is_waiting) {
        client.wait(PULSE);
        let now = Instant::now();
        let is_pulse = now - looked >= PULSE;
        for flow in &mut client.flows {
            if is_pulse {
                flow.expire(now, &mut client.outcome);
            }
            if flow.receive(&mut client.batch, target, &mut client.outcome, |_| {}) {
                last = now;
            }
            if goes_on(now - begun, asked) {
                asked += flow.fill(load, now, target.address);
            }
        }
        if is_pulse {
            looked = now;
        }
    }
    client.outcome.elapsed = last - begun;
    client.outcome
}

/// Sends `rate` queries a second, evenly, for as long as `goes_on` says of the time that passed.
///
/// A server is not blamed for what holds up the generator: queries that it could not send in time are left out
/// instead of sent in a burst, and latencies that it could not take in time are not counted.
pub(crate) fn open(
    target: Target,
    load: &mut Load,
    rate: u32,
    mut goes_on: impl FnMut(Duration) -> bool,
) -> Outcome {
    // The kernel otherwise ends a wait up to 50 µs late.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    let mut client = Client::new(target, OPEN_SLOTS);
    let mut latencies = Vec::new();
    let step = Duration::from_secs(1) / rate;
    let begun = Instant::now();
    let (mut due, mut last, mut looked) = (begun, begun, begun);
    let (mut turn, mut now) = (0, begun);
    let mut is_asking = true;
    while is_asking || client.flows.iter().any(Flow::is_waiting) {
        let before = now;
        now = Instant::now();
        if now.saturating_duration_since(due) > HELD_UP {
            due = now;
        }
        while is_asking && due <= now {
            let flow = &mut client.flows[turn % FLOWS];
            turn += 1;
            // A server so far behind that no id is left loses this query.
            client.outcome.lost += u64::from(!flow.ask(load, due, target.address));
            due += step;
            is_asking = goes_on(due - begun);
        }
        client.wait(if is_asking { due.saturating_duration_since(Instant::now()) } else { PULSE });
        now = Instant::now();
        // It slept until the next query was due, at most.
        let is_held_up = is_asking && now - before > step + HELD_UP;
        for flow in &mut client.flows {
            let record = |asked| {
                if !is_held_up {
                    latencies.push(now - asked);
                }
            };
            if flow.receive(&mut client.batch, target, &mut client.outcome, record) {
                last = now;
            }
        }
        if now - looked >= PULSE {
            looked = now;
            for flow in &mut client.flows {
                flow.expire(now, &mut client.outcome);
            }
        }
    }
    client.outcome.elapsed = last - begun;
    client.outcome.latencies = latencies;
    client.outcome
}

struct Client {
    flows: Vec<Flow>,
    batch: Batch,
    outcome: Outcome,
}

/// One socket, and its queries by id.
struct Flow {
    socket: UdpSocket,
    slots: Box<[Slot]>,
    /// The slot that was freed first is used first, so that an id comes back as late as it can.
    free: VecDeque<u16>,
    is_readable: bool,
}

#[derive(Clone)]
struct Slot {
    packet: [u8; MAX_QUERY],
    len: usize,
    question_end: usize,
    want: [u8; 4],
    /// Grows by the number of slots with each use: `id % slots` is this slot, and late answers are told apart.
    id: u16,
    asked: Option<Instant>,
}

impl Client {
    fn new(target: Target, slots: usize) -> Self {
        assert!(target.address.is_ipv4(), "all traffic stays on 127.0.0.1");
        let flows = (0..FLOWS).map(|_| Flow::new(slots)).collect();
        Self { flows, batch: Batch::new(), outcome: Outcome::default() }
    }

    /// Waits until a flow can be read, and notes which.
    fn wait(&mut self, time: Duration) {
        let mut polled: Vec<PollFd<'_>> =
            self.flows.iter().map(|flow| PollFd::new(&flow.socket, PollFlags::IN)).collect();
        let time = Timespec { tv_sec: time.as_secs() as _, tv_nsec: time.subsec_nanos().into() };
        // A signal ends the wait early, which does no harm.
        let _ = poll(&mut polled, Some(&time));
        let readable: [bool; FLOWS] = std::array::from_fn(|n| !polled[n].revents().is_empty());
        for (flow, is_readable) in self.flows.iter_mut().zip(readable) {
            flow.is_readable = is_readable;
        }
    }
}

impl Flow {
    fn new(slots: usize) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        socket.set_nonblocking(true).expect("a socket's flag");
        let _ = SockRef::from(&socket).set_recv_buffer_size(BUFFER);
        let empty =
            Slot { packet: [0; MAX_QUERY], len: 0, question_end: 0, want: [0; 4], id: 0, asked: None };
        let mut slots = vec![empty; slots].into_boxed_slice();
        for (slot, id) in slots.iter_mut().zip(0..) {
            slot.id = id;
        }
        let free = slots.iter().map(|slot| slot.id).collect();
        Self { socket, slots, free, is_readable: false }
    }

    fn is_waiting(&self) -> bool {
        self.free.len() < self.slots.len()
    }

    /// Asks as many queries as there are free slots, in one call; returns how many.
    fn fill(&mut self, load: &mut Load, now: Instant, server: SocketAddr) -> usize {
        let begin = std::mem::take(&mut self.free);
        for slot in &begin {
            self.slots[usize::from(*slot)].set(load, now, self.slots.len());
        }
        let path = Path::to(server);
        let packets = begin.iter().map(|slot| (path, self.slots[usize::from(*slot)].octets()));
        datagram::send(&self.socket, packets);
        begin.len()
    }

    /// Asks one query; false when no slot is free.
    fn ask(&mut self, load: &mut Load, due: Instant, server: SocketAddr) -> bool {
        let Some(slot) = self.free.pop_front() else { return false };
        let count = self.slots.len();
        let slot = &mut self.slots[usize::from(slot)];
        slot.set(load, due, count);
        datagram::send(&self.socket, [(Path::to(server), slot.octets())]);
        true
    }

    /// Takes the answers that are there; true if any answer was awaited.
    fn receive(
        &mut self,
        batch: &mut Batch,
        target: Target,
        outcome: &mut Outcome,
        mut record: impl FnMut(Instant),
    ) -> bool {
        if !std::mem::take(&mut self.is_readable) {
            return false;
        }
        let count = match batch.receive(&self.socket, Wait::Not) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(error) => unreachable!("a bound socket receives: {error}"),
        };
        let mut is_awaited = false;
        for (answer, path) in (0..count).filter_map(|n| batch.packet(n)) {
            let Some(id) = answer.first_chunk().map(|id| u16::from_be_bytes(*id)) else { continue };
            let index = usize::from(id) % self.slots.len();
            let slot = &mut self.slots[index];
            // Late answers, and what others send.
            if slot.id != id || path.peer != target.address {
                continue;
            }
            let Some(asked) = slot.asked.take() else { continue };
            self.free.push_back(index as u16);
            is_awaited = true;
            record(asked);
            match slot.judge(answer, target.answers) {
                Verdict::Right => outcome.answered += 1,
                Verdict::Failed => outcome.failed += 1,
                Verdict::Wrong => {
                    outcome.wrong += 1;
                    outcome.example.get_or_insert_with(|| (slot.octets().to_vec(), answer.to_vec()));
                }
            }
        }
        is_awaited
    }

    /// Gives up what has waited too long.
    fn expire(&mut self, now: Instant, outcome: &mut Outcome) {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if slot.asked.is_some_and(|asked| now.saturating_duration_since(asked) > PATIENCE) {
                slot.asked = None;
                self.free.push_back(index as u16);
                outcome.lost += 1;
            }
        }
    }
}

enum Verdict {
    Right,
    Failed,
    Wrong,
}

impl Slot {
    fn set(&mut self, load: &mut Load, now: Instant, slots: usize) {
        let asked = load.next();
        self.id = self.id.wrapping_add(slots as u16);
        self.len = asked.packet.len();
        self.packet[..self.len].copy_from_slice(asked.packet);
        self.packet[..2].copy_from_slice(&self.id.to_be_bytes());
        // All queries end with the same OPT record of 11 octets.
        self.question_end = self.len - 11;
        debug_assert_eq!(question_end(asked.packet), Some(self.question_end));
        self.want = asked.want;
        self.asked = Some(now);
    }

    fn octets(&self) -> &[u8] {
        &self.packet[..self.len]
    }

    fn judge(&self, answer: &[u8], answers: Answers) -> Verdict {
        let query = self.octets();
        if answers == Answers::Echoed {
            return if answer == query { Verdict::Right } else { Verdict::Wrong };
        }
        let end = self.question_end;
        let is_answer = answer.len() >= end && answer[2] & 0x80 != 0;
        if !is_answer || answer[HEADER..end] != query[HEADER..end] {
            return Verdict::Wrong;
        }
        if answer[3] & 0x0f != 0 {
            return Verdict::Failed;
        }
        // The first record of the answer: the qname, type A, class IN, any TTL, four octets.
        match &answer[end..] {
            [0xc0, 0x0c, 0, 1, 0, 1, _, _, _, _, 0, 4, rest @ ..] if rest.starts_with(&self.want) => {
                Verdict::Right
            }
            _ => Verdict::Wrong,
        }
    }
}
