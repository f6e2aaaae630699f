//! What the tests stand on: the server under test, upstreams, clients, and the running of commands.
//!
//! Nothing here judges `sachdns`; every expectation stands in a test.

pub(crate) mod authority;
pub(crate) mod browser;
pub(crate) mod clickhouse;
pub(crate) mod dig;
pub(crate) mod house;
pub(crate) mod http;
pub(crate) mod internet;
pub(crate) mod judges;
pub(crate) mod named;
pub(crate) mod namespace;
pub(crate) mod nsd;
pub(crate) mod openid;
pub(crate) mod peer;
pub(crate) mod pictures;
pub(crate) mod primary;
pub(crate) mod province;
pub(crate) mod publisher;
pub(crate) mod receiver;
pub(crate) mod record;
pub(crate) mod scripted;
pub(crate) mod secondary;
pub(crate) mod secure;
pub(crate) mod server;
pub(crate) mod signed;
pub(crate) mod signer;
pub(crate) mod staff;
pub(crate) mod tls;
pub(crate) mod unbound;
pub(crate) mod unbound_subscriber;
pub(crate) mod visitor;
pub(crate) mod wilds;
pub(crate) mod wire;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// More than any command or answer takes on a busy machine with two cores.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// The exit code; a death by signal fails the test.
    #[track_caller]
    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("ended by a signal: {self:#?}"))
    }

    /// Fails the test unless the command ended well.
    #[track_caller]
    pub(crate) fn well(self) -> Self {
        assert!(self.status.success(), "{self:#?}");
        self
    }
}

/// A command with these words in front of it: `nsenter` and what it wants, or none.
pub(crate) fn within(words: &[String], program: &str) -> Command {
    let mut words = words.iter().map(String::as_str).chain([program]);
    let mut command = Command::new(words.next().unwrap_or(program));
    command.args(words);
    command
}

/// Whether namespaces and the files of root's are ours without more ado.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs a command to its end, and kills it when that takes longer than [`PATIENCE`].
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Finished {
    run_for(PATIENCE, command)
}

/// As [`run`], for commands that take longer.
#[track_caller]
pub(crate) fn run_for(limit: Duration, command: &mut Command) -> Finished {
    let shown = format!("{command:?}");
    let child = spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()));
    let pid = Pid::from_child(&child);
    let (done, finished) = mpsc::channel();
    thread::spawn(move || done.send(child.wait_with_output()));
    let output = finished.recv_timeout(limit).unwrap_or_else(|_| {
        // Not waited for yet, so the id is still its own.
        let _ = kill_process(pid, Signal::KILL);
        panic!("no end within {limit:?}: {shown}")
    });
    let output = output.unwrap();
    Finished {
        status: output.status,
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Starts a command, and says how to get it when it is not installed.
#[track_caller]
pub(crate) fn spawn(command: &mut Command) -> Child {
    command.spawn().unwrap_or_else(|error| {
        let program = command.get_program().to_string_lossy().into_owned();
        let package = match &*program {
            "certutil" => "libnss3-tools",
            "chromedriver" => "chromium-driver",
            "clickhouse-server" => "clickhouse-server",
            "chromium" => "chromium",
            "curl" => "curl",
            "dig" | "nsupdate" => "bind9-dnsutils",
            "dnsdist" => "dnsdist",
            "dnsmasq" => "dnsmasq-base",
            "dnstap-ldns" => "dnstap-ldns",
            "fstrm_capture" => "fstrm-bin",
            "kdig" => "knot-dnsutils",
            "knotd" => "knot",
            "named" => "bind9",
            "nft" => "nftables",
            "rsyslogd" => "rsyslog",
            "pdftoppm" | "pdftotext" => "poppler-utils",
            "socat" => "socat",
            "named-checkzone" => "bind9-utils",
            "openssl" => "openssl",
            "stubby" => "stubby",
            "ldns-keygen" | "ldns-signzone" => "ldnsutils",
            "nginx" => "nginx-light",
            "tinyproxy" => "tinyproxy-bin",
            "unbound" => "unbound",
            "unshare" | "nsenter" => "util-linux",
            _ => panic!("{program}: {error}"),
        };
        panic!("{program}: {error}; it is in Debian's package {package}: run `make test-deps`")
    })
}

/// Waits for `condition`, which only asking again shows.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        // What is waited for needs the processors too.
        thread::sleep(Duration::from_millis(5));
    }
}

/// Waits for the end of a child that was told to end.
///
/// `None` when it has not ended within `limit`. A standard library without a timed wait leaves
/// only asking again and again.
pub(crate) fn wait_for_end(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if start.elapsed() > limit {
            return None;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Everything that a process has written to a pipe so far; can be waited on.
#[derive(Clone)]
pub(crate) struct Lines(Arc<(Mutex<Written>, Condvar)>);

#[derive(Default)]
struct Written {
    lines: Vec<String>,
    is_ended: bool,
}

impl Lines {
    pub(crate) fn follow(pipe: impl Read + Send + 'static) -> Self {
        let lines = Self(Arc::default());
        let shared = lines.clone();
        thread::spawn(move || {
            let (written, changed) = &*shared.0;
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while matches!(pipe.read_until(b'\n', &mut line), Ok(read) if read > 0) {
                written.lock().unwrap().lines.push(String::from_utf8_lossy(&line).trim_end().to_owned());
                changed.notify_all();
                line.clear();
            }
            written.lock().unwrap().is_ended = true;
            changed.notify_all();
        });
        lines
    }

    /// The first line that `wanted` takes; `None` when the pipe closes or `limit` passes first.
    pub(crate) fn wait(&self, limit: Duration, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let (written, changed) = &*self.0;
        let until = Instant::now() + limit;
        let mut written = written.lock().unwrap();
        loop {
            if let Some(line) = written.lines.iter().find(|line| wanted(line)) {
                return Some(line.clone());
            }
            let left = until.saturating_duration_since(Instant::now());
            if written.is_ended || left.is_zero() {
                return None;
            }
            written = changed.wait_timeout(written, left).unwrap().0;
        }
    }

    /// Waits until the process closed the pipe.
    pub(crate) fn wait_closed(&self) {
        let (written, changed) = &*self.0;
        let written = written.lock().unwrap();
        let _closed = changed.wait_timeout_while(written, PATIENCE, |written| !written.is_ended).unwrap();
    }

    pub(crate) fn text(&self) -> String {
        self.0.0.lock().unwrap().lines.join("\n")
    }
}
