//! A policy is built in a process beside the server: it costs the server no memory, gives way, and
//! ends with it.

use std::fs::{self, File};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::house::{CONFIG, House, Setup};
use crate::harness::server::Server;
use crate::harness::{PATIENCE, nsd, spawn};

/// So many that their build can be met on its way.
const MANY: usize = 300_000;

fn house() -> House {
    Setup::new(nsd::address()).feed("authority", "first.example\n").lay()
}

/// A list without `first.example`, and with `last.example` at its end.
fn many() -> String {
    let mut names: String =
        (0..MANY).map(|number| format!("{:x}.example\n", number * 2_654_435_761)).collect();
    names += "last.example\n";
    names
}

#[track_caller]
fn assert_in_force(server: &Server, qname: &str) {
    assert_eq!(server.dig().ask(qname, "A").rdata("A"), ["10.10.10.10"], "{qname}");
}

/// Waits for it: nobody asked for a reload.
#[track_caller]
fn await_in_force(server: &Server, qname: &str) {
    let start = Instant::now();
    while server.dig().ask(qname, "A").rdata("A") != ["10.10.10.10"] {
        assert!(start.elapsed() < 4 * PATIENCE, "{qname} is not in force");
        thread::sleep(Duration::from_millis(20));
    }
}

/// What the system says of a process that it still runs.
struct Process {
    pid: Pid,
    parent: i32,
    nice: i32,
}

impl Process {
    fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is a name in parentheses, which may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let is_running = !matches!(fields[0], "Z" | "X");
        let (parent, nice) = (fields[1].parse().unwrap(), fields[16].parse().unwrap());
        is_running.then_some(Self { pid: Pid::from_raw(pid)?, parent, nice })
    }

    /// The one that builds for `server`, as soon as it has stepped back.
    #[track_caller]
    fn building_for(server: Pid) -> Self {
        let start = Instant::now();
        loop {
            assert!(start.elapsed() < PATIENCE, "nothing builds for {server:?}");
            let pids = fs::read_dir("/proc")
                .unwrap()
                .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
            let found = pids
                .filter_map(Self::of)
                .find(|process| process.parent == server.as_raw_nonzero().get() && process.nice == 10);
            if let Some(found) = found {
                return found;
            }
            thread::yield_now();
        }
    }

    #[track_caller]
    fn assert_ends(&self) {
        let start = Instant::now();
        while Self::of(self.pid.as_raw_nonzero().get()).is_some() {
            assert!(start.elapsed() < PATIENCE, "the build goes on");
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The most memory that the server has ever had, in octets.
fn most_memory(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid().as_raw_nonzero())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn a_build_that_is_killed_leaves_the_old_policy() {
    let house = house();
    house.write("authority.txt", &many());
    let mut server = house.serve();
    assert_in_force(&server, "last.example");
    // The settings change and no file does: nobody else builds.
    let config = server.house().read(CONFIG);
    server.house().write(CONFIG, &config.replace("\"sinkhole\"\n", "\"nxdomain\"\n"));
    let mut command = server.house().command(&["reload", "--config", CONFIG]);
    let reload = spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()));
    let builder = Process::building_for(server.pid());
    // As the system does where memory is short.
    kill_process(builder.pid, Signal::KILL).unwrap();
    let output = reload.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("SIGKILL") && stderr.contains("memory"), "{stderr}");
    assert_in_force(&server, "last.example");
    server.assert_well();

    server.reload().well();
    assert_eq!(server.dig().ask("last.example", "A").status, "NXDOMAIN");
    let files: Vec<_> = server.house().data_files();
    assert!(files.iter().all(|file| file.extension().is_none_or(|it| it != "tmp")), "{files:?}");
}

/// The server finds the new list by itself: a reload beside that would map the image once more, and mapped
/// octets count here.
#[test]
fn a_new_list_takes_no_memory_beside_its_image() {
    let server = house().serve();
    assert_in_force(&server, "first.example");
    let before = most_memory(&server);
    server.house().write("authority.txt", &many());
    await_in_force(&server, "last.example");
    let grown = most_memory(&server) - before;
    let image = fs::metadata(server.house().path().join("data/policy.img")).unwrap().len();
    assert!(image > 1_000_000, "{image}");
    // The list itself would be 9 MB; the search of the log for what is new takes a part of it at a time.
    assert!(grown < image + (6 << 20), "{grown} octets more, for an image of {image}");
}

#[test]
fn a_stop_waits_for_no_build() {
    let server = house().serve();
    server.house().write("authority.txt", &many());
    server.signal(Signal::HUP);
    let builder = Process::building_for(server.pid());
    let stopped = server.stop(Signal::TERM);
    assert_eq!(stopped.status.code(), Some(0), "{}", stopped.stderr);
    builder.assert_ends();
}

#[test]
fn a_server_that_is_killed_takes_its_build_along() {
    let server = house().serve();
    server.house().write("authority.txt", &many());
    server.signal(Signal::HUP);
    let builder = Process::building_for(server.pid());
    let house = server.stop(Signal::KILL).house;
    builder.assert_ends();
    // The start waits for no feed: the list is in force as soon as it is built.
    let server = house.serve();
    await_in_force(&server, "last.example");
}

#[test]
fn feeds_that_stayed_as_they_were_are_not_read_again() {
    let house = house();
    let feed = File::options().append(true).open(house.path().join("authority.txt")).unwrap();
    // A file that changed a moment ago might change again unnoticed.
    feed.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
    let server = house.serve();
    let image = || {
        use std::os::unix::fs::MetadataExt as _;
        fs::metadata(server.house().path().join("data/policy.img")).unwrap().ino()
    };
    let before = image();
    let config = server.house().read(CONFIG);
    server.house().write(CONFIG, &config.replace("ttl = 30", "ttl = 29"));
    server.reload().well();
    assert_in_force(&server, "first.example");
    assert_eq!(image(), before);

    server.house().write(CONFIG, &config.replace("\"sinkhole\"\n", "\"nxdomain\"\n"));
    server.reload().well();
    assert_ne!(image(), before, "the feed's action is part of the image");
    server.house().write(CONFIG, &config);
    server.house().write("authority.txt", "second.example\n");
    server.reload().well();
    assert_in_force(&server, "second.example");
}
