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
