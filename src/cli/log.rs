//! `sachdns log`

pub(super) mod bar;
pub(super) mod filters;
pub(super) mod printer;
mod ship;

use std::collections::HashSet;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use self::bar::{Bar, Stop};
use self::filters::{Filters, GapFilters};
use self::printer::{Form, Printer};
use super::{CliError, ConfigArg, ListForm};
use crate::config::Config;
use crate::evidence::export::csv;
use crate::evidence::record::Record;
use crate::evidence::store::embedded::Embedded;
use crate::evidence::store::follow::Follower;
use crate::evidence::store::{By, Filter, Gap, Page, Place, Scan, Store, Why};

/// How often is looked for new records.
const FOLLOW_EVERY: Duration = Duration::from_millis(200);
/// Records that `--follow` begins with.
const FOLLOW_FROM: u64 = 10;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: List,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Count queries, all or by one of their values.
    Count(Counting),
    /// The most frequent values, 20 of them unless --limit says otherwise.
    Top(Counting),
    /// When queries were answered and not recorded, and why.
    Gaps(GapFilters),
    /// Ship to ClickHouse what is sealed and not there yet, while the server does not run: a running one does it by itself.
    Ship(ship::Ship),
    /// Print the statements that make ClickHouse's database and tables, for whoever may run them.
    Schema(ship::Schema),
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    config: ConfigArg,
    #[command(flatten)]
    filters: Filters,
    /// At most this many, the newest.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Go on behind the place that --limit told last.
    #[arg(long, value_name = "PLACE")]
    after: Option<Place>,
    /// Print the newest (10, or --limit), oldest first, and then each new one as it comes.
    #[arg(long, conflicts_with_all = ["until", "around", "after"])]
    follow: bool,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Form::Table)]
    format: Form,
}

#[derive(Debug, Args)]
struct Counting {
    #[command(flatten)]
    config: ConfigArg,
    #[command(flatten)]
    filters: Filters,
    /// By what.
    #[arg(long, value_enum)]
    by: Option<ByArg>,
    /// At most this many values.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = ListForm::Table)]
    format: ListForm,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ByArg {
    Agency,
    Client,
    Name,
    Type,
    Rcode,
    Action,
    Feed,
    Family,
    Minute,
    Hour,
    Day,
}

impl ByArg {
    fn by(self) -> By {
        match self {
            Self::Agency => By::Agency,
            Self::Client => By::Client,
            Self::Name => By::Name,
            Self::Type => By::Type,
            Self::Rcode => By::Rcode,
            Self::Action => By::Action,
            Self::Feed => By::Feed,
            Self::Family => By::Family,
            Self::Minute => By::Minute,
            Self::Hour => By::Hour,
            Self::Day => By::Day,
        }
    }

    /// Its key in JSON lines, and its heading.
    fn key(self) -> &'static str {
        match self {
            Self::Agency => "agency",
            Self::Client => "client",
            Self::Name => "qname",
            Self::Type => "qtype",
            Self::Rcode => "rcode",
            Self::Action => "action",
            Self::Feed => "feed",
            Self::Family => "family",
            Self::Minute | Self::Hour | Self::Day => "time",
        }
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), CliError> {
    match &arguments.command {
        Some(Command::Count(arguments)) => count(arguments, usize::MAX, "log count"),
        Some(Command::Top(arguments)) => {
            if arguments.by.is_none() {
                return Err(CliError::NoBy);
            }
            count(arguments, 20, "log top")
        }
        Some(Command::Gaps(arguments)) => gaps(arguments),
        Some(Command::Ship(arguments)) => ship::ship(arguments),
        Some(Command::Schema(arguments)) => ship::schema(arguments),
        None if arguments.list.follow => follow(&arguments.list),
        None => list(&arguments.list),
    }
}

fn list(arguments: &List) -> Result<(), CliError> {
    let config = arguments.config.load()?;
    let filter = arguments.filters.filter(&config, "log")?;
    let page = Page { limit: arguments.limit, after: arguments.after };
    print(&*arguments.filters.store(&config), &config, &filter, page, arguments.format)?;
    Ok(())
}

/// Prints what a filter takes, newest first; returns how many records that were.
pub(super) fn print(
    store: &dyn Store,
    config: &Config,
    filter: &Filter,
    page: Page,
    form: Form,
) -> Result<u64, CliError> {
    let filter = &Filter { kind: form.kind(filter.kind), ..filter.clone() };
    let stop = Stop::listen()?;
    let mut printer = Printer::new(config, form, page.after)?;
    let mut failed = None;
    let mut bar = Bar::new(&stop);
    let scan = store.newest_first(filter, page, &mut bar, &mut |record| {
        if stop.is_asked() {
            return ControlFlow::Break(());
        }
        match printer.record(record) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    drop(bar);
    if let Some(error) = failed {
        return Err(error.into());
    }
    printer.ending()?;
    if page.limit == Some(printer.count)
        && let Some(place) = printer.place
    {
        eprintln!("note: for older ones: --after {place}");
    }
    tell(&scan);
    tell_gaps(&store.gaps(filter.since, filter.until)?);
    if scan.is_stopped || stop.is_asked() { Err(CliError::Stopped) } else { Ok(printer.count) }
}

pub(super) fn tell(scan: &Scan) {
    for (path, octets) in &scan.damaged {
        // A record is being written at this moment, the power failed while one was, or the disk is bad.
        eprintln!(
            "note: {}: {octets} octets are no whole record: check the disk if this stays",
            path.display()
        );
    }
    for (path, why) in &scan.unreadable {
        eprintln!(
            "note: {}: {why}; its records are missing here. Check the disk, and restore the file from a backup if there is one",
            path.display()
        );
    }
    for (from, to) in &scan.uncounted {
        let time =
            |time| Timestamp::from_microsecond(time).map_or_else(|_| String::new(), |it| it.to_string());
        eprintln!(
            "note: from {} to {} queries are gone, and counts of whole hours or days are all that is left: they are not counted here",
            time(*from),
            time(*to)
        );
    }
    if scan.gone > 0 {
        eprintln!(
            "note: of queries that are gone, {} sums are left, each of a client, a name or address and a day: `sachdns hunt --summary` adds them up",
            scan.gone
        );
    }
}

fn tell_gaps(gaps: &[Gap]) {
    let lost = gaps.iter().filter(|gap| gap.why != Why::Damaged);
    let count = lost.map(|gap| gap.count).sum::<u64>();
    if count > 0 {
        eprintln!(
            "note: {count} queries of this time were not recorded: `sachdns log gaps` says when and why"
        );
    }
}

fn count(arguments: &Counting, most: usize, command: &'static str) -> Result<(), CliError> {
    let config = arguments.config.load()?;
    let filter = arguments.filters.filter(&config, command)?;
    let store = arguments.filters.store(&config);
    let stop = Stop::listen()?;
    let by = arguments.by.map_or(By::Nothing, ByArg::by);
    let mut bar = Bar::new(&stop);
    let (counts, scan) = store.count(&filter, by, &mut bar)?;
    drop(bar);
    let mut out = BufWriter::new(io::stdout().lock());
    let counts = &counts[..counts.len().min(arguments.limit.unwrap_or(most))];
    let Some(key) = arguments.by.map(ByArg::key) else {
        let count = counts.first().map_or(0, |count| count.count);
        match arguments.format {
            ListForm::Table => writeln!(out, "{count}")?,
            ListForm::Jsonl => writeln!(out, "{{\"count\":{count}}}")?,
            ListForm::Csv => write!(out, "count\r\n{count}\r\n")?,
        }
        return finish(&mut out, &scan);
    };
    match arguments.format {
        ListForm::Table => {
            writeln!(out, "{:>12}  {}", "COUNT", if key == "time" { "TIME" } else { "VALUE" })?;
        }
        ListForm::Jsonl => {}
        ListForm::Csv => write!(out, "{key},count\r\n")?,
    }
    for one in counts {
        let (value, count) = (&one.value, one.count);
        match arguments.format {
            ListForm::Table if value.is_empty() => writeln!(out, "{count:>12}  -")?,
            // A family comes from a feed: no control character of it may reach the terminal.
            ListForm::Table => writeln!(out, "{count:>12}  {}", value.escape_debug())?,
            ListForm::Jsonl => {
                let value = Some(value).filter(|value| !value.is_empty());
                serde_json::to_writer(&mut out, &serde_json::json!({ key: value, "count": count }))
                    .map_err(io::Error::from)?;
                out.write_all(b"\n")?;
            }
            ListForm::Csv => write!(out, "{},{count}\r\n", csv::quoted(value))?,
        }
    }
    finish(&mut out, &scan)
}

fn finish(out: &mut impl Write, scan: &Scan) -> Result<(), CliError> {
    out.flush()?;
    tell(scan);
    if scan.is_stopped { Err(CliError::Stopped) } else { Ok(()) }
}

fn gaps(arguments: &GapFilters) -> Result<(), CliError> {
    let config = arguments.config.load()?;
    let gaps = Embedded::new(&config.log.folder).gaps(arguments.since, arguments.until)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let zone = TimeZone::system();
    let utc =
        |time| Timestamp::from_microsecond(time).map_or_else(|_| String::new(), |time| format!("{time:.6}"));
    let local = |time| {
        Timestamp::from_microsecond(time).map_or_else(
            |_| String::new(),
            |time| time.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        )
    };
    match arguments.format {
        ListForm::Table => writeln!(out, "{:<19}  {:<19}  {:>12}  WHY", "FROM", "TO", "COUNT")?,
        ListForm::Jsonl => {}
        ListForm::Csv => write!(out, "from,to,count,why,file\r\n")?,
    }
    for gap in gaps {
        let why = gap.why.as_str();
        match arguments.format {
            ListForm::Table => {
                let (from, to, count) = (local(gap.earliest), local(gap.latest), gap.count);
                writeln!(out, "{from:<19}  {to:<19}  {count:>12}  {}", words(&gap))?;
            }
            ListForm::Jsonl => {
                let (from, to) = (utc(gap.earliest), utc(gap.latest));
                let line = serde_json::json!({ "from": from, "to": to, "count": gap.count, "why": why, "file": gap.place });
                serde_json::to_writer(&mut out, &line).map_err(io::Error::from)?;
                out.write_all(b"\n")?;
            }
            ListForm::Csv => {
                let (from, to) = (utc(gap.earliest), utc(gap.latest));
                write!(
                    out,
                    "{from},{to},{},{why},{}\r\n",
                    gap.count,
                    csv::quoted(gap.place.as_deref().unwrap_or(""))
                )?;
            }
        }
    }
    out.flush()?;
    Ok(())
}

fn words(gap: &Gap) -> String {
    match gap.why {
        Why::Refused => "the disk refused them: check the disk".to_owned(),
        Why::NoRoom => "the disk was nearly full, and they were no hits: free disk space".to_owned(),
        Why::TooLarge => {
            "removed before they were archived: log.max_size is too small, or archiving failed".to_owned()
        }
        Why::Unshipped => {
            "removed before ClickHouse had them: it was away for longer than log.max_size lasts".to_owned()
        }
        Why::Damaged => {
            let file = gap.place.as_deref().unwrap_or("a segment");
            format!("octets of {file} are no whole record; it is kept as {file}.damaged")
        }
    }
}

fn follow(arguments: &List) -> Result<(), CliError> {
    let config = arguments.config.load()?;
    let filter = arguments.filters.filter(&config, "log --follow")?;
    let filter = Filter { kind: arguments.format.kind(filter.kind), ..filter };
    let stop = Stop::listen()?;
    let mut printer = Printer::new(&config, arguments.format, None)?;
    let mut follower = Follower::new(&config.log.folder);
    follower.skip()?;
    // What came between the two looks is in both.
    let mut begun: Vec<Vec<u8>> = Vec::new();
    let page = Page { limit: Some(arguments.limit.unwrap_or(FOLLOW_FROM)), after: None };
    Embedded::new(&config.log.folder).newest_first(&filter, page, &mut Bar::new(&stop), &mut |record| {
        let mut octets = Vec::new();
        record.encode(0, &mut octets);
        begun.push(octets);
        ControlFlow::Continue(())
    })?;
    for octets in begun.iter().rev() {
        if let Some(record) = Record::decode(octets, 0) {
            printer.record(&record)?;
        }
    }
    let mut begun: HashSet<Vec<u8>> = begun.into_iter().collect();
    let mut octets = Vec::new();
    while !stop.is_asked() {
        printer.out.flush()?;
        let mut failed = None;
        follower.poll(&filter, &mut |record| {
            octets.clear();
            record.encode(0, &mut octets);
            if !begun.remove(&octets) && failed.is_none() {
                failed = printer.record(record).err();
            }
        })?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        printer.out.flush()?;
        std::thread::sleep(FOLLOW_EVERY);
    }
    printer.ending()?;
    Ok(())
}
