//! A made-up province that fills everything, so that anyone can look: weeks of queries, infections, cases, feeds and what people did.
//!
//! Everything is written by the code that writes it in a server: records by journals and the archiver, contacts, the book of machines,
//! the desk of cases, the versions of feeds and their image, rules and traces. Here is only what happened and when. The same seed and
//! the same end give the same province. Nothing listens here, and nobody is asked anything.

mod archiving;
mod calendar;
mod dice;
mod feeds;
mod infections;
mod machines;
mod names;
mod office;
mod people;
mod protection;
mod province;
mod settings;
mod threats;
mod trace;
mod traffic;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use archiving::Archiving;
use calendar::{Calendar, DAY, HOUR, MINUTE, SECOND};
use machines::Persons;
use people::People;
use province::Province;
pub use settings::Listeners;
use threats::Threats;
use trace::Trace;
use traffic::Traffic;

use crate::cases::{self, Desk, DeskError};
use crate::config::{Config, Faults};
use crate::console::account::AccountsError;
use crate::console::hunts::HuntError;
use crate::console::token::TokenError;
use crate::coverage::LedgerError;
use crate::evidence::archive::{self, OrderError, SettleError};
use crate::evidence::contacts::{self, ContactsError};
use crate::evidence::journal::Journal;
use crate::evidence::ledger::Ledger;
use crate::evidence::store::{Gap, Why};
use crate::feed::store::StoreError;
use crate::identity::follow::ImportError;
use crate::identity::{Book, BookError};
use crate::rules::history::HistoryError;
use crate::tabular::table::TableError;
use crate::update::UpdateError;

/// The configuration of a province, which is there once all of it is.
const CONFIG: &str = "sachdns.toml";
/// What stands in its place until then.
const UNFINISHED: &str = "UNFINISHED";
/// The number of an agency from which somebody tries the sinkhole's doors.
const SCANNED_FROM: usize = 3;
/// Most days that are made.
const MOST_DAYS: u32 = 1000;

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where: a folder that is empty, or not there.
    pub folder: PathBuf,
    /// How many agencies.
    pub agencies: u32,
    /// How many days, the last of which is that of `until`.
    pub days: u32,
    /// How many machines.
    pub machines: u32,
    /// How many queries a day, on average.
    pub queries_per_day: u64,
    /// How many infections.
    pub infections: u32,
    /// When it ends, in microseconds since 1970.
    pub until: i64,
    /// What chance begins with.
    pub seed: u64,
    /// Where its server is to listen.
    pub listeners: Listeners,
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Machines.
    pub machines: u64,
    /// Records of queries.
    pub records: u64,
    /// … of which were hits.
    pub hits: u64,
    /// Rows of contacts with the sinkhole.
    pub contacts: u64,
    /// Who may sign in to the console.
    pub accounts: String,
    /// … and with which password.
    pub password: String,
}

/// Why a province was not made.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// There is something already.
    #[error("{path}: the folder is not empty; name another one, or empty it first")]
    NotEmpty {
        /// Where.
        path: PathBuf,
    },
    /// More than there are names, addresses or days for.
    #[error("{0}")]
    Size(&'static str),
    /// A file or folder cannot be written.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Records were not taken.
    #[error("{0} records could not be written; check the room on the disk")]
    Lost(u64),
    /// The configuration that was written is not valid, which is a mistake of ours.
    #[error(transparent)]
    Config(#[from] Faults),
    /// The policy could not be built.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// The versions of feeds could not be kept.
    #[error(transparent)]
    Versions(#[from] StoreError),
    /// The query log could not be brought into its files.
    #[error(transparent)]
    Settle(#[from] SettleError),
    /// A search could not be ordered.
    #[error(transparent)]
    Order(#[from] OrderError),
    /// Contacts could not be entered.
    #[error(transparent)]
    Contacts(#[from] ContactsError),
    /// Cases could not be kept.
    #[error(transparent)]
    Desk(#[from] DeskError),
    /// Machines could not be kept.
    #[error(transparent)]
    Book(#[from] BookError),
    /// Files of machines could not be read.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// Accounts could not be made.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    /// Tokens could not be made.
    #[error(transparent)]
    Tokens(#[from] TokenError),
    /// Nothing could be hunted.
    #[error(transparent)]
    Hunt(#[from] HuntError),
    /// Exports of protection could not be kept …
    #[error(transparent)]
    Coverage(#[from] LedgerError),
    /// … or read.
    #[error(transparent)]
    Export(#[from] TableError),
    /// Rules could not be given.
    #[error(transparent)]
    Rules(#[from] HistoryError),
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> DemoError + use<> {
    let path = path.to_owned();
    move |source| DemoError::Io { path, source }
}

/// Makes a province; `tell` is told how many of all days are done.
///
/// # Errors
/// [`DemoError`]; the folder then says that it is unfinished.
pub fn make(options: &Options, tell: &mut dyn FnMut(u32, u32)) -> Result<Made, DemoError> {
    let calendar = check(options)?;
    let mut province = Province::new(options.seed, options.agencies, options.machines, &calendar).ok_or(
        DemoError::Size("so many machines have no room in 10.0.0.0/8: say fewer agencies or fewer machines"),
    )?;
    begin(&options.folder)?;
    let folder = fs::canonicalize(&options.folder).map_err(failed(&options.folder))?;
    let span = calendar.until - calendar.start;
    let listed = [calendar.start - 2 * HOUR, calendar.start + span * 2 / 5, calendar.start + span * 4 / 5];
    let threats = Threats::new(options.seed, listed);
    let text = settings::text(&folder, &province, &options.listeners);
    let config = Config::parse(&folder.join(CONFIG), &text)?;
    feeds::publish(&folder, &config, &threats, listed[0])?;

    // A hundredth of all queries, but so many that an infection shows, and no more than malware asks.
    let rate = options.queries_per_day as f64 / 100.0 / f64::from(options.infections.max(1));
    let rate = rate.clamp(4.0, 40.0);
    let infections =
        infections::plan(options.seed, options.infections, rate, &mut province, &threats, &calendar);
    machines::write(&folder, &province, &calendar)?;
    let book = Book::open(&crate::identity::folder(&config.data_dir))?;
    machines::import(&book, &config.identity)?;

    let mut days = Days::new(options, &config, &province, &infections, &threats, &book, calendar)?;
    for day in 0..calendar.days {
        tell(day, calendar.days);
        let start = calendar.day(day);
        for listed in listed.into_iter().skip(1).filter(|listed| (start..start + DAY).contains(listed)) {
            feeds::publish(&folder, &config, &threats, listed)?;
            days.hunt = Some(listed);
        }
        days.write(day)?;
    }
    let Told { records, hits, contacts, mut trace } = days.end()?;
    let data_dir = &config.data_dir;
    feeds::mishap(&folder, &config, &threats, calendar.until, &mut trace)?;
    office::rules(data_dir, &province, &calendar, &mut trace)?;
    office::hunts(data_dir, &config.log.folder, &threats, &calendar, &mut trace)?;
    protection::import(&folder, data_dir, &province, &calendar, &mut trace)?;
    let password = office::accounts(data_dir, &province, &calendar, &mut trace)?;
    office::looks(&province, &infections, &calendar, &mut trace);
    trace.write(data_dir)?;
    let path = folder.join(CONFIG);
    let beside = folder.join("sachdns.toml.new");
    fs::write(&beside, &text).and_then(|()| fs::rename(&beside, &path)).map_err(failed(&path))?;
    let marker = folder.join(UNFINISHED);
    fs::remove_file(&marker).map_err(failed(&marker))?;
    tell(calendar.days, calendar.days);
    let accounts = office::ACCOUNTS.map(|(name, _)| name).join(", ");
    Ok(Made { machines: province.machines.len() as u64, records, hits, contacts, accounts, password })
}

fn check(options: &Options) -> Result<Calendar, DemoError> {
    let wrong = |why| Err(DemoError::Size(why));
    match options {
        _ if !(1..=province::MOST_AGENCIES).contains(&options.agencies) => {
            wrong("there are names for 1 to 5000 agencies: see --agencies")
        }
        _ if !(1..=MOST_DAYS).contains(&options.days) => wrong("from 1 to 1000 days can be made: see --days"),
        _ if options.machines < options.agencies => {
            wrong("each agency has a machine at least: see --machines")
        }
        _ if options.queries_per_day > 100_000_000 => {
            wrong("at most 100 million queries a day can be made: see --queries-per-day")
        }
        _ => Ok(Calendar::new(options.until, options.days)),
    }
}

/// Makes the folder, which then says that it is unfinished.
fn begin(folder: &Path) -> Result<(), DemoError> {
    fs::create_dir_all(folder).map_err(failed(folder))?;
    if fs::read_dir(folder).map_err(failed(folder))?.next().is_some() {
        return Err(DemoError::NotEmpty { path: folder.to_owned() });
    }
    let put = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).map_err(failed(&path))
    };
    put(
        UNFINISHED,
        "`sachdns demo` was stopped before it had made all of this province. Remove the folder, and make it again.\n",
    )?;
    put("protected.txt", include_str!("../../zones/protected.txt"))?;
    put("popular.txt", include_str!("../../zones/popular.txt"))?;
    let feeds = folder.join("feeds");
    fs::create_dir(&feeds).map_err(failed(&feeds))
}

/// The days of a province, one after the other.
struct Days<'a> {
    config: &'a Config,
    threats: &'a Threats,
    calendar: Calendar,
    ledger: Arc<Ledger>,
    archiving: Archiving,
    traffic: Traffic<'a>,
    people: People<'a>,
    /// What has just been listed is sought in the days before.
    hunt: Option<i64>,
    hits: u64,
}

impl<'a> Days<'a> {
    fn new(
        options: &Options,
        config: &'a Config,
        province: &'a Province,
        infections: &'a [infections::Infection],
        threats: &'a Threats,
        book: &'a Book,
        calendar: Calendar,
    ) -> Result<Self, DemoError> {
        let ledger = Ledger::open(&config.log).map_err(failed(&config.log.folder))?;
        // Each day by itself, however little it is.
        let archive = archive::Options { after: Duration::ZERO, ..config.archive.clone() };
        let archiving = Archiving::start(&ledger, &archive).map_err(failed(&config.log.folder))?;
        let rows = options.queries_per_day * u64::from(options.days);
        let traffic = Traffic::new(province, infections, threats, calendar, rows, options.seed);
        tickets::begin(options.seed);
        let desk_options = cases::Options { dice: tickets::draw, ..config.cases.options.clone() };
        let desk = Desk::open(&config.data_dir.join("cases"), desk_options)?;
        let contacts = contacts::folder(&config.data_dir);
        let persons = Persons::new(book, province);
        let people = People::new(desk, &config.cases.classes, &contacts, province, infections, persons);
        Ok(Self { config, threats, calendar, ledger, archiving, traffic, people, hunt: None, hits: 0 })
    }

    fn write(&mut self, day: u32) -> Result<(), DemoError> {
        let start = self.calendar.day(day);
        let mut now = start;
        self.traffic.begin(start);
        let mut journal = Journal::open(0, &self.ledger);
        for hour in self.calendar.hours(day) {
            self.people.act((hour.start + 5 * MINUTE).min(self.calendar.until - 2 * SECOND))?;
            let hits = self.traffic.write(hour, &mut journal);
            self.hits += hits.len() as u64;
            now = hour.end;
            self.people.take(hits, now)?;
            // That a machine is there shows twice a day.
            if matches!(calendar::hour_of(hour.start), 11 | 17) || now == self.calendar.until {
                self.people.asked(self.traffic.awake(), now - 1)?;
            }
        }
        if now == self.calendar.until {
            self.people.act(now)?;
        }
        drop(journal);
        // Lately, so that somebody is still to look after it.
        if day == self.calendar.days.saturating_sub(4) {
            let earliest = start + 14 * HOUR;
            let gap =
                Gap { earliest, latest: earliest + 12 * MINUTE, count: 1841, why: Why::Refused, place: None };
            self.ledger.note_gap(gap);
        }
        if day == self.calendar.days / 2 {
            self.people.note_flood(start + 15 * HOUR)?;
        }
        if day + 2 == self.calendar.days
            && let Some(agency) = self.traffic.province.agencies.get(SCANNED_FROM)
        {
            self.people.scan(agency.first, start + 14 * HOUR)?;
        }
        if let Some(listed) = self.hunt.take() {
            feeds::hunt(&self.config.log.folder, self.threats, self.calendar.start, listed)?;
        }
        self.people.end_day(now)?;
        self.archiving.end_day(now)?;
        match self.ledger.lost() + self.ledger.dropped() {
            0 => Ok(()),
            lost => Err(DemoError::Lost(lost)),
        }
    }

    /// Waits for the archiver.
    fn end(mut self) -> Result<Told, DemoError> {
        self.archiving.finish()?;
        let (records, contacts) = (self.ledger.written(), self.people.contact_count);
        Ok(Told { records, hits: self.hits, contacts, trace: self.people.trace })
    }
}

/// What days come to.
struct Told {
    records: u64,
    hits: u64,
    contacts: u64,
    trace: Trace,
}

/// Tickets that come out the same each time.
mod tickets {
    use std::cell::RefCell;

    use super::dice::Dice;

    thread_local! {
        static DICE: RefCell<Dice> = RefCell::new(Dice::of(0, 71, 0));
    }

    /// Begins with a seed, in this thread.
    pub(super) fn begin(seed: u64) {
        DICE.set(Dice::of(seed, 71, 0));
    }

    /// What the next ticket is made of.
    pub(super) fn draw() -> u64 {
        DICE.with_borrow_mut(Dice::next)
    }
}
