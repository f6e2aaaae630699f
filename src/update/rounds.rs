//! Which version of each feed a policy is compiled from.
//!
//! A round reads one version of each feed into a compiler, and judges those that are new by the way. Where one is
//! refused, the rules that it has given already cannot be taken back: the round is read to its end, so that all
//! verdicts are known, and the next one begins with the accepted version in its place. Without a refusal one
//! round is all there is.

use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::child::digest_of;
use super::intake::{FeedReport, Intake};
use super::{Plan, UpdateError, diff, standing};
use crate::feed::gate::{Gate, Reason, Standing};
use crate::feed::source::{Gating, Origin, Source};
use crate::feed::store::{Accepted, Candidate, Counts, Digest, Folder, Judge, Refused, StoreError};
use crate::feed::{self, Format};
use crate::policy::action::Action;
use crate::policy::compile::{Compiled, Compiler, Listing};
use crate::policy::rule::{Feed, FeedIndex, FeedKind, Mode};
use crate::policy::trigger::Scope;

/// The name under which canaries appear beside the feeds.
const CANARY: &str = "canary";

/// Versions with more octets are not compared unasked.
const MOST_COMPARED: u64 = 32 << 20;

/// What a round reads of one feed.
#[derive(Debug, Clone)]
enum Pick {
    /// A version that is new.
    Candidate(Candidate),
    /// The one in force.
    Accepted(Accepted),
    /// A file as it lies there, which nothing is written down about; whether it is the version in force.
    Loose(PathBuf, bool),
    /// There is none.
    Nothing,
}

/// A feed while its version is chosen.
struct Choice<'a> {
    source: &'a Source,
    folder: Folder,
    rules: Digest,
    accepted: Option<Accepted>,
    pick: Pick,
    troubles: Vec<String>,
}

/// All feeds of a plan, with what is to be read of each.
pub(super) struct Rounds<'a> {
    plan: Plan<'a>,
    gate: &'a Gate,
    choices: Vec<Choice<'a>>,
    is_dry: bool,
}

/// What the last round gave.
pub(super) struct Read {
    pub(super) compiled: Compiled,
    pub(super) reports: Vec<FeedReport>,
    /// The versions that became rules.
    pub(super) versions: Vec<Option<Digest>>,
    /// What follows for each feed once the image is in place.
    accepted: Vec<Option<Accepted>>,
}

/// What rounds came to.
pub(super) enum Outcome {
    /// There is something new, or something else than there was.
    New(Box<Read>),
    /// All that was new is refused; what is to be told of each feed.
    AsItWas(Vec<FeedReport>),
}

/// What a feed's versions are judged by, besides the version in force.
pub(super) fn rules(gate: Digest, source: &Source) -> Digest {
    let mut hasher = Sha256::new();
    hasher.update(gate.0);
    hasher.update(digest_of(source).0);
    Digest(hasher.finalize().into())
}

impl<'a> Rounds<'a> {
    /// Copies files that changed into the store, and chooses new versions where there are some.
    pub(super) fn prepare(plan: Plan<'a>, gate: &'a Gate, now: i64) -> Result<Self, UpdateError> {
        let mut choices = Vec::new();
        for source in plan.feeds {
            let folder = plan.versions.feed(&source.name);
            let mut troubles = Vec::new();
            if let Origin::File(path) = &source.origin
                && let Err(error) = folder.stage_file(path, now)
            {
                troubles.push(error.to_string());
            }
            let state = folder.state()?;
            let rules = rules(gate.digest(), source);
            let pick = match (state.candidate(rules), &state.accepted) {
                (Some(candidate), _) => {
                    folder.pin(&candidate.version)?;
                    Pick::Candidate(candidate)
                }
                (None, Some(accepted)) => Pick::Accepted(accepted.clone()),
                (None, None) => Pick::Nothing,
            };
            if !matches!(pick, Pick::Candidate(_)) {
                troubles.extend(standing::pending(&source.name, &state));
            }
            choices.push(Choice { source, folder, rules, accepted: state.accepted, pick, troubles });
        }
        Ok(Self { plan, gate, choices, is_dry: false })
    }

    /// Chooses files as they lie there, and writes nothing down.
    pub(super) fn rehearse(plan: Plan<'a>, gate: &'a Gate) -> Result<Self, UpdateError> {
        let mut choices = Vec::new();
        for source in plan.feeds {
            let folder = plan.versions.feed(&source.name);
            let state = folder.state()?;
            let rules = rules(gate.digest(), source);
            let mut troubles = Vec::new();
            let path = match (&source.origin, state.candidate(rules)) {
                (Origin::File(path), _) => path.clone(),
                // What was fetched last lies in the store.
                (Origin::Fetched(_), Some(candidate)) => folder.path_of(candidate.version.digest),
                (Origin::Fetched(_), None) => {
                    let pick = state.accepted.clone().map_or(Pick::Nothing, Pick::Accepted);
                    choices.push(Choice { source, folder, rules, accepted: state.accepted, pick, troubles });
                    continue;
                }
            };
            let pick = match (file_digest(&path), &state.accepted) {
                (Ok(digest), _) if state.is_rejected(digest) => {
                    state.accepted.clone().map_or(Pick::Nothing, Pick::Accepted)
                }
                (Ok(digest), _) => {
                    let approval = state.approval.as_ref().map(|word| word.digest);
                    let is_known = [state.accepted_digest(), approval].contains(&Some(digest));
                    Pick::Loose(path.clone(), is_known)
                }
                (Err(error), accepted) => {
                    troubles.push(format!("{}: {error}", path.display()));
                    accepted.clone().map_or(Pick::Nothing, Pick::Accepted)
                }
            };
            choices.push(Choice { source, folder, rules, accepted: state.accepted, pick, troubles });
        }
        Ok(Self { plan, gate, choices, is_dry: true })
    }

    /// Chooses what is in force, but of the feed of this name the file at `version`; writes nothing down.
    pub(super) fn what_if(
        plan: Plan<'a>,
        gate: &'a Gate,
        feed: &str,
        version: &Path,
    ) -> Result<Self, UpdateError> {
        let mut choices = Vec::new();
        for source in plan.feeds {
            let folder = plan.versions.feed(&source.name);
            let rules = rules(gate.digest(), source);
            let accepted = folder.state()?.accepted;
            let pick = if *source.name == *feed {
                Pick::Loose(version.to_owned(), true)
            } else {
                accepted.clone().map_or(Pick::Nothing, Pick::Accepted)
            };
            // What is in force instead would answer another question.
            let accepted = accepted.filter(|_| *source.name != *feed);
            choices.push(Choice { source, folder, rules, accepted, pick, troubles: Vec::new() });
        }
        Ok(Self { plan, gate, choices, is_dry: true })
    }

    /// The versions in force, where nothing else would be read, and nothing of them has ended.
    pub(super) fn all_accepted(&self, now: i64) -> Option<Vec<Option<Digest>>> {
        let is_new = |choice: &Choice<'_>| match &choice.pick {
            Pick::Accepted(accepted) => accepted.next_expiry.is_some_and(|end| end <= now),
            Pick::Candidate(_) | Pick::Loose(..) => true,
            Pick::Nothing => false,
        };
        (!self.choices.iter().any(is_new)).then(|| self.choices.iter().map(Choice::digest).collect())
    }

    /// Reads until all that was read may be put in force.
    pub(super) fn run(
        &mut self,
        now: i64,
        mut compiler: impl FnMut(Vec<Feed>) -> Result<Compiler, UpdateError>,
    ) -> Result<Read, UpdateError> {
        loop {
            if let Outcome::New(read) = self.run_unless(now, &mut compiler, |_| false)? {
                return Ok(*read);
            }
        }
    }

    /// The same, but stops where a refusal leaves the versions in force, of which `is_there` says that a policy is there
    /// already: reading them again would make the same once more.
    pub(super) fn run_unless(
        &mut self,
        now: i64,
        mut compiler: impl FnMut(Vec<Feed>) -> Result<Compiler, UpdateError>,
        is_there: impl Fn(Vec<Option<Digest>>) -> bool,
    ) -> Result<Outcome, UpdateError> {
        loop {
            if let Some(read) = self.round(now, compiler(self.feeds())?)? {
                self.check_for_any(&read)?;
                return Ok(Outcome::New(Box::new(read)));
            }
            if self.all_accepted(now).is_some_and(&is_there) {
                return Ok(Outcome::AsItWas(self.choices.iter().map(Choice::unread).collect()));
            }
        }
    }

    fn feeds(&self) -> Vec<Feed> {
        let canary = Feed::new(CANARY.into(), FeedKind::Housekeeping);
        let feeds = self.plan.feeds.iter().map(|source| {
            let (name, kind) = (Arc::clone(&source.name), FeedKind::Threat);
            Feed {
                name,
                kind,
                timing: source.timing,
                signed: source.signed,
                sinkhole: source.sinkhole.clone(),
            }
        });
        std::iter::once(canary).chain(feeds).collect()
    }

    /// `None` when a version was refused: what was compiled is of no use then.
    fn round(&mut self, now: i64, mut compiler: Compiler) -> Result<Option<Read>, UpdateError> {
        for name in self.plan.canaries {
            let (scope, action, mode) = (Scope::Subtree, Action::Nxdomain, Mode::Enforced);
            compiler.add(name, Listing { feed: 0, scope, action, mode, family: None, severity: None })?;
        }
        let mut is_sound = true;
        let (mut reports, mut versions, mut accepted) = (Vec::new(), Vec::new(), Vec::new());
        for (number, choice) in self.choices.iter_mut().enumerate() {
            let report = FeedReport { name: choice.source.name.to_string(), ..FeedReport::default() };
            let Some(standing) = choice.standing() else {
                let troubles = choice.troubles.clone();
                reports.push(FeedReport { format: choice.source.format, troubles, ..report });
                versions.push(None);
                accepted.push(None);
                continue;
            };
            let mut intake = Intake {
                compiler: is_sound.then_some(&mut compiler),
                // The configuration has far fewer feeds than 65535.
                feed: number as FeedIndex + 1,
                source: choice.source,
                trial: self.gate.trial(standing),
                report,
                failure: None,
                next_expiry: None,
            };
            let (format, reasons) = choice.read(now, &mut intake);
            if let Some(failure) = intake.failure {
                return Err(failure.into());
            }
            let counts = intake.trial.counts();
            let next_expiry = intake.next_expiry.map(to_the_hour);
            let mut report = intake.finish(format);
            if reasons.is_empty() {
                let set_aside = report.set_aside.count;
                report.is_new = matches!(choice.pick, Pick::Candidate(_) | Pick::Loose(_, false));
                report.troubles.clone_from(&choice.troubles);
                versions.push(choice.digest());
                accepted.push(choice.acceptance(counts, set_aside, next_expiry, now));
                reports.push(report);
            } else {
                is_sound = false;
                choice.refuse(&reasons, counts, now, self.is_dry)?;
            }
        }
        if !is_sound {
            return Ok(None);
        }
        Ok(Some(Read { compiled: compiler.finish()?, reports, versions, accepted }))
    }

    /// A policy without a single feed is none, unless none is to be had yet.
    fn check_for_any(&self, read: &Read) -> Result<(), UpdateError> {
        let is_any = self.choices.iter().any(|choice| !matches!(choice.pick, Pick::Nothing));
        let troubled = read.reports.iter().find(|report| !report.troubles.is_empty());
        match troubled {
            Some(report) if !is_any => {
                Err(UpdateError::NoFeed { feed: report.name.clone(), why: report.troubles.join("; ") })
            }
            _ => Ok(()),
        }
    }

    /// Writes down how refused versions differ from those in force, for people who have to decide; of long ones only
    /// when they ask.
    pub(super) fn compare(&self, now: i64) -> Result<(), UpdateError> {
        for choice in &self.choices {
            let state = choice.folder.state()?;
            let (Some(refused), Some(accepted)) = (state.pending(), &state.accepted) else { continue };
            let is_long = [&refused.version, &accepted.version].iter().any(|it| it.size > MOST_COMPARED);
            if is_long || refused.changes.is_some() {
                continue;
            }
            let digests = [accepted.version.digest, refused.version.digest];
            let [Ok(old), Ok(new)] = digests.map(|digest| choice.folder.open(digest)) else { continue };
            let scratch = super::scratch_in(self.plan.versions)?;
            let mut visit = |_: &diff::Difference<'_>| ControlFlow::Break(());
            // One that cannot even be read has no differences.
            let totals =
                diff::compare(choice.source, self.gate, [Some(old), Some(new)], now, scratch, &mut visit);
            if let Ok(totals) = totals {
                choice.folder.update(|state| state.compare(refused.version.digest, totals.changes()))?;
            }
        }
        Ok(())
    }

    /// Writes down which versions are in force now; call it once the image is in its place. `false` where somebody rejected one of
    /// them meanwhile: it is in the image, and must not stay.
    pub(super) fn settle(&self, read: &Read) -> Result<bool, StoreError> {
        let mut is_settled = true;
        for (choice, accepted) in self.choices.iter().zip(&read.accepted) {
            let Some(accepted) = accepted else { continue };
            let is_recount = choice.accepted.as_ref().is_some_and(|old| old.version == accepted.version);
            choice.folder.update(|state| {
                if is_recount {
                    state.recount(accepted.counts, accepted.set_aside, accepted.next_expiry);
                } else if state.is_rejected(accepted.version.digest) {
                    is_settled = false;
                } else {
                    state.accept(accepted.clone());
                }
            })?;
        }
        Ok(is_settled)
    }
}

impl Choice<'_> {
    /// How strictly what was picked is judged; `None` when nothing is.
    fn standing(&self) -> Option<Standing> {
        let base = self.accepted.as_ref().map(|accepted| accepted.counts);
        let standing = match &self.pick {
            Pick::Candidate(Candidate { approval: None, .. }) | Pick::Loose(_, false) => {
                Standing::Candidate(base)
            }
            Pick::Candidate(_) | Pick::Accepted(_) | Pick::Loose(_, true) => Standing::Accepted,
            Pick::Nothing => return None,
        };
        Some(if self.source.gate == Gating::AsItComes { Standing::Ungated } else { standing })
    }

    /// What is to be told where the version in force was not read again.
    fn unread(&self) -> FeedReport {
        let counts = self.accepted.as_ref().map(|accepted| accepted.counts).unwrap_or_default();
        FeedReport {
            name: self.source.name.to_string(),
            format: self.source.format,
            names: counts.names,
            networks: counts.networks,
            addresses: counts.addresses,
            urls: counts.urls,
            troubles: self.troubles.clone(),
            ..FeedReport::default()
        }
    }

    fn digest(&self) -> Option<Digest> {
        match &self.pick {
            Pick::Candidate(candidate) => Some(candidate.version.digest),
            Pick::Accepted(accepted) => Some(accepted.version.digest),
            Pick::Loose(..) | Pick::Nothing => None,
        }
    }

    fn read(&self, now: i64, intake: &mut Intake<'_>) -> (Format, Vec<Reason>) {
        let damaged =
            |error: &dyn std::fmt::Display| (self.source.format, vec![Reason::Damaged(error.to_string())]);
        let file = match &self.pick {
            Pick::Loose(path, _) => {
                File::open(path).map_err(|source| StoreError::Io { path: path.clone(), source })
            }
            _ => match self.digest() {
                Some(digest) => self.folder.open(digest),
                None => return (self.source.format, Vec::new()),
            },
        };
        match file {
            Err(error) => damaged(&error),
            Ok(file) => match feed::parse(file, &self.source.reading(now), intake) {
                Err(error) => damaged(&error),
                Ok(format) => (format, intake.trial.verdict()),
            },
        }
    }

    /// What the state says once the version that was read is in force.
    fn acceptance(
        &self,
        counts: Counts,
        set_aside: u64,
        next_expiry: Option<i64>,
        now: i64,
    ) -> Option<Accepted> {
        match &self.pick {
            Pick::Candidate(Candidate { version, approval }) => {
                let (version, approval) = (version.clone(), approval.clone());
                Some(Accepted { version, counts, set_aside, next_expiry, accepted_at: now, approval })
            }
            Pick::Accepted(accepted) => {
                let recounted = Accepted { counts, set_aside, next_expiry, ..accepted.clone() };
                (recounted != *accepted).then_some(recounted)
            }
            Pick::Loose(..) | Pick::Nothing => None,
        }
    }

    /// Steps back from a version to the one before.
    fn refuse(
        &mut self,
        reasons: &[Reason],
        counts: Counts,
        now: i64,
        is_dry: bool,
    ) -> Result<(), StoreError> {
        let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
        let words = reasons.join("; ");
        let fallback = self.accepted.clone().map_or(Pick::Nothing, Pick::Accepted);
        match std::mem::replace(&mut self.pick, fallback) {
            Pick::Candidate(Candidate { version, approval }) => {
                let judge =
                    Judge { rules: self.rules, base: self.accepted.as_ref().map(|it| it.version.digest) };
                let refused = Refused { version, counts, reasons, refused_at: now, judge, changes: None };
                self.troubles.push(standing::refusal(&self.source.name, &refused, self.accepted.as_ref()));
                if !is_dry {
                    self.folder.update(|state| state.refuse(refused, approval.as_ref()))?;
                }
            }
            Pick::Loose(path, _) => {
                self.troubles.push(format!("{}: it would be refused: {words}", path.display()));
            }
            Pick::Accepted(_) | Pick::Nothing => {
                self.troubles.push(format!("the version in force is damaged, and left out: {words}"));
                self.pick = Pick::Nothing;
            }
        }
        Ok(())
    }
}

/// The end of the hour: a feed whose indicators end one by one is not built anew for each.
fn to_the_hour(time: i64) -> i64 {
    const HOUR: i64 = 3_600_000_000;
    time.saturating_add(HOUR - time.rem_euclid(HOUR))
}

fn file_digest(path: &Path) -> io::Result<Digest> {
    if !fs::metadata(path)?.is_file() {
        // To open a named pipe would wait for its other end.
        return Err(io::Error::other("not a file"));
    }
    File::open(path).and_then(Digest::of)
}
