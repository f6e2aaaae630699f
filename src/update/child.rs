//! Building in a process of its own: a list is read and sorted where it costs the server no memory,
//! and no processor that an answer needs.
//!
//! The server starts its own program as `sachdns policy compile`, a hidden command. What goes to its
//! standard input and what comes from its standard output is one JSON text each, an `Order` and an
//! `Outcome`; nobody else reads or writes them, and both ends are always one release. The order
//! carries the whole plan: the configuration's file may have changed since the server checked it.
//!
//! What a plan, a report or an image is stands elsewhere; here they only travel.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal, setpriority_process, setsid};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{FeedReport, Need, Plan, Update, UpdateError, lock, make};
use crate::feed::address::Addresses;
use crate::feed::gate::{self, Examples, Own, OwnName};
use crate::feed::source::{Gating, Origin, Source};
use crate::feed::store::{self, Store};
use crate::feed::{Columns, ColumnsError};
use crate::image::{self, Digest, Image, ImageError};
use crate::name::Name;
use crate::policy::rule::{Signed, Timing};

/// The arguments after which the program builds what its standard input asks for.
pub const ARGUMENTS: [&str; 2] = ["policy", "compile"];
/// The running program, also when an upgrade has replaced or removed its file since.
const PROGRAM: &str = "/proc/self/exe";
/// Before this many builds by other hands in a row, one's own is found in its place.
const ATTEMPTS: usize = 3;
/// How far a build steps back: where it and the server want all there is, it gets a tenth. With the
/// lowest priority, 19, a new list would wait for minutes on a server that is swamped. On one processor
/// a query may still wait for the end of the build's slice, a few milliseconds. The priority of reading
/// and writing follows.
const NICE: i32 = 10;

/// Whether anything else is worth more than the build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pace {
    /// Nobody is answered before it is done.
    Urgent,
    /// Queries are being answered.
    Gentle,
}

#[derive(Serialize, Deserialize)]
struct Order {
    /// The server's process: when it ends, so does the build.
    server: i32,
    pace: Pace,
    image: PathBuf,
    versions: PathBuf,
    now: i64,
    canaries: Vec<String>,
    feeds: Vec<OrderedFeed>,
    gate: OrderedGate,
}

#[derive(Serialize, Deserialize)]
struct OrderedGate {
    max_shrink: f64,
    max_growth: f64,
    bounds_from: u64,
    max_set_aside: u64,
    protected: Vec<PathBuf>,
    popular: Vec<PathBuf>,
    /// What each name is, and the name.
    own: Vec<(String, String)>,
}

#[derive(Serialize, Deserialize)]
struct OrderedFeed {
    name: String,
    /// One of the two.
    file: Option<PathBuf>,
    fetched: Option<String>,
    format: String,
    columns: BTreeMap<String, String>,
    urls: String,
    family: Option<String>,
    severity: Option<String>,
    action: String,
    waits: bool,
    leaves_signed: bool,
    addresses: String,
    own: Vec<IpAddr>,
    shortest: (u8, u8),
    clients: Vec<String>,
    sinkhole: Option<Vec<IpAddr>>,
    is_gated: bool,
}

#[derive(Serialize, Deserialize)]
enum Outcome {
    Built { digest: Digest, reports: Option<Vec<Report>> },
    Refused(String),
}

/// A [`FeedReport`].
#[derive(Serialize, Deserialize)]
struct Report {
    name: String,
    format: String,
    names: u64,
    networks: u64,
    addresses: u64,
    urls: u64,
    faults: BTreeMap<String, u64>,
    examples: Vec<String>,
    /// How many, and examples.
    set_aside: (u64, Vec<String>),
    is_new: bool,
    troubles: Vec<String>,
}

/// Where the server has its images built: one at a time.
#[derive(Default)]
pub struct Workshop {
    bench: Mutex<Bench>,
}

#[derive(Default)]
struct Bench {
    /// Not waited for yet, so its process id is still its own.
    child: Option<Child>,
    is_closed: bool,
}

impl Workshop {
    /// Builds the image in a child process, where something is new, and opens it. Where no process can be started, builds it
    /// in this one.
    ///
    /// Blocks; the thread that calls must live until it returns, for the child dies with it.
    ///
    /// # Errors
    /// [`UpdateError`], as [`super::build`], and when the child ended early or the workshop was closed. The
    /// image that was there stays.
    pub fn build(&self, plan: Plan<'_>, path: &Path, now: i64, pace: Pace) -> Result<Update, UpdateError> {
        let order = Order::new(plan, path, now, pace);
        for _ in 0..ATTEMPTS {
            let child = match self.start() {
                Ok(output) => output,
                Err(Start::Closed) => return Err(UpdateError::Stopping),
                Err(Start::Failed(error)) => {
                    tracing::warn!(%error, "no process can be started to build the policy; the server builds it itself, which takes memory");
                    return built_here(plan, path, now);
                }
            };
            let (digest, reports) = self.outcome(child, &order)?;
            let image = open(path, pace)?;
            // Its lock went with the child: somebody else's `policy build` may have come between.
            if image.facts.digest == digest {
                return Ok((image, reports));
            }
        }
        Err(UpdateError::Overtaken { path: path.to_owned() })
    }

    /// Ends the build that is under way; no other one begins.
    pub fn close(&self) {
        let mut bench = self.bench();
        bench.is_closed = true;
        if let Some(child) = &mut bench.child {
            // It has ended already, or it ends now.
            let _ = child.kill();
        }
    }

    fn start(&self) -> Result<Pipes, Start> {
        let mut bench = self.bench();
        if bench.is_closed {
            return Err(Start::Closed);
        }
        let mut child = Command::new(PROGRAM)
            .arg0("sachdns")
            .args(ARGUMENTS)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(Start::Failed)?;
        let input = child.stdin.take().expect("its standard input is a pipe");
        let output = child.stdout.take().expect("its standard output is a pipe");
        bench.child = Some(child);
        Ok(Pipes { input, output })
    }

    fn outcome(&self, pipes: Pipes, order: &Order) -> Result<Made, UpdateError> {
        let Pipes { mut input, mut output } = pipes;
        // When either fails the child has ended, and its status says more.
        let _ = serde_json::to_writer(&mut input, order);
        drop(input);
        let mut text = Vec::new();
        let _ = output.read_to_end(&mut text);
        // Its output is closed: it is about to end.
        let child = self.bench().child.take();
        let status = child.expect("only this takes it").wait().map_err(UpdateError::Waiting)?;
        if self.bench().is_closed {
            return Err(UpdateError::Stopping);
        }
        match serde_json::from_slice(&text) {
            Ok(Outcome::Built { digest, reports }) if status.success() => {
                Ok((digest, reports.map(|reports| reports.into_iter().map(FeedReport::from).collect())))
            }
            Ok(Outcome::Refused(why)) if status.success() => Err(UpdateError::Refused(why)),
            _ => Err(UpdateError::Died { status }),
        }
    }

    fn bench(&self) -> MutexGuard<'_, Bench> {
        self.bench.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An image's digest, and what came of each feed if it was built.
type Made = (Digest, Option<Vec<FeedReport>>);

fn built_here(plan: Plan<'_>, path: &Path, now: i64) -> Result<Update, UpdateError> {
    let _lock = lock(path)?;
    let (_, reports) = make(plan, path, now, Need::IfNew)?;
    Ok((image::open(path)?, reports))
}

/// Verifies and maps the new image as slowly as it was built.
fn open(path: &Path, pace: Pace) -> Result<Image, ImageError> {
    match pace {
        Pace::Urgent => image::open(path),
        // A thread cannot take its priority back: it gets one of its own.
        Pace::Gentle => thread::scope(|scope| {
            let opening = scope.spawn(|| {
                step_back();
                image::open(path)
            });
            opening.join().expect("opening an image does not panic")
        }),
    }
}

/// Gives this thread, which is the whole of a process that has no other, a low priority.
pub(super) fn step_back() {
    // It is not worth a policy that is not built.
    let _ = setpriority_process(None, NICE);
}

/// The server's ends.
struct Pipes {
    input: std::process::ChildStdin,
    output: std::process::ChildStdout,
}

/// Why there is no child.
enum Start {
    Closed,
    Failed(io::Error),
}

/// The child's part: reads an order, builds, and writes what came of it.
///
/// # Errors
/// When either end of the talk is gone.
pub fn work(input: impl Read, mut output: impl Write) -> io::Result<()> {
    let order: Order = serde_json::from_reader(input)?;
    order.settle_in()?;
    let outcome = match order.build() {
        Ok((digest, reports)) => {
            let reports = reports.map(|reports| reports.into_iter().map(Report::from).collect());
            Outcome::Built { digest, reports }
        }
        Err(error) => Outcome::Refused(error.to_string()),
    };
    serde_json::to_writer(&mut output, &outcome)?;
    output.flush()
}

impl Order {
    fn new(plan: Plan<'_>, path: &Path, now: i64, pace: Pace) -> Self {
        Self {
            server: std::process::id() as i32,
            pace,
            image: path.to_owned(),
            versions: plan.versions.folder().to_owned(),
            now,
            canaries: plan.canaries.iter().map(Name::to_string).collect(),
            feeds: plan.feeds.iter().map(OrderedFeed::from).collect(),
            gate: plan.gate.into(),
        }
    }

    /// Sees to it that the server comes first, and that nothing is built for one that is gone.
    fn settle_in(&self) -> io::Result<()> {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // It may have gone before that.
        if getppid() != Pid::from_raw(self.server) {
            return Err(io::Error::other("the server that asked for the policy has ended"));
        }
        // A session of its own: a SIGHUP or SIGINT for the server's group is not meant for it, and
        // where the kernel shares processors out by session, the server does not pay for it.
        let _ = setsid();
        // None of this is worth a policy that is not built.
        if self.pace == Pace::Gentle {
            step_back();
            let _ = fs::write("/proc/self/autogroup", NICE.to_string());
        }
        // Where memory runs out, this process goes, not the resolver.
        let _ = fs::write("/proc/self/oom_score_adj", "1000");
        Ok(())
    }

    fn build(&self) -> Result<Made, UpdateError> {
        let same = "both ends are one release";
        let canaries: Vec<Name> =
            self.canaries.iter().map(|name| Name::from_presentation(name).expect(same)).collect();
        let feeds: Vec<Source> = self
            .feeds
            .iter()
            .map(|feed| Source {
                name: feed.name.as_str().into(),
                origin: match (&feed.file, &feed.fetched) {
                    (Some(path), _) => Origin::File(path.clone()),
                    (None, fetched) => Origin::Fetched(fetched.clone().unwrap_or_default()),
                },
                format: feed.format.parse().expect(same),
                columns: columns(&feed.columns).expect(same),
                urls: feed.urls.parse().expect(same),
                family: feed.family.as_deref().map(Into::into),
                severity: feed.severity.as_ref().map(|severity| severity.parse().expect(same)),
                action: feed.action.parse().expect(same),
                timing: if feed.waits { Timing::AfterResolving } else { Timing::AtOnce },
                signed: if feed.leaves_signed { Signed::LeftAlone } else { Signed::Rewritten },
                addresses: Addresses {
                    treatment: feed.addresses.parse().expect(same),
                    own: feed.own.clone(),
                    shortest: feed.shortest,
                    clients: feed.clients.iter().map(|net| net.parse().expect(same)).collect(),
                },
                sinkhole: feed.sinkhole.as_deref().map(Into::into),
                gate: if feed.is_gated { Gating::Gated } else { Gating::AsItComes },
            })
            .collect();
        // The server opens what it serves itself.
        let _lock = lock(&self.image)?;
        let (gate, versions) = (self.gate.options().expect(same), Store::new(&self.versions));
        let plan = Plan { canaries: &canaries, feeds: &feeds, gate: &gate, versions: &versions };
        make(plan, &self.image, self.now, Need::IfNew)
    }
}

impl From<&Source> for OrderedFeed {
    fn from(source: &Source) -> Self {
        let Source { name, origin, format, columns, urls, family, severity, action, timing, signed, .. } =
            source;
        let Source { addresses: Addresses { treatment, own, shortest, clients }, sinkhole, gate, .. } =
            source;
        let (file, fetched) = match origin {
            Origin::File(path) => (Some(path.clone()), None),
            Origin::Fetched(url) => (None, Some(url.clone())),
        };
        Self {
            name: name.to_string(),
            file,
            fetched,
            format: format.to_string(),
            columns: columns.iter().map(|(role, it)| (role.as_str().to_owned(), it.to_string())).collect(),
            urls: urls.as_str().to_owned(),
            family: family.as_deref().map(str::to_owned),
            severity: severity.map(|severity| severity.to_string()),
            action: action.to_string(),
            waits: *timing == Timing::AfterResolving,
            leaves_signed: *signed == Signed::LeftAlone,
            addresses: treatment.as_str().to_owned(),
            own: own.clone(),
            shortest: *shortest,
            clients: clients.iter().map(ToString::to_string).collect(),
            sinkhole: sinkhole.as_deref().map(<[_]>::to_vec),
            is_gated: *gate == Gating::Gated,
        }
    }
}

/// Digests all that is configured of a feed.
pub(super) fn digest_of(source: &Source) -> store::Digest {
    let text = serde_json::to_vec(&OrderedFeed::from(source)).expect("texts and numbers only");
    store::Digest(Sha256::digest(text).into())
}

impl From<&gate::Options> for OrderedGate {
    fn from(options: &gate::Options) -> Self {
        let gate::Options { max_shrink, max_growth, bounds_from, max_set_aside, protected, popular, own } =
            options.clone();
        let own = own.iter().map(|own| (own.what.as_str().to_owned(), own.name.to_string())).collect();
        Self { max_shrink, max_growth, bounds_from, max_set_aside, protected, popular, own }
    }
}

impl OrderedGate {
    /// `None` for what another release wrote.
    fn options(&self) -> Option<gate::Options> {
        let own = |(what, name): &(String, String)| {
            Some(OwnName { what: Own::from_word(what)?, name: Name::from_presentation(name).ok()? })
        };
        Some(gate::Options {
            max_shrink: self.max_shrink,
            max_growth: self.max_growth,
            bounds_from: self.bounds_from,
            max_set_aside: self.max_set_aside,
            protected: self.protected.clone(),
            popular: self.popular.clone(),
            own: self.own.iter().map(own).collect::<Option<_>>()?,
        })
    }
}

fn columns(named: &BTreeMap<String, String>) -> Result<Columns, ColumnsError> {
    let pair = |(role, column): (&String, &String)| Ok((role.parse()?, column.parse()?));
    named.iter().map(pair).collect::<Result<Vec<_>, _>>()?.try_into()
}

impl From<FeedReport> for Report {
    fn from(report: FeedReport) -> Self {
        let FeedReport { name, names, networks, addresses, urls, faults, examples, is_new, troubles, .. } =
            report;
        let (format, set_aside) =
            (report.format.to_string(), (report.set_aside.count, report.set_aside.first));
        Self { name, format, names, networks, addresses, urls, faults, examples, set_aside, is_new, troubles }
    }
}

impl From<Report> for FeedReport {
    fn from(report: Report) -> Self {
        let Report { name, names, networks, addresses, urls, faults, examples, is_new, troubles, .. } =
            report;
        let format = report.format.parse().expect("both ends are one release");
        let set_aside = Examples { count: report.set_aside.0, first: report.set_aside.1 };
        Self { name, format, names, networks, addresses, urls, faults, examples, set_aside, is_new, troubles }
    }
}
