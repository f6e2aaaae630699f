//! Keeps analysts' rules in force: reads them at the start, when they change and when one of them ends.
//!
//! Whoever gives a rule asks for this by the control socket and waits until it is live; the file is looked at
//! twice a second all the same, since not everybody who may write it may ask. What rules mean is `rules`'s.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::publish::Press;
use super::{DaemonError, retire};
use crate::clock;
use crate::config::Config;
use crate::feed::gate::Gate;
use crate::policy::guard::Guard;
use crate::rules::OwnError;
use crate::rules::history::{History, HistoryError, Mark};
use crate::serve::pipeline::Pipeline;
use crate::update::UpdateError;

impl Seen {
    /// Whether other rules are active by now: one has ended, or the clock was ahead when they were put in force, and those that had
    /// ended by it have not.
    fn is_over(&self, now: i64) -> bool {
        self.next_expiry.is_some_and(|end| end <= now) || now < self.at.saturating_sub(AHEAD)
    }
}

/// How often the file is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// … and when again after it could not be read.
const RETRY: Duration = Duration::from_secs(10);
/// How far a clock that is set right goes back without a word, in microseconds.
const AHEAD: i64 = 1_000_000;

/// Why analysts' rules are not put in force. Those before stay.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// They cannot be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// They cannot be indexed.
    #[error("analysts' rules: {0}")]
    Own(#[from] OwnError),
}

/// The names that no bare address takes, nor a block by hand without force.
///
/// # Errors
/// [`DaemonError::Update`], when a list of the gate cannot be read.
pub fn guard(config: &Config) -> Result<Guard, DaemonError> {
    let gate = Gate::load(&config.gate).map_err(UpdateError::from)?;
    let zones = config.zones.iter().map(|zone| zone.name.clone());
    let routes = config.forward.routes.iter().map(|route| route.domain.clone());
    let protected = zones.chain(routes).filter(|name| !name.is_root()).chain(gate.protected().cloned());
    Ok(Guard::new(protected, gate.popular().cloned()))
}

/// Analysts' rules, as they are kept in force.
#[derive(Clone)]
pub(super) struct Rules {
    history: History,
    pipeline: Arc<Pipeline>,
    press: Arc<Press>,
    seen: Arc<Mutex<Seen>>,
}

/// What is in force.
#[derive(Debug, Default)]
struct Seen {
    mark: Mark,
    /// When they were put in force.
    at: i64,
    /// When the first of them ends by itself, in microseconds since 1970.
    next_expiry: Option<i64>,
}

impl Rules {
    /// Puts them in force for the first time.
    pub(super) fn start(
        data_dir: &Path,
        pipeline: &Arc<Pipeline>,
        press: &Arc<Press>,
    ) -> Result<Self, RulesError> {
        let (history, pipeline) = (History::new(data_dir), Arc::clone(pipeline));
        let rules = Self { history, pipeline, press: Arc::clone(press), seen: Arc::default() };
        let line = rules.renew_now(false)?;
        if rules.seen().mark != Mark::default() {
            tracing::info!("{line}");
        }
        Ok(rules)
    }

    /// Puts them in force whenever they change, and whenever one of them ends.
    pub(super) async fn watch(self) {
        let mut failed: Option<(Mark, Instant)> = None;
        loop {
            tokio::time::sleep(LOOK).await;
            let (mark, now) = (self.history.mark(), clock::now());
            if mark == self.seen().mark && !self.seen().is_over(now) {
                continue;
            }
            let told = failed.filter(|(of, _)| *of == mark);
            if told.is_some_and(|(_, at)| at.elapsed() < RETRY) {
                continue;
            }
            match self.renew().await {
                Ok(line) => {
                    failed = None;
                    tracing::info!("{line}");
                }
                Err(error) => {
                    failed = Some((mark, Instant::now()));
                    // Told once, until the file changes again.
                    if told.is_none() {
                        tracing::error!("analysts' rules stay as they were, and are tried again: {error}");
                    }
                }
            }
        }
    }

    /// Puts them in force as they are now; returns a line for people.
    pub(super) async fn renew(&self) -> Result<String, RulesError> {
        let rules = self.clone();
        let done = tokio::task::spawn_blocking(move || rules.renew_now(true)).await;
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    fn renew_now(&self, is_serving: bool) -> Result<String, RulesError> {
        let mut seen = self.seen();
        let now = clock::now();
        let reading = self.history.read()?;
        if reading.mark != seen.mark {
            for (line, why) in &reading.faults {
                tracing::error!(
                    "{}:{line}: no rule of an analyst: {why}; mend or delete the line",
                    self.history.path().display()
                );
            }
        }
        let own = reading.book.own(now)?;
        let count = reading.book.active(now).count();
        let old = self.pipeline.replace_own(own);
        if is_serving {
            tokio::spawn(retire(old));
        }
        self.press.reprint();
        *seen = Seen { mark: reading.mark, at: now, next_expiry: reading.book.next_expiry(now) };
        Ok(format!("{count} rules of analysts in force"))
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_looked_at_again_when_one_ends_and_when_the_clock_is_set_right() {
        let seen = Seen { at: 50_000_000, next_expiry: Some(70_000_000), ..Seen::default() };
        for (now, expected) in [
            (50_000_000, false),
            (49_500_000, false),
            (10_000_000, true),
            (69_999_999, false),
            (70_000_000, true),
        ] {
            assert_eq!(seen.is_over(now), expected, "{now}");
        }
    }
}
