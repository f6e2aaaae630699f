//! What a query costs a whole server: sachdns, a bare echo, and the peers that are installed, on one machine.
//!
//! `cargo bench --bench network`; `SACHDNS_BENCH=once` measures a small form once, so that the bench cannot rot.
//! The server under test has one core, the generator and an upstream that answers at once have another. A cost
//! is CPU time by the system's accounting over answers received, also in units of E: a bare recvmmsg/sendmmsg
//! echo of the same packets in the same run. Lists and loads are in `load`, the generator is `client`.

mod client;
mod load;
mod measure;
mod plan;
mod process;
#[path = "../random/mod.rs"]
mod random;
mod report;
mod role;
mod sachdns;

use std::fs;
use std::io::{BufWriter, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use client::{Answers, Target};
use load::{Kind, Load, Names, SINKHOLE, UPSTREAM};
use measure::{Samples, Server, Window};
use plan::{Part, Plan};
use process::{Process, free_address};

/// How long sachdns may take to read a list for the first time.
const PATIENCE: Duration = Duration::from_secs(120);
const ECHO: &str = "echo";
const SACHDNS: &str = "sachdns";
const SACHDNS_HITS: &str = "sachdns, hits logged";
const SACHDNS_LARGE: &str = "sachdns, large list";

fn main() {
    role::play_if_asked();
    let plan = Plan::from_env();
    let scratch = Scratch::new();
    let bench = Bench::new(&plan, &scratch.0);
    let samples = bench.run();
    println!("{}", report::markdown(&samples));
    let wrong: u64 = samples
        .iter()
        .filter(|((_, name), _)| name.starts_with(SACHDNS) || name == ECHO)
        .flat_map(|(_, samples)| samples)
        .map(|sample| sample.wrong + sample.failed)
        .sum();
    drop(bench);
    drop(scratch);
    if wrong > 0 {
        eprintln!("{wrong} answers were wrong: see above");
        std::process::exit(1);
    }
}

/// The run's folder, which goes with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("sachdns-network-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("the temporary folder can be written");
        Self(folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A server that was killed no longer writes.
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Bench<'a> {
    plan: &'a Plan,
    folder: &'a Path,
    core: usize,
    upstream: SocketAddr,
    _upstream: Process,
    names: Names,
    list: PathBuf,
}

impl<'a> Bench<'a> {
    fn new(plan: &'a Plan, folder: &'a Path) -> Self {
        let cores = role::cores();
        let (core, own) = (cores[0], *cores.get(1).unwrap_or(&cores[0]));
        if core == own {
            eprintln!(
                "one core only: the server shares it with the generator, and figures are worse for all"
            );
        }
        role::pin(own);
        let upstream = free_address();
        let process =
            Process::play(own, role::UPSTREAM_ROLE, upstream, folder).expect("this binary runs again");
        let names = Names::new(plan.listed, plan.popular);
        let list = write_list(&folder.join("list.txt"), &names.listed);
        Self { plan, folder, core, upstream, _upstream: process, names, list }
    }

    fn run(&self) -> Samples {
        let plan = self.plan;
        let echo = self.echo();
        let sachdns = self.sachdns(SACHDNS, &self.list, "all", &self.names);
        let servers = [&echo, &sachdns];

        let window = Window { in_flight: plan.in_flight, time: plan.window };
        let mut samples = Samples::new();
        let loads = [
            (Part::Hits, Kind::Hits),
            (Part::Cached, Kind::Cached),
            (Part::Mixed, Kind::Mixed),
            (Part::Misses, Kind::Misses),
        ];
        for (part, kind) in loads {
            if plan.measures(part) {
                let mut load = Load::new(kind, &self.names);
                self.warm(&servers, kind, &mut load);
                measure::interleave(&servers, kind, &mut load, window, plan.repetitions, &mut samples);
            }
        }
        if plan.measures(Part::Log) {
            let hits = self.sachdns(SACHDNS_HITS, &self.list, "hits", &self.names);
            let servers = [&echo, &sachdns, &hits];
            let mut load = Load::new(Kind::Cached, &self.names);
            self.warm(&servers, Kind::Cached, &mut load);
            measure::interleave(&servers, Kind::Cached, &mut load, window, plan.repetitions, &mut samples);
        }
        if plan.measures(Part::Large) {
            let names = Names::new(plan.listed_large, 0);
            let list = write_list(&self.folder.join("large.txt"), &names.listed);
            let large = self.sachdns(SACHDNS_LARGE, &list, "all", &names);
            let mut load = Load::new(Kind::Hits, &names);
            let servers = [&echo, &large];
            self.warm(&servers, Kind::Hits, &mut load);
            measure::interleave(&servers, Kind::Hits, &mut load, window, plan.repetitions, &mut samples);
        }
        samples
    }

    /// Fills caches and brings lists into memory.
    fn warm(&self, servers: &[&Server], kind: Kind, load: &mut Load) {
        for server in servers {
            if matches!(kind, Kind::Cached | Kind::Mixed) && server.target.answers == Answers::Resolved {
                let mut popular = Load::each_popular(&self.names);
                let count = popular.len();
                client::closed_count(server.target, &mut popular, self.plan.in_flight, count);
            }
            client::closed(server.target, load, self.plan.in_flight, self.plan.window / 4);
        }
    }

    fn echo(&self) -> Server {
        let address = free_address();
        let process =
            Process::play(self.core, role::ECHO, address, self.folder).expect("this binary runs again");
        let target = Target { address, answers: Answers::Echoed };
        self.ready(ECHO, process, target, &self.names)
    }

    fn sachdns(&self, name: &str, list: &Path, log: &str, names: &Names) -> Server {
        let folder = self.folder.join(name.replace([',', ' '], "-"));
        let setup = sachdns::Setup { folder, list, log, listen: free_address(), upstream: self.upstream };
        setup.write();
        let process = setup.start(self.core).expect("cargo built the binary");
        let target = Target { address: setup.listen, answers: Answers::Resolved };
        self.ready(name, process, target, names)
    }

    fn ready(&self, name: &str, mut process: Process, target: Target, names: &Names) -> Server {
        let begun = Instant::now();
        let mut queries = Load::single(&names.listed[0], SINKHOLE);
        process.await_answers(target, &mut queries, PATIENCE).unwrap_or_else(|trouble| {
            eprintln!("{name}: {trouble}");
            std::process::exit(1);
        });
        let mut queries = Load::single(&self.names.popular[0], UPSTREAM);
        process.await_answers(target, &mut queries, PATIENCE).unwrap_or_else(|trouble| {
            eprintln!("{name}: {trouble}");
            std::process::exit(1);
        });
        eprintln!("{name}: ready after {:.1} s", begun.elapsed().as_secs_f64());
        Server { name: name.to_owned(), process, target }
    }
}

fn write_list(path: &Path, names: &[String]) -> PathBuf {
    let write = || -> std::io::Result<()> {
        let mut file = BufWriter::new(fs::File::create(path)?);
        for name in names {
            writeln!(file, "{name}")?;
        }
        file.flush()
    };
    write().expect("the temporary folder can be written");
    path.to_owned()
}
