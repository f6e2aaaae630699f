//! Records as they are printed: a table for people, or a format for programs.

use std::io::{self, BufWriter, IsTerminal as _, Write as _};

use clap::ValueEnum;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::cli::CliError;
use crate::clock;
use crate::config::Config;
use crate::evidence::export::frames::{self, Control};
use crate::evidence::export::{Format, Origin, dnstap, table};
use crate::evidence::record::Record;
use crate::evidence::store::{Kind, Place};

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(in crate::cli) enum Form {
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

    /// What of the asked kind has this form.
    pub(in crate::cli) fn kind(self, asked: Kind) -> Kind {
        if matches!(self, Self::OcsfFinding) { Kind::Hits } else { asked }
    }
}

pub(in crate::cli) struct Printer {
    pub(in crate::cli) out: BufWriter<io::StdoutLock<'static>>,
    /// `None`: a table.
    format: Option<Format>,
    origin: Origin,
    zone: TimeZone,
    pub(in crate::cli) count: u64,
    /// Behind the last record that was printed.
    pub(in crate::cli) place: Option<Place>,
}

impl Printer {
    /// Prints the heading at once.
    pub(in crate::cli) fn new(config: &Config, form: Form, place: Option<Place>) -> Result<Self, CliError> {
        let format = form.format();
        if format == Some(Format::Dnstap) && io::stdout().is_terminal() {
            return Err(CliError::Octets);
        }
        let mut printer = Self {
            out: BufWriter::new(io::stdout().lock()),
            format,
            origin: Origin { node: config.node() },
            zone: TimeZone::system(),
            count: 0,
            place,
        };
        match format {
            None => table::write_heading(&mut printer.out, &printer.zone, Timestamp::now())?,
            Some(Format::Dnstap) => printer.control(Control::Start)?,
            Some(format) => format.write_heading(&mut printer.out, clock::now())?,
        }
        Ok(printer)
    }

    pub(in crate::cli) fn record(&mut self, record: &Record<'_>) -> io::Result<()> {
        self.count += 1;
        self.place = Some(Place::behind(self.place, record.time));
        match self.format {
            None => table::write(&mut self.out, record, &self.zone),
            Some(Format::Dnstap) => {
                let mut frame = Vec::new();
                frames::put_data(&dnstap::encode(record, &self.origin), &mut frame);
                self.out.write_all(&frame)
            }
            Some(format) => format.write(&mut self.out, record, &self.origin),
        }
    }

    pub(in crate::cli) fn ending(&mut self) -> io::Result<()> {
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
