//! The feeds' files as they come over the months, judged by the real gate and built into the real image; and what staff decide.

use std::fs;
use std::path::Path;

use super::calendar::{DAY, HOUR};
use super::province::ANALYSTS;
use super::threats::{Edition, FAMILIES, FEEDS, Threats};
use super::trace::Trace;
use super::{DemoError, failed};
use crate::config::Config;
use crate::evidence::archive::Hunter;
use crate::evidence::store::names::{Label, Reach};
use crate::feed::store::Word;
use crate::name::Key;
use crate::update::{self, Plan};

/// The feed whose last version the gate refuses.
pub(super) const REFUSED: usize = 3;
/// The feed of which one was refused before, and rejected by somebody.
const REJECTED: usize = 1;

/// Writes every feed's file as of a time, and puts it in force.
pub(super) fn publish(folder: &Path, config: &Config, threats: &Threats, now: i64) -> Result<(), DemoError> {
    for feed in 0..FEEDS.len() {
        write(folder, feed, &threats.text(feed, Edition::AsOf(now)))?;
    }
    build(config, now)
}

fn build(config: &Config, now: i64) -> Result<(), DemoError> {
    let Config { canaries, feeds, gate, versions, .. } = config;
    update::build(Plan { canaries, feeds, gate, versions }, &config.image_path(), now)?;
    Ok(())
}

fn write(folder: &Path, feed: usize, text: &str) -> Result<(), DemoError> {
    let path = folder.join("feeds").join(FEEDS[feed].file);
    let beside = path.with_extension("new");
    fs::write(&beside, text).and_then(|()| fs::rename(&beside, &path)).map_err(failed(&path))
}

/// Versions that the gate refuses: one that somebody has rejected since, and one that waits for somebody.
pub(super) fn mishap(
    folder: &Path,
    config: &Config,
    threats: &Threats,
    until: i64,
    trace: &mut Trace,
) -> Result<(), DemoError> {
    let rejected_at = until - 2 * DAY;
    let good = threats.text(REJECTED, Edition::AsOf(until));
    write(folder, REJECTED, &threats.text(REJECTED, Edition::Broken))?;
    build(config, rejected_at)?;
    let versions = config.versions.feed(FEEDS[REJECTED].name);
    if let Some(refused) = versions.state()?.pending() {
        let (digest, reason) = (refused.version.digest, "Danh sách bị cắt cụt khi tải về");
        let (by, at) = (ANALYSTS[1], rejected_at + 3 * HOUR);
        let word = Word { digest, by: by.to_owned(), reason: Some(reason.to_owned()), at };
        versions.update(|state| state.reject(word))?;
        let name = FEEDS[REJECTED].name;
        trace.changed(at - HOUR, by, "feed.replay", name, &digest.short());
        trace.changed(at, by, "feed.reject", name, &format!("{}: {reason}", digest.short()));
    }
    write(folder, REJECTED, &good)?;
    build(config, rejected_at + 5 * HOUR)?;
    write(folder, REFUSED, &threats.text(REFUSED, Edition::Broken))?;
    build(config, until - 3 * HOUR)
}

/// Has what became known at a time sought in what was recorded before.
pub(super) fn hunt(log: &Path, threats: &Threats, since: i64, listed: i64) -> Result<(), DemoError> {
    let mut order = Hunter::new(log).order(since)?;
    for indicator in threats.met.iter().flatten().filter(|it| it.since == listed && it.address.is_none()) {
        let family = &FAMILIES[indicator.family];
        let label = Label {
            feed: Some(FEEDS[family.feed].name.into()),
            family: Some(family.name.into()),
            severity: Some(family.severity),
        };
        let key = Key::from(&indicator.name);
        if let Err(source) = order.add_name(key.as_bytes(), Reach::Subtree, &label) {
            return Err(order.give_up(source).into());
        }
    }
    order.finish()?;
    Ok(())
}
