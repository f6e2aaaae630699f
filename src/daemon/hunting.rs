//! New indicators, sought in what was recorded before they were listed.
//!
//! Both images are sorted, so what is new is found by walking through them side by side. A name or address is new where the
//! old image does not list it at all; that another feed lists it too, or more around it, is no news here.
//!
//! The old image is the one up to which the log was searched. It has a second name beside the one in force, so that what came in force with a
//! start, or just before a kill, is sought too.

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Reloader;
use crate::clock;
use crate::evidence::archive::{Hunter, OrderError};
use crate::evidence::record;
use crate::evidence::store::names::{Label, Reach};
use crate::image::{self, Digest, Image, ImageError};
use crate::policy::action::Action;
use crate::policy::index::Index;
use crate::policy::rule::{FeedKind, Mode, Rule, Severity};
use crate::policy::trigger::{Scope, Subject, Trigger};

/// Keys of the old image that are looked at together.
const PART: usize = 4096;

/// Why new indicators are not sought.
#[derive(Debug, thiserror::Error)]
enum SearchError {
    #[error(transparent)]
    Order(#[from] OrderError),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error("{path}: {source}")]
    Mark { path: PathBuf, source: io::Error },
}

impl Reloader {
    /// What is in force and was not when the log was searched last is sought in it. Whoever calls it has the turn.
    pub(super) fn search_for_new(&self) {
        let kept = self.started.archive.keep_queries.as_micros();
        let since = clock::now().saturating_sub(i64::try_from(kept).unwrap_or(i64::MAX));
        let (path, state) = (self.started.image_path(), self.pipeline.state());
        if let Err(error) = search(&self.hunter, &path, &state.rules.image, since) {
            tracing::warn!(%error, "the log is not searched for new indicators before the next change or start; `sachdns hunt` does it now");
        }
    }
}

/// Where nothing was searched yet, what is listed from now on is what is new: `image` is in force, from the file at `path`.
pub(super) fn begin(path: &Path, image: &Image) {
    if !matches!(searched_path(path).try_exists(), Ok(false)) {
        return;
    }
    if let Err(error) = mark(path, &image.facts.digest) {
        tracing::warn!(%error, "the log is not searched for what the next change of the policy brings");
    }
}

/// Has what is new in `image`, which is in force from the file at `path`, sought in the records since then; returns how much that is.
fn search(hunter: &Hunter, path: &Path, image: &Image, since: i64) -> Result<u64, SearchError> {
    let searched = searched_path(path);
    if image::digest(&searched).is_ok_and(|digest| digest == image.facts.digest) {
        return Ok(0);
    }
    let count = match image::open(&searched) {
        Ok(old) => order(hunter, &old.index, &image.index, since)?,
        Err(error) => {
            tracing::warn!(%error, "what is new in the policy cannot be told, and is not sought in the log; `sachdns hunt` does it");
            0
        }
    };
    // Behind the order: what is ordered twice is found once.
    mark(path, &image.facts.digest)?;
    Ok(count)
}

fn searched_path(path: &Path) -> PathBuf {
    path.with_extension("searched")
}

/// Gives the image at `path` its second name, if it is the one with this digest: another one is yet to come in force.
fn mark(path: &Path, digest: &Digest) -> Result<(), SearchError> {
    let scratch = path.with_extension("searched.tmp");
    let failed = |source| SearchError::Mark { path: scratch.clone(), source };
    match fs::remove_file(&scratch) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    fs::hard_link(path, &scratch).map_err(failed)?;
    if image::digest(&scratch)? != *digest {
        return fs::remove_file(&scratch).map_err(failed);
    }
    fs::rename(&scratch, searched_path(path)).map_err(failed)
}

/// Orders a search for what `new` lists and `old` does not, however much it is: it goes to the disk, not into memory.
fn order<D: AsRef<[u8]>, E: AsRef<[u8]>>(
    hunter: &Hunter,
    old: &Index<D>,
    new: &Index<E>,
    since: i64,
) -> Result<u64, OrderError> {
    let mut order = hunter.order(since)?;
    let mut written = Ok(());
    let _ = for_each_added(old, new, |key, rule| {
        let label = label(rule, new);
        written = match Subject::of(key) {
            Some(Subject::Name(Trigger::Qname, name)) => {
                let reach = match rule.scope {
                    Scope::Exact => Reach::Exact,
                    Scope::Subtree => Reach::Subtree,
                    Scope::Below => Reach::Below,
                };
                order.add_name(name, reach, &label)
            }
            Some(Subject::Network(Trigger::Ip, net)) => order.add_net(net, &label),
            _ => Ok(()),
        };
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    match written {
        Ok(()) => order.finish(),
        Err(error) => Err(order.give_up(error)),
    }
}

/// Visits what is sought of all that `new` lists and `old` does not, in the order of keys.
fn for_each_added<D: AsRef<[u8]>, E: AsRef<[u8]>>(
    old: &Index<D>,
    new: &Index<E>,
    mut visit: impl FnMut(&[u8], &Rule) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mut known = Keys::new(old);
    new.scan(&[], |key, rule_set| {
        if known.has(key) {
            return ControlFlow::Continue(());
        }
        let rules = new.rule_sets().get(rule_set).map(Vec::as_slice).unwrap_or_default();
        // The earlier feed's rule first, as in decisions.
        rules.iter().filter(|rule| is_sought(rule, new)).try_for_each(|rule| visit(key, rule))
    })
}

/// Whether a rule tells of an infection: no exception, no feed on trial, no canary, no bare address that half the web shares.
fn is_sought<D: AsRef<[u8]>>(rule: &Rule, index: &Index<D>) -> bool {
    let feed = index.provenance().feeds.get(usize::from(rule.feed));
    let acts = match rule.mode {
        Mode::Enforced => true,
        Mode::Guarded => rule.trigger != Trigger::Address,
        Mode::Shadow => false,
    };
    acts && rule.action != Action::Passthru && feed.is_some_and(|feed| feed.kind == FeedKind::Threat)
}

fn label<D: AsRef<[u8]>>(rule: &Rule, index: &Index<D>) -> Label {
    let provenance = index.provenance();
    let family = rule.family.and_then(|family| provenance.families.get(family as usize));
    Label {
        feed: provenance.feeds.get(usize::from(rule.feed)).map(|feed| Arc::clone(&feed.name)),
        family: family.cloned(),
        severity: rule.severity.map(|severity| match severity {
            Severity::Low => record::Severity::Low,
            Severity::Medium => record::Severity::Medium,
            Severity::High => record::Severity::High,
            Severity::Critical => record::Severity::Critical,
        }),
    }
}

/// The keys of an index, asked for in their order.
struct Keys<'i, D> {
    index: &'i Index<D>,
    part: Vec<Box<[u8]>>,
    at: usize,
    is_over: bool,
}

impl<'i, D: AsRef<[u8]>> Keys<'i, D> {
    fn new(index: &'i Index<D>) -> Self {
        Self { index, part: Vec::new(), at: 0, is_over: false }
    }

    /// Whether there is this key, which is not before any that was asked for.
    fn has(&mut self, key: &[u8]) -> bool {
        loop {
            while let Some(own) = self.part.get(self.at) {
                match (**own).cmp(key) {
                    std::cmp::Ordering::Less => self.at += 1,
                    order => return order.is_eq(),
                }
            }
            if self.is_over {
                return false;
            }
            let after = self.part.pop().unwrap_or_default();
            self.part.clear();
            self.at = 0;
            let part = &mut self.part;
            let flow = self.index.scan(&after, |key, _| {
                part.push(key.into());
                if part.len() < PART { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            self.is_over = flow.is_continue();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Name;
    use crate::policy::compile::{Compiled, Compiler, Listing};
    use crate::policy::rule::Feed;

    type Listed<'a> = (&'a str, Action, Mode);

    fn index(listed: &[Listed<'_>]) -> Index<Vec<u8>> {
        compiled(listed).into_index().unwrap()
    }

    fn compiled(listed: &[Listed<'_>]) -> Compiled {
        let mut compiler = Compiler::new(vec![Feed::new("authority".into(), FeedKind::Threat)]);
        let family = Arc::from("emotet");
        for (text, action, mode) in listed {
            let listing = Listing {
                feed: 0,
                scope: Scope::Subtree,
                action: action.clone(),
                mode: *mode,
                family: Some(&family),
                severity: Some(Severity::High),
            };
            compiler.add(&Name::from_host(text).unwrap(), listing).unwrap();
        }
        compiler.finish().unwrap()
    }

    #[test]
    fn what_is_new_is_sought() {
        let old: Vec<String> = (0..9000).map(|n| format!("n{n}.old.test")).collect();
        let known = |name| (name, Action::Sinkhole, Mode::Enforced);
        let mut listed: Vec<Listed<'_>> = old.iter().map(|name| known(name.as_str())).collect();
        let before = index(&listed);
        let folder = tempfile::tempdir().unwrap();
        let hunter = Hunter::new(folder.path());
        let ordered = |old: &Index<Vec<u8>>, new: &Index<Vec<u8>>| order(&hunter, old, new, 0).unwrap();
        assert_eq!(ordered(&before, &before), 0);
        listed.truncate(8000);
        listed.extend([
            known("evil.example"),
            known("n77.zz.test"),
            ("trial.example", Action::Sinkhole, Mode::Shadow),
            ("good.example", Action::Passthru, Mode::Enforced),
        ]);
        let after = index(&listed);
        assert_eq!(ordered(&before, &after), 2);
        assert_eq!(ordered(&index(&[]), &before), 9000);
    }

    #[test]
    fn neither_a_start_nor_a_kill_leaves_anything_unsought() {
        let known = |name| (name, Action::Sinkhole, Mode::Enforced);
        let names: Vec<String> = (0..9).map(|n| format!("n{n}.test")).collect();
        let listed: Vec<Listed<'_>> = names.iter().map(|name| known(name.as_str())).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.img");
        let hunter = Hunter::new(folder.path());
        let put = |count: usize| {
            image::write(&path, &compiled(&listed[..count]), &[0; 32], 0).unwrap();
            image::open(&path).unwrap()
        };
        let sought = |image: &Image| search(&hunter, &path, image, 0).unwrap();
        let first = put(2);
        begin(&path, &first);
        assert_eq!(sought(&first), 0, "what was there before anything was recorded");
        // It came in force, and the process ended.
        let second = put(5);
        begin(&path, &second);
        assert_eq!(sought(&second), 3);
        assert_eq!(sought(&second), 0, "once");
        // Another one is built while one comes in force.
        let third = put(6);
        let fourth = put(9);
        assert_eq!(sought(&third), 1);
        assert_eq!(sought(&fourth), 4, "one of them again rather than none");
        assert_eq!(sought(&fourth), 0);
        // What nobody can read is begun anew.
        fs::remove_file(searched_path(&path)).unwrap();
        fs::write(searched_path(&path), b"odd").unwrap();
        assert_eq!(sought(&fourth), 0);
        assert_eq!(sought(&put(9)), 0);
        let entries = || fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(entries().all(|name| name != "policy.searched.tmp"));
    }
}
