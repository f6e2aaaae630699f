//! One question to one upstream over UDP or TCP, and which octets count as its answer.
//!
//! A datagram is believed only from the address that was asked (the socket is connected), to the
//! random port that asked, with the random id, and with the question as it was sent, letter case
//! included (RFC 5452). Whom to ask, and what to make of the answer, is [`super::forward`]'s work.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

use crate::wire::{self, Response};

/// The UDP payload size that upstreams are told (the DNS flag day's: no fragments on any path).
const PAYLOAD_SIZE: u16 = 1232;
/// Some upstreams send more than they were told; whatever is longer than this is ignored.
const BUFFER: usize = 4096;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The question section: uncompressed name in the client's case, type, class.
    pub question: Vec<u8>,
    /// Whether recursion is desired.
    pub recursion: Flag,
    /// Whether the client validates by itself (CD).
    pub checking_disabled: Flag,
    /// Whether DNSSEC records are wanted (DO).
    pub dnssec_ok: Flag,
}

/// A bit of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// Not set.
    Clear,
    /// Set.
    Set,
}

impl From<bool> for Flag {
    fn from(is_set: bool) -> Self {
        if is_set { Self::Set } else { Self::Clear }
    }
}

impl Flag {
    fn bit(self, bit: u8) -> u8 {
        if self == Self::Set { bit } else { 0 }
    }
}

impl Ask {
    /// The query's octets with this id.
    fn query(&self, id: u16) -> Vec<u8> {
        let mut query = Vec::with_capacity(wire::HEADER + self.question.len() + 11);
        query.extend(id.to_be_bytes());
        query.extend([self.recursion.bit(wire::RD), self.checking_disabled.bit(wire::CD)]);
        query.extend([0, 1, 0, 0, 0, 0, 0, 1]);
        query.extend(&self.question);
        query.push(0);
        query.extend(wire::rtype::OPT.to_be_bytes());
        query.extend(PAYLOAD_SIZE.to_be_bytes());
        let flags = if self.dnssec_ok == Flag::Set { wire::DO } else { 0 };
        query.extend(flags.to_be_bytes());
        query.extend([0, 0]);
        query
    }
}

/// Why an upstream gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The network or the upstream's system refused.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// This machine has no socket for the question.
    #[error("{0}")]
    Local(io::Error),
    /// What came over TCP was no answer to the question.
    #[error("answered something that was not asked")]
    Mismatch,
}

/// Asks over UDP, and over TCP where the answer is cut. Waits for as long as the caller lets it.
///
/// # Errors
/// [`ExchangeError`]; a datagram that is no answer is not one: it is ignored.
pub async fn exchange(upstream: SocketAddr, ask: &Ask) -> Result<Vec<u8>, ExchangeError> {
    let answer = over_udp(upstream, ask).await?;
    match Response::parse(&answer) {
        Ok(response) if response.is_truncated() => over_tcp(upstream, ask).await,
        _ => Ok(answer),
    }
}

async fn over_udp(upstream: SocketAddr, ask: &Ask) -> Result<Vec<u8>, ExchangeError> {
    let any: IpAddr = match upstream {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await.map_err(ExchangeError::Local)?;
    socket.connect(upstream).await?;
    let id = rand::random();
    socket.send(&ask.query(id)).await?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let len = socket.recv(&mut buffer).await?;
        if is_answer(&buffer[..len], id, ask) {
            buffer.truncate(len);
            return Ok(buffer);
        }
        tracing::debug!(%upstream, len, "ignored a datagram that answers another question");
    }
}

async fn over_tcp(upstream: SocketAddr, ask: &Ask) -> Result<Vec<u8>, ExchangeError> {
    let mut stream = TcpStream::connect(upstream).await?;
    let id = rand::random();
    let query = ask.query(id);
    let mut framed = Vec::with_capacity(2 + query.len());
    // A question and an OPT record are far below 65536 octets.
    framed.extend((query.len() as u16).to_be_bytes());
    framed.extend(query);
    stream.write_all(&framed).await?;
    let len = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(len)];
    stream.read_exact(&mut answer).await?;
    if !is_answer(&answer, id, ask) {
        return Err(ExchangeError::Mismatch);
    }
    Ok(answer)
}

fn is_answer(packet: &[u8], id: u16, ask: &Ask) -> bool {
    let opcode = packet.get(2).is_some_and(|octet| octet & 0x78 == 0);
    opcode
        && Response::parse(packet)
            .is_ok_and(|response| response.id() == id && response.question() == ask.question)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask() -> Ask {
        Ask {
            question: b"\x03wWw\x07example\x00\x00\x01\x00\x01".to_vec(),
            recursion: Flag::Set,
            checking_disabled: Flag::Set,
            dnssec_ok: Flag::Set,
        }
    }

    #[test]
    fn the_query_says_what_was_asked() {
        let query = ask().query(0x1234);
        let parsed = wire::Query::parse(&query).unwrap();
        assert_eq!(parsed.id(), 0x1234);
        assert!(parsed.is_recursion_desired() && parsed.is_checking_disabled());
        assert_eq!(parsed.question(), ask().question);
        let edns = parsed.edns().unwrap();
        assert_eq!((edns.payload_size, edns.dnssec_ok), (PAYLOAD_SIZE, true));
    }

    #[test]
    fn only_the_answer_to_the_question_counts() {
        fn check(change: impl FnOnce(&mut Vec<u8>), expected: bool) {
            let mut answer = ask().query(7);
            answer[2] |= wire::QR;
            change(&mut answer);
            assert_eq!(is_answer(&answer, 7, &ask()), expected, "{answer:02x?}");
        }
        check(|_| {}, true);
        check(|a| a[1] = 8, false);
        check(|a| a[2] &= !wire::QR, false);
        check(|a| a[2] |= 0x20, false);
        check(|a| a[13] = b'W', false);
        check(|a| a[wire::HEADER + 14] = 28, false);
        check(|a| a[5] = 0, false);
        check(|a| a.truncate(30), false);
        check(Vec::clear, false);
    }
}
