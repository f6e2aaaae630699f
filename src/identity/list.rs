//! Machines by what they are called.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::book::{Book, BookError, address_at, host_key, id_at, machine, signed};
use super::{Machine, MachineId};
use crate::mac::Mac;
use crate::tabular::heading::bare;

/// Which machines are listed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Query<'a> {
    /// Of this agency.
    pub agency: Option<&'a str>,
    /// With this in their name, owner, unit or MAC; marks on letters do not count.
    pub find: Option<&'a str>,
    /// That a source spoke of since.
    pub since: Option<i64>,
    /// Only those that are known by randomised MACs alone.
    pub is_randomised: bool,
    /// At most so many.
    pub limit: Option<u64>,
}

impl Book {
    /// Machines with the address that each had last, those seen last first.
    ///
    /// # Errors
    /// [`BookError::Database`].
    pub fn list(&self, query: &Query<'_>) -> Result<Vec<(Machine, Option<IpAddr>)>, BookError> {
        let wanted = query.find.map(bare);
        self.with(|connection| {
            let of_macs = match &wanted {
                Some(wanted) => with_part_of_mac(connection, wanted)?,
                None => HashSet::new(),
            };
            let mut statement = connection.prepare(
                "SELECT id, host, owner, unit FROM machines WHERE (?1 IS NULL OR agency = ?1) AND last >= ?2
                ORDER BY last DESC, id",
            )?;
            let since = query.since.unwrap_or(i64::MIN);
            let mut rows = statement.query(params![query.agency, since])?;
            let mut last = connection.prepare(
                "SELECT address FROM claims WHERE machine = ?1 ORDER BY seen DESC, id DESC LIMIT 1",
            )?;
            let most = query.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
            let mut found = Vec::new();
            while let Some(row) = rows.next()?.filter(|_| found.len() < most) {
                let id = id_at(row, 0)?;
                // Of most machines this is all that is looked at.
                if let Some(wanted) = &wanted
                    && !of_macs.contains(&id)
                    && !is_called(row, wanted)?
                {
                    continue;
                }
                let Some(machine) = machine(connection, id)? else { continue };
                if query.is_randomised && !machine.mac.is_some_and(Mac::is_random) {
                    continue;
                }
                let address = last.query_row([signed(machine.id.0)], |row| address_at(row, 0)).optional()?;
                found.push((machine, address));
            }
            Ok(found)
        })
    }

    /// How many machines each agency has, by its id, and how many of them an inventory says are protected.
    ///
    /// # Errors
    /// [`BookError::Database`].
    pub fn census(&self) -> Result<HashMap<String, (u64, u64)>, BookError> {
        self.with(|connection| {
            let mut statement = connection.prepare(
                "SELECT agency, count(*), count(protection) FROM machines WHERE agency IS NOT NULL GROUP BY agency",
            )?;
            let count = |row: &Row<'_>, at| Ok::<_, rusqlite::Error>(row.get::<_, i64>(at)?.unsigned_abs());
            let rows = statement.query_map([], |row| Ok((row.get(0)?, (count(row, 1)?, count(row, 2)?))))?;
            rows.collect()
        })
    }

    /// The machines with this MAC.
    ///
    /// # Errors
    /// [`BookError::Database`].
    pub fn with_mac(&self, mac: Mac) -> Result<Vec<Machine>, BookError> {
        self.marked("kind <= 1", &mac.0)
    }

    /// The machines with this host name, of whatever agency.
    ///
    /// # Errors
    /// [`BookError::Database`].
    pub fn with_host(&self, host: &str) -> Result<Vec<Machine>, BookError> {
        self.marked("kind = 3", &host_key(host))
    }

    fn marked(&self, condition: &str, value: &[u8]) -> Result<Vec<Machine>, BookError> {
        self.with(|connection| {
            let select =
                format!("SELECT DISTINCT machine FROM marks WHERE {condition} AND value = ?1 ORDER BY machine LIMIT 1000");
            let mut statement = connection.prepare(&select)?;
            let ids: Vec<MachineId> = statement.query_map([value], |row| id_at(row, 0))?.collect::<Result<_, _>>()?;
            let mut found = Vec::new();
            for id in ids {
                found.extend(machine(connection, id)?);
            }
            Ok(found)
        })
    }
}

/// Whether its host, owner or unit, behind its number in a row, is called so.
fn is_called(row: &Row<'_>, wanted: &str) -> rusqlite::Result<bool> {
    for at in 1..=3 {
        let name = row.get_ref(at)?.as_str_or_null().ok().flatten();
        if name.is_some_and(|name| bare(name).contains(wanted)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The machines with a MAC that this text is a part of.
fn with_part_of_mac(connection: &Connection, wanted: &str) -> rusqlite::Result<HashSet<MachineId>> {
    let mut found = HashSet::new();
    if !wanted.bytes().all(|octet| octet == b' ' || octet.is_ascii_hexdigit()) {
        return Ok(found);
    }
    let mut statement = connection.prepare("SELECT machine, value FROM marks WHERE kind <= 1")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let mac = row.get_ref(1)?.as_blob().ok().and_then(Mac::from_octets);
        if mac.is_some_and(|mac| bare(&mac.to_string()).contains(wanted)) {
            found.insert(id_at(row, 0)?);
        }
    }
    Ok(found)
}
