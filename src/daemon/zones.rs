//! Local zones while the server runs: read at the start and at a reload, and again when a file has changed.
//!
//! A zone that cannot be read any more stays as it was. What zones say is `resolve::zone`'s.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::Reloader;
use crate::name::Name;
use crate::resolve::forward::{self, Recursion};
use crate::resolve::health::Strategy;
use crate::resolve::routes::{self, Route};
use crate::resolve::zone::{Entry, Source, Stamp, Zone, ZoneFaults, Zones};
use crate::serve::notify;
use crate::serve::pipeline::Pipeline;
use crate::wire::compare_serials;

/// How often is looked whether a file has changed.
const WATCHING: Duration = Duration::from_secs(5);
const NAME_SERVER_PORT: u16 = 53;

/// Everything that is wrong with zones that there is no older version of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneErrors(pub Vec<ZoneFaults>);

impl fmt::Display for ZoneErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, faults) in self.0.iter().enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            write!(f, "{faults}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ZoneErrors {}

/// What came of reading all zones.
pub(super) struct Loaded {
    pub(super) zones: Zones,
    /// The zones whose file cannot be taken and which are as they were before.
    pub(super) kept: Vec<(Name, ZoneFaults)>,
}

/// Reads all zones. Where a file cannot be taken, the zone stays as it is in `old`.
///
/// # Errors
/// [`ZoneErrors`] where there is no old one.
pub(super) fn load(sources: &[Source], old: &Zones) -> Result<Loaded, ZoneErrors> {
    let mut entries = Vec::new();
    let (mut kept, mut errors) = (Vec::new(), Vec::new());
    for source in sources {
        let before = old.at(source.name.as_wire());
        // Taken before the file is read: what changes from now on is seen at the next look.
        let stamp = Stamp::of(&source.file);
        let mut take = |zone, faults: Option<ZoneFaults>| {
            kept.extend(faults.iter().map(|faults| (source.name.clone(), faults.clone())));
            let (source, stamp) = (source.clone(), stamp.clone());
            entries.push(Arc::new(Entry { zone, source, stamp, faults }));
        };
        if let Some(before) = before.filter(|it| it.source.file == source.file && it.stamp == stamp) {
            take(Arc::clone(&before.zone), before.faults.clone());
            continue;
        }
        match (Zone::load(&source.name, &source.file), before) {
            (Ok(zone), before) => {
                tell(&zone, before);
                take(Arc::new(zone), None);
            }
            (Err(faults), Some(before)) => {
                tracing::error!(zone = %source.name, "the zone stays as it was: {faults}");
                take(Arc::clone(&before.zone), Some(faults));
            }
            (Err(faults), None) => errors.push(faults),
        }
    }
    if errors.is_empty() { Ok(Loaded { zones: Zones::new(entries), kept }) } else { Err(ZoneErrors(errors)) }
}

/// Who is asked for which names: as the configuration has it, and below the cuts of local zones the servers that
/// these name, where the configuration has nobody for the same domain.
pub(super) fn with_cuts(mut sources: routes::Options, zones: &Zones) -> routes::Options {
    let known: HashSet<Name> = sources.routes.iter().map(|route| route.domain.clone()).collect();
    for cut in zones.cuts().into_iter().filter(|cut| !known.contains(&cut.name)) {
        let upstreams = cut.servers.iter().map(|&server| SocketAddr::new(server, NAME_SERVER_PORT).into());
        let upstreams = forward::Options {
            upstreams: upstreams.collect(),
            strategy: Strategy::default(),
            recursion: Recursion::None,
            domain: Some(cut.name.clone()),
            ..sources.upstreams.clone()
        };
        sources.routes.push(Route { domain: cut.name, upstreams });
    }
    sources
}

/// Reports a zone that is taken. Its file is what its operator says, so it is taken whatever its serial number
/// is: secondaries are who miss a change whose number does not grow (RFC 1982).
fn tell(zone: &Zone, before: Option<&Arc<Entry>>) {
    let (name, serial) = (zone.apex(), zone.serial());
    if zone.has_nsec3() {
        tracing::warn!(zone = %name, "negative answers come without proof: NSEC3 is not handed out; sign with NSEC");
    }
    let Some(before) = before else {
        tracing::info!(zone = %name, serial, "read a zone");
        return;
    };
    if before.zone.is_same(zone) {
        return;
    }
    match compare_serials(serial, before.zone.serial()) {
        Some(Ordering::Greater) => tracing::info!(zone = %name, serial, "the zone has changed"),
        Some(Ordering::Equal) => tracing::warn!(
            zone = %name, serial,
            "the zone has changed and its serial number has not: secondaries keep the old one; raise it"
        ),
        Some(Ordering::Less) | None => tracing::warn!(
            zone = %name, serial, before = before.zone.serial(),
            "the serial number has gone backwards: secondaries keep the old zone; raise it above that"
        ),
    }
}

/// Puts zones in force, and tells secondaries of those that have another serial number than before.
pub(super) fn put_in_force(pipeline: &Pipeline, zones: Zones) {
    let before = pipeline.zones();
    pipeline.set_zones(zones);
    let (zones, keys) = (pipeline.zones(), &pipeline.state().keys);
    for entry in zones.iter() {
        let old = before.at(entry.source.name.as_wire());
        if old.is_none_or(|old| old.zone.serial() != entry.zone.serial()) {
            notify::tell(entry, keys);
        }
    }
}

/// Reads a zone again when its file has changed, until the task is aborted.
pub(super) async fn watch(reloader: Reloader) {
    let mut ticks = tokio::time::interval(WATCHING);
    loop {
        ticks.tick().await;
        let reloader = reloader.clone();
        // It reports by itself.
        let _ = tokio::task::spawn_blocking(move || look(&reloader)).await;
    }
}

fn look(reloader: &Reloader) {
    let is_changed = |entry: &Arc<Entry>| Stamp::of(&entry.source.file) != entry.stamp;
    if !reloader.pipeline.zones().iter().any(is_changed) {
        return;
    }
    let configured = reloader.turn.lock().unwrap_or_else(PoisonError::into_inner);
    // A reload may have come before.
    let zones = reloader.pipeline.zones();
    let sources: Vec<Source> = zones.iter().map(|entry| entry.source.clone()).collect();
    if let Ok(loaded) = load(&sources, &zones) {
        reloader.pipeline.set_upstreams(with_cuts(configured.clone(), &loaded.zones));
        put_in_force(&reloader.pipeline, loaded.zones);
    }
}
