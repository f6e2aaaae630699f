//! Forwarding: which upstream is asked, when the next one is, and what counts as an answer.
//!
//! Those that answer are asked in the strategy's order. The next one is asked at once after a
//! failure (SERVFAIL, REFUSED, an error of the network, no answer at all in what came), and after a while of silence,
//! while the earlier one may still answer: the first good answer wins. One deadline bounds it all. One that fails for a
//! while rests: it is asked last, until it answers a question of our own.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::answer::Answer;
use super::chain::Chain;
use super::exchange::{Ask, ExchangeError, Flag, Peer, Via, exchange};
use super::health::{Rest, Strategy, Wards};
use super::upstream::{Trust, Upstream};
use crate::name::Name;
use crate::wire::{CLASS_IN, Response, Section, rcode, rtype};

/// How queries are forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Whom to ask, in this order.
    pub upstreams: Vec<Upstream>,
    /// Whom of them first.
    pub strategy: Strategy,
    /// Whether they resolve for us, or know only their own zones.
    pub recursion: Recursion,
    /// Whose name they are asked for when they are asked whether they answer again; none: the root's.
    pub domain: Option<Name>,
    /// How names are written that they are asked for.
    pub letter_case: LetterCase,
    /// After this much silence the next upstream is asked too.
    pub patience: Duration,
    /// After this a query has failed.
    pub deadline: Duration,
    /// How long an upstream that fails is left alone at first; later rests are longer.
    pub rest: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            upstreams: vec![SocketAddr::from(([127, 0, 0, 2], 53)).into()],
            strategy: Strategy::default(),
            recursion: Recursion::Desired,
            domain: None,
            letter_case: LetterCase::AsAsked,
            patience: Duration::from_millis(800),
            // Before the five seconds after which dig and most stubs ask again.
            deadline: Duration::from_secs(4),
            rest: Duration::from_secs(5),
        }
    }
}

/// What upstreams are asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recursion {
    /// To resolve, where the client wants that: RD as it set it.
    Desired,
    /// To say what they know: they are the masters of a zone, and RD is clear.
    None,
}

/// How the letters of a name are written upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LetterCase {
    /// As the client wrote them.
    AsAsked,
    /// At random: a forger must guess each (draft-vixie-dnsext-dns0x20).
    Random,
}

/// How often each upstream is asked before giving up.
const ROUNDS: usize = 2;
/// The most sockets that one query holds for each upstream.
pub const MOST_SOCKETS: usize = ROUNDS;

/// Asks upstreams on behalf of clients.
#[derive(Debug)]
pub struct Forwarder {
    options: Options,
    peers: Box<[Arc<Peer>]>,
    wards: Wards,
    runtime: Handle,
    me: Weak<Self>,
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

/// What is known of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamFigures {
    /// Which.
    pub upstream: String,
    /// Whether it is asked last, since it failed too often.
    pub is_resting: bool,
    /// How often it was silent, could not be reached, or failed where others did not.
    pub failures: u64,
}

/// No upstream gave a good answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// At least one answered with an error, or something that is no answer; the first such message, whole.
    Refused(Vec<u8>),
    /// What came does not even parse, or connections broke.
    Garbled,
    /// None answered in time.
    Silence,
    /// This machine could not ask: no sockets or memory left.
    Local,
}

impl Forwarder {
    /// Forwards by `options`. Its work runs on `runtime`.
    pub fn new(options: Options, runtime: &Handle) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            peers: options.upstreams.iter().map(|upstream| Arc::new(Peer::new(upstream.clone()))).collect(),
            wards: Wards::new(options.upstreams.len(), options.strategy, options.rest),
            options,
            runtime: runtime.clone(),
            me: Weak::clone(me),
        })
    }

    /// How it forwards.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Of each upstream, what it is, whether it rests, and how often it failed.
    pub fn figures(&self) -> Vec<UpstreamFigures> {
        let named = self.options.upstreams.iter().zip(self.wards.figures());
        named
            .map(|(upstream, (is_resting, failures))| UpstreamFigures {
                upstream: upstream.to_string(),
                is_resting,
                failures,
            })
            .collect()
    }

    /// Whether the same upstreams, asked the same way, say the same as those of another one.
    pub fn asks_the_same(&self, other: &Self) -> bool {
        let facts = |it: &Self| (it.options.recursion, it.options.letter_case);
        self.options.upstreams == other.options.upstreams && facts(self) == facts(other)
    }

    /// Makes a question what these upstreams are to be asked.
    pub fn prepare(&self, ask: &mut Ask) {
        if self.options.recursion == Recursion::None {
            ask.recursion = Flag::Clear;
        }
        if self.options.letter_case == LetterCase::Random
            && let Some((name, _)) = ask.question.split_last_chunk_mut::<4>()
        {
            for octet in name.iter_mut().filter(|octet| octet.is_ascii_alphabetic()) {
                *octet ^= if rand::random() { 0x20 } else { 0 };
            }
        }
    }

    /// Asks until a good answer comes: any rcode but FORMERR, SERVFAIL, NOTIMP, REFUSED and those of
    /// EDNS, no referral, and no aliases without end.
    ///
    /// # Errors
    /// [`Failure`], after the deadline at the latest, which counts from the prior try on.
    pub async fn resolve(&self, ask: Ask, prior: Option<Prior>) -> Result<Answer, Failure> {
        let begun = prior.as_ref().map_or_else(Instant::now, |prior| prior.asked_at.into());
        let deadline = begun + self.options.deadline;
        let mut plan: VecDeque<usize> = std::iter::repeat_n(self.wards.order(), ROUNDS).flatten().collect();
        let ask = Arc::new(ask);
        let mut asked = JoinSet::new();
        let mut spent = vec![false; self.options.upstreams.len()];
        let mut refusal = None;
        let mut is_local = false;
        let mut is_garbled = false;
        // Those whose errors say something once another has a good answer.
        let mut failed = Vec::new();
        let mut via = Via::Udp;
        if let Some(Prior { number, met, asked_at }) = prior {
            if let Some(at) = plan.iter().position(|&other| other == number) {
                plan.remove(at);
            }
            match met {
                Met::Refusal(answer) => {
                    refusal = Some(answer);
                    spent[number] = true;
                    failed.push(number);
                }
                Met::Oddity => {
                    via = Via::Tcp;
                    plan.push_front(number);
                }
                Met::Nothing => plan.push_front(number),
                Met::Unreachable => {}
                Met::Silence(late) => {
                    asked.spawn(async move { (number, asked_at.into(), late.await.ok().map(Ok)) });
                }
            }
        }
        let mut latest: Option<(usize, Instant)> = None;
        let mut ask_next_at = Instant::now();
        loop {
            // Not by the timer, which rounds up to a millisecond.
            if ask_next_at <= Instant::now() && ask_next_at < deadline {
                if let Some((silent, asked_at)) = latest.take() {
                    self.note_no_answer(silent, asked_at.into());
                }
                let next = std::iter::from_fn(|| plan.pop_front()).find(|&number| !spent[number]);
                match next {
                    Some(number) => {
                        let (peer, ask) = (Arc::clone(&self.peers[number]), Arc::clone(&ask));
                        let via = std::mem::replace(&mut via, Via::Udp);
                        let now = Instant::now();
                        asked.spawn(async move { (number, now, Some(exchange(&peer, &ask, via).await)) });
                        latest = Some((number, now));
                        ask_next_at = now + self.options.patience;
                    }
                    None if asked.is_empty() => break,
                    // Nobody is left to ask: wait for those that were.
                    None => ask_next_at = deadline,
                }
            }
            tokio::select! {
                biased;
                Some(done) = asked.join_next(), if !asked.is_empty() => {
                    // A task ends early only by a panic, which `exchange` has no cause for.
                    let Ok((number, asked_at, result)) = done else { continue };
                    let is_told = result.is_some();
                    match result.map(|result| self.judge(number, asked_at, result)) {
                        Some(Verdict::Good(answer)) => {
                            failed.into_iter().for_each(|number| self.note_outdone(number));
                            return Ok(answer);
                        }
                        Some(Verdict::Bad(answer)) => {
                            refusal.get_or_insert(answer);
                            spent[number] = true;
                            failed.push(number);
                        }
                        Some(Verdict::Garbled) => {
                            is_garbled = true;
                            failed.push(number);
                        }
                        // Nobody listens for it any more, or nothing came.
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
                () = sleep_until(ask_next_at), if ask_next_at < deadline => {}
                () = sleep_until(deadline) => {
                    if let Some((silent, asked_at)) = latest {
                        self.note_no_answer(silent, asked_at.into());
                    }
                    break;
                }
            }
        }
        Err(match refusal {
            Some(answer) => Failure::Refused(answer),
            None if is_garbled => Failure::Garbled,
            None if is_local => Failure::Local,
            None => Failure::Silence,
        })
    }

    /// The upstream to ask first with one datagram, and its number; `None` where that is not how it is asked, or
    /// what it answers may not be the whole answer.
    pub fn first(&self) -> Option<(usize, SocketAddr)> {
        if self.options.recursion == Recursion::None {
            return None;
        }
        let number = self.wards.first()?;
        let upstream = self.options.upstreams.get(number)?;
        upstream.is_plain().then_some((number, upstream.address))
    }

    /// Takes down what an upstream answered to a question of `asked_at`; gives the answer where it is a good one.
    pub fn note_answer(
        &self,
        number: usize,
        response: &Response<'_>,
        asked_at: std::time::Instant,
    ) -> Option<Answer> {
        let chain = Chain::of(response);
        let is_good = !is_error(response) && !is_lame(response) && !chain.is_endless();
        if self.wards.note_answer(number, asked_at.elapsed(), is_good)
            && let Some(upstream) = self.options.upstreams.get(number)
        {
            tracing::info!(%upstream, "an upstream answers again");
        }
        is_good.then(|| {
            let mut answer = Answer::in_chain(response, &chain);
            let trust = self.options.upstreams.get(number).map(|upstream| upstream.trust);
            if trust == Some(Trust::Authenticity) && response.is_authentic_data() {
                answer.set_authentic();
            }
            answer
        })
    }

    /// Takes down that an upstream cannot be reached.
    pub fn note_unreachable(&self, number: usize) {
        self.rest(number, self.wards.note_unreachable(number), "an upstream cannot be reached");
    }

    /// Takes down that a question of `asked_at` was not answered in time.
    pub fn note_no_answer(&self, number: usize, asked_at: std::time::Instant) {
        self.rest(number, self.wards.note_silence(number, asked_at.into()), "an upstream is silent");
    }

    fn note_outdone(&self, number: usize) {
        self.rest(number, self.wards.note_outdone(number), "an upstream fails where others do not");
    }

    /// Begins an upstream's rest, and asks it at the end of that.
    fn rest(&self, number: usize, rest: Option<Rest>, why: &'static str) {
        let (Some(rest), Some(peer)) = (rest, self.peers.get(number)) else { return };
        tracing::warn!(upstream = %peer.upstream(), rest = ?rest.lasting, "{why} and will be asked last");
        self.runtime.spawn(rouse(Weak::clone(&self.me), number, rest));
    }

    fn judge(&self, number: usize, asked_at: Instant, result: Result<Vec<u8>, ExchangeError>) -> Verdict {
        let upstream = &self.options.upstreams[number];
        let message = match result {
            Ok(message) => message,
            Err(ExchangeError::Local(error)) => {
                // Says nothing about the upstream.
                tracing::error!(%error, "no socket for a query: raise the limit of open files (ulimit -n)");
                return Verdict::Local;
            }
            Err(error @ (ExchangeError::OverTcp(_) | ExchangeError::Mismatch)) => {
                // It has answered: no silence.
                tracing::debug!(%upstream, %error, "an upstream gave no usable answer");
                return Verdict::Garbled;
            }
            Err(error) => {
                tracing::debug!(%upstream, %error, "an upstream cannot be reached");
                self.note_unreachable(number);
                return Verdict::Unreachable;
            }
        };
        // The exchange believed only what parses.
        let Ok(response) = Response::parse(&message) else { return Verdict::Garbled };
        match self.note_answer(number, &response, asked_at.into()) {
            Some(answer) => Verdict::Good(answer),
            None => Verdict::Bad(message),
        }
    }

    /// What an upstream that rests is asked: nobody waits for the answer.
    fn question(&self) -> Ask {
        let (name, qtype) = match &self.options.domain {
            Some(domain) => (domain.as_wire(), rtype::SOA),
            None => (&[0][..], rtype::NS),
        };
        let question = [name, &qtype.to_be_bytes(), &CLASS_IN.to_be_bytes()].concat();
        let recursion = (self.options.recursion == Recursion::Desired).into();
        Ask { question, recursion, checking_disabled: Flag::Clear, dnssec_ok: Flag::Clear }
    }
}

/// Asks an upstream at the end of its rest whether it answers, and again after each rest that follows, so that no
/// client waits for one that does not. Ends with the forwarder.
async fn rouse(forwarder: Weak<Forwarder>, number: usize, mut rest: Rest) {
    loop {
        sleep(rest.lasting).await;
        let Some(forwarder) = forwarder.upgrade() else { return };
        // A client may have had an answer from it, with nobody else left to ask.
        if !forwarder.wards.is_in(number, rest) {
            return;
        }
        let (asked_at, ask) = (std::time::Instant::now(), forwarder.question());
        let asking = exchange(&forwarder.peers[number], &ask, Via::Udp);
        if let Ok(Ok(message)) = timeout(forwarder.options.deadline, asking).await
            && let Ok(response) = Response::parse(&message)
        {
            forwarder.note_answer(number, &response, asked_at);
            return;
        }
        match forwarder.wards.go_on_resting(number, rest.serial) {
            Some(next) => rest = next,
            None => return,
        }
    }
}

/// Whether an answer says nothing of its question.
pub(super) fn is_error(response: &Response<'_>) -> bool {
    matches!(response.rcode(), rcode::FORMERR | rcode::SERVFAIL | rcode::NOTIMP | rcode::REFUSED | 16..)
}

/// Whether an answer only says who else might know: that of a server which does not resolve, about a zone that is not
/// its own.
fn is_lame(response: &Response<'_>) -> bool {
    if response.rcode() != rcode::NOERROR || response.is_authoritative() || response.is_recursion_available()
    {
        return false;
    }
    let mut is_referral = false;
    for record in response.records().flatten() {
        match (record.section, record.rtype) {
            (Section::Answer, _) | (Section::Authority, rtype::SOA) => return false,
            (Section::Authority, rtype::NS) => is_referral = true,
            _ => {}
        }
    }
    is_referral
}

enum Verdict {
    Good(Answer),
    Bad(Vec<u8>),
    Garbled,
    Unreachable,
    Local,
}

#[cfg(test)]
mod tests {
    use tokio::net::UdpSocket;

    use super::super::health::{MOST_OUTDONE, MOST_SILENCES};
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

    /// Patience and deadline in milliseconds.
    fn forwarder(upstreams: &[SocketAddr], patience: u64, deadline: u64) -> Arc<Forwarder> {
        let options = Options {
            upstreams: upstreams.iter().map(|&address| address.into()).collect(),
            patience: Duration::from_millis(patience),
            deadline: Duration::from_millis(deadline),
            ..Options::default()
        };
        Forwarder::new(options, &Handle::current())
    }

    /// `None`: a silent upstream.
    async fn check(upstreams: &[Option<u8>], expected: Result<u16, &str>) {
        let mut addresses = Vec::new();
        for &rcode in upstreams {
            addresses.push(upstream(rcode).await);
        }
        let forwarder = forwarder(&addresses, 50, 400);
        let got = match forwarder.resolve(ask(), None).await {
            Ok(answer) => Ok(answer.rcode()),
            Err(Failure::Refused(_)) => Err("refused"),
            Err(Failure::Garbled) => Err("garbled"),
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
        let forwarder = forwarder(&[address], 1, 3_600_000);
        let answer = tokio::spawn(async move { forwarder.resolve(ask(), None).await });
        release.send(()).unwrap();
        let answer = timeout(Duration::from_secs(60), answer).await.expect("long before the deadline");
        assert!(matches!(answer.unwrap(), Err(Failure::Refused(_))));
    }

    #[tokio::test]
    async fn a_silent_upstream_is_asked_last() {
        let (silent, answering) = (upstream(None).await, upstream(Some(0)).await);
        let forwarder = forwarder(&[silent, answering], 10, 5000);
        assert_eq!(forwarder.first().unwrap().0, 0);
        for _ in 0..MOST_SILENCES {
            forwarder.resolve(ask(), None).await.unwrap();
        }
        assert_eq!(forwarder.first().unwrap().0, 1);
    }

    #[tokio::test]
    async fn an_upstream_that_others_outdo_is_asked_last() {
        let (failing, answering) = (upstream(Some(5)).await, upstream(Some(0)).await);
        let both = forwarder(&[failing, answering], 1000, 5000);
        let alone = forwarder(&[failing], 1000, 5000);
        for _ in 0..MOST_OUTDONE {
            assert_eq!(both.first().unwrap().0, 0);
            both.resolve(ask(), None).await.unwrap();
            alone.resolve(ask(), None).await.unwrap_err();
        }
        assert_eq!(both.first().unwrap().0, 1);
    }

    /// No client asks meanwhile: the upstream wakes by itself.
    #[tokio::test]
    async fn a_silent_upstream_is_roused_when_it_answers_again() {
        let (answers, is_answering) = tokio::sync::watch::channel(false);
        let asked = Arc::new(tokio::sync::Notify::new());
        let heard = Arc::clone(&asked);
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
                heard.notify_one();
                if *is_answering.borrow() {
                    buffer[2] |= wire::QR;
                    let _ = socket.send_to(&buffer[..len], from).await;
                }
            }
        });
        let answering = upstream(Some(0)).await;
        let options = Options {
            upstreams: vec![address.into(), answering.into()],
            deadline: Duration::from_millis(20),
            rest: Duration::from_millis(20),
            ..Options::default()
        };
        let forwarder = Forwarder::new(options, &Handle::current());
        for _ in 0..MOST_SILENCES {
            forwarder.note_no_answer(0, std::time::Instant::now() + Duration::from_secs(3600));
        }
        assert_eq!(forwarder.first().unwrap().0, 1);
        // The question at its first rest's end is in vain.
        asked.notified().await;
        assert_eq!(forwarder.first().unwrap().0, 1);
        answers.send_replace(true);
        while forwarder.first().unwrap().0 != 0 {
            sleep(Duration::from_millis(1)).await;
        }
    }

    #[test]
    fn a_referral_is_no_answer() {
        /// Flags of the third and fourth octet, and what is in the authority section.
        fn check(flags: [u8; 2], authority: Option<u16>, expected: bool) {
            let mut packet = vec![0, 7, wire::QR | flags[0], flags[1], 0, 1, 0, 0, 0, 0, 0, 0];
            packet.extend(ask().question);
            if let Some(rtype) = authority {
                packet[9] = 1;
                packet.extend([&[0][..], &rtype.to_be_bytes(), &[0, 1, 0, 0, 0, 9, 0, 1, 0]].concat());
            }
            assert_eq!(is_lame(&Response::parse(&packet).unwrap()), expected, "{packet:?}");
        }
        check([0, 0], Some(rtype::NS), true);
        check([0, 0], Some(rtype::SOA), false);
        check([0, 0], None, false);
        check([wire::AA, 0], Some(rtype::NS), false);
        check([0, wire::RA], Some(rtype::NS), false);
        check([0, 3], Some(rtype::NS), false);
    }

    #[tokio::test]
    async fn questions_are_made_what_upstreams_are_to_be_asked() {
        let options =
            Options { recursion: Recursion::None, letter_case: LetterCase::Random, ..Options::default() };
        let forwarder = Forwarder::new(options, &Handle::current());
        let mut written = std::collections::HashSet::new();
        for _ in 0..100 {
            let mut ask = ask();
            forwarder.prepare(&mut ask);
            assert_eq!(ask.recursion, Flag::Clear);
            assert!(crate::name::is_same_question(&ask.question, &self::ask().question));
            written.insert(ask.question);
        }
        assert!(written.len() > 50, "{}", written.len());
        let mut ask = ask();
        let before = ask.clone();
        Forwarder::new(Options::default(), &Handle::current()).prepare(&mut ask);
        assert_eq!(ask, before);
    }

    #[tokio::test]
    async fn only_those_that_are_trusted_are_believed_to_have_validated() {
        for (trust, flags, expected) in [
            (Trust::Authenticity, wire::AD, true),
            (Trust::Authenticity, 0, false),
            (Trust::None, wire::AD, false),
        ] {
            let upstream = Upstream { trust, ..SocketAddr::from(([127, 0, 0, 1], 53)).into() };
            let options = Options { upstreams: vec![upstream], ..Options::default() };
            let mut packet = vec![0, 7, wire::QR, flags, 0, 1, 0, 0, 0, 0, 0, 0];
            packet.extend(ask().question);
            let response = Response::parse(&packet).unwrap();
            let forwarder = Forwarder::new(options, &Handle::current());
            let answer = forwarder.note_answer(0, &response, std::time::Instant::now()).unwrap();
            assert_eq!(answer.is_authentic(), expected);
        }
    }

    #[tokio::test]
    async fn an_unreachable_port_fails_over_at_once() {
        let closed = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        forwarder(&[closed, upstream(Some(0)).await], 60_000, 60_000).resolve(ask(), None).await.unwrap();
    }
}
