//! Hits that searches for new indicators found later, in the order in which they were found.

use std::path::Path;

use super::embedded::store_folder;
use super::{Catalogue, StoreError};
use crate::database::DatabaseError;
use crate::evidence::record::Record;

/// Visits finds behind the one with the number `after`, at most so many; returns up to which number all were visited. Numbers only
/// rise, unless the catalogue is made anew: then what it has is visited from the beginning.
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
    let Some(catalogue) = Catalogue::read(&folder).map_err(failed)? else { return Ok(0) };
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
