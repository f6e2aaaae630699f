//! Where sources contradict each other.
//!
//! Only finds; people decide, by mending a source or by merging machines.

use std::collections::BTreeMap;
use std::net::IpAddr;

use rusqlite::params;

use super::book::{Book, BookError, address_at, id_at, intervals, key};
use super::{Interval, MachineId};

/// Contradictions that are looked for at once.
const MOST: usize = 10_000;
/// Intervals of one address that are compared, the latest.
const MOST_OF_ADDRESS: usize = 500;

/// Two sources that cannot both be right, or one that speaks of several machines by one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// What kind it is.
    pub kind: ConflictKind,
    /// The address, or the host name.
    pub subject: String,
    /// Which machines it may be.
    pub machines: Vec<MachineId>,
    /// From when on they contradict each other.
    pub from: i64,
    /// Until when; `None`: still.
    pub to: Option<i64>,
    /// The sources that do.
    pub sources: Vec<String>,
}

/// What contradicts what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConflictKind {
    /// Two DHCP servers gave one address to two machines.
    Leases,
    /// Inventories give one address to two machines.
    Inventories,
    /// A DHCP server gave an address to another machine than the inventory has there.
    LeaseAgainstInventory,
    /// Several machines of an agency have one name: a second network card, a copied disk, or two machines.
    Host,
}

impl ConflictKind {
    /// Its word in lists.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Leases => "leases",
            Self::Inventories => "inventories",
            Self::LeaseAgainstInventory => "lease-inventory",
            Self::Host => "host",
        }
    }
}

impl Book {
    /// What contradicts itself and has not ended before this time.
    ///
    /// # Errors
    /// [`BookError::Database`].
    pub fn conflicts(&self, since: i64) -> Result<Vec<Conflict>, BookError> {
        self.with(|connection| {
            let mut found = Vec::new();
            let addresses: Vec<IpAddr> = {
                let mut statement = connection.prepare(
                    "SELECT address FROM claims WHERE until > ?1 AND machine <> 0
                     GROUP BY address HAVING count(DISTINCT machine) > 1 LIMIT ?2",
                )?;
                let rows = statement.query_map(params![since, MOST as i64], |row| address_at(row, 0))?;
                rows.collect::<Result<_, _>>()?
            };
            for address in addresses {
                let mut spans = intervals(connection, "claims.address = ?1", key(address).to_vec())?;
                spans.retain(|span| span.to.is_none_or(|to| to > since));
                spans.truncate(MOST_OF_ADDRESS);
                found.extend(of_address(address, &spans));
                if found.len() > MOST {
                    break;
                }
            }
            let mut statement = connection.prepare(
                "SELECT scope, value, machine FROM marks AS it WHERE kind = 3 AND last >= ?1 AND EXISTS
                 (SELECT 1 FROM marks AS other WHERE other.kind = 3 AND other.scope = it.scope AND other.value = it.value
                  AND other.machine <> it.machine AND other.last >= ?1) ORDER BY scope, value, machine LIMIT ?2",
            )?;
            let rows = statement.query_map(params![since, MOST as i64], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?, id_at(row, 2)?))
            })?;
            let mut hosts: BTreeMap<(String, Vec<u8>), Vec<MachineId>> = BTreeMap::new();
            for row in rows {
                let (scope, host, machine) = row?;
                hosts.entry((scope, host)).or_default().push(machine);
            }
            found.extend(hosts.into_iter().filter(|(_, machines)| machines.len() > 1).map(|((scope, host), machines)| {
                Conflict {
                    kind: ConflictKind::Host,
                    subject: String::from_utf8_lossy(&host).into_owned(),
                    machines,
                    from: since,
                    to: None,
                    sources: Some(scope).filter(|scope| !scope.is_empty()).into_iter().collect(),
                }
            }));
            Ok(found)
        })
    }
}

/// Intervals of one address that overlap and are of different machines, the same machines' together.
fn of_address(address: IpAddr, spans: &[Interval]) -> Vec<Conflict> {
    let mut found: BTreeMap<(ConflictKind, MachineId, MachineId), Conflict> = BTreeMap::new();
    for (at, one) in spans.iter().enumerate() {
        for other in &spans[at + 1..] {
            let from = one.from.max(other.from);
            let ends = [one.to, other.to].into_iter().flatten().min();
            if one.machine == other.machine || ends.is_some_and(|end| end <= from) {
                continue;
            }
            let kind = match (one.is_inventory, other.is_inventory) {
                (false, false) => ConflictKind::Leases,
                (true, true) => ConflictKind::Inventories,
                _ => ConflictKind::LeaseAgainstInventory,
            };
            let machines = [one.machine.min(other.machine), one.machine.max(other.machine)];
            let known = found.entry((kind, machines[0], machines[1])).or_insert_with(|| Conflict {
                kind,
                subject: address.to_string(),
                machines: machines.to_vec(),
                from,
                to: ends,
                sources: Vec::new(),
            });
            known.from = known.from.min(from);
            known.to = known.to.zip(ends).map(|(one, other)| one.max(other));
            for source in [&one.source, &other.source] {
                if !known.sources.contains(source) {
                    known.sources.push(source.clone());
                }
            }
        }
    }
    found.into_values().collect()
}
