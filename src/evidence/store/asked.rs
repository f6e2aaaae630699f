//! Who asked in a time: every client with its agency, and what tells the machines behind it apart.
//!
//! From rows where there are any, read column by column; from the catalogue's hits and from summaries where rows are gone. What
//! a machine is, is not known here.

use std::net::IpAddr;

use ipnet::IpNet;

use super::catalogue::HitScope;
use super::embedded::Embedded;
use super::parquet::{FileError, Sieve, Stored};
use super::rows::{MINUTE, Text};
use super::summary::{Client, Summary, SummaryError};
use super::view::{gone_until, note, note_file};
use super::{Filter, Kind, Scan, StoreError, Watch};
use crate::evidence::record::Record;
use crate::mac::Mac;

/// A client that asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked<'a> {
    /// The address that asked.
    pub client: IpAddr,
    /// The id of its agency.
    pub agency: Option<&'a str>,
    /// The MAC that a trusted forwarder told.
    pub mac: Option<Mac>,
    /// … and the network.
    pub subnet: Option<IpNet>,
    /// When, microseconds since 1970; where only a summary is left, at some time from then on …
    pub first: i64,
    /// … and until then.
    pub last: i64,
}

impl<'a> Asked<'a> {
    /// Who asked for what a record tells of.
    pub fn of(record: &'a Record<'_>) -> Self {
        let Record { client, mac, subnet, time, .. } = *record;
        Self { client, agency: record.agency.as_deref(), mac, subnet, first: time, last: time }
    }

    /// The address that asked, behind a forwarder the one that it told, if that is a whole one.
    pub fn source(&self) -> IpAddr {
        let whole = self.subnet.filter(|net| net.prefix_len() == net.max_prefix_len());
        whole.map_or(self.client, |net| net.addr().to_canonical())
    }
}

/// Calls `visit` with who asked from `since` on and before `until`, in no order, and at least once for each.
pub(super) fn all(
    embedded: &Embedded,
    (since, until): (i64, i64),
    agency: Option<&str>,
    watch: &mut dyn Watch,
    visit: &mut dyn FnMut(&Asked<'_>),
) -> Result<Scan, StoreError> {
    let filter = Filter {
        since: Some(since),
        until: Some(until),
        agency: agency.map(str::to_owned),
        ..Filter::default()
    };
    let mut scan = Scan::default();
    let mut view = embedded.view()?;
    view.raws.retain(|raw| raw.is_wanted(&filter, &mut scan));
    view.files.retain(|file| filter.may_take(file.name.earliest, file.name.latest));
    view.summaries.retain(|it| filter.may_take(it.name.earliest, it.name.latest));
    let lens = view.raws.iter().map(|raw| raw.survey.len).chain(view.files.iter().map(|file| file.octets));
    let (mut done, total) = (0, lens.fold(0, u64::saturating_add));
    for raw in &view.raws {
        if watch.progress(done, total).is_break() {
            scan.is_stopped = true;
            return Ok(scan);
        }
        raw.read(&mut scan, &mut |record| {
            if filter.takes(record) {
                visit(&Asked::of(record));
            }
        })?;
        done += raw.survey.len;
    }
    for file in &view.files {
        if watch.progress(done, total).is_break() {
            scan.is_stopped = true;
            return Ok(scan);
        }
        let path = view.folder.join(file.name.to_string());
        let mut sifted = Sifted::new(since, until, agency, visit);
        let read = Stored::open(&path).and_then(|stored| stored.sift(Sifted::COLUMNS, &mut sifted));
        note_file(&mut scan, &path, &read);
        done += file.octets;
    }
    if let Some(catalogue) = &view.catalogue {
        let (mut until, scope) = (until, HitScope::of(Kind::All));
        loop {
            let part = Filter { until: Some(until), ..filter.clone() };
            let (loaded, more) = catalogue.hits(&part, scope, None).map_err(embedded.failed())?;
            loaded.each(&mut |record| visit(&Asked::of(record)));
            let Some(more) = more else { break };
            until = more;
        }
    }
    for entry in &view.summaries {
        let path = view.folder.join(entry.name.summary_name());
        let read = Summary::open(&path).and_then(|summary| match gone_until(&view.folder, &summary) {
            Some(_) => of_summary(&summary, (since, until), agency, visit),
            None => Ok(()),
        });
        note(&mut scan, &path, read.as_ref().err().filter(|error| !error.is_absent()));
    }
    let _ = watch.progress(total, total);
    Ok(scan)
}

/// The clients that a summary knows; where it reaches beyond the time that is asked for, those that may have asked within.
fn of_summary(
    summary: &Summary,
    (since, until): (i64, i64),
    agency: Option<&str>,
    visit: &mut dyn FnMut(&Asked<'_>),
) -> Result<(), SummaryError> {
    let clients = summary.clients()?;
    let (earliest, latest) = (summary.facts().earliest, summary.facts().latest);
    let mut tell = |client: &Client, first: i64, last: i64| {
        if agency.is_none_or(|agency| client.agency.as_deref() == Some(agency)) {
            let (first, last) = (first.max(since), last.min(until - 1));
            let agency = client.agency.as_deref();
            visit(&Asked { client: client.address, agency, mac: None, subnet: None, first, last });
        }
    };
    if since <= earliest && latest < until {
        for client in &clients {
            tell(client, earliest, latest);
        }
        return Ok(());
    }
    let mut walk = summary.walk()?;
    while walk.advance()? {
        for asker in walk.askers()? {
            let first = i64::from(asker.first) * MINUTE;
            let last = i64::from(asker.last) * MINUTE + MINUTE - 1;
            if first < until && last >= since {
                let client = clients.get(asker.client as usize).ok_or(SummaryError::Damaged)?;
                tell(client, first, last);
            }
        }
    }
    Ok(())
}

/// Takes rows of a file.
struct Sifted<'v> {
    since: i64,
    until: i64,
    wanted: Option<&'v str>,
    clients: Vec<IpAddr>,
    agencies: Vec<Option<Box<str>>>,
    macs: Vec<Option<Mac>>,
    subnets: Vec<Option<IpNet>>,
    visit: &'v mut dyn FnMut(&Asked<'_>),
}

impl<'v> Sifted<'v> {
    const COLUMNS: [Text; 4] = [Text::Client, Text::Agency, Text::Mac, Text::Subnet];

    fn new(since: i64, until: i64, wanted: Option<&'v str>, visit: &'v mut dyn FnMut(&Asked<'_>)) -> Self {
        let (clients, agencies) = (Vec::new(), Vec::new());
        Self { since, until, wanted, clients, agencies, macs: Vec::new(), subnets: Vec::new(), visit }
    }
}

fn put<T>(values: &mut Vec<T>, value: T) -> u32 {
    values.push(value);
    // A cut comes after some hundred thousand rows.
    values.len() as u32 - 1
}

impl Sieve<4> for Sifted<'_> {
    type Error = FileError;

    fn number(&mut self, column: usize, text: Option<&str>) -> Result<u32, FileError> {
        let wrong = || FileError::Value(Self::COLUMNS[column]);
        Ok(match column {
            0 => put(&mut self.clients, text.and_then(|text| text.parse().ok()).ok_or_else(wrong)?),
            1 => put(&mut self.agencies, text.map(Into::into)),
            2 => put(&mut self.macs, text.map(|text| text.parse().map_err(|_| wrong())).transpose()?),
            _ => put(&mut self.subnets, text.map(|text| text.parse().map_err(|_| wrong())).transpose()?),
        })
    }

    fn row(&mut self, time: i64, _: bool, [client, agency, mac, subnet]: [u32; 4]) {
        let agency = self.agencies[agency as usize].as_deref();
        if self.since <= time && time < self.until && (self.wanted.is_none() || self.wanted == agency) {
            (self.visit)(&Asked {
                client: self.clients[client as usize],
                agency,
                mac: self.macs[mac as usize],
                subnet: self.subnets[subnet as usize],
                first: time,
                last: time,
            });
        }
    }

    fn cut(&mut self) -> Result<(), FileError> {
        self.clients.clear();
        self.agencies.clear();
        self.macs.clear();
        self.subnets.clear();
        Ok(())
    }
}
