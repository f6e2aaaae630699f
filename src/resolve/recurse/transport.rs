//! One question to one name server, and which octets count as its answer: [`super::super::exchange`]'s rules, for
//! servers that are asked once in a while.
//!
//! What is odd goes over TCP; a few connections are kept for a moment (RFC 7766, section 6.2.1). Whom to ask, and what to make of the answer, is decided elsewhere; tests put a network
//! of their own in place of this one.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::judge::Boxed;
use crate::name;
use crate::resolve::exchange::{Ask, Datagram, Edns, ExchangeError, Heard, is_ignorance, over_udp};
use crate::wire::{self, Response};

/// Asks name servers.
pub trait Transport: Send + Sync {
    /// Asks one server, for as long as the caller waits.
    fn ask<'a>(
        &'a self,
        server: SocketAddr,
        ask: &'a Ask,
        edns: WithEdns,
    ) -> Boxed<'a, Result<Reply, NoReply>>;
}

/// Whether a query has an OPT record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithEdns {
    /// It has; where the server does not know EDNS, it is asked again without (RFC 6891, section 6.2.2).
    Yes,
    /// It has not: the server is known for that.
    No,
}

/// A server's answer.
#[derive(Debug)]
pub struct Reply {
    /// The message, whole, with the question that was asked.
    pub packet: Vec<u8>,
    /// Whether it had to be asked without EDNS.
    pub is_plain: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoReply {
    /// The network or the server's system refused.
    #[error("{0}")]
    Network(io::Error),
    /// This machine has no route to addresses of this family.
    #[error("no route: {0}")]
    NoRoute(io::Error),
    /// This machine has no socket for the question.
    #[error("{0}")]
    Local(io::Error),
    /// What came is no answer to the question.
    #[error("answered something that was not asked")]
    Mismatch,
}

/// Most connections that are kept, to all servers together.
const MOST_IDLE: usize = 16;
/// How long one is kept: less than servers do (RFC 7766, section 6.2.3, speaks of a few seconds).
const LONGEST_IDLE: Duration = Duration::from_secs(3);

/// The real network.
#[derive(Default)]
pub struct Network {
    /// Connections that nobody uses now, those that have waited longest first.
    idle: Mutex<VecDeque<Idle>>,
}

struct Idle {
    server: SocketAddr,
    since: Instant,
    stream: TcpStream,
}

impl Transport for Network {
    fn ask<'a>(
        &'a self,
        server: SocketAddr,
        ask: &'a Ask,
        edns: WithEdns,
    ) -> Boxed<'a, Result<Reply, NoReply>> {
        Box::pin(async move {
            if edns == WithEdns::Yes
                && let Some(packet) = self.over_either(server, ask, Edns::Sent).await?
                && !is_ignorance(&packet)
            {
                return Ok(Reply { packet, is_plain: false });
            }
            let packet = self.over_either(server, ask, Edns::None).await?.ok_or(NoReply::Mismatch)?;
            Ok(Reply { packet, is_plain: true })
        })
    }
}

impl Network {
    /// `None`: an error without a question, of a server that could not even read ours.
    async fn over_either(
        &self,
        server: SocketAddr,
        ask: &Ask,
        edns: Edns,
    ) -> Result<Option<Vec<u8>>, NoReply> {
        match over_udp(server, ask, edns).await {
            Ok(Heard::Answer(answer)) => Ok(Some(answer)),
            Ok(Heard::Headless) => Ok(None),
            Ok(Heard::Oddity) => self.over_tcp(server, ask, edns).await,
            Err(ExchangeError::Io(error) | ExchangeError::Local(error) | ExchangeError::OverTcp(error)) => {
                Err(no_reply(error))
            }
            Err(ExchangeError::Mismatch) => Err(NoReply::Mismatch),
        }
    }

    async fn over_tcp(&self, server: SocketAddr, ask: &Ask, edns: Edns) -> Result<Option<Vec<u8>>, NoReply> {
        // The server may close what is idle at any time: then another one tells more.
        if let Some(mut stream) = self.take(server)
            && let Ok(answer) = on_stream(&mut stream, ask, edns).await
        {
            self.keep(server, stream);
            return Ok(answer);
        }
        let mut stream = TcpStream::connect(server).await.map_err(no_reply)?;
        let answer = on_stream(&mut stream, ask, edns).await?;
        self.keep(server, stream);
        Ok(answer)
    }

    /// A connection to this server that is open and quiet.
    fn take(&self, server: SocketAddr) -> Option<TcpStream> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|idle| idle.since.elapsed() < LONGEST_IDLE);
        let at = idle.iter().rposition(|idle| idle.server == server)?;
        let stream = idle.remove(at)?.stream;
        drop(idle);
        // Neither its end nor octets that nobody asked for have come.
        let is_quiet =
            stream.try_read(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        is_quiet.then_some(stream)
    }

    fn keep(&self, server: SocketAddr, stream: TcpStream) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() == MOST_IDLE {
            idle.pop_front();
        }
        idle.push_back(Idle { server, since: Instant::now(), stream });
    }
}

/// Asks on a connection. After an error it is of no more use.
async fn on_stream(stream: &mut TcpStream, ask: &Ask, edns: Edns) -> Result<Option<Vec<u8>>, NoReply> {
    let id = rand::random();
    let mut query = Vec::new();
    ask.write_query(id, edns, &mut query);
    // A question and an OPT record are far below 65536 octets.
    let framed = [&(query.len() as u16).to_be_bytes()[..], &query].concat();
    stream.write_all(&framed).await.map_err(no_reply)?;
    let len = stream.read_u16().await.map_err(no_reply)?;
    let mut answer = vec![0; usize::from(len)];
    stream.read_exact(&mut answer).await.map_err(no_reply)?;
    match Datagram::of(&answer, id, ask) {
        Datagram::Answer => Ok(Some(answer)),
        Datagram::Headless => Ok(None),
        // Letter case does not count here: nobody off the path can have sent it.
        Datagram::Odd if is_only_in_other_case(&answer, ask) => Ok(Some(answer)),
        Datagram::Odd | Datagram::Foreign => Err(NoReply::Mismatch),
    }
}

fn is_only_in_other_case(answer: &[u8], ask: &Ask) -> bool {
    Response::parse(answer).is_ok_and(|response| {
        !response.is_truncated() && name::is_same_question(response.question(), &ask.question)
    })
}

fn no_reply(error: io::Error) -> NoReply {
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => NoReply::Local(error),
        Some(libc::ENETUNREACH | libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT) => NoReply::NoRoute(error),
        _ => NoReply::Network(error),
    }
}

/// Whether an answer repeats the question in other letter case than it was asked in.
pub(super) fn is_in_other_case(answer: &[u8], ask: &Ask) -> bool {
    answer.get(wire::HEADER..wire::HEADER + ask.question.len()) != Some(&*ask.question)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::exchange::Flag;
    use crate::resolve::peer::{self, Behaviour, echo};

    fn ask() -> Ask {
        Ask {
            question: b"\x03wWw\x07example\x00\x00\x01\x00\x01".to_vec(),
            recursion: Flag::Clear,
            checking_disabled: Flag::Clear,
            dnssec_ok: Flag::Set,
        }
    }

    /// Asks a server that does this over UDP, and that over TCP before it closes the connection.
    async fn check(over_udp: Behaviour, over_tcp: Behaviour, expected: &str) {
        let tcp = peer::start(over_udp).await;
        let server = tcp.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = tcp.accept().await.unwrap();
                let mut query = vec![0; usize::from(stream.read_u16().await.unwrap())];
                stream.read_exact(&mut query).await.unwrap();
                for answer in over_tcp(&query) {
                    let framed = [&(answer.len() as u16).to_be_bytes()[..], &answer].concat();
                    stream.write_all(&framed).await.unwrap();
                }
            }
        });
        let got = match Network::default().ask(server, &ask(), WithEdns::Yes).await {
            Ok(Reply { packet, is_plain }) => {
                let over = if packet[2] & wire::AA != 0 { "tcp" } else { "udp" };
                format!("{over}{}", if is_plain { ", without EDNS" } else { "" })
            }
            Err(NoReply::Network(_)) => "nothing".to_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expected);
    }

    #[tokio::test]
    async fn only_the_answer_to_the_question_counts() {
        const GOOD: Behaviour = |query| vec![echo(query, |answer| answer[2] |= wire::AA)];
        const MISMATCH: &str = "answered something that was not asked";
        check(|query| vec![echo(query, |_| {})], GOOD, "udp").await;
        // Guesses: another id, another name. Many of them are no way to keep an answer out.
        check(|query| vec![echo(query, |a| a[0] ^= 1), echo(query, |_| {})], GOOD, "udp").await;
        check(|query| vec![echo(query, |a| a[20] = b'x'), echo(query, |_| {})], GOOD, "udp").await;
        check(|query| (1..=8).map(|n| echo(query, |a| a[1] ^= n)).collect(), GOOD, "tcp").await;
        // Cut, garbled, longer than it says, longer than is read, in another letter case.
        check(|query| vec![echo(query, |a| a[2] |= wire::TC)], GOOD, "tcp").await;
        check(|query| vec![echo(query, |a| a[7] = 9)], GOOD, "tcp").await;
        check(|query| vec![echo(query, |a| a.push(0))], GOOD, "tcp").await;
        check(|query| vec![echo(query, |a| a.resize(5000, 0))], GOOD, "tcp").await;
        check(|query| vec![echo(query, |a| a[13] = b'W')], GOOD, "tcp").await;
        // Over TCP letter case does not count, and all else does.
        const CUT: Behaviour = |query| vec![echo(query, |answer| answer[2] |= wire::TC)];
        let other_case: Behaviour = |query| {
            vec![echo(query, |answer| {
                answer[2] |= wire::AA;
                answer[13] = b'W';
            })]
        };
        check(CUT, other_case, "tcp").await;
        check(CUT, |query| vec![echo(query, |a| a[1] ^= 1)], MISMATCH).await;
        check(CUT, |query| vec![echo(query, |a| a[20] = b'x')], MISMATCH).await;
        check(CUT, CUT, MISMATCH).await;
        check(CUT, |query| vec![echo(query, |a| a.push(0))], MISMATCH).await;
        check(CUT, |_| Vec::new(), "nothing").await;
        // A server from before EDNS.
        let old: Behaviour = |query| {
            vec![echo(query, |answer| {
                if answer[11] == 1 {
                    answer.truncate(wire::HEADER);
                    answer[4..].fill(0);
                    answer[3] = 1;
                }
            })]
        };
        check(old, GOOD, "udp, without EDNS").await;
    }

    /// Connections are kept, and what becomes of one that is kept costs no answer.
    #[tokio::test]
    async fn connections_serve_more_than_once() {
        async fn check(after_first: fn(&[u8]) -> Vec<u8>, connections: usize) {
            let tcp = peer::start(|query| vec![echo(query, |answer| answer[2] |= wire::TC)]).await;
            let server = tcp.local_addr().unwrap();
            let accepted = std::sync::Arc::new(std::sync::atomic::AtomicUsize::default());
            let counting = std::sync::Arc::clone(&accepted);
            tokio::spawn(async move {
                loop {
                    let (mut stream, _) = tcp.accept().await.unwrap();
                    let number = counting.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    tokio::spawn(async move {
                        let mut asked = 0;
                        while let Ok(len) = stream.read_u16().await {
                            let mut query = vec![0; usize::from(len)];
                            stream.read_exact(&mut query).await.unwrap();
                            asked += 1;
                            let answer = echo(&query, |_| {});
                            let framed = [&(answer.len() as u16).to_be_bytes()[..], &answer].concat();
                            let octets =
                                if number == 0 && asked == 2 { after_first(&framed) } else { framed };
                            if octets.is_empty() {
                                return;
                            }
                            stream.write_all(&octets).await.unwrap();
                        }
                    });
                }
            });
            let network = Network::default();
            for _ in 0..4 {
                network.ask(server, &ask(), WithEdns::Yes).await.unwrap();
            }
            assert_eq!(accepted.load(std::sync::atomic::Ordering::SeqCst), connections);
        }
        check(<[u8]>::to_vec, 1).await;
        // It ends, with a query on its way; says something else; says more than it was asked for.
        check(|_| Vec::new(), 2).await;
        check(|framed| framed.iter().enumerate().map(|(at, &octet)| octet ^ u8::from(at == 3)).collect(), 2)
            .await;
        check(|framed| [framed, &[0, 1, 2]].concat(), 2).await;
    }
}
