//! What the running server tells of itself: figures for Prometheus, and how each part is.
//!
//! All of it is read when somebody asks; what costs a look at files or databases is kept for some seconds.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustix::fs::statvfs;

use super::Reloader;
use crate::cases::{CaseFilter, Desk, State};
use crate::clock;
use crate::config::Config;
use crate::evidence::contacts::{self, Contacts, Reader};
use crate::evidence::ledger::Ledger;
use crate::evidence::tally::{Answered, Answers};
use crate::fetch::memory::Memory;
use crate::metrics::Condition::{Degraded, Failed, Well};
use crate::metrics::Kind::{Counter, Gauge};
use crate::metrics::{Exposition, Health};
use crate::wire::rcode_text;

/// How long what was read is given out again: many may ask at once.
const KEPT: Duration = Duration::from_secs(2);
/// Segments that wait for the archiver, beyond which it is behind: each has some megabytes, and is a few minutes' at the most.
const MOST_WAITING: u64 = 64;
/// A feed is old when nobody heard of it for so many of its intervals, and at least for a day.
const INTERVALS: u32 = 3;
const OLD: Duration = Duration::from_secs(86_400);

/// Tells whether a thread is still there: it holds the other end.
pub(super) type Pulse = Weak<()>;

/// What figures are read from.
pub(super) struct Instruments {
    reloader: Reloader,
    ledger: Arc<Ledger>,
    contacts: Arc<Contacts>,
    workers: Vec<Pulse>,
    /// When the process was started, microseconds since 1970.
    started: i64,
    /// Records dropped or lost when somebody looked last, so that what goes on now is told from what is over.
    seen: AtomicU64,
    text: Mutex<Option<(Instant, String)>>,
    health: Mutex<Option<(Instant, Health)>>,
}

impl Instruments {
    pub(super) fn new(
        reloader: Reloader,
        ledger: Arc<Ledger>,
        contacts: Arc<Contacts>,
        workers: Vec<Pulse>,
        started: i64,
    ) -> Self {
        let (seen, text, health) = (AtomicU64::new(0), Mutex::default(), Mutex::default());
        Self { reloader, ledger, contacts, workers, started, seen, text, health }
    }

    /// The text that Prometheus reads.
    pub(super) fn text(&self) -> String {
        kept(&self.text, || self.exposition())
    }

    /// How each part is.
    pub(super) fn health(&self) -> Health {
        kept(&self.health, || self.look())
    }

    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.reloader.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn exposition(&self) -> String {
        let config = self.config();
        let mut page = Exposition::default();
        page.family("sachdns_build_info", Gauge, "The release that runs.")
            .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        page.single(
            "sachdns_start_time_seconds",
            Gauge,
            "When the process was started, since 1970.",
            seconds(self.started),
        );
        self.queries(&mut page);
        self.log(&mut page, &config);
        self.policy(&mut page, &config);
        self.others(&mut page, &config);
        page.finish()
    }

    fn queries(&self, page: &mut Exposition) {
        let Answers { answered, hits, cached } = self.ledger.answers();
        page.family(
            "sachdns_queries_total",
            Counter,
            "Queries by transport, by what was done, and by rcode; rcode \"none\": no answer was sent.",
        );
        for Answered { transport, outcome, rcode, count } in answered {
            let rcode = match rcode {
                None => "none".into(),
                Some(Answered::OTHER) => "other".into(),
                Some(rcode) => rcode_text(rcode),
            };
            let labels =
                [("transport", transport.as_str()), ("action", outcome.as_str()), ("rcode", &*rcode)];
            page.sample(&labels, count);
        }
        page.single("sachdns_hits_total", Counter, "Queries that met a rule of a threat feed.", hits);
        page.single(
            "sachdns_cache_hits_total",
            Counter,
            "Queries that were answered from the cache.",
            cached,
        );
        let pipeline = &self.reloader.pipeline;
        let (waiting, capacity) = pipeline.waiting();
        page.single("sachdns_pending_queries", Gauge, "Queries that wait for upstreams.", waiting);
        page.single("sachdns_pending_queries_limit", Gauge, "… and how many may (limits.pending).", capacity);
        let upstreams = pipeline.upstreams();
        page.family(
            "sachdns_upstream_failures_total",
            Counter,
            "How often an upstream was silent, could not be reached, or failed where others did not.",
        );
        for (route, figures) in &upstreams {
            page.sample(&[("route", route), ("upstream", &figures.upstream)], figures.failures);
        }
        page.family(
            "sachdns_upstream_resting",
            Gauge,
            "Whether an upstream is asked last, since it failed too often.",
        );
        for (route, figures) in &upstreams {
            page.sample(&[("route", route), ("upstream", &figures.upstream)], u8::from(figures.is_resting));
        }
        let alive = self.workers.iter().filter(|worker| worker.strong_count() > 0).count();
        page.single("sachdns_workers", Gauge, "UDP workers that run.", alive);
        page.single(
            "sachdns_workers_configured",
            Gauge,
            "… and how many there should be.",
            self.workers.len(),
        );
    }

    fn log(&self, page: &mut Exposition, config: &Config) {
        let ledger = &self.ledger;
        page.single(
            "sachdns_log_records_total",
            Counter,
            "Records of queries that were written.",
            ledger.written(),
        );
        page.single(
            "sachdns_log_lost_total",
            Counter,
            "Records that could not be written, since the disk refused.",
            ledger.lost(),
        );
        page.single(
            "sachdns_log_dropped_total",
            Counter,
            "Records other than hits that were not written, since the disk was nearly full.",
            ledger.dropped(),
        );
        page.single(
            "sachdns_log_hits_only",
            Gauge,
            "Whether only hits are recorded, since the disk is nearly full.",
            u8::from(ledger.is_scarce()),
        );
        let (segments, octets) = segments(&config.log.folder);
        page.single(
            "sachdns_log_segments",
            Gauge,
            "Segments that are not in the store yet, open ones too.",
            segments,
        );
        page.single("sachdns_log_segments_bytes", Gauge, "… and their octets.", octets);
        page.single(
            "sachdns_disk_free_bytes",
            Gauge,
            "What is free where the server writes.",
            free(ledger.folder()),
        );
        if let Some(waiting) = ledger.owing() {
            page.single(
                "sachdns_clickhouse_waiting_files",
                Gauge,
                "Files of the store that ClickHouse has not got.",
                waiting,
            );
        }
        page.family("sachdns_outlet_sent_total", Counter, "Records that an outlet handed over.");
        let outlets = self.reloader.outlets.figures();
        for (name, figures) in &outlets {
            page.sample(&[("outlet", name)], figures.sent());
        }
        page.family("sachdns_outlet_missed_total", Counter, "Records that an outlet will not send any more.");
        for (name, figures) in &outlets {
            page.sample(&[("outlet", name)], figures.missed());
        }
        page.family("sachdns_outlet_connected", Gauge, "Whether an outlet has somebody to send to.");
        for (name, figures) in &outlets {
            page.sample(&[("outlet", name)], u8::from(figures.is_connected()));
        }
    }

    fn policy(&self, page: &mut Exposition, config: &Config) {
        let state = self.reloader.pipeline.state();
        let facts = &state.rules.image.facts;
        page.single("sachdns_policy_names", Gauge, "Names that the policy lists.", facts.name_count);
        page.single("sachdns_policy_bytes", Gauge, "Octets of its image.", facts.file_len);
        page.single(
            "sachdns_policy_built_seconds",
            Gauge,
            "When it was built, since 1970.",
            seconds(facts.built_at),
        );
        let feeds = feeds(config);
        page.family(
            "sachdns_feed_accepted_seconds",
            Gauge,
            "When the version of a feed came that is in force, since 1970.",
        );
        for feed in &feeds {
            page.sample(&[("feed", &feed.name)], seconds(feed.accepted.unwrap_or(0)));
        }
        page.family(
            "sachdns_feed_checked_seconds",
            Gauge,
            "When a feed's publisher was heard last, since 1970.",
        );
        for feed in feeds.iter().filter(|feed| feed.checked.is_some()) {
            page.sample(&[("feed", &feed.name)], seconds(feed.checked.unwrap_or(0)));
        }
        page.family("sachdns_feed_indicators", Gauge, "What a feed lists.");
        for feed in &feeds {
            page.sample(&[("feed", &feed.name)], feed.indicators);
        }
        page.family(
            "sachdns_feed_refused",
            Gauge,
            "Whether a version of a feed was refused, and nobody has decided about it.",
        );
        for feed in &feeds {
            page.sample(&[("feed", &feed.name)], u8::from(feed.is_refused));
        }
    }

    fn others(&self, page: &mut Exposition, config: &Config) {
        let data_dir = &self.reloader.started.data_dir;
        if let Ok(last) = Reader::open(&contacts::folder(data_dir)).and_then(|reader| reader.last_id()) {
            page.single(
                "sachdns_sinkhole_contacts_total",
                Counter,
                "Contacts with the sinkhole that were recorded.",
                last,
            );
        }
        page.single(
            "sachdns_sinkhole_contacts_missed_total",
            Counter,
            "Contacts that could not be recorded.",
            self.contacts.missed(),
        );
        page.family("sachdns_cases", Gauge, "Cases by how far they are.");
        let folder = data_dir.join("cases");
        let desk = Desk::open_existing(&folder, config.cases.options.clone()).ok().flatten();
        let tally =
            desk.and_then(|desk| desk.tally(&CaseFilter::default(), clock::now()).ok()).unwrap_or_default();
        for state in [State::New, State::Notified, State::Cleaned, State::Watched, State::Closed] {
            page.sample(&[("state", state.as_str())], tally.of(state));
        }
        page.single("sachdns_cases_overdue", Gauge, "Open cases that are overdue.", tally.overdue);
    }

    /// Looks at every part.
    fn look(&self) -> Health {
        let config = self.config();
        let mut health = Health::default();
        let dead = self.workers.iter().filter(|worker| worker.strong_count() == 0).count();
        let condition = if dead == 0 { Well } else { Failed };
        health.add("workers", true, condition, format!("{dead} UDP workers have ended: restart the server"));

        let names = self.reloader.pipeline.state().rules.image.facts.name_count;
        let feeds = feeds(&config);
        let old = feeds.iter().filter(|feed| feed.is_old).count();
        let (condition, told) = match () {
            () if names == 0 && !feeds.is_empty() => (Degraded, "the policy lists no name".to_owned()),
            () if old > 0 => (Degraded, format!("{old} feeds could not be renewed for too long")),
            () => (Well, String::new()),
        };
        health.add("policy", true, condition, told);
        let refused = feeds.iter().filter(|feed| feed.is_refused).count();
        let condition = if refused == 0 { Well } else { Degraded };
        health.add(
            "gate",
            false,
            condition,
            format!("feeds with a version that waits for a decision: {refused}"),
        );

        // Of each route: whether somebody there answers.
        let upstreams = self.reloader.pipeline.upstreams();
        let is_silent = |route: &str| {
            upstreams.iter().filter(|(it, _)| it == route).all(|(_, figures)| figures.is_resting)
        };
        let mut routes: Vec<&str> = upstreams.iter().map(|(route, _)| &**route).collect();
        routes.dedup();
        let silent = routes.iter().filter(|route| is_silent(route)).count();
        let (condition, told) = match () {
            () if routes.contains(&".") && is_silent(".") => (Failed, "no upstream answers".to_owned()),
            () if silent > 0 => (Degraded, format!("no upstream of {silent} routes answers")),
            () => (Well, String::new()),
        };
        health.add("upstreams", true, condition, told);

        let ledger = &self.ledger;
        let (waiting, _) = segments(&config.log.folder);
        let is_behind = waiting > MOST_WAITING + 2 * self.workers.len() as u64;
        let (condition, told) = match () {
            () if ledger.is_out() => (Failed, "queries cannot be recorded: free disk space or mend the disk"),
            () if ledger.is_scarce() => (Degraded, "the disk is nearly full: only hits are recorded"),
            () => (Well, ""),
        };
        health.add("log", false, condition, told);
        let condition = if is_behind { Degraded } else { Well };
        health.add("store", false, condition, format!("{waiting} segments of the log wait to be archived"));
        if let Some(owing) = ledger.owing() {
            let condition = if owing as u64 > MOST_WAITING { Degraded } else { Well };
            health.add("clickhouse", false, condition, format!("{owing} files are not in ClickHouse yet"));
        }
        let outlets = self.reloader.outlets.figures();
        if !outlets.is_empty() {
            let away = outlets.iter().filter(|(_, figures)| !figures.is_connected()).count();
            let condition = if away == 0 { Well } else { Degraded };
            health.add("outlets", false, condition, format!("{away} receivers of the log are away"));
        }
        let missed = self.contacts.missed();
        let is_growing = self.seen.swap(missed, Ordering::Relaxed) < missed;
        let condition = if is_growing { Degraded } else { Well };
        health.add("sinkhole", false, condition, "contacts with the sinkhole could not be recorded");
        health
    }
}

/// What was made lately, or made now.
fn kept<T: Clone>(kept: &Mutex<Option<(Instant, T)>>, make: impl FnOnce() -> T) -> T {
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    match &*kept {
        Some((at, value)) if at.elapsed() < KEPT => value.clone(),
        _ => {
            let value = make();
            *kept = Some((Instant::now(), value.clone()));
            value
        }
    }
}

/// Microseconds as Prometheus wants times.
fn seconds(time: i64) -> String {
    format!("{}.{:06}", time.div_euclid(1_000_000), time.rem_euclid(1_000_000))
}

/// How many segments there are, and their octets.
fn segments(folder: &Path) -> (u64, u64) {
    let Ok(entries) = fs::read_dir(folder) else { return (0, 0) };
    let segments = entries.flatten().filter(|entry| entry.path().extension().is_some_and(|it| it == "seg"));
    let lens = segments.filter_map(|entry| entry.metadata().ok()).map(|facts| facts.len());
    lens.fold((0, 0), |(count, octets), len| (count + 1, octets + len))
}

/// What is free on the disk of a folder.
fn free(folder: &Path) -> u64 {
    statvfs(folder).map_or(0, |facts| facts.f_bavail.saturating_mul(facts.f_frsize))
}

/// What is told of a feed.
struct Feed {
    name: String,
    accepted: Option<i64>,
    /// When its publisher was heard last; `None` for files.
    checked: Option<i64>,
    indicators: u64,
    is_refused: bool,
    is_old: bool,
}

fn feeds(config: &Config) -> Vec<Feed> {
    let now = clock::now();
    let feed = |source: &crate::feed::source::Source| {
        let state = config.versions.feed(&source.name).state().ok()?;
        let remote = config.remotes.iter().find(|remote| *remote.name == *source.name);
        let memory = remote.map(|remote| (remote, Memory::of(&state, &remote.publisher)));
        let is_old = memory.as_ref().is_some_and(|(remote, memory)| {
            let most = (memory.interval(remote) * INTERVALS).max(OLD);
            let most = i64::try_from(most.as_micros()).unwrap_or(i64::MAX);
            memory.checked_at > 0 && now.saturating_sub(memory.checked_at) > most
        });
        let latest = state.latest.as_ref().map(|latest| latest.digest);
        Some(Feed {
            name: source.name.to_string(),
            accepted: state.accepted.as_ref().map(|accepted| accepted.version.arrived_at),
            checked: memory.map(|(_, memory)| memory.checked_at).filter(|at| *at > 0),
            indicators: state.accepted.as_ref().map_or(0, |accepted| accepted.counts.indicators()),
            is_refused: state.pending().is_some_and(|refused| Some(refused.version.digest) == latest),
            is_old,
        })
    };
    config.feeds.iter().filter_map(feed).collect()
}
