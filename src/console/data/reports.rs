//! Reports of a period, as far as a viewer may see it: of the province, or of one agency, which then hold nothing of others.

use super::Data;
use crate::console::answer::Failure;
use crate::console::house::Wanted;
use crate::evidence::store::Watch;
use crate::report::{Format, Period, ReportError, Scope};

impl Data<'_> {
    /// Makes a report about an agency, or about all that the viewer sees. An officer's is about the own agency.
    pub(in crate::console) fn report(
        &self,
        period: Period,
        agency: Option<&str>,
        format: Format,
        watch: &mut dyn Watch,
    ) -> Result<Vec<u8>, Failure> {
        let agency = self.own_agency(agency).ok_or(Failure::Absent)?;
        let is_there = |id: &String| self.house.agencies().iter().any(|agency| *agency.id == **id);
        if !agency.as_ref().is_none_or(is_there) {
            return Err(Failure::Absent);
        }
        let scope = agency.map_or(Scope::All, Scope::Agency);
        self.house.report(&Wanted { period, scope, format }, watch).map_err(|error| match error {
            ReportError::Store(error) => Failure::Log(error),
            ReportError::Desk(error) => Failure::Cases(error),
            ReportError::Book(error) => Failure::Machines(error),
            error => Failure::Refused(error.to_string()),
        })
    }
}
