//! Which installation is on which machine, and what that makes of everybody who was seen.
//!
//! By MAC first, then by host name within an agency, then by address at the time at which the product was heard of. What fits
//! several machines fits none.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use rusqlite::{TransactionBehavior, params};

use super::ledger::{self, Kept, Ledger, LedgerError};
use super::read::says_protected;
use super::{Install, STALE, Standing, State};
use crate::cases::Subject;
use crate::identity::{Book, BookError, Hints, Machine, MachineId, Who};
use crate::tabular::heading::bare;

/// Who did not ask for so long is forgotten.
const FORGOTTEN: i64 = 800 * super::DAY;

/// With what is settled.
pub struct Settling<'a> {
    /// Machines.
    pub book: &'a Book,
    /// Agencies' ids and names, by which exports may call them.
    pub agencies: &'a [(String, String)],
    /// Whose network an address is of.
    pub agency_of: &'a dyn Fn(IpAddr) -> Option<String>,
}

/// Of an installation, what decides which of several counts: whether it works, and when it was heard of.
type Weight = (bool, i64);

impl Ledger {
    /// Settles who is protected. Asks about each machine once: some seconds for a province, so for a thread that nobody waits for, or
    /// for somebody who imports.
    ///
    /// # Errors
    /// [`LedgerError`]; then everything is as it was.
    pub fn settle(&self, settling: &Settling<'_>, now: i64) -> Result<(), LedgerError> {
        let kept = self.with(|connection| ledger::kept(connection))?;
        let units: HashMap<String, &str> = settling
            .agencies
            .iter()
            .flat_map(|(id, name)| [(bare(id), id.as_str()), (bare(name), id.as_str())])
            .collect();
        let mut found: Vec<(i64, Option<String>, Option<String>)> = Vec::with_capacity(kept.len());
        let mut best: HashMap<String, (Weight, i64)> = HashMap::new();
        let mut given: HashSet<String> = HashSet::new();
        for it in &kept {
            let named = it.install.unit.as_deref().and_then(|unit| units.get(&bare(unit)));
            let by_address =
                || it.install.addresses.iter().find_map(|address| (settling.agency_of)(*address));
            let agency =
                it.export_agency.clone().or_else(|| named.map(|id| (*id).to_owned())).or_else(by_address);
            let subject = subject(settling.book, it, agency.as_deref())?;
            let machine_agency = match &subject {
                Some((_, Some(machine))) => machine.agency.clone(),
                _ => None,
            };
            let agency = agency.or(machine_agency);
            given.extend(agency.clone());
            let subject = subject.map(|(subject, _)| subject.to_string());
            if let Some(subject) = &subject {
                let heard = it.install.seen.unwrap_or(it.as_of);
                let works = it.install.state != State::Off && heard >= it.as_of.saturating_sub(STALE);
                let weight = (works, heard);
                let entry = best.entry(subject.clone()).or_insert((weight, it.id));
                if weight > entry.0 {
                    *entry = (weight, it.id);
                }
            }
            found.push((it.id, subject, agency));
        }
        let seen = self.with(|connection| {
            let mut select = connection.prepare("SELECT id, subject, agency FROM asked")?;
            let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            rows.collect::<Result<Vec<(i64, String, Option<String>)>, _>>()
        })?;
        let mut settled = Vec::with_capacity(seen.len());
        let mut merged: Vec<(i64, MachineId)> = Vec::new();
        for (id, subject, agency) in seen {
            let machine = match subject.parse() {
                Ok(Subject::Machine(machine)) => settling.book.machine(machine)?,
                _ => None,
            };
            if let Some(machine) = &machine
                && machine.id.to_string() != subject
            {
                merged.push((id, machine.id));
                continue;
            }
            let agency = agency.or_else(|| machine.as_ref().and_then(|machine| machine.agency.clone()));
            let install = best.get(&subject);
            let said = machine.as_ref().and_then(|machine| says_protected(machine.protection.as_deref()?));
            let is_given = || agency.as_ref().is_some_and(|agency| given.contains(agency));
            // An export knows best, then what an inventory of machines says.
            let standing = match install.map(|((works, _), _)| *works).or(said) {
                Some(true) => Standing::Protected,
                Some(false) => Standing::Unprotected,
                None if is_given() => Standing::Unprotected,
                None => Standing::Unknown,
            };
            let (host, owner) = machine.map_or((None, None), |machine| (machine.host, machine.owner));
            settled.push((id, agency, host, owner, standing, install.map(|(_, install)| *install)));
        }
        self.with(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute("DELETE FROM asked WHERE last < ?1", [now.saturating_sub(FORGOTTEN)])?;
            let mut update =
                transaction.prepare("UPDATE installs SET subject = ?2, agency = ?3 WHERE id = ?1 AND (subject IS NOT ?2 OR agency IS NOT ?3)")?;
            for (id, subject, agency) in &found {
                update.execute(params![id, subject, agency])?;
            }
            drop(update);
            // A machine that became part of another: what was seen of it was seen of that one.
            for (id, machine) in &merged {
                let kept = machine.to_string();
                transaction.execute(
                    "INSERT INTO asked (subject, agency, client, first, last, host, owner, standing, install)
                     SELECT ?2, agency, client, first, last, host, owner, standing, install FROM asked WHERE id = ?1
                     ON CONFLICT (subject) DO UPDATE SET first = min(first, excluded.first), last = max(last, excluded.last)",
                    params![id, kept],
                )?;
                transaction.execute("DELETE FROM asked WHERE id = ?1", [id])?;
            }
            let mut update = transaction.prepare(
                "UPDATE asked SET agency = ?2, host = ?3, owner = ?4, standing = ?5, install = ?6 WHERE id = ?1
                 AND (agency IS NOT ?2 OR host IS NOT ?3 OR owner IS NOT ?4 OR standing IS NOT ?5 OR install IS NOT ?6)",
            )?;
            for (id, agency, host, owner, standing, install) in &settled {
                update.execute(params![id, agency, host, owner, *standing as i64, install])?;
            }
            drop(update);
            ledger::set_mark(&transaction, ledger::SETTLED, now)?;
            transaction.commit()
        })
    }
}

/// On which machine an installation is.
fn subject(
    book: &Book,
    kept: &Kept,
    agency: Option<&str>,
) -> Result<Option<(Subject, Option<Machine>)>, BookError> {
    let install = &kept.install;
    for mac in install.macs.iter().filter(|mac| !mac.is_random()) {
        if let Some(machine) = only(book.with_mac(*mac)?) {
            return Ok(Some((Subject::Machine(machine.id), Some(machine))));
        }
    }
    if let Some(host) = &install.host {
        let mut called = book.with_host(host)?;
        if let Some(agency) = agency {
            called.retain(|machine| machine.agency.as_deref().is_none_or(|own| own == agency));
        }
        if let Some(machine) = only(called) {
            return Ok(Some((Subject::Machine(machine.id), Some(machine))));
        }
    }
    let at = install.seen.unwrap_or(kept.as_of);
    for address in &install.addresses {
        let hints = Hints { mac: None, host: install.host.as_deref(), agency };
        match book.who(*address, at, &hints)? {
            // The address has gone on to another one since.
            Who::Machine(machine) if is_other(&machine, install) => {}
            Who::Machine(machine) => return Ok(Some((Subject::Machine(machine.id), Some(machine)))),
            Who::Unknown => return Ok(Some((Subject::Address(*address), None))),
            Who::Conflict(_) => {}
        }
    }
    Ok(None)
}

/// Whether what both are known by says that they are two.
fn is_other(machine: &Machine, install: &Install) -> bool {
    let first = |host: &str| bare(host.split('.').next().unwrap_or_default());
    let differs = |own: &String, other: &String| first(own) != first(other);
    let mut own = machine.macs.iter().filter(|mac| !mac.is_random()).peekable();
    let of_install = || install.macs.iter().any(|mac| !mac.is_random());
    machine.host.as_ref().zip(install.host.as_ref()).is_some_and(|(own, other)| differs(own, other))
        || own.peek().is_some() && of_install() && !own.any(|mac| install.macs.contains(mac))
}

/// The one there is.
fn only(mut machines: Vec<Machine>) -> Option<Machine> {
    if machines.len() == 1 { machines.pop() } else { None }
}
