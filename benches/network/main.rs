//! What a query costs a whole server: sachdns, a bare echo, and the peers that are installed, on one machine.
//!
//! `cargo bench --bench network`, or `make bench` with all others. The server under test has one core, the
//! generator and an upstream that answers at once have another. A cost is CPU time by the system's accounting
//! over answers received, also in units of E: a bare recvmmsg/sendmmsg echo of the same packets in the same run.
//!
//! | variable | what it does |
//! |---|---|
//! | `SACHDNS_BENCH=once` | measures a tiny form once, so that the bench cannot rot |
//! | `SACHDNS_BENCH_ONLY=sachdns,unbound` | only these servers; the echo is always there |
//! | `SACHDNS_BENCH_LOADS=a,b,c,d,log,large,steady,start,reload,dnsperf` | only these parts |
//! | `SACHDNS_BENCH_WRITE=docs` | writes `docs/bench.md`, `docs/bench.svg` and the part of README.md that shows them |
//!
//! Lists and loads are in `load`, the generator is `client`, the order of things is in `bench`.

mod bench;
mod chart;
mod client;
mod load;
mod measure;
mod peers;
mod plan;
mod process;
#[path = "../random/mod.rs"]
mod random;
mod report;
mod role;
mod sachdns;

use std::fs;
use std::path::PathBuf;

use plan::Plan;

fn main() {
    role::play_if_asked();
    let plan = Plan::from_env(&bench::servers());
    let scratch = Scratch::new();
    let findings = bench::run(&plan, &scratch.0);
    drop(scratch);
    let findings = findings.unwrap_or_else(|trouble| {
        eprintln!("sachdns, an echo or the upstream: {trouble}");
        std::process::exit(1);
    });
    // Also when it is written: a full disk must not take the figures along.
    println!("{}", report::whole(&findings));
    if let Some(folder) = &plan.write {
        report::write(&findings, folder).expect("the report's files can be written");
    }
    let wrong = findings.own_wrong_answers();
    if wrong > 0 {
        eprintln!("{wrong} wrong answers, shown above: these figures are worth nothing");
        std::process::exit(1);
    }
}

/// The run's folder, which goes with it, also when a signal ends the bench.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("sachdns-network-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("the temporary folder can be written");
        let watched = folder.clone();
        std::thread::spawn(move || {
            until_interrupted().expect("signals can be awaited");
            // Servers first: they would make their files again.
            process::end_all();
            let _ = fs::remove_dir_all(watched);
            std::process::exit(130);
        });
        Self(folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The servers are gone and write no more.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn until_interrupted() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        Ok(())
    })
}
