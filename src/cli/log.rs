//! `sachdns log`

use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::net::IpAddr;
use std::ops::ControlFlow;

use clap::{Args, ValueEnum};
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo, Timestamp};

use super::{CliError, ConfigArg, absolute};
use crate::clock;
use crate::evidence::export::frames::{self, Control};
use crate::evidence::export::{Format, Origin, dnstap, table};
use crate::evidence::record::Record;
use crate::evidence::store::segments::Segments;
use crate::evidence::store::{Filter, Kind, Store as _};
use crate::name::Name;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArg,
    /// Only queries of this client address.
    #[arg(long, value_name = "IP")]
    client: Option<IpAddr>,
    /// Only queries of clients of the agency with this id.
    #[arg(long, value_name = "ID")]
    agency: Option<String>,
    /// Only queries for this name and all names below it.
    #[arg(long, value_name = "NAME", value_parser = super::explain::name)]
    name: Option<Name>,
    /// Only queries from this time on: RFC 3339 (2026-11-24T08:00:00+07:00), a day or time on this machine's clock (2026-11-24) or an age (2h, 90d).
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<i64>,
    /// Only queries before this time.
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<i64>,
    /// Only hits: queries that a rule of a threat feed met.
    #[arg(long)]
    hits: bool,
    /// At most this many, the newest.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Form::Table)]
    format: Form,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Form {
    /// For people.
    Table,
    /// JSON lines.
    Jsonl,
    /// For spreadsheets.
    Csv,
    /// Open Cybersecurity Schema Framework: DNS Activity.
    Ocsf,
    /// … only hits, as Detection Finding.
    OcsfFinding,
    /// Elastic Common Schema.
    Ecs,
    /// Zeek's dns.log.
    Zeek,
    /// Common Event Format.
    Cef,
    /// dnstap in Frame Streams: octets, for a file.
    Dnstap,
}

impl Form {
    /// `None` for people's.
    fn format(self) -> Option<Format> {
        match self {
            Self::Table => None,
            Self::Jsonl => Some(Format::Jsonl),
            Self::Csv => Some(Format::Csv),
            Self::Ocsf => Some(Format::Ocsf),
            Self::OcsfFinding => Some(Format::OcsfFinding),
            Self::Ecs => Some(Format::Ecs),
            Self::Zeek => Some(Format::Zeek),
            Self::Cef => Some(Format::Cef),
            Self::Dnstap => Some(Format::Dnstap),
        }
    }
}

/// Microseconds since 1970.
pub(super) fn time(text: &str) -> Result<i64, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_microsecond());
    }
    // A day, or a day and a time, on this machine's clock.
    if let Ok(time) = text.parse::<jiff::civil::DateTime>()
        && let Ok(time) = TimeZone::system().to_timestamp(time)
    {
        return Ok(time.as_microsecond());
    }
    let wrong = || {
        format!("{text:?} is neither a time such as 2026-11-24T08:00:00+07:00 nor an age such as 2h or 90d")
    };
    let age = text
        .parse::<Span>()
        .and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()))
        .map_err(|_| wrong())?;
    Timestamp::now().checked_sub(age.abs()).map(Timestamp::as_microsecond).map_err(|_| wrong())
}

pub(super) fn run(arguments: &Arguments) -> Result<(), CliError> {
    let config = arguments.config.load()?;
    let folder = &config.log.folder;
    if !folder.exists() {
        return Err(CliError::NoLog { path: absolute(folder) });
    }
    if let Some(id) = &arguments.agency
        && !config.agencies.iter().any(|agency| *agency.id == **id)
    {
        eprintln!(
            "note: the configuration has no agency {id:?} now; only records from when it had can match"
        );
    }
    let format = arguments.format.format();
    if format == Some(Format::Dnstap) && io::stdout().is_terminal() {
        return Err(CliError::Octets);
    }
    let has_hits_only = arguments.hits || format == Some(Format::OcsfFinding);
    let filter = Filter {
        client: arguments.client,
        agency: arguments.agency.clone(),
        name: arguments.name.clone(),
        since: arguments.since,
        until: arguments.until,
        kind: if has_hits_only { Kind::Hits } else { Kind::All },
    };
    let mut printer = Printer {
        out: BufWriter::new(io::stdout().lock()),
        format,
        origin: Origin { node: config.node() },
        zone: TimeZone::system(),
        left: arguments.limit.unwrap_or(u64::MAX),
    };
    printer.heading()?;
    let mut failed = None;
    let scan = Segments::new(folder).newest_first(&filter, &mut |record| match printer.record(record) {
        Ok(flow) => flow,
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    })?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    printer.ending()?;
    for (path, octets) in scan.damaged {
        // A record is being written at this moment, the power failed while one was, or the disk is bad.
        eprintln!(
            "note: {}: {octets} octets are no whole record: check the disk if this stays",
            path.display()
        );
    }
    Ok(())
}

struct Printer<W: Write> {
    out: W,
    /// `None`: a table.
    format: Option<Format>,
    origin: Origin,
    zone: TimeZone,
    left: u64,
}

impl<W: Write> Printer<W> {
    fn heading(&mut self) -> io::Result<()> {
        match self.format {
            None => table::write_heading(&mut self.out, &self.zone, Timestamp::now()),
            Some(Format::Dnstap) => self.control(Control::Start),
            Some(format) => format.write_heading(&mut self.out, clock::now()),
        }
    }

    fn record(&mut self, record: &Record<'_>) -> io::Result<ControlFlow<()>> {
        if self.left == 0 {
            return Ok(ControlFlow::Break(()));
        }
        self.left -= 1;
        match self.format {
            None => table::write(&mut self.out, record, &self.zone)?,
            Some(Format::Dnstap) => {
                let mut frame = Vec::new();
                frames::put_data(&dnstap::encode(record, &self.origin), &mut frame);
                self.out.write_all(&frame)?;
            }
            Some(format) => format.write(&mut self.out, record, &self.origin)?,
        }
        Ok(if self.left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    fn ending(&mut self) -> io::Result<()> {
        if self.format == Some(Format::Dnstap) {
            self.control(Control::Stop)?;
        }
        self.out.flush()
    }

    fn control(&mut self, control: Control) -> io::Result<()> {
        let mut frame = Vec::new();
        frames::put_control(control, &mut frame);
        self.out.write_all(&frame)
    }
}
