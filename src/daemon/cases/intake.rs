//! From records and contacts to sightings: one round after the other, each record once.

use std::collections::HashSet;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::setpriority_process;

use super::growing::Growing;
use super::hits::{Hit, Hits, Waiting, is_by_address};
use super::recall::recall;
use super::scan::{Scans, WINDOW};
use super::seen::Seen;
use super::who::{holder_soon_after, who};
use super::{Facts, Means};
use crate::cases::{
    Case, CaseFilter, Class, Desk, DeskError, Effect, Evidence, Notes, Sighting, State, Subject,
};
use crate::clock;
use crate::daemon::identity_folder;
use crate::evidence::contacts::join::{self, Recent, Rules};
use crate::evidence::contacts::{Contact, ContactsError, Reader, Via};
use crate::evidence::ledger::Ledger;
use crate::evidence::segment::Id;
use crate::evidence::store::StoreError;
use crate::evidence::store::finds::finds_after;
use crate::identity::{Book, BookError, Hints};
use crate::name::Name;
use crate::outlet::follow::{Follower, Key, Since};
use crate::serve::pipeline::listing;

/// How long nothing is looked for when there was nothing.
const IDLE: Duration = Duration::from_millis(100);
/// How often new segments are looked for, and the place is kept.
const ROUND: Duration = Duration::from_secs(1);
/// How often quiet days are counted, and machines are looked up that were addresses.
const TICK: Duration = Duration::from_secs(30);
/// The least time between two reports of one trouble.
const REPORT: Duration = Duration::from_secs(60);
/// How long a stop takes in what is there.
const GRACE: Duration = Duration::from_secs(1);
/// Behind the workers, and behind most else.
const NICE: i32 = 10;
/// Octets of segments that wait where the desk cannot be written.
const BACKLOG: u64 = 1 << 30;
/// How long hits of forwarders wait for a contact, in microseconds.
const WAIT: i64 = 60_000_000;
/// How far contacts were taken in: a mark of the desk's.
const CONTACTS: &str = "contacts";
/// How far hits were taken in that were found later: likewise.
const FINDS: &str = "finds";
/// How far a segment of the log was: likewise, one each, with its process, number and writer behind it.
const LOG: &str = "log ";
/// Fewer marks of segments are not looked through for those that are gone.
const FEW_MARKS: usize = 64;
/// Contacts, or finds, that are taken in at once.
const PART: usize = 500;
/// How long contacts wait for the hits that led to them, where there are more of those than can be read.
const BEHIND: Duration = Duration::from_secs(30);
/// So many hits without a find among them are not looked through again.
const FAR: i64 = 10_000;
/// Names that are known to have been hit by an address of theirs.
const MOST_BY_ADDRESS: usize = 10_000;
/// Open cases of addresses that are looked up at once.
const LOOKED_UP: u64 = 10_000;

/// Why a round was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Log(#[from] io::Error),
    #[error(transparent)]
    Desk(#[from] DeskError),
    #[error(transparent)]
    Book(#[from] BookError),
    #[error(transparent)]
    Contacts(#[from] ContactsError),
    #[error(transparent)]
    Finds(#[from] StoreError),
}

/// Works until it is told to stop.
pub(super) fn run(means: Arc<Means>) {
    // Of this thread alone. Where it is not granted, it competes as any other.
    let _ = setpriority_process(None, NICE);
    let mut intake =
        Intake { means, follower: None, is_aligned: false, looked: None, open: None, told: None, refused: 0 };
    loop {
        // A panic is a bug; it must not end the following.
        let wait = catch_unwind(AssertUnwindSafe(|| intake.round())).unwrap_or_else(|_| {
            // From the place that was written down.
            (intake.open, intake.follower) = (None, None);
            ROUND
        });
        if intake.means.is_stopping() {
            break;
        }
        std::thread::park_timeout(wait);
    }
    let _ = catch_unwind(AssertUnwindSafe(|| intake.finish()));
}

struct Intake {
    means: Arc<Means>,
    /// The place in the log, which is kept also where the desk cannot be opened.
    follower: Option<Follower>,
    /// Whether all goes on behind what the desk has.
    is_aligned: bool,
    /// When new segments were looked for last.
    looked: Option<Instant>,
    /// `None` until all of it could be opened.
    open: Option<Open>,
    /// When trouble was told last.
    told: Option<Instant>,
    /// Sightings that made no case since there are too many.
    refused: u64,
}

/// What a round works with.
struct Open {
    desk: Desk,
    book: Book,
    /// `None` until there are some.
    contacts: Option<Reader>,
    /// The last contact that was taken in.
    mark: u64,
    /// Contacts that wait until the log is read as far as it was when they were found.
    came: Came,
    growing: Growing,
    /// Trouble with what comes beside the log, which holds that up no longer than need be.
    beside: Option<Trouble>,
    /// When the hits that waited were last looked through.
    ended: Instant,
    /// Whether hits of before are known.
    recalls: bool,
    /// The number up to which finds were taken in, and the one that is noted.
    finds: (i64, i64),
    recent: Recent,
    /// Names that were hit by an address of theirs.
    by_address: HashSet<Arc<str>>,
    scans: Scans,
    seen: Seen,
    waiting: Waiting,
    /// What the desk has marks of.
    marks: HashSet<Key>,
    rounded: Option<Instant>,
    ticked: Option<Instant>,
}

impl Intake {
    /// Goes on following the log: what is recorded stays there for the desk, whatever becomes of it.
    fn follow(&mut self) -> io::Result<()> {
        let Means { ledger, run, .. } = &*self.means;
        let own = ledger.folder().join("cases");
        if self.follower.is_none() {
            // The server answers before this thread has come so far.
            let opened = Follower::open(ledger.folder(), &own, *run, ledger.first(), Since::Start)?;
            self.follower = Some(opened);
            self.is_aligned = false;
        }
        match &mut self.follower {
            Some(follower) if self.looked.is_none_or(|looked| looked.elapsed() >= ROUND) => {
                self.looked = Some(Instant::now());
                look(follower, ledger)
            }
            _ => Ok(()),
        }
    }

    /// Goes back to what did not arrive; where somebody took the folder away, to what its place has.
    fn go_back(&mut self) {
        // The desk has what it has, whatever it said.
        (self.looked, self.is_aligned) = (None, false);
        if !self.means.ledger.folder().join("cases").exists() {
            self.follower = None;
        }
        if let Some(follower) = &mut self.follower {
            follower.rewind();
        }
    }

    fn open(&mut self) {
        let data_dir = &self.means.data_dir;
        let opened = (|| {
            let desk = self.means.desk()?;
            Ok::<_, Trouble>(Open {
                finds: (0, 0),
                mark: 0,
                desk,
                contacts: None,
                came: Came::default(),
                growing: Growing::default(),
                beside: None,
                ended: Instant::now(),
                recalls: false,
                recent: Recent::new(Rules::default()),
                by_address: HashSet::new(),
                book: Book::open(&identity_folder(data_dir))?,
                scans: Scans::default(),
                seen: Seen::default(),
                waiting: Waiting::default(),
                marks: HashSet::new(),
                rounded: None,
                ticked: None,
            })
        })();
        match opened {
            Ok(open) => self.open = Some(open),
            Err(trouble) => self.tell(&trouble),
        }
    }

    /// Does what is due; returns how long nothing will be.
    fn round(&mut self) -> Duration {
        if let Err(error) = self.follow() {
            self.go_back();
            self.tell(&error.into());
            return ROUND;
        }
        if self.open.is_none() {
            self.open();
        }
        let (Some(follower), Some(open)) = (&mut self.follower, &mut self.open) else { return ROUND };
        let is_aligned = std::mem::replace(&mut self.is_aligned, true);
        let aligned = if is_aligned { Ok(()) } else { open.align(follower, &self.means) };
        match aligned.and_then(|()| open.round(follower, &self.means, &mut self.refused)) {
            Ok(wait) => {
                if let Some(trouble) = open.beside.take() {
                    self.tell(&trouble);
                }
                wait
            }
            Err(trouble) => {
                self.go_back();
                self.tell(&trouble);
                ROUND
            }
        }
    }

    fn finish(&mut self) {
        let until = Instant::now() + GRACE;
        while Instant::now() < until && self.round().is_zero() {}
        if let (Some(follower), Some(open)) = (&mut self.follower, &mut self.open) {
            let _ = open.take_growth(clock::now());
            let _ = follower.save();
        }
    }

    /// Reports a trouble, unless one was reported a short while ago.
    fn tell(&mut self, trouble: &Trouble) {
        if self.told.is_none_or(|told| told.elapsed() >= REPORT) {
            self.told = Some(Instant::now());
            tracing::error!(
                "cases are not kept up: {trouble}; it is tried again, and nothing of the log is lost until {} GiB wait",
                BACKLOG >> 30
            );
        }
    }
}

/// Finds new segments, gives up what does not fit, and writes the place down.
fn look(follower: &mut Follower, ledger: &Ledger) -> io::Result<()> {
    follower.look()?;
    let missed = follower.bound(BACKLOG, ledger.is_scarce(), &|record| record.is_hit)?;
    if missed > 0 {
        tracing::error!(missed, "hits were MISSED by cases: the desk could not be written for too long");
    }
    follower.save()
}

impl Open {
    fn round(
        &mut self,
        follower: &mut Follower,
        means: &Means,
        refused: &mut u64,
    ) -> Result<Duration, Trouble> {
        let now = clock::now();
        if self.rounded.is_none_or(|rounded| rounded.elapsed() >= ROUND) {
            self.rounded = Some(Instant::now());
            if self.contacts.is_none() {
                match Reader::open(&means.data_dir.join("contacts")) {
                    Ok(opened) => self.contacts = Some(opened),
                    Err(ContactsError::Missing { .. }) => {}
                    Err(error) => self.beside = Some(error.into()),
                }
            }
            let grown = self.take_growth(now);
            self.without_contacts(grown)?;
            self.forget_marks(follower)?;
            self.take_finds(means, now, refused)?;
            self.recast(means, now)?;
            if *refused > 0 {
                tracing::warn!(
                    refused = std::mem::take(refused),
                    "sightings made no case: there are cases.max_open open ones already"
                );
            }
        }
        let facts = means.facts();
        if self.came.contacts.is_empty() && self.find_contacts() {
            // A query's record is written before its answer, so the log has by now what led to them; be it in a new segment.
            follower.look()?;
        }
        let mut hits = Hits::default();
        let Self { seen, recent, by_address, .. } = self;
        let chunk = follower.read(&mut |record| {
            if let Some(hit) = join::Hit::of(record) {
                if is_by_address(record) {
                    note_address(by_address, &hit);
                }
                hits.add(record);
                recent.add(hit);
            }
            seen.add(record);
        })?;
        if let Some(chunk) = chunk {
            follower.launch(chunk);
            let mut sightings = Vec::new();
            let mut to_wait = Vec::new();
            for hit in hits.into_values() {
                if facts.forwarders.find(hit.asker.client).is_some() && !hit.asker.is_told() {
                    to_wait.push(hit);
                } else {
                    sightings.extend(self.sighting(&hit, Evidence::Query, &facts, refused)?);
                }
            }
            sightings.sort_by_key(|sighting| sighting.time);
            let to_wait = self.waiting.with(to_wait);
            if !sightings.is_empty() || !to_wait.is_empty() {
                // Where nothing is taken, nothing can be taken twice.
                let notes = Notes {
                    marks: vec![(mark_of(chunk.key), i64::try_from(chunk.to).unwrap_or(i64::MAX))],
                    kept: to_wait.iter().map(Hit::kept).collect(),
                };
                self.take(&sightings, &notes, now, refused)?;
                self.marks.insert(chunk.key);
                self.waiting.put(to_wait);
            }
            follower.land(chunk);
            // A look at the landing page may have been quicker, when only the address was known.
            for sighting in sightings.iter().filter(|it| matches!(it.machine, Subject::Machine(_))) {
                for case in self.desk.open_cases(Subject::Address(sighting.client.to_canonical()))? {
                    self.identify(&case, now)?;
                }
            }
        }
        if chunk.is_none() || self.seen.is_full() {
            self.seen.tell(&self.desk, &self.book, now)?;
        }
        let is_more = (chunk.is_none() || self.came.since.is_some_and(|since| since.elapsed() >= BEHIND))
            && self.take_contacts(means, &facts, now, refused)?;
        // Behind the contacts that may tell who asked.
        let is_read = chunk.is_none() && self.came.contacts.is_empty() && !is_more;
        if self.ended.elapsed() >= if is_read { ROUND } else { BEHIND } {
            self.ended = Instant::now();
            self.end_waiting(means, now, refused)?;
        }
        if self.ticked.is_none_or(|ticked| ticked.elapsed() >= TICK) {
            self.ticked = Some(Instant::now());
            self.desk.tick(now)?;
            self.identify_all(now)?;
        }
        Ok(if chunk.is_some() || is_more { Duration::ZERO } else { IDLE })
    }

    /// Goes on behind what the desk has taken.
    fn align(&mut self, follower: &mut Follower, means: &Means) -> Result<(), Trouble> {
        self.mark = self.desk.mark(CONTACTS)?.unwrap_or(0).unsigned_abs();
        self.came = Came::default();
        let finds = self.desk.mark(FINDS)?.unwrap_or(0);
        self.finds = (finds, finds);
        self.waiting = Waiting::load(&self.desk.kept()?);
        if !std::mem::replace(&mut self.recalls, true) {
            for (hit, is_by_address) in recall(means, clock::now())? {
                if is_by_address {
                    note_address(&mut self.by_address, &hit);
                }
                self.recent.add(hit);
            }
        }
        for hit in self.waiting.joinable() {
            self.recent.add(hit);
        }
        for (mark, to) in self.desk.marks(LOG)? {
            if let Some(key) = key_of(&mark) {
                follower.skip(key, to.unsigned_abs());
                self.marks.insert(key);
            }
        }
        Ok(())
    }

    /// Forgets how far segments were taken of which nothing comes any more.
    fn forget_marks(&mut self, follower: &Follower) -> Result<(), Trouble> {
        if self.marks.len() < FEW_MARKS {
            return Ok(());
        }
        // So that its place knows.
        follower.save()?;
        let known: HashSet<Key> = follower.keys().collect();
        let gone: Vec<String> = self.marks.difference(&known).map(|key| mark_of(*key)).collect();
        if !gone.is_empty() {
            self.desk.forget_marks(&gone)?;
            self.marks.retain(|key| known.contains(key));
        }
        Ok(())
    }

    fn take(
        &self,
        sightings: &[Sighting],
        notes: &Notes,
        now: i64,
        refused: &mut u64,
    ) -> Result<(), Trouble> {
        let effects = self.desk.sightings(sightings, notes, now)?;
        *refused += effects.iter().filter(|effect| **effect == Effect::Refused).count() as u64;
        Ok(())
    }

    /// Makes cases of agencies' own DNS servers of what nobody came for within a minute.
    fn end_waiting(&mut self, means: &Means, now: i64, refused: &mut u64) -> Result<(), Trouble> {
        let over = self.waiting.over(now, WAIT);
        if over.is_empty() {
            return Ok(());
        }
        let facts = means.facts();
        let mut sightings = Vec::new();
        for (hit, _) in over.iter().filter(|(_, has_come)| !has_come) {
            let person = hit.asker.met(&self.book, hit.first, hit.agency.as_deref())?;
            sightings.push(hit.sighting(person, Evidence::Query, &facts));
        }
        let over: Vec<Hit> = over.into_iter().map(|(hit, _)| hit).collect();
        self.take(&sightings, &kept_no_longer(&over), now, refused)?;
        self.waiting.remove(over.iter().map(Hit::key));
        Ok(())
    }

    /// Counts what came like a contact that was taken in, within its minute.
    fn take_growth(&mut self, now: i64) -> Result<(), Trouble> {
        let (Some(contacts), Some((first, last))) = (&self.contacts, self.growing.span()) else {
            return Ok(());
        };
        let grown = self.growing.grown(&contacts.counts(first, last)?);
        if !grown.is_empty() {
            self.desk.grown(grown.iter().map(|it| &it.sighting))?;
            self.growing.told(&grown);
            for key in grown.into_iter().filter_map(|it| it.behind) {
                self.waiting.note(key, now);
            }
        }
        self.growing.end();
        Ok(())
    }

    /// Goes on without contacts where those cannot be read; they are opened anew in a moment.
    fn without_contacts<T: Default>(&mut self, done: Result<T, Trouble>) -> Result<T, Trouble> {
        match done {
            Err(trouble @ Trouble::Contacts(_)) => {
                self.contacts = None;
                self.beside = Some(trouble);
                Ok(T::default())
            }
            done => done,
        }
    }

    /// What the desk is told of a hit; nothing where that would be of a machine that nobody knows, and there are too many cases.
    fn sighting(
        &self,
        hit: &Hit,
        evidence: Evidence,
        facts: &Facts,
        refused: &mut u64,
    ) -> Result<Option<Sighting>, Trouble> {
        // What is forged behind a forwarder must not fill the book.
        if hit.asker.is_new(&self.book)? && !self.desk.has_room()? {
            *refused += 1;
            return Ok(None);
        }
        let person = hit.asker.met(&self.book, hit.first, hit.agency.as_deref())?;
        Ok(Some(hit.sighting(person, evidence, facts)))
    }

    /// Takes in hits that were found later: who asked before the name was listed has a case too.
    fn take_finds(&mut self, means: &Means, now: i64, refused: &mut u64) -> Result<(), Trouble> {
        let facts = means.facts();
        loop {
            let mut hits = Hits::default();
            let mut count = 0;
            let to = finds_after(means.ledger.folder(), self.finds.0, PART, &mut |record| {
                hits.add(record);
                count += 1;
            })?;
            let mut sightings = Vec::new();
            for hit in hits.into_values() {
                sightings.extend(self.sighting(&hit, Evidence::Find, &facts, refused)?);
            }
            sightings.sort_by_key(|sighting| sighting.time);
            if count > 0 || (to - self.finds.1).abs() >= FAR {
                self.take(&sightings, &Notes::mark(FINDS, to), now, refused)?;
                self.finds.1 = to;
            }
            self.finds.0 = to;
            if count < PART || means.is_stopping() {
                return Ok(());
            }
        }
    }

    /// Finds who came to the sinkhole since; returns whether anybody did.
    fn find_contacts(&mut self) -> bool {
        let Some(contacts) = &self.contacts else { return false };
        let found = contacts.after(self.mark, PART).map_err(Trouble::from);
        self.came.contacts = self.without_contacts(found).unwrap_or_default();
        self.came.since =
            if self.came.contacts.is_empty() { None } else { self.came.since.or(Some(Instant::now())) };
        !self.came.contacts.is_empty()
    }

    /// Takes in who came to the sinkhole; returns whether there may be more.
    fn take_contacts(
        &mut self,
        means: &Means,
        facts: &Facts,
        now: i64,
        refused: &mut u64,
    ) -> Result<bool, Trouble> {
        let found = &self.came.contacts;
        let Some(last) = found.last().map(|contact| contact.id) else { return Ok(false) };
        let state = means.pipeline.state();
        let agency_of = |client| state.agencies.of(client).map(|agency| agency.id.to_string());
        for contact in found {
            let is_led = self.recent.hit_of(contact, agency_of(contact.client).as_deref()).is_some();
            self.scans.add(contact, is_led);
        }
        let mut sightings = Vec::new();
        let (mut waited, mut behinds) = (Vec::new(), Vec::new());
        for contact in found {
            let agency = agency_of(contact.client);
            let matched = self.recent.hit_of(contact, agency.as_deref());
            // A datagram's source is a claim: it names nobody but who asked himself.
            if contact.via == Via::Udp && matched.is_none_or(|matched| matched.is_behind(contact)) {
                continue;
            }
            let is_scan = matched.is_none() && self.scans.is_scanning(contact.client, contact.time);
            let mut behind = None;
            let (name, feed, family) = match matched {
                Some(found) => {
                    if found.is_behind(contact) {
                        behind = Some((found.hit.client, found.hit.name.to_string()));
                    }
                    (Arc::clone(&found.hit.name), found.hit.feed.clone(), found.hit.family.clone())
                }
                None if is_scan => {
                    let name = contact.name.clone().unwrap_or_else(|| contact.local.ip().to_string());
                    (name.into(), None, None)
                }
                // Asked long ago, or before a start: what the name is now.
                None => {
                    let Some(name) = &contact.name else { continue };
                    let Some(host) = Name::from_host(name).ok() else { continue };
                    let Some((feed, family)) = listing(&state, &host, contact.client) else { continue };
                    (name.as_str().into(), Some(feed), family.map(Into::into))
                }
            };
            let class = if is_scan {
                Class::Scan
            } else {
                facts.classes.of(family.as_deref(), feed.as_deref(), self.by_address.contains(&name))
            };
            let hints = Hints { agency: agency.as_deref(), ..Hints::default() };
            let person = who(&self.book, contact.client, contact.time, &hints)?;
            let agency = person.agency.or(agency);
            waited.extend(behind.as_ref().and_then(|key| self.waiting.get(key)).cloned());
            behinds.push(behind);
            sightings.push(Sighting {
                time: contact.time,
                client: contact.client,
                machine: person.subject,
                host: person.host,
                officer: agency.as_deref().and_then(|id| facts.officers.get(id)).cloned(),
                agency,
                class,
                family: family.map_or_else(String::new, |family| family.to_string()),
                name: name.to_string(),
                evidence: Evidence::Contact(contact.id),
                count: contact.count,
            });
        }
        let mark = i64::try_from(last).unwrap_or(i64::MAX);
        let notes = Notes { marks: vec![(CONTACTS.to_owned(), mark)], ..kept_no_longer(&waited) };
        self.take(&sightings, &notes, now, refused)?;
        self.mark = last;
        self.waiting.remove(waited.iter().map(Hit::key));
        for (sighting, key) in sightings.iter().zip(&behinds) {
            key.iter().for_each(|key| self.waiting.note(key.clone(), sighting.time));
        }
        self.growing.begin(sightings.into_iter().zip(behinds).collect());
        let is_more = self.came.contacts.len() == PART;
        self.came = Came { contacts: Vec::new(), since: self.came.since.filter(|_| is_more) };
        self.recast(means, now)?;
        Ok(is_more)
    }

    /// Makes one case of a scan of what its first steps looked like, and of what looks at the landing page do, which may be told to
    /// the desk behind the contact itself.
    fn recast(&mut self, means: &Means, now: i64) -> Result<(), Trouble> {
        let state = means.pipeline.state();
        for (client, time) in self.scans.scanning(now) {
            let agency = state.agencies.of(client).map(|agency| agency.id.to_string());
            let hints = Hints { agency: agency.as_deref(), ..Hints::default() };
            let subject = who(&self.book, client, time, &hints)?.subject;
            self.desk.recast_as_scan(subject, time - WINDOW, now)?;
            self.growing.recast(client);
        }
        Ok(())
    }

    /// Looks through all open cases for what turned out since.
    fn identify_all(&mut self, now: i64) -> Result<(), Trouble> {
        let open = [State::New, State::Notified, State::Cleaned, State::Watched].to_vec();
        let filter = CaseFilter { states: open, limit: Some(LOOKED_UP), ..CaseFilter::default() };
        self.desk.list(&filter)?.iter().try_for_each(|case| self.identify(case, now))
    }

    /// Gives a case of an address to the machine that it turned out to be, and that of a machine that became another one to that.
    fn identify(&mut self, case: &Case, now: i64) -> Result<(), Trouble> {
        let (into, host) = match case.subject {
            Subject::Machine(id) => match self.book.machine(id)? {
                Some(machine) if machine.id != id => (Subject::Machine(machine.id), machine.host),
                _ => return Ok(()),
            },
            Subject::Address(address) => {
                let hints = Hints { agency: case.agency.as_deref(), ..Hints::default() };
                let (first_hit, last_hit) = (case.course.first_hit, case.course.last_hit);
                let first = who(&self.book, address, first_hit, &hints)?;
                // Only where it was the same one all the time.
                let person = if first.subject != case.subject {
                    (first == who(&self.book, address, last_hit, &hints)?).then_some(first)
                } else if first.host.is_none() {
                    holder_soon_after(&self.book, address, (first_hit, last_hit))?
                } else {
                    None
                };
                let Some(person) = person else { return Ok(()) };
                (person.subject, person.host)
            }
        };
        self.desk.identify(case.subject, into, host.as_deref(), &crate::cases::Actor::Server, now)?;
        self.growing.identify(case.subject, into);
        Ok(())
    }
}

/// Notes that an address was met where this name led.
fn note_address(by_address: &mut HashSet<Arc<str>>, hit: &join::Hit) {
    if by_address.len() >= MOST_BY_ADDRESS {
        by_address.clear();
    }
    by_address.insert(Arc::clone(&hit.name));
}

fn mark_of((run, id): Key) -> String {
    format!("{LOG}{run} {} {}", id.number, id.writer)
}

fn key_of(mark: &str) -> Option<Key> {
    let mut parts = mark.strip_prefix(LOG)?.split(' ');
    let run = parts.next()?.parse().ok()?;
    Some((run, Id { number: parts.next()?.parse().ok()?, writer: parts.next()?.parse().ok()? }))
}

fn kept_no_longer(hits: &[Hit]) -> Notes {
    Notes { marks: Vec::new(), kept: hits.iter().map(|hit| (hit.kept_as(), None)).collect() }
}

/// Contacts that were found, and when.
#[derive(Default)]
struct Came {
    contacts: Vec<Contact>,
    since: Option<Instant>,
}
