//! Files that staff bring: agencies and officers, and inventories of endpoint protection. What pages and the API do alike.

use jiff::tz::TimeZone;

use super::answer::Failure;
use super::audit;
use super::call::{Call, Fields};
use super::multipart::Form;
use super::tongue::vietnam;
use crate::coverage::read::{self, Fault, Reading};
use crate::coverage::{LedgerError, Offer, Taken};
use crate::identity::read::times::Order;
use crate::roster::{self, Manner, Proposal, RosterError};
use crate::tabular::heading::bare;
use crate::tabular::table::Place;

/// Octets of a file.
pub(super) const MOST_FILE: usize = 16 << 20;

/// Where a form says what its file is called.
pub(super) const FILE_NAME: &str = "file name";

/// Puts a form with a file into a request: the file becomes its body.
pub(super) fn put(call: &mut Call, form: Form) {
    let Form { mut fields, files } = form;
    // Nobody else says so.
    fields.retain(|(name, _)| name != FILE_NAME);
    let file = files.into_iter().next().unwrap_or_default();
    fields.push((FILE_NAME.to_owned(), file.name));
    call.form = Fields::of(fields);
    call.body = file.octets;
}

/// What a sheet of agencies would change; and which version of the list that was reckoned from.
pub(super) fn propose(call: &Call, octets: &[u8], manner: Manner) -> Result<(Proposal, String), Failure> {
    let kept = roster::read(call.house.data_dir()).map_err(refused)?;
    let names: Vec<(String, String)> =
        kept.entries.iter().map(|entry| (entry.id.clone(), entry.name.clone())).collect();
    let found = roster::read_sheet(octets, &names).map_err(|error| unreadable(&error))?;
    let configured = call.house.configured_agencies();
    Ok((roster::propose(found, &kept.entries, &configured, manner), kept.digest))
}

/// Takes what was proposed, and puts it in force; says what the server said. Where it cannot be put in force, it is taken back.
pub(super) fn apply(call: &Call, proposal: &Proposal, before: &str) -> Result<String, Failure> {
    let data_dir = call.house.data_dir();
    let kept = roster::read(data_dir).map_err(refused)?;
    let written = roster::write(data_dir, &proposal.entries, before).map_err(refused)?;
    match call.house.reload() {
        Ok(line) => {
            let count = proposal.differences.len();
            audit::changed(call, "agency.import", "agencies", &format!("{count} agencies"))?;
            Ok(line)
        }
        Err(error) => {
            // Somebody who changed it meanwhile wins.
            let _ = roster::write(data_dir, &kept.entries, &written);
            Err(Failure::Refused(error))
        }
    }
}

/// What somebody says of an inventory of protection.
pub(super) struct Wish<'a> {
    /// What protects the computers in it.
    pub(super) product: Option<&'a str>,
    /// The agency whose computers are in it.
    pub(super) agency: Option<&'a str>,
    /// By what its versions are known.
    pub(super) name: Option<&'a str>,
    /// What the file is called.
    pub(super) file: Option<&'a str>,
}

/// What came of one.
pub(super) struct Done {
    pub(super) name: String,
    pub(super) taken: Taken,
    pub(super) matched: u64,
    pub(super) faults: Vec<(Place, Fault)>,
}

/// Takes an inventory of protection.
pub(super) fn take(call: &Call, octets: &[u8], wish: &Wish<'_>) -> Result<Done, Failure> {
    if let Some(agency) = wish.agency
        && !call.house.agencies().iter().any(|known| *known.id == *agency)
    {
        return Err(Failure::Wrong {
            field: "agency",
            vietnamese: format!("không có cơ quan nào có mã {agency:?}"),
            english: format!("no agency has the id {agency:?}"),
        });
    }
    let zone: TimeZone = vietnam();
    let reading = Reading { product: wish.product.map(str::to_owned), zone, dates: Order::Auto };
    let batch = read::read(octets, &reading).map_err(|error| unreadable(&error))?;
    let named_by_all = || {
        let product = wish.product.map(|product| bare(product).replace(' ', "-"));
        let words = [product.or_else(|| wish.file.map(str::to_owned)), wish.agency.map(str::to_owned)];
        let name = words.into_iter().flatten().collect::<Vec<_>>().join(" ");
        if name.is_empty() { "api".to_owned() } else { name }
    };
    let name = wish.name.map_or_else(named_by_all, str::to_owned);
    let by = call.viewer()?.name.clone();
    let offer = Offer { name: &name, agency: wish.agency, as_of: call.now, by: &by };
    let ledger = call.house.coverage()?;
    let taken = ledger.take(&offer, &batch, call.now).map_err(|error| match error {
        LedgerError::Database { .. } | LedgerError::Book(_) => Failure::Coverage(error),
        error => wrong_file(&error.to_string()),
    })?;
    call.house.settle_coverage(&ledger, call.now)?;
    let matched =
        ledger.exports()?.iter().find(|export| export.name == name).map_or(0, |export| export.matched);
    audit::changed(call, "coverage.import", &name, &format!("{} computers", taken.rows))?;
    Ok(Done { name, taken, matched, faults: batch.faults })
}

fn unreadable(error: &roster::SheetError) -> Failure {
    wrong_file(&error.to_string())
}

fn wrong_file(why: &str) -> Failure {
    Failure::Wrong {
        field: "file",
        vietnamese: format!("không đọc được tệp: {why}"),
        english: format!("the file cannot be taken: {why}"),
    }
}

fn refused(error: RosterError) -> Failure {
    match error {
        RosterError::System { source, .. } => Failure::Files { what: "agencies.json", source },
        error => Failure::Refused(error.to_string()),
    }
}
