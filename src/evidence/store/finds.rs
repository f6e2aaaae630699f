//! Hits that searches for new indicators found later, in the order in which they were found.

use std::path::Path;

use super::embedded::store_folder;
use super::{Catalogue, StoreError};
use crate::database::DatabaseError;
use crate::evidence::record::Record;

/// Visits finds behind the one with the number `after`, at most so many; returns up to which number all were visited. Numbers only
/// rise, unless the catalogue is made anew: then what it has is visited from the beginning. Where there is none, or none of this
/// release yet, nothing is visited.
///
/// # Errors
/// [`StoreError::Catalogue`].
pub fn finds_after(
    log: &Path,
    after: i64,
    most: usize,
    visit: &mut dyn FnMut(&Record<'_>),
) -> Result<i64, StoreError> {
    let folder = store_folder(log);
    let failed =
        |error: DatabaseError| StoreError::Catalogue { path: folder.clone(), why: error.to_string() };
    let Some(catalogue) = Catalogue::read(&folder).map_err(failed)? else { return Ok(after) };
    let newest = catalogue.last_hit().map_err(failed)?;
    let after = if after > newest { 0 } else { after };
    let finds = catalogue.finds(after, newest, most).map_err(failed)?;
    for (_, time, octets) in &finds {
        // One that does not decode is of a damaged page, which the archiver tells.
        if let Some(record) = Record::decode(octets, *time) {
            visit(&record);
        }
    }
    Ok(if finds.len() < most { newest } else { finds.last().map_or(newest, |(id, ..)| *id) })
}

/// The number of the newest hit, 0 where there is no catalogue yet; `None` where it is yet to become one of this release.
///
/// # Errors
/// [`StoreError::Catalogue`].
pub fn newest(log: &Path) -> Result<Option<i64>, StoreError> {
    let folder = store_folder(log);
    let failed =
        |error: DatabaseError| StoreError::Catalogue { path: folder.clone(), why: error.to_string() };
    if !Catalogue::path(&folder).exists() {
        return Ok(Some(0));
    }
    let catalogue = Catalogue::read(&folder).map_err(failed)?;
    catalogue.map(|catalogue| catalogue.last_hit()).transpose().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::record::tests::sample;
    use crate::evidence::store::catalogue::Origin;

    #[test]
    fn numbers_rise_also_where_the_newest_expired() {
        let folder = tempfile::tempdir().unwrap();
        let mut catalogue = Catalogue::open(&store_folder(folder.path())).unwrap();
        let found = |times: &[i64], catalogue: &mut Catalogue| {
            let records: Vec<_> = times.iter().map(|time| Record { is_hit: true, ..sample(*time) }).collect();
            catalogue.add_late(records.iter().map(|record| (record, Origin::Gone))).unwrap()
        };
        let after = |number: i64| {
            let mut times = Vec::new();
            let to = finds_after(folder.path(), number, 100, &mut |record| times.push(record.time)).unwrap();
            (to, times)
        };
        // A search goes back in time, so the newest number may be of the oldest query.
        assert_eq!(found(&[3000, 2000, 1000], &mut catalogue), 3);
        assert_eq!(found(&[2000], &mut catalogue), 0, "it is known");
        assert_eq!(after(0), (3, vec![3000, 2000, 1000]));
        for (before, left) in [(1500, vec![3000, 2000]), (9000, vec![])] {
            catalogue.expire(before, before, before).unwrap();
            assert_eq!(after(0), (3, left));
            assert_eq!(after(3), (3, vec![]));
        }
        assert_eq!(found(&[9500], &mut catalogue), 1);
        assert_eq!(after(3), (4, vec![9500]));
        // One that is not there, or yet to be brought up to date, says nothing of how far anybody is.
        std::fs::remove_dir_all(store_folder(folder.path())).unwrap();
        assert_eq!(after(3), (3, vec![]));
    }
}
