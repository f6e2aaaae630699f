//! The server under test: a child process that is killed, by its own id, when the test drops it.

use std::net::SocketAddr;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::dig::Dig;
use super::house::House;
use super::record::Record;
use super::{Finished, Lines, PATIENCE, wait_for_end, wire};

/// A `sachdns serve` that said `ready`.
pub(crate) struct Server {
    /// `None` once it has been stopped.
    child: Option<Child>,
    lines: Lines,
    /// Taken by [`Self::stop`].
    house: Option<House>,
    /// Where it answers over UDP and TCP.
    pub(crate) dns: SocketAddr,
    /// Where it answers over TLS, HTTPS and QUIC, when it is told to.
    pub(crate) tls: Option<SocketAddr>,
    pub(crate) https: Option<SocketAddr>,
    pub(crate) quic: Option<SocketAddr>,
    /// Where the landing page is, when `sinkhole.http_listen` is set.
    pub(crate) http: Option<SocketAddr>,
    /// Where lists are, when `export.listen` is set.
    pub(crate) export: Option<SocketAddr>,
    /// Where the console is, when `console.listen` is set.
    pub(crate) console: Option<SocketAddr>,
}

/// What is left of a server that was stopped.
pub(crate) struct Stopped {
    pub(crate) status: ExitStatus,
    pub(crate) stderr: String,
    /// From the signal to the end.
    pub(crate) took: Duration,
    pub(crate) house: House,
}

impl Server {
    #[track_caller]
    pub(crate) fn start(house: House) -> Self {
        let (child, lines) = house.spawn_serve();
        Self::follow(house, child, lines)
    }

    /// Waits until a server that was spawned in this house is ready.
    #[track_caller]
    pub(crate) fn follow(house: House, child: Child, lines: Lines) -> Self {
        // From here on, a panic kills it.
        let mut server = Self {
            child: Some(child),
            lines,
            house: Some(house),
            dns: SocketAddr::from(([0, 0, 0, 0], 0)),
            tls: None,
            https: None,
            quic: None,
            http: None,
            export: None,
            console: None,
        };
        if server.lines.wait(PATIENCE, |line| line == "ready").is_none() {
            panic!("`sachdns serve` is not ready; its standard error:\n{}", server.lines.text());
        }
        let listening = |kind: &str| {
            let start = format!("listening {kind} ");
            server.lines.wait(Duration::ZERO, |line| line.starts_with(&start)).map(|line| {
                let address = &line[start.len()..];
                address.parse().unwrap_or_else(|error| panic!("{line:?}: {error}"))
            })
        };
        let Some(dns) = listening("dns") else {
            panic!("no line `listening dns ADDRESS` before `ready`:\n{}", server.lines.text());
        };
        let [tls, https, quic, http, export] = ["tls", "https", "quic", "http", "export"].map(listening);
        server.dns = dns;
        (server.tls, server.https, server.quic) = (tls, https, quic);
        (server.http, server.export, server.console) = (http, export, listening("console"));
        server
    }

    pub(crate) fn house(&self) -> &House {
        self.house.as_ref().expect("only `stop` takes the house, and the server with it")
    }

    /// A `dig` to this server.
    pub(crate) fn dig(&self) -> Dig {
        Dig::at(self.dns)
    }

    /// Sends a message over UDP and gives the answer's octets.
    #[track_caller]
    pub(crate) fn ask(&self, query: &wire::Query) -> Vec<u8> {
        wire::udp(self.dns, &query.bytes()).unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    /// The log's records, newest first.
    #[track_caller]
    pub(crate) fn log(&self, filters: &[&str]) -> Vec<Record> {
        self.house().log(filters)
    }

    /// The only record of this name; another number of them fails the test.
    #[track_caller]
    pub(crate) fn record_of(&self, qname: &str) -> Record {
        let mut records = self.log(&["--name", qname]);
        assert_eq!(records.len(), 1, "records of {qname}: {records:#?}");
        records.remove(0)
    }

    /// `sachdns reload`.
    #[track_caller]
    pub(crate) fn reload(&self) -> Finished {
        self.house().run("reload", &[])
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().expect("a server that was not stopped"))
    }

    /// How long processors have worked for it so far.
    pub(crate) fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid().as_raw_nonzero())).unwrap();
        // The program's name, in parentheses, may hold blanks. utime and stime are the 14th and 15th field.
        let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
        Duration::from_secs(ticks) / u32::try_from(rustix::param::clock_ticks_per_second()).unwrap()
    }

    /// Waits until it has a version of a zone that it publishes.
    #[track_caller]
    pub(crate) fn await_published(&self, zone: &str) {
        let until = Instant::now() + PATIENCE;
        // Whom it is not for is refused once it is there, and before.
        while self.dig().from("127.0.0.9").ask(zone, "SOA").status == "SERVFAIL"
            || self.dig().ask(zone, "SOA").status == "SERVFAIL"
        {
            assert!(Instant::now() < until, "no version of {zone}:\n{}", self.lines.text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What it has written to standard error.
    pub(crate) fn stderr(&self) -> &Lines {
        &self.lines
    }

    /// Fails the test when the server has ended or a thread of it has panicked.
    #[track_caller]
    pub(crate) fn assert_well(&mut self) {
        let ended = self.child.as_mut().and_then(|child| child.try_wait().unwrap());
        let stderr = self.lines.text();
        assert!(ended.is_none(), "the server ended ({ended:?}):\n{stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
    }

    /// Sends a signal and waits for the end.
    #[track_caller]
    pub(crate) fn stop(mut self, signal: Signal) -> Stopped {
        self.signal(signal);
        let start = Instant::now();
        let child = self.child.as_mut().expect("a server that was not stopped");
        let Some(status) = wait_for_end(child, PATIENCE) else {
            panic!("no end within {PATIENCE:?} of {signal:?}:\n{}", self.lines.text());
        };
        let took = start.elapsed();
        self.child = None;
        self.lines.wait_closed();
        let house = self.house.take().expect("only `stop` takes the house");
        Stopped { status, stderr: self.lines.text(), took, house }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- standard error of sachdns ---\n{}\n---", self.lines.text());
        }
    }
}
