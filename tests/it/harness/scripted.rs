//! An upstream that does what it is told: the faults that no honest name server commits.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::{PATIENCE, wire};

/// A query as it reached the upstream.
#[derive(Clone)]
pub(crate) struct Seen {
    /// The whole message.
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_tcp: bool,
}

impl Seen {
    /// The header's flags word.
    pub(crate) fn flags(&self) -> u16 {
        u16::from_be_bytes([self.bytes[2], self.bytes[3]])
    }

    /// The name asked for, folded, for the script to tell queries apart.
    pub(crate) fn qname(&self) -> String {
        wire::decode(&self.bytes).queries[0].name().to_string().to_ascii_lowercase()
    }

    /// The type asked for.
    pub(crate) fn qtype(&self) -> u16 {
        wire::decode(&self.bytes).queries[0].query_type().into()
    }

    /// Whether the DO bit is set.
    pub(crate) fn is_dnssec_ok(&self) -> bool {
        wire::decode(&self.bytes).edns.is_some_and(|edns| edns.flags().dnssec_ok)
    }

    /// An answer to this query: its id and question, these flags (QR is added), rcode and records.
    pub(crate) fn answer(&self, flags: u16, rcode: u16, answers: &[Vec<u8>], opt: Option<&[u8]>) -> Vec<u8> {
        let opt: Vec<_> = opt.into_iter().map(<[u8]>::to_vec).collect();
        self.message(flags | rcode, [answers, &[], &opt])
    }

    /// As [`Self::answer`], with the records of all three sections.
    pub(crate) fn message(&self, flags: u16, sections: [&[Vec<u8>]; 3]) -> Vec<u8> {
        let id = u16::from_be_bytes([self.bytes[0], self.bytes[1]]);
        let flags = wire::QR | flags | (self.flags() & (wire::RD | wire::CD));
        let [answers, authority, additional] = sections.map(|section| u16::try_from(section.len()).unwrap());
        let mut bytes = wire::header(id, flags, [1, answers, authority, additional]);
        bytes.extend(self.question());
        bytes.extend(sections.iter().flat_map(|section| section.concat()));
        bytes
    }

    /// An A record for the name asked for.
    pub(crate) fn a(&self, address: [u8; 4]) -> Vec<u8> {
        wire::record(&[0xc0, 12], wire::A, wire::IN, 300, &address)
    }

    /// NOERROR with one A record.
    pub(crate) fn answer_a(&self, address: [u8; 4]) -> Vec<u8> {
        self.answer(wire::RA, 0, &[self.a(address)], None)
    }

    fn question(&self) -> &[u8] {
        let name = self.bytes[12..].iter().scan(0usize, |skip, &byte| {
            // Steps over each label; ends behind the root's zero octet.
            if *skip > 0 {
                *skip -= 1;
                return Some(());
            }
            *skip = usize::from(byte);
            (byte != 0).then_some(())
        });
        let end = 12 + name.count() + 1 + 4;
        &self.bytes[12..end]
    }
}

/// One thing to do about a query.
pub(crate) enum Step {
    /// Send this from the address that was asked.
    Send(Vec<u8>),
    /// Send this from another port of the same host (over UDP only).
    SendFromElsewhere(Vec<u8>),
    /// Write these octets as they are (over TCP only).
    Write(Vec<u8>),
    /// Write a zero octet again and again, until nobody reads any more (over TCP only).
    Drip,
    /// Close the connection (over TCP only).
    Close,
}

type Script = dyn Fn(&Seen) -> Vec<Step> + Send + Sync;

/// A running upstream on UDP and TCP; stops when dropped.
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    script: Box<Script>,
    seen: Mutex<Vec<Seen>>,
    changed: Condvar,
    is_stopping: AtomicBool,
}

impl Scripted {
    /// Starts an upstream; no step at all is silence.
    pub(crate) fn start(script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let (udp, tcp) = loop {
            let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()) {
                break (udp, tcp);
            }
        };
        Self::over(udp, tcp, script)
    }

    /// Starts one at this address, which nobody else has: inside a namespace.
    pub(crate) fn at(
        address: SocketAddr,
        script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        Self::over(UdpSocket::bind(address).unwrap(), TcpListener::bind(address).unwrap(), script)
    }

    fn over(
        udp: UdpSocket,
        tcp: TcpListener,
        script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::new(Shared {
            script: Box::new(script),
            seen: Mutex::default(),
            changed: Condvar::new(),
            is_stopping: AtomicBool::new(false),
        });
        let udp = Arc::new(udp);
        let address = udp.local_addr().unwrap();
        let for_udp = shared.clone();
        thread::spawn(move || for_udp.serve_udp(&udp));
        let for_tcp = shared.clone();
        thread::spawn(move || {
            for stream in tcp.incoming() {
                if for_tcp.is_stopping.load(Ordering::Relaxed) {
                    return;
                }
                let shared = for_tcp.clone();
                thread::spawn(move || stream.map(|stream| shared.serve_tcp(stream)));
            }
        });
        Self { address, shared }
    }

    /// An upstream that answers each query with one message.
    pub(crate) fn answering(answer: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::start(move |query| vec![Step::Send(answer(query))])
    }

    /// An upstream that answers each query with this rcode.
    pub(crate) fn failing(rcode: u16) -> Self {
        Self::answering(move |query| query.answer(wire::RA, rcode, &[], None))
    }

    /// An upstream that hears everything and says nothing.
    pub(crate) fn silent() -> Self {
        Self::start(|_| Vec::new())
    }

    /// The queries so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Waits until at least `count` queries have come.
    #[track_caller]
    pub(crate) fn wait_seen(&self, count: usize) -> Vec<Seen> {
        let until = Instant::now() + PATIENCE;
        let mut seen = self.shared.seen.lock().unwrap();
        while seen.len() < count {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{} of {count} queries reached the upstream", seen.len());
            seen = self.shared.changed.wait_timeout(seen, left).unwrap().0;
        }
        seen.clone()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.shared.is_stopping.store(true, Ordering::Relaxed);
        // Each wakes one thread from its wait.
        if let Ok(socket) = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)) {
            let _ = socket.send_to(&[], self.address);
        }
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    fn serve_udp(self: &Arc<Self>, socket: &Arc<UdpSocket>) {
        let mut buffer = [0; 65_535];
        loop {
            let Ok((len, client)) = socket.recv_from(&mut buffer) else { continue };
            if self.is_stopping.load(Ordering::Relaxed) {
                return;
            }
            // A thread a query: a script that waits for a test holds up nobody else.
            let query = Seen { bytes: buffer[..len].to_vec(), is_tcp: false };
            let (shared, socket) = (self.clone(), socket.clone());
            thread::spawn(move || {
                for step in shared.take(&query) {
                    let _ = match step {
                        Step::Send(bytes) => socket.send_to(&bytes, client),
                        Step::SendFromElsewhere(bytes) => UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
                            .and_then(|elsewhere| elsewhere.send_to(&bytes, client)),
                        Step::Write(_) | Step::Drip | Step::Close => Ok(0),
                    };
                }
            });
        }
    }

    fn serve_tcp(&self, mut stream: TcpStream) {
        while let Ok(bytes) = wire::read_framed(&mut stream) {
            for step in self.take(&Seen { bytes, is_tcp: true }) {
                match step {
                    Step::Send(bytes) if stream.write_all(&wire::framed(&bytes)).is_ok() => {}
                    Step::Write(bytes) if stream.write_all(&bytes).is_ok() => {}
                    Step::SendFromElsewhere(_) => {}
                    Step::Drip => {
                        while stream.write_all(&[0]).is_ok() {
                            thread::sleep(Duration::from_millis(50));
                        }
                        return;
                    }
                    Step::Send(_) | Step::Write(_) | Step::Close => return,
                }
            }
        }
    }

    fn take(&self, query: &Seen) -> Vec<Step> {
        self.seen.lock().unwrap().push(query.clone());
        self.changed.notify_all();
        (self.script)(query)
    }
}

/// A door that a script waits at until the test opens it, or [`PATIENCE`] ends.
#[derive(Clone, Default)]
pub(crate) struct Door(Arc<(Mutex<bool>, Condvar)>);

impl Door {
    pub(crate) fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    pub(crate) fn wait(&self) {
        let is_open = self.0.0.lock().unwrap();
        let _open = self.0.1.wait_timeout_while(is_open, PATIENCE, |is_open| !*is_open).unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::{Scripted, Step};
    use crate::harness::dig::Dig;
    use crate::harness::wire;

    #[test]
    fn it_answers_over_udp_and_tcp_and_counts() {
        let upstream = Scripted::answering(|query| {
            let opt = wire::ede(22, "nobody home");
            query.answer(wire::RA | wire::AD, 0, &[query.a([192, 0, 2, 7])], Some(&opt))
        });
        for transport in ["+notcp", "+tcp"] {
            let reply = Dig::at(upstream.address).with(transport).with("+dnssec").ask("Some.Name.test", "A");
            assert_eq!(reply.rdata("A"), ["192.0.2.7"]);
            assert_eq!(reply.ede(), Some("22 (No Reachable Authority): (nobody home)"));
            assert!(reply.has_flag("ad"));
        }
        let seen = upstream.wait_seen(2);
        assert_eq!(seen.iter().map(|query| query.is_tcp).collect::<Vec<_>>(), [false, true]);
        assert!(seen[0].is_dnssec_ok());
        assert_eq!(seen[0].qname(), "some.name.test.");
    }

    #[test]
    fn it_fails_and_keeps_silent() {
        assert_eq!(Dig::at(Scripted::failing(2).address).ask("a.test", "A").status, "SERVFAIL");
        assert_eq!(Dig::at(Scripted::failing(5).address).ask("a.test", "A").status, "REFUSED");
        assert!(Dig::at(Scripted::silent().address).is_ignored("a.test", "A"));
        let closing = Scripted::start(|_| vec![Step::Close]);
        assert!(Dig::at(closing.address).with("+tcp").is_ignored("a.test", "A"));
    }
}
