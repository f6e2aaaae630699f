//! Updating: from the configured feeds to a policy image in its place.
//!
//! Joins `feed`, `policy` and `image`, for the daemon and the commands alike. Blocks while it reads
//! and sorts: never call it where queries are answered. The daemon has it done by [`child`].

pub mod child;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ipnet::IpNet;
use sha2::{Digest as _, Sha256};

use crate::feed::address::{Addresses, Treatment};
use crate::feed::source::{FeedAction, Source};
use crate::feed::{self, Diagnostic, Format, Indicator, ReadError, Sink, Value};
use crate::image::{self, Digest, Fingerprint, Image, ImageError};
use crate::name::Name;
use crate::policy::action::Action;
use crate::policy::compile::{CompileError, Compiled, Compiler, Listing};
use crate::policy::rule::{Feed, FeedIndex, FeedKind, Mode, Rule, Severity, Signed, Timing};
use crate::policy::trigger::{Scope, Trigger};

/// What a policy is made from.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// Names that are NXDOMAIN before any feed is asked.
    pub canaries: &'a [Name],
    /// Feeds in order of precedence.
    pub feeds: &'a [Source],
}

/// The name under which canaries appear beside the feeds.
const CANARY: &str = "canary";
/// A feed that changed less than this ago might change again without a new time stamp.
const RACY: Duration = Duration::from_secs(2);
/// Diagnostics of a feed that are kept whole; all are counted.
const EXAMPLES: usize = 3;
/// Counts up when the same feeds should give another image: a format is read otherwise, for one.
const READING: u32 = 3;
/// Different reasons that are told apart: some carry words of the feed's own.
const REASONS: usize = 100;

/// What came of one feed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeedReport {
    /// Its name.
    pub name: String,
    /// How it was read.
    pub format: Format,
    /// Indicators by kind.
    pub names: u64,
    /// Addresses and networks of an RPZ's triggers.
    pub networks: u64,
    /// Bare addresses and networks, as other lists have them.
    pub addresses: u64,
    /// URLs and hosts with a path: never a rule.
    pub urls: u64,
    /// Lines that gave nothing, by reason.
    pub faults: BTreeMap<String, u64>,
    /// The first of them: the line's number, what is wrong with it, how it starts.
    pub examples: Vec<String>,
}

impl FeedReport {
    /// How many lines gave nothing.
    pub fn fault_count(&self) -> u64 {
        self.faults.values().sum()
    }
}

/// Why there is no new policy. The old one is untouched.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// A feed's file cannot be opened.
    #[error("feed {feed:?}: {path}: {source}; relative paths start from the working directory")]
    Open {
        /// The feed's name.
        feed: Arc<str>,
        /// Its file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A feed's file cannot be read to its end.
    #[error("feed {feed:?}: {path}: {source}; fetch it again")]
    Read {
        /// The feed's name.
        feed: Arc<str>,
        /// Its file.
        path: PathBuf,
        /// Where and why.
        source: ReadError,
    },
    /// A feed's file has lines, and none of them lists anything.
    #[error(
        "feed {feed:?}: {path}: nothing in it could be read (format {format}; line {example}); check the file, or set the feed's format"
    )]
    Nothing {
        /// The feed's name.
        feed: Arc<str>,
        /// Its file.
        path: PathBuf,
        /// How it was read.
        format: Format,
        /// The first line that gave nothing, as [`FeedReport::examples`] has it.
        example: String,
    },
    /// The feeds' names cannot be sorted.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The image cannot be written or read back.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The folder for it cannot be used.
    #[error("{path}: {source}; data_dir must be a folder that the server may write")]
    Folder {
        /// The folder or lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The building process refused, in its own words: one of the reasons above.
    #[error("{0}")]
    Refused(String),
    /// The building process ended without a word.
    #[error(
        "the process that builds the policy ended early ({status}); reload again, and if it is killed again, see the kernel's log: the machine may have too little memory"
    )]
    Died {
        /// How it ended.
        status: ExitStatus,
    },
    /// The building process cannot be waited for.
    #[error("waiting for the process that builds the policy: {0}")]
    Waiting(io::Error),
    /// Each time another build put its own image in place.
    #[error("{path}: other builds keep replacing the image; wait for their end, and reload again")]
    Overtaken {
        /// The image.
        path: PathBuf,
    },
    /// The server stops, and its build with it.
    #[error("the server is stopping")]
    Stopping,
}

/// An image, and what came of each feed if it was built just now.
pub type Update = (Image, Option<Vec<FeedReport>>);
/// What a build gives.
pub type Built = (Image, Vec<FeedReport>);

/// Opens the image at `path` if it is whole and was made from just these feeds, and has it built anew
/// otherwise.
///
/// # Errors
/// Those of `build`.
pub fn renew(
    plan: Plan<'_>,
    path: &Path,
    build: impl FnOnce() -> Result<Built, UpdateError>,
) -> Result<Update, UpdateError> {
    // Most often it is not, and need not be verified to be replaced.
    if image::fingerprint(path).is_ok_and(|of_image| is_current(plan, &of_image))
        && let OnDisk::Current(image) = on_disk(plan, path)
    {
        return Ok((image, None));
    }
    build().map(|(image, reports)| (image, Some(reports)))
}

/// As [`renew`]; but where the build fails, an older image that is whole is better than none: a bad
/// download must not take DNS away at the next start.
///
/// # Errors
/// Those of `build`, when there is no older image.
pub fn ensure(
    plan: Plan<'_>,
    path: &Path,
    build: impl FnOnce() -> Result<Built, UpdateError>,
) -> Result<Update, UpdateError> {
    let old = match on_disk(plan, path) {
        OnDisk::Current(image) => return Ok((image, None)),
        OnDisk::Old(image) => Some(image),
        OnDisk::Nothing => None,
    };
    match (build(), old) {
        (Ok((image, reports)), _) => Ok((image, Some(reports))),
        (Err(error), Some(old)) => {
            tracing::error!(%error, "no new policy could be built; the OLD one is served: mend it, then `sachdns reload`");
            Ok((old, None))
        }
        (Err(error), None) => Err(error),
    }
}

/// The image that is there already.
enum OnDisk {
    Current(Image),
    /// Whole, and made from other feeds.
    Old(Image),
    Nothing,
}

fn on_disk(plan: Plan<'_>, path: &Path) -> OnDisk {
    match image::open(path) {
        Ok(image) if is_current(plan, &image.facts.fingerprint) => OnDisk::Current(image),
        Ok(image) => OnDisk::Old(image),
        Err(ImageError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => OnDisk::Nothing,
        Err(error) => {
            // Whatever is wrong with the old image, a new one mends it.
            tracing::warn!(%error, "the policy image is built anew");
            OnDisk::Nothing
        }
    }
}

/// Builds the image from its feeds, puts it in place and opens it.
///
/// # Errors
/// [`UpdateError`]; the image that was there stays.
pub fn build(plan: Plan<'_>, path: &Path, now: i64) -> Result<Built, UpdateError> {
    let _lock = lock(path)?;
    let (_, reports) = make(plan, path, now)?;
    Ok((image::open(path)?, reports))
}

/// Makes the image's folder, and waits until nobody else builds there: a server's reload and a
/// `policy build` by hand may meet. The lock goes with the file.
fn lock(path: &Path) -> Result<File, UpdateError> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let lock_path = path.with_extension("lock");
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| UpdateError::Folder { path, source }
    };
    fs::create_dir_all(folder).map_err(failed(folder))?;
    let lock = File::create(&lock_path).map_err(failed(&lock_path))?;
    lock.lock().map_err(failed(&lock_path))?;
    Ok(lock)
}

/// Builds the image and puts it in place; call it under [`lock`].
fn make(plan: Plan<'_>, path: &Path, now: i64) -> Result<(Digest, Vec<FeedReport>), UpdateError> {
    image::remove_scratch(path);
    // Taken before the feeds are read: what changes meanwhile makes the image out of date.
    let fingerprint = fingerprint(plan).unwrap_or_default();
    let scratch = scratch(&path.with_extension("runs"))?;
    let (compiled, reports) = collect(plan, now, |feeds| Compiler::with_scratch(feeds, scratch))?;
    let digest = image::write(path, &compiled, &fingerprint, now)?;
    Ok((digest, reports))
}

/// An empty file without a name, so that it goes with its process.
fn scratch(path: &Path) -> Result<File, UpdateError> {
    let failed = |source| UpdateError::Folder { path: path.to_owned(), source };
    // There may be one whose process was killed before the next line but one.
    let file = File::options().read(true).write(true).create(true).truncate(true).open(path);
    let file = file.map_err(failed)?;
    fs::remove_file(path).map_err(failed)?;
    Ok(file)
}

/// Reads all feeds as of `now`, in microseconds since 1970, and compiles their rules in memory.
///
/// # Errors
/// [`UpdateError`], for the first feed that cannot be used.
pub fn compile(plan: Plan<'_>, now: i64) -> Result<(Compiled, Vec<FeedReport>), UpdateError> {
    collect(plan, now, Compiler::new)
}

fn collect(
    plan: Plan<'_>,
    now: i64,
    compiler: impl FnOnce(Vec<Feed>) -> Compiler,
) -> Result<(Compiled, Vec<FeedReport>), UpdateError> {
    let canary = Feed::new(CANARY.into(), FeedKind::Housekeeping);
    let feeds = plan.feeds.iter().map(|source| {
        let (name, kind) = (Arc::clone(&source.name), FeedKind::Threat);
        Feed { name, kind, timing: source.timing, signed: source.signed, sinkhole: source.sinkhole.clone() }
    });
    let mut compiler = compiler(std::iter::once(canary).chain(feeds).collect());
    for name in plan.canaries {
        let (scope, action, mode) = (Scope::Subtree, Action::Nxdomain, Mode::Enforced);
        compiler.add(name, Listing { feed: 0, scope, action, mode, family: None, severity: None })?;
    }
    let mut reports = Vec::new();
    for (number, source) in plan.feeds.iter().enumerate() {
        let report = FeedReport { name: source.name.to_string(), ..FeedReport::default() };
        // The configuration has far fewer feeds than 65535.
        let mut intake = Intake {
            compiler: &mut compiler,
            feed: number as FeedIndex + 1,
            action: &source.action,
            addresses: &source.addresses,
            report,
            failure: None,
        };
        let file = File::open(&source.path).map_err(|error| UpdateError::Open {
            feed: Arc::clone(&source.name),
            path: source.path.clone(),
            source: error,
        })?;
        let reading = source.reading(now);
        let format = feed::parse(file, &reading, &mut intake).map_err(|error| UpdateError::Read {
            feed: Arc::clone(&source.name),
            path: source.path.clone(),
            source: error,
        })?;
        if let Some(failure) = intake.failure {
            return Err(failure.into());
        }
        let mut report = intake.report;
        report.format = format;
        if report.names + report.networks + report.addresses + report.urls == 0
            && let Some(example) = report.examples.first().cloned()
        {
            let (feed, path) = (Arc::clone(&source.name), source.path.clone());
            return Err(UpdateError::Nothing { feed, path, format, example });
        }
        reports.push(report);
    }
    Ok((compiler.finish()?, reports))
}

/// Puts the indicators of one feed into the compiler and counts.
struct Intake<'a> {
    compiler: &'a mut Compiler,
    feed: FeedIndex,
    action: &'a FeedAction,
    addresses: &'a Addresses,
    report: FeedReport,
    failure: Option<CompileError>,
}

impl Intake<'_> {
    /// Adds a rule; the rest of a feed that cannot be taken is only counted.
    fn add(&mut self, add: impl FnOnce(&mut Compiler) -> Result<(), CompileError>) {
        if self.failure.is_none() {
            self.failure = add(self.compiler).err();
        }
    }

    /// Takes an address or a network that a list has as such.
    fn add_bare(&mut self, net: IpNet, line: u64, listing: Listing<'_>) {
        self.report.addresses += 1;
        let mode = match (self.addresses.treatment, listing.mode, &listing.action) {
            (Treatment::Ignore, ..) => return,
            // An exception cannot take anything away.
            (Treatment::Guarded, Mode::Enforced, action) if *action != Action::Passthru => Mode::Guarded,
            (_, mode, _) => mode,
        };
        match self.addresses.check(net) {
            Ok(()) => {
                self.add(|compiler| compiler.add_network(Trigger::Address, net, Listing { mode, ..listing }));
            }
            Err(fault) => {
                self.report.addresses -= 1;
                self.diagnostic(Diagnostic { line, fault, text: net.to_string() });
            }
        }
    }
}

impl Sink for Intake<'_> {
    fn indicator(&mut self, indicator: Indicator) {
        let Indicator { value, trigger, family, severity, line, .. } = indicator;
        let (action, mode) = self.action.of(indicator.action);
        let feed = self.feed;
        let listing = |scope| Listing { feed, scope, action, mode, family: family.as_ref(), severity };
        match (value, trigger) {
            (Value::Name(name, scope), trigger) => {
                self.report.names += 1;
                self.add(|compiler| match trigger {
                    Some(Trigger::Nsdname) => compiler.add_server(&name, listing(scope)),
                    _ => compiler.add(&name, listing(scope)),
                });
            }
            (Value::Ip(address), Some(trigger)) => {
                self.report.networks += 1;
                self.add(|compiler| compiler.add_network(trigger, address.into(), listing(Scope::Exact)));
            }
            (Value::Net(net), Some(trigger)) => {
                self.report.networks += 1;
                self.add(|compiler| compiler.add_network(trigger, net, listing(Scope::Exact)));
            }
            (Value::Ip(address), None) => self.add_bare(address.into(), line, listing(Scope::Exact)),
            (Value::Net(net), None) => self.add_bare(net, line, listing(Scope::Exact)),
            (Value::Url(_), _) => self.report.urls += 1,
        }
    }

    fn diagnostic(&mut self, diagnostic: Diagnostic) {
        let faults = &mut self.report.faults;
        let reason = diagnostic.fault.to_string();
        let is_room = faults.len() < REASONS || faults.contains_key(&reason);
        *faults.entry(if is_room { reason } else { "other reasons".to_owned() }).or_default() += 1;
        if self.report.examples.len() < EXAMPLES {
            self.report.examples.push(diagnostic.to_string());
        }
    }
}

/// Whether an image with this fingerprint was made from just these feeds.
pub fn is_current(plan: Plan<'_>, of_image: &Fingerprint) -> bool {
    fingerprint(plan).is_ok_and(|current| current == *of_image)
}

/// Digests the plan, and size, times and inode of each feed's file: also the time of the inode's own
/// change, which no tool can set back as it can the content's.
///
/// A file that was changed a moment ago could change again within one tick of the file system's
/// clock: then there is no fingerprint, and the image is built anew at the next start.
fn fingerprint(plan: Plan<'_>) -> io::Result<Fingerprint> {
    use std::os::unix::fs::MetadataExt as _;
    let mut hasher = Sha256::new();
    let mut field = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    field(env!("CARGO_PKG_VERSION").as_bytes());
    field(&READING.to_le_bytes());
    for name in plan.canaries {
        field(name.as_wire());
    }
    for source in plan.feeds {
        let facts = fs::metadata(&source.path)?;
        let age = SystemTime::now().duration_since(facts.modified()?).unwrap_or_default();
        if age < RACY {
            return Err(io::Error::other("changed a moment ago"));
        }
        field(source.name.as_bytes());
        field(source.path.as_os_str().as_encoded_bytes());
        field(source.format.as_str().as_bytes());
        for (role, column) in source.columns.iter() {
            field(role.as_str().as_bytes());
            field(column.to_string().as_bytes());
        }
        field(source.urls.as_str().as_bytes());
        field(source.family.as_deref().unwrap_or_default().as_bytes());
        field(source.severity.map_or("", Severity::as_str).as_bytes());
        field(source.action.to_string().as_bytes());
        let Addresses { treatment, own, shortest } = &source.addresses;
        field(treatment.as_str().as_bytes());
        field(&[
            u8::from(source.timing == Timing::AfterResolving),
            u8::from(source.signed == Signed::LeftAlone),
            u8::from(source.sinkhole.is_some()),
            shortest.0,
            shortest.1,
        ]);
        for address in own.iter().chain(source.sinkhole.iter().flatten()) {
            field(address.to_string().as_bytes());
        }
        field(b"");
        let times = [facts.mtime(), facts.mtime_nsec(), facts.ctime(), facts.ctime_nsec()];
        for number in [facts.dev(), facts.ino(), facts.size()].into_iter().chain(times.map(|it| it as u64)) {
            field(&number.to_le_bytes());
        }
    }
    Ok(hasher.finalize().into())
}

/// What a rule lists.
#[derive(Debug, Clone, Copy)]
pub enum Listed<'a> {
    /// A name.
    Name(&'a Name),
    /// An address or a network.
    Network(IpNet),
}

/// The first line of `source` from which the rule came that lists this.
///
/// # Errors
/// When the file cannot be read.
pub fn line_of(source: &Source, listed: Listed<'_>, rule: &Rule) -> Result<Option<u64>, ReadError> {
    struct Finder<'a> {
        listed: Listed<'a>,
        rule: &'a Rule,
        action: &'a FeedAction,
        line: Option<u64>,
    }
    impl Sink for Finder<'_> {
        fn indicator(&mut self, indicator: Indicator) {
            if self.line.is_some() {
                return;
            }
            let is_it = match (&indicator.value, indicator.trigger) {
                (Value::Name(name, scope), trigger) => {
                    trigger.unwrap_or(Trigger::Qname) == self.rule.trigger
                        && *scope == self.rule.scope
                        && matches!(self.listed, Listed::Name(listed) if name == listed)
                }
                (value, trigger) => {
                    let net = match value {
                        Value::Ip(address) => Some(IpNet::from(*address)),
                        Value::Net(net) => Some(*net),
                        Value::Name(..) | Value::Url(_) => None,
                    };
                    trigger.unwrap_or(Trigger::Address) == self.rule.trigger
                        && matches!(self.listed, Listed::Network(listed) if net == Some(listed))
                }
            };
            if is_it && is_part(&self.action.of(indicator.action).0, &self.rule.action) {
                self.line = Some(indicator.line);
            }
        }
        fn diagnostic(&mut self, _: Diagnostic) {}
    }
    let file = File::open(&source.path).map_err(|source| ReadError::Io { after_line: 0, source })?;
    let mut finder = Finder { listed, rule, action: &source.action, line: None };
    // The image may be older than an indicator's end.
    feed::parse(file, &source.reading(i64::MIN), &mut finder)?;
    Ok(finder.line)
}

/// Whether a line's action is the rule's, or one of the records that the rule has from several lines.
fn is_part(of_line: &Action, of_rule: &Action) -> bool {
    match (of_line, of_rule) {
        (Action::LocalData(_), Action::LocalData(_)) => true,
        (of_line, of_rule) => of_line == of_rule,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Key;
    use crate::policy::decide::{Unobserved, decide};

    fn source(folder: &Path, name: &str, text: &str) -> Source {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        Source::new(name, path)
    }

    fn age(source: &Source) {
        let long_ago = SystemTime::now() - Duration::from_secs(3600);
        File::options().append(true).open(&source.path).unwrap().set_modified(long_ago).unwrap();
    }

    #[test]
    fn an_image_is_built_once_and_again_when_a_feed_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data/policy.img");
        let feeds = [source(folder.path(), "authority", "evil.example\nnot a name at all\n192.0.2.1\n")];
        let plan = Plan { canaries: &[], feeds: &feeds };
        let (image, reports) = ensure(plan, &path, || build(plan, &path, 1)).unwrap();
        let reports = reports.unwrap();
        assert_eq!((reports[0].names, reports[0].addresses, reports[0].fault_count()), (1, 1, 1));
        assert_eq!(
            image.facts.fingerprint,
            Fingerprint::default(),
            "too young to be told from its next version"
        );
        assert!(ensure(plan, &path, || build(plan, &path, 2)).unwrap().1.is_some());

        age(&feeds[0]);
        assert!(ensure(plan, &path, || build(plan, &path, 3)).unwrap().1.is_some());
        assert!(ensure(plan, &path, || build(plan, &path, 4)).unwrap().1.is_none(), "nothing changed");
        assert_eq!(image::open(&path).unwrap().facts.built_at, 3);

        let canaries = [Name::from_host("canary.example").unwrap()];
        let plan = Plan { canaries: &canaries, ..plan };
        let (image, reports) = ensure(plan, &path, || build(plan, &path, 5)).unwrap();
        assert!(reports.is_some(), "the plan changed");
        let key = Key::from(&canaries[0]);
        let ruling = decide(&image.index, &key, &mut Unobserved).ruling.unwrap();
        assert!(!ruling.is_hit());

        fs::write(&path, "damaged").unwrap();
        assert!(
            ensure(plan, &path, || build(plan, &path, 6)).unwrap().1.is_some(),
            "a damaged image is mended"
        );

        let (scope, action, mode) = (Scope::Subtree, Action::Sinkhole, Mode::Enforced);
        let trigger = Trigger::Qname;
        let rule = Rule { feed: 1, trigger, scope, action, mode, family: None, severity: None };
        let name = Name::from_host("evil.example").unwrap();
        assert_eq!(line_of(&feeds[0], Listed::Name(&name), &rule).unwrap(), Some(1));
        let passthru = Rule { action: Action::Passthru, ..rule };
        assert_eq!(line_of(&feeds[0], Listed::Name(&name), &passthru).unwrap(), None);
    }

    #[test]
    fn an_unusable_feed_leaves_the_old_image() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.img");
        let good = [source(folder.path(), "authority", "evil.example\n")];
        build(Plan { canaries: &[], feeds: &good }, &path, 1).unwrap();
        for text in ["<!DOCTYPE html><html>sign in</html>", "only prose here, and no names\n"] {
            let bad = [source(folder.path(), "authority", text)];
            let error = build(Plan { canaries: &[], feeds: &bad }, &path, 2).map(|_| ()).unwrap_err();
            assert!(matches!(error, UpdateError::Nothing { .. }), "{error}");
            assert_eq!(image::open(&path).unwrap().facts.built_at, 1);
            let plan = Plan { canaries: &[], feeds: &bad };
            assert!(renew(plan, &path, || build(plan, &path, 2)).is_err());
            let (image, reports) = ensure(plan, &path, || build(plan, &path, 2)).unwrap();
            assert_eq!((image.facts.built_at, reports), (1, None), "the old one is served");
            let nowhere = folder.path().join("none.img");
            assert!(ensure(plan, &nowhere, || build(plan, &nowhere, 2)).is_err());
        }
    }

    #[test]
    fn an_empty_list_is_a_list() {
        let folder = tempfile::tempdir().unwrap();
        let feeds = [source(folder.path(), "own", "# nothing yet\n")];
        let (compiled, _) = compile(Plan { canaries: &[], feeds: &feeds }, 1).unwrap();
        assert_eq!(compiled.into_index().unwrap().name_count(), 0);
    }
}
