//! Keeps analysts' rules in force: reads them at the start, when they change and when one of them ends.
//!
//! Whoever gives a rule asks for this by the control socket and waits until it is live; the file is looked at
//! twice a second all the same, since not everybody who may write it may ask. What rules mean is `rules`'s.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

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

/// How often the file is looked at.
const LOOK: Duration = Duration::from_millis(500);

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
        let mut failed = Mark::default();
        loop {
            tokio::time::sleep(LOOK).await;
            let mark = self.history.mark();
            let (is_new, is_over) = {
                let Seen { mark: seen, next_expiry } = *self.seen();
                (mark != seen, next_expiry.is_some_and(|end| end <= clock::now()))
            };
            if !is_over && (!is_new || mark == failed) {
                continue;
            }
            match self.renew().await {
                Ok(line) => tracing::info!("{line}"),
                Err(error) => {
                    tracing::error!("analysts' rules stay as they were: {error}");
                    // Told once, until the file changes again.
                    failed = mark;
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
        *seen = Seen { mark: reading.mark, next_expiry: reading.book.next_expiry(now) };
        Ok(format!("{count} rules of analysts in force"))
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
