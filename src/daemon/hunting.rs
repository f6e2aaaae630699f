//! New indicators, sought in what was recorded before they were listed.
//!
//! Both images are sorted, so what is new is found by walking through them side by side. A name or address is new where the
//! old image does not list it at all; that another feed lists it too, or more around it, is no news here.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::Reloader;
use crate::clock;
use crate::evidence::archive::{Hunter, OrderError};
use crate::evidence::record;
use crate::evidence::store::names::{Label, Reach};
use crate::policy::action::Action;
use crate::policy::index::Index;
use crate::policy::rule::{FeedKind, Mode, Rule, Severity};
use crate::policy::trigger::{Scope, Subject, Trigger};
use crate::serve::rulebook::Rulebook;

/// Keys of the old image that are looked at together.
const PART: usize = 4096;

impl Reloader {
    /// What is in force and was not listed before is sought in the log.
    pub(super) fn search_for_new(&self, old: &Rulebook) {
        let kept = self.started.archive.keep_queries.as_micros();
        let since = clock::now().saturating_sub(i64::try_from(kept).unwrap_or(i64::MAX));
        begin(&self.hunter, old, &self.pipeline.state().rules, since);
    }
}

/// Has what is new in `new` sought in the records since then.
fn begin(hunter: &Hunter, old: &Rulebook, new: &Rulebook, since: i64) {
    if old.image.facts.digest == new.image.facts.digest {
        return;
    }
    if let Err(error) = order(hunter, &old.image.index, &new.image.index, since) {
        tracing::warn!(%error, "the log is not searched for new indicators; `sachdns hunt` does it");
    }
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
    rule.mode == Mode::Enforced
        && rule.action != Action::Passthru
        && feed.is_some_and(|feed| feed.kind == FeedKind::Threat)
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
    use crate::policy::compile::{Compiler, Listing};
    use crate::policy::rule::Feed;

    type Listed<'a> = (&'a str, Action, Mode);

    fn index(listed: &[Listed<'_>]) -> Index<Vec<u8>> {
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
        compiler.finish().unwrap().into_index().unwrap()
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
}
