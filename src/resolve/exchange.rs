//! One question to one upstream, and which octets count as its answer.
//!
//! A datagram is believed only from the address that was asked (the socket is connected), to the
//! random port that asked, with the random id, and with the question as it was sent, letter case
//! included (RFC 5452). One with the right id that is garbled or in other case is not believed, and not
//! waited out either: the question goes over TCP, where letter case does not count. Connections, encrypted or not, are
//! [`super::stream`]'s; whom to ask, and what to make of the answer, is [`super::forward`]'s work.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use std::sync::Arc;

use tokio::net::UdpSocket;

use super::stream::{Line, LineError};
use super::upstream::Upstream;
use crate::name;
use crate::wire::{self, Response};

/// The UDP payload size that upstreams are told (the DNS flag day's: no fragments on any path).
const PAYLOAD_SIZE: u16 = 1232;
/// Some upstreams send more than they were told; what is longer than this is cut, and asked for over TCP.
const BUFFER: usize = 4096;
/// Datagrams that answer nothing, after which somebody is taken to guess: the question goes over TCP.
const MOST_FOREIGN: usize = 8;
/// Encrypted queries are padded to a multiple of this: their length tells nothing of the name (RFC 8467, section 4.1).
const BLOCK: usize = 128;

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
    pub(super) fn query(&self, id: u16, edns: Edns) -> Vec<u8> {
        let mut query = Vec::with_capacity((wire::HEADER + self.question.len() + 15).next_multiple_of(BLOCK));
        self.write_query(id, edns, &mut query);
        query
    }

    /// As [`Self::query`], in place of what `query` holds.
    pub(super) fn write_query(&self, id: u16, edns: Edns, query: &mut Vec<u8>) {
        query.clear();
        query.extend(id.to_be_bytes());
        // AD: we understand it in answers (RFC 6840, section 5.7), and believe it of those that are trusted.
        query.extend([self.recursion.bit(wire::RD), wire::AD | self.checking_disabled.bit(wire::CD)]);
        query.extend([0, 1, 0, 0, 0, 0, 0, u8::from(edns != Edns::None)]);
        query.extend(&self.question);
        if edns == Edns::None {
            return;
        }
        query.push(0);
        query.extend(wire::rtype::OPT.to_be_bytes());
        query.extend(PAYLOAD_SIZE.to_be_bytes());
        let flags = if self.dnssec_ok == Flag::Set { wire::DO } else { 0 };
        query.extend(flags.to_be_bytes());
        if edns == Edns::Sent {
            query.extend([0, 0]);
            return;
        }
        // The OPT record's length, the option's code and length (RFC 7830, section 3), zeros.
        let padding = (query.len() + 6).next_multiple_of(BLOCK) - query.len() - 6;
        query.extend((4 + padding as u16).to_be_bytes());
        query.extend(wire::option::PADDING.to_be_bytes());
        query.extend((padding as u16).to_be_bytes());
        query.resize(query.len() + padding, 0);
    }
}

/// Whether a query has an OPT record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edns {
    /// It has one.
    Sent,
    /// … which makes the query as long as others are.
    Padded,
    /// For servers from before EDNS, which refuse what they do not know.
    None,
}

/// Why an upstream gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The network or the upstream's system refused.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The upstream answers over UDP, and not what must go over TCP.
    #[error("over TCP: {0}")]
    OverTcp(io::Error),
    /// This machine has no socket for the question.
    #[error("{0}")]
    Local(io::Error),
    /// What came over a connection was no answer to the question.
    #[error("answered something that was not asked")]
    Mismatch,
}

/// An upstream and the way to it.
#[derive(Debug)]
pub struct Peer {
    line: Arc<Line>,
}

impl Peer {
    /// Connects to nobody yet.
    pub fn new(upstream: Upstream) -> Self {
        Self { line: Line::new(upstream) }
    }

    /// Who it is.
    pub fn upstream(&self) -> &Upstream {
        self.line.upstream()
    }
}

/// Over what a question is asked first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// UDP, where the upstream is asked over that.
    Udp,
    /// A connection at once: UDP gave nothing usable.
    Tcp,
}

/// Asks by the upstream's protocol: plain ones over UDP, and over TCP where the answer is cut or odd; without EDNS where
/// the upstream does not know it (RFC 6891, section 6.2.2). Waits for as long as the caller lets it.
///
/// # Errors
/// [`ExchangeError`]; a datagram with another id or question is not one: it is ignored.
pub async fn exchange(peer: &Peer, ask: &Ask, via: Via) -> Result<Vec<u8>, ExchangeError> {
    let address = peer.upstream().is_plain().then_some(peer.upstream().address);
    let first = match (address, via) {
        (Some(address), Via::Udp) => over_either(peer, address, ask, Edns::Sent).await?,
        (Some(_), Via::Tcp) => over_connection(peer, ask, Edns::Sent).await?,
        (None, _) => over_connection(peer, ask, Edns::Padded).await?,
    };
    let second = match first {
        Reply::Answer(answer) if !is_ignorance(&answer) => return Ok(answer),
        Reply::Answer(_) | Reply::Headless => match address {
            Some(address) => over_either(peer, address, ask, Edns::None).await?,
            None => over_connection(peer, ask, Edns::None).await?,
        },
    };
    match second {
        Reply::Answer(answer) => Ok(answer),
        Reply::Headless => Err(ExchangeError::Mismatch),
    }
}

/// What an upstream sent back.
enum Reply {
    /// An answer to the question, whole.
    Answer(Vec<u8>),
    /// An error without a question: the upstream could not even read ours.
    Headless,
}

async fn over_either(
    peer: &Peer,
    upstream: SocketAddr,
    ask: &Ask,
    edns: Edns,
) -> Result<Reply, ExchangeError> {
    match over_udp(upstream, ask, edns).await? {
        Heard::Answer(answer) => Ok(Reply::Answer(answer)),
        Heard::Headless => Ok(Reply::Headless),
        Heard::Oddity => over_connection(peer, ask, edns).await,
    }
}

/// What came over UDP.
pub(super) enum Heard {
    /// An answer to the question, whole.
    Answer(Vec<u8>),
    /// An error without a question.
    Headless,
    /// What must go over TCP: it is cut, garbled or in other letter case, or somebody guesses.
    Oddity,
}

/// Asks by one datagram, from a new socket: a new random port. It is closed on return, so that a question holds one
/// socket at a time.
pub(super) async fn over_udp(upstream: SocketAddr, ask: &Ask, edns: Edns) -> Result<Heard, ExchangeError> {
    let any: IpAddr = match upstream {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await.map_err(ExchangeError::Local)?;
    socket.connect(upstream).await?;
    let id = rand::random();
    socket.send(&ask.query(id, edns)).await?;
    let mut buffer = vec![0; BUFFER];
    for _ in 0..MOST_FOREIGN {
        let len = socket.recv(&mut buffer).await?;
        match Datagram::of(&buffer[..len], id, ask) {
            Datagram::Answer => {
                buffer.truncate(len);
                return Ok(Heard::Answer(buffer));
            }
            Datagram::Headless => return Ok(Heard::Headless),
            Datagram::Odd => break,
            Datagram::Foreign => {
                tracing::debug!(%upstream, len, "ignored a datagram that answers something else");
            }
        }
    }
    Ok(Heard::Oddity)
}

/// What a datagram from the upstream's address is to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Datagram {
    /// Its answer.
    Answer,
    /// The error of a server that echoes no question.
    Headless,
    /// Ours by its id, and not to be believed as it is: cut, garbled, or in other letter case.
    Odd,
    /// Somebody's guess, or the answer to another question.
    Foreign,
}

impl Datagram {
    /// What `packet` is to `ask`, sent with `id`.
    pub(super) fn of(packet: &[u8], id: u16, ask: &Ask) -> Self {
        if wire::u16_at(packet, 0) != Some(id) || packet.get(2).is_none_or(|octet| octet & wire::QR == 0) {
            return Self::Foreign;
        }
        if is_headless(packet) {
            return Self::Headless;
        }
        match Response::parse(packet) {
            Err(wire::Malformed) => Self::Odd,
            Ok(_) if !has_opcode_query(packet) => Self::Foreign,
            Ok(response) if response.question() == ask.question && !response.is_truncated() => Self::Answer,
            Ok(response) if name::is_same_question(response.question(), &ask.question) => Self::Odd,
            Ok(_) => Self::Foreign,
        }
    }
}

async fn over_connection(peer: &Peer, ask: &Ask, edns: Edns) -> Result<Reply, ExchangeError> {
    let failed = |error: io::Error| match error.raw_os_error() {
        // Out of descriptors is this machine's trouble.
        Some(libc::EMFILE | libc::ENFILE) => ExchangeError::Local(error),
        // A plain upstream has answered already, over UDP.
        _ if peer.upstream().is_plain() => ExchangeError::OverTcp(error),
        _ => ExchangeError::Io(error),
    };
    let answer = match peer.line.ask(ask, edns).await {
        Ok(answer) => answer,
        Err(LineError::NoAnswer(what)) => {
            tracing::debug!(upstream = %peer.upstream(), what, "an upstream gave no answer");
            return Err(ExchangeError::Mismatch);
        }
        Err(LineError::Ended) => return Err(failed(io::ErrorKind::ConnectionReset.into())),
        Err(LineError::Closed(error)) => {
            // Who waits for the same connection gets the same error.
            let error = match error.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::new(error.kind(), error),
            };
            return Err(failed(error));
        }
    };
    if is_headless(&answer) {
        return Ok(Reply::Headless);
    }
    if !is_answer_over_tcp(&answer, 0, ask) {
        return Err(ExchangeError::Mismatch);
    }
    Ok(Reply::Answer(answer))
}

fn is_answer_over_tcp(packet: &[u8], id: u16, ask: &Ask) -> bool {
    Response::parse(packet).is_ok_and(|response| {
        has_opcode_query(packet)
            && response.id() == id
            && name::is_same_question(response.question(), &ask.question)
            && !response.is_truncated()
    })
}

fn has_opcode_query(packet: &[u8]) -> bool {
    packet.get(2).is_some_and(|octet| octet & 0x78 == 0)
}

/// Whether a packet is the error of a server that echoes no question.
fn is_headless(packet: &[u8]) -> bool {
    packet.len() == wire::HEADER
        && packet[2] & wire::QR != 0
        && packet[4..].iter().all(|&octet| octet == 0)
        && packet[3] & 0x0f != 0
}

/// Whether an answer is that of a server which does not know EDNS.
pub(super) fn is_ignorance(answer: &[u8]) -> bool {
    Response::parse(answer).is_ok_and(|response| {
        matches!(response.rcode(), wire::rcode::FORMERR | wire::rcode::NOTIMP)
            && response.opt_range().is_none()
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::resolve::peer::{self, Behaviour, echo};

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
        let query = ask().query(0x1234, Edns::Sent);
        let parsed = wire::Query::parse(&query).unwrap();
        assert_eq!(parsed.id(), 0x1234);
        assert!(parsed.is_recursion_desired() && parsed.is_checking_disabled());
        assert_eq!(parsed.question(), ask().question);
        let edns = parsed.edns().unwrap();
        assert_eq!((edns.payload_size, edns.dnssec_ok), (PAYLOAD_SIZE, true));
        let query = ask().query(0x1234, Edns::None);
        assert!(wire::Query::parse(&query).unwrap().edns().is_none());
    }

    #[test]
    fn padded_queries_are_all_of_one_length() {
        for len in 1..60 {
            let question = [&[len][..], &vec![b'a'; usize::from(len)], b"\x00\x00\x01\x00\x01"].concat();
            let query = Ask { question, ..ask() }.query(0, Edns::Padded);
            assert_eq!(query.len(), BLOCK, "{len}");
            let parsed = wire::Query::parse(&query).unwrap();
            let options = &query[parsed.edns().unwrap().options.clone()];
            assert!(wire::options(options).eq([(12, &*vec![0; options.len() - 4])]));
        }
    }

    #[test]
    fn only_the_answer_to_the_question_counts_over_tcp() {
        fn check(change: impl FnOnce(&mut Vec<u8>), expected: bool) {
            let mut answer = ask().query(7, Edns::Sent);
            answer[2] |= wire::QR;
            change(&mut answer);
            assert_eq!(is_answer_over_tcp(&answer, 7, &ask()), expected, "{answer:02x?}");
        }
        check(|_| {}, true);
        check(|a| a[13] = b'W', true);
        check(|a| a[13] = b'x', false);
        check(|a| a[1] = 8, false);
        check(|a| a[2] &= !wire::QR, false);
        check(|a| a[2] |= 0x20, false);
        check(|a| a[2] |= wire::TC, false);
        check(|a| a[wire::HEADER + 14] = 28, false);
        check(|a| a[5] = 0, false);
        check(|a| a.truncate(30), false);
        check(Vec::clear, false);
    }

    /// Asks an upstream that does this over UDP and answers properly, in lower case, over TCP.
    async fn check(behave: Behaviour, expected: &str) {
        let tcp = peer::start(behave).await;
        let address = tcp.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = tcp.accept().await.unwrap();
                let mut query = vec![0; usize::from(stream.read_u16().await.unwrap())];
                stream.read_exact(&mut query).await.unwrap();
                query[2] |= wire::QR;
                query[2] |= wire::AA; // to be known by
                name::fold(&mut query[wire::HEADER..wire::HEADER + 13]);
                stream.write_all(&[&(query.len() as u16).to_be_bytes()[..], &query].concat()).await.unwrap();
            }
        });
        let got = match exchange(&Peer::new(address.into()), &ask(), Via::Udp).await {
            Ok(answer) if answer[2] & wire::AA != 0 => "tcp".to_owned(),
            Ok(answer) => format!("udp {}", Response::parse(&answer).unwrap().rcode()),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expected);
    }

    #[tokio::test]
    async fn odd_datagrams_lead_to_tcp_and_old_servers_are_asked_without_edns() {
        check(|query| vec![echo(query, |_| {})], "udp 0").await;
        check(|query| vec![echo(query, |a| a[0] ^= 1), echo(query, |_| {})], "udp 0").await;
        check(|query| vec![echo(query, |a| a[2] |= wire::TC)], "tcp").await;
        check(|query| vec![echo(query, |a| a[13] = b'W')], "tcp").await;
        check(|query| vec![echo(query, |a| a.push(0))], "tcp").await;
        check(|query| vec![echo(query, |a| a[5] = 0)], "tcp").await;
        // A server from before EDNS: FORMERR or NOTIMP, with and without the question.
        check(
            |query| {
                vec![echo(query, |a| {
                    if a[11] == 1 {
                        a.truncate(29);
                        a[11] = 0;
                        a[3] = 1;
                    }
                })]
            },
            "udp 0",
        )
        .await;
        check(
            |query| {
                vec![echo(query, |a| {
                    if a[11] == 1 {
                        a.truncate(12);
                        a[5] = 0;
                        a[11] = 0;
                        a[3] = 4;
                    }
                })]
            },
            "udp 0",
        )
        .await;
        // FORMERR from one that does know EDNS is its answer.
        check(|query| vec![echo(query, |a| a[3] |= 1)], "udp 1").await;
        check(
            |query| {
                vec![echo(query, |a| {
                    a.truncate(12);
                    a[5] = 0;
                    a[11] = 0;
                    a[3] = 5;
                })]
            },
            "answered something that was not asked",
        )
        .await;
    }
}
