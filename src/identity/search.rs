//! Machines a page at a time, by whatever people call them.

use std::net::IpAddr;

use rusqlite::{OptionalExtension as _, params};

use super::book::{Book, BookError, address_at, id_at, key, machine, signed};
use super::{Machine, MachineId};
use crate::mac::Mac;
use crate::tabular::heading::bare;

/// Which machines are sought.
#[derive(Debug, Clone, Copy, Default)]
pub struct Search<'a> {
    /// Of this agency.
    pub agency: Option<&'a str>,
    /// With this in their name, owner or unit (marks on letters do not count), with this MAC or number, or that had this address.
    pub text: Option<&'a str>,
    /// Behind the one of this time and number.
    pub after: Option<(i64, MachineId)>,
    /// At most so many.
    pub most: usize,
}

/// A machine that was found, and the address that it had last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The machine.
    pub machine: Machine,
    /// Its last address.
    pub address: Option<IpAddr>,
}

impl Book {
    /// Machines, those that sources spoke of last first.
    ///
    /// # Errors
    /// [`BookError::Database`].
    pub fn search(&self, search: &Search<'_>) -> Result<Vec<Found>, BookError> {
        let text = search.text.map(str::trim).filter(|text| !text.is_empty());
        let ids = match text {
            Some(text) => {
                if let Ok(id) = text.parse::<MachineId>() {
                    self.machine(id)?.map(|machine| machine.id).into_iter().collect()
                } else if let Ok(mac) = text.parse::<Mac>() {
                    self.with_mac(mac)?.into_iter().map(|machine| machine.id).collect()
                } else if let Ok(address) = text.parse::<IpAddr>() {
                    self.had(address)?
                } else {
                    self.called(search, &bare(text))?
                }
            }
            None => self.called(search, "")?,
        };
        self.with(|connection| {
            let mut last = connection.prepare(
                "SELECT address FROM claims WHERE machine = ?1 ORDER BY start DESC, id DESC LIMIT 1",
            )?;
            let mut found = Vec::new();
            for id in ids {
                let Some(machine) = machine(connection, id)? else { continue };
                if search.agency.is_some_and(|agency| machine.agency.as_deref() != Some(agency)) {
                    continue;
                }
                let address = last.query_row([signed(id.0)], |row| address_at(row, 0)).optional()?;
                found.push(Found { machine, address });
                if found.len() >= search.most {
                    break;
                }
            }
            Ok(found)
        })
    }

    /// How many machines sources know, of an agency or in all.
    ///
    /// # Errors
    /// [`BookError::Database`].
    pub fn count(&self, agency: Option<&str>) -> Result<u64, BookError> {
        self.with(|connection| {
            connection.query_row(
                "SELECT count(*) FROM machines WHERE ?1 IS NULL OR agency = ?1",
                [agency],
                |row| Ok(row.get::<_, i64>(0)?.unsigned_abs()),
            )
        })
    }

    fn called(&self, search: &Search<'_>, wanted: &str) -> Result<Vec<MachineId>, BookError> {
        self.with(|connection| {
            let mut statement = connection.prepare(
                "SELECT id, host, owner, unit FROM machines
                 WHERE (?1 IS NULL OR agency = ?1) AND (last < ?2 OR last = ?2 AND id > ?3) ORDER BY last DESC, id",
            )?;
            let (last, id) = search.after.map_or((i64::MAX, -1), |(last, id)| (last, signed(id.0)));
            let mut rows = statement.query(params![search.agency, last, id])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let is_called = |column| {
                    let text = row.get_ref(column).ok().and_then(|value| value.as_str().ok());
                    text.is_some_and(|text| bare(text).contains(wanted))
                };
                if wanted.is_empty() || (1..=3).any(is_called) {
                    found.push(id_at(row, 0)?);
                    if found.len() >= search.most {
                        break;
                    }
                }
            }
            Ok(found)
        })
    }

    /// Who ever had an address, the last first.
    fn had(&self, address: IpAddr) -> Result<Vec<MachineId>, BookError> {
        self.with(|connection| {
            let mut statement = connection.prepare(
                "SELECT machine FROM claims WHERE address = ?1 AND machine <> 0 GROUP BY machine ORDER BY max(start) DESC LIMIT 1000",
            )?;
            let rows = statement.query_map([key(address).as_slice()], |row| id_at(row, 0))?;
            rows.collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::claim::{About, Batch, Claim, Scope};
    use super::super::{Source, Trial};
    use super::*;

    #[test]
    fn machines_are_found_by_what_they_are_called_and_paged() {
        let folder = tempfile::tempdir().unwrap();
        let book = Book::open(folder.path()).unwrap();
        for (agency, owner) in [("a", "Nguyễn Văn Ổn"), ("b", "Trần Thị Đào")] {
            let mut batch = Batch::new(Scope::Inventory);
            for number in 0..3u8 {
                batch.claim(Claim {
                    address: Some(IpAddr::from([10, 0, agency.as_bytes()[0], number])),
                    host: Some(format!("PC-{agency}{number}")),
                    about: About { owner: Some(owner.to_owned()), ..About::default() },
                    ..Claim::default()
                });
            }
            let source = Source { name: agency, agency: Some(agency), as_of: 1000 };
            book.take(&source, &mut batch, Trial::No).unwrap();
        }
        let check = |agency, text, expected: &[&str]| {
            let found = book.search(&Search { agency, text, after: None, most: 10 }).unwrap();
            let mut hosts: Vec<_> = found.iter().filter_map(|it| it.machine.host.as_deref()).collect();
            hosts.sort_unstable();
            assert_eq!(hosts, expected, "{agency:?} {text:?}");
        };
        check(None, Some("pc-a1"), &["PC-a1"]);
        check(None, Some("dao"), &["PC-b0", "PC-b1", "PC-b2"]);
        check(Some("a"), Some("dao"), &[]);
        check(None, Some("10.0.98.2"), &["PC-b2"]);
        check(Some("a"), Some("10.0.98.2"), &[]);
        assert_eq!((book.count(None).unwrap(), book.count(Some("b")).unwrap()), (6, 3));
        let (mut after, mut seen) = (None, Vec::new());
        loop {
            let page = book.search(&Search { after, most: 4, ..Search::default() }).unwrap();
            let Some(last) = page.last() else { break };
            after = Some((last.machine.last, last.machine.id));
            seen.extend(page.into_iter().map(|it| it.machine.id));
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 6);
    }
}
