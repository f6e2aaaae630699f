//! What this binary does when it is run again as another process: the echoes, the upstream, and the launcher
//! that pins a server to its core. Nothing here measures.

use std::io;
use std::net::UdpSocket;
use std::num::NonZeroU64;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity, set_current_timer_slack};
use sachdns::datagram::{BATCH, Batch, Outbox, Wait};
use socket2::SockRef;

use crate::load::{HEADER, UPSTREAM, question_end};

/// The hidden first argument of each role.
pub(crate) const LAUNCH: &str = "role:launch";
pub(crate) const ECHO: &str = "role:echo";
pub(crate) const ECHO_ONE: &str = "role:echo-one-by-one";
pub(crate) const ECHO_GATHERING: &str = "role:echo-gathering";
pub(crate) const UPSTREAM_ROLE: &str = "role:upstream";

/// Room for many datagrams that wait, in octets; the kernel may grant less.
const BUFFER: usize = 4 << 20;
/// How long [`ECHO_GATHERING`] sleeps: as long as sachdns does where queries come steadily.
const GATHERING: Duration = Duration::from_micros(110);

/// Plays the role that the arguments ask for, if they do; then it does not return.
pub(crate) fn play_if_asked() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((role, args)) = args.split_first() else { return };
    let outcome = match role.as_str() {
        LAUNCH => Err(launch(args)),
        ECHO => echo(&bind(&args[0])),
        ECHO_ONE => echo_one_by_one(&bind(&args[0])),
        ECHO_GATHERING => echo_gathering(&bind(&args[0])),
        UPSTREAM_ROLE => upstream(&bind(&args[0])),
        _ => return,
    };
    if let Err(error) = outcome {
        eprintln!("{role}: {error}");
        std::process::exit(1);
    }
}

/// The cores that this process may use, in order.
pub(crate) fn cores() -> Vec<usize> {
    let allowed = sched_getaffinity(None).unwrap_or_default();
    (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect()
}

/// Keeps this thread, and what it starts, on `core`.
pub(crate) fn pin(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    // A machine that forbids it gives worse figures, not wrong ones.
    let _ = sched_setaffinity(None, &set);
}

/// Becomes the program `args[1..]` on core `args[0]`, which ends when the bench does.
fn launch(args: &[String]) -> io::Error {
    pin(args[0].parse().expect("the bench passes a core"));
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return error.into();
    }
    Command::new(&args[1]).args(&args[2..]).exec()
}

fn bind(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).expect("the bench passes a free port");
    let _ = SockRef::from(&socket).set_recv_buffer_size(BUFFER);
    socket
}

/// The least that a batched UDP server does: the unit that everything else is measured in.
fn echo(socket: &UdpSocket) -> io::Result<()> {
    let (mut batch, mut outbox) = (Batch::new(), Outbox::<BATCH>::new());
    loop {
        let count = batch.receive(socket, Wait::ForOne)?;
        let packets = (0..count).filter_map(|n| batch.packet(n));
        outbox.send(socket, packets.map(|(packet, path)| (Some(path), packet)));
    }
}

fn echo_one_by_one(socket: &UdpSocket) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let (len, from) = socket.recv_from(&mut buffer)?;
        socket.send_to(&buffer[..len], from)?;
    }
}

/// The least that a server spends which is woken by its clock, for all that came meanwhile.
fn echo_gathering(socket: &UdpSocket) -> io::Result<()> {
    // The kernel otherwise ends a sleep up to 50 µs late.
    let _ = set_current_timer_slack(NonZeroU64::new(1));
    let (mut batch, mut outbox) = (Batch::new(), Outbox::<BATCH>::new());
    loop {
        let begun = Instant::now();
        let count = match batch.receive(socket, Wait::Not) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            count => count.unwrap_or(0),
        };
        let packets = (0..count).filter_map(|n| batch.packet(n));
        outbox.send(socket, packets.map(|(packet, path)| (Some(path), packet)));
        std::thread::sleep(GATHERING.saturating_sub(begun.elapsed()));
    }
}

/// Answers every query of type A with [`UPSTREAM`] for an hour, any other with no data, at once.
fn upstream(socket: &UdpSocket) -> io::Result<()> {
    let (mut batch, mut outbox) = (Batch::new(), Outbox::<BATCH>::new());
    let mut answers = vec![Vec::new(); BATCH];
    loop {
        let count = batch.receive(socket, Wait::ForOne)?;
        let mut paths = Vec::with_capacity(BATCH);
        for (n, answer) in answers.iter_mut().enumerate().take(count) {
            answer.clear();
            let Some((query, path)) = batch.packet(n) else { continue };
            if let Some(end) = question_end(query) {
                answer_from(&query[..end], query[11] != 0, answer);
                paths.push((path, n));
            }
        }
        outbox.send(socket, paths.iter().map(|(path, n)| (Some(*path), &*answers[*n])));
    }
}

fn answer_from(query: &[u8], has_edns: bool, answer: &mut Vec<u8>) {
    let is_a = query[query.len() - 4..query.len() - 2] == [0, 1];
    answer.extend(query);
    // QR, and RD as it came; RA; one question.
    answer[2] = 0x80 | (query[2] & 0x01);
    answer[3] = 0x80;
    answer[4..HEADER].copy_from_slice(&[0, 1, 0, u8::from(is_a), 0, 0, 0, u8::from(has_edns)]);
    if is_a {
        answer.extend(b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x0e\x10\x00\x04");
        answer.extend(UPSTREAM);
    }
    if has_edns {
        answer.extend(b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00");
    }
}
