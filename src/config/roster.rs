//! Agencies of `data_dir/agencies.json`, which `sachdns agency import` and the console write, beside `[[agency]]`.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use ipnet::IpNet;

use super::Office;
use super::faults::{Fault, Problem};
use super::reader::Reader;
use crate::client::Agency;
use crate::roster::{self, RosterError};

/// Where the roster is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum RosterIn<'a> {
    /// Nowhere: only the text counts.
    Nowhere,
    /// In `data_dir`.
    DataDir,
    /// In this folder, whatever `data_dir` says now: only a start changes that.
    Folder(&'a Path),
}

/// Adds what the roster has.
pub(super) fn add(
    reader: &mut Reader<'_>,
    data_dir: &Path,
    place: RosterIn<'_>,
    agencies: &mut Vec<Agency>,
    offices: &mut Vec<Office>,
) {
    let folder = match place {
        RosterIn::Nowhere => return,
        RosterIn::DataDir => data_dir,
        RosterIn::Folder(folder) => folder,
    };
    let path = roster::path(folder);
    let mut fault = |setting: String, problem| {
        reader.faults.push(Fault { path: path.clone(), line: None, setting, problem });
    };
    let kept = match roster::read(folder) {
        Ok(kept) => kept,
        Err(RosterError::Content { why, .. }) => return fault(String::new(), Problem::Roster(why)),
        Err(error) => return fault(String::new(), Problem::Unreadable(error.to_string())),
    };
    let mut owners: HashMap<IpNet, Arc<str>> = HashMap::new();
    for agency in agencies.iter() {
        owners.extend(agency.networks.iter().map(|net| (*net, Arc::clone(&agency.id))));
    }
    for entry in kept.entries {
        let id: Arc<str> = entry.id.into();
        if agencies.iter().any(|agency| agency.id == id) {
            fault(format!("agency {id}"), Problem::Twice(id.to_string()));
            continue;
        }
        for network in &entry.networks {
            if let Some(other) = owners.insert(*network, Arc::clone(&id))
                && other != id
            {
                fault(format!("agency {id}"), Problem::Twice(format!("{network} of {other} and {id}")));
            }
        }
        let (officer, email, forwarders) = (entry.officer, entry.email, entry.forwarders);
        offices.push(Office { agency: Arc::clone(&id), officer, email, forwarders });
        let contact = entry.contact.map(Into::into);
        agencies.push(Agency { id, name: entry.name.into(), contact, networks: entry.networks });
    }
}
