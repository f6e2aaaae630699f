//! Forwarding: which upstream is asked, when the next one is, and what counts as an answer.
//!
//! The healthy upstreams are asked in configured order. The next one is asked at once after a
//! failure (SERVFAIL, REFUSED, an error of the network), and after a while of silence, while the
//! earlier one may still answer: the first good answer wins. One deadline bounds it all.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::exchange::{Ask, ExchangeError, Via, exchange};
use crate::wire::{Response, rcode};

/// How queries are forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Whom to ask, in this order.
    pub upstreams: Vec<SocketAddr>,
    /// After this much silence the next upstream is asked too.
    pub patience: Duration,
    /// After this a query has failed.
    pub deadline: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            upstreams: vec![SocketAddr::from(([127, 0, 0, 2], 53))],
            patience: Duration::from_millis(800),
            // Before the five seconds after which dig and most stubs ask again.
            deadline: Duration::from_secs(4),
        }
    }
}

/// Silences in a row after which an upstream is asked last.
const MOST_SILENCES: u32 = 3;
/// How long it then stays last, doubled with each further silence up to the second value.
const SHORTEST_REST: Duration = Duration::from_secs(5);
const LONGEST_REST: Duration = Duration::from_secs(60);
/// How often each upstream is asked before giving up.
const ROUNDS: usize = 2;
/// The most sockets that one query holds for each upstream.
pub const MOST_SOCKETS: usize = ROUNDS;

/// Asks upstreams on behalf of clients.
#[derive(Debug)]
pub struct Forwarder {
    options: Options,
    health: Arc<[Health]>,
    begun: Instant,
}

/// What is remembered of an upstream.
#[derive(Debug, Default)]
struct Health {
    silences: AtomicU32,
    /// When it last answered anything, in milliseconds after [`Forwarder::begun`].
    heard_at: AtomicU64,
    /// Milliseconds after [`Forwarder::begun`] until which it is asked last.
    rests_until: AtomicU64,
}

/// What was tried for a question before, with one datagram to one upstream.
#[derive(Debug)]
pub struct Prior {
    /// The upstream's number.
    pub number: usize,
    /// When it was asked.
    pub asked_at: std::time::Instant,
    /// What came.
    pub met: Met,
}

/// What came of one datagram to one upstream.
#[derive(Debug)]
pub enum Met {
    /// An error, as it answered.
    Refusal(Vec<u8>),
    /// Something to ask about over TCP.
    Oddity,
    /// Nothing that tells of it: it is asked anew.
    Nothing,
    /// The network's refusal.
    Unreachable,
    /// Silence so far; the answer may still come here.
    Silence(oneshot::Receiver<Vec<u8>>),
}

/// No upstream gave a good answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// At least one answered with an error; the first such answer, whole.
    Refused(Vec<u8>),
    /// None answered in time.
    Silence,
    /// This machine could not ask: no sockets or memory left.
    Local,
}

impl Forwarder {
    /// Forwards by `options`.
    pub fn new(options: Options) -> Self {
        let health = options.upstreams.iter().map(|_| Health::default()).collect();
        Self { options, health, begun: Instant::now() }
    }

    /// How it forwards.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Asks until a good answer comes: any rcode but FORMERR, SERVFAIL, NOTIMP, REFUSED and those of
    /// EDNS. The message comes as the upstream sent it, with an id of its own.
    ///
    /// # Errors
    /// [`Failure`], after the deadline at the latest, which counts from the prior try on.
    pub async fn resolve(&self, ask: Ask, prior: Option<Prior>) -> Result<Vec<u8>, Failure> {
        let begun = prior.as_ref().map_or_else(Instant::now, |prior| prior.asked_at.into());
        let deadline = begun + self.options.deadline;
        let mut plan: VecDeque<usize> = std::iter::repeat_n(self.order(), ROUNDS).flatten().collect();
        let ask = Arc::new(ask);
        let mut asked = JoinSet::new();
        let mut spent = vec![false; self.options.upstreams.len()];
        let mut refusal = None;
        let mut is_local = false;
        let mut via = Via::Udp;
        if let Some(Prior { number, met, .. }) = prior {
            if let Some(at) = plan.iter().position(|&other| other == number) {
                plan.remove(at);
            }
            match met {
                Met::Refusal(answer) => {
                    refusal = Some(answer);
                    spent[number] = true;
                }
                Met::Oddity => {
                    via = Via::Tcp;
                    plan.push_front(number);
                }
                Met::Nothing => plan.push_front(number),
                Met::Unreachable => {}
                Met::Silence(late) => {
                    asked.spawn(async move { (number, late.await.ok().map(Ok)) });
                }
            }
        }
        let mut latest: Option<(usize, u64)> = None;
        let mut ask_next_at = Instant::now();
        loop {
            tokio::select! {
                biased;
                Some(done) = asked.join_next(), if !asked.is_empty() => {
                    // A task ends early only by a panic, which `exchange` has no cause for.
                    let Ok((number, result)) = done else { continue };
                    let is_told = result.is_some();
                    match result.map(|result| self.judge(number, result)) {
                        Some(Verdict::Good(answer)) => return Ok(answer),
                        Some(Verdict::Bad(answer)) => {
                            refusal.get_or_insert(answer);
                            spent[number] = true;
                        }
                        // Nobody listens for it any more, or nothing usable came.
                        None | Some(Verdict::Unreachable) => {}
                        Some(Verdict::Local) => is_local = true,
                    }
                    if is_told && latest.is_some_and(|(latest, _)| latest == number) {
                        ask_next_at = Instant::now();
                        latest = None;
                    }
                    if asked.is_empty() && ask_next_at >= deadline {
                        // The last one that was waited for has failed.
                        break;
                    }
                }
                () = sleep_until(ask_next_at), if ask_next_at < deadline => {
                    if let Some((silent, asked_at)) = latest.take() {
                        self.note_silence(silent, asked_at);
                    }
                    let next = std::iter::from_fn(|| plan.pop_front()).find(|&number| !spent[number]);
                    let Some(number) = next else {
                        if asked.is_empty() {
                            break;
                        }
                        // Nobody is left to ask: wait for those that were.
                        ask_next_at = deadline;
                        continue;
                    };
                    let (upstream, ask) = (self.options.upstreams[number], Arc::clone(&ask));
                    let via = std::mem::replace(&mut via, Via::Udp);
                    asked.spawn(async move { (number, Some(exchange(upstream, &ask, via).await)) });
                    latest = Some((number, self.now()));
                    ask_next_at = Instant::now() + self.options.patience;
                }
                () = sleep_until(deadline) => {
                    if let Some((silent, asked_at)) = latest {
                        self.note_silence(silent, asked_at);
                    }
                    break;
                }
            }
        }
        Err(match refusal {
            Some(answer) => Failure::Refused(answer),
            None if is_local => Failure::Local,
            None => Failure::Silence,
        })
    }

    /// The upstream to ask first, and its number.
    pub fn first(&self) -> Option<(usize, SocketAddr)> {
        let now = self.now();
        let is_awake = |health: &Health| health.rests_until.load(Ordering::Relaxed) <= now;
        let number = self.health.iter().position(is_awake).unwrap_or(0);
        self.options.upstreams.get(number).map(|&upstream| (number, upstream))
    }

    /// Takes down that an upstream answered, and tells whether the answer is a good one.
    pub fn note_answer(&self, number: usize, answer: &Response<'_>) -> bool {
        let Some(health) = self.health.get(number) else { return false };
        health.silences.store(0, Ordering::Relaxed);
        health.heard_at.store(self.now(), Ordering::Relaxed);
        health.rests_until.store(0, Ordering::Relaxed);
        !matches!(answer.rcode(), rcode::FORMERR | rcode::SERVFAIL | rcode::NOTIMP | rcode::REFUSED | 16..)
    }

    /// Takes down that an upstream cannot be reached.
    pub fn note_unreachable(&self, number: usize) {
        self.note_silence(number, u64::MAX);
    }

    /// Takes down that a question of `asked_at` was not answered in time.
    pub fn note_no_answer(&self, number: usize, asked_at: std::time::Instant) {
        let asked_at = Instant::from(asked_at).saturating_duration_since(self.begun);
        self.note_silence(number, asked_at.as_millis() as u64);
    }

    /// Upstreams by number: those that answer first, in configured order, and then the others.
    fn order(&self) -> Vec<usize> {
        let now = self.now();
        let (mut order, resting): (Vec<usize>, Vec<usize>) = (0..self.health.len())
            .partition(|&number| self.health[number].rests_until.load(Ordering::Relaxed) <= now);
        order.extend(resting);
        order
    }

    fn judge(&self, number: usize, result: Result<Vec<u8>, ExchangeError>) -> Verdict {
        let upstream = self.options.upstreams[number];
        let answer = match result {
            Ok(answer) => answer,
            Err(ExchangeError::Local(error)) => {
                // Says nothing about the upstream.
                tracing::error!(%error, "no socket for a query: raise the limit of open files (ulimit -n)");
                return Verdict::Local;
            }
            Err(error @ (ExchangeError::OverTcp(_) | ExchangeError::Mismatch)) => {
                // It has answered, over UDP: no silence.
                tracing::debug!(%upstream, %error, "an upstream gave no usable answer");
                return Verdict::Unreachable;
            }
            Err(error) => {
                tracing::debug!(%upstream, %error, "an upstream cannot be reached");
                self.note_unreachable(number);
                return Verdict::Unreachable;
            }
        };
        // The exchange believed only what parses.
        let is_good = Response::parse(&answer).is_ok_and(|response| self.note_answer(number, &response));
        if is_good { Verdict::Good(answer) } else { Verdict::Bad(answer) }
    }

    /// Milliseconds since this forwarder began.
    fn now(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }

    /// Notes that a question of `asked_at` was not answered. That is no silence of the upstream when it
    /// has answered others since: some names are not to be resolved, by anyone.
    fn note_silence(&self, number: usize, asked_at: u64) {
        let health = &self.health[number];
        if health.heard_at.load(Ordering::Relaxed) > asked_at {
            return;
        }
        // Many questions meet one silence: those that were on their way when its rest began count no more.
        if health.rests_until.load(Ordering::Relaxed) > self.now() {
            return;
        }
        let silences = health.silences.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let Some(over) = silences.checked_sub(MOST_SILENCES) else { return };
        let rest = SHORTEST_REST.saturating_mul(1 << over.min(8)).min(LONGEST_REST);
        let until = self.begun.elapsed() + rest;
        health.rests_until.store(until.as_millis() as u64, Ordering::Relaxed);
        if over == 0 {
            tracing::warn!(upstream = %self.options.upstreams[number], "an upstream is silent and will be asked last");
        }
    }
}

enum Verdict {
    Good(Vec<u8>),
    Bad(Vec<u8>),
    Unreachable,
    Local,
}

#[cfg(test)]
mod tests {
    use tokio::net::UdpSocket;

    use super::super::exchange::Flag;
    use super::*;
    use crate::wire;

    fn ask() -> Ask {
        Ask {
            question: b"\x07example\x00\x00\x01\x00\x01".to_vec(),
            recursion: Flag::Set,
            checking_disabled: Flag::Clear,
            dnssec_ok: Flag::Clear,
        }
    }

    /// An upstream that answers everything with `rcode`, or with silence.
    async fn upstream(rcode: Option<u8>) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
                if let Some(rcode) = rcode {
                    buffer[2] |= wire::QR;
                    buffer[3] |= rcode;
                    let _ = socket.send_to(&buffer[..len], from).await;
                }
            }
        });
        address
    }

    /// `None`: a silent upstream.
    async fn check(upstreams: &[Option<u8>], expected: Result<u16, &str>) {
        let mut addresses = Vec::new();
        for &rcode in upstreams {
            addresses.push(upstream(rcode).await);
        }
        let forwarder = Forwarder::new(Options {
            upstreams: addresses,
            patience: Duration::from_millis(50),
            deadline: Duration::from_millis(400),
        });
        let got = match forwarder.resolve(ask(), None).await {
            Ok(answer) => Ok(Response::parse(&answer).unwrap().rcode()),
            Err(Failure::Refused(_)) => Err("refused"),
            Err(Failure::Silence | Failure::Local) => Err("silence"),
        };
        assert_eq!(got, expected, "{upstreams:?}");
    }

    #[tokio::test]
    async fn the_first_good_answer_wins() {
        check(&[Some(0), Some(3)], Ok(0)).await;
        check(&[Some(3), Some(0)], Ok(3)).await;
        check(&[Some(2), Some(0)], Ok(0)).await;
        check(&[Some(5), Some(2), Some(3)], Ok(3)).await;
        check(&[None, Some(0)], Ok(0)).await;
        check(&[None, Some(2), Some(0)], Ok(0)).await;
        check(&[Some(2), Some(5)], Err("refused")).await;
        check(&[None, Some(2)], Err("refused")).await;
        check(&[None], Err("silence")).await;
    }

    /// A recursor with a lame zone: SERVFAIL, after it has tried for a while.
    #[tokio::test]
    async fn the_last_failure_ends_the_waiting() {
        let slow = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = slow.local_addr().unwrap();
        let (release, released) = oneshot::channel();
        tokio::spawn(async move {
            let mut asked = Vec::new();
            let mut buffer = [0; 512];
            for _ in 0..ROUNDS {
                let (len, from) = slow.recv_from(&mut buffer).await.unwrap();
                asked.push((buffer[..len].to_vec(), from));
            }
            // Both rounds were asked: nothing is left but to wait.
            let _ = released.await;
            for (mut query, from) in asked {
                query[2] |= wire::QR;
                query[3] |= 2;
                slow.send_to(&query, from).await.unwrap();
            }
        });
        let options = Options {
            upstreams: vec![address],
            patience: Duration::from_millis(1),
            deadline: Duration::from_secs(3600),
        };
        let forwarder = Forwarder::new(options);
        let answer = tokio::spawn(async move { forwarder.resolve(ask(), None).await });
        release.send(()).unwrap();
        let answer =
            tokio::time::timeout(Duration::from_secs(60), answer).await.expect("long before the deadline");
        assert!(matches!(answer.unwrap(), Err(Failure::Refused(_))));
    }

    #[tokio::test]
    async fn a_silent_upstream_is_asked_last() {
        let (silent, answering) = (upstream(None).await, upstream(Some(0)).await);
        let forwarder = Forwarder::new(Options {
            upstreams: vec![silent, answering],
            patience: Duration::from_millis(10),
            deadline: Duration::from_secs(5),
        });
        assert_eq!(forwarder.order(), [0, 1]);
        for _ in 0..MOST_SILENCES {
            forwarder.resolve(ask(), None).await.unwrap();
        }
        assert_eq!(forwarder.order(), [1, 0]);
    }

    #[tokio::test]
    async fn one_silence_that_many_meet_is_one_rest() {
        let forwarder = Forwarder::new(Options::default());
        for _ in 0..1000 {
            forwarder.note_silence(0, u64::MAX);
        }
        let until = Duration::from_millis(forwarder.health[0].rests_until.load(Ordering::Relaxed));
        assert!(until <= forwarder.begun.elapsed() + SHORTEST_REST, "{until:?}");
    }

    #[tokio::test]
    async fn an_unreachable_port_fails_over_at_once() {
        let closed = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let forwarder = Forwarder::new(Options {
            upstreams: vec![closed, upstream(Some(0)).await],
            patience: Duration::from_secs(60),
            deadline: Duration::from_secs(60),
        });
        forwarder.resolve(ask(), None).await.unwrap();
    }
}
