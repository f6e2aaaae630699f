//! The order of things: what is started, what it is asked, what is noted. How each is done stands elsewhere.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufWriter, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use crate::client::{self, Answers, Target};
use crate::load::{Kind, Load, Names, SINKHOLE, UPSTREAM, qname};
use crate::measure::{self, ADDED, Pace, Reloaded, Row, Samples, Server, Trial};
use crate::peers::{self, PEERS, Peer, Setting};
use crate::plan::{Part, Plan};
use crate::process::{Process, Trouble, free_address};
use crate::role;
use crate::sachdns::Setup;

/// The columns that are ours.
pub(crate) const ECHO: &str = "echo";
pub(crate) const SACHDNS: &str = "sachdns";

/// How long sachdns may take to read a list for the first time.
const PATIENCE: Duration = Duration::from_secs(120);
/// How old lists look: one that changed just now is read again at the next start.
const AGE: Duration = Duration::from_secs(3600);

/// A figure that is no window's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fact {
    /// Seconds from exec to the first right answer.
    Start,
    StartLarge,
    /// Octets in memory after the start, and after all loads.
    Memory,
    MemoryLoaded,
    MemoryLarge,
    MemoryLargeLoaded,
}

/// All that a run found.
pub(crate) struct Findings {
    /// The columns, in order.
    pub(crate) columns: Vec<String>,
    pub(crate) samples: Samples,
    pub(crate) facts: BTreeMap<(Fact, String), Vec<f64>>,
    pub(crate) reloads: BTreeMap<String, Reloaded>,
    /// Queries a second of load c that dnsperf saw.
    pub(crate) dnsperf: Option<f64>,
    /// Each peer that was measured, with its version and way.
    pub(crate) measured: Vec<(String, &'static str)>,
    /// Each peer that was not, and why.
    pub(crate) absent: Vec<(&'static str, Trouble)>,
    pub(crate) listed: usize,
    pub(crate) listed_large: usize,
    pub(crate) popular: usize,
    pub(crate) in_flight: usize,
    pub(crate) repetitions: usize,
    pub(crate) window: Duration,
}

impl Findings {
    /// Wrong answers of ours; those of peers stand in their columns.
    pub(crate) fn own_wrong_answers(&self) -> u64 {
        let is_own = |column: &String| column == ECHO || column == SACHDNS;
        let windows = self.samples.iter().filter(|((_, column), _)| is_own(column));
        let in_windows = windows.flat_map(|(_, samples)| samples).map(|sample| sample.wrong + sample.failed);
        let in_reloads = self.reloads.iter().filter(|(column, _)| is_own(column)).map(|(_, it)| it.wrong);
        in_windows.chain(in_reloads).sum()
    }
}

/// The servers that can be chosen.
pub(crate) fn servers() -> Vec<&'static str> {
    std::iter::once(SACHDNS).chain(PEERS.iter().map(|peer| peer.name)).collect()
}

/// Measures what the plan says, with all files in `folder`.
///
/// # Errors
/// When sachdns, an echo or the upstream cannot be started; a peer that cannot is noted.
pub(crate) fn run(plan: &Plan, folder: &Path) -> Result<Findings, Trouble> {
    let mut bench = Bench::new(plan, folder)?;
    let echo = bench.echo(role::ECHO)?;
    let mut servers = Vec::new();
    let own = plan.includes(SACHDNS).then(|| bench.setup("sachdns", "list.txt", "all"));
    if let Some(setup) = &own {
        // Twice: the memory of a process that just built its image is another one.
        drop(bench.own(setup)?);
        servers.push(bench.own(setup)?.0);
    }
    let mut settings = Vec::new();
    for peer in PEERS.iter().filter(|peer| plan.includes(peer.name)) {
        let setting = bench.setting(peer);
        match bench.peer(peer, &setting) {
            Ok(server) => {
                bench.findings.measured.push((peer.version(), peer.way));
                servers.push(server);
                settings.push((peer, setting));
            }
            Err(why) => {
                eprintln!("{}: {why}", peer.name);
                bench.findings.absent.push((peer.name, why));
            }
        }
    }
    bench.findings.columns =
        std::iter::once(&echo).chain(&servers).map(|server| server.name.clone()).collect();
    for server in &servers {
        bench.note(Fact::Memory, &server.name, server.process.resident() as f64);
    }

    bench.closed_loops(&echo, &servers)?;
    if plan.measures(Part::Steady) {
        bench.steady(&servers)?;
    }
    for server in &servers {
        bench.note(Fact::MemoryLoaded, &server.name, server.process.resident() as f64);
    }
    if let Some(server) = servers.first().filter(|server| server.name == SACHDNS)
        && plan.measures(Part::Dnsperf)
    {
        bench.findings.dnsperf = bench.dnsperf(server);
    }
    if plan.measures(Part::Reload) {
        bench.reloads(&servers, own.as_ref(), &settings);
    }
    drop(servers);
    if own.is_some() {
        if plan.measures(Part::Start) {
            bench.starts(Fact::Start, "list.txt")?;
        }
        if plan.measures(Part::Large) {
            bench.large(&echo)?;
        }
    }
    Ok(bench.findings)
}

struct Bench<'a> {
    plan: &'a Plan,
    folder: &'a Path,
    /// Of the server that is measured; all else has another.
    core: usize,
    upstream: SocketAddr,
    _upstream: Process,
    names: Names,
    findings: Findings,
}

impl<'a> Bench<'a> {
    fn new(plan: &'a Plan, folder: &'a Path) -> Result<Self, Trouble> {
        let cores = role::cores();
        let (core, own_core) = (cores[0], *cores.get(1).unwrap_or(&cores[0]));
        if core == own_core {
            eprintln!("one core only: servers share it with the generator");
        }
        role::pin(own_core);
        let upstream = free_address();
        let process = Process::play(own_core, role::UPSTREAM_ROLE, upstream, folder)?;
        let names = Names::new(plan.listed, plan.popular);
        write_list(&folder.join("list.txt"), &names.listed);
        let findings = Findings {
            columns: Vec::new(),
            samples: Samples::new(),
            facts: BTreeMap::new(),
            reloads: BTreeMap::new(),
            dnsperf: None,
            measured: Vec::new(),
            absent: Vec::new(),
            listed: plan.listed,
            listed_large: plan.listed_large,
            popular: plan.popular,
            in_flight: plan.in_flight,
            repetitions: plan.repetitions,
            window: plan.window,
        };
        Ok(Self { plan, folder, core, upstream, _upstream: process, names, findings })
    }

    fn note(&mut self, fact: Fact, column: &str, value: f64) {
        self.findings.facts.entry((fact, column.to_owned())).or_default().push(value);
    }

    /// The loads of as many queries as a server can take.
    fn closed_loops(&mut self, echo: &Server, servers: &[Server]) -> Result<(), Trouble> {
        let loads = [
            (Part::Hits, Row::Hits, Kind::Hits),
            (Part::Cached, Row::Cached, Kind::Cached),
            (Part::Mixed, Row::Mixed, Kind::Mixed),
            (Part::Misses, Row::Misses, Kind::Misses),
        ];
        for (part, row, kind) in loads {
            if !self.plan.measures(part) {
                continue;
            }
            let mut asked = vec![(row, echo)];
            asked.extend(servers.iter().map(|server| (row, server)));
            let is_logged =
                row == Row::Cached && self.plan.measures(Part::Log) && self.plan.includes(SACHDNS);
            let setup = is_logged.then(|| self.setup("hits-logged", "list.txt", "hits"));
            let hits_logged = setup.map(|setup| self.own(&setup)).transpose()?;
            // Next to its sister, so that the two are compared at the same time.
            if let Some((server, _)) = &hits_logged {
                asked.insert(2, (Row::CachedHitsLogged, server));
            }
            let mut load = Load::new(kind, &self.names);
            self.measure(&asked, kind, &mut load, Pace::InFlight(self.plan.in_flight));
        }
        Ok(())
    }

    /// As many queries a second as a busy province sends, one after the other.
    fn steady(&mut self, servers: &[Server]) -> Result<(), Trouble> {
        let echo = self.echo(role::ECHO_ONE)?;
        let gathering = self.echo(role::ECHO_GATHERING)?;
        let mut asked = vec![(Row::Steady, &echo), (Row::SteadyGathered, &gathering)];
        asked.extend(servers.iter().map(|server| (Row::Steady, server)));
        let mut load = Load::new(Kind::Mixed, &self.names);
        self.measure(&asked, Kind::Mixed, &mut load, Pace::Rate(self.plan.steady_rate));
        Ok(())
    }

    fn measure(&mut self, asked: &[(Row, &Server)], kind: Kind, load: &mut Load, pace: Pace) {
        for (_, server) in asked {
            self.warm(server, kind, load);
        }
        let Plan { window, repetitions, .. } = *self.plan;
        measure::interleave(asked, load, pace, window, repetitions, &mut self.findings.samples);
    }

    /// Fills the cache, and brings the list into memory.
    fn warm(&self, server: &Server, kind: Kind, load: &mut Load) {
        if server.target.answers == Answers::Echoed {
            return;
        }
        if matches!(kind, Kind::Cached | Kind::Mixed) {
            let mut popular = Load::each_popular(&self.names);
            let count = popular.len();
            client::closed_count(server.target, &mut popular, self.plan.in_flight, count);
        }
        client::closed(server.target, load, self.plan.in_flight, self.plan.window / 4);
    }

    fn reloads(&mut self, servers: &[Server], own: Option<&Setup>, settings: &[(&Peer, Setting)]) {
        let Plan { window, patience, reload_rate: rate, .. } = *self.plan;
        let trial = Trial { rate, calm: window / 2, patience };
        let mut load = Load::new(Kind::Mixed, &self.names);
        for server in servers {
            let how = match settings.iter().find(|(peer, _)| peer.name == server.name) {
                Some((peer, setting)) => {
                    peer.change(setting, &self.names.listed, ADDED).expect("the folder can be written")
                }
                None => own.map(|setup| {
                    let names: Vec<String> =
                        self.names.listed.iter().cloned().chain([ADDED.to_owned()]).collect();
                    write_list(&setup.list, &names);
                    setup.reload()
                }),
            };
            let Some(how) = how else { continue };
            self.warm(server, Kind::Mixed, &mut load);
            load.rewind();
            let reloaded = measure::reload(server, &how, &mut load, trial);
            self.findings.reloads.insert(server.name.clone(), reloaded);
        }
    }

    /// Starts with an image that is there already.
    fn starts(&mut self, fact: Fact, list: &str) -> Result<(), Trouble> {
        let setup = self.setup(&format!("start-{list}"), list, "all");
        drop(self.own(&setup)?);
        for _ in 0..self.plan.repetitions {
            let (_, time) = self.own(&setup)?;
            self.note(fact, SACHDNS, time.as_secs_f64());
        }
        Ok(())
    }

    /// The list that only sachdns is given.
    fn large(&mut self, echo: &Server) -> Result<(), Trouble> {
        let listed = Names::new(self.plan.listed_large, 0).listed;
        write_list(&self.folder.join("large.txt"), &listed);
        // The names of the short list open the long one.
        let popular = std::mem::take(&mut self.names.popular);
        self.names = Names { listed, popular };
        let setup = self.setup("large", "large.txt", "all");
        drop(self.own(&setup)?);
        let (server, _) = self.own(&setup)?;
        self.note(Fact::MemoryLarge, SACHDNS, server.process.resident() as f64);
        let mut load = Load::new(Kind::Hits, &self.names);
        let pace = Pace::InFlight(self.plan.in_flight);
        self.measure(&[(Row::HitsLarge, echo), (Row::HitsLarge, &server)], Kind::Hits, &mut load, pace);
        self.note(Fact::MemoryLargeLoaded, SACHDNS, server.process.resident() as f64);
        drop(server);
        if self.plan.measures(Part::Start) {
            self.starts(Fact::StartLarge, "large.txt")?;
        }
        Ok(())
    }

    /// A second opinion on load c: queries a second as dnsperf counts them.
    fn dnsperf(&self, server: &Server) -> Option<f64> {
        let program = peers::find("dnsperf")?;
        let mut load = Load::new(Kind::Mixed, &self.names);
        self.warm(server, Kind::Mixed, &mut load);
        let queries: String = (0..load.len()).map(|_| format!("{} A\n", qname(load.next().packet))).collect();
        let file = self.folder.join("dnsperf.txt");
        fs::write(&file, queries).expect("the temporary folder can be written");
        let (ip, port) = (server.target.address.ip().to_string(), server.target.address.port().to_string());
        let time = self.plan.window.as_secs().max(1).to_string();
        let in_flight = self.plan.in_flight.to_string();
        let output = Command::new(program)
            .args(["-s", &ip, "-p", &port, "-l", &time, "-q", &in_flight, "-c", "8", "-T", "1", "-e", "-d"])
            .arg(file)
            .output()
            .ok()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let rate = said.lines().find_map(|line| line.trim().strip_prefix("Queries per second:"))?;
        eprintln!("dnsperf: {} queries a second", rate.trim());
        rate.trim().parse().ok()
    }

    fn echo(&self, role: &str) -> Result<Server, Trouble> {
        let target = Target { address: free_address(), answers: Answers::Echoed };
        let process = Process::play(self.core, role, target.address, self.folder)?;
        Ok(ready(ECHO, process, target, &self.names, PATIENCE)?.0)
    }

    fn setup(&self, folder: &str, list: &str, log: &'static str) -> Setup {
        let (folder, list) = (self.folder.join(folder), self.folder.join(list));
        let setup = Setup { folder, list, log, listen: free_address(), upstream: self.upstream };
        setup.write();
        setup
    }

    /// Starts sachdns; says how long its first answer took.
    fn own(&self, setup: &Setup) -> Result<(Server, Duration), Trouble> {
        let process = setup.start(self.core)?;
        let target = Target { address: setup.listen, answers: Answers::Resolved };
        ready(SACHDNS, process, target, &self.names, PATIENCE)
    }

    fn setting(&self, peer: &Peer) -> Setting {
        Setting { folder: self.folder.join(peer.name), listen: free_address(), upstream: self.upstream }
    }
}

impl Bench<'_> {
    fn peer(&mut self, peer: &Peer, setting: &Setting) -> Result<Server, Trouble> {
        let program = peer.installed()?;
        let args = peer.prepare(setting, &self.names.listed).expect("the temporary folder can be written");
        let process = Process::start(self.core, &program, &args, setting.folder.join("said"))?;
        let target = Target { address: setting.listen, answers: Answers::Resolved };
        let (server, time) = ready(peer.name, process, target, &self.names, self.plan.patience)?;
        self.note(Fact::Start, peer.name, time.as_secs_f64());
        Ok(server)
    }
}

/// Waits until a server leads a listed name to the sinkhole, and has asked its upstream; says how long the
/// first took.
fn ready(
    column: &str,
    mut process: Process,
    target: Target,
    names: &Names,
    patience: Duration,
) -> Result<(Server, Duration), Trouble> {
    let begun = Instant::now();
    process.await_answer(target, &mut Load::single(&names.listed[0], SINKHOLE), patience)?;
    let time = begun.elapsed();
    process.await_answer(target, &mut Load::single(&names.popular[0], UPSTREAM), patience)?;
    eprintln!("{column}: ready after {:.3} s", time.as_secs_f64());
    Ok((Server { name: column.to_owned(), process, target }, time))
}

/// Puts a list in its place, which looks as if it had lain there for a while: what changed a moment ago is
/// read again at the next start.
fn write_list(path: &Path, names: &[String]) {
    let write = || -> std::io::Result<()> {
        let beside = path.with_extension("new");
        let mut file = BufWriter::new(fs::File::create(&beside)?);
        for name in names {
            writeln!(file, "{name}")?;
        }
        let file = file.into_inner()?;
        file.set_modified(SystemTime::now() - AGE)?;
        fs::rename(beside, path)
    };
    write().expect("the temporary folder can be written");
}
