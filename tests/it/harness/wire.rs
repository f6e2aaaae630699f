//! Messages octet by octet: what no well-behaved client sends, and an independent look at answers.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, ResponseCode};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};

use super::PATIENCE;

pub(crate) const A: u16 = 1;
pub(crate) const NS: u16 = 2;
pub(crate) const CNAME: u16 = 5;
pub(crate) const SOA: u16 = 6;
pub(crate) const MX: u16 = 15;
pub(crate) const TXT: u16 = 16;
pub(crate) const AAAA: u16 = 28;
pub(crate) const OPT: u16 = 41;
pub(crate) const DS: u16 = 43;
pub(crate) const RRSIG: u16 = 46;
pub(crate) const NSEC: u16 = 47;
pub(crate) const DNSKEY: u16 = 48;
pub(crate) const HTTPS: u16 = 65;
pub(crate) const IN: u16 = 1;
pub(crate) const CH: u16 = 3;

/// Header flags (RFC 1035, section 4.1.1; RFC 4035, section 3.2).
pub(crate) const QR: u16 = 0x8000;
pub(crate) const AA: u16 = 0x0400;
pub(crate) const TC: u16 = 0x0200;
pub(crate) const RD: u16 = 0x0100;
pub(crate) const RA: u16 = 0x0080;
pub(crate) const AD: u16 = 0x0020;
pub(crate) const CD: u16 = 0x0010;

/// A query to be written out.
#[derive(Clone)]
pub(crate) struct Query {
    pub(crate) id: u16,
    /// The header's second word; RD unless changed.
    pub(crate) flags: u16,
    /// In wire format, case kept.
    pub(crate) qname: Vec<u8>,
    pub(crate) qtype: u16,
    pub(crate) qclass: u16,
    /// The whole OPT record.
    pub(crate) opt: Option<Vec<u8>>,
}

impl Query {
    pub(crate) fn new(qname: &str, qtype: u16) -> Self {
        Self { id: 0x5ac4, flags: RD, qname: name(qname), qtype, qclass: IN, opt: None }
    }

    pub(crate) fn id(mut self, id: u16) -> Self {
        self.id = id;
        self
    }

    pub(crate) fn flags(mut self, flags: u16) -> Self {
        self.flags = flags;
        self
    }

    pub(crate) fn qclass(mut self, qclass: u16) -> Self {
        self.qclass = qclass;
        self
    }

    /// Adds an OPT record with these options.
    pub(crate) fn options(mut self, options: &[(u16, &[u8])]) -> Self {
        self.opt = Some(opt(1232, 0, options));
        self
    }

    /// Adds an OPT record with this UDP size, version and DO bit.
    pub(crate) fn edns(mut self, size: u16, version: u8, dnssec_ok: bool) -> Self {
        let ttl = u32::from(version) << 16 | u32::from(dnssec_ok) << 15;
        self.opt = Some(opt(size, ttl, &[]));
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = header(self.id, self.flags, [1, 0, 0, u16::from(self.opt.is_some())]);
        bytes.extend(self.question());
        bytes.extend(self.opt.iter().flatten());
        bytes
    }

    fn question(&self) -> Vec<u8> {
        let mut bytes = self.qname.clone();
        bytes.extend(self.qtype.to_be_bytes());
        bytes.extend(self.qclass.to_be_bytes());
        bytes
    }
}

/// A header with its four counts.
pub(crate) fn header(id: u16, flags: u16, counts: [u16; 4]) -> Vec<u8> {
    [id, flags].into_iter().chain(counts).flat_map(u16::to_be_bytes).collect()
}

/// A name in wire format, case kept.
pub(crate) fn name(text: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in text.split('.').filter(|label| !label.is_empty()) {
        wire.push(u8::try_from(label.len()).unwrap());
        wire.extend(label.as_bytes());
    }
    wire.push(0);
    wire
}

/// An OPT record (RFC 6891, section 6.1.2).
pub(crate) fn opt(size: u16, ttl: u32, options: &[(u16, &[u8])]) -> Vec<u8> {
    let mut data = Vec::new();
    for (code, value) in options {
        data.extend(code.to_be_bytes());
        data.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        data.extend(*value);
    }
    record(&[0], OPT, size, ttl, &data)
}

/// An OPT record that carries one extended DNS error (RFC 8914).
pub(crate) fn ede(code: u16, text: &str) -> Vec<u8> {
    let value = [&code.to_be_bytes(), text.as_bytes()].concat();
    opt(1232, 0, &[(15, &value)])
}

/// A resource record.
pub(crate) fn record(owner: &[u8], rtype: u16, class: u16, ttl: u32, rdata: &[u8]) -> Vec<u8> {
    let mut bytes = owner.to_vec();
    bytes.extend(rtype.to_be_bytes());
    bytes.extend(class.to_be_bytes());
    bytes.extend(ttl.to_be_bytes());
    bytes.extend(u16::try_from(rdata.len()).unwrap().to_be_bytes());
    bytes.extend(rdata);
    bytes
}

/// Sends one datagram and waits for one.
pub(crate) fn udp(server: SocketAddr, message: &[u8]) -> io::Result<Vec<u8>> {
    Udp::to(server).ask(message)
}

/// A UDP client that keeps its port.
pub(crate) struct Udp(UdpSocket);

impl Udp {
    pub(crate) fn to(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.connect(server).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    pub(crate) fn wait_at_most(self, limit: Duration) -> Self {
        self.0.set_read_timeout(Some(limit)).unwrap();
        self
    }

    pub(crate) fn send(&self, message: &[u8]) {
        self.0.send(message).unwrap();
    }

    pub(crate) fn try_send(&self, message: &[u8]) -> io::Result<()> {
        self.0.send(message).map(drop)
    }

    pub(crate) fn receive(&self) -> io::Result<Vec<u8>> {
        let mut answer = vec![0; 65_535];
        let len = loop {
            match self.0.recv(&mut answer) {
                // A process that was stopped and goes on: the kernel does not resume a wait with a limit.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                received => break received?,
            }
        };
        answer.truncate(len);
        Ok(answer)
    }

    pub(crate) fn ask(&self, message: &[u8]) -> io::Result<Vec<u8>> {
        self.send(message);
        self.receive()
    }

    /// Asks, and waits for the answer to this very question: one that was waited for in vain may come behind the next.
    pub(crate) fn answer_to(&self, query: &[u8]) -> io::Result<Vec<u8>> {
        let end = 12 + query[12..].iter().position(|octet| *octet == 0).unwrap() + 5;
        self.send(query);
        loop {
            let answer = self.receive()?;
            if answer.get(12..end) == Some(&query[12..end]) {
                return Ok(answer);
            }
        }
    }
}

/// A TCP client: messages with their length in front (RFC 1035, section 4.2.2).
pub(crate) struct Tcp(TcpStream);

impl Tcp {
    pub(crate) fn to(server: SocketAddr) -> Self {
        let stream = TcpStream::connect(server).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    pub(crate) fn send(&mut self, message: &[u8]) {
        self.0.write_all(&framed(message)).unwrap();
    }

    /// Sends octets as they are, without a length.
    pub(crate) fn send_raw(&mut self, octets: &[u8]) -> io::Result<()> {
        self.0.write_all(octets)
    }

    pub(crate) fn receive(&mut self) -> io::Result<Vec<u8>> {
        read_framed(&mut self.0)
    }
}

/// A message with its length in front.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let len = u16::try_from(message.len()).unwrap();
    [&len.to_be_bytes(), message].concat()
}

/// Reads one message that has its length in front.
pub(crate) fn read_framed(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut len = [0; 2];
    stream.read_exact(&mut len)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut message)?;
    Ok(message)
}

/// Decodes an answer with hickory's codec, which shares nothing with ours.
#[track_caller]
pub(crate) fn decode(answer: &[u8]) -> Message {
    let message =
        Message::from_vec(answer).unwrap_or_else(|error| panic!("not a message: {error}: {answer:02x?}"));
    let counts = [4, 6, 8, 10].map(|at| u16::from_be_bytes([answer[at], answer[at + 1]]));
    let opt = u16::from(message.edns.is_some());
    let read = [
        message.queries.len(),
        message.answers.len(),
        message.authorities.len(),
        message.additionals.len() + usize::from(opt),
    ];
    assert_eq!(counts.map(usize::from), read, "the header's counts: {answer:02x?}");
    message
}

/// The rcode, its upper bits from the OPT record included.
pub(crate) fn rcode(message: &Message) -> ResponseCode {
    let high = message.edns.as_ref().map_or(0, Edns::rcode_high);
    match ResponseCode::from(high, message.metadata.response_code.low()) {
        // Both are 16: BADSIG stands only in TSIG records (RFC 6895, section 2.3).
        ResponseCode::BADSIG => ResponseCode::BADVERS,
        other => other,
    }
}

/// The data of an EDNS option that is handed over as it is.
pub(crate) fn option(message: &Message, code: u16) -> Option<Vec<u8>> {
    match message.edns.as_ref()?.option(EdnsCode::from(code))? {
        EdnsOption::Unknown(_, value) => Some(value.clone()),
        _ => None,
    }
}

/// The info code of the extended DNS error.
pub(crate) fn ede_code(message: &Message) -> Option<u16> {
    match message.edns.as_ref()?.option(EdnsCode::Unknown(15))? {
        EdnsOption::Unknown(_, value) => Some(u16::from_be_bytes([*value.first()?, *value.get(1)?])),
        _ => None,
    }
}
