//! Who gets the query log: programs of others, each in the folder of its test, killed by its own id when that ends.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{PATIENCE, run, spawn, wait_for_end};

/// A receiver that writes what it gets to a file.
pub(crate) struct Receiver {
    child: Child,
    folder: TempDir,
}

/// What it writes.
const OUTPUT: &str = "output";
const SOCKET: &str = "socket";

impl Receiver {
    fn start(program: &str, arguments: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let folder = tempfile::Builder::new().prefix("sachdns-it-").tempdir().unwrap();
        let mut command = Command::new(program);
        command.args(arguments(folder.path())).current_dir(folder.path());
        let child = spawn(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()));
        Self { child, folder }
    }

    /// `fstrm_capture` on a Unix socket.
    pub(crate) fn fstrm_unix() -> Self {
        let receiver = Self::start("fstrm_capture", |_| {
            words(&["-t", "protobuf:dnstap.Dnstap", "-w", OUTPUT, "-u", SOCKET])
        });
        receiver.wait_for(SOCKET);
        receiver
    }

    /// … on TCP.
    pub(crate) fn fstrm_tcp(address: SocketAddr) -> Self {
        Self::start("fstrm_capture", |_| {
            let (ip, port) = (address.ip().to_string(), address.port().to_string());
            words(&["-t", "protobuf:dnstap.Dnstap", "-w", OUTPUT, "-a", &ip, "-p", &port])
        })
    }

    /// `socat` from this address of its to the file.
    pub(crate) fn socat(from: &str) -> Self {
        Self::start("socat", |_| words(&["-u", from, &format!("CREATE:{OUTPUT}")]))
    }

    /// `socat` that takes connections at once, and reads nothing of them for two seconds.
    pub(crate) fn sluggish(from: &str) -> Self {
        Self::start("socat", |_| words(&["-u", from, &format!("SYSTEM:sleep 2; cat > {OUTPUT}")]))
    }

    /// `rsyslogd`, over TCP and UDP: what it understood of each message, with `|` between the fields.
    pub(crate) fn rsyslogd(address: SocketAddr) -> Self {
        Self::start("rsyslogd", |folder| {
            let (ip, port) = (address.ip(), address.port());
            let output = folder.join(OUTPUT);
            let output = output.display();
            let text = format!(
                "module(load=\"imtcp\")\ninput(type=\"imtcp\" address=\"{ip}\" port=\"{port}\")\n\
                 module(load=\"imudp\")\ninput(type=\"imudp\" address=\"{ip}\" port=\"{port}\")\n\
                 template(name=\"fields\" type=\"string\" string=\"%pri-text%|%timestamp:::date-rfc3339%|%hostname%|%app-name%|%msgid%|%msg%\\n\")\n\
                 action(type=\"omfile\" file=\"{output}\" template=\"fields\" asyncWriting=\"off\" flushOnTXEnd=\"on\")\n"
            );
            fs::write(folder.join("rsyslog.conf"), text).unwrap();
            let path = |name: &str| folder.join(name).display().to_string();
            words(&["-n", "-f", &path("rsyslog.conf"), "-i", &path("pid")])
        })
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Where it listens, if that is a Unix socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path(SOCKET)
    }

    /// What it has written so far.
    pub(crate) fn output(&self) -> String {
        fs::read(self.path(OUTPUT))
            .map_or_else(|_| String::new(), |octets| String::from_utf8(octets).unwrap())
    }

    /// Waits until it has written what is wanted.
    #[track_caller]
    pub(crate) fn wait_until(&self, wanted: impl Fn(&str) -> bool) -> String {
        wait_until(|| self.output(), |text| wanted(text))
    }

    fn wait_for(&self, file: &str) {
        wait_until(|| self.path(file).exists(), |is_there| *is_there);
    }

    /// Ends `fstrm_capture` and gives what `dnstap-ldns` reads of its file: a line a message.
    #[track_caller]
    pub(crate) fn dnstap(mut self) -> Vec<String> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        wait_for_end(&mut self.child, PATIENCE).unwrap();
        dnstap(&self.path(OUTPUT))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `dnstap-ldns` reads of a file: a line a message.
#[track_caller]
pub(crate) fn dnstap(file: &Path) -> Vec<String> {
    let finished = run(Command::new("dnstap-ldns").arg("-q").arg("-r").arg(file)).well();
    finished.stdout.lines().map(str::to_owned).collect()
}

/// … and all that it knows of each.
#[track_caller]
pub(crate) fn dnstap_yaml(file: &Path) -> String {
    run(Command::new("dnstap-ldns").arg("-y").arg("-r").arg(file)).well().stdout
}

/// An address whose port nobody uses, for a program that must be told its port.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// Waits until something of another process is as it should be: only asking again and again tells.
#[track_caller]
pub(crate) fn wait_until<T: std::fmt::Debug>(state: impl Fn() -> T, wanted: impl Fn(&T) -> bool) -> T {
    let begun = Instant::now();
    loop {
        let now = state();
        if wanted(&now) {
            return now;
        }
        assert!(begun.elapsed() < PATIENCE, "still: {now:?}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}
