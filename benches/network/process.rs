//! Servers as processes: started on their core, ended with the bench, and what they cost by the system's
//! accounting. What a server is configured to do stands with that server.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::{Answers, Target};
use crate::load::{Asked, HEADER, Load};
use crate::role;

/// How long a server that begins to listen is left alone between two questions.
const PAUSE: Duration = Duration::from_millis(1);

/// Why a server cannot be measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
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

    /// Waits until the server gives the right answer to each of `queries`.
    pub(crate) fn await_answers(
        &mut self,
        target: Target,
        queries: &mut Load,
        patience: Duration,
    ) -> Result<(), Trouble> {
        let begun = Instant::now();
        for _ in 0..queries.len() {
            let asked = queries.next();
            let mut tries = 0;
            while !is_answered(target, &asked) {
                tries += 1;
                if tries % 20 == 0
                    && let Ok(Some(status)) = self.child.try_wait()
                {
                    return Err(Trouble::Ended { status, words: self.last_words() });
                }
                if begun.elapsed() > patience {
                    return Err(Trouble::Silent { patience, words: self.last_words() });
                }
            }
        }
        Ok(())
    }

    /// Nanoseconds on a CPU so far, of all threads and children.
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

    /// The process and what it started.
    fn family(&self) -> Vec<u32> {
        let mut family = vec![self.child.id()];
        let mut at = 0;
        while let Some(pid) = family.get(at) {
            for task in tasks(*pid) {
                let children = fs::read_to_string(task.join("children")).unwrap_or_default();
                family.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
            }
            at += 1;
        }
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
            if let Some(pid) = rustix::process::Pid::from_raw(pid.cast_signed()) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
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

fn tasks(pid: u32) -> impl Iterator<Item = PathBuf> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    tasks.into_iter().flatten().flatten().map(|task| task.path())
}

/// Asks once, and waits a moment.
fn is_answered(target: Target, asked: &Asked<'_>) -> bool {
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
