//! One outlet's thread: reads the log on, hands over what it finds, and keeps its place.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::process::setpriority_process;

use super::batch::{Batch, Encoder};
use super::follow::{Chunk, Follower, Since};
use super::link::{Link, LinkError};
use super::{Figures, Options, Stop};
use crate::evidence::export::Origin;
use crate::evidence::ledger::Ledger;
use crate::evidence::record::Record;
use crate::evidence::store::{StoreError, finds};

/// How long nothing is looked for when there was nothing.
const IDLE: Duration = Duration::from_millis(100);
/// How often new segments are looked for, the backlog is bounded, and the place is kept.
const ROUND: Duration = Duration::from_secs(1);
/// How long after a failure it is tried again: at first, and at most.
const RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// A connection that stands for so long is a good one.
const SETTLED: Duration = Duration::from_secs(1);
/// The least time between two reports of one trouble.
const REPORT: Duration = Duration::from_secs(60);
/// Hits that were found later, of one hand-over.
const FINDS: usize = 200;
/// Behind the workers, and behind most else.
const NICE: i32 = 10;

pub(super) struct Work {
    options: Options,
    encoder: Encoder,
    ledger: Arc<Ledger>,
    own: PathBuf,
    run: i64,
    since: Since,
    stop: Arc<Stop>,
    figures: Arc<Figures>,
    /// `None` until its folder could be read.
    follower: Option<Follower>,
    /// How far hits were read that were found later, and when last.
    finds: Option<i64>,
    sought: Option<Instant>,
    link: Option<Open>,
    batch: Batch,
    /// When connecting failed last, and how long it is not tried again since.
    failed: Option<(Instant, Duration)>,
    /// Whether that was told.
    is_told: bool,
    rounded: Option<Instant>,
    told_missed: Option<Instant>,
    untold_missed: u64,
    told_fault: Option<Instant>,
}

/// An open link, and what may still be lost on it.
struct Open {
    link: Link,
    since: Instant,
    /// What is being handed over.
    pending: Option<Portion>,
    flights: VecDeque<(Instant, Portion)>,
}

/// What is handed over at once.
#[derive(Debug, Clone, Copy)]
enum Portion {
    /// Records of the log.
    Log(Chunk),
    /// Hits that were found later, up to this number.
    Finds(i64),
}

impl Portion {
    fn land(self, follower: &mut Follower) {
        match self {
            Self::Log(chunk) => follower.land(chunk),
            Self::Finds(to) => follower.finds = Some(to),
        }
    }
}

impl Work {
    pub(super) fn new(
        options: Options,
        origin: Origin,
        ledger: Arc<Ledger>,
        own: PathBuf,
        (run, since): (i64, Since),
        stop: Arc<Stop>,
        figures: Arc<Figures>,
    ) -> Self {
        let encoder = Encoder::new(options.format, options.scope, options.is_syslog, origin);
        // At once: an outlet that is new may begin with what is recorded from now on. What goes wrong here is tried again, and told.
        let follower = Follower::open(ledger.folder(), &own, run, ledger.first(), since).ok();
        Self {
            options,
            encoder,
            ledger,
            own,
            run,
            since,
            stop,
            figures,
            follower,
            finds: None,
            sought: None,
            link: None,
            batch: Batch::default(),
            failed: None,
            is_told: false,
            rounded: None,
            told_missed: None,
            untold_missed: 0,
            told_fault: None,
        }
    }

    /// Works until it is told to stop, and its deadline at the latest.
    pub(super) fn work(&mut self) {
        // Of this thread alone. Where it is not granted, it competes as any other.
        let _ = setpriority_process(None, NICE);
        loop {
            // A panic is a bug; it must not end the sending.
            let wait = catch_unwind(AssertUnwindSafe(|| self.round(Instant::now())));
            let wait = wait.unwrap_or_else(|_| {
                (self.follower, self.finds) = (None, None);
                self.link = None;
                ROUND
            });
            if self.stop.deadline().is_some_and(|deadline| !wait.is_zero() || deadline <= Instant::now()) {
                break;
            }
            // A wake-up between the two is not lost: then parking returns at once.
            std::thread::park_timeout(wait);
        }
        let _ = catch_unwind(AssertUnwindSafe(|| self.finish()));
    }

    /// Does what is due; returns how long nothing will be.
    fn round(&mut self, now: Instant) -> Duration {
        if self.follower.is_none() {
            match Follower::open(self.ledger.folder(), &self.own, self.run, self.ledger.first(), self.since) {
                Ok(follower) => self.follower = Some(follower),
                Err(error) => {
                    self.fault(now, &error, "the outlet cannot keep its place");
                    return ROUND;
                }
            }
        }
        let is_stopping = self.stop.deadline().is_some();
        let is_round_due = self.rounded.is_none_or(|last| now.saturating_duration_since(last) >= ROUND);
        if is_round_due || is_stopping {
            self.rounded = Some(now);
            self.look(now);
        }
        if self.link.is_none() && !is_stopping {
            self.connect(now);
        }
        self.tell_missed(now);
        if self.link.is_none() {
            return IDLE;
        }
        match self.pass_on(now) {
            Ok(true) => Duration::ZERO,
            Ok(false) => IDLE,
            Err(Trouble::Link(error)) => {
                self.lose_link(now, &error);
                IDLE
            }
            Err(Trouble::Log(error)) => {
                self.fault(now, &error, "the outlet cannot read the query log");
                ROUND
            }
            Err(Trouble::Finds(error)) => {
                self.fault(now, &error, "the outlet cannot read hits that were found later");
                ROUND
            }
        }
    }

    /// Looks for new segments, bounds what waits, and keeps the place.
    fn look(&mut self, now: Instant) {
        self.confirm(now);
        let Self { follower: Some(follower), encoder, .. } = self else { return };
        if follower.finds.is_none() {
            // Those of before are for whoever had an outlet then.
            follower.finds = finds::newest(self.ledger.folder()).ok().flatten();
        }
        let looked = follower.look();
        let bounded = follower.bound(self.options.backlog, self.ledger.is_scarce(), &|it| encoder.wants(it));
        let saved = follower.save();
        match &bounded {
            Ok(missed) => {
                self.figures.missed.fetch_add(*missed, Ordering::Relaxed);
                self.untold_missed += missed;
            }
            Err(error) => self.fault(now, error, "the outlet cannot bound what waits for it"),
        }
        if let Err(error) = looked {
            self.fault(now, &error, "the outlet cannot follow the query log");
        }
        if let Err(error) = saved {
            if error.kind() == io::ErrorKind::NotFound {
                // The log was moved away under the server: it goes on in a new folder, and so do we.
                self.follower = None;
            }
            self.fault(now, &error, "the outlet cannot keep its place; a restart will send more again");
        }
    }

    /// What was sent long enough ago has arrived.
    fn confirm(&mut self, now: Instant) {
        let (Some(follower), Some(open)) = (&mut self.follower, &mut self.link) else { return };
        let doubt = match open.link.doubt() {
            Some(doubt) => doubt,
            None => match open.link.sync() {
                Ok(()) => Duration::ZERO,
                Err(_) => return,
            },
        };
        while let Some((sent, portion)) = open.flights.front()
            && now.saturating_duration_since(*sent) >= doubt
        {
            portion.land(follower);
            open.flights.pop_front();
        }
    }

    fn connect(&mut self, now: Instant) {
        if self.failed.is_some_and(|(failed, wait)| now.saturating_duration_since(failed) < wait) {
            return;
        }
        match Link::open(&self.options.to, &self.encoder, &self.stop) {
            Ok(link) => {
                self.link = Some(Open { link, since: now, pending: None, flights: VecDeque::new() });
                self.figures.is_connected.store(true, Ordering::Relaxed);
            }
            Err(error) => self.lose_link(now, &error),
        }
    }

    /// Hands over the next records; returns whether there may be more at once.
    fn pass_on(&mut self, now: Instant) -> Result<bool, Trouble> {
        let (Some(follower), Some(open)) = (&mut self.follower, &mut self.link) else { return Ok(false) };
        open.link.check()?;
        if self.failed.is_some() && now.saturating_duration_since(open.since) >= SETTLED {
            self.failed = None;
            if std::mem::take(&mut self.is_told) {
                tracing::info!(outlet = self.options.name, to = %self.options.to, "the outlet sends again");
            }
        }
        let (encoder, batch, framing) = (&mut self.encoder, &mut self.batch, open.link.framing());
        let portion = match open.pending {
            Some(portion) => portion,
            None => {
                batch.clear();
                let read = follower.read(&mut |record| encoder.add(record, framing, batch));
                match read.map_err(Trouble::Log)? {
                    Some(_) if batch.count() == 0 => return Ok(true),
                    Some(chunk) => {
                        // From here on it may be lost, also when sending ends half-way.
                        follower.launch(chunk);
                        *open.pending.insert(Portion::Log(chunk))
                    }
                    None if self.sought.is_some_and(|last| now.saturating_duration_since(last) < ROUND) => {
                        return Ok(false);
                    }
                    None => {
                        self.sought = Some(now);
                        let Some(at) = self.finds.or(follower.finds) else { return Ok(false) };
                        let visit = &mut |record: &Record<'_>| encoder.add(record, framing, batch);
                        let to = finds::finds_after(self.ledger.folder(), at, FINDS, visit);
                        let to = *self.finds.insert(to.map_err(Trouble::Finds)?);
                        if batch.count() == 0 {
                            if open.flights.is_empty() {
                                follower.finds = Some(to);
                            }
                            return Ok(false);
                        }
                        // There may be more.
                        self.sought = None;
                        *open.pending.insert(Portion::Finds(to))
                    }
                }
            }
        };
        if let Some(refused) = open.link.send(batch, &self.stop)? {
            open.pending = None;
            open.flights.push_back((Instant::now(), portion));
            let sent = batch.count() - refused;
            follower.sent += sent;
            follower.missed += refused;
            self.figures.sent.fetch_add(sent, Ordering::Relaxed);
            self.figures.missed.fetch_add(refused, Ordering::Relaxed);
            self.untold_missed += refused;
        }
        Ok(true)
    }

    fn lose_link(&mut self, now: Instant, error: &LinkError) {
        let is_settled = self.link.as_ref().is_some_and(|open| open.since.elapsed() >= SETTLED);
        let lost = self.link.take();
        self.figures.is_connected.store(false, Ordering::Relaxed);
        if matches!(error, LinkError::Moved) {
            // Rotated: the old file is ended well, and all of it is there.
            if let Some(open) = lost
                && open.link.finish(&self.stop).is_ok()
            {
                self.land(open.flights);
                return;
            }
        }
        if let Some(follower) = &mut self.follower {
            follower.rewind();
        }
        self.finds = None;
        if matches!(error, LinkError::Stopping) {
            return;
        }
        let wait = match self.failed {
            Some((_, wait)) if !is_settled => (2 * wait).min(LONGEST_RETRY),
            _ => RETRY,
        };
        self.failed = Some((now, wait));
        if !std::mem::replace(&mut self.is_told, true) {
            tracing::warn!(
                outlet = self.options.name, to = %self.options.to, %error,
                "the outlet cannot send; it is tried again until it works, and what does not fit its backlog meanwhile is counted as missed"
            );
        }
    }

    fn land(&mut self, flights: VecDeque<(Instant, Portion)>) {
        if let Some(follower) = &mut self.follower {
            flights.into_iter().for_each(|(_, portion)| portion.land(follower));
        }
    }

    /// Ends the connection well, and keeps the place.
    fn finish(&mut self) {
        // What is half handed over has no good end.
        if let Some(open) = self.link.take_if(|open| open.pending.is_none()) {
            match open.link.finish(&self.stop) {
                Ok(()) => self.land(open.flights),
                Err(error) => {
                    tracing::debug!(outlet = self.options.name, %error, "the last seconds are sent again at the next start");
                }
            }
        }
        self.figures.is_connected.store(false, Ordering::Relaxed);
        if let Some(follower) = &self.follower
            && let Err(error) = follower.save()
        {
            self.told_fault = None;
            self.fault(
                Instant::now(),
                &error,
                "the outlet cannot keep its place; the next start will send more again",
            );
        }
        self.told_missed = None;
        self.tell_missed(Instant::now());
    }

    fn tell_missed(&mut self, now: Instant) {
        let is_due = self.told_missed.is_none_or(|told| now.saturating_duration_since(told) >= REPORT);
        if self.untold_missed > 0 && is_due {
            self.told_missed = Some(now);
            let missed = std::mem::take(&mut self.untold_missed);
            tracing::warn!(
                outlet = self.options.name, to = %self.options.to, missed,
                "records were MISSED: the receiver was away or slow for longer than outlet.backlog lasts, or they do not fit a datagram"
            );
        }
    }

    /// Reports a trouble of our own, unless one was reported a short while ago.
    fn fault(&mut self, now: Instant, error: &dyn std::error::Error, what: &'static str) {
        if self.told_fault.is_none_or(|told| now.saturating_duration_since(told) >= REPORT) {
            self.told_fault = Some(now);
            tracing::error!(outlet = self.options.name, path = %self.own.display(), %error, "{what}");
        }
    }
}

/// What may go wrong on the way from the log to the receiver.
enum Trouble {
    Link(LinkError),
    Log(io::Error),
    Finds(StoreError),
}

impl From<LinkError> for Trouble {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}
