//! One worker: a thread with its socket, its journal, its ready answers and its sockets to upstreams.
//!
//! It answers what needs no waiting, asks an upstream what is a plain miss, and writes the records of both
//! with one call before it sends the answers with one call. What one datagram to one upstream does not
//! settle goes to the asynchronous side and is sent from there, by this worker's socket.

use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::time::Timespec;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::pace::{Pace, Plan};
use super::{PULSE, Tools};
use crate::clock;
use crate::datagram::{self, BATCH, Batch, Outbox, Path, Wait};
use crate::evidence::journal::Journal;
use crate::evidence::record::Transport;
use crate::resolve::Takeoff;
use crate::resolve::pool::{self, Pool, Word};
use crate::serve::pipeline::{Arrival, Job, Permit, Pipeline, Step, Turn};
use crate::serve::ready::Ready;

/// After so many queries the clock is looked at again, for the latency in their records.
const CHUNK: usize = 16;
/// After so many answers of upstreams in one turn, those that are there are sent first.
const MOST_LATE: usize = 256;
/// Events taken from the epoll at once.
const EVENTS: usize = 32;

pub(super) struct Worker {
    /// Shared with the asynchronous side, which sends by it.
    socket: Arc<UdpSocket>,
    pipeline: Arc<Pipeline>,
    runtime: Handle,
    journal: Journal,
    ready: Option<Ready>,
    batch: Batch,
    replies: Vec<Vec<u8>>,
    outbox: Outbox<BATCH>,
    epoll: OwnedFd,
    pool: Pool<Flight>,
    late: Late,
    pace: Pace,
}

/// Who waits for an upstream's answer.
#[expect(clippy::large_enum_variant, reason = "nearly all are queries, and each box is an allocation a miss")]
enum Flight {
    /// A query.
    Query { takeoff: Takeoff, job: Box<Job>, path: Path, asked_at: Instant },
    /// The asynchronous side, which asks others meanwhile.
    Late(oneshot::Sender<Vec<u8>>),
}

/// Answers that came from upstreams, to be sent with the batch.
#[derive(Default)]
struct Late {
    answers: Vec<(Path, Vec<u8>, Permit)>,
    spare: Vec<Vec<u8>>,
}

/// Where what upstreams said goes.
struct Desk<'a> {
    socket: &'a Arc<UdpSocket>,
    pipeline: &'a Arc<Pipeline>,
    runtime: &'a Handle,
    journal: &'a mut Journal,
    late: &'a mut Late,
    now: Instant,
}

impl Worker {
    /// Sets up the tools. Call it in the worker's own thread.
    pub(super) fn new(tools: Tools, pipeline: Arc<Pipeline>, runtime: Handle) -> Self {
        let Tools { socket, journal, ready, epoll } = tools;
        // A sleep shorter than the usual slack of 50 µs must not grow by it. Best effort.
        let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
        Self {
            socket: Arc::new(socket),
            pipeline,
            runtime,
            journal,
            ready,
            batch: Batch::new(),
            replies: vec![Vec::new(); BATCH],
            outbox: Outbox::new(),
            epoll,
            pool: Pool::default(),
            late: Late::default(),
            pace: Pace::new(Instant::now()),
        }
    }

    /// Whether no query waits for an upstream here.
    pub(super) fn is_idle(&self) -> bool {
        self.pool.is_idle()
    }

    /// Serves one batch; returns how many of its answers could not be sent. One that is stopping takes no
    /// queries any more.
    pub(super) fn turn(&mut self, is_stopping: bool) -> io::Result<usize> {
        if is_stopping {
            // What comes now is for the next process.
            let _ = epoll::delete(&self.epoll, self.socket.as_fd());
        }
        let waited = self.wait();
        // What upstreams answered must be sent all the same.
        let count = *waited.as_ref().unwrap_or(&0);
        let (time, instant) = (clock::now(), Instant::now());
        let mut paths: [Option<Path>; BATCH] = [None; BATCH];
        self.answer(count, time, instant, &mut paths);
        self.journal.commit(time);
        let replies = paths.iter().zip(&self.replies);
        let replies = replies.filter_map(|(path, reply)| Some((Some((*path)?), &**reply)));
        let late = self.late.answers.iter().filter(|(_, reply, _)| !reply.is_empty());
        let late = late.map(|(path, reply, _)| (Some(*path), &**reply));
        let unsent = self.outbox.send(&self.socket, replies.chain(late));
        self.late.clear();
        waited.map(|_| unsent)
    }

    /// Waits for something to do and takes it: upstreams' answers become late ones, and the number of
    /// queries in the batch is returned.
    fn wait(&mut self) -> io::Result<usize> {
        let plan = self.pace.plan(Instant::now());
        if let Plan::Gather(left) = plan {
            std::thread::sleep(left);
        }
        if self.pool.is_idle() {
            let wait = if plan == Plan::Block { Wait::ForOne } else { Wait::Not };
            return self.receive(wait);
        }
        let longest = match plan {
            Plan::Block => {
                let end = self.pool.next_end().map(|end| end.saturating_duration_since(Instant::now()));
                end.map_or(PULSE, |end| end.min(PULSE))
            }
            Plan::Gather(_) | Plan::Poll => Duration::ZERO,
        };
        let mut events = [const { std::mem::MaybeUninit::<epoll::Event>::uninit() }; EVENTS];
        // Far shorter than a timespec holds.
        let longest = Timespec { tv_sec: longest.as_secs() as i64, tv_nsec: longest.subsec_nanos().into() };
        let (events, _) = match epoll::wait(&self.epoll, &mut events, Some(&longest)) {
            Ok(events) => events,
            Err(rustix::io::Errno::INTR) => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        let mut has_queries = false;
        let now = Instant::now();
        let (mut desk, pool) = self.desk(now);
        for event in events.iter() {
            match event.data.u64() {
                // What is left is told again.
                token if token & pool::TOKEN != 0 && desk.late.answers.len() >= MOST_LATE => {}
                token if token & pool::TOKEN != 0 => {
                    pool.receive(token, &mut |flight, word| desk.settle(flight, word));
                }
                _ => has_queries = true,
            }
        }
        pool.expire(now, &mut |flight| desk.overdue(flight));
        if has_queries {
            return self.receive(Wait::Not);
        }
        self.pace.note(Instant::now(), 0);
        Ok(0)
    }

    fn receive(&mut self, wait: Wait) -> io::Result<usize> {
        let count = match self.batch.receive(&self.socket, wait) {
            Ok(count) => count,
            Err(error) => match error.kind() {
                // Nothing came, or a client refused an earlier answer (ICMP, told on this socket).
                io::ErrorKind::WouldBlock
                | io::ErrorKind::TimedOut
                | io::ErrorKind::Interrupted
                | io::ErrorKind::ConnectionRefused => 0,
                _ => {
                    std::thread::sleep(PULSE);
                    return Err(error);
                }
            },
        };
        self.pace.note(Instant::now(), count);
        Ok(count)
    }

    /// Answers the batch's queries, and asks upstreams. The paths of those with an answer are put into
    /// `paths`; what was asked and is settled already becomes late answers.
    fn answer(&mut self, count: usize, time: i64, instant: Instant, paths: &mut [Option<Path>; BATCH]) {
        let Self { socket, pipeline, runtime, journal, ready, batch, replies, epoll, pool, late, .. } = self;
        let state = pipeline.state();
        let mut turns = [const { None }; BATCH];
        let places = turns.iter_mut().zip(&mut *paths).zip(replies);
        for (n, ((turn, path), out)) in places.take(count).enumerate() {
            let Some((packet, from)) = batch.packet(n) else { continue };
            let opened = match &state.proxies {
                None => Some((packet, from.peer.ip().to_canonical())),
                Some(proxies) => proxies.open(packet, from.peer),
            };
            let Some((packet, client)) = opened else { continue };
            *path = Some(from);
            let arrival = Arrival { client, transport: Transport::Udp, time, instant };
            *turn = Some(Turn { packet, arrival, out, step: Step::Silent });
        }
        for turns in turns[..count].chunks_mut(CHUNK) {
            pipeline.front(&state, turns, Instant::now(), journal, ready.as_mut());
        }
        let mut desk = Desk { socket, pipeline, runtime, journal, late, now: instant };
        for (turn, path) in turns.into_iter().zip(paths) {
            match turn.map(|turn| turn.step) {
                None | Some(Step::Answered) => {}
                Some(Step::Silent) => *path = None,
                Some(Step::Wait(job)) => {
                    let Some(path) = path.take() else { continue };
                    desk.ask(pool, epoll.as_fd(), job, path);
                }
            }
        }
        pool.flush(&mut |flight, word| desk.settle(flight, word));
    }

    fn desk(&mut self, now: Instant) -> (Desk<'_>, &mut Pool<Flight>) {
        let Self { socket, pipeline, runtime, journal, late, pool, .. } = self;
        (Desk { socket, pipeline, runtime, journal, late, now }, pool)
    }
}

impl Desk<'_> {
    /// Asks an upstream, or leaves that to the asynchronous side.
    fn ask(&mut self, pool: &mut Pool<Flight>, epoll: BorrowedFd<'_>, job: Box<Job>, path: Path) {
        let takeoff = self.pipeline.take_off(&job);
        let Some((takeoff, (_, upstream))) = takeoff.and_then(|it| it.first().map(|first| (it, first)))
        else {
            return self.leave(job, path);
        };
        let now = self.now;
        let end = now + takeoff.patience();
        let ask = takeoff.ask().clone();
        let flight = Flight::Query { takeoff, job, path, asked_at: now };
        if let Err(flight) = pool.ask(epoll, upstream, ask, flight, (now, end)) {
            self.settle(flight, Word::Local);
        }
    }

    /// Answers a query by what came, or leaves it to the asynchronous side, which is asking further.
    fn settle(&mut self, flight: Flight, word: Word<'_>) {
        let (takeoff, job, path, asked_at) = match flight {
            Flight::Query { takeoff, job, path, asked_at } => (takeoff, job, path, asked_at),
            Flight::Late(waiting) => {
                if let Word::Answer(answer) = word {
                    // It may have its answer from another upstream.
                    let _ = waiting.send(answer.to_vec());
                }
                return;
            }
        };
        match self.pipeline.settle(takeoff, word, asked_at) {
            Some(served) => {
                let mut out = self.late.spare.pop().unwrap_or_default();
                match self.pipeline.complete(job, &served, self.now, self.journal, &mut out) {
                    Ok(permit) => self.late.answers.push((path, out, permit)),
                    Err(job) => {
                        self.late.spare.push(out);
                        self.leave(job, path);
                    }
                }
            }
            None => self.leave(job, path),
        }
    }

    /// Leaves a query whose upstream is silent to the asynchronous side, and goes on listening for it.
    fn overdue(&mut self, flight: Flight) -> Option<(Flight, Instant)> {
        // What was listened for till now has had its time.
        let Flight::Query { takeoff, job, path, asked_at } = flight else { return None };
        let end = asked_at + takeoff.deadline();
        let (waiting, late) = oneshot::channel();
        self.pipeline.overdue(takeoff, late, asked_at);
        self.leave(job, path);
        Some((Flight::Late(waiting), end))
    }

    fn leave(&self, job: Box<Job>, path: Path) {
        let (pipeline, socket) = (Arc::clone(self.pipeline), Arc::clone(self.socket));
        self.runtime.spawn(async move {
            let mut out = Vec::with_capacity(512);
            let permit = pipeline.finish(*job, &mut out).await;
            if !out.is_empty() && datagram::send(&socket, [(path, &*out)]) > 0 {
                tracing::debug!(client = %path.peer, "an answer could not be sent");
            }
            drop(permit);
        });
    }
}

impl Late {
    /// Forgets what was sent, and keeps some of its memory.
    fn clear(&mut self) {
        for (_, mut out, _) in self.answers.drain(..) {
            if self.spare.len() < BATCH {
                out.clear();
                self.spare.push(out);
            }
        }
    }
}
