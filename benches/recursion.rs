//! What a name that nobody has asked before costs: time and queries a name, beside other resolvers that recurse.
//!
//! `cargo bench --bench recursion` builds the tests' small internet with a few hundred more zones, and asks each server,
//! freshly started, for one name of each zone: first one after the other, then, freshly started again, fifty at
//! a time. Without and with validation, of zones that are not signed and of zones that are. Queries a name are counted by
//! the namespace: all datagrams but the client's. Unbound and Knot Resolver are asked where they are installed
//! (`make bench-deps`); needs what the tests need, and dnsperf.
//!
//! `SACHDNS_BENCH=once` asks few names once, so that the bench cannot rot; `SACHDNS_BENCH_WRITE=docs` writes
//! `docs/bench-recursion.md`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a bench that meets a surprise ends")]

#[path = "../tests/it/harness/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests need more of it")]
mod harness;

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use harness::dig::Dig;
use harness::internet::{Internet, Zone, tree};
use harness::{Lines, PATIENCE, run, spawn};

const AT_ONCE: usize = 50;

fn main() {
    let is_short = std::env::var_os("SACHDNS_BENCH").is_some_and(|value| value == "once");
    let (count, rounds) = if is_short { (20, 1) } else { (400, 5) };
    if Command::new("dnsperf").arg("-h").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        println!("dnsperf is not installed: `make bench-deps`");
        return;
    }
    let mut zones = tree();
    for number in 0..count {
        // Four servers for all of them, two each.
        let (one, other) = (3 + number % 2, 5 + number % 2);
        let zone = |label: &str| {
            let origin = format!("{label}{number}.example.");
            Zone::new(&origin, "www A 192.0.2.80\nalias CNAME www\n")
                .server(&format!("ns1.{origin}"), &[&format!("127.10.{one}.1")])
                .server(&format!("ns2.{origin}"), &[&format!("127.10.{other}.1")])
        };
        zones.extend([zone("u").unsigned(), zone("s")]);
    }
    let internet = Internet::start(&zones);

    let mut report = format!(
        "{count} names, each of a zone of its own; the median of {rounds} runs. Signed zones: ECDSA P-256, below a \
         top-level domain and a root that are signed too.\n\n\
         | | server | ms a name, one by one | ms for all, {AT_ONCE} at a time | queries a name |\n|---|---|--:|--:|--:|\n"
    );
    for case in [
        Case { title: "not signed, not validated", label: "u", is_validated: false },
        Case { title: "not signed, validated", label: "u", is_validated: true },
        Case { title: "signed, validated", label: "s", is_validated: true },
    ] {
        case.measure(&internet, (count, rounds), &mut report);
    }
    println!("{report}");
    if let Some(folder) = std::env::var_os("SACHDNS_BENCH_WRITE") {
        let text = format!(
            "# What a name costs in recursion\n\nWritten by `make bench-write`. Lower is better.\n\n{report}"
        );
        fs::write(Path::new(&folder).join("bench-recursion.md"), text).unwrap();
    }
}

/// Which names are asked for, and how they are resolved.
struct Case {
    title: &'static str,
    /// What the zones' names begin with.
    label: &'static str,
    is_validated: bool,
}

impl Case {
    fn measure(&self, internet: &Internet, (count, rounds): (usize, usize), report: &mut String) {
        let folder = tempfile::tempdir().unwrap();
        let mut names = String::new();
        for number in 0..count {
            writeln!(names, "www.{}{number}.example A", self.label).unwrap();
        }
        let list = folder.path().join("names");
        fs::write(&list, names).unwrap();
        type Start = fn(&Internet, bool) -> Option<Running>;
        let servers: [(&str, Start); 3] =
            [("sachdns", sachdns), ("unbound", unbound), ("knot-resolver", knot_resolver)];
        for (name, start) in servers {
            let title = self.title;
            let mut measured = Vec::new();
            for _ in 0..rounds {
                let Some(server) = start(internet, self.is_validated) else { break };
                let single = measure(internet, &server, &list, count, 1);
                drop(server);
                let server = start(internet, self.is_validated).unwrap();
                let many = measure(internet, &server, &list, count, AT_ONCE);
                self.check(internet, &server, name);
                measured.push((single, many));
            }
            if measured.is_empty() {
                writeln!(report, "| {title} | {name} | not installed | | |").unwrap();
                continue;
            }
            let median = |value: fn(&(Measured, Measured)) -> f64| {
                let mut values: Vec<f64> = measured.iter().map(value).collect();
                values.sort_by(f64::total_cmp);
                values[values.len() / 2]
            };
            writeln!(
                report,
                "| {title} | {name} | {:.3} | {:.1} | {:.2} |",
                median(|(single, _)| single.latency),
                median(|(_, many)| many.total),
                median(|(single, _)| single.queries)
            )
            .unwrap();
        }
    }

    /// Fails unless the server validates what it should.
    fn check(&self, internet: &Internet, server: &Running, name: &str) {
        let dig = internet.dig(server.address).with("+dnssec");
        let reply = dig.ask(&format!("www.{}0.example", self.label), "A");
        let is_secure = self.is_validated && self.label == "s";
        assert_eq!(reply.has_flag("ad"), is_secure, "{name}, {}: {}", self.title, reply.raw);
    }
}

/// A server that is ended when dropped.
struct Running {
    address: SocketAddr,
    _server: Box<dyn std::any::Any>,
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn sachdns(internet: &Internet, is_validated: bool) -> Option<Running> {
    let dnssec = format!("dnssec = {is_validated}\n");
    let server = internet.house(&dnssec, "[log]\nqueries = \"hits\"\n").serve();
    Some(Running { address: server.dns, _server: Box::new(server) })
}

fn unbound(internet: &Internet, is_validated: bool) -> Option<Running> {
    is_installed("unbound").then(|| {
        let modules = if is_validated { "validator iterator" } else { "iterator" };
        let server = internet.unbound(&format!("module-config: \"{modules}\""));
        Running { address: server.address, _server: Box::new(server) }
    })
}

fn knot_resolver(internet: &Internet, is_validated: bool) -> Option<Running> {
    if !is_installed("kresd") {
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("kresd.conf");
    let hints = internet.hints();
    let anchors = match is_validated {
        true => format!("trust_anchors.add_file('{}', true)", internet.anchors().display()),
        false => String::new(),
    };
    let text = format!(
        "net.listen('127.0.0.1', 53, {{ kind = 'dns' }})\noption('ALLOW_LOCAL', true)\ntrust_anchors.remove('.')\n{anchors}\n\
         modules.load('hints > iterate')\nhints.root_file('{}')\ncache.size = 100 * MB\n\
         modules.unload('ta_update')\nmodules.unload('ta_signal_query')\n",
        hints.display()
    );
    fs::write(&config, text).unwrap();
    let mut command = internet.command("kresd");
    command.args(["-n", "-c"]).arg(&config).arg(folder.path());
    let child = spawn(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()));
    let mut child = Killed(child);
    let lines = Lines::follow(child.0.stderr.take().unwrap());
    let address = SocketAddr::from(([127, 0, 0, 1], 53));
    let begun = std::time::Instant::now();
    // It says nothing once it answers.
    while internet.dig(address).with("+norecurse").is_ignored(".", "NS") {
        assert!(begun.elapsed() < PATIENCE, "Knot Resolver does not start:\n{}", lines.text());
    }
    Some(Running { address, _server: Box::new((child, folder)) })
}

fn is_installed(program: &str) -> bool {
    let found =
        Command::new("sh").args(["-c", "PATH=$PATH:/usr/sbin command -v \"$1\"", "sh", program]).output();
    found.is_ok_and(|output| output.status.success())
}

struct Measured {
    /// Milliseconds a name.
    latency: f64,
    /// Milliseconds for all names.
    total: f64,
    queries: f64,
}

fn measure(internet: &Internet, server: &Running, list: &Path, count: usize, at_once: usize) -> Measured {
    // What is common to all names is known: the root and the top-level domain.
    let first = Dig::at(server.address).inside(internet.inside()).ask("www.plain.example", "A");
    assert_eq!(first.rdata("A"), ["192.0.2.90"], "{}", first.raw);
    let before = datagrams(internet);
    let mut command = internet.command("dnsperf");
    command.args(["-s", &server.address.ip().to_string(), "-p", &server.address.port().to_string()]);
    command.args(["-n", "1", "-c", "1", "-q", &at_once.to_string(), "-d"]).arg(list);
    let report = run(&mut command).well().stdout;
    let sent = datagrams(internet) - before;
    let value = |label: &str| -> f64 {
        let line = report.lines().find_map(|line| line.trim().strip_prefix(label));
        let word = line.and_then(|rest| rest.split_whitespace().next());
        word.and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("no {label} in:\n{report}"))
    };
    assert_eq!(value("Queries completed:"), count as f64, "{report}");
    assert!(report.contains("NOERROR"), "{report}");
    Measured {
        latency: 1000.0 * value("Average Latency (s):"),
        total: 1000.0 * value("Run time (s):"),
        // Each query and each answer is a datagram.
        queries: (sent as f64 / 2.0 - count as f64) / count as f64,
    }
}

/// Datagrams that were sent in the namespace so far.
fn datagrams(internet: &Internet) -> u64 {
    let text = run(internet.command("cat").arg("/proc/net/snmp")).well().stdout;
    let lines: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("Udp:"))
        .map(|line| line.split_whitespace().collect())
        .collect();
    let at = lines[0].iter().position(|&word| word == "OutDatagrams").unwrap();
    lines[1][at].parse().unwrap()
}
