//! `sachdns contacts`

mod printer;

use std::io::{self, BufWriter, Write as _};
use std::net::IpAddr;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use self::printer::Printer;
use super::log::bar::{Bar, Stop};
use super::log::filters::{self, GapFilters};
use super::{CliError, ConfigArg, ListForm};
use crate::client::Agencies;
use crate::clock;
use crate::config::Config;
use crate::evidence::audit;
use crate::evidence::contacts::join::{self, Advice, Sight};
use crate::evidence::contacts::{self, ClientCount, ContactFilter, Reader, Via};
use crate::evidence::export::csv;
use crate::evidence::store::embedded::Embedded;
use crate::evidence::store::{By, Filter, Kind, Store as _};
use crate::name::Name;

/// How often is looked for new contacts.
const FOLLOW_EVERY: Duration = Duration::from_millis(200);
/// Contacts that `--follow` begins with.
const FOLLOW_FROM: u64 = 10;
/// Contacts that are read at once.
const PART: usize = 1000;
/// How far back is looked for blind agencies unless something else is asked for: 30 days.
const SINCE: i64 = 30 * 86_400 * 1_000_000;

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
    /// Agencies with hits of which no machine comes to the sinkhole, and what to do.
    Blind(Blind),
    /// When contacts were not recorded, and why.
    Gaps(GapFilters),
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    config: ConfigArg,
    /// Only contacts of this address. That somebody looked is itself recorded (audit.jsonl in data_dir).
    #[arg(long, value_name = "IP")]
    client: Option<IpAddr>,
    /// Only contacts for this name and all names below it.
    #[arg(long, value_name = "NAME", value_parser = super::explain::name)]
    name: Option<Name>,
    /// Only contacts to this port.
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Only contacts that spoke this.
    #[arg(long, value_enum)]
    via: Option<ViaArg>,
    /// Only contacts from this time on: as in `sachdns log`.
    #[arg(long, value_name = "TIME", value_parser = filters::time)]
    since: Option<i64>,
    /// Only contacts before this time.
    #[arg(long, value_name = "TIME", value_parser = filters::time)]
    until: Option<i64>,
    /// At most this many, the newest.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Print the newest (10, or --limit), oldest first, and then each new one as it comes.
    #[arg(long, short, conflicts_with = "until")]
    follow: bool,
    /// How to print.
    #[arg(long, value_enum, default_value_t = ListForm::Table)]
    format: ListForm,
}

#[derive(Debug, Args)]
struct Blind {
    #[command(flatten)]
    config: ConfigArg,
    /// From this time on; 30 days unless said otherwise.
    #[arg(long, value_name = "TIME", value_parser = filters::time)]
    since: Option<i64>,
    /// All agencies with hits or contacts, the blind ones first.
    #[arg(long)]
    all: bool,
    /// How to print.
    #[arg(long, value_enum, default_value_t = ListForm::Table)]
    format: ListForm,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ViaArg {
    Http,
    Tls,
    /// Anything else over TCP.
    Tcp,
    Udp,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), CliError> {
    match &arguments.command {
        Some(Command::Blind(arguments)) => blind(arguments),
        Some(Command::Gaps(arguments)) => gaps(arguments),
        None => list(&arguments.list),
    }
}

fn list(arguments: &List) -> Result<(), CliError> {
    let config = arguments.config.load()?;
    let reader = Reader::open(&contacts::folder(&config.data_dir))?;
    let filter = ContactFilter {
        client: arguments.client,
        name: arguments.name.clone(),
        port: arguments.port,
        via: arguments.via.map(|via| match via {
            ViaArg::Http => Via::Http,
            ViaArg::Tls => Via::Tls,
            ViaArg::Tcp => Via::Tcp,
            ViaArg::Udp => Via::Udp,
        }),
        since: arguments.since,
        until: arguments.until,
        after: None,
        limit: arguments.limit,
    };
    if let Some(client) = filter.client {
        let command = if arguments.follow { "contacts --follow" } else { "contacts" };
        let look = audit::Look { command, client, since: filter.since, until: filter.until };
        audit::append(&config.data_dir, clock::now(), &look)
            .map_err(|source| CliError::Audit { path: audit::path(&config.data_dir), source })?;
    }
    let mut printer = Printer::new(&config, arguments.format)?;
    if arguments.follow {
        return follow(&reader, &filter, &mut printer);
    }
    let mut failed = None;
    reader.for_each(&filter, &mut |contact| {
        if failed.is_none() {
            failed = printer.contact(&contact).err();
        }
    })?;
    match failed {
        Some(error) => return Err(error.into()),
        None => printer.out.flush()?,
    }
    let gaps = reader.gaps(filter.since, filter.until)?;
    let missed: u64 = gaps.iter().map(|gap| gap.count).sum();
    if missed > 0 {
        eprintln!(
            "note: {missed} contacts of this time were not recorded: `sachdns contacts gaps` says when and why"
        );
    }
    Ok(())
}

fn follow(reader: &Reader, filter: &ContactFilter, printer: &mut Printer) -> Result<(), CliError> {
    let stop = Stop::listen()?;
    let mut last = reader.last_id()?;
    let limit = filter.limit.or(Some(FOLLOW_FROM));
    let mut begun = reader.find(&ContactFilter { limit, ..filter.clone() })?;
    // What came between the two looks comes again behind it.
    begun.retain(|contact| contact.id <= last);
    for contact in begun.iter().rev() {
        printer.contact(contact)?;
    }
    while !stop.is_asked() {
        let contacts = reader.after(last, PART)?;
        let is_part = contacts.len() == PART;
        for contact in contacts {
            last = contact.id;
            if filter.takes(&contact) {
                printer.contact(&contact)?;
            }
        }
        printer.out.flush()?;
        if !is_part {
            std::thread::sleep(FOLLOW_EVERY);
        }
    }
    Ok(())
}

fn blind(arguments: &Blind) -> Result<(), CliError> {
    let config = arguments.config.load()?;
    let since = arguments.since.unwrap_or_else(|| clock::now().saturating_sub(SINCE));
    let sights = sights(&config, since)?;
    let mut out = BufWriter::new(io::stdout().lock());
    if arguments.format == ListForm::Csv {
        write!(out, "agency,name,hits,hit_clients,contacts,contact_clients,advice\r\n")?;
    }
    let mut count = 0;
    for sight in sights.iter().filter(|sight| arguments.all || sight.advice().is_some()) {
        let advice = sight.advice();
        count += usize::from(advice.is_some());
        let name = config.agencies.iter().find(|agency| agency.id == sight.agency);
        let name = name.map_or("", |agency| &*agency.name);
        match arguments.format {
            ListForm::Table => write_sight(&mut out, sight, name)?,
            ListForm::Jsonl => {
                let line = serde_json::json!({
                    "agency": &*sight.agency, "name": name, "hits": sight.hits, "hit_clients": sight.hit_clients,
                    "contacts": sight.contacts, "contact_clients": sight.contact_clients,
                    "advice": advice.map(Advice::as_str),
                });
                serde_json::to_writer(&mut out, &line).map_err(io::Error::from)?;
                out.write_all(b"\n")?;
            }
            ListForm::Csv => {
                let Sight { agency, hits, hit_clients, contacts, contact_clients } = sight;
                let (agency, name) = (csv::quoted(agency), csv::quoted(name));
                let advice = advice.map_or("", Advice::as_str);
                write!(
                    out,
                    "{agency},{name},{hits},{hit_clients},{contacts},{contact_clients},{advice}\r\n"
                )?;
            }
        }
    }
    out.flush()?;
    if count == 0 {
        eprintln!("note: no agency is blind: of each that has hits, some machine came to the sinkhole");
    } else if config.http.listen.iter().all(|address| address.ip().is_loopback()) {
        eprintln!("note: sinkhole.http_listen has loopback addresses alone, which no agency can reach");
    }
    Ok(())
}

/// How each agency is seen, by the agencies' networks as they are now.
fn sights(config: &Config, since: i64) -> Result<Vec<Sight>, CliError> {
    let agencies =
        Agencies::new(config.agencies.clone()).expect("the configuration refuses a network of two agencies");
    let filter = Filter { since: Some(since), kind: Kind::Hits, ..Filter::default() };
    let stop = Stop::listen()?;
    let mut bar = Bar::new(&stop);
    let (hits, scan) = Embedded::new(&config.log.folder).count(&filter, By::Client, &mut bar)?;
    drop(bar);
    if scan.is_stopped {
        return Err(CliError::Stopped);
    }
    let hits: Vec<ClientCount> = hits
        .into_iter()
        .filter_map(|count| Some(ClientCount { client: count.value.parse().ok()?, count: count.count }))
        .collect();
    let contacts = Reader::open(&contacts::folder(&config.data_dir))?.by_client(since)?;
    Ok(join::sights(&hits, &contacts, |client| agencies.of(client).map(|agency| agency.id.clone())))
}

fn write_sight(out: &mut impl io::Write, sight: &Sight, name: &str) -> io::Result<()> {
    let Sight { agency, hits, hit_clients, contacts, contact_clients } = sight;
    writeln!(out, "{agency} ({name})")?;
    writeln!(out, "  hits: {hits}, from {hit_clients} addresses")?;
    writeln!(out, "  contacts: {contacts}, from {contact_clients} addresses")?;
    match sight.advice() {
        None => Ok(()),
        Some(Advice::Forwarder) => writeln!(
            out,
            "  All hits come from one or two addresses: most likely the agency's own DNS server, or its NAT.\n  \
             Have that server send who asks (dnsmasq: add-mac, add-subnet=32,128; here: server.trusted_forwarders),\n  \
             or let its machines ask this server by themselves; and route the sinkhole's addresses here\n  \
             without NAT, so that contacts show the machines."
        ),
        Some(Advice::Route) => writeln!(
            out,
            "  Its machines ask by themselves, but none reaches the sinkhole: route the sinkhole's addresses\n  \
             (sinkhole.ipv4, sinkhole.ipv6) here, and let the firewalls on the way pass its ports."
        ),
    }
}

fn gaps(arguments: &GapFilters) -> Result<(), CliError> {
    let config = arguments.config.load()?;
    let gaps = Reader::open(&contacts::folder(&config.data_dir))?.gaps(arguments.since, arguments.until)?;
    let mut out = BufWriter::new(io::stdout().lock());
    match arguments.format {
        ListForm::Table => writeln!(out, "{:<19}  {:<19}  {:>12}  WHY", "FROM", "TO", "COUNT")?,
        ListForm::Jsonl => {}
        ListForm::Csv => write!(out, "from,to,count,why\r\n")?,
    }
    for gap in gaps {
        let (count, why) = (gap.count, gap.why.as_str());
        match arguments.format {
            ListForm::Table => {
                let words = match gap.why {
                    contacts::Why::Flood => "more came at once than are kept",
                    contacts::Why::Disk => "the disk refused them: check the disk",
                };
                let (from, to) = (printer::local(gap.earliest), printer::local(gap.latest));
                writeln!(out, "{from:<19}  {to:<19}  {count:>12}  {words}")?;
            }
            ListForm::Jsonl => {
                let (from, to) = (printer::utc(gap.earliest), printer::utc(gap.latest));
                let line = serde_json::json!({ "from": from, "to": to, "count": count, "why": why });
                serde_json::to_writer(&mut out, &line).map_err(io::Error::from)?;
                out.write_all(b"\n")?;
            }
            ListForm::Csv => {
                let (from, to) = (printer::utc(gap.earliest), printer::utc(gap.latest));
                write!(out, "{from},{to},{count},{why}\r\n")?;
            }
        }
    }
    out.flush()?;
    Ok(())
}
