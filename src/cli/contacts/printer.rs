//! Contacts as they are printed: a table for people, JSON lines and CSV for programs.

use std::fmt::Write as _;
use std::io::{self, BufWriter, Write as _};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::cli::{CliError, ListForm};
use crate::client::Agencies;
use crate::config::Config;
use crate::evidence::contacts::Contact;
use crate::evidence::export::csv;

/// Characters that a table shows of what was sent first.
const SHOWN: usize = 40;

pub(super) struct Printer {
    pub(super) out: BufWriter<io::StdoutLock<'static>>,
    form: ListForm,
    /// As they are now.
    agencies: Agencies,
}

/// A contact in JSON.
#[derive(Serialize)]
struct Line<'a> {
    id: u64,
    time: String,
    client: std::net::IpAddr,
    source_port: u16,
    agency: Option<&'a str>,
    local: std::net::SocketAddr,
    via: &'a str,
    name: Option<&'a str>,
    path: Option<&'a str>,
    agent: Option<&'a str>,
    ja4: Option<&'a str>,
    first: String,
    count: u32,
}

impl Printer {
    /// Prints the heading at once.
    pub(super) fn new(config: &Config, form: ListForm) -> Result<Self, CliError> {
        let agencies = Agencies::new(config.agencies.clone())
            .expect("the configuration refuses a network of two agencies");
        let mut out = BufWriter::new(io::stdout().lock());
        match form {
            ListForm::Table => {
                let zone = Timestamp::now().to_zoned_datetime(TimeZone::system()).strftime("TIME (%:z)");
                writeln!(
                    out,
                    "{:<19} {:<15} {:>5} {:<4} {:>5} NAME, PATH, FIRST OCTETS",
                    zone.to_string(),
                    "CLIENT",
                    "PORT",
                    "VIA",
                    "COUNT"
                )?;
            }
            ListForm::Jsonl => {}
            ListForm::Csv => write!(
                out,
                "id,time,client,source_port,agency,local,via,name,path,agent,ja4,first,count\r\n"
            )?,
        }
        Ok(Self { out, form, agencies })
    }

    pub(super) fn contact(&mut self, contact: &Contact) -> io::Result<()> {
        let agency = self.agencies.of(contact.client).map(|agency| agency.id.clone());
        match self.form {
            ListForm::Table => {
                write!(
                    self.out,
                    "{:<19} {:<15} {:>5} {:<4} {:>5} {}",
                    local(contact.time),
                    contact.client.to_string(),
                    contact.local.port(),
                    contact.via.as_str(),
                    contact.count,
                    contact.name.as_deref().unwrap_or("-"),
                )?;
                // Whatever strangers sent: no control character of it may reach the terminal.
                if let Some(path) = &contact.path {
                    write!(self.out, " {}", cut(&path.escape_debug().to_string()))?;
                } else if contact.ja4.is_none() && !contact.first.is_empty() {
                    write!(self.out, " \"{}\"", cut(&contact.first.escape_ascii().to_string()))?;
                }
                if let Some(ja4) = &contact.ja4 {
                    write!(self.out, " ({ja4})")?;
                }
                writeln!(self.out)
            }
            ListForm::Jsonl => {
                let line = Line {
                    id: contact.id,
                    time: utc(contact.time),
                    client: contact.client,
                    source_port: contact.source_port,
                    agency: agency.as_deref(),
                    local: contact.local,
                    via: contact.via.as_str(),
                    name: contact.name.as_deref(),
                    path: contact.path.as_deref(),
                    agent: contact.agent.as_deref(),
                    ja4: contact.ja4.as_deref(),
                    first: hex(&contact.first),
                    count: contact.count,
                };
                serde_json::to_writer(&mut self.out, &line).map_err(io::Error::from)?;
                self.out.write_all(b"\n")
            }
            ListForm::Csv => {
                let fields = [
                    contact.id.to_string(),
                    utc(contact.time),
                    contact.client.to_string(),
                    contact.source_port.to_string(),
                    agency.as_deref().unwrap_or("").to_owned(),
                    contact.local.to_string(),
                    contact.via.as_str().to_owned(),
                    contact.name.clone().unwrap_or_default(),
                    contact.path.clone().unwrap_or_default(),
                    contact.agent.clone().unwrap_or_default(),
                    contact.ja4.clone().unwrap_or_default(),
                    hex(&contact.first),
                    contact.count.to_string(),
                ];
                let fields = fields.map(|field| csv::quoted(&field));
                write!(self.out, "{}\r\n", fields.join(","))
            }
        }
    }
}

/// A time on this machine's clock, for people.
pub(super) fn local(time: i64) -> String {
    Timestamp::from_microsecond(time).map_or_else(
        |_| String::new(),
        |time| time.to_zoned_datetime(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
    )
}

/// A time for programs.
pub(super) fn utc(time: i64) -> String {
    Timestamp::from_microsecond(time).map_or_else(|_| String::new(), |time| format!("{time:.6}"))
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::with_capacity(2 * octets.len()), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}
