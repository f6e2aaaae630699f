//! Syslog (RFC 5424): a message for each step of a case, its facts as structured data; over UDP (RFC 5426), or TCP with lengths (RFC 6587).
//!
//! Neither says what arrived: a message counts as sent when the system has taken it.

use std::fmt::{self, Write as _};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::{Context, Waker};
use std::time::Duration;

use jiff::Timestamp;
use tokio::io::{AsyncRead as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::cases::{Case, Class, Step, What};
use crate::outlet::Identity;

/// How long a receiver may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Facility local0.
const FACILITY: u8 = 16;
/// Octets of one value: with all others within the 2048 that a receiver should take (RFC 5424, section 6.1).
const LONGEST: usize = 200;

/// Who takes messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receiver {
    /// By datagrams.
    Udp(SocketAddr),
    /// By a connection.
    Tcp(SocketAddr),
    /// By an encrypted one, to whom shows to be this one.
    Tls(SocketAddr, Identity),
}

impl fmt::Display for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(address) => write!(f, "udp://{address}"),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Tls(address, identity) => write!(f, "tls://{address}#{}", identity.name()),
        }
    }
}

/// The way to a receiver, which stays open.
#[derive(Debug, Default)]
pub(super) struct Sender(Option<(Receiver, Way)>);

#[derive(Debug)]
enum Way {
    Udp(UdpSocket),
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Sender {
    pub(super) async fn send(&mut self, receiver: &Receiver, line: &str) -> io::Result<()> {
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        let sent = timeout(PATIENCE, self.try_send(receiver, line)).await.map_err(late)?;
        if sent.is_err() {
            self.0 = None;
        }
        sent
    }

    async fn try_send(&mut self, receiver: &Receiver, line: &str) -> io::Result<()> {
        // Taken out while it is used: a wait that ends in the middle leaves half a message on it.
        let way = match self.0.take().filter(|(of, _)| of == receiver) {
            Some((_, mut way)) => way.stands().then_some(way),
            None => None,
        };
        let mut way = match way {
            Some(way) => way,
            None => Way::open(receiver).await?,
        };
        match &mut way {
            Way::Udp(socket) => drop(socket.send(line.as_bytes()).await?),
            Way::Tcp(stream) => write(stream, line).await?,
            Way::Tls(stream) => write(stream, line).await?,
        }
        self.0 = Some((receiver.clone(), way));
        Ok(())
    }
}

/// Writes a message behind its length (RFC 5425, section 4.3; RFC 6587, section 3.4.1).
async fn write(stream: &mut (impl AsyncWrite + Unpin), line: &str) -> io::Result<()> {
    stream.write_all(format!("{} {line}", line.len()).as_bytes()).await?;
    stream.flush().await
}

impl Way {
    async fn open(receiver: &Receiver) -> io::Result<Self> {
        match receiver {
            Receiver::Udp(address) => {
                let any: SocketAddr = match address {
                    SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                    SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
                };
                let socket = UdpSocket::bind(any).await?;
                socket.connect(address).await?;
                Ok(Self::Udp(socket))
            }
            Receiver::Tcp(address) => Ok(Self::Tcp(TcpStream::connect(address).await?)),
            Receiver::Tls(address, identity) => {
                let (config, name) = identity.client();
                let stream = TcpStream::connect(address).await?;
                let stream = TlsConnector::from(config).connect(name, stream).await?;
                Ok(Self::Tls(Box::new(stream)))
            }
        }
    }

    /// Whether the other end has not closed it. A receiver says nothing.
    fn stands(&mut self) -> bool {
        let is_quiet =
            |read: io::Result<usize>| matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        match self {
            Self::Udp(_) => true,
            Self::Tcp(stream) => is_quiet(stream.try_read(&mut [0; 64])),
            Self::Tls(stream) => {
                let mut context = Context::from_waker(Waker::noop());
                let mut octets = [0; 64];
                let mut read = ReadBuf::new(&mut octets);
                std::pin::pin!(&mut **stream).poll_read(&mut context, &mut read).is_pending()
            }
        }
    }
}

/// One message.
pub(super) fn line(node: &str, case: &Case, step: &Step) -> String {
    let severity = match (step.what, case.class) {
        (What::Opened | What::Reopened | What::Relapsed, Class::C2) => 3,
        (What::Opened | What::Reopened | What::Relapsed, _) => 4,
        _ => 5,
    };
    let time =
        Timestamp::from_microsecond(step.time).map_or_else(|_| "-".to_owned(), |it| format!("{it:.6}"));
    let host: String =
        node.chars().take(255).map(|it| if it.is_ascii_graphic() { it } else { '_' }).collect();
    let host = if host.is_empty() { "-" } else { &host };
    let mut line = format!(
        "<{}>1 {time} {host} sachdns {} case [case@32473",
        FACILITY * 8 + severity,
        std::process::id()
    );
    let ticket = case.ticket.to_string();
    let (machine, client) = (case.subject.to_string(), case.client.to_string());
    let by = step.by.to_string();
    let facts = [
        ("event", step.what.as_str()),
        ("ticket", &*ticket),
        ("state", case.course.state.as_str()),
        ("class", case.class.as_str()),
        ("family", &*case.family),
        ("machine", &*machine),
        ("host", case.host.as_deref().unwrap_or_default()),
        ("client", &*client),
        ("agency", case.agency.as_deref().unwrap_or_default()),
        ("name", &*case.name),
        ("by", &*by),
    ];
    for (name, value) in facts.into_iter().filter(|(_, value)| !value.is_empty()) {
        let _ = write!(line, " {name}=\"");
        for letter in value.chars().filter(|letter| !letter.is_control()).take(LONGEST) {
            // Section 6.3.3.
            if matches!(letter, '"' | '\\' | ']') {
                line.push('\\');
            }
            line.push(letter);
        }
        line.push('"');
    }
    let _ = write!(line, "] case {ticket} {}", step.what.as_str());
    line
}
