//! What there is, as far as a viewer may see it: the one way from pages and the API to the log, cases and machines.
//!
//! Every question is narrowed to the viewer's own agency here and nowhere else, and every look at one person's history is
//! recorded before anything is shown.

pub(super) mod look;
mod programs;
mod reports;
pub(super) mod work;

use std::net::IpAddr;
use std::ops::ControlFlow;

use super::access::Viewer;
use super::answer::Failure;
use super::audit;
use super::house::House;
use crate::cases::{Case, CaseFile, CaseFilter, Ticket};
use crate::evidence::audit::{self as evidence_audit, Look, Person};
use crate::evidence::record::Record;
use crate::evidence::store::{By, Count, Filter, Page, Scan, Watch};

/// Whether the machine's clocks are Vietnam's.
fn is_vietnam(now: i64) -> bool {
    let zone = jiff::tz::TimeZone::system();
    let offset = jiff::Timestamp::from_microsecond(now).map(|now| zone.to_offset(now).seconds());
    offset.is_ok_and(|seconds| seconds == 7 * 3600)
}

/// What a viewer may see.
pub(super) struct Data<'a> {
    house: &'a dyn House,
    viewer: &'a Viewer,
    /// Where the viewer asks from.
    from: Option<IpAddr>,
    /// Whether the look was recorded a moment ago.
    is_recorded: bool,
    now: i64,
}

impl<'a> Data<'a> {
    /// What `viewer` may see of what `house` has.
    pub(super) fn new(house: &'a dyn House, viewer: &'a Viewer, now: i64) -> Self {
        Self { house, viewer, from: None, is_recorded: false, now }
    }

    /// The same, asked from this address, as the audit records it.
    pub(super) fn from(self, address: IpAddr) -> Self {
        Self { from: Some(address), ..self }
    }

    /// The same, to go on with a look that was recorded.
    pub(super) fn going_on(self) -> Self {
        Self { is_recorded: true, ..self }
    }

    /// Narrowed to what the viewer sees; `None` where that is nothing.
    fn narrowed(&self, filter: &Filter) -> Option<Filter> {
        let mut filter = filter.clone();
        if let Some(own) = self.viewer.agency() {
            if filter.agency.as_deref().is_some_and(|asked| asked != own) {
                return None;
            }
            filter.agency = Some(own.to_owned());
        }
        Some(filter)
    }

    /// Queries, the newest first. A question about one client or machine is recorded first.
    pub(super) fn queries(
        &self,
        filter: &Filter,
        page: Page,
        watch: &mut dyn Watch,
        visit: &mut dyn FnMut(&Record<'_>) -> ControlFlow<()>,
    ) -> Result<Scan, Failure> {
        let Some(filter) = self.narrowed(filter) else { return Ok(Scan::default()) };
        if let Some(client) = filter.client {
            self.looked(client, filter.since, filter.until)?;
        }
        if let Some(machine) = &filter.machine {
            let mut clients: Vec<IpAddr> = machine.spans.iter().map(|(client, ..)| *client).collect();
            clients.sort_unstable();
            clients.dedup();
            for client in clients {
                self.looked(client, filter.since, filter.until)?;
            }
        }
        Ok(self.house.log().newest_first(&filter, page, watch, visit)?)
    }

    /// Counts of queries; days are those of Vietnam.
    pub(super) fn count(
        &self,
        filter: &Filter,
        by: By,
        watch: &mut dyn Watch,
    ) -> Result<(Vec<Count>, Scan), Failure> {
        let Some(filter) = self.narrowed(filter) else { return Ok((Vec::new(), Scan::default())) };
        if by == By::Day && !is_vietnam(self.now) {
            // The log's days are those of the machine's own time zone.
            let (hours, scan) = self.house.log().count(&filter, By::Hour, watch)?;
            return Ok((look::days_of(&hours), scan));
        }
        Ok(self.house.log().count(&filter, by, watch)?)
    }

    /// Cases, those seen last first.
    pub(super) fn cases(&self, filter: &CaseFilter) -> Result<Vec<Case>, Failure> {
        let mut filter = filter.clone();
        if let Some(own) = self.viewer.agency() {
            if filter.agency.as_deref().is_some_and(|asked| asked != own) {
                return Ok(Vec::new());
            }
            filter.agency = Some(own.to_owned());
        }
        Ok(self.house.desk()?.list(&filter)?)
    }

    /// One case with all that belongs to it.
    pub(super) fn case(&self, ticket: Ticket) -> Result<CaseFile, Failure> {
        let desk = self.house.desk()?;
        let case = desk.by_ticket(ticket)?.ok_or(Failure::Absent)?;
        let file = desk.get(case.id)?.ok_or(Failure::Absent)?;
        if !self.viewer.sees(file.case.agency.as_deref()) {
            return Err(Failure::Absent);
        }
        Ok(file)
    }

    /// Records that the viewer looked at this client's history.
    fn looked(&self, client: IpAddr, since: Option<i64>, until: Option<i64>) -> Result<(), Failure> {
        if self.is_recorded {
            return Ok(());
        }
        let look = Look { command: "console", client, since, until };
        let by = Person { address: self.from, ..audit::person(self.viewer) };
        evidence_audit::looked(self.house.data_dir(), self.now, &by, &look).map_err(audit::failed)
    }
}
