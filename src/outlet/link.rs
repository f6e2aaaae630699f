//! The way to one receiver: opened, written to with a bound on every wait, and closed so that nothing is cut.
//!
//! Sockets never block: each wait is a poll that ends with the receiver's patience or the outlet's stop. What a receiver says is
//! read and, but for Frame Streams' control frames, of no interest; that it went away is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::ClientConnection;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::batch::{Batch, Encoder, Framing};
use super::{Stop, To};
use crate::clock;
use crate::evidence::export::Format;
use crate::evidence::export::frames::{self, Control, FrameError};

/// How long a receiver may take nothing. What was sent for longer than this on a connection that still stands counts as arrived.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// So many datagrams go at once, and then a pause: a receiver's buffer holds some hundred, and nobody tells what it lost.
const BURST: usize = 32;
const PAUSE: Duration = Duration::from_millis(2);
/// How long a poll waits before it is looked whether the outlet is to end.
const SLICE: Duration = Duration::from_millis(50);

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    /// What the system said.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It takes nothing any more.
    #[error("the receiver has taken nothing for {} s", PATIENCE.as_secs())]
    Stalled,
    /// It went away.
    #[error("the receiver closed the connection")]
    Closed,
    /// The file was moved or removed, as log rotation does.
    #[error("the file was moved or removed")]
    Moved,
    /// There is something else than a file.
    #[error("it is there and is no file")]
    NoFile,
    /// It does not speak Frame Streams as we do.
    #[error("{0}")]
    Frames(#[from] FrameError),
    /// … nor TLS.
    #[error("{0}")]
    Tls(#[from] rustls::Error),
    /// dnstap needs a stream.
    #[error("it is a socket of datagrams, on which dnstap cannot be sent")]
    Datagrams,
    /// The outlet is to end.
    #[error("the outlet ends")]
    Stopping,
}

/// An open way.
pub(super) struct Link {
    kind: Kind,
    framing: Framing,
    progress: Progress,
}

/// How much of a batch is handed over: octets on a stream, messages as datagrams.
#[derive(Debug, Clone, Copy)]
struct Progress {
    taken: usize,
    refused: u64,
    /// When the receiver took something last.
    moved: Option<Instant>,
}

impl Progress {
    const NONE: Self = Self { taken: 0, refused: 0, moved: None };

    /// Until when the receiver may take nothing.
    fn until(&mut self) -> Instant {
        *self.moved.get_or_insert_with(Instant::now) + PATIENCE
    }

    fn moves(&mut self, taken: usize) {
        self.taken += taken;
        self.moved = Some(Instant::now());
    }
}

enum Kind {
    File(Target),
    Stream(Box<Stream>),
    Datagrams(Socket),
}

impl Link {
    /// Opens the way, and does what its protocol asks for before the first message.
    pub(super) fn open(to: &To, encoder: &Encoder, stop: &Stop) -> Result<Self, LinkError> {
        let framing = encoder.framing(matches!(to, To::File(_)));
        let kind = match to {
            To::File(path) => Kind::File(Target::open(path, encoder, framing)?),
            To::Udp(address) => {
                let socket = Socket::new(Domain::for_address(*address), Type::DGRAM, Some(Protocol::UDP))?;
                socket.set_nonblocking(true)?;
                socket.connect(&(*address).into())?;
                Kind::Datagrams(socket)
            }
            To::Unix(path) => match connect(Domain::UNIX, Type::STREAM, &SockAddr::unix(path)?, stop) {
                Err(LinkError::Io(error)) if is_of_datagrams(&error) => {
                    let socket = connect(Domain::UNIX, Type::DGRAM, &SockAddr::unix(path)?, stop)?;
                    Kind::Datagrams(socket)
                }
                socket => Kind::Stream(Stream::begin(socket?, None, encoder, framing, stop)?),
            },
            To::Tcp(address) => {
                let socket = connect_tcp(*address, stop)?;
                Kind::Stream(Stream::begin(socket, None, encoder, framing, stop)?)
            }
            To::Tls(address, identity) => {
                let socket = connect_tcp(*address, stop)?;
                let tls = identity.connection()?;
                Kind::Stream(Stream::begin(socket, Some(tls), encoder, framing, stop)?)
            }
        };
        let framing = match kind {
            Kind::Datagrams(_) if framing == Framing::Frames => return Err(LinkError::Datagrams),
            Kind::Datagrams(_) => Framing::Datagrams,
            Kind::File(_) | Kind::Stream(_) => framing,
        };
        Ok(Self { kind, framing, progress: Progress::NONE })
    }

    /// How messages are told apart on it.
    pub(super) fn framing(&self) -> Framing {
        self.framing
    }

    /// For how long what was sent may still be lost; `None`: until it is synced.
    pub(super) fn doubt(&self) -> Option<Duration> {
        match self.kind {
            Kind::File(_) => None,
            Kind::Stream(_) => Some(PATIENCE),
            // Nobody tells what became of a datagram, but that nobody is there is told soon.
            Kind::Datagrams(_) => Some(Duration::from_secs(1)),
        }
    }

    /// Hands over what it can without waiting long, and goes on where the last call for this batch ended. Once all is handed
    /// over, returns how many messages were too long to go.
    pub(super) fn send(&mut self, batch: &Batch, stop: &Stop) -> Result<Option<u64>, LinkError> {
        let Self { kind, progress, .. } = self;
        let is_done = match kind {
            Kind::File(target) => target.append(batch.octets()).map(|()| true)?,
            Kind::Stream(stream) => stream.write_some(batch.octets(), progress, stop)?,
            Kind::Datagrams(socket) => send_datagrams(socket, batch, progress, stop)?,
        };
        Ok(is_done.then(|| std::mem::replace(progress, Progress::NONE).refused))
    }

    /// Looks whether the other end is still there.
    pub(super) fn check(&mut self) -> Result<(), LinkError> {
        match &mut self.kind {
            Kind::File(target) => target.check(),
            Kind::Stream(stream) => stream.check(),
            Kind::Datagrams(socket) => socket.take_error()?.map_or(Ok(()), |error| Err(error.into())),
        }
    }

    /// Brings what was written to the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        match &self.kind {
            Kind::File(target) => target.file.sync_data(),
            Kind::Stream(_) | Kind::Datagrams(_) => Ok(()),
        }
    }

    /// Ends well: as far as the protocol allows, all was read when this returns without an error.
    pub(super) fn finish(self, stop: &Stop) -> Result<(), LinkError> {
        match self.kind {
            Kind::File(target) => target.finish(),
            Kind::Stream(stream) => stream.finish(stop),
            Kind::Datagrams(_) => Ok(()),
        }
    }
}

/// A Unix socket that wants datagrams says so (EPROTOTYPE).
fn is_of_datagrams(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::PROTOTYPE.raw_os_error())
}

fn connect_tcp(address: std::net::SocketAddr, stop: &Stop) -> Result<Socket, LinkError> {
    let socket = connect(Domain::for_address(address), Type::STREAM, &address.into(), stop)?;
    // What nobody acknowledges for so long breaks the connection, so that it is known not to have arrived.
    socket.set_tcp_user_timeout(Some(PATIENCE))?;
    socket.set_keepalive(true)?;
    Ok(socket)
}

fn connect(domain: Domain, kind: Type, to: &SockAddr, stop: &Stop) -> Result<Socket, LinkError> {
    let socket = Socket::new(domain, kind, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(to) {
        Ok(()) => return Ok(socket),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) => return Err(error.into()),
    }
    wait(&socket, PollFlags::OUT, Instant::now() + PATIENCE, stop)?;
    match socket.take_error()? {
        None => Ok(socket),
        Some(error) => Err(error.into()),
    }
}

/// Waits until the socket is ready.
fn wait(socket: &Socket, flags: PollFlags, until: Instant, stop: &Stop) -> Result<(), LinkError> {
    while !is_ready(socket, flags, until, stop)? {}
    Ok(())
}

/// Waits for a moment; returns whether the socket is ready.
fn is_ready(socket: &Socket, flags: PollFlags, until: Instant, stop: &Stop) -> Result<bool, LinkError> {
    let now = Instant::now();
    if stop.deadline().is_some_and(|deadline| deadline <= now) {
        return Err(LinkError::Stopping);
    }
    if until <= now {
        return Err(LinkError::Stalled);
    }
    let slice = Timespec::try_from(SLICE.min(until - now)).unwrap_or_default();
    let mut fds = [PollFd::from_borrowed_fd(socket.as_fd(), flags)];
    match poll(&mut fds, Some(&slice)) {
        Ok(0) | Err(rustix::io::Errno::INTR) => Ok(false),
        // Errors are told by the call that comes next.
        Ok(_) => Ok(true),
        Err(error) => Err(io::Error::from(error).into()),
    }
}

/// Whether all could go; those that are too long are passed over.
fn send_datagrams(
    socket: &Socket,
    batch: &Batch,
    progress: &mut Progress,
    stop: &Stop,
) -> Result<bool, LinkError> {
    for (number, message) in batch.messages().skip(progress.taken).enumerate() {
        if number == BURST {
            std::thread::sleep(PAUSE);
            return Ok(false);
        }
        loop {
            match socket.send(message) {
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !is_ready(socket, PollFlags::OUT, progress.until(), stop)? {
                        return Ok(false);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::MSGSIZE.raw_os_error()) => {
                    progress.refused += 1;
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        progress.moves(1);
    }
    Ok(true)
}

/// A connection, encrypted or not.
struct Stream {
    socket: Socket,
    tls: Option<ClientConnection>,
    framing: Framing,
    /// What was received and not understood yet; of Frame Streams only.
    received: Vec<u8>,
}

impl Stream {
    /// Shakes hands, and says what comes before the first message.
    fn begin(
        socket: Socket,
        tls: Option<ClientConnection>,
        encoder: &Encoder,
        framing: Framing,
        stop: &Stop,
    ) -> Result<Box<Self>, LinkError> {
        let mut stream = Box::new(Self { socket, tls, framing, received: Vec::new() });
        stream.shake_hands(stop)?;
        if framing == Framing::Frames {
            stream.say(Control::Ready, stop)?;
            stream.expect(Control::Accept, stop)?;
            stream.say(Control::Start, stop)?;
        } else {
            stream.write_all(&encoder.heading(framing, clock::now()), stop)?;
        }
        Ok(stream)
    }

    fn shake_hands(&mut self, stop: &Stop) -> Result<(), LinkError> {
        let until = Instant::now() + PATIENCE;
        let Self { socket, tls: Some(tls), .. } = self else { return Ok(()) };
        while tls.is_handshaking() {
            match tls.complete_io(socket) {
                // TLS 1.3 tells on the way back whether the receiver minds.
                Ok((0, 0)) => return Err(LinkError::Closed),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let flags = if tls.wants_write() { PollFlags::OUT } else { PollFlags::IN };
                    wait(socket, flags, until, stop)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Writes all, however long the other end takes, as long as it takes something.
    fn write_all(&mut self, octets: &[u8], stop: &Stop) -> Result<(), LinkError> {
        let mut progress = Progress::NONE;
        while !self.write_some(octets, &mut progress, stop)? {}
        Ok(())
    }

    /// Writes what the other end takes without a long wait; returns whether that was all.
    fn write_some(&mut self, octets: &[u8], progress: &mut Progress, stop: &Stop) -> Result<bool, LinkError> {
        loop {
            let rest = octets.get(progress.taken..).unwrap_or_default();
            if rest.is_empty() && !self.tls.as_ref().is_some_and(|tls| tls.wants_write()) {
                return Ok(true);
            }
            match self.write_once(rest) {
                Ok(taken) => progress.moves(taken),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !is_ready(&self.socket, PollFlags::OUT, progress.until(), stop)? {
                        return Ok(false);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// How many octets were taken. What is encrypted already goes first, so that little more than one batch is kept in here.
    fn write_once(&mut self, octets: &[u8]) -> io::Result<usize> {
        let Self { socket, tls, .. } = self;
        let (taken, is_moving) = match tls {
            None => {
                let taken = (&*socket).write(octets)?;
                (taken, taken > 0)
            }
            Some(tls) if tls.wants_write() => (0, tls.write_tls(&mut &*socket)? > 0),
            Some(tls) => {
                let taken = tls.writer().write(octets)?;
                (taken, taken > 0)
            }
        };
        if is_moving { Ok(taken) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// Reads what is there, until nothing is there.
    fn receive(&mut self) -> Result<(), LinkError> {
        let mut octets = [0; 4096];
        loop {
            let read = match &mut self.tls {
                None => (&self.socket).read(&mut octets),
                Some(tls) => match tls.reader().read(&mut octets) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        match tls.read_tls(&mut &self.socket) {
                            Ok(0) => Ok(0),
                            Ok(_) => {
                                tls.process_new_packets()?;
                                continue;
                            }
                            Err(error) => Err(error),
                        }
                    }
                    read => read,
                },
            };
            match read {
                Ok(0) => return Err(LinkError::Closed),
                // All but control frames is of no interest.
                Ok(read) if self.framing == Framing::Frames => self.received.extend(&octets[..read]),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
            // Frames are short; who sends more than one could need is told at the next look.
            if self.received.len() > octets.len() {
                return Ok(());
            }
        }
    }

    fn check(&mut self) -> Result<(), LinkError> {
        self.receive()?;
        // FINISH, or anything else, before STOP was said: nothing more is read there.
        if self.received.is_empty() { Ok(()) } else { Err(LinkError::Closed) }
    }

    fn say(&mut self, control: Control, stop: &Stop) -> Result<(), LinkError> {
        let mut frame = Vec::new();
        frames::put_control(control, &mut frame);
        self.write_all(&frame, stop)
    }

    fn expect(&mut self, wanted: Control, stop: &Stop) -> Result<(), LinkError> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some((control, len)) = frames::control(&self.received)? {
                self.received.drain(..len);
                return if control == wanted { Ok(()) } else { Err(FrameError::Malformed.into()) };
            }
            let before = self.received.len();
            self.receive()?;
            if self.received.len() == before {
                wait(&self.socket, PollFlags::IN, until, stop)?;
            }
        }
    }

    /// Says that nothing more comes, and waits until the other end has read so far.
    fn finish(mut self, stop: &Stop) -> Result<(), LinkError> {
        if self.framing == Framing::Frames {
            self.say(Control::Stop, stop)?;
            return self.expect(Control::Finish, stop);
        }
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            self.write_all(&[], stop)?;
        }
        self.socket.shutdown(std::net::Shutdown::Write)?;
        let until = Instant::now() + PATIENCE;
        loop {
            match self.receive() {
                Ok(()) => wait(&self.socket, PollFlags::IN, until, stop)?,
                // It has seen our end, so all that was before it.
                Err(LinkError::Closed) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

/// A file that grows at its end.
struct Target {
    path: PathBuf,
    file: File,
    /// Up to here it is whole.
    len: u64,
    framing: Framing,
}

/// Most octets behind the last whole line that are a torn one, and not somebody else's file.
const TORN: u64 = 1 << 20;

/// Where the last whole line ends; `None` where there is none near the end.
fn whole_lines(file: &File, end: u64) -> io::Result<Option<u64>> {
    let (mut part, mut at) = (vec![0; 4096], end);
    while at > end.saturating_sub(TORN) {
        let from = at.saturating_sub(part.len() as u64);
        let part = &mut part[..(at - from) as usize];
        file.read_exact_at(part, from)?;
        if let Some(newline) = part.iter().rposition(|octet| *octet == b'\n') {
            return Ok(Some(from + newline as u64 + 1));
        }
        at = from;
    }
    Ok(None)
}

impl Target {
    fn open(path: &Path, encoder: &Encoder, framing: Framing) -> Result<Self, LinkError> {
        // Opening a named pipe would wait for its other end.
        if fs::metadata(path).is_ok_and(|facts| !facts.is_file()) {
            return Err(LinkError::NoFile);
        }
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o640);
        let mut file = options.open(path)?;
        let mut head = Vec::new();
        let len = if encoder.format == Format::Dnstap {
            let at = frames::resume_at(&mut file)?;
            file.set_len(at)?;
            if at == 0 {
                frames::put_control(Control::Start, &mut head);
            }
            at
        } else {
            let end = file.seek(SeekFrom::End(0))?;
            match whole_lines(&file, end)? {
                // What a line told of that was torn, by a kill, a full disk or a power cut, is sent again.
                Some(whole) if whole < end => {
                    file.set_len(whole)?;
                    whole
                }
                Some(whole) => whole,
                None if end == 0 => {
                    head = encoder.heading(framing, clock::now());
                    end
                }
                None => {
                    head.push(b'\n');
                    end
                }
            }
        };
        let mut target = Self { path: path.to_owned(), file, len, framing };
        target.append(&head)?;
        Ok(target)
    }

    /// Appends all or nothing, as far as the file system allows.
    fn append(&mut self, octets: &[u8]) -> Result<(), LinkError> {
        if let Err(error) = self.file.write_all(octets) {
            let _ = self.file.set_len(self.len);
            return Err(error.into());
        }
        self.len += octets.len() as u64;
        Ok(())
    }

    fn check(&self) -> Result<(), LinkError> {
        let (open, there) = (self.file.metadata()?, fs::metadata(&self.path));
        match there {
            Ok(there) if (open.dev(), open.ino()) == (there.dev(), there.ino()) => Ok(()),
            _ => Err(LinkError::Moved),
        }
    }

    fn finish(mut self) -> Result<(), LinkError> {
        if self.framing == Framing::Frames {
            let mut frame = Vec::new();
            frames::put_control(Control::Stop, &mut frame);
            self.append(&frame)?;
        }
        Ok(self.file.sync_data()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_line_is_told_from_whole_ones() {
        let check = |text: &[u8], expected: Option<u64>| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(text).unwrap();
            assert_eq!(whole_lines(&file, text.len() as u64).unwrap(), expected);
        };
        check(b"", None);
        check(b"torn", None);
        check(b"whole\n", Some(6));
        check(b"whole\n{\"torn\":", Some(6));
        check(&[b"whole\n".as_slice(), &[b'x'; 10_000]].concat(), Some(6));
        check(&[b"whole\n".as_slice(), &vec![b'x'; TORN as usize + 8192]].concat(), None);
    }
}
