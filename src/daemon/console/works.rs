//! What the console does with feeds and rules: the policy in force is asked, the rest is what commands do too.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::Served;
use crate::clock;
use crate::console::jobs::Jobs;
use crate::console::kept::Kept;
use crate::console::works::{
    Affected, Decision, Differences, Feed, Fetching, Line, Lines, Order, Policy, Replayed, Trouble, Way,
    Works,
};
use crate::daemon::explain::{Places, Sources, tell};
use crate::daemon::feed_standing;
use crate::daemon::giving::{self, RuleError, Word};
use crate::daemon::replaying;
use crate::daemon::reviewing::{self, Comparison, ReviewError};
use crate::evidence::store::Filter;
use crate::explain::{Question, Story};
use crate::feed::gate::Gate;
use crate::feed::source::Gating;
use crate::name::Presentation;
use crate::policy::action::Action;
use crate::replay::Side;
use crate::rules::{Change, Effect, Rule};
use crate::update::UpdateError;
use crate::update::choose;
use crate::update::diff::{self, Sign};

/// Names that pages show of each direction of a replay.
const MOST_NAMES: usize = 200;
/// Families that pages show of a comparison.
const MOST_FAMILIES: usize = 12;

fn failed(error: impl std::fmt::Display) -> Trouble {
    Trouble::Failed(error.to_string())
}

fn of_review(error: ReviewError) -> Trouble {
    match error {
        ReviewError::UnknownFeed { .. } | ReviewError::WhichFeed { .. } => Trouble::NoFeed,
        ReviewError::NothingRefused { .. } => Trouble::NoVersion,
        ReviewError::InForce { .. } => Trouble::InForce,
        ReviewError::Update(error) => of_update(error),
        ReviewError::Versions(error) => failed(error),
    }
}

fn of_update(error: UpdateError) -> Trouble {
    match error {
        UpdateError::NoVersion { .. } => Trouble::NoVersion,
        error => failed(error),
    }
}

fn of_rule(error: RuleError) -> Trouble {
    match error {
        RuleError::Objection { subject, why } => Trouble::Guarded(subject.to_string(), why),
        RuleError::TopLevel(subject) => Trouble::TopLevel(subject.to_string()),
        RuleError::Suffix(subject) => Trouble::Suffix(subject.to_string()),
        RuleError::Large(subject) => Trouble::Large(subject.to_string()),
        RuleError::Address { subject, why } => Trouble::Address(subject.to_string(), why.to_string()),
        RuleError::Agency(id) => Trouble::NoAgency(id),
        RuleError::TooMany => Trouble::TooMany,
        RuleError::Nothing(_) | RuleError::Several { .. } => Trouble::NoRule,
        error => failed(error),
    }
}

/// What a version is called from outside: never a path.
fn checked(version: &str) -> Result<&str, Trouble> {
    let is_digits = !version.is_empty() && version.bytes().all(|octet| octet.is_ascii_hexdigit());
    if is_digits || matches!(version, "refused" | "latest" | "previous") {
        Ok(version)
    } else {
        Err(Trouble::NoVersion)
    }
}

impl Works for Served {
    fn explain(&self, question: &Question, lines: Lines) -> Result<Story, Trouble> {
        let (config, state) = (self.config(), self.reloader.pipeline.state());
        let book = crate::console::House::rules(self).read().map_err(failed)?.book;
        let sources = Sources {
            config: &config,
            index: &state.rules.image.index,
            guard: state.rules.layers().guard,
            own: state.rules.own().map(|own| &**own),
            book: &book,
        };
        let places = match lines {
            Lines::Find => Places::Find,
            Lines::Leave => Places::Leave,
        };
        Ok(tell(&sources, question, places, clock::now()))
    }

    fn policy(&self) -> Policy {
        let state = self.reloader.pipeline.state();
        let facts = &state.rules.image.facts;
        Policy { built_at: facts.built_at, names: facts.name_count }
    }

    fn feeds(&self) -> Result<Vec<Feed>, Trouble> {
        let (config, now) = (self.config(), clock::now());
        let feeds = feed_standing::feeds(&config).map_err(failed)?;
        let feed = |feed: feed_standing::Feed<'_>| {
            let fetching = feed.publisher.as_ref().map(|(remote, memory)| Fetching {
                next_at: now.saturating_add(i64::try_from(memory.due(remote, now).as_micros()).unwrap_or(0)),
                heard_at: memory.checked_at,
                failures: memory.failures,
                trouble: memory.trouble.clone().map(|why| (memory.trouble_at, why)),
                serial: memory.zone.map(|zone| zone.serial),
            });
            let source = feed.standing.source;
            Feed {
                name: Arc::clone(&source.name),
                origin: source.origin.to_string(),
                is_file: source.origin.file().is_some(),
                action: source.action.to_string(),
                is_gated: source.gate == Gating::Gated,
                state: feed.standing.state,
                missing: feed.standing.missing,
                fetching,
            }
        };
        Ok(feeds.into_iter().map(feed).collect())
    }

    fn differences(&self, feed: &str, version: &str, most: usize) -> Result<Differences, Trouble> {
        let config = self.config();
        let source = reviewing::source(&config, feed).map_err(of_review)?;
        let comparison = Comparison::new(&config, source, checked(version)?).map_err(of_update)?;
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        let totals = comparison.run(clock::now(), &mut |difference| {
            let lines = if difference.sign == Sign::Added { &mut added } else { &mut removed };
            if lines.len() < most {
                lines.push(Line {
                    kind: diff::kind(&difference.value, difference.trigger),
                    value: difference.value.to_string(),
                    family: difference.family.map(str::to_owned),
                    left_out: difference.left_out.clone(),
                });
            }
            if added.len().min(removed.len()) < most {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        let totals = totals.map_err(of_update)?;
        let (changes, kept) = (totals.changes(), totals.kept);
        let mut families: Vec<_> = totals.families.into_iter().filter(|(name, _)| !name.is_empty()).collect();
        families.sort_by_key(|(_, changes)| std::cmp::Reverse(changes.added + changes.removed));
        families.truncate(MOST_FAMILIES);
        Ok(Differences { added, removed, changes, kept, families })
    }

    fn decide(
        &self,
        feed: &str,
        version: &str,
        decision: Decision,
        by: &str,
        reason: &str,
    ) -> Result<(), Trouble> {
        let config = self.config();
        let (decision, is_approved) = match decision {
            Decision::Approve => (reviewing::Decision::Approve, true),
            Decision::Reject => (reviewing::Decision::Reject, false),
        };
        let version = checked(version)?;
        reviewing::decide(&config, feed, version, decision, by, Some(reason), clock::now())
            .map_err(of_review)?;
        if is_approved {
            self.reloader.news.tell();
        }
        Ok(())
    }

    fn replay(
        &self,
        feed: &str,
        version: &str,
        since: i64,
        go_on: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Replayed, Trouble> {
        let config = self.config();
        let source = reviewing::source(&config, feed).map_err(of_review)?;
        let chosen = choose::chosen(&config.versions, source, checked(version)?).map_err(of_update)?;
        let filter = Filter { since: Some(since), ..Filter::default() };
        let log = crate::console::House::log(self);
        let replay = replaying::replay(&config, &*log, source, &chosen.path, &filter, go_on);
        let replay = replay.map_err(failed)?;
        Ok(Replayed {
            queries: replay.queries,
            span: replay.span,
            is_complete: replay.is_complete,
            blocked: way(&replay.blocked),
            released: way(&replay.released),
        })
    }

    fn give(&self, order: &Order<'_>) -> Result<Vec<u64>, Trouble> {
        let config = self.config();
        let is_forced = order.effect != Effect::Usual;
        if order.action == Action::Passthru {
            for subject in &order.subjects {
                giving::check_exception(subject, is_forced).map_err(of_rule)?;
            }
        } else {
            let gate = Gate::load(&config.gate).map_err(failed)?;
            for subject in &order.subjects {
                giving::check(&config, &gate, subject, is_forced).map_err(of_rule)?;
            }
        }
        let agencies: Vec<String> = order.agency.map(str::to_owned).into_iter().collect();
        let word = Word { by: order.by, reason: order.reason };
        let given = giving::give(&config, &order.subjects, &agencies, word, |subject, agency| Rule {
            subject,
            action: order.action.clone(),
            effect: order.effect,
            agency,
            expires: order.expires,
            family: order.family.map(Arc::from),
            severity: order.severity,
        });
        let (_, events) = given.map_err(of_rule)?;
        let is_added = |event: &crate::rules::Event| matches!(event.change, Change::Add(_));
        Ok(events.iter().filter(|event| is_added(event)).map(|event| event.deed.id).collect())
    }

    fn end(&self, rule: u64, by: &str, reason: &str) -> Result<(), Trouble> {
        let word = Word { by, reason };
        giving::take_back(&self.config(), &[rule.to_string()], None, word, |_| true).map_err(of_rule)?;
        Ok(())
    }

    fn jobs(&self) -> &Arc<Jobs> {
        &self.jobs
    }

    fn kept(&self) -> &Kept {
        &self.kept
    }
}

/// What pages show of what would have gone one way.
fn way(side: &Side) -> Way {
    let count = |clients: usize| clients as u64;
    let more = side.names.len().saturating_sub(MOST_NAMES) as u64;
    let names = side.names.iter().take(MOST_NAMES).map(|affected| {
        let mut agencies: Vec<_> =
            affected.agencies.iter().map(|(id, queries)| (id.clone(), *queries)).collect();
        agencies.sort_by_key(|(_, queries)| std::cmp::Reverse(*queries));
        Affected {
            name: Presentation(&affected.qname).to_string(),
            feed: affected.feed.clone(),
            family: affected.family.clone(),
            queries: affected.queries,
            clients: count(affected.clients.len()),
            has_more_clients: affected.has_more_clients,
            agencies,
            last: affected.last,
        }
    });
    let names = names.collect();
    let mut agencies: Vec<_> = side
        .agencies
        .iter()
        .map(|(id, tally)| (id.clone(), tally.queries, count(tally.clients.len())))
        .collect();
    agencies.sort_by_key(|(_, queries, _)| std::cmp::Reverse(*queries));
    Way { queries: side.total.queries, clients: count(side.total.clients.len()), names, more, agencies }
}
