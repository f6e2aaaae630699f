//! What programs ask for: machines, contacts, protection, whom a search of the log finds; as far as a viewer may see it.

use std::net::IpAddr;

use super::Data;
use crate::cases::board::Overdue;
use crate::cases::{Case, CaseFilter, Subject};
use crate::console::answer::Failure;
use crate::coverage::{Coverage, Query as Wanted, Row};
use crate::evidence::store::{Filter, Scan, Sighting, Watch};
use crate::identity::list::Query;
use crate::identity::{Interval, Machine, MachineId};

impl Data<'_> {
    /// Before when something should have been done about cases that are overdue now.
    pub(in crate::console) fn overdue_now(&self) -> Result<Overdue, Failure> {
        Ok(Overdue::at(self.now, &self.house.desk()?.options()))
    }

    /// Machines with the address that each had last, those seen last first.
    pub(in crate::console) fn known_machines(
        &self,
        query: &Query<'_>,
    ) -> Result<Vec<(Machine, Option<IpAddr>)>, Failure> {
        let Some(agency) = self.own_agency(query.agency) else { return Ok(Vec::new()) };
        Ok(self.house.book().list(&Query { agency: agency.as_deref(), ..*query })?)
    }

    /// A machine with its addresses and its cases. The look is recorded.
    pub(in crate::console) fn known_machine(
        &self,
        id: MachineId,
    ) -> Result<(Machine, Vec<Interval>, Vec<Case>), Failure> {
        let book = self.house.book();
        let machine = book.machine(id)?.filter(|machine| self.viewer.sees(machine.agency.as_deref()));
        let machine = machine.ok_or(Failure::Absent)?;
        let addresses = book.addresses(machine.id)?;
        if let Some(last) = addresses.first() {
            self.looked(last.address, None, None)?;
        }
        let filter = CaseFilter { subject: Some(Subject::Machine(machine.id)), ..CaseFilter::default() };
        let cases = self.cases(&filter)?;
        Ok((machine, addresses, cases))
    }

    /// Who asked for what is sought, the last seen first.
    pub(in crate::console) fn sighted(
        &self,
        filter: &Filter,
        watch: &mut dyn Watch,
    ) -> Result<(Vec<Sighting>, Scan), Failure> {
        let Some(filter) = self.narrowed(filter) else { return Ok((Vec::new(), Scan::default())) };
        Ok(self.house.log().sightings(&filter, watch)?)
    }

    /// How many machines are protected, by agency.
    pub(in crate::console) fn protection(
        &self,
        since: i64,
    ) -> Result<Vec<(Option<String>, Coverage)>, Failure> {
        Ok(self.house.coverage()?.by_agency((since, i64::MAX), self.viewer.agency())?)
    }

    /// Machines that were seen, and whether they are protected.
    pub(in crate::console) fn protected(&self, wanted: &Wanted) -> Result<Vec<Row>, Failure> {
        let Some(agency) = self.own_agency(wanted.agency.as_deref()) else { return Ok(Vec::new()) };
        Ok(self.house.coverage()?.list(&Wanted { agency, ..wanted.clone() })?)
    }

    /// What is known of the protection of these cases' machines, in their order.
    pub(in crate::console) fn protection_of(&self, cases: &[Case]) -> Result<Vec<Option<Row>>, Failure> {
        self.standings(cases.iter().map(|case| case.subject))
    }

    /// What is known of the protection of machines that the viewer was shown, in their order.
    pub(in crate::console) fn standings(
        &self,
        subjects: impl IntoIterator<Item = Subject>,
    ) -> Result<Vec<Option<Row>>, Failure> {
        Ok(self.house.coverage()?.standings(subjects)?)
    }
}
