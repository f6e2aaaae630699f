//! What a policy costs as it grows: time and memory to build it in a server's child process, octets a name, the
//! server's own memory, time to write it as a zone, and how soon a changed list is in force.
//!
//! `cargo bench --bench policy` starts the real binary with 100 thousand, 1 million and 10 million random names, and with
//! the real list of 831 thousand names with their families where `SACHDNS_DATA` names the folder that holds
//! `large/maltrail-domains-by-family.tsv.xz`. `SACHDNS_BENCH=once` runs a small size once, so that the bench cannot rot.

mod random;

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use random::Random;

const BINARY: &str = env!("CARGO_BIN_EXE_sachdns");
/// How often a child's memory is looked at: its peak only grows, so little is missed at its end.
const LOOK: Duration = Duration::from_millis(5);
/// Longer than any of this may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// Of how many names one is another after an update.
const CHANGED: usize = 100;

fn main() {
    let is_short = std::env::var_os("SACHDNS_BENCH").is_some_and(|value| value == "once");
    println!(
        "| list | names | octets a name | start with build | build's peak | server then | as a zone | export's peak | 1 % changed | build's peak | server's peak |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    if is_short {
        measure("random", |list| random_list(list, 10_000));
        return;
    }
    for count in [100_000, 1_000_000, 10_000_000] {
        measure("random", |list| random_list(list, count));
    }
    match std::env::var_os("SACHDNS_DATA") {
        Some(data) => {
            let xz = Path::new(&data).join("large/maltrail-domains-by-family.tsv.xz");
            measure("real, with families", |list| unpack(&xz, list));
        }
        None => println!("| real, with families | SACHDNS_DATA is not set | | | | | | | | | |"),
    }
}

fn measure(kind: &str, list: impl FnOnce(&Path) -> io::Result<()>) {
    let house = House::new();
    list(&house.list()).expect("the list can be written");
    let server = Server::start(&house);
    let start = server.begun.elapsed();
    let build_peak = server.watch.take();
    let resident = status(server.child.id(), "VmRSS:");

    let stat = house.run(&["policy", "stat"]);
    let field = |name: &str| {
        let line = stat.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim().split(' ').next().and_then(|number| number.parse::<u64>().ok()).unwrap_or_default()
    };
    let (names, bytes) = (field("names"), field("bytes"));

    let begun = Instant::now();
    let export_peak = house.export();
    let export = begun.elapsed();

    let news = house.change().expect("the list can be changed");
    forget_peak(server.child.id());
    let begun = Instant::now();
    fs::rename(house.next(), house.list()).expect("both are in one folder");
    house.run(&["reload"]);
    server.await_sinkhole(&news);
    let update = begun.elapsed();
    let (update_peak, server_peak) = (server.watch.take(), status(server.child.id(), "VmHWM:"));

    println!(
        "| {kind} | {names} | {:.2} | {} | {} | {} | {} | {} | {} | {} | {} |",
        bytes as f64 / names.max(1) as f64,
        seconds(start),
        mebibytes(build_peak),
        mebibytes(resident),
        seconds(export),
        mebibytes(export_peak),
        seconds(update),
        mebibytes(update_peak),
        mebibytes(server_peak),
    );
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

fn mebibytes(octets: u64) -> String {
    format!("{} MiB", octets >> 20)
}

/// A folder with a configuration and a list; gone with the bench.
struct House {
    folder: PathBuf,
}

impl House {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("sachdns-bench-policy-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("the temporary folder can be written");
        let house = Self { folder };
        let config = format!(
            "data_dir = \"{}\"\ndiagnostics = \"warn\"\n[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n\
             [resolver]\nupstreams = [\"127.0.0.1:9\"]\n[sinkhole]\nhttp_listen = []\n\
             [[feed]]\nname = \"bench\"\nsource = \"{}\"\nformat = \"plain\"\n",
            house.folder.join("data").display(),
            house.list().display()
        );
        fs::write(house.config(), config).expect("the temporary folder can be written");
        house
    }

    fn config(&self) -> PathBuf {
        self.folder.join("sachdns.toml")
    }

    fn list(&self) -> PathBuf {
        self.folder.join("list.txt")
    }

    /// The list's next version.
    fn next(&self) -> PathBuf {
        self.folder.join("next.txt")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.args(words).arg("--config").arg(self.config()).stdin(Stdio::null());
        command
    }

    /// What a command says.
    fn run(&self, words: &[&str]) -> String {
        let output =
            self.command(words).stderr(Stdio::inherit()).output().expect("the binary can be started");
        assert!(output.status.success(), "{words:?}");
        String::from_utf8(output.stdout).expect("it speaks UTF-8")
    }

    /// Writes the policy as a zone, and gives the most memory that it took.
    fn export(&self) -> u64 {
        let mut command = self.command(&["policy", "export", "--format", "rpz"]);
        let mut child = command
            .arg("--output")
            .arg(self.folder.join("policy.zone"))
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary can be started");
        let mut peak = 0;
        loop {
            peak = peak.max(status(child.id(), "VmHWM:"));
            match child.try_wait().expect("it is a child") {
                Some(status) => {
                    assert!(status.success(), "the export failed");
                    return peak;
                }
                None => thread::sleep(LOOK),
            }
        }
    }

    /// Writes the next version of the list, with other names in place of some; returns one of them.
    fn change(&self) -> io::Result<String> {
        let mut random = Random(99);
        let mut news = String::new();
        let mut out = BufWriter::new(File::create(self.next())?);
        for (number, line) in BufReader::new(File::open(self.list())?).lines().enumerate() {
            if number % CHANGED == 0 {
                news = random.name();
                writeln!(out, "{news}")?;
            } else {
                writeln!(out, "{}", line?)?;
            }
        }
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        Ok(news)
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A running server, and who watches what it starts.
struct Server {
    child: Child,
    dns: SocketAddr,
    begun: Instant,
    watch: Watch,
}

impl Server {
    /// Starts it, and waits until it is ready.
    fn start(house: &House) -> Self {
        let begun = Instant::now();
        let mut child =
            house.command(&["serve"]).stderr(Stdio::piped()).spawn().expect("the binary can be started");
        let watch = Watch::start(child.id());
        let said = BufReader::new(child.stderr.take().expect("it is a pipe"));
        let mut server = Self { child, dns: (Ipv4Addr::LOCALHOST, 0).into(), begun, watch };
        let mut lines = said.lines();
        loop {
            let line = lines.next().expect("it ends only when it cannot start").expect("it speaks UTF-8");
            if let Some(address) = line.strip_prefix("listening dns ") {
                server.dns = address.parse().expect("an address");
            }
            if line == "ready" {
                return server;
            }
        }
    }

    /// Asks until the name is sinkholed.
    fn await_sinkhole(&self, name: &str) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
        socket.connect(self.dns).expect("loopback");
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("not zero");
        let mut query = b"\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00".to_vec();
        for label in name.split('.') {
            query.push(label.len() as u8);
            query.extend(label.as_bytes());
        }
        query.extend(b"\x00\x00\x01\x00\x01");
        let begun = Instant::now();
        let mut answer = [0; 512];
        loop {
            socket.send(&query).expect("loopback");
            if socket
                .recv(&mut answer)
                .is_ok_and(|len| answer[..len].windows(4).any(|it| it == [10, 10, 10, 10]))
            {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{name} is never sinkholed");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sees the peak of a process's children.
struct Watch {
    peak: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
}

impl Watch {
    fn start(parent: u32) -> Self {
        let watch = Self { peak: Arc::default(), is_over: Arc::default() };
        let (peak, is_over) = (Arc::clone(&watch.peak), Arc::clone(&watch.is_over));
        thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                for child in children(parent) {
                    peak.fetch_max(status(child, "VmHWM:"), Ordering::Relaxed);
                }
                thread::sleep(LOOK);
            }
        });
        watch
    }

    /// The peak since it was last asked for.
    fn take(&self) -> u64 {
        self.peak.swap(0, Ordering::Relaxed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// What any of a process's threads started.
fn children(parent: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
    let of_task = |task: fs::DirEntry| fs::read_to_string(task.path().join("children")).unwrap_or_default();
    let text: Vec<String> = tasks.map(of_task).collect();
    text.iter().flat_map(|text| text.split_whitespace()).filter_map(|pid| pid.parse().ok()).collect()
}

/// Octets in a field of a process's status; 0 when it is gone.
fn status(pid: u32, field: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.trim().strip_suffix(" kB").and_then(|number| number.parse::<u64>().ok()).unwrap_or_default() * 1024
}

fn forget_peak(pid: u32) {
    // Best effort: otherwise the peak is that since the start.
    let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

fn random_list(path: &Path, count: usize) -> io::Result<()> {
    let mut random = Random(7);
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    for _ in 0..count {
        writeln!(out, "{}", random.name())?;
    }
    out.flush()
}

fn unpack(xz: &Path, path: &Path) -> io::Result<()> {
    let status = Command::new("xz").arg("-dc").arg(xz).stdout(File::create(path)?).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("xz failed")) }
}
