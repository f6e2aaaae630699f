//! Servers as processes: started on their core, ended with the bench, and what they cost by the system's
//! accounting. What a server is configured to do stands with that server.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::client::{Answers, Target};
use crate::load::{Asked, HEADER, Load};
use crate::role;

/// How long a server that begins to listen is left alone between two questions.
const PAUSE: Duration = Duration::from_millis(1);

/// Why a server cannot be measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error("not installed; `make bench-deps` installs all peers")]
    Missing,
    #[error("{program} cannot be started: {source}")]
    Start { program: PathBuf, source: io::Error },
    #[error("ended while it started ({status}); it said: {words}")]
    Ended { status: std::process::ExitStatus, words: String },
    #[error("no right answer within {} s; it said: {words}", patience.as_secs())]
    Silent { patience: Duration, words: String },
}

/// A running server. It ends when this is dropped, and when the bench ends in any other way.
pub(crate) struct Process {
    child: Child,
    said: PathBuf,
}

impl Process {
    /// Starts `program` on `core`; what it says goes to the file `said`.
    pub(crate) fn start(
        core: usize,
        program: &Path,
        args: &[impl AsRef<OsStr>],
        said: PathBuf,
    ) -> Result<Self, Trouble> {
        let trouble = |source| Trouble::Start { program: program.to_owned(), source };
        let words = File::create(&said).map_err(trouble)?;
        let child = Command::new(std::env::current_exe().map_err(trouble)?)
            .args([role::LAUNCH, &core.to_string()])
            .arg(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(words.try_clone().map_err(trouble)?)
            .stderr(words)
            .spawn()
            .map_err(trouble)?;
        Ok(Self { child, said })
    }

    /// Plays one of this binary's own roles.
    pub(crate) fn play(core: usize, role: &str, address: SocketAddr, folder: &Path) -> Result<Self, Trouble> {
        let program = std::env::current_exe()
            .map_err(|source| Trouble::Start { program: PathBuf::from(role), source })?;
        let said = folder.join(format!("{}.said", role.replace(':', "-")));
        Self::start(core, &program, &[role, &address.to_string()], said)
    }

    /// Waits until the server gives the right answer to the query that `load` asks.
    pub(crate) fn await_answer(
        &mut self,
        target: Target,
        load: &mut Load,
        patience: Duration,
    ) -> Result<(), Trouble> {
        let begun = Instant::now();
        let asked = load.next();
        for tries in 1u32.. {
            if is_answered(target, &asked) {
                break;
            }
            if tries % 20 == 0
                && let Ok(Some(status)) = self.child.try_wait()
            {
                return Err(Trouble::Ended { status, words: self.last_words() });
            }
            if begun.elapsed() > patience {
                return Err(Trouble::Silent { patience, words: self.last_words() });
            }
        }
        Ok(())
    }

    /// Time on a CPU so far, of all threads and children.
    pub(crate) fn cpu(&self) -> Duration {
        let first_field = |text: String| text.split(' ').next().and_then(|field| field.parse::<u64>().ok());
        let nanos = self
            .family()
            .iter()
            .flat_map(|pid| tasks(*pid))
            .filter_map(|task| fs::read_to_string(task.join("schedstat")).ok().and_then(first_field))
            .sum();
        Duration::from_nanos(nanos)
    }

    /// Octets in memory now.
    pub(crate) fn resident(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// Most octets in memory since the start, or since [`Self::forget_peak`].
    pub(crate) fn peak(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// Begins a new peak.
    pub(crate) fn forget_peak(&self) {
        for pid in self.family() {
            // Best effort: otherwise the peak is that since the start.
            let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
        }
    }

    /// Tells it to read its files again.
    pub(crate) fn hang_up(&self) {
        signal(self.child.id(), Signal::HUP);
    }

    fn status(&self, field: &str) -> u64 {
        let of = |pid: u32| -> Option<u64> {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix(field))?;
            line.trim().strip_suffix(" kB")?.parse().ok()
        };
        self.family().into_iter().filter_map(of).sum::<u64>() * 1024
    }

    /// The process, and what it started.
    fn family(&self) -> Vec<u32> {
        let mut family = descendants(self.child.id());
        family.insert(0, self.child.id());
        family
    }

    /// The end of what the server said, on one line.
    fn last_words(&self) -> String {
        let said = fs::read(&self.said).unwrap_or_default();
        let said = String::from_utf8_lossy(&said[said.len().saturating_sub(300)..]).into_owned();
        said.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        for pid in self.family().into_iter().rev() {
            signal(pid, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// A port of 127.0.0.1 that is free for UDP and TCP.
pub(crate) fn free_address() -> SocketAddr {
    loop {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
        let address = socket.local_addr().expect("it is bound");
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// Ends all servers, and waits until they are gone: for the end of the bench by a signal.
pub(crate) fn end_all() {
    let servers = descendants(std::process::id());
    for pid in &servers {
        signal(*pid, Signal::KILL);
    }
    let begun = Instant::now();
    // Their parent no longer waits for them: a dead one has no memory any more.
    let is_alive =
        |pid: &u32| fs::read(format!("/proc/{pid}/statm")).is_ok_and(|text| !text.starts_with(b"0 "));
    while servers.iter().any(is_alive) && begun.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(PAUSE);
    }
}

/// One that is gone needs no signal.
fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
        let _ = kill_process(pid, signal);
    }
}

/// What a process started, and what that started.
fn descendants(pid: u32) -> Vec<u32> {
    let parents = parents();
    let mut found = Vec::new();
    let (mut parent, mut at) = (pid, 0);
    loop {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        let Some(next) = found.get(at) else { return found };
        (parent, at) = (*next, at + 1);
    }
}

/// Every process, and who started it.
fn parents() -> Vec<(u32, u32)> {
    let parent = |pid: u32| -> Option<(u32, u32)> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in brackets may hold anything; state and parent follow it.
        Some((pid, stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()?))
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| parent(entry.file_name().to_str()?.parse().ok()?)).collect()
}

fn tasks(pid: u32) -> impl Iterator<Item = PathBuf> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    tasks.into_iter().flatten().flatten().map(|task| task.path())
}

/// Asks once, and waits a moment.
pub(crate) fn is_answered(target: Target, asked: &Asked<'_>) -> bool {
    let ask = || -> io::Result<bool> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        // Connected: the system says at once when nobody listens.
        socket.connect(target.address)?;
        socket.set_read_timeout(Some(20 * PAUSE))?;
        socket.send(asked.packet)?;
        let mut buffer = [0; 4096];
        let len = socket.recv(&mut buffer)?;
        let answer = &buffer[..len];
        let is_right = match target.answers {
            Answers::Echoed => answer == asked.packet,
            Answers::Resolved => {
                len > HEADER && answer[3] & 0x0f == 0 && answer.windows(4).any(|octets| octets == asked.want)
            }
        };
        Ok(is_right)
    };
    let is_right = ask().unwrap_or(false);
    if !is_right {
        std::thread::sleep(PAUSE);
    }
    is_right
}
