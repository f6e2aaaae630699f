//! One question to one name server, and which octets count as its answer: [`super::super::exchange`]'s rules, for
//! servers that are asked once in a while.
//!
//! What is odd goes over TCP. Whom to ask, and what to make of the answer, is decided elsewhere; tests put a network
//! of their own in place of this one.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

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

/// The real network.
pub struct Network;

impl Transport for Network {
    fn ask<'a>(
        &'a self,
        server: SocketAddr,
        ask: &'a Ask,
        edns: WithEdns,
    ) -> Boxed<'a, Result<Reply, NoReply>> {
        Box::pin(async move {
            if edns == WithEdns::Yes
                && let Some(packet) = over_either(server, ask, Edns::Sent).await?
                && !is_ignorance(&packet)
            {
                return Ok(Reply { packet, is_plain: false });
            }
            let packet = over_either(server, ask, Edns::None).await?.ok_or(NoReply::Mismatch)?;
            Ok(Reply { packet, is_plain: true })
        })
    }
}

/// `None`: an error without a question, of a server that could not even read ours.
async fn over_either(server: SocketAddr, ask: &Ask, edns: Edns) -> Result<Option<Vec<u8>>, NoReply> {
    match over_udp(server, ask, edns).await {
        Ok(Heard::Answer(answer)) => Ok(Some(answer)),
        Ok(Heard::Headless) => Ok(None),
        Ok(Heard::Oddity) => over_tcp(server, ask, edns).await,
        Err(ExchangeError::Io(error) | ExchangeError::Local(error) | ExchangeError::OverTcp(error)) => {
            Err(no_reply(error))
        }
        Err(ExchangeError::Mismatch) => Err(NoReply::Mismatch),
    }
}

async fn over_tcp(server: SocketAddr, ask: &Ask, edns: Edns) -> Result<Option<Vec<u8>>, NoReply> {
    let mut stream = TcpStream::connect(server).await.map_err(no_reply)?;
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
    use tokio::net::{TcpListener, UdpSocket};

    use super::*;
    use crate::resolve::exchange::Flag;

    fn ask() -> Ask {
        Ask {
            question: b"\x03wWw\x07example\x00\x00\x01\x00\x01".to_vec(),
            recursion: Flag::Clear,
            checking_disabled: Flag::Clear,
            dnssec_ok: Flag::Set,
        }
    }

    /// What a server sends back for a query.
    type Behaviour = fn(&[u8]) -> Vec<Vec<u8>>;

    fn echo(query: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut answer = query.to_vec();
        answer[2] |= wire::QR;
        change(&mut answer);
        answer
    }

    /// Asks a server that does this over UDP, and that over TCP before it closes the connection.
    async fn check(over_udp: Behaviour, over_tcp: Behaviour, expected: &str) {
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            // Somebody may have the same port for UDP.
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (tcp, udp);
            }
        };
        let server = tcp.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            loop {
                let (len, from) = udp.recv_from(&mut buffer).await.unwrap();
                for answer in over_udp(&buffer[..len]) {
                    udp.send_to(&answer, from).await.unwrap();
                }
            }
        });
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
        let got = match Network.ask(server, &ask(), WithEdns::Yes).await {
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
}
