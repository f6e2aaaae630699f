//! How feeds stand, their publishers with them.
//!
//! For the commands and the console alike; reads the store and looks at files, and changes nothing.

use super::plan;
use crate::clock::local_time;
use crate::config::Config;
use crate::feed::source::Origin;
use crate::feed::store::StoreError;
use crate::fetch::Remote;
use crate::fetch::memory::Memory;
use crate::update::standing::{self, FeedStanding};

/// A feed, and what is remembered of its publisher where it has one that is asked.
pub struct Feed<'a> {
    /// What the store says of it.
    pub standing: FeedStanding<'a>,
    /// Who is asked for it.
    pub publisher: Option<(&'a Remote, Memory)>,
}

/// All feeds in configured order.
///
/// # Errors
/// [`StoreError`], when the store cannot be read.
pub fn feeds<'a>(config: &'a Config) -> Result<Vec<Feed<'a>>, StoreError> {
    let feed = |standing: FeedStanding<'a>| {
        let remote = config.remotes.iter().find(|remote| *remote.name == *standing.source.name);
        let publisher = remote.map(|remote| (remote, Memory::of(&standing.state, &remote.publisher)));
        Feed { standing, publisher }
    };
    Ok(standing::of(plan(config))?.into_iter().map(feed).collect())
}

impl Feed<'_> {
    /// When the publisher is asked next; where there is none, what makes a new version come.
    pub fn next(&self, now: i64) -> String {
        match (&self.publisher, &self.standing.source.origin) {
            (Some((remote, memory)), _) => match memory.due(remote, now).as_secs() {
                0 => "now".to_owned(),
                seconds => format!("in {}", span(seconds)),
            },
            (None, Origin::File(_)) => "on change".to_owned(),
            (None, Origin::Fetched(_)) => "by import".to_owned(),
        }
    }

    /// Whether the last fetch brought nothing.
    pub fn is_failing(&self) -> bool {
        self.publisher.as_ref().is_some_and(|(_, memory)| memory.failures > 0)
    }

    /// What somebody should look after.
    pub fn troubles(&self, now: i64) -> Vec<String> {
        let mut troubles = self.standing.troubles.clone();
        let failing = self.publisher.as_ref().filter(|(_, memory)| memory.failures > 0);
        if let Some((_, memory)) = failing {
            let Memory { failures, trouble, trouble_at, .. } = memory;
            let times = if *failures == 1 { String::new() } else { format!(" {failures} times") };
            troubles.push(format!(
                "it could not be fetched{times}, last at {}: {}; asked again {}",
                local_time(*trouble_at),
                trouble.as_deref().unwrap_or("not told"),
                self.next(now),
            ));
        }
        troubles
    }

    /// How it stands, in a word or two.
    pub fn word(&self) -> &'static str {
        let state = &self.standing.state;
        let is_held_back = || match (&state.accepted, &state.latest) {
            (Some(accepted), Some(latest)) => accepted.version.digest != latest.digest,
            _ => false,
        };
        if !self.standing.troubles.is_empty() || self.is_failing() {
            return "see below";
        }
        match (&state.accepted, &state.latest) {
            (Some(_), Some(latest)) if is_held_back() && state.is_rejected(latest.digest) => "in force*",
            (Some(_), _) if is_held_back() => "new waits",
            (Some(_), _) => "in force",
            (None, Some(_)) => "not built",
            (None, None) => "none yet",
        }
    }
}

/// A time to come, in one unit.
fn span(seconds: u64) -> String {
    match seconds {
        0..=99 => format!("{seconds} s"),
        100..=5_999 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3600)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_one_unit() {
        for (seconds, expected) in
            [(1, "1 s"), (99, "99 s"), (100, "2 min"), (3600, "60 min"), (7200, "2 h"), (86_400, "24 h")]
        {
            assert_eq!(span(seconds), expected);
        }
    }
}
