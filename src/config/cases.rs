//! `[cases]`, and what `[[agency]]` says of who looks after its machines.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use jiff::tz::TimeZone;

use super::faults::Problem;
use super::file::{empty_or_text, network};
use super::log::age;
use super::notices;
use super::reader::{Reader, Table, Value, count, integer, list, text};
use crate::cases::desk::LONGEST_NAME;
use crate::cases::{Classes, Options, notify};
use crate::client::Agency;
use crate::roster;

/// What `[cases]` and the agencies' tables say of cases.
#[derive(Debug, Clone)]
pub struct Cases {
    /// How they are kept.
    pub options: Options,
    /// Which families and feeds are of which class.
    pub classes: Classes,
    /// Who looks after which agency.
    pub offices: Vec<Office>,
    /// Who is told.
    pub notices: notify::Options,
}

/// Who looks after an agency's machines, and which addresses are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Office {
    /// The agency's id.
    pub agency: Arc<str>,
    /// Who gets its cases.
    pub officer: Option<String>,
    /// Where that one reads mail.
    pub email: Option<String>,
    /// The agency's own DNS servers: what they ask for, others asked them for.
    pub forwarders: Vec<IpNet>,
}

/// Takes what an agency's table says; `id` is not known yet.
pub(super) fn office<'a>(reader: &mut Reader<'a>, table: &mut Table<'a>) -> Office {
    let officer = reader.take(table, "officer", None, person);
    let email = reader.take(table, "email", None, email);
    let forwarders = reader.take(table, "forwarders", Vec::new(), list(network));
    Office { agency: Arc::from(""), officer, email, forwarders }
}

/// Takes the table `[cases]`.
pub(super) fn read<'a>(
    reader: &mut Reader<'a>,
    top: &mut Table<'a>,
    zone: &TimeZone,
    agencies: &[Agency],
    offices: Vec<Office>,
) -> Cases {
    let mut table = reader.sub_table(top, "cases");
    let default = Options::default();
    let days = integer("a number of days from 1 to 365", 1..=365);
    // Below 366.
    let quiet_days = reader.take(&mut table, "quiet_days", u64::from(default.quiet_days), days) as u32;
    let keep = Duration::from_micros(default.keep.unsigned_abs());
    let keep = reader.take(&mut table, "keep", keep, age);
    let most = usize::try_from(default.most_open).unwrap_or(usize::MAX);
    let most = reader.take(&mut table, "max_open", most, count("a number of cases from 1 to 1000000"));
    let micros = |span: Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    let mut within = |key: &'static str, default: i64| {
        micros(reader.take(&mut table, key, Duration::from_micros(default.unsigned_abs()), age))
    };
    let tell_within = within("tell_within", default.tell_within);
    let clean_within = within("clean_within", default.clean_within);
    let Classes { c2, phishing, scan } = Classes::default();
    let classes = Classes {
        c2: reader.take(&mut table, "c2", c2, list(pattern)),
        phishing: reader.take(&mut table, "phishing", phishing, list(pattern)),
        scan: reader.take(&mut table, "scan", scan, list(pattern)),
    };
    let syslog = notices::syslog(reader, &mut table);
    reader.finish(table, &[]);
    let notices = notify::Options { syslog, ..notices::read(reader, top, agencies, &offices) };
    let options = Options {
        quiet_days,
        keep: micros(keep),
        tell_within,
        clean_within,
        most_open: most as u64,
        time_zone: zone.clone(),
        ..default
    };
    Cases { options, classes, offices, notices }
}

fn pattern(value: Value<'_>) -> Result<String, Problem> {
    let got = text(value)?;
    if got.is_empty() || got.len() > 200 {
        let why = "it is empty, or longer than 200 octets".to_owned();
        let expected = "a family or a feed, * for anything, such as \"*phish*\"";
        return Err(Problem::Value { got: got.to_owned(), why, expected });
    }
    Ok(got.to_owned())
}

fn person(value: Value<'_>) -> Result<Option<String>, Problem> {
    let expected = "a name in one line of at most 200 octets, or \"\" for nobody";
    match empty_or_text(value)? {
        Some(name) if name.len() > LONGEST_NAME || name.contains(char::is_control) => {
            let why = "it is longer, or holds control characters".to_owned();
            Err(Problem::Value { got: name, why, expected })
        }
        name => Ok(name),
    }
}

fn email(value: Value<'_>) -> Result<Option<String>, Problem> {
    let Some(got) = empty_or_text(value)? else { return Ok(None) };
    address(&got).map_err(|why| Problem::Value {
        got: got.clone(),
        why: why.to_owned(),
        expected: "an address such as \"cntt@agency.example.vn\", or \"\" for none",
    })?;
    Ok(Some(got))
}

/// Whether it looks like an address of mail; what reads it for good is the mail server.
pub(super) fn address(text: &str) -> Result<(), &'static str> {
    if roster::is_email(text) { Ok(()) } else { Err("it is not the plain form NAME@DOMAIN") }
}
