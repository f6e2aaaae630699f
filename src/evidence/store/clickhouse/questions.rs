//! The questions, asked of ClickHouse, and of this machine for what is not there yet.
//!
//! What this machine has that ClickHouse may have too is asked of one of both only: the log is looked at first, and of this server's
//! batches ClickHouse answers with those alone that were there by then. Rows come in parts of bounded size, found by
//! counting them by time first, and are put in order here, as those of files are; so a page ends and goes on at the same
//! place wherever its records lie. Where clients are hidden before they are shipped, this machine answers for all
//! that it still has.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::client::{Ask, Client, ClientError};
use super::rows::{Rest, SumRow, selected, shown_name, time_of};
use super::schema::{Missing, SchemaError, Target};
use super::sought::{Conditions, Sought, conditions, step_of, within};
use super::sql::{List, Text as Literal, address};
use super::state::{Standing, State};
use super::{Options, ship};
use crate::evidence::archive::Anonymise;
use crate::evidence::record::Record;
use crate::evidence::store::catalogue::Catalogue;
use crate::evidence::store::counting::{By, Count, Tally};
use crate::evidence::store::embedded::{self, Embedded, store_folder};
use crate::evidence::store::loaded::{Loaded, Origin, merge};
use crate::evidence::store::names::What;
use crate::evidence::store::rows::MINUTE;
use crate::evidence::store::sightings::{self, Sighting, Sum};
use crate::evidence::store::view::{View, needles_of};
use crate::evidence::store::{Filter, Gap, Kind, Page, Scan, Store, StoreError, Unwatched, Watch};
use crate::name::Name;

/// Rows that are asked for at once.
const MOST: u64 = 1 << 16;
/// … and at the least, where only a few are wanted.
const FEW: u64 = 1 << 10;
/// The newest rows are looked for in the last hour, then in four times as much before it, and so on.
const FIRST_SPAN: i64 = 3_600_000_000;
const GROWTH: i64 = 4;
/// Into how many parts a time with too many rows is cut.
const PARTS: i64 = 1 << 10;
/// Names that are asked for by name, where a search met more of them it looks at every row.
const MOST_NAMES: usize = 100_000;
/// Sums that are added up.
const MOST_SUMS: usize = sightings::MOST;
/// Rows that may come to a time while it is asked about.
const MOST_NEW: u64 = 4 << 20;
/// About what a row takes, for the bar.
const ROW: u64 = 12;
/// How long a question may take.
const PATIENCE: Duration = Duration::from_secs(900);

/// The log in ClickHouse, and what of it is still in a folder here.
#[derive(Debug)]
pub struct ClickHouse {
    options: Options,
    node: String,
    anonymise: Anonymise,
    log: PathBuf,
}

impl ClickHouse {
    /// Asks as the server that is called `node` and keeps its log in the folder `log`.
    pub fn new(options: &Options, node: &str, anonymise: Anonymise, log: &Path) -> Self {
        Self { options: options.clone(), node: node.to_owned(), anonymise, log: log.to_owned() }
    }

    /// What this machine answers, and what of ClickHouse's rows that leaves out.
    fn split(&self, kind: Kind) -> Result<(View, Loaded, String), StoreError> {
        let mut view = Embedded::new(&self.log).view()?;
        let folder = store_folder(&self.log);
        let failed = |why: String| StoreError::Catalogue { path: folder.clone(), why };
        let standing = State::read(&folder, &ship::target_of(&self.options))
            .map_err(|error| failed(error.to_string()))?;
        let has_all = kind == Kind::All && self.anonymise != Anonymise::Never;
        let is_ours = |number: u64| has_all || !standing.files.contains(&number);
        let numbers = view.files().iter().map(|file| file.name.number);
        let newest =
            numbers.clone().chain(view.segment_numbers()).chain(standing.files.iter().copied()).max();
        let mut left_out: Vec<String> = numbers
            .filter(|number| is_ours(*number))
            .chain(view.segment_numbers())
            .map(|number| format!("{number:016}"))
            .collect();
        left_out.sort();
        left_out.dedup();
        view.keep_files(|file| is_ours(file.name.number));
        let mut finds = Loaded::default();
        if kind == Kind::Hits
            && let Some(catalogue) = Catalogue::read(&folder).map_err(|error| failed(error.to_string()))?
        {
            // What was found since the last look comes the next time.
            let new = catalogue.finds(standing.finds, i64::MAX, MOST as usize);
            for (_, time, octets) in new.map_err(|error| failed(error.to_string()))? {
                finds.add_octets(time, &octets);
            }
        }
        let theirs = self.theirs(&left_out, newest.unwrap_or_default(), &standing);
        Ok((view, finds, theirs))
    }

    /// Which rows are ClickHouse's to answer.
    fn theirs(&self, left_out: &[String], newest: u64, standing: &Standing) -> String {
        // Digits sort before letters: batches of files before those of finds.
        let mut condition = format!(
            "node != {} OR batch < {} OR (batch >= 'finds' AND batch < {})",
            Literal(self.node.as_bytes()),
            Literal(format!("{:016}", newest + 1).as_bytes()),
            Literal(format!("finds-{:016}", standing.finds + 1).as_bytes()),
        );
        if !left_out.is_empty() {
            // Writing to a text does not fail.
            let _ = write!(
                condition,
                ") AND (node != {} OR substring(batch, 1, 16) NOT IN {}",
                Literal(self.node.as_bytes()),
                List(left_out)
            );
        }
        condition
    }
}

/// One question under way.
struct Asking<'a> {
    client: Client,
    target: Target,
    table: String,
    watch: &'a Watching<'a>,
    filter: &'a Filter,
    conditions: Conditions,
}

/// Lets both the merge and each wait ask whether it goes on.
struct Watching<'a> {
    watch: RefCell<&'a mut dyn Watch>,
    done: Cell<u64>,
    total: Cell<u64>,
    is_over: Cell<bool>,
}

impl<'a> Watching<'a> {
    fn new(watch: &'a mut dyn Watch) -> Self {
        Self {
            watch: RefCell::new(watch),
            done: Cell::new(0),
            total: Cell::new(0),
            is_over: Cell::new(false),
        }
    }

    fn tell(&self, done: u64, total: u64) -> bool {
        let is_over = self.watch.borrow_mut().progress(done, total).is_break();
        self.is_over.set(self.is_over.get() || is_over);
        self.is_over.get()
    }

    fn is_over(&self) -> bool {
        self.tell(self.done.get(), self.total.get())
    }
}

impl Watch for &Watching<'_> {
    fn progress(&mut self, done: u64, total: u64) -> ControlFlow<()> {
        let is_over = match self.total.get() {
            0 => self.tell(done, total),
            // What this machine has is the smaller part.
            rows => self.tell(if done >= total { rows } else { self.done.get() }, rows),
        };
        if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl<'a> Asking<'a> {
    /// Begins to ask; `None` where nothing was ever shipped.
    fn begin(
        options: &Options,
        filter: &'a Filter,
        theirs: &str,
        watch: &'a Watching<'a>,
    ) -> Result<Option<Self>, StoreError> {
        let failed = |source| StoreError::Read { path: PathBuf::new(), source };
        let client = Client::new(options).map_err(failed)?;
        let target = Target::find(&client, options, Missing::Leave, &mut || watch.is_over())?;
        let Some(target) = target else { return Ok(None) };
        let mut conditions = conditions(filter, &target.columns, target.dialect);
        conditions.add(theirs.to_owned());
        Ok(Some(Self { client, target, table: options.table(), watch, filter, conditions }))
    }

    /// Asks only for what the filter looks for.
    fn seek(mut self) -> Result<Self, StoreError> {
        if let Some(needles) = &self.filter.sought {
            let sought = Sought::new(needles);
            let names = if sought.has_names() { Some(self.names(&sought)?) } else { None };
            let parts: Vec<String> =
                names.into_iter().chain(sought.has_addresses().then(|| sought.addresses())).collect();
            self.conditions.add(if parts.is_empty() { "0".to_owned() } else { parts.join(" OR ") });
        }
        Ok(self)
    }

    fn ask(
        &self,
        sql: &str,
        take: &mut dyn FnMut(&[u8]) -> Result<(), ClientError>,
    ) -> Result<(), StoreError> {
        let asked = self.client.ask(&Ask::new(sql), PATIENCE, &mut || self.watch.is_over(), take);
        asked.map_err(|error| StoreError::ClickHouse(error.into()))
    }

    fn within(&self, since: i64, until: i64) -> Conditions {
        self.conditions.and(within(since, until, self.target.dialect))
    }

    /// Pairs of numbers.
    fn numbers(&self, sql: &str) -> Result<Vec<(i64, u64)>, StoreError> {
        let (mut rest, mut pairs) = (Rest::default(), Vec::new());
        self.ask(sql, &mut |octets| {
            let read = rest.numbers(octets, &mut |first, second| pairs.push((first, second)));
            read.map_err(|_| self.client.nonsense())
        })?;
        self.whole(&rest)?;
        Ok(pairs)
    }

    fn whole(&self, rest: &Rest) -> Result<(), StoreError> {
        if rest.is_empty() { Ok(()) } else { Err(SchemaError::from(self.client.nonsense()).into()) }
    }

    /// The condition of a search for names. Each is looked at once, however often it was asked for.
    fn names(&self, sought: &Sought) -> Result<String, StoreError> {
        let (since, until) = (self.filter.since.unwrap_or(i64::MIN), self.filter.until.unwrap_or(i64::MAX));
        let sql = format!(
            "SELECT name, toUInt64(1) FROM (SELECT any(qname) AS name FROM {} WHERE {} GROUP BY qname) \
             WHERE {} LIMIT {} FORMAT RowBinary",
            self.table,
            self.within(since, until),
            // Under this name no server asks it of each row.
            sought.names("name"),
            MOST_NAMES + 1
        );
        let (mut rest, mut names) = (Rest::default(), Vec::new());
        self.ask(&sql, &mut |octets| {
            let read = rest.counts(octets, &mut |name, _| names.push(name.to_vec()));
            // It may not send more than was asked for.
            if read.is_err() || names.len() > MOST_NAMES + 1 { Err(self.client.nonsense()) } else { Ok(()) }
        })?;
        self.whole(&rest)?;
        Ok(match names.len() {
            0 => "0".to_owned(),
            1..=MOST_NAMES => format!("qname IN {}", List(&names)),
            _ => sought.names("qname"),
        })
    }

    /// Adds up who asked for what is looked for.
    fn sum(&self, sum: &mut Sum) -> Result<(), StoreError> {
        let Some(needles) = &self.filter.sought else {
            // All that the filter takes has the name that it looks for.
            return self.sum_names("1", sum);
        };
        let sought = Sought::new(needles);
        if sought.has_names() {
            self.sum_names(&self.names(&sought)?, sum)?;
        }
        if sought.has_addresses() {
            // Each once a row.
            let answer = "arrayJoin(arrayFilter((it, at) -> indexOf(answers, it) = at, answers, arrayEnumerate(answers)))";
            let inner = format!("SELECT client, agency, {answer} AS found, time, hit FROM {}", self.table);
            let within = self.whole_time().and(sought.addresses());
            self.add_sums(
                "hex(found)",
                &format!("({inner} WHERE {within}) WHERE {}", sought.address("found")),
                &|digits| Some(What::Address(address(of_hex(digits)?))),
                sum,
            )?;
        }
        Ok(())
    }

    fn sum_names(&self, condition: &str, sum: &mut Sum) -> Result<(), StoreError> {
        self.add_sums(
            "qname",
            &format!("{} WHERE {}", self.table, self.whole_time().and(condition.to_owned())),
            &|text| Some(What::Name(Name::from_presentation(text).ok()?)),
            sum,
        )
    }

    fn add_sums(
        &self,
        what: &str,
        from: &str,
        read: &dyn Fn(&str) -> Option<What>,
        sum: &mut Sum,
    ) -> Result<(), StoreError> {
        let time = time_of(self.target.dialect);
        let sql = format!(
            "SELECT client, agency, {what} AS what, toInt64(min({time})), toInt64(max({time})), count(), max(hit) \
             FROM {from} GROUP BY client, agency, what LIMIT {} FORMAT RowBinary",
            MOST_SUMS + 1
        );
        let (mut rest, mut came) = (Rest::default(), 0);
        self.ask(&sql, &mut |octets| {
            let mut is_well = true;
            let summed = rest.sums(octets, &mut |row| {
                came += 1;
                let Some(what) = read(row.what) else {
                    is_well = false;
                    return;
                };
                let agency = Some(row.agency.to_owned()).filter(|agency| !agency.is_empty());
                let SumRow { client, first, last, count, was_hit, .. } = *row;
                sum.add(&Sighting { client, agency, what, first, last, count, was_hit });
            });
            // It may not send more than was asked for.
            let is_too_much = came > MOST_SUMS + 1;
            if summed.is_err() || !is_well || is_too_much { Err(self.client.nonsense()) } else { Ok(()) }
        })?;
        self.whole(&rest)
    }

    fn whole_time(&self) -> Conditions {
        self.within(self.filter.since.unwrap_or(i64::MIN), self.filter.until.unwrap_or(i64::MAX))
    }

    /// From and before which time there may be rows, and how many are there at all.
    fn bounds(&self) -> Result<Option<(i64, i64, u64)>, StoreError> {
        let (since, until) = (self.filter.since.unwrap_or(i64::MIN), self.filter.until.unwrap_or(i64::MAX));
        let sql = |what: &str| {
            format!(
                "SELECT toInt64(toUInt32({what}(hour))), count() FROM {} WHERE {} FORMAT RowBinary",
                self.table,
                within_hours(since, until, &self.target)
            )
        };
        let (first, last) = (self.numbers(&sql("min"))?, self.numbers(&sql("max"))?);
        let (Some((first, count)), Some((last, _))) = (first.first(), last.first()) else { return Ok(None) };
        if *count == 0 {
            return Ok(None);
        }
        // Times before 1970 are in the first hour.
        let first = if *first == 0 { i64::MIN } else { first * 1_000_000 };
        let end = (last + 3600).saturating_mul(1_000_000);
        let end = if *last >= i64::from(u32::MAX / 3600) * 3600 { i64::MAX } else { end };
        let (since, until) = (since.max(first), until.min(end));
        Ok((since < until).then_some((since, until, *count)))
    }

    /// How many rows there are in each step of a time, the newest step first.
    fn histogram(&self, since: i64, until: i64, step: i64) -> Result<Vec<(i64, u64)>, StoreError> {
        self.numbers(&format!(
            "SELECT toInt64({}) AS part, count() FROM {} WHERE {} GROUP BY part ORDER BY part DESC FORMAT RowBinary",
            step_of(since, step, self.target.dialect),
            self.table,
            self.within(since, until)
        ))
    }

    /// The rows of a time, in which `count` were a moment ago.
    fn fetch(&self, since: i64, until: i64, count: u64, loaded: &mut Loaded) -> Result<(), StoreError> {
        let sql = format!(
            "SELECT {} FROM {} WHERE {} FORMAT RowBinary",
            selected(&self.target.columns, self.target.dialect),
            self.table,
            self.within(since, until)
        );
        let (mut rest, mut came) = (Rest::default(), 0);
        self.ask(&sql, &mut |octets| {
            let read = rest.records(octets, &mut |record| {
                came += 1;
                // The server is not believed.
                if self.filter.takes(record) {
                    loaded.add(record);
                }
            });
            // More may have been shipped meanwhile, but not without end.
            let is_too_much = came > 2 * count + MOST_NEW;
            if read.is_err() || is_too_much { Err(self.client.nonsense()) } else { Ok(()) }
        })?;
        self.whole(&rest)
    }

    /// Counts its rows.
    fn count(&self, by: By, tally: &mut Tally) -> Result<(), StoreError> {
        let key = match by {
            By::Nothing => "''",
            By::Agency => "agency",
            By::Client => "client",
            By::Name => "qname",
            By::Type => "qtype",
            By::Rcode => "rcode",
            By::Action => "action",
            By::Feed => "feed",
            By::Family => "family",
            By::Minute | By::Hour | By::Day => {
                let minutes = format!("intDiv({}, {MINUTE})", time_of(self.target.dialect));
                let sql = format!(
                    "SELECT toInt64({minutes}) AS minute, count() FROM {} WHERE {} GROUP BY minute FORMAT RowBinary",
                    self.table,
                    self.within(self.filter.since.unwrap_or(i64::MIN), self.filter.until.unwrap_or(i64::MAX))
                );
                for (minute, count) in self.numbers(&sql)? {
                    tally.add_time(minute.saturating_mul(MINUTE), count);
                }
                return Ok(());
            }
        };
        // As text of so many octets in every dialect.
        let key = if by == By::Client { format!("hex({key})") } else { key.to_owned() };
        let sql = format!(
            "SELECT {key} AS value, count() FROM {} WHERE {} GROUP BY value FORMAT RowBinary",
            self.table,
            self.within(self.filter.since.unwrap_or(i64::MIN), self.filter.until.unwrap_or(i64::MAX))
        );
        let mut rest = Rest::default();
        self.ask(&sql, &mut |octets| {
            let mut is_well = true;
            let read = rest.counts(octets, &mut |value, count| {
                let text = std::str::from_utf8(value).ok().and_then(|text| match by {
                    By::Client => of_hex(text).map(|octets| address(octets).to_string()),
                    By::Name => Some(shown_name(text)),
                    _ => Some(text.to_owned()),
                });
                match text {
                    // Where nothing is asked for that is not there, there is no row but of zero.
                    Some(text) if count > 0 => tally.add_text(&text, count),
                    Some(_) => {}
                    None => is_well = false,
                }
            });
            if read.is_err() || !is_well { Err(self.client.nonsense()) } else { Ok(()) }
        })?;
        self.whole(&rest)
    }
}

fn within_hours(since: i64, until: i64, target: &Target) -> String {
    let whole = within(since, until, target.dialect);
    // The hours stand first; those that a time begins and ends in are counted whole.
    whole.split(" AND time").next().unwrap_or_default().to_owned()
}

fn of_hex(text: &str) -> Option<[u8; 16]> {
    u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32).map(u128::to_be_bytes)
}

/// Rows in ClickHouse that are still to be asked for.
struct Remote<'a> {
    asking: &'a Asking<'a>,
    since: i64,
    /// Before this time nothing was looked for yet.
    until: i64,
    span: i64,
    /// All of the time there is, for the bar.
    whole: (i64, i64),
    /// Times with rows, the newest at the end: from, before, how many.
    parts: Vec<(i64, i64, u64)>,
}

impl Remote<'_> {
    fn is_over(&self) -> bool {
        self.parts.is_empty() && self.until <= self.since
    }

    /// Adds the times in which there are rows.
    fn find(&mut self, since: i64, until: i64, most: u64) -> Result<(), StoreError> {
        let step = (until.saturating_sub(since) / PARTS).max(1);
        let mut found: Vec<(i64, i64, u64)> = Vec::new();
        for (number, count) in self.asking.histogram(since, until, step)? {
            let from = since.saturating_add(number.saturating_mul(step)).clamp(since, until);
            let before = from.saturating_add(step).min(until);
            match found.last_mut() {
                Some(last) if last.2 + count <= most => *last = (from, last.1, last.2 + count),
                _ => found.push((from, before, count)),
            }
        }
        self.parts.extend(found.into_iter().rev());
        Ok(())
    }
}

/// Where records come from.
enum Part<'a> {
    Local(embedded::Source<'a>),
    Finds(Option<Loaded>, i64),
    Remote(Remote<'a>),
}

impl Origin for Part<'_> {
    fn latest(&self) -> i64 {
        match self {
            Self::Local(source) => source.latest(),
            Self::Finds(_, latest) => *latest,
            Self::Remote(remote) => {
                remote.parts.last().map_or(remote.until, |(_, before, _)| *before).saturating_sub(1)
            }
        }
    }

    fn len(&self) -> u64 {
        match self {
            Self::Local(source) => source.len(),
            Self::Finds(..) | Self::Remote(_) => 0,
        }
    }

    fn load(
        self,
        most: Option<usize>,
        scan: &mut Scan,
    ) -> Result<(Option<Loaded>, Option<Self>), StoreError> {
        let mut remote = match self {
            Self::Local(source) => {
                let (loaded, rest) = source.load(most, scan)?;
                return Ok((loaded, rest.map(Self::Local)));
            }
            Self::Finds(loaded, _) => return Ok((loaded, None)),
            Self::Remote(remote) => remote,
        };
        let most = most.map_or(MOST, |most| (most as u64).clamp(FEW, MOST));
        let Some((since, until, count)) = remote.parts.pop() else {
            let since = remote.until.saturating_sub(remote.span).max(remote.since);
            remote.find(since, remote.until, most)?;
            remote.until = since;
            remote.span = remote.span.saturating_mul(GROWTH);
            let (first, last) = remote.whole;
            let share = (last as f64 - since as f64) / (last as f64 - first as f64).max(1.0);
            let watch = remote.asking.watch;
            watch.done.set((watch.total.get() as f64 * share.clamp(0.0, 1.0)) as u64);
            return Ok((None, Some(remote).filter(|it| !it.is_over()).map(Self::Remote)));
        };
        if count > most && until - since > 1 {
            remote.find(since, until, most)?;
            return Ok((None, Some(Self::Remote(remote))));
        }
        let mut loaded = Loaded::default();
        remote.asking.fetch(since, until, count, &mut loaded)?;
        Ok((loaded.sorted(), Some(remote).filter(|it| !it.is_over()).map(Self::Remote)))
    }
}

impl Store for ClickHouse {
    fn newest_first(
        &self,
        filter: &Filter,
        page: Page,
        watch: &mut dyn Watch,
        visit: &mut dyn FnMut(&Record<'_>) -> ControlFlow<()>,
    ) -> Result<Scan, StoreError> {
        let mut filter = filter.clone();
        if let Some(place) = page.after {
            let until = place.time.saturating_add(1);
            filter.until = Some(filter.until.map_or(until, |asked| asked.min(until)));
        }
        let (mut scan, watching) = (Scan::default(), Watching::new(watch));
        let (mut view, finds, theirs) = self.split(filter.kind)?;
        // What is not shipped yet is little.
        let _ = view.narrow(&filter, &mut scan, &mut Unwatched);
        let mut ahead: Vec<Part<'_>> = view.sources(&filter).into_iter().map(Part::Local).collect();
        if let Some(finds) = wanted(&finds, &filter) {
            let latest = finds.latest();
            ahead.push(Part::Finds(Some(finds), latest));
        }
        let asking = Asking::begin(&self.options, &filter, &theirs, &watching)
            .and_then(|asking| asking.map(Asking::seek).transpose());
        let asking = match asking {
            Err(error) if is_stopped(&error) => return Ok(Scan { is_stopped: true, ..scan }),
            asking => asking?,
        };
        if let Some(asking) = &asking {
            match asking.bounds() {
                Err(error) if is_stopped(&error) => return Ok(Scan { is_stopped: true, ..scan }),
                Err(error) => return Err(error),
                Ok(None) => {}
                Ok(Some((since, until, rows))) => {
                    watching.total.set(rows.saturating_mul(ROW));
                    ahead.push(Part::Remote(Remote {
                        asking,
                        since,
                        until,
                        span: FIRST_SPAN,
                        whole: (since, until),
                        parts: Vec::new(),
                    }));
                }
            }
        }
        match merge(ahead, page, &mut scan, &mut &watching, visit) {
            Err(error) if is_stopped(&error) => scan.is_stopped = true,
            merged => merged?,
        }
        Ok(scan)
    }

    fn count(
        &self,
        filter: &Filter,
        by: By,
        watch: &mut dyn Watch,
    ) -> Result<(Vec<Count>, Scan), StoreError> {
        let (mut scan, mut tally) = (Scan::default(), Tally::new(by));
        let watching = Watching::new(watch);
        let (mut view, finds, theirs) = self.split(filter.kind)?;
        let _ = view.narrow(filter, &mut scan, &mut Unwatched);
        let mut ahead: Vec<Part<'_>> = view.sources(filter).into_iter().map(Part::Local).collect();
        if let Some(finds) = wanted(&finds, filter) {
            let latest = finds.latest();
            ahead.push(Part::Finds(Some(finds), latest));
        }
        merge(ahead, Page::default(), &mut scan, &mut &watching, &mut |record| {
            tally.add(record);
            ControlFlow::Continue(())
        })?;
        if !scan.is_stopped {
            let counted = Asking::begin(&self.options, filter, &theirs, &watching)
                .and_then(|asking| asking.map_or(Ok(()), |asking| asking.seek()?.count(by, &mut tally)));
            match counted {
                Err(error) if is_stopped(&error) => scan.is_stopped = true,
                counted => counted?,
            }
        }
        Ok((tally.finish()?, scan))
    }

    fn sightings(&self, filter: &Filter, watch: &mut dyn Watch) -> Result<(Vec<Sighting>, Scan), StoreError> {
        let Some(needles) = needles_of(filter) else { return Ok((Vec::new(), Scan::default())) };
        let (mut scan, mut sum) = (Scan::default(), Sum::of(filter));
        let watching = Watching::new(watch);
        let (mut view, finds, theirs) = self.split(filter.kind)?;
        let _ = view.narrow(filter, &mut scan, &mut Unwatched);
        let mut ahead: Vec<Part<'_>> = view.sources(filter).into_iter().map(Part::Local).collect();
        if let Some(finds) = wanted(&finds, filter) {
            let latest = finds.latest();
            ahead.push(Part::Finds(Some(finds), latest));
        }
        merge(ahead, Page::default(), &mut scan, &mut &watching, &mut |record| {
            sum.add_record(record, &needles);
            ControlFlow::Continue(())
        })?;
        if !scan.is_stopped {
            let summed = Asking::begin(&self.options, filter, &theirs, &watching)
                .and_then(|asking| asking.map_or(Ok(()), |asking| asking.sum(&mut sum)));
            match summed {
                Err(error) if is_stopped(&error) => scan.is_stopped = true,
                summed => summed?,
            }
        }
        Ok((sum.finish()?, scan))
    }

    fn finds(
        &self,
        agency: Option<&str>,
        since: i64,
        most: usize,
        visit: &mut dyn FnMut(&Record<'_>),
    ) -> Result<(), StoreError> {
        Embedded::new(&self.log).finds(agency, since, most, visit)
    }

    fn gaps(&self, since: Option<i64>, until: Option<i64>) -> Result<Vec<Gap>, StoreError> {
        Embedded::new(&self.log).gaps(since, until)
    }
}

fn is_stopped(error: &StoreError) -> bool {
    matches!(error, StoreError::ClickHouse(SchemaError::Client(ClientError::Stopped)))
}

/// The finds that a filter takes, in order; `None` where there are none.
fn wanted(finds: &Loaded, filter: &Filter) -> Option<Loaded> {
    let mut wanted = Loaded::default();
    finds.each(&mut |record| {
        if filter.takes(record) {
            wanted.add(record);
        }
    });
    wanted.sorted()
}
