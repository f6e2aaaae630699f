//! `sachdns hunt --summary`: who asked for what, from when to when and how often.

use std::io::{self, BufWriter, Write};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::cli::CliError;
use crate::cli::log::bar::{Bar, Stop};
use crate::cli::log::printer::Form;
use crate::cli::log::tell;
use crate::evidence::export::csv;
use crate::evidence::store::names::{Needles, What};
use crate::evidence::store::{Filter, Sighting, Store};

pub(super) fn print(
    store: &dyn Store,
    filter: &Filter,
    needles: &Needles,
    form: Form,
) -> Result<(), CliError> {
    if !matches!(form, Form::Table | Form::Jsonl | Form::Csv) {
        return Err(CliError::SummaryForm);
    }
    let stop = Stop::listen()?;
    let mut bar = Bar::new(&stop);
    let (sightings, scan) = store.sightings(filter, &mut bar)?;
    drop(bar);
    let mut out = BufWriter::new(io::stdout().lock());
    match form {
        Form::Jsonl => jsonl(&mut out, &sightings, needles)?,
        Form::Csv => rows(&mut out, &sightings, needles)?,
        _ => table(&mut out, &sightings, needles)?,
    }
    out.flush()?;
    tell(&scan);
    let indicators = needles.len();
    let queries = sightings.iter().map(|it| it.count).fold(0, u64::saturating_add);
    let clients: std::collections::HashSet<_> = sightings.iter().map(|it| it.client).collect();
    eprintln!(
        "{} clients met one of {indicators} names, addresses or networks in {queries} queries",
        clients.len()
    );
    if scan.is_stopped { Err(CliError::Stopped) } else { Ok(()) }
}

fn family<'n>(sighting: &Sighting, needles: &'n Needles) -> Option<&'n str> {
    needles.label_of(&sighting.what).and_then(|label| label.family.as_deref())
}

fn table(out: &mut impl Write, sightings: &[Sighting], needles: &Needles) -> io::Result<()> {
    let zone = TimeZone::system();
    let local = |time| {
        Timestamp::from_microsecond(time).map_or_else(
            |_| String::new(),
            |time| time.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string(),
        )
    };
    writeln!(
        out,
        "{:<16} {:<16} {:>7} {:<15} NAME or ADDRESS (family; agency)",
        "FIRST", "LAST", "COUNT", "CLIENT"
    )?;
    for it in sightings {
        let (first, last, client) = (local(it.first), local(it.last), it.client.to_string());
        write!(out, "{first:<16} {last:<16} {:>7} {client:<15} {}", it.count, it.what)?;
        // Both come from others: no control character of them may reach the terminal.
        let words = [family(it, needles), it.agency.as_deref()];
        let words: Vec<String> =
            words.into_iter().flatten().map(|it| it.escape_debug().to_string()).collect();
        if !words.is_empty() {
            write!(out, " ({})", words.join("; "))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn utc(time: i64) -> String {
    Timestamp::from_microsecond(time).map_or_else(|_| String::new(), |time| format!("{time:.6}"))
}

/// The name, and the address, of which there is one.
fn what(sighting: &Sighting) -> (Option<String>, Option<String>) {
    match &sighting.what {
        What::Name(name) => (Some(name.to_string()), None),
        What::Address(address) => (None, Some(address.to_string())),
    }
}

fn jsonl(out: &mut impl Write, sightings: &[Sighting], needles: &Needles) -> io::Result<()> {
    for it in sightings {
        let (qname, address) = what(it);
        let line = serde_json::json!({
            "first": utc(it.first), "last": utc(it.last), "client": it.client, "agency": it.agency, "qname": qname,
            "address": address, "count": it.count, "hit": it.was_hit, "family": family(it, needles),
        });
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

fn rows(out: &mut impl Write, sightings: &[Sighting], needles: &Needles) -> io::Result<()> {
    write!(out, "first,last,client,agency,qname,address,count,hit,family\r\n")?;
    for it in sightings {
        let (qname, address) = what(it);
        let text = |text: Option<&str>| csv::quoted(text.unwrap_or(""));
        write!(
            out,
            "{},{},{},{},{},{},{},{},{}\r\n",
            utc(it.first),
            utc(it.last),
            it.client,
            text(it.agency.as_deref()),
            text(qname.as_deref()),
            text(address.as_deref()),
            it.count,
            it.was_hit,
            text(family(it, needles)),
        )?;
    }
    Ok(())
}
